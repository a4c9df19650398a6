"""Running a model on an example, and leaving it as it was.

What is done for a while is undone by an `Undoing`, and not by a context manager of its own: an
interrupt that strikes between its being entered and its block would leave it.

An example is a tensor, a tuple of positional arguments or a mapping of keyword arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from threading import Lock, RLock
from typing import Any, Final

import torch
from torch import Tensor, nn

from structure_net.core.undoing import Undoing


def inputs_of(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named inputs of an example."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, tuple | list):
        return tuple(example), {}
    return (example,), {}


def call(model: nn.Module, example: Any) -> Any:
    """The model's output on an example."""
    args, kwargs = inputs_of(example)
    return model(*args, **kwargs)


class _Eager:
    """Has torch run what it compiled as it was written, as long as somebody asks for it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asking: set[object] = set()
        self._stance: Any = None
        self._stands = False

    def enter(self, who: object) -> None:
        with self._lock:
            self._asking.add(who)
            # Who compiled something has loaded torch's compiler; to load it takes seconds.
            if not self._stands and "torch._dynamo" in sys.modules:
                self._stands = True
                self._stance = torch.compiler.set_stance("force_eager")

    def leave(self, who: object) -> None:
        with self._lock:
            self._asking.discard(who)
            if self._stands and not self._asking:
                if self._stance is None:  # lost to an interrupt
                    torch.compiler.set_stance("default")
                else:
                    self._stance.__exit__(None, None, None)
                self._stance, self._stands = None, False


class _Evaluations:
    """Networks in evaluation mode, and the modes that their modules had before."""

    def __init__(self) -> None:
        # A model's own `eval` may evaluate.
        self._lock = RLock()
        self._modes: dict[object, dict[nn.Module, bool]] = {}

    def enter(self, who: object, model: nn.Module) -> None:
        with self._lock:
            self._modes[who] = modes = {module: module.training for module in model.modules()}
            if not all(map(_keeps_its_mode, modes)):
                model.eval()
                return
            for module, mode in modes.items():
                if mode:
                    vars(module)["training"] = False

    def leave(self, who: object) -> None:
        """Gives modules their modes back; those that others evaluate get them when these leave."""
        with self._lock:
            if who not in self._modes:
                return
            asking = list(self._modes)
            later = [self._modes[one] for one in asking[asking.index(who) + 1 :]]
            for module, mode in self._modes[who].items():
                heir = next((modes for modes in later if module in modes), None) if later else None
                if heir is not None:
                    heir[module] = mode
                elif module.training is not mode:
                    module.training = mode
            del self._modes[who]


def _keeps_its_mode(module: nn.Module) -> bool:
    """Whether `nn.Module.eval` does nothing to a module but set an attribute of it.

    Torch's way to it, over all kinds of attributes, takes longer than all else there is to do for
    a look at a small network.
    """
    kind, own = type(module), vars(module)
    return (
        kind.train is _TRAIN
        and kind.eval is _EVAL
        and kind.__setattr__ is _SETATTR
        and not hasattr(kind, "training")
        and "training" in own
        and "train" not in own
        and "eval" not in own
    )


_TRAIN: Final = nn.Module.train
_EVAL: Final = nn.Module.eval
_SETATTR: Final = nn.Module.__setattr__
_EAGER: Final = _Eager()
_EVALUATIONS: Final = _Evaluations()


def uncompile(undo: Undoing) -> None:
    """Has what `torch.compile` made run as it was written, so that hooks and modes see it, until
    ``undo`` undoes it.

    Torch has one setting for all threads: what others compiled runs so meanwhile, too.
    """
    who = object()
    undo.later(partial(_EAGER.leave, who))
    _EAGER.enter(who)


def evaluate(model: nn.Module, undo: Undoing) -> None:
    """Evaluation mode, until ``undo`` gives each module its own mode back.

    Where several threads evaluate a network, once the last of them has ended.
    """
    who = object()
    undo.later(partial(_EVALUATIONS.leave, who))
    _EVALUATIONS.enter(who, model)


def train(model: nn.Module, undo: Undoing) -> None:
    """Training mode, until ``undo`` has put back what `preserve` does.

    A model that is in training mode runs as it is, with those of its modules that are in evaluation
    mode (a frozen normalisation); of any other, `torch.nn.Module.train` is called.
    """
    preserve(model, undo)
    if not model.training:
        model.train()


def preserve(model: nn.Module, undo: Undoing) -> None:
    """Whatever forward passes do to the model, it is as now once ``undo`` has undone it.

    Modes, attributes, buffers (their values, and which tensor stands under a name) and torch's
    global random states come back; so do the rows that an embedding with ``max_norm`` scales.
    Parameters that are written to otherwise keep what was written, and so do the contents of
    lists and dictionaries that a module holds.
    """
    held = [(m, dict(vars(m)), dict(m._buffers)) for m in model.modules()]
    undo.later(partial(_put_attributes, held))
    undo.later(partial(_put_values, [(t, t.detach().clone()) for t in _written(model)]))
    same_random_states(undo)


def same_random_states(undo: Undoing) -> None:
    """Torch's global random states are as now once ``undo`` has undone what draws from them."""
    undo.later(partial(torch.set_rng_state, torch.get_rng_state()))
    if torch.cuda.is_initialized():
        undo.later(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))


def _written(model: nn.Module) -> Iterator[Tensor]:
    """The tensors that a forward pass may write to."""
    yield from model.buffers()
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
            yield module.weight


def _put_values(values: list[tuple[Tensor, Tensor]]) -> None:
    for tensor, value in values:
        # A BatchNorm writes its statistics without raising their version counter; written back
        # through `data`, they leave the graphs that the user keeps as they were, too.
        if not torch.equal(tensor, value):
            tensor.data.copy_(value)


def _put_attributes(held: list[tuple[nn.Module, dict[str, Any], dict[str, Any]]]) -> None:
    for module, attributes, buffers in held:
        vars(module).clear()
        vars(module).update(attributes)
        module._buffers.clear()
        module._buffers.update(buffers)
