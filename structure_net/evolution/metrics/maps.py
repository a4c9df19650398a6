r"""Which directions live through which layers: the barcode of a chain of linear maps.

The layers of a network are no chain complex: :math:`W_2 W_1 \ne 0`, so that a "homology"
:math:`\ker W_2 / \operatorname{im} W_1` is not defined. A chain of maps
:math:`\mathbb R^{n_0} \to \mathbb R^{n_1} \to \dots \to \mathbb R^{n_L}` is a persistence module,
and falls into intervals: ``[i, j]`` counts the directions that first appear in space ``i`` and are
last seen in space ``j``. With :math:`r_{ij} = \operatorname{rank}(W_j \cdots W_{i+1})` and
:math:`r_{ii} = n_i`,

.. math:: m_{ij} = r_{ij} - r_{i-1,j} - r_{i,j+1} + r_{i-1,j+1}.

``[l, l]`` is the dimension of :math:`\ker W_{l+1} / (\ker W_{l+1} \cap \operatorname{im} W_l)`:
what a homology of the space would count, and it is that homology where :math:`W_{l+1} W_l = 0`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from structure_net.evolution.metrics.validity import Unavailable


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """What comes out of some maps, one after the other.

    Args:
        basis: Orthonormal. Shape ``(n, rank)``, float64.
        norm: The largest singular value of the last map, on what the maps before it leave.
    """

    basis: Tensor
    norm: float


Keep = Callable[[int, int, float, Callable[[], Image]], Image]
"""Takes the first and the last map of a segment (from 0), the tolerance, and what computes its
image; returns the image, from memory if there is one."""


@dataclass(frozen=True, slots=True)
class MapBarcode:
    """The barcode of a chain of maps between spaces ``0`` to ``L``; map ``l`` ends in space ``l``.

    Args:
        dimensions: Of the spaces.
        ranks: Of the maps from space ``i`` to space ``j``, by ``(i, j)`` with ``i <= j``.
        bars: How many directions live from space ``i`` to space ``j``, by ``(i, j)``; those that
            none do are left out.
    """

    dimensions: tuple[int, ...]
    ranks: Mapping[tuple[int, int], int]
    bars: Mapping[tuple[int, int], int]

    @property
    def through(self) -> int:
        """Directions that live from the first space to the last."""
        return self.ranks[0, len(self.dimensions) - 1]

    def isolated(self, space: int) -> int:
        """``[space, space]``: directions that nothing before makes and nothing behind reads."""
        return self.bars.get((space, space), 0)

    def unused(self, space: int) -> int:
        """``n - rank``: directions that the map into a space does not reach; 0 of the first."""
        if space == 0:
            return 0
        return self.dimensions[space] - self.ranks[space - 1, space]

    def lost(self, space: int) -> int:
        r"""Directions that the map into a space makes and the next one forgets.

        :math:`\operatorname{rank} W_l - \operatorname{rank}(W_{l+1} W_l)`; of the first space, what
        the first map forgets. 0 of the last.
        """
        if space == len(self.dimensions) - 1:
            return 0
        before = max(space - 1, 0)
        return self.ranks[before, space] - self.ranks[before, space + 1]

    def narrowed(self, space: int) -> int:
        """Directions of the first space that live up to the space before this one, not to this."""
        return self.ranks[0, space - 1] - self.ranks[0, space] if space else 0


def map_barcode(
    maps: Sequence[Tensor], *, tolerance: float | None = None, keep: Keep | None = None
) -> MapBarcode | Unavailable:
    r"""The barcode of a chain of maps.

    The image of each product is carried forward as an orthonormal basis, so that a map's own
    singular values decide what it forgets, however small the maps before made it: a singular value
    of :math:`W_{l+1} Q_l` counts where it exceeds ``tolerance`` times
    :math:`\lVert W_{l+1} \rVert_2`.

    Args:
        maps: :math:`W_1` to :math:`W_L`, shape ``(n_l, n_{l-1})`` each.
        tolerance: Relative; if None, the largest dimension times the rounding of the coarsest
            precision among the maps, as for the rank of one matrix.
        keep: What remembers the images of segments whose maps are those of an earlier call.

    Returns:
        Unavailable if the tolerance cuts through singular values such that the ranks contradict
        each other.

    Raises:
        ValueError: There is no map, one is not finite, or consecutive shapes do not fit.

    References:
        Gabriel, "Unzerlegbare Darstellungen I", Manuscripta Mathematica 6, 1972.
    """
    dimensions = _dimensions(maps)
    if tolerance is None:
        tolerance = max(dimensions) * max(torch.finfo(one.dtype).eps for one in maps)
    exact = [one.detach().to("cpu", torch.float64) for one in maps]
    ranks = _ranks(exact, dimensions, tolerance, keep)
    return _barcode(dimensions, ranks)


def _dimensions(maps: Sequence[Tensor]) -> tuple[int, ...]:
    if not maps:
        raise ValueError("A chain needs at least one map; got none.")
    for position, one in enumerate(maps):
        if one.dim() != 2 or not one.is_floating_point():
            raise ValueError(
                f"Map {position} must be a matrix of real numbers; got {one.dtype},"
                f" {tuple(one.shape)}."
            )
        if not bool(one.isfinite().all()):
            raise ValueError(f"Map {position} must be finite; it holds a value that is not.")
        if position and one.shape[1] != maps[position - 1].shape[0]:
            raise ValueError(
                f"Map {position} must read the {maps[position - 1].shape[0]} dimensions that the"
                f" one before it ends in; it reads {one.shape[1]}."
            )
    return (maps[0].shape[1], *(one.shape[0] for one in maps))


def _ranks(
    maps: Sequence[Tensor], dimensions: tuple[int, ...], tolerance: float, keep: Keep | None
) -> dict[tuple[int, int], int]:
    norms: dict[int, float] = {}
    ranks = {(space, space): size for space, size in enumerate(dimensions)}
    # From the last map back, so that each map's norm is known when a longer chain meets it.
    for start in reversed(range(len(maps))):
        image: Image | None = None
        for step in range(start, len(maps)):
            compute = partial(_image, maps[step], image, tolerance, norms.get(step))
            image = compute() if keep is None else keep(start, step, tolerance, compute)
            norms.setdefault(step, image.norm)
            ranks[start, step + 1] = image.basis.shape[1]
    return ranks


def _image(one: Tensor, before: Image | None, tolerance: float, norm: float | None) -> Image:
    """The image of a map on that of those before it; ``norm`` is the map's own where known."""
    carried = one if before is None else one @ before.basis
    decomposed = torch.linalg.svd(carried, full_matrices=False)
    largest = float(decomposed.S.max()) if carried.numel() else 0.0
    scale = largest if norm is None else norm
    return Image(decomposed.U[:, tolerance * scale < decomposed.S], largest)


def _barcode(
    dimensions: tuple[int, ...], ranks: Mapping[tuple[int, int], int]
) -> MapBarcode | Unavailable:
    bars = {}
    for start, end in sorted(ranks):
        count = (
            ranks[start, end]
            - ranks.get((start - 1, end), 0)
            - ranks.get((start, end + 1), 0)
            + ranks.get((start - 1, end + 1), 0)
        )
        if count < 0:
            return Unavailable(
                f"the ranks of the maps around layers {start} to {end} hang on singular values at"
                " the tolerance, and contradict each other"
            )
        if count:
            bars[start, end] = count
    return MapBarcode(dimensions, dict(sorted(ranks.items())), bars)
