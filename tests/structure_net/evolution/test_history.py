from __future__ import annotations

import json
import pickle

import pytest

from structure_net.evolution import EpochRecord, TrainingHistory


def record(epoch: int, loss: float = 1.0, *, seconds: float = 0.0) -> EpochRecord:
    return EpochRecord(epoch, 0, 10 * epoch, {"train_loss": loss}, 7, 5, seconds)


def test_records_agree_when_only_the_clock_differs() -> None:
    assert record(1, seconds=1.0) == record(1, seconds=2.0)
    assert record(1, 1.0) != record(1, 2.0)


def test_a_history_survives_json_and_pickle() -> None:
    history = TrainingHistory([record(1, 0.5, seconds=3.0), record(2, 0.25)])
    stored = json.loads(json.dumps(history.to_list()))
    assert TrainingHistory.from_list(stored) == history
    assert TrainingHistory.from_list(stored)[0].seconds == 3.0
    assert pickle.loads(pickle.dumps(history)) == history


def test_a_fork_goes_on_by_itself() -> None:
    history = TrainingHistory([record(1)])
    fork = history.fork()
    fork.append(record(2))
    assert len(history) == 1
    assert len(fork) == 2
    assert (fork.epoch, fork.step) == (2, 20)


def test_an_epoch_must_follow_the_last_one() -> None:
    history = TrainingHistory([record(2)])
    with pytest.raises(ValueError, match="must follow epoch 2; got 2"):
        history.append(record(2))


def test_a_series_leaves_out_epochs_that_did_not_measure_it() -> None:
    other = EpochRecord(2, 0, 20, {"validation_loss": 3.0}, 7, 5)
    history = TrainingHistory([record(1, 0.5), other, record(3, 0.25)])
    assert history.series("train_loss") == (0.5, 0.25)
    assert [r.epoch for r in history.since(1)] == [2, 3]


def test_the_metrics_of_a_record_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        record(1).metrics["train_loss"] = 0.0  # type: ignore[index]
