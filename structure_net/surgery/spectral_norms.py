"""Weights that are divided by their spectral norm, behind an edit.

The largest singular value is estimated by ``u W v`` with the vectors of a power iteration, which
goes on in training. New columns are zero and leave it alone. New rows are drawn from what the old
rows and ``v`` do not span: then no step of the iteration ever meets them, until training has moved
them. Rows that go take their share of the estimate along; ``u`` is scaled so that the other rows
stay as they are, until the next training step estimates anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from structure_net.core.changes import TensorChange
from structure_net.errors import SurgeryError
from structure_net.graph.channels import Fill, SpectralNormSite
from structure_net.surgery.moves import MoveAxis
from structure_net.surgery.reindex import NEW

_SHARE: Final = 0.9
"""The largest singular value of new rows, at most, as a share of that of the old ones."""


def respected(
    site: SpectralNormSite,
    old: Mapping[str, Tensor],
    changes: Mapping[str, TensorChange],
    moves: Sequence[MoveAxis],
) -> tuple[TensorChange, ...]:
    """The changes of a weight and of its vector ``u``, instead of those that ``changes`` holds.

    Args:
        site: The weight, its two vectors and the axis of its rows.
        old: The three tensors before the edit, by name.
        changes: What becomes of them, where something does.
        moves: The moves of the weight and of its vectors.

    Raises:
        SurgeryError: The old rows span everything, so that there is nothing to draw new ones from.
    """
    row = next((m for m in moves if m.tensor == site.weight and m.dim == site.dim), None)
    if site.weight not in changes or row is None:
        return ()
    v = changes[site.v].data if site.v in changes else old[site.v]
    weight, u = changes[site.weight], changes[site.u]
    if row.fill is Fill.RANDOM and NEW in row.source:
        weight = replace(weight, data=_drawn(site, weight.data, v, row.source))
    scale = _kept(site, old, (weight.data, u.data, v), moves)
    return (weight, replace(u, data=u.data * scale))


def _rows(weight: Tensor, dim: int) -> Tensor:
    return weight.detach().double().movedim(dim, 0).flatten(1)


def _drawn(site: SpectralNormSite, weight: Tensor, v: Tensor, source: Sequence[int]) -> Tensor:
    """The weight with new rows that are orthogonal to all others and to ``v``."""
    rows = _rows(weight, site.dim)
    is_new = torch.tensor([origin == NEW for origin in source], device=weight.device)
    old, new = rows[~is_new], rows[is_new]
    _, sizes, basis = torch.linalg.svd(
        torch.cat([old, v.detach().double()[None] * old.norm()]), full_matrices=False
    )
    basis = basis[sizes > sizes.max() * max(rows.shape) * torch.finfo(sizes.dtype).eps]
    if len(basis) >= rows.shape[1]:
        raise SurgeryError(
            f"New rows of {site.weight!r} would change its spectral norm: its {len(old)} rows span "
            f"all of its {rows.shape[1]} columns. Take the norm off with torch.nn.utils.parametrize"
            ".remove_parametrizations, edit, and put it on again."
        )
    lengths = new.norm(dim=1, keepdim=True)
    for _ in range(2):
        new = new - new @ basis.T @ basis
    new = new * (lengths / new.norm(dim=1, keepdim=True))
    largest = torch.linalg.matrix_norm(old, 2) * _SHARE / torch.linalg.matrix_norm(new, 2)
    rows[is_new] = new * largest.clamp(max=1.0)
    shape = weight.movedim(site.dim, 0).shape
    return rows.view(shape).movedim(0, site.dim).to(weight).contiguous()


def _kept(
    site: SpectralNormSite,
    old: Mapping[str, Tensor],
    new: tuple[Tensor, Tensor, Tensor],
    moves: Sequence[MoveAxis],
) -> float:
    """The factor of ``u`` with which the estimate is what it was for the columns that stay; 1 where
    all rows stay."""
    kept = {m.tensor: set(m.source) for m in moves if m.tensor in (site.u, site.v)}
    before, u, v = _rows(old[site.weight], site.dim), old[site.u].double(), old[site.v].double()
    if set(range(len(u))) <= kept.get(site.u, set(range(len(u)))):
        return 1.0
    stays = [i in kept.get(site.v, range(len(v))) for i in range(len(v))]
    wanted = u @ before @ (v * torch.tensor(stays, device=v.device))
    found = new[1].double() @ _rows(new[0], site.dim) @ new[2].double()
    ratio = float(wanted / found) if float(found) else 1.0
    return ratio if ratio > 0.0 else 1.0
