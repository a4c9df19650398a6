"""Training with growth: epochs, and after each one the question whether to grow."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from structure_net.core.optimizers import AdamW
from structure_net.core.running import evaluate
from structure_net.core.undoing import Undoing
from structure_net.den.calls import train_call
from structure_net.den.core import DynamicExpandableNetwork
from structure_net.den.evolving import DENEvolution, event_of
from structure_net.den.growth_strategy import AdaptiveGrowth, GrowthStrategy
from structure_net.den.hidden import HiddenLayer
from structure_net.den.history import add_epoch, add_event, empty_history, epoch_line
from structure_net.den.losses import loss_for
from structure_net.den.measuring import layer_activities
from structure_net.den.rehearsal import Rehearsal
from structure_net.den.watching import LayerWatch
from structure_net.errors import CheckpointError
from structure_net.evolution.batches import Batch, Loss
from structure_net.evolution.components.trainers import StandardNetworkTrainer
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.events import Event, EventKind
from structure_net.evolution.history import EpochRecord, TrainingHistory
from structure_net.evolution.measuring import held_out
from structure_net.evolution.session import EvolutionSession, Rule
from structure_net.surgery import read_header


class DENTrainer:
    """Trains a network that grows, and keeps the record of it.

    The ``history`` is one plain dict, to which every call of `train` adds. Lists with an entry for
    each epoch: ``train_loss``, ``val_loss``, ``train_accuracy`` and ``val_accuracy`` (None where it
    was not measured), ``num_parameters``, ``layer_sizes`` and ``timestamps`` (seconds of training
    up to its end). Lists of events, ``growth_events`` and ``pruning_events``: dicts with ``epoch``
    (from 0), ``type`` (``width``, ``depth`` or ``prune``), ``layer_idx``, ``num_neurons``,
    ``reason``, ``layer_sizes`` and ``num_parameters`` as they were after it, ``timestamp`` (seconds
    of training) and ``datetime`` (ISO 8601).

    Args:
        network: Is trained and grown in place.
        growth_strategy: Says when and how it grows; `AdaptiveGrowth` if None.
        optimizer: Makes the optimizer of parameters, ``lr`` and ``optimizer_kwargs``: a class; the
            compiled AdamW by default, which has the arguments and the state of torch's.
        learning_rate: In every epoch.
        optimizer_kwargs: What else the optimizer is made with.
        loss_function: Takes output and targets to a scalar; if None the mean squared error for
            regression, cross-entropy for classification.
        device: Where to train; on a machine without CUDA, ``"cuda"`` means the CPU.
        verbose: Whether each epoch and each growth is written to standard output.
        memory_size: Samples of earlier data that are kept, and learned again in
            `continual_learning`; 0 for none.

    Raises:
        TypeError: An argument is of the wrong kind.
    """

    def __init__(  # noqa: PLR0913 - what training consists of
        self,
        network: DynamicExpandableNetwork,
        growth_strategy: GrowthStrategy | None = None,
        *,
        optimizer: Callable[..., Optimizer] = AdamW,
        learning_rate: float = 0.001,
        optimizer_kwargs: Mapping[str, Any] | None = None,
        loss_function: Loss | None = None,
        device: torch.device | str | None = None,
        verbose: bool = False,
        memory_size: int = 0,
    ) -> None:
        _check(network, optimizer)
        self.growth_strategy = AdaptiveGrowth() if growth_strategy is None else growth_strategy
        self._growing = DENEvolution(self.growth_strategy)
        self.device = _device(device, network)
        self.network = network.to(self.device)
        self.learning_rate = learning_rate
        self.loss_function = loss_for(loss_function, network)
        self.verbose = verbose
        self._optimizer_class = optimizer
        self._optimizer_kwargs = dict(optimizer_kwargs or {})
        self.optimizer = self._new_optimizer()
        self.memory = Rehearsal(memory_size, seed=network.seed)
        self.history: dict[str, list[Any]] = empty_history()
        self._records = TrainingHistory()

    @overload
    def train(
        self,
        train_loader: Iterable[Batch],
        epochs: int,
        enable_growth: bool = True,
        *,
        val_loader: Iterable[Batch] | None = None,
    ) -> dict[str, list[Any]]: ...

    @overload
    def train(
        self,
        train_loader: Iterable[Batch],
        val_loader: Iterable[Batch] | None,
        epochs: int,
        enable_growth: bool = True,
    ) -> dict[str, list[Any]]: ...

    def train(
        self, train_loader: Iterable[Batch], *given: Any, **named: Any
    ) -> dict[str, list[Any]]:
        """Trains for some epochs; after each one the strategy is asked.

        Called as ``train(loader, epochs=50)`` or ``train(loader, held_out, epochs=50)``; both
        ``epochs`` and ``held_out`` may stand first behind the loader.

        Args:
            train_loader: Yields pairs (inputs, targets).
            *given: ``epochs, enable_growth``, or ``val_loader, epochs, enable_growth``.
            **named: ``epochs``, how many; ``enable_growth``, whether the network may change, True
                by default; ``val_loader``, held-out batches, measured after each epoch.

        Returns:
            A copy of the trainer's whole `history`, from its first epoch on.

        Raises:
            TrainingDivergedError: The loss is not finite; the last good weights are put back.
            TypeError: An argument is missing, given twice or of the wrong kind.
            ValueError: The loader is empty, or targets do not have the outputs' shape.
        """
        call = train_call(given, named)
        context = replace(self._context(train_loader), validation_loader=call.val_loader)
        rules = [Rule(self._growing)] if call.enable_growth else []
        session = EvolutionSession(context, (), rules, own_loop=True)
        with (undo := Undoing()), undo:
            watch = LayerWatch(self.network, undo)
            watch.open()
            hooks = _Hooks(self, session, watch)
            loop = StandardNetworkTrainer(call.epochs, schedule="constant")
            loop.train(replace(context, hooks=hooks))
        self.memory.see(train_loader)
        return deepcopy(self.history)

    def evaluate(self, data_loader: Iterable[Batch]) -> dict[str, float]:
        """The mean loss (``loss``) and, for classes, the share of right ones (``accuracy``).

        Args:
            data_loader: Yields pairs (inputs, targets).
        """
        score = held_out(replace(self._context(()), validation_loader=data_loader))
        return {"loss": score.loss} | (
            {} if score.accuracy is None else {"accuracy": score.accuracy}
        )

    @torch.no_grad()
    def predict(self, data: Tensor, *, scores: bool = False) -> Tensor:
        """The network's answers, in evaluation mode.

        Args:
            data: Shape ``(N, *)``.
            scores: Whether the outputs themselves are returned in classification, too.

        Returns:
            The outputs, shape ``(N, output_size)``; in classification the classes, shape ``(N,)``.

        Raises:
            TypeError: ``data`` is no tensor.
        """
        if not isinstance(data, Tensor):
            raise TypeError(
                f"data must be a tensor of samples; got {type(data).__name__}. Make one with"
                " torch.as_tensor, of the network's kind of numbers."
            )
        with (undo := Undoing()), undo:
            evaluate(self.network, undo)
            outputs: Tensor = self.network(data.to(self.device))
        classes = self.network.task_type == "classification" and not scores
        return (outputs.argmax(1) if classes else outputs).to(data.device)

    def continual_learning(
        self,
        new_data: Tensor | tuple[Tensor, Tensor] | Iterable[Batch],
        new_targets: Tensor | None = None,
        epochs: int = 20,
        *,
        batch_size: int = 32,
        enable_growth: bool = True,
    ) -> dict[str, list[Any]]:
        """Learns from new data, growing if need be.

        With ``memory_size``, each batch holds as many samples of earlier data as new ones, which
        keeps what was learned; without, nothing stands against forgetting but new units. For the
        strategies the best loss so far is that of all data since birth, so that data which do not
        fit set their patience running at once.

        Args:
            new_data: Inputs, shape ``(N, *)``; or a pair (inputs, targets); or a loader.
            new_targets: The targets of inputs, ``N`` of them.
            epochs: How many.
            batch_size: Of inputs and targets that come without a loader.
            enable_growth: Whether the network may change.

        Returns:
            A copy of the trainer's whole `history`, from its first epoch on.

        Raises:
            ValueError: Targets are missing, or are not as many as the inputs.
        """
        loader = self._task(new_data, new_targets, batch_size)
        kept, self.memory = self.memory, Rehearsal(0)
        try:
            self.train(kept.beside(loader), epochs, enable_growth)
        finally:
            self.memory = kept
        self.memory.see(loader)
        return deepcopy(self.history)

    def save_checkpoint(self, path: str | Path) -> None:
        """Writes network, optimizer, history and memory to one file, which holds no code.

        The strategy is not in it: it reads the history, and may be another one after a restart.
        Global random states are in it, too; see `load_checkpoint`.

        Raises:
            CheckpointError: The file cannot be written.
        """
        self.network.save_checkpoint(
            path,
            optimizer=self.optimizer,
            history=self._records.to_list(),
            metadata={"history": self.history, "memory": self.memory.state()},
        )

    def load_checkpoint(self, path: str | Path, *, restore_random_states: bool = False) -> None:
        """Goes on where a checkpoint was saved: sizes, weights, optimizer state and history.

        The network object stays the same one; its parameters and the optimizer are new objects.

        Args:
            path: The file.
            restore_random_states: Whether torch's, Python's and numpy's global generators go back
                too, which a shuffling `DataLoader` and dropout draw from.

        Raises:
            CheckpointError: The file is missing, damaged, or holds another kind of network or
                optimizer, or one with other inputs, outputs or task; nothing changes.
        """
        header = read_header(path)
        self._check_recipe(path, (header.metadata or {}).get("recipe"))
        saved = (header.optimizer or {}).get("class")
        if saved not in {None, type(self.optimizer).__name__}:
            raise CheckpointError(
                f"'{path}' holds the state of {saved}; the trainer's optimizer is"
                f" {type(self.optimizer).__name__}. Make the trainer with the same one."
            )
        checkpoint = self.network.load_checkpoint(path)
        self.optimizer = self._new_optimizer()
        if saved is not None:
            checkpoint.restore_optimizer(self.optimizer)
        kept = checkpoint.metadata
        self.history = kept.get("history", empty_history())
        self.memory.restore(kept.get("memory", {}))
        self._records = TrainingHistory.from_list(checkpoint.history)
        if restore_random_states:
            checkpoint.restore_random_states()

    def note(
        self, record: EpochRecord, events: Sequence[Event], before: Sequence[HiddenLayer]
    ) -> None:
        """Adds an epoch and what was done after it to the history.

        Args:
            record: The epoch.
            events: What the session did.
            before: The hidden layers in the epoch.
        """
        add_epoch(self.history, record, [layer.size for layer in before])
        self._say(epoch_line(self.history))
        for event in events:
            if event.kind is EventKind.EDITED:
                said = event_of(event.detail["edit"], before, self.network.hidden)
                said |= {"reason": event.detail["reason"]}
                sizes = self.network.get_layer_sizes(), self.network.get_num_parameters()
                self._say(add_event(self.history, record, said, sizes))

    def _check_recipe(self, path: str | Path, recipe: object) -> None:
        """Hidden sizes may differ; what the trainer's data and loss depend on may not."""
        if not isinstance(recipe, Mapping):
            return
        for name in ("input_size", "output_size", "task_type"):
            own = getattr(self.network, name)
            if recipe.get(name) != own:
                raise CheckpointError(
                    f"The network of '{path}' has {name} {recipe.get(name)!r}, the trainer's"
                    f" {own!r}. Make the trainer with a network of the same {name}."
                )

    def _say(self, line: str) -> None:
        if self.verbose:
            sys.stdout.write(f"{line}\n")

    def _context(self, loader: Iterable[Batch]) -> NetworkContext:
        return NetworkContext(
            self.network,
            loader,
            self.device,
            loss=self.loss_function,
            optimizer=self.optimizer,
            history=self._records,
            journal=self.network.journal,
            seed=self.network.seed,
            example=self.network.example,
        )

    def _new_optimizer(self) -> Optimizer:
        made = self._optimizer_class(
            self.network.parameters(), lr=self.learning_rate, **self._optimizer_kwargs
        )
        if not isinstance(made, Optimizer):
            raise TypeError(f"optimizer must make an Optimizer; got {type(made).__name__}.")
        return made

    def _task(self, data: Any, targets: Tensor | None, batch_size: int) -> Iterable[Batch]:
        if targets is None and isinstance(data, tuple) and len(data) == 2:
            data, targets = data
        if not isinstance(data, Tensor):
            if targets is not None:
                raise ValueError("new_targets go with a tensor of inputs; a loader has its own.")
            loader: Iterable[Batch] = data
            return loader
        if targets is None or len(targets) != len(data):
            count = "none" if targets is None else len(targets)
            raise ValueError(f"new_targets must be as many as the {len(data)} inputs; got {count}.")
        draw = torch.Generator().manual_seed(self.network.seed + len(self._records))
        dataset = TensorDataset(data, targets)
        return DataLoader(dataset, batch_size=batch_size, shuffle=True, generator=draw)


class _Hooks:
    """Between the training loop and the session: adds what strategies read, and notes the rest."""

    def __init__(self, trainer: DENTrainer, session: EvolutionSession, watch: LayerWatch) -> None:
        self._trainer = trainer
        self._session = session
        self._watch = watch

    def training(self, context: NetworkContext) -> None:
        self._session.training(context)

    def after_step(
        self, loss: Tensor | None = None, *, samples: int | None = None
    ) -> Sequence[Event]:
        self._watch.step()
        return self._session.after_step(loss, samples=samples)

    def after_epoch(self, metrics: Mapping[str, float], *, more: bool = True) -> Sequence[Event]:
        """Growth may come after the last epoch, too: a stream of data has no last one."""
        del more
        network = self._trainer.network
        signals = {
            "gradient_norms": self._watch.gradient_norms(),
            "activation_magnitudes": self._watch.magnitudes(),
            "activities": layer_activities(network),
        }
        flat = {f"{key}/{name}": x for key, by in signals.items() for name, x in by.items()}
        before = network.hidden
        self._watch.close()
        events = self._session.after_epoch({**metrics, **flat}, more=True)
        self._watch.open()
        self._trainer.note(events[0].detail["record"], events[1:], before)
        return events


def _device(wanted: torch.device | str | None, network: DynamicExpandableNetwork) -> torch.device:
    if wanted is None:
        return network.output.weight.device
    device = torch.device(wanted)
    absent = device.type == "cuda" and not torch.cuda.is_available()
    return torch.device("cpu") if absent else device


def _check(network: object, optimizer: object) -> None:
    if not isinstance(network, DynamicExpandableNetwork):
        raise TypeError(
            f"network must be a DynamicExpandableNetwork; got {type(network).__name__}. For other"
            " modules, see ComposableEvolutionSystem.attach."
        )
    if not callable(optimizer):
        raise TypeError(
            "optimizer must be a class, such as torch.optim.Adam, not an optimizer;"
            f" got {type(optimizer).__name__}."
        )
