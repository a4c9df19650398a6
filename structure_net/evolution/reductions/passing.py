"""The pass itself: a network runs over batches while reductions are told what its layers do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from structure_net.core.noting import Chain, ChainNotes, Picked
from structure_net.core.row_notes import RowNotes
from structure_net.core.running import evaluate, train, uncompile
from structure_net.core.undoing import Undoing
from structure_net.evolution.activations import Activation
from structure_net.evolution.batches import EMPTY_BATCH, Batch, Loss, batch_length, forward, loss_of
from structure_net.evolution.calls import Call, KnownChain, Straight, Take
from structure_net.evolution.reductions.means import Summed
from structure_net.evolution.reductions.reduction import Noted, Reduction, With
from structure_net.evolution.reductions.values import (
    BatchSeen,
    Gradients,
    Samples,
    Values,
    by_direction,
)
from structure_net.evolution.tracking import ActivationTracker


class Pass:
    """Runs a network over batches and tells reductions; see `Reduction` for what and when.

    Args:
        network: Any module; it is left as it was, and runs in evaluation mode.
        reductions: Are told in this order.
        training: Whether it runs in training mode instead; see `structure_net.core.running.train`.

    Attributes:
        batches: How many were seen.
        samples: How many were seen.
        readers: By layer, in order of first execution: the layers that read its units one by one.
    """

    def __init__(
        self, network: nn.Module, reductions: Sequence[Reduction], *, training: bool = False
    ) -> None:
        self._network = network
        self._training = training
        self._reductions = tuple(reductions)
        self._input_readers = _told(reductions, "input")
        self._output_readers = _told(reductions, "output")
        self._unit_readers = _told(reductions, "units")
        self._note_readers = _told(reductions, "noted")
        self._samplers = _told(reductions, "sample")
        self._batch_readers = _told(reductions, "batch")
        # What notes layers in a row runs them as evaluation mode does.
        self._notes_all = not training and all(one.notes for one in self._reductions)
        self._notes: dict[int, tuple[KnownChain, ChainNotes]] = {}
        self._firsts: dict[int, tuple[int, list[Tensor]]] = {}
        self._row: tuple[KnownChain, RowNotes] | None = None
        self._differentiated = False
        self._edges: dict[With, dict[int, tuple[GradientEdge, torch.Size]]] = {}
        self._now = Samples(0)
        self.batches = 0
        self.samples = 0
        self.readers: Mapping[str, tuple[str, ...]] = {}
        self.differentiates = frozenset(w for r in reductions for w in r.differentiates)

    def run(self, data: Iterable[Batch], loss: Loss | None) -> None:
        """Runs over all of ``data``; ``loss`` is needed where a reduction differentiates."""
        self._differentiated = loss is not None and bool(self.differentiates)
        undo = Undoing()
        with undo, undo:
            (train if self._training else evaluate)(self._network, undo)
            uncompile(undo)
            undo.later(partial(torch.set_grad_enabled, torch.is_grad_enabled()))
            torch.set_grad_enabled(self._differentiated)
            tracker = ActivationTracker(self._network, self)
            tracker.open(undo)
            for inputs, targets in data:
                self._now = _samples(inputs, targets)
                output = tracker.in_row(inputs)
                watched = output is None
                if watched:
                    with tracker.watching():
                        output = forward(self._network, inputs)
                if watched or not self.readers:
                    self.readers = {name: tuple(tracker.readers[name]) for name in tracker.order}
                if loss is not None and self._differentiated:
                    self._differentiate(loss_of(loss, output, targets))
                if self._batch_readers:
                    seen = BatchSeen(inputs, targets, output, self._now.number, self.readers)
                    with torch.no_grad():
                        for tell in self._batch_readers:
                            tell(seen)
                self.batches += 1
                self.samples += self._now.number
        self._tell_notes()

    @property
    def chains(self) -> bool:
        """See `Listener.chains`."""
        return not (self._training or self._differentiated or self._output_readers)

    def read(self, call: Call, inputs: Tensor, known: Any) -> None:
        """See `Listener.read`."""
        if self._input_readers:
            found = Values(call, inputs.detach(), self._now, known=known)
            self._tell(self._input_readers, found)

    def note(self, known: KnownChain, chain: Chain) -> Tensor | None:
        """See `Listener.note`."""
        number, second = self._now
        if not self._notes_all or second or number != chain.inputs.shape[0]:
            return None
        first = known.calls[0].number
        before, notes = self._notes.get(first) or (known, ChainNotes(chain.links))
        if before is not known or not notes.fits(chain):
            return None
        if not self._ready(known, chain.inputs):
            return None
        self._notes[first] = known, notes
        output = notes.run(chain, self._picked(known, chain.inputs))
        if not self.batches:  # sums of the first stay apart
            self._firsts[first] = notes.told()
        return output

    def note_row(self, row: Straight, inputs: Tensor) -> Tensor | None:
        """See `Listener.note_row`."""
        chain, known = row.chain(inputs), row.known
        if chain is not None:
            return self.note(known, chain)
        number, second = self._now
        if not self._notes_all or second or number != inputs.shape[0] or not number:
            return None
        before, notes = self._row or (known, RowNotes(row.wanted))
        if before is not known or not self._ready(known, inputs):
            return None
        self._row = known, notes
        output = row.run(inputs, self._taken(row, notes, self._picked(known, inputs)))
        notes.rest()
        return output

    def _taken(self, row: Straight, notes: RowNotes, picked: Picked | None) -> Take:
        """Notes what stands between modules, and what samplers want of it."""
        rows: list[Tensor | None] = [None] * len(row.wanted)
        if picked is not None and picked.which.shape[0]:
            copied = [number for number, one in enumerate(row.wanted) if one.rows]
            for number, room in zip(copied, picked.rows, strict=True):
                rows[number] = room

        def take(number: int, values: Tensor, *, gate: bool) -> Tensor:
            return notes.take(number, values, rows[number], picked, gate=gate)

        calls = zip(row.known.ends, row.known.calls, row.known.activations, strict=True)
        sampled = {end: (call, after) for end, call, after in calls if not row.wanted[end].rows}
        if not (self._samplers and sampled):
            return take

        def take_and_sample(number: int, values: Tensor, *, gate: bool) -> Tensor:
            values = take(number, values, gate=gate)
            if number in sampled:
                call, activation = sampled[number]
                self._tell(self._samplers, Values(call, values, self._now, activation=activation))
            return values

        return take_and_sample

    def _ready(self, known: KnownChain, inputs: Tensor) -> bool:
        return all(reduction.ready(known.calls, inputs.dtype) for reduction in self._reductions)

    def _picked(self, known: KnownChain, inputs: Tensor) -> Picked | None:
        """The samples that are wanted of each layer."""
        found = [one.pick(known.calls, inputs.shape[0], inputs.dtype) for one in self._reductions]
        return next(filter(None, found), None)

    def _tell_notes(self) -> None:
        """Tells reductions what was noted, over all batches."""
        for number, (known, notes) in self._notes.items():
            count, sums = notes.told()
            first = self._firsts.get(number)
            if first is None:
                parts = [Summed(one, None, count) for one in sums]
            elif not count:
                parts = [Summed(one, None, first[0]) for one in first[1]]
            else:
                pairs = zip(first[1], sums, strict=True)
                parts = [Summed(one, other, first[0] + count) for one, other in pairs]
            if count or first is not None:
                self._tell_of(known, parts)
        if self._row is not None:
            known, row_notes = self._row
            self._tell_of(known, [Summed(*one) for one in row_notes.told()])

    def _tell_of(self, known: KnownChain, parts: Sequence[Summed]) -> None:
        """Tells reductions what was summed up of the tensors between layers."""
        for call, activation, read, end in zip(
            known.calls, known.activations, known.reads, known.ends, strict=True
        ):
            noted = Noted(parts[read], parts[end], activation)
            for tell in self._note_readers:
                tell(call, noted)

    def wrote(self, call: Call, output: Tensor) -> None:
        """See `Listener.wrote`."""
        if self.differentiates and output.requires_grad:
            self._remember(With.OUTPUTS, call, output)
        if self._output_readers:
            values = Values(call, by_direction(call, output.detach()), self._now)
            self._tell(self._output_readers, values)

    def settled(
        self,
        call: Call,
        values: Tensor,
        activation: Activation | None,
        before: Tensor | None,
        sums: Tensor | None = None,
    ) -> Values:
        """See `Listener.settled`."""
        if self.differentiates:
            if values.requires_grad:
                self._remember(With.UNITS, call, values)
            elif activation is None and call.number in self._edges.get(With.OUTPUTS, {}):
                # A copy of the output, held until it was known that no activation follows.
                self._edges.setdefault(With.UNITS, {})[call.number] = self._edges[With.OUTPUTS][
                    call.number
                ]
        tensor = by_direction(call, values.detach())
        found = Values(call, tensor, self._now, activation=activation, before=before)
        found.know(sums)
        self._tell(self._unit_readers, found)
        return found

    def _tell(self, listeners: Sequence[Any], values: Values) -> None:
        if self._differentiated:
            with torch.no_grad():
                for tell in listeners:
                    tell(values)
        else:
            for tell in listeners:
                tell(values)
        values.release()

    def _remember(self, kind: With, call: Call, tensor: Tensor) -> None:
        """An edge stands for the tensor as it is now, whatever is written into it later."""
        shape = by_direction(call, tensor).shape
        self._edges.setdefault(kind, {})[call.number] = (get_gradient_edge(tensor), shape)

    def _differentiate(self, loss: Tensor) -> None:
        edges, self._edges = self._edges, {}
        wanted: list[tuple[With, Any, Any, torch.Size]] = []
        for kind in (With.UNITS, With.OUTPUTS):
            if kind in self.differentiates:
                found = edges.get(kind, {})
                wanted += [(kind, number, edge, shape) for number, (edge, shape) in found.items()]
        if With.PARAMETERS in self.differentiates:
            wanted += [
                (With.PARAMETERS, name, parameter, parameter.shape)
                for name, parameter in self._network.named_parameters()
                if parameter.requires_grad
            ]
        if not wanted:
            return
        gradients = torch.autograd.grad(loss, [at for _, _, at, _ in wanted], allow_unused=True)
        parts: dict[With, dict[Any, Tensor]] = {kind: {} for kind in With}
        for (kind, key, _, shape), gradient in zip(wanted, gradients, strict=True):
            known = loss.new_zeros(shape) if gradient is None else gradient.detach()
            parts[kind][key] = known.reshape(shape)
        with torch.no_grad():
            said = Gradients(parts[With.UNITS], parts[With.OUTPUTS], parts[With.PARAMETERS])
            for reduction in self._reductions:
                if reduction.differentiates:
                    reduction.gradients(said)


def _told(reductions: Sequence[Reduction], event: str) -> tuple[Any, ...]:
    """The methods of the reductions that listen to an event."""
    silent = getattr(Reduction, event)
    return tuple(getattr(r, event) for r in reductions if getattr(type(r), event) is not silent)


def _samples(inputs: Any, targets: Any) -> Samples:
    """How many samples a batch has, by its targets where its inputs agree, and where they lie."""
    if type(inputs) is Tensor is type(targets) and inputs.dim() and targets.dim():
        number = inputs.size(0)
        if 0 < number == targets.size(0):
            return Samples(number)
    tensor = _first_tensor(inputs)
    said = batch_length(targets) if _first_tensor(targets) is not None else 0
    number = tensor.size(0) if tensor is not None and tensor.dim() else said
    if tensor is not None and tensor.dim() and not said and not number:
        raise ValueError(EMPTY_BATCH)
    if tensor is None or number == said:
        return Samples(said)
    if tensor.dim() > 1 and tensor.size(1) == said:
        return Samples(said, second=True)
    return Samples(number)


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    values = value.values() if isinstance(value, Mapping) else value
    if not isinstance(values, Iterable) or isinstance(values, str):
        return None
    return next((t for t in map(_first_tensor, values) if t is not None), None)
