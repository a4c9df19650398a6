"""Products with live weights in a row, a ReLU behind each: one step forward, and one back.

Autograd's own cost is some tens of microseconds for each function, which is more than small sparse
products take. A chain is one function, its operations are one pass each way, and what is rectified
is rectified while it lies in the nearest cache. The numbers are those of the layers one by one, bit
for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from structure_net.core.live_index import LiveIndex
from structure_net.core.sparse_compute import (
    address_of,
    features_first,
    lies_features_first,
    like_features_first,
)
from structure_net.core.sparse_gradients import check_kept, product
from structure_net.core.sparse_passes import Pass


class Link(NamedTuple):
    """One product of a chain.

    Args:
        places: Where its weights stand.
        rectified: Whether a ReLU stands behind it.
    """

    places: LiveIndex
    rectified: bool


class _Activations(NamedTuple):
    """What a pass forward reads and writes.

    Args:
        held: The memory of inputs, if they had to be turned, and of all products but the last.
            Shape ``(features, batch)``.
        turned: Whether inputs had to be.
        outputs: Of the last product. Shape ``(batch, out)``.
    """

    held: Tensor
    turned: bool
    outputs: Tensor


def chained(inputs: Tensor, parameters: Sequence[Tensor | None], links: tuple[Link, ...]) -> Tensor:
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
        result: Tensor = _Chain.apply(links, inputs, *parameters)  # type: ignore[no-untyped-call]  # torch's
        return result
    return _forward(inputs, parameters, links).outputs


def chained_and_summed(
    inputs: Tensor, parameters: Sequence[Tensor | None], links: tuple[Link, ...]
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
    widths = [inputs.shape[1], *(link.places.shape[0] for link in links)]
    sums = [torch.empty(6, width, dtype=torch.float64) for width in widths[1:]]
    held, _, outputs = _forward(inputs, parameters, links, sums)
    return [*(part.t() for part in held.split(widths[:-1])[1:]), outputs], sums


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        links, inputs, *parameters = args
        held, turned, outputs = _forward(inputs, parameters, links)
        ctx.links, ctx.turned = links, turned
        last = outputs if links[-1].rectified else None
        ctx.save_for_backward(inputs, held, last, *parameters)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, held, last, *parameters = ctx.saved_tensors
        gradient, needs = gradients[0], ctx.needs_input_grad[1:]
        _check_kept((inputs, held, last, *parameters), ctx.links, gradient)
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(gradient):
            return None, *_again(gradient, (inputs, *parameters), ctx.links, needs)
        if last is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, last, 0)
        # What was saved may come back elsewhere: hooks may have moved it, or made it anew.
        held = held.contiguous()
        lines = held if ctx.turned else features_first(inputs)
        reads = lines.data_ptr(), *_between(held, inputs.shape[1], ctx.links)
        parameters = [None if one is None else one.contiguous() for one in parameters]
        way = _Back(gradient, (inputs, *parameters), ctx.links, reads)
        return None, *way.run(needs)


def _forward(
    inputs: Tensor,
    parameters: Sequence[Tensor | None],
    links: tuple[Link, ...],
    sums: Sequence[Tensor] = (),
) -> _Activations:
    """A pass forward; where ``sums`` are given, they are written on the way."""
    batch, width = inputs.shape
    sizes = [link.places.shape[0] for link in links[:-1]]
    held = inputs.new_empty((width + sum(sizes), batch))
    outputs = like_features_first(inputs, links[-1].places.shape[0])
    way = Pass(batch)
    read, after = _turned(inputs, held.data_ptr(), way)
    turned, between = after >= 0, _between(held, width, links)
    addresses, writes = (read, *between), (*between, outputs.data_ptr())
    for number, (index, rectified) in enumerate(links):
        weights, bias = parameters[2 * number], parameters[2 * number + 1]
        assert weights is not None
        place = 0 if bias is None else address_of(bias)
        tensors = (addresses[number], weights.data_ptr(), place, writes[number])
        after = way.multiply(tensors, index, rectified=rectified, after=after)
        if sums:
            made = writes[number], sums[number].data_ptr()
            way.sum_up(made, index.shape[0], after=after)
    way.keep(inputs, held, outputs, *parameters, *sums)
    way.run(inputs.dtype)
    return _Activations(held, turned, outputs)


def _between(held: Tensor, width: int, links: tuple[Link, ...]) -> tuple[int, ...]:
    """Where the products of all links but the last lie in ``held``, behind ``width`` inputs."""
    step = held.element_size() * held.shape[1]
    address, found = held.data_ptr() + width * step, []
    for link in links[:-1]:
        found.append(address)
        address += link.places.shape[0] * step
    return tuple(found)


def _check_kept(
    tensors: tuple[Tensor | None, ...], links: tuple[Link, ...], gradient: Tensor
) -> None:
    """Refuses inputs, activations and parameters, as they were saved, that were exchanged since."""
    inputs, held, last, *parameters = tensors
    batch, width = gradient.shape[0], links[0].places.shape[1]
    assert inputs is not None
    assert held is not None
    check_kept("inputs", inputs, (batch, width), gradient)
    lines = width + sum(link.places.shape[0] for link in links[:-1])
    check_kept("activations", held, (lines, batch), gradient)
    if last is not None:
        check_kept("outputs", last, gradient.shape, gradient)
    for place, link in enumerate(links):
        weights, bias = parameters[2 * place : 2 * place + 2]
        assert weights is not None
        check_kept("weights", weights, (link.places.count,), gradient)
        if bias is not None:
            check_kept("bias", bias, link.places.shape[:1], gradient)


class _Back:
    """The way back through a chain.

    Args:
        gradient: Of the last product. Shape ``(batch, out)``.
        tensors: Inputs and parameters.
        links: The products.
        addresses: Of what each product reads.
    """

    def __init__(
        self,
        gradient: Tensor,
        tensors: tuple[Any, ...],
        links: tuple[Link, ...],
        addresses: tuple[int, ...],
    ) -> None:
        self._gradient = gradient
        self._inputs, *self._parameters = tensors
        self._links = links
        self._reads = addresses

    def run(self, needs: Sequence[bool]) -> list[Tensor | None]:
        """The gradients of inputs and parameters that are needed."""
        found: list[Tensor | None] = [None] * len(needs)
        if not any(needs):
            return found
        first = 0 if needs[0] else (needs.index(True) - 1) // 2
        links, (batch, width) = self._links, self._gradient.shape
        sizes = [link.places.shape[1] for link in links[first + 1 :]]
        held = self._gradient.new_empty((width + sum(sizes), batch))
        step, address = held.element_size() * batch, held.data_ptr()
        way = Pass(batch)
        read, after = _turned(self._gradient, address, way)
        address += width * step
        for number in range(len(links) - 1, first - 1, -1):
            index = links[number].places
            weights, bias = self._parameters[2 * number : 2 * number + 2]
            if needs[2 * number + 2]:
                found[2 * number + 2] = made = torch.empty_like(bias)
                way.add_up((read, made.data_ptr()), index.shape[0], after=after)
            of_weights = torch.empty_like(weights)
            way.keep(of_weights)  # which is written whether it is needed or not
            if needs[2 * number + 1]:
                found[2 * number + 1] = of_weights
            values = weights.data_ptr(), of_weights.data_ptr()
            x = self._reads[number]
            if number > first or needs[0]:
                if number == 0:
                    found[0] = of_inputs = like_features_first(self._inputs, index.shape[1])
                    write = of_inputs.data_ptr()
                else:
                    write, address = address, address + index.shape[1] * step
                gate = number > 0 and links[number - 1].rectified
                tensors = (read, x, values[0], write, values[1])
                after = way.differentiate(tensors, index, rectified=gate, after=after)
                read = write
            elif needs[2 * number + 1]:
                way.sample((read, x, values[1]), index, after=after)
        way.keep(self._gradient, held, self._inputs, *self._parameters, *found)
        way.run(self._gradient.dtype)
        return found


def _turned(tensor: Tensor, address: int, way: Pass) -> tuple[int, int]:
    """Where ``tensor``, shape ``(batch, features)``, lies features first, and what to wait for.

    Args:
        tensor: What is read.
        address: Where a copy may be written, if there must be one.
        way: What writes it.
    """
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
        way.keep(tensor)
    if lies_features_first(tensor):
        return tensor.data_ptr(), -1
    height, width = tensor.shape
    if not tensor.is_contiguous() and address_of(tensor):
        tensor = tensor.contiguous()
        way.keep(tensor)
    return address, way.transpose((tensor.data_ptr(), address), width, height)


def _again(
    gradient: Tensor,
    tensors: tuple[Tensor | None, ...],
    links: tuple[Link, ...],
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
