"""A normalisation over the channels is a site whose constants follow the width."""

from __future__ import annotations

from structure_net.graph import NormSite, trace
from tests.zoo import ZOO


def test_a_stream_under_layer_norms_lists_each_of_them() -> None:
    case = ZOO["layernorm_stream"]
    group = trace(case.build(), case.inputs()).group("stem")
    assert group.normalised
    assert {site.module for site in group.norms} == {"first", "last"}
    for site in group.norms:
        assert isinstance(site, NormSite)
        assert (site.gain, site.epsilon) == (f"{site.module}.weight", "eps")


def test_a_group_inside_the_branch_has_no_site() -> None:
    case = ZOO["layernorm_stream"]
    group = trace(case.build(), case.inputs()).group("up")
    assert not group.normalised
    assert group.norms == ()
