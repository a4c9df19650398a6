"""What is marked `away` runs on a pretended device, wherever there is no CUDA."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.elsewhere import away

ROOT = Path(__file__).resolve().parent.parent


def marked() -> list[str]:
    """The files with tests that want another device."""
    wanted = "pytest.mark." + "away"
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file) for file in files if wanted in file.read_text(encoding="utf-8")]


@pytest.mark.timeout(600)  # a suite of its own: half a minute on a machine at rest
def test_what_wants_another_device_passes_on_one_that_is_pretended() -> None:
    """In a process of its own, which knows the device before its first backward pass."""
    files = marked()
    assert len(files) > 8
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--elsewhere", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert "skipped" not in ran.stdout


@pytest.mark.away
def test_the_device_refuses_tensors_of_the_cpu_but_for_numbers() -> None:
    there = torch.ones(3, device=away())
    assert (there + torch.tensor(1.0)).tolist() == [2.0, 2.0, 2.0]
    assert there[torch.tensor([0, 2])].tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        there.index_select(0, torch.tensor([0]))
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(3).add_(there)
    with pytest.raises(RuntimeError, match="indices"):
        torch.ones(3)[torch.tensor([0], device=away())]
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(3, device=away(), generator=torch.Generator())
    with pytest.raises(TypeError, match="convert"):
        there.numpy()
