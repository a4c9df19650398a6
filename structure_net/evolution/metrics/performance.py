r"""Four measures of how a layer performs, and the hybrid score of where the network is narrow.

They are the ones that dynamic neural morphogenesis names: the variance of the gradients that reach
a layer, the diversity of its activations, the information on the label that flows through it, and
how sensitive the loss is to it. All take plain tensors, so that caches of activations and gradients
from a loop of one's own will do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor

from structure_net.evolution.metrics.bottlenecks import task_rank
from structure_net.evolution.metrics.information import LabelInformation, label_information
from structure_net.evolution.metrics.ranks import effective_rank, spectrum
from structure_net.evolution.metrics.validity import Unavailable

GRADIENT_VARIANCE: Final = "gradient_variance"
ACTIVATION_DIVERSITY: Final = "activation_diversity"
INFORMATION_FLOW: Final = "information_flow"
PERFORMANCE_SENSITIVITY: Final = "performance_sensitivity"

SIGNS: Final[Mapping[str, int]] = {
    GRADIENT_VARIANCE: 1,
    ACTIVATION_DIVERSITY: -1,
    INFORMATION_FLOW: -1,
    PERFORMANCE_SENSITIVITY: 1,
}
"""Whether a layer is a bottleneck where the measure is high (1) or low (-1)."""

PERFORMANCE_MEASURES: Final = tuple(SIGNS)

Measured = Mapping[str, float | Unavailable]


def check_measures(measures: Sequence[str]) -> None:
    """Checks that all are names of `PERFORMANCE_MEASURES`.

    Raises:
        ValueError: One is not.
    """
    if unknown := [name for name in measures if name not in SIGNS]:
        raise ValueError(
            f"Measures are {', '.join(PERFORMANCE_MEASURES)}; got {', '.join(unknown)}."
        )


def gradient_variance(gradients: Tensor, *, axis: int = 1) -> float:
    r"""The variance of a unit's gradient over samples and positions, averaged over the units.

    High where samples pull a layer in different directions. In units of the squared gradient.

    Args:
        gradients: Of the loss with respect to the layer's units, shape ``(N, C, ...)``.
        axis: Of the units.
    """
    rows = gradients.detach().double().movedim(axis, -1).flatten(0, -2)
    return float(rows.var(0, correction=0).mean())


def activation_diversity(activations: Tensor, *, before: float, behind: float) -> float:
    r"""How many directions the units span, relative to what they get and what is asked of them.

    .. math:: r / \sqrt{r_- r_+}

    the effective rank of the centred activations over the geometric mean of its neighbours': below
    1 at a bottleneck. By itself a rank would only say how late a layer is, since ranks fall towards
    the outputs of a network that is just right.

    Args:
        activations: Shape ``(N, C)``; units that do not vary count with a rank of 1.
        before: :math:`r_-`, the effective rank of what the layer gets.
        behind: :math:`r_+`, that of what reads it, or of what the task asks for (`task_rank`).
    """
    return _rank(activations) / math.sqrt(before * behind)


def information_flow(activations: Tensor, targets: Tensor) -> float | Unavailable:
    """The bits on the label that a linear probe reads from the layer (`label_information`).

    Args:
        activations: Shape ``(N, C)``.
        targets: Class indices, shape ``(N,)``.
    """
    found = label_information(activations, targets)
    return found.bits if isinstance(found, LabelInformation) else found


def performance_sensitivity(
    activations: Tensor, gradients: Tensor, *, axis: int = 1, mean_loss: bool = True
) -> float:
    r"""How far a sample's loss moves when the layer's units are disturbed.

    To first order, the standard deviation of the change of a sample's loss when each unit is scaled
    by an independent :math:`1 + \delta`, per standard deviation of :math:`\delta`:

    .. math:: \sqrt{\tfrac1N \sum_i \sum_c \Bigl(\sum_p y_{icp}
              \frac{\partial L_i}{\partial y_{icp}} \Bigr)^2}

    with the positions ``p`` of unit ``c``. In units of the loss.

    Args:
        activations: Shape ``(N, C, ...)``.
        gradients: Of the loss with respect to them, of the same shape.
        axis: Of the units.
        mean_loss: The loss is a mean over the samples, so that its gradient is that of a sample's
            own loss divided by ``N``; False for a sum.

    Raises:
        ValueError: The shapes differ.
    """
    if activations.shape != gradients.shape:
        raise ValueError(
            "gradients must be those of the activations; got shapes"
            f" {tuple(gradients.shape)} and {tuple(activations.shape)}."
        )
    product = activations.detach().double() * gradients.detach().double()
    effect = product.movedim(axis, 1).flatten(2).sum(2) if product.dim() > 2 else product
    scale = len(effect) if mean_loss else 1
    return float(effect.square().sum(1).mean().sqrt() * scale)


def measure_layers(
    activations: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    targets: Tensor | None = None,
    *,
    inputs: Tensor | None = None,
    measures: Sequence[str] = PERFORMANCE_MEASURES,
    axis: int = 1,
) -> dict[str, dict[str, float | Unavailable]]:
    """The measures of every layer, from caches of activations and gradients.

    Activations with positions (pixels) count by their means over them, where samples are compared.

    Args:
        activations: By layer in order of execution, shape ``(N, C, ...)``.
        gradients: Of the mean loss, by layer: with respect to the activations and of their shape;
            or with respect to the layer's weight, shape ``(C, ...)``, of which only the variance
            over a unit's weights is taken.
        targets: Class indices, shape ``(N,)``.
        inputs: What the first layer reads, of the same kind as the activations; without it the
            layer behind tells alone how diverse the first one should be.
        measures: Names from `PERFORMANCE_MEASURES`.
        axis: Of the units in the activations: 1 for channels first, -1 for tokens.

    Returns:
        By measure and layer; unavailable where what a measure needs was not given.

    Raises:
        ValueError: A measure is unknown.
    """
    check_measures(measures)
    found: dict[str, dict[str, float | Unavailable]] = {}
    for measure in measures:
        if measure == ACTIVATION_DIVERSITY:
            found[measure] = _diversities(activations, inputs, targets, axis)
        else:
            found[measure] = {
                layer: _measured(measure, values, gradients.get(layer), targets, axis)
                for layer, values in activations.items()
            }
    return found


def bottleneck_scores(measured: Mapping[str, Measured]) -> dict[str, float] | Unavailable:
    r"""The hybrid score of every layer: the mean of its measures, each scaled over the layers.

    .. math:: s_l = \tfrac1M \sum_m b_{ml}, \qquad
              b_{ml} = \frac{x_{ml} - \min_k x_{mk}}{\max_k x_{mk} - \min_k x_{mk}}

    with :math:`1 - b` for a measure that is low at a bottleneck (`SIGNS`). A measure counts if it
    is there for every layer and differs between them; where those that are there all agree, as with
    a single layer, every layer scores 1/2.

    Args:
        measured: By measure and layer.

    Returns:
        Between 0 and 1, the narrowest layer first; unavailable where no measure is there for every
        layer.

    Raises:
        ValueError: A measure is unknown.
    """
    check_measures(tuple(measured))
    layers = {layer: None for by_layer in measured.values() for layer in by_layer}
    if not any(_numbers(by_layer) for by_layer in measured.values()):
        return Unavailable("no measure is there for every layer")
    shares = [share for name, by in measured.items() if (share := _shares(name, by)) is not None]
    if not shares:
        return dict.fromkeys(layers, 0.5)
    scores = {layer: sum(share[layer] for share in shares) / len(shares) for layer in layers}
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def counted_measures(measured: Mapping[str, Measured]) -> tuple[str, ...]:
    """The measures that `bottleneck_scores` takes the mean of."""
    return tuple(name for name, by_layer in measured.items() if _shares(name, by_layer) is not None)


def _numbers(values: Measured) -> dict[str, float]:
    """The values, if they are there for every layer; empty if not."""
    numbers = {k: float(v) for k, v in values.items() if not isinstance(v, Unavailable)}
    return numbers if len(numbers) == len(values) else {}


def _shares(measure: str, values: Measured) -> dict[str, float] | None:
    numbers = _numbers(values)
    low, high = min(numbers.values(), default=0.0), max(numbers.values(), default=0.0)
    if not high > low:
        return None
    worst, best = (high, low) if SIGNS[measure] > 0 else (low, high)
    return {layer: (value - best) / (worst - best) for layer, value in numbers.items()}


def _measured(
    measure: str, values: Tensor, gradients: Tensor | None, targets: Tensor | None, axis: int
) -> float | Unavailable:
    if measure == INFORMATION_FLOW:
        if targets is None:
            return Unavailable("no targets were given")
        return information_flow(_by_sample(values, axis), targets)
    if gradients is None:
        return Unavailable("no gradient was given for this layer")
    return _of_gradients(measure, values, gradients, axis)


def _diversities(
    activations: Mapping[str, Tensor], inputs: Tensor | None, targets: Tensor | None, axis: int
) -> dict[str, float | Unavailable]:
    clouds = {layer: _by_sample(values, axis) for layer, values in activations.items()}
    given = None if inputs is None else _rank(_by_sample(inputs, axis))
    asked = Unavailable("no targets were given") if targets is None else task_rank(targets)
    last = None if isinstance(asked, Unavailable) else asked
    sides = [given, *(_rank(cloud) for cloud in clouds.values()), last]
    found: dict[str, float | Unavailable] = {}
    for place, (layer, cloud) in enumerate(clouds.items()):
        before, behind = sides[place] or sides[place + 2], sides[place + 2] or sides[place]
        if before is None or behind is None:
            found[layer] = Unavailable("neither what the layer gets nor what reads it was given")
        else:
            found[layer] = activation_diversity(cloud, before=before, behind=behind)
    return found


def _rank(cloud: Tensor) -> float:
    """The effective rank; 1 where nothing varies."""
    rank = effective_rank(spectrum(cloud))
    return 1.0 if isinstance(rank, Unavailable) else max(1.0, rank)


def _of_gradients(
    measure: str, values: Tensor, gradients: Tensor, axis: int
) -> float | Unavailable:
    alike = gradients.shape == values.shape
    if measure == GRADIENT_VARIANCE:
        return gradient_variance(gradients, axis=axis if alike else 0)
    if alike:
        return performance_sensitivity(values, gradients, axis=axis)
    return Unavailable(
        "takes the gradient with respect to the layer's activations, of shape"
        f" {tuple(values.shape)}; got {tuple(gradients.shape)}"
    )


def _by_sample(values: Tensor, axis: int) -> Tensor:
    whole = values.detach().movedim(axis, 1)
    whole = whole if whole.is_floating_point() else whole.double()
    return whole.flatten(2).mean(2) if whole.dim() > 2 else whole
