"""What the analyzers of an observation share: where it is, and which layer hands on to which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from structure_net.errors import StructureNetError
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.information import LabelInformation, label_information
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.linking import layered_graph_of
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import LayerObservation, Observation
from structure_net.evolution.reductions.probing import Probe


def observed(context: NetworkContext, analyzer: Analyzer) -> Observation:
    """The context's observation, of the analyzer's mode.

    Raises:
        StructureNetError: There is none.
    """
    if context.observation is None:
        raise StructureNetError(
            f"{type(analyzer).__name__} reads context.observation, which is None. Let a"
            " ComposableEvolutionSystem call it, or put there what `observe` returns."
        )
    seen = context.observation
    if analyzer.mode == "training" and seen.training is not None:
        seen = seen.training
    if seen.mode != analyzer.mode:
        raise StructureNetError(
            f"{type(analyzer).__name__} reads an observation in {analyzer.mode} mode; the context's"
            f" is of {seen.mode} mode. Observe with mode={analyzer.mode!r}, or make the analyzer"
            f" with mode={seen.mode!r} where it has the choice."
        )
    return seen


def probed(context: NetworkContext, analyzer: Analyzer) -> Probe:
    """As many samples of the observation's probe as the analyzer asks for.

    Raises:
        StructureNetError: There is no observation, or it has no probe.
    """
    probe = observed(context, analyzer).probe
    if probe is None:
        raise StructureNetError(
            f"{type(analyzer).__name__} reads context.observation.probe, which is None. Let a"
            " ComposableEvolutionSystem call it, or observe with Need.PROBE and a probe_size of"
            f" {analyzer.probe_size}."
        )
    return probe.first(analyzer.probe_size)


def labelled(values: Tensor, targets: Any) -> LabelInformation | Unavailable:
    """`label_information`, where the targets may be anything that a loss takes.

    Args:
        values: Shape ``(N, C)``.
        targets: What the loss takes; class indices of shape ``(N,)`` or ``(N, 1)`` count.
    """
    if not isinstance(targets, Tensor):
        return Unavailable("the targets are no tensor of class indices")
    single = targets.dim() == 2 and targets.size(1) == 1
    return label_information(values, targets.squeeze(1) if single else targets)


def linked(context: NetworkContext) -> LayeredGraph | Unavailable:
    """The layered graph of the context's network, made once for all analyzers that read it.

    Returns:
        Unavailable if the network is one that no graph can be made of.
    """

    def graph() -> LayeredGraph | Unavailable:
        try:
            return layered_graph_of(context.network, context.with_example().example)
        except StructureNetError as error:
            return Unavailable(f"the network has no layered graph: {error}".rstrip("."))

    return context.recall(layered_graph_of, None, graph, name="graph")


Neighbours = tuple[tuple[str, ...], tuple[str, ...]]
"""The layers in front of a layer and those behind it."""


def neighbours(layers: Mapping[str, LayerObservation]) -> dict[str, Neighbours]:
    """The layers that hand on to each layer, and those that it hands on to.

    A layer whose units are read one by one hands on to its readers. One whose units are not (in
    front of a flattening, or of attention) hands on to the next layer that reads no units one by
    one either.

    Args:
        layers: In order of first execution.

    Returns:
        By layer. One with nothing in front of it reads the network's inputs; one with nothing
        behind it gives the outputs.
    """
    behind = {name: seen.readers for name, seen in layers.items()}
    known = {reader for readers in behind.values() for reader in readers}
    order = list(layers)
    for place, name in enumerate(order):
        if not behind[name]:
            behind[name] = tuple(other for other in order[place + 1 :] if other not in known)[:1]
    before = {name: tuple(n for n in order if name in behind[n]) for name in order}
    return {name: (before[name], behind[name]) for name in order}


def hidden(layers: Mapping[str, LayerObservation]) -> tuple[str, ...]:
    """The layers with one behind them, which may be widened; the others give the outputs."""
    return tuple(name for name, (_, behind) in neighbours(layers).items() if behind)
