"""Trial connections: trained beside a sparse layer, then merged into it or thrown away."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from structure_net.core.carrying import carried, leaving
from structure_net.core.changes import TensorChange, assign
from structure_net.core.columns import columns_of, merge_indices
from structure_net.core.moments import LeaveGroup
from structure_net.core.sparsity import (
    Newborn,
    Pairs,
    SparseLayer,
    SparsePattern,
    pair_indices,
)
from structure_net.errors import SurgeryError


class TemporaryPatchLayer(SparseLayer):
    r"""A sparse layer with connections on trial: :math:`y = W x + P x + b`.

    The trial weights ``P`` start at 0, so that the function is kept, or at random. They are
    parameters of their own, so that they can be trained alone or compared with the layer's. To the
    rest of the framework the two are one sparse layer with both patterns. Trial connections count
    as live; `accept` keeps the function to rounding, `remove` gives back the layer as it is then.

    Args:
        base: The layer below. Its parameters stay the same objects.
        pairs: The trial connections, pairs ``(output unit, input unit)`` that ``base`` lacks.
        scale: The standard deviation of the trial weights, as a multiple of ``1 / sqrt(f)`` with
            ``f`` the mean number of live weights into a unit of ``base``.
        generator: What they are drawn with; torch's default generator if None.

    Raises:
        SurgeryError: A pair is out of range, repeated, or connected in ``base``.

    Example:
        >>> from structure_net.core import create_standard_network
        >>> network = create_standard_network([8, 6, 2], density=0.5, seed=0)
        >>> absent = (~network.layers[0].pattern.mask()).nonzero()[:3]
        >>> trial = TemporaryPatchLayer(network.layers[0], absent)
        >>> network.layers[0] = trial  # train, and judge
        >>> network.layers[0] = trial.accept()
        >>> network.get_network_stats()["total_connections"]
        33
    """

    def __init__(
        self,
        base: SparseLayer,
        pairs: Pairs,
        *,
        scale: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        base.connected(pairs)
        self.channel_dim = base.channel_dim
        self.base = base
        self.patch = base.branch(_pattern(base, pairs))
        if scale != 0.0:
            self._draw(scale, generator)
        self.train(base.training)

    @property
    def bias(self) -> nn.Parameter | None:  # type: ignore[override]  # the base's, read only
        """The bias of the layer below. Shape ``(outputs,)``, or None."""
        return self.base.bias

    @property
    def in_channels(self) -> int:
        """The number of input units."""
        return self.base.in_channels

    @property
    def out_channels(self) -> int:
        """The number of output units."""
        return self.base.out_channels

    @property
    def sources(self) -> Tensor:
        """The input unit of each column of the pattern. See `SparseLayer.sources`."""
        return self.base.sources

    @property
    def pattern(self) -> SparsePattern:
        """The live connections of layer and trial, sorted by row and then by column."""
        return self._union()[0]

    @property
    def live_weights(self) -> Tensor:
        """Their weights, in the pattern's order. Shape ``(n, *kernel)``."""
        both = torch.cat((self.base.live_weights, self.patch.live_weights))
        return both[self._union()[1]]

    def dense_weight(self) -> Tensor:
        """The weights of layer and trial together. Shape ``(outputs, inputs, *kernel)``."""
        return self.base.dense_weight() + self.patch.dense_weight()

    def forward(self, inputs: Tensor) -> Tensor:
        """The layer's output plus the trial connections'."""
        outputs: Tensor = self.base(inputs) + self.patch(inputs)
        return outputs

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the output for an input of ``shape``."""
        return self.base.output_shape(shape)

    def accept(self) -> SparseLayer:
        """Merges the trial connections into the layer below, in place.

        All optimizers of the layer below go on; the moments of the connections that it gains begin
        at zero, as those of any new connection, and those of the trial are gone with its weights.

        Returns:
            The layer below, to be put in this one's place. This one has no trial connections any
            more, and computes the same.

        Raises:
            SurgeryError: An optimizer's state cannot follow, as that of `torch.optim.LBFGS`, or
                inference mode is on. Nothing was changed.
        """
        if torch.is_inference_mode_enabled():
            raise SurgeryError(
                "Tensors made under torch.inference_mode() cannot be trained; accept connections"
                " outside of it, or use torch.no_grad()."
            )
        trial, left = self.patch.pattern, leaving(self.patch.parameters())
        if len(trial):
            values = self.patch.live_weights.detach()
            changes = self.base.connected(torch.stack((trial.rows, trial.columns), 1), values)
            states = carried(dict(self.base.named_parameters()), changes)
            assign(self.base, changes)
            self.base.settle()
            for state in states:
                state.write()
        return self._without_trial(left)

    def remove(self) -> SparseLayer:
        """Throws the trial connections away, in place; optimizers let go of their weights.

        Returns:
            The layer below, to be put in this one's place.
        """
        return self._without_trial(leaving(self.patch.parameters()))

    def reindexed(
        self,
        dim: int,
        source: Sequence[int] | Tensor,
        *,
        new: Newborn,
        scale: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[TensorChange, ...]:
        """See `SparseLayer.reindexed`; new units get no trial connections."""
        base = self.base.reindexed(dim, source, new=new, scale=scale, generator=generator)
        patch = self.patch.reindexed(dim, source, new="empty", scale=scale)
        return (*_within("base", base), *_within("patch", patch))

    def connected(self, pairs: Pairs, values: Tensor | None = None) -> tuple[TensorChange, ...]:
        """See `SparseLayer.connected`; the layer below gets the connections."""
        self.patch.connected(pairs)
        return _within("base", self.base.connected(pairs, values))

    def disconnected(self, pairs: Pairs) -> tuple[TensorChange, ...]:
        """See `SparseLayer.disconnected`; each connection is taken from where it is."""
        try:
            shape = self.base.pattern.shape
            rows, columns = pair_indices(pairs, shape)
        except ValueError as error:
            raise SurgeryError(str(error)) from error
        trial = torch.isin(rows * shape[1] + columns, _keys(self.patch.pattern))
        table = torch.stack((rows, columns), 1)
        changes: tuple[TensorChange, ...] = ()
        if not bool(trial.all()):
            changes = _within("base", self.base.disconnected(table[~trial]))
        if bool(trial.any()):
            changes += _within("patch", self.patch.disconnected(table[trial]))
        return changes

    def merged(self, pairs: Pairs, *, part: float = 1.0) -> tuple[TensorChange, ...]:
        """See `SparseLayer.merged`; trial connections meet the layer's own.

        Raises:
            SurgeryError: As there, or a trial connection would double one of the layer below.
        """
        kept, dropped = merge_indices(pairs, self.in_channels)
        width = self.base.pattern.shape[1]
        slots = width // self.in_channels
        kept, dropped = columns_of(kept, slots), columns_of(dropped, slots)
        read = torch.arange(width)
        read[dropped] = kept
        several = torch.zeros(width, dtype=torch.bool)
        several[kept] = True
        base, patch = (_read_as(one.pattern, read, several) for one in (self.base, self.patch))
        if bool(torch.isin(base, patch).any()):
            raise SurgeryError(
                "Merging these inputs would double a connection that is on trial; accept() or "
                "remove() the trial connections first."
            )
        return (
            *_within("base", self.base.merged(pairs, part=part)),
            *_within("patch", self.patch.merged(pairs, part=part)),
        )

    def branch(self, pattern: SparsePattern) -> SparseLayer:
        """A layer like the one below on ``pattern``, with zero weights and without a bias."""
        return self.base.branch(pattern)

    def settle(self) -> None:
        """Settles layer and trial."""
        self.base.settle()
        self.patch.settle()

    def extra_repr(self) -> str:
        """The number of trial connections, as `print` shows it."""
        return f"trial_connections={len(self.patch.pattern)}"

    def _without_trial(self, left: Sequence[LeaveGroup]) -> SparseLayer:
        self.patch = self.base.branch(_pattern(self.base, ()))
        for one in left:
            one.apply()
        return self.base

    def _union(self) -> tuple[SparsePattern, Tensor]:
        """Both patterns as one, and which connection of the two, one behind the other, each is."""
        base, trial = self.base.pattern, self.patch.pattern
        rows = torch.cat((base.rows, trial.rows))
        columns = torch.cat((base.columns, trial.columns))
        order = torch.argsort(rows * base.shape[1] + columns)
        return SparsePattern(rows[order], columns[order], base.shape), order

    def _draw(self, scale: float, generator: torch.Generator | None) -> None:
        trial = self.patch.pattern
        pairs = torch.stack((trial.rows, trial.columns), 1)
        fan_in = max(self.base.connections / self.base.out_channels, 1.0)
        shape = self.patch.live_weights.shape
        device = generator.device if generator is not None else torch.device("cpu")
        values = torch.randn(shape, generator=generator, device=device) * scale / fan_in**0.5
        empty = self.base.branch(_pattern(self.base, ()))
        assign(empty, empty.connected(pairs, values))
        self.patch = empty


def _pattern(base: SparseLayer, pairs: Pairs) -> SparsePattern:
    return SparsePattern.from_pairs(pairs, base.pattern.shape)


def _keys(pattern: SparsePattern) -> Tensor:
    """The place of each connection in the whole matrix. Shape ``(n,)``, on the CPU."""
    return (pattern.rows * pattern.shape[1] + pattern.columns).cpu()


def _read_as(pattern: SparsePattern, read: Tensor, chosen: Tensor) -> Tensor:
    """The places of connections whose inputs are read as others, those that read ``chosen``."""
    columns = read[pattern.columns.cpu()]
    keep = chosen[columns]
    return pattern.rows.cpu()[keep] * pattern.shape[1] + columns[keep]


def _within(name: str, changes: Sequence[TensorChange]) -> tuple[TensorChange, ...]:
    return tuple(change.within(name) for change in changes)
