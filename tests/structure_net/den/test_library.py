"""Every program of the DEN library's description runs, with `den` read as `structure_net.den`."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from structure_net.den import DENTrainer, DynamicExpandableNetwork
from structure_net.den.growth_strategy import GrowthStrategy

TEXT = (Path(__file__).parent / "library.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def program(text: str) -> str:
    """A program as it is run: imports from here, and something in the place of its dots."""
    text = re.sub(r"from den\b", "from structure_net.den", text)
    return re.sub(r"^    \.\.\.$", "    growth_strategy=strategy,", text, flags=re.MULTILINE)


def surroundings() -> dict[str, Any]:
    """What the programs take for granted."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(96, 10, generator=generator)
    targets = inputs[:, :1].sin()
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=32)
    turns = iter([True, True, False])
    return {
        "train_loader_1": loader,
        "new_train_loader": loader,
        "X_new": inputs,
        "y_new": targets,
        "data_stream": [(inputs[:48], targets[:48]), loader],
        "new_data_available": lambda: next(turns),
        "get_new_batch": lambda: (inputs[:32], targets[:32]),
        "features": 10,
        "targets": 1,
        "threshold": 0.0,
    }


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The programs' names after all of them ran, one after the other, in a folder of their own."""
    folder = tmp_path_factory.mktemp("library")
    names: dict[str, Any] = {**surroundings(), "__name__": "library"}
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.chdir(folder)
        torch.manual_seed(0)
        for number, text in enumerate(PROGRAMS):
            exec(compile(program(text), f"program {number}", "exec"), names)
    names["folder"] = folder
    return names


def test_there_are_programs() -> None:
    assert len(PROGRAMS) == 16


def test_every_program_of_the_library_runs(
    namespace: dict[str, Any],
) -> None:
    written = {path.name for path in namespace["folder"].iterdir()}
    assert written == {"training_time.png", "training.png", "architecture.png", "checkpoint.pt"}


def test_the_library_s_history_has_a_timestamp_for_each_epoch(namespace: dict[str, Any]) -> None:
    history = namespace["history"]
    assert len(history["timestamps"]) == len(history["train_loss"]) == 100
    assert history["timestamps"] == sorted(history["timestamps"])


def test_the_library_s_importance_is_a_dict_of_floats(namespace: dict[str, Any]) -> None:
    importance = namespace["importance"]
    assert importance
    assert all(isinstance(value, float) for value in importance.values())


def test_a_strategy_of_one_s_own_grows_the_library_s_way(namespace: dict[str, Any]) -> None:
    own = namespace["MyCustomGrowth"]
    assert issubclass(own, GrowthStrategy)
    network = DynamicExpandableNetwork(10, 1, [4, 4], seed=0)
    trainer = DENTrainer(network, own())
    history = trainer.train(namespace["train_loader_1"], 2)
    assert network.get_layer_sizes() == [36, 4]
    events = history["growth_events"]
    assert [event["reason"] for event in events] == ["Custom reason"] * 2
    assert all(isinstance(event["timestamp"], float) for event in events)
    assert all(datetime.fromisoformat(event["datetime"]) for event in events)
