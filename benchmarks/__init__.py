"""Figures that are measured, not asserted: `python -m benchmarks`, or `make bench`."""

__all__: list[str] = []
