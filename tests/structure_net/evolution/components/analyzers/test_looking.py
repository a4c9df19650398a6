from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.errors import StructureNetError
from structure_net.evolution import NetworkContext, observe
from structure_net.evolution.components import (
    HebbianAnalyzer,
    LayerPerformanceAnalyzer,
    SimpleInformationFlowAnalyzer,
)
from structure_net.evolution.components.analyzers.looking import (
    hidden,
    labelled,
    neighbours,
    probed,
)
from structure_net.evolution.metrics import LabelInformation, Unavailable

ANALYZERS = (HebbianAnalyzer, LayerPerformanceAnalyzer, SimpleInformationFlowAnalyzer)


class Attending(nn.Module):
    """Queries and keys that no layer reads one by one, and a residual stream."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 6)
        self.query, self.key, self.value = (nn.Linear(6, 6) for _ in range(3))
        self.out = nn.Linear(6, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        stream = self.inner(inputs)
        mixed = F.scaled_dot_product_attention(
            self.query(stream), self.key(stream), self.value(stream)
        )
        outputs: Tensor = self.head(stream + self.out(mixed)).mean(1)
        return outputs


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    )


def layers_of(network: nn.Module, inputs: Tensor) -> Any:
    return observe(network, [(inputs, torch.zeros(len(inputs), dtype=torch.int64))]).layers


def test_a_layer_hands_on_to_those_that_read_its_units() -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
    found = neighbours(layers_of(network, torch.randn(8, 4)))
    assert found == {"0": ((), ("2",)), "2": (("0",), ("4",)), "4": (("2",), ())}


def test_a_layer_in_front_of_a_flattening_hands_on_to_the_next() -> None:
    layers = layers_of(convolutional(), torch.randn(4, 1, 8, 8))
    assert neighbours(layers) == {"0": ((), ("2",)), "2": (("0",), ("5",)), "5": (("2",), ())}
    assert hidden(layers) == ("0", "2")


def test_layers_in_front_of_attention_hand_on_to_the_one_behind_it() -> None:
    layers = layers_of(Attending(), torch.randn(4, 3, 4))
    found = neighbours(layers)
    assert found["query"][1] == found["key"][1] == found["value"][1] == ("out",)
    assert set(found["out"][0]) == {"query", "key", "value"}
    assert found["out"][1] == ("head",)
    assert set(found["head"][0]) == {"inner", "out"}
    assert hidden(layers) == ("inner", "query", "key", "value", "out")


@pytest.mark.parametrize("kind", ANALYZERS)
def test_an_analyzer_without_an_observation_says_what_it_reads(
    kind: type[Any], context: NetworkContext
) -> None:
    with pytest.raises(StructureNetError, match="observation, which is None"):
        kind().analyze(context)
    bare = replace(context, observation=observe(context.network, context.train_batches(1)))
    with pytest.raises(StructureNetError, match="probe, which is None"):
        kind().analyze(bare)


def test_an_analyzer_gets_as_many_samples_as_it_asked_for(context: NetworkContext) -> None:
    analyzer = SimpleInformationFlowAnalyzer(probe_size=20)
    needs, batches = analyzer.needs, context.train_batches(3)
    seen = observe(context.network, batches, needs=needs, probe_size=50)
    assert seen.probe is not None
    found = probed(replace(context, observation=seen), analyzer)
    assert found.size == 20
    assert torch.equal(found.values["layers.0"], seen.probe.values["layers.0"][:20])


@pytest.mark.parametrize("kind", ANALYZERS)
@pytest.mark.parametrize("argument", ["max_batches", "probe_size"])
def test_arguments_out_of_range_are_refused(kind: type[Any], argument: str) -> None:
    with pytest.raises(ValueError, match=argument):
        kind(**{argument: 0})


def test_targets_of_any_kind_give_label_information_or_a_reason() -> None:
    values = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(40) % 2
    assert isinstance(labelled(values, classes), LabelInformation)
    assert labelled(values, classes.unsqueeze(1)) == labelled(values, classes)
    for targets in (None, {"labels": classes}, values):
        assert isinstance(labelled(values, targets), Unavailable)
