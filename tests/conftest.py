"""What every test shares: fixed threads, hypothesis profiles, the data folder, golden files."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from structure_net.core.crossover import get_crossover, set_crossover
from tests import elsewhere

ROOT = Path(__file__).resolve().parent.parent

# What takes longest is begun first, so that no worker is left with it when the others are done.
FIRST = tuple(
    f"tests/{name}"
    for name in (
        "architecture/test_tools.py",
        "architecture/test_wheel.py",
        "test_",
        "structure_net/logging/test_sending.py",
        "structure_net/cli/test_stopping.py",
        "neural_architecture_lab/runners/",
        "neural_architecture_lab/test_full_disk.py",
    )
)

hypothesis.settings.register_profile(
    "local",
    deadline=None,
    max_examples=25,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "ci",
    parent=hypothesis.settings.get_profile("local"),
    derandomize=True,
    database=None,
    print_blob=True,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate",
        action="store_true",
        help="write the golden files anew instead of comparing with them",
    )
    parser.addoption(
        "--elsewhere",
        action="store_true",
        help="run what is marked `away`, and nothing else, on the device of tests/elsewhere.py",
    )


def pytest_configure(config: pytest.Config) -> None:
    # One thread per worker: the sums of one run are the sums of the next, and two workers fit on
    # two cores.
    torch.set_num_threads(1)
    if config.getoption("--elsewhere"):
        elsewhere.begin()
    # One crossover, also in the processes that tests start, so that no result depends on what pays
    # on this machine. Set it to `live` or `masked` to run the suite with one storage.
    os.environ.setdefault("STRUCTURE_NET_STORAGE", "0.25")
    # Kernels and lists of fonts are made once for all processes, whatever home they have.
    os.environ.setdefault("STRUCTURE_NET_CACHE", str(ROOT / ".cache" / "structure-net"))
    os.environ.setdefault("MPLCONFIGDIR", str(ROOT / ".cache" / "matplotlib"))
    # A shell has what it starts in the background ignore Ctrl-C, which what tests start would take
    # over.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def _turn(item: pytest.Item) -> int:
    """The place among those that are begun first."""
    return next((n for n, name in enumerate(FIRST) if item.nodeid.startswith(name)), len(FIRST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    if elsewhere.away() != "cuda":
        items[:] = [
            item
            for item in items
            if item.get_closest_marker("away") and not item.get_closest_marker("cuda")
        ]
    elif not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda") or item.get_closest_marker("away"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish() -> None:
    gc.freeze()  # a million objects that stay until the end need no further look


@pytest.fixture(scope="session")
def regenerate(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are written instead of compared."""
    return bool(request.config.getoption("--regenerate"))


@pytest.fixture
def masked() -> Iterator[None]:
    """Sparse layers are stored densely beside a mask, whatever else would pay."""
    before = get_crossover()
    set_crossover("masked")
    yield
    set_crossover(before)


@pytest.fixture
def live_storage() -> Iterator[None]:
    """Sparse layers keep lists of live weights, whatever else would pay."""
    before = get_crossover()
    set_crossover("live")
    yield
    set_crossover(before)


@pytest.fixture(params=("live", "masked"))
def either_storage(request: pytest.FixtureRequest) -> Iterator[None]:
    """Sparse layers are stored in one way, and in the next run of the test in the other."""
    before = get_crossover()
    set_crossover(request.param)
    yield
    set_crossover(before)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the larger data sets: STRUCTURE_NET_DATA, or shared/data near the checkout."""
    named = os.environ.get("STRUCTURE_NET_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"The larger data sets are absent: set STRUCTURE_NET_DATA; tried {folder}.")
    return folder
