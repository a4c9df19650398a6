"""Fixed splits by seed, stratified by class."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def split_indices(
    targets: Tensor, fraction: float, seed: int, *, stratify: bool
) -> tuple[Tensor, Tensor]:
    """Which samples stay and which are held out, the same for the same arguments everywhere.

    ``round(fraction * n)`` samples are held out. Stratified, each class gives its share of them to
    within one sample, by largest remainder, and keeps at least one, even if fewer are held out.

    Args:
        targets: Shape ``(n,)`` of class numbers where ``stratify``; else any shape ``(n, ...)``.
        fraction: The share to hold out, in [0, 1).
        seed: The seed of the choice.
        stratify: Whether the shares hold within each class.

    Returns:
        The indices that stay and those held out, each int64 and ascending.

    Raises:
        ValueError: ``fraction`` is outside [0, 1), or ``seed`` is negative.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"A fraction to hold out must be in [0, 1); got {fraction}.")
    if seed < 0:
        raise ValueError(f"A seed must be 0 or more; got {seed}.")
    generator = np.random.Generator(np.random.PCG64(seed))
    total = round(fraction * len(targets))
    if stratify:
        held = _stratified(targets.numpy(), total, generator)
    else:
        held = generator.permutation(len(targets))[:total]
    mask = np.zeros(len(targets), dtype=bool)
    mask[held] = True
    return torch.from_numpy(np.flatnonzero(~mask)), torch.from_numpy(np.flatnonzero(mask))


def _stratified(
    labels: NDArray[np.int64], total: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    shares = _largest_remainder(counts, total)
    members = (generator.permutation(np.flatnonzero(codes == code)) for code in range(len(counts)))
    return np.concatenate(
        [some[:share] for some, share in zip(members, shares, strict=True)]
        or [np.zeros(0, dtype=np.int64)]
    )


def _largest_remainder(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """How many of each class: proportional, whole, adding up to ``total``, each leaving one."""
    exact = counts * (total / max(counts.sum(), 1))
    shares: NDArray[np.int64] = np.minimum(exact.astype(np.int64), np.maximum(counts - 1, 0))
    for code in np.argsort(shares - exact, kind="stable"):
        if shares.sum() >= total:
            break
        if shares[code] < counts[code] - 1:
            shares[code] += 1
    return shares
