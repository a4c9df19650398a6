"""Every analyzer on a network that learns the digits, with the pictures of what they find.

Run it with ``python examples/modular_metrics_example.py [FOLDER]``; it takes half a minute. The
pictures go into FOLDER, or into a new temporary one, whose path is printed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from structure_net import create_standard_network
from structure_net import visualization as draw
from structure_net.data import load_dataset
from structure_net.evolution import Event, EventKind
from structure_net.evolution.components import (
    ComposableEvolutionSystem,
    ExtremaGrowthStrategy,
    GradientAnalyzer,
    GraphAnalyzer,
    HebbianAnalyzer,
    HomologicalAnalyzer,
    LayerPerformanceAnalyzer,
    NetworkContext,
    NetworkStatsAnalyzer,
    SensitivityAnalyzer,
    SimpleInformationFlowAnalyzer,
    StandardExtremaAnalyzer,
    StandardNetworkTrainer,
    TopologicalAnalyzer,
)
from structure_net.evolution.metrics import Unavailable

Series = dict[int, Mapping[str, Any]]


def grown() -> tuple[NetworkContext, Series]:
    """A sparse network that grew and trained for four iterations, and its extrema in each."""
    digits = load_dataset("digits", seed=0)
    context = NetworkContext(
        create_standard_network([64, 64, 32, 10], density=0.05, seed=0),
        digits.train.batches(64, shuffle=True, seed=0),
        validation_loader=digits.validation.batches(512),
    )
    system = ComposableEvolutionSystem(
        [StandardExtremaAnalyzer(), ExtremaGrowthStrategy(), StandardNetworkTrainer(epochs=3)]
    )
    series: Series = {}

    def note(event: Event) -> None:
        # An analysis is read while it is fresh: the first of each iteration, before growth.
        if event.kind is EventKind.ANALYZED and event.iteration not in series:
            series[event.iteration] = {"extrema_ratio": event.detail["analysis"]["extrema_ratio"]}

    evolved = system.evolve_network(context, 4, on_event=note)
    return evolved, series


def analyzed(context: NetworkContext) -> Mapping[str, Any]:
    """What all analyzers find; they share one pass over ten batches."""
    return ComposableEvolutionSystem(
        [
            NetworkStatsAnalyzer(),
            StandardExtremaAnalyzer(),
            SimpleInformationFlowAnalyzer(),
            GradientAnalyzer(),
            HebbianAnalyzer(),
            SensitivityAnalyzer(),
            GraphAnalyzer(),
            TopologicalAnalyzer(),
            HomologicalAnalyzer(),
            LayerPerformanceAnalyzer(),
        ]
    ).analyze(context)


def tell(found: Mapping[str, Any]) -> None:
    """Prints one finding of each analyzer, and where it would act first."""
    print(
        f"{found['network_connections']} connections, {found['network_flops'].total:.0f} operations"
    )
    show("dead units", found["extrema_dead_ratio"], "{:.1%}")
    show("effective rank", found["information_effective_rank"], "{:.1f}")
    show("gradient norm", found["gradient_norm"], "{:.3f}")
    show("rise of the loss without the layer", found["sensitivity_layer_ablation"], "{:.2f}")
    show("units that share the paths", found["graph_effective_width"], "{:.1f}")
    for layer, pairs in found["hebbian_redundant"].items():
        print(f"redundant units: {len(pairs or ())} pairs in {layer}")
    null = found["topology_network"]
    print(f"neural persistence: {null.value:.3f}, with shuffled weights {null.mean:.3f}")
    for chain in found["homology_barcodes"]:
        print(f"directions from input to output: {chain.barcode.through} of {chain.source}")
    show("hybrid bottleneck score", found["performance_bottleneck"], "{:.2f}")
    print("\nwhere each would act first:")
    for key in (key for key in found if key.endswith("_ranking")):
        scores = found[key] or {}
        layer = next((one for one in scores if not isinstance(scores[one], Unavailable)), "nowhere")
        print(f"  {key.removesuffix('_ranking'):<12} {layer}")


def show(name: str, values: Mapping[str, Any] | Unavailable, form: str) -> None:
    """Prints one number for each layer, or the reason why there is none."""
    if isinstance(values, Unavailable):
        print(f"{name}: {values}")
        return
    words = [
        f"{layer} {'?' if isinstance(value, Unavailable) else form.format(value)}"
        for layer, value in values.items()
    ]
    print(f"{name}: {', '.join(words)}")


def pictures(
    context: NetworkContext, found: Mapping[str, Any], series: Series
) -> dict[str, Callable[[], Any]]:
    """Every picture by the name of its file; each is one call."""
    journal = context.journal
    return {
        "bottlenecks": lambda: draw.plot_bottlenecks(found, journal=journal),
        "dead_and_saturated": lambda: draw.plot_extrema(found),
        "coactivation": lambda: draw.plot_coactivation(found, layer="layers.1"),
        "gradient_flow": lambda: draw.plot_gradient_flow(found),
        "layered_graph": lambda: draw.plot_layered_graph(found, relative=True),
        "layered_graph_by_importance": lambda: draw.plot_layered_graph(
            found, metric="sensitivity_unit_taylor", relative=True
        ),
        "neural_persistence": lambda: draw.plot_neural_persistence(found),
        "persistence_diagram": lambda: draw.plot_persistence_diagram(found, layer="layers.1"),
        "persistence_barcode": lambda: draw.plot_persistence_barcode(found, layer="layers.1"),
        "betti_curves": lambda: draw.plot_betti_curves(found),
        "map_barcode": lambda: draw.plot_map_barcode(found),
        "rankings": lambda: draw.plot_rankings(found),
        "timeline": lambda: draw.plot_timeline(series, measure="extrema_ratio", journal=journal),
        "lineage": lambda: draw.plot_lineage(journal),
        "decision_log": lambda: draw.plot_decision_log(journal),
    }


def main() -> None:
    """Trains, analyzes, prints and draws."""
    named = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="metrics-"))
    named.mkdir(parents=True, exist_ok=True)
    context, series = grown()
    found = analyzed(context)
    tell(found)
    for name, picture in pictures(context, found, series).items():
        picture().figure.savefig(named / f"{name}.png")
    print(f"\npictures: {named}")


if __name__ == "__main__":
    main()
