"""The fast path for inference of torch's encoder layers, which reads the weights of their linear
layers without calling them: off where these are sparse, on again where they are dense.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence

from torch import nn
from torch.nn import functional as F

from structure_net.core.sparsity import SparseLayer
from structure_net.surgery.committing import SetValue, Step


def slow_paths(model: nn.Module, layers: Iterable[nn.Module]) -> list[Step]:
    """What turns the fast path off in the encoder layers that any of ``layers`` is part of."""
    encoders = _encoders(model, layers)
    # What forward asks for first, and nothing else but the constructor of a stack reads.
    steps: list[Step] = [SetValue(one, "activation_relu_or_gelu", 0) for one in encoders]
    return steps + [SetValue(one, "use_nested_tensor", False) for one in _stacks(model, encoders)]


def fast_paths(model: nn.Module, layers: Sequence[nn.Module]) -> list[Step]:
    """What turns it on again where, once ``layers`` are dense, no sparse one is left."""
    ready = [one for one in _encoders(model, layers) if _dense(one, layers)]
    noted = {id(one): _activation(one) for one in ready}
    steps: list[Step] = [SetValue(one, "activation_relu_or_gelu", noted[id(one)]) for one in ready]
    stacks = [one for one in _stacks(model, ready) if all(_dense(x, layers) for x in one.layers)]
    return steps + [SetValue(one, "use_nested_tensor", _nests(one)) for one in stacks]


def _encoders(model: nn.Module, layers: Iterable[nn.Module]) -> list[nn.TransformerEncoderLayer]:
    """The encoder layers that one of ``layers`` is part of."""
    wanted = {id(one) for one in layers}
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.TransformerEncoderLayer)
        and wanted & {id(part) for part in module.modules()}
    ]


def _stacks(model: nn.Module, encoders: Iterable[nn.Module]) -> list[nn.TransformerEncoder]:
    """The stacks that any of ``encoders`` is in."""
    wanted = {id(one) for one in encoders}
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.TransformerEncoder)
        and wanted & {id(layer) for layer in module.layers}
    ]


def _dense(encoder: nn.Module, layers: Iterable[nn.Module]) -> bool:
    """Whether no layer but ``layers`` is sparse."""
    turned = {id(one) for one in layers}
    sparse = {id(one) for one in encoder.modules() if isinstance(one, SparseLayer)}
    return sparse <= turned


def _activation(layer: nn.TransformerEncoderLayer) -> int:
    """What the constructor of an encoder layer notes of its activation."""
    if layer.activation is F.relu or isinstance(layer.activation, nn.ReLU):
        return 1
    return 2 if layer.activation is F.gelu or isinstance(layer.activation, nn.GELU) else 0


def _nests(stack: nn.TransformerEncoder) -> bool:
    """What the constructor of a stack notes of its first layer, asked of itself."""
    first = copy.copy(stack.layers[0])
    if isinstance(first, nn.TransformerEncoderLayer):
        first.activation_relu_or_gelu = _activation(first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = nn.TransformerEncoder(first, 0, enable_nested_tensor=stack.enable_nested_tensor)
    return bool(asked.use_nested_tensor)
