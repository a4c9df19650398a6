"""The channel graph of a model: which layers can change their width, and what moves with them.

`trace` makes one from a model and an example. A width edit is followed by `ChannelGraph.resized`,
which changes one number; everything else is computed from the expressions of the sizes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from torch import nn

from structure_net.errors import SurgeryError
from structure_net.graph.attributes import Attribute, Requirements
from structure_net.graph.channels import (
    AttributeSite,
    Axis,
    ChannelGroup,
    Growth,
    NormSite,
    Role,
    SpectralNormSite,
    WeightNormSite,
)
from structure_net.graph.expansions import Expansion, Expansions
from structure_net.graph.ledger import Ledger, Origin
from structure_net.graph.naming import NamedLayer, named_layers
from structure_net.graph.norms import norm_sites
from structure_net.graph.sizes import (
    Expr,
    Prod,
    Sum,
    Var,
    granularity,
    leaves,
    lift,
    resolve,
    size_of,
    units_of,
)
from structure_net.graph.tracing import Example, ledger_of

_WAY_OUT: Final = "torch.nn.utils.parametrize.remove_parametrizations takes it off"

_ROLE_ORDER = (
    Role.WRITES,
    Role.READS,
    Role.SCALES,
    Role.SHIFTS,
    Role.MEAN,
    Role.VARIANCE,
    Role.TABLE,
)


def trace(model: nn.Module, example: Example) -> ChannelGraph:
    """The channel graph of a model.

    Args:
        model: Any module that `torch.export` can trace; it is not changed.
        example: A tensor, a tuple of positional inputs or a mapping of named ones.

    Raises:
        TraceError: The model is wrapped, or cannot be exported.
    """
    ledger = ledger_of(model, example)
    return ChannelGraph(Structure.of(ledger, model))


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """What a trace found, which no width edit changes.

    Args:
        ledger: Axes, uses, layers and the program.
        layers: The layers by name, in order of execution.
        norms: For each normalisation, what has to follow its size; None where it cannot.
        expansions: The ways in which variables can change.
    """

    ledger: Ledger
    layers: Mapping[str, NamedLayer]
    norms: Mapping[int, NormSite]
    expansions: Expansions

    @classmethod
    def of(cls, ledger: Ledger, model: nn.Module) -> Structure:
        """Names the layers and finds the normalisations' constants in the model."""
        sites, obstacles = norm_sites(ledger, model)
        layers = {layer.name: layer for layer in named_layers(ledger)}
        return cls(ledger, layers, sites, Expansions(ledger, obstacles))


class ChannelGraph:
    """Which layers of a model can change their width, and what moves with them.

    Args:
        structure: What a trace found.
        sizes: The sizes that edits have changed since.

    Attributes:
        stale: Set by edits that change more than widths: the graph no longer describes the model.
    """

    def __init__(self, structure: Structure, sizes: Mapping[Var, int] | None = None) -> None:
        self.structure = structure
        self.sizes: dict[Var, int] = dict(sizes or {})
        self.stale = False
        self._groups: dict[str, tuple[ChannelGroup, ...]] = {}

    def __repr__(self) -> str:
        return (
            f"ChannelGraph(layers={len(self.layers)}, editable={len(self.editable)}, "
            f"frozen={len(self.frozen)})"
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers, in order of execution."""
        return tuple(self.structure.layers)

    @property
    def editable(self) -> Mapping[str, ChannelGroup]:
        """The layers whose width can change, with what moves."""
        groups = ((name, self.groups_of(name)) for name in self.layers)
        return {name: found[0] for name, found in groups if found}

    @property
    def frozen(self) -> Mapping[str, str]:
        """The other layers, with the reason, which names the operation."""
        return {name: self._reason(name) for name in self.layers if not self.groups_of(name)}

    def group(self, layer: str) -> ChannelGroup:
        """What moves when the width of ``layer`` changes, by the smallest unit.

        Raises:
            SurgeryError: There is no such layer, or its width is fixed.
        """
        found = self.groups_of(layer)
        if not found:
            raise SurgeryError(f"The width of '{layer}' is fixed by {self._reason(layer)}.")
        return found[0]

    def groups_of(self, layer: str) -> tuple[ChannelGroup, ...]:
        """Every way in which the width of ``layer`` can change, the smallest unit first; empty
        where it is fixed.

        Raises:
            SurgeryError: There is no such layer.
        """
        if layer not in self._groups:
            self._groups[layer] = self._found(self._layer(layer))
        return self._groups[layer]

    def resized(self, group: ChannelGroup, units: int) -> None:
        """Follows a width edit, after which the group has ``units`` units.

        Raises:
            ValueError: The group is not of this graph, or no unit is left.
        """
        if group.variable is None or units < 1:
            raise ValueError(
                f"A group of this graph must keep at least one unit; '{group.layer}' got {units}."
            )
        self.sizes[group.variable] = units
        touched = self.structure.expansions.index.neighbours(group.variable)
        for layer in [name for name in self._groups if self._touches(name, touched)]:
            del self._groups[layer]

    def copy(self) -> ChannelGraph:
        """A graph for a copy of the model: it follows edits by itself, the trace is shared."""
        twin = ChannelGraph(self.structure, self.sizes)
        twin.stale = self.stale
        return twin

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape that the graph expects of every parameter and buffer that the program uses."""
        ledger = self.structure.ledger
        return {
            name: tuple(size_of(expr, self.sizes) for expr in exprs)
            for name, exprs in ledger.tensors.items()
            if name not in ledger.leaves
        }

    def _touches(self, layer: str, touched: set[Var]) -> bool:
        """Whether the groups of a layer depend on one of some variables."""
        return not touched.isdisjoint(leaves(self.structure.layers[layer].output))

    def _layer(self, name: str) -> NamedLayer:
        found = self.structure.layers.get(name)
        if found is not None:
            return found
        near = difflib.get_close_matches(name, self.layers, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        known = ", ".join(self.layers[:20]) + (", ..." if len(self.layers) > 20 else "")
        raise SurgeryError(f"There is no layer '{name}'.{hint} Layers: {known or 'none'}.")

    def _candidates(self, layer: NamedLayer) -> Iterator[tuple[Var, Expansion]]:
        counts = _repeats(layer.output)
        for var in dict.fromkeys(leaves(layer.output)):
            expansion = self.structure.expansions.of(var)
            if expansion.reason is None and not counts.get(var):
                yield var, expansion

    def _found(self, layer: NamedLayer) -> tuple[ChannelGroup, ...]:
        groups = [self._group(layer, var, expansion) for var, expansion in self._candidates(layer)]
        return tuple(sorted(groups, key=_preference))

    def _reason(self, name: str) -> str:
        layer = self._layer(name)
        variables = dict.fromkeys(leaves(layer.output))
        if self.structure.expansions.index.heads_output(layer.step):
            return "the model's output"
        if not variables:
            return "its only channel, which looks like an axis that is broadcast"
        reasons = [self.structure.expansions.of(var).reason for var in variables]
        known = [reason for reason in reasons if reason is not None]
        reason = next(
            (r for r in known if "no channel rule" in r),
            known[0] if known else "a product with itself",
        )
        return f"{reason} ({_WAY_OUT})" if "parametrization" in reason else reason

    def _group(self, layer: NamedLayer, var: Var, expansion: Expansion) -> ChannelGroup:
        sizes = dict(self.sizes)
        units = sizes.get(var, var.size)
        channels: list[list[int]] = [[] for _ in range(units)]
        for index, unit in enumerate(units_of(layer.output, var, sizes)):
            if unit >= 0:
                channels[unit].append(index)
        norms = self.structure.expansions.index.norms(var)
        copied = expansion.growth is Growth.DOUBLING
        spectral = self._spectral_norms(var)
        sites = dict.fromkeys(
            self.structure.norms[i] for i, _ in norms if i in self.structure.norms
        )
        return ChannelGroup(
            layer=layer.name,
            size=size_of(layer.output, sizes),
            granularity=granularity(layer.output, var, sizes),
            units=units,
            channels=tuple(map(tuple, channels)),
            axes=tuple(
                self._axis(origin, var, expansion)
                for origin in self.structure.expansions.index.origins[var]
            ),
            growth=expansion.growth,
            refusal=expansion.refusal,
            norms=() if copied or expansion.powers else tuple(sites),
            attributes=self._attributes(var),
            normalised=bool(norms) or bool(spectral),
            doubling_refusal=expansion.doubling_refusal,
            weight_norms=self._weight_norms(var),
            spectral_norms=spectral,
            heads=any(var in leaves(head) for head in self.structure.ledger.heads),
            paired=bool(self.structure.expansions.index.contractions(var)),
            variable=var,
        )

    def _axis(self, origin: Origin, var: Var, expansion: Expansion) -> Axis:
        ledger = self.structure.ledger
        name, dim = origin
        roles = {use.role for use in ledger.uses[origin]}
        expr = ledger.tensors[name][dim]
        if origin in self.structure.expansions.index.directions:
            roles |= self._roles_of_gain(origin) & {Role.WRITES}
        return Axis(
            tensor=name,
            dim=dim,
            role=next(role for role in _ROLE_ORDER if role in roles),
            fill=expansion.fills[origin],
            weights=expansion.weights.get(origin),
            lift=partial(_lifted, expr, var, dict(self.sizes)),
            leaf=name in ledger.leaves,
            power=expansion.powers.get(origin, 0.0),
            halved=origin in expansion.halved,
            lost=next((norm.lost for _, norm in self.structure.expansions.index.norms(var)), 0),
            pivot=self.structure.expansions.index.offsets.get(name, 0.0),
        )

    def _roles_of_gain(self, direction: Origin) -> set[Role]:
        """What the gain of a normalised weight does on the axis that it shares with a direction."""
        ledger = self.structure.ledger
        gains = [s.gain for s in ledger.weight_norms if (s.direction, s.dim) == direction]
        return {use.role for gain in gains for use in ledger.uses.get((gain, direction[1]), ())}

    def _weight_norms(self, var: Var) -> tuple[WeightNormSite, ...]:
        moved = {name for name, _ in self.structure.expansions.index.origins[var]}
        sites = self.structure.ledger.weight_norms
        return tuple(site for site in sites if not moved.isdisjoint((site.gain, site.direction)))

    def _spectral_norms(self, var: Var) -> tuple[SpectralNormSite, ...]:
        moved = {name for name, _ in self.structure.expansions.index.origins[var]}
        return tuple(s for s in self.structure.ledger.spectral_norms if s.weight in moved)

    def _attributes(self, var: Var) -> tuple[AttributeSite, ...]:
        needs, sizes = self.structure.ledger.requirements, dict(self.sizes)
        return tuple(
            AttributeSite(a.module, a.name, a.position, partial(_value, needs, a, var, sizes))
            for a in needs.attributes_of(var, sizes)
        )


def _lifted(
    expr: Expr, var: Var, sizes: Mapping[Var, int], source: Sequence[int]
) -> tuple[int, ...]:
    return lift(expr, var, source, sizes)


def _value(
    needs: Requirements, attribute: Attribute, var: Var, sizes: Mapping[Var, int], units: int
) -> int:
    return needs.value(attribute, {**sizes, var: units})


def _preference(group: ChannelGroup) -> tuple[bool, bool, bool, int, int]:
    given = group.variable is not None and group.variable.given
    return (
        group.growth is Growth.DOUBLING,
        group.paired,
        given,
        group.granularity,
        len(group.axes),
    )


def _repeats(expr: Expr) -> dict[Var, bool]:
    """Which variables a product has more than once, so that their units overlap."""
    expr = resolve(expr)
    if isinstance(expr, Var):
        return {}
    if isinstance(expr, Sum):
        return {var: True for part in expr.parts for var in _repeats(part)}
    assert isinstance(expr, Prod)
    seen: set[Var] = set()
    out = {var: True for factor in expr.factors for var in _repeats(factor)}
    for factor in expr.factors:
        found = set(leaves(factor))
        out.update(dict.fromkeys(found & seen, True))
        seen |= found
    return out
