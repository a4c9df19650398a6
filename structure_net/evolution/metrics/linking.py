"""The layered graph of any model, read from one run of it.

The model runs once on an example while every operation below it is watched. Tensors carry the units
that their entries come from (`provenance`); a product of units with parameters is a layer, whatever
module it stands in, and links each unit of what it reads to its own. So residual sums link a reader
to all layers that write the stream, concatenations to both parts, a gate and what it gates both to
the reader, and a linear layer behind a flattened convolution to the convolution's channels.

Vertices are channels of convolutions, features of linear layers and embeddings, and the inputs: by
the finest axes on which all their readers agree (pixels for a linear layer behind a flattening,
channels for a convolution). An edge's weight is the norm of all weights between two units: of a
kernel, or over the positions of a flattened channel. What lies between (normalisations, their
gains, pooling, activations) does not change it.

What has no such structure is left out and named in `LayeredGraph.unlinked`: attention scores,
products of activations, recurrence, operations without a rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from structure_net.core.running import call as run
from structure_net.core.running import evaluate, preserve
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import sparse_layers
from structure_net.core.undoing import Undoing, hooked, moded, set_gradients
from structure_net.core.wrapping import wrapped
from structure_net.errors import StructureNetError
from structure_net.evolution.metrics.layered_graph import LayeredGraph
from structure_net.evolution.metrics.link_records import LinkRecords
from structure_net.evolution.metrics.link_rules import Call, Reading, move, rule_for
from structure_net.evolution.metrics.links import Links, MatrixLinks, links_of
from structure_net.evolution.metrics.provenance import (
    Trail,
    blurred,
    fits,
    joined,
    numbered,
    of_input,
    tensors_in,
)

INPUT: Final = "(input)"
"""The name of a model's input among the layers; of several, with their place or key."""

_COMPUTED: Final = re.compile(r"(^|.*\.)(parametrizations\.weight\.\w+|weight_orig|weight_[guv])$")


def layered_graph_of(model: nn.Module, example: Any) -> LayeredGraph:
    """The layered graph of a model.

    Args:
        model: Any module; it runs once, in evaluation mode, and is left as it was.
        example: Inputs: a tensor, a tuple of arguments, or a mapping of named ones; samples on the
            first axis, one or two are enough.

    Returns:
        The inputs first, then the layers in order of execution.

    Raises:
        StructureNetError: The model is wrapped or compiled, no layer could be found, or weights are
            not finite.
    """
    if reason := wrapped(model):
        raise StructureNetError(reason)
    tracker = _Tracker(model)
    undo = Undoing()
    with undo, undo:
        preserve(model, undo)
        evaluate(model, undo)
        # Under no_grad, attention layers take a fused path that hides their products.
        set_gradients(undo, on=True)
        tracker.hook(model, undo)
        tracker.start(example)
        moded(undo, tracker)
        outputs = run(model, example)
    tracker.finish(outputs)
    return tracker.records.graph()


_TURNING: Final = frozenset(
    ("transpose_", "t_", "squeeze_", "unsqueeze_", "swapaxes_", "swapdims_")
)
"""Operations that make a tensor another view of itself."""

_Place = tuple[int, int, tuple[int, ...], tuple[int, ...]]
"""Where a tensor lies: views of the same entries are the same tensor here."""


_UNKNOWN: Final = (Trail(), -1)


class _Tracker(TorchDispatchMode):
    """Carries trails along while a model runs.

    Args:
        model: The model that is going to run.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.records = LinkRecords()
        self._model = model
        self._trails: dict[_Place, tuple[Trail, int]] = {}
        self._writes: dict[int, list[tuple[_Place, Trail, int]]] = {}
        self._kept: list[Tensor] = []
        self._clock = 0
        self._inside = 0
        self._entered = Trail()
        self._running: list[str] = []
        self._names: dict[int, list[str]] = {}
        self._matrices = {n for n, p in model.named_parameters() if p.dim() > 1}
        for name, tensor in (
            *model.named_parameters(remove_duplicate=False),
            *model.named_buffers(remove_duplicate=False),
        ):
            self._names.setdefault(id(tensor), []).append(name)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether torch shields this from its compiler, which it would load for that: seconds."""
        return False

    def hook(self, model: nn.Module, undo: Undoing) -> None:
        """Registers what must run before and after sparse layers and owners of tied weights, until
        ``undo`` undoes it."""
        leaves: dict[str, nn.Module] = {
            **sparse_layers(model),
            **{name: layer for name, layer in model.named_modules() if _plain_recurrent(layer)},
        }
        for name, layer in leaves.items():
            hooked(undo, layer, self._enter(name), before=True, with_kwargs=True)
            hooked(undo, layer, self._leave(name))
        tied = {name for names in self._names.values() if len(names) > 1 for name in names}
        for owner in sorted({name.rpartition(".")[0] for name in tied}):
            module = model.get_submodule(owner)
            hooked(undo, module, lambda *_, name=owner: self._running.append(name), before=True)
            hooked(undo, module, lambda *_: self._forget())

    def start(self, example: Any) -> None:
        """Numbers the inputs."""
        parts = example if isinstance(example, Mapping | tuple | list) else (example,)
        named = parts.items() if isinstance(parts, Mapping) else enumerate(parts)
        found = [
            (key, tensor)
            for key, part in named
            for tensor in tensors_in(part)
            if tensor.is_floating_point() and tensor.dim()
        ]
        for place, (key, tensor) in enumerate(found):
            name = INPUT if len(found) == 1 else f"(input {key if len(parts) > 1 else place})"
            self.records.inputs[name] = tuple(tensor.shape)
            self._put(tensor, of_input(name, tensor.shape))

    def finish(self, outputs: Any) -> None:
        """Notes which units the model's outputs are."""
        for tensor in tensors_in(outputs):
            self.records.end(self._trail(tensor))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs an operation and finds the trails of its results."""
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        name = func.name().split("::")[-1].split(".")[0]
        if name in _TURNING:
            # The view that the tensor is about to become is known by the place where it lies.
            with self:
                getattr(torch.ops.aten, name.removesuffix("_"))(*args, **kwargs)
            return func(*args, **kwargs)
        before = [self._trail(tensor) for tensor in tensors_in([*args, *kwargs.values()])]
        output = func(*args, **kwargs)
        written = func._schema.is_mutable
        call = Call(
            name.removesuffix("_") if written and name != "copy_" else name,
            func,
            args,
            kwargs,
            output,
            self._noted if func.is_view else self._trail,
            self._read,
            self._embedded,
        )
        results = tensors_in(output)
        for tensor, trail in zip(results, self._found(call, before, len(results)), strict=True):
            known = trail if fits(trail, tensor.shape) else trail.blurred(_no_rule(call))
            self._put(tensor, known, written=written, view_of=args[0] if func.is_view else None)
        return output

    def _found(self, call: Call, before: list[Trail], count: int) -> Iterator[Trail]:
        if not any(trail.live for trail in before) and call.name != "embedding":
            constant = joined([(trail, 0) for trail in before], 0)
            yield from [constant] * count
            return
        rule = rule_for(call)
        for index in range(count):
            if index and call.moves:
                yield move(call, index)
            elif index == 0 and rule is not None:
                yield rule(call)
            else:
                yield blurred(before, _no_rule(call))

    def _read(self, reading: Reading) -> Trail:
        name = self._layer(reading.weights)
        if name is None:
            return reading.trail.blurred("a product with a matrix that is no parameter")
        return self._linked(name, reading)

    def _linked(self, name: str, reading: Reading) -> Trail:
        self.records.sizes.setdefault(name, reading.links.shape[0])
        self.records.link(name, reading.trail, reading.axis, reading.links)
        axis = reading.output_axis % len(reading.shape)
        return numbered(name, reading.shape, axis)

    def _embedded(self, weights: tuple[str, ...], shape: tuple[int, ...]) -> Trail:
        name = self._layer(weights)
        if name is None:
            return Trail()
        self.records.sizes.setdefault(name, shape[-1])
        self.records.tables.add(name)
        return numbered(name, shape, len(shape) - 1)

    def _layer(self, weights: tuple[str, ...]) -> str | None:
        """The name of the layer that a product with a matrix is; None for a constant matrix."""
        found = next((name for name in weights if name in self._matrices), None)
        if found is None:
            return None
        same = next(names for names in self._names.values() if found in names)
        own = [n for n in same if self._running and n.rpartition(".")[0] == self._running[-1]]
        weight = _COMPUTED.sub(r"\1weight", own[0] if own else found)
        owner, _, name = weight.rpartition(".")
        if owner and name == "weight":
            return owner
        if name.endswith("_weight"):
            return f"{owner}.{name.removesuffix('_weight')}".lstrip(".")
        alone = sum(other.rpartition(".")[0] == owner for other in self._matrices) == 1
        return owner if owner and alone else weight

    def _enter(self, name: str) -> Callable[..., None]:
        def before(layer: nn.Module, args: Any, kwargs: Any) -> None:
            self._inside += 1
            if self._inside == 1:
                self._running.append(name)
                self._entered = self._trail(tensors_in([*args, *kwargs.values()])[0])

        return before

    def _leave(self, name: str) -> Callable[..., None]:
        def after(layer: nn.Module, args: Any, output: Any) -> None:
            if self._inside == 1:
                links, axis = _links(layer)
                if isinstance(layer, nn.RNNBase):
                    reason = "it feeds itself from step to step, and a layered graph has no loop"
                    self.records.leave(name, name, reason)
                for tensor in tensors_in(output):
                    shape = tuple(tensor.shape)
                    reading = Reading((), self._entered, axis, links, shape, axis)
                    self._put(tensor, self._linked(name, reading))
                self._running.pop()
            self._inside -= 1

        return after

    def _forget(self) -> None:
        self._running.pop()

    def _trail(self, tensor: Tensor) -> Trail:
        names = self._names.get(id(tensor))
        if names:
            return Trail(weights=tuple(names[:1]))
        place = _place(tensor)
        trail, time = self._trails.get(place, _UNKNOWN)
        for other, written, when in self._writes.get(place[0], ()):
            if other != place and when > time and _overlap(tensor, other):
                known = set(trail.layers)
                lost = [layer for layer in written.layers if layer not in known]
                mixed = {**trail.mixed, **dict.fromkeys(lost, "written into a part of a tensor")}
                trail = Trail(trail.labels, mixed, () if lost else trail.weights)
        return trail

    def _noted(self, tensor: Tensor) -> Trail:
        """The trail of a tensor, whatever was written into parts of it since."""
        known = self._trails.get(_place(tensor))
        return self._trail(tensor) if known is None else known[0]

    def _put(
        self,
        tensor: Tensor,
        trail: Trail,
        *,
        written: bool = False,
        view_of: Tensor | None = None,
    ) -> None:
        self._clock += 1
        self._kept.append(tensor)
        place, time = _place(tensor), self._clock
        if view_of is not None:
            # A view is as old as what it shows; what was written through it since is known better.
            time = self._trails.get(_place(view_of), _UNKNOWN)[1]
            if self._trails.get(place, _UNKNOWN)[1] > time:
                return
        self._trails[place] = trail, time
        if written and trail.live:
            self._writes.setdefault(place[0], []).append((place, trail, time))


def _overlap(tensor: Tensor, place: _Place) -> bool:
    """Whether a tensor shares an entry with another view of its storage."""
    entries = tensor.untyped_storage().nbytes() // tensor.element_size()
    taken = torch.zeros(entries, dtype=torch.bool)
    taken.as_strided(place[2], place[3], place[1]).fill_(True)
    own = taken.as_strided(tensor.shape, tensor.stride(), int(tensor.storage_offset()))
    return bool(own.any())


def _plain_recurrent(module: nn.Module) -> bool:
    """Whether it is one recurrent layer, in one direction, whose outputs are its hidden units."""
    return (
        isinstance(module, nn.RNNBase)
        and module.num_layers == 1
        and not module.bidirectional
        and not module.proj_size
    )


def _links(layer: nn.Module) -> tuple[Links, int]:
    """The squared weights of a layer that is not looked into, and its axis of units.

    Gates of a recurrent unit are taken together.
    """
    if isinstance(layer, SparseLayer):
        return links_of(layer), layer.channel_dim
    assert isinstance(layer, nn.RNNBase)
    weight = layer.get_parameter("weight_ih_l0").detach().to("cpu", torch.float64)
    return MatrixLinks.of(weight.square().unflatten(0, (-1, layer.hidden_size)).sum(0)), -1


def _no_rule(call: Call) -> str:
    return f"operation '{call.name}' has no rule"


def _place(tensor: Tensor) -> _Place:
    storage = tensor.untyped_storage()._cdata
    return storage, int(tensor.storage_offset()), tuple(tensor.shape), tuple(tensor.stride())
