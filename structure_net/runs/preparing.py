"""From a request to what a run is made of: data, a start network, a system."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import ModuleType

from torch.nn import functional

from structure_net.core import StandardNetwork, create_standard_network
from structure_net.data import Dataset, MappedBatches, TensorBatches, load_dataset
from structure_net.errors import DatasetError, RunError
from structure_net.evolution import ComposableEvolutionSystem, Loss
from structure_net.runs.blaming import blamed, described
from structure_net.runs.request import PipelineSource, RunRequest, fitted_architecture


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a run is made of, before anything is written.

    Args:
        request: What was asked for.
        dataset: In memory, split and normalised.
        network: The start network, on the request's device.
        system: What evolves it.
        train: Batches to learn from.
        validation: Batches that decide between choices.
    """

    request: RunRequest
    dataset: Dataset
    network: StandardNetwork
    system: ComposableEvolutionSystem
    train: TensorBatches | MappedBatches
    validation: TensorBatches | MappedBatches

    @property
    def loss(self) -> Loss:
        """Cross-entropy for classes, the mean squared error for a regression."""
        return loss_of(self.dataset)


def loss_of(dataset: Dataset) -> Loss:
    """Cross-entropy for classes, the mean squared error for a regression."""
    return functional.mse_loss if dataset.task == "regression" else functional.cross_entropy


def prepare(request: RunRequest) -> Prepared:
    """Loads the data and makes the start network and the system; writes nothing.

    The pipeline's file is read first: data sets that it registers can be named.

    Raises:
        DatasetError: The data set is unknown, missing or damaged, or too small to validate.
        RunError: The architecture does not fit the data, or the pipeline cannot be used.
    """
    system = system_of(request)
    dataset = load_dataset(
        request.dataset, data_dir=request.data_dir, seed=request.seed, download=request.download
    )
    _check_validation(dataset)
    size = request.batch_size
    return Prepared(
        request,
        dataset,
        start_network(request, dataset),
        system,
        dataset.train.batches(size, shuffle=True, seed=request.seed, device=request.device),
        dataset.validation.batches(size, device=request.device),
    )


def _check_validation(dataset: Dataset) -> None:
    if len(dataset.validation):
        return
    raise DatasetError(
        f"The data set {dataset.name!r} leaves {len(dataset.train)} samples to train on and none "
        "to validate. A tenth of the samples beside the test split validates, and each class keeps "
        "one to train on, so a run needs at least 6 samples beside the test split (7 in a file "
        "without one), two of them in one class."
    )


def start_network(request: RunRequest, dataset: Dataset) -> StandardNetwork:
    """The network as it is at birth.

    Raises:
        RunError: The architecture does not fit the data, or has too few connections.
    """
    widths = fitted_architecture(
        request.architecture, features=prod(dataset.input_shape), outputs=dataset.outputs
    )
    try:
        network = create_standard_network(widths, request.density, seed=request.seed)
    except ValueError as error:
        raise RunError(str(error)) from error
    return network.to(request.device)


def system_of(request: RunRequest) -> ComposableEvolutionSystem:
    """The standard system, or the user's own pipeline.

    Raises:
        RunError: The pipeline's file changed, or does not hold a system under that name.
    """
    if request.pipeline is not None:
        return _load_pipeline(request.pipeline)
    if request.epochs is None or request.learning_rate is None:
        raise RunError("The standard system needs epochs and learning_rate; got None.")
    from structure_net.evolution.components import create_standard_evolution_system

    return create_standard_evolution_system(
        epochs=request.epochs, learning_rate=request.learning_rate
    )


def _load_pipeline(source: PipelineSource) -> ComposableEvolutionSystem:
    _check_file(source)
    found = _attribute(_module(Path(source.file)), source)
    if callable(found) and not isinstance(found, ComposableEvolutionSystem):
        with blamed(f"The pipeline {source.name!r} cannot be made"):
            found = found()
    if not isinstance(found, ComposableEvolutionSystem):
        raise RunError(
            f"{source.name!r} in {source.file} must be a ComposableEvolutionSystem or a function "
            f"that returns one; got {type(found).__name__}."
        )
    return found


def _check_file(source: PipelineSource) -> None:
    path = Path(source.file)
    if not path.is_file():
        raise RunError(f"The pipeline's file {source.file} does not exist.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != source.sha256:
        raise RunError(
            f"The pipeline's file {source.file} changed since the run began, so the run cannot go "
            "on as it would have. Restore the file, or start a new run."
        )


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"pipeline_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise RunError(f"{path} cannot be read as a Python module.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        said = described(error)
        raise RunError(f"The pipeline's file {path} cannot be imported: {said}") from error
    return module


def _attribute(module: ModuleType, source: PipelineSource) -> object:
    if hasattr(module, source.name):
        return getattr(module, source.name)
    names = [name for name in vars(module) if not name.startswith("_")]
    near = difflib.get_close_matches(source.name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise RunError(f"{source.file} holds no {source.name!r}.{hint}")
