"""A network under evolution: where growth is decided, judged, carried out and noted.

A session drives the strategies of a system from inside a training loop: ours, or one that the user
owns (`ComposableEvolutionSystem.attach`). Then the loop says when a step or an epoch is over, and
the network may be another one afterwards: same object, same parameters, other shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from structure_net.core.sections import section
from structure_net.core.statistics import network_stats
from structure_net.core.undoing import uninterrupted
from structure_net.errors import StructureNetError
from structure_net.evolution.acceptance import Acceptance, Always
from structure_net.evolution.analysis import Analysis
from structure_net.evolution.batches import number_of_batches
from structure_net.evolution.candidates import Candidate, candidates_of
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.events import Event, EventKind, Observer, hears_steps
from structure_net.evolution.growths import (
    Growths,
    Lived,
    growers,
    growth_event,
    kind_of_growth,
    lived,
)
from structure_net.evolution.history import EpochRecord, numbers_of
from structure_net.evolution.interfaces import Analyzer, EditingStrategy, GrowthStrategy
from structure_net.evolution.looking import look
from structure_net.evolution.memory import AnalysisMemory
from structure_net.evolution.touching import (
    HeldTensors,
    held_tensors,
    moved,
    touched,
)
from structure_net.evolution.triggers import Progress, Trigger
from structure_net.surgery.entries import OPAQUE, REJECTED, START, EditEntry, EventEntry
from structure_net.surgery.labels import noted_edit
from structure_net.surgery.lineage import architecture


@dataclass(frozen=True, slots=True)
class Rule:
    """A strategy with its when and its whether.

    Args:
        strategy: Says where and how much.
        when: Says when; None: at every iteration (every epoch of a loop that the user owns).
        whether: Says whether it is kept.
    """

    strategy: GrowthStrategy
    when: Trigger | None = None
    whether: Acceptance = field(default_factory=Always)

    @property
    def name(self) -> str:
        """The strategy's class name, which stands in the journal."""
        return type(self.strategy).__name__


class EvolutionSession:
    """Strategies at work on one network; made by `ComposableEvolutionSystem`.

    Args:
        context: What evolves; the session edits its network in place.
        analyzers: Look at the network before a strategy decides.
        rules: The strategies, asked in order.
        observer: Is told of every event.
        own_loop: The user owns the training loop, so that strategies without a trigger are asked
            after every epoch.
        done: Steps and samples so far, where the context comes from the middle of an epoch.
    """

    def __init__(
        self,
        context: NetworkContext,
        analyzers: Sequence[Analyzer],
        rules: Sequence[Rule],
        *,
        observer: Observer | None = None,
        own_loop: bool = False,
        done: tuple[int, int | None] | None = None,
    ) -> None:
        memory = AnalysisMemory() if context.memory is None else context.memory
        memory.trained()  # what happened to the network between two sessions is not known
        self._memory = memory
        hooks = context.hooks if own_loop else self
        self._context = replace(context, hooks=hooks, memory=memory)
        self._analyzers = tuple(analyzers)
        self._rules = tuple(rules)
        self._growers = {
            id(rule): grower
            for rule, grower in zip(rules, growers(rule.name for rule in rules), strict=True)
        }
        self._observer = observer
        self._own_loop = own_loop
        self._in_steps = tuple(r for r in rules if r.when is not None and r.when.in_steps)
        self._step, self._samples = done or (context.history.step, context.history.samples)
        self._clock = perf_counter()
        self._lived: Lived | None = None
        if not len(context.journal):
            born = architecture(context.network)
            context.journal.append(EventEntry(START, context.iteration, detail=born))

    @property
    def context(self) -> NetworkContext:
        """The network as it stands, with its history and journal."""
        return self._context

    @property
    def done(self) -> tuple[int, int | None]:
        """Steps and samples so far; the latter None where the loop does not tell."""
        return self._step, self._samples

    def training(self, context: NetworkContext) -> None:
        """A trainer works on ``context`` from here on; see `TrainingHooks.training`."""
        self._memory.trained()
        self._context = replace(context, hooks=self)

    def after_step(
        self, loss: Tensor | None = None, *, samples: int | None = None
    ) -> Sequence[Event]:
        """The optimizer took a step; step triggers are asked.

        Args:
            samples: The samples of its batch, for triggers that count them.
            loss: The step's loss. Where it is not finite nothing grows and observers are told: a
                network that diverges is the trainer's to stop.

        Returns:
            What was done. If it is not empty, the network changed: what was computed with it
            before (a kept output, a loss whose ``backward`` is to come) belongs to the old one.
        """
        self._step += 1
        self._samples = None if samples is None else (self._samples or 0) + samples
        self._memory.trained()
        if hears_steps(self._observer):
            self._tell_step()
        if not self._in_steps:
            return ()
        due = self._due(self._in_steps)
        if not due:
            return ()
        if loss is not None and not bool(torch.isfinite(loss.detach()).all()):
            if self._own_loop:  # a trainer of ours stops, and the system tells
                said = f"The loss of step {self._step} is not finite, so that nothing grows."
                self._emit(EventKind.DIVERGED, context=self._context, message=said)
            return ()
        return self._decide(due)

    def _tell_step(self) -> None:
        context = self._context
        batch, batches = self._step - context.history.step, number_of_batches(context.data_loader)
        self._emit(EventKind.STEP_FINISHED, batch=batch, batches=batches or None)

    def after_epoch(self, metrics: Mapping[str, float], *, more: bool = True) -> Sequence[Event]:
        """An epoch is over: it is recorded, and the strategies of the epoch are asked.

        Args:
            metrics: What was measured, by name. Triggers read ``validation_loss`` by default.
            more: Whether training goes on; if not, growth waits for the next iteration.

        Returns:
            What was done, the record first.
        """
        self._memory.trained()
        record = self._record(metrics)
        self._context.history.append(record)
        event = self._emit(EventKind.EPOCH_FINISHED, record=record)
        if not more:
            return (event,)
        return (event, *self._decide(self._due(self._between_epochs())))

    def iterate(self) -> Sequence[Event]:
        """The growth of one iteration: analyze, then ask each strategy whose time has come."""
        due = self._due([r for r in self._rules if r not in self._in_steps])
        if not self._rules and self._analyzers:
            self.analyze()
        return self._decide(due)

    def analyze(self) -> Analysis:
        """What the analyzers say of the network now; see `structure_net.evolution.looking.look`."""
        with section("analysis"):
            self._context, analysis = look(self._context, self._analyzers)
        epoch = self._context.history.epoch
        self._emit(EventKind.ANALYZED, analysis=analysis, epoch=epoch, step=self._step)
        return analysis

    def proposals(self) -> list[tuple[str, Any]]:
        """What each editing strategy would do now, as pairs (strategy's name, proposal)."""
        wanted: list[tuple[str, Any]] = []
        rules = [rule for rule in self._rules if isinstance(rule.strategy, EditingStrategy)]
        analysis = self.analyze()
        for rule in rules:
            assert isinstance(rule.strategy, EditingStrategy)
            read = analysis.read_by(rule.name)
            read.require(rule.strategy.requires)
            found = rule.strategy.proposals(self._context, read)
            wanted += [(rule.name, proposal) for proposal in found]
        return wanted

    def advance(self) -> NetworkContext:
        """Ends an iteration."""
        self._context = replace(self._context, iteration=self._context.iteration + 1)
        return self._context

    def _between_epochs(self) -> list[Rule]:
        return [
            rule
            for rule in self._rules
            if rule not in self._in_steps and (rule.when is not None or self._own_loop)
        ]

    def _due(self, rules: Sequence[Rule]) -> list[tuple[Rule, str]]:
        asked = (
            (rule, "" if rule.when is None else rule.when.due(self._progress(rule)))
            for rule in rules
        )
        return [(rule, reason) for rule, reason in asked if reason is not None]

    def _progress(self, rule: Rule) -> Progress:
        """The progress that the trigger beside a strategy reads."""
        past = self._lived
        if past is None or past.entries != len(self._context.journal):
            past = self._lived = lived(self._context.network, self._context.journal)
        own = past.growths.get(self._growers[id(rule)], Growths())
        of_all = self._since(past.growths[None], past.parameters)
        return replace(self._since(own, past.parameters), of_all=of_all)

    def _since(self, last: Growths, parameters: int) -> Progress:
        return Progress(
            self._context.history,
            self._step,
            last.epoch,
            last.step,
            growths=last.count,
            parameters=parameters,
            samples=last.since(self._samples),
        )

    def _decide(self, due: Sequence[tuple[Rule, str]]) -> Sequence[Event]:
        events: list[Event] = []
        analysis: Analysis | None = None
        self._context = replace(self._context, step=self._step)
        for rule, trigger in due:
            if analysis is None:
                analysis = self.analyze()
            read = analysis.read_by(rule.name)
            read.require(rule.strategy.requires)
            with section(f"strategy {rule.name}"):
                if not rule.strategy.should_grow(self._context, read):
                    continue
                moment = self._memory.moment
                events += self._grow(rule, trigger, read)
            if self._memory.moment != moment:
                analysis = None
        return events

    def _grow(self, rule: Rule, trigger: str, analysis: Analysis) -> list[Event]:
        candidates = candidates_of(rule.strategy, rule.whether, self._context, analysis)
        verdict = rule.whether.choose(self._context, [one.grow for one in candidates])
        if not verdict.accepted:
            return [self._reject(rule, trigger, candidates, verdict.measured)]
        chosen = candidates[verdict.chosen]
        before, entries = architecture(self._context.network), len(self._context.journal)
        left_out = _left_out(self._context)
        held = held_tensors(self._context.network)
        with uninterrupted():
            try:
                self._take(rule, chosen.grow(self._context))
            finally:
                self._forget(rule, held, entries)
            events = self._note(rule, trigger, before, entries, verdict.measured)
        if any(event.kind is EventKind.GREW_BY_HAND for event in events):
            self._check_optimizer(left_out)
        return events

    def _forget(self, rule: Rule, held: HeldTensors, entries: int) -> None:
        """Lets the memory follow a growth: edits touch some layers, a change by hand any."""
        if type(rule.strategy).grow is not EditingStrategy.grow:
            self._memory.trained()
            return
        edits = [e for e in self._context.journal[entries:] if isinstance(e, EditEntry)]
        if not edits:
            return
        layers, observed = touched(held, self._context.network), self._context.observation
        order = list(observed.layers) if observed else None
        self._memory.edited(layers, moved(edits, layers, order))

    def _check_optimizer(self, left_out: set[int]) -> None:
        """Lets go of an optimizer that growth by hand left behind; a trainer makes a new one."""
        optimizer = self._context.optimizer
        if optimizer is None:
            return
        own = {id(parameter) for parameter in self._context.network.parameters()}
        gone = any(id(p) not in own for group in optimizer.param_groups for p in group["params"])
        if gone or _left_out(self._context) - left_out:
            self._context = replace(self._context, optimizer=None)

    def _take(self, rule: Rule, grown: NetworkContext) -> None:
        """Goes on with what a strategy returned."""
        if not isinstance(grown, NetworkContext):
            raise TypeError(
                f"{rule.name}.grow must return a NetworkContext; got {type(grown).__name__}."
                " Return the context that it was given, or dataclasses.replace(context, ...)."
            )
        if self._own_loop and grown.network is not self._context.network:
            raise StructureNetError(
                f"{rule.name} returned another network, which the loop that owns this one would"
                " not see. Edit `context.network` in place, or use evolve_network."
            )
        self._context = grown

    def _note(
        self, rule: Rule, trigger: str, before: Any, entries: int, measured: Mapping[str, Any]
    ) -> list[Event]:
        context = self._context
        new = [e for e in context.journal[entries:] if isinstance(e, EditEntry)]
        after = architecture(context.network)
        events = [
            self._emit(
                EventKind.EDITED,
                rule.name,
                edit=entry.edit,
                reason=entry.reason,
                trigger=trigger,
                seed=entry.seed,
                changes=entry.changes,
                measured=measured,
            )
            for entry in new
        ]
        if not new and before != after:
            detail = {"before": before, "after": after}
            context.journal.append(EventEntry(OPAQUE, context.iteration, rule.name, detail))
            told = {**detail, "trigger": trigger, "measured": measured}
            events.append(self._emit(EventKind.GREW_BY_HAND, rule.name, **told))
        if events:
            when = {"epoch": context.history.epoch, "step": self._step, "samples": self._samples}
            grew = {**when, "trigger": trigger, **measured}
            grower, kind = self._growers[id(rule)], kind_of_growth(new)
            context.journal.append(growth_event(kind, grower, context.iteration, grew))
        return events

    def _reject(
        self,
        rule: Rule,
        trigger: str,
        candidates: Sequence[Candidate],
        measured: Mapping[str, Any],
    ) -> Event:
        proposals = [proposal for one in candidates for proposal in one.propose()]
        edits, reasons = [p.edit for p in proposals], [p.reason for p in proposals]
        detail = {"trigger": trigger, "edits": [noted_edit(e) for e in edits], **measured}
        entry = EventEntry(REJECTED, self._context.iteration, rule.name, detail)
        self._context.journal.append(entry)
        said = {"edits": tuple(edits), "reasons": tuple(reasons), "trigger": trigger}
        return self._emit(EventKind.REJECTED, rule.name, **said, **measured)

    def _record(self, metrics: Mapping[str, float]) -> EpochRecord:
        history, now = self._context.history, perf_counter()
        seconds, self._clock = now - self._clock, now
        stats = network_stats(self._context.network)
        return EpochRecord(
            epoch=history.epoch + 1,
            iteration=self._context.iteration,
            step=self._step,
            metrics=numbers_of(metrics),
            parameters=stats["total_parameters"],
            connections=stats["total_connections"],
            seconds=seconds,
            elapsed=(history.last.elapsed if history.last else 0.0) + seconds,
            samples=self._samples,
        )

    def _emit(self, kind: EventKind, component: str = "", **detail: Any) -> Event:
        event = Event(kind, self._context.iteration, component, detail)
        if self._observer is not None:
            with section("observers"):
                self._observer(event)
        return event


def _left_out(context: NetworkContext) -> set[int]:
    """The parameters, by identity, that the context's optimizer does not hold."""
    groups = context.optimizer.param_groups if context.optimizer is not None else []
    held = {id(parameter) for group in groups for parameter in group["params"]}
    return {id(p) for p in context.network.parameters()} - held
