"""What does not fit a checkpoint is refused in one line, and nothing is touched."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

from structure_net.core import create_standard_network
from structure_net.errors import CheckpointError
from structure_net.surgery import load_checkpoint, save_checkpoint


class Tied(nn.Module):
    """A model of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embedding.weight


def dropout_net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
    )


def refused(path: Path, message: str, model: nn.Module | None = None, **options: Any) -> None:
    """Checks that a load is refused in one line, and that nothing was touched."""
    before = None if model is None else copy.deepcopy(model)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path, model, **options)
    assert "\n" not in str(caught.value)
    if model is not None and before is not None:
        old, new = before.state_dict(), model.state_dict()
        assert all(torch.equal(old[name], new[name]) for name in old | new)


def test_a_model_that_does_not_fit_is_refused_with_the_first_differences(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    refused(
        path,
        r"'0.weight' has shape \(5, 3\), the checkpoint's \(4, 3\); '0.bias' .*build the model",
        nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)),
    )
    refused(path, r"'2.weight' is missing in the model", nn.Sequential(nn.Linear(3, 4)))
    refused(
        path,
        r"'3.weight' is not in the checkpoint; '3.bias' is not in the checkpoint\.",
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.Linear(2, 2)),
    )
    refused(
        path,
        r"'0.weight' is torch.float64, the checkpoint's is torch.float32: convert the model first",
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double(),
    )


def test_a_model_of_ones_own_cannot_come_from_the_file_alone(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", Tied())
    refused(tmp_path / "c", r"holds a Tied, which only the program that defines it can build")


def test_an_optimizer_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = dropout_net()
    save_checkpoint(tmp_path / "c", model, optimizer=torch.optim.Adam(model.parameters()))
    fresh = dropout_net()
    for optimizer, message in [
        (torch.optim.SGD(fresh.parameters()), "the state of a Adam; got a SGD"),
        (
            torch.optim.Adam(fresh.get_submodule("0").parameters()),
            "lacks parameters that were saved: '1.weight'",
        ),
        (
            torch.optim.Adam([{"params": [p]} for p in fresh.parameters()]),
            "has 1 parameter groups; the one given has 6",
        ),
        (torch.optim.Adam(dropout_net().parameters()), "Parameter 0 .* is not in the model"),
    ]:
        refused(tmp_path / "c", message, fresh, optimizer=optimizer)
    save_checkpoint(tmp_path / "d", model)
    refused(
        tmp_path / "d",
        "holds no optimizer: none was given",
        fresh,
        optimizer=torch.optim.Adam(fresh.parameters()),
    )
    network = create_standard_network([4, 3], seed=0)
    save_checkpoint(tmp_path / "e", network)
    refused(
        tmp_path / "e",
        "An optimizer needs the model",
        optimizer=torch.optim.Adam(network.parameters()),
    )


def test_a_scheduler_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = dropout_net()
    optimizer = torch.optim.SGD(model.parameters())
    scheduler = CosineAnnealingLR(optimizer, 3)
    save_checkpoint(tmp_path / "c", model, scheduler=scheduler)
    refused(
        tmp_path / "c",
        "state of a CosineAnnealingLR; got a MultiStepLR",
        dropout_net(),
        scheduler=MultiStepLR(optimizer, [2]),
    )


def test_what_cannot_be_stored_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    model, wide = nn.Linear(2, 2), torch.zeros(1, dtype=torch.complex128)
    for message, options in [
        (r"'metadata.when' is a set", {"metadata": {"when": {1}}}),
        (r"'history.1.loss' is a complex", {"history": [{}, {"loss": 1j}]}),
        (r"'metadata.x' has the type torch.complex128", {"metadata": {"x": wide}}),
        (r"'metadata.x' is sparse", {"metadata": {"x": torch.eye(2).to_sparse()}}),
        (r"is not in the model", {"optimizer": torch.optim.SGD(nn.Linear(2, 2).parameters())}),
    ]:
        with pytest.raises(CheckpointError, match=message):
            save_checkpoint(tmp_path / "c", model, **options)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"'model.weight' is on the meta device"):
        save_checkpoint(tmp_path / "c", nn.Linear(2, 2, device="meta"))
    assert list(tmp_path.iterdir()) == []
