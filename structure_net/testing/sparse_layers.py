"""Whether a layer keeps the promises of `structure_net.core.SparseLayer`."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from structure_net.core import SparseLayer, SparsePattern, TensorChange, assign
from structure_net.core.storage import StoredLayer
from structure_net.errors import SurgeryError

_TOLERANCE = 1e-10


def check_sparse_layer(layer: SparseLayer, inputs: Tensor | None = None, *, seed: int = 0) -> None:
    """Checks a layer against the interface: values, gradients, edits, copies.

    Works on copies in float64 and evaluation mode, except for the checks of training.

    Args:
        layer: The layer; it needs two live connections or more. It is left as it is.
        inputs: A batch for it. Shape ``(7, in_channels)`` of a linear layer if None, and
            ``(2, in_channels, 9, 9)`` where ``channel_dim`` is 1.
        seed: What inputs and new connections are drawn with.

    Raises:
        AssertionError: A promise is broken; the message says which.
    """
    generator = torch.Generator().manual_seed(seed)
    subject = copy.deepcopy(layer).double().eval()
    if inputs is None:
        spatial = (9, 9) if layer.channel_dim == 1 else ()
        batch = 2 if spatial else 7
        inputs = torch.randn(batch, layer.in_channels, *spatial, generator=generator)
    inputs = inputs.double()
    before = _bytes(subject)
    for check in (_check_values, _check_copies, _check_outputs, _check_inputs, _check_merging):
        check(subject, inputs, generator)
        _require(_bytes(subject) == before, f"{check.__name__[7:]} must not change the layer")
    for check in (_check_connections, _check_moves):
        check(subject, inputs, generator)
        _require(_bytes(subject) == before, "what moves connections must not change the layer")
    _check_training(subject, inputs)
    if isinstance(subject, StoredLayer):
        _check_storage(subject, inputs)
        _require(_bytes(subject) == before, "stored must not change the layer")


def _check_values(layer: SparseLayer, inputs: Tensor, generator: torch.Generator) -> None:
    pattern, weights = layer.pattern, layer.dense_weight().detach()
    sizes = (layer.out_channels, layer.in_channels)
    _require(weights.shape[:2] == sizes, "dense_weight must have shape (outputs, inputs, *kernel)")
    sources, every = layer.sources, torch.arange(layer.in_channels)
    ascending = bool((sources.diff() >= 0).all()) and torch.equal(sources.unique(), every)
    _require(ascending, "sources must name every input unit, in ascending order")
    shape = (layer.out_channels, len(sources))
    _require(pattern.shape == shape, f"the pattern's shape must be {shape}, not {pattern.shape}")
    weights = _by_column(layer)
    live = layer.live_weights.detach()
    _require(len(live) == len(pattern), "live_weights must have one entry per connection")
    _require(layer.connections == live.numel(), "connections must count the live weights")
    _require(layer.density == pattern.density, "density must be the pattern's")
    _equal(weights[pattern.rows, pattern.columns], live, "live_weights must be in pattern order")
    off = weights[~pattern.mask()]
    _require(not bool(off.any()), "dense_weight must be zero off the pattern")
    outputs = layer(inputs)
    _require(
        tuple(outputs.shape) == layer.output_shape(tuple(inputs.shape)),
        f"output_shape must be {tuple(outputs.shape)}",
    )
    _equal(layer(inputs[:1]), outputs[:1], "a batch of one must give the same output")
    strided = inputs.transpose(0, -1).contiguous().transpose(0, -1)
    _equal(layer(strided), outputs, "inputs that are not contiguous must give the same output")
    branch = layer.branch(SparsePattern.from_pairs([(0, 0)], shape))
    _require(branch.bias is None, "a branch must have no bias")
    _require(branch.pattern.pairs == ((0, 0),), "a branch must have the pattern asked for")
    _require(not bool(branch(inputs).any()), "a branch must start with zero weights")


def _check_copies(layer: SparseLayer, inputs: Tensor, generator: torch.Generator) -> None:
    outputs = layer(inputs)
    other = copy.deepcopy(layer)
    _equal(other(inputs), outputs, "a deep copy must compute the same")
    _equal(pickle.loads(pickle.dumps(layer))(inputs), outputs, "a pickle must compute the same")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.settle()
    _require(other.pattern == layer.pattern, "settle must keep the pattern")
    off = _by_column(other)[~other.pattern.mask()]
    _require(not bool(off.any()), "settle must leave nothing off the pattern")
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    _equal(other(inputs), outputs, "a loaded state must compute the same")


def _check_outputs(layer: SparseLayer, inputs: Tensor, generator: torch.Generator) -> None:
    size, outputs, dim = layer.out_channels, layer(inputs), layer.channel_dim
    source = [*range(1, size), 0, 0, -1, -1]
    scale = torch.full((len(source),), 0.5, dtype=torch.float64)

    def edited(**options: Tensor) -> SparseLayer:
        changes = layer.reindexed(0, source, new="fresh", generator=generator, **options)
        return _after(layer, changes)

    grown = edited()
    kept = outputs.index_select(dim, torch.tensor(source[:-2]))
    result = grown(inputs)
    _equal(result.narrow(dim, 0, size + 1), kept, "outputs must follow the index map")
    fan_in = grown.pattern.fan_in()[-2:]
    _require(bool((fan_in >= 1).all()), "each fresh output needs a connection")
    _require(bool(grown.live_weights.detach()[-int(fan_in.sum()) :].any()), "fresh weights are 0")
    halved = edited(scale=scale)(inputs).narrow(dim, 0, size + 1)
    _equal(halved, kept / 2, "scale must multiply outputs, with the bias")
    silent = _after(layer, layer.reindexed(0, [*range(size), -1], new="empty"))
    _require(int(silent.pattern.fan_in()[-1]) == 0, "an empty output must have no connection")
    _refuses(lambda: layer.reindexed(0, [], new="fresh"), "to drop all outputs")
    _refuses(lambda: layer.reindexed(0, [size], new="fresh"), "a source beyond the outputs")


def _check_inputs(layer: SparseLayer, inputs: Tensor, generator: torch.Generator) -> None:
    size, outputs, dim = layer.in_channels, layer(inputs), layer.channel_dim
    grown = _after(
        layer, layer.reindexed(1, [*range(size), -1, -1], new="silent", generator=generator)
    )
    extra = inputs.narrow(dim, 0, 1).repeat_interleave(2, dim) + 1
    _equal(grown(torch.cat((inputs, extra), dim)), outputs, "silent inputs must change nothing")
    fan_out = _fan_out(grown)[-2:]
    _require(bool((fan_out >= 1).all()), "each silent input needs a connection")
    back = _after(grown, grown.reindexed(1, list(range(size)), new="silent"))
    _require(_bytes(back) == _bytes(layer), "to grow and drop inputs must restore the layer")
    scale = torch.ones(size + 1, dtype=torch.float64)
    scale[0] = scale[-1] = 0.5
    split = _after(layer, layer.reindexed(1, [*range(size), 0], new="silent", scale=scale))
    doubled = torch.cat((inputs, inputs.narrow(dim, 0, 1)), dim)
    _equal(split(doubled), outputs, "a split with halved readers must keep the function")
    _refuses(lambda: layer.reindexed(1, [], new="silent"), "to drop all inputs")


def _check_merging(layer: SparseLayer, inputs: Tensor, generator: torch.Generator) -> None:
    if layer.in_channels < 2:
        return
    source = torch.arange(layer.in_channels)
    source[1] = 0
    equal = inputs.index_select(layer.channel_dim, source)
    try:
        merged = _after(layer, layer.merged([(0, 1)]))
    except SurgeryError:
        return
    _equal(merged(equal), layer(equal), "merging equal inputs must keep the function")
    _require(int(_fan_out(merged)[1]) == 0, "nothing may read the dropped input")
    _refuses(lambda: layer.merged([(0, 0)]), "to merge a unit with itself")


def _check_storage(layer: StoredLayer, inputs: Tensor) -> None:
    outputs, weights = layer(inputs), layer.dense_weight().detach()
    _require(layer.stored(layer.storage) == (), "the layer's own storage must be no change")
    other = copy.deepcopy(layer)
    assign(other, layer.stored("masked" if layer.storage == "live" else "live"))
    other.settle()
    _require(other.storage != layer.storage, "stored must switch the storage")
    _require(other.pattern == layer.pattern, "a switch must keep the pattern")
    _require(torch.equal(other.dense_weight(), weights), "a switch must keep the weights")
    _equal(other(inputs), outputs, "a switch must keep the function")
    loaded = copy.deepcopy(layer)
    loaded.load_state_dict(other.state_dict())
    _require(loaded.storage == other.storage, "a loaded state must bring its storage")
    _equal(loaded(inputs), outputs, "a state of the other storage must compute the same")
    assign(other, other.stored(layer.storage))
    other.settle()
    _require(_bytes(other) == _bytes(layer), "to switch forth and back must restore the layer")


def _check_connections(layer: SparseLayer, inputs: Tensor, generator: torch.Generator) -> None:
    outputs, absent = layer(inputs), (~layer.pattern.mask()).nonzero()
    live = torch.stack((layer.pattern.rows, layer.pattern.columns), 1)
    _refuses(lambda: layer.connected(live[:1]), "to connect what is connected")
    _refuses(lambda: layer.disconnected(live), "to leave no connection")
    _refuses(lambda: layer.connected([(layer.out_channels, 0)]), "a pair out of range")
    cut = _after(layer, layer.disconnected(live[:1]))
    _require(len(cut.pattern) == len(live) - 1, "disconnected must drop one connection")
    if not len(absent):
        return
    _refuses(lambda: layer.disconnected(absent[:1]), "to disconnect what is not connected")
    chosen = absent[torch.randperm(len(absent), generator=generator)[:3]]
    grown = _after(layer, layer.connected(chosen))
    _equal(grown(inputs), outputs, "new connections of weight 0 must keep the function")
    _require(len(grown.pattern) == len(live) + len(chosen), "connected must add the pairs")
    back = _after(grown, grown.disconnected(chosen))
    _require(_bytes(back) == _bytes(layer), "to connect and disconnect must restore the layer")
    values = torch.arange(1.0, len(chosen) + 1, dtype=torch.float64)
    valued = _by_column(_after(layer, layer.connected(chosen, values)))
    first = valued[chosen[:, 0], chosen[:, 1]].flatten(1) if valued.dim() > 2 else None
    found = valued[chosen[:, 0], chosen[:, 1]] if first is None else first[:, 0]
    _equal(found, values, "connected must write the values in the order of the pairs")


def _check_moves(layer: SparseLayer, inputs: Tensor, generator: torch.Generator) -> None:
    live = torch.stack((layer.pattern.rows, layer.pattern.columns), 1)
    absent = (~layer.pattern.mask()).nonzero()
    gone = live[:1]  # as parts of a layer may have no more to lose
    free = absent[torch.randperm(len(absent), generator=generator)[:3]]
    come = torch.cat((free, gone))  # what goes comes back
    values = torch.arange(1.0, len(come) + 1, dtype=torch.float64)
    cut = _after(layer, layer.disconnected(gone))
    wanted, moved = cut.connected(come, values), layer.moved(gone, come, values)
    both, whole = _after(cut, wanted), _after(layer, moved)
    _require(both.pattern == whole.pattern, "moved must remove some pairs and add others")
    _equal(both.dense_weight(), whole.dense_weight(), "moved must write and keep weights")
    _equal(whole(inputs), both(inputs), "moved must be disconnected and then connected")
    _refuses(lambda: layer.moved(gone, live[1:2]), "to add what stays")
    _refuses(lambda: layer.moved(live, come), "to remove all connections")
    if len(free):
        _refuses(lambda: layer.moved(free, gone), "to remove what is absent")


def _check_training(layer: SparseLayer, inputs: Tensor) -> None:
    makers: dict[str, Callable[[Iterable[Tensor]], torch.optim.Optimizer]] = {
        "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
        "Adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1),
        "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
        "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9),
    }
    for name, make in makers.items():
        trained = copy.deepcopy(layer).train()
        optimizer = make(trained.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            trained(inputs).square().sum().backward()
            optimizer.step()
        _require(trained.pattern == layer.pattern, f"{name} must keep the pattern")
        off = _by_column(trained)[~layer.pattern.mask()]
        _require(not bool(off.any()), f"{name} must leave what is off the pattern at 0")
        moved = trained.live_weights.detach() != layer.live_weights.detach()
        _require(bool(moved.any()), f"{name} must move the live weights")


def _by_column(layer: SparseLayer) -> Tensor:
    """The dense weight by columns of the pattern. Shape ``(outputs, columns, *weights)``."""
    inner = layer.live_weights.shape[1:]
    return layer.dense_weight().detach().reshape(layer.out_channels, len(layer.sources), *inner)


def _fan_out(layer: SparseLayer) -> Tensor:
    """The connections out of each input unit. Shape ``(inputs,)``, int64."""
    return torch.bincount(layer.sources[layer.pattern.columns], minlength=layer.in_channels)


def _after(layer: SparseLayer, changes: tuple[TensorChange, ...]) -> SparseLayer:
    """A copy of the layer with the changes written, each of which must carry state along."""
    other = copy.deepcopy(layer)
    for change in changes:
        owner, _, name = change.tensor.rpartition(".")
        old = getattr(other.get_submodule(owner), name)
        carried = change.carry(torch.ones_like(old))
        _require(carried.shape == change.data.shape, f"carry of {change.tensor} must fit its data")
        _require(change.data.dtype == old.dtype, f"{change.tensor} must keep its dtype")
    assign(other, changes)
    other.settle()
    return other


def _bytes(layer: SparseLayer) -> bytes:
    state = layer.state_dict()
    return b"".join(
        name.encode() + state[name].contiguous().cpu().numpy().tobytes() for name in sorted(state)
    )


def _equal(result: Tensor, expected: Tensor, law: str) -> None:
    same = result.shape == expected.shape and torch.allclose(
        result, expected, rtol=_TOLERANCE, atol=_TOLERANCE
    )
    _require(same, law)


def _refuses(act: Callable[[], object], what: str) -> None:
    try:
        act()
    except SurgeryError:
        return
    _require(False, f"{what} must raise SurgeryError")


def _require(condition: bool, law: str) -> None:
    if not condition:
        raise AssertionError(f"A sparse layer breaks its promise: {law}.")
