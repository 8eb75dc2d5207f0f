"""Reductions and scans over axes: sum, mean, product, extrema, moments, log-sum-exp, softmax, cumulative operations, sorting.

``axis`` is None (all axes), an integer or a tuple, negative ones counting from the end; ``keepdims`` leaves length-1 axes.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.blocks import in_rows, renew, reuse, write
from minigrad.errors import ShapeError
from minigrad.ops.elementwise import divide, exp, multiply, subtract, where
from minigrad.ops.index import take_along_axis
from minigrad.ops.shape import astype, broadcast_to, concat, flip, permute_dims
from minigrad.primitive import Operation, primitive
from minigrad.sums import VECTORS, Axis, extreme, sum_into


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes as non-negative numbers; forward has already refused those that do not exist."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(k % ndim if ndim else 0 for k in ((axis,) if isinstance(axis, int) else axis))


def _kept(g: Any, a: Any, axis: Axis, keepdims: bool) -> Any:
    """A reduced array with its axes back, as length 1, so that it broadcasts against ``a``."""
    if keepdims:
        return g
    gone = _axes(axis, a.ndim)
    return g.reshape(tuple(1 if k in gone else n for k, n in enumerate(a.shape)))


def _count(a: Any, axis: Axis) -> int:
    return math.prod(a.shape[k] for k in _axes(axis, a.ndim))


def _sum(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The sum of the elements over ``axis``. Gate: gradient distributor, to every element that was summed.

    Example:
        >>> import minigrad as mg
        >>> mg.sum(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0).numpy().tolist()
        [4.0, 6.0]
    """
    if type(x) is not np.ndarray:
        return np.sum(x, axis=axis, keepdims=keepdims, dtype=dtype)
    return sum_into(None, x, axis, keepdims, dtype)


sum = primitive(
    _sum,
    lambda g, y, a, axis, keepdims, dtype: broadcast_to(_kept(g, a, axis, keepdims), a.shape),
    needs="",
    rule=("g, copied along axis",),
    gate="gradient distributor",
    math="sum of a over axis",
)


def _mean(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The arithmetic mean over ``axis``. Gate: gradient distributor, 1/n to each of the n elements.

    Example:
        >>> import minigrad as mg
        >>> mg.mean(mg.tensor([1.0, 2.0, 6.0])).item()
        3.0
    """
    return x.mean(axis=axis, keepdims=keepdims, dtype=dtype)


mean = primitive(
    _mean,
    lambda g, y, a, axis, keepdims, dtype: broadcast_to(_kept(g / _count(a, axis), a, axis, keepdims), a.shape),
    needs="",
    rule=("g / n, copied along axis",),
    gate="gradient distributor, divided by the count",
    math="sum of a over axis / n",
)


def _var(x: Any, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The variance ``sum((x - mean)**2) / (n - correction)`` over ``axis``; ``correction=1`` is Bessel's.

    The default is NumPy's and the array API's; PyTorch's ``var`` corrects by 1.

    Example:
        >>> import minigrad as mg
        >>> mg.var(mg.tensor([1.0, 2.0, 3.0, 4.0])).item()
        1.25
    """
    centred = x - x.mean(axis=axis, keepdims=True)
    return (centred * centred).sum(axis=axis, keepdims=keepdims) / (_count(x, axis) - correction)


var = primitive(
    _var,
    lambda g, y, a, axis, correction, keepdims: (
        _kept(g * (2 / (_count(a, axis) - correction)), a, axis, keepdims) * (a - mean(a, axis, True))
    ),
    needs="a",
    rule=("g * 2 * (a - mean(a)) / (n - correction)",),
    gate="multiplies by twice the deviation / n",
    math="sum of (a - mean)**2 over axis / (n - correction)",
)


def _std(x: Any, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The standard deviation, the square root of :func:`var`. Kink: where all elements are equal the gradient is 0.

    Example:
        >>> import minigrad as mg
        >>> mg.std(mg.tensor([1.0, 3.0])).item()
        1.0
    """
    return np.sqrt(_var(x, axis, correction, keepdims))


std = primitive(
    _std,
    lambda g, y, a, axis, correction, keepdims: (
        _kept(g / (where(y == 0, 1, y) * (_count(a, axis) - correction)), a, axis, keepdims) * (a - mean(a, axis, True))
    ),
    needs="ya",
    rule=("g * (a - mean(a)) / (y * (n - correction))",),
    gate="multiplies by the deviation / (n std)",
    math="sqrt(var(a))",
    kink="0 where all elements are equal",
)


# Extrema
def _max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest element over ``axis``. Gate: gradient router. Kink: ties share the gradient equally, as ``torch.amax``.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 3.0, 3.0], requires_grad=True)
        >>> mg.max(x).backward()
        >>> x.grad.numpy().tolist()
        [0.0, 0.5, 0.5]
    """
    return extreme(np.maximum, x, axis, keepdims) if type(x) is np.ndarray else x.max(axis=axis, keepdims=keepdims)


def _min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest element over ``axis``; see :func:`max`.

    Example:
        >>> import minigrad as mg
        >>> mg.min(mg.tensor([[1.0, 3.0], [0.0, 5.0]]), axis=1).numpy().tolist()
        [1.0, 0.0]
    """
    return extreme(np.minimum, x, axis, keepdims) if type(x) is np.ndarray else x.min(axis=axis, keepdims=keepdims)


def _to_extrema(g: Any, y: Any, a: Any, axis: Axis, keepdims: bool) -> Any:
    best = a == _kept(y, a, axis, keepdims)
    shares = sum(best, axis, True).astype(g.dtype)  # mutate: equivalent [call] because backward casts to the tensor's dtype
    return where(best, _kept(g, a, axis, keepdims) / shares, 0)


max = primitive(
    _max,
    _to_extrema,
    needs="ya",
    rule=("g where a == y, shared among ties; else 0",),
    gate="gradient router",
    math="max of a over axis",
    kink="ties share the gradient equally",
)
min = primitive(
    _min,
    _to_extrema,
    needs="ya",
    rule=("g where a == y, shared among ties; else 0",),
    gate="gradient router",
    math="min of a over axis",
    kink="ties share the gradient equally",
)


# Products
def _prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product of the elements over ``axis``; its gradient is right where elements are zero, to every order.

    Each element receives the product of all others, from cumulative products of both sides: nothing is divided by.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([2.0, 0.0, 5.0], requires_grad=True)
        >>> mg.prod(x).backward()
        >>> x.grad.numpy().tolist()
        [0.0, 10.0, 0.0]
    """
    return x.prod(axis=axis, keepdims=keepdims, dtype=dtype)


def _exclusive(a: Any) -> Any:
    """Along the last axis, the product of the elements before each one."""
    ones = backend.namespace(getattr(a, "_data", a)).ones((*a.shape[:-1], 1), dtype=a.dtype)
    return concat([ones, cumulative_prod(a[..., :-1], axis=-1)], axis=-1)


def _prod_rule(g: Any, y: Any, a: Any, axis: Axis, keepdims: bool, dtype: Any) -> Any:
    if 0 in a.shape:
        return a * 0
    gone = _axes(axis, a.ndim)
    order = tuple(k for k in range(a.ndim) if k not in gone) + gone
    flat = permute_dims(a, order).reshape((*(a.shape[k] for k in order if k not in gone), -1))
    others = _exclusive(flat) * flip(_exclusive(flip(flat, axis=-1)), axis=-1)
    back = permute_dims(others.reshape(tuple(a.shape[k] for k in order)), tuple(np.argsort(order).tolist()))
    return _kept(g, a, axis, keepdims) * back


prod = primitive(
    _prod,
    _prod_rule,
    needs="a",
    rule=("g * product of the other elements",),
    gate="multiplies by the product of the others",
    math="product of a over axis",
)


def _cumulative_prod(x: Any, axis: int) -> Any:
    return x.cumprod(axis=axis)


def _cumulative_prod_rule(g: Any, y: Any, a: Any, axis: int) -> Any:
    """With ``S_i = g_i + a_{i+1} S_{i+1}``, the gradient is ``S_i`` times the product of the elements before ``i``.

    The recurrence runs by doubling, log2(n) steps without a division, so zeros need no special case.
    """
    n = a.shape[axis]
    if n < 2:
        return g
    order = [k for k in range(a.ndim) if k != axis % a.ndim] + [axis % a.ndim]
    total, a = permute_dims(g, tuple(order)), permute_dims(a, tuple(order))
    zeros = backend.namespace(getattr(a, "_data", a)).zeros(a.shape, dtype=a.dtype)
    factor = concat([a[..., 1:], zeros[..., :1]], axis=-1)
    step = 1
    while step < n:
        total = total + factor * concat([total[..., step:], zeros[..., :step]], axis=-1)
        factor = factor * concat([factor[..., step:], zeros[..., :step]], axis=-1)
        step *= 2
    return permute_dims(total * _exclusive(a), tuple(np.argsort(order).tolist()))


_cumprod = primitive(
    _cumulative_prod, _cumulative_prod_rule, needs="a", rule=("for each i: sum over j >= i of g_j * y_j without a_i",), gate="multiplies by the products of the others",
    math="product of a up to and including each element",
)  # fmt: skip


def _cumulative_sum(x: Any, axis: int) -> Any:
    return x.cumsum(axis=axis)


_cumsum: Operation = primitive(
    _cumulative_sum, lambda g, y, a, axis: flip(_cumsum(flip(g, axis=axis), axis), axis=axis), needs="",
    rule=("cumulative sum of g from the end",), gate="gradient distributor, summed from the end", math="sum of a up to and including each element",
)  # fmt: skip


def _scan(op: Any, x: Any, axis: int | None, include_initial: bool, initial: int) -> Any:
    if not hasattr(x, "ndim"):
        x = backend.from_python(x)
    if axis is None:
        x, axis = x.reshape(-1), 0
    y = op(x, axis)
    if include_initial:
        raw = getattr(y, "_data", y)
        shape = tuple(1 if k == axis % y.ndim else n for k, n in enumerate(y.shape))
        y = concat([backend.namespace(raw).full(shape, initial, dtype=raw.dtype), y], axis=axis)
    return y


def cumulative_sum(x: Any, axis: int | None = None, include_initial: bool = False, dtype: Any = None) -> Any:
    """Sums up to and including each element along ``axis`` (None: of the flattened array).

    With ``include_initial`` a 0 comes first and the axis grows by one (array API 2023.12).

    Example:
        >>> import minigrad as mg
        >>> mg.cumulative_sum(mg.tensor([1.0, 2.0, 3.0])).numpy().tolist()
        [1.0, 3.0, 6.0]
    """
    return _scan(_cumsum, x if dtype is None else astype(x, dtype), axis, include_initial, 0)


def cumulative_prod(x: Any, axis: int | None = None, include_initial: bool = False, dtype: Any = None) -> Any:
    """Products up to and including each element along ``axis`` (None: of the flattened array).

    With ``include_initial`` a 1 comes first. The gradient is right where elements are zero.

    Example:
        >>> import minigrad as mg
        >>> mg.cumulative_prod(mg.tensor([1.0, 2.0, 3.0])).numpy().tolist()
        [1.0, 2.0, 6.0]
    """
    return _scan(_cumprod, x if dtype is None else astype(x, dtype), axis, include_initial, 1)


def _row_dot(x: Any, y: Any) -> Any:
    """``sum(x * y)`` along the last axis, which stays as length 1: (..., n) and (..., n) to (..., 1).

    One pass of the processor's vector instructions: 0.4 of the time of product and sum on (256, 1024) float32.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.ops.reduce import row_dot
        >>> row_dot(mg.tensor([1.0, 2.0]), mg.tensor([3.0, 4.0])).tolist()
        [11.0]
    """
    if type(x) is np.ndarray and x.dtype == y.dtype and x.dtype in VECTORS:
        return np.vecdot(x, y)[..., None]
    return (x * y).sum(axis=-1, keepdims=True)


row_dot = primitive(
    _row_dot,
    lambda g, y, a, b: g * b,
    lambda g, y, a, b: g * a,
    needs=("b", "a"),
    gate="swap multiplier, to every element of the row",
    math="sum of a b over the last axis",
)


# Log-sum-exp and softmax
def _logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """``log(sum(exp(x)))`` over ``axis``, shifted by the maximum so that nothing overflows (notes 001, "Softmax Classifier").

    Gate: the gradient is distributed in proportion to softmax(x).

    Example:
        >>> import minigrad as mg
        >>> round(mg.logsumexp(mg.tensor([1000.0, 1000.0])).item(), 3)
        1000.693
    """
    top = _shift(x, axis)
    with np.errstate(divide="ignore"):  # the logarithm of an empty sum, or of one over -inf, is -inf
        y = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return y if keepdims else y.reshape(tuple(n for k, n in enumerate(x.shape) if k not in _axes(axis, x.ndim)))


def _shift(x: Any, axis: Axis) -> Any:
    """The maximum, which may be subtracted before ``exp``; 0 where it is infinite, where nothing may."""
    if not x.size:
        return 0
    x = x if np.isrealobj(x) else x.real
    top = _max(x, axis, True)
    finite = np.isfinite(top)
    return top if finite.all() else np.where(finite, top, 0)


logsumexp = primitive(
    _logsumexp,
    lambda g, y, a, axis, keepdims: _kept(g, a, axis, keepdims) * exp(a - _finite(_kept(y, a, axis, keepdims))),
    needs="ya",
    rule=("g * exp(a - y)",),
    gate="softmax-weighted distributor",
    math="log(sum of exp(a) over axis)",
)


def _finite(y: Any) -> Any:
    return where(y == -math.inf, 0, y)


def _by_rows(f: Any) -> Any:
    """``f(array, ..., axis)``, on some rows at a time where the axis is the last."""
    in_turn = in_rows(f)

    @functools.wraps(in_turn)  # whose signature is that of an operation
    def run(*args: Any) -> Any:
        return (in_turn if args[-1] in (-1, args[0].ndim - 1) else f)(*args)

    return run


@_by_rows
def _softmax(x: Any, axis: int, out: Any = None) -> Any:
    y = renew(exp, write(subtract, out, x, _shift(x, axis)))
    return reuse(divide, y, sum(y, axis, True))


@_by_rows
def _softmax_rule(g: Any, y: Any, axis: int, out: Any = None) -> Any:
    last = axis in (-1, y.ndim - 1)  # mutate: equivalent [arithmetic, dropped] because sum gives the same, later
    along = row_dot(g, y) if last else sum(g * y, axis, True)
    return reuse(multiply, write(subtract, out, g, along), y)


_soft = primitive(
    _softmax,
    lambda g, y, a, axis: _softmax_rule(g, y, axis),
    needs="y",
    rule=("y * (g - sum(g * y, axis, True))",),
    gate="vector to vector: Jacobian f_i (delta_ij - f_j)",
    math="exp(a) / sum of exp(a) over axis",
)


def softmax(x: Any, axis: int = -1, temperature: float = 1.0) -> Any:
    """``f_i = exp(x_i / T) / sum_j exp(x_j / T)`` along ``axis``, shifted by the maximum before ``exp``.

    Jacobian: ``f_i (delta_ij - f_j) / T`` (notes 001, "Softmax Classifier"). A large temperature T flattens it.

    Example:
        >>> import minigrad as mg
        >>> [round(p, 2) for p in mg.softmax(mg.tensor([3.2, 5.1, -1.7])).numpy().tolist()]
        [0.13, 0.87, 0.0]
    """
    return _soft(x if temperature == 1 else x / temperature, axis)


@_by_rows
def _log_softmax(x: Any, axis: int, out: Any = None) -> Any:
    shifted = write(subtract, out, x, _shift(x, axis))
    with np.errstate(divide="ignore"):
        return reuse(subtract, shifted, np.log(sum(np.exp(shifted), axis, True)))


@_by_rows
def _log_softmax_rule(g: Any, y: Any, axis: int, out: Any = None) -> Any:
    return write(subtract, out, g, reuse(multiply, exp(y), sum(g, axis, True)))


_log_soft = primitive(
    _log_softmax,
    lambda g, y, a, axis: _log_softmax_rule(g, y, axis),
    needs="y",
    rule=("g - exp(y) * sum(g, axis, True)",),
    gate="passes the gradient on, less softmax times its sum",
    math="a - log(sum of exp(a) over axis)",
)


def log_softmax(x: Any, axis: int = -1, temperature: float = 1.0) -> Any:
    """``log(softmax(x))`` along ``axis``, stable where softmax itself underflows.

    Example:
        >>> import minigrad as mg
        >>> round(-mg.log_softmax(mg.tensor([3.2, 5.1, -1.7]))[0].item(), 4)
        2.0404
    """
    return _log_soft(x if temperature == 1 else x / temperature, axis)


# Order: positions have no gradient; values are routed to where they came from
def _argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the largest element (the first of several). No gradient.

    Example:
        >>> import minigrad as mg
        >>> mg.argmax(mg.tensor([1.0, 5.0, 3.0])).item()
        1
    """
    return np.argmax(x, axis=axis, keepdims=keepdims)


def _argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the smallest element (the first of several). No gradient.

    Example:
        >>> import minigrad as mg
        >>> mg.argmin(mg.tensor([1.0, -5.0, 3.0])).item()
        1
    """
    return np.argmin(x, axis=axis, keepdims=keepdims)


def _argsort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """The positions that sort ``x`` along ``axis``; equal elements keep their order. No gradient.

    Example:
        >>> import minigrad as mg
        >>> mg.argsort(mg.tensor([3.0, 1.0, 2.0]), descending=True).numpy().tolist()
        [0, 2, 1]
    """
    if descending:
        return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    return np.argsort(x, axis=axis, kind="stable")


def _all(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether all elements over ``axis`` are true. No gradient.

    Example:
        >>> import minigrad as mg
        >>> mg.all(mg.tensor([1.0, 2.0]) > 0).item()
        True
    """
    return np.all(x, axis=axis, keepdims=keepdims)


def _any(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether any element over ``axis`` is true. No gradient.

    Example:
        >>> import minigrad as mg
        >>> mg.any(mg.tensor([1.0, 2.0]) > 5).item()
        False
    """
    return np.any(x, axis=axis, keepdims=keepdims)


argmax = primitive(_argmax, None, math="position of the maximum")
argmin = primitive(_argmin, None, math="position of the minimum")
argsort = primitive(_argsort, None, math="positions in sorted order")
all = primitive(_all, None, math="all of a over axis")
any = primitive(_any, None, math="any of a over axis")


def sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """``x`` sorted along ``axis``. Gate: gradient router, back to where each value came from.

    Example:
        >>> import minigrad as mg
        >>> mg.sort(mg.tensor([3.0, 1.0, 2.0])).numpy().tolist()
        [1.0, 2.0, 3.0]
    """
    return take_along_axis(x, argsort(x, axis, descending), axis)


def topk(x: Any, k: int, axis: int = -1, largest: bool = True) -> tuple[Any, Any]:
    """The ``k`` largest (or smallest) elements along ``axis``, best first, and their positions.

    Example:
        >>> import minigrad as mg
        >>> values, positions = mg.topk(mg.tensor([3.0, 1.0, 2.0]), 2)
        >>> values.numpy().tolist(), positions.numpy().tolist()
        ([3.0, 2.0], [0, 2])
    """
    if not 0 <= k <= x.shape[axis]:
        raise ShapeError(f"topk: k={k}, but axis {axis} of shape {tuple(x.shape)} has {x.shape[axis]} elements")
    positions = argsort(x, axis, largest)
    first = positions[(slice(None),) * (axis % x.ndim) + (slice(0, k),)]
    return take_along_axis(x, first, axis), first
