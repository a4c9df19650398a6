"""Adam in one compiled call for all parameters: what a step costs where parameters are small.

A sparse network has few weights, so that PyTorch's own step is mostly Python: these optimizers
check the tensors, write their addresses into one table and hand it to a compiled loop
(`adam_steps`). They are PyTorch's own in all else: constructor, groups, state, hooks, schedulers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, overload

import torch
from torch import Tensor, nn
from torch.optim.adam import adam as torch_adam

from structure_net.core.adam_steps import StepBefore, Together, is_plain, settings_of
from structure_net.core.capturing import capturing
from structure_net.core.stepping import watched, with_hooks


class Adam(torch.optim.Adam):
    r"""`torch.optim.Adam`, with the same arguments and state, in one compiled call a step.

    .. math::
        m_t &= m_{t-1} + (1 - \beta_1) (g_t - m_{t-1}), \qquad
        v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
        \theta_t &= \theta_{t-1} - \frac{\gamma}{1 - \beta_1^t}
        \frac{m_t}{\sqrt{v_t} / \sqrt{1 - \beta_2^t} + \epsilon}

    In float64 the weights follow those of PyTorch's to the rounding of each operation, in float32
    too: no sum is reordered. A state dict of the one loads into the other.

    The compiled call takes parameters that are contiguous, on the CPU, float32 or float64, with a
    dense gradient. The others go through PyTorch's functions, fused where that works, and so do all
    of a group with ``amsgrad``, ``capturable``, ``differentiable`` or ``foreach``, and the steps of
    a gradient scaler.

    References:
        Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    # Not among what is copied and pickled.
    _before: StepBefore | None = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters.

        Args:
            set_to_none: Whether there is none then, or one of zeros.
        """
        if not set_to_none or watched():
            super().zero_grad(set_to_none)
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @with_hooks
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Moves every parameter that has a gradient.

        Args:
            closure: Computes the loss, and gradients, anew.

        Returns:
            What ``closure`` returned.

        Raises:
            RuntimeError: A gradient is sparse, or a parameter was given another shape without the
                optimizer.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups, before = self.param_groups, self._before
        scaled = getattr(self, "grad_scale", None) is not None or hasattr(self, "found_inf")
        compiles = [not scaled and _compiles(group) for group in groups]
        if before is not None and all(compiles) and before.step(groups, self.state):
            return loss
        together, left = Together(), 0
        for group, compiled in zip(groups, compiles, strict=True):
            others = self._enter(group, together) if compiled else group["params"]
            together.close()
            if others:
                self._step_as_torch(group, others)
            left += len(others)
        before = together.step([*map(settings_of, groups)])
        self._before = None if left else before
        return loss

    def _enter(self, group: dict[str, Any], together: Together) -> list[Tensor]:
        """Enters a group's parameters for the compiled step; returns those that it cannot take."""
        others = []
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            if not (is_plain(parameter) and is_plain(gradient)):
                others.append(parameter)
                continue
            state = self.state[parameter]
            if not state:
                self._gathered(group, [parameter])
            if not together.takes(parameter, gradient, state):
                others.append(parameter)
        return others

    def _step_as_torch(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        """One step of some parameters of a group, by PyTorch's functions."""
        self._check_fitting(parameters)
        options = {name: group[name] for name in _OPTIONS}
        with torch.set_grad_enabled(group["differentiable"]):
            lists, options["has_complex"] = self._gathered(group, parameters)
            if group["fused"] is None and _compiles(group):
                here = all(count.is_cpu for count in lists[5])
                options["fused"] = (here and _all_fused(*lists[:4])) or None
            options["beta1"], options["beta2"] = group["betas"]
            options["grad_scale"] = getattr(self, "grad_scale", None)
            options["found_inf"] = getattr(self, "found_inf", None)
            step: Any = torch_adam
            step(*lists, **options)

    def _check_fitting(self, parameters: list[Tensor]) -> None:
        """Refuses moments of another shape, past whose end PyTorch's fused step would write."""
        for parameter in parameters:
            first = self.state.get(parameter, {}).get("exp_avg", parameter)
            if first.shape != parameter.shape:
                raise RuntimeError(
                    f"{type(self).__name__} remembers moments of shape {tuple(first.shape)} of a "
                    f"parameter of shape {tuple(parameter.shape)}, which was changed without it. "
                    "Hand the optimizer to the edit that changes a layer, or make a new one."
                )

    def _gathered(
        self, group: dict[str, Any], parameters: list[Tensor]
    ) -> tuple[tuple[list[Tensor], ...], bool]:
        """What PyTorch's functions take of some parameters, whose state is made where there is
        none, and whether any is complex."""
        gather: Any = super()._init_group
        lists: tuple[list[Tensor], ...] = ([], [], [], [], [], [])
        return lists, gather({**group, "params": parameters}, *lists)


class AdamW(Adam, torch.optim.AdamW):
    r"""`torch.optim.AdamW` as `Adam` is to PyTorch's: the weights decay by themselves.

    Before each step, :math:`\theta \leftarrow (1 - \gamma \lambda) \theta`.

    References:
        Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """


_OPTIONS: Final[tuple[str, ...]] = (
    "amsgrad",
    "lr",
    "weight_decay",
    "eps",
    "maximize",
    "foreach",
    "fused",
    "capturable",
    "differentiable",
    "decoupled_weight_decay",
)


def _all_fused(parameters: list[Tensor], *others: list[Tensor]) -> bool:
    """Whether PyTorch's fused step is right for these, whose step counts lie on the CPU.

    It walks through the memory of all tensors alike, whatever their strides say, and takes none
    that is negated.
    """
    return all(
        one[0].is_cpu
        and one[0].is_floating_point()
        and all(tensor.stride() == one[0].stride() and not tensor.is_neg() for tensor in one)
        for one in zip(parameters, *others, strict=True)
    )


def _compiles(group: dict[str, Any]) -> bool:
    """Whether the compiled loop knows what a group asks for."""
    return not (
        group["amsgrad"]
        or group["capturable"]
        or group["differentiable"]
        or group["foreach"]
        or capturing()
    )


def adam_for(
    parameters: Iterable[nn.Parameter], rate: float, *, decoupled: bool = False
) -> torch.optim.Adam:
    """The fastest Adam for some parameters: compiled on the CPU, PyTorch's fused one elsewhere.

    Args:
        parameters: What it moves.
        rate: The learning rate.
        decoupled: AdamW instead of Adam.
    """
    held = list(parameters)
    if all(p.is_cpu for p in held):
        return (AdamW if decoupled else Adam)(held, lr=rate)
    fused = all(p.is_floating_point() and p.device.type in _FUSED for p in held)
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    return kind(held, lr=rate, fused=fused)


_FUSED: Final = frozenset({"cpu", "cuda", "mps", "xpu"})
