"""Growth while Lightning trains: optimizers, metrics, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from structure_net.evolution import (
    ComposableEvolutionSystem,
    EveryNEpochs,
    EveryNSteps,
    MetricBelow,
    Trial,
)
from structure_net.integrations import carry_lineage
from tests.structure_net.integrations.growing import (
    WiderAndDeeper,
    dataset,
    network,
    shapes,
    system,
)

lightning = pytest.importorskip("lightning.pytorch")

pytestmark = [
    pytest.mark.extras,
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    # What Lightning itself warns of with the pinned torch.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]


@pytest.fixture
def build() -> Any:
    """Makes a module, a callback and a trainer."""
    from structure_net.integrations.lightning import LightningGrowth

    class Classifier(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.net = network(seed)

        def forward(self, inputs: Tensor) -> Tensor:
            output: Tensor = self.net(inputs)
            return output

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: list[Tensor], index: int) -> None:
            self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

        test_step = validation_step

        def configure_optimizers(self) -> Any:
            groups = [{"params": [p]} for p in self.parameters()]
            optimizer = torch.optim.AdamW(groups if self.apart else self.parameters(), lr=0.01)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]

        apart = False

    class Run:
        def __init__(self, grows: ComposableEvolutionSystem, seed: int = 0, **options: Any) -> None:
            self.module = Classifier(seed)
            self.growth = LightningGrowth(grows, **{"network": "net", **options})

        def fit(self, epochs: int, *callbacks: Any, path: Any = None, **options: Any) -> Any:
            self.trainer = lightning.Trainer(
                max_epochs=epochs,
                accelerator="cpu",
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=bool(callbacks),
                callbacks=[self.growth, *callbacks],
                **options,
            )
            data = DataLoader(dataset(), 16)
            self.trainer.fit(self.module, data, data, ckpt_path=path)
            return self

    return Run


def checkpoints(folder: Path, **options: Any) -> Any:
    from lightning.pytorch.callbacks import ModelCheckpoint

    return ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, monitor="val_loss", **options)


def test_growth_happens_between_epochs_and_the_optimizer_trains_all(build: Any) -> None:
    run = build(system(EveryNEpochs(2)))
    before = run.module.net[0].weight
    run.fit(3)
    net = run.module.net
    assert net.get_submodule("0.origin").weight is before
    assert before.shape == (10, 4)
    optimizer = run.trainer.optimizers[0]
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in net.parameters()}
    assert all(optimizer.state[p]["step"] > 0 for p in net.parameters())
    assert all(optimizer.state[p]["exp_avg"].shape == p.shape for p in net.parameters())


def test_growth_happens_in_the_middle_of_an_epoch(build: Any) -> None:
    run = build(system(EveryNSteps(3))).fit(1)
    grown = run.growth.context.journal.events("grew")
    assert [event.detail["step"] for event in grown] == [3]
    assert grown[0].detail["samples"] == 48


def test_a_step_is_one_of_the_optimizer(build: Any) -> None:
    run = build(system(EveryNSteps(2))).fit(2, accumulate_grad_batches=2)
    history = run.growth.context.history
    assert [record.step for record in history] == [2, 4]
    assert [record.samples for record in history] == [64, 128]


def test_triggers_read_what_the_module_logs(build: Any) -> None:
    run = build(system(MetricBelow("val_loss", 10.0))).fit(2)
    assert {"train_loss", "val_loss"} <= set(run.growth.context.history[0].metrics)
    assert "val_loss" in run.growth.context.journal.events("grew")[0].detail["trigger"]


def test_nothing_grows_after_the_last_epoch(build: Any) -> None:
    run = build(system(EveryNEpochs(1))).fit(2)
    assert [e.detail["epoch"] for e in run.growth.context.journal.events("grew")] == [1]


def test_a_trial_judges_by_the_validation_data_of_the_whole_module(build: Any) -> None:
    grows = ComposableEvolutionSystem()
    grows.add_component(
        WiderAndDeeper("net.0"),
        when=EveryNEpochs(1),
        whether=Trial(batches=2, performance_drop_threshold=9.0),
    )
    run = build(grows, network="").fit(2)
    assert run.growth.context.journal.events("grew")[0].detail["held_out_loss"] > 0
    assert run.module.net.get_submodule("0.origin").out_features == 10


@pytest.mark.parametrize("apart", [False, True], ids=["one group", "a group for each parameter"])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(
    build: Any, tmp_path: Path, apart: bool
) -> None:
    grows = system(EveryNEpochs(2), deeper=not apart)
    first, second = build(grows), build(grows, seed=1)
    type(first.module).apart = apart
    first.fit(6, checkpoints(tmp_path))
    second.fit(6, checkpoints(tmp_path), path=tmp_path / "epoch=3.ckpt")
    assert shapes(first.module) == shapes(second.module)
    for name, parameter in first.module.named_parameters():
        assert torch.equal(parameter, second.module.get_parameter(name)), name
    assert first.growth.context.journal == second.growth.context.journal
    assert first.growth.context.history == second.growth.context.history


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
def test_steps_count_on_where_a_run_resumes_in_the_middle_of_an_epoch(
    build: Any, tmp_path: Path
) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    grows = system(EveryNSteps(3))
    first, second = build(grows), build(grows, seed=1)
    options: dict[str, Any] = {"save_top_k": -1, "every_n_train_steps": 5, "filename": "{step}"}
    first.fit(3, ModelCheckpoint(tmp_path, **options))
    second.fit(3, ModelCheckpoint(tmp_path, **options), path=tmp_path / "step=5.ckpt")
    steps = [
        [event.detail["step"] for event in run.growth.context.journal.events("grew")]
        for run in (first, second)
    ]
    assert steps[0] == steps[1] == [3, 6, 9, 12]
    assert first.growth.context.journal == second.growth.context.journal


def test_an_early_checkpoint_is_tested_after_the_network_grew_on(
    build: Any, tmp_path: Path
) -> None:
    run = build(system(EveryNEpochs(2))).fit(4, checkpoints(tmp_path))
    data = DataLoader(dataset(), 16)
    late, early = (
        run.trainer.test(run.module, data, ckpt_path=tmp_path / name, verbose=False)[0]["val_loss"]
        for name in ("epoch=3.ckpt", "epoch=0.ckpt")
    )
    assert shapes(run.module.net) == shapes(network())
    metrics = [record.metrics["val_loss"] for record in run.growth.context.history]
    assert early == pytest.approx(metrics[0], rel=1e-6)
    assert late < early


def test_weights_load_without_a_trainer(build: Any, tmp_path: Path) -> None:
    run = build(system(EveryNEpochs(1))).fit(2, checkpoints(tmp_path, save_weights_only=True))
    again = build(system(), seed=1).module
    carry_lineage(again.net)
    state = torch.load(tmp_path / "epoch=1.ckpt", weights_only=True)["state_dict"]
    again.load_state_dict(state)
    inputs = dataset().tensors[0]
    assert torch.equal(again(inputs), run.module(inputs))


def test_the_context_is_there_once_training_began(build: Any) -> None:
    with pytest.raises(RuntimeError, match="`fit` has begun"):
        _ = build(system()).growth.context


def test_several_processes_are_refused(build: Any) -> None:
    run = build(system())

    class Two:
        world_size = 2

    with pytest.raises(ValueError, match="one process; the trainer has 2"):
        run.growth.setup(Two(), run.module, "fit")
