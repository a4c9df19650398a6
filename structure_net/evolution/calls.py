"""Calls of layers, and who is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Protocol, Self

from torch import Tensor, nn

from structure_net.core.chaining import Stage
from structure_net.core.noting import Chain
from structure_net.core.row_notes import Wanted
from structure_net.evolution.activations import Activation

RELU: Final = Activation("relu")
"""What may stand behind the layers of a chain."""


@dataclass(eq=False, slots=True)
class Call:
    """One call of one layer.

    Args:
        layer: The layer's name.
        module: The layer.
        axis: The axis of its units, negative.
        number: Counts the calls of a pass from 0.
        recurrent: Whether the layer is a recurrent one.
        second: Whether it takes samples along the second axis.
        size: The number of its units, once it wrote them.
        done: Whether its units were reported.
        output: Its output, while it waits for an activation.
    """

    layer: str
    module: nn.Module
    axis: int
    number: int
    recurrent: bool = False
    second: bool = False
    size: int = -1
    done: bool = False
    output: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class KnownChain:
    """Layers that ran as a chain, and whose input no layer before them gave.

    Args:
        stages: What it is made of.
        calls: One for each layer.
        reads: Of each: which of the tensors that are noted it takes.
        ends: Of each: which of them its units end up with.
    """

    stages: tuple[Stage, ...]
    calls: tuple[Call, ...]
    reads: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, stages: Sequence[Stage], calls: Sequence[Call]) -> Self:
        """Layers each of which takes what the one before it ends up with."""
        numbers = range(len(stages) + 1)
        return cls(tuple(stages), tuple(calls), tuple(numbers[:-1]), tuple(numbers[1:]))

    def is_of(self, stages: Sequence[Stage]) -> bool:
        """Whether these are the same modules."""
        pairs = zip(chain.from_iterable(self.stages), chain.from_iterable(stages), strict=False)
        return len(self.stages) == len(stages) and all(one is other for one, other in pairs)

    @property
    def activations(self) -> tuple[Activation | None, ...]:
        """What stands behind each layer."""
        return tuple(None if after is None else RELU for _, after in self.stages)


class Take(Protocol):
    """Takes what stands between modules."""

    def __call__(self, number: int, values: Tensor, *, gate: bool) -> Tensor:
        """Notes ``values``, of which nobody else knows where ``gate``.

        Args:
            number: Which of the tensors that are noted.
            values: It, or what a ReLU makes it of.
            gate: Whether a ReLU comes first.

        Returns:
            What was noted.
        """


class Straight(Protocol):
    """Layers in a row, whose calls are known before they run (`structure_net.evolution.rows`)."""

    known: KnownChain
    wanted: Sequence[Wanted]

    def chain(self, inputs: Tensor) -> Chain | None:
        """The layers as one chain, if they can run as one."""

    def run(self, inputs: Tensor, take: Take) -> Tensor:
        """What the layers give; ``take`` is given what is ``wanted``, in order."""


class Listener(Protocol):
    """Is told what the layers read, write and end up with; torch's functions are not watched
    meanwhile."""

    @property
    def chains(self) -> bool:
        """Whether it does without what layers give in front of activations, and without gradients,
        so that layers may run as a chain (`structure_net.core.chaining.through`)."""

    def read(self, call: Call, inputs: Tensor, known: Any) -> None:
        """``call`` takes ``inputs``; ``known`` is what `settled` returned of the same values, None
        where it was told of no such values."""

    def note(self, known: KnownChain, chain: Chain) -> Tensor | None:
        """Computes what ran before, and notes of it what it would be told; None where it wants to
        be told."""

    def note_row(self, row: Straight, inputs: Tensor) -> Tensor | None:
        """Computes layers in a row, and notes of them what it would be told; None where it wants to
        be told. Asked where ``chains``."""

    def wrote(self, call: Call, output: Tensor) -> None:
        """``call`` gave ``output``, in front of any activation."""

    def settled(
        self,
        call: Call,
        values: Tensor,
        activation: Activation | None,
        before: Tensor | None,
        sums: Tensor | None = None,
    ) -> Any:
        """The units of ``call`` end up with ``values``, behind ``activation``, which took
        ``before`` (None where it is not known); ``sums`` are their `unit_sums.SUMS`, where a
        chain took them."""
