"""A trial in this process, kept apart: what it finds follows from its seed, and nothing is left.

A process of its own keeps more apart (`ProcessRunner`): hooks that a trial leaves on all modules,
and threads, are not undone here.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

_SEEDS: Final = 2**32
"""NumPy takes smaller ones only."""


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Runs a block as a trial of this seed would run in a fresh process.

    Gradients are recorded, whoever calls. The global generators of Python, NumPy and torch begin at
    the seed: an experiment that draws from them draws the same in every process, and other numbers
    for another seed. Afterwards they are where they were, and so are the folder, the environment,
    torch's default type and device, its number of threads and its choice of algorithms. A process
    that the block forks, and that comes out of it, ends here.

    Args:
        seed: The trial's.
    """
    import numpy as np
    import torch

    before = os.getpid()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    with ExitStack() as stack:
        for read, write in _settings():
            stack.callback(_put_back, read, write, read())
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        random.seed(seed)
        np.random.seed(seed % _SEEDS)  # noqa: NPY002 - that of whoever uses it
        _seed_torch(seed)
        try:
            yield
        finally:
            if os.getpid() != before:  # a second lab would go on from here
                os._exit(0)
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            torch.set_rng_state(states[2])


def _seed_torch(seed: int) -> None:
    import torch

    if torch.accelerator.current_accelerator() is None:
        torch.default_generator.manual_seed(seed)
    else:  # the generators of devices, too, of those that the block is the first to use as well
        torch.manual_seed(seed)


def _settings() -> tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...]:
    import torch

    return (
        (_folder, _go_to),
        (_environment, _set_environment),
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.get_default_device, torch.set_default_device),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    )


def _put_back(read: Callable[[], Any], write: Callable[[Any], object], value: Any) -> None:
    if read() != value:
        write(value)


def _folder() -> Path | None:
    with suppress(FileNotFoundError):  # it was removed under our feet
        return Path.cwd()
    return None


def _go_to(folder: Path | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _environment() -> dict[str, str]:
    return dict(os.environ)


def _set_environment(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
