"""Kernels that call kernels by their address, so that each is compiled once.

What a kernel calls by name becomes part of it, and is compiled again in each. A kernel that is made
of large ones takes their addresses as arguments instead.
"""

from __future__ import annotations

from importlib import import_module
from inspect import Parameter, Signature
from typing import Any

from structure_net.core.compiling import Instruction, TypedKernel


def address_of(kernel: TypedKernel[Any], kind: str) -> int:
    """Where a kernel stands in memory, for `call_kernel`; it is compiled now if it was not yet.

    Args:
        kernel: Returns nothing, and is kept by its module.
        kind: Which of its types: ``"float32"`` or ``"float64"``.
    """
    dispatcher = kernel.of(kind).dispatcher
    (compiled,) = dispatcher.overloads.values()
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def _make_call() -> Any:
    types = import_module("numba.core.types")

    def typing(context: Any, address: Any, *kinds: Any) -> Any:
        return types.void(address, *kinds), _write

    # numba counts arguments by the signature.
    names = ("context", "address", "a", "b", "c", "d", "e")
    places = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    typing.__signature__ = Signature(places)  # type: ignore[attr-defined]  # read by numba
    return typing


_make_call.__name__ = "call_kernel"
_make_call.__doc__ = """``call_kernel(address, a, b, c, d, e)``: calls the kernel at ``address``.

The arguments are numbers, and tuples of numbers, of exactly the types that it is declared with.
"""
call_kernel = Instruction(_make_call)


def _write(context: Any, builder: Any, types: Any, values: Any) -> Any:
    """Calls as numba's own functions call each other: places for result and exception come first,
    and tuples lie flat."""
    ir, cgutils = import_module("llvmlite.ir"), import_module("numba.core.cgutils")
    nothing = ir.IntType(8).as_pointer()
    places = [cgutils.alloca_once_value(builder, ir.Constant(nothing, None)) for _ in range(2)]
    flat = [number for value in values[1:] for number in _numbers(builder, value)]
    arguments = [*places, *flat]
    kind = ir.FunctionType(ir.IntType(32), [one.type for one in arguments])
    builder.call(builder.inttoptr(values[0], kind.as_pointer()), arguments)
    return context.get_dummy_value()


def _numbers(builder: Any, value: Any) -> list[Any]:
    """The numbers of a tuple, or the number itself."""
    if not hasattr(value.type, "elements"):
        return [value]
    return [builder.extract_value(value, place) for place in range(len(value.type.elements))]
