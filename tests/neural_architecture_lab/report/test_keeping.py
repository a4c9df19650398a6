from __future__ import annotations

from pathlib import Path

from neural_architecture_lab import LabConfig, NeuralArchitectureLab
from neural_architecture_lab.report import keep_report
from neural_architecture_lab.store import Store
from structure_net.logging import blob_path, read
from structure_net.logging.guarding import Source
from structure_net.logging.lines import Stored
from tests.neural_architecture_lab.report.reported import hypothesis


class Told:
    """Keeps the kinds of what it is told."""

    name = "told"

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def open(self, source: Source) -> None: ...

    def write(self, stored: Stored) -> None:
        self.kinds.append(stored.kind)

    def flush(self, deadline: float) -> None: ...

    def close(self) -> None: ...


def test_a_report_is_kept_once_as_text_and_as_a_page(tmp_path: Path) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    lab.run_hypothesis_test(lab.register_hypothesis(hypothesis(seeds=2)))
    with Store(tmp_path) as store:
        assert keep_report(store)
        assert not keep_report(store)
    kept = [one.data for one in read(lab.archive.spool_folder) if one.kind == "artifact"]
    assert [one["name"] for one in kept] == ["report.md", "report.html"]
    text = blob_path(lab.archive.spool_folder, kept[0]["digest"]).read_text("utf-8")
    assert text == str(lab.generate_report())


def test_who_is_told_of_records_is_told_of_the_report(tmp_path: Path) -> None:
    told = Told()
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path), sinks=[told])
    lab.run_hypothesis_test(lab.register_hypothesis(hypothesis(seeds=2)))
    assert told.kinds[-2:] == ["artifact", "artifact"]
    assert told.kinds.count("trial") == 4
