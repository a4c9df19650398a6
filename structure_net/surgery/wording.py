"""Refusals in the words of the user: layers by their own names, and what a module without channels
is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from torch import nn

from structure_net.errors import SurgeryError
from structure_net.surgery.grafts import Grafted

if TYPE_CHECKING:
    from structure_net.graph import ChannelGraph

_SHOWN: Final = 8  # more names than this are counted


class UserNames:
    """Grafted layers and their tensors under the names from before they were grafted: ``fc1`` for
    ``fc1.origin``, which both mean the layer.

    Args:
        model: The model; read once.
    """

    def __init__(self, model: nn.Module) -> None:
        grafted = [path for path, module in model.named_modules() if isinstance(module, Grafted)]
        self._inner = [
            (re.compile(rf"(?<![\w.]){re.escape(path)}\.origin\b"), path)
            for path in sorted(grafted, key=len, reverse=True)
        ]

    def shown(self, text: str) -> str:
        """``text`` with these names."""
        for inner, path in self._inner:
            text = inner.sub(path, text)
        return text


@contextmanager
def speaking_of(model: nn.Module) -> Iterator[None]:
    """Refusals from inside name layers as `UserNames` does."""
    try:
        yield
    except SurgeryError as error:
        names = UserNames(model)
        error.args = tuple(names.shown(a) if isinstance(a, str) else a for a in error.args)
        raise


def refuse_channelless(model: nn.Module, graph: ChannelGraph, name: str) -> None:
    """Refuses a module that is no layer, with the layers that a user may mean.

    Raises:
        SurgeryError: The model has a module of this name, and it has no channels of its own.
    """
    module = dict(model.named_modules()).get(name)
    if module is None or name in graph.layers:
        return
    inside = [layer for layer in graph.layers if layer.startswith(f"{name}.") or not name]
    own = {f"{name}.{key}" for key, _ in module.named_parameters(recurse=False)}
    if inside:
        way = f"Name one of the layers in it: {_listed(inside)}."
    elif not own:
        way = f"Name the layer in front of it. Layers: {_listed(list(graph.layers))}."
    elif writers := _writers(graph, own):
        way = f"Its size follows the channels of {_listed(writers)}: name that layer instead."
        if len(writers) > 1:
            way = f"Its size follows those of {_listed(writers)}: name one of these layers instead."
    else:
        way = f"Its size is fixed by what is around it. Layers: {_listed(list(graph.layers))}."
    kind = type(module).__name__
    raise SurgeryError(f"{name!r} ({kind}) has no channels of its own. {way}")


def _writers(graph: ChannelGraph, tensors: set[str]) -> list[str]:
    """The layers whose channels reach some tensors."""
    return [
        layer
        for layer, group in graph.editable.items()
        if any(axis.tensor in tensors for axis in group.axes)
    ]


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    listed = ", ".join(map(repr, names[:_SHOWN])) or "none"
    return f"{listed} and {more} more" if more > 0 else listed
