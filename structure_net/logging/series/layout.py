"""How a file of time series is laid out, and what stands for a value that is not there.

An HDF5 file holds one group for each table (``epoch``, ``profile``, ...), and each group four data
sets that only ever grow, since readers may follow while it is written (SWMR), which forbids new
objects, attributes and strings of variable length:

======== =============== ==============================================================
data set shape           holds
======== =============== ==============================================================
names    (columns,)      the columns' names in UTF-8, in the order of their first value
seq      (rows,)         the number of the record that a row comes from; ascending
values   (rows, columns) float64; `MISSING` where a record had no such value
rows     (1,)            how many rows are whole; written last, so that what lies below
                         it is on the disk
======== =============== ==============================================================

A chunk holds one block of rows: a full block is compressed and written once.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from structure_net.errors import SeriesError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT: Final = "structure_net.series"
VERSION: Final = 1
NAME_BYTES: Final = 255
COLUMNS: Final = 512
"""The most columns that a table can have."""

COLUMNS_PER_CHUNK: Final = 16
MISSING_BITS: Final = np.uint64(0x7FF8_0000_0000_05EA)
"""A quiet NaN that no computation makes: a NaN that was measured is another one."""

MISSING: Final = MISSING_BITS.view(np.float64)


def anew(path: str | Path) -> str:
    """How a file of time series is made anew, in words that follow a semicolon or end a line."""
    folder = shlex.quote(str(Path(path).parent))
    return f"`structure-net rebuild {folder}` makes it anew from its spool"


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Makes one error of all that HDF5 raises where a file is damaged, in the block inside.

    Raises:
        SeriesError: It is; the message names ``path`` and the way out.
    """
    try:
        yield
    except (AttributeError, OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
        said = " ".join(f"{error}".split())[:200]
        raise SeriesError(f"{path} is damaged ({said}); {anew(path)}.") from error


def is_written(path: str | Path) -> bool:
    """Whether a file says of itself that it has a writer, which may be at work or dead."""
    with Path(path).open("rb") as file:
        head = file.read(12)
    return len(head) == 12 and bool(head[11] & 0b101)  # the superblock's consistency flags


def present(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where ``values`` holds something that was recorded, NaN included; the same shape."""
    there: NDArray[np.bool_] = values.view(np.uint64) != MISSING_BITS
    return there


def create(file: Any, tables: tuple[str, ...], *, block: int) -> None:
    """Lays out an empty file.

    Args:
        file: An open ``h5py.File``.
        tables: The names of the tables.
        block: Rows in a chunk.
    """
    file.attrs["format"] = FORMAT
    file.attrs["version"] = VERSION
    file.attrs["block"] = block
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    for name in tables:
        group = file.create_group(name)
        group.create_dataset(
            "names", (0,), dtype=f"S{NAME_BYTES}", maxshape=(COLUMNS,), chunks=(16,)
        )
        group.create_dataset(
            "seq", (0,), dtype=np.int64, maxshape=(None,), chunks=(block,), **packed
        )
        group.create_dataset(
            "values",
            (0, 0),
            dtype=np.float64,
            maxshape=(None, COLUMNS),
            chunks=(block, COLUMNS_PER_CHUNK),
            fillvalue=MISSING,
            **packed,
        )
        # With its value it has its place in the file, where readers look before the first row.
        group.create_dataset("rows", data=np.zeros(1, np.int64))


def check(file: Any, path: str | Path) -> None:
    """Refuses a file that is of another kind or of a newer version.

    Raises:
        SeriesError: It is; the message names ``path``.
    """
    attributes: Mapping[str, Any] = file.attrs
    if attributes.get("format") != FORMAT:
        raise SeriesError(f"{path} holds no time series of Structure Net.")
    with readable(path):
        found = int(attributes.get("version", 0))
    if found > VERSION:
        raise SeriesError(
            f"{path} is of version {found}; this program reads up to {VERSION}. Update it; "
            f"{anew(path)}."
        )
