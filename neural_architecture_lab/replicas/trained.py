"""What a replica's training came to, whatever computed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.replicas.plan import ReplicaPlan

Watch = Callable[[], None]
"""Is called now and then while a replica trains; what it raises ends the training."""


@dataclass(frozen=True, slots=True)
class Score:
    """Mean loss, and the fraction of samples whose largest output is their class."""

    loss: float
    accuracy: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A replica at the end of its plan.

    Args:
        plan: What was asked for.
        weights: Of each layer, 0 where there is no connection. Shapes ``(outputs, inputs)``.
        biases: Of each layer. Shapes ``(outputs,)``.
        connections: How many weights there are.
        train_loss: The mean loss over the samples of each epoch, as it trained.
        validation: The score after each epoch; empty where no samples validate.
        test: The score at the end.
        seconds: How long it took; in a stack, its share.
    """

    plan: ReplicaPlan
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    connections: int
    train_loss: Sequence[float]
    validation: Sequence[Score]
    test: Score
    seconds: float

    def outcome(self) -> Outcome:
        """What it brings back.

        Metrics: ``loss`` and ``accuracy`` (of a classification) on the test split,
        ``connections``, ``parameters`` and ``seconds``. Curves by epoch: ``train_loss``,
        ``validation_loss`` and ``validation_accuracy``.
        """
        metrics = {
            "loss": self.test.loss,
            "connections": float(self.connections),
            "parameters": float(self.connections + sum(self.plan.sizes[1:])),
            "seconds": self.seconds,
        }
        if self.test.accuracy is not None:
            metrics["accuracy"] = self.test.accuracy
        return Outcome(metrics, self._curves())

    def _curves(self) -> dict[str, Sequence[float]]:
        curves: dict[str, Sequence[float]] = {"train_loss": tuple(self.train_loss)}
        if self.validation:
            curves["validation_loss"] = tuple(one.loss for one in self.validation)
        rates = [one.accuracy for one in self.validation if one.accuracy is not None]
        if rates:
            curves["validation_accuracy"] = tuple(rates)
        return curves


def unwatched() -> None:
    """Watches nothing."""
