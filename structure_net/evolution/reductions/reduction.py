"""The interface of a reduction: one share of the pass over a few batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import torch

from structure_net.core.noting import Picked
from structure_net.evolution.activations import Activation
from structure_net.evolution.calls import Call
from structure_net.evolution.reductions.means import Summed
from structure_net.evolution.reductions.values import BatchSeen, Gradients, Values


class With(Enum):
    """What the loss of a batch is differentiated with respect to."""

    UNITS = "units"
    """What each layer's units end up with."""

    OUTPUTS = "outputs"
    """What each layer gives, in front of its activation."""

    PARAMETERS = "parameters"
    """Every parameter that requires a gradient."""


@dataclass(frozen=True, slots=True, eq=False)
class Noted:
    """What was summed up of one call over many batches.

    Args:
        read: Of what it took: the first two of the `unit_sums.SUMS`.
        sums: Of what its units ended up with: all of them.
        activation: What these stand behind.
    """

    read: Summed
    sums: Summed
    activation: Activation | None


class Reduction(ABC):
    """Turns what it is told of each batch into sums that do not grow with the number of batches.

    For each batch, in this order: `input`, `output` and `units` of each call of each layer, as the
    network runs; `gradients`, where ``differentiates`` names any; `batch`. A tensor that is needed
    beyond the call that hands it over is kept by whoever needs it, and let go of in `batch`.
    Torch's functions run without gradients.

    Where all reductions of a pass have ``notes``, layers that run as a chain, or in a row, do not
    tell them of each batch. What batches hold is summed on the way and told by `noted`, behind the
    last; and each batch `pick`s the samples that are wanted. Of layers whose units have positions
    these are not copied on the way: `sample` is told of their values.
    """

    differentiates: ClassVar[frozenset[With]] = frozenset()
    notes: ClassVar[bool] = False

    def input(self, values: Values) -> None:  # noqa: B027 - nothing is needed by default
        """A call takes ``values``."""

    def output(self, values: Values) -> None:  # noqa: B027 - the same
        """A call gave ``values``, in front of any activation."""

    def units(self, values: Values) -> None:  # noqa: B027 - the same
        """The units of a call end up with ``values``."""

    def ready(self, calls: Sequence[Call], kind: torch.dtype) -> bool:
        """Whether what ``calls`` end up with, of type ``kind``, may be noted."""
        return True

    def pick(  # noqa: B027 - the same
        self, calls: Sequence[Call], samples: int, kind: torch.dtype
    ) -> Picked | None:
        """The samples of a batch that are kept of each of ``calls`` whose units have no positions,
        if any, once it is ready."""

    def sample(self, values: Values) -> None:  # noqa: B027 - the same
        """The units of a call, which have positions, end up with ``values``, as noted."""

    def noted(self, call: Call, found: Noted) -> None:  # noqa: B027 - the same
        """What was noted of ``call``."""

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
