r"""The moments of every place where a unit could be added (`structure_net.core.expansion`).

For each layer whose units another one reads, products of the layer's inputs, of the reader's inputs
and of the gradient at the reader's outputs. Where the two layers lie on different grids, as behind
a pooling, the inputs are averaged onto the reader's. Of large images some samples of each batch are
taken, evenly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from structure_net.core.expansion import PlaceMoments
from structure_net.core.place_sums import PlaceAccumulator, is_place
from structure_net.evolution.reductions.layer_gradients import LayerCall, LayerCalls
from structure_net.evolution.reductions.reduction import Reduction, With
from structure_net.evolution.reductions.values import BatchSeen, Gradients, Values


class PlaceSums(Reduction):
    """Running sums of the products that make `PlaceMoments`, one set for each pair of layers."""

    differentiates: ClassVar[frozenset[With]] = frozenset({With.OUTPUTS})

    def __init__(self) -> None:
        self._calls = LayerCalls()
        self._now: dict[str, LayerCall | None] = {}
        self._sums: dict[tuple[str, str], PlaceAccumulator] = {}

    def input(self, values: Values) -> None:
        """See `Reduction.input`."""
        self._calls.input(values)

    def output(self, values: Values) -> None:
        """See `Reduction.output`."""
        self._calls.output(values)

    def gradients(self, found: Gradients) -> None:
        """See `Reduction.gradients`."""
        for call in self._calls.matched(found):
            # A layer that is called twice has no one place in the network.
            self._now[call.layer] = None if call.layer in self._now else call

    def batch(self, seen: BatchSeen) -> None:
        """See `Reduction.batch`."""
        now, self._now = self._now, {}
        self._calls.clear()
        for layer, readers in seen.readers.items():
            for reader in readers:
                writer, taker = now.get(layer), now.get(reader)
                if writer is None or taker is None or not is_place(writer, taker):
                    self._sums.pop((layer, reader), None)
                    continue
                if (layer, reader) not in self._sums:
                    self._sums[layer, reader] = PlaceAccumulator(writer, taker)
                self._sums[layer, reader].add(writer, taker)

    def result(self, readers: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[PlaceMoments, ...]]:
        """By layer, one for each of its readers; layers without a place are not there.

        A place needs a linear layer or an ungrouped convolution on both sides, each called once in
        a pass, and no more than `structure_net.core.place_sums.MOST_ENTRIES` entries in a moment.
        """
        found = {
            layer: tuple(
                self._sums[layer, reader].moments(layer, reader)
                for reader in names
                if (layer, reader) in self._sums
            )
            for layer, names in readers.items()
        }
        return {layer: places for layer, places in found.items() if places}
