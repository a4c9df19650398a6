"""A tournament of many small networks for as long as one likes, to see that memory stays flat."""

from structure_net.runs.stressing.folder import StressFolder, StressRequest
from structure_net.runs.stressing.steadiness import MemorySample, Steadiness, steadiness_of
from structure_net.runs.stressing.tournament import stress

__all__ = [
    "MemorySample",
    "Steadiness",
    "StressFolder",
    "StressRequest",
    "steadiness_of",
    "stress",
]
