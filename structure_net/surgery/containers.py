"""One safetensors file that holds tensors and a JSON header, and knows when it is damaged.

The header stands in the file's metadata and ends with its own SHA-256; it lists every tensor's
type, shape and CRC-32. Reading runs no code that comes from the file. The same bytes are an
ordinary safetensors file to any other program.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file
from torch import Tensor

from structure_net.errors import CheckpointError
from structure_net.files import replacing

_HEADER: Final = "structure_net"
_LARGEST_HEADER: Final = 90_000_000  # safetensors refuses to read headers of 100 MB
_READ: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_DTYPES: Final = frozenset(_READ.values())


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
    return zlib.crc32(_bytes_of(tensor) if tensor.numel() else b"")


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor that has values."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


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
        "dtype": _name(tensor.dtype),
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
            f"The checkpoint's header has {len(header):,} characters, and the largest that can be "
            f"read back has {_LARGEST_HEADER:,}. Most of them: {_largest_parts(header)}. Keep in "
            "a file of its own what a resumed run does not need."
        )
    try:
        with replacing(path) as draft:
            # safetensors.torch.save_file keeps a type of ctypes for good for each size it ever met.
            specs = {name: _spec(tensor) for name, tensor in tensors.items()}
            serialize_file(specs, draft, {_HEADER: _sealed(header)})
    except BlockingIOError as error:
        raise CheckpointError(f"Another process is writing the checkpoint '{path}'.") from error
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CheckpointError(
            f"The checkpoint '{path}' cannot be written: {reason}. "
            "An older one at this place is as it was."
        ) from error


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[str, Callable[..., dict[str, Tensor]]]]:
    """Yields a file's header and a function that reads its tensors: all, or those of some names.

    Raises:
        CheckpointError: There is no such file, it is no safetensors file, it is cut off, or its
            header is damaged or not ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            yield _checked_header(file.metadata() or {}, path), partial(_read_tensors, path)
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
    found = f"{_name(tensor.dtype)} of shape {tuple(tensor.shape)}"
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


def _largest_parts(header: str) -> str:
    """The three longest entries of a header, with their lengths."""
    data = json.loads(header)
    parts = data if isinstance(data, dict) else {"the whole": data}
    sizes = {name: len(json.dumps(part)) for name, part in parts.items()}
    longest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    return ", ".join(f"'{name}' with {sizes[name]:,}" for name in longest)


def _sealed(header: str) -> str:
    return header[:-1] + _seal(header)


def _seal(header: str) -> str:
    return f', "sha256": "{hashlib.sha256(header.encode()).hexdigest()}"}}'


def _spec(tensor: Tensor) -> TensorSpec:
    return TensorSpec(
        dtype=_name(tensor.dtype),
        shape=list(tensor.shape),
        data_ptr=tensor.data_ptr(),
        data_len=tensor.nbytes,
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _read_tensors(path: str | Path, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """The tensors of a file that safetensors has found well formed, each with memory of its own.

    Those in ``names``, as far as they are there; all if None.

    safetensors' own ``get_tensor`` leaks two integers a call, which adds up where networks go to
    the disk and back for hours.
    """
    found = {}
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, told in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            if names is not None and name not in names:
                continue
            if told["dtype"] not in _READ:
                raise SafetensorError(f"'{name}' has the type {told['dtype']}")
            tensor = torch.empty(told["shape"], dtype=_READ[told["dtype"]])
            file.seek(8 + length + told["data_offsets"][0])
            if tensor.numel() and file.readinto(_bytes_of(tensor)) != tensor.nbytes:
                raise SafetensorError(f"'{name}' is cut off")
            found[name] = tensor
    return found
