"""What stands in the tree: nothing of one machine, no public name without a word on it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import is_typeddict

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (ROOT / "structure_net", ROOT / "neural_architecture_lab")

# In pieces, so that this file does not find itself.
OF_ONE_MACHINE = re.compile(
    "|".join(
        (
            r"(?<![\w.~])/" + r"(work|home|root|Users|mnt|farm)/\w",
            r"/opt/" + "pypi",
            r"/tmp/" + "brief",
            r"file:" + "///",
            r"(?<![\w.])(127\.0\.0\.1|localhost):\d+" + r"/simple",
        )
    )
)


def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return [ROOT / line for line in listing.stdout.splitlines()]


def packages() -> list[str]:
    folders = sorted(path.parent for root in PACKAGES for path in root.rglob("__init__.py"))
    return [".".join(folder.relative_to(ROOT).parts) for folder in folders]


def public_names() -> list[tuple[str, str]]:
    return [
        (package, name)
        for package in packages()
        for name in getattr(importlib.import_module(package), "__all__", ())
    ]


def test_nothing_in_the_tree_names_a_machine() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in OF_ONE_MACHINE.finditer(text)]
    assert not found


@pytest.mark.parametrize("package", packages())
def test_a_package_holds_re_exports_only(package: str) -> None:
    path = ROOT.joinpath(*package.split(".")) / "__init__.py"
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assigned = [
        target.id
        for node in body
        for target in (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if isinstance(target, ast.Name)
    ]
    assert all(isinstance(node, allowed) for node in body)
    assert set(assigned) <= {"__all__", "__version__"}


@pytest.mark.parametrize("package", packages())
def test_all_lists_every_name_that_a_package_re_exports(package: str) -> None:
    module = importlib.import_module(package)
    path = ROOT.joinpath(*package.split(".")) / "__init__.py"
    imported = {
        alias.asname or alias.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    listed = getattr(module, "__all__", ())
    assert imported - {"__version__"} <= set(listed)
    assert sorted(set(listed)) == sorted(listed)
    assert all(hasattr(module, name) for name in listed)


def test_only_packages_re_export() -> None:
    """Elsewhere a name is imported from where it is defined, so that it has one address."""
    found = [
        f"{path.relative_to(ROOT)}: {alias.name}"
        for root in PACKAGES
        for path in root.rglob("*.py")
        if path.name != "__init__.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    ]
    assert not found


@pytest.mark.parametrize(("package", "name"), public_names(), ids=".".join)
def test_everything_public_says_what_it_is(package: str, name: str) -> None:
    value = getattr(importlib.import_module(package), name)
    if not isinstance(value, ModuleType) and not callable(value):
        return  # a constant is explained where it stands
    if not isinstance(value, type) and not inspect.isroutine(value) and not inspect.ismodule(value):
        return  # an alias of a type has no docstring of its own
    text = inspect.getdoc(value) or ""
    generated = re.match(rf"{re.escape(name)}\(.*\)$", text, re.DOTALL)
    assert text
    assert not generated, "a dataclass shows its signature where its docstring should stand"


def test_no_source_file_is_longer_than_four_hundred_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked()
        if path.suffix == ".py" and path.exists()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_every_public_class_and_function_is_in_a_test() -> None:
    """By its name; types that only annotate (aliases, protocols, typed dicts) are left out."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    words = set(re.findall(r"\w+", "\n".join(texts)))
    absent = set()
    for package, name in public_names():
        value = getattr(importlib.import_module(package), name)
        annotates = is_typeddict(value) or getattr(value, "_is_protocol", False)
        if name not in words and not annotates and isinstance(value, type | FunctionType):
            absent.add(name)
    assert not absent


def test_the_design_names_files_that_exist() -> None:
    paths = [path.relative_to(ROOT).as_posix() for path in tracked() if path.exists()]
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/]+\.py\b", design))
    assert not {
        name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in paths)
    }


def own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """What stands in a function, but not in functions and classes inside it."""
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            yield node
            waiting += ast.iter_child_nodes(node)


def silent(body: list[ast.stmt], of_class: str = "") -> Iterator[str]:
    """Functions that raise an error of their own and do not say so; a class may say it for them."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from silent(node.body, ast.get_docstring(node) or "")
        if not isinstance(node, ast.FunctionDef) or re.match(r"_(?!_(post_)?init__)", node.name):
            continue
        said = ast.get_docstring(node) or ""
        words = said + of_class if node.name.startswith("__") else said
        raises = any(
            isinstance(one, ast.Raise)
            and isinstance(one.exc, ast.Call)
            and ast.unparse(one.exc.func)[:1].isupper()
            for one in own_nodes(node)
        )
        if raises and not re.search(r"Raises:|[Ss]ee `", words):
            yield node.name


def test_what_raises_says_so() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for root in PACKAGES
        for path in root.rglob("*.py")
        for name in silent(ast.parse(path.read_text(encoding="utf-8")).body)
    }
    assert not found
