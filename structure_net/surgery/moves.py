"""Moves: what an edit does to a model, piece by piece, as values.

`structure_net.surgery.planning` writes them, `structure_net.surgery.operating` carries them out. A
move names things by their dotted names and holds no tensor, so that a plan can be printed, compared
and made without touching a model.
"""

from __future__ import annotations

from dataclasses import dataclass

from structure_net.graph.channels import Fill, Role


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
        merge: Pairs of old indices ``(kept, dropped)``: before anything else, ``dropped`` is added
            to ``kept``.
    """

    tensor: str
    dim: int
    role: Role
    source: tuple[int, ...]
    fill: Fill
    scale: tuple[float, ...] | None = None
    noise: float = 0.0
    merge: tuple[tuple[int, int], ...] = ()


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
class SetAttribute:
    """Sets an attribute of a module, or one entry of it where the attribute is a tuple."""

    module: str
    name: str
    position: int | None
    value: int


@dataclass(frozen=True, slots=True)
class ScaleAttribute:
    """Multiplies an attribute of a module (a normalisation's epsilon) by ``factor``."""

    module: str
    name: str
    factor: float


Move = MoveAxis | MoveLeaf | Connect | Disconnect | SetAttribute | ScaleAttribute
