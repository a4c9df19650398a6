from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core import SparseConv2d, SparsePattern, StandardSparseLayer
from structure_net.errors import StructureNetError
from structure_net.evolution.metrics import LayeredGraph, layered_graph_of
from structure_net.evolution.metrics.linking import INPUT


def linked(graph: LayeredGraph) -> dict[tuple[str, str], Tensor]:
    """The weights between each two layers, earlier by later units."""
    return {
        (graph.layers[block.source], graph.layers[block.target]): block.matrix(block.weights)
        for block in graph.blocks
    }


def depending(model: nn.Module, example: Tensor) -> dict[tuple[str, str], Tensor]:
    """Which unit of a layer moves which unit of another one while all other layers stand still.

    Every layer hands on a copy of its output that remembers nothing, so that gradients of a
    layer's output show what it reads directly.
    """
    axes = {
        name: 1 if isinstance(module, (nn.Conv2d, SparseConv2d)) else -1
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d, SparseConv2d, StandardSparseLayer))
    }
    cut: dict[str, Tensor] = {}
    found: dict[tuple[str, str], Tensor] = {}

    def after(name: str, output: Tensor) -> Tensor:
        axis = axes[name] % output.dim()
        units = output.movedim(axis, 0).flatten(1)
        # Random weights over positions, so that nothing cancels.
        generator = torch.Generator().manual_seed(0)
        mix = torch.randn(units.shape[1], generator=generator, dtype=units.dtype)
        for other, leaf in cut.items():
            moved = torch.zeros(leaf.shape[axes[other]], len(units), dtype=torch.bool)
            for unit, value in enumerate((units * mix).sum(1)):
                if not value.requires_grad:
                    continue
                (one,) = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
                if one is not None:
                    moved[:, unit] = one.movedim(axes[other], 0).flatten(1).abs().sum(1) > 0
            if bool(moved.any()):
                found[other, name] = moved
        cut[name] = output.detach().requires_grad_()
        return cut[name]

    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: after(name, output)
        )
        for name in axes
    ]
    model(example)
    for handle in handles:
        handle.remove()
    return found


class Residual(nn.Module):
    """A stem, a residual block, squeeze and excitation, and a head on two poolings at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.first = nn.Conv2d(6, 6, 3, padding="same", groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect")
        self.squeeze = nn.Linear(6, 6)
        self.head = nn.Linear(12, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        stream = torch.tanh(self.stem(inputs))
        inner = self.second(F.silu(self.norm(self.first(stream))))
        inner = inner * torch.sigmoid(self.squeeze(inner.mean((2, 3))))[:, :, None, None]
        stream = stream + inner
        pools = [F.adaptive_avg_pool2d(stream, 1), F.adaptive_max_pool2d(inner, 1)]
        return self.head(torch.cat(pools, 1).flatten(1))


class Gated(nn.Module):
    """Halves that gate each other, a permutation, slices, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(5, 12)
        self.down = nn.Linear(6, 8)
        self.turned = nn.Linear(8, 4)
        self.out = nn.Linear(10, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        value, gate = self.up(inputs).chunk(2, -1)
        low = self.down(value * torch.sigmoid(gate))
        turned = self.turned(low.flip(-1).roll(3, -1))
        return self.out(torch.cat([low[:, ::2], turned, F.glu(low[:, 4:], -1)], -1))


class Flattened(nn.Module):
    """Sparse layers, channels that are folded into pixels and back, and a flattening."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = SparseConv2d(2, 8, 3, padding=1, density=0.6, generator=generator)
        self.second = nn.Conv2d(2, 3, 3, stride=2)
        self.head = StandardSparseLayer(12, 4, density=0.3, generator=generator)

    def forward(self, inputs: Tensor) -> Tensor:
        folded = F.pixel_shuffle(torch.tanh(self.first(inputs)), 2)
        restored = F.pixel_unshuffle(folded, 2)[:, 2:4]
        return self.head(torch.tanh(self.second(F.avg_pool2d(restored, 1))).flatten(1))


CASES = {
    "residual": (Residual, (2, 3, 8, 8)),
    "gated": (Gated, (2, 5)),
    "flattened": (Flattened, (2, 2, 6, 6)),
}


@pytest.mark.parametrize("name", CASES)
def test_units_are_linked_exactly_where_one_moves_the_other(name: str) -> None:
    make, shape = CASES[name]
    torch.manual_seed(0)
    model = make().double().eval()
    example = torch.randn(shape, dtype=torch.float64)
    graph = layered_graph_of(model, example)
    expected = depending(model, example)
    found = {pair: matrix > 0 for pair, matrix in linked(graph).items() if pair[0] != INPUT}
    assert graph.unlinked == {}
    assert found.keys() == expected.keys()
    for pair, moved in expected.items():
        assert torch.equal(found[pair], moved), pair


def test_weights_of_edges_are_magnitudes_and_norms_of_kernels() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4)
    )
    graph = layered_graph_of(model, torch.randn(2, 2, 6, 6))
    assert (graph.layers, graph.sizes) == ((INPUT, "0", "4"), (2, 3, 4))
    found = linked(graph)
    kernels = model[0].weight.detach().double().flatten(2).norm(dim=2).T
    torch.testing.assert_close(found[INPUT, "0"], kernels)
    over_positions = model[4].weight.detach().double().reshape(4, 3, 4).norm(dim=2).T
    torch.testing.assert_close(found["0", "4"], over_positions)
    assert graph.inputs.tolist() == [True] * 2 + [False] * 7
    assert graph.outputs.tolist() == [False] * 5 + [True] * 4


def test_inputs_are_pixels_where_all_readers_tell_pixels_apart() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(18, 4))
    assert layered_graph_of(flat, torch.randn(2, 2, 3, 3)).sizes == (18, 4)
    tokens = nn.Linear(5, 3)
    assert layered_graph_of(tokens, torch.randn(2, 7, 5)).sizes == (5, 3)


def test_connections_of_weight_zero_exist_in_sparse_layers_only() -> None:
    pattern = SparsePattern.from_pairs([(0, 0), (1, 2)], (2, 3))
    sparse, dense = StandardSparseLayer(3, 2, pattern=pattern), nn.Linear(2, 2)
    with torch.no_grad():
        sparse.weight.zero_()
        dense.weight.copy_(torch.eye(2))
    graph = layered_graph_of(nn.Sequential(sparse, dense), torch.randn(2, 3))
    assert [len(block.edges) for block in graph.blocks] == [2, 2]
    assert graph.weights.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_attention_carries_values_and_names_its_scores() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    graph = layered_graph_of(layer, torch.randn(2, 5, 8))
    found = linked(graph)
    assert graph.layers[1:] == ("self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2")
    values = found["self_attn.in_proj", "self_attn.out_proj"]
    assert not bool(values[:16].any())  # queries and keys
    torch.testing.assert_close(
        values[16:], layer.self_attn.out_proj.weight.detach().double().abs().T
    )
    assert {(INPUT, "linear1"), ("self_attn.out_proj", "linear1")} <= set(found)
    assert graph.unlinked == {"self_attn.in_proj -> self_attn.out_proj": "attention scores"}


class Bare(nn.Module):
    """Parameters without modules, tied weights, and a write into a part of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.matrix = nn.Parameter(torch.randn(4, 3))
        self.partly = nn.Linear(6, 4, bias=False)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = torch.einsum("bti,ij->btj", self.table(tokens), self.matrix)
        wide = hidden.new_zeros(*hidden.shape[:2], 6)
        wide[..., :3] = hidden
        return self.head(self.partly(wide))


def test_parameters_without_modules_tied_weights_and_tables_are_layers() -> None:
    graph = layered_graph_of(Bare(), torch.tensor([[0, 1], [2, 3]]))
    assert graph.layers == ("table", "matrix", "partly", "head")
    assert set(linked(graph)) == {("table", "matrix"), ("partly", "head")}
    assert graph.inputs.nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert graph.unlinked == {"matrix -> partly": "written into a part of a tensor"}


def test_recurrence_is_left_out_with_a_reason() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.LSTM(4, 3, batch_first=True)
            self.again = nn.Linear(3, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            last = self.cells(inputs)[0][:, -1]
            return self.again(torch.relu(self.again(last)))

    graph = layered_graph_of(Reader(), torch.randn(2, 6, 4))
    assert set(linked(graph)) == {(INPUT, "cells"), ("cells", "again")}
    assert "step to step" in graph.unlinked["cells -> cells"]
    assert "no loop" in graph.unlinked["again -> again"]


def test_tensors_that_turn_in_place_keep_their_units() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.second(self.first(inputs).transpose(1, 2).transpose_(1, 2).unsqueeze_(0))

    graph = layered_graph_of(Turned(), torch.randn(2, 3, 4))
    assert set(linked(graph)) == {(INPUT, "first"), ("first", "second")}


def test_an_operation_without_a_rule_is_named() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.second(self.first(inputs).sort(-1).values)

    graph = layered_graph_of(Sorted(), torch.randn(2, 4))
    assert set(linked(graph)) == {(INPUT, "first")}
    assert graph.unlinked == {"first -> second": "operation 'sort' has no rule"}


def test_mixing_over_positions_is_named() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mix = nn.Linear(4, 6), nn.Linear(5, 5)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.mix(self.embed(inputs).transpose(1, 2))

    graph = layered_graph_of(Mixer(), torch.randn(2, 5, 4))
    assert "positions" in graph.unlinked["embed -> mix"]


def test_computed_weights_count_as_they_are() -> None:
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    graph = layered_graph_of(nn.Sequential(layer, nn.ReLU(), nn.Linear(3, 2)), torch.randn(2, 4))
    assert graph.layers == (INPUT, "0", "2")
    torch.testing.assert_close(
        linked(graph)[INPUT, "0"], layer.weight.detach().double().abs().T, rtol=1e-6, atol=0
    )


def test_transposed_convolutions_link_by_group() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, groups=2), nn.Conv2d(6, 2, 1))
    found = linked(layered_graph_of(model, torch.randn(1, 4, 3, 3)))[INPUT, "0"]
    kernels = model[0].weight.detach().double().flatten(2).norm(dim=2)
    expected = torch.block_diag(kernels[:2], kernels[2:])
    torch.testing.assert_close(found, expected)


def test_several_inputs_have_names_of_their_own() -> None:
    model = nn.Bilinear(3, 4, 2)

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(3, 2), nn.Linear(4, 2)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return self.left(one) + self.right(other)

    graph = layered_graph_of(Both(), {"one": torch.randn(2, 3), "other": torch.randn(2, 4)})
    assert graph.layers == ("(input one)", "(input other)", "left", "right")
    assert layered_graph_of(Both(), (torch.randn(2, 3), torch.randn(2, 4))).layers[0] == "(input 0)"
    with pytest.raises(StructureNetError, match="'_trilinear' has no rule"):
        layered_graph_of(model, (torch.randn(2, 3), torch.randn(2, 4)))


def test_reading_the_graph_leaves_the_model_as_it_was() -> None:
    model = Residual().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layered_graph_of(model, torch.randn(2, 3, 8, 8))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_without_layers_or_in_a_wrapper_is_refused() -> None:
    with pytest.raises(StructureNetError, match="no layer"):
        layered_graph_of(nn.ReLU(), torch.randn(2, 3))
    with pytest.raises(StructureNetError, match="DataParallel"):
        layered_graph_of(nn.DataParallel(nn.Linear(3, 2)), torch.randn(2, 3))


def test_writing_into_one_half_of_a_tensor_leaves_the_other_half_linked() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 6), nn.Linear(4, 3)
            self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            both = self.first(inputs)
            both[:, :3] += self.second(inputs)
            return self.left(both[:, :3]) + self.right(both[:, 3:])

    graph = layered_graph_of(Halves(), torch.randn(2, 4))
    links = {pair for pair in linked(graph) if pair[0] != INPUT}
    assert links == {("first", "left"), ("second", "left"), ("first", "right")}
    assert graph.unlinked == {}


def test_a_convolution_that_is_written_as_a_product_is_linked() -> None:
    class Unfolded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(2, 3, 1)
            self.weight = nn.Parameter(torch.randn(4, 27))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.weight @ F.unfold(self.stem(inputs), 3, padding=1)

    torch.manual_seed(0)
    model = Unfolded()
    found = linked(layered_graph_of(model, torch.randn(2, 2, 5, 5)))["stem", "weight"]
    expected = model.weight.detach().double().reshape(4, 3, 9).norm(dim=2).T
    torch.testing.assert_close(found, expected)
