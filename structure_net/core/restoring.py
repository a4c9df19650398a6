"""What a sparse layer does when a state is loaded: it takes over storage and connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from structure_net.core.crossover import Storage
from structure_net.core.products import LiveIndex
from structure_net.core.switching import BUFFERS, DERIVED, SAVED


class Restorable(Protocol):
    """The weight and the buffers of both storages."""

    weight: nn.Parameter
    mask: Tensor
    offsets: Tensor
    columns: Tensor
    column_offsets: Tensor
    rows: Tensor
    order: Tensor

    @property
    def storage(self) -> Storage: ...  # noqa: D102 - of `StoredLayer`


def make_room(
    layer: Restorable,
    saved: Mapping[str, Any],
    sizes: tuple[int, int],
    kernel: tuple[int, ...],
) -> None:
    """Gives the layer's tensors the shapes of those saved, where these are of a layer of its size.

    What does not fit is left as it is, so that torch says how the shapes differ.

    Args:
        layer: Its tensors keep their identity, and lose their content where shapes differ.
        saved: ``weight`` and buffers by name.
        sizes: The shape of the layer's pattern.
        kernel: The shape of a connection's weights.

    Raises:
        ValueError: A list of weights has other connections, or only a part of their index, as
            where ``strict=False`` lets a state have gaps.
    """
    shapes = {name: tuple(value.shape) for name, value in saved.items() if _is_tensor(value)}
    whole = _masked(shapes, sizes, kernel) or _live(shapes, sizes, kernel)
    same = same_places(layer, saved)
    if not whole:
        if not same and layer.storage == "live":
            _refuse_parts(shapes)
        return
    if not same:
        layer.weight.grad = None
    if "columns" in shapes:
        shapes |= dict.fromkeys(("rows", "order"), shapes["columns"])
    for name in ("weight", *BUFFERS):
        own = getattr(layer, name)
        shape = shapes.get(name, (0,) * own.dim())
        if own.shape != shape:
            own.grad = None
            own.data = own.data.new_empty(shape)


def derive(layer: Restorable, shape: tuple[int, int]) -> None:
    """Writes the buffers that follow from those loaded, where a layer stores live weights.

    Args:
        layer: The buffers keep their identity.
        shape: That of the layer's pattern.

    Raises:
        ValueError: What was loaded are no connections of a layer of this size.
    """
    _gather(layer)
    if layer.storage == "masked":
        _check_mask(layer)
        return
    if layer.offsets.is_meta:
        return
    _check(layer.offsets, layer.columns, shape)
    index = LiveIndex.from_rows(layer.offsets, layer.columns, shape)
    if not torch.equal(index.column_offsets, layer.column_offsets):
        raise ValueError("column_offsets must count the connections out of each input in columns.")
    layer.rows.data, layer.order.data = index.rows, index.order


def _refuse_parts(shapes: Mapping[str, tuple[int, ...]]) -> None:
    lacking = [name for name in ("weight", *SAVED) if name not in shapes]
    if lacking:
        raise ValueError(
            f"other connections need weight, {', '.join(SAVED)}, all from one layer; "
            f"{', '.join(lacking)} is not there."
        )


def _gather(layer: Restorable) -> None:
    """Brings the buffers that were not loaded to where the weight is.

    A layer on the meta device whose tensors were assigned (``load_state_dict(assign=True)``) has
    some here and some there.
    """
    device = layer.weight.device
    for name in BUFFERS:
        own = getattr(layer, name)
        if own.device != device and (name in DERIVED or not own.numel()):
            setattr(layer, name, torch.empty_like(own, device=device))


def _check_mask(layer: Restorable) -> None:
    """Refuses a mask that was lost: weights would be zeroed, and no edit could bring them back."""
    if layer.mask.is_meta or layer.weight.is_meta or bool(layer.mask.any()):
        return
    wiped = int(layer.weight.count_nonzero())
    if wiped:
        raise ValueError(
            f"mask has no connection, but {wiped} of the weights are not zero. Save mask and "
            "weight together; a layer without connections has a weight of zeros."
        )


def _check(offsets: Tensor, columns: Tensor, shape: tuple[int, int]) -> None:
    whole = int(offsets[0]) == 0 and int(offsets[-1]) == len(columns)
    if not whole or bool((offsets.diff() < 0).any()):
        raise ValueError(f"offsets must ascend from 0 to the {len(columns)} connections.")
    if bool(((columns < 0) | (columns >= shape[1])).any()):
        raise ValueError(f"columns must be below the layer's {shape[1]} inputs.")
    inside = torch.ones(max(len(columns) - 1, 0), dtype=torch.bool, device=columns.device)
    starts = offsets[(offsets > 0) & (offsets < len(columns))].long()
    inside[starts - 1] = False
    if bool(((columns.diff() <= 0) & inside).any()):
        raise ValueError("columns must ascend within each row, each input at most once.")


def same_places(layer: Restorable, saved: Mapping[str, Any]) -> bool:
    """Whether the connections saved are the layer's own, in the same storage.

    Args:
        layer: Is not changed.
        saved: ``weight`` and buffers by name; None where there is none.
    """
    own = {name: getattr(layer, name) for name in ("mask", *SAVED)}
    return all(
        name not in saved or saved[name] is None or _equal(one, saved[name])
        for name, one in own.items()
    )


def _equal(own: Tensor, saved: Tensor) -> bool:
    if own.is_meta or saved.is_meta or own.shape != saved.shape:
        return False
    return torch.equal(own, saved.to(own))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _masked(
    shapes: Mapping[str, tuple[int, ...]], sizes: tuple[int, int], kernel: tuple[int, ...]
) -> bool:
    return shapes.get("weight") == (*sizes, *kernel) and shapes.get("mask") == sizes


def _live(
    shapes: Mapping[str, tuple[int, ...]], sizes: tuple[int, int], kernel: tuple[int, ...]
) -> bool:
    count = shapes.get("columns", ())
    return (
        len(count) == 1
        and shapes.get("weight") == (*count, *kernel)
        and shapes.get("offsets") == (sizes[0] + 1,)
        and shapes.get("column_offsets") == (sizes[1] + 1,)
    )
