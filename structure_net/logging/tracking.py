"""Records as trackers want them: one flat row a record, and tables of what a run has done.

Every record makes exactly one row, whose step is the record's number. So what arrived is checked by
comparing numbers, and a row that is sent again falls on itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

from structure_net.logging.lines import Stored, parse_line
from structure_net.logging.reading import open_spool, spool_file

Cell = float | int | str
Row = dict[str, Cell]

WIDEST: Final = 300
"""The most numbers of one analysis that go to a tracker; the spool holds all."""

_LONGEST: Final = 2000
_LONGEST_NAME: Final = 100  # W&B takes 128 signs, the run's among them
_DEEPEST: Final = 3


def row_of(stored: Stored) -> Row:
    """A record as numbers and short texts by name; never empty.

    Names that begin alike belong together: ``network/parameters``, ``analysis/extrema_dead_ratio``.

    Raises:
        RecordError: The record is of no known kind, or damaged.
    """
    made = _ROWS.get(stored.kind, _plain)
    return {**made(stored.record), "record": stored.kind}


def numbers_of(row: Row) -> dict[str, float]:
    """What of a row can be drawn."""
    return {name: float(cell) for name, cell in row.items() if not isinstance(cell, str)}


def _cell(value: Any) -> Cell:
    """A number as trackers can hold it: a whole one beyond 64 bits is a float, or text."""
    if not isinstance(value, int) or -(2**63) <= value < 2**63:
        return value  # type: ignore[no-any-return]
    try:
        return float(value)
    except OverflowError:
        return _short(str(value))


def _epoch(record: Any) -> Row:
    found: Row = {"epoch": record.epoch, "iteration": record.iteration}
    found |= {"network/parameters": record.parameters, "network/connections": record.connections}
    found |= {"time/epoch_seconds": record.seconds, "time/elapsed": record.elapsed}
    found |= {} if record.samples is None else {"samples": record.samples}
    return found | {_beside(name, found): value for name, value in record.metrics.items()}


def _beside(name: str, own: Row) -> str:
    """What a metric is called; not as an entry of the record's own, nor as one of a tracker's."""
    free = name and name not in own and name != "record" and not name.startswith("_")
    return name if free else f"metrics/{name}"


def _iteration(record: Any) -> Row:
    found: Row = {"iteration": record.iteration, **_network(record.network)}
    found |= {f"iteration/{name}": value for name, value in record.metrics.items()}
    return found | {"time/iteration_seconds": record.seconds, "iteration/label": record.label}


def _network(network: Any) -> Row:
    if network is None:
        return {}
    found: Row = {
        "network/parameters": network.parameters,
        "network/connections": network.connections,
        "network/density": network.density,
    }
    return found | {f"network/width_{place}": w for place, w in enumerate(network.widths)}


def _analysis(record: Any) -> Row:
    found = dict(islice(_flat("analysis", record.values, 0), WIDEST))
    return {"epoch": record.epoch, "iteration": record.iteration, **found}


def _flat(name: str, value: Any, depth: int) -> Iterator[tuple[str, Cell]]:
    """The numbers in nested objects, by their joined keys; lists are left to the spool."""
    if isinstance(value, bool | int | float):
        yield name, _cell(value)
    elif isinstance(value, Mapping) and depth < _DEEPEST:
        for key, item in value.items():
            yield from _flat(f"{name}/{key}", item, depth + 1)


def _edit(record: Any) -> Row:
    found: Row = {"iteration": record.iteration, "edit/by": record.component}
    return found | {"edit/text": _short(record.text), "edit/reason": _short(record.reason)}


def _growth(record: Any) -> Row:
    found: Row = {"iteration": record.iteration, "growth/outcome": record.outcome}
    found |= {"growth/by": record.component, "growth/edits": _short("; ".join(record.edits))}
    return found | dict(_flat("growth", record.measured, 0))


def _run_started(record: Any) -> Row:
    return _network(record.network)


def _run_ended(record: Any) -> Row:
    found: Row = {"run/status": record.status, "run/reason": _short(record.reason)}
    found |= {"time/run_seconds": record.seconds, **_network(record.network)}
    return found | dict(_flat("run", record.summary, 0))


def _trial(record: Any) -> Row:
    found: Row = {f"trial/{name}": value for name, value in record.metrics.items()}
    found |= {"trial/hypothesis": record.hypothesis, "trial/arm": record.arm}
    found |= {"trial/seed": record.seed, "trial/point": record.point}
    return found | {"trial/status": record.status, "trial/seconds": record.seconds}


def _evidence(record: Any) -> Row:
    numbers = ("prediction", "effect", "standardised", "p_value", "adjusted", "pairs")
    known = {name: getattr(record, name) for name in numbers}
    found: Row = {f"evidence/{k}": value for k, value in known.items() if value is not None}
    found |= {"evidence/hypothesis": record.hypothesis, "evidence/verdict": record.verdict}
    return found | {"evidence/reason": _short(record.reason)}


def _artifact(record: Any) -> Row:
    found: Row = {"artifact/name": record.name, "artifact/type": record.type}
    return found | {"artifact/size": record.size, "artifact/sha256": record.digest}


def _profile(record: Any) -> Row:
    found: Row = {f"profile/{part.name}": part.seconds for part in record.sections}
    return found | {"profile/seconds": record.seconds}


def _plain(record: Any) -> Row:
    return {f"{record.kind}/text": _short(record.data_json())}


_ROWS: Final[Mapping[str, Callable[[Any], Row]]] = {
    "epoch": _epoch,
    "iteration": _iteration,
    "analysis": _analysis,
    "edit": _edit,
    "growth": _growth,
    "run_started": _run_started,
    "run_ended": _run_ended,
    "trial": _trial,
    "evidence": _evidence,
    "artifact": _artifact,
    "profile": _profile,
}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns.

    Args:
        columns: Their names.
        rows: The cells, one tuple a row.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "growth": ("seq", "iteration", "epoch", "parameters", "outcome", "by", "trigger", "edits",
               "reasons"),
    "lineage": ("seq", "iteration", "epoch", "by", "edit", "reason", "layer", "before", "after"),
    "trials": ("seq", "hypothesis", "arm", "seed", "point", "status", "seconds", "metrics"),
    "evidence": ("seq", "hypothesis", "prediction", "arm", "versus", "verdict", "effect", "p_value",
                 "reason"),
}  # fmt: skip


class Story:
    """What a run has done so far, as tables; a resumed run takes back what it superseded."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[Cell, ...]]] = {name: [] for name in _COLUMNS}
        self._epoch = self._parameters = 0

    def note(self, stored: Stored) -> None:
        """Adds a record to the tables that it belongs to."""
        record: Any = stored.record
        if stored.kind == "resumed":
            for rows in self._rows.values():
                rows[:] = [row for row in rows if int(row[0]) <= record.after]
        elif stored.kind == "epoch":
            self._epoch, self._parameters = record.epoch, record.parameters
        elif stored.kind == "growth":
            self._growth(stored.seq, record)
        elif stored.kind == "edit":
            self._edit(stored.seq, record)
        elif stored.kind == "trial":
            metrics = json.dumps(record.metrics, sort_keys=True)
            place = (record.hypothesis, record.arm, record.seed, record.point)
            self._add("trials", stored.seq, *place, record.status, record.seconds, metrics)
        elif stored.kind == "evidence":
            self._evidence(stored.seq, record)

    @property
    def tables(self) -> dict[str, Table]:
        """The tables that have rows, by name."""
        return {
            name: Table(_COLUMNS[name], tuple(rows)) for name, rows in self._rows.items() if rows
        }

    def _add(self, table: str, *cells: Cell) -> None:
        self._rows[table].append(cells)

    def _growth(self, seq: int, record: Any) -> None:
        parameters = record.network.parameters if record.network else self._parameters
        when = (seq, record.iteration, self._epoch, parameters)
        what = ("; ".join(record.edits), "; ".join(record.reasons))
        self._add("growth", *when, record.outcome, record.component, record.trigger, *what)

    def _edit(self, seq: int, record: Any) -> None:
        said = (record.iteration, self._epoch, record.component, record.text, record.reason)
        changes = [
            (c.layer, -1 if c.before is None else c.before, -1 if c.after is None else c.after)
            for c in record.changes
        ]
        for change in changes or [("", -1, -1)]:
            self._add("lineage", seq, *said, *change)

    def _evidence(self, seq: int, record: Any) -> None:
        nan = float("nan")
        place = -1 if record.prediction is None else record.prediction
        effect = nan if record.effect is None else record.effect
        p_value = nan if record.p_value is None else record.p_value
        who = (record.hypothesis, place, record.arm, record.versus)
        self._add("evidence", seq, *who, record.verdict, effect, p_value, record.reason)


def run_name(first: Stored) -> str:
    """The name that a spool's run has with trackers, for its whole life: at most 64 signs.

    Args:
        first: The first record of the spool.
    """
    named = first.data.get("run") if first.kind == "run_started" else None
    if not isinstance(named, str):
        return sha256(f"{first.time}{first.text}".encode()).hexdigest()[:32]
    # Names that differ stay different: what trackers do not take is not merely replaced.
    taken = re.fullmatch(r"[A-Za-z0-9_-]{1,64}", named)
    return named if taken else sha256(named.encode()).hexdigest()[:32]


def run_of(folder: str | Path) -> str:
    """The name that the run of a spool has with trackers; see `run_name`.

    Where the first line is damaged, the name is what of it can still be read there.

    Raises:
        SpoolError: There is no spool.
    """
    with open_spool(spool_file(folder)) as file:
        line = file.readline().removesuffix(b"\n")
    first = parse_line(line)
    if isinstance(first, Stored):
        return run_name(first)
    left = re.search(rb'"run":"([A-Za-z0-9_-]{1,64})"', line)
    return left[1].decode() if left else sha256(line).hexdigest()[:32]


def artifact_name(name: str, run: str) -> str:
    """What an artifact is called among those of all runs; its versions share the name."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    if len(plain) > _LONGEST_NAME:
        plain = f"{plain[:_LONGEST_NAME]}-{sha256(name.encode()).hexdigest()[:12]}"
    return f"{plain}-{run[:12]}"


def dataset_text(dataset: Mapping[str, Any]) -> str:
    """A data set's descriptor as the text that stands for it."""
    return json.dumps(dataset, indent=2, sort_keys=True, default=str)
