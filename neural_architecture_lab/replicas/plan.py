"""The description of one training run: what a replica is, before anything is computed.

An experiment that describes its runs, instead of running them, leaves open how they are computed:
alone in plain PyTorch, compiled on a thread, or many in one tensor program. The numbers are the
same, to rounding.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Final, Literal, get_args

from neural_architecture_lab.errors import PlanError
from structure_net.core.activations import ACTIVATIONS
from structure_net.core.allocation import Allocation
from structure_net.core.sparsity import SparsePattern

OptimizerKind = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["float32", "float64"]

RESTING: Final = 0.01
"""A cosine ends at this fraction of the learning rate."""


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """A multilayer perceptron, its data and its training, as plain values.

    Weights start as those of `structure_net.create_standard_network` with the same arguments, and
    batches come in the order of `structure_net.data.TensorBatches`.

    Args:
        sizes: The number of inputs, the width of each hidden layer, the number of outputs.
        dataset: The data set's name.
        data_dir: The folder that holds data sets; where data sets are looked for if None.
        activation: Behind each hidden layer.
        density: The fraction of connections that exist, in (0, 1]; of all, spread over the layers
            by ``allocation``, or one for each layer.
        allocation: See `structure_net.core.allocation`.
        patterns: The connections of each layer, instead of a density; None for a full layer.
        epochs: How often the training samples are gone through.
        batch_size: Samples per step; the last step of an epoch may take fewer.
        optimizer: PyTorch's Adam, AdamW or SGD.
        learning_rate: Where its schedule begins.
        schedule: Constant, or a cosine to 1 % over all steps.
        betas: Of Adam and AdamW.
        epsilon: Of Adam and AdamW.
        momentum: Of SGD.
        nesterov: Of SGD.
        weight_decay: PyTorch's default if None: .01 with AdamW, 0 with the others.
        seed: What the weights are drawn with, and the pattern, and the order of batches unless
            these have a seed of their own.
        pattern_seed: What the pattern is drawn with; with the weights if None.
        order_seed: What the order of batches follows from; ``seed`` if None.
        dtype: ``"float32"`` or ``"float64"``.

    Raises:
        PlanError: A value is out of range or unknown.
    """

    sizes: Sequence[int]
    dataset: str = "digits"
    data_dir: str | None = None
    activation: str = "relu"
    density: float | Sequence[float] = 1.0
    allocation: Allocation = "erdos_renyi_kernel"
    patterns: Sequence[SparsePattern | None] | None = None
    epochs: int = 12
    batch_size: int = 64
    optimizer: OptimizerKind = "adam"
    learning_rate: float = 0.001
    schedule: Schedule = "constant"
    betas: Sequence[float] = (0.9, 0.999)
    epsilon: float = 1e-8
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float | None = None
    seed: int = 0
    pattern_seed: int | None = None
    order_seed: int | None = None
    dtype: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("sizes", "betas", "density", "patterns"):
            value = getattr(self, name)
            if isinstance(value, Sequence) and not isinstance(value, str):
                object.__setattr__(self, name, tuple(value))
        _check_choices(self)
        _check_numbers(self)
        _check_layers(self)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Outputs and inputs of each layer."""
        return tuple((n, m) for m, n in pairwise(self.sizes))

    @property
    def decay(self) -> float:
        """The weight decay that is taken."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.01 if self.optimizer == "adamw" else 0.0

    @property
    def order(self) -> int:
        """The seed of the order of batches."""
        return self.seed if self.order_seed is None else self.order_seed

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step, counted from 0, of so many."""
        if self.schedule == "constant":
            return self.learning_rate
        way = (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2
        return self.learning_rate * (RESTING + (1 - RESTING) * way)


FIELDS: Final = tuple(one.name for one in fields(ReplicaPlan))


def _check_choices(plan: ReplicaPlan) -> None:
    choices: Mapping[str, Sequence[str]] = {
        "activation": tuple(ACTIVATIONS),
        "allocation": get_args(Allocation),
        "optimizer": get_args(OptimizerKind),
        "schedule": get_args(Schedule),
        "dtype": get_args(Precision),
    }
    for name in ("dataset", "data_dir"):
        value = getattr(plan, name)
        if not isinstance(value, str) and (name == "dataset" or value is not None):
            raise PlanError(f"{name} must be a text; got {value!r}.")
    for name, known in choices.items():
        if (value := getattr(plan, name)) not in known:
            raise PlanError(f"{name} must be one of {', '.join(known)}; got {value!r}.")


def _check_numbers(plan: ReplicaPlan) -> None:
    for name in ("epochs", "batch_size"):
        _check(name, getattr(plan, name), whole=True, low=1)
    for name in ("seed", "pattern_seed", "order_seed"):
        if (value := getattr(plan, name)) is not None:
            _check(name, value, whole=True, low=0)
    for name in ("learning_rate", "epsilon", "momentum", "decay"):
        _check(name, getattr(plan, name), low=0)
    betas = plan.betas if isinstance(plan.betas, tuple) else ()
    if len(betas) != 2 or not all(_is_number(beta) and 0 <= beta < 1 for beta in betas):
        raise PlanError(f"betas must be two numbers in [0, 1); got {plan.betas!r}.")
    if plan.nesterov and not plan.momentum:
        raise PlanError("nesterov=True needs a momentum above 0; got 0.")


def _check_layers(plan: ReplicaPlan) -> None:
    if not isinstance(plan.sizes, tuple) or len(plan.sizes) < 2:
        said = list(plan.sizes) if isinstance(plan.sizes, tuple) else plan.sizes
        raise PlanError(f"sizes must list inputs and outputs at least; got {said!r}.")
    for width in plan.sizes:
        _check("each of sizes", width, whole=True, low=1)
    layers = len(plan.sizes) - 1
    each = plan.density if isinstance(plan.density, Sequence) else (plan.density,)
    for density in each:
        if not _is_number(density) or not 0 < density <= 1:
            raise PlanError(f"density must be in (0, 1]; got {density!r}.")
    for name in ("density", "patterns"):
        value = getattr(plan, name)
        if isinstance(value, Sequence) and len(value) != layers:
            raise PlanError(f"{name} must have an entry for each of {layers} layers; got {value}.")
    for shape, pattern in zip(plan.shapes, plan.patterns or (), strict=False):
        if not isinstance(pattern, SparsePattern | None):
            raise PlanError(f"patterns must hold SparsePattern or None; got {pattern!r}.")
        if pattern is not None and pattern.shape != shape:
            raise PlanError(f"A pattern must have its layer's shape {shape}; got {pattern.shape}.")


def _check(name: str, value: Any, *, whole: bool = False, low: float = 0) -> None:
    fits = _is_number(value) and (isinstance(value, int) or not whole)
    if not (fits and low <= value <= sys.float_info.max):
        kind = "a whole number" if whole else "a finite number"
        raise PlanError(f"{name} must be {kind} from {low:g} on; got {value!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
