"""Data sets that are computed: the same numbers everywhere."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from structure_net.data.datasets import RawDataset, TensorSplit
from structure_net.data.files import md5_of
from structure_net.data.normalising import Scaling
from structure_net.data.requests import DatasetRequest
from structure_net.errors import DatasetError

_SEED = 0  # of the data themselves, which are one set and no sample of many


def load_parity(request: DatasetRequest) -> RawDataset:
    """Whether the number of ones among ``bits`` is odd; bits are written as -1 and 1.

    All ``2 ** bits`` patterns, or ``samples`` distinct ones where there are more.

    Raises:
        DatasetError: An option is out of range.
    """
    bits, samples = int(request.options["bits"]), int(request.options["samples"])
    if not 2 <= bits <= 62 or samples < 10:
        raise DatasetError(
            "parity needs bits between 2 and 62 and 10 samples at least; "
            f"got bits={bits}, samples={samples}."
        )
    if 2**bits <= samples:
        patterns = np.arange(2**bits)
    else:
        patterns = np.random.Generator(np.random.PCG64(_SEED)).choice(2**bits, samples, False)
    ones = (patterns[:, None] >> np.arange(bits)) & 1
    return _dataset(
        inputs=(2 * ones - 1).astype(np.float32),
        labels=(ones.sum(1) % 2).astype(np.int64),
        classes=("even", "odd"),
        scaling="none",
    )


def load_spirals(request: DatasetRequest) -> RawDataset:
    """Interleaved spirals in the plane, one a class: radius ``sqrt(u)``, angle ``turns`` times it.

    ``noise`` is the standard deviation of what is added to each coordinate; radii reach 1.

    Raises:
        DatasetError: An option is out of range.

    References:
        Lang and Witbrock, "Learning to tell two spirals apart", Connectionist Models Summer
        School, 1988.
    """
    classes, points = int(request.options["classes"]), int(request.options["points"])
    noise = request.options["noise"]
    if classes < 2 or points < 10 or noise < 0:
        raise DatasetError(
            "spirals needs two classes and 10 points of each at least, and no negative noise; "
            f"got classes={classes}, points={points}, noise={noise}."
        )
    generator = np.random.Generator(np.random.PCG64(_SEED))
    labels = np.repeat(np.arange(classes), points)
    radius = np.sqrt(generator.random(len(labels)))
    angle = 2 * np.pi * (request.options["turns"] * radius + labels / classes)
    plane = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return _dataset(
        inputs=(plane + noise * generator.standard_normal(plane.shape)).astype(np.float32),
        labels=labels.astype(np.int64),
        classes=tuple(str(label) for label in range(classes)),
        scaling="whole",
    )


def _dataset(
    *,
    inputs: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    scaling: Scaling,
) -> RawDataset:
    return RawDataset(
        train=TensorSplit(torch.from_numpy(inputs), torch.from_numpy(labels)),
        test=None,
        task="classification",
        classes=classes,
        checksum=md5_of([inputs.tobytes(), labels.tobytes()]),
        scaling=scaling,
    )
