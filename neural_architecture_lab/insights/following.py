"""From an insight to a hypothesis that can confirm it, on seeds that it has not seen.

What was found in a heap of numbers is a guess about new ones. Its follow-up states it beforehand,
and runs seeds from elsewhere: the old ones would say the same again.
"""

from __future__ import annotations

from typing import Any

from neural_architecture_lab.hypothesis import Arm, Experiment, Hypothesis, Prediction
from neural_architecture_lab.insights.insight import Insight, Lead, Variant
from neural_architecture_lab.insights.measuring import EffectOf, SpreadOf, fresh
from neural_architecture_lab.levels import Range
from neural_architecture_lab.trials import APART


def follow_up(insight: Insight, hypothesis: Hypothesis) -> Hypothesis | None:
    """A hypothesis that predicts what the insight found.

    It compares the variants of the insight's lead, factors that they leave open at their middle,
    on as many fresh seeds as the lead says, or else as find the effect that it assumes; give it
    ``seeds=`` for another number.

    Args:
        insight: What was found.
        hypothesis: The one that it rests on, complete.

    Returns:
        None where the insight says nothing that arms can show.
    """
    lead, experiment = insight.lead, hypothesis.experiment
    if lead is None or experiment is None:
        return None
    arms = tuple(
        Arm(one.name, _settings(one, hypothesis, lead), control=place == 0)
        for place, one in enumerate(lead.variants)
    )
    said = lead.predictions
    names = ", ".join(arm.name for arm in arms)
    return Hypothesis(
        name=f"{hypothesis.name}: {insight.kind} of {said[0].metric}, {names}",
        category=hypothesis.category,
        question=f"Does it hold on fresh seeds? {insight.sentence}",
        prediction="; ".join(_said(one, arms[0].name) for one in said) + ".",
        experiment=_measured(fresh(experiment, APART), lead, hypothesis),
        arms=arms,
        predictions=said,
        alpha=hypothesis.alpha,
        power=hypothesis.power,
        seeds=lead.seeds,
        assumed_effect=lead.effect,
    )


def _settings(variant: Variant, hypothesis: Hypothesis, lead: Lead) -> dict[str, Any]:
    """What an arm of the follow-up is told."""
    moved = {name for side in lead.between or () for name in side.changes}
    middle = {name: _middle(levels) for name, levels in hypothesis.factors.items()}
    open_still = {name: level for name, level in middle.items() if name not in moved}
    own = {} if lead.between else _of_arm(hypothesis, variant.arm)
    return {**own, **open_still, **variant.changes}


def _measured(inner: Experiment, lead: Lead, hypothesis: Hypothesis) -> Experiment:
    if lead.between is not None:
        first, second = ({**_of_arm(hypothesis, side.arm), **side.changes} for side in lead.between)
        return EffectOf(inner, first, second)
    return SpreadOf(inner, lead.spread) if lead.spread else inner


def _of_arm(hypothesis: Hypothesis, name: str) -> dict[str, Any]:
    return next(dict(arm.settings) for arm in hypothesis.arms if arm.name == name)


def _middle(levels: Any) -> Any:
    """The middle level of those listed, or the middle of a range."""
    return levels.at(0.5) if isinstance(levels, Range) else levels[len(levels) // 2]


def _said(prediction: Prediction, control: str) -> str:
    other = prediction.versus or control
    if prediction.direction == "same":
        return (
            f"{prediction.metric} of {prediction.arm} is within {prediction.smallest_effect:.3g}"
            f" of that of {other}"
        )
    return f"{prediction.metric} of {prediction.arm} is {prediction.direction} than that of {other}"
