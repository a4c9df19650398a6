"""New entries of one weight along one axis, however the weight is stored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from structure_net.core.products import LiveIndex
from structure_net.core.sparsity import SparseLayer
from structure_net.core.storage import StoredLayer
from structure_net.core.switching import dense


@dataclass(frozen=True, slots=True)
class Slot:
    """New entries of one tensor along one axis.

    Args:
        tensor: The weight.
        dim: The axis: 0 for outputs, 1 for inputs.
        new: The new entries on it.
        live: Of a sparse layer that stores a matrix: which weights exist; others stay zero. Shape
            ``(outputs, inputs)``.
        index: Of a sparse layer that stores its live weights alone: where they stand.
    """

    tensor: nn.Parameter
    dim: int
    new: Tensor
    live: Tensor | None = None
    index: LiveIndex | None = None

    @classmethod
    def of_layer(cls, layer: SparseLayer, tensor: nn.Parameter, dim: int, new: Tensor) -> Slot:
        """New entries of the weight of a sparse layer."""
        if isinstance(layer, StoredLayer) and layer.storage == "live":
            return cls(tensor, dim, new, index=layer.index)
        return cls(tensor, dim, new, live=layer.pattern.mask())

    @property
    def sparse(self) -> bool:
        """Whether some of the weights do not exist."""
        return self.live is not None or self.index is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """The whole weight's: ``(outputs, inputs, *kernel)``."""
        if self.index is None:
            return tuple(self.tensor.shape)
        return (*self.index.shape, *self.tensor.shape[1:])

    def whole(self) -> Tensor:
        """The weight, detached, zero where there is none. Shape ``(outputs, inputs, *kernel)``."""
        weight = self.tensor.detach()
        return weight if self.index is None else dense(weight, self.index)

    def rows(self, tensor: Tensor) -> Tensor:
        """The new entries of a tensor stored as the weight is, one row for each. Shape ``(new,
        rest)``.
        """
        if self.index is None:
            return tensor.movedim(self.dim, 0)[self.new].flatten(1)
        chosen, row, place = self._chosen(self.index)
        lines = tensor.new_zeros(len(self.new) * self._width, *tensor.shape[1:])
        lines = lines.index_copy(0, row * self._width + place, tensor[chosen])
        return lines.view(len(self.new), self._width, *tensor.shape[1:]).flatten(1)

    def write(self, rows: Tensor) -> None:
        """Writes the new entries, shape ``(new, rest)``; those that do not exist stay zero."""
        with torch.no_grad():
            if self.index is not None:
                chosen, row, place = self._chosen(self.index)
                entries = rows.view(len(self.new), self._width, *self.tensor.shape[1:])
                self.tensor[chosen] = entries[row, place].to(self.tensor)
                return
            view = self.tensor.movedim(self.dim, 0)
            entries = rows.view(len(self.new), *view.shape[1:]).to(view)
            if self.live is not None:
                entries = entries * self.existing().view(entries.shape)
            view[self.new] = entries

    def existing(self) -> Tensor:
        """Which of the new entries exist, one row for each. Shape ``(new, rest)``, bool."""
        if self.index is not None:
            return self.rows(torch.ones_like(self.tensor, dtype=torch.bool))
        if self.live is None:
            return torch.ones_like(self.rows(self.tensor), dtype=torch.bool)
        exist = self.live.movedim(self.dim, 0)[self.new]
        kernel = self.tensor[0, 0].numel()
        return exist[..., None].expand(*exist.shape, kernel).flatten(1)

    def size_of_old(self) -> float:
        """The root mean square norm of the old rows, or 1 where they are zero."""
        old = torch.ones(self.shape[self.dim], dtype=torch.bool, device=self.tensor.device)
        old[self.new] = False
        squares = self._squares()[old]
        size = squares.mean().sqrt().item() if len(squares) else 0.0
        return size if size > 0.0 else 1.0

    @property
    def _width(self) -> int:
        """Units on the other axis."""
        return self.shape[1 - self.dim]

    def _squares(self) -> Tensor:
        """The squared norm of each row. Shape ``(units,)``."""
        weight = self.tensor.detach()
        if self.index is None:
            norms: Tensor = weight.movedim(self.dim, 0).flatten(1).norm(dim=1)
            return norms.square()
        pattern = self.index.pattern
        units = (pattern.rows, pattern.columns)[self.dim]
        each = weight.square().reshape(len(weight), -1).sum(1)
        return each.new_zeros(self.shape[self.dim]).index_add(0, units, each)

    def _chosen(self, index: LiveIndex) -> tuple[Tensor, Tensor, Tensor]:
        """The live weights of the new entries: which, in which of the rows, and where in it."""
        pattern = index.pattern
        units, others = (pattern.rows, pattern.columns)[:: 1 if self.dim == 0 else -1]
        row = units.new_full((self.shape[self.dim],), -1)
        row[self.new] = torch.arange(len(self.new), device=row.device)
        chosen = (row[units] >= 0).nonzero().flatten()
        return chosen, row[units[chosen]], others[chosen]
