"""What the flags say, as values; a flag that makes no sense is refused in one line."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import Any

import typer

from structure_net.errors import RunError
from structure_net.runs import PipelineSource

_DEVICES = ("auto", "cpu", "cuda", "mps")


def whole_of(text: str) -> int:
    """A whole number."""
    try:
        return int(str(text))
    except ValueError:
        raise typer.BadParameter(f"must be a whole number, such as 3; got {text!r}.") from None


def number_of(text: str) -> float:
    """A number."""
    try:
        return float(str(text))
    except ValueError:
        raise typer.BadParameter(f"must be a number, such as 0.02; got {text!r}.") from None


def count_of(text: str) -> int:
    """A whole number from 1 on."""
    count = whole_of(text)
    if count < 1:
        raise typer.BadParameter(f"must be a whole number from 1 on; got {text!r}.")
    return count


def positive_of(text: str) -> float:
    """A number above 0, and not infinity."""
    number = number_of(text)
    if not 0 < number < float("inf"):
        raise typer.BadParameter(f"must be a number above 0, such as 60; got {text!r}.")
    return number


def dataset_of(text: str) -> str:
    """A name as it is; the path of a file that is here, in full, so that a run can be resumed."""
    return str(Path(text).resolve()) if Path(text).is_file() else text


def folder_of(text: str | None) -> str | None:
    """A folder in full, so that a run can be resumed from anywhere; None stays None."""
    return None if text is None else str(Path(text).expanduser().resolve())


def spool_of(folder: str) -> Path:
    """The spool in a run's folder, or the folder itself.

    Raises:
        RunError: There is none.
    """
    for place in (Path(folder) / "records", Path(folder)):
        if (place / "records.jsonl").is_file():
            return place
    raise RunError(f"{folder} holds no records. Name the folder of a run, or of a lab's results.")


def widths_of(text: str | None) -> tuple[int, ...] | None:
    """``784,256,128,10`` as numbers; None stays None."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.replace("-", ",").split(","))
    except ValueError:
        raise typer.BadParameter(
            f"widths are whole numbers separated by commas, such as 784,256,128,10; got {text!r}.",
            param_hint="--architecture",
        ) from None


def pipeline_of(text: str | None) -> PipelineSource | None:
    """``FILE.py:NAME`` as the file, the name in it and the file's checksum; None stays None."""
    if text is None:
        return None
    file, colon, name = text.rpartition(":")
    if not (colon and file.endswith(".py") and name.isidentifier()):
        raise typer.BadParameter(
            f"a pipeline is written FILE.py:NAME, such as mine.py:system; got {text!r}.",
            param_hint="--system",
        )
    if not Path(file).is_file():
        raise typer.BadParameter(f"there is no file {file!r}.", param_hint="--system")
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return PipelineSource(str(Path(file).resolve()), name, digest)


def training_of(
    pipeline: PipelineSource | None, *, epochs: int | None, learning_rate: float | None
) -> dict[str, Any]:
    """The arguments of a request that depend on whether the user brings a pipeline."""
    if pipeline is None:
        given = {"epochs": epochs, "learning_rate": learning_rate}
        return {name: value for name, value in given.items() if value is not None}
    for flag, value in (("--epochs", epochs), ("--learning-rate", learning_rate)):
        if value is not None:
            raise typer.BadParameter(
                f"the pipeline of --system brings its own trainer; set it in {pipeline.file}.",
                param_hint=flag,
            )
    return {"pipeline": pipeline, "epochs": None, "learning_rate": None}


def device_of(text: str) -> str:
    """A device that exists on this machine; ``auto`` takes CUDA if there is one, else the CPU."""
    import torch

    kind = text.partition(":")[0]
    if kind not in _DEVICES:
        near = difflib.get_close_matches(kind, _DEVICES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise typer.BadParameter(
            f"unknown device {text!r}; known: {', '.join(_DEVICES)}.{hint}", param_hint="--device"
        )
    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not usable.get(kind, True):
        raise typer.BadParameter(
            f"this machine has no {kind} device that torch can use; take --device cpu.",
            param_hint="--device",
        )
    return _numbered(text)


def _numbered(text: str) -> str:
    """The device with its number checked, where it has one."""
    import torch

    try:
        device = torch.device(text)
    except RuntimeError:
        raise typer.BadParameter(
            f"a device is written like cpu, cuda or cuda:1; got {text!r}.", param_hint="--device"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise typer.BadParameter(
            f"there are {torch.cuda.device_count()} CUDA devices; got {text!r}.",
            param_hint="--device",
        )
    return str(device)
