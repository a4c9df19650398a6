"""Words of everyday: forms that no rule finds, denials, and words that say nothing alone."""

from __future__ import annotations

from typing import Final

IRREGULAR: Final = {
    "added": "add", "adding": "add", "adds": "add", "addition": "add",
    "val": "validation", "eval": "validation", "minibatch": "batch", "minibatches": "batch",
    "slimmed": "slimmed",
    "narrowed": "narrowed",
    "grew": "grow", "grown": "grow", "shrank": "shrink", "shrunk": "shrink", "learnt": "learn",
    "going": "go", "goes": "go", "gone": "go", "became": "become", "got": "get",
    "lost": "lose", "fell": "fall", "rose": "rise",
    "kept": "keep", "stuck": "stuck", "blew": "blow", "went": "go", "took": "take",
    "broke": "break", "cut": "cut", "wider": "wide", "widest": "wide", "deeper": "deep",
    "smaller": "small", "larger": "large", "bigger": "big", "didn": "not", "doesn": "not",
    "isn": "not", "wasn": "not", "won": "win", "never": "not", "no": "not", "without": "not",
    "non": "not", "don": "not", "hadn": "not", "stabilised": "stable", "stabilized": "stable",
    "lacking": "not", "neither": "not", "divergence": "diverge", "stagnation": "stagnate",
    "convergence": "converge", "regrew": "regrow", "insertion": "insert", "couldn": "not",
    "instability": "unstable", "saturation": "saturate", "lots": "many", "several": "many",
    "numerous": "many", "lot": "much", "nets": "net", "units": "neuron", "unit": "neuron",
    "params": "parameter", "nodes": "neuron", "weights": "weight", "begun": "begin",
    "quickly": "quick", "rapidly": "quick", "rapid": "quick", "multiple": "many", "tons": "many",
    "lr": "rate", "found": "find", "hundreds": "many", "dozens": "many", "thousands": "many",
    "countless": "many", "hardly": "hardly", "early": "early", "cannot": "not", "none": "not",
    "nothing": "not", "nobody": "not", "barely": "hardly", "scarcely": "hardly", "acc": "accuracy",
    "nn": "net", "nns": "net", "mlps": "mlp", "cnns": "cnn", "rnns": "rnn", "layered": "layer",
    "fewest": "few", "began": "begin", "ran": "run", "wrote": "write", "thrown": "throw",
    "threw": "throw", "taken": "take", "shot": "shoot", "held": "hold", "came": "come",
    "sank": "sink", "sunk": "sink", "froze": "freeze", "frozen": "frozen", "forgot": "forget",
    "overgrew": "overgrow", "overgrown": "overgrow", "hid": "hide", "slid": "slide",
    "climbed": "climb", "spoke": "speak", "spoken": "speak", "heavily": "heavy",
    "redid": "redo", "died": "die", "dying": "die", "used": "use", "hidden": "hidden",
    "analyse": "analyze", "halves": "half", "thirds": "third", "quarters": "quarter",
    "generalised": "generalise", "generalized": "generalise", "generalises": "generalise",
    "generalizes": "generalise", "generalising": "generalise", "generalizing": "generalise",
    "generalize": "generalise", "generalisation": "generalise", "generalization": "generalise",
    "memorised": "memorise", "memorized": "memorise", "memorising": "memorise",
    "memorizing": "memorise", "memorizes": "memorise", "memorises": "memorise",
    "memorize": "memorise", "memorisation": "memorise", "memorization": "memorise",
    "regularised": "regularise", "regularized": "regularise", "regularisation": "regularise",
    "regularization": "regularise", "reinitialised": "reinitialise",
    "reinitialized": "reinitialise", "oscillation": "oscillate", "oscillations": "oscillate",
    "fluctuations": "fluctuate", "fluctuation": "fluctuate", "gradients": "gradient",
    "improvement": "improve", "improvements": "improve", "progress": "improve",
    "overfitting": "overfit", "overfitted": "overfit", "overfits": "overfit",
    "underfitting": "underfit", "underfitted": "underfit", "underfits": "underfit",
    "widening": "widen", "widened": "widen", "wideness": "wide", "deepening": "deepen",
    "removal": "remove", "reduction": "reduce", "expansion": "expand", "splits": "split",
    "splitting": "split", "dropped": "drop", "dropping": "drop", "rejection": "reject",
    "rejections": "reject", "acceptance": "accept", "proposals": "proposal",
}  # fmt: skip
"""Forms that no rule finds, and words that mean the same everywhere."""

WHOLE: Final = frozenset(("started", "ended", "news"))
"""Forms that mean something else than the word that they come from."""

NOT: Final = "not"
"""What all words of denial become."""

GENERIC: Final = frozenset((
    "a", "about", "accuracy", "after", "again", "all", "almost", "also", "although", "an", "and",
    "any", "architecture", "architectures", "are", "around", "as", "at", "be", "because", "been",
    "before", "being", "between", "but", "by", "classifier", "connection", "connections", "d",
    "data", "did", "do", "does", "during", "edit", "edits", "end", "ended", "epoch", "epochs",
    "even",
    "experiment", "experiments", "far", "find", "for", "from", "get", "gets", "getting", "give",
    "got", "had", "has", "have", "having", "however", "i", "image", "images", "in", "into", "is",
    "it", "its", "itself", "just", "kind", "layer", "layers", "list", "ll", "looking", "loss", "me",
    "model", "models", "more", "most", "much", "my", "nearly", "net", "nets", "network", "networks",
    "neuron", "neurons", "now", "of", "on", "one", "ones", "only", "or", "our", "out", "parameter",
    "parameters", "percent", "quite", "rather", "re", "reached", "really", "roughly", "run", "runs",
    "s", "search", "set", "sets", "show", "size", "sized", "so", "some", "something", "spite",
    "still",
    "stopped", "t", "than", "that", "the", "their", "them", "then", "there", "these", "they",
    "this", "those", "though", "time", "times", "to", "too", "train", "trained", "training",
    "trial", "trials", "unit", "units", "until", "up", "us", "use", "used", "using", "ve", "very",
    "want", "was", "we", "weight", "weights", "well", "were", "what", "when", "where", "which",
    "while", "who", "whose", "width", "widths", "will", "with", "yet", "you", "your",
))  # fmt: skip
"""Words that say nothing about one experiment rather than another."""

LITTLE: Final = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "did", "do", "does", "even",
    "for", "from", "had", "has", "have", "i", "in", "into", "is", "it", "its", "just", "of", "on",
    "or", "quite", "rather", "really", "so", "some", "than", "that", "the", "their",
    "them", "then", "these", "they", "this", "those", "until", "was", "we", "were", "with",
    "within",
))  # fmt: skip
"""Words that may stand within any phrase."""
