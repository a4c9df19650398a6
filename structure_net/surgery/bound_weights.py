"""Weights of sparse layers that somebody else computes or holds too, which no edit may exchange.

An edit gives a layer's weight another content, in live storage of another length. What stands
between the layer and its parameter (a parametrization, a mask of `torch.nn.utils.prune`) would go
on with the old places, and so would another layer that holds the same parameter with a pattern of
its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from structure_net.core.sparsity import SparseLayer
from structure_net.core.weights import weights_among
from structure_net.errors import SurgeryError


def refuse_bound(
    model: nn.Module, layers: Mapping[str, SparseLayer], *, biases: bool = True
) -> None:
    """Refuses to rearrange sparse layers whose weights are not theirs alone.

    Args:
        model: What they are part of.
        layers: The layers, by name.
        biases: Whether biases may be rearranged, too, and so must not be shared.

    Raises:
        SurgeryError: A weight is parametrized or pruned by PyTorch's means, or another module has
            the same parameter. It names both, and the way out.
    """
    for name, layer in layers.items():
        for part in layer.modules():
            for reason, way in _computed(part):
                raise SurgeryError(
                    f"{name!r} cannot be rearranged: {reason}, which knows the places of its "
                    f"connections as they are. Call {way} first."
                )
    own = {
        name: layer.parameters() if biases else weights_among(layer)
        for name, layer in layers.items()
    }
    _refuse_shared(model, layers, {id(p): name for name, several in own.items() for p in several})


def _computed(part: nn.Module) -> Iterator[tuple[str, str]]:
    """What computes a tensor of ``part`` from others, and how it is taken away."""
    if parametrize.is_parametrized(part):
        by_tensor = part.parametrizations
        assert isinstance(by_tensor, nn.ModuleDict)
        for tensor, several in by_tensor.items():
            assert isinstance(several, parametrize.ParametrizationList)
            kinds = " and ".join(type(one).__name__.lstrip("_") for one in several)
            way = f'torch.nn.utils.parametrize.remove_parametrizations(layer, "{tensor}")'
            yield f"its {tensor} is parametrized by {kinds}", way
    for hook in part._forward_pre_hooks.values():
        # By name: `torch.nn.utils.prune` is imported by those only who use it.
        if "BasePruningMethod" in {kind.__name__ for kind in type(hook).__mro__}:
            tensor = getattr(hook, "_tensor_name", "weight")
            way = f'torch.nn.utils.prune.remove(layer, "{tensor}")'
            yield f"torch.nn.utils.prune masks its {tensor} ({type(hook).__name__})", way
        elif isinstance(hook, WeightNorm):
            yield (
                f"weight_norm computes its {hook.name}",
                "torch.nn.utils.remove_weight_norm(layer)",
            )
        elif isinstance(hook, SpectralNorm):
            way = "torch.nn.utils.remove_spectral_norm(layer)"
            yield f"spectral_norm computes its {hook.name}", way


def _refuse_shared(
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
