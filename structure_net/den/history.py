"""The record of a training as one plain dict of lists; see `DENTrainer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from structure_net.evolution.history import EpochRecord

_SERIES: Final = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")

History = dict[str, list[Any]]


def empty_history() -> History:
    """The record before the first epoch."""
    names = (*_SERIES, "num_parameters", "layer_sizes", "timestamps")
    return {name: [] for name in (*names, "growth_events", "pruning_events")}


def add_epoch(history: History, record: EpochRecord, sizes: Sequence[int]) -> None:
    """Adds an epoch.

    Args:
        history: Is written to.
        record: The epoch.
        sizes: The units of the hidden layers in it.
    """
    for name in _SERIES:
        history[name].append(record.metrics.get(name.replace("val_", "validation_")))
    history["num_parameters"].append(record.parameters)
    history["layer_sizes"].append(list(sizes))
    history["timestamps"].append(record.elapsed)


def add_event(
    history: History, record: EpochRecord, said: Mapping[str, Any], after: tuple[list[int], int]
) -> str:
    """Adds a growth or a pruning.

    Args:
        history: Is written to.
        record: The epoch after which it was done.
        said: What was done, and why.
        after: The units of the hidden layers since, and the number of parameters.

    Returns:
        It in one line.
    """
    sizes, parameters = after
    event = {
        "epoch": record.epoch - 1,
        **said,
        "layer_sizes": sizes,
        "num_parameters": parameters,
        "timestamp": record.elapsed,
        "datetime": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    history["pruning_events" if said["type"] == "prune" else "growth_events"].append(event)
    return f"  {said['type']}: {sizes} ({said['reason']})"


def epoch_line(history: Mapping[str, list[Any]]) -> str:
    """The newest epoch in one line."""
    shown = {name: history[name][-1] for name in _SERIES}
    known = ", ".join(f"{name} {value:.4f}" for name, value in shown.items() if value is not None)
    return f"epoch {len(history['timestamps'])}: {known}, layers {history['layer_sizes'][-1]}"
