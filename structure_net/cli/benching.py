"""The command ``structure-net bench``: what sparse networks cost on the user's own machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import torch
import typer

from structure_net.cli.console import emit, people, plain_table
from structure_net.cli.flags import Json
from structure_net.cli.parsing import whole_of
from structure_net.core.crossover import get_crossover
from structure_net.core.crossover_costs import costs_here, measure_again
from structure_net.runs.benching import (
    FUSED,
    MASKED,
    NETWORKS,
    OURS,
    LayerCost,
    NetworkCost,
    layer_cost,
    network_cost,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

BENCH_HELP = """Measures what sparse networks cost on this machine, and prints tables.

`structure-net bench sparse` times training steps (forward, loss, backward, Adam; batches of 128):
single layers stored as a list of live weights and as a dense matrix beside a mask, with the density
at which both cost the same, and whole networks against the usual ways to train them. It takes about
two minutes, with --quick about twenty seconds; the first run compiles, too. Other work on the
machine blurs the figures. Where there is CUDA, the networks are timed on it, too.

What a new layer is stored as follows from figures that were measured once for this machine and this
number of threads; --again measures them anew.

Examples:

    structure-net bench sparse --quick

    structure-net bench sparse --threads 4 --again
"""

_SHAPES: Final = ((10, 1024), (256, 784), (1024, 1024), (2048, 2048))
_DENSITIES: Final = (0.001, 0.01, 0.05, 0.2, 0.5, 1.0)
_QUICK: Final = (0.01, 0.05, 0.2)
_SECONDS: Final = 2.0
"""That a network is timed for; a quarter of them with --quick."""


def bench(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="What to measure: sparse.")],
    quick: Annotated[
        bool, typer.Option("--quick", metavar="", help="Fewer networks and densities.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", metavar="", help="Measure the figures behind the choice of storage anew."
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            parser=whole_of, metavar="INT", help="Threads that PyTorch uses. [default: its own]"
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Measures this machine; see ``structure-net bench --help``."""
    if what != "sparse":
        raise typer.BadParameter(f"must be sparse; got {what!r}.", param_hint="WHAT")
    if threads is not None:
        if threads < 1:
            raise typer.BadParameter(f"must be 1 or more; got {threads}.", param_hint="--threads")
        torch.set_num_threads(threads)
    console = people(quiet=json)
    layers, networks = _measured(console, quick=quick, again=again)
    if json:
        emit(_document(layers, networks))
    else:
        _print(console, layers, networks)
    return 0


def _measured(
    console: Console, *, quick: bool, again: bool
) -> tuple[list[LayerCost], list[NetworkCost]]:
    densities = _QUICK if quick else _DENSITIES
    shapes = _SHAPES[:-1] if quick else _SHAPES
    cases = [
        (widths, density)
        for widths in (NETWORKS[:2] if quick else NETWORKS)
        for density in (_QUICK[:2] if quick else _DENSITIES)
    ]
    lasts = _SECONDS / 4 if quick else _SECONDS
    with _progress(console, 1 + len(shapes) + len(cases)) as tell:
        tell("what steps cost here")
        (measure_again if again else costs_here)()
        layers = []
        for shape in shapes:
            tell(f"a layer of {shape[1]} to {shape[0]} units")
            layers.append(layer_cost(shape, densities))
        networks = []
        for widths, density in cases:
            tell(f"{_named(widths)} at {density:.1%}")
            networks += [
                network_cost(widths, density, seconds=lasts, device=device) for device in _devices()
            ]
    return layers, networks


def _devices() -> list[str]:
    """Where networks are timed."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _print(console: Console, layers: list[LayerCost], networks: list[NetworkCost]) -> None:
    threads = torch.get_num_threads()
    console.print(
        f"Training steps in batches of 128, with {threads} thread{'s' * (threads != 1)};"
        f" the crossover is set to {get_crossover()}."
    )
    console.print("\nOne layer, milliseconds (* the storage that a new layer gets):")
    densities = [f"live, {density:.1%}" for density, _ in layers[0].live]
    columns = ("outputs x inputs", "masked", *densities, "crossover")
    console.print(plain_table(columns, [_layer_row(one) for one in layers]))
    for device in dict.fromkeys(one.device for one in networks):
        there = [one for one in networks if one.device == device]
        where = "" if device == "cpu" else f" on {device}"
        console.print(f"Whole networks{where}, milliseconds (times as long as {OURS} in brackets):")
        others = [name for name in there[0].seconds if name != OURS]
        columns = ("network", "density", "live layers", OURS, *others, "memory (MiB)")
        console.print(plain_table(columns, [_network_row(one, others) for one in there]))
    console.print(f"memory: what {OURS} holds / {FUSED}.")


def _layer_row(cost: LayerCost) -> list[str]:
    masked = f"{cost.masked * 1e3:.3g}" + "*" * ("masked" in cost.chosen)
    live = [
        f"{seconds * 1e3:.3g}" + "*" * (chosen == "live")
        for (_, seconds), chosen in zip(cost.live, cost.chosen, strict=True)
    ]
    return [f"{cost.shape[0]} x {cost.shape[1]}", masked, *live, f"{cost.crossover:.0%}"]


def _network_row(cost: NetworkCost, others: Sequence[str]) -> list[str]:
    return [
        _named(cost.widths),
        f"{cost.density:.1%}",
        f"{cost.storages.count('live')} of {len(cost.storages)}",
        f"{cost.seconds[OURS] * 1e3:.3g}",
        *(f"{cost.seconds[name] * 1e3:.3g} ({cost.speed(name):.1f})" for name in others),
        f"{cost.memory[OURS] / 2**20:.2f} / {cost.memory[FUSED] / 2**20:.1f}",
    ]


def _document(layers: list[LayerCost], networks: list[NetworkCost]) -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "crossover": get_crossover(),
        "layers": [asdict(one) for one in layers],
        "networks": [{**asdict(one), "speed_over_masked": one.speed(MASKED)} for one in networks],
    }


def _named(widths: Sequence[int]) -> str:
    return "-".join(str(width) for width in widths)


@contextmanager
def _progress(console: Console, steps: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal that names what is measured now; nothing elsewhere."""
    if not console.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: Sequence[Any] = (
        TextColumn("measuring"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=steps, completed=-1, note="")
        yield lambda note: bar.update(task, advance=1, note=note)
