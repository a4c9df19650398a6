"""What units gave on average goes to the biases of their readers when the units begin anew."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from structure_net.core.changes import TensorChange
from structure_net.core.sparsity import SparseLayer
from structure_net.core.weights import output_sums
from structure_net.errors import SurgeryError
from structure_net.graph.belonging import entries_of
from structure_net.graph.channels import Axis, ChannelGroup, Role
from structure_net.surgery.edits import ResetNeurons
from structure_net.surgery.grafts import resolved
from structure_net.surgery.moves import Move, PassOn

_PARAMETRIZED = ".parametrizations.weight.original"


def passed_on(edit: ResetNeurons, group: ChannelGroup) -> tuple[PassOn, ...]:
    """For each reader, what its bias is to be given instead of the units.

    Args:
        edit: With a mean for each unit, or none.
        group: Of its layer.

    Raises:
        SurgeryError: There is another number of means than of units, one is not finite, units are
            several channels each, or what reads them is no plain weight.
    """
    if not edit.means:
        return ()
    if len(edit.means) != len(edit.indices) or not all(map(math.isfinite, edit.means)):
        raise SurgeryError(
            f"means must be one finite number for each of the {len(edit.indices)} units of"
            f" {edit.layer!r}, or none; got {edit.means}."
        )
    if group.granularity != 1:
        raise SurgeryError(
            f"A unit of {edit.layer!r} is {group.granularity} channels, of which no mean is handed"
            " over. Leave `means` out."
        )
    given = dict(zip(edit.indices, edit.means, strict=True))
    by_unit = [
        (given[channels[0]], u) for u, channels in enumerate(group.channels) if channels[0] in given
    ]
    reading = (axis for axis in group.axes if axis.role is Role.READS)
    return tuple(_reader(axis, group, by_unit) for axis in reading)


def _reader(axis: Axis, group: ChannelGroup, means: Sequence[tuple[float, int]]) -> PassOn:
    owner, weight = (axis.tensor, "weight") if axis.leaf else _split(axis.tensor)
    bias = weight.removesuffix("weight") + "bias"
    if axis.dim != 1 or not weight.endswith("weight"):
        raise SurgeryError(
            f"{axis.tensor!r}, which reads units of {group.layer!r}, is no weight of outputs by"
            " inputs, so that no mean can be handed to it. Leave `means` out."
        )
    inputs: list[int] = []
    amounts: list[float] = []
    entries = entries_of(axis, group.units, [unit for _, unit in means])
    for (mean, _), found in zip(means, entries, strict=True):
        inputs += found
        amounts += [mean] * len(found)
    return PassOn(owner, weight, bias, tuple(inputs), tuple(amounts))


def _split(tensor: str) -> tuple[str, str]:
    """The module and the attribute of a weight; of a parametrized one, those that it stands for."""
    plain, behind, _ = tensor.partition(_PARAMETRIZED)
    if behind:
        return plain, "weight"
    owner, _, name = tensor.rpartition(".")
    return owner, name


def with_means(
    model: nn.Module, moves: Sequence[Move], changes: Sequence[TensorChange]
) -> list[TensorChange]:
    """The changes of an edit, with what biases are given besides.

    Raises:
        SurgeryError: A reader's inputs are parted into groups.
    """
    found = {change.tensor: change for change in changes}
    for bias, amount in _amounts(model, moves):
        name = bias[0]
        found[name] = _shifted(found.get(name), name, bias[1], amount)
    return list(found.values())


def _amounts(
    model: nn.Module, moves: Sequence[Move]
) -> Iterator[tuple[tuple[str, Tensor], Tensor]]:
    for move in moves:
        if not isinstance(move, PassOn):
            continue
        module = model.get_submodule(resolved(model, move.module))
        if getattr(module, "groups", 1) != 1:
            raise SurgeryError(
                f"{move.module!r} reads its inputs in groups, so that no mean can be handed to it."
                " Leave `means` out."
            )
        bias = getattr(module, move.bias, None)
        if bias is None:
            continue
        means = torch.tensor(move.means, dtype=torch.float64, device=bias.device)
        if isinstance(module, SparseLayer):
            amount = _given(module, move.inputs, means)
        else:
            read = getattr(module, move.weight).detach()[:, list(move.inputs)].to(torch.float64)
            amount = (read.flatten(2).sum(2) if read.dim() > 2 else read) @ means
        yield (f"{move.module}.{move.bias}".lstrip("."), bias), amount


def _given(layer: SparseLayer, inputs: Sequence[int], means: Tensor) -> Tensor:
    """What constant inputs give to each output, at a cost that follows the live connections.

    Args:
        layer: Of which kernels are summed.
        inputs: Input units.
        means: Their values. Shape ``(len(inputs),)``, float64.

    Returns:
        Shape ``(outputs,)``, float64.
    """
    values = means.new_zeros(layer.in_channels)
    values.index_add_(0, torch.tensor(inputs, device=means.device, dtype=torch.int64), means)
    columns = layer.pattern.columns
    weights = layer.live_weights.detach().to(torch.float64)
    each = weights.flatten(1).sum(1) if weights.dim() > 1 else weights
    return output_sums(layer, each * values[layer.sources.to(columns.device)[columns]])


def _shifted(change: TensorChange | None, name: str, bias: Tensor, amount: Tensor) -> TensorChange:
    """A bias with an amount added; its optimizer state stays."""
    if change is None:
        return TensorChange(name, bias.detach() + amount.to(bias), _kept)
    return replace(change, data=change.data + amount.to(change.data))


def _kept(state: Tensor) -> Tensor:
    return state
