"""How exactly outputs are compared, and that comparing leaves no trace."""

import pytest
import torch
from torch import nn

from structure_net.errors import SurgeryError
from structure_net.surgery import AddNeurons, RemoveNeurons, apply, edit, verifying


def precisions() -> list[str]:
    backends = torch.backends
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
    with pytest.raises(SurgeryError, match="The model does not run on the example"):
        edit(model, AddNeurons("0", 1), example)
