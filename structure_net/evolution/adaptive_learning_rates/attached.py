"""Rules at work on one optimizer: before a step rates are scaled, after it each entry's update.

A factor for everything is put on the groups' rates for the time of the step, so that schedulers
see the rate that they set. A factor for one parameter, or for some of its entries, scales the
update that the step made, ``p <- p_before + f (p - p_before)``: an optimizer that normalises
gradients, as Adam does, would ignore a scaled gradient. For every optimizer whose update is its
rate times something, that is the same as another rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.core.sparsity import SparseLayer
from structure_net.core.weights import weights_among
from structure_net.evolution.adaptive_learning_rates.generations import Generations
from structure_net.evolution.adaptive_learning_rates.rules import Factor, Place, RateRule
from structure_net.surgery.optimizers import LOG

_ATTACHED = "_structure_net_rates"


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate of one parameter as it stands, and how it comes about.

    Args:
        parameter: Its name.
        group_rate: The rate of its group, which schedulers set.
        factors: By the title of the rule: the smallest and the largest factor of its entries. A
            rule that reads the step shows the factor of the last one.
        entries: The number of entries; of a sparse layer's weight, its connections.
        newborn: How many of them were born after the rates were attached.
    """

    parameter: str
    group_rate: float
    factors: Mapping[str, tuple[float, float]]
    entries: int
    newborn: int = 0
    effective: tuple[float, float] = field(default=(0.0, 0.0))
    """The smallest and the largest rate of its entries."""


@dataclass(slots=True, eq=False)
class _Held:
    """A parameter before the step, with what its update is to be scaled by."""

    place: Place
    rate: float
    before: Tensor
    factor: Factor


class AttachedRates:
    """Made by `UnifiedAdaptiveLearning.attach`; a context manager that detaches on exit.

    Ages, plateaus and steps lie in the optimizer's state, and go wherever it goes: into forks and
    checkpoints, through ``state_dict``, and across edits. Attach anew after a restart, before or
    after the state is loaded.

    Args:
        rules: Each kind once.
        optimizer: Whose steps are scaled.
        model: Names its parameters.

    Raises:
        TypeError: The optimizer is LBFGS.
        ValueError: It has rates attached already.
    """

    def __init__(self, rules: Sequence[RateRule], optimizer: Optimizer, model: nn.Module) -> None:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise TypeError(
                "LBFGS steps along one direction for all parameters, which rates of their own"
                " would bend. Use another optimizer."
            )
        if getattr(optimizer, _ATTACHED, None) is not None:
            raise ValueError(
                f"This {type(optimizer).__name__} has adaptive rates attached. Detach them first,"
                " or combine the rules in one UnifiedAdaptiveLearning."
            )
        self._rules = tuple(rules)
        self._optimizer = optimizer
        self._model = model
        kept = any(rule.reads_ages for rule in rules)
        self._generations = Generations(optimizer, kept=kept)
        self._names: dict[Tensor, tuple[str, int]] = {}
        self._layers = 0
        self._matrices: set[nn.Parameter] = set()
        self._held: list[_Held] = []
        self._rates: list[tuple[dict[str, Any], Any, Any]] = []
        self._last: dict[tuple[str, str], float] = {}
        try:
            optimizer.register_step_pre_hook(self._before)
            optimizer.register_step_post_hook(self._after)
            optimizer.register_load_state_dict_post_hook(self._loaded)
            setattr(optimizer, _ATTACHED, self)
        except BaseException:  # an interrupt, of which nothing is to stay
            self._take_off()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.detach()

    def detach(self) -> None:
        """Takes the hooks off; what was remembered stays in the optimizer."""
        self._restore_rates()
        self._take_off()

    def _take_off(self) -> None:
        optimizer: Any = self._optimizer
        for hooks in (
            optimizer._optimizer_step_pre_hooks,
            optimizer._optimizer_step_post_hooks,
            optimizer._optimizer_load_state_dict_post_hooks,
        ):
            for key in [k for k, hook in hooks.items() if getattr(hook, "__self__", None) is self]:
                del hooks[key]
        setattr(optimizer, _ATTACHED, None)

    def after_epoch(self, metrics: Mapping[str, float]) -> None:
        """Tells the rules what was measured.

        Raises:
            MissingAnalysisError: A rule needs what was not measured.
        """
        memory = self._generations.memory
        grew = len(memory["births"]) > memory["grown"] + 1
        kept = {
            rule.title: rule.after_epoch(memory["rules"].get(rule.title, {}), metrics, grew=grew)
            for rule in self._rules
        }
        rules = {**memory["rules"], **{title: dict(found) for title, found in kept.items()}}
        self._generations.remember(rules=rules, grown=len(memory["births"]) - 1)

    def rates(self) -> tuple[Rate, ...]:
        """The effective rate of every parameter, as at the next step."""
        LOG.catch_up(self._optimizer)
        self._generations.before_step()
        return tuple(self._rate(group, place) for group, place in self._places())

    def explain(self) -> str:
        """`rates` as a table: the group's rate, times each rule's factor, is the effective one."""
        titles = [rule.title for rule in self._rules]
        head = ["parameter", "group rate", *(f"x {title}" for title in titles), "= rate", "newborn"]
        rows = [
            [
                rate.parameter,
                f"{rate.group_rate:.3g}",
                *(_span(rate.factors[title]) for title in titles),
                _span(rate.effective),
                f"{rate.newborn:,} of {rate.entries:,}" if rate.newborn else "",
            ]
            for rate in self.rates()
        ]
        return _table([head, *rows])

    def _loaded(self, optimizer: Optimizer) -> None:
        """A state was loaded: ages go on from there."""
        self._held, self._last = [], {}
        self._generations.begin()

    def _rate(self, group: dict[str, Any], place: Place) -> Rate:
        factors = {rule.title: self._shown(rule, place) for rule in self._rules}
        low = high = base = float(group["lr"])
        for least, most in factors.values():
            low, high = low * least, high * most
        live = _live(self._model, place)
        count = int(live.sum())
        newborn = int((live & ~torch.as_tensor(place.original, device=live.device)).sum())
        return Rate(place.name, base, factors, count, newborn, (low, high))

    def _shown(self, rule: RateRule, place: Place) -> tuple[float, float]:
        overall = self._overall(rule)
        if rule.reads_step and (place.name, rule.title) in self._last:
            local: Factor = self._last[place.name, rule.title]
        else:
            local = rule.local(place)
        if isinstance(local, Tensor):
            least, most = local.aminmax() if local.numel() else (1.0, 1.0)
            return overall * float(least), overall * float(most)
        return overall * local, overall * local

    def _overall(self, rule: RateRule) -> float:
        return rule.overall(self._generations.memory["rules"].get(rule.title, {}))

    def _places(self) -> Iterator[tuple[dict[str, Any], Place]]:
        held = [(g, p) for g in self._optimizer.param_groups for p in g["params"]]
        if len(held) != len(self._names) or any(p not in self._names for _, p in held):
            self._name([parameter for _, parameter in held])
        for group, parameter in held:
            name, depth = self._names[parameter]
            place = self._generations.place(name, parameter, depth, self._layers)
            yield group, replace(place, matrix=parameter in self._matrices)

    def _name(self, parameters: Sequence[Tensor]) -> None:
        known, self._layers = _named_with_depth(self._model)
        self._matrices = weights_among(self._model)
        self._names = {
            parameter: known.get(parameter, (f"parameter {number}", 0))
            for number, parameter in enumerate(parameters)
        }

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._restore_rates()
        self._held = []
        closure = any(given is not None for given in (*args[1:], kwargs.get("closure")))
        self._generations.before_step(closure=closure)
        overall = 1.0
        for rule in self._rules:
            overall *= self._overall(rule)
        for group, place in self._places():
            # A closure makes gradients within the step.
            if place.parameter.grad is None and not (closure and place.parameter.requires_grad):
                continue
            factor, late = self._local(place)
            if late or isinstance(factor, Tensor) or factor != 1.0:
                before = place.parameter.detach().clone()
                self._held.append(_Held(place, float(group["lr"]) * overall, before, factor))
        if overall != 1.0:
            for group in optimizer.param_groups:
                scaled = group["lr"] * overall
                self._rates.append((group, group["lr"], scaled))
                group["lr"] = scaled

    def _local(self, place: Place) -> tuple[Factor, bool]:
        """The factors that are known before the step, and whether some are not."""
        factor: Factor = 1.0
        for rule in self._rules:
            if not rule.reads_step:
                factor = factor * rule.local(place)
        return factor, any(rule.reads_step for rule in self._rules)

    @torch.no_grad()
    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._restore_rates()
        held, self._held = self._held, []
        for one in held:
            parameter = one.place.parameter
            factor = one.factor * self._late(one, parameter)
            if isinstance(factor, Tensor):
                weight = factor.to(parameter).expand_as(parameter)
                torch.lerp(one.before, parameter, weight, out=parameter)
            elif factor != 1.0:
                torch.lerp(one.before, parameter, factor, out=parameter)
        self._generations.after_step()

    def _late(self, one: _Held, parameter: Tensor) -> Factor:
        """The factors of the rules that read the step."""
        factor: Factor = 1.0
        for rule in self._rules:
            if rule.reads_step and one.rate:
                place = one.place
                step = (one.before - parameter) / one.rate
                found = rule.local(replace(place, parameter=one.before, step=step))
                if not isinstance(found, Tensor):
                    self._last[place.name, rule.title] = found
                factor = factor * found
        return factor

    def _restore_rates(self) -> None:
        """Puts the groups' own rates back; also where a step raised and left them scaled."""
        for group, own, scaled in self._rates:
            if group["lr"] is scaled:
                group["lr"] = own
        self._rates = []


def _named_with_depth(model: nn.Module) -> tuple[dict[Tensor, tuple[str, int]], int]:
    """Each parameter's name and the number of weight layers in front of its own."""
    found: dict[Tensor, tuple[str, int]] = {}
    depth, layer, weights = -1, None, weights_among(model)
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        if parameter in weights and owner != layer:
            depth, layer = depth + 1, owner
        found[parameter] = (name, max(depth, 0))
    return found, max(depth + 1, 1)


def _live(model: nn.Module, place: Place) -> Tensor:
    """Which entries are more than the zeros that a sparse layer keeps between its connections."""
    parameter = place.parameter
    owner = dict(model.named_modules()).get(place.name.rpartition(".")[0])
    if isinstance(owner, SparseLayer) and parameter.shape == owner.pattern.shape:
        return owner.pattern.mask().to(parameter.device)
    return torch.ones_like(parameter, dtype=torch.bool)


def _span(values: tuple[float, float]) -> str:
    low, high = (f"{value:.3g}" for value in values)
    return low if low == high else f"{low} to {high}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
