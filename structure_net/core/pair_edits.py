"""Connections to make, to remove and to move, checked against those that a layer has."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from structure_net.core.rearranging import Places, along
from structure_net.core.sparsity import Pairs, pair_indices
from structure_net.errors import SurgeryError


class Connected(Protocol):
    """What connections a layer has."""

    @property
    def weight(self) -> Tensor:
        """Their weights, on the layer's device."""

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the pattern."""

    @property
    def count(self) -> int:
        """Their number."""

    def located(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Which connection each place holds, by its number in the layer's own order; -1 for none.
        Shape ``(n,)``, int64.
        """


def refuse_misfit(held: Connected, gone: Places, come: Places) -> None:
    """Refuses to move what cannot.

    Args:
        held: What the layer has.
        gone: Where connections are to go: it must have one at each, and others besides.
        come: Where they are to come: places that are free, or left by those that go.

    Raises:
        SurgeryError: One of the two is not so.
    """
    leaving, found = held.located(*gone), held.located(*come)
    if bool((leaving < 0).any()):
        row, column = _first(leaving < 0, gone)
        raise SurgeryError(
            f"Output unit {row} is not connected to input unit {column}; "
            "a pair to disconnect must be in the layer's pattern."
        )
    if len(leaving) and len(leaving) == held.count:
        raise SurgeryError(
            f"Disconnecting {len(leaving)} pairs would leave the layer without a connection; "
            "keep at least one."
        )
    stays = (found >= 0) & ~torch.isin(found, leaving)
    if bool(stays.any()):
        row, column = _first(stays, come)
        raise SurgeryError(
            f"Output unit {row} is connected to input unit {column} already; "
            "a pair to connect must be absent from the layer's pattern."
        )


def places_of(pairs: Pairs, shape: tuple[int, int], device: torch.device) -> Places:
    """Rows and columns of ``pairs``, shape ``(n,)`` each, on ``device``.

    Args:
        pairs: Pairs ``(output unit, input unit)``.
        shape: That of the layer's pattern.
        device: That of the layer.

    Raises:
        SurgeryError: A pair is out of range or repeated.
    """
    try:
        rows, columns = pair_indices(pairs, shape)
    except ValueError as error:
        raise SurgeryError(str(error)) from error
    return rows.to(device), columns.to(device)


def weights_for(values: Tensor | None, count: int, like: Tensor, kernel: tuple[int, ...]) -> Tensor:
    """The weights of new connections. Shape ``(count, *kernel)``, in the type of ``like``.

    Args:
        values: Shape ``(count,)`` or ``(count, *kernel)``; zeros if None.
        count: The number of connections.
        like: The layer's weight.
        kernel: The shape of a connection's weights.

    Raises:
        SurgeryError: ``values`` has another shape.
    """
    if values is None:
        return like.new_zeros(count, *kernel)
    if tuple(values.shape) not in ((count,), (count, *kernel)):
        raise SurgeryError(
            f"values must have shape {(count,)} or {(count, *kernel)}; got {tuple(values.shape)}."
        )
    values = values.detach().to(like)
    if values.dim() > 1:
        return values
    return along(values, 0, 1 + len(kernel)).expand(count, *kernel)


def _first(which: Tensor, places: Places) -> tuple[int, int]:
    place = int(which.nonzero()[0])
    return int(places[0][place]), int(places[1][place])
