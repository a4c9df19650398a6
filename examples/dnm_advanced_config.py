"""Every key of the configuration of dynamic neural morphogenesis, and what strategies make of it.

The three strategies of division start from the same weights. At the end one network is kept in a
file, and a change that did harm is taken back.

Run it with ``python examples/dnm_advanced_config.py``; it takes some seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.data import Dataset, load_dataset
from structure_net.dnm import DNMFramework, collect_caches
from structure_net.surgery import load_checkpoint, save_checkpoint

CONFIG: dict[str, Any] = {
    # When
    "morphogenesis_interval": 3,
    "max_morphogenesis_per_epoch": 2,
    "performance_improvement_threshold": 0.05,
    # How neurons divide
    "neuron_division_strategy": "hybrid",
    "division_noise_scale": 0.1,
    "progressive_activation_epochs": 5,
    # Where
    "bottleneck_detection_metrics": [
        "gradient_variance",
        "activation_diversity",
        "information_flow",
        "performance_sensitivity",
    ],
    # How far
    "rollback_enabled": True,
    "performance_drop_threshold": 0.05,
    "max_architecture_changes": 10,
    # Beyond the seed's: how many units divide, whether connections grow, what chance follows from
    "division_fraction": 0.25,
    "connection_growth": True,
    "seed": 0,
}


def build() -> nn.Sequential:
    """The start network, always the same."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 16, 12),
        nn.ReLU(),
        nn.Linear(12, 10),
    )


def validation_accuracy(model: nn.Module, data: Dataset) -> float:
    """The fraction of the validation samples that the model gets right."""
    with torch.no_grad():
        found: Tensor = model(data.validation.inputs).argmax(1) == data.validation.targets
    return found.float().mean().item()


def train(dnm: DNMFramework, optimizer: Any, data: Dataset, epochs: int) -> float:
    """Trains and changes the network; the last validation accuracy."""
    loader = data.train.batches(128, shuffle=True, seed=0)
    found = 0.0
    for epoch in range(1, epochs + 1):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(dnm.model(inputs), targets).backward()
            optimizer.step()
        found = validation_accuracy(dnm.model, data)
        inputs, targets = data.train.inputs[:256], data.train.targets[:256]
        dnm.update_caches(*collect_caches(dnm.model, inputs, targets), targets, inputs=inputs)
        dnm.record_performance(found)
        if dnm.should_trigger_morphogenesis(epoch, None, {"accuracy": found})[0]:
            dnm.execute_morphogenesis(epoch)
    return found


def main() -> None:
    """Compares the strategies, keeps a network in a file, and takes a change back."""
    data = load_dataset("digits", seed=0)
    for strategy in ("gradient_based", "activation_based", "hybrid"):
        model = build()
        optimizer = torch.optim.Adam(model.parameters(), lr=8e-3)
        dnm = DNMFramework(model, {**CONFIG, "neuron_division_strategy": strategy}, optimizer)
        found = train(dnm, optimizer, data, epochs=12)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        print(f"{strategy}: validation accuracy {found:.3f} with {parameters:,} parameters")
        for event in dnm.events:
            fate = "taken back" if event.rolled_back else "kept"
            after = event.performance_after
            behind = "at the end" if after is None else f"accuracy {after:.3f} behind it"
            print(f"  epoch {event.epoch}: {event.as_dict()['edit']}, {fate}, {behind}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grown.safetensors"
        save_checkpoint(path, model, optimizer=optimizer, journal=dnm.journal, example=dnm.example)
        again = load_checkpoint(path, build()).model
        print(f"read from a file: validation accuracy {validation_accuracy(again, data):.3f}")

    inputs, targets = data.train.inputs[:256], data.train.targets[:256]
    dnm = DNMFramework(model, CONFIG, optimizer, example=inputs[:2])
    dnm.record_performance(found)
    dnm.update_caches(*collect_caches(model, inputs, targets), targets, inputs=inputs)
    dnm.execute_morphogenesis(3)
    with torch.no_grad():
        model[0].weight.zero_()  # a mishap
    (*gone,) = dnm.record_performance(validation_accuracy(model, data))
    print(f"{len(gone)} changes taken back: {validation_accuracy(model, data):.3f} again")


if __name__ == "__main__":
    main()
