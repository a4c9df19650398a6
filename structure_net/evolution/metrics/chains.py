"""Layers that follow each other without a branch, with their weights, and their derivatives.

A chain is as long as each layer reads the units of the one before it and of no other, and is read
by the next one alone. A plain network is one chain; of a residual network the branches are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from structure_net.core.running import call, evaluate, preserve
from structure_net.core.sparsity import SparseLayer
from structure_net.core.undoing import Undoing, hooked, set_gradients
from structure_net.core.weights import unit_weights
from structure_net.evolution.metrics.layered_graph import Block, LayeredGraph
from structure_net.evolution.metrics.validity import Unavailable

MOST_ENTRIES: Final = 2**24
"""Sparse layers whose matrix would have more entries are in no chain."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerChain:
    """Layers of which each reads the one before.

    Args:
        source: The layer, or input of the network, whose units the first layer reads.
        layers: The layers' names.
        weights: Of each layer, shape ``(outputs, inputs, ...)``; behind the units stand the
            positions that connect them, of a kernel or of a flattened channel.
    """

    source: str
    layers: tuple[str, ...]
    weights: tuple[Tensor, ...]

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """Each layer as a map of units: its weights summed over positions.

        Of a convolution that is what it does to an input that does not vary in space, away from
        the border. Shape ``(outputs, inputs)``, in single precision or the weights' own.
        """
        return tuple(
            weights.flatten(2).sum(2) if weights.dim() > 2 else weights
            for weights in map(_on_cpu, self.weights)
        )


def layer_chains(model: nn.Module, graph: LayeredGraph) -> tuple[LayerChain, ...]:
    """The chains of a model, each as long as it can be.

    Args:
        model: The model.
        graph: Its layered graph.

    Returns:
        In the order of their first layers. A layer that reads several layers, or whose weights from
        unit to unit are not in its weight alone, is in none, and neither is a sparse one whose
        matrix, which is what a chain holds, would have more than ``4096 * 4096`` entries.
    """
    into: dict[int, list[Block]] = {}
    read: dict[int, list[Block]] = {}
    for block in graph.blocks:
        into.setdefault(block.target, []).append(block)
        read.setdefault(block.source, []).append(block)
    links: dict[int, tuple[int, Tensor]] = {}
    for target, blocks in into.items():
        weights = _weights(model, graph, blocks[0]) if len(blocks) == 1 else None
        if weights is not None:
            links[target] = blocks[0].source, weights
    following = {source: target for target, (source, _) in links.items() if len(read[source]) == 1}
    chains = []
    for start in sorted(links):
        source = links[start][0]
        if source in links and following.get(source) == start:
            continue
        members = [start]
        while (after := following.get(members[-1])) is not None:
            members.append(after)
        names = tuple(graph.layers[member] for member in members)
        parts = tuple(links[member][1] for member in members)
        chains.append(LayerChain(graph.layers[source], names, parts))
    return tuple(chains)


def whole_chain(model: nn.Module, graph: LayeredGraph) -> LayerChain | Unavailable:
    """The chain that is the whole model.

    Args:
        model: The model.
        graph: Its layered graph.
    """
    chains = layer_chains(model, graph)
    if len(chains) == 1 and len(chains[0].layers) == len(graph.layers) - 1 and not graph.unlinked:
        return chains[0]
    return Unavailable(
        "the layers do not follow each other in one line, or a sparse one is too large for a matrix"
    )


def _weights(model: nn.Module, graph: LayeredGraph, block: Block) -> Tensor | None:
    """The weights behind a block with positions last; None where they cannot be told."""
    modules: Mapping[str, nn.Module] = dict(model.named_modules())
    module = modules.get(graph.layers[block.target])
    if module is None or _too_large(module):
        return None
    weights = unit_weights(module)
    if weights is None or len(weights) != block.shape[1] or weights.shape[1] % block.shape[0]:
        return None
    if weights.shape[1] != block.shape[0]:
        # Behind a flattening, the positions of a unit stand next to each other.
        weights = weights.unflatten(1, (block.shape[0], -1))
    exact = weights.to("cpu", torch.float64)
    norms = exact.flatten(2).norm(dim=2) if exact.dim() > 2 else exact.abs()
    if not torch.allclose(norms.T, block.matrix(block.weights), rtol=1e-5, atol=1e-12):
        return None
    return weights


def _too_large(module: nn.Module) -> bool:
    """Whether the matrix of a sparse layer has no place in memory."""
    if not isinstance(module, SparseLayer):
        return False
    # A row of columns for single weights stands for the kernel's positions.
    slots = module.live_weights[:1].numel() if module.connections else 1
    return module.out_channels * len(module.sources) * slots > MOST_ENTRIES


def chain_jacobians(
    model: nn.Module,
    layers: Sequence[str],
    inputs: Any,
    *,
    keep: Callable[[int, Callable[[], Tensor]], Tensor] | None = None,
) -> tuple[Tensor, ...] | Unavailable:
    r"""How what a layer reads moves what the next one reads, sample by sample.

    With :math:`x_l` the input of layer ``l`` and :math:`x_{L+1}` the output of the last one, the
    derivatives :math:`\partial x_{l+1} / \partial x_l`: the weights, behind them all that stands
    between two layers.

    Args:
        model: Any module; it runs in evaluation mode and is left as it was.
        layers: The names of layers that follow each other; each reads one vector a sample.
        inputs: What the model takes, ``N`` samples.
        keep: What remembers derivatives: takes the place of a layer, from 0, and what computes
            them; returns them.

    Returns:
        For each layer, shape ``(N, outputs, inputs)``, on the CPU. Unavailable if a layer reads
        anything else than one vector a sample, is not called once, or does not depend on the one
        before it.

    Raises:
        ValueError: There is no layer.
    """
    if not layers:
        raise ValueError("A chain needs at least one layer; got none.")
    cuts = _Cuts()
    modules = dict(model.named_modules())
    undo = Undoing()
    with undo, undo:
        preserve(model, undo)
        evaluate(model, undo)
        set_gradients(undo, on=True)
        for name in layers:
            hooked(undo, modules[name], cuts.before(name), before=True, with_kwargs=True)
        hooked(undo, modules[layers[-1]], cuts.last)
        call(model, inputs)
    if missing := [name for name in layers if cuts.calls.get(name, 0) != 1]:
        return Unavailable(f"layer {missing[0]} is called {cuts.calls.get(missing[0], 0)} times")
    reached = [*(cuts.arrived[name] for name in layers[1:]), cuts.output]
    for name, values in zip((*layers[1:], layers[-1]), reached, strict=True):
        if values is None or values.dim() != 2 or not values.requires_grad:
            return Unavailable(f"layer {name} does not read, or give, one vector a sample")
    starts = [cuts.leaves[name] for name in layers]
    if starts[0].dim() != 2:
        return Unavailable(f"layer {layers[0]} does not read one vector a sample")
    each = [partial(_jacobian, *ends) for ends in zip(reached, starts, strict=True)]
    return tuple(one() if keep is None else keep(place, one) for place, one in enumerate(each))


class _Cuts:
    """Cuts the graph in front of each layer, and keeps both ends."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.arrived: dict[str, Tensor] = {}
        self.leaves: dict[str, Tensor] = {}
        self.output: Any = None

    def before(self, name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            self.calls[name] = self.calls.get(name, 0) + 1
            if not args or not isinstance(args[0], Tensor):
                self.calls[name] = 0
                return None
            self.arrived[name] = args[0]
            self.leaves[name] = args[0].detach().requires_grad_()
            # A copy, since what follows may write in place, which a leaf does not take.
            return (self.leaves[name].clone(), *args[1:]), kwargs

        return hook

    def last(self, _: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.output = output if isinstance(output, Tensor) else None


def _jacobian(values: Tensor, start: Tensor) -> Tensor:
    """Of samples that do not depend on each other. Shape ``(N, outputs, inputs)``."""
    rows = [
        torch.autograd.grad(total, start, retain_graph=True, allow_unused=True)[0]
        for total in values.sum(0)
    ]
    whole = [torch.zeros_like(start) if row is None else row for row in rows]
    return _on_cpu(torch.stack(whole, 1))


def _on_cpu(values: Tensor) -> Tensor:
    """Detached, in single precision at least."""
    exact = torch.float64 if values.dtype == torch.float64 else torch.float32
    return values.detach().to("cpu", exact)
