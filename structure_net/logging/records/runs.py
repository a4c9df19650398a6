"""Records of a run as a whole: its start, its end, its resumption, what it left and what it cost.

A run is whatever writes records: the evolution of one network, or a lab's batch of trials.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from structure_net.logging.records.values import (
    Count,
    Digest,
    FreeObject,
    NetworkFacts,
    Number,
    RecordModel,
    Value,
    Word,
)


class RunStarted(RecordModel):
    """A run begins; the first record of a spool.

    Args:
        run: A name of the run that no other run has, for its whole life.
        name: What people call it.
        program: Which program writes it.
        command: The command line, word by word.
        config: What was asked for.
        dataset: The descriptor of the data.
        network: The network at birth; None where there is none.
        versions: Of the packages, by name.
        seed: Decides the random choices; None where the run has no seed of its own.
        group: The experiment that the run belongs to.
        job: Its part in the experiment, such as an arm.
        tags: Words to find it by.
    """

    kind: Literal["run_started"] = "run_started"
    version: Literal[1] = 1
    run: Word
    name: str = ""
    program: str = ""
    command: tuple[str, ...] = ()
    config: FreeObject = Field(default_factory=dict)
    dataset: FreeObject | None = None
    network: NetworkFacts | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    seed: Count | None = None
    group: str = ""
    job: str = ""
    tags: tuple[str, ...] = ()


class RunEnded(RecordModel):
    """A run is over.

    Args:
        status: ``finished``: to its end; ``interrupted``: by a person; ``stopped``: by an error.
        reason: Why it did not finish.
        seconds: Wall-clock time since it started or was resumed.
        network: The network at the end.
        scores: What was measured at the end, one object for each network that was compared.
        summary: Single results by name.
    """

    kind: Literal["run_ended"] = "run_ended"
    version: Literal[1] = 1
    status: Literal["finished", "interrupted", "stopped"]
    reason: str = ""
    seconds: Number = 0.0
    network: NetworkFacts | None = None
    scores: tuple[FreeObject, ...] = ()
    summary: FreeObject = Field(default_factory=dict)


class Resumed(RecordModel):
    """A run goes on from an earlier point; what it had written after that point is superseded.

    Args:
        after: The number of the last record that stands: those between it and this one do not.
        iteration: The first iteration that is run anew, from 0.
        torn: How many bytes of an unfinished record were cut off the spool.
        reason: Why, in words.
    """

    kind: Literal["resumed"] = "resumed"
    version: Literal[1] = 1
    after: Count
    iteration: Count = 0
    torn: Count = 0
    reason: str = ""


class Artifact(RecordModel):
    """A file that a run left.

    Args:
        name: What it is called; a later artifact of the same name is its next version.
        type: Such as ``checkpoint``, ``journal``, ``report``, ``dataset``, ``plot``.
        digest: The SHA-256 of its bytes, under which the spool's blobs hold it.
        size: Bytes.
        media: The media type of its content.
        iteration: After which iteration it was made; None where that says nothing.
        made_from: The digests of the artifacts that it was made from.
        metadata: What else there is to say.
    """

    kind: Literal["artifact"] = "artifact"
    version: Literal[1] = 1
    name: Word
    type: Word
    digest: Digest
    size: Count
    media: str = "application/octet-stream"
    iteration: Count | None = None
    made_from: tuple[Digest, ...] = ()
    metadata: FreeObject = Field(default_factory=dict)


class Section(Value):
    """A part of a run's time and memory.

    Args:
        name: Such as ``forward``, ``analyzer ExtremaAnalyzer``; parts of parts are joined by ``/``.
        calls: How often it was entered.
        seconds: Wall-clock time in it, parts of it included.
        cuda_seconds: Time of its kernels on the device; None without one.
        peak_bytes: The most memory held in it beyond what was held before; None if not measured.
        cuda_peak_bytes: The same of the device's memory.
    """

    name: Word
    calls: Count
    seconds: Number
    cuda_seconds: Number | None = None
    peak_bytes: int | None = None
    cuda_peak_bytes: int | None = None


class Profile(RecordModel):
    """Where time and memory went.

    Args:
        sections: The parts.
        seconds: Wall-clock time in all.
        iteration: Of which iteration; None for the whole run.
        peak_bytes: The most memory of the process; None if not measured.
        findings: Bottlenecks in words.
    """

    kind: Literal["profile"] = "profile"
    version: Literal[1] = 1
    sections: tuple[Section, ...]
    seconds: Number
    iteration: Count | None = None
    peak_bytes: int | None = None
    findings: tuple[str, ...] = ()


class Missed(RecordModel):
    """What a sink did not get; the spool holds it, so that it can be replayed.

    Args:
        sink: The sink's name.
        first: The number of the first record that it missed.
        last: The number of the last one.
        records: How many it missed from ``first`` to ``last``.
        reason: Why, in words.
    """

    kind: Literal["missed"] = "missed"
    version: Literal[1] = 1
    sink: Word
    first: Count
    last: Count
    records: Count
    reason: str
