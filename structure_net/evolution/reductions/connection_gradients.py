"""The gradient of the weight that each sparse layer would have if all its connections were there.

Training masks the gradient of an absent connection. Here it is computed anew, from what a layer
reads and from the gradient at what it gives, so that absent and live connections can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor
from torch.nn.functional import pad

from structure_net.core.sparsity import SparseLayer
from structure_net.errors import StructureNetError
from structure_net.evolution.reductions.layer_gradients import LayerCall, LayerCalls
from structure_net.evolution.reductions.reduction import Reduction, With
from structure_net.evolution.reductions.values import BatchSeen, Gradients, Values

MOMENTUM: Final = 0.9
"""How much of the smoothed gradient stays from batch to batch."""

MOST_PLACES: Final = 2**28
"""Layers with more places are refused: each tensor here would have more than a gibibyte."""


@dataclass(frozen=True, slots=True, eq=False)
class ConnectionGradient:
    r"""The dense gradient of one sparse layer over the batches seen.

    Args:
        mean: Over the samples. Shape ``(outputs, inputs, *kernel)``, on the layer's device, at
            least in float32; so is the next.
        momentum: :math:`m_b = \alpha m_{b-1} + (1 - \alpha) g_b` over the batches' means
            :math:`g_b`, divided by :math:`1 - \alpha^n` so that its weights sum to 1, with
            :math:`\alpha = .9`.
    """

    mean: Tensor
    momentum: Tensor


class ConnectionGradients(Reduction):
    """Running sums of the dense gradients of all sparse layers."""

    differentiates: ClassVar[frozenset[With]] = frozenset({With.OUTPUTS})

    def __init__(self) -> None:
        self._calls = LayerCalls()
        self._now: dict[str, Tensor] = {}
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}
        self._batches = 0
        self._samples = 0

    def input(self, values: Values) -> None:
        """See `Reduction.input`.

        Raises:
            StructureNetError: A layer has more than `MOST_PLACES`.
        """
        if isinstance(values.module, SparseLayer):
            _check_places(values.layer, values.module)
            self._calls.input(values)

    def output(self, values: Values) -> None:
        """See `Reduction.output`."""
        self._calls.output(values)

    def gradients(self, found: Gradients) -> None:
        """See `Reduction.gradients`."""
        for call in self._calls.matched(found):
            gradient = _of_weight(call)
            known = self._now.setdefault(call.layer, gradient)
            if known is not gradient:
                known += gradient

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        now, self._now = self._now, {}
        self._calls.clear()
        self._batches += 1
        self._samples += seen.samples
        # In place: a copy of a gradient of all places may be the largest tensor of a program.
        for layer, total in now.items():
            if layer not in self._sums:
                self._sums[layer] = (total.new_zeros(total.shape), total.new_zeros(total.shape))
            whole, smooth = self._sums[layer]
            whole += total
            smooth.lerp_(total.div_(max(seen.samples, 1)), 1 - MOMENTUM)

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, ConnectionGradient]:
        """By layer; sparse layers whose values do not belong to samples are not there.

        The sums become the result, so that there is one.
        """
        del readers
        weight = 1 - MOMENTUM**self._batches
        sums, self._sums = self._sums, {}
        return {
            layer: ConnectionGradient(whole.div_(max(self._samples, 1)), smooth.div_(weight))
            for layer, (whole, smooth) in sums.items()
        }


def _check_places(name: str, layer: SparseLayer) -> None:
    places = layer.out_channels * len(layer.sources)
    if places > MOST_PLACES:
        raise StructureNetError(
            f"The gradient at all places of layer {name!r} would have {places:,} entries, and at"
            f" most {MOST_PLACES:,} are computed. Compare some of them: ConnectionCandidateAnalyzer"
            " with RigL(candidates=...); or let connections come at random:"
            " SparseEvolutionaryTraining."
        )


def _of_weight(call: LayerCall) -> Tensor:
    """The sum over samples. Shape ``(outputs, inputs, *kernel)``."""
    inputs, gradient = call.inputs, call.gradient
    if getattr(call.module, "channel_dim", -1) == -1:
        delta, seen = (one.movedim(1, -1).flatten(0, -2) for one in (gradient, inputs))
        return delta.T @ seen
    of = call.geometry
    left, right, above, below = of.padding
    if (left, above) != (right, below):
        inputs, left, above = pad(inputs, of.padding), 0, 0
    shape = gradient.shape[1], inputs.shape[1], *of.kernel
    settings = of.stride, (above, left), of.dilation, False, (0, 0), 1, (False, True, False)
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, inputs, inputs.new_empty(1).expand(shape), None, *settings
    )[1]
    return found
