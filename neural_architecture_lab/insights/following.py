"""From an insight to a hypothesis that can confirm it, on seeds that it has not seen.

What was found in a heap of numbers is a guess about new ones. Its follow-up states it beforehand,
and runs seeds from elsewhere: the old ones would say the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neural_architecture_lab.hypothesis import Arm, Experiment, Hypothesis, Prediction
from neural_architecture_lab.insights.insight import Insight
from neural_architecture_lab.trials import APART, FreshSeeds


def follow_up(insight: Insight, hypothesis: Hypothesis) -> Hypothesis | None:
    """A hypothesis that predicts what the insight found.

    It compares the two arms, or the control at the two ends of the factor, in one prediction, on as
    many fresh seeds as find an effect of one standard deviation; give it ``seeds=`` for another.

    Args:
        insight: What was found.
        hypothesis: The one that it rests on, complete.

    Returns:
        None where the insight says nothing that two arms can show.
    """
    lead, experiment = insight.lead, hypothesis.experiment
    if lead is None or experiment is None:
        return None
    settings = {arm.name: dict(arm.settings) for arm in hypothesis.arms}
    points = _middle(hypothesis)
    high, low = lead.arms
    names = (_named(lead.better), _named(lead.worse)) if high == low else (high, low)
    arms = (
        Arm(names[1], {**settings[low], **points, **lead.worse}, control=True),
        Arm(names[0], {**settings[high], **points, **lead.better}),
    )
    first = int(getattr(experiment, "first_seed", 0)) + APART
    inner: Experiment = getattr(experiment, "__wrapped__", experiment)
    return Hypothesis(
        name=f"{hypothesis.name}: {insight.kind} of {lead.metric}, {names[0]} over {names[1]}",
        category=hypothesis.category,
        question=f"Does it hold on fresh seeds? {insight.sentence}",
        prediction=f"{lead.metric} is higher for {names[0]} than for {names[1]}.",
        experiment=FreshSeeds(inner, first),
        arms=arms,
        predictions=(Prediction(lead.metric, "higher"),),
        alpha=hypothesis.alpha,
        power=hypothesis.power,
    )


def _middle(hypothesis: Hypothesis) -> dict[str, Any]:
    """Each listed factor at its middle level, each range at its middle: where the rest is held."""
    return {
        name: levels[len(levels) // 2] if isinstance(levels, tuple) else levels.at(0.5)  # type: ignore[union-attr]  # Range
        for name, levels in hypothesis.factors.items()
    }


def _named(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
