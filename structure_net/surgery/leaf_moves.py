"""What moves make of sparse layers, which rearrange themselves: changes of their tensors, pure."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from structure_net.core.changes import TensorChange, assign, in_turn
from structure_net.core.pairs import PairTable, PairTuple
from structure_net.core.sparsity import SparseLayer, pair_indices
from structure_net.errors import SurgeryError
from structure_net.surgery.bound_weights import refuse_bound
from structure_net.surgery.grafts import resolved
from structure_net.surgery.moves import Connect, Disconnect, MergeLeaf, Move, MoveLeaf, Reconnect
from structure_net.surgery.tensors import draws

LeafMove = MoveLeaf | MergeLeaf | Connect | Disconnect | Reconnect


def sparse_layer(model: nn.Module, name: str) -> SparseLayer:
    """The sparse layer of a dotted name.

    Raises:
        SurgeryError: There is no such layer, or it is dense.
    """
    layer = model.get_submodule(resolved(model, name))
    if not isinstance(layer, SparseLayer):
        raise SurgeryError(
            f"{name!r} is a {type(layer).__name__}, no sparse layer; connections can be edited in "
            "layers of structure_net.core."
        )
    return layer


def leaf_changes(
    model: nn.Module, moves: Sequence[Move], seed: int
) -> Iterator[tuple[str, list[TensorChange]]]:
    """Each sparse layer that ``moves`` rearrange, and what changes of it.

    Raises:
        SurgeryError: A move does not fit its layer, or the layer's weight is not its own.
    """
    by_layer: defaultdict[str, list[LeafMove]] = defaultdict(list)
    for move in moves:
        if isinstance(move, LeafMove):
            by_layer[move.layer].append(move)
    layers = {name: sparse_layer(model, name) for name in by_layer}
    for biases in (True, False):
        chosen = {n: one for n, one in layers.items() if _moves_bias(by_layer[n]) is biases}
        if chosen:
            refuse_bound(model, chosen, biases=biases)
    for name, several in by_layer.items():
        changes = _changes(layers[name], several, draws(seed, name))
        yield name, [change.within(name) for change in changes]


def _moves_bias(moves: Sequence[LeafMove]) -> bool:
    """Whether outputs come, go or change places; connections and inputs leave a bias alone."""
    return any(isinstance(move, MoveLeaf) and move.dim == 0 for move in moves)


def _changes(
    layer: SparseLayer, moves: Sequence[LeafMove], generator: torch.Generator
) -> tuple[TensorChange, ...]:
    """All moves of one layer as changes of its tensors; a second move is worked out on a copy
    after the first.
    """
    combined: tuple[TensorChange, ...] = ()
    for number, move in enumerate(moves):
        changes = _rearranged(layer, move, generator)
        combined = in_turn(combined, changes)
        if number + 1 < len(moves):
            layer = copy.deepcopy(layer)
            assign(layer, changes)
            layer.settle()
    return combined


def _rearranged(
    layer: SparseLayer, move: LeafMove, generator: torch.Generator
) -> tuple[TensorChange, ...]:
    match move:
        case MoveLeaf():
            scale = None if move.scale is None else torch.tensor(move.scale, dtype=torch.float64)
            return layer.reindexed(
                move.dim,
                move.source,
                new="silent" if move.silent else "fresh",
                scale=scale,
                generator=generator,
            )
        case MergeLeaf():
            return layer.merged(move.pairs, part=move.part)
        case Connect():
            come = _table(layer, move.layer, move.pairs)
            return layer.connected(come, _weights(layer, move.scale, come[:, 0], generator))
        case Disconnect():
            return layer.disconnected(move.pairs)
        case Reconnect():
            gone, come = (_table(layer, move.layer, pairs) for pairs in (move.removed, move.added))
            weights = _weights(layer, move.scale, come[:, 0], generator, gone=gone[:, 0])
            return layer.moved(gone, come, weights)


def _table(layer: SparseLayer, name: str, pairs: tuple[tuple[int, int], ...]) -> Tensor:
    """The pairs, read once. Shape ``(n, 2)``, int64.

    Raises:
        SurgeryError: An output unit is out of range; all else the layer says itself.
    """
    if isinstance(pairs, PairTuple | PairTable):
        table = torch.tensor(pairs.table.T).T
    else:
        table = torch.tensor(pairs, dtype=torch.int64).view(-1, 2)
    if not len(table):
        return table
    least, most = table[:, 0].aminmax()
    if int(least) >= 0 and int(most) < layer.out_channels:
        return table
    try:
        pair_indices(table, (layer.out_channels, len(layer.sources)))
    except ValueError as error:
        raise SurgeryError(f"{name!r} cannot be connected so: {error}") from error
    return table


def _weights(
    layer: SparseLayer,
    scale: float,
    rows: Tensor,
    generator: torch.Generator,
    *,
    gone: Tensor | None = None,
) -> Tensor | None:
    """Weights of new connections: normal, ``scale / sqrt(fan_in)`` of the unit after the edit.

    Args:
        layer: Before the edit.
        scale: See `AddConnections`.
        rows: The output unit of each new connection. Shape ``(n,)``, int64.
        generator: What they are drawn with.
        gone: The output unit of each connection that the edit removes. Shape ``(m,)``, int64.

    Returns:
        Shape ``(n, *kernel)``; None for zeros.
    """
    if scale == 0.0:
        return None
    live = layer.live_weights
    kernel = live.shape[1:]
    fan_in = layer.fan_in().cpu() + torch.bincount(rows, minlength=layer.out_channels)
    if gone is not None:
        fan_in -= torch.bincount(gone, minlength=layer.out_channels)
    spread = scale / (fan_in * max(1, kernel.numel())).to(torch.float64).sqrt()
    noise = torch.randn((len(rows), *kernel), generator=generator, dtype=torch.float64)
    return noise.mul_(spread[rows].view(-1, *[1] * len(kernel))).to(live)
