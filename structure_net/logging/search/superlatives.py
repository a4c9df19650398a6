"""Words that ask for the first of an order: the best, the smallest, the slowest."""

from __future__ import annotations

from typing import Final

Order = tuple[str, bool]
"""A field, and whether its largest value is asked for."""

PLAIN: Final[dict[str, tuple[Order, ...]]] = {
    "best": (("accuracy", True),), "top": (("accuracy", True),), "champion": (("accuracy", True),),
    "winner": (("accuracy", True),), "strongest": (("accuracy", True),),
    "finest": (("accuracy", True),), "worst": (("accuracy", False),),
    "weakest": (("accuracy", False),), "poorest": (("accuracy", False),),
    "largest": (("parameters", True),), "biggest": (("parameters", True),),
    "hugest": (("parameters", True),), "heaviest": (("parameters", True),),
    "fattest": (("parameters", True), ("width", True)),
    "smallest": (("parameters", False),), "tiniest": (("parameters", False),),
    "littlest": (("parameters", False),), "lightest": (("parameters", False),),
    "deepest": (("depth", True),), "tallest": (("depth", True),), "shallowest": (("depth", False),),
    "widest": (("width", True),), "broadest": (("width", True),), "narrowest": (("width", False),),
    "thinnest": (("width", False),), "sparsest": (("density", False),),
    "densest": (("density", True),), "longest": (("seconds", True), ("epochs", True)),
    "slowest": (("seconds", True),), "costliest": (("seconds", True),),
    "shortest": (("seconds", False), ("epochs", False)), "fastest": (("seconds", False),),
    "quickest": (("seconds", False),), "cheapest": (("seconds", False), ("parameters", False)),
    "newest": (("created", True),), "latest": (("created", True),),
    "oldest": (("created", False),), "earliest": (("created", False),),
}  # fmt: skip
"""What a word asks for where no noun behind it says of what."""

HIGH: Final = frozenset((
    "highest", "most", "largest", "biggest", "maximum", "maximal", "greatest", "max", "best",
    "longest", "top",
))  # fmt: skip
LOW: Final = frozenset((
    "lowest", "least", "fewest", "smallest", "minimum", "minimal", "min", "tiniest", "shortest",
    "worst",
))  # fmt: skip
"""Words that ask for an end of what the noun behind them says."""

OF: Final[dict[tuple[str, ...], str]] = {
    ("accuracy",): "accuracy", ("accurate",): "accuracy", ("score",): "accuracy",
    ("test", "accuracy"): "accuracy", ("validation", "accuracy"): "best_accuracy",
    ("result",): "accuracy", ("loss",): "loss", ("validation", "loss"): "loss",
    ("training", "accuracy"): "train_accuracy", ("train", "accuracy"): "train_accuracy",
    ("parameter",): "parameters", ("model",): "parameters", ("network",): "parameters",
    ("net",): "parameters", ("connection",): "connections", ("weight",): "connections",
    ("link",): "connections", ("density",): "density", ("dense",): "density",
    ("layer",): "depth", ("hidden", "layer"): "depth", ("depth",): "depth",
    ("neuron",): "width", ("width",): "width", ("channel",): "width",
    ("hidden", "neuron"): "width",
    ("learning", "rate"): "learning_rate", ("rate",): "learning_rate",
    ("batch", "size"): "batch_size", ("batch",): "batch_size", ("epoch",): "epochs",
    ("schedule",): "epochs",
    ("edit",): "edits", ("change",): "edits", ("surgery",): "edits",
    ("modification",): "edits", ("growth", "step"): "edits",
    ("rejection",): "taken_back", ("reject",): "taken_back", ("rollback",): "taken_back",
    ("grow",): "growth", ("growth",): "growth", ("time",): "seconds", ("run",): "seconds",
    ("training", "time"): "seconds", ("runtime",): "seconds", ("expensive",): "seconds",
    ("gap",): "gap", ("error",): "-accuracy", ("sparse",): "-density",
    ("sparsity",): "-density", ("overfit",): "gap", ("deep",): "depth", ("wide",): "width",
    ("recent",): "created", ("dropout",): "dropout", ("decay",): "weight_decay",
    ("weight", "decay"): "weight_decay", ("split",): "edits.SplitNeurons",
    ("head",): "edits.RemoveHeads", ("skip", "connection"): "edits.AddSkipConnection",
    ("residual", "block"): "edits.AddResidualBlock", ("block",): "edits.AddResidualBlock",
}  # fmt: skip
"""What they can be said of, by the words' one form; ``-`` turns the order round."""

RUNS: Final = frozenset(("run", "model", "network", "net", "one", "experiment"))
"""Nouns that say nothing of what an order is of."""
