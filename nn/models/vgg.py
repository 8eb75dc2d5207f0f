"""VGG: Simonyan & Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", table 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad import nn
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.models._he import he_normal

A = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
B = (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
D = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
E = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M")


class VGG(nn.Module):
    """Images of 224x224 to 1000 scores, by filters of 3x3 and maxima of 2x2 only; two filters of 3x3 see 5x5, three 7x7.

    ======  =======================================================  ===========
    layers  filters, M for the maximum that halves the sides         parameters
    ======  =======================================================  ===========
    11 (A)  64 M 128 M 256x2 M 512x2 M 512x2 M, 4096, 4096, 1000     132,863,336
    13 (B)  64x2 M 128x2 M 256x2 M 512x2 M 512x2 M, 4096, 4096, 1000 133,047,848
    16 (D)  64x2 M 128x2 M 256x3 M 512x3 M 512x3 M, 4096, 4096, 1000 138,357,544
    19 (E)  64x2 M 128x2 M 256x4 M 512x4 M 512x4 M, 4096, 4096, 1000 143,667,240
    ======  =======================================================  ===========

    Args:
        config: a row of the table.
        num_classes: how many scores.
        batch_norm: normalise after each convolution.
        dropout: the probability to drop a unit of the two hidden affine layers.
        hidden: their size.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import VGG
        >>> VGG((4, "M", 8, "M"), num_classes=5, hidden=16)(mg.zeros((1, 3, 8, 8))).shape
        (1, 5)
    """

    def __init__(
        self,
        config: Sequence[int | str],
        num_classes: int = 1000,
        batch_norm: bool = False,
        dropout: float = 0.5,
        hidden: int = 4096,
    ) -> None:
        self.features = nn.Sequential()
        channels = 3
        for item in config:
            if isinstance(item, str):
                if item != "M":
                    raise ValueError(f"VGG: unknown entry {item!r} in the configuration: expected a number of filters, or 'M'")
                self.features.append(nn.MaxPool2d(2))
                continue
            self.features.append(nn.Conv2d(channels, item, 3, padding=1))
            if batch_norm:
                self.features.append(nn.BatchNorm2d(item))
            self.features.append(nn.ReLU())
            channels = item
        self.avgpool = nn.AdaptiveAvgPool2d(7)  # changes nothing at 224x224; other sizes fit too
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip
        he_normal(self)
        for layer in (self.classifier[0], self.classifier[3], self.classifier[6]):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Any) -> Any:
        return self.classifier(F.flatten(self.avgpool(self.features(x)), 1))


def vgg11(num_classes: int = 1000, **options: Any) -> VGG:
    """Configuration A."""
    return VGG(A, num_classes, **options)


def vgg11_bn(num_classes: int = 1000, **options: Any) -> VGG:
    """Configuration A with batch normalisation."""
    return VGG(A, num_classes, batch_norm=True, **options)


def vgg13(num_classes: int = 1000, **options: Any) -> VGG:
    """Configuration B."""
    return VGG(B, num_classes, **options)


def vgg13_bn(num_classes: int = 1000, **options: Any) -> VGG:
    """Configuration B with batch normalisation."""
    return VGG(B, num_classes, batch_norm=True, **options)


def vgg16(num_classes: int = 1000, **options: Any) -> VGG:
    """Configuration D."""
    return VGG(D, num_classes, **options)


def vgg16_bn(num_classes: int = 1000, **options: Any) -> VGG:
    """Configuration D with batch normalisation."""
    return VGG(D, num_classes, batch_norm=True, **options)


def vgg19(num_classes: int = 1000, **options: Any) -> VGG:
    """Configuration E."""
    return VGG(E, num_classes, **options)


def vgg19_bn(num_classes: int = 1000, **options: Any) -> VGG:
    """Configuration E with batch normalisation."""
    return VGG(E, num_classes, batch_norm=True, **options)
