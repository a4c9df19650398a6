"""Growth while skorch fits: optimizers, histories, checkpoints, pickles."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from structure_net.evolution import (
    ComposableEvolutionSystem,
    EveryNEpochs,
    EveryNSteps,
    MetricBelow,
    Trial,
)
from tests.structure_net.integrations.growing import (
    WiderAndDeeper,
    network,
    samples,
    shapes,
    system,
)

skorch = pytest.importorskip("skorch")

pytestmark = pytest.mark.extras

X, Y = (tensor.numpy() for tensor in samples())


class Module(nn.Sequential):
    """A network that skorch can build."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(*network(seed))


def fitted(grows: ComposableEvolutionSystem, *callbacks: Any, epochs: int = 3) -> Any:
    return made(grows, *callbacks, epochs=epochs).fit(X, Y)


def made(grows: ComposableEvolutionSystem, *callbacks: Any, epochs: int = 3, seed: int = 0) -> Any:
    from structure_net.integrations.skorch import SkorchGrowth

    named = [(f"other{n}", callback) for n, callback in enumerate(callbacks)]
    return skorch.NeuralNetClassifier(
        Module,
        module__seed=seed,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        batch_size=16,
        max_epochs=epochs,
        callbacks=[("growth", SkorchGrowth(grows)), *named],
        verbose=0,
    )


def growth(net: Any) -> Any:
    return dict(net.callbacks_)["growth"]


def test_growth_happens_between_epochs_and_the_optimizer_trains_all() -> None:
    net = fitted(system(EveryNEpochs(2)))
    held = {id(p) for group in net.optimizer_.param_groups for p in group["params"]}
    assert net.module_.get_submodule("0.origin").out_features == 10
    assert held == {id(p) for p in net.module_.parameters()}
    assert all(
        net.optimizer_.state[p]["exp_avg"].shape == p.shape for p in net.module_.parameters()
    )


def test_growth_happens_in_the_middle_of_an_epoch() -> None:
    net = fitted(system(EveryNSteps(3)), epochs=1)
    grown = growth(net).context.journal.events("grew")
    assert [(event.detail["step"], event.detail["samples"]) for event in grown] == [(3, 48)]


def test_triggers_read_the_history() -> None:
    net = fitted(system(MetricBelow("valid_loss", 10.0)), epochs=1)
    assert "valid_loss" in growth(net).context.journal.events("grew")[0].detail["trigger"]
    assert growth(net).context.history[0].metrics["valid_acc"] == net.history[0, "valid_acc"]


def test_a_trial_judges_by_the_loss_of_the_net() -> None:
    grows = ComposableEvolutionSystem()
    whether = Trial(batches=2, performance_drop_threshold=9.0)
    grows.add_component(WiderAndDeeper(), when=EveryNEpochs(1), whether=whether)
    net = fitted(grows, epochs=1)
    assert growth(net).context.journal.events("grew")[0].detail["held_out_loss"] > 0


def test_a_checkpoint_leads_a_new_net_where_the_old_one_goes(tmp_path: Path) -> None:
    from skorch.callbacks import Checkpoint

    saved = Checkpoint(monitor=None, dirname=str(tmp_path))
    net = fitted(system(EveryNEpochs(2)), saved)
    again = made(system(EveryNEpochs(2)), seed=1).initialize()
    growth(again).prepare(again)
    again.load_params(checkpoint=saved)
    net.partial_fit(X, Y)
    again.partial_fit(X, Y)
    assert shapes(again.module_) == shapes(net.module_)
    assert all(
        torch.equal(one, other)
        for one, other in zip(net.module_.parameters(), again.module_.parameters(), strict=True)
    )
    assert growth(again).context.journal == growth(net).context.journal


def test_load_init_state_goes_on_where_the_last_fit_ended(tmp_path: Path) -> None:
    from skorch.callbacks import LoadInitState, TrainEndCheckpoint

    end = TrainEndCheckpoint(dirname=str(tmp_path))
    fitted(system(EveryNEpochs(2)), end, LoadInitState(end))
    net = fitted(system(EveryNEpochs(2)), end, LoadInitState(end))
    context = growth(net).context
    assert [event.detail["epoch"] for event in context.journal.events("grew")] == [2, 4, 6]
    assert context.history.epoch == 6


def test_the_best_state_comes_back_after_the_net_grew_on() -> None:
    from skorch.callbacks import EarlyStopping

    stopping = EarlyStopping(monitor="score", patience=3, load_best=True)
    net = fitted(system(EveryNEpochs(2)), _Rising("score"), stopping, epochs=6)
    assert shapes(net.module_) == shapes(network())
    net.partial_fit(X, Y, epochs=1)
    held = {id(p) for group in net.optimizer_.param_groups for p in group["params"]}
    assert held == {id(p) for p in net.module_.parameters()}


class _Rising(skorch.callbacks.Callback):  # type: ignore[misc, name-defined]
    """A score that is best, lowest, in the first epoch."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        net.history.record(self.name, float(len(net.history)))


def test_a_pickled_net_grows_on() -> None:
    net = fitted(system(EveryNEpochs(2)))
    again = pickle.loads(pickle.dumps(net)).partial_fit(X, Y)
    assert [e.detail["epoch"] for e in growth(again).context.journal.events("grew")] == [2, 4, 6]


def test_a_clone_begins_at_birth() -> None:
    from sklearn.base import clone

    net = clone(fitted(system(EveryNEpochs(2)))).fit(X, Y)
    assert growth(net).context.history.epoch == 3
    assert net.module_.get_submodule("0.origin").out_features == 10


def test_a_second_fit_begins_at_birth() -> None:
    net = fitted(system(EveryNEpochs(2))).fit(X, Y)
    assert growth(net).context.history.epoch == 3


def test_the_context_is_there_once_training_began() -> None:
    with pytest.raises(RuntimeError, match="`fit` has begun"):
        _ = growth(made(system()).initialize()).context


class Apart(nn.Sequential):
    """A module with a layer elsewhere."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(*network(seed), nn.Linear(3, 3, device="meta"))


class Parallel(nn.DataParallel[nn.Module]):
    """A module whose copies are trained side by side."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(nn.Sequential(*network(seed)))


class Spread:
    """What a net of skorch's `AccelerateMixin` keeps."""

    num_processes = 2


def test_several_processes_and_devices_are_refused() -> None:
    net = made(system())
    net.accelerator = Spread()
    with pytest.raises(ValueError, match="one process and one device; the net has 2 and 1"):
        net.fit(X, Y)
    with pytest.raises(ValueError, match="one process and one device; the net has 1 and 2"):
        made(system()).set_params(module=Apart, device=None).fit(X, Y)
    with pytest.raises(ValueError, match="wrapped in DataParallel"):
        made(system()).set_params(module=Parallel).fit(X, Y)
