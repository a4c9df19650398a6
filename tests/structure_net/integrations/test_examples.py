"""The examples in the docstrings run, and a package that is missing is named with its extra."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from structure_net._optional import missing

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("lightning", "skorch", "transformers")


def test_the_example_of_a_lineage_runs() -> None:
    module = import_module("structure_net.integrations.lineage")
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


@pytest.mark.extras
@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:The number of training batches")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_the_example_of_a_callback_runs(package: str) -> None:
    pytest.importorskip(package)
    module = import_module(f"structure_net.integrations.{package}")
    found = doctest.testmod(module)
    assert found.attempted > 5
    assert not found.failed


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_named_with_its_extra(package: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"import structure_net.integrations\n"
        f"try:\n    import structure_net.integrations.{package}\n"
        f"except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.startswith(f"{package} cannot be imported")
    assert "structure-net[integrations]" in done.stdout


def test_the_error_of_a_missing_package_says_what_the_import_said() -> None:
    error = missing("spam", "eggs", ImportError("No module named 'spam'"))
    assert "No module named 'spam'" in str(error)
    assert error.name == "spam"
