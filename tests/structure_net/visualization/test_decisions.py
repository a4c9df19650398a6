from __future__ import annotations

import pytest
from matplotlib.colors import to_hex

from structure_net.surgery import AddNeurons, EditEntry, EventEntry, Journal
from structure_net.visualization import Decision, decisions, plot_decision_log

JOURNAL = Journal(
    [
        EventEntry("start"),
        EditEntry(AddNeurons("fc2", 4), 0, "Widen", "fc2 passes on 3 of 8 directions"),
        EventEntry("rejected", 1, "Widen", {"edits": [{}], "held_out_loss": 0.5}),
        EventEntry("opaque", 2, "Mine"),
        EventEntry("epoch", 2),
    ]
)


def test_decisions_are_the_edits_the_trials_and_the_changes_by_hand() -> None:
    assert decisions(JOURNAL) == (
        Decision(0, "+4 neurons in fc2", "fc2 passes on 3 of 8 directions", "Widen"),
        Decision(1, "1 edit tried, taken back", "held out loss 0.500", "Widen", kept=False),
        Decision(2, "changed by hand", "its own `grow`", "Mine"),
    )


def test_the_log_says_why_it_was_this_layer() -> None:
    words = [text.get_text() for text in plot_decision_log(JOURNAL).texts]
    assert words[:4] == ["#", "what", "why", "who"]
    assert words[4:8] == ["1", "+4 neurons in fc2", "fc2 passes on 3 of 8 directions", "Widen"]


def test_what_was_taken_back_stands_out() -> None:
    colours = {
        text.get_text(): to_hex(text.get_color()) for text in plot_decision_log(JOURNAL).texts
    }
    assert colours["1 edit tried, taken back"] != colours["+4 neurons in fc2"]


def test_of_a_long_lineage_the_newest_decisions_are_shown_and_the_others_counted() -> None:
    edits = [EditEntry(AddNeurons("fc", 1), step, reason=f"reason {step}") for step in range(40)]
    ax = plot_decision_log(Journal(edits), last=5)
    words = [text.get_text() for text in ax.texts]
    assert "reason 39" in words
    assert "reason 34" not in words
    assert ax.get_title(loc="left").endswith("(the last 5 of 40 decisions)")


def test_rows_do_not_cover_each_other() -> None:
    long = "a reason that is so long that it takes more than one line of the table to write it down"
    ax = plot_decision_log(Journal([EditEntry(AddNeurons("fc", 1), s, "Me", long) for s in (0, 1)]))
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_no_decision_to_show_is_refused() -> None:
    with pytest.raises(ValueError, match="last must be 1 or more; got 0"):
        plot_decision_log(JOURNAL, last=0)
