r"""What new units would gain at a place, and the best such units: GradMax, TINY, natural expansion.

A place is a layer and one that reads its units. A new unit sees the layer's inputs ``x`` through
incoming weights :math:`\alpha` and is read through outgoing weights :math:`\omega`. To first order
in its size it adds :math:`\omega \alpha^T x` to the reader's outputs ``a``, whose gradient is
:math:`\delta = \partial L / \partial a`. All three methods are matrix problems on the same few
moments of ``x``, of the reader's present inputs ``h`` and of :math:`\delta`, which one pass over
the data collects (`PlaceMoments`).

The activation counts with slope 1, and a normalisation or a pooling between the two layers as the
linear map that it is on average.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

DAMPING: Final = 1e-3
"""Share of a second moment's mean eigenvalue that is added to all of them before it is inverted."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaceMoments:
    r"""Moments of one place, float64: means over samples of sums over the reader's positions.

    With ``p`` inputs of a new unit (kernel positions included, and a constant 1 as the last one
    where ``bias``), ``q`` present inputs of each output of the reader (likewise), ``o`` outputs
    of the reader and ``K`` positions in the reader's kernel, 1 for a linear layer:

    Args:
        layer: The layer that would get the new unit.
        reader: The layer that would read it.
        samples: How many samples were seen.
        positions: Positions of the reader's output for each.
        inputs: :math:`S = \mathrm{E}[x x^T]`. Shape ``(p, p)``.
        features: :math:`H = \mathrm{E}[h h^T]`. Shape ``(q, q)``.
        cross: :math:`C_r = \mathrm{E}[h x_r^T]` at the kernel's position ``r``. Shape
            ``(K, q, p)``.
        gradient: :math:`M_r = \mathrm{E}[\delta x_r^T]`. Shape ``(K, o, p)``.
        feature_gradient: :math:`D = \mathrm{E}[\delta h^T]`, the gradient of the reader's weights.
            Shape ``(o, q)``.
        curvature: :math:`G = \mathrm{E}[\delta \delta^T]`, a mean over positions too. Shape
            ``(o, o)``.
        bias: Whether the last input of a new unit is the constant 1.
    """

    layer: str
    reader: str
    samples: int
    positions: int
    inputs: Tensor
    features: Tensor
    cross: Tensor
    gradient: Tensor
    feature_gradient: Tensor
    curvature: Tensor
    bias: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Expansion:
    """New units, the best one first.

    Args:
        gains: By how much each lowers the loss, in units of the loss; each method says under which
            step. Shape ``(r,)``.
        incoming: Incoming weights. Shape ``(r, p)``.
        outgoing: Outgoing weights. Shape ``(r, o, K)``.
    """

    gains: Tensor
    incoming: Tensor
    outgoing: Tensor

    def first(self, units: int) -> Expansion:
        """The best ``units`` of them.

        Raises:
            ValueError: ``units`` is less than 1.
        """
        if units < 1:
            raise ValueError(f"units must be 1 or more; got {units}.")
        return Expansion(self.gains[:units], self.incoming[:units], self.outgoing[:units])


def gradmax_expansion(moments: PlaceMoments) -> Expansion:
    r"""Incoming weights of norm 1 for which the outgoing weights' gradient at 0 is largest.

    They are the right singular vectors of ``M``, all positions of the reader's kernel stacked, and
    the outgoing weights given here are the negative gradient there, :math:`-M \alpha`. The gain of
    a unit is :math:`\sigma_k^2`, its squared gradient: by so much the loss falls for each unit of
    learning rate in its first step.

    Args:
        moments: Of the place.

    Returns:
        As many units as ``M`` has non-zero singular values.

    References:
        Evci et al., "GradMax: Growing Neural Networks using Gradient Information", ICLR 2022,
        with the incoming weights in place of the outgoing ones set to zero.
    """
    left, sigma, right = _singular(_stacked(moments.gradient))
    return Expansion(sigma**2, right, _unstacked(-left * sigma[:, None], moments))


def tiny_expansion(moments: PlaceMoments, *, damping: float = DAMPING) -> Expansion:
    r"""The units that come closest to the update that present weights cannot make.

    The update wanted of the reader's outputs is :math:`-\delta`. The reader's own weights can make
    :math:`-D H^{-1} h` of it; of what is left the new units take the most: with the singular
    values of :math:`N S^{-1/2} = \sum_k \lambda_k v_k u_k^T`, where
    :math:`N = -(M - D H^{-1} C)`, they are :math:`\alpha_k = \sqrt{\lambda_k} S^{-1/2} u_k` and
    :math:`\omega_k = \sqrt{\lambda_k} v_k`. The gain :math:`\lambda_k^2 / 2` is the decrease of the
    loss if its second derivative in the reader's outputs is 1 (half the squared error has it),
    beyond what present weights gain by their own best update.

    In a convolution the values at different positions of the reader's kernel count as
    uncorrelated; for a kernel of one position the solution is exact.

    Args:
        moments: Of the place.
        damping: See `DAMPING`; 0 takes pseudo-inverses.

    Raises:
        ValueError: ``damping`` is negative.

    References:
        Verbockhaven et al., "Growing Tiny Networks: Spotting Expressivity Bottlenecks and Fixing
        Them Optimally", TMLR 2024 (arXiv 2405.19816).
    """
    whitener = _inverse_root(moments.inputs, damping)
    left, sigma, right = _singular(_stacked(_missing(moments, damping)) @ whitener)
    scale = sigma.sqrt()[:, None]
    return Expansion(sigma**2 / 2, scale * (right @ whitener), _unstacked(scale * left, moments))


def natural_expansion(moments: PlaceMoments, *, damping: float = DAMPING) -> Expansion:
    r"""The units whose natural gradient step lowers the loss most beyond that of present weights.

    The natural expansion score :math:`g^T F^{-1} g / 2` is the decrease of the loss in a quadratic
    model with the Fisher information ``F`` as its curvature, here in Kronecker factors. With the
    part :math:`x - C^T H^{-1} h` of the inputs that present features do not explain, second moment
    :math:`S_r = S - C^T H^{-1} C`, a unit adds :math:`\lambda_k^2 / 2`, where :math:`\lambda_k` are
    the singular values of :math:`G^{-1/2} N S_r^{-1/2}`. ``G`` is that of the labels (the empirical
    Fisher), so that the score is bounded, and says little, once a loss is close to 0.

    Unlike `tiny_expansion` it weighs outputs by their curvature, does not depend on the scale of
    the loss's arguments, and credits a unit for what it adds to the present ones rather than for
    itself.

    Args:
        moments: Of the place.
        damping: See `DAMPING`; 0 takes pseudo-inverses.

    Raises:
        ValueError: ``damping`` is negative.

    References:
        Mitchell, Menzenbach, Kersting and Mundt, "Self Expanding Neural Networks", 2023 (arXiv
        2307.04526). Grosse and Martens, "A Kronecker-factored approximate Fisher matrix for
        convolution layers", ICML 2016.
    """
    explained = torch.einsum(
        "kqp,kqs->ps", moments.cross, _solved(moments.features, moments.cross, damping)
    )
    inputs = _inverse_root(moments.inputs - explained / len(moments.cross), damping, moments.inputs)
    outputs = _inverse_root(moments.curvature, damping)
    missing = torch.einsum("po,kos->kps", outputs, _missing(moments, damping))
    left, sigma, right = _singular(_stacked(missing) @ inputs)
    scale = sigma.sqrt()[:, None]
    outgoing = torch.einsum("rok,op->rpk", _unstacked(scale * left, moments), outputs)
    return Expansion(sigma**2 / 2, scale * (right @ inputs), outgoing)


def natural_score(moments: PlaceMoments, *, damping: float = DAMPING) -> Tensor:
    r"""What the reader's present weights gain: :math:`\mathrm{tr}(G^{-1} D H^{-1} D^T) / 2`.

    In units of the loss, by the same quadratic model as `natural_expansion`, to be compared with
    its gains: where new units promise more than a given multiple of this, a self-expanding network
    grows.

    Returns:
        A scalar.
    """
    outputs = _inverse_root(moments.curvature, damping)
    inputs = _inverse_root(moments.features, damping)
    return (outputs @ moments.feature_gradient @ inputs).square().sum() / 2


def best_update(moments: PlaceMoments, *, damping: float = DAMPING) -> Tensor:
    r"""The update of the reader's weights that `tiny_expansion` assumes.

    Returns:
        :math:`-D H^{-1}`, shape ``(o, q)``.
    """
    return -_solved(moments.features, moments.feature_gradient.T, damping).T


def expressivity_bottleneck(moments: PlaceMoments, *, damping: float = DAMPING) -> Tensor:
    r"""The expressivity bottleneck: what of the wanted update no change of present weights makes.

    :math:`\mathrm{E}\lVert\delta\rVert^2 - \mathrm{tr}(D H^{-1} D^T)`, in squared units of the
    loss over the reader's outputs; summed over positions.

    Returns:
        A scalar, at least 0.
    """
    made = -(best_update(moments, damping=damping) * moments.feature_gradient).sum()
    return (moments.curvature.trace() * moments.positions - made).clamp_min(0)


def _missing(moments: PlaceMoments, damping: float) -> Tensor:
    """Minus the gradient that present features do not explain. Shape ``(K, o, p)``."""
    return -(moments.gradient + best_update(moments, damping=damping) @ moments.cross)


def _stacked(blocks: Tensor) -> Tensor:
    return blocks.flatten(0, 1)


def _unstacked(rows: Tensor, moments: PlaceMoments) -> Tensor:
    kernel, outputs, _ = moments.gradient.shape
    return rows.view(-1, kernel, outputs).transpose(1, 2)


def _singular(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left vectors as rows, values and right vectors as rows, zeros left out."""
    left, sigma, right = torch.linalg.svd(matrix, full_matrices=False)
    tolerance = torch.finfo(matrix.dtype).eps * max(matrix.shape)
    rank = int((sigma > tolerance * sigma.max()).sum()) if sigma.numel() else 0
    return left[:, :rank].T, sigma[:rank], right[:rank]


def _eigen(moment: Tensor, damping: float, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, damped and infinite where they count as 0, and eigenvectors."""
    if not damping >= 0:
        raise ValueError(f"damping must be 0 or more; got {damping}.")
    values, vectors = torch.linalg.eigh((moment + moment.mT) / 2)
    size = scale.diagonal().mean()
    zero = values <= torch.finfo(moment.dtype).eps * len(moment) * scale.diagonal().sum()
    damped = values.clamp_min(0) + damping * size
    absent = zero if damping == 0 else damped == 0
    return torch.where(absent, torch.inf, damped), vectors


def _inverse_root(moment: Tensor, damping: float, scale: Tensor | None = None) -> Tensor:
    """The symmetric inverse square root; damped by the size of ``scale``, of itself if None."""
    values, vectors = _eigen(moment, damping, moment if scale is None else scale)
    return (vectors * values.rsqrt()) @ vectors.T


def _solved(moment: Tensor, right: Tensor, damping: float) -> Tensor:
    values, vectors = _eigen(moment, damping, moment)
    return (vectors / values) @ (vectors.T @ right)
