"""Programs of pages, README and examples, each run in a process and a folder of its own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import types
import warnings
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What costs seconds to make anew and changes no result: compiled kernels, a list of fonts. The
# crossover is one that was not measured while other tests ran.
SHARED = ("STRUCTURE_NET_CACHE", "STRUCTURE_NET_STORAGE", "MPLCONFIGDIR")
# Packages of others only: a program that forgets to import a module of ours is found.
PRELOADED = (
    "matplotlib.pyplot",
    "networkx",
    "numba",
    "pydantic",
    "rich.console",
    "scipy.stats",
    "sklearn.datasets",
    "torch",
    "torch._dynamo",
    "torch.export",
    "typer",
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Args:
        returncode: Its exit code; minus the number of the signal that ended it.
        stdout: What it printed.
        stderr: What it said of errors.
    """

    returncode: int | None
    stdout: str
    stderr: str


def environment(home: Path, **more: str) -> dict[str, str]:
    """Variables with an empty home, and nothing else of who runs the tests."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HOME": str(home),
        **{name: os.environ[name] for name in SHARED},
        **more,
    }


def finished(
    command: list[str], folder: Path, home: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """A command's end.

    Args:
        command: The program and its arguments.
        folder: Where it runs.
        home: The home that it finds.
        more: Further variables.
    """
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(home, **more),
        capture_output=True,
        text=True,
        check=False,
    )


def ended(program: str | Path, folder: Path, home: Path, **more: str) -> Ended:
    """The end of a program of Python, as ``python -W error`` runs it.

    Most of what such a program takes is to import torch, so that it is a fork of a process that
    has. Where there are no forks, it is begun anew.

    Args:
        program: Its text, or its file.
        folder: Where it runs.
        home: The home that it finds; what it says is written there.
        more: Further variables.
    """
    variables = environment(home, **more)
    if "forkserver" not in multiprocessing.get_all_start_methods():
        words = [str(program)] if isinstance(program, Path) else ["-c", program]
        done = finished([sys.executable, "-W", "error", *words], folder, home, **more)
        return Ended(done.returncode, done.stdout, done.stderr)
    context: ForkServerContext = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    process = context.Process(target=_run, args=(program, folder, home, variables))
    process.start()
    process.join()
    out, err = ((home / name).read_text("utf-8") for name in ("stdout", "stderr"))
    return Ended(process.exitcode, out, err)


def _run(program: str | Path, folder: Path, home: Path, variables: dict[str, str]) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        descriptor = os.open(home / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(descriptor, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    import torch

    torch.set_num_threads(1)
    warnings.resetwarnings()
    warnings.simplefilter("error")
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if isinstance(program, Path):
        main.__file__ = name = str(program)
        sys.path.insert(0, str(program.parent))
    else:
        name = "-c"
    sys.argv = [name]
    text = program.read_text("utf-8") if isinstance(program, Path) else program
    exec(compile(text, name, "exec"), main.__dict__)
    sys.stdout.flush()
