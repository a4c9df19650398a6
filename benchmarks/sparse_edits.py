"""What moving connections costs beside a training step of the dense layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import Figure, interleaved, seconds
from structure_net.core import StandardSparseLayer
from structure_net.core.changes import assign
from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_compute import features_first, value_gradient
from structure_net.core.sparsity import SparsePattern
from structure_net.evolution import NetworkContext
from structure_net.evolution.components import RigL, SparseEvolutionaryTraining
from structure_net.evolution.editing import carry_out
from structure_net.evolution.metrics.rewiring import strongest_free, strongest_places
from structure_net.evolution.reductions import drawn_absent

SIZE, BATCH, CANDIDATES = 1024, 128, 10_240


class Moved:
    """A sparse layer whose Adam has state, and connections that move."""

    def __init__(self, density: float) -> None:
        generator = torch.Generator().manual_seed(0)
        layer = StandardSparseLayer(SIZE, SIZE, density=density, generator=generator)
        self.model = nn.Sequential(layer)
        self.layer = layer
        self.optimizer = torch.optim.Adam(self.model.parameters(), fused=True)
        self.inputs = torch.randn(BATCH, SIZE, generator=generator)
        self.slope = torch.randn(BATCH, SIZE, generator=generator)
        self.context = NetworkContext(
            self.model, [(self.inputs, self.slope)], optimizer=self.optimizer
        )
        self.iterations = count()
        self.step()
        self.rows, self.columns = (features_first(one) for one in (self.slope, self.inputs))
        pattern = layer.pattern
        self.taken = pattern.rows * SIZE + pattern.columns
        self.count = round(0.3 * len(self.taken))
        draw = torch.Generator().manual_seed(1)
        self.places = drawn_absent(self.taken, (SIZE, SIZE), CANDIDATES, draw).sort().values
        chosen = SparsePattern(self.places // SIZE, self.places % SIZE, (SIZE, SIZE))
        self.index = LiveIndex.from_pattern(chosen)

    def step(self) -> None:
        """One training step."""
        F.mse_loss(self.model(self.inputs), self.slope).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def chosen(self) -> Sequence[Any]:
        """What SET would do; something else each time."""
        context = replace(self.context, iteration=next(self.iterations))
        return SparseEvolutionaryTraining().propose(context, {})

    def carried_out(self) -> None:
        """The same, done as the evolution system does it, with Adam's moments and a journal."""
        carry_out(self.context, self.chosen(), component="SET")

    def moved(self) -> float:
        """The seconds of the layer's own part: values, pattern and index."""
        (edit,) = (proposal.edit for proposal in self.chosen())
        return seconds(lambda: assign(self.layer, self.layer.moved(edit.removed, edit.added)))

    def dense_choice(self) -> None:
        """RigL's places by the gradient of all of them."""
        score = (self.slope.T @ self.inputs).abs_()
        strongest_free(score, self.taken, self.count)

    def sampled_choice(self) -> None:
        """RigL's places by the gradient at some, the gradient included."""
        score = value_gradient(self.rows, self.columns, self.index).abs_()
        strongest_places(self.places, score, self.count)

    def sampled(self) -> None:
        """All of RigL's decision, given the gradient at some places."""
        score = value_gradient(self.rows, self.columns, self.index).abs_()
        analysis = {"candidate_gradient": {"0": (self.places, score)}}
        RigL(candidates=CANDIDATES).propose(self.context, analysis)


class Dense:
    """The layer as people write it: a matrix times a mask, and the default Adam."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(SIZE, SIZE, generator=generator) / SIZE**0.5
        self.weight = nn.Parameter(weight)
        self.mask = (torch.rand(SIZE, SIZE, generator=generator) < 0.01).float()
        self.optimizer = torch.optim.Adam([self.weight])
        self.inputs = torch.randn(BATCH, SIZE, generator=generator).requires_grad_()

    def step(self) -> None:
        """One training step."""
        F.linear(self.inputs, self.weight * self.mask).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def figures() -> list[Figure]:
    """SET and RigL at two densities, against a step of the dense layer."""
    dense = Dense()
    found = []
    for density, goal in ((0.01, 0.06), (0.05, None)):
        moved = Moved(density)
        times = interleaved(
            {
                "dense": lambda: seconds(dense.step),
                "set": lambda moved=moved: seconds(moved.carried_out),  # type: ignore[misc]  # bound now
                "moved": moved.moved,
                "chosen": lambda moved=moved: seconds(moved.chosen),  # type: ignore[misc]  # bound now
                "all": lambda moved=moved: seconds(moved.dense_choice),  # type: ignore[misc]  # bound now
                "some": lambda moved=moved: seconds(moved.sampled_choice),  # type: ignore[misc]  # bound now
                "rigl": lambda moved=moved: seconds(moved.sampled),  # type: ignore[misc]  # bound now
            },
            repeats=31,
            warm_ups=3,
        )
        how = (
            f"{SIZE} x {SIZE} at {density:.0%}, 30 % moved, batch {BATCH}; matrix times mask, Adam"
        )
        step = times["dense"]
        found += [
            Figure(
                "SET's move in the layer over a dense step", times["moved"] / step, "x", goal, how
            ),
            Figure(
                "SET's choice and move, with optimizer and journal, over a dense step",
                times["set"] / step,
                "x",
                0.3,
                how,
            ),
            Figure("... by itself", times["set"] * 1e3, "ms", None, how),
            Figure("SET's choice over a dense step", times["chosen"] / step, "x", None, how),
            Figure("RigL's growth by all gradients", times["all"] * 1e3, "ms", None, how),
            Figure(f"RigL's places among {CANDIDATES}", times["some"] * 1e3, "ms", 0.4, how),
            Figure(
                "RigL's decision by these over a dense step", times["rigl"] / step, "x", None, how
            ),
        ]
    return found
