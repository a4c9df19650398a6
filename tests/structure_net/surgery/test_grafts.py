"""Depth that is the identity at birth: what it does to the model around it."""

import copy
import pickle
from functools import cache

import pytest
import torch
from torch import nn

from structure_net.core import StandardSparseLayer, create_standard_network
from structure_net.errors import SurgeryError
from structure_net.surgery import (
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    InsertLayer,
    RemoveLayer,
    RemoveSkipConnection,
    apply,
    edit,
)
from structure_net.surgery.grafts import Grafted, InsertedLayer, SkipSource


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(3, 4, 3, padding=1)
        self.c2 = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.fc = nn.Linear(6 * 16, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.c2(torch.relu(self.c1(x))))
        return self.head(torch.relu(self.fc(x.flatten(1))))


EDITS = [
    InsertLayer("c1"),
    InsertLayer("c2", None, "silu"),
    InsertLayer("fc", 3, "gelu"),
    InsertLayer("fc", 8, "tanh"),
    AddResidualBlock("c2", 3, "gelu"),
    AddSkipConnection("c1", "c2"),
    AddSkipConnection("c1", "fc"),
    AddNeurons("c1", 2),
]


def network() -> tuple[Net, torch.Tensor]:
    torch.manual_seed(0)
    return Net().double(), torch.randn(2, 3, 8, 8, dtype=torch.float64)


@cache
def original() -> Net:
    model, x = network()
    for change in EDITS:
        edit(model, change, x)
    return model


def deepened() -> tuple[Net, torch.Tensor]:
    return copy.deepcopy(original()), network()[1]


def test_a_stack_of_grafts_keeps_the_function() -> None:
    model, x = network()
    before = model(x)
    for change in EDITS:
        edit(model, change, x, verify=False)
        torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)


def test_copies_pickles_states_and_exports_compute_the_same() -> None:
    model, x = deepened()
    before = model(x)
    copied = copy.deepcopy(model)
    loaded = pickle.loads(pickle.dumps(model))
    exported = torch.export.export(model, (x,), strict=False).module()
    for other in (copied, loaded, exported):
        torch.testing.assert_close(other(x), before, rtol=0, atol=1e-12)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    copied.load_state_dict(model.state_dict())
    torch.testing.assert_close(copied(x), before, rtol=0, atol=0)


def test_every_newborn_parameter_of_an_inserted_layer_receives_a_gradient() -> None:
    model, x = network()
    edit(model, InsertLayer("c1", None, "gelu"), x)
    edit(model, AddSkipConnection("c1", "c2"), x)
    model(x).square().sum().backward()
    born = [p for n, p in model.named_parameters() if ".grafts." in n]
    assert len(born) == 4
    assert all(bool(p.grad.count_nonzero()) for p in born)


def test_a_relu_in_front_of_a_relu_is_inserted_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.randn(5, 3)
    edit(model, InsertLayer("0"), x)
    edit(model, InsertLayer("2"), x)
    assert isinstance(model[0].grafts["inserted1"].activation, nn.ReLU)
    assert not isinstance(model[2].grafts["inserted1"].activation, nn.ReLU)


def test_a_residual_that_also_reads_the_layer_forbids_the_plain_relu() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.a(x)
            return torch.relu(y) + y

    model, x = Twice().double(), torch.randn(4, 3, dtype=torch.float64)
    before = model(x)
    edit(model, InsertLayer("a"), x)
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)


def test_carriers_are_empty_after_the_forward_and_after_a_failure_the_next_one_is_right() -> None:
    model, x = network()
    before = model(x)
    edit(model, AddSkipConnection("c1", "fc"), x)
    with torch.no_grad():
        model.fc.grafts["skip1"].project.weight.fill_(0.1)
    right = model(x)
    assert not torch.allclose(right, before)
    source = next(m for m in model.modules() if isinstance(m, SkipSource))
    assert len(source.carrier._local.held) == 0
    model.c1(x)
    torch.testing.assert_close(model(x), right, rtol=0, atol=0)


def test_a_target_without_its_source_says_so() -> None:
    model, x = network()
    edit(model, AddSkipConnection("c1", "fc"), x)
    with pytest.raises(SurgeryError, match="ran before its source"):
        model.fc(torch.randn(2, 96, dtype=torch.float64))


def test_a_grafted_layer_answers_for_the_layer() -> None:
    model, x = network()
    weight = model.fc.weight
    edit(model, InsertLayer("fc"), x)
    assert isinstance(model.fc, Grafted)
    assert model.fc.weight is weight
    assert model.fc.out_features == 5
    edit(model, AddNeurons("fc", 2), x)
    assert model.fc.out_features == 7
    with pytest.raises(AttributeError):
        _ = model.fc.nothing


def test_removing_what_was_inserted_gives_the_old_tree_back() -> None:
    model, x = network()
    tree, before = repr(model), model(x)
    optimizer = torch.optim.Adam(model.parameters())
    for change in EDITS[:2] + EDITS[4:7]:
        edit(model, change, x, optimizer=optimizer)
    for change in (
        RemoveSkipConnection("c1", "fc"),
        RemoveSkipConnection("c1", "c2"),
        RemoveLayer("c2.grafts.residual1"),
        RemoveLayer("c2.grafts.inserted1.linear"),
        RemoveLayer("c1.grafts.inserted1"),
    ):
        edit(model, change, x, optimizer=optimizer)
    assert repr(model) == tree
    assert len(optimizer.param_groups[0]["params"]) == len(list(model.parameters()))
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (AddSkipConnection("head", "c1"), "source before its target"),
        (AddSkipConnection("c1", "c1"), "source before its target"),
        (AddSkipConnection("c1", "c2"), "connected to 'c2' already"),
        (AddSkipConnection("fc", "c2"), "source before its target"),
        (RemoveSkipConnection("c2", "fc"), "no skip connection"),
        (RemoveLayer("head"), "was not put there"),
        (RemoveLayer("fc.grafts.inserted2"), "reads 5 channels and writes 8"),
        (RemoveLayer("c2.grafts.skip1"), "use RemoveSkipConnection"),
        (InsertLayer("fcc"), "nearest is 'fc'"),
        (InsertLayer("fc", 0), "at least 1"),
        (InsertLayer("head", 5), "fixed by the model's output"),
    ],
)
def test_refusals_say_why_and_touch_nothing(change: object, reason: str) -> None:
    model, x = deepened()
    tree, state = repr(model), copy.deepcopy(model.state_dict())
    with pytest.raises(SurgeryError, match=reason):
        edit(model, change, x)
    assert repr(model) == tree
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in state.items())


def test_fused_inference_of_an_encoder_layer_does_not_pass_a_graft_by() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model, x = nn.Sequential(nn.Linear(5, 8), layer, nn.Linear(8, 2)).eval(), torch.randn(2, 3, 5)
    before = model(x)
    edit(model, InsertLayer("1.linear1", None, "gelu"), x)
    with torch.no_grad():
        torch.testing.assert_close(model(x), before, rtol=0, atol=1e-5)
        model[1].linear1.grafts["inserted1"].linear.bias.fill_(1.0)
        assert not torch.allclose(model(x), before, atol=1e-3)
    with pytest.raises(SurgeryError, match="never calls"):
        edit(model, InsertLayer("1.self_attn.out_proj"), x)


def test_layers_inserted_into_a_sparse_network_are_sparse() -> None:
    model = create_standard_network([12, 10, 8, 3], density=0.3, seed=0).double()
    x = torch.randn(4, 12, dtype=torch.float64)
    before = model(x)
    done = apply(model, InsertLayer("layers.0"), x)
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)
    inserted = model.layers[0].grafts["inserted1"]
    assert isinstance(inserted, InsertedLayer)
    assert isinstance(inserted.linear, StandardSparseLayer)
    assert 10 <= len(inserted.linear.pattern) < 100
    model(x).square().sum().backward()
    done.undo()
    assert not any(isinstance(module, Grafted) for module in model.modules())


def test_the_newborn_join_the_group_of_their_neighbour_at_the_next_step() -> None:
    model, x = network()
    optimizer = torch.optim.SGD(
        [
            {"params": model.c1.parameters(), "lr": 0.5},
            {"params": [*model.c2.parameters(), *model.fc.parameters(), *model.head.parameters()]},
        ],
        lr=0.1,
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    edit(model, InsertLayer("c1"), x)
    model(x).sum().backward()
    optimizer.step()
    schedule.step()
    assert len(optimizer.param_groups) == 2
    born = [p for n, p in model.named_parameters() if "inserted1" in n]
    assert all(any(p is q for q in optimizer.param_groups[0]["params"]) for p in born)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 4)
        self.b = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.b(torch.relu(self.a(x))) - self.b(torch.relu(self.a(y)))


def test_layers_that_run_twice_take_blocks_and_refuse_skips() -> None:
    torch.manual_seed(0)
    model, inputs = Shared().double(), tuple(torch.randn(2, 5, 3, dtype=torch.float64))
    before = model(*inputs)
    for change in (InsertLayer("a"), InsertLayer("b", None, "gelu"), AddResidualBlock("a", 2)):
        edit(model, change, inputs)
        torch.testing.assert_close(model(*inputs), before, rtol=0, atol=1e-12)
    with pytest.raises(SurgeryError, match="runs 2 times"):
        edit(model, AddSkipConnection("a", "b"), inputs)
