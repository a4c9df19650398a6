"""Growth strategies of this package in an evolution: their words turned into edits.

All that they read stands in the context's history and journal, where a trainer and the session put
it, so that a resumed run decides as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch

from structure_net.core.arguments import shown
from structure_net.core.undoing import Undoing
from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.growth_strategy.built_in import BuiltInGrowth
from structure_net.den.growth_strategy.interface import Action, GrowthStrategy
from structure_net.den.hidden import HiddenLayer
from structure_net.den.measuring import layer_activities, linear_maps
from structure_net.den.watching import LayerWatch
from structure_net.errors import MissingAnalysisError
from structure_net.evolution.batches import forward, random_state_kept
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal
from structure_net.evolution.growths import GREW
from structure_net.evolution.history import EpochRecord
from structure_net.evolution.interfaces import Analyzer, EditingStrategy
from structure_net.surgery import (
    AddNeurons,
    AddResidualBlock,
    EditEntry,
    InsertLayer,
    Journal,
    RemoveNeurons,
)
from structure_net.surgery.edits import Edit

SERIES: Final = ("gradient_norms", "activation_magnitudes", "activities")
"""What is kept of each layer for each epoch, in its record under ``SERIES/LAYER``."""

_MEASURED: Final = {
    "train_loss": "train_loss",
    "train_accuracy": "train_accuracy",
    "validation_loss": "val_loss",
    "validation_accuracy": "val_accuracy",
}


class DENEvolution(EditingStrategy):
    """Lets a `GrowthStrategy` grow a `DynamicExpandableNetwork` in any evolution system.

    It is asked once for each state of the network. Where records of epochs hold no signals of the
    layers, since another trainer than `DENTrainer` wrote them, those of `DENSignalsAnalyzer` stand
    in for the newest epoch.

    Args:
        strategy: Decides.

    Raises:
        TypeError: ``strategy`` is none.
    """

    def __init__(self, strategy: GrowthStrategy) -> None:
        if not isinstance(strategy, GrowthStrategy):
            raise TypeError(
                "strategy must be a GrowthStrategy of structure_net.den, such as"
                f" LossBasedGrowth(); got {strategy!r:.80}."
            )
        self.strategy = strategy
        self._said: tuple[Any, list[Proposal]] | None = None

    def propose(self, context: NetworkContext, analysis: Any) -> list[Proposal]:
        """One growth or pruning, or nothing; nothing before the first epoch.

        Raises:
            TypeError: The network is no `DynamicExpandableNetwork`.
            ValueError: The strategy's action cannot be read.
        """
        network = context.network
        if not isinstance(network, DynamicExpandableNetwork):
            raise TypeError(
                "The strategies of structure_net.den grow a DynamicExpandableNetwork;"
                f" got {type(network).__name__}."
            )
        if not len(context.history):
            return []
        metrics = metrics_of(context, network, analysis)
        # One of the user's own may count how often it is asked.
        if isinstance(self.strategy, BuiltInGrowth):
            return self._asked(metrics, network)
        state = (metrics, len(context.journal))
        if self._said is None or self._said[0] != state:
            self._said = state, self._asked(metrics, network)
        return self._said[1]

    def _asked(
        self, metrics: Mapping[str, Any], network: DynamicExpandableNetwork
    ) -> list[Proposal]:
        strategy, epoch = self.strategy, metrics["epoch"]
        prune, why = _pair("should_prune", strategy.should_prune(metrics, network, epoch))
        if prune:
            action = strategy.determine_pruning_action(metrics, network)
        else:
            grow, why = _pair("should_grow", strategy.should_grow(metrics, network, epoch))
            if not grow:
                return []
            action = strategy.determine_growth_action(metrics, network)
        return [network.proposal(edit_of(network, action), why or type(strategy).__name__)]


def _pair(method: str, said: object) -> tuple[bool, str | None]:
    """What a strategy, perhaps one of the user's own, answered, if it can be read."""
    if not (isinstance(said, tuple) and len(said) == 2):
        raise TypeError(
            f"{method} must return a pair, such as (True, 'why') or (False, None);"
            f" got {shown(said)}."
        )
    return said


class DENSignalsAnalyzer(Analyzer):
    """What the strategies of this package read of layers, from one batch of training data.

    Keys: ``den_gradient_norms``, ``den_activation_magnitudes`` and ``den_activities``, each by
    layer; see `GrowthStrategy`.
    """

    max_batches: int = 1

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        """Gradients and activations of the first batch, in evaluation mode.

        Raises:
            TypeError: The network is no `DynamicExpandableNetwork`.
        """
        network = context.network
        if not isinstance(network, DynamicExpandableNetwork):
            raise TypeError(
                "DENSignalsAnalyzer reads a DynamicExpandableNetwork;"
                f" got {type(network).__name__}."
            )
        weights = {name: layer.weight for name, layer in linear_maps(network).items()}
        undo = Undoing()
        with undo, undo, random_state_kept(context.device):
            watch = LayerWatch(network, undo, training=False)
            watch.open()
            with torch.enable_grad():
                for inputs, targets in context.train_batches(1):
                    loss = context.loss(forward(network, inputs), targets)
                    found = torch.autograd.grad(loss, list(weights.values()))
            magnitudes = watch.magnitudes()
        return {
            "den_gradient_norms": {
                name: float(gradient.norm()) for name, gradient in zip(weights, found, strict=True)
            },
            "den_activation_magnitudes": magnitudes,
            "den_activities": layer_activities(network),
        }


def metrics_of(
    context: NetworkContext, network: DynamicExpandableNetwork, analysis: Any
) -> dict[str, Any]:
    """The metrics that a `GrowthStrategy` reads, of the newest epoch; see there.

    Raises:
        MissingAnalysisError: The newest epoch has no training loss.
    """
    history = [_metrics(record) for record in context.history]
    now = history[-1]
    if "loss" not in now:
        raise MissingAnalysisError(
            "The strategies of structure_net.den read the metric 'train_loss' of each epoch, which"
            " was not measured. Give it to after_epoch."
        )
    for key in SERIES:
        if not now[key] and f"den_{key}" in (analysis or ()):
            now[key] = dict(analysis[f"den_{key}"])
    norms = now["gradient_norms"].values()
    return {
        **now,
        "gradient_norm": sum(norms) / len(norms) if norms else 0.0,
        "layer_sizes": network.get_layer_sizes(),
        "history": history,
        "growth_events": list(changes_of(context.journal)),
    }


def _metrics(record: EpochRecord) -> dict[str, Any]:
    found: dict[str, Any] = {"epoch": record.epoch - 1, "num_parameters": record.parameters}
    found |= {to: record.metrics[name] for name, to in _MEASURED.items() if name in record.metrics}
    if "train_loss" in found:
        found["loss"] = found["train_loss"]
    for series in SERIES:
        start = f"{series}/"
        found[series] = {
            name.removeprefix(start): value
            for name, value in record.metrics.items()
            if name.startswith(start)
        }
    return found


def changes_of(journal: Journal) -> Iterator[dict[str, Any]]:
    """Epoch, from 0, and type of each growth and pruning that a session noted."""
    edits: list[EditEntry] = []
    for entry in journal:
        if isinstance(entry, EditEntry):
            edits.append(entry)
        elif entry.kind == GREW:
            own = [one.edit for one in edits if one.component == entry.component]
            kinds = {kind for edit in own if (kind := change_type(edit)) is not None}
            yield from ({"epoch": entry.detail["epoch"] - 1, "type": k} for k in sorted(kinds))
            edits = []


def change_type(edit: Edit) -> str | None:
    """``width``, ``depth`` or ``prune``; None for an edit of another kind."""
    match edit:
        case AddNeurons():
            return "width"
        case InsertLayer() | AddResidualBlock():
            return "depth"
        case RemoveNeurons():
            return "prune"
        case _:
            return None


def edit_of(network: DynamicExpandableNetwork, action: Action) -> Edit:
    """The edit that an action of a `GrowthStrategy` asks for.

    Raises:
        ValueError: Its type is unknown or an entry is missing or out of range.
        IndexError: There is no such layer.
    """
    needed = {
        "width": ("layer_idx", "num_neurons"),
        "depth": ("position", "num_neurons"),
        "prune": ("layer_idx", "neuron_indices"),
    }
    kind = action.get("type") if isinstance(action, Mapping) else None
    if kind not in needed:
        raise ValueError(
            f"An action must have the type {', '.join(map(repr, needed))}; got {action!r:.120}."
        )
    missing = [name for name in needed[kind] if name not in action]
    if missing:
        raise ValueError(f"An action of type {kind!r} needs {missing[0]!r}; got {action!r:.120}.")
    place, amount = (action[name] for name in needed[kind])
    if kind == "width":
        return network.width_edit(place, amount)
    return (
        network.depth_edit(place, amount) if kind == "depth" else network.prune_edit(place, amount)
    )


def event_of(
    edit: Edit, before: Sequence[HiddenLayer], after: Sequence[HiddenLayer]
) -> dict[str, Any]:
    """An edit as the dict that stands among a history's growth events.

    Args:
        edit: What was done.
        before: The hidden layers then.
        after: The hidden layers since.
    """
    kind = change_type(edit)
    old, new = [layer.name for layer in before], [layer.name for layer in after]
    match edit:
        case AddNeurons():
            return {"type": kind, "layer_idx": old.index(edit.layer), "num_neurons": edit.count}
        case RemoveNeurons():
            lost = {"num_neurons": len(edit.indices), "neuron_indices": list(edit.indices)}
            return {"type": kind, "layer_idx": old.index(edit.layer), **lost}
        case _:
            born = [place for place, name in enumerate(new) if name not in old]
            place = born[0] if born else len(new)
            size = after[place].size if born else 0
            return {"type": kind, "position": place, "layer_idx": place, "num_neurons": size}
