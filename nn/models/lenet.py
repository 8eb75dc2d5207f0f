"""LeNet-5: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition", figure 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad import nn, ops


class LeNet5(nn.Module):
    """Digits of 32x32 pixels to 10 scores; 61,706 parameters.

    ======  ==================  ========  ==========
    layer   what                output    parameters
    ======  ==================  ========  ==========
    c1      6 filters 5x5       28x28x6   156
    s2      means of 2x2        14x14x6   -
    c3      16 filters 5x5      10x10x16  2,416
    s4      means of 2x2        5x5x16    -
    c5      120 filters 5x5     120       48,120
    f6      affine              84        10,164
    output  affine              10        850
    ======  ==================  ========  ==========

    As it is built today. In the paper, s2 and s4 have a learned gain and bias per map, c3 leaves out connections (1,516
    parameters), the activation is 1.7159 tanh(2/3 x), and the output layer measures distances to drawn digits.

    Args:
        num_classes: how many scores.
        in_channels: 1 for grey images, 3 for colours.
        activation: makes the module that follows c1, c3, c5 and f6.
        pool: makes s2 and s4 from the size of their windows.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import LeNet5
        >>> LeNet5()(mg.zeros((2, 1, 32, 32))).shape
        (2, 10)
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, activation: Callable[[], nn.Module] = nn.Tanh,
        pool: Callable[[int], nn.Module] = nn.AvgPool2d,
    ) -> None:  # fmt: skip
        self.c1 = nn.Conv2d(in_channels, 6, 5)
        self.s2 = pool(2)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.s4 = pool(2)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, num_classes)
        self.activation = activation()

    def forward(self, x: Any) -> Any:
        f = self.activation
        x = self.s2(f(self.c1(x)))
        x = self.s4(f(self.c3(x)))
        x = ops.reshape(f(self.c5(x)), (x.shape[0], -1))
        return self.output(f(self.f6(x)))


def lenet5(num_classes: int = 10, **options: Any) -> LeNet5:
    """:class:`LeNet5`."""
    return LeNet5(num_classes, **options)
