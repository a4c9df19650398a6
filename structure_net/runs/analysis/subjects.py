"""What is analyzed: a network from a run or a checkpoint, with the data to look at it on."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from structure_net.data import Dataset, load_dataset
from structure_net.errors import RunError
from structure_net.evolution import NetworkContext, TrainingHistory
from structure_net.runs.folder import RunFolder, known_folder
from structure_net.runs.preparing import loss_of
from structure_net.runs.request import fitted_architecture
from structure_net.surgery.checkpoint import Checkpoint, load_checkpoint


@dataclass(frozen=True, slots=True)
class DataChoice:
    """Which data a network is looked at on; what is None is taken from the run.

    Args:
        dataset: A registered name, or the path of an ``.npz`` file.
        data_dir: Where data sets lie.
        download: Whether a data set that is not there is fetched.
        batch_size: Samples in a batch.
        seed: Decides the split and the order.
        device: Where the network is put.

    Raises:
        RunError: ``batch_size`` is below 1.
    """

    dataset: str | None = None
    data_dir: str | None = None
    download: bool = False
    batch_size: int | None = None
    seed: int | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise RunError(f"batch_size must be 1 or more; got {self.batch_size}.")


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A network with the data that it is looked at on.

    Args:
        name: The run's folder or the checkpoint's file, as the user typed it.
        context: The network, its training batches, its journal.
        dataset: In memory.
        batch_size: Samples in a batch.
        seed: Of split, order and random choices.
    """

    name: str
    context: NetworkContext
    dataset: Dataset
    batch_size: int
    seed: int


def subject_of(path: str | Path, choice: DataChoice) -> Subject:
    """The network of a run's folder, or of a checkpoint's file.

    A run says itself which data it learned from; a file does not, so that ``choice`` must.

    Args:
        path: A folder that `structure-net evolve` wrote, or a checkpoint's file.
        choice: What to look at it on.

    Raises:
        RunError: There is neither; no data set is named; or the data do not fit the network.
        CheckpointError: The checkpoint is damaged, or holds a network that is not one of ours.
        DatasetError: The data set is unknown, missing or damaged.
    """
    place = Path(path)
    if place.is_file() and place.name != "run.json":
        return _of_file(place, str(path), choice)
    return _of_run(known_folder(place.parent if place.is_file() else place), str(path), choice)


def _of_file(file: Path, name: str, choice: DataChoice) -> Subject:
    if choice.dataset is None:
        raise RunError(
            f"{name} is a checkpoint, which does not say what data its network is for. Name them"
            " with --dataset."
        )
    return _subject(name, load_checkpoint(file), choice, TrainingHistory())


def _of_run(folder: RunFolder, name: str, choice: DataChoice) -> Subject:
    record = folder.read_run()
    asked = record.request
    own = choice.dataset is None
    completed = DataChoice(
        dataset=asked.dataset if choice.dataset is None else choice.dataset,
        data_dir=asked.data_dir if choice.data_dir is None else choice.data_dir,
        download=choice.download or (own and asked.download),
        batch_size=asked.batch_size if choice.batch_size is None else choice.batch_size,
        seed=asked.seed if choice.seed is None else choice.seed,
        device=choice.device,
    )
    checkpoint = load_checkpoint(folder.checkpoint)
    history = TrainingHistory.from_list(checkpoint.history)
    subject = _subject(name, checkpoint, completed, history)
    found, expected = subject.dataset.descriptor.checksum, record.dataset.get("checksum")
    if own and found != expected:
        raise RunError(
            f"The data set {asked.dataset!r} is not the one that the run learned from: its checksum"
            f" is {found}, the run's is {expected}. Name the right folder with --data-dir, or the"
            " data to look at with --dataset."
        )
    return subject


def _subject(
    name: str, checkpoint: Checkpoint, choice: DataChoice, history: TrainingHistory
) -> Subject:
    assert choice.dataset is not None
    seed = 0 if choice.seed is None else choice.seed
    size = 64 if choice.batch_size is None else choice.batch_size
    device = choice.device or "cpu"
    dataset = load_dataset(
        choice.dataset, data_dir=choice.data_dir, seed=seed, download=choice.download
    )
    _check_fit(checkpoint.model, dataset, name)
    context = NetworkContext(
        checkpoint.model.to(device),
        dataset.train.batches(size, shuffle=True, seed=seed, device=device),
        device,
        loss=loss_of(dataset),
        iteration=checkpoint.iteration,
        history=history,
        journal=checkpoint.journal,
        seed=seed,
    ).with_example()
    return Subject(name, context, dataset, size, seed)


def _check_fit(network: Any, dataset: Dataset, name: str) -> None:
    widths = getattr(network, "architecture", None)
    if widths is None:
        return
    try:
        fitted_architecture(widths, features=prod(dataset.input_shape), outputs=dataset.outputs)
    except RunError:
        raise RunError(
            f"The network of {name} takes {widths[0]} features to {widths[-1]} outputs; the data"
            f" set {dataset.name!r} has {prod(dataset.input_shape)} features and"
            f" {dataset.outputs} outputs. Name the data that it learned from with --dataset."
        ) from None
