"""Records in Weights & Biases.

The spool is the truth and W&B a copy: the run's name is fixed, each record is the row whose step is
its number, so that sending again changes nothing. W&B's client runs in a process of its own; see
`wandb_tracker`. Unless asked to go online, nothing touches the network.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structure_net.errors import RecordError, TrackingError
from structure_net.logging.reading import Damage, current, first_of
from structure_net.logging.sinks.credentials import require_key
from structure_net.logging.sinks.tracking_process import TrackingProcess
from structure_net.logging.sinks.wandb_orders import (
    LAB,
    REPORTS,
    Order,
    WandbTarget,
    artifact_key,
    artifact_order,
    begin_order,
    dataset_key,
    dataset_order,
    lab_order,
    report_run,
    row_order,
)
from structure_net.logging.sinks.wandb_trials import is_told, trial_order, trial_run
from structure_net.logging.tracking import Story, run_of

if TYPE_CHECKING:
    from structure_net.logging.guarding import Source
    from structure_net.logging.lines import Stored


@dataclass(frozen=True, slots=True)
class Arrived:
    """What W&B has of a run.

    Args:
        rows: The numbers of the records whose rows it has.
        artifacts: Name and SHA-256 of the artifacts that are whole there, made or used by the run.
        trials: The names of the runs of trials that are whole there.
    """

    rows: frozenset[int] = frozenset()
    artifacts: frozenset[tuple[str, str]] = frozenset()
    trials: frozenset[str] = frozenset()


class WandbSink:
    """Writes a stream to W&B.

    Args:
        target: Where; a project of the name ``structure-net``, offline, if None.
        arrived: What W&B has already, which is not sent again.
        patience: Seconds that the client has to begin, and to finish.
        abandon: Whether the client ends at once when this process is killed, because a queue sends
            everything again; else it brings away what it has.
    """

    name = "wandb"

    def __init__(
        self,
        target: WandbTarget | None = None,
        *,
        arrived: Arrived | None = None,
        patience: float = 60.0,
        abandon: bool = False,
    ) -> None:
        self.target = target or WandbTarget()
        self.process: TrackingProcess | None = None
        self._arrived = arrived or Arrived()
        self._patience = patience
        self._abandon = abandon
        self._story = Story()
        self._folder = Path()
        self._run = ""
        self._facts: Any = None
        self._code = 1
        self._sent: set[str] = set()
        self._told_of: set[int] = set()

    def open(self, source: Source) -> None:
        """Starts W&B's client if the run has begun; else its first record does.

        Raises:
            TrackingError: There is no key, or the client cannot be started.
        """
        self._folder = source.folder
        if self.target.mode == "disabled":
            return
        if self.target.mode == "online":
            require_key(self.target.base_url)
        if source.after:
            first = first_of(source.folder)
            self._begin(first)
            for stored in current(source.folder, on_damage=_passed_over):
                if stored.seq > source.after:
                    break
                with suppress(RecordError):  # so it was no part of the story then either
                    self._story.note(stored)
            if source.after == first.seq > max(self._arrived.rows, default=0):
                # It was written before there was a stream.
                self._tell(row_order(self._run, self._folder, first, self._story))

    def write(self, stored: Stored) -> None:
        """Sends a record.

        Raises:
            TrackingError: W&B's client has ended, or could not do what it was told.
            RecordError: The record is damaged.
            SpoolError: The file of an artifact is missing or damaged; the row was sent.
        """
        if self.target.mode == "disabled":
            return
        if self.process is None:
            self._begin(stored if stored.seq == 1 else first_of(self._folder))
        assert self.process is not None
        self._story.note(stored)
        if stored.seq > max(self._arrived.rows, default=0):
            self._tell(row_order(self._run, self._folder, stored, self._story))
        if stored.kind == "artifact":
            self._file(stored)
        if self.target.tracking == "trials" and is_told(stored):
            self._try(stored)
        if stored.kind == "run_ended":
            self._code = int(stored.data.get("status") == "stopped")
            self.process.wait(self._patience)  # so that what it failed at is told in time
        self._complain()

    def flush(self, deadline: float) -> None:
        """Waits until the client has taken everything.

        Raises:
            TrackingError: It has ended, failed, or takes too long.
        """
        if self.process is None:
            return
        if not self.process.wait(deadline):
            raise TrackingError(f"W&B's client did not take everything in {deadline:.3g} s.")
        self._complain()

    def close(self) -> None:
        """Tells the client to finish, which it does by itself: nobody waits for a network."""
        if self.process is None:
            return
        try:
            self._tell({"do": "finish", "seq": 0, "code": self._code})
        finally:
            if self._abandon:
                self.process.end()
            else:
                self.process.leave()

    def _begin(self, first: Stored) -> None:
        self.process = TrackingProcess(self._folder)
        self._run = run_of(self._folder)
        if first.kind == "run_started":
            with suppress(RecordError):  # told of when its row is sent
                self._facts = first.record
        order = begin_order(self.target, self._run, self._folder, self._facts)
        if first.kind in LAB:
            named = {key: order.get(key) or word for key, word in lab_order(self._folder).items()}
            order |= named
        self._tell(self._patient(order))
        try:
            if not self.process.wait(self._patience):
                raise TrackingError(f"W&B's client did not begin within {self._patience:.3g} s.")
        except TrackingError:
            self.process.kill()
            self.process = None
            raise
        dataset = getattr(self._facts, "dataset", None)
        if dataset and dataset_key(dataset) not in self._arrived.artifacts:
            self._tell(dataset_order(self._run, first.seq, dataset))

    def _patient(self, order: Order) -> Order:
        patient = {**order, "patience": self._patience, "abandon": self._abandon}
        patient |= {"parent": os.getpid()}
        return {**patient, "interval": 0.5} if self._abandon else patient

    def _file(self, stored: Stored) -> None:
        record: Any = stored.record
        if artifact_key(record, self._run) in self._arrived.artifacts:
            return
        order = artifact_order(self._run, self._folder, stored)
        if record.type in REPORTS and record.made_from and self.target.mode == "online":
            order["run"] = self._reporting(record.made_from)
        self._sent.add(record.digest)
        self._tell(order)

    def _try(self, stored: Stored) -> None:
        """Sends a trial as a run of its own, unless it is there."""
        if trial_run(self._run, stored) not in self._arrived.trials:
            order = trial_order(self.target, self._run, str(self._folder), stored)
            self._tell(self._patient(order))

    def _reporting(self, made_from: tuple[str, ...]) -> str:
        """Begins the run that makes reports, and sees that what it uses is there.

        W&B draws lineage through runs only: network, run of reports, report.
        """
        run = report_run(self._run)
        if run not in self._sent:
            order = begin_order(self.target, run, self._folder, self._facts, job_type="report")
            self._tell(self._patient(order))
            self._sent.add(run)
        for stored in current(self._folder, on_damage=_passed_over):
            digest = stored.data.get("digest") if stored.kind == "artifact" else None
            if digest in made_from and digest not in self._sent:
                self._sent.add(digest)
                self._tell(artifact_order(self._run, self._folder, stored))
        return run

    def _tell(self, order: Order) -> None:
        assert self.process is not None
        self.process.tell(order)

    def _complain(self) -> None:
        """Raises what the client failed at since the last time."""
        assert self.process is not None
        self.process.hear()
        news = {seq: why for seq, why in self.process.failed.items() if seq not in self._told_of}
        self._told_of |= set(news)
        for seq, why in news.items():
            raise TrackingError(f"W&B's client could not take record {seq}: {why}")


def _passed_over(_: Damage) -> None:
    """What is damaged in a spool is told of by whoever reads it to send it."""
