"""SENet: Hu, Shen & Sun 2018, "Squeeze-and-excitation networks": residual networks whose blocks weigh their maps."""

from __future__ import annotations

from typing import Any

from minigrad import nn, ops
from minigrad.nn.models.resnet import BasicBlock, Bottleneck, Gate, ResNet


class SqueezeExcitation(nn.Module):
    """x sigmoid(W2 relu(W1 mean(x))): each map scaled by what the means of all maps say about it.

    Names are those of torchvision's ``ops.SqueezeExcitation``; its two affine maps are convolutions of 1x1.

    Args:
        input_channels: how many maps.
        squeeze_channels: how many numbers between the two affine maps.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import SqueezeExcitation
        >>> SqueezeExcitation(8, 2)(mg.ones((1, 8, 3, 3))).shape
        (1, 8, 3, 3)
    """

    def __init__(self, input_channels: int, squeeze_channels: int) -> None:
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)

    def forward(self, x: Any) -> Any:
        return x * ops.sigmoid(self.fc2(ops.relu(self.fc1(self.avgpool(x)))))


def _gate(reduction: int) -> Gate:
    return lambda channels: SqueezeExcitation(channels, channels // reduction)


def se_resnet18(num_classes: int = 1000, reduction: int = 16, **options: Any) -> ResNet:
    """ResNet-18 with squeeze and excitation, 11,778,592 parameters (ResNet-18 has 11,689,512)."""
    return ResNet(BasicBlock, [2, 2, 2, 2], num_classes, gate=_gate(reduction), **options)


def se_resnet50(num_classes: int = 1000, reduction: int = 16, **options: Any) -> ResNet:
    """ResNet-50 with squeeze and excitation, 28,088,024 parameters (ResNet-50 has 25,557,032)."""
    return ResNet(Bottleneck, [3, 4, 6, 3], num_classes, gate=_gate(reduction), **options)


def se_resnet101(num_classes: int = 1000, reduction: int = 16, **options: Any) -> ResNet:
    """ResNet-101 with squeeze and excitation, 49,326,872 parameters (ResNet-101 has 44,549,160)."""
    return ResNet(Bottleneck, [3, 4, 23, 3], num_classes, gate=_gate(reduction), **options)


def se_resnext50_32x4d(num_classes: int = 1000, reduction: int = 16, **options: Any) -> ResNet:
    """ResNeXt-50 with squeeze and excitation, 27,559,896 parameters (ResNeXt-50 has 25,028,904)."""
    return se_resnet50(num_classes, reduction, groups=32, width_per_group=4, **options)
