"""Carrying out what a strategy proposed: edits on the context's network, noted in its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from structure_net.core.sections import section
from structure_net.core.undoing import uninterrupted
from structure_net.evolution.batches import joined, random_state_kept
from structure_net.evolution.context import NetworkContext
from structure_net.surgery import Applied, Initialiser, Probe, apply
from structure_net.surgery.edits import ConnectionEdit, Edit, changes_of
from structure_net.surgery.entries import EditEntry
from structure_net.surgery.lineage import architecture, width_changes


@dataclass(frozen=True, slots=True)
class Proposal:
    """An edit that a strategy wants, and why in a few words.

    Args:
        edit: What to do.
        reason: Why.
        initialiser: How new units begin, where the edit adds some; the edit's own way if None.
    """

    edit: Edit
    reason: str = ""
    initialiser: Initialiser | None = None


def derived_seed(*parts: object) -> int:
    """A seed in [0, 2^31) that depends on all of ``parts``, equal on every machine and run."""
    digest = blake2b(repr(parts).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def carry_out(
    context: NetworkContext, proposals: Sequence[Proposal], *, component: str
) -> NetworkContext:
    """`carried_out`, returning the context with its example."""
    if not all(map(_rewires, proposals)):
        context = context.with_example()
    carried_out(context, proposals, component=component)
    return context


def carried_out(
    context: NetworkContext, proposals: Sequence[Proposal], *, component: str
) -> tuple[Applied, ...]:
    """Applies edits in order, all or none, and appends them to the journal.

    The journal notes what was done: of units that begin as copies, the split.

    Args:
        context: Its network and optimizer are edited in place. Initialisers that look at data get
            a `probe_of` it.
        proposals: What to do.
        component: Who asks for them.

    Returns:
        What was done, in order; undo the last one first. The journal keeps its entries then.

    Raises:
        SurgeryError: An edit was refused; those before it were undone, the journal is as it was.
    """
    if not all(map(_rewires, proposals)):
        context = context.with_example()
    network = context.network
    done: list[Applied] = []
    entries: list[EditEntry] = []
    number = context.journal.changes
    starts = [p.initialiser for p in proposals if p.initialiser is not None]
    probe = probe_of(context, max((start.probe_size for start in starts), default=0))
    with uninterrupted(), section("surgery"):
        try:
            for proposal in proposals:
                before = None if _rewires(proposal) else architecture(network)
                number += changes_of(proposal.edit)
                seed = derived_seed(context.seed, context.iteration, number - 1)
                done.append(_applied(context, proposal, probe, seed=seed))
                changes = () if before is None else width_changes(before, architecture(network))
                said = (context.iteration, component, proposal.reason, seed, changes)
                entries.append(EditEntry(done[-1].edit, *said))
        except BaseException:
            for applied in reversed(done):
                applied.undo()
            raise
        for entry in entries:
            context.journal.append(entry)
        if context.memory is not None and not all(start.preserves for start in starts):
            context.memory.trained()
    return tuple(done)


def _applied(
    context: NetworkContext, proposal: Proposal, probe: Probe | None, *, seed: int
) -> Applied:
    return apply(
        context.network,
        proposal.edit,
        context.example,
        optimizer=context.optimizer,
        initialiser=proposal.initialiser,
        probe=probe,
        seed=seed,
    )


def _rewires(proposal: Proposal) -> bool:
    """Whether connections are all that changes: that needs no trace, and keeps every width."""
    return isinstance(proposal.edit, ConnectionEdit)


def probe_of(context: NetworkContext, size: int) -> Probe | None:
    """Training samples for initialisers that look at data, with the context's loss.

    The first batches of the epoch that comes next, as many as make up ``size`` samples, the last
    one cut off. Where samples of different batches do not fit into one tensor, those of the first.

    Args:
        context: Torch's random states are as before; a loader with a state of its own advances.
        size: The number of samples; None is returned for 0.

    Raises:
        ValueError: The loader is empty.
    """
    if not size:
        return None
    with random_state_kept(context.device):
        inputs, targets = joined(context.train_batches(), size)
    return inputs, targets, context.loss
