"""Edits are values: what to change, not how.

An edit can be printed, compared, hashed, stored as JSON and replayed.
`structure_net.surgery.planning` turns it into moves, `structure_net.surgery.operating` carries them
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ActivationName = Literal["relu", "gelu", "tanh", "silu", "elu", "leaky_relu", "sigmoid", "identity"]


@dataclass(frozen=True, slots=True)
class AddNeurons:
    """Adds ``count`` output channels to ``layer``; a multiple of its group's granularity."""

    layer: str
    count: int


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class SplitNeurons:
    """Copies output channels of ``layer`` (whole units) and halves what reads them.

    ``noise`` breaks the symmetry: the standard deviation of what is added to one copy's incoming
    weights, relative to the weights' own standard deviation; with noise the function is kept only
    approximately.
    """

    layer: str
    indices: tuple[int, ...]
    noise: float = 0.0


@dataclass(frozen=True, slots=True)
class MergeNeurons:
    """Merges pairs ``(kept, dropped)``: the readers of ``dropped`` are added to those of ``kept``.

    Keeps the function where the two units are equal. Under a normalisation over the channels that
    is not enough: what is left is rescaled as by `RemoveNeurons`, so that the dropped unit has to
    be at the mean of the channels under a LayerNorm, or zero under an RMSNorm, too.
    """

    layer: str
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ResetNeurons:
    """Gives units fresh incoming and zero outgoing weights and empty optimizer state.

    Widths stay.
    """

    layer: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DoubleWidth:
    """Copies every unit of ``layer``'s group and halves the readers.

    Exact where `AddNeurons` is refused.
    """

    layer: str


@dataclass(frozen=True, slots=True)
class InsertLayer:
    """Inserts ``activation`` and a linear (or convolutional) layer: the identity at birth.

    ``width``: the inserted layer's units; the width of ``layer`` if None. A narrower one keeps the
    function by a bypass around it.
    """

    layer: str
    width: int | None = None
    activation: ActivationName = "relu"


@dataclass(frozen=True, slots=True)
class RemoveLayer:
    """Removes a layer that `InsertLayer` or `AddResidualBlock` made; by its name in the model."""

    layer: str


@dataclass(frozen=True, slots=True)
class AddResidualBlock:
    """Adds ``x + V activation(U x)`` with ``V = 0`` behind ``layer``.

    ``width``: hidden units; those of ``layer`` if None.
    """

    layer: str
    width: int | None = None
    activation: ActivationName = "relu"


@dataclass(frozen=True, slots=True)
class AddSkipConnection:
    """Adds a projection of ``source``'s output, zero at birth, to ``target``'s output."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class RemoveSkipConnection:
    """Removes the projection that `AddSkipConnection` made."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class AddHeads:
    """Adds ``count`` heads to the attention that ``layer`` projects for.

    ``layer``: any of its query, key and value projections.
    """

    layer: str
    count: int


@dataclass(frozen=True, slots=True)
class RemoveHeads:
    """Removes heads by number."""

    layer: str
    heads: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MaskHeads:
    """Silences heads without removing them; `ReviveHeads` brings them back as they were.

    A silent head receives no gradient. Training in between may still move its weights by weight
    decay and by momentum from before.
    """

    layer: str
    heads: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReviveHeads:
    """Brings heads back that `MaskHeads` silenced."""

    layer: str
    heads: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AddConnections:
    """Makes connections of a sparse layer: pairs ``(output unit, input unit)``, born with weight 0.

    ``scale`` above 0: the standard deviation of the new weights, as a multiple of
    ``1 / sqrt(fan_in)`` of the unit. Kernels of a sparse convolution are connected whole, one pair
    ``(output channel, input channel)`` each.
    """

    layer: str
    pairs: tuple[tuple[int, int], ...]
    scale: float = 0.0


@dataclass(frozen=True, slots=True)
class RemoveConnections:
    """Removes connections of a sparse layer: pairs ``(output unit, input unit)``."""

    layer: str
    pairs: tuple[tuple[int, int], ...]


Edit = (
    AddNeurons
    | RemoveNeurons
    | SplitNeurons
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
)
