"""AlexNet: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks"."""

from __future__ import annotations

from typing import Any

from minigrad import nn
from minigrad.nn import functional as F  # noqa: N812


class AlexNet(nn.Module):
    """Images of 227x227 to 1000 scores; 60,965,224 parameters.

    ===============  =======================================  =========  ============================
    layer            what (all convolutions end in a ReLU)    output     parameters (groups=1)
    ===============  =======================================  =========  ============================
    features.0       C1: 96 filters 11x11, stride 4           55x55x96   34,944
    features.2, 3    normalisation, maxima of 3x3, stride 2   27x27x96   -
    features.4       C2: 256 filters 5x5, padding 2           27x27x256  307,456 (614,656)
    features.6, 7    normalisation, maxima of 3x3, stride 2   13x13x256  -
    features.8       C3: 384 filters 3x3, padding 1           13x13x384  885,120
    features.10      C4: 384 filters 3x3, padding 1           13x13x384  663,936 (1,327,488)
    features.12      C5: 256 filters 3x3, padding 1           13x13x256  442,624 (884,992)
    features.14      maxima of 3x3, stride 2                  6x6x256    -
    classifier.0     FC6                                      4096       37,752,832
    classifier.3     FC7                                      4096       16,781,312
    classifier.6     FC8                                      1000       4,097,000
    ===============  =======================================  =========  ============================

    The paper trained on two GPUs that see each other's maps only in C3: ``groups=2`` in C2, C4 and C5. Torchvision's
    ``alexnet`` is another network, that of :func:`alexnet_one_weird_trick`.

    Args:
        num_classes: how many scores.
        groups: 2 as in the paper, or 1 for every filter to see all maps (62,378,344 parameters).
        dropout: the probability to drop a unit of FC6 and FC7.
        hidden: the size of FC6 and FC7.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import AlexNet
        >>> AlexNet(num_classes=5, hidden=8)(mg.zeros((1, 3, 67, 67))).shape
        (1, 5)
    """

    def __init__(self, num_classes: int = 1000, groups: int = 2, dropout: float = 0.5, hidden: int = 4096) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), _norm(), nn.MaxPool2d(3, 2),
            nn.Conv2d(96, 256, 5, padding=2, groups=groups), nn.ReLU(), _norm(), nn.MaxPool2d(3, 2),
            nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 384, 3, padding=1, groups=groups), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1, groups=groups), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(6)  # changes nothing at 227x227; other sizes fit too
        self.classifier = nn.Sequential(
            nn.Linear(256 * 6 * 6, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip
        ones = [self.features[4], self.features[10], self.features[12], self.classifier[0], self.classifier[3]]
        for module in (*self.features, *self.classifier):  # section 5 of the paper: ones give the ReLUs something to pass on
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(module.weight, 0.0, 0.01)
                if module.bias is not None:
                    nn.init.constant_(module.bias, float(any(module is other for other in ones)))

    def forward(self, x: Any) -> Any:
        return self.classifier(F.flatten(self.avgpool(self.features(x)), 1))


def _norm() -> nn.Module:
    """k=2, n=5, alpha=1e-4, beta=0.75; the paper does not divide alpha by n, the layer does."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


class AlexNetOneWeirdTrick(nn.Module):
    """Torchvision's ``alexnet``: the version for one GPU of Krizhevsky 2014, "One weird trick", 61,100,840 parameters.

    Beside the paper of 2012: images of 224x224, C1 with 64 filters and padding 2, C2 with 192, C3 384, C4 256, C5 256, no
    normalisation, no groups, and dropout before FC6 and FC7 instead of after them. Names are torchvision's, so its weights load.

    Args:
        num_classes: how many scores.
        dropout: the probability to drop an input of FC6 and FC7.
        hidden: the size of FC6 and FC7.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import AlexNetOneWeirdTrick
        >>> AlexNetOneWeirdTrick(num_classes=5, hidden=8)(mg.zeros((1, 3, 64, 64))).shape
        (1, 5)
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5, hidden: int = 4096) -> None:
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(256 * 6 * 6, hidden), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.classifier(F.flatten(self.avgpool(self.features(x)), 1))


def alexnet(num_classes: int = 1000, **options: Any) -> AlexNet:
    """The paper's :class:`AlexNet`, with its normalisation and groups; for torchvision's see :func:`alexnet_one_weird_trick`."""
    return AlexNet(num_classes, **options)


def alexnet_one_weird_trick(num_classes: int = 1000, **options: Any) -> AlexNetOneWeirdTrick:
    """What torchvision calls ``alexnet``: :class:`AlexNetOneWeirdTrick`, which takes its weights."""
    return AlexNetOneWeirdTrick(num_classes, **options)
