"""A checkpoint file is whole or refused: damage, cuts, kills and full disks."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from structure_net.errors import CheckpointError
from structure_net.surgery.checkpoint import load_checkpoint, read_header, save_checkpoint
from structure_net.surgery.containers import _DTYPES, opened, storable, write_container


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(8, 4)


def saved(folder: Path) -> Path:
    path = folder / "c.safetensors"
    save_checkpoint(path, network(), metadata={"name": "run"})
    return path


def header_end(content: bytes | bytearray) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = path.read_bytes()
    end = header_end(content)
    chosen = random.Random(0)
    places = [*range(8), *range(end - 8, end), *chosen.sample(range(8, end), 150)]
    places += chosen.sample(range(end, len(content)), 150)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << chosen.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"c.safetensors") as caught:
            load_checkpoint(path, network())
        assert "\n" not in str(caught.value)


def test_a_file_that_was_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = path.read_bytes()
    end = header_end(content)
    for length in [0, 1, 7, 8, 9, 100, end - 1, end, end + 1, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"is no checkpoint, or it is damaged or cut off"):
            load_checkpoint(path, network())
    path.write_bytes(content + b"more")
    with pytest.raises(CheckpointError, match=r"is no checkpoint, or it is damaged or cut off"):
        load_checkpoint(path, network())


def test_a_model_is_untouched_by_a_damaged_file(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    model = nn.Linear(8, 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"is damaged: tensor '.*' does not agree with its"):
        load_checkpoint(path, model)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    torch.save({"a": 1}, tmp_path / "pickled")
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign")
    for name, message in [
        ("text", "is no checkpoint, or it is damaged"),
        ("pickled", "is no checkpoint, or it is damaged"),
        ("foreign", "is a safetensors file, but no checkpoint of ours"),
        ("nowhere", "cannot be read: No such file"),
        (".", "cannot be read|is no checkpoint"),
    ]:
        for read in (load_checkpoint, read_header):
            with pytest.raises(CheckpointError, match=message) as caught:
                read(tmp_path / name)
            assert "\n" not in str(caught.value)


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The file at ``path`` with another header, rightly sealed."""
    with opened(path) as (text, read):
        header, tensors = json.loads(text), {k: v.clone() for k, v in read().items()}
    change(header)
    write_container(path, tensors, json.dumps(header))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(version=3), "it has version 3; this program reads up to 2. Update"),
        (lambda h: h.update(format="x"), "this is no checkpoint of ours"),
        (lambda h: h.update(mood="good"), "field 'mood' is not known"),
        (lambda h: h["model"].pop("kind"), "field 'model.kind' is missing"),
        (lambda h: h.update(iteration=-1), "field 'iteration' is wrong"),
        (lambda h: h["tensors"].pop("random.torch"), "lists other tensors than it holds"),
        (
            lambda h: h["tensors"]["model.bias"].update(shape=[2, 2]),
            r"the header says float32 of shape \(2, 2\)",
        ),
        (lambda h: h["random"].update(torch={"$tensor": "x"}), "'x' that it does not hold"),
        (lambda h: h["random"].update(torch={"$run": "x"}), r"kind '\$run'"),
    ],
)
def test_a_header_that_says_something_else_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = rewritten(saved(tmp_path), change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path, network())
    assert "\n" not in str(caught.value)


def test_a_recipe_that_makes_no_network_is_refused(tmp_path: Path) -> None:
    path = rewritten(saved(tmp_path), lambda header: header["model"].update(recipe={"seed": 0}))
    with pytest.raises(CheckpointError, match="recipe does not make a Linear: A recipe must have"):
        load_checkpoint(path)


def test_the_header_is_read_without_the_tensors(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[header_end(content) :] = bytes(len(content) - header_end(content))
    path.write_bytes(content)
    header = read_header(path)
    assert header.kind == "Linear"
    assert header.shapes == {"weight": (4, 8), "bias": (4,)}
    assert header.metadata == {"name": "run"}


def test_any_safetensors_program_can_read_the_file(tmp_path: Path) -> None:
    assert torch.equal(load_file(saved(tmp_path))["model.weight"], network().weight)  # type: ignore[arg-type]


def test_tensors_that_share_memory_are_stored_each(tmp_path: Path) -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            flat = torch.arange(6.0)
            self.register_buffer("flat", flat)
            self.register_buffer("head", flat[:2])
            self.register_buffer("tail", flat[2:])

    save_checkpoint(tmp_path / "c", Views())
    fresh = Views()
    fresh.flat.zero_()  # type: ignore[operator]
    load_checkpoint(tmp_path / "c", fresh)
    assert torch.equal(fresh.flat, torch.arange(6.0))  # type: ignore[arg-type]


def test_a_stored_tensor_is_no_copy_where_none_is_needed() -> None:
    tensor: Tensor = torch.rand(3)
    assert storable("x", tensor).data_ptr() == tensor.data_ptr()


KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from torch import nn
from structure_net.surgery.checkpoint import load_checkpoint, save_checkpoint

path = Path(sys.argv[1])
torch.set_num_threads(1)
chosen = random.Random(0)
interrupted = tries = 0
save_checkpoint(path, nn.Linear(700, 700))
while interrupted < 5 or tries < 20:
    tries += 1
    child = os.fork()
    if child == 0:
        model, number = nn.Linear(700, 700), 0
        while True:
            number += 1
            with torch.no_grad():
                model.weight.fill_(number)
            save_checkpoint(path, model, iteration=number)
    time.sleep(chosen.uniform(0.01, 0.005 * (19 + tries)))  # longer where a child is slow to begin
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    interrupted += len(list(path.parent.iterdir())) > 1
    loaded = load_checkpoint(path, nn.Linear(700, 700))
    if loaded.iteration and not (loaded.model.weight == loaded.iteration).all():
        sys.exit("a file that mixes two saves")
save_checkpoint(path, nn.Linear(700, 700))
"""


def run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, str(path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_save_that_is_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    result = run(KILLS, tmp_path / "c.safetensors")
    assert result.returncode == 0, result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


FULL = """
import resource, signal, sys
from torch import nn
from structure_net.errors import CheckpointError
from structure_net.surgery.checkpoint import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(sys.argv[1], nn.Linear(700, 700))
except CheckpointError as error:
    sys.exit(str(error))
"""


def test_a_file_that_does_not_fit_leaves_the_older_one(tmp_path: Path) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()
    result = run(FULL, path)
    assert result.returncode == 1
    assert "cannot be written" in result.stderr
    assert "File too large" in result.stderr
    assert "\n" not in result.stderr.strip()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be written: No such file or directory"):
        save_checkpoint(tmp_path / "nowhere" / "c", network())
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_could_not_be_read_back_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"header .* has 9.,... *,... characters|header .*has"
    ):
        write_container(tmp_path / "c", {}, '"' + "x" * 90_000_001 + '"')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        path = saved(small)
        before = path.read_bytes()
        with pytest.raises(CheckpointError, match="No space left on device"):
            save_checkpoint(path, nn.Linear(700, 700))
        assert path.read_bytes() == before
        assert [file.name for file in small.iterdir()] == [path.name]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_files_of_many_sizes_leave_nothing_in_memory(tmp_path: Path) -> None:
    def pass_by(size: int) -> None:
        tensors = {f"{size}": torch.zeros(size), "small": torch.ones(3000)}
        write_container(tmp_path / "c", tensors, "{}")
        with opened(tmp_path / "c") as (_, read):
            assert torch.equal(read()[f"{size}"], tensors[f"{size}"])

    def held(sizes: range) -> int:
        for size in sizes:
            pass_by(size)
        gc.collect()
        return sys.getallocatedblocks()

    before = held(range(3000, 3005))
    # 30 blocks for each new size, and 4 for each file read, would be 1,700.
    assert held(range(4000, 4050)) - before < 500


def test_every_type_of_number_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    types = sorted(_DTYPES, key=str)
    tensors = {str(kind): torch.tensor([[0], [1]]).to(kind) for kind in types}
    tensors |= {"empty": torch.zeros(0, 3), "single": torch.tensor(2.5)}
    write_container(tmp_path / "c", tensors, "{}")
    with opened(tmp_path / "c") as (_, read):
        found = read()
    for name, theirs in load_file(tmp_path / "c").items():
        assert found[name].dtype == theirs.dtype == tensors[name].dtype
        assert found[name].shape == theirs.shape
        assert bytes(found[name].view(-1).view(torch.uint8)) == bytes(
            theirs.view(-1).view(torch.uint8)
        )
    assert found.keys() == tensors.keys()
