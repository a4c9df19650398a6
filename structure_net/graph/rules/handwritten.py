"""Normalisations over the channels that are written out: ``x * rsqrt(mean(x^2) + eps)`` and its
relatives.

A mean over the channels is no reader that could be zeroed, so it fixes them, unless the steps
behind it add up to a normalisation, which is a recipe of its own. `recognise` follows the stages
from step to step.
"""

from __future__ import annotations

from dataclasses import replace

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim, Tag
from structure_net.graph.rules.call import SIZE_ONE, Call, Operand
from structure_net.graph.rules.elementwise import COPIES, UNARY, broadcast
from structure_net.graph.sizes import leaves, resolve

MOVES = (
    "view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "expand",
    *(name for name in COPIES if name != "neg"),
)  # fmt: skip
"""Operations behind which a parameter holds the same entries."""
PENDING = ("mean", "centred", "power", "shifted", "root", "inverse", "function")
SIZED = ("power", "shifted", "root", "inverse", "function")
"""Stages that hold one number for all channels, which depends on their mean square alone."""
NUMERIC = ("add", "sub", "rsub", "mul", "div", "pow", "clamp", "clamp_min", "clamp_max", *UNARY)


def recognise(call: Call) -> Axes | None:
    """The axes of a step that belongs to a normalisation, with ``call.tag`` set; None where it is
    any other step."""
    tensors = call.operands
    axes = None
    if call.operation in COPIES and tensors:
        return None
    if len(tensors) == 1:
        axes = _one(call, tensors[0])
    elif len(tensors) == 2 and call.operation in ("mul", "div", "sub", "add"):
        axes = _two(call, tensors[0], tensors[1])
    if axes is not None:
        _follow(call)
    return axes


def _follow(call: Call) -> None:
    """Notes the step among those of its normalisation."""
    before = (operand.tag.steps for operand in call.operands if operand.tag is not None)
    steps = tuple(dict.fromkeys(step for steps in before for step in (*steps, call.step)))
    if call.tag is not None:
        call.tag = replace(call.tag, steps=steps or (call.step,))
        if call.tag.norm is not None and not call.ledger.norms[call.tag.norm].members:
            call.ledger.norms[call.tag.norm].members = call.tag.steps


def abandon(call: Call) -> None:
    """The channels behind a stage that is used for something else can only be copied; a normalised
    result then has no gain."""
    for operand in call.operands:
        tag = operand.tag
        if tag is None or call.operation in COPIES:
            continue
        if tag.stage in PENDING:
            operation = call.ledger.steps[tag.steps[0]].operation if tag.lost else "mean"
            call.norm("mixing", tag.expr, tag.source, operation=operation, lost=tag.lost)
        elif tag.stage == "normalised" and tag.norm is not None:
            call.ledger.bare_norms.add(tag.norm)


def _origin(call: Call, x: Operand) -> int:
    """The step that made the values of ``x``, copies and casts aside."""
    return call.ledger.copies.get(x.step, x.step)


def _one(call: Call, x: Operand) -> Axes | None:
    operation, tag = call.operation, x.tag
    stage = None if tag is None else tag.stage
    if operation == "square" or (operation == "pow" and call["exponent"] == 2):
        source, centred = (
            (tag.source, True) if tag and stage == "centred" else (_origin(call, x), False)
        )
        expr = tag.expr if tag and stage == "centred" else x.expr(-1) if x.dims else None
        call.tag = None if expr is None else Tag("square", source, expr, centred)
    elif operation in ("mean", "var", "std"):
        return _moment(call, x)
    elif tag is not None and stage == "power" and operation == "add":
        call.tag = replace(tag, stage="shifted", epsilon=(float(call["other"]), call.module))
    elif tag is not None and stage == "shifted" and operation in ("sqrt", "rsqrt", "pow"):
        power = {"sqrt": 0.5, "rsqrt": -0.5}.get(operation, call["exponent"])
        call.tag = {0.5: replace(tag, stage="root"), -0.5: replace(tag, stage="inverse")}.get(power)
    elif tag is not None and stage == "root" and operation == "reciprocal":
        call.tag = replace(tag, stage="inverse")
    if call.tag is None and tag is not None and stage in SIZED and operation in NUMERIC:
        call.tag = replace(tag, stage="function", epsilon=None)
    return None if call.tag is None else broadcast(call, (x,))


def _moment(call: Call, x: Operand) -> Axes | None:
    """A mean, a mean square or a variance over one axis that could change."""
    dims = call["dim"]
    if not call["keepdim"] or not isinstance(dims, (list, tuple)) or len(dims) != 1:
        return None
    dim = call.dim(dims[0], x.dims)
    expr = x.expr(dim)
    if not leaves(expr) or any(origin for d in x.axes for origin in d.origins):
        return None
    tag = x.tag
    if call.operation in ("var", "std"):
        biased = call["correction"] == 0 or call["unbiased"] is False
        plain = biased or (call["correction"] in (None, 1) and call["unbiased"] is not False)
        stage = "power" if call.operation == "var" else "function"
        tag = Tag(stage, _origin(call, x), expr, centred=True, lost=0 if biased else 1)
        call.tag = tag if plain and x.tag is None else None
    elif tag is not None and tag.stage == "square" and tag.expr == expr:
        call.tag = replace(tag, stage="power")
    elif tag is None:
        call.tag = Tag("mean", _origin(call, x), expr)
    if call.tag is None:
        return None
    return tuple(SIZE_ONE if i == dim else Dim(d.expr) for i, d in enumerate(x.axes))


def _two(call: Call, first: Operand, second: Operand) -> Axes | None:
    for x, other in ((first, second), (second, first)):
        axes = _centre(call, x, other) or _square(call, x, other) or _normalise(call, x, other)
        axes = axes or _gain(call, x, other)
        if axes is not None:
            return axes
    return None


def _centre(call: Call, x: Operand, mean: Operand) -> Axes | None:
    tag = mean.tag
    if (
        call.operation != "sub"
        or tag is None
        or tag.stage != "mean"
        or tag.source != _origin(call, x)
    ):
        return None
    if call.operands[0] is not x or call["alpha"] not in (None, 1):
        return None
    call.tag = replace(tag, stage="centred", centred=True)
    return broadcast(call, (x, mean))


def _square(call: Call, x: Operand, other: Operand) -> Axes | None:
    if call.operation != "mul" or _origin(call, x) != _origin(call, other) or not x.dims:
        return None
    tag = x.tag
    if tag is not None and tag.stage == "centred":
        call.tag = Tag("square", tag.source, tag.expr, centred=True)
    else:
        call.tag = Tag("square", _origin(call, x), x.expr(-1))
    return broadcast(call, (x, other))


def _normalise(call: Call, x: Operand, factor: Operand) -> Axes | None:
    tag = factor.tag
    if tag is None or tag.stage not in SIZED or call.operation not in ("mul", "div"):
        return None
    if call.operation == "div" and call.operands[0] is not x:
        return None
    own = x.tag
    centred = own is not None and own.stage == "centred" and own.source == tag.source
    plain = _origin(call, x) == tag.source and not tag.centred
    if not (plain or (centred and tag.centred)):
        return None
    kind = "layer" if tag.centred else "rms"
    followable = tag.stage == {"mul": "inverse", "div": "root"}[call.operation] and not tag.lost
    value, module = tag.epsilon if followable and tag.epsilon is not None else (None, "")
    index = call.norm(
        kind, tag.expr, tag.source, epsilon=value, epsilon_module=module, lost=tag.lost
    )
    gain = own.gain if own is not None and centred else None
    call.ledger.norms[index].gain = gain
    call.tag = replace(tag, stage="gained" if gain else "normalised", norm=index)
    return broadcast(call, (x, factor))


def _gain(call: Call, x: Operand, table: Operand) -> Axes | None:
    """``normalised * gain``, then ``+ bias``."""
    tag = x.tag
    if tag is None or (tag.norm is None and tag.stage != "centred") or not table.dims:
        return None
    name, offset = stored(call, table)
    if name is None or call.operation not in ("mul", "add"):
        return None
    axes = broadcast(call, (x, table))
    wide = [resolve(dim.expr) for dim in table.axes if call.wide(dim.expr)]
    if wide != [resolve(tag.expr)]:
        return None
    if tag.norm is None:
        return axes if _gained_early(call, table, replace(tag, gain=name), offset) else None
    norm = call.ledger.norms[tag.norm]
    if call.operation == "mul" and tag.stage == "normalised" and norm.gain in (None, name):
        norm.gain, norm.offset = name, offset
        call.use_all(table, Role.SCALES)
        call.tag = replace(tag, stage="gained")
    elif call.operation == "add" and tag.stage == "gained" and not offset:
        call.use_all(table, Role.SHIFTS)
    else:
        return None
    return axes


def _gained_early(call: Call, table: Operand, tag: Tag, offset: float) -> bool:
    """``gain * (x - mean)``, which is divided later; with ``call.tag`` set."""
    if call.operation != "mul" or offset:
        return False
    call.use_all(table, Role.SCALES)
    call.tag = tag
    return True


def stored(call: Call, table: Operand) -> tuple[str | None, float]:
    """The name of the parameter that a tensor is, seen in another shape at most, and the number
    that was added to it; None where it is anything else."""
    step, steps, offset = table.step, call.ledger.steps, 0.0
    while len(steps[step].inputs) == 1:
        operation, numbers = steps[step].operation, steps[step].numbers
        if (
            operation == "add"
            and not offset
            and len(numbers) in (1, 2)
            and numbers[1:] in ((), (1.0,))
        ):
            offset = numbers[0]
        elif operation not in MOVES:
            break
        step = steps[step].inputs[0]
    return call.ledger.parameter_steps.get(step), offset
