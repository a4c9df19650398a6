from __future__ import annotations

import numpy as np
import pytest
import torch

from neural_architecture_lab.replicas import kernels
from neural_architecture_lab.replicas.memory import Lines, Stored
from structure_net.core.drawing import random_pattern
from structure_net.core.live_index import LiveIndex


@pytest.mark.parametrize("kind", ["float32", "float64", "int32"])
def test_pieces_begin_at_lines_of_the_cache_and_share_nothing(kind: str) -> None:
    lines = Lines((3, 0, 64, 17), kind)
    assert [len(piece) for piece in lines.pieces] == [3, 0, 64, 17]
    assert [address % 64 for address in lines.addresses] == [0] * 4
    for piece, address in zip(lines.pieces, lines.addresses, strict=True):
        assert not len(piece) or piece.ctypes.data == address
    for number, piece in enumerate(lines.pieces, 1):
        assert not piece.any()
        piece[:] = number
    assert [set(piece.tolist()) for piece in lines.pieces] == [{1}, set(), {3}, {4}]


@pytest.mark.parametrize(
    ("count", "form", "size"),
    [(12, kernels.SPARSE, 12), (60, kernels.MASKED, 77), (77, kernels.DENSE, 77)],
)
def test_a_layer_is_stored_as_its_density_says_and_read_back(
    count: int, form: int, size: int
) -> None:
    pattern = random_pattern((7, 11), count, torch.Generator().manual_seed(count))
    stored, values = Stored(pattern), torch.arange(1.0, count + 1)
    assert (stored.form, stored.size) == (form, size)
    matrix = stored.matrix(stored.laid_out(values).flatten())
    assert torch.equal(matrix[pattern.rows, pattern.columns], values)
    assert torch.equal(matrix != 0, pattern.mask())


def test_what_names_the_places_of_weights_is_a_live_index_or_a_mask() -> None:
    few, many = (random_pattern((7, 11), n, torch.Generator().manual_seed(n)) for n in (12, 60))
    index = Stored(few).index("float32")
    assert index is not None
    expected = LiveIndex.from_pattern(few).tensors
    for piece, tensor in zip(index.pieces, expected, strict=True):
        assert np.array_equal(piece, tensor.numpy())
    mask = Stored(many).index("float64")
    assert mask is not None
    assert np.array_equal(mask.pieces[0], many.mask().double().numpy().ravel())
    assert Stored(random_pattern((7, 11), 77)).index("float32") is None
