"""What reset units gave on average goes to the biases of their readers."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import SparseConv2d, StandardSparseLayer
from structure_net.core.changes import assign
from structure_net.errors import SurgeryError
from structure_net.graph import trace
from structure_net.surgery import (
    EditEntry,
    Journal,
    ResetNeurons,
    apply,
    operate,
    plan,
    replay,
)
from structure_net.surgery.moves import PassOn
from structure_net.surgery.passing_on import passed_on, with_means

EXACT = 1e-12


def linear() -> nn.Sequential:
    """Three hidden units whose readers are known."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
        model[2].bias.copy_(torch.tensor([10.0, 20.0]))
    return model


def test_each_bias_gets_the_weights_times_the_means() -> None:
    """By hand: 10 + 2 * .5 - 3 * 2 = 5 and 20 + 5 * .5 - 6 * 2 = 10.5."""
    model = linear()
    apply(model, ResetNeurons("0", (1, 2), (0.5, -2.0)), torch.zeros(2, 2).double())
    assert model[2].bias.tolist() == [5.0, 10.5]
    assert model[2].weight.tolist() == [[1.0, 0.0, 0.0], [4.0, 0.0, 0.0]]


def models() -> dict[str, tuple[nn.Sequential, Tensor]]:
    torch.manual_seed(0)
    images, rows = torch.randn(16, 2, 5, 5).double(), torch.randn(16, 4).double()
    made = {
        "dense": (nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3)), rows),
        "convolutions": (nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 3, 3)), images),
        "flattened": (
            nn.Sequential(
                nn.Conv2d(2, 5, 3), nn.ReLU(), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(5, 3)
            ),
            images,
        ),
        "sparse": (
            nn.Sequential(
                StandardSparseLayer(4, 5, density=0.8),
                nn.ReLU(),
                StandardSparseLayer(5, 3, density=0.8),
            ),
            rows,
        ),
        "sparse convolutions": (
            nn.Sequential(SparseConv2d(2, 5, 3, density=0.8), nn.ReLU(), SparseConv2d(5, 3, 3)),
            images,
        ),
        "sparse single weights": (
            nn.Sequential(
                SparseConv2d(2, 5, 3, density=0.8),
                nn.ReLU(),
                SparseConv2d(5, 3, 3, density=0.3, granularity="weight"),
            ),
            images,
        ),
        "weight norm": (
            nn.Sequential(
                nn.Linear(4, 5),
                nn.ReLU(),
                nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)),
            ),
            rows,
        ),
    }
    return {name: (model.double(), inputs) for name, (model, inputs) in made.items()}


@pytest.mark.parametrize("name", [name for name in models() if "sparse" not in name])
def test_the_function_stays_where_the_units_are_at_their_means(name: str) -> None:
    """A unit with weights of zero is constant: its mean is all that it gives."""
    model, inputs = models()[name]
    with torch.no_grad():
        model[0].bias[[1, 3]] = 0.7
        model[0].weight[[1, 3]] = 0.0
    before, hidden = model(inputs), model[:2](inputs)
    means = hidden.transpose(0, 1).flatten(1).mean(1)[[1, 3]]
    apply(model, ResetNeurons("0", (1, 3), tuple(means.tolist())), inputs[:2])
    torch.testing.assert_close(model(inputs), before, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("either_storage")
@pytest.mark.parametrize("name", ["sparse", "sparse convolutions", "sparse single weights"])
def test_sparse_readers_hand_over_what_their_connections_give(name: str) -> None:
    model, inputs = models()[name]
    weight, bias = model[2].dense_weight().detach(), model[2].bias.detach().clone()
    apply(model, ResetNeurons("0", (1, 3), (0.5, 2.0)), inputs[:2])
    given = (0.5 * weight[:, 1] + 2.0 * weight[:, 3]).reshape(3, -1).sum(1)
    torch.testing.assert_close(model[2].bias.detach(), bias + given, rtol=0, atol=EXACT)


@pytest.mark.usefixtures("either_storage")
def test_a_sparse_reader_without_connections_is_given_nothing() -> None:
    model, inputs = models()["sparse convolutions"]
    assign(model[2], model[2].reindexed(1, [-1] * 5, new="empty"))
    model[2].settle()
    assert not len(model[2].pattern)
    bias = model[2].bias.detach().clone()
    apply(model, ResetNeurons("0", (1, 3), (0.5, 2.0)), inputs[:2], verify=False)
    assert torch.equal(model[2].bias, bias)


def test_the_mean_of_a_linear_readers_output_stays() -> None:
    model, inputs = models()["dense"]
    before, hidden = model(inputs).mean(0), model[:2](inputs).mean(0)
    apply(model, ResetNeurons("0", (0, 4), tuple(hidden[[0, 4]].tolist())), inputs[:2])
    torch.testing.assert_close(model(inputs).mean(0), before, rtol=0, atol=EXACT)


def test_a_reader_without_a_bias_and_a_reset_without_means_leave_biases_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2, bias=False)).double()
    apply(model, ResetNeurons("0", (1,), (0.5,)), torch.zeros(2, 2).double())
    assert model[2].bias is None
    other = linear()
    apply(other, ResetNeurons("0", (1,)), torch.zeros(2, 2).double())
    assert other[2].bias.tolist() == [10.0, 20.0]


def test_it_is_taken_back_bit_for_bit_and_optimizers_keep_the_biases_state() -> None:
    model, inputs = models()["dense"]
    optimizer = torch.optim.Adam(model.parameters())
    model(inputs).square().mean().backward()
    optimizer.step()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"]))
    moment = optimizer.state[model[2].bias]["exp_avg"].clone()
    edit = ResetNeurons("0", (2,), (3.0,))
    done = apply(model, edit, inputs[:2], optimizer=optimizer)
    assert torch.equal(optimizer.state[model[2].bias]["exp_avg"], moment)
    assert not torch.equal(model[2].bias, before[0]["2.bias"])
    done.undo()
    assert all(torch.equal(model.state_dict()[name], old) for name, old in before[0].items())
    assert str(optimizer.state_dict()["state"]) == str(before[1])


def test_the_plan_is_a_value_and_the_journal_replays_it() -> None:
    model, example = linear(), torch.zeros(2, 2).double()
    edit = ResetNeurons("0", (2, 0), (1.5, 0.25))
    graph = trace(model, example)
    moves = plan(edit, graph)
    assert moves[-1] == PassOn("2", "weight", "bias", (0, 2), (0.25, 1.5))
    assert passed_on(edit, graph.group("0")) == moves[-1:]
    (change,) = with_means(model, moves[-1:], ())
    assert change.data.tolist() == [10.0 + 0.25 + 4.5, 20.0 + 1.0 + 9.0]
    operate(model, moves)
    assert model[2].bias.tolist() == change.data.tolist()
    journal = Journal.from_json(Journal([EditEntry(edit)]).to_json())
    assert journal.edits[0].edit == edit
    twin = replay(linear(), journal, example)
    assert twin[2].bias.tolist() == change.data.tolist()


def test_an_older_journal_has_no_means() -> None:
    edit = ResetNeurons("0", (1,))
    stored = json.loads(Journal([EditEntry(edit)]).to_json())
    del stored["entries"][0]["edit"]["means"]
    assert Journal.from_json(json.dumps(stored)).edits[0].edit == edit


@pytest.mark.parametrize(
    ("means", "said"),
    [((1.0, 2.0), "one finite number for each of the 1 units"), ((float("nan"),), "finite")],
)
def test_means_that_fit_no_unit_are_refused(means: tuple[float, ...], said: str) -> None:
    with pytest.raises(SurgeryError, match=said):
        apply(linear(), ResetNeurons("0", (1,), means), torch.zeros(2, 2).double())


def test_readers_that_no_mean_can_be_handed_to_are_refused() -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 1), nn.ReLU(), nn.ConvTranspose1d(4, 2, 3, stride=2))
    with pytest.raises(SurgeryError, match="no weight of outputs by inputs"):
        apply(model, ResetNeurons("0", (1,), (0.5,)), torch.zeros(1, 2, 5))
    with pytest.raises(TypeError, match="means must be numbers"):
        ResetNeurons("0", (1,), 0.5)  # type: ignore[arg-type] # the mistake
