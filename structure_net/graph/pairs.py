"""Sums over channels that no parameter reads: how they grow, and how copies share them.

In ``softmax(q k^T) v`` the channels of ``q`` and ``k`` are written by two layers and read by none,
so that no column could be zero for a new channel. What can be zero is what one of the two writes:
silent writers on one side, fresh ones on the other, which hand the silent side its gradient from
the first step on. A plain sum over channels asks for silent writers, too. When channels are copied,
what one side writes is divided among the copies, for which it has to reach the sum by linear
operations and nothing else. Attention that divides by the root of the width asks for that side to
be multiplied by the root of the growth as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from structure_net.graph.channels import Fill, Growth, Role
from structure_net.graph.index import Index
from structure_net.graph.ledger import Contraction, Origin, Step
from structure_net.graph.sizes import Prod, Var, leaves, resolve
from structure_net.graph.states import KEEPING, SUMS, Expectation, RefusalError, State

CHOICES: Final = 6
"""How many ways of making one tensor zero are tried."""

_DEAD: Final = frozenset((
    "relu", "relu6", "threshold", "hardshrink", "softshrink", "tanhshrink", "abs", "square", "pow",
    "linalg_vector_norm", "norm", "floor", "ceil", "round", "trunc", "sign", "amax", "amin",
    "detach", "zeros_like", "ones_like", "full_like", "empty_like", "eq", "ne", "ge", "le", "gt",
    "lt",
))  # fmt: skip
"""Operations whose slope at zero is zero."""

Path = tuple[frozenset[Origin], frozenset[int]]
"""What writes a tensor, and the steps from there on."""


def expected(index: Index, var: Var, growth: Growth) -> tuple[Expectation, dict[Origin, Fill]]:
    """What new entries of every parameter axis hold, so that all sums over the channels stay.

    Args:
        index: What the program does.
        var: What grows.
        growth: How it grows.

    Returns:
        The states of new channels and the fills.

    Raises:
        RefusalError: The function would not be kept, or silent channels would never learn.
    """
    _refuse_heads(index, var)
    found = _search(index, var, growth, frozenset(), len(index.contractions(var)))
    if found is not None:
        return found
    first = index.contractions(var)[0]
    raise RefusalError(f"{first}, which contracts the channels of what cannot be silent and learn")


def _refuse_heads(index: Index, var: Var) -> None:
    """The width of one of several heads stays: the code scales by it, or rotates it."""
    beside = {v for c in index.contractions(var) for expr in c.lead for v in leaves(expr)} - {var}
    for origin in index.origins.get(var, ()):
        if _shared(index, origin, var, beside):
            raise RefusalError(
                f"{index.contractions(var)[0]}, which contracts the channels of each head"
            )


def _shared(index: Index, origin: Origin, var: Var, beside: set[Var]) -> bool:
    """Whether an axis is a product of ``var`` and one of some others."""
    expr = index.expr(origin)
    parts = expr.parts if not isinstance(expr, Prod) and hasattr(expr, "parts") else (expr,)
    products = (resolve(part) for part in parts)
    return any(
        isinstance(p, Prod) and var in leaves(p) and not beside.isdisjoint(leaves(p))
        for p in products
    )


def _search(
    index: Index, var: Var, growth: Growth, silent: frozenset[Origin], depth: int
) -> tuple[Expectation, dict[Origin, Fill]] | None:
    """Silences one side after the other until every sum stays; the first way that can learn."""
    expectation = Expectation(index, var, growth, silent)
    fills = expectation.fills()
    open_ = next((c for c in index.contractions(var) if not _holds(expectation, c)), None)
    if open_ is None:
        return (expectation, fills) if _learns(expectation, fills, silent) else None
    if depth < 1:
        return None
    for more in _choices(expectation, open_):
        if more <= silent:
            continue
        try:
            found = _search(index, var, growth, silent | more, depth - 1)
        except RefusalError:
            continue
        if found is not None:
            return found
    return None


def _holds(expectation: Expectation, contraction: Contraction) -> bool:
    return any(expectation.states.get(source) is State.ZERO for source in contraction.sources)


def _choices(expectation: Expectation, contraction: Contraction) -> list[frozenset[Origin]]:
    """Sets of parameter axes whose zeros make one of the summed tensors zero."""
    found: dict[frozenset[Origin], None] = {}
    for source in contraction.sources:
        for choice in _silencers(expectation, source, {}):
            found[choice] = None
    return list(found)


def _silencers(
    expectation: Expectation, step: int, known: dict[int, list[frozenset[Origin]]]
) -> list[frozenset[Origin]]:
    if step in known:
        return known[step]
    known[step] = []
    index, ledger = expectation.index, expectation.ledger
    operation = ledger.steps[step].operation
    name = ledger.parameter_steps.get(step)
    writers = frozenset(
        origin
        for origin, use in index.uses_by_step.get(step, ())
        if use.role is Role.WRITES and origin in expectation.written
    )
    if name is not None:
        own = {origin for origin in expectation.written if origin[0] == name}
        found = [frozenset(own)]
    elif writers and operation not in SUMS:
        found = [writers]
    else:
        spanning = [i for i in ledger.steps[step].inputs if i in expectation.states]
        each = [_silencers(expectation, i, known) for i in spanning]
        found = (
            [c for choices in each for c in choices]
            if operation in ("mul", "matmul", "bmm", "einsum")
            else _together(each)
        )
    kept = [c for c in found if _can_be_silent(expectation, c)]
    known[step] = kept[:CHOICES]
    return known[step]


def _together(each: list[list[frozenset[Origin]]]) -> list[frozenset[Origin]]:
    """What silences all of several tensors."""
    if not each or not all(each):
        return []
    out = each[0]
    for choices in each[1:]:
        out = [one | two for one in out for two in choices][:CHOICES]
    return out


def _can_be_silent(expectation: Expectation, choice: frozenset[Origin]) -> bool:
    ledger = expectation.ledger
    return bool(choice) and not any(
        name in ledger.leaves or name not in ledger.trainable for name, _ in choice
    )


def _learns(expectation: Expectation, fills: dict[Origin, Fill], silent: frozenset[Origin]) -> bool:
    """Whether what was silenced reaches something that hands it a gradient."""
    if not silent:
        return True
    index, states = expectation.index, expectation.states
    ends = _ends(expectation, fills)
    reached = {
        step
        for step in states
        if any(origin in silent for origin, _ in index.uses_by_step.get(step, ()))
    }
    for step in states:
        later = index.ledger.steps[step]
        if later.operation in _DEAD and step not in ends:
            reached.discard(step)
        elif not reached.isdisjoint(later.inputs) and later.operation not in _DEAD:
            reached.add(step)
    return not reached.isdisjoint(ends)


def _ends(expectation: Expectation, fills: dict[Origin, Fill]) -> set[int]:
    """The steps whose new channels get a gradient although they are zero."""
    index, states = expectation.index, expectation.states
    ends: set[int] = set()
    for contraction in index.contractions(expectation.var):
        silent = [s for s in contraction.sources if states.get(s) is State.ZERO]
        if len(silent) == 1 and contraction.linear:
            ends.update(silent)
    for origin, fill in fills.items():
        uses = index.ledger.uses[origin]
        if fill is Fill.RANDOM:
            ends.update(u.operand for u in uses if u.role is Role.READS and u.operand is not None)
    return ends


def shared(index: Index, var: Var) -> set[Origin]:
    """What has to be divided among copies of the channels, so that every sum over them stays.

    Raises:
        RefusalError: It is not certain that copies keep the function.
    """
    if not index.contractions(var):
        return set()
    _refuse_heads(index, var)
    waiting = list(index.contractions(var))
    for contraction in waiting:
        if contraction.root or not contraction.linear:
            raise RefusalError(f"{contraction}, under which copies do not share linearly")
    out: set[Origin] = set()
    while waiting:
        step, origins = _share(index, var, waiting)
        waiting = [c for c in waiting if c.step not in step]
        out |= origins
    return out


def rooted(index: Index, var: Var) -> dict[Origin, float]:
    """What has to be multiplied by a power of the growth where attention divides by the root of the
    width.

    Raises:
        RefusalError: It is not certain that this keeps the function.
    """
    waiting = [c for c in index.contractions(var) if c.root]
    out: dict[Origin, float] = {}
    while waiting:
        if index.norms(var):
            raise RefusalError(f"{waiting[0]}, whose scale depends on the size of a head")
        step, origins = _share(index, var, waiting)
        waiting = [c for c in waiting if c.step not in step]
        out.update(dict.fromkeys(origins, 0.5))
    return out


def _share(
    index: Index, var: Var, waiting: list[Contraction]
) -> tuple[frozenset[int], frozenset[Origin]]:
    """The sums that dividing what writes one side of the first of them is right for."""
    places = {c.step: c for c in waiting}
    for source in waiting[0].sources:
        for origins, steps in _linear(index, var, source):
            ends = _served(index, var, origins, steps, places)
            if ends is not None:
                return ends, origins
    raise RefusalError(f"{waiting[0]}, which contracts the channels of what copies cannot share")


def _linear(index: Index, var: Var, step: int) -> Iterator[Path]:
    """The ways in which a tensor is linear in what writes it, other factors held."""
    ledger = index.ledger
    spans = set(index.steps.get(var, ()))
    operation = ledger.steps[step].operation
    if step in ledger.parameter_steps:
        name = ledger.parameter_steps[step]
        own = frozenset(o for o in index.origins[var] if o[0] == name)
        yield own, frozenset({step})
        return
    writers = frozenset(
        origin
        for origin, use in index.uses_by_step.get(step, ())
        if use.role is Role.WRITES and var in leaves(index.expr(origin))
    )
    carried = [i for i in ledger.steps[step].inputs if i in spans and not index.parametric(i)]
    if writers and operation not in SUMS:
        if operation in _PRODUCTS and not carried:
            yield writers, frozenset({step})
        return
    if operation == "mul" or (operation in KEEPING and len(carried) == 1) or operation == "div":
        above = ledger.steps[step].inputs[:1]
        among = [i for i in carried if i in above] if operation == "div" else carried
        for i in among:
            for origins, steps in _linear(index, var, i):
                yield origins, steps | {step}
    elif operation in ("cat", "stack") or (
        operation in ("add", "sub") and len(ledger.steps[step].inputs) > 1
    ):
        yield from _added(index, var, step, ledger.steps[step].inputs)


_PRODUCTS: Final = frozenset((
    "linear", "addmm", "mm", "bmm", "matmul", "einsum", "embedding", "embedding_bag", "conv1d",
    "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "bilinear",
))  # fmt: skip


def _added(index: Index, var: Var, step: int, inputs: Iterable[int]) -> Iterator[Path]:
    """A sum is linear in what writes all of its terms at once."""
    spans = set(index.steps.get(var, ()))
    origins: frozenset[Origin] = frozenset()
    steps: frozenset[int] = frozenset({step})
    for i in inputs:
        first = next(_linear(index, var, i), None) if i in spans else None
        if first is None:
            return
        origins, steps = origins | first[0], steps | first[1]
    yield origins, steps


def _is_linear(step: Step, path: frozenset[int]) -> bool:
    """Whether a product on the way has a single factor that is on the way."""
    products = ("mul", "div")
    return step.operation not in products or sum(i in path for i in step.inputs) == 1


def _served(
    index: Index,
    var: Var,
    origins: frozenset[Origin],
    steps: frozenset[int],
    places: dict[int, Contraction],
) -> frozenset[int] | None:
    """The sums that some writers reach; None where they reach anything else."""
    ledger = index.ledger
    names = {name for name, _ in origins}
    own = {step for step, name in ledger.parameter_steps.items() if name in names}
    ends: set[int] = set()
    for step in steps | own:
        if step in ledger.results or not _is_linear(ledger.steps[step], steps):
            return None
        for reader in index.readers.get(step, ()):
            if reader in places and reader not in steps:
                if sum(source in steps for source in places[reader].sources) != 1:
                    return None
                ends.add(reader)
            elif reader not in steps:
                return None
    written = all(
        use.step in steps and use.role in (Role.WRITES, Role.SHIFTS)
        for origin in origins
        for use in ledger.uses[origin]
    )
    return frozenset(ends) if written and ends else None
