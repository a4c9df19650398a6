"""Where a sparse layer keeps its weights: a list of those that exist, or a dense matrix beside a
mask, whichever pays for its pattern.

No flag says which of the two a layer is in: its tensors do. So a switch is a change of tensors like
every other edit, and whoever carries changes out, takes them back, copies or saves layers need not
know of it. Neither do results depend on it, beyond rounding.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from structure_net.core.changes import TensorChange
from structure_net.core.columns import born_of, columns_of, followed, merge_indices
from structure_net.core.crossover import Storage, storage_for
from structure_net.core.drawing import normal_noise
from structure_net.core.keeping import all_or_nothing, by_name
from structure_net.core.live import KnownIndex, Live
from structure_net.core.live_index import NAMES, LiveIndex
from structure_net.core.masking import GradientMask, Masked, zero_off
from structure_net.core.pair_edits import places_of, weights_for
from structure_net.core.rearranging import Born, Carry, blank, gathered, scaled_noise
from structure_net.core.restoring import derive, make_room, same_places
from structure_net.core.sparsity import (
    Newborn,
    Pairs,
    SparseLayer,
    SparsePattern,
)
from structure_net.core.stale_moments import STALE_MOMENTS
from structure_net.core.switching import (
    BUFFERS,
    DERIVED,
    Content,
    dense,
    silent,
    storage_of,
    stored_tensors,
    switched,
)

RELU_GAIN: Final = math.sqrt(2.0)


class StoredLayer(SparseLayer):
    """A sparse layer that stores its weights as a list, or densely beside a mask.

    Attributes:
        weight: In live storage the weights of the connections, in the pattern's order, shape
            ``(n, *kernel)``. In masked storage shape ``(outputs, inputs, *kernel)``, zero off the
            pattern.
        bias: Shape ``(outputs,)``, or None.
        mask: Masked storage: the pattern. Shape ``(outputs, inputs)``, bool.
        offsets: Live storage: where each output's weights begin, and their number. Shape
            ``(outputs + 1,)``, int32, as all that follow.
        columns: Live storage: the input of each weight. Shape ``(n,)``.
        column_offsets: Live storage: where each input's weights begin in column order. Shape
            ``(inputs + 1,)``.
        rows: Live storage: the output of each weight in column order. Shape ``(n,)``.
        order: Live storage: its place in row order. Shape ``(n,)``.
        gain: The factor of freshly drawn weights.
    """

    weight: nn.Parameter
    mask: Tensor
    offsets: Tensor
    columns: Tensor
    column_offsets: Tensor
    rows: Tensor
    order: Tensor

    def __init__(
        self, pattern: SparsePattern, kernel: tuple[int, ...], *, bias: bool, single: bool = False
    ) -> None:
        super().__init__()
        storage = storage_for(pattern.shape, len(pattern), kernel=kernel)
        entries = () if single else kernel
        tensors = stored_tensors(silent(pattern, entries, storage))
        self.weight = nn.Parameter(tensors["weight"])
        self.bias = nn.Parameter(torch.zeros(pattern.shape[0])) if bias else None
        for name in BUFFERS:
            self.register_buffer(name, tensors[name], persistent=name not in DERIVED)
        self.gain = RELU_GAIN
        self._window = kernel
        self._kernel_dims = len(entries)
        self._slots = math.prod(kernel) if single else 1
        self._gradient_mask = GradientMask()
        self._known = KnownIndex()

    @property
    def storage(self) -> Storage:
        """How the weights are stored: ``"live"`` or ``"masked"``."""
        return "live" if self.weight.dim() == 1 + self._kernel_dims else "masked"

    @property
    def in_channels(self) -> int:
        """The number of input units."""
        return self._shape[1] // self._slots

    @property
    def out_channels(self) -> int:
        """The number of output units."""
        return self._shape[0]

    @property
    def sources(self) -> Tensor:
        """The input unit of each column of the pattern. See `SparseLayer.sources`."""
        return torch.arange(self._shape[1]) // self._slots

    @property
    def index(self) -> LiveIndex:
        """Where the live weights stand; made anew for each use in masked storage."""
        if self.storage == "masked":
            return LiveIndex.from_pattern(self.pattern)
        held: dict[str, Any] = self._buffers
        return self._known.of([held[name] for name in NAMES])

    @property
    def pattern(self) -> SparsePattern:
        """The live connections, sorted by row and then by column."""
        return self._content().pattern()

    @property
    def places(self) -> Tensor:
        """Each live connection as ``output * columns + column``; see `SparseLayer.places`."""
        return self._content().places()

    def fan_in(self) -> Tensor:
        """Live connections into each output unit. Shape ``(outputs,)``, int64."""
        return self._content().fan_in()

    def fan_out(self) -> Tensor:
        """Live connections out of each input unit. Shape ``(inputs,)``, int64."""
        return self._content().fan_out().view(-1, self._slots).sum(1)

    @property
    def live_weights(self) -> Tensor:
        """The weights of the live connections, in the pattern's order. Shape ``(n, *kernel)``."""
        return self.weight if self.storage == "live" else self.weight[self.mask]

    @property
    def connections(self) -> int:
        """The number of live weights: a kernel of a convolution counts each of its entries."""
        return self._count() * math.prod(self._kernel)

    @property
    def density(self) -> float:
        """The fraction of possible connections that exist, in [0, 1]."""
        return self._count() / math.prod(self._shape)

    def dense_weight(self) -> Tensor:
        """The weight, with the gradient of the live ones. Shape ``(outputs, inputs, *kernel)``."""
        if self.storage == "live":
            return dense(self.weight, self.index)
        return self._gradient_mask.over(self.weight, self.mask, single=False)

    def product_weight(self) -> Tensor:
        """`dense_weight` at the least cost, for one use as the weight of a product."""
        if self.storage == "live":
            return dense(self.weight, self.index)
        return self._gradient_mask.over(self.weight, self.mask, single=True)

    def reset_parameters(
        self, generator: torch.Generator | None = None, *, gain: float = RELU_GAIN
    ) -> None:
        r"""Draws the live weights from :math:`N(0, g^2 / f_i)`, and zeroes the bias.

        ``f_i`` counts the live weights into unit ``i``, so that every unit starts at the same scale
        however few connections it has.

        Args:
            generator: The source of randomness; torch's default generator if None.
            gain: ``g``; the square root of 2 in front of a ReLU. Units that grow later are drawn
                with it, too.

        References:
            He et al., "Delving deep into rectifiers", ICCV 2015. Evci et al., "Gradient flow in
            sparse neural networks and how lottery tickets win", AAAI 2022.
        """
        self.gain = gain
        noise = normal_noise((self._count(), *self._kernel), generator).to(self.weight)
        pattern = self.pattern
        self.fill(scaled_noise(noise, pattern.fan_in()[pattern.rows], gain))
        with torch.no_grad():
            if self.bias is not None:
                self.bias.zero_()

    @torch.no_grad()
    def fill(self, values: Tensor | float) -> None:
        """Writes the live weights, in place.

        Args:
            values: In the pattern's order, shape ``(n, *kernel)``, or one number for all.

        Raises:
            ValueError: They have another shape.
        """
        given, shape = torch.as_tensor(values).to(self.weight), (self._count(), *self._kernel)
        try:
            live = given.expand(shape)
        except RuntimeError as error:
            raise ValueError(
                f"values must have the shape {shape}, or be one number; got {tuple(given.shape)}."
            ) from error
        if self.storage == "live":
            self.weight.copy_(live)
        else:
            self.weight[self.mask] = live

    @torch.no_grad()
    def fill_by(self, initialise: Callable[[Tensor], object]) -> None:
        """Writes the live weights as an initialiser of matrices draws them, in either storage.

        ``layer.fill_by(nn.init.xavier_uniform_)``: what `torch.nn.init` asks for is a matrix, which
        a list of live weights is not. It takes the memory of the dense weight for a moment.

        Args:
            initialise: Writes into a tensor of the dense weight's shape, as `dense_weight` has it;
                units count all their inputs there, not those that they are connected to.
        """
        matrix, places = self.dense_weight().detach().clone(), self.places
        initialise(matrix)
        self.fill(matrix.reshape(-1, *self._kernel)[places])

    def stored(self, storage: Storage) -> tuple[TensorChange, ...]:
        """The layer in another storage; nothing where it is in this one already."""
        if storage == self.storage:
            return ()
        return self._changes(*switched(self._content(), lambda state: state))

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

        See `SparseLayer.reindexed`.
        """
        index = followed(source, (self.out_channels, self.in_channels), dim)
        index = index.to(self.weight.device)
        born = self._born(dim, index, new, generator)
        if dim == 1:
            index = columns_of(index, self._slots)
            scale = None if scale is None else scale.repeat_interleave(self._slots)
        changes = self._settled(self._content().reindexed(dim, index, scale=scale, born=born))
        if dim == 0 and self.bias is not None:
            bias = gathered(self.bias.detach(), 0, index)
            bias = bias if scale is None else bias * scale.to(bias)
            change = TensorChange("bias", bias, lambda state: gathered(state, 0, index))
            changes = (*changes, change)
        return changes

    def connected(self, pairs: Pairs, values: Tensor | None = None) -> tuple[TensorChange, ...]:
        """The layer with ``pairs`` as further live connections. See `SparseLayer.connected`."""
        return self.moved((), pairs, values)

    def disconnected(self, pairs: Pairs) -> tuple[TensorChange, ...]:
        """The layer without the live connections ``pairs``. See `SparseLayer.disconnected`."""
        return self.moved(pairs, ())

    def moved(
        self, removed: Pairs, added: Pairs, values: Tensor | None = None
    ) -> tuple[TensorChange, ...]:
        """The layer without ``removed`` and with ``added``. See `SparseLayer.moved`."""
        device = self.weight.device
        gone, come = (places_of(pairs, self._shape, device) for pairs in (removed, added))
        weights = weights_for(values, len(come[0]), self.weight, self._kernel)
        return self._settled(self._content().moved(gone, come, weights))

    def merged(self, pairs: Pairs, *, part: float = 1.0) -> tuple[TensorChange, ...]:
        """The layer whose readers of ``dropped`` read ``kept``. See `SparseLayer.merged`."""
        kept, dropped = merge_indices(pairs, self.in_channels)
        kept, dropped = (
            columns_of(one.to(self.weight.device), self._slots) for one in (kept, dropped)
        )
        return self._settled(self._content().merged(kept, dropped, part))

    def off_pattern(self) -> int:
        """How many weights off the pattern are not zero: 0 unless something else wrote them."""
        content = self._content()
        return content.off_pattern() if isinstance(content, Masked) else 0

    def settle(self) -> None:
        """Zeroes the weight off the pattern.

        Raises:
            ValueError: The tensors of the storage differ in shape.
        """
        if self.storage == "masked":
            zero_off(self.weight, self.mask)
        elif self.weight.shape[0] != self.columns.shape[0]:
            raise ValueError(
                f"The weight must hold one entry for each of the {self.columns.shape[0]} "
                f"connections; got {self.weight.shape[0]}."
            )

    @abstractmethod
    def branch(self, pattern: SparsePattern) -> StoredLayer:
        """A layer like this one on ``pattern``, with zero weights and without a bias."""

    @property
    def _kernel(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[self.weight.dim() - self._kernel_dims :])

    @property
    def _shape(self) -> tuple[int, int]:
        """The numbers of rows and of columns of the pattern."""
        if self.storage == "live":
            return self.offsets.shape[0] - 1, self.column_offsets.shape[0] - 1
        return self.weight.shape[0], self.weight.shape[1]

    def _count(self) -> int:
        if self.storage == "live":
            return self.weight.shape[0]
        return int(self.mask.count_nonzero())

    def _content(self) -> Content:
        weight = self.weight.detach()
        return Live(weight, self.index) if self.storage == "live" else Masked(weight, self.mask)

    def _settled(self, edited: tuple[Content, Carry]) -> tuple[TensorChange, ...]:
        """What an edit made, in the storage that pays for it."""
        content = edited[0]
        pays = storage_for(content.shape, content.count, kernel=self._window, current=self.storage)
        return self._changes(*(edited if pays == storage_of(content) else switched(*edited)))

    def _changes(self, content: Content, carry: Carry) -> tuple[TensorChange, ...]:
        tensors = stored_tensors(content)
        if isinstance(content, Live):
            self._known.expect(content.index)
        changes = [TensorChange("weight", tensors.pop("weight"), carry)]
        for name, data in tensors.items():
            if data.numel() or getattr(self, name).numel():
                changes.append(TensorChange(name, data, blank(data.shape)))
        return tuple(changes)

    def _born(
        self, dim: int, index: Tensor, new: Newborn, generator: torch.Generator | None
    ) -> Born | None:
        """The connections of the new units in ``index``, at the layer's density."""
        lines = (index < 0).nonzero().flatten().tolist()
        if not lines or new == "empty":
            return None
        born = born_of(
            dim, lines, self._shape, slots=self._slots, density=self.density, generator=generator
        )
        if new == "silent":
            return born
        noise = normal_noise((len(born.rows), *self._kernel), generator)
        return replace(born, noise=noise, gain=self.gain)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self._unused():
            destination.pop(f"{prefix}{name}", None)

    @by_name
    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Takes over the storage and the connections of what is loaded, where it fits; else the
        layer stays as it is.
        """
        saved = {name: state.get(f"{prefix}{name}") for name in ("weight", *BUFFERS)}
        missing, errors, assign = rest[2], rest[4], rest[0].get("assign_to_params_buffers", False)
        known, moves = len(errors), not same_places(self, saved)
        with all_or_nothing(self, state, prefix=prefix, assign=assign) as put_back:
            try:
                make_room(self, saved, self._shape, self._kernel)
                super()._load_from_state_dict(state, prefix, *rest)
                if len(errors) == known:
                    derive(self, self._shape)
                    self.settle()
            except ValueError as error:
                errors.append(
                    f"{prefix.rstrip('.') or 'The layer'} cannot hold what was saved: {error}"
                )
            unused = {f"{prefix}{name}" for name in self._unused()}
            missing[:] = [name for name in missing if name not in unused]
            if len(errors) > known:
                put_back()
            elif moves:
                STALE_MOMENTS.note(self)

    def _unused(self) -> list[str]:
        return [name for name, storage in BUFFERS.items() if storage != self.storage]
