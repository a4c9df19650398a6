"""A run's spool, written for tests of what is done with it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from structure_net.logging import RecordStream, Sink, Spool
from structure_net.logging.records import (
    Artifact,
    Edit,
    Epoch,
    Growth,
    RunEnded,
    RunStarted,
    Width,
)

RUN = "0123456789abcdef0123456789abcdef"
CHECKPOINT = b"weights" * 100


def start() -> RunStarted:
    return RunStarted(
        run=RUN,
        name="demo",
        config={"density": 0.02},
        dataset={"name": "digits", "sha256": "abc"},
        seed=3,
        group="pyramids",
        job="wide",
        tags=("test",),
    )


def epoch(number: int) -> Epoch:
    metrics = {"train_loss": 1 / number, "validation_accuracy": float("nan")}
    return Epoch(epoch=number, step=10 * number, metrics=metrics, parameters=50, connections=40)


def picture() -> bytes:
    from PIL import Image

    kept = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(kept, "png")
    return kept.getvalue()


def write_run(
    folder: Path, *, epochs: int = 6, artifacts: bool = True, sinks: Sequence[Sink] = ()
) -> int:
    """Writes a run with growth, artifacts and an end; the number of its last record."""
    with RecordStream(Spool(folder), sinks, patience=250.0) as stream:
        stream.emit(start())
        for number in range(1, epochs + 1):
            stream.emit(epoch(number))
            if number == 3:
                grow(stream, number)
        if artifacts:
            leave_files(stream)
        end = RunEnded(status="finished", scores=({"name": "final", "accuracy": 0.5},))
        last = stream.emit(end)
        stream.flush(250.0)
    return last


def grow(stream: RecordStream, iteration: int) -> None:
    changes = (Width(layer="hidden", before=3, after=6),)
    what = {"type": "AddNeurons", "layer": "hidden", "count": 3}
    stream.emit(Edit(iteration=iteration, component="Wider", edit=what, text="add 3",
                     changes=changes))  # fmt: skip
    said = {"edits": ("add 3",), "reasons": ("plateau",), "measured": {"gain": 0.1}}
    stream.emit(Growth(outcome="accepted", iteration=iteration, component="Wider", **said))


def leave_files(stream: RecordStream) -> None:
    network = stream.spool.put(CHECKPOINT)
    stream.emit(
        Artifact(name="checkpoint.safetensors", type="checkpoint", digest=network.digest,
                 size=network.size, iteration=2)
    )  # fmt: skip
    report, drawn = stream.spool.put(b"# Report"), stream.spool.put(picture())
    stream.emit(
        Artifact(name="report.md", type="report", digest=report.digest, size=report.size,
                 media="text/markdown", made_from=(network.digest,))
    )  # fmt: skip
    stream.emit(
        Artifact(name="evolution.png", type="picture", digest=drawn.digest, size=drawn.size,
                 media="image/png", made_from=(network.digest,))
    )  # fmt: skip
