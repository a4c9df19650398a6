"""What an import may do: nothing heavy, nothing upwards, nothing but define names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "chromadb",
    "gudhi",
    "h5py",
    "llvmlite",
    "matplotlib",
    "networkx",
    "numba",
    "pandas",
    "pyarrow",
    "pydantic",
    "rich",
    "scipy",
    "sklearn",
    "tensorboard",
    "transformers",
    "typer",
    "wandb",
)


def new_modules(statement: str) -> set[str]:
    """The modules that ``statement`` loads beyond those that torch itself loads."""
    program = (
        "import sys, torch\n"
        "before = set(sys.modules)\n"
        f"{statement}\n"
        "print('\\n'.join(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = new_modules("import structure_net")
    heavy = {name for name in loaded if name.split(".")[0] in HEAVY}
    slow = {name for name in loaded if name.startswith(("torch._dynamo", "torch.export."))}
    assert not heavy | slow


def test_importing_every_floor_below_the_command_line_loads_nothing_heavy() -> None:
    floors = "core graph surgery data logging evolution visualization"
    statement = "import " + ", ".join(f"structure_net.{floor}" for floor in floors.split())
    heavy = {name for name in new_modules(statement) if name.split(".")[0] in HEAVY}
    assert not heavy


def test_importing_the_package_has_no_effect() -> None:
    program = (
        "import logging, os, random, signal, torch\n"
        "from torch.optim.optimizer import _global_optimizer_pre_hooks as hooks\n"
        "def state():\n"
        "    return (\n"
        "        dict(os.environ), random.getstate(), torch.random.get_rng_state().tolist(),\n"
        "        signal.getsignal(signal.SIGINT), logging.root.handlers[:], logging.root.level,\n"
        "        torch.get_default_dtype(), torch.get_num_threads(),\n"
        "        len(hooks),\n"
        "    )\n"
        "before = state()\n"
        "import structure_net, structure_net.evolution, structure_net.surgery\n"
        "assert state() == before\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
