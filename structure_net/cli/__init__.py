"""The command line: ``structure-net`` with its commands."""

from structure_net.cli.app import main

__all__ = ["main"]
