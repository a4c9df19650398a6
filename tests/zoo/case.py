"""A test model with its inputs, as a value.

`Case.build` gives a float64 model in eval mode in which nothing is trivial: biases are not zero,
gains are not one, running statistics are not those of a newborn BatchNorm, so that a lost or
misplaced entry shows in the output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core import SparseLayer

Example = Callable[[int, int], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One test model.

    Args:
        name: Its key in the zoo.
        make: Gives a newborn model; it may draw from the global generator, which `build` seeds
            and restores.
        example: Takes a batch size and a seed to one input: a tensor, a tuple or a dict of them.
        laws: Whether the property tests of the edits run over it.
        trap: Whether it holds an operation that tempts a tracer to guess.
        outputs: The dotted names of the layers whose channels are the model's output.
        refused: The layers that must be frozen, or must be found by the check behind an edit.
    """

    name: str
    make: Callable[[], nn.Module]
    example: Example
    laws: bool = False
    trap: bool = False
    outputs: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def build(self, seed: int = 0) -> nn.Module:
        """The model in float64 and eval mode, all of its tensors drawn from ``seed``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.make()
        model = model.double().eval()
        _unsettle(model, torch.Generator().manual_seed(seed))
        return model

    def inputs(self, batch: int = 2, seed: int = 0) -> Any:
        """One example of ``batch`` items; floating-point tensors are float64."""
        return self.example(batch, seed)


def floats(*shape: int) -> Example:
    """Standard normal inputs of shape ``(batch, *shape)``."""

    def example(batch: int, seed: int) -> Tensor:
        return torch.randn(batch, *shape, generator=_generator(seed), dtype=torch.float64)

    return example


def tokens(length: int, vocabulary: int) -> Example:
    """Token numbers of shape ``(batch, length)``, below ``vocabulary``."""

    def example(batch: int, seed: int) -> Tensor:
        return torch.randint(0, vocabulary, (batch, length), generator=_generator(seed))

    return example


def together(*parts: Example) -> Example:
    """A tuple of several inputs."""

    def example(batch: int, seed: int) -> tuple[Any, ...]:
        return tuple(part(batch, seed + i) for i, part in enumerate(parts))

    return example


def named(**parts: Example) -> Example:
    """A dict of several inputs."""

    def example(batch: int, seed: int) -> dict[str, Any]:
        return {name: part(batch, seed + i) for i, (name, part) in enumerate(parts.items())}

    return example


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def _unsettle(model: nn.Module, generator: torch.Generator) -> None:
    """Moves every vector of the model off its trivial start, in place."""
    for parameter in model.parameters():
        if parameter.dim() <= 1 or not parameter.any():
            parameter.add_(
                torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.1
            )
    for name, buffer in model.named_buffers():
        draw = torch.rand(buffer.shape, generator=generator, dtype=torch.float64).to(buffer.dtype)
        if name.endswith("running_mean"):
            buffer.copy_(draw - 0.5)
        elif name.endswith("running_var"):
            buffer.copy_(draw + 0.5)
    for module in model.modules():
        if isinstance(module, SparseLayer):
            module.settle()
