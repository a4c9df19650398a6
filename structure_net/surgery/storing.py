"""Switches how sparse layers store their weights, with all that optimizers remember of them.

No edit: the function stays to rounding, and journals never hear of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.crossover import Storage, storage_for
from structure_net.core.storage import StoredLayer
from structure_net.surgery.bound_weights import refuse_bound
from structure_net.surgery.committing import Undo, commit
from structure_net.surgery.operating import changing_steps, refuse_uneditable
from structure_net.surgery.optimizers import LOG, optimizers_of


def set_storage(
    model: nn.Module,
    storage: Literal["live", "masked", "auto"],
    *,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
) -> Undo:
    """Brings every sparse layer of ``model`` to one storage; parameters stay the same objects.

    The next edit of a layer's connections brings it back to the storage that pays, unless
    `structure_net.core.crossover.set_crossover` says otherwise.

    Args:
        model: Any module.
        storage: ``"live"``: lists of live weights. ``"masked"``: dense matrices beside masks.
            ``"auto"``: whichever pays for each layer.
        optimizer: The model's optimizers; others follow at their next step.

    Returns:
        What takes it back, bit for bit.

    Raises:
        SurgeryError: The model cannot be edited, the weight of a layer is not its own (see
            `refuse_bound`), or optimizer state cannot follow.
        ValueError: ``storage`` is unknown.
    """
    if storage not in ("live", "masked", "auto"):
        raise ValueError(f"storage must be live, masked or auto; got {storage!r}.")
    layers = stored_layers(model)
    if storage == "auto":
        return switch(model, {name: _paying(one) for name, one in layers.items()}, optimizer)
    return switch(model, dict.fromkeys(layers, storage), optimizer)


def stored_layers(model: nn.Module) -> dict[str, StoredLayer]:
    """The layers of ``model`` that can be stored in two ways, by name."""
    modules = model.named_modules()
    return {name: module for name, module in modules if isinstance(module, StoredLayer)}


def saved_storage(tensors: Mapping[str, Tensor], layer: str) -> Storage | None:
    """The storage that a layer had when its state dict was taken; None where it is not in it."""
    prefix = f"{layer}." if layer else ""
    if f"{prefix}offsets" in tensors:
        return "live"
    return "masked" if f"{prefix}mask" in tensors else None


def stored_as(
    tensors: Mapping[str, Tensor],
    model: nn.Module,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
) -> Undo:
    """Brings each sparse layer to the storage that it has in a state dict. See `set_storage`."""
    saved = {name: saved_storage(tensors, name) for name in stored_layers(model)}
    wanted = {name: storage for name, storage in saved.items() if storage is not None}
    return switch(model, wanted, optimizer)


@torch.no_grad()
def switch(
    model: nn.Module,
    wanted: Mapping[str, Storage],
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
) -> Undo:
    """Brings the layers named in ``wanted`` to a storage each. See `set_storage`."""
    refuse_uneditable(model)
    layers, optimizers = stored_layers(model), optimizers_of(optimizer)
    settled = {
        name: layers[name] for name, storage in wanted.items() if layers[name].storage != storage
    }
    refuse_bound(model, settled, biases=False)
    for one in optimizers:
        LOG.catch_up(one)
    changes = [
        change.within(name) if name else change
        for name, storage in wanted.items()
        for change in layers[name].stored(storage)
    ]
    return commit(changing_steps(model, changes, settled.values(), optimizers))


def _paying(layer: StoredLayer) -> Storage:
    pattern = layer.pattern
    kernel = tuple(layer.live_weights.shape[1:])
    return storage_for(pattern.shape, len(pattern), kernel=kernel)
