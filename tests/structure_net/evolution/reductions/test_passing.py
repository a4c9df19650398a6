"""The pass over any module: what is told, in which order, and that nothing stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.errors import StructureNetError
from structure_net.evolution import Need, observe
from structure_net.evolution.reductions import (
    BatchSeen,
    Gradients,
    Pass,
    Reduction,
    Values,
    With,
)

EXACT = {"rtol": 1e-12, "atol": 1e-12}
ALL = frozenset(Need)


class Diary(Reduction):
    """Writes down what it is told."""

    differentiates: ClassVar[frozenset[With]] = frozenset(With)

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int]] = []
        self.tensors: dict[tuple[str, int], Tensor] = {}
        self.found = Gradients()

    def _note(self, event: str, values: Values) -> None:
        assert not torch.is_grad_enabled()
        assert not values.tensor.requires_grad
        self.told.append((event, values.layer, values.call.number))
        self.tensors[event, values.call.number] = values.tensor.clone()

    def input(self, values: Values) -> None:
        self._note("input", values)

    def output(self, values: Values) -> None:
        self._note("output", values)

    def units(self, values: Values) -> None:
        self._note("units", values)

    def gradients(self, found: Gradients) -> None:
        self.told.append(("gradients", "", -1))
        self.found = found

    def batch(self, seen: BatchSeen) -> None:
        self.told.append(("batch", "", seen.samples))

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> Any:
        return dict(readers)


def untouched(network: nn.Module) -> bool:
    hooks = (m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    return not any(hooks) and all(p.grad is None for p in network.parameters())


def test_reductions_are_told_of_each_call_in_order_with_one_backward_pass() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).double()
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.zeros(5, dtype=torch.int64)
    diary = Diary()
    passing = Pass(network, [diary])
    passing.run([(x, y)], F.cross_entropy)
    assert diary.told == [
        ("input", "0", 0),
        ("output", "0", 0),
        ("units", "0", 0),
        ("input", "2", 1),
        ("output", "2", 1),
        ("units", "2", 1),
        ("gradients", "", -1),
        ("batch", "", 5),
    ]
    assert (passing.batches, passing.samples, passing.readers) == (1, 5, {"0": ("2",), "2": ()})
    z = network[0](x)
    h = torch.relu(z)
    loss = F.cross_entropy(network[2](h), y)
    wanted = [h, z, *network.parameters()]
    at_units, at_output, *at_parameters = torch.autograd.grad(loss, wanted)
    # The activation wrote over the output; what was told is from before.
    torch.testing.assert_close(diary.tensors["output", 0], z.detach(), **EXACT)
    torch.testing.assert_close(diary.tensors["units", 0], h.detach(), **EXACT)
    torch.testing.assert_close(diary.found.units[0], at_units, **EXACT)
    torch.testing.assert_close(diary.found.outputs[0], at_output, **EXACT)
    for (name, _), expected in zip(network.named_parameters(), at_parameters, strict=True):
        torch.testing.assert_close(diary.found.parameters[name], expected, **EXACT)
    assert untouched(network)


def test_frozen_and_unused_parameters_have_no_gradient_and_a_zero_one() -> None:
    network = nn.ModuleDict({"used": nn.Linear(3, 2), "idle": nn.Linear(1, 1)})
    network["used"].bias.requires_grad_(False)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = network

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.parts["used"](x)
            return out

    diary = Diary()
    Pass(Whole(), [diary]).run([(torch.ones(2, 3), None)], lambda out, _: out.sum())
    assert set(diary.found.parameters) == {
        "parts.used.weight",
        "parts.idle.weight",
        "parts.idle.bias",
    }
    assert diary.found.parameters["parts.idle.weight"].tolist() == [[0.0]]


class TwoInputs(nn.Module):
    """Takes a mapping, gives one, and passes over one branch."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 2)

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        both = F.gelu(self.left(left) + self.right(right))
        return {"logits": self.head(both), "hidden": both}


@pytest.mark.parametrize("as_mapping", [True, False])
def test_models_with_several_inputs_and_mappings_for_outputs(as_mapping: bool) -> None:
    torch.manual_seed(0)
    network = TwoInputs().double()
    left, right = (torch.randn(6, n, dtype=torch.float64) for n in (3, 2))
    inputs = {"left": left, "right": right} if as_mapping else (left, right)
    seen = observe(
        network,
        [(inputs, torch.zeros(6, dtype=torch.int64))],
        needs=ALL,
        loss=lambda out, y: F.cross_entropy(out["logits"], y),
        probe_size=4,
    )
    with torch.no_grad():
        both = F.gelu(network.left(left) + network.right(right))
    for name in ("left", "right"):
        torch.testing.assert_close(seen.layers[name].mean, both.mean(0), **EXACT)
        assert seen.layers[name].readers == ("head",)
    assert seen.probe is not None
    assert seen.probe.values["left"].shape == (4, 4)
    assert untouched(network)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("both_ways", [True, False])
def test_recurrent_layers_count_hidden_units_over_steps_and_directions(
    batch_first: bool, both_ways: bool
) -> None:
    torch.manual_seed(0)

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = nn.LSTM(3, 5, batch_first=batch_first, bidirectional=both_ways)
            self.head = nn.Linear(10 if both_ways else 5, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.memory(x)[0])
            return out

    network = Recurrent().double()
    x = torch.randn(4, 7, 3, dtype=torch.float64)
    if not batch_first:
        x = x.movedim(0, 1)
    seen = observe(
        network,
        [(x, torch.zeros(4))],
        needs=ALL,
        loss=lambda out, _: out.square().mean(),
        probe_size=4,
    )
    with torch.no_grad():
        states = network.memory(x)[0]
    rows = states.reshape(-1, 5)
    layer = seen.layers["memory"]
    assert (layer.units, layer.activation, layer.count) == (5, "lstm", len(rows))
    torch.testing.assert_close(layer.mean, rows.mean(0), **EXACT)
    # Two directions of a unit are no two units, so that the head does not read them one by one.
    assert layer.readers == (() if both_ways else ("head",))
    assert layer.taylor is not None
    assert seen.probe is not None
    steps = states if batch_first else states.movedim(0, 1)
    expected = steps.reshape(4, -1, 5).mean(1)
    order = [int((expected - row).square().sum(1).argmin()) for row in seen.probe.values["memory"]]
    torch.testing.assert_close(seen.probe.values["memory"], expected[order], **EXACT)
    assert untouched(network)


def test_packed_sequences_count_the_steps_that_exist() -> None:
    torch.manual_seed(0)

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.head = nn.GRU(3, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            out: Tensor = self.head(self.memory(packed)[1][0])
            return out

    network = Packed()
    x, lengths = torch.randn(3, 6, 3), torch.tensor([6, 4, 1])
    layer = observe(network, [((x, lengths), torch.zeros(3))]).layers["memory"]
    assert (layer.units, layer.count) == (5, 11)


def test_a_layer_called_twice_has_both_calls_in_its_gradient() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 4).double()
    network = nn.Sequential(layer, nn.Tanh(), layer)
    x = torch.randn(5, 4, dtype=torch.float64)
    seen = observe(
        network, [(x, None)], needs={Need.GRADIENTS}, loss=lambda out, _: out.square().mean()
    ).layers["0"]
    first = torch.tanh(layer(x))
    second = layer(first)
    found = torch.autograd.grad(second.square().mean(), [first, second])
    expected = torch.cat(found).mean(0)
    torch.testing.assert_close(seen.gradient_mean, expected, **EXACT)
    both = sum(5 * g * v.detach() for g, v in zip(found, (first, second), strict=True))
    torch.testing.assert_close(seen.taylor, both.abs().mean(0), **EXACT)  # type: ignore[union-attr]


class Failing(Reduction):
    """Raises at the second batch."""

    def batch(self, seen: BatchSeen) -> None:
        if getattr(self, "seen", False):
            raise StructureNetError("enough")
        self.seen = True

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> None:
        return None


@pytest.mark.parametrize("where", ["reduction", "loss", "model"])
def test_nothing_stays_when_anything_raises(where: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).train()
    batches = [(torch.randn(5, 3), torch.zeros(5, dtype=torch.int64)) for _ in range(3)]

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        if where == "loss":
            raise StructureNetError("enough")
        return F.cross_entropy(output, targets)

    if where == "model":
        batches[1] = (torch.randn(5, 4), batches[1][1])
    with pytest.raises((StructureNetError, RuntimeError), match=r"enough|mat1"):
        Pass(network, [Failing(), Diary()]).run(batches, loss)
    assert untouched(network)
    assert all(module.training for module in network.modules())
    assert torch.relu(torch.tensor(-1.0)) == 0


@pytest.mark.parametrize(
    "needs", [*({need} for need in Need), set(Need)], ids=[*(need.name for need in Need), "all"]
)
def test_every_need_refuses_activations_that_are_not_finite(needs: set[Need]) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    broken = torch.tensor([[float("nan"), 1.0]])
    with pytest.raises(StructureNetError, match="3 of 3 units of '0'"):
        observe(
            network,
            [(broken, torch.zeros(1, dtype=torch.int64))],
            needs=needs,
            loss=F.cross_entropy,
            probe_size=2,
        )
    assert untouched(network)
