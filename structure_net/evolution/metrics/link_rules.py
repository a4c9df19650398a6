"""What operations do with the units in their operands: one rule per kind of operation.

A rule takes a `Call` and returns the trail of its (first) result. Views and other operations that
only move entries about need none of their own, nor does anything that works entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from structure_net.evolution.metrics.links import Links, MatrixLinks
from structure_net.evolution.metrics.provenance import (
    NOTHING,
    STATISTIC,
    Trail,
    collapsed,
    joined,
    moved,
    tensors_in,
)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A product of units with weights: a layer.

    Args:
        weights: The names of the parameters and buffers that the matrix is computed from.
        trail: Of what the layer reads.
        axis: The axis of its input that the matrix contracts.
        links: The squared weights, summed over a kernel.
        shape: The shape of the output.
        output_axis: Where its units lie.
    """

    weights: tuple[str, ...]
    trail: Trail
    axis: int
    links: Links
    shape: tuple[int, ...]
    output_axis: int


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of one operation.

    Args:
        name: The operation's name, without its overload.
        func: The operation.
        args: Its positional arguments.
        kwargs: Its named ones.
        output: What it returned.
        trail_of: The trail of a tensor.
        read: Takes the reading of a layer to the trail of its output.
        embed: Takes the names of a table's parameters, and the shape of the output, to its trail.
    """

    name: str
    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    trail_of: Callable[[Tensor], Trail]
    read: Callable[[Reading], Trail]
    embed: Callable[[tuple[str, ...], tuple[int, ...]], Trail]

    @property
    def operands(self) -> list[Tensor]:
        """All tensors among the arguments."""
        return tensors_in([*self.args, *self.kwargs.values()])

    @property
    def moves(self) -> bool:
        """Whether the operation only moves entries about."""
        return (self.func.is_view or self.name in _MOVES) and self.name not in _NO_MOVES

    @property
    def dims(self) -> int:
        """The number of axes of the (first) result."""
        return tensors_in(self.output)[0].dim()

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument by the name that the operation's schema gives it."""
        for index, argument in enumerate(self.func._schema.arguments):
            if argument.name == name:
                value = self.args[index] if index < len(self.args) else self.kwargs.get(name)
                return default if value is None else value
        return default

    def together(self) -> Trail:
        """The trail of an operation that works entry by entry."""
        return joined([(self.trail_of(one), one.dim()) for one in self.operands], self.dims)


Rule = Callable[[Call], Trail]

_MOVES: Final = frozenset(
    (
        "_unsafe_view",
        "cat",
        "stack",
        "flip",
        "roll",
        "repeat",
        "gather",
        "index",
        "index_select",
        "pixel_shuffle",
        "pixel_unshuffle",
        "channel_shuffle",
        "constant_pad_nd",
        "_reshape_copy",
        "take_along_dim",
        "unsafe_chunk",
        "unsafe_split",
        "unsafe_split_with_sizes",
    )
)
_NO_MOVES: Final = frozenset(("as_strided", "view_as_real", "view_as_complex", "_fw_primal"))
_CREATIONS: Final = re.compile(
    r"new_(zeros|ones|full|empty\w*)|(zeros|ones|full|empty|randn?)_like"
)
_UNITWISE: Final = re.compile(
    r"(.*batch_norm.*|native_(layer|group)_norm|_fused_rms_norm|_softmax|_log_softmax"
    r"|native_dropout|cumsum|_?prelu(_kernel)?|_to_copy|contiguous|detach|alias)"
)
_WINDOWS: Final = re.compile(
    r".*(pool|upsample_\w+|reflection_pad|replication_pad|grid_sampler_)([123])d\w*"
)
_REDUCTIONS: Final = frozenset(
    (
        "mean",
        "sum",
        "nansum",
        "prod",
        "amax",
        "amin",
        "max",
        "min",
        "var",
        "std",
        "var_mean",
        "logsumexp",
        "linalg_vector_norm",
        "median",
        "any",
        "all",
    )
)
_ATTENTION: Final = re.compile(r"_?scaled_dot_product\w*")


def rule_for(call: Call) -> Rule | None:
    """The rule of an operation; None where there is none."""
    if call.name in _RULES:
        return _RULES[call.name]
    patterns = (
        (_UNITWISE, _first),
        (_WINDOWS, _windows),
        (_ATTENTION, _attention),
        (_CREATIONS, _nothing),
    )
    for pattern, rule in patterns:
        if pattern.fullmatch(call.name):
            return rule
    if call.name in _REDUCTIONS:
        return _reduction
    if call.moves:
        return lambda call: move(call, 0)
    return Call.together if torch.Tag.pointwise in call.func.tags else None


def move(call: Call, index: int) -> Trail:
    """The trail of one result of an operation that moves entries about."""
    operands = tensors_in(call.args[0])
    if any(call.trail_of(one).live for one in call.operands[len(operands) :]):
        return call.together().blurred(f"'{call.name}' by indices that depend on the data")
    if call.name == "constant_pad_nd":
        return _padded(call)
    rest = [_on_cpu(argument) for argument in call.args[1:]]

    def moving(labels: Any) -> Tensor:
        if call.name in ("view", "_unsafe_view"):
            made = labels[0].reshape(call.args[1])
        else:
            given = labels if isinstance(call.args[0], tuple | list) else labels[0]
            made = call.func(given, *rest, **call.kwargs)
        return tensors_in(made)[index]

    trails = [call.trail_of(one) for one in operands]
    return moved(trails, [one.shape for one in operands], moving)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu()
    return [_on_cpu(part) for part in value] if isinstance(value, tuple | list) else value


def _padded(call: Call) -> Trail:
    """Padding along axes on which labels do not vary is taken for more of the same."""
    pad = list(call.args[1])
    trail = call.trail_of(call.args[0])
    labels = {}
    for source, found in trail.labels.items():
        made = []
        for label in found:
            own = list(pad)
            for pair in range(len(pad) // 2):
                if label.shape[-1 - pair] == 1 and call.args[0].shape[-1 - pair] > 1:
                    own[2 * pair : 2 * pair + 2] = [0, 0]
            made.append(torch.nn.functional.pad(label, own, value=NOTHING))
        labels[source] = tuple(made)
    return Trail(labels, trail.mixed, trail.weights)


def _first(call: Call) -> Trail:
    return call.trail_of(call.args[0])


def _nothing(call: Call) -> Trail:
    """Of the operand, only its shape counts."""
    return Trail()


def _copied(call: Call) -> Trail:
    return joined([(call.trail_of(call.args[1]), call.args[1].dim())], call.dims)


def _windows(call: Call) -> Trail:
    found = _WINDOWS.fullmatch(call.name)
    assert found is not None
    axes = [-1 - axis for axis in range(int(found[2]))]
    return collapsed(call.trail_of(call.args[0]), axes, f"windows of '{call.name}'")


def _reduction(call: Call) -> Trail:
    inputs = call.args[0]
    dim = call.argument("dim", list(range(inputs.dim())))
    axes = sorted({axis % inputs.dim() for axis in ([dim] if isinstance(dim, int) else dim)})
    axes = axes or list(range(inputs.dim()))
    trail = collapsed(call.trail_of(inputs), axes, STATISTIC)
    if call.argument("keepdim", default=False):
        return trail
    labels = {
        source: tuple(label.squeeze(axes) for label in found)
        for source, found in trail.labels.items()
    }
    return Trail(labels, trail.mixed, trail.weights)


def _glu(call: Call) -> Trail:
    inputs = call.args[0]
    dim = call.argument("dim", -1) % inputs.dim()
    trail, half = call.trail_of(inputs), inputs.shape[dim] // 2

    def part(start: int) -> Trail:
        return moved([trail], [inputs.shape], lambda labels: labels[0].narrow(dim, start, half))

    return joined([(part(start), inputs.dim()) for start in (0, half)], inputs.dim())


def _attention(call: Call) -> Trail:
    query, key, value = call.args[:3]
    carried = collapsed(call.trail_of(value), [-2], "attention over several units")
    repeats = query.shape[-3] // value.shape[-3] if query.dim() > 3 else 1
    labels = {
        source: tuple(one if one.shape[-3] == 1 else _each(one, repeats) for one in found)
        for source, found in carried.labels.items()
    }
    scores = joined(
        [(call.trail_of(query), query.dim()), (call.trail_of(key), key.dim())], call.dims
    )
    mixed = {**carried.mixed, **scores.blurred("attention scores").mixed}
    return Trail(labels, mixed)


def _each(label: Tensor, repeats: int) -> Tensor:
    """Heads that several queries share, each as often as it is read."""
    return label if repeats == 1 else label.repeat_interleave(repeats, -3)


def _patches(call: Call) -> Trail:
    """Patches of an image as columns: each channel once per position of the kernel."""
    inputs = call.args[0]
    if inputs.dim() != 4:
        return call.trail_of(inputs).blurred("patches of an image without samples")
    trail = collapsed(call.trail_of(inputs), [-2, -1], "windows of 'im2col'")
    kernel = call.argument("kernel_size")
    positions = kernel[0] * kernel[1]
    labels = {
        source: tuple(
            one.expand(-1, inputs.shape[1], -1, -1).repeat_interleave(positions, 1).flatten(2)
            for one in found
        )
        for source, found in trail.labels.items()
    }
    return Trail(labels, trail.mixed)


def _product(call: Call) -> Trail:
    left, right = call.args[-2:] if call.name in ("mm", "bmm", "mv", "dot") else call.args[1:3]
    added = Trail() if call.name in ("mm", "bmm", "mv", "dot") else call.trail_of(call.args[0])
    trail = _times(call, left, right)
    if not added.live:
        return trail
    return joined([(trail, call.dims), (added, call.args[0].dim())], call.dims)


def _times(call: Call, left: Tensor, right: Tensor) -> Trail:
    ours, theirs = call.trail_of(left), call.trail_of(right)
    if ours.live and theirs.live:
        reason = "a product of activations"
        along = collapsed(ours, [-1], reason)
        across = collapsed(theirs, [-2 if right.dim() > 1 else -1], reason)
        return joined([(along, call.dims), (across, call.dims)], call.dims)
    shape = tuple(call.output.shape)
    if ours.live and right.dim() > 1 and (matrix := _one(right)) is not None:
        return call.read(Reading(theirs.weights, ours, -1, _links(matrix.T), shape, -1))
    if theirs.live and left.dim() > 1 and (matrix := _one(left)) is not None:
        axis = -2 if right.dim() > 1 else -1
        return call.read(Reading(ours.weights, theirs, axis, _links(matrix), shape, axis))
    return call.together().blurred("a product with a matrix for each sample or head")


def _one(matrix: Tensor) -> Tensor | None:
    """The matrix that a batch of matrices repeats; None where they differ."""
    if matrix.dim() == 2:
        return matrix
    return matrix[0] if matrix.shape[0] == 1 or matrix.stride(0) == 0 else None


def _links(matrix: Tensor) -> Links:
    return MatrixLinks.of(_squares(matrix))


def _squares(matrix: Tensor) -> Tensor:
    return matrix.detach().to("cpu", torch.float64).square()


def _linear(call: Call) -> Trail:
    inputs, weight = call.args[:2]
    ours, theirs = call.trail_of(inputs), call.trail_of(weight)
    if theirs.live:
        return call.together().blurred("a product of activations")
    shape = tuple(call.output.shape)
    return call.read(Reading(theirs.weights, ours, -1, _links(weight), shape, -1))


def _convolution(call: Call) -> Trail:
    inputs, weight = call.args[:2]
    transposed, groups = call.argument("transposed", default=False), call.argument("groups", 1)
    theirs = call.trail_of(weight)
    if theirs.live:
        return call.together().blurred("a convolution with a kernel that depends on the data")
    norms = _squares(weight).flatten(2).sum(2)
    parts = [part.T if transposed else part for part in norms.chunk(groups)]
    links = MatrixLinks.of(torch.block_diag(*parts))
    trail, shape = call.trail_of(inputs), tuple(call.output.shape)
    return call.read(Reading(theirs.weights, trail, 1, links, shape, 1))


def _embedding(call: Call) -> Trail:
    return call.embed(call.trail_of(call.args[0]).weights, tuple(call.output.shape))


_RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(
        ("mm", "bmm", "mv", "addmm", "baddbmm", "addmv", "_addmm_activation"), _product
    ),
    "linear": _linear,
    "convolution": _convolution,
    "embedding": _embedding,
    "im2col": _patches,
    "glu": _glu,
    "copy_": _copied,
}
