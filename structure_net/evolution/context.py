"""What a component sees of a run: a network, its data, and what happened to it so far."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.arguments import check_optimizer
from structure_net.evolution.analysis import Lazy
from structure_net.evolution.batches import (
    ITERABLE_AGAIN,
    Batch,
    Loss,
    aside,
    batches,
    example_of,
    random_state_kept,
)
from structure_net.evolution.events import Event
from structure_net.evolution.history import TrainingHistory
from structure_net.evolution.memory import AnalysisMemory, Reads
from structure_net.evolution.observation import Observation
from structure_net.surgery.bound_weights import refuse_graphs
from structure_net.surgery.journal import Journal
from structure_net.surgery.optimizers import LOG

T = TypeVar("T")


class TrainingHooks(Protocol):
    """What a trainer tells while it trains, so that growth can happen in the middle of it."""

    def training(self, context: NetworkContext) -> None:
        """The context is about to be trained, with the optimizer that it holds."""

    def after_step(
        self, loss: Tensor | None = None, *, samples: int | None = None
    ) -> Sequence[Event]:
        """The optimizer took a step; returns what was done to the network in answer."""

    def after_epoch(self, metrics: Mapping[str, float], *, more: bool = True) -> Sequence[Event]:
        """An epoch is over; ``more`` says whether this trainer goes on."""


@dataclass(frozen=True, slots=True)
class NetworkContext:
    """A network with what is needed to judge, to edit and to train it.

    The value is immutable; network, optimizer, history and journal in it are not. Whoever holds
    the context owns them: `fork` before you change what another still holds.

    Args:
        network: Any module.
        data_loader: Training batches, pairs ``(inputs, targets)``; iterated anew for every epoch.
        device: Where batches go; the network must be there.
        loss: Takes output and targets to a scalar.
        validation_loader: Held-out batches.
        optimizer: Lives on through edits; a trainer makes one where there is none.
        iteration: Iterations of evolution so far.
        history: The epochs so far.
        journal: The edits and events so far.
        seed: What every random choice of components and edits follows from, together with the
            iteration and the place of the choice.
        example: Inputs to trace the network with; the first samples of the loader if None.
        observation: What the analyzers asked to be measured; set by the system.
        hooks: What a trainer calls while it trains; set by the system.
        memory: What analyzers keep from one look to the next; set by the system.
        step: Optimizer steps so far, in the middle of an epoch too; set by the system where a
            strategy is asked.

    Raises:
        TypeError: ``network`` is no module, ``data_loader`` cannot be iterated, ``loss`` cannot be
            called, or ``optimizer`` is none.
        ValueError: ``device`` needs CUDA, and there is none.
    """

    network: nn.Module
    data_loader: Iterable[Batch]
    device: torch.device | str = "cpu"
    loss: Loss = nn.functional.cross_entropy
    validation_loader: Iterable[Batch] | None = None
    optimizer: Optimizer | None = None
    iteration: int = 0
    history: TrainingHistory = field(default_factory=TrainingHistory)
    journal: Journal = field(default_factory=Journal)
    seed: int = 0
    example: Any = None
    observation: Observation | None = None
    hooks: TrainingHooks | None = None
    memory: AnalysisMemory | None = None
    step: int = 0

    def __repr__(self) -> str:
        parts = (type(self.network).__name__, f"iteration {self.iteration}")
        return f"NetworkContext({', '.join(parts)}, {self.history!r}, {self.journal!r})"

    def __post_init__(self) -> None:
        if not isinstance(self.network, nn.Module):
            raise TypeError(
                f"network must be a torch.nn.Module; got {type(self.network).__name__}."
            )
        if not isinstance(self.data_loader, Iterable):
            raise TypeError(
                "data_loader must be iterable and yield pairs (inputs, targets);"
                f" got {type(self.data_loader).__name__}."
            )
        if not callable(self.loss):
            raise TypeError(
                "loss must be a function of output and targets, such as"
                f" torch.nn.functional.mse_loss; got {self.loss!r}."
            )
        check_optimizer(self.optimizer)
        if torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                f"device is {str(self.device)!r}, and torch finds no CUDA on this machine."
                " Name another device, such as 'cpu'."
            )

    def fork(self) -> Self:
        """A context whose network, optimizer, history and journal are its own.

        Network and optimizer are copied in one step, so that the copied optimizer holds the copied
        parameters. An optimizer that was not handed to the edits so far follows them first, as it
        would at its next step. Loaders are shared. Hooks stay behind, and of the memory what is
        cached.

        Raises:
            StructureNetError: A module keeps a tensor with its graph, as under
                `torch.nn.utils.prune`, which cannot be copied.
        """
        refuse_graphs(self.network)
        if self.optimizer is not None:
            LOG.catch_up(self.optimizer)
        network, optimizer = deepcopy((self.network, self.optimizer))
        return replace(
            self,
            network=network,
            optimizer=optimizer,
            history=self.history.fork(),
            journal=self.journal.fork(),
            hooks=None,
            memory=None if self.memory is None else self.memory.fork(),
        )

    def recall(
        self,
        owner: object,
        layers: str | Iterable[str] | None,
        compute: Callable[[], T],
        *,
        name: Hashable = "",
        reads: Reads = "weights",
    ) -> T:
        """What ``compute`` gives, from `memory` where it is still true; see
        `AnalysisMemory.recall`. Without a memory it is computed."""
        if self.memory is None:
            return compute()
        return self.memory.recall(owner, layers, compute, name=name, reads=reads)

    def lazy(self, compute: Callable[[], Any]) -> Lazy:
        """A value of an analysis that is computed when it is first read; see
        `AnalysisMemory.lazy`. Without a memory, nobody notices when that is too late."""
        return Lazy(compute) if self.memory is None else self.memory.lazy(compute)

    def train_batches(
        self, limit: int | None = None, *, epoch: int | None = None, training: bool = False
    ) -> Iterator[Batch]:
        """Training batches on the device, in the order of ``epoch`` where the loader has orders.

        Args:
            limit: At most so many; all if None.
            epoch: The epoch, counted from 0; the one that comes next if None.
            training: Whether it is the loop that trains who asks. It iterates the loader itself,
                whose ``persistent_workers`` persist; whoever else asks leaves that loop's place in
                the loader alone, as `aside` says.
        """
        # To ask a Protocol takes longer than all the rest.
        set_epoch = getattr(self.data_loader, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(len(self.history) if epoch is None else epoch)
        loader = self.data_loader if training else aside(self.data_loader)
        return batches(loader, self.device, limit)

    def held_out_batches(self, limit: int | None = None) -> Iterator[Batch]:
        """Validation batches on the device; none without a validation loader."""
        loader = self.validation_loader or ()
        shared = loader is self.data_loader
        return batches(aside(loader) if shared else loader, self.device, limit)

    def with_example(self) -> Self:
        """This context with an `example`, taken from the loader where there is none.

        Raises:
            ValueError: The loader is empty.
        """
        if self.example is not None:
            return self
        with random_state_kept(self.device):
            for inputs, _ in self.train_batches(1):
                return replace(self, example=example_of(inputs))
        raise ValueError(
            f"The data_loader gave no batch to trace the network with. {ITERABLE_AGAIN}"
            " Or pass `example`."
        )
