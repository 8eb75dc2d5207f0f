"""Noise while training: dropout of elements and channels, additive noise. Reproducible from ``mg.manual_seed`` or ``generator=``."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.module import Module


class Dropout(Module):
    """y = x m / (1 - p) while training, each m 0 with probability p, else 1; y = x in evaluation. Srivastava et al. 2014.

    Args:
        p: the probability to drop an element (in notes 001, p is the probability to keep one).
        inplace: accepted, changes nothing.
        generator: where the draws come from; by default the generator that ``mg.manual_seed`` sets.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> sorted({*nn.Dropout(0.5)(mg.ones(1000)).tolist()})
        [0.0, 2.0]
    """

    _shown = ("p", "inplace")

    def __init__(self, p: float = 0.5, inplace: bool = False, generator: np.random.Generator | None = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p is the probability to drop: expected 0 <= p <= 1, got {p}")
        self.p, self.inplace, self._generator = p, inplace, generator

    def forward(self, input: Any) -> Any:
        return F.dropout(input, self.p, self.training, generator=self._generator)


class Dropout1d(Dropout):
    """:class:`Dropout2d` for (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Dropout1d()(mg.ones((2, 3, 5))).shape
        (2, 3, 5)
    """

    def forward(self, input: Any) -> Any:
        return F.dropout1d(input, self.p, self.training, generator=self._generator)


class Dropout2d(Dropout):
    """Dropout of whole channels of (N, C, H, W): Tompson et al. 2015. Arguments as for :class:`Dropout`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> y = nn.Dropout2d(0.5)(mg.ones((4, 8, 3, 3))).mean((2, 3))
        >>> {*y.reshape(-1).tolist()} <= {0.0, 2.0}
        True
    """

    def forward(self, input: Any) -> Any:
        return F.dropout2d(input, self.p, self.training, generator=self._generator)


class Dropout3d(Dropout):
    """:class:`Dropout2d` for (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.Dropout3d()(mg.ones((2, 3, 2, 2, 2))).shape
        (2, 3, 2, 2, 2)
    """

    def forward(self, input: Any) -> Any:
        return F.dropout3d(input, self.p, self.training, generator=self._generator)


class AlphaDropout(Dropout):
    """Dropout for :class:`SELU` networks: it keeps mean 0 and variance 1 (Klambauer et al. 2017). Arguments as for :class:`Dropout`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> len({*nn.AlphaDropout(0.5)(mg.zeros(1000)).tolist()})
        2
    """

    def forward(self, input: Any) -> Any:
        return F.alpha_dropout(input, self.p, self.training, generator=self._generator)


class FeatureAlphaDropout(Dropout):
    """:class:`AlphaDropout` of whole channels of (N, C, ...).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.FeatureAlphaDropout()(mg.ones((2, 3, 5))).shape
        (2, 3, 5)
    """

    def forward(self, input: Any) -> Any:
        return F.feature_alpha_dropout(input, self.p, self.training, generator=self._generator)


class GaussianNoise(Module):
    """y = x + std e with e ~ N(0, 1) while training, y = x in evaluation.

    Noise on inputs is a regulariser: to first order a penalty on the gradient with respect to the input (Bishop 1995).

    Args:
        std: the standard deviation of the noise.
        generator: where the draws come from; by default the generator that ``mg.manual_seed`` sets.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.GaussianNoise(0.5).eval()(mg.ones(2))
        tensor([1., 1.])
    """

    _shown = ("std",)

    def __init__(self, std: float = 0.1, generator: np.random.Generator | None = None) -> None:
        self.std, self._generator = std, generator

    def forward(self, input: Any) -> Any:
        return F.gaussian_noise(input, self.std, self.training, self._generator)
