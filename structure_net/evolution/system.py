"""The loop: analyzers look, strategies decide, surgery edits, trainers learn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from torch import nn
from torch.optim import Optimizer

from structure_net.core.arguments import check_module, check_optimizer, check_whole, shown
from structure_net.core.sections import section
from structure_net.core.statistics import network_stats
from structure_net.core.wrapping import wrapped
from structure_net.errors import SurgeryError, TrainingDivergedError
from structure_net.evolution.acceptance import Acceptance, Always
from structure_net.evolution.analysis import Analysis
from structure_net.evolution.batches import Batch, Loss, refuse_iterators
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.events import Event, EventKind, Observer, Observers
from structure_net.evolution.interfaces import Analyzer, Component, GrowthStrategy, Trainer
from structure_net.evolution.looking import look
from structure_net.evolution.losses import note_loss
from structure_net.evolution.memory import AnalysisMemory
from structure_net.evolution.session import EvolutionSession, Rule
from structure_net.evolution.triggers import Trigger

if TYPE_CHECKING:
    from structure_net.logging.profiling import Costs, Profiler


class ComposableEvolutionSystem:
    """Components, run role by role in the order in which they were added.

    ::

        for each iteration:
            analysis = the merge of what all analyzers say
            for each strategy whose trigger is due:
                if it should grow, and its acceptance policy agrees: grow, and analyze anew
            for each trainer:
                train

    Any role may be empty. Strategies with a step trigger are asked within training instead.

    Args:
        components: The first components.
        on_event: Is told of everything that happens in every run of this system.
    """

    def __init__(
        self, components: Iterable[Component] = (), *, on_event: Observer | None = None
    ) -> None:
        self._components: list[Component] = []
        self._rules: list[Rule] = []
        self._on_event = on_event
        self._costs: Costs | None = None
        for component in components:
            self.add_component(component)

    def __repr__(self) -> str:
        names = ", ".join(type(one).__name__ for one in self._components)
        return f"ComposableEvolutionSystem([{names}])"

    @property
    def components(self) -> tuple[Component, ...]:
        """All components in the order in which they were added."""
        return tuple(self._components)

    @property
    def costs(self) -> Costs | None:
        """Where the time and memory of the last call with ``profile`` went; None before."""
        return self._costs

    def add_component(
        self,
        component: Component,
        *,
        when: Trigger | None = None,
        whether: Acceptance | None = None,
    ) -> Self:
        """Adds an analyzer, a strategy or a trainer.

        Args:
            component: What to add.
            when: Of a strategy: when it is asked; None: at every iteration.
            whether: Of a strategy: which growth is kept; None: what it asks for, else all.

        Raises:
            TypeError: It is none of the three, ``when`` or ``whether`` stand with another role, or
                are no trigger and no acceptance policy.
        """
        if not isinstance(component, Analyzer | GrowthStrategy | Trainer):
            raise TypeError(
                "A component is an Analyzer, a GrowthStrategy or a Trainer;"
                f" got {shown(component)}. Derive its class from one of them, and pass an instance."
            )
        for name, value, kind in (("when", when, Trigger), ("whether", whether, Acceptance)):
            if value is not None and not isinstance(value, kind):
                raise TypeError(
                    f"`{name}` must be {kind.__name__} or None; got {shown(value)}."
                    " Pass an instance."
                )
        if isinstance(component, GrowthStrategy):
            self._rules.append(Rule(component, when, whether or component.whether or Always()))
        elif when is not None or whether is not None:
            raise TypeError(
                "`when` and `whether` belong to a strategy;"
                f" {type(component).__name__} is none. Leave them out."
            )
        self._components.append(component)
        return self

    def evolve_network(
        self,
        context: NetworkContext,
        num_iterations: int,
        *,
        on_event: Observer | None = None,
        profile: bool | Profiler = False,
    ) -> NetworkContext:
        """Evolves a copy; ``context`` and everything in it stay as they are.

        ``evolve_network(context, a + b)`` equals
        ``evolve_network(evolve_network(context, a), b)``.

        Args:
            context: Where to start, possibly what an earlier call returned.
            num_iterations: How many times to analyze, grow and train.
            on_event: Is told of what happens in this call.
            profile: Whether to measure where time and memory go; a profiler is added to. `costs`
                holds the result, observers are told of it, and nothing else changes.

        Returns:
            The evolved copy, with its optimizer, history and journal.

        Raises:
            TypeError: ``num_iterations`` is no whole number.
            ValueError: It is negative.
            MissingAnalysisError: A strategy needs what no analyzer provides.
            SurgeryError: A strategy proposed an edit that is refused.
            TrainingDivergedError: The loss is not finite.
        """
        check_whole(0, num_iterations=num_iterations)
        observer = _both(self._on_event, on_event)
        if profile is False:
            return self._evolve(context, num_iterations, observer)
        return self._profiled(context, num_iterations, observer, profile)

    def _profiled(
        self,
        context: NetworkContext,
        iterations: int,
        observer: Observer | None,
        profile: bool | Profiler,
    ) -> NetworkContext:
        from structure_net.logging.profiling import Profiler, bottlenecks

        profiler = profile if isinstance(profile, Profiler) else Profiler(device=context.device)
        try:
            with profiler:
                context = self._evolve(context, iterations, observer)
        finally:
            self._costs = costs = profiler.costs()
        if observer is not None:
            detail = {"costs": costs, "findings": bottlenecks(costs)}
            observer(Event(EventKind.PROFILED, context.iteration, detail=detail))
        return context

    def _evolve(
        self, context: NetworkContext, num_iterations: int, observer: Observer | None
    ) -> NetworkContext:
        context = context.fork()
        context.network.to(context.device)
        session = self._session(context, observer)
        try:
            for _ in range(num_iterations):
                self._iterate(session, observer, num_iterations)
        except KeyboardInterrupt:
            _tell(observer, EventKind.INTERRUPTED, session, context=_rested(session.context))
            raise
        except TrainingDivergedError as error:
            detail = {"context": _rested(session.context), "message": str(error)}
            _tell(observer, EventKind.DIVERGED, session, **detail)
            raise
        return _rested(session.context)

    def _iterate(
        self, session: EvolutionSession, observer: Observer | None, iterations: int
    ) -> None:
        start = perf_counter()
        _tell(observer, EventKind.ITERATION_STARTED, session, iterations=iterations)
        session.iterate()
        for trainer in self._trainers:
            with section(f"trainer {type(trainer).__name__}"):
                session.training(trainer.train(session.context))
        number, context = session.context.iteration, _rested(session.advance())
        if observer is not None:
            stats, seconds = network_stats(context.network), perf_counter() - start
            detail = {"context": context, "stats": stats, "seconds": seconds}
            observer(Event(EventKind.ITERATION_FINISHED, number, detail=detail))

    def analyze(self, context: NetworkContext) -> Analysis:
        """What the analyzers say of the network now; nothing is changed."""
        memory = AnalysisMemory() if context.memory is None else context.memory.fork()
        memory.trained()  # what happened to the network since is not known
        reading = replace(context, journal=context.journal.fork(), memory=memory)
        with section("analysis"):
            return look(reading, self._analyzers)[1]

    def check(self, context: NetworkContext) -> None:
        """Looks once, and checks that a first iteration could decide; nothing is changed.

        Strategies with a trigger are asked later, when analyzers may know more; they are left out.

        Raises:
            MissingAnalysisError: A strategy requires what no analyzer provides.
        """
        asked = [rule for rule in self._rules if rule.when is None and rule.strategy.requires]
        if not asked:
            return
        analysis = self.analyze(context)
        for rule in asked:
            analysis.read_by(rule.name).require(rule.strategy.requires)

    def propose(self, context: NetworkContext) -> tuple[tuple[str, str, Any], ...]:
        """What the editing strategies would do now; nothing is changed.

        Triggers and acceptance policies are not asked, and each strategy sees the network as it
        stands.

        Returns:
            Triples of the strategy's class name, its reason and the edit.
        """
        found = self._session(_reading(context), None).proposals()
        return tuple((name, proposal.reason, proposal.edit) for name, proposal in found)

    def attach(
        self,
        model: nn.Module,
        *,
        optimizer: Optimizer | None = None,
        example: Any = None,
        data_loader: Iterable[Batch] | None = None,
        validation_loader: Iterable[Batch] | None = None,
        loss: Loss | None = None,
    ) -> EvolutionSession:
        """Lets the strategies work inside a training loop that the user owns.

        The model is edited in place; its parameters keep their identity. Trainers of the system
        take no part.

        Args:
            model: Is edited in place.
            optimizer: Follows at once; one that is not given follows at its next step, and until
                then its ``state_dict()`` has the shapes from before the edit.
            example: Inputs to trace the model with; taken from ``data_loader`` if None.
            data_loader: What analyzers look at; needed where one looks at activations. It may be
                the one that the loop iterates, as long as it is no iterator.
            validation_loader: What a `Trial` judges by.
            loss: Takes output and targets to a scalar; cross-entropy if None.

        Raises:
            TypeError: An argument is of the wrong kind.
            ValueError: ``optimizer`` holds none of the model's parameters, or ``data_loader`` is an
                iterator.
            SurgeryError: A strategy is to edit the model, which is compiled, scripted or wrapped.
        """
        check_module(model)
        if self._rules and (reason := wrapped(model)):
            raise SurgeryError(reason)
        check_optimizer(optimizer, model)
        device = next((parameter.device for parameter in model.parameters()), "cpu")
        context = NetworkContext(
            model,
            () if data_loader is None else data_loader,
            device,
            validation_loader=validation_loader,
            optimizer=optimizer,
            example=example,
        )
        return self.resume(context if loss is None else replace(context, loss=loss))

    def resume(
        self, context: NetworkContext, *, done: tuple[int, int | None] | None = None
    ) -> EvolutionSession:
        """`attach` for a network that has a past: its history and journal are gone on with.

        Args:
            context: Its network is edited in place. It has the loss of the past: a context takes
                cross-entropy where none is given.
            done: Steps and samples so far, where the past ends in the middle of an epoch.

        Raises:
            ValueError: The data_loader is an iterator, which a look would spend.

        Warns:
            OtherLossWarning: The journal was begun with a loss of another name.
        """
        refuse_iterators(context.data_loader)
        note_loss(context)
        return EvolutionSession(
            context,
            self._analyzers,
            self._rules,
            observer=self._on_event,
            own_loop=True,
            done=done,
        )

    def _session(self, context: NetworkContext, observer: Observer | None) -> EvolutionSession:
        return EvolutionSession(context, self._analyzers, self._rules, observer=observer)

    @property
    def _analyzers(self) -> list[Analyzer]:
        return [component for component in self._components if isinstance(component, Analyzer)]

    @property
    def _trainers(self) -> list[Trainer]:
        return [component for component in self._components if isinstance(component, Trainer)]


def _rested(context: NetworkContext) -> NetworkContext:
    """The context as it is handed out: without what belongs to the run."""
    return replace(context, hooks=None, observation=None)


def _reading(context: NetworkContext) -> NetworkContext:
    """The context with a journal and a memory of its own, which a session writes to."""
    memory = None if context.memory is None else context.memory.fork()
    return replace(context, journal=context.journal.fork(), memory=memory)


def _both(first: Observer | None, second: Observer | None) -> Observer | None:
    if first is None or second is None:
        return first or second
    return Observers(first, second)


def _tell(
    observer: Observer | None, kind: EventKind, session: EvolutionSession, **detail: Any
) -> None:
    if observer is not None:
        observer(Event(kind, session.context.iteration, detail=detail))
