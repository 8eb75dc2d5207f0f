"""DenseNet: Huang, Liu, van der Maaten & Weinberger 2017, "Densely connected convolutional networks", table 1."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from minigrad import nn, ops
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.models._he import he_normal


class DenseLayer(nn.Module):
    """``growth`` new maps from all maps so far: norm, relu, 1x1 to 4 growth maps, norm, relu, 3x3."""

    def __init__(self, in_channels: int, growth: int, bn_size: int, dropout: float) -> None:
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, bn_size * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(bn_size * growth, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        x = self.conv1(self.relu1(self.norm1(x)))
        return self.dropout(self.conv2(self.relu2(self.norm2(x))))


class DenseBlock(nn.Module):
    """Each layer sees the block's input and what all layers before it made.

    Args:
        layers: how many.
        in_channels: of the block's input.
        growth: how many maps each layer adds.
        bn_size: the 1x1 makes so many times growth.
        dropout: the probability to drop a number that a layer made.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models.densenet import DenseBlock
        >>> DenseBlock(3, 8, growth=4)(mg.ones((1, 8, 5, 5))).shape
        (1, 20, 5, 5)
    """

    def __init__(self, layers: int, in_channels: int, growth: int = 32, bn_size: int = 4, dropout: float = 0.0) -> None:
        for i in range(layers):
            self.add_module(f"denselayer{i + 1}", DenseLayer(in_channels + i * growth, growth, bn_size, dropout))

    def forward(self, x: Any) -> Any:
        for layer in self.children():
            x = ops.concat([x, layer(x)], 1)
        return x


def _transition(in_channels: int) -> nn.Sequential:
    """Half as many maps of half the sides."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(in_channels),
            relu=nn.ReLU(),
            conv=nn.Conv2d(in_channels, in_channels // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


class DenseNet(nn.Module):
    """Images of 224x224 to 1000 scores: 7x7 filters and a maximum, four dense blocks with transitions between, a mean, an affine map.

    ===========  ======  ===============  ==================  ==========
    network      growth  layers in block  maps at the start   parameters
    ===========  ======  ===============  ==================  ==========
    densenet121  32      6 12 24 16       64                  7,978,856
    densenet161  48      6 12 36 24       96                  28,681,000
    densenet169  32      6 12 32 32       64                  14,149,480
    densenet201  32      6 12 48 32       64                  20,013,928
    ===========  ======  ===============  ==================  ==========

    Args:
        growth_rate: how many maps a layer adds.
        block_config: how many layers in each block.
        num_init_features: how many maps at the start.
        bn_size: the 1x1 of a layer makes so many times growth_rate.
        drop_rate: the probability to drop a number that a layer made.
        num_classes: how many scores.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import DenseNet
        >>> DenseNet(4, (2, 2), 8, num_classes=5)(mg.zeros((1, 3, 32, 32))).shape
        (1, 5)
    """

    def __init__(
        self, growth_rate: int = 32, block_config: Sequence[int] = (6, 12, 24, 16), num_init_features: int = 64, bn_size: int = 4,
        drop_rate: float = 0.0, num_classes: int = 1000,
    ) -> None:  # fmt: skip
        channels = num_init_features
        self.features = nn.Sequential(
            OrderedDict(
                conv0=nn.Conv2d(3, channels, 7, 2, padding=3, bias=False),
                norm0=nn.BatchNorm2d(channels),
                relu0=nn.ReLU(),
                pool0=nn.MaxPool2d(3, 2, padding=1),
            )
        )
        for i, layers in enumerate(block_config):
            if i:
                self.features.add_module(f"transition{i}", _transition(channels))
                channels //= 2
            self.features.add_module(f"denseblock{i + 1}", DenseBlock(layers, channels, growth_rate, bn_size, drop_rate))
            channels += layers * growth_rate
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        he_normal(self, "fan_in")
        nn.init.zeros_(self.classifier.bias)  # type: ignore[type-var]

    def forward(self, x: Any) -> Any:
        x = F.adaptive_avg_pool2d(ops.relu(self.features(x)), 1)
        return self.classifier(F.flatten(x, 1))


def densenet121(num_classes: int = 1000, **options: Any) -> DenseNet:
    """121 layers with weights."""
    return DenseNet(32, (6, 12, 24, 16), 64, num_classes=num_classes, **options)


def densenet161(num_classes: int = 1000, **options: Any) -> DenseNet:
    """161 layers with weights."""
    return DenseNet(48, (6, 12, 36, 24), 96, num_classes=num_classes, **options)


def densenet169(num_classes: int = 1000, **options: Any) -> DenseNet:
    """169 layers with weights."""
    return DenseNet(32, (6, 12, 32, 32), 64, num_classes=num_classes, **options)


def densenet201(num_classes: int = 1000, **options: Any) -> DenseNet:
    """201 layers with weights."""
    return DenseNet(32, (6, 12, 48, 32), 64, num_classes=num_classes, **options)
