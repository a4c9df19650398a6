"""The states of random number generators: captured for a checkpoint, and put back on request."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch

from structure_net.errors import CheckpointError

# A string, since `numpy.random` takes 30 ms to import and is needed by few programs.
AnyGenerator: TypeAlias = "torch.Generator | np.random.Generator | random.Random"


def random_states(generators: Mapping[str, AnyGenerator]) -> dict[str, Any]:
    """The states of torch's, Python's and numpy's global generators and of ``generators``.

    CUDA's are there where CUDA has been used. Nothing is drawn and nothing changes.

    Raises:
        TypeError: One of ``generators`` is no generator of torch, numpy or Python.
    """
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002 - what a user's code draws from
        "generators": {name: _state(name, one) for name, one in generators.items()},
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(
    states: Mapping[str, Any], generators: Mapping[str, AnyGenerator]
) -> None:
    """Puts back what `random_states` captured.

    Args:
        states: The states.
        generators: Generators of one's own, under the names that they were captured with.

    Raises:
        CheckpointError: A generator's name is not in ``states``, or its kind is another.
        TypeError: One of ``generators`` is no generator of torch, numpy or Python.
    """
    kept = states["generators"]
    for name, one in generators.items():
        kind = _state(name, one)["kind"]
        if name not in kept:
            known = ", ".join(sorted(kept)) or "none"
            raise CheckpointError(f"No generator '{name}' was saved; there are: {known}.")
        if kept[name]["kind"] != kind:
            raise CheckpointError(
                f"Generator '{name}' was saved as {kept[name]['kind']}; got {kind}."
            )
    for name, one in generators.items():
        _restore(one, kept[name]["state"])
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002 - see above
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def _state(name: str, generator: AnyGenerator) -> dict[str, Any]:
    if isinstance(generator, torch.Generator):
        return {"kind": f"torch on {generator.device.type}", "state": generator.get_state()}
    if isinstance(generator, np.random.Generator):
        state = generator.bit_generator.state
        return {"kind": f"numpy {state['bit_generator']}", "state": state}
    if isinstance(generator, random.Random):
        return {"kind": "python", "state": generator.getstate()}
    raise TypeError(
        f"Generator '{name}' must be a torch.Generator, numpy.random.Generator or random.Random; "
        f"got {type(generator).__name__}."
    )


def _restore(generator: AnyGenerator, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.setstate(state)
