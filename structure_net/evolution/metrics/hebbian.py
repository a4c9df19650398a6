r"""What fires together: correlations of units, Hebb's rule as Oja tamed it, redundant units.

Units are compared by the correlation of their activations over samples. Oja's rule
:math:`\Delta w = \eta\, y\, (x - y w)`, :math:`y = w^T x`, is Hebb's rule with a decay that keeps
the weights finite; it stands still where ``w`` is an eigenvector of the inputs' second moment, and
stably so at the principal one, so that it says which direction of its inputs a unit looks at.

References:
    Oja, "Simplified neuron model as a principal component analyzer", J. Math. Biology 1982.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from structure_net.core.largest import largest
from structure_net.core.sparsity import SparsePattern
from structure_net.evolution.metrics.ranks import checked_samples
from structure_net.evolution.metrics.validity import Unavailable

_STEPS: Final = 1e6
"""Steps of a correlation that tell pairs apart."""

_AT_ONCE: Final = 2**21
"""So many pairs of units are compared at a time."""


def correlation(first: Tensor, second: Tensor | None = None) -> Tensor:
    """Pearson correlations of the units of one or two layers, over the same samples.

    Args:
        first: Shape ``(N, C)``.
        second: Shape ``(N, D)``; ``first`` if None.

    Returns:
        Shape ``(C, D)``, float64, between -1 and 1; NaN for a unit that does not vary (beyond
        rounding of its own precision), whose correlation is not defined.

    Raises:
        ValueError: A layer is no finite matrix, or the numbers of samples differ.
    """
    one = _standardised(first)
    other = one if second is None else _standardised(second)
    _check_samples(one, other)
    return _correlation(one, other)


def correlation_blocks(first: Tensor, second: Tensor) -> Iterator[tuple[int, Tensor]]:
    """`correlation`, some units of the first layer at a time.

    Args:
        first: Shape ``(N, C)``.
        second: Shape ``(N, D)``.

    Returns:
        The first unit of each block, and its correlations: shape ``(units, D)``, about two million
        at most.

    Raises:
        ValueError: See `correlation`.
    """
    one = _standardised(first)
    other = one if second is first else _standardised(second)
    _check_samples(one, other)
    size = max(1, _AT_ONCE // max(1, other.size(1)))
    for start in range(0, one.size(1), size):
        yield start, _correlation(one[:, start : start + size], other)


def _check_samples(one: Tensor, other: Tensor) -> None:
    if len(one) != len(other):
        raise ValueError(
            f"Both layers must be seen on the same samples; got {len(one)} and {len(other)}."
        )


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Of standardised samples."""
    return (one.T @ other / len(one)).clamp(-1, 1)


def correlation_of_covariance(
    covariance: Tensor, rows: Tensor | None = None, columns: Tensor | None = None
) -> Tensor:
    """Pearson correlations from covariances.

    Args:
        covariance: Shape ``(D, C)``.
        rows: Variances of the ``D`` units; the diagonal of ``covariance`` if None.
        columns: Variances of the ``C`` units; the diagonal of ``covariance`` if None.

    Returns:
        Shape ``(D, C)``, float64, between -1 and 1; NaN for a unit of variance 0.
    """
    whole = covariance.detach().double()
    of_rows = whole.diagonal() if rows is None else rows.detach().double()
    of_columns = whole.diagonal() if columns is None else columns.detach().double()
    deviations = torch.outer(of_rows.clamp_min(0).sqrt(), of_columns.clamp_min(0).sqrt())
    found = (whole / deviations).clamp(-1, 1)
    return torch.where(deviations > 0, found, torch.nan)


@dataclass(frozen=True, slots=True)
class RedundantPair:
    """Two units of a layer of which one could stand for both.

    Args:
        kept: The unit that varies more.
        dropped: The other one; in no other pair.
        correlation: Of their activations.
        ratio: The slope of ``dropped`` over ``kept`` (least squares). Near 1 with means alike, the
            two are the same and merging them keeps the function; else the readers of ``kept`` have
            to grow by this factor of those of ``dropped``, and the means' difference is lost.
        mismatch: The root mean square of ``dropped - kept`` relative to that of ``dropped``: what
            a merge without a factor gets wrong, 0 for equal units.
    """

    kept: int
    dropped: int
    correlation: float
    ratio: float
    mismatch: float


def redundant_pairs(
    covariance: Tensor, mean: Tensor, *, threshold: float = 0.99
) -> tuple[RedundantPair, ...]:
    """Pairs of units that correlate by ``threshold`` or more, the closest first.

    The units come in turn, the one that varies most first: each either goes to the unit kept so far
    that it correlates with most, if that is enough, or is kept. So a dropped unit is in no other
    pair, a kept one is never dropped, and all pairs can be merged together.

    Args:
        covariance: Of the layer's units, shape ``(C, C)``.
        mean: Of the units, shape ``(C,)``.
        threshold: In (0, 1]. Units that oppose each other do not count: no merge without a factor
            makes one of them stand for both.

    Raises:
        ValueError: ``threshold`` is out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1]; got {threshold}.")
    whole, means = covariance.detach().double(), mean.detach().double()
    correlations = correlation_of_covariance(whole).nan_to_num(0.0)
    kept: list[int] = []
    found = []
    for unit in torch.argsort(whole.diagonal(), descending=True, stable=True).tolist():
        nearest = int(correlations[unit, kept].argmax()) if kept else -1
        if kept and correlations[unit, kept[nearest]] >= threshold:
            found.append(_pair(whole, means, kept[nearest], unit))
        else:
            kept.append(unit)
    return tuple(sorted(found, key=lambda pair: -pair.correlation))


def _pair(covariance: Tensor, mean: Tensor, keep: int, drop: int) -> RedundantPair:
    own, other = covariance[keep, keep], covariance[drop, drop]
    shared = covariance[keep, drop]
    apart = (own + other - 2 * shared).clamp_min(0) + (mean[keep] - mean[drop]).square()
    return RedundantPair(
        kept=keep,
        dropped=drop,
        correlation=float(shared / (own * other).sqrt()),
        ratio=float(shared / own),
        mismatch=float((apart / (other + mean[drop].square())).sqrt()),
    )


def unconnected_pairs(
    correlations: Tensor, connected: Tensor, *, count: int, least: float = 0.0
) -> tuple[tuple[int, int, float], ...]:
    """Pairs of units that fire together and are not wired together, the strongest first.

    Args:
        correlations: Of the reader's units (rows) with those that it reads (columns), shape
            ``(D, C)``; NaN where not defined.
        connected: Which connections exist, shape ``(D, C)``, bool.
        count: At most so many.
        least: The absolute correlation from which on a pair counts; 0 never does.

    Returns:
        ``(output unit, input unit, correlation)``, as `AddConnections` takes the first two. By
        absolute correlation: a connection may as well inhibit. Those within a millionth of each
        other count as equal, and of equals the first rows and columns come first.

    Raises:
        ValueError: The shapes differ or ``count`` is negative.
    """
    if correlations.shape != connected.shape or correlations.dim() != 2:
        raise ValueError(
            "correlations and connected must have one shape (D, C); got"
            f" {tuple(correlations.shape)} and {tuple(connected.shape)}."
        )
    if count < 0:
        raise ValueError(f"count must be 0 or more; got {count}.")
    strength = correlations.detach().abs().nan_to_num(0.0)
    flat = torch.where(connected, 0.0, strength).flatten().cpu().double()
    rounded = _rounded(flat)
    chosen = torch.from_numpy(largest(rounded.numpy(), min(count, len(flat))))
    chosen = chosen[(flat[chosen] > 0) & (flat[chosen] >= least)]
    chosen = chosen[torch.argsort(rounded[chosen], descending=True, stable=True)]
    rows, columns = chosen // strength.size(1), chosen % strength.size(1)
    values = correlations.cpu()[rows, columns].tolist()
    return tuple(zip(rows.tolist(), columns.tolist(), values, strict=True))


def _rounded(strength: Tensor) -> Tensor:
    """What is compared: rounding must not tell clones apart, which would depend on the kernels."""
    return (strength * _STEPS).round()


def unconnected_units(
    reader: Tensor,
    layer: Tensor,
    pattern: SparsePattern,
    *,
    count: int,
    least: float = 0.0,
    same: bool = False,
) -> tuple[tuple[int, int, float], ...]:
    """`unconnected_pairs` of two layers, without a matrix of all their pairs.

    Correlations of some of the reader's units at a time are compared, and what may be among the
    strongest is kept of each.

    Args:
        reader: What the reader's units did, shape ``(N, D)``.
        layer: What the units that it reads did, shape ``(N, C)``.
        pattern: Which connections exist, of shape ``(D, C)``.
        count: See `unconnected_pairs`.
        least: See there.
        same: Whether both are the same units, of a layer that reads itself: then no unit is
            connected to itself.

    Raises:
        ValueError: The shapes do not fit or ``count`` is negative.
    """
    if pattern.shape != (reader.size(1), layer.size(1)):
        raise ValueError(
            "pattern must have as many rows as the reader has units, and as many columns as there"
            f" are units to read; got {pattern.shape} for {reader.size(1)} and {layer.size(1)}."
        )
    rows, columns, found = pattern.rows.cpu(), pattern.columns.cpu(), []
    for start, correlations in correlation_blocks(reader, layer):
        ends = torch.tensor([start, start + len(correlations)])
        first, last = torch.searchsorted(rows, ends).tolist()
        connected = torch.zeros(correlations.shape, dtype=torch.bool)
        connected[rows[first:last] - start, columns[first:last]] = True
        if same:
            connected.diagonal(start).fill_(True)
        connected = connected.to(correlations.device)
        part = unconnected_pairs(correlations, connected, count=count, least=least)
        found += [(row + start, column, value) for row, column, value in part]
    order = _rounded(torch.tensor([abs(pair[2]) for pair in found], dtype=torch.float64))
    best = torch.argsort(order, descending=True, stable=True)[:count]
    return tuple(found[one] for one in best.tolist())


def oja_step(weights: Tensor, inputs: Tensor, rate: float) -> Tensor:
    r"""The weights after one step of Oja's rule over a batch, for each unit by itself.

    .. math:: w \leftarrow w + \eta \frac1N \sum_i y_i (x_i - y_i w), \qquad y_i = w^T x_i

    Args:
        weights: Shape ``(D, C)``, a unit in each row.
        inputs: Shape ``(N, C)``, centred if the principal component is what is wanted.
        rate: :math:`\eta`; below one over the inputs' largest second moment for it to converge.

    Returns:
        Shape ``(D, C)``.
    """
    y = inputs @ weights.T
    return weights + rate * (y.T @ inputs - y.square().sum(0).unsqueeze(1) * weights) / len(inputs)


@dataclass(frozen=True, slots=True, eq=False)
class OjaStatistics:
    r"""How a layer's units lie to the principal directions of their inputs.

    With the inputs' covariance :math:`\Sigma` of largest eigenvalue :math:`\lambda_1` and a unit's
    weights scaled to length 1, :math:`\hat w`:

    Args:
        variance: :math:`\hat w^T \Sigma \hat w / \lambda_1`: 1 for a unit that follows the
            principal component, 0 for one that sees no variation. Shape ``(D,)``.
        alignment: :math:`|\hat w^T v_1|`. Shape ``(D,)``.
        drift: :math:`\lVert \Sigma \hat w - (\hat w^T \Sigma \hat w) \hat w \rVert / \lambda_1`,
            the length of the step that Oja's rule would take: 0 at every principal direction, at
            most 1/2. Shape ``(D,)``.
    """

    variance: Tensor
    alignment: Tensor
    drift: Tensor


def oja_statistics(weights: Tensor, covariance: Tensor) -> OjaStatistics | Unavailable:
    """See `OjaStatistics`; NaN for a unit whose weights are all 0.

    Args:
        weights: Shape ``(D, C)``, a unit in each row.
        covariance: Of the inputs, shape ``(C, C)``.

    Returns:
        Unavailable where the inputs do not vary.

    Raises:
        ValueError: The shapes do not fit.
    """
    return oja_by_blocks([weights], covariance)


def oja_by_blocks(blocks: Iterable[Tensor], covariance: Tensor) -> OjaStatistics | Unavailable:
    """`oja_statistics` of units that come some at a time.

    Args:
        blocks: Weights, shape ``(d, C)`` each; at least one.
        covariance: See there.

    Returns:
        See there.

    Raises:
        ValueError: The shapes do not fit.
    """
    sigma = covariance.detach().double()
    principal: tuple[Tensor, Tensor] | None = None
    found = []
    for weights in blocks:
        w = weights.detach().double()
        if w.dim() != 2 or sigma.shape != (w.size(1), w.size(1)):
            raise ValueError(
                "weights must have shape (D, C) and covariance (C, C); got"
                f" {tuple(w.shape)} and {tuple(sigma.shape)}."
            )
        if principal is None:
            values, vectors = torch.linalg.eigh(sigma)
            principal = values[-1], vectors[:, -1]
        if not bool(principal[0] > 0):
            return Unavailable("the layer's inputs do not vary")
        found.append(_oja(w, sigma, *principal))
    return OjaStatistics(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _oja(weights: Tensor, sigma: Tensor, most: Tensor, along: Tensor) -> tuple[Tensor, ...]:
    unit = weights / weights.norm(dim=1, keepdim=True)
    moved = unit @ sigma
    variance = (moved * unit).sum(1)
    drift = (moved - variance.unsqueeze(1) * unit).norm(dim=1)
    return variance / most, (unit @ along).abs(), drift / most


def _standardised(samples: Tensor) -> Tensor:
    checked_samples(samples)
    x = samples.detach().double()
    rounding = torch.finfo(samples.dtype).eps * x.abs().amax(0)
    x = x - x.mean(0)
    deviation = x.square().mean(0).sqrt()
    return torch.where(deviation > rounding, x / deviation, torch.nan)
