"""The kinds of change that a morphogenesis makes, and where each may still take place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from structure_net.dnm.configuration import DNMConfiguration
from structure_net.dnm.connections import ConnectionGrowthManager
from structure_net.dnm.division import AdaptiveNeuronDivision
from structure_net.dnm.events import (
    CONNECTION_GROWTH,
    NEURON_DIVISION,
    EventType,
    MorphogenesisEvent,
    location_of,
)
from structure_net.evolution.analysis import Analysis
from structure_net.evolution.editing import Proposal
from structure_net.evolution.interfaces import EditingStrategy


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of change, and who proposes it."""

    name: EventType
    strategy: EditingStrategy


def kinds_of(config: DNMConfiguration) -> Iterator[Kind]:
    """The kinds of change that a configuration allows, in turn."""
    yield Kind(
        NEURON_DIVISION,
        AdaptiveNeuronDivision(
            config.neuron_division_strategy,
            config.division_noise_scale,
            config.progressive_activation_epochs,
            fraction=config.division_fraction,
        ),
    )
    if config.connection_growth:
        yield Kind(CONNECTION_GROWTH, ConnectionGrowthManager(config.division_fraction))


def places(analysis: Analysis, closed: Collection[str]) -> Iterator[tuple[str, Analysis]]:
    """The places that are open, the narrowest first, each with an analysis that ranks it alone."""
    for layer, score in analysis["performance_ranking"].items():
        if layer not in closed:
            alone = {**analysis, "performance_ranking": {layer: score}}
            yield layer, Analysis.merged({"DNMFramework": alone})


def event_of(
    kind: EventType, proposal: Proposal, added: int, *, why: Sequence[str]
) -> MorphogenesisEvent:
    """The event of a proposal that was carried out, of no epoch yet."""
    return MorphogenesisEvent(
        epoch=0,
        event_type=kind,
        location=location_of(proposal.edit),
        trigger_reason="; ".join([*why, proposal.reason]),
        edit=proposal.edit,
        parameters_added=added,
    )


def seen(event: MorphogenesisEvent, accuracy: float) -> MorphogenesisEvent:
    """The event with the first accuracy behind it."""
    waiting = event.performance_after is None and not event.rolled_back
    return replace(event, performance_after=accuracy) if waiting else event


def trained_reason(metrics: Mapping[str, Any] | None, accuracy: float) -> list[str]:
    """The training accuracy beside the validation accuracy in words, where it was handed over."""
    given = None if metrics is None else metrics.get("accuracy")
    if given is None:
        return []
    return [f"training accuracy {float(given):.4f} beside validation accuracy {accuracy:.4f}"]
