"""The report of a lab: Markdown as text, one HTML page, or a folder with both and the pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from neural_architecture_lab.errors import StoreError
from neural_architecture_lab.insights import Insight, extract
from neural_architecture_lab.report.blocks import Block, Heading, Picture, hypertext, markdown
from neural_architecture_lab.report.composing import chapter, learned, summary
from neural_architecture_lab.report.gathering import Section, gather
from neural_architecture_lab.report.searches import searches
from neural_architecture_lab.searching import Searched, searched
from neural_architecture_lab.store import Archive

_STYLE: Final = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2rem auto;
  max-width: 66rem; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { border-top: 2px solid #0072B2; padding-top: 1rem; margin-top: 3rem; }
h3 { margin-top: 2rem; }
a { color: #0072B2; }
.wide, figure { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; margin: 0.5rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: 0.3rem 1.2rem 0.3rem 0; text-align: left;
  vertical-align: top; white-space: nowrap; }
td { font-variant-numeric: tabular-nums; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 20rem; }
p, li { overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
img { display: block; width: 100%; min-width: 36rem; max-width: 54rem; height: auto; }
figcaption { color: #555; font-size: 0.85rem; position: sticky; left: 0; }
.verdict { color: #fff; background: #666; border-radius: 0.25em; padding: 0.05em 0.45em;
  font-size: 0.85em; }
.supported { background: #00664a; }
.refuted { background: #a84300; }
.equivalent { background: #005a8f; }
@media print {
  body { margin: 0; max-width: none; padding: 0; }
  .wide, figure { overflow: visible; }
  table { font-size: 0.75rem; }
  th, td { white-space: normal; overflow-wrap: break-word; padding-right: 0.7rem; }
  img, td.long { min-width: 0; }
  tr, figure { break-inside: avoid; }
  h1, h2, h3 { break-after: avoid; }
  .verdict { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What a lab found. ``str()`` is Markdown.

    Args:
        title: Of the whole.
        sections: One for each hypothesis.
        insights: What their results show beyond the verdicts.
        searches: Those of the same folder.
    """

    title: str
    sections: tuple[Section, ...]
    insights: tuple[Insight, ...] = ()
    searches: tuple[Searched, ...] = ()

    def __str__(self) -> str:
        return markdown(self.blocks())

    def __repr__(self) -> str:
        told = [one.review.frozen.id for one in self.sections] + [one.id for one in self.searches]
        return f"Report({', '.join(told) or 'nothing yet'}; print it, or save_html(path))"

    def _repr_markdown_(self) -> str:
        """What notebooks show."""
        return str(self)

    def blocks(self) -> list[Block]:
        """All that it says, in order."""
        said: list[Block] = [Heading(1, self.title)]
        if self.sections or not self.searches:
            said += summary(self.sections)
        for section in self.sections:
            said += chapter(section)
        if self.sections:
            said += learned(self.insights)
        return [*said, *searches(self.searches)]

    def html(self) -> str:
        """One page that needs no other file."""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(self.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            f"{hypertext(self.blocks(), _embedded)}\n</body>\n</html>\n"
        )

    def save_html(self, path: str | Path) -> Path:
        """Writes the page, and the folders above it.

        Returns:
            Where it is.

        Raises:
            StoreError: It cannot be written.
        """
        return _written(Path(path), self.html())

    def save(self, folder: str | Path) -> Path:
        """Writes ``report.md``, its pictures under ``pictures``, and ``report.html``.

        Returns:
            The folder.

        Raises:
            StoreError: It cannot be written.
        """
        place = Path(folder)
        for block in self.blocks():
            if isinstance(block, Picture):
                _written(place / _file(block), block.draw())
        _written(place / "report.md", markdown(self.blocks(), _file))
        self.save_html(place / "report.html")
        return place


def report_of(archive: Archive, ids: Sequence[str] | None = None) -> Report:
    """The report of what is stored, whoever stored it, and while a lab runs too.

    Args:
        archive: Where it is.
        ids: Which hypotheses, which are judged together, and which searches; all if None.

    Raises:
        StoreError: One of them is not there, or the archive cannot be read.
    """
    begun = archive.searches()
    wanted = [one for one in (begun if ids is None else ids) if one in begun]
    tested = None if ids is None else [one for one in ids if one not in begun]
    return Report(
        "Report of the lab",
        gather(archive, tested),
        extract(archive, tested),
        tuple(searched(archive, one) for one in wanted),
    )


def _file(picture: Picture) -> str:
    return f"pictures/{picture.name}.svg"


def _embedded(picture: Picture) -> str:
    code = base64.b64encode(picture.draw().encode()).decode()
    return f"data:image/svg+xml;base64,{code}"


def _written(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"The report cannot be written to {path}: {error.strerror}.") from error
    return path
