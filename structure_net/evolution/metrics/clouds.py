"""Persistent homology of point clouds, such as a layer's activations over a sample of inputs.

The Vietoris-Rips complex of a cloud at scale ``r`` joins points at most ``r`` apart, and fills in
every set of points that are joined pairwise. A persistence diagram lists the scales at which its
components (dimension 0), loops (1), voids (2) are born and die. Distances are Euclidean, or along
the graph that joins each point to its nearest neighbours, which follows a bent surface.

Clouds are small: the cost grows with the cube of their number of points and faster. Diagrams
depend on that number, so that only clouds of equal size are to be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from structure_net.evolution.metrics.libraries import gudhi_part
from structure_net.evolution.metrics.validity import Unavailable


@dataclass(frozen=True, slots=True, eq=False)
class PersistenceDiagrams:
    """The persistence diagrams of one cloud.

    Args:
        pairs: By dimension, births and deaths, the longest lived first; what never dies has death
            ``inf``. Shape ``(bars, 2)`` each, float64.
        points: The number of points.
        diameter: The largest finite distance.
    """

    pairs: Mapping[int, Tensor]
    points: int
    diameter: float

    def finite(self, dimension: int) -> Tensor:
        """The bars that end. Shape ``(finite bars, 2)``."""
        bars = self.pairs[dimension]
        return bars[bars[:, 1].isfinite()]

    def betti(self, dimension: int, scale: float) -> int:
        """The number of bars alive at ``scale``."""
        return int(betti_curve(self.pairs[dimension], torch.tensor([scale]))[0])


def euclidean_distances(points: Tensor) -> Tensor:
    """The distances between all pairs of points, float64 on the CPU.

    Args:
        points: Shape ``(n, d)``.

    Returns:
        Shape ``(n, n)``, symmetric, zeros on the diagonal.
    """
    values = points.detach().to("cpu", torch.float64)
    return torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")


def geodesic_distances(
    distances: Tensor, neighbours: int, *, hops: bool = False
) -> Tensor | Unavailable:
    """Distances along the graph that joins each point to its nearest ones.

    Points are joined if one is among the ``neighbours`` nearest of the other.

    Args:
        distances: Shape ``(n, n)``.
        neighbours: How many; a bend of the cloud must be wider than they reach.
        hops: Counts the edges instead of adding their lengths, as the published experiments do.

    Returns:
        Shape ``(n, n)``, float64; ``inf`` between points that no path joins. Unavailable if there
        are no more points than ``neighbours``.

    Raises:
        ValueError: ``neighbours`` is below 1.

    References:
        Naitzat, Zhitnikov and Lim, "Topology of deep neural networks", JMLR 21(184), 2020.
    """
    if neighbours < 1:
        raise ValueError(f"neighbours must be at least 1; got {neighbours}.")
    count = len(distances)
    if count <= neighbours:
        return Unavailable(f"{count} points have fewer than {neighbours} neighbours each")
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import shortest_path

    others = distances.double().clone().fill_diagonal_(math.inf)
    nearest = others.topk(neighbours, largest=False).indices
    rows = torch.arange(count).repeat_interleave(neighbours)
    columns = nearest.flatten()
    # An explicit length of 0 would read as no edge, and copies of a point are joined by one.
    lengths = distances.double()[rows, columns].clamp_min(1e-300)
    edges = csr_array((lengths.numpy(), (rows.numpy(), columns.numpy())), shape=(count, count))
    return torch.from_numpy(shortest_path(edges, directed=False, unweighted=hops))


def persistence_diagrams(
    distances: Tensor, *, dimension: int = 1, field: int = 11
) -> PersistenceDiagrams | Unavailable:
    """The Vietoris-Rips persistence diagrams of a cloud.

    Args:
        distances: Between all pairs of points, shape ``(n, n)``, symmetric; ``inf`` never joins.
        dimension: The largest dimension of holes: 1 for loops, 2 for voids as well.
        field: A prime; homology has coefficients modulo it.

    Returns:
        Unavailable if there are fewer than 3 points, or all of them coincide.

    Raises:
        ValueError: ``distances`` is not square, or holds a negative value or NaN.
    """
    _check_distances(distances)
    count = len(distances)
    if count < 3:
        return Unavailable(f"a cloud of {count} points has no shape; it takes 3 or more")
    exact = distances.double()
    reachable = exact[exact.isfinite()]
    diameter = float(reachable.max())
    if diameter == 0:
        return Unavailable("all points coincide")
    found = _rips(exact, dimension, field)
    pairs = {k: _longest_first(torch.as_tensor(bars)) for k, bars in enumerate(found)}
    return PersistenceDiagrams(pairs, count, diameter)


def _rips(distances: Tensor, dimension: int, field: int) -> list[Any]:
    from scipy.sparse import coo_matrix

    form, cloud = "full distance matrix", distances.numpy()
    if not bool(distances.isfinite().all()):
        rows, columns = torch.triu(distances.isfinite(), 1).nonzero(as_tuple=True)
        entries = (distances[rows, columns].numpy(), (rows.numpy(), columns.numpy()))
        form, cloud = "distance coo_matrix", coo_matrix(entries, shape=distances.shape)
    engine = gudhi_part("gudhi.sklearn.rips_persistence").RipsPersistence(
        list(range(dimension + 1)), input_type=form, homology_coeff_field=field, n_jobs=1
    )
    found: list[Any] = engine.fit_transform([cloud])[0]
    return found


def betti_curve(bars: Tensor, scales: Tensor) -> Tensor:
    """How many bars are alive at each scale: ``birth <= scale < death``.

    Args:
        bars: Births and deaths. Shape ``(n, 2)``.
        scales: Shape ``(m,)``.

    Returns:
        Shape ``(m,)``, int64.
    """
    at = scales.to(bars.dtype)[:, None]
    return ((bars[:, 0] <= at) & (at < bars[:, 1])).sum(1)


def total_persistence(bars: Tensor, order: float = 1.0) -> float:
    r""":math:`\sum (d - b)^p` over the bars that end; 0 if none does.

    Args:
        bars: Births and deaths. Shape ``(n, 2)``.
        order: ``p``, greater than 0.

    Raises:
        ValueError: ``order`` is not greater than 0.
    """
    if order <= 0:
        raise ValueError(f"order must be greater than 0; got {order}.")
    return float(_lengths(bars).pow(order).sum())


def persistence_entropy(bars: Tensor) -> float | Unavailable:
    r"""The entropy of the lengths of the bars that end, in nats: :math:`-\sum p_i \log p_i`.

    Args:
        bars: Births and deaths. Shape ``(n, 2)``.

    Returns:
        Between 0 and the logarithm of the number of bars; unavailable if none ends.
    """
    lengths = _lengths(bars)
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return Unavailable("no bar ends")
    shares = lengths / lengths.sum()
    return float(-(shares * shares.log()).sum())


def gap_ratio(bars: Tensor, holes: int) -> float | Unavailable:
    """The length of the shortest of the ``holes`` longest bars over that of the next one.

    Holes of a sampled space stand out by 2.5 and more, noise does not.

    Args:
        bars: Births and deaths. Shape ``(n, 2)``.
        holes: How many bars are taken for holes, at least 1.

    Returns:
        ``inf`` if there is no next one; unavailable if there are fewer than ``holes``.

    Raises:
        ValueError: ``holes`` is below 1.
    """
    if holes < 1:
        raise ValueError(f"holes must be at least 1; got {holes}.")
    lengths = (bars[:, 1] - bars[:, 0]).sort(descending=True).values
    if len(lengths) < holes:
        return Unavailable(f"there are {len(lengths)} bars, and {holes} were taken for holes")
    if len(lengths) == holes or lengths[holes] == 0:
        return math.inf
    return float(lengths[holes - 1] / lengths[holes])


def farthest_points(points: Tensor, count: int, *, first: int = 0) -> Tensor:
    """Indices of points that cover a cloud evenly: each the farthest from those before it.

    Args:
        points: Shape ``(n, d)``.
        count: How many, at most ``n``.
        first: The one to begin with.

    Returns:
        Shape ``(count,)``, int64.

    Raises:
        ValueError: ``count`` is not between 1 and ``n``.
    """
    if not 1 <= count <= len(points):
        raise ValueError(f"count must be between 1 and {len(points)}; got {count}.")
    values = points.detach().to("cpu", torch.float64)
    chosen = [first]
    away = (values - values[first]).square().sum(1)
    for _ in range(count - 1):
        chosen.append(int(away.argmax()))
        away = torch.minimum(away, (values - values[chosen[-1]]).square().sum(1))
    return torch.tensor(chosen)


def _lengths(bars: Tensor) -> Tensor:
    lengths = bars[:, 1] - bars[:, 0]
    return lengths[lengths.isfinite()]


def _longest_first(bars: Tensor) -> Tensor:
    """Sorted by length, then by birth, so that equal clouds have equal diagrams."""
    bars = bars.double().reshape(-1, 2)
    bars = bars[bars[:, 0].argsort(stable=True)]
    return bars[(bars[:, 1] - bars[:, 0]).argsort(descending=True, stable=True)]


def _check_distances(distances: Tensor) -> None:
    if distances.dim() != 2 or distances.shape[0] != distances.shape[1]:
        raise ValueError(f"distances must be a square matrix; got {tuple(distances.shape)}.")
    if not bool((distances >= 0).all()):
        raise ValueError("distances must be 0 or more; got a negative value or NaN.")


def common_scales(diagrams: Sequence[PersistenceDiagrams], count: int = 64) -> Tensor:
    """Scales from 0 to the largest diameter, to draw the Betti curves of several clouds over.

    Args:
        diagrams: At least one.
        count: How many scales.

    Returns:
        Shape ``(count,)``, float64.

    Raises:
        ValueError: There is no diagram.
    """
    if not diagrams:
        raise ValueError("Scales span the diameters of clouds; got no diagram.")
    return torch.linspace(0, max(one.diameter for one in diagrams), count, dtype=torch.float64)
