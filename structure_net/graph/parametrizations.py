"""Parametrizations of weights, each as one operation of the traced program.

PyTorch divides a weight by an estimate of its largest singular value, which it carries in two
vectors from one training step to the next, or makes it orthogonal by way of an exponential. What an
edit has to do, or must not do, is known for the whole of that, and not for its single steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _Orthogonal, _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from structure_net.core.undoing import Undoing, replaced

_SCHEMAS: Final = {
    "spectral_norm": "(Tensor weight, Tensor u, Tensor v, int dim) -> Tensor",
    "orthogonal": "(Tensor weight) -> Tensor",
}


def whole_parametrizations(model: nn.Module, undo: Undoing) -> None:
    """Spectral norms of both kinds and orthogonal weights appear as operations of
    ``structure_net``, until ``undo`` undoes it."""
    modules = [m for m in model.modules() if isinstance(m, _SpectralNorm | _Orthogonal)]
    hooks = [
        (module, hook)
        for module in model.modules()
        for hook in module._forward_pre_hooks.values()
        if isinstance(hook, SpectralNorm)
    ]
    if modules or hooks:
        _register()
    for module in modules:
        if hasattr(module, "_u") or isinstance(module, _Orthogonal):
            replaced(undo, vars(module), "forward", _computing(module))
    for _, hook in hooks:
        replaced(undo, vars(hook), "compute_weight", _hooked(hook))


def _computing(module: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(weight: Tensor) -> Tensor:
        out: Tensor
        if isinstance(module, _SpectralNorm):
            out = torch.ops.structure_net.spectral_norm(weight, module._u, module._v, module.dim)
        else:
            out = torch.ops.structure_net.orthogonal(weight)
        return out

    return forward


def _hooked(hook: SpectralNorm) -> Callable[[nn.Module, bool], Tensor]:
    def compute_weight(module: nn.Module, do_power_iteration: bool) -> Tensor:
        del do_power_iteration
        weight, u, v = (getattr(module, hook.name + end) for end in ("_orig", "_u", "_v"))
        out: Tensor = torch.ops.structure_net.spectral_norm(weight, u, v, hook.dim)
        return out

    return compute_weight


def _register() -> None:
    """Registers the operations; once."""
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.structure_net, name):
            operation = torch.library.custom_op(
                f"structure_net::{name}", _same_shape, mutates_args=(), schema=schema
            )
            operation.register_fake(_same_shape)


def _same_shape(weight: Tensor, *_: Tensor | int) -> Tensor:
    return torch.empty_like(weight)
