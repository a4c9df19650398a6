"""The pages of the two command lines, written by the build from the commands themselves."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

PAGES = {
    "structure-net": ("reference/command_line.md", "structure_net.cli.app"),
    "nal": ("reference/nal.md", "neural_architecture_lab.cli.app"),
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The pages stand first behind the one of the reference."""
    nav: list[Any] = config.nav or []
    reference = next(part["Reference"] for part in nav if "Reference" in part)
    reference[1:1] = [{f"Commands of {program}": page} for program, (page, _) in PAGES.items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages are made."""
    from typer.main import get_command

    for program, (page, module) in PAGES.items():
        group: Any = get_command(import_module(module).app)
        parts = [f"# The commands of `{program}`", "", group.help, ""]
        for name, command in group.commands.items():
            parts += _described(program, name, command)
        files.append(File.generated(config, page, content="\n".join(parts)))
    return files


def _described(program: str, name: str, command: Any) -> list[str]:
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    rows = [_row(parameter) for parameter in command.params]
    table = ["| | | default |", "|---|---|---|", *rows] if rows else []
    return [f"## `{program} {name}`", "", text, "", *table, ""]


def _row(parameter: Any) -> str:
    flags = [*parameter.opts, *parameter.secondary_opts]
    option = parameter.param_type_name == "option"
    names = flags if option else [parameter.metavar or parameter.name.upper()]
    words = " ".join((parameter.help or "").split()).replace("|", "\\|")
    said = re.search(r" ?\[default: (.*)\]$", words)
    if said is not None:
        words, default = words[: said.start()], said[1]
    else:
        given = parameter.default is not None and not isinstance(parameter.default, bool | tuple)
        default = str(parameter.default) if given else ""
    return f"| {', '.join(f'`{name}`' for name in names)} | {words} | {default} |"
