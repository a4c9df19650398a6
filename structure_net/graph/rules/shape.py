"""Operations that move, cut, join or repeat axes."""

from __future__ import annotations

from collections.abc import Sequence

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import SIZE_ONE, Call, Operand
from structure_net.graph.rules.elementwise import parametric
from structure_net.graph.rules.registry import rule, unknown
from structure_net.graph.sizes import Expr, Prod, Sum, axis, resolve

SPACE = "over the space of which it works"
PICKS = "which picks positions by number"


def _origins(dims: Sequence[Dim]) -> tuple[tuple[str, int], ...]:
    return tuple(dict.fromkeys(origin for dim in dims for origin in dim.origins))


def _first(call: Call) -> Operand:
    return call.operands[0]


def _replaced(axes: Axes, dim: int, new: Dim) -> Axes:
    return (*axes[:dim], new, *axes[dim + 1 :])


@rule(
    "view",
    "reshape",
    "flatten",
    "unflatten",
    "_unsafe_view",
    "view_as",
    "reshape_as",
    "_reshape_alias",
)
def reshape(call: Call) -> Axes:
    """Row-major regrouping: runs of axes with the same number of entries are the same product."""
    x = _first(call)
    asked = call["size"] or call["shape"]
    asked = asked if isinstance(asked, (list, tuple)) and len(asked) == len(call.shape) else None
    return regroup(call, x, call.shape, asked)


def regroup(
    call: Call, x: Operand, shape: Sequence[int], asked: Sequence[int] | None = None
) -> Axes:
    """The axes of ``x`` seen in another shape; ``asked`` tells inferred sizes (-1) from given
    ones."""
    out = [SIZE_ONE] * len(shape)
    old = [i for i, size in enumerate(x.shape) if size != 1]
    new = [i for i, size in enumerate(shape) if size != 1]
    for sources, targets in _runs(x.shape, shape, old, new):
        dims = [x.axes[i] for i in sources]
        whole = Prod(tuple(dim.expr for dim in dims))
        if len(targets) == 1:
            out[targets[0]] = dims[0] if len(dims) == 1 else Dim(whole, _origins(dims))
            continue
        parts = [axis(shape[i], given=asked is None or asked[i] != -1) for i in targets]
        call.unify(whole, Prod(tuple(parts)))
        for i, part in zip(targets, parts, strict=True):
            out[i] = Dim(part, _origins(dims))
    return tuple(out)


def _runs(
    old_shape: Sequence[int], new_shape: Sequence[int], old: list[int], new: list[int]
) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of old and new axes that hold equally many entries."""
    runs, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        left, right = old_shape[old[i]], new_shape[new[j]]
        a, b = [old[i]], [new[j]]
        i, j = i + 1, j + 1
        while left != right:
            if left < right:
                left *= old_shape[old[i]]
                a.append(old[i])
                i += 1
            else:
                right *= new_shape[new[j]]
                b.append(new[j])
                j += 1
        runs.append((a, b))
    return runs


@rule("permute")
def permute(call: Call) -> Axes:
    """The axes in another order."""
    x = _first(call)
    return tuple(x.axes[dim] for dim in call["dims"])


@rule("transpose", "swapaxes", "t", "numpy_T", "mT", "adjoint", "matrix_H", "transpose_copy")
def transpose(call: Call) -> Axes:
    """Two axes change places."""
    x = _first(call)
    axes = list(x.axes)
    if call.operation in ("t", "numpy_T"):
        return tuple(reversed(axes))
    names = ("axis0", "axis1") if call.operation == "swapaxes" else ("dim0", "dim1")
    i, j = (-2, -1) if call[names[0]] is None else (call[name] for name in names)
    axes[i], axes[j] = axes[j], axes[i]
    return tuple(axes)


@rule("movedim", "moveaxis")
def movedim(call: Call) -> Axes:
    """Some axes move to other places."""
    x = _first(call)
    sources = [call.dim(d, x.dims) for d in _listed(call["source"])]
    targets = [call.dim(d, x.dims) for d in _listed(call["destination"])]
    rest = iter(i for i in range(x.dims) if i not in sources)
    places = dict(zip(targets, sources, strict=True))
    return tuple(x.axes[places[i] if i in places else next(rest)] for i in range(x.dims))


def _listed(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


@rule("unsqueeze")
def unsqueeze(call: Call) -> Axes:
    """A new axis of size 1."""
    axes = list(_first(call).axes)
    axes.insert(call.dim(call["dim"], len(axes) + 1), SIZE_ONE)
    return tuple(axes)


@rule("squeeze")
def squeeze(call: Call) -> Axes:
    """Axes of size 1 go."""
    x = _first(call)
    asked = (
        range(x.dims)
        if call["dim"] is None
        else [call.dim(d, x.dims) for d in _listed(call["dim"])]
    )
    gone = {i for i in asked if x.shape[i] == 1}
    return tuple(dim for i, dim in enumerate(x.axes) if i not in gone)


@rule("expand", "expand_as", "broadcast_to")
def expand(call: Call) -> Axes:
    """Axes of size 1 are repeated."""
    x = _first(call)
    lead = len(call.shape) - x.dims
    axes = (SIZE_ONE,) * lead + x.axes
    shape = (1,) * lead + x.shape
    return tuple(
        call.given(new) if old == 1 != new else dim
        for dim, old, new in zip(axes, shape, call.shape, strict=True)
    )


@rule("repeat", "tile")
def repeat(call: Call) -> Axes:
    """The whole axis several times over."""
    x = _first(call)
    counts = list(call["repeats"] or call["dims"])
    counts = [1] * (len(call.shape) - len(counts)) + counts
    axes = (SIZE_ONE,) * (len(call.shape) - x.dims) + x.axes
    return tuple(
        dim
        if count == 1
        else Dim(Prod((call.fixed(count, "whose count is a number in the code").expr, dim.expr)))
        for dim, count in zip(axes, counts, strict=True)
    )


@rule("repeat_interleave")
def repeat_interleave(call: Call) -> Axes | list[Axes]:
    """Each entry several times over."""
    x = _first(call)
    if call["dim"] is None:
        return unknown(call)
    dim = call.dim(call["dim"], x.dims)
    if not isinstance(call["repeats"], int):
        call.freeze(x.expr(dim), PICKS)
        return _replaced(x.axes, dim, call.fixed(call.shape[dim], PICKS))
    count = call.given(call["repeats"]).expr
    return _replaced(x.axes, dim, Dim(Prod((x.expr(dim), count)), x.axes[dim].origins))


@rule("cat", "concat", "concatenate")
def cat(call: Call) -> Axes:
    """Tensors behind one another along one axis."""
    return join(call, call["dim"] or 0)


def join(call: Call, dim: int) -> Axes:
    """The axes of tensors that are joined along one of them; empty ones are left out."""
    tensors = [o for o in call["tensors"] if o.dims == len(call.shape)]
    dim = call.dim(dim, len(call.shape))
    keep = all(parametric(o) for o in tensors)
    out = []
    for i in range(len(call.shape)):
        dims = [o.axes[i] for o in tensors]
        if i != dim:
            for other in dims[1:]:
                call.unify(dims[0].expr, other.expr)
        expr: Expr = Sum(tuple(d.expr for d in dims)) if i == dim else dims[0].expr
        out.append(Dim(resolve(expr), _origins(dims) if keep else ()))
    if not keep:
        for operand in tensors:
            call.use_all(operand, Role.WRITES)
    return tuple(out)


@rule("stack")
def stack(call: Call) -> Axes:
    """Tensors along a new axis."""
    tensors = call["tensors"]
    dim = call.dim(call["dim"] or 0, len(call.shape))
    for operand in tensors:
        call.use_all(operand, Role.WRITES)
        for one, other in zip(tensors[0].axes, operand.axes, strict=True):
            call.unify(one.expr, other.expr)
    axes = [Dim(d.expr) for d in tensors[0].axes]
    axes.insert(dim, call.fixed(len(tensors), "which stacks a fixed number of tensors"))
    return tuple(axes)


@rule("split", "split_with_sizes", "chunk", "tensor_split")
def split(call: Call) -> list[Axes]:
    """An axis in pieces; pieces that one number makes are the same size for ever."""
    x = _first(call)
    dim = call.dim(call["dim"] or 0, x.dims)
    sizes = [shape[dim] for shape in call.shapes]
    asked = call["split_sizes"] or call["split_size"] or call["sections"] or call["chunks"]
    if isinstance(asked, int) and len(set(sizes)) == 1:
        pieces = [axis(sizes[0], given=call["chunks"] is None)] * len(sizes)
    else:
        pieces = [axis(size, given=True) for size in sizes]
    if isinstance(asked, int) and len(set(sizes)) > 1:
        call.freeze(x.expr(dim), "which leaves a remainder")
    call.unify(x.expr(dim), Sum(tuple(pieces)))
    origins = x.axes[dim].origins
    return [_replaced(x.axes, dim, Dim(piece, origins)) for piece in pieces]


@rule("slice", "narrow")
def cut(call: Call) -> Axes:
    """A stretch of an axis; what numbers in the code bound is fixed when they are compared."""
    x = _first(call)
    dim = call.dim(call["dim"] or 0, x.dims)
    size, new = x.shape[dim], call.shape[dim]
    if size == new and (call["step"] or 1) == 1:
        return x.axes
    if (call["step"] or 1) != 1:
        call.freeze(x.expr(dim), "which takes every n-th channel")
        return _replaced(x.axes, dim, call.fixed(new, "which takes every n-th channel"))
    start = call["start"] or 0
    start = max(0, start + size) if start < 0 else start
    middle = _stretch(call, x.expr(dim), (start, new, size - start - new))
    return _replaced(x.axes, dim, Dim(middle, x.axes[dim].origins))


def _stretch(call: Call, expr: Expr, sizes: tuple[int, int, int]) -> Expr:
    """The middle of three stretches of an axis."""
    parts = [axis(size) if size else Sum(()) for size in sizes]
    call.unify(expr, Sum(tuple(part for part in parts if part != Sum(()))))
    return parts[1]


@rule("select", "unbind", "index_select", "diagonal")
def select(call: Call) -> Axes | list[Axes]:
    """One or several positions of an axis, by their numbers."""
    x = _first(call)
    if call.operation == "diagonal":
        return unknown(call)
    dim = call.dim(call["dim"] or 0, x.dims)
    call.freeze(x.expr(dim), PICKS)
    rest = (*x.axes[:dim], *x.axes[dim + 1 :])
    if call.operation == "index_select":
        return _replaced(x.axes, dim, call.fixed(call.shape[dim], PICKS))
    return rest if call.operation == "select" else [rest for _ in call.shapes]


@rule("index", "_unsafe_index")
def index(call: Call) -> Axes:
    """Positions picked by tensors of indices."""
    x = _first(call)
    picks = list(call["indices"]) + [None] * (x.dims - len(call["indices"]))
    if any(pick is not None and pick.boolean for pick in picks):
        return _frozen_result(call, x)
    where = [i for i, p in enumerate(picks) if p is not None]
    for i in where:
        call.freeze(x.expr(i), PICKS)
    kept = [dim for i, dim in enumerate(x.axes) if i not in where]
    count = len(call.shape) - len(kept)
    new = [call.fixed(size, PICKS) for size in _picked_shape(call, where, count)]
    front = where[0] if where == list(range(where[0], where[-1] + 1)) else 0
    return (*kept[:front], *new, *kept[front:])


def _frozen_result(call: Call, x: Operand) -> Axes:
    for dim in x.axes:
        call.freeze(dim.expr, "which picks entries by a mask")
    return tuple(call.fixed(size, "which picks entries by a mask") for size in call.shape)


def _picked_shape(call: Call, where: list[int], count: int) -> tuple[int, ...]:
    front = where[0] if where == list(range(where[0], where[-1] + 1)) else 0
    return call.shape[front : front + count]


@rule("pad", "constant_pad_nd")
def pad(call: Call) -> Axes:
    """Constant entries before and behind an axis."""
    x = _first(call)
    amounts, mode = list(call["pad"]), call["mode"] or "constant"
    axes = [Dim(dim.expr) for dim in x.axes]
    for i in range(len(amounts) // 2):
        before, behind = amounts[2 * i], amounts[2 * i + 1]
        dim = x.dims - 1 - i
        if min(before, behind) < 0 or (mode != "constant" and (before or behind)):
            call.freeze(x.expr(dim), "which cuts or mirrors the axis")
            axes[dim] = call.fixed(call.shape[dim], "which cuts or mirrors the axis")
        elif before or behind:
            ends = [
                call.fixed(n, "which adds a fixed number of entries").expr if n else None
                for n in (before, behind)
            ]
            parts = (ends[0], x.expr(dim), ends[1])
            axes[dim] = Dim(Sum(tuple(part for part in parts if part is not None)))
    call.use_all(x, Role.TABLE)
    return tuple(axes)


@rule(
    "roll",
    "flip",
    "cumsum",
    "cumprod",
    "logcumsumexp",
    "tril",
    "triu",
    "rot90",
    "fliplr",
    "flipud",
)
def reorder(call: Call) -> Axes | list[Axes]:
    """Operations that mix the positions of some axes and leave the others alone."""
    x = _first(call)
    named = call["dims"] if call["dims"] is not None else call["dim"]
    if call.operation in ("tril", "triu"):
        named = [-2, -1]
    if named is None or (isinstance(named, list) and not named) or len(call.shapes) != 1:
        return unknown(call)
    mixed = {call.dim(d, x.dims) for d in _listed(named)}
    for i in mixed:
        call.freeze_unknown(x.expr(i))
    call.use_all(x, Role.TABLE)
    return tuple(Dim(dim.expr) for dim in x.axes)
