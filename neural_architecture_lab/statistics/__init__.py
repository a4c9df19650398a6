"""Statistics of paired experiments, as pure functions on arrays."""

from neural_architecture_lab.statistics.aggregates import (
    Profile,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    stratified_interval,
)
from neural_architecture_lab.statistics.corrections import benjamini_hochberg, holm
from neural_architecture_lab.statistics.dose import Bend, DoseResponse, bend, dose_response
from neural_architecture_lab.statistics.drawn import DrawnEffect, effects_of_drawn
from neural_architecture_lab.statistics.effects import cliffs_delta, cohens_dz, rank_biserial
from neural_architecture_lab.statistics.equivalence import Equivalence, tost
from neural_architecture_lab.statistics.factors import FactorEffect, factor_effects, share_of
from neural_architecture_lab.statistics.intervals import Interval, bca_interval, mean_interval
from neural_architecture_lab.statistics.location import (
    Significance,
    paired_t,
    sign_flip,
    wilcoxon_signed_rank,
)
from neural_architecture_lab.statistics.pareto import (
    Direction,
    front_probability,
    hypervolume,
    pareto_front,
)
from neural_architecture_lab.statistics.power import (
    pilot_deviation,
    power_of_paired_t,
    seeds_for_equivalence,
    seeds_needed,
)
from neural_architecture_lab.statistics.repeated import repeated_effects
from neural_architecture_lab.statistics.samples import Alternative, differences_of
from neural_architecture_lab.statistics.sequential import (
    Boundary,
    Spending,
    group_sequential,
    sequential_p_value,
)

__all__ = [
    "Alternative",
    "Bend",
    "Boundary",
    "Direction",
    "DoseResponse",
    "DrawnEffect",
    "Equivalence",
    "FactorEffect",
    "Interval",
    "Profile",
    "Significance",
    "Spending",
    "bca_interval",
    "bend",
    "benjamini_hochberg",
    "cliffs_delta",
    "cohens_dz",
    "differences_of",
    "dose_response",
    "effects_of_drawn",
    "factor_effects",
    "front_probability",
    "group_sequential",
    "holm",
    "hypervolume",
    "interquartile_mean",
    "mean_interval",
    "paired_t",
    "pareto_front",
    "performance_profile",
    "pilot_deviation",
    "power_of_paired_t",
    "probability_of_improvement",
    "rank_biserial",
    "repeated_effects",
    "seeds_for_equivalence",
    "seeds_needed",
    "sequential_p_value",
    "share_of",
    "sign_flip",
    "stratified_interval",
    "tost",
    "wilcoxon_signed_rank",
]
