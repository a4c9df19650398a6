"""The front door of surgery: apply an edit to a model, or look at what it would change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from structure_net.errors import SurgeryError
from structure_net.graph.channels import ChannelGroup
from structure_net.surgery.committing import Claim, Undo
from structure_net.surgery.depths import DEPTH_EDITS, observed_layers
from structure_net.surgery.edits import (
    AddConnections,
    AddHeads,
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    DoubleWidth,
    Edit,
    InsertLayer,
    MaskHeads,
    RemoveConnections,
    ReviveHeads,
    SplitNeurons,
)
from structure_net.surgery.graft_steps import built_grafts
from structure_net.surgery.grafts import InsertedLayer, current_name
from structure_net.surgery.initialisers import Initialiser, Probe, ZeroOutgoing, newborn_of
from structure_net.surgery.moves import (
    AddGraft,
    Connect,
    Disconnect,
    Move,
    MoveAxis,
    MoveLeaf,
    RemoveGraft,
    SetGate,
)
from structure_net.surgery.operating import (
    operate,
    refuse_uneditable,
    sparse_layer,
    tensor_of,
)
from structure_net.surgery.optimizers import optimizers_of
from structure_net.surgery.planning import plan, planned_width
from structure_net.surgery.sites import sites
from structure_net.surgery.verifying import check_same, observe_after, observe_before

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
            SurgeryError: It was undone before, or a later edit that still stands touched the same;
                nothing was changed.
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


def apply(  # noqa: PLR0913 - everything that decides what new weights hold
    model: nn.Module,
    change: Edit,
    example: Any,
    *,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
    initialiser: Initialiser | None = None,
    probe: Probe | None = None,
    seed: int = 0,
    verify: bool = True,
) -> Applied:
    """Carries out one edit in place; when it raises, model and optimizer are untouched.

    Args:
        model: Any module that `torch.export` can trace.
        change: The edit.
        example: Inputs of the model: a tensor, a tuple, or a mapping of keyword arguments. Edits of
            connections take None as well.
        optimizer: The model's optimizers; others follow at their next step.
        initialiser: How new units begin, where the edit adds some; `ZeroOutgoing` if None.
        probe: Inputs, targets and a loss of both, for initialisers that look at data.
        seed: Decides what new weights hold.
        verify: Whether the example runs before and after the edit, and the edit is undone where it
            broke its promise.

    Returns:
        The edit, what it changed, and how to take it back.

    Raises:
        SurgeryError: The edit cannot be planned or carried out, or the model does not run after it.
        PreservationError: The edit promises to keep the function and did not.
    """
    refuse_uneditable(model)
    _refuse_no_edit(change)
    _refuse_initialiser(change, initialiser)
    optimizers = optimizers_of(optimizer)
    before = observe_before(model, example) if verify and example is not None else None
    start = initialiser or ZeroOutgoing()
    changes: list[Change] = []
    claims: list[Claim] = []
    done = change
    with ExitStack() as rollback:
        for part in parts(model, change):
            planned = planned_on(model, part, example, start, seed)
            done = planned.edit if part is change else done
            changes += described(model, planned.moves, seed)
            step = operate(model, planned.moves, optimizers, seed=seed)
            rollback.callback(step.undo)
            claims += step.claims
            if planned.group is not None:
                new = newborn_of(model, planned.group.layer, planned.moves)
                if new.writers and isinstance(planned.edit, AddNeurons | AddHeads):
                    start.refine(model, new, probe, seed)
            if before is not None:
                after = observe_after(model, example, part, before, new_grafts(planned.moves))
                keeps, widths = promises(planned.edit, start), planned.group is not None
                check_same(before, after, part, values=keeps, factors=widths)
            planned.follow(rollback)
        return Applied(done, _joined(changes), Undo(rollback.pop_all(), claims))


def _refuse_no_edit(change: object) -> None:
    if not isinstance(change, Edit):
        raise SurgeryError(
            f"change must be one edit, such as AddNeurons('fc1', 2); got {type(change).__name__}. "
            "Apply several edits one by one."
        )


def _refuse_initialiser(change: Edit, initialiser: Initialiser | None) -> None:
    wider = isinstance(change, InsertLayer) and change.width is not None
    if initialiser is not None and not wider and not isinstance(change, AddNeurons | AddHeads):
        raise SurgeryError(
            f"{type(initialiser).__name__} says how new units begin, and {change} adds none of "
            "its own; leave initialiser out. It goes with AddNeurons and AddHeads."
        )


def _joined(changes: Iterable[Change]) -> tuple[Change, ...]:
    """One entry for each tensor: as it was before all parts, and as it is after them."""
    merged: dict[str, Change] = {}
    for one in changes:
        first = merged.get(one.tensor)
        merged[one.tensor] = (
            one if first is None else replace(one, before=first.before, role=first.role)
        )
    return tuple(merged.values())


@dataclass(frozen=True, slots=True)
class Planned:
    """The moves of an edit, and how the graph follows where the edit changes a width."""

    edit: Edit
    moves: tuple[Move, ...]
    graph: ChannelGraph | None = None
    group: ChannelGroup | None = None
    units: int = 0

    def follow(self, rollback: ExitStack) -> None:
        """Brings the graph up to date, and back on undo."""
        if self.graph is not None and self.group is not None:
            before = self.group.units
            self.graph.resized(self.group, self.units)
            rollback.callback(self.graph.resized, self.group, before)


def planned_on(
    model: nn.Module, change: Edit, example: Any, start: Initialiser, seed: int
) -> Planned:
    """`plan`, with all that it needs taken from the model and the example.

    Raises:
        SurgeryError: The edit cannot be planned.
    """
    if isinstance(change, DEPTH_EDITS):
        found = sites(model, example, observed_layers(change))
        return Planned(change, plan(change, None, model, found))
    renamed = replace(change, layer=current_name(model, change.layer))
    if isinstance(renamed, AddConnections | RemoveConnections):
        return Planned(change, plan(renamed))
    from structure_net.graph import graph_of

    graph = graph_of(model, example)
    if isinstance(renamed, MaskHeads | ReviveHeads):
        return Planned(change, plan(renamed, graph, model))
    if not isinstance(renamed, AddNeurons | AddHeads):
        moves, group, units = planned_width(renamed, graph)
        return Planned(change, moves, graph, group, units)
    _, group, _ = planned_width(renamed, graph)
    instead = start.edit(renamed, group, seed)
    moves, group, units = planned_width(instead, graph)
    if isinstance(renamed, AddHeads) and not group.heads:
        raise SurgeryError(
            f"Copies of all heads of {renamed.layer!r} at once would be wider heads instead; add "
            "fewer heads than there are."
        )
    done = change if instead is renamed else instead
    return Planned(done, start.moves(moves), graph, group, units)


def parts(model: nn.Module, change: Edit) -> Iterator[Edit]:
    """A wider inserted layer is inserted first, and grown then; other edits are one part."""
    if not isinstance(change, InsertLayer) or change.width is None:
        yield change
        return
    before = {name for name, _ in model.named_modules()}
    yield change
    for name, module in model.named_modules():
        if name not in before and isinstance(module, InsertedLayer):
            width = next(iter(module.linear.parameters())).shape[0]
            if width < change.width:
                yield AddNeurons(f"{name}.linear", change.width - width)
            return


def edit(  # noqa: PLR0913 - the arguments of `apply`
    model: nn.Module,
    change: Edit,
    example: Any,
    *,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
    initialiser: Initialiser | None = None,
    probe: Probe | None = None,
    seed: int = 0,
    verify: bool = True,
) -> nn.Module:
    """`apply`, returning the model, which is the same object."""
    apply(
        model,
        change,
        example,
        optimizer=optimizer,
        initialiser=initialiser,
        probe=probe,
        seed=seed,
        verify=verify,
    )
    return model


def preview(model: nn.Module, change: Edit, example: Any, *, seed: int = 0) -> Preview:
    """What `apply` would change; nothing is touched.

    Raises:
        SurgeryError: The edit cannot be planned.
    """
    refuse_uneditable(model)
    _refuse_no_edit(change)
    moves = planned_on(model, change, example, ZeroOutgoing(), seed).moves
    return Preview(change, described(model, moves, seed))


def new_grafts(moves: Iterable[Move]) -> tuple[str, ...]:
    """The dotted names that the moves' grafts and gates will have."""
    grafts = [f"{m.layer}.grafts.{m.name}" for m in moves if isinstance(m, AddGraft)]
    gates = [m.layer for m in moves if isinstance(m, SetGate) and not all(m.open)]
    return (*grafts, *(f"{name.removesuffix('.origin')}.gates.heads" for name in gates))


def described(model: nn.Module, moves: tuple[Move, ...], seed: int = 0) -> tuple[Change, ...]:
    """The moves as changes of tensors, in the order of the plan."""
    shapes: dict[str, tuple[list[int], list[int], list[str]]] = {}
    for move in moves:
        if isinstance(move, MoveAxis):
            old = list(tensor_of(model, move.tensor).shape)
            _, after, roles = shapes.setdefault(move.tensor, (old, list(old), []))
            after[move.dim] = len(move.source)
            roles.append(move.role.value)
    kept = [Change(n, tuple(b), tuple(a), ", ".join(r)) for n, (b, a, r) in shapes.items()]
    kept += _leaves(model, moves)
    for name, graft in built_grafts(model, moves, seed).items():
        kept += [
            Change(f"{name}.{n}", None, tuple(p.shape), "new") for n, p in graft.named_parameters()
        ]
    for move in moves:
        if isinstance(move, SetGate):
            size = len(move.open)
            word = f"{size - round(sum(move.open))} of {size} inputs masked"
            kept.append(Change(f"{move.layer}.heads", (size,), (size,), word))
        if isinstance(move, RemoveGraft):
            name = f"{move.layer}.grafts.{move.name}"
            graft = model.get_submodule(name)
            kept += [
                Change(f"{name}.{n}", tuple(p.shape), None, "removed")
                for n, p in graft.named_parameters()
            ]
    return tuple(kept)


def _leaves(model: nn.Module, moves: tuple[Move, ...]) -> list[Change]:
    """Sparse layers, each as one line: the shape is (outputs, inputs)."""
    sizes: dict[str, tuple[list[int], list[int], list[str]]] = {}
    for move in moves:
        if not isinstance(move, MoveLeaf | Connect | Disconnect):
            continue
        layer = sparse_layer(model, move.layer)
        old = [layer.out_channels, layer.in_channels]
        _, after, roles = sizes.setdefault(move.layer, (old, list(old), []))
        if isinstance(move, MoveLeaf):
            after[move.dim] = len(move.source)
            roles.append("writes" if move.dim == 0 else "reads")
        else:
            word = "more" if isinstance(move, Connect) else "fewer"
            noun = "connection" if len(move.pairs) == 1 else "connections"
            roles.append(f"{len(move.pairs):,} {word} {noun}")
    return [Change(n, tuple(b), tuple(a), ", ".join(r)) for n, (b, a, r) in sizes.items()]


_KEEPING = (DoubleWidth, InsertLayer, AddResidualBlock, AddSkipConnection)


def promises(change: Edit, start: Initialiser) -> bool:
    """Whether an edit promises to keep the function."""
    match change:
        case AddNeurons() | AddHeads():
            return start.preserves
        case SplitNeurons():
            return change.noise == 0.0
        case AddConnections():
            return change.scale == 0.0
        case _:
            return isinstance(change, _KEEPING)
