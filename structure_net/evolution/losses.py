"""The loss of a loop that a user owns, by name: a journal notes it, so that a resume can compare.

A context takes cross-entropy where none is given. Whoever resumes without the loss of the past
would have analyzers look at other gradients, and strategies make other edits, without a word.
"""

from __future__ import annotations

import warnings
from functools import partial

from structure_net.evolution.batches import Loss
from structure_net.evolution.context import NetworkContext
from structure_net.surgery.entries import LOSS, START, EventEntry
from structure_net.surgery.lineage import architecture


class OtherLossWarning(UserWarning):
    """A network is resumed with a loss of another name than it evolved by so far."""


def loss_name(loss: Loss) -> str:
    """The module and qualified name of a function; of any other object, those of its class.

    Two lambdas of one function have the same name, and so do two `torch.nn.MSELoss` with other
    arguments: names tell that a loss is another one, not that it is the same.

    >>> loss_name(partial(loss_name))
    'structure_net.evolution.losses.loss_name'
    """
    while isinstance(loss, partial):
        loss = loss.func
    named = loss if hasattr(loss, "__qualname__") else type(loss)
    return f"{named.__module__}.{named.__qualname__}"


def note_loss(context: NetworkContext) -> None:
    """Begins an empty journal with the loss's name; compares it with that of one that has begun.

    Warns:
        OtherLossWarning: The names differ. Journals that were begun without a name are let by.
    """
    name = loss_name(context.loss)
    if not len(context.journal):
        detail = {**architecture(context.network), LOSS: name}
        context.journal.append(EventEntry(START, context.iteration, detail=detail))
        return
    noted = next((e.detail[LOSS] for e in context.journal.events(START) if LOSS in e.detail), name)
    if noted != name:
        warnings.warn(
            f"This network evolved by the loss {noted!r} so far, and now analyzers and trials take"
            f" {name!r}. Pass the former as NetworkContext(..., loss=...), which is cross-entropy"
            " where none is given; or go on, if the change is meant.",
            OtherLossWarning,
            stacklevel=3,
        )
