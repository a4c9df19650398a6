"""An optimizer made anew for a network that was restored, of the kind that it was saved with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import nn
from torch.optim import Optimizer

from structure_net.core.optimizers import Adam, AdamW
from structure_net.errors import RunError
from structure_net.surgery.checkpoint import Checkpoint

_COMPILED: Final[Mapping[str, type[Optimizer]]] = {"Adam": Adam, "AdamW": AdamW}
"""They load the state of PyTorch's own, and leave to those what they cannot do faster."""


def optimizer_like(checkpoint: Checkpoint) -> Optimizer | None:
    """The optimizer that the checkpoint was saved with, for the checkpoint's network.

    Returns:
        None if none was saved.

    Raises:
        RunError: It was no optimizer of PyTorch's own, so that it cannot be made here.
    """
    saved = checkpoint.header.optimizer
    if saved is None:
        return None
    optimizer = _made(saved["class"], saved["groups"], checkpoint.model)
    checkpoint.restore_optimizer(optimizer)
    return optimizer


def _made(name: str, groups: list[dict[str, Any]], network: nn.Module) -> Optimizer:
    kind = _COMPILED.get(name) or getattr(torch.optim, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Optimizer)):
        raise RunError(
            f"The run was trained with {name}, which is no optimizer of torch.optim, so that it "
            "cannot be resumed from the command line. Load the checkpoint in Python instead."
        )
    parameters = dict(network.named_parameters())
    # All other options come with the state; some kinds cannot be made without a learning rate.
    made: Optimizer = cast("Any", kind)(
        [
            {"params": [parameters[p] for p in group["params"]], "lr": group["lr"]}
            for group in groups
        ]
    )
    return made
