"""The planted experiments of the laboratory asked for by somebody who saw only their pages.

The writer had the facts of each experiment, a few lines on what the others are like, and the user's
page about the search, and neither the index nor its vocabulary. The index was improved after each
set had been measured once; `BLIND` keeps what was found then.
"""

from __future__ import annotations

from typing import Final

_FIRST: Final = (
    "the svhn cnn trained with sgd whose loss blew up to NaN right after GradMax added neurons",
    "very sparse 784-300-100 mnist net with RigL, was flat after a handful of epochs",
    "transformer on news classification where we pruned attention heads",
    "resnet on cifar10 that got residual blocks added one after another, five in all",
    "autoencoder with a tiny bottleneck of 4 on fashion",
    "imdb lstm that overfits: train accuracy keeps climbing while validation goes down",
    "the tiny one on wine, six hidden units, only about a hundred parameters",
    (
        "diabetes regression, loss was still going down in a straight line when it ended, grown "
        "from 8 to 24 neurons"
    ),
    "speech commands cnn that somebody stopped after three epochs",
    (
        "grokking: digits net at chance on validation for most of the training, then suddenly "
        "nearly perfect, huge weight decay"
    ),
    "lottery ticket on mnist, iterative magnitude pruning with rewinding to an early epoch",
    (
        "california housing net that started with a single hidden layer and was made a dozen "
        "layers deeper"
    ),
    "cifar cnn where the tournament rejected every single edit",
    "dense baseline on mnist without growing, for comparison, one hidden layer of 512",
    "removing half of the neurons of the svhn network made the accuracy drop, but it came back",
    "ran out of GPU memory while doubling its width again and again",
    "deep fashion mnist MLP that lost layers and had neurons merged",
    "dead neurons re-initialised over and over with ReDo, I interrupted it in the end",
    "the longest run, cifar10 resnet, more than a day",
    "sparse evolutionary training with batches of four",
)
"""For `planted_lab_cases.FIRST`."""

_SECOND: Final = (
    "mnist convnet whose neurons were split three times, got to 99 %",
    "svhn run that first grew by extrema and was then pruned back",
    "housing regression trained with huber loss",
    "fashion mnist with a bottleneck of 32 in the middle, 512 on both sides",
    "big dense cifar10 MLP which overfitted: 97 % on train and only 55 % on test",
    "skip connections added at the very beginning, speech commands cnn",
    "the news transformer that hit the one hour time limit",
    "learning rate of .5, svhn resnet: looked fine and then collapsed for good",
    "plain linear classifier on digits, no hidden layer at all",
    "started at 2 % density and ended at 30 %, only adding connections",
    "does gradient noise help generalisation? the treatment arm with the LSTM",
    "random features on mnist with only the readout trained",
    "cnn with very strong dropout where validation was better than training",
    "Net2Net doubling of the width on cifar10",
    "resnet with linear looking accuracy that suddenly stopped improving at 88, seed 1234",
    "LSTM on speech that was done after a few epochs and didn't improve any more",
    "RigL on digits for 200 epochs, hundreds of rewirings",
    "could not find its data file",
    "best digits net with one small hidden layer, pruned twice early on",
    "cyclic learning rate, imdb transformer with accuracy going up and down",
)
"""For `planted_lab_later.SECOND`."""

QUESTIONS: Final = {"first": _FIRST, "second": _SECOND}
"""The questions of each set, in the order of its experiments."""

BLIND: Final = {"first": (14, 15), "second": (18, 19)}
"""How many were found first, and among the first five, when the set was measured at first."""
