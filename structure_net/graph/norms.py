"""Where normalisations over the channels keep their gain and epsilon."""

from __future__ import annotations

from typing import Final

from torch import nn

from structure_net.graph.channels import NormSite, Role
from structure_net.graph.ledger import Ledger, Norm
from structure_net.graph.rules.reduction import MIXES

FIXED_EPSILON: Final = "keeps its epsilon where it cannot be changed"
NO_GAIN: Final = "has no gain that could follow the size"
BY_WRITERS: Final = frozenset((FIXED_EPSILON, NO_GAIN))
"""Obstacles around which what writes the channels can make up for the size."""


def norm_sites(
    ledger: Ledger, model: nn.Module
) -> tuple[dict[int, NormSite], dict[int, str | None]]:
    """What has to follow the size of each normalisation.

    Returns:
        The sites by the index of the normalisation, and for every one None or why it has no site.
    """
    sites: dict[int, NormSite] = {}
    obstacles: dict[int, str | None] = {}
    for index, norm in enumerate(ledger.norms):
        found = _site(ledger, norm, model, bare=index in ledger.bare_norms)
        obstacles[index] = found if isinstance(found, str) else None
        if isinstance(found, NormSite):
            sites[index] = found
    for gain in {site.gain for site in sites.values()}:
        shared = [index for index, site in sites.items() if site.gain == gain]
        if len({sites[index] for index in shared}) > 1:
            obstacles.update(dict.fromkeys(shared, "shares its gain with another one"))
    return sites, obstacles


def _site(ledger: Ledger, norm: Norm, model: nn.Module, *, bare: bool) -> NormSite | str:
    """The site, or why there is none."""
    if norm.kind == "group":
        return "normalises inside a group of channels"
    if norm.kind == "mixing":
        return MIXES.removeprefix("which ")
    if norm.gain is None or bare:
        return NO_GAIN
    if not _alone(ledger, norm.gain):
        return "has a gain that does something else as well"
    name = _epsilon(model.get_submodule(norm.epsilon_module), norm.epsilon)
    if name is None:
        return FIXED_EPSILON
    return NormSite(norm.epsilon_module, norm.gain, name, norm.offset)


def _alone(ledger: Ledger, gain: str) -> bool:
    """Whether a parameter does nothing but multiply the results of normalisations."""
    uses = [use for i in range(len(ledger.tensors[gain])) for use in ledger.uses.get((gain, i), ())]
    count = sum(norm.gain == gain for norm in ledger.norms)
    return len({u.step for u in uses}) <= count and all(u.role is Role.SCALES for u in uses)


def _epsilon(module: nn.Module, value: float | None) -> str | None:
    """The attribute of a module that holds epsilon."""
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        return "eps"
    found = [
        name for name, held in vars(module).items() if isinstance(held, float) and held == value
    ]
    return found[0] if len(found) == 1 else None
