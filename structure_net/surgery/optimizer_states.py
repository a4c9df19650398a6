"""An optimizer's state by the names of its parameters, so that it fits a model made anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.errors import CheckpointError
from structure_net.surgery.optimizers import LOG


def optimizer_state(optimizer: Optimizer, model: nn.Module) -> dict[str, Any]:
    """What ``optimizer`` remembers, with parameters by name instead of by number.

    Args:
        optimizer: Brought up to date first, where edits have passed it by.
        model: The module that holds all parameters of the optimizer.

    Returns:
        ``"class"``; ``"groups"``: options and ``"params"``, names; ``"state"``: by name;
        ``"rest"``: whatever else its ``state_dict`` holds.

    Raises:
        CheckpointError: A parameter of the optimizer is not in the model.
        SurgeryError: Its state cannot follow an edit that it was not told of.
    """
    LOG.catch_up(optimizer)
    names = _ordered_names(optimizer, model)
    content = optimizer.state_dict()
    groups = content.pop("param_groups")
    state = content.pop("state")
    return {
        "class": type(optimizer).__name__,
        "groups": [{**group, "params": [names[n] for n in group["params"]]} for group in groups],
        "state": {names.get(key, key): kept for key, kept in state.items()},
        "rest": content,
    }


def check_optimizer(optimizer: Optimizer, model: nn.Module, saved: Mapping[str, Any]) -> None:
    """Refuses a state that does not fit, before anything is touched.

    Raises:
        CheckpointError: The class, the number of groups or the parameters differ.
    """
    kind = type(optimizer).__name__
    if kind != saved["class"]:
        raise CheckpointError(
            f"The checkpoint holds the state of a {saved['class']}; got a {kind}. "
            f"Make a {saved['class']}, or leave the optimizer out."
        )
    groups, wanted = len(optimizer.param_groups), len(saved["groups"])
    if groups != wanted:
        raise CheckpointError(
            f"The checkpoint's {kind} has {wanted} parameter groups; the one given has {groups}."
        )
    given = set(_ordered_names(optimizer, model).values())
    names = [name for group in saved["groups"] for name in group["params"]]
    missing = [name for name in names if name not in given]
    extra = sorted(given.difference(names))
    if missing:
        raise CheckpointError(f"The optimizer lacks parameters that were saved: {_few(missing)}.")
    if extra:
        raise CheckpointError(f"The optimizer holds parameters that were not saved: {_few(extra)}.")


def restore_optimizer_state(
    optimizer: Optimizer, model: nn.Module, saved: Mapping[str, Any]
) -> None:
    """Puts back what `optimizer_state` returned, bit for bit; groups are those of ``saved``.

    Raises:
        CheckpointError: See `check_optimizer`.
    """
    check_optimizer(optimizer, model, saved)
    LOG.catch_up(optimizer)
    parameters = dict(model.named_parameters())
    for group, wanted in zip(optimizer.param_groups, saved["groups"], strict=True):
        group["params"] = [parameters[name] for name in wanted["params"]]
        group.pop("param_names", None)
        if "param_names" in wanted:
            group["param_names"] = list(wanted["param_names"])
    order = [name for group in saved["groups"] for name in group["params"]]
    number = {name: position for position, name in enumerate(order)}
    optimizer.load_state_dict(
        {
            **saved["rest"],
            "param_groups": [
                {**group, "params": [number[name] for name in group["params"]]}
                for group in saved["groups"]
            ],
            "state": {number.get(name, name): kept for name, kept in saved["state"].items()},
        }
    )
    _keep_types(optimizer, parameters, saved["state"])


def _keep_types(
    optimizer: Optimizer, parameters: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    # `load_state_dict` casts state to its parameter's type, which rounds what was kept more finely.
    for name, kept in state.items():
        parameter = parameters.get(name)
        if parameter is None:
            continue
        current = optimizer.state[parameter]
        for key, value in kept.items():
            if isinstance(value, Tensor) and current[key].dtype != value.dtype:
                current[key] = value.to(current[key].device)


def _ordered_names(optimizer: Optimizer, model: nn.Module) -> dict[Any, str]:
    """The name of each parameter by its number in the optimizer's ``state_dict``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    ordered = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for position, parameter in enumerate(ordered):
        if id(parameter) not in names:
            raise CheckpointError(
                f"Parameter {position} of the {type(optimizer).__name__}, of shape "
                f"{tuple(parameter.shape)}, is not in the model. "
                "Save the module that holds all parameters of the optimizer."
            )
    return {position: names[id(parameter)] for position, parameter in enumerate(ordered)}


def _few(names: Iterable[str]) -> str:
    listed = [f"'{name}'" for name in names]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + more
