"""Loops that are compiled when they are first called: the one place that knows numba.

A kernel is a plain function on numbers and arrays, declared with its types:

    @compiled("float64(float64[::1])")
    def largest(values):
        ...

Importing a module with kernels costs nothing. The first call imports numba and compiles the kernel,
or reads what an earlier process compiled from the folder ``kernels`` of `files.cache_folder`; where
that cannot be written, every process compiles for itself. Arguments of other types are a
`TypeError`, so that no call is ever slow because its types are new. Kernels release Python's global
lock and use one thread: the same arguments give the same result. Sums are reordered only where a
kernel asks for it.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property, update_wrapper
from pathlib import Path
from typing import Any, Final, Generic, ParamSpec, TypeVar

from structure_net.core.compilations import announced
from structure_net.core.sections import section
from structure_net.core.threads import uninterrupted
from structure_net.errors import StructureNetError
from structure_net.files import cache_folder

_P = ParamSpec("_P")
_R = TypeVar("_R")

_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
_LOCK: Final = threading.RLock()
_marks: list[None] = []


class Kernel(Generic[_P, _R]):
    """A function that is compiled when it is first called; what `compiled` makes.

    Kernels may call other kernels.

    Args:
        function: The function in plain Python.
        signatures: The types it is compiled for, as numba writes them.
        options: Of numba, beside those of all kernels.
    """

    __wrapped__: Callable[_P, _R]

    def __init__(
        self, function: Callable[_P, _R], signatures: tuple[str, ...], **options: bool
    ) -> None:
        update_wrapper(self, function)
        self._function = function
        self._signatures = signatures
        self._options = _OPTIONS | options
        self._compiled: Any = None

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """What the function returns.

        Raises:
            StructureNetError: numba is missing, does not work, or cannot compile the function.
            TypeError: The arguments have types that the kernel was not declared for.
        """
        result: _R = self.dispatcher(*args, **kwargs)
        return result

    @property
    def dispatcher(self) -> Any:
        """numba's own object, compiled."""
        if self._compiled is None:
            with _marked():
                # Interrupted, numba may compile nothing more in this process.
                self._make() if _compiling() else uninterrupted(self._make)
        return self._compiled

    @cached_property
    def address(self) -> int:
        """Where C finds it; of a kernel that `compiled` declares ``for_c``."""
        (made,) = self.dispatcher.overloads.values()
        found: int = made.library.get_pointer_to_function(made.fndesc.llvm_cfunc_wrapper_name)
        return found

    @property
    def _numba_type_(self) -> Any:
        """What numba asks for where another kernel calls this one."""
        return self.dispatcher._numba_type_

    def __reduce__(self) -> str:
        return self._function.__qualname__

    def _make(self) -> None:
        with _LOCK:
            if self._compiled is None:
                self._compiled = self._compile()

    def _compile(self) -> Any:
        name = f"{self._function.__module__}.{self._function.__qualname__}"
        try:
            from numba.core.errors import NumbaError

            try:
                return self._dispatcher(name, _kernel_folder(self._function))
            except (OSError, EOFError, pickle.UnpicklingError):
                # The cache is full, damaged or gone; the kernel does not depend on it.
                return self._dispatcher(name, None)
            except NumbaError as error:
                raise StructureNetError(f"numba cannot compile {name}: {error}") from error
        except ImportError as error:
            raise StructureNetError(
                f"{name} is compiled by numba, which cannot be imported here ({error}). Install a"
                " version that fits: python -m pip install --upgrade numba"
            ) from error

    def _dispatcher(self, name: str, folder: Path | None) -> Any:
        import numba

        made = numba.njit(**self._options)(self._function)
        if folder is not None:
            # A module inside an archive has no file whose age could tell whether a cache is stale.
            with _numba_cache(folder), suppress(RuntimeError):
                made.enable_caching()
        with announced(name):
            for signature in self._signatures:
                made.compile(signature)
        made.disable_compile()
        return made


class TypedKernel(Generic[_R]):
    """One kernel for each type of the first argument; what `compiled_by_type` makes.

    Each is compiled when its type is first met: most programs never need the others.

    Args:
        function: The function in plain Python.
        signatures: One for each type, as numba writes them.
    """

    __wrapped__: Callable[..., _R]

    def __init__(self, function: Callable[..., _R], signatures: tuple[str, ...]) -> None:
        update_wrapper(self, function)
        self._kernels = {
            re.sub(r"^.*?\((\w+).*$", r"\1", signature): Kernel(function, (signature,))
            for signature in signatures
        }
        self._compiled: dict[type, Any] = {}

    def of(self, kind: str) -> Kernel[..., _R]:
        """The kernel for one type of the first argument, such as ``"float32"``."""
        return self._kernels[kind]

    def __call__(self, first: Any, *others: Any) -> _R:
        """What the function returns; ``first`` is one of numpy's numbers.

        Raises:
            TypeError: The function is not declared for these types.
        """
        kind = type(first)
        if kind not in self._compiled:
            if kind.__name__ not in self._kernels:
                raise TypeError(
                    f"{self.__wrapped__.__name__} takes {', '.join(self._kernels)} first; got "
                    f"{kind.__name__}."
                )
            self._compiled[kind] = self._kernels[kind.__name__].dispatcher
        result: _R = self._compiled[kind](first, *others)
        return result


class Template:
    """A function that is compiled into the kernels that call it, for their types.

    Args:
        function: The function in plain Python.
    """

    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        update_wrapper(self, function)
        self._function = function
        self._made: Any = None

    def __call__(self, *args: Any) -> Any:
        """What the function returns, in plain Python."""
        return self._function(*args)

    @property
    def _numba_type_(self) -> Any:
        """What numba asks for where a kernel calls this."""
        with _LOCK:
            if self._made is None:
                import numba

                self._made = numba.njit(**_OPTIONS)(self._function)
        return self._made._numba_type_


class Instruction:
    """A function that exists in kernels only, where it writes its machine code itself.

    Args:
        make: Gives the typing function of `numba.extending.intrinsic`; called when first needed.
    """

    __wrapped__: Callable[[], Callable[..., Any]]

    def __init__(self, make: Callable[[], Callable[..., Any]]) -> None:
        update_wrapper(self, make)
        self._make = make
        self._made: Any = None
        self._type: Any = None

    def __call__(self, *args: Any) -> Any:
        """Never returns.

        Raises:
            TypeError: Always: only a kernel can call this.
        """
        raise TypeError(
            f"{self.__wrapped__.__name__} is an instruction of kernels; Python cannot call it."
        )

    @property
    def _numba_type_(self) -> Any:
        """What numba asks for where a kernel calls this."""
        with _LOCK:
            if self._type is None:
                from numba.core.registry import cpu_target
                from numba.extending import intrinsic

                self._made = intrinsic(self._make())
                context = cpu_target.typing_context
                context.refresh()
                self._type = context.resolve_value_type(self._made)
        return self._type


def compiled(
    *signatures: str, fastmath: bool = False, for_c: bool = False
) -> Callable[[Callable[_P, _R]], Kernel[_P, _R]]:
    """Declares a function of the module as a kernel.

    Args:
        signatures: The types of result and arguments, as numba writes them: at least one.
        fastmath: Whether sums and products may be reordered, and NaN and infinity be presumed
            absent: once when the kernel is compiled, so that a machine still gives one result.
        for_c: Whether C calls it, too. Of one signature.

    Raises:
        ValueError: No signature is given.
    """
    if not signatures:
        raise ValueError(
            "A kernel needs at least one signature, such as 'float64(float64[::1])'; got none."
        )

    def declare(function: Callable[_P, _R]) -> Kernel[_P, _R]:
        others = {"no_cfunc_wrapper": False} if for_c else {}
        return Kernel(function, signatures, fastmath=fastmath, **others)

    return declare


def load_registries() -> None:
    """Has numba read what it knows of Python's functions, if it is there.

    It reads them once, when the first kernel is compiled, and would take what stands under their
    names for a while for them.
    """
    with suppress(ImportError):
        from numba.core.registry import cpu_target

        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()


def wide_registers() -> bool:
    """Whether kernels have 32 registers of 64 bytes: AVX-512."""
    from numba.core.registry import cpu_target

    features: str = cpu_target.target_context.codegen().magic_tuple()[2]
    return "+avx512f" in features


def compiled_by_type(*signatures: str) -> Callable[[Callable[..., _R]], TypedKernel[_R]]:
    """Declares a function of the module as a kernel for each of ``signatures``.

    Args:
        signatures: As for `compiled`; each begins with another type of number.
    """

    def declare(function: Callable[..., _R]) -> TypedKernel[_R]:
        return TypedKernel(function, signatures)

    return declare


def _compiling() -> bool:
    """Whether this thread compiles: no other one could compile what its kernel calls."""
    lock = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    return lock is not None and bool(lock.is_locked())


@contextmanager
def _marked() -> Iterator[None]:
    """Marks what a first call takes as a section of its own, kernels within kernels together."""
    with nullcontext() if _marks else section("compiling"):
        _marks.append(None)
        try:
            yield
        finally:
            _marks.pop()


@contextmanager
def _numba_cache(folder: Path) -> Iterator[None]:
    """Points numba at ``folder`` while a kernel asks where its cache is."""
    import numba

    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


def _kernel_folder(function: Callable[..., Any]) -> Path | None:
    """The folder that holds the compiled kernel; None where it cannot be written.

    numba compiles anew when the kernel's own module is newer than its cache. Where a kernel is made
    of other modules, too, their age and size are part of the folder's name.
    """
    folder = cache_folder() / "kernels"
    if others := _sources(function) - {function.__code__.co_filename}:
        ages = [(name, Path(name).stat().st_mtime_ns) for name in sorted(others)]
        folder /= hashlib.sha256(repr(ages).encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def _sources(function: Callable[..., Any], *, known: frozenset[str] = frozenset()) -> set[str]:
    """The files of the kernels, templates and instructions that ``function`` is made of."""
    found = {function.__code__.co_filename}
    for name in set(function.__code__.co_names) - known:
        part = function.__globals__.get(name)
        if isinstance(part, Kernel | Template | Instruction):
            found |= _sources(part.__wrapped__, known=known | {name})
    return found
