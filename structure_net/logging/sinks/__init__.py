"""Where records go besides the spool. Each module here is the only one that knows its library."""

from structure_net.logging.sinks.console import ConsoleSink

__all__ = ["ConsoleSink"]
