r"""Formulas as MathML: what docstrings write as ``:math:`x```, pages as ``\(x\)``.

They are converted while the pages are built, and browsers show MathML by themselves: no script and
no font is fetched. A formula that cannot be converted stops the build.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor
from mkdocs.exceptions import PluginError

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

INLINE = r":math:`([^`]+)`|\\\((.+?)\\\)"
BLOCK = re.compile(r"^( *)\.\. math::[ ]*(.*)$")
LITERAL = re.compile(r"^(.*?)::\s*$")
# Spelled out, where the converter knows another word only.
SYNONYMS = {
    r"\arg": r"\operatorname{arg}",
    r"\lVert": r"\|",
    r"\rVert": r"\|",
    r"\lvert": "|",
    r"\rvert": "|",
}


def mathml(formula: str, *, display: str) -> str:
    """A formula of LaTeX as a ``math`` element, ``display`` as ``inline`` or ``block``."""
    for word, other in SYNONYMS.items():
        formula = formula.replace(word, other)
    element = convert(" ".join(formula.split()), display=display)
    unknown = re.search(r"\\\w+", element)
    if unknown is not None:
        raise PluginError(f"{unknown[0]} in {formula!r} has no MathML; spell it otherwise.")
    return element


class Inline(InlineProcessor):
    """Formulas within a line."""

    # The names of the arguments are those of Markdown's own classes.
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # noqa: N802 - Markdown's name
        """The formula, kept away from what else reads the line."""
        element = mathml(m[1] or m[2], display="inline")
        return self.md.htmlStash.store(element), m.start(0), m.end(0)


class Blocks(Preprocessor):
    """Formulas of their own, and the double colon in front of literal text."""

    def run(self, lines: list[str]) -> list[str]:
        """The lines, with formulas put aside and literal text as Markdown has it."""
        out: list[str] = []
        at = 0
        while at < len(lines):
            found = BLOCK.match(lines[at])
            if found is None:
                out.append(_without_double_colon(lines, at))
                at += 1
                continue
            formula = [found[2]]
            at += 1
            while at < len(lines) and lines[at].startswith(found[1] + "   "):
                formula.append(lines[at])
                at += 1
            stored = self.md.htmlStash.store(mathml(" ".join(formula), display="block"))
            out += ["", found[1] + stored, ""]
        return out


def _without_double_colon(lines: list[str], at: int) -> str:
    found = LITERAL.match(lines[at])
    following = next((line for line in lines[at + 1 :] if line.strip()), "")
    if found is None or not following.startswith("    ") or found[1].startswith("    "):
        return lines[at]
    return f"{found[1]}:" if found[1].strip() else ""


class Mathematics(Extension):
    """Both, for Markdown."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Markdown's name
        """Before code in backticks is read, and after fenced code was put aside."""
        md.preprocessors.register(Blocks(md), "mathematics", 24)
        md.inlinePatterns.register(Inline(INLINE, md), "mathematics", 200)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Every page and every docstring is read with formulas."""
    extensions: list[Any] = config.markdown_extensions
    extensions.append(Mathematics())
    return config
