r"""How many connections a sparse layer gives up, which ones, and where it makes new ones.

What dynamic sparse training repeats: the weakest :math:`k` live connections go, and as many come
elsewhere, so that the number of connections stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

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
    order = torch.argsort(strength.detach(), stable=True)[:count]
    return order.sort().values


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
    values = weights.detach()
    signs = [(values >= 0).nonzero().flatten(), (values < 0).nonzero().flatten()]
    chosen = [part[weakest(values[part].abs(), round(rate * len(part)))] for part in signs]
    return torch.cat(chosen).sort().values


def strongest_free(score: Tensor, taken: Tensor, count: int) -> tuple[tuple[int, int], ...]:
    """The ``count`` free places with the largest score, all of them if there are fewer.

    Args:
        score: Shape ``(outputs, inputs)``.
        taken: Which places are taken. The same shape, bool.
        count: 0 or more.

    Returns:
        Pairs (output, input), sorted; of equals the first ones.

    Raises:
        ValueError: The shapes differ, or ``count`` is negative.
    """
    if score.shape != taken.shape:
        raise ValueError(
            f"score and taken must have one shape; got {tuple(score.shape)}, {tuple(taken.shape)}."
        )
    free = (~taken).flatten().nonzero().flatten()
    count = min(count, len(free))
    _check_count(count, len(free))
    values = score.detach().flatten()[free]
    best = free[torch.argsort(values, descending=True, stable=True)[:count]].sort().values
    width = score.shape[1]
    return tuple(zip((best // width).tolist(), (best % width).tolist(), strict=True))


def random_free(
    taken: Tensor, count: int, generator: torch.Generator
) -> tuple[tuple[int, int], ...]:
    """``count`` free places drawn evenly, all of them if there are fewer; as `strongest_free`."""
    noise = torch.rand(taken.shape, generator=generator, dtype=torch.float64)
    return strongest_free(noise.to(taken.device), taken, count)


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


def _whole(wanted: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that sum to ``total``: the largest remainders go up."""
    down = {name: math.floor(value) for name, value in wanted.items()}
    order = sorted(wanted, key=lambda name: down[name] - wanted[name])
    for name in order[: total - sum(down.values())]:
        down[name] += 1
    return down


def _check_count(count: int, most: int) -> None:
    if not 0 <= count <= most:
        raise ValueError(f"count must be in [0, {most}]; got {count}.")
