"""When to grow: values that read the progress of training and answer with a reason, or None.

A trigger keeps no state of its own. Whatever it needs to know (the last growth, say) is in the
`Progress`, so that a resumed run decides as the uninterrupted one. What it counts are the growths
of the strategy that it stands beside (``of="all"``: of all strategies). Step triggers are asked
after every optimizer step, the others between epochs.
"""

from structure_net.evolution.triggers.interface import All, Any, Not, Progress, Trigger
from structure_net.evolution.triggers.measured import (
    EfficiencyDrop,
    MetricAbove,
    MetricBelow,
    Plateau,
    efficiency,
    smoothed,
)
from structure_net.evolution.triggers.timing import (
    Cooldown,
    EveryNEpochs,
    EveryNSteps,
    MaxEvents,
    MaxParameters,
)

__all__ = [
    "All",
    "Any",
    "Cooldown",
    "EfficiencyDrop",
    "EveryNEpochs",
    "EveryNSteps",
    "MaxEvents",
    "MaxParameters",
    "MetricAbove",
    "MetricBelow",
    "Not",
    "Plateau",
    "Progress",
    "Trigger",
    "efficiency",
    "smoothed",
]
