from __future__ import annotations

import pytest

from neural_architecture_lab.report.blocks import (
    Block,
    Bullets,
    Grid,
    Heading,
    Paragraph,
    Picture,
    escaped,
    hypertext,
    markdown,
)

PICTURE = Picture("p", 'says "this"', lambda: "<svg/>")
BLOCKS: list[Block] = [
    Heading(2, "a < b"),
    Paragraph("text", "Name."),
    Bullets(("one", "two")),
    Grid(("x", "y"), (("1", "a|b"),)),
    PICTURE,
]


def test_blocks_read_as_markdown() -> None:
    assert markdown(BLOCKS, lambda picture: f"{picture.name}.svg") == (
        "## a \\< b\n\n**Name.** text\n\n- one\n- two\n\n"
        "| x | y |\n| --- | --- |\n| 1 | a\\|b |\n\n"
        '![says "this"](p.svg)\n'
    )
    assert "![" not in markdown(BLOCKS)


def test_blocks_read_as_html() -> None:
    page = hypertext(BLOCKS, lambda picture: f"{picture.name}.svg")
    assert '<h2 id="a--b">a &lt; b</h2>' in page
    assert '<img src="p.svg" alt="says &quot;this&quot;">' in page
    assert "<td>a|b</td>" in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("snake_case [0.1, 0.2]", "snake_case [0.1, 0.2]"),
        ("*bold* `code`", r"\*bold\* \`code\`"),
        ("_leaning_", r"\_leaning\_"),
        ("[a](b)", r"[a\](b)"),
        ("# head", r"\# head"),
        ("two\nlines", "two lines"),
    ],
)
def test_words_stay_words(text: str, said: str) -> None:
    assert escaped(text) == said
