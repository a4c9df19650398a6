"""One look at a network: the shared pass over a few batches, then every analyzer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from structure_net.core.arguments import shown
from structure_net.core.sections import listening, section
from structure_net.evolution.analysis import Analysis, Lazy
from structure_net.evolution.batches import Batch, random_state_kept
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer, providers
from structure_net.evolution.observation import Observation, observe


def look(context: NetworkContext, analyzers: Sequence[Analyzer]) -> tuple[NetworkContext, Analysis]:
    """What the analyzers say of the network now.

    The pass leaves torch's random states as they were, so that looking does not change what a
    shuffling loader yields to training. A loader that keeps a state of its own does advance.

    Returns:
        The context with the observation, and the merged analysis.

    Raises:
        StructureNetError: Two analyzers provide the same key, or an activation is not finite.
        TypeError: An analyzer returns no mapping.
    """
    with section("shared pass"):
        context = observed(context, analyzers)
    found: dict[str, Mapping[str, Any]] = {}
    for number, analyzer in enumerate(analyzers):
        name = type(analyzer).__name__
        label = name if name not in found else f"{name} (component {number})"
        with section(f"analyzer {name}"):
            found[label] = _checked(name, analyzer.analyze(context))
        if listening():
            found[label] = {key: _timed(name, value) for key, value in found[label].items()}
    return context, Analysis.merged(found, providers)


def _timed(analyzer: str, value: Any) -> Any:
    """What is computed late is the analyzer's time all the same."""
    if not isinstance(value, Lazy):
        return value

    def compute() -> Any:
        with section(f"analyzer {analyzer}"):
            return value.get()

    return Lazy(compute)


def observed(context: NetworkContext, analyzers: Sequence[Analyzer]) -> NetworkContext:
    """The context with what all of ``analyzers`` need, from one pass for each mode."""
    asking = [one for one in analyzers if one.needs]
    training = [one for one in asking if one.mode == "training"]
    evaluation = [one for one in asking if one.mode != "training"]
    if not (training and evaluation):
        if not asking:
            return replace(context, observation=None)
        data = context.train_batches(_limit(asking))
        return replace(context, observation=_observation(context, asking, data))
    with random_state_kept(context.device):
        held = tuple(context.train_batches(_limit(asking)))
    seen = _observation(context, evaluation, held[: _limit(evaluation)])
    other = _observation(context, training, held[: _limit(training)])
    return replace(context, observation=replace(seen, training=other))


def _limit(analyzers: Sequence[Analyzer]) -> int:
    return max(analyzer.max_batches for analyzer in analyzers)


def _observation(
    context: NetworkContext, analyzers: Sequence[Analyzer], data: Iterable[Batch]
) -> Observation:
    """What analyzers of one mode need, of ``data``."""
    with random_state_kept(context.device):
        return observe(
            context.network,
            data,
            needs=frozenset(need for analyzer in analyzers for need in analyzer.needs),
            loss=context.loss,
            probe_size=max(analyzer.probe_size for analyzer in analyzers),
            candidates=max(analyzer.candidates for analyzer in analyzers),
            seed=context.seed,
            mode=analyzers[0].mode,
        )


def _checked(analyzer: str, found: Any) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise TypeError(
            f"{analyzer}.analyze must return a mapping of what was found, by key;"
            f" got {shown(found)}."
        )
    return found
