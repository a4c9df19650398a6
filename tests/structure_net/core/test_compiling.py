"""Kernels are compiled once, away from the source, and say so."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from structure_net.core.compilations import Compilation, watching_compilation
from structure_net.core.compiling import (
    Instruction,
    Kernel,
    Template,
    TypedKernel,
    compiled,
    compiled_by_type,
    wide_registers,
)
from structure_net.core.sections import listened_by
from structure_net.errors import StructureNetError

ROOT = Path(__file__).resolve().parents[3]


@compiled("float64(float64[::1])", "float32(float32[::1])")
def total(values):  # type: ignore[no-untyped-def]
    """The sum."""
    result = values[0] - values[0]
    for value in values:
        result += value
    return result


@compiled("float64(float64[::1])")
def mean(values):  # type: ignore[no-untyped-def]
    return total(values) / len(values)


@Template
def halved(value):  # type: ignore[no-untyped-def]
    return value / 2


@compiled("float64(float64)", "float32(float32)")
def quartered(value):  # type: ignore[no-untyped-def]
    return halved(halved(value))


@compiled_by_type("float64(float64, int64)", "float32(float32, int64)")
def repeated(value, times):  # type: ignore[no-untyped-def]
    return value * times


@compiled("float64(float64[::1])", fastmath=True)
def quick_total(values):  # type: ignore[no-untyped-def]
    result = 0.0
    for value in values:
        result += value
    return result


@compiled("int64(int64)")
def broken(value):  # type: ignore[no-untyped-def]
    return value.nothing


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path))
    return tmp_path


def fresh(kernel: Kernel[..., object]) -> Kernel[..., object]:
    """The kernel as it is in a new process."""
    return Kernel(kernel.__wrapped__, kernel._signatures)


def test_a_kernel_computes_what_the_function_does(cache: Path) -> None:
    values = np.arange(5.0)
    assert total(values) == total.__wrapped__(values) == 10.0
    assert total(values.astype(np.float32)) == 10.0


def test_a_kernel_may_call_another(cache: Path) -> None:
    assert mean(np.arange(5.0)) == 2.0


def test_what_a_first_call_takes_is_one_section_with_the_kernels_within(cache: Path) -> None:
    made = Kernel(mean.__wrapped__, ("float64(float64[::1])",))
    met: list[str] = []

    class Listener:
        def section(self, name: str) -> AbstractContextManager[object]:
            met.append(name)
            return nullcontext()

    with listened_by(Listener()):
        assert [made(np.arange(5.0)) for _ in range(3)] == [2.0] * 3
    assert met == ["compiling"]


def test_a_template_is_compiled_for_the_types_of_its_callers(cache: Path) -> None:
    assert quartered(8.0) == 2.0
    assert quartered(np.float32(8)) == 2.0
    assert halved(8.0) == 4.0


def test_a_kernel_by_type_is_compiled_for_the_types_that_it_meets_only(cache: Path) -> None:
    made = TypedKernel(repeated.__wrapped__, ("float64(float64, int64)", "float32(float32, int64)"))
    told: list[Compilation] = []
    with watching_compilation(told.append):
        assert made(np.float32(1.5), 2) == 3.0
        assert len(told) == 2
        assert made(np.float64(0.1), 3) == 0.1 * 3
        assert len(told) == 4
        made(np.float32(2.5), 2)
    assert len(told) == 4


def test_a_kernel_by_type_refuses_other_types(cache: Path) -> None:
    with pytest.raises(TypeError, match="repeated takes float64, float32 first; got int"):
        repeated(1, 2)
    with pytest.raises(TypeError):
        repeated(np.float32(1), np.ones(2))


def test_sums_may_be_reordered_where_a_kernel_asks_for_it(cache: Path) -> None:
    assert quick_total(np.arange(100.0)) == 4950.0


def test_an_instruction_exists_in_kernels_only() -> None:
    def twice():  # type: ignore[no-untyped-def]
        """Twice."""

    with pytest.raises(TypeError, match="twice is an instruction of kernels"):
        Instruction(twice)(1)


def test_the_cache_of_a_kernel_follows_the_files_of_its_parts(tmp_path: Path) -> None:
    part = (
        "from structure_net.core.compiling import Template\n@Template\ndef part(x):\n    return x"
    )
    whole = (
        "from parts import part\nfrom structure_net.core.compiling import compiled\n"
        "@compiled('int64(int64)')\ndef whole(x):\n    return part(x)\nprint(whole(5))\n"
    )
    (tmp_path / "whole.py").write_text(whole)
    environment = os.environ | {
        "STRUCTURE_NET_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    printed = []
    for change in ("", " + 1"):
        (tmp_path / "parts.py").write_text(part + change)
        done = subprocess.run(
            [sys.executable, str(tmp_path / "whole.py")],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        printed.append(done.stdout.strip())
    assert printed == ["5", "6"]


def test_the_width_of_registers_is_that_of_the_target() -> None:
    program = "from structure_net.core.compiling import wide_registers; print(wide_registers())"
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.stdout.strip() == "False"
    assert wide_registers() in (True, False)


def test_types_that_were_not_declared_are_an_error(cache: Path) -> None:
    with pytest.raises(TypeError):
        total(np.arange(5))


def test_a_kernel_needs_a_signature() -> None:
    with pytest.raises(ValueError, match="at least one signature"):
        compiled()


def test_the_cache_stands_in_the_folder_of_the_user_only(cache: Path) -> None:
    beside = set(Path(__file__).parent.rglob("*.nb*"))
    fresh(total)(np.ones(2))
    assert list((cache / "kernels").rglob("*.nbi"))
    assert set(Path(__file__).parent.rglob("*.nb*")) == beside


def test_a_compilation_is_announced_when_it_begins_and_ends_and_a_cached_kernel_is_not(
    cache: Path,
) -> None:
    told: list[Compilation] = []
    with watching_compilation(told.append):
        fresh(total)(np.ones(2))
        fresh(total)(np.ones(2))
    assert [one.seconds is None for one in told] == [True, False]
    assert {one.kernel for one in told} == {f"{total.__module__}.total"}


def test_an_interrupt_does_not_reach_the_compiler(cache: Path) -> None:
    told: list[Compilation] = []

    def interrupt(one: Compilation) -> None:
        told.append(one)
        if len(told) == 1:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    made = fresh(total)
    with watching_compilation(interrupt):
        with pytest.raises(KeyboardInterrupt):
            made(np.ones(2))
        assert made(np.ones(3)) == 3
    assert [one.seconds is None for one in told] == [True, False]


def test_a_kernel_works_where_no_cache_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(file / "below"))
    assert fresh(total)(np.ones(2)) == 2.0
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_damaged_cache_is_passed_over(cache: Path) -> None:
    fresh(total)(np.ones(2))
    for index in cache.rglob("*.nbi"):
        index.write_bytes(b"")
    assert fresh(total)(np.ones(2)) == 2.0


def test_what_numba_cannot_compile_is_an_error_that_names_the_kernel(cache: Path) -> None:
    with pytest.raises(StructureNetError, match=r"numba cannot compile .*broken"):
        broken(1)


def test_without_numba_a_kernel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setitem(sys.modules, "numba.core.errors", None)
    with pytest.raises(StructureNetError, match="pip install --upgrade numba"):
        fresh(total)(np.ones(2))


def test_a_kernel_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(compiled_in_the_package())) is compiled_in_the_package()


def compiled_in_the_package() -> object:
    from structure_net.evolution.metrics import forests

    return forests.kruskal


def test_numba_is_imported_by_the_first_call_only() -> None:
    program = (
        "import sys, numpy as np\n"
        "from structure_net.evolution.metrics.forests import kruskal\n"
        "assert 'numba' not in sys.modules\n"
        "ends = np.array([0, 1], np.int64)\n"
        "assert len(kruskal(ends, ends[::-1].copy(), 2)) == 1\n"
        "assert 'numba' in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=dict(os.environ),
    )
    assert (done.returncode, done.stderr) == (0, "")
