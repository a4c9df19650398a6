"""Splits whose copies begin without readers, and are handed theirs step by step."""

import pytest
import torch
from torch import nn

from structure_net import create_standard_network
from structure_net.errors import SurgeryError
from structure_net.graph import graph_of
from structure_net.surgery import ShareNeurons, SplitNeurons, apply
from tests.laws.subjects import LAWFUL, editable, example, group_of, refusal, run, subject

INPUTS = torch.randn(16, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).double()


def test_a_copy_with_share_zero_is_not_read_and_its_noise_moves_nothing() -> None:
    model = network()
    before, columns = model(INPUTS), model[2].weight.detach().clone()
    apply(model, SplitNeurons("0", (3,), noise=0.5, share=0.0), INPUTS)
    assert torch.equal(model[2].weight[:, 5], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(model[2].weight[:, :5], columns)
    assert not torch.equal(model[0].weight[5], model[0].weight[3])
    torch.testing.assert_close(model(INPUTS), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_the_copy_gets_its_share_of_what_reads_the_unit(share: float) -> None:
    model = network()
    before, column = model(INPUTS), model[2].weight[:, 3].detach().clone()
    apply(model, SplitNeurons("0", (3,), share=share), INPUTS)
    torch.testing.assert_close(model[2].weight[:, 5], share * column, rtol=0, atol=1e-12)
    torch.testing.assert_close(model[2].weight[:, 3], (1 - share) * column, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(INPUTS), before, rtol=0, atol=1e-12)


def test_equal_units_keep_the_function_at_each_step_of_a_hand_over() -> None:
    model = network()
    before = model(INPUTS)
    apply(model, SplitNeurons("0", (3, 0), share=0.0), INPUTS)
    for fraction in (0.25, 1 / 3, 0.5):
        apply(model, ShareNeurons("0", ((3, 5), (0, 6)), fraction), INPUTS)
        torch.testing.assert_close(model(INPUTS), before, rtol=0, atol=1e-12)
    # 3/4 of 2/3 of 1/2 stays with the parents.
    torch.testing.assert_close(model[2].weight[:, 5], 3 * model[2].weight[:, 3])


def test_what_was_learned_apart_moves_with_the_fraction_only() -> None:
    model = network()
    apply(model, SplitNeurons("0", (3,), share=0.0), INPUTS)
    with torch.no_grad():
        model[2].weight[:, 5] = 7.0
    parent = model[2].weight[:, 3].detach().clone()
    apply(model, ShareNeurons("0", ((3, 5),), 0.25), INPUTS)
    torch.testing.assert_close(model[2].weight[:, 5], 7.0 + 0.25 * parent, rtol=0, atol=1e-12)
    torch.testing.assert_close(model[2].weight[:, 3], 0.75 * parent, rtol=0, atol=1e-12)


def test_sparse_readers_hand_over_within_the_union_of_both_patterns() -> None:
    model = create_standard_network([6, 8, 4], density=0.5, seed=0).double()
    before = model(INPUTS)
    apply(model, SplitNeurons("layers.0", (2,), share=0.0), INPUTS)
    apply(model, ShareNeurons("layers.0", ((2, 8),), 0.5), INPUTS)
    torch.testing.assert_close(model(INPUTS), before, rtol=0, atol=1e-12)
    reader = model.layers[1]
    mask, weight = reader.pattern.mask(), reader.dense_weight()
    assert torch.equal(mask[:, 2], mask[:, 8])
    assert torch.equal(weight[:, 2], weight[:, 8])
    assert reader.off_pattern() == 0


def test_a_hand_over_is_undone_bit_for_bit() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    apply(model, ShareNeurons("0", ((1, 2),), 0.3), INPUTS).undo()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("name", LAWFUL)
def test_splits_that_fade_in_keep_the_function_of_every_model_or_are_refused(name: str) -> None:
    model, inputs = subject(name), example(name)
    before = run(model, inputs)
    for layer in editable(name):
        group = group_of(model, name, layer)
        unit, size = group.channels[0], group.size
        split = SplitNeurons(layer, unit, share=0.0)
        said = refusal(lambda split=split: apply(model, split, inputs))
        if said is not None or group.granularity > 1:
            continue
        assert graph_of(model, inputs).group(layer).size == size + 1
        hand_over = ShareNeurons(layer, ((unit[0], size),), 0.5)
        refused = refusal(lambda edit=hand_over: apply(model, edit, inputs))
        assert refused is None or "have no sum" in refused, refused
    for one, other in zip(run(model, inputs), before, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (SplitNeurons("0", (1,), share=1.5), "share must be in"),
        (ShareNeurons("0", ((1, 2),), -0.1), "fraction must be in"),
        (ShareNeurons("0", ((1, 1),), 0.5), "shared with itself"),
        (ShareNeurons("0", ((1, 2), (1, 3)), 0.5), "can be in one pair"),
        (ShareNeurons("0", ((1, 9),), 0.5), "has 5 channels"),
    ],
)
def test_what_makes_no_sense_is_refused(edit: SplitNeurons | ShareNeurons, said: str) -> None:
    with pytest.raises(SurgeryError, match=said):
        apply(network(), edit, INPUTS)
