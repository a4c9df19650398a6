"""The walk over an exported program: each operation is handed to its rule, subprograms are walked
in place."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core.sparsity import SparseLayer
from structure_net.graph.attributes import Seen, TracedNode, requirements
from structure_net.graph.ledger import Axes, Dim, Ledger, Norm, Step
from structure_net.graph.liveness import WRAPPERS, live_tensors, operation_of, strip
from structure_net.graph.modes import add_training, beside, branches, distrust, idle_tensors
from structure_net.graph.recording import Recording, measured_calls
from structure_net.graph.rules import RULES, Call, Operand, unknown
from structure_net.graph.rules.handwritten import PENDING, abandon, recognise
from structure_net.graph.sizes import axis, freeze, leaves, size_of

Value = Operand | tuple[Operand, ...] | None

Exported = tuple[Any, Recording]
"""A program, and the integers of the model's code that were recorded meanwhile."""


def walk(model: nn.Module, evaluated: Exported, trained: Callable[[], Exported | None]) -> Ledger:
    """The ledger of a model.

    Args:
        model: The model.
        evaluated: Its program in evaluation mode.
        trained: Exports it in training mode, None where that fails; called where that program may
            hold more than the other.
    """
    ledger = Ledger()
    live = live_tensors(evaluated[0])
    seen = [_followed(model, evaluated, ledger)]
    idle = idle_tensors(model, ledger, live)
    other = trained() if idle or branches(model) else None
    if other is not None:
        beyond = beside(ledger)
        seen.append(_followed(model, other, beyond))
        add_training(ledger, beyond)
    elif idle:
        distrust(model, ledger, idle)
    _require(model, ledger, seen)
    _close(ledger)
    return ledger


def _followed(model: nn.Module, exported: Exported, ledger: Ledger) -> Seen:
    program, record = exported
    strip(program, measured_calls(record))
    walker = _Walker(program, model, ledger)
    walker.run(program.graph_module, None)
    return record, walker.traced


class _Walker:
    """The state of one walk: what every node of the program stands for."""

    def __init__(self, program: Any, model: nn.Module, ledger: Ledger) -> None:
        self.ledger = ledger
        self.values: dict[Any, Value] = {}
        self.traced: list[TracedNode] = []
        self.model = model
        self.names = _canonical(model)
        for name, first in self.names.items():
            known = self.ledger.aliases.get(first, ())
            self.ledger.aliases[first] = known if name in known else (*known, name)
        signature = program.graph_signature
        self.inputs = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.constants = dict(signature.inputs_to_lifted_tensor_constants)
        self.mutated = dict(signature.buffers_to_mutate)
        for name, module in model.named_modules():
            within = any(name.startswith(f"{leaf}.") for leaf in ledger.leaves)
            if isinstance(module, SparseLayer) and not within and name not in ledger.leaves:
                self._add_leaf(name, module)

    def _add_leaf(self, name: str, layer: SparseLayer) -> None:
        self.ledger.tensors[name] = (axis(layer.out_channels), axis(layer.in_channels))
        self.ledger.leaves.add(name)

    def run(self, graph_module: Any, inputs: Sequence[Value] | None) -> Sequence[Value]:
        """Walks over one (sub)program; returns what it returns."""
        given = iter(inputs or ())
        for node in graph_module.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._placeholder(node) if inputs is None else next(given)
            elif node.op == "call_function":
                self.values[node] = self._call(node, graph_module)
            elif node.op == "output":
                return self._output(node, top=inputs is None)
        return ()

    def _placeholder(self, node: Any) -> Value:
        tensor = node.meta.get("val")
        if not isinstance(tensor, Tensor) or not node.users:
            return None
        target = self.inputs.get(node.name)
        if target is not None:
            return self._parameter(node, self.names.get(target, target), tensor)
        reason = "a constant of the code" if node.name in self.constants else "the model's input"
        axes = tuple(Dim(axis(int(size), reason)) for size in tensor.shape)
        return self._record(Step(node.name, "input", (), (axes,), ""), (tensor,))[0]

    def _parameter(self, node: Any, name: str, tensor: Tensor) -> Operand:
        ledger = self.ledger
        if name not in ledger.tensors:
            ledger.tensors[name] = tuple(axis(int(size)) for size in tensor.shape)
            if isinstance(tensor, nn.Parameter) or node.name in self._parameters():
                ledger.trainable.add(name)
            if not tensor.dtype.is_floating_point:
                ledger.integers.add(name)
        axes = tuple(Dim(expr, ((name, i),)) for i, expr in enumerate(ledger.tensors[name]))
        ledger.parameter_steps[len(ledger.steps)] = name
        return self._record(Step(node.name, "parameter", (), (axes,), ""), (tensor,), name=name)[0]

    def _parameters(self) -> Mapping[str, str]:
        parameters = dict(self.model.named_parameters(remove_duplicate=False))
        return {node: name for node, name in self.inputs.items() if name in parameters}

    def _record(self, step: Step, tensors: Sequence[Tensor], **marks: Any) -> tuple[Operand, ...]:
        """Appends a step; its results as operands of later ones."""
        index = len(self.ledger.steps)
        self.ledger.steps.append(step)
        return tuple(
            Operand(index, axes, _shape(tensor), tensor.dtype == torch.bool, **marks)
            for axes, tensor in zip(step.outputs, tensors, strict=True)
        )

    def _call(self, node: Any, graph_module: Any) -> Value:
        if node.target is operator.getitem:
            return self._item(node)
        operation = operation_of(node.target)
        if operation in WRAPPERS:
            return self._subprogram(node, graph_module, WRAPPERS[operation])
        tensors = _tensors(node.meta.get("val"))
        if not tensors:
            return None
        call = Call(
            self.ledger,
            operation,
            {name: self._argument(value) for name, value in _arguments(node).items()},
            shapes=[_shape(tensor) for tensor in tensors],
            module=_module(node),
        )
        users = (user for user in node.users if user.target is operator.getitem and user.users)
        call.read = frozenset(user.args[1] for user in users)
        outputs = self._apply(call, tensors)
        exprs = tuple(tuple(dim.expr for dim in axes) for axes in outputs)
        self.traced.append(TracedNode(node, (*exprs, call.counts), _module(node)))
        steps = tuple(operand.step for operand in call.operands)
        numbers = tuple(float(v) for v in call.arguments.values() if isinstance(v, (int, float)))
        results = self._record(
            Step(node.name, operation, steps, outputs, call.module, numbers), tensors, tag=call.tag
        )
        self._mutate(node, results)
        return results[0] if isinstance(node.meta["val"], Tensor) else results

    def _apply(self, call: Call, tensors: Sequence[Tensor]) -> tuple[Axes, ...]:
        axes: Axes | list[Axes] | None = None
        if all(isinstance(size, int) for tensor in tensors for size in tensor.shape):
            axes = recognise(call)
            if axes is None:
                abandon(call)
                axes = RULES.get(call.operation, unknown)(call)
        else:
            axes = unknown(call)
        outputs = tuple(axes) if isinstance(axes, list) else (axes,)
        return outputs if _fits(outputs, tensors) else tuple(unknown(call))

    def _item(self, node: Any) -> Value:
        source, index = node.args
        value = self.values.get(source)
        return value[index] if isinstance(value, tuple) else value

    def _subprogram(self, node: Any, graph_module: Any, position: int) -> Value:
        inner = getattr(graph_module, node.args[position].target)
        results = self.run(inner, [self.values.get(arg) for arg in node.args[position + 1 :]])
        return tuple(r for r in results if isinstance(r, Operand))

    def _argument(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            return self.values.get(value)
        if isinstance(value, (list, tuple)):
            return [self._argument(v) for v in value]
        return value

    def _mutate(self, node: Any, results: tuple[Operand, ...]) -> None:
        """An operation in place gives its first argument's node a new value."""
        if _in_place(node.target) and node.args and node.args[0] in self.values and results:
            self.ledger.in_place.add(results[0].step)

    def _output(self, node: Any, *, top: bool) -> Sequence[Value]:
        values = [
            self.values.get(arg) if isinstance(arg, torch.fx.Node) else None for arg in node.args[0]
        ]
        if top:
            for arg, value in zip(node.args[0], values, strict=True):
                if isinstance(value, Operand):
                    self._close_output(str(arg), value)
        return values

    def _close_output(self, name: str, value: Operand) -> None:
        buffer = self.mutated.get(name)
        reason = (
            "the model's output"
            if buffer is None
            else f"the buffer '{buffer}', which the forward pass writes"
        )
        if buffer is None:
            self.ledger.results.add(value.step)
        for dim in value.axes:
            freeze(dim.expr, reason)
        tag = value.tag
        if tag is not None and tag.norm is not None:
            self.ledger.bare_norms.add(tag.norm)
        if tag is not None and tag.stage in PENDING:
            self.ledger.norms.append(
                Norm("mixing", tag.expr, tag.source, tag.source, "", lost=tag.lost)
            )


def _require(model: nn.Module, ledger: Ledger, seen: Sequence[Seen]) -> None:
    """Fixes what the model's own integers do not allow to change."""
    needs = requirements(model, seen, ledger.tensors)
    ledger.requirements = needs
    stored = (var for exprs in ledger.tensors.values() for e in exprs for var in leaves(e))
    for var in dict.fromkeys(stored):
        trials = (var.size + 1, var.size + 2, 2 * var.size, max(var.size - 1, 2))
        found = (needs.objection({var: size}) for size in trials if not var.reasons)
        objection = next((why for why in found if why is not None), None)
        if objection is not None:
            freeze(var, objection)


def _close(ledger: Ledger) -> None:
    """Fixes what no operation explained."""
    for name, exprs in ledger.tensors.items():
        for i, expr in enumerate(exprs):
            if not ledger.uses.get((name, i)):
                why = f"the axis {i} of '{name}', whose part in the computation is unknown"
                freeze(expr, why)


def _canonical(model: nn.Module) -> dict[str, str]:
    """Every name of a parameter or buffer, and the first name of the same tensor."""
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    tensors.update(dict(model.named_buffers(remove_duplicate=False)))
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}


def _in_place(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    return bool(schema and schema.is_mutable)


def _arguments(node: Any) -> dict[str, Any]:
    """Arguments by name, defaults filled in."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {str(i): arg for i, arg in enumerate(node.args)} | dict(node.kwargs)
    out = {}
    for i, argument in enumerate(schema.arguments):
        default = argument.default_value if argument.has_default_value() else None
        out[argument.name] = (
            node.args[i] if i < len(node.args) else node.kwargs.get(argument.name, default)
        )
    return out


def _module(node: Any) -> str:
    """The dotted name of the innermost module that runs a node."""
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]).partition("@")[0] if stack else ""


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)) and all(isinstance(v, Tensor) for v in value):
        return list(value)
    return []


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(int(size) for size in tensor.shape)


def _fits(outputs: tuple[Axes, ...], tensors: Sequence[Tensor]) -> bool:
    return len(outputs) == len(tensors) and all(
        tuple(size_of(dim.expr) for dim in axes) == _shape(tensor)
        for axes, tensor in zip(outputs, tensors, strict=True)
    )
