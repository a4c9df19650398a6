"""A run has finished when its last file and its last record are on the disk, and not before."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from structure_net.errors import SpoolError
from structure_net.logging import read
from structure_net.runs import RunFolder, RunRequest, Watcher, begin, carry_on, prepare, resumed
from structure_net.runs.validating import validate


@contextmanager
def no_room_for_the_picture(folder: RunFolder) -> Iterator[None]:
    """Files may be as large as the checkpoint, which is smaller than the picture."""
    size = 2 * folder.checkpoint.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def no_room_for_artifacts(folder: RunFolder) -> Iterator[None]:
    """A file stands where the folder of the artifacts belongs."""
    blobs = folder.records / "blobs"
    blobs.write_bytes(b"")
    try:
        yield
    finally:
        blobs.unlink()


@pytest.mark.parametrize(
    ("fault", "error"), [(no_room_for_the_picture, OSError), (no_room_for_artifacts, SpoolError)]
)
def test_a_run_whose_last_files_find_no_room_has_not_finished_and_can_go_on(
    fault: Callable[..., AbstractContextManager[None]], error: type[Exception], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    prepared = prepare(RunRequest(dataset="spirals", density=0.2, iterations=1, epochs=1))
    state = begin(folder, prepared, command=["evolve"])
    with fault(folder), pytest.raises(error):
        carry_on(folder, prepared, state, Watcher())
    history = folder.read_history()
    assert (history.status, len(history.iterations)) == ("stopped", 1)
    assert history.reason
    assert [one.kind for one in read(folder.records)][-1] != "run_ended"
    carry_on(folder, *resumed(folder), Watcher())
    assert folder.read_history().status == "finished"
    assert [one.kind for one in read(folder.records)][-1] == "run_ended"
    assert validate(folder.path) == ()
