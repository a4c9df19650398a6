"""Style, types and floors are part of the suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def finished(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("arguments", [("check", "."), ("format", "--check", ".")], ids=" ".join)
def test_ruff_has_nothing_to_say(arguments: tuple[str, ...]) -> None:
    done = finished(sys.executable, "-m", "ruff", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_packages_benchmarks_examples_and_tests_are_typed() -> None:
    done = finished(sys.executable, "-m", "mypy", "--strict", "--no-error-summary")
    assert done.returncode == 0, done.stdout + done.stderr


def test_lower_floors_never_import_higher_ones() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = finished(str(linter), "--no-cache", "--no-logo")
    assert done.returncode == 0, done.stdout + done.stderr
