"""Compiled and exported programs hold the product with live weights as one operator."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from structure_net.core.products import LiveIndex, sparse_linear
from structure_net.core.sparse_operators import operate
from structure_net.core.sparse_operators import sparse_linear as forward
from structure_net.core.sparse_operators import sparse_linear_backward as backward
from structure_net.core.sparsity import SparsePattern

SHAPE = (5, 7)
MASK = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) < 0.4
INDEX = LiveIndex.from_pattern(SparsePattern.from_mask(MASK))
TENSORS = (INDEX.offsets, INDEX.columns, INDEX.column_offsets, INDEX.rows, INDEX.order)


class Layer(nn.Module):
    """A layer that keeps its index in buffers."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.values = nn.Parameter(torch.randn(len(INDEX), generator=draw))
        self.bias = nn.Parameter(torch.randn(SHAPE[0], generator=draw))
        for place, one in enumerate(TENSORS):
            self.register_buffer(f"index_{place}", one)

    def forward(self, inputs: Tensor) -> Tensor:
        """The product and a ReLU."""
        tensors = [getattr(self, f"index_{place}") for place in range(5)]
        return sparse_linear(inputs, self.values, self.bias, LiveIndex(*tensors, SHAPE)).relu()


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("lead", [(), (1,), (4,), (2, 3)])
def test_the_operators_keep_the_rules_of_torch(lead: tuple[int, ...]) -> None:
    leaves = (random(*lead, 7), random(len(INDEX)), random(5))
    torch.library.opcheck(forward, (*(one.requires_grad_() for one in leaves), *TENSORS))
    plain = [one.detach() for one in leaves[:2]]
    for needs in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(backward, (random(*lead, 5), *plain, *TENSORS, *needs))


def test_the_operator_is_the_product() -> None:
    leaves = tuple(one.requires_grad_() for one in (random(4, 7), random(len(INDEX)), random(5)))
    found, wanted = operate(*leaves, INDEX), sparse_linear(*leaves, INDEX)
    assert torch.equal(found, wanted)
    for one, other in zip(
        torch.autograd.grad(found.sum(), leaves),
        torch.autograd.grad(wanted.sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0)])
def test_the_operator_is_mapped_over(dims: tuple[int | None, int | None]) -> None:
    inputs, values = random(3, 4, 7), random(3, len(INDEX))
    inputs = inputs if dims[0] == 0 else inputs[0]
    values = values if dims[1] == 0 else values[0]
    each = torch.func.vmap(lambda x, v: operate(x, v, None, INDEX), dims)(inputs, values)
    for place in range(3):
        x = inputs if dims[0] is None else inputs[place]
        v = values if dims[1] is None else values[place]
        assert torch.equal(each[place], sparse_linear(x, v, None, INDEX))


def test_a_compiled_layer_has_no_break_and_the_same_gradients() -> None:
    layer, inputs = Layer(), random(4, 7)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    gradients = []
    for one in (layer, compiled):
        leaf = inputs.clone().requires_grad_()
        one(leaf).square().sum().backward()
        gradients.append((leaf.grad, layer.values.grad, layer.bias.grad))
        layer.zero_grad()
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_layer_runs_for_any_batch_after_saving(strict: bool, tmp_path: Path) -> None:
    layer = Layer()
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(
        layer, (random(4, 7),), dynamic_shapes=({0: batch},), strict=strict
    )
    memory = io.BytesIO()
    torch.export.save(program, memory)
    memory.seek(0)
    loaded = torch.export.load(memory).module()
    assert torch.equal(loaded(random(9, 7)), layer(random(9, 7)))


def test_a_trace_holds_the_operator() -> None:
    values = random(len(INDEX))
    traced = make_fx(lambda x: sparse_linear(x, values, None, INDEX))(random(4, 7))
    names = [str(node.target) for node in traced.graph.nodes if node.op == "call_function"]
    assert "structure_net.sparse_linear.default" in names
