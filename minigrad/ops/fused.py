"""Compositions that are one operation, because a benchmark says so: linear, softmax cross-entropy, layer norm, GELU, SiLU, ...

Each is held equal to its composition by tests/test_fused.py, in values and in gradients of order one and two. The figures are times
over those of the composition, forward and backward, float32, two threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.blocks import in_pieces, in_rows, renew, reuse, told, write
from minigrad.graph import passes
from minigrad.ops.elementwise import add, erf, exp, expm1, log, maximum, minimum, multiply, sigmoid, sqrt, subtract, tanh, where
from minigrad.ops.index import one_hot
from minigrad.ops.linalg import matmul, product
from minigrad.ops.reduce import _shift, row_dot, softmax, sum
from minigrad.primitive import Operation, primitive

# ---- linear: 0.9 at (128, 256) x (256, 128); the gradient of the weight lies in memory as the weight does -----------------------


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """``y = x weight^T + bias`` along the last axis: (..., n) with (m, n) and (m,) to (..., m).

    Gate: swap multiplier with transposes (notes 001, "Backpropagation"); the bias receives the sum over all rows.

    Raises:
        ShapeError: if the weight is no matrix, or its rows are not as long as those of x.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.fused import linear
        >>> linear(mg.tensor([1.0, 2.0]), mg.tensor([[1.0, 10.0]]), mg.tensor([0.5])).tolist()
        [21.5]
    """
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"x of shape {tuple(x.shape)} with a weight of shape {tuple(weight.shape)}: expected a weight (m, n) and the size n "
            f"in the last axis of x"
        )
    y = product(x, weight.T)
    return y if bias is None else reuse(add, y, bias) if bias.shape == y.shape[-1:] else y + bias


def _linear_weight(g: Any, y: Any, x: Any, w: Any, b: Any) -> Any:
    """``g^T x``, one product over all rows."""
    if x.ndim == 1:
        return g[:, None] * x
    if x.ndim > 2:  # mutate: equivalent [comparison] because a matrix is reshaped to its own shape
        rows = math.prod(x.shape[:-1])
        g, x = g.reshape((rows, w.shape[0])), x.reshape((rows, w.shape[1]))
    return matmul(g.T, x)


linear = primitive(
    _linear,
    lambda g, y, x, w, b: matmul(g, w),
    _linear_weight,
    passes,
    needs=("b", "a", ""),
    rule=("g @ w", "g.T @ x", "g, summed over the rows"),
    gate="swap multiplier with transposes",
    math="x w^T + b",
)


# ---- softmax cross-entropy of class numbers ---------------------------------------------------------------------------------


@in_rows
def _losses(x: Any, index: Any) -> Any:
    shifted = x - _shift(x, -1)
    picked = shifted[backend.namespace(x).arange(len(x)), index[:, 0]]
    with np.errstate(divide="ignore"):
        return log.op.forward(sum(renew(exp, shifted), -1)) - picked  # type: ignore[attr-defined]


def _softmax_cross_entropy(x: Any, index: Any) -> Any:
    """``-log softmax(x)[index]`` along the last axis: logits (..., C) and class numbers (...) to (...).

    Gate: ``softmax(x)`` less one at the class, times g (notes 001, "Softmax Classifier").

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.fused import softmax_cross_entropy
        >>> round(softmax_cross_entropy(mg.tensor([3.2, 5.1, -1.7]), mg.tensor(0)).item(), 4)
        2.0404
    """
    rows = math.prod(x.shape[:-1])
    return _losses(x.reshape(rows, x.shape[-1]), index.reshape(rows, 1)).reshape(x.shape[:-1])


def take_one(p: Any, index: Any) -> Any:
    """``p - one_hot(index)`` in the memory of ``p``, a contiguous array."""
    flat = p.reshape(-1, p.shape[-1])
    flat[np.arange(len(flat)), index.reshape(-1)] -= 1
    return p


def _less_one(p: Any, index: Any) -> Any:
    """``p - one_hot(index)``; on an array, which is nobody else's, in place."""
    in_place = type(p) is np.ndarray and p.flags.c_contiguous
    return take_one(p, index) if in_place else p - one_hot(index, p.shape[-1], p.dtype)


softmax_cross_entropy = primitive(
    _softmax_cross_entropy,
    lambda g, y, a, b: reuse(multiply, _less_one(softmax(a, -1), b), g[..., None]),
    None,
    needs=("ab", ""),
    rule=("g * (softmax(a) - one_hot(b))", ""),
    gate="softmax less the one-hot target",
    math="log(sum of exp(a)) - a[b]",
)


# ---- normalisation over the last axis ---------------------------------------------------------------------------------------


def _standard(x: Any, eps: float, out: Any = None) -> tuple[Any, Any]:
    """``(x - mean) / sqrt(var + eps)`` of each row, and the factor ``1 / sqrt(var + eps)``."""
    n = x.shape[-1]
    centred = write(subtract, out, x, sum(x, -1, True) / n)
    r = 1 / sqrt(row_dot(centred, centred) / n + eps)
    return reuse(multiply, centred, r, out), r


@in_rows
def _layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, out: Any = None) -> Any:
    """``y = weight (x - mean) / sqrt(var + eps) + bias`` along the last axis: (..., n) with (n,) and (n,).

    With h = g weight, s = 1 / sqrt(var + eps) and the normalised z = (x - mean) s, the terms of Figure 17 (notes 001) that reach x
    are, in its order: ``h s`` from the product with s; ``-z mean(h z) s`` through the variance; ``-mean(h) s`` through the mean.
    The variance's own way through the mean is zero, for the deviations sum to zero. Nothing but x and weight is kept: to work out z
    again from rows in the cache costs less than to fetch it from memory.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.fused import layer_norm
        >>> layer_norm(mg.tensor([[1.0, 3.0]])).numpy().round(3).tolist()
        [[-1.0, 1.0]]
    """
    y, _ = _standard(x, eps, out)
    y = y if weight is None else reuse(multiply, y, weight, out)
    return y if bias is None else reuse(add, y, bias, out)


@in_rows
def _layer_norm_input(g: Any, x: Any, weight: Any, eps: float, out: Any = None) -> Any:
    n = x.shape[-1]
    z, s = _standard(x, eps)
    h = write(subtract, out, g, sum(g, -1, True) / n) if weight is None else write(multiply, out, g, weight)
    through_variance = row_dot(h, z) / n
    h = h if weight is None else reuse(subtract, h, sum(h, -1, True) / n, out)
    return reuse(multiply, reuse(subtract, h, reuse(multiply, z, through_variance), out), s, out)


@in_rows
def _layer_norm_weight(g: Any, x: Any, eps: float, out: Any = None) -> Any:
    return reuse(multiply, _standard(x, eps, out)[0], g, out)


layer_norm = primitive(
    _layer_norm,
    lambda g, y, a, b, c, eps: _layer_norm_input(g, a, b, eps),
    lambda g, y, a, b, c, eps: _layer_norm_weight(g, a, eps),
    passes,
    needs=("ab", "a", ""),
    rule=("(g*b - mean(g*b) - z * mean(g*b*z)) / sqrt(var(a) + eps)", "g * z, summed over the rows", "g, summed over the rows"),
    gate="takes mean and slope out of the gradient, and divides by the standard deviation",
    math="b z + c, z = (a - mean(a)) / sqrt(var(a) + eps)",
    name="layer_norm",
)


@in_rows
def _rms_norm(x: Any, weight: Any = None, eps: float = 1e-6, out: Any = None) -> Any:
    """``y = weight x / sqrt(mean(x**2) + eps)`` along the last axis: (..., n) with (n,).

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.fused import rms_norm
        >>> [round(v, 3) for v in rms_norm(mg.tensor([3.0, 4.0])).tolist()]
        [0.849, 1.131]
    """
    y = write(multiply, out, x, _rms_factor(x, eps))
    return y if weight is None else reuse(multiply, y, weight, out)


def _rms_factor(x: Any, eps: float) -> Any:
    return 1 / sqrt(row_dot(x, x) / x.shape[-1] + eps)


@in_rows
def _rms_norm_input(g: Any, x: Any, weight: Any, eps: float, out: Any = None) -> Any:
    s = _rms_factor(x, eps)
    h, z = g if weight is None else g * weight, x * s
    along = row_dot(h, z) / x.shape[-1]
    return reuse(multiply, write(subtract, out, h, reuse(multiply, z, along)), s, out)


@in_rows
def _rms_norm_weight(g: Any, x: Any, eps: float, out: Any = None) -> Any:
    return reuse(multiply, write(multiply, out, x, _rms_factor(x, eps)), g, out)


rms_norm = primitive(
    _rms_norm,
    lambda g, y, a, b, eps: _rms_norm_input(g, a, b, eps),
    lambda g, y, a, b, eps: _rms_norm_weight(g, a, eps),
    needs=("ab", "a"),
    rule=("(g*b - z * mean(g*b*z)) / sqrt(mean(a**2) + eps)", "g * z, summed over the rows"),
    gate="takes its slope out of the gradient, and divides by the root of the mean square",
    math="b z, z = a / sqrt(mean(a**2) + eps)",
    name="rms_norm",
)


# ---- activations: the slope is an operation too, which works it out again from the input -------------------------------------

ROOT_HALF, BELL = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
CUBIC, SCALE = 0.044715, math.sqrt(2 / math.pi)


def _times(slope: Operation) -> Operation:
    """The rule ``g slope(a)``."""

    @told
    def rule(g: Any, y: Any, a: Any, out: Any = None) -> Any:
        return reuse(multiply, slope(a), g, out)

    return rule


@in_pieces
def _gelu(x: Any, out: Any = None) -> Any:
    """``y = x P(Z <= x)`` for a standard normal Z: Hendrycks & Gimpel 2016.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.fused import gelu
        >>> round(gelu(mg.tensor(1.0)).item(), 4)
        0.8413
    """
    return reuse(multiply, _normal_below(x), x, out)


def _normal_below(x: Any) -> Any:
    return _share(erf(x * ROOT_HALF))


@in_pieces
def _gelu_slope(x: Any, out: Any = None) -> Any:
    """``P(Z <= x) + x exp(-x**2 / 2) / sqrt(2 pi)``, the derivative of :func:`gelu`."""
    bell = reuse(multiply, renew(exp, reuse(multiply, x * x, -0.5)), BELL)
    return reuse(add, _normal_below(x), reuse(multiply, bell, x), out)


gelu_slope = primitive(
    _gelu_slope,
    lambda g, y, a: g * exp(a * a * -0.5) * BELL * (2 - a * a),
    needs="a",
    rule=("g * (2 - a**2) * exp(-a**2 / 2) / sqrt(2 * pi)",),
    gate="multiplies by the bell times 2 - a**2",
    math="P(Z <= a) + a exp(-a**2 / 2) / sqrt(2 pi)",
    name="gelu_slope",
    elementwise=True,
)
gelu = primitive(
    _gelu,
    _times(gelu_slope),
    needs="a",
    rule=("g * gelu_slope(a)",),
    gate="multiplies by P(Z <= a) + a times the bell",
    math="a P(Z <= a)",
    name="gelu",
    elementwise=True,
)


@in_pieces
def _gelu_tanh(x: Any, out: Any = None) -> Any:
    """``y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2``, which is near :func:`gelu`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.fused import gelu_tanh
        >>> round(gelu_tanh(mg.tensor(1.0)).item(), 4)
        0.8412
    """
    return reuse(multiply, _share(_bend(x, x * x)), x, out)


def _bend(x: Any, square: Any) -> Any:
    """``t = tanh(u)`` with u = SCALE (x + CUBIC x**3)."""
    return renew(tanh, reuse(multiply, reuse(add, square * (CUBIC * SCALE), SCALE), x))


def _share(t: Any) -> Any:
    """``(1 + t) / 2``: how much of x reaches y."""
    return reuse(multiply, reuse(add, t, 1), 0.5)


@in_pieces
def _gelu_tanh_slope(x: Any, out: Any = None) -> Any:
    """``(1 + t) / 2 + x (1 - t**2) u' / 2`` with t = tanh(u), the derivative of :func:`gelu_tanh`."""
    square = x * x
    t = _bend(x, square)
    steep = reuse(multiply, 1 - t * t, x)
    steep = reuse(multiply, steep, reuse(add, reuse(multiply, square, 1.5 * CUBIC * SCALE), 0.5 * SCALE))
    return reuse(add, _share(t), steep, out)


def _gelu_tanh_bend(g: Any, y: Any, a: Any) -> Any:
    """With u' = SCALE (1 + 3 CUBIC a**2) and u'' = 6 SCALE CUBIC a: ``(1 - t**2) (u' + a (u'' / 2 - t u'**2))``."""
    t, slope = _bend(a, a * a), a * a * (3 * CUBIC * SCALE) + SCALE
    return g * (1 - t * t) * (slope + a * (a * (3 * SCALE * CUBIC) - t * slope * slope))


gelu_tanh_slope = primitive(
    _gelu_tanh_slope,
    _gelu_tanh_bend,
    needs="a",
    rule=("g * (1 - t**2) * (u' + a * (u''/2 - t * u'**2))",),
    gate="multiplies by the second derivative",
    math="(1 + t) / 2 + a (1 - t**2) u' / 2, t = tanh(u)",
    name="gelu_tanh_slope",
    elementwise=True,
)
gelu_tanh = primitive(
    _gelu_tanh,
    _times(gelu_tanh_slope),
    needs="a",
    rule=("g * gelu_tanh_slope(a)",),
    gate="multiplies by its slope",
    math="a (1 + tanh(sqrt(2/pi) (a + 0.044715 a**3))) / 2",
    name="gelu_tanh",
    elementwise=True,
)


@in_pieces
def _silu(x: Any, out: Any = None) -> Any:
    """``y = x sigmoid(x)``: Elfwing et al. 2018.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.fused import silu
        >>> round(silu(mg.tensor(1.0)).item(), 4)
        0.7311
    """
    return reuse(multiply, sigmoid(x), x, out)


def _silu_slope(x: Any) -> Any:
    """``s + x s (1 - s)`` with s = sigmoid(x), the derivative of :func:`silu`."""
    s = sigmoid(x)
    return reuse(add, reuse(multiply, s - s * s, x), s)


def _silu_bend(g: Any, y: Any, a: Any) -> Any:
    s = sigmoid(a)
    return g * (s - s * s) * (2 + a * (1 - s - s))


silu_slope = primitive(
    _silu_slope,
    _silu_bend,
    needs="a",
    rule=("g * s * (1 - s) * (2 + a * (1 - 2*s))",),
    gate="multiplies by the second derivative",
    math="s + a s (1 - s), s = sigmoid(a)",
    name="silu_slope",
    elementwise=True,
)
silu: Operation = primitive(
    _silu,
    _times(silu_slope),
    needs="a",
    rule=("g * silu_slope(a)",),
    gate="multiplies by s + a s (1 - s)",
    math="a sigmoid(a)",
    name="silu",
    elementwise=True,
)


# ---- activations in pieces: 0.4 of the time of where() and what it chooses from, each an operation, at (1024, 1024) --------------


def _leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """``y = x`` where x > 0, else ``slope x``: Maas et al. 2013.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.fused import leaky_relu
        >>> leaky_relu(mg.tensor([-2.0, 3.0]), 0.5).tolist()
        [-1.0, 3.0]
    """
    return where(x > 0, x, x * slope)


leaky_relu = primitive(
    _leaky_relu,
    lambda g, y, a, slope=0.01: where(a > 0, g, g * slope),
    needs="a",
    gate="gradient router to two slopes",
    math="a where a > 0, else slope a",
    kink="the slope at 0",
    name="leaky_relu",
    elementwise=True,
)


def _elu(x: Any, alpha: float = 1.0, rate: float = 1.0) -> Any:
    """``y = x`` where x > 0, else ``alpha (exp(rate x) - 1)``: Clevert et al. 2016.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.fused import elu
        >>> round(elu(mg.tensor(-1.0), 2.0).item(), 4)
        -1.2642
    """
    return where(x > 0, x, reuse(multiply, renew(expm1, minimum(x, 0) * rate), alpha))


def _elu_rule(g: Any, y: Any, a: Any, alpha: float = 1.0, rate: float = 1.0) -> Any:
    return where(a > 0, g, reuse(multiply, reuse(multiply, renew(exp, minimum(a, 0) * rate), alpha * rate), g))


elu = primitive(
    _elu,
    _elu_rule,
    needs="a",
    rule=("g where a > 0, else g * alpha * rate * exp(rate * a)",),
    gate="gradient router, the other way scaled by the exponential",
    math="a where a > 0, else alpha (exp(rate a) - 1)",
    kink="alpha rate at 0",
    name="elu",
    elementwise=True,
)


def _hardtanh(x: Any, low: float = -1.0, high: float = 1.0) -> Any:
    """``y = min(max(x, low), high)``.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.fused import hardtanh
        >>> hardtanh(mg.tensor([-2.0, 0.5, 3.0])).tolist()
        [-1.0, 0.5, 1.0]
    """
    return minimum(maximum(x, low), high)


hardtanh = primitive(
    _hardtanh,
    lambda g, y, a, low=-1.0, high=1.0: where(a <= low, 0, where(a >= high, 0, g)),
    needs="a",
    rule=("g where low < a < high, else 0",),
    gate="gradient router",
    math="min(max(a, low), high)",
    kink="0 at both ends, as PyTorch's hardtanh",
    name="hardtanh",
    elementwise=True,
)
