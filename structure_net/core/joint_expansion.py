"""The best new units for several readers at once, by triangular factors instead of spectra.

The same mathematics as `structure_net.core.expansion.tiny_expansion`, for growth rather than for
scores: only a few units are wanted, and a layer may have several readers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from structure_net.core.expansion import DAMPING, PlaceMoments


def joint_incoming(
    places: Sequence[PlaceMoments],
    units: int,
    *,
    damping: float = DAMPING,
    live: Tensor | None = None,
) -> Tensor:
    r"""Incoming weights of the units that come closest to what all readers want and cannot make.

    With :math:`N_j = -(M_j - D_j H_j^{-1} C_j)` of reader ``j`` and any root
    :math:`S = L L^T` of the inputs' second moment, they are
    :math:`\alpha_k = \sqrt{\lambda_k} L^{-T} u_k`, where :math:`u_k` are the leading right singular
    vectors of all :math:`N_j L^{-T}` stacked and :math:`\lambda_k` the singular values. For one
    reader these are those of `tiny_expansion`.

    Args:
        places: One for each reader of the same layer. Where their grids have different sizes, each
            second moment of the inputs is scaled to the first one's.
        units: How many.
        damping: See `structure_net.core.expansion.DAMPING`; above 0.
        live: Which incoming weights each unit may have, where not all; the best unit with these is
            taken then, one after the other, of what those before it leave. Shape ``(units, p)``,
            bool.

    Returns:
        The best first, fewer where fewer lower the loss. Shape ``(r, p)``, float64. With ``live``,
        in its order; zero where a unit can do nothing.

    Raises:
        ValueError: There is no place, ``units`` is below 1, or ``damping`` is not positive.
    """
    if not places:
        raise ValueError("There must be at least one place.")
    if units < 1:
        raise ValueError(f"units must be 1 or more; got {units}.")
    moment = places[0].inputs
    size = moment.trace()
    blocks = [
        (unmade(place.gradient, place.cross, place, damping) * (size / place.inputs.trace()).sqrt())
        for place in places
    ]
    wanted = torch.cat([block.flatten(0, 1) for block in blocks])
    if live is None:
        return _best(wanted, moment, units, damping)
    found = torch.zeros(units, len(moment), dtype=torch.float64)
    for unit, row in zip(found, live, strict=True):
        best = _best(wanted[:, row], moment[row][:, row], 1, damping)
        if len(best):
            unit[row] = best[0]
            seen = moment @ unit
            wanted = wanted - torch.outer(wanted @ unit, seen) / (unit @ seen)
    return found


def _best(wanted: Tensor, moment: Tensor, units: int, damping: float) -> Tensor:
    factor = damped_factor(moment, damping)
    whitened = torch.linalg.solve_triangular(factor, wanted.T, upper=False)
    sigma, vectors = _leading(whitened, units)
    back = torch.linalg.solve_triangular(factor.T, vectors, upper=True)
    incoming: Tensor = (back * sigma.sqrt()).T
    return incoming


def joint_outgoing(
    new: tuple[Tensor, Tensor, Tensor],
    place: PlaceMoments,
    *,
    damping: float,
    live: Tensor | None = None,
) -> Tensor:
    r"""Outgoing weights of given new features ``z``: the best that a linear reader makes of them.

    :math:`\omega = -(\mathrm{E}[\delta z^T] - D H^{-1} \mathrm{E}[h z^T])\,\mathrm{E}[z z^T]^{-1}`,
    least squares for what present features leave of :math:`-\delta`.

    Args:
        new: :math:`\mathrm{E}[\delta z^T]`, shape ``(o, m)``, :math:`\mathrm{E}[h z^T]`, shape
            ``(q, m)``, and :math:`\mathrm{E}[z z^T]`, shape ``(m, m)``.
        place: Of the reader.
        damping: See `structure_net.core.expansion.DAMPING`; above 0.
        live: Which of them each output may have, where not all: least squares with these alone.
            Shape ``(o, m)``, bool.

    Returns:
        Shape ``(o, m)``, float64.
    """
    gradient, cross, moment = new
    wanted = unmade(gradient[None], cross[None], place, damping)[0]
    if live is None:
        return torch.cholesky_solve(wanted.T, damped_factor(moment, damping)).T
    found = torch.zeros_like(wanted)
    for output, row, target in zip(found, live, wanted, strict=True):
        if bool(row.any()):
            factor = damped_factor(moment[row][:, row], damping)
            output[row] = torch.cholesky_solve(target[row][:, None], factor)[:, 0]
    return found


def unmade(gradient: Tensor, cross: Tensor, place: PlaceMoments, damping: float) -> Tensor:
    r"""What present features leave of a wanted update: :math:`-(M_r - D H^{-1} C_r)`.

    Args:
        gradient: :math:`M_r`. Shape ``(K, o, p)``.
        cross: :math:`C_r`. Shape ``(K, q, p)``.
        place: The reader, whose ``D`` and ``H`` are taken.
        damping: As above.

    Returns:
        Shape ``(K, o, p)``.
    """
    made = torch.cholesky_solve(place.feature_gradient.T, damped_factor(place.features, damping))
    return -(gradient - made.T @ cross)


def damped_factor(moment: Tensor, damping: float) -> Tensor:
    """The lower triangular factor of a second moment to which a share of its mean diagonal is
    added.

    Args:
        moment: Symmetric, non-negative up to rounding. Shape ``(n, n)``.
        damping: The share, above 0.

    Raises:
        ValueError: ``damping`` is not positive, or the moment is not finite.
    """
    if not damping > 0:
        raise ValueError(f"damping must be positive; got {damping}.")
    whole = (moment + moment.mT).to(torch.float64) / 2
    size = whole.diagonal().mean()
    if not bool(whole.isfinite().all()):
        raise ValueError("The moment must be finite; got NaN or infinite entries.")
    # A moment of zeros, of units that never fire, stands for no direction: any scale will do.
    shift = damping * size if size > 0 else torch.ones_like(size)
    damped = whole + shift * torch.eye(len(whole), dtype=whole.dtype)
    factor: Tensor = torch.linalg.cholesky(damped)
    return factor


def _leading(columns: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest singular values of ``columns`` and their left vectors; zeros are left out.

    By the smaller of both Gram matrices: few are wanted, and only of the largest ones.

    Args:
        columns: Shape ``(p, m)``.
        count: How many.

    Returns:
        Shapes ``(r,)`` and ``(p, r)``.
    """
    wide = columns.shape[1] > columns.shape[0]
    gram = columns @ columns.T if wide else columns.T @ columns
    values, vectors = torch.linalg.eigh(gram)
    rank = int((values > values.new_tensor(1e-14) * values[-1].clamp_min(1e-300)).sum())
    taken = min(count, rank)
    if taken == 0:
        return columns.new_zeros(0), columns.new_zeros(len(columns), 0)
    sigma = values[-taken:].flip(0).sqrt()
    chosen = vectors[:, -taken:].flip(1)
    return sigma, chosen if wide else columns @ chosen / sigma
