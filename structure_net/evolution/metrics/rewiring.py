r"""How many connections a sparse layer gives up, which ones, and where it makes new ones.

What dynamic sparse training repeats: the weakest :math:`k` live connections go, and as many come
elsewhere, so that the number of connections stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from structure_net.core.drawing import free_places
from structure_net.core.index_kernels import split_places
from structure_net.core.largest import largest
from structure_net.core.nearest import nearest_zero
from structure_net.core.pairs import PairTable
from structure_net.evolution.metrics.validity import Unavailable


def cosine_drop_rate(rate: float, done: float, total: float) -> float:
    r"""The share to drop, :math:`\tfrac{\alpha}{2} (1 + \cos(\pi t / T))`, 0 from ``T`` on.

    Args:
        rate: :math:`\alpha`, at the start; in [0, 1].
        done: ``t``, 0 or more.
        total: ``T``, in the same unit; positive.

    Raises:
        ValueError: An argument is out of range.

    References:
        Evci et al., "Rigging the lottery: making all tickets winners", ICML 2020.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be in [0, 1]; got {rate}.")
    if not (done >= 0 and total > 0):
        raise ValueError(f"done must be 0 or more of a positive total; got {done} of {total}.")
    return 0.0 if done >= total else rate / 2 * (1 + math.cos(math.pi * done / total))


def weakest(strength: Tensor, count: int) -> Tensor:
    """The indices of the ``count`` smallest entries, sorted; of equals the first ones.

    Args:
        strength: Shape ``(n,)``.
        count: From 0 to ``n``.

    Raises:
        ValueError: ``count`` is out of range.
    """
    _check_count(count, len(strength))
    values = strength.detach().cpu()
    return _largest(-values.nan_to_num(nan=math.inf), count).to(strength.device)


def closest_to_zero(weights: Tensor, rate: float) -> Tensor:
    """The smallest positive and the largest negative weights, the share ``rate`` of either sign.

    Args:
        weights: Shape ``(n,)``; weights that are exactly 0 count as positive.
        rate: In [0, 1].

    Returns:
        Indices, sorted.

    References:
        Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
        connectivity inspired by network science", Nature Communications 2018.
    """
    values = _numbers(weights.detach().cpu())
    return torch.from_numpy(nearest_zero(values, rate)).to(weights.device)


def strongest_free(score: Tensor, taken: Tensor, count: int) -> tuple[tuple[int, int], ...]:
    """The ``count`` free places with the largest score, all of them if there are fewer.

    Args:
        score: Shape ``(outputs, inputs)``.
        taken: The places that are taken, ``output * inputs + input``. Shape ``(k,)``, int64.
        count: 0 or more.

    Returns:
        Pairs (output, input), sorted; of equals the first ones.

    Raises:
        ValueError: ``count`` is negative.
    """
    values = score.detach().flatten().nan_to_num(nan=math.inf).cpu()
    count = min(count, len(values) - len(taken))
    _check_count(count, len(values))
    values[taken] = -math.inf
    best = _largest(values, count)
    if count and bool(values[best].min() == -math.inf):
        free = torch.ones(len(values), dtype=torch.bool)
        free[taken] = False
        places = free.nonzero().flatten()
        best = places[_largest(values[places], count)]
    return as_pairs(best, score.shape[1])


def strongest_of(
    places: Tensor, score: Tensor, count: int, *, width: int
) -> tuple[tuple[int, int], ...]:
    """The ``count`` candidates with the largest score, all of them if there are fewer.

    Args:
        places: The candidates, ``output * width + input``, each once. Shape ``(n,)``, int64.
        score: Shape ``(n,)``.
        count: 0 or more.
        width: The number of inputs.

    Returns:
        Pairs (output, input), sorted; of equals the first candidates.
    """
    return as_pairs(strongest_places(places, score, count), width)


def strongest_places(places: Tensor, score: Tensor, count: int) -> Tensor:
    """The places of `strongest_of`, ascending. Shape ``(min(count, n),)``, int64."""
    chosen = _largest(score.detach().cpu(), min(count, len(places)))
    found = places[chosen]
    return found if bool((found[1:] > found[:-1]).all()) else found.sort().values


def random_free(
    taken: Tensor, shape: tuple[int, int], count: int, generator: torch.Generator
) -> tuple[tuple[int, int], ...]:
    """``count`` free places drawn evenly, all of them if there are fewer.

    Args:
        taken: The places that are taken, ``output * inputs + input``, ascending. Shape ``(k,)``,
            int64, on the CPU.
        shape: The numbers of outputs and inputs.
        count: 0 or more.
        generator: On the CPU.

    Returns:
        Pairs (output, input), sorted.
    """
    return as_pairs(free_places(taken, shape[0] * shape[1], count, generator), shape[1])


def as_pairs(places: Tensor, width: int) -> tuple[tuple[int, int], ...]:
    """Places ``output * width + input`` as pairs (output, input)."""
    numbers = places.cpu().long().contiguous().numpy()
    table = np.empty((2, len(numbers)), np.int64)
    split_places(numbers, width, table)
    return PairTable.of(table.T)


def shares_by_momentum(
    momentum: Mapping[str, float], room: Mapping[str, int], count: int
) -> dict[str, int] | Unavailable:
    r"""How many of ``count`` new connections each layer gets, :math:`\bar m_l / \sum_k \bar m_k`.

    Shares beyond a layer's room are passed on to the others in proportion. Whole numbers, by
    largest remainder.

    Args:
        momentum: :math:`\bar m_l`, the mean magnitude of the momentum of the layer's live
            connections; 0 or more.
        room: Free places of each layer.
        count: How many in all; no more than there is room.

    Returns:
        By layer, summing to ``count``; unavailable where all momenta are 0.

    Raises:
        ValueError: There is not room for so many.

    References:
        Dettmers and Zettlemoyer, "Sparse networks from scratch: faster training without losing
        performance", 2019 (arXiv 1907.04840).
    """
    if not 0 <= count <= sum(room.values()):
        raise ValueError(f"count must be in [0, {sum(room.values())}], the room; got {count}.")
    if not sum(momentum.values()) > 0:
        return Unavailable("the momentum is 0 everywhere, of which no layer has a share")
    given = dict.fromkeys(momentum, 0)
    while left := count - sum(given.values()):
        open_ = [name for name in momentum if given[name] < room[name]]
        total = sum(momentum[name] for name in open_)
        wanted = {n: left * (momentum[n] / total if total else 1 / len(open_)) for n in open_}
        rounded = _whole(wanted, left)
        for name in open_:
            given[name] = min(room[name], given[name] + rounded[name])
    return given


def kernel_shares(
    momentum: Mapping[str, float],
    room: Mapping[str, int],
    weights: int,
    *,
    entries: Mapping[str, int],
) -> dict[str, int] | Unavailable:
    """How many new connections each layer gets where kernels have several sizes.

    The weights are shared as in `shares_by_momentum`. What does not fill a kernel goes to the layer
    that lacks least of one more, while any fits.

    Args:
        momentum: By layer, the mean magnitude of the momentum of its live weights; 0 or more.
        room: Free places of each layer, in connections.
        weights: How many weights in all; no more than there is room.
        entries: The weights of a connection of each layer.

    Returns:
        Connections by layer. Their weights sum to ``weights``, or to less by what no kernel fits
        into; unavailable where all momenta are 0.

    Raises:
        ValueError: There is not room for so many.
    """
    unit = math.gcd(weights, *entries.values())
    sizes = {name: count // unit for name, count in entries.items()}
    space = {name: count * sizes[name] for name, count in room.items()}
    shares = shares_by_momentum(momentum, space, weights // unit)
    if isinstance(shares, Unavailable):
        return shares
    found = {name: share // sizes[name] for name, share in shares.items()}
    left = weights // unit - sum(count * sizes[name] for name, count in found.items())
    order = sorted(found, key=lambda name: sizes[name] - shares[name] % sizes[name])
    while fitting := [n for n in order if sizes[n] <= left and found[n] < room[n]]:
        found[fitting[0]] += 1
        left -= sizes[fitting[0]]
        order = [*(n for n in order if n != fitting[0]), fitting[0]]
    return found


def _whole(wanted: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that sum to ``total``: the largest remainders go up."""
    down = {name: math.floor(value) for name, value in wanted.items()}
    order = sorted(wanted, key=lambda name: down[name] - wanted[name])
    for name in order[: total - sum(down.values())]:
        down[name] += 1
    return down


def _largest(values: Tensor, count: int) -> Tensor:
    """The indices of the ``count`` largest entries, sorted; of equals the first ones."""
    return torch.from_numpy(largest(_numbers(values), count))


def _numbers(values: Tensor) -> NDArray[np.floating[Any]]:
    if values.dtype == torch.bfloat16:  # which numpy does not know
        values = values.float()
    return values.numpy()


def _check_count(count: int, most: int) -> None:
    if not 0 <= count <= most:
        raise ValueError(f"count must be in [0, {most}]; got {count}.")
