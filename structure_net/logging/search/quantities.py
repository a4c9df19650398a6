"""What people give numbers of, and the words with which they compare: the tables of `amounts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Scale = Literal["count", "size", "share", "plain"]
"""How far a number may be off: whole numbers by none, sizes by a factor, shares by points."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that numbers are given of.

    Args:
        nouns: How it is called.
        fields: The fields that may be meant, the likeliest first.
        scale: See `Scale`.
        turned: Whether the number is one less the field's, as a sparsity is.
    """

    nouns: tuple[str, ...]
    fields: tuple[str, ...]
    scale: Scale = "size"
    turned: bool = False


QUANTITIES: Final = (
    Quantity(("parameter", "params", "param"), ("parameters", "start_parameters")),
    Quantity(
        ("connection", "link", "edge", "synapse", "nonzero", "live weight", "weight"),
        ("connections", "parameters", "edits.AddConnections", "edits.RemoveConnections"),
    ),
    Quantity(("hidden layer",), ("hidden", "start_hidden"), "count"),
    Quantity(
        ("layer", "deep", "depth", "layer deep", "weight layer"),
        ("depth", "hidden", "edits.InsertLayer", "edits.RemoveLayer", "start_depth"),
        "count",
    ),
    Quantity(
        ("neuron", "unit", "wide", "width", "channel", "filter", "hidden unit", "hidden neuron",
         "hidden size", "neuron wide", "node"),
        ("width", "narrowest", "start_width", "edits.AddNeurons", "edits.RemoveNeurons",
         "edits.ResetNeurons", "edits.SplitNeurons"),
    ),
    Quantity(
        ("bottleneck", "latent", "code", "waist", "bottleneck layer", "latent dimension",
         "latent size", "bottleneck size", "bottleneck width"),
        ("narrowest",),
        "count",
    ),
    Quantity(("epoch", "pass", "iteration"), ("epochs", "planned_epochs")),
    Quantity(
        ("accuracy", "acc", "correct", "score", "right", "hit rate", "test accuracy"),
        ("accuracy", "best_accuracy"),
        "share",
    ),
    Quantity(("validation accuracy", "val accuracy", "held out accuracy"),
             ("validation_accuracy", "best_accuracy"), "share"),
    Quantity(("train accuracy", "training accuracy"), ("train_accuracy",), "share"),
    Quantity(("error", "error rate", "test error", "wrong"), ("accuracy",), "share", turned=True),
    Quantity(("loss", "validation loss", "val loss", "mse", "squared error"),
             ("loss", "best_loss"), "plain"),
    Quantity(("train loss", "training loss"), ("train_loss",), "plain"),
    Quantity(("gap", "generalisation gap", "generalization gap"), ("gap",), "share"),
    Quantity(("density", "dense", "connectivity"), ("density", "start_density"), "share"),
    Quantity(("sparsity", "sparse", "zero", "pruned away"), ("density",), "share", turned=True),
    Quantity(("learning rate", "lr", "rate", "step size"), ("learning_rate", "lr"), "plain"),
    Quantity(("batch size", "batch", "minibatch", "batchsize", "sample per step"), ("batch_size",)),
    Quantity(("seed",), ("seed",), "count"),
    Quantity(("edit", "change", "surgery", "growth step", "modification", "growth event"),
             ("edits", "attempts"), "count"),
    Quantity(("attempt", "proposal", "try"), ("attempts", "taken_back", "edits"), "count"),
    Quantity(("rejection", "reject", "refuse", "undone", "rollback"), ("taken_back",), "count"),
    Quantity(("head", "attention head"),
             ("edits.RemoveHeads", "edits.MaskHeads", "edits.AddHeads", "attempts"), "count"),
    Quantity(("block", "residual block", "resblock", "skip block"),
             ("edits.AddResidualBlock",), "count"),
    Quantity(("skip connection", "shortcut", "skip"), ("edits.AddSkipConnection",), "count"),
)  # fmt: skip
"""The nouns are looked for in any form, the longest first."""

UNITS: Final = {
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "min": 60.0, "mins": 60.0,
    "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0,
    "hours": 3600.0, "day": 86400.0, "days": 86400.0, "ms": 0.001,
}  # fmt: skip
"""Units of time in seconds."""

MAGNITUDES: Final = {
    "k": 1e3, "thousand": 1e3, "thousands": 1e3, "m": 1e6, "mio": 1e6, "million": 1e6,
    "millions": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9, "hundred": 100.0, "dozen": 12.0,
}  # fmt: skip
"""What a number may be multiplied by; single letters only right behind it."""

NUMBERS: Final = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90, "hundred": 100, "thousand": 1000, "million": 1_000_000, "dozen": 12,
}  # fmt: skip
FRACTIONS: Final = {
    "half": 1 / 2, "halves": 1 / 2, "third": 1 / 3, "thirds": 1 / 3, "quarter": 1 / 4,
    "quarters": 1 / 4, "fifth": 1 / 5, "sixth": 1 / 6, "eighth": 1 / 8, "tenth": 1 / 10,
    "hundredth": 1 / 100,
}  # fmt: skip
TIMES: Final = {"once": 1, "twice": 2, "thrice": 3}
FACTORS: Final = {
    "tripled": 3.0, "tripling": 3.0, "trebled": 3.0,
    "quadrupled": 4.0, "quintupled": 5.0, "tenfold": 10.0,
    "twofold": 2.0, "threefold": 3.0, "fourfold": 4.0, "fivefold": 5.0, "twentyfold": 20.0,
    "hundredfold": 100.0,
}  # fmt: skip
LESS: Final = frozenset((
    "smaller", "fewer", "less", "thinner", "narrower", "shallower", "lighter", "sparser",
))  # fmt: skip
MORE: Final = frozenset((
    "bigger", "larger", "more", "wider", "broader", "deeper", "heavier", "denser", "greater", "as",
    "its", "the", "size",
))  # fmt: skip
GROWN: Final = {
    "width": "width_growth", "wide": "width_growth", "wider": "width_growth",
    "narrower": "width_growth", "broader": "width_growth", "neurons": "width_growth",
    "units": "width_growth", "channels": "width_growth", "filters": "width_growth",
    "depth": "depth_growth", "deep": "depth_growth", "deeper": "depth_growth",
    "shallower": "depth_growth", "layers": "depth_growth",
}  # fmt: skip
"""What a factor is of, by the words behind it; `growth` unless one stands there."""

BEFORE: Final = {
    "<": ("less than", "fewer than", "under", "below", "smaller than", "lower than", "at most",
          "no more than", "not more than", "up to", "maximum", "max", "within", "just under",
          "no larger than", "shorter than", "beneath", "worse than", "<", "<=", "≤", "=<"),
    ">": ("more than", "over", "above", "at least", "exceeding", "beyond", "greater than",
          "higher than", "bigger than", "larger than", "minimum", "no less than", "no fewer than",
          "not less than", "upwards of", "past", "longer than", "better than", "exceeds",
          "exceeded", "surpassed", "north of", "topped", "beat", ">", ">=", "≥", "=>"),
    "~": ("around", "about", "roughly", "approximately", "circa", "ca", "close to", "near",
          "nearly", "almost", "some", "approx", "something like", "~", "≈"),
}  # fmt: skip
"""Words before a number, by the comparison that they make."""

BEHIND: Final = {
    ">": ("or more", "or above", "plus", "+", "and up", "and more", "or higher", "at least",
          "or better", "or larger", "upwards", "minimum"),
    "<": ("or less", "or fewer", "or below", "at most", "or lower", "maximum", "max", "or smaller",
          "tops", "or under"),
    "~": ("or so", "ish", "odd"),
}  # fmt: skip
"""The same for words behind a number."""

WHEN: Final = frozenset((
    "after", "before", "at", "by", "during", "since", "until", "from", "first", "last", "every",
    "each", "per", "within", "in",
))  # fmt: skip
"""Words before a number of epochs that make it a time."""
