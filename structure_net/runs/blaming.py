"""What code of the user's own raised, as one of our errors: in one line, with its file and line."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from structure_net.errors import RunError, StructureNetError

_OURS: Final = str(Path(__file__).resolve().parents[1])


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turns whatever is raised inside into a `RunError`.

    Errors of this package and of the operating system, which say enough, pass as they are, and so
    does Ctrl-C.

    Args:
        what: What did not work, as the start of a sentence.

    Raises:
        RunError: ``what``, then `described`.
    """
    try:
        yield
    except (StructureNetError, OSError):
        raise
    except Exception as error:
        # The user's own code ran, which may raise anything; it is told on, not swallowed.
        raise RunError(f"{what}: {described(error)}") from error


def described(error: BaseException) -> str:
    """The kind of an error, what it says, and the line of the user's code that it comes from."""
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, SyntaxError):  # says its place itself
        return f"{said}."
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if _is_users(frame.filename)]
    place = (theirs or frames)[-1]
    return f"{said} ({place.filename}, line {place.lineno}: {place.line})."


def _is_users(filename: str) -> bool:
    """Whether a file is none of Python's, of this package or of another that is installed."""
    paths = sysconfig.get_paths()
    installed = (paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"])
    return not filename.startswith((*installed, _OURS, "<"))
