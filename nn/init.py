"""Initialisation: fill a tensor with its first values. Every function changes the tensor, returns it, and records nothing.

Draws come from the global generator (``mg.manual_seed``) or from ``generator=``. A *fan* is the number of inputs that meet in a
unit (fan_in) or of units that an input reaches (fan_out). Keeping the variance of values or of gradients alike through the
layers gives the rules of Glorot & Bengio 2010 ("Xavier") and He et al. 2015 ("Kaiming"): notes 001, "Weight Initialization".
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from minigrad import backend
from minigrad.errors import ShapeError
from minigrad.random import default_generator
from minigrad.tensor import Tensor

Generator = np.random.Generator | None
T = TypeVar("T", bound=Tensor)


def _fill(t: T, values: Any) -> T:
    """Give ``t`` new values: a new array, so that what was recorded with the old one stays right."""
    if not isinstance(t, Tensor):
        raise TypeError(f"init: expected a Tensor, got {type(t).__name__}")
    array = np.asarray(values, t.dtype)
    t._data = backend.to_device(array if array.shape == t.shape else np.full(t.shape, array), t.device)
    return t


def _drawn(t: Tensor) -> Any:
    """The dtype to draw in: NumPy's generators know two."""
    return np.float32 if t.dtype.itemsize <= 4 else np.float64


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Generator = None) -> T:
    """Evenly spread over [a, b).

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> x = nn.init.uniform_(mg.zeros(1000), -2.0, 2.0)
        >>> bool(mg.all(mg.abs(x) <= 2))
        True
    """
    values = (generator or default_generator()).random(tensor.shape, _drawn(tensor))
    values *= b - a
    values += a
    return _fill(tensor, values)


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator = None) -> T:
    """Normally distributed: N(mean, std**2)."""
    values = (generator or default_generator()).standard_normal(tensor.shape, _drawn(tensor))
    values *= std
    values += mean
    return _fill(tensor, values)


def trunc_normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Generator = None
) -> T:
    """N(mean, std**2) within [a, b]: what falls outside is drawn again.

    Raises:
        ValueError: if [a, b] is empty or holds so little of the distribution that drawing again would not end.
    """
    low, high = (a - mean) / std, (b - mean) / std
    inside = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    if inside < 1e-3:
        raise ValueError(
            f"trunc_normal_: [{a}, {b}] holds only {max(inside, 0):.1g} of N({mean}, {std}**2): widen it or move mean"
        )
    rng = generator or default_generator()
    z = rng.standard_normal(math.prod(tensor.shape), _drawn(tensor))
    while (again := np.flatnonzero((z < low) | (z > high))).size:
        z[again] = rng.standard_normal(again.size, _drawn(tensor))
    return _fill(tensor, np.clip(z * std + mean, a, b).reshape(tensor.shape))


def constant_(tensor: T, val: float) -> T:
    """Every element ``val``. Weights that are all alike stay alike: units that start identical learn identically."""
    return _fill(tensor, val)


def zeros_(tensor: T) -> T:
    """Zeros."""
    return _fill(tensor, 0)


def ones_(tensor: T) -> T:
    """Ones."""
    return _fill(tensor, 1)


def eye_(tensor: T) -> T:
    """The identity matrix: a linear layer that passes its inputs on.

    Raises:
        ShapeError: if the tensor is not a matrix.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: expected a matrix, got shape {tensor.shape}")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: T, groups: int = 1) -> T:
    """Convolution filters that pass their channels on: 1 at the centre of filter i for channel i, in each group.

    Raises:
        ShapeError: if the tensor is not the weight of a convolution, or its filters do not divide into the groups.
    """
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ShapeError(f"dirac_: expected filters (O, C, ...) with O divisible by {groups} groups, got shape {tensor.shape}")
    filters, channels, *kernel = tensor.shape
    values = np.zeros(tensor.shape)
    for group in range(groups):
        for i in range(min(filters // groups, channels)):
            values[(group * (filters // groups) + i, i, *(k // 2 for k in kernel))] = 1
    return _fill(tensor, values)


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight in PyTorch's layout (out, in, *kernel).

    Raises:
        ShapeError: for fewer than two axes.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.init.fans(mg.zeros((6, 3, 5, 5)))
        (75, 150)
    """
    if tensor.ndim < 2:
        raise ShapeError(
            f"init: fan_in and fan_out need a weight (out, in, ...), got shape {tensor.shape}; use normal_ or zeros_ for a bias"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much to widen a layer's weights for the activation that follows it: sqrt(2) for ReLU, which halves the variance.

    Args:
        nonlinearity: linear, conv1d ... conv_transpose3d, sigmoid (1), tanh (5/3), relu, leaky_relu, selu (3/4).
        param: the negative slope of leaky_relu, 0.01 by default.

    Raises:
        ValueError: if the activation is unknown.

    Example:
        >>> from minigrad import nn
        >>> round(nn.init.calculate_gain("relu"), 4)
        1.4142
    """
    linear = {"linear", "sigmoid", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3))}
    gains = {**dict.fromkeys(linear, 1.0), "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 0.75}
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        raise ValueError(
            f"calculate_gain: unknown nonlinearity {nonlinearity!r}: expected leaky_relu or {', '.join(sorted(gains))}"
        )
    return gains[nonlinearity]


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Generator = None) -> T:
    """U(-b, b) with b = gain sqrt(6 / (fan_in + fan_out)), so that the variance is gain**2 2/(fan_in + fan_out)."""
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Generator = None) -> T:
    """N(0, gain**2 2 / (fan_in + fan_out)): Glorot & Bengio 2010."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(
            f"kaiming: unknown mode {mode!r}: expected fan_in (values keep their variance) or fan_out (gradients do)"
        )
    return calculate_gain(nonlinearity, a) / math.sqrt(fans(tensor)[mode == "fan_out"])


def kaiming_uniform_(
    tensor: T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator = None
) -> T:
    """U(-b, b) with b = gain sqrt(3 / fan), whose variance is gain**2 / fan.

    Args:
        tensor: the weight to fill.
        a: the negative slope of the leaky ReLU that follows; 0 is ReLU.
        mode: ``"fan_in"`` keeps the variance of values, ``"fan_out"`` that of gradients.
        nonlinearity: what follows, as in :func:`calculate_gain`.
        generator: where numbers come from.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator = None
) -> T:
    """N(0, gain**2 / fan); for ReLU the 2/n_in of He et al. 2015. Arguments as for :func:`kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: T, gain: float = 1.0, generator: Generator = None) -> T:
    """Orthonormal rows (or columns, if there are fewer), times ``gain``: Saxe et al. 2014. Axes after the first count as one.

    Raises:
        ShapeError: for fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: expected at least two axes, got shape {tensor.shape}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    tall = (generator or default_generator()).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # with R's diagonal made positive, Q is uniform among orthogonal matrices
    return _fill(tensor, (gain * (q.T if rows < columns else q)).reshape(tensor.shape))


def sparse_(tensor: T, sparsity: float, std: float = 0.01, generator: Generator = None) -> T:
    """N(0, std**2), but in each column the same fraction ``sparsity`` (rounded up) of the rows is zero: Martens 2010.

    Raises:
        ShapeError: if the tensor is not a matrix.
    """
    if tensor.ndim != 2:
        raise ShapeError(f"sparse_: expected a matrix, got shape {tensor.shape}")
    rng = generator or default_generator()
    values = rng.standard_normal(tensor.shape, _drawn(tensor)) * std
    rank = rng.random(tensor.shape).argsort(axis=0)
    values[rank < math.ceil(sparsity * tensor.shape[0])] = 0
    return _fill(tensor, values)
