"""Protocol D of the growth race: 784-8-8 grows to 784-64-64 on MNIST."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from time import process_time

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LambdaLR,
    LRScheduler,
)

from benchmarks import growth_race_gromo
from benchmarks.growth_race_table import Protocol, Run
from structure_net.data import Split, load_dataset
from structure_net.surgery import (
    AddNeurons,
    CopyUnits,
    GradMax,
    Initialiser,
    OptimalUnits,
    RandomOutgoing,
    ZeroOutgoing,
    edit,
)

EPOCHS, BATCH, RATE, MOMENTUM = 8, 128, 0.05, 0.9
SMALL, LARGE, STEP = 8, 64, 8
SETTLING = 0.5
"""The share of the last epoch, its end, in which a settling rate falls."""
PLACES = ("2", "0")
"""The hidden layers, the last one first: the other way round, new units of the first would find
readers that are new themselves, and random."""

Schedule = Callable[[torch.optim.Optimizer, int], LRScheduler]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way through the protocol.

    Args:
        width: Of both hidden layers at birth.
        start: How new units begin; None: nothing grows.
        schedule: Of the rate, given the steps of an epoch; None: the protocol's constant one.
    """

    width: int = SMALL
    start: Initialiser | None = None
    schedule: Schedule | None = None


def _restarts(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    return CosineAnnealingWarmRestarts(optimizer, steps)


def _settling(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    return LambdaLR(optimizer, lambda step: min(1.0, (EPOCHS - step / steps) / SETTLING))


def _falling(optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    return CosineAnnealingLR(optimizer, EPOCHS * steps)


METHODS = {
    "fixed 64-64": Recipe(LARGE),
    "fixed 8-8": Recipe(SMALL),
    "grown, zero fan-out": Recipe(start=ZeroOutgoing()),
    "grown, random": Recipe(start=RandomOutgoing()),
    "grown, Net2Net": Recipe(start=CopyUnits(0.1)),
    "grown, GradMax": Recipe(start=GradMax()),
    "grown, TINY": Recipe(start=OptimalUnits()),
    "grown, TINY, zero fan-out": Recipe(start=OptimalUnits(amplitude=0.0)),
    "grown, TINY, damping 1e-3": Recipe(start=OptimalUnits(damping=1e-3)),
    "fixed 64-64, settling": Recipe(LARGE, schedule=_settling),
    "grown, zero fan-out, settling": Recipe(start=ZeroOutgoing(), schedule=_settling),
    "grown, GradMax, settling": Recipe(start=GradMax(), schedule=_settling),
    "fixed 64-64, warm restarts": Recipe(LARGE, schedule=_restarts),
    "grown, zero fan-out, warm restarts": Recipe(start=ZeroOutgoing(), schedule=_restarts),
    "grown, GradMax, warm restarts": Recipe(start=GradMax(), schedule=_restarts),
    "fixed 64-64, falling rate": Recipe(LARGE, schedule=_falling),
    "grown, zero fan-out, falling rate": Recipe(start=ZeroOutgoing(), schedule=_falling),
}


def protocols() -> list[Protocol]:
    """The one protocol."""
    methods = {name: partial(run, recipe) for name, recipe in METHODS.items()}
    return [
        Protocol(
            "D",
            "Growing eightfold on MNIST",
            _TASK,
            "test accuracy, %",
            {**methods, "gromo, TINY with line search": growth_race_gromo.run},
            _GOALS,
            _FINDING,
            base="fixed 64-64",
        )
    ]


_TASK = (
    f"784-{SMALL}-{SMALL}-10, ReLU, all 60000 training images, {EPOCHS} epochs in batches of "
    f"{BATCH}, SGD at a rate of {RATE} with momentum {MOMENTUM}; {STEP} units more in each hidden "
    f"layer after each of the first {EPOCHS - 1} epochs, {LARGE}-{LARGE} in the end. Test accuracy "
    "behind the last step. Other libraries reached 96.3 and 96.2 (gromo, TINY with line search), "
    "96.6 and 96.2 (NeurOps), on two seeds; a fixed 64-64 net 97.1."
)
_GOALS = (
    "To reach: above 96.6 in at most 1.2 times the seconds of the fixed 64-64 net, and as near its "
    "accuracy as can be. Rows with a schedule change the protocol's rate, and are to be compared "
    "with the fixed net under the same one. Settling: it falls to 0 over the last "
    f"{100 * SETTLING:g} % of the last epoch, long after the last growth. Warm restarts: a cosine "
    "within each epoch, so that every growth finds a settled network. Falling: one cosine over all."
)


_FINDING = (
    "What was tried besides, on two seeds each: paired units with opposite outgoing weights (96.1 "
    "to 96.4), splits of the most loaded units (95.7 to 96.3), old weights shrunk by .5 to .8 at "
    "each growth (95.4 to 96.8), momentum reset at growth (96.2, 96.6), newborn units at three "
    "times the rate (96.0, 96.6, in twice the time), the old ones at half of it besides (95.3), "
    "incoming and outgoing weights balanced (94.8 to 96.4), the first layer grown before the last "
    "(96.0, 96.3). None of it helps beyond chance: at the protocol's own rate, which is constant, "
    "the target is missed by .13. Rows with a schedule are another protocol."
    "\n\n"
    "About half of a grown network's training loss is noise of the rate: a further epoch at a "
    "tenth of it takes .083 to .045 (test accuracy 96.5 to 97.2), and a fixed network's .026 to "
    ".010 (97.5 to 98.0). So a rate that settles behind the last growth helps, and costs no time; "
    "the fixed network gains by it as well. Which schedule is best was decided on 10,000 of the "
    "training images that were held out for that, with training on the other 50,000, three seeds "
    "each (zero fan-out, GradMax): constant 95.9 and 95.8, settling 96.5 and 96.6, warm restarts "
    "96.2 and 96.4. What is left is that new units learn from a small "
    "residual: a grown network ends where a fixed one is after two or three epochs.\n\n"
    "GradMax with rows of the old ones' norm diverged: images vary most along few directions, "
    "along which such rows give far larger outputs than the old ones. Sized by their output they "
    "are stable. TINY whitens the inputs, and of 784 pixels many hardly vary on 512 images: with a "
    "damping of a thousandth of the mean eigenvalue its rows became 27 times as long as the old "
    "ones after one epoch (.6 times by GradMax), gave up to 110 on single test images, where old "
    "units stay below 43, and training diverged. So the damping is the largest eigenvalue by "
    "default, and no row is longer than 1.25 times the longest old one, which makes a thousandth "
    "safe too. On the held-out images, two or three seeds: largest eigenvalue without a bound on "
    "the rows 95.5, with it 95.7; a thousandth of the mean one with it 94.8. Rows of TINY were run "
    "on a busy machine, where all methods take more seconds: their last column is too high. "
    "Gromo's row is ours, with statistics of ten batches and a new optimizer after each growth; an "
    "earlier measurement with other settings reached the 96.3 above, so that the row may do gromo "
    "less than justice."
)


@cache
def images() -> tuple[Split, Split]:
    """Training and test images of MNIST as vectors.

    Raises:
        DatasetError: The data folder holds no MNIST.
    """
    data = load_dataset("mnist", validation_fraction=0.0, mapped=False).flattened()
    return data.train, data.test


def network(width: int, seed: int) -> nn.Sequential:
    """The network at its birth, with torch's own weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hidden = [nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        return nn.Sequential(*hidden, nn.Linear(width, 10))


def order(seed: int, samples: int) -> Callable[[], Tensor]:
    """The samples of an epoch in the order that ``seed`` gives, another one for each call."""
    drawn = torch.Generator().manual_seed(1000 + seed)
    return lambda: torch.randperm(samples, generator=drawn)


@torch.no_grad()
def accuracy(model: nn.Module, split: Split) -> float:
    """In percent."""
    hits: Tensor = model(split.inputs).argmax(1) == split.targets
    return 100 * hits.double().mean().item()


def run(recipe: Recipe, seed: int) -> Run:
    """One network from birth to its last epoch."""
    train, test = images()
    model, shuffled = network(recipe.width, seed), order(seed, len(train))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    begun, growth = process_time(), 0.0
    steps = len(train) // BATCH
    schedule = recipe.schedule(optimizer, steps) if recipe.schedule else None
    for epoch in range(EPOCHS):
        epoch_order = shuffled()
        for chosen in epoch_order[: steps * BATCH].split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(train.inputs[chosen]), train.targets[chosen]).backward()
            optimizer.step()
            if schedule:
                schedule.step()
        if recipe.start and epoch < EPOCHS - 1:
            before = process_time()
            grow(model, optimizer, recipe.start, epoch_order, seed * EPOCHS + epoch)
            growth += process_time() - before
    return Run(accuracy(model, test), process_time() - begun, growth)


def grow(
    model: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    start: Initialiser,
    shuffled: Tensor,
    seed: int,
) -> None:
    """More units in both hidden layers."""
    train, _ = images()
    chosen = shuffled[: start.probe_size or 2]
    probe = (train.inputs[chosen], train.targets[chosen], F.cross_entropy)
    for place in PLACES:
        edit(
            model,
            AddNeurons(place, STEP),
            probe[0][:2],
            optimizer=optimizer,
            initialiser=start,
            probe=probe,
            seed=seed,
        )
