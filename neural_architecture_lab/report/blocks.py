"""The parts that a report is made of, and how they read as Markdown and as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from neural_architecture_lab.judgement import Verdict


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading.

    Args:
        level: From 1, the report's own, on.
        text: In words.
    """

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words, after a name for them in bold where there is one.

    Args:
        text: In words.
        name: What they are.
    """

    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list.

    Args:
        items: In words.
    """

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Args:
        columns: Their names.
        rows: As many cells each.
        leads: Whether the first cell of each row is the text of a heading, and leads there.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    leads: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture.

    Args:
        name: Of its file, without the ending.
        says: What it shows, in words.
        draw: Returns it as SVG.
    """

    name: str
    says: str
    draw: Callable[[], str]


Block: TypeAlias = Heading | Paragraph | Bullets | Grid | Picture
Place: TypeAlias = Callable[[Picture], str]
"""The address of a picture."""

_VERDICTS: Final = frozenset(verdict.upper() for verdict in Verdict)
_ONE_LINE: Final = 44
"""Cells up to this many letters are not broken; the table scrolls where the page is narrow."""

_SPECIAL = re.compile(r"([\\`*|<]|(?<!\w)_|_(?!\w)|^#|~(?=~)|\](?=[(\[]))")


def markdown(blocks: Sequence[Block], place: Place | None = None) -> str:
    """Blocks as Markdown; pictures are left out where there is no place for them."""
    parts = [_markdown(block, place) for block in blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def hypertext(blocks: Sequence[Block], place: Place) -> str:
    """Blocks as HTML, without the page around them."""
    return "\n".join(_hypertext(block, place) for block in blocks)


def anchor(text: str) -> str:
    """The name under which a heading is found on its page, as GitHub makes it of the words."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def _markdown(block: Block, place: Place | None) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {escaped(text)}"
        case Paragraph(text, name):
            return f"**{escaped(name)}** {escaped(text)}" if name else escaped(text)
        case Bullets(items):
            return "\n".join(f"- {escaped(item)}" for item in items)
        case Grid(columns, rows, leads):
            rule = "| " + " | ".join("---" for _ in columns) + " |"
            lines = (_line(row, anchor(row[0]) if leads else "") for row in rows)
            return "\n".join((_line(columns), rule, *lines))
        case Picture(_, says, _):
            return f"![{escaped(says)}]({place(block)})" if place else ""


def escaped(text: str) -> str:
    """Text that Markdown takes letter by letter, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _line(cells: Sequence[str], lead: str = "") -> str:
    said = [escaped(cell) for cell in cells]
    if lead:
        said[0] = f"[{said[0]}](#{lead})"
    return "| " + " | ".join(said) + " |"


def _hypertext(block: Block, place: Place) -> str:
    match block:
        case Heading(level, text):
            name = f' id="{html.escape(anchor(text))}"' if level == 2 else ""
            return f"<h{level}{name}>{_toned(text)}</h{level}>"
        case Paragraph(text, name):
            bold = f"<strong>{html.escape(name)}</strong> " if name else ""
            return f"<p>{bold}{html.escape(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>"
        case Grid(columns, rows, leads):
            head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
            body = "".join(f"<tr>{_row(row, leads=leads)}</tr>" for row in rows)
            table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            return f'<div class="wide">{table}</div>'
        case Picture(_, says, _):
            said = html.escape(says, quote=True)
            image = f'<img src="{place(block)}" alt="{said}">'
            return f"<figure>{image}<figcaption>{html.escape(says)}</figcaption></figure>"


def _row(cells: Sequence[str], *, leads: bool) -> str:
    said = [_toned(cell) for cell in cells]
    if leads:
        said[0] = f'<a href="#{html.escape(anchor(cells[0]))}">{said[0]}</a>'
    long = (len(cell) > _ONE_LINE for cell in cells)
    return "".join(
        f'<td class="long">{words}</td>' if wide else f"<td>{words}</td>"
        for words, wide in zip(said, long, strict=True)
    )


def _toned(text: str) -> str:
    """Words as HTML; a verdict at their end gets a colour as well."""
    before, space, last = text.rpartition(" ")
    if last not in _VERDICTS:
        return html.escape(text)
    return f'{html.escape(before)}{space}<span class="verdict {last.lower()}">{last}</span>'
