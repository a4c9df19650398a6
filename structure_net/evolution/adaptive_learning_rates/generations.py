"""When each entry of each parameter was born: kept where the optimizer keeps its moments.

A parameter's generations are a tensor of its shape among the optimizer's state, ``generation``. So
they follow edits as moments do (new entries arrive as 0, the two halves of a split are as old as
the unit was), and they are copied, saved and loaded with the optimizer. Generation ``g`` was born
at step ``births[g - 1]``; generation 1 was there when the rates were attached. Steps and births lie
in the first parameter group, under ``adaptive_rates``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from structure_net.evolution.adaptive_learning_rates.rules import Place

KEY: Final = "generation"
MEMORY: Final = "adaptive_rates"


class Generations:
    """The ages of an optimizer's entries.

    Args:
        optimizer: Its state holds them; it must keep state by parameter.
        kept: Whether entries are told apart; if not, only steps are counted.
    """

    def __init__(self, optimizer: Optimizer, *, kept: bool) -> None:
        self._optimizer = optimizer
        self._kept = kept
        self._known: dict[Tensor, Tensor] = {}
        self._pending: dict[Tensor, int] = {}
        self._span: dict[Tensor, tuple[int, int]] = {}
        self._waiting: set[Tensor] = set()
        self.begin()

    def begin(self) -> None:
        """Takes over what the optimizer holds; where it holds nothing, all entries begin here."""
        for known in (self._known, self._pending, self._span, self._waiting):
            known.clear()
        if MEMORY not in self._optimizer.param_groups[0]:
            self.remember(step=0, births=[0], rules={}, grown=0)
            self._pending = dict.fromkeys(self._parameters(), 1)
            return
        state = self._optimizer.state
        # Those that no step has moved so far, as frozen ones: not born by this attachment.
        self._waiting = {p for p in self._parameters() if KEY not in state.get(p, {})}

    @property
    def memory(self) -> Mapping[str, Any]:
        """Steps, births, and what rules remember."""
        found: Mapping[str, Any] = self._optimizer.param_groups[0][MEMORY]
        return found

    def remember(self, **values: Any) -> None:
        """Replaces entries of the memory in a new mapping; one that was saved stays as it is."""
        group = self._optimizer.param_groups[0]
        group[MEMORY] = {**group.get(MEMORY, {}), **values}

    def _parameters(self) -> Iterator[Tensor]:
        for group in self._optimizer.param_groups:
            yield from group["params"]

    def before_step(self, *, closure: bool = False) -> None:
        """Finds what was born since the last step.

        Args:
            closure: Whether gradients come within the step, so that none is there now.
        """
        if not self._kept:
            return
        now: list[int] = []
        for parameter in self._parameters():
            state = self._optimizer.state.get(parameter, {})
            generation = state.get(KEY)
            if generation is None:
                if parameter not in self._pending and self._is_born(parameter, closure):
                    self._pending[parameter] = self._newest(now)
            elif self._known.get(parameter) is not generation:
                self._note(parameter, state, now)
        if now:
            self._forget_removed()

    def _is_born(self, parameter: Tensor, closure: bool) -> bool:
        """Whether a parameter without a generation begins now: new ones where they are trained."""
        if parameter in self._waiting and not closure:
            return parameter.grad is not None
        return parameter.requires_grad

    def _newest(self, now: list[int]) -> int:
        """The number of the generation that is born at this step, the same for all."""
        if not now:
            births = [*self.memory["births"], self.memory["step"]]
            self.remember(births=births)
            now.append(len(births))
        return now[0]

    def _forget_removed(self) -> None:
        held = set(self._parameters())
        for gone in {*self._known, *self._pending, *self._waiting} - held:
            self._known.pop(gone, None)
            self._pending.pop(gone, None)
            self._span.pop(gone, None)
            self._waiting.discard(gone)

    def _note(self, parameter: Tensor, state: dict[str, Any], now: list[int]) -> None:
        generation = state[KEY].to(torch.int16)  # loading a state casts it to the parameter's type
        new = generation == 0
        if bool(new.any()):
            generation = generation.masked_fill(new, self._newest(now))
        self._keep(parameter, state, generation)

    def _keep(self, parameter: Tensor, state: dict[str, Any], generation: Tensor) -> None:
        state[KEY] = self._known[parameter] = generation
        least, most = generation.aminmax() if generation.numel() else (1, 1)
        self._span[parameter] = (int(least), int(most))
        self._pending.pop(parameter, None)

    def after_step(self) -> None:
        """Counts the step, and gives a generation to what the optimizer now keeps state for."""
        self.remember(step=self.memory["step"] + 1)
        for parameter, number in list(self._pending.items()) if self._kept else ():
            # An optimizer that keeps state begins it where it finds none: ours has to wait until a
            # step was taken.
            if parameter.grad is not None:
                state = self._optimizer.state[parameter]
                generation = torch.full_like(parameter, number, dtype=torch.int16)
                self._keep(parameter, state, generation)

    def since_growth(self) -> int | None:
        """Steps since anything was born; None if nothing was."""
        births = self.memory["births"]
        return self.memory["step"] - births[-1] if len(births) > 1 else None

    def place(self, name: str, parameter: Tensor, depth: int, layers: int) -> Place:
        """The parameter as rules see it."""
        age, original = self._age(parameter) if self._kept else (None, True)
        return Place(name, parameter, depth, layers, age, original, self.since_growth())

    def _age(self, parameter: Tensor) -> tuple[Tensor | int, Tensor | bool]:
        births, step = self.memory["births"], self.memory["step"]
        if parameter in self._pending:
            number = self._pending[parameter]
            return step - births[number - 1], number == 1
        if parameter not in self._span:  # it takes no steps; as old as the rates
            return step, True
        least, most = self._span[parameter]
        if least == most:
            return step - births[most - 1], most == 1
        generation = self._known[parameter]
        table = torch.tensor([step - born for born in births], device=generation.device)
        return table[generation.long() - 1], generation == 1
