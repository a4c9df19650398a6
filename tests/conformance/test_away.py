"""On another device, components that move connections, and the trainer, keep their promises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from structure_net.testing import check_component, example_context
from tests.conformance.test_components import BY_NAME, GIVEN
from tests.elsewhere import away

pytestmark = pytest.mark.away

NAMES = ("ExtremaGrowthStrategy", "RigL", "SparseEvolutionaryTraining", "StandardNetworkTrainer")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("live_storage")
def test_a_component_keeps_the_promises_of_its_role_there(name: str) -> None:
    component, lookers = GIVEN[name] if name in GIVEN else (BY_NAME[name](), ())
    context = example_context()
    there = replace(context, network=context.network.to(away()), device=away())
    check_component(component, lookers, there)
