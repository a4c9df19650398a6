"""Hypotheses by what is typed: a name of the library, or a file that defines some.

A folder of results remembers where its hypotheses came from, so that `nal resume` needs no words.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

from neural_architecture_lab.errors import HypothesisError, StoreError
from neural_architecture_lab.experiments import (
    available_hypotheses,
    completed,
    evolve,
    on_dataset,
    place,
    ready_hypothesis,
)
from neural_architecture_lab.hypothesis import Hypothesis
from neural_architecture_lab.restoring import hypothesis_of
from neural_architecture_lab.searching import Search
from neural_architecture_lab.store import Archive, Frozen
from structure_net.data.registry import registered

SOURCES: Final = "sources.json"
_Kind = TypeVar("_Kind")


def hypotheses_of(text: str) -> tuple[Hypothesis, ...]:
    """The hypotheses of a name of the library, of ``FILE.py``, or of ``FILE.py:NAME``.

    A file is imported under its own name, from its own folder, so that workers find what it holds;
    what it does when it is imported happens once.

    Raises:
        HypothesisError: There is no such name or file, or it holds no hypothesis.
    """
    if not _is_file(text):
        return (ready_hypothesis(text),)
    known = f", or a name of the library: {', '.join(available_hypotheses())}"
    return _held(text, Hypothesis, "hypothesis", known)


def loaded(
    names: Sequence[str],
    *,
    seeds: int | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
) -> list[tuple[Hypothesis, str]]:
    """Hypotheses by name or file, each with what it is found again by.

    Args:
        names: What was typed.
        seeds: How many seeds of each arm; as they say if None.
        dataset: What those of the library run on, by name, or as ``FILE.py:NAME`` where a file
            registers it; what they say if None.
        data_dir: The folder that holds it.

    Raises:
        HypothesisError: One is not there, or does not go to these data.
        DatasetError: There is no such data set, or not in this folder.
    """
    if data_dir is not None and dataset is None:
        raise HypothesisError("--data-dir says where a data set lies; say which by --dataset.")
    folder = None if data_dir is None else str(Path(data_dir).expanduser().resolve())
    dataset = None if dataset is None else _registered_by(dataset)
    found = []
    for name in names:
        for one in hypotheses_of(name):
            moved = one if dataset is None else on_dataset(completed(one), dataset, folder)
            found.append((moved if seeds is None else replace(moved, seeds=seeds), lasting(name)))
    return found


def searches_of(text: str) -> tuple[Search, ...]:
    """The searches of ``FILE.py``, or of ``FILE.py:NAME``.

    Raises:
        HypothesisError: There is no such file, or it holds no search.
    """
    if not _is_file(text):
        raise HypothesisError(f"{text!r} is no file; give one that holds a search, as FILE.py.")
    return _held(text, Search, "search")


def lasting(text: str) -> str:
    """What was typed, so that it means the same from any folder."""
    if not _is_file(text):
        return text
    file, name = _split(text)
    return f"{Path(file).expanduser().resolve()}{':' if name else ''}{name}"


def remember(folder: Path, sources: dict[str, str]) -> None:
    """Keeps where hypotheses came from, by id, beside their results.

    Raises:
        StoreError: The folder is a file, or cannot be written.
    """
    if folder.is_file():
        raise StoreError(f"{folder} is a file; name a folder for the results, --results DIR.")
    place = folder / SOURCES
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = place.with_suffix(".new")
        fresh.write_text(json.dumps({**remembered(folder), **sources}, indent=2), "utf-8")
        fresh.replace(place)
    except OSError as error:
        raise StoreError(
            f"{place} cannot be written: {error.strerror}. Name a folder that can be:"
            " --results DIR."
        ) from error


def remembered(folder: Path) -> dict[str, str]:
    """Where the hypotheses of a folder came from, by id; nothing where nobody kept it.

    Raises:
        StoreError: What was kept cannot be read.
    """
    place = folder / SOURCES
    if not place.exists():
        return {}
    try:
        return {str(key): str(value) for key, value in json.loads(place.read_text("utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{place} cannot be read ({error}); delete it, and name the file or the hypothesis in"
            " `nal run` to go on."
        ) from error


def found_again(frozen: Frozen, sources: dict[str, str]) -> Hypothesis:
    """A hypothesis that was frozen, from where it came, with as many seeds as were planned.

    One that came from no file, such as a follow-up that a program ran, is made from its record.

    Raises:
        HypothesisError: Neither says where it came from, or it is no longer there.
    """
    if frozen.id not in sources:
        return hypothesis_of(frozen)
    for one in hypotheses_of(sources[frozen.id]):
        if one.id == frozen.id:
            return replace(_there(one, frozen), seeds=int(frozen.statement["seeds"]))
    raise HypothesisError(f"{sources[frozen.id]} no longer holds {frozen.id!r}.")


def _there(one: Hypothesis, frozen: Frozen) -> Hypothesis:
    """A hypothesis of the library on the data that it was frozen with."""
    arms = list(frozen.statement["arms"].values())
    dataset = arms[0].get("dataset")
    given = any("dataset" in arm.settings for arm in one.arms)
    if dataset is None or given or one.experiment not in (None, evolve, place):
        return one
    return on_dataset(completed(one), dataset, arms[0].get("data_dir"))


def existing(folder: Path) -> Archive:
    """What is stored in a folder of results.

    Raises:
        StoreError: There is no such folder, or no lab has written to it.
    """
    archive = Archive(folder)
    if (archive.spool_folder / "records.jsonl").exists():
        return archive
    if not folder.exists():
        raise StoreError(
            f"There is no folder {folder}; name the one that holds the results, --results DIR."
        )
    what = "holds no results of a lab" if folder.is_dir() else "is a file"
    raise StoreError(f"{folder} {what}; name the folder of results, --results DIR.")


def _split(text: str) -> tuple[str, str]:
    file, colon, name = text.rpartition(":") if ".py:" in text else (text, "", "")
    return file, name if colon else ""


def _is_file(text: str) -> bool:
    return _split(text)[0].endswith(".py")


def _read(text: str, known: str = "") -> tuple[ModuleType, str]:
    file, name = _split(text)
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise HypothesisError(f"There is no file {path}; give one{known}.")
    return _imported(path), name


def _held(text: str, kind: type[_Kind], word: str, known: str = "") -> tuple[_Kind, ...]:
    module, name = _read(text, known)
    file = Path(_split(text)[0]).name
    found = {key: value for key, value in vars(module).items() if isinstance(value, kind)}
    if name and name not in found:
        raise HypothesisError(
            f"{file} holds no {word} {name!r}; it holds {', '.join(found) or 'none'}."
        )
    if not found:
        raise HypothesisError(
            f"{file} holds no {word}: assign one, NAME = {kind.__name__}(...), at its top."
        )
    return (found[name],) if name else tuple(found.values())


def _registered_by(dataset: str) -> str:
    """The name of a data set; the file that registers it is imported, where one is named."""
    file, colon, name = dataset.partition(".py:")
    if not colon and not dataset.endswith(".py"):
        return dataset
    _read(file if dataset.endswith(".py") else f"{file}.py")
    plain = name.partition(":")[0]  # without its options
    known = [one.name for one in registered()]
    if plain not in known:
        file = Path(file).stem + ".py"
        raise HypothesisError(
            f"{file} registers no data set {plain!r}; registered are {', '.join(known) or 'none'}."
            " Say which as FILE.py:NAME, and let the file call register_dataset(NAME, ...)."
        )
    return name


def _imported(path: Path) -> ModuleType:
    name, folder = path.stem, str(path.parent)
    if not name.isidentifier():
        raise HypothesisError(f"{path.name} must have a name that Python can import.")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = import_module(name)
    except Exception as error:
        raise HypothesisError(
            f"{path.name} cannot be imported: {type(error).__name__}: {error}"
            f" ({_place(error, path)})."
        ) from error
    if Path(getattr(module, "__file__", None) or "").resolve() != path:
        raise HypothesisError(
            f"{path.name} has the name of another module, {name!r}; give it another one."
        )
    return module


def _place(error: Exception, path: Path) -> str:
    """The last line of a file that an error went through."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) == path
    ]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno)
    return f"line {lines[-1]}" if lines else "in what it imports"
