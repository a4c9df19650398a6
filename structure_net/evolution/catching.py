"""An example of a model's inputs, caught when the model is first called.

In a loop that the user owns nobody hands over an example to trace the model with; the first batch
that goes through it will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from structure_net.core.capturing import capturing
from structure_net.core.undoing import unhook
from structure_net.errors import StructureNetError
from structure_net.evolution.batches import example_of

_TAUGHT = "Call the model on a batch first (a training step does), or pass `example`."


class CaughtExample:
    """Keeps two samples of the first batch that a model is called with, and lets go of it then.

    A forward pre-hook waits for the call; it is gone afterwards, so that it costs nothing, and
    takes no part in a trace. Inside `torch.compile` nothing can be caught.

    Args:
        model: Whose inputs are wanted. It is not held.
        example: Inputs that are at hand already; nothing is waited for then.
    """

    def __init__(self, model: nn.Module, example: Any = None) -> None:
        self._example = example
        self._handle: RemovableHandle | None = None
        if example is None:
            hook = self._catch
            try:
                self._handle = model.register_forward_pre_hook(hook, with_kwargs=True)
            except BaseException:  # an interrupt, of which nothing is to stay
                unhook(model, hook)
                raise

    @property
    def caught(self) -> bool:
        """Whether there is an example."""
        return self._example is not None

    @property
    def example(self) -> Any:
        """The inputs: a tensor, a tuple of positional or a mapping of keyword arguments.

        Raises:
            StructureNetError: The model was not called yet.
        """
        if self._example is None:
            raise StructureNetError(f"No inputs of the model were seen yet. {_TAUGHT}")
        return self._example

    def close(self) -> None:
        """Stops waiting; what was caught stays."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _catch(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if capturing() or not (args or kwargs):
            return
        if args and kwargs:
            raise StructureNetError(
                "The model is called with positional and with keyword arguments, which one example"
                " cannot hold. Pass all by keyword, or pass `example`."
            )
        self._example = _detached(example_of(kwargs or (args[0] if len(args) == 1 else args)))
        self.close()


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {name: _detached(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_detached(item) for item in value)
    return value
