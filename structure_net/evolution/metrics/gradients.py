r"""How strong, how noisy and how diverse gradients are.

With the gradient :math:`g_i` of each sample's loss, mean :math:`g` and covariance :math:`\Sigma`,
the mean over a batch of ``B`` has the covariance :math:`\Sigma / B`. So per-sample gradients and
gradients of batches say the same, where batches are drawn independently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from structure_net.evolution.metrics.validity import Unavailable

_DROWNED = (
    "the mean gradient cannot be told from its noise on so few samples (its unbiased squared norm"
    " is not positive); observe more batches"
)


@dataclass(frozen=True, slots=True)
class GradientScale:
    r"""The size of the mean gradient and of the noise around it, both without bias.

    Args:
        squared_norm: :math:`\lVert g \rVert^2`; an estimate, which noise can make negative.
        variance: :math:`\mathrm{tr} \Sigma`, over single samples.
    """

    squared_norm: float
    variance: float

    @property
    def noise_scale(self) -> float | Unavailable:
        r"""The simple noise scale :math:`\mathrm{tr} \Sigma / \lVert g \rVert^2`, in samples.

        The batch size at which noise and gradient are equally large; beyond it larger batches
        hardly speed training up. Not valid where the estimate of the gradient is not positive.

        References:
            McCandlish et al., "An Empirical Model of Large-Batch Training", 2018 (arXiv
            1812.06162).
        """
        if self.squared_norm <= 0:
            return Unavailable(_DROWNED)
        return self.variance / self.squared_norm

    def signal_to_noise(self, batch_size: int = 1) -> float | Unavailable:
        r"""The ratio :math:`\lVert g \rVert / \sqrt{\mathrm{tr} \Sigma / B}` for batches of ``B``.

        Not valid where the estimate of the gradient is not positive. Infinite without noise.

        Raises:
            ValueError: ``batch_size`` is less than 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more; got {batch_size}.")
        if self.squared_norm <= 0:
            return Unavailable(_DROWNED)
        if self.variance <= 0:
            return math.inf
        return math.sqrt(self.squared_norm * batch_size / self.variance)


def gradient_scale(
    small: tuple[float, float], large: tuple[float, float]
) -> GradientScale | Unavailable:
    r"""The gradient and its noise from mean squared norms at two batch sizes.

    With :math:`\mathrm{E}\lVert g_B \rVert^2 = \lVert g \rVert^2 + \mathrm{tr} \Sigma / B` at both
    sizes ``b < B``,

    .. math:: \lVert g \rVert^2 = \frac{B n_B - b n_b}{B - b}, \qquad
              \mathrm{tr} \Sigma = \frac{n_b - n_B}{1/b - 1/B}.

    Args:
        small: The batch size ``b`` and the mean :math:`n_b` of the squared norms of gradients of
            such batches.
        large: The same for ``B``; the small batches may be its parts.

    Returns:
        Both, without bias; not valid where there is one size only, such as a single batch.

    Raises:
        ValueError: A size is less than 1, or the first larger than the second.
    """
    (size, square), (total, whole) = small, large
    if not 1 <= size <= total:
        raise ValueError(f"Batch sizes must be 1 or more, the smaller first; got {size}, {total}.")
    if size == total:
        return Unavailable(
            "one batch says nothing about the noise between batches; observe two or more"
        )
    squared_norm = (total * whole - size * square) / (total - size)
    variance = max(square - whole, 0.0) / (1 / size - 1 / total)
    return GradientScale(squared_norm, variance)


def scale_of_batches(
    mean: Tensor, second_moment: Tensor, batches: int, batch_size: float
) -> GradientScale | Unavailable:
    """The gradient and its noise from moments over batches: `gradient_scale` with both sizes.

    Args:
        mean: Mean of the batches' gradients. Any shape.
        second_moment: Mean of their squares. The same shape.
        batches: How many.
        batch_size: Samples in each.

    Returns:
        See `gradient_scale`; not valid for a single batch.
    """
    square, whole = float(second_moment.sum()), float(mean.square().sum())
    return gradient_scale((batch_size, square), (batch_size * batches, whole))


def sample_variance(
    mean: Tensor, second_moment: Tensor, batches: int, batch_size: float
) -> Tensor | Unavailable:
    r"""The variance of each entry of a single sample's gradient, from moments over batches.

    :math:`B \cdot \frac{n}{n - 1} (\overline{g^2} - \bar g^2)` over ``n`` batches of ``B``.

    Returns:
        The shape of ``mean``; not valid for a single batch.
    """
    if batches < 2:
        return Unavailable(
            "one batch says nothing about the noise between batches; observe two or more"
        )
    spread = (second_moment - mean.square()).clamp_min(0)
    return spread * batch_size * batches / (batches - 1)


def gradient_diversity(mean_square: float, square_of_mean: float) -> float | Unavailable:
    r"""How little single gradients agree: their number times the ratio of two sums.

    .. math:: n \sum_i \lVert g_i \rVert^2 / \lVert \sum_i g_i \rVert^2

    1 where all are equal, the number of samples where they are orthogonal and equally long: so many
    samples fit into a batch at no loss of speed.

    Args:
        mean_square: :math:`\sum_i \lVert g_i \rVert^2 / n`.
        square_of_mean: :math:`\lVert \sum_i g_i / n \rVert^2`.

    Returns:
        At least 1; not valid where the mean is 0.

    References:
        Yin et al., "Gradient Diversity: a Key Ingredient for Scalable Distributed Learning",
        AISTATS 2018 (times the number of samples).
    """
    if square_of_mean <= 0:
        return Unavailable("the mean gradient is 0, of which the others are no multiple")
    return mean_square / square_of_mean


def mean_pairwise_cosine(gradients: Tensor) -> float | Unavailable:
    r"""The mean cosine between the gradients of different samples,
    :math:`(\lVert \sum_i \hat g_i \rVert^2 - n) / (n (n - 1))`.

    1 where all agree, 0 where they are orthogonal, at least :math:`-1 / (n - 1)`. Gradients of 0
    have no direction and are left out.

    Args:
        gradients: Shape ``(N, P)``.

    Returns:
        Not valid with fewer than two gradients that are not 0.
    """
    lengths = gradients.norm(dim=1)
    alive = lengths > 0
    total = (gradients[alive] / lengths[alive, None]).sum(0)
    return cosine_of_total(float(total.square().sum()), int(alive.sum()))


def cosine_of_total(square_of_total: float, count: int) -> float | Unavailable:
    """`mean_pairwise_cosine` from the squared norm of the sum of ``count`` unit vectors."""
    if count < 2:
        return Unavailable(f"cosines need two samples with a gradient; there is {count}")
    return (square_of_total - count) / (count * (count - 1))


def share_of_squares(gradient: Tensor, rows: Tensor) -> float | Unavailable:
    r"""The share of some units in a layer's gradient, :math:`\sum_{rows} g^2 / \sum g^2`.

    Args:
        gradient: Shape ``(C, ...)``.
        rows: Which of the ``C`` units. Shape ``(C,)``, bool.

    Returns:
        Between 0 and 1; not valid where the whole gradient is 0.
    """
    squares = gradient.flatten(1).square().sum(1) if gradient.dim() > 1 else gradient.square()
    total = float(squares.sum())
    if not total > 0:
        return Unavailable("the layer's gradient is 0, of which nothing is a share")
    return float(squares[rows].sum()) / total
