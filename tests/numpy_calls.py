"""Calls of every differentiable function of NumPy, as a user writes them: the table that the tests of np.* on Tensors run over.

A call is an expression over the arrays of :func:`arrays`. It is evaluated on them, and on Tensors in their place.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def arrays(dtype: Any = np.float64) -> dict[str, np.ndarray]:
    """Values well away from every kink, without ties, of shapes that broadcast and do not."""
    rng = np.random.default_rng(7)
    x = rng.permutation(np.linspace(-1.9, 2.1, 12)).reshape(3, 4) + 0.013
    s = rng.uniform(-1, 1, (3, 3))
    gaps = x.copy()
    gaps[0, 1] = gaps[2, 2] = np.nan
    found = {
        "x": x, "y": rng.permutation(np.linspace(-1.7, 1.8, 12)).reshape(3, 4), "p": rng.uniform(0.4, 1.9, (3, 4)),
        "u": rng.uniform(-0.8, 0.8, (3, 4)), "v": np.array([0.7, -1.2, 1.9, 0.3]), "w": np.array([1.1, 0.4, -0.6]),
        "t": np.array([0.2, 0.9, 1.3, 2.6]), "m": rng.uniform(-1, 1, (4, 3)), "s": s + 3 * np.eye(3), "d": s @ s.T + 2 * np.eye(3),
        "b": rng.uniform(-1, 1, (2, 3, 3)) + 3 * np.eye(3), "c": rng.uniform(-1, 1, (2, 3, 4)), "z": np.array(0.8), "gaps": gaps,
    }  # fmt: skip
    return {name: value.astype(dtype) for name, value in found.items()}


mask = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, True]])

UFUNCS: dict[str, list[str]] = {
    **{f: [f"np.{f}(x)"] for f in ["abs", "absolute", "arcsinh", "arctan", "asinh", "atan", "cbrt", "ceil", "conj", "conjugate", "cos", "cosh", "deg2rad", "degrees", "exp", "exp2", "expm1", "fabs", "floor", "frexp", "modf", "negative", "positive", "rad2deg", "radians", "reciprocal", "rint", "sign", "sin", "sinh", "square", "tan", "tanh", "trunc"]},
    **{f: [f"np.{f}(p)"] for f in ["log", "log10", "log1p", "log2", "sqrt"]},
    **{f: [f"np.{f}(u)"] for f in ["arccos", "acos", "arcsin", "asin", "arctanh", "atanh"]},
    **{f: [f"np.{f}(p + 1)"] for f in ("arccosh", "acosh")},
    "copysign": ["np.copysign(x, y)", "np.copysign(x, -1.5)"],
    **{f: [f"np.{f}(x, y)", f"np.{f}(x, v)", f"np.{f}(1.5, x)"] for f in ["add", "subtract", "multiply", "divide", "true_divide", "arctan2", "atan2", "fmax", "fmin", "hypot", "logaddexp", "logaddexp2", "maximum", "minimum"]},
    **{f: [f"np.{f}(x, p)", f"np.{f}(x, 0.7)"] for f in ["fmod", "mod", "remainder", "floor_divide", "divmod"]},
    **{f: [f"np.{f}(p, x)", f"np.{f}(p, 2)"] for f in ["power", "pow", "float_power"]},
    "heaviside": ["np.heaviside(x, y)", "np.heaviside(np.where(mask, x, 0.0), y)"],
    "ldexp": ["np.ldexp(x, np.array([1, -2, 0, 3]))"],
    "matmul": ["np.matmul(x, m)", "np.matmul(b, w)", "np.matmul(c, m, axes=[(1, 2), (0, 1), (1, 2)])"],
    "vecdot": ["np.vecdot(x, y)", "np.vecdot(x, y, axis=0)", "np.vecdot(x, y, keepdims=True)"],
    "matvec": ["np.matvec(b, w)"], "vecmat": ["np.vecmat(w, b)"],
}  # fmt: skip

METHODS: list[str] = [
    "np.lib.stride_tricks.sliding_window_view(x, 2, axis=1)", "np.add.reduce(x)", "np.add.reduce(x, axis=None)", "np.add.reduce(x, axis=(0, 1), keepdims=True)", "np.multiply.reduce(x, axis=1)",
    "np.add.reduce(x, axis=1, initial=2.0, where=mask)", "np.maximum.reduce(x, axis=1)", "np.minimum.reduce(x, axis=(0, 1))",
    "np.subtract.reduce(x, axis=0)", "np.divide.reduce(p, axis=1)", "np.logaddexp.reduce(x, axis=1)", "np.hypot.reduce(x, axis=0)",
    "np.maximum.reduce(x, axis=0, initial=0.4)", "np.fmax.reduce(gaps, axis=1)",
    "np.add.accumulate(x)", "np.add.accumulate(x, axis=1)", "np.multiply.accumulate(x, axis=1)", "np.maximum.accumulate(x, axis=1)",
    "np.subtract.accumulate(x, axis=0)", "np.logaddexp.accumulate(x, axis=1)", "np.add.reduceat(v, [0, 2, 1])",
    "np.multiply.reduceat(x, [0, 1], axis=0)", "np.maximum.reduceat(x, [0, 3, 1], axis=1)", "np.add.outer(v, w)", "np.multiply.outer(x, w)",
    "np.subtract.outer(w, v)", "np.power.outer(p, w)", "np.arctan2.outer(v, w)",
    "np.add(x, y, dtype='f8')", "np.add(x, 1, dtype='f4')", "np.sin(x, dtype='f8')",
    "np.multiply(x, y, casting='same_kind', order='C')", "np.add.reduce(x, dtype='f4')",
]  # fmt: skip

FUNCTIONS: dict[str, list[str]] = {
    **{f: [f"np.{f}(x)", f"np.{f}(x, axis=1)", f"np.{f}(x, (0, 1), keepdims=True)", f"np.{f}(c, axis=(0, -1))", f"np.{f}(x, 0, initial=0.3, where=mask)"]
       for f in ["sum", "prod", "max", "min", "amax", "amin"]},
    **{f: [f"np.{f}(gaps)", f"np.{f}(gaps, axis=1)", f"np.{f}(gaps, 0, keepdims=True)"]
       for f in ["nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd", "nanmedian"]},
    "mean": ["np.mean(x)", "np.mean(x, axis=0)", "np.mean(c, (0, 2), keepdims=True)", "np.mean(x, 1, where=mask)", "np.mean(x, dtype='f4')"],
    **{f: [f"np.{f}(x)", f"np.{f}(x, axis=1, ddof=1)", f"np.{f}(c, (0, 2), keepdims=True)", f"np.{f}(x, 0, where=mask)", f"np.{f}(x, axis=0, correction=1)",
           f"np.{f}(x, axis=1, mean=np.mean(x, axis=1, keepdims=True), keepdims=True)"] for f in ("var", "std")},
    "nancumsum": ["np.nancumsum(gaps)", "np.nancumsum(gaps, axis=1)"], "nancumprod": ["np.nancumprod(gaps, axis=0)"],
    "nanquantile": ["np.nanquantile(gaps, z * 0.3, axis=1)", "np.nanquantile(gaps, 0.3)", "np.nanquantile(gaps, [0.1, 0.8], axis=1)", "np.nanquantile(gaps, 0.7, axis=0, method='hazen', keepdims=True)"],
    "nanpercentile": ["np.nanpercentile(gaps, [10, 45], axis=0)"],
    "quantile": ["np.quantile(x, z * 0.2)", "np.quantile(x, p[0] * 0.3, axis=0)", "np.quantile(v, t * 0.1, method='weibull')", "np.quantile(v, t * 0.1, method='hazen')", "np.quantile(v, t * 0.1, method='median_unbiased')", "np.quantile(v, t * 0.1, method='normal_unbiased')", "np.quantile(v, t * 0.1, method='interpolated_inverted_cdf')", "np.quantile(x, 0.3)", "np.quantile(x, [0.1, 0.8], axis=1)", "np.quantile(c, [[0.2, 0.5]], axis=(0, 2), keepdims=True)",
                 *(f"np.quantile(x, 0.37, axis=0, method='{k}')" for k in ["lower", "higher", "nearest", "midpoint", "weibull", "hazen", "median_unbiased", "normal_unbiased", "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf"]),
                 "np.quantile(v, 0.4, method='inverted_cdf', weights=np.array([1.0, 2.0, 1.0, 0.5]))"],
    "percentile": ["np.percentile(x, z * 30, axis=1)", "np.percentile(x, 30)", "np.percentile(x, [5, 60], axis=1)"],
    "median": ["np.median(x)", "np.median(x, axis=0)", "np.median(c, axis=(0, 2), keepdims=True)"],
    "average": ["np.average(x)", "np.average(x, axis=1)", "np.average(x, weights=p)", "np.average(x, axis=1, weights=t)",
                "np.average(x, axis=0, weights=p, returned=True)", "np.average(x, axis=0, keepdims=True)"],
    "ptp": ["np.ptp(x)", "np.ptp(x, axis=1, keepdims=True)"],
    "cumsum": ["np.cumsum(x)", "np.cumsum(x, axis=1)", "np.cumsum(x, 0, dtype='f4')"], "cumprod": ["np.cumprod(x)", "np.cumprod(x, axis=1)"],
    "cumulative_sum": ["np.cumulative_sum(v)", "np.cumulative_sum(x, axis=1, include_initial=True)"],
    "cumulative_prod": ["np.cumulative_prod(v)", "np.cumulative_prod(x, axis=0, include_initial=True)"],
    "sort": ["np.sort(x)", "np.sort(x, axis=None)", "np.sort(x, axis=0, kind='stable')"], "partition": ["np.partition(v, 1)[1]", "np.partition(x, 2, axis=0)[2]"],
    "unique": ["np.unique(x)", "np.unique(np.array([2.0, 1.0, 2.0]) * z, return_counts=True)", "np.unique(v, return_index=True, return_inverse=True)"],
    "unique_all": ["np.unique_all(x)"], "unique_counts": ["np.unique_counts(v)"], "unique_inverse": ["np.unique_inverse(v)"],
    "unique_values": ["np.sort(np.unique_values(v))"], "union1d": ["np.union1d(v, w)"], "intersect1d": ["np.intersect1d(v, v)"],
    "setdiff1d": ["np.setdiff1d(v, w)"], "setxor1d": ["np.setxor1d(v, w)"],
    "reshape": ["np.reshape(x, (4, 3))", "np.reshape(x, (2, -1), order='F')"], "ravel": ["np.ravel(x)", "np.ravel(x, order='F')"],
    "transpose": ["np.transpose(x)", "np.transpose(c, (1, 0, 2))"], "permute_dims": ["np.permute_dims(c, (2, 0, 1))"],
    "matrix_transpose": ["np.matrix_transpose(c)"], "moveaxis": ["np.moveaxis(c, 0, -1)"], "swapaxes": ["np.swapaxes(c, 0, 2)"],
    "rollaxis": ["np.rollaxis(c, 2)"], "expand_dims": ["np.expand_dims(x, (0, 2))"], "squeeze": ["np.squeeze(x[None])", "np.squeeze(x[None, :, None], axis=0)"],
    "broadcast_to": ["np.broadcast_to(v, (3, 4))"], "broadcast_arrays": ["np.broadcast_arrays(x, v)"], "atleast_1d": ["np.atleast_1d(z)", "np.atleast_1d(z, v)"],
    "atleast_2d": ["np.atleast_2d(v)"], "atleast_3d": ["np.atleast_3d(x)"], "flip": ["np.flip(x)", "np.flip(x, 1)"], "fliplr": ["np.fliplr(x)"],
    "flipud": ["np.flipud(x)"], "rot90": ["np.rot90(x)", "np.rot90(x, 3, (1, 0))"], "roll": ["np.roll(x, 2)", "np.roll(x, (1, 2), (0, 1))"],
    "tile": ["np.tile(v, (2, 2))"], "repeat": ["np.repeat(x, 2)", "np.repeat(x, [1, 0, 2], axis=0)"], "resize": ["np.resize(x, (5, 4))", "np.resize(v, 2)"],
    "concatenate": ["np.concatenate([x, y])", "np.concatenate((x, m.T), axis=1)", "np.concatenate([x, y], axis=None)", "np.concatenate([x, y], dtype='f4')"],
    "concat": ["np.concat([x, y], axis=-1)"], "stack": ["np.stack([x, y])", "np.stack((x, y), axis=-1)"], "hstack": ["np.hstack([v, w])", "np.hstack([x, y])"],
    "vstack": ["np.vstack([v, v])", "np.vstack([x, v])"], "dstack": ["np.dstack([x, y])", "np.dstack([v, v])"], "column_stack": ["np.column_stack([v, v, x.T])"],
    "block": ["np.block([[x, y], [y, x]])", "np.block([v, w, 2.0])"], "append": ["np.append(x, y)", "np.append(x, y, axis=0)", "np.append(v, 3.0)"],
    "array_split": ["np.array_split(v, 3)"], "split": ["np.split(x, 2, axis=1)", "np.split(v, [1, 3])"], "hsplit": ["np.hsplit(x, 2)"], "vsplit": ["np.vsplit(x, 3)"],
    "dsplit": ["np.dsplit(c, 2)"], "unstack": ["np.unstack(x)", "np.unstack(x, axis=1)"], "delete": ["np.delete(v, 1)", "np.delete(x, [0, 2], axis=1)"],
    "insert": ["np.insert(v, 2, z)", "np.insert(x, 1, w, axis=1)", "np.insert(v, [0, 3], [1.0, 2.0])"], "meshgrid": ["np.meshgrid(v, w)", "np.meshgrid(v, w, indexing='ij', sparse=True)"],
    "pad": ["np.pad(v, 2, 'reflect', reflect_type='odd')", "np.pad(v, (1, 9), 'symmetric', reflect_type='odd')", "np.pad(x, ((7, 2), (0, 5)), 'reflect', reflect_type='odd')", "np.pad(x[:1], ((2, 1), (1, 1)), 'reflect', reflect_type='odd')", "np.pad(x, 1)", "np.pad(x, ((0, 1), (2, 0)), constant_values=3.0)", "np.pad(x, ((1, 2), (0, 1)), 'reflect')", "np.pad(v, 2, 'symmetric')", "np.pad(v, (1, 3), 'wrap')",
            "np.pad(x, 1, 'edge')", "np.pad(x, 2, 'mean')", "np.pad(x, 1, 'maximum')", "np.pad(x, 1, 'minimum', stat_length=2)", "np.pad(x, 1, 'median')", "np.pad(x, (2, 1), 'linear_ramp', end_values=0.5)",
            "np.pad(x, 1, constant_values=z)"],
    "tril": ["np.tril(x)", "np.tril(c, -1)"], "triu": ["np.triu(x, 1)"], "diag": ["np.diag(v)", "np.diag(x, 1)"], "diagflat": ["np.diagflat(x, 1)"],
    "diagonal": ["np.diagonal(x)", "np.diagonal(c, 1, 0, 2)"], "trace": ["np.trace(x)", "np.trace(c, 1, 1, 2)"], "trim_zeros": ["np.trim_zeros(np.pad(v, 2))", "np.trim_zeros(np.pad(v, 2), 'f')"],
    "take": ["np.take(x, [0, 5, 5])", "np.take(x, [[3, 0]], axis=1)", "np.take(v, [5, -7], mode='wrap')"], "take_along_axis": ["np.take_along_axis(x, np.argsort(y, 1), 1)"],
    "choose": ["np.choose([0, 1, 1, 0], [v, 2 * v])", "np.choose(np.array([2, 1]), [z, z * 2, 7.0])"], "compress": ["np.compress([True, False, True], x, axis=0)"], "extract": ["np.extract(mask, x)"],
    "select": ["np.select([x > 1, x < 0], [x, y * 2], 3.0)", "np.select([x > 1], [x], z)"], "where": ["np.where(mask, x, y)", "np.where(mask, x, 0)", "np.where(mask, 2.0, v)"],
    "piecewise": ["np.piecewise(x, [x < 0, x > 1], [lambda t: t * t, np.exp, 0.5])", "np.piecewise(v, v > 0, [np.log, np.sin])"],
    "apply_along_axis": ["np.apply_along_axis(lambda r: r[0] * r[-1], 1, x)", "np.apply_along_axis(lambda r: r[:2] * r[2], 0, x)"], "apply_over_axes": ["np.apply_over_axes(np.sum, c, [0, 2])"],
    "copy": ["np.copy(x)"], "astype": ["np.astype(x, 'f4')"], "clip": ["np.clip(x, -1, 1)", "np.clip(x, None, y)", "np.clip(x, min=-0.5)", "np.clip(x, max=v)"],
    "nan_to_num": ["np.nan_to_num(gaps)", "np.nan_to_num(np.where(mask, x, np.inf), nan=1.0, posinf=9.0)"], "real": ["np.real(x)"], "imag": ["np.imag(x)"], "angle": ["np.angle(x)", "np.angle(x, deg=True)"],
    "real_if_close": ["np.real_if_close(x)"], "around": ["np.around(x, 1)"], "round": ["np.round(x)", "np.round(x, 2)"], "fix": ["np.trunc(x)"], "sinc": ["np.sinc(x)", "np.sinc(x * 0.1)"], "i0": ["np.i0(x)"],
    "diff": ["np.diff(x)", "np.diff(x, 2, axis=0)", "np.diff(v, prepend=0.0, append=z)", "np.diff(x, prepend=y)"], "ediff1d": ["np.ediff1d(x)", "np.ediff1d(v, to_begin=-9.0, to_end=w)"],
    "gradient": ["np.gradient(v)", "np.gradient(x)", "np.gradient(x, 0.5, axis=1, edge_order=2)", "np.gradient(v, t)", "np.gradient(v, t, edge_order=2)", "np.gradient(x, 2.0, t)"],
    "trapezoid": ["np.trapezoid(x)", "np.trapezoid(x, t)", "np.trapezoid(x, dx=0.5, axis=0)", "np.trapezoid(x, p)"], "interp": ["np.interp(u + 1.2, t, v)", "np.interp(x, t, v, left=-1.0, right=z)", "np.interp(x, t, v, period=3.0)"],
    "unwrap": ["np.unwrap(x * 5)", "np.unwrap(x * 5, axis=0, period=4.0)"], "convolve": [f"np.convolve({a}, '{k}')" for a in ("v, w", "w, v", "v, v[:2]") for k in ("full", "same", "valid")],
    "correlate": [f"np.correlate({a}, '{k}')" for a in ("v, w", "w, v", "v, v[:2]", "v[:2], t") for k in ("full", "same", "valid")],
    "cov": ["np.cov(x)", "np.cov(x, y, rowvar=False)", "np.cov(v, t)", "np.cov(x, bias=True)", "np.cov(x, aweights=t)", "np.cov(x, ddof=0, fweights=[1, 2, 1, 3], aweights=t)", "np.cov(v)"],
    "corrcoef": ["np.corrcoef(x)", "np.corrcoef(v, t)"], "histogram": ["np.histogram(v, 'sturges')", "np.histogram(x, 4, weights=p)", "np.histogram(x, [-2, 0, 1, 2], density=True, weights=p)", "np.histogram(x, 3, density=True)"],
    "histogram2d": ["np.histogram2d([0.1, 0.9, 0.5, 2.0], [0.2, 0.2, 0.7, 0.4], 3, weights=t)[0]", "np.histogram2d([0.1, 0.9, 0.5, 2.0], [0.2, 0.2, 0.7, 0.4], [[0, 1, 2], [0, 0.5]], density=True, weights=t)"],
    "histogramdd": ["np.histogramdd(np.arange(12.0).reshape(4, 3) % 5, (2, 3, 2), weights=t)", "np.histogramdd(([0.0, 1.0, 1.0, 3.0], [1.0, 1.0, 1.5, 2.0]), 2, density=True, weights=t)[0]"],
    "histogram_bin_edges": ["np.histogram_bin_edges(x, 'auto')", "np.histogram_bin_edges(x, 3)"],
    "bincount": ["np.bincount([0, 2, 2, 1], weights=v, minlength=5)"],
    "cross": ["np.cross(w, w[::-1])", "np.cross(m, m[::-1])", "np.cross(m.T, m[::-1].T, axis=0)"], "dot": ["np.dot(x, m)", "np.dot(v, v)", "np.dot(c, v)", "np.dot(x, 2.0)"],
    "vdot": ["np.vdot(x, y)"], "inner": ["np.inner(x, y)", "np.inner(v, v)"], "outer": ["np.outer(v, x)"], "kron": ["np.kron(w, v)", "np.kron(s, w)"],
    "tensordot": ["np.tensordot(c, x, 2)", "np.tensordot(c, x, axes=([2, 1], [1, 0]))", "np.tensordot(v, w, 0)"],
    "einsum": ["np.einsum('ij,jk->ik', x, m)", "np.einsum('ii', s)", "np.einsum('bij,j->bi', c, v, optimize=True)", "np.einsum(x, [0, 1], v, [1], [0])", "np.einsum('ij->', x)"],
    "linspace": ["np.linspace(z, 3.0, 5)", "np.linspace(v, t, 4, axis=-1)", "np.linspace(v, t, 3, endpoint=False, retstep=True)"], "logspace": ["np.logspace(z, 2.0, 4)", "np.logspace(w, w + 1, 3, base=2.0)"],
    "geomspace": ["np.geomspace(z, 3.0, 5)", "np.geomspace(t, 2 * t, 4)", "np.geomspace(-z, -4.0, 3, endpoint=False)"], "full_like": ["np.full_like(x, z)"],
    "vander": ["np.vander(v)", "np.vander(v, 3, increasing=True)"], "polyval": ["np.polyval(v, x)"], "polyadd": ["np.polyadd(v, w)"], "polysub": ["np.polysub(w, v)"], "polymul": ["np.polymul(v, w)"],
    "polydiv": ["np.polydiv(v, w)"], "polyder": ["np.polyder(v)", "np.polyder(v, 2)"], "polyint": ["np.polyint(v)", "np.polyint(v, 2, [1.0, z])"], "poly": ["np.poly(s)", "np.poly(d)", "np.poly(v)"],
    "polyfit": ["np.polyfit(t, v, 1, full=True)[:2]", "np.polyfit(t, v, 1, cov=True)", "np.polyfit(t, v, 2, w=p[0], cov='unscaled')", "np.polyfit(t, x.T, 1, cov=True)", "np.polyfit(t, v, 2)", "np.polyfit(t, x.T, 1)", "np.polyfit(t, v, 1, w=p[0])"],
    "linalg.cholesky": ["np.linalg.cholesky((d + d.T) / 2)", "np.linalg.cholesky((d + d.T) / 2, upper=True)"], "linalg.cond": ["np.linalg.cond(s)", "np.linalg.cond(s, 1)", "np.linalg.cond(s, 'fro')", "np.linalg.cond(s, -2)"],
    "linalg.cross": ["np.linalg.cross(m, m[::-1])"], "linalg.det": ["np.linalg.det(s)", "np.linalg.det(b)"], "linalg.diagonal": ["np.linalg.diagonal(b, offset=1)"],
    "linalg.eigh": ["np.abs(np.linalg.eigh(d)[1])", "np.linalg.eigh(d, 'U').eigenvalues"], "linalg.eigvalsh": ["np.linalg.eigvalsh(d)"], "linalg.inv": ["np.linalg.inv(b)"],
    "linalg.lstsq": ["np.linalg.lstsq(m, v)[0]", "np.linalg.lstsq(m, x.T, rcond=None)[:2]"], "linalg.matmul": ["np.linalg.matmul(x, m)"],
    "linalg.matrix_norm": ["np.linalg.matrix_norm(b)", "np.linalg.matrix_norm(b, ord=2, keepdims=True)", "np.linalg.matrix_norm(b, ord='nuc')"],
    "linalg.matrix_power": ["np.linalg.matrix_power(s, 3)", "np.linalg.matrix_power(s, -2)"], "linalg.matrix_transpose": ["np.linalg.matrix_transpose(c)"],
    "linalg.multi_dot": ["np.linalg.multi_dot([x, m, s])"], "linalg.norm": ["np.linalg.norm(x)", "np.linalg.norm(x, axis=1)", "np.linalg.norm(x, 1)", "np.linalg.norm(v, 3)", "np.linalg.norm(x, np.inf, axis=0)", "np.linalg.norm(c, 'nuc', axis=(1, 2), keepdims=True)"],
    "linalg.outer": ["np.linalg.outer(v, w)"], "linalg.pinv": ["np.linalg.pinv(m)", "np.linalg.pinv(m, 1e-6)"], "linalg.qr": ["np.linalg.qr(s)", "np.linalg.qr(m, 'r')"],
    "linalg.slogdet": ["np.linalg.slogdet(b)"], "linalg.solve": ["np.linalg.solve(s, w)", "np.linalg.solve(b, s)"], "linalg.svd": ["np.linalg.svd((d + d.T) / 2, hermitian=True).S", "np.abs(np.linalg.svd((d + d.T) / 2 - 2 * np.eye(3), hermitian=True)[0])", "np.abs(np.linalg.svd((d + d.T) / 2, hermitian=True)[2])", "np.linalg.svd(s).S", "np.linalg.svd(m).S", "np.abs(np.linalg.svd(m)[0])[:, :3]", "np.abs(np.linalg.svd(x)[2])[:3]", "np.linalg.svd(m, full_matrices=False)[1]", "np.linalg.svd(m, compute_uv=False)", "np.abs(np.linalg.svd(s)[0])"],
    "linalg.svdvals": ["np.linalg.svdvals(m)"], "linalg.tensordot": ["np.linalg.tensordot(c, x, axes=2)"], "linalg.tensorinv": ["np.linalg.tensorinv(s, ind=1)"],
    "linalg.tensorsolve": ["np.linalg.tensorsolve(s, w)"], "linalg.trace": ["np.linalg.trace(b, offset=1)"], "linalg.vecdot": ["np.linalg.vecdot(x, y)", "np.linalg.vecdot(x, y, axis=0)"],
    "linalg.vector_norm": ["np.linalg.vector_norm(x)", "np.linalg.vector_norm(x, axis=1, ord=3, keepdims=True)"],
    **{f"fft.{k}": [f"np.abs(np.fft.{k}(x))", f"np.real(np.fft.{k}(x, n=6, axis=0, norm='ortho') * (1 + 2j))", f"np.fft.{k}(x, 3).imag"] for k in ("fft", "ifft", "rfft", "ihfft")},
    **{f"fft.{k}": [f"np.fft.{k}(np.fft.rfft(x) * t[:3])", f"np.fft.{k}(x, 5, norm='forward')", f"np.fft.{k}(np.fft.fft(x, axis=0), axis=0, norm='ortho')"] for k in ("irfft", "hfft")},
    **{f"fft.{k}": [f"np.abs(np.fft.{k}(c))", f"np.angle(np.fft.{k}(x, (4, 5), (0, 1), norm='forward'))[:2, 1:]"] for k in ("fft2", "ifft2", "fftn", "ifftn", "rfft2", "rfftn")},
    **{f"fft.{k}": [f"np.fft.{k}(np.fft.rfft2(c))", f"np.fft.{k}(np.fft.fft2(x), (3, 5), axes=(0, 1))"] for k in ("irfft2", "irfftn")},
    "fft.fftshift": ["np.fft.fftshift(x)"], "fft.ifftshift": ["np.fft.ifftshift(x, axes=1)"],
}  # fmt: skip

WITHOUT_GRADIENT: list[str] = [
    "np.argmax(x)", "np.argmin(x, axis=1)", "np.argsort(x)", "np.nonzero(x > 0)", "np.argwhere(x > 0)", "np.count_nonzero(x)", "np.isclose(x, y)",
    "np.allclose(x, x)", "np.array_equal(x, y)", "np.searchsorted(t, x)", "np.digitize(x, t)", "np.isin(x, v)", "np.zeros_like(x)", "np.ones_like(x)",
    "np.linalg.matrix_rank(s)", "np.shape(x)", "np.ndim(x)", "np.size(x, 1)", "np.result_type(x, 'f4')", "np.array_repr(v)", "np.can_cast(x.dtype, 'f4')",
    "np.isnan(gaps)", "np.signbit(x)", "np.greater(x, y)", "np.logical_and(x, y)", "np.spacing(x)", "np.all(x)", "np.any(x > 0, axis=0)", "np.lexsort((v, t))",
    "np.nanargmax(gaps, axis=1)", "np.iscomplexobj(x)", "np.argpartition(v, 1)[1]", "np.tril_indices_from(s)",
    "np.where(x > 0)", "np.equal.outer(v, v)", "np.logical_or.reduce(x > 0, axis=1)",
]  # fmt: skip
