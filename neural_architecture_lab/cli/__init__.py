"""The command line: ``nal`` with its commands."""

from neural_architecture_lab.cli.app import main

__all__ = ["main"]
