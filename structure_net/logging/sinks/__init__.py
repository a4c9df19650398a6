"""Where records go besides the spool. Each module here is the only one that knows its library."""

from structure_net.logging.sinks.console import ConsoleSink
from structure_net.logging.sinks.series import SeriesSink
from structure_net.logging.sinks.tensorboard import TensorBoardSink
from structure_net.logging.sinks.wandb import WandbSink
from structure_net.logging.sinks.wandb_orders import WandbTarget

__all__ = ["ConsoleSink", "SeriesSink", "TensorBoardSink", "WandbSink", "WandbTarget"]
