"""From one storage of a sparse layer's weights to the other, and to a layer's tensors."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from structure_net.core.crossover import Storage
from structure_net.core.live import Live
from structure_net.core.masking import Masked
from structure_net.core.products import LiveIndex
from structure_net.core.rearranging import Carry
from structure_net.core.sparsity import SparsePattern

Content = Live | Masked

BUFFERS: Final[dict[str, Storage]] = {
    "mask": "masked",
    "offsets": "live",
    "columns": "live",
    "column_offsets": "live",
    "rows": "live",
    "order": "live",
}
"""The buffers that say where the weights stand, and the storage that each belongs to."""

SAVED: Final = ("offsets", "columns", "column_offsets")
"""Those of live storage that stand in a state dict."""

DERIVED: Final = frozenset({"rows", "order"})
"""Those that follow from the others, and are not saved."""


def storage_of(content: Content) -> Storage:
    """The storage that ``content`` is in."""
    return "live" if isinstance(content, Live) else "masked"


def silent(pattern: SparsePattern, kernel: tuple[int, ...], storage: Storage) -> Content:
    """Weights of value 0 on ``pattern``."""
    if storage == "live":
        return Live(torch.zeros(len(pattern), *kernel), LiveIndex.from_pattern(pattern))
    return Masked(torch.zeros(*pattern.shape, *kernel), pattern.mask())


def stored_tensors(content: Content) -> dict[str, Tensor]:
    """``weight`` and the `BUFFERS`, of which those of the other storage are empty."""
    device = content.weight.device
    found = {
        "weight": content.weight,
        "mask": torch.zeros(0, 0, dtype=torch.bool, device=device),
    }
    if isinstance(content, Masked):
        empty = torch.zeros(0, dtype=torch.int32, device=device)
        unused = {name: empty.clone() for name, storage in BUFFERS.items() if storage == "live"}
        return {**found, "mask": content.mask, **unused}
    return {**found, **{name: getattr(content.index, name) for name in BUFFERS if name != "mask"}}


def switched(content: Content, carry: Carry) -> tuple[Content, Carry]:
    """``content`` in the other storage, and ``carry`` with what follows from that behind it."""
    pattern = content.pattern()
    place = pattern.rows, pattern.columns
    if isinstance(content, Masked):
        live = Live(content.weight[place], LiveIndex.from_pattern(pattern))
        return live, lambda state: carry(state)[_on(state, place)]
    shape = (*content.shape, *content.kernel)

    def spread(state: Tensor) -> Tensor:
        return _scattered(carry(state), _on(state, place), shape)

    return Masked(_scattered(content.weight, place, shape), pattern.mask()), spread


def dense(values: Tensor, index: LiveIndex) -> Tensor:
    """Live weights as a matrix, differentiably.

    Args:
        values: Shape ``(n, *kernel)``.
        index: Where they stand.

    Returns:
        Shape ``(outputs, inputs, *kernel)``, zero where there is none.
    """
    rows = torch.arange(index.shape[0], device=values.device)
    rows = rows.repeat_interleave(index.offsets.diff(), output_size=len(index))
    return _scattered(values, (rows, index.columns.long()), (*index.shape, *values.shape[1:]))


def _scattered(values: Tensor, place: tuple[Tensor, Tensor], shape: tuple[int, ...]) -> Tensor:
    """``values`` at their places in zeros of ``shape``."""
    return values.new_zeros(shape).index_put(place, values)


def _on(state: Tensor, place: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Places on the device of a state, which may be elsewhere than the weight."""
    return place[0].to(state.device), place[1].to(state.device)
