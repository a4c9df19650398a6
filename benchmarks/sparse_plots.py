"""Draws docs/images/crossover.png: what a layer's step costs by density, in either storage.

Run as `python -m benchmarks.sparse_plots [FILE]`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import now
from structure_net.runs.benching import (
    FUSED,
    MASKED,
    NETWORKS,
    NetworkCost,
    layer_cost,
    network_cost,
)

SHAPES: Final = ((256, 784), (1024, 1024), (2048, 2048))
DENSITIES: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0)
STEPS: Final = (0.001, 0.01, 0.05, 0.2, 0.4, 1.0)
COLOURS: Final = ("#3b6fb6", "#c2562d", "#4c8c4a")


def main() -> None:
    """Measures, draws and writes the picture."""
    from matplotlib.figure import Figure

    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/crossover.png")
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    layers, networks = figure.subplots(1, 2)
    _draw_layers(layers)
    _draw_networks(networks)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)


def _draw_layers(axes: Any) -> None:
    for colour, shape in zip(COLOURS, SHAPES, strict=True):
        cost = layer_cost(shape, DENSITIES, rounds=9, clock=now)
        name = f"{shape[1]} to {shape[0]} units"
        densities, seconds = zip(*cost.live, strict=True)
        axes.plot(densities, [1e3 * s for s in seconds], "o-", ms=3, color=colour, label=name)
        axes.axhline(1e3 * cost.masked, color=colour, ls=":", lw=1)
        print(shape, f"masked {1e3 * cost.masked:.3g} ms", [f"{1e3 * s:.3g}" for s in seconds])
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="density",
        ylabel="milliseconds",
        title="A step of one layer: live weights (lines) and masked (dotted)",
    )
    axes.xaxis.set_major_formatter(lambda density, _: f"{100 * density:g} %")
    axes.legend(frameon=False)


def _draw_networks(axes: Any) -> None:
    for colour, widths in zip(COLOURS, NETWORKS, strict=True):
        costs: list[NetworkCost] = [
            network_cost(widths, density, seconds=0.7, clock=now) for density in STEPS
        ]
        name = "-".join(str(width) for width in widths)
        axes.plot(STEPS, [c.speed(MASKED) for c in costs], "o-", ms=3, color=colour, label=name)
        axes.plot(STEPS, [c.speed(FUSED) for c in costs], "s--", ms=3, color=colour)
        for cost in costs:
            print(name, cost.density, cost.storages, f"{cost.speed(MASKED):.2f}", end=" ")
            print(f"{cost.speed(FUSED):.2f}", flush=True)
    axes.axhline(1, color="grey", lw=0.8)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="density",
        ylabel="times as fast",
        title="A step of a network over masked (dashed: pre-masked)",
    )
    axes.xaxis.set_major_formatter(lambda density, _: f"{100 * density:g} %")
    axes.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.legend(frameon=False)


if __name__ == "__main__":
    main()
