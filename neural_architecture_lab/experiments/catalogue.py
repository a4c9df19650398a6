"""What categories supply, and the hypotheses that are ready to run, by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Final

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.hypothesis import Hypothesis, HypothesisCategory

_LIBRARY: Final[Mapping[str, str]] = {
    "batch_size_scaling": "batch_sizes",
    "connection_allocation": "allocation",
    "deep_against_wide": "deep_wide",
    "extrema_growth": "growth",
    "grown_against_fixed": "equal_size",
    "growth_location": "location",
    "growth_timing": "timing",
    "information_bottlenecks": "bottlenecks",
    "learning_rate_after_growth": "rates",
    "newborn_initialisation": "newborns",
    "predicting_places": "placing",
    "pyramid_shapes": "pyramids",
    "skip_connections": "skips",
    "sparsity_level": "sparsity",
    "static_against_dynamic": "dynamic",
    "weight_decay": "decay",
}
"""The hypotheses by the name of the function that makes each, with their module."""

_OF_CATEGORY: Final[Mapping[HypothesisCategory, str]] = {
    HypothesisCategory.ARCHITECTURE: "deep_against_wide",
    HypothesisCategory.TRAINING: "batch_size_scaling",
    HypothesisCategory.GROWTH_DYNAMICS: "extrema_growth",
    HypothesisCategory.SPARSITY: "static_against_dynamic",
    HypothesisCategory.OPTIMIZATION: "learning_rate_after_growth",
    HypothesisCategory.REGULARIZATION: "weight_decay",
    HypothesisCategory.INFORMATION: "information_bottlenecks",
    HypothesisCategory.TOPOLOGY: "connection_allocation",
}


def available_hypotheses() -> tuple[str, ...]:
    """The names of the hypotheses that are ready to run."""
    return tuple(sorted(_LIBRARY))


def ready_hypothesis(name: str) -> Hypothesis:
    """A hypothesis of the library, by name.

    Raises:
        HypothesisError: There is none of that name.
    """
    try:
        module = _LIBRARY[name]
    except KeyError:
        near = get_close_matches(name, _LIBRARY, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(sorted(_LIBRARY))
        raise HypothesisError(
            f"There is no hypothesis {name!r} in the library; it has {known}.{hint}"
        ) from None
    made: Hypothesis = getattr(import_module(f"{__package__}.{module}"), name)()
    return made


def default_of(category: HypothesisCategory) -> Hypothesis:
    """The hypothesis that a category supplies to those that leave experiment and arms open.

    Raises:
        HypothesisError: It supplies none.
    """
    try:
        return ready_hypothesis(_OF_CATEGORY[category])
    except KeyError:
        raise HypothesisError(
            f"The category {category.name} supplies no experiment; give experiment=, arms= and"
            " predictions=."
        ) from None


def completed(hypothesis: Hypothesis) -> Hypothesis:
    """A hypothesis with what it leaves open taken from its category.

    Raises:
        HypothesisError: It leaves something open that its category does not supply.
    """
    if hypothesis.experiment and hypothesis.arms and hypothesis.predictions:
        return hypothesis
    if hypothesis.experiment is not None or hypothesis.arms:
        absent = "arms" if not hypothesis.arms else "predictions"
        if hypothesis.experiment is None:
            absent = "an experiment"
        raise HypothesisError(
            f"{hypothesis.name!r} has no {absent.removeprefix('an ')}: give experiment=, arms= and"
            " predictions=, or none of the first two, and its category supplies them."
        )
    return hypothesis.with_defaults(default_of(hypothesis.category))
