"""Reductions, pooling and resizing."""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import SIZE_ONE, Call, Operand
from structure_net.graph.rules.elementwise import others
from structure_net.graph.rules.registry import rule

MIXES = "which mixes the channels"

REDUCTIONS = (
    "mean", "sum", "prod", "var", "std", "amax", "amin", "logsumexp", "norm", "linalg_vector_norm",
    "any", "all",
    "argmax", "argmin", "max", "min", "median", "var_mean", "std_mean", "nanmean", "nansum",
    "count_nonzero",
    "aminmax", "linalg_norm", "frobenius_norm", "cummax", "cummin", "kthvalue", "mode", "sort",
    "argsort", "topk", "quantile", "nanquantile", "nanmedian", "trapz", "trapezoid",
)  # fmt: skip

PLANAR = (
    "max_pool{n}d", "avg_pool{n}d", "adaptive_avg_pool{n}d", "adaptive_max_pool{n}d",
    "_adaptive_avg_pool{n}d",
    "max_pool{n}d_with_indices", "lp_pool{n}d", "fractional_max_pool{n}d", "max_unpool{n}d",
)  # fmt: skip
POOLS = {name.format(n=n): n for name in PLANAR for n in (1, 2, 3)}
RESIZES = {
    "upsample_nearest1d": 1, "upsample_nearest2d": 2, "upsample_nearest3d": 3, "upsample_linear1d":
    1,
    "upsample_bilinear2d": 2, "upsample_bicubic2d": 2, "upsample_trilinear3d": 3,
    "_upsample_nearest_exact1d": 1,
    "_upsample_nearest_exact2d": 2, "_upsample_nearest_exact3d": 3, "_upsample_bilinear2d_aa": 2,
    "_upsample_bicubic2d_aa": 2,
}  # fmt: skip


@rule(*REDUCTIONS)
def reduction(call: Call) -> Axes | list[Axes]:
    """The reduced axes are fixed; a result that still has them has a size of its own there."""
    x = call.operands[0]
    if call.operation in ("max", "min") and isinstance(call["other"], Operand):
        return others(call)
    named = call["dim"] if call["dim"] is not None else call["axis"]
    listed = [named] if isinstance(named, int) else list(named or ())
    if call.operation in ("sort", "argsort", "topk") and named is None:
        listed = [-1]
    gone = {call.dim(d, x.dims) for d in listed} or set(range(x.dims))
    for i in gone:
        if _copyable(call):
            call.mixes(x, i)
        elif _summed(call) and not x.axes[i].origins:
            call.sums(x.expr(i), (x,), linear=call.operation == "sum")
        else:
            call.freeze(x.expr(i), MIXES)
    call.use_all(x, Role.TABLE)
    return [_reduced(call, x.axes, gone, shape) for shape in call.shapes]


def _copyable(call: Call) -> bool:
    """Whether the reduction stays as it is when all entries occur equally often; positions of
    extrema do not."""
    values = call.operation in ("max", "min") and call["dim"] is not None and 1 not in call.read
    return call.operation in ("mean", "amax", "amin") or values


def _summed(call: Call) -> bool:
    """Whether zeros among the entries leave the result as it is: sums, and norms of powers."""
    power = call["ord"] if call["ord"] is not None else call["p"]
    norm = call.operation in ("linalg_vector_norm", "linalg_norm", "norm")
    return call.operation == "sum" or (norm and _positive(2 if power is None else power))


def _positive(power: object) -> bool:
    return isinstance(power, int | float) and power > 0


def _reduced(call: Call, axes: Axes, gone: set[int], shape: tuple[int, ...]) -> Axes:
    if len(shape) == len(axes):
        return tuple(
            (SIZE_ONE if shape[i] == 1 else call.fixed(shape[i], MIXES))
            if i in gone
            else Dim(dim.expr)
            for i, dim in enumerate(axes)
        )
    return tuple(Dim(dim.expr) for i, dim in enumerate(axes) if i not in gone)


@rule(*POOLS, *RESIZES)
def planar(call: Call) -> list[Axes]:
    """Works over the last axes, for each channel by itself."""
    x = call.operands[0]
    count = POOLS.get(call.operation) or RESIZES[call.operation]
    call.use_all(x, Role.TABLE)
    lead = tuple(Dim(dim.expr) for dim in x.axes[:-count])
    why = "over the space of which it works"
    for dim in x.axes[-count:]:
        call.freeze(dim.expr, why)
    return [(*lead, *(call.fixed(size, why) for size in shape[-count:])) for shape in call.shapes]
