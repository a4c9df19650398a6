"""What W&B's client is told about each record, as plain data; see `wandb_tracker`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

from structure_net.logging.blobs import blob_path, check_blob
from structure_net.logging.lines import Stored
from structure_net.logging.tracking import Story, artifact_name, dataset_text, row_of

Mode = Literal["offline", "online", "disabled"]
Tracking = Literal["batch", "trials"]
Order = dict[str, Any]

_TELLING: Final = frozenset({"run_ended", "evidence"})
LAB: Final = frozenset({"hypothesis", "search"})
"""What the spool of a lab begins with."""

REPORTS: Final = frozenset({"report", "picture", "plot"})
"""Types of artifacts that are read from others, and so come from the run of reports."""

_TYPES: Final = {"checkpoint": "model", "picture": "plot"}


@dataclass(frozen=True, slots=True)
class WandbTarget:
    """Where in W&B a run goes.

    Args:
        project: The project.
        entity: Whose project; the account's own if None.
        mode: ``offline``: into files beside the spool; ``online``: to the server, which needs a key
            (`wandb login`); ``disabled``: nowhere, and wandb is not touched.
        group: The experiment that the run belongs to; what its first record says if None.
        job_type: Its part in it, such as an arm; what its first record says if None.
        name: What people call it; what its first record says if None.
        tags: Words to find it by, besides its own.
        base_url: The server; what wandb is set up for if None.
        tracking: What becomes of a lab's trials: ``batch``: rows and a table of the batch's run;
            ``trials``: runs of their own as well, which cost W&B's client a tenth of a second and
            more each, and a batch of ten thousand its usefulness.

    Raises:
        ValueError: There is no such mode or tracking, or W&B takes no project of that name.
    """

    project: str = "structure-net"
    entity: str | None = None
    mode: Mode = "offline"
    group: str | None = None
    job_type: str | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    base_url: str | None = None
    tracking: Tracking = "batch"

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online", "disabled"):
            raise ValueError(f"mode must be 'offline', 'online' or 'disabled'; got {self.mode!r}.")
        if self.tracking not in ("batch", "trials"):
            raise ValueError(f"tracking must be 'batch' or 'trials'; got {self.tracking!r}.")
        if not self.project or set(self.project) & set("/\\#?%:"):
            raise ValueError(
                f"project must be a name without any of / \\ # ? % : in it; got {self.project!r}."
            )


def lab_order(folder: Path) -> Order:
    """What the run of a lab's batch is called where nothing else says so: as its folder is."""
    place = folder.resolve()
    name = (place.parent if place.name == "records" else place).name
    return {"name": name, "job_type": "batch"}


def begin_order(
    target: WandbTarget, run: str, folder: Path, facts: Any, *, job_type: str | None = None
) -> Order:
    """Begins a run, or goes on with it.

    Args:
        target: Where.
        run: Its name, for its whole life.
        folder: Where the client may write.
        facts: Its `RunStarted`; None where it has none.
        job_type: Its part in the experiment, above what others say.
    """
    order: Order = {**asdict(target), "do": "begin", "seq": 0, "run": run, "folder": str(folder)}
    if facts is not None:
        order["group"] = target.group or facts.group or None
        order["job_type"] = job_type or target.job_type or facts.job or None
        order["name"] = target.name or facts.name or None
        order["tags"] = sorted({*target.tags, *facts.tags})
        order["config"] = _config(facts)
    return order


def _config(facts: Any) -> dict[str, Any]:
    """What people filter runs by: what was asked for, the seed, the data set, the versions."""
    found: dict[str, Any] = {**facts.config, "program": facts.program, "versions": facts.versions}
    found["command"] = " ".join(facts.command)
    if facts.seed is not None:
        found["seed"] = facts.seed
    if facts.dataset:
        found["dataset_descriptor"] = facts.dataset
    if facts.network is not None:
        found["network_at_birth"] = facts.network.model_dump(mode="json")
    return {key: value for key, value in found.items() if value not in (None, "", {})}


def dataset_key(dataset: Mapping[str, Any]) -> tuple[str, str]:
    """The name and the SHA-256 of the artifact that stands for a data set."""
    digest = sha256(dataset_text(dataset).encode()).hexdigest()
    return artifact_name(Path(str(dataset.get("name") or "dataset")).name, "dataset"), digest


def dataset_order(run: str, seq: int, dataset: Mapping[str, Any]) -> Order:
    """The data set's descriptor, which the run uses."""
    name, digest = dataset_key(dataset)
    return {
        "do": "artifact",
        "seq": seq,
        "run": run,
        "name": name,
        "type": "dataset",
        "file": "dataset.json",
        "text": dataset_text(dataset),
        "metadata": {**dataset, "sha256": digest},
        "used": True,
    }


def row_order(run: str, folder: Path, stored: Stored, story: Story) -> Order:
    """The record's row; with its picture, and the tables so far where something comes to its end.

    Args:
        run: The run's name.
        folder: The spool's.
        stored: The record.
        story: What the run has done.
    """
    order: Order = {"do": "log", "seq": stored.seq, "run": run, "row": row_of(stored)}
    if stored.kind in _TELLING and stored.data.get("prediction") is None:
        order["tables"] = {
            name: {"columns": table.columns, "rows": table.rows}
            for name, table in story.tables.items()
        }
    record: Any = stored.record
    if stored.kind == "artifact" and record.media.startswith("image/"):
        path = blob_path(folder, record.digest)
        if path.is_file():
            order["images"] = {record.name: str(path.absolute())}
    if stored.kind == "artifact" and record.media == "text/html":
        path = blob_path(folder, record.digest)
        if path.is_file():
            order["pages"] = {record.name: str(path.absolute())}
    if stored.kind == "hypothesis":
        order["config"] = {f"hypotheses/{record.hypothesis}": record.statement}
    if stored.kind == "run_ended":
        order["summary"] = {"status": record.status, **record.summary}
        for score in record.scores:
            name = str(score.get("name") or score.get("label") or "score")
            order["summary"] |= {f"{name}/{k}": v for k, v in score.items() if k != "name"}
    return order


def artifact_key(record: Any, run: str) -> tuple[str, str]:
    """The name and the SHA-256 by which a record's artifact is known."""
    return artifact_name(record.name, run), record.digest


def artifact_order(run: str, folder: Path, stored: Stored) -> Order:
    """A file as a version of an artifact.

    Raises:
        SpoolError: The file is missing, or its bytes are not those that were kept.
    """
    record: Any = stored.record
    blob = check_blob(folder, record.digest)
    metadata = {**record.metadata, "sha256": record.digest, "seq": stored.seq}
    if record.iteration is not None:
        metadata["iteration"] = record.iteration
    return {
        "do": "artifact",
        "seq": stored.seq,
        "run": run,
        "name": artifact_name(record.name, run),
        "type": _TYPES.get(record.type, record.type),
        "file": _inside(record.name),
        "path": str(blob.path.absolute()),
        "metadata": metadata,
        "made_from": list(record.made_from),
    }


def _inside(name: str) -> str:
    """A file's name as a path in an artifact, which leads nowhere else."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".", "..")]
    return "/".join(parts) or "file"


def report_run(run: str) -> str:
    """The name of the run that makes reports out of what a run has left."""
    return f"{run}-report"
