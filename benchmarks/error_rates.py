"""How often the lab's statistics err: false positives, coverage, families of tests, power.

``python -m benchmarks.error_rates --markdown docs/error_rates.md`` simulates experiments in which
nothing differs (2,000 for each row), and some in which something does, and writes the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from neural_architecture_lab.hypothesis import Prediction
from neural_architecture_lab.judgement import Looks, Verdict, compare, judge
from neural_architecture_lab.statistics import (
    bca_interval,
    bend,
    cliffs_delta,
    cohens_dz,
    dose_response,
    effects_of_drawn,
    factor_effects,
    group_sequential,
    mean_interval,
    paired_t,
    power_of_paired_t,
    rank_biserial,
    repeated_effects,
    seeds_needed,
    sign_flip,
    stratified_interval,
    tost,
    wilcoxon_signed_rank,
)

ALPHA = 0.05
RUNS = 2000
BATCHES, FAMILY = 200, 20
SEEDS = (5, 8, 12, 20)
LOOKS = (5, 8, 12, 20)
PLAIN = Prediction("metric", "higher")
_SHOWN = "approximately"
_EXACT = {
    "mean_interval": ("normal", "heavy tails"),
    "cohens_dz": ("normal",),
    "rank_biserial": ("normal",),
}

Generator = np.random.Generator
Draw = Callable[[Generator, int], Any]


def normal(generator: Generator, n: int) -> Any:
    """Differences as most trainings have them."""
    return generator.normal(size=n)


def heavy(generator: Generator, n: int) -> Any:
    """Differences with outliers: Student's t with three degrees of freedom."""
    return generator.standard_t(3, size=n)


def skewed(generator: Generator, n: int) -> Any:
    """Differences that lean to one side, with mean zero."""
    return generator.exponential(size=n) - 1


DRAWS: dict[str, Draw] = {"normal": normal, "heavy tails": heavy, "skewed": skewed}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        what: What was simulated.
        rate: The fraction of runs in which it happened.
        wanted: What it should be.
        rule: Whether it should be at most that, or near it.
        runs: How many runs there were.
    """

    what: str
    rate: float
    wanted: float
    rule: str
    runs: int

    @property
    def error(self) -> float:
        """Three standard deviations of a fraction of ``runs`` at the wanted rate."""
        return 3 * float(np.sqrt(self.wanted * (1 - self.wanted) / self.runs))

    @property
    def kept(self) -> bool:
        """Whether the rule is kept, within what so many runs can tell."""
        if self.rule == "at most":
            return self.rate <= self.wanted + self.error
        if self.rule == "at least":
            return self.rate >= self.wanted - self.error
        return self.rule == _SHOWN or abs(self.rate - self.wanted) <= 0.05


def main() -> None:
    """Simulates, and writes the table where it is asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.error_rates", description=__doc__)
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--runs", type=int, default=RUNS, help="how many runs a row has")
    parser.add_argument("--only", default="", help="rows of simulations whose name has this in it")
    arguments = parser.parse_args()
    jobs = [job for job in _jobs(arguments.runs) if arguments.only in job.func.__name__]
    with ProcessPoolExecutor() as pool:
        rows = []
        for row in pool.map(_call, jobs):
            rows.append(row)
            mark = "" if row.kept else "  <- not kept"
            print(f"{row.what}: {row.rate:.3f} ({row.rule} {row.wanted:g}){mark}", flush=True)
    if arguments.markdown:
        arguments.markdown.write_text(page(rows), encoding="utf-8")


def page(rows: list[Row]) -> str:
    """The table as a page of the documentation."""
    lines = [
        "# Error rates of the lab's statistics",
        "",
        "Written by `python -m benchmarks.error_rates --markdown docs/error_rates.md`. Each row is"
        " simulated; what so many runs cannot tell apart (three standard deviations) is allowed"
        " for. Power should agree with the plan within .05. What is exact only for other"
        " distributions, or for many seeds, should come near its level: those rows show how near.",
        "",
        "| what | runs | rate | should be | kept |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.what} | {row.runs} | {row.rate:.3f} | {row.rule} {row.wanted:g}"
        f" | {'' if row.rule == _SHOWN else 'yes' if row.kept else 'no'} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _call(job: Callable[[], Row]) -> Row:
    return job()


def _jobs(runs: int) -> Iterator[partial[Row]]:
    tests = (paired_t, wilcoxon_signed_rank, sign_flip)
    for test, (kind, n) in product(tests, product(DRAWS, SEEDS)):
        if kind != "skewed" or test is paired_t:  # the others assume symmetry
            yield partial(_false_positives, test, kind, n, runs)
    for n in SEEDS:
        yield partial(_equivalence, n, runs)
        yield partial(_factors, n, runs)
        for apart in (False, True):
            yield partial(_repeated, n, runs, apart=apart)
        yield partial(_drawn, n, runs)
        yield partial(_dose, n, runs)
        yield partial(_bend, n, runs)
    for name, (kind, n) in product(_INTERVALS, product(DRAWS, (8, 20))):
        yield partial(_coverage, name, kind, n, runs)
    for spending in ("obrien-fleming", "pocock"):
        yield partial(_sequential, spending, runs)
    yield partial(_peeking, runs)
    yield partial(_family, BATCHES)
    for effect in (0.5, 0.8, 1.0, 1.5):
        yield partial(_power, effect, runs)
        yield partial(_verdict_power, effect, runs)


def _false_positives(test: Any, kind: str, n: int, runs: int) -> Row:
    generator = np.random.default_rng(n)
    found = [test(DRAWS[kind](generator, n)).p_value <= ALPHA for _ in range(runs)]
    # Student's test is not exact where differences lean: what it does there is shown all the same.
    rule = _SHOWN if kind == "skewed" else "at most"
    name = f"{test.__name__}, {n} seeds, {kind}"
    return Row(f"false positives of {name}", float(np.mean(found)), ALPHA, rule, runs)


def _equivalence(n: int, runs: int) -> Row:
    generator = np.random.default_rng(n)
    found = [tost(normal(generator, n) + 0.5, 0.5).p_value <= ALPHA for _ in range(runs)]
    what = f"false equivalence of tost at the margin, {n} seeds"
    return Row(what, float(np.mean(found)), ALPHA, "at most", runs)


def _factors(n: int, runs: int) -> Row:
    generator = np.random.default_rng(n)
    grid = list(product(range(n), "abc", "xy"))
    factors = {"first": [g[1] for g in grid], "second": [g[2] for g in grid]}
    seeds = [g[0] for g in grid]
    found = []
    for _ in range(runs):
        of_seed = normal(generator, n)
        response = normal(generator, len(grid)) + of_seed[seeds]
        found += [e.p_value <= ALPHA for e in factor_effects(factors, seeds, response)]
    what = f"false effects of factor_effects, 3 x 2 levels, {n} seeds"
    return Row(what, float(np.mean(found)), ALPHA, "at most", runs)


def _repeated(n: int, runs: int, *, apart: bool) -> Row:
    """Trials of one seed lie together, and where ``apart`` levels spread by 1, 2 and 3."""
    generator = np.random.default_rng(n)
    grid = list(product(range(n), "abc", "xy"))
    factors = {"first": [g[1] for g in grid], "second": [g[2] for g in grid]}
    seeds = [g[0] for g in grid]
    spread = np.array([1.0 + "abc".index(g[1]) * apart for g in grid])
    found = []
    for _ in range(runs):
        response = normal(generator, len(grid)) * spread + normal(generator, n)[seeds]
        found += [e.p_value <= ALPHA for e in repeated_effects(factors, seeds, response)]
    how = "unequal spreads" if apart else "equal spreads"
    what = f"false effects of repeated_effects, 3 x 2 levels, {how}, {n} seeds"
    return Row(what, float(np.mean(found)), ALPHA, "at most", runs)


def _drawn(n: int, runs: int) -> Row:
    """A random layout in which another factor acts, steeply, and outcomes have heavy tails."""
    generator = np.random.default_rng(n)
    found = []
    for seed in range(runs):
        acting, idle = generator.random((2, 2 * n)).tolist()
        levels = {"acting": acting, "idle": idle}
        response = np.exp(3 * np.array(acting)) + heavy(generator, 2 * n)
        _, effect = effects_of_drawn(levels, response, resamples=500, seed=seed)
        found.append(effect.p_value <= ALPHA)
    what = f"false effects of effects_of_drawn beside a factor that acts, {2 * n} points"
    return Row(what, float(np.mean(found)), ALPHA, "at most", runs)


def _dose(n: int, runs: int) -> Row:
    generator = np.random.default_rng(n)
    found = [
        dose_response(range(5), generator.normal(size=(n, 5))).significance.p_value <= ALPHA
        for _ in range(runs)
    ]
    what = f"false slopes of dose_response, 5 levels, {n} seeds"
    return Row(what, float(np.mean(found)), ALPHA, "at most", runs)


def _bend(n: int, runs: int) -> Row:
    generator = np.random.default_rng(n)
    found = [
        bend(range(6), generator.normal(size=(n, 6)), resamples=500, seed=s).p_value <= ALPHA
        for s in range(runs)
    ]
    what = f"false bends, 6 levels, {n} seeds"
    return Row(what, float(np.mean(found)), ALPHA, "at most", runs)


def _truth(name: str, kind: str) -> float:
    """What an interval should hold: differences are shifted by one."""
    reference = DRAWS[kind](np.random.default_rng(0), 2_000_000) + 1
    if name == "cohens_dz":
        return float(1 / (3**0.5 if kind == "heavy tails" else 1.0))
    if name == "rank_biserial":
        # The chance that the mean of two differences is positive, less that it is not.
        halves = reference.reshape(2, -1).sum(0)
        return float(np.mean(np.sign(halves)))
    if name == "cliffs_delta":
        control = DRAWS[kind](np.random.default_rng(1), 2_000_000)
        return float(np.mean(np.sign(reference - control)))
    return 1.0


def _coverage(name: str, kind: str, n: int, runs: int) -> Row:
    generator = np.random.default_rng(n)
    truth, held = _truth(name, kind), 0
    for _ in range(runs):
        size = 4 * n if name == "stratified_interval" else n
        values = DRAWS[kind](generator, size) + 1
        interval = _INTERVALS[name](values, DRAWS[kind](generator, n))
        held += interval.low <= truth <= interval.high
    rule = "at least" if kind in _EXACT.get(name, ()) else _SHOWN
    return Row(f"coverage of {name}, {n} seeds, {kind}", held / runs, 0.95, rule, runs)


_INTERVALS: dict[str, Callable[[Any, Any], Any]] = {
    "mean_interval": lambda values, other: mean_interval(values),
    "bca_interval": lambda values, other: bca_interval(values, resamples=1000),
    "cohens_dz": lambda values, other: cohens_dz(values),
    "rank_biserial": lambda values, other: rank_biserial(values),
    "cliffs_delta": cliffs_delta,
    "stratified_interval": lambda values, other: stratified_interval(
        values.reshape(-1, 4), np.mean, resamples=500
    ),
}


def _sequential(spending: Any, runs: int) -> Row:
    boundary = group_sequential(LOOKS, alpha=ALPHA, spending=spending)
    generator = np.random.default_rng(0)
    stopped = []
    for _ in range(runs):
        d = normal(generator, LOOKS[-1])
        levels = zip(boundary.looks, boundary.levels, strict=True)
        stopped.append(any(paired_t(d[:n]).p_value <= level for n, level in levels))
    what = f"false stops at {', '.join(map(str, LOOKS))} seeds, {spending}"
    return Row(what, float(np.mean(stopped)), ALPHA, "at most", runs)


def _peeking(runs: int) -> Row:
    generator = np.random.default_rng(0)
    stopped = []
    for _ in range(runs):
        d = normal(generator, 20)
        stopped.append(any(paired_t(d[:n]).p_value <= ALPHA for n in range(3, 21)))
    what = "for comparison: looking after every seed from 3 to 20 without a boundary"
    return Row(what, float(np.mean(stopped)), ALPHA, _SHOWN, runs)


def _family(batches: int) -> Row:
    """Batches of hypotheses that stop early and are judged together, as the lab does it."""
    generator = np.random.default_rng(0)
    looks = Looks(group_sequential(LOOKS, alpha=ALPHA))
    erred = 0
    for _ in range(batches):
        comparisons = [_run_until_clear(normal(generator, LOOKS[-1]), looks) for _ in range(FAMILY)]
        verdicts = [evidence.verdict for evidence in judge(comparisons, alpha=ALPHA)]
        erred += any(verdict is not Verdict.INCONCLUSIVE for verdict in verdicts)
    what = f"batches of {FAMILY} nulls with sequential looks that claim anything"
    return Row(what, erred / batches, ALPHA, "at most", batches)


def _run_until_clear(differences: Any, looks: Looks) -> Any:
    zeros = dict.fromkeys(range(LOOKS[-1]), 0.0)
    for n in LOOKS:
        treated = {seed: float(differences[seed]) for seed in range(n)}
        control = {seed: zeros[seed] for seed in range(n)}
        comparison = compare(
            PLAIN, ("a", "b"), treated, control, ran=n, planned=LOOKS[-1], looks=looks
        )
        if comparison.p_value <= ALPHA / FAMILY:
            break
    return comparison


def _power(effect: float, runs: int) -> Row:
    n = seeds_needed(effect)
    generator = np.random.default_rng(0)
    found = [paired_t(normal(generator, n) + effect).p_value <= ALPHA for _ in range(runs)]
    what = f"power at an effect of {effect:g} with the planned {n} seeds"
    return Row(what, float(np.mean(found)), power_of_paired_t(effect, n), "near", runs)


def _verdict_power(effect: float, runs: int) -> Row:
    n = seeds_needed(effect)
    generator = np.random.default_rng(1)
    supported = 0
    for _ in range(runs):
        treated = dict(enumerate((normal(generator, n) + effect).tolist()))
        comparison = compare(
            PLAIN, ("a", "b"), treated, dict.fromkeys(treated, 0.0), ran=n, planned=n
        )
        supported += judge([comparison])[0].verdict is Verdict.SUPPORTED
    what = f"verdicts SUPPORTED at an effect of {effect:g} with the planned {n} seeds"
    return Row(what, supported / runs, power_of_paired_t(effect, n), "near", runs)


if __name__ == "__main__":
    main()
