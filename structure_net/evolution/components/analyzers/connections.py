"""How much each connection of a sparse layer is asked for, those that do not exist included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict

from torch import Tensor

from structure_net.core.arguments import check_whole
from structure_net.core.sparsity import SparseLayer
from structure_net.core.statistics import sparse_layers
from structure_net.core.weights import kernel_norms
from structure_net.evolution.analysis import Lazy
from structure_net.evolution.components.analyzers.looking import observed
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Analyzer
from structure_net.evolution.observation import Mode, Need, check_mode


class ConnectionAnalysis(TypedDict):
    """What `ConnectionAnalyzer` reports, by sparse layer.

    The shape of the layer's pattern, on the CPU, each computed when first read; the norm over each
    kernel of a convolution whose connections are whole kernels.

    ``connection_gradient``: the magnitude of the mean gradient. ``connection_momentum``: of the
    gradient smoothed over the batches, the last ones counting most (`ConnectionGradient`).

    ``connection_ranking``: where to add connections first: the layers by the mean momentum of their
    live connections (sparse momentum's measure); a layer without any is left out.
    """

    connection_gradient: Mapping[str, Tensor] | Lazy
    connection_momentum: Mapping[str, Tensor] | Lazy
    connection_ranking: Mapping[str, float]


class ConnectionAnalyzer(Analyzer):
    """Takes the gradient of every possible connection of the sparse layers, over a few batches.

    Training does not have it: it masks the gradient of what is absent. It costs what dense layers
    would: products as large, and at its peak three numbers for each place of the layers, 3 GiB for
    16384 x 16384; a layer of more than ``2 ** 28`` places is refused. `ConnectionCandidateAnalyzer`
    costs what its candidates do.

    Args:
        max_batches: How many batches are looked at. Each costs about two steps of training (of a
            small ResNet at 10 %: 1.9 steps of 32 images for one batch, 15 for ten). The papers on
            RigL and GraNet take 1; the mean of more is less noisy.
        mode: ``"training"`` takes the gradient that training would, by the statistics of each batch
            and under dropout, as the papers do; ``"evaluation"`` that of the network as it is used.
            Running statistics, random states and modes stay as they are; see
            `structure_net.core.running.train` for modules that are frozen in evaluation mode.

    Raises:
        ValueError: There is less than one batch, or no such mode.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONNECTION_GRADIENTS})
    provides: ClassVar[frozenset[str]] = frozenset(ConnectionAnalysis.__annotations__)

    def __init__(self, max_batches: int = 10, *, mode: Mode = "training") -> None:
        if max_batches < 1:
            raise ValueError(f"max_batches must be 1 or more; got {max_batches}.")
        check_mode(mode)
        self.max_batches = max_batches
        self.mode = mode

    def analyze(self, context: NetworkContext) -> ConnectionAnalysis:
        """See `ConnectionAnalysis`.

        Raises:
            StructureNetError: The context carries no observation.
        """
        found = observed(context, self).connections
        layers = sparse_layers(context.network)
        single = {name: _is_single(layers[name]) for name in found}
        means = {
            name: float(_magnitude(_at(one.momentum, layers[name]), 1).mean())
            for name, one in found.items()
            if layers[name].connections
        }
        return {
            "connection_gradient": context.lazy(
                lambda: {n: _matrix(one.mean, single=single[n]) for n, one in found.items()}
            ),
            "connection_momentum": context.lazy(
                lambda: {n: _matrix(one.momentum, single=single[n]) for n, one in found.items()}
            ),
            "connection_ranking": dict(sorted(means.items(), key=lambda item: -item[1])),
        }


class CandidateAnalysis(TypedDict):
    """What `ConnectionCandidateAnalyzer` reports, by sparse layer that lacks connections.

    ``candidate_gradient``: places that the layer lacks, ``output * columns + column`` of its
    pattern, in the order in which they were drawn, and the magnitude of the mean gradient at each
    (the norm over each kernel of a convolution). Shape ``(n,)`` each, on the CPU.
    """

    candidate_gradient: Mapping[str, tuple[Tensor, Tensor]]


class ConnectionCandidateAnalyzer(Analyzer):
    """Takes the gradient at some absent connections of the sparse layers, over a few batches.

    What `ConnectionAnalyzer` takes at all of them; here the cost follows the candidates.

    Args:
        candidates: How many of each layer, drawn evenly; fewer where it lacks fewer.
        max_batches: How many batches are looked at.
        mode: See `ConnectionAnalyzer`.

    Raises:
        TypeError: A number is not whole.
        ValueError: One is less than 1, or there is no such mode.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONNECTION_SAMPLES})
    provides: ClassVar[frozenset[str]] = frozenset(CandidateAnalysis.__annotations__)

    def __init__(
        self, candidates: int = 10_000, max_batches: int = 10, *, mode: Mode = "training"
    ) -> None:
        check_whole(1, candidates=candidates, max_batches=max_batches)
        check_mode(mode)
        self.mode = mode
        self.candidates = candidates
        self.max_batches = max_batches

    def analyze(self, context: NetworkContext) -> CandidateAnalysis:
        """See `CandidateAnalysis`.

        Raises:
            StructureNetError: The context carries no observation.
        """
        found = observed(context, self).connection_samples
        return {
            "candidate_gradient": {
                name: (
                    one.places[: self.candidates],
                    _magnitude(one.gradient, 1)[: self.candidates],
                )
                for name, one in found.items()
            }
        }


def _is_single(layer: SparseLayer) -> bool:
    """Whether single weights of kernels are connections."""
    return len(layer.sources) > layer.in_channels


def _matrix(gradient: Tensor, *, single: bool) -> Tensor:
    """By connection: of kernels the norm, of single weights each. The shape of the pattern."""
    return _magnitude(gradient.flatten(1) if single else gradient, 2)


def _at(gradient: Tensor, layer: SparseLayer) -> Tensor:
    """The gradient of the live connections. Shape ``(n, *kernel)``."""
    pattern, every = layer.pattern, gradient.flatten(1) if _is_single(layer) else gradient
    return every[pattern.rows.to(every.device), pattern.columns.to(every.device)]


def _magnitude(gradient: Tensor, dims: int) -> Tensor:
    several = gradient.dim() > dims
    return (kernel_norms(gradient, dims) if several else gradient.abs()).cpu()
