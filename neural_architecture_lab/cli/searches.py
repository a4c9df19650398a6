"""What `nal search` does, and how searches are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neural_architecture_lab.cli.loading import lasting, remember, searches_of
from neural_architecture_lab.configuration import LabConfig
from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.lab import NeuralArchitectureLab
from neural_architecture_lab.progress import progress_on
from neural_architecture_lab.restoring import search_of
from neural_architecture_lab.searching import Search, Searched
from neural_architecture_lab.store import Archive
from structure_net.cli.console import emit, people

if TYPE_CHECKING:
    from rich.console import Console


def search(
    names: Sequence[str], config: LabConfig, *, tries: int | None = None, as_json: bool = False
) -> int:
    """Runs the searches of files, one after the other; 1 where nothing was tried to its end."""
    found: dict[str, tuple[Search, str]] = {}
    for name in names:
        for one in searches_of(name):
            found[one.id] = (one if tries is None else replace(one, tries=tries), lasting(name))
    console = people(quiet=as_json)
    results = run_searches(found, config, console)
    if as_json:
        emit([search_row(one) for one in results])
    else:
        console.print(f"nal report --results {config.folder}", markup=False, soft_wrap=True)
    return 0 if all(one.front for one in results) else 1


def run_searches(
    found: Mapping[str, tuple[Search, str | None]], config: LabConfig, console: Console
) -> list[Searched]:
    """Runs searches, tells of them, and remembers where they came from."""
    lab = NeuralArchitectureLab(config)
    remember(config.folder, {key: source for key, (_, source) in found.items() if source})
    results = []
    for one, _ in found.values():
        said = f"{one.id}: {one.tries} settings, {one.seeds} seed{'s' * (one.seeds > 1)} each"
        console.print(said, markup=False, soft_wrap=True)
        with progress_on(console, "searching", one.tries, "settings") as tell:
            result = lab.search(one, on_result=tell)
        console.print(str(result), markup=False, soft_wrap=True)
        results.append(result.searched)
    return results


def search_again(archive: Archive, key: str, sources: dict[str, str]) -> tuple[Search, str | None]:
    """A search that was begun, from where it came, with as many settings as were planned.

    One that came from no file is made from its record.

    Raises:
        HypothesisError: Neither says where it came from, or it is no longer there.
    """
    begun = archive.searches()[key]
    if key not in sources:
        return search_of(begun), None
    for one in searches_of(sources[key]):
        if one.id == key:
            return replace(one, tries=begun.tries), sources[key]
    raise HypothesisError(f"{sources[key]} no longer holds {key!r}.")


def search_row(found: Searched) -> dict[str, Any]:
    """How far a search is, and what is best, as plain data."""
    return {
        "search": found.id,
        "objectives": dict(found.objectives),
        "settings": len(found.tries) - found.ended("asked"),
        "planned": found.planned,
        "pruned": found.ended("pruned"),
        "failed": found.ended("failed"),
        "trials": found.trials,
        "seconds": found.seconds,
        "best": [
            {"number": one.number, "params": dict(one.params), "values": list(one.values)}
            for one in found.front
        ],
        "hash": found.digest,
    }


def is_unfinished(found: Searched) -> bool:
    """Whether settings are left to be tried."""
    return len(found.tries) - found.ended("asked") < found.planned
