"""Trials of a lab as runs of their own, grouped by hypothesis, beside the run of the batch.

A record makes one run, whose name follows from the record, so that sending it again changes
nothing: an epoch a row, and in the summary what came out.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from structure_net.logging.lines import Stored
    from structure_net.logging.sinks.wandb_orders import Order, WandbTarget

MARK: Final = "trial/record"
"""The entry of a run's summary that holds the number of its record, written last."""


def is_told(stored: Stored) -> bool:
    """Whether a record makes a run of its own: a trial that was begun and not called off."""
    return stored.kind == "trial" and stored.data.get("status") != "cancelled"


def trial_run(batch: str, stored: Stored) -> str:
    """The name of a trial's run, for its whole life.

    Args:
        batch: The name of the batch's run.
        stored: The trial's record.
    """
    return sha256(f"{batch} {stored.seq} {stored.data.get('trial')}".encode()).hexdigest()[:32]


def trial_order(target: WandbTarget, batch: str, folder: str, stored: Stored) -> Order:
    """A trial as a run: group hypothesis, job type arm, its seed a tag, its settings the config.

    Args:
        target: Where.
        batch: The name of the batch's run.
        folder: Where the client may write.
        stored: The trial's record.
    """
    record: Any = stored.record
    known = {"seed": record.seed, "point": record.point, "arm": record.arm}
    told = {"hypothesis": record.hypothesis, "trial": record.trial, "runner": record.runner}
    return {
        "do": "trial",
        "seq": stored.seq,
        "run": trial_run(batch, stored),
        "project": target.project,
        "entity": target.entity,
        "mode": target.mode,
        "base_url": target.base_url,
        "folder": folder,
        "group": record.hypothesis or target.group or "trials",
        "job_type": record.arm or "trial",
        "name": record.trial,
        "tags": sorted({*target.tags, f"seed {record.seed}", record.status}),
        "config": {**record.settings, **record.factors, **known, **told, "batch": batch},
        "rows": _rows(record),
        "summary": _summary(record, stored.seq),
        "code": int(record.status != "finished"),
    }


def _rows(record: Any) -> list[dict[str, Any]]:
    """One row an epoch: the curves, and what happened."""
    longest = max((len(curve) for curve in record.curves.values()), default=0)
    happened: dict[int, list[str]] = {}
    for when, what in record.events:
        happened.setdefault(int(when), []).append(what)
    rows = []
    for place in range(longest):
        row: dict[str, Any] = {"epoch": place + 1}
        row |= {
            name: values[place] for name, values in record.curves.items() if place < len(values)
        }
        if told := happened.get(place):  # what happened after as many epochs
            row["growth/by"] = "; ".join(told)
        rows.append(row)
    return rows


def _summary(record: Any, seq: int) -> dict[str, Any]:
    found: dict[str, Any] = {**record.metrics, "trial/status": record.status}
    found |= {"trial/seconds": record.seconds, "trial/attempt": record.attempt}
    if record.error:
        found["trial/error"] = record.error[:2000]
    if record.memory is not None:
        found["trial/memory_mib"] = record.memory
    return {**found, MARK: seq}
