"""Vectors in kernels: blocks of neighbouring numbers that one instruction works on.

A block is 1, 2, 4 or 8 lines of 64 bytes: 16 numbers of float32 or 8 of float64 each. LLVM makes
the machine's own registers of it: one of AVX-512 a line, two of AVX2, four of NEON. The functions
here exist in kernels only (`compiling.Instruction`). Sums are taken in one fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final

from structure_net.core.compiling import Instruction

LINE: Final = 64
"""Bytes in a line."""

_Typing = Callable[..., Any]


def _ir() -> Any:
    return import_module("llvmlite.ir")


def _numba_types() -> Any:
    return import_module("numba.core.types")


@cache
def _block(scalar: Any, count: int) -> Any:
    """numba's type of ``count`` neighbouring ``scalar``."""
    ir = _ir()
    types = _numba_types()
    extending: Any = import_module("numba.extending")
    element = ir.FloatType() if scalar == types.float32 else ir.DoubleType()

    class Block(types.Type):  # type: ignore[misc, name-defined]  # numba's types have no types
        def __init__(self) -> None:
            super().__init__(name=f"{scalar}x{count}")
            self.scalar, self.count = scalar, count

    class Model(extending.models.PrimitiveModel):  # type: ignore[misc]  # the same
        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, ir.VectorType(element, count))

    extending.register_model(Block)(Model)
    return Block()


def _lines(scalar: Any, lines: int) -> Any:
    return _block(scalar, lines * (LINE * 8 // scalar.bitwidth))


def _vector(kind: Any) -> Any:
    ir = _ir()
    types = _numba_types()

    element = ir.FloatType() if kind.scalar == types.float32 else ir.DoubleType()
    return ir.VectorType(element, kind.count)


def _suffix(kind: Any) -> str:
    return f"v{kind.count}f{kind.scalar.bitwidth}"


def _picked(builder: Any, first: Any, second: Any, places: Sequence[int]) -> Any:
    """The entries at ``places`` of ``first`` and ``second`` in a row."""
    ir = _ir()

    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), list(places))
    return builder.shuffle_vector(first, second, mask)


def _place(builder: Any, pointer: Any, at: Any, vector: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())


def _spread(builder: Any, number: Any, vector: Any) -> Any:
    """``number`` in every lane."""
    ir = _ir()

    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    return _picked(builder, first, nothing, [0] * vector.count)


def _below(builder: Any, count: Any, lanes: int) -> Any:
    """Which lanes stand below ``count``."""
    ir = _ir()

    integers = ir.VectorType(ir.IntType(64), lanes)
    return builder.icmp_signed(
        "<", ir.Constant(integers, list(range(lanes))), _spread(builder, count, integers)
    )


def _call(builder: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    ir = _ir()
    cgutils: Any = import_module("numba.core.cgutils")

    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _fused(builder: Any, first: Any, second: Any, third: Any, kind: Any) -> Any:
    name = f"llvm.fma.{_suffix(kind)}"
    return _call(builder, name, first.type, (first, second, third))


@Instruction
def integers() -> _Typing:
    """``integers(address)``: what stands there, as int32."""
    types = _numba_types()

    def typing(context: Any, address: Any) -> Any:
        kind = types.CPointer(types.int32)

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(kind))

        return kind(address), code

    return typing


@Instruction
def numbers() -> _Typing:
    """``numbers(address, like)``: what stands there, as numbers of the type of ``like``."""
    types = _numba_types()

    def typing(context: Any, address: Any, like: Any) -> Any:
        kind = types.CPointer(like)

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(kind))

        return kind(address, like), code

    return typing


@Instruction
def given() -> _Typing:
    """``given(address)``: whether it is not 0."""
    types = _numba_types()

    def typing(context: Any, pointer: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            ir = _ir()

            address = builder.ptrtoint(args[0], ir.IntType(64))
            return builder.icmp_signed("!=", address, ir.Constant(ir.IntType(64), 0))

        return types.boolean(pointer), code

    return typing


@Instruction
def lanes() -> _Typing:
    """``lanes(like)``: how many numbers of the type of ``like`` a line holds."""
    types = _numba_types()

    def typing(context: Any, like: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.get_constant(types.intp, _lines(like, 1).count)

        return types.intp(like), code

    return typing


def _splat(lines: int) -> Instruction:
    def make() -> _Typing:
        def typing(context: Any, number: Any) -> Any:
            kind = _lines(number, lines)

            def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return _spread(builder, args[0], _vector(kind))

            return kind(number), code

        return typing

    make.__name__ = f"splat{lines}"
    return Instruction(make)


splat1: Final = _splat(1)
splat2: Final = _splat(2)
splat4: Final = _splat(4)
splat8: Final = _splat(8)


@Instruction
def filled() -> _Typing:
    """``filled(number, like)``: a block of the type of ``like`` with ``number`` in every lane."""

    def typing(context: Any, number: Any, like: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _spread(builder, args[0], _vector(like))

        return like(number, like), code

    return typing


@Instruction
def load() -> _Typing:
    """``load(pointer, at, like)``: the block of the type of ``like`` that begins at ``at``."""

    def typing(context: Any, pointer: Any, at: Any, like: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            read = builder.load(_place(builder, args[0], args[1], _vector(like)))
            read.align = like.scalar.bitwidth // 8
            return read

        return like(pointer, at, like), code

    return typing


@Instruction
def store() -> _Typing:
    """``store(pointer, at, block)``: writes the block where it begins at ``at``."""
    types = _numba_types()

    def typing(context: Any, pointer: Any, at: Any, block: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            written = builder.store(args[2], _place(builder, args[0], args[1], _vector(block)))
            written.align = block.scalar.bitwidth // 8
            return context.get_dummy_value()

        return types.void(pointer, at, block), code

    return typing


@Instruction
def load_some() -> _Typing:
    """``load_some(pointer, at, like, count)``: a block whose lanes from ``count`` on are zero."""

    def typing(context: Any, pointer: Any, at: Any, like: Any, count: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            ir = _ir()

            vector = _vector(like)
            name = f"llvm.masked.load.{_suffix(like)}.p0{_suffix(like)}"
            return _call(
                builder,
                name,
                vector,
                (
                    _place(builder, args[0], args[1], vector),
                    ir.Constant(ir.IntType(32), like.scalar.bitwidth // 8),
                    _below(builder, args[3], like.count),
                    ir.Constant(vector, [0.0] * like.count),
                ),
            )

        return like(pointer, at, like, count), code

    return typing


@Instruction
def store_some() -> _Typing:
    """``store_some(pointer, at, block, count)``: writes the first ``count`` lanes of a block."""
    types = _numba_types()

    def typing(context: Any, pointer: Any, at: Any, block: Any, count: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            ir = _ir()

            name = f"llvm.masked.store.{_suffix(block)}.p0{_suffix(block)}"
            _call(
                builder,
                name,
                ir.VoidType(),
                (
                    args[2],
                    _place(builder, args[0], args[1], _vector(block)),
                    ir.Constant(ir.IntType(32), block.scalar.bitwidth // 8),
                    _below(builder, args[3], block.count),
                ),
            )
            return context.get_dummy_value()

        return types.void(pointer, at, block, count), code

    return typing


@Instruction
def add_product() -> _Typing:
    """``add_product(number, block, sums)``: ``number * block + sums``, rounded once."""

    def typing(context: Any, number: Any, block: Any, sums: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            factor = _spread(builder, args[0], _vector(block))
            return _fused(builder, factor, args[1], args[2], block)

        return block(number, block, sums), code

    return typing


@Instruction
def add() -> _Typing:
    """``add(first, second)``: the sums of two blocks' lanes."""

    def typing(context: Any, first: Any, second: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.fadd(args[0], args[1])

        return first(first, second), code

    return typing


@Instruction
def line_dot() -> _Typing:
    """``line_dot(first, second)``: the sum over the lines of the products of two blocks: a line."""

    def typing(context: Any, first: Any, second: Any) -> Any:
        kind = _lines(first.scalar, 1)

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums = None
            for start in range(0, first.count, kind.count):
                places = range(start, start + kind.count)
                one = _picked(builder, args[0], args[0], places)
                other = _picked(builder, args[1], args[1], places)
                sums = (
                    builder.fmul(one, other)
                    if sums is None
                    else _fused(builder, one, other, sums, kind)
                )
            return sums

        return kind(first, second), code

    return typing


@Instruction
def total() -> _Typing:
    """``total(line)``: the sum over its lanes."""

    def typing(context: Any, line: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            ir = _ir()

            sums, half = args[0], line.count // 2
            while half:
                low = _picked(builder, sums, sums, range(half))
                sums = builder.fadd(low, _picked(builder, sums, sums, range(half, 2 * half)))
                half //= 2
            return builder.extract_element(sums, ir.Constant(ir.IntType(32), 0))

        return line.scalar(line), code

    return typing


@Instruction
def totals() -> _Typing:
    """``totals(a, b, c, d)``: the sums over the lanes of four lines: a tuple of four numbers."""
    types = _numba_types()

    def typing(context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        kind = types.UniTuple(a.scalar, 4)

        def halved(builder: Any, one: Any, other: Any, width: int, step: int) -> Any:
            """Sums of neighbours ``step`` apart in ``one`` beside those in ``other``."""
            low = [p for p in range(width) if not p & step]
            low += [width + p for p in low]
            first = _picked(builder, one, other, low)
            return builder.fadd(first, _picked(builder, one, other, [p + step for p in low]))

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            ir = _ir()

            pair = halved(builder, args[0], args[1], a.count, 1)
            other = halved(builder, args[2], args[3], a.count, 1)
            four = halved(builder, pair, other, a.count, 1)
            # Lanes are now in four runs, one of each argument.
            size = a.count // 4
            while size > 1:
                size //= 2
                low = [2 * size * run + lane for run in range(4) for lane in range(size)]
                high = [place + size for place in low]
                four = builder.fadd(
                    _picked(builder, four, four, low), _picked(builder, four, four, high)
                )
            sums = [
                builder.extract_element(four, ir.Constant(ir.IntType(32), lane))
                for lane in range(4)
            ]
            return context.make_tuple(builder, kind, sums)

        return kind(a, b, c, d), code

    return typing


@Instruction
def transpose_square() -> _Typing:
    """``transpose_square(read, step, write, stride, like)``: turns a square as wide as a line.

    ``read`` and ``write`` are pairs of a pointer and a place; the rows of the one lie ``step``
    apart, those of the other ``stride``.
    """
    types = _numba_types()

    def typing(context: Any, read: Any, step: Any, write: Any, stride: Any, like: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector, align = _vector(like), like.scalar.bitwidth // 8
            source, place = (builder.extract_value(args[0], part) for part in (0, 1))
            rows = []
            for _ in range(like.count):
                rows.append(builder.load(_place(builder, source, place, vector)))
                rows[-1].align = align
                place = builder.add(place, args[1])
            target, place = (builder.extract_value(args[2], part) for part in (0, 1))
            for row in _turned(builder, rows, like.count):
                builder.store(row, _place(builder, target, place, vector)).align = align
                place = builder.add(place, args[3])
            return context.get_dummy_value()

        return types.void(read, step, write, stride, like), code

    return typing


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
            rows[first] = _picked(builder, one, other, low)
            rows[first | step] = _picked(builder, one, other, high)
        step *= 2
    return rows
