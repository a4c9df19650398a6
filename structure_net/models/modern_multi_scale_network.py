"""A network that summarises scale by scale, born with the coarsest structure."""

from __future__ import annotations

from itertools import pairwise

from structure_net.core.network_factory import LayerKind, StandardNetwork, create_standard_network
from structure_net.models.minimal_network import minimal_density


def multi_scale_widths(inputs: int, outputs: int, scales: int) -> tuple[int, ...]:
    r"""Widths of layers each of which is coarser than the one before by the same factor.

    .. math:: n_k = n_0^{1 - k / (s + 1)}\, n_{s + 1}^{k / (s + 1)}, \qquad k = 0, \dots, s + 1,

    rounded, with :math:`n_0` inputs, :math:`n_{s + 1}` outputs and :math:`s` scales between them.

    Args:
        inputs: The number of inputs.
        outputs: The number of outputs.
        scales: Hidden layers.

    Raises:
        ValueError: A number is below 1.

    Example:
        >>> multi_scale_widths(784, 10, 2)
        (784, 183, 43, 10)
    """
    for name, value in (("inputs", inputs), ("outputs", outputs), ("scales", scales)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more; got {value}.")
    steps = scales + 1
    shares = [step / steps for step in range(1, steps)]
    hidden = [round(inputs ** (1 - share) * outputs**share) for share in shares]
    return (inputs, *hidden, outputs)


def create_multi_scale_network(  # noqa: PLR0913 - the arguments of any sparse network
    inputs: int,
    outputs: int,
    *,
    scales: int = 2,
    density: float | None = None,
    activation: str = "relu",
    seed: int | None = None,
    layer: LayerKind = "standard",
) -> StandardNetwork:
    """Makes a network for `evolve_in_phases`: few connections, and a layer for each scale.

    Each layer is coarser than the one before by the same factor (`multi_scale_widths`), and at
    birth the connections are as few as leave no unit idle: the coarse structure. What is finer
    grows.

    Args:
        inputs: The number of inputs.
        outputs: The number of outputs.
        scales: Hidden layers.
        density: The fraction of all connections that exist at birth; as few as leave no unit idle
            if None.
        activation: See `create_standard_network`.
        seed: What patterns and weights are drawn from; taken from torch's default generator if
            None.
        layer: See `create_standard_network`.

    Raises:
        ValueError: An argument is out of range or unknown, or the widths do not fall from scale to
            scale: there is no room for so many.
    """
    widths = multi_scale_widths(inputs, outputs, scales)
    steps = {(one > other) - (one < other) for one, other in pairwise(widths)}
    if inputs != outputs and len(steps) > 1:
        raise ValueError(
            f"{scales} scales do not fit between {inputs} inputs and {outputs} outputs; the widths"
            f" would be {list(widths)}. Ask for fewer."
        )
    return create_standard_network(
        widths,
        minimal_density(widths) if density is None else density,
        activation=activation,
        seed=seed,
        layer=layer,
    )
