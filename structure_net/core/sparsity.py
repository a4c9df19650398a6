"""Which connections of a layer exist: patterns as values, and the interface of every sparse layer.

A pattern lists live connections as pairs ``(output unit, input unit)``, sorted by output and then
by input. A sparse layer holds weights on a pattern and describes its own rearrangement as
`TensorChange` values, so that whoever edits it needs to know nothing of how it stores them.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn, Self

import torch
from torch import Tensor, nn

from structure_net.core.changes import TensorChange, assign, in_turn
from structure_net.core.index_kernels import ascending_places
from structure_net.core.keeping import all_or_nothing
from structure_net.core.pairs import columns_of_pairs

Pairs = Sequence[tuple[int, int]] | Tensor
Newborn = Literal["fresh", "silent", "empty"]

_MANY: Final = 1024
"""Pairs from which on a compiled loop checks them."""


@dataclass(frozen=True, slots=True, eq=False)
class SparsePattern:
    """The live connections of a layer with ``shape = (outputs, inputs)``.

    Args:
        rows: The output unit of each connection. Shape ``(n,)``, int64.
        columns: Its input unit. Shape ``(n,)``, int64, on the device of ``rows``.
        shape: The numbers of output and of input units.

    Raises:
        TypeError: Rows or columns are no tensor.
        ValueError: The pairs are out of range, repeated, or not sorted by row and then by column.
    """

    rows: Tensor
    columns: Tensor
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        for name, index in (("rows", self.rows), ("columns", self.columns)):
            if not isinstance(index, Tensor):
                raise TypeError(
                    f"{name} must be a vector of int64; got {index!r}. `SparsePattern.from_pairs` "
                    "takes lists of pairs."
                )
            if index.dtype != torch.int64 or index.dim() != 1:
                raise ValueError(
                    f"{name} must be a vector of int64; got {index.dtype}, {tuple(index.shape)}."
                )
        if len(self.rows) != len(self.columns):
            raise ValueError(
                f"rows and columns must be equally long; got {len(self.rows)} and "
                f"{len(self.columns)}."
            )
        _check_shape(self.shape)
        _check_range(self.rows, self.columns, self.shape)
        if not ascend(self.rows * self.shape[1] + self.columns):
            raise ValueError(
                "The pairs of a pattern must be distinct and sorted by row, then by column; "
                "`SparsePattern.from_pairs` sorts them."
            )

    @classmethod
    def from_mask(cls, mask: Tensor) -> Self:
        """The pattern of the non-zero entries of ``mask``, shape ``(outputs, inputs)``.

        Raises:
            ValueError: It is no matrix.
        """
        if mask.dim() != 2:
            raise ValueError(
                f"mask must have the shape (outputs, inputs); got {tuple(mask.shape)}."
            )
        rows, columns = mask.nonzero(as_tuple=True)
        return cls(rows, columns, (mask.shape[0], mask.shape[1]))

    @classmethod
    def from_pairs(cls, pairs: Pairs, shape: tuple[int, int]) -> Self:
        """The pattern of ``pairs``, in any order.

        Raises:
            ValueError: A pair is out of range or repeated.
        """
        rows, columns = pair_indices(pairs, shape)
        order = torch.argsort(rows * shape[1] + columns)
        return cls(rows[order], columns[order], shape)

    @classmethod
    def full(cls, shape: tuple[int, int]) -> Self:
        """Every output connected to every input."""
        return cls.from_mask(torch.ones(shape, dtype=torch.bool))

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparsePattern):
            return NotImplemented
        return (
            self.shape == other.shape
            and torch.equal(self.rows.cpu(), other.rows.cpu())
            and torch.equal(self.columns.cpu(), other.columns.cpu())
        )

    def __hash__(self) -> int:
        return hash((self.shape, tuple(self.rows.tolist()), tuple(self.columns.tolist())))

    def __repr__(self) -> str:
        return f"SparsePattern(connections={len(self)}, shape={self.shape})"

    @property
    def density(self) -> float:
        """The fraction of possible connections that exist, in [0, 1]."""
        return len(self) / (self.shape[0] * self.shape[1])

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The connections as pairs ``(output unit, input unit)``."""
        return tuple(zip(self.rows.tolist(), self.columns.tolist(), strict=True))

    def fan_in(self) -> Tensor:
        """Connections into each output unit. Shape ``(outputs,)``, int64."""
        return torch.bincount(self.rows, minlength=self.shape[0])

    def fan_out(self) -> Tensor:
        """Connections out of each input unit. Shape ``(inputs,)``, int64."""
        return torch.bincount(self.columns, minlength=self.shape[1])

    def mask(self) -> Tensor:
        """The pattern as a matrix. Shape ``(outputs, inputs)``, bool."""
        mask = torch.zeros(self.shape, dtype=torch.bool, device=self.rows.device)
        mask[self.rows, self.columns] = True
        return mask


class SparseLayer(nn.Module, ABC):
    """A layer whose units are connected by a pattern, and which rearranges itself.

    Methods in the past participle are pure: they return what would change, with names relative to
    the layer, and change nothing. Once the changes are written, `settle` makes the layer's own
    bookkeeping agree with its tensors. Units are features of a linear layer and channels of a
    convolution. A connection of a convolution is a whole kernel, or a single weight of one: then
    the pattern has a column for each place in the kernels that read a channel. Whether a layer of
    one's own keeps these promises, `structure_net.testing.check_sparse_layer` tells.

    Attributes:
        channel_dim: The axis of inputs and outputs that holds the units: -1 of a linear layer, 1 of
            a convolution.
        bias: Shape ``(outputs,)``, or None.
    """

    channel_dim: int
    bias: nn.Parameter | None

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuses to be scripted: TorchScript knows neither the storages nor their kernels."""
        raise TypeError(
            f"{type(self).__name__} cannot be scripted. Use torch.export.export or "
            "torch.jit.trace, which record the products as operators."
        )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As every module's; where it raises, the layer is as it was, bit for bit."""
        with all_or_nothing(self, state_dict, assign=assign):
            return super().load_state_dict(state_dict, strict=strict, assign=assign)

    @property
    @abstractmethod
    def in_channels(self) -> int:
        """The number of input units."""

    @property
    @abstractmethod
    def out_channels(self) -> int:
        """The number of output units."""

    @property
    @abstractmethod
    def pattern(self) -> SparsePattern:
        """The live connections, sorted by row and then by column."""

    @property
    def sources(self) -> Tensor:
        """The input unit of each column of the pattern. Shape ``(columns,)``, int64, ascending.

        One column for each unit, unless single weights of a convolution are connections.
        """
        return torch.arange(self.in_channels)

    @property
    def unit_pattern(self) -> SparsePattern:
        """The pairs of units that a connection joins, or several: ``(output unit, input unit)``."""
        pattern, sources, inputs = self.pattern, self.sources, self.in_channels
        if len(sources) == inputs:
            return pattern
        keys = (pattern.rows * inputs + sources.to(pattern.rows.device)[pattern.columns]).unique()
        return SparsePattern(keys // inputs, keys % inputs, (pattern.shape[0], inputs))

    @property
    @abstractmethod
    def live_weights(self) -> Tensor:
        """The weights of the live connections, in the pattern's order. Shape ``(n, *kernel)``."""

    @abstractmethod
    def dense_weight(self) -> Tensor:
        """The weights with zeros off the pattern. Shape ``(outputs, inputs, *kernel)``."""

    @property
    def places(self) -> Tensor:
        """Each live connection as ``output * columns + column``. Shape ``(n,)``, int64, ascending.

        ``columns`` are those of the pattern.
        """
        pattern = self.pattern
        return pattern.rows * pattern.shape[1] + pattern.columns

    def fan_in(self) -> Tensor:
        """Live connections into each output unit. Shape ``(outputs,)``, int64."""
        return self.pattern.fan_in()

    def fan_out(self) -> Tensor:
        """Live connections out of each input unit. Shape ``(inputs,)``, int64."""
        columns = self.pattern.columns
        return torch.bincount(self.sources.to(columns.device)[columns], minlength=self.in_channels)

    @property
    def connections(self) -> int:
        """The number of live weights: a kernel of a convolution counts each of its entries."""
        return self.live_weights.numel()

    @property
    def density(self) -> float:
        """The fraction of possible connections that exist, in [0, 1]."""
        return self.pattern.density

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the output for an input of ``shape``; a linear layer's unless overridden."""
        return (*shape[:-1], self.out_channels)

    @abstractmethod
    def reindexed(
        self,
        dim: int,
        source: Sequence[int] | Tensor,
        *,
        new: Newborn,
        scale: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[TensorChange, ...]:
        """The layer after its outputs (``dim`` 0) or inputs (``dim`` 1) follow an index map.

        Args:
            dim: 0 for output units, 1 for input units.
            source: For each unit after the edit, the old index it comes from, or -1 for a new one.
            new: How new units are connected. ``"fresh"``: at random at the layer's density, at
                least one connection each, with freshly drawn weights. ``"silent"``: the same with
                weight 0. ``"empty"``: not at all.
            scale: What entries along ``dim`` are multiplied with, the bias included where ``dim``
                is 0. Shape ``(len(source),)``.
            generator: What new connections are drawn with; torch's default generator if None.

        Returns:
            The changes. Their ``carry`` gives new entries zero and copies their origin's value.

        Raises:
            SurgeryError: No unit would be left, or a source is out of range.
        """

    @abstractmethod
    def connected(self, pairs: Pairs, values: Tensor | None = None) -> tuple[TensorChange, ...]:
        """The layer with ``pairs`` as further live connections.

        Args:
            pairs: Pairs ``(output unit, input unit)``.
            values: Their weights, shape ``(n,)`` or ``(n, *kernel)``; zeros if None.

        Raises:
            SurgeryError: A pair is out of range, repeated, or connected already.
        """

    @abstractmethod
    def disconnected(self, pairs: Pairs) -> tuple[TensorChange, ...]:
        """The layer without the live connections ``pairs``.

        Raises:
            SurgeryError: A pair is not connected, or no connection would be left.
        """

    def moved(
        self, removed: Pairs, added: Pairs, values: Tensor | None = None
    ) -> tuple[TensorChange, ...]:
        """The layer without the live connections ``removed`` and with ``added``.

        What `disconnected` and then `connected` make: a pair in both is born anew.

        Args:
            removed: Pairs ``(output unit, input unit)`` that are connected.
            added: Pairs that are not, or that are in ``removed``.
            values: The weights of ``added``, shape ``(n,)`` or ``(n, *kernel)``; zeros if None.

        Raises:
            SurgeryError: One of the two would raise it.
        """
        cut = self.disconnected(removed)
        other = copy.deepcopy(self)
        assign(other, cut)
        other.settle()
        return in_turn(cut, other.connected(added, values))

    @abstractmethod
    def merged(self, pairs: Pairs, *, part: float = 1.0) -> tuple[TensorChange, ...]:
        """The layer whose readers of some input units read others instead.

        Args:
            pairs: Pairs ``(kept, dropped)`` of input units, no unit in two of them. The weights
                from ``dropped`` are added to those from ``kept``; nothing reads ``dropped`` then.
            part: In [0, 1]: how much of them is handed over. Below 1 the rest stays, and so does
                the pattern of what reads ``dropped``.

        Returns:
            The changes; state of connections that ``kept`` had stays, that of others is zero.

        Raises:
            SurgeryError: A unit is out of range, or is in two pairs.
        """

    @abstractmethod
    def branch(self, pattern: SparsePattern) -> SparseLayer:
        """A layer like this one on ``pattern``, with zero weights and without a bias."""

    @abstractmethod
    def settle(self) -> None:
        """Makes bookkeeping agree with the tensors, after changes were written."""


def pair_indices(pairs: Pairs, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """``pairs`` as two index vectors.

    Returns:
        Rows and columns, shape ``(n,)`` each, int64, in the given order.

    Raises:
        ValueError: A pair is out of range or repeated, or ``pairs`` is not a list of pairs.
    """
    rows, columns = columns_of_pairs(pairs)
    compiles = len(rows) >= _MANY and rows.is_cpu
    if compiles and ascending_places(rows.numpy(), columns.numpy(), *shape):
        return rows, columns
    _check_range(rows, columns, shape)
    keys = rows * shape[1] + columns
    if not ascend(keys):
        keys, counts = keys.unique(return_counts=True)
        if len(keys) != len(rows):
            repeated = int(keys[counts > 1][0])
            raise ValueError(f"A pair may be given once; {divmod(repeated, shape[1])} is repeated.")
    return rows, columns


def ascend(keys: Tensor) -> bool:
    """Whether each of ``keys``, shape ``(n,)``, is larger than the one before it."""
    return bool((keys[1:] > keys[:-1]).all())


def _check_shape(shape: tuple[int, int]) -> None:
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"A pattern needs at least one output and one input; got shape {shape}.")


def _check_range(rows: Tensor, columns: Tensor, shape: tuple[int, int]) -> None:
    if not (_below(rows, shape[0]) and _below(columns, shape[1])):
        outside = (rows < 0) | (rows >= shape[0]) | (columns < 0) | (columns >= shape[1])
        first = int(outside.nonzero()[0])
        pair = (int(rows[first]), int(columns[first]))
        raise ValueError(f"A pair must lie in a layer of shape {shape}; got {pair}.")


def _below(units: Tensor, count: int) -> bool:
    """Whether all are in [0, count)."""
    if not len(units):
        return True
    least, most = units.aminmax()
    return int(least) >= 0 and int(most) < count
