"""FractalNet: Larsson, Maire & Shakhnarovich 2017, "FractalNet: ultra-deep neural networks without residuals"."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from minigrad import nn, ops
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.models._he import he_normal
from minigrad.random import default_generator


class ConvBlock(nn.Module):
    """relu(norm(conv(x))), 3x3."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Any) -> Any:
        return ops.relu(self.bn(self.conv(x)))


class Fractal(nn.Module):
    """f_1(x) = conv(x), f_C(x) = join(conv(x), f_{C-1}(f_{C-1}(x))): C columns, the longest of 2**(C-1) convolutions.

    A join is the mean of all columns that end there. While training, drop-path leaves out: *locally*, each input of each join
    with probability ``drop_path``, though never all of them; *globally*, all columns but one, which the network chooses.

    Args:
        columns: C.
        in_channels: of x.
        out_channels: of all else.
        drop_path: the probability to drop an input of a join.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models.fractalnet import Fractal
        >>> Fractal(3, 4, 8)(mg.ones((1, 4, 6, 6))).shape
        (1, 8, 6, 6)
    """

    def __init__(
        self, columns: int, in_channels: int, out_channels: int, drop_path: float = 0.15,
        generator: np.random.Generator | None = None,
    ) -> None:  # fmt: skip
        self.columns, self.drop_path, self._generator = columns, drop_path, generator
        self.short = ConvBlock(in_channels, out_channels)
        if columns > 1:
            self.first = Fractal(columns - 1, in_channels, out_channels, drop_path, generator)
            self.second = Fractal(columns - 1, out_channels, out_channels, drop_path, generator)

    def forward(self, x: Any, column: int | None = None, join: bool = True) -> Any:
        """The joined columns, or without ``join`` a list of them; or one column alone, numbered from the shortest, 0."""
        if column is not None:
            deeper = column > 0 and self.columns > 1
            return self.second(self.first(x, column - 1), column - 1) if deeper else self.short(x)
        ends = [self.short(x), *(self.second(self.first(x), join=False) if self.columns > 1 else [])]
        return self._join(ends) if join else ends

    def _join(self, ends: list[Any]) -> Any:
        if self.training and self.drop_path:
            draw = (self._generator or default_generator()).random(len(ends) + 1)
            kept = [end for end, u in zip(ends, draw) if u >= self.drop_path]
            ends = kept or [ends[int(draw[-1] * len(ends))]]
        return reduce(ops.add, ends) / len(ends)


class FractalNet(nn.Module):
    """Images of 32x32 to 10 scores: five fractals, a maximum of 2x2 after each, an affine map.

    ======  ===================================  ========
    layer   what                                 output
    ======  ===================================  ========
    blocks  fractal of 64 filters, dropout 0     16x16x64
            of 128 filters, dropout 0.1          8x8x128
            of 256 filters, dropout 0.2          4x4x256
            of 512 filters, dropout 0.3          2x2x512
            of 512 filters, dropout 0.4          1x1x512
    fc      affine                               10
    ======  ===================================  ========

    With three columns the longest path has 5 * 2**2 = 20 convolutions. While training, half of the batches drop paths globally:
    one column, the same in all blocks, learns to do without the others, so that each is a network of its own.

    Args:
        columns: of each fractal.
        channels: the filters of each fractal.
        num_classes: how many scores.
        drop_path: the probability to drop an input of a join, in batches that drop locally.
        global_drop_path: the probability that a batch uses one column only.
        dropout: after each fractal.
        generator: where the draws come from; by default the generator that ``mg.manual_seed`` sets.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import FractalNet
        >>> net = FractalNet(columns=3, channels=(4, 8), dropout=(0.0, 0.1), num_classes=5)
        >>> net(mg.zeros((2, 3, 4, 4))).shape, net(mg.zeros((2, 3, 4, 4)), column=2).shape
        ((2, 5), (2, 5))
    """

    def __init__(
        self, columns: int = 3, channels: Sequence[int] = (64, 128, 256, 512, 512), num_classes: int = 10, drop_path: float = 0.15,
        global_drop_path: float = 0.5, dropout: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4),
        generator: np.random.Generator | None = None,
    ) -> None:  # fmt: skip
        if len(channels) != len(dropout):
            raise ValueError(
                f"FractalNet: {len(channels)} channels and {len(dropout)} dropouts: expected one of each for every block"
            )
        self.columns, self.global_drop_path, self._generator = columns, global_drop_path, generator
        self.blocks = nn.ModuleList(
            Fractal(columns, before, after, drop_path, generator) for before, after in zip((3, *channels), channels)
        )
        self.drops = nn.ModuleList(nn.Dropout(p, generator=generator) for p in dropout)
        self.pool = nn.MaxPool2d(2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)  # changes nothing at 32x32
        self.fc = nn.Linear(channels[-1], num_classes)
        he_normal(self)

    def forward(self, x: Any, column: int | None = None) -> Any:
        """Scores; by one column alone, if asked for (numbered from the shortest, 0)."""
        if column is None and self.training and self.global_drop_path:
            which, u = (self._generator or default_generator()).random(2)
            column = int(which * self.columns) if u < self.global_drop_path else None
        if column is not None and not 0 <= column < self.columns:
            raise ValueError(f"FractalNet: column={column}: there are {self.columns}, numbered from 0, the shortest")
        for block, drop in zip(self.blocks, self.drops):
            x = self.pool(drop(block(x, column)))
        return self.fc(F.flatten(self.avgpool(x), 1))
