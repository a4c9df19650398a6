"""Which score finds the layer that is best widened? Tried out on small networks on the digits.

Each network, 64-[a, b, c]-10 with ReLU, is trained for a while: a short one, after which its loss
is still falling fast, or a long one, after which it is near its end. Then each of its three hidden
layers in turn gets four more units, the function preserved, and training goes on with the same
batches as without growth. The gain of a place is by how much lower the training loss ends than
without growth, a mean over two seeds. A good score ranks the three places as their gains do.

    python -m benchmarks.growth_location --markdown docs/growth_location.md

The gains are the slow part; they are kept in a file, network by network, so that a run that was
stopped goes on where it was, and scores can be tried anew.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.growth_scores import scores_of
from benchmarks.growth_table import Trial, document
from structure_net.data import Dataset, load_dataset
from structure_net.files import cache_folder
from structure_net.graph import adopt, graph_of
from structure_net.surgery import AddNeurons, apply

SEEDS, NEW_UNITS = 2, 4
STEPS_AFTER, BATCH = 300, 64
NARROWEST, WIDEST = 3, 32
PLACES = ("0", "2", "4")
DESIGNS: Mapping[str, Callable[[random.Random], tuple[int, ...]]] = {
    "random widths": lambda draw: tuple(draw.randint(NARROWEST, WIDEST) for _ in PLACES),
    "equal widths": lambda draw: (draw.randint(NARROWEST, WIDEST),) * len(PLACES),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a network is trained before it grows.

    Args:
        steps: Of Adam.
        rate: The learning rate, before growth and after.
        networks: How many of each design.
    """

    steps: int
    rate: float
    networks: int


STAGES: Mapping[str, Stage] = {
    "early": Stage(300, 1e-3, networks=80),
    "late": Stage(1500, 3e-3, networks=40),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One network.

    Args:
        stage: Of `STAGES`.
        design: Of `DESIGNS`.
        number: Of the network; the same at each stage.
        widths: Of the hidden layers.
    """

    stage: str
    design: str
    number: int
    widths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What widening each place of one network gained.

    Args:
        stage: Of `STAGES`.
        design: Of `DESIGNS`.
        number: Of the network within it.
        widths: Of the hidden layers.
        train: Gains in training loss, one a place, in nats.
        held_out: Gains in held-out loss.
    """

    stage: str
    design: str
    number: int
    widths: tuple[int, ...]
    train: tuple[float, ...]
    held_out: tuple[float, ...]


def planned() -> Iterator[Case]:
    """The networks, the first of every kind first."""
    for number in range(max(stage.networks for stage in STAGES.values())):
        for name, stage in STAGES.items():
            for design, widths in DESIGNS.items() if number < stage.networks else ():
                yield Case(name, design, number, widths(random.Random(f"{design} {number}")))


def network_of(case: Case) -> nn.Sequential:
    """The network at its birth."""
    drawn = random.Random(f"weights {case.design} {case.number}").getrandbits(31)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(drawn)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((64, *case.widths, 10)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])


def train(
    network: nn.Module, optimizer: torch.optim.Optimizer, data: Dataset, steps: int, seed: int
) -> None:
    """Steps on batches that ``seed`` fixes."""
    draw = torch.Generator().manual_seed(seed)
    inputs, targets = data.train.inputs, data.train.targets
    for chosen in torch.randint(len(inputs), (steps, BATCH), generator=draw):
        optimizer.zero_grad()
        F.cross_entropy(network(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()


def trained(case: Case, data: Dataset) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """The network as it is when growth is decided, and its optimizer."""
    network, stage = network_of(case), STAGES[case.stage]
    optimizer = torch.optim.Adam(network.parameters(), lr=stage.rate, fused=True)
    train(network, optimizer, data, stage.steps, case.number)
    return network, optimizer


@torch.no_grad()
def losses(network: nn.Module, data: Dataset) -> Tensor:
    """Training and held-out loss."""
    parts = (data.train, data.validation)
    return torch.stack([F.cross_entropy(network(part.inputs), part.targets) for part in parts])


def outcome(case: Case, data: Dataset) -> Outcome:
    """Widens each place in turn and goes on."""
    network, optimizer = trained(case, data)
    example = data.train.inputs[:2]
    graph_of(network, example)
    gains = torch.zeros(len(PLACES), 2)
    for seed in range(SEEDS):
        ends = []
        for place in (None, *PLACES):
            twin, steps = deepcopy((network, optimizer))
            adopt(twin, network)
            if place is not None:
                apply(twin, AddNeurons(place, NEW_UNITS), example, optimizer=steps, seed=seed)
            train(twin, steps, data, STEPS_AFTER, 1000 + seed)
            ends.append(losses(twin, data))
        gains += (ends[0] - torch.stack(ends[1:])) / SEEDS
    on_train, held_out = (tuple(column.tolist()) for column in gains.unbind(1))
    return Outcome(case.stage, case.design, case.number, case.widths, on_train, held_out)


def kept(path: Path) -> dict[Case, Outcome]:
    """The outcomes in a file, none if there is none."""
    found: dict[Case, Outcome] = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        fields = json.loads(line)
        one = Outcome(
            fields["stage"],
            fields["design"],
            fields["number"],
            tuple(fields["widths"]),
            tuple(fields["train"]),
            tuple(fields["held_out"]),
        )
        found[Case(one.stage, one.design, one.number, one.widths)] = one
    return found


def measure(path: Path, data: Dataset) -> dict[Case, Outcome]:
    """All outcomes; those that the file lacks are measured and added to it, one by one."""
    found = kept(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for case in planned():
            if case in found:
                continue
            found[case] = outcome(case, data)
            file.write(json.dumps(asdict(found[case])) + "\n")
            file.flush()
            if case.number % 10 == 9:
                print(f"{case.stage}, {case.design}: {case.number + 1} networks", flush=True)
    return found


def main() -> None:
    """Measures what is missing and prints one table for each design."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--gains",
        type=Path,
        default=cache_folder() / "growth_location.jsonl",
        help="the file of gains; kept, so that a run that was stopped goes on",
    )
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset("digits").flattened()
    outcomes = measure(arguments.gains, data)
    trials = []
    for case in planned():
        one = outcomes[case]
        scores = scores_of(trained(case, data)[0], data, PLACES)
        trials.append(Trial(f"{case.design}, {case.stage}", one.train, one.held_out, scores))
    text = document(trials, _protocol())
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text, "utf-8")


def _protocol() -> str:
    stages = "; ".join(
        f"{name}: {stage.networks} of each kind, {stage.steps} steps at a rate of {stage.rate:g}"
        for name, stage in STAGES.items()
    )
    return (
        f"Networks 64-[a, b, c]-10, ReLU, widths from {NARROWEST} to {WIDEST}, trained by Adam in "
        f"batches of {BATCH} on the digits ({stages}). Then {NEW_UNITS} units more in one of the "
        f"three hidden layers, the function preserved, and {STEPS_AFTER} more steps; means over "
        f"{SEEDS} seeds, with the same batches for all places and for no growth."
    )


if __name__ == "__main__":
    main()
