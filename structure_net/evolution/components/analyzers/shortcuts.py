r"""What a skip connection from one layer to another would gain.

The projection is zero at birth and adds to the target's output. Its gradient is
:math:`D = \mathrm{E}[\delta h^T]`, with what the source gives, :math:`h`, and the loss's gradient
at what the target gives, :math:`\delta`. Its best step along that gradient, if the loss's second
derivative in the target's output is 1, lowers the loss by
:math:`\lVert D \rVert^4 / (2\, \mathrm{tr}(D S D^T))` with :math:`S = \mathrm{E}[h h^T]`; that does
not depend on the scale of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

from torch import Tensor

from structure_net.evolution.components.analyzers.looking import observed, probed
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import Need
from structure_net.evolution.reductions.passing import Pass
from structure_net.evolution.reductions.reduction import Reduction, With
from structure_net.evolution.reductions.values import BatchSeen, Gradients, Values


class ShortcutAnalysis(TypedDict):
    """What `ShortcutAnalyzer` reports, in units of the loss.

    ``shortcut_gain``: by target and source, what a projection from one to the other would gain.
    Sources that the target reads directly are left out. ``shortcut_ranking``: the targets by their
    best source. Computed when first read.
    """

    shortcut_gain: Mapping[str, Mapping[str, float]] | Unavailable
    shortcut_ranking: Mapping[str, float]


class ShortcutAnalyzer(Analyzer):
    """Compares what each layer gives with what the loss asks of each layer behind it.

    A sample counts with the mean of each unit over its positions, and with the sum of the gradient
    over them: exact for layers without positions.

    Args:
        max_batches: How many batches the probe is drawn from.
        probe_size: Samples.

    Raises:
        ValueError: An argument is below 1.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROBE})
    provides: ClassVar[frozenset[str]] = frozenset(ShortcutAnalysis.__annotations__)

    def __init__(self, max_batches: int = 10, probe_size: int = 512) -> None:
        for name, value in (("max_batches", max_batches), ("probe_size", probe_size)):
            if value < 1:
                raise ValueError(f"{name} must be 1 or more; got {value}.")
        self.max_batches = max_batches
        self.probe_size = probe_size

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        """See `ShortcutAnalysis`.

        Raises:
            StructureNetError: The context carries no observation with a probe.
        """
        layers, probe = observed(context, self).layers, probed(context, self)
        readers = {name: seen.readers for name, seen in layers.items()}

        def compute() -> dict[str, dict[str, float]] | Unavailable:
            if probe.inputs is None:
                return Unavailable("the inputs of different batches do not fit into one tensor")
            ends = _Ends()
            Pass(context.network, (ends,)).run([(probe.inputs, probe.targets)], context.loss)
            return _gains(ends.result(readers), readers)

        gains = context.lazy(
            lambda: context.recall(self, None, compute, name="gain", reads="activations")
        )
        return {
            "shortcut_gain": gains,
            "shortcut_ranking": context.lazy(lambda: _ranking(gains.get())),
        }


@dataclass(frozen=True, slots=True, eq=False)
class _End:
    """One layer on the probe: what it gives, and the gradient there. Shapes ``(N, C)``."""

    output: Tensor
    gradient: Tensor


class _Ends(Reduction):
    """What each layer gives and is asked for, layers that are called once."""

    differentiates: ClassVar[frozenset[With]] = frozenset({With.OUTPUTS})

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Values, Tensor | None]] = {}
        self._twice: set[str] = set()
        self._found: dict[str, _End] = {}

    def output(self, values: Values) -> None:
        """See `Reduction.output`."""
        means = values.by_sample()
        if any(values.layer == other.layer for other, _ in self._seen.values()):
            self._twice.add(values.layer)
        kept = None if means is None else means.double()
        self._seen[values.call.number] = (values, kept)

    def gradients(self, found: Gradients) -> None:
        """See `Reduction.gradients`."""
        for number, (values, output) in self._seen.items():
            if values.layer in self._twice or number not in found.outputs or output is None:
                continue
            gradient = found.outputs[number] * values.samples.number
            total = Values(values.call, gradient, values.samples).total_by_sample()
            if total is not None:
                self._found[values.layer] = _End(output, total.double())

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        self._seen.clear()

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, _End]:
        """By layer in order of execution; those without a gradient are not there."""
        return {name: self._found[name] for name in readers if name in self._found}


def shortcut_gain(source: Tensor, gradient: Tensor) -> float:
    """What the best step of a new projection along its gradient gains; see the module.

    Args:
        source: What the source gives. Shape ``(N, C)``.
        gradient: Of each sample's own loss at what the target gives. Shape ``(N, D)``.

    Returns:
        At least 0; 0 where the gradient vanishes.
    """
    projection = gradient.T @ source / len(source)
    steepness = float(projection.square().sum())
    bend = float((source @ projection.T).square().sum() / len(source))
    return steepness**2 / (2 * bend) if bend > 0 else 0.0


def _gains(
    ends: Mapping[str, _End], readers: Mapping[str, tuple[str, ...]]
) -> dict[str, dict[str, float]]:
    order = list(ends)
    return {
        target: {
            source: shortcut_gain(ends[source].output, ends[target].gradient)
            for source in order[:place]
            if target not in readers[source]
        }
        for place, target in enumerate(order)
    }


def _ranking(gains: Mapping[str, Mapping[str, float]] | Unavailable) -> dict[str, float]:
    if isinstance(gains, Unavailable):
        return {}
    best = {target: max(sources.values()) for target, sources in gains.items() if sources}
    return dict(sorted(best.items(), key=lambda item: -item[1]))
