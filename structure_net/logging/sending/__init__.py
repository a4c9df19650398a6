"""The queue: what a spool holds goes to a tracker, each record once, and is checked there."""

from structure_net.logging.sending.destination import Batch, Destination, Receipt
from structure_net.logging.sending.sender import Sender
from structure_net.logging.sending.state import (
    DeadLetter,
    QueueState,
    Status,
    destinations,
    read_status,
)
from structure_net.logging.sending.wandb import WandbDestination

__all__ = [
    "Batch",
    "DeadLetter",
    "Destination",
    "QueueState",
    "Receipt",
    "Sender",
    "Status",
    "WandbDestination",
    "destinations",
    "read_status",
]
