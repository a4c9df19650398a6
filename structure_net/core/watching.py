"""A sparse linear layer that watches what its units do while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from structure_net.core.activations import make_activation
from structure_net.core.changes import TensorChange
from structure_net.core.columns import followed
from structure_net.core.drawing import resolved_pattern
from structure_net.core.extrema import (
    DEAD_THRESHOLD,
    OVERACTIVE_MULTIPLIER,
    SATURATED_SLOPE,
    dead_units,
    largest_activation,
    overactive_units,
    saturated_units,
)
from structure_net.core.layers import (
    StandardSparseLayer,
    leaf_of,
    linear_branch,
    linear_product,
    linear_repr,
    traced_by_fx,
)
from structure_net.core.rearranging import gathered
from structure_net.core.sparsity import Newborn, SparsePattern
from structure_net.core.storage import StoredLayer

_BOUNDED: Final = frozenset({"tanh", "sigmoid"})


class ExtremaAwareSparseLayer(StoredLayer):
    r"""A sparse linear layer that keeps running statistics of its units' activations while it
    trains.

    In training mode each batch updates, per unit, the extrema, mean and mean square of
    ``activation(y)``; the output itself stays ``y``. With ``momentum`` a statistic ``s`` follows
    its batch value ``v`` by :math:`s \leftarrow (1 - m) s + m v`, starting at the first value.
    Without, extrema and means are those of all batches since `reset_statistics`.

    Args:
        in_features: The number of input units.
        out_features: The number of output units.
        activation: The name of the activation that stands behind the layer in the network.
        momentum: ``m``, in (0, 1]; None for exact statistics since the last reset.
        density: The fraction of connections that exist, in (0, 1]; 1 if neither this nor
            ``pattern`` is given.
        pattern: The connections, instead of a density.
        bias: Whether a bias is added; it starts at 0.
        generator: What pattern and weights are drawn with; torch's default generator if None.

    Shape:
        ``(*, in_features)`` to ``(*, out_features)``.

    Attributes:
        statistics: Minimum, maximum, mean and mean square of each unit, also to be had by name.
            Shape ``(4, out_features)``, in the weight's dtype.
        observed: The number of batches seen by each unit since the reset, 0 for a newborn one.
            Shape ``(out_features,)``, int64.

    Raises:
        ValueError: ``activation`` is unknown, or ``momentum`` or ``density`` is out of range.
    """

    channel_dim = -1
    statistics: Tensor
    observed: Tensor

    def __init__(  # noqa: PLR0913 - the arguments of StandardSparseLayer, and what to watch
        self,
        in_features: int,
        out_features: int,
        *,
        activation: str = "relu",
        momentum: float | None = 0.1,
        density: float | None = None,
        pattern: SparsePattern | None = None,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        if momentum is not None and not 0 < momentum <= 1:
            raise ValueError(f"momentum must be None or in (0, 1]; got {momentum}.")
        pattern = resolved_pattern((out_features, in_features), density, pattern, generator)
        super().__init__(pattern, (), bias=bias)
        self.reset_parameters(generator)
        self.activation = activation
        self.momentum = momentum
        self._watched = (make_activation(activation),)
        self.register_buffer("statistics", torch.zeros(4, out_features))
        self.register_buffer("observed", torch.zeros(out_features, dtype=torch.int64))

    @property
    def in_features(self) -> int:
        """The number of input units."""
        return self.in_channels

    @property
    def out_features(self) -> int:
        """The number of output units."""
        return self.out_channels

    @property
    def minimum(self) -> Tensor:
        """The smallest activation of each unit. Shape ``(out_features,)``."""
        return self.statistics[0]

    @property
    def maximum(self) -> Tensor:
        """The largest activation of each unit. Shape ``(out_features,)``."""
        return self.statistics[1]

    @property
    def mean(self) -> Tensor:
        """The mean activation of each unit. Shape ``(out_features,)``."""
        return self.statistics[2]

    @property
    def mean_square(self) -> Tensor:
        """The mean square of each unit's activation. Shape ``(out_features,)``."""
        return self.statistics[3]

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps ``(*, in_features)`` to ``(*, out_features)``, and observes in training mode."""
        if traced_by_fx(inputs):
            return leaf_of(self, inputs)
        outputs = linear_product(self, inputs)
        if self.training:
            self._observe(outputs.detach())
        return outputs

    def reset_statistics(self) -> None:
        """Forgets what was observed."""
        self.statistics.zero_()
        self.observed.zero_()

    def dead(self, threshold: float = DEAD_THRESHOLD) -> Tensor:
        """The observed units whose largest activation is below ``threshold``: the largest absolute
        one behind tanh and the identity, which are centred at 0 (`largest_activation`).

        It keeps extrema and no slopes: behind a smooth activation (GELU, SiLU) a unit can be
        silent here that still reacts, which `StandardExtremaAnalyzer` tells apart.

        Returns:
            Shape ``(out_features,)``, bool.
        """
        largest = largest_activation(self.minimum, self.maximum, self.activation)
        return dead_units(largest, threshold) & (self.observed > 0)

    def saturated(
        self, multiplier: float = OVERACTIVE_MULTIPLIER, *, slope: float = SATURATED_SLOPE
    ) -> Tensor:
        """The observed units that work at the end of their range.

        Args:
            multiplier: Without a bound on the activation: the unit's mean lies more than this many
                standard deviations above the mean of the observed units' means
                (`overactive_units`).
            slope: With one (tanh, sigmoid): the unit's mean derivative is below this fraction of
                the largest possible (`saturated_units`).

        Returns:
            Shape ``(out_features,)``, bool.
        """
        seen = self.observed > 0
        if self.activation in _BOUNDED:
            return saturated_units(self._mean_slope(), slope) & seen
        found = torch.zeros_like(seen)
        if seen.any():
            found[seen] = overactive_units(self.mean[seen], multiplier)
        return found

    def reindexed(
        self,
        dim: int,
        source: Sequence[int] | Tensor,
        *,
        new: Newborn,
        scale: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[TensorChange, ...]:
        """See `SparseLayer.reindexed`; statistics follow the outputs, new units are unobserved."""
        changes = super().reindexed(dim, source, new=new, scale=scale, generator=generator)
        if dim == 1:
            return changes
        index = followed(source, (self.out_channels, self.in_channels), 0)
        return (
            *changes,
            TensorChange(
                "statistics",
                gathered(self.statistics, 1, index),
                lambda state: gathered(state, 1, index),
            ),
            TensorChange(
                "observed",
                gathered(self.observed, 0, index),
                lambda state: gathered(state, 0, index),
            ),
        )

    def branch(self, pattern: SparsePattern) -> StandardSparseLayer:
        """A plain layer like this one on ``pattern``, with zero weights and without a bias."""
        return linear_branch(self, pattern)

    def extra_repr(self) -> str:
        """Sizes, density, bias and what is watched, as `print` shows them."""
        return f"{linear_repr(self)}, activation={self.activation!r}, momentum={self.momentum}"

    @torch.no_grad()
    def _observe(self, outputs: Tensor) -> None:
        rows = self._watched[0](outputs).reshape(-1, self.out_channels).to(self.statistics.dtype)
        if rows.shape[0] == 0:
            return
        # Not aminmax, which is ten times as slow along the first axis.
        batch = torch.stack((rows.amin(0), rows.amax(0), rows.sum(0), (rows * rows).sum(0)))
        batch[2:] /= rows.shape[0]
        if self.momentum is not None:
            rate = torch.where(self.observed == 0, 1.0, self.momentum).to(batch.dtype)
            self.statistics.lerp_(batch, rate)
        else:
            self._accumulate(batch)
        self.observed += 1

    def _accumulate(self, batch: Tensor) -> None:
        """Takes one batch into extrema and means of all since the reset."""
        known, old = self.observed > 0, self.statistics
        smallest = torch.where(known, torch.minimum(old[0], batch[0]), batch[0])
        largest = torch.where(known, torch.maximum(old[1], batch[1]), batch[1])
        old[2:].lerp_(batch[2:], (self.observed + 1).to(batch.dtype).reciprocal())
        old[0].copy_(smallest)
        old[1].copy_(largest)

    def _mean_slope(self) -> Tensor:
        """The mean derivative of a bounded activation, over its largest possible value."""
        if self.activation == "tanh":
            return 1 - self.mean_square
        return 4 * (self.mean - self.mean_square)
