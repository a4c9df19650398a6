"""How new units begin: what their incoming and outgoing weights hold.

By default new units read with fresh weights, as large as the layer's own, and nothing reads them
yet (`ZeroOutgoing`): the function stays, and the outgoing weights receive a gradient at once, the
incoming ones as soon as those have moved. The others trade that against something.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core.running import call, preserve
from structure_net.core.sparsity import SparseLayer
from structure_net.core.undoing import Undoing, hooked, set_gradients
from structure_net.errors import SurgeryError
from structure_net.graph.channels import ChannelGroup, Fill, Role
from structure_net.surgery.edits import AddHeads, AddNeurons, Edit, SplitNeurons
from structure_net.surgery.moves import KeepSpectrum, Move, MoveAxis, MoveLeaf, Regain
from structure_net.surgery.reindex import NEW
from structure_net.surgery.slots import Slot
from structure_net.surgery.tensors import draws

Probe = tuple[Any, Any, Callable[[Any, Any], Tensor]]


class Initialiser(ABC):
    """How the new units of `AddNeurons` and `AddHeads` begin."""

    @property
    @abstractmethod
    def preserves(self) -> bool:
        """Whether the function stays."""

    @property
    def probe_size(self) -> int:
        """How many samples it wants to look at; 0, the default, where it looks at no data."""
        return 0

    def edit(self, change: Edit, group: ChannelGroup, seed: int) -> Edit:
        """The edit that is carried out instead; the same by default. Pure."""
        del group, seed
        return change

    def moves(self, moves: Sequence[Move]) -> tuple[Move, ...]:
        """The moves with other fills; the same by default. Pure."""
        return tuple(moves)

    def refine(self, model: nn.Module, newborn: Newborn, probe: Probe | None, seed: int) -> None:
        """Writes new entries that depend on data, behind the edit; nothing by default."""
        del model, newborn, probe, seed


@dataclass(frozen=True, slots=True)
class Newborn:
    """Where the new units of an edit are.

    Args:
        layer: The layer that was grown.
        channels: Its new output channels, where they are rows of its own weight.
        writers: New rows of weight matrices and kernels.
        readers: New columns.
        bound: A weight whose new rows cannot change alone, since a norm is taken over all of them.
    """

    layer: str
    channels: tuple[int, ...]
    writers: tuple[Slot, ...]
    readers: tuple[Slot, ...]
    bound: str | None = None


def newborn_of(model: nn.Module, layer: str, moves: Sequence[Move]) -> Newborn:
    """Where the units are that ``moves`` made, once they were carried out."""
    writers: list[Slot] = []
    readers: list[Slot] = []
    for move in moves:
        if not isinstance(move, MoveAxis | MoveLeaf) or NEW not in move.source:
            continue
        new = [i for i, origin in enumerate(move.source) if origin == NEW]
        slot = _slot(model, move, new)
        if slot is None:
            continue
        reads = move.dim == 1 if isinstance(move, MoveLeaf) else move.role is Role.READS
        if reads:
            readers.append(slot)
        elif isinstance(move, MoveLeaf) or move.role is Role.WRITES:
            writers.append(slot)
    prefix = f"{layer}."
    own = {id(p) for name, p in model.named_parameters() if name.startswith(prefix)}
    rows = [slot.new.tolist() for slot in writers if id(slot.tensor) in own and slot.dim == 0]
    channels = tuple(rows[0]) if rows else ()
    return Newborn(layer, channels, tuple(writers), tuple(readers), _bound(moves))


def _bound(moves: Sequence[Move]) -> str | None:
    written = {
        (m.tensor, m.dim) for m in moves if isinstance(m, MoveAxis) and m.role is Role.WRITES
    }
    for move in moves:
        if isinstance(move, KeepSpectrum) and (move.site.weight, move.site.dim) in written:
            return move.site.weight
        if isinstance(move, Regain) and any(
            name == move.site.direction and dim != move.site.dim for name, dim in written
        ):
            return move.site.direction
    return None


def _slot(model: nn.Module, move: MoveAxis | MoveLeaf, new: Sequence[int]) -> Slot | None:
    """The new entries of a weight; None of what is no weight between units."""
    if isinstance(move, MoveLeaf):
        layer = model.get_submodule(move.layer)
        assert isinstance(layer, SparseLayer)
        held = getattr(layer, "weight", None)
        if not isinstance(held, nn.Parameter):
            return None
        return Slot.of_layer(layer, held, move.dim, torch.tensor(new, device=held.device))
    owner, _, name = move.tensor.rpartition(".")
    held = getattr(model.get_submodule(owner), name)
    if not isinstance(held, nn.Parameter) or held.dim() < 2:
        return None
    return Slot(held, move.dim, torch.tensor(new, device=held.device))


@dataclass(frozen=True, slots=True)
class ZeroOutgoing(Initialiser):
    """Fresh incoming weights, outgoing ones zero: the default."""

    @property
    def preserves(self) -> bool:
        """True."""
        return True


@dataclass(frozen=True, slots=True)
class RandomOutgoing(Initialiser):
    """Fresh weights on both sides, as large as the layers' own. The function does not stay."""

    @property
    def preserves(self) -> bool:
        """False."""
        return False

    def moves(self, moves: Sequence[Move]) -> tuple[Move, ...]:
        """Readers are drawn instead of zero."""
        return tuple(_loud(move) for move in moves)


def _loud(move: Move) -> Move:
    if isinstance(move, MoveAxis) and move.role is Role.READS and move.fill is Fill.ZERO:
        return replace(move, fill=Fill.RANDOM)
    if isinstance(move, MoveLeaf) and move.dim == 1:
        return replace(move, silent=False)
    return move


@dataclass(frozen=True, slots=True)
class CopyUnits(Initialiser):
    """New units are copies of old ones, drawn at random, and share what reads them.

    Args:
        noise: The standard deviation of what tells a copy from its origin, relative to the
            weights' own. Without noise the function stays; with it, nearly.

    References:
        Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016.
    """

    noise: float = 1e-3

    @property
    def preserves(self) -> bool:
        """True without noise."""
        return self.noise == 0.0

    def edit(self, change: Edit, group: ChannelGroup, seed: int) -> Edit:
        """A split of as many units as were to be added.

        Raises:
            SurgeryError: More units are added than there are.
        """
        if not isinstance(change, AddNeurons | AddHeads):
            return change
        heads = isinstance(change, AddHeads)
        units = change.count if heads else change.count // group.granularity
        if units > group.units:
            raise SurgeryError(
                f"CopyUnits can copy each of the {group.units} units of {change.layer!r} once; got "
                f"{units}. Add them in several edits."
            )
        drawn = torch.randperm(group.units, generator=draws(seed, change.layer))[:units].tolist()
        indices = tuple(channel for unit in drawn for channel in group.channels[unit])
        return SplitNeurons(change.layer, indices, self.noise)


@dataclass(frozen=True, slots=True)
class UnitVariance(Initialiser):
    """Fresh incoming weights, scaled so that each new unit's output has a given spread on the
    probe.

    Args:
        spread: The standard deviation; None for the mean one of the layer's old units.
        probe_size: Samples, where growth by a strategy takes them from the training data.

    References:
        Mishkin and Matas, "All you need is a good init", ICLR 2016 (LSUV).
    """

    spread: float | None = 1.0
    probe_size: int = 512

    @property
    def preserves(self) -> bool:
        """True: outgoing weights are zero."""
        return True

    def refine(self, model: nn.Module, newborn: Newborn, probe: Probe | None, seed: int) -> None:
        """Scales the new rows of the layer that was grown.

        Raises:
            SurgeryError: There is no probe, a new unit's output does not vary on it, or the new
                units are read at birth.
        """
        del seed
        inputs = needed(probe, "UnitVariance")[0]
        refuse_read(newborn, "UnitVariance")
        if not newborn.channels:
            raise SurgeryError(f"The new units of {newborn.layer!r} are no rows of its own weight.")
        outputs = _outputs(model, newborn.layer, inputs)
        if outputs is None:
            raise SurgeryError(
                f"The output channels of {newborn.layer!r} cannot be observed for UnitVariance."
            )
        spread = outputs.std(0)
        new = list(newborn.channels)
        if not bool((spread[new] > 0).all() and spread[new].isfinite().all()):
            raise SurgeryError(f"New units of {newborn.layer!r} do not vary on the probe's inputs.")
        old = [i for i in range(len(spread)) if i not in set(new)]
        wanted = spread[old].mean() if self.spread is None else torch.tensor(self.spread)
        layer = model.get_submodule(newborn.layer)
        own = {id(parameter) for parameter in layer.parameters()}
        for slot in newborn.writers:
            if id(slot.tensor) in own:
                factor = (wanted / spread[new]).to(slot.tensor)
                slot.write(slot.rows(slot.tensor) * factor.view(-1, 1))


def needed(probe: Probe | None, name: str) -> Probe:
    """The probe of an initialiser that cannot do without.

    Raises:
        SurgeryError: There is none.
    """
    if probe is None:
        raise SurgeryError(f"{name} looks at data; pass probe=(inputs, targets, loss).")
    return probe


def refuse_read(newborn: Newborn, name: str) -> None:
    """Refuses to change what new units write where something reads them already, or where the old
    ones depend on it.

    Raises:
        SurgeryError: A reader of the new units is not zero, or a norm is taken over all rows.
    """
    if newborn.bound is not None:
        raise SurgeryError(
            f"{name} cannot choose the new rows of {newborn.bound!r}, whose norm is taken over all "
            "of its rows together; use ZeroOutgoing."
        )
    for slot in newborn.readers:
        if bool(slot.rows(slot.tensor).detach().count_nonzero()):
            raise SurgeryError(
                f"{name} needs readers that are zero at birth; those of {newborn.layer!r} are "
                "not, because a normalisation silences its new units."
            )


def output_sizes(model: nn.Module, layer: str, inputs: Any) -> Tensor | None:
    """The root mean square of each output channel of a layer.

    Args:
        model: Runs in evaluation mode and is left as it was.
        layer: The layer's name.
        inputs: Of the model.

    Returns:
        Shape ``(channels,)``, float64; None where the channels cannot be observed.
    """
    outputs = _outputs(model, layer, inputs)
    return None if outputs is None else outputs.square().mean(0).sqrt()


def _outputs(model: nn.Module, layer: str, inputs: Any) -> Tensor | None:
    """What a layer gives, a row for each sample and position. Shape ``(rows, channels)``."""
    outputs: list[Tensor] = []
    module = model.get_submodule(layer)
    size = _units(module)

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            dim = 1 if output.dim() > 3 or output.shape[-1] != size else -1
            outputs.append(output.detach().movedim(dim, -1).flatten(0, -2))

    undo = Undoing()
    with undo, undo:
        preserve(model, undo)
        set_gradients(undo, on=False)
        hooked(undo, module, note)
        model.eval()
        call(model, inputs)
    if not outputs or outputs[0].shape[-1] != size:
        return None
    return torch.cat(outputs).to(torch.float64)


def _units(module: nn.Module) -> int:
    """The number of output units, where a layer has one weight; else 0."""
    if isinstance(module, SparseLayer):
        return module.out_channels
    weight = getattr(module, "weight", None)
    return weight.shape[0] if isinstance(weight, Tensor) else 0
