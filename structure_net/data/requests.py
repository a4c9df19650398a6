"""What a loader is asked for, and what is known of a data set before it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from structure_net.data.datasets import RawDataset

Option = int | float


@dataclass(frozen=True, slots=True)
class DatasetRequest:
    """What a loader is asked for.

    Args:
        name: The name of the data set, without options.
        data_dir: The folder that holds the files of data sets.
        download: Whether missing files may be downloaded into ``data_dir``.
        options: A value for each option that the data set was registered with.
    """

    name: str
    data_dir: Path
    download: bool
    options: Mapping[str, Option]


Loader = Callable[[DatasetRequest], RawDataset]


@dataclass(frozen=True, slots=True)
class Registration:
    """A data set that can be asked for by name.

    Args:
        name: The name.
        loader: Takes a request to the raw data.
        options: The options with their defaults; a default's type is the option's type.
        version: Of what the loader gives; another one is read anew where it was cached.
    """

    name: str
    loader: Loader
    options: Mapping[str, Option]
    version: str = "1"


@dataclass(frozen=True, slots=True)
class Awaited:
    """A data set known by its name, whose registration is brought once somebody asks for it.

    Args:
        name: The name.
        bring: Gives the registration.
    """

    name: str
    bring: Callable[[], Registration]
