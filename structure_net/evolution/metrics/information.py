r"""Information in representations, in bits, by measures that a deterministic network has.

The mutual information of a deterministic layer with its input is infinite, or a property of the
binning, so that it is not offered. What is: what a linear probe can tell of the label
(`label_information`), the entropy of a kernel matrix (`renyi_entropy`), and the information that is
left when noise of a stated size is added (`noisy_information`).

References:
    Amjad and Geiger, "Learning representations for neural network-based classification using the
    information bottleneck principle", TPAMI 2020.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from structure_net.evolution.metrics.ranks import checked_samples, spectrum, spectrum_of_covariance
from structure_net.evolution.metrics.validity import Unavailable

MEMORY = 2**22
"""Entries of the largest block of distances that `noisy_information` holds at a time."""


@dataclass(frozen=True, slots=True)
class LabelInformation:
    """What a linear probe tells of the label.

    Args:
        bits: A lower bound of I(T; Y), between 0 and the entropy.
        entropy_bits: H(Y) of the labels at hand.
        cross_entropy_bits: Of the probe, on samples that it was not fitted on.
        accuracy: Of the probe on these.
        samples: How many there are.
    """

    bits: float
    entropy_bits: float
    cross_entropy_bits: float
    accuracy: float
    samples: int


def label_information(
    samples: Tensor, targets: Tensor, *, folds: int = 4
) -> LabelInformation | Unavailable:
    r"""A lower bound of the information that a representation holds on the label.

    .. math:: I(T; Y) \ge H(Y) - \mathbb E[-\log_2 q(Y \mid T)]

    holds for every classifier ``q``; here it is a multinomial logistic regression (L2 penalty with
    C = 1 on standardised units), fitted on all folds but one and judged on that one, mixed with the
    uniform distribution at one part in the number of samples, so that a label that it never saw
    costs a finite number of bits. Information that is not linearly readable does not count.
    The folds are a function of the order of the samples, so the result is too.

    Args:
        samples: Shape ``(N, C)``.
        targets: Class indices. Shape ``(N,)``, an integer type.
        folds: At least 2.

    Returns:
        Unavailable where the targets are no class indices, one per sample, where all samples are
        of one class, or where there are fewer than ``2 * folds``.

    Raises:
        ValueError: ``folds`` is below 2, or ``samples`` is no finite matrix.
    """
    if folds < 2:
        raise ValueError(f"folds must be 2 or more; got {folds}.")
    checked_samples(samples)
    if (reason := _unlabelled(samples, targets, 2 * folds)) is not None:
        return reason
    classes, labels, counts = targets.detach().cpu().unique(return_inverse=True, return_counts=True)
    shares = counts.double() / len(labels)
    entropy = -float((shares * shares.log2()).sum())
    x = samples.detach().to("cpu")
    chosen = torch.zeros(len(labels), dtype=torch.float64)
    hits = 0
    fold = _stratified(labels, folds)
    for held in range(folds):
        out = fold == held
        q = _logistic_regression(x[~out], labels[~out], x[out], len(classes))
        chosen[out] = q.gather(1, labels[out].unsqueeze(1)).squeeze(1)
        hits += int((q.argmax(1) == labels[out]).sum())
    cost = -float(chosen.log2().mean())
    bits = max(0.0, entropy - cost)
    return LabelInformation(bits, entropy, cost, hits / len(labels), len(labels))


def renyi_entropy(kernel: Tensor, alpha: float = 1.01) -> float | Unavailable:
    r"""The matrix-based Renyi entropy of a kernel matrix, in bits.

    .. math:: S_\alpha(A) = \frac{1}{1 - \alpha} \log_2 \sum_i \lambda_i(A)^\alpha, \qquad
              A = K / \operatorname{tr} K

    The von Neumann entropy for :math:`\alpha = 1`. With a Gaussian kernel
    (`similarity.gaussian_kernel`) it counts, as a power of 2, how many groups of samples lie
    further apart than the kernel's width; it depends on that width, which therefore has to be
    stated with it.

    Args:
        kernel: ``K``, shape ``(N, N)``, symmetric and positive semidefinite.
        alpha: Positive.

    Returns:
        Between 0 and :math:`\log_2 N`; unavailable where the trace is 0.

    Raises:
        ValueError: ``alpha`` is not positive, or the kernel is not square.

    References:
        Giraldo, Rao and Principe, "Measures of entropy from data using infinitely divisible
        kernels", IEEE Trans. Information Theory 2015.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be positive; got {alpha}.")
    if kernel.dim() != 2 or kernel.size(0) != kernel.size(1):
        raise ValueError(f"kernel must have shape (N, N); got {tuple(kernel.shape)}.")
    k = kernel.detach().double()
    trace = k.diagonal().sum()
    if not bool(trace > 0):
        return Unavailable("the kernel's trace is 0, so that it cannot be normalised")
    shares = torch.linalg.eigvalsh(k / trace).clamp_min(0)
    shares = shares / shares.sum()
    if alpha == 1:
        return float(torch.special.entr(shares).sum()) / math.log(2)
    return max(0.0, float(shares.pow(alpha).sum().log2()) / (1 - alpha))


def renyi_information(first: Tensor, second: Tensor, alpha: float = 1.01) -> float | Unavailable:
    r"""The matrix-based mutual information :math:`S(K) + S(L) - S(K \circ L)`, in bits.

    Args:
        first: ``K``, shape ``(N, N)``, with ones on the diagonal.
        second: ``L``, shape ``(N, N)``, with ones on the diagonal, of the same samples.
        alpha: See `renyi_entropy`.

    Returns:
        At most the smaller of the two entropies; unavailable where an entropy is.

    Raises:
        ValueError: The kernels differ in size.
    """
    if first.shape != second.shape:
        raise ValueError(
            "Kernels must be of the same samples; got shapes"
            f" {tuple(first.shape)} and {tuple(second.shape)}."
        )
    parts = [renyi_entropy(kernel, alpha) for kernel in (first, second, first * second)]
    for part in parts:
        if isinstance(part, Unavailable):
            return part
    one, other, joint = (float(part) for part in parts)
    return one + other - joint


@dataclass(frozen=True, slots=True)
class NoisyInformation:
    r"""The information between a layer's input and its output with noise added, in bits.

    Args:
        bits: The estimate from the samples; in expectation it does not exceed the truth.
        upper_bits: Each sample judged by the others only; in expectation not below the truth.
        gaussian_bits: The information of a Gaussian of the same covariance, which no other
            distribution exceeds: :math:`\tfrac12 \sum_i \log_2(1 + \lambda_i / s^2)`.
        noise: ``s``, the standard deviation of the noise on each unit, in units of the activation.
        samples: How many there are; ``bits`` cannot exceed the logarithm of their number.
    """

    bits: float
    upper_bits: float
    gaussian_bits: float
    noise: float
    samples: int


def noisy_information(
    samples: Tensor, noise: float, *, draws: int = 4, generator: torch.Generator
) -> NoisyInformation | Unavailable:
    r""":math:`I(X; T + \epsilon)` for :math:`\epsilon \sim N(0, s^2)` on each unit, independent.

    The samples of ``T`` smeared by the noise are a mixture of Gaussians ``g``, so that

    .. math:: I = \mathbb E \Bigl[\log_2 \frac{\varphi_s(\epsilon)}{g(t_i + \epsilon)}\Bigr], \qquad
              g(x) = \frac1N \sum_j \varphi_s(x - t_j)

    is an average over samples and drawn noise (sample propagation estimator). Entropy is concave,
    so that the estimate is low in expectation; with :math:`j \ne i` only it is high.

    Args:
        samples: ``T``, shape ``(N, C)``.
        noise: ``s``, in units of the samples.
        draws: Of noise for each sample.
        generator: What the noise is drawn from, on the CPU.

    Returns:
        Unavailable for fewer than 2 samples, and where the estimate is within 1 bit of
        :math:`\log_2 N`: then the noise tells every sample from every other, and the figure is a
        property of their number.

    Raises:
        ValueError: ``noise`` or ``draws`` is not positive, or ``samples`` is no finite matrix.

    References:
        Goldfeld et al., "Estimating information flow in deep neural networks", ICML 2019.
    """
    if not noise > 0 or draws < 1:
        raise ValueError(f"noise and draws must be positive; got {noise} and {draws}.")
    checked_samples(samples)
    n = len(samples)
    if n < 2:
        return Unavailable(f"takes at least 2 samples; got {n}")
    t = samples.detach().to("cpu", torch.float64) / noise
    totals = torch.zeros(2, dtype=torch.float64)
    for _ in range(draws):
        epsilon = torch.randn(t.shape, dtype=torch.float64, generator=generator)
        totals += _log_ratios(t, epsilon).sum(1)
    bits, upper = (totals / (n * draws * math.log(2))).tolist()
    if bits > math.log2(n) - 1:
        return Unavailable(
            f"noise of {noise:.3g} tells nearly all {n} samples apart ({bits:.2f} of"
            f" {math.log2(n):.2f} bits), so that the estimate is their number; take more samples"
            " or more noise"
        )
    gaussian = _channel(spectrum(t).square())
    return NoisyInformation(max(0.0, bits), max(0.0, upper), gaussian, noise, n)


def gaussian_channel(covariance: Tensor, noise: float) -> float:
    r"""The information through a Gaussian channel, in bits.

    .. math:: \tfrac12 \log_2 \det(I + \Sigma / s^2)

    Args:
        covariance: :math:`\Sigma` of the signal, shape ``(C, C)``.
        noise: ``s``, the standard deviation of the noise on each unit.
    """
    return _channel(spectrum_of_covariance(covariance).square() / noise**2)


def _channel(ratios: Tensor) -> float:
    """Of the ratios of signal and noise along the principal axes."""
    return float(ratios.log1p().sum()) / (2 * math.log(2))


def _unlabelled(samples: Tensor, targets: Tensor, fewest: int) -> Unavailable | None:
    if targets.is_floating_point() or targets.is_complex() or targets.shape != samples.shape[:1]:
        return Unavailable(
            "label information is defined for class indices, one per sample; the targets are"
            f" {targets.dtype} of shape {tuple(targets.shape)}"
        )
    if len(samples) < fewest:
        return Unavailable(f"takes at least {fewest} samples; got {len(samples)}")
    if bool((targets == targets[0]).all()):
        return Unavailable("all samples are of one class, so that there is nothing to tell")
    return None


def _scaling(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each unit; 1 for one that varies by no more than rounding."""
    deviation = x.double().std(0, correction=0)
    rounding = torch.finfo(x.dtype).eps * x.abs().amax(0)
    return x.double().mean(0), torch.where(deviation > rounding, deviation, 1.0)


def _stratified(labels: Tensor, folds: int) -> Tensor:
    """The fold of each sample: the samples of each class are dealt out one by one in turn."""
    order = torch.argsort(labels, stable=True)
    fold = torch.empty_like(labels)
    fold[order] = torch.arange(len(labels)) % folds
    return fold


def _logistic_regression(x: Tensor, labels: Tensor, asked: Tensor, classes: int) -> Tensor:
    """Probabilities of all classes at ``asked``, shape ``(n, classes)``, all above 0."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, deviation = _scaling(x)
    seen = labels.unique()
    q = torch.zeros(len(asked), classes, dtype=torch.float64)
    if len(seen) == 1:
        q[:, seen] = 1.0
    else:
        with warnings.catch_warnings():
            # The bound holds for every classifier, so for one that is not quite fitted as well.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = LogisticRegression(max_iter=200).fit(
                ((x - mean) / deviation).numpy(), labels.numpy()
            )
        found = fitted.predict_proba(((asked - mean) / deviation).numpy())
        q[:, seen] = torch.as_tensor(found, dtype=torch.float64)
    mixed = 1 / (len(x) + 1)
    return (1 - mixed) * q + mixed / classes


def _log_ratios(t: Tensor, epsilon: Tensor) -> Tensor:
    """Logarithms of the noise's density over the mixture's, with and without the own component.

    Both in units of the noise. Shape ``(2, N)``, in nats.
    """
    n = len(t)
    found = []
    for rows in torch.arange(n).split(max(1, MEMORY // n)):
        own = -epsilon[rows].square().sum(1) / 2
        exponents = -torch.cdist(t[rows] + epsilon[rows], t).square() / 2
        whole = exponents.logsumexp(1) - math.log(n)
        exponents[torch.arange(len(rows)), rows] = -torch.inf
        others = exponents.logsumexp(1) - math.log(n - 1)
        found.append(torch.stack([own - whole, own - others]))
    return torch.cat(found, 1)
