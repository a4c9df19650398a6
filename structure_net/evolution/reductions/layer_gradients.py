"""Inputs and output gradients of the same call of a layer, brought together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from structure_net.core.windows import Geometry, as_image, geometry_of
from structure_net.evolution.reductions.values import Gradients, Values


@dataclass(frozen=True, slots=True, eq=False)
class LayerCall:
    """One call of a linear layer or convolution.

    Args:
        layer: Its name.
        module: The layer.
        geometry: Its window.
        inputs: Shape ``(N, C, H, W)``.
        gradient: Of each sample's own loss with respect to what the layer gave: the batch's loss is
            taken for the mean of its samples' losses. Shape ``(N, O, H', W')``.
    """

    layer: str
    module: nn.Module
    geometry: Geometry
    inputs: Tensor
    gradient: Tensor


class LayerCalls:
    """Holds the inputs of a batch until the gradients are there."""

    def __init__(self) -> None:
        self._inputs: dict[int, tuple[Values, Tensor, int]] = {}
        self._outputs: dict[int, Values] = {}

    def input(self, values: Values) -> None:
        """See `Reduction.input`."""
        if geometry_of(values.module) is not None:
            self._inputs[values.call.number] = (values, values.tensor, values.tensor._version)

    def output(self, values: Values) -> None:
        """See `Reduction.output`."""
        if values.call.number in self._inputs:
            self._outputs[values.call.number] = values

    def clear(self) -> None:
        """Lets go of what is held."""
        self._inputs.clear()
        self._outputs.clear()

    def matched(self, found: Gradients) -> Iterator[LayerCall]:
        """The calls whose inputs and gradients belong to samples; lets go of what was held.

        Calls whose inputs were written into since are left out.
        """
        inputs, outputs = self._inputs, self._outputs
        self._inputs, self._outputs = {}, {}
        for number, (values, tensor, version) in inputs.items():
            if number not in found.outputs or tensor._version != version:
                continue
            taken = _image(values, tensor)
            gradient = _image(outputs[number], found.outputs[number])
            geometry = geometry_of(values.module)
            if taken is not None and gradient is not None and geometry is not None:
                scaled = gradient * values.samples.number
                yield LayerCall(values.layer, values.module, geometry, taken, scaled)


def _image(values: Values, tensor: Tensor) -> Tensor | None:
    wide = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    rows = values.samples_first(wide)
    return None if rows is None else as_image(values.module, rows)
