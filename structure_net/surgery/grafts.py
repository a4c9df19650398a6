"""Modules that an edit puts behind a layer. Each is the identity at birth, and each is learnable.

A `Grafted` takes the layer's place in the network. It runs the layer, then its grafts in order, and
answers for the layer's own attributes, so that code that looks at ``model.fc1.weight`` goes on. Old
names stay good in edits: ``fc1`` means the layer itself (`resolved`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.errors import SurgeryError

_DEPTH: Final = 4  # how deep a source may be entered again before its target ran


class Grafted(nn.Module):
    """A layer with what grew behind it.

    Whoever reads the layer's weight instead of calling it (`torch.nn.MultiheadAttention` does so
    with its output projection) gets it with the silent inputs' columns zero.

    Args:
        layer: The layer; runs first, with all arguments.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.origin = layer
        self.gates = nn.ModuleDict()
        self.grafts = nn.ModuleDict()
        self.training = layer.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The layer, between its gates and its grafts."""
        for gate in self.gates.values():
            args = (gate(args[0]), *args[1:])
        output = self.origin(*args, **kwargs)
        for graft in self.grafts.values():
            output = graft(output)
        return output

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            modules = self.__dict__.get("_modules", {})
            if "origin" not in modules:
                raise
            value = getattr(modules["origin"], name)
        gates: Any = modules["gates"] if name == "weight" else {}
        for gate in gates.values():
            value = gate(value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        layer = self.__dict__.get("_modules", {}).get("origin")
        if layer is not None and (name in layer._parameters or name in layer._buffers):
            setattr(layer, name, value)
        else:
            super().__setattr__(name, value)


class PartialActivation(nn.Module):
    r"""An activation that begins as the identity: :math:`(1 - a) z + a\,\phi(z)`, ``a`` learnable.

    Args:
        activation: :math:`\phi`, element-wise.
        like: Gives ``a`` its dtype and device.

    References:
        Wei et al., "Network Morphism", ICML 2016 (P-activation).
    """

    def __init__(self, activation: nn.Module, like: Tensor) -> None:
        super().__init__()
        self.activation = activation
        self.amount = nn.Parameter(torch.zeros((), dtype=like.dtype, device=like.device))

    def forward(self, inputs: Tensor) -> Tensor:
        """Element-wise."""
        output: Tensor = inputs + self.amount * (self.activation(inputs) - inputs)
        return output


class InsertedLayer(nn.Module):
    """An activation and a layer behind it: together the identity at birth.

    Args:
        activation: The identity on what reaches it: a `PartialActivation`, or a ReLU in front of a
            ReLU.
        linear: A layer that begins as the identity.
    """

    def __init__(self, activation: nn.Module, linear: nn.Module) -> None:
        super().__init__()
        self.activation = activation
        self.linear = linear

    def forward(self, inputs: Tensor) -> Tensor:
        """Keeps the shape."""
        output: Tensor = self.linear(self.activation(inputs))
        return output


class ResidualBlock(nn.Module):
    r"""A branch around which the signal passes: :math:`y + V \phi(U y)`, ``V = 0`` at birth.

    Args:
        expand: ``U``.
        activation: :math:`\phi`.
        project: ``V``, zero.
    """

    def __init__(self, expand: nn.Module, activation: nn.Module, project: nn.Module) -> None:
        super().__init__()
        self.expand = expand
        self.activation = activation
        self.project = project

    def forward(self, inputs: Tensor) -> Tensor:
        """Keeps the shape."""
        output: Tensor = inputs + self.project(self.activation(self.expand(inputs)))
        return output


class Carrier:
    """Carries a layer's output to a later one within a forward pass; holds nothing after it.

    A source that is entered again before its target ran is met by its own target, up to four deep.
    Each thread has its own. Copies and pickles are empty.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def put(self, value: Tensor) -> None:
        """Leaves a value for the target."""
        if not hasattr(self._local, "held"):
            self._local.held = deque[Tensor](maxlen=_DEPTH)
        self._local.held.append(value)

    def take(self) -> Tensor:
        """The value that was left last.

        Raises:
            SurgeryError: The source did not run before the target.
        """
        held = getattr(self._local, "held", None)
        if not held:
            raise SurgeryError(
                "The target of a skip connection ran before its source. Run the whole model, or "
                "remove the connection "
                "with RemoveSkipConnection."
            )
        value: Tensor = held.pop()
        return value

    def __reduce__(self) -> tuple[type[Carrier], tuple[()]]:
        return Carrier, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Carrier:
        copied = memo[id(self)] = Carrier()
        return copied


class SkipSource(nn.Module):
    """Where a skip connection begins: the identity, which leaves its input for the target."""

    def __init__(self, carrier: Carrier) -> None:
        super().__init__()
        self.carrier = carrier

    def forward(self, inputs: Tensor) -> Tensor:
        """The input itself."""
        self.carrier.put(inputs)
        return inputs


_POOLS: Final[dict[int, Callable[[Tensor, Any], Tensor]]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


class SkipTarget(nn.Module):
    """Where a skip connection ends: adds a projection of the source's output, zero at birth.

    Args:
        carrier: The source's.
        project: A linear map or 1x1 convolution without bias, zero.
        spatial: The number of the target's spatial axes.
        pools: Whether the source has spatial axes and the target has none.
    """

    def __init__(self, carrier: Carrier, project: nn.Module, *, spatial: int, pools: bool) -> None:
        super().__init__()
        self.spatial = spatial
        self.pools = pools
        self.carrier = carrier
        self.project = project

    def forward(self, inputs: Tensor) -> Tensor:
        """Keeps the shape; an image is pooled to the target's size, or to a vector where that is
        one.
        """
        carried = self.carrier.take()
        if self.pools:
            carried = carried.flatten(2).mean(-1)
        elif self.spatial and carried.shape[2:] != inputs.shape[2:]:
            carried = _POOLS[self.spatial](carried, list(inputs.shape[2:]))
        output: Tensor = inputs + self.project(carried)
        return output


class HeadGate(nn.Module):
    """Silences some of the channels that a layer reads.

    Args:
        open: 1 for channels that pass, 0 for silent ones. Shape ``(channels,)``.
        images: Whether the channels are the second axis, as of a convolution's input, instead of
            the last.
    """

    open: Tensor

    def __init__(self, open: Tensor, *, images: bool = False) -> None:
        super().__init__()
        self.images = images
        self.register_buffer("open", open)

    def forward(self, inputs: Tensor) -> Tensor:
        """Keeps the shape."""
        if self.images:
            return inputs * self.open.view(-1, *[1] * (inputs.dim() - 2))
        return inputs * self.open


def resolved(model: nn.Module, name: str) -> str:
    """The dotted name of a layer as it is now: an old name of a layer that was grafted means the
    layer.

    Raises:
        SurgeryError: The model has no such module.
    """
    module, path = model, list[str]()
    for part in name.split(".") if name else []:
        child = module._modules.get(part)
        if child is None and isinstance(module, Grafted):
            module = module.origin
            path.append("origin")
            child = module._modules.get(part)
        if child is None:
            raise SurgeryError(_unknown(model, name))
        module = child
        path.append(part)
    while isinstance(module, Grafted):
        module = module.origin
        path.append("origin")
    return ".".join(path)


def current_name(model: nn.Module, name: str) -> str:
    """`resolved` for names of layers that are no modules (``attention.in_proj``): as far as it
    goes.
    """
    head, tail = name, ""
    while head:
        try:
            return resolved(model, head) + tail
        except SurgeryError:
            head, _, last = head.rpartition(".")
            tail = f".{last}{tail}"
    return name


def _unknown(model: nn.Module, name: str) -> str:
    from difflib import get_close_matches

    known = [path for path, _ in model.named_modules() if path]
    near = get_close_matches(name, known, n=1)
    hint = f" The nearest is {near[0]!r}." if near else ""
    return f"The model has no layer {name!r}.{hint} Layers: {', '.join(known[:20])}."
