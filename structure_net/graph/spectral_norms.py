"""Spectral norms of weights, each as one operation of the traced program.

PyTorch divides a weight by an estimate of its largest singular value, which it carries in two
vectors from one training step to the next. What an edit has to do is known for the whole of that,
and not for its single steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm


@contextmanager
def whole_spectral_norms(model: nn.Module) -> Iterator[None]:
    """Within, spectral norms of both kinds appear as ``structure_net::spectral_norm``."""
    computing = [m for m in model.modules() if isinstance(m, _SpectralNorm) and hasattr(m, "_u")]
    hooks = [
        hook
        for module in model.modules()
        for hook in module._forward_pre_hooks.values()
        if isinstance(hook, SpectralNorm)
    ]
    if computing or hooks:
        _register()
    try:
        for module in computing:
            module.__dict__["forward"] = _parametrized(module)
        for hook in hooks:
            hook.__dict__["compute_weight"] = _hooked(hook)
        yield
    finally:
        for module in computing:
            module.__dict__.pop("forward", None)
        for hook in hooks:
            hook.__dict__.pop("compute_weight", None)


def _parametrized(module: _SpectralNorm) -> Any:
    def forward(weight: Tensor) -> Tensor:
        return _norm(weight, module._u, module._v, module.dim)

    return forward


def _hooked(hook: SpectralNorm) -> Any:
    def compute_weight(module: nn.Module, do_power_iteration: bool) -> Tensor:
        del do_power_iteration
        weight, u, v = (getattr(module, hook.name + end) for end in ("_orig", "_u", "_v"))
        return _norm(weight, u, v, hook.dim)

    return compute_weight


def _norm(weight: Tensor, u: Tensor, v: Tensor, dim: int) -> Tensor:
    out: Tensor = torch.ops.structure_net.spectral_norm(weight, u, v, dim)
    return out


def _register() -> None:
    """Registers the operation; once."""
    if hasattr(torch.ops.structure_net, "spectral_norm"):
        return

    def spectral_norm(weight: Tensor, u: Tensor, v: Tensor, dim: int) -> Tensor:
        return torch.empty_like(weight)

    operation = torch.library.custom_op(
        "structure_net::spectral_norm",
        spectral_norm,
        mutates_args=(),
        schema="(Tensor weight, Tensor u, Tensor v, int dim) -> Tensor",
    )
    operation.register_fake(spectral_norm)
