"""A stress run goes on where it was, keeps one network in memory, and judges memory by a slope."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from structure_net.cli.app import main
from structure_net.errors import RunError
from structure_net.logging import current
from structure_net.runs.stressing import (
    MemorySample,
    Steadiness,
    StressFolder,
    StressRequest,
    steadiness_of,
    stress,
)
from structure_net.runs.stressing.folder import Member, Standing, stress_folder
from structure_net.runs.stressing.offspring import WIDTHS, first_network
from structure_net.runs.stressing.reporting import report_stress
from structure_net.runs.stressing.tournament import samples_of
from structure_net.visualization import plot_memory

REQUEST = StressRequest(networks=4, dataset="spirals", steps=3)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRUCTURE_NET_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


class EnoughError(Exception):
    """Stops a run in the middle of a generation."""


def stopping(after: tuple[int, int]):  # type: ignore[no-untyped-def]
    def told(generation: int, turn: int, memory: float) -> None:
        if (generation, turn) == after:
            raise EnoughError

    return told


def until(folder: StressFolder, standing: Standing, after: tuple[int, int]) -> None:
    with pytest.raises(EnoughError):
        stress(folder, standing, 1e6, told=stopping(after))


def results(folder: StressFolder) -> list[tuple[str, float, list[list[object]]]]:
    """What came out of each turn that stands."""
    return [
        (one.data["trial"], one.data["metrics"]["validation_loss"], one.data["events"])
        for one in current(folder.records)
        if one.kind == "trial"
    ]


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, standing = stress_folder(tmp_path / "whole", REQUEST)
    until(whole, standing, (3, 1))
    parts, standing = stress_folder(tmp_path / "parts", REQUEST)
    for after in ((0, 3), (1, 2), (3, 1)):
        until(parts, standing, after)
        parts, standing = stress_folder(tmp_path / "parts", REQUEST)
    assert results(parts) == results(whole)
    assert [one.seconds for one in samples_of(parts)] == sorted(
        one.seconds for one in samples_of(parts)
    )


def test_the_worse_half_gives_way_to_offspring_of_the_better_half(tmp_path: Path) -> None:
    folder, standing = stress_folder(tmp_path / "run", REQUEST)
    until(folder, standing, (1, 4))
    found = {name: loss for name, loss, _ in results(folder) if name.startswith("0/")}
    best = sorted(found, key=lambda name: found[name])[:2]
    after = folder.read()
    assert after is not None
    assert after.generation == 1
    winners, children = after.members[:2], after.members[2:]
    assert [f"0/{one.number}" for one in winners] == best
    assert [one.parent for one in children] == [one.number for one in winners]
    assert [one.number for one in children] == [4, 5]
    edits = [events for name, _, events in results(folder) if name in {"1/4", "1/5"}]
    assert all(one and one[0][1] for one in edits)


def test_networks_lie_on_the_disk_and_leave_it_with_their_member(tmp_path: Path) -> None:
    folder, standing = stress_folder(tmp_path / "run", REQUEST)
    until(folder, standing, (2, 1))
    after = folder.read()
    assert after is not None
    held = {path.name for path in folder.population.glob("*.safetensors")}
    assert {member.file for member in after.members} <= held
    assert len(held) <= len(after.members) + 1


def test_a_folder_of_something_else_or_of_another_request_is_refused(tmp_path: Path) -> None:
    folder, standing = stress_folder(tmp_path / "run", REQUEST)
    folder.write(standing)
    with pytest.raises(RunError, match="holds a stress run with"):
        stress_folder(folder.path, replace(REQUEST, seed=1))
    folder.state.write_text("{")
    with pytest.raises(RunError, match="damaged"):
        stress_folder(folder.path, REQUEST)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("")
    with pytest.raises(RunError, match="no stress run"):
        stress_folder(tmp_path / "other", REQUEST)
    with pytest.raises(RunError, match="networks must be at least 4; got 3"):
        StressRequest(networks=3)


def test_what_a_folder_says_is_read_back(tmp_path: Path) -> None:
    folder = StressFolder(tmp_path)
    folder.population.mkdir()
    standing = Standing(REQUEST, (Member(0, None, "a"), Member(4, 0, "b")), 3, 5, 1.5, 17)
    folder.write(standing)
    assert folder.read() == standing


def test_first_networks_follow_from_their_seed_and_are_bounded() -> None:
    one, same, other = (first_network(8, 3, seed) for seed in (1, 1, 2))
    assert one.architecture == same.architecture
    assert all(WIDTHS[0] <= width < 2 * WIDTHS[0] for width in other.architecture[1:-1])


def memory(slope: float, *, noise: float = 1.0, minutes: float = 10.0) -> list[MemorySample]:
    """Samples a second apart: 500 MiB, ``slope`` MiB an hour, and noise that lasts a while."""
    generator = np.random.default_rng(0)
    held, found = 0.0, []
    for second in range(int(60 * minutes)):
        held = 0.9 * held + noise * float(generator.normal())
        found.append(MemorySample(second, 500 + slope * second / 3600 + held))
    return found


def test_a_steady_process_is_flat_and_a_leak_grows() -> None:
    flat, leaking = steadiness_of(memory(0)), steadiness_of(memory(360))
    assert (flat.verdict, leaking.verdict) == ("flat", "grows")
    assert flat.interval[0] < 0 < flat.interval[1]
    assert leaking.interval[0] < 360 < leaking.interval[1]
    assert flat.in_words().startswith("Memory is flat: memory went by")
    assert "whether it goes on" not in flat.in_words()
    settling = steadiness_of(memory(40, noise=0.2))
    assert settling.verdict == "flat"
    assert settling.in_words().endswith("a longer run would tell whether it goes on.")
    assert leaking.in_words().startswith("Memory grows:")
    hardly = replace(flat, slope=0.002, interval=(0.001, 0.003))  # MiB an hour
    assert "whether it goes on" not in hardly.in_words()
    assert leaking.peak == max(one.mebibytes for one in memory(360))


def test_what_is_loaded_at_the_beginning_is_no_growth() -> None:
    samples = [
        replace(one, mebibytes=one.mebibytes - max(0.0, 300 - 5 * one.seconds)) for one in memory(0)
    ]
    assert steadiness_of(samples).verdict == "flat"


def test_short_and_noisy_runs_are_unclear() -> None:
    assert steadiness_of([]).in_words().startswith("Too short to tell: 0 samples")
    assert steadiness_of(memory(0, minutes=0.5)).verdict == "unclear"
    noisy = steadiness_of(memory(0, noise=60))
    assert isinstance(noisy, Steadiness)
    assert noisy.verdict == "unclear"
    assert "a longer run would tell" in noisy.in_words()


def test_the_interval_holds_the_true_slope_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        samples = [MemorySample(s, 500 + 0.01 * s + generator.normal()) for s in range(600)]
        low, high = steadiness_of(samples).interval
        held += low < 36 < high
    # 95 of 100 are expected; below 87 in less than one of a thousand cases.
    assert held >= 87


def test_the_picture_begins_at_nothing_and_shows_the_line() -> None:
    ax = plot_memory([(0, 400), (600, 410)], line=((100, 400), (600, 410)), title="Memory")
    assert ax.get_ylim()[0] == 0
    assert len(ax.lines) == 2
    assert ax.get_title(loc="left") == "Memory"


def test_the_command_runs_reports_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["stress", "--networks", "4", "--dataset", "spirals", "--steps", "2"]
    for minutes in ("0.01", "0.02"):
        assert main([*words, "--minutes", minutes, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.strip().split("\n}\n")[-1])
    assert told["verdict"] == "unclear"
    folder = StressFolder(out)
    assert "# Stress: 4 networks on spirals" in folder.report.read_text(encoding="utf-8")
    assert folder.picture.read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--minutes", "-1"]) == 2
    standing = folder.read()
    if standing is not None:
        assert report_stress(folder, standing).samples == len(samples_of(folder))
