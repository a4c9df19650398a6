"""Weights that somebody else computes or holds too, which no edit of sparse layers may exchange.

An edit gives a layer's weight another content, in live storage of another length. What stands
between the layer and its parameter (a parametrization, a mask of `torch.nn.utils.prune`) would go
on with the old places, and so would another layer that holds the same parameter with a pattern of
its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from structure_net.core.sparsity import SparseLayer
from structure_net.errors import StructureNetError, SurgeryError

_BIAS: Final = "bias"
"""The tensor of a layer that moved connections leave alone."""


def refuse_bound(
    model: nn.Module, layers: Mapping[str, SparseLayer], *, biases: bool = True
) -> None:
    """Refuses to rearrange sparse layers whose weights are not theirs alone.

    Args:
        model: What they are part of.
        layers: The layers, by name.
        biases: Whether biases are rearranged, too, and so must not be computed or shared.

    Raises:
        SurgeryError: A weight is parametrized or pruned by PyTorch's means, or another module has
            the same parameter. It names both, and the way out.
    """
    refuse_computed(layers, biases=biases)
    refuse_shared(model, layers, biases=biases)


def refuse_computed(layers: Mapping[str, SparseLayer], *, biases: bool = True) -> None:
    """Refuses to rearrange sparse layers whose weights are computed from others.

    Raises:
        SurgeryError: One is; the message names what computes it, and the way out.
    """
    for name, layer in layers.items():
        for part in layer.modules():
            for tensor, reason, way in _computed(part):
                if biases or tensor != _BIAS:
                    raise SurgeryError(
                        f"{name!r} cannot be rearranged: {reason}. The {tensor} is computed anew "
                        "for each forward pass, from tensors that no edit rearranges. "
                        f"Call {way} first."
                    )


def refuse_shared(
    model: nn.Module, layers: Mapping[str, SparseLayer], *, biases: bool = True
) -> None:
    """Refuses to rearrange sparse layers whose parameters other modules have, too.

    Raises:
        SurgeryError: One is shared; the message names both modules, and the way out.
    """
    own: dict[int, str] = {}
    for name, layer in layers.items():
        for path, parameter in layer.named_parameters():
            if biases or path.rpartition(".")[2] != _BIAS:
                own[id(parameter)] = name
    _refuse_holders(model, layers, own)


def refuse_graphs(model: nn.Module) -> None:
    """Refuses to copy a model whose modules keep tensors with what they were computed from.

    Raises:
        StructureNetError: One does, as under `torch.nn.utils.prune` and `weight_norm`; the message
            names it, and the way out.
    """
    for path, module in model.named_modules():
        for name, tensor in (*vars(module).items(), *module._buffers.items()):
            if isinstance(tensor, Tensor) and not tensor.is_leaf:
                ways = {of: f"{why}. Call {way} first." for of, why, way in _computed(module)}
                other = "it was computed from others. Keep tensor.detach() instead."
                raise StructureNetError(
                    f"The network cannot be copied, since {path or 'the network'!r} keeps a tensor "
                    f"with its graph, {name!r}: {ways.get(name, other)}"
                )


def _computed(part: nn.Module) -> Iterator[tuple[str, str, str]]:
    """Each tensor of ``part`` that is computed from others, by what, and how that is taken away."""
    if parametrize.is_parametrized(part):
        by_tensor = part.parametrizations
        assert isinstance(by_tensor, nn.ModuleDict)
        for tensor, several in by_tensor.items():
            assert isinstance(several, parametrize.ParametrizationList)
            kinds = " and ".join(type(one).__name__.lstrip("_") for one in several)
            way = f'torch.nn.utils.parametrize.remove_parametrizations(layer, "{tensor}")'
            yield tensor, f"its {tensor} is parametrized by {kinds}", way
    for hook in part._forward_pre_hooks.values():
        # By name: `torch.nn.utils.prune` is imported by those only who use it.
        if "BasePruningMethod" in {kind.__name__ for kind in type(hook).__mro__}:
            tensor = getattr(hook, "_tensor_name", "weight")
            way = f'torch.nn.utils.prune.remove(layer, "{tensor}")'
            reason = f"torch.nn.utils.prune masks its {tensor} ({type(hook).__name__})"
            yield tensor, reason, way
        elif isinstance(hook, WeightNorm):
            way = "torch.nn.utils.remove_weight_norm(layer)"
            yield hook.name, f"weight_norm computes its {hook.name}", way
        elif isinstance(hook, SpectralNorm):
            way = "torch.nn.utils.remove_spectral_norm(layer)"
            yield hook.name, f"spectral_norm computes its {hook.name}", way


def _refuse_holders(
    model: nn.Module, layers: Mapping[str, SparseLayer], own: Mapping[int, str]
) -> None:
    """Refuses parameters that other modules have, too; ``own`` has the layer of each, by its id."""
    parts = {id(part): name for name, layer in layers.items() for part in layer.modules()}
    for path, module in model.named_modules():
        for last, parameter in module._parameters.items():
            name = own.get(id(parameter))
            if name is None or parts.get(id(module)) == name or _only_holds(module, layers[name]):
                continue
            raise SurgeryError(
                f"{name!r} cannot be rearranged: its parameter is {f'{path}.{last}'.strip('.')!r} "
                "too, and an edit would change what that computes. Use the same layer in both "
                "places, or give each a weight of its own "
                "(`layer.weight = nn.Parameter(layer.weight.detach().clone())`)."
            )


def _only_holds(module: nn.Module, layer: SparseLayer) -> bool:
    """Whether ``module`` is a list of parameters, or one that ``layer`` is part of."""
    lists = nn.ParameterList | nn.ParameterDict
    return isinstance(module, lists) or any(part is layer for part in module.modules())
