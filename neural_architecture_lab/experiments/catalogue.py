"""What categories supply, and the hypotheses that are ready to run, by name."""

from __future__ import annotations

from collections.abc import Mapping

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.hypothesis import Hypothesis, HypothesisCategory

DEFAULTS: Mapping[HypothesisCategory, Hypothesis] = {}


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
    try:
        return hypothesis.with_defaults(DEFAULTS[hypothesis.category])
    except KeyError:
        raise HypothesisError(
            f"The category {hypothesis.category} supplies no experiment; give experiment=, arms="
            " and predictions=."
        ) from None
