"""A model's lineage travels in its state dict, so that any package's checkpoint holds it.

Who saves ``model.state_dict()`` saves one more entry, a tensor of bytes: the journal, the history
and the inputs that the model is traced with. Who loads such a state dict into the model, or into
one that was built anew, has it led to the saved architecture first; then the tensors fit. So
checkpoints of PyTorch, Lightning, Hugging Face and skorch work unchanged, the best one of a run
that went on growing included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakSet, ref

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.moments import fits, held
from structure_net.errors import CheckpointError, JournalError, TraceError
from structure_net.evolution.history import TrainingHistory
from structure_net.integrations.birth import Birth
from structure_net.integrations.optimizers import remember_names
from structure_net.surgery.entries import OPAQUE, EditEntry, Entry
from structure_net.surgery.examples import example_state, restored_example
from structure_net.surgery.journal import Journal
from structure_net.surgery.optimizers import LOG
from structure_net.surgery.replaying import replay

KEY: Final = "structure_net_lineage"
"""The name of the lineage in a state dict."""

_VERSION: Final = 1


def carry_lineage(model: nn.Module) -> Lineage:
    """Lets the state dict of a model hold its lineage, and loading one lead the model there.

    Call it when the model is as its code builds it, before the first edit. The model learns it
    once: a second call returns the same lineage, and so does one on a copy of the model.

    Example::

        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> lineage = carry_lineage(model)
        >>> sorted(model.state_dict())[-1]
        'structure_net_lineage'

    Args:
        model: Gets two hooks; nothing else changes.
    """
    known = lineage_of(model)
    if known is not None:
        return known
    lineage = Lineage(Birth(model))
    model.register_state_dict_post_hook(_Save(lineage))
    model.register_load_state_dict_pre_hook(_Load(lineage))
    return lineage


def lineage_of(model: nn.Module) -> Lineage | None:
    """The lineage that a model carries; None before `carry_lineage`."""
    saves = (hook for hook in model._state_dict_hooks.values() if isinstance(hook, _Save))
    return next((save.lineage for save in saves), None)


@dataclass(eq=False)
class Lineage:
    """What became of a model.

    Args:
        birth: What it was.
        journal: Its edits and events.
        history: Its epochs.
        done: Steps and samples so far; the latter None where nobody told.
        example: Inputs to trace it with; needed once it has edits.
        optimizers: Follow where the model is led to another architecture.
    """

    birth: Birth
    journal: Journal = field(default_factory=Journal)
    history: TrainingHistory = field(default_factory=TrainingHistory)
    done: tuple[int, int | None] = (0, 0)
    example: Any = None
    optimizers: WeakSet[Optimizer] = field(default_factory=WeakSet)

    def to_tensor(self) -> Tensor:
        """The lineage as JSON, in a tensor of bytes.

        Returns:
            Shape ``(bytes,)``, uint8, on the CPU.
        """
        content = {
            "format": KEY,
            "version": _VERSION,
            "journal": json.loads(self.journal.to_json()),
            "history": self.history.to_list(),
            "done": self.done,
            "example": None if self.example is None else _plain(example_state(self.example)),
        }
        data = bytearray(json.dumps(content).encode())
        return torch.frombuffer(data, dtype=torch.uint8).clone()

    def lead(self, model: nn.Module, tensor: Tensor) -> None:
        """Leads ``model`` to where the lineage in ``tensor`` ends, and takes that lineage over.

        Args:
            model: The model that carries this lineage.
            tensor: What `to_tensor` gave.

        Raises:
            CheckpointError: The tensor holds no lineage, or one that cannot be followed by this
                model; the model is as it was.
        """
        content = _content(tensor)
        journal = Journal.from_json(json.dumps(content["journal"]), source="the lineage")
        if _changes(journal) != _changes(self.journal):
            self._go(model, journal, content["example"])
        steps, samples = content["done"]
        self.journal, self.done = journal, (steps, samples)
        self.history = TrainingHistory.from_list(content["history"])
        if content["example"] is not None:
            self.example = _example(content["example"], model)
        LOG.tell(_Greet(ref(model), ref(self)))

    def _go(self, model: nn.Module, journal: Journal, example: Mapping[str, Any] | None) -> None:
        with _fitting_states(self.optimizers), ExitStack() as back:
            if _changes(self.journal):
                back.callback(self.birth.restore(model, self.optimizers).undo)
            try:
                if _changes(journal):
                    replay(model, journal, _example(example, model))
            except (JournalError, TraceError) as error:
                raise CheckpointError(
                    f"The lineage in the state dict cannot be followed by this model: {error}"
                ) from error
            back.pop_all()

    def __getstate__(self) -> dict[str, Any]:
        """Optimizers belong to the run: copies and pickles of the model are without."""
        return {name: value for name, value in vars(self).items() if name != "optimizers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, optimizers=WeakSet())


@dataclass(frozen=True)
class _Greet:
    """Lets optimizers that are made for a led model load what was saved by name."""

    model: ref[nn.Module]
    lineage: ref[Lineage]

    def __call__(self, optimizer: Optimizer) -> None:
        model, lineage = self.model(), self.lineage()
        if model is not None and lineage is not None:
            own = {id(parameter) for parameter in model.parameters()}
            if not own.isdisjoint(held(optimizer)):
                remember_names(optimizer, model, lineage)


@contextmanager
def _fitting_states(optimizers: Iterable[Optimizer]) -> Iterator[None]:
    """What optimizers remember is put aside, so that no edit asks it to follow.

    Afterwards they have back what fits their parameters, which then come from elsewhere. It may be
    of a later architecture: some packages load an optimizer before the model.
    """
    aside = [(optimizer, dict(optimizer.state)) for optimizer in optimizers]
    for optimizer, _ in aside:
        optimizer.state.clear()
        LOG.catch_up(optimizer)
    try:
        yield
    finally:
        for optimizer, states in aside:
            LOG.catch_up(optimizer)
            fitting = {p: state for p, state in states.items() if fits(state, p.shape)}
            optimizer.state.update(fitting)


def _changes(journal: Journal) -> list[Entry]:
    """What changed the architecture."""
    return [e for e in journal if isinstance(e, EditEntry) or e.kind == OPAQUE]


def _content(tensor: Tensor) -> dict[str, Any]:
    try:
        content = json.loads(bytes(tensor.cpu().numpy()))
    except ValueError as error:
        raise CheckpointError(f"The lineage in the state dict is damaged: {error}.") from error
    wanted = {"format", "version", "journal", "history", "done", "example"}
    if not isinstance(content, dict) or set(content) != wanted or content["format"] != KEY:
        raise CheckpointError("The lineage in the state dict is not one that was written here.")
    if content["version"] != _VERSION:
        raise CheckpointError(
            f"The lineage in the state dict has version {content['version']}; this release reads"
            f" version {_VERSION}. Use the release that wrote it."
        )
    return content


def _plain(state: Any) -> Any:
    """An example's state without tensors, ready for JSON."""
    if isinstance(state, Tensor):
        return {"dtype": str(state.dtype).removeprefix("torch."), "values": state.tolist()}
    if isinstance(state, dict):
        return {key: _plain(item) for key, item in state.items()}
    return [_plain(item) for item in state] if isinstance(state, list) else state


def _example(state: Any, model: nn.Module) -> Any:
    """Inputs like those that were saved, on the model's device.

    Raises:
        CheckpointError: None were saved.
    """
    if state is None:
        raise CheckpointError(
            "The lineage holds edits and no example to trace the model with, so that they cannot"
            " be carried out again. Set `carry_lineage(model).example` before saving."
        )
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return restored_example(_with_tensors(state), device)


def _with_tensors(state: Any) -> Any:
    if isinstance(state, dict):
        if set(state) == {"dtype", "values"}:
            return torch.tensor(state["values"], dtype=getattr(torch, state["dtype"]))
        return {key: _with_tensors(item) for key, item in state.items()}
    return [_with_tensors(item) for item in state] if isinstance(state, list) else state


@dataclass(eq=False)
class _Save:
    """Adds the lineage to a state dict."""

    lineage: Lineage

    def __call__(
        self, module: nn.Module, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]
    ) -> None:
        state[prefix + KEY] = self.lineage.to_tensor()


@dataclass(eq=False)
class _Load:
    """Takes the lineage out of a state dict, and leads the model where it ends."""

    lineage: Lineage

    def __call__(self, module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        tensor = state.pop(prefix + KEY, None)
        if tensor is not None:
            self.lineage.lead(module, tensor)
