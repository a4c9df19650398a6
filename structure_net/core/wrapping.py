"""Models that hide the module which is to be traced or edited."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

# By name, since some are imported by those only who use them.
_PARALLEL: Final = {"DistributedDataParallel", "DataParallel", "FullyShardedDataParallel"}


def wrapped(model: nn.Module) -> str | None:
    """Why a model cannot be traced or edited as it is, with the way out; None where it can.

    A wrapper keeps its own view of the parameters, or code that was made for their sizes.
    """
    kinds = {kind.__name__ for kind in type(model).__mro__}
    if hasattr(model, "_orig_mod"):
        return "The model is compiled; pass `model._orig_mod`, then compile it again."
    if parallel := kinds & _PARALLEL:
        return (
            f"The model is wrapped in {parallel.pop()}, which keeps its own view of the "
            "parameters; pass `model.module` on every rank with the same seed, then wrap it again."
        )
    if isinstance(model, torch.jit.ScriptModule):
        return "The model is scripted; pass the `nn.Module` that it was made from."
    for name, module in model.named_modules():
        kinds = {kind.__name__ for kind in type(module).__mro__}
        if "FSDPModule" in kinds or (kinds & _PARALLEL):
            return (
                f"The module {name!r} is wrapped for several devices; edit the model before that."
            )
        if module._compiled_call_impl is not None or hasattr(module, "_orig_mod"):
            return f"The module {name!r} is compiled; edit the model before compiling it."
    return None
