"""Moves: what an edit does to a model, piece by piece, as values.

`structure_net.surgery.planning` writes them, `structure_net.surgery.operating` carries them out. A
move names things by their dotted names and holds no tensor, so that a plan can be printed, compared
and made without touching a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from structure_net.graph.channels import Fill, Role, SpectralNormSite, WeightNormSite
from structure_net.surgery.edits import ActivationName
from structure_net.surgery.sites import Site


@dataclass(frozen=True, slots=True)
class MoveAxis:
    """Rearranges one axis of one parameter or buffer.

    Args:
        tensor: The dotted name of the tensor.
        dim: The axis.
        role: What the tensor does on it.
        source: For each entry after the edit, the old index it comes from, or `NEW`.
        fill: What new entries hold.
        scale: A factor for each entry after the edit; None for ones.
        noise: The standard deviation, relative to the tensor's own, of what is added to repeated
            entries.
        merge: Pairs of old indices ``(kept, dropped)``: before anything else, ``part`` of
            ``dropped`` is added to ``kept``.
        weights: Where new entries hold the mean: the tensor that weighs the old ones, a gain that
            follows the tensor; as it was before the edit.
        pivot: What the model's code adds to the entries; `scale` multiplies the sum.
        part: See ``merge``.
    """

    tensor: str
    dim: int
    role: Role
    source: tuple[int, ...]
    fill: Fill
    scale: tuple[float, ...] | None = None
    noise: float = 0.0
    merge: tuple[tuple[int, int], ...] = ()
    weights: str | None = None
    pivot: float = 0.0
    part: float = 1.0


@dataclass(frozen=True, slots=True)
class Regain:
    """Lets the gain of a normalised weight follow the length of its direction."""

    site: WeightNormSite


@dataclass(frozen=True, slots=True)
class KeepSpectrum:
    """Keeps the estimate by which a weight is divided."""

    site: SpectralNormSite


@dataclass(frozen=True, slots=True)
class MoveLeaf:
    """Rearranges the outputs (``dim`` 0) or inputs (``dim`` 1) of a layer that knows how to do so
    itself.

    Args:
        layer: The dotted name of the layer.
        dim: 0 for its outputs, 1 for its inputs.
        source: For each entry after the edit, the old index it comes from, or `NEW`.
        silent: Whether new connections have weight zero; else they are freshly drawn.
        scale: A factor for each entry after the edit; None for ones.
    """

    layer: str
    dim: int
    source: tuple[int, ...]
    silent: bool
    scale: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class MergeLeaf:
    """Adds ``part`` of the connections out of input ``dropped`` to those of ``kept``, for each pair
    ``(kept, dropped)``; the rest stays.
    """

    layer: str
    pairs: tuple[tuple[int, int], ...]
    part: float = 1.0


@dataclass(frozen=True, slots=True)
class PassOn:
    """Adds to a reader's bias what some of its inputs give it on average.

    Args:
        module: The dotted name of the reader.
        weight: The attribute of its weight, outputs by inputs.
        bias: The attribute of its bias.
        inputs: The inputs.
        means: The mean of each.
    """

    module: str
    weight: str
    bias: str
    inputs: tuple[int, ...]
    means: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Connect:
    """Makes connections of a sparse layer; see `AddConnections`."""

    layer: str
    pairs: tuple[tuple[int, int], ...]
    scale: float


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Removes connections of a sparse layer."""

    layer: str
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Removes connections of a sparse layer and makes others; see `MoveConnections`."""

    layer: str
    removed: tuple[tuple[int, int], ...]
    added: tuple[tuple[int, int], ...]
    scale: float


@dataclass(frozen=True, slots=True)
class SetAttribute:
    """Sets an attribute of a module, or one entry of it where the attribute is a tuple."""

    module: str
    name: str
    position: int | None
    value: int


@dataclass(frozen=True, slots=True)
class ScaleAttribute:
    """Multiplies a normalisation's epsilon by ``factor``.

    Args:
        module: The dotted name of the module.
        name: The attribute. None in it stands for the machine epsilon of ``gain``'s dtype.
        gain: The dotted name of the gain.
        factor: What it is multiplied by.
    """

    module: str
    name: str
    gain: str
    factor: float


@dataclass(frozen=True, slots=True)
class Block:
    """A module that is the identity at birth.

    Args:
        kind: ``"exact"``: the activation, then the identity matrix, in front of the same idempotent
            activation; ``"partial"``: an activation that begins as the identity, then the identity
            matrix; ``"residual"``: a branch whose last map is zero.
        site: Where it stands.
        width: Its units.
        activation: Its activation.
    """

    kind: Literal["exact", "partial", "residual"]
    site: Site
    width: int
    activation: ActivationName


@dataclass(frozen=True, slots=True)
class Skip:
    """One end of a skip connection. The target's end makes the carrier, the source's shares it."""

    end: Literal["source", "target"]
    source: Site
    target: Site


@dataclass(frozen=True, slots=True)
class AddGraft:
    """Puts a module that is the identity at birth behind what stands at ``layer``."""

    layer: str
    name: str
    graft: Block | Skip


@dataclass(frozen=True, slots=True)
class RemoveGraft:
    """Takes the module out again that stands under ``name`` behind ``layer``."""

    layer: str
    name: str


@dataclass(frozen=True, slots=True)
class SetGate:
    """Lets some of a layer's inputs pass and silences others; all ones take the gate away.

    Args:
        layer: The dotted name of the layer.
        open: 1 or 0 for each input channel.
    """

    layer: str
    open: tuple[float, ...]


Move = (
    MoveAxis
    | Regain
    | KeepSpectrum
    | MoveLeaf
    | MergeLeaf
    | PassOn
    | Connect
    | Disconnect
    | Reconnect
    | SetAttribute
    | ScaleAttribute
    | AddGraft
    | RemoveGraft
    | SetGate
)
