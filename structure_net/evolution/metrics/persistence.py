r"""Neural persistence of layers, beside what shuffled weights have, and deep graph persistence.

A layer is a weighted bipartite graph. With :math:`w'_e = |w_e| / s`, where :math:`s` is the largest
magnitude of **all** layers of the network, every unit is born at 1 and components merge at the
weights of a maximum spanning forest. Neural persistence is :math:`(\sum_e (1 - w'_e)^p)^{1/p}` over
these merges: large where a few strong connections reach only part of the units.

Of independent weights it is a statistic of their tail: shuffling all entries of the matrix hardly
changes it, one outlier changes it much, since that rescales all the others. What the *place* of the
weights adds is its excess over the same weights shuffled, which `shuffled_persistence` draws and
`NullComparison` measures in standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from structure_net.core.sparsity import SparsePattern
from structure_net.evolution.metrics.forests import (
    Forest,
    dense_forest,
    random_dense_merges,
    random_merges,
    sparse_forest,
)
from structure_net.evolution.metrics.validity import Unavailable


@dataclass(frozen=True, slots=True, eq=False)
class NeuralPersistence:
    r"""The 0-dimensional persistence of one layer's weights.

    Args:
        merges: :math:`w'_e` of the spanning forest, descending, in [0, 1]. Shape
            ``(vertices - components,)``, float64.
        vertices: Outputs and inputs, ``n``.
        order: ``p``.
        forest: The forest, to start from next time; None where it was not asked for.
    """

    merges: Tensor
    vertices: int
    order: float = 2.0
    forest: Forest | None = None

    @property
    def components(self) -> int:
        """Parts that no weight connects; 1 of a dense layer."""
        return self.vertices - len(self.merges)

    @property
    def diagram(self) -> Tensor:
        """Births and deaths of the components that merge. Shape ``(n - components, 2)``."""
        return torch.stack([torch.ones_like(self.merges), self.merges], 1)

    def total(self, *, essential: bool = False) -> float:
        r""":math:`(\sum_e (1 - w'_e)^p)^{1/p}`.

        Args:
            essential: Also counts each part that never merges, as if it died at 0. The published
                program does so by accident.
        """
        lengths = (1 - self.merges).pow(self.order).sum() + essential * self.components
        return math.pow(float(lengths), 1 / self.order)

    def per_vertex(self, *, essential: bool = False) -> float:
        """The published normalisation, ``total / (n - 1) ** (1 / p)``.

        At most 1 without ``essential``. Of a layer that falls into parts it is small because there
        are few merges; compare such layers `per_merge`. 0 with a single vertex.
        """
        bars = self.vertices - 1
        return self.total(essential=essential) / math.pow(bars, 1 / self.order) if bars else 0.0

    def per_merge(self) -> float | Unavailable:
        """``total / (n - components) ** (1 / p)``, in [0, 1]: the same for dense layers."""
        if not len(self.merges):
            return Unavailable("no weight connects any two units of the layer")
        return self.total() / math.pow(len(self.merges), 1 / self.order)

    def rescaled(self, factor: float) -> Self:
        """The same weights relative to a largest magnitude that is ``1 / factor`` times as large.

        Args:
            factor: In [0, 1].
        """
        return replace(self, merges=self.merges * factor)


@dataclass(frozen=True, slots=True, eq=False)
class ShuffledPersistence:
    """The 0-dimensional persistence of a layer's weights in random places.

    Args:
        merges: See `NeuralPersistence`. Shape ``(samples, vertices - components)``, float64.
        vertices: Outputs and inputs, ``n``.
        order: ``p``.
    """

    merges: Tensor
    vertices: int
    order: float = 2.0

    def totals(self) -> Tensor:
        """`NeuralPersistence.total` of each sample. Shape ``(samples,)``."""
        return (1 - self.merges).pow(self.order).sum(1).pow(1 / self.order)

    def per_vertex(self) -> Tensor:
        """`NeuralPersistence.per_vertex` of each sample. Shape ``(samples,)``."""
        return self.totals() / math.pow(max(self.vertices - 1, 1), 1 / self.order)

    def rescaled(self, factor: float) -> Self:
        """The same weights relative to a largest magnitude that is ``1 / factor`` times as large.

        Args:
            factor: In [0, 1].
        """
        return replace(self, merges=self.merges * factor)


@dataclass(frozen=True, slots=True, eq=False)
class NullComparison:
    """A number beside what shuffled weights give.

    Args:
        value: What was measured.
        shuffled: The same of shuffled weights. Shape ``(samples,)``, float64.
    """

    value: float
    shuffled: Tensor

    @property
    def mean(self) -> float:
        """The mean of the shuffled ones."""
        return float(self.shuffled.mean())

    @property
    def deviation(self) -> float:
        """Their standard deviation."""
        return float(self.shuffled.std())

    @property
    def excess(self) -> float:
        """``value - mean``: what the places of the weights add."""
        return self.value - self.mean

    @property
    def z(self) -> float | Unavailable:
        """``excess / deviation``; unavailable where no shuffle changes the number."""
        if self.deviation <= 1e-9 * max(abs(self.value), abs(self.mean)):
            return Unavailable("shuffling the weights of this layer changes nothing")
        return self.excess / self.deviation


def largest_magnitude(layers: Iterable[Tensor]) -> float:
    """The largest magnitude of all weights of a network, by which persistence is scaled."""
    return max(
        (float(weights.detach().abs().max()) for weights in layers if weights.numel()), default=0.0
    )


def neural_persistence(
    weights: Tensor,
    *,
    pattern: SparsePattern | None = None,
    scale: float | None = None,
    order: float = 2.0,
    start: Forest | None = None,
) -> NeuralPersistence | Unavailable:
    """The neural persistence of a layer.

    Args:
        weights: Shape ``(outputs, inputs)``; zeros are connections. With ``pattern``: shape
            ``(connections,)``, in its order, and what is not in the pattern connects nothing.
        pattern: The connections of a sparse layer.
        scale: The `largest_magnitude` of the network; of these weights if None.
        order: ``p``, at least 1.
        start: The forest of earlier weights of this layer, which saves time where they are similar.

    Returns:
        Unavailable if there is no weight, or all of the network are 0.

    Raises:
        ValueError: Shapes do not fit, a weight is not finite, one is larger than ``scale``, or
            ``order`` is below 1.

    References:
        Rieck et al., "Neural persistence: a complexity measure for deep neural networks using
        algebraic topology", ICLR 2019.
    """
    checked = _checked(weights, pattern, scale, order)
    if isinstance(checked, Unavailable):
        return checked
    magnitudes, scale = checked
    if pattern is None:
        forest = dense_forest(magnitudes.numpy(), start=start)
    else:
        rows, columns = (index.cpu().numpy() for index in (pattern.rows, pattern.columns))
        forest = sparse_forest(rows, columns, magnitudes.numpy(), pattern.shape)
    merges = torch.from_numpy(forest.weights) / scale
    return NeuralPersistence(merges, forest.vertices, order, forest)


def shuffled_persistence(
    weights: Tensor,
    *,
    pattern: SparsePattern | None = None,
    scale: float | None = None,
    order: float = 2.0,
    samples: int = 50,
    seed: int = 0,
) -> ShuffledPersistence | Unavailable:
    """The persistence of the layer with its weights shuffled over its connections.

    Only the order in which connections come is drawn, so that fifty samples of a dense layer of
    784 x 256 cost about as much as sorting its weights a few times.

    Args:
        weights: See `neural_persistence`, like all that follow.
        pattern: Weights are shuffled within it.
        scale: The largest magnitude of the network.
        order: ``p``.
        samples: How many shuffles.
        seed: What they are drawn from; equal shapes get equal shuffles.

    Raises:
        ValueError: See `neural_persistence`.
    """
    checked = _checked(weights, pattern, scale, order)
    if isinstance(checked, Unavailable):
        return checked
    magnitudes, scale = checked
    if pattern is None:
        shape = (weights.shape[0], weights.shape[1])
        ranks = random_dense_merges(shape, samples=samples, seed=seed)
    else:
        rows, columns = (index.cpu().numpy() for index in (pattern.rows, pattern.columns))
        shape = pattern.shape
        ranks = random_merges(rows, columns, shape, samples=samples, seed=seed)
    needed = int(ranks.max()) + 1
    leading = magnitudes.flatten().topk(needed).values.double() / scale
    return ShuffledPersistence(leading[torch.from_numpy(ranks.copy())], sum(shape), order)


def summarised_weights(weights: Sequence[Tensor], *, standardised: bool = True) -> Tensor:
    r"""How wide the widest path from each input to each output of a chain of layers is.

    :math:`S_{oi} = \max_{\text{paths}} \min_{e \in \text{path}} v_e` with
    :math:`v = |w - \operatorname{mean}(w)| / \operatorname{std}(w)` per layer, divided by the
    largest :math:`v` of all layers. It is computed backwards, one output at a time, and needs no
    memory beyond a layer's matrix.

    A weight that is exactly 0 connects nothing, and takes no part in mean and deviation. Several
    weights between two units (of a kernel) are as strong as their norm, each standardised.

    Args:
        weights: Of the layers from first to last, shape ``(outputs, inputs, ...)`` each.
        standardised: False takes :math:`v = |w|` as it is.

    Returns:
        Shape ``(outputs of the last, inputs of the first)``, float64.

    Raises:
        ValueError: There is no layer, or consecutive shapes do not fit.

    References:
        Girrbach et al., "Addressing caveats of neural persistence with deep graph persistence",
        TMLR 2023.
    """
    _check_chain(weights)
    exact = [matrix.detach().to("cpu", torch.float64) for matrix in weights]
    strengths = [_strengths(_standardised(one) if standardised else one) for one in exact]
    if standardised and (scale := largest_magnitude(strengths)):
        strengths = [matrix / scale for matrix in strengths]
    widest = strengths[-1]
    for matrix in reversed(strengths[:-1]):
        widest = torch.stack([torch.minimum(row[:, None], matrix).amax(0) for row in widest])
    return widest


def deep_graph_persistence(
    weights: Sequence[Tensor], *, scaled: bool = True, order: float = 2.0
) -> NeuralPersistence | Unavailable:
    """The neural persistence of `summarised_weights`, inputs against outputs.

    Args:
        weights: Of the layers from first to last, shape ``(outputs, inputs, ...)`` each.
        scaled: Whether the widest path counts as 1 ("exact" in the published program); else
            the largest standardised weight of all layers does.
        order: ``p``.

    Raises:
        ValueError: There is no layer, or consecutive shapes do not fit.
    """
    summary = summarised_weights(weights)
    return neural_persistence(summary, scale=None if scaled else 1.0, order=order)


def _standardised(weights: Tensor) -> Tensor:
    """Zero mean and unit (population) deviation of what connects; zeros where all is equal."""
    live = weights != 0
    values = weights[live]
    if not len(values):
        return weights
    centred = values - values.mean()
    deviation = centred.square().mean().sqrt()
    return torch.zeros_like(weights).masked_scatter(
        live, centred / deviation if deviation > 0 else 0 * centred
    )


def _strengths(weights: Tensor) -> Tensor:
    """One magnitude for each pair of units."""
    return weights.flatten(2).norm(dim=2) if weights.dim() > 2 else weights.abs()


def _check_chain(weights: Sequence[Tensor]) -> None:
    if not weights:
        raise ValueError("A chain needs at least one layer; got none.")
    for position, (matrix, after) in enumerate(pairwise(weights)):
        if after.shape[1] != matrix.shape[0]:
            raise ValueError(
                f"Layer {position + 1} of the chain must read the {matrix.shape[0]} outputs of the"
                f" one before; it reads {after.shape[1]}."
            )


def _checked(
    weights: Tensor, pattern: SparsePattern | None, scale: float | None, order: float
) -> tuple[Tensor, float] | Unavailable:
    """Magnitudes on the CPU, and the scale."""
    if order < 1:
        raise ValueError(f"order must be at least 1; got {order}.")
    dimensions, name = (2, "a matrix") if pattern is None else (1, "a vector, one per connection")
    if weights.dim() != dimensions or (pattern is not None and len(weights) != len(pattern)):
        raise ValueError(f"weights must be {name}; got shape {tuple(weights.shape)}.")
    if not weights.numel():
        return Unavailable("the layer has no connection")
    exact = torch.float64 if weights.dtype == torch.float64 else torch.float32
    magnitudes = weights.detach().to("cpu", exact).abs().contiguous()
    largest = float(magnitudes.max())
    if not math.isfinite(largest):
        raise ValueError("weights must be finite; got one that is not.")
    scale = largest if scale is None else scale
    if scale == 0:
        return Unavailable("all weights are 0")
    if largest > scale * (1 + 1e-6):
        raise ValueError(
            f"scale must be the largest magnitude of all layers; got {scale}, and a weight of"
            f" magnitude {largest} in this one."
        )
    return magnitudes, max(scale, largest)
