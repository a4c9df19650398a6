"""A device for tests: ``elsewhere``, as strict as CUDA, that computes on the processor.

Its tensors are plain ones of PyTorch's own type on another device (``PrivateUse1``), with memory of
their own. Every operation on them is carried out by the processor's kernels on that memory, so that
numbers can be compared to the last bit with those of the CPU; and what CUDA refuses is refused
here: tensors of both devices in one operation, other than numbers; a generator of the CPU;
`Tensor.numpy`. What it cannot show is how long CUDA's own kernels take and how they round.

PyTorch counts the devices at a process's first backward pass, so that `begin` comes before it: in a
process of its own (``pytest --elsewhere``, see `test_elsewhere`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME: Final = "elsewhere"
_HERE: Final = torch.device("cpu")
_KEYS: Final = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_SET: Final = torch.ops.aten.set_.source_Storage_storage_offset
# What takes indices of the CPU beside a tensor of CUDA.
_INDEXED: Final = frozenset(
    f"aten::{name}"
    for name in ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
)
# What takes no number of the CPU in place of a tensor.
_STRICT: Final = frozenset(
    f"aten::{name}"
    for name in ("index_select", "gather", "scatter", "scatter_", "take", "searchsorted", "dot")
)
_libraries: list[torch.library.Library] = []


def away() -> str:
    """The name of the other device that tests can use: CUDA where there is one."""
    return NAME if _libraries else "cuda"


class _Module:
    """What PyTorch asks of ``torch.elsewhere``; random numbers are the CPU's."""

    get_rng_state = staticmethod(lambda device=None: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, device=None: torch.set_rng_state(state))
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    is_initialized = is_available = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    manual_seed_all = staticmethod(lambda seed: None)
    synchronize = staticmethod(lambda device=None: None)
    device = staticmethod(lambda index: nullcontext())


def begin() -> None:
    """Makes the device known to this process, which has run no backward pass so far."""
    _setup_privateuseone_for_python_backend(NAME, _Module())
    every, aten = (torch.library.Library(name, "IMPL") for name in ("_", "aten"))
    every.fallback(_computed, "PrivateUse1")
    for name, kernel in _KERNELS.items():
        aten.impl(name, kernel, "PrivateUse1")
    every.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in ("linear", "mm", "matmul", "conv2d"):
        aten.impl(
            name, partial(_cast, getattr(torch.ops.aten, name).default), "AutocastPrivateUse1"
        )
    _libraries.extend((every, aten))
    _teach_storages()


def _there(tensor: Tensor, storage: torch.UntypedStorage | None = None) -> Tensor:
    """The memory of a tensor of the CPU as a tensor elsewhere, in ``storage`` if it lies there."""
    made = torch._C._acc.create_empty_tensor((0,), tensor.dtype)
    return _laid(made, storage or _over(tensor.untyped_storage()), tensor)


def _here(tensor: Tensor) -> Tensor:
    """The memory of a tensor elsewhere as one of the CPU."""
    storage: Any = tensor.untyped_storage()
    if not hasattr(storage, "held"):
        storage.held = torch.UntypedStorage(0)
    seen = torch.empty(0, dtype=tensor.dtype)
    return seen.set_(storage.held, tensor.storage_offset(), tensor.shape, tensor.stride())


def _over(held: torch.UntypedStorage) -> torch.UntypedStorage:
    place = held.data_ptr(), torch.device(NAME, 0), held.nbytes()
    made: Any = torch._C._construct_storage_from_data_pointer(*place)
    made.held = held  # which keeps the memory
    return made  # type: ignore[no-any-return]  # torch's own storage


def _laid(tensor: Tensor, storage: torch.UntypedStorage, like: Tensor) -> Tensor:
    """``tensor`` over ``storage``, with the place and form of ``like``."""
    _SET.redispatch(_KEYS, tensor, storage, like.storage_offset(), like.shape, like.stride())
    return tensor


def _computed(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """An operation on tensors elsewhere, by the processor's kernel."""
    _check(operator, args, kwargs)
    pairs: dict[int, tuple[Tensor, Tensor]] = {}
    storages: dict[int, torch.UntypedStorage] = {}

    def twin(value: Any) -> Any:
        if _is_away(value):
            seen = _here(value)
            pairs[id(seen)] = seen, value
            storages[seen.untyped_storage()._cdata] = value.untyped_storage()
            return seen
        return _HERE if isinstance(value, torch.device) else value

    def back(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) in pairs:
            return pairs[id(value)][1]
        return _there(value, storages.get(value.untyped_storage()._cdata))

    given, named = tree_map(twin, (_tensors(operator, args), kwargs))
    result = operator(*given, **named)
    for seen, value in pairs.values():
        _follow(value, seen)
    return tree_map(back, result)


def _tensors(operator: Any, args: tuple[Any, ...]) -> list[Any]:
    """The arguments, with a tensor for each number that an operator wants as one."""
    declared = [str(argument.type) for argument in operator._schema.arguments]
    if not any(argument.is_out for argument in operator._schema.arguments):
        return list(args)  # PyTorch knows numbers from tensors there
    return [
        torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
        if kind == "Tensor" and isinstance(value, int | float)
        else value
        for kind, value in zip(declared, args, strict=False)
    ]


def _follow(value: Tensor, seen: Tensor) -> None:
    """Gives ``value`` the memory and the form that an operation gave its twin."""
    storage = seen.untyped_storage()
    if storage.data_ptr() != value.untyped_storage().data_ptr():
        _laid(value, _over(storage), seen)
    elif (seen.shape, seen.stride()) != (value.shape, value.stride()):
        _laid(value, value.untyped_storage(), seen)


def _check(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuses what CUDA refuses."""
    name = operator._schema.name
    leaves = tree_leaves((args[0], args[2:]) if name in _INDEXED else (args, kwargs))
    written = [
        value
        for argument, value in zip(operator._schema.arguments, args, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    written += [kwargs["out"]] if isinstance(kwargs.get("out"), Tensor) else []
    for value in leaves:
        if isinstance(value, torch.Generator):
            raise RuntimeError(  # noqa: TRY004 - as CUDA
                f"Expected a {NAME!r} generator but found one of the CPU: {name}."
            )
        if not isinstance(value, Tensor) or _is_away(value):
            continue
        if value.dim() or name in _STRICT or any(value is one for one in written):
            raise RuntimeError(
                f"Expected all tensors to be on the same device: {name} got one of shape "
                f"{tuple(value.shape)} on {value.device} beside others on {NAME}."
            )


def _is_away(value: object) -> bool:
    return isinstance(value, Tensor) and value.device.type == NAME


def _copied(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """From one device to the other, or within one."""
    there, here = (_here(one) if _is_away(one) else one for one in (target, source))
    there.copy_(here)
    return target


def _convolved(inputs: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
    return _computed(torch.ops.aten.convolution.default, inputs, weight, bias, *how)  # type: ignore[no-any-return]  # torch's


def _convolved_back(gradient: Tensor, inputs: Tensor, weight: Tensor, *how: Any) -> Any:
    *geometry, wanted = how
    transposed, groups = geometry[3], geometry[5]
    sizes = [weight.shape[1] * groups if transposed else weight.shape[0]]
    operator = torch.ops.aten.convolution_backward.default
    return _computed(operator, gradient, inputs, weight, sizes, *geometry, wanted)


def _cast(operator: Any, *args: Any) -> Any:
    """A product under autocast."""
    kind = torch.get_autocast_dtype(NAME)
    keys: Any = torch._C.DispatchKey  # whose stub does not name all
    key = torch._C.DispatchKeySet(keys.AutocastPrivateUse1)
    with torch._C._ExcludeDispatchKeyGuard(key):
        return operator(
            *(
                one.to(kind) if isinstance(one, Tensor) and one.dtype == torch.float32 else one
                for one in args
            )
        )


_KERNELS: Final[dict[str, Callable[..., Any]]] = {
    "_copy_from": _copied,
    "convolution_overrideable": _convolved,
    "convolution_backward_overrideable": _convolved_back,
    "set_.source_Storage_storage_offset": lambda *args: _SET.redispatch(_KEYS, *args),
}


def _teach_storages() -> None:
    """What PyTorch does with storages outside operators: for copies, `torch.save` and `load`."""
    kind: Any = torch.UntypedStorage
    clone, cpu, to = kind.clone, kind.cpu, kind.to

    def moved(one: Any, *, device: torch.device, non_blocking: bool = False) -> Any:
        if device.type == NAME and one.device.type == "cpu":
            return _over(clone(one))
        return to(one, device=device, non_blocking=non_blocking)

    kind.clone = lambda one: _over(one.held.clone()) if one.device.type == NAME else clone(one)
    kind.cpu = lambda one: one.held.clone() if one.device.type == NAME else cpu(one)
    kind.to = moved
