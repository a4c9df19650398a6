"""Random patterns of exact size, with no unit left out where the size allows it."""

from __future__ import annotations

import torch
from torch import Tensor

from structure_net.core.sparsity import SparsePattern


def random_pattern(
    shape: tuple[int, int], count: int, generator: torch.Generator | None = None
) -> SparsePattern:
    """A pattern of exactly ``count`` connections, drawn at random.

    With ``count >= max(shape)`` every output and every input has a connection. With fewer, each
    connection reaches a unit of the larger side that no other reaches, so that ``min(outputs,
    count)`` outputs and ``min(inputs, count)`` inputs have one. The connections beyond those are
    uniform over the free places.

    Args:
        shape: The numbers of outputs and inputs.
        count: The number of connections, from 1 to their product.
        generator: The source of randomness; torch's default generator if None.

    Raises:
        ValueError: ``count`` is out of range.
    """
    size = shape[0] * shape[1]
    if not 1 <= count <= size:
        raise ValueError(f"count must be in [1, {size}] for a layer of shape {shape}; got {count}.")
    mask = torch.zeros(shape, dtype=torch.bool)
    rows, columns = _cover(shape, generator)
    mask[rows[:count], columns[:count]] = True
    return SparsePattern.from_mask(_filled(mask, count, generator))


def random_lines(
    lines: int, width: int, count: int, generator: torch.Generator | None = None
) -> Tensor:
    """Connections of new units: ``count`` in all, at least one for each, the rest uniform.

    Args:
        lines: The number of new units.
        width: The number of units that each can be connected to.
        count: The number of connections; raised to ``lines`` and lowered to ``lines * width`` if
            beyond.
        generator: The source of randomness; torch's default generator if None.

    Returns:
        Shape ``(lines, width)``, bool.
    """
    mask = torch.zeros(lines, width, dtype=torch.bool)
    if lines == 0:
        return mask
    partner = _integers(width, lines, generator)
    mask[torch.arange(lines), partner] = True
    return _filled(mask, min(max(count, lines), lines * width), generator)


def _cover(shape: tuple[int, int], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Pairs that reach each unit of the larger side once, and the smaller side in turns."""
    larger, smaller = max(shape), min(shape)
    first = _permutation(larger, generator)
    rounds = [_permutation(smaller, generator) for _ in range(-(-larger // smaller))]
    second = torch.cat(rounds)[:larger]
    return (first, second) if shape[0] == larger else (second, first)


def _filled(mask: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """``mask`` with entries added, uniformly over the free ones, until ``count`` are set."""
    missing = count - int(mask.sum())
    free = mask.numel() - int(mask.sum())
    if missing * 2 <= free:
        return mask | _drawn(mask, missing, generator)
    return ~_drawn(mask, free - missing, generator)


def _drawn(taken: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """A uniform choice of ``count`` entries that are not ``taken``; collisions draw again."""
    occupied = taken.flatten().clone()
    target = int(occupied.sum()) + count
    while (missing := target - int(occupied.sum())) > 0:
        occupied[_integers(occupied.numel(), missing, generator)] = True
    return occupied.view_as(taken) & ~taken


def _permutation(size: int, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else torch.device("cpu")
    return torch.randperm(size, generator=generator, device=device).cpu()


def _integers(below: int, count: int, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else torch.device("cpu")
    return torch.randint(below, (count,), generator=generator, device=device).cpu()
