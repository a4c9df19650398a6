"""Which layers of a model of one's own can be sparse, and which of their connections stay.

A plan is made of what a model is, and changes nothing; `structure_net.surgery.sparsify` carries it
out. What cannot be sparse is left as it is, with the reason in the plan.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn

from structure_net.core.allocation import Allocation, connection_counts
from structure_net.core.arguments import check_module, check_whole
from structure_net.core.drawing import random_pattern
from structure_net.core.largest import largest
from structure_net.core.layer_arguments import padding_of
from structure_net.core.layers import Granularity, SparseConv2d, StandardSparseLayer
from structure_net.core.sparsity import SparseLayer, SparsePattern
from structure_net.core.statistics import outermost_modules
from structure_net.core.switching import BUFFERS
from structure_net.core.weights import kernel_norms

Choice = Literal["magnitude", "random"]
"""Which connections stay: the largest, or any."""

_KINDS: Final = (nn.Linear, nn.Conv2d)
_OWN: Final = {"gain", *BUFFERS}


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """A layer that is to be sparse.

    Args:
        name: Its name in the model.
        kind: Its class: ``Linear`` or ``Conv2d``.
        pattern: The connections that stay.
        entries: How many weights a connection has: those of a kernel, or one.
    """

    name: str
    kind: str
    pattern: SparsePattern
    entries: int = 1

    @property
    def connections(self) -> int:
        """The number of weights that stay."""
        return len(self.pattern) * self.entries

    @property
    def possible(self) -> int:
        """The number of weights that the layer has."""
        return math.prod(self.pattern.shape) * self.entries

    @property
    def density(self) -> float:
        """The fraction of the weights that stay, in (0, 1]."""
        return self.pattern.density


@dataclass(frozen=True, slots=True)
class SparsityPlan:
    """What is to be sparse; `print` shows it as a table.

    Args:
        layers: The layers to replace, in the order of the modules.
        left: Why each other module with weights stays as it is, by name.
        granularity: What a connection of a convolution is.
    """

    layers: tuple[PlannedLayer, ...]
    left: Mapping[str, str]
    granularity: Granularity

    @property
    def connections(self) -> int:
        """The number of weights that stay in the layers to replace."""
        return sum(layer.connections for layer in self.layers)

    @property
    def density(self) -> float:
        """The fraction of the weights of the layers to replace that stays."""
        return self.connections / sum(layer.possible for layer in self.layers)

    def __str__(self) -> str:
        rows = [
            (
                layer.name or "the model",
                layer.kind,
                f"{layer.connections:,} of {layer.possible:,}",
                layer.density,
            )
            for layer in self.layers
        ]
        rows.append(("all of these", "", f"{self.connections:,}", self.density))
        names = max(len(name) for name in (*(row[0] for row in rows), *self.left))
        counts = max(len(row[2]) for row in rows)
        lines = [f"{n:{names}}  {kind:6}  {c:>{counts}}  {d:.4f}" for n, kind, c, d in rows]
        return "\n".join([*lines, *(f"{n:{names}}  left: {why}" for n, why in self.left.items())])


def plan_sparsity(  # noqa: PLR0913 - independent choices, each with a default
    model: nn.Module,
    density: float,
    *,
    by: Choice = "magnitude",
    allocation: Allocation = "erdos_renyi_kernel",
    layers: Iterable[str] | None = None,
    granularity: Granularity = "kernel",
    seed: int = 0,
) -> SparsityPlan:
    """What `structure_net.surgery.sparsify` would do with the same arguments; changes nothing.

    Args:
        model: Any module.
        density: The fraction of the weights of the chosen layers that stays, in (0, 1]; a tensor
            without dimensions is a number, too.
        by: Which connections of a layer stay. ``"magnitude"``: the largest by absolute value, of
            kernels by the root of the sum of squares. ``"random"``: any, such that no unit is left
            without one where their number allows it (`random_pattern`).
        allocation: How connections are shared among the layers (`connection_counts`).
        layers: The names of the layers to make sparse. None: every `torch.nn.Linear` and
            `torch.nn.Conv2d` that can be.
        granularity: What a connection of a convolution is: ``"kernel"`` or ``"weight"``; see
            `SparseConv2d`.
        seed: What random connections are drawn from.

    Returns:
        The plan. A layer that stands in several places is listed once.

    Raises:
        TypeError: ``model`` is no module, ``density`` no number or ``seed`` not whole.
        ValueError: An argument is out of range or unknown, a layer that is named cannot be sparse,
            or none can, or magnitudes are not a number.

    References:
        Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
        connectivity inspired by network science", Nature Communications 2018. Evci et al., "Rigging
        the lottery: making all tickets winners", ICML 2020.

    Example:
        >>> model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        >>> print(plan_sparsity(model, 0.2))
        0             Linear  300 of 2,048  0.1465
        2             Linear    174 of 320  0.5437
        all of these             474  0.2002
    """
    check_module(model)
    check_whole(None, seed=seed)
    density = _single(density)
    for name, value, known in (("by", by, Choice), ("granularity", granularity, Granularity)):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}; got {value!r}.")
    chosen, left = _chosen(model, layers)
    shapes = [tuple(layer.weight.shape) for layer in chosen.values()]
    whole = granularity == "kernel"
    counts = connection_counts(shapes, density, allocation, whole=whole)
    generator = torch.Generator().manual_seed(seed)
    planned = []
    for (name, layer), count in zip(chosen.items(), counts, strict=True):
        weight = layer.weight.detach()
        strength = _strengths(weight, whole)
        shape = (strength.shape[0], strength.shape[1])
        pattern = (
            random_pattern(shape, count, generator)
            if by == "random"
            else _strongest(strength, count)
        )
        entries = weight.numel() // strength.numel()
        planned.append(PlannedLayer(name, type(layer).__name__, pattern, entries))
    return SparsityPlan(tuple(planned), left, granularity)


def sparse_twin(
    layer: nn.Linear | nn.Conv2d, pattern: SparsePattern, granularity: Granularity
) -> StandardSparseLayer | SparseConv2d:
    """A sparse layer of the geometry, type and device of ``layer``; its weights are not those."""
    bias, generator = layer.bias is not None, torch.Generator()
    if isinstance(layer, nn.Linear):
        sizes = layer.in_features, layer.out_features
        twin: StandardSparseLayer | SparseConv2d = StandardSparseLayer(
            *sizes, pattern=pattern, bias=bias, generator=generator
        )
    else:
        twin = SparseConv2d(
            layer.in_channels,
            layer.out_channels,
            (layer.kernel_size[0], layer.kernel_size[1]),
            stride=(layer.stride[0], layer.stride[1]),
            padding=_padding(layer),
            dilation=(layer.dilation[0], layer.dilation[1]),
            pattern=pattern,
            granularity=granularity,
            bias=bias,
            generator=generator,
        )
    return twin.to(layer.weight)


def dense_twin(layer: StandardSparseLayer | SparseConv2d) -> nn.Linear | nn.Conv2d:
    """A dense layer of the geometry of ``layer``, on the meta device: it has no values."""
    bias, kind = layer.bias is not None, layer.weight.dtype
    if isinstance(layer, StandardSparseLayer):
        return nn.Linear(
            layer.in_features, layer.out_features, bias=bias, device="meta", dtype=kind
        )
    return nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        bias=bias,
        device="meta",
        dtype=kind,
    )


def _single(density: Any) -> Any:
    """The number in a tensor without dimensions; anything else as it is."""
    return density.item() if isinstance(density, Tensor) and not density.dim() else density


def _chosen(
    model: nn.Module, names: Iterable[str] | None
) -> tuple[dict[str, nn.Linear | nn.Conv2d], dict[str, str]]:
    """The layers to replace, and why each other module with weights stays."""
    if isinstance(names, str):
        raise TypeError(f"layers must be a list of names; got the one name {names!r}.")
    holders = Counter(
        id(parameter) for module in model.modules() for parameter in module._parameters.values()
    )
    can: dict[str, nn.Linear | nn.Conv2d] = {}
    left: dict[str, str] = {}
    for name, module, parent in _weighted(model):
        reason = _reason(module, parent, holders)
        if reason is None:
            assert isinstance(module, _KINDS)
            can[name] = module
        else:
            left[name] = reason
    if names is not None:
        wanted = _wanted(model, names, can, left)
        left |= {name: "it is not among the layers named" for name in can if name not in wanted}
        can = {name: layer for name, layer in can.items() if name in wanted}
    if not can:
        reasons = "; ".join(f"{name or 'the model'}: {why}" for name, why in left.items())
        raise ValueError(
            "The model has no torch.nn.Linear or torch.nn.Conv2d that can be made sparse. "
            f"{reasons or 'It has no weights'}."
        )
    return can, left


def _wanted(
    model: nn.Module,
    names: Iterable[str],
    can: Mapping[str, nn.Module],
    left: Mapping[str, str],
) -> set[str]:
    """The names, under which ``can`` has them, of the layers that are asked for."""
    names = list(names)
    if not names:
        raise ValueError("layers is empty; name at least one, or leave it out for all that can be.")
    every = dict(model.named_modules(remove_duplicate=False))
    first = {id(module): name for name, module in can.items()}
    found = set()
    for name in names:
        if name not in every:
            near = get_close_matches(str(name), [*can, *left], 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"The model has no layer {name!r}.{hint}")
        if id(every[name]) not in first:
            kind = type(every[name]).__name__
            reason = left.get(name, f"it is a {kind}, no torch.nn.Linear or torch.nn.Conv2d")
            raise ValueError(f"The layer {name!r} cannot be made sparse: {reason}.")
        found.add(first[id(every[name])])
    return found


def _weighted(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Module | None]]:
    """The modules that hold weights, with the module around each; vectors are no weights."""
    modules = dict(outermost_modules(model))
    for name, module in modules.items():
        own = list(module._parameters.values())
        matrix = any(p is not None and (nn.parameter.is_lazy(p) or p.dim() > 1) for p in own)
        if matrix or isinstance(module, (*_KINDS, SparseLayer)):
            yield name, module, modules.get(name.rpartition(".")[0]) if name else None


def _reason(module: nn.Module, parent: nn.Module | None, holders: Counter[int]) -> str | None:
    """Why a module cannot become a sparse layer; None where it can."""
    kind = type(module).__name__
    if isinstance(module, SparseLayer):
        return "it is sparse already"
    if any(p is not None and nn.parameter.is_lazy(p) for p in module._parameters.values()):
        return "it has no shape yet; run the model on a batch first"
    if isinstance(parent, nn.MultiheadAttention):
        return "torch.nn.MultiheadAttention reads its weight without calling it"
    if nn.utils.parametrize.is_parametrized(module):
        return "its weight is parametrized; remove_parametrizations makes it plain"
    if type(module) not in _KINDS:
        what = "of a class derived from it, whose code may read the weight itself"
        base = next((one.__name__ for one in _KINDS if isinstance(module, one)), None)
        return f"it is no {base}, but {kind}, {what}" if base else f"it is of the class {kind}"
    assert isinstance(module, _KINDS)
    return _changed(module, holders) or _geometry(module)


def _changed(layer: nn.Linear | nn.Conv2d, holders: Counter[int]) -> str | None:
    """What was done to a layer that a sparse one cannot take over; None where nothing was."""
    known = set(vars(_plain(layer)))
    target = StandardSparseLayer if isinstance(layer, nn.Linear) else SparseConv2d
    hidden = [n for n in vars(layer) if n not in known and (n in _OWN or hasattr(target, n))]
    weight = layer._parameters.get("weight")
    if set(layer._parameters) != {"weight", "bias"} or layer._buffers or layer._modules:
        return (
            "it holds other tensors than weight and bias, as weight_norm and torch.nn.utils.prune "
            "make them; take these off first"
        )
    if weight is None or type(weight) is not nn.Parameter or not weight.is_floating_point():
        kind = "None" if weight is None else f"a {type(weight).__name__}"
        return f"its weight is {kind}, no real parameter"
    if not weight.numel():
        return f"its weight of shape {tuple(weight.shape)} has no entries"
    if holders[id(weight)] > 1:
        return "its weight is tied to that of another module, which needs it dense"
    if hidden:
        return f"its attribute {hidden[0]!r} would hide that of a sparse layer"
    return None


def _geometry(layer: nn.Linear | nn.Conv2d) -> str | None:
    """What of a convolution a sparse one does not have; None where nothing is missing."""
    if isinstance(layer, nn.Linear):
        return None
    if layer.groups != 1:
        return f"it has {layer.groups} groups, a sparse convolution one"
    if layer.padding_mode != "zeros":
        return f"it pads with {layer.padding_mode!r}, a sparse convolution with zeros"
    try:
        _padding(layer)
    except ValueError:
        return "padding='same' pads its sides unevenly"
    return None


def _padding(layer: nn.Conv2d) -> tuple[int, int]:
    """The zeros on each side; ValueError where the two sides of an axis differ."""
    kernel, stride, dilation = (
        (sides[0], sides[1]) for sides in (layer.kernel_size, layer.stride, layer.dilation)
    )
    padding: Any = layer.padding  # of a word, torch's types know but that it is one
    return padding_of(padding, kernel, stride, dilation)


def _plain(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """A layer of the same class to which nothing was done."""
    if isinstance(layer, nn.Linear):
        return nn.Linear(1, 1, device="meta")
    return nn.Conv2d(1, 1, 1, device="meta")


def _strengths(weight: Tensor, whole: bool) -> Tensor:
    """How strong each connection is. Shape that of the pattern."""
    if weight.dim() == 2 or not whole:
        return weight.flatten(1).abs()
    return kernel_norms(weight, 2)


def _strongest(strength: Tensor, count: int) -> SparsePattern:
    """The pattern of the ``count`` largest entries, of equals the first ones."""
    shape = (strength.shape[0], strength.shape[1])
    if strength.is_meta:
        raise ValueError("Weights on the meta device have no size; choose by='random'.")
    values = strength.flatten().cpu()
    exact = values if values.dtype in (torch.float32, torch.float64) else values.float()
    if unknown := int(exact.isnan().sum()):
        raise ValueError(
            f"{unknown} of the {exact.numel()} magnitudes in a layer of shape {shape} are not a"
            " number, so that none are the largest. Mend the weights, choose by='random', or name"
            " the other layers."
        )
    places = torch.from_numpy(largest(exact.numpy(), count))
    return SparsePattern(places // shape[1], places % shape[1], shape)
