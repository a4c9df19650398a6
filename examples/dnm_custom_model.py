"""Morphogenesis of a model of one's own, with caches from hooks of one's own.

The model has a residual connection and a normalisation of its own making, the loop keeps its
scheduler and its gradient clipping, and nothing is handed over but the model. Run it with
``python examples/dnm_custom_model.py``; it takes some seconds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.data import load_dataset
from structure_net.dnm import DNMFramework


class Rows(nn.Module):
    """Reads an image row by row, and adds what two layers make of it."""

    def __init__(self, width: int = 16, hidden: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.expand = nn.Linear(width, hidden)
        self.reduce = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width * 8, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(N, 1, 8, 8)`` to ``(N, classes)``."""
        rows = self.embed(images.squeeze(1))
        rows = self.norm(rows + self.reduce(F.gelu(self.expand(rows))))
        scores: Tensor = self.head(rows.flatten(1))
        return scores


class Cache:
    """Keeps what the hidden layers put out, by the names of their modules."""

    def __init__(self, model: nn.Module, layers: tuple[str, ...]) -> None:
        self.activations: dict[str, Tensor] = {}
        for name in layers:
            model.get_submodule(name).register_forward_hook(self._keep(name))

    def _keep(self, name: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self.activations[name] = output.detach()

        return keep


def main() -> None:
    """Trains the model and lets it change."""
    digits = load_dataset("digits", seed=0)
    loader = digits.train.batches(64, shuffle=True, seed=0)
    held_out = digits.validation
    torch.manual_seed(0)
    model = Rows()
    cache = Cache(model, ("embed", "expand", "reduce"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    dnm = DNMFramework(
        model,
        {
            "morphogenesis_interval": 2,
            "performance_improvement_threshold": 0.02,
            "max_architecture_changes": 4,
            "progressive_activation_epochs": 3,
        },
    )
    for epoch in range(10):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        scheduler.step()
        # Activations of the last batch by module name, its gradients by parameter name.
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        dnm.update_caches(dict(cache.activations), gradients, targets)
        model.eval()
        with torch.no_grad():
            right = model(held_out.inputs).argmax(1) == held_out.targets
        val_acc = right.float().mean().item()
        dnm.record_performance(val_acc)
        due, _ = dnm.should_trigger_morphogenesis(epoch + 1, {}, {"accuracy": val_acc})
        print(f"epoch {epoch + 1:2}: validation accuracy {val_acc:.3f}")
        if due:
            for event in dnm.execute_morphogenesis(epoch + 1)["events"]:
                print(f"  {event.as_dict()['edit']}: {event.trigger_reason}")
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}
    print(model)


if __name__ == "__main__":
    main()
