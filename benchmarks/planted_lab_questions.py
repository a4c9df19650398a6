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

_THIRD: Final = (
    "imdb MLP where layers were inserted only in the last epochs, right before the end",
    "cifar10 with the lion optimizer, learned terribly slowly",
    "LSTM on news, dead units recycled again and again, stopped by hand",
    "mnist: started with a thousand hidden units and pruned neurons step by step until 60 remained",
    "sigmoid network that was already at its final accuracy after the very first epoch "
    "(breast cancer)",
    "the transformer that never learned anything in spite of warmup",
    "svhn resnet was stuck on a plateau and only improved again once skip connections and "
    "residual blocks were added",
    "housing net whose layers double in width one after the other, 16 32 64 128",
    "SET on a diamond shaped sparse net (wide in the middle), fashion",
    "speech cnn which started tiny and grew 30 times bigger",
    "the loss exploded at a high learning rate on wine, very sparse net",
    "autoencoder on mnist whose bottleneck was widened, after which the reconstruction got better",
    "neurons added and later removed in alternation, ending at the same size",
    "digits: the only growth attempt was rejected",
    "pruned 90 % of the LSTM's connections in one shot late in training, and accuracy never "
    "recovered",
    "heavily regularised baseline for figure 3",
    "attention heads removed, but most of the attempts were undone because the held out loss "
    "got worse",
    "crashed in the data loader, had merged neurons before",
    "cifar10 resnet with flips and crops",
    "just two hidden units, underfits",
)
"""For `planted_lab_last.THIRD`."""

_FOURTH: Final = (
    "convolutional MNIST net grown by neuron splitting, widths from 16 up to 128",
    "alternated phases: growth with the extrema strategy in the first half, pruning in the "
    "second half (svhn)",
    "the one with the huber loss",
    "hourglass MLP on fashion-mnist",
    "largest overfitting MLP on cifar10, nine million weights, huge gap between train and "
    "test accuracy",
    "speech_commands CNN, skip connections in each of the first four epochs",
    "ag news transformer which ran out of its time budget",
    "which resnet crashed to chance level in mid training and never came back? lr was way too big",
    "softmax regression on digits",
    "mnist sparse to denser: connection growth from 2 to 30 percent",
    "LSTM trained with noisy gradients (tagged appendix)",
    "frozen hidden layer of 10000 units, just the output weights are learned",
    "val acc > train acc all along because of dropout 0.8",
    "width doubled twice by net2net, cifar cnn",
    "accuracy rises steadily for most of the run and then stays exactly the same, resnet "
    "cifar10 with strong weight decay",
    "speech lstm that converged almost immediately and then flat",
    "dynamic sparse training with RigL and the longest schedule on digits",
    "crashed at once: missing csv",
    "digits MLP, above 99 percent, pruned at epochs 5 and 10",
    "transformer with cyclic learning rate whose accuracy dipped in the middle and climbed again",
)
"""For `planted_lab_later.SECOND` once more, by somebody else."""

QUESTIONS: Final = {"first": _FIRST, "second": _SECOND, "third": _THIRD, "fourth": _FOURTH}
"""The questions of each set, in the order of its experiments; the fourth is of another writer."""

BLIND: Final = {"first": (14, 15), "second": (18, 19), "third": (14, 14), "fourth": (12, 14)}
"""How many were found first, and among the first five, when the set was measured at first."""
