"""One replica in plain PyTorch: what the other engines are measured by, and must agree with."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neural_architecture_lab.replicas.material import SCORED_AT_ONCE, Material, Part, material_of
from neural_architecture_lab.replicas.plan import ReplicaPlan
from neural_architecture_lab.replicas.starting import Start, drawn, is_full
from neural_architecture_lab.replicas.trained import Score, Trained, Watch, unwatched
from structure_net.core.activations import make_activation
from structure_net.data.batches import order_of


def train_alone(plan: ReplicaPlan, device: str = "cpu", watch: Watch = unwatched) -> Trained:
    """Trains one replica, step by step.

    A sparse layer is a dense one whose absent weights are 0, and whose gradients are masked.

    Args:
        plan: What to train.
        device: Where.
        watch: Is called once an epoch.

    Raises:
        PlanError: The plan does not fit its data.
    """
    material, start = material_of(plan, device), drawn(plan)
    begun = time.perf_counter()
    network = _Network(plan, start, device)
    optimizer = _optimizer(plan, network.parameters)
    losses, scores = [], []
    steps = plan.epochs * -(-len(material.train) // plan.batch_size)
    for epoch in range(plan.epochs):
        watch()
        losses.append(_epoch(plan, network, optimizer, material, (epoch, steps)))
        if len(material.validation):
            scores.append(_scored(network, material.validation, material))
    test = _scored(network, material.test, material)
    seconds = time.perf_counter() - begun
    weights = tuple(one.detach().cpu() for one in network.weights)
    biases = tuple(one.detach().cpu() for one in network.biases)
    return Trained(plan, weights, biases, start.connections, losses, scores, test, seconds)


class _Network:
    """The layers of a plan as parameters.

    Attributes:
        weights: Shapes ``(outputs, inputs)``.
        biases: Shapes ``(outputs,)``.
        masks: Of each layer; None of a full one.
    """

    def __init__(self, plan: ReplicaPlan, start: Start, device: str) -> None:
        kind = getattr(torch, plan.dtype)
        matrices = [start.dense(k, kind).to(device) for k in range(len(start.patterns))]
        self.weights = [nn.Parameter(one) for one in matrices]
        self.biases = [nn.Parameter(one.new_zeros(len(one))) for one in matrices]
        self.masks = [
            None if is_full(one) else one.mask().to(device, kind) for one in start.patterns
        ]
        self._activation = make_activation(plan.activation)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [*self.weights, *self.biases]

    def __call__(self, inputs: Tensor) -> Tensor:
        hidden, last = inputs, len(self.weights) - 1
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = F.linear(hidden, weight, bias)
            if place < last:
                hidden = self._activation(hidden)
        return hidden

    def mask_gradients(self) -> None:
        for weight, mask in zip(self.weights, self.masks, strict=True):
            if mask is not None and weight.grad is not None:
                weight.grad.mul_(mask)


def _epoch(
    plan: ReplicaPlan,
    network: _Network,
    optimizer: torch.optim.Optimizer,
    material: Material,
    time_: tuple[int, int],
) -> float:
    epoch, steps = time_
    part, losses, counts = material.train, [], []
    order = order_of(len(part), plan.order, epoch).to(part.targets.device)
    done = epoch * -(-len(part) // plan.batch_size)
    for step, batch in enumerate(order.split(plan.batch_size)):
        if plan.schedule != "constant":
            optimizer.param_groups[0]["lr"] = plan.rate(done + step, steps)
        optimizer.zero_grad()
        loss = loss_of(network(part.inputs[batch]), part.targets[batch])
        loss.backward()
        network.mask_gradients()
        optimizer.step()
        losses.append(loss.detach())
        counts.append(len(batch))
    return mean_over_samples(torch.stack(losses).double().tolist(), counts)


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy where targets are classes, mean squared error where they are numbers."""
    if targets.is_floating_point():
        return F.mse_loss(outputs, targets)
    return F.cross_entropy(outputs, targets)


def mean_over_samples(losses: Sequence[float], counts: Sequence[int]) -> float:
    """The mean of batches' losses, each weighed by its number of samples."""
    pairs = zip(losses, counts, strict=True)
    return sum(loss * count for loss, count in pairs) / sum(counts)


@torch.no_grad()
def _scored(network: _Network, part: Part, material: Material) -> Score:
    losses, hits, counts = [], 0, []
    pairs = zip(part.inputs.split(SCORED_AT_ONCE), part.targets.split(SCORED_AT_ONCE), strict=True)
    for inputs, targets in pairs:
        outputs = network(inputs)
        losses.append(loss_of(outputs, targets).item())
        counts.append(len(targets))
        if material.classes:
            hits += int((outputs.argmax(1) == targets).sum())
    accuracy = hits / sum(counts) if material.classes else None
    return Score(mean_over_samples(losses, counts), accuracy)


def _optimizer(plan: ReplicaPlan, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    rate, decay = plan.learning_rate, plan.decay
    if plan.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=rate,
            momentum=plan.momentum,
            nesterov=plan.nesterov,
            weight_decay=decay,
        )
    kind = torch.optim.Adam if plan.optimizer == "adam" else torch.optim.AdamW
    first, second = plan.betas
    return kind(
        parameters,
        lr=rate,
        betas=(float(first), float(second)),
        eps=plan.epsilon,
        weight_decay=decay,
    )
