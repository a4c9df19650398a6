"""Einstein's sum over any number of tensors."""

from __future__ import annotations

from structure_net.graph.channels import Role
from structure_net.graph.ledger import Axes, Dim
from structure_net.graph.rules.call import SIZE_ONE, Call, Operand
from structure_net.graph.rules.elementwise import parametric
from structure_net.graph.rules.registry import rule, unknown
from structure_net.graph.sizes import Prod

Place = tuple[Operand, int]
"""An axis of a tensor."""


@rule("einsum")
def einsum(call: Call) -> Axes | list[Axes]:
    """Einstein's sum: a label that is summed is a contraction, a label that stays is an axis."""
    operands = list(call["tensors"])
    labels = _labels(call["equation"], operands, len(call.shape))
    if labels is None:
        return unknown(call)
    inputs, output = labels
    places = {
        label: _places(call, label, inputs, operands) for label in dict.fromkeys("".join(inputs))
    }
    for found in places.values():
        for operand, i in found[1:]:
            call.unify(found[0][0].expr(found[0][1]), operand.expr(i))
    for label, found in places.items():
        if label not in output:
            _contract(call, found, [places[name] for name in output])
        elif len(found) > 1:
            for operand, i in found:
                call.use(operand.axes[i], Role.SCALES)
    for operand, names in zip(operands, inputs, strict=True):
        _register(call, operand, names, inputs, output)
    return tuple(_dim(places[label]) for label in output)


@rule("tensordot")
def tensordot(call: Call) -> Axes:
    """A sum over pairs of axes of two tensors; the others stand side by side."""
    pair = call.tensor("self"), call.tensor("other")
    summed = [
        [call.dim(d, operand.dims) for d in call[name]]
        for operand, name in zip(pair, ("dims_self", "dims_other"), strict=True)
    ]
    for i, j in zip(*summed, strict=True):
        call.contract((pair[0], i), (pair[1], j))
    out: list[Dim] = []
    for operand, gone in zip(pair, summed, strict=True):
        own = [i for i in range(operand.dims) if i not in gone]
        if parametric(operand) and own:
            for i in own:
                call.use(operand.axes[i], Role.WRITES)
            call.layer(operand, "product", Prod(tuple(operand.expr(i) for i in own)))
        out += [Dim(operand.expr(i)) for i in own]
    return tuple(out)


def _labels(equation: str, operands: list[Operand], dims: int) -> tuple[list[str], str] | None:
    """The labels of the operands and of the result, ellipses spelled out; None where a label occurs
    twice in one."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if not arrow:
        counts = {c: left.count(c) for c in left if c.isalpha()}
        right = "..." * ("..." in left) + "".join(sorted(c for c, n in counts.items() if n == 1))
    spare = "0123456789"
    wide = max(
        (o.dims - len(n.replace("...", "")) for n, o in zip(inputs, operands, strict=True)),
        default=0,
    )
    full = []
    for names, operand in zip(inputs, operands, strict=True):
        count = operand.dims - len(names.replace("...", ""))
        full.append(names.replace("...", spare[wide - count : wide]))
    output = right.replace("...", spare[:wide])
    if len(output) != dims or any(len(set(names)) != len(names) for names in full):
        return None
    return full, output


def _places(call: Call, label: str, inputs: list[str], operands: list[Operand]) -> list[Place]:
    """Where a label stands, axes that are broadcast left out."""
    found = [
        (o, names.index(label)) for o, names in zip(operands, inputs, strict=True) if label in names
    ]
    return [(operand, i) for operand, i in found if call.wide(operand.expr(i))]


def _dim(places: list[Place]) -> Dim:
    return Dim(places[0][0].expr(places[0][1])) if places else SIZE_ONE


def _contract(call: Call, places: list[Place], kept: list[list[Place]]) -> None:
    """A label that is summed: of two tensors, of one, or of more."""
    steps = {operand.step for operand, _ in places}
    beside = [_dim(k) for k in kept if steps <= {operand.step for operand, _ in k} and len(k) > 1]
    if len(places) == 2:
        call.contract(places[0], places[1], beside)
    elif places:
        _sum(call, places, beside)


def _sum(call: Call, places: list[Place], beside: list[Dim]) -> None:
    operand, i = places[0]
    known = [(o, j) for o, j in places if o.axes[j].origins]
    readers = [(o, j) for o, j in known if len(places) > 1 and call.learns(o.axes[j])]
    if readers:
        reader, j = readers[-1]
        rest = [(o, k) for o, k in places if o is not reader]
        call.use(reader.axes[j], Role.READS, rest[0][0])
        for other, k in rest:
            call.use(other.axes[k], Role.SCALES)
    elif known:
        call.freeze(operand.expr(i), "which sums the channels")
    else:
        call.sums(operand.expr(i), [o for o, _ in places], beside)


def _register(call: Call, operand: Operand, names: str, inputs: list[str], output: str) -> None:
    """The axes that a parameter brings into the result by itself are what it writes."""
    if not parametric(operand):
        return
    own = [
        i
        for i, label in enumerate(names)
        if label in output and sum(label in other for other in inputs) == 1
    ]
    for i in own:
        call.use(operand.axes[i], Role.WRITES)
    if own and any(operand.axes[i].origins for i in own):
        call.layer(operand, "product", Prod(tuple(operand.expr(i) for i in own)))
