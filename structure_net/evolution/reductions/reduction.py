"""The interface of a reduction: one share of the pass over a few batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

from structure_net.evolution.reductions.values import BatchSeen, Gradients, Values


class With(Enum):
    """What the loss of a batch is differentiated with respect to."""

    UNITS = "units"
    """What each layer's units end up with."""

    OUTPUTS = "outputs"
    """What each layer gives, in front of its activation."""

    PARAMETERS = "parameters"
    """Every parameter that requires a gradient."""


class Reduction(ABC):
    """Turns what it is told of each batch into sums that do not grow with the number of batches.

    For each batch, in this order: `input`, `output` and `units` of each call of each layer, as the
    network runs; `gradients`, where ``differentiates`` names any; `batch`. A tensor that is needed
    beyond the call that hands it over is kept by whoever needs it, and let go of in `batch`.
    Torch's functions run without gradients.
    """

    differentiates: ClassVar[frozenset[With]] = frozenset()

    def input(self, values: Values) -> None:  # noqa: B027 - nothing is needed by default
        """A call takes ``values``."""

    def output(self, values: Values) -> None:  # noqa: B027 - the same
        """A call gave ``values``, in front of any activation."""

    def units(self, values: Values) -> None:  # noqa: B027 - the same
        """The units of a call end up with ``values``."""

    def gradients(self, found: Gradients) -> None:  # noqa: B027 - the same
        """The gradients of the batch's loss."""

    def batch(self, seen: BatchSeen) -> None:  # noqa: B027 - the same
        """The batch is over."""

    @abstractmethod
    def result(self, readers: Mapping[str, tuple[str, ...]]) -> Any:
        """What all batches together gave.

        Args:
            readers: By layer, in order of first execution: the layers that read its units one by
                one.
        """
