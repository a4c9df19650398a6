"""Which value a layer's units end up with: its output after the activation that follows.

The activation that follows a layer may be a module, a function in the user's own ``forward`` or a
method of the tensor. All three pass through torch's function protocol, so that the tracker watches
there: a layer's output is marked, marks pass through what works unit by unit (normalisation,
dropout, pooling, sums and products of equal width), and the first activation that a mark meets
gives the layer's units their values. Within a leaf module (a parametrised activation, say) the
module's output counts. A layer that meets no activation counts with its own output, and a layer
that takes a marked input of the same width reads the units of the marked layer one by one.

What runs outside the protocol (scripted or compiled submodules, fused kernels) is not seen: layers
in front of it count without an activation.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from structure_net.core.sparsity import SparseLayer
from structure_net.evolution.activations import (
    ACTIVATIONS,
    Activation,
    activation_of,
    function_name,
)

Reduce = Callable[[str, Tensor, int, Activation | None], Any]
"""Takes a layer, the values of its units, their axis and the activation.

What it returns is handed to `ReduceInput` where another layer reads just these values.
"""

ReduceInput = Callable[[str, Tensor, int, Any], None]
"""Takes a layer, its input, the axis of the input's units, and what `Reduce` made of it or None."""

_TRANSPARENT: Final = frozenset(
    (
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_dropout",
        "feature_alpha_dropout",
        "batch_norm",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "local_response_norm",
        "add",
        "sub",
        "rsub",
        "mul",
        "div",
        "true_divide",
        "__add__",
        "__radd__",
        "__iadd__",
        "__sub__",
        "__rsub__",
        "__isub__",
        "__mul__",
        "__rmul__",
        "__imul__",
        "__truediv__",
        "__itruediv__",
        "contiguous",
        "clone",
        "to",
        "float",
        "double",
        "half",
        "bfloat16",
        "type",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
        "interpolate",
        "pad",
    )
)
_CONVOLUTIONS: Final = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_DENSE: Final = (nn.Linear, nn.Embedding, nn.Bilinear)


def unit_axis(module: nn.Module) -> int | None:
    """The axis of a layer's output (and input) that holds its units; None for what is no layer.

    Layers are sparse layers, linear layers, embeddings, convolutions, and a user's own modules
    without children that own one matrix, which are taken for linear layers.
    """
    if isinstance(module, SparseLayer):
        return module.channel_dim
    if isinstance(module, _DENSE):
        return -1
    if isinstance(module, _CONVOLUTIONS):
        return -1 - len(module.kernel_size)
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) or any(True for _ in module.children()):
        return None
    weights = [p for p in module.parameters() if p.dim() >= 2 and p.numel() > max(p.shape)]
    return -1 if len(weights) == 1 and weights[0].dim() == 2 else None


def _is_written(module: nn.Module, axis: int, output: Any) -> bool:
    """Whether ``output`` holds the units of the layer along ``axis``."""
    if not isinstance(output, Tensor) or not output.is_floating_point():
        return False
    if isinstance(module, (SparseLayer, *_DENSE, *_CONVOLUTIONS)):
        return True
    return any(output.size(-1) in p.shape for p in module.parameters() if p.dim() == 2)


def observed_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers by name, in the order of registration; a layer inside a layer is a part of it."""
    found: dict[str, nn.Module] = {}
    inside: set[nn.Module] = set()
    for name, module in network.named_modules():
        if module in inside:
            continue
        if unit_axis(module) is not None:
            found[name] = module
            inside.update(module.modules())
    return found


@dataclass(eq=False, slots=True)
class _Call:
    """One call of one layer."""

    layer: str
    axis: int
    size: int
    done: bool = False
    output: Tensor | None = None


@dataclass(eq=False, slots=True)
class _Mark:
    """A tensor whose units are those of some calls, one by one."""

    reference: weakref.ref[Tensor]
    calls: tuple[_Call, ...]
    activation: Activation | None = None
    reduced: Any = None
    version: int = -1


class ActivationTracker(TorchFunctionMode):
    """Follows one forward pass at a time and reports each layer's units through ``reduce``.

    A context manager: hooks and marks are gone when it is left, by an exception too. Outputs are
    held until their activation is met, in the first pass only; afterwards layers without one are
    reported as they come.

    Args:
        network: The network that is going to be called.
        reduce: Is told of each layer's values, once a call.
        reduce_input: Is told of each layer's input.
    """

    def __init__(
        self,
        network: nn.Module,
        reduce: Reduce,
        reduce_input: ReduceInput | None = None,
    ) -> None:
        super().__init__()
        self._network = network
        self._reduce = reduce
        self._reduce_input = reduce_input
        self._layers = observed_layers(network)
        self._marks: dict[int, _Mark] = {}
        self._open: list[_Call] = []
        self._activated: dict[str, bool] = {}
        self._passes = 0
        self._in_layer = 0
        self._in_leaf = 0
        self._handles: list[RemovableHandle] = []
        self.order: list[str] = []
        self.readers: dict[str, dict[str, None]] = {name: {} for name in self._layers}

    def __enter__(self) -> ActivationTracker:
        parts: set[nn.Module] = set()
        for name, layer in self._layers.items():
            parts.update(layer.modules())
            self._hook_layer(name, layer)
        for module in self._network.modules():
            if module not in parts and module is not self._network and not any(module.children()):
                self._hook_leaf(module)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._marks.clear()
        self._open.clear()

    def finish_pass(self) -> None:
        """Reports the layers of this pass that met no activation; call it after each pass."""
        for call in self._open:
            self._activated.setdefault(call.layer, call.done)
            if not call.done and call.output is not None:
                self._report(call, call.output, None)
        self._open.clear()
        self._marks.clear()
        self._passes += 1

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs ``func`` and carries the marks of its arguments on."""
        kwargs = kwargs or {}
        name = function_name(func)
        relevant = not self._in_layer and (name in ACTIVATIONS or name in _TRANSPARENT)
        marks = self._marks_of(args) if relevant else []
        if marks and name not in ACTIVATIONS:
            self._keep_before_writing(func, args)
        result = func(*args, **kwargs)
        if marks:
            output = result[0] if isinstance(result, tuple) else result
            if isinstance(output, Tensor):
                activation = activation_of(name, args, kwargs) if name in ACTIVATIONS else None
                self._carry(activation, marks, output)
        return result

    def _marks_of(self, args: tuple[Any, ...]) -> list[_Mark]:
        found = (self._marks.get(id(arg)) for arg in args if isinstance(arg, Tensor))
        return [mark for mark in found if mark is not None]

    def _keep_before_writing(self, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """A function that writes into its first argument must not change an output that is held."""
        raw = getattr(func, "__name__", "")
        if raw.startswith("__i") or (raw.endswith("_") and not raw.endswith("__")):
            for call in self._open:
                if call.output is not None and call.output is args[0]:
                    call.output = call.output.clone()

    def _carry(self, met: Activation | None, marks: list[_Mark], output: Tensor) -> None:
        calls = tuple(dict.fromkeys(c for mark in marks for c in mark.calls if _fits(output, c)))
        if not calls:
            return
        activation = met or next((mark.activation for mark in marks if mark.activation), None)
        mark = self._mark(output, calls, activation)
        if activation is not None and not self._in_leaf:
            self._settle(mark, output)

    def _settle(self, mark: _Mark, values: Tensor) -> None:
        """The marked tensor holds what its layers' units end up with."""
        for call in mark.calls:
            if not call.done:
                call.done, call.output = True, None
                mark.reduced = self._report(call, values, mark.activation)
                mark.version = values._version
        mark.activation = None

    def _report(self, call: _Call, values: Tensor, activation: Activation | None) -> Any:
        with torch._C.DisableTorchFunction():
            return self._reduce(call.layer, values, call.axis, activation)

    def _mark(
        self, tensor: Tensor, calls: tuple[_Call, ...], activation: Activation | None
    ) -> _Mark:
        key = id(tensor)
        reference = weakref.ref(tensor, lambda _: self._marks.pop(key, None))
        self._marks[key] = mark = _Mark(reference, calls, activation)
        return mark

    def _hook_layer(self, name: str, layer: nn.Module) -> None:
        axis = unit_axis(layer)
        assert axis is not None

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            if not self._in_layer:
                self._read(name, axis, args)
            self._in_layer += 1

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self._in_layer -= 1
            if not self._in_layer and _is_written(module, axis, output):
                self._written(name, axis, output)

        self._handles += [
            layer.register_forward_pre_hook(before),
            layer.register_forward_hook(after),
        ]

    def _read(self, name: str, axis: int, args: tuple[Any, ...]) -> None:
        inputs = args[0] if args else None
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            return
        mark, reduced = self._marks.get(id(inputs)), None
        for call in mark.calls if mark else ():
            if call.axis % inputs.dim() == axis % inputs.dim():
                self.readers[call.layer][name] = None
                # Written into since, the tensor is no longer what was reduced.
                reduced = mark.reduced if mark and mark.version == inputs._version else None
        if self._reduce_input is not None:
            with torch._C.DisableTorchFunction():
                self._reduce_input(name, inputs, axis, reduced)

    def _written(self, name: str, axis: int, output: Tensor) -> None:
        if name not in self.order:
            self.order.append(name)
        call = _Call(name, axis, output.size(axis))
        self._mark(output, (call,), None)
        self._open.append(call)
        activated = self._activated.get(name)
        if activated is None:
            call.output = output
        elif not activated:
            call.done = True
            self._report(call, output, None)

    def _hook_leaf(self, module: nn.Module) -> None:
        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            self._in_leaf += 1

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self._in_leaf -= 1
            mark = self._marks.get(id(output)) if isinstance(output, Tensor) else None
            if mark is not None and mark.activation is not None and not self._in_leaf:
                self._settle(mark, output)

        self._handles += [
            module.register_forward_pre_hook(before),
            module.register_forward_hook(after),
        ]


def _fits(output: Tensor, call: _Call) -> bool:
    axis = call.axis if call.axis >= 0 else output.dim() + call.axis
    return 0 <= axis < output.dim() and output.size(axis) == call.size
