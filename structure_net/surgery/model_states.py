"""What of a network goes into a checkpoint: its tensors once each, and what no tensor says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from structure_net.core.network_factory import StandardNetwork
from structure_net.core.switching import SAVED
from structure_net.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class ModelState:
    """A network as it is stored.

    Args:
        kind: The name of its class.
        recipe: What a network of ours is made from; None for any other.
        training: Whether it is in training mode.
        tensors: The tensors of its state dict, those that share memory once.
        aliases: For each further name of a tensor, the name under which it stands in ``tensors``.
        extra: Entries of the state dict that are no tensors.
        constants: Its modules' epsilons, which edits of widths change.
        fixed: The parameters that do not require a gradient.
    """

    kind: str
    recipe: dict[str, Any] | None
    training: bool
    tensors: dict[str, Tensor]
    aliases: dict[str, str]
    extra: dict[str, Any]
    constants: dict[str, dict[str, float]]
    fixed: tuple[str, ...]


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside the wrappers of `torch.compile` and data parallelism, if there are any."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def model_state(model: nn.Module) -> ModelState:
    """Reads ``model``; buffers that are not persistent are no part of its state, as in torch."""
    entries = dict(model.state_dict())
    named = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    aliases = _aliases(model, named)
    return ModelState(
        kind=type(model).__name__,
        recipe=model.recipe if type(model) is StandardNetwork else None,
        training=model.training,
        tensors={name: tensor for name, tensor in named.items() if name not in aliases},
        aliases=aliases,
        extra={name: value for name, value in entries.items() if name not in named},
        constants=_constants(model),
        fixed=tuple(n for n, p in model.named_parameters() if not p.requires_grad),
    )


def rebuilt(kind: str, recipe: Mapping[str, Any] | None) -> nn.Module:
    """The network of ours that ``recipe`` makes, as it was born.

    Raises:
        CheckpointError: There is no recipe, or it does not make a network.
    """
    if recipe is None:
        raise CheckpointError(
            f"The checkpoint holds a {kind}, which only the program that defines it can build: "
            "build it and call load_checkpoint(path, model)."
        )
    try:
        return StandardNetwork.from_recipe(recipe)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"The checkpoint's recipe does not make a {kind}: {error}") from error


def differences(model: nn.Module, want: Mapping[str, Tensor]) -> list[str]:
    """How the names and shapes of ``model``'s tensors differ from those in ``want``; how sparse
    layers store their weights is no difference.
    """
    have, wanted = shapes_of(_tensors(model)), shapes_of(want)
    lines = [f"'{name}' is missing in the model" for name in wanted if name not in have]
    lines += [f"'{name}' is not in the checkpoint" for name in have if name not in wanted]
    for name, shape in wanted.items():
        if name in have and have[name] != shape:
            shapes = f"shape {have[name]}, the checkpoint's {shape}"
            lines.append(f"'{name}' has {shapes}")
    return lines


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes by name; a sparse layer that stores its live weights alone has those of a matrix and
    its mask.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in tensors:
        layer, _, last = name.rpartition(".")
        prefix = f"{layer}." if layer else ""
        parts = [f"{prefix}{part}" for part in ("weight", *SAVED)]
        if last == SAVED[0] and all(part in shapes for part in parts):
            weight, offsets, _, column_offsets = (shapes.pop(part) for part in parts)
            sizes = offsets[0] - 1, column_offsets[0] - 1
            shapes |= {parts[0]: (*sizes, *weight[1:]), f"{prefix}mask": sizes}
    return shapes


def check_fit(model: nn.Module, tensors: Mapping[str, Tensor], aliases: Mapping[str, str]) -> None:
    """Refuses a model whose tensors have other types, or are tied otherwise, than those stored.

    Raises:
        CheckpointError: The first tensor that differs.
    """
    have = _tensors(model)
    for name, tensor in tensors.items():
        if have[name].dtype != tensor.dtype:
            raise CheckpointError(
                f"'{name}' is {have[name].dtype}, the checkpoint's is {tensor.dtype}: "
                f"convert the model first, model.to({tensor.dtype})."
            )
    tied = _aliases(model, have)
    for name in dict.fromkeys([*aliases, *tied]):
        if aliases.get(name) != tied.get(name):
            here, there = tied.get(name), aliases.get(name)
            raise CheckpointError(
                f"'{name}' shares {_owner(there)} in the checkpoint, and {_owner(here)} in the "
                "model: tie the model's tensors as they were."
            )


def adopt_types(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Gives the tensors of a network that was just built the types of those stored."""
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and name in tensors:
            tensor.data = tensor.data.to(tensors[name].dtype)


def restore_model(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    aliases: Mapping[str, str],
    extra: Mapping[str, Any],
    constants: Mapping[str, Mapping[str, float]],
) -> None:
    """Writes what was stored into a model that fits; its parameters stay the same objects."""
    tied = {name: tensors[origin] for name, origin in aliases.items()}
    model.load_state_dict({**tensors, **tied, **extra})
    for name, values in constants.items():
        module = model.get_submodule(name)
        for attribute, value in values.items():
            if getattr(module, attribute, None) != value:
                setattr(module, attribute, value)


def fix_parameters(model: nn.Module, fixed: Sequence[str]) -> None:
    """Lets exactly the parameters not named in ``fixed`` require a gradient."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in fixed)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: v for name, v in model.state_dict().items() if isinstance(v, Tensor)}


def _aliases(model: nn.Module, named: Mapping[str, Tensor]) -> dict[str, str]:
    """Each further name of a tensor, with its first one."""
    first: dict[object, str] = {}
    aliases: dict[str, str] = {}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, tensor in named.items():
        parameter = parameters.get(name)
        # An empty tensor has no address; it is tied only where it is the same parameter.
        key = id(parameter) if parameter is not None else _address(tensor) or object()
        origin = first.setdefault(key, name)
        if origin != name:
            aliases[name] = origin
    return aliases


def _address(tensor: Tensor) -> tuple[object, ...] | None:
    if tensor.numel() == 0 or tensor.layout != torch.strided or tensor.is_meta:
        return None
    return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)


def _constants(model: nn.Module) -> dict[str, dict[str, float]]:
    return {name: values for name, values in _epsilons(model) if values}


def _epsilons(model: nn.Module) -> Iterator[tuple[str, dict[str, float]]]:
    for name, module in model.named_modules():
        found = {k: v for k, v in vars(module).items() if "eps" in k and isinstance(v, float)}
        yield name, found


def _owner(origin: str | None) -> str:
    return "nothing" if origin is None else f"'{origin}'"
