"""A wheel builds, installs and imports."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("structure_net", "neural_architecture_lab")


def run(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, since a build leaves its folders in the tree."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for name in PACKAGES:
        copytree(ROOT / name, source / name, ignore=ignore_patterns("__pycache__"))
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(source / "dist"), cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_the_type_marker(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
    }
    held = set(zipfile.ZipFile(wheel).namelist())
    assert expected | {f"{name}/py.typed" for name in PACKAGES} <= held
    assert not {name for name in held if name.startswith("tests")}


def test_the_wheel_installs_into_a_folder_and_imports(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target")
    run(*install, str(target), str(wheel), cwd=tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(target)!r}); "
        "import structure_net.evolution, structure_net.data, neural_architecture_lab; "
        "print(structure_net.__file__)"
    )
    assert run("-c", program, cwd=tmp_path).strip().startswith(str(target))
