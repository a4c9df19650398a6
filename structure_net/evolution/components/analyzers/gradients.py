"""How strong and how noisy each layer's gradient is, and what a new unit would gain where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from structure_net.core.arguments import check_number, check_whole
from structure_net.core.expansion import (
    DAMPING,
    PlaceMoments,
    expressivity_bottleneck,
    gradmax_expansion,
    natural_expansion,
    natural_score,
    tiny_expansion,
)
from structure_net.core.sparsity import SparseLayer
from structure_net.core.weights import by_output
from structure_net.evolution.components.analyzers.looking import observed
from structure_net.evolution.components.analyzers.newborns import Births, births
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.gradients import (
    GradientScale,
    cosine_of_total,
    gradient_diversity,
    gradient_scale,
    share_of_squares,
)
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import LayerObservation, Need, Observation
from structure_net.evolution.reductions.parameter_gradients import ParameterGradient

Measure = float | Unavailable


@dataclass(frozen=True, slots=True)
class NewbornShare:
    """What the units born lately get of a layer's gradient.

    Args:
        units: How many there are.
        fraction: Of the layer's units.
        share: Of the layer's squared gradient norm; as large as ``fraction`` where they learn as
            much as the others.
    """

    units: int
    fraction: float
    share: Measure


@dataclass(frozen=True, slots=True, eq=False)
class PlaceScores:
    """What new units of a layer would gain through one of the layers that read them.

    All in units of the loss, the best unit first; the functions of the same names say under which
    step.

    Args:
        reader: The reading layer.
        gradmax: `gradmax_expansion`. Shape ``(r,)``, as the next two.
        tiny: `tiny_expansion`.
        natural: `natural_expansion`.
        present: `natural_score`: what the present weights of the reader would gain.
        bottleneck: `expressivity_bottleneck`: what of the wanted update no present weight can make.
    """

    reader: str
    gradmax: Tensor
    tiny: Tensor
    natural: Tensor
    present: float
    bottleneck: float


class GradientAnalysis(TypedDict):
    """What `GradientAnalyzer` reports, by layer in order of execution.

    Of the gradient of all of a layer's parameters, means over the batches seen:
    ``gradient_norm``; ``gradient_variance``, the trace of the covariance over single samples;
    ``gradient_signal_to_noise``, norm over noise for a batch of the size seen;
    ``gradient_noise_scale``, in samples. ``gradient_batch_size`` is that size, and
    ``gradient_network_noise_scale`` is of all parameters together. ``gradient_units``: the norm of
    each unit's incoming weights' gradient, shape ``(C,)``.

    Between single samples: ``gradient_cosine``, the mean cosine of pairs, and
    ``gradient_diversity``, between 1 (all equal) and the number of samples (orthogonal).

    ``gradient_newborn``: layers with units born lately, and their share.

    ``gradient_expansion``: by layer, for each of its readers, what new units would gain; computed
    when first read. ``gradient_ranking``: where to add a unit first: the layers by the gain of
    their best unit through their best reader, the natural expansion score, in units of the loss;
    layers without a place come last, with the reason. How often it is right:
    ``docs/growth_location.md``.
    """

    gradient_norm: Mapping[str, float]
    gradient_variance: Mapping[str, Measure]
    gradient_signal_to_noise: Mapping[str, Measure]
    gradient_noise_scale: Mapping[str, Measure]
    gradient_network_noise_scale: Measure
    gradient_batch_size: float
    gradient_units: Mapping[str, Tensor]
    gradient_cosine: Mapping[str, Measure]
    gradient_diversity: Mapping[str, Measure]
    gradient_newborn: Mapping[str, NewbornShare | Unavailable]
    gradient_expansion: Mapping[str, tuple[PlaceScores, ...] | Unavailable]
    gradient_ranking: Mapping[str, Measure]


class GradientAnalyzer(Analyzer):
    """Looks at the gradients of a few batches, in evaluation mode.

    The batch's loss is taken for the mean of its samples' losses.

    Args:
        max_batches: How many batches are looked at; noise between batches takes two.
        newborn_for: A unit counts as newborn for so many iterations.
        damping: Of the expansion scores: `structure_net.core.expansion.DAMPING`.

    Raises:
        TypeError: An argument is no number, or a count is not whole.
        ValueError: An argument is out of range.
    """

    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.PARAMETER_GRADIENTS, Need.SAMPLE_GRADIENTS, Need.EXPANSION}
    )
    provides: ClassVar[frozenset[str]] = frozenset(GradientAnalysis.__annotations__)

    def __init__(
        self, max_batches: int = 10, *, newborn_for: int = 1, damping: float = DAMPING
    ) -> None:
        check_whole(1, max_batches=max_batches, newborn_for=newborn_for)
        check_number(0, damping=damping)
        self.max_batches = max_batches
        self.newborn_for = newborn_for
        self.damping = damping

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        """See `GradientAnalysis`.

        Raises:
            StructureNetError: The context carries no observation.
        """
        seen, modules = observed(context, self), dict(context.network.named_modules())
        owned = {name: _owned(name, seen.parameters) for name in seen.layers}
        owned = {name: parameters for name, parameters in owned.items() if parameters}
        scales = {name: _scale(parameters) for name, parameters in owned.items()}
        size = next((one.batch_size for one in seen.parameters.values()), 0.0)
        batch = max(round(size), 1)
        natural = context.lazy(partial(self._natural, seen))
        return {
            "gradient_norm": {name: _norm(parameters) for name, parameters in owned.items()},
            "gradient_variance": {name: _variance(scale) for name, scale in scales.items()},
            "gradient_signal_to_noise": {
                name: _signal_to_noise(scale, batch) for name, scale in scales.items()
            },
            "gradient_noise_scale": {name: _noise_scale(scale) for name, scale in scales.items()},
            "gradient_network_noise_scale": _noise_scale(_scale(seen.parameters)),
            "gradient_batch_size": size,
            "gradient_units": {
                name: units
                for name, parameters in owned.items()
                if (units := _unit_norms(modules[name], seen.layers[name], parameters)) is not None
            },
            "gradient_cosine": {
                name: cosine_of_total(one.square_of_directions, one.directed)
                for name, one in seen.sample_gradients.items()
            },
            "gradient_diversity": {
                name: gradient_diversity(one.mean_square, one.square_of_mean)
                for name, one in seen.sample_gradients.items()
            },
            "gradient_newborn": self._newborn(context, seen, owned),
            "gradient_expansion": context.lazy(lambda: self._expansion(seen, natural.get())),
            "gradient_ranking": context.lazy(lambda: _ranking(seen, natural.get())),
        }

    def _natural(self, seen: Observation) -> dict[str, tuple[Tensor, ...]]:
        """The gains of `natural_expansion`, by layer and reader."""
        return {
            name: tuple(natural_expansion(place, damping=self.damping).gains for place in places)
            for name, places in seen.places.items()
        }

    def _expansion(
        self, seen: Observation, natural: Mapping[str, tuple[Tensor, ...]]
    ) -> dict[str, tuple[PlaceScores, ...] | Unavailable]:
        return {
            name: tuple(map(self._scores, seen.places[name], natural[name]))
            if name in seen.places
            else Unavailable(_WITHOUT_PLACE)
            for name, layer in seen.layers.items()
            if layer.readers
        }

    def _scores(self, place: PlaceMoments, natural: Tensor) -> PlaceScores:
        damping = self.damping
        return PlaceScores(
            reader=place.reader,
            gradmax=gradmax_expansion(place).gains,
            tiny=tiny_expansion(place, damping=damping).gains,
            natural=natural,
            present=float(natural_score(place, damping=damping)),
            bottleneck=float(expressivity_bottleneck(place, damping=damping)),
        )

    def _newborn(
        self,
        context: NetworkContext,
        seen: Observation,
        owned: Mapping[str, Mapping[str, ParameterGradient]],
    ) -> dict[str, NewbornShare | Unavailable]:
        since = context.iteration - self.newborn_for
        found: dict[str, NewbornShare | Unavailable] = {}
        for name, born in births(context.journal).items():
            if name not in owned:
                continue
            if born is None:
                found[name] = Unavailable("the journal does not tell which units are new")
            elif young := {unit: when for unit, when in born.items() if when >= since}:
                layer = seen.layers[name]
                norms = _unit_norms(context.network.get_submodule(name), layer, owned[name])
                found[name] = _share(layer, norms, young)
        return found


_WITHOUT_PLACE = (
    "the layer and its readers are no pair of linear layers or ungrouped convolutions that are"
    " called once each, or a matrix of their inputs has no place in memory"
)


_WITHOUT_READER = (
    "no layer reads this one directly: it gives the output, or is read behind operations that"
    " change the place of its units, such as flattening"
)


def _owned(layer: str, parameters: Mapping[str, ParameterGradient]) -> dict[str, ParameterGradient]:
    """The parameters of a layer and of what is inside it, by the rest of their names."""
    start = f"{layer}." if layer else ""
    return {
        name.removeprefix(start): one for name, one in parameters.items() if name.startswith(start)
    }


def _norm(parameters: Mapping[str, ParameterGradient]) -> float:
    return float(torch.stack([one.mean.norm() for one in parameters.values()]).norm())


def _scale(parameters: Mapping[str, ParameterGradient]) -> GradientScale | Unavailable:
    """`gradient_scale` over several parameters."""
    if not parameters:
        return Unavailable("no parameter requires a gradient")
    first = next(iter(parameters.values()))
    square = sum(float(one.second_moment.sum()) for one in parameters.values())
    whole = sum(float(one.mean.square().sum()) for one in parameters.values())
    return gradient_scale((first.batch_size, square), (first.batch_size * first.batches, whole))


def _variance(scale: GradientScale | Unavailable) -> Measure:
    return scale if isinstance(scale, Unavailable) else scale.variance


def _noise_scale(scale: GradientScale | Unavailable) -> Measure:
    return scale if isinstance(scale, Unavailable) else scale.noise_scale


def _signal_to_noise(scale: GradientScale | Unavailable, batch_size: int) -> Measure:
    return scale if isinstance(scale, Unavailable) else scale.signal_to_noise(batch_size)


def _unit_norms(
    module: nn.Module, layer: LayerObservation, parameters: Mapping[str, ParameterGradient]
) -> Tensor | None:
    """The length of the mean gradient of each unit's own weights; None where that is not told."""
    weight = parameters.get("weight")
    if weight is None:
        return None
    if isinstance(module, SparseLayer):
        return by_output(module, weight.mean.square()).sqrt().to("cpu", torch.float64)
    if weight.mean.dim() < 2 or len(weight.mean) != layer.units:
        return None
    norms: Tensor = weight.mean.flatten(1).norm(dim=1)
    return norms.to("cpu", torch.float64)


def _share(
    layer: LayerObservation, norms: Tensor | None, young: Births
) -> NewbornShare | Unavailable:
    if norms is None or max(young) >= layer.units:
        return Unavailable("the layer's units are no rows of a weight of its own")
    mask = torch.zeros(layer.units, dtype=torch.bool, device=norms.device)
    mask[list(young)] = True
    return NewbornShare(len(young), len(young) / layer.units, share_of_squares(norms, mask))


def _ranking(seen: Observation, natural: Mapping[str, tuple[Tensor, ...]]) -> dict[str, Measure]:
    best: dict[str, float] = {
        name: max(float(gains[:1].sum()) for gains in places) for name, places in natural.items()
    }
    without = {
        name: Unavailable(_WITHOUT_PLACE if layer.readers else _WITHOUT_READER)
        for name, layer in seen.layers.items()
        if name not in best
    }
    ranked = sorted(best, key=lambda name: -best[name])
    return {**{name: best[name] for name in ranked}, **without}
