"""How `DENTrainer.train` may be called: with epochs behind the batches, or with held-out ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from structure_net.core.arguments import check_whole, shown
from structure_net.evolution.batches import Batch


@dataclass(frozen=True, slots=True)
class TrainCall:
    """What a call of `DENTrainer.train` asks for, besides the batches to train on.

    Args:
        epochs: How many.
        enable_growth: Whether the network may change.
        val_loader: Held-out batches, if any.

    Raises:
        TypeError: ``epochs`` is no whole number, or ``val_loader`` yields nothing.
        ValueError: ``epochs`` is negative.
    """

    epochs: int
    enable_growth: bool = True
    val_loader: Iterable[Batch] | None = None

    def __post_init__(self) -> None:
        check_whole(0, epochs=self.epochs)
        if self.val_loader is not None and not isinstance(self.val_loader, Iterable):
            raise TypeError(f"val_loader must yield batches; got {shown(self.val_loader)}.")


def train_call(given: Sequence[Any], named: Mapping[str, Any]) -> TrainCall:
    """The call with these arguments behind the training batches.

    Args:
        given: By position: ``epochs, enable_growth``, or ``val_loader, epochs, enable_growth``
            where the first one is no number.
        named: By name.

    Raises:
        TypeError: An argument is missing, unknown, given twice or of the wrong kind.
    """
    names = ["epochs", "enable_growth"]
    if given and not isinstance(given[0], Integral):
        names.insert(0, "val_loader")
    twice = sorted(set(names[: len(given)]) & set(named))
    unknown = sorted(set(named) - {"epochs", "enable_growth", "val_loader"})
    if twice or unknown or len(given) > len(names):
        wrong = f"{twice[0]} twice" if twice else ", ".join(unknown) or f"{len(given) + 1} values"
        raise TypeError(
            f"train takes (loader, epochs, enable_growth, val_loader=...) or (loader, val_loader,"
            f" epochs, enable_growth); got {wrong}."
        )
    asked = {**dict(zip(names, given, strict=False)), **named}
    if "epochs" not in asked:
        raise TypeError("train needs the number of epochs: train(loader, epochs=50).")
    return TrainCall(**asked)
