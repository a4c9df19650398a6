"""The growth race: four protocols, each with published figures to beat, as one page.

    python -m benchmarks.growth_race A D --markdown docs/growth_race.md

A: GradMax's teacher and student. B and C: a sparse LeNet-300-100 on MNIST and Fashion-MNIST. D: a
network that grows eightfold on MNIST, side by side with gromo. The data sets come from the folder
that STRUCTURE_NET_DATA names. Every run is kept in a file, so that a race that was stopped goes on
where it was.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import growth_race_mnist, growth_race_sparse, growth_race_teachers
from benchmarks.growth_race_table import Kept, Protocol, document
from structure_net.files import cache_folder


def protocols() -> list[Protocol]:
    """All of them."""
    modules = (growth_race_teachers, growth_race_sparse, growth_race_mnist)
    return [protocol for module in modules for protocol in module.protocols()]


def main() -> None:
    """Makes the runs that are missing and prints the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth_race", description=__doc__)
    parser.add_argument("letters", nargs="*", help="of the protocols; all by default")
    parser.add_argument("--only", default="", help="methods whose names contain this")
    parser.add_argument("--seeds", type=int, help="runs of each method")
    parser.add_argument(
        "--runs",
        type=Path,
        default=cache_folder() / "growth_race.jsonl",
        help="the file of runs; kept",
    )
    parser.add_argument("--markdown", type=Path, help="also write the page to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    known, kept = protocols(), Kept(arguments.runs)
    unknown = set(arguments.letters) - {protocol.letter for protocol in known}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: A to {known[-1].letter}")
    for protocol in known:
        if not arguments.letters or protocol.letter in arguments.letters:
            race(replace(protocol, seeds=arguments.seeds or protocol.seeds), kept, arguments.only)
    text = document(known, kept)
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text, "utf-8")


def race(protocol: Protocol, kept: Kept, only: str = "") -> None:
    """Makes the runs of a protocol that are missing."""
    for method, seed in list(kept.missing(protocol)):
        if only in method:
            run = protocol.methods[method](seed)
            kept.add(protocol, method, seed, run)
            said = f"{protocol.letter} {method}, seed {seed}: {run.value:.{protocol.digits}f}"
            print(f"{said} in {run.seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
