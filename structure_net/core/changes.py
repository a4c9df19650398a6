"""What an edit does to one tensor, as a value: its new data, and how its state follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class TensorChange:
    """New data for one parameter or buffer.

    Args:
        tensor: The tensor's dotted name, relative to the module that describes the change.
        data: The tensor after the edit: any shape, the old dtype and device.
        carry: Takes a tensor of the OLD shape that belongs to the parameter (a gradient, an
            optimizer's moment) to the new shape; new entries are zero, split entries share their
            origin's value.
    """

    tensor: str
    data: Tensor
    carry: Callable[[Tensor], Tensor]

    def within(self, module: str) -> TensorChange:
        """The same change, named from one module further up: ``module.tensor``."""
        return replace(self, tensor=f"{module}.{self.tensor}")


def in_turn(
    first: Iterable[TensorChange], second: Iterable[TensorChange]
) -> tuple[TensorChange, ...]:
    """``first`` and then ``second``, worked out on what ``first`` makes, as one change a tensor."""
    combined = {change.tensor: change for change in first}
    for change in second:
        before = combined.get(change.tensor)
        combined[change.tensor] = change if before is None else _after(before, change)
    return tuple(combined.values())


def _after(first: TensorChange, second: TensorChange) -> TensorChange:
    return replace(second, carry=lambda state: second.carry(first.carry(state)))


def assign(module: nn.Module, changes: Iterable[TensorChange]) -> None:
    """Writes changes into ``module``: parameters stay the same objects, their gradients follow.

    Optimizers are not told; `structure_net.surgery` carries their state as well.

    Args:
        module: The module that the names are relative to.
        changes: What to write.

    Raises:
        AttributeError: ``module`` has no tensor of that name.
    """
    with torch.no_grad():
        for change in changes:
            owner, _, name = change.tensor.rpartition(".")
            tensor = getattr(module.get_submodule(owner), name)
            gradient = None if tensor.grad is None else change.carry(tensor.grad)
            tensor.grad = None
            if tensor.requires_grad and tensor.shape != change.data.shape:
                # A graph that is kept would have later gradients be of the old shape; with another
                # type in between, autograd lets go of it.
                other = torch.float32 if tensor.dtype is torch.float64 else torch.float64
                tensor.data = tensor.new_empty(0, dtype=other)
            tensor.data = change.data
            tensor.grad = gradient
