"""Runs a model before and after an edit, and says whether it still computes what it did."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from structure_net.core.running import call, preserve
from structure_net.core.undoing import Undoing, hooked, moded, set_gradients
from structure_net.errors import PreservationError, SurgeryError
from structure_net.surgery.factors import Factor, Factors, changed_factor

# An edit that keeps the function adds exact zeros or halves exactly; sums are taken in another
# order, and what follows amplifies that rounding. The bounds leave two to three digits for it,
# relative to the largest output, while a wrong edit moves the first digits. Models in float64 often
# normalise in float32 inside, so that their bound is single.
_TOLERANCE: Final = {
    torch.float64: 1e-6,
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
}


Shapes = tuple[tuple[int, ...], ...]

# What torch's own modules do in training as in evaluation: all but these.
_WITH_MODES: Final = (
    nn.modules.batchnorm._NormBase,
    nn.modules.dropout._DropoutNd,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RReLU,
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoder,
    nn.TransformerDecoderLayer,
)


@dataclass(frozen=True, slots=True)
class Observed:
    """What a model computed on the example.

    Args:
        outputs: Its output tensors in eval mode, in order.
        factors: The plain factors in its code, in order.
        training: The shapes of its output tensors in its own modes, where it trains and runs so;
            a branch of the forward may exist in training alone.
        presumed: Whether ``training`` was not looked at, and holds the shapes of eval mode.
    """

    outputs: tuple[Tensor, ...]
    factors: tuple[Factor, ...] = ()
    training: Shapes | None = None
    presumed: bool = False


class TrainingDiffers(Exception):  # noqa: N818 - no error: it asks for a second look
    """The edited model does in training what it did not in evaluation, perhaps as it did before the
    edit; look at the training of the model before the edit (`observe_training`), and edit again.
    """


def observe(model: nn.Module, example: Any) -> Observed:
    """Runs the example in eval mode without gradients; modes, buffers and random states are as
    before.
    """
    factors, undo = Factors(), Undoing()
    with undo, undo:
        preserve(model, undo)
        set_gradients(undo, on=False)
        _full_precision(undo)
        moded(undo, factors)
        model.eval()
        outputs = tuple(_tensors(call(model, example)))
    return Observed(outputs, tuple(factors.seen))


def observe_before(model: nn.Module, example: Any) -> Observed:
    """`observe`; where the model trains, the shapes in training are presumed to be the same.

    Raises:
        SurgeryError: The model does not run on the example.
    """
    try:
        seen = observe(model, example)
    except SurgeryError:
        raise
    except Exception as error:
        # The user's own code ran, which may raise anything; it is told on, not swallowed.
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        said = said if said.endswith((".", "!", "?")) else f"{said}."
        raise SurgeryError(
            f"The model does not run on the example, at {_where(error)}: {said} Pass inputs as the "
            "model takes them, in its dtype: a tensor, a tuple, or a dict of named inputs."
        ) from error
    if not any(module.training and _has_modes(module) for module in model.modules()):
        return seen
    return replace(seen, training=_shapes(seen.outputs), presumed=True)


def observe_training(model: nn.Module, example: Any, seen: Observed) -> Observed:
    """``seen`` with the shapes in the model's own modes, where the example allows them."""
    try:
        return replace(seen, training=_own_shapes(model, example), presumed=False)
    except (RuntimeError, ValueError):  # a single example may be too few for a BatchNorm
        return replace(seen, training=None, presumed=False)


def _has_modes(module: nn.Module) -> bool:
    """Whether a module may do in training what it does not in evaluation."""
    own = type(module).__module__.startswith("torch.nn.modules.") and "forward" not in vars(module)
    hooked = module._forward_hooks or module._forward_pre_hooks
    return not own or bool(hooked) or isinstance(module, _WITH_MODES)


def _own_shapes(model: nn.Module, example: Any) -> Shapes:
    undo = Undoing()
    with undo, undo:
        preserve(model, undo)
        set_gradients(undo, on=False)
        return _shapes(_tensors(call(model, example)))


def _shapes(tensors: Iterable[Tensor]) -> Shapes:
    return tuple(tuple(tensor.shape) for tensor in tensors)


def _full_precision(undo: Undoing) -> None:
    """Matrix products and convolutions on CUDA in the precision of their dtype, without TF32."""
    if not torch.cuda.is_initialized():
        return
    cudnn: Any = torch.backends.cudnn
    kinds: list[Any] = [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn]
    for kind in kinds:
        undo.later(partial(setattr, kind, "fp32_precision", kind.fp32_precision))
        kind.fp32_precision = "ieee"


def _tensors(output: Any) -> Iterator[Tensor]:
    for leaf in pytree.tree_leaves(output):
        if isinstance(leaf, Tensor):
            yield leaf
        elif hasattr(leaf, "__dict__"):
            yield from (v for v in vars(leaf).values() if isinstance(v, Tensor))


def observe_after(
    model: nn.Module, example: Any, edit: object, before: Observed, grafts: Iterable[str] = ()
) -> Observed:
    """What ``before`` has, on the edited model.

    Raises:
        SurgeryError: The model does not run any more; the message names the line of its forward. Or
            one of the new ``grafts`` does not take part.
        TrainingDiffers: It runs in evaluation but not in training, where ``before`` only presumes
            that it did.
    """
    ran: set[str] = set()
    undo = Undoing()
    with undo, undo:
        for name in grafts:
            hooked(undo, model.get_submodule(name), partial(_note_run, ran, name), before=True)
        try:
            after = observe(model, example)
            if before.training is not None:
                after = replace(after, training=_training_after(model, example, before))
        except TrainingDiffers:
            raise
        except Exception as error:
            # The user's own code ran, which may raise anything; it is told on, not swallowed.
            raise SurgeryError(_unfit(edit, error)) from error
    for name in grafts:
        if name not in ran:
            raise SurgeryError(
                f"{edit} was undone: the new module {name!r} would not run, because the model "
                "reads the layer's "
                "weights instead of calling the layer. Put it behind the module around the layer."
            )
    return after


def _training_after(model: nn.Module, example: Any, before: Observed) -> Shapes:
    """The shapes in the edited model's own modes.

    Raises:
        TrainingDiffers: They are not as ``before`` presumes, or it does not run.
    """
    if not before.presumed:
        return _own_shapes(model, example)
    try:
        shapes = _own_shapes(model, example)
    except Exception as error:
        # The user's own code ran, which may raise anything; a second look tells whether it did so
        # before the edit.
        raise TrainingDiffers from error
    if shapes != before.training:
        raise TrainingDiffers
    return shapes


def _note_run(ran: set[str], name: str, *_: Any) -> None:
    ran.add(name)


def _unfit(edit: object, error: Exception) -> str:
    said = str(error).strip().splitlines()
    first = said[0] if said else type(error).__name__
    return (
        f"{edit} was undone: the model does not run with its new sizes. {_where(error)}: {first} "
        "A size is written out there, or kept where the edit cannot see it; take it from the "
        "tensors "
        "(x.flatten(1), x.shape[-1], layer.out_features) instead."
    )


def _where(error: Exception) -> str:
    """The innermost line that belongs to neither torch nor this package."""
    ours = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(ours)]
    if not theirs:
        return f"{frames[-1].name}"
    frame = theirs[-1]
    return f"{frame.filename}, line {frame.lineno}, `{frame.line}`"


def check_same(
    before: Observed, after: Observed, edit: object, *, values: bool, factors: bool = False
) -> None:
    """Compares two observations.

    Args:
        before: Before the edit.
        after: After it.
        edit: For the message.
        values: Whether the edit promises to keep the function; else only the shapes must agree.
        factors: Whether plain factors in the model's code must be the same, as under every edit
            that changes widths alone.

    Raises:
        SurgeryError: The model's code computes a factor from a size that changed.
        PreservationError: An output has another shape, or differs by more than the dtype's rounding
            allows.
    """
    shapes = [
        (tuple(tuple(t.shape) for t in seen.outputs), seen.training) for seen in (before, after)
    ]
    if shapes[0] != shapes[1]:
        raise PreservationError(
            f"{edit} was undone: the model's outputs (in eval mode, in training) had shapes "
            f"{shapes[0]} and have {shapes[1]} after it."
        )
    change = changed_factor(before.factors, after.factors) if factors else None
    if change is not None:
        raise SurgeryError(
            f"{edit} was undone: the model's code multiplies or divides by a number that depends "
            f"on the size: {change}. Keep the number as an attribute that does not follow the size."
        )
    if not values:
        return
    for old, new in zip(before.outputs, after.outputs, strict=True):
        _check_close(old, new, edit)


def _check_close(old: Tensor, new: Tensor, edit: object) -> None:
    if not old.is_floating_point():
        if not torch.equal(old, new):
            raise PreservationError(f"{edit} was undone: it changes the model's integer outputs.")
        return
    bound = tolerance(old) * max(1.0, _largest(old))
    gap = _largest(torch.nan_to_num(old - new, nan=0.0, posinf=0.0, neginf=0.0))
    if gap > bound or not torch.equal(old.isfinite(), new.isfinite()):
        raise PreservationError(
            f"{edit} was undone: it promises to keep the function, and the output moved by "
            f"{gap:.3g} "
            f"(rounding would explain {bound:.3g}). Please report the model; verify=False "
            "applies the edit anyway."
        )


def _largest(tensor: Tensor) -> float:
    finite = torch.nan_to_num(tensor, nan=0.0, posinf=0.0, neginf=0.0)
    return finite.abs().max().item() if tensor.numel() else 0.0


def tolerance(output: Tensor) -> float:
    """How far rounding may move an output, relative to the larger of 1 and its largest entry."""
    return _TOLERANCE.get(output.dtype, _TOLERANCE[torch.bfloat16])
