"""The best units for several readers, against the spectral solution and against least squares."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from structure_net.core.expansion import PlaceMoments, tiny_expansion
from structure_net.core.joint_expansion import (
    damped_factor,
    joint_incoming,
    joint_outgoing,
    unmade,
)


def drawn(seed: int, kernel: int = 2, positions: int = 3) -> PlaceMoments:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, h, delta = normal(kernel, 50, 5), normal(50, 4), normal(50, 3)
    delta[:, 0] += x[0, :, 1]
    return PlaceMoments(
        "a",
        f"reader {seed}",
        samples=50,
        positions=positions,
        inputs=torch.einsum("kni,knj->ij", x, x) / 50,
        features=h.T @ h / 50,
        cross=torch.stack([h.T @ one / 50 for one in x]),
        gradient=torch.stack([delta.T @ one / 50 for one in x]),
        feature_gradient=delta.T @ h / 50,
        curvature=delta.T @ delta / 50,
    )


@pytest.mark.parametrize("damping", [1e-6, 1e-3, 0.3])
def test_for_one_reader_it_is_the_tiny_solution(damping: float) -> None:
    place = drawn(0)
    found = joint_incoming([place], 3, damping=damping)
    expected = tiny_expansion(place, damping=damping).incoming[:3]
    signs = (found * expected).sum(1, keepdim=True).sign()
    torch.testing.assert_close(found * signs, expected, rtol=0, atol=1e-9)


def test_of_two_equal_readers_the_units_are_those_of_one() -> None:
    place = drawn(1)
    one, two = joint_incoming([place], 2), joint_incoming([place, place], 2)
    # The singular values of the doubled matrix are larger by sqrt(2), the vectors the same.
    signs = (one * two).sum(1, keepdim=True).sign()
    torch.testing.assert_close(two * signs, one * 2**0.25, rtol=0, atol=1e-9)


def test_the_outgoing_weights_are_least_squares_for_what_present_features_leave() -> None:
    generator = torch.Generator().manual_seed(2)
    h, z, delta = (
        torch.randn(80, size, generator=generator, dtype=torch.float64) for size in (4, 2, 3)
    )
    place = PlaceMoments(
        "a",
        "b",
        80,
        1,
        inputs=torch.eye(2, dtype=torch.float64),
        features=h.T @ h / 80,
        cross=torch.zeros(1, 4, 2, dtype=torch.float64),
        gradient=torch.zeros(1, 3, 2, dtype=torch.float64),
        feature_gradient=delta.T @ h / 80,
        curvature=delta.T @ delta / 80,
    )
    left = -delta - h @ torch.linalg.lstsq(h, -delta).solution
    expected = torch.linalg.lstsq(z, left).solution.T
    found = joint_outgoing((delta.T @ z / 80, h.T @ z / 80, z.T @ z / 80), place, damping=1e-12)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_with_some_weights_absent_each_output_has_its_own_least_squares() -> None:
    generator = torch.Generator().manual_seed(5)
    z, delta = (torch.randn(80, n, generator=generator, dtype=torch.float64) for n in (3, 2))
    nothing = drawn(0, kernel=1)
    place = replace(nothing, feature_gradient=torch.zeros(2, 4, dtype=torch.float64))
    live = torch.tensor([[True, False, True], [False, False, False]])
    cross = torch.zeros(4, 3, dtype=torch.float64)
    new = (delta.T @ z / 80, cross, z.T @ z / 80)
    found = joint_outgoing(new, place, damping=1e-12, live=live)
    expected = torch.linalg.lstsq(z[:, [0, 2]], -delta[:, :1]).solution[:, 0]
    torch.testing.assert_close(found[0, [0, 2]], expected, rtol=0, atol=1e-9)
    assert not found[0, 1]
    assert not found[1].any()


def test_units_whose_weights_may_be_any_are_found_one_after_the_other() -> None:
    place = drawn(0)
    every = torch.ones(3, 5, dtype=torch.bool)
    one_by_one = joint_incoming([place], 3, damping=1e-9, live=every)
    together = joint_incoming([place], 3, damping=1e-9)
    signs = (one_by_one * together).sum(1, keepdim=True).sign()
    torch.testing.assert_close(one_by_one * signs, together, rtol=0, atol=1e-7)
    some = every.clone()
    some[1, :3] = False
    assert not joint_incoming([place], 3, live=some)[1, :3].any()


def test_what_present_features_can_make_is_left_out() -> None:
    place = drawn(3)
    made = place.feature_gradient @ torch.linalg.inv(place.features) @ place.cross
    found = unmade(place.gradient, place.cross, place, 1e-12)
    torch.testing.assert_close(found, made - place.gradient, rtol=0, atol=1e-9)


def test_fewer_units_come_where_fewer_help() -> None:
    assert joint_incoming([drawn(0, kernel=1)], 9).shape == (3, 5)


def test_a_factor_gives_the_damped_moment_back() -> None:
    moment = drawn(0).features
    factor = damped_factor(moment, 0.5)
    shift = 0.5 * moment.diagonal().mean() * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(factor @ factor.T, moment + shift, rtol=0, atol=1e-12)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one place"):
        joint_incoming([], 1)
    with pytest.raises(ValueError, match="units must be 1"):
        joint_incoming([drawn(0)], 0)
    with pytest.raises(ValueError, match="damping must be positive"):
        damped_factor(torch.eye(2), 0.0)
    with pytest.raises(ValueError, match="must be finite"):
        damped_factor(torch.full((2, 2), torch.nan), 0.1)
