"""NumPy's functions on Tensors, under NumPy's own argument names, each composed of minigrad's operations.

:mod:`minigrad.numpy_protocol` holds the table that leads here. Where a function only moves elements about, NumPy itself moves
their positions and one indexing operation follows (:func:`moves`); where it only chooses some, NumPy chooses and the positions
of what it chose are looked up (:func:`picks`): so NumPy's semantics need no second description.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from minigrad import creation, ops, tracing
from minigrad.errors import DtypeError
from minigrad.graph import Handle, is_off
from minigrad.ops import where
from minigrad.primitive import unrecorded

Axis = int | tuple[int, ...] | None
Function = Callable[..., Any]


def given(x: Any) -> Any:
    """Something that has a shape: Tensors and arrays as they are, numbers and lists as NumPy would take them."""
    if isinstance(x, (list, tuple)) and any(isinstance(v, Handle) or hasattr(v, "shape") for v in x):
        return ops.stack([given(v) for v in x])
    return x if hasattr(x, "shape") else np.asarray(x)


def raw(x: Any) -> Any:
    """``x`` with arrays in place of its Tensors, in lists, tuples and dicts too."""
    if isinstance(x, dict):
        return {key: raw(value) for key, value in x.items()}
    if type(x) in (list, tuple):
        return type(x)(map(raw, x))
    if not isinstance(x, Handle):
        return x
    tracing.read(x, "np.asarray(tensor)")
    return x._data


def fixed(x: Any, what: str) -> Any:
    """The values of an argument that has no gradient; an error if one was asked for."""
    for leaf in _leaves(x):
        if isinstance(leaf, Handle) and leaf.node is not None and leaf.node.requires_grad and not is_off():
            raise DtypeError(f"{what} has no gradient here, but a tensor that requires one was given: pass its .detach()")
    return raw(x)


def steps(values: Any, *sources: Any) -> Any:
    """A piecewise constant result of ``sources``: ``values``, in their graph, with gradient 0."""
    y = np.asarray(values)
    for source in sources:
        if isinstance(source, Handle) and y.dtype.kind == "f":
            y = where(True, y, ops.reshape(source, (-1,))[:1].reshape(()) if source._data.size else 0.0)
    return y if isinstance(y, Handle) else wrapped(y)


def wrapped(y: Any) -> Any:
    """Arrays as Tensors without history, in tuples and lists too; anything else as it is."""
    if isinstance(y, (np.ndarray, np.generic)) and y.dtype.kind in "biufc":
        return unrecorded(np.asarray(y))
    if isinstance(y, (tuple, list)):
        return type(y)(*map(wrapped, y)) if hasattr(y, "_fields") else type(y)(map(wrapped, y))
    return y


def _leaves(x: Any) -> list[Any]:
    return list(itertools.chain.from_iterable(map(_leaves, x))) if type(x) in (list, tuple) else [x]


def _mapped(x: Any, f: Function) -> Any:
    return type(x)(_mapped(v, f) for v in x) if type(x) in (list, tuple) else f(x)


def _pool(operands: Sequence[Any]) -> Any:
    """All elements of the operands in one vector, after a zero: what a position 0 stands for."""
    leaves = [given(v) for v in operands]
    kind = np.result_type(*(v.dtype for v in leaves))
    flat = [ops.reshape(v, (-1,)) if v.dtype == kind else ops.astype(ops.reshape(v, (-1,)), kind) for v in leaves]
    return ops.concat([np.zeros(1, kind), *flat])


def _arguments(function: Function, args: Any, kwargs: Any) -> tuple[inspect.Signature, dict[str, Any]]:
    """A call's arguments by name, those included that may only be given by position."""
    signature = inspect.signature(function)
    named = {
        name: kwargs.pop(name) for name, p in signature.parameters.items() if p.kind is p.POSITIONAL_ONLY and name in kwargs
    }
    return signature, signature.bind(*named.values(), *args, **kwargs).arguments


def _call(function: Function, signature: inspect.Signature, arguments: dict[str, Any]) -> Any:
    bound = inspect.BoundArguments(signature, arguments)
    return function(*bound.args, **bound.kwargs)


def _ordered(like: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in like}


def _shape(v: Any) -> tuple[int, ...]:
    return tuple(v.shape) if hasattr(v, "shape") else np.shape(v)


def _blank(v: Any) -> Any:
    """Something of the shape and dtype of ``v``, whose values nobody reads."""
    return np.zeros(v.shape, v.dtype) if hasattr(v, "shape") else v


def moves(function: Function, *names: str) -> Function:
    """``function`` on Tensors, where all that it does is to move, copy or drop elements of the arguments called ``names``.

    NumPy runs it on positions instead of values, and one ``take`` from the elements does the rest. Gate: gradient router.
    """

    def moved(*args: Any, **kwargs: Any) -> Any:
        signature, bound = _arguments(function, args, kwargs)
        rest = {name: raw(value) for name, value in bound.items() if name not in names}
        blank = {name: _mapped(bound[name], _blank) for name in names if name in bound}
        plain = _call(function, signature, _ordered(bound, rest | blank))
        operands = [v for name in names if name in bound for v in _leaves(bound[name])]
        start = itertools.accumulate([1, *(math.prod(_shape(v)) for v in operands)])

        def positions(v: Any) -> Any:
            first = next(start)
            shape = _shape(v)
            return np.arange(first, first + math.prod(shape)).reshape(shape)

        at = _ordered(bound, rest | {name: _mapped(bound[name], positions) for name in names if name in bound})
        pool = _pool(operands)
        found = _call(function, signature, at)

        def fetch(place: Any, value: Any) -> Any:
            y = ops.take(pool, place)
            return y if y.dtype == value.dtype else ops.astype(y, value.dtype)

        if isinstance(found, (list, tuple)):
            return type(found)(fetch(place, value) for place, value in zip(found, plain))
        return fetch(found, plain)

    return moved


def picks(function: Function, *names: str) -> Function:
    """``function`` on Tensors, where the values it returns are values of the arguments called ``names``.

    Each value's gradient goes to the first element that has it. Of several results the first holds values, the others positions.
    """

    def picked(*args: Any, **kwargs: Any) -> Any:
        signature, bound = _arguments(function, args, kwargs)
        plain = _call(function, signature, raw(bound))
        several = isinstance(plain, tuple)
        values, *others = plain if several else (plain,)
        if values.dtype.kind not in "iuf":
            return wrapped(plain)
        pool = _pool([v for name in names if name in bound for v in _leaves(bound[name])])[1:]
        elements = raw(pool)
        order = np.argsort(elements, kind="stable")
        place = order[np.searchsorted(elements[order], values)]
        y = ops.take(pool, place)
        y = y if y.dtype == values.dtype else ops.astype(y, values.dtype)
        if not several:
            return y
        rest = map(wrapped, others)
        return type(plain)(y, *rest) if hasattr(plain, "_fields") else (y, *rest)

    return picked


# ---- sums, moments, extrema ----------------------------------------------------------------------------------------------


def _all_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    return tuple(range(ndim)) if axis is None else tuple(k % ndim for k in ((axis,) if isinstance(axis, int) else axis))


def sum(a: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    a = a if where is True else ops.where(where, a, 0)
    y = ops.sum(given(a), axis, keepdims, dtype)
    return y if initial is None else y + initial


def prod(a: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    a = a if where is True else ops.where(where, a, 1)
    y = ops.prod(given(a), axis, keepdims, dtype)
    return y if initial is None else y * initial


def _extremum(reduce: Function, choose: Function, name: str) -> Function:
    def extremum(a: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
        if where is not True:
            if initial is None:
                raise ValueError(f"{name}: where= needs initial=, the result where nothing is left")
            a = ops.where(where, a, initial)
        if initial is not None and not a.size:
            shape = np.zeros(a.shape).sum(axis, keepdims=keepdims).shape
            return ops.broadcast_to(ops.astype(given(initial), a.dtype), shape)
        y = reduce(given(a), axis, keepdims)
        return y if initial is None else choose(y, initial)

    return extremum


max = _extremum(ops.max, ops.maximum, "max")
min = _extremum(ops.min, ops.minimum, "min")


def ptp(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    return ops.max(given(a), axis, keepdims) - ops.min(given(a), axis, keepdims)


def _counted(a: Any, axis: Axis, keepdims: bool, mask: Any) -> Any:
    return np.sum(np.broadcast_to(raw(mask), a.shape), axis=axis, keepdims=keepdims)


def mean(a: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False, where: Any = True) -> Any:
    a = given(a)
    if where is True:
        return ops.mean(a, axis, keepdims, dtype)
    y = ops.mean(a, axis, keepdims, dtype)  # for the dtype that NumPy gives
    return ops.astype(sum(a, axis, dtype or y.dtype, keepdims, where=where) / _counted(a, axis, keepdims, where), y.dtype)


def var(
    a: Any, axis: Axis = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False, where: Any = True, mean: Any = None,
    correction: float | None = None,
) -> Any:  # fmt: skip
    ddof = ddof if correction is None else correction
    a = given(a) if dtype is None else ops.astype(given(a), dtype)
    if where is True and mean is None:
        return ops.var(a, axis, ddof, keepdims)
    total = _counted(a, axis, True, where)
    centre = sum(a, axis, keepdims=True, where=where) / total if mean is None else mean
    off = a - centre
    y = sum(off * off, axis, keepdims=keepdims, where=where) / (_counted(a, axis, keepdims, where) - ddof)
    kind = np.var(np.zeros(1, a.dtype)).dtype
    return y if y.dtype == kind else ops.astype(y, kind)


def _root(y: Any) -> Any:
    """The square root, with gradient 0 where it is 0: the kink of a standard deviation."""
    return where(y == 0, 0, ops.sqrt(where(y == 0, 1, y)))


def std(
    a: Any, axis: Axis = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False, where: Any = True, mean: Any = None,
    correction: float | None = None,
) -> Any:  # fmt: skip
    if where is True and mean is None:
        a = given(a) if dtype is None else ops.astype(given(a), dtype)
        return ops.std(a, axis, ddof if correction is None else correction, keepdims)
    return _root(var(a, axis, dtype, ddof, keepdims, where, mean, correction))


def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    a = given(a)
    if weights is None:
        y = ops.mean(a, axis, keepdims)
        total = creation.full(y.shape, a.size / np.maximum(y.size, 1), dtype=y.dtype)
    else:
        w = given(weights)
        kind = np.result_type(a.dtype, w.dtype, *(["f8"] if a.dtype.kind in "iub" else []))
        if w.shape != a.shape:
            axes = _all_axes(axis, a.ndim)
            if axis is None or w.shape != tuple(a.shape[k] for k in axes):
                raise ValueError(f"average: weights of shape {w.shape} for {a.shape} over axis {axis}: expected {a.shape}, or the sizes of those axes")  # fmt: skip
            order = sorted(range(len(axes)), key=axes.__getitem__)
            w = ops.permute_dims(w, tuple(order)).reshape(tuple(n if k in axes else 1 for k, n in enumerate(a.shape)))
            w = ops.broadcast_to(w, a.shape)
        total = ops.sum(w, axis, keepdims, kind)
        if np.any(raw(total) == 0):
            raise ZeroDivisionError("average: the weights sum to zero, so there is nothing to normalise by")
        y = ops.sum(a * w, axis, keepdims, kind) / total
    return (y, ops.broadcast_to(total, y.shape)) if returned else y


def cumulative(scan: Function) -> Function:
    def accumulate(x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
        if axis is None and given(x).ndim > 1:
            raise ValueError("an array of several axes needs axis= to say along which to accumulate")
        return scan(given(x), axis, include_initial, dtype)

    return accumulate


def cumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    return ops.cumulative_sum(given(a), axis, dtype=dtype)


def cumprod(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
    return ops.cumulative_prod(given(a), axis, dtype=dtype)


# NaNs left out
def _without(f: Function, filler: float) -> Function:
    """``f`` with NaNs replaced by what does not change it."""

    def skipping(a: Any, *args: Any, **kwargs: Any) -> Any:
        a = given(a)
        return f(where(ops.isnan(a), filler, a) if a.dtype.kind == "f" else a, *args, **kwargs)

    return skipping


nansum, nanprod, nancumsum, nancumprod = _without(sum, 0), _without(prod, 1), _without(cumsum, 0), _without(cumprod, 1)


def _nan_extremum(f: Function, filler: float) -> Function:
    def extremum(a: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
        a = given(a)
        if a.dtype.kind != "f":
            return f(a, axis, keepdims, initial, where)
        empty = ops.all(ops.isnan(a), axis, keepdims)
        y = f(ops.where(ops.isnan(a), filler, a), axis, keepdims, initial, where)
        return y if initial is not None else ops.where(empty, math.nan, y)

    return extremum


nanmax, nanmin = _nan_extremum(max, -math.inf), _nan_extremum(min, math.inf)


def _present(a: Any, mask: Any) -> Any:
    return ~np.isnan(raw(a)) & np.broadcast_to(raw(mask), a.shape)


def nanmean(a: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False, where: Any = True) -> Any:
    a = given(a)
    return mean(a, axis, dtype, keepdims, where) if a.dtype.kind != "f" else mean(a, axis, dtype, keepdims, _present(a, where))


def nanvar(
    a: Any, axis: Axis = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False, where: Any = True, mean: Any = None,
    correction: float | None = None,
) -> Any:  # fmt: skip
    a = given(a)
    mask = where if a.dtype.kind != "f" else _present(a, where)
    return var(a, axis, dtype, ddof, keepdims, mask, mean, correction)


def nanstd(a: Any, **kwargs: Any) -> Any:
    return _root(nanvar(a, **kwargs))


def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    x = given(x)
    if x.dtype.kind != "f":
        return +x
    info = np.finfo(x.dtype)
    x = where(ops.isnan(x), nan, x)
    x = where(x == math.inf, float(info.max) if posinf is None else posinf, x)
    return where(x == -math.inf, float(info.min) if neginf is None else neginf, x)


# ---- order ---------------------------------------------------------------------------------------------------------------


def _flat_for(a: Any, axis: int | None) -> tuple[Any, int]:
    a = given(a)
    return (ops.reshape(a, (-1,)), 0) if axis is None else (a, axis)


def sort(a: Any, axis: int | None = -1, kind: Any = None, stable: Any = None) -> Any:
    a, axis = _flat_for(a, axis)
    return ops.sort(a, axis)


def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect") -> Any:
    a, axis = _flat_for(a, axis)
    return ops.take_along_axis(a, np.argpartition(raw(a), raw(kth), axis, kind=kind), axis)  # type: ignore[arg-type]


def _joined(a: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """The axes to reduce as one last axis, and the shape with them kept as 1."""
    a = given(a)
    gone = _all_axes(axis, a.ndim)
    stay = [k for k in range(a.ndim) if k not in gone]
    a, shape = ops.permute_dims(a, (*stay, *gone)), a.shape
    kept = tuple(1 if k in gone else n for k, n in enumerate(shape))
    return ops.reshape(a, (*(shape[k] for k in stay), math.prod(shape[k] for k in gone))), kept


def _between(a: Any, position: Any) -> Any:
    """Sorted values at fractional positions of the last axis, interpolated as NumPy's ``_lerp`` does."""
    low = np.floor(position).astype(np.intp)
    high = np.minimum(low + 1, a.shape[-1] - 1)
    t = (position - low).astype(a.dtype)
    lower, upper = ops.take_along_axis(a, low, -1), ops.take_along_axis(a, high, -1)
    step = upper - lower
    return where(t == 0, lower, where(t >= 0.5, upper - step * (1 - t), lower + step * t))


_CONTINUOUS = {
    "linear": (1, 1), "weibull": (0, 0), "hazen": (1 / 2, 1 / 2), "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8),
    "interpolated_inverted_cdf": (0, 1),
}  # fmt: skip
"""Hyndman and Fan 1996's (alpha, beta): of n values quantile q stands at n q + alpha + q (1 - alpha - beta) - 1, from 0. The other
methods are step functions of q."""


def _with_q(a: Any, position: Any, counts: Any, q: Any, method: str) -> Any:
    """0, whose gradient in q is the slope of :func:`_between` times that of the position; 0 beyond both ends."""
    alpha, beta = _CONTINUOUS[method]
    slope = counts + 1 - alpha - beta
    place = slope * raw(q) + alpha - 1
    low = np.floor(position).astype(np.intp)
    high = np.minimum(low + 1, a.shape[-1] - 1)
    rise = ops.take_along_axis(a, high, -1) - ops.take_along_axis(a, low, -1)
    return rise * (slope * ((place >= 0) & (place < counts - 1))).astype(a.dtype) * (q - raw(q))


def quantiles(name: str, skip: bool, unit: float) -> Function:
    """NumPy's quantile functions: the position of each quantile is the quantile of the positions 0, 1, ..., n - 1."""

    def quantile(
        a: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False, weights: Any = None, **_: Any
    ) -> Any:
        if weights is not None:
            if skip:
                raise DtypeError(f"np.{name}: weights= is not differentiable here; leave the NaNs out and use np.quantile")
            chosen = picks(getattr(np, name), "a")
            return chosen(
                a, fixed(q, f"np.{name}: q"), axis, method=method, keepdims=keepdims, weights=fixed(weights, "weights")
            )
        moving, asked, q = q, raw(q), np.asarray(raw(q))
        flat, kept = _joined(a, axis)
        kind = getattr(np, name)(np.zeros(1, flat.dtype), asked, method=method).dtype
        flat = flat if flat.dtype == kind else ops.astype(flat, kind)
        values = raw(flat)
        ordered = ops.sort(flat)
        bad = np.isnan(values).sum(-1, keepdims=True)
        n = values.shape[-1]
        counts = n - bad if skip else np.full_like(bad, n)
        where_to = np.zeros((*values.shape[:-1], q.size))
        for count in np.unique(counts):
            if count:
                found = np.quantile(np.arange(float(count)), q.ravel() / unit, method=method)  # type: ignore[call-overload]
                where_to = np.where(counts == count, found, where_to)
        y = _between(ordered, where_to)
        if isinstance(moving, Handle) and method in _CONTINUOUS:
            y = y + _with_q(ordered, where_to, counts, ops.reshape(moving, (-1,)) / unit, method)
        y = where(counts == 0 if skip else bad > 0, math.nan, y)
        y = ops.moveaxis(y, -1, 0)
        if keepdims:
            y = ops.reshape(y, (q.size, *kept))
        return ops.reshape(y, (*q.shape, *y.shape[1:]))

    return quantile


def medians(skip: bool) -> Function:
    def median(a: Any, axis: Axis = None, keepdims: bool = False, **_: Any) -> Any:
        flat, kept = _joined(a, axis)
        if flat.dtype.kind != "f":
            flat = ops.astype(flat, np.float64)
        values = raw(flat)
        ordered = ops.sort(flat)
        bad = np.isnan(values).sum(-1, keepdims=True)
        n = values.shape[-1]
        counts = n - bad if skip else np.full_like(bad, n)
        low, high = np.maximum(counts - 1, 0) // 2, np.minimum(counts // 2, np.maximum(n - 1, 0))
        lower, upper = ops.take_along_axis(ordered, low, -1), ops.take_along_axis(ordered, high, -1)
        y = where(low == high, lower, (lower + upper) / 2)
        y = where(counts == 0 if skip else bad > 0, math.nan, y)
        return ops.reshape(y, kept if keepdims else y.shape[:-1])

    return median


def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    filt = given(filt)
    places = np.argwhere(raw(filt))
    axes = _all_axes(axis, filt.ndim)
    front, back = "f" in trim.lower(), "b" in trim.lower()
    if not len(places):
        return filt[tuple(slice(0, 0) if k in axes else slice(None) for k in range(filt.ndim))]
    first, last = places.min(0).tolist(), (places.max(0) + 1).tolist()
    return filt[
        tuple(
            slice(i if front and k in axes else None, j if back and k in axes else None)
            for k, (i, j) in enumerate(zip(first, last))
        )
    ]


# ---- shapes --------------------------------------------------------------------------------------------------------------


def reshape(a: Any, shape: Any, order: str = "C") -> Any:
    a = given(a)
    if order in ("F", "A") and (order == "F" or (raw(a).flags.f_contiguous and not raw(a).flags.c_contiguous)):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        return ops.transpose(ops.reshape(ops.transpose(a), shape[::-1]))
    return ops.reshape(a, shape)


def ravel(a: Any, order: str = "C") -> Any:
    a = given(a)
    if order == "K":
        order = "F" if raw(a).flags.f_contiguous and not raw(a).flags.c_contiguous else "C"
    return reshape(a, -1, order)


def joined(function: Function, prepare: Function, axis: int | None) -> Function:
    """Concatenate and its relatives: bring every array to enough axes, cast, concatenate."""

    def concatenate(arrays: Any, axis: Any = axis, dtype: Any = None, casting: str = "same_kind") -> Any:
        parts = [prepare(given(a)) for a in arrays]
        kind = np.result_type(*(p.dtype for p in parts)) if dtype is None else np.dtype(dtype)
        for p in parts:
            if not np.can_cast(p.dtype, kind, casting):  # type: ignore[arg-type]
                raise DtypeError(f"np.{function.__name__}: cannot cast {p.dtype} to {kind} under casting={casting!r}")
        parts = [p if p.dtype == kind else ops.astype(p, kind) for p in parts]
        if axis is None:
            return ops.concat([ops.reshape(p, (-1,)) for p in parts])
        return ops.concat(parts, axis)

    def tupled(tup: Any, dtype: Any = None, casting: str = "same_kind") -> Any:
        parts = [prepare(given(a)) for a in tup]
        along = 0 if function is np.hstack and parts and parts[0].ndim == 1 else axis
        return concatenate(parts, along, dtype, casting)

    return tupled if "tup" in inspect.signature(function).parameters else concatenate


def column(a: Any) -> Any:
    return ops.reshape(a, (-1, 1)) if a.ndim < 2 else a


def stack(arrays: Any, axis: int = 0, dtype: Any = None, casting: str = "same_kind") -> Any:
    y = ops.stack([given(a) for a in arrays], axis)
    return y if dtype is None else ops.astype(y, dtype)


def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    both = [given(arr), given(values)]
    return ops.concat([ops.reshape(v, (-1,)) for v in both], 0) if axis is None else ops.concat(both, axis)


def meshgrid(*xi: Any, sparse: bool = False, indexing: str = "xy", copy: bool = True) -> Any:
    if not sparse:
        return tuple(ops.meshgrid(*xi, indexing=indexing))
    shapes = [s.shape for s in np.meshgrid(*map(raw, xi), sparse=True, indexing=indexing)]  # type: ignore[call-overload]
    return tuple(ops.reshape(given(x), s) for x, s in zip(xi, shapes))


def pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    a = given(array)
    if isinstance(pad_width, dict) or mode in ("constant", "empty", "edge", "symmetric", "wrap", "reflect"):
        if options.get("reflect_type", "even") == "odd" and mode in ("reflect", "symmetric"):
            return _oddly(a, np.pad(np.empty(a.shape, bool), raw(pad_width), mode), raw(pad_width), mode)
        return moves(_pad, "array", "constant_values")(a, raw(pad_width), mode, **options)
    if mode not in _BORDER:
        raise DtypeError(f"np.pad: mode={mode!r} on a Tensor: a function writes in place; expected one of NumPy's named modes")
    widths = np.broadcast_to(np.asarray(pad_width), (a.ndim, 2)).tolist()
    lengths = options.get("stat_length")
    lengths = np.broadcast_to(np.asarray(lengths), (a.ndim, 2)).tolist() if lengths is not None else [(None, None)] * a.ndim
    ends = np.broadcast_to(np.asarray(fixed(options.get("end_values", 0), "np.pad: end_values")), (a.ndim, 2)).tolist()
    for k, sides in enumerate(widths):
        parts = [a]
        for side, width in enumerate(sides):
            block = _BORDER[mode](a, k, side, width, lengths[k][side], ends[k][side])
            block = ops.round(block) if a.dtype.kind in "iu" and block.dtype.kind == "f" else block
            block = block if block.dtype == a.dtype else ops.astype(block, a.dtype)
            parts.insert(0 if side == 0 else len(parts), block)
        a = ops.concat(parts, k)
    return a


def _oddly(a: Any, like: Any, pad_width: Any, mode: str) -> Any:
    """A border mirrored at the point of the edge, ``2 edge - mirrored``, in as many turns as the width takes."""
    if isinstance(pad_width, dict):
        pad_width = [pad_width.get(k, pad_width.get(k - a.ndim, 0)) for k in range(a.ndim)]
        pad_width = [(w, w) if isinstance(w, int) else w for w in pad_width]
    skip = int(mode == "reflect")
    for k, (left, right) in enumerate(np.broadcast_to(np.asarray(pad_width), (a.ndim, 2)).tolist()):
        period = a.shape[k] - skip
        if period < 1:  # a single element is mirrored onto itself
            a = ops.take(a, np.zeros(like.shape[k], int), k)
            continue
        while left > 0 or right > 0:
            step = (a.shape[k] - skip) // period * period
            n, before, after = a.shape[k], int(np.minimum(step, left)), int(np.minimum(step, right))
            first, last = ops.take(a, [0], k), ops.take(a, [n - 1], k)
            low = 2 * first - ops.take(a, np.arange(before - 1, -1, -1) + skip, k)
            high = 2 * last - ops.take(a, n - 1 - skip - np.arange(after), k)
            a = ops.concat([low, a, high], k)
            left, right = left - before, right - after
    return a


def _pad(array: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0, **options: Any) -> Any:
    if mode == "constant":
        return np.pad(array, pad_width, mode, constant_values=constant_values)  # type: ignore[call-overload]
    if mode == "empty":  # whose content NumPy leaves open
        return np.pad(array, pad_width)
    return np.pad(array, pad_width, mode, **options)  # type: ignore[call-overload]


def _statistic(f: Function) -> Function:
    def border(a: Any, k: int, side: int, width: int, length: int | None, end: Any) -> Any:
        n = a.shape[k]
        length = n if length is None else np.minimum(length, n)
        part = slice(0, int(length)) if side == 0 else slice(n - int(length), n)
        edge = f(a[(slice(None),) * k + (part,)], axis=k, keepdims=True)
        return ops.broadcast_to(edge, tuple(width if j == k else m for j, m in enumerate(a.shape)))

    return border


def _ramp(a: Any, k: int, side: int, width: int, length: int | None, end: Any) -> Any:
    at = (slice(None),) * k + (slice(0, 1) if side == 0 else slice(a.shape[k] - 1, None),)
    t = (np.arange(width) / width if width else np.zeros(0)).reshape((-1,) + (1,) * (a.ndim - k - 1))
    t = t if side == 0 else np.flip(t, 0)
    y = end + (a[at] - end) * t
    return y if a.dtype.kind == "f" else ops.trunc(y)


_BORDER: dict[str, Function] = {
    "maximum": _statistic(max), "minimum": _statistic(min), "mean": _statistic(mean), "median": _statistic(medians(False)),
    "linear_ramp": _ramp,
}  # fmt: skip


# ---- indexing and choosing -----------------------------------------------------------------------------------------------


def where_(condition: Any, x: Any = None, y: Any = None) -> Any:
    return wrapped(np.nonzero(raw(condition))) if x is None and y is None else where(condition, x, y)


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    x = given(x)
    conditions = [np.asarray(raw(c)) for c in (condlist if isinstance(condlist, (list, tuple)) and np.ndim(raw(condlist[0])) else [raw(condlist)])]  # fmt: skip
    if len(funclist) == len(conditions) + 1:
        conditions.append(~np.any(conditions, axis=0))
    if len(funclist) != len(conditions):
        raise ValueError(
            f"np.piecewise: {len(funclist)} functions for {len(conditions)} conditions: expected as many, or one more"
        )
    y: Any = np.zeros(x.shape, x.dtype)
    for condition, f in zip(conditions, funclist):
        value = f(x[condition], *args, **kw) if callable(f) else f
        y = ops.index_set(y, condition, value)
    return ops.astype(y, x.dtype) if y.dtype != x.dtype else y


def apply_along_axis(func1d: Function, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    rows = ops.moveaxis(given(arr), axis, -1)
    lead = rows.shape[:-1]
    flat = ops.reshape(rows, (-1, rows.shape[-1]))
    results = [given(func1d(flat[i], *args, **kwargs)) for i in range(flat.shape[0])]
    y = ops.stack(results)
    y = ops.reshape(y, (*lead, *results[0].shape))
    for k in range(results[0].ndim):
        y = ops.moveaxis(y, len(lead) + k, axis % len(rows.shape) + k)
    return y


def apply_over_axes(func: Function, a: Any, axes: Any) -> Any:
    a = given(a)
    for axis in (axes,) if isinstance(axes, int) else axes:
        y = func(a, axis)
        a = ops.expand_dims(y, axis) if y.ndim < a.ndim else y
    return a


# ---- differences, integrals, signals -------------------------------------------------------------------------------------


def _along(ndim: int, axis: int, part: Any) -> tuple[Any, ...]:
    return (slice(None),) * (axis % ndim) + (part,)


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    a = given(a)
    if n < 0:
        raise ValueError(f"np.diff: n={n}; expected a number of differences, 0 or more")
    if n == 0:
        return a
    ends = [prepend, append]
    for i, end in enumerate(ends):
        if end is not None:
            end = given(end)
            shape = tuple(1 if k == axis % a.ndim else m for k, m in enumerate(a.shape))
            ends[i] = ops.broadcast_to(end, shape) if end.ndim == 0 else end
    parts = [p for p in (ends[0], a, ends[1]) if p is not None]
    a = ops.concat(parts, axis) if len(parts) > 1 else a
    op = ops.not_equal if a.dtype == bool else ops.subtract
    for _ in range(n):
        a = op(a[_along(a.ndim, axis, slice(1, None))], a[_along(a.ndim, axis, slice(None, -1))])
    return a


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    a = ops.reshape(given(ary), (-1,))
    middle = a[1:] - a[:-1]
    ends = [e if e is None else ops.astype(ops.reshape(given(e), (-1,)), a.dtype) for e in (to_begin, to_end)]
    parts = [p for p in (ends[0], middle, ends[1]) if p is not None]
    return ops.concat(parts) if len(parts) > 1 else middle


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    y = given(y)
    if x is not None:
        x = given(x)
        dx = x[1:] - x[:-1] if x.ndim == 1 else diff(x, axis=axis)
        if x.ndim == 1:
            dx = ops.reshape(dx, tuple(-1 if k == axis % y.ndim else 1 for k in range(y.ndim)))
    upper, lower = y[_along(y.ndim, axis, slice(1, None))], y[_along(y.ndim, axis, slice(None, -1))]
    return ops.sum(dx * (upper + lower) / 2.0, axis)


def gradient(f: Any, *varargs: Any, axis: Axis = None, edge_order: int = 1) -> Any:
    f = given(f)
    f = f if f.dtype.kind == "f" else ops.astype(f, np.float64)
    axes = _all_axes(axis, f.ndim)
    spacing = list(varargs) or [1.0] * len(axes)
    spacing = spacing * len(axes) if len(spacing) == 1 and np.ndim(raw(spacing[0])) == 0 else spacing
    if len(spacing) != len(axes):
        raise TypeError(
            f"np.gradient: {len(spacing)} spacings for {len(axes)} axes: expected none, one number, or one per axis"
        )
    if edge_order not in (1, 2):
        raise ValueError(f"np.gradient: edge_order={edge_order}; expected 1 or 2")
    slopes = (_slope(f, h, k, edge_order) for h, k in zip(spacing, axes))
    found = tuple(y if y.dtype == f.dtype else ops.astype(y, f.dtype) for y in slopes)
    return found[0] if len(found) == 1 else found


def _slope(f: Any, h: Any, axis: int, edge_order: int) -> Any:
    n = f.shape[axis]
    if n < edge_order + 1:
        raise ValueError(f"np.gradient: axis {axis} has {n} elements; edge_order={edge_order} needs {edge_order + 1}")

    def at(part: Any) -> Any:
        return f[_along(f.ndim, axis, part)]

    def spread(v: Any) -> Any:
        return ops.reshape(v, tuple(-1 if k == axis else 1 for k in range(f.ndim))) if uneven else v

    uneven = np.ndim(raw(h)) > 0
    h = given(h) if uneven else h
    if uneven:
        d = h[1:] - h[:-1]
        first, second = spread(d[:-1]), spread(d[1:])
        left, right = d[:1], d[-1:]
    else:
        d = first = second = left = right = h
    if uneven:
        a, b, c = -second / (first * (first + second)), (second - first) / (first * second), first / (second * (first + second))
        inner = a * at(slice(None, -2)) + b * at(slice(1, -1)) + c * at(slice(2, None))
    else:
        inner = (at(slice(2, None)) - at(slice(None, -2))) / (2.0 * h)
    if edge_order == 1:
        begin, end = (
            (at(slice(1, 2)) - at(slice(0, 1))) / spread(left),
            (at(slice(-1, None)) - at(slice(-2, -1))) / spread(right),
        )
    else:
        p, q = (spread(d[:1]), spread(d[1:2])) if uneven else (h, h)
        begin = (
            -(2.0 * p + q) / (p * (p + q)) * at(slice(0, 1))
            + (p + q) / (p * q) * at(slice(1, 2))
            - p / (q * (p + q)) * at(slice(2, 3))
        )
        p, q = (spread(d[-2:-1]), spread(d[-1:])) if uneven else (h, h)
        end = (
            q / (p * (p + q)) * at(slice(-3, -2))
            - (q + p) / (p * q) * at(slice(-2, -1))
            + (2.0 * q + p) / (q * (p + q)) * at(slice(-1, None))
        )
    return ops.concat([begin, inner, end], axis)


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    x, xp, fp = (ops.astype(given(v), np.float64) for v in (x, xp, fp))
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise ValueError(f"np.interp: xp and fp have shapes {xp.shape} and {fp.shape}: expected two vectors of one length")
    if period is not None:
        period = fixed(abs(period), "np.interp: period")
        x, xp = x % period, xp % period
        order = np.argsort(raw(xp))
        xp, fp = ops.take(xp, order), ops.take(fp, order)
        xp, fp = ops.concat([xp[-1:] - period, xp, xp[:1] + period]), ops.concat([fp[-1:], fp, fp[:1]])
        left = right = None
    n = xp.shape[0]
    values, knots = raw(x), raw(xp)
    i = np.clip(np.searchsorted(knots, values, side="right") - 1, 0, np.maximum(n - 2, 0))
    j = np.minimum(i + 1, n - 1)
    x0, x1, y0, y1 = ops.take(xp, i), ops.take(xp, j), ops.take(fp, i), ops.take(fp, j)
    width = x1 - x0
    y = (y1 - y0) / where(width == 0, 1, width) * (x - x0) + y0
    y = where(values == knots[j], y1, y)
    y = where(values < knots[0], fp[0] if left is None else left, y)
    return where(values > knots[-1], fp[-1] if right is None else right, y)


def unwrap(p: Any, discont: Any = None, axis: int = -1, period: float = 2 * math.pi) -> Any:
    values = raw(given(p))
    whole = np.unwrap(values, discont, axis, period=period)
    y = given(p) + (whole - values)
    return y if y.dtype == whole.dtype else ops.astype(y, whole.dtype)


def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    a, v = given(a), given(v)
    if a.shape[0] < v.shape[0]:
        return ops.flip(ops.convolve(v, ops.flip(a), mode))
    return ops.convolve(a, ops.flip(v), mode)


def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None,
    aweights: Any = None, dtype: Any = None,
) -> Any:  # fmt: skip
    X = ops.atleast_2d(given(m))
    X = ops.transpose(X) if not rowvar and given(m).ndim != 1 else X
    if y is not None:
        Y = ops.atleast_2d(given(y))
        X = ops.concat([X, ops.transpose(Y) if not rowvar and given(y).ndim != 1 else Y])
    X = ops.astype(X, dtype or np.result_type(X.dtype, np.float64))
    ddof = (0 if bias else 1) if ddof is None else ddof
    w: Any = None
    if fweights is not None:
        w = np.asarray(fixed(fweights, "np.cov: fweights"))
    if aweights is not None:
        aweights = ops.astype(given(aweights), np.float64)
        w = aweights if w is None else w * aweights
    total = X.shape[1] if w is None else ops.sum(w)
    centre = ops.mean(X, 1, True) if w is None else ops.sum(X * w, 1, True) / total
    X = X - centre
    if w is None:
        factor: Any = total - ddof
    elif ddof == 0:
        factor = total
    else:
        factor = total - ddof * (ops.sum(w * aweights) / total if aweights is not None else 1)
    return ops.squeeze(ops.matmul(X, ops.transpose(X if w is None else X * w)) / factor)


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, dtype: Any = None) -> Any:
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    s = ops.sqrt(ops.diagonal(c))
    return ops.clip(c / s[:, None] / s[None, :], -1, 1)


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    if weights is None:
        return wrapped(np.bincount(raw(x), minlength=minlength))
    x = np.asarray(raw(x))
    n = len(np.bincount(x, minlength=minlength))
    return ops.index_add(np.zeros(n), x, ops.astype(given(weights), np.float64))


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    if isinstance(bins, str):  # a rule chooses how many, which is a step function of the values
        bins = len(np.histogram_bin_edges(raw(given(a)), bins, raw(range))) - 1
    if np.ndim(raw(bins)):
        return given(bins)
    values, span = given(a), fixed(range, "np.histogram_bin_edges: range")
    plain = np.histogram_bin_edges(raw(values), bins, span)
    if span is not None or not raw(values).size or raw(values).min() == raw(values).max():
        return wrapped(plain)
    return ops.astype(linspace(ops.min(values), ops.max(values), raw(bins) + 1), plain.dtype)


def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    values = raw(given(a))
    edges = histogram_bin_edges(a, bins, range)
    plain, borders = np.histogram(values, raw(bins), raw(range), density, None if weights is None else raw(weights))
    if weights is None:
        y: Any = np.histogram(values, raw(bins), raw(range))[0]
    else:
        inside = (values >= borders[0]) & (values <= borders[-1])
        place = np.minimum(np.searchsorted(borders, values[inside], "right") - 1, len(borders) - 2)
        y = ops.index_add(np.zeros(len(borders) - 1), place, ops.getitem(given(weights), inside))
    y = y / (edges[1:] - edges[:-1]) / ops.sum(y) if density else y
    return (wrapped(y) if y.dtype == plain.dtype else ops.astype(y, plain.dtype)), edges


def histogramdd(sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """Counts are step functions of the sample; in the weights they are linear: each goes to its bin."""
    rows = raw(sample)
    plain, edges = np.histogramdd(rows, bins, range, density, None if weights is None else raw(weights))
    if weights is None:
        return wrapped(plain), wrapped(edges)
    columns = np.asarray(rows) if hasattr(rows, "shape") else np.transpose(np.asarray(rows))
    columns = columns.reshape(-1, 1) if columns.ndim == 1 else columns
    inside = np.ones(len(columns), bool)
    places = []
    for column, borders in zip(columns.T, edges):
        inside &= (column >= borders[0]) & (column <= borders[-1])
        # NumPy's own rule: from the right, but for the last border, which belongs to the last bin
        places.append(np.searchsorted(borders, column, "right") - 1 - (column == borders[-1]))
    flat = np.ravel_multi_index([place[inside] for place in places], plain.shape)
    total = ops.index_add(np.zeros(plain.size), flat, ops.astype(ops.getitem(given(weights), inside), np.float64))
    y = ops.reshape(total, plain.shape)
    if density:
        volume = reduce(np.multiply.outer, [np.diff(borders) for borders in edges])
        y = y / volume / ops.sum(y)
    return y, wrapped(edges)


def histogram2d(x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    columns = np.stack([np.asarray(raw(x)), np.asarray(raw(y))], -1)
    try:
        several = len(bins)
    except TypeError:
        several = 0
    bins = [np.asarray(raw(bins))] * 2 if several not in (0, 1, 2) else raw(bins)
    counts, edges = histogramdd(columns, bins, range, density, weights)
    return counts, edges[0], edges[1]


# ---- polynomials ---------------------------------------------------------------------------------------------------------


def polyval(p: Any, x: Any) -> Any:
    p = given(p)
    y: Any = creation.zeros_like(given(x))
    for i in range(p.shape[0]):
        y = y * x + p[i]
    return y


def _aligned(op: Function) -> Function:
    def combine(a1: Any, a2: Any) -> Any:
        a, b = ops.atleast_1d(given(a1)), ops.atleast_1d(given(a2))
        n = np.maximum(a.shape[0], b.shape[0])
        return op(ops.pad(a, ((int(n) - a.shape[0], 0),)), ops.pad(b, ((int(n) - b.shape[0], 0),)))

    return combine


polyadd, polysub = _aligned(ops.add), _aligned(ops.subtract)


def polymul(a1: Any, a2: Any) -> Any:
    return ops.convolve(*(_trimmed(ops.atleast_1d(given(a))) for a in (a1, a2)), "full")


def _trimmed(a: Any) -> Any:
    filled = np.flatnonzero(raw(a))
    return a[int(filled[0]) :] if len(filled) else a[:1]


def polydiv(u: Any, v: Any) -> Any:
    u, v = ops.atleast_1d(given(u)), ops.atleast_1d(given(v))
    kind = np.result_type(u.dtype, v.dtype, 0.0)
    u, v = (x if x.dtype == kind else ops.astype(x, kind) for x in (u, v))
    m, n = u.shape[0] - 1, v.shape[0] - 1
    scale = 1.0 / v[0]
    quotient = []
    rest = u
    for k in range(m - n + 1):
        d = scale * rest[k]
        quotient.append(d)
        rest = ops.index_add(rest, slice(k, k + n + 1), -d * v)
    q = ops.stack(quotient) if quotient else np.zeros(1, kind)
    while raw(rest).shape[0] > 1 and np.allclose(raw(rest)[0], 0, rtol=1e-14):
        rest = rest[1:]
    return q, rest


def polyder(p: Any, m: int = 1) -> Any:
    p = given(p)
    for _ in range(m):
        p = p[:-1] * np.arange(p.shape[0] - 1, 0, -1)
    return p


def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    p = given(p)
    constants = np.zeros(m) if k is None else given(k)
    constants = ops.broadcast_to(ops.reshape(constants, (-1,)), (m,)) if constants.size == 1 else constants
    for i in range(m):
        p = ops.concat([p / np.arange(p.shape[0], 0, -1), constants[i : i + 1]])
    return p


def poly(seq_of_zeros: Any) -> Any:
    z = ops.atleast_1d(given(seq_of_zeros))
    if z.ndim == 2:
        return _characteristic(z)
    z = ops.astype(z, np.result_type(z.dtype, 0.0)) if z.dtype.kind != "f" else z
    y: Any = np.ones(1, z.dtype)
    for i in range(z.shape[0]):
        y = ops.convolve(y, ops.stack([np.ones((), z.dtype), -z[i]]), "full")
    return y


def _characteristic(a: Any) -> Any:
    """The coefficients of det(x I - A), which NumPy takes from the eigenvalues, as polynomials of the elements of A.

    ``M_k = A M_{k-1} + c_{k-1} I, c_k = -tr(A M_k) / k``: Faddeev and LeVerrier's recursion. Eigenvalues may meet.
    """
    if a.shape[0] != a.shape[1]:
        raise ValueError(f"np.poly: expected a vector or a square matrix, got shape {tuple(a.shape)}")
    kind = np.result_type(a.dtype, 0.0)
    a = a if a.dtype == kind else ops.astype(a, kind)
    coefficients: list[Any] = [np.ones((), kind)]
    product: Any = a * 0
    for k in range(1, a.shape[0] + 1):
        product = ops.matmul(a, product) + coefficients[-1] * np.eye(a.shape[0], dtype=kind)
        coefficients.append(trace(ops.matmul(a, product)) / -k)
    return ops.stack(coefficients)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    x = given(x)
    n = x.shape[0] if N is None else N
    x = ops.astype(x, np.promote_types(x.dtype, int))
    column = ops.broadcast_to(x[:, None], (x.shape[0], int(np.maximum(n - 1, 0))))
    ones = np.ones((x.shape[0], int(np.minimum(n, 1))), x.dtype)
    y = ops.concat([ones, ops.cumulative_prod(column, 1)], 1) if n > 1 else ones
    return y if increasing else ops.flip(y, 1)


def polyfit(x: Any, y: Any, deg: int, rcond: Any = None, w: Any = None, full: bool = False, cov: Any = False) -> Any:
    x, y = given(x) + 0.0, given(y) + 0.0
    lhs = vander(x, deg + 1)
    if w is not None:
        w = given(w) + 0.0
        lhs, y = lhs * w[:, None], y * (w[:, None] if y.ndim == 2 else w)
    scale = ops.sqrt(ops.sum(lhs * lhs, 0))
    rcond = x.shape[0] * np.finfo(x.dtype).eps if rcond is None else rcond
    c, residuals, rank, singular = ops.lstsq(lhs / scale, y, rcond)
    c = ops.transpose(ops.transpose(c) / scale)
    if full:
        return c, residuals, rank, singular, rcond
    if cov is False:
        return c
    variance = ops.inv(ops.matmul(ops.matrix_transpose(lhs), lhs))
    spare = x.shape[0] - (deg + 1)
    if cov == "unscaled":
        factor: Any = 1.0
    elif spare <= 0:
        raise ValueError(
            f"np.polyfit: the covariance of {deg + 1} coefficients needs more than {deg + 1} points, got {x.shape[0]}"
        )
    else:
        factor = residuals / spare
    return c, variance * factor if y.ndim == 1 else variance[:, :, None] * factor


# ---- linear algebra ------------------------------------------------------------------------------------------------------


def einsum(*operands: Any, optimize: Any = False, dtype: Any = None, casting: str = "safe", order: str = "K") -> Any:
    if not isinstance(operands[0], str):
        *pairs, out = operands if len(operands) % 2 else (*operands, None)
        letters = {
            label: chr(97 + i) for i, label in enumerate(sorted({k for s in pairs[1::2] for k in s if k is not Ellipsis}))
        }

        def spell(subscripts: Any) -> str:
            return "".join("..." if k is Ellipsis else letters[k] for k in subscripts)

        equation = ",".join(map(spell, pairs[1::2])) + ("" if out is None else "->" + spell(out))
        operands = (equation, *pairs[::2])
    equation, *arrays = operands
    arrays = [given(a) if dtype is None else ops.astype(given(a), dtype) for a in arrays]
    y = ops.einsum(equation, *arrays)
    kind = np.result_type(*(a.dtype for a in arrays))
    return y if y.dtype == kind else ops.astype(y, kind)


def vdot(a: Any, b: Any) -> Any:
    return ops.dot(ops.reshape(given(a), (-1,)), ops.reshape(given(b), (-1,)))


def dot(a: Any, b: Any) -> Any:
    return ops.dot(given(a), given(b))


def outer(a: Any, b: Any) -> Any:
    return ops.reshape(given(a), (-1, 1)) * ops.reshape(given(b), (1, -1))


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = ops.moveaxis(given(a), axisa, -1), ops.moveaxis(given(b), axisb, -1)
    if 2 in (a.shape[-1], b.shape[-1]):
        flat = a.shape[-1] == b.shape[-1] == 2
        if flat:
            return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
        a, b = (ops.pad(v, ((0, 0),) * (v.ndim - 1) + ((0, 3 - v.shape[-1]),)) for v in (a, b))
    return ops.moveaxis(ops.cross(a, b), -1, axisc)


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    return ops.sum(ops.diagonal(given(a), offset, axis1, axis2), -1, False, dtype)


def kron(a: Any, b: Any) -> Any:
    return ops.kron(given(a), given(b))


def cholesky(a: Any, upper: bool = False) -> Any:
    L = ops.cholesky(given(a) if not upper else ops.matrix_transpose(given(a)))
    return ops.matrix_transpose(L) if upper else L


def _symmetric(a: Any, UPLO: str) -> Any:
    """The symmetric matrix that NumPy reads from one triangle."""
    half = ops.tril(given(a)) if UPLO.upper() == "L" else ops.triu(given(a))
    inner = ops.tril(half, -1) if UPLO.upper() == "L" else ops.triu(half, 1)
    return half + ops.matrix_transpose(inner)


def eigh(a: Any, UPLO: str = "L") -> Any:
    return np.linalg._linalg.EighResult(*ops.eigh(_symmetric(a, UPLO)))


def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return ops.eigvalsh(_symmetric(a, UPLO))


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    a = given(a)
    if not compute_uv:
        return ops.sort(ops.abs(ops.eigvalsh(a)), descending=True) if hermitian else ops.svdvals(a)
    if hermitian:  # A = V diag(l) V^T: the singular values are |l|, and one side takes the signs
        values, vectors = ops.eigh(a)
        order = np.argsort(np.abs(raw(values)), -1)[..., ::-1]
        values = ops.take_along_axis(values, order, -1)
        vectors = ops.take_along_axis(vectors, np.broadcast_to(order[..., None, :], vectors.shape), -1)
        signs = np.sign(raw(values))
        return ops.SVDResult(vectors, values * signs, ops.matrix_transpose(vectors * signs[..., None, :]))
    found = ops.svd(a, False)
    m, n = a.shape[-2:]
    if not full_matrices or m == n:
        return found
    U, _, Vh = np.linalg.svd(raw(a))
    k = m if m < n else n
    whole = _completed(found.U, U[..., k:], k, -1), _completed(found.Vh, Vh[..., k:, :], k, -2)
    return ops.SVDResult(whole[0], found.S, whole[1])


def _completed(vectors: Any, others: Any, k: int, axis: int) -> Any:
    """Singular vectors and those that complete their basis, which are arbitrary: a gradient that arrives there is refused."""
    if not others.shape[axis]:
        return vectors
    y = ops.concat([vectors, others.astype(vectors.dtype, copy=False)], axis)

    def refuse(g: Any) -> None:
        if np.any(np.moveaxis(raw(g), axis, 0)[k:]):
            raise DtypeError(
                "np.linalg.svd: with full_matrices=True the vectors beyond the smaller side are arbitrary and have no derivative: "
                "pass full_matrices=False"
            )

    if isinstance(y, Handle) and y.node is not None and y.node.requires_grad:
        y.register_hook(refuse)  # type: ignore[attr-defined]
    return y


def qr(a: Any, mode: str = "reduced") -> Any:
    if mode == "r":
        return ops.qr(given(a)).R
    if mode == "raw":
        raise DtypeError("np.linalg.qr: mode='raw' returns LAPACK's reflectors, which have no gradient: use mode='reduced'")
    return ops.qr(given(a), mode)


def pinv(a: Any, rcond: Any = None, hermitian: bool = False, rtol: Any = None) -> Any:
    rtol = rtol if rcond is None else rcond
    return ops.pinv(given(a), 1e-15 if rtol is None else rtol)


def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    return ops.lstsq(given(a), given(b), rcond)


def solve(a: Any, b: Any) -> Any:
    return ops.solve(given(a), given(b))


def cond(x: Any, p: Any = None) -> Any:
    x = given(x)
    if p in (None, 2, -2):
        s = ops.svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return ops.matrix_norm(x, p) * ops.matrix_norm(ops.inv(x), p)


def multi_dot(arrays: Any) -> Any:
    return reduce(ops.matmul, [given(a) for a in arrays])


def tensorinv(a: Any, ind: int = 2) -> Any:
    a = given(a)
    rows = math.prod(a.shape[ind:])
    return ops.reshape(ops.inv(ops.reshape(a, (rows, -1))), (*a.shape[ind:], *a.shape[:ind]))


def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    a, b = given(a), given(b)
    if axes is not None:
        stay = [k for k in range(a.ndim) if k not in [j % a.ndim for j in axes]]
        a = ops.permute_dims(a, (*stay, *axes))
    shape = a.shape[b.ndim :]
    n = math.prod(shape)
    return ops.reshape(ops.solve(ops.reshape(a, (n, n)), ops.reshape(b, (-1,))), shape)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = given(x)
    return ops.norm(x if x.dtype.kind == "f" else ops.astype(x, np.float64), ord, axis, keepdims)


def vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    return ops.vector_norm(given(x), ord, axis, keepdims)


def matrix_norm(x: Any, keepdims: bool = False, ord: Any = "fro") -> Any:
    return ops.matrix_norm(given(x), ord, keepdims=keepdims)


def diagonal_of_matrices(x: Any, offset: int = 0) -> Any:
    return ops.diagonal(given(x), offset, -2, -1)


def trace_of_matrices(x: Any, offset: int = 0, dtype: Any = None) -> Any:
    return trace(x, offset, -2, -1, dtype)


# ---- new arrays from values ----------------------------------------------------------------------------------------------


def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0, device: Any = None
) -> Any:  # fmt: skip
    div = num - 1 if endpoint else num
    kind = np.linspace(raw(start), raw(stop), 0).dtype
    start, stop = (ops.astype(given(v), kind) for v in (start, stop))
    step = (stop - start) / div if div > 0 else steps(math.nan)
    shape = np.broadcast_shapes(start.shape, stop.shape)
    t = np.arange(num, dtype=kind).reshape((-1,) + (1,) * len(shape))
    y = t * step + start if div > 0 else t * (stop - start) + start
    if endpoint and num > 1:
        y = ops.concat([y[:-1], ops.broadcast_to(stop + start * 0, shape)[None]])
    y = ops.astype(y, dtype or kind)
    y = ops.moveaxis(y, 0, axis) if axis else y
    return (y, step) if retstep else y


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    y = ops.power(base, linspace(start, stop, num, endpoint))
    y = ops.moveaxis(y, 0, axis) if axis else y
    return y if dtype is None else ops.astype(y, dtype)


def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    kind = np.geomspace(raw(start), raw(stop), 1).dtype
    start, stop = (ops.astype(given(v), kind) for v in (start, stop))
    if np.any(raw(start) * raw(stop) <= 0):
        raise ValueError("np.geomspace: start and stop must both be positive or both be negative")
    sign = np.sign(raw(start))
    first, last = sign * start, sign * stop
    y = ops.power(10.0, linspace(ops.log10(first), ops.log10(last), num, endpoint))
    if num > 0:
        head, tail = ops.broadcast_to(first, y.shape[1:])[None], ops.broadcast_to(last, y.shape[1:])[None]
        y = ops.concat([head, y[1:-1], tail]) if endpoint and num > 1 else ops.concat([head, y[1:]])
    y = y * sign
    y = ops.moveaxis(y, 0, axis) if axis else y
    return y if dtype is None else ops.astype(y, dtype)


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, shape: Any = None, order: str = "K", subok: bool = True, device: Any = None
) -> Any:
    value = ops.astype(given(fill_value), dtype or a.dtype)
    return +ops.broadcast_to(value, a.shape if shape is None else shape)


# ---- rounding and parts --------------------------------------------------------------------------------------------------


def rounded(a: Any, decimals: int = 0) -> Any:
    return steps(np.round(raw(given(a)), decimals), a)


def clip(a: Any, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None) -> Any:
    return ops.clip(given(a), a_min if min is None else min, a_max if max is None else max)


def angle(z: Any, deg: bool = False) -> Any:
    return steps(np.angle(raw(z), deg), z)


def imag(val: Any) -> Any:
    return steps(np.zeros_like(raw(val)), val)
