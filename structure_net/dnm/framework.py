"""Dynamic neural morphogenesis: a network divides its units and grows connections as it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.arguments import check_module, check_optimizer
from structure_net.core.statistics import network_stats
from structure_net.core.wrapping import wrapped
from structure_net.dnm.caches import layer_caches
from structure_net.dnm.changes import Kind, event_of, kinds_of, places, seen, trained_reason
from structure_net.dnm.checks import ImprovementChecks, accuracy_of, check_accuracy
from structure_net.dnm.configuration import DNMConfiguration
from structure_net.dnm.events import (
    CONNECTION_GROWTH,
    NEURON_DIVISION,
    EventType,
    MorphogenesisEvent,
    events_from_data,
    events_to_data,
)
from structure_net.dnm.looking import CachedLook
from structure_net.dnm.rollback import Probation, Weights
from structure_net.errors import SurgeryError
from structure_net.evolution.analysis import Analysis
from structure_net.evolution.catching import CaughtExample
from structure_net.evolution.components import due_shares
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import carried_out
from structure_net.surgery import Journal, architecture
from structure_net.surgery.edits import Edit
from structure_net.surgery.entries import REJECTED, START, EventEntry
from structure_net.surgery.optimizers import LOG

_NAME: Final = "DNMFramework"


class DNMFramework:
    """Lets a network of the user's own change while the user's own loop trains it.

    ::

        dnm = DNMFramework(model, config)
        for epoch in range(epochs):
            ...                                        # train, validate
            dnm.update_caches(activations, gradients, targets)
            dnm.record_performance(val_acc)            # once an epoch
            due, reasons = dnm.should_trigger_morphogenesis(epoch + 1, train_metrics, val_metrics)
            if due:
                results = dnm.execute_morphogenesis(epoch + 1)

    A change is an edit of `structure_net.surgery`: the model and its parameters stay the same
    objects, and optimizers go on with all parameters, those that were not handed over too. At each
    check the units of the narrowest layer divide; where a check may make more than one change, or
    no layer can divide, connections grow, by turns. New halves begin with no share of what reads
    their units and take it over while the epochs are recorded.

    When the recorded accuracy falls below what it was before the last change by more than
    ``performance_drop_threshold``, until the next change or for as many epochs as an interval or
    the fading in lasts, the change is taken back: model and optimizer state are bit for bit what
    they were before it, the training since is lost, the journal notes the attempt, and the place is
    not tried again. Learning rates and schedulers stay where they are.

    Args:
        model: Any module that `torch.export` can trace; edited in place.
        config: Keys and values of a `DNMConfiguration`, or one; its defaults where left out.
        optimizer: Follows at once; one that is not handed over follows at its next step.
        example: Inputs to trace the model with. If None, the first batch that the model is called
            with is caught.

    Raises:
        ValueError: A key of the configuration is unknown, a value out of range, or ``optimizer``
            that of another model.
        TypeError: A value is of the wrong kind, ``model`` no module or ``optimizer`` no optimizer.
        SurgeryError: The model is compiled or wrapped, so that it cannot be edited.
    """

    def __init__(
        self,
        model: nn.Module,
        config: Mapping[str, Any] | DNMConfiguration | None = None,
        optimizer: Optimizer | None = None,
        *,
        example: Any = None,
    ) -> None:
        check_module(model)
        if reason := wrapped(model):
            raise SurgeryError(reason)
        check_optimizer(optimizer, model)
        self.config = DNMConfiguration.of(config)
        device = next((p.device for p in model.parameters()), "cpu")
        self._context = NetworkContext(
            model, (), device, optimizer=optimizer, seed=self.config.seed
        )
        self._context.journal.append(EventEntry(START, detail=architecture(model)))
        self._example = CaughtExample(model, example)
        interval = self.config.morphogenesis_interval
        self._checks = ImprovementChecks(interval, self.config.performance_improvement_threshold)
        self._kinds = tuple(kinds_of(self.config))
        self._look = CachedLook(self.config.bottleneck_detection_metrics)
        self._records: list[float] = []
        self._events: list[MorphogenesisEvent] = []
        self._reasons: list[str] = []
        self._closed: set[tuple[EventType, str]] = set()  # to a kind of change
        self._places: set[tuple[EventType, str]] = set()  # of the last changes
        self._probation: Probation | None = None
        self._now = 0
        self._returned_at: int | None = None

    @property
    def model(self) -> nn.Module:
        """The model, the same object all along."""
        return self._context.network

    @property
    def journal(self) -> Journal:
        """Every edit that stands, and what was taken back; it leads to the architecture."""
        return self._context.journal

    @property
    def events(self) -> tuple[MorphogenesisEvent, ...]:
        """All changes so far, those that were taken back included."""
        return tuple(self._events)

    @property
    def performance_history(self) -> tuple[float, ...]:
        """The recorded accuracies of the network as it stands."""
        return tuple(self._records)

    @property
    def example(self) -> Any:
        """The inputs that the model is traced with, as `save_checkpoint` and `replay` take them.

        Raises:
            StructureNetError: The model was not called yet.
        """
        return self._example.example

    def update_caches(
        self,
        activations: Mapping[str, Tensor | None],
        gradients: Mapping[str, Tensor | None],
        targets: Tensor | None = None,
        *,
        inputs: Tensor | None = None,
    ) -> None:
        """Takes what the loop saw of one batch; see `layer_caches`, and `collect_caches`.

        Args:
            activations: Outputs by module name.
            gradients: Of the mean loss, by module name (with respect to the output, or to the
                weight) or by parameter name.
            targets: Class indices; without them the measure ``information_flow`` does not count.
            inputs: What the network read; without them the second layer alone tells how diverse the
                first one should be.

        Raises:
            ValueError: A name is unknown, or a tensor is of another width than its layer.
            TypeError: A value is no tensor.
        """
        self._look.take(layer_caches(self.model, activations, gradients, targets, inputs=inputs))

    def record_performance(self, val_acc: float) -> tuple[MorphogenesisEvent, ...]:
        """Notes an epoch's validation accuracy, and lets the network answer to it.

        The last changes are taken back if the accuracy dropped too far behind them; otherwise new
        halves take over the next part of their share.

        Returns:
            What was taken back; empty if nothing was.

        Raises:
            SurgeryError: Somebody else edited the network since, so that nothing can be taken back.
            ValueError: The accuracy is not finite, and there is nothing to take back.
        """
        self._now += 1
        accuracy = float(val_acc)
        self._events = [seen(event, accuracy) for event in self._events]
        probation = self._probation
        if probation is not None:
            drop = self.config.performance_drop_threshold
            if not accuracy >= probation.accuracy - drop:
                return self._take_back(probation, accuracy)
            probation.lasts -= 1
            self._probation = probation if probation.lasts > 0 else None
        check_accuracy(accuracy)
        self._records.append(accuracy)
        self._fade()
        return ()

    def should_trigger_morphogenesis(
        self,
        epoch: int,
        train_metrics: Mapping[str, Any] | None = None,
        val_metrics: Mapping[str, Any] | None = None,
    ) -> tuple[bool, list[str]]:
        """Whether to change now: every ``morphogenesis_interval`` epochs it is checked whether the
        validation accuracy improved by less than ``performance_improvement_threshold`` since the
        last check (at the first one, since the first recorded accuracy).

        Nothing triggers once ``max_architecture_changes`` were made, or in an epoch in which a
        change was taken back.

        Args:
            epoch: Counted from 1.
            train_metrics: ``accuracy`` is named among the reasons, where it is there.
            val_metrics: ``accuracy`` is judged; the last recorded one if it is not there.

        Returns:
            Whether, and the reasons in words; none if not.

        Raises:
            MissingAnalysisError: There is no accuracy, or the caches do not tell where to change.
            ValueError: The accuracy is not finite.
        """
        self._now = epoch
        accuracy = accuracy_of(val_metrics, self._records[-1] if self._records else None)
        first = self._records[0] if len(self._records) > 1 else None
        due = self._checks.reason(epoch, accuracy, first)
        if due is None or self._returned_at == epoch or self._left(epoch) < 1:
            return False, []
        self._reasons = [
            due,
            *trained_reason(train_metrics, accuracy),
            *self._look.narrowest(self._at_now),
        ]
        return True, list(self._reasons)

    def execute_morphogenesis(self, epoch: int) -> dict[str, Any]:
        """Changes the architecture at the narrowest layers, in place.

        Args:
            epoch: Counted from 1.

        Returns:
            ``neuron_divisions`` and ``connection_growths``: how many of each; ``parameters_added``;
            ``events``: a `MorphogenesisEvent` for each change.

        Raises:
            MissingAnalysisError: The caches are empty, or do not tell where to change.
            StructureNetError: The model was not called yet, so that there is nothing to trace with.
        """
        self._now = epoch
        events: list[MorphogenesisEvent] = []
        if left := self._left(epoch):
            events += self._changes(left)
        kinds = [event.event_type for event in events]
        return {
            "neuron_divisions": kinds.count(NEURON_DIVISION),
            "connection_growths": kinds.count(CONNECTION_GROWTH),
            "parameters_added": sum(event.parameters_added for event in events),
            "events": events,
        }

    def state_dict(self) -> dict[str, Any]:
        """What the framework remembers, as plain data; the network is `save_checkpoint`'s to keep.

        Caches are not in it, and what it takes to return neither: a change on probation is kept.
        """
        return {
            "journal": self.journal.to_json(),
            "events": events_to_data(self._events),
            "performance_history": list(self._records),
            "checks": [[epoch, level] for epoch, level in self._checks.levels.items()],
            "closed": sorted([kind, place] for kind, place in self._closed),
            "epoch": self._now,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave; the model must be the one of that time.

        Raises:
            JournalError: The journal in it cannot be read.
        """
        journal = Journal.from_json(state["journal"])
        self._context = replace(self._context, journal=journal)
        self._events = events_from_data(state["events"])
        self._records = list(state["performance_history"])
        self._checks.levels = {int(epoch): level for epoch, level in state["checks"]}
        self._closed = {(kind, place) for kind, place in state["closed"]}
        self._now = int(state["epoch"])
        self._probation = self._returned_at = None
        self._look.forget()

    def _left(self, epoch: int) -> int:
        """How many changes may be made in this epoch."""
        of_epoch = sum(event.epoch == epoch for event in self._events)
        in_all = self.config.max_architecture_changes - len(self._events)
        return max(0, min(self.config.max_morphogenesis_per_epoch - of_epoch, in_all))

    def _at_now(self) -> NetworkContext:
        return replace(self._context, iteration=self._now, example=self.example)

    def _changes(self, left: int) -> list[MorphogenesisEvent]:
        """At most so many changes, of each kind by turns."""
        analysis, probation = self._look.analysis(self._at_now), self._on_probation()
        made: list[MorphogenesisEvent] = []
        busy: set[tuple[EventType, str]] = set()
        turn = idle = 0
        while len(made) < left and idle < len(self._kinds):
            kind = self._kinds[turn % len(self._kinds)]
            found = self._change(kind, analysis, busy, probation)
            made += [] if found is None else [found[1]]
            busy |= set() if found is None else {(kind.name, found[0])}
            turn, idle = turn + 1, idle + 1 if found is None else 0
        if made:
            self._events += made
            self._places = busy
            self._probation = probation
            self._look.forget()
            self._reasons = []
        return made

    def _change(
        self,
        kind: Kind,
        analysis: Analysis,
        busy: set[tuple[EventType, str]],
        probation: Probation | None,
    ) -> tuple[str, MorphogenesisEvent] | None:
        """The change of a kind at the narrowest place that takes it, and the place."""
        context, name = self._at_now(), type(kind.strategy).__name__
        closed = {place for of, place in self._closed | busy if of == kind.name}
        for place, alone in places(analysis, closed):
            before = network_stats(self.model)["total_parameters"]
            found = kind.strategy.proposals(context, alone)[:1]
            try:
                done = carried_out(context, found, component=name)
            except SurgeryError as error:
                self._closed.add((kind.name, place))
                self._note_rejected(found[0].edit, {"message": str(error)})
                continue
            if found:
                if probation is not None:
                    probation.note(done)
                added = network_stats(self.model)["total_parameters"] - before
                event = event_of(kind.name, found[0], added, why=self._reasons[:1])
                last = self._records[-1] if self._records else None
                return place, replace(event, epoch=self._now, performance_before=last)
        return None

    def _note_rejected(self, edit: Edit, detail: Mapping[str, Any]) -> None:
        entry = EventEntry(REJECTED, self._now, _NAME, {"edits": [str(edit)], **detail})
        self.journal.append(entry)

    def _on_probation(self) -> Probation | None:
        """What it takes to return here; None where nothing is to be taken back."""
        if not self.config.rollback_enabled or not self._records:
            return None
        lasts = max(self.config.morphogenesis_interval, self.config.progressive_activation_epochs)
        return Probation(
            Weights(self.model, LOG.holders(self.model.parameters())),
            self.journal.fork(),
            accuracy=self._records[-1],
            events=len(self._events),
            records=len(self._records),
            lasts=lasts,
        )

    def _take_back(self, probation: Probation, accuracy: float) -> tuple[MorphogenesisEvent, ...]:
        probation.take_back()
        self._context = replace(self._context, journal=probation.journal)
        gone = [replace(e, rolled_back=True) for e in self._events[probation.events :]]
        self._events[probation.events :] = gone
        measured = {"accuracy": accuracy, "accuracy_before": probation.accuracy}
        for event in gone:
            self._note_rejected(event.edit, measured)
        self._closed |= self._places
        del self._records[probation.records :]
        self._probation = None
        self._look.forget()
        self._returned_at = self._now
        return tuple(gone)

    def _fade(self) -> None:
        """Hands over the next part of what new halves are to read."""
        if not self._events:
            return
        due = due_shares(self._at_now(), self.config.progressive_activation_epochs)
        if due:
            done = carried_out(self._at_now(), due, component=_NAME)
            if self._probation is not None:
                self._probation.note(done)
