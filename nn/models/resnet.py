"""Residual networks: He et al. 2016 (ResNet), Xie et al. 2017 (ResNeXt), Zagoruyko & Komodakis 2016 (Wide ResNet)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigrad import nn, ops
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.models._he import he_normal

Gate = Callable[[int], nn.Module] | None
"""Makes, for a number of maps, a module that a block applies before it adds its input: SENet's."""


class BasicBlock(nn.Module):
    """relu(x + norm(W2 * relu(norm(W1 * x)))): two filters of 3x3, and the input added to what they make.

    Args:
        in_channels: of x.
        planes: how many filters.
        stride: by how much the sides shrink; x is then made to fit by ``downsample``, a filter of 1x1.
        groups: must be 1, as in the paper.
        base_width: must be 64.
        gate: see ``Gate``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models.resnet import BasicBlock
        >>> BasicBlock(4, 8, stride=2)(mg.ones((1, 4, 6, 6))).shape
        (1, 8, 3, 3)
    """

    expansion = 1

    def __init__(
        self, in_channels: int, planes: int, stride: int = 1, groups: int = 1, base_width: int = 64, gate: Gate = None
    ) -> None:
        if groups != 1 or base_width != 64:
            raise ValueError(
                f"BasicBlock: groups={groups}, width_per_group={base_width}: only Bottleneck has other than 1 and 64"
            )
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.se = gate(planes) if gate else None
        self.downsample = _downsample(in_channels, planes, stride)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.se is not None:
            y = self.se(y)
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """relu(x + norm(W3 * relu(norm(W2 * relu(norm(W1 * x)))))): 1x1 to fewer maps, 3x3 among them, 1x1 to four times as many.

    The stride is that of the 3x3, as in torchvision; in the paper it is that of the first 1x1, which skips 3/4 of its input.

    Args:
        in_channels: of x.
        planes: a quarter of the maps of the result.
        stride: by how much the sides shrink; x is then made to fit by ``downsample``, a filter of 1x1.
        groups: how many paths the 3x3 is split into (ResNeXt's cardinality).
        base_width: the 3x3 has planes * base_width / 64 filters in each of them.
        gate: see ``Gate``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models.resnet import Bottleneck
        >>> Bottleneck(8, 4, stride=2)(mg.ones((1, 8, 6, 6))).shape
        (1, 16, 3, 3)
    """

    expansion = 4

    def __init__(
        self, in_channels: int, planes: int, stride: int = 1, groups: int = 1, base_width: int = 64, gate: Gate = None
    ) -> None:
        width, out = planes * base_width // 64 * groups, planes * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU()
        self.se = gate(out) if gate else None
        self.downsample = _downsample(in_channels, out, stride)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        if self.se is not None:
            y = self.se(y)
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def _downsample(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """What makes x fit what is added to it; nothing where it fits."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class ResNet(nn.Module):
    """Images of 224x224 to 1000 scores: 7x7 filters and a maximum, four stages of blocks, a mean, an affine map.

    =====================  =============  ========================  ===========
    network                block          blocks of 64 128 256 512  parameters
    =====================  =============  ========================  ===========
    resnet18               BasicBlock     2 2 2 2                   11,689,512
    resnet34               BasicBlock     3 4 6 3                   21,797,672
    resnet50               Bottleneck     3 4 6 3                   25,557,032
    resnet101              Bottleneck     3 4 23 3                  44,549,160
    resnet152              Bottleneck     3 8 36 3                  60,192,808
    resnext50_32x4d        32 paths of 4  3 4 6 3                   25,028,904
    resnext101_32x8d       32 paths of 8  3 4 23 3                  88,791,336
    resnext101_64x4d       64 paths of 4  3 4 23 3                  83,455,272
    wide_resnet50_2        twice as wide  3 4 6 3                   68,883,240
    wide_resnet101_2       twice as wide  3 4 23 3                  126,886,696
    =====================  =============  ========================  ===========

    Sides: 224, 112 after conv1, 56 after maxpool and layer1, 28, 14, 7 after layer2 to layer4.

    Args:
        block: BasicBlock or Bottleneck.
        layers: how many in each stage.
        num_classes: how many scores.
        zero_init_residual: begin with blocks that pass their input on: their last normalisation scales by 0 (Goyal et al. 2017).
        groups: of Bottleneck.
        width_per_group: of Bottleneck.
        gate: see ``Gate``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import BasicBlock, ResNet
        >>> ResNet(BasicBlock, [1, 1], num_classes=5)(mg.zeros((1, 3, 32, 32))).shape
        (1, 5)
    """

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], layers: Sequence[int], num_classes: int = 1000,
        zero_init_residual: bool = False, groups: int = 1, width_per_group: int = 64, gate: Gate = None,
    ) -> None:  # fmt: skip
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels, self._stages = 64, len(layers)
        for i, count in enumerate(layers):
            planes, stage = 64 * 2**i, nn.Sequential()
            for j in range(count):
                stage.append(block(channels, planes, 2 if i and not j else 1, groups, width_per_group, gate))
                channels = planes * block.expansion
            self.add_module(f"layer{i + 1}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        he_normal(self)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, (BasicBlock, Bottleneck)):
                    last: Any = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                    nn.init.zeros_(last.weight)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(self._stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(F.flatten(self.avgpool(x), 1))


def resnet18(num_classes: int = 1000, **options: Any) -> ResNet:
    """18 layers with weights."""
    return ResNet(BasicBlock, [2, 2, 2, 2], num_classes, **options)


def resnet34(num_classes: int = 1000, **options: Any) -> ResNet:
    """34 layers with weights."""
    return ResNet(BasicBlock, [3, 4, 6, 3], num_classes, **options)


def resnet50(num_classes: int = 1000, **options: Any) -> ResNet:
    """50 layers with weights."""
    return ResNet(Bottleneck, [3, 4, 6, 3], num_classes, **options)


def resnet101(num_classes: int = 1000, **options: Any) -> ResNet:
    """101 layers with weights."""
    return ResNet(Bottleneck, [3, 4, 23, 3], num_classes, **options)


def resnet152(num_classes: int = 1000, **options: Any) -> ResNet:
    """152 layers with weights."""
    return ResNet(Bottleneck, [3, 8, 36, 3], num_classes, **options)


def resnext50_32x4d(num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet-50 with 32 paths of 4 filters in each block."""
    return resnet50(num_classes, groups=32, width_per_group=4, **options)


def resnext101_32x8d(num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet-101 with 32 paths of 8 filters in each block."""
    return resnet101(num_classes, groups=32, width_per_group=8, **options)


def resnext101_64x4d(num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet-101 with 64 paths of 4 filters in each block."""
    return resnet101(num_classes, groups=64, width_per_group=4, **options)


def wide_resnet50_2(num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet-50 with twice as many 3x3 filters in each block."""
    return resnet50(num_classes, width_per_group=128, **options)


def wide_resnet101_2(num_classes: int = 1000, **options: Any) -> ResNet:
    """ResNet-101 with twice as many 3x3 filters in each block."""
    return resnet101(num_classes, width_per_group=128, **options)


class WideBlock(nn.Module):
    """x + W2 * drop(relu(norm(W1 * relu(norm(x))))): the residual block with its activations first."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, dropout: float = 0.0) -> None:
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        fits = in_channels == out_channels
        self.shortcut = None if fits else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(y)
        return skip + self.conv2(self.dropout(ops.relu(self.bn2(self.conv1(y)))))


class WideResNet(nn.Module):
    """WRN-depth-width for images of 32x32: few layers of many filters instead of many of few.

    ========  =====================================================  =============
    layer     what                                                   output
    ========  =====================================================  =============
    conv1     16 filters 3x3                                         32x32x16
    layer1    (depth - 4) / 6 blocks of 16 width filters             32x32, 16 width
    layer2    as many, of 32 width filters, the first of stride 2    16x16, 32 width
    layer3    as many, of 64 width filters, the first of stride 2    8x8, 64 width
    bn, fc    relu, means, affine                                    10
    ========  =====================================================  =============

    WRN-28-10 has 36,479,194 parameters, WRN-16-8 10,961,370.

    Args:
        depth: of layers with weights, 6 n + 4.
        width: by how much wider than a residual network of 16, 32, 64 filters.
        num_classes: how many scores.
        dropout: the probability to drop a number between the two convolutions of a block.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import WideResNet
        >>> WideResNet(depth=10, width=1)(mg.zeros((1, 3, 8, 8))).shape
        (1, 10)
    """

    def __init__(self, depth: int = 28, width: int = 10, num_classes: int = 10, dropout: float = 0.0) -> None:
        if depth < 10 or depth % 6 != 4:
            raise ValueError(
                f"WideResNet: depth={depth}: expected 6 n + 4 as in 10, 16, 22, 28, 40: three stages of n blocks of 2"
            )
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        sizes = (16, 16 * width, 32 * width, 64 * width)

        def stage(i: int) -> nn.Sequential:
            first = WideBlock(sizes[i - 1], sizes[i], 1 if i == 1 else 2, dropout)
            return nn.Sequential(first, *(WideBlock(sizes[i], sizes[i], 1, dropout) for _ in range((depth - 4) // 6 - 1)))

        self.layer1, self.layer2, self.layer3 = stage(1), stage(2), stage(3)
        self.bn = nn.BatchNorm2d(sizes[3])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(sizes[3], num_classes)
        he_normal(self)

    def forward(self, x: Any) -> Any:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(F.flatten(self.avgpool(ops.relu(self.bn(x))), 1))
