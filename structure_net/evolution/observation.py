"""One look at a network for all analyzers: a pass over a few batches, reduced as it goes.

Analyzers say what they need (`Need`); the pass collects it once. What is kept are running sums and
a sample of a fixed size, never all activations, so that memory does not depend on the number of
batches. The network runs in evaluation mode, or in training mode where that is asked for, and is
left as it was: parameters, buffers, modes, gradients, random states and hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, get_args

from torch import Tensor, nn

from structure_net.core.expansion import PlaceMoments
from structure_net.evolution.batches import ITERABLE_AGAIN, Batch, Loss
from structure_net.evolution.reductions.coactivation import Covariances
from structure_net.evolution.reductions.connection_gradients import (
    ConnectionGradient,
    ConnectionGradients,
)
from structure_net.evolution.reductions.connection_samples import (
    ConnectionSample,
    ConnectionSamples,
)
from structure_net.evolution.reductions.effects import UnitGradients
from structure_net.evolution.reductions.expansion import PlaceSums
from structure_net.evolution.reductions.parameter_gradients import (
    ParameterGradient,
    ParameterGradients,
)
from structure_net.evolution.reductions.passing import Pass
from structure_net.evolution.reductions.probing import Probe, Reservoir
from structure_net.evolution.reductions.reduction import Reduction
from structure_net.evolution.reductions.sample_gradients import (
    SampleGradientNorms,
    SampleGradients,
)
from structure_net.evolution.reductions.units import UnitStatistics, UnitSums

Mode = Literal["training", "evaluation"]
"""How a network runs: as it learns, or as it is used."""


class Need(Enum):
    """What an analyzer wants to be measured."""

    ACTIVATIONS = "activations"
    """Per unit: extrema, moments, firing rate, slope; per input: moments."""

    GRADIENTS = "gradients"
    """Per unit: moments of the loss's gradient, Taylor and Fisher importance; costs a backward pass
    a batch."""

    PROBE = "probe"
    """The same few samples in all layers (`Probe`), with the network's inputs, targets and outputs;
    an analyzer says how many in ``probe_size``."""

    PROBE_VALUES = "probe_values"
    """The same, where only what units end up with is read."""

    COACTIVATION = "coactivation"
    """Covariances of the units of a layer."""

    PARAMETER_GRADIENTS = "parameter_gradients"
    """Moments over batches of each parameter's gradient; costs a backward pass a batch."""

    SAMPLE_GRADIENTS = "sample_gradients"
    """How the gradients of single samples differ, by layer; costs a backward pass a batch."""

    EXPANSION = "expansion"
    """What tells how much new units would gain, by place; costs a backward pass a batch, and
    products as wide as the layers' inputs."""

    CONNECTION_GRADIENTS = "connection_gradients"
    """The gradient of each sparse layer's weight, absent connections included; costs a backward
    pass a batch."""

    CONNECTION_SAMPLES = "connection_samples"
    """The gradient at some absent connections of each sparse layer; an analyzer says how many in
    ``candidates``. Costs a backward pass a batch."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerObservation:
    r"""What the units of one layer did over the batches seen.

    Values are taken after the activation that follows the layer, at every sample and position
    (pixel, token). With :math:`n` values :math:`y_i` of a unit:

    Args:
        layer: The layer's name.
        units: The number of units ``C``; channels of a convolution.
        activation: The activation's function name, None if none follows.
        count: ``n``.
        minimum: Shape ``(C,)``, float64 like all that follow.
        maximum: Shape ``(C,)``.
        mean: :math:`\sum y_i / n`. Shape ``(C,)``.
        mean_absolute: :math:`\sum |y_i| / n`. Shape ``(C,)``.
        second_moment: :math:`\sum y_i^2 / n`. Shape ``(C,)``.
        firing_rate: The fraction of values above 0. Shape ``(C,)``.
        slope: Of a bounded activation the mean derivative, relative to its largest one, so
            between 0 (saturated) and 1 (linear). Behind ReLU6, and any other hardtanh that cuts off
            below at 0, a value of 0 counts as slope 1: it is rest there, as behind ReLU, and not
            the end of the range. Of a smooth rectifier (GELU, SiLU, ELU, softplus, ...) the mean
            absolute derivative at what it took, near 0 where the unit is off. Shape ``(C,)``; None
            for the others, and for a smooth one inside a module that does more to its output.
        input_mean: Mean of each input unit. Shape ``(inputs,)``; None for embeddings.
        input_second_moment: Second moment of each input unit. Shape ``(inputs,)``.
        gradient_mean: Mean over the values of the gradient of the batch's loss, where asked for.
        gradient_second_moment: Its second moment, where asked for.
        taylor: The mean over samples :math:`s` of
            :math:`|\sum_p y_p\, \partial L_s / \partial y_p|`, over the positions ``p`` of each:
            what its loss :math:`L_s` changes by, to first order, when the unit is silenced. The
            batch's loss is taken for the mean of its samples' losses. In units of the loss. Shape
            ``(C,)``; None where not asked for, or where values do not belong to single samples.
        fisher: The mean of the square of the same. Shape ``(C,)``.
        covariance: Of the units, over all values, divided by ``n``. Shape ``(C, C)``; None where
            not asked for, or beyond 4096 units.
        readers: Layers whose inputs are this layer's units, one by one.
    """

    layer: str
    units: int
    activation: str | None
    count: int
    minimum: Tensor
    maximum: Tensor
    mean: Tensor
    mean_absolute: Tensor
    second_moment: Tensor
    firing_rate: Tensor
    slope: Tensor | None = None
    input_mean: Tensor | None = None
    input_second_moment: Tensor | None = None
    gradient_mean: Tensor | None = None
    gradient_second_moment: Tensor | None = None
    taylor: Tensor | None = None
    fisher: Tensor | None = None
    covariance: Tensor | None = None
    readers: tuple[str, ...] = ()

    @property
    def variance(self) -> Tensor:
        r""":math:`\sum y_i^2 / n - (\sum y_i / n)^2`, at least 0. Shape ``(C,)``."""
        return (self.second_moment - self.mean.square()).clamp_min(0)


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What one pass saw.

    Args:
        layers: By name, in order of first execution.
        batches: Batches seen.
        samples: Samples seen: the length of the targets (or of the first tensor among them); of
            the inputs where targets have no row for each.
        probe: See `Need.PROBE`; without inputs, targets and outputs where only
            `Need.PROBE_VALUES` was asked for.
        parameters: By the parameter's name: see `Need.PARAMETER_GRADIENTS`.
        sample_gradients: By layer: see `Need.SAMPLE_GRADIENTS`.
        places: By layer, one for each of its readers: see `Need.EXPANSION`.
        connections: By sparse layer: see `Need.CONNECTION_GRADIENTS`.
        connection_samples: By sparse layer: see `Need.CONNECTION_SAMPLES`.
        mode: How the network ran.
        training: What a second pass saw, in training mode, where analyzers ask for both modes.
    """

    layers: Mapping[str, LayerObservation] = field(default_factory=dict)
    batches: int = 0
    samples: int = 0
    probe: Probe | None = None
    parameters: Mapping[str, ParameterGradient] = field(default_factory=dict)
    sample_gradients: Mapping[str, SampleGradients] = field(default_factory=dict)
    places: Mapping[str, tuple[PlaceMoments, ...]] = field(default_factory=dict)
    connections: Mapping[str, ConnectionGradient] = field(default_factory=dict)
    connection_samples: Mapping[str, ConnectionSample] = field(default_factory=dict)
    mode: Mode = "evaluation"
    training: Observation | None = None


_UNITS: Final = frozenset({Need.ACTIVATIONS})
_FIELDS: Final = {
    Need.PROBE: "probe",
    Need.PROBE_VALUES: "probe",
    Need.PARAMETER_GRADIENTS: "parameters",
    Need.SAMPLE_GRADIENTS: "sample_gradients",
    Need.EXPANSION: "places",
    Need.CONNECTION_GRADIENTS: "connections",
    Need.CONNECTION_SAMPLES: "connection_samples",
}
"""Where an observation holds what belongs to no single layer, or not as a field of it."""


def observe(  # noqa: PLR0913 - each names what one need asks for
    network: nn.Module,
    data: Iterable[Batch],
    *,
    needs: Set[Need] = _UNITS,
    loss: Loss | None = None,
    probe_size: int = 0,
    candidates: int = 0,
    seed: int = 0,
    mode: Mode = "evaluation",
) -> Observation:
    """Runs ``network`` over ``data`` and reduces what its units do.

    Args:
        network: Any module; it is left as it was.
        data: Pairs ``(inputs, targets)`` on the network's device.
        needs: What to measure; nothing is run when empty.
        loss: Takes output and targets to a scalar; needed for gradients.
        probe_size: The samples of `Need.PROBE` and `Need.PROBE_VALUES`.
        candidates: The connections of each layer for `Need.CONNECTION_SAMPLES`.
        seed: What both are drawn with.
        mode: How the network runs. In training mode batches are normalised by their own statistics
            and dropout draws, from torch's global state; running statistics and random states are
            put back. Modules that are in evaluation mode inside one that trains stay in it.

    Raises:
        ValueError: Gradients are asked for without a loss, a probe without a size, a batch has no
            samples, there is no batch, or there is no such mode.
        StructureNetError: A unit's activation is not finite, of which nothing can be said.
    """
    check_mode(mode)
    if not needs:
        return Observation(mode=mode)
    sums, shares = UnitSums(), _shares(needs, probe_size, candidates, seed)
    passing = Pass(network, (sums, *shares.values()), training=mode == "training")
    if passing.differentiates and loss is None:
        names = ", ".join(sorted(f"Need.{need.name}" for need in needs))
        raise ValueError(f"{names} take the gradient of a loss; got loss=None. Pass one.")
    passing.run(data, loss)
    if not passing.batches:
        raise ValueError(f"The data_loader gave no batch to observe. {ITERABLE_AGAIN}")
    readers = passing.readers
    units = sums.result(readers)
    found = {need: share.result(readers) for need, share in shares.items()}
    return Observation(
        _layers(units, readers, found),
        passing.batches,
        passing.samples,
        mode=mode,
        **{_FIELDS[need]: value for need, value in found.items() if need in _FIELDS},
    )


def check_mode(mode: str) -> None:
    """Refuses what is no `Mode`.

    Raises:
        ValueError: It is none.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be 'training' or 'evaluation'; got {mode!r}.")


def _shares(needs: Set[Need], probe_size: int, candidates: int, seed: int) -> dict[Need, Reduction]:
    """What serves each need beyond the statistics of units, which are always there."""
    if needs == _UNITS:
        return {}
    makers: dict[Need, Callable[[], Reduction]] = {
        Need.GRADIENTS: UnitGradients,
        Need.PROBE: lambda: Reservoir(probe_size, seed),
        Need.PROBE_VALUES: lambda: Reservoir(probe_size, seed, data=False),
        Need.COACTIVATION: Covariances,
        Need.PARAMETER_GRADIENTS: ParameterGradients,
        Need.SAMPLE_GRADIENTS: SampleGradientNorms,
        Need.EXPANSION: PlaceSums,
        Need.CONNECTION_GRADIENTS: ConnectionGradients,
        Need.CONNECTION_SAMPLES: lambda: ConnectionSamples(candidates, seed),
    }
    asked = needs - {Need.PROBE_VALUES} if Need.PROBE in needs else needs
    return {need: make() for need, make in makers.items() if need in asked}


def _layers(
    units: Mapping[str, UnitStatistics],
    readers: Mapping[str, tuple[str, ...]],
    found: Mapping[Need, Any],
) -> dict[str, LayerObservation]:
    """The results that belong to single layers, put together."""
    parts = [found[need] for need in (Need.GRADIENTS, Need.COACTIVATION) if need in found]
    layers = {}
    for name, statistics in units.items():
        more: dict[str, Any] = {}
        for part in parts:
            more |= _fields(part[name]) if name in part else {}
        layers[name] = LayerObservation(
            name, len(statistics["mean"]), readers=readers[name], **statistics, **more
        )
    return layers


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}
