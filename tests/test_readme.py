"""Every program in the README runs as it stands, and every file that it points to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.programs import ROOT, ended

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
LINKS = re.findall(r"\]\(([^)#:]+)\)", README)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_every_program_of_the_readme_runs(
    number: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    done = ended(PROGRAMS[number], tmp_path, home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    written = {path.name for path in tmp_path.iterdir()}
    assert {name for name in written if f'"{name}"' not in PROGRAMS[number]} == set()


@pytest.mark.parametrize("link", LINKS)
def test_every_link_of_the_readme_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).exists()
