"""Averages of a network's weights that follow the network through edits and switches of storage."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from functools import wraps
from itertools import zip_longest
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from structure_net.core.masking import spread
from structure_net.core.once import Once
from structure_net.core.storage import StoredLayer


class AveragedNetwork:
    r"""Averages of a network's weights, entry by entry, whatever happens to the network between.

    .. math::
        a_1 = w_1, \qquad a_t = \beta a_{t-1} + (1 - \beta) w_t \quad\text{or}\quad
        a_t = a_{t-1} + (w_t - a_{t-1}) / t

    with :math:`t` the number of `update`s since the weight was born: connections and units that
    come begin with their value, those that go are forgotten, the others keep their average. Weights
    that an edit copies or splits take their averages along, as an optimizer's moments; where it
    scales them, averages catch up from there. Type and device are those of the network as it is.

    An average is kept as the state of an optimizer that moves nothing, so that whoever carries
    optimizers along, as `structure_net.surgery` does, carries it. Buffers are not averaged.

    Args:
        model: The network; it is held, and stays as it is.
        decay: The weight :math:`\beta` of the past, in (0, 1); None for the mean of all updates.

    Raises:
        ValueError: ``decay`` is out of range, or the network has no parameter.

    Example:
        >>> network = torch.nn.Linear(2, 1, bias=False)
        >>> average = AveragedNetwork(network, decay=0.5)
        >>> for value in (1.0, 2.0):
        ...     _ = torch.nn.init.constant_(network.weight, value)
        ...     average.update()
        >>> average.network().weight.tolist()
        [[1.5, 1.5]]

    References:
        Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal
        on Control and Optimization 30(4), 1992. Izmailov et al., "Averaging weights leads to wider
        optima and better generalization", UAI 2018.
    """

    def __init__(self, model: nn.Module, *, decay: float | None = 0.999) -> None:
        if decay is not None and not 0 < decay < 1:
            raise ValueError(f"decay must be None or in (0, 1); got {decay}.")
        self._model = model
        self._averages = _Averages(model.parameters(), decay)

    def update(self) -> None:
        """Takes the weights as they are into the averages; to be called behind each step.

        Raises:
            RuntimeError: A parameter was given another shape by other means than an edit.
        """
        self._follow()
        self._averages.adopt(self._model.parameters())
        self._averages.step()
        for layer in self._model.modules():
            if isinstance(layer, StoredLayer) and layer.storage == "masked":
                state = self._averages.state.get(layer.weight, {})
                if "seen" in state:
                    # A connection that comes later begins then.
                    state["seen"].mul_(spread(layer.mask, layer.weight))

    def network(self) -> nn.Module:
        """A copy of the network with the averages for weights: as it is now, edits included.

        What was born since the last update has its value; so have all weights before the first one.
        """
        twin = copy.deepcopy(self._model)
        own = dict(self._known())
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                if name in own:
                    seen, average = own[name]["seen"], own[name]["average"]
                    parameter.copy_(torch.where(seen > 0, average, parameter))
        for layer in twin.modules():
            if isinstance(layer, StoredLayer):
                layer.settle()
        return twin

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The averages, and how many updates each entry has seen, by the parameter's name.

        The tensors are those that updates go on to change, as in an optimizer's state: save them,
        or copy them.
        """
        return {name: dict(state) for name, state in self._known()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Goes on from averages of a network of this architecture and these connections.

        Args:
            state: What `state_dict` gave.

        Raises:
            ValueError: A name is unknown, a shape is not that of the parameter, or averages come
                without their counts. Nothing was loaded.
        """
        self._follow()
        parameters = dict(self._model.named_parameters())
        for name, held in state.items():
            shapes = {key: tuple(value.shape) for key, value in held.items()}
            if set(held) != {"average", "seen"} or shapes["seen"] != shapes["average"]:
                raise ValueError(
                    f"The state of {name!r} must be 'average' and 'seen', of one shape; got"
                    f" {shapes}. Load what state_dict gave."
                )
            shape = shapes["average"]
            if name not in parameters or shape != tuple(parameters[name].shape):
                found = tuple(parameters[name].shape) if name in parameters else "none"
                raise ValueError(
                    f"The state holds an average of {name!r} of shape {shape}; the network has"
                    f" {found}. Load the network that was saved beside it first."
                )
        self._averages.state.clear()
        for name, held in state.items():
            parameter = parameters[name]
            self._averages.state[parameter] = {
                "average": held["average"].detach().to(parameter, copy=True),
                "seen": held["seen"].detach().to(parameter.device, copy=True),
            }

    def _known(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The state of every parameter that has one, after all edits."""
        self._follow()
        for name, parameter in self._model.named_parameters():
            state = self._averages.state.get(parameter)
            if state:
                self._averages.fit(parameter, state)
                yield name, state

    def _follow(self) -> None:
        self._averages.state_dict()  # whoever carries optimizers along does so before it is read


class _Averages(Optimizer):
    """Keeps an average beside each parameter, and moves none."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float | None) -> None:
        super().__init__(parameters, {"decay": decay})

    def adopt(self, parameters: Iterable[nn.Parameter]) -> None:
        """Begins averages of parameters that came by other means than an edit."""
        known = {id(one) for group in self.param_groups for one in group["params"]}
        self.param_groups[0]["params"] += [one for one in parameters if id(one) not in known]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss
        """Takes the parameters in."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["average"] = parameter.detach().clone()
                    state["seen"] = torch.zeros_like(parameter, dtype=torch.float32)
                self.fit(parameter, state)
                self._take(parameter, state, group["decay"])

    def fit(self, parameter: Tensor, state: dict[str, Tensor]) -> None:
        """Gives averages the type and the device of their parameter.

        Raises:
            RuntimeError: They are of another shape.
        """
        if state["average"].shape != parameter.shape:
            raise RuntimeError(
                f"The average has shape {tuple(state['average'].shape)}, its parameter"
                f" {tuple(parameter.shape)}: the network was given other weights, and by no edit."
                " Load the average's own state behind the network's, or begin a new average."
            )
        state["average"] = state["average"].to(parameter)
        state["seen"] = state["seen"].to(parameter.device)

    @staticmethod
    def _take(parameter: Tensor, state: dict[str, Tensor], decay: float | None) -> None:
        average, seen = state["average"], state["seen"]
        real = average.real.dtype if average.is_complex() else average.dtype
        if decay is None:
            rate = (seen + 1).to(real).reciprocal()
        else:
            rate = torch.where(seen == 0, 1.0, 1 - decay).to(real)
        average.copy_(torch.lerp(average, parameter.detach(), rate.to(average.dtype)))
        seen += 1


def guard_averages() -> None:
    """Has `torch.optim.swa_utils.AveragedModel` refuse networks that an edit has led away from it.

    It pairs parameters by position and number: where an edit of the network alone has moved
    connections, it would take the mean of weights of different connections, and say nothing. From
    the first edit of a process on, it looks before.
    """
    _GUARDED()


def _guard() -> None:
    # Replaced on purpose: PyTorch asks nobody before it takes a mean.
    AveragedModel.update_parameters = _guarded(  # type: ignore[method-assign]  # meant
        AveragedModel.update_parameters
    )


_GUARDED: Final = Once(_guard)


def _guarded(update: Any) -> Any:
    @wraps(update)
    def update_parameters(average: AveragedModel, model: nn.Module) -> None:
        if not _alike(average.module, model, begun=bool(average.n_averaged > 0)):
            raise RuntimeError(
                "This average is of other parameters or connections than the network has now: an"
                " edit, or a switch of storage, changed the network alone. Use"
                " structure_net.core.AveragedNetwork, which follows; or make the same edit, with"
                " the same seed, to average.module; or begin a new average."
            )
        update(average, model)

    return update_parameters


def _alike(average: nn.Module, model: nn.Module, *, begun: bool) -> bool:
    """Whether parameters of the same place are of the same connections."""
    shapes = ([p.shape for p in one.parameters()] for one in (average, model))
    mine, other = (
        [m for m in one.modules() if isinstance(m, StoredLayer)] for one in (average, model)
    )
    if next(shapes) != next(shapes) or len(mine) != len(other):
        return False
    if not begun:
        return True  # the first update copies indices, too
    return all(_same_pattern(*pair) for pair in zip_longest(mine, other))


def _same_pattern(one: StoredLayer, other: StoredLayer) -> bool:
    if one.storage != other.storage:
        return False
    names = ("mask",) if one.storage == "masked" else ("offsets", "columns")
    return all(
        torch.equal(getattr(one, name), getattr(other, name).to(getattr(one, name).device))
        for name in names
    )
