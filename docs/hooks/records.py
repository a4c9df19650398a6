"""What records are made from: the ``Args`` of a pydantic model are its attributes."""

from __future__ import annotations

from typing import Any

from griffe import Class, Extension

MODELS = {"BaseModel", "RecordModel", "Value"}


class Records(Extension):
    """A model has no signature to read, since pydantic writes it: its fields have the types."""

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Its ``Args`` are read as ``Attributes``."""
        bases = {str(base).split(".")[-1] for base in cls.bases}
        if bases & MODELS and cls.docstring is not None:
            cls.docstring.value = cls.docstring.value.replace("Args:", "Attributes:", 1)
