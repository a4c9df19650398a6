"""Many replicas as one program of tensors: products of stacks of matrices, rates by replica.

All numbers of a replica lie in one row, layer by layer, so that one line moves the weights of all.
Networks that differ in width are filled up with units that have no connection, and stay so.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from neural_architecture_lab.replicas.alone import mean_over_samples
from neural_architecture_lab.replicas.material import SCORED_AT_ONCE, Material, Part, material_of
from neural_architecture_lab.replicas.plan import ReplicaPlan
from neural_architecture_lab.replicas.starting import Start
from neural_architecture_lab.replicas.trained import Score, Trained, Watch, unwatched
from structure_net.core.activations import make_activation
from structure_net.data.batches import order_of


def train_stacked(
    members: Sequence[tuple[ReplicaPlan, Start]], device: str = "cpu", watch: Watch = unwatched
) -> list[Trained]:
    """Trains replicas of one kind (`grouping.kind_of`) together.

    Args:
        members: Plans, and what was drawn for each.
        device: Where.
        watch: Is called at each step.

    Raises:
        PlanError: A plan does not fit its data.
    """
    begun = time.perf_counter()
    plan = members[0][0]
    material = material_of(plan, device)
    stack = _Stack(members, device)
    descent = _Descent([one for one, _ in members], stack)
    losses: list[list[float]] = []
    scores: list[list[Score]] = []
    for epoch in range(plan.epochs):
        losses.append(_epoch(stack, descent, material.train, epoch, watch))
        if len(material.validation):
            scores.append(stack.scored(material.validation, material))
    tests = stack.scored(material.test, material)
    seconds = (time.perf_counter() - begun) / len(members)
    return [
        Trained(
            one,
            *stack.parameters(place),
            start.connections,
            [each[place] for each in losses],
            [each[place] for each in scores],
            tests[place],
            seconds,
        )
        for place, (one, start) in enumerate(members)
    ]


class _Stack:
    """Networks beside each other.

    Attributes:
        plans: Of the replicas.
        numbers: All their numbers. Shape ``(replicas, numbers)``.
        mask: 1 where there is a connection or a bias; None where all are.
    """

    def __init__(self, members: Sequence[tuple[ReplicaPlan, Start]], device: str) -> None:
        self.plans = [plan for plan, _ in members]
        plan = self.plans[0]
        kind = getattr(torch, plan.dtype)
        levels = zip(*(one.sizes for one in self.plans), strict=True)
        widths = [max(level) for level in levels]
        shapes = [(n, m) for m, n in pairwise(widths)]
        counts = [n * m for n, m in shapes] + widths[1:]
        self._bounds = [0, *accumulate(counts)]
        self._shapes = shapes
        self.numbers = torch.zeros(len(members), self._bounds[-1], dtype=kind)
        mask = torch.zeros_like(self.numbers)
        for place, (_, start) in enumerate(members):
            self._enter(place, start, mask)
        self.numbers = self.numbers.to(device)
        self.mask = None if bool(mask.all()) else mask.to(device)
        self._weights, self._biases = self._views()
        self._activation = make_activation(plan.activation)

    def _enter(self, place: int, start: Start, mask: Tensor) -> None:
        layers = len(self._shapes)
        for layer, pattern in enumerate(start.patterns):
            low, width = self._bounds[layer], self._shapes[layer][1]
            places = low + pattern.rows * width + pattern.columns
            self.numbers[place, places] = start.values[layer].to(self.numbers)
            mask[place, places] = 1
            low = self._bounds[layers + layer]
            mask[place, low : low + pattern.shape[0]] = 1

    def _views(self) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases as tensors of their own, which share the memory of `numbers`."""
        found, layers = [], len(self._shapes)
        shapes = [*self._shapes, *((1, n) for n, _ in self._shapes)]
        for place, shape in enumerate(shapes):
            part = slice(self._bounds[place], self._bounds[place + 1])
            found.append(self.numbers[:, part].view(-1, *shape).requires_grad_())
        return found[:layers], found[layers:]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Maps ``(replicas, n, inputs)`` to ``(replicas, n, outputs)``."""
        hidden, last = inputs, len(self._weights) - 1
        for place, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight.mT)
            if place < last:
                hidden = self._activation(hidden)
        return hidden

    def gradients(self, losses: Tensor) -> Tensor:
        """Of each replica's loss by its numbers. Shape ``(replicas, numbers)``."""
        found = torch.autograd.grad(losses.sum(), [*self._weights, *self._biases])
        gradients = torch.cat([one.flatten(1) for one in found], 1)
        return gradients if self.mask is None else gradients.mul_(self.mask)

    @torch.no_grad()
    def scored(self, part: Part, material: Material) -> list[Score]:
        """The score of each replica."""
        count = len(self.plans)
        losses = torch.zeros(count, dtype=torch.float64, device=part.inputs.device)
        hits = torch.zeros_like(losses)
        pairs = zip(
            part.inputs.split(SCORED_AT_ONCE), part.targets.split(SCORED_AT_ONCE), strict=True
        )
        for inputs, targets in pairs:
            outputs = self(inputs.expand(count, *inputs.shape))
            wanted = targets.expand(count, *targets.shape)
            losses += losses_of(outputs, wanted).double().mul_(len(targets))
            if material.classes:
                hits += (outputs.argmax(2) == wanted).sum(1)
        rates = (hits / len(part)).tolist() if material.classes else [None] * count
        means = (losses / len(part)).tolist()
        return [Score(loss, rate) for loss, rate in zip(means, rates, strict=True)]

    def parameters(self, place: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Weights and biases of a replica, without what fills it up; copies."""
        shapes = self.plans[place].shapes
        weights = zip(self._weights, shapes, strict=True)
        biases = zip(self._biases, shapes, strict=True)
        return (
            tuple(one.detach()[place, :n, :m].cpu().clone() for one, (n, m) in weights),
            tuple(one.detach()[place, 0, :n].cpu().clone() for one, (n, _) in biases),
        )


def losses_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Each replica's mean loss. Shape ``(replicas,)``."""
    count, samples = outputs.shape[:2]
    if targets.is_floating_point():
        return F.mse_loss(outputs, targets, reduction="none").mean((1, 2))
    flat = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
    return flat.view(count, samples).mean(1)


def _epoch(stack: _Stack, descent: _Descent, part: Part, epoch: int, watch: Watch) -> list[float]:
    plan = stack.plans[0]
    orders = torch.stack([order_of(len(part), one.order, epoch) for one in stack.plans])
    steps = -(-len(part) // plan.batch_size)
    losses, counts = [], []
    for step, batch in enumerate(orders.to(part.targets.device).split(plan.batch_size, 1)):
        watch()
        each = losses_of(stack(part.inputs[batch]), part.targets[batch])
        descent.step(stack.gradients(each), epoch * steps + step, plan.epochs * steps)
        losses.append(each.detach())
        counts.append(batch.shape[1])
    found = torch.stack(losses).double().T.tolist()
    return [mean_over_samples(one, counts) for one in found]


class _Descent:
    """The optimizer of a stack: PyTorch's formulas, with rates by replica."""

    def __init__(self, plans: Sequence[ReplicaPlan], stack: _Stack) -> None:
        self._plans, self._stack = plans, stack
        self._kind = plans[0].optimizer
        self._first = torch.zeros_like(stack.numbers)
        self._second = torch.zeros_like(stack.numbers)
        self._decay = self._column([one.decay for one in plans])
        self._momentum = self._column([one.momentum for one in plans])
        self._kept = self._column([one.betas[1] for one in plans])
        self._new = self._column([1 - one.betas[1] for one in plans])
        self._part = self._column([1 - one.betas[0] for one in plans])
        self._epsilon = self._column([one.epsilon for one in plans])
        self._decays = any(one.decay for one in plans)

    def step(self, gradients: Tensor, step: int, steps: int) -> None:
        """Moves all replicas; ``step`` is counted from 0."""
        numbers = self._stack.numbers
        each = [one.rate(step, steps) for one in self._plans]
        if self._decays and self._kind == "adamw":
            pairs = zip(each, self._plans, strict=True)
            numbers.mul_(self._column([1 - rate * one.decay for rate, one in pairs]))
        elif self._decays:
            gradients.addcmul_(self._decay, numbers)
        if self._kind == "sgd":
            self._descend(gradients, each)
        else:
            self._adam(gradients, each, step + 1)

    def _adam(self, gradients: Tensor, each: Sequence[float], count: int) -> None:
        betas = [one.betas for one in self._plans]
        roots = self._column([(1 - second**count) ** 0.5 for _, second in betas])
        pairs = zip(each, betas, strict=True)
        sizes = self._column([rate / (1 - first**count) for rate, (first, _) in pairs])
        self._first.lerp_(gradients, self._part.expand_as(gradients))
        self._second.mul_(self._kept).addcmul_(self._new * gradients, gradients)
        below = (self._second.sqrt() / roots).add_(self._epsilon)
        self._stack.numbers.sub_(below.reciprocal_().mul_(self._first).mul_(sizes))

    def _descend(self, gradients: Tensor, each: Sequence[float]) -> None:
        self._first.mul_(self._momentum).add_(gradients)
        moved = self._first
        if self._plans[0].nesterov:
            moved = torch.addcmul(gradients, self._momentum, self._first)
        self._stack.numbers.sub_(self._column(each) * moved)

    def _column(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).to(self._stack.numbers)[:, None]
