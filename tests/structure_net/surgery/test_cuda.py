"""Edits on a CUDA device keep the function; optimizers go on; checkpoints change devices."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from structure_net.surgery import (
    AddConnections,
    AddHeads,
    AddNeurons,
    AddResidualBlock,
    DoubleWidth,
    Edit,
    InsertLayer,
    RemoveNeurons,
    SplitNeurons,
    apply,
    load_checkpoint,
    save_checkpoint,
)
from structure_net.surgery.randomness import random_states, restore_random_states
from tests.elsewhere import away
from tests.zoo import ZOO
from tests.zoo.attempts import run

pytestmark = pytest.mark.away

# Random and zero fills, means under LayerNorm, grafts, heads, recurrent weights, sparse layers.
EDITS: list[tuple[str, Edit]] = [
    ("mlp_batchnorm", AddNeurons("0", 3)),
    ("mlp_batchnorm", SplitNeurons("0", (1, 4))),
    ("layernorm_stream", AddNeurons("stem", 2)),
    ("rmsnorm_stream", DoubleWidth("stem")),
    ("residual", InsertLayer("stem", None, "gelu")),
    ("residual", AddResidualBlock("stem", 2)),
    ("separate_heads", AddHeads("query", 1)),
    ("lstm", AddNeurons("cell", 2)),
    ("sparse_mlp", AddNeurons("layers.0", 2)),
    ("sparse_convolutions", AddNeurons("0", 2)),
    ("extrema_aware", SplitNeurons("layers.0", (1,))),
    ("patched", AddNeurons("layers.0", 2)),
]


def on_device(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    return ZOO[name].build().to(away()), ZOO[name].inputs(3, 1).to(away())


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        # The pretended device has no kernels for recurrent cells.
        pytest.param(n, e, id=f"{n}-{e}", marks=[pytest.mark.cuda] if n == "lstm" else [])
        for n, e in EDITS
    ],
)
def test_an_edit_keeps_function_and_device(name: str, edit: Edit) -> None:
    model, inputs = on_device(name)
    before = run(model, inputs)
    apply(model, edit, inputs, seed=1)
    tensors = [*model.parameters(), *model.buffers()]
    assert all(tensor.device.type == away() for tensor in tensors)
    # The sums of float64 are taken in another order.
    for old, new in zip(before, run(model, inputs), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-10)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("handed", [False, True])
def test_an_optimizer_goes_on_through_edits_and_undo(fused: bool, handed: bool) -> None:
    model, inputs = on_device("mlp")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)

    def step() -> None:
        optimizer.zero_grad()
        model(inputs).square().sum().backward()
        optimizer.step()

    step()
    moments = optimizer.state[model[0].weight]["exp_avg"].clone()
    given = optimizer if handed else None
    edits = (AddNeurons("0", 2), InsertLayer("0"), RemoveNeurons("0", (0,)))
    done = [apply(model, edit, inputs, optimizer=given) for edit in edits]
    step()
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}
    for one in reversed(done):
        one.undo()
    assert optimizer.state[model[0].weight]["exp_avg"].shape == moments.shape
    step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.cuda
def test_single_precision_convolutions_pass_the_check_with_tf32_on() -> None:
    model, inputs = on_device("sparse_convolutions")
    model, inputs = model.float(), inputs.float()
    apply(model, AddNeurons("0", 5), inputs)
    assert model.get_submodule("0").out_channels == 11


def test_connections_are_added_on_the_device() -> None:
    model, inputs = on_device("sparse_mlp")
    layer = model.get_submodule("layers.0")
    absent = tuple((r, c) for r, c in (~layer.pattern.mask()).nonzero()[:3].tolist())
    before = layer.connections
    apply(model, AddConnections("layers.0", absent), inputs)
    assert layer.connections == before + 3
    assert {one.device.type for one in layer.buffers()} == {away()}  # in either storage


@pytest.mark.parametrize(("saved", "loaded"), [(away(), "cpu"), ("cpu", away())])
def test_a_checkpoint_moves_between_devices(tmp_path: Path, saved: str, loaded: str) -> None:
    model = ZOO["mlp"].build().to(saved)
    optimizer = torch.optim.Adam(model.parameters())
    model(ZOO["mlp"].inputs().to(saved)).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path / "c", model, optimizer=optimizer)
    other = ZOO["mlp"].build(1).to(loaded)
    follower = torch.optim.Adam(other.parameters())
    load_checkpoint(tmp_path / "c", other, optimizer=follower)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert two.device.type == loaded
        assert torch.equal(one.cpu(), two.cpu())
        moments = follower.state[two]["exp_avg"]
        assert moments.device.type == loaded
        assert torch.equal(moments.cpu(), optimizer.state[one]["exp_avg"].cpu())


@pytest.mark.cuda
def test_the_device_s_random_state_comes_back() -> None:
    torch.cuda.init()
    generator = torch.Generator("cuda").manual_seed(3)
    states = random_states({"mine": generator})
    drawn = torch.rand(4, device="cuda"), torch.rand(4, device="cuda", generator=generator)
    restore_random_states(states, {"mine": generator})
    again = torch.rand(4, device="cuda"), torch.rand(4, device="cuda", generator=generator)
    assert all(torch.equal(one, two) for one, two in zip(drawn, again, strict=True))
