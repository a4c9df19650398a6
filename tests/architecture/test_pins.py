"""pyproject.toml, constraints.txt, pixi.toml and the Makefile tell one story."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def toml(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


PYPROJECT = toml("pyproject.toml")
PIXI = toml("pixi.toml")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): pinned for name, pinned in pins}


def requirements() -> list[Requirement]:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    return [Requirement(text) for text in texts if not text.startswith(project["name"])]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_every_dependency_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    pinned = constraints()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned)


def test_pixi_pins_what_constraints_pin() -> None:
    overrides = PIXI["pypi-options"]["dependency-overrides"]
    assert {name: spec.removeprefix("==") for name, spec in overrides.items()} == constraints()


def test_pixi_installs_the_extras_of_the_project() -> None:
    extras = {
        extra
        for feature in PIXI["feature"].values()
        for extra in feature["pypi-dependencies"]["structure-net"].get("extras", [])
    }
    assert extras <= set(PYPROJECT["project"]["optional-dependencies"])


def test_pixi_and_the_project_agree_on_name_version_and_python() -> None:
    project, workspace = PYPROJECT["project"], PIXI["workspace"]
    assert (workspace["name"], workspace["version"]) == (project["name"], project["version"])
    assert PIXI["dependencies"]["python"].startswith(project["requires-python"])


@pytest.mark.parametrize("task", ["test", "test-extras"])
def test_a_pixi_task_runs_the_tests_that_make_runs(task: str) -> None:
    recipe = re.search(rf"^{task}:.*\n\t(.*)$", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    made = recipe[1].replace("$(RUN)", "python").replace("$(WORKERS)", "auto")
    made = made.replace(" $(ARGS)", "").replace('"', "'")
    assert PIXI["tasks"][task]["cmd"] == made


def test_a_pixi_task_runs_the_demo_that_make_runs() -> None:
    assert f"\n\t$(BIN)/{PIXI['tasks']['demo']['cmd']} $(ARGS)\n" in MAKEFILE


@pytest.mark.parametrize("text", ["README.md", "CONTRIBUTING.md"])
def test_pixi_has_the_tasks_that_the_texts_name(text: str) -> None:
    named = set(re.findall(r"pixi run ([\w-]+)", (ROOT / text).read_text(encoding="utf-8")))
    assert named
    assert named <= set(PIXI["tasks"])


def test_every_task_of_pixi_is_named_in_a_text() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")]
    assert set(PIXI["tasks"]) == set(re.findall(r"pixi run ([\w-]+)", "\n".join(texts)))


def test_the_installed_torch_is_the_pinned_one_or_a_build_of_it() -> None:
    floor = next(r.specifier for r in requirements() if r.name == "torch")
    assert floor.contains(version("torch").split("+")[0])
    assert constraints()["torch"] == "2.13.0"


def test_every_extra_of_all_exists() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    named = {extra for text in extras["all"] for extra in Requirement(text).extras}
    assert named == set(extras) - {"all", "dev", "docs"}
