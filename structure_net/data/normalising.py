"""Zero mean and unit deviation, by the statistics of what is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Scaling = Literal["channel", "feature", "whole", "none"]
_CHUNK = 1 << 17  # values in float64 at a time: they stay in the cache, which is 20 times faster


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """``(x - mean) / deviation``.

    Args:
        mean: A shape that broadcasts over one sample, float64.
        deviation: The same shape, positive.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def fit(cls, samples: Tensor, scaling: Scaling, *, rows: Tensor | None = None) -> Normalisation:
        """The statistics of ``samples``, accumulated in float64.

        Args:
            samples: Shape ``(n, ...)`` with ``n >= 1``, any real dtype.
            scaling: Over what they are taken; ``"none"`` gives mean 0 and deviation 1.
            rows: The samples that count, read a few at a time; all if None.

        Returns:
            The normalisation. What does not vary is divided by 1.
        """
        if scaling == "none":
            return cls(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
        dims = _reduced(samples.dim(), scaling)
        mean = _mean((samples, rows), dims, torch.zeros((), dtype=torch.float64), power=1)
        variance = _mean((samples, rows), dims, mean, power=2)
        deviation = variance.sqrt()
        return cls(mean[0], torch.where(deviation > 0, deviation, 1.0)[0])

    def __call__(self, samples: Tensor) -> Tensor:
        """``samples`` normalised: the same shape, float32; float64 is rounded last."""
        dtype = torch.float64 if samples.dtype == torch.float64 else torch.float32
        where = samples.device
        centred = samples.to(dtype, copy=True).sub_(self.mean.to(where, dtype))
        return centred.div_(self.deviation.to(where, dtype)).to(torch.float32)


def _reduced(dims: int, scaling: Scaling) -> list[int]:
    if scaling == "feature":
        return [0]
    if scaling == "channel":
        return [dim for dim in range(dims) if dim != 1]
    return list(range(dims))


Chosen = tuple[Tensor, Tensor | None]
"""Samples, and which of them; None for all."""


def _chunks(chosen: Chosen) -> Iterator[Tensor]:
    samples, rows = chosen
    size = max(1, _CHUNK // max(1, samples[0].numel()))
    if rows is None:
        return iter(samples.split(size))
    return (samples.index_select(0, part) for part in rows.split(size))


def _mean(chosen: Chosen, dims: list[int], centre: Tensor, *, power: int) -> Tensor:
    """The mean of ``(samples - centre) ** power`` over ``dims``, which are kept as 1."""
    samples, rows = chosen
    parts = [
        chunk.to(torch.float64, copy=True).sub_(centre).pow_(power).sum(dims, keepdim=True)
        for chunk in _chunks(chosen)
    ]
    count = 1
    for dim in dims:
        count *= len(rows) if dim == 0 and rows is not None else samples.shape[dim]
    return torch.stack(parts).sum(0) / count
