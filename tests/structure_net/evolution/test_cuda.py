"""The cycle on a CUDA device: mixed precision, fused optimizers, trials, observation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from structure_net.evolution import (
    ComposableEvolutionSystem,
    Need,
    NetworkContext,
    Trial,
    measuring,
    observe,
)
from structure_net.evolution.batches import to_device
from structure_net.evolution.components import (
    ExtremaGrowthStrategy,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
)
from structure_net.evolution.components.trainers import standard
from structure_net.testing import example_context
from tests.elsewhere import away

pytestmark = pytest.mark.away


@pytest.fixture
def there(context: NetworkContext) -> NetworkContext:
    """The context on the device; its loaders stay on the CPU."""
    return replace(context, network=context.network.to(away()), device=away())


@pytest.mark.parametrize("fused", [False, True])
def test_a_system_grows_and_trains_in_mixed_precision(there: NetworkContext, fused: bool) -> None:
    trainer = StandardNetworkTrainer(
        2, 0.01, optimizer=lambda parameters, rate: torch.optim.Adam(parameters, rate, fused=fused)
    )
    system = ComposableEvolutionSystem(
        [StandardExtremaAnalyzer(), ExtremaGrowthStrategy(patch_size=3), trainer]
    )
    after = system.evolve_network(there, 2)
    assert after.journal.edits
    assert {parameter.dtype for parameter in after.network.parameters()} == {torch.float32}
    assert all(parameter.device.type == away() for parameter in after.network.parameters())
    losses = [record.metrics["train_loss"] for record in after.history]
    assert losses[-1] < losses[0]


@pytest.mark.cuda
def test_a_trial_leaves_the_random_state_of_the_device(there: NetworkContext) -> None:
    torch.cuda.init()
    state = torch.cuda.get_rng_state()
    verdict = Trial(batches=2).judge(there, lambda fork: fork)
    assert verdict.measured["held_out_loss"] == verdict.measured["held_out_loss_without"]
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_what_is_observed_is_what_the_cpu_sees(context: NetworkContext) -> None:
    batches = [(x.double(), y) for x, y in context.data_loader]
    network = context.network.double()
    here = observe(network, batches)
    moved = [to_device(batch, away()) for batch in batches]
    there = observe(network.to(away()), moved)
    assert list(here.layers) == list(there.layers)
    assert here.samples == there.samples
    for name, seen in here.layers.items():
        # Sums of float64 in another order.
        torch.testing.assert_close(there.layers[name].mean.cpu(), seen.mean, rtol=0, atol=1e-10)


def test_every_need_is_served_on_the_device_as_on_the_cpu(context: NetworkContext) -> None:
    batches = [(x.double(), y) for x, y in context.data_loader]
    network = context.network.double()
    asked = {"needs": frozenset(Need), "loss": context.loss, "probe_size": 20, "seed": 3}
    here = observe(network, batches, **asked)  # type: ignore[arg-type]
    moved = [to_device(batch, away()) for batch in batches]
    there = observe(network.to(away()), moved, **asked)  # type: ignore[arg-type]
    assert here.probe is not None
    assert there.probe is not None
    assert torch.equal(there.probe.inputs.cpu(), here.probe.inputs)
    for name, seen in here.layers.items():
        other = there.layers[name]
        for one, two in (
            (other.taylor, seen.taylor),
            (other.covariance, seen.covariance),
            (there.probe.values[name], here.probe.values[name]),
        ):
            # Products and sums of float64 in another order.
            torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


def test_an_attached_session_edits_in_a_loop_of_ones_own(there: NetworkContext) -> None:
    system = ComposableEvolutionSystem([StandardExtremaAnalyzer(), ExtremaGrowthStrategy()])
    optimizer = torch.optim.Adam(there.network.parameters(), fused=True)
    session = system.attach(there.network, optimizer=optimizer, data_loader=there.data_loader)
    for _ in range(2):
        for inputs, targets in there.data_loader:
            optimizer.zero_grad()
            loss = there.loss(there.network(inputs.to(away())), targets.to(away()))
            loss.backward()
            optimizer.step()
            session.after_step(loss)
        session.after_epoch({"train_loss": float(loss.detach())})
    assert session.context.journal.edits
    assert all(parameter.device.type == away() for parameter in there.network.parameters())


@pytest.mark.parametrize("storage", ["live_storage", "masked"])
def test_sparse_networks_train_and_grow_under_autocast(
    storage: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the mixed precision that trainers take on CUDA."""
    request.getfixturevalue(storage)
    for module in (standard, measuring):
        mixed = lambda device: torch.autocast(away(), dtype=torch.bfloat16)  # noqa: E731
        monkeypatch.setattr(module, "precision", mixed)
    context = example_context()
    context = replace(context, network=context.network.to(away()), device=away())
    after = ComposableEvolutionSystem(
        [
            StandardExtremaAnalyzer(),
            ExtremaGrowthStrategy(patch_size=3),
            StandardNetworkTrainer(2, 0.01),
        ]
    ).evolve_network(context, 2)
    assert after.journal.edits
    losses = [record.metrics["train_loss"] for record in after.history]
    assert losses[-1] < losses[0]


def test_batches_that_lie_on_the_device_come_to_the_cpu_before_they_are_read() -> None:
    """A copy that is not waited for holds whatever its memory held before."""
    numbers = torch.arange(1000.0)
    assert torch.equal(to_device({"x": [numbers.to(away())]}, "cpu")["x"][0], numbers)
