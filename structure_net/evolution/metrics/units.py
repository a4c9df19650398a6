r"""Units that do little, or nothing of their own, and how sure one can be of it.

Three things in the literature are called dormant or dead, and they differ: a unit that never fires
(**dead**), one whose mean activation is small beside its layer's (**tau-dormant**), and one that
fires on few samples (**rarely active**). A finite sample cannot show the first: a unit that fires
with probability :math:`p` at a sample is silent on all of :math:`B` samples with probability
:math:`(1 - p)^B`.
"""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor

from structure_net.evolution.metrics.hebbian import correlation_blocks
from structure_net.evolution.metrics.validity import Unavailable

DORMANT_SCORE: Final = 0.025
RARE_RATE: Final = 0.01
CLONE_CORRELATION: Final = 0.99
FALSE_ALARMS: Final = 0.05
LEAST_CLONE_SAMPLES: Final = 16
_LEAST_CARRIERS: Final = 5.0


def dormancy_scores(mean_absolute: Tensor) -> Tensor:
    r"""The activity of each unit beside that of its layer, :math:`m_i / (\bar m + 10^{-9})`.

    Args:
        mean_absolute: :math:`m_i`, the mean absolute activation over samples and positions. Shape
            ``(C,)``.

    Returns:
        Shape ``(C,)``, 0 or more, with mean 1 where anything is active. Behind tanh or GELU the
        score says little: a unit that rests at -1 is as active as any.

    References:
        Sokar et al., "The dormant neuron phenomenon in deep reinforcement learning", ICML 2023.
    """
    return mean_absolute / (mean_absolute.mean() + 1e-9)


def dormant_units(mean_absolute: Tensor, tau: float = DORMANT_SCORE) -> Tensor:
    """Units whose `dormancy_scores` are ``tau`` or less: tau-dormant after Sokar et al.

    Args:
        mean_absolute: Shape ``(C,)``.
        tau: 0 or more; 0 for units that are exactly silent.

    Returns:
        Shape ``(C,)``, bool.
    """
    return dormancy_scores(mean_absolute) <= tau


def rarely_active_units(firing_rate: Tensor, least: float = RARE_RATE) -> Tensor:
    """Units that fire at less than ``least`` of the samples: dormant after Dohare et al.

    Args:
        firing_rate: The fraction of values above 0, behind an activation that is silent below 0.
            Shape ``(C,)``.
        least: Between 0 and 1.

    Returns:
        Shape ``(C,)``, bool.

    References:
        Dohare et al., "Loss of plasticity in deep continual learning", Nature 2024.
    """
    return firing_rate < least


def silence_probability(rate: float, samples: int) -> float:
    r"""How likely a unit that fires with probability ``rate`` is silent on all samples,
    :math:`(1 - p)^B`.

    Raises:
        ValueError: ``rate`` is not in [0, 1], or ``samples`` is negative.
    """
    _check_rate(rate)
    if samples < 0:
        raise ValueError(f"samples must be 0 or more; got {samples}.")
    return float((1.0 - rate) ** samples)


def samples_to_call_dead(rate: float, units: int = 1, *, false_alarms: float = FALSE_ALARMS) -> int:
    r"""The samples after which fewer than ``false_alarms`` living units are expected to look dead.

    The smallest :math:`B` with :math:`C (1 - p)^B < \alpha`.

    Args:
        rate: :math:`p`: units that fire at least as often count as living; in (0, 1).
        units: :math:`C`.
        false_alarms: :math:`\alpha`, the expected number; in (0, 1).

    Raises:
        ValueError: An argument is out of range.
    """
    _check_rate(rate, inside=True)
    _check_alarms(units, false_alarms)
    bound = math.log(false_alarms / units) / math.log1p(-rate)
    return math.floor(bound) + 1


def detectable_rate(samples: int, units: int = 1, *, false_alarms: float = FALSE_ALARMS) -> float:
    r"""The firing rate from which on living units do not look dead, :math:`1 - (\alpha / C)^{1/B}`.

    Of ``units`` units that fire at least as often, fewer than ``false_alarms`` are expected to be
    silent on ``samples`` samples.

    Returns:
        In (0, 1); 1 without a sample.

    Raises:
        ValueError: An argument is out of range.
    """
    _check_alarms(units, false_alarms)
    if samples < 1:
        return 1.0
    return -math.expm1(math.log(false_alarms / units) / samples)


def dead_confidence(rate: float, samples: int, units: int = 1) -> float:
    r"""At least how sure it is that every unit which fires at ``rate`` or more was seen to fire.

    :math:`\max(0, 1 - C (1 - p)^B)`, the union bound, which holds for dependent units too.

    Raises:
        ValueError: An argument is out of range.
    """
    return max(0.0, 1.0 - units * silence_probability(rate, samples))


def cloned_units(
    samples: Tensor, threshold: float = CLONE_CORRELATION
) -> tuple[tuple[int, int], ...] | Unavailable:
    r"""Units that say what another unit of the layer says: :math:`|\mathrm{corr}| >` ``threshold``.

    Two units that fire at one and the same sample correlate perfectly without being alike. So units
    whose variance fewer than five samples carry,
    :math:`(\sum_s d_s^2)^2 / \sum_s d_s^4 < 5`, are left out, like those that do not vary.

    Args:
        samples: The units' activations. Shape ``(N, C)``.
        threshold: Between 0 and 1.

    Returns:
        Pairs (original, clone), each clone once, with the first unit that it repeats and which is
        no clone itself. Not available below 16 samples, where chance correlates units.

    References:
        Joudaki et al., arXiv 2510.00304.
    """
    if len(samples) < LEAST_CLONE_SAMPLES:
        return Unavailable(
            f"{len(samples)} samples correlate by chance; {LEAST_CLONE_SAMPLES} are needed"
        )
    values = samples.detach().double()
    square = (values - values.mean(0)).square()
    carriers = square.sum(0).square() / square.square().sum(0)
    found: dict[int, int] = {}
    for start, correlations in correlation_blocks(values, values):
        alike = correlations.abs() > threshold
        alike &= (carriers >= _LEAST_CARRIERS).unsqueeze(0)
        for original, clone in alike.triu(start + 1).nonzero().tolist():
            if original + start not in found:
                found.setdefault(clone, original + start)
    return tuple(sorted((original, clone) for clone, original in found.items()))


def _check_rate(rate: float, *, inside: bool = False) -> None:
    if not (0 < rate < 1 if inside else 0 <= rate <= 1):
        raise ValueError(f"rate must be in {'(0, 1)' if inside else '[0, 1]'}; got {rate}.")


def _check_alarms(units: int, false_alarms: float) -> None:
    if units < 1:
        raise ValueError(f"units must be 1 or more; got {units}.")
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms must be in (0, 1); got {false_alarms}.")
