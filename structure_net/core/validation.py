"""Whether a network is fit to train: values, dead paths, the scale of its signal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from structure_net.core.network_factory import StandardNetwork
from structure_net.core.reachability import WEIGHTED, Reach, reachable
from structure_net.core.running import call, evaluate
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import outermost_modules, sparse_layers
from structure_net.core.storage import StoredLayer
from structure_net.core.undoing import Undoing, hooked

ProblemKind = Literal[
    "parameter_not_finite",
    "buffer_not_finite",
    "activation_not_finite",
    "weight_off_pattern",
    "no_incoming",
    "no_outgoing",
    "unreachable",
    "unused",
    "vanishing",
    "exploding",
]


@dataclass(frozen=True, slots=True)
class HealthProblem:
    """One thing that is wrong with one layer.

    Args:
        layer: The layer's name in the model.
        kind: What is wrong. ``no_incoming``: units without a live connection into them.
            ``no_outgoing``: units that no live connection reads. ``unreachable``: connected units
            that no input of the model reaches. ``unused``: units that are read, but on no live path
            to an output. ``vanishing``, ``exploding``: the layer shrinks or swells its signal.
        count: How many units or entries it concerns.
        message: What is wrong, in a sentence.
    """

    layer: str
    kind: ProblemKind
    count: int
    message: str


@dataclass(frozen=True, slots=True)
class NetworkHealth:
    """The result of `validate_network`.

    Args:
        problems: What is wrong, in the order of the checks; empty for a healthy network.
        complete: Whether the network also ran on an example, so that paths, activations and scale
            were checked.
    """

    problems: tuple[HealthProblem, ...]
    complete: bool

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        scope = "" if self.complete else " (values and connections only: no example was given)"
        if self.healthy:
            return f"Healthy{scope}."
        kinds = Counter(problem.kind for problem in self.problems)
        summary = ", ".join(f"{kind} in {count}" for kind, count in kinds.items())
        lines = [f"{len(self.problems)} problems{scope}; by layers: {summary}."]
        lines += [f"  {problem.layer or 'model'}: {problem.message}" for problem in self.problems]
        return "\n".join(lines)


@torch.no_grad()
def validate_network(
    model: nn.Module,
    example: Any = None,
    *,
    vanishing: float = 0.01,
    exploding: float = 100.0,
) -> NetworkHealth:
    """Checks a network's values, connections, live paths and scale; changes nothing.

    Without an example, values and the connections of each sparse layer are checked; with one, the
    model also runs, so that dead paths across layers (`reachable`), activations and gains are seen.
    A `StandardNetwork` needs none: it is run on standard normal numbers.

    Args:
        model: The network.
        example: Inputs: a tensor, a tuple of arguments, or a mapping of named ones.
        vanishing: A layer whose output's root mean square is below this multiple of its input's is
            a problem, unless the output is joined with others (a branch may well be silent).
        exploding: So is one above this multiple.

    Returns:
        What is wrong.

    Raises:
        ValueError: The thresholds are not ``0 <= vanishing < exploding``.
    """
    if not 0 <= vanishing < exploding:
        raise ValueError(
            "The thresholds must be 0 <= vanishing < exploding; got "
            f"vanishing={vanishing}, exploding={exploding}."
        )
    problems = [*_values(model), *_connections(model)]
    if example is None and isinstance(model, StandardNetwork):
        example = _noise(model)
    if example is None:
        return NetworkHealth(tuple(problems), complete=False)
    undo = Undoing()
    with undo, undo:
        evaluate(model, undo)
        reach = reachable(model, example)
        joined = {name for name, layer in reach.items() if layer.joined}
        problems += [
            problem
            for problem in _signals(model, example, (vanishing, exploding))
            if problem.kind != "vanishing" or problem.layer not in joined
        ]
        problems += _paths(reach)
    return NetworkHealth(tuple(problems), complete=True)


def _noise(model: StandardNetwork) -> Tensor:
    noise = torch.randn(32, model.architecture[0], generator=torch.Generator().manual_seed(0))
    return noise.to(next(model.parameters()))


def _values(model: nn.Module) -> Iterator[HealthProblem]:
    kinds: tuple[tuple[ProblemKind, Any], ...] = (
        ("parameter_not_finite", model.named_parameters()),
        ("buffer_not_finite", model.named_buffers()),
    )
    for kind, tensors in kinds:
        for name, tensor in tensors:
            if count := _not_finite(tensor):
                layer, _, attribute = name.rpartition(".")
                message = f"{count} of {tensor.numel()} entries of {attribute} are NaN or infinite."
                yield HealthProblem(layer, kind, count, message)
    for name, module in model.named_modules():
        if isinstance(module, StoredLayer) and (count := module.off_pattern()):
            message = (
                f"{count} weights off the pattern are not zero; an update that mixes entries wrote "
                "them. Call settle() behind it."
            )
            yield HealthProblem(name, "weight_off_pattern", count, message)


def _connections(model: nn.Module) -> Iterator[HealthProblem]:
    for name, layer in sparse_layers(model).items():
        if count := int((layer.pattern.fan_in() == 0).sum()):
            message = f"{count} of {layer.out_channels} units have no connection into them."
            yield HealthProblem(name, "no_incoming", count, message)


def _signals(model: nn.Module, example: Any, bounds: tuple[float, float]) -> list[HealthProblem]:
    found: dict[tuple[str, str], HealthProblem] = {}

    def watch(name: str) -> Any:
        def hook(
            module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any
        ) -> None:
            if not isinstance(output, Tensor) or not output.is_floating_point():
                return
            problem = _activation(name, output)
            values = [*arguments, *named.values()]
            if problem is None and isinstance(module, WEIGHTED) and isinstance(values[0], Tensor):
                problem = _gain(name, _rms(values[0]), _rms(output), bounds)
            if problem is not None:
                found.setdefault((name, problem.kind), problem)

        return hook

    undo = Undoing()
    with undo, undo:
        for name, module in outermost_modules(model):
            if isinstance(module, SparseLayer) or not any(module.children()):
                hooked(undo, module, watch(name), with_kwargs=True)
        call(model, example)
    return list(found.values())


def _activation(name: str, output: Tensor) -> HealthProblem | None:
    if count := _not_finite(output):
        message = f"{count} of {output.numel()} activations are NaN or infinite."
        return HealthProblem(name, "activation_not_finite", count, message)
    return None


def _gain(
    name: str, incoming: float, outgoing: float, bounds: tuple[float, float]
) -> HealthProblem | None:
    """The layer's gain, where it is beyond ``bounds``; silent inputs have none."""
    if not incoming > 0:
        return None
    gain = outgoing / incoming
    told = f"The output's root mean square is {gain:.3g} times the input's"
    if gain < bounds[0]:
        return HealthProblem(name, "vanishing", 1, f"{told}, below {bounds[0]:g}.")
    if gain > bounds[1]:
        return HealthProblem(name, "exploding", 1, f"{told}, above {bounds[1]:g}.")
    return None


def _paths(reach: dict[str, Reach]) -> Iterator[HealthProblem]:
    for name, layer in reach.items():
        units = len(layer.fed)
        unfed = int((~layer.fed & layer.connected).sum())
        unread = int((~layer.read).sum())
        unused = int((layer.read & ~layer.used).sum())
        kind = "outputs of the model" if layer.final else "units"
        if unfed:
            message = f"{unfed} of {units} {kind} are connected, but no input reaches them."
            yield HealthProblem(name, "unreachable", unfed, message)
        if unread:
            message = f"{unread} of {units} units are read by no live connection."
            yield HealthProblem(name, "no_outgoing", unread, message)
        if unused:
            message = f"{unused} of {units} units are read, but on no live path to an output."
            yield HealthProblem(name, "unused", unused, message)


def _not_finite(tensor: Tensor) -> int:
    if not tensor.is_floating_point() and not tensor.is_complex():
        return 0
    return int((~tensor.isfinite()).sum())


def _rms(tensor: Tensor) -> float:
    value = float(tensor.detach().double().square().mean().sqrt())
    return value if math.isfinite(value) else 0.0
