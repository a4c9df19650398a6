"""The package as a program."""

from __future__ import annotations

import runpy
import sys

import pytest

from structure_net import __version__


@pytest.mark.parametrize("package", ["structure_net", "structure_net.cli"])
def test_a_package_run_as_a_program_is_the_command(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [package, "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(package, run_name="__main__")
    assert ended.value.code == 0
    assert __version__ in capsys.readouterr().out
