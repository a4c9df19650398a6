"""The names of layers: every module that owns a weight which writes channels is a layer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from structure_net.graph.ledger import LayerRecord, Ledger
from structure_net.graph.sizes import Expr

COMPUTED: Final = re.compile(r"(^|.*\.)(parametrizations\.weight\.\w+|weight_orig|weight_[guv])$")
"""Parameters that ``weight`` is computed from, as by `torch.nn.utils.parametrizations`."""


@dataclass(frozen=True, slots=True)
class NamedLayer:
    """A layer of the model.

    Args:
        name: The dotted name of the module; of the weight without its ending ``_weight`` where a
            module has several (``attention.in_proj``).
        kind: What it computes: ``linear``, ``convolution``, ``transposed convolution``,
            ``embedding``, ``recurrent``, ``product`` or ``sparse``.
        output: The axis of its output channels.
        step: The step that applies it first.
        weight: The canonical name of its weight.
    """

    name: str
    kind: str
    output: Expr
    step: int
    weight: str


def named_layers(ledger: Ledger) -> Iterator[NamedLayer]:
    """The layers in order of execution, each once."""
    records = (r for r in ledger.layers if ".parametrizations." not in f".{r.module}")
    own = [(_own_name(ledger, record), record) for record in records]
    seen: set[str] = set()
    for weight, record in own:
        name = _layer_name(weight, record, {w for w, _ in own})
        if name not in seen:
            seen.add(name)
            yield NamedLayer(name, record.kind, record.output, record.step, record.weight)


def _own_name(ledger: Ledger, record: LayerRecord) -> str:
    """The name of the weight in the module that uses it, where it has several."""
    names = ledger.aliases.get(record.weight, (record.weight,))
    return next((n for n in names if n.rpartition(".")[0] == record.module), record.weight)


def _layer_name(weight: str, record: LayerRecord, weights: set[str]) -> str:
    weight = COMPUTED.sub(r"\1weight", weight)
    owner, _, name = weight.rpartition(".")
    if record.kind == "sparse":
        return weight
    if owner and (name == "weight" or record.kind == "recurrent"):
        return owner
    if name.endswith("_weight"):
        return f"{owner}.{name.removesuffix('_weight')}".lstrip(".")
    alone = sum(other.rpartition(".")[0] == owner for other in weights) == 1
    return owner if owner and alone else weight
