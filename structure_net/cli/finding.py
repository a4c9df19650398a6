"""The commands ``structure-net find`` and ``structure-net similar``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from structure_net.cli.console import emit, fail, people, plain_table
from structure_net.cli.flags import Json
from structure_net.cli.parsing import whole_of
from structure_net.errors import SearchError
from structure_net.surgery.entries import plain

if TYPE_CHECKING:
    from structure_net.logging.search import ExperimentFacts, ExperimentIndex, Found, Question

INDEX: Final = ".index"
"""The folder of the index, among the runs that it is made from."""

FIND_HELP = """Finds runs by what they are, in words, by exact filters, or both.

The words name what a run is like: its size and shape, how it grew, how it learned, what came out,
its data set and strategies. The index lies in the folder's `.index`, is brought up to date first,
and can be deleted at any time.

Examples:

    structure-net find "sparse nets that plateaued early"

    structure-net find "grew wide on mnist" --where "density<0.05" --where "seed in 1,2,3"

    structure-net find --where "test_accuracy>=0.95" results
"""
SIMILAR_HELP = """Finds the runs whose structure is most like that of another run.

Compared are widths, depth, size and density at birth and in the end, the edits, the learning
curve's shape, the error, the data set and the main settings.

Example:

    structure-net similar runs/mnist
"""
Folder = Annotated[
    str | None,
    typer.Argument(metavar="FOLDER", help="Where the runs lie; `runs` unless given."),
]
Around = Annotated[
    str | None,
    typer.Argument(metavar="FOLDER", help="Where the others lie; beside RUN unless given."),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILTER",
        help="A field, one of < <= > >= = != in, and a value; may be given more than once.",
        show_default=False,
    ),
]


def _some(text: str) -> int:
    """A whole number from 1."""
    if (number := whole_of(text)) < 1:
        raise typer.BadParameter(f"must be at least 1; got {number}.")
    return number


Count = Annotated[int, typer.Option("-n", parser=_some, metavar="INT", help="How many at most.")]


def find(
    text: Annotated[
        str,
        typer.Argument(
            metavar="WORDS",
            help="What to look for; may be left out beside --where.",
            show_default=False,
        ),
    ] = "",
    folder: Folder = None,
    where: Where = None,
    n: Count = 10,
    json: Json = False,
) -> int:
    """Finds runs; see ``structure-net find --help``."""
    from structure_net.logging.search import parse_where

    # `find --where ... FOLDER` has no words: a single argument that is a folder is the folder.
    if folder is None and where and Path(text).is_dir():
        text, folder = "", text
    if not text.strip() and not where:
        raise SearchError('Say what to find, such as "sparse nets that plateaued early".')
    with _index(folder or "runs") as index:
        wanted = parse_where(where or ())
        found = index.find(text, where=wanted, n=n)
        asked = index.asked(text) if text.strip() else None
        unmet = index.unmet(text, where=wanted)
    if asked is not None and asked.unknown:
        words = ", ".join(repr(word) for word in asked.unknown)
        fail(f"no run has anything to do with {words}; the other words were looked for.")
    if asked is not None and not json:
        people(quiet=False).print(f"looked for: {asked.told}", highlight=False, markup=False)
    for sentence in unmet:
        fail(sentence)
    return _told(found, "No run was found.", as_json=json, asked=asked)


def similar(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run.")],
    folder: Around = None,
    where: Where = None,
    n: Count = 10,
    json: Json = False,
) -> int:
    """Finds similar runs; see ``structure-net similar --help``."""
    from structure_net.logging.search import facts_of, parse_where

    facts = facts_of(Path(run))
    with _index(folder or str(Path(run).parent)) as index:
        found = index.similar(facts, where=parse_where(where or ()), n=n)
    none = "No other run passes the filter." if where else "There is no other run."
    return _told(found, none, as_json=json)


@contextmanager
def _index(folder: str) -> Iterator[ExperimentIndex]:
    """The index of a folder's runs, brought up to date."""
    from structure_net.logging.search import ExperimentIndex

    if not Path(folder).is_dir():
        raise SearchError(f"There is no folder {folder}. Name the one in which the runs lie.")
    # A command answers sooner without the import of ChromaDB than with its help.
    with ExperimentIndex(Path(folder) / INDEX, engine="numpy") as index:
        try:
            for error in index.refresh(folder):
                fail(str(error))
        except (
            SearchError
        ) as error:  # somebody else is writing to it; what is there can be searched
            fail(str(error))
        yield index


def _shown(name: str) -> str:
    """A run's folder as a user would type it."""
    path = Path(name)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else name


def _told(
    found: Sequence[Found], none: str, *, as_json: bool, asked: Question | None = None
) -> int:
    """Prints what was found; ``none`` and 1 if nothing was."""
    if as_json:
        looked = {} if asked is None else {"looked_for": [one.shown for one in asked.conditions]}
        emit({**looked, "found": [_document(one) for one in found]})
    elif found:
        head = ("run", "score", "data", "widths", "density", "parameters", "accuracy", "edits")
        rows = [(_shown(one.name), f"{one.score:.2f}", *_cells(one.facts)) for one in found]
        people(quiet=False).print(plain_table(head, rows, left=True))
    else:
        people(quiet=False).print(none)
    return 0 if found else 1


def _cells(facts: ExperimentFacts) -> tuple[str, ...]:
    from structure_net.logging.search import accuracy_of

    accuracy = accuracy_of(facts)
    return (
        facts.dataset or "-",
        "-".join(map(str, facts.widths)) or "-",
        "-" if facts.density is None else f"{facts.density:.2%}",
        "-" if facts.parameters is None else f"{facts.parameters:,}",
        "-" if accuracy is None else f"{accuracy:.1%}",
        ", ".join(f"{count} {kind}" for kind, count in facts.edits.items()) or "none",
    )


def _document(found: Found) -> dict[str, Any]:
    from structure_net.logging.search import fields_of

    document = {**fields_of(found.facts), "name": _shown(found.name), "score": found.score}
    return {key: plain(value, key) for key, value in document.items()}
