"""A small, fast training loop for any network: compiled optimizers, schedules, early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from structure_net.core.arguments import check_positive, check_whole
from structure_net.core.optimizers import adam_for
from structure_net.core.sections import section
from structure_net.errors import TrainingDivergedError
from structure_net.evolution.adaptive_learning_rates import (
    AttachedRates,
    RateRule,
    UnifiedAdaptiveLearning,
)
from structure_net.evolution.batches import ITERABLE_AGAIN, forward, loss_of, number_of_batches
from structure_net.evolution.components.trainers.snapshots import Snapshot
from structure_net.evolution.context import NetworkContext, TrainingHooks
from structure_net.evolution.events import Event, EventKind
from structure_net.evolution.interfaces import Trainer
from structure_net.evolution.measuring import Tally, held_out, precision
from structure_net.evolution.session import EvolutionSession

OptimizerName = Literal["adam", "adamw", "sgd"]
OptimizerFactory = Callable[[Iterable[nn.Parameter], float], Optimizer]
ScheduleFactory = Callable[[Optimizer, int], LRScheduler]

_FRESH_RATE: Final = 1e-2
_CHECK_EVERY: Final = 64
_RESTING: Final = 0.01
"""The cosine ends at this fraction of the learning rate."""


class StandardNetworkTrainer(Trainer):
    """Trains for some epochs; the optimizer lives on in the context from call to call.

    On CUDA the forward pass runs in mixed precision (bfloat16). Losses are read in blocks, never
    step by step. If one is not finite, training stops and the weights of the last good epoch are
    put back. The metrics of an epoch are ``train_loss``, ``train_accuracy`` (running, where targets
    are classes), ``validation_loss``, ``validation_accuracy`` (where there is a validation loader)
    and ``learning_rate``.

    Args:
        epochs: Epochs per call.
        learning_rate: Where each call's schedule starts. None: the rate of the optimizer that the
            context brings, 0.01 for a new one.
        optimizer: What is made where the context has none: Adam, AdamW or SGD with momentum .9,
            or a function of parameters and learning rate.
        schedule: Over the steps of one call: cosine to 1 %, constant, or a function of optimizer
            and number of steps that makes a PyTorch scheduler, which is stepped after each step.
        clip_norm: The largest norm of the gradient; None: no limit.
        rates: Rules for rates of their own, such as for newborn units; None for none. They work
            during each call, and what they remember lies in the optimizer.
        patience: Stop after so many epochs in which the validation loss did not improve, and put
            the best epoch's weights back; None: train all epochs.

    Raises:
        ValueError: An argument is out of range or unknown.
        TypeError: A number is none, ``epochs`` or ``patience`` is not whole, or ``rates`` holds
            something else than rules.
    """

    def __init__(  # noqa: PLR0913 - what a loop consists of, each with a default
        self,
        epochs: int = 5,
        learning_rate: float | None = None,
        *,
        optimizer: OptimizerName | OptimizerFactory = "adam",
        schedule: Literal["cosine", "constant"] | ScheduleFactory = "cosine",
        clip_norm: float | None = None,
        rates: UnifiedAdaptiveLearning | RateRule | None = None,
        patience: int | None = None,
    ) -> None:
        check_whole(1, epochs=epochs, patience=1 if patience is None else patience)
        bounds = {"learning_rate": learning_rate, "clip_norm": clip_norm}
        check_positive(**{name: one for name, one in bounds.items() if one is not None})
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.clip_norm = clip_norm
        self.patience = patience
        self.rates = _rates(rates)
        self._make_optimizer: OptimizerFactory = _choice("optimizer", optimizer, _OPTIMIZERS)
        self._make_schedule: ScheduleFactory = _choice("schedule", schedule, _SCHEDULES)

    def train(self, context: NetworkContext) -> NetworkContext:
        """Trains ``context.network`` in place.

        Returns:
            The context with the optimizer that was used.

        Raises:
            TrainingDivergedError: A loss is not finite; the message says in which epoch and batch.
            TypeError: The optimizer is LBFGS.
            ValueError: The loader is empty, or early stopping lacks a validation loader.
        """
        if self.patience is not None and context.validation_loader is None:
            raise ValueError(
                f"patience={self.patience} stops by the validation loss, and this context has no"
                " validation_loader. Give it one, or leave patience out."
            )
        optimizer = context.optimizer or self._new_optimizer(context.network)
        if isinstance(optimizer, LBFGS):
            raise TypeError(
                "LBFGS computes the loss several times in a step, by a closure that this trainer"
                " has none of. Use another optimizer, or a loop of your own:"
                " ComposableEvolutionSystem.attach."
            )
        context = replace(context, optimizer=optimizer)
        # Without a system around it, a session without strategies keeps the record.
        hooks = context.hooks or EvolutionSession(context, (), ())
        hooks.training(context)
        with ExitStack() as attached:
            adaptive = None
            if self.rates is not None:
                rates = self.rates.attach(optimizer, context.network)
                adaptive = attached.enter_context(rates)
            _Run(self, context, hooks, optimizer, adaptive).epochs()
        return context

    def _new_optimizer(self, network: nn.Module) -> Optimizer:
        rate = _FRESH_RATE if self.learning_rate is None else self.learning_rate
        return self._make_optimizer(network.parameters(), rate)

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """The schedule of one call, from the start of which each group's rate begins anew."""
        for group in optimizer.param_groups:
            start = group.get("initial_lr", group["lr"])
            group["lr"] = start if self.learning_rate is None else self.learning_rate
            group.pop("initial_lr", None)
        return self._make_schedule(optimizer, max(steps, 1))


class _Run:
    """One call of the trainer."""

    def __init__(
        self,
        trainer: StandardNetworkTrainer,
        context: NetworkContext,
        hooks: TrainingHooks,
        optimizer: Optimizer,
        rates: AttachedRates | None,
    ) -> None:
        self._rates = rates
        self._trainer = trainer
        self._context = context
        self._hooks = hooks
        self._optimizer = optimizer
        self._precision = precision(context.device)
        self._length = number_of_batches(context.data_loader)
        steps = trainer.epochs * (self._length or 1)
        self._scheduler = trainer.scheduler(optimizer, steps)
        self._good = Snapshot(context.network, optimizer)
        self._best: tuple[float, Snapshot] | None = None
        self._waited = 0

    def epochs(self) -> None:
        for epoch in range(self._trainer.epochs):
            rate = self._optimizer.param_groups[0]["lr"]
            metrics = {**self._epoch(), **self._validate(), "learning_rate": rate}
            if self._length is None:
                self._scheduler.step()
            if self._rates is not None:
                self._rates.after_epoch(metrics)
            stop = self._stops(metrics)
            more = not stop and epoch + 1 < self._trainer.epochs
            done = self._hooks.after_epoch(metrics, more=more)
            if any(changes_network(event) for event in done):
                self._best, self._waited = None, 0
            if not more:
                break
            self._good = Snapshot(self._context.network, self._optimizer)
        if self._best is not None:
            self._best[1].restore()
        # An edit carries gradients along; these are spent.
        self._optimizer.zero_grad(set_to_none=True)

    def _epoch(self) -> dict[str, float]:
        self._context.network.train()
        blocks: list[tuple[Tensor, Tensor | None, Tensor]] = []
        tally = Tally()
        for batch in self._context.train_batches(training=True):
            self._step(tally, *batch)
            if len(tally.losses) == _CHECK_EVERY:
                blocks.append(self._checked(tally, len(blocks)))
                tally = Tally()
        if tally.losses:
            blocks.append(self._checked(tally, len(blocks)))
        if not blocks:
            raise ValueError(f"The data_loader gave no batch. {ITERABLE_AGAIN}")
        return _summary(blocks)

    def _step(self, tally: Tally, inputs: Any, targets: Any) -> None:
        network, optimizer = self._context.network, self._optimizer
        optimizer.zero_grad(set_to_none=True)
        with self._precision:
            output = forward(network, inputs)
            loss = loss_of(self._context.loss, output, targets)
        with section("backward"):
            loss.backward()
        with section("optimizer"):
            if self._trainer.clip_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), self._trainer.clip_norm)
            optimizer.step()
            if self._length is not None:
                self._scheduler.step()
        tally.add(loss, output, targets)
        if self._hooks.after_step(loss, samples=tally.lengths[-1]):
            # The weights to return to must have the shapes that the network has now.
            self._good = Snapshot(network, optimizer)
            self._best, self._waited = None, 0

    def _checked(self, tally: Tally, block: int) -> tuple[Tensor, Tensor | None, Tensor]:
        losses, hits, lengths = tally.read()
        broken = (~torch.isfinite(losses)).nonzero().flatten()
        if len(broken):
            first = int(broken[0])
            self._good.restore()
            raise TrainingDivergedError(
                f"The loss is {float(losses[first])} in epoch {self._context.history.epoch + 1},"
                f" batch {block * _CHECK_EVERY + first + 1}; the weights are back where that epoch"
                " began. Lower the learning rate, set clip_norm, or look for bad values in the"
                " data."
            )
        return losses, hits, lengths

    def _validate(self) -> dict[str, float]:
        if self._context.validation_loader is None:
            return {}
        with section("validation"):
            score = held_out(self._context)
        found = {"validation_loss": score.loss}
        return found if score.accuracy is None else {**found, "validation_accuracy": score.accuracy}

    def _stops(self, metrics: dict[str, float]) -> bool:
        """Keeps the best weights, and says whether patience is at its end."""
        if self._trainer.patience is None:
            return False
        loss = metrics["validation_loss"]
        if self._best is None or loss < self._best[0]:
            self._best, self._waited = (loss, Snapshot(self._context.network, self._optimizer)), 0
        else:
            self._waited += 1
        return self._waited >= self._trainer.patience


def changes_network(event: Event) -> bool:
    """Whether the network has another architecture after ``event``."""
    return event.kind in {EventKind.EDITED, EventKind.GREW_BY_HAND}


def _summary(blocks: list[tuple[Tensor, Tensor | None, Tensor]]) -> dict[str, float]:
    samples = float(sum(lengths.sum() for _, _, lengths in blocks))
    loss = float(sum(losses @ lengths for losses, _, lengths in blocks)) / samples
    hits = [hits for _, hits, _ in blocks if hits is not None]
    if len(hits) < len(blocks):
        return {"train_loss": loss}
    return {"train_loss": loss, "train_accuracy": float(sum(h.sum() for h in hits)) / samples}


def _fused(parameters: list[nn.Parameter]) -> bool:
    """Whether PyTorch has a fused step for these parameters; several times faster than the loop."""
    kinds = {"cpu", "cuda", "mps", "xpu"}
    return all(p.is_floating_point() and p.device.type in kinds for p in parameters)


def _adam(parameters: Iterable[nn.Parameter], rate: float) -> Optimizer:
    return adam_for(parameters, rate)


def _adamw(parameters: Iterable[nn.Parameter], rate: float) -> Optimizer:
    return adam_for(parameters, rate, decoupled=True)


def _sgd(parameters: Iterable[nn.Parameter], rate: float) -> Optimizer:
    held = list(parameters)
    return torch.optim.SGD(held, lr=rate, momentum=0.9, nesterov=True, fused=_fused(held))


def _cosine(optimizer: Optimizer, steps: int) -> LRScheduler:
    return LambdaLR(
        optimizer,
        lambda step: (
            _RESTING + (1 - _RESTING) * (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2
        ),
    )


def _constant(optimizer: Optimizer, steps: int) -> LRScheduler:
    return LambdaLR(optimizer, lambda step: 1.0)


_OPTIMIZERS: Final[Mapping[str, OptimizerFactory]] = {"adam": _adam, "adamw": _adamw, "sgd": _sgd}
_SCHEDULES: Final[Mapping[str, ScheduleFactory]] = {"cosine": _cosine, "constant": _constant}


def _choice(name: str, value: Any, known: Mapping[str, Any]) -> Any:
    if callable(value):
        return value
    if value not in known:
        raise ValueError(
            f"{name} must be one of {', '.join(known)} or a function that makes one; got {value!r}."
        )
    return known[value]


def _rates(rates: object) -> UnifiedAdaptiveLearning | None:
    if isinstance(rates, RateRule):
        return UnifiedAdaptiveLearning(rates)
    if rates is None or isinstance(rates, UnifiedAdaptiveLearning):
        return rates
    raise TypeError(
        "rates must be a RateRule or UnifiedAdaptiveLearning, such as GrowthPhaseScheduler();"
        f" got {rates!r}."
    )
