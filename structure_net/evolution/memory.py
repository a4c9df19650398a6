"""What analyzers remember from one look at a network to the next.

Two things are kept apart. A **cached** value is a function of the network as it stands: it saves
work and can be lost at any time. It is forgotten when the network is trained, and when an edit
touches what it depends on. A **note** is a finding of an earlier iteration that a later one is
compared with; it stays.

Whoever trains or edits says so, since version counters of tensors do not tell: compiled kernels
write without raising them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeVar

from structure_net.errors import StructureNetError
from structure_net.evolution.analysis import Lazy

Reads = Literal["weights", "activations"]
"""What a cached value depends on: the weights of its layers, or also what its layers receive."""

T = TypeVar("T")
_TOO_LATE: Final = (
    "This value of the analysis was to be computed when it is first read, and the network was"
    " trained or edited since. Read it before, or analyze anew."
)


@dataclass(eq=False, slots=True)
class _Entry:
    owner: object
    layers: frozenset[str] | None
    reads: Reads
    value: Any


class AnalysisMemory:
    """What the analyzers of one network remember; a session keeps it up to date.

    Attributes:
        moment: Rises whenever the network is trained or edited.
    """

    def __init__(self) -> None:
        self.moment = 0
        self._cached: dict[tuple[int, Hashable], _Entry] = {}
        self._notes: dict[str, dict[Any, Any]] = {}

    def recall(
        self,
        owner: object,
        layers: str | Iterable[str] | None,
        compute: Callable[[], T],
        *,
        name: Hashable = "",
        reads: Reads = "weights",
    ) -> T:
        """What ``compute`` gives, from memory where it is still true.

        Args:
            owner: The analyzer, told from others by identity.
            layers: The layer, or the layers, whose weights (or activations) the value is made of;
                None: all, so that any edit forgets it.
            compute: Takes nothing.
            name: Tells several values of the same owner and layers apart.
            reads: What an edit must touch to make it false: "weights", these layers; "activations",
                any layer in front of them, unless the edit kept the network's function and the
                layers' number of units.
        """
        depends = _names(layers)
        key = (id(owner), (depends, name))
        entry = self._cached.get(key)
        if entry is None or entry.reads != reads:
            entry = self._cached[key] = _Entry(owner, depends, reads, compute())
        value: T = entry.value
        return value

    def notes(self, owner: str) -> dict[Any, Any]:
        """The notes of ``owner``, to read and to write; by its class name, so that they outlive it.

        Write a note of an iteration under its number and compare with smaller ones only, so that
        looking twice finds the same. Notes are not stored in checkpoints.
        """
        return self._notes.setdefault(owner, {})

    def lazy(self, compute: Callable[[], Any]) -> Lazy:
        """A value that is computed when it is first read, unless that is too late.

        Returns:
            Its ``get`` raises `StructureNetError` where the network was trained or edited before.
        """
        made = self.moment

        def checked() -> Any:
            if self.moment != made:
                raise StructureNetError(_TOO_LATE)
            return compute()

        return Lazy(checked)

    def trained(self) -> None:
        """The weights changed: nothing cached is true any more."""
        self.moment += 1
        self._cached.clear()

    def edited(self, touched: Iterable[str], moved: Iterable[str] | None = None) -> None:
        """An edit was made.

        Args:
            touched: The layers whose weights or connections it changed.
            moved: The layers whose activations may be others now; None: any.
        """
        self.moment += 1
        changed = {
            "weights": frozenset(touched),
            "activations": None if moved is None else frozenset(moved),
        }

        def holds(entry: _Entry) -> bool:
            false = changed[entry.reads]
            return entry.layers is not None and false is not None and not entry.layers & false

        self._cached = {key: entry for key, entry in self._cached.items() if holds(entry)}

    def fork(self) -> Self:
        """A memory with the same notes and nothing cached, for a copy of the network."""
        twin = type(self)()
        twin._notes = deepcopy(self._notes)
        return twin


def _names(layers: str | Iterable[str] | None) -> frozenset[str] | None:
    if layers is None:
        return None
    return frozenset((layers,)) if isinstance(layers, str) else frozenset(layers)
