from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core import create_standard_network
from structure_net.dnm import LayerCaches, collect_caches, layer_caches
from structure_net.surgery import AddSkipConnection, apply
from tests.structure_net.dnm.loops import SmallCNN, batch, contents


def test_what_is_collected_is_what_the_layers_put_out_and_the_gradient_of_the_loss_there() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    inputs = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(7) % 2
    activations, gradients = collect_caches(model, inputs, targets)
    assert list(activations) == ["0", "2"]
    torch.testing.assert_close(activations["0"], model[0](inputs), rtol=0, atol=0)
    outputs = model(inputs)
    by_hand = (outputs.softmax(1) - F.one_hot(targets, 2)) / 7
    torch.testing.assert_close(gradients["2"], by_hand, rtol=1e-10, atol=1e-10)
    slope = 1 - model[0](inputs).tanh().square()
    torch.testing.assert_close(
        gradients["0"], by_hand @ model[2].weight * slope, rtol=1e-10, atol=1e-10
    )


def test_collecting_leaves_the_model_as_it_was() -> None:
    model = SmallCNN().train()
    inputs, targets = batch()
    F.cross_entropy(model(inputs), targets).backward()
    before = contents(model)
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    collect_caches(model, inputs, targets)
    assert model.training
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in contents(model).items())
    found = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(one, two) for one, two in zip(gradients, found, strict=True))


def test_a_rectifier_that_works_in_place_does_not_hinder() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(inplace=True), nn.Linear(5, 2))
    activations, gradients = collect_caches(model, torch.randn(6, 3), torch.arange(6) % 2)
    assert gradients["0"].shape == activations["0"].shape == (6, 5)


def test_gradients_are_taken_by_module_or_by_parameter_name() -> None:
    model = SmallCNN()
    inputs, targets = batch()
    F.cross_entropy(model(inputs), targets).backward()
    activations, by_module = collect_caches(model, inputs, targets)
    by_name = {name: parameter.grad for name, parameter in model.named_parameters()}
    caches = layer_caches(model, activations, {**by_name, **by_module}, targets)
    assert list(caches.gradients) == ["features.0", "features.2", "classifier"]
    assert set(caches.weight_gradients) == set(caches.gradients)
    weight = model.features[2].weight.grad
    assert weight is not None
    assert torch.equal(caches.weight_gradients["features.2"], weight.flatten(1))
    of_weight = layer_caches(model, activations, {"features.2": weight})
    assert torch.equal(of_weight.weight_gradients["features.2"], weight.flatten(1))


def test_modules_that_are_no_layers_and_missing_gradients_are_passed_over() -> None:
    model = SmallCNN()
    seen: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
    model(batch()[0])
    caches = layer_caches(model, seen, {"features.0.weight": None, "features.3.bias": seen[""]})
    assert list(caches.activations) == ["features.0", "features.2", "classifier"]
    assert caches.weight_gradients == caches.gradients == {}
    assert caches.targets is None


def test_tokens_bring_their_units_to_the_second_axis() -> None:
    layer = nn.Sequential(nn.Linear(4, 6))
    values = torch.randn(2, 5, 6)
    caches = layer_caches(layer, {"0": values}, {"0": values})
    assert caches.activations["0"].shape == caches.gradients["0"].shape == (2, 6, 5)
    sparse = create_standard_network([4, 6, 2], density=0.5, seed=0)
    caches = layer_caches(sparse, {"layers.0": torch.randn(3, 6)}, {})
    assert caches.activations["layers.0"].shape == (3, 6)


def test_the_rows_of_a_transposed_convolution_are_its_output_channels() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(3, 5, 2))
    gradient = torch.randn(3, 5, 2, 2)
    caches = layer_caches(model, {}, {"0.weight": gradient})
    assert torch.equal(caches.weight_gradients["0"][4], gradient[:, 4].flatten())


def test_names_from_before_an_edit_are_understood() -> None:
    model = SmallCNN()
    inputs, targets = batch()
    apply(model, AddSkipConnection("features.0", "features.2"), inputs[:2])
    activations, gradients = collect_caches(model, inputs, targets)
    old = {"features.2": activations["features.2.origin"]}
    caches = layer_caches(model, old, {"features.2": gradients["features.2.origin"]})
    assert list(caches.activations) == list(caches.gradients) == ["features.2.origin"]


@pytest.mark.parametrize("what", ["activations", "gradients"])
def test_an_unknown_name_is_an_error_that_names_the_nearest(what: str) -> None:
    given: dict[str, dict[str, Tensor]] = {"activations": {}, "gradients": {}}
    given[what]["classifer"] = torch.zeros(2, 4)
    with pytest.raises(ValueError, match=f"{what} hold 'classifer'.*nearest is 'classifier'"):
        layer_caches(SmallCNN(), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("activations", "gradients", "kind", "said"),
    [
        ({"classifier": torch.zeros(2, 5)}, {}, ValueError, "has 4 units.*Cache anew"),
        ({"classifier": torch.zeros(4)}, {}, ValueError, "samples first"),
        ({"classifier": [1.0]}, {}, TypeError, "must be a tensor; got list"),
        ({}, {"classifier.weight": torch.zeros(4, 3)}, ValueError, r"\(4, 3\). Cache anew"),
        (None, {}, TypeError, "activations must be a mapping"),
    ],
)
def test_what_does_not_fit_the_network_is_refused(
    activations: object, gradients: object, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        layer_caches(SmallCNN(), activations, gradients)  # type: ignore[arg-type]


def test_caches_are_empty_by_default() -> None:
    assert not LayerCaches().activations
