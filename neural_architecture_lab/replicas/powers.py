r"""Powers of e in kernels, line by line.

:math:`e^x = 2^n e^r` with the whole number ``n`` nearest to :math:`x / \ln 2`, and the series of
:math:`e^r`, :math:`|r| \le \ln 2 / 2`, until what is left out is below half of the last place. The
machine's library takes one number at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from structure_net.core.simd import instruction


@dataclass(frozen=True, slots=True)
class _Format:
    """A binary floating-point number.

    Args:
        bits: How many it has.
        digits: Those of the fraction, as stored.
        terms: Of the series, beyond 1.
        coarse: The first bits of ln 2, so that products with exponents are exact.
        fine: What is left of ln 2.
    """

    bits: int
    digits: int
    terms: int
    coarse: float
    fine: float

    @property
    def bias(self) -> int:
        return (1 << (self.bits - self.digits - 2)) - 1

    @property
    def least(self) -> float:
        """Powers of what is smaller are below all normal numbers."""
        return (1 - self.bias) * math.log(2) + 0.5


_FORMATS: Final = {
    "float32": _Format(32, 23, 7, 0.693359375, -2.1219444005469057e-4),
    "float64": _Format(64, 52, 13, float.fromhex("0x1.62e42feep-1"), 1.9082149292705877e-10),
}


@instruction(lambda block: block)
def powers_below(builder: Any, kinds: Any, values: Any) -> Any:
    """``powers_below(block)``: e to the power of each lane, none of which is above 0; NaN stays.

    What is below all normal numbers is 0; the rest is right to one unit in the last place.
    """
    ir, block, x = import_module("llvmlite.ir"), kinds[0], values[0]
    form = _FORMATS[str(block.scalar)]
    whole = ir.VectorType(ir.IntType(form.bits), block.count)

    def each(number: float) -> Any:
        return ir.Constant(block.vector, [number] * block.count)

    def fused(*three: Any) -> Any:
        kind = ir.FunctionType(block.vector, [block.vector] * 3)
        module, called = builder.module, f"llvm.fma.{block.suffix}"
        function = import_module("numba.core.cgutils").get_or_insert_function(module, kind, called)
        return builder.call(function, three)

    small = builder.fcmp_ordered("<", x, each(form.least))
    x = builder.select(small, each(form.least), x)
    # Added to this, a number is rounded to a whole one, which its last bits then are.
    shift = each(1.5 * 2.0**form.digits)
    shifted = fused(x, each(1 / math.log(2)), shift)
    exponent = builder.fsub(shifted, shift)
    rest = fused(exponent, each(-form.coarse), x)
    rest = fused(exponent, each(-form.fine), rest)
    power = each(1 / math.factorial(form.terms))
    for term in range(form.terms - 1, -1, -1):
        power = fused(power, rest, each(1 / math.factorial(term)))
    bias, digits = (ir.Constant(whole, [n] * block.count) for n in (form.bias, form.digits))
    bits = builder.shl(builder.add(builder.bitcast(shifted, whole), bias), digits)
    scaled = builder.fmul(power, builder.bitcast(bits, block.vector))
    return builder.select(small, each(0.0), scaled)


@instruction(lambda first, second: first)
def less(builder: Any, kinds: Any, values: Any) -> Any:
    """``less(first, second)``: the differences of two blocks' lanes."""
    return builder.fsub(*values)


@instruction(lambda first, second: first)
def times(builder: Any, kinds: Any, values: Any) -> Any:
    """``times(first, second)``: the products of two blocks' lanes."""
    return builder.fmul(*values)


@instruction(lambda first, second: first)
def over(builder: Any, kinds: Any, values: Any) -> Any:
    """``over(first, second)``: the quotients of two blocks' lanes."""
    return builder.fdiv(*values)
