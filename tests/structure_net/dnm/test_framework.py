from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from structure_net.core import create_standard_network
from structure_net.dnm import DNMFramework, MorphogenesisEvent, collect_caches
from structure_net.dnm.looking import CachedLook
from structure_net.errors import MissingAnalysisError, StructureNetError, SurgeryError
from structure_net.evolution import NetworkContext
from structure_net.surgery import (
    SplitNeurons,
    architecture,
    load_checkpoint,
    replay,
    save_checkpoint,
)
from structure_net.surgery.entries import REJECTED
from tests.structure_net.dnm.loops import SmallCNN, batch, contents, feed, stalled, step


def ready(
    dtype: torch.dtype = torch.float32, **config: object
) -> tuple[DNMFramework, torch.optim.Adam]:
    """Three epochs without improvement, and caches."""
    model = SmallCNN().to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    dnm = DNMFramework(model, config)
    stalled(dnm, optimizer)
    return dnm, optimizer


def test_a_stalled_accuracy_triggers_and_a_unit_divides() -> None:
    dnm, _ = ready()
    due, reasons = dnm.should_trigger_morphogenesis(3, {"accuracy": 0.6}, {"accuracy": 0.5})
    assert due
    assert "validation accuracy 0.5000 is +0.0000 since the first epoch" in reasons[0]
    assert "training accuracy 0.6000" in reasons[1]
    assert "narrowest layer" in reasons[2]
    results = dnm.execute_morphogenesis(3)
    assert results["neuron_divisions"] == 1
    assert results["connection_growths"] == 0
    (event,) = results["events"]
    assert isinstance(event, MorphogenesisEvent)
    assert isinstance(event.edit, SplitNeurons)
    assert event.location in {"features.0", "features.2"}
    assert event.parameters_added == results["parameters_added"] > 0
    assert event.performance_before == 0.5
    assert event.as_dict()["location"] == event.location


def test_an_accuracy_that_improves_does_not_trigger() -> None:
    dnm = DNMFramework(SmallCNN(), {"performance_improvement_threshold": 0.01})
    for epoch, accuracy in enumerate([0.5, 0.505, 0.52], 1):
        dnm.record_performance(accuracy)
        due, reasons = dnm.should_trigger_morphogenesis(epoch, {}, {"accuracy": accuracy})
        assert not due
        assert reasons == []


@pytest.mark.parametrize(("gain", "due"), [(0.0099, True), (0.0101, False), (-0.2, True)])
def test_the_improvement_is_measured_since_the_last_check(gain: float, due: bool) -> None:
    dnm = DNMFramework(SmallCNN(), {"morphogenesis_interval": 2})
    accuracies = [0.1, 0.5, 0.4, 0.5 + gain]
    answers = []
    for epoch, accuracy in enumerate(accuracies, 1):
        dnm.record_performance(accuracy)
        answers.append(dnm.should_trigger_morphogenesis(epoch, {}, {"accuracy": accuracy})[0])
    assert answers == [False, False, False, due]


def test_asking_twice_in_an_epoch_gives_the_same_answer() -> None:
    dnm, _ = ready()
    first = dnm.should_trigger_morphogenesis(3, {}, {"accuracy": 0.5})
    assert dnm.should_trigger_morphogenesis(3, {}, {"accuracy": 0.5}) == first
    assert first[0]


def test_the_first_check_of_every_epoch_only_sets_the_level() -> None:
    dnm = DNMFramework(SmallCNN(), {"morphogenesis_interval": 1})
    dnm.record_performance(0.5)
    assert not dnm.should_trigger_morphogenesis(1, {}, {"accuracy": 0.5})[0]
    dnm.record_performance(0.5)
    assert dnm.should_trigger_morphogenesis(2, {}, {"accuracy": 0.5})[0]


def test_the_recorded_accuracy_stands_in_for_one_that_is_not_handed_over() -> None:
    dnm, _ = ready()
    assert dnm.should_trigger_morphogenesis(3)[0]
    with pytest.raises(MissingAnalysisError, match="val_metrics hold loss"):
        DNMFramework(SmallCNN()).should_trigger_morphogenesis(3, {}, {"loss": 1.0})


def test_an_accuracy_that_is_no_number_is_refused() -> None:
    dnm = DNMFramework(SmallCNN())
    with pytest.raises(ValueError, match="must be finite; got nan"):
        dnm.record_performance(float("nan"))
    with pytest.raises(ValueError, match="must be finite; got inf"):
        dnm.should_trigger_morphogenesis(3, {}, {"accuracy": float("inf")})
    assert dnm.performance_history == ()


def test_without_noise_a_division_keeps_the_function() -> None:
    dnm, _ = ready(torch.float64, division_noise_scale=0.0, progressive_activation_epochs=0)
    dnm.model.eval()
    inputs = batch(seed=9)[0].double()
    before = dnm.model(inputs)
    dnm.execute_morphogenesis(3)
    torch.testing.assert_close(dnm.model(inputs), before, rtol=1e-10, atol=1e-10)


def test_at_birth_a_new_half_that_fades_in_changes_nothing_whatever_its_noise() -> None:
    dnm, _ = ready(torch.float64, division_noise_scale=0.5, progressive_activation_epochs=4)
    dnm.model.eval()
    inputs = batch(seed=9)[0].double()
    before = dnm.model(inputs)
    dnm.execute_morphogenesis(3)
    torch.testing.assert_close(dnm.model(inputs), before, rtol=1e-10, atol=1e-10)


def test_all_parameters_go_on_training_under_an_optimizer_that_was_not_handed_over() -> None:
    dnm, optimizer = ready()
    held = list(dnm.model.parameters())
    dnm.execute_morphogenesis(3)
    before = contents(dnm.model)
    assert all(one is two for one, two in zip(held, dnm.model.parameters(), strict=True))
    for epoch in range(3):
        step(dnm.model, optimizer, epoch)
        dnm.record_performance(0.5)
    for name, parameter in dnm.model.named_parameters():
        moved = parameter.detach() != before[name]
        assert moved.flatten(1).any(1).all() if parameter.dim() > 1 else moved.all(), name
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape


def test_no_more_changes_are_made_than_allowed_in_an_epoch_and_in_all() -> None:
    dnm, optimizer = ready(max_architecture_changes=3, max_morphogenesis_per_epoch=2)
    assert len(dnm.execute_morphogenesis(3)["events"]) == 2
    assert dnm.execute_morphogenesis(3)["events"] == []
    stalled(dnm, optimizer, start=3)
    assert dnm.should_trigger_morphogenesis(6)[0]
    assert len(dnm.execute_morphogenesis(6)["events"]) == 1
    stalled(dnm, optimizer, start=6)
    assert not dnm.should_trigger_morphogenesis(9)[0]
    assert dnm.execute_morphogenesis(9)["events"] == []
    assert len(dnm.events) == 3


def test_with_room_for_two_changes_a_connection_grows_beside_a_division() -> None:
    dnm, optimizer = ready(max_morphogenesis_per_epoch=2)
    results = dnm.execute_morphogenesis(3)
    assert results["neuron_divisions"] == results["connection_growths"] == 1
    step(dnm.model, optimizer)
    alone, _ = ready(max_morphogenesis_per_epoch=2, connection_growth=False)
    results = alone.execute_morphogenesis(3)
    assert results["connection_growths"] == 0
    assert len({event.location for event in results["events"]}) == results["neuron_divisions"] == 2


def test_the_journal_leads_to_the_architecture() -> None:
    dnm, optimizer = ready(max_morphogenesis_per_epoch=2)
    dnm.execute_morphogenesis(3)
    stalled(dnm, optimizer, start=3)
    dnm.execute_morphogenesis(6)
    replayed = replay(SmallCNN(), dnm.journal, dnm.example)
    assert architecture(replayed) == architecture(dnm.model)


def test_a_checkpoint_of_a_changed_network_can_be_loaded(tmp_path: object) -> None:
    dnm, optimizer = ready()
    dnm.execute_morphogenesis(3)
    step(dnm.model, optimizer)
    path = f"{tmp_path}/net.safetensors"
    kept = {"optimizer": optimizer, "journal": dnm.journal, "example": dnm.example}
    save_checkpoint(path, dnm.model, **kept)  # type: ignore[arg-type]
    again = load_checkpoint(path, SmallCNN(seed=5)).model.eval()
    inputs = batch(seed=9)[0]
    assert torch.equal(again(inputs), dnm.model.eval()(inputs))


def test_the_same_seed_makes_the_same_network() -> None:
    one, _ = ready(max_morphogenesis_per_epoch=2)
    two, _ = ready(max_morphogenesis_per_epoch=2)
    other, _ = ready(max_morphogenesis_per_epoch=2, seed=1)
    for dnm in (one, two, other):
        dnm.execute_morphogenesis(3)
    assert one.journal == two.journal
    assert one.events == two.events
    for name, tensor in contents(one.model).items():
        assert torch.equal(tensor, two.model.state_dict()[name])
    assert one.journal != other.journal


def test_a_sparse_network_grows_connections() -> None:
    network = create_standard_network([16, 12, 8, 3], density=0.3, seed=0)
    dnm = DNMFramework(network, {"max_morphogenesis_per_epoch": 2})
    inputs = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
    targets = inputs[:, :3].argmax(1)
    network(inputs)
    dnm.update_caches(*collect_caches(network, inputs, targets), targets)
    before = network.get_network_stats()["total_connections"]
    results = dnm.execute_morphogenesis(1)
    assert results["neuron_divisions"] == results["connection_growths"] == 1
    assert network.get_network_stats()["total_connections"] > before


def test_caches_must_be_of_the_network_as_it_is() -> None:
    dnm, _ = ready()
    dnm.execute_morphogenesis(3)
    with pytest.raises(MissingAnalysisError, match="no caches of the network as it is"):
        DNMFramework.execute_morphogenesis(dnm, 6)


def test_a_model_that_was_never_called_cannot_be_traced() -> None:
    model = SmallCNN()
    inputs, targets = batch()
    caches = collect_caches(model, inputs, targets)
    dnm = DNMFramework(model)
    dnm.update_caches(*caches, targets)
    with pytest.raises(StructureNetError, match="No inputs of the model were seen yet"):
        dnm.execute_morphogenesis(3)
    given = DNMFramework(model, example=inputs[:2])
    given.update_caches(*caches, targets)
    assert given.execute_morphogenesis(3)["neuron_divisions"] == 1


def test_a_compiled_model_is_refused_at_once() -> None:
    with pytest.raises(SurgeryError, match="The model is compiled"):
        DNMFramework(torch.compile(SmallCNN(), backend="eager"))  # type: ignore[arg-type]


class Frozen(nn.Module):
    """No width of it can change: each is flipped."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.two(self.one(x).relu().flip(1))
        return found


def test_a_network_in_which_nothing_can_change_says_so() -> None:
    model = Frozen()
    dnm = DNMFramework(model)
    inputs, targets = torch.randn(8, 4), torch.arange(8) % 2
    F.cross_entropy(model(inputs), targets)
    dnm.update_caches(*collect_caches(model, inputs, targets), targets)
    with pytest.raises(MissingAnalysisError, match="no layer that can change"):
        dnm.execute_morphogenesis(3)


def test_the_attempt_that_was_taken_back_stands_in_the_journal() -> None:
    dnm, optimizer = ready()
    feed(dnm)
    dnm.execute_morphogenesis(3)
    step(dnm.model, optimizer)
    (gone,) = dnm.record_performance(0.1)
    assert gone.rolled_back
    (entry,) = dnm.journal.events(REJECTED)
    assert entry.detail["accuracy"] == 0.1
    assert entry.detail["accuracy_before"] == 0.5
    assert not dnm.journal.edits


def test_what_is_no_model_and_no_optimizer_of_it_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module; got the class SmallCNN"):
        DNMFramework(SmallCNN)  # type: ignore[arg-type] # the mistake
    stranger = torch.optim.SGD(SmallCNN().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="holds none of the parameters"):
        DNMFramework(SmallCNN(), {}, stranger)
    with pytest.raises(TypeError, match=r"must be a torch.optim.Optimizer; got|optimizer must be"):
        DNMFramework(SmallCNN(), {}, "adam")  # type: ignore[arg-type] # the mistake


def test_without_caches_the_narrowest_layer_is_not_named_and_not_guessed() -> None:
    look = CachedLook(["gradient_variance"])
    context = NetworkContext(SmallCNN(), ())
    assert look.narrowest(lambda: context) == []
    with pytest.raises(MissingAnalysisError, match="Call update_caches"):
        look.analysis(lambda: context)
    look.forget()
    assert look.narrowest(lambda: context) == []
