"""Checkpoints: a network whose architecture changed and all that its training needs, in one file.

The file is a safetensors file; see `structure_net.surgery.containers`. It holds every tensor of the
network and its optimizer once, the journal (its JSON, as a tensor of bytes named ``journal``), and
as JSON the history, the states of schedulers and of random number generators, and the recipe of a
network of ours. Gradients are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from structure_net.errors import CheckpointError
from structure_net.surgery.containers import (
    apart,
    describe_tensor,
    opened,
    storable,
    write_container,
)
from structure_net.surgery.examples import example_state
from structure_net.surgery.fitting import brought_to, trace_inputs
from structure_net.surgery.journal import Journal
from structure_net.surgery.journal_tensors import JOURNAL, journal_tensor, stored_journal
from structure_net.surgery.model_states import (
    adopt_types,
    check_fit,
    fix_parameters,
    model_state,
    rebuilt,
    restore_model,
    unwrapped,
)
from structure_net.surgery.optimizer_states import (
    check_optimizer,
    optimizer_state,
    restore_optimizer_state,
)
from structure_net.surgery.packing import pack, unpack
from structure_net.surgery.randomness import AnyGenerator, random_states, restore_random_states
from structure_net.surgery.storing import stored_as

if TYPE_CHECKING:
    from structure_net.surgery.checkpoint_records import CheckpointRecord


@dataclass(frozen=True, slots=True)
class CheckpointHeader:
    """What a checkpoint says of itself.

    Args:
        kind: The class of the network.
        recipe: What a network of ours is made from; None for any other.
        iteration: The iteration after which it was saved.
        journal: The network's lineage; empty if none was given.
        history: As it was given.
        metadata: As it was given.
        optimizer: The class of the optimizer and its groups' options, with parameters by name; None
            if none was given.
        scheduler: The class of the scheduler; None if none was given.
        shapes: The shape of each tensor of the network.
    """

    kind: str
    recipe: dict[str, Any] | None
    iteration: int
    journal: Journal
    history: Any
    metadata: Any
    optimizer: dict[str, Any] | None
    scheduler: str | None
    shapes: dict[str, tuple[int, ...]]

    def __repr__(self) -> str:
        return f"CheckpointHeader({self._words()})"

    def _words(self) -> str:
        optimizer = "no optimizer" if self.optimizer is None else self.optimizer["class"]
        parts = (f"{len(self.shapes)} tensors", optimizer, f"iteration {self.iteration}")
        return f"{self.kind}: {', '.join(parts)}, {self.journal!r}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was loaded.

    Args:
        header: What it says of itself.
        model: The network, at the checkpoint's architecture, with its tensors.
    """

    header: CheckpointHeader
    model: nn.Module
    _states: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Checkpoint({self.header._words()})"

    @property
    def journal(self) -> Journal:
        """The network's lineage; empty if none was saved. Appending goes on with it."""
        return self.header.journal

    @property
    def history(self) -> Any:
        """The history as it was saved."""
        return self.header.history

    @property
    def iteration(self) -> int:
        """The iteration after which it was saved."""
        return self.header.iteration

    @property
    def metadata(self) -> Any:
        """The user's own data as they were saved."""
        return self.header.metadata

    def restore_optimizer(self, optimizer: Optimizer) -> None:
        """Puts the saved state into an optimizer of `model`: groups, options, moments; bit for bit.

        Raises:
            CheckpointError: None was saved, or its class, groups or parameters differ.
        """
        restore_optimizer_state(optimizer, self.model, self._state("optimizer"))

    def restore_scheduler(self, scheduler: LRScheduler) -> None:
        """Puts the saved state into a scheduler.

        Raises:
            CheckpointError: None was saved, or its class differs.
        """
        saved = self._state("scheduler")
        _check_scheduler(scheduler, saved)
        scheduler.load_state_dict(saved["state"])

    def restore_random_states(self, generators: Mapping[str, AnyGenerator] | None = None) -> None:
        """Puts back the states of torch's, Python's and numpy's global generators.

        Args:
            generators: Generators of one's own to put back too, by the names they were saved with.

        Raises:
            CheckpointError: A generator was not saved, or was another kind.
        """
        restore_random_states(self._states["random"], generators or {})

    def _state(self, name: str) -> Any:
        if self._states[name] is None:
            raise CheckpointError(
                f"The checkpoint holds no {name}: none was given when it was saved."
            )
        return self._states[name]


def save_checkpoint(  # noqa: PLR0913 - independent parts of a training run, each of them optional
    path: str | Path,
    model: nn.Module,
    *,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    journal: Journal | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    iteration: int = 0,
    example: object = None,
    generators: Mapping[str, AnyGenerator] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Writes a network and its training to one file, whole or not at all.

    A process that is killed at any moment leaves the older file whole.

    Args:
        path: The file, by custom ``*.safetensors``. Its folder must exist.
        model: The network; sparse patterns, masks and running statistics are in its buffers. Of a
            compiled or data-parallel model the module inside is saved.
        optimizer: Its optimizer, with all parameters in ``model``.
        scheduler: The optimizer's learning rate scheduler.
        journal: Its lineage, from which loading rebuilds the architecture.
        history: Plain data: one dict per epoch.
        iteration: The iteration that is done.
        example: Inputs of the model, so that loading can trace it; see `example_state`.
        generators: Random number generators of one's own, by name. The global ones are always kept.
        metadata: Plain data of one's own.

    Raises:
        CheckpointError: Something cannot be stored, or the file cannot be written. An older file is
            as it was and no other file is left.
    """
    from structure_net.surgery.checkpoint_records import CHECKPOINT_FORMAT, CHECKPOINT_VERSION

    model = unwrapped(model)
    state = model_state(model)
    tensors: dict[str, Tensor] = {f"model.{name}": t for name, t in state.tensors.items()}
    parts = {
        "optimizer": None if optimizer is None else optimizer_state(optimizer, model),
        "scheduler": None if scheduler is None else _scheduler_state(scheduler),
        "random": random_states(generators or {}),
        "example": None if example is None else example_state(example),
        "history": list(history),
        "metadata": dict(metadata or {}),
        "extra": state.extra,
    }
    packed = {name: pack(part, name, tensors) for name, part in parts.items()}
    if journal is not None:
        tensors[JOURNAL] = journal_tensor(journal)
    stored = apart({name: storable(name, tensor) for name, tensor in tensors.items()})
    header = {
        "format": CHECKPOINT_FORMAT,
        "version": 1 if journal is None else CHECKPOINT_VERSION,
        "iteration": iteration,
        "model": {
            "kind": state.kind,
            "recipe": state.recipe,
            "training": state.training,
            "tensors": list(state.tensors),
            "aliases": state.aliases,
            "constants": state.constants,
            "fixed": list(state.fixed),
        },
        "tensors": {name: describe_tensor(tensor) for name, tensor in stored.items()},
        "journal": None,
        **packed,
    }
    write_container(path, stored, json.dumps(header, allow_nan=False))


def read_header(path: str | Path) -> CheckpointHeader:
    """What a checkpoint says of itself; of its tensors only the journal is read.

    Raises:
        CheckpointError: There is no such file, it is no checkpoint, or its header is damaged.
    """
    from structure_net.surgery.checkpoint_records import check_tensors, read_record

    with opened(path) as (text, read_tensors):
        record = read_record(text, str(path))
        tensors = read_tensors([JOURNAL])
    check_tensors(path, record, tensors, names=record.tensors.keys() & {JOURNAL})
    return _header(path, record, tensors)


def verify_checkpoint(path: str | Path) -> None:
    """Reads a checkpoint whole and compares every tensor with its checksum.

    Raises:
        CheckpointError: There is no such file, it is no checkpoint, or it is damaged; the message
            names what is.
    """
    _header(path, *_read(path))


def load_checkpoint(
    path: str | Path,
    model: nn.Module | None = None,
    *,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    example: object = None,
) -> Checkpoint:
    """Reads a checkpoint into a model, bit for bit. Nothing is touched before all of it is checked.

    Random number generators are left alone: see `Checkpoint.restore_random_states`.

    Args:
        path: The file.
        model: At the final architecture, or at the start architecture, on which the journal's edits
            are carried out first. If None, a network of ours is built from the file alone.
        optimizer: An optimizer of ``model`` to restore too. One that is made after the load gets
            its state by `Checkpoint.restore_optimizer`.
        scheduler: A scheduler to restore too.
        example: Inputs of the model, if the checkpoint was saved without.

    Returns:
        The checkpoint; its ``model`` is ``model`` if that was given, or the module inside it if
        that is compiled or data-parallel.

    Raises:
        CheckpointError: The file is missing, damaged, no checkpoint or of a newer version, or it
            does not fit what was given. Model, optimizer and scheduler are as they were.
    """
    if model is None and optimizer is not None:
        raise CheckpointError(
            "An optimizer needs the model it was made for: give the model too, or make the "
            "optimizer for load_checkpoint(path).model and call restore_optimizer."
        )
    record, tensors = _read(path)
    stored = record.model
    network = rebuilt(stored.kind, stored.recipe) if model is None else unwrapped(model)
    checkpoint = Checkpoint(_header(path, record, tensors), network, _states(record, tensors))
    named = {name: tensors[f"model.{name}"] for name in stored.tensors}
    kept = None if record.example is None else unpack(record.example, tensors)
    inputs = trace_inputs(network, example, kept)
    want = {**named, **{name: named[origin] for name, origin in stored.aliases.items()}}
    with brought_to(want, network, checkpoint.journal, inputs, optimizer=optimizer) as undo:
        if model is None:
            adopt_types(network, named)
        undo.callback(stored_as(want, network, optimizer).undo)
        check_fit(network, named, stored.aliases)
        _check_training(checkpoint, optimizer, scheduler)
        undo.pop_all()
    extra = unpack(record.extra, tensors)
    restore_model(network, named, stored.aliases, extra, stored.constants)
    if model is None:
        fix_parameters(network, stored.fixed)
        network.train(stored.training)
    if optimizer is not None:
        checkpoint.restore_optimizer(optimizer)
    if scheduler is not None:
        checkpoint.restore_scheduler(scheduler)
    return checkpoint


def _read(path: str | Path) -> tuple[CheckpointRecord, dict[str, Tensor]]:
    from structure_net.surgery.checkpoint_records import check_tensors, read_record

    with opened(path) as (text, read_tensors):
        record = read_record(text, str(path))
        tensors = read_tensors()
    check_tensors(path, record, tensors, names=record.tensors.keys())
    return record, tensors


def _header(
    path: str | Path, record: CheckpointRecord, tensors: Mapping[str, Tensor]
) -> CheckpointHeader:
    optimizer, scheduler = record.optimizer, record.scheduler
    return CheckpointHeader(
        kind=record.model.kind,
        recipe=record.model.recipe,
        iteration=record.iteration,
        journal=stored_journal(path, record, tensors),
        history=unpack(record.history, None),
        metadata=unpack(record.metadata, None),
        optimizer=optimizer and {key: unpack(optimizer[key], None) for key in ("class", "groups")},
        scheduler=None if scheduler is None else str(scheduler["class"]),
        shapes={name: record.tensors[f"model.{name}"].shape for name in record.model.tensors},
    )


def _states(record: CheckpointRecord, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        name: unpack(getattr(record, name), tensors)
        for name in ("optimizer", "scheduler", "random")
    }


def _check_training(
    checkpoint: Checkpoint, optimizer: Optimizer | None, scheduler: LRScheduler | None
) -> None:
    if optimizer is not None:
        check_optimizer(optimizer, checkpoint.model, checkpoint._state("optimizer"))
    if scheduler is not None:
        _check_scheduler(scheduler, checkpoint._state("scheduler"))


def _scheduler_state(scheduler: LRScheduler) -> dict[str, Any]:
    return {"class": type(scheduler).__name__, "state": scheduler.state_dict()}


def _check_scheduler(scheduler: LRScheduler, saved: Mapping[str, Any]) -> None:
    kind = type(scheduler).__name__
    if kind != saved["class"]:
        raise CheckpointError(
            f"The checkpoint holds the state of a {saved['class']}; got a {kind}."
        )
