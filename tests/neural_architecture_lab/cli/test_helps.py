"""What the help of each command shows is what the command takes."""

from __future__ import annotations

import shlex

import pytest
import typer.main

from neural_architecture_lab.cli import helps
from neural_architecture_lab.cli.app import app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TEXTS = [value for name, value in sorted(vars(helps).items()) if name.isupper()]
EXAMPLES = [
    line.strip() for text in TEXTS for line in text.splitlines() if line.startswith("    nal ")
]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_of_every_command_shows_an_example(name: str) -> None:
    assert f"\n    nal {name}" in getattr(helps, name.upper())
    assert COMMANDS[name].help.startswith(getattr(helps, name.upper()).split("\n")[0])


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_is_understood(line: str) -> None:
    _, name, *words = shlex.split(line)
    COMMANDS[name].make_context(name, words)
