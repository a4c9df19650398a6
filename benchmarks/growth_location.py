"""Which score finds the layer that is best widened? Tried out on small networks on the digits.

Each network, 64-[a, b, c]-10 with ReLU, is trained for a while. Then each of its three hidden
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
from collections.abc import Callable, Iterator, Mapping, Sequence
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

NETWORKS, SEEDS, NEW_UNITS = 80, 2, 4
STEPS_BEFORE, STEPS_AFTER, BATCH, RATE = 300, 300, 64, 1e-3
NARROWEST, WIDEST = 3, 32
PLACES = ("0", "2", "4")
DESIGNS: Mapping[str, Callable[[random.Random], tuple[int, ...]]] = {
    "random widths": lambda draw: tuple(draw.randint(NARROWEST, WIDEST) for _ in PLACES),
    "equal widths": lambda draw: (draw.randint(NARROWEST, WIDEST),) * len(PLACES),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What widening each place of one network gained.

    Args:
        design: Of `DESIGNS`.
        number: Of the network within it.
        widths: Of the hidden layers.
        train: Gains in training loss, one a place, in nats.
        held_out: Gains in held-out loss.
    """

    design: str
    number: int
    widths: tuple[int, ...]
    train: tuple[float, ...]
    held_out: tuple[float, ...]


def planned() -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """The networks: design, number, widths."""
    for number in range(NETWORKS):
        for design, widths in DESIGNS.items():
            yield design, number, widths(random.Random(f"{design} {number}"))


def network_of(design: str, number: int, widths: Sequence[int]) -> nn.Sequential:
    """The network at its birth."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.Random(f"weights {design} {number}").getrandbits(31))
        sizes = (64, *widths, 10)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
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


def trained(
    design: str, number: int, widths: Sequence[int], data: Dataset
) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """The network as it is when growth is decided, and its optimizer."""
    network = network_of(design, number, widths)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    train(network, optimizer, data, STEPS_BEFORE, number)
    return network, optimizer


@torch.no_grad()
def losses(network: nn.Module, data: Dataset) -> Tensor:
    """Training and held-out loss."""
    parts = (data.train, data.validation)
    return torch.stack([F.cross_entropy(network(part.inputs), part.targets) for part in parts])


def outcome(design: str, number: int, widths: tuple[int, ...], data: Dataset) -> Outcome:
    """Widens each place in turn and goes on."""
    network, optimizer = trained(design, number, widths, data)
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
    return Outcome(design, number, widths, on_train, held_out)


def kept(path: Path) -> dict[tuple[str, int], Outcome]:
    """The outcomes in a file, none if there is none."""
    if not path.exists():
        return {}
    found: dict[tuple[str, int], Outcome] = {}
    for line in path.read_text("utf-8").splitlines():
        fields = json.loads(line)
        pairs = {key: tuple(fields[key]) for key in ("widths", "train", "held_out")}
        one = Outcome(fields["design"], fields["number"], **pairs)
        found[one.design, one.number] = one
    return found


def measure(path: Path, data: Dataset) -> dict[tuple[str, int], Outcome]:
    """All outcomes; those that the file lacks are measured and added to it, one by one."""
    found = kept(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for design, number, widths in planned():
            if (design, number) in found:
                continue
            one = found[design, number] = outcome(design, number, widths, data)
            file.write(json.dumps(asdict(one)) + "\n")
            file.flush()
            if number % 10 == 9:
                print(f"{design}: {number + 1} of {NETWORKS} networks", flush=True)
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
    for design, number, widths in planned():
        one = outcomes[design, number]
        network, _ = trained(design, number, widths, data)
        scores = scores_of(network, data, PLACES)
        trials.append(Trial(design, one.train, one.held_out, scores))
    text = document(trials, tuple(DESIGNS), _protocol())
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text, "utf-8")


def _protocol() -> str:
    return (
        f"{NETWORKS} networks 64-[a, b, c]-10 of each kind, ReLU, widths from {NARROWEST} to "
        f"{WIDEST}, {STEPS_BEFORE} steps of Adam (rate {RATE:g}, batches of {BATCH}) on the digits;"
        f" then {NEW_UNITS} units more in one of the three hidden layers, the function preserved, "
        f"and {STEPS_AFTER} more steps; means over {SEEDS} seeds, with the same batches for all."
    )


if __name__ == "__main__":
    main()
