"""The weights of a layer in one form: outputs, inputs, and the kernel's positions behind them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core.sparsity import SparseLayer
from structure_net.core.storage import StoredLayer
from structure_net.core.switching import dense

_PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def unit_weights(module: nn.Module) -> Tensor | None:
    """The weights from each input unit to each output unit, detached.

    Args:
        module: A layer.

    Returns:
        Shape ``(outputs, inputs, ...)`` with the kernel's axes last, 0 where there is no connection
        (in a sparse layer, and between the groups of a grouped convolution). None for what is no
        linear, sparse or convolutional layer, or has no weight, or no one matrix from inputs to
        outputs.
    """
    if isinstance(module, SparseLayer):
        return module.dense_weight().detach()
    if getattr(module, "weight", None) is None:
        return None
    if isinstance(module, _PLAIN):
        return _ungrouped(module.weight.detach(), getattr(module, "groups", 1))
    if isinstance(module, _TRANSPOSED):
        whole = module.weight.detach()
        parts = [part.transpose(0, 1) for part in whole.chunk(module.groups)]
        return _ungrouped(torch.cat(parts), module.groups)
    return None


def weight_blocks(module: nn.Module, entries: int) -> Iterator[Tensor] | None:
    """`unit_weights`, some output units at a time.

    Args:
        module: A layer.
        entries: At most so many entries at a time, but at least those of one unit.

    Returns:
        Blocks of shape ``(units, inputs, ...)``, in order; of a sparse layer each is made when it
        is asked for. None where `unit_weights` is None.
    """
    if not isinstance(module, SparseLayer):
        weights = unit_weights(module)
        if weights is None:
            return None
        blocks: tuple[Tensor, ...] = weights.split(max(1, entries // max(1, weights[:1].numel())))
        return iter(blocks)
    return _sparse_blocks(module, entries)


def _sparse_blocks(layer: SparseLayer, entries: int) -> Iterator[Tensor]:
    pattern, weights = layer.pattern, layer.live_weights.detach()
    (outputs, columns), kernel = pattern.shape, weights.shape[1:]
    size = max(1, entries // (columns * kernel.numel()))
    for start in range(0, outputs, size):
        units = min(size, outputs - start)
        first, last = torch.searchsorted(
            pattern.rows, pattern.rows.new_tensor([start, start + units])
        ).tolist()
        block = weights.new_zeros(units, columns, *kernel)
        block[pattern.rows[first:last] - start, pattern.columns[first:last]] = weights[first:last]
        yield block if kernel else block.view(units, layer.in_channels, -1).squeeze(2)


def output_sums(layer: SparseLayer, values: Tensor) -> Tensor:
    """Sums over the live connections into each output unit.

    Args:
        layer: With ``n`` connections.
        values: One for each, or a kernel of them, in the order of the pattern: shape ``(n, ...)``.

    Returns:
        Shape ``(outputs,)``.
    """
    return _sums(layer.pattern.rows, values, layer.out_channels)


def input_sums(layer: SparseLayer, values: Tensor) -> Tensor:
    """The same out of each input unit. Shape ``(inputs,)``."""
    columns = layer.pattern.columns
    return _sums(layer.sources.to(columns.device)[columns], values, layer.in_channels)


def _sums(units: Tensor, values: Tensor, size: int) -> Tensor:
    each = values.flatten(1).sum(1) if values.dim() > 1 else values
    return each.new_zeros(size).index_add(0, units.to(each.device), each)


def laid_out(module: nn.Module, values: Tensor) -> Tensor:
    """Values beside the weight of a layer, such as its gradient, with axes for outputs and inputs.

    Args:
        module: The layer.
        values: Of the shape of its ``weight``, or laid out already.

    Returns:
        Shape ``(outputs, inputs, ...)`` where the layer stores a list of its live weights, zero
        elsewhere; else ``values`` as they are.
    """
    if isinstance(module, StoredLayer) and module.storage == "live":
        return dense(values, module.index) if values.shape == module.weight.shape else values
    return values


def kernel_norms(values: Tensor, axes: int) -> Tensor:
    """The norms by which kernels are ranked, in float32 at least.

    In float16 and bfloat16 a norm would be rounded to three digits or two, by which unlike kernels
    become equals.

    Args:
        values: Shape ``(..., *kernel)``.
        axes: How many axes stand in front of the kernel's, which are one or more.

    Returns:
        The shape of ``values`` up to the kernel's axes; float64 of float64, else float32.
    """
    kind = torch.promote_types(values.dtype, torch.float32)
    norms: Tensor = values.flatten(axes).norm(dim=axes, dtype=kind)
    return norms


def by_output(module: nn.Module, values: Tensor) -> Tensor:
    """Sums over the weights into each output unit, of values beside a layer's weight.

    Args:
        module: The layer; of one that is not sparse, the first axis is taken for the outputs.
        values: Of the shape of its ``weight``.

    Returns:
        Shape ``(outputs,)``; the cost follows the size of ``values``.
    """
    each = values.reshape(len(values), -1).sum(1)
    if isinstance(module, StoredLayer) and module.storage == "live":
        rows = module.pattern.rows.to(each.device)
        return each.new_zeros(module.out_channels).index_add(0, rows, each)
    return each


def weights_among(model: nn.Module) -> set[nn.Parameter]:
    """The parameters of ``model`` that weigh connections: matrices, kernels and lists of live
    weights; not biases, gains and other vectors.
    """
    found = {parameter for parameter in model.parameters() if parameter.dim() > 1}
    return found | {layer.weight for layer in model.modules() if isinstance(layer, StoredLayer)}


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters of ``model`` in two groups for an optimizer: weights decay, the rest does not.

    The customary ``p.dim() >= 2`` tells weights from biases and gains by their axes, and so takes
    the live weights of a sparse layer, which are a list, for a bias: whether they decay would
    depend on the storage. An optimizer with these groups does the same in either:
    ``torch.optim.AdamW(decay_groups(model, 0.1), lr=3e-4)``.

    Args:
        model: Any module; parameters that need no gradient are left out.
        weight_decay: That of matrices, kernels and live weights, not negative; it is 0 for biases,
            gains and other vectors.

    Returns:
        The groups with ``params`` and ``weight_decay``, weights first, each in the order of
        ``model.parameters()``; none without parameters.

    Raises:
        ValueError: ``weight_decay`` is negative or not finite, or a sparse layer's weight is
            computed by a parametrization, so that it is no parameter.
    """
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be finite and not negative; got {weight_decay}.")
    for name, layer in model.named_modules():
        if isinstance(layer, StoredLayer) and "weight" not in layer._parameters:
            raise ValueError(
                f"The weight of {name or 'the layer'!r} is no parameter, but computed from others."
                " Remove what computes it (torch.nn.utils.parametrizations or prune)."
            )
    weights = weights_among(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = (
        ([one for one in trained if one in weights], weight_decay),
        ([one for one in trained if one not in weights], 0.0),
    )
    return [{"params": one, "weight_decay": decay} for one, decay in groups if one]


def _ungrouped(weight: Tensor, groups: int) -> Tensor:
    """``weight`` of shape ``(outputs, inputs / groups, ...)`` with every group in its place."""
    if groups == 1:
        return weight
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    whole = weight.new_zeros(weight.shape[0], inputs * groups, *weight.shape[2:])
    for group, part in enumerate(weight.chunk(groups)):
        rows = slice(group * outputs, (group + 1) * outputs)
        whole[rows, group * inputs : (group + 1) * inputs] = part
    return whole
