"""Averages of a network's weights that follow the network through edits and switches of storage."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import wraps
from hashlib import sha256
from itertools import zip_longest
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel
from torch.utils.weak import WeakIdKeyDictionary

from structure_net.core.masking import spread
from structure_net.core.once import Once
from structure_net.core.stale_moments import STALE_MOMENTS
from structure_net.core.storage import StoredLayer

_DIGEST: Final = "connections"
"""Under which a state holds the digest of a sparse layer's connections."""


class AveragedNetwork:
    r"""Averages of a network's weights, entry by entry, whatever happens to the network between.

    .. math::
        a_1 = w_1, \qquad a_t = \beta a_{t-1} + (1 - \beta) w_t \quad\text{or}\quad
        a_t = a_{t-1} + (w_t - a_{t-1}) / t

    with :math:`t` the number of `update`s since the weight was born: connections and units that
    come begin with their value, those that go are forgotten, the others keep their average. Weights
    that an edit copies or splits take their averages along, as an optimizer's moments; where it
    scales them, averages catch up from there. The device is that of the network as it is, and so is
    the type, but averages of half precision, which small steps would never move, are of single.

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

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles are made of: averages of the network as it is."""
        self._follow()
        return vars(self)

    @torch.inference_mode(False)
    def update(self) -> None:
        """Takes the weights as they are into the averages; to be called behind each step.

        Raises:
            RuntimeError: A parameter was given another shape, or other connections, by other means
                than an edit.
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

    @torch.inference_mode(False)
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
        or copy them. Weights of a sparse layer come with a digest of their connections.
        """
        digests = self._digests()
        return {name: {**state, **digests.get(name, {})} for name, state in self._known()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Goes on from averages of a network of this architecture and these connections.

        Args:
            state: What `state_dict` gave.

        Raises:
            ValueError: A name is unknown, a shape is not that of the parameter, the connections are
                not those of the layer, or averages come without their counts. Nothing was loaded.
        """
        self._follow()
        parameters, digests = dict(self._model.named_parameters()), self._digests(state)
        for name, held in state.items():
            _refuse_misfit(name, held, parameters.get(name))
            if _DIGEST in held and not _same_digest(held, digests.get(name, {})):
                raise ValueError(
                    f"The state holds an average of {name!r} of other connections than the network"
                    " has. Load the network that was saved beside it first."
                )
        loaded: dict[Tensor, dict[str, Tensor]] = {
            parameters[name]: _copied(parameters[name], held) for name, held in state.items()
        }
        self._averages.state.clear()
        self._averages.state.update(loaded)
        self._averages.know(loaded)

    def _known(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The state of every parameter that has one, after all edits."""
        self._follow()
        for name, parameter in self._model.named_parameters():
            state = self._averages.state.get(parameter)
            if state:
                self._averages.fit(parameter, state)
                yield name, state

    def _digests(self, names: Container[str] | None = None) -> dict[str, dict[str, Tensor]]:
        """A digest of the connections of each sparse layer, by its weight's name."""
        layers = {id(m.weight): m for m in self._model.modules() if isinstance(m, StoredLayer)}
        return {
            name: {_DIGEST: _digest(layers[id(weight)])}
            for name, weight in self._model.named_parameters()
            if id(weight) in layers and not weight.is_meta and (names is None or name in names)
        }

    def _follow(self) -> None:
        self._averages.state_dict()  # whoever carries optimizers along does so before it is read


class _Averages(Optimizer):
    """Keeps an average beside each parameter, and moves none."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float | None) -> None:
        super().__init__(parameters, {"decay": decay})
        self._moves = WeakIdKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {**state, "fitting": [(one, self._known(one)) for one in self.state]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        fitting = state.pop("fitting", None)
        super().__setstate__(state)
        if fitting is None:
            return
        self._moves = WeakIdKeyDictionary()
        for one, known in fitting:
            self._moves[one] = STALE_MOMENTS.moves(one) - (not known)

    def know(self, parameters: Iterable[Tensor]) -> None:
        """Takes the connections of ``parameters`` for those of their averages."""
        for one in parameters:
            self._moves[one] = STALE_MOMENTS.moves(one)

    def adopt(self, parameters: Iterable[nn.Parameter]) -> None:
        """Begins averages of parameters that came by other means than an edit, and forgets those
        that went.
        """
        present = {id(one): one for one in parameters}
        for group in self.param_groups:
            gone = [one for one in group["params"] if id(one) not in present]
            if gone:
                group["params"] = [one for one in group["params"] if id(one) in present]
            for one in gone:
                self.state.pop(one, None)
        known = {id(one) for group in self.param_groups for one in group["params"]}
        new = [one for key, one in present.items() if key not in known]
        self.param_groups[0]["params"] += new

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss
        """Takes the parameters in."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["average"] = parameter.detach().to(_kind(parameter), copy=True)
                    state["seen"] = torch.zeros_like(parameter, dtype=torch.float32)
                    self.know([parameter])
                self.fit(parameter, state)
                self._take(parameter, state, group["decay"])

    def fit(self, parameter: Tensor, state: dict[str, Tensor]) -> None:
        """Gives averages the type and the device of their parameter.

        Raises:
            RuntimeError: They are of another shape, or of other connections.
        """
        if state["average"].shape != parameter.shape:
            raise RuntimeError(
                f"The average has shape {tuple(state['average'].shape)}, its parameter"
                f" {tuple(parameter.shape)}: the network was given other weights, and by no edit."
                " Load the average's own state behind the network's, or begin a new average."
            )
        if not self._known(parameter):
            raise RuntimeError(
                f"The average of {parameter.shape[0]} weights is of other connections than the"
                " network has: it loaded a state since. Load the average's own state behind the"
                " network's, or begin a new average."
            )
        state["average"] = state["average"].to(parameter.device, _kind(parameter))
        state["seen"] = state["seen"].to(parameter.device)

    def _known(self, parameter: Tensor) -> bool:
        """Whether the average is of the connections that the parameter has."""
        moves: int = self._moves.get(parameter, 0)
        return moves == STALE_MOMENTS.moves(parameter)

    @staticmethod
    def _take(parameter: Tensor, state: dict[str, Tensor], decay: float | None) -> None:
        average, seen = state["average"], state["seen"]
        if not (average.is_floating_point() or average.is_complex()):
            average.copy_(parameter)  # whole numbers have no mean
            seen += 1
            return
        real = average.real.dtype if average.is_complex() else average.dtype
        if decay is None:
            rate = (seen + 1).to(real).reciprocal()
        else:
            rate = torch.where(seen == 0, 1.0, 1 - decay).to(real)
        value = parameter.detach().to(average.dtype)
        average.copy_(torch.lerp(average, value, rate.to(average.dtype)))
        seen += 1


def _kind(parameter: Tensor) -> torch.dtype:
    """The type of a parameter's average."""
    if parameter.is_floating_point() or parameter.is_complex():
        return torch.promote_types(parameter.dtype, torch.float32)
    return parameter.dtype


def _copied(parameter: Tensor, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state that was saved, as one for a parameter."""
    average, seen = held["average"].detach(), held["seen"].detach()
    return {
        "average": average.to(parameter.device, _kind(parameter), copy=True),
        "seen": seen.to(parameter.device, torch.float32, copy=True),
    }


def _refuse_misfit(name: str, held: Mapping[str, Tensor], parameter: Tensor | None) -> None:
    shapes = {key: tuple(value.shape) for key, value in held.items() if key != _DIGEST}
    if set(shapes) != {"average", "seen"} or shapes["seen"] != shapes["average"]:
        raise ValueError(
            f"The state of {name!r} must be 'average' and 'seen', of one shape; got"
            f" {shapes}. Load what state_dict gave."
        )
    found = None if parameter is None else tuple(parameter.shape)
    if shapes["average"] != found:
        raise ValueError(
            f"The state holds an average of {name!r} of shape {shapes['average']}; the network has"
            f" {found or 'none'}. Load the network that was saved beside it first."
        )


def _digest(layer: StoredLayer) -> Tensor:
    """SHA-256 of a layer's connections, the same in either storage. Shape ``(32,)``, bytes."""
    pattern = layer.pattern
    places = (*pattern.shape, pattern.rows, pattern.columns)
    told = b"".join(np.asarray(torch.as_tensor(one).cpu(), dtype="<i8").tobytes() for one in places)
    return torch.tensor(list(sha256(told).digest()), dtype=torch.uint8)


def _same_digest(held: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return _DIGEST in own and torch.equal(held[_DIGEST].cpu(), own[_DIGEST])


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
