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
        """One training step."""
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(self.inputs), self.targets).backward()
        self.optimizer.step()

    def add(self, *, verify: bool = True) -> float:
        """The seconds of one AddNeurons in the second layer; it is undone afterwards."""
        edit = AddNeurons("2", COUNT)
        applied = None

        def run() -> None:
            nonlocal applied
            applied = apply(self.model, edit, self.example, optimizer=self.optimizer, verify=verify)

        spent = seconds(run)
        if applied is not None:
            applied.undo()
        return spent


def figures() -> list[Figure]:
    """AddNeurons against a step of the large network, and in milliseconds on the small one."""
    large, small = Trained([1024, 1024, 1024, 10]), Trained([784, 256, 256, 10])
    times = interleaved(
        {
            "step": lambda: seconds(large.step),
            "add": large.add,
            "unverified": lambda: large.add(verify=False),
            "small step": lambda: seconds(small.step),
            "small add": small.add,
        },
        repeats=31,
        warm_ups=3,
    )
    how = f"{COUNT} neurons, Adam state, graph at hand, against a step of {BATCH} samples"
    return [
        Figure(
            "AddNeurons, 1024-1024-1024-10, over a training step",
            times["add"] / times["step"],
            "x",
            0.5,
            how,
        ),
        Figure(
            "the same without the check of the function",
            times["unverified"] / times["step"],
            "x",
            None,
            "verify=False",
        ),
        Figure("AddNeurons, 784-256-256-10", 1e3 * times["small add"], "ms", 5, "with the check"),
        Figure(
            "a training step of the same",
            1e3 * times["small step"],
            "ms",
            None,
            f"{BATCH} samples, fused Adam",
        ),
    ]
