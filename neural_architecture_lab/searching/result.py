"""What a search came to, and how that becomes a hypothesis: what was found must hold elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neural_architecture_lab.errors import SearchError
from neural_architecture_lab.hypothesis import (
    Arm,
    Experiment,
    Hypothesis,
    HypothesisCategory,
    Prediction,
)
from neural_architecture_lab.levels import Setting
from neural_architecture_lab.searching.reading import Searched, Try
from neural_architecture_lab.searching.search import Search
from neural_architecture_lab.trials import APART, FreshSeeds


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A search that ran.

    Args:
        search: What was searched for.
        searched: What came of it, as it is stored.
        runner: What ran the trials.
        why: Why that one.
    """

    search: Search
    searched: Searched
    runner: str
    why: str

    @property
    def best(self) -> Try:
        """The setting that did best.

        Raises:
            SearchError: None was tried to its end, or there are several objectives.
        """
        return self.searched.best

    @property
    def front(self) -> tuple[Try, ...]:
        """The settings that none beats."""
        return self.searched.front

    def __str__(self) -> str:
        return summary_line(self.searched)

    def __repr__(self) -> str:
        return f"SearchResult({self}, runner={self.runner!r})"

    def hypothesis(
        self,
        default: Mapping[str, Setting] | None = None,
        *,
        chosen: Try | None = None,
        predictions: Sequence[Prediction] = (),
        seeds: int | None = None,
        category: HypothesisCategory = HypothesisCategory.TRAINING,
    ) -> Hypothesis:
        """That the settings found do better than the default ones, on seeds that none has seen.

        What a search found is the best of many, and so looks better than it is. Only fresh seeds
        say whether it is.

        Args:
            default: What the found settings are compared with; what every trial of the search was
                told if None, which leaves what was searched to the experiment's own defaults.
            chosen: One of `front`; the best setting if None.
            predictions: What is predicted of the found settings; each objective, by any amount, if
                empty. Where the search chose by validation data, predict what test data show.
            seeds: How many; planned from power if None.
            category: What the hypothesis is about.

        Returns:
            Ready to register: the arms ``default``, which is the control, and ``tuned``.

        Raises:
            SearchError: No setting was tried to its end, or there are several objectives and none
                was chosen.
        """
        search, found = self.search, chosen or self.best
        known: Mapping[str, Setting] = search.settings if default is None else default
        settings = dict(found.settings)
        if search.rungs is not None:
            settings[search.rungs.setting] = search.rungs.levels[-1]
            known = {search.rungs.setting: search.rungs.levels[-1], **known}
        if dict(known) == settings:
            raise SearchError(
                f"The settings found are the default ones: {settings}; there is nothing to test."
            )
        said = tuple(predictions) or tuple(
            Prediction(name, way) for name, way in search.objectives.items()
        )
        words = " and ".join(f"{one.direction} {one.metric}" for one in said)
        return Hypothesis(
            name=f"{search.name}: tuned against default",
            category=category,
            question=f"Do the settings found ({words_of(found.params)}) do better on fresh seeds?",
            prediction=f"Compared with the default settings they give {words}.",
            experiment=_afresh(search.experiment),
            arms=(Arm("default", known, control=True), Arm("tuned", settings)),
            predictions=said,
            seeds=seeds,
        )


def summary_line(found: Searched) -> str:
    """A search in one line: how far it is, and what is best."""
    said = f"{found.name}: {len(found.tries) - found.ended('asked')} of {found.planned} settings"
    for state in ("pruned", "failed"):
        if count := found.ended(state):
            said += f", {count} {state}"
    front = found.front
    if not front:
        return f"{said}; none was tried to its end{_first_failure(found)}"
    if len(found.objectives) > 1:
        return f"{said}; {len(front)} on the Pareto front"
    ((metric, _),) = found.objectives.items()
    return f"{said}; best {metric} {front[0].values[0]:.4g} with {words_of(front[0].params)}"


def _first_failure(found: Searched) -> str:
    reasons = [one.reason for one in found.tries if one.state == "failed"]
    return f" ({reasons[0]})" if reasons else ""


def words_of(settings: Mapping[str, object]) -> str:
    """Settings in words."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in settings.items()
    )


def _afresh(experiment: Experiment) -> Experiment:
    first = int(getattr(experiment, "first_seed", 0)) + APART
    inner: Experiment = getattr(experiment, "__wrapped__", experiment)
    return FreshSeeds(inner, first)
