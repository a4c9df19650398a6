"""Training with growth: what it records, and that it can be stopped and taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from structure_net.den import (
    BiologicalGrowth,
    DENTrainer,
    DynamicExpandableNetwork,
    GrowthStrategy,
    LossBasedGrowth,
)
from structure_net.den.rehearsal import Rehearsal
from structure_net.errors import CheckpointError


class Every(GrowthStrategy):
    """Grows as it is told, one action after the other; counts how often it is asked."""

    def __init__(self, *actions: dict[str, Any] | None) -> None:
        self.actions = actions
        self.asked: list[int] = []
        self.seen: list[dict[str, Any]] = []

    def should_grow(self, metrics: Any, network: Any, epoch: int) -> tuple[bool, str | None]:
        self.asked.append(epoch)
        self.seen.append(dict(metrics))
        wanted = epoch < len(self.actions) and self.actions[epoch] is not None
        return wanted, "told so" if wanted else None

    def determine_growth_action(self, metrics: Any, network: Any) -> dict[str, Any]:
        action = self.actions[metrics["epoch"]]
        assert action is not None
        return action


WIDER = {"type": "width", "layer_idx": 1, "num_neurons": 3}
DEEPER = {"type": "depth", "position": 1, "num_neurons": 5}


def data(seed: int = 0) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(96, 4, generator=torch.Generator().manual_seed(seed))
    return inputs, inputs[:, :1].sin() + inputs[:, 1:2] * inputs[:, 2:3]


def loader(seed: int = 0) -> DataLoader[Any]:
    return DataLoader(TensorDataset(*data(seed)), batch_size=32)


def network(**options: Any) -> DynamicExpandableNetwork:
    return DynamicExpandableNetwork(4, 1, [6, 6], seed=0, **options)


def trainer(strategy: GrowthStrategy | None = None, **options: Any) -> DENTrainer:
    return DENTrainer(network(), strategy, learning_rate=0.01, **options)


def test_the_history_has_an_entry_for_each_epoch_and_an_event_for_each_growth() -> None:
    one = trainer(Every(None, WIDER, DEEPER))
    history = one.train(loader(), 4, val_loader=loader(1))
    for name in ("train_loss", "val_loss", "num_parameters", "layer_sizes", "timestamps"):
        assert len(history[name]) == 4
    assert history["timestamps"] == sorted(history["timestamps"])
    assert history["layer_sizes"] == [[6, 6], [6, 6], [6, 9], [6, 5, 9]]
    width, depth = history["growth_events"]
    assert {**width, "timestamp": 0, "datetime": ""} == {
        **WIDER,
        "epoch": 1,
        "reason": "told so",
        "layer_sizes": [6, 9],
        "num_parameters": 6 * 5 + 9 * 7 + 10,
        "timestamp": 0,
        "datetime": "",
    }
    assert (depth["type"], depth["position"], depth["num_neurons"]) == ("depth", 1, 5)
    assert width["timestamp"] == history["timestamps"][1]


def test_a_strategy_is_asked_once_after_each_epoch_with_all_it_may_read() -> None:
    strategy = Every(None, WIDER)
    trainer(strategy).train(loader(), 3)
    assert strategy.asked == [0, 1, 2]
    last = strategy.seen[-1]
    assert [one["epoch"] for one in last["history"]] == [0, 1, 2]
    assert last["growth_events"] == [{"epoch": 1, "type": "width"}]
    assert last["layer_sizes"] == [6, 9]
    for key in ("gradient_norms", "activation_magnitudes", "activities"):
        assert list(last[key]) == ["layers.0", "layers.1"]
        assert all(value > 0 for value in last[key].values())
    assert last["loss"] == last["train_loss"]


def test_the_gradient_norm_of_an_epoch_is_the_mean_over_its_steps() -> None:
    strategy, same = Every(), network()
    one = DENTrainer(network(), strategy, optimizer=torch.optim.SGD, learning_rate=0.0)
    one.train(loader(), 1)
    norms = []
    for inputs, targets in loader():
        same.zero_grad()
        nn.functional.mse_loss(same(inputs), targets).backward()
        norms.append(same.layers[0].get_parameter("weight").grad.norm().item())  # type: ignore[union-attr]
    found = strategy.seen[0]["gradient_norms"]["layers.0"]
    # Sums of float32 products in another order.
    assert found == pytest.approx(sum(norms) / 3, rel=1e-5)


def test_growth_can_be_switched_off() -> None:
    strategy = Every(WIDER, WIDER)
    one = trainer(strategy)
    history = one.train(loader(), 2, enable_growth=False)
    assert strategy.asked == []
    assert not history["growth_events"]


def test_a_restart_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    strategy = LossBasedGrowth(patience=1, cooldown=1, min_delta=0.5, depth_threshold=1)
    whole, first = trainer(strategy), trainer(strategy)
    whole.train(loader(), 6)
    first.train(loader(), 3)
    first.save_checkpoint(tmp_path / "half.pt")
    other = DENTrainer(DynamicExpandableNetwork(4, 1, [3]), strategy, learning_rate=0.5)
    other.load_checkpoint(tmp_path / "half.pt")
    other.train(loader(), 3)
    inputs, _ = data(2)
    assert torch.equal(other.predict(inputs), whole.predict(inputs))
    assert other.network.journal == whole.network.journal
    for name in ("train_loss", "num_parameters", "layer_sizes"):
        assert other.history[name] == whole.history[name]
    assert len(whole.history["growth_events"]) > 2


def test_a_checkpoint_is_loaded_into_a_trainer_of_another_strategy(tmp_path: Path) -> None:
    one = trainer(Every(WIDER))
    one.train(loader(), 1)
    one.save_checkpoint(tmp_path / "one.pt")
    other = trainer(BiologicalGrowth(patience=3, cooldown=1))
    other.load_checkpoint(tmp_path / "one.pt")
    assert other.network.get_layer_sizes() == [6, 9]
    assert other.train(loader(), 2)["timestamps"][0] == one.history["timestamps"][0]


def test_a_checkpoint_of_another_optimizer_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    one = trainer(Every(WIDER))
    one.train(loader(), 1)
    one.save_checkpoint(tmp_path / "one.pt")
    other = trainer(optimizer=torch.optim.SGD)
    with pytest.raises(CheckpointError, match="AdamW"):
        other.load_checkpoint(tmp_path / "one.pt")
    assert other.network.get_layer_sizes() == [6, 6]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (DynamicExpandableNetwork(5, 2, [6, 6]), "has input_size 4, the trainer's 5"),
        (DynamicExpandableNetwork(4, 3, [6, 6]), "output_size 2, the trainer's 3"),
        (
            DynamicExpandableNetwork(4, 2, [6, 6], task_type="classification"),
            "task_type 'regression', the trainer's 'classification'",
        ),
    ],
)
def test_a_checkpoint_for_other_data_is_refused_and_nothing_changes(
    tmp_path: Path, other: DynamicExpandableNetwork, why: str
) -> None:
    DENTrainer(DynamicExpandableNetwork(4, 2, [6, 6])).save_checkpoint(tmp_path / "one.pt")
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=why):
        DENTrainer(other).load_checkpoint(tmp_path / "one.pt")
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def test_random_states_come_back_where_they_are_asked_for(tmp_path: Path) -> None:
    one = trainer()
    one.save_checkpoint(tmp_path / "one.pt")
    with torch.random.fork_rng():
        state = torch.get_rng_state()
        torch.rand(3)
        one.load_checkpoint(tmp_path / "one.pt", restore_random_states=True)
        assert torch.equal(torch.get_rng_state(), state)


def test_continual_learning_takes_tensors_a_pair_and_a_loader() -> None:
    one = trainer(Every(WIDER))
    inputs, targets = data(3)
    one.continual_learning(new_data=inputs, new_targets=targets, epochs=1)
    one.continual_learning((inputs, targets), epochs=1)
    history = one.continual_learning(loader(), epochs=1)
    assert len(history["timestamps"]) == 3
    assert history["layer_sizes"][-1] == [6, 9]
    with pytest.raises(ValueError, match="as many as the 96 inputs"):
        one.continual_learning(inputs, epochs=1)
    with pytest.raises(ValueError, match="as many"):
        one.continual_learning(inputs, targets[:3], epochs=1)
    with pytest.raises(ValueError, match="a loader has its own"):
        one.continual_learning(loader(), targets, epochs=1)


def test_a_memory_of_earlier_samples_keeps_what_was_learned() -> None:
    inputs, _ = data()
    tasks = [
        DataLoader(TensorDataset(inputs + shift, (inputs + shift)[:, :1] * factor), batch_size=32)
        for shift, factor in ((2.0, 1.0), (-2.0, -1.0))
    ]
    losses = []
    for size in (0, 64):
        one = trainer(Every(), memory_size=size)
        one.train(tasks[0], 40)
        one.continual_learning(tasks[1], epochs=40)
        losses.append(one.evaluate(tasks[0])["loss"])
    # The second task turns the first one's sign: without memory it is unlearned.
    assert losses[1] < 0.1 * losses[0]


def test_a_reservoir_holds_a_uniform_sample_and_lives_in_the_checkpoint(tmp_path: Path) -> None:
    numbers = torch.arange(1000.0).unsqueeze(1)
    memory = Rehearsal(200, seed=0)
    memory.see(DataLoader(TensorDataset(numbers, numbers), batch_size=100))
    assert len(memory) == 200
    held = memory.drawn(1000)[0]
    # The mean of 200 of 0 to 999 has a standard deviation of 18, that of 1000 drawn from these one
    # of 9: together 20, and five of them.
    assert abs(float(held.mean()) - 499.5) < 100
    one, other = trainer(memory_size=7), trainer(memory_size=7)
    one.train(loader(), 1)
    one.save_checkpoint(tmp_path / "one.pt")
    other.load_checkpoint(tmp_path / "one.pt")
    for mine, yours in zip(other.memory.drawn(5), one.memory.drawn(5), strict=True):
        assert torch.equal(mine, yours)


def test_classification_predicts_classes_and_scores_accuracy() -> None:
    inputs, _ = data()
    classes = (inputs[:, 0] > 0).long()
    batches = DataLoader(TensorDataset(inputs, classes), batch_size=32)
    net = DynamicExpandableNetwork(4, 2, [8], task_type="classification", seed=0)
    one = DENTrainer(net, Every(), learning_rate=0.02)
    history = one.train(batches, 20, val_loader=batches)
    assert history["val_accuracy"][-1] > 0.9
    predicted = one.predict(inputs)
    assert predicted.shape == (96,)
    right = (predicted == classes).double().mean().item()
    assert one.evaluate(batches)["accuracy"] == pytest.approx(right)
    assert one.predict(inputs, scores=True).shape == (96, 2)


def test_evaluation_and_prediction_change_nothing() -> None:
    one = trainer()
    one.network.train()
    before = {name: value.clone() for name, value in one.network.state_dict().items()}
    one.evaluate(loader())
    one.predict(data()[0])
    assert one.network.training
    assert all(torch.equal(value, before[n]) for n, value in one.network.state_dict().items())


def test_targets_that_would_be_broadcast_are_refused() -> None:
    inputs, targets = data()
    flat = DataLoader(TensorDataset(inputs, targets.squeeze(1)), batch_size=32)
    for loss in (None, nn.HuberLoss()):
        with pytest.raises(ValueError, match="unsqueeze"):
            trainer(loss_function=loss).train(flat, 1)


def test_pruning_is_noted_apart_from_growth() -> None:
    class Prune(Every):
        def should_prune(self, metrics: Any, network: Any, epoch: int) -> tuple[bool, str | None]:
            return epoch == 1, "hardly read"

        def determine_pruning_action(self, metrics: Any, network: Any) -> dict[str, Any]:
            return {"type": "prune", "layer_idx": 0, "neuron_indices": [1, 4]}

    one = trainer(Prune())
    history = one.train(loader(), 3)
    assert not history["growth_events"]
    (event,) = history["pruning_events"]
    assert event["neuron_indices"] == [1, 4]
    assert one.network.get_layer_sizes() == [4, 6]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({"type": "wide"}, "must have the type"),
        ({"type": "width", "layer_idx": 0}, "needs 'num_neurons'"),
        ({"type": "depth", "position": 9, "num_neurons": 1}, "0 to 2"),
    ],
)
def test_an_action_that_cannot_be_read_is_refused(action: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(Every(action)).train(loader(), 1)


def test_epochs_are_told_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    trainer(Every(WIDER)).train(loader(), 1)
    assert capsys.readouterr().out == ""
    trainer(Every(WIDER), verbose=True).train(loader(), 1)
    said = capsys.readouterr().out
    assert "epoch 1: train_loss" in said
    assert "width: [6, 9] (told so)" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_it_trains_on_the_cpu() -> None:
    assert trainer(device="cuda").device == torch.device("cpu")


def test_what_cannot_train_is_refused() -> None:
    with pytest.raises(TypeError, match="attach"):
        DENTrainer(nn.Linear(2, 1))  # type: ignore[arg-type]
    net = network()
    with pytest.raises(TypeError, match="a class"):
        DENTrainer(net, optimizer=torch.optim.SGD(net.parameters(), lr=1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="LossBasedGrowth"):
        DENTrainer(net, LossBasedGrowth)  # type: ignore[arg-type]


def test_what_is_no_tensor_is_not_predicted() -> None:
    trainer = DENTrainer(network())
    with pytest.raises(TypeError, match="data must be a tensor of samples; got list"):
        trainer.predict([[0.0] * 4])  # type: ignore[arg-type] # the mistake
