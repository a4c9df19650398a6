"""Where new units are written and read, and what goes on there on a probe.

A place is a layer and those that read its units, each a linear layer or a convolution. A linear
layer behind a flattening is a convolution whose kernel covers the whole grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from structure_net.core.place_sums import (
    chosen_samples,
    is_place,
    rows_of,
    seen_by,
    worthwhile,
)
from structure_net.core.running import call, preserve
from structure_net.core.undoing import Undoing, hooked, set_gradients
from structure_net.core.windows import Geometry, as_image, geometry_of, windows
from structure_net.errors import SurgeryError
from structure_net.surgery.initialisers import Newborn
from structure_net.surgery.slots import Slot

Samples = tuple[Any, Any]
"""Inputs of a model, and targets."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One layer that reads new units.

    Args:
        name: The layer's name.
        module: The layer.
        slot: The new columns of its weight.
        grid: How many positions of each unit one output reads, where it stands behind a
            flattening; 0 elsewhere.
    """

    name: str
    module: nn.Module
    slot: Slot
    grid: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where new units are.

    Args:
        layer: The name of the layer that was grown.
        module: The layer.
        slot: Its new rows.
        channels: Their numbers.
        bias: Its bias, or None.
        readers: What reads them.
    """

    layer: str
    module: nn.Module
    slot: Slot
    channels: tuple[int, ...]
    bias: nn.Parameter | None
    readers: tuple[Reader, ...]

    @property
    def units(self) -> int:
        """How many there are."""
        return len(self.channels)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One layer's call on the probe: a `structure_net.core.place_sums.Side`.

    Args:
        module: The layer.
        geometry: Its window.
        inputs: Old channels only. Shape ``(N, C, H, W)``.
        gradient: Of each sample's own loss at its output. Shape ``(N, O, H', W')``.
    """

    module: nn.Module
    geometry: Geometry
    inputs: Tensor
    gradient: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A layer and one of its readers, on the samples that are worth their time.

    Args:
        place: The layer.
        reader: The reader.
        writer: What the layer saw.
        taker: What the reader saw.
        chosen: Which samples of the probe.
        features: The reader's inputs from new units. Shape ``(N, units, H, W)``.
    """

    place: Place
    reader: Reader
    writer: Seen
    taker: Seen
    chosen: Tensor
    features: Tensor

    def present(self) -> tuple[Tensor, Tensor]:
        """The gradient and the present features, a row for each position of the output."""
        every = torch.arange(len(self.taker.inputs), device=self.taker.inputs.device)
        return rows_of(self.taker.gradient), rows_of(seen_by(self.taker, every))

    def new(self) -> Tensor:
        """The new features likewise, units outermost. Shape ``(rows, units * kernel)``."""
        return rows_of(windows(self.taker.geometry, self.features))


def place_of(model: nn.Module, newborn: Newborn, name: str) -> Place:
    """The place of new units.

    Raises:
        SurgeryError: They are written by several layers or read by something else than linear
            layers and ungrouped convolutions.
    """
    owners = {
        id(parameter): (path, module)
        for path, module in model.named_modules()
        for parameter in module.parameters(recurse=False)
    }
    if len(newborn.writers) != 1 or not newborn.readers or not newborn.channels:
        raise SurgeryError(
            f"{name} needs units that one layer writes and that are read by weights; those of"
            f" {newborn.layer!r} are not. Use GradMax or ZeroOutgoing."
        )
    slot = newborn.writers[0]
    path, module = _usual(owners, slot, newborn.layer, name)
    bias = getattr(module, "bias", None)
    readers = tuple(_reader(owners, one, len(newborn.channels), name) for one in newborn.readers)
    held = bias if isinstance(bias, nn.Parameter) else None
    return Place(path, module, slot, newborn.channels, held, readers)


def _usual(
    owners: Mapping[int, tuple[str, nn.Module]], slot: Slot, layer: str, name: str
) -> tuple[str, nn.Module]:
    path, module = owners.get(id(slot.tensor), (layer, nn.Identity()))
    geometry = geometry_of(module)
    if geometry is None or geometry.groups != 1:
        raise SurgeryError(
            f"{name} knows linear layers and ungrouped convolutions of up to two dimensions;"
            f" {path!r} is {type(module).__name__}. Use GradMax or ZeroOutgoing."
        )
    return path, module


def _reader(
    owners: Mapping[int, tuple[str, nn.Module]], slot: Slot, units: int, name: str
) -> Reader:
    path, module = _usual(owners, slot, "", name)
    size, rest = divmod(len(slot.new), units)
    if slot.dim != 1 or rest:
        raise SurgeryError(f"{path!r} does not read new units one by one, as {name} needs it.")
    if size == 1:
        return Reader(path, module, slot, 0)
    runs = slot.new.view(units, size)
    together = bool((runs == runs[:, :1] + torch.arange(size, device=runs.device)).all())
    if not together or geometry_of(module) != Geometry() or bool((runs[:, 0] % size).any()):
        raise SurgeryError(
            f"{path!r} reads {size} positions of each new unit in an order that {name} does not"
            " know. Use GradMax or ZeroOutgoing."
        )
    return Reader(path, module, slot, size)


def pairs_at(
    model: nn.Module, place: Place, inputs: Any, loss: Callable[[Any], Tensor]
) -> tuple[Pair, ...]:
    """What goes on at a place: inputs, and gradients at the outputs of all readers.

    Args:
        model: Runs once forward and back, in evaluation mode, and is left as it was.
        place: Whose new units nothing reads yet.
        inputs: Of the model.
        loss: Of its output; the mean of the samples' losses.

    Raises:
        SurgeryError: A layer is not called just once, or no gradient reaches it.
    """
    watch, undo = _Watch(place, outputs=True), Undoing()
    with undo, undo:
        watch.open(model, undo)
        value = loss(call(model, inputs))
        finite_loss(value)
        edges = [watch.edge(reader) for reader in place.readers]
        found = torch.autograd.grad(value, edges, allow_unused=True)
    gradients = [_known(gradient, place) for gradient in found]
    shapes = watch.shapes
    with torch.no_grad():
        return tuple(
            _pair(place, reader, watch.inputs, gradient.reshape(shapes[reader.name]))
            for reader, gradient in zip(place.readers, gradients, strict=True)
        )


def worthwhile_of(model: nn.Module, place: Place, inputs: Any, targets: Any) -> Samples:
    """As many samples of a probe as are worth their time at a place, evenly; all where it is not
    known which tensors have a row for each.

    Args:
        model: Runs on two samples, in evaluation mode, and is left as it was.
        place: The place.
        inputs: Of the model.
        targets: Of the loss.
    """
    if not isinstance(targets, Tensor) or targets.dim() == 0 or len(targets) < 3:
        return inputs, targets
    few = taken(inputs, targets, 2)
    watch, undo = _Watch(place, outputs=False), Undoing()
    with undo, undo:
        watch.open(model, undo)
        call(model, few[0])
        counts = [worthwhile(*_sides(place, one, watch.inputs)) for one in place.readers]
    return taken(inputs, targets, min(counts))


def taken(inputs: Any, targets: Tensor, count: int) -> Samples:
    """``count`` samples of a probe, evenly; all if fewer.

    Args:
        inputs: Tensors with as many rows as the targets, and others, which stay, in tuples and
            mappings.
        targets: Shape ``(N, ...)``.
        count: At least 1.
    """
    whole = len(targets)
    if count >= whole:
        return inputs, targets
    index = torch.linspace(0, whole - 1, count, device=targets.device).round().long()

    def of(value: Any) -> Any:
        if isinstance(value, Tensor):
            fits = value.dim() > 0 and len(value) == whole
            return value[index.to(value.device)] if fits else value
        if isinstance(value, Mapping):
            return {key: of(item) for key, item in value.items()}
        return tuple(map(of, value)) if isinstance(value, tuple | list) else value

    return of(inputs), targets[index]


def finite_loss(value: Tensor) -> None:
    """Refuses to grow a network that has diverged.

    Raises:
        SurgeryError: The loss on the probe is not finite.
    """
    if not bool(torch.isfinite(value.detach()).all()):
        raise SurgeryError(
            f"The loss on the probe is {float(value.detach())}, so that nothing can be said of new"
            " units. The network has diverged: train at a lower rate, or undo the last growth."
        )


def seen_again(model: nn.Module, pairs: tuple[Pair, ...], inputs: Any) -> tuple[Pair, ...]:
    """The pairs with the features that the new units give now.

    Args:
        model: Runs once, in evaluation mode, and is left as it was.
        pairs: What `pairs_at` gave.
        inputs: The same.
    """
    place = pairs[0].place
    watch, undo = _Watch(place, outputs=False), Undoing()
    with undo, undo:
        watch.open(model, undo)
        call(model, inputs)
        return tuple(
            replace(pair, features=_parted(pair.reader, watch.inputs, place)[1][pair.chosen])
            for pair in pairs
        )


@dataclass(slots=True)
class _Watch:
    """Hooks that catch what the layers of a place see and give."""

    place: Place
    outputs: bool
    inputs: dict[str, Tensor] = field(default_factory=dict)
    shapes: dict[str, torch.Size] = field(default_factory=dict)
    _edges: dict[str, GradientEdge] = field(default_factory=dict)

    def open(self, model: nn.Module, undo: Undoing) -> None:
        """Hooks the layers of a model and evaluates it, with gradients if it is to see outputs,
        until ``undo`` undoes it."""
        preserve(model, undo)
        set_gradients(undo, on=self.outputs)
        named = {self.place.layer: self.place.module}
        named |= {reader.name: reader.module for reader in self.place.readers}
        for name, module in named.items():
            hooked(undo, module, self._noting(name))
        model.eval()

    def edge(self, reader: Reader) -> GradientEdge:
        if reader.name not in self._edges:
            raise SurgeryError(f"No gradient reaches {reader.name!r} on the probe.")
        return self._edges[reader.name]

    def _noting(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(_module: nn.Module, inputs: Any, output: Any) -> None:
            if name in self.inputs:
                raise SurgeryError(f"{name!r} is called several times in a pass: no one place.")
            # A copy: what follows may write into its input.
            self.inputs[name] = inputs[0].detach().clone()
            if self.outputs and isinstance(output, Tensor) and output.requires_grad:
                self._edges[name] = get_gradient_edge(output)
                self.shapes[name] = output.shape

        return note


def _known(gradient: Tensor | None, place: Place) -> Tensor:
    if gradient is None:
        raise SurgeryError(f"The loss on the probe does not depend on what reads {place.layer!r}.")
    return gradient


def _sides(place: Place, reader: Reader, seen: Mapping[str, Tensor]) -> tuple[Seen, Seen]:
    """Layer and reader without gradients."""
    window = geometry_of(place.module)
    assert window is not None
    image = _wide(as_image(place.module, seen[place.layer]))
    old, _ = _parted(reader, seen, place)
    kernel = Geometry((old.shape[2], old.shape[3])) if reader.grid else geometry_of(reader.module)
    assert kernel is not None
    nothing = image.new_empty(0)
    return (
        Seen(place.module, window, image, nothing),
        Seen(reader.module, kernel, old, nothing),
    )


def _pair(place: Place, reader: Reader, seen: Mapping[str, Tensor], gradient: Tensor) -> Pair:
    new = _parted(reader, seen, place)[1]
    delta = _wide(as_image(reader.module, gradient)) * len(new)
    writer, taker = (replace(side, gradient=delta) for side in _sides(place, reader, seen))
    if not is_place(writer, taker):
        raise SurgeryError(
            f"The moments of {place.layer!r} and {reader.name!r} have no place in memory, or their"
            " samples do not agree. Use GradMax or ZeroOutgoing."
        )
    chosen = chosen_samples(writer, taker)
    few, fewer = (
        replace(side, inputs=side.inputs[chosen], gradient=delta[chosen])
        for side in (writer, taker)
    )
    return Pair(place, reader, few, fewer, chosen, new[chosen])


def _parted(reader: Reader, seen: Mapping[str, Tensor], place: Place) -> tuple[Tensor, Tensor]:
    """A reader's inputs from old units and from new ones, as images."""
    values = _wide(seen[reader.name])
    new = reader.slot.new
    if reader.grid:
        new = new[:: reader.grid] // reader.grid
        window = geometry_of(place.module)
        assert window is not None
        outer = as_image(place.module, seen[place.layer])
        given = windows(window, outer[:1, :1]).shape[2:]
        high = _height(reader.grid, given[0] / given[1])
        if values.dim() != 2 or values.shape[1] % reader.grid:
            raise SurgeryError(f"{reader.name!r} reads something else beside flattened channels.")
        image = values.view(len(values), -1, high, reader.grid // high)
    else:
        image = as_image(reader.module, values)
    old = torch.ones(image.shape[1], dtype=torch.bool, device=image.device)
    old[new] = False
    return image[:, old], image[:, new]


def _height(size: int, aspect: float) -> int:
    """The divisor of ``size`` whose rectangle comes closest to an aspect of height over width."""
    divisors = [n for n in range(1, size + 1) if size % n == 0]
    return min(divisors, key=lambda high: abs(high * high / size - aspect))


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
