"""What a lab keeps: hypotheses as they were frozen, every trial as it ended, the evidence.

All of it is one spool of `structure_net.logging` in the folder ``records``: appended, checked by
CRC, on the disk before the lab goes on. Nothing is held in memory but the names of trials, so that
a lab may run ten thousand of them; whatever is asked for is read from the disk.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from neural_architecture_lab.errors import StoreError
from neural_architecture_lab.hypothesis import Hypothesis
from neural_architecture_lab.indexing import SpoolIndex
from neural_architecture_lab.judgement import Evidence, Verdict
from neural_architecture_lab.outcomes import mean_of
from neural_architecture_lab.recording import (
    evidence_record,
    hypothesis_record,
    trial_record,
    verdict_record,
)
from neural_architecture_lab.runners.protocol import Result
from neural_architecture_lab.trials import Design
from structure_net.errors import StructureNetError
from structure_net.logging import RecordStream, Sink, Spool

if TYPE_CHECKING:
    from structure_net.logging.records import Evidence as EvidenceRecord
    from structure_net.logging.records import Search as SearchRecord
    from structure_net.logging.records import Setting as SettingRecord
    from structure_net.logging.records import Trial as TrialRecord

RECORDS = "records"


@dataclass(frozen=True, slots=True)
class Frozen:
    """A hypothesis as it was before its first trial.

    Args:
        id: The hypothesis's id.
        name: Its name.
        category: Its category.
        question: Its question.
        prediction: Its prediction in words.
        digest: The hash of all that was fixed.
        statement: What was hashed, as plain data.
        seq: The number of the record; its trials come later.
        time: When it was frozen: ISO 8601, UTC.
    """

    id: str
    name: str
    category: str
    question: str
    prediction: str
    digest: str
    statement: Mapping[str, Any]
    seq: int
    time: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """What each trial of a frozen hypothesis is told, by arm and point."""

    told: Mapping[tuple[str, int], str]
    seeds: int

    @classmethod
    def of(cls, statement: Mapping[str, Any]) -> Self:
        arms = statement.get("arms", {}).items()
        points = list(enumerate(statement.get("points", ({},))))
        told = {(arm, at): _one_form({**s, **point}) for arm, s in arms for at, point in points}
        return cls(told, int(statement.get("seeds", 0)))

    def holds(self, trial: TrialRecord) -> bool:
        told = self.told.get((trial.arm, trial.point))
        return trial.seed < self.seeds and told == _one_form(trial.settings)


def _one_form(settings: Mapping[str, Any]) -> str:
    """Plain data as text that is the same for the same data, whatever not being a number equals."""
    return json.dumps(settings, sort_keys=True)


class Archive:
    """Reads what a lab keeps, while the lab may be writing.

    Args:
        folder: The lab's folder of results.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._index = SpoolIndex(self.spool_folder)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    @property
    def spool_folder(self) -> Path:
        """The folder of the spool."""
        return self.folder / RECORDS

    def hypotheses(self) -> dict[str, Frozen]:
        """All hypotheses that were frozen, by id, the newest form of each."""
        return {one: forms[-1] for one, forms in self.forms().items()}

    def forms(self) -> dict[str, tuple[Frozen, ...]]:
        """Every form in which each hypothesis was frozen, by id, the first one first."""
        found: dict[str, tuple[Frozen, ...]] = {}
        for stored, record in self._of_kind("hypothesis"):
            frozen = Frozen(
                record.hypothesis,
                record.name,
                record.category,
                record.question,
                record.prediction,
                record.digest or "",
                record.statement,
                stored.seq,
                stored.time,
            )
            found[frozen.id] = (*found.get(frozen.id, ()), frozen)
        return found

    def trials(self, hypothesis: str) -> Iterator[TrialRecord]:
        """The trials of a hypothesis, in the order in which they ended, one at a time.

        A trial that was tried several times comes once for each attempt that was recorded. Those
        that ran when the hypothesis was frozen in another form count where they were told what
        they would be told now; others are no trials of it any more, nor are further seeds.
        """
        form = self.hypotheses().get(hypothesis)
        plan = None if form is None else _Plan.of(form.statement)
        for _, record in self._of_kind("trial", hypothesis):
            if plan is None or plan.holds(record):
                yield record

    def latest(self, hypothesis: str) -> dict[str, TrialRecord]:
        """The last record of each trial of a hypothesis, by the trial's id; all of it in memory."""
        return {trial.trial: trial for trial in self.trials(hypothesis)}

    def done(self, hypothesis: str) -> set[str]:
        """The ids of the trials of a hypothesis that ended, well or not."""
        return {one.trial for one in self.trials(hypothesis) if one.status != "cancelled"}

    def values(
        self, hypothesis: str, metrics: Sequence[str], points: int
    ) -> dict[str, dict[str, dict[int, float]]]:
        """Metrics by arm and seed, averaged over the points of the factors.

        A seed of which an arm lacks a point, or at which a metric is missing or not a number, has
        no value there: means over other points would compare other things.

        Args:
            hypothesis: The hypothesis's id.
            metrics: Which metrics.
            points: How many points of the factors each seed has.

        Returns:
            ``{metric: {arm: {seed: mean}}}``.
        """
        last: dict[str, tuple[str, int, dict[str, float]]] = {}
        for trial in self.trials(hypothesis):
            known = trial.metrics if trial.status == "finished" else {}
            wanted = {metric: known[metric] for metric in metrics if metric in known}
            last[trial.trial] = (trial.arm, trial.seed, wanted)
        sums: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        for arm, seed, found in last.values():
            for metric, value in found.items():
                sums[metric, arm, seed].append(value)
        table: dict[str, dict[str, dict[int, float]]] = {metric: {} for metric in metrics}
        for (metric, arm, seed), values in sorted(sums.items()):
            mean = mean_of(values)
            if len(values) == points and math.isfinite(mean):
                table[metric].setdefault(arm, {})[seed] = mean
        return table

    def evidence(self, hypothesis: str) -> tuple[EvidenceRecord, ...]:
        """The last judgement of a hypothesis: one for each prediction, and one for the whole."""
        found: dict[int | None, EvidenceRecord] = {}
        for _, record in self._of_kind("evidence", hypothesis):
            found[record.prediction] = record
        return tuple(found.values())

    def searches(self) -> dict[str, SearchRecord]:
        """All searches that were begun, by id, the newest form of each."""
        return {record.search: record for _, record in self._of_kind("search")}

    def settings(self, search: str) -> Iterator[SettingRecord]:
        """What became of the settings of a search, one step at a time, in its order."""
        for _, record in self._of_kind("setting", search):
            yield record

    @property
    def _spool_file(self) -> Path:
        return self.spool_folder / "records.jsonl"

    def _of_kind(self, kind: str, owner: str | None = None) -> Iterator[tuple[Any, Any]]:
        if not self._spool_file.exists():
            return
        try:
            for stored in self._index.records(kind, owner):
                yield stored, stored.record
        except StructureNetError as error:
            raise StoreError(str(error)) from error


class Store(Archive):
    """An archive that is written to; a folder has one at a time.

    Args:
        folder: Is made if it does not exist.
        sinks: Who else is told of every record, without ever holding up the lab.

    Raises:
        StoreError: The folder cannot be written, or another lab writes to it.
    """

    def __init__(self, folder: str | Path, sinks: Sequence[Sink] = ()) -> None:
        super().__init__(folder)
        try:
            self._stream = RecordStream(Spool(self.spool_folder), sinks)
        except StructureNetError as error:
            raise StoreError(str(error)) from error

    def freeze(self, hypothesis: Hypothesis, design: Design) -> tuple[str, ...]:
        """Records a hypothesis before its first trial.

        Returns:
            What differs from how it was frozen before, in words; nothing the first time.

        Raises:
            StoreError: It cannot be written, or a search has its name.
        """
        if hypothesis.id in self.searches():
            raise StoreError(
                f"{self.folder} holds a search named {hypothesis.id!r}, and trials go by that name;"
                " give the hypothesis another one."
            )
        before = self.hypotheses().get(hypothesis.id)
        if before is not None and before.digest == design.hash:
            return ()
        self._emit(hypothesis_record(hypothesis, design))
        return () if before is None else deviations(before.statement, design.statement)

    def begin(self, search: SearchRecord) -> None:
        """Records a search before its first trial, or what changed of it.

        Raises:
            StoreError: It cannot be written, or a hypothesis has its name.
        """
        if search.search in self.hypotheses():
            raise StoreError(
                f"{self.folder} holds a hypothesis named {search.search!r}, and trials go by that"
                " name; give the search another one."
            )
        self._emit(search)

    def note(self, setting: SettingRecord) -> None:
        """Records a step of one setting of a search.

        Raises:
            StoreError: It cannot be written.
        """
        self._emit(setting)

    def append(self, result: Result, runner: str) -> Result:
        """Records a trial that ended; it is on the disk when `flush` returns.

        Returns:
            It as it is recorded: one that brought back what no record can hold has failed.

        Raises:
            StoreError: It cannot be written: the disk is full, say. What was written is kept.
        """
        try:
            record = trial_record(result, runner)
        except ValueError as error:
            said = " ".join(str(error).split())
            told = f"OutcomeError: What it brought back cannot be kept: {said}"
            result = replace(result, status="failed", outcome=None, error=told)
            record = trial_record(result, runner)
        self._emit(record)
        return result

    def judge(
        self,
        hypothesis: str,
        evidence: Sequence[Evidence],
        verdict: tuple[Verdict, str],
        *,
        changed: Sequence[str] = (),
        how: Mapping[str, str] | None = None,
    ) -> None:
        """Records a judgement: of each prediction, and of the whole.

        Args:
            hypothesis: The hypothesis's id.
            evidence: Its predictions, judged.
            verdict: That on the whole, and why.
            changed: What differs from how it was frozen before, in words.
            how: What ran the trials and why, as words by name.

        Raises:
            StoreError: It cannot be written.
        """
        for place, one in enumerate(evidence):
            self._emit(evidence_record(hypothesis, place, one))
        self._emit(verdict_record(hypothesis, *verdict, changed=changed, how=how or {}))
        self.flush()

    def keep(self, name: str, content: bytes, *, media: str, type: str) -> bool:
        """Keeps a file among the records, where it differs from the last one of its name.

        Args:
            name: Of the file; a later one of the same name is its next version.
            content: Its bytes.
            media: Their media type.
            type: What it is, such as ``report``.

        Returns:
            Whether it is new.

        Raises:
            StoreError: It cannot be written.
        """
        from structure_net.logging.records import Artifact

        try:
            blob = self._stream.spool.put(content)
        except StructureNetError as error:
            raise StoreError(str(error)) from error
        last = ""
        for _, record in self._of_kind("artifact"):
            last = record.digest if record.name == name else last
        if blob.digest == last:
            return False
        self._emit(Artifact(name=name, type=type, digest=blob.digest, size=blob.size, media=media))
        return True

    def flush(self) -> None:
        """Waits until everything is on the disk.

        Raises:
            StoreError: The disk refuses it.
        """
        try:
            self._stream.spool.flush()
        except StructureNetError as error:
            raise StoreError(str(error)) from error

    def close(self) -> None:
        """Brings everything to the disk, and lets others write."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _emit(self, record: Any) -> None:
        try:
            self._stream.emit(record)
        except StructureNetError as error:
            raise StoreError(str(error)) from error


def deviations(
    before: Mapping[str, Any], now: Mapping[str, Any], within: str = ""
) -> tuple[str, ...]:
    """What differs between two statements, in words, one line each."""
    found: list[str] = []
    for key in sorted({*before, *now}):
        name = f"{within}{key}"
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += deviations(old, new, f"{name}.")
        elif old != new:
            found.append(f"{name} was {old!r} and is {new!r}")
    return tuple(found)
