"""Where a module can be put behind a layer: what one run of the example shows of the layer's
output.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from structure_net.core.running import call, preserve
from structure_net.core.sparsity import SparseLayer
from structure_net.core.undoing import Undoing, hooked, moded, set_gradients
from structure_net.errors import SurgeryError
from structure_net.surgery.grafts import Grafted, resolved

_LAST = (nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm)
_SECOND = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
)


_RELU = (["relu"], ["relu_"])


@dataclass(frozen=True, slots=True)
class Site:
    """The place behind a layer, and behind what was put there before.

    Args:
        layer: The layer's dotted name as it is now.
        outer: The dotted name of what stands in its place in the network: itself, or its `Grafted`.
        shape: The shape of the output on the example.
        dim: The axis of the channels, 1 or the last.
        kernel: The layer's kernel, ones where it is even or the layer is no convolution.
        density: The density of a sparse layer; None of a dense one.
        finished: Its place in the order in which the observed layers finish.
        before_relu: Whether a ReLU, and nothing else, reads the output of every call.
        calls: How often it runs in a forward pass.
    """

    layer: str
    outer: str
    shape: tuple[int, ...]
    dim: int
    kernel: tuple[int, ...]
    density: float | None
    finished: int
    before_relu: bool
    calls: int = 1

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.shape[self.dim]

    @property
    def spatial(self) -> int:
        """The number of spatial axes behind the channels; 0 where the channels are the last
        axis.
        """
        return len(self.shape) - 2 if self.dim == 1 and len(self.shape) > 2 else 0


def sites(model: nn.Module, example: Any, layers: Iterable[str]) -> dict[str, Site]:
    """What one run of the example shows behind each of ``layers``; the model is as before.

    Raises:
        SurgeryError: A layer is unknown, does not run, or returns no single tensor.
    """
    places = {name: _place(model, name) for name in layers}
    seen: defaultdict[str, list[Any]] = defaultdict(list)
    order: list[str] = []
    readers, undo = _Readers(), Undoing()
    with undo, undo:
        preserve(model, undo)
        set_gradients(undo, on=False)
        for name, (_, outer) in places.items():
            hooked(undo, model.get_submodule(outer), partial(_note, name, seen, order, readers))
        moded(undo, readers)
        model.eval()
        call(model, example)
    return {
        name: _site(model, name, place, seen[name], order, readers)
        for name, place in places.items()
    }


def _place(model: nn.Module, name: str) -> tuple[str, str]:
    layer = resolved(model, name)
    if not layer:
        raise SurgeryError("An edit needs the name of a layer inside the model; got an empty name.")
    outer = layer
    while outer.endswith(".origin") and isinstance(
        model.get_submodule(outer.removesuffix(".origin")), Grafted
    ):
        outer = outer.removesuffix(".origin")
    return layer, outer


def _note(
    name: str,
    seen: dict[str, list[Any]],
    order: list[str],
    readers: _Readers,
    _module: nn.Module,
    _inputs: Any,
    output: Any,
) -> None:
    seen[name].append(output)
    order.append(name)
    readers.watch((name, len(seen[name]) - 1), output)


Call = tuple[str, int]


class _Readers(TorchFunctionMode):
    """Notes which operations read the watched tensors."""

    def __init__(self) -> None:
        super().__init__()
        self._watched: list[tuple[Call, Any]] = []
        self.operations: defaultdict[Call, list[str]] = defaultdict(list)

    def watch(self, name: Call, tensor: Any) -> None:
        """Notes every operation on this tensor from now on."""
        self._watched.append((name, tensor))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        operation = getattr(func, "__name__", str(func))
        if operation != "__get__":
            for name, tensor in self._watched:
                if _among(tensor, (args, kwargs)):
                    self.operations[name].append(operation)
        return func(*args, **(kwargs or {}))


def _among(wanted: Any, values: Any) -> bool:
    if values is wanted:
        return True
    if isinstance(values, dict):
        return any(_among(wanted, value) for value in values.values())
    if isinstance(values, tuple | list):
        return any(_among(wanted, value) for value in values)
    return False


def _site(
    model: nn.Module,
    name: str,
    place: tuple[str, str],
    outputs: list[Any],
    order: list[str],
    readers: _Readers,
) -> Site:
    layer, outer = place
    if not outputs:
        raise SurgeryError(
            f"The model never calls {name!r}: it reads the layer's weights, or does not use it. "
            "A module can be put behind the module around it."
        )
    for output in outputs:
        if not isinstance(output, Tensor):
            raise SurgeryError(
                f"{name!r} returns a {type(output).__name__}; a module can be put behind a layer "
                "that returns one tensor."
            )
    output = outputs[0]
    module = model.get_submodule(layer)
    return Site(
        layer,
        outer,
        tuple(output.shape),
        _channel_axis(name, module, output),
        _kernel(module, output),
        module.density if isinstance(module, SparseLayer) else None,
        len(order) - 1 - order[::-1].index(name),
        all(readers.operations[name, i] in _RELU for i in range(len(outputs))),
        len(outputs),
    )


def _channel_axis(name: str, module: nn.Module, output: Tensor) -> int:
    """The axis of the channels: by the class of the module that made them, else by the rank."""
    dims = output.dim()
    if dims < 2 or not output.is_floating_point():
        raise SurgeryError(
            f"{name!r} returns a tensor of shape {tuple(output.shape)} and {output.dtype}; a "
            "module can be put behind "
            "floating-point outputs with a batch axis and a channel axis."
        )
    for part in reversed(list(module.modules())):
        if isinstance(part, SparseLayer):
            return 1 if part.channel_dim == 1 else dims - 1
        if isinstance(part, _SECOND):
            return 1
        if isinstance(part, _LAST):
            return dims - 1
    return 1 if dims > 3 else dims - 1


def _kernel(module: nn.Module, output: Tensor) -> tuple[int, ...]:
    ones = (1,) * max(0, output.dim() - 2)
    kernel = getattr(module, "kernel_size", ones)
    fits = isinstance(kernel, tuple) and len(kernel) == len(ones)
    return kernel if fits and all(k % 2 for k in kernel) else ones
