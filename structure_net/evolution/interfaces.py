"""The roles of a component. A component of one's own defines the abstract methods, nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from structure_net.evolution.acceptance import Acceptance
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.editing import Proposal, carry_out
from structure_net.evolution.observation import Mode, Need
from structure_net.surgery.edits import Edit


class Component(ABC):  # noqa: B024 - the roles below have the abstract methods
    """What `ComposableEvolutionSystem.add_component` takes."""


class Analyzer(Component):
    """Looks at a network and changes nothing.

    ``needs`` is what the shared pass over a few batches must measure; it is there in
    ``context.observation`` when `analyze` is called. ``max_batches`` is how many batches are
    enough; the pass sees as many as the most demanding analyzer asks for. ``probe_size`` is how
    many samples of `Need.PROBE` it wants; the probe has as many as the most demanding one asks for,
    and ``probe.first(n)`` is a smaller one. ``candidates`` is the same for
    `Need.CONNECTION_SAMPLES`, whose first ones are always the same. ``mode`` is how the network
    runs meanwhile: where some analyzers ask for evaluation and others for training, there are two
    passes over the same batches, and ``context.observation.training`` is the other. ``provides``
    names the keys that it reports, for whoever looks for an analyzer of a key.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset()
    max_batches: int = 10
    probe_size: int = 0
    candidates: int = 0
    mode: Mode = "evaluation"

    @abstractmethod
    def analyze(self, context: NetworkContext) -> Mapping[str, Any]:
        """What was found, by keys that no other analyzer uses; a value may be `Lazy`."""


def providers(key: str) -> tuple[str, ...]:
    """The names of the analyzers that provide a key, of all that are defined by now.

    A class that was defined again, as by a cell of a notebook that ran twice, is named once.
    """
    found = (one.__name__ for one in _derived(Analyzer) if key in vars(one).get("provides", ()))
    return tuple(dict.fromkeys(found))


def _derived(kind: type) -> Iterator[type]:
    direct: list[type] = kind.__subclasses__()
    for one in direct:
        yield one
        yield from _derived(one)


class GrowthStrategy(Component):
    """Decides whether to change the architecture, and changes it.

    ``requires`` names the keys of the analysis without which the strategy cannot decide.
    ``whether`` is the acceptance policy that it asks for where a system is given none.
    """

    requires: frozenset[str] = frozenset()
    whether: Acceptance | None = None

    @abstractmethod
    def should_grow(self, context: NetworkContext, analysis: Any) -> bool:
        """Whether `grow` has something to do; changes nothing."""

    @abstractmethod
    def grow(self, context: NetworkContext, analysis: Any) -> NetworkContext:
        """The context after growth; ``context.network`` may be edited in place."""


class EditingStrategy(GrowthStrategy):
    """A strategy that only has to say which edits it wants, in which order.

    `propose` is pure and deterministic: no tensor is written, so that it can be tested on a dict.
    """

    @abstractmethod
    def propose(self, context: NetworkContext, analysis: Any) -> Sequence[Edit | Proposal]:
        """The edits; each is carried out on the network that the ones before it left."""

    def proposals(self, context: NetworkContext, analysis: Any) -> tuple[Proposal, ...]:
        """What `propose` says, each edit with its reason.

        Raises:
            TypeError: It says anything else than edits and proposals.
        """
        proposed = self.propose(context, analysis)
        if not isinstance(proposed, Iterable):
            raise TypeError(
                f"{type(self).__name__}.propose must return a sequence of edits, empty where there"
                f" is nothing to do; got {proposed!r}."
            )
        found = tuple(p if isinstance(p, Proposal) else Proposal(p) for p in proposed)
        for proposal in found:
            if not isinstance(proposal.edit, Edit):
                raise TypeError(
                    f"{type(self).__name__}.propose must return edits, such as AddNeurons('fc', 2);"
                    f" got {proposal.edit!r}."
                )
        return found

    def options(self, context: NetworkContext, analysis: Any) -> tuple[tuple[Proposal, ...], ...]:
        """What a policy that compares candidates may choose from: each proposal by itself.

        Override it where proposals belong together: each candidate is carried out alone.
        """
        return tuple((proposal,) for proposal in self.proposals(context, analysis))

    def should_grow(self, context: NetworkContext, analysis: Any) -> bool:
        """Whether there is any proposal."""
        return bool(self.proposals(context, analysis))

    def grow(self, context: NetworkContext, analysis: Any) -> NetworkContext:
        """Carries the proposals out, all or none, and enters them in the journal.

        Raises:
            SurgeryError: An edit was refused; the network is as it was.
        """
        wanted = self.proposals(context, analysis)
        return carry_out(context, wanted, component=type(self).__name__)


class Trainer(Component):
    """Improves the weights and leaves the architecture alone.

    One that trains in steps tells ``context.hooks``, where they are set, of each step and epoch.
    """

    @abstractmethod
    def train(self, context: NetworkContext) -> NetworkContext:
        """The context after training."""
