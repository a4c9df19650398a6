"""Whether a run's files agree: the journal rebuilds the network, and the tensors belong to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from structure_net.core import create_standard_network, network_stats, sparse_layers
from structure_net.data import load_dataset
from structure_net.errors import DatasetError, JournalError
from structure_net.evolution import TrainingHistory
from structure_net.runs.comparing import measured_on
from structure_net.runs.folder import RunFolder
from structure_net.runs.preparing import loss_of
from structure_net.surgery.checkpoint import Checkpoint, load_checkpoint
from structure_net.surgery.journal import Journal
from structure_net.surgery.model_states import shapes_of
from structure_net.surgery.replaying import replay

if TYPE_CHECKING:
    from structure_net.runs.records import HistoryRecord, RunRecord


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison.

    Args:
        what: What was compared.
        agrees: Whether it agrees; None where it could not be checked.
        detail: How, in a few words.
    """

    what: str
    agrees: bool | None
    detail: str


def verify(folder: RunFolder) -> tuple[Finding, ...]:
    """Rebuilds the architecture from ``journal.json``, loads the tensors, and compares all files.

    Raises:
        CheckpointError: The checkpoint is missing or damaged.
        JournalError: ``journal.json`` is missing or damaged.
        RunError: Another file is missing or damaged.
    """
    record, history = folder.read_run(), folder.read_history()
    journal = Journal.load(folder.journal)
    checkpoint = load_checkpoint(folder.checkpoint)
    first = (_journal(journal, checkpoint), _history(history, checkpoint))
    network = create_standard_network(
        record.architecture, record.request.density, seed=record.request.seed
    )
    try:
        replay(network, journal, torch.zeros(2, record.architecture[0]))
    except JournalError as error:
        return (*first, Finding("architecture", False, str(error)))
    architecture = _architecture(network, checkpoint.model)
    if not architecture.agrees:
        return (*first, architecture)
    patterns = _patterns(network, checkpoint.model)
    network.load_state_dict(checkpoint.model.state_dict())
    return (*first, architecture, patterns, _tensors(network), _accuracy(network, record, history))


def _journal(journal: Journal, checkpoint: Checkpoint) -> Finding:
    said = f"{len(journal.edits)} edits"
    if journal == checkpoint.journal:
        return Finding("journal", True, f"{said}, as in the checkpoint")
    other = f"{len(checkpoint.journal.edits)} edits"
    return Finding(
        "journal",
        False,
        f"{said} in journal.json, {other} in the checkpoint; `structure-net resume` writes "
        "journal.json anew",
    )


def _history(history: HistoryRecord, checkpoint: Checkpoint) -> Finding:
    written = TrainingHistory.from_list(history.epochs)
    kept = TrainingHistory.from_list(checkpoint.history or ())
    if written == kept:
        return Finding("history", True, f"{len(kept)} epochs, as in the checkpoint")
    return Finding(
        "history", False, f"{len(written)} epochs in history.json, {len(kept)} in the checkpoint"
    )


def _architecture(replayed: nn.Module, loaded: nn.Module) -> Finding:
    made, kept = shapes_of(replayed.state_dict()), shapes_of(loaded.state_dict())
    for name in dict.fromkeys([*made, *kept]):
        if made.get(name) != kept.get(name):
            return Finding(
                "architecture",
                False,
                f"{name} is {made.get(name, 'missing')} after the replay and "
                f"{kept.get(name, 'missing')} in the checkpoint",
            )
    stats = network_stats(replayed)
    widths = "-".join(str(layer["outputs"]) for layer in stats["layers"])
    inputs = stats["layers"][0]["inputs"]
    return Finding("architecture", True, f"{inputs}-{widths}, {len(made)} tensors of equal shapes")


def _patterns(replayed: nn.Module, loaded: nn.Module) -> Finding:
    made, kept = sparse_layers(replayed), sparse_layers(loaded)
    for name, layer in made.items():
        same = name in kept and layer.pattern == kept[name].pattern
        if not same:
            return Finding("connections", False, f"the connections of {name} differ")
    total = network_stats(replayed)["total_connections"]
    return Finding("connections", True, f"{total:,}, each where the journal puts it")


def _tensors(network: nn.Module) -> Finding:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return Finding("tensors", False, f"{name} holds values that are not finite")
    total = network_stats(network)["total_parameters"]
    return Finding("tensors", True, f"{total:,} live parameters loaded, all finite")


def _accuracy(network: nn.Module, record: RunRecord, history: HistoryRecord) -> Finding:
    """The test accuracy (a regression's loss), measured again, against the one written down."""
    if not history.scores:
        return Finding("accuracy", None, "not checked: the run has written no test accuracy")
    request, written = record.request, history.scores[0]
    try:
        data = load_dataset(request.dataset, data_dir=request.data_dir, seed=request.seed)
    except DatasetError as error:
        return Finding("accuracy", None, f"not checked: {error}")
    found = measured_on(network, data.test, "cpu", loss=loss_of(data))
    if found is None:
        return Finding("accuracy", None, "not checked: the data has no test samples")
    if found.accuracy is None or written.test_accuracy is None:
        return _loss(found.loss, written.test_loss)
    said = written.test_accuracy
    # Another device or thread count may round one output of a thousand to the other side.
    agrees = math.isclose(found.accuracy, said, abs_tol=max(1e-3, 1 / len(data.test)))
    return Finding(
        "accuracy", agrees, f"{found.accuracy:.4f} on the test data, {said:.4f} written down"
    )


def _loss(found: float, said: float) -> Finding:
    # Mixed precision on another device rounds to three digits.
    agrees = math.isclose(found, said, rel_tol=1e-2)
    return Finding("loss", agrees, f"{found:.4g} on the test data, {said:.4g} written down")
