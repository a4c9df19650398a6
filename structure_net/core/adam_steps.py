"""One compiled step of Adam for parameters in any groups: who takes part, and what it goes by.

What a step costs where parameters are small is to look at their tensors. So a step leaves behind
which ones it looked at, and the next one looks whether they are the same, and lie where they lay.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from structure_net.core import adam_kernels
from structure_net.core.teams import in_team
from structure_net.core.threads import run_blocks

_KINDS: Final = {torch.float32: 0, torch.float64: 1}
_PLAIN: Final = frozenset((nn.Parameter, Tensor))
_MOMENTS: Final = ("exp_avg", "exp_avg_sq", "step")
_KIND: Final = attrgetter("layout", "dtype", "is_cpu")
_SHARED: Final = 2**15
"""Numbers, some tens of microseconds, below which PyTorch's threads gain nothing."""
_THREADED: Final = 2**20
"""The same of threads of our own, which have to be woken."""


class Together:
    """The parameters that take one compiled step together."""

    def __init__(self) -> None:
        self._table: list[int] = []
        self._moved: list[Tensor] = []
        self._held: list[Tensor] = []
        self._groups: list[int] = []

    def takes(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> bool:
        """Enters a parameter with its state, if the compiled loop can walk through all of them."""
        first, second, count = state["exp_avg"], state["exp_avg_sq"], state["step"]
        kind, size = parameter.dtype, parameter.numel()
        if not gradient.is_contiguous():
            gradient = gradient.contiguous()
        for tensor in (parameter, gradient, first, second):
            if (
                tensor.dtype is not kind
                or tensor.numel() != size
                or not tensor.is_contiguous()
                or not tensor.is_cpu
            ):
                return False
        if not count.is_cpu:
            # Of a state from another device, where PyTorch's `load_state_dict` leaves it.
            state["step"] = count = count.cpu()
        if count.dtype not in _KINDS:
            return False
        self._table += (
            parameter.data_ptr(),
            gradient.data_ptr(),
            first.data_ptr(),
            second.data_ptr(),
            count.data_ptr(),
            size,
            _KINDS[kind],
            _KINDS[count.dtype],
            len(self._groups),
        )
        self._moved.append(parameter)
        self._held += (parameter, gradient, first, second, count)
        return True

    def close(self) -> None:
        """Ends the parameters of one group."""
        self._groups.append(len(self._moved))

    def step(self, settings: list[tuple[float, ...]]) -> StepBefore | None:
        """Moves them all.

        Args:
            settings: Of each group.

        Returns:
            What the next step may go by.
        """
        if not self._moved:
            return None
        table = np.array(self._table, dtype=np.int64).reshape(-1, adam_kernels.COLUMNS)
        _step(table, settings, self._moved, self._held)
        return StepBefore(table, self._groups, self._held)


class StepBefore:
    """A step's table, which serves again for the same tensors in the same places.

    Args:
        table: Of `adam_kernels`.
        groups: How many of the rows belong to each group and those before it.
        held: Of each row the parameter, its gradient, both moments and the count.
    """

    def __init__(self, table: Any, groups: list[int], held: list[Tensor]) -> None:
        self._table, self._groups = table, groups
        # Gradients are other tensors each time. The others are held, so that no other is taken for
        # one of them.
        self._parameters = held[::5]
        self._states = [one for at in range(0, len(held), 5) for one in held[at + 2 : at + 5]]
        self._identities = [*map(id, self._parameters)], [*map(id, self._states)]
        self._places = self._where()
        self._kinds = [*map(_KIND, self._parameters)]
        self._sizes = [*map(Tensor.numel, self._parameters)]

    def step(
        self, groups: list[dict[str, Any]], states: Mapping[Tensor, dict[str, Tensor]]
    ) -> bool:
        """Moves the parameters of the groups; says whether it did.

        It does not where a tensor is another one than before, or lies elsewhere.
        """
        moved: list[Tensor] = []
        ends: list[int] = []
        for group in groups:
            moved += [one for one in group["params"] if one.grad is not None]
            ends.append(len(moved))
        if ends != self._groups or [*map(id, moved)] != self._identities[0]:
            return False
        held = [one for parameter in moved for one in map(states[parameter].get, _MOMENTS)]
        if [*map(id, held)] != self._identities[1] or self._where() != self._places:
            return False
        gradients: list[Any] = [one.grad for one in moved]
        if not _PLAIN.issuperset(map(type, gradients)) or any(map(Tensor.is_neg, gradients)):
            return False
        for of in (moved, gradients):
            if [*map(_KIND, of)] != self._kinds or [*map(Tensor.numel, of)] != self._sizes:
                return False
            if not all(map(Tensor.is_contiguous, of)):
                return False
        # A copy: threads may still be at the step before, which an interrupt ended.
        table = self._table.copy()
        table[:, 1] = [*map(Tensor.data_ptr, gradients)]
        _step(table, [*map(settings_of, groups)], moved, (gradients, held))
        return True

    def _where(self) -> list[int]:
        return [*map(Tensor.data_ptr, self._parameters), *map(Tensor.data_ptr, self._states)]


def settings_of(group: dict[str, Any]) -> tuple[float, ...]:
    """A group's row of `adam_kernels.SETTINGS`."""
    first, second = group["betas"]
    return (
        float(group["lr"]),
        float(first),
        float(second),
        group["eps"],
        group["weight_decay"],
        group["decoupled_weight_decay"],
        group["maximize"],
    )


def _step(table: Any, settings: list[tuple[float, ...]], moved: list[Tensor], held: object) -> None:
    """Moves the parameters of a table.

    Args:
        table: Of `adam_kernels`.
        settings: Of each group.
        moved: The parameters.
        held: All else whose memory the table names.
    """
    numbers = np.array(settings, dtype=np.float64)
    threads = torch.get_num_threads()
    if threads == 1 or (count := int(table[:, 5].sum())) < _SHARED:
        adam_kernels.step(table, numbers)
    else:
        _step_on_threads(table, numbers, threads if count > _THREADED else 1, (moved, held))
    # So that a backward pass through what was computed before the step is still refused.
    increment_version(moved)


def _step_on_threads(table: Any, settings: Any, threads: int, held: object) -> None:
    """A step whose numbers are moved in parts, by PyTorch's threads where these are at work.

    Args:
        table: Of the parameters.
        settings: Of their groups.
        threads: How many share the work otherwise.
        held: Whose memory the table names: threads may outlast an interrupt of the caller.
    """
    rates = np.empty((len(table), adam_kernels.RATES))
    adam_kernels.count_steps(table, settings, rates)
    call = np.array([table.ctypes.data, rates.ctypes.data, len(table), 0], dtype=np.int64)
    place: int = call.ctypes.data
    if in_team(adam_kernels.move, place, torch.get_num_threads(), wake=threads > 1):
        return

    def block(first: int, last: int, held: object = (held, table, rates, call)) -> None:
        adam_kernels.move(place)

    run_blocks(block, range(threads + 1))


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor's memory holds numbers that the compiled loop knows, as they are."""
    return (
        tensor.dtype in _KINDS
        and type(tensor) in _PLAIN
        and tensor.layout is torch.strided
        and not tensor.is_neg()
    )
