"""One module per kind of source."""

__all__: list[str] = []
