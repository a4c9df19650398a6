"""An experiment in words: which traits it has, how clearly, and what else it can be found by."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from structure_net.logging.search.changing import edit_traits, growth_traits, timing_traits
from structure_net.logging.search.facts import ExperimentFacts
from structure_net.logging.search.fields import accuracy_of
from structure_net.logging.search.grading import Graded, ramp, scale
from structure_net.logging.search.learning import learning_traits
from structure_net.logging.search.tokens import free_words, stem, widths_word, words_of


def traits_of(facts: ExperimentFacts) -> dict[str, float]:
    """The traits of an experiment and how clear each is, in (0, 1].

    A trait grows between two values that stand beside it here, on a logarithmic scale for sizes.
    """
    found: dict[str, float] = {}
    for group in _GROUPS:
        for name, grade in group(facts):
            found[name] = max(found.get(name, 0.0), grade)
    return {name: grade for name, grade in found.items() if grade > 0}


_KINDS: Final = {
    "convolutional": ("cnn", "conv", "convnet", "convolutional", "resnet", "vgg"),
    "transformer": ("transformer", "vit", "bert", "gpt", "encoder", "attention"),
    "recurrent": ("rnn", "lstm", "gru", "recurrent"),
    "perceptron": ("mlp", "perceptron", "standard", "dense", "feedforward"),
}
_DATA: Final = {
    "on_images": (
        "mnist",
        "cifar",
        "digits",
        "svhn",
        "imagenet",
        "emnist",
        "kmnist",
        "image",
        "images",
        "stl",
        "flowers",
        "pets",
        "celeba",
        "faces",
    ),
    "on_text": (
        "agnews",
        "news",
        "imdb",
        "text",
        "wikitext",
        "sst",
        "reviews",
        "yelp",
        "shakespeare",
        "ptb",
        "glue",
        "squad",
    ),
    "on_tables": (
        "housing",
        "diabetes",
        "iris",
        "wine",
        "cancer",
        "adult",
        "tabular",
        "covertype",
        "titanic",
    ),
    "on_audio": (
        "speech",
        "commands",
        "audio",
        "sound",
        "music",
        "esc",
        "urbansound",
        "librispeech",
    ),
}
_REGRESSION: Final = frozenset({"mse", "mae", "regression", "mse_loss", "l1", "huber"})


def _kind(facts: ExperimentFacts) -> Graded:
    words = {*words_of(facts.model), facts.model.lower()}
    for trait, names in _KINDS.items():
        yield trait, float(not words.isdisjoint(names))
    yield "resnet", float("resnet" in words or "residual" in words)
    closed = len(facts.widths) > 2 and facts.widths[0] == facts.widths[-1] > min(facts.widths)
    yield "autoencoder", float("autoencoder" in words or closed)
    told = {str(facts.settings.get(name, "")).lower() for name in ("loss", "task")}
    yield "regression", float(not told.isdisjoint(_REGRESSION))
    data = set(words_of(facts.dataset))
    for trait, names in _DATA.items():
        yield trait, float(not data.isdisjoint(names))


def _sizes(facts: ExperimentFacts) -> Graded:
    if facts.density is not None:
        yield "sparse", scale(facts.density, 0.5, 0.05)
        yield "very_sparse", scale(facts.density, 0.05, 0.005)
        yield "dense", ramp(facts.density, 0.3, 0.9)
    size = facts.parameters if facts.parameters is not None else facts.connections
    if size is not None:
        yield "large", scale(size, 1e4, 1e7)
        yield "small", scale(size, 3e5, 1e2)


def _shapes(facts: ExperimentFacts) -> Graded:
    if len(facts.widths) < 2:
        return
    layers, hidden = len(facts.widths) - 1, facts.widths[1:-1]
    yield "deep", scale(layers, 3, 12)
    yield "shallow", ramp(layers, 4, 2)
    yield "one_hidden", float(len(hidden) == 1)
    if not hidden:
        yield "linear", 1.0
        return
    yield "wide", scale(max(hidden), 64, 4096)
    yield "narrow", scale(max(hidden), 128, 4)
    yield from _profile(facts.widths, hidden)


def _profile(widths: tuple[int, ...], hidden: tuple[int, ...]) -> Graded:
    """How the widths follow on each other."""
    triples = list(zip(widths, hidden, widths[2:], strict=False))[1:-1]
    squeezed = max((min(a, c) / max(b, 1) for a, b, c in triples), default=0.0)
    yield "bottleneck", scale(squeezed, 1.2, 12)
    if len(hidden) < 2:
        return
    yield "tapering", float(all(a > b for a, b in pairwise(hidden)))
    yield "broadening", float(all(a < b for a, b in pairwise(hidden)))
    yield "equal_widths", ramp(max(hidden) / max(min(hidden), 1), 1.4, 1.1)
    middle = max(hidden[1:-1], default=0) / max(hidden[0], hidden[-1], 1)
    yield "bulge", ramp(middle, 1, 3)


def _results(facts: ExperimentFacts) -> Graded:
    accuracy = accuracy_of(facts)
    if accuracy is not None and math.isfinite(accuracy):
        good = scale(1 - min(accuracy, 1.0) + 1e-6, 0.5, 0.003)
        yield "accurate", good
        yield "inaccurate", ramp(accuracy, 0.85, 0.3)
        yield "mediocre", ramp(abs(accuracy - 0.65), 0.25, 0.1)
        if facts.parameters is not None:
            yield "efficient", good * scale(facts.parameters, 3e5, 1e3)


def _settings(facts: ExperimentFacts) -> Graded:
    rate = _number(facts, "learning_rate" if "learning_rate" in facts.settings else "lr")
    if rate is not None and rate > 0:
        yield "high_rate", scale(rate, 0.005, 0.2)
        yield "low_rate", scale(rate, 0.002, 0.00002)
    batch = _number(facts, "batch_size")
    if batch is not None and batch > 0:
        yield "large_batch", scale(batch, 100, 1024)
        yield "small_batch", scale(batch, 48, 4)
    decay, dropout = (_number(facts, name) for name in ("weight_decay", "dropout"))
    yield "strong_decay", scale(decay, 3e-4, 0.1) if decay else 0.0
    yield "strong_dropout", ramp(dropout, 0.1, 0.6) if dropout else 0.0
    yield "no_dropout", float(dropout == 0)
    yield "no_decay", float(decay == 0)
    told = [value for value in (decay, dropout) if value is not None]
    yield "unregularised", float(bool(told) and not any(told))


def _number(facts: ExperimentFacts, name: str) -> float | None:
    value = facts.settings.get(name)
    return float(value) if isinstance(value, int | float) else None


_FAILED: Final = ("stopped", "failed", "timed_out", "crashed")
_MEMORY: Final = ("outofmemory", "out of memory", "memoryerror", "oom")
_TIME: Final = ("time limit", "timed out", "time-out", "timeout", "out of time", "deadline")


def _ended(facts: ExperimentFacts) -> Graded:
    if facts.seconds is not None and facts.seconds > 0:
        yield "long", scale(facts.seconds, 60, 36000)
        yield "short", scale(facts.seconds, 120, 2)
    told = f"{facts.status} {facts.reason} {facts.text}".lower().replace("_", " ")
    late, full = any(one in told for one in _TIME), any(one in told for one in _MEMORY)
    failed = facts.status in _FAILED
    yield "finished", float(facts.status == "finished")
    yield "unfinished", float(facts.status not in ("finished", ""))
    yield "interrupted", float(facts.status in ("interrupted", "cancelled"))
    yield "failed", 0.4 * failed if late and not full else float(failed)
    yield "timed_out", float(late)
    yield "early_stopped", float("early stop" in told or "no improvement" in told)
    yield "out_of_memory", float(full)
    yield "no_epochs", float(facts.epochs == 0 and bool(facts.status))
    asked = facts.settings.get("epochs")
    if isinstance(asked, int) and asked > 0:
        yield "cut_short", ramp(facts.epochs / asked, 0.95, 0.5)


_GROUPS: Final = (
    _kind,
    _sizes,
    _shapes,
    growth_traits,
    edit_traits,
    timing_traits,
    learning_traits,
    _results,
    _settings,
    _ended,
)


def _changed(facts: ExperimentFacts) -> Iterator[tuple[int, int]]:
    """The widths of hidden layers that changed, before and after."""
    before, after = facts.start_widths[1:-1], facts.widths[1:-1]
    if len(before) == len(after):
        yield from ((a, b) for a, b in zip(before, after, strict=True) if a != b)


def words_about(facts: ExperimentFacts) -> set[str]:
    """What an experiment can be found by besides its traits: names, notes, numbers."""
    texts = [
        facts.dataset,
        facts.kind,
        facts.model,
        facts.text,
        facts.reason,
        facts.name.replace("/", " "),
    ]
    texts += [*facts.tags, *facts.strategies]
    texts += [value for value in facts.settings.values() if isinstance(value, str)]
    found = {word for text in texts for word in free_words(text)}
    found |= {kind.lower() for kind in facts.edits}
    # What is only set in some runs is worth a word: ``label_smoothing``.
    found |= {word for name, value in facts.settings.items() if value for word in free_words(name)}
    if facts.dataset:
        joined = re.sub(r"[_\W]", "", facts.dataset.lower())
        found.add(f"dataset={joined}")
    for widths in (facts.start_widths, facts.widths):
        if widths:
            found |= {widths_word(widths), widths_word(widths[1:-1])}
    found |= {f"{a}>{b}" for a, b in _changed(facts)}
    found |= {f"units={width}" for width in (*facts.start_widths[1:-1], *facts.widths[1:-1])}
    numbers = {**facts.settings, "seed": facts.seed, "epochs": facts.epochs or None}
    for name, share in (("density", facts.density), ("accuracy", accuracy_of(facts))):
        if share is not None and math.isfinite(share):
            found.add(f"{name}%={math.floor(100 * share + 1e-9):g}")
    numbers |= {"layers": len(facts.widths) - 1, "hidden": len(facts.widths) - 2}
    for name, value in numbers.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            found.add(f"{stem(name.lower())}={value:g}")
    return found - {""}
