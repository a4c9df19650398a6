r"""How alike two representations of the same samples are: HSIC and CKA, biased and debiased.

All of it works on kernel matrices of the samples, :math:`K_{ij} = k(x_i, x_j)`. With few samples
and many units the biased form calls independent representations alike (64 samples of 512 units:
.89), the debiased one does not (.006), so that it is the one to report.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from structure_net.evolution.metrics.ranks import checked_samples
from structure_net.evolution.metrics.validity import Unavailable

FEWEST_SAMPLES = 4
"""The debiased estimator divides by ``N (N - 3)``."""


def linear_kernel(samples: Tensor) -> Tensor:
    """:math:`X X^T`. Takes shape ``(N, C)``, gives ``(N, N)``, float64."""
    checked_samples(samples)
    x = samples.detach().double()
    return x @ x.T


def gaussian_kernel(samples: Tensor, width: float | None = None) -> Tensor:
    r""":math:`\exp(-\lVert x_i - x_j \rVert^2 / 2 w^2)`.

    Args:
        samples: Shape ``(N, C)``.
        width: ``w``, in units of the samples; the median distance between two samples if None,
            which makes the kernel free of their scale.

    Returns:
        Shape ``(N, N)``, float64, with ones on the diagonal. Without a width, samples of which more
        than half of the pairs are equal have no median distance: the mean one is taken, and where
        that is 0 as well, all samples are equal and so are all entries.

    Raises:
        ValueError: ``width`` is not positive, or the samples are no finite matrix.
    """
    checked_samples(samples)
    if width is not None and not width > 0:
        raise ValueError(f"width must be positive; got {width}.")
    x = _centred_samples(samples)
    distances = torch.cdist(x, x)
    scale = _typical(distances) if width is None else width
    return torch.exp(-(distances / scale).square() / 2) if scale else torch.ones_like(distances)


def hsic(first: Tensor, second: Tensor, *, debiased: bool = True) -> float | Unavailable:
    r"""The Hilbert-Schmidt independence criterion of two kernel matrices.

    Biased: :math:`\operatorname{tr}(K H L H) / (N - 1)^2` with :math:`H = I - 1 1^T / N`. Debiased:
    :math:`\langle \tilde K, \tilde L \rangle / N (N - 3)` with the U-centred matrices, whose
    diagonal is 0 and whose rows sum to 0; its expectation is 0 for independent samples.

    Args:
        first: ``K``, shape ``(N, N)``, symmetric.
        second: ``L``, shape ``(N, N)``, symmetric.
        debiased: Which of the two.

    Returns:
        In units of ``K`` times ``L``; unavailable for fewer than 4 samples (2 if biased).

    Raises:
        ValueError: The matrices are not square or differ in size.

    References:
        Song et al., "Feature selection via dependence maximization", JMLR 2012.
        Székely and Rizzo, "Partial distance correlation with methods for dissimilarities", 2014.
    """
    _check_kernels((first, second))
    n = len(first)
    if (reason := _too_few(n, debiased)) is not None:
        return reason
    one, other = (_centred(kernel, debiased) for kernel in (first, second))
    return float((one * other).sum()) / (n * (n - 3) if debiased else (n - 1) ** 2)


def cka(first: Tensor, second: Tensor, *, debiased: bool = True) -> float | Unavailable:
    r"""Centred kernel alignment of two representations of the same samples, with linear kernels.

    .. math:: \frac{HSIC(K, L)}{\sqrt{HSIC(K, K)\, HSIC(L, L)}}

    1 for representations equal up to rotation, reflection and scale. About 0 for independent ones
    if debiased, which can be slightly below 0; never below 0 if biased.

    Args:
        first: Shape ``(N, C)``.
        second: Shape ``(N, D)``.
        debiased: Which `hsic`.

    Returns:
        At most 1; unavailable for fewer than 4 samples (2 if biased), and where a representation
        does not vary or varies less than its bias.

    Raises:
        ValueError: The numbers of samples differ, or a representation is no finite matrix.

    References:
        Kornblith et al., "Similarity of neural network representations revisited", ICML 2019.
        Nguyen, Raghu and Kornblith, "Do wide and deep networks learn the same things?", ICLR 2021.
    """
    return cka_table([first, second], debiased=debiased)[0][1]


def cka_table(
    representations: Sequence[Tensor], *, debiased: bool = True
) -> list[list[float | Unavailable]]:
    """`cka` of every representation with every other, with each kernel centred once.

    Args:
        representations: Shape ``(N, C_i)`` each, of the same samples.
        debiased: Which `hsic`.

    Returns:
        A symmetric table.

    Raises:
        ValueError: The numbers of samples differ, or a representation is no finite matrix.
    """
    kernels = [linear_kernel(_unit_scale(samples)) for samples in representations]
    _check_kernels(kernels)
    size = len(kernels)
    if not kernels:
        return []
    if (reason := _too_few(len(kernels[0]), debiased)) is not None:
        return [[reason] * size for _ in range(size)]
    centred = torch.stack([_centred(kernel, debiased).flatten() for kernel in kernels])
    products = centred @ centred.T
    return [[_alignment(products, i, j) for j in range(size)] for i in range(size)]


def _alignment(products: Tensor, i: int, j: int) -> float | Unavailable:
    own = products[i, i] * products[j, j]
    if not bool(own > 0):
        return Unavailable("a representation does not vary, so that it is like nothing")
    return float(products[i, j] / own.sqrt())


def _unit_scale(samples: Tensor) -> Tensor:
    """Centred, at a root mean square of 1; zeros where nothing varies beyond rounding."""
    x = _centred_samples(samples)
    scale = x.square().mean().sqrt()
    return x / scale if scale > 0 else x


def _centred_samples(samples: Tensor) -> Tensor:
    """Float64; zeros where nothing varies beyond rounding."""
    checked_samples(samples)
    x = samples.detach().double()
    rounding = torch.finfo(samples.dtype).eps * x.square().mean().sqrt()
    x = x - x.mean(0)
    return x if x.square().mean().sqrt() > rounding else torch.zeros_like(x)


def _centred(kernel: Tensor, debiased: bool) -> Tensor:
    k = kernel.detach().double()
    n = len(k)
    if not debiased:
        return k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()
    k = k - torch.diag(k.diagonal())
    rows = k.sum(1) / (n - 2)
    k = k - rows - rows.unsqueeze(1) + rows.sum() / (n - 1)
    return k - torch.diag(k.diagonal())


def _typical(distances: Tensor) -> float:
    """The median distance between two samples; the mean where that is 0."""
    n = len(distances)
    if n < 2:
        return 0.0
    upper = torch.triu_indices(n, n, 1)
    pairs = distances[upper[0], upper[1]]
    return float(pairs.median()) or float(pairs.mean())


def _too_few(samples: int, debiased: bool) -> Unavailable | None:
    fewest = FEWEST_SAMPLES if debiased else 2
    if samples >= fewest:
        return None
    return Unavailable(f"takes at least {fewest} samples; got {samples}")


def _check_kernels(kernels: Sequence[Tensor]) -> None:
    shapes = {tuple(kernel.shape) for kernel in kernels}
    if len(shapes) > 1 or any(len(shape) != 2 or shape[0] != shape[1] for shape in shapes):
        raise ValueError(
            "Representations and kernels must be of the same samples; got kernels of shapes"
            f" {', '.join(map(str, sorted(shapes)))}."
        )
