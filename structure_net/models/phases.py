"""Coarse to fine: a network evolves in phases, each with a system of its own.

The journal says when each phase began, so that an evolution which was interrupted goes on where it
was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from structure_net.evolution.components import (
    ExtremaGrowthStrategy,
    ResidualBlockGrowthStrategy,
    SimpleInformationFlowAnalyzer,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.events import Observer
from structure_net.evolution.system import ComposableEvolutionSystem
from structure_net.surgery.entries import START, EventEntry
from structure_net.surgery.labels import describe_edits
from structure_net.surgery.lineage import architecture

PHASE: Final = "phase"
"""The kind of the journal's event that begins a phase; its detail is ``name``."""


@dataclass(frozen=True, slots=True)
class GrowthPhase:
    """One phase of an evolution.

    Args:
        name: What the journal calls it.
        system: Decides and trains during the phase.
        iterations: How many times to analyze, grow and train.

    Raises:
        ValueError: ``iterations`` is negative, or the name is empty.
    """

    name: str
    system: ComposableEvolutionSystem
    iterations: int

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("A phase must have a name; got an empty one.")
        if self.iterations < 0:
            raise ValueError(f"iterations must be 0 or more; got {self.iterations}.")


@dataclass(frozen=True, slots=True)
class PhaseGrowth:
    """What a phase did.

    Args:
        name: The phase's.
        iterations: How many ran.
        edits: How many edits were carried out.
        summary: The edits in a few words; empty if there were none.
        connections: Live connections at its end; None where no epoch was trained.
        metrics: The last epoch's.
    """

    name: str
    iterations: int
    edits: int
    summary: str
    connections: int | None
    metrics: dict[str, float]


def coarse_to_fine(
    patch_size: int = 50,
    *,
    epochs: tuple[int, int, int] = (10, 5, 3),
    iterations: tuple[int, int, int] = (3, 2, 1),
    learning_rate: float | None = None,
) -> tuple[GrowthPhase, GrowthPhase, GrowthPhase]:
    """The three phases of multi-scale evolution.

    - **coarse**: many connections at dead and saturated units, long training;
    - **medium**: fewer of them, and layers where many units are dead or saturated;
    - **fine**: a residual block at the worst bottleneck of information, short training.

    Args:
        patch_size: Connections per dead or saturated unit in the coarse phase.
        epochs: Of each iteration, by phase.
        iterations: By phase.
        learning_rate: See `StandardNetworkTrainer`.

    Raises:
        ValueError: A number is out of range.
    """
    coarse = ComposableEvolutionSystem(
        [
            StandardExtremaAnalyzer(),
            ExtremaGrowthStrategy(patch_size=patch_size),
            StandardNetworkTrainer(epochs=epochs[0], learning_rate=learning_rate),
        ]
    )
    medium = ComposableEvolutionSystem(
        [
            StandardExtremaAnalyzer(),
            ExtremaGrowthStrategy(add_layer_on_extrema=True),
            StandardNetworkTrainer(epochs=epochs[1], learning_rate=learning_rate),
        ]
    )
    fine = ComposableEvolutionSystem(
        [
            SimpleInformationFlowAnalyzer(),
            ResidualBlockGrowthStrategy(),
            StandardNetworkTrainer(epochs=epochs[2], learning_rate=learning_rate),
        ]
    )
    return (
        GrowthPhase("coarse", coarse, iterations[0]),
        GrowthPhase("medium", medium, iterations[1]),
        GrowthPhase("fine", fine, iterations[2]),
    )


def evolve_in_phases(
    context: NetworkContext,
    phases: Sequence[GrowthPhase],
    *,
    on_event: Observer | None = None,
) -> NetworkContext:
    """Evolves a copy, phase after phase; ``context`` and everything in it stay as they are.

    A phase that the journal knows has begun is not begun again: what is left of the last one is
    run, and those before it are over. So a call with what an interrupted one left ends where that
    would have.

    Args:
        context: Where to start, possibly what an earlier call returned.
        phases: In order, each with a name of its own.
        on_event: Is told of what happens.

    Returns:
        The evolved copy. Its journal holds an event of the kind `PHASE` for each phase.

    Raises:
        ValueError: Two phases have the same name.
    """
    names = [phase.name for phase in phases]
    if len(set(names)) < len(names):
        raise ValueError(f"Each phase needs a name of its own; got {', '.join(names)}.")
    context = context.fork()
    for phase in phases:
        context = _begun(context, phase)
        context = phase.system.evolve_network(context, _left(context, phase), on_event=on_event)
    return context


def phase_growth(context: NetworkContext) -> tuple[PhaseGrowth, ...]:
    """What each phase of the context's journal did, in order."""
    begun = context.journal.events(PHASE)
    starts = [event.iteration for event in begun]
    spans = pairwise([*starts, context.iteration])
    return tuple(
        _growth(context, str(event.detail["name"]), range(*span))
        for event, span in zip(begun, spans, strict=True)
    )


def _growth(context: NetworkContext, name: str, span: range) -> PhaseGrowth:
    edits = [entry.edit for entry in context.journal.edits if entry.iteration in span]
    records = [record for record in context.history if record.iteration in span]
    return PhaseGrowth(
        name=name,
        iterations=len(span),
        edits=len(edits),
        summary=describe_edits(edits),
        connections=records[-1].connections if records else None,
        metrics=dict(records[-1].metrics) if records else {},
    )


def _begun(context: NetworkContext, phase: GrowthPhase) -> NetworkContext:
    """The context with the phase's event in its journal."""
    if any(event.detail["name"] == phase.name for event in context.journal.events(PHASE)):
        return context
    journal = context.journal.fork()
    if not len(journal):  # a journal begins with what it is about
        journal.append(EventEntry(START, context.iteration, detail=architecture(context.network)))
    journal.append(EventEntry(PHASE, context.iteration, detail={"name": phase.name}))
    return replace(context, journal=journal)


def _left(context: NetworkContext, phase: GrowthPhase) -> int:
    """How many iterations of the phase are still to run."""
    begun = context.journal.events(PHASE)
    if begun[-1].detail["name"] != phase.name:
        return 0
    return max(0, phase.iterations - (context.iteration - begun[-1].iteration))
