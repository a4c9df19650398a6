"""Several rules at once, on one optimizer."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from structure_net.core.arguments import check_optimizer, shown
from structure_net.evolution.adaptive_learning_rates.attached import AttachedRates
from structure_net.evolution.adaptive_learning_rates.rules import RateRule


class UnifiedAdaptiveLearning:
    """Rules whose factors multiply; a value that can be attached to any number of optimizers.

    ::

        rates = UnifiedAdaptiveLearning(
            LayerwiseAdaptiveRates(decay=0.9),
            GrowthPhaseScheduler(scaffold_factor=0.2),
            ExponentialBackoffScheduler(patience=3),
        )
        with rates.attach(optimizer, model) as attached:
            for epoch in range(epochs):
                ...  # the loop as it was: backward, optimizer.step(), scheduler.step()
                attached.after_epoch({"validation_loss": loss})
            print(attached.explain())

    Args:
        rules: At least one, each kind once.

    Raises:
        TypeError: One is no rule.
        ValueError: There is none, or two have one title.
    """

    def __init__(self, *rules: RateRule) -> None:
        for rule in rules:
            if not isinstance(rule, RateRule):
                raise TypeError(
                    f"A rule must be a RateRule; got {shown(rule)}. Pass instances, one by one:"
                    " UnifiedAdaptiveLearning(first, second)."
                )
        titles = [rule.title for rule in rules]
        if not rules:
            raise ValueError("UnifiedAdaptiveLearning combines rules; got none. Pass one.")
        if len(set(titles)) < len(titles):
            raise ValueError(f"Each rule must be of another kind; got {', '.join(titles)}.")
        self.rules = rules

    def attach(self, optimizer: Optimizer, model: nn.Module) -> AttachedRates:
        """Lets the rules work at every step of ``optimizer`` from now on.

        Args:
            optimizer: Any PyTorch optimizer with a rate for each group, but for LBFGS.
            model: Names its parameters.

        Raises:
            TypeError: An argument is of the wrong kind, or the optimizer takes its steps by the
                flat gradient of all parameters (LBFGS).
            ValueError: It has rates attached already, or holds none of the model's parameters.
        """
        if not isinstance(model, nn.Module) or optimizer is None:
            raise TypeError(
                f"attach takes an optimizer and its model; got {shown(optimizer)} and"
                f" {shown(model)}."
            )
        check_optimizer(optimizer, model)
        return AttachedRates(self.rules, optimizer, model)
