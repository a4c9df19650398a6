"""The reference: one page for each public package, written by the build from the sources.

Packages with ``__all__`` are shown by it. The text of a page comes from docstrings alone, so that a
package that is added appears, and no page is left of one that is gone.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("structure_net", "neural_architecture_lab")
# Modules that are imported by their own name: what needs another package, and the errors.
MODULES = (
    "structure_net.errors",
    "structure_net.integrations.lightning",
    "structure_net.integrations.skorch",
    "structure_net.integrations.transformers",
    "neural_architecture_lab.errors",
)


def _listed(path: Path) -> list[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    lists = [node.value for node in body if isinstance(node, ast.Assign)]
    return [name for value in lists for name in ast.literal_eval(value) if isinstance(name, str)]


def described() -> list[str]:
    """The dotted names of what has a page, packages first above their modules."""
    paths = [path for root in PACKAGES for path in (ROOT / root).rglob("__init__.py")]
    names = {".".join(path.parent.relative_to(ROOT).parts) for path in paths if _listed(path)}
    names.update(MODULES)
    return sorted(names, key=lambda name: (PACKAGES.index(name.split(".")[0]), name))


def headline(name: str) -> str:
    """The first sentence of the docstring."""
    path = ROOT.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def hidden(name: str) -> list[str]:
    """The names that a module of the same name hides from a reader of the sources."""
    folder = ROOT.joinpath(*name.split("."))
    if not folder.is_dir():
        return []
    body = ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body
    return [
        f"{node.module}.{alias.name}"
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module == f"{name}.{alias.name}"
    ]


def _own(name: str) -> str:
    return f"\n::: {name}\n    options:\n      show_root_heading: true\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The pages stand behind the reference's own first page, those of a package together."""
    nav: list[Any] = config.nav or []
    pages = next(part["Reference"] for part in nav if "Reference" in part)
    for package in PACKAGES:
        names = [name for name in described() if name.split(".")[0] == package]
        # Names are cut where they are longer than the column.
        told = {name: name.removeprefix(f"{package}.") for name in names}
        pages.append({package: [{told[name]: f"reference/{name}.md"} for name in names]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages are made."""
    for name in described():
        parts = [f"# `{name}`", "", f"::: {name}", *(_own(other) for other in hidden(name))]
        text = "\n".join(parts)
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The first page lists the others."""
    if page.file.src_uri != "reference/index.md":
        return markdown
    rows = [f"| [`{name}`]({name}.md) | {headline(name)} |" for name in described()]
    return "\n".join([markdown, "", "| package | what is in it |", "|---|---|", *rows, ""])
