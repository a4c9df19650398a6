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

    def existing(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Which places hold one. Shape ``(n,)``, bool."""


def places_to_make(held: Connected, pairs: Pairs) -> Places:
    """Where ``pairs`` are, none of which the layer has.

    Raises:
        SurgeryError: See `places_of` and `refuse_existing`.
    """
    places = places_of(pairs, held.shape, held.weight.device)
    refuse_existing(held, *places)
    return places


def places_to_remove(held: Connected, pairs: Pairs) -> Places:
    """Where ``pairs`` are, all of which the layer has, and others besides.

    Raises:
        SurgeryError: See `places_of` and `refuse_missing`.
    """
    places = places_of(pairs, held.shape, held.weight.device)
    refuse_missing(held, *places)
    return places


def places_to_move(held: Connected, removed: Pairs, added: Pairs) -> tuple[Places, Places]:
    """Where ``removed`` are, and where ``added``: absent, or among ``removed``.

    Raises:
        SurgeryError: See `places_to_remove` and `refuse_existing`.
    """
    gone = places_to_remove(held, removed)
    rows, columns = come = places_of(added, held.shape, held.weight.device)
    taken = held.existing(rows, columns)
    if bool(taken.any()):
        width = held.shape[1]
        stay = ~torch.isin(rows * width + columns, gone[0] * width + gone[1])
        refuse_existing(held, rows[stay], columns[stay])
    return gone, come


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


def refuse_existing(held: Connected, rows: Tensor, columns: Tensor) -> None:
    """Refuses places that hold a connection.

    Raises:
        SurgeryError: One does.
    """
    taken = held.existing(rows, columns)
    if bool(taken.any()):
        row, column = _first(taken, rows, columns)
        raise SurgeryError(
            f"Output unit {row} is connected to input unit {column} already; "
            "a pair to connect must be absent from the layer's pattern."
        )


def refuse_missing(held: Connected, rows: Tensor, columns: Tensor) -> None:
    """Refuses places that hold no connection, and all connections at once.

    Raises:
        SurgeryError: One holds none, or none would be left.
    """
    absent = ~held.existing(rows, columns)
    if bool(absent.any()):
        row, column = _first(absent, rows, columns)
        raise SurgeryError(
            f"Output unit {row} is not connected to input unit {column}; "
            "a pair to disconnect must be in the layer's pattern."
        )
    if len(rows) == held.count:
        raise SurgeryError(
            f"Disconnecting {len(rows)} pairs would leave the layer without a connection; "
            "keep at least one."
        )


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


def _first(which: Tensor, rows: Tensor, columns: Tensor) -> tuple[int, int]:
    place = int(which.nonzero()[0])
    return int(rows[place]), int(columns[place])
