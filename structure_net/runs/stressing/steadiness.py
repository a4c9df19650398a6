"""Whether memory stays flat: its slope over time with an interval, and a verdict in words.

Samples that follow each other are alike, so that plain least squares would be far too sure. The
samples are averaged over 60 equal spans of time, the first sixth is left out (what is loaded and
cached once), and the slope's standard error is Newey and West's, which allows for what neighbours
have in common.

References:
    Newey and West, "A simple, positive semi-definite, heteroskedasticity and autocorrelation
    consistent covariance matrix", Econometrica 55(3), 1987.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

SPANS: Final = 60
"""Spans of time over which samples are averaged."""

_LEFT_OUT: Final = 1 / 6
_LEAST_SPANS: Final = 20
_LEAST_SECONDS: Final = 60.0
_TOLERATED: Final = 8.0
_SHARE: Final = 0.02
_COUNTS: Final = 0.1
"""The share of what is tolerated from which growth is worth a word."""


@dataclass(frozen=True, slots=True)
class MemorySample:
    """The memory of the process at one moment.

    Args:
        seconds: Since the run began.
        mebibytes: What it held of its own (RSS without the pages of mapped files), in MiB.
    """

    seconds: float
    mebibytes: float


@dataclass(frozen=True, slots=True)
class Steadiness:
    """What samples say of memory over time.

    Args:
        verdict: ``flat``, ``grows`` or ``unclear``.
        slope: MiB an hour; NaN where that cannot be told, as for what follows.
        interval: The slope's 95 % confidence interval.
        line: MiB at the beginning and the end of the line that was fitted.
        span: The seconds that the line covers, first and last.
        peak: The most that was held, in MiB.
        samples: How many there were.
        tolerated: How much growth over the span counts as none, in MiB.
    """

    verdict: Literal["flat", "grows", "unclear"]
    slope: float
    interval: tuple[float, float]
    line: tuple[float, float]
    span: tuple[float, float]
    peak: float
    samples: int
    tolerated: float

    def in_words(self) -> str:
        """The verdict as a sentence or two."""
        if np.isnan(self.slope):
            return (
                f"Too short to tell: {self.samples} samples over {self.span[1]:.0f} s; a slope"
                f" needs {_LEAST_SECONDS:.0f} s after the first sixth."
            )
        low, high = self.interval
        hours = (self.span[1] - self.span[0]) / 3600
        numbers = (
            f"memory went by {self.slope:+.2f} MiB an hour (95 % interval {low:+.2f} to"
            f" {high:+.2f}), from {self.line[0]:.1f} to {self.line[1]:.1f} MiB over"
            f" {60 * hours:.1f} minutes; the peak was {self.peak:.1f} MiB"
        )
        settling = (
            " The slope is not nothing, though: a longer run would tell whether it goes on."
            if low * hours >= _COUNTS * self.tolerated
            else ""
        )
        return {
            "flat": f"Memory is flat: {numbers}. At the upper end of the interval it would have"
            f" grown by {max(0.0, high) * hours:.1f} MiB, and {self.tolerated:.1f} MiB count as"
            f" none.{settling}",
            "grows": f"Memory grows: {numbers}.",
            "unclear": f"Unclear: {numbers}. The interval holds both none and more than"
            f" {self.tolerated:.1f} MiB of growth; a longer run would tell.",
        }[self.verdict]


def steadiness_of(samples: Sequence[MemorySample]) -> Steadiness:
    """The verdict on samples in the order of time.

    ``flat``: the interval's upper end, over the span, is less than 8 MiB or 2 % of what is held,
    whichever is more. ``grows``: the interval lies above 0, and is not flat. Else ``unclear``.
    """
    seconds = np.array([one.seconds for one in samples])
    held = np.array([one.mebibytes for one in samples])
    last = float(seconds.max(initial=0.0))
    peak = float(held.max(initial=0.0))
    begin = _LEFT_OUT * last
    times, means = _spans(seconds, held, begin, last)
    if len(times) < _LEAST_SPANS or last - begin < _LEAST_SECONDS:
        nan = float("nan")
        return Steadiness(
            "unclear", nan, (nan, nan), (nan, nan), (begin, last), peak, len(samples), _TOLERATED
        )
    slope, error, line = _line(times, means)
    low, high = slope - error, slope + error
    tolerated = max(_TOLERATED, _SHARE * float(means.mean()))
    grown = high * (times[-1] - times[0])
    verdict: Literal["flat", "grows", "unclear"] = "unclear"
    if grown < tolerated:
        verdict = "flat"
    elif low > 0:
        verdict = "grows"
    return Steadiness(
        verdict,
        3600 * slope,
        (3600 * low, 3600 * high),
        line,
        (float(times[0]), float(times[-1])),
        peak,
        len(samples),
        tolerated,
    )


Values = NDArray[np.float64]


def _spans(seconds: Values, held: Values, begin: float, end: float) -> tuple[Values, Values]:
    """The mean time and memory of each span that has samples."""
    kept = seconds >= begin
    place = ((seconds[kept] - begin) / max(end - begin, 1e-9) * SPANS).astype(int)
    place = np.minimum(place, SPANS - 1)
    counts = np.bincount(place, minlength=SPANS)
    some = counts > 0
    times, means = (
        np.bincount(place, weights=values[kept], minlength=SPANS)[some] / counts[some]
        for values in (seconds, held)
    )
    return times, means


def _line(times: Values, means: Values) -> tuple[float, float, tuple[float, float]]:
    """The slope a second, the half width of its interval, and the line's two ends."""
    from scipy.stats import t

    count, centred = len(times), times - times.mean()
    spread = float(centred @ centred)
    slope = float(centred @ means) / spread
    level = float(means.mean())
    scores = centred * (means - level - slope * centred)
    lags = int(4 * (count / 100) ** (2 / 9))
    variance = float(scores @ scores)
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(scores[lag:] @ scores[:-lag])
    error = (max(variance, 0.0) * count / (count - 2)) ** 0.5 / spread
    half = float(t.ppf(0.975, count - 2)) * error
    ends = (level + slope * float(centred[0]), level + slope * float(centred[-1]))
    return slope, half, ends
