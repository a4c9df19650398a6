"""Bottlenecks in words: which part took how much, and what would make it cheaper.

The rule: each second belongs to one group, by the path of the innermost section that it lies in.
What is done once on a machine (compiling kernels, measuring storages) is a group of its own, since
another run would not spend it. Else that is the analyzer or the shared pass of the analyzers, if
the path names one; else the strategy; else what a trainer did, where forward, loss, backward and
optimizer together are the training steps; else the section at the top. A group with a fifth of the
time or more is named, the three largest at most. Training steps are no bottleneck but what a run is
for; when they take less than a fifth of the time, that is said too, and so is what is done once if
it took a twentieth. The section that took most memory is named if it took 64 MiB or more, and a
tenth of the process's peak.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from structure_net.logging.profiling.costs import Costs, SectionCost

WORTH_NAMING: Final = 0.2
"""The share of the time from which a group is named."""

MOST: Final = 3
"""How many groups are named."""

WORTH_EXCUSING: Final = 0.05
"""The share of the time from which what is done once on a machine is named."""

ONCE: Final = {
    "compiling": "compiling fast loops when they were first called, or reading what an earlier run"
    " compiled",
    "measuring storages": "measuring which storage of sparse layers pays on this machine",
}
"""Sections of what is done once on a machine, with the words for them."""

_STEPS: Final = frozenset({"forward", "loss", "backward", "optimizer"})
_TRAINING: Final = "training steps"
_OUTSIDE: Final = "outside"
_MEMORY_SHARE: Final = 0.1
_MEMORY_BYTES: Final = 64 << 20
_MIB: Final = 1 << 20


def bottlenecks(costs: Costs) -> tuple[str, ...]:
    """What stands out, one sentence or two each; empty where nothing was measured."""
    if costs.seconds <= 0:
        return ()
    groups = _groups(costs)
    largest = sorted(groups.items(), key=lambda item: -item[1])[:MOST]
    told = [
        _said(name, seconds / costs.seconds, costs)
        for name, seconds in largest
        if seconds >= WORTH_NAMING * costs.seconds
    ]
    named = {name for name, seconds in largest if seconds >= WORTH_NAMING * costs.seconds}
    told += [
        _said(name, groups[name] / costs.seconds, costs)
        for name in ONCE
        if name not in named and groups.get(name, 0.0) >= WORTH_EXCUSING * costs.seconds
    ]
    spent = groups.get(_TRAINING, 0.0) / costs.seconds
    if 0 < spent < WORTH_NAMING:
        told.append(f"Only {spent:.0%} of the time went into training steps.")
    return (*told, *_memory(costs))


def _groups(costs: Costs) -> dict[str, float]:
    groups: dict[str, float] = defaultdict(float)
    for path, seconds in costs.own().items():
        groups[group_of(path)] += seconds
    return groups


def group_of(path: str) -> str:
    """The group that the time of a section belongs to; see the module's rule."""
    parts = path.split("/") if path else []
    once = next((part for part in reversed(parts) if part in ONCE), None)
    if once is not None:
        return once
    for kind in ("analyzer ", "shared pass", "strategy "):
        found = next((part for part in reversed(parts) if part.startswith(kind)), None)
        if found is not None:
            return found
    if not parts:
        return _OUTSIDE
    if parts[0].startswith("trainer ") and len(parts) > 1:
        return _TRAINING if parts[1] in _STEPS else f"{parts[0]}/{parts[1]}"
    return parts[0]


def _said(group: str, share: float, costs: Costs) -> str:
    head = f"{share:.0%} of the time went into"
    if group == _TRAINING:
        return f"{head} training steps{_parts(costs)}."
    if group == _OUTSIDE:
        return (
            f"{share:.0%} of the time lies outside all sections: in the loop around them, or in a"
            " component of your own; mark its parts with `section`."
        )
    found = _of_group(group, costs)
    calls = sum(one.calls for one in found)
    each = sum(one.seconds for one in found) / max(calls, 1)
    times = f"{calls:,} {'call' if calls == 1 else 'calls'} of {_duration(each)}"
    return f"{head} {_name(group)}: {times}. {_way_out(group, costs)}".rstrip()


def _of_group(group: str, costs: Costs) -> list[SectionCost]:
    if "/" in group:
        return [one for one in costs.sections if one.path == group]
    return [one for one in costs.sections if one.name == group]


def _name(group: str) -> str:
    kind, _, name = group.partition(" ")
    if group in ONCE:
        return ONCE[group]
    if group == "shared pass":
        return "the pass over batches that the analyzers share"
    if "/" in group:
        trainer, _, part = group.partition("/")
        return f"{part} of {trainer.removeprefix('trainer ')}"
    return name if kind in {"analyzer", "strategy", "trainer"} else group


_WAYS_OUT: Final = (
    (
        "analyzer ",
        "",
        "Let its strategy look more rarely (when=EveryNEpochs(n)), or at less of the network.",
    ),
    ("", "/data", "Keep the set in memory or mapped, take larger batches, or load in workers."),
    ("", "/validation", "Validate on fewer samples, or in longer epochs."),
)


def _way_out(group: str, costs: Costs) -> str:
    if group in ONCE:
        return "It is done once on a machine: the next run has it."
    if group == "shared pass":
        return _way_out_of_pass(costs)
    if group.startswith("strategy "):
        return _way_out_of_strategy(group, costs)
    for beginning, end, words in _WAYS_OUT:
        if group.startswith(beginning) and group.endswith(end):
            return words
    if group.startswith("trainer ") and "/" not in group:
        return "That is what lies outside its steps, such as keeping the weights of good epochs."
    return ""


def _way_out_of_pass(costs: Costs) -> str:
    looks = sum(one.calls for one in costs.sections if one.name == "shared pass")
    forwards = [one for one in costs.sections if one.path.endswith("shared pass/forward")]
    batches = sum(one.calls for one in forwards) / max(looks, 1)
    return (
        f"It went over {batches:.0f} batches a look; look more rarely, or give the analyzers a"
        " smaller max_batches."
    )


def _way_out_of_strategy(group: str, costs: Costs) -> str:
    inside = {
        kind: sum(o.seconds for o in costs.sections if o.name == kind and group in o.path)
        for kind in ("surgery", "forward", "backward")
    }
    if inside["surgery"] > inside["forward"] + inside["backward"]:
        return "Most of it is surgery: fewer and larger edits cost less."
    if inside["forward"]:
        return "It computes the network to decide: fewer candidates or batches cost less."
    return "Ask it more rarely, by a trigger beside it."


def _parts(costs: Costs) -> str:
    times: dict[str, float] = defaultdict(float)
    for path, seconds in costs.own().items():
        name = path.rpartition("/")[2]
        if name in _STEPS and group_of(path) == _TRAINING:
            times[name] += seconds
    parts = [f"{name} {times[name] / costs.seconds:.0%}" for name in sorted(times)]
    return f" ({', '.join(parts)})" if parts else ""


def _memory(costs: Costs) -> tuple[str, ...]:
    most = max((one.peak_bytes or 0 for one in costs.sections), default=0)
    if most < _MEMORY_BYTES or most < _MEMORY_SHARE * (costs.peak_bytes or 0):
        return ()
    innermost = max(
        (one for one in costs.sections if (one.peak_bytes or 0) >= 0.9 * most),
        key=lambda one: one.depth,
    )
    return (
        f"The most memory was taken in '{innermost.path}':"
        f" {(innermost.peak_bytes or 0) / _MIB:,.0f} MiB beyond what was held before.",
    )


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
