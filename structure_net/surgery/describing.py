"""What moves change, tensor by tensor, as values that can be shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import nn

from structure_net.surgery.edits import Edit
from structure_net.surgery.graft_steps import built_grafts
from structure_net.surgery.leaf_moves import sparse_layer
from structure_net.surgery.moves import (
    Connect,
    Disconnect,
    Move,
    MoveAxis,
    MoveLeaf,
    Reconnect,
    RemoveGraft,
    SetGate,
)
from structure_net.surgery.operating import tensor_of


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


def joined(changes: Iterable[Change]) -> tuple[Change, ...]:
    """One entry for each tensor: as it was before all parts, and as it is after them."""
    merged: dict[str, Change] = {}
    for one in changes:
        first = merged.get(one.tensor)
        merged[one.tensor] = (
            one if first is None else replace(one, before=first.before, role=first.role)
        )
    return tuple(merged.values())


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
        if not isinstance(move, MoveLeaf | Connect | Disconnect | Reconnect):
            continue
        layer = sparse_layer(model, move.layer)
        old = [layer.out_channels, layer.in_channels]
        _, after, roles = sizes.setdefault(move.layer, (old, list(old), []))
        if isinstance(move, MoveLeaf):
            after[move.dim] = len(move.source)
            roles.append("writes" if move.dim == 0 else "reads")
        elif isinstance(move, Reconnect):
            roles.append(f"{len(move.removed):,} fewer and {len(move.added):,} more connections")
        else:
            word = "more" if isinstance(move, Connect) else "fewer"
            noun = "connection" if len(move.pairs) == 1 else "connections"
            roles.append(f"{len(move.pairs):,} {word} {noun}")
    return [Change(n, tuple(b), tuple(a), ", ".join(r)) for n, (b, a, r) in sizes.items()]
