"""Channel groups: the axes of parameters and buffers that must change size together.

A layer's output channels are an axis; whatever else has to follow when that axis changes (the bias,
a BatchNorm's statistics, the columns of every reader, the other writers of a residual stream) is in
the same group. A group counts in *units*: the smallest thing that can be added or dropped. A unit
is one channel of a plain layer, one head of an attention projection, one group of a grouped
convolution, a pair of channels before a gated unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from structure_net.graph.sizes import Var


class Role(Enum):
    """What a tensor does on an axis."""

    WRITES = (
        "writes"  # rows that produce the channels: weights, biases, embeddings, additive parameters
    )
    READS = "reads"  # columns that consume the channels
    SCALES = "scales"  # one multiplicative entry per channel: gains, layer scale, PReLU slopes
    SHIFTS = "shifts"  # a normalisation's bias
    MEAN = "mean"  # a running mean
    VARIANCE = "variance"  # a running variance
    TABLE = "table"  # any other per-channel entry


class Fill(Enum):
    """What new entries must hold so that growth keeps the function."""

    RANDOM = "random"  # anything: freshly initialised
    ZERO = "zero"
    ONE = "one"
    MEAN = "mean"  # the mean of the old entries along the axis


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of one tensor (or of one leaf layer) in a channel group.

    Args:
        tensor: The dotted name of a parameter or buffer, each tensor once; of the layer itself when
            ``leaf``.
        dim: The axis of the tensor; for a leaf, 0 is its output and 1 its input.
        role: What the tensor does there.
        fill: What new entries must hold in order to keep the function.
        lift: Takes a map of units, old index or ``NEW`` for each unit after the edit, to the map of
            this axis.
        weights: The tensor whose entries along the same axis weigh the mean, where the fill is one;
            a gain multiplies the channels afterwards, whose own new entries are 1.
        leaf: The axis belongs to a layer that rearranges itself (a sparse layer).
        power: When n channels become m, all entries are multiplied by (m / n) to this power, so
            that a normalisation which cannot follow sees what it saw before.
        halved: When every channel is copied, the entries are divided among the copies although they
            do not read: a tensor that reads behind them cannot be.
        lost: n - 1 and m - 1 stand for n and m where this is 1.
        pivot: What the model's code adds to the entries before it uses them, as in ``1 + weight``;
            the sum is what is multiplied.
    """

    tensor: str
    dim: int
    role: Role
    fill: Fill
    lift: Callable[[Sequence[int]], tuple[int, ...]]
    leaf: bool = False
    weights: str | None = None
    power: float = 0.0
    halved: bool = False
    pivot: float = 0.0
    lost: int = 0


class Growth(Enum):
    """How a group grows without moving the function."""

    FREE = "free"  # new readers are zero
    CENTRED = "centred"  # under LayerNorm: new writers are the mean, normalised to zero
    SCALED = "scaled"  # under RMSNorm: new writers are zero
    DOUBLING = "doubling"  # only by doubling every unit


@dataclass(frozen=True, slots=True)
class NormSite:
    """A LayerNorm or RMSNorm whose constants depend on the number of channels that it sees.

    Growing from n to m channels multiplies the gain's old entries by sqrt(n / m) and epsilon by n /
    m. Where epsilon is out of reach, see `Axis.power`; a norm without a gain cannot be compensated,
    so that its group is `Growth.DOUBLING`.

    Args:
        module: The dotted name of the module.
        gain: The dotted name of the gain.
        epsilon: The module's attribute that holds epsilon.
        offset: What the code adds to the gain before it multiplies.
    """

    module: str
    gain: str
    epsilon: str
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class WeightNormSite:
    """A weight that is computed as ``gain * direction / |direction|``.

    Whatever an edit does to the direction, the gain is multiplied by the change of the norm, so
    that the weight's entries are what the edit made of them.

    Args:
        gain: The dotted name of the gain.
        direction: The dotted name of the tensor that is normalised.
        dim: The norm is over all axes but this one; over all where it is None.
    """

    gain: str
    direction: str
    dim: int | None


@dataclass(frozen=True, slots=True)
class SpectralNormSite:
    """A weight that is divided by an estimate of its largest singular value.

    Args:
        weight: The dotted name of the weight.
        u: That of the estimate's left vector, one entry for each row.
        v: That of its right one, one entry for each column.
        dim: The axis of the rows.
    """

    weight: str
    u: str
    v: str
    dim: int


@dataclass(frozen=True, slots=True)
class AttributeSite:
    """An integer that a module keeps and that follows the group's size.

    Args:
        module: The dotted name of the module.
        name: The attribute.
        position: Its index, where the attribute is a tuple.
        value: Takes the number of units to the attribute's value.
    """

    module: str
    name: str
    position: int | None
    value: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """What moves when the output channels of one layer change.

    Args:
        layer: The layer that was asked for.
        size: Its output channels.
        granularity: Channels of the layer per unit.
        units: The number of units; ``units * granularity`` channels can change, the rest of
            ``size`` is fixed.
        channels: For each unit, the indices of its channels among the layer's outputs.
        axes: Everything that moves, each axis once.
        growth: How the group grows.
        refusal: Why it does not grow by any count, where ``growth`` is `Growth.DOUBLING`.
        norms: Normalisations over the channels, whose gain and epsilon follow the size.
        attributes: Integers of modules that follow the size.
        normalised: Whether any normalisation reduces over the channels, so that dropping a unit
            moves the others.
        weight_norms: Normalised weights whose direction moves, and whose gain follows.
        spectral_norms: Weights that move and are divided by their spectral norm.
        paired: Whether the channels are summed without a parameter that reads them, as in the
            products of attention; a unit is dropped with its term of the sum.
        variable: What changes in the sizes of the graph that the group belongs to.
    """

    layer: str
    size: int
    granularity: int
    units: int
    channels: tuple[tuple[int, ...], ...]
    axes: tuple[Axis, ...]
    growth: Growth
    refusal: str | None = None
    norms: tuple[NormSite, ...] = ()
    attributes: tuple[AttributeSite, ...] = ()
    normalised: bool = False
    doubling_refusal: str | None = None
    heads: bool = False
    weight_norms: tuple[WeightNormSite, ...] = ()
    spectral_norms: tuple[SpectralNormSite, ...] = ()
    paired: bool = False
    variable: Var | None = field(default=None, repr=False, compare=False)
