"""How much the loss depends on each layer, unit and connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, TypedDict, TypeVar

import torch
from torch import Tensor, nn

from structure_net.core.undoing import Undoing
from structure_net.evolution.batches import to_device
from structure_net.evolution.components.analyzers.interventions import (
    Interventions,
    scattered,
    shaken,
    silenced,
)
from structure_net.evolution.components.analyzers.looking import hidden, observed, probed
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import derived_seed
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.importance import (
    fisher_importance,
    fisher_information,
    taylor_importance,
)
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import LayerObservation, Need
from structure_net.evolution.reductions.parameter_gradients import ParameterGradient

T = TypeVar("T")
_NO_BATCH = Unavailable("the inputs of different batches do not fit into one tensor")
_NO_SAMPLES = Unavailable("no gradient of single samples reached the layer's units")


class SensitivityAnalysis(TypedDict):
    """What `SensitivityAnalyzer` reports, in units of the loss.

    From gradients, by layer: ``sensitivity_unit_taylor`` and ``sensitivity_unit_fisher``: what the
    loss of a sample changes by, to first order, when a unit is silenced, absolute; and half the
    square of it, what the mean loss rises by at a minimum. Shape ``(C,)``. By parameter, computed
    when first read: ``sensitivity_taylor`` and ``sensitivity_fisher``, the same for each connection
    (and bias), of the mean gradient.

    From trying it on the probe, computed when first read; each is the rise of the loss:
    ``sensitivity_weight_noise`` by layer, with each of its weights multiplied by 1 plus noise;
    ``sensitivity_activation_noise``, with noise added to what its units end up with, relative to
    their root mean square; ``sensitivity_layer_ablation``, with all units silenced;
    ``sensitivity_unit_ablation``, by layer and unit, as many as the budget allows, those with the
    least Taylor importance first.

    ``sensitivity_ranking``: where to add units first: the hidden layers by the mean Taylor
    importance of their units, so those whose single units carry most; for pruning, from the end.
    """

    sensitivity_unit_taylor: Mapping[str, Tensor | Unavailable]
    sensitivity_unit_fisher: Mapping[str, Tensor | Unavailable]
    sensitivity_taylor: Mapping[str, Tensor]
    sensitivity_fisher: Mapping[str, Tensor | Unavailable]
    sensitivity_weight_noise: Mapping[str, float] | Unavailable
    sensitivity_activation_noise: Mapping[str, float] | Unavailable
    sensitivity_layer_ablation: Mapping[str, float] | Unavailable
    sensitivity_unit_ablation: Mapping[str, Mapping[int, float]] | Unavailable
    sensitivity_ranking: Mapping[str, float]


class SensitivityAnalyzer(Analyzer):
    """Asks gradients what the loss depends on, and tries it out where the answer is read.

    Args:
        max_batches: How many batches the gradients are taken of.
        probe_size: Samples that disturbances are tried on.
        noise: The standard deviation of disturbances, relative.
        draws: Disturbances of each layer that are averaged.
        ablations: At most so many units are silenced one by one; each costs a forward pass over the
            probe.

    Raises:
        ValueError: An argument is out of range.
    """

    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.GRADIENTS, Need.PARAMETER_GRADIENTS, Need.PROBE}
    )
    provides: ClassVar[frozenset[str]] = frozenset(SensitivityAnalysis.__annotations__)

    def __init__(
        self,
        max_batches: int = 10,
        probe_size: int = 256,
        *,
        noise: float = 0.1,
        draws: int = 4,
        ablations: int = 256,
    ) -> None:
        counts = {"max_batches": max_batches, "probe_size": probe_size, "draws": draws}
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more; got {value}.")
        if not noise > 0:
            raise ValueError(f"noise must be positive; got {noise}.")
        if ablations < 0:
            raise ValueError(f"ablations must be 0 or more; got {ablations}.")
        self.max_batches = max_batches
        self.probe_size = probe_size
        self.noise = noise
        self.draws = draws
        self.ablations = ablations

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        """See `SensitivityAnalysis`.

        Raises:
            StructureNetError: The context carries no observation with a probe.
        """
        seen = observed(context, self)
        probed(context, self)
        layers = seen.layers
        taylor = {name: _known(layer.taylor) for name, layer in layers.items()}

        def tried(key: str, attempt: Callable[[Interventions, NetworkContext], T]) -> Any:
            return context.lazy(
                lambda: context.recall(
                    self, None, partial(self._try, context, attempt), name=key, reads="activations"
                )
            )

        return {
            "sensitivity_unit_taylor": taylor,
            "sensitivity_unit_fisher": {
                name: _known(None if layer.fisher is None else layer.fisher / 2)
                for name, layer in layers.items()
            },
            "sensitivity_taylor": context.lazy(
                lambda: _of_connections(context.network, seen.parameters, _taylor)
            ),
            "sensitivity_fisher": context.lazy(
                lambda: _of_connections(context.network, seen.parameters, _fisher)
            ),
            "sensitivity_weight_noise": tried("weights", self._weight_noise),
            "sensitivity_activation_noise": tried("activations", self._activation_noise),
            "sensitivity_layer_ablation": tried("layers", self._layer_ablation),
            "sensitivity_unit_ablation": tried("units", self._unit_ablation),
            "sensitivity_ranking": _ranking(layers),
        }

    def _try(
        self, context: NetworkContext, attempt: Callable[[Interventions, NetworkContext], T]
    ) -> T | Unavailable:
        """Runs ``attempt`` on the probe."""
        probe = probed(context, self)
        if probe.inputs is None or probe.targets is None:
            return _NO_BATCH
        batch = (to_device(probe.inputs, context.device), to_device(probe.targets, context.device))
        undo = Undoing()
        with undo, undo:
            trial = Interventions(context.network, batch, context.loss).open(undo)
            return attempt(trial, context)

    def _weight_noise(self, trial: Interventions, context: NetworkContext) -> dict[str, float]:
        plain = trial.loss()
        found = {}
        for name in observed(context, self).layers:
            own = {
                full: parameter
                for full, parameter in context.network.named_parameters()
                if full.startswith(f"{name}." if name else "") and parameter.is_floating_point()
            }
            draw = self._drawn(context, "weights", name)
            risen = [
                trial.loss_with({k: scattered(p, self.noise, draw) for k, p in own.items()}) - plain
                for _ in range(self.draws)
            ]
            found[name] = sum(risen) / self.draws
        return found

    def _activation_noise(self, trial: Interventions, context: NetworkContext) -> dict[str, float]:
        plain = trial.loss()
        found = {}
        for name in observed(context, self).layers:
            change = shaken(self.noise, self._drawn(context, "activations", name))
            risen = [trial.loss({name: change}) - plain for _ in range(self.draws)]
            found[name] = sum(risen) / self.draws
        return found

    def _layer_ablation(self, trial: Interventions, context: NetworkContext) -> dict[str, float]:
        plain = trial.loss()
        names = hidden(observed(context, self).layers)
        return {name: trial.loss({name: silenced()}) - plain for name in names}

    def _unit_ablation(
        self, trial: Interventions, context: NetworkContext
    ) -> dict[str, dict[int, float]]:
        layers = observed(context, self).layers
        plain = trial.loss()
        found: dict[str, dict[int, float]] = {name: {} for name in hidden(layers)}
        for name, unit in self._candidates({name: layers[name] for name in found}):
            change = silenced(torch.tensor([unit]))
            found[name][unit] = trial.loss({name: change}) - plain
        return {name: dict(sorted(units.items())) for name, units in found.items()}

    def _candidates(self, layers: Mapping[str, LayerObservation]) -> list[tuple[str, int]]:
        """The units that are worth the budget, the least important ones first."""
        ranked = [
            (float("inf") if layer.taylor is None else float(layer.taylor[unit]), place, unit, name)
            for place, (name, layer) in enumerate(layers.items())
            for unit in range(layer.units)
        ]
        return [(name, unit) for _, _, unit, name in sorted(ranked)[: self.ablations]]

    def _drawn(self, context: NetworkContext, kind: str, layer: str) -> torch.Generator:
        seed = derived_seed(context.seed, context.iteration, type(self).__name__, kind, layer)
        return torch.Generator().manual_seed(seed)


def _known(value: Tensor | None) -> Tensor | Unavailable:
    return _NO_SAMPLES if value is None else value


def _of_connections(
    network: nn.Module,
    gradients: Mapping[str, ParameterGradient],
    measure: Callable[[Tensor, ParameterGradient], T],
) -> dict[str, T]:
    parameters = dict(network.named_parameters())
    return {
        name: measure(parameters[name].detach(), gradient) for name, gradient in gradients.items()
    }


def _taylor(values: Tensor, gradient: ParameterGradient) -> Tensor:
    return taylor_importance(values, gradient.mean).cpu()


def _fisher(values: Tensor, gradient: ParameterGradient) -> Tensor | Unavailable:
    information = fisher_information(
        gradient.mean, gradient.second_moment, gradient.batches, gradient.batch_size
    )
    if isinstance(information, Unavailable):
        return information
    return fisher_importance(values, information).cpu()


def _ranking(layers: Mapping[str, LayerObservation]) -> dict[str, float]:
    means = {
        name: float(taylor.mean())
        for name in hidden(layers)
        if (taylor := layers[name].taylor) is not None
    }
    return dict(sorted(means.items(), key=lambda item: -item[1]))
