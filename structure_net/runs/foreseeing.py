"""What a run would edit first, without doing it."""

from __future__ import annotations

from dataclasses import dataclass

from structure_net.runs.blaming import blamed
from structure_net.runs.execution import fresh_context
from structure_net.runs.preparing import prepare
from structure_net.runs.request import RunRequest
from structure_net.surgery import Change, preview
from structure_net.surgery.labels import describe_edit


@dataclass(frozen=True, slots=True)
class Foreseen:
    """An edit that the start network would get.

    Args:
        component: The strategy that proposes it.
        edit: In a few words.
        reason: Why.
        change: What it would do to the network's tensors.
    """

    component: str
    edit: str
    reason: str
    change: str


def foresee(request: RunRequest) -> tuple[Foreseen, ...]:
    """The edits that the strategies propose for the network at birth; nothing is written.

    Strategies that edit by hand propose nothing and are not seen.

    Raises:
        StructureNetError: The request cannot be carried out, or an edit is refused.
    """
    prepared = prepare(request)
    context = fresh_context(prepared)
    with blamed("The pipeline proposes nothing"):
        proposed = prepared.system.propose(context)
    return tuple(
        Foreseen(
            component,
            describe_edit(edit),
            reason,
            _changed(preview(context.network, edit, context.example).changes),
        )
        for component, reason, edit in proposed
    )


def _changed(changes: tuple[Change, ...]) -> str:
    return "; ".join(_one(change) for change in changes)


def _one(change: Change) -> str:
    if change.before is None:
        return f"{change.tensor} new {_shape(change.after)}"
    if change.after is None:
        return f"{change.tensor} removed"
    if change.before == change.after:
        return f"{change.tensor} {_shape(change.before)}: {change.role}"
    return f"{change.tensor} {_shape(change.before)} to {_shape(change.after)}"


def _shape(shape: tuple[int, ...] | None) -> str:
    return "x".join(str(size) for size in shape or ()) or "scalar"
