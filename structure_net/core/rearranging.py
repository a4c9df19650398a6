"""What an edit makes of a layer's weights: its pieces, whichever way the weights are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from structure_net.core.drawing import random_places

Carry = Callable[[Tensor], Tensor]

Places = tuple[Tensor, Tensor]
"""The rows and the columns of connections. Shape ``(n,)`` each, int64."""


@dataclass(frozen=True, slots=True)
class Born:
    """New connections that come with new units.

    Args:
        rows: The output unit of each connection after the edit. Shape ``(n,)``, int64, sorted.
        columns: Its input unit, sorted within a row. Shape ``(n,)``, int64.
        noise: Normal numbers that become the weights. Shape ``(n, *kernel)``; None for zeros.
        gain: The factor of fresh weights.
    """

    rows: Tensor
    columns: Tensor
    noise: Tensor | None = None
    gain: float = 1.0

    def weights(self, fan_in: Tensor, like: Tensor) -> Tensor:
        """The weights, for units with ``fan_in`` connections each after the edit.

        Args:
            fan_in: Shape ``(outputs,)``, int64.
            like: The old weights, whose last axes are the kernel's: gives dtype and device.

        Returns:
            Shape ``(n, *kernel)``.
        """
        if self.noise is None:
            return like.new_zeros(0)
        return scaled_noise(self.noise.to(like), fan_in[self.rows].to(like.device), self.gain)

    @classmethod
    def along(
        cls,
        dim: int,
        lines: Sequence[int],
        width: int,
        *,
        count: int,
        generator: torch.Generator | None,
    ) -> Born:
        """Connections of the new units ``lines`` along ``dim``, drawn as `random_places` does.

        Args:
            dim: 0 for output units, 1 for input units.
            lines: The new units, ascending.
            width: The number of units on the other side.
            count: The number of connections, raised to one for each unit.
            generator: What they are drawn with; torch's default generator if None.
        """
        line, place = random_places(len(lines), width, count, generator)
        line = torch.as_tensor(lines, dtype=torch.int64)[line]
        if dim == 0:
            return cls(line, place)
        order = torch.argsort(place, stable=True)
        return cls(place[order], line[order])


def scaled_noise(noise: Tensor, fan_in: Tensor, gain: float) -> Tensor:
    r"""Normal numbers as weights with variance :math:`g^2 / f`.

    Args:
        noise: Shape ``(n, *kernel)``.
        fan_in: The number of connections into the unit of each weight. Shape ``(n,)``, int64.
        gain: ``g``.

    Returns:
        Shape ``(n, *kernel)``; ``f`` counts each entry of a kernel.
    """
    entries = noise[0].numel() if len(noise) else 1
    deviation = gain * (fan_in.clamp(min=1) * entries).to(torch.float64).rsqrt()
    return noise * deviation.to(noise).reshape([-1, *[1] * (noise.dim() - 1)])


def gathered(tensor: Tensor, dim: int, index: Tensor) -> Tensor:
    """``tensor`` along ``dim`` at ``index`` (shape ``(m,)``, int64); zero where it is negative."""
    index = index.to(tensor.device)
    if not tensor.shape[dim]:
        return tensor.new_zeros((*tensor.shape[:dim], len(index), *tensor.shape[dim + 1 :]))
    born = (index < 0).nonzero().flatten()
    return tensor.index_select(dim, index.clamp(min=0)).index_fill_(dim, born, 0)


def blank(shape: torch.Size) -> Carry:
    """What becomes of state beside a buffer of indices: it has none, whatever the shape was."""
    return lambda state: state.new_zeros(shape)


def along(vector: Tensor, dim: int, dims: int) -> Tensor:
    """``vector`` as axis ``dim`` of ``dims`` axes."""
    return vector.reshape([-1 if axis == dim else 1 for axis in range(dims)])
