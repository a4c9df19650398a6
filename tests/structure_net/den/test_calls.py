"""The ways in which `DENTrainer.train` may be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from structure_net.den import DENTrainer, DynamicExpandableNetwork
from structure_net.den.calls import TrainCall, train_call

BATCHES = [(torch.zeros(4, 2), torch.zeros(4, 1))]


@pytest.mark.parametrize(
    ("given", "named", "asked"),
    [
        ((3,), {}, TrainCall(3)),
        ((3, False), {"val_loader": BATCHES}, TrainCall(3, False, BATCHES)),
        ((), {"epochs": 3}, TrainCall(3)),
        ((BATCHES,), {"epochs": 3}, TrainCall(3, True, BATCHES)),
        ((BATCHES, 3, False), {}, TrainCall(3, False, BATCHES)),
        ((None, 3), {"enable_growth": False}, TrainCall(3, False)),
    ],
)
def test_epochs_or_held_out_batches_stand_behind_the_batches(
    given: Sequence[Any], named: Mapping[str, Any], asked: TrainCall
) -> None:
    assert train_call(given, named) == asked


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        ((), {}, r"needs the number of epochs: train\(loader, epochs=50\)"),
        ((BATCHES,), {}, "needs the number of epochs"),
        ((3,), {"epochs": 3}, "got epochs twice"),
        ((BATCHES,), {"epochs": 3, "val_loader": BATCHES}, "got val_loader twice"),
        ((3,), {"epoch": 3}, "got epoch"),
        ((3, True, BATCHES), {}, "got 4 values"),
        ((3,), {"val_loader": 5}, "val_loader must yield batches; got 5"),
        (("x",), {"epochs": 1.5}, "epochs must be a whole number; got 1.5"),
    ],
)
def test_other_calls_are_refused_in_words(
    given: Sequence[Any], named: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        train_call(given, named)


def test_held_out_batches_are_measured_wherever_they_stand() -> None:
    def trainer() -> DENTrainer:
        network = DynamicExpandableNetwork(2, 1, [3], task_type="regression", seed=0)
        return DENTrainer(network, verbose=False)

    for history in (
        trainer().train(BATCHES, BATCHES, epochs=2),
        trainer().train(BATCHES, 2, val_loader=BATCHES),
        trainer().train(BATCHES, BATCHES, 2, False),
    ):
        assert all(loss is not None for loss in history["val_loss"])
        assert len(history["val_loss"]) == 2
