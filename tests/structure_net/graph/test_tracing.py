"""Tracing leaves no trace, takes any form of example, and says what to do where it fails."""

from __future__ import annotations

import linecache
import random
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
import torch
from torch import Tensor, nn

from structure_net.core import StandardSparseLayer
from structure_net.errors import TraceError
from structure_net.graph import trace, tracing
from structure_net.graph.tracing import Example
from tests.zoo import ZOO


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def attributes(model: nn.Module) -> list[tuple[str, dict[str, object]]]:
    """The plain attributes of all submodules."""
    plain = (int, float, str, bool, tuple, type(None))
    return [
        (name, {k: v for k, v in vars(module).items() if isinstance(v, plain)})
        for name, module in model.named_modules()
    ]


@pytest.mark.parametrize("name", ["mlp_batchnorm", "conv_residual", "lstm_deep", "encoder_layer"])
def test_a_trace_changes_nothing(name: str) -> None:
    model = ZOO[name].build(0)
    modes = [i % 2 == 0 for i, _ in enumerate(model.modules())]
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    tensors, plain, identities = (
        snapshot(model),
        attributes(model),
        list(map(id, model.parameters())),
    )
    trace(model, ZOO[name].inputs(2, 0))
    after = snapshot(model)
    assert all(torch.equal(tensors[key], after[key]) for key in tensors)
    assert attributes(model) == plain
    assert [module.training for module in model.modules()] == modes
    assert list(map(id, model.parameters())) == identities


def test_recurrent_weights_are_the_parameters_after_a_trace() -> None:
    model = ZOO["lstm"].build(0)
    trace(model, ZOO["lstm"].inputs(2, 0))
    cell = next(module for module in model.modules() if isinstance(module, nn.LSTM))
    assert all(weight is getattr(cell, name) for weight, name in zip(
        cell._flat_weights, cell._flat_weights_names, strict=True
    ))  # fmt: skip


def test_a_trace_leaves_random_numbers_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.Linear(8, 2))
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    trace(model, torch.ones(2, 4))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_a_trace_leaves_modes_of_torch_alone() -> None:
    trace(nn.Linear(4, 2), torch.ones(2, 4))
    assert torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


class Asking(nn.Module):
    """Notes whether oneDNN is on while it runs."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        _FOUND.add(torch.backends.mkldnn.enabled)
        return torch.relu(self.layer(x))


_FOUND: set[bool] = set()


def test_a_trace_leaves_the_libraries_on_that_other_threads_train_with() -> None:
    _FOUND.clear()
    trace(Asking(nn.Conv2d(2, 3, 3)), torch.randn(1, 2, 5, 5))
    assert {torch.backends.mkldnn.is_available()} == _FOUND


class FunctionalLSTM(nn.Module):
    """A recurrence without a recurrent module."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.LSTM(3, 4).parameters())

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(1, x.shape[1], 4)
        arguments = list(self.weights), True, 1, 0.0, False, False, False
        found: Tensor = torch.lstm(x, (state, state), *arguments)[0]
        return found


def test_a_recurrence_by_function_is_traced_without_operations_of_a_library() -> None:
    model, arguments = FunctionalLSTM(), (torch.randn(5, 2, 3),)
    program, _ = tracing._export(model, arguments, {}, training=False)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert any("lstm" in name for name in names)
    assert not any("mkldnn" in name for name in names)


def test_a_trace_leaves_no_hooks() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    trace(model, torch.ones(2, 4))
    hooks = [(m._forward_hooks, m._forward_pre_hooks, m._backward_hooks) for m in model.modules()]
    assert not any(kind for kinds in hooks for kind in kinds)


class Pair(nn.Module):
    """Two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(3, 5)
        self.right = nn.Linear(4, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(self.left(x) + self.right(y))


@pytest.mark.parametrize(
    "example",
    [
        (torch.ones(2, 3), torch.ones(2, 4)),
        {"x": torch.ones(2, 3), "y": torch.ones(2, 4)},
        {"y": torch.ones(2, 4), "x": torch.ones(2, 3)},
    ],
)
def test_examples_are_tuples_or_mappings(example: Example) -> None:
    graph = trace(Pair(), example)
    assert set(graph.editable) == {"left", "right"}


def test_a_compiled_model_is_refused_with_the_way_out() -> None:
    with warnings.catch_warnings():  # importing torch's compiler uses what torch itself deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        compiled = torch.compile(nn.Linear(4, 2))
    with pytest.raises(TraceError, match="_orig_mod"):
        trace(compiled, torch.ones(2, 4))


def test_a_data_parallel_model_is_refused_with_the_way_out() -> None:
    with pytest.raises(TraceError, match=r"model\.module"):
        trace(nn.DataParallel(nn.Linear(4, 2)), torch.ones(2, 4))


class Branching(nn.Module):
    """Asks for a value."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if bool(x.sum() > 0) else x


def test_a_branch_on_values_is_refused_with_its_line() -> None:
    with pytest.raises(TraceError, match=r"Branching cannot be traced.*test_tracing\.py, line \d+"):
        trace(Branching(), torch.ones(2, 4))


def test_a_failed_trace_puts_the_model_back() -> None:
    model = Branching().train()
    with pytest.raises(TraceError):
        trace(model, torch.ones(2, 4))
    assert model.training
    assert model.layer.training


def test_an_example_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(TraceError, match="Linear cannot be traced"):
        trace(nn.Linear(4, 2), torch.ones(2, 5))


def test_a_sparse_layer_is_a_leaf_and_keeps_its_forward() -> None:
    first = StandardSparseLayer(6, 8, density=0.5, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(8, 3))
    group = trace(model, torch.ones(2, 6)).group("0")
    assert "forward" not in vars(first)
    axes = {(axis.tensor, axis.dim, axis.leaf) for axis in group.axes}
    assert axes == {("0", 0, True), ("2.weight", 1, False)}


def test_tensors_inside_a_leaf_and_unused_ones_are_its_own_affair() -> None:
    layer = StandardSparseLayer(6, 8, density=0.5, generator=torch.Generator().manual_seed(0))
    layer.register_buffer("unused", torch.ones(3))
    graph = trace(nn.Sequential(layer, nn.Linear(8, 3)), torch.ones(2, 6))
    assert graph.shapes() == {"1.weight": (3, 8), "1.bias": (3,)}


class Cached(nn.Module):
    """Returns a result among things that are no tensors, as language models with caches do."""

    class Cache:
        """What the next call would need."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> dict[str, object]:
        return {"logits": self.head(self.hidden(x)), "cache": Cached.Cache(), "steps": 3}


def test_results_that_are_no_tensors_are_left_out() -> None:
    graph = trace(Cached(), torch.ones(2, 4))
    assert graph.frozen == {"head": "the model's output"}
    assert set(graph.editable) == {"hidden"}


class CausalModel(nn.Module):
    """A language model that makes the mask of its transformer itself."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        block = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(block, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 11)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.size(1))
        return self.head(self.encoder(self.words(x), mask))


def test_a_transformer_with_a_mask_of_its_own_is_traced() -> None:
    graph = trace(CausalModel(), torch.zeros(2, 5, dtype=torch.long))
    assert set(graph.frozen) == {"head"}
    assert graph.group("words").granularity == 4


def test_traces_leave_nothing_in_memory() -> None:
    model, inputs = ZOO["mlp_batchnorm"].build(0), ZOO["mlp_batchnorm"].inputs(2, 0)
    before = set(linecache.cache)
    trace(model, inputs)  # what is made once
    texts, variables = len(linecache.cache), len(copy_context())
    trace(model, inputs)
    made = set(linecache.cache) - before
    assert not [name for name in made if name.startswith("<eval_with_key>")]
    assert (len(linecache.cache), len(copy_context())) == (texts, variables)


def test_threads_export_one_after_the_other() -> None:
    inside, most = 0, 0

    class Counting(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)  # so that others would come in
            inside -= 1
            return super().forward(inputs)

    models = [Counting(2, 2) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda model: trace(model, torch.ones(1, 2)), models))
    assert most == 1
