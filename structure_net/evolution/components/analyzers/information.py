"""How much of what flows through a network each layer passes on, and where it is too narrow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypedDict, TypeVar

import torch
from torch import Tensor

from structure_net.evolution.analysis import Lazy
from structure_net.evolution.components.analyzers.flowing import around, floored
from structure_net.evolution.components.analyzers.looking import (
    labelled,
    observed,
    probed,
)
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.metrics.bottlenecks import (
    Bottleneck,
    bottlenecks,
    capacity_used,
    pressures,
)
from structure_net.evolution.metrics.information import (
    LabelInformation,
    NoisyInformation,
    noisy_information,
    renyi_entropy,
)
from structure_net.evolution.metrics.ranks import (
    cumulative_rank,
    effective_rank,
    participation_ratio,
    spectrum,
    stable_rank,
)
from structure_net.evolution.metrics.similarity import cka_table, gaussian_kernel
from structure_net.evolution.metrics.validity import Unavailable
from structure_net.evolution.observation import LayerObservation, Need
from structure_net.evolution.reductions.probing import Probe

Measure = float | Unavailable
T = TypeVar("T")


class InformationAnalysis(TypedDict):
    """What `SimpleInformationFlowAnalyzer` reports, by layer in order of execution.

    A layer whose values do not belong to single samples is left out.

    ``information_samples``: the size of the probe that all of it is computed on; ranks grow with
    it. ``information_effective_rank``, ``information_stable_rank``,
    ``information_participation_ratio`` and ``information_cumulative_rank`` (99 %): of the centred
    activations, in directions. ``information_capacity_used``: effective rank over width; not
    available where the probe has no more samples than the layer units, which then bound it.

    ``information_ranking``: where to widen first: the hidden layers by their pressure, the
    effective rank at which they would pass on evenly from what they get to what is asked of them
    over their own (`pressures`); above 1 for a bottleneck. What is asked of the last ones is the
    effective rank of the targets. A layer that does not vary counts with rank 1.
    ``information_bottlenecks``: those above 1 that vary, the worst first, each with the width that
    would lift it.

    ``information_similarity``: debiased CKA of every layer with every
    other. ``information_label``: what a linear probe tells of the label, in bits.
    ``information_entropy_bits``: matrix-based Renyi entropy (order 1.01) with a Gaussian kernel as
    wide as the median distance of two samples. ``information_noisy``: information between the
    layer's input and its output with noise added, which is stated there.
    """

    information_samples: int
    information_effective_rank: Mapping[str, Measure]
    information_stable_rank: Mapping[str, Measure]
    information_participation_ratio: Mapping[str, Measure]
    information_cumulative_rank: Mapping[str, int | Unavailable]
    information_capacity_used: Mapping[str, Measure]
    information_bottlenecks: Mapping[str, Bottleneck]
    information_ranking: Mapping[str, float]
    information_similarity: Mapping[str, Mapping[str, Measure]]
    information_label: Mapping[str, LabelInformation | Unavailable]
    information_entropy_bits: Mapping[str, Measure]
    information_noisy: Mapping[str, NoisyInformation | Unavailable]


@dataclass(frozen=True, slots=True)
class _Ranks:
    effective: Measure
    stable: Measure
    participation: Measure
    cumulative: int | Unavailable


class SimpleInformationFlowAnalyzer(Analyzer):
    """Finds where a network passes on few directions, by what a probe of samples shows.

    A sample counts with the mean of each unit over its positions.

    Args:
        max_batches: How many batches the probe is drawn from.
        probe_size: Samples of the probe; at least twice the width of the widest layer of interest.
        noise: Standard deviation of the noise of ``information_noisy``, the same on each unit, as a
            share of the root of the layer's total variance.

    Raises:
        ValueError: An argument is out of range.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.ACTIVATIONS, Need.PROBE})
    provides: ClassVar[frozenset[str]] = frozenset(InformationAnalysis.__annotations__)

    def __init__(self, max_batches: int = 10, probe_size: int = 512, *, noise: float = 0.4) -> None:
        if max_batches < 1:
            raise ValueError(f"max_batches must be 1 or more; got {max_batches}.")
        if probe_size < 2:
            raise ValueError(f"probe_size must be 2 or more; got {probe_size}.")
        if not noise > 0:
            raise ValueError(f"noise must be positive; got {noise}.")
        self.max_batches = max_batches
        self.probe_size = probe_size
        self.noise = noise

    def analyze(self, context: NetworkContext) -> dict[str, Any]:
        """See `InformationAnalysis`; all but the number of samples is computed when first read.

        Raises:
            StructureNetError: The context carries no observation with a probe.
        """
        layers, probe = observed(context, self).layers, probed(context, self)
        ranks = context.lazy(lambda: self._each(context, probe, "ranks", _ranks))

        def of_ranks(compute: Callable[[Mapping[str, _Ranks]], Any]) -> Lazy:
            return context.lazy(lambda: compute(ranks.get()))

        return {
            "information_samples": probe.size,
            "information_effective_rank": of_ranks(_effective),
            "information_stable_rank": of_ranks(
                lambda found: {n: r.stable for n, r in found.items()}
            ),
            "information_participation_ratio": of_ranks(
                lambda found: {name: rank.participation for name, rank in found.items()}
            ),
            "information_cumulative_rank": of_ranks(
                lambda found: {name: rank.cumulative for name, rank in found.items()}
            ),
            "information_capacity_used": of_ranks(
                lambda found: {
                    name: _capacity(rank, layers[name].units, probe.size)
                    for name, rank in _effective(found).items()
                }
            ),
            "information_bottlenecks": of_ranks(
                lambda found: _bottlenecks(layers, _effective(found), probe)
            ),
            "information_ranking": of_ranks(
                lambda found: _ranking(layers, _effective(found), probe)
            ),
            "information_similarity": context.lazy(lambda: _similarity(probe)),
            "information_label": context.lazy(
                lambda: self._each(context, probe, "label", partial(_told, probe.targets))
            ),
            "information_entropy_bits": context.lazy(
                lambda: self._each(context, probe, "entropy", _entropy)
            ),
            "information_noisy": context.lazy(
                lambda: self._each(
                    context, probe, "noisy", partial(_noisy, self.noise, context.seed)
                )
            ),
        }

    def _each(
        self, context: NetworkContext, probe: Probe, name: str, compute: Callable[[Tensor], T]
    ) -> dict[str, T]:
        """``compute`` of the values of every layer, from memory where they are the same."""
        return {
            layer: context.recall(
                self, layer, partial(compute, values), name=name, reads="activations"
            )
            for layer, values in probe.values.items()
        }


def _ranks(values: Tensor) -> _Ranks:
    sigma = spectrum(values)
    return _Ranks(
        effective_rank(sigma),
        stable_rank(sigma),
        participation_ratio(sigma),
        cumulative_rank(sigma),
    )


def _told(targets: Any, values: Tensor) -> LabelInformation | Unavailable:
    return labelled(values, targets)


def _entropy(values: Tensor) -> Measure:
    return renyi_entropy(gaussian_kernel(values))


def _noisy(share: float, seed: int, values: Tensor) -> NoisyInformation | Unavailable:
    spread = float(values.var(0, correction=0).sum().sqrt())
    if not spread > 0:
        return Unavailable("the layer does not vary, so that it holds no information")
    generator = torch.Generator().manual_seed(seed)
    return noisy_information(values, share * spread, generator=generator)


def _similarity(probe: Probe) -> dict[str, dict[str, Measure]]:
    names = list(probe.values)
    table = cka_table(list(probe.values.values()))
    return {
        name: dict(zip(names, row, strict=True)) for name, row in zip(names, table, strict=True)
    }


def _effective(ranks: Mapping[str, _Ranks]) -> dict[str, Measure]:
    return {name: found.effective for name, found in ranks.items()}


def _numbers(values: Mapping[str, Measure]) -> dict[str, float]:
    return {name: float(v) for name, v in values.items() if not isinstance(v, Unavailable)}


def _capacity(rank: Measure, units: int, samples: int) -> Measure:
    if isinstance(rank, Unavailable):
        return rank
    if samples <= units:
        return Unavailable(
            f"{samples} samples show at most {samples - 1} directions of {units} units; take a"
            " probe_size above the width"
        )
    return capacity_used(rank, units)


def _bottlenecks(
    layers: Mapping[str, LayerObservation], ranks: Mapping[str, Measure], probe: Probe
) -> dict[str, Bottleneck]:
    known = _numbers(ranks)
    sides = {n: pair for n, pair in around(layers, ranks, probe).items() if n in known}
    units = {name: layers[name].units for name in known}
    return {found.layer: found for found in bottlenecks(known, units, sides)}


def _ranking(
    layers: Mapping[str, LayerObservation], ranks: Mapping[str, Measure], probe: Probe
) -> dict[str, float]:
    return pressures(floored(ranks), around(layers, ranks, probe))
