"""Products with live weights in a row, a ReLU behind each: one step forward, and one back.

Autograd's own cost is some tens of microseconds for each function, which is more than small sparse
products take. A chain is one function, its operations are one pass each way, and what is rectified
is rectified while it lies in the nearest cache. The numbers are those of the layers one by one, bit
for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate, cycle
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from structure_net.core.live_index import LiveIndex
from structure_net.core.plans import Plans
from structure_net.core.sparse_compute import (
    address_of,
    features_first,
    lies_features_first,
    like_features_first,
)
from structure_net.core.sparse_gradients import check_kept, product
from structure_net.core.sparse_passes import Pass, Plan, slot


class Link(NamedTuple):
    """One product of a chain.

    Args:
        places: Where its weights stand.
        rectified: Whether a ReLU stands behind it.
    """

    places: LiveIndex
    rectified: bool


class Links(tuple[Link, ...]):
    """The products of a chain, in order.

    Attributes:
        plans: The passes that were planned for them.
    """

    def __init__(self, links: Iterable[Link]) -> None:
        del links  # are there already
        self.plans: Plans[Plan] = Plans()

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """The features of the inputs, and of each product."""
        return self[0].places.shape[1], *(link.places.shape[0] for link in self)

    @cached_property
    def between(self) -> int:
        """The features of the inputs and of all products but the last."""
        return sum(self.widths[:-1])

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many weights and biases each product has in turn."""
        return tuple(size for link in self for size in (link.places.count, link.places.shape[0]))


class _Activations(NamedTuple):
    """What a pass forward reads and writes.

    Args:
        held: The memory of inputs, if they had to be turned, and of all products but the last.
            Shape ``(features, batch)``.
        turned: Whether inputs had to be.
        outputs: Of the last product. Shape ``(batch, out)``.
        addresses: Of ``outputs``, inputs, ``held`` and parameters.
    """

    held: Tensor
    turned: bool
    outputs: Tensor
    addresses: list[int]


def chained(inputs: Tensor, parameters: Sequence[Tensor | None], links: Links) -> Tensor:
    """Several products in a row, differentiable by `Tensor.backward` and what builds on it.

    Callers see to it that all tensors are plain, contiguous but for the inputs, on the processor,
    of one type that kernels know, and fit the links and each other; and that no transform and no
    forward mode is active.

    Args:
        inputs: Shape ``(batch, in)``.
        parameters: Live weights and bias, which may be None, of each product in turn.
        links: The products, at least one.

    Returns:
        Shape ``(batch, out)``, features first.
    """
    if torch.is_grad_enabled():
        result: Tensor = _APPLY(links, inputs, *parameters)  # type: ignore[no-untyped-call]  # torch's
        return result
    return _forward(inputs, parameters, links).outputs


def chained_and_summed(
    inputs: Tensor, parameters: Sequence[Tensor | None], links: Links
) -> tuple[list[Tensor], list[Tensor]]:
    """`chained` without gradients, for who looks at what lies between.

    Args:
        inputs: Shape ``(batch, in)``, of at least one sample.
        parameters: As `chained` has them, like ``links``.
        links: The products.

    Returns:
        What each product gave, behind its ReLU: shape ``(batch, out)``, features first. Its
        `unit_sums.SUMS`: shape ``(6, units)``, float64.
    """
    widths = links.widths
    sums = [torch.empty(6, width, dtype=torch.float64) for width in widths[1:]]
    made = _forward(inputs, parameters, links, sums)
    return [*(part.t() for part in made.held.split(widths[:-1])[1:]), made.outputs], sums


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        links, inputs, *parameters = args
        made = _forward(inputs, parameters, links)
        ctx.links, ctx.turned, ctx.addresses = links, made.turned, made.addresses
        last = made.outputs if links[-1].rectified else None
        ctx.save_for_backward(last, inputs, made.held, *parameters)
        return made.outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        last, inputs, held, *parameters = saved = ctx.saved_tensors
        gradient, links, needs = gradients[0], ctx.links, ctx.needs_input_grad[1:]
        kept = _as_it_was(saved[1:], links, gradient, ctx.addresses, turned=ctx.turned)
        if not kept:
            _check_kept(saved, links, gradient)
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(gradient):
            return None, *_again(gradient, (inputs, *parameters), links, needs)
        if last is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, last, 0)
        if not kept:
            # What was saved came back elsewhere: hooks have moved it, or made it anew.
            held = held.contiguous()
            parameters = [None if one is None else one.contiguous() for one in parameters]
            if not ctx.turned:
                inputs = features_first(inputs)
            for one in (inputs, held, *parameters):
                if one is not None:
                    address_of(one)
        return None, *_back(gradient, (inputs, held, *parameters), links, needs, turned=ctx.turned)


# What `Function.apply` comes down to where no transform is active, at half the cost.
_APPLY: Final = super(torch.autograd.Function, _Chain).apply


def _forward(
    inputs: Tensor, parameters: Sequence[Tensor | None], links: Links, sums: Sequence[Tensor] = ()
) -> _Activations:
    """A pass forward; where ``sums`` are given, they are written on the way."""
    batch, kind = inputs.shape[0], inputs.dtype
    held = inputs.new_empty((links.between, batch))
    outputs = inputs.new_empty_strided((batch, links.widths[-1]), (1, batch))
    read, turned = _readable(inputs)
    plan = links.plans.of(_planned_forward, links, batch, kind, turned, bool(sums))
    addresses = [outputs.data_ptr(), address_of(read), held.data_ptr()]
    addresses += [0 if one is None else address_of(one) for one in parameters]
    summed = [one.data_ptr() for one in sums]
    plan.run(addresses + summed, kind, (read, held, outputs, parameters, sums))
    return _Activations(held, turned, outputs, addresses)


_OUTPUTS, _INPUTS, _HELD, _PARAMETERS = range(4)
"""Slots of a pass forward, the last for the first of the parameters; sums are behind these."""


def _planned_forward(
    links: Links, batch: int, kind: torch.dtype, turned: bool, summed: bool, /
) -> Plan:
    """The way of `_forward`."""
    way, after, last = Pass(batch), -1, len(links) - 1
    lines = _between(slot(_HELD), links, batch * kind.itemsize)
    read = slot(_INPUTS)
    if turned:
        after = way.transpose((read, lines[0]), links.widths[0], batch)
        read = lines[0]
    for number, (index, rectified) in enumerate(links):
        write = lines[number + 1] if number < last else slot(_OUTPUTS)
        weights, bias = (slot(_PARAMETERS + 2 * number + place) for place in (0, 1))
        after = way.multiply((read, weights, bias, write), index, rectified=rectified, after=after)
        if summed:
            to = slot(_PARAMETERS + 2 * len(links) + number)
            way.sum_up((write, to), index.shape[0], after=after)
        read = write
    return way.planned()


def _between(address: int, links: Links, step: int) -> list[int]:
    """Where inputs, and the products of all links but the last, lie behind ``address``.

    Args:
        address: Of memory for all of them.
        links: The products.
        step: Bytes from feature to feature.
    """
    return [address + step * lines for lines in accumulate(links.widths[:-2], initial=0)]


def _as_it_was(
    saved: Sequence[Any],
    links: Links,
    gradient: Tensor,
    addresses: Sequence[int],
    *,
    turned: bool,
) -> bool:
    """Whether inputs, activations and parameters are the memory that the pass forward read.

    Args:
        saved: What was saved.
        links: The products.
        gradient: Of the last of them.
        addresses: Of outputs, which are not among ``saved``, and of what was.
        turned: Whether what was read of the inputs are the activations.
    """
    if 0 in addresses:  # of a bias that there is not
        return False
    batch, inputs = gradient.shape[0], saved[0]
    if inputs.shape != (batch, links.widths[0]) or inputs.dtype is not gradient.dtype:
        return False
    if not (turned or lies_features_first(inputs)):
        return False
    sizes = [batch * links.widths[0], batch * links.between, *links.sizes]
    if [*map(Tensor.data_ptr, saved)] != addresses[1:] or [*map(Tensor.numel, saved)] != sizes:
        return False
    return {one.dtype for one in saved} == {gradient.dtype} and all(
        map(Tensor.is_contiguous, saved[1:])
    )


def _check_kept(tensors: tuple[Tensor | None, ...], links: Links, gradient: Tensor) -> None:
    """Refuses outputs, inputs, activations and parameters, as they were saved, that were exchanged
    since.
    """
    last, inputs, held, *parameters = tensors
    batch, width = gradient.shape[0], links.widths[0]
    assert inputs is not None
    assert held is not None
    check_kept("inputs", inputs, (batch, width), gradient)
    check_kept("activations", held, (links.between, batch), gradient)
    if last is not None:
        check_kept("outputs", last, gradient.shape, gradient)
    for place, link in enumerate(links):
        weights, bias = parameters[2 * place : 2 * place + 2]
        assert weights is not None
        check_kept("weights", weights, (link.places.count,), gradient)
        if bias is not None:
            check_kept("bias", bias, link.places.shape[:1], gradient)


def _back(
    gradient: Tensor, tensors: Sequence[Any], links: Links, needs: Sequence[bool], *, turned: bool
) -> list[Tensor | None]:
    """The way back through a chain.

    Args:
        gradient: Of the last product. Shape ``(batch, out)``.
        tensors: Inputs, features first unless ``turned``, the activations that were held, and
            parameters.
        links: The products.
        needs: Which gradients are wanted, of inputs and parameters.
        turned: Whether the inputs lie features first among the activations.

    Returns:
        The gradients that are wanted.
    """
    if not any(needs):
        return [None] * len(needs)
    inputs, batch, kind = tensors[0], gradient.shape[0], gradient.dtype
    read, turns = _readable(gradient)
    plan = links.plans.of(_planned_back, links, batch, kind, needs, (turned, turns))
    lines = gradient.new_empty((sum(links.widths[1:]), batch))
    found = [like_features_first(inputs, inputs.shape[1]) if needs[0] else None]
    found += [
        # Those of weights are written whether they are wanted or not.
        gradient.new_empty(size) if need or of_weights else None
        for size, need, of_weights in zip(links.sizes, needs[1:], cycle((True, False)))
    ]
    written = (lines, *tensors, *found)
    addresses = [0 if one is None else one.data_ptr() for one in written]
    plan.run([address_of(read), *addresses], kind, (read, *written))
    return [one if need else None for one, need in zip(found, needs, strict=True)]


def _planned_back(
    links: Links,
    batch: int,
    kind: torch.dtype,
    needs: Sequence[bool],
    turned: tuple[bool, bool],
    /,
) -> Plan:
    """The way of `_back`. Slots: gradient, memory for gradients between, `_back`'s tensors, and the
    gradients of all of these but the activations.
    """
    way, after, step = Pass(batch), -1, batch * kind.itemsize
    values, made = 4, 4 + 2 * len(links)
    reads = _between(slot(3), links, step)
    if not turned[0]:
        reads[0] = slot(2)
    read, room = slot(0), slot(1)
    if turned[1]:
        after = way.transpose((read, room), links.widths[-1], batch)
        read, room = room, room + links.widths[-1] * step
    first = 0 if needs[0] else (list(needs).index(True) - 1) // 2
    for number in range(len(links) - 1, first - 1, -1):
        index, at = links[number].places, 2 * number
        if needs[at + 2]:
            way.add_up((read, slot(made + at + 2)), index.shape[0], after=after)
        weights, of_weights = slot(values + at), slot(made + at + 1)
        if number > first or needs[0]:
            write = room if number else slot(made)
            gate = number > 0 and links[number - 1].rectified
            tensors = (read, reads[number], weights, write, of_weights)
            after = way.differentiate(tensors, index, rectified=gate, after=after)
            read, room = write, room + index.shape[1] * step
        elif needs[at + 1]:
            way.sample((read, reads[number], of_weights), index, after=after)
    return way.planned()


def _readable(tensor: Tensor) -> tuple[Tensor, bool]:
    """``tensor``, shape ``(batch, features)``, or a copy that kernels can read, and whether it has
    to be turned to lie features first.
    """
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if lies_features_first(tensor):
        return tensor, False
    if not tensor.is_contiguous() and address_of(tensor):
        tensor = tensor.contiguous()
    return tensor, True


def _again(
    gradient: Tensor,
    tensors: tuple[Tensor | None, ...],
    links: Links,
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients by way of the single products, which may be differentiated again."""
    with torch.enable_grad():
        # Views: so that what the inputs were made of is no way to a parameter.
        views = [None if one is None else one.view_as(one) for one in tensors]
        inputs, *parameters = views
        assert inputs is not None
        outputs = inputs
        for number, (index, rectified) in enumerate(links):
            weights, bias = parameters[2 * number : 2 * number + 2]
            assert weights is not None
            outputs = product(outputs, weights, bias, index)
            outputs = outputs.relu() if rectified else outputs
        wanted = [one for one, need in zip(views, needs, strict=True) if need and one is not None]
    graph = torch.is_grad_enabled()
    found = iter(torch.autograd.grad(outputs, wanted, gradient, create_graph=graph))
    return [next(found) if need else None for need in needs]
