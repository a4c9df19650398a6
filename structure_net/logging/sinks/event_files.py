"""TensorBoard's event files, written without TensorBoard's own writer.

That one imports what TensorBoard draws with, more than all other sinks together; the messages alone
are a tenth of it. A file is a row of records in TensorFlow's framing:

    length: 8 bytes, its check: 4 bytes, the serialised `Event`, its check: 4 bytes

in little-endian order, where a check is the CRC-32C of the bytes, turned right by 15 bits, plus
0xa282ead8.

References:
    tensorflow/core/lib/io/record_writer.h and hash/crc32c.h in TensorFlow's sources; RFC 3720,
    B.4, for the values that test the CRC.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

from structure_net.errors import RecordError

_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, its bits reversed
_COLOURS: Final = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by PNG's type: grey, RGB, palette, with alpha
_PNG: Final = b"\x89PNG\r\n\x1a\n"


class EventFile:
    """A new event file in a folder, which is made if it does not exist.

    Args:
        folder: Where; the file's name begins as TensorBoard expects and is no other's.

    Raises:
        ImportError: TensorBoard is not installed.
        OSError: The file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        self._event: Any = event_pb2.Event
        self._summary: Any = summary_pb2.Summary
        folder.mkdir(parents=True, exist_ok=True)
        self._file = _made(folder)
        self._add(self._event(wall_time=time.time(), file_version="brain.Event:2"))

    def scalars(self, values: dict[str, float], *, step: int, moment: float) -> None:
        """Adds numbers that belong to one step, and the time when they were measured."""
        made = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._tell(made, step, moment)

    def text(self, name: str, words: str, *, step: int, moment: float) -> None:
        """Adds words."""
        value = self._summary.Value(tag=f"{name}/text_summary")
        value.metadata.plugin_data.plugin_name = "text"
        value.tensor.dtype = 7  # DT_STRING
        value.tensor.tensor_shape.dim.add(size=1)
        value.tensor.string_val.append(words.encode())
        self._tell([value], step, moment)

    def picture(self, name: str, png: bytes, *, step: int, moment: float) -> None:
        """Adds a picture as it is.

        Raises:
            RecordError: It is no PNG.
        """
        if not png.startswith(_PNG) or len(png) < 26:
            raise RecordError(f"The picture {name!r} should be a PNG and is none.")
        width, height, _, kind = struct.unpack(">IIBB", png[16:26])
        image = self._summary.Image(
            height=height, width=width, colorspace=_COLOURS.get(kind, 3), encoded_image_string=png
        )
        self._tell([self._summary.Value(tag=name, image=image)], step, moment)

    def flush(self) -> None:
        """Hands what was added to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """The file is complete."""
        self._file.close()

    def _tell(self, values: list[Any], step: int, moment: float) -> None:
        summary = self._summary(value=values)
        self._add(self._event(wall_time=moment, step=step, summary=summary))

    def _add(self, event: Any) -> None:
        self._file.write(framed(event.SerializeToString()))


def framed(content: bytes) -> bytes:
    """A record of TensorFlow's: ``content`` with its length and both checks."""
    length = struct.pack("<Q", len(content))
    return length + _check(length) + content + _check(content)


def crc32c(content: bytes) -> int:
    """The CRC-32C of ``content``."""
    table, found = _table(), 0xFFFFFFFF
    for byte in content:
        found = table[(found ^ byte) & 0xFF] ^ (found >> 8)
    return found ^ 0xFFFFFFFF


def _check(content: bytes) -> bytes:
    found = crc32c(content)
    return struct.pack("<I", ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _table() -> tuple[int, ...]:
    made = list(range(256))
    for _ in range(8):
        made = [one >> 1 ^ _POLYNOMIAL * (one & 1) for one in made]
    return tuple(made)


def _made(folder: Path) -> IO[bytes]:
    named = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
    number = 0
    while True:
        try:
            return (folder / f"{named}.{number}").open("xb")
        except FileExistsError:
            number += 1
