"""Sums and extrema over the lanes of many lines at once, in kernels: as `simd.total` has them.

Lines wait in a room on the stack until there are as many of them as a line has lanes. Then halves
change places between pairs of them, and one addition does for both: a sum costs a line's work.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from structure_net.core.simd import LINE, block_of, instruction, picked

FAR: Final = 12
"""Weights from the one at work to the one whose line is fetched: measured."""


def _types() -> Any:
    return import_module("numba.core.types")


def _ir() -> Any:
    return import_module("llvmlite.ir")


@instruction(lambda like: _types().intp)
def width(builder: Any, kinds: Any, values: Any) -> Any:
    """``width(like)``: how many numbers of the type of those in the block ``like`` a line holds."""
    return _ir().Constant(_ir().IntType(64), block_of(kinds[0].scalar, 1).count)


@instruction(lambda like: _types().CPointer(like.scalar))
def room(builder: Any, kinds: Any, values: Any) -> Any:
    """``room(like)``: memory for `width` lines of the type of ``like``, until the kernel ends."""
    line, cgutils = block_of(kinds[0].scalar, 1), import_module("numba.core.cgutils")
    memory = cgutils.alloca_once(builder, _ir().ArrayType(line.vector, line.count))
    return builder.bitcast(memory, line.vector.element.as_pointer())


@instruction(lambda lines, like: block_of(like.scalar, 1))
def sums_of(builder: Any, kinds: Any, values: Any) -> Any:
    """``sums_of(lines, like)``: a line with the sums of those in a `room`, of the type of ``like``.

    The sum of each depends on its own numbers only.
    """
    return _each(builder, kinds, values, builder.fadd)


@instruction(lambda lines, like: block_of(like.scalar, 1))
def least_of(builder: Any, kinds: Any, values: Any) -> Any:
    """``least_of(lines, like)``: the same of the least number in each line."""
    return _each(builder, kinds, values, _chooser(builder, "<"))


@instruction(lambda lines, like: block_of(like.scalar, 1))
def most_of(builder: Any, kinds: Any, values: Any) -> Any:
    """``most_of(lines, like)``: the same of the largest number in each line."""
    return _each(builder, kinds, values, _chooser(builder, ">"))


@instruction(lambda pointer, at, like: None)
def fetch(builder: Any, kinds: Any, values: Any) -> None:
    """``fetch(pointer, at, like)``: has the block that begins at ``at`` brought to the cache."""
    ir, cgutils = _ir(), import_module("numba.core.cgutils")
    byte, whole, one = (ir.IntType(size) for size in (8, 32, 64))
    kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), whole, whole, whole])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    first = builder.bitcast(builder.gep(values[0], [values[1]]), byte.as_pointer())
    for start in range(0, kinds[2].count * kinds[2].scalar.bitwidth // 8, LINE):
        place = builder.gep(first, [ir.Constant(one, start)])
        # To read, soon, as data.
        builder.call(function, [place, *(ir.Constant(whole, number) for number in (0, 3, 1))])


def _chooser(builder: Any, sign: str) -> Callable[[Any, Any], Any]:
    def choose(first: Any, second: Any) -> Any:
        return builder.select(builder.fcmp_ordered(sign, first, second), first, second)

    return choose


def _each(builder: Any, kinds: Any, values: Any, join: Callable[[Any, Any], Any]) -> Any:
    """A line with what ``join`` makes of the lanes of each line in a room."""
    line = block_of(kinds[1].scalar, 1)
    start = builder.bitcast(values[0], line.vector.as_pointer())
    places = [_ir().Constant(_ir().IntType(64), place) for place in range(line.count)]
    lines, half = [builder.load(builder.gep(start, [place])) for place in places], line.count // 2
    while half:
        pairs = zip(lines[: len(lines) // 2], lines[len(lines) // 2 :], strict=True)
        lines = [join(*_halves(builder, pair, half)) for pair in pairs]
        half //= 2
    return lines[0]


def _halves(builder: Any, pair: tuple[Any, Any], half: int) -> tuple[Any, Any]:
    """Lanes without the bit ``half``: of the first, each beside the one ``half`` further on. Those
    with it: the same of the second."""
    width = pair[0].type.count
    own = [lane + width if lane & half else lane for lane in range(width)]
    other = [place ^ half for place in own]
    first, second = (picked(builder, *pair, places) for places in (own, other))
    return first, second
