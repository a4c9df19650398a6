"""Every example runs as it stands and says what happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import ROOT, ended

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDS_EXTRAS = {"search_example"}
PARAMETERS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.extras] * (path.stem in NEEDS_EXTRAS))
    for path in EXAMPLES
]


@pytest.mark.parametrize("example", PARAMETERS)
def test_an_example_runs_and_says_what_happened(
    example: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    done = ended(example, tmp_path, home, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr


def test_there_are_examples() -> None:
    assert EXAMPLES
