"""What happened in a training with growth, in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any


def growth_summary(history: Mapping[str, list[Any]]) -> str:
    """The training of a `DENTrainer` in some lines: losses, sizes, each growth with its reason.

    Args:
        history: What `DENTrainer.train` returned.
    """
    return "\n".join(_lines(history))


def print_growth_summary(history: Mapping[str, list[Any]]) -> None:
    """Writes `growth_summary` to standard output.

    Args:
        history: What `DENTrainer.train` returned.
    """
    sys.stdout.write(f"{growth_summary(history)}\n")


def _lines(history: Mapping[str, list[Any]]) -> Iterator[str]:
    sizes, events = history["layer_sizes"], _events(history)
    if not sizes:
        yield "No epoch was trained."
        return
    parameters = history["num_parameters"]
    last = events[-1] if events else None
    final = last if last is not None and last["epoch"] == len(sizes) - 1 else None
    end, count = (
        (sizes[-1], parameters[-1])
        if final is None
        else (final["layer_sizes"], final["num_parameters"])
    )
    yield f"{len(sizes)} epochs in {history['timestamps'][-1]:.1f} s"
    yield f"layers      {sizes[0]} -> {end}"
    yield f"parameters  {parameters[0]:,} -> {count:,}"
    for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
        known = [value for value in history[name] if value is not None]
        if known:
            yield f"{name.replace('_', ' '):<16}{known[0]:.4g} -> {known[-1]:.4g}"
    grown, pruned = len(history["growth_events"]), len(history["pruning_events"])
    yield f"{_count(grown, 'growth')}, {_count(pruned, 'pruning')}"
    for event in events:
        sign = "-" if event["type"] == "prune" else "+"
        what = f"{event['type']} {sign}{event['num_neurons']} at layer {event['layer_idx']}"
        yield f"  after epoch {event['epoch'] + 1}: {what}, {event['layer_sizes']}"
        yield f"    {event['reason']}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _events(history: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    both = [*history["growth_events"], *history["pruning_events"]]
    return sorted(both, key=lambda event: event["epoch"])
