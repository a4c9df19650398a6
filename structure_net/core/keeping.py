"""What a module holds, put back as it was where loading a state is refused.

torch writes what fits and then says what does not. A sparse layer whose weights and index are of
two states is none, so its states are loaded whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


class Kept:
    """Copies of all tensors of a module and of those within it, until `put_back`.

    Args:
        module: Is not changed. The copies take as much memory as its parameters and buffers.
    """

    def __init__(self, module: nn.Module) -> None:
        tables = [table for one in module.modules() for table in (one._parameters, one._buffers)]
        self._tables = [(table, dict(table)) for table in tables]
        found = [one for table in tables for one in table.values() if one is not None]
        self._tensors = [_Tensor(one) for one in found if not is_lazy(one)]

    def put_back(self) -> None:
        """Gives the module the same tensors, bit for bit and in the same memory, and gradients."""
        for table, entries in self._tables:
            table.clear()
            table.update(entries)  # type: ignore[arg-type]  # what it held
        for one in self._tensors:
            one.put_back()


class _Tensor:
    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._memory, self._gradient = tensor, tensor.data, tensor.grad
        self._content = _each_once(self._memory).clone()

    @torch.no_grad()
    def put_back(self) -> None:
        _each_once(self._memory).copy_(self._content)
        self._tensor.data = self._memory
        self._tensor.grad = self._gradient


def _each_once(tensor: Tensor) -> Tensor:
    """A view without the repeats of `torch.Tensor.expand`, which torch does not write to."""
    if tensor.layout is torch.strided:
        for axis in range(tensor.dim()):
            if tensor.stride(axis) == 0 and tensor.shape[axis] > 1:
                tensor = tensor.narrow(axis, 0, 1)
    return tensor


@contextmanager
def all_or_nothing(module: nn.Module) -> Iterator[Kept]:
    """Puts back what ``module`` held if the block raises; who finds a reason itself may, too."""
    kept = Kept(module)
    try:
        yield kept
    except BaseException:
        kept.put_back()
        raise
