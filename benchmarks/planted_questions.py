"""The planted experiments asked for again, in other people's words.

No experiment is new: only the words are. The third and the fourth set were written at one sitting,
before their writer had read how the index ranks; the third asks for the twenty of the first, the
fourth for the ten later ones and ten of the first. The index was improved after the third had been
measured, before the fourth was. The fifth asks for the twenty once more; it is by somebody who
never saw the index, and was opened when the improvements stood.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.planted import Case
from benchmarks.planted_cases import CASES, LATER


def _reworded(questions: Sequence[tuple[str, str]]) -> tuple[Case, ...]:
    known = {case.question: case.facts for case in (*CASES, *LATER)}
    return tuple(Case(asked, known[first]) for first, asked in questions)


THIRD = _reworded(
    (
        (
            "sparse nets that plateaued early",
            "one percent of the weights, no further gain after a handful of epochs",
        ),
        (
            "network that got much deeper while training",
            "started shallow and had many more layers by the end",
        ),
        ("wide shallow network", "a single huge hidden layer"),
        ("training blew up", "diverged to NaN"),
        (
            "runs on fashion images that overfit",
            "Fashion-MNIST, memorised the training set while validation got worse",
        ),
        (
            "neurons were pruned to a third of the parameters",
            "removing units made the model three times smaller",
        ),
        (
            "convolutional nets grown by splitting neurons",
            "CNN on CIFAR-10 whose filters were cloned to widen it",
        ),
        ("tiny network on handwritten digits", "smallest classifier for the 8x8 digits"),
        (
            "rewired with RigL at two percent",
            "dynamic sparse training with gradient-based regrowth, 98% sparsity",
        ),
        ("residual blocks added late", "skip-connection blocks inserted near the end of training"),
        ("most edits were rejected", "nearly all proposed changes were rolled back"),
        (
            "still improving when it stopped",
            "loss was going down until the last epoch, should have trained longer",
        ),
        ("transformer with heads removed", "attention heads pruned from the encoder"),
        (
            "regression on housing prices",
            "predicting California house values with squared error",
        ),
        (
            "never grew",
            "the architecture stayed exactly the same although growth was switched on",
        ),
        ("very deep narrow network", "twenty hidden layers of a few units each"),
        (
            "reached 98 percent on mnist with few connections",
            "MNIST above 98% accuracy at 2% density",
        ),
        (
            "accuracy collapsed after an edit and recovered",
            "performance dropped sharply right after surgery, then came back",
        ),
        (
            "lottery ticket rewinding",
            "winning tickets: prune by magnitude, reset weights to their early values",
        ),
        (
            "learning rate far too high, loss oscillates",
            "unstable optimisation, step size too large, jumps up and down",
        ),
    )
)

FOURTH = _reworded(
    (
        (
            "sparse nets that plateaued early",
            "ultra-low density model that hit its ceiling within the first few passes",
        ),
        ("network that got much deeper while training", "depth more than tripled"),
        ("training blew up", "gradients exploded and the cost became infinite"),
        (
            "neurons were pruned to a third of the parameters",
            "shrunk to one third by cutting away units",
        ),
        ("residual blocks added late", "shortcut modules put in at the tail of the run"),
        ("most edits were rejected", "proposals mostly undone by the acceptance test"),
        ("still improving when it stopped", "undertrained: the curve had not flattened"),
        ("never grew", "static topology despite having growers configured"),
        (
            "accuracy collapsed after an edit and recovered",
            "sudden fall following a modification, later regained",
        ),
        (
            "learning rate far too high, loss oscillates",
            "zigzagging objective caused by an excessive step size",
        ),
        ("autoencoder that doubled its bottleneck", "VAE whose latent size went from 8 to 16"),
        ("nothing learned, accuracy at chance", "stuck at random guessing, ten percent correct"),
        (
            "quick win: good after one epoch",
            "converged almost immediately, already excellent after the first pass",
        ),
        ("connections grown back after pruning", "cut links, then restored some of them"),
        ("the biggest model we have", "largest parameter count of all"),
        ("GELU network on text", "NLP model with gaussian error linear units"),
        ("dead units reset by ReDo", "recycling of inactive neurons"),
        (
            "dense baseline on cifar",
            "fully connected reference without any growth, CIFAR-10",
        ),
        ("ended early by Ctrl-C", "aborted by the user before all epochs were done"),
        (
            "width doubled every five epochs",
            "layers made twice as broad again and again at regular intervals",
        ),
    )
)

_FIFTH = (
    "experiments with almost no weights whose score stopped rising after a few epochs",
    "which model had layers inserted until it was several times as deep",
    "one huge hidden layer and nothing else",
    "the one where the loss turned into NaN",
    "memorised the clothing pictures: train score up, held-out score down at the end",
    "pruned away two thirds of its weights by removing units",
    "ConvNet that widened by neuron splits on CIFAR",
    "smallest model on the 8x8 digit scans",
    "dynamic sparse training, 2 % of weights, connections moved by gradient",
    "skip blocks inserted in the last part of training",
    "the run where nearly all proposed changes were undone",
    "should have been trained longer, loss was still going down at the end",
    "attention model that lost some of its heads",
    "predicting a price, not a class",
    "had growth strategies configured but its architecture stayed the same",
    "twenty thin layers on top of each other",
    "good MNIST result, around 98 %, although it is very sparse",
    "score dropped sharply when units were cut, then came back",
    "magnitude pruning with weights reset to earlier values, down to five percent",
    "step size too large: the loss jumps up and down",
)
FIFTH = tuple(Case(asked, case.facts) for asked, case in zip(_FIFTH, CASES, strict=True))
