"""Measures what is asked for and prints one table."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import torch

from benchmarks import (
    attaching,
    batching,
    evolve_command,
    evolving,
    graphs,
    importing,
    informed_growth,
    lab_faults,
    lab_scale,
    lab_throughput,
    mapping,
    observing,
    profiling,
    records,
    search,
    series,
    sinks,
    sparse,
    sparse_convolution,
    sparse_edits,
    surgery,
    topology,
    tracing,
    tracking,
)
from benchmarks.harness import Figure, table
from structure_net.errors import DatasetError

GROUPS = {
    "surgery": surgery.figures,
    "tracing": tracing.figures,
    "importing": importing.figures,
    "batching": batching.figures,
    "evolving": evolving.figures,
    "evolve_command": evolve_command.figures,
    "attaching": attaching.figures,
    "topology": topology.figures,
    "graphs": graphs.figures,
    "observing": observing.figures,
    "profiling": profiling.figures,
    "mapping": mapping.figures,
    "sparse": sparse.figures,
    "informed_growth": informed_growth.figures,
    "records": records.figures,
    "sinks": sinks.figures,
    "lab_throughput": lab_throughput.figures,
    "lab_faults": lab_faults.figures,
    "lab_scale": lab_scale.figures,
    "tracking": tracking.figures,
    "sparse_convolution": sparse_convolution.figures,
    "sparse_edits": sparse_edits.figures,
    "series": series.figures,
    "search": search.figures,
}


def main() -> None:
    """Runs the groups that are named, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    unknown = set(arguments.groups) - set(GROUPS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(GROUPS)}")
    found: list[Figure] = []
    for name in arguments.groups or GROUPS:
        print(f"measuring {name} ...", flush=True)
        try:
            found += GROUPS[name]()
        except DatasetError as error:
            print(f"left out: {error}")
    text = f"{table(found)}\n\n{_machine()}\n"
    print(f"\n{text}", end="")
    if arguments.markdown:
        arguments.markdown.write_text(f"# Benchmarks\n\n{_INTRODUCTION}\n\n{text}", "utf-8")


_INTRODUCTION = (
    "Written by `make bench ARGS='--markdown docs/benchmarks.md'`: medians of interleaved repeats, "
    "so that ratios hold where absolute times drift."
)


def _machine() -> str:
    threads = torch.get_num_threads()
    return (
        f"torch {torch.__version__}, {threads} thread{'s' * (threads != 1)}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}."
    )


if __name__ == "__main__":
    main()
