"""ZFNet: Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", figure 3."""

from __future__ import annotations

from typing import Any

from minigrad import nn
from minigrad.nn import functional as F  # noqa: N812


class ZFNet(nn.Module):
    """AlexNet after a look at its filters: C1 smaller and denser, C2 with a stride; 62,357,608 parameters.

    ===============  =======================================  ==========
    layer            what (all convolutions end in a ReLU)    output
    ===============  =======================================  ==========
    features.0       96 filters 7x7, stride 2, padding 1      110x110x96
    features.2, 3    maxima of 3x3, stride 2, normalisation   55x55x96
    features.4       256 filters 5x5, stride 2                26x26x256
    features.6, 7    maxima of 3x3, stride 2, normalisation   13x13x256
    features.8       384 filters 3x3, padding 1               13x13x384
    features.10      384 filters 3x3, padding 1               13x13x384
    features.12      256 filters 3x3, padding 1               13x13x256
    features.14      maxima of 3x3, stride 2                  6x6x256
    classifier       4096, 4096, 1000, as in AlexNet          1000
    ===============  =======================================  ==========

    The paper normalises local contrast; here that is AlexNet's normalisation. Images are of 224x224.

    Args:
        num_classes: how many scores.
        dropout: the probability to drop a unit of the two hidden affine layers.
        hidden: their size.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import ZFNet
        >>> ZFNet(num_classes=5, hidden=8)(mg.zeros((1, 3, 64, 64))).shape
        (1, 5)
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, hidden: int = 4096) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, 2, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), nn.LocalResponseNorm(5),
            nn.Conv2d(96, 256, 5, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), nn.LocalResponseNorm(5),
            nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(6)  # changes nothing at 224x224; other sizes fit too
        self.classifier = nn.Sequential(
            nn.Linear(256 * 6 * 6, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.classifier(F.flatten(self.avgpool(self.features(x)), 1))


def zfnet(num_classes: int = 1000, **options: Any) -> ZFNet:
    """:class:`ZFNet`."""
    return ZFNet(num_classes, **options)
