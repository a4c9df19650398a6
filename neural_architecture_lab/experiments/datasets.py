"""The hypotheses of the library on other data than the digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from neural_architecture_lab.errors import HypothesisError
from neural_architecture_lab.experiments.evolving import DEFAULTS, evolve
from neural_architecture_lab.experiments.placing import PLACING, place
from neural_architecture_lab.experiments.widths import widths_of
from neural_architecture_lab.hypothesis import Hypothesis
from neural_architecture_lab.levels import Setting
from neural_architecture_lab.replicas.material import dataset_of


def on_dataset(hypothesis: Hypothesis, dataset: str, data_dir: str | None = None) -> Hypothesis:
    """A hypothesis whose arms all run on another data set.

    Args:
        hypothesis: Complete, with an experiment of this library.
        dataset: The name of a data set, as `structure_net.data.load_dataset` knows it.
        data_dir: The folder that holds it; where the library looks by itself if None.

    Raises:
        HypothesisError: Its experiment is another one, the data have no accuracy and it predicts
            one, or its arms cannot have as many parameters there.
        DatasetError: There is no such data set, or not in this folder.
    """
    defaults: Mapping[str, Setting]
    if hypothesis.experiment is evolve:
        defaults = DEFAULTS
    elif hypothesis.experiment is place:
        defaults = PLACING
    else:
        raise HypothesisError(
            f"The experiment of {hypothesis.name!r} is none of the library's, which alone read a"
            " data set from their settings; name the data in its own arms."
        )
    data = dataset_of(dataset, data_dir)
    predicted = {prediction.metric for prediction in hypothesis.predictions}
    if "accuracy" in predicted and data.task != "classification":
        raise HypothesisError(
            f"{hypothesis.name!r} predicts an accuracy, and {dataset!r} is for {data.task}; take a"
            " data set with classes, or predictions about the loss."
        )
    told: dict[str, Any] = {"dataset": dataset, "data_dir": data_dir}
    arms = tuple(replace(arm, settings={**arm.settings, **told}) for arm in hypothesis.arms)
    for arm in arms:  # before anything runs
        widths_of({**defaults, **arm.settings}, data.input_shape[0], data.outputs)
    return replace(hypothesis, arms=arms)
