"""Whether a component of an evolution keeps the promises of its role."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import nn

from structure_net.core import create_standard_network
from structure_net.errors import SurgeryError
from structure_net.evolution import (
    Analyzer,
    Component,
    ComposableEvolutionSystem,
    EditingStrategy,
    GrowthStrategy,
    Need,
    NetworkContext,
    Trainer,
)
from structure_net.evolution.batches import forward
from structure_net.evolution.editing import carry_out
from structure_net.surgery.journal import Journal
from structure_net.surgery.lineage import architecture
from structure_net.surgery.replaying import replay

_BATCHES, _BATCH, _FEATURES, _CLASSES = 3, 32, 12, 3


def example_context(seed: int = 0) -> NetworkContext:
    """A small context to try a component on: a sparse network, half of whose first layer is dead.

    Three classes of Gaussian blobs in twelve dimensions, three batches of 32 for training and as
    many for validation.

    Args:
        seed: What data and weights are drawn from.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(_CLASSES, _FEATURES, generator=generator)

    def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
        made = []
        for _ in range(_BATCHES):
            targets = torch.randint(_CLASSES, (_BATCH,), generator=generator)
            noise = torch.randn(_BATCH, _FEATURES, generator=generator)
            made.append((centres[targets] + noise, targets))
        return made

    network = create_standard_network([_FEATURES, 16, 16, _CLASSES], density=0.3, seed=seed)
    bias = network.layers[0].bias
    assert isinstance(bias, nn.Parameter)
    with torch.no_grad():
        bias[:8] = -100.0
    return NetworkContext(network, batches(), validation_loader=batches(), seed=seed)


def check_analyzer(
    analyzer: Analyzer, context: NetworkContext | None = None, *, prefix: str = ""
) -> None:
    """Checks that an analyzer only looks, reports data, and says the same when it looks again.

    It must find the same whoever else looks: it reads of the shared observation what it asked for
    in ``needs`` and ``probe_size``, and no more.

    Args:
        analyzer: What to check.
        context: What to try it on; `example_context` if None. It is left as it is.
        prefix: What its keys must begin with.

    Raises:
        AssertionError: A promise is broken; the message says which.
    """
    context = (context or example_context()).fork()
    system = ComposableEvolutionSystem([analyzer])
    with _untouched(context, "analyze"):
        first = dict(system.analyze(context))
    _require(bool(first), "analyze must return at least one key")
    _require(all(isinstance(key, str) for key in first), "the keys must be strings")
    _require(all(key.startswith(prefix) for key in first), f"the keys must begin with {prefix!r}")
    said = type(analyzer).provides
    _require(not said or set(first) <= said, "provides must name every key that is reported")
    for key, value in first.items():
        _check_data(key, value)
    second = dict(system.analyze(context))
    _require(_same(first, second), "two looks at the same network must give the same")
    copy = pickle.loads(pickle.dumps(analyzer))
    third = dict(ComposableEvolutionSystem([copy]).analyze(context))
    _require(_same(first, third), "a pickled analyzer must find the same")
    beside = ComposableEvolutionSystem([_Greedy(analyzer), analyzer]).analyze(context)
    fourth = {key: beside[key] for key in first}
    _require(_same(first, fourth), "an analyzer must find the same when another one needs more")


class _Greedy(Analyzer):
    """Needs all that can be measured, on as many batches as another analyzer."""

    needs = frozenset(Need)

    def __init__(self, other: Analyzer) -> None:
        self.max_batches = other.max_batches if other.needs else 1
        self.probe_size = other.probe_size + 7
        self.candidates = other.candidates + 7

    def analyze(self, context: NetworkContext) -> Mapping[str, Any]:
        return {}


def _check_data(key: str, value: Any) -> None:
    """A value of an analysis is data: it can be kept, compared and written down."""
    if isinstance(value, torch.Tensor):
        _require(not value.requires_grad, f"{key!r} must hold tensors without a graph")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _check_data(key, name)
            _check_data(key, item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _check_data(key, item)
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            _check_data(key, getattr(value, one.name))
    else:
        plain = isinstance(value, bool | int | float | str | np.ndarray | np.generic | Enum | None)
        _require(plain, f"{key!r} must hold data; got {type(value).__name__}")


def check_strategy(
    strategy: GrowthStrategy,
    analyzers: Sequence[Analyzer],
    context: NetworkContext | None = None,
) -> None:
    """Checks that a strategy decides without touching, and that what it grows still learns.

    Each of its options must be possible by itself, since a tournament tries them one by one.

    Args:
        strategy: What to check.
        analyzers: Those that it needs.
        context: What to try it on, such that the strategy grows there; `example_context` if None.
            It is left as it is.

    Raises:
        AssertionError: A promise is broken; the message says which.
    """
    context = _trained(context or example_context())
    system = ComposableEvolutionSystem(analyzers)
    analysis = system.analyze(context)
    with _untouched(context, "should_grow"):
        wanted = strategy.should_grow(context, analysis)
        _require(wanted == strategy.should_grow(context, analysis), "should_grow must be steady")
    _require(wanted, "the strategy must grow in the context that it is checked on")
    if isinstance(strategy, EditingStrategy):
        _check_proposals(strategy, context, analysis)
    _check_growth(strategy, analyzers, context)


def check_trainer(trainer: Trainer, context: NetworkContext | None = None) -> None:
    """Checks that a trainer changes weights only, keeps its optimizer, and repeats itself.

    Args:
        trainer: What to check.
        context: What to train; `example_context` if None. It is left as it is.

    Raises:
        AssertionError: A promise is broken; the message says which.
    """
    start = context or example_context()
    first = start.fork()
    network, shape = first.network, architecture(first.network)
    parameters = [id(parameter) for parameter in network.parameters()]
    weights = _state(network)
    after = trainer.train(first)
    _require(isinstance(after, NetworkContext), "train must return a NetworkContext")
    _require(after.network is network, "train must work on the network that it is given")
    _require(architecture(network) == shape, "train must leave the architecture alone")
    kept = [id(parameter) for parameter in network.parameters()]
    _require(kept == parameters, "train must keep the parameter objects")
    _require(_state(network) != weights, "train must change the weights")
    _require(after.hooks is first.hooks, "train must hand the hooks back")
    optimizer = after.optimizer
    again = trainer.train(after)
    _require(again.optimizer is optimizer, "the optimizer must live on from call to call")
    other = pickle.loads(pickle.dumps(trainer)).train(start.fork())
    other = pickle.loads(pickle.dumps(trainer)).train(other)
    _require(_state(other.network) == _state(network), "the same start must give the same weights")


def _check_proposals(strategy: EditingStrategy, context: NetworkContext, analysis: Any) -> None:
    with _untouched(context, "propose"):
        proposals = strategy.proposals(context, analysis)
        again = strategy.proposals(context, analysis)
    _require(proposals == again, "propose must be deterministic")
    copied = pickle.loads(pickle.dumps(strategy)).proposals(context, analysis)
    _require(copied == proposals, "a pickled strategy must propose the same")
    _require(all(proposal.reason for proposal in proposals), "each proposal must say why")
    for option in strategy.options(context, analysis):
        try:
            carry_out(context.fork(), option, component=type(strategy).__name__)
        except SurgeryError as error:
            raise AssertionError(f"each option must be possible by itself: {error}") from error


def _check_growth(
    strategy: GrowthStrategy, analyzers: Sequence[Analyzer], context: NetworkContext
) -> None:
    system = ComposableEvolutionSystem([*analyzers, strategy])
    grown = system.evolve_network(context, 1)
    before, after = architecture(context.network), architecture(grown.network)
    inputs = next(iter(grown.train_batches(1)))[0]
    outputs, expected = forward(grown.network, inputs), forward(context.network, inputs)
    _require(outputs.shape == expected.shape, "growth must keep the shape of the outputs")
    _require(bool(torch.isfinite(outputs).all()), "growth must keep the outputs finite")
    _check_learning(grown)
    if isinstance(strategy, EditingStrategy):
        _require(bool(grown.journal.edits), "growth must stand in the journal")
        example = context.with_example().example
        own = Journal(grown.journal[len(context.journal) :])
        replayed = replay(context.fork().network, own, example)
        _require(architecture(replayed) == after, "replay must give the same architecture")
    twin = system.evolve_network(context, 1)
    _require(twin.journal == grown.journal, "the same start must give the same journal")
    _require(architecture(context.network) == before, "the input context must stay as it was")


def _check_learning(context: NetworkContext) -> None:
    """All parameters, newborn ones too, receive a gradient and follow the optimizer."""
    _trained(context)
    optimizer = context.optimizer
    assert optimizer is not None
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in context.network.named_parameters():
        _require(parameter.grad is not None, f"{name} must receive a gradient after growth")
        _require(id(parameter) in held, f"{name} must be in the optimizer after growth")


def _trained(context: NetworkContext) -> NetworkContext:
    """The context after one step of its optimizer, Adam where there is none, on a fork then."""
    if context.optimizer is None:
        context = context.fork()
        optimizer = torch.optim.Adam(context.network.parameters(), lr=1e-3)
        context = replace(context, optimizer=optimizer)
    assert context.optimizer is not None
    for inputs, targets in context.train_batches(1):
        context.optimizer.zero_grad()
        context.loss(forward(context.network, inputs), targets).backward()
        context.optimizer.step()
    return context


@contextmanager
def _untouched(context: NetworkContext, action: str) -> Iterator[None]:
    """Checks that the block changes nothing of the network, its journal and torch's randomness."""
    network = context.network
    before = _state(network), _surroundings(network), torch.get_rng_state().tolist()
    entries, history = len(context.journal), len(context.history)
    yield
    _require(_state(network) == before[0], f"{action} must change no parameter and no buffer")
    _require(
        _surroundings(network) == before[1],
        f"{action} must leave gradients, modes and hooks as they were",
    )
    same = torch.get_rng_state().tolist() == before[2]
    _require(same, f"{action} must leave torch's random state alone")
    kept = (len(context.journal), len(context.history)) == (entries, history)
    _require(kept, f"{action} must leave journal and history alone")


def _state(network: nn.Module) -> dict[str, bytes]:
    return {
        name: tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        for name, tensor in network.state_dict().items()
        if tensor.dim() or tensor.numel()
    }


def _surroundings(network: nn.Module) -> list[tuple[Any, ...]]:
    modules = [
        (name, module.training, len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in network.named_modules()
    ]
    gradients = [
        (name, None if parameter.grad is None else parameter.grad.tolist())
        for name, parameter in network.named_parameters()
    ]
    return [*modules, *gradients]


def _same(first: Any, second: Any) -> bool:
    """Equality that looks into tensors, arrays and values, and in which NaN equals NaN."""
    if isinstance(first, torch.Tensor | np.ndarray):
        return type(first) is type(second) and _same_numbers(first, second)
    if isinstance(first, float) and math.isnan(first):
        return isinstance(second, float) and math.isnan(second)
    if is_dataclass(first) and not isinstance(first, type):
        return type(first) is type(second) and all(
            _same(getattr(first, one.name), getattr(second, one.name)) for one in fields(first)
        )
    if isinstance(first, Mapping):
        same_keys = isinstance(second, Mapping) and list(first) == list(second)
        return same_keys and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        pairs = zip(first, second, strict=True)
        return len(first) == len(second) and all(_same(a, b) for a, b in pairs)
    return bool(first == second)


def _same_numbers(first: Any, second: Any) -> bool:
    one, other = torch.as_tensor(first), torch.as_tensor(second)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)) and torch.equal(
        one.isnan(), other.isnan()
    )


def check_component(
    component: Component,
    analyzers: Sequence[Analyzer] = (),
    context: NetworkContext | None = None,
) -> None:
    """Checks a component against the battery of its role.

    Args:
        component: An analyzer, a strategy or a trainer.
        analyzers: Those that a strategy needs.
        context: What to try it on; `example_context` if None. It is left as it is.

    Raises:
        AssertionError: A promise is broken; the message says which.
    """
    match component:
        case Analyzer():
            check_analyzer(component, context)
        case GrowthStrategy():
            check_strategy(component, analyzers, context)
        case Trainer():
            check_trainer(component, context)
        case _:
            raise AssertionError(f"{type(component).__name__} has no role")


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(promise)
