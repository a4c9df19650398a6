"""W&B as a destination: sent by its own client, verified by asking the server.

The client's exit code says nothing (it returns 0 where an artifact was never committed), so that
what counts is what the server answers: the steps in the history, the state of each artifact.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import Any, Final

from structure_net.errors import RecordError, SpoolError, TrackingError
from structure_net.logging.guarding import Source
from structure_net.logging.lines import Stored
from structure_net.logging.sending.destination import Batch, Receipt
from structure_net.logging.sending.graphql import ARTIFACTS, ROWS, TRIALS, VIEWER, ask, understood
from structure_net.logging.sinks.credentials import require_key, server
from structure_net.logging.sinks.wandb import Arrived, WandbSink
from structure_net.logging.sinks.wandb_orders import (
    WandbTarget,
    artifact_key,
    dataset_key,
    report_run,
)
from structure_net.logging.sinks.wandb_trials import MARK, is_told, trial_run
from structure_net.logging.tracking import run_of

_PAGE: Final = 1000
_RUNS: Final = 100
_ANSWER: Final = 10.0
_SETTLING: Final = 5.0
_NO_ROW: Final = "W&B does not have the row"


class WandbDestination:
    """The queue's way to a W&B server.

    Args:
        target: Where; its mode is taken for ``online``.
        settling: Seconds that the server may take to show what it was sent.

    Raises:
        TrackingError: There is no key for the server.
    """

    def __init__(self, target: WandbTarget | None = None, *, settling: float = _SETTLING) -> None:
        asked = target or WandbTarget()
        self._url = server(asked.base_url)
        self._key = require_key(asked.base_url)
        self._target = replace(asked, mode="online", base_url=self._url)
        self._settling = settling
        self._by = float("inf")

    @property
    def name(self) -> str:
        """Server, project and tracking, so that another of them is another queue."""
        entity = f"{self._target.entity}/" if self._target.entity else ""
        trials = ", trials as runs" if self._target.tracking == "trials" else ""
        return f"wandb {self._url} {entity}{self._target.project}{trials}"

    def reach(self, seconds: float) -> None:
        """Asks the server who one is.

        Raises:
            TrackingError: It does not answer, or refuses the key.
        """
        self._by = monotonic() + seconds
        self._entity()

    def send(self, batch: Batch, seconds: float) -> Receipt:
        """Sends what the server has not got yet, then asks what has arrived.

        Raises:
            TrackingError: The server does not answer, or its client cannot begin.
        """
        self._by = monotonic() + seconds
        run = run_of(batch.folder)
        target = replace(self._target, entity=self._entity())
        before = self._arrived(target, run, batch)
        wanted = self._target.tracking == "trials"
        if not _missing(batch, run, before, trials=wanted):
            return Receipt()
        sent = _handed_on(batch, target, before, 0.8 * (self._by - monotonic()))
        for pause in (0.0, 0.1, 0.3, 1.0, self._settling):
            sleep(max(0.0, min(pause, self._by - monotonic())))
            arrived = self._arrived(target, run, batch)
            missing = _missing(batch, run, arrived, trials=wanted)
            if not missing or sent.failed or not sent.ended:
                break
        return _receipt(missing, sent, max(arrived.rows, default=0))

    def _entity(self) -> str:
        with understood(self._url):
            viewer = self._ask(VIEWER, {}).get("viewer")
            if not viewer:
                raise TrackingError(
                    f"{self._url} does not know the key. Run `wandb login --relogin`."
                )
            return str(self._target.entity or viewer["entity"])

    def _arrived(self, target: WandbTarget, run: str, batch: Batch) -> Arrived:
        """What the server has of the records of a batch.

        Raises:
            TrackingError: It does not answer, or says what cannot be understood.
        """
        with understood(self._url):
            return self._told(target, run, batch)

    def _told(self, target: WandbTarget, run: str, batch: Batch) -> Arrived:
        known = {"entity": target.entity, "project": target.project, "run": run}
        first, last = batch.numbers[0], batch.numbers[-1]
        rows: set[int] = set()
        for start in range(first, last + 1, _PAGE):
            stop = min(start + _PAGE, last + 1)
            page = {"minStep": start, "maxStep": stop, "pageSize": _PAGE}
            rows |= _steps(_run_in(self._ask(ROWS, {**known, **page})))
        artifacts = self._artifacts(known)
        if any(stored.kind == "artifact" for stored in batch.records):
            artifacts |= self._artifacts({**known, "run": report_run(run)})
        trials = self._trials(known, batch) if self._target.tracking == "trials" else ()
        return Arrived(frozenset(rows), frozenset(artifacts), frozenset(trials))

    def _trials(self, known: Mapping[str, Any], batch: Batch) -> set[str]:
        """The names of the runs of trials whose last word the server has."""
        marks = {trial_run(known["run"], one): one.seq for one in batch.records if is_told(one)}
        names, found = list(marks), set()
        place = {"entity": known["entity"], "project": known["project"]}
        for start in range(0, len(names), _RUNS):
            page = names[start : start + _RUNS]
            filters = json.dumps({"name": {"$in": page}})
            answer = self._ask(TRIALS, {**place, "filters": filters, "first": len(page)})
            edges = ((answer.get("project") or {}).get("runs") or {}).get("edges") or ()
            for node in (edge["node"] for edge in edges):
                summary = json.loads(node["summaryMetrics"] or "{}")
                if summary.get(MARK) == marks.get(node["name"]):
                    found.add(node["name"])
        return found

    def _artifacts(self, known: Mapping[str, Any]) -> set[tuple[str, str]]:
        """Names and SHA-256 of the artifacts that a run made or used and that are whole."""
        found: set[tuple[str, str]] = set()
        after: dict[str, Any] = {"made": None, "used": None}
        more = True
        while more:
            run = _run_in(self._ask(ARTIFACTS, {**known, **after})) or {}
            more = False
            for place, field in (("made", "outputArtifacts"), ("used", "inputArtifacts")):
                page = run.get(field) or {}
                found |= set(_committed(page.get("edges") or ()))
                info = page.get("pageInfo") or {}
                if info.get("hasNextPage") and info["endCursor"] != after[place]:
                    more, after[place] = True, info["endCursor"]
        return found

    def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        left = self._by - monotonic()
        if left <= 0:
            raise TrackingError(f"{self._url} did not say in time what has arrived.")
        seconds = min(left, _ANSWER)
        return ask(self._url, self._key, query, variables, seconds=seconds)


def _run_in(answer: Mapping[str, Any]) -> Any:
    return (answer.get("project") or {}).get("run")


def _steps(run: Any) -> set[int]:
    rows = (run or {}).get("history") or ()
    return {int(json.loads(row)["_step"]) for row in rows}


def _committed(edges: Iterable[Any]) -> Iterable[tuple[str, str]]:
    for edge in edges:
        node = edge["node"]
        if node["state"] == "COMMITTED":
            metadata = json.loads(node["metadata"] or "{}")
            yield node["artifactSequence"]["name"], str(metadata.get("sha256", ""))


def _missing(batch: Batch, run: str, arrived: Arrived, *, trials: bool) -> dict[int, str]:
    """The records of a batch that have not arrived, whole, with the reason."""
    found: dict[int, str] = {}
    for stored in batch.records:
        if stored.seq not in arrived.rows:
            found[stored.seq] = _NO_ROW
            continue
        try:
            key = _artifact_of(stored, run)
        except RecordError as error:
            found[stored.seq] = str(error)
            continue
        if key is not None and key not in arrived.artifacts:
            found[stored.seq] = f"W&B did not commit the artifact {key[0]}"
        elif trials and is_told(stored) and trial_run(run, stored) not in arrived.trials:
            found[stored.seq] = "W&B does not have the run of the trial"
    return found


def _artifact_of(stored: Stored, run: str) -> tuple[str, str] | None:
    """Name and SHA-256 of the artifact that a record makes; None for none.

    Raises:
        RecordError: The record is damaged.
    """
    record: Any = stored.record if stored.kind in ("artifact", "run_started") else None
    if stored.kind == "artifact":
        return artifact_key(record, run)
    if stored.kind == "run_started" and record.dataset:
        return dataset_key(record.dataset)
    return None


@dataclass(frozen=True, slots=True)
class _Sent:
    """What the client made of a batch: what failed, and whether it came to its end in time."""

    failed: Mapping[int, str]
    ended: bool


def _handed_on(batch: Batch, target: WandbTarget, before: Arrived, seconds: float) -> _Sent:
    """Has the client send a batch.

    Raises:
        TrackingError: The client cannot begin.
    """
    by = monotonic() + seconds
    sink = WandbSink(target, arrived=before, patience=min(600.0, seconds), abandon=True)
    failed: dict[int, str] = {}
    ended = False
    try:
        sink.open(Source(batch.folder, batch.numbers[0] - 1))
        for stored in batch.records:
            try:
                sink.write(stored)
            except (SpoolError, RecordError) as error:
                failed[stored.seq] = str(error)
            except TrackingError:
                if sink.process is None:
                    raise
                if monotonic() > by:
                    break
        ended = _finished(sink, by)
    finally:
        if sink.process is not None:
            failed |= {seq: why for seq, why in sink.process.failed.items() if seq}
            sink.process.kill()
    return _Sent(failed, ended)


def _finished(sink: WandbSink, by: float) -> bool:
    """Whether the client brought everything away in time, as far as it says."""
    try:
        sink.close()
        if sink.process is None:  # nothing could be told
            return True
        return sink.process.wait(by - monotonic()) and sink.process.gone(by - monotonic())
    except TrackingError:  # it was killed
        return False


def _receipt(missing: Mapping[int, str], sent: _Sent, last: int) -> Receipt:
    """What is missing and why; a row behind which W&B has later ones can never be put there."""
    late = {seq for seq, why in missing.items() if why == _NO_ROW and seq < last}
    later = dict.fromkeys(late, "W&B has later rows, and takes none before them")
    said = {seq: why for seq, why in sent.failed.items() if seq in missing}
    reasons = {**missing, **later, **said}
    refused = {seq for seq, why in missing.items() if sent.ended and why != _NO_ROW}
    blamed = refused | (set(sent.failed) & set(missing))
    return Receipt(reasons, frozenset(blamed), frozenset(late))
