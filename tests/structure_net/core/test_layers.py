from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from structure_net.core import (
    ExtremaAwareSparseLayer,
    SparseConv2d,
    SparsePattern,
    StandardSparseLayer,
    assign,
)
from structure_net.core.crossover import Storage
from structure_net.core.masking import PRODUCT_LIMIT
from structure_net.core.storage import StoredLayer
from structure_net.errors import SurgeryError

STORAGES: tuple[Storage, ...] = ("live", "masked")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(inputs: int = 9, outputs: int = 7, density: float = 0.3) -> StandardSparseLayer:
    return StandardSparseLayer(inputs, outputs, density=density, generator=generator())


def stored(layer: StoredLayer, storage: Storage) -> None:
    """Puts a layer into a storage, whatever the suite's crossover says of its density."""
    assign(layer, layer.stored(storage))
    assert layer.storage == storage


@pytest.mark.parametrize("storage", STORAGES)
def test_a_linear_layer_is_a_masked_matrix_product(storage: Storage) -> None:
    layer = linear().double()
    stored(layer, storage)
    inputs = torch.randn(5, 9, generator=generator(1), dtype=torch.float64)
    expected = inputs @ layer.dense_weight().T + layer.bias
    torch.testing.assert_close(layer(inputs), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_convolution_is_a_convolution_with_absent_kernels(storage: Storage) -> None:
    layer = SparseConv2d(3, 4, 3, stride=2, padding=1, density=0.5, generator=generator()).double()
    stored(layer, storage)
    inputs = torch.randn(2, 3, 8, 8, generator=generator(1), dtype=torch.float64)
    weight = layer.dense_weight()
    assert not bool(weight[~layer.pattern.mask()].any())
    expected = F.conv2d(inputs, weight, layer.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(inputs), expected, rtol=0, atol=1e-12)
    assert layer.connections == len(layer.pattern) * 9


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("side", [20, 300])
def test_gradients_are_those_of_the_masked_product(side: int, storage: Storage) -> None:
    """Masking by a product, and by the backward pass beyond the limit."""
    assert (side**2 > PRODUCT_LIMIT) == (side == 300)
    layer = linear(side, side, 0.1).double()
    stored(layer, storage)
    inputs = torch.randn(4, side, generator=generator(1), dtype=torch.float64, requires_grad=True)
    weight = layer.dense_weight().detach().requires_grad_()
    mask = layer.pattern.mask()
    expected = torch.autograd.grad(
        F.linear(inputs, weight * mask, layer.bias).square().sum(), [weight, inputs]
    )
    found = torch.autograd.grad(layer(inputs).square().sum(), [layer.weight, inputs])
    if storage == "live":
        expected = (expected[0][mask], expected[1])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("side", [20, 300])
def test_second_derivatives_and_vmap_work(side: int, storage: Storage) -> None:
    layer = linear(side, side, 0.1).double()
    stored(layer, storage)
    inputs = torch.randn(3, side, generator=generator(1), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(layer(inputs).pow(3).sum(), layer.weight, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), layer.weight)
    assert bool(second.any())
    if storage == "masked":
        assert not bool(second[~layer.mask].any())

    def loss(parameters: dict[str, torch.Tensor], sample: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, parameters, (sample[None],)).square().sum()

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(
        dict(layer.named_parameters()), inputs
    )["weight"]
    (total,) = torch.autograd.grad(layer(inputs).square().sum(), layer.weight)
    torch.testing.assert_close(per_sample.sum(0), total, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("masked")
def test_an_ensemble_of_stacked_networks_trains_as_each_does_alone() -> None:
    models = [linear(5, 4, density).double() for density in (0.3, 0.6)]
    inputs = torch.randn(3, 5, generator=generator(1), dtype=torch.float64)
    parameters, buffers = torch.func.stack_module_state(models)  # type: ignore[arg-type]

    def loss(parameters: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor]) -> torch.Tensor:
        outputs = torch.func.functional_call(models[0], (parameters, buffers), (inputs,))
        return outputs.square().sum()

    stacked = torch.func.vmap(torch.func.grad(loss))(parameters, buffers)["weight"]
    for model, gradient in zip(models, stacked, strict=True):
        (alone,) = torch.autograd.grad(model(inputs).square().sum(), model.weight)
        torch.testing.assert_close(gradient, alone, rtol=1e-12, atol=1e-12)


OPTIMIZERS = [
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (torch.optim.Adam, {"weight_decay": 0.1}),
    (torch.optim.Adam, {"fused": True, "amsgrad": True}),
    (torch.optim.AdamW, {"weight_decay": 0.1, "foreach": True}),
    (torch.optim.RMSprop, {"momentum": 0.9, "centered": True}),
    (torch.optim.Adagrad, {"weight_decay": 0.1}),
    (torch.optim.Adadelta, {"weight_decay": 0.1}),
    (torch.optim.NAdam, {"weight_decay": 0.1}),
]


@pytest.mark.parametrize("width", [30, 4000])
@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
def test_no_optimizer_revives_a_dead_entry(
    optimizer: type[torch.optim.Optimizer], options: dict[str, float | bool], width: int
) -> None:
    """Masking by a product, and by the backward pass beyond the limit."""
    assert (20 * width > PRODUCT_LIMIT) == (width == 4000)
    layer, inputs = linear(width, 20, 0.1), torch.randn(8, width, generator=generator(1))
    stored(layer, "masked")
    start = layer.live_weights.detach().clone()
    training = optimizer(layer.parameters(), lr=0.05, **options)  # type: ignore[call-arg]
    for _ in range(5):
        training.zero_grad()
        layer(inputs).square().mean().backward()
        assert layer.weight.grad is not None
        assert not bool(layer.weight.grad[~layer.mask].any())
        training.step()
    assert layer.off_pattern() == 0
    assert not torch.equal(layer.live_weights, start)


@pytest.mark.usefixtures("masked")
def test_removed_connections_stay_dead_though_momentum_was_theirs() -> None:
    layer, inputs = linear(6, 4, 0.5), torch.randn(8, 6, generator=generator(1))
    training = torch.optim.Adam(layer.parameters(), lr=0.1)
    layer(inputs).square().sum().backward()
    training.step()
    pair = layer.pattern.pairs[0]
    (weight, mask) = layer.disconnected([pair])
    for key in ("exp_avg", "exp_avg_sq"):
        training.state[layer.weight][key] = weight.carry(training.state[layer.weight][key])
    assign(layer, (weight, mask))
    for _ in range(3):
        layer(inputs).square().sum().backward()
        training.step()
    assert float(layer.weight.detach()[pair]) == 0


@pytest.mark.usefixtures("masked")
def test_a_new_mask_is_seen_at_the_next_step_however_it_was_written() -> None:
    layer, inputs = linear(6, 4, 0.5), torch.ones(2, 6)
    layer(inputs).sum().backward()
    free = (~layer.mask).nonzero()[0].tolist()
    for write in ("in place", "by data", "by swap"):
        mask = layer.mask.clone()
        mask[tuple(free)] = not mask[tuple(free)]
        if write == "in place":
            layer.mask.copy_(mask)
        elif write == "by data":
            layer.mask.data = mask
        else:
            torch.utils.swap_tensors(layer.mask, mask)
        layer.weight.grad = None
        layer(inputs).sum().backward()
        assert layer.weight.grad is not None
        assert torch.equal(layer.weight.grad != 0, layer.mask), write


def test_fresh_weights_have_the_variance_of_their_live_fan_in() -> None:
    """400 rows of 8 and 400 of 200 connections: N(0, 2 / fan_in), to 5 standard errors."""
    mask = torch.zeros(800, 200, dtype=torch.bool)
    mask[:400, :8] = True
    mask[400:] = True
    layer = StandardSparseLayer(
        200, 800, pattern=SparsePattern.from_mask(mask), generator=generator()
    )
    for rows, fan_in in ((slice(0, 400), 8), (slice(400, 800), 200)):
        weights = layer.dense_weight().detach()[rows][mask[rows]].double() * (fan_in / 2) ** 0.5
        assert abs(float(weights.square().mean()) - 1) < 5 * (2 / len(weights)) ** 0.5
    assert layer.bias is not None
    assert not bool(layer.bias.any())


@pytest.mark.usefixtures("masked")
def test_fresh_units_are_drawn_at_the_scale_of_their_own_fan_in() -> None:
    layer = linear(400, 300, 0.05)
    weight = layer.reindexed(0, [*range(300), *[-1] * 200], new="fresh", generator=generator(2))
    born = weight[0].data[300:]
    live = (born != 0).sum(1)
    assert int(live.sum()) == 200 * 400 // 20
    ratio = (born.double().square().sum(1) / 2).mean()
    assert abs(float(ratio) - 1) < 5 * (2 / 20 / 200) ** 0.5


def test_equal_seeds_make_equal_layers() -> None:
    first, second = linear(), linear()
    assert first.pattern == second.pattern
    assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_layers_work_in_any_dtype(dtype: torch.dtype, storage: Storage) -> None:
    layer = linear().to(dtype)
    stored(layer, storage)
    layer(torch.ones(3, 9, dtype=dtype)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == dtype
    assert layer.pattern.rows.dtype == torch.int64
    (weight, *_) = layer.reindexed(0, [0, 1, -1], new="fresh", generator=generator())
    assert weight.data.dtype == dtype


@pytest.mark.usefixtures("masked")
def test_autocast_keeps_the_gradient_masked_and_in_full_precision() -> None:
    layer = linear()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(torch.ones(3, 9))
    outputs.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    assert not bool(layer.weight.grad[~layer.mask].any())


@pytest.mark.usefixtures("masked")
def test_loading_a_dense_weight_keeps_what_is_on_the_pattern() -> None:
    layer = linear()
    state = {**layer.state_dict(), "weight": torch.ones(7, 9)}
    layer.load_state_dict(state)
    assert torch.equal(layer.weight, layer.mask.float())


@pytest.mark.parametrize("storage", STORAGES)
def test_shapes_of_batches_are_free(storage: Storage) -> None:
    layer = linear()
    stored(layer, storage)
    assert layer(torch.ones(9)).shape == (7,)
    assert layer(torch.ones(2, 3, 9)).shape == (2, 3, 7)
    assert layer(torch.ones(0, 9)).shape == (0, 7)


def test_layers_export_and_compile_to_the_same_function() -> None:
    model = nn.Sequential(SparseConv2d(2, 3, 3, generator=generator()), nn.Flatten(), linear(12, 5))
    inputs = torch.randn(2, 2, 4, 4, generator=generator(1))
    exported = torch.export.export(model, (inputs,)).module()
    torch.testing.assert_close(exported(inputs), model(inputs))
    compiled: Any = torch.compile(copy.deepcopy(model), backend="aot_eager", fullgraph=True)
    compiled(inputs).square().sum().backward()
    model(inputs).square().sum().backward()
    torch.testing.assert_close(compiled(inputs), model(inputs))
    for parameter, twin in zip(model.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(twin.grad, parameter.grad)


def test_print_tells_the_sizes_as_they_are() -> None:
    layer = linear()
    assert repr(layer) == (
        "StandardSparseLayer(in_features=9, out_features=7, density=0.3016, bias=True)"
    )
    assign(layer, layer.reindexed(0, [0, 1], new="fresh"))
    assert layer.out_features == 2
    assert "out_features=2" in repr(layer)
    assert "kernel_size=(3, 3)" in repr(SparseConv2d(2, 3, 3))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")
@pytest.mark.parametrize("storage", STORAGES)
def test_a_layer_is_traced_to_the_same_graph_each_time(storage: Storage) -> None:
    model = nn.Sequential(
        SparseConv2d(2, 9, 3, density=0.5, generator=generator()), nn.Flatten(), linear(81)
    )
    for layer in (model[0], model[2]):
        assert isinstance(layer, StoredLayer)
        assign(layer, layer.stored(storage))
    inputs = torch.randn(2, 2, 5, 5, generator=generator(1))
    traced = torch.jit.trace(model, inputs)  # checks by a second trace
    assert torch.equal(traced(inputs), model(inputs))


@pytest.mark.parametrize("kind", ["linear", "kernel", "weight"])
def test_initialisers_of_matrices_draw_the_same_weights_in_both_storages(kind: str) -> None:
    drawn = []
    for storage in STORAGES:
        layer: StoredLayer = linear()
        if kind != "linear":
            layer = SparseConv2d(3, 4, (3, 2), density=0.4, granularity=kind, generator=generator())  # type: ignore[arg-type]
        assign(layer, layer.stored(storage))
        pattern = layer.pattern
        layer.fill_by(partial(nn.init.xavier_uniform_, generator=generator()))
        assert layer.pattern == pattern
        assert layer.off_pattern() == 0
        drawn.append(layer.dense_weight().detach())
    whole = nn.init.xavier_uniform_(drawn[0].clone(), generator=generator())
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], torch.where(drawn[0] != 0, whole, 0))


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"density must be in \(0, 1\]; got 0"):
        StandardSparseLayer(3, 2, density=0)
    with pytest.raises(ValueError, match="not both"):
        StandardSparseLayer(3, 2, density=0.5, pattern=SparsePattern.full((2, 3)))
    with pytest.raises(ValueError, match=r"the layer's shape \(2, 3\); got \(3, 2\)"):
        StandardSparseLayer(3, 2, pattern=SparsePattern.full((3, 2)))
    with pytest.raises(ValueError, match="dim must be 0"):
        linear().reindexed(2, [0], new="fresh")
    layer = linear()
    free = (~layer.pattern.mask()).nonzero()[:1]
    with pytest.raises(SurgeryError, match=r"values must have shape \(1,\)"):
        layer.connected(free, torch.ones(2))
    with pytest.raises(ValueError, match="momentum must be"):
        ExtremaAwareSparseLayer(3, 2, momentum=0)
    with pytest.raises(ValueError, match="activation must be one of relu"):
        ExtremaAwareSparseLayer(3, 2, activation="step")
