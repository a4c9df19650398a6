"""Optimal units, against closed forms and by the laws of their making."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core import SparseConv2d, StandardSparseLayer
from structure_net.core.expansion import tiny_expansion
from structure_net.core.place_sums import PlaceAccumulator
from structure_net.core.windows import Geometry
from structure_net.errors import SurgeryError
from structure_net.surgery import AddNeurons, GradMax, OptimalUnits, ZeroOutgoing, apply
from structure_net.surgery.optimal import LONGEST, SIZES
from structure_net.surgery.places import Seen

EXACT = 1e-10


def half_squared(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().flatten(1).sum(1).mean() / 2


def drawn(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def dense(activation: type[nn.Module] = nn.Identity) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 3), activation(), nn.Linear(3, 4)).double()


NETWORKS = {
    "dense": (dense, (6,), (4,)),
    "dense, ReLU": (lambda: dense(nn.ReLU), (6,), (4,)),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.GELU(), nn.Linear(3, 4)),
        (6,),
        (4,),
    ),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3)),
        (2, 6, 6),
        (2, 4, 4),
    ),
    "pooling and flattening": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4)
        ),
        (2, 6, 6),
        (4,),
    ),
    "one dimension": (
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh(), nn.Conv1d(3, 2, 3)),
        (2, 9),
        (2, 5),
    ),
    "sparse": (
        lambda: nn.Sequential(
            StandardSparseLayer(6, 5, density=0.6),
            nn.ReLU(),
            StandardSparseLayer(5, 4, density=0.6),
        ),
        (6,),
        (4,),
    ),
    "sparse convolutions": (
        lambda: nn.Sequential(
            SparseConv2d(2, 4, 3, density=0.6), nn.ReLU(), SparseConv2d(4, 2, 3, density=0.6)
        ),
        (2, 6, 6),
        (2, 2, 2),
    ),
    "tokens": (
        lambda: nn.Sequential(nn.Linear(6, 3), nn.SiLU(), nn.Linear(3, 4)),
        (5, 6),
        (5, 4),
    ),
}


def made(name: str) -> tuple[nn.Sequential, Tensor, Tensor]:
    make, inputs, targets = NETWORKS[name]
    torch.manual_seed(0)
    return make().double(), drawn(64, *inputs), drawn(64, *targets, seed=2)


def grown(
    model: nn.Sequential, inputs: Tensor, targets: Tensor, start: OptimalUnits, units: int = 2
) -> nn.Sequential:
    probe = (inputs, targets, half_squared)
    apply(model, AddNeurons("0", units), inputs[:2], initialiser=start, probe=probe)
    return model


def reader(model: nn.Sequential) -> nn.Module:
    return next(layer for layer in reversed(model) if hasattr(layer, "weight"))


@pytest.mark.parametrize("units", [1, 2])
def test_a_linear_network_gains_what_the_singular_values_say(units: int) -> None:
    """Where the reader is at its optimum, the present features can do no more."""
    model, inputs, targets = made("dense")
    with torch.no_grad():
        hidden = torch.cat([model[0](inputs), torch.ones(64, 1, dtype=torch.float64)], 1)
        best = torch.linalg.lstsq(hidden, targets).solution
        model[2].weight.copy_(best[:3].T)
        model[2].bias.copy_(best[3])
        delta = model(inputs) - targets
        before = half_squared(model(inputs), targets)
        image, hidden = inputs[:, :, None, None], hidden[:, :3, None, None]
        gradient = delta[:, :, None, None]
        writer = Seen(model[0], Geometry(), image, gradient)
        taker = Seen(model[2], Geometry(), hidden, gradient)
    sums = PlaceAccumulator(writer, taker)
    sums.add(writer, taker)
    gains = tiny_expansion(sums.moments("0", "2"), damping=1e-12).gains
    grown(model, inputs, targets, OptimalUnits(amplitude=1.0, damping=1e-12), units)
    found = before - half_squared(model(inputs), targets)
    torch.testing.assert_close(found, gains[:units].sum(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in NETWORKS if "sparse" not in name])
def test_outgoing_weights_are_fitted_to_what_the_units_compute(name: str) -> None:
    """With a squared loss no other outgoing weights of these units lower it more, as far as the
    present features are left out of it."""
    model, inputs, targets = made(name)
    model.eval()
    last = reader(model)
    old = last.weight.shape[1]
    with torch.no_grad():  # a reader that does nothing: what is left is all of the targets
        last.weight.zero_()
        last.bias.zero_()
    bare = copy.deepcopy(model)
    grown(model, inputs, targets, OptimalUnits(amplitude=1.0, damping=1e-12))
    for one in (model, bare):
        one.zero_grad()
    # Present features make B h of it, new ones N z: the gradient at their sum vanishes for z.
    delta = targets - model(inputs)
    made_by_present = least_squares(bare, inputs, targets)
    loss = half_squared(delta - made_by_present, torch.zeros_like(delta))
    gradient = torch.autograd.grad(loss, last.weight)[0][:, old:]
    assert float(gradient.abs().max()) < 1e-8


def least_squares(model: nn.Sequential, inputs: Tensor, targets: Tensor) -> Tensor:
    """What a reader of zeros makes of the targets once it is at its optimum."""
    last = reader(model)
    parameters = [last.weight, last.bias]
    columns = []
    for parameter in parameters:
        for index in range(parameter.numel()):
            with torch.no_grad():
                parameter.view(-1)[index] = 1.0
                columns.append(model(inputs).flatten())
                parameter.view(-1)[index] = 0.0
    design = torch.stack(columns, 1)
    solution = torch.linalg.lstsq(design, targets.flatten()[:, None], driver="gelsd").solution
    return (design @ solution).view(targets.shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_on_the_probe_falls(name: str) -> None:
    model, inputs, targets = made(name)
    model.eval()
    before = half_squared(model(inputs), targets).item()
    grown(model, inputs, targets, OptimalUnits())
    assert half_squared(model(inputs), targets).item() < before
    for layer in (model[0], reader(model)):
        if isinstance(layer, StandardSparseLayer | SparseConv2d):
            assert layer.off_pattern() == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_with_an_amplitude_of_zero_the_function_stays(name: str) -> None:
    model, inputs, targets = made(name)
    model.eval()
    before = model(inputs)
    grown(model, inputs, targets, OptimalUnits(amplitude=0.0))
    torch.testing.assert_close(model(inputs), before, rtol=0, atol=EXACT)
    assert OptimalUnits(amplitude=0.0).preserves
    assert not OptimalUnits().preserves


def test_new_units_give_as_much_as_the_old_ones() -> None:
    model, inputs, targets = made("dense, ReLU")
    inputs = inputs * torch.tensor([30.0, 1, 1, 1, 1, 1], dtype=torch.float64)
    for start in (OptimalUnits(), GradMax()):
        grown(model, inputs, targets, start)
    sizes = model[0](inputs).detach().square().mean(0).sqrt()
    for born in (slice(3, 5), slice(5, 7)):
        old = sizes[: born.start].mean().expand(2)
        torch.testing.assert_close(sizes[born], old, rtol=0, atol=1e-8)


@pytest.mark.parametrize("start", [OptimalUnits(), GradMax()])
def test_a_network_that_diverged_does_not_grow(start: OptimalUnits) -> None:
    model, inputs, targets = made("dense")
    with torch.no_grad():
        model[2].weight.fill_(torch.inf)
    probe, change = (inputs, targets, half_squared), AddNeurons("0", 1)
    with pytest.raises(SurgeryError, match="The network has diverged"):
        apply(model, change, inputs, initialiser=start, probe=probe, verify=False)


class Two(nn.Module):
    """One layer with two readers."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(6, 4)
        self.left = nn.Linear(4, 3)
        self.right = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.enter(x))
        return torch.cat([self.left(hidden), self.right(hidden)], 1)


def test_all_readers_are_served() -> None:
    torch.manual_seed(0)
    model, inputs, targets = Two().double(), drawn(64, 6), drawn(64, 5, seed=2)
    before = half_squared(model(inputs), targets).item()
    probe = (inputs, targets, half_squared)
    apply(model, AddNeurons("enter", 1), inputs, initialiser=OptimalUnits(), probe=probe)
    assert half_squared(model(inputs), targets).item() < before
    assert bool(model.left.weight[:, 4].any())
    assert bool(model.right.weight[:, 4].any())


def test_optimal_units_beat_gradmax_and_random_ones_after_the_same_few_steps() -> None:
    losses = {}
    for start in (OptimalUnits(), GradMax(), ZeroOutgoing()):
        ends = []
        for seed in range(5):
            torch.manual_seed(seed)
            model, inputs = dense(nn.ReLU), drawn(256, 6)
            targets = drawn(8, 6, seed=3) @ inputs.T
            targets = (drawn(4, 8, seed=4) @ targets.relu()).T / 8
            probe = (inputs, targets, half_squared)
            apply(model, AddNeurons("0", 3), inputs, initialiser=start, probe=probe, seed=seed)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
            for _ in range(20):
                optimizer.zero_grad()
                half_squared(model(inputs), targets).backward()
                optimizer.step()
            ends.append(half_squared(model(inputs), targets).item())
        losses[type(start)] = sum(ends) / len(ends)
    assert losses[OptimalUnits] < losses[GradMax]
    assert losses[OptimalUnits] < losses[ZeroOutgoing]


class Grouped(nn.Module):
    """Layers that are no place of one matrix."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.enter = nn.Linear(6, 4)
        self.leave = nn.GRU(4, 3, batch_first=True) if kind == "recurrent" else nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "recurrent":
            return self.leave(self.enter(x)[:, None])[0][:, 0]
        return self.leave(self.enter(x)) + self.leave(self.enter(-x))


@pytest.mark.parametrize(
    ("kind", "said"), [("recurrent", "is GRU"), ("twice", "called several times")]
)
def test_what_is_no_place_is_refused_and_left_as_it_was(kind: str, said: str) -> None:
    model, inputs, targets = Grouped(kind).double(), drawn(8, 6), drawn(8, 3, seed=2)
    before = copy.deepcopy(model.state_dict())
    probe = (inputs, targets, F.mse_loss)
    with pytest.raises(SurgeryError, match=said):
        apply(model, AddNeurons("enter", 1), inputs, initialiser=OptimalUnits(), probe=probe)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_probe_is_needed_and_damping_must_be_positive() -> None:
    model, inputs, _ = made("dense")
    with pytest.raises(SurgeryError, match="OptimalUnits looks at data"):
        apply(model, AddNeurons("0", 1), inputs, initialiser=OptimalUnits())
    with pytest.raises(ValueError, match="damping must be positive"):
        OptimalUnits(damping=0.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_weights_are_far_longer_than_the_old_ones(name: str) -> None:
    """A probe that hardly varies in all directions but one asks for long rows and columns."""
    for damping in (None, 1e-9):
        model, inputs, targets = made(name)
        model.eval()
        inputs = 1e-3 * inputs + inputs.mean(0, keepdim=True) + 1.0
        first, last = model[0], reader(model)
        rows, columns = longest(first, 0), longest(last, 1)
        grown(model, inputs, targets, OptimalUnits(damping=damping), 3)
        assert longest(first, 0) <= LONGEST * rows + EXACT
        assert longest(last, 1) <= max(SIZES) * columns + EXACT


def longest(layer: nn.Module, dim: int) -> float:
    """The largest norm of a row or a column."""
    if isinstance(layer, StandardSparseLayer | SparseConv2d):
        weight = layer.dense_weight()
    else:
        weight = layer.get_parameter("weight")
    return weight.detach().transpose(0, dim).flatten(1).norm(dim=1).max().item()


def test_the_loss_on_the_whole_probe_never_rises() -> None:
    """The samples that the search leaves out want the opposite of the others."""
    for seed in range(5):
        torch.manual_seed(seed)
        model, inputs = dense(nn.ReLU), drawn(400, 6, seed=seed)
        targets = drawn(400, 4, seed=9)
        left_out = torch.ones(400, dtype=torch.bool)
        left_out[torch.linspace(0, 399, 256).round().long()] = False
        targets[left_out] = -20 * targets[left_out].abs()
        before = half_squared(model(inputs), targets).item()
        grown(model, inputs, targets, OptimalUnits())
        assert half_squared(model(inputs), targets).item() <= before
