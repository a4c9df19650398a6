"""Hypotheses and searches made again from their records, so that whoever goes on needs no program.

What was frozen says all that a test needs but the experiment itself, and of that the recipe: where
to import it from, and what it was made with. So a follow-up, which no file holds, goes on as well.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.hypothesis import Arm, Hypothesis, Prediction, Stopping
from neural_architecture_lab.levels import Range
from neural_architecture_lab.recipes import made_of
from neural_architecture_lab.run_settings import RunSettings
from neural_architecture_lab.searching import Rungs, Search
from neural_architecture_lab.store import Frozen
from structure_net.data.registry import take_over
from structure_net.data.requests import Registration

if TYPE_CHECKING:
    from structure_net.logging.records import Search as SearchRecord


def hypothesis_of(frozen: Frozen) -> Hypothesis:
    """A hypothesis as it was frozen.

    Raises:
        HypothesisError: Its record does not say how its experiment is made (it stood in the program
            that ran it), or what it was made of cannot be imported.
    """
    said = frozen.statement
    arms = tuple(
        Arm(name, settings, control=name == said["control"])
        for name, settings in said["arms"].items()
    )
    looks, spending = tuple(said["looks"]), said["spending"]
    layout = said.get("layout", {})
    return Hypothesis(
        name=frozen.name,
        category=said["category"],
        question=said["question"],
        prediction=said["prediction"],
        experiment=_experiment(frozen.id, said),
        arms=arms,
        factors={name: _levels(levels) for name, levels in layout.get("factors", {}).items()},
        layout=layout.get("kind", "grid"),
        points=layout.get("points"),
        predictions=tuple(map(_prediction, said["predictions"])),
        alpha=said["alpha"],
        power=said["power"],
        seeds=int(said["seeds"]),
        stopping=None if spending is None else Stopping(looks, spending),
        supplied=tuple(said["supplied"]),
    )


def search_of(record: SearchRecord) -> Search:
    """A search as it was begun.

    Raises:
        HypothesisError: Its record does not say how its experiment or its space is made, it has a
            sampler or a pruner of the user's own, or what it is made of cannot be imported.
    """
    said = record.statement
    for part in ("sampler", "pruner"):
        if said[part]:
            raise HypothesisError(
                f"The search {record.search!r} has a {part} of its own, {said[part]}, and no record"
                " says what it was made with: run the program or the file again that began it,"
                " with the same folder of results."
            )
    rungs = said["rungs"]
    space = said["space"]
    if "suggest" in space:
        space = _made(record.search, said.get("suggest_recipe"), "space")
    else:
        space = {name: _levels(levels) for name, levels in space.items()}
    return Search(
        name=record.name,
        experiment=_experiment(record.search, said),
        space=space,
        objectives=said["objectives"],
        settings=said["settings"],
        tries=record.tries,
        seeds=int(said["seeds"]),
        seed=said["seed"],
        first=tuple(said["first"]),
        rungs=None if rungs is None else Rungs(rungs["setting"], tuple(rungs["levels"])),
        question=said["question"],
    )


def bring_back(settings: RunSettings) -> None:
    """Lets Python find what the lab found, behind all other places, and the data sets it knew.

    What loads a data set and cannot be imported any more is passed over: who needs it says so.
    """
    sys.path.extend(one for one in settings.folders if one not in sys.path)
    for told in settings.datasets:
        with suppress(HypothesisError):
            loader = made_of(told["loader"])
            if callable(loader):
                one = Registration(told["name"], loader, told["options"], told["version"])
                take_over([one])


def _experiment(key: str, said: Mapping[str, Any]) -> Any:
    return _made(key, said.get("recipe"), "experiment")


def _made(key: str, recipe: Any, what: str) -> Any:
    if recipe is None:
        raise HypothesisError(
            f"Where {key!r} came from is not known, since a program ran it whose {what} cannot be"
            " imported: run that again, or `nal run FILE.py`, with the same folder of results."
        )
    try:
        return made_of(recipe)
    except HypothesisError as error:
        raise HypothesisError(f"{key!r} cannot go on by itself: {error}") from error


def _levels(said: Any) -> Any:
    return Range(**said) if isinstance(said, Mapping) else said


def _prediction(said: Mapping[str, Any]) -> Prediction:
    arm, versus = said["arms"]
    return Prediction(said["metric"], said["direction"], said["smallest_effect"], arm, versus)
