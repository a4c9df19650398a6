"""Growth while Hugging Face's Trainer trains: optimizers, metrics, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

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
    network,
    samples,
    shapes,
    system,
)

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

pytestmark = pytest.mark.extras

LAYER = "bert.encoder.layer.0.intermediate.dense"


class Classifier(nn.Module):
    """What the Trainer asks of a model of one's own."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.net = network(seed)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.net(x)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def bert(seed: int = 0) -> Any:
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=8,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(seed)
    return transformers.BertForSequenceClassification(config)


def points() -> list[dict[str, Any]]:
    inputs, targets = samples(32)
    return [{"x": x, "labels": int(y)} for x, y in zip(inputs, targets, strict=True)]


def sentences() -> list[dict[str, Any]]:
    tokens = torch.randint(1, 20, (16, 4), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": int(row[0] > 10)} for row in tokens]


def run(
    grows: ComposableEvolutionSystem,
    folder: Path,
    *,
    model: Any = None,
    data: Any = None,
    **options: Any,
) -> Any:
    """A trainer with a callback; the callback is its ``growth``."""
    from structure_net.integrations.transformers import TransformersGrowth

    model = Classifier() if model is None else model
    growth = TransformersGrowth(grows, model, **options.pop("growth", {}))
    arguments = transformers.TrainingArguments(
        str(folder),
        **{
            "num_train_epochs": 4,
            "per_device_train_batch_size": 8,
            "learning_rate": 0.01,
            "eval_strategy": "epoch",
            "logging_strategy": "epoch",
            "save_strategy": "epoch",
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            **options,
        },
    )
    data = points() if data is None else data
    trainer = transformers.Trainer(
        model, arguments, train_dataset=data, eval_dataset=data, callbacks=[growth]
    )
    trainer.growth = growth
    return trainer


def grown_at(trainer: Any, key: str) -> list[Any]:
    return [event.detail[key] for event in trainer.growth.context.journal.events("grew")]


def test_growth_happens_between_epochs_and_the_optimizer_trains_all(tmp_path: Path) -> None:
    trainer = run(system(EveryNEpochs(2), "net.0"), tmp_path)
    trainer.train()
    parameters = list(trainer.model.parameters())
    held = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert grown_at(trainer, "epoch") == [2]
    assert held == {id(p) for p in parameters}
    assert all(trainer.optimizer.state[p]["exp_avg"].shape == p.shape for p in parameters)


def test_growth_happens_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    trainer = run(system(EveryNSteps(3), "net.0"), tmp_path, num_train_epochs=1)
    trainer.train()
    assert grown_at(trainer, "step") == [3]
    assert grown_at(trainer, "samples") == [24]


def test_a_step_is_one_of_the_optimizer(tmp_path: Path) -> None:
    trainer = run(system(EveryNSteps(2), "net.0"), tmp_path, gradient_accumulation_steps=2)
    trainer.train()
    assert [record.step for record in trainer.growth.context.history] == [2, 4, 6, 8]
    assert trainer.growth.context.history.samples == 128


@pytest.mark.parametrize("metric", ["loss", "eval_loss"])
def test_triggers_read_what_is_logged_and_evaluated_in_the_epoch(
    tmp_path: Path, metric: str
) -> None:
    trainer = run(system(MetricBelow(metric, 10.0), "net.0"), tmp_path, num_train_epochs=2)
    trainer.train()
    logged = [entry[metric] for entry in trainer.state.log_history if metric in entry]
    history = trainer.growth.context.history
    assert list(history.series(metric)) == pytest.approx(logged)
    assert metric in grown_at(trainer, "trigger")[0]


def test_epochs_end_where_nothing_is_evaluated(tmp_path: Path) -> None:
    options = {"eval_strategy": "no", "save_strategy": "no"}
    trainer = run(system(EveryNEpochs(1), "net.0"), tmp_path, num_train_epochs=2, **options)
    trainer.train()
    assert grown_at(trainer, "epoch") == [1]
    assert trainer.growth.context.history.epoch == 2


def test_evaluation_outside_of_training_is_no_epoch(tmp_path: Path) -> None:
    trainer = run(system(EveryNEpochs(1), "net.0"), tmp_path, num_train_epochs=1)
    trainer.train()
    trainer.evaluate()
    assert trainer.growth.context.history.epoch == 1


def test_a_trial_judges_by_data_of_ones_own(tmp_path: Path) -> None:
    grows = ComposableEvolutionSystem()
    whether = Trial(batches=2, performance_drop_threshold=9.0)
    grows.add_component(WiderAndDeeper("net.0"), when=EveryNEpochs(1), whether=whether)
    inputs, targets = samples(32)
    options = {"validation_loader": [({"x": inputs}, targets)]}
    trainer = run(grows, tmp_path, num_train_epochs=2, growth=options)
    trainer.train()
    assert grown_at(trainer, "held_out_loss")[0] > 0


def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    grows = system(EveryNEpochs(2), "net.0")
    first = run(grows, tmp_path)
    first.train()
    second = run(grows, tmp_path, model=Classifier(1))
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-12"))
    assert shapes(first.model) == shapes(second.model)
    for name, parameter in first.model.named_parameters():
        assert torch.equal(parameter, second.model.get_parameter(name)), name
    assert first.growth.context.journal == second.growth.context.journal


def test_a_resumed_bert_ends_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    """Its activation is not ReLU, so that the new layer has a parameter which weight decay spares
    until an optimizer is made anew; without decay, only the order of sums differs (single
    precision)."""
    grows = system(EveryNEpochs(1), LAYER)
    options = {"data": sentences(), "num_train_epochs": 3, "learning_rate": 1e-3}
    first = run(grows, tmp_path, model=bert(), **options)
    first.train()
    second = run(grows, tmp_path, model=bert(1), **options)
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert shapes(first.model) == shapes(second.model)
    for name, parameter in first.model.named_parameters():
        other = second.model.get_parameter(name)
        assert torch.allclose(parameter, other, rtol=0, atol=1e-6), name


def test_the_best_model_comes_back_after_the_model_grew_on(tmp_path: Path) -> None:
    trainer = run(
        system(EveryNEpochs(1), "net.0"),
        tmp_path,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=True,
    )
    trainer.train()
    best = tmp_path / "checkpoint-4" / "model.safetensors"
    assert trainer.state.best_model_checkpoint == str(best.parent)
    assert len(trainer.growth.context.journal.events("grew")) == 1
    loaded = load_file(best)
    assert all(torch.equal(p, loaded[name]) for name, p in trainer.model.named_parameters())


def test_saved_tensors_load_without_a_trainer(tmp_path: Path) -> None:
    trainer = run(system(EveryNEpochs(2), "net.0"), tmp_path)
    trainer.train()
    again = Classifier(1)
    carry_lineage(again)
    again.load_state_dict(load_file(tmp_path / "checkpoint-16" / "model.safetensors"))
    inputs = samples()[0]
    assert torch.equal(again(inputs)["logits"], trainer.model(inputs)["logits"])


def test_another_model_than_the_trainers_is_refused(tmp_path: Path) -> None:
    trainer = run(system(), tmp_path)
    trainer.model = trainer.model_wrapped = Classifier()
    with pytest.raises(ValueError, match="another Classifier"):
        trainer.train()


def test_labels_are_the_targets_of_a_batch() -> None:
    from structure_net.integrations.transformers import labels_apart

    inputs, targets = labels_apart({"x": 1, "labels": 2})
    assert (inputs, targets) == ({"x": 1}, 2)
    with pytest.raises(TypeError, match="'labels'"):
        labels_apart([1, 2])


def test_logits_are_judged_by_cross_entropy_where_they_are_a_classification() -> None:
    from structure_net.integrations.transformers import cross_entropy_of_logits

    logits, targets = torch.zeros(3, 2), torch.tensor([0, 1, 1])
    assert cross_entropy_of_logits({"logits": logits}, targets).item() == pytest.approx(0.6931472)
    with pytest.raises(ValueError, match="no classification"):
        cross_entropy_of_logits({"logits": torch.zeros(3, 4, 2)}, torch.zeros(3, 4).long())


def test_the_context_is_there_once_training_began(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="`train` has begun"):
        _ = run(system(), tmp_path).growth.context
