"""What surgery runs a model for leaves it and torch as they were, wherever interrupts strike."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from structure_net.surgery import AddNeurons, GradMax, OptimalUnits, UnitVariance, apply
from structure_net.surgery.initialisers import Initialiser, Newborn, Probe
from structure_net.surgery.sites import sites
from structure_net.surgery.verifying import observe, observe_after, observe_before
from tests.interrupting import left_alone

INPUTS = torch.arange(12.0).reshape(4, 3) / 6 - 1


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2)
    )


def loss(outputs: Any, targets: Any) -> torch.Tensor:
    return nn.functional.mse_loss(outputs, targets)


class Asked(Initialiser):
    """Keeps what it is asked for."""

    newborn: Newborn | None = None
    preserves = True

    def refine(self, model: nn.Module, newborn: Newborn, probe: Probe | None, seed: int) -> None:
        """Keeps the place of the new units."""
        self.newborn = newborn


def grown() -> tuple[nn.Module, Newborn]:
    model = network()
    asked = Asked()
    apply(model, AddNeurons("0", 2), INPUTS, initialiser=asked)
    assert asked.newborn is not None
    return model, asked.newborn


@pytest.mark.parametrize("initialiser", [GradMax(iterations=1), OptimalUnits(), UnitVariance()])
def test_an_interrupt_while_new_units_are_written_leaves_no_hook_and_no_mode(
    initialiser: Initialiser,
) -> None:
    model, newborn = grown()
    probe = (INPUTS, torch.ones(4, 2), loss)

    def task() -> None:
        for slot in newborn.readers:
            slot.write(torch.zeros_like(slot.rows(slot.tensor)))
        initialiser.refine(model, newborn, probe, 0)

    task()
    files = ("surgery/gradmax.py", "surgery/optimal.py", "surgery/places.py", "core/running.py")
    assert left_alone(model, task, (*files, "surgery/initialisers.py"), every=17) > 5


def test_an_interrupt_while_a_model_is_compared_leaves_no_hook_and_no_mode() -> None:
    model = network()
    before = observe_before(model, INPUTS)
    files = ("surgery/verifying.py", "core/running.py", "torch/overrides.py")
    for run in (
        lambda: observe(model, INPUTS),
        lambda: sites(model, INPUTS, ["0", "4"]),
        lambda: observe_after(model, INPUTS, "an edit", before, ["0"]),
    ):
        assert left_alone(model, run, (*files, "surgery/sites.py"), every=7) > 10
