"""How exactly outputs are compared, and that comparing leaves no trace."""

from typing import Any

import pytest
import torch
from torch import nn

from structure_net.core import StandardSparseLayer
from structure_net.errors import SurgeryError
from structure_net.graph import graph_of
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    RemoveConnections,
    RemoveNeurons,
    apply,
    edit,
    verifying,
)


def precisions() -> list[str]:
    backends: Any = torch.backends
    kinds = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    return [kind.fp32_precision for kind in kinds]


class Asking(nn.Module):
    """Notes the precision that it runs in."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.seen: list[list[str]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(precisions())
        return self.linear(x)


def test_outputs_are_computed_without_tf32_and_the_settings_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", list)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", list)
    before, allowed = precisions(), torch.backends.cudnn.allow_tf32
    model = Asking()
    verifying.observe(model, torch.ones(1, 2))
    assert model.seen == [["ieee"] * 3]
    assert (precisions(), torch.backends.cudnn.allow_tf32) == (before, allowed)


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-6), (torch.float32, 1e-4), (torch.bfloat16, 1e-1)]
)
def test_the_bound_depends_on_the_dtype_alone(dtype: torch.dtype, bound: float) -> None:
    assert verifying.tolerance(torch.zeros(1, dtype=dtype)) == bound


@pytest.mark.cuda
def test_convolutions_with_tf32_are_edited_exactly() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(64, 96, 3), nn.ReLU(), nn.Conv2d(96, 64, 3), nn.Flatten(), nn.LazyLinear(9)]
    model, x = nn.Sequential(*layers).cuda(), torch.randn(4, 64, 12, 12, device="cuda")
    model(x)
    apply(model, AddNeurons("0", 37), x)
    apply(model, RemoveNeurons("2", (3, 5)), x)


def test_a_forward_that_writes_is_the_same_after_an_edit_and_its_undo() -> None:
    torch.manual_seed(0)
    embedding = nn.Embedding(9, 4, max_norm=0.1)
    model = nn.Sequential(embedding, nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    apply(model, AddNeurons("1", 1), torch.arange(6)).undo()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("example", [torch.randn(2, 7), torch.randn(2, 4, dtype=torch.float64)])
def test_an_example_that_does_not_fit_is_refused_as_such(example: torch.Tensor) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(SurgeryError, match=r"does not run on the example, at .*[^.]\. Pass"):
        edit(model, AddNeurons("0", 1), example)


class Auxiliary(nn.Module):
    """Has a second output in training, and a BatchNorm that refuses single examples there."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        self.calls += 1
        y = self.b(self.norm(self.a(x)).relu())
        return (y, y[:, :1]) if self.training else y


@pytest.mark.parametrize("samples", [1, 3])
def test_what_training_did_before_the_edit_it_may_do_after_it(samples: int) -> None:
    torch.manual_seed(0)
    model, x = Auxiliary(), torch.randn(samples, 4)
    expected = model.eval()(x)
    edit(model.train(), AddNeurons("a", 2), x)
    assert model.a.out_features == 8
    assert model.training
    assert (model.eval()(x) - expected).abs().max() < 1e-6


@pytest.mark.parametrize(("hidden", "calls"), [(nn.ReLU, 2), (nn.Dropout, 3)])
def test_training_is_looked_at_once_and_only_where_a_module_asks_for_the_mode(
    hidden: type[nn.Module], calls: int
) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 6), hidden(), nn.Linear(6, 3)), torch.randn(3, 4)
    graph_of(model, x)
    seen: list[bool] = []
    forward = nn.Linear.forward

    class Counted(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(self.training)
            return forward(self, x)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nn.Linear, "forward", Counted.forward)
        edit(model, AddNeurons("0", 2), x)
    assert len(seen) == 2 * calls
    assert sum(seen) == 2 * (calls - 2)


@pytest.mark.parametrize("part", [nn.Dropout(), nn.BatchNorm1d(6), nn.RReLU()])
def test_modules_of_torch_that_ask_for_the_mode_are_known(part: nn.Module) -> None:
    x = torch.randn(3, 6)
    torch.manual_seed(0)
    outputs = [part.train()(x), part.eval()(x)]
    assert not torch.equal(*outputs)
    seen = verifying.observe_before(part.train(), x)
    assert seen.presumed
    assert verifying.observe_training(part, x, seen).training == ((3, 6),)


def test_moving_connections_runs_nothing_unless_it_promises_something() -> None:
    layer = StandardSparseLayer(6, 5, density=0.5, generator=torch.Generator().manual_seed(0))
    model, runs = nn.Sequential(layer), []
    model.register_forward_pre_hook(lambda *_: runs.append(1))
    pair = layer.pattern.pairs[0]
    apply(model, RemoveConnections("0", (pair,)), torch.ones(2, 6))
    apply(model, AddConnections("0", (pair,), scale=1.0), torch.ones(2, 6))
    assert not runs
    apply(model, RemoveConnections("0", (pair,)), torch.ones(2, 6))
    apply(model, AddConnections("0", (pair,)), torch.ones(2, 6))  # which keeps the function
    assert runs
