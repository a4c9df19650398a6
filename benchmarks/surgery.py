"""What an edit costs beside a training step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import Figure, interleaved, seconds
from structure_net.graph import graph_of
from structure_net.surgery import AddNeurons, apply

BATCH = 128
COUNT = 16


class Trained:
    """A dense network with ReLU whose Adam has state, its data, and an edit that is taken back."""

    def __init__(self, widths: Sequence[int]) -> None:
        torch.manual_seed(0)
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        self.model = nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.inputs = torch.randn(BATCH, widths[0])
        self.targets = torch.randint(widths[-1], (BATCH,))
        self.example = self.inputs[:2]
        self.step()
        graph_of(self.model, self.example)

    def step(self) -> None:
        """One training step; the gradients are let go behind it, as between steps."""
        F.cross_entropy(self.model(self.inputs), self.targets).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def add(self, layer: str, *, verify: bool = True, gradients: bool = False) -> float:
        """The seconds of one AddNeurons; it is undone afterwards."""
        edit = AddNeurons(layer, COUNT)
        if gradients:
            F.cross_entropy(self.model(self.inputs), self.targets).backward()
        applied = None

        def run() -> None:
            nonlocal applied
            applied = apply(self.model, edit, self.example, optimizer=self.optimizer, verify=verify)

        spent = seconds(run)
        if applied is not None:
            applied.undo()
        self.optimizer.zero_grad()
        return spent


def figures() -> list[Figure]:
    """AddNeurons against a step of the large network, and in milliseconds on the small one."""
    large, small = Trained([1024, 1024, 1024, 10]), Trained([784, 256, 256, 10])
    times = interleaved(
        {
            "step": lambda: seconds(large.step),
            "second": lambda: large.add("2"),
            "first": lambda: large.add("0"),
            "unverified": lambda: large.add("2", verify=False),
            "gradients": lambda: large.add("2", gradients=True),
            "small step": lambda: seconds(small.step),
            "small": lambda: small.add("2"),
        },
        repeats=31,
        warm_ups=3,
    )
    name = "AddNeurons on 1024-1024-1024-10"
    how = f"{COUNT} neurons, Adam state, graph at hand; a step of {BATCH} samples, fused Adam"

    def ratio(key: str) -> float:
        return times[key] / times["step"]

    return [
        Figure(f"{name}, second layer, over a training step", ratio("second"), "x", 0.5, how),
        Figure(f"{name}, first layer, over a training step", ratio("first"), "x", 0.5, "as above"),
        Figure("second layer, unverified", ratio("unverified"), "x", None, "verify=False"),
        Figure(
            "second layer, gradients too",
            ratio("gradients"),
            "x",
            None,
            "between backward and step",
        ),
        Figure("AddNeurons on 784-256-256-10", 1e3 * times["small"], "ms", 5, "second layer"),
        Figure("a training step of the same", 1e3 * times["small step"], "ms"),
    ]
