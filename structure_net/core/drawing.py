"""Random patterns of exact size, with no unit left out where the size allows it."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from structure_net.core.index_kernels import merge_free, sort_places
from structure_net.core.layer_arguments import check_origin
from structure_net.core.sparsity import SparsePattern

_PLACES_PER_ENTRY: Final = 32
"""A byte for each place costs no more memory than the numbers of the chosen ones up to this."""


def resolved_pattern(
    shape: tuple[int, int],
    density: float | None,
    pattern: SparsePattern | None,
    generator: torch.Generator | None,
) -> SparsePattern:
    """``pattern``, or a random one of ``density`` (1 if None), where PyTorch makes new layers.

    Raises:
        TypeError: One of the three is of another kind.
        ValueError: Both are given, ``density`` is not in (0, 1], ``pattern`` has another shape, or
            layers are made on the meta device, where nothing can be drawn.
    """
    check_origin(density, pattern, generator)
    _refuse_meta()
    if pattern is None:
        density = 1.0 if density is None else density
        if not 0 < density <= 1:
            raise ValueError(f"density must be in (0, 1]; got {density}.")
        count = max(1, round(density * shape[0] * shape[1]))
        return _moved(random_pattern(shape, count, generator))
    if density is not None:
        raise ValueError(f"Give a density or a pattern, not both; got {density} and {pattern}.")
    if pattern.shape != shape:
        raise ValueError(f"The pattern must have the layer's shape {shape}; got {pattern.shape}.")
    return _moved(pattern)


def _moved(pattern: SparsePattern) -> SparsePattern:
    """``pattern`` on the default device, where a layer's other tensors are made."""
    device = torch.get_default_device()
    if pattern.rows.device == device:
        return pattern
    return SparsePattern(pattern.rows.to(device), pattern.columns.to(device), pattern.shape)


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
        ValueError: ``count`` is out of range, or the default device is the meta device.
    """
    _refuse_meta()
    size = shape[0] * shape[1]
    if not 1 <= count <= size:
        raise ValueError(f"count must be in [1, {size}] for a layer of shape {shape}; got {count}.")
    rows, columns = _cover(shape, generator)
    covered = (rows[:count] * shape[1] + columns[:count]).sort().values
    keys = _filled(covered, size, count, generator)
    return SparsePattern(keys // shape[1], keys % shape[1], shape)


def _refuse_meta() -> None:
    if torch.get_default_device().type == "meta":
        raise ValueError(
            "Connections cannot be drawn on the meta device; make the layer on the CPU, and move "
            "it with .to('meta')."
        )


def free_places(taken: Tensor, size: int, count: int, generator: torch.Generator | None) -> Tensor:
    """Places below ``size`` that are not taken, uniform over them.

    Args:
        taken: Ascending. Shape ``(k,)``, int64, on the CPU.
        size: The number of places.
        count: How many; fewer where fewer are free.
        generator: The source of randomness; torch's default generator if None.

    Returns:
        Ascending. Shape ``(min(count, size - k),)``.
    """
    count = min(count, size - len(taken))
    if 2 * (len(taken) + count) > size:
        free = torch.ones(size, dtype=torch.bool, device="cpu")
        free[taken] = False
        places = free.nonzero().flatten()
        return places[_permutation(len(places), generator)[:count]].sort().values
    new = taken.new_zeros(0)
    while missing := count - len(new):
        drawn = _integers(size, missing, generator)
        sort_places(drawn.numpy(), size)
        whole = taken.new_empty(count)
        left = merge_free(*(one.numpy() for one in (taken.contiguous(), new, drawn, whole)))
        new = whole[:left]
    return new


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
    mask = torch.zeros(lines, width, dtype=torch.bool, device="cpu")
    mask[random_places(lines, width, count, generator)] = True
    return mask


def random_places(
    lines: int, width: int, count: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """The connections of `random_lines` as places: cost and memory follow their number.

    Returns:
        The new unit and the unit on the other side of each connection, sorted. Shape ``(n,)`` each,
        int64.
    """
    if lines == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device="cpu")
        return nothing, nothing.clone()
    covered = torch.arange(lines, device="cpu") * width + _integers(width, lines, generator)
    count = min(max(count, lines), lines * width)
    keys = _filled(covered, lines * width, count, generator)
    return keys // width, keys % width


def _cover(shape: tuple[int, int], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Pairs that reach each unit of the larger side once, and the smaller side in turns."""
    larger, smaller = max(shape), min(shape)
    first = _permutation(larger, generator)
    rounds = [_permutation(smaller, generator) for _ in range(-(-larger // smaller))]
    second = torch.cat(rounds)[:larger]
    return (first, second) if shape[0] == larger else (second, first)


def _filled(taken: Tensor, size: int, count: int, generator: torch.Generator | None) -> Tensor:
    """The places ``taken`` of ``size`` and others, uniform over the free ones: ``count`` in all,
    sorted.
    """
    missing, free = count - len(taken), size - len(taken)
    if missing == free:
        return torch.arange(size, device=taken.device)
    if missing * 2 <= free:
        return _drawn(taken, size, count, generator)
    spared = _drawn(taken, size, len(taken) + free - missing, generator)
    occupied = torch.ones(size, dtype=torch.bool, device="cpu")
    occupied[spared] = False
    occupied[taken] = True
    return occupied.nonzero().flatten()


def _drawn(taken: Tensor, size: int, count: int, generator: torch.Generator | None) -> Tensor:
    """The sorted places ``taken`` and uniform others, ``count`` in all; collisions draw again.

    The numbers drawn are the same whether a table of all places, which costs less where many are
    wanted, or a sorted list notes what is taken.
    """
    if size > count * _PLACES_PER_ENTRY:
        while missing := count - len(taken):
            taken = torch.cat((taken, _integers(size, missing, generator))).unique()
        return taken
    occupied = np.zeros(size, np.bool_)
    occupied[taken.numpy()] = True
    while missing := count - int(np.count_nonzero(occupied)):
        occupied[_integers(size, missing, generator).numpy()] = True
    return torch.from_numpy(np.flatnonzero(occupied))


def normal_noise(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers on the generator's device."""
    device = generator.device if generator is not None else torch.device("cpu")
    return torch.randn(shape, generator=generator, device=device)


def _permutation(size: int, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else torch.device("cpu")
    return torch.randperm(size, generator=generator, device=device).cpu()


def _integers(below: int, count: int, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else torch.device("cpu")
    return torch.randint(below, (count,), generator=generator, device=device).cpu()
