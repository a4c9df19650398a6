"""How many directions a matrix really uses: effective, stable, numerical rank and their like.

All of them read the singular values; for activations these are the ones of the CENTRED samples
(`spectrum`), since a common mean is one direction that swamps the others. Ranks of activations
grow with the number of samples, so compare them at one sample size only.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from structure_net.evolution.metrics.validity import Unavailable

_MOST_SIDE: Final = 2048
"""Up to which side of a matrix all of its singular values are computed."""

CONSTANT = "all singular values are 0: the values do not vary, so that they have no directions"


def spectrum(samples: Tensor, *, centred: bool = True) -> Tensor:
    r"""The singular values of samples of units, divided by :math:`\sqrt N`.

    They are the standard deviations along the principal axes. Computed from the eigenvalues of the
    smaller of the two Gram matrices in float64, several times faster than a decomposition; values
    below :math:`\sqrt\epsilon \approx 10^{-8}` of the largest are noise of that shortcut. What is
    within rounding of the samples' own precision counts as 0, so that units that do not vary have
    no spectrum.

    Args:
        samples: Shape ``(N, C)``.
        centred: Take each unit's mean away first.

    Returns:
        Shape ``(min(N, C),)``, float64, descending.

    Raises:
        ValueError: ``samples`` is no matrix with a sample and a unit, or not finite.
    """
    checked_samples(samples)
    x = samples.detach().double()
    rounding = torch.finfo(samples.dtype).eps * x.norm() / len(x) ** 0.5
    x = x - x.mean(0) if centred else x
    gram = x @ x.T if len(x) < x.size(1) else x.T @ x
    sigma = spectrum_of_covariance(gram / len(x))
    return sigma if sigma.square().sum().sqrt() > rounding else torch.zeros_like(sigma)


def spectrum_of_covariance(covariance: Tensor) -> Tensor:
    """The square roots of a covariance's eigenvalues: what `spectrum` gives for its samples.

    Args:
        covariance: Shape ``(C, C)``, symmetric, positive semidefinite up to rounding.

    Returns:
        Shape ``(C,)``, float64, descending.
    """
    values: Tensor = torch.linalg.eigvalsh(covariance.detach().double())
    return values.flip(0).clamp_min(0).sqrt()


def largest_singular_values(matrix: Any, count: int) -> Tensor:
    """The largest singular values of a sparse matrix.

    Of a matrix with a side of up to 2048, as `spectrum`: from the eigenvalues of the product that
    has this side. Of larger ones by Lanczos iterations to machine precision, each of which costs as
    much as there are entries.

    Args:
        matrix: A ``csr_array`` of scipy, float64, finite.
        count: How many, 1 or more; fewer where the matrix has fewer.

    Returns:
        Shape ``(count,)``, float64, descending.
    """
    from scipy.sparse.linalg import svds

    side = min(matrix.shape)
    count = min(count, side)
    if not matrix.nnz or not abs(matrix).max() > 0:
        return torch.zeros(count, dtype=torch.float64)
    if side <= _MOST_SIDE:
        product = matrix @ matrix.T if side == matrix.shape[0] else matrix.T @ matrix
        return spectrum_of_covariance(torch.from_numpy(product.toarray()))[:count]
    start = np.random.default_rng(0).standard_normal(side)
    values = svds(matrix, count, v0=start, tol=0, return_singular_vectors=False)
    return torch.from_numpy(np.sort(values)[::-1].copy())


def effective_rank(singular_values: Tensor) -> float | Unavailable:
    r"""The exponential of the spectrum's entropy.

    .. math:: \exp\bigl(-\sum_i p_i \log p_i\bigr), \qquad p_i = \sigma_i / \sum_j \sigma_j

    Args:
        singular_values: Shape ``(r,)``, non-negative, in any order.

    Returns:
        Between 1 and ``r``; unavailable where all singular values are 0.

    Raises:
        ValueError: A value is negative or not finite, or there is none.

    References:
        Roy and Vetterli, "The effective rank", EUSIPCO 2007.
    """
    sigma = _checked(singular_values)
    if not sigma.any():
        return Unavailable(CONSTANT)
    p = sigma / sigma.sum()
    return float(torch.special.entr(p).sum().exp())


def stable_rank(singular_values: Tensor) -> float | Unavailable:
    r""":math:`\lVert A \rVert_F^2 / \lVert A \rVert_2^2 = \sum_i \sigma_i^2 / \max_i \sigma_i^2`.

    Not what Dohare et al. call stable rank in their code; that is `cumulative_rank`.

    Args:
        singular_values: Shape ``(r,)``, non-negative, in any order.

    Returns:
        Between 1 and ``r``; unavailable where all singular values are 0.

    Raises:
        ValueError: A value is negative or not finite, or there is none.
    """
    sigma = _checked(singular_values)
    if not sigma.any():
        return Unavailable(CONSTANT)
    return float((sigma / sigma.max()).square().sum())


def participation_ratio(singular_values: Tensor) -> float | Unavailable:
    r""":math:`(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2` of the variances :math:`\sigma_i^2`.

    Args:
        singular_values: Shape ``(r,)``, non-negative, in any order.

    Returns:
        Between 1 and ``r``; unavailable where all singular values are 0.

    Raises:
        ValueError: A value is negative or not finite, or there is none.
    """
    sigma = _checked(singular_values)
    if not sigma.any():
        return Unavailable(CONSTANT)
    variances = (sigma / sigma.max()).square()
    return float(variances.sum().square() / variances.square().sum())


def cumulative_rank(singular_values: Tensor, share: float = 0.99) -> int | Unavailable:
    r"""The least ``k`` whose largest singular values make up ``share`` of their sum (srank).

    .. math:: \min \bigl\{k : \sum_{i \le k} \sigma_i \ge s \sum_i \sigma_i \bigr\}

    Args:
        singular_values: Shape ``(r,)``, non-negative, in any order.
        share: ``s``, in (0, 1].

    Returns:
        Between 1 and ``r``; unavailable where all singular values are 0.

    Raises:
        ValueError: A value is negative or not finite, there is none, or ``share`` is out of range.

    References:
        Kumar et al., "Implicit under-parameterization inhibits data-efficient deep reinforcement
        learning", ICLR 2021.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1]; got {share}.")
    sigma = _checked(singular_values)
    if not sigma.any():
        return Unavailable(CONSTANT)
    sums = sigma.sort(descending=True).values.cumsum(0)
    return int((sums < share * sums[-1]).sum()) + 1


def numerical_rank(matrix: Tensor, *, tolerance: float | None = None) -> int:
    r"""How many singular values stand out from rounding.

    Those above ``tolerance`` times the largest. An absolute bound would depend on the matrix's
    scale: at 1e-6, float32 noise around rank 10 counts as rank 211 and a full matrix of entries of
    1e-8 as rank 0.

    Args:
        matrix: Shape ``(m, n)``; in the precision that its values were computed in.
        tolerance: Relative; :math:`\epsilon \max(m, n)` of the matrix's dtype if None.

    Returns:
        0 for a matrix of zeros.

    Raises:
        ValueError: ``matrix`` is no matrix or not finite.
    """
    checked_samples(matrix)
    epsilon = torch.finfo(matrix.dtype).eps
    relative = epsilon * max(matrix.shape) if tolerance is None else tolerance
    sigma = torch.linalg.svdvals(matrix.detach().double())
    return int((sigma > relative * sigma.max()).sum())


def checked_samples(samples: Tensor) -> None:
    """Checks that ``samples`` is a finite floating-point matrix that is not empty.

    Raises:
        ValueError: It is not.
    """
    if samples.dim() != 2 or not samples.numel():
        raise ValueError(
            f"samples must have shape (N, C) with a sample and a unit; got {tuple(samples.shape)}."
        )
    if not samples.is_floating_point() or not bool(torch.isfinite(samples).all()):
        raise ValueError(
            f"samples must be finite floating-point numbers; got {samples.dtype} with"
            f" {int((~torch.isfinite(samples)).sum())} values that are NaN or infinite."
        )


def _checked(singular_values: Tensor) -> Tensor:
    sigma = singular_values.detach().double()
    if sigma.dim() != 1 or not len(sigma):
        raise ValueError(f"singular_values must have shape (r,), r > 0; got {tuple(sigma.shape)}.")
    if not bool((torch.isfinite(sigma) & (sigma >= 0)).all()):
        raise ValueError("singular_values must be finite and 0 or more; some are not.")
    return sigma
