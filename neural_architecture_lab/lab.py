"""The lab: hypotheses in, verdicts out.

    register -> freeze -> run, block by block -> judge at each planned look -> evidence

Whatever has ended is stored before the next trial is asked for, so that a lab that was killed goes
on where it was: `run_hypothesis_test` runs what is missing and nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from neural_architecture_lab.checking import check_trials
from neural_architecture_lab.choosing import Chosen, choose_runner
from neural_architecture_lab.configuration import LabConfig, usable_device
from neural_architecture_lab.errors import HypothesisError, LabError
from neural_architecture_lab.hypothesis import Hypothesis
from neural_architecture_lab.insights import Insights, extract
from neural_architecture_lab.judgement import Comparison, Evidence, Verdict, judge
from neural_architecture_lab.naming import meant
from neural_architecture_lab.progress import OnResult, progress_on_terminal
from neural_architecture_lab.recipes import folders_of, recipe_of
from neural_architecture_lab.report import Report, keep_report, report_of
from neural_architecture_lab.reviewing import Review, comparisons_of, review
from neural_architecture_lab.run_settings import keep_run_settings
from neural_architecture_lab.runners.protocol import Job, Result, Runner
from neural_architecture_lab.searching import Search, SearchResult, run_search
from neural_architecture_lab.store import Archive, Store
from neural_architecture_lab.trials import Design, Trial, design
from structure_net.logging import Sink


@dataclass(frozen=True, slots=True)
class HypothesisResult:
    """What a hypothesis came to.

    Args:
        review: Question, prediction, evidence and verdict, as they are stored.
        design: How it was tested.
        runner: What ran the trials.
        why: Why that one.
        deviations: What differs from how the hypothesis was first frozen, in words.
    """

    review: Review
    design: Design
    runner: str
    why: str
    deviations: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """That on the whole hypothesis."""
        return self.review.verdict

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Each prediction, judged."""
        return self.review.evidence

    def __str__(self) -> str:
        frozen, failed = self.review.frozen, self.review.failed
        failures = f"; {failed} of {self.review.trials} trials failed, first {self.review.failure}"
        failures = failures if failed else ""
        return (
            f"{frozen.name}: {self.verdict.upper()} after {self.review.seeds} of"
            f" {self.review.planned} seeds; {self.review.reason}{failures}"
        )

    def __repr__(self) -> str:
        return f"HypothesisResult({self.review!r}, runner={self.runner!r})"


class NeuralArchitectureLab:
    """Tests hypotheses about architectures.

    Args:
        config: How; the defaults if None.
        sinks: Who else is told of every record, such as a tracker; and of the report at the end.
    """

    def __init__(self, config: LabConfig | None = None, *, sinks: Sequence[Sink] = ()) -> None:
        self.config = config or LabConfig()
        self._sinks = tuple(sinks)
        self._hypotheses: dict[str, Hypothesis] = {}
        self.device = usable_device(self.config.device)

    def __repr__(self) -> str:
        known = ", ".join(self._hypotheses) or "nothing"
        return f"NeuralArchitectureLab({str(self.config.folder)!r}: {known} registered)"

    @property
    def hypotheses(self) -> dict[str, Hypothesis]:
        """What is registered, complete with what its category supplies, by id."""
        return dict(self._hypotheses)

    @property
    def archive(self) -> Archive:
        """What is stored."""
        return Archive(self.config.folder)

    def register_hypothesis(self, hypothesis: Hypothesis) -> str:
        """Takes a hypothesis in; what it leaves open is taken from its category.

        Returns:
            Its id.

        Raises:
            HypothesisError: It is none, or another one of the same id is registered.
        """
        if not isinstance(hypothesis, Hypothesis):
            raise HypothesisError(
                f"Only a Hypothesis(...) can be registered; got {hypothesis!r:.80}."
                " `ready_hypothesis` makes one of the library by its name."
            )
        from neural_architecture_lab.experiments import completed

        known = self._hypotheses.get(hypothesis.id)
        made = completed(hypothesis)
        if known is not None and known != made:
            raise HypothesisError(
                f"Another hypothesis is registered as {hypothesis.id!r}; give this one another"
                " name."
            )
        self._hypotheses[made.id] = made
        return made.id

    def plan(self, hypothesis_id: str) -> Design:
        """The trials of a registered hypothesis, before any of them runs.

        Raises:
            LabError: It is not registered, or cannot be laid out.
        """
        return design(self._registered(hypothesis_id), order=self.config.order)

    def check(self, ids: Sequence[str] | None = None) -> None:
        """Refuses hypotheses with an arm that cannot be run; runs and writes nothing.

        One trial of each arm at each point of which trials are missing is looked at: its plan, its
        data, its settings as far as the experiment says what it takes.

        Args:
            ids: Which; all that are registered if None.

        Raises:
            LabError: One is not registered, cannot be laid out, has an arm that cannot be run, or
                cannot be run on the runner that was asked for.
        """
        self._runners(list(self._hypotheses) if ids is None else ids)

    def run_hypothesis_test(
        self, hypothesis_id: str, *, on_result: OnResult | None = None
    ) -> HypothesisResult:
        """Runs what is missing of a hypothesis's trials, and judges it.

        Args:
            hypothesis_id: What `register_hypothesis` returned.
            on_result: Is told of each result, how many ended, and how many there are in all.

        Raises:
            LabError: It is not registered, no trial returns what a prediction is about, or the
                store cannot be written. What ended is kept.
        """
        with self._telling(on_result, len(self.plan(hypothesis_id).trials)) as tell:
            return self._run([hypothesis_id], tell)[hypothesis_id]

    def run_all(self, *, on_result: OnResult | None = None) -> dict[str, HypothesisResult]:
        """Runs all registered hypotheses, and judges them together.

        Early stops and verdicts allow for as many predictions as there are in the batch.
        """
        total = sum(len(self.plan(one).trials) for one in self._hypotheses)
        with self._telling(on_result, total) as tell:
            return self._run(list(self._hypotheses), tell)

    def search(self, search: Search, *, on_result: OnResult | None = None) -> SearchResult:
        """Searches for settings that do well, or goes on with a search; Optuna chooses them.

        Args:
            search: What for.
            on_result: Is told of each result, how many settings ended, and how many are planned.

        Raises:
            ImportError: The extra ``optuna`` is not installed.
            LabError: The search cannot be done as it is stated, or the store cannot be written.
        """
        with self._telling(on_result, search.tries, "settings") as tell:
            return run_search(search, self.config, sinks=self._sinks, on_result=tell)

    def extract_insights(self, ids: Sequence[str] | None = None) -> Insights:
        """What results show beyond the verdicts, the surest first, each with its test.

        Those that rest on a registered hypothesis bring a follow-up where two arms can confirm
        them: a hypothesis that is ready to register, with fresh seeds.

        Args:
            ids: Of which hypotheses; of all that this folder of results holds if None.

        Raises:
            StoreError: One of them has no results.
        """
        return extract(self.archive, ids, registered=self._hypotheses)

    def generate_report(self, ids: Sequence[str] | None = None) -> Report:
        """What is known of hypotheses by now, read from the store.

        Args:
            ids: Which; all that this folder of results holds if None. They are judged together.

        Raises:
            StoreError: One of them has no results.
        """
        return report_of(self.archive, ids)

    @contextmanager
    def _telling(
        self, on_result: OnResult | None, of: int, unit: str = "trials"
    ) -> Iterator[OnResult | None]:
        if on_result is not None or not self.config.progress:
            yield on_result
            return
        with progress_on_terminal("running", of, unit) as tell:
            yield tell

    def _run(self, ids: Sequence[str], on_result: OnResult | None) -> dict[str, HypothesisResult]:
        designs = {one: self.plan(one) for one in ids}
        chosen = self._runners(ids)
        family = sum(len(self._hypotheses[one].predictions) for one in ids)
        tell = on_result or (lambda result, ended, of: None)
        changed: dict[str, tuple[str, ...]] = {}
        with Store(self.config.folder, self._sinks) as store:
            recipes = [recipe_of(self._hypotheses[one].experiment) for one in ids]
            keep_run_settings(self.config, folders_of(recipes))
            for one in ids:
                changed[one] = store.freeze(self._hypotheses[one], designs[one])
                with closing(chosen[one].runner) as runner:
                    self._carry_out(one, designs[one], store, runner, family, tell)
            reviews = review(store, ids)
            for one in ids:
                said = reviews[one]
                how = {
                    "runner": chosen[one].runner.name,
                    "why": chosen[one].why,
                    "seeds": designs[one].why,
                    "device": self.device,
                }
                verdict = (said.verdict, said.reason)
                store.judge(one, said.evidence, verdict, changed=changed[one], how=how)
            if self._sinks:
                keep_report(store)
        return {
            one: HypothesisResult(
                reviews[one], designs[one], chosen[one].runner.name, chosen[one].why, changed[one]
            )
            for one in ids
        }

    def _runners(self, ids: Sequence[str]) -> dict[str, Chosen]:
        """What will run each hypothesis, where all of its arms can be run."""
        config = replace(self.config, device=self.device)
        chosen: dict[str, Chosen] = {}
        for one in ids:
            hypothesis, laid = self._registered(one), self.plan(one)
            chosen[one] = choose_runner(config, laid, hypothesis.experiment)
            done = self.archive.done(one)
            check_trials(
                hypothesis.name,
                hypothesis.experiment,
                (trial for trial in laid.trials if trial.id not in done),
                device=self.device,
                elsewhere=chosen[one].runner.elsewhere,
            )
        return chosen

    def _carry_out(
        self,
        one: str,
        laid: Design,
        store: Store,
        runner: Runner,
        family: int,
        tell: OnResult,
    ) -> None:
        done = store.done(one)
        frozen = store.hypotheses()[one]
        ended, begun = len(done), 0
        returned: set[str] = set()
        for look in laid.looks:
            missing = [trial for trial in laid.of_seeds(begun, look) if trial.id not in done]
            for result in runner.run(self._jobs(one, missing)):
                kept = store.append(result, runner.name)
                ended += 1
                tell(kept, ended, len(laid.trials))
                self._check_metrics(one, kept, store, returned)
            store.flush()
            begun = look
            if _is_clear(comparisons_of(store, frozen, look), self._hypotheses[one].alpha, family):
                return

    def _check_metrics(self, one: str, result: Result, store: Store, returned: set[str]) -> None:
        """Refuses to go on where no trial returns what a prediction is about."""
        if result.outcome is None:
            return
        returned.update(result.outcome.metrics)
        wanted = {said.metric: None for said in self._hypotheses[one].predictions}
        absent = [metric for metric in wanted if metric not in returned]
        if not absent:
            return
        for trial in store.trials(one):
            returned.update(trial.metrics)
        if unknown := [metric for metric in absent if metric not in returned]:
            hint = meant(unknown[0], returned)
            raise HypothesisError(
                f"A prediction of {one!r} is about {unknown[0]!r}, but {result.trial.id} returned"
                f" {', '.join(result.outcome.metrics)} only.{hint} Mend the prediction and go on,"
                " or let the experiment return it, with another folder of results."
            )

    def _jobs(self, one: str, trials: Sequence[Trial]) -> Iterator[Job]:
        experiment = self._hypotheses[one].experiment
        assert experiment is not None  # the design was refused otherwise
        for trial in trials:
            yield Job(trial, experiment, self.device)

    def _registered(self, hypothesis_id: str) -> Hypothesis:
        try:
            return self._hypotheses[hypothesis_id]
        except KeyError:
            known = ", ".join(self._hypotheses) or "none"
            raise LabError(
                f"No hypothesis is registered as {hypothesis_id!r}; registered: {known}."
                " `register_hypothesis` returns the id."
            ) from None


def _is_clear(found: Sequence[Comparison], alpha: float, family: int) -> bool:
    """Whether all predictions have a verdict that more seeds would not be asked for.

    A difference alone is none: it may be too small to matter, or too many trials may have failed.
    """
    return all(one.p_value <= alpha / family for one in found) and all(
        one.verdict is not Verdict.INCONCLUSIVE for one in judge(found, alpha=alpha)
    )
