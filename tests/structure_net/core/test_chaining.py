"""Layers that run as one chain give what they give one by one; whoever looks between sees them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from structure_net.core import create_standard_network, sparse_passes, teams
from structure_net.core.chaining import Stage, chain_of, is_plain, is_quiet, through
from structure_net.core.network_factory import StandardNetwork
from structure_net.core.sparse_chains import Link, Links, chained
from tests.chains import WIDTHS, derived, network, one_by_one, random, same

KINDS = [torch.float32, torch.float64]


pytestmark = pytest.mark.usefixtures("live_storage")


def is_chain(outputs: Tensor) -> bool:
    return type(outputs.grad_fn).__name__ == "_ChainBackward"


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("batch", [0, 1, 7, 128, 150])
def test_a_chain_gives_the_bits_of_its_layers(batch: int, dtype: torch.dtype) -> None:
    model, inputs = network(dtype), random(batch, 40, dtype=dtype).requires_grad_()
    assert is_chain(model(inputs))
    wanted = derived(lambda x: one_by_one(model, x), model, inputs)
    assert same(derived(model, model, inputs), wanted)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("threads", [2, 3])
def test_a_chain_gives_the_same_bits_on_any_number_of_threads(
    threads: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_passes, "SHARED_WORK", 0)
    monkeypatch.setattr(teams, "_AGAIN", 1)
    monkeypatch.setattr(sparse_passes, "THREADED_WORK", 0)
    model = create_standard_network([300, 200, 200, 10], density=0.1, seed=0).to(dtype)
    inputs = random(150, 300, dtype=dtype).requires_grad_()
    alone = derived(model, model, inputs)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = [derived(model, model, inputs) for _ in range(5)]
    finally:
        torch.set_num_threads(before)
    assert all(same(one, alone) for one in together)


@pytest.mark.parametrize(
    "frozen", ["layers.0", "layers.1", "layers.2", "weight", "bias", "s.0.weight", "none", ""]
)
@pytest.mark.parametrize("of_inputs", [True, False])
def test_only_what_is_needed_has_a_gradient(frozen: str, of_inputs: bool) -> None:
    model, inputs = network(), random(9, 40).requires_grad_(of_inputs)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(frozen not in name)
    wanted = derived(lambda x: one_by_one(model, x), model, inputs)
    assert same(derived(model, model, inputs), wanted)


def test_inputs_may_lie_in_any_way() -> None:
    model, inputs = network(), random(9, 40)
    wanted = one_by_one(model, inputs)
    for other in (inputs.t().contiguous().t(), random(9, 80)[:, ::2].copy_(inputs)):
        assert torch.equal(model(other), wanted)


def test_layers_without_bias_and_a_last_relu_are_part_of_a_chain() -> None:
    model, inputs = network(), random(9, 40).requires_grad_()
    layers = [layer.branch(layer.pattern) for layer in model.layers]
    held = nn.ModuleList([*layers, nn.ReLU()])
    for layer in layers:
        layer.reset_parameters(torch.Generator().manual_seed(2))
    outputs = through([(layer, held[-1]) for layer in layers], inputs)
    assert is_chain(outputs)
    wanted = derived(
        lambda x: layers[2](layers[1](layers[0](x).relu()).relu()).relu(), held, inputs
    )
    found = derived(lambda x: through([(one, held[-1]) for one in layers], x), held, inputs)
    assert same(found, wanted)


def test_other_modules_run_by_themselves_between_chains() -> None:
    model, inputs = network(), random(9, 40).requires_grad_()
    model.activations[0] = nn.Tanh()
    wanted = derived(lambda x: one_by_one(model, x), model, inputs)
    assert same(derived(model, model, inputs), wanted)
    dense = nn.Linear(33, 20).double()
    model = network()
    model.layers[1] = dense
    wanted = derived(lambda x: one_by_one(model, x), model, inputs)
    assert same(derived(model, model, inputs), wanted)


@pytest.mark.parametrize("order", ["first", "second", "batched"])
def test_chains_can_be_differentiated_again_and_again(order: str) -> None:
    model, inputs = network(), random(4, 40).requires_grad_()
    links = Links(
        Link(layer.index, place < 2)  # type: ignore[arg-type]
        for place, layer in enumerate(model.layers)
    )
    parameters = [one.detach().clone().requires_grad_() for one in model.parameters()]
    tanh = torch.tanh  # so that second derivatives are not zero

    def outputs(x: Tensor, *values: Tensor) -> Tensor:
        return tanh(chained(x, values, links))

    if order == "second":
        assert torch.autograd.gradgradcheck(outputs, (inputs, *parameters), fast_mode=True)
    else:
        batched = order == "batched"
        assert torch.autograd.gradcheck(
            outputs, (inputs, *parameters), check_batched_grad=batched, fast_mode=True
        )


def test_a_chain_of_its_own_weights_is_differentiated_through_both() -> None:
    # The inputs depend on a weight of the chain, too.
    model = network()
    weight: Any = model.layers[0].weight
    inputs = random(4, 40)

    def penalty(run: Callable[[Tensor], Tensor]) -> Tensor:
        model.zero_grad()
        (slope,) = torch.autograd.grad(
            run(inputs * weight.sum()).square().sum(), weight, create_graph=True
        )
        slope.square().sum().backward()
        assert weight.grad is not None
        return weight.grad

    torch.testing.assert_close(
        penalty(model), penalty(lambda x: one_by_one(model, x)), rtol=1e-10, atol=1e-10
    )


def test_hooks_see_the_layers_between() -> None:
    model, inputs, seen = network(), random(3, 40), []
    for module in (model.layers[1], model.activations[0]):
        hook = module.register_forward_hook(lambda _, __, outputs: seen.append(outputs))
        wanted = one_by_one(model, inputs)
        seen.clear()
        assert torch.equal(model(inputs), wanted)
        assert len(seen) == 1
        hook.remove()
    with nn.modules.module.register_module_forward_hook(lambda *_: None):
        assert not is_chain(model(inputs))
    assert is_chain(model(inputs))


def test_a_layer_with_a_forward_of_its_own_keeps_it() -> None:
    model, inputs = network(), random(3, 40)
    layer = model.layers[1]
    layer.forward = lambda x: F.linear(x, layer.dense_weight()) * 0  # type: ignore[method-assign, operator]
    assert torch.equal(model(inputs), model.layers[2](torch.zeros(3, 20).double()))


def test_modes_see_every_operation() -> None:
    class Mode(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.seen += function is F.relu
            return function(*args, **(kwargs or {}))

    with Mode() as mode:
        network()(random(3, 40))
    assert mode.seen == 2


# torch's own forward mode compiles some of its formulas in a way that torch deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_autocast_and_transforms_are_those_of_the_layers() -> None:
    model, inputs = network(torch.float32), random(3, 40, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(inputs).dtype == torch.bfloat16
    found = torch.func.vmap(lambda x: model(x[None])[0])(inputs)
    torch.testing.assert_close(found, model(inputs))
    _, slope = torch.func.jvp(model, (inputs,), (inputs,))
    assert slope.shape == (3, 7)


def test_copies_and_edited_tensors_are_followed() -> None:
    model, inputs = network(), random(3, 40)
    model(inputs)
    twin = copy.deepcopy(model)
    twin.layers[0].fill(1.0)  # type: ignore[operator]
    assert torch.equal(twin(inputs), one_by_one(twin, inputs))
    twin.load_state_dict(
        create_standard_network(list(WIDTHS), density=0.5, seed=3).double().state_dict()
    )
    assert torch.equal(twin(inputs), one_by_one(twin, inputs))
    assert not torch.equal(twin(inputs), model(inputs))


def test_inputs_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="40"):
        network()(random(3, 41))


def test_inference_leaves_no_graph() -> None:
    model = network()
    with torch.no_grad():
        assert not model(random(3, 40)).requires_grad
    with torch.inference_mode():
        assert model(random(3, 40)).is_inference()


def elsewhere(tensor: Tensor) -> Tensor:
    """A copy that lies in other memory, and in another order."""
    return tensor.detach().t().clone(memory_format=torch.contiguous_format).t()


@pytest.mark.parametrize("batch", [1, 9])
def test_what_is_saved_may_come_back_elsewhere(batch: int) -> None:
    model, inputs = network(), random(40, batch).t().requires_grad_()

    def moved(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def saving(x: Tensor) -> Tensor:
            with torch.autograd.graph.saved_tensors_hooks(elsewhere, elsewhere):
                return run(x)

        return saving

    for run in (model, lambda x: one_by_one(model, x)):
        wanted = derived(run, model, inputs)
        assert same(derived(moved(run), model, inputs), wanted)
        found = derived(lambda x, run=run: checkpoint(run, x, use_reentrant=False), model, inputs)
        assert same(found, wanted)


def test_a_view_that_negates_is_read_as_what_it_shows() -> None:
    model, inputs = network(), random(9, 40)
    slope = random(9, 7)
    for turned in (lambda x: x, lambda x: x.t().contiguous().t()):
        for run in (model, lambda x: one_by_one(model, x)):
            found = run(torch._neg_view(turned(-inputs)))
            assert torch.equal(found, run(turned(inputs)))
            weights = list(model.parameters())
            given = [torch._neg_view(turned(-slope)), turned(slope)]
            one, other = (
                torch.autograd.grad(found, weights, gradient, retain_graph=True)
                for gradient in given
            )
            assert same(list(one), list(other))


@pytest.mark.parametrize("edit", ["grown", "shrunk", "float"])
@pytest.mark.parametrize("chain", [True, False])
def test_weights_exchanged_before_the_way_back_are_refused(edit: str, chain: bool) -> None:
    model = network()
    outputs = model(random(3, 40)) if chain else one_by_one(model, random(3, 40))
    weight = model.layers[1].weight
    assert isinstance(weight, nn.Parameter)
    count = len(weight)
    data = {"grown": random(count + 5), "shrunk": random(count - 5), "float": weight.data.float()}
    weight.data = data[edit]
    with pytest.raises(RuntimeError, match="after backward"):
        outputs.sum().backward()


def looked_at(*_: Any) -> None: ...


def stages(model: StandardNetwork) -> list[Stage]:
    return [*zip(model.layers[:-1], model.activations, strict=True), (model.layers[-1], None)]


@torch.no_grad()
def test_a_chain_is_what_its_layers_make_together() -> None:
    model, inputs = network(), random(7, 40)
    found = chain_of(stages(model), inputs)
    assert found is not None
    assert torch.equal(chained(*found), model(inputs))
    assert chain_of([], inputs) is None
    assert chain_of([*stages(model), (nn.Linear(7, 3), None)], inputs) is None
    model.layers[1].register_forward_hook(looked_at)
    assert chain_of(stages(model), inputs) is None


@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
def test_a_module_is_quiet_until_somebody_looks(register: str) -> None:
    module = nn.ReLU()
    assert is_quiet(module)
    hook = getattr(module, register)(looked_at)
    assert not is_quiet(module)
    hook.remove()
    assert is_quiet(module)


@pytest.mark.parametrize("name", ["forward", "_compiled_call_impl"])
def test_a_module_is_quiet_as_long_as_its_call_is_its_forward(name: str) -> None:
    module = nn.ReLU()
    setattr(module, name, looked_at)
    assert not is_quiet(module)


def test_rows_of_numbers_are_plain_as_long_as_nobody_watches() -> None:
    assert is_plain(random(2, 3))
    others = random(2, 3, 4), random(2, 3).half(), random(2, 3).to("meta"), random(2, 3).int()
    assert not any(map(is_plain, others))
    values = random(2, 3)

    class Watching(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return func(*args, **(kwargs or {}))

    with Watching():
        assert not is_plain(values)
    with torch.autocast("cpu"):
        assert not is_plain(values)
