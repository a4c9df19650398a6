"""What a user prints or looks at in a notebook says what it is, in few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neural_architecture_lab import (
    Arm,
    Hypothesis,
    HypothesisCategory,
    Insight,
    LabConfig,
    NeuralArchitectureLab,
    Prediction,
    Trial,
)
from neural_architecture_lab.insights import Insights
from structure_net.data import TensorBatches
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import ExtremaGrowthStrategy, StandardExtremaAnalyzer
from structure_net.logging import RecordStream, Spool
from structure_net.logging.records import Epoch
from structure_net.logging.series import Series
from structure_net.logging.sinks import SeriesSink
from structure_net.surgery import (
    AddNeurons,
    EditEntry,
    Journal,
    apply,
    load_checkpoint,
    save_checkpoint,
)

LINE = 200


def experiment(trial: Trial, *, device: str) -> dict[str, float]:
    return {"score": (trial.arm == "bonus") + trial.seed * 0.1}


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def context() -> NetworkContext:
    return NetworkContext(network(), TensorBatches(torch.zeros(8, 8), torch.zeros(8).long(), 4))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> NeuralArchitectureLab:
    folder = tmp_path_factory.mktemp("results")
    lab = NeuralArchitectureLab(LabConfig(results_dir=str(folder)))
    lab.register_hypothesis(
        Hypothesis(
            "A bonus helps",
            HypothesisCategory.TRAINING,
            "Does a bonus help?",
            "It hurts.",
            experiment=experiment,
            arms=[Arm("plain", control=True), Arm("bonus", {"given": True})],
            predictions=[Prediction("score", "lower")],
            seeds=6,
        )
    )
    return lab


def test_what_a_lab_gives_back_is_shown_in_a_line(lab: NeuralArchitectureLab) -> None:
    results = lab.run_all()
    (result,) = results.values()
    report = lab.generate_report()
    shown: list[Any] = [lab, lab.archive, results, result.review, result.design, report]
    for one in shown:
        assert len(repr(one)) < LINE, one
        assert " object at 0x" not in repr(one)
    assert "REFUTED after 6 of 6 seeds" in repr(result)
    assert report._repr_markdown_() == str(report)


def test_insights_are_printed_a_ranked_line_each(lab: NeuralArchitectureLab) -> None:
    lab.run_all()
    found = lab.extract_insights()
    lines = str(found).splitlines()
    assert len(lines) == len(found) >= 1
    assert [line.split(".")[0] for line in lines] == [str(n + 1) for n in range(len(found))]
    assert lines[0] == f"1. {found[0].kind}: {found[0]}"
    assert repr(found) == str(found)
    assert "follow_up" not in repr(found[0])


def test_no_insight_is_said_in_words() -> None:
    assert str(Insights()).startswith("Nothing was found beyond the verdicts")
    assert repr(Insight("trend", "It rises.", ("h",), "t", 0.01, {})).startswith("Insight(trend: ")


def test_a_checkpoint_says_what_it_holds(tmp_path: Path) -> None:
    model, example, journal = network(), torch.randn(2, 8), Journal()
    optimizer = torch.optim.Adam(model.parameters())
    apply(model, AddNeurons("0", 4), example, optimizer=optimizer)
    journal.append(EditEntry(AddNeurons("0", 4), seed=0))
    save_checkpoint(
        tmp_path / "net", model, optimizer=optimizer, journal=journal, example=example, iteration=3
    )
    found = load_checkpoint(tmp_path / "net", network())
    words = "Sequential: 4 tensors, Adam, iteration 3, Journal(1 edits, 0 events)"
    assert repr(found) == f"Checkpoint({words})"
    assert repr(found.header) == f"CheckpointHeader({words})"


def test_what_evolves_is_shown_in_a_line() -> None:
    made = context()
    assert repr(made) == (
        "NetworkContext(Sequential, iteration 0, TrainingHistory(0 epochs),"
        " Journal(0 edits, 0 events))"
    )
    system = ComposableEvolutionSystem([StandardExtremaAnalyzer(), ExtremaGrowthStrategy()])
    names = "StandardExtremaAnalyzer, ExtremaGrowthStrategy"
    assert repr(system) == f"ComposableEvolutionSystem([{names}])"
    assert len(repr(system.attach(network(), data_loader=made.data_loader))) < LINE


def test_time_series_say_their_tables_and_columns(tmp_path: Path) -> None:
    epoch = Epoch(epoch=1, step=2, metrics={"train_loss": 0.5}, parameters=3, connections=2)
    with RecordStream(Spool(tmp_path), [SeriesSink()]) as stream:
        stream.emit(epoch)
    with Series(tmp_path / "series.h5") as series:
        assert repr(series) == f"Series('{series.path}': {', '.join(series.tables)})"
        assert repr(series["epoch"]).startswith("Table('epoch', 1 rows, columns ")
        assert repr(series["epoch"]["train_loss"]) == "Column('train_loss', 1 rows)"
