"""What training a sparse network costs on this machine: in the usual ways, and in ours.

The usual way in this field multiplies a dense matrix with a mask in every forward pass and trains
with PyTorch's default Adam. Better is a matrix that is masked before, with a masked gradient and
the fused Adam. SparseProp, where it is installed, is the fastest published code for the processor.
All ways start with the same weights.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from structure_net.core import create_standard_network
from structure_net.core.crossover import Storage, storage_for
from structure_net.core.crossover_costs import costs_here
from structure_net.core.crossover_measuring import live_step, masked_step
from structure_net.core.masking import masks_memory
from structure_net.core.optimizers import adam_for
from structure_net.core.storage import StoredLayer

MASKED: Final = "masked, default Adam"
FUSED: Final = "pre-masked, fused Adam"
SPARSEPROP: Final = "SparseProp, fused Adam"
OURS: Final = "structure-net"

BATCH: Final = 128
NETWORKS: Final[tuple[tuple[int, ...], ...]] = (
    (784, 256, 128, 10),
    (1024, 1024, 1024, 10),
    (3072, 1024, 1024, 1024, 10),
)
_RATE: Final = 1e-3
_TURN: Final = 0.02  # seconds that the steps of a turn last together

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What a training step of one network costs: forward, loss, backward and Adam.

    Args:
        widths: Of the network, from input to output.
        density: The fraction of connections that exist.
        connections: How many that are.
        storages: What stores each layer in our way.
        seconds: The median of a step, by way.
        memory: Bytes of weights, gradients, masks and indices, and the optimizer's state, by way.
        device: Where the networks were.
    """

    widths: tuple[int, ...]
    density: float
    connections: int
    storages: tuple[str, ...]
    seconds: Mapping[str, float]
    memory: Mapping[str, int]
    device: str = "cpu"

    def speed(self, over: str) -> float:
        """How many times as fast as another way ours is.

        Args:
            over: The way's name.
        """
        return self.seconds[over] / self.seconds[OURS]


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What a training step of one layer costs in either storage, at several densities.

    Args:
        shape: The numbers of outputs and of inputs.
        masked: The seconds in masked storage, whatever the density.
        live: Pairs of a density and the seconds in live storage.
        chosen: The storage that a new layer gets, by density.
        crossover: The density at which both cost the same, by the figures kept for this machine.
    """

    shape: tuple[int, int]
    masked: float
    live: tuple[tuple[float, float], ...]
    chosen: tuple[Storage, ...]
    crossover: float


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A network in training.

    Args:
        network: Takes a batch of vectors.
        optimizer: Of its parameters.
    """

    network: nn.Module
    optimizer: Optimizer

    def step(self, inputs: Tensor, targets: Tensor) -> None:
        """One training step.

        Args:
            inputs: Shape ``(batch, features)``.
            targets: Classes. Shape ``(batch,)``, int64.
        """
        self.optimizer.zero_grad()
        F.cross_entropy(self.network(inputs), targets).backward()
        self.optimizer.step()

    def memory(self) -> int:
        """The bytes that the network and its training keep between steps."""
        held: list[Tensor] = [*self.network.parameters(), *self.network.buffers()]
        held += [p.grad for p in self.network.parameters() if p.grad is not None]
        held += [
            value
            for state in self.optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        ]
        masks = masks_memory(self.network)
        return masks + sum(tensor.numel() * tensor.element_size() for tensor in held)


class _MaskTimes(nn.Module):
    """A linear layer as papers on sparse training have it."""

    mask: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        self.register_buffer("mask", (weight != 0).to(weight))

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weight * self.mask, self.bias)


def ways(
    widths: Sequence[int], density: float, *, seed: int = 0, device: str = "cpu"
) -> dict[str, Way]:
    """The same network in training, by the name of the way; SparseProp's on the CPU only.

    Args:
        widths: From input to output.
        density: The fraction of connections that exist, in (0, 1].
        seed: Decides connections and weights.
        device: Where the networks are.
    """
    network = create_standard_network(list(widths), density=density, seed=seed).to(device)
    layers = [layer for layer in network.modules() if isinstance(layer, StoredLayer)]
    pairs = [(layer.dense_weight().detach(), _bias(layer)) for layer in layers]
    masked = _stack(_MaskTimes(*pair) for pair in pairs)
    fused = _stack(_pre_masked(*pair) for pair in pairs)
    made = {
        MASKED: Way(masked, torch.optim.Adam(masked.parameters(), lr=_RATE)),
        FUSED: Way(fused, torch.optim.Adam(fused.parameters(), lr=_RATE, fused=True)),
    }
    if device == "cpu" and (swap := _sparseprop()) is not None:
        theirs = _stack(swap(_linear(*pair)) for pair in pairs)
        made[SPARSEPROP] = Way(theirs, torch.optim.Adam(theirs.parameters(), lr=_RATE, fused=True))
    made[OURS] = Way(network, adam_for(network.parameters(), _RATE))
    return made


def network_cost(
    widths: Sequence[int],
    density: float,
    *,
    seconds: float = 1.0,
    clock: Clock = time.perf_counter,
    batch: int = BATCH,
    device: str = "cpu",
) -> NetworkCost:
    """Times a network's training step in every way; the ways take turns, in changing order.

    A turn is some steps in a row, as in training, behind some that do not count: what the other
    ways left in the processor's caches, and their threads that still spin on its cores, are no part
    of it.

    Args:
        widths: From input to output.
        density: The fraction of connections that exist, in (0, 1].
        seconds: About how long the measurement lasts, beside two rounds that do not count; at
            least five rounds are run.
        clock: What tells the time.
        batch: Samples in a step.
        device: Where the networks are, and the batches.
    """
    made, clock = ways(widths, density, device=device), _waiting(clock, torch.device(device))
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batch, widths[0], generator=generator).to(device)
    targets = torch.randint(widths[-1], (batch,), generator=generator).to(device)

    order = random.Random(0)

    def turn(steps: Mapping[str, int]) -> dict[str, float]:
        # In changing order: what a way leaves in the processor's cache is of use to the next.
        return {
            name: _each(partial(made[name].step, inputs, targets), steps[name], clock)
            for name in order.sample(list(made), len(made))
        }

    turn(dict.fromkeys(made, 1))
    once = turn(dict.fromkeys(made, 1))
    steps = {name: max(1, math.ceil(_TURN / one)) for name, one in once.items()}
    lasted = sum(one * (steps[name] + _before(steps[name])) for name, one in once.items())
    rounds = [turn(steps) for _ in range(max(5, min(200, round(seconds / lasted))))]
    layers = [layer for layer in made[OURS].network.modules() if isinstance(layer, StoredLayer)]
    return NetworkCost(
        tuple(widths),
        density,
        sum(layer.connections for layer in layers),
        tuple(layer.storage for layer in layers),
        {name: statistics.median(one[name] for one in rounds) for name in made},
        {name: way.memory() for name, way in made.items()},
        device,
    )


def layer_cost(
    shape: tuple[int, int],
    densities: Sequence[float],
    *,
    rounds: int = 7,
    clock: Clock = time.perf_counter,
) -> LayerCost:
    """Times a layer's training step in both storages; all densities take turns.

    Args:
        shape: The numbers of outputs and of inputs.
        densities: Each in (0, 1].
        rounds: How often each has its turn, beside one that does not count.
        clock: What tells the time.
    """
    steps = [masked_step(shape, 0.5), *(live_step(shape, density) for density in densities)]
    turns = [[_timed(step, clock) for step in steps] for _ in range(rounds + 1)]
    dense, *live = (statistics.median(turn) for turn in zip(*turns[1:], strict=True))
    places = shape[0] * shape[1]
    return LayerCost(
        shape,
        dense,
        tuple(zip(densities, live, strict=True)),
        tuple(storage_for(shape, round(density * places)) for density in densities),
        costs_here().crossover(shape),
    )


def _waiting(clock: Clock, device: torch.device) -> Clock:
    """A clock that tells the time when the device has done all that it was asked to do."""
    if device.type == "cpu":
        return clock

    def told() -> float:
        torch.get_device_module(device).synchronize(device)
        return clock()

    return told


def _before(count: int) -> int:
    """How many steps do not count of a turn of ``count``: those of .01 s, at least one."""
    return (count + 1) // 2


def _each(step: Callable[[], None], count: int, clock: Clock) -> float:
    """The time of a step among ``count`` in a row, behind half as many that do not count."""
    for _ in range(_before(count)):
        step()
    start = clock()
    for _ in range(count):
        step()
    return max((clock() - start) / count, 1e-9)


def _timed(step: Callable[[], None], clock: Clock) -> float:
    start = clock()
    step()
    return clock() - start


def _bias(layer: StoredLayer) -> Tensor:
    assert layer.bias is not None
    return layer.bias.detach()


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    with torch.no_grad():
        made.weight.copy_(weight)
        made.bias.copy_(bias)
    return made


def _pre_masked(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A linear layer whose gradient is masked, unless it is full."""
    made = _linear(weight, bias)
    mask = (weight != 0).to(weight)

    def masked(parameter: Tensor) -> None:
        if parameter.grad is not None:
            parameter.grad.mul_(mask)

    if not bool(mask.all()):
        made.register_buffer("mask", mask)
        made.weight.register_post_accumulate_grad_hook(masked)
    return made


def _stack(layers: Iterable[nn.Module]) -> nn.Sequential:
    made: list[nn.Module] = []
    for layer in layers:
        made += [layer, nn.ReLU()]
    return nn.Sequential(*made[:-1])


def _sparseprop() -> Callable[[nn.Linear], nn.Module] | None:
    """What makes a layer of SparseProp; None where it is not installed."""
    try:
        from sparseprop.modules import SparseLinear
    except ImportError:
        return None
    made: Any = SparseLinear.from_dense
    return made  # type: ignore[no-any-return]  # the package has no types
