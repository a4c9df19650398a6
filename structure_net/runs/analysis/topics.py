"""The topics of an analysis, one analyzer each, and what they find, computed topic by topic."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any, Final

from structure_net.errors import RunError
from structure_net.evolution import Analyzer, ComposableEvolutionSystem, NetworkContext
from structure_net.evolution import components as parts

BATCHES: Final = 10

# In the order in which they are computed: what is cheap comes first.
_MAKERS: Final[Mapping[str, Callable[[int], Analyzer]]] = {
    "network": lambda _: parts.NetworkStatsAnalyzer(),
    "extrema": parts.StandardExtremaAnalyzer,
    "gradient": parts.GradientAnalyzer,
    "hebbian": parts.HebbianAnalyzer,
    "information": parts.SimpleInformationFlowAnalyzer,
    "performance": parts.LayerPerformanceAnalyzer,
    "sensitivity": parts.SensitivityAnalyzer,
    "graph": lambda _: parts.GraphAnalyzer(),
    "topology": parts.TopologicalAnalyzer,
    "homology": parts.HomologicalAnalyzer,
}
TOPICS: Final = tuple(_MAKERS)
"""The names of the topics: the prefixes of their analyzers' keys."""

Told = Callable[[str, float], None]
"""Is told of a topic that is done, with its seconds."""


def topics_of(names: Iterable[str] | None) -> tuple[str, ...]:
    """The topics that were asked for, in our order; all if None.

    Raises:
        RunError: One is unknown, or none is named.
    """
    if names is None:
        return TOPICS
    asked = list(names)
    for name in asked:
        if name not in _MAKERS:
            near = difflib.get_close_matches(name, TOPICS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise RunError(f"unknown topic {name!r}; known: {', '.join(TOPICS)}.{hint}")
    if not asked:
        raise RunError(f"name at least one topic of {', '.join(TOPICS)}.")
    return tuple(name for name in TOPICS if name in asked)


def look(
    context: NetworkContext,
    topics: Iterable[str] = TOPICS,
    *,
    batches: int = BATCHES,
    told: Told | None = None,
) -> dict[str, Any]:
    """Everything that the topics' analyzers find, computed now, from one pass over the data.

    Args:
        context: The network and its data; nothing in it is changed.
        topics: From `topics_of`.
        batches: How many batches are looked at.
        told: Is told of each topic that is done.

    Returns:
        The values by key, topic by topic.

    Raises:
        RunError: ``batches`` is below 1.
        StructureNetError: The network cannot be looked at: its activations are not finite, or its
            data do not fit.
    """
    if batches < 1:
        raise RunError(f"batches must be 1 or more; got {batches}.")
    chosen = tuple(topics)
    start = perf_counter()
    analysis = ComposableEvolutionSystem([_MAKERS[one](batches) for one in chosen]).analyze(context)
    if told is not None:
        told("the pass over the data", perf_counter() - start)
    found: dict[str, Any] = {}
    for topic in chosen:
        start = perf_counter()
        found |= {key: analysis[key] for key in analysis if key.startswith(f"{topic}_")}
        if told is not None:
            told(topic, perf_counter() - start)
    return found
