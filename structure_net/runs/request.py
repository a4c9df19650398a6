"""What a run was asked to do, as a value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from structure_net.errors import RunError

_LARGEST_SEED: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PipelineSource:
    """A pipeline that a user assembled in Python: ``name`` in ``file``, and the file's SHA-256."""

    file: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What `structure-net evolve` was asked for.

    Args:
        dataset: A registered name, or the path of an ``.npz`` file.
        data_dir: Where the data set's files lie; the library's own places if None.
        download: Whether the data set may be downloaded.
        architecture: Widths from input to output; chosen from the data set if None.
        density: The fraction of connections that exist at birth, in (0, 1].
        iterations: Rounds of looking, editing and training; at least 1.
        epochs: Epochs per iteration; at least 1. None if a pipeline decides, as for the next.
        batch_size: Samples per step; at least 1.
        learning_rate: Of the standard trainer; positive.
        seed: Decides the split, the first weights, the samples' order and the new connections.
        device: Where the network lives, such as ``cpu`` or ``cuda``.
        pipeline: A pipeline of the user's own; the standard system if None.
        baseline: Whether the start network, and the final architecture anew, are trained too.

    Raises:
        RunError: A value is out of its range.
    """

    dataset: str = "digits"
    data_dir: str | None = None
    download: bool = False
    architecture: tuple[int, ...] | None = None
    density: float = 0.02
    iterations: int = 5
    epochs: int | None = 3
    batch_size: int = 64
    learning_rate: float | None = 0.01
    seed: int = 0
    device: str = "cpu"
    pipeline: PipelineSource | None = None
    baseline: bool = False

    def __post_init__(self) -> None:
        for name in ("iterations", "epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RunError(f"{name} must be at least 1; got {value}.")
        if self.seed < 0:
            raise RunError(f"seed must not be negative; got {self.seed}.")
        if self.seed > _LARGEST_SEED:
            raise RunError(f"seed must be {_LARGEST_SEED} or less; got {self.seed}.")
        if not 0 < self.density <= 1:
            raise RunError(
                f"density must be in (0, 1], the fraction of connections that exist; "
                f"got {self.density}."
            )
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise RunError(f"learning_rate must be positive; got {rate}.")
        if self.architecture is not None:
            _check_widths(self.architecture)

    @property
    def total_epochs(self) -> int | None:
        """All epochs of the run; None if a pipeline of the user's own decides."""
        return None if self.epochs is None else self.iterations * self.epochs


def fitted_architecture(
    asked: Sequence[int] | None, *, features: int, outputs: int
) -> tuple[int, ...]:
    """The widths of the start network: those asked for if they fit the data, or a small default.

    Args:
        asked: Widths from input to output, or None.
        features: Numbers in one sample.
        outputs: Classes, or targets of a regression.

    Raises:
        RunError: The first width is not ``features`` or the last is not ``outputs``.
    """
    if asked is None:
        return (features, 64, 32, outputs) if features <= 256 else (features, 256, 128, outputs)
    widths = tuple(asked)
    if widths[0] != features:
        raise RunError(
            f"The architecture must start with the {features} features of the data set; "
            f"got {widths[0]} in {_written(widths)}. Write {_written((features, *widths[1:]))}."
        )
    if widths[-1] != outputs:
        raise RunError(
            f"The architecture must end with the {outputs} outputs of the data set; "
            f"got {widths[-1]} in {_written(widths)}. Write {_written((*widths[:-1], outputs))}."
        )
    return widths


def _check_widths(widths: tuple[int, ...]) -> None:
    if len(widths) < 2 or min(widths) < 1:
        raise RunError(
            "architecture must hold at least two positive widths, such as 784,256,128,10; "
            f"got {_written(widths) or 'none'}."
        )


def _written(widths: Sequence[int]) -> str:
    return ",".join(str(width) for width in widths)
