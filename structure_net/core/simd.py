"""Vectors in kernels: blocks of neighbouring numbers that one instruction works on.

A block is 1, 2, 4 or 8 lines of 64 bytes: 16 numbers of float32 or 8 of float64 each. LLVM makes
the machine's own registers of it: one of AVX-512 a line, two of AVX2, four of NEON. The functions
here exist in kernels only (`compiling.Instruction`). Sums are taken in one fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, update_wrapper
from importlib import import_module
from inspect import Parameter, Signature, signature
from typing import Any, Final

from structure_net.core.compiling import Instruction

LINE: Final = 64
"""Bytes in a line."""


def _ir() -> Any:
    return import_module("llvmlite.ir")


def _types() -> Any:
    return import_module("numba.core.types")


def instruction(
    result: Callable[..., Any],
) -> Callable[[Callable[[Any, Any, Any], Any]], Instruction]:
    """Declares what writes the machine code of an instruction.

    Args:
        result: The type of what the instruction gives, from those of its arguments; None if
            nothing.

    Returns:
        A decorator of functions that take LLVM's builder, the types, and the values of the
        arguments, and return the value of the result.
    """

    def declare(write: Callable[[Any, Any, Any], Any]) -> Instruction:
        def make() -> Callable[..., Any]:
            def typing(context: Any, *kinds: Any) -> Any:
                given = result(*kinds)

                def code(context: Any, builder: Any, types: Any, values: Any) -> Any:
                    value = write(builder, kinds, values)
                    return context.get_dummy_value() if given is None else value

                return (_types().void if given is None else given)(*kinds), code

            # numba counts arguments by the signature.
            first = Parameter("context", Parameter.POSITIONAL_OR_KEYWORD)
            others = signature(result).parameters.values()
            typing.__signature__ = Signature([first, *others])  # type: ignore[attr-defined]  # read by numba
            return typing

        return Instruction(update_wrapper(make, write))

    return declare


@cache
def _block(scalar: Any, count: int) -> Any:
    """numba's type of ``count`` neighbouring ``scalar``."""
    types, extending = _types(), import_module("numba.extending")

    class Block(types.Type):  # type: ignore[misc, name-defined]  # numba's types have no types
        def __init__(self) -> None:
            super().__init__(name=f"{scalar}x{count}")
            self.scalar, self.count, self.align = scalar, count, scalar.bitwidth // 8
            self.vector = _ir().VectorType(_element(scalar), count)
            self.suffix = f"v{count}f{scalar.bitwidth}"

    class Model(extending.models.PrimitiveModel):  # type: ignore[misc, name-defined]  # the same
        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, kind.vector)

    extending.register_model(Block)(Model)
    return Block()


def _element(scalar: Any) -> Any:
    return _ir().FloatType() if scalar == _types().float32 else _ir().DoubleType()


def block_of(scalar: Any, lines: int) -> Any:
    """numba's type of so many lines of ``scalar``."""
    return _block(scalar, lines * (LINE * 8 // scalar.bitwidth))


@instruction(lambda address: _types().CPointer(_types().int32))
def integers(builder: Any, kinds: Any, values: Any) -> Any:
    """``integers(address)``: what stands there, as int32."""
    return builder.inttoptr(values[0], _ir().IntType(32).as_pointer())


@instruction(lambda address: _types().CPointer(_types().int64))
def longs(builder: Any, kinds: Any, values: Any) -> Any:
    """``longs(address)``: what stands there, as int64."""
    return builder.inttoptr(values[0], _ir().IntType(64).as_pointer())


@instruction(lambda address, like: _types().CPointer(like))
def numbers(builder: Any, kinds: Any, values: Any) -> Any:
    """``numbers(address, like)``: what stands there, as numbers of the type of ``like``."""
    return builder.inttoptr(values[0], _element(kinds[1]).as_pointer())


@instruction(lambda pointer: _types().boolean)
def given(builder: Any, kinds: Any, values: Any) -> Any:
    """``given(pointer)``: whether it is not 0."""
    integer = _ir().IntType(64)
    address = builder.ptrtoint(values[0], integer)
    return builder.icmp_signed("!=", address, _ir().Constant(integer, 0))


@instruction(lambda like: _types().intp)
def lanes(builder: Any, kinds: Any, values: Any) -> Any:
    """``lanes(like)``: how many numbers of the type of ``like`` a line holds."""
    return _ir().Constant(_ir().IntType(64), block_of(kinds[0], 1).count)


def _splat(lines: int) -> Instruction:
    def splat(builder: Any, kinds: Any, values: Any) -> Any:
        return _spread(builder, values[0], block_of(kinds[0], lines).vector)

    splat.__name__ = f"splat{lines}"
    splat.__doc__ = f"``splat{lines}(number)``: so many lines with ``number`` in every lane."
    return instruction(lambda number: block_of(number, lines))(splat)


splat1: Final = _splat(1)
splat2: Final = _splat(2)
splat4: Final = _splat(4)
splat8: Final = _splat(8)


@instruction(lambda number, like: like)
def filled(builder: Any, kinds: Any, values: Any) -> Any:
    """``filled(number, like)``: a block of the type of ``like`` with ``number`` in every lane."""
    return _spread(builder, values[0], kinds[1].vector)


@instruction(lambda pointer, at, like: like)
def load(builder: Any, kinds: Any, values: Any) -> Any:
    """``load(pointer, at, like)``: the block of the type of ``like`` that begins at ``at``."""
    return _loaded(builder, values[0], values[1], kinds[2])


@instruction(lambda pointer, at, block: None)
def store(builder: Any, kinds: Any, values: Any) -> None:
    """``store(pointer, at, block)``: writes the block where it begins at ``at``."""
    _stored(builder, values[0], values[1], (kinds[2], values[2]))


@instruction(lambda pointer, at, like, count: like)
def load_some(builder: Any, kinds: Any, values: Any) -> Any:
    """``load_some(pointer, at, like, count)``: a block whose lanes from ``count`` on are zero."""
    ir, block = _ir(), kinds[2]
    arguments = (
        _place(builder, values[0], values[1], block),
        ir.Constant(ir.IntType(32), block.align),
        _below(builder, values[3], block.count),
        ir.Constant(block.vector, [0.0] * block.count),
    )
    name = f"llvm.masked.load.{block.suffix}.p0{block.suffix}"
    return _call(builder, name, block.vector, arguments)


@instruction(lambda pointer, at, block, count: None)
def store_some(builder: Any, kinds: Any, values: Any) -> None:
    """``store_some(pointer, at, block, count)``: writes the first ``count`` lanes of a block."""
    ir, block = _ir(), kinds[2]
    arguments = (
        values[2],
        _place(builder, values[0], values[1], block),
        ir.Constant(ir.IntType(32), block.align),
        _below(builder, values[3], block.count),
    )
    name = f"llvm.masked.store.{block.suffix}.p0{block.suffix}"
    _call(builder, name, ir.VoidType(), arguments)


@instruction(lambda first, second: first)
def add(builder: Any, kinds: Any, values: Any) -> Any:
    """``add(first, second)``: the sums of two blocks' lanes."""
    return builder.fadd(*values)


@instruction(lambda number, block, sums: block)
def add_product(builder: Any, kinds: Any, values: Any) -> Any:
    """``add_product(number, block, sums)``: ``number * block + sums``, rounded once."""
    factor = _spread(builder, values[0], kinds[1].vector)
    return _fused(builder, (factor, *values[1:]), kinds[1])


@instruction(lambda block, sums: block)
def add_squares(builder: Any, kinds: Any, values: Any) -> Any:
    """``add_squares(block, sums)``: ``block * block + sums``, rounded once."""
    return _fused(builder, (values[0], *values), kinds[0])


@instruction(lambda block, sums: block)
def add_sizes(builder: Any, kinds: Any, values: Any) -> Any:
    """``add_sizes(block, sums)``: ``|block| + sums``."""
    name = f"llvm.fabs.{kinds[0].suffix}"
    return builder.fadd(_call(builder, name, values[0].type, values[:1]), values[1])


@instruction(lambda block, sums: block)
def count_above(builder: Any, kinds: Any, values: Any) -> Any:
    """``count_above(block, sums)``: 1 more in ``sums`` where a lane of ``block`` is above 0."""
    none, one = (_ir().Constant(values[0].type, [n] * kinds[0].count) for n in (0.0, 1.0))
    above = builder.fcmp_ordered(">", values[0], none)
    return builder.fadd(builder.select(above, one, none), values[1])


@instruction(lambda block, least: block)
def smaller(builder: Any, kinds: Any, values: Any) -> Any:
    """``smaller(block, least)``: the smaller ones; those of ``least`` where a lane is NaN."""
    return builder.select(builder.fcmp_ordered("<", *values), *values)


@instruction(lambda block, most: block)
def larger(builder: Any, kinds: Any, values: Any) -> Any:
    """``larger(block, most)``: the larger ones; those of ``most`` where a lane is NaN."""
    return builder.select(builder.fcmp_ordered(">", *values), *values)


@instruction(lambda block, gate: block)
def opened(builder: Any, kinds: Any, values: Any) -> Any:
    """``opened(block, gate)``: 0 where a lane of ``gate`` is not above 0, nor NaN."""
    none = _ir().Constant(values[0].type, [0.0] * kinds[0].count)
    return builder.select(builder.fcmp_ordered("<=", values[1], none), none, values[0])


@instruction(lambda block: block)
def rectified(builder: Any, kinds: Any, values: Any) -> Any:
    """``rectified(block)``: 0 where a lane is below 0; -0 and NaN stay, as in torch's ReLU."""
    none = _ir().Constant(values[0].type, [0.0] * kinds[0].count)
    return builder.select(builder.fcmp_ordered("<", values[0], none), none, values[0])


@instruction(lambda first, second: block_of(first.scalar, 1))
def line_dot(builder: Any, kinds: Any, values: Any) -> Any:
    """``line_dot(first, second)``: the sum over the lines of two blocks' products: a line."""
    line = block_of(kinds[0].scalar, 1)
    sums = None
    for start in range(0, kinds[0].count, line.count):
        places = range(start, start + line.count)
        first, second = (picked(builder, value, value, places) for value in values)
        product = sums is None
        sums = (
            builder.fmul(first, second) if product else _fused(builder, (first, second, sums), line)
        )
    return sums


@instruction(lambda line: line.scalar)
def total(builder: Any, kinds: Any, values: Any) -> Any:
    """``total(line)``: the sum over its lanes."""
    sums, half = values[0], kinds[0].count // 2
    while half:
        low = picked(builder, sums, sums, range(half))
        sums = builder.fadd(low, picked(builder, sums, sums, range(half, 2 * half)))
        half //= 2
    return builder.extract_element(sums, _ir().Constant(_ir().IntType(32), 0))


def _extreme(sign: str, name: str) -> Instruction:
    def extreme(builder: Any, kinds: Any, values: Any) -> Any:
        best, half = values[0], kinds[0].count // 2
        while half:
            low = picked(builder, best, best, range(half))
            high = picked(builder, best, best, range(half, 2 * half))
            best = builder.select(builder.fcmp_ordered(sign, low, high), low, high)
            half //= 2
        return builder.extract_element(best, _ir().Constant(_ir().IntType(32), 0))

    extreme.__name__ = name
    extreme.__doc__ = f"``{name}(line)``: the {name} of its lanes."
    return instruction(lambda line: line.scalar)(extreme)


smallest: Final = _extreme("<", "smallest")
largest: Final = _extreme(">", "largest")


@instruction(lambda read, step, write, stride, like: None)
def transpose_square(builder: Any, kinds: Any, values: Any) -> None:
    """``transpose_square(read, step, write, stride, like)``: turns a square as wide as a line.

    ``read`` and ``write`` are pairs of a pointer and a place; the rows of the one lie ``step``
    apart, those of the other ``stride``.
    """
    like = kinds[4]
    source, place = (builder.extract_value(values[0], part) for part in (0, 1))
    rows = []
    for _ in range(like.count):
        rows.append(_loaded(builder, source, place, like))
        place = builder.add(place, values[1])
    target, place = (builder.extract_value(values[2], part) for part in (0, 1))
    for row in _turned(builder, rows, like.count):
        _stored(builder, target, place, (like, row))
        place = builder.add(place, values[3])


def _loaded(builder: Any, pointer: Any, at: Any, block: Any) -> Any:
    read = builder.load(_place(builder, pointer, at, block))
    read.align = block.align
    return read


def _stored(builder: Any, pointer: Any, at: Any, typed: tuple[Any, Any]) -> None:
    block, value = typed
    builder.store(value, _place(builder, pointer, at, block)).align = block.align


def _place(builder: Any, pointer: Any, at: Any, block: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [at]), block.vector.as_pointer())


def picked(builder: Any, first: Any, second: Any, places: Sequence[int]) -> Any:
    """Code for the entries at ``places`` of ``first`` and ``second`` in a row."""
    ir = _ir()
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), list(places))
    return builder.shuffle_vector(first, second, mask)


def _spread(builder: Any, number: Any, vector: Any) -> Any:
    """``number`` in every lane."""
    ir = _ir()
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    return picked(builder, first, nothing, [0] * vector.count)


def _below(builder: Any, count: Any, width: int) -> Any:
    """Which of ``width`` lanes stand below ``count``."""
    ir = _ir()
    integers = ir.VectorType(ir.IntType(64), width)
    places = ir.Constant(integers, list(range(width)))
    return builder.icmp_signed("<", places, _spread(builder, count, integers))


def _fused(builder: Any, three: tuple[Any, ...], block: Any) -> Any:
    """The first times the second plus the third, rounded once."""
    return _call(builder, f"llvm.fma.{block.suffix}", block.vector, three)


def _call(builder: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    ir, cgutils = _ir(), import_module("numba.core.cgutils")
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _turned(builder: Any, rows: list[Any], lanes: int) -> list[Any]:
    """The columns of a square of ``rows``: blocks of 1, 2, 4, ... change places with each other."""
    step = 1
    while step < lanes:
        for first in range(lanes):
            if first & step:
                continue
            one, other = rows[first], rows[first | step]
            low = [lanes + (p ^ step) if p & step else p for p in range(lanes)]
            high = [lanes + p if p & step else p ^ step for p in range(lanes)]
            rows[first] = picked(builder, one, other, low)
            rows[first | step] = picked(builder, one, other, high)
        step *= 2
    return rows
