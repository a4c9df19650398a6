from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import (
    SparseConv2d,
    StandardSparseLayer,
    assign,
    create_standard_network,
    decay_groups,
    network_stats,
    plan_sparsity,
    sparse_layers,
)
from structure_net.core.crossover import Storage
from structure_net.core.layer_arguments import check_weight
from structure_net.core.layers import Granularity
from structure_net.core.storage import StoredLayer
from structure_net.core.weights import (
    input_sums,
    kernel_norms,
    output_sums,
    unit_weights,
    weight_blocks,
)
from structure_net.errors import SurgeryError
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import NetworkStatsAnalyzer, SparseEvolutionaryTraining
from structure_net.evolution.metrics import layer_connections
from structure_net.surgery import AddNeurons, MoveConnections, edit


def impulse_response(layer: nn.Module, inputs: int, size: int) -> Tensor:
    """The sum over positions of what each output gives for a one at each input unit."""
    columns = []
    for unit in range(inputs):
        image = torch.zeros(1, inputs, size, size)
        image[0, unit, size // 2, size // 2] = 1.0
        columns.append(layer(image).sum((0, 2, 3)))
    return torch.stack(columns, 1).detach()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, padding=2, bias=False),
        nn.Conv2d(4, 6, 3, padding=2, groups=2, bias=False),
        nn.Conv2d(4, 4, 3, padding=2, groups=4, bias=False),
        nn.ConvTranspose2d(4, 6, 3, bias=False),
        nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False),
    ],
    ids=["dense", "grouped", "depthwise", "transposed", "transposed-grouped"],
)
def test_the_weights_are_what_each_input_unit_does_to_each_output(layer: nn.Module) -> None:
    found = unit_weights(layer)
    assert found is not None
    total = impulse_response(layer, 4, 7)
    assert found.flatten(2).sum(2).numpy() == pytest.approx(total.numpy(), abs=1e-5)


def test_linear_and_sparse_layers_give_their_dense_matrix() -> None:
    linear = nn.Linear(3, 2)
    assert torch.equal(unit_weights(linear), linear.weight)  # type: ignore[arg-type]
    sparse = StandardSparseLayer(5, 4, density=0.3)
    assert torch.equal(unit_weights(sparse), sparse.dense_weight())  # type: ignore[arg-type]
    kernel = unit_weights(SparseConv2d(2, 3, 3, density=0.5))
    assert kernel is not None
    assert kernel.shape == (3, 2, 3, 3)


def test_what_has_no_one_matrix_has_no_weights() -> None:
    assert unit_weights(nn.LSTM(3, 4)) is None
    assert unit_weights(nn.Embedding(3, 4)) is None


@pytest.mark.parametrize("granularity", ["kernel", "weight"])
@pytest.mark.parametrize("storage", ["live", "masked"])
def test_weights_decay_in_either_storage_and_vectors_do_not(
    storage: Storage, granularity: Granularity
) -> None:
    model = nn.Sequential(
        SparseConv2d(2, 3, 3, density=0.5, granularity=granularity),
        nn.BatchNorm2d(3),
        nn.Flatten(),
        StandardSparseLayer(12, 5, density=0.3),
        nn.Linear(5, 2),
    )
    for layer in sparse_layers(model).values():
        assert isinstance(layer, StoredLayer)
        assign(layer, layer.stored(storage))
    model[4].bias.requires_grad_(False)
    decayed, kept = decay_groups(model, 0.1)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert [names[one] for one in decayed["params"]] == ["0.weight", "3.weight", "4.weight"]
    assert [names[one] for one in kept["params"]] == ["0.bias", "1.weight", "1.bias", "3.bias"]


def test_decay_is_the_same_in_both_storages() -> None:
    ends = []
    inputs = torch.randn(32, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for storage in ("live", "masked"):
        network = create_standard_network([8, 12, 3], density=0.4, seed=0).double()
        for layer in network.layers:
            assert isinstance(layer, StoredLayer)
            assign(layer, layer.stored(storage))
        optimizer = torch.optim.AdamW(decay_groups(network, 1.0), lr=0.01)
        for _ in range(20):
            optimizer.zero_grad()
            network(inputs).square().mean().backward()
            optimizer.step()
        ends.append(network(inputs).detach())
    # Twenty steps of sums of a dozen numbers, in another order.
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-10)


def test_a_model_without_vectors_has_one_group() -> None:
    (group,) = decay_groups(nn.Linear(3, 2, bias=False), 0.1)
    assert len(group["params"]) == 1


@pytest.mark.parametrize("decay", [-0.1, float("inf"), float("nan")])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="weight_decay"):
        decay_groups(nn.Linear(3, 2), decay)


def test_weights_that_are_computed_from_others_are_refused() -> None:
    layer = StandardSparseLayer(12, 5, density=0.3)
    nn.utils.parametrizations.weight_norm(layer)
    with pytest.raises(ValueError, match="'1' is no parameter"):
        decay_groups(nn.Sequential(nn.ReLU(), layer), 0.1)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_kernels_in_half_precision_are_ranked_by_what_their_norms_are(kind: torch.dtype) -> None:
    values = torch.randn(16, 12, 3, 3, generator=torch.Generator().manual_seed(0)).to(kind)
    exact = values.double().flatten(2).norm(dim=2)
    assert torch.equal(kernel_norms(values, 2).flatten().argsort(), exact.flatten().argsort())
    layer = nn.Conv2d(12, 16, 3)
    layer.weight = nn.Parameter(values)
    found = layer_connections(layer)[""].weights  # sums of 9 squares
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0.0)
    kept = plan_sparsity(layer, 0.5).layers[0].pattern
    assert torch.equal(kept.mask().flatten(), exact.flatten() >= exact.flatten().sort()[0][96])
    sparse = SparseConv2d(12, 16, 3, pattern=kept).to(kind)
    sparse.fill(values[kept.rows, kept.columns])
    least = exact[kept.rows, kept.columns].argsort()[:29]  # .3 of 96
    context = NetworkContext(nn.Sequential(sparse), [])
    (move,) = SparseEvolutionaryTraining(0.3, by_sign=False).propose(context, {})
    assert isinstance(move.edit, MoveConnections)
    assert list(move.edit.removed) == [kept.pairs[place] for place in least.sort()[0]]


@pytest.mark.usefixtures("either_storage")
@pytest.mark.parametrize("granularity", ["kernel", "weight"])
def test_blocks_and_sums_of_a_sparse_layer_are_those_of_its_matrix(
    granularity: Granularity,
) -> None:
    torch.manual_seed(0)
    layers = (
        StandardSparseLayer(6, 7, density=0.3),
        SparseConv2d(3, 7, 3, density=0.4, granularity=granularity),
    )
    for layer in layers:
        layer.double()
        weights = unit_weights(layer)
        assert weights is not None
        for entries in (1, 2 * weights[0].numel(), 10**6):
            blocks = weight_blocks(layer, entries)
            assert blocks is not None
            parts = list(blocks)
            assert len(parts) == {1: 7, 10**6: 1}.get(entries, 4)
            assert torch.equal(torch.cat(parts).flatten(1), weights.flatten(1))
        for sums, axis in ((output_sums, 0), (input_sums, 1)):
            expected = weights.transpose(0, axis).flatten(1).sum(1)
            found = sums(layer, layer.live_weights.detach())
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_blocks_of_other_layers_are_parts_of_their_weights() -> None:
    layer = nn.Linear(4, 5)
    blocks = weight_blocks(layer, 8)
    assert blocks is not None
    assert [tuple(one.shape) for one in blocks] == [(2, 4), (2, 4), (1, 4)]
    assert weight_blocks(nn.ReLU(), 8) is None


def test_a_layer_whose_weight_is_none_is_passed_over_and_said_to_be() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    odd = model[1].odd = nn.Linear(3, 3)
    odd.weight = None  # type: ignore[assignment]  # as torch lets it
    assert unit_weights(odd) is None
    assert plan_sparsity(model, 0.5).left["1.odd"] == "its weight is None, no real parameter"
    context = NetworkContext(model, [(torch.randn(8, 4), torch.arange(8) % 3)])
    found = ComposableEvolutionSystem([NetworkStatsAnalyzer()]).analyze(context)
    assert set(found["network_spectra"]) == {"0", "2"}
    assert network_stats(model)["total_connections"] == 42
    with pytest.raises(SurgeryError, match=r"'1\.odd'"):
        edit(model, AddNeurons("1.odd", 1), torch.randn(2, 4))


@pytest.mark.parametrize("layer", [StandardSparseLayer(4, 3), SparseConv2d(4, 3, 3)], ids=str)
def test_the_weight_of_a_sparse_layer_cannot_be_none(layer: StoredLayer) -> None:
    before = layer.weight
    with pytest.raises(TypeError, match=r"weight of a sparse layer cannot be None.*zeros_"):
        layer.weight = None  # type: ignore[assignment]
    assert layer.weight is before
    layer.bias = None
    assert layer.bias is None
    check_weight("bias", None)
