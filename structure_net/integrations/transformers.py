"""Growth in the loop of Hugging Face's Trainer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from structure_net._optional import missing
from structure_net.core.arguments import shown
from structure_net.evolution.batches import Batch, Loss
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.system import ComposableEvolutionSystem
from structure_net.integrations.batches import AsPair, LoopBatches
from structure_net.integrations.growth import Growth
from structure_net.integrations.lineage import carry_lineage
from structure_net.surgery.optimizers import owner

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise missing("transformers", "integrations", error) from error


class TransformersGrowth(TrainerCallback):
    """Lets a system grow a model while a `transformers.Trainer` trains it.

    The strategies are asked after each optimizer step and each epoch; where the trainer evaluates
    at the end of an epoch, after that, and before the checkpoint is written. Triggers read what the
    trainer logs and evaluates, under its names: ``Plateau(metric="eval_loss")``. Of several
    evaluation sets the first one belongs to the epoch, the others to the next.

    Checkpoints hold the lineage in the model's state dict: resume one with
    ``trainer.train(resume_from_checkpoint=True)``, on a model as its code builds it, and with this
    callback; ``load_best_model_at_end`` works, too. ``from_pretrained`` knows nothing of edits:
    build the model from its configuration as it was at birth, call `carry_lineage`, and load the
    checkpoint's tensors by ``load_state_dict``.

    Example::

        >>> import tempfile, torch
        >>> from torch import nn
        >>> from transformers import Trainer, TrainingArguments
        >>> from structure_net.evolution import ComposableEvolutionSystem, EveryNEpochs
        >>> from structure_net.evolution.components import (
        ...     ExtremaGrowthStrategy, StandardExtremaAnalyzer
        ... )
        >>> class Classifier(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        ...     def forward(self, x, labels=None):
        ...         logits = self.net(x)
        ...         if labels is None:
        ...             return {"logits": logits}
        ...         return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}
        >>> data = [{"x": torch.randn(4), "labels": n % 2} for n in range(64)]
        >>> system = ComposableEvolutionSystem([StandardExtremaAnalyzer()])
        >>> system = system.add_component(ExtremaGrowthStrategy(), when=EveryNEpochs(1))
        >>> model = Classifier()
        >>> growth = TransformersGrowth(system, model)
        >>> arguments = TrainingArguments(
        ...     tempfile.mkdtemp(), num_train_epochs=2, use_cpu=True, report_to="none",
        ...     save_strategy="no", disable_tqdm=True,
        ... )
        >>> trainer = Trainer(model, arguments, train_dataset=data, callbacks=[growth])
        >>> result = trainer.train()  # doctest: +ELLIPSIS
        {'train_runtime': ...}
        >>> len(growth.context.history)
        2

    Args:
        system: Decides; its trainers take no part.
        model: The trainer's model, as its code builds it. It learns to carry its lineage here,
            before the trainer loads a checkpoint.
        as_pair: Takes a batch of the trainer's loader to ``(inputs, targets)``; None:
            `labels_apart`.
        data_loader: What analyzers look at; the trainer's training data if None.
        validation_loader: What a `Trial` judges by; none if None.
        loss: Takes the model's output, for inputs without labels, and the targets to a scalar;
            `cross_entropy_of_logits` if None.
    """

    def __init__(
        self,
        system: ComposableEvolutionSystem,
        model: nn.Module,
        *,
        as_pair: AsPair | None = None,
        data_loader: Iterable[Batch] | None = None,
        validation_loader: Iterable[Batch] | None = None,
        loss: Loss | None = None,
    ) -> None:
        self.system = system
        self.as_pair = as_pair or labels_apart
        self.data_loader = data_loader
        self.validation_loader = validation_loader
        self.loss = loss or cross_entropy_of_logits
        self._model = model
        self._growth: Growth | None = None
        self._owed: bool | None = None
        self._metrics: dict[str, Any] = {}
        carry_lineage(model)

    @property
    def context(self) -> NetworkContext:
        """The network as it stands, with its history and journal.

        Raises:
            RuntimeError: No training has begun.
        """
        if self._growth is None:
            raise RuntimeError("Nothing grows yet: the context is there once `train` has begun.")
        return self._growth.context

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Attaches the system, once a checkpoint was loaded.

        Raises:
            ValueError: The trainer has another model, or works with several processes.
        """
        if kwargs["model"] is not self._model:
            raise ValueError(
                f"The trainer trains another {type(kwargs['model']).__name__} than the one that"
                " this callback was made with. Give both the same model; `model_init` is not"
                " supported, since the model must carry its lineage before it is loaded."
            )
        if args.world_size > 1 or args.n_gpu > 1:
            raise ValueError(
                f"Growth needs one process and one device; the trainer has {args.world_size} and"
                f" {args.n_gpu}, whose networks would grow apart. Set CUDA_VISIBLE_DEVICES to one."
            )
        loader = self.data_loader or LoopBatches(
            kwargs["train_dataloader"], self.as_pair, shuffle=True, seed=args.seed
        )
        context = NetworkContext(
            self._model,
            loader,
            args.device,
            validation_loader=self.validation_loader,
            loss=self.loss,
        )
        self._growth = Growth(self.system, context, [owner(kwargs["optimizer"])])
        self._owed, self._metrics = None, {}

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Asks the strategies of the step."""
        assert self._growth is not None
        samples = args.train_batch_size * args.gradient_accumulation_steps
        self._growth.after_step(samples=samples)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Notes what was logged, for the epoch's record."""
        self._metrics.update(kwargs.get("logs") or {})

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Records the epoch and asks its strategies, or leaves that to the evaluation."""
        self._close_epoch()
        self._owed = state.global_step < state.max_steps and not control.should_training_stop
        if not control.should_evaluate:
            self._close_epoch()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Notes what was measured, and closes the epoch that is over."""
        self._metrics.update(kwargs.get("metrics") or {})
        self._close_epoch()

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Lets go of the optimizer."""
        assert self._growth is not None
        self._close_epoch()
        self._growth.close()

    def _close_epoch(self) -> None:
        if self._owed is None or self._growth is None:
            return
        more, self._owed = self._owed, None
        metrics, self._metrics = self._metrics, {}
        self._growth.after_epoch(metrics, more=more)


def labels_apart(batch: Any) -> Batch:
    """A batch of named tensors as ``(inputs, targets)``: its ``labels`` are the targets.

    Raises:
        TypeError: It is no mapping with ``labels``.
    """
    if not isinstance(batch, Mapping) or "labels" not in batch:
        raise TypeError(
            f"A batch must be a mapping with 'labels'; got {shown(batch)}. Give `as_pair`, which"
            " takes a batch of your trainer to (inputs, targets)."
        )
    return {name: value for name, value in batch.items() if name != "labels"}, batch["labels"]


def cross_entropy_of_logits(output: Any, targets: Tensor) -> Tensor:
    """The cross-entropy of ``output["logits"]``, for classes of whole sequences or images.

    Args:
        output: Holds logits of shape ``(N, C)``.
        targets: Classes, of shape ``(N,)``.

    Returns:
        A scalar.

    Raises:
        ValueError: The shapes are others, as those of a language model are.
    """
    logits = output["logits"]
    if logits.dim() != 2 or targets.dim() != 1 or targets.is_floating_point():
        raise ValueError(
            f"Logits of shape {tuple(logits.shape)} and labels of shape {tuple(targets.shape)}"
            " are no classification. Give `loss`, which takes the model's output and the labels to"
            " a scalar."
        )
    return nn.functional.cross_entropy(logits, targets)
