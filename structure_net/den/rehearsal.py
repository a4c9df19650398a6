"""A memory of earlier samples, which are learned again beside new ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from structure_net.evolution.batches import Batch


class Rehearsal:
    """A reservoir: a uniform sample of all that was seen, of bounded size.

    Args:
        size: The most samples that it holds.
        seed: What is kept, and what is brought back, is drawn from it.

    References:
        Vitter, "Random sampling with a reservoir", ACM TOMS 1985. Chaudhry et al., "On tiny
        episodic memories in continual learning", 2019.
    """

    def __init__(self, size: int, *, seed: int = 0) -> None:
        self.size = size
        self._draw = torch.Generator().manual_seed(seed)
        self._inputs: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._seen = 0

    def __len__(self) -> int:
        return len(self._inputs)

    def see(self, loader: Iterable[Batch]) -> None:
        """Takes every sample of a loader into account."""
        if not self.size:
            return
        for inputs, targets in loader:
            for one, wanted in zip(inputs.detach().cpu(), targets.detach().cpu(), strict=True):
                self._take(one, wanted)

    def _take(self, one: Tensor, wanted: Tensor) -> None:
        self._seen += 1
        if len(self) < self.size:
            self._inputs.append(one.clone())
            self._targets.append(wanted.clone())
            return
        place = int(torch.randint(self._seen, (), generator=self._draw))
        if place < self.size:
            self._inputs[place], self._targets[place] = one.clone(), wanted.clone()

    def beside(self, loader: Iterable[Batch]) -> Iterable[Batch]:
        """A loader's batches, each with as many remembered samples as it has itself."""
        return _Beside(self, loader) if len(self) else loader

    def drawn(self, count: int) -> Batch:
        """``count`` remembered samples, with repetition."""
        places = torch.randint(len(self), (count,), generator=self._draw).tolist()
        inputs = torch.stack([self._inputs[place] for place in places])
        return inputs, torch.stack([self._targets[place] for place in places])

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it: plain data."""
        held = {"inputs": self._inputs, "targets": self._targets} if len(self) else {}
        return {
            "seen": self._seen,
            "draw": self._draw.get_state().tolist(),
            **{name: [_plain(one) for one in samples] for name, samples in held.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state` returned, as far as there is room."""
        if "draw" in state:
            self._draw.set_state(torch.tensor(state["draw"], dtype=torch.uint8))
        self._seen = state.get("seen", 0)
        self._inputs = [_tensor(one) for one in state.get("inputs", ())][: self.size]
        self._targets = [_tensor(one) for one in state.get("targets", ())][: self.size]


def _plain(sample: Tensor) -> dict[str, Any]:
    return {"dtype": str(sample.dtype).removeprefix("torch."), "values": sample.tolist()}


def _tensor(data: Mapping[str, Any]) -> Tensor:
    return torch.tensor(data["values"], dtype=getattr(torch, data["dtype"]))


class _Beside:
    def __init__(self, memory: Rehearsal, loader: Iterable[Batch]) -> None:
        self._memory = memory
        self._loader = loader

    def __iter__(self) -> Iterator[Batch]:
        for inputs, targets in self._loader:
            old, wanted = self._memory.drawn(len(inputs))
            yield torch.cat([inputs, old.to(inputs)]), torch.cat([targets, wanted.to(targets)])
