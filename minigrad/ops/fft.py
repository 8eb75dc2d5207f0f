"""Discrete Fourier transforms. A complex array is a real one here, with a last axis of 2: real and imaginary parts.

So every rule is one of real numbers, and runs to any order: a transform is linear, and its rule is its conjugate transpose.
:class:`minigrad.fft.Complex` is the pair as its user meets it. ``norm`` is NumPy's: where the factor 1/n goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.backend import namespace
from minigrad.errors import ShapeError
from minigrad.ops.shape import concat, moveaxis, pad
from minigrad.primitive import primitive

DUAL = {"backward": "forward", "forward": "backward", "ortho": "ortho"}
"""The norm under which the inverse transform is the conjugate transpose."""


def _joined(a: Any) -> Any:
    """Pairs as complex numbers; NumPy has none of half precision."""
    a = a.astype(np.float32) if a.dtype.itemsize == 2 else a
    return namespace(a).ascontiguousarray(a).view(np.complex64 if a.dtype.itemsize == 4 else np.complex128)[..., 0]


def _pairs(z: Any) -> Any:
    """Complex numbers as pairs."""
    return namespace(z).ascontiguousarray(z)[..., None].view(z.real.dtype)


def _last(a: Any, n: int, axis: int) -> Any:
    """``a`` cut, or filled with zeros, to length ``n`` along ``axis``."""
    size = a.shape[axis]
    if size >= n:
        return a[(slice(None),) * axis + (slice(0, n),)]
    return pad(a, tuple((0, n - size if k == axis else 0) for k in range(a.ndim)))


def _length(a: Any, n: int, axis: int) -> None:
    if n < 1:
        raise ShapeError(f"fft: {n} points along axis {axis} of shape {tuple(a.shape)}: expected at least 1")


def _dft(a: Any, n: int, axis: int, norm: str) -> Any:
    _length(a, n, axis)
    return _pairs(namespace(a).fft.fft(_joined(a), n, axis, norm)).astype(a.dtype, copy=False)


def _idft(a: Any, n: int, axis: int, norm: str) -> Any:
    _length(a, n, axis)
    return _pairs(namespace(a).fft.ifft(_joined(a), n, axis, norm)).astype(a.dtype, copy=False)


dft: Callable[..., Any] = primitive(
    _dft, lambda g, y, a, n, axis, norm: _last(idft(g, n, axis, DUAL[norm]), a.shape[axis], axis), needs="",
    rule=("inverse transform of g, not divided by n",), gate="linear: conjugate transpose", math="sum over j of a[j] exp(-2 pi i j k / n)",
    name="dft",
)  # fmt: skip
idft: Callable[..., Any] = primitive(
    _idft, lambda g, y, a, n, axis, norm: _last(dft(g, n, axis, DUAL[norm]), a.shape[axis], axis), needs="",
    rule=("transform of g, divided by n",), gate="linear: conjugate transpose", math="sum over k of a[k] exp(2 pi i j k / n) / n",
    name="idft",
)  # fmt: skip


def _real_dft(a: Any, n: int, axis: int, norm: str) -> Any:
    _length(a, n, axis)
    return _pairs(namespace(a).fft.rfft(a, n, axis, norm)).astype(a.dtype, copy=False)


def _real_idft(a: Any, n: int, axis: int, norm: str) -> Any:
    _length(a, n, axis)
    return namespace(a).fft.irfft(_joined(a), n, axis, norm).astype(a.dtype, copy=False)


def _real_dft_rule(g: Any, y: Any, a: Any, n: int, axis: int, norm: str) -> Any:
    return _last(idft(_last(g, n, axis), n, axis, DUAL[norm])[..., 0], a.shape[axis], axis)


def _real_idft_rule(g: Any, y: Any, a: Any, n: int, axis: int, norm: str) -> Any:
    """Every frequency but 0 and n/2 stands for its mirror image too, so it counts twice."""
    whole = moveaxis(real_dft(g, n, axis, DUAL[norm]), axis, -2)
    ends = 1 if n % 2 else 2
    inner = whole[..., 1 : whole.shape[-2] - ends + 1, :] * 2
    parts = [whole[..., :1, :], inner] + ([whole[..., -1:, :]] if ends == 2 else [])
    return _last(moveaxis(concat(parts, -2), -2, axis), a.shape[axis], axis)


real_dft: Callable[..., Any] = primitive(
    _real_dft, _real_dft_rule, needs="", rule=("real part of the inverse transform of g, not divided by n",),
    gate="linear: conjugate transpose", math="the first n//2 + 1 of dft(a)", name="real_dft",
)  # fmt: skip
real_idft: Callable[..., Any] = primitive(
    _real_idft, _real_idft_rule, needs="", rule=("real_dft of g, divided by n; twice at all but the frequencies 0 and n/2",),
    gate="linear: conjugate transpose", math="the real a whose real_dft this is", name="real_idft",
)  # fmt: skip
