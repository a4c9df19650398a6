"""What records, maps over or rewrites programs works on live layers, or refuses with the reason."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from structure_net.core import (
    ExtremaAwareSparseLayer,
    SparseConv2d,
    StandardSparseLayer,
    create_standard_network,
)
from structure_net.core.crossover import Storage
from structure_net.surgery import RemoveConnections, edit, set_storage

pytestmark = pytest.mark.usefixtures("live_storage")


def network(seed: int = 0) -> nn.Module:
    return create_standard_network([12, 10, 8, 5], density=0.4, seed=seed).double()


def convolutions(seed: int = 0) -> nn.Module:
    draw = torch.Generator().manual_seed(seed)
    return nn.Sequential(
        SparseConv2d(2, 4, 3, density=0.5, generator=draw),
        nn.ReLU(),
        SparseConv2d(4, 3, 2, density=0.3, granularity="weight", generator=draw),
        nn.Flatten(),
        ExtremaAwareSparseLayer(12, 5, density=0.5, generator=draw),
    ).double()


MODELS: list[tuple[Callable[..., nn.Module], tuple[int, ...]]] = [
    (network, (7, 12)),
    (convolutions, (7, 2, 5, 5)),
]


def inputs_of(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("storage", ["live", "masked"])
@pytest.mark.parametrize(("make", "shape"), MODELS)
def test_a_graph_of_fx_calls_the_layers_which_train_and_are_edited_in_it(
    make: Callable[..., nn.Module], shape: tuple[int, ...], storage: Storage
) -> None:
    model, inputs = make(), inputs_of(shape)
    set_storage(model, storage)
    traced = torch.fx.symbolic_trace(model)
    called = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    names = [name for name, one in model.named_modules() if hasattr(one, "storage")]
    assert [name for name in called if name in names] == names
    assert torch.equal(traced(inputs), model(inputs))
    traced(inputs).sum().backward()
    assert all(one.grad is not None for one in traced.parameters())
    layer = traced.get_submodule(names[-1])
    assert isinstance(layer, StandardSparseLayer | ExtremaAwareSparseLayer)
    kept = len(layer.pattern) - len(layer.pattern.pairs[::2])
    edit(traced, RemoveConnections(names[-1], layer.pattern.pairs[::2]), inputs)
    assert layer.connections == kept
    assert torch.equal(traced(inputs), model(inputs))


@pytest.mark.parametrize(("make", "shape"), MODELS)
@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")
def test_scripts_are_refused(make: Callable[..., nn.Module], shape: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match="cannot be scripted"):
        torch.jit.script(make())


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 2)])
@pytest.mark.parametrize(("make", "shape"), MODELS)
def test_an_ensemble_maps_over_parameters_and_patterns(
    make: Callable[..., nn.Module], shape: tuple[int, ...], seeds: tuple[int, ...]
) -> None:
    models, inputs = [make(seed).eval() for seed in seeds], inputs_of(shape)
    parameters, buffers = stack_module_state(models)
    base = copy.deepcopy(models[0]).to("meta")

    def loss(own: dict[str, Tensor], held: dict[str, Tensor], x: Tensor) -> Tensor:
        result: Tensor = functional_call(base, (own, held), (x,)).square().sum()
        return result

    found = vmap(grad(loss), (0, 0, None))(
        {name: one.detach() for name, one in parameters.items()}, buffers, inputs
    )
    for number, model in enumerate(models):
        model(inputs).square().sum().backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(found[name][number], parameter.grad, rtol=1e-10, atol=1e-10)


def test_networks_are_not_drawn_on_the_meta_device() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="make the layer on the CPU"):
        network()


@pytest.mark.parametrize("granularity", ["kernel", "weight"])
def test_weights_of_another_form_that_are_set_on_a_convolution_are_refused(
    granularity: str,
) -> None:
    layer = SparseConv2d(2, 4, 3, density=0.5, granularity=granularity)  # type: ignore[arg-type]
    inputs = torch.zeros(1, 2, 5, 5)
    held = layer.weight
    layer.weight = nn.Parameter(held.detach()[:2].clone())
    with pytest.raises(ValueError, match="values must have shape"):
        layer(inputs)
    layer.weight = held
    layer.bias = nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="bias must have shape"):
        layer(inputs)


def test_operators_refuse_tensors_that_do_not_fit() -> None:
    layer = StandardSparseLayer(12, 10, density=0.4)
    index, inputs = layer.index, torch.zeros(3, 12)
    call = torch.ops.structure_net.sparse_linear
    assert layer.bias is not None
    right = (inputs, layer.weight, layer.bias)
    wrong = (inputs[:, 1:], layer.weight[1:], layer.bias[1:])
    for place in range(3):
        given = [*right[:place], wrong[place], *right[place + 1 :]]
        with pytest.raises(RuntimeError, match="of a product must still be"):
            call(*given, *index.tensors)
