"""One safetensors file that holds tensors and a JSON header, and knows when it is damaged.

The header stands in the file's metadata and ends with its own SHA-256; it lists every tensor's
type, shape and CRC-32. Reading runs no code that comes from the file. The same bytes are an
ordinary safetensors file to any other program.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from structure_net.errors import CheckpointError
from structure_net.files import replacing

_HEADER: Final = "structure_net"
_LARGEST_HEADER: Final = 90_000_000  # safetensors refuses to read headers of 100 MB
_DTYPES: Final = frozenset(
    {
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.complex64,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
        torch.bool,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
    }
)


def storable(name: str, tensor: Tensor) -> Tensor:
    """``tensor`` as it is stored: on the CPU, contiguous.

    Raises:
        CheckpointError: Its type or layout cannot be stored.
    """
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        kind = "on the meta device" if tensor.is_meta else "sparse or quantised"
        raise CheckpointError(f"'{name}' is {kind}; a checkpoint holds dense tensors only.")
    if tensor.dtype not in _DTYPES:
        raise CheckpointError(
            f"'{name}' has the type {tensor.dtype}, which a checkpoint cannot hold. "
            "Convert it, or leave it out."
        )
    return tensor.detach().cpu().contiguous()


def checksum(tensor: Tensor) -> int:
    """The CRC-32 of a contiguous CPU tensor's bytes."""
    if tensor.numel() == 0:
        return zlib.crc32(b"")
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data)


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors``, copied where they share memory with an earlier one: the file takes no views."""
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        out[name] = tensor.clone() if place in seen and tensor.numel() else tensor
        seen.add(place)
    return out


def describe_tensor(tensor: Tensor) -> dict[str, Any]:
    """The type, shape and checksum of a tensor that is to be stored."""
    return {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": tuple(tensor.shape),
        "crc32": checksum(tensor),
    }


def write_container(path: str | Path, tensors: Mapping[str, Tensor], header: str) -> None:
    """Writes tensors and a header as one file, whole or not at all.

    Args:
        path: The file; an older one is replaced in one step.
        tensors: As `storable` returns them, none sharing memory with another.
        header: The JSON of an object.

    Raises:
        CheckpointError: The file cannot be written (its folder is missing, the disk is full,
            another process is writing it); an older file is as it was.
    """
    if len(header) > _LARGEST_HEADER:
        raise CheckpointError(
            f"The checkpoint's header (history, journal, metadata) has {len(header):,} characters; "
            f"the largest that can be read back has {_LARGEST_HEADER:,}. Keep the history apart."
        )
    try:
        with replacing(path) as draft:
            save_file(dict(tensors), draft, {_HEADER: _sealed(header)})
    except BlockingIOError as error:
        raise CheckpointError(f"Another process is writing the checkpoint '{path}'.") from error
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CheckpointError(
            f"The checkpoint '{path}' cannot be written: {reason}. "
            "An older one at this place is as it was."
        ) from error


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[str, Callable[[], dict[str, Tensor]]]]:
    """Yields a file's header and a function that reads all of its tensors.

    Raises:
        CheckpointError: There is no such file, it is no safetensors file, it is cut off, or its
            header is damaged or not ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            yield _checked_header(file.metadata() or {}, path), lambda: _read_all(file)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint '{path}' cannot be read: {error.strerror or error}."
        ) from error
    except SafetensorError as error:
        raise CheckpointError(
            f"'{path}' is no checkpoint, or it is damaged or cut off: {error}."
        ) from error


def tensor_problem(tensor: Tensor, dtype: str, shape: tuple[int, ...], crc32: int) -> str | None:
    """How a tensor is not as the header says, or None."""
    found = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
    wanted = f"{dtype} of shape {tuple(shape)}"
    if found != wanted:
        return f"is {found}, and the header says {wanted}"
    return None if checksum(tensor) == crc32 else "does not agree with its checksum"


def _checked_header(metadata: Mapping[str, str], path: str | Path) -> str:
    if _HEADER not in metadata:
        raise CheckpointError(
            f"'{path}' is a safetensors file, but no checkpoint of ours: its metadata lacks "
            f"'{_HEADER}'. Load its tensors with safetensors.torch.load_file."
        )
    sealed = metadata[_HEADER]
    header = sealed[: -len(_seal(""))] + "}"
    if _sealed(header) != sealed:
        raise CheckpointError(f"'{path}' is damaged: its header does not agree with its checksum.")
    return header


def _sealed(header: str) -> str:
    return header[:-1] + _seal(header)


def _seal(header: str) -> str:
    return f', "sha256": "{hashlib.sha256(header.encode()).hexdigest()}"}}'


def _read_all(file: Any) -> dict[str, Tensor]:
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
