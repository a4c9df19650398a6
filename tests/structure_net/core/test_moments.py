"""What becomes of an optimizer's state for one parameter, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from structure_net.core.moments import carried_state, fits, held, refusal
from structure_net.errors import SurgeryError

SGD = torch.optim.SGD([nn.Parameter(torch.zeros(3))], lr=0.1)
SHAPE = torch.Size((3,))


def longer(state: Tensor) -> Tensor:
    return torch.cat((state, state.new_zeros(1)))


def test_tensors_of_the_parameters_shape_are_carried_and_plain_values_stay() -> None:
    before: dict[str, Any] = {
        "moment": torch.ones(3),
        "step": torch.tensor(2.0),
        "name": "x",
        "none": None,
    }
    after = carried_state(SGD, before, SHAPE, longer)
    assert after["moment"].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert after["step"] == before["step"]
    assert after["step"] is not before["step"]
    assert (after["name"], after["none"]) == ("x", None)
    assert before["moment"].shape == (3,)


@pytest.mark.parametrize("value", [torch.ones(4), [1.0], torch.ones(3, 1)])
def test_what_cannot_follow_is_refused_with_the_reason(value: object) -> None:
    with pytest.raises(SurgeryError, match=r"SGD remembers 'odd' of .* cannot follow an edit"):
        carried_state(SGD, {"odd": value}, SHAPE, longer)


def test_a_factored_estimate_becomes_the_squares_that_it_stands_for_and_back() -> None:
    row, column = torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    matrix = torch.Size((2, 3))
    flat = carried_state(SGD, {"row_var": row, "col_var": column}, matrix, torch.flatten)
    assert flat["variance"].tolist() == [0.5, 1.0, 1.5, 1.5, 3.0, 4.5]
    again = carried_state(SGD, flat, torch.Size((6,)), lambda state: state.view(2, 3))
    assert torch.equal(again["row_var"], row)
    assert torch.equal(again["col_var"], column)


def test_a_state_fits_its_shape_or_that_with_axes_reduced_to_one() -> None:
    matrix = torch.Size((2, 3))
    assert fits({"a": torch.ones(2, 3), "b": torch.ones(2, 1), "step": torch.tensor(1)}, matrix)
    assert not fits({"a": torch.ones(6)}, matrix)
    assert not fits({"a": torch.ones(3, 3)}, matrix)


def test_held_are_the_parameters_of_all_groups_and_a_refusal_names_the_shape() -> None:
    one, other = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    both = torch.optim.SGD([{"params": [one]}, {"params": [other]}], lr=0.1)
    assert held(both) == {id(one), id(other)}
    assert "for a parameter of shape (3,)" in refusal(SGD, "a thing", SHAPE)
    assert "for a parameter" not in refusal(SGD, "a thing")
