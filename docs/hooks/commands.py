"""The page of the command line, written by the build from the commands themselves."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

PAGE = "reference/command_line.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The page stands first behind the one of the reference."""
    nav: list[Any] = config.nav or []
    next(part["Reference"] for part in nav if "Reference" in part).insert(1, {"Commands": PAGE})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The page is made."""
    from typer.main import get_command

    from structure_net.cli.app import app

    group: Any = get_command(app)
    parts = ["# The command line", "", group.help, ""]
    for name, command in group.commands.items():
        parts += _described(name, command)
    files.append(File.generated(config, PAGE, content="\n".join(parts)))
    return files


def _described(name: str, command: Any) -> list[str]:
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    rows = [_row(parameter) for parameter in command.params]
    table = ["| | | default |", "|---|---|---|", *rows] if rows else []
    return [f"## `structure-net {name}`", "", text, "", *table, ""]


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
