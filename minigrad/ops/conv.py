"""Convolution and pooling in one, two and three dimensions by the same code.

Everything here moves a window over the last axes, and one idea serves all of it: :func:`_taps` walks over the *positions
inside the window*, not over the windows. For each position it says which part of the output meets which part of the input,
two plain slices; padding is the part that a slice leaves out. Copying along the taps makes im2col columns, adding back along
them is the overlap-add, and a maximum or a sum along them pools.

The geometry of every primitive is *exact*: ``size + low + high == (out - 1) * stride + dilation * (kernel - 1) + 1`` on each
axis (the public functions see to it), so each of the three shapes follows from the other two.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minigrad.backend import namespace
from minigrad.errors import ShapeError
from minigrad.primitive import primitive

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Index = tuple[Any, ...]

BLOCK = 1 << 21
"""Bytes of im2col columns at a time. 1 MiB stays in L2; on (64, 6, 14, 14) twice as fast as all images at once."""


@functools.lru_cache(maxsize=512)
def _taps(size: Ints, out: Ints, kernel: Ints, stride: Ints, low: Ints, dilation: Ints) -> list[tuple[int, Index, Index]]:
    """For each position ``k`` inside the window: which outputs it reaches, and the inputs it meets there."""
    axes: list[list[tuple[slice, slice] | None]] = []
    for n, m, K, s, p, d in zip(size, out, kernel, stride, low, dilation):
        axes.append([])
        for shift in range(-p, K * d - p, d):
            first = max(0, -(shift // s))
            last = min(m - 1, (n - 1 - shift) // s)
            start = first * s + shift
            reached = slice(first, last + 1), slice(start, last * s + shift + 1, s)
            axes[-1].append(reached if first <= last else None)
    found = []
    for k, slices in enumerate(itertools.product(*axes)):
        if None not in slices:
            outputs, inputs = zip(*slices)  # type: ignore[arg-type]
            found.append((k, outputs, inputs))
    return found


def _low(padding: Pairs) -> Ints:
    return tuple(p for p, _ in padding)


def _out_size(size: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    return tuple(
        (n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    )


def _in_size(out: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    return tuple((m - 1) * s + d * (k - 1) + 1 - sum(p) for m, k, s, p, d in zip(out, kernel, stride, padding, dilation))


# Convolution: the trilinear form  sum x[n, c, stride*m + dilation*k - low] * w[o, c, k] * g[n, o, m].  Its derivative in any
# one of x, w and g is one of three operations on the other two, and so are all their derivatives in turn.


def _pointwise(kernel: Ints, stride: Ints, padding: Pairs) -> bool:
    return prod(kernel) == prod(stride) == 1 and not any(map(any, padding))


def _blocks(N: int, bytes_per_row: int, out: Ints) -> tuple[list[slice], list[tuple[int, int]]]:
    images = BLOCK // max(1, bytes_per_row * out[0])
    images = max(1, min(N, images if images >= 8 else 1))
    rows = min(out[0], max(1, 2 * BLOCK // max(1, bytes_per_row)))
    return [slice(n, n + images) for n in range(0, N, images)], [(r, min(r + rows, out[0])) for r in range(0, out[0], rows)]


def _columns(
    x: Any, out: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> Iterator[tuple[slice, slice, Any]]:
    """im2col block by block in one reused buffer: which images, which outputs, and columns (C * K, outputs * images)."""
    xp, (N, C, *size) = namespace(x), x.shape
    area = prod(out[1:])
    blocks, rows = _blocks(N, C * prod(kernel) * area * x.itemsize, out)
    buffer = None
    for images in blocks:
        block = xp.ascontiguousarray(xp.moveaxis(x[images], 0, -1))
        if buffer is None or buffer.shape[-1] != block.shape[-1]:
            buffer = xp.zeros((C, prod(kernel), rows[0][1], *out[1:], block.shape[-1]), dtype=x.dtype)
        for first, last in rows:
            columns = buffer[:, :, : last - first]
            if len(rows) > 1:
                columns[...] = 0
            low = (padding[0][0] - first * stride[0], *_low(padding[1:]))
            for k, outputs, inputs in _taps(tuple(size), (last - first, *out[1:]), kernel, stride, low, dilation):
                columns[:, k][:, *outputs] = block[:, *inputs]
            yield images, slice(first * area, last * area), columns.reshape(C * prod(kernel), -1)


def _conv(x: Any, w: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    xp, (N, C), (O, _, *kernel) = namespace(x), x.shape[:2], w.shape
    kernel = tuple(kernel)
    out = _out_size(x.shape[2:], kernel, stride, padding, dilation)
    matrix = xp.ascontiguousarray(w.reshape(groups, O // groups, w.shape[1] * prod(kernel)))
    if _pointwise(kernel, stride, padding):
        return (matrix @ x.reshape(N, groups, C // groups, prod(out))).reshape(N, O, *out)
    y = xp.empty((N, O, prod(out)), dtype=np.result_type(x, w))
    for images, outputs, columns in _columns(x, out, kernel, stride, padding, dilation):
        part = matrix @ columns.reshape(groups, -1, columns.shape[1])
        target = y[images, :, outputs]
        target[...] = xp.moveaxis(part.reshape(O, -1, len(target)), -1, 0)
    return y.reshape(N, O, *out)


def _conv_weight(x: Any, g: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    xp, out = namespace(x), g.shape[2:]
    kernel = tuple((n + sum(p) - 1 - (m - 1) * s) // d + 1 for n, m, s, p, d in zip(x.shape[2:], out, stride, padding, dilation))
    (N, C), O = x.shape[:2], g.shape[1]
    if _pointwise(kernel, stride, padding):
        x, g = x.reshape(N, groups, C // groups, prod(out)), g.reshape(N, groups, O // groups, prod(out))
        return (g @ x.swapaxes(-1, -2)).sum(0).reshape(O, C // groups, *kernel)
    w = xp.zeros((groups, C // groups * prod(kernel), O // groups), dtype=np.result_type(x, g))
    g = g.reshape(N, O, prod(out))
    for images, outputs, columns in _columns(x, out, kernel, stride, padding, dilation):
        part = xp.moveaxis(g[images, :, outputs], 0, -1).reshape(groups, O // groups, -1)
        columns, part = columns.reshape(groups, -1, columns.shape[1]), part.swapaxes(-1, -2)
        for p in range(0, part.shape[1], 4096):
            w += columns[..., p : p + 4096] @ part[:, p : p + 4096]
    return w.swapaxes(-1, -2).reshape(O, C // groups, *kernel)


def _conv_transpose(g: Any, w: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    xp, (N, O, *out), (_, C, *kernel) = namespace(g), g.shape, w.shape
    out, kernel, C = tuple(out), tuple(kernel), C * groups
    size = _in_size(out, kernel, stride, padding, dilation)
    if prod(stride) == 1 and O * prod(size) <= FLIP * C * prod(out):
        back = tuple((d * (k - 1) - p, d * (k - 1) - q) for k, d, (p, q) in zip(kernel, dilation, padding))
        turned = w.reshape(groups, O // groups, C // groups, *kernel).swapaxes(1, 2)
        turned = turned.reshape(C, O // groups, *kernel)[..., *(slice(None, None, -1),) * len(kernel)]
        return _conv(g, turned, stride, back, dilation, groups)
    x = xp.zeros((N, C, *size), dtype=np.result_type(g, w))
    matrix = w.reshape(groups, O // groups, C // groups * prod(kernel)).swapaxes(-1, -2)
    blocks, rows = _blocks(N, C * prod(kernel) * prod(out[1:]) * x.itemsize, out)
    for images in blocks:
        block = xp.zeros((C, *size, len(x[images])), dtype=x.dtype)
        for first, last in rows:
            part = xp.moveaxis(g[images, :, first:last], 0, -1).reshape(groups, O // groups, -1)
            columns = (matrix @ part).reshape(C, prod(kernel), last - first, *out[1:], block.shape[-1])
            low = (padding[0][0] - first * stride[0], *_low(padding[1:]))
            for k, outputs, inputs in _taps(size, (last - first, *out[1:]), kernel, stride, low, dilation):
                block[:, *inputs] += columns[:, k][:, *outputs]
        x[images] = xp.moveaxis(block, -1, 0)
    return x
FLIP = 2
