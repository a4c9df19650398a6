"""Sections lie within each other, their own times add up to the whole, and words follow a rule."""

from __future__ import annotations

import gc
import json
import math
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import pytest
import torch

from structure_net.core.sections import Sections, listened_by, listening
from structure_net.errors import StructureNetError
from structure_net.logging.profiling import (
    BESIDE,
    ONCE,
    Costs,
    Profiler,
    SectionCost,
    bottlenecks,
    own_bytes,
    resident_bytes,
    section,
)
from structure_net.logging.profiling.devices import DeviceClock, Mark, clock_of
from structure_net.logging.profiling.findings import group_of
from structure_net.logging.profiling.memory import MemoryWatch
from structure_net.logging.records import Profile


def costs(seconds: float, **parts: float) -> Costs:
    """Sections by path, with double underscores for slashes; every one called twice."""
    named = {key.replace("__", "/").replace("_", " "): value for key, value in parts.items()}
    return Costs(tuple(SectionCost(p, 2, s, None, 0) for p, s in named.items()), seconds)


def work(seconds: float = 0.002) -> None:
    until = perf_counter() + seconds
    while perf_counter() < until:
        pass


def test_without_a_listener_a_section_is_one_object_that_does_nothing() -> None:
    assert section("forward") is section("analyzer A")
    assert not listening()
    with section("forward"):
        assert not listening()


def test_a_section_lies_within_the_one_that_is_open() -> None:
    with Profiler() as profiler:
        for _ in range(3):
            with section("trainer T"), section("forward"):
                work()
        with section("forward"):
            work()
    found = {one.path: one.calls for one in profiler.costs().sections}
    assert found == {"trainer T": 3, "trainer T/forward": 3, "forward": 1}


def test_the_listener_is_that_of_the_thread_and_of_the_block() -> None:
    profiler = Profiler()
    assert isinstance(profiler.section("a").path, str)
    with listened_by(profiler):
        assert listening()
    heard: Sections | None = profiler
    assert heard is not None
    assert not listening()


def test_own_times_add_up_to_the_whole() -> None:
    with Profiler() as profiler:
        work()
        with section("a"):
            work()
            with section("b"):
                work()
    found = profiler.costs()
    own = found.own()
    assert set(own) == {"", "a", "a/b"}
    # Sums of the same clock readings, in another order.
    assert sum(own.values()) == pytest.approx(found.seconds, rel=1e-9)
    assert min(own.values()) >= 0.0019


def test_an_open_section_counts_until_now() -> None:
    with Profiler() as profiler, section("a"):
        work()
        seen = profiler.costs()
    assert seen.sections[0].calls == 1
    assert 0.002 <= seen.sections[0].seconds <= seen.seconds


def test_an_error_leaves_its_sections() -> None:
    with Profiler() as profiler:
        with pytest.raises(ValueError, match="wrong"), section("a"), section("b"):
            raise ValueError("wrong")
        with section("c"):
            pass
    assert [one.path for one in profiler.costs().sections] == ["a", "a/b", "c"]


def test_a_profiler_is_added_to_when_entered_again_and_refuses_to_be_entered_twice() -> None:
    profiler = Profiler()
    for _ in range(2):
        with profiler, section("a"):
            work()
    assert profiler.costs().sections[0].calls == 2
    assert profiler.costs().seconds >= 0.004
    with profiler, pytest.raises(StructureNetError, match="entered already"), profiler:
        pass


def test_costs_since_are_the_difference_and_leave_out_what_was_not_entered() -> None:
    before, after = costs(2, a=1, b=1), costs(5, a=1, b=1, c=3)
    added = Costs((*after.sections[:1], SectionCost("b", 5, 3.5), after.sections[2]), 5)
    found = added.since(before)
    assert [(one.path, one.calls, one.seconds) for one in found.sections] == [
        ("b", 3, 2.5),
        ("c", 2, 3),
    ]
    assert found.seconds == 3


@pytest.mark.skipif(resident_bytes() is None, reason="the system does not tell")
def test_the_memory_that_a_section_took_is_seen_though_it_was_given_back() -> None:
    with Profiler() as profiler, section("outer"), section("analyzer A"):
        held = torch.ones(16 << 20)  # 64 MiB, written
        until = perf_counter() + 30
        # The watch looks every 50 ms where the machine lets it: no fixed pause is long enough.
        # Other allocations of the process may hide a part of it.
        while (profiler.costs().sections[-1].peak_bytes or 0) <= 48 << 20:
            assert perf_counter() < until
            sleep(0.01)
        del held
    outer, inner = profiler.costs().sections
    assert inner.peak_bytes is not None
    assert outer.peak_bytes is not None
    assert outer.peak_bytes >= inner.peak_bytes - (1 << 20)
    assert (profiler.costs().peak_bytes or 0) >= inner.peak_bytes


@pytest.mark.skipif(own_bytes() is None, reason="the system does not tell")
def test_pages_of_mapped_files_are_not_the_processs_own(tmp_path: Path) -> None:
    size = 64 << 20
    np.zeros(size, np.uint8).tofile(tmp_path / "pages")
    gc.collect()
    before, own = resident_bytes(), own_bytes()
    pages = np.memmap(tmp_path / "pages", mode="r")
    assert int(pages.max()) == 0
    assert own is not None
    assert before is not None
    assert (resident_bytes() or 0) - before > size // 2
    assert (own_bytes() or 0) - own < size // 2


def test_a_watch_that_was_never_started_holds_what_it_last_saw() -> None:
    watch = MemoryWatch(lambda held, before: None)
    assert watch.look() == 0
    watch.stop()
    assert watch.peak is None


class Ticking:
    """A mark on a device that passes one mark at each question."""

    now = 0

    def record(self) -> None:
        Ticking.now += 1
        self.at = Ticking.now

    def query(self) -> bool:
        return True

    def elapsed_time(self, end_event: Ticking) -> float:
        return 1000.0 * (end_event.at - self.at)


def test_a_device_clock_adds_seconds_once_they_are_known_and_uses_marks_again() -> None:
    made: list[Mark] = []

    def new() -> Mark:
        made.append(Ticking())
        return made[-1]

    clock, found = DeviceClock(new), list[float]()
    for _ in range(1000):
        clock.stretch(clock.mark(), found.append)
    clock.settle()
    assert found == [1.0] * 1000
    assert len(made) <= 512


def test_there_is_no_device_clock_without_cuda() -> None:
    assert clock_of(torch.device("cpu")) is None


def test_the_record_says_what_the_costs_say() -> None:
    measured = Costs((SectionCost("a/b", 3, 0.5, None, 7),), 2.0, 100)
    record = measured.record(iteration=4, findings=("slow",))
    assert isinstance(record, Profile)
    section_, *_ = record.sections
    assert (section_.name, section_.calls, section_.seconds) == ("a/b", 3, 0.5)
    assert (record.iteration, record.seconds, record.peak_bytes) == (4, 2.0, 100)
    assert record.findings == ("slow",)


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("", "outside"),
        ("analysis/analyzer A", "analyzer A"),
        ("strategy S/analyzer A", "analyzer A"),
        ("analysis/shared pass/forward", "shared pass"),
        ("trainer T/strategy S/surgery", "strategy S"),
        ("trainer T/forward", "training steps"),
        ("trainer T/data", "trainer T/data"),
        ("trainer T/validation/forward", "trainer T/validation"),
        ("trainer T", "trainer T"),
        ("saving", "saving"),
        ("trainer T/optimizer/compiling", "compiling"),
        ("strategy S/surgery/measuring storages", "measuring storages"),
    ],
)
def test_each_second_belongs_to_one_group(path: str, group: str) -> None:
    assert group_of(path) == group


def test_a_slow_analyzer_is_named_with_its_share_and_a_way_out() -> None:
    found = costs(10, analysis=5, analysis__analyzer_A=4.1, trainer_T=5, trainer_T__forward=5)
    said = bottlenecks(found)
    assert said[0].startswith("50% of the time went into training steps (forward 50%)")
    assert said[1].startswith("41% of the time went into A: 2 calls of 2.05 s.")
    assert "more rarely" in said[1]


def test_a_slow_loader_is_named() -> None:
    said = bottlenecks(costs(10, trainer_T=9, trainer_T__data=7, trainer_T__forward=1))
    assert said[0].startswith("70% of the time went into data of T")
    assert said[1] == "Only 10% of the time went into training steps."


def test_what_is_done_once_on_a_machine_is_told_apart_from_what_every_run_spends() -> None:
    parts = {"trainer_T": 90, "trainer_T__optimizer": 90, "trainer_T__optimizer__compiling": 8}
    steps, once = bottlenecks(costs(100, **parts))
    assert steps.startswith("82% of the time went into training steps (optimizer 82%)")
    assert once.startswith("8% of the time went into compiling fast loops")
    assert once.endswith("2 calls of 4 s. It is done once on a machine: the next run has it.")
    assert all("compiling" not in one for one in bottlenecks(costs(1000, **parts)))
    assert set(ONCE) == {"compiling", "measuring storages"}


def test_the_shared_pass_says_over_how_many_batches_it_went() -> None:
    found = Costs(
        (
            SectionCost("analysis", 2, 9.0),
            SectionCost("analysis/shared pass", 2, 9.0),
            SectionCost("analysis/shared pass/forward", 20, 8.0),
        ),
        10.0,
    )
    assert "It went over 10 batches a look" in bottlenecks(found)[0]


def test_surgery_and_candidates_are_told_apart() -> None:
    slow = bottlenecks(costs(10, strategy_S=8, strategy_S__surgery=7))
    trying = bottlenecks(costs(10, strategy_S=8, strategy_S__forward=7))
    assert "Most of it is surgery" in slow[0]
    assert "fewer candidates" in trying[0]


def test_nothing_is_said_of_small_parts_of_sinks_and_of_nothing() -> None:
    even = {f"part_{name}": 1.0 for name in "abcdefghij"}
    assert bottlenecks(costs(10, **even)) == ()
    assert bottlenecks(Costs((), 0.0)) == ()
    beside = Costs((SectionCost(f"{BESIDE}wandb", 3, 50.0), SectionCost("a", 1, 9.0)), 10.0)
    assert math.isclose(sum(beside.own().values()), 10.0)
    assert all("wandb" not in one for one in bottlenecks(beside))


def test_the_section_that_took_most_memory_is_named() -> None:
    large = Costs(
        (SectionCost("t", 1, 1.0, None, 99 << 20), SectionCost("t/b", 1, 1.0, None, 98 << 20)),
        10.0,
        200 << 20,
    )
    assert bottlenecks(large)[-1].startswith("The most memory was taken in 't/b': 98 MiB")


def test_a_profiler_notes_what_sinks_computed() -> None:
    profiler = Profiler()
    profiler.beside("tensorboard", calls=12, seconds=0.25)
    (found,) = profiler.costs().sections
    assert (found.path, found.calls, found.seconds) == ("sink tensorboard", 12, 0.25)


def test_a_trace_is_a_file_for_chrome_with_the_sections_in_it(tmp_path: Path) -> None:
    with Profiler(trace=tmp_path / "trace.json") as profiler:
        with section("trainer T"), section("forward"):
            torch.ones(3) + 1
        assert profiler.end_trace() == tmp_path / "trace.json"
        assert profiler.end_trace() is None
    names = {
        event.get("name")
        for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    }
    assert {"trainer T/forward", "aten::add"} <= names
