"""Activations: functions of each element (softmax and GLU, of an axis). The plots and gates are those of notes 001."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.module import Module, Parameter


class _Activation(Module):
    """What activations share: a ``repr`` with their arguments, and ``inplace`` only where it was asked for."""

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._shown if name != "inplace" or self.inplace)

    inplace: bool = False


class ReLU(_Activation):
    """y = max(x, 0). Gate: gradient router. Kink: the gradient at 0 is 0."""

    _shown = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.relu(input)


class ReLU6(_Activation):
    """y = min(max(x, 0), 6)."""

    _shown = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.relu6(input)


class LeakyReLU(_Activation):
    """y = x if x > 0, else negative_slope * x (notes 001; there with 0.1)."""

    _shown = ("negative_slope", "inplace")

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Any) -> Any:
        return F.leaky_relu(input, self.negative_slope)


class ELU(_Activation):
    """y = x if x > 0, else alpha (exp(x) - 1): Clevert et al. 2016."""

    _shown = ("alpha", "inplace")

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Any) -> Any:
        return F.elu(input, self.alpha)


class CELU(_Activation):
    """y = x if x > 0, else alpha (exp(x / alpha) - 1): Barron 2017."""

    _shown = ("alpha", "inplace")

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Any) -> Any:
        return F.celu(input, self.alpha)


class SELU(_Activation):
    """y = 1.0507 x if x > 0, else 1.0507 * 1.6733 (exp(x) - 1): Klambauer et al. 2017."""

    _shown = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.selu(input)


class GELU(_Activation):
    """y = x P(Z <= x), Z standard normal: Hendrycks & Gimpel 2016. ``approximate``: none, tanh or sigmoid, :func:`functional.gelu`."""

    _shown = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return F.gelu(input, self.approximate)


class SiLU(_Activation):
    """y = x sigmoid(x)."""

    _shown = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.silu(input)


class Swish(_Activation):
    """y = x sigmoid(beta x): Ramachandran et al. 2017."""

    _shown = ("beta",)

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    def forward(self, input: Any) -> Any:
        return F.swish(input, self.beta)


class Mish(_Activation):
    """y = x tanh(softplus(x)): Misra 2019."""

    _shown = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.mish(input)


class Softplus(_Activation):
    """y = log(1 + exp(beta x)) / beta, and x where beta x > threshold. Its derivative is the sigmoid (notes 001, Figure 15)."""

    _shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Any) -> Any:
        return F.softplus(input, self.beta, self.threshold)


class Sigmoid(_Activation):
    """y = 1 / (1 + exp(-x)). Its derivative y (1 - y) is at most 0.25."""

    def forward(self, input: Any) -> Any:
        return F.sigmoid(input)


class LogSigmoid(_Activation):
    """y = log(sigmoid(x))."""

    def forward(self, input: Any) -> Any:
        return F.logsigmoid(input)


class Tanh(_Activation):
    """y = tanh(x). Its derivative is 1 - y**2."""

    def forward(self, input: Any) -> Any:
        return F.tanh(input)


class Tanhshrink(_Activation):
    """y = x - tanh(x)."""

    def forward(self, input: Any) -> Any:
        return F.tanhshrink(input)


class Hardtanh(_Activation):
    """y = min(max(x, min_val), max_val)."""

    _shown = ("min_val", "max_val", "inplace")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input: Any) -> Any:
        return F.hardtanh(input, self.min_val, self.max_val)


class Hardsigmoid(_Activation):
    """y = min(max(x + 3, 0), 6) / 6."""

    _shown = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.hardsigmoid(input)


class Hardswish(_Activation):
    """y = x min(max(x + 3, 0), 6) / 6: Howard et al. 2019."""

    _shown = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.hardswish(input)


class Hardshrink(_Activation):
    """y = x, and 0 within lambd of 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def extra_repr(self) -> str:
        return str(self.lambd)

    def forward(self, input: Any) -> Any:
        return F.hardshrink(input, self.lambd)


class Softshrink(_Activation):
    """y = x moved towards 0 by lambd, and 0 within lambd of it."""

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def extra_repr(self) -> str:
        return str(self.lambd)

    def forward(self, input: Any) -> Any:
        return F.softshrink(input, self.lambd)


class Softsign(_Activation):
    """y = x / (1 + |x|)."""

    def forward(self, input: Any) -> Any:
        return F.softsign(input)


class Threshold(_Activation):
    """y = x if x > threshold, else value."""

    _shown = ("threshold", "value", "inplace")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input: Any) -> Any:
        return F.threshold(input, self.threshold, self.value)


class HardLimiter(_Activation):
    """y = high if x >= 0, else low: the perceptron's output, which has no gradient (003 week 2)."""

    _shown = ("low", "high")

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        self.low, self.high = low, high

    def forward(self, input: Any) -> Any:
        return F.hard_limiter(input, self.low, self.high)


class Softmax(_Activation):
    """y_i = exp(x_i / T) / sum_j exp(x_j / T) along ``dim``; a large temperature T flattens it."""

    _shown = ("dim",)

    def __init__(self, dim: int = -1, temperature: float = 1.0) -> None:
        self.dim, self.temperature = dim, temperature

    def forward(self, input: Any) -> Any:
        return F.softmax(input, self.dim, temperature=self.temperature)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.temperature == 1 else f", temperature={self.temperature}")


class Softmin(_Activation):
    """softmax(-x) along ``dim``."""

    _shown = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.softmin(input, self.dim)


class LogSoftmax(_Activation):
    """log(softmax(x)) along ``dim``."""

    _shown = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.log_softmax(input, self.dim)


class Softmax2d(_Activation):
    """Softmax over the channels of (N, C, H, W) or (C, H, W), at every pixel."""

    def forward(self, input: Any) -> Any:
        if input.ndim not in (3, 4):
            raise self._refuse("(N, C, H, W) or (C, H, W)", input, "For other axes take Softmax(dim).")
        return F.softmax(input, -3)


class RReLU(_Activation):
    """y = x if x > 0, else a x, each a drawn from U(lower, upper) while training, else their mean: Xu et al. 2015."""

    _shown = ("lower", "upper", "inplace")

    def __init__(
        self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False, generator: np.random.Generator | None = None
    ) -> None:
        self.lower, self.upper, self.inplace, self._generator = lower, upper, inplace, generator

    def forward(self, input: Any) -> Any:
        return F.rrelu(input, self.lower, self.upper, self.training, generator=self._generator)


class GLU(_Activation):
    """y = a sigmoid(b), a and b the halves of x along ``dim``: Dauphin et al. 2017."""

    _shown = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.glu(input, self.dim)


class PReLU(Module):
    """y = x if x > 0, else w x, where w is learned: He et al. 2015.

    Args:
        num_parameters: 1, or the number of channels (axis 1), each with a slope of its own.
        init: the first value of w.
        device: where the parameter goes.
        dtype: its dtype.

    Attributes:
        weight: (num_parameters,).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.PReLU()(mg.tensor([-4.0, 4.0])).numpy().tolist()
        [-1.0, 4.0]
    """

    _shown = ("num_parameters",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: str | None = None, dtype: Any = None) -> None:
        self.num_parameters, self.init = num_parameters, init
        values = backend.library(device).full(num_parameters, init, dtype=dtype or backend.get_default_dtype())
        self.weight = Parameter.around(values)

    def forward(self, input: Any) -> Any:
        if self.num_parameters != 1 and (input.ndim < 2 or input.shape[1] != self.num_parameters):
            raise self._refuse(
                f"(N, {self.num_parameters}, ...)", input, "Build it with as many parameters as channels, or with 1."
            )
        return F.prelu(input, self.weight)
