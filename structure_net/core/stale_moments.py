"""Optimizers that remember connections which a masked layer no longer has.

The gradient off a pattern is zero, and so is what an optimizer makes of it: a dead weight stays
where it is. A state that is loaded may bring another pattern, while an optimizer still holds
moments of weights that are dead now, by which it would move them. These moments are zeroed before
the optimizer's next step. Until the first such load of a process nothing listens to any step.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.weak import WeakIdKeyDictionary

from structure_net.core.masking import spread
from structure_net.core.once import Once


class MaskedLayer(Protocol):
    """A weight and its mask."""

    weight: nn.Parameter
    mask: Tensor


class StaleMoments:
    """The masked weights that got another pattern, and the optimizers that know of it.

    Holds them weakly.
    """

    def __init__(self) -> None:
        self._layers = WeakIdKeyDictionary()
        self._moves = WeakIdKeyDictionary()
        self._told: weakref.WeakKeyDictionary[Optimizer, set[int]] = weakref.WeakKeyDictionary()
        self._listen = Once(self._begin)

    def note(self, layer: MaskedLayer) -> None:
        """Lets every optimizer of the layer's weight forget, at its next step, what is off the
        pattern then.
        """
        self._layers[layer.weight] = weakref.ref(layer)
        if not layer.mask.numel():
            self._moves[layer.weight] = self.moves(layer.weight) + 1
        for told in list(self._told.values()):
            told.discard(id(layer.weight))
        self._listen()

    def moves(self, weight: Tensor) -> int:
        """How often a list of live weights got other connections from a state that was loaded."""
        count: int = self._moves.get(weight, 0)
        return count

    def _begin(self) -> None:
        register_optimizer_step_pre_hook(lambda optimizer, *_: self._forget(optimizer))

    @torch.no_grad()
    def _forget(self, optimizer: Optimizer) -> None:
        told = self._told.get(optimizer)
        for weight, mask in self._concerning(optimizer):
            if told is None:
                told = self._told[optimizer] = set()
                # A state that is loaded later may be of the old pattern, too.
                optimizer.register_load_state_dict_post_hook(lambda one: self._told[one].clear())
            if id(weight) in told:
                continue
            told.add(id(weight))
            for value in optimizer.state.get(weight, {}).values():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    value.mul_(spread(mask, weight).to(value))

    def _concerning(self, optimizer: Optimizer) -> Iterator[tuple[Tensor, Tensor]]:
        """The noted weights that an optimizer holds, as long as they are masked, with their
        masks.
        """
        for group in optimizer.param_groups:
            for weight in group["params"]:
                found: Any = self._layers.get(weight)
                layer = None if found is None else found()
                if layer is not None and layer.mask.shape == weight.shape[:2]:
                    yield weight, layer.mask


STALE_MOMENTS: Final = StaleMoments()
