"""What the stub of a W&B server keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Run:
    """A run, as the server has it."""

    project: str
    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    complete: bool = False

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.get("wandb-history.jsonl", [])]

    @property
    def steps(self) -> list[int]:
        return [row["_step"] for row in self.history]

    @property
    def summary(self) -> dict[str, Any]:
        lines = self.lines.get("wandb-summary.json", [])
        return json.loads(lines[-1]) if lines else {}


@dataclass
class Artifact:
    """One version of an artifact."""

    id: str
    run: str
    name: str
    type: str
    digest: str
    metadata: str
    client: str
    version: int
    state: str = "PENDING"
    aliases: list[str] = field(default_factory=list)


class State:
    """Runs, artifacts, who uses which, and the bytes that were uploaded.

    Args:
        url: Of the server.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.runs: dict[str, Run] = {}
        self.artifacts: list[Artifact] = []
        self.used: set[tuple[str, str]] = set()
        self.uploads: dict[str, bytes] = {}
        self.views: list[dict[str, Any]] = []

    def run(self, project: str, name: str) -> Run:
        """A run, made if it is not there."""
        return self.runs.setdefault(name, Run(project, name))

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """Lines of a run's files; what comes again at the same offset replaces itself."""
        run = self.runs[name]
        for file, chunk in (body.get("files") or {}).items():
            lines = run.lines.setdefault(file, [])
            start, content = int(chunk["offset"]), chunk["content"]
            if file == "wandb-summary.json":
                lines[:] = content[-1:]
                continue
            assert start <= len(lines), f"{file}: lines before {start} never came"
            lines[start : start + len(content)] = content
        run.complete = run.complete or bool(body.get("complete"))

    def artifact(self, id: str) -> Artifact:
        """The artifact of an id."""
        return next(one for one in self.artifacts if one.id == id)

    def committed(self, type: str) -> list[Artifact]:
        """The artifacts of a type that are whole."""
        found = [one for one in self.artifacts if one.state == "COMMITTED"]
        return [one for one in found if one.type == type]
