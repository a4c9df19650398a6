"""An experiment in words: which traits it has, how clearly, and what else it can be found by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from structure_net.logging.search.curves import CurveShape, learning_curve, shape_of
from structure_net.logging.search.facts import ExperimentFacts
from structure_net.logging.search.wording import free_words, stem, widths_word, words_of

_BY_EDIT: Final = {
    "added_neurons": ("AddNeurons",),
    "pruned": ("RemoveNeurons", "RemoveConnections"),
    "split": ("SplitNeurons", "ShareNeurons"),
    "merged": ("MergeNeurons",),
    "reset": ("ResetNeurons",),
    "doubled": ("DoubleWidth",),
    "inserted_layer": ("InsertLayer",),
    "removed_layer": ("RemoveLayer",),
    "residual": ("AddResidualBlock",),
    "skip": ("AddSkipConnection",),
    "heads": ("AddHeads", "RemoveHeads", "MaskHeads", "ReviveHeads"),
    "removed_heads": ("RemoveHeads", "MaskHeads"),
    "added_connections": ("AddConnections",),
    "removed_connections": ("RemoveConnections",),
}


def accuracy_of(facts: ExperimentFacts) -> float | None:
    """The best witness of how accurate the network is in the end, in [0, 1]; None without one."""
    for split in ("test", "validation", "val", "train"):
        name = f"{split}_accuracy"
        curve = [value for value in facts.curves.get(name, ()) if math.isfinite(value)]
        value = facts.metrics.get(name, curve[-1] if curve else None)
        if value is not None and math.isfinite(value):
            return value / 100 if 1 < value <= 100 else value
    return facts.metrics.get("accuracy")


def traits_of(facts: ExperimentFacts) -> dict[str, float]:
    """The traits of an experiment and how clear each is, in (0, 1].

    A trait grows between two values that stand beside it here, on a logarithmic scale for sizes.
    """
    found: dict[str, float] = {}
    for group in (_kind, _sizes, _shapes, _growth, _edits, _learning, _results, _settings):
        for name, grade in group(facts):
            found[name] = max(found.get(name, 0.0), grade)
    return {name: grade for name, grade in found.items() if grade > 0}


Graded = Iterator[tuple[str, float]]


def _ramp(value: float, zero: float, one: float) -> float:
    """0 at ``zero``, 1 at ``one``, straight between them."""
    return min(1.0, max(0.0, (value - zero) / (one - zero)))


def _scale(value: float, zero: float, one: float) -> float:
    """`_ramp` on a logarithmic scale."""
    return _ramp(math.log(max(value, 1e-12)), math.log(zero), math.log(one))


_KINDS: Final = {
    "convolutional": ("cnn", "conv", "convnet", "convolutional", "resnet", "vgg"),
    "transformer": ("transformer", "vit", "bert", "gpt", "encoder", "attention"),
    "recurrent": ("rnn", "lstm", "gru", "recurrent"),
    "perceptron": ("mlp", "perceptron", "standard", "dense", "feedforward"),
}
_DATA: Final = {
    "on_images": ("mnist", "cifar", "digits", "svhn", "imagenet", "emnist", "image", "images"),
    "on_text": ("agnews", "news", "imdb", "text", "wikitext", "sst", "reviews", "yelp"),
    "on_tables": ("housing", "diabetes", "iris", "wine", "cancer", "adult", "tabular"),
}
_REGRESSION: Final = frozenset({"mse", "mae", "regression", "mse_loss", "l1", "huber"})


def _kind(facts: ExperimentFacts) -> Graded:
    words = set(words_of(facts.model))
    for trait, names in _KINDS.items():
        yield trait, float(not words.isdisjoint(names))
    closed = len(facts.widths) > 2 and facts.widths[0] == facts.widths[-1] > min(facts.widths)
    yield "autoencoder", float("autoencoder" in words or closed)
    told = {str(facts.settings.get(name, "")).lower() for name in ("loss", "task")}
    yield "regression", float(not told.isdisjoint(_REGRESSION))
    data = set(words_of(facts.dataset))
    for trait, names in _DATA.items():
        yield trait, float(not data.isdisjoint(names))


def _sizes(facts: ExperimentFacts) -> Graded:
    if facts.density is not None:
        yield "sparse", _scale(facts.density, 0.5, 0.05)
        yield "very_sparse", _scale(facts.density, 0.05, 0.005)
        yield "dense", _ramp(facts.density, 0.3, 0.9)
    size = facts.parameters if facts.parameters is not None else facts.connections
    if size is not None:
        yield "large", _scale(size, 1e4, 1e7)
        yield "small", _scale(size, 3e5, 1e3)


def _shapes(facts: ExperimentFacts) -> Graded:
    if len(facts.widths) < 2:
        return
    layers, hidden = len(facts.widths) - 1, facts.widths[1:-1]
    yield "deep", _ramp(layers, 3, 8)
    yield "shallow", _ramp(layers, 4, 2)
    if not hidden:
        return
    yield "wide", _scale(max(hidden), 64, 2048)
    yield "narrow", _scale(max(hidden), 128, 8)
    falls = all(a > b for a, b in pairwise(hidden))
    yield "tapering", float(len(hidden) > 1 and falls)
    triples = zip(facts.widths, hidden, facts.widths[2:], strict=False)
    squeezed = max((min(a, c) / max(b, 1) for a, b, c in list(triples)[1:-1]), default=0.0)
    yield "bottleneck", _ramp(squeezed, 1, 4)


def _growth(facts: ExperimentFacts) -> Graded:
    for before, after in (
        (facts.start_parameters, facts.parameters),
        (facts.start_connections, facts.connections),
    ):
        if before and after:
            factor = after / before
            yield "grew", _scale(factor, 1.0, 2.0)
            yield "grew_much", _scale(factor, 2.0, 10.0)
            yield "shrank", _scale(factor, 1.0, 0.5)
            break
    if facts.start_density and facts.density:
        yield "densified", _scale(facts.density / facts.start_density, 1.05, 4.0)
        yield "sparsified", _scale(facts.density / facts.start_density, 0.95, 0.25)
    yield "doubled", _ramp(_doublings(facts.start_widths, facts.widths), 0, 2)
    if facts.start_widths and facts.widths:
        more = len(facts.widths) - len(facts.start_widths)
        yield "deepened", _ramp(more, 0, 2)
        yield "flattened", _ramp(-more, 0, 1)
        before, after = (max(w[1:-1], default=0) for w in (facts.start_widths, facts.widths))
        if before and after:
            yield "widened", _scale(after / before, 1.0, 2.5)
            yield "narrowed", _scale(after / before, 1.0, 0.5)


def _doublings(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    """How often a hidden layer doubled since birth, if it did exactly, to one part in twenty."""
    pairs = zip(before[1:-1], after[1:-1], strict=False) if len(before) == len(after) else ()
    logs = [math.log2(b / a) for a, b in pairs if 0 < a < b]
    return max((round(log) for log in logs if abs(log - round(log)) < 0.07), default=0)


def _edits(facts: ExperimentFacts) -> Graded:
    total = sum(facts.edits.values())
    same = facts.start_widths in (facts.widths, ())
    known = facts.edits or facts.start_widths or facts.start_parameters is not None
    if total == 0 and same and known:
        yield "unchanged", float(facts.start_parameters in (facts.parameters, None))
    yield "baseline", float(total == 0 and not facts.strategies and bool(known))
    yield "many_edits", _ramp(total, 3, 30)
    yield "few_edits", _ramp(total, 6, 1) if total else 0.0
    share = facts.taken_back / max(total + facts.taken_back, 1)
    yield "taken_back", (_ramp(facts.taken_back, 0, 3) + share) / 2
    yield "mostly_taken_back", _ramp(share, 0.4, 0.8) * _ramp(facts.taken_back, 0, 4)
    times = [time for kind in facts.edited_at.values() for time in kind]
    if times:
        yield "late_edits", _ramp(sum(times) / len(times), 0.5, 0.8)
        yield "early_edits", _ramp(sum(times) / len(times), 0.4, 0.1)
    for trait, kinds in _BY_EDIT.items():
        count = sum(facts.edits.get(kind, 0) for kind in kinds)
        if count:
            yield trait, 0.6 + 0.4 * count / total
    if facts.edits.get("AddResidualBlock"):  # its shortcut is one of its parts
        yield "skip", 0.5
    moved = [facts.edits.get(kind, 0) for kind in ("AddConnections", "RemoveConnections")]
    yield "rewired", float(min(moved) > 0)
    away, back = (facts.edited_at.get(kind) for kind in ("RemoveConnections", "AddConnections"))
    if away and back:
        yield "regrown", _ramp(sum(back) / len(back) - sum(away) / len(away), 0.05, 0.3)


def _learning(facts: ExperimentFacts) -> Graded:
    if "diverg" in f"{facts.reason} {facts.status}".lower():
        yield "diverged", 1.0
    curve = learning_curve(facts.curves)
    if curve is None:
        return
    name, values = curve
    shape = shape_of(name, values)
    yield "many_epochs", _scale(shape.points, 10, 300)
    yield "few_epochs", _ramp(shape.points, 10, 2)
    yield "diverged", _diverged(facts, shape)
    yield "not_finite", float(_broken(facts))
    if shape.points < 4 or not shape.finite:
        return
    yield from _shape(shape)
    yield "overfit", _overfit(facts, name, shape)
    yield "fast_learner", _at_once(facts)


def _at_once(facts: ExperimentFacts) -> float:
    """How near the first epoch's accuracy is to the last one's, if that is any good."""
    for name in ("validation_accuracy", "val_accuracy", "test_accuracy", "train_accuracy"):
        values = facts.curves.get(name, ())
        if len(values) > 3 and values[-1] > 0:
            return _ramp(values[0] / values[-1], 0.8, 0.97) * _ramp(values[-1], 0.5, 0.8)
    return 0.0


def _diverged(facts: ExperimentFacts, shape: CurveShape) -> float:
    if _broken(facts):
        return 1.0
    # What goes up and down may end worse than it began.
    return _ramp(shape.worsening, 0.1, 1.0) * (1 - _scale(shape.wobble, 0.05, 0.3))


def _broken(facts: ExperimentFacts) -> bool:
    return any(not math.isfinite(value) for curve in facts.curves.values() for value in curve)


def _shape(shape: CurveShape) -> Graded:
    yield "unstable", _scale(shape.wobble, 0.02, 0.2)
    yield "smooth", _scale(shape.wobble, 0.02, 0.002) if shape.points > 4 else 0.0
    yield "never_learned", _ramp(shape.gain, 0.12, 0.02)
    learned = _ramp(shape.gain, 0.02, 0.15)
    yield "recovered", _ramp(shape.dip, 0.1, 0.4) * (1 - _scale(shape.wobble, 0.05, 0.3))
    yield "plateau", learned * _ramp(shape.settled_at, 0.85, 0.6)
    yield "early_plateau", learned * _ramp(shape.settled_at, 0.6, 0.2)
    late = min(_ramp(shape.settled_at, 0.45, 0.65), _ramp(shape.settled_at, 0.95, 0.8))
    yield "late_plateau", learned * late
    yield "improving", learned * _ramp(shape.tail, 0.04, 0.2)
    yield "fast_learner", learned * _ramp(shape.profile[2], 0.6, 0.95)
    yield "slow_learner", learned * _ramp(shape.profile[5], 0.7, 0.2)


def _overfit(facts: ExperimentFacts, name: str, shape: CurveShape) -> float:
    held_out = name.startswith(("val", "test"))
    relapse = _ramp(shape.relapse, 0.05, 0.3) if held_out else 0.0
    train, other = facts.curves.get("train_accuracy"), facts.curves.get("validation_accuracy")
    gap = _ramp(train[-1] - other[-1], 0.04, 0.2) if train and other else 0.0
    # Where training itself gets worse, or all goes up and down, it is something else.
    calm = 1.0 - max(_ramp(_train_relapse(facts.curves), 0.0, 0.3), _scale(shape.wobble, 0.05, 0.3))
    return (1.0 - (1.0 - relapse) * (1.0 - gap)) * calm


def _train_relapse(curves: Mapping[str, tuple[float, ...]]) -> float:
    values = curves.get("train_loss", curves.get("loss", ()))
    return shape_of("loss", values).relapse if len(values) > 1 else 0.0


def _results(facts: ExperimentFacts) -> Graded:
    accuracy = accuracy_of(facts)
    if accuracy is not None and math.isfinite(accuracy):
        good = _scale(1 - min(accuracy, 1.0) + 1e-6, 0.5, 0.003)
        yield "accurate", good
        yield "inaccurate", _ramp(accuracy, 0.85, 0.3)
        if facts.parameters is not None:
            yield "efficient", good * _scale(facts.parameters, 3e5, 1e3)


def _settings(facts: ExperimentFacts) -> Graded:
    rate = facts.settings.get("learning_rate", facts.settings.get("lr"))
    if isinstance(rate, int | float) and rate > 0:
        yield "high_rate", _scale(rate, 0.005, 0.2)
        yield "low_rate", _scale(rate, 0.002, 0.00002)
    batch = facts.settings.get("batch_size")
    if isinstance(batch, int | float) and batch > 0:
        yield "large_batch", _scale(batch, 100, 1024)
        yield "small_batch", _scale(batch, 48, 4)
    if facts.seconds is not None and facts.seconds > 0:
        yield "long", _scale(facts.seconds, 60, 36000)
        yield "short", _scale(facts.seconds, 120, 2)
    yield "finished", float(facts.status == "finished")
    yield "interrupted", float(facts.status in ("interrupted", "cancelled"))
    yield "failed", float(facts.status in ("stopped", "failed", "timed_out", "crashed"))


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
    texts += [*facts.tags, *facts.strategies, *facts.edits]
    texts += [value for value in facts.settings.values() if isinstance(value, str)]
    found = {word for text in texts for word in free_words(text)}
    if facts.dataset:
        found.add(f"dataset={''.join(facts.dataset.lower().split())}")
    for widths in (facts.start_widths, facts.widths):
        if widths:
            found |= {widths_word(widths), widths_word(widths[1:-1])}
    found |= {f"{a}>{b}" for a, b in _changed(facts)}
    numbers = {**facts.settings, "seed": facts.seed, "epochs": facts.epochs or None}
    for name, share in (("density", facts.density), ("accuracy", accuracy_of(facts))):
        if share is not None and math.isfinite(share):
            found.add(f"{name}%={math.floor(100 * share + 1e-9):g}")
    numbers |= {"layers": len(facts.widths) - 1, "hidden": len(facts.widths) - 2}
    for name, value in numbers.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            found.add(f"{stem(name.lower())}={value:g}")
    return found - {""}
