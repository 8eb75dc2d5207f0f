"""Images and signals with other sizes. Resampling is linear, axis by axis: a product with a matrix of weights for each axis."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import backend, ops
from minigrad.errors import ShapeError

Weights = Any


def _triangle(x: Weights) -> Weights:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: Weights, a: float) -> Weights:
    """Keys 1981: a piecewise cubic through the samples, with slope ``a`` where it leaves the inner piece."""
    x = np.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


_KERNELS: dict[str, tuple[int, Callable[[Weights], Weights], Callable[[Weights], Weights]]] = {
    "linear": (1, _triangle, _triangle),
    "cubic": (2, functools.partial(_cubic, a=-0.75), functools.partial(_cubic, a=-0.5)),
}
"""The reach of a kernel, the kernel, and the one used against aliasing: PyTorch takes Pillow's there."""
_MODES = {
    "nearest": ("nearest", (1, 2, 3)),
    "nearest-exact": ("nearest-exact", (1, 2, 3)),
    "linear": ("linear", (1,)),
    "bilinear": ("linear", (2,)),
    "bicubic": ("cubic", (2,)),
    "trilinear": ("linear", (3,)),
    "area": ("area", (1, 2, 3)),
}
"""The kernel of each mode, and how many axes it is for."""
_AREA = {1: ops.adaptive_avg_pool1d, 2: ops.adaptive_avg_pool2d, 3: ops.adaptive_avg_pool3d}


def _nearest(old: int, new: int, step: float, offset: float) -> Weights:
    """Which element is nearest. The positions are float32 numbers, as PyTorch's are whatever the dtype: floors depend on it."""
    at = np.floor((np.arange(new, dtype="float32") + np.float32(offset)) * np.float32(step))
    return np.minimum(at.astype(int), old - 1)


def _smooth(kind: str, old: int, new: int, step: float, align_corners: bool, antialias: bool) -> Weights:
    """(old, new): how much of each old element goes into each new one."""
    reach, kernel, smoothing = _KERNELS[kind]
    out = np.zeros((old, new))
    if antialias:
        wide = max(step, 1.0)
        centre = step * (np.arange(new) + 0.5)
        for j, c in enumerate(centre):
            here = np.arange(max(int(c - reach * wide + 0.5), 0), min(int(c + reach * wide + 0.5), old))
            w = smoothing((here - c + 0.5) / wide)
            out[here, j] = w / w.sum()
        return out
    at = step * np.arange(new) if align_corners else step * (np.arange(new) + 0.5) - 0.5
    if kind == "linear":
        at = np.maximum(at, 0)
    first = np.floor(at).astype(int)
    for k in range(1 - reach, 1 + reach):
        np.add.at(out, (np.clip(first + k, 0, old - 1), np.arange(new)), kernel(at - (first + k)))
    return out


def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False,
) -> Any:  # fmt: skip
    """(N, C, ...) with other sizes: y[m] = sum over i of w(s(m) - i) x[i] along each axis after the channels.

    The new element m of M lies at s(m) = (m + 1/2) N/M - 1/2 among the N old ones, or, with ``align_corners``, at
    m (N - 1)/(M - 1), so that the outermost meet. The kernel w is a triangle (linear) or Keys' cubic.

    Args:
        input: a batch with channels.
        size: of the axes after the channels, a number or one per axis.
        scale_factor: or by how much to multiply them.
        mode: ``"nearest"`` x[floor(m N/M)], ``"nearest-exact"`` x[floor((m + 1/2) N/M)], ``"linear"`` (N, C, L), ``"bilinear"`` and
            ``"bicubic"`` (N, C, H, W), ``"trilinear"`` (N, C, D, H, W), or ``"area"``: means, as adaptive_avg_pool.
        align_corners: for the modes with "linear" or "cubic".
        recompute_scale_factor: place elements by the sizes, not by ``scale_factor``, where that gives no whole number.
        antialias: for bilinear and bicubic: when shrinking, widen the kernel by as much.

    Raises:
        ValueError: for another mode, an argument that the mode does not have, an input with other axes, or unless exactly one of
            size and scale_factor is given.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> x = mg.tensor([[[1.0, 2.0]]])
        >>> F.interpolate(x, scale_factor=2).tolist(), F.interpolate(x, size=3, mode="linear", align_corners=True).tolist()
        ([[[1.0, 1.0, 2.0, 2.0]]], [[[1.0, 1.5, 2.0]]])
    """
    n = input.ndim - 2
    if mode not in _MODES:
        raise ValueError(f"interpolate: mode {mode!r} is not there: expected {', '.join(_MODES)}")
    kind, axes = _MODES[mode]
    if n not in axes:
        raise ShapeError(
            f"interpolate: mode {mode!r} is for {' or '.join(map(str, axes))} axes after (N, C), got shape {tuple(input.shape)}"
        )
    if align_corners is not None and kind not in _KERNELS:
        raise ValueError(f"interpolate: align_corners is for linear, bilinear, bicubic and trilinear, not for {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias is for bilinear and bicubic, not for {mode!r}")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: expected one of size and scale_factor")
    if recompute_scale_factor and size is not None:
        raise ValueError("interpolate: recompute_scale_factor needs scale_factor, got size")
    given = size if scale_factor is None else scale_factor
    asked = tuple(given) if isinstance(given, (tuple, list)) else (given,) * n
    if len(asked) != n:
        raise ValueError(
            f"interpolate: {given!r}: expected a number, or {n} of them for an input of shape {tuple(input.shape)}"
        )
    olds = tuple(input.shape[2:])
    news = tuple(int(a) if scale_factor is None else math.floor(old * a) for old, a in zip(olds, asked))
    if min(news) < 1:
        raise ValueError(f"interpolate: {olds} would become {news}: expected at least one element along each axis")
    if kind == "area":
        return _AREA[n](input, news)
    exact = scale_factor is None or bool(recompute_scale_factor)
    for axis, (old, new, a) in enumerate(zip(olds, news, asked), 2):
        if new == old:
            continue
        step = old / new if exact else 1 / a
        if kind == "nearest" and new % old == 0 and step * new == old:
            input = ops.repeat(input, new // old, axis=axis)
        elif kind not in _KERNELS:
            input = ops.take(input, _nearest(old, new, step, 0.5 if kind == "nearest-exact" else 0.0), axis=axis)
        else:
            if align_corners:
                step = (old - 1) / (new - 1) if new > 1 else 0.0
            weights = _smooth(kind, old, new, step, bool(align_corners), antialias).astype(input.dtype)
            matrix = backend.namespace(getattr(input, "_data", input)).asarray(weights)
            input = ops.moveaxis(ops.matmul(ops.moveaxis(input, axis, -1), matrix), -1, axis)
    return input
