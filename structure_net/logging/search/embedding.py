"""Vectors of experiments and of questions: ours, from stated rules, with nothing to download.

The trait vector holds how clearly each trait of the vocabulary is there. The vector of a question
weighs what it asks for by how rare it is in the index, so that the inner product is the part of the
question that an experiment answers. (Words that are no traits, such as names, are looked up as they
are.)

The structure vector is made of blocks. Within each a unit is stated, and a difference of one unit
in a whole block is a distance of 1.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from structure_net.logging.search.curves import POINTS, learning_curve, shape_of
from structure_net.logging.search.facts import ExperimentFacts
from structure_net.logging.search.fields import accuracy_of
from structure_net.logging.search.vocabulary import CONCEPTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAITS: Final = len(CONCEPTS)
LARGEST_NORM: Final = math.sqrt(TRAITS)
"""The length to which `padded` brings trait vectors: none is longer."""

_PLACE: Final = {concept: place for place, concept in enumerate(CONCEPTS)}
_HIDDEN: Final = 6
_NAMED: Final = 16
_EDITS: Final = (
    "AddNeurons", "RemoveNeurons", "SplitNeurons", "ShareNeurons", "MergeNeurons", "ResetNeurons",
    "DoubleWidth", "InsertLayer", "RemoveLayer", "AddResidualBlock", "AddSkipConnection",
    "RemoveSkipConnection", "AddConnections", "RemoveConnections",
)  # fmt: skip


def trait_vector(weights: Mapping[str, float]) -> NDArray[np.float32]:
    """Traits with their weights as a vector, shape ``(TRAITS,)``."""
    vector = np.zeros(TRAITS, dtype=np.float32)
    for concept, weight in weights.items():
        vector[_PLACE[concept]] = weight
    return vector


def padded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Trait vectors, shape ``(..., TRAITS)``, with a last entry that gives all one length.

    Among vectors of one length the nearest to a question, whose last entry is 0, are those with the
    largest inner products with it.
    """
    squares = np.sum(vectors.astype(np.float64) ** 2, axis=-1, keepdims=True)
    rest = np.sqrt(np.maximum(LARGEST_NORM**2 - squares, 0.0))
    return np.concatenate([vectors, rest.astype(np.float32)], axis=-1)


def structure_vector(facts: ExperimentFacts) -> NDArray[np.float32]:
    """The vector of an experiment's structure.

    Blocks and units: six points of the hidden widths at the end and at birth (a factor of 2), the
    depth (one layer), inputs and outputs (a factor of 4), parameters, connections and density at
    the end (a factor of 2) and at birth (a factor of 4), the number of edits (a factor of 2) and
    the share of each kind (.5), the learning curve's profile (.25), where it settled (.25), its
    gain, relapse, dip and wobble (.5, .5, .5, .1), whether it stayed finite (.5), the error at the
    end (a factor of 2), learning rate and batch size (a factor of 4), the data set (another one is
    a distance of 1.4). What is not known counts 0 in its block and 1 in a block of its own.
    """
    blocks = [
        *_width_blocks(facts),
        *_size_blocks(facts),
        *_edit_blocks(facts),
        *_curve_blocks(facts),
        *_result_blocks(facts),
    ]
    parts = [np.asarray(block, dtype=np.float64) / math.sqrt(len(block)) for block in blocks]
    return np.concatenate(parts).astype(np.float32)


Blocks = Iterable[Sequence[float]]


def _log(value: float | None, unit: float) -> tuple[float, float]:
    """A size on a scale whose unit is a factor of ``unit``, and 1 if it is not known."""
    if value is None or value <= 0 or not math.isfinite(value):
        return 0.0, 1.0
    return math.log(value) / math.log(unit), 0.0


def _hashed(word: str) -> list[tuple[int, float]]:
    """Four of the places for names with signs, decided by a word; together of length 1."""
    digest = hashlib.blake2b(word.encode("utf-8"), digest_size=4).digest()
    return [(number // 2 % _NAMED, 0.5 if number % 2 else -0.5) for number in digest]


def _width_blocks(facts: ExperimentFacts) -> Blocks:
    for widths in (facts.widths, facts.start_widths):
        hidden = [math.log2(max(width, 1)) for width in widths[1:-1]]
        places = np.linspace(0, max(len(hidden) - 1, 0), _HIDDEN)
        yield np.interp(places, range(len(hidden)), hidden).tolist() if hidden else [0.0] * _HIDDEN
        yield (float(len(widths)),)
        ends = (widths[0], widths[-1]) if widths else (None, None)
        for end in ends:
            for number in _log(end, 4.0):
                yield (number,)


def _size_blocks(facts: ExperimentFacts) -> Blocks:
    for value, unit in (
        (facts.parameters, 2.0),
        (facts.connections, 2.0),
        (facts.density, 2.0),
        (facts.start_parameters, 4.0),
        (facts.start_connections, 4.0),
        (facts.start_density, 4.0),
    ):
        for number in _log(value, unit):
            yield (number,)


def _edit_blocks(facts: ExperimentFacts) -> Blocks:
    total = sum(facts.edits.values())
    yield (math.log2(1 + total),)
    yield (math.log2(1 + facts.taken_back),)
    for kind in _EDITS:
        yield (facts.edits.get(kind, 0) / max(total, 1) / 0.5,)


def _curve_blocks(facts: ExperimentFacts) -> Blocks:
    curve = learning_curve(facts.curves)
    if curve is None:
        yield [0.0] * POINTS
        yield from ((number,) for number in (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
        return
    shape = shape_of(*curve)
    yield [value / 0.25 for value in shape.profile]
    yield (shape.settled_at / 0.25,)
    yield (max(-4.0, min(shape.gain, 1.0)) / 0.5,)
    yield (min(shape.relapse, 1.0) / 0.5,)
    yield (min(shape.wobble, 0.5) / 0.1,)
    yield (min(shape.dip, 1.0) / 0.5,)
    yield (0.0 if shape.finite else 2.0,)
    yield (0.0,)


def _result_blocks(facts: ExperimentFacts) -> Blocks:
    accuracy = accuracy_of(facts)
    error = None if accuracy is None else max(1 - accuracy, 1e-3)
    rate, batch = (facts.settings.get(name) for name in ("learning_rate", "batch_size"))
    for value, unit in ((error, 2.0), (rate, 4.0), (batch, 4.0)):
        number = value if isinstance(value, int | float) else None
        for part in _log(number, unit):
            yield (part,)
    named = [0.0] * _NAMED
    for place, sign in _hashed(facts.dataset.lower()):
        named[place] += sign
    # A block is divided by the root of its length, which a word's direction does not need.
    yield [value * math.sqrt(_NAMED) for value in named]


STRUCTURE_SIZE: Final = len(structure_vector(ExperimentFacts(name="?")))
VERSION: Final = zlib.crc32(repr((11, CONCEPTS, STRUCTURE_SIZE)).encode()) >> 1
"""Vectors of another version, which other traits are, are made anew."""
