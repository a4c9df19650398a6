from __future__ import annotations

import pytest
import torch

from structure_net.evolution.metrics.utility import contribution_utility, replacements_due


def test_a_unit_contributes_what_it_gives_times_what_reads_it() -> None:
    found = contribution_utility(torch.tensor([0.5, 2.0, 0.0]), torch.tensor([4.0, 0.25, 9.0]))
    assert found.tolist() == [2.0, 0.5, 0.0]
    with pytest.raises(ValueError, match="one entry per unit"):
        contribution_utility(torch.ones(2), torch.ones(3))


def test_replacements_accumulate_over_mature_units_and_steps() -> None:
    # 100 units, mature for 99 and for 100 steps, at 1e-4: .99 and 1.
    assert replacements_due(1e-4, [99] * 100, 0) == 0
    assert replacements_due(1e-4, [100] * 100, 0) == 1
    assert replacements_due(1e-4, [30000], 0) == 3
    assert replacements_due(1e-4, [30000], 2) == 1
    assert replacements_due(1e-4, [30000], 5) == 0
    with pytest.raises(ValueError, match="rate"):
        replacements_due(2.0, [1], 0)
