"""What was measured, as values: sections with their calls, seconds and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from structure_net.logging.records import Profile

BESIDE: Final = "sink "
"""How the names of sections begin that run in threads of their own, beside the run."""


@dataclass(frozen=True, slots=True)
class SectionCost:
    """What one section cost.

    Args:
        path: Its name behind those of the sections that it lies in, joined by ``/``.
        calls: How often it was entered.
        seconds: Wall-clock time in it, sections within it included; of a sink, the time that its
            thread computed.
        device_seconds: From its first to its last operation on the device, as the device's own
            clock tells; None without one.
        peak_bytes: The most memory that the process held in it beyond what it held before; None
            where the system does not tell.
        device_peak_bytes: The same of the device's memory, of the sections that are measured: all
            but the parts of a training step.
    """

    path: str
    calls: int
    seconds: float
    device_seconds: float | None = None
    peak_bytes: int | None = None
    device_peak_bytes: int | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> str:
        """The path of the section that it lies in; empty for none."""
        return self.path.rpartition("/")[0]

    @property
    def depth(self) -> int:
        """In how many sections it lies."""
        return self.path.count("/")


@dataclass(frozen=True, slots=True)
class Costs:
    """What a stretch of a run cost.

    Args:
        sections: Each behind the one that it lies in, in the order in which they were first met.
        seconds: Wall-clock time in all.
        peak_bytes: The most memory of the process; None where the system does not tell.
    """

    sections: tuple[SectionCost, ...]
    seconds: float
    peak_bytes: int | None = None

    def own(self) -> Mapping[str, float]:
        """The seconds of each section, by path, that lie in no section within it; at least 0.

        The path ``""`` has what lies in no section at all. Sinks are left out: they run beside.
        """
        within = [one for one in self.sections if not one.path.startswith(BESIDE)]
        own = {"": self.seconds} | {one.path: one.seconds for one in within}
        for one in within:
            own[one.parent] -= one.seconds
        return {path: max(0.0, seconds) for path, seconds in own.items()}

    def since(self, earlier: Costs) -> Costs:
        """What was added to ``earlier``; peaks are those of the whole time."""
        known = {one.path: one for one in earlier.sections}
        added = (_less(one, known[one.path]) if one.path in known else one for one in self.sections)
        sections = tuple(one for one in added if one.calls)
        return replace(self, sections=sections, seconds=self.seconds - earlier.seconds)

    def record(self, *, iteration: int | None = None, findings: tuple[str, ...] = ()) -> Profile:
        """The record of these costs.

        Args:
            iteration: Of which iteration they are, from 0; None for the whole run.
            findings: Bottlenecks in words.
        """
        from structure_net.logging.records import Profile, Section

        sections = tuple(
            Section(
                name=one.path,
                calls=one.calls,
                seconds=one.seconds,
                cuda_seconds=one.device_seconds,
                peak_bytes=one.peak_bytes,
                cuda_peak_bytes=one.device_peak_bytes,
            )
            for one in self.sections
        )
        return Profile(
            sections=sections,
            seconds=self.seconds,
            iteration=iteration,
            peak_bytes=self.peak_bytes,
            findings=findings,
        )


def _less(one: SectionCost, earlier: SectionCost) -> SectionCost:
    device = one.device_seconds
    if device is not None and earlier.device_seconds is not None:
        device -= earlier.device_seconds
    return replace(
        one,
        calls=one.calls - earlier.calls,
        seconds=one.seconds - earlier.seconds,
        device_seconds=device,
    )
