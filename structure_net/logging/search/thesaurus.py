"""Words that mean the same, so that a phrase is recognised in words other than its own.

A family holds words that can stand for one another in a phrase of the vocabulary: "accuracy fell"
is also a performance that plunged. An idiom is several words that are read as one. Families hold no
word that means something else when it stands alone.
"""

from __future__ import annotations

from typing import Final

FAMILIES: Final[tuple[str, ...]] = (
    # what happens to a network
    "remove prune cut delete discard eliminate trim erase excise strip",
    "add insert introduce append attach new extra additional",
    "grow expand enlarge extend",
    "shrink reduce compress condense",
    "split divide duplicate clone copy replicate",
    "merge fuse join combine unite",
    "reset recycle reinitialise reinitialize revive renew refresh",
    "move swap relocate exchange",
    "double triple quadruple twice",
    "edit change modification modify surgery operation mutation alteration proposal",
    "reject refuse undo revert rollback veto",
    "accept approve keep",
    "keep stay remain continue",
    # its parts
    "neuron channel filter node cell",
    "connection link edge synapse weight",
    "skip shortcut bypass",
    "dead inactive dormant silent idle",
    "architecture topology structure shape",
    "depth layer",
    # sizes and numbers
    "very extremely ultra highly super extraordinarily",
    "large big huge giant massive enormous gigantic immense",
    "small tiny little minute minimal miniature",
    "wide broad fat",
    "narrow thin slim skinny",
    "few handful couple",
    "most mostly mainly largely nearly almost majority",
    "one first single sole",
    "half third quarter fifth tenth fraction",
    "same identical constant fixed",
    "unchanged static frozen",
    "times fold",
    # how it learned
    "accuracy performance score quality",
    "loss objective",
    "validation holdout heldout",
    "epoch pass",
    "improve progress better",
    "fall drop sink decline decrease plunge plummet tumble",
    "rise increase climb",
    "recover regain restore rebound heal",
    "explode diverge",
    "plateau stall stagnate saturate flatten",
    "overfit memorise memorize",
    "unstable erratic volatile jumpy oscillate fluctuate",
    "sudden sharp abrupt steep",
    "good great excellent superb outstanding",
    "bad poor weak terrible awful",
    # when, and how fast
    "early soon start begin initial premature",
    "late end last final tail",
    "quick fast swift immediate instant prompt",
    "slow sluggish gradual",
    "stop cease halt quit",
    "interrupt abort cancel terminate",
    # settings and data
    "high excessive elevated",
    "text language nlp sentence document",
)
"""Families of words, each in its plainest form."""

IDIOMS: Final[dict[str, str]] = {
    "go down": "fall", "come down": "fall", "get lower": "fall", "go up": "rise",
    "get higher": "rise", "get better": "improve", "do better": "improve",
    "roll back": "rollback", "take back": "rollback", "turn down": "reject",
    "blow up": "explode", "come back": "recover", "bounce back": "recover",
    "put in": "insert", "level off": "plateau", "flatten out": "plateau", "cut away": "remove",
    "take away": "remove", "take out": "remove", "throw away": "remove", "get rid": "remove",
    "cost function": "loss", "held out": "validation", "step size": "rate", "learning rate": "rate",
    "right away": "soon",
    "at once": "soon", "long before": "early",
    "convolutional neural network": "cnn", "recurrent neural network": "rnn",
    "variational autoencoder": "vae", "natural language processing": "nlp",
    "multilayer perceptron": "mlp", "multi layer perceptron": "mlp",
    "gaussian error linear unit": "gelu", "rectified linear unit": "relu",
    "stochastic gradient descent": "sgd", "mean squared error": "mse", "squared error": "mse",
    "root mean square": "rms", "cross entropy": "cross_entropy",
}  # fmt: skip
"""Several words that are one, by the words in a row."""
