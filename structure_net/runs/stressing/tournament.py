"""The tournament: each network is read from the disk, trained a little, judged and written back.

After each generation the worse half leaves, and each of the better half has a child that differs
from it by one edit. One network is in memory at a time, the data are mapped and shared, and what
happens goes into the spool, so that memory has no reason to grow. A network whose lineage has a
hundred edits gives way to a newly drawn one, since a checkpoint holds its lineage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import islice
from math import isfinite, prod
from time import perf_counter
from typing import Final
from uuid import uuid4

from torch.optim import Optimizer

from structure_net.core import StandardNetwork, network_stats
from structure_net.core.undoing import uninterrupted
from structure_net.data import Dataset, MappedBatches, load_dataset
from structure_net.errors import TrainingDivergedError
from structure_net.evolution import Batch, ComposableEvolutionSystem, NetworkContext
from structure_net.evolution.components import StandardNetworkTrainer
from structure_net.evolution.editing import derived_seed
from structure_net.evolution.measuring import held_out
from structure_net.logging import RecordStream, Spool, current
from structure_net.logging.profiling import own_bytes
from structure_net.runs.optimizers import optimizer_like
from structure_net.runs.preparing import loss_of
from structure_net.runs.stressing.folder import Member, Standing, StressFolder
from structure_net.runs.stressing.offspring import first_network, mutate
from structure_net.runs.stressing.steadiness import MemorySample
from structure_net.surgery.checkpoint import load_checkpoint, save_checkpoint

LONGEST_LINEAGE: Final = 100
"""Edits, after which a network gives way to a new one."""

_RATE: Final = 3e-3
_JUDGED: Final = 8
_MIB: Final = 1 << 20

Told = Callable[[int, int, float], None]
"""Is told the generation, the turns done in it, and the memory of its own in MiB."""


def stress(
    folder: StressFolder,
    standing: Standing,
    seconds: float,
    *,
    data_dir: str | None = None,
    told: Told | None = None,
) -> Standing:
    """Goes on with a tournament until ``seconds`` have gone by in all, earlier sittings counted.

    Args:
        folder: From `stress_folder`.
        standing: Where it stands.
        seconds: Wall-clock time in all.
        data_dir: Where the data set's files lie.
        told: Is told of each turn.

    Returns:
        Where it stands: at the beginning of the generation that was not finished.

    Raises:
        DatasetError: The data set cannot be loaded or mapped.
        KeyboardInterrupt: It was stopped by Ctrl-C; the folder can be gone on with.
        SpoolError: The records cannot be written.
    """
    data = load_dataset(standing.request.dataset, data_dir=data_dir, mapped=True).flattened()
    with RecordStream(Spool(folder.records)) as stream:
        _opened(stream, standing, data)
        return _Tournament(folder, data, stream, told).run(standing, seconds)


def samples_of(folder: StressFolder) -> list[MemorySample]:
    """The memory after each turn, as the records say; turns that were done anew count once."""
    found = (one.data for one in current(folder.records) if one.kind == "trial")
    return [MemorySample(one["detail"]["elapsed"], one["memory"]) for one in found if one["memory"]]


def _opened(stream: RecordStream, standing: Standing, data: Dataset) -> None:
    from structure_net.logging.records import Resumed, RunStarted

    if stream.spool.last:
        after = max(1, standing.last_record)
        stream.emit(Resumed(after=after, iteration=standing.generation))
        return
    described = data.descriptor.as_dict()
    kept = {k: v for k, v in described.items() if k not in {"mean", "deviation"}}
    config = asdict(standing.request)
    stream.emit(
        RunStarted(
            run=uuid4().hex,
            name="stress",
            program="structure-net stress",
            config=config,
            dataset=kept,
            seed=standing.request.seed,
        )
    )


class _Tournament:
    """One sitting."""

    def __init__(
        self, folder: StressFolder, data: Dataset, stream: RecordStream, told: Told | None
    ) -> None:
        self._folder, self._data, self._stream = folder, data, stream
        self._told = told or (lambda generation, turn, memory: None)
        self._began = perf_counter()
        self._before = 0.0

    @property
    def _elapsed(self) -> float:
        return self._before + perf_counter() - self._began

    def run(self, standing: Standing, seconds: float) -> Standing:
        self._before = standing.seconds
        while self._elapsed < seconds:
            following = self._generation(standing, seconds)
            if following is None:
                break
            with uninterrupted():
                self._stream.spool.flush()
                self._folder.write(following)
            standing = following
        return standing

    def _generation(self, standing: Standing, seconds: float) -> Standing | None:
        """The next standing; None where time was up before all had had their turn."""
        losses: list[tuple[float, Member]] = []
        for turn, member in enumerate(standing.members):
            if self._elapsed >= seconds:
                return None
            losses.append(self._turn(standing, member))
            self._told(standing.generation, turn + 1, (own_bytes() or 0) / _MIB)
        ranked = [member for _, member in sorted(losses, key=lambda one: (one[0], one[1].number))]
        winners = ranked[: (len(ranked) + 1) // 2]
        number = standing.next_number
        children = tuple(
            Member(number + place, parent.number, parent.file)
            for place, parent in enumerate(winners[: len(ranked) - len(winners)])
        )
        return replace(
            standing,
            members=(*winners, *children),
            generation=standing.generation + 1,
            next_number=number + len(children),
            seconds=self._elapsed,
            last_record=self._stream.spool.last,
        )

    def _turn(self, standing: Standing, member: Member) -> tuple[float, Member]:
        """Trains and judges a network, and writes it for the next generation."""
        started = perf_counter()
        context, done = self._entered(standing, member)
        try:
            context = _system().evolve_network(context, 1)
            score = held_out(context, _JUDGED)
            loss, accuracy = score.loss, score.accuracy
        except TrainingDivergedError:
            loss, accuracy = float("inf"), None
        file = f"{member.number}-{standing.generation}.safetensors"
        network = context.network
        save_checkpoint(
            self._folder.population / file,
            network,
            optimizer=context.optimizer,
            journal=context.journal,
            example=context.example,
            iteration=standing.generation,
        )
        self._note(standing, member, (done, started, network), (loss, accuracy))
        return (loss if isfinite(loss) else float("inf")), replace(member, file=file)

    def _note(
        self,
        standing: Standing,
        member: Member,
        turn: tuple[str, float, object],
        result: tuple[float, float | None],
    ) -> None:
        from structure_net.logging.records import Trial

        (done, started, network), (loss, accuracy) = turn, result
        held = own_bytes()
        assert isinstance(network, StandardNetwork)
        metrics = {
            "validation_loss": loss,
            "parameters": network_stats(network)["total_parameters"],
        }
        if accuracy is not None:
            metrics["validation_accuracy"] = accuracy
        self._stream.emit(
            Trial(
                trial=f"{standing.generation}/{member.number}",
                arm="tournament",
                seed=standing.request.seed,
                point=standing.generation,
                status="finished" if isfinite(loss) else "failed",
                error="" if isfinite(loss) else "training diverged",
                metrics=metrics,
                events=((float(standing.generation), done),) if done else (),
                seconds=perf_counter() - started,
                memory=None if held is None else held / _MIB,
                runner="stress",
                detail={"elapsed": self._elapsed, "parent": member.parent},
            )
        )

    def _entered(self, standing: Standing, member: Member) -> tuple[NetworkContext, str]:
        """A network as it enters a generation, and what was done to it; children are made here."""
        request = standing.request
        seed = derived_seed(request.seed, member.number)
        batches = _Slice(
            self._data.train.batches(request.batch_size, shuffle=True, seed=request.seed),
            request.steps,
            standing.generation,
        )
        validation = self._data.validation.batches(256)
        path = self._folder.population / member.file

        def context_of(network: StandardNetwork, optimizer: Optimizer | None) -> NetworkContext:
            return NetworkContext(
                network,
                batches,
                loss=loss_of(self._data),
                validation_loader=validation,
                optimizer=optimizer,
                seed=seed,
            ).with_example()

        if member.file:
            checkpoint = load_checkpoint(path)
            network = checkpoint.model
            assert isinstance(network, StandardNetwork)
            if len(checkpoint.journal) < 2 * LONGEST_LINEAGE:
                context = context_of(network, optimizer_like(checkpoint))
                context = replace(context, journal=checkpoint.journal)
                own = member.file.partition("-")[0] == str(member.number)
                return context, "" if own else mutate(context, network, seed)
        features = prod(self._data.input_shape)
        network = first_network(
            features, self._data.outputs, derived_seed(seed, standing.generation)
        )
        return context_of(network, None), "drawn"


class _Slice:
    """A few batches of an epoch, the same for all networks of a generation."""

    def __init__(self, batches: object, steps: int, generation: int) -> None:
        assert isinstance(batches, MappedBatches)
        self._batches, self._steps, self._generation = batches, steps, generation

    def __iter__(self) -> Iterator[Batch]:
        rounds, rest = divmod(self._steps, len(self._batches))
        for place in range(rounds + (rest > 0)):
            self._batches.set_epoch(self._generation * (rounds + 1) + place)
            yield from islice(iter(self._batches), rest if place == rounds else None)

    def __len__(self) -> int:
        return self._steps


def _system() -> ComposableEvolutionSystem:
    trainer = StandardNetworkTrainer(epochs=1, learning_rate=_RATE, schedule="constant")
    return ComposableEvolutionSystem([trainer])
