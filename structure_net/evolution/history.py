"""What training did: one record per epoch, and the series that triggers and plots read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from structure_net.core.arguments import shown


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch of training.

    Two records are equal when they agree on everything but the clock.

    Args:
        epoch: Counted from 1 over the whole life of the network.
        iteration: The iteration of the evolution that the epoch belongs to, counted from 0.
        step: Optimizer steps taken so far, over the whole life of the network.
        metrics: What was measured, by name. Ours are ``train_loss``, ``train_accuracy``,
            ``validation_loss``, ``validation_accuracy`` and ``learning_rate``.
        parameters: Live parameters: connections, biases and everything else that is trained.
        connections: Live connections.
        seconds: Wall-clock time since the previous record, growth included.
        elapsed: Wall-clock time since the first epoch began.
        samples: Samples seen so far, over the whole life of the network; None where the loop did
            not tell.
    """

    epoch: int
    iteration: int
    step: int
    metrics: Mapping[str, float]
    parameters: int
    connections: int
    seconds: float = field(default=0.0, compare=False)
    elapsed: float = field(default=0.0, compare=False)
    samples: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain data, ready for JSON."""
        return {
            "epoch": self.epoch,
            "iteration": self.iteration,
            "step": self.step,
            "metrics": dict(self.metrics),
            "parameters": self.parameters,
            "connections": self.connections,
            "seconds": self.seconds,
            "elapsed": self.elapsed,
            "samples": self.samples,
        }


def numbers_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """What was measured, as plain numbers.

    Raises:
        TypeError: It is no mapping from names to numbers.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(
            "metrics must map names to numbers, such as {'validation_loss': 0.3}; got"
            f" {shown(metrics)}."
        )
    return {name: _number(name, value) for name, value in metrics.items()}


def _number(name: str, value: Any) -> float:
    said = f"The metric {name!r} must be a number; got {shown(value)}."
    if isinstance(value, str):
        raise TypeError(said)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:  # torch raises the last one
        raise TypeError(said) from error


def _revive(data: dict[str, Any]) -> EpochRecord:
    return EpochRecord(**data)


class TrainingHistory:
    """The epochs of a network, oldest first; grows by `append` and is never rewritten.

    Args:
        records: The epochs so far.
    """

    def __init__(self, records: Iterable[EpochRecord] = ()) -> None:
        self._records = list(records)

    def append(self, record: EpochRecord) -> None:
        """Adds one epoch.

        Raises:
            ValueError: The record does not follow the last one.
        """
        if self._records and record.epoch <= self._records[-1].epoch:
            raise ValueError(
                f"An epoch must follow epoch {self._records[-1].epoch}; got {record.epoch}."
            )
        self._records.append(record)

    def fork(self) -> Self:
        """A history of its own with the same records."""
        return type(self)(self._records)

    @property
    def last(self) -> EpochRecord | None:
        """The newest record, None before the first epoch."""
        return self._records[-1] if self._records else None

    @property
    def epoch(self) -> int:
        """The number of the newest epoch, 0 before the first."""
        return self._records[-1].epoch if self._records else 0

    @property
    def step(self) -> int:
        """Optimizer steps up to the newest record."""
        return self._records[-1].step if self._records else 0

    @property
    def samples(self) -> int | None:
        """Samples seen up to the newest record, 0 before the first; None where nobody told."""
        return self._records[-1].samples if self._records else 0

    def since(self, epoch: int) -> tuple[EpochRecord, ...]:
        """The records after ``epoch``."""
        return tuple(record for record in self._records if record.epoch > epoch)

    def series(self, metric: str) -> tuple[float, ...]:
        """One metric over the epochs that measured it, oldest first."""
        return tuple(record.metrics[metric] for record in self._records if metric in record.metrics)

    def to_list(self) -> list[dict[str, Any]]:
        """The records as plain data, ready for JSON."""
        return [record.to_dict() for record in self._records]

    @classmethod
    def from_list(cls, records: Iterable[Mapping[str, Any]]) -> Self:
        """The history that `to_list` wrote."""
        return cls(EpochRecord(**record) for record in records)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self._records)

    def __getitem__(self, index: int) -> EpochRecord:
        return self._records[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrainingHistory) and self._records == other._records

    __hash__ = None  # type: ignore[assignment]  # it changes, so that it cannot be a key

    def __repr__(self) -> str:
        return f"TrainingHistory({len(self)} epochs)"
