"""What the caches of a batch tell of the network as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from structure_net.dnm.caches import LayerCaches
from structure_net.dnm.measuring import cached_analysis
from structure_net.errors import MissingAnalysisError
from structure_net.evolution.analysis import Analysis
from structure_net.evolution.context import NetworkContext


class CachedLook:
    """The analysis of the caches at hand, made when it is first asked for.

    Args:
        measures: The names of the measures that count.
    """

    def __init__(self, measures: Sequence[str]) -> None:
        self._measures = measures
        self._caches: LayerCaches | None = None
        self._found: Analysis | None = None

    def take(self, caches: LayerCaches) -> None:
        """Looks at these from now on."""
        self._caches, self._found = caches, None

    def forget(self) -> None:
        """The network is another one: the caches tell nothing of it."""
        self._caches = self._found = None

    def analysis(self, context: Callable[[], NetworkContext]) -> Analysis:
        """What the caches tell.

        Args:
            context: Gives the network as it is.

        Raises:
            MissingAnalysisError: There are no caches.
        """
        if self._caches is None:
            raise MissingAnalysisError(
                "DNMFramework has no caches of the network as it is. Call update_caches with"
                " activations and gradients of a batch; collect_caches makes them."
            )
        if self._found is None:
            self._found = cached_analysis(context(), self._caches, self._measures)
        return self._found

    def narrowest(self, context: Callable[[], NetworkContext]) -> list[str]:
        """The narrowest layer in words, where caches are there."""
        if self._caches is None:
            return []
        analysis = self.analysis(context)
        layer, score = next(iter(analysis["performance_ranking"].items()))
        measures = ", ".join(analysis["performance_measures"]) or "no measure tells layers apart"
        return [f"{layer} is the narrowest layer, with a score of {score:.2f} ({measures})"]
