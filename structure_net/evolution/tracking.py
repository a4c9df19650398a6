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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core.chaining import Stage, look_away, looked_at_by
from structure_net.core.noting import Chain
from structure_net.core.sections import section
from structure_net.core.undoing import Undoing, hooked
from structure_net.evolution.activations import (
    ACTIVATIONS,
    TRANSPARENT,
    Activation,
    activation_of,
    function_name,
    taken_by,
)
from structure_net.evolution.calls import RELU, Call, KnownChain, Listener
from structure_net.evolution.rows import row_of
from structure_net.evolution.unit_layers import (
    directions,
    is_own_leaf,
    is_recurrent,
    observed_layers,
    own_activation,
    samples_second,
    unit_axis,
    units_of,
)
from structure_net.evolution.watched_functions import WatchedFunctions


@dataclass(eq=False, slots=True)
class _Mark:
    """A tensor whose units are those of some calls, one by one."""

    reference: weakref.ref[Tensor]
    calls: tuple[Call, ...]
    activation: Activation | None = None
    before: Tensor | None = None
    reported: Any = None
    version: int | None = None


class ActivationTracker:
    """Follows one forward pass at a time and tells a listener what each layer does.

    Hooks are there from the first `watching` on. Functions are watched within `watching` only, so
    that nothing else pays for it, and in the thread that watches: what other threads do with the
    network meanwhile is theirs. Outputs are held until their activation is met, in the first pass
    only; afterwards layers without one are reported as they come.

    Args:
        network: The network that is going to be called.
        listener: Is told of each layer's input, output and units, once a call each.
    """

    def __init__(self, network: nn.Module, listener: Listener) -> None:
        self._network = network
        self._listener = listener
        self._marks: dict[int, _Mark] = {}
        self._open: list[Call] = []
        self._activated: dict[tuple[str, int], bool] = {}
        self._calls = 0
        self._current: Call | None = None
        self._in_layer = 0
        self._in_leaf = 0
        self._functions = WatchedFunctions()
        self._hooks: set[int] = set()
        self._names: dict[nn.Module, str] = {}
        self._chains: dict[int, KnownChain] = {}
        self._row = row_of(network) if listener.chains else None
        self._undo: Undoing | None = None
        self.order: list[str] = []
        self.readers: dict[str, dict[str, None]] = {}

    def open(self, undo: Undoing) -> None:
        """Begins, until ``undo`` undoes it. Hooks are placed when something has to be watched."""
        undo.later(self._close)
        self._undo = undo

    def in_row(self, inputs: Any) -> Tensor | None:
        """The network's output, where it is layers in a row that the listener noted.

        Returns:
            None where the pass has to be watched.
        """
        if self._row is None or (begun := self._row.begin(inputs)) is None:
            return None
        with section("forward"):
            output = self._listener.note_row(self._row, begun)
        if output is not None and not self.order:
            self.order = list(self._row.readers)
            self.readers = {
                layer: dict.fromkeys(readers) for layer, readers in self._row.readers.items()
            }
        return output

    def _place_hooks(self, undo: Undoing) -> None:
        parts: set[nn.Module] = set()
        for name, (layer, called) in observed_layers(self._network).items():
            self.readers.setdefault(name, {})
            parts.update(called.modules())
            self._hook_layer(name, layer, called, undo)
        for module in self._network.modules():
            if module not in parts and module is not self._network and is_own_leaf(module):
                self._hook_leaf(module, undo)

    def _close(self) -> None:
        self._undo = None
        self._functions.close()
        look_away(self)
        self._hooks.clear()
        self._marks.clear()
        self._open.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """One forward pass; behind it the layers that met no activation are reported."""
        if self._undo is not None:
            self._place_hooks(self._undo)
            self._undo = None
        told = looked_at_by(self) if self._listener.chains else nullcontext()
        with self._functions.watching(self._called), told:
            yield
        self._finish()

    def pause(self) -> bool:
        """See `structure_net.core.chaining.Onlooker`, as for what follows."""
        return self._functions.pause()

    def resume(self) -> None:
        """Watches functions again."""
        self._functions.resume()

    def follows(self, module: nn.Module) -> bool:
        """Whether the module's hooks are the tracker's, and no others."""
        if module not in self._names and not isinstance(module, nn.ReLU):
            return False
        return (
            module._forward_hooks.keys() <= self._hooks
            and module._forward_pre_hooks.keys() <= self._hooks
        )

    def note(self, stages: Sequence[Stage], chain: Chain) -> Tensor | None:
        """Has the listener note what passes through a chain that it was told of before."""
        known = self._chains.get(self._calls)
        if known is None or not known.is_of(stages) or id(chain.inputs) in self._marks:
            return None
        last = known.calls[-1]
        if stages[-1][1] is None and self._activated.get((last.layer, last.number)) is not False:
            return None  # what is found behind it is told of it
        outputs = self._listener.note(known, chain)
        if outputs is not None:
            self._calls += len(stages)
            self._mark(outputs, (last,), None)
        return outputs

    def passed(
        self, stages: Sequence[Stage], values: Sequence[Tensor], sums: Sequence[Tensor]
    ) -> None:
        """Tells the listener what it would have heard of each layer by itself."""
        calls: list[Call] = []
        first = None if id(values[0]) in self._marks else self._calls
        for place, (layer, activation) in enumerate(stages):
            call = Call(self._names[layer], layer, -1, self._calls)
            self._calls += 1
            calls.append(call)
            self._read(call, values[place])
            self._wrote(call, values[place + 1])
            if activation is not None or place + 1 < len(stages):
                met = None if activation is None else RELU
                self._settle_one(call, values[place + 1], met, sums[place])
            else:
                self._await(call, values[place + 1], sums[place])
        if first is not None:
            self._chains[first] = KnownChain.of(stages, calls)

    def _finish(self) -> None:
        for call in self._open:
            self._activated.setdefault((call.layer, call.number), call.done)
            if not call.done and call.output is not None:
                self._report(call, call.output, None, None)
                # Of a chain, the call stands for those that follow.
                call.done, call.output = True, None
        self._open.clear()
        self._marks.clear()
        self._calls = 0

    def _called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Runs ``func`` and carries the marks of its arguments on."""
        name = "" if self._in_layer else function_name(func)
        marks = self._marks_of(args) if name in ACTIVATIONS or name in TRANSPARENT else ()
        if not marks:
            return func(*args, **kwargs)
        if name not in ACTIVATIONS:
            return self._carry(None, marks, func(*args, **kwargs))
        met = activation_of(name, args, kwargs)
        before = taken_by(func, args, kwargs) if met.is_smooth else None
        return self._carry(met, marks, func(*args, **kwargs), before)

    def _marks_of(self, args: tuple[Any, ...]) -> list[_Mark]:
        found = (self._marks.get(id(arg)) for arg in args if isinstance(arg, Tensor))
        return [mark for mark in found if mark is not None]

    def _carry(
        self,
        met: Activation | None,
        marks: Sequence[_Mark],
        result: Any,
        before: Tensor | None = None,
    ) -> Any:
        """Marks a result of what works unit by unit; returns it."""
        output = result[0] if isinstance(result, tuple) else result
        if not isinstance(output, Tensor):
            return result
        calls = tuple(dict.fromkeys(c for mark in marks for c in mark.calls if _fits(output, c)))
        if calls:
            activation = met or next((mark.activation for mark in marks if mark.activation), None)
            mark = self._mark(output, calls, activation)
            mark.before = before
            if activation is not None and not self._in_leaf:
                self._settle(mark, output)
        return result

    def _settle(self, mark: _Mark, values: Tensor) -> None:
        """The marked tensor holds what its layers' units end up with."""
        for call in mark.calls:
            if not call.done:
                call.done, call.output = True, None
                mark.reported = self._report(call, values, mark.activation, mark.before)
                mark.version = _version(values)
        mark.activation = mark.before = None

    def _report(
        self,
        call: Call,
        values: Tensor,
        activation: Activation | None,
        before: Tensor | None,
        sums: Tensor | None = None,
    ) -> Any:
        with torch._C.DisableTorchFunction():
            return self._listener.settled(call, values, activation, before, sums)

    def _mark(
        self, tensor: Tensor, calls: tuple[Call, ...], activation: Activation | None
    ) -> _Mark:
        key = id(tensor)
        reference = weakref.ref(tensor, lambda _: self._marks.pop(key, None))
        self._marks[key] = mark = _Mark(reference, calls, activation)
        return mark

    def _hook_layer(self, name: str, layer: nn.Module, called: nn.Module, undo: Undoing) -> None:
        axis = unit_axis(called)
        assert axis is not None
        recurrent, second = is_recurrent(layer), samples_second(called)

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            if not self._functions.watched_here():
                return
            if not self._in_layer:
                self._functions.pause()
                self._current = Call(name, layer, axis, self._calls, recurrent, second)
                self._calls += 1
                if called is layer and args:
                    self._read(self._current, args[0])
            self._in_layer += 1

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if not self._functions.watched_here():
                return
            self._in_layer -= 1
            if self._in_layer:
                return
            units = units_of(module, output)
            if units is not None and self._current is not None:
                self._written(self._current, units)
            self._functions.resume()

        if called is layer:
            self._names[layer] = name
        self._hook(called, before, after, undo)

    def _read(self, call: Call, inputs: Any) -> None:
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            return
        mark, known = self._marks.get(id(inputs)), None
        # Written into since, the tensor is no longer what was reported.
        same = mark is not None and mark.version is not None and mark.version == _version(inputs)
        for writer in mark.calls if mark else ():
            if writer.axis % inputs.dim() == call.axis % inputs.dim():
                self.readers[writer.layer][call.layer] = None
                known = mark.reported if mark and same else None
        with torch._C.DisableTorchFunction():
            self._listener.read(call, inputs, known)

    def _written(self, call: Call, output: Tensor) -> None:
        self._wrote(call, output)
        with torch._C.DisableTorchFunction():
            self._listener.wrote(call, output)
        own = own_activation(call.module) if call.recurrent else None
        if own is not None:
            both_ways = directions(call.module) == 2
            self._settle_one(call, output, Activation(own), both_ways=both_ways)
        else:
            self._await(call, output)

    def _wrote(self, call: Call, output: Tensor) -> None:
        """Notes that a call gave ``output``."""
        if call.layer not in self.order:
            self.order.append(call.layer)
        call.size = output.size(call.axis)
        self._open.append(call)

    def _settle_one(
        self,
        call: Call,
        output: Tensor,
        met: Activation | None,
        sums: Tensor | None = None,
        *,
        both_ways: bool = False,
    ) -> None:
        """A call gave what its units end up with."""
        call.done = True
        mark = self._mark(output, () if both_ways else (call,), None)
        mark.reported = self._report(call, output, met, None, sums)
        mark.version = _version(output)

    def _await(self, call: Call, output: Tensor, sums: Tensor | None = None) -> None:
        """A call gave what an activation may follow."""
        self._mark(output, (call,), None)
        activated = self._activated.get((call.layer, call.number))
        if activated is None:
            # What is held may be written into before it is known that no activation follows.
            call.output = output.detach().clone()
        elif not activated:
            call.done = True
            self._report(call, output, None, None, sums)

    def _hook_leaf(self, module: nn.Module, undo: Undoing) -> None:
        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            self._in_leaf += self._functions.watched_here()

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if not self._functions.watched_here():
                return
            self._in_leaf -= 1
            mark = self._marks.get(id(output)) if isinstance(output, Tensor) else None
            if mark is not None and mark.activation is not None and not self._in_leaf:
                self._settle(mark, output)

        self._hook(module, before, after, undo)

    def _hook(
        self,
        module: nn.Module,
        before: Callable[..., Any],
        after: Callable[..., Any],
        undo: Undoing,
    ) -> None:
        self._hooks.add(hooked(undo, module, before, before=True).id)
        # Behind an exception, too, which the network may catch.
        self._hooks.add(hooked(undo, module, after, always_call=True).id)


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was written into; None where torch does not count."""
    return None if tensor.is_inference() else tensor._version


def _fits(output: Tensor, call: Call) -> bool:
    axis = call.axis if call.axis >= 0 else output.dim() + call.axis
    return 0 <= axis < output.dim() and output.size(axis) == call.size
