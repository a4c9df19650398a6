"""The profiler: a tree of sections, entered and left as a run goes through them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import torch

from structure_net.core.sections import listened_by
from structure_net.errors import StructureNetError
from structure_net.logging.profiling.costs import BESIDE, Costs, SectionCost
from structure_net.logging.profiling.devices import DeviceMemory, Mark, clock_of
from structure_net.logging.profiling.memory import MemoryWatch

if TYPE_CHECKING:
    from torch.profiler import profile as TorchProfile

FINE: Final = frozenset({"data", "transfer", "forward", "loss", "backward", "optimizer"})
"""Sections of a training step: their memory is seen every 50 ms only, by a thread."""


class Profiler:
    """Measures the sections of this thread while it is entered; can be entered again and again.

    ::

        with Profiler() as profiler:
            system.evolve_network(context, 5)
        profiler.costs().own()

    What the framework does lies in sections by itself, also in a training loop that the user owns;
    further ones are marked with `section`. A section costs about a microsecond, and two events on a
    CUDA device, which never has to wait: it is waited for once, when the profiler is left. Memory
    is read when a section is entered and left; within, and for the parts of a training step, a
    thread looks every 50 ms, so that peaks that are shorter may be missed.

    Args:
        device: Whose time and memory is measured besides, if it is a CUDA device.
        trace: Where `torch.profiler` writes what it sees until `end_trace`, as a trace that
            Chrome (chrome://tracing) and Perfetto open; None for no trace. A trace slows a run
            down and takes memory with every operation.
    """

    def __init__(
        self, *, device: torch.device | str = "cpu", trace: str | Path | None = None
    ) -> None:
        place = torch.device(device)
        self._cuda = place if place.type == "cuda" else None
        self._clock = clock_of(place)
        self._device_memory = None if self._cuda is None else DeviceMemory(place)
        self._watch = MemoryWatch(self._seen)
        self._root = _Node(self, "", None)
        self._current = self._root
        self._sinks: dict[str, tuple[int, float]] = {}
        self._seconds = 0.0
        self._peak: int | None = None
        self._began: float | None = None
        self._entered = ExitStack()
        self._trace_to = None if trace is None else Path(trace)
        self._tracer: TorchProfile | None = None

    def section(self, name: str) -> _Node:
        """A block within the section that is open now; see `structure_net.core.sections`."""
        current = self._current
        found = current.within.get(name)
        return current.new(name) if found is None else found

    def clocks_only(self, name: str) -> bool:
        """Whether a section's wall-clock time is all that is ever read at its ends."""
        return name in FINE and self._clock is None and self._trace_to is None

    def beside(self, sink: str, *, calls: int, seconds: float) -> None:
        """Notes what a sink's own thread has computed in all."""
        self._sinks[sink] = calls, seconds

    def costs(self) -> Costs:
        """What was measured until now; open sections count until now."""
        now = perf_counter()
        running = 0.0 if self._began is None else now - self._began
        sinks = (SectionCost(BESIDE + name, *cost) for name, cost in self._sinks.items())
        sections = (*(node.cost(now) for node in self._root.all_within()), *sinks)
        peaks = [one for one in (self._peak, self._watch.peak) if one is not None]
        return Costs(sections, self._seconds + running, max(peaks, default=None))

    @property
    def tracing(self) -> bool:
        """Whether `torch.profiler` listens now."""
        return self._tracer is not None

    def end_trace(self) -> Path | None:
        """Ends the trace and writes it, whole or not at all; None where there is none.

        Raises:
            OSError: The file cannot be written.
        """
        if self._tracer is None or self._trace_to is None:
            return None
        from structure_net.files import replacing

        tracer, self._tracer = self._tracer, None
        path, self._trace_to = self._trace_to, None
        tracer.stop()
        with replacing(path) as draft:
            tracer.export_chrome_trace(str(draft))
        return path

    def __enter__(self) -> Self:
        if self._began is not None:
            raise StructureNetError(
                "This profiler is entered already. Leave it first, or make another one."
            )
        self._watch = MemoryWatch(self._seen)
        self._watch.start()
        self._entered = ExitStack()
        self._entered.enter_context(listened_by(self))
        if self._trace_to is not None:
            self._tracer = _tracer(self._cuda)
        self._began = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._clock is not None:
            torch.cuda.synchronize(self._cuda)
            self._clock.settle()
        assert self._began is not None
        self._seconds += perf_counter() - self._began
        self._began, self._current = None, self._root
        self._entered.close()
        self._watch.stop()
        if self._watch.peak is not None:
            self._peak = max(self._peak or 0, self._watch.peak)
        self.end_trace()

    def _seen(self, held: int, before: int) -> None:
        """The process's memory, now and at the look before: it counts for all open sections."""
        node: _Node | None = self._current
        while node is not None and node.parent is not None:
            node.seen(held, before)
            node = node.parent


class _Node:
    """One section under its parent; the context manager that enters and leaves it."""

    __slots__ = (
        "_fine",
        "_label",
        "_profiler",
        "calls",
        "device_peak",
        "device_seconds",
        "held",
        "mark",
        "name",
        "parent",
        "path",
        "peak",
        "seconds",
        "start",
        "within",
    )

    def __init__(self, profiler: Profiler, name: str, parent: _Node | None) -> None:
        self._profiler = profiler
        self._fine = name in FINE
        self._label: torch.profiler.record_function | None = None
        self.name, self.parent = name, parent
        outer: str = "" if parent is None else parent.path
        self.path: str = f"{outer}/{name}" if outer else name
        self.within: dict[str, _Node] = {}
        self.calls = self.held = self.peak = self.device_peak = 0
        self.seconds = self.device_seconds = 0.0
        self.start: float | None = None
        self.mark: Mark | None = None

    def new(self, name: str) -> _Node:
        """A section within this one that has not been met before."""
        made = (_Part if self._profiler.clocks_only(name) else _Node)(self._profiler, name, self)
        self.within[name] = made
        return made

    def all_within(self) -> Iterator[_Node]:
        """All sections within, each behind the one that it lies in."""
        for node in tuple(self.within.values()):
            yield node
            yield from node.all_within()

    def seen(self, held: int, before: int) -> None:
        """The process's memory, now and at the look before, while it is open."""
        self.peak = max(self.peak, held - self.held)

    def cost(self, now: float) -> SectionCost:
        """What it cost; if it is open, until ``now``."""
        running = 0.0 if self.start is None else now - self.start
        profiler = self._profiler
        return SectionCost(
            self.path,
            self.calls + (self.start is not None),
            self.seconds + running,
            None if profiler._clock is None else self.device_seconds,
            None if profiler._watch.peak is None else self.peak,
            None if profiler._device_memory is None or self._fine else self.device_peak,
        )

    def __enter__(self) -> None:
        profiler = self._profiler
        profiler._current = self
        self.held = profiler._watch.last
        if not self._fine:
            self._enter_slowly()
        if profiler._clock is not None:
            self.mark = profiler._clock.mark()
        if profiler._tracer is not None:
            self._label = torch.profiler.record_function(self.path)
            self._label.__enter__()
        self.start = perf_counter()

    def __exit__(self, *_: object) -> None:
        assert self.start is not None
        assert self.parent is not None
        self.seconds += perf_counter() - self.start
        self.start = None
        self.calls += 1
        profiler = self._profiler
        if self._label is not None:
            self._label.__exit__(None, None, None)
            self._label = None
        if profiler._clock is not None and self.mark is not None:
            profiler._clock.stretch(self.mark, self._add)
            self.mark = None
        if not self._fine:
            self._leave_slowly()
        profiler._current = self.parent

    def _add(self, seconds: float) -> None:
        self.device_seconds += seconds

    def _enter_slowly(self) -> None:
        self.held = self._profiler._watch.look()
        if self._profiler._device_memory is not None:
            self._profiler._device_memory.begin()

    def _leave_slowly(self) -> None:
        watch = self._profiler._watch
        self._profiler._seen(before=watch.last, held=watch.look())
        if self._profiler._device_memory is not None:
            self.device_peak = max(self.device_peak, self._profiler._device_memory.end())


class _Part(_Node):
    """A part of a training step of which only the wall-clock time is read, with no question asked:
    there are six in each step."""

    __slots__ = ("_looked",)

    def __init__(self, profiler: Profiler, name: str, parent: _Node | None) -> None:
        super().__init__(profiler, name, parent)
        self._looked = -1

    def seen(self, held: int, before: int) -> None:
        if self._looked != self.calls:  # it was entered since the watch looked
            self._looked, self.held = self.calls, before
        super().seen(held, before)

    def __enter__(self) -> None:
        self._profiler._current = self
        self.start = perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self.start  # type: ignore[operator]  # it was entered
        self.start = None
        self.calls += 1
        self._profiler._current = self.parent  # type: ignore[assignment]  # all but the root have one


def _tracer(cuda: torch.device | None) -> TorchProfile:
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU] + ([] if cuda is None else [ProfilerActivity.CUDA])
    tracer = profile(activities=kinds)
    tracer.start()
    return tracer
