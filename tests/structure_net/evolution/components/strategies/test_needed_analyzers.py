from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from structure_net.evolution import components
from structure_net.evolution.interfaces import providers

README = Path(__file__).parents[5] / "README.md"


def _needed() -> dict[str, str]:
    """By strategy, what the README's table says of the analyzers that it needs."""
    found: dict[str, str] = {}
    for line in README.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 4 and cells[1].startswith("strateg"):
            names, needs = re.findall(r"`(\w+)`", cells[0]), cells[3].split("; ")
            if len(names) == 1:
                needs = cells[3:]
            elif len(needs) == 1:
                needs *= len(names)
            found |= dict(zip(names, needs, strict=True))
    return found


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ExtremaGrowthStrategy", {}),
        ("InformationFlowGrowthStrategy", {}),
        ("ResidualBlockGrowthStrategy", {}),
        ("WidthGrowthStrategy", {}),
        ("NeuronSplitStrategy", {}),
        ("SkipConnectionGrowthStrategy", {}),
        ("HebbianGrowthStrategy", {}),
        ("PruningGrowthStrategy", {"budget": {"density": 0.1}}),
        ("PruningGrowthStrategy", {"budget": {"density": 0.1}, "score": "fisher"}),
        ("PruningGrowthStrategy", {"budget": {"density": 0.1}, "regrowth": 0.3}),
        ("SparseEvolutionaryTraining", {}),
        ("RigL", {}),
        ("RigL", {"candidates": 10}),
        ("SparseMomentum", {}),
        ("ReDo", {}),
        ("ContinualBackprop", {}),
    ],
)
def test_the_readme_names_the_analyzer_that_a_strategy_needs(
    name: str, options: dict[str, Any]
) -> None:
    strategy = getattr(components, name)(**options)
    wanted = {analyzer for key in strategy.requires for analyzer in providers(key)}
    said = _needed()[name]
    assert all(f"`{analyzer}`" in said for analyzer in wanted), said
    assert wanted or said.startswith("none")
