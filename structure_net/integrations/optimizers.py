"""An optimizer's state by the names of its parameters, across edits.

PyTorch loads an optimizer's state by position. After an edit that brought new parameters, an
optimizer that is made for the grown model has another order than the one that lived through the
edit, and often other groups; the state would reach the wrong parameters. So the state dict says
which name each position belongs to, and is put in order before it is loaded. It holds the model's
lineage, too: some packages load an optimizer before its model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from structure_net.errors import CheckpointError

KEY: Final = "structure_net_parameters"
"""The name of what is added to an optimizer's state dict."""


class Leads(Protocol):
    """What a `Lineage` does for an optimizer's state."""

    def to_tensor(self) -> Tensor:
        """The lineage as it stands."""

    def lead(self, model: nn.Module, tensor: Tensor) -> None:
        """Leads a model to where another lineage ends."""


def remember_names(optimizer: Optimizer, model: nn.Module, lineage: Leads) -> None:
    """Lets the optimizer's state dict hold names and lineage, and loading one mind them.

    Args:
        optimizer: Of parameters of the model, perhaps among others. It learns it once.
        model: Names them.
        lineage: The model's.
    """
    hooks = optimizer._optimizer_state_dict_post_hooks.values()
    if not any(isinstance(hook, _Save) for hook in hooks):
        optimizer.register_state_dict_post_hook(_Save(model, lineage))
        optimizer.register_load_state_dict_pre_hook(_Load(model, lineage))


@dataclass(eq=False)
class _Save:
    model: nn.Module
    lineage: Leads

    def __call__(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        names = names_in(optimizer, self.model)
        state[KEY] = {"lineage": self.lineage.to_tensor(), "names": names}


@dataclass(eq=False)
class _Load:
    model: nn.Module
    lineage: Leads

    def __call__(self, optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        kept = state.pop(KEY, None)
        if kept is None:
            return state
        self.lineage.lead(self.model, kept["lineage"])
        wanted = names_in(optimizer, self.model)
        return {**state, "param_groups": in_order(state["param_groups"], kept["names"], wanted)}


def names_in(optimizer: Optimizer, model: nn.Module) -> list[list[str]]:
    """The names of an optimizer's parameters, group by group; others than the model's by number."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    others = _numbers()
    return [
        [names.get(id(parameter)) or next(others) for parameter in group["params"]]
        for group in optimizer.param_groups
    ]


def _numbers() -> Iterator[str]:
    number = 0
    while True:
        yield f"#{number}"
        number += 1


def in_order(
    groups: Sequence[dict[str, Any]],
    names: Sequence[Sequence[str]],
    wanted: Sequence[Sequence[str]],
) -> list[dict[str, Any]]:
    """Saved groups, with their positions as another optimizer has its parameters.

    Args:
        groups: Of a state dict: settings, and positions under ``params``.
        names: The name of each position.
        wanted: The names that the other optimizer has, group by group.

    Returns:
        Groups with the settings of those saved.

    Raises:
        CheckpointError: The other optimizer has other parameters, or another number of groups.
    """
    saved = [group["params"] for group in groups]
    pairs = zip(names, saved, strict=True)
    positions = {n: p for of, at in pairs for n, p in zip(of, at, strict=True)}
    asked = {name for group in wanted for name in group}
    if asked != set(positions) or len(wanted) != len(groups):
        differ = ", ".join(sorted(asked ^ set(positions))) or "none"
        raise CheckpointError(
            f"The optimizer's state is of {len(groups)} groups, this one has {len(wanted)}, and"
            f" these parameters stand in one of the two only: {differ}. Make the optimizer as it"
            " was made when the state was saved."
        )
    return [
        {**group, "params": [positions[name] for name in own]}
        for group, own in zip(groups, wanted, strict=True)
    ]
