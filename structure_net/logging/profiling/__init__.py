"""Where the time and the memory of a run went, by section, and bottlenecks in words."""

from structure_net.core.sections import section
from structure_net.logging.profiling.costs import BESIDE, Costs, SectionCost
from structure_net.logging.profiling.findings import ONCE, bottlenecks
from structure_net.logging.profiling.memory import own_bytes, resident_bytes
from structure_net.logging.profiling.profiler import Profiler

__all__ = [
    "BESIDE",
    "ONCE",
    "Costs",
    "Profiler",
    "SectionCost",
    "bottlenecks",
    "own_bytes",
    "resident_bytes",
    "section",
]
