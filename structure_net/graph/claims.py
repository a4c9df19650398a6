"""Which integer arguments of PyTorch's functions are sizes of which axes.

A claim is a pair of terms that are equal whatever the sizes: an axis of a result or of an operand,
and what the code passes for it. Functions that are not listed here take their integers as plain
numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from structure_net.graph.tags import term_of
from structure_net.graph.terms import Combined, Constant, Dimension, Term

Claim = tuple[Term, Term]


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a PyTorch function by the model's code.

    Args:
        name: The function's name.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        axes: Takes a tensor argument to its axes.
        results: The axes of each tensor that it returned.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    axes: Callable[[Tensor], tuple[Dimension, ...]]
    results: tuple[tuple[Dimension, ...], ...]

    def argument(self, position: int, *names: str, default: Any = None) -> Any:
        """An argument by its position or by one of its names."""
        if position < len(self.args):
            return self.args[position]
        return next((self.kwargs[name] for name in names if name in self.kwargs), default)

    def operand(self, position: int, *names: str) -> tuple[Dimension, ...]:
        """The axes of a tensor argument; empty if there is none."""
        tensor = self.argument(position, *names)
        return self.axes(tensor) if isinstance(tensor, Tensor) else ()

    def integers(self, position: int, *names: str) -> list[int]:
        """The integers from a position on, whether passed one by one or as one sequence."""
        given = self.argument(position, *names)
        if isinstance(given, Sequence) and not isinstance(given, str):
            return [entry for entry in given if _is_size(entry)]
        return [entry for entry in self.args[position:] if _is_size(entry)]


def claims(call: Invocation) -> list[Claim] | None:
    """What the integer arguments of ``call`` say about sizes; None where they are plain numbers."""
    rule = _RULES.get(call.name)
    known = rule is not None and (call.results or call.name == "__setitem__")
    return list(rule(call)) if rule is not None and known else None


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _sized(axes: Sequence[Dimension], sizes: Sequence[int]) -> Iterator[Claim]:
    if len(axes) == len(sizes):
        yield from (
            (axis, term_of(size)) for axis, size in zip(axes, sizes, strict=True) if size != -1
        )


def _reshaped(call: Invocation) -> Iterator[Claim]:
    return _sized(call.results[0], call.integers(1, "size", "shape"))


def _created(call: Invocation) -> Iterator[Claim]:
    return _sized(call.results[0], call.integers(0, "size"))


def _created_like(call: Invocation) -> Iterator[Claim]:
    return _sized(call.results[0], call.integers(1, "size"))


def _counted(call: Invocation) -> Iterator[Claim]:
    bounds = [entry for entry in call.args if _is_size(entry)]
    if len(bounds) == 1 and len(call.args) == 1 and "step" not in call.kwargs:
        yield call.results[0][0], term_of(bounds[0])


def _unflattened(call: Invocation) -> Iterator[Claim]:
    sizes = call.integers(2, "sizes")
    dim = call.argument(1, "dim") % len(call.operand(0, "input"))
    return _sized(call.results[0][dim : dim + len(sizes)], sizes)


def _split(call: Invocation) -> Iterator[Claim]:
    given = call.argument(1, "split_size", "split_size_or_sections")
    operand = call.operand(0, "tensor", "input", "self")
    dim = call.argument(2, "dim", default=0) % len(operand)
    pieces = [axes[dim] for axes in call.results]
    if isinstance(given, int):
        given = [given] * len(pieces)
    for piece, size in zip(pieces[:-1], given, strict=False):
        yield piece, term_of(size)
    if pieces[-1].size == given[len(pieces) - 1]:
        yield pieces[-1], term_of(given[len(pieces) - 1])
    else:
        yield from _fixed(pieces)


def _chunked(call: Invocation) -> Iterator[Claim]:
    operand = call.operand(0, "input", "self")
    dim = call.argument(2, "dim", default=0) % len(operand)
    pieces = [axes[dim] for axes in call.results]
    if len({piece.size for piece in pieces}) > 1:
        yield from _fixed(pieces)
    else:
        yield from ((piece, pieces[0]) for piece in pieces[1:])


def _halved(call: Invocation) -> Iterator[Claim]:
    operand = call.operand(0, "input")
    dim = call.argument(1, "dim", default=-1) % len(operand)
    yield operand[dim], Combined("*", Constant(2), call.results[0][dim])


def _narrowed(call: Invocation) -> Iterator[Claim]:
    operand = call.operand(0, "input")
    dim = call.argument(1, "dim") % len(operand)
    start, length = call.argument(2, "start"), call.argument(3, "length")
    if isinstance(start, int):
        yield call.results[0][dim], term_of(length)
        yield _prefix(operand[dim], start % operand[dim].size), term_of(start)
    else:
        yield from _fixed([operand[dim]])


def _repeated(call: Invocation) -> Iterator[Claim]:
    counts, operand = call.integers(1, "repeats", "dims"), call.operand(0, "input")
    new = len(call.results[0]) - len(operand)
    if len(counts) != len(call.results[0]):
        yield from _fixed(operand)
        return
    for i, (axis, count) in enumerate(zip(call.results[0], counts, strict=True)):
        if i < new:
            yield axis, term_of(count)
        else:
            yield axis, Combined("*", operand[i - new], term_of(count))


def _interleaved(call: Invocation) -> Iterator[Claim]:
    count, operand = call.argument(1, "repeats"), call.operand(0, "input")
    dim = call.argument(2, "dim")
    if isinstance(count, int) and dim is not None:
        dim %= len(operand)
        yield call.results[0][dim], Combined("*", operand[dim], term_of(count))
    else:
        yield from _fixed(operand if dim is None else [operand[dim % len(operand)]])


def _normalised(call: Invocation) -> Iterator[Claim]:
    sizes, operand = call.integers(1, "normalized_shape"), call.operand(0, "input")
    return _sized(operand[len(operand) - len(sizes) :], sizes)


def _grouped(call: Invocation) -> Iterator[Claim]:
    """The rule gives the number of groups behind the axes of the result."""
    groups, result = call.argument(1, "num_groups"), call.results[0][0]
    yield Dimension(result.source, 1, 0, int(groups)), term_of(groups)


def _convolved(call: Invocation) -> Iterator[Claim]:
    operand, weight = call.operand(0, "input"), call.operand(1, "weight")
    groups = call.argument(6, "groups", default=1)
    channels = operand[len(operand) - len(weight) + 1]
    yield channels, Combined("*", weight[1], term_of(groups))


def _convolved_back(call: Invocation) -> Iterator[Claim]:
    weight, result = call.operand(1, "weight"), call.results[0]
    groups = call.argument(6, "groups", default=1)
    yield result[len(result) - len(weight) + 1], Combined("*", weight[1], term_of(groups))


def _attended(call: Invocation) -> Iterator[Claim]:
    """`multi_head_attention_forward`: heads times their width is the width of the stream.

    The width of a head is in the softmax's scale and stays.
    """
    width, heads = call.argument(3, "embed_dim_to_check"), call.argument(4, "num_heads")
    channels = call.operand(0, "query")[-1]
    yield channels, term_of(width)
    yield channels, Combined("*", term_of(heads), Constant(channels.size // heads))
    for axis in call.operand(11, "out_proj_weight"):
        yield axis, channels
    for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
        for axis in call.operand(len(call.args), name)[:1]:
            yield axis, channels
    for axis in call.operand(5, "in_proj_weight")[:1]:
        yield axis, Combined("*", Constant(3), channels)


def _indexed(call: Invocation) -> Iterator[Claim]:
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    operand = call.operand(0)
    simple = all(i is None or i is ... or _is_size(i) or isinstance(i, slice) for i in index)
    if not simple or call.name == "__setitem__":
        yield from _fixed([axis for axis, _, entry in _walk(index, operand, ()) if _cuts(entry)])
        return
    for axis, result, entry in _walk(index, operand, call.results[0]):
        if isinstance(entry, slice) and result is not None and _cuts(entry):
            yield from _sliced(axis, result, entry)


def _walk(
    index: Sequence[Any], operand: Sequence[Dimension], result: Sequence[Dimension]
) -> Iterator[tuple[Dimension, Dimension | None, Any]]:
    """Each indexed axis, the result's axis that comes from it, and its entry in the index."""
    taken = sum(1 for entry in index if entry is not None and entry is not ...)
    read = write = 0
    for entry in index:
        if entry is None:
            write += 1
        elif entry is ...:
            skipped = len(operand) - taken
            read, write = read + skipped, write + skipped
        else:
            if read >= len(operand):
                return
            kept = isinstance(entry, slice) and write < len(result)
            yield operand[read], result[write] if kept else None, entry
            read, write = read + 1, write + isinstance(entry, slice)


def _cuts(entry: Any) -> bool:
    full = isinstance(entry, slice) and entry.start is None and entry.stop is None
    return not full or entry.step not in (None, 1)


def _sliced(axis: Dimension, result: Dimension, entry: slice) -> Iterator[Claim]:
    bounded = all(bound is None or _is_size(bound) for bound in (entry.start, entry.stop))
    if not bounded or entry.step not in (None, 1):
        yield from _fixed([axis])
        return
    start = Constant(0) if entry.start is None else _bound(axis, entry.start)
    if entry.stop is None or entry.stop > axis.size:
        yield result, _less(axis, start)
        return
    yield result, _less(_bound(axis, entry.stop), start)
    if entry.start:
        yield _prefix(axis, entry.start % axis.size), start


def _less(stop: Term, start: Term) -> Term:
    return stop if start == Constant(0) else Combined("-", stop, start)


def _bound(axis: Dimension, bound: int) -> Term:
    return Combined("+", axis, term_of(bound)) if bound < 0 else term_of(bound)


def _prefix(axis: Dimension, count: int) -> Term:
    if count == 0:
        return Constant(0)
    return Dimension(axis.source, axis.output, axis.dim, axis.size, prefix=int(count))


def _gridded(call: Invocation) -> Iterator[Claim]:
    """The size of an image, of which the channels say nothing about its grid."""
    return _sized(call.results[0][1:-1], call.integers(1, "size")[2:])


def _rearranged(call: Invocation) -> Iterator[Claim]:
    """A sparse layer, which follows its own sizes."""
    return iter(())


def _fixed(axes: Sequence[Dimension]) -> Iterator[Claim]:
    return ((axis, Constant(axis.size)) for axis in axes)


_RULES: Final[dict[str, Callable[[Invocation], Iterator[Claim]]]] = {
    **dict.fromkeys(("view", "reshape", "expand", "broadcast_to"), _reshaped),
    **dict.fromkeys(("zeros", "ones", "empty", "rand", "randn"), _created),
    **dict.fromkeys(("new_zeros", "new_ones", "new_empty"), _created_like),
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalised),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolved),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _convolved_back),
    **dict.fromkeys(("repeat", "tile"), _repeated),
    **dict.fromkeys(("split", "split_with_sizes"), _split),
    **dict.fromkeys(("__getitem__", "__setitem__"), _indexed),
    "affine_grid": _gridded,
    "leaf": _rearranged,
    "arange": _counted,
    "unflatten": _unflattened,
    "chunk": _chunked,
    "glu": _halved,
    "narrow": _narrowed,
    "repeat_interleave": _interleaved,
    "group_norm": _grouped,
    "multi_head_attention_forward": _attended,
}
