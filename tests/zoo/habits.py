"""Ways in which users keep sizes and share tensors: literals, attributes, ties, several inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.case import Case, floats, named, together, tokens


class LiteralFlatten(nn.Module):
    """Flattens feature maps with a literal size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.conv(x)).view(-1, 64))


class AttributeFlatten(nn.Module):
    """Flattens with a size that it keeps in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.flat_size = 64
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(self.flat_size, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.conv(x)).view(-1, self.flat_size))


class ProductFlatten(nn.Module):
    """Flattens with a product of attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = 4
        self.side = 4
        self.conv = nn.Conv2d(3, self.channels, 3, padding=1)
        self.fc = nn.Linear(self.channels * self.side**2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        return self.fc(x.view(-1, self.channels * self.side * self.side))


class SharedAttribute(nn.Module):
    """One attribute for two widths: growing one alone breaks the other."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 8
        self.left = nn.Linear(6, 8)
        self.right = nn.Linear(6, 8)
        self.left_head = nn.Linear(8, 3)
        self.right_head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        left = self.left(x).view(-1, 2, self.width).relu()
        right = self.right(x).view(-1, 2, self.width).tanh()
        return (self.left_head(left) + self.right_head(right)).mean(1)


class TupleAttribute(nn.Module):
    """A shape kept as a tuple, whose second entry is the number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = (2, 8)
        self.hidden = nn.Linear(6, 8)
        self.scale = nn.Parameter(torch.ones(8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hidden(x).reshape(-1, *self.shape) * self.scale
        return self.head(functional.layer_norm(x, self.shape[1:]).mean(1))


class EqualValues(nn.Module):
    """Integers that equal the width by chance: a value match would change them."""

    def __init__(self) -> None:
        super().__init__()
        self.num_labels = 8
        self.width = 8
        self.seed = 8
        self.hidden = nn.Linear(6, 8)
        self.head = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.hidden(x).view(-1, self.width).relu()
        return self.head(hidden).view(-1, self.num_labels)


class AttributeArithmetic(nn.Module):
    """A head's width computed by floor division, a loop bound and a constant from attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 8
        self.heads = 2
        self.rounds = 2
        self.hidden = nn.Linear(6, 8)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hidden(x)
        for _ in range(self.rounds):
            y = x.view(-1, self.heads, self.width // self.heads)
            x = x + self.mix(y.tanh().reshape(-1, self.width))
        return self.head(x)


class ScaleByAttribute(nn.Module):
    """A scale computed from the width that the module keeps: growing it changes the function."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 8
        self.hidden = nn.Linear(6, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x).view(-1, self.width).relu() / self.width**0.5)


class WeightNormed(nn.Module):
    """A weight that is computed from two parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.utils.parametrizations.weight_norm(nn.Linear(6, 8))
        self.middle = nn.Linear(8, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.middle(torch.relu(self.hidden(x)))))


class SpectralNormed(nn.Module):
    """A weight that is divided by its largest singular value."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 8))
        self.middle = nn.Linear(8, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.middle(torch.relu(self.hidden(x)))))


class TiedTranspose(nn.Module):
    """An autoencoder whose decoder is the encoder's weight, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(6, 8)
        self.bias = nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(torch.relu(self.encode(x)), self.encode.weight.t(), self.bias)


class TiedWithoutNorm(nn.Module):
    """Tied embedding and head without a normalisation: one tensor writes and reads the axis."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, 8)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(torch.tanh(self.tokens(x)), self.tokens.weight)


class SharedBias(nn.Module):
    """One bias vector used by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 8)
        self.right = nn.Linear(6, 8)
        self.right.bias = self.left.bias
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.left(x).relu(), self.right(x).tanh()], -1))


class SeveralInputs(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 8)
        self.right = nn.Linear(5, 8)
        self.first = nn.Linear(8, 3)
        self.second = nn.Linear(16, 2)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        left, right = torch.relu(self.left(x)), torch.relu(self.right(y))
        return self.first(left * right), self.second(torch.cat([left, right], -1))


class DictInputs(nn.Module):
    """Inputs by name, outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(11, 8, mode="mean")
        self.numbers = nn.Linear(5, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, words: Tensor, numbers: Tensor) -> dict[str, Tensor]:
        hidden = torch.relu(self.words(words) + self.numbers(numbers))
        return {"logits": self.head(hidden)}


class HiddenOutput(nn.Module):
    """Returns a hidden layer too: its width is part of the model's output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.hidden = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.hidden(torch.relu(self.stem(x))))
        return self.head(hidden), hidden


class Einsums(nn.Module):
    """Parameters with more than two axes, contracted by einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Parameter(0.5 * torch.randn(6, 2, 5))
        self.out = nn.Parameter(0.5 * torch.randn(2, 5, 7))
        self.head = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.einsum("bni,ihd->bnhd", x, self.into).relu()
        return self.head(torch.einsum("bnhd,hdo->bno", hidden, self.out))


class OwnWeights(nn.Module):
    """A layer of the user's own: matmul and a bias, weights stored (in, out)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.5 * torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Learned(nn.Module):
    """A class token, learned positions, stack and narrow."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(0.1 * torch.randn(1, 5, 8))
        self.up = nn.Linear(8, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        x = torch.relu(self.up(torch.relu(x)))
        return self.head(torch.stack([x, x.tanh()], 1).sum(1).narrow(1, 0, 1).squeeze(1))


class Unfolded(nn.Module):
    """Convolution written by unfold and a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.weight = nn.Parameter(0.3 * torch.randn(5, 36))
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        columns = functional.unfold(torch.relu(self.stem(x)), 3, padding=1)
        return self.head((self.weight @ columns).relu().mean(-1))


class Unused(nn.Module):
    """Holds a layer that no forward reaches, and a frozen parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(6, 8)
        self.unused = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)
        self.used.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.used(x)))


class BilinearForm(nn.Module):
    """`nn.Bilinear`: a parameter that reads two axes."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 4)
        self.right = nn.Linear(6, 5)
        self.form = nn.Bilinear(4, 5, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.form(self.left(x).relu(), self.right(x).tanh())))


class Cells(nn.Module):
    """Recurrent cells called in a loop, from a state that is made of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 5)
        self.cell = nn.GRUCell(5, 8)
        self.second = nn.LSTMCell(8, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], self.cell.hidden_size)
        memory = None
        for step in range(x.shape[1]):
            state = self.cell(self.embed(x[:, step]), state)
            memory = self.second(state, memory)
        return self.head(memory[0])


def own_layers() -> nn.Module:
    """A stack of the user's own layers."""
    return nn.Sequential(OwnWeights(6, 8), nn.ReLU(), OwnWeights(8, 5), nn.ReLU(), OwnWeights(5, 3))


CASES = (
    Case(
        "literal_flatten",
        LiteralFlatten,
        floats(3, 4, 4),
        trap=True,
        outputs=("fc",),
        refused=("conv",),
    ),
    Case("attribute_flatten", AttributeFlatten, floats(3, 4, 4), trap=True, outputs=("fc",)),
    Case("product_flatten", ProductFlatten, floats(3, 4, 4), trap=True, outputs=("fc",)),
    Case(
        "shared_attribute",
        SharedAttribute,
        floats(2, 6),
        trap=True,
        outputs=("left_head", "right_head"),
    ),
    Case("tuple_attribute", TupleAttribute, floats(2, 6), trap=True, outputs=("head",)),
    Case("equal_values", EqualValues, floats(6), trap=True, outputs=("head",)),
    Case("attribute_arithmetic", AttributeArithmetic, floats(6), trap=True, outputs=("head",)),
    Case("scale_by_attribute", ScaleByAttribute, floats(6), trap=True, outputs=("head",)),
    Case("weight_norm", WeightNormed, floats(6), trap=True, outputs=("head",)),
    Case("spectral_norm", SpectralNormed, floats(6), trap=True, outputs=("head",)),
    Case("tied_transpose", TiedTranspose, floats(6), trap=True),
    Case("tied_without_norm", TiedWithoutNorm, tokens(5, 11), trap=True),
    Case("shared_bias", SharedBias, floats(6), trap=True, outputs=("head",)),
    Case(
        "several_inputs", SeveralInputs, together(floats(6), floats(5)), outputs=("first", "second")
    ),
    Case(
        "dict_inputs", DictInputs, named(words=tokens(4, 11), numbers=floats(5)), outputs=("head",)
    ),
    Case(
        "hidden_output",
        HiddenOutput,
        floats(6),
        trap=True,
        outputs=("head", "hidden"),
        refused=("hidden",),
    ),
    Case("einsums", Einsums, floats(4, 6), outputs=("head",)),
    Case("own_layers", own_layers, floats(6), laws=True, outputs=("4",)),
    Case("learned_tokens", Learned, floats(3, 4, 4), outputs=("head",)),
    Case("unfolded", Unfolded, floats(3, 4, 4), trap=True, outputs=("head",)),
    Case("unused", Unused, floats(6), trap=True, outputs=("head",)),
    Case("bilinear", BilinearForm, floats(6), laws=True, outputs=("head",)),
    Case("cells", Cells, floats(3, 6), laws=True, outputs=("head",)),
)
