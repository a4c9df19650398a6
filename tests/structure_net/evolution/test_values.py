"""What sessions, observations and policies hand back."""

from __future__ import annotations

from collections.abc import Callable

import torch

from structure_net.evolution import (
    Acceptance,
    ComposableEvolutionSystem,
    EvolutionSession,
    LayerObservation,
    NetworkContext,
    Observation,
    Verdict,
    observe,
)
from structure_net.evolution.components import ExtremaGrowthStrategy, StandardExtremaAnalyzer


class Never(Acceptance):
    """Rejects every growth."""

    def judge(
        self, context: NetworkContext, grow: Callable[[NetworkContext], NetworkContext]
    ) -> Verdict:
        return Verdict(False, {"why": "never"})


def test_a_policy_of_ones_own_decides_whether_a_network_grows(context: NetworkContext) -> None:
    for whether, grows in ((None, True), (Never(), False)):
        system = ComposableEvolutionSystem([StandardExtremaAnalyzer()])
        system.add_component(ExtremaGrowthStrategy(patch_size=3), whether=whether)
        assert bool(system.evolve_network(context, 1).journal.edits) == grows


def test_attaching_gives_a_session_on_the_network_itself(context: NetworkContext) -> None:
    system = ComposableEvolutionSystem([StandardExtremaAnalyzer(), ExtremaGrowthStrategy()])
    session = system.attach(context.network, data_loader=context.data_loader)
    assert isinstance(session, EvolutionSession)
    assert session.context.network is context.network


def test_an_observation_has_every_layer_and_the_means_of_its_units(context: NetworkContext) -> None:
    batches = list(context.data_loader)
    seen = observe(context.network, batches)
    assert isinstance(seen, Observation)
    assert (seen.batches, seen.samples) == (3, 96)
    assert list(seen.layers) == ["layers.0", "layers.1", "layers.2"]
    first = seen.layers["layers.0"]
    assert isinstance(first, LayerObservation)
    with torch.no_grad():
        layer = context.network.layers[0]
        units = torch.cat([torch.relu(layer(inputs)) for inputs, _ in batches])
    # Single precision, 96 terms.
    torch.testing.assert_close(first.mean.float(), units.mean(0), rtol=1e-4, atol=1e-5)
