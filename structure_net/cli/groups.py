"""What the command lines are made of: commands whose help takes no value, and their complaints."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# The common ancestor of every complaint about a command line, which typer exports under no name.
UsageError: Any = typer.BadParameter.__base__


class Command(TyperCommand):
    """A command whose ``--help`` takes no value, and shows none."""

    def get_help_option(self, ctx: Any) -> Any:
        """The option, without a placeholder for a value."""
        return _plain(super().get_help_option(ctx))


class Group(TyperGroup):
    """A program of commands; see `Command`."""

    def get_help_option(self, ctx: Any) -> Any:
        """The option, without a placeholder for a value."""
        return _plain(super().get_help_option(ctx))


def _plain(option: Any) -> Any:
    if option is not None:
        option.metavar = ""
    return option
