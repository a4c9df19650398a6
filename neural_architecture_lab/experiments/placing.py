"""Which score predicts the best place to grow: every place is tried, and scores are held to it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments.evolving import (
    DEFAULTS,
    described,
    settings_of,
    started,
    system_of,
)
from neural_architecture_lab.hypothesis import Arm, Hypothesis, HypothesisCategory, Prediction
from neural_architecture_lab.levels import Setting
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.trials import Trial

if TYPE_CHECKING:
    from structure_net.evolution import NetworkContext
    from structure_net.evolution.components import ComposableEvolutionSystem

PLACING: Final[Mapping[str, Setting]] = {
    **DEFAULTS,
    "iterations": 1,
    "epochs": 14,
    "learning_rate": 0.001,
    "score": "gradient_ranking",
    "layers": 3,
    "narrowest": 3,
    "widest": 32,
    "new_units": 4,
}
"""What an arm leaves open: `evolve`'s settings, of which ``hidden`` is drawn (``layers`` widths
from ``narrowest`` to ``widest``), and ``new_units`` at the place that ``score`` names."""


class Placing:
    """The experiment; `place` is the one there is."""

    def __call__(self, trial: Trial, *, device: str) -> Outcome:
        """Trains a network, asks a score for the best place to widen, and tries all places.

        Widths, weights and batches follow from the trial's seed, so that all arms judge the same
        network. Each hidden layer in turn gets new units, the function preserved, and training goes
        on with the same batches; the gain of a place is by how much lower the training loss ends
        than without new units.

        Returns:
            ``regret``: what the chosen place gains less than the best one, in nats (the mean over
            places of equal score); ``rank_correlation``: Spearman's, of scores and gains, 0 where
            all scores are equal; ``best_gain``, in nats; ``seconds``. The curve ``gains`` goes from
            the inputs to the outputs, and so does ``scores``.

        Raises:
            HypothesisError: A setting is unknown, or the score says nothing of any hidden layer.
        """
        begun = time.perf_counter()
        settings, context, system = _made(trial, device)
        context = system.evolve_network(context, settings["iterations"])
        places = _places(context)
        scores = _scores(system.analyze(context)[settings["score"]], places, settings["score"])
        ends = [_end(context, settings, one) for one in (None, *places)]
        gains = ends[0] - np.array(ends[1:])
        chosen = gains[scores == scores.max()].mean()
        metrics = {
            "regret": float(gains.max() - chosen),
            "rank_correlation": rank_correlation(scores.tolist(), gains.tolist()),
            "best_gain": float(gains.max()),
            "seconds": time.perf_counter() - begun,
        }
        return Outcome(metrics, {"gains": tuple(gains.tolist()), "scores": tuple(scores.tolist())})

    def check(self, trial: Trial) -> None:
        """Refuses a trial whose network, system or score is not there; trains nothing.

        Raises:
            LabError: A setting is unknown, or the score says nothing of any hidden layer.
            StructureNetError: Data, network or components cannot be made of the settings.
            ValueError: A value is out of range.
        """
        settings, context, system = _made(trial, "cpu")
        _scores(system.analyze(context)[settings["score"]], _places(context), settings["score"])


place: Final = Placing()


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where either is constant, so that it ranks nothing."""
    ranks = [_ranks(np.asarray(values)) for values in (first, second)]
    if any(np.ptp(one) == 0 for one in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def predicting_places() -> Hypothesis:
    """The expected gain of new units against three other scores, by the regret of their choice.

    The prediction follows ``docs/growth_location.md`` (80 networks of random widths on the digits,
    early in training): regrets of .0018 nats by the expected gain, .0125 by information flow, .0265
    by dead and saturated units, and .0179 for few units beside the neighbours. About half of each
    difference is asked for. Here another draw of networks, data order and rates is looked at.
    """
    from structure_net.evolution.components import (
        GradientAnalyzer,
        NetworkStatsAnalyzer,
        SimpleInformationFlowAnalyzer,
        StandardExtremaAnalyzer,
    )

    def by(score: str, analyzer: Any) -> dict[str, Setting]:
        return {"score": score, "analyzers": described(analyzer)}

    return Hypothesis(
        name="Predicting the best place",
        category=HypothesisCategory.GROWTH_DYNAMICS,
        question="Which metric predicts the place at which new units gain most?",
        prediction="The expected gain of new units has the least regret.",
        experiment=place,
        arms=(
            Arm("gain", by("gradient_ranking", GradientAnalyzer()), control=True),
            Arm("information", by("information_ranking", SimpleInformationFlowAnalyzer())),
            Arm("extrema", by("extrema_ranking", StandardExtremaAnalyzer())),
            Arm("narrow", by("network_ranking", NetworkStatsAnalyzer())),
        ),
        predictions=(
            Prediction("regret", "higher", smallest_effect=0.005, arm="information"),
            Prediction("regret", "higher", smallest_effect=0.01, arm="extrema"),
            Prediction("regret", "higher", smallest_effect=0.008, arm="narrow"),
        ),
    )


def _made(
    trial: Trial, device: str
) -> tuple[dict[str, Any], NetworkContext, ComposableEvolutionSystem]:
    """The settings of a trial with the widths that are drawn for it; its network; what looks."""
    settings = settings_of(trial, PLACING)
    drawn = np.random.default_rng(trial.seed)
    narrow, wide = settings["narrowest"], settings["widest"]
    hidden = drawn.integers(narrow, wide, settings["layers"], endpoint=True)
    settings["hidden"] = [int(width) for width in hidden]
    return settings, started(trial, settings, device), system_of(settings)


def _places(context: NetworkContext) -> list[str]:
    from structure_net.core import network_stats

    return [layer["name"] for layer in network_stats(context.network)["layers"]][:-1]


def _scores(found: Any, places: Sequence[str], score: str) -> Any:
    """Shape ``(places,)``; a place of which the score says nothing comes last."""
    known = {}
    if isinstance(found, Mapping):
        known = {name: float(found[name]) for name in places if _is_number(found.get(name))}
    if not known:
        raise HypothesisError(
            f"The score {score!r} says nothing of any of {', '.join(places)}; got {found!r:.80}."
        )
    lowest = min(known.values())
    return np.array([known.get(name, lowest - 1) for name in places])


def _is_number(value: Any) -> bool:
    """Whether a score is there; where it means nothing, analyzers say so instead."""
    from torch import Tensor

    return isinstance(value, Real) or (isinstance(value, Tensor) and value.numel() == 1)


def _end(context: NetworkContext, settings: Mapping[str, Any], widened: str | None) -> float:
    """The training loss after as much training again, with new units at a place or without."""
    from structure_net.evolution.measuring import measured
    from structure_net.surgery import AddNeurons, apply

    twin = context.fork()
    if widened is not None:
        inputs, _ = next(iter(twin.data_loader))
        change = AddNeurons(widened, settings["new_units"])
        apply(twin.network, change, inputs[:2], optimizer=twin.optimizer, seed=twin.seed)
    alone = {**settings, "analyzers": [], "strategies": []}
    twin = system_of(alone).evolve_network(twin, settings["iterations"])
    score = measured(twin.network, twin.data_loader, twin.loss)
    assert score is not None  # it was trained on these batches
    return score.loss


def _ranks(values: Any) -> Any:
    """Ranks from 0, the mean one for equal values."""
    below = (values[:, None] > values).sum(1)
    return below + ((values[:, None] == values).sum(1) - 1) / 2
