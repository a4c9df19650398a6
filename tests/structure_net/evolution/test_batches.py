from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core.running import evaluate
from structure_net.core.undoing import Undoing
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.batches import (
    batch_length,
    batches,
    example_of,
    forward,
    loss_of,
    number_of_batches,
    random_state_kept,
    to_device,
)
from structure_net.evolution.components import StandardExtremaAnalyzer, StandardNetworkTrainer


class Adder(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b


def test_inputs_are_one_argument_several_or_keywords() -> None:
    a, b = torch.ones(2), torch.full((2,), 2.0)
    assert torch.equal(forward(Adder(), (a, b)), a + b)
    assert torch.equal(forward(Adder(), {"a": a, "b": b}), a + b)
    assert torch.equal(forward(nn.Identity(), a), a)
    with pytest.raises(TypeError, match="tensor, a tuple or a mapping; got str"):
        forward(Adder(), "text")


def test_a_loader_that_yields_no_pairs_is_refused() -> None:
    with pytest.raises(TypeError, match=r"pairs \(inputs, targets\); got tuple of length 3"):
        list(batches([(1, 2, 3)], "cpu"))  # type: ignore[list-item]


def test_a_batch_without_samples_is_refused() -> None:
    empty = (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    with pytest.raises(ValueError, match="batches of one sample or more; got an empty one"):
        list(batches([empty], "cpu"))
    network = torch.nn.Linear(3, 2)
    system = ComposableEvolutionSystem([StandardExtremaAnalyzer()])
    with pytest.raises(ValueError, match="got an empty one"):
        system.analyze(NetworkContext(network, [empty]))


def test_no_more_batches_are_drawn_than_asked_for() -> None:
    drawn: list[int] = []

    def loader() -> object:
        for n in range(5):
            drawn.append(n)
            yield torch.zeros(1), torch.zeros(1)

    assert len(list(batches(loader(), "cpu", 2))) == 2  # type: ignore[arg-type]
    assert drawn == [0, 1]


def test_an_example_keeps_the_first_samples_of_each_tensor_of_the_batch() -> None:
    batch = {"x": torch.arange(12.0).view(4, 3), "scale": torch.ones(7), "flag": True}
    example = example_of(batch)
    assert torch.equal(example["x"], batch["x"][:2])  # type: ignore[index]
    assert example["scale"].shape == (7,)
    assert example["flag"] is True
    assert [len(part) for part in example_of((torch.zeros(5, 1), torch.zeros(5)))] == [2, 2]


def test_containers_keep_their_kind_on_the_way_to_a_device() -> None:
    moved = to_device({"x": [torch.ones(1), (torch.ones(1), "word")]}, "meta")
    assert moved["x"][0].device.type == "meta"
    assert isinstance(moved["x"], list)
    assert isinstance(moved["x"][1], tuple)
    assert moved["x"][1][1] == "word"


def test_the_length_of_a_batch_is_that_of_its_first_tensor() -> None:
    assert batch_length(torch.zeros(5, 2)) == 5
    assert batch_length({"a": torch.zeros(3), "b": torch.zeros(3)}) == 3
    assert batch_length((torch.zeros(4), torch.zeros(4))) == 4
    assert batch_length(torch.tensor(1.0)) == 1


def test_each_module_gets_its_own_mode_back_even_after_an_error() -> None:
    network = nn.Sequential(nn.Dropout(), nn.Dropout())
    network.train()
    network[1].eval()
    seen: list[bool] = []

    def look() -> None:
        with (undo := Undoing()):
            evaluate(network, undo)
            seen.append(network[0].training)
            raise KeyError

    with pytest.raises(KeyError):
        look()
    assert seen == [False]
    assert [m.training for m in network.modules()] == [True, True, False]


class Endless(torch.utils.data.IterableDataset[int]):
    def __iter__(self):  # type: ignore[no-untyped-def]  # the base leaves it untyped
        return iter(int, 1)


def test_the_number_of_batches_is_known_where_the_loader_knows_it() -> None:
    assert number_of_batches([1, 2, 3]) == 3
    assert number_of_batches(iter([1])) is None
    assert number_of_batches(torch.utils.data.DataLoader(Endless())) is None


def test_what_a_block_draws_is_drawn_again_behind_it_even_if_it_fails() -> None:
    drawn: list[float] = []
    with random_state_kept("cpu"):
        drawn.append(float(torch.rand(())))
    with pytest.raises(ZeroDivisionError), random_state_kept("cpu"):
        drawn.append(float(torch.rand(())) / 0)
    with random_state_kept("cpu"):
        drawn.append(float(torch.rand(())))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("loss", [lambda y, t: y - t, lambda y, t: float((y - t).sum())])
def test_a_loss_is_one_number(loss: Any) -> None:
    with pytest.raises(TypeError, match="loss must give a tensor of one number"):
        loss_of(loss, torch.zeros(3), torch.zeros(3))


def test_the_trainer_refuses_a_loss_for_each_sample() -> None:
    network = nn.Linear(2, 1)
    data = [(torch.zeros(4, 2), torch.zeros(4, 1))]
    context = NetworkContext(network, data, loss=nn.MSELoss(reduction="none"))
    with pytest.raises(TypeError, match=r"got Tensor of shape \(4, 1\)\. Take the mean"):
        StandardNetworkTrainer(1).train(context)
