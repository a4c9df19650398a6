"""The program that holds W&B's client: it takes orders as lines of JSON, and answers each by one.

It runs in a process of its own, so that whatever the client does (it blocks, its service is killed,
its server hangs) stays away from the run, and it imports nothing of this package. When its orders
end without a last word, because who gave them was killed, it brings away what it has; or it ends at
once, where a queue has it all and sends it again. The only file that knows wandb's client.

    {"do": "begin", "seq": 0, "run": "...", "project": "...", ...}     one run; a second for reports
    {"do": "log", "seq": 7, "row": {...}, "tables": {...}, "images": {...}}
    {"do": "trial", "seq": 8, "run": "...", "project": "...", "rows": [...], "summary": {...}, ...}
    {"do": "artifact", "seq": 8, "name": "...", "path": "..." or "text": "...", ...}
    {"do": "finish", "seq": 9, "code": 0}
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import wandb
from PIL import Image

CHARTS = {
    "growth": ("wandb/scatter/v0", {"x": "epoch", "y": "parameters"}, "Growth"),
    "trials": ("wandb/scatter/v0", {"x": "seed", "y": "seconds"}, "Trials"),
    "evidence": ("wandb/scatter/v0", {"x": "prediction", "y": "effect"}, "Evidence"),
}
"""The custom chart of a table: W&B's preset, its fields, its title."""


_WATCH = 0.2


class Tracker:
    """Carries out orders with W&B's client."""

    def __init__(self) -> None:
        self.runs: dict[str, wandb.Run] = {}
        self._kept: dict[str, wandb.Artifact] = {}
        self._drawn: set[str] = set()
        self._offline = self.finished = False
        self.abandon = False
        self._patience = 60.0

    def begin(self, order: dict[str, Any]) -> None:
        """Begins a run, or goes on with it."""
        self._offline = order["mode"] == "offline"
        self.abandon = bool(order.get("abandon"))
        if self.abandon:
            _end_with(order["parent"])
        self._patience = float(order.get("patience", 60.0))
        self.runs[order["run"]] = _begun(order)

    def log(self, order: dict[str, Any]) -> None:
        """One row of the history, with the tables and images that belong to it."""
        row = dict(order["row"])
        if "epoch" in row:
            self._over_epochs(row)
        for name, table in (order.get("tables") or {}).items():
            made = wandb.Table(columns=table["columns"], data=table["rows"])
            row[f"tables/{name}"] = made
            if name in CHARTS:
                preset, fields, title = CHARTS[name]
                row[f"charts/{name}"] = wandb.plot_table(preset, made, fields, {"title": title})
        for name, path in (order.get("pages") or {}).items():
            row[f"pages/{name}"] = wandb.Html(Path(path).read_text("utf-8"), inject=False)
        for name, path in (order.get("images") or {}).items():
            with Image.open(path) as picture:
                row[f"plots/{name}"] = wandb.Image(picture)
        run = self.runs[order["run"]]
        run.log(row, step=order["seq"])
        run.summary.update(order.get("summary") or {})
        if order.get("config"):
            run.config.update(  # type: ignore[no-untyped-call]
                order["config"], allow_val_change=True
            )

    def trial(self, order: dict[str, Any]) -> None:
        """A run of its own from beginning to end: a row an epoch, and what came out."""
        run = _begun(order)
        try:
            for step, row in enumerate(order["rows"], start=1):
                run.log(row, step=step)
            run.summary.update(order["summary"])
        finally:
            run.finish(exit_code=order["code"])

    def _over_epochs(self, row: dict[str, Any]) -> None:
        """Has charts of what comes once an epoch begin with epochs for their axis."""
        new = row.keys() - self._drawn
        self._drawn |= new
        for run in self.runs.values():
            for name in sorted(new - {"epoch"}):
                run.define_metric(name, step_metric="epoch")

    def artifact(self, order: dict[str, Any]) -> None:
        """A version of an artifact: what the run made, or what it was made from."""
        artifact = wandb.Artifact(
            order["name"], order["type"], metadata=order["metadata"], description=order.get("about")
        )
        if order.get("text") is not None:
            with artifact.new_file(order["file"]) as file:
                file.write(order["text"])
        else:  # the spool's blobs never change, so that nothing has to be copied first
            artifact.add_file(order["path"], order["file"], policy="immutable", skip_cache=True)
        run = self.runs[order["run"]]
        if order.get("used") and not self._offline:  # what is used needs a server
            run.use_artifact(artifact)
            return
        for key in order.get("made_from") or ():
            if key in self._kept and not self._offline:
                run.use_artifact(self._kept[key].wait())
        run.log_artifact(artifact, aliases=order.get("aliases"))
        self._kept[order["metadata"]["sha256"]] = artifact

    def finish(self, order: dict[str, Any]) -> None:
        """The runs are over; returns when the client has brought away what it has."""
        self.finished = True
        # With a server that hangs, the client's service may wait for ever after its own time-out.
        watch = threading.Timer(2 * self._patience, os.killpg, (0, signal.SIGKILL))
        watch.daemon = True
        watch.start()
        while self.runs:
            _, run = self.runs.popitem()
            run.finish(exit_code=order.get("code", 0))


def _end_with(parent: int) -> None:
    """Ends this process and the client's service as soon as the process ``parent`` is gone.

    The end of the orders alone would be seen only after the client's call that is under way, which
    a server may hold up for minutes; as long, nobody else could send.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _begun(order: dict[str, Any]) -> wandb.Run:
    names = ("project", "entity", "mode", "group", "job_type", "name", "tags", "config")
    return wandb.init(
        id=order["run"],
        resume="allow",
        reinit="create_new",
        dir=order["folder"],
        settings=_settings(order),
        **{name: order[name] for name in names if order.get(name)},
    )


def _settings(order: dict[str, Any]) -> wandb.Settings:
    given = {"base_url": order["base_url"]} if order.get("base_url") else {}
    return wandb.Settings(
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_file_stream_transmit_interval=order.get("interval", 5.0),
        init_timeout=order.get("patience", 30.0),
        finish_timeout=order.get("patience", 60.0),
        **given,
    )


def main() -> None:
    """Carries out the orders on standard input, one after another."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the client prints is no answer
    tracker = Tracker()
    for line in sys.stdin:
        order = json.loads(line)
        if not _obey(getattr(tracker, order["do"]), order, answers) or tracker.finished:
            break  # a process that was forked meanwhile may hold the orders open for ever
    if tracker.abandon and not tracker.finished:
        os.killpg(0, signal.SIGKILL)  # the client's service too: nobody may send beside the next
    tracker.finish({"code": 1})


def _obey(work: Callable[[dict[str, Any]], None], order: dict[str, Any], answers: TextIO) -> bool:
    """Carries out one order and answers; whether there is any use in another."""
    said: dict[str, Any] = {"seq": order["seq"], "do": order["do"]}
    try:
        work(order)
    except Exception as error:  # noqa: BLE001 - whatever the client raises, the answer says it
        said["failed"] = f"{type(error).__name__}: {error}"[:1000]
    try:
        answers.write(json.dumps(said) + "\n")
        answers.flush()
    except BrokenPipeError:  # nobody listens any more; the orders in the pipe still count
        return True
    return not ("failed" in said and order["do"] == "begin")


if __name__ == "__main__":
    for folder in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        if folder in os.environ:
            Path(os.environ[folder]).mkdir(parents=True, exist_ok=True)
    main()
