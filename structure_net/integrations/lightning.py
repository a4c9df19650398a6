"""Growth in the loop of Lightning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from structure_net._optional import missing
from structure_net.evolution.batches import Batch, Loss, batch_length
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.system import ComposableEvolutionSystem
from structure_net.integrations.batches import AsPair, LoopBatches, pair
from structure_net.integrations.growth import Growth
from structure_net.integrations.lineage import carry_lineage

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise missing("lightning", "integrations", error) from error


class LightningGrowth(Callback):
    """Lets a system grow a network while a `lightning.pytorch.Trainer` trains it.

    The strategies are asked after each optimizer step and each training epoch. Triggers read what
    the module logs, under the names it logs it: ``Plateau(metric="val_loss")``. Checkpoints hold
    the lineage in the network's state dict: resume one with ``fit(model, ckpt_path=...)``, on a
    module as its code builds it, and with this callback; test the best one by
    ``test(ckpt_path="best")``. Without a trainer, call `carry_lineage` on the network of a new
    module and load the checkpoint's ``state_dict``.

    Example::

        >>> import torch
        >>> from lightning.pytorch import LightningModule, Trainer
        >>> from torch import nn
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> from structure_net.evolution import ComposableEvolutionSystem, EveryNEpochs
        >>> from structure_net.evolution.components import (
        ...     ExtremaGrowthStrategy, StandardExtremaAnalyzer
        ... )
        >>> class Classifier(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        ...     def training_step(self, batch, index):
        ...         loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        ...         self.log("train_loss", loss)
        ...         return loss
        ...     def configure_optimizers(self):
        ...         return torch.optim.Adam(self.parameters())
        >>> system = ComposableEvolutionSystem([StandardExtremaAnalyzer()])
        >>> system = system.add_component(ExtremaGrowthStrategy(), when=EveryNEpochs(1))
        >>> growth = LightningGrowth(system, network="net")
        >>> data = DataLoader(TensorDataset(torch.randn(64, 4), torch.randint(2, (64,))), 16)
        >>> trainer = Trainer(
        ...     max_epochs=2, accelerator="cpu", callbacks=[growth], logger=False,
        ...     enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        ... )
        >>> trainer.fit(Classifier(), data)
        >>> len(growth.context.history)
        2

    Args:
        system: Decides; its trainers take no part.
        network: Which submodule grows, as ``"net"``; the whole module if empty. It is called with
            the inputs of a batch.
        as_pair: Takes a batch of the loader to ``(inputs, targets)``, for analyzers and trials;
            None: it is such a pair.
        data_loader: What analyzers look at; the trainer's training data if None.
        validation_loader: What a `Trial` judges by; the trainer's first validation data if None.
        loss: Takes output and targets to a scalar; cross-entropy if None.
    """

    def __init__(
        self,
        system: ComposableEvolutionSystem,
        *,
        network: str = "",
        as_pair: AsPair | None = None,
        data_loader: Iterable[Batch] | None = None,
        validation_loader: Iterable[Batch] | None = None,
        loss: Loss | None = None,
    ) -> None:
        self.system = system
        self.network = network
        self.as_pair = as_pair or pair
        self.data_loader = data_loader
        self.validation_loader = validation_loader
        self.loss = loss
        self._growth: Growth | None = None
        self._step = 0
        self._samples = 0

    @property
    def context(self) -> NetworkContext:
        """The network as it stands, with its history and journal.

        Raises:
            RuntimeError: No training has begun.
        """
        if self._growth is None:
            raise RuntimeError("Nothing grows yet: the context is there once `fit` has begun.")
        return self._growth.context

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lets the state dict carry the lineage, before a checkpoint is loaded.

        Raises:
            ValueError: The trainer works with several processes, which would grow apart.
        """
        if trainer.world_size > 1:
            raise ValueError(
                f"Growth needs one process; the trainer has {trainer.world_size}, whose networks"
                " would grow apart. Use Trainer(devices=1)."
            )
        carry_lineage(self._network(pl_module))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attaches the system, once a checkpoint was loaded."""
        context = NetworkContext(
            self._network(pl_module),
            self._data(trainer.train_dataloader, self.data_loader, shuffle=True),
            pl_module.device,
            validation_loader=self._validation(trainer),
            loss=self.loss or nn.functional.cross_entropy,
        )
        self._growth = Growth(self.system, context, trainer.optimizers)
        self._step, self._samples = trainer.global_step, 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Asks the strategies of the step, where the optimizer took one."""
        assert self._growth is not None
        self._samples += batch_length(self.as_pair(batch)[1])
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        samples, self._samples = self._samples, 0
        self._growth.after_step(loss, samples=samples)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the epoch with all that was logged, and asks the strategies of the epoch."""
        assert self._growth is not None
        self._growth.after_epoch(dict(trainer.callback_metrics), more=not _last(trainer))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lets go of the optimizers."""
        if self._growth is not None:
            self._growth.close()

    def _network(self, pl_module: LightningModule) -> nn.Module:
        network: nn.Module = pl_module.get_submodule(self.network)
        return network

    def _validation(self, trainer: Trainer) -> Iterable[Batch] | None:
        loaders = trainer.val_dataloaders
        first = loaders[0] if isinstance(loaders, list | tuple) else loaders
        if first is None:
            return self.validation_loader
        return self._data(first, self.validation_loader, shuffle=False)

    def _data(self, loader: Any, own: Iterable[Batch] | None, *, shuffle: bool) -> Iterable[Batch]:
        if own is not None:
            return own
        return LoopBatches(loader, self.as_pair, shuffle=shuffle)


def _last(trainer: Trainer) -> bool:
    """Whether the epoch that ends is the last one."""
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return bool(
        trainer.should_stop
        or (epochs is not None and epochs != -1 and trainer.current_epoch + 1 >= epochs)
        or (steps != -1 and trainer.global_step >= steps)
    )
