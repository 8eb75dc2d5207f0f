"""GoogLeNet: Szegedy et al. 2015, "Going deeper with convolutions", table 1."""

from __future__ import annotations

from typing import Any, NamedTuple

from minigrad import nn, ops
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.models._he import he_normal

TABLE = {
    #     in   1x1  3x3 reduce, 3x3  5x5 reduce, 5x5  pool
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


class BasicConv2d(nn.Module):
    """relu(norm(conv(x))); without ``batch_norm`` relu(conv(x) + b), as in the paper."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, batch_norm: bool = True, **options: Any) -> None:
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, bias=not batch_norm, **options)
        if batch_norm:
            nn.init.trunc_normal_(self.conv.weight, 0.0, 0.01, -2, 2)
        else:  # nothing makes up for weights of 0.01: by inception5b the values had shrunk to 5e-12
            he_normal(self, "fan_in")
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001) if batch_norm else nn.Identity()

    def forward(self, x: Any) -> Any:
        return ops.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Filters of 1x1, 3x3, 5x5 and a maximum side by side, their maps put together; 1x1 before them keep it cheap.

    Args:
        sizes: a row of ``TABLE``.
        five: the size of the largest filters: 5 in the paper, 3 in torchvision.
        batch_norm: normalise after each convolution.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models.googlenet import TABLE, Inception
        >>> Inception(TABLE["3a"])(mg.zeros((1, 192, 4, 4))).shape
        (1, 256, 4, 4)
    """

    def __init__(self, sizes: tuple[int, int, int, int, int, int, int], five: int = 5, batch_norm: bool = True) -> None:
        n, one, reduce3, three, reduce5, large, pool = sizes
        self.branch1 = BasicConv2d(n, one, 1, batch_norm)
        self.branch2 = nn.Sequential(
            BasicConv2d(n, reduce3, 1, batch_norm), BasicConv2d(reduce3, three, 3, batch_norm, padding=1)
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(n, reduce5, 1, batch_norm), BasicConv2d(reduce5, large, five, batch_norm, padding=five // 2)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1, ceil_mode=True), BasicConv2d(n, pool, 1, batch_norm))

    def forward(self, x: Any) -> Any:
        return ops.concat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """Scores from the middle of the network, so that its first layers get a gradient that has not come all the way."""

    def __init__(self, in_channels: int, num_classes: int, batch_norm: bool = True, dropout: float = 0.7) -> None:
        self.conv = BasicConv2d(in_channels, 128, 1, batch_norm)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        x = self.conv(F.adaptive_avg_pool2d(x, 4))
        return self.fc2(self.dropout(ops.relu(self.fc1(F.flatten(x, 1)))))


class GoogLeNetOutputs(NamedTuple):
    """What :class:`GoogLeNet` returns in training with auxiliary heads: the loss is logits' + 0.3 (aux2's + aux1's)."""

    logits: Any
    aux_logits2: Any
    aux_logits1: Any


class GoogLeNet(nn.Module):
    """Images of 224x224 to 1000 scores.

    ===================  =============================  ===========
    layer                what                           output
    ===================  =============================  ===========
    conv1, maxpool1      7x7, stride 2; 3x3, stride 2   56x56x64
    conv2, 3, maxpool2   1x1; 3x3; 3x3, stride 2        28x28x192
    inception3a, 3b      and maxima of 3x3, stride 2    14x14x480
    inception4a to 4e    and maxima, stride 2           7x7x832
    inception5a, 5b                                     7x7x1024
    avgpool, fc          means, dropout 0.4, affine     1000
    ===================  =============================  ===========

    Torchvision's differs from the paper: batch normalisation instead of biases and local response normalisation, 3x3 in place
    of the 5x5 filters, dropout 0.2. Its names and its network are the default here, so its weights load (those for ImageNet
    expect inputs scaled as its ``transform_input=True`` does). Parameters without and with the auxiliary heads, which only
    training uses: 6,624,904 and 13,004,888; of the paper's 6,998,552 and 13,378,280.

    Args:
        num_classes: how many scores.
        aux_logits: whether there are auxiliary heads after 4a and 4d; then training returns :class:`GoogLeNetOutputs`.
        paper: the paper's network instead of torchvision's.
        dropout: before the last layer; None for the paper's 0.4 or torchvision's 0.2.
        dropout_aux: in the auxiliary heads.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import GoogLeNet
        >>> GoogLeNet(num_classes=5, aux_logits=False)(mg.zeros((2, 3, 32, 32))).shape
        (2, 5)
    """

    def __init__(
        self, num_classes: int = 1000, aux_logits: bool = True, paper: bool = False, dropout: float | None = None,
        dropout_aux: float = 0.7,
    ) -> None:  # fmt: skip
        norm, five = not paper, 5 if paper else 3

        def lrn() -> nn.Module:
            return nn.LocalResponseNorm(5) if paper else nn.Identity()

        def inception(row: str) -> Inception:
            return Inception(TABLE[row], five, norm)

        self.aux_logits = aux_logits
        self.conv1 = BasicConv2d(3, 64, 7, norm, stride=2, padding=3)
        self.maxpool1, self.norm1 = nn.MaxPool2d(3, 2, ceil_mode=True), lrn()
        self.conv2 = BasicConv2d(64, 64, 1, norm)
        self.conv3 = BasicConv2d(64, 192, 3, norm, padding=1)
        self.norm2, self.maxpool2 = lrn(), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a, self.inception3b = inception("3a"), inception("3b")
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a, self.inception4b, self.inception4c = inception("4a"), inception("4b"), inception("4c")
        self.inception4d, self.inception4e = inception("4d"), inception("4e")
        self.maxpool4 = nn.MaxPool2d(3 if paper else 2, 2, ceil_mode=True)
        self.inception5a, self.inception5b = inception("5a"), inception("5b")
        if aux_logits:
            self.aux1 = InceptionAux(512, num_classes, norm, dropout_aux)
            self.aux2 = InceptionAux(528, num_classes, norm, dropout_aux)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout((0.4 if paper else 0.2) if dropout is None else dropout)
        self.fc = nn.Linear(1024, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, 0.0, 0.01, -2, 2)

    def forward(self, x: Any) -> Any:
        heads = self.aux_logits and self.training
        x = self.norm1(self.maxpool1(self.conv1(x)))
        x = self.maxpool2(self.norm2(self.conv3(self.conv2(x))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        aux1 = self.aux1(x) if heads else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        aux2 = self.aux2(x) if heads else None
        x = self.maxpool4(self.inception4e(x))
        x = self.inception5b(self.inception5a(x))
        logits = self.fc(self.dropout(F.flatten(self.avgpool(x), 1)))
        return GoogLeNetOutputs(logits, aux2, aux1) if heads else logits


def googlenet(num_classes: int = 1000, **options: Any) -> GoogLeNet:
    """:class:`GoogLeNet`."""
    return GoogLeNet(num_classes, **options)
