"""Programs of the pages and the README, run in processes of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What costs seconds to make anew and changes no result: compiled kernels, a list of fonts. The
# crossover is one that was not measured while other tests ran.
SHARED = ("STRUCTURE_NET_CACHE", "STRUCTURE_NET_STORAGE", "MPLCONFIGDIR")


def finished(
    command: list[str], folder: Path, home: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A program's end, in an empty home, where it sees nothing of who runs the tests.

    Args:
        command: The program and its arguments.
        folder: Where it runs.
        home: The home that it finds.
        environment: Further variables.
    """
    return subprocess.run(
        command,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HOME": str(home),
            **{name: os.environ[name] for name in SHARED},
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
