"""What a run's folder says about the experiment, read from its records or from its plain files."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from structure_net.errors import JournalError, SearchError, SpoolError
from structure_net.logging.reading import SPOOL, current
from structure_net.logging.search.facts import ExperimentFacts, Scalar
from structure_net.surgery.entries import REJECTED
from structure_net.surgery.journal import Journal

_RECORDS: Final = "records"
_FILES: Final = ("run.json", "history.json", "journal.json")
_HALVES: Final = {"MoveConnections": ("RemoveConnections", "AddConnections")}
_NUMBERS: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def run_folders(folder: str | Path) -> Iterator[Path]:
    """The full paths of the folders of runs in or under ``folder``, in order.

    Raises:
        SearchError: There is no such folder.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise SearchError(f"{folder} is no folder. Name one that holds runs, such as runs.")
    found = {path.parent for path in root.rglob("run.json")}
    for path in root.rglob(SPOOL):
        found.add(path.parent.parent if path.parent.name == _RECORDS else path.parent)
    yield from sorted(found)


def stamp_of(folder: str | Path) -> str:
    """A text that changes when the files of a run do."""
    root = Path(folder)
    places = [root / name for name in _FILES] + [root / SPOOL, root / _RECORDS / SPOOL]
    states = [place.stat() for place in places if place.is_file()]
    return " ".join(f"{state.st_mtime_ns}:{state.st_size}" for state in states)


def facts_of(folder: str | Path) -> ExperimentFacts:
    """What is known of the run in a folder, whose full path is its name.

    Its records are read if there are some and they are whole, else ``run.json``, ``history.json``
    and ``journal.json``.

    Raises:
        SearchError: There is no run in the folder, or a file of it is damaged.
    """
    root = Path(folder).resolve()
    spool = next((p for p in (root / _RECORDS, root) if (p / SPOOL).is_file()), None)
    try:
        if spool is not None:
            try:
                return _from_records(root, spool)
            except SpoolError:
                if not (root / "run.json").is_file():
                    raise
        if (root / "run.json").is_file():
            return _from_files(root)
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, SpoolError, JournalError
    ) as error:  # fmt: skip
        raise SearchError(f"The run in {folder} cannot be read: {_said(error)}") from error
    raise SearchError(
        f"{folder} holds neither {_RECORDS}/{SPOOL} nor run.json, so it is no run. Name the folder "
        "of a run."
    )


def _said(error: Exception) -> str:
    return f"{error.args[0]!r} is missing." if isinstance(error, KeyError) else f"{error}"


def _number(value: Any) -> float | None:
    """A number as it stands in a record, also one that is not finite; None for anything else."""
    if isinstance(value, str):
        return _NUMBERS.get(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    found = ((name, _number(value)) for name, value in values.items())
    return {name: number for name, number in found if number is not None}


def _settings(config: Mapping[str, Any]) -> dict[str, Scalar]:
    """The settings that are single values."""
    return {
        name: value
        for name, value in config.items()
        if isinstance(value, str | int | float) and name not in ("dataset", "data_dir")
    }


def _network(prefix: str, network: Mapping[str, Any] | None) -> dict[str, Any]:
    if not network:
        return {}
    return {
        f"{prefix}{name}": tuple(value) if isinstance(value, list) else value
        for name, value in network.items()
        if value not in ([], None)
    }


class _Gathered:
    """What records said so far."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {"status": "running"}
        self.curves: defaultdict[str, list[float]] = defaultdict(list)
        self.edits: Counter[str] = Counter()
        self.edited_after: defaultdict[str, list[int]] = defaultdict(list)
        self.epochs = 0
        self.strategies: Counter[str] = Counter()
        self.metrics: dict[str, float] = {}
        self.settings: dict[str, Scalar] = {}
        self.taken_back = 0
        self.text: list[str] = []

    def run_started(self, data: Mapping[str, Any], time: str) -> None:
        self.facts |= {"created": time, "seed": data.get("seed"), "tags": data.get("tags", ())}
        self.facts |= {"dataset": str((data.get("dataset") or {}).get("name", ""))}
        self.facts |= _network("start_", data.get("network")) | _network("", data.get("network"))
        config = data.get("config", {})
        self.settings |= _settings(config)
        self.facts["model"] = str(config.get("model", "MLP" if "architecture" in config else ""))
        self.text += [data.get(name, "") for name in ("name", "group", "job", "program")]

    def epoch(self, data: Mapping[str, Any], _: str) -> None:
        self.epochs += 1
        for name, number in _numbers(data["metrics"]).items():
            self.curves[name].append(number)
        self.facts |= {name: data[name] for name in ("parameters", "connections")}
        self.facts["seconds"] = _number(data.get("elapsed")) or self.facts.get("seconds")

    def edit(self, data: Mapping[str, Any], _: str) -> None:
        self.edited(str(data["edit"].get("type", "edit")), data.get("component", ""), self.epochs)

    def edited(self, kind: str, component: str, epochs: int) -> None:
        """Counts an edit that was made behind so many epochs; of one that moves connections its
        two halves, so that it is found with those that were carried out one after the other.
        """
        for part in _HALVES.get(kind, (kind,)):
            self.edits[part] += 1
            self.edited_after[part].append(epochs)
            self.strategies[component] += 1

    def growth(self, data: Mapping[str, Any], _: str) -> None:
        if data["outcome"] in ("refused", "rolled_back"):
            self.taken_back += 1
            self.strategies[data.get("component", "")] += 0
        if data["outcome"] == "opaque":
            self.edited("opaque", data.get("component", ""), self.epochs)
        self.facts |= _network("", data.get("network"))

    def iteration(self, data: Mapping[str, Any], _: str) -> None:
        self.facts |= _network("", data.get("network"))

    def trial(self, data: Mapping[str, Any], _: str) -> None:
        self.metrics |= _numbers(data.get("metrics", {}))
        self.facts |= {"seed": data.get("seed"), "status": data.get("status", "")}
        self.settings |= _settings(data.get("factors", {}))
        self.text += [data.get(name, "") for name in ("trial", "hypothesis", "arm", "error")]

    def hypothesis(self, data: Mapping[str, Any], _: str) -> None:
        self.text += [data.get(name, "") for name in ("name", "question", "prediction", "category")]

    def run_ended(self, data: Mapping[str, Any], _: str) -> None:
        self.facts |= {"status": data["status"], "reason": data.get("reason", "")}
        self.facts["seconds"] = self.facts.get("seconds") or _number(data.get("seconds"))
        self.facts |= _network("", data.get("network"))
        self.metrics |= _scores(data.get("scores", ())) | _numbers(data.get("summary", {}))

    def experiment(self, name: str) -> ExperimentFacts:
        """All of it as one value."""
        self.strategies.pop("", None)
        return ExperimentFacts(
            name=name,
            curves={key: tuple(values) for key, values in self.curves.items()},
            edits=dict(self.edits),
            edited_at={
                kind: tuple(after / max(self.epochs, after, 1) for after in places)
                for kind, places in self.edited_after.items()
            },
            strategies=dict(self.strategies),
            taken_back=self.taken_back,
            metrics=self.metrics,
            settings=self.settings,
            text=" ".join(dict.fromkeys(filter(None, self.text))),
            **self.facts,
        )


def _from_records(root: Path, spool: Path) -> ExperimentFacts:
    gathered = _Gathered()
    for stored in current(spool):
        take = getattr(gathered, stored.kind, None)
        if take is not None:
            take(stored.data, stored.time)
    return gathered.experiment(str(root))


def _scores(scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The results of the network that was evolved, and of those it was compared with.

    The first network's stand under their own names; ``NAME_test_accuracy`` are another's.
    """
    found: dict[str, float] = {}
    for place, score in enumerate(scores):
        prefix = f"{str(score.get('name', place)).replace(' ', '_')}_" if place else ""
        found |= {
            f"{prefix}{name}": number
            for name, number in _numbers(score).items()
            if name.endswith(("_accuracy", "_loss"))
        }
    return found


def _from_files(root: Path) -> ExperimentFacts:
    run = json.loads((root / "run.json").read_bytes())
    history = _read(root / "history.json")
    request, epochs = run["request"], history.get("epochs", [])
    gathered = _Gathered()
    gathered.facts |= {
        "created": run["created"],
        "seed": request.get("seed"),
        "dataset": str(run["dataset"].get("name", request.get("dataset", ""))),
        "model": "MLP",
        "start_widths": tuple(run["architecture"]),
        "widths": tuple(run["architecture"]),
        "start_parameters": run["start_parameters"],
        "start_connections": run["start_connections"],
        "start_density": request.get("density"),
        "status": history.get("status", "running"),
        "reason": history.get("reason", ""),
    }
    gathered.settings = _settings(request)
    for epoch in epochs:
        gathered.epoch(epoch, "")
    for iteration in history.get("iterations", [])[-1:]:
        gathered.facts |= {
            "widths": tuple(iteration["architecture"]),
            **{name: iteration[name] for name in ("parameters", "connections", "density")},
        }
    gathered.metrics |= _scores(history.get("scores", ()))
    _journal(root / "journal.json", gathered, epochs)
    return gathered.experiment(str(root))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return found


def _journal(path: Path, gathered: _Gathered, epochs: Sequence[Mapping[str, Any]]) -> None:
    if not path.is_file():
        return
    journal = Journal.load(path)
    behind: Counter[int] = Counter()
    for epoch in epochs:
        behind[int(epoch["iteration"]) + 1] += 1
    for entry in journal.edits:
        after = sum(count for iteration, count in behind.items() if iteration <= entry.iteration)
        gathered.edited(type(entry.edit).__name__, entry.component, after)
    rejected = journal.events(REJECTED)
    gathered.taken_back = len(rejected)
    for event in rejected:
        gathered.strategies[event.component] += 0
