"""Where records go besides the spool. Each module here is the only one that knows its library."""

from structure_net.logging.sinks.console import ConsoleSink
from structure_net.logging.sinks.series import SeriesSink

__all__ = ["ConsoleSink", "SeriesSink"]
