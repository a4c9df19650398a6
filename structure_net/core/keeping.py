"""What a module holds, put back as it was where loading a state is refused.

torch writes what fits and then says what does not. A sparse layer whose weights and index are of
two states is none, so its states are loaded whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_Load = TypeVar("_Load", bound=Callable[..., Any])


class Kept:
    """All tensors of a module and of those within it, until `put_back`.

    What a load writes in place is kept as a copy, of all layers together: a refusal behind its last
    write is to take back the first one. The rest is kept by reference: tensors that ``state``
    lacks, has in another size or replaces (``assign``), the numbers of an index that it has as
    well, and what follows from these. A list of live weights, which takes 16 bytes for each with
    its index, so takes 4 more while a state of the same connections is loaded, and 8 more for as
    many others; a float matrix as much as it takes, 4 bytes for each place.

    Args:
        module: Is not changed.
        state: What is to be loaded. None: anything may be written. So it is where a hook or a
            method of somebody else loads.
        prefix: What the module's names begin with in it.
        assign: Whether its tensors are put in the place of the module's.
    """

    def __init__(
        self,
        module: nn.Module,
        state: Mapping[str, Any] | None = None,
        *,
        prefix: str = "",
        assign: bool = False,
    ) -> None:
        modules = list(module.modules())
        if not all(map(_loads_by_name, modules)):
            state = None
        found: dict[int, _Tensor] = {}
        self._parts = {one: _Part(one, found) for one in modules}
        for path, one in module.named_modules(remove_duplicate=False):
            for name, tensor in _tensors(one):
                key = f"{prefix}{path}.{name}" if path else f"{prefix}{name}"
                if state is None or _written(name, tensor, state.get(key), assign=assign):
                    found[id(tensor)].copy()

    def covers(self, module: nn.Module) -> bool:
        """Whether ``module`` is kept."""
        return module in self._parts

    def put_back(self, module: nn.Module | None = None) -> None:
        """Gives the module the same tensors, bit for bit and in the same memory, and gradients.

        Args:
            module: Only one of those within.
        """
        for part in self._parts.values() if module is None else [self._parts[module]]:
            part.put_back()


class _Part:
    """The tensors of one module, not of those within it."""

    def __init__(self, module: nn.Module, found: dict[int, _Tensor]) -> None:
        self._tables = [(table, dict(table)) for table in (module._parameters, module._buffers)]
        tensors = dict(_tensors(module)).values()
        self._tensors = [found.setdefault(id(one), _Tensor(one)) for one in tensors]

    def put_back(self) -> None:
        for table, entries in self._tables:
            table.clear()
            table.update(entries)  # type: ignore[arg-type]  # what it held
        for one in self._tensors:
            one.put_back()


class _Tensor:
    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._memory = tensor, tensor.data
        # Torch warns of a look at what is none.
        self._gradient = tensor.grad if tensor.is_leaf else None
        self._content: Tensor | None = None

    def copy(self) -> None:
        if self._content is None:
            self._content = _each_once(self._memory).clone()

    @torch.no_grad()
    def put_back(self) -> None:
        if self._content is not None:
            _each_once(self._memory).copy_(self._content)
        self._tensor.data = self._memory
        if self._tensor.is_leaf:
            self._tensor.grad = self._gradient


def by_name(load: _Load) -> _Load:
    """Marks a ``_load_from_state_dict`` that writes into the memory of no tensor but those that the
    state names, and the weight where it names none.
    """
    load.by_name = True  # type: ignore[attr-defined]  # read by `Kept`
    return load


def _loads_by_name(module: nn.Module) -> bool:
    kind: Any = type(module)
    load = kind._load_from_state_dict
    hooks = module._load_state_dict_pre_hooks or module._load_state_dict_post_hooks
    return (
        (load is nn.Module._load_from_state_dict or hasattr(load, "by_name"))
        and kind.set_extra_state is nn.Module.set_extra_state
        and not hooks
    )


def _tensors(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    tables = (module._parameters, module._buffers)
    held = ((name, one) for table in tables for name, one in table.items())
    return [(name, one) for name, one in held if one is not None and not is_lazy(one)]


def _written(name: str, tensor: Tensor, loaded: Any, *, assign: bool) -> bool:
    """Whether loading a value may change what stands in a tensor's memory."""
    if loaded is None:
        return name == "weight"
    if assign:
        return False
    if not isinstance(loaded, Tensor):
        return True
    if loaded.numel() != tensor.numel():
        return False
    index = tensor.dtype in (torch.int32, torch.bool) and loaded.dtype is tensor.dtype
    same = index and tensor.device == loaded.device and tensor.shape == loaded.shape
    return not (same and not tensor.is_meta and torch.equal(tensor, loaded))


def _each_once(tensor: Tensor) -> Tensor:
    """A view without the repeats of `torch.Tensor.expand`, which torch does not write to."""
    if tensor.layout is torch.strided:
        for axis in range(tensor.dim()):
            if tensor.stride(axis) == 0 and tensor.shape[axis] > 1:
                tensor = tensor.narrow(axis, 0, 1)
    return tensor


_CURRENT: Final[ContextVar[Kept | None]] = ContextVar("_CURRENT", default=None)


@contextmanager
def all_or_nothing(
    module: nn.Module,
    state: Mapping[str, Any] | None = None,
    *,
    prefix: str = "",
    assign: bool = False,
) -> Iterator[Callable[[], None]]:
    """Puts back what ``module`` held if the block raises; who finds a reason itself may, too.

    Within a block of a module around it, nothing is copied a second time.

    Args:
        module: What is loaded into.
        state: What the block loads; see `Kept`.
        prefix: What the module's names begin with in it.
        assign: Whether it puts its tensors in the place of the module's.

    Yields:
        What puts it back.
    """
    around = _CURRENT.get()
    if around is not None and around.covers(module):
        kept, within = around, list(module.modules())
    else:
        kept, within = Kept(module, state, prefix=prefix, assign=assign), []

    def put_back() -> None:
        if not within:
            kept.put_back()
        for one in within:
            if kept.covers(one):
                kept.put_back(one)

    token = _CURRENT.set(kept)
    try:
        yield put_back
    except BaseException:
        put_back()
        raise
    finally:
        _CURRENT.reset(token)
