"""Records of what happens, on disk before the run goes on, and the sinks that hand them on.

The models of the records are in `structure_net.logging.records`, which imports pydantic.
"""

from structure_net.logging.blobs import Blob, blob_path, check_blob, put_blob
from structure_net.logging.guarding import GuardedSink, Sink, Source, Trouble
from structure_net.logging.lines import Stored
from structure_net.logging.mending import Torn
from structure_net.logging.reading import Damage, current, read, spool_file, superseded
from structure_net.logging.spool import Spool
from structure_net.logging.stream import RecordStream

__all__ = [
    "Blob",
    "Damage",
    "GuardedSink",
    "RecordStream",
    "Sink",
    "Source",
    "Spool",
    "Stored",
    "Torn",
    "Trouble",
    "blob_path",
    "check_blob",
    "current",
    "put_blob",
    "read",
    "spool_file",
    "superseded",
]
