"""Gains of normalised weights, ``gain * direction / |direction|``, behind an edit of the direction.

An edit rearranges the direction as it would a plain weight. Its rows then have other lengths, which
the weight does not see; so each gain is multiplied by the change of its row's length, after which
the weight's entries are what the edit made of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from structure_net.core.changes import TensorChange
from structure_net.graph.channels import Fill, WeightNormSite
from structure_net.surgery.moves import MoveAxis
from structure_net.surgery.reindex import NEW

_ROUNDING: Final = 16 * torch.finfo(torch.float64).eps
"""Lengths that differ by less are the same: sums in another order do."""


def regained(
    site: WeightNormSite,
    old: Mapping[str, Tensor],
    changes: Mapping[str, TensorChange],
    moves: Sequence[MoveAxis],
) -> tuple[TensorChange, ...]:
    """The changes of a gain and of its direction, instead of those that ``changes`` holds.

    New entries of the gain are the length of their direction, so that the weight holds what was
    drawn, or zero where the edit wants that. A row of zeros has no direction: its gain becomes zero
    and the direction any.

    Args:
        site: The gain, the direction and the axis that they share.
        old: Both tensors before the edit, by name.
        changes: What becomes of either, where something does.
        moves: The moves of the gain.

    Returns:
        At most one change for each of the two tensors.
    """
    if site.direction not in changes:
        return ()
    direction = changes[site.direction]
    gain = changes.get(site.gain) or TensorChange(site.gain, old[site.gain], _same)
    move = next((m for m in moves if m.dim == site.dim), None)
    after = _lengths(direction.data, site.dim)
    factors = _factors(_lengths(old[site.direction], site.dim), after, move)
    values = gain.data.detach().double() * factors.view(gain.data.shape)
    if move is not None and move.fill is Fill.RANDOM and NEW in move.source:
        new = torch.tensor([origin == NEW for origin in move.source], device=values.device)
        values = torch.where(new.view(gain.data.shape), after.view(values.shape), values)
    empty = after == 0
    values = torch.where(empty.view(values.shape), 0.0, values)
    return (
        replace(gain, data=values.to(gain.data)),
        replace(direction, data=_filled(direction.data, empty, site.dim)),
    )


def _same(state: Tensor) -> Tensor:
    return state


def _lengths(direction: Tensor, dim: int | None) -> Tensor:
    """The norm over all axes but one. Shape ``(size,)``, ``(1,)`` over all axes; float64."""
    rows = direction.detach().double()
    rows = rows.reshape(1, -1) if dim is None else rows.movedim(dim, 0).flatten(1)
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths


def _factors(before: Tensor, after: Tensor, move: MoveAxis | None) -> Tensor:
    """By how much each length has changed; exactly 1 where it has not, and for what is new."""
    source = range(len(after)) if move is None else move.source
    index = torch.tensor(list(source), device=after.device)
    ratio = after / before[index.clamp(min=0)]
    still = (ratio - 1).abs() <= _ROUNDING
    factors: Tensor = torch.where(still | (index < 0) | ~ratio.isfinite(), 1.0, ratio)
    return factors


def _filled(direction: Tensor, empty: Tensor, dim: int | None) -> Tensor:
    if not bool(empty.any()):
        return direction
    shape = [1] * direction.dim()
    shape[dim or 0] = -1
    return torch.where(empty.view(shape), torch.ones_like(direction), direction)
