"""The sparsest network in which nothing is idle: the baseline that growth starts from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from structure_net.core.network_factory import LayerKind, StandardNetwork, create_standard_network


def minimal_density(architecture: Sequence[int]) -> float:
    r"""The smallest density at which every unit reads something and is read.

    .. math:: \frac{\sum_l \max(n_l, n_{l + 1})}{\sum_l n_l\, n_{l + 1}}

    Args:
        architecture: The number of inputs, the width of each hidden layer, the number of outputs.

    Raises:
        ValueError: There are less than two widths, or one is not positive.
    """
    if len(architecture) < 2 or min(architecture) < 1:
        raise ValueError(
            "architecture must list at least two positive whole numbers, inputs first;"
            f" got {list(architecture)}."
        )
    pairs = list(pairwise(architecture))
    return sum(max(pair) for pair in pairs) / sum(n * m for n, m in pairs)


def create_minimal_network(
    architecture: Sequence[int],
    *,
    activation: str = "relu",
    seed: int | None = None,
    layer: LayerKind = "standard",
) -> StandardNetwork:
    """Makes a network with as few connections as leave no unit without one, in either direction.

    Each layer has ``max(inputs, outputs)`` of them. Every input reaches an output, so that any
    connection that is added to it can help at once.

    Args:
        architecture: The number of inputs, the width of each hidden layer, the number of outputs.
        activation: See `create_standard_network`.
        seed: What patterns and weights are drawn from; taken from torch's default generator if
            None.
        layer: See `create_standard_network`.

    Raises:
        ValueError: An argument is out of range or unknown.

    Example:
        >>> network = create_minimal_network([64, 32, 10], seed=0)
        >>> network.get_network_stats()["total_connections"]
        96
    """
    density = minimal_density(architecture)
    return create_standard_network(
        architecture, density, activation=activation, seed=seed, layer=layer
    )
