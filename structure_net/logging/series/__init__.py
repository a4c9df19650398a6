"""Time series in HDF5: appended in blocks, read lazily meanwhile, rebuilt from the spool."""

from structure_net.logging.series.checking import check_series
from structure_net.logging.series.exporting import export_csv, export_parquet
from structure_net.logging.series.layout import present
from structure_net.logging.series.reading import Column, Series, Table
from structure_net.logging.series.rebuilding import SERIES, catch_up, rebuild
from structure_net.logging.series.rows import TABLES, row_of
from structure_net.logging.series.writing import SeriesWriter

__all__ = [
    "SERIES",
    "TABLES",
    "Column",
    "Series",
    "SeriesWriter",
    "Table",
    "catch_up",
    "check_series",
    "export_csv",
    "export_parquet",
    "present",
    "rebuild",
    "row_of",
]
