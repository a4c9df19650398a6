"""Edits are values: what to change, not how.

An edit can be printed, compared, hashed, stored as JSON and replayed.
`structure_net.surgery.planning` turns it into moves, `structure_net.surgery.operating` carries them
out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from operator import index
from typing import Any, Final, Literal, TypeVar, dataclass_transform

import numpy as np

from structure_net.core.arguments import shown
from structure_net.core.pairs import PairTable, PairTuple

T = TypeVar("T")

ActivationName = Literal["relu", "gelu", "tanh", "silu", "elu", "leaky_relu", "sigmoid", "identity"]


def _name(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a name in quotes; got {value!r}.")
    return value


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} must be a whole number; got {value!r}.")
    return index(value)


def _whole_or_none(what: str, value: Any) -> int | None:
    return None if value is None else _whole(what, value)


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating):
        raise TypeError(f"{what} must be a number; got {value!r}.")
    return float(value)


def _indices(what: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise TypeError(f"{what} must be whole numbers, such as (0, 3); got {value!r}.")
    return tuple(_whole(f"Each of {what}", entry) for entry in value)


def _pairs(what: str, value: Any) -> tuple[tuple[int, int], ...]:
    if isinstance(value, PairTuple | PairTable):
        return value
    try:
        table = np.asarray(value)
        if table.size and table.dtype.kind == "i" and table.ndim == 2 and table.shape[1] == 2:
            return PairTuple.of(table)
        return tuple((_whole(what, first), _whole(what, second)) for first, second in value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{what} must be pairs of whole numbers, such as ((0, 3), (1, 3)); got {shown(value)}."
        ) from error


def _numbers(what: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise TypeError(f"{what} must be numbers, such as (0.5, 1.2); got {value!r}.")
    return tuple(_number(f"Each of {what}", entry) for entry in value)


_CHECKS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "str": _name,
    "ActivationName": _name,
    "int": _whole,
    "int | None": _whole_or_none,
    "float": _number,
    "tuple[int, ...]": _indices,
    "tuple[float, ...]": _numbers,
    "tuple[tuple[int, int], ...]": _pairs,
}


def _check(edit: Any) -> None:
    """Refuses fields of another kind; numpy's numbers and lists become plain ones and tuples."""
    for field in fields(edit):
        value = _CHECKS[str(field.type)](
            f"{type(edit).__name__}.{field.name}", getattr(edit, field.name)
        )
        object.__setattr__(edit, field.name, value)


@dataclass_transform(frozen_default=True)
def _edit(cls: type[T]) -> type[T]:
    """A frozen dataclass whose fields are checked when it is made."""
    cls.__post_init__ = _check  # type: ignore[attr-defined]  # the next line looks for it
    return dataclass(frozen=True, slots=True)(cls)


@_edit
class AddNeurons:
    """Adds ``count`` output channels to ``layer``; a multiple of its group's granularity."""

    layer: str
    count: int


@_edit
class RemoveNeurons:
    """Removes output channels of ``layer``; whole units.

    Keeps the function where nothing reads the units: where their outgoing weights are zero. Under a
    normalisation over the channels the other units move too, since its mean and variance are then
    those of the channels that are left. As in growth, from n channels to m the gain is multiplied
    by sqrt(n / m) and epsilon by n / m (or, where these are fixed, what is written by sqrt(m / n)),
    so that the function stays where the removed units also were at the mean of the channels under
    a LayerNorm, or zero under an RMSNorm.
    """

    layer: str
    indices: tuple[int, ...]


@_edit
class SplitNeurons:
    """Copies output channels of ``layer`` (whole units) and divides what reads them.

    ``share``, in [0, 1]: what the copy gets of the weights that read the unit, half by default. At
    0 nothing reads the copies yet; `ShareNeurons` hands over later.

    ``noise`` breaks the symmetry: the standard deviation of what is added to one copy's incoming
    weights, relative to the weights' own standard deviation; with noise the function is kept only
    approximately, unless the share is 0.
    """

    layer: str
    indices: tuple[int, ...]
    noise: float = 0.0
    share: float = 0.5


@_edit
class ShareNeurons:
    """Hands over readers: of each pair ``(first, second)`` of output channels of ``layer`` (whole
    units) the second gets ``fraction`` of the weights that read the first, which loses them.

    Keeps the function where the two units are equal, as a unit and its copy are at birth.
    """

    layer: str
    pairs: tuple[tuple[int, int], ...]
    fraction: float


@_edit
class MergeNeurons:
    """Merges pairs ``(kept, dropped)``: the readers of ``dropped`` are added to those of ``kept``.

    Keeps the function where the two units are equal. Under a normalisation over the channels that
    is not enough: what is left is rescaled as by `RemoveNeurons`, so that the dropped unit has to
    be at the mean of the channels under a LayerNorm, or zero under an RMSNorm, too.
    """

    layer: str
    pairs: tuple[tuple[int, int], ...]


@_edit
class ResetNeurons:
    """Gives units fresh incoming and zero outgoing weights and empty optimizer state.

    Widths stay. ``means``: what each unit gave on average, as its readers saw it. Times the weights
    that read it, this is added to the readers' biases, where they have one, so that the function
    stays in the mean; nothing is added if empty.
    """

    layer: str
    indices: tuple[int, ...]
    means: tuple[float, ...] = ()


@_edit
class DoubleWidth:
    """Copies every unit of ``layer``'s group and halves the readers.

    Exact where `AddNeurons` is refused.
    """

    layer: str


@_edit
class InsertLayer:
    """Inserts ``activation`` and a linear (or convolutional) layer: the identity at birth.

    ``width``: the inserted layer's units; the width of ``layer`` if None. A narrower one keeps the
    function by a bypass around it.
    """

    layer: str
    width: int | None = None
    activation: ActivationName = "relu"


@_edit
class RemoveLayer:
    """Removes a layer that `InsertLayer` or `AddResidualBlock` made; by its name in the model."""

    layer: str


@_edit
class AddResidualBlock:
    """Adds ``x + V activation(U x)`` with ``V = 0`` behind ``layer``.

    ``width``: hidden units; those of ``layer`` if None.
    """

    layer: str
    width: int | None = None
    activation: ActivationName = "relu"


@_edit
class AddSkipConnection:
    """Adds a projection of ``source``'s output, zero at birth, to ``target``'s output."""

    source: str
    target: str


@_edit
class RemoveSkipConnection:
    """Removes the projection that `AddSkipConnection` made."""

    source: str
    target: str


@_edit
class AddHeads:
    """Adds ``count`` heads to the attention that ``layer`` projects for.

    ``layer``: any of its query, key and value projections.
    """

    layer: str
    count: int


@_edit
class RemoveHeads:
    """Removes heads by number."""

    layer: str
    heads: tuple[int, ...]


@_edit
class MaskHeads:
    """Silences heads without removing them; `ReviveHeads` brings them back as they were.

    A silent head receives no gradient. Training in between may still move its weights by weight
    decay and by momentum from before.
    """

    layer: str
    heads: tuple[int, ...]


@_edit
class ReviveHeads:
    """Brings heads back that `MaskHeads` silenced."""

    layer: str
    heads: tuple[int, ...]


@_edit
class AddConnections:
    """Makes connections of a sparse layer: pairs ``(output unit, input unit)``, born with weight 0.

    ``scale`` above 0: the standard deviation of the new weights, as a multiple of
    ``1 / sqrt(fan_in)`` of the unit. Kernels of a sparse convolution are connected whole, one pair
    ``(output channel, input channel)`` each.
    """

    layer: str
    pairs: tuple[tuple[int, int], ...]
    scale: float = 0.0


@_edit
class RemoveConnections:
    """Removes connections of a sparse layer: pairs ``(output unit, input unit)``."""

    layer: str
    pairs: tuple[tuple[int, int], ...]


@_edit
class MoveConnections:
    """Moves connections of a sparse layer: those at ``removed`` go, and others come at ``added``.

    The same as `RemoveConnections` and then `AddConnections`, in one edit; the two may differ in
    their numbers. A pair that is in both is born anew: with a new weight, and without the moments
    that optimizers had of the old one.

    ``scale``: of the new weights, as in `AddConnections`.
    """

    layer: str
    removed: tuple[tuple[int, int], ...]
    added: tuple[tuple[int, int], ...]
    scale: float = 0.0


ConnectionEdit = AddConnections | RemoveConnections | MoveConnections
"""Edits of the connections of one sparse layer: its width and its shape stay."""

Edit = (
    AddNeurons
    | RemoveNeurons
    | SplitNeurons
    | ShareNeurons
    | MergeNeurons
    | ResetNeurons
    | DoubleWidth
    | InsertLayer
    | RemoveLayer
    | AddResidualBlock
    | AddSkipConnection
    | RemoveSkipConnection
    | AddHeads
    | RemoveHeads
    | MaskHeads
    | ReviveHeads
    | AddConnections
    | RemoveConnections
    | MoveConnections
)


def changes_of(edit: Edit) -> int:
    """How many things an edit does: two where it removes and adds, else one."""
    return 2 if isinstance(edit, MoveConnections) else 1
