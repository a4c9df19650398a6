"""A W&B Report about runs: charts of their metrics and growth, and what their own report says."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structure_net._optional import missing
from structure_net.errors import TrackingError
from structure_net.logging.blobs import blob_path
from structure_net.logging.reading import current
from structure_net.logging.sending.graphql import VIEWER, ask
from structure_net.logging.sinks.credentials import require_key, server
from structure_net.logging.tracking import run_of

if TYPE_CHECKING:
    from structure_net.logging.sinks.wandb_orders import WandbTarget

_LOSSES = ("train_loss", "validation_loss")
_ACCURACIES = ("train_accuracy", "validation_accuracy")
_SIZES = ("network/parameters", "network/connections")
_COUNTS = ("parameters", "connections")


def build_report(
    folders: Sequence[str | Path], target: WandbTarget, *, entity: str, title: str
) -> Any:
    """The report as an object of `wandb_workspaces`, nothing of which is sent yet.

    Args:
        folders: The spools of the runs that it is about, which `structure-net sync` has sent.
        target: Where they were sent.
        entity: Whose project that is.
        title: Of the report.

    Raises:
        ImportError: The extra ``reports`` is not installed.
        SpoolError: There is no spool in a folder.
    """
    try:
        blocks: Any = import_module("wandb_workspaces.reports.v2")
    except ImportError as error:
        raise missing("wandb-workspaces", "reports", error) from error
    names = [run_of(folder) for folder in folders]
    runs = blocks.Runset(
        project=target.project,
        entity=entity,
        name="These runs",
        filters=f"Metric('ID') in {names!r}",
    )
    plots = [
        blocks.LinePlot(title=heading, x="epoch", y=list(metrics))
        for heading, metrics in (("Loss", _LOSSES), ("Accuracy", _ACCURACIES), ("Size", _SIZES))
    ]
    said = [text for folder in folders if (text := _own_report(Path(folder)))]
    labs = {key: facts for folder in folders for key, facts in _tested(Path(folder)).items()}
    if labs and target.tracking == "batch":
        tables = ("tables/evidence", "tables/trials")
        plots = [blocks.WeavePanelSummaryTable(table_name=name) for name in tables]
    parts = [blocks.PanelGrid(runsets=[runs], panels=plots)]
    if labs and target.tracking == "trials":
        parts = [_arms(blocks, target, entity, *one) for one in labs.items()]
    parts += [blocks.MarkdownBlock(text=text) for text in said]
    return blocks.Report(project=target.project, entity=entity, title=title, blocks=parts)


def _tested(folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The hypotheses of a lab's spool: by id the name, and the metrics that are predicted."""
    found = {}
    for stored in current(folder):
        if stored.kind == "hypothesis":
            record: Any = stored.record
            metrics = dict.fromkeys(one.metric for one in record.predictions)
            found[str(record.hypothesis)] = (str(record.name), tuple(metrics))
    return found


def _arms(
    blocks: Any, target: WandbTarget, entity: str, one: str, facts: tuple[str, tuple[str, ...]]
) -> Any:
    """The trials of a hypothesis by their arms: what is predicted, and how they learned."""
    name, metrics = facts
    trials = blocks.Runset(
        project=target.project,
        entity=entity,
        name=name,
        filters=f"Metric('Group') == {one!r}",
        groupby=["jobType"],
    )
    plots = [
        blocks.BarPlot(title=metric, metrics=[metric], groupby="jobType") for metric in metrics
    ]
    plots += [
        blocks.LinePlot(title=heading, x="epoch", y=list(curves), groupby="jobType")
        for heading, curves in (("Loss", _LOSSES), ("Accuracy", _ACCURACIES), ("Size", _COUNTS))
    ]
    return blocks.PanelGrid(runsets=[trials], panels=plots)


def publish_report(
    folders: Sequence[str | Path], target: WandbTarget, *, title: str = "Structure Net"
) -> str:
    """Makes the report at the server that wandb is set up for.

    Args:
        folders: The spools of the runs that it is about.
        target: Where they were sent.
        title: Of the report.

    Returns:
        The report's address.

    Raises:
        ImportError: The extra ``reports`` is not installed.
        TrackingError: There is no key, or the server refuses.
    """
    key, url = require_key(target.base_url), server(target.base_url)
    if url != server():
        raise TrackingError(
            f"Reports go to {server()}, which wandb is set up for; set WANDB_BASE_URL to {url}."
        )
    viewer = ask(url, key, VIEWER, {}, seconds=10.0).get("viewer") or {}
    entity = target.entity or viewer.get("entity")
    if not entity:
        raise TrackingError(f"{url} does not know the key. Run `wandb login --relogin`.")
    report = build_report(folders, target, entity=entity, title=title)
    try:
        report.save()
    except Exception as error:  # the package raises what its parts raise, and bare exceptions
        raise TrackingError(f"W&B did not take the report: {error}") from error
    return str(report.url)


def _own_report(folder: Path) -> str:
    """The newest report that a run has left, as Markdown; empty where there is none."""
    text = ""
    for stored in current(folder):
        if stored.kind == "artifact" and stored.data.get("media") == "text/markdown":
            path = blob_path(folder, str(stored.data.get("digest")))
            text = path.read_text("utf-8") if path.is_file() else text
    return text
