"""What a tensor holds after an edit: the moves of its axes turned into new data. Nothing here
writes to a model.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from structure_net.core.changes import TensorChange
from structure_net.errors import SurgeryError
from structure_net.graph.channels import Fill
from structure_net.surgery.moves import MoveAxis
from structure_net.surgery.reindex import NEW, Reindex

# Where an entry is new on two axes, the later one decides: zeros win over draws, and a mean is
# taken over the old entries of the finished other axis, which it then still equals.
_ORDER: Final = (Fill.RANDOM, Fill.ONE, Fill.ZERO, Fill.MEAN)


def draws(seed: int, name: str) -> torch.Generator:
    """A generator that depends on the seed and a name alone, so that the order of the work does
    not matter.
    """
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


def changed(
    name: str,
    old: Tensor,
    moves: Sequence[MoveAxis],
    seed: int = 0,
    gains: Mapping[str, Tensor] | None = None,
) -> TensorChange:
    """``old`` after all moves of its axes.

    Args:
        name: The tensor's dotted name.
        old: Any shape; read only.
        moves: Moves of this tensor, at most one for each axis.
        seed: Decides what fresh entries hold.
        gains: The tensors that the moves name as weights of a mean, as they are before the edit.

    Returns:
        The change, with new entries of carried state zero.

    Raises:
        ValueError: A move's source is not an index of the axis.
    """
    generator = draws(seed, name)
    ordered = sorted(moves, key=lambda move: _ORDER.index(move.fill))
    maps = [(Reindex(old.shape[move.dim], move.source), move.dim) for move in ordered]
    data = old.detach()
    for move, (reindex, dim) in zip(ordered, maps, strict=True):
        gain = None if move.weights is None else (gains or {})[move.weights].detach().flatten()
        data = _moved(data, move, reindex, partial(_fresh, old, dim, generator), gain)
    return TensorChange(name, _like(data, old), partial(_carried, maps=tuple(maps)))


def _moved(
    data: Tensor,
    move: MoveAxis,
    reindex: Reindex,
    fresh: Callable[[torch.Size], Tensor],
    gain: Tensor | None,
) -> Tensor:
    """One move: merge, rearrange, scale, then fill what is new and tell copies apart."""
    source = _merged(data, move)
    out = reindex.gather(source, move.dim, fill=1.0 if move.fill is Fill.ONE else 0.0)
    if move.scale is not None:
        factors = torch.tensor(move.scale, dtype=torch.float64, device=out.device)
        factors = _along(factors, move.dim, out.dim()).to(out.dtype)
        out.add_(move.pivot).mul_(factors).sub_(move.pivot) if move.pivot else out.mul_(factors)
    new = [i for i, origin in enumerate(move.source) if origin == NEW]
    if new and move.fill in (Fill.MEAN, Fill.RANDOM) and _is_continuous(out):
        shape = _resized(out.shape, move.dim, len(new))
        entries = (
            fresh(shape).to(out) if move.fill is Fill.RANDOM else _mean(out, move, shape, gain)
        )
        out.index_copy_(move.dim, torch.tensor(new, device=out.device), entries)
    if move.noise:
        _shake(out, move, source, fresh)
    return out


def _mean(out: Tensor, move: MoveAxis, shape: torch.Size, gain: Tensor | None) -> Tensor:
    """The mean of the entries that stay, each times its gain if there is one."""
    kept = [i for i, origin in enumerate(move.source) if origin != NEW]
    if not kept:
        raise SurgeryError(
            f"New entries of '{move.tensor}' are the mean of those that stay, since a normalisation"
            " reads them, and none stays. Leave one unit at least as it is."
        )
    stay = out.index_select(move.dim, torch.tensor(kept, device=out.device))
    if gain is not None:
        weights = gain[[move.source[i] for i in kept]]
        stay = stay * _along(weights.to(out), move.dim, out.dim())
    return stay.mean(move.dim, keepdim=True).expand(shape).contiguous()


def _merged(data: Tensor, move: MoveAxis) -> Tensor:
    if not move.merge:
        return data
    kept, dropped = torch.tensor(move.merge, device=data.device).T
    return data.index_add(move.dim, kept, data.index_select(move.dim, dropped), alpha=move.part)


def _shake(
    out: Tensor, move: MoveAxis, source: Tensor, fresh: Callable[[torch.Size], Tensor]
) -> None:
    """Adds noise to every repeated entry but the first."""
    first = {origin: i for i, origin in reversed([*enumerate(move.source)])}
    copies = [i for i, origin in enumerate(move.source) if first[origin] != i]
    if copies and source.numel() > 1:
        index = torch.tensor(copies, device=out.device)
        unit = fresh(_resized(out.shape, move.dim, len(copies))).to(out.device)
        spread = unit.square().mean().sqrt().clamp(min=torch.finfo(unit.dtype).tiny)
        out.index_add_(move.dim, index, (unit / spread * (move.noise * source.std())).to(out))


def _fresh(old: Tensor, dim: int, generator: torch.Generator, shape: torch.Size) -> Tensor:
    """Entries as large as the tensor's own: normal with its root mean square, zero for vectors.

    Where all entries are zero, torch's own scale for a layer of this fan-in: ``1 / sqrt(3
    fan_in)``. A buffer whose entries have one sign, as a variance, is filled with their mean: a
    draw would leave its range.
    """
    if not isinstance(old, nn.Parameter) and not old.is_complex() and _one_sign(old):
        return torch.full(shape, old.double().mean().item(), dtype=torch.float64)
    old = old.detach()
    if old.dim() < 2:
        return torch.zeros(shape, dtype=old.dtype)
    largest = torch.linalg.vector_norm(old).item() if old.numel() else 0.0
    size = largest / math.sqrt(max(1, old.numel()))
    fan_in = max(1, math.prod(shape) // max(1, shape[dim]))
    scale = size if math.isfinite(size) and size > 0.0 else 1.0 / math.sqrt(3.0 * fan_in)
    dtype = torch.complex128 if old.is_complex() else torch.float64
    return torch.randn(shape, generator=generator, dtype=dtype) * scale


def _is_continuous(values: Tensor) -> bool:
    return values.is_floating_point() or values.is_complex()


def _one_sign(values: Tensor) -> bool:
    return bool((values >= 0).all() or (values <= 0).all()) and bool(values.any())


def _carried(state: Tensor, *, maps: tuple[tuple[Reindex, int], ...]) -> Tensor:
    """State of the old shape, rearranged; new entries zero."""
    for reindex, dim in maps:
        state = reindex.gather(state, dim)
    return state


def _like(data: Tensor, old: Tensor) -> Tensor:
    """``data`` in the memory layout of ``old``, never sharing its storage."""
    layout = torch.contiguous_format
    for candidate in (torch.channels_last, torch.channels_last_3d):
        fits = old.dim() == {torch.channels_last: 4, torch.channels_last_3d: 5}[candidate]
        if fits and not old.is_contiguous() and old.is_contiguous(memory_format=candidate):
            layout = candidate
    return data.contiguous(memory_format=layout)


def _along(values: Tensor, dim: int, dims: int) -> Tensor:
    shape = [1] * dims
    shape[dim] = -1
    return values.view(shape)


def _resized(shape: torch.Size, dim: int, size: int) -> torch.Size:
    return torch.Size([*shape[:dim], size, *shape[dim + 1 :]])
