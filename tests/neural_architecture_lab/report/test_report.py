from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from neural_architecture_lab import Arm, LabConfig, NeuralArchitectureLab, Stopping
from neural_architecture_lab.errors import StoreError
from neural_architecture_lab.report import Report, report_of
from neural_architecture_lab.report.composing import chapter, summary
from neural_architecture_lab.report.gathering import Section, Shown, gather
from neural_architecture_lab.report.wording import duration
from neural_architecture_lab.store import Archive, Store
from tests.neural_architecture_lab.report.reported import hypothesis


@pytest.fixture
def lab(tmp_path: Path) -> NeuralArchitectureLab:
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path / "lab"))
    lab.run_hypothesis_test(lab.register_hypothesis(hypothesis()))
    return lab


def test_the_text_holds_question_prediction_hash_verdict_and_numbers(
    lab: NeuralArchitectureLab,
) -> None:
    report = lab.generate_report()
    text = str(report)
    review = report.sections[0].review
    mean = review.evidence[0].mean
    assert mean is not None
    for said in (
        r"**Question.** Does growth \| pay?",
        "**Prediction.** It does.",
        "accuracy of grown is higher than that of fixed, by 0.01 or more",
        lab.plan(review.frozen.id).hash,
        "### Verdict: REFUTED",
        str(mean),
        "SomeGrowth 6x",
        "**Runner:** serial: one trial at a time was asked for.",
        "**Deviations:** none",
        "2 predictions are judged together",
    ):
        assert said in text


def test_a_table_keeps_its_columns_whatever_the_words(lab: NeuralArchitectureLab) -> None:
    rows = [line for line in str(lab.generate_report()).splitlines() if line.startswith("|")]
    tables = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    for before, row, count in zip(tables, rows[1:], tables[1:], strict=False):
        assert count == before or not row.startswith("| ---")


def test_the_page_needs_no_other_file_and_takes_no_word_as_a_tag(
    lab: NeuralArchitectureLab, tmp_path: Path
) -> None:
    page = lab.generate_report().save_html(tmp_path / "new" / "page.html").read_text()
    assert "grown_is &lt;better&gt;" in page
    assert "<better>" not in page
    sources = re.findall(r'src="([^"]{0,26})', page)
    assert len(sources) == 5  # effects, seeds, front, curves, growth
    assert set(sources) == {"data:image/svg+xml;base64,"}
    assert not re.findall(r"<(?:script|link)|url\(", page)


def test_a_printed_page_cuts_no_table_off(lab: NeuralArchitectureLab) -> None:
    # On paper nothing scrolls: what is wider than the page breaks its lines instead.
    _, _, printed = lab.generate_report().html().partition("@media print")
    rules = printed.partition("</style>")[0]
    assert ".wide, figure { overflow: visible; }" in rules
    assert "th, td { white-space: normal;" in rules


def test_a_saved_folder_holds_text_page_and_the_pictures_it_shows(
    lab: NeuralArchitectureLab, tmp_path: Path
) -> None:
    folder = lab.generate_report().save(tmp_path / "saved")
    shown = re.findall(r"\]\((pictures/[^)]+)\)", (folder / "report.md").read_text())
    assert len(shown) == 5
    assert all((folder / name).read_text().startswith("<?xml") for name in shown)
    assert (folder / "report.html").exists()


def test_what_cannot_be_written_is_said(lab: NeuralArchitectureLab, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        lab.generate_report().save_html(tmp_path / "file" / "page.html")


def test_another_process_reports_while_a_lab_holds_the_store(lab: NeuralArchitectureLab) -> None:
    program = (
        "import sys; from neural_architecture_lab.report import report_of;"
        "from neural_architecture_lab.store import Archive; print(report_of(Archive(sys.argv[1])))"
    )
    with Store(lab.config.folder):
        found = subprocess.run(
            [sys.executable, "-c", program, str(lab.config.folder)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[3],
        )
    assert found.stdout.strip() == str(lab.generate_report()).strip()


def test_what_changed_since_the_first_freezing_is_shown_for_ever(
    lab: NeuralArchitectureLab,
) -> None:
    first = lab.generate_report().sections[0].first.digest
    for _ in range(2):
        again = NeuralArchitectureLab(lab.config)
        again.run_hypothesis_test(again.register_hypothesis(hypothesis(alpha=0.01)))
        text = str(again.generate_report())
        assert "- alpha was 0.05 and is 0.01" in text
        assert first in text


def test_failures_stand_in_the_report_with_their_reason(tmp_path: Path) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    arms = (hypothesis().arms[0], Arm("grown", {"reach": 0.8, "size": 100, "fails_at": 2}))
    lab.run_hypothesis_test(lab.register_hypothesis(hypothesis(arms=arms)))
    text = str(lab.generate_report())
    assert r"- grown: 1 × failed: RuntimeError: no \| luck \<today>" in text


def test_an_early_stop_is_told(tmp_path: Path) -> None:
    lab = NeuralArchitectureLab(LabConfig(results_dir=tmp_path))
    stopping = Stopping(looks=(8, 16))
    lab.run_hypothesis_test(lab.register_hypothesis(hypothesis(seeds=16, stopping=stopping)))
    assert "Stopped early, at one of the planned looks (8, 16 seeds)." in str(lab.generate_report())


def test_verdicts_of_several_hypotheses_allow_for_each_other(lab: NeuralArchitectureLab) -> None:
    lab.run_hypothesis_test(lab.register_hypothesis(hypothesis(name="another")))
    alone = lab.generate_report(["another"])
    both = lab.generate_report()
    assert [s.review.frozen.id for s in alone.sections] == ["another"]
    assert both.sections[1].review.family == 4
    assert (
        both.sections[1].review.evidence[0].adjusted
        >= alone.sections[0].review.evidence[0].adjusted
    )
    with pytest.raises(StoreError, match="no results of 'third'"):
        lab.generate_report(["third"])


def test_an_empty_archive_has_a_report_too(tmp_path: Path) -> None:
    report = report_of(Archive(tmp_path))
    assert isinstance(report, Report)
    assert "No hypothesis has been frozen here yet." in str(report)
    assert summary(gather(Archive(tmp_path)))


def test_what_is_gathered_shows_the_control_first(lab: NeuralArchitectureLab) -> None:
    (section,) = gather(lab.archive)
    assert isinstance(section, Section)
    assert section.arms == ("fixed", "grown")
    assert section.metrics == ("accuracy", "parameters")
    assert all(isinstance(one, Shown) for one in section.shown)
    assert len(section.shown) == 12
    assert chapter(section)


@pytest.mark.parametrize(("seconds", "said"), [(3, "3 s"), (300, "5 min"), (7200, "2 h")])
def test_times_are_told_in_the_unit_that_suits_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
