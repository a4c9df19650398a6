"""How many floating-point operations a forward pass takes, counted while it runs.

Products count as in `torch.utils.flop_counter`: a multiplication and an addition each, for matrix
products, convolutions and attention; what works entry by entry (activations, normalisation, biases)
does not count. A sparse layer counts its live connections only, whatever its storage computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from torch import Tensor, nn
from torch.backends import cuda
from torch.utils._python_dispatch import TorchDispatchMode

from structure_net.core.running import call, evaluate, preserve
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import outermost_modules, sparse_layers
from structure_net.core.undoing import Undoing, hooked, moded, set_gradients

_ATTENTIONS: Final[tuple[tuple[Callable[[], bool], Callable[[bool], object], bool], ...]] = (
    (cuda.math_sdp_enabled, cuda.enable_math_sdp, True),
    (cuda.flash_sdp_enabled, cuda.enable_flash_sdp, False),
    (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, False),
    (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, False),
)
"""Which kernels of attention are on, how to say so, and whether what they do is counted."""


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations of one forward pass, per sample.

    Args:
        total: Of the whole model, with sparse layers at their live connections.
        dense: The same if all connections of sparse layers were there.
        layers: ``total`` by the innermost module that computes it; those without any are left out.
    """

    total: float
    dense: float
    layers: Mapping[str, float]


def count_flops(model: nn.Module, example: Any) -> Flops:
    """Counts the operations of a forward pass.

    Args:
        model: Any module; it runs once, in evaluation mode, and is left as it was.
        example: Inputs: a tensor, a tuple of arguments, or a mapping of named ones, with samples on
            the first axis of the first tensor.

    Raises:
        ValueError: The example has no tensor with samples.
    """
    samples = _samples(example)
    counter = _Counter()
    undo = Undoing()
    with undo, undo:
        preserve(model, undo)
        evaluate(model, undo)
        set_gradients(undo, on=True)
        _attend_by_products(undo)
        for name, module in outermost_modules(model):
            hooked(undo, module, counter.enter(name), before=True)
            hooked(undo, module, counter.leave(name))
        moded(undo, counter)
        call(model, example)
    live, dense = dict(counter.counts), dict(counter.counts)
    for name, layer in sparse_layers(model).items():
        positions = counter.positions.get(name, 0)
        live[name] = 2 * layer.connections * positions
        dense[name] = 2 * _possible(layer) * positions
    layers = {name: count / samples for name, count in live.items() if count}
    return Flops(sum(live.values()) / samples, sum(dense.values()) / samples, layers)


def _attend_by_products(undo: Undoing) -> None:
    """Fused kernels of attention are not counted on every device; their products are."""
    for enabled, enable, counted in _ATTENTIONS:
        undo.later(partial(enable, enabled()))
        enable(counted)


class _Counter(TorchDispatchMode):
    """Counts the operations of the module that runs, by torch's own formulas.

    Attributes:
        counts: By the innermost module, parts of sparse layers as theirs.
        positions: The outputs per unit of each sparse layer, over all its calls.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import flop_registry

        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.counts: dict[str, int] = {}
        self.positions: dict[str, int] = {}
        self._formulas = flop_registry
        self._running = [""]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether torch shields this from its compiler, which it would load for that: seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs an operation and counts it."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        formula = self._formulas.get(func._overloadpacket)
        if formula is not None:
            name = self._running[-1]
            count = int(formula(*args, **kwargs, out_val=output))
            self.counts[name] = self.counts.get(name, 0) + count
        return output

    def enter(self, name: str) -> Callable[..., None]:
        """What runs before a module."""

        def before(module: nn.Module, inputs: Any) -> None:
            self._running.append(name)

        return before

    def leave(self, name: str) -> Callable[..., None]:
        """What runs behind it."""

        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            self._running.pop()
            if isinstance(module, SparseLayer):
                count = output.numel() // module.out_channels
                self.positions[name] = self.positions.get(name, 0) + count

        return after


def _possible(layer: SparseLayer) -> int:
    pattern = layer.pattern
    kernel = layer.connections // max(len(pattern), 1) or 1
    return pattern.shape[0] * pattern.shape[1] * kernel


def _samples(example: Any) -> int:
    values = example.values() if isinstance(example, Mapping) else example
    tensors = (
        [values] if isinstance(values, Tensor) else [v for v in values if isinstance(v, Tensor)]
    )
    sizes = [tensor.shape[0] for tensor in tensors if tensor.dim()]
    if not sizes or not sizes[0]:
        raise ValueError("The example has no tensor with samples on its first axis; give one.")
    return int(sizes[0])
