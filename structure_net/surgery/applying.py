"""The front door of surgery: apply an edit to a model, or look at what it would change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from structure_net.core.storage import StoredLayer
from structure_net.core.undoing import uninterrupted
from structure_net.errors import SurgeryError
from structure_net.graph.channels import ChannelGroup
from structure_net.surgery.committing import Claim, Undo
from structure_net.surgery.depths import DEPTH_EDITS, observed_layers
from structure_net.surgery.describing import Change, Preview, described, joined
from structure_net.surgery.edits import (
    AddConnections,
    AddHeads,
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    ConnectionEdit,
    DoubleWidth,
    Edit,
    InsertLayer,
    MaskHeads,
    ReviveHeads,
    SplitNeurons,
)
from structure_net.surgery.grafts import InsertedLayer, current_name
from structure_net.surgery.initialisers import Initialiser, Probe, ZeroOutgoing, newborn_of
from structure_net.surgery.moves import (
    AddGraft,
    Move,
    SetGate,
)
from structure_net.surgery.operating import perform, refuse_uneditable
from structure_net.surgery.optimizers import optimizers_of
from structure_net.surgery.planning import plan, planned_width
from structure_net.surgery.sites import sites
from structure_net.surgery.verifying import (
    Observed,
    TrainingDiffers,
    check_same,
    observe_after,
    observe_before,
    observe_training,
)
from structure_net.surgery.wording import refuse_channelless, speaking_of

if TYPE_CHECKING:
    from structure_net.graph import ChannelGraph


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
            broke its promise. Where connections move and nothing is promised, nothing runs.

    Returns:
        The edit, what it changed, and how to take it back.

    Raises:
        SurgeryError: The edit cannot be planned or carried out, or the model does not run after it.
        PreservationError: The edit promises to keep the function and did not.
    """
    refuse_uneditable(model)
    _refuse_no_edit(change)
    _refuse_initialiser(change, initialiser)
    start = initialiser or ZeroOutgoing()
    looks = verify and example is not None and not _cannot_fail(model, change, start)
    before = observe_before(model, example) if looks else None
    asked = _Asked(model, change, example, optimizers_of(optimizer), start, probe, seed)
    with speaking_of(model):
        try:
            return asked.carried_out(before)
        except TrainingDiffers:
            assert before is not None
            return asked.carried_out(observe_training(model, example, before))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What `apply` was given."""

    model: nn.Module
    change: Edit
    example: Any
    optimizers: tuple[Optimizer, ...]
    start: Initialiser
    probe: Probe | None
    seed: int

    def carried_out(self, before: Observed | None) -> Applied:
        """The edit, done; checked against what the model computed before it, where that is given.

        Raises:
            TrainingDiffers: What ``before`` presumes of training does not hold; nothing is changed.
        """
        changes: list[Change] = []
        claims: list[Claim] = []
        done = self.change
        with ExitStack() as rollback:
            for part in parts(self.model, self.change):
                planned = planned_on(self.model, part, self.example, self.start, self.seed)
                done = planned.edit if part is self.change else done
                changes += described(self.model, planned.moves, self.seed)
                with uninterrupted():
                    step = perform(self.model, planned.moves, self.optimizers, seed=self.seed)
                    rollback.callback(step.undo)
                claims += step.claims
                self._refine(planned)
                if before is not None:
                    self._check(part, planned, before)
                planned.follow(rollback)
            return Applied(done, joined(changes), Undo(rollback.pop_all(), claims))

    def _refine(self, planned: Planned) -> None:
        """Lets the initialiser look at new units."""
        if planned.group is not None and isinstance(planned.edit, AddNeurons | AddHeads):
            new = newborn_of(self.model, planned.group.layer, planned.moves)
            if new.writers:
                self.start.refine(self.model, new, self.probe, self.seed)

    def _check(self, part: Edit, planned: Planned, before: Observed) -> None:
        grafts = new_grafts(planned.moves)
        after = observe_after(self.model, self.example, part, before, grafts)
        keeps, widths = promises(planned.edit, self.start), planned.group is not None
        check_same(before, after, part, values=keeps, factors=widths)


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
    if isinstance(renamed, ConnectionEdit):
        return Planned(change, plan(renamed))
    from structure_net.graph import graph_of

    graph = graph_of(model, example)
    refuse_channelless(model, graph, renamed.layer)
    if isinstance(renamed, MaskHeads | ReviveHeads):
        return Planned(change, plan(renamed, graph, model))
    if not isinstance(renamed, AddNeurons | AddHeads):
        moves, group, units = planned_width(renamed, graph)
        return Planned(change, moves, graph, group, units)
    moves, group, units = planned_width(renamed, graph)
    instead = start.edit(renamed, group, seed)
    if instead is not renamed:
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
    with speaking_of(model):
        moves = planned_on(model, change, example, ZeroOutgoing(), seed).moves
    return Preview(change, described(model, moves, seed))


def new_grafts(moves: Iterable[Move]) -> tuple[str, ...]:
    """The dotted names that the moves' grafts and gates will have."""
    grafts = [f"{m.layer}.grafts.{m.name}" for m in moves if isinstance(m, AddGraft)]
    gates = [m.layer for m in moves if isinstance(m, SetGate) and not all(m.open)]
    return (*grafts, *(f"{name.removesuffix('.origin')}.gates.heads" for name in gates))


def _cannot_fail(model: nn.Module, change: Edit, start: Initialiser) -> bool:
    """Whether a run could tell nothing: the connections of a layer of ours change, which leaves
    every shape as it is, and nothing is promised.

    A look costs three passes through the whole model, the edit one through the layer's connections.
    """
    if not isinstance(change, ConnectionEdit):
        return False
    layer = dict(model.named_modules()).get(current_name(model, change.layer))
    return isinstance(layer, StoredLayer) and not promises(change, start)


_KEEPING = (DoubleWidth, InsertLayer, AddResidualBlock, AddSkipConnection)


def promises(change: Edit, start: Initialiser) -> bool:
    """Whether an edit promises to keep the function."""
    match change:
        case AddNeurons() | AddHeads():
            return start.preserves
        case SplitNeurons():
            return change.noise == 0.0 or change.share == 0.0
        case AddConnections():
            return change.scale == 0.0
        case _:
            return isinstance(change, _KEEPING)
