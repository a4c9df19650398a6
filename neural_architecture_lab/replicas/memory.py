"""The arrays of a replica: numbers in one block of memory, and how a layer's weights are stored."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from neural_architecture_lab.replicas import kernels
from neural_architecture_lab.replicas.starting import is_full, scattered
from structure_net.core.index_kernels import index_places
from structure_net.core.simd import LINE
from structure_net.core.sparsity import SparsePattern

DENSE_FROM: Final = 0.4
"""The density from which on a layer is stored densely."""


class Lines:
    """Zeros in one block of memory, each piece from a multiple of 64 bytes on.

    A vector that lies across two lines of the processor's cache takes twice the time to read.

    Args:
        counts: How many numbers each piece holds.
        kind: Their type, as numpy calls it.

    Attributes:
        pieces: The arrays.
        addresses: Where each begins.
    """

    def __init__(self, counts: Iterable[int], kind: Any) -> None:
        size = np.dtype(kind).itemsize
        held, each = list(counts), LINE // size
        starts = list(accumulate((-(-count // each) * each for count in held), initial=0))
        block = np.zeros(starts[-1] + each, kind)
        base = block.ctypes.data
        free = -base % LINE // size
        self.pieces = [
            block[free + start : free + start + count]
            for start, count in zip(starts, held, strict=False)
        ]
        self.addresses = [base + (free + start) * size for start in starts[:-1]]


class Stored:
    """How a layer's weights are stored.

    Args:
        pattern: Its connections.

    Attributes:
        form: Dense, sparse or masked.
        size: How many numbers are stored.
    """

    def __init__(self, pattern: SparsePattern) -> None:
        self._pattern = pattern
        if is_full(pattern):
            self.form = kernels.DENSE
        else:
            self.form = kernels.SPARSE if pattern.density < DENSE_FROM else kernels.MASKED
        sparse = self.form == kernels.SPARSE
        self.size = len(pattern) if sparse else pattern.shape[0] * pattern.shape[1]

    def laid_out(self, values: Tensor) -> Tensor:
        """Weights in the pattern's order, as they are stored."""
        return values if self.form == kernels.SPARSE else scattered(self._pattern, values)

    def matrix(self, stored: Tensor) -> Tensor:
        """Stored weights as a matrix."""
        if self.form == kernels.SPARSE:
            return scattered(self._pattern, stored)
        return stored.view(self._pattern.shape)

    def index(self, kind: Any) -> Lines | None:
        """The five arrays of a sparse layer's index, a mask of numbers, or nothing."""
        pattern, count = self._pattern, len(self._pattern)
        if self.form == kernels.SPARSE:
            outputs, inputs = pattern.shape
            found = Lines((outputs + 1, count, inputs + 1, count, count), np.int32)
            keys = torch.add(pattern.columns, pattern.rows, alpha=inputs).numpy()
            index_places(keys, inputs, *found.pieces)
            return found
        if self.form == kernels.MASKED:
            found = Lines((self.size,), kind)
            found.pieces[0][:] = pattern.mask().numpy().ravel()
            return found
        return None
