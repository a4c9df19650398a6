r"""How many connections each layer gets, for a density of the whole network.

`uniform` gives every layer the same density. `erdos_renyi` gives a layer of ``n`` outputs and ``m``
inputs the density :math:`\varepsilon (n + m) / (n m)`, which favours small layers;
`erdos_renyi_kernel` counts the kernel of a convolution among the dimensions, :math:`\varepsilon (n
+ m + k_1 + k_2) / (n m k_1 k_2)`. In each, :math:`\varepsilon` is solved so that the network has
the density asked for, with no layer beyond 1. These are the rules by themselves:
`connection_counts`, by which networks are made, raises layers above a floor.

References:
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science", Nature Communications 2018. Evci et al., "Rigging the
    lottery: making all tickets winners", ICML 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Literal, get_args

from structure_net.core.arguments import shown

Allocation = Literal["uniform", "erdos_renyi", "erdos_renyi_kernel"]
Shape = tuple[int, ...]


def uniform(shapes: Sequence[Shape], density: float) -> tuple[float, ...]:
    """The same density for every layer.

    Args:
        shapes: ``(outputs, inputs, *kernel)`` of each layer.
        density: The fraction of all weights that exist, in (0, 1].

    Returns:
        A density per layer.
    """
    _check(shapes, density)
    return (density,) * len(shapes)


def erdos_renyi(shapes: Sequence[Shape], density: float) -> tuple[float, ...]:
    """Densities proportional to ``(outputs + inputs) / (outputs * inputs)``, none beyond 1.

    Args:
        shapes: ``(outputs, inputs, *kernel)`` of each layer.
        density: The fraction of all weights that exist, in (0, 1].

    Returns:
        A density per layer, whose mean over all weights is ``density``.
    """
    _check(shapes, density)
    return _solved(shapes, [(n + m) * math.prod(k) for n, m, *k in shapes], density)


def erdos_renyi_kernel(shapes: Sequence[Shape], density: float) -> tuple[float, ...]:
    """Densities proportional to the sum over the product of all of a layer's dimensions, none
    beyond 1.

    Equal to `erdos_renyi` for linear layers.

    Args:
        shapes: ``(outputs, inputs, *kernel)`` of each layer.
        density: The fraction of all weights that exist, in (0, 1].

    Returns:
        A density per layer, whose mean over all weights is ``density``.
    """
    _check(shapes, density)
    return _solved(shapes, [sum(shape) for shape in shapes], density)


def layer_densities(
    shapes: Sequence[Shape], density: float, allocation: Allocation
) -> tuple[float, ...]:
    """The densities that the rule named ``allocation`` gives.

    Raises:
        TypeError: ``density`` is no number; True and False are none.
        ValueError: The rule is unknown, or ``density`` is not in (0, 1].
    """
    rules = {
        "uniform": uniform,
        "erdos_renyi": erdos_renyi,
        "erdos_renyi_kernel": erdos_renyi_kernel,
    }
    if allocation not in rules:
        raise ValueError(
            f"allocation must be one of {', '.join(get_args(Allocation))}; got {allocation!r}."
        )
    return rules[allocation](shapes, density)


def connection_counts(
    shapes: Sequence[Shape], density: float, allocation: Allocation, *, whole: bool = True
) -> tuple[int, ...]:
    """How many connections each fully connected layer or convolution gets: whole numbers.

    The rule's counts are raised where a unit would be left without a connection: to ``max(outputs,
    inputs)`` per layer if the whole budget allows it, else to ``outputs`` (every unit hears
    something), else not at all. The other layers pay for it in proportion.

    Args:
        shapes: ``(outputs, inputs, *kernel)`` of each layer.
        density: The fraction of all weights that exist, in (0, 1].
        allocation: The rule.
        whole: Whether a connection of a convolution is a whole kernel, not one weight of it.

    Returns:
        A count per layer, from 1 to that of all. Where a connection is one weight, they sum to
        ``round(density * total)``, or to one per layer if that is more; with whole kernels their
        weights do so to half of the largest kernel.
    """
    units = [math.prod(kernel) if whole else 1 for _, _, *kernel in shapes]
    sizes = [math.prod(shape) for shape in shapes]
    densities = layer_densities(shapes, density, allocation)
    budget = max(round(density * sum(sizes)), sum(units))
    floors = _floors(shapes, units, budget)
    wanted = [d * size for d, size in zip(densities, sizes, strict=True)]
    shares = _clamped(wanted, floors, sizes, budget)
    return _rounded(shares, floors, sizes, units, budget)


def _floors(shapes: Sequence[Shape], units: Sequence[int], budget: int) -> list[int]:
    """The weights that each layer gets at least."""
    for counts in ([max(shape[:2]) for shape in shapes], [shape[0] for shape in shapes]):
        floors = [count * unit for count, unit in zip(counts, units, strict=True)]
        if sum(floors) <= budget:
            return floors
    return list(units)


def _check(shapes: Sequence[Shape], density: float) -> None:
    given: object = density
    if isinstance(given, bool) or not isinstance(given, Real):
        raise TypeError(f"density must be a number in (0, 1]; got {shown(given)}.")
    if not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1]; got {density}.")
    for shape in shapes:
        if len(shape) < 2 or min(shape) < 1:
            raise ValueError(
                f"A layer's shape must be (outputs, inputs, *kernel), all positive; got {shape}."
            )


def _solved(shapes: Sequence[Shape], wanted: Sequence[float], density: float) -> tuple[float, ...]:
    sizes = [math.prod(shape) for shape in shapes]
    counts = _clamped(wanted, [0] * len(sizes), sizes, density * sum(sizes))
    return tuple(count / size for count, size in zip(counts, sizes, strict=True))


def _clamped(
    wanted: Sequence[float], low: Sequence[int], high: Sequence[int], budget: float
) -> list[float]:
    r"""``min(max(s * wanted, low), high)`` with the one ``s`` that makes the sum ``budget``.

    The sum is piecewise linear and non-decreasing in ``s``: between two neighbouring breakpoints
    the free entries share what the clamped ones leave.
    """

    def at(scale: float) -> list[float]:
        return [min(max(scale * w, lo), hi) for w, lo, hi in zip(wanted, low, high, strict=True)]

    breaks = sorted({bound[i] / w for i, w in enumerate(wanted) for bound in (low, high)})
    below = max((s for s in breaks if sum(at(s)) <= budget), default=0.0)
    free = [i for i, w in enumerate(wanted) if low[i] / w <= below < high[i] / w]
    fixed = sum(value for i, value in enumerate(at(below)) if i not in free)
    if not free:
        return at(below)
    return at((budget - fixed) / sum(wanted[i] for i in free))


def _rounded(
    weights: Sequence[float],
    low: Sequence[int],
    high: Sequence[int],
    units: Sequence[int],
    budget: int,
) -> tuple[int, ...]:
    """Whole connections of ``units`` weights each, within the bounds, whose weights sum to
    ``budget`` as nearly as their sizes allow: large remainders go up first.
    """
    counts, lows, highs = (
        [value / unit for value, unit in zip(values, units, strict=True)]
        for values in (weights, low, high)
    )
    whole = [
        int(min(max(math.floor(c + 1e-9), lo), hi))
        for c, lo, hi in zip(counts, lows, highs, strict=True)
    ]
    by_remainder = sorted(range(len(whole)), key=lambda i: whole[i] - counts[i])
    missing = budget - sum(n * unit for n, unit in zip(whole, units, strict=True))
    moved = True
    while moved:
        moved, step = False, 1 if missing > 0 else -1
        for i in by_remainder[::step]:
            # Each move brings the sum nearer to the budget, so that they end.
            if lows[i] <= whole[i] + step <= highs[i] and units[i] < 2 * step * missing:
                whole[i] += step
                missing -= step * units[i]
                moved = True
    return tuple(whole)
