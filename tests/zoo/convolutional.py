"""Convolutional models."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.case import Case, floats


class YourCNNModel(nn.Module):
    """The user's model of the DNM seed; with the default arguments as the seed writes it."""

    def __init__(self, width: int = 32, image: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(2 * width * image * image, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.classifier(x)


def conv_batchnorm() -> nn.Module:
    """Convolution, BatchNorm, pooling, flatten, linear."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 9, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


class ConvResidual(nn.Module):
    """A basic block with BatchNorm and a projection on the shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(4)
        self.first = nn.Conv2d(4, 6, 3, padding=1, stride=2, bias=False)
        self.first_norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(6)
        self.shortcut = nn.Conv2d(4, 6, 1, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem_norm(self.stem(x)))
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        y += self.shortcut(x)
        return self.head(torch.flatten(self.pool(functional.relu(y)), 1))


class DenseConcat(nn.Module):
    """DenseNet-like: every layer reads all that came before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4 + 3 * i) for i in range(2))
        self.layers = nn.ModuleList(nn.Conv2d(4 + 3 * i, 3, 3, padding=1) for i in range(2))
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            features.append(layer(torch.relu(norm(torch.cat(features, dim=1)))))
        return self.head(torch.cat(features, 1).mean((2, 3)))


def depthwise() -> nn.Module:
    """Depthwise-separable: pointwise, depthwise, pointwise."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.ReLU6(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        nn.BatchNorm2d(4),
        nn.Hardswish(),
        nn.Conv2d(4, 6, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


def grouped() -> nn.Module:
    """Grouped convolutions: units are whole groups, or equal shares of each."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 1),
        nn.ReLU(),
        nn.Conv2d(6, 9, 3, padding=1, groups=3),
        nn.BatchNorm2d(9),
        nn.ReLU(),
        nn.Conv2d(9, 4, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


class SqueezeExcite(nn.Module):
    """A convolution whose channels are gated by their own means."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.squeeze = nn.Conv2d(8, 4, 1)
        self.excite = nn.Conv2d(4, 8, 1)
        self.project = nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.stem(x))
        gate = functional.relu(self.squeeze(functional.adaptive_avg_pool2d(x, 1)))
        x = x * torch.sigmoid(self.excite(gate))
        return self.head(functional.relu(self.project(x)).mean(dim=(-2, -1)))


class EncoderDecoder(nn.Module):
    """U-Net-like: down, up by a transposed convolution, a skip by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 6, 3, padding=1, stride=2)
        self.bottom = nn.Conv2d(6, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 5, 2, stride=2)
        self.merge = nn.Conv2d(9, 4, 3, padding=1)
        self.leave = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        shallow = torch.relu(self.enter(x))
        deep = torch.relu(self.bottom(torch.relu(self.down(shallow))))
        deep = functional.leaky_relu(self.up(deep), 0.1)
        return self.leave(torch.relu(self.merge(torch.cat([shallow, deep], 1))))


class GroupNormed(nn.Module):
    """GroupNorm: only whole groups can come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(4, 8)
        self.middle = nn.Conv2d(8, 5, 3, padding=1)
        self.instance = nn.InstanceNorm2d(5, affine=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.elu(self.norm(self.stem(x)))
        x = torch.relu(self.instance(self.middle(x)))
        return self.head(x.amax(dim=(2, 3)))


def signal() -> nn.Module:
    """One-dimensional convolutions, transposed too."""
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.ConvTranspose1d(4, 5, 2, stride=2),
        nn.Mish(),
        nn.AvgPool1d(2),
        nn.Conv1d(5, 4, 3, dilation=2),
        nn.Softplus(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def volume() -> nn.Module:
    """Three-dimensional convolutions."""
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(4, 5, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5, 3),
    )


class OneGroup(nn.Module):
    """GroupNorm with one group, as in PoolFormer: channels can only be copied all together."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.GroupNorm(1, 6)
        self.expand = nn.Conv2d(6, 9, 1)
        self.project = nn.Conv2d(9, 6, 1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(torch.relu(self.expand(self.norm(x))))
        return self.head(x)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of feature maps, as ConvNeXt writes it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = 1e-6

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ChannelNormed(nn.Module):
    """A residual block around a norm over the channels of feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = ChannelNorm(6)
        self.expand = nn.Conv2d(6, 9, 1)
        self.project = nn.Conv2d(9, 6, 1)
        self.last = ChannelNorm(6)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(torch.relu(self.expand(self.norm(x))))
        return self.head(self.last(x))


class Shuffled(nn.Module):
    """ShuffleNet: half of the channels goes through a branch, then all are dealt out anew."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.branches = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for branch in self.branches:
            kept, taken = x.chunk(2, dim=1)
            x = self._shuffle(torch.cat([kept, torch.relu(branch(taken))], 1))
        return self.head(x)

    @staticmethod
    def _shuffle(x: Tensor) -> Tensor:
        batch, channels, height, width = x.size()
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return x.view(batch, channels, height, width)


class SpatialAttention(nn.Module):
    """CBAM: mean and maximum over the channels weigh the positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.weigh = nn.Conv2d(2, 1, 3, padding=1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        seen = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return self.head(x * torch.sigmoid(self.weigh(seen)))


class PixelShuffled(nn.Module):
    """Upsampling by PixelShuffle: a unit of the layer before is four channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.middle = nn.Conv2d(4, 5, 3, padding=1)
        self.leave = nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.middle(self.shuffle(self.stem(x))))
        return self.leave(functional.interpolate(x, scale_factor=2, mode="nearest"))


class ConvNextBlock(nn.Module):
    """Depthwise convolution before a LayerNorm over the channels, and a layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 2, stride=2)
        self.spatial = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm = nn.LayerNorm(6)
        self.up = nn.Linear(6, 10)
        self.down = nn.Linear(10, 6)
        self.scale = nn.Parameter(0.1 * torch.ones(6))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(functional.gelu(self.up(y)))
        x = x + y.permute(0, 3, 1, 2)
        return self.head(x.mean([-2, -1]))


CASES = (
    Case(
        "your_cnn", lambda: YourCNNModel(4, 6), floats(3, 6, 6), laws=True, outputs=("classifier",)
    ),
    Case("your_cnn_as_written", YourCNNModel, floats(3, 32, 32), outputs=("classifier",)),
    Case("conv_batchnorm", conv_batchnorm, floats(3, 6, 6), laws=True, outputs=("10",)),
    Case("conv_residual", ConvResidual, floats(3, 6, 6), laws=True, outputs=("head",)),
    Case("dense_concat", DenseConcat, floats(3, 5, 5), laws=True, outputs=("head",)),
    Case("depthwise", depthwise, floats(3, 5, 5), laws=True, outputs=("9",)),
    Case("grouped", grouped, floats(3, 5, 5), laws=True, outputs=("9",)),
    Case("squeeze_excite", SqueezeExcite, floats(3, 5, 5), laws=True, outputs=("head",)),
    Case("encoder_decoder", EncoderDecoder, floats(3, 6, 6), laws=True, outputs=("leave",)),
    Case("group_norm", GroupNormed, floats(3, 5, 5), laws=True, outputs=("head",)),
    Case("one_group", OneGroup, floats(3, 5, 5), laws=True, outputs=("head",)),
    Case("channel_norm", ChannelNormed, floats(3, 5, 5), laws=True, outputs=("head",)),
    Case("shuffled", Shuffled, floats(3, 5, 5), laws=True, outputs=("head",)),
    Case("spatial_attention", SpatialAttention, floats(3, 5, 5), outputs=("head",)),
    Case("signal", signal, floats(2, 8), laws=True, outputs=("10",)),
    Case("volume", volume, floats(1, 4, 4, 4), laws=True, outputs=("7",)),
    Case("pixel_shuffle", PixelShuffled, floats(3, 4, 4), outputs=("leave",)),
    Case("convnext_block", ConvNextBlock, floats(3, 6, 6), outputs=("head",)),
)
