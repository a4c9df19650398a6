"""The front door: previews, checks behind an edit, refusals."""

import copy

import pytest
import torch
from torch import nn

from structure_net.core import create_standard_network
from structure_net.errors import PreservationError, SurgeryError
from structure_net.graph import trace
from structure_net.surgery import (
    AddConnections,
    AddNeurons,
    CopyUnits,
    DoubleWidth,
    InsertLayer,
    MergeNeurons,
    RemoveConnections,
    RemoveNeurons,
    ResetNeurons,
    SplitNeurons,
    apply,
    applying,
    edit,
    operate,
    plan,
    preview,
)


def network() -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)]
    return nn.Sequential(*layers).double(), torch.randn(3, 4, dtype=torch.float64)


def test_a_preview_is_a_table_and_touches_nothing() -> None:
    model, x = network()
    before = copy.deepcopy(model.state_dict())
    text = str(preview(model, AddNeurons("0", 2), x))
    assert text.splitlines() == [
        "AddNeurons(layer='0', count=2)",
        "tensor    before  after  role",
        "0.weight  6x4     8x4    writes",
        "0.bias    6       8      writes",
        "2.weight  5x6     5x8    reads",
    ]
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_preview_counts_one_connection_in_the_singular() -> None:
    model = create_standard_network([4, 6, 3], density=0.5, seed=0)
    pattern = model.layers[0].pattern
    pair = (int(pattern.rows[0]), int(pattern.columns[0]))
    text = str(preview(model, RemoveConnections("layers.0", (pair,)), torch.zeros(2, 4)))
    assert text.endswith("1 fewer connection")


def test_an_applied_edit_lists_what_changed() -> None:
    model, x = network()
    done = apply(model, RemoveNeurons("2", (0, 3)), x)
    assert [(c.tensor, c.before, c.after) for c in done.changes] == [
        ("2.weight", (5, 6), (3, 6)),
        ("2.bias", (5,), (3,)),
        ("4.weight", (3, 5), (3, 3)),
    ]


def test_attributes_stay_true() -> None:
    model, x = network()
    edit(model, AddNeurons("0", 2), x)
    assert "in_features=4, out_features=8" in repr(model[0])
    assert "in_features=8, out_features=5" in repr(model[2])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (AddNeurons("4", 1), "fixed by the model's output"),
        (AddNeurons("00", 1), "There is no layer '00'"),
        (AddNeurons("0", 0), "at least 1"),
        (AddNeurons("0", -3), "at least 1"),
        (RemoveNeurons("0", ()), "name at least one"),
        (RemoveNeurons("0", (6,)), "0 to 5; got index 6"),
        (RemoveNeurons("0", (-1,)), "0 to 5; got index -1"),
        (RemoveNeurons("0", (1, 1)), "named once"),
        (RemoveNeurons("0", tuple(range(6))), "empty; keep at least one"),
        (SplitNeurons("0", (0,), -1.0), "at least 0 and finite"),
        (SplitNeurons("0", (0,), float("nan")), "at least 0 and finite"),
        (MergeNeurons("0", ((1, 1),)), "merged with itself"),
        (MergeNeurons("0", ((1, 2), (3, 1))), "Chain them"),
        (MergeNeurons("0", ((0, 2), (3, 2))), "second of one pair"),
        (MergeNeurons("0", ()), "name at least one"),
        (AddConnections("0", ((0, 0),)), "no sparse layer"),
        (AddConnections("0", ()), "pairs is empty"),
    ],
)
def test_refusals_are_one_clear_line(change: object, reason: str) -> None:
    model, x = network()
    with pytest.raises(SurgeryError, match=reason) as caught:
        edit(model, change, x)
    assert "\n" not in str(caught.value)


def test_incomplete_units_are_named() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(4, 8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    x = torch.randn(2, 3, 4, 4)
    with pytest.raises(SurgeryError, match=r"channel 2 belongs to \(2, 3\)"):
        edit(model, RemoveNeurons("0", (2,)), x)
    with pytest.raises(SurgeryError, match="Use a multiple of 2"):
        edit(model, AddNeurons("0", 3), x)


@pytest.mark.parametrize(
    ("wrap", "way_out"),
    [
        (lambda m: torch.compile(m, backend="eager"), "_orig_mod"),
        (nn.DataParallel, "model.module"),
    ],
)
def test_wrapped_models_are_refused_with_the_way_out(wrap: object, way_out: str) -> None:
    model, x = network()
    with pytest.raises(SurgeryError, match=way_out):
        edit(wrap(model), AddNeurons("0", 1), x)


def test_a_model_compiled_in_place_is_refused() -> None:
    model, x = network()
    model[2].compile(backend="eager")
    with pytest.raises(SurgeryError, match="before compiling"):
        edit(model, AddNeurons("0", 1), x)


def test_what_cannot_be_edited_is_refused_in_one_line() -> None:
    model, x = network()
    with torch.inference_mode(), pytest.raises(SurgeryError, match=r"use torch\.no_grad\(\)"):
        edit(model, AddNeurons("0", 1), x)
    with pytest.raises(SurgeryError, match=r"'0\.weight' is on the meta device"):
        edit(copy.deepcopy(model).to("meta"), AddNeurons("0", 1), x.to("meta"))
    lazy = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2))
    with pytest.raises(SurgeryError, match=r"'0\.weight' has no shape yet"):
        edit(lazy, AddNeurons("0", 1), x.float())


@pytest.mark.parametrize(
    ("wrap", "way_out"),
    [
        (lambda m: torch.compile(m, backend="eager"), "_orig_mod"),
        (nn.DataParallel, "model.module"),
        (lambda m: nn.Sequential(nn.DataParallel(m)), "edit the model before"),
    ],
)
def test_moves_on_a_wrapped_model_are_refused_too(wrap: object, way_out: str) -> None:
    model, x = network()
    moves = plan(AddNeurons("0", 1), trace(model, x))
    with pytest.raises(SurgeryError, match=way_out):
        operate(wrap(model), moves)


def test_an_initialiser_is_refused_where_no_units_are_added() -> None:
    model, x = network()
    for change in (RemoveNeurons("0", (1,)), DoubleWidth("0"), InsertLayer("0")):
        with pytest.raises(SurgeryError, match="leave initialiser out"):
            apply(model, change, x, initialiser=CopyUnits())
    apply(model, InsertLayer("0", 9), x, initialiser=CopyUnits(noise=0.0))


def test_a_plan_for_another_model_is_refused_and_nothing_is_touched() -> None:
    model, x = network()
    other = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    moves = plan(AddNeurons("0", 2), trace(model, x))
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(SurgeryError, match="no parameter or buffer"):
        operate(other, moves)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in before.items())


def test_an_edit_that_moves_the_function_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network()
    before = copy.deepcopy(model.state_dict())
    monkeypatch.setattr(applying, "promises", lambda change, start: True)
    with pytest.raises(PreservationError, match="output moved by"):
        edit(model, RemoveNeurons("0", (0, 1, 2)), x)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


class Literal(nn.Module):
    """Its size is written out where a trace cannot see it."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 6)
        self.b = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        if not torch.compiler.is_compiling() and y.shape[-1] != 6:
            raise ValueError("six channels are expected")
        return self.b(y)


def test_a_forward_that_fails_after_the_edit_is_named_with_its_line() -> None:
    torch.manual_seed(0)
    model, x = Literal(), torch.randn(3, 4)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(SurgeryError, match=r"test_applying.py, line \d+.*six channels"):
        edit(model, AddNeurons("a", 1), x)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_modes_and_random_states_survive_an_edit() -> None:
    model, x = network()
    model.train()
    model[1].eval()
    state = torch.get_rng_state()
    edit(model, AddNeurons("0", 1), x)
    assert [m.training for m in model] == [True, False, True, True, True]
    assert torch.equal(torch.get_rng_state(), state)


def test_connection_edits_need_no_example_and_no_trace() -> None:
    model = create_standard_network([8, 6, 3], density=0.4, seed=0).double()
    x = torch.randn(4, 8, dtype=torch.float64)
    before = model(x)
    layer = model.layers[0]
    present = set(layer.pattern.pairs)
    absent = tuple((r, c) for r in range(6) for c in range(8) if (r, c) not in present)[:5]
    done = apply(model, AddConnections("layers.0", absent), None)
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)
    assert set(layer.pattern.pairs) == present | set(absent)
    done.undo()
    assert set(layer.pattern.pairs) == present
    apply(model, AddConnections("layers.0", absent, scale=1.0), None, seed=3)
    assert not torch.allclose(model(x), before)
    apply(model, RemoveConnections("layers.0", absent), None)
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "change", [SplitNeurons("layers.0", (0, 3)), DoubleWidth("layers.0"), AddNeurons("layers.0", 4)]
)
def test_widths_of_sparse_networks_change_and_keep_the_function(change: object) -> None:
    model = create_standard_network([8, 6, 5, 3], density=0.4, seed=0).double()
    x = torch.randn(4, 8, dtype=torch.float64)
    before = model(x)
    optimizer = torch.optim.Adam(model.parameters())
    edit(model, change, x, optimizer=optimizer)
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)
    model(x).square().sum().backward()
    optimizer.step()
    assert all(bool((layer.pattern.fan_in() > 0).all()) for layer in model.layers)


def test_merging_equal_units_of_a_sparse_network_keeps_the_function() -> None:
    model = create_standard_network([8, 6, 5, 3], density=0.5, seed=0).double()
    x = torch.randn(4, 8, dtype=torch.float64)
    edit(model, SplitNeurons("layers.0", (2,)), x)
    before = model(x)
    edit(model, MergeNeurons("layers.0", ((2, 6),)), x)
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)
    assert model.architecture == (8, 6, 5, 3) or list(model.architecture) == [8, 6, 5, 3]


def test_resetting_a_silent_unit_keeps_the_function() -> None:
    model, x = network()
    with torch.no_grad():
        model[2].weight[:, 1] = 0.0
    before = model(x)
    edit(model, ResetNeurons("0", (1,)), x)
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)


class Branching(nn.Module):
    """Writes a size out in training alone, which eval mode does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 6)
        self.b = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.a(x))
        return self.b(y.view(-1, 6) if self.training else y)


def test_the_check_in_training_mode_leaves_the_statistics_of_a_batch_norm_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    x = torch.randn(8, 4)
    loss = model(x).sum()
    before = {name: value.clone() for name, value in model[1].named_buffers()}
    edit(model, AddNeurons("0", 2), x)
    assert torch.equal(model[1].running_mean[:6], before["running_mean"])
    assert torch.equal(model[1].running_var[:6], before["running_var"])
    assert torch.equal(model[1].num_batches_tracked, before["num_batches_tracked"])
    with pytest.raises(SurgeryError, match="recorded before an edit"):
        loss.backward()


def test_a_branch_of_training_mode_is_heeded() -> None:
    torch.manual_seed(0)
    model, x = Branching(), torch.randn(3, 4)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(SurgeryError, match="the literal 6 in 'view'"):
        edit(model, AddNeurons("a", 1), x)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


class Rebinding(nn.Module):
    """Puts new tensors under its buffers' names in training, as hand-written BatchNorms do."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 6)
        self.b = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(1, 6))
        self.register_buffer("variance", torch.ones(1, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
            self.variance = 0.9 * self.variance + 0.1 * y.detach().var(0)
        return self.b(torch.relu((y - self.mean) / (self.variance + 1e-5).sqrt()))


def test_buffers_that_the_forward_rebinds_follow_an_edit_and_its_undo() -> None:
    torch.manual_seed(0)
    model, x = Rebinding().train(), torch.randn(3, 4)
    model(x)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    preview(model, AddNeurons("a", 2), x)
    assert torch.equal(model.mean, before["mean"])
    done = apply(model, AddNeurons("a", 2), x)
    assert model.mean.shape == (1, 8)
    assert torch.equal(model.mean[:, :6], before["mean"])
    for _ in range(2):
        model(x)
    done.undo()
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    model(x)


@pytest.mark.parametrize("change", ["AddNeurons", None, [AddNeurons("0", 1)]])
def test_what_is_no_edit_is_refused_in_one_line(change: object) -> None:
    model, x = network()
    for action in (edit, preview):
        with pytest.raises(SurgeryError, match="Apply several edits one by one"):
            action(model, change, x)


def test_all_units_behind_a_norm_cannot_be_reset_at_once() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(SurgeryError, match="Leave one unit at least as it is"):
        edit(model, ResetNeurons("0", tuple(range(6))), torch.randn(2, 4))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
