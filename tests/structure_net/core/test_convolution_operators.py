"""Compiled and exported programs hold the convolution with live weights as one operator, and its
derivatives of every kind are those of the dense convolution.
"""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from structure_net.core import SparseConv2d, assign
from structure_net.core.convolution_compute import (
    Form,
    convolved,
    dense_convolution,
    differentiated,
    output_size,
)
from structure_net.core.convolution_gradients import convolution
from structure_net.core.convolution_operators import operate
from structure_net.core.convolution_operators import sparse_conv2d as forward
from structure_net.core.convolution_operators import sparse_conv2d_backward as backward
from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_convolution import sparse_conv2d
from structure_net.core.sparsity import SparsePattern
from structure_net.core.windows import Geometry

GEOMETRY = Geometry((3, 2), (2, 1), (1, 2), (1, 1, 2, 0))
WINDOW = [3, 2, 2, 1, 1, 2, 1, 1, 2, 0]
SIZE = (6, 5)
# Sums of a few hundred products in float64 stay far below this.
EXACT = 1e-10


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def index_of(whole: bool) -> LiveIndex:
    columns = 2 * (1 if whole else 6)
    mask = torch.rand(4, columns, generator=torch.Generator().manual_seed(3)) < 0.5
    mask[0, 0] = True
    return LiveIndex.from_pattern(SparsePattern.from_mask(mask))


def case(whole: bool) -> tuple[Tensor, Tensor, Tensor, LiveIndex]:
    """Inputs, values, bias and index."""
    index = index_of(whole)
    entries = (3, 2) if whole else ()
    return drawn(3, 2, *SIZE), drawn(len(index), *entries, seed=1), drawn(4, seed=2), index


def layer_in_live(**options: int) -> SparseConv2d:
    generator = torch.Generator().manual_seed(0)
    layer = SparseConv2d(3, 4, 3, density=0.4, generator=generator, **options)  # type: ignore[arg-type]
    assign(layer, layer.stored("live"))
    return layer


def test_the_operators_keep_the_rules_of_torch() -> None:
    inputs, values, bias, index = case(whole=False)
    leaves = [one.requires_grad_() for one in (inputs, values, bias)]
    torch.library.opcheck(forward, (*leaves, *index.tensors, WINDOW))
    gradient = torch.ones(3, 4, *output_size(GEOMETRY, SIZE), dtype=torch.float64)
    plain = gradient, inputs.detach(), values.detach()
    rules = ("test_schema", "test_faketensor")  # nothing differentiates it in turn
    for needs in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(backward, (*plain, *index.tensors, WINDOW, *needs), test_utils=rules)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_operator_is_the_convolution(dtype: torch.dtype) -> None:
    *tensors, index = case(whole=False)
    inputs, values, bias = (one.to(dtype).requires_grad_() for one in tensors)
    found = operate(inputs, values, bias, index, GEOMETRY)
    wanted = dense_convolution(inputs, values, bias, index, GEOMETRY)
    torch.testing.assert_close(found, wanted)
    leaves = inputs, values, bias
    for one, other in zip(
        torch.autograd.grad(found.sum(), leaves),
        torch.autograd.grad(wanted.sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("granularity", ["kernel", "weight"])
def test_a_compiled_layer_has_no_break_and_the_same_gradients(granularity: str) -> None:
    layer = layer_in_live(granularity=granularity, padding=1)  # type: ignore[arg-type]
    inputs = drawn(2, 3, 6, 6).float()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    gradients = []
    for one in (layer, compiled):
        leaf = inputs.clone().requires_grad_()
        one(leaf).square().sum().backward()
        assert layer.bias is not None
        gradients.append((leaf.grad, layer.weight.grad, layer.bias.grad))
        layer.zero_grad()
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_layer_runs_for_any_batch_after_saving(strict: bool) -> None:
    model = nn.Sequential(layer_in_live(stride=2, padding=1), nn.ReLU())
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(
        model, (drawn(4, 3, 6, 6).float(),), dynamic_shapes=({0: batch},), strict=strict
    )
    names = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
    assert "structure_net.sparse_conv2d.default" in names
    memory = io.BytesIO()
    torch.export.save(program, memory)
    memory.seek(0)
    loaded, inputs = torch.export.load(memory).module(), drawn(9, 3, 6, 6).float()
    assert torch.equal(loaded(inputs), model(inputs))


def test_a_trace_holds_the_operator() -> None:
    inputs, values, _, index = case(whole=False)
    traced = make_fx(lambda x: sparse_conv2d(x, values, None, index, GEOMETRY))(inputs)
    names = [str(node.target) for node in traced.graph.nodes if node.op == "call_function"]
    assert "structure_net.sparse_conv2d.default" in names


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")  # by torch.func.jvp
@pytest.mark.parametrize("whole", [True, False], ids=["kernels", "weights"])
def test_derivatives_of_every_kind_are_those_of_the_dense_convolution(whole: bool) -> None:
    inputs, values, bias, index = case(whole)

    def loss(of: object, x: Tensor, v: Tensor) -> Tensor:
        function = sparse_conv2d if of is sparse_conv2d else dense_convolution
        return function(x, v, bias, index, GEOMETRY).tanh().square().sum()

    def both(transform: object) -> tuple[Tensor, ...]:
        made = (transform(of) for of in (sparse_conv2d, dense_convolution))  # type: ignore[operator]
        found, wanted = (one if isinstance(one, tuple) else (one,) for one in made)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=EXACT)
        return found

    func, slope = torch.func, torch.ones_like(values)
    both(lambda of: func.grad(loss, (1, 2))(of, inputs, values))
    both(lambda of: func.jvp(lambda v: loss(of, inputs, v), (values,), (slope,)))
    both(lambda of: func.hessian(lambda v: loss(of, inputs[:1], v))(values).diagonal().flatten())
    each = func.vmap(func.grad(lambda of, x, v: loss(of, x[None], v), 2), (None, 0, None))
    (gradients,) = both(lambda of: each(of, inputs, values))
    (whole_gradient,) = both(lambda of: func.grad(loss, 2)(of, inputs, values))
    torch.testing.assert_close(gradients.sum(0), whole_gradient, rtol=0, atol=EXACT)
    both(lambda of: func.vmap(lambda v: loss(of, inputs, v))(torch.stack([values, -values])))


@pytest.mark.parametrize("whole", [True, False], ids=["kernels", "weights"])
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_many_gradients_at_once_are_each_one_by_itself(whole: bool) -> None:
    *tensors, index = case(whole)
    leaves = [one.requires_grad_() for one in tensors]
    outputs = sparse_conv2d(leaves[0], leaves[1], leaves[2], index, GEOMETRY)
    slopes = drawn(2, *outputs.shape, seed=4)
    many = torch.autograd.grad(outputs, leaves, slopes, is_grads_batched=True, retain_graph=True)
    for number, slope in enumerate(slopes):
        one = torch.autograd.grad(outputs, leaves, slope, retain_graph=True)
        for found, wanted in zip(many, one, strict=True):
            torch.testing.assert_close(found[number], wanted, rtol=0, atol=EXACT)


def test_gradients_are_computed_only_where_they_are_asked_for() -> None:
    inputs, values, bias, index = case(whole=True)
    form = Form(index, GEOMETRY, whole=True, size=SIZE)
    assert form.channels == 2
    assert (form.each, form.values_shape) == (6, (len(index), 3, 2))
    outputs = convolved(inputs, values, bias, form)
    assert torch.equal(outputs, convolution(inputs, values, bias, form))
    at_inputs, at_values = differentiated(outputs, inputs, values, form)
    assert at_inputs is not None
    assert at_values is not None
    for read, weigh, wanted in (
        (None, values, (at_inputs, None)),
        (inputs, None, (None, at_values)),
        (None, None, (None, None)),
    ):
        for found, one in zip(differentiated(outputs, read, weigh, form), wanted, strict=True):
            assert (found is None) == (one is None)
            assert found is None or one is None or torch.allclose(found, one, rtol=0, atol=EXACT)
