"""NumPy's functions on Tensors: ``np.*``, ``np.linalg.*`` and ``np.fft.*`` are recorded and differentiated.

NumPy asks a Tensor what to do (``__array_ufunc__``, NEP 13; ``__array_function__``, NEP 18) and the two tables here answer:
``UFUNCS`` and ``FUNCTIONS``, one row per function, with its status. A function has NumPy's own signature, values and dtypes.
The call goes through NumPy's dispatch and a bound signature, 5 to 10 us; minigrad's own functions of the same names do not.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import fft, guards, ops, tracing
from minigrad import numpy_functions as f
from minigrad.errors import DtypeError, MinigradError, ShapeError
from minigrad.graph import ALL, Handle, is_off, next_order, recording, tensors_in
from minigrad.numpy_functions import given, moves, picks, raw, wrapped
from minigrad.ops import where
from minigrad.primitive import unrecorded

GRADIENT, FLAT, PLAIN, WRITES, REFUSED = "differentiable", "no derivative", "plain values", "writes in place", "refused"
STATUSES = {
    GRADIENT: "recorded and differentiated, with NumPy's signature, values and dtypes",
    FLAT: "works on every tensor; its result is a tensor without a gradient, because the derivative is zero or there is none",
    PLAIN: "works on every tensor; tells something about it, or writes it to a file",
    WRITES: "works on tensors that no gradient is asked of; otherwise refused before anything is changed",
    REFUSED: "works on tensors that no gradient is asked of; otherwise refused, because the result would depend on it unrecorded",
}


@dataclass(frozen=True)
class Row:
    """What happens to one function of NumPy: its status, what runs in its place, and why."""

    status: str
    run: Callable[..., Any] | None = None
    why: str = ""


# ---- ufuncs --------------------------------------------------------------------------------------------------------------


def _float(x: Any) -> Any:
    """``x`` as the dtype that a floating ufunc gives it."""
    x = given(x)
    return x if x.dtype.kind == "f" else ops.astype(x, np.sqrt(np.zeros(1, x.dtype)).dtype)


def _copysign(a: Any, b: Any) -> Any:
    a = _float(a)
    y = where(np.signbit(raw(a)) != np.signbit(raw(b)), -a, a)
    kind = np.result_type(a.dtype, raw(b))
    return y if y.dtype == kind else ops.astype(y, kind)


def _either(choose: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, b: where(ops.isnan(a), b, where(ops.isnan(b), a, choose(a, b)))


def _frexp(a: Any) -> Any:
    mantissa, exponent = np.frexp(raw(given(a)))
    plain = mantissa / where(raw(a) == 0, 1, raw(a)) if not isinstance(a, Handle) else None
    factor = np.ldexp(np.ones_like(mantissa), -exponent) if plain is None else plain
    finite = np.isfinite(mantissa)
    return where(finite, where(finite, _float(a), 0) * factor, mantissa), wrapped(exponent)


def _ldexp(a: Any, i: Any) -> Any:
    a = _float(a)
    y = np.ldexp(raw(a), raw(i))
    return ops.astype(a * np.ldexp(np.ones((), y.dtype), raw(i)), y.dtype)


def _modf(a: Any) -> Any:
    a = _float(a)
    whole = ops.trunc(a)
    return where(ops.isinf(a), f.steps(np.modf(raw(a))[0], a), a - whole), whole


def _heaviside(a: Any, h: Any) -> Any:
    y = np.heaviside(raw(a), raw(h))
    return ops.astype(where(np.equal(raw(a), 0), h, f.steps(y, a)), y.dtype)


def _float_power(a: Any, b: Any) -> Any:
    return ops.power(ops.astype(given(a), np.float64), ops.astype(given(b), np.float64))


def _core(product: Callable[..., Any], *core: int) -> Callable[..., Any]:
    """A generalised ufunc's ``axis=``, ``axes=`` and ``keepdims=``."""

    def along(a: Any, b: Any, axis: int = -1, axes: Any = None, keepdims: bool = False) -> Any:
        a, b = given(a), given(b)
        out = None
        if axes is not None:
            places = [(k,) if isinstance(k, int) else tuple(k) for k in axes]
            a, b = (ops.moveaxis(x, place, tuple(range(-n, 0))) if n else x for x, place, n in zip((a, b), places, core))
            out = places[2] if len(places) > 2 else ()
        elif axis != -1:
            a, b = ops.moveaxis(a, axis, -1), ops.moveaxis(b, axis, -1)
        y = product(a, b)
        if keepdims:
            return ops.moveaxis(ops.expand_dims(y, -1), -1, axis)
        return ops.moveaxis(y, tuple(range(-len(out), 0)), out) if out else y

    return along


def _vecdot(a: Any, b: Any) -> Any:
    return ops.sum(a * b, -1) if a.dtype != bool else ops.any(a & b, -1)


UFUNCS: dict[Any, Row] = {
    op.op.forward: Row(GRADIENT if op.op.pulls else FLAT, op, "0: a step function" if "constant" in op.op.gate else "")
    for op in (value for value in vars(ops).values() if isinstance(getattr(getattr(value, "op", None), "forward", None), np.ufunc))
}  # fmt: skip
UFUNCS |= {
    np.conjugate: Row(GRADIENT, lambda a: ops.positive(a)),
    np.copysign: Row(GRADIENT, _copysign, "the sign is a step function"),
    np.deg2rad: Row(GRADIENT, lambda a: _float(a) * (np.pi / 180)),
    np.radians: Row(GRADIENT, lambda a: _float(a) * (np.pi / 180)),
    np.rad2deg: Row(GRADIENT, lambda a: _float(a) * (180 / np.pi)),
    np.degrees: Row(GRADIENT, lambda a: _float(a) * (180 / np.pi)),
    np.divmod: Row(GRADIENT, lambda a, b: (ops.floor_divide(a, b), ops.remainder(a, b))),
    np.fabs: Row(GRADIENT, lambda a: ops.abs(_float(a))),
    np.float_power: Row(GRADIENT, _float_power),
    np.power: Row(GRADIENT, ops.power),
    np.fmax: Row(GRADIENT, _either(ops.maximum)),
    np.fmin: Row(GRADIENT, _either(ops.minimum)),
    np.frexp: Row(GRADIENT, _frexp, "the mantissa; the exponent is a step function"),
    np.heaviside: Row(GRADIENT, _heaviside, "in the value at 0; 0 elsewhere"),
    np.ldexp: Row(GRADIENT, _ldexp),
    np.matmul: Row(GRADIENT, _core(ops.matmul, 2, 2)),
    np.modf: Row(GRADIENT, _modf, "the fraction; the whole part is a step function"),
    np.vecdot: Row(GRADIENT, _core(_vecdot, 1, 1)),
    np.nextafter: Row(REFUSED, None, "it is a question about rounding: its result is x to within one unit in the last place"),
    np.spacing: Row(FLAT, None, "steps from one power of 2 to the next"),
}
for _name, _product in {
    "matvec": _core(lambda a, v: ops.matmul(a, v[..., None])[..., 0], 2, 1),
    "vecmat": _core(lambda v, a: ops.matmul(v[..., None, :], a)[..., 0, :], 1, 2),
}.items():
    if hasattr(np, _name):  # NumPy 2.2
        UFUNCS[getattr(np, _name)] = Row(GRADIENT, _product)
_STEPS = "true or false, or integers"
UFUNCS |= {u: Row(FLAT, None, _STEPS) for u in vars(np).values() if isinstance(u, np.ufunc) and u not in UFUNCS}


def _asking(value: Any) -> bool:
    return any(t.node is not None and t.node.requires_grad for t in tensors_in(value))


def _recording(*values: Any) -> bool:
    return not is_off() and _asking(values)


def _real(ufunc: Any, inputs: tuple[Any, ...]) -> bool:
    """Whether all inputs are real. Of complex ones NumPy computes, and nothing is recorded."""
    if not any(getattr(x, "dtype", _REAL).kind == "c" for x in inputs):
        return True
    if _recording(inputs):
        raise DtypeError(f"np.{ufunc.__name__} of complex numbers and a tensor that requires a gradient: {_COMPLEX}")
    return False


_REAL = np.dtype(np.float64)


def _records(*values: Any) -> bool:
    """Whether what is computed from ``values`` becomes part of a graph."""
    return recording.get()[0] >= ALL or _recording(*values)


def _plainly(function: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """NumPy itself on the arrays, where there is nothing to record; ``out=`` is written as NumPy does."""
    out = kwargs.get("out")
    if out is None:
        return wrapped(function(*raw(args), **raw(kwargs)))
    targets = out if isinstance(out, tuple) else (out,)
    for target in (t for t in targets if t is not None):
        _check_out(name, target, None)
    function(*raw(args), **raw(kwargs))
    for target in targets:
        if isinstance(target, Handle) and target.node is not None:
            guards.written(target._data, target.node, next_order())
    return out if len(targets) > 1 else targets[0]


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What ``Tensor.__array_ufunc__`` returns."""
    row = UFUNCS.get(ufunc)
    if row is not None and row.status == GRADIENT and method == "__call__" and not options and _real(ufunc, inputs):
        return row.run(*inputs)  # type: ignore[misc]
    name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    if method == "at":
        return _at(ufunc, name, *inputs)
    if not _records(inputs, options):
        return _plainly(getattr(ufunc, method), name, inputs, options)
    if row is None or row.status == REFUSED:
        if _recording(inputs, options):
            raise DtypeError(f"{name} on a Tensor is not differentiable here: {row.why if row else 'minigrad does not know this ufunc'}. "
                             f"Use minigrad's own functions, or .detach() for the bare values")  # fmt: skip
        row = Row(FLAT)
    out = options.pop("out", None)
    for option in ("subok", "order"):
        options.pop(option, None)
    if row.run is None:
        y = wrapped(getattr(ufunc, method)(*raw(inputs), **raw(options)))
    elif method == "__call__":
        y = _call(ufunc, row.run, name, inputs, options, out)
    else:
        y = _METHODS[method](ufunc, row.run, *inputs, **{k: v for k, v in options.items() if v is not None or k == "axis"})
    return y if out is None else _into(name, out, y)


def _call(ufunc: Any, run: Callable[..., Any], name: str, inputs: Any, options: dict[str, Any], out: Any) -> Any:
    mask = options.get("where", True)
    core = {k: v for k, v in options.items() if k in ("axis", "axes", "keepdims")}
    kinds = {k: options[k] for k in ("casting", "signature", "sig") if k in options}
    signature = kinds.pop("sig", kinds.pop("signature", None))
    if options.get("dtype") is not None:
        signature = (None,) * ufunc.nin + (np.dtype(options["dtype"]),) * ufunc.nout
    if signature is not None or kinds:
        sorts = tuple(type(x) if type(x) in (int, float, complex) else given(x).dtype for x in inputs)
        if isinstance(signature, str) and "->" in signature:
            left, right = signature.split("->")
            signature = tuple(map(np.dtype, left + right))
        fixed = {} if signature is None else {"signature": signature}
        loop = ufunc.resolve_dtypes(sorts + (None,) * ufunc.nout, **fixed, **kinds)
        inputs = [ops.astype(given(x), kind) for x, kind in zip(inputs, loop)]
    y = run(*inputs, **core)
    if mask is True:
        return y
    if isinstance(y, tuple):
        raise DtypeError(f"{name}: where= of several outputs is not supported on Tensors: use mg.where on each")
    # NumPy leaves what is masked out uninitialised where there is no out=; here it is 0.
    return where(mask, y, 0 if out is None or out[0] is None else raw(out[0]).copy())


def _into(name: str, out: Any, y: Any) -> Any:
    """``out=``: the result in a tensor that nothing else refers to yet, which thereby becomes part of the graph."""
    targets = out if isinstance(out, tuple) else (out,)
    results = y if isinstance(y, tuple) else (y,)
    for target, result in zip(targets, results):
        if target is not None:
            _check_out(name, target, result)
    written = tuple(r if t is None else _write(t, r) for t, r in zip(targets, results))
    return written if len(results) > 1 else written[0]


def _references(tensor: Handle) -> int:
    return sys.getrefcount(tensor._data)


_OWN = _references(unrecorded(np.zeros(1)))
"""What getrefcount counts for an array that one Tensor alone holds."""


def _check_out(name: str, target: Any, result: Any) -> None:
    if result is not None and target.shape != result.shape:
        raise ShapeError(f"{name}: out has shape {target.shape}, but the result has shape {result.shape}")
    if result is not None and not np.can_cast(result.dtype, target.dtype, "same_kind"):
        raise DtypeError(f"{name}: out is {target.dtype}, and the result is {result.dtype}, which does not go into it safely")
    if tracing.active.get() is not None:
        tracing.refuse(f"{name} with out=", "use the result that it returns")
    if not _recording(target, result):
        return
    if not isinstance(target, Handle):
        raise MinigradError(f"{name}: out is an array, which would take the values of a recorded result and lose its history: "
                            f"leave out= away, or give a Tensor such as mg.empty(shape)")  # fmt: skip
    if target.node is not None and (target.node.requires_grad or target.node.op is not None):
        raise MinigradError(f"{name}: out is part of the graph already, and its old value may still be needed: leave out= away")
    if _references(target) > _OWN:
        raise MinigradError(f"{name}: out shares its memory with an array, a view or a recorded value, which would see the new values "
                            f"without their history: give a new Tensor such as mg.empty(shape), or leave out= away")  # fmt: skip


def _write(target: Any, result: Any) -> Any:
    value = result if result.dtype == target.dtype else ops.astype(given(result), target.dtype)
    if _recording(value):
        target._data, target.node = value._data, value.node
        return target
    array = target._data if isinstance(target, Handle) else target
    np.copyto(array, value._data if isinstance(value, Handle) else value)
    if isinstance(target, Handle) and target.node is not None:
        guards.written(array, target.node, next_order())
    return target


# Methods of ufuncs
def _reduce(
    ufunc: Any, run: Any, a: Any, axis: Any = 0, dtype: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Any:  # fmt: skip
    a = given(a)
    initial = None if initial is np._NoValue else initial
    if ufunc in _REDUCTIONS:
        y = _REDUCTIONS[ufunc](a, axis, **_set(dtype=dtype, keepdims=keepdims, initial=initial, where=where))
        # np.add.reduce, unlike np.sum, adds small integers in int64 as well: the same dtype.
        return y
    if where is not True:
        if initial is None and ufunc.identity is None:
            raise ValueError(f"np.{ufunc.__name__}.reduce: where= needs initial=")
        a = ops.where(where, a, ufunc.identity if ufunc.identity is not None else initial)
    a = a if dtype is None else ops.astype(a, dtype)
    axes = sorted(f._all_axes(axis, a.ndim))
    last, kept = f._joined(a, tuple(axes))
    parts = [last[..., i] for i in range(last.shape[-1])]
    parts = parts if initial is None else [ops.broadcast_to(ops.astype(given(initial), a.dtype), last.shape[:-1]), *parts]
    if not parts and ufunc.identity is not None:
        parts = [ops.broadcast_to(np.asarray(ufunc.identity, a.dtype), last.shape[:-1])]
    y = functools.reduce(run, parts)
    return ops.reshape(y, kept) if keepdims else y


def _set(**options: Any) -> dict[str, Any]:
    return {k: v for k, v in options.items() if v is not None and v is not True and v is not False} | {
        k: v for k, v in options.items() if k == "keepdims" and v
    }


def _accumulate(ufunc: Any, run: Any, a: Any, axis: int = 0, dtype: Any = None) -> Any:
    a = given(a)
    if ufunc in _SCANS:
        return _SCANS[ufunc](a, axis, dtype=dtype)
    a = a if dtype is None else ops.astype(a, dtype)
    first = ops.moveaxis(a, axis, 0)
    found = [first[i] for i in range(first.shape[0])]
    for i in range(1, len(found)):
        found[i] = run(found[i - 1], found[i])
    return ops.moveaxis(ops.stack(found), 0, axis) if found else a


def _reduceat(ufunc: Any, run: Any, a: Any, indices: Any, axis: int = 0, dtype: Any = None) -> Any:
    a = given(a)
    first = ops.moveaxis(a, axis, 0)
    starts = np.asarray(raw(indices)).tolist()
    parts = []
    for i, start in enumerate(starts):
        stop = starts[i + 1] if i + 1 < len(starts) else first.shape[0]
        parts.append(_reduce(ufunc, run, first[start : max(stop, start + 1)], 0, dtype))
    return ops.moveaxis(ops.stack(parts), 0, axis)


def _outer(ufunc: Any, run: Any, a: Any, b: Any, **options: Any) -> Any:
    a, b = given(a), given(b)
    return _call(ufunc, run, f"np.{ufunc.__name__}.outer", (ops.reshape(a, tuple(a.shape) + (1,) * b.ndim), b), options, None)


def _at(ufunc: Any, name: str, a: Any, indices: Any, b: Any = None) -> None:
    if _recording(a, b):
        own = {np.add: "x = x.at[indices].add(b)", np.multiply: "x = x.at[indices].multiply(b)"}.get(
            ufunc, "x = x.at[indices].set(...)"
        )
        raise MinigradError(f"{name} writes into its first argument, which would change what the graph has recorded: use {own}")
    _written(a, lambda array: ufunc.at(array, raw(indices), *([] if b is None else [raw(b)])), name)


def _written(target: Any, write: Callable[[Any], Any], name: str) -> Any:
    """Write into a tensor that no gradient is asked of; earlier graphs that saved its values are told."""
    if tracing.active.get() is not None:
        tracing.refuse(name, "use the functional form, which returns a new tensor")
    found = write(target._data if isinstance(target, Handle) else target)
    if isinstance(target, Handle) and target.node is not None:
        guards.written(target._data, target.node, next_order())
    return found


_METHODS: dict[str, Callable[..., Any]] = {"reduce": _reduce, "accumulate": _accumulate, "reduceat": _reduceat, "outer": _outer}
_REDUCTIONS: dict[Any, Callable[..., Any]] = {np.add: f.sum, np.multiply: f.prod}
_SCANS: dict[Any, Callable[..., Any]] = {np.add: f.cumsum, np.multiply: f.cumprod}


# ---- functions -----------------------------------------------------------------------------------------------------------


def _one(op: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """``op`` with NumPy's argument names, in order."""

    def call(**arguments: Any) -> Any:
        values = [arguments.pop(name) for name in names if name in arguments]
        return op(given(values[0]), *values[1:], **arguments)

    return call


def _any_shape(op: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arys: op(given(arys[0])) if len(arys) == 1 else tuple(op(given(a)) for a in arys)


_MOVES = {
    "array_split": "ary", "block": "arrays", "choose": "choices", "compress": "a", "delete": "arr", "diag": "v", "diagflat": "v",
    "dsplit": "ary", "extract": "arr", "fliplr": "m", "flipud": "m", "hsplit": "ary", "insert": "arr values", "repeat": "a",
    "resize": "a", "rollaxis": "a", "rot90": "m", "select": "choicelist default", "split": "ary", "take": "a", "tile": "A",
    "vsplit": "ary", "fft.fftshift": "x", "fft.ifftshift": "x", "tril": "m", "triu": "m",
}  # fmt: skip
_PICKS = {
    "unique": "ar", "unique_all": "x", "unique_counts": "x", "unique_inverse": "x", "unique_values": "x", "union1d": "ar1 ar2",
    "intersect1d": "ar1 ar2", "setdiff1d": "ar1", "setxor1d": "ar1 ar2",
}  # fmt: skip
_RUN: dict[str, Callable[..., Any]] = {
    "amax": f.max, "amin": f.min, "angle": f.angle, "append": f.append, "apply_along_axis": f.apply_along_axis,
    "apply_over_axes": f.apply_over_axes, "around": f.rounded, "astype": _one(ops.astype, "x", "dtype"),
    "atleast_1d": _any_shape(ops.atleast_1d), "atleast_2d": _any_shape(ops.atleast_2d), "atleast_3d": _any_shape(ops.atleast_3d),
    "average": f.average, "bincount": f.bincount, "broadcast_arrays": lambda *args: tuple(ops.broadcast_arrays(*map(given, args))),
    "broadcast_to": _one(ops.broadcast_to, "array", "shape"), "clip": f.clip,
    "column_stack": f.joined(np.column_stack, f.column, 1), "concat": f.joined(np.concatenate, given, 0),
    "concatenate": f.joined(np.concatenate, given, 0), "convolve": _one(lambda a, v, mode="full": ops.convolve(a, given(v), mode), "a", "v", "mode"),
    "copy": _one(ops.copy, "a"), "corrcoef": f.corrcoef, "correlate": f.correlate, "cov": f.cov, "cross": f.cross,
    "cumprod": f.cumprod, "cumsum": f.cumsum, "cumulative_prod": f.cumulative(ops.cumulative_prod),
    "cumulative_sum": f.cumulative(ops.cumulative_sum), "diagonal": _one(ops.diagonal, "a"), "diff": f.diff, "dot": f.dot,
    "dstack": f.joined(np.dstack, ops.atleast_3d, 2), "ediff1d": f.ediff1d, "einsum": f.einsum,
    "expand_dims": _one(ops.expand_dims, "a", "axis"), "fix": lambda x: ops.trunc(given(x)), "flip": _one(ops.flip, "m", "axis"),
    "full_like": f.full_like, "geomspace": f.geomspace, "gradient": f.gradient, "histogram": f.histogram, "histogram2d": f.histogram2d, "histogram_bin_edges": f.histogram_bin_edges, "histogramdd": f.histogramdd,
    "hstack": f.joined(np.hstack, ops.atleast_1d, 1), "i0": lambda x: ops.bessel(_float(x), 0), "imag": f.imag,
    "inner": lambda a, b: ops.inner(given(a), given(b)), "interp": f.interp, "kron": f.kron, "linspace": f.linspace,
    "logspace": f.logspace, "matrix_transpose": _one(ops.matrix_transpose, "x"), "max": f.max, "mean": f.mean,
    "median": f.medians(skip=False), "meshgrid": f.meshgrid, "min": f.min, "moveaxis": _one(ops.moveaxis, "a", "source", "destination"),
    "nan_to_num": f.nan_to_num, "nancumprod": f.nancumprod, "nancumsum": f.nancumsum, "nanmax": f.nanmax, "nanmean": f.nanmean,
    "nanmedian": f.medians(skip=True), "nanmin": f.nanmin, "nanpercentile": f.quantiles("nanpercentile", True, 100),
    "nanprod": f.nanprod, "nanquantile": f.quantiles("nanquantile", True, 1), "nanstd": f.nanstd, "nansum": f.nansum, "nanvar": f.nanvar,
    "outer": f.outer, "pad": f.pad, "partition": f.partition, "percentile": f.quantiles("percentile", False, 100),
    "permute_dims": _one(ops.transpose, "a", "axes"), "piecewise": f.piecewise, "poly": f.poly, "polyadd": f.polyadd,
    "polyder": f.polyder, "polydiv": f.polydiv, "polyfit": f.polyfit, "polyint": f.polyint, "polymul": f.polymul, "polysub": f.polysub,
    "polyval": f.polyval, "prod": f.prod, "ptp": f.ptp, "quantile": f.quantiles("quantile", False, 1), "ravel": f.ravel,
    "real": lambda val: val, "real_if_close": lambda a, tol=100: a, "reshape": f.reshape, "roll": _one(ops.roll, "a", "shift", "axis"),
    "round": f.rounded, "sinc": lambda x: ops.sinc(_float(x)), "sort": f.sort, "squeeze": _one(ops.squeeze, "a", "axis"), "stack": f.stack,
    "std": f.std, "sum": f.sum, "swapaxes": _one(ops.swapaxes, "a", "axis1", "axis2"),
    "take_along_axis": lambda arr, indices, axis=-1: ops.take_along_axis(*((arr, indices, axis) if axis is not None else (ops.reshape(given(arr), (-1,)), indices, 0))),
    "tensordot": lambda a, b, axes=2: ops.tensordot(given(a), given(b), axes), "trace": f.trace,
    "transpose": _one(ops.transpose, "a", "axes"), "trapezoid": f.trapezoid, "trim_zeros": f.trim_zeros,
    "unstack": lambda x, axis=0: tuple(ops.unstack(x, axis)), "unwrap": f.unwrap, "vander": f.vander, "var": f.var, "vdot": f.vdot,
    "vstack": f.joined(np.vstack, ops.atleast_2d, 0), "where": f.where_,
    "linalg.cholesky": f.cholesky, "linalg.cond": f.cond, "linalg.cross": lambda x1, x2, axis=-1: f.cross(x1, x2, axis=axis),
    "linalg.det": _one(ops.det, "a"), "linalg.diagonal": f.diagonal_of_matrices, "linalg.eigh": f.eigh, "linalg.eigvalsh": f.eigvalsh,
    "linalg.inv": _one(ops.inv, "a"), "linalg.lstsq": f.lstsq, "linalg.matmul": lambda x1, x2: ops.matmul(given(x1), given(x2)),
    "linalg.matrix_norm": f.matrix_norm, "linalg.matrix_power": _one(ops.matrix_power, "a", "n"),
    "linalg.matrix_transpose": _one(ops.matrix_transpose, "x"), "linalg.multi_dot": f.multi_dot,
    "linalg.norm": f.norm,
    "linalg.outer": lambda x1, x2: f.outer(x1, x2), "linalg.pinv": f.pinv, "linalg.qr": f.qr, "linalg.slogdet": _one(ops.slogdet, "a"),
    "linalg.solve": f.solve, "linalg.svd": f.svd, "linalg.svdvals": _one(ops.svdvals, "x"),
    "linalg.tensordot": lambda x1, x2, axes=2: ops.tensordot(given(x1), given(x2), axes), "linalg.tensorinv": f.tensorinv,
    "linalg.tensorsolve": f.tensorsolve, "linalg.trace": f.trace_of_matrices,
    "linalg.vecdot": lambda x1, x2, axis=-1: _core(_vecdot, 1, 1)(x1, x2, axis), "linalg.vector_norm": f.vector_norm,
}  # fmt: skip
_NOTES = {
    "angle": "0 on the reals: a step function", "around": "0: a step function", "round": "0: a step function", "fix": "0: a step function",
    "histogram": "in the weights, and the edges in the values", "histogram2d": "in the weights", "histogramdd": "in the weights", "bincount": "in the weights", "imag": "0 on the reals",
    "quantile": "in the values, and in q where the method is continuous", "percentile": "in the values, and in q where the method is continuous",
    "nanquantile": "in the values, and in q where the method is continuous", "nanpercentile": "in the values, and in q where the method is continuous",
    "poly": "of roots, or of a matrix", "cov": "fweights, counts, have no gradient",
    "pad": "a function as mode is refused", "partition": "elements between the kth may come in another order",
    "linalg.qr": "mode='raw' is refused",
}  # fmt: skip

_COMPLEX = "its input or output is complex, and gradients of complex tensors are not supported: keep real and imaginary parts as two tensors"
_WHOLE = {
    "all", "allclose", "any", "argmax", "argmin", "argpartition", "argsort", "argwhere", "array_equal", "array_equiv", "count_nonzero",
    "diag_indices_from", "digitize", "flatnonzero", "isclose", "iscomplex", "isin",
    "isneginf", "isposinf", "isreal", "ix_", "lexsort", "nanargmax", "nanargmin", "nonzero", "packbits", "ravel_multi_index", "searchsorted",
    "tril_indices_from", "triu_indices_from", "unpackbits", "unravel_index", "linalg.matrix_rank", "empty_like", "ones_like", "zeros_like",
}  # fmt: skip
_TELLS = {
    "array2string", "array_repr", "array_str", "can_cast", "common_type", "einsum_path", "iscomplexobj", "isrealobj", "may_share_memory",
    "min_scalar_type", "ndim", "result_type", "save", "savetxt", "savez", "savez_compressed", "shape", "shares_memory", "size",
}  # fmt: skip
_INTO = {
    "copyto": "x.at[...].set(v)", "fill_diagonal": "x.at[np.diag_indices(n)].set(v)", "place": "mg.where(mask, v, x)", "put": "x.at[i].set(v)",
    "put_along_axis": "mg.put_along_axis(x, i, v, axis), which returns a new tensor", "putmask": "mg.where(mask, v, x)",
}  # fmt: skip
_NOT = {
    "roots": "roots of a polynomial are complex in general: differentiate np.polyval at a root, root' = -p'(root, c) / p_x(root)",
    "sort_complex": _COMPLEX,
    "linalg.eig": "eigenvalues of a general matrix are complex: use np.linalg.eigh for a symmetric one",
    "linalg.eigvals": "eigenvalues of a general matrix are complex: use np.linalg.eigvalsh for a symmetric one",
    "busday_count": "dates: no tensor has that dtype",
    "busday_offset": "dates: no tensor has that dtype",
    "is_busday": "dates: no tensor has that dtype",
    "datetime_as_string": "dates: no tensor has that dtype",
}


def function_named(name: str) -> Any:
    """``"linalg.norm"`` -> ``np.linalg.norm``; None where the installed NumPy does not have it."""
    place, _, last = name.rpartition(".")
    return getattr(getattr(np, place) if place else np, last, None)


def _table() -> dict[Any, Row]:
    rows: dict[str, Row] = {name: Row(GRADIENT, run, _NOTES.get(name, "")) for name, run in _RUN.items()}
    for maker, named in ((moves, _MOVES), (picks, _PICKS)):
        rows |= {
            name: Row(GRADIENT, maker(function_named(name), *names.split()), _NOTES.get(name, ""))
            for name, names in named.items()
            if function_named(name) is not None
        }
    rows |= {name: Row(FLAT, None, "true or false, positions, counts, or a new array") for name in _WHOLE}
    rows |= {name: Row(PLAIN) for name in _TELLS}
    rows |= {name: Row(WRITES, None, f"use {instead}") for name, instead in _INTO.items()}
    rows |= {name: Row(REFUSED, None, why) for name, why in _NOT.items()}
    table = {function_named(name): row for name, row in rows.items() if function_named(name) is not None}
    pair = "complex values are pairs of real tensors, minigrad.fft.Complex"
    windows = np.lib.stride_tricks.sliding_window_view
    table[windows] = Row(GRADIENT, moves(windows, "x"))
    return table | {function: Row(GRADIENT, run, pair) for function, run in fft.TRANSFORMS.items()}


FUNCTIONS: dict[Any, Row] = _table()
_IGNORED = {"subok", "overwrite_input", "copy", "device"}
"""Arguments that change no value."""
_signature = functools.lru_cache(None)(inspect.signature)


def call_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``Tensor.__array_function__`` returns."""
    row = FUNCTIONS.get(function)
    name = f"{function.__module__.replace('numpy', 'np', 1)}.{function.__name__}"
    if row is None:
        if _recording(args, kwargs):
            raise DtypeError(f"{name} does not record what it does to a tensor that requires a gradient: use minigrad's own functions, "
                             f"or .detach().numpy() if the history is not wanted")  # fmt: skip
        return function(*raw(args), **raw(kwargs))
    if not _records(args, kwargs) and row.status in (GRADIENT, REFUSED):
        return _plainly(function, name, args, kwargs)
    if row.status == GRADIENT:
        return _composed(function, name, row.run, args, kwargs)  # type: ignore[arg-type]
    if row.status == PLAIN:
        return function(*raw(args), **raw(kwargs))
    if row.status == FLAT:
        out = kwargs.get("out")
        y = function(*raw(args), **raw(kwargs))
        if out is not None:
            return _written(out, lambda array: out, name)
        return y if type(y) in (bool, int, float) else wrapped(y)
    if _recording(args, kwargs):
        kind = MinigradError if row.status == WRITES else DtypeError
        told = (
            "writes into its argument, which would change what the graph has recorded"
            if row.status == WRITES
            else "has no gradient here"
        )
        raise kind(f"{name} {told}: {row.why}. Pass .detach() if the history is not wanted")
    if row.status == WRITES:
        return _written(args[0], lambda array: function(array, *raw(args[1:]), **raw(kwargs)), name)
    return wrapped(function(*raw(args), **raw(kwargs)))


def _composed(function: Any, name: str, run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``run`` with the arguments that the caller gave, by NumPy's names; those left at NumPy's defaults are left out."""
    signature = _signature(function)
    bound = signature.bind(*args, **kwargs)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for key, value in bound.arguments.items():
        parameter = signature.parameters[key]
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += value
        elif parameter.kind is parameter.VAR_KEYWORD:
            named |= value
        elif value is not parameter.default and value is not np._NoValue and key not in _IGNORED:
            named[key] = value
    out = named.pop("out", None)
    if named.get("order") in ("K", "A", "C") and function not in (np.reshape, np.ravel):
        del named["order"]
    if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()) and positional:
        lead = [
            named.pop(k)
            for k in signature.parameters
            if k in named and signature.parameters[k].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ]
        positional = lead + positional
    try:
        y = run(*positional, **named)
    except TypeError as error:
        if "unexpected keyword" in str(error):
            raise DtypeError(
                f"{name} on a Tensor: {str(error).split('()')[-1].strip()}, which has no meaning here: leave it out"
            ) from error
        raise
    return wrapped(y) if out is None else _into(name, out, y)
