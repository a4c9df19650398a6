"""The pages of the project: their programs run as they stand, they are built without a warning."""

from __future__ import annotations

import html
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from typer import Typer
from typer.main import get_command

from neural_architecture_lab.cli.app import app as nal
from structure_net.cli.app import app
from tests.programs import ROOT, ended, finished

DOCS = ROOT / "docs"
PAGES = {page.relative_to(DOCS).as_posix(): page for page in sorted(DOCS.rglob("*.md"))}
WITH_EXTRAS = {"how-to/other_loops.md", "how-to/tune.md"}
KINDS = (type, FunctionType)
SHELL = 'structure-net() { "$PYTHON" -W error -m structure_net.cli "$@"; }\nset -e\n'


def blocks(page: str, language: str) -> list[str]:
    """What a page shows in one language, without the indentation of lists and tabs."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^\1```", PAGES[page].read_text(encoding="utf-8"), re.M | re.S
    )
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


def cases(language: str) -> list[object]:
    marks = {page: [pytest.mark.extras] for page in WITH_EXTRAS}
    return [
        pytest.param(page, marks=marks.get(page, []), id=page)
        for page in PAGES
        if blocks(page, language)
    ]


@pytest.mark.parametrize("page", cases("python"))
def test_the_programs_of_a_page_run_one_after_the_other(
    page: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = "\n".join(blocks(page, "python"))
    home = tmp_path_factory.mktemp("home")
    done = ended(program, tmp_path, home)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", cases("sh"))
def test_the_commands_of_a_page_run_one_after_the_other(
    page: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = SHELL + "\n".join(blocks(page, "sh"))
    home = tmp_path_factory.mktemp("home")
    done = finished(["bash", "-c", script], tmp_path, home, PYTHON=sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as a browser gets them, built from the sources with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def commands_of(group: Typer) -> dict[str, Any]:
    made: Any = get_command(group)
    return dict(made.commands)


def public_names() -> dict[str, str]:
    """Where classes and functions are that packages list, by the name of their import."""
    names: dict[str, str] = {}
    for root in (ROOT / "structure_net", ROOT / "neural_architecture_lab"):
        for path in sorted(root.rglob("__init__.py")):
            package = ".".join(path.parent.relative_to(ROOT).parts)
            module = importlib.import_module(package)
            listed = getattr(module, "__all__", [])
            values = {name: getattr(module, name) for name in listed}
            names |= {
                f"{package}.{name}": f"{value.__module__}.{value.__qualname__}"
                for name, value in values.items()
                if isinstance(value, KINDS)
            }
    return names


@pytest.mark.extras
@pytest.mark.timeout(600)
def test_the_pages_are_built_without_a_warning(site: Path) -> None:
    for page in PAGES:
        assert (site / page).with_suffix(".html").is_file()


@pytest.mark.extras
@pytest.mark.timeout(600)
def test_the_reference_describes_every_public_class_and_function(site: Path) -> None:
    described = set()
    for path in (site / "reference").glob("*.html"):
        described.update(re.findall(r' id="([\w.]+)"', path.read_text(encoding="utf-8")))
    names = public_names()
    assert [name for name in names if not {name, names[name]} & described] == []


@pytest.mark.extras
@pytest.mark.timeout(600)
def test_the_reference_describes_every_command(site: Path) -> None:
    for page, program, group in (
        ("command_line", "structure-net", app),
        ("nal", "nal", nal),
    ):
        text = (site / f"reference/{page}.html").read_text(encoding="utf-8")
        commands = commands_of(group)
        assert [name for name in commands if f'id="{program}-{name}"' not in text] == []


@pytest.mark.extras
@pytest.mark.timeout(600)
def test_every_formula_is_rendered_where_the_page_lies(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = html.unescape(path.read_text(encoding="utf-8"))
        assert ":math:" not in text, path.name
        assert ".. math::" not in text, path.name
    assert "<math" in (site / "reference/structure_net.evolution.metrics.html").read_text("utf-8")


@pytest.mark.extras
@pytest.mark.timeout(600)
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        loads = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?([^\"\s>]+)", text)
        loads += re.findall(r"<link[^>]* href=\"?([^\"\s>]+)", text)
        assert not [load for load in loads if re.match(r"(https?:)?//", load)], path.name


LINE = re.compile(r"^\s*(structure-net|nal) (?!`)([a-z-]+)((?:\\\n|.)*)$", re.M)


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_every_command_of_a_page_exists_with_its_flags(page: str) -> None:
    groups = {"structure-net": commands_of(app), "nal": commands_of(nal)}
    text = (DOCS / page).read_text(encoding="utf-8")
    for program, name, rest in LINE.findall(text.replace(" && ", "\n")):
        command = groups[program][name]
        known = {flag for parameter in command.params for flag in parameter.opts}
        flags = re.findall(r"(?<= )--?[a-z][\w-]*", rest.partition("#")[0])
        assert known | {"--help"} >= set(flags), f"{program} {name}{rest}"
