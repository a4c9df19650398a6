"""The final numbers of a run, and the networks that it is compared with.

Evolution is worth its trouble only beside what the same training does without it: to the start
network, and to the final architecture with fresh weights.
"""

from __future__ import annotations

import copy
import math
import time

import torch
from torch import nn

from structure_net.core import network_stats
from structure_net.data import Split
from structure_net.errors import RunError
from structure_net.evolution import (
    ComposableEvolutionSystem,
    Loss,
    NetworkContext,
    Trainer,
    measuring,
)
from structure_net.runs.preparing import Prepared, start_network
from structure_net.runs.renewing import renew
from structure_net.runs.state import RunState
from structure_net.runs.summary import Score
from structure_net.runs.watching import Watcher
from structure_net.surgery.replaying import replay

_ROWS = 4096  # samples per forward pass of an evaluation


def compare(prepared: Prepared, state: RunState, watcher: Watcher) -> tuple[Score, ...]:
    """The evolved network's score, then those of the baselines if they were asked for."""
    context = state.context
    seconds = sum(summary.seconds for summary in state.iterations)
    evolved = score("evolved", context, prepared, seconds=seconds)
    if not prepared.request.baseline:
        return (evolved,)
    start = start_network(prepared.request, prepared.dataset)
    final = replay(
        start_network(prepared.request, prepared.dataset), context.journal, context.example
    )
    renew(final, seed=prepared.request.seed)
    return (
        evolved,
        _trained("start network", start, prepared, watcher),
        _trained("final architecture from scratch", final, prepared, watcher),
    )


def trainers_of(system: ComposableEvolutionSystem) -> ComposableEvolutionSystem:
    """A system with the trainers of ``system`` and nothing that looks or edits.

    Raises:
        RunError: There is no trainer, so that nothing can be compared.
    """
    trainers = [part for part in system.components if isinstance(part, Trainer)]
    if not trainers:
        raise RunError(
            "--baseline trains networks, and the pipeline has no trainer. Add one to it."
        )
    alone = ComposableEvolutionSystem()
    for trainer in copy.deepcopy(trainers):
        alone.add_component(trainer)
    return alone


def _trained(name: str, network: nn.Module, prepared: Prepared, watcher: Watcher) -> Score:
    """Trains a network for as many iterations as the run had, with the same trainers, unedited."""
    request = prepared.request
    watcher.comparing(name, epochs=request.total_epochs)
    system = trainers_of(prepared.system)
    context = NetworkContext(
        network,
        prepared.train,
        request.device,
        loss=prepared.loss,
        validation_loader=prepared.validation,
        seed=request.seed,
    )

    began = time.perf_counter()
    for _ in range(request.iterations):
        context = system.evolve_network(context, 1, on_event=watcher.training)
    return score(name, context, prepared, seconds=time.perf_counter() - began)


def score(name: str, context: NetworkContext, prepared: Prepared, *, seconds: float) -> Score:
    """A trained network's final numbers, measured on all of each split."""
    stats = network_stats(context.network)
    data = prepared.dataset
    train, validation, test = (
        measured_on(context.network, split, context.device, loss=context.loss)
        for split in (data.train, data.validation, data.test)
    )
    return Score(
        name=name,
        epochs=len(context.history),
        connections=stats["total_connections"],
        parameters=stats["total_parameters"],
        train_accuracy=train.accuracy if train else None,
        validation_accuracy=validation.accuracy if validation else None,
        test_accuracy=test.accuracy if test else None,
        test_loss=test.loss if test else math.nan,
        seconds=seconds,
        train_loss=train.loss if train else None,
        validation_loss=validation.loss if validation else None,
    )


def measured_on(
    network: nn.Module, split: Split, device: torch.device | str, *, loss: Loss
) -> measuring.Score | None:
    """Mean loss and accuracy on all of ``split``, in evaluation mode; None where it is empty."""
    return measuring.measured(network, split.batches(_ROWS, device=device), loss)
