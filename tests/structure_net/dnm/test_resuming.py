from __future__ import annotations

import json

import torch

from structure_net.dnm import DNMFramework
from structure_net.surgery import load_checkpoint, save_checkpoint
from tests.structure_net.dnm.loops import SmallCNN, batch, contents, feed, step

CONFIG = {"morphogenesis_interval": 2, "progressive_activation_epochs": 4}


def run(dnm: DNMFramework, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    """Epochs from ``first`` to ``last``, in which the accuracy does not move."""
    for epoch in range(first, last + 1):
        dnm.model.train()
        step(dnm.model, optimizer, epoch)
        feed(dnm, epoch)
        dnm.record_performance(0.5)
        if dnm.should_trigger_morphogenesis(epoch, None, {"accuracy": 0.5})[0]:
            dnm.execute_morphogenesis(epoch)


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path: object) -> None:
    whole = SmallCNN()
    optimizer = torch.optim.Adam(whole.parameters(), lr=1e-2)
    dnm = DNMFramework(whole, CONFIG)
    run(dnm, optimizer, 1, 3)
    path = f"{tmp_path}/net.safetensors"
    kept = {"optimizer": optimizer, "journal": dnm.journal, "example": dnm.example}
    save_checkpoint(path, whole, **kept)  # type: ignore[arg-type]
    state = json.dumps(dnm.state_dict())
    run(dnm, optimizer, 4, 7)

    half = SmallCNN(seed=3)
    again = torch.optim.Adam(half.parameters(), lr=1e-2)
    load_checkpoint(path, half, optimizer=again)
    resumed = DNMFramework(half, CONFIG, example=batch()[0][:2])
    resumed.load_state_dict(json.loads(state))
    run(resumed, again, 4, 7)
    assert resumed.journal == dnm.journal
    assert resumed.events == dnm.events
    assert resumed.performance_history == dnm.performance_history
    found = contents(half)
    assert all(torch.equal(found[name], tensor) for name, tensor in contents(whole).items())
    assert any(entry.edit.__class__.__name__ == "ShareNeurons" for entry in dnm.journal.edits)
