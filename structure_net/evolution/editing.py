"""Carrying out what a strategy proposed: edits on the context's network, noted in its journal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from types import FrameType

from structure_net.evolution.context import NetworkContext
from structure_net.surgery import Applied, apply
from structure_net.surgery.edits import AddConnections, Edit, RemoveConnections
from structure_net.surgery.entries import EditEntry
from structure_net.surgery.lineage import architecture, width_changes


def derived_seed(*parts: object) -> int:
    """A seed in [0, 2^31) that depends on all of ``parts``, equal on every machine and run."""
    digest = blake2b(repr(parts).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def carry_out(
    context: NetworkContext, edits: Sequence[tuple[Edit, str]], *, component: str
) -> NetworkContext:
    """Applies edits in order, all or none, and appends them to the journal.

    Args:
        context: Its network and optimizer are edited in place.
        edits: Each with its reason.
        component: Who asks for them.

    Raises:
        SurgeryError: An edit was refused; those before it were undone, the journal is as it was.
    """
    if not all(isinstance(edit, AddConnections | RemoveConnections) for edit, _ in edits):
        # Connections need no trace; whatever else is asked for does.
        context = context.with_example()
    network = context.network
    done: list[Applied] = []
    entries: list[EditEntry] = []
    with uninterrupted():
        try:
            for edit, reason in edits:
                place = len(context.journal) + len(entries)
                seed = derived_seed(context.seed, context.iteration, place)
                before = architecture(network)
                done.append(
                    apply(network, edit, context.example, optimizer=context.optimizer, seed=seed)
                )
                changes = width_changes(before, architecture(network))
                entry = EditEntry(edit, context.iteration, component, reason, seed, changes)
                entries.append(entry)
        except BaseException:
            for applied in reversed(done):
                applied.undo()
            raise
        for entry in entries:
            context.journal.append(entry)
    return context


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back until the block is over, so that it is done wholly or not at all.

    Only the main thread receives it; elsewhere, or under a handler of another kind, nothing is
    changed.
    """
    held: list[tuple[int, FrameType | None]] = []
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if held:
            previous(*held[0])
