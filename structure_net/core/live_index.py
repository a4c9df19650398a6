"""Where the live weights of a sparse layer stand in its matrix, by rows and by columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, cast

import torch
from torch import Tensor

from structure_net.core.arguments import shown
from structure_net.core.capturing import capturing
from structure_net.core.index_kernels import agrees
from structure_net.core.plans import Plans
from structure_net.core.sparsity import SparsePattern

NAMES: Final = ("offsets", "columns", "column_offsets", "rows", "order")
"""The tensors of an index, in order."""

_WAY: Final = "Write connections by surgery, or load a state dict; do not write the tensors."


@dataclass(frozen=True, slots=True, eq=False)
class LiveIndex:
    """Where live weights stand in a matrix ``(outputs, inputs)``, by rows and by columns.

    The tensors must not be written while the index is in use: the kernels rely on what was checked
    when it was made. Only `torch.compile` and `torch.export`, where a check would be part of the
    program, trust them.

    Args:
        offsets: Where each row begins among the weights, and their number at the end. Shape
            ``(outputs + 1,)``, int32 and contiguous, as all that follow.
        columns: The column of each weight, ascending within a row. Shape ``(n,)``.
        column_offsets: Where each column begins among the weights in column order, and their
            number. Shape ``(inputs + 1,)``.
        rows: The row of each weight in column order, ascending within a column. Shape ``(n,)``.
        order: The place in row order of each weight in column order. Shape ``(n,)``.
        shape: The numbers of outputs and of inputs.

    Attributes:
        by_row: The addresses of ``offsets`` and ``columns``, and 0; empty unless they are plain
            tensors in the processor's memory.
        by_column: Those of ``column_offsets``, ``rows`` and ``order``.
        count: The number of weights, if plain tensors say it.
        plans: Passes that were planned for products with its weights, if there are addresses.

    Raises:
        ValueError: The tensors differ in length, type or device from these, point outside, or say
            different things by rows and by columns.
    """

    offsets: Tensor
    columns: Tensor
    column_offsets: Tensor
    rows: Tensor
    order: Tensor
    shape: tuple[int, int]
    by_row: tuple[int, ...] = field(init=False, repr=False, default=())
    by_column: tuple[int, ...] = field(init=False, repr=False, default=())
    count: int = field(init=False, repr=False, default=0)
    plans: Plans[Any] = field(init=False, repr=False, default=cast("Plans[Any]", None))
    _held: tuple[Tensor, ...] = field(init=False, repr=False, default=())
    _flat: Tensor | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if capturing() or not all(map(_readable, self.tensors)):
            return
        self._check_form()
        if self.offsets.device.type != "meta":
            self._check_content()
            self._check_agreement()
            self._take_addresses()

    @classmethod
    def from_pattern(cls, pattern: SparsePattern) -> Self:
        """The index of the weights of ``pattern``, on its device."""
        offsets = _offsets(pattern.rows, pattern.shape[0])
        return cls.from_rows(offsets, pattern.columns.int(), pattern.shape)

    @classmethod
    def unchecked(cls, tensors: Sequence[Tensor], shape: tuple[int, int]) -> Self:
        """The index of the five ``tensors``, in the order above, which somebody has checked."""
        made = object.__new__(cls)
        for name, one in zip(NAMES, tensors, strict=True):
            object.__setattr__(made, name, one)
        object.__setattr__(made, "shape", shape)
        made._take_addresses()
        return made

    @classmethod
    def implied(cls, tensors: Sequence[Tensor]) -> Self:
        """The same in memory without gaps; the lengths of ``tensors`` say the shape."""
        shape = (tensors[0].shape[0] - 1, tensors[2].shape[0] - 1)
        return cls.unchecked([one.contiguous() for one in tensors], shape)

    @classmethod
    def from_rows(cls, offsets: Tensor, columns: Tensor, shape: tuple[int, int]) -> Self:
        """The index with these ``offsets`` and ``columns``, which imply all else."""
        order = torch.argsort(columns, stable=True)
        rows = _rows(offsets, len(columns), torch.int32)[order]
        tensors = offsets, columns, _offsets(columns, shape[1]), rows, order.int()
        made = cls.unchecked(tensors, shape)
        made._check_form()
        made._check_content()
        return made

    @property
    def pattern(self) -> SparsePattern:
        """The connections, sorted by row and then by column."""
        return SparsePattern(self.row_order, self.columns.long(), self.shape)

    @property
    def plain(self) -> bool:
        """Whether the tensors are plain ones, which were checked: not parts of a program."""
        return bool(self._held)

    @property
    def row_order(self) -> Tensor:
        """The row of each weight in row order. Shape ``(n,)``, int64."""
        if self.mapped:  # whose rows differ in length
            unordered = torch.zeros(len(self), dtype=torch.int64, device=self.rows.device)
            return unordered.index_put((self.order.long(),), self.rows.long())
        return _rows(self.offsets, len(self))

    @property
    def flat(self) -> Tensor:
        """The place of each weight in the whole matrix, kept from the first use on.

        Shape ``(n,)``, int64.
        """
        if self._flat is not None:
            return self._flat
        # No product with a number: surgery takes those that a model computes for part of its code.
        with torch.inference_mode(False):  # it may be saved for a backward pass later
            flat = torch.add(self.columns, self.row_order, alpha=self.shape[1])
        if self.plain and not capturing():
            object.__setattr__(self, "_flat", flat)
        return flat

    @property
    def mapped(self) -> bool:
        """Whether a transform maps over the tensors, so that there are several indices in one."""
        if capturing():
            return False
        return any(map(torch._C._functorch.is_functorch_wrapped_tensor, self.tensors))

    def __len__(self) -> int:
        return self.columns.shape[0]

    def alias(self) -> Self:
        """The same index of tensors that share the memory of its own."""
        return self.unchecked([one.detach() for one in self.tensors], self.shape)

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), (*self.tensors, self.shape)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The five tensors, in the order above."""
        return self.offsets, self.columns, self.column_offsets, self.rows, self.order

    def _take_addresses(self) -> None:
        # Aliases keep the memory alive when a module gives one of its buffers other data.
        held = tuple(one.detach() for one in self.tensors)
        places = tuple(one.data_ptr() for one in held)
        object.__setattr__(self, "_held", held)
        object.__setattr__(self, "count", len(self))
        object.__setattr__(self, "_flat", None)
        object.__setattr__(self, "plans", Plans())
        here = self.offsets.is_cpu
        object.__setattr__(self, "by_row", (*places[:2], 0) if here else ())
        object.__setattr__(self, "by_column", places[2:] if here else ())

    def _check_form(self) -> None:
        outputs, inputs = self.shape
        if min(self.shape) < 0:
            raise ValueError(
                "There is no list of weights: offsets are empty. A masked layer's weight keeps the "
                "shape of its mask; write weights with fill(), connections by surgery."
            )
        lengths = (outputs + 1, len(self), inputs + 1, len(self), len(self))
        for name, one, length in zip(NAMES, self.tensors, lengths, strict=True):
            right = one.dtype == torch.int32 and one.shape == (length,) and one.is_contiguous()
            if not right or one.device != self.offsets.device:
                raise ValueError(
                    f"{name} must be {length} contiguous int32 on {self.offsets.device}, as the "
                    f"shape {self.shape} and {len(self)} columns ask for; got {one.dtype}, shape "
                    f"{tuple(one.shape)} on {one.device}."
                )

    def _check_content(self) -> None:
        for name, bounds in (("offsets", self.offsets), ("column_offsets", self.column_offsets)):
            inside = int(bounds[0]) == 0 and int(bounds[-1]) == len(self)
            if not inside or bool((bounds[1:] < bounds[:-1]).any()):
                raise ValueError(
                    f"{name} must ascend from 0 to the number of weights, {len(self)}; got "
                    f"{shown(bounds.tolist())}. {_WAY}"
                )
        limits = (self.shape[1], self.shape[0], len(self))
        for name, units, limit in zip(
            ("columns", "rows", "order"), (self.columns, self.rows, self.order), limits, strict=True
        ):
            if len(self) and not (int(units.min()) >= 0 and int(units.max()) < limit):
                raise ValueError(
                    f"{name} must lie from 0 to {limit - 1}; got {int(units.min())} to "
                    f"{int(units.max())}. {_WAY}"
                )

    def _check_agreement(self) -> None:
        """What is computed by rows and by columns must be of the same matrix."""
        if self.offsets.is_cpu and not agrees(*(one.numpy() for one in self.tensors)):
            raise ValueError(
                "The tensors of an index must hold each place once, and the same places by rows "
                "(offsets, columns) and by columns (column_offsets, rows, order), of which a state "
                f"dict holds the first three. {_WAY}"
            )


def _readable(tensor: Tensor) -> bool:
    """Whether a tensor is a plain one, with memory of its own: no part of a transform."""
    return type(tensor) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def _offsets(units: Tensor, count: int) -> Tensor:
    """Where each of ``count`` units begins in sorted ``units``. Shape ``(count + 1,)``, int32."""
    counts = torch.bincount(units, minlength=count)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()


def _rows(offsets: Tensor, count: int, kind: torch.dtype = torch.int64) -> Tensor:
    """The row of each of ``count`` weights in row order. Shape ``(n,)``."""
    rows = torch.arange(len(offsets) - 1, dtype=kind, device=offsets.device)
    return rows.repeat_interleave(offsets.diff(), output_size=count)
