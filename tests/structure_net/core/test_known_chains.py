"""A chain that serves again is the same chain, whatever happened to the network in between."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import create_standard_network
from structure_net.core.chaining import KnownChains, through
from structure_net.core.layers import StandardSparseLayer
from structure_net.core.network_factory import StandardNetwork
from structure_net.core.sparse_chains import Links
from structure_net.core.sparse_passes import Pass
from tests.chains import WIDTHS, derived, network, one_by_one, random, same

pytestmark = pytest.mark.usefixtures("live_storage")


def trained() -> StandardNetwork:
    """A network that has run both ways."""
    model = network()
    for _ in range(2):
        derived(model, model, random(9, 40).requires_grad_())
    return model


class Other(StandardSparseLayer):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * 2


def other_class(model: Any) -> None:
    model.layers[1].__class__ = Other


def other_layer(model: Any) -> None:
    model.layers[1] = network().layers[1]


def dense_layer(model: Any) -> None:
    model.layers[1] = nn.Linear(33, 20).double()


def other_activation(model: Any) -> None:
    model.activations[1] = nn.Tanh()


def own_forward(model: Any) -> None:
    model.activations[0].forward = lambda x: x * 3


def hook(model: Any) -> None:
    model.layers[1].register_forward_hook(lambda _, __, outputs: outputs * 2)


def hook_of_gradients(model: Any) -> None:
    model.layers[1].register_full_backward_hook(lambda _, inputs, __: (inputs[0] * 2,))


def new_memory(model: Any) -> None:
    model.layers[0].weight.data = model.layers[0].weight.data * 2


def new_numbers(model: Any) -> None:
    model.layers[0].fill(1.5)


def other_connections(model: Any) -> None:
    model.load_state_dict(create_standard_network(list(WIDTHS), density=0.3, seed=5).state_dict())


def more_connections(model: Any) -> None:
    model.load_state_dict(create_standard_network(list(WIDTHS), density=0.6, seed=5).state_dict())


def no_bias(model: Any) -> None:
    model.layers[1].bias = None


def other_bias(model: Any) -> None:
    model.layers[1].bias = nn.Parameter(random(20))


def bias_that_is_no_parameter(model: Any) -> None:
    bias = model.layers[1].bias.detach() + 1
    del model.layers[1].bias
    model.layers[1].bias = bias


def frozen(model: Any) -> None:
    model.layers[0].requires_grad_(False)


def frozen_weights(model: Any) -> None:
    for layer in model.layers:
        layer.weight.requires_grad_(False)


CHANGES: list[Callable[[Any], None]] = [
    other_class,
    other_layer,
    dense_layer,
    other_activation,
    own_forward,
    hook,
    hook_of_gradients,
    new_memory,
    new_numbers,
    other_connections,
    more_connections,
    no_bias,
    other_bias,
    bias_that_is_no_parameter,
    frozen,
    frozen_weights,
]


@pytest.mark.parametrize("of_inputs", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_seen(change: Callable[[Any], None], of_inputs: bool) -> None:
    model, inputs = trained(), random(9, 40).requires_grad_(of_inputs)
    change(model)
    found = [derived(model, model, inputs) for _ in range(2)]
    wanted = derived(lambda x: one_by_one(model, x), model, inputs)
    assert all(same(one, wanted) for one in found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batches_of_other_sizes_types_and_orders_pass_in_turn(dtype: torch.dtype) -> None:
    model = trained().to(dtype)
    for _ in range(2):
        for batch in (*range(12), 128):
            for turned in (False, True):
                inputs = random(batch, 40, dtype=dtype)
                inputs = inputs.t().contiguous().t() if turned else inputs
                inputs.requires_grad_()
                wanted = derived(lambda x: one_by_one(model, x), model, inputs)
                assert same(derived(model, model, inputs), wanted)


def test_weights_of_another_type_are_refused_as_by_the_layer() -> None:
    model = trained()
    weight: Any = model.layers[1].weight
    weight.data = weight.data.float()
    with pytest.raises(TypeError, match="one floating point type"):
        model(random(9, 40))


def test_inputs_of_another_width_are_refused_by_a_network_that_has_run() -> None:
    with pytest.raises(ValueError, match="40"):
        trained()(random(3, 41))


@pytest.mark.parametrize("place", ["inputs", "layers.1.weight", "layers.1.bias"])
@pytest.mark.parametrize("back", [True, False])
def test_memory_that_was_freed_is_not_read(place: str, back: bool) -> None:
    model, inputs = trained(), random(9, 40)
    outputs = model(inputs)
    tensor = inputs if place == "inputs" else model.get_parameter(place)
    tensor.untyped_storage().resize_(0)
    # Nobody reads a bias, or inputs that were turned, on the way back.
    if back and place == "layers.1.weight":
        with pytest.raises(RuntimeError, match="has no memory"):
            outputs.sum().backward()
    if not back:
        with pytest.raises(RuntimeError, match="has no memory"):
            model(inputs)


def test_weights_that_lie_otherwise_in_the_same_memory_are_read_as_they_lie() -> None:
    found = []
    for chain in (True, False):
        model, inputs = trained(), random(9, 40).requires_grad_()
        weight: Any = model.layers[1].weight
        memory = torch.cat((weight.data, weight.data + 1))
        weight.data = memory[: len(weight)]
        outputs = model(inputs) if chain else one_by_one(model, inputs)
        weight.data = memory[::2]
        outputs.sum().backward()
        found.append([inputs.grad])
    assert same(*found)


def test_weights_of_another_type_in_the_same_memory_are_refused_on_the_way_back() -> None:
    model = trained()
    weight: Any = model.layers[1].weight
    outputs = model(random(9, 40)).sum()
    memory, size = weight.data.untyped_storage(), weight.shape
    weight.data = torch.empty(0).set_(memory, 0, size)  # type: ignore[call-overload]  # torch's
    with pytest.raises(RuntimeError, match="must still be of shape"):
        outputs.backward()


@pytest.mark.parametrize("replaced", [0, 2])
def test_layers_that_are_replaced_are_let_go_of_at_the_next_pass(replaced: int) -> None:
    model = trained()
    layer: Any = model.layers[replaced]
    gone = weakref.ref(layer), weakref.ref(layer.index.offsets)
    model.layers[replaced] = nn.Linear(WIDTHS[replaced], WIDTHS[replaced + 1]).double()
    del layer
    model(random(9, 40))
    gc.collect()
    assert [one() for one in gone] == [None, None]


def test_passes_are_planned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Pass] = []
    plan = Pass.planned
    monkeypatch.setattr(Pass, "planned", lambda way: (made.append(way), plan(way))[1])
    model = trained()
    assert len(made) == 2
    derived(model, model, random(9, 40).requires_grad_())
    assert len(made) == 2
    with torch.no_grad():
        model(random(9, 40))
    assert len(made) == 2


def test_copies_know_nothing() -> None:
    model = trained()
    twin = copy.deepcopy(model)
    twin.layers[0].fill(1.0)  # type: ignore[operator]
    for one in (twin, model):
        assert torch.equal(one(random(3, 40)), one_by_one(one, random(3, 40)))


def test_links_are_made_anew_where_they_differ() -> None:
    known, layers = KnownChains(), [*network().layers]
    stages: list[Any] = [(layers[0], nn.ReLU()), (layers[1], nn.Tanh()), (layers[2], None)]
    for _ in range(2):
        found = through(stages, random(3, 40), known)
        assert torch.equal(found, layers[2](layers[1](layers[0](random(3, 40)).relu()).tanh()))
    assert known.whole(stages, random(3, 40)) is None
    links = known.links(0, ())
    assert isinstance(links, Links)
    assert known.links(0, ()) is links
    assert copy.copy(known).links(0, ()) is not links
