"""Which replicas are trained together, and how: the choice of an engine, from plans alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

from neural_architecture_lab.replicas.fused import HUNDREDTHS
from neural_architecture_lab.replicas.plan import ReplicaPlan

STACK: Final = 64
"""The most replicas of a stack."""

NEAR: Final = 32
"""Hidden widths fit together that lie between the same multiples of this."""


@dataclass(frozen=True, slots=True)
class Group:
    """Replicas that are trained by one call.

    Args:
        members: What they belong to, each with its plan.
        fused: Whether it is one replica for the compiled step; a stack otherwise.
        device: Where.
    """

    members: tuple[tuple[Any, ReplicaPlan], ...]
    fused: bool
    device: str


def takes(plan: ReplicaPlan, device: str) -> bool:
    """Whether the compiled step can train a plan."""
    return plan.activation in HUNDREDTHS and torch.device(device).type == "cpu"


def grouped(planned: Iterable[tuple[Any, ReplicaPlan, str]]) -> Iterator[Group]:
    """Groups as they are complete: single replicas at once, stacks when full or at the end.

    Args:
        planned: What replicas belong to, their plans and their devices; is read as groups are
            asked for.
    """
    waiting: dict[tuple[object, ...], list[tuple[Any, ReplicaPlan]]] = {}
    for owner, plan, device in planned:
        if takes(plan, device):
            yield Group(((owner, plan),), fused=True, device=device)
            continue
        key = (device, *kind_of(plan))
        waiting.setdefault(key, []).append((owner, plan))
        if len(waiting[key]) == STACK:
            yield Group(tuple(waiting.pop(key)), fused=False, device=device)
    for key, members in waiting.items():
        yield Group(tuple(members), fused=False, device=str(key[0]))


def kind_of(plan: ReplicaPlan) -> tuple[object, ...]:
    """What plans must share to be stacked: data, depth, about the widths, steps, and the kind of
    optimizer; not its rates, nor seeds, nor patterns."""
    hidden = tuple(-(-width // NEAR) for width in plan.sizes[1:-1])
    return (
        plan.dataset,
        plan.data_dir,
        plan.activation,
        hidden,
        plan.epochs,
        plan.batch_size,
        plan.optimizer,
        plan.nesterov,
        plan.dtype,
    )
