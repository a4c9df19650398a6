"""Plans of edits that change, repeat or renew the output channels of a layer: all are one index
map of units.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from structure_net.errors import SurgeryError
from structure_net.graph.channels import Axis, ChannelGroup, Fill, Growth, Role
from structure_net.surgery.moves import (
    KeepSpectrum,
    MergeLeaf,
    Move,
    MoveAxis,
    MoveLeaf,
    Regain,
    ScaleAttribute,
    SetAttribute,
)
from structure_net.surgery.reindex import NEW, Reindex

if TYPE_CHECKING:
    from structure_net.graph import ChannelGraph


def group_for_count(graph: ChannelGraph, layer: str, count: int) -> ChannelGroup:
    """The group of ``layer`` that can take ``count`` channels more.

    Raises:
        SurgeryError: The layer is unknown or frozen, or the count is not a positive multiple of a
            unit.
    """
    default = graph.group(layer)
    if count < 1:
        raise SurgeryError(f"count must be at least 1; got {count} for {layer!r}.")
    fitting = [g for g in graph.groups_of(layer) if count % g.granularity == 0]
    if not fitting:
        raise SurgeryError(
            f"The channels of {layer!r} come in units of {default.granularity}; got a count of "
            f"{count}. "
            f"Use a multiple of {default.granularity}."
        )
    free = [g for g in fitting if g.growth is not Growth.DOUBLING]
    return free[0] if free else fitting[0]


def group_for_indices(
    graph: ChannelGraph, layer: str, indices: Sequence[int]
) -> tuple[ChannelGroup, tuple[int, ...]]:
    """The group of ``layer`` in which ``indices`` are whole units, and the numbers of these units,
    in order.

    Raises:
        SurgeryError: The layer is unknown or frozen, an index is out of range or named twice, or a
            unit is incomplete.
    """
    default = graph.group(layer)
    if not indices:
        raise SurgeryError(f"No index was given for {layer!r}; name at least one channel.")
    for index in indices:
        if not 0 <= index < default.size:
            raise SurgeryError(
                f"{layer!r} has {default.size} channels, 0 to {default.size - 1}; got index "
                f"{index}."
            )
    wanted = set(indices)
    if len(wanted) != len(indices):
        twice = next(i for i in indices if indices.count(i) > 1)
        raise SurgeryError(f"Each channel can be named once; {twice} is named again for {layer!r}.")
    for group in graph.groups_of(layer):
        units = _whole_units(group, indices)
        if units is not None:
            return group, units
    raise SurgeryError(_incomplete(default, wanted))


def _whole_units(group: ChannelGroup, indices: Sequence[int]) -> tuple[int, ...] | None:
    wanted = set(indices)
    owner = {channel: unit for unit, channels in enumerate(group.channels) for channel in channels}
    if not wanted <= owner.keys():
        return None
    units = tuple(dict.fromkeys(owner[index] for index in indices))
    complete = {channel for unit in units for channel in group.channels[unit]}
    return units if complete == wanted else None


def _incomplete(group: ChannelGroup, wanted: set[int]) -> str:
    for channels in group.channels:
        missing = sorted(set(channels) - wanted)
        if missing and wanted & set(channels):
            first = min(wanted & set(channels))
            return (
                f"The channels of {group.layer!r} move in units of {group.granularity}: channel "
                f"{first} belongs to "
                f"{tuple(channels)}. Name the whole unit; {tuple(missing)} missing."
            )
    fixed = min(wanted - {c for channels in group.channels for c in channels})
    return f"Channel {fixed} of {group.layer!r} is fixed; it belongs to no unit that can change."


def grow(group: ChannelGroup, units: int) -> tuple[Move, ...]:
    """``units`` new units behind the old ones.

    Raises:
        SurgeryError: The group grows only by doubling.
    """
    if group.growth is Growth.DOUBLING:
        reason = group.refusal or "it grows only by doubling."
        raise SurgeryError(
            f"{group.layer!r} cannot grow by a count: {reason.rstrip('.')}. "
            f"DoubleWidth({group.layer!r}) keeps the function."
        )
    return rearrange(group, Reindex.grow(group.units, units))


def drop(group: ChannelGroup, units: Sequence[int]) -> tuple[Move, ...]:
    """The group without ``units``.

    Raises:
        SurgeryError: No unit would be left.
    """
    if len(units) >= group.units:
        raise SurgeryError(
            f"Removing {len(units)} of {group.units} units would leave {group.layer!r} empty; "
            "keep at least one."
        )
    return rearrange(group, Reindex.drop(group.units, units))


def split(
    group: ChannelGroup, units: Sequence[int], *, noise: float = 0.0, share: float = 0.5
) -> tuple[Move, ...]:
    """A copy of each of ``units`` behind the old ones, which gets ``share`` of what reads the unit.

    Raises:
        SurgeryError: A normalisation over the channels would see the copies, the noise is negative,
            or the share is out of range.
    """
    if not 0.0 <= share <= 1.0:
        raise SurgeryError(f"share must be in [0, 1]; got {share}.")
    if not (noise >= 0.0 and math.isfinite(noise)):
        raise SurgeryError(f"noise must be at least 0 and finite; got {noise}.")
    if group.normalised:
        raise SurgeryError(
            f"A normalisation reduces over the channels of {group.layer!r}, so that copies of "
            "single units would move "
            f"the others. Use AddNeurons, or DoubleWidth({group.layer!r}), which copies all of "
            "them."
        )
    if group.doubling_refusal is not None:
        raise SurgeryError(f"{group.layer!r} cannot be split: {group.doubling_refusal}.")
    return _repeat(group, Reindex.split(group.units, units), noise, share)


def double(group: ChannelGroup) -> tuple[Move, ...]:
    """A copy of every unit; exact under normalisations too, since mean and variance stay.

    Raises:
        SurgeryError: Copies would change the function.
    """
    if group.doubling_refusal is not None:
        raise SurgeryError(f"{group.layer!r} cannot be doubled: {group.doubling_refusal}")
    every = tuple(range(group.units))
    return _repeat(group, Reindex.split(group.units, every), 0.0, 0.5)


def merge(group: ChannelGroup, pairs: Sequence[tuple[int, int]]) -> tuple[Move, ...]:
    """Each pair ``(kept, dropped)`` of units as one: readers of ``dropped`` are added to those of
    ``kept``.

    Raises:
        SurgeryError: Pairs share a unit, or hold a part of one.
    """
    _refuse_gains_that_read(group)
    gone = [dropped for _, dropped in pairs]
    if len(set(gone)) != len(gone) or {keep for keep, _ in pairs} & set(gone):
        raise SurgeryError(
            f"Units of {group.layer!r} must be merged whole: pair the channels of one unit with "
            "those of one other."
        )
    moves: list[Move] = []
    after = Reindex.drop(group.units, gone)
    for moved, axis in _moved(group, after):
        move = moved
        if axis.role is Role.READS or axis.halved:
            channels = tuple(
                pair
                for keep, dropped in pairs
                for pair in _paired(axis, group.units, keep, dropped)
            )
            if isinstance(move, MoveAxis):
                move = replace(move, merge=channels)
            else:
                moves.append(MergeLeaf(axis.tensor, channels))
        moves.append(move)
    return (*moves, *_following(group, after, rescaled=True))


def share(
    group: ChannelGroup, pairs: Sequence[tuple[int, int]], fraction: float
) -> tuple[Move, ...]:
    """Of each pair ``(first, second)`` of units the second gets a fraction of the first's readers.

    Raises:
        SurgeryError: The fraction is out of range, a unit is in two pairs, or readers are
            normalised.
    """
    if not 0.0 <= fraction <= 1.0:
        raise SurgeryError(f"fraction must be in [0, 1]; got {fraction}.")
    _refuse_gains_that_read(group)
    named = [unit for pair in pairs for unit in pair]
    if len(set(named)) != len(named):
        raise SurgeryError(f"A unit of {group.layer!r} can be in one pair; got {tuple(pairs)}.")
    moves: list[Move] = []
    same = tuple(range(group.units))
    for axis in group.axes:
        if axis.role is not Role.READS and not axis.halved:
            continue
        given = [pair for one, other in pairs for pair in _paired(axis, group.units, one, other)]
        taken = tuple((other, one) for one, other in given)
        if axis.leaf:
            moves.append(MergeLeaf(axis.tensor, taken, fraction))
            continue
        source, losing = axis.lift(same), {one for one, _ in given}
        scale = tuple(1.0 - fraction if i in losing else 1.0 for i in range(len(source)))
        move = MoveAxis(axis.tensor, axis.dim, axis.role, source, axis.fill, scale)
        moves.append(replace(move, merge=taken, part=fraction))
    return tuple(moves)


def _refuse_gains_that_read(group: ChannelGroup) -> None:
    """Two columns that are normalised, each or together with others, have no sum of the kind."""
    reading = {a.tensor for a in group.axes if a.role is Role.READS or a.halved}
    names = [s.gain for s in group.weight_norms] + [s.weight for s in group.spectral_norms]
    for name in names:
        if name in reading:
            raise SurgeryError(
                f"Units of {group.layer!r} have no sum: the norm of {name!r} would not be "
                "that of the sum. Take it off with torch.nn.utils.parametrize"
                ".remove_parametrizations, edit, and put it on again."
            )


def reset(group: ChannelGroup, units: Sequence[int]) -> tuple[Move, ...]:
    """Units with fresh incoming weights, zero outgoing ones and empty optimizer state; widths stay.

    Raises:
        SurgeryError: The group grows only by doubling, so that there are no silent units.
    """
    if group.growth is Growth.DOUBLING:
        reason = (group.refusal or "it grows only by doubling").rstrip(".")
        raise SurgeryError(f"Units of {group.layer!r} cannot be reset: {reason}.")
    renewed = set(units)
    source = tuple(NEW if unit in renewed else unit for unit in range(group.units))
    moves = [move for move, _ in _moved(group, Reindex(group.units, source))]
    return (*moves, *_regained(group))


def rearrange(group: ChannelGroup, units: Reindex) -> tuple[Move, ...]:
    """Moves of all axes of a group that follow a map of its units, and what depends on their
    number.
    """
    moves = [move for move, _ in _moved(group, units)]
    return (*moves, *_following(group, units, rescaled=True))


def _repeat(group: ChannelGroup, units: Reindex, noise: float, share: float) -> tuple[Move, ...]:
    """A map that repeats units: readers are divided between a unit and its copy."""
    moves: list[Move] = []
    for axis in group.axes:
        source = axis.lift(units.source)
        readers = axis.role is Role.READS
        scale = _shares(source, share) if readers or axis.halved else None
        if axis.leaf:
            moves.append(MoveLeaf(axis.tensor, axis.dim, source, readers, scale))
        else:
            own = noise if axis.role is Role.WRITES else 0.0
            move = MoveAxis(axis.tensor, axis.dim, axis.role, source, axis.fill, scale, own)
            moves.append(replace(move, pivot=axis.pivot))
    return (*moves, *_following(group, units, rescaled=False))


def _shares(source: Sequence[int], share: float) -> tuple[float, ...]:
    """The factor of each entry: ``1 - share`` where the first of two comes from an origin,
    ``share`` where the second does."""
    seen: set[int] = set()
    twice = {origin for origin, count in Counter(source).items() if count > 1}
    factors = []
    for origin in source:
        again = origin in seen
        seen.add(origin)
        factors.append((share if again else 1.0 - share) if origin in twice else 1.0)
    return tuple(factors)


def _regained(group: ChannelGroup) -> list[Move]:
    """What normalised weights are computed from besides, which follows what happens to them."""
    moves: list[Move] = [Regain(site) for site in group.weight_norms]
    return [*moves, *map(KeepSpectrum, group.spectral_norms)]


def _moved(group: ChannelGroup, units: Reindex) -> list[tuple[Move, Axis]]:
    gains = {norm.gain for norm in group.norms}
    moves: list[tuple[Move, Axis]] = []
    for axis in group.axes:
        source = axis.lift(units.source)
        scale = None
        if axis.power and units.new_size != group.units:
            scale = (_shrinkage(group, axis, len(source)) ** -axis.power,) * len(source)
        if axis.leaf:
            moves.append((replace(_leaf(group, axis, source), scale=scale), axis))
            continue
        if axis.tensor in gains and units.new_size != group.units:
            factor = math.sqrt(_shrinkage(group, axis, len(source)))
            scale = tuple(1.0 if origin == NEW else factor for origin in source)
        move = MoveAxis(axis.tensor, axis.dim, axis.role, source, axis.fill, scale)
        moves.append((replace(move, weights=axis.weights, pivot=axis.pivot), axis))
    return moves


def _shrinkage(group: ChannelGroup, axis: Axis, size: int) -> float:
    """The axis' size before the edit, over its size after it."""
    before = len(axis.lift(tuple(range(group.units))))
    return max(before - axis.lost, 1) / max(size - axis.lost, 1)


def _leaf(group: ChannelGroup, axis: Axis, source: tuple[int, ...]) -> MoveLeaf:
    if NEW in source and axis.fill is Fill.MEAN:
        raise SurgeryError(
            f"{group.layer!r} cannot grow by a count: the sparse layer {axis.tensor!r} writes "
            "into a normalised "
            "stream, where new units must be the mean of all others. "
            f"DoubleWidth({group.layer!r}) keeps the function."
        )
    return MoveLeaf(axis.tensor, axis.dim, source, axis.fill is Fill.ZERO)


def _paired(axis: Axis, units: int, keep: int, dropped: int) -> list[tuple[int, int]]:
    """The axis entries of two units, side by side."""
    alone = axis.lift((keep,)), axis.lift((dropped,))
    assert units > max(keep, dropped)
    return [pair for pair in zip(*alone, strict=True) if pair[0] != pair[1]]


def _following(group: ChannelGroup, units: Reindex, *, rescaled: bool) -> list[Move]:
    """Integers that follow the number of units, and the epsilon of normalisations."""
    moves: list[Move] = _regained(group)
    moves += [
        SetAttribute(site.module, site.name, site.position, site.value(units.new_size))
        for site in group.attributes
    ]
    gains = {axis.tensor: axis for axis in group.axes}
    for norm in group.norms if rescaled and units.new_size != group.units else ():
        axis = gains[norm.gain]
        ratio = _shrinkage(group, axis, len(axis.lift(units.source)))
        moves.append(ScaleAttribute(norm.module, norm.epsilon, norm.gain, ratio))
    return moves
