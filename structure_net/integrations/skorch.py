"""Growth in the loop of skorch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, distributed
from torch.optim import Optimizer

from structure_net._optional import missing
from structure_net.core.wrapping import wrapped
from structure_net.evolution.batches import Batch, Loss, batch_length
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.system import ComposableEvolutionSystem
from structure_net.integrations.batches import AsPair, LoopBatches, pair
from structure_net.integrations.growth import Growth
from structure_net.integrations.lineage import carry_lineage
from structure_net.integrations.optimizers import remember_names

try:
    from skorch.callbacks import Callback
except ImportError as error:
    raise missing("skorch", "integrations", error) from error


class SkorchGrowth(Callback):
    """Lets a system grow the module of a `skorch.NeuralNet` while it is fitted.

    The strategies are asked after each optimizer step and each epoch, the last one included, since
    ``partial_fit`` may follow. Triggers read the net's history, under its names:
    ``Plateau(metric="valid_loss")``.

    Saved parameters hold the lineage: ``load_best`` of skorch's callbacks works, and so does
    ``LoadInitState`` if it stands behind this callback. For ``load_params`` of one's own, call
    `prepare` first::

        net = NeuralNet(..., callbacks=[("growth", SkorchGrowth(system))]).initialize()
        net.get_params()["callbacks__growth"].prepare(net)
        net.load_params(checkpoint=checkpoint)
        net.partial_fit(X, y)

    Example::

        >>> import numpy as np
        >>> from skorch import NeuralNetClassifier
        >>> from torch import nn
        >>> from structure_net.evolution import ComposableEvolutionSystem, EveryNEpochs
        >>> from structure_net.evolution.components import (
        ...     ExtremaGrowthStrategy, StandardExtremaAnalyzer
        ... )
        >>> class Classifier(nn.Sequential):
        ...     def __init__(self):
        ...         super().__init__(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> system = ComposableEvolutionSystem([StandardExtremaAnalyzer()])
        >>> system = system.add_component(ExtremaGrowthStrategy(), when=EveryNEpochs(1))
        >>> growth = SkorchGrowth(system)
        >>> net = NeuralNetClassifier(
        ...     Classifier, criterion=nn.CrossEntropyLoss, max_epochs=2, callbacks=[growth],
        ...     verbose=0,
        ... )
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(64, 4)).astype("float32")
        >>> net = net.fit(X, (X.sum(1) > 0).astype("int64"))
        >>> len(growth.context.history)
        2

    Args:
        system: Decides; its trainers take no part.
        as_pair: Takes a batch of the net's iterator to ``(inputs, targets)``; None: it is one.
        data_loader: What analyzers look at; the net's training data if None.
        validation_loader: What a `Trial` judges by; the net's validation data if None.
        loss: Takes output and targets to a scalar; the net's own loss if None.
    """

    def __init__(
        self,
        system: ComposableEvolutionSystem,
        *,
        as_pair: AsPair | None = None,
        data_loader: Iterable[Batch] | None = None,
        validation_loader: Iterable[Batch] | None = None,
        loss: Loss | None = None,
    ) -> None:
        self.system = system
        self.as_pair = as_pair
        self.data_loader = data_loader
        self.validation_loader = validation_loader
        self.loss = loss

    def initialize(self) -> SkorchGrowth:
        """Forgets the net before, if there was one."""
        self.growth_: Growth | None = None
        return self

    @property
    def context(self) -> NetworkContext:
        """The network as it stands, with its history and journal.

        Raises:
            RuntimeError: No training has begun.
        """
        growth = getattr(self, "growth_", None)
        if growth is None:
            raise RuntimeError("Nothing grows yet: the context is there once `fit` has begun.")
        context: NetworkContext = growth.context
        return context

    def prepare(self, net: Any) -> None:
        """Lets module and optimizers carry the lineage, before something is loaded into them.

        Args:
            net: Is initialized, and its module as its code builds it.
        """
        lineage = carry_lineage(net.module_)
        for optimizer in _optimizers(net):
            lineage.optimizers.add(optimizer)
            remember_names(optimizer, net.module_, lineage)

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: N803 - skorch's names
        """Prepares the net; the system is attached when the data are there.

        Raises:
            ValueError: The net works with several processes or devices, which would grow apart.
        """
        _refuse_several(net)
        self.prepare(net)
        self.growth_ = None

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Attaches the system, before the first epoch."""
        if self.growth_ is not None:
            return
        context = NetworkContext(
            net.module_,
            self._data(net, dataset_train, self.data_loader, shuffle=True),
            net.device or "cpu",
            validation_loader=self.validation_loader
            if dataset_valid is None
            else self._data(net, dataset_valid, self.validation_loader, shuffle=False),
            loss=self.loss or _OwnLoss(net),
        )
        self.growth_ = Growth(self.system, context, _optimizers(net))

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool | None = None, **kwargs: Any
    ) -> None:
        """Asks the strategies of the step."""
        if training:
            assert self.growth_ is not None
            samples = batch_length((self.as_pair or pair)(batch)[1])
            self.growth_.after_step(kwargs.get("loss"), samples=samples)

    def on_epoch_end(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Records the epoch with the history's newest row, and asks the strategies of the epoch."""
        assert self.growth_ is not None
        self.growth_.after_epoch(dict(net.history[-1]))

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:  # noqa: N803 - skorch's names
        """The net may load its best state now; the next training attaches anew."""

    def _data(
        self, net: Any, dataset: Any, own: Iterable[Batch] | None, *, shuffle: bool
    ) -> Iterable[Batch]:
        if own is not None:
            return own
        return LoopBatches(net.get_iterator(dataset), self.as_pair or pair, shuffle=shuffle)

    def __getstate__(self) -> dict[str, Any]:
        """Nets are pickled; what belongs to a training stays behind."""
        return {name: value for name, value in vars(self).items() if name != "growth_"}


class _OwnLoss:
    """The loss of a net, as its training computes it."""

    def __init__(self, net: Any) -> None:
        self._net = net

    def __call__(self, output: Any, targets: Any) -> Tensor:
        loss: Tensor = self._net.get_loss(output, targets)
        return loss


def _refuse_several(net: Any) -> None:
    """Refuses what trains copies of the module, or parts of it in several places."""
    together = distributed.is_available() and distributed.is_initialized()
    processes = distributed.get_world_size() if together else 1
    processes = max(processes, getattr(getattr(net, "accelerator", None), "num_processes", 1))
    devices = len({parameter.device for parameter in net.module_.parameters()})
    if processes > 1 or devices > 1:
        raise ValueError(
            f"Growth needs one process and one device; the net has {processes} and {devices},"
            " whose networks would grow apart. Train it in one process, on one device."
        )
    if (reason := wrapped(net.module_)) is not None:
        raise ValueError(f"skorch trains a module that cannot be edited. {reason}")


def _optimizers(net: Any) -> list[Optimizer]:
    return [value for value in vars(net).values() if isinstance(value, Optimizer)]
