"""Whether the search finds what people mean, how fast, and whether its engines agree."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness import Figure
from benchmarks.laboratory import laboratory
from benchmarks.ordinary import others
from benchmarks.planted import BLIND, LABORATORY, SIMPLE, cases
from structure_net.logging.search import ExperimentFacts, ExperimentIndex

EXPERIMENTS = 10_000
WHERES = (
    {"density": {"<": 0.1}, "dataset": "mnist"},
    {"test_accuracy": {">=": 0.9}},
    {"seed": {"in": [1, 2, 3]}},
)


def figures() -> list[Figure]:
    """Twice ten thousand experiments, all questions, both engines."""
    everything = tuple(others(EXPERIMENTS))
    with tempfile.TemporaryDirectory() as folder:
        numpy, build = _built(Path(folder) / "numpy", "numpy", everything)
        found = _found(numpy)
        found.append(Figure("index 10,000 experiments, numpy", build, "s"))
        planted = [case.facts for case in cases("simple", "first")]
        numpy.add(*planted)
        found += _speed(numpy, "numpy")
        try:
            chroma, build = _built(Path(folder) / "chroma", "chroma", everything)
            chroma.add(*planted)
        except ImportError:
            return found + _laboratory(Path(folder) / "laboratory")
        found.append(Figure("index 10,000 experiments, ChromaDB", build, "s"))
        found += _speed(chroma, "ChromaDB")
        found += [_agreement(numpy, chroma, everything)]
        numpy.close()
        chroma.close()
        return found + _laboratory(Path(folder) / "laboratory")


def _built(
    folder: Path, engine: str, everything: Sequence[ExperimentFacts]
) -> tuple[ExperimentIndex, float]:
    index = ExperimentIndex(folder, engine=engine)  # type: ignore[arg-type]  # one of the two
    start = time.perf_counter()
    index.add(*everything)
    return index, time.perf_counter() - start


def _found(index: ExperimentIndex) -> list[Figure]:
    """How many planted experiments are not found first; they are taken away again."""
    note = "planted among 10,000; the index was changed after it had been measured with them"
    found = []
    for name in SIMPLE:
        asked = cases("simple", name)
        first, _ = _answered(index, "simple", name)
        title = f"{len(asked)} simple questions, {name} words: not found first"
        found.append(Figure(title, len(asked) - first, "", 0 if name == SIMPLE[0] else None, note))
    return found


def _laboratory(folder: Path) -> list[Figure]:
    """The blind sets: how many of their experiments are not found first, now and at first."""
    found = []
    index, _ = _built(folder, "numpy", tuple(laboratory(EXPERIMENTS)))
    with index:
        for name, about in LABORATORY.items():
            first, five = _answered(index, about, name)
            blind, nearly = BLIND[name]
            note = (
                f"blind: {20 - blind}, not among five {20 - nearly}; now not among five {20 - five}"
            )
            title = f"{name} twenty of a laboratory, blind: not found first"
            found.append(Figure(title, 20 - first, "", 0, note))
    return found


def _answered(index: ExperimentIndex, about: str, asked: str) -> tuple[int, int]:
    """How many questions find first what they mean, and how many among the first five."""
    planted = cases(about, asked)
    index.add(*(case.facts for case in planted))
    answers = [[one.name for one in index.find(case.question, n=5)] for case in planted]
    meant = [case.facts.name for case in planted]
    index.remove(*meant)
    first = sum(names[:1] == [one] for names, one in zip(answers, meant, strict=True))
    return first, sum(one in names for names, one in zip(answers, meant, strict=True))


def _speed(index: ExperimentIndex, engine: str) -> list[Figure]:
    asked = (*cases("simple", "first"), *cases("laboratory_2", "second"))
    questions = [case.question for case in asked]
    index.find(questions[0])
    index.find("density below 5 %")  # reads all fields
    names = index.names[::400]
    return [
        _percentile(f"find, {engine}", [_timed(index.find, one) for one in questions * 4]),
        _percentile(
            f"find with a filter, {engine}",
            [_timed(index.find, one, where) for one in questions for where in WHERES],
        ),
        _percentile(f"similar, {engine}", [_timed(index.similar, name) for name in names * 4]),
    ]


def _timed(action: Callable[..., object], asked: str, where: object = None) -> float:
    start = time.perf_counter()
    action(asked, where=where)
    return time.perf_counter() - start


def _percentile(name: str, seconds: list[float]) -> Figure:
    slow = statistics.quantiles(seconds, n=20)[-1] * 1000
    middle = statistics.median(seconds) * 1000
    return Figure(f"{name}: 95th percentile", slow, "ms", 50, f"median {middle:.2g} ms")


def _agreement(
    one: ExperimentIndex, two: ExperimentIndex, everything: Sequence[ExperimentFacts]
) -> Figure:
    asked = [case.question for case in cases("simple", "first")]
    apart = sum(_names(one, text) != _names(two, text) for text in asked)
    like = [fact.name for fact in everything[:: len(everything) // 100]]
    apart += sum(one.similar(name) != two.similar(name) for name in like)
    return Figure(
        "answers that differ between numpy and ChromaDB", apart, "", 0,
        f"the first ten of {len(asked)} questions and {len(like)} likenesses",
    )  # fmt: skip


def _names(index: ExperimentIndex, text: str) -> tuple[str, ...]:
    return tuple(found.name for found in index.find(text))
