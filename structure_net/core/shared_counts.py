"""Counts that several threads share in kernels: what is written before a count is seen after it.

The functions here exist in kernels only (`compiling.Instruction`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from structure_net.core.simd import instruction


def _ir() -> Any:
    return import_module("llvmlite.ir")


def _integer() -> Any:
    return import_module("numba.core.types").int64


@instruction(lambda address, number: _integer())
def count_up(builder: Any, kinds: Any, values: Any) -> Any:
    """``count_up(address, number)``: adds to the int64 there, as one step; what it was before."""
    place = builder.inttoptr(values[0], _ir().IntType(64).as_pointer())
    return builder.atomic_rmw("add", place, values[1], "acq_rel")


@instruction(lambda address: _integer())
def counted(builder: Any, kinds: Any, values: Any) -> Any:
    """``counted(address)``: the int64 there, and with it what others wrote before they counted."""
    place = builder.inttoptr(values[0], _ir().IntType(64).as_pointer())
    return builder.load_atomic(place, "acquire", 8)


@instruction(lambda: None)
def pause(builder: Any, kinds: Any, values: Any) -> None:
    """``pause()``: leaves the core to its other half for a moment, where the processor can."""
    if str(builder.module.triple).startswith(("x86_64", "i386", "i686")):
        cgutils = import_module("numba.core.cgutils")
        kind = _ir().FunctionType(_ir().VoidType(), [])
        builder.call(
            cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), ()
        )
