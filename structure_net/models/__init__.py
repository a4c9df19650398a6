"""Networks to start from, and the phases in which they grow from coarse to fine."""

from structure_net.models.minimal_network import create_minimal_network, minimal_density
from structure_net.models.modern_multi_scale_network import (
    create_multi_scale_network,
    multi_scale_widths,
)
from structure_net.models.phases import (
    PHASE,
    GrowthPhase,
    PhaseGrowth,
    coarse_to_fine,
    evolve_in_phases,
    phase_growth,
)

__all__ = [
    "PHASE",
    "GrowthPhase",
    "PhaseGrowth",
    "coarse_to_fine",
    "create_minimal_network",
    "create_multi_scale_network",
    "evolve_in_phases",
    "minimal_density",
    "multi_scale_widths",
    "phase_growth",
]
