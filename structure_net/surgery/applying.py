"""The front door of surgery: apply an edit to a model, or look at what it would change."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from structure_net.errors import SurgeryError
from structure_net.graph.channels import ChannelGroup
from structure_net.surgery.committing import Undo
from structure_net.surgery.edits import (
    AddConnections,
    AddNeurons,
    DoubleWidth,
    Edit,
    RemoveConnections,
    SplitNeurons,
)
from structure_net.surgery.moves import Move, MoveAxis
from structure_net.surgery.operating import operate, tensor_of
from structure_net.surgery.planning import plan, planned_width
from structure_net.surgery.verifying import check_same, observe, observe_after

if TYPE_CHECKING:
    from structure_net.graph import ChannelGraph


@dataclass(frozen=True, slots=True)
class Change:
    """What an edit does to one tensor.

    Args:
        tensor: Its dotted name.
        before: Its shape before the edit; None for a new tensor.
        after: Its shape after it; None for a removed one.
        role: What it does on the axes that change.
    """

    tensor: str
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    role: str


@dataclass(frozen=True, slots=True)
class Applied:
    """An edit that was carried out.

    Args:
        edit: The edit.
        changes: What it did to each tensor.
        reverse: Takes it back.
    """

    edit: Edit
    changes: tuple[Change, ...]
    reverse: Undo

    def undo(self) -> None:
        """Takes the edit back, bit for bit: tensors, gradients, attributes and optimizer state.

        Raises:
            SurgeryError: It was undone before.
        """
        self.reverse.undo()


@dataclass(frozen=True, slots=True)
class Preview:
    """What an edit would change. ``str()`` is a table.

    Args:
        edit: The edit.
        changes: What it would do to each tensor.
    """

    edit: Edit
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        rows = [("tensor", "before", "after", "role")]
        rows += [(c.tensor, _shape(c.before), _shape(c.after), c.role) for c in self.changes]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        table = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows
        ]
        return "\n".join([str(self.edit), *(line.rstrip() for line in table)])


def _shape(shape: tuple[int, ...] | None) -> str:
    return "-" if shape is None else "x".join(map(str, shape)) or "()"


def apply(
    model: nn.Module,
    change: Edit,
    example: Any,
    *,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    verify: bool = True,
) -> Applied:
    """Carries out one edit in place; when it raises, model and optimizer are untouched.

    Args:
        model: Any module that `torch.export` can trace.
        change: The edit.
        example: Inputs of the model: a tensor, a tuple, or a mapping of keyword arguments.
        optimizer: The model's optimizer; others follow at their next step.
        seed: Decides what new weights hold.
        verify: Whether the example runs before and after the edit, and the edit is undone where it
            broke its promise.

    Returns:
        The edit, what it changed, and how to take it back.

    Raises:
        SurgeryError: The edit cannot be planned or carried out, or the model does not run after it.
        PreservationError: The edit promises to keep the function and did not.
    """
    refuse_wrapped(model)
    moves, graph, group, units = _planned(model, change, example)
    before = observe(model, example) if verify and example is not None else None
    changes = described(model, moves)
    with ExitStack() as rollback:
        undo = operate(model, moves, optimizer, seed=seed)
        rollback.callback(undo.undo)
        if before is not None:
            after = observe_after(model, example, change)
            check_same(before, after, change, values=promises(change))
        if graph is not None and group is not None:
            graph.resized(group, units)
        rollback.pop_all()
    return Applied(change, changes, undo)


def _planned(
    model: nn.Module, change: Edit, example: Any
) -> tuple[tuple[Move, ...], ChannelGraph | None, ChannelGroup | None, int]:
    if isinstance(change, AddConnections | RemoveConnections):
        return plan(change, None), None, None, 0
    from structure_net.graph import graph_of

    graph = graph_of(model, example)
    moves, group, units = planned_width(change, graph)
    return moves, graph, group, units


def edit(
    model: nn.Module,
    change: Edit,
    example: Any,
    *,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    verify: bool = True,
) -> nn.Module:
    """`apply`, returning the model, which is the same object."""
    apply(model, change, example, optimizer=optimizer, seed=seed, verify=verify)
    return model


def preview(model: nn.Module, change: Edit, example: Any) -> Preview:
    """What `apply` would change; nothing is touched.

    Raises:
        SurgeryError: The edit cannot be planned.
    """
    refuse_wrapped(model)
    moves, *_ = _planned(model, change, example)
    return Preview(change, described(model, moves))


def described(model: nn.Module, moves: tuple[Move, ...]) -> tuple[Change, ...]:
    """The moves as changes of tensors, in the order of the plan."""
    shapes: dict[str, tuple[list[int], list[int], list[str]]] = {}
    for move in moves:
        if isinstance(move, MoveAxis):
            old = list(tensor_of(model, move.tensor).shape)
            _, after, roles = shapes.setdefault(move.tensor, (old, list(old), []))
            after[move.dim] = len(move.source)
            roles.append(move.role.value)
    return tuple(
        Change(name, tuple(before), tuple(after), ", ".join(roles))
        for name, (before, after, roles) in shapes.items()
    )


def promises(change: Edit) -> bool:
    """Whether an edit promises to keep the function."""
    match change:
        case AddNeurons() | DoubleWidth():
            return True
        case SplitNeurons():
            return change.noise == 0.0
        case AddConnections():
            return change.scale == 0.0
        case _:
            return False


def refuse_wrapped(model: nn.Module) -> None:
    """Refuses models whose parameters another object copied, traced or compiled.

    Raises:
        SurgeryError: With the way out.
    """
    if hasattr(model, "_orig_mod"):
        raise SurgeryError("The model is compiled; edit `model._orig_mod`, then compile it again.")
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        raise SurgeryError(
            f"The model is wrapped in {type(model).__name__}, which keeps its own view of the "
            "parameters; edit "
            "`model.module` on every rank with the same seed, then wrap it again."
        )
    for name, module in model.named_modules():
        if module._compiled_call_impl is not None or hasattr(module, "_orig_mod"):
            raise SurgeryError(
                f"The module {name!r} is compiled; edit the model before compiling it."
            )
