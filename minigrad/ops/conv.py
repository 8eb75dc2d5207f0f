"""Convolution in one, two and three dimensions by the same code, and its transpose.

The geometry is that of minigrad/ops/windows.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from minigrad.backend import namespace
from minigrad.errors import ShapeError
from minigrad.ops.columns import SHARED, _conv_blocked, _product, _weight_blocked
from minigrad.ops.shape import _given
from minigrad.ops.windows import Ints, Pairs, Size, _batched, _exact, _in_size, _low, _out_size, _spread, _taps
from minigrad.primitive import primitive
from minigrad.threads import share

BLOCK = 1 << 21
"""Bytes of im2col columns at a time. Columns and product of (64, 6, 14, 14) * (16, 6, 5, 5) took 1.01 ms in blocks of 256 KiB,
0.55 in 1 MiB, 0.48 in 2 MiB and no less beyond."""
FEW = 8
"""Fewer images than this to a block are better taken one by one: (16, 32, 32, 32) at stride 2, columns of 3 images at a time
took 3.15 ms, of single ones 0.74, of 16 1.09."""

# Convolution: the trilinear form  sum x[n, c, stride*m + dilation*k - low] * w[o, c, k] * g[n, o, m].  Its derivative in any
# one of x, w and g is one of three operations on the other two, and so are all their derivatives in turn.
#
# Processor time over PyTorch 2.13's, one thread each, float32, forward / weight / input gradient:
#   (16, 64, 32, 32) * (64, 64, 3, 3), padding 1    1.2 / 1.1 / 1.2
#   (32, 16, 32, 32) * (16, 16, 3, 3), padding 1    1.0 / 1.2 / 1.3
#   (16, 128, 16, 16) * (128, 128, 3, 3), padding 1 1.2 / 1.2 / 1.2
#   (8, 256, 8, 8) * (256, 256, 3, 3), padding 1    1.6 / 1.4 / 1.6
#   (1, 64, 56, 56) * (64, 64, 3, 3), padding 1     1.3 / 1.2 / 1.3
#   (32, 3, 32, 32) * (32, 3, 3, 3), padding 1      1.1 / 0.9 / 0.8
#   (64, 1, 28, 28) * (6, 1, 5, 5), padding 2       0.7 / 0.8 / 0.2
#   (64, 6, 14, 14) * (16, 6, 5, 5)                 1.9 / 1.2 / 1.2
#   (16, 32, 32, 32) * (64, 32, 3, 3), stride 2     1.4 / 1.4 / 1.2
#   (1, 3, 224, 224) * (64, 3, 7, 7), stride 2      1.5 / 1.4 / 0.4
#   (16, 3, 32, 32) * (64, 3, 4, 4), stride 4       1.5 / 1.5 / 0.3
#   (16, 64, 32, 32) * (64, 64, 1, 1)               1.0 / 1.0 / 1.0
#   (16, 32, 32, 32) * (64, 8, 3, 3), 4 groups      1.0 / 1.0 / 1.2
#   the same, one channel to a group                2.0 / 2.6 / 1.6; with stride 2 3.9 / 3.6 / 2.8


def _pointwise(kernel: Ints, stride: Ints, padding: Pairs) -> bool:
    """Whether a convolution is one plain matrix product per image."""
    return prod(kernel) == prod(stride) == 1 and not any(map(any, padding))


def _tiled(out: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> bool:
    """Whether windows neither overlap nor leave gaps, the patches of an image or the whole of it, and are at least 4 wide.

    Then columns are the input in another order, and one product with all filters does. Of the time of columns tap by tap, forward /
    weight / input gradient: (64, 16, 5, 5) * (120, 16, 5, 5) 0.5 / 0.3 / 0.3; (8, 3, 224, 224) * (64, 3, 16, 16) at stride 16
    0.3 / 0.5 / 0.2; (16, 64, 32, 32) * (64, 64, 4, 4) at stride 4 0.6 / 0.5 / 1.3; but of 2 by 2, in runs of two numbers, 1.6 to 2.
    """
    axes = zip(out, kernel, stride, padding, dilation)
    apart = all((s == k or m == 1) and (d == 1 or k == 1) and low == 0 >= high for m, k, s, (low, high), d in axes)
    return apart and (prod(out) == 1 or kernel[-1] >= 4)


def _cut(x: Any, out: Ints, kernel: Ints, groups: int) -> Any:
    """The tiles of (N, C, ...) as rows: (groups, N * out, C/groups * kernel)."""
    (N, C), n = x.shape[:2], len(out)
    x = x[..., *(slice(m * k) for m, k in zip(out, kernel))]
    x = x.reshape(N, groups, C // groups, *itertools.chain(*zip(out, kernel)))
    order = (1, 0, *range(3, 3 + 2 * n, 2), 2, *range(4, 4 + 2 * n, 2))
    return x.transpose(order).reshape(groups, N * prod(out), C // groups * prod(kernel))


def _sewn(rows: Any, N: int, size: Ints, out: Ints, kernel: Ints) -> Any:
    """The way back: rows of tiles as (N, C, ...), zero where no tile lies."""
    xp, n, C = namespace(rows), len(out), rows.shape[0] * rows.shape[2] // prod(kernel)
    tiles = rows.reshape(len(rows), N, *out, C // len(rows), *kernel)
    order = (1, 0, 2 + n, *itertools.chain(*((2 + i, 3 + n + i) for i in range(n))))
    inside = tuple(m * k for m, k in zip(out, kernel))
    x = tiles.transpose(order).reshape(N, C, *inside)
    if inside == size:
        return xp.ascontiguousarray(x)
    whole = xp.zeros((N, C, *size), dtype=rows.dtype)
    whole[..., *map(slice, inside)] = x
    return whole


def _blocks(N: int, row_bytes: int, out: Ints) -> tuple[list[slice], list[tuple[int, int]]]:
    """Which images, and which rows of their output, are worked on together."""
    images = BLOCK // max(1, row_bytes * out[0])
    images = max(1, min(N, images if images >= FEW else 1))
    rows = max(1, min(out[0], 2 * BLOCK // max(1, row_bytes)))
    return [slice(n, n + images) for n in range(0, N, images)], [(r, min(r + rows, out[0])) for r in range(0, out[0], rows)]


def _columns(
    x: Any, out: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> Iterator[tuple[slice, slice, Any]]:
    """im2col block by block in one reused buffer: which images, which outputs, and columns (C * K, outputs * images).

    The images are the last axis, so one copy along a tap moves long runs even where the images are small.
    """
    xp, (N, C, *size), area = namespace(x), x.shape, prod(out[1:])
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
            yield (
                images,
                slice(first * area, last * area),
                columns.reshape(C * prod(kernel), (last - first) * area * block.shape[-1]),
            )


def _conv_forward(x: Any, w: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    xp, (N, C), O, kernel = namespace(x), x.shape[:2], w.shape[0], w.shape[2:]
    out = _out_size(x.shape[2:], kernel, stride, padding, dilation)
    matrix = xp.ascontiguousarray(w.reshape(groups, O // groups, w.shape[1] * prod(kernel)))
    if _pointwise(kernel, stride, padding):
        return (matrix @ x.reshape(N, groups, C // groups, prod(out))).reshape(N, O, *out)
    if _tiled(out, kernel, stride, padding, dilation):
        y = _cut(x, out, kernel, groups) @ matrix.swapaxes(-1, -2)
        return _sewn(y, N, out, out, (1,) * len(out))
    if xp is np:
        return _conv_blocked(x, w, stride, padding, dilation, groups)
    y = xp.empty((N, O, prod(out)), dtype=np.result_type(x, w))
    for images, outputs, columns in _columns(x, out, kernel, stride, padding, dilation):
        part = matrix @ columns.reshape(groups, matrix.shape[2], columns.shape[1])
        target = y[images, :, outputs]
        target[...] = xp.moveaxis(part.reshape(O, target.shape[2], len(target)), -1, 0)
    return y.reshape(N, O, *out)


def _weight_forward(x: Any, g: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    xp, (N, C), O, size, out = namespace(x), x.shape[:2], g.shape[1], x.shape[2:], g.shape[2:]
    kernel = tuple((n + sum(p) - 1 - (m - 1) * s) // d + 1 for n, m, s, p, d in zip(size, out, stride, padding, dilation))
    depth, width = C // groups * prod(kernel), O // groups
    if _pointwise(kernel, stride, padding):
        x, g = x.reshape(N, groups, depth, prod(out)), g.reshape(N, groups, width, prod(out))
        return (g @ x.swapaxes(-1, -2)).sum(0).reshape(O, C // groups, *kernel)
    if _tiled(out, kernel, stride, padding, dilation):
        one = (1,) * len(out)
        w = _cut(g, out, one, groups).swapaxes(-1, -2) @ _cut(x, out, kernel, groups)
        return w.reshape(O, C // groups, *kernel)
    if xp is np:
        return _weight_blocked(x, g, kernel, stride, padding, dilation, groups)
    w = xp.zeros((groups, depth, width), dtype=np.result_type(x, g))
    g = g.reshape(N, O, prod(out))
    for images, outputs, columns in _columns(x, out, kernel, stride, padding, dilation):
        part = xp.moveaxis(g[images, :, outputs], 0, -1).reshape(groups, width, columns.shape[1]).swapaxes(-1, -2)
        columns = columns.reshape(groups, depth, columns.shape[1])
        # OpenBLAS splits long thin products badly: (25, 8192) @ (8192, 6) takes 3 times as long as in pieces of 4096.
        for p in range(0, columns.shape[2], 4096):
            w += columns[:, :, p : p + 4096] @ part[:, p : p + 4096]
    return w.swapaxes(-1, -2).reshape(O, C // groups, *kernel)


def _transpose_phases(g: Any, w: Any, size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    """Inputs at the same place modulo the stride S are a convolution of ``g`` with every S-th tap of the turned kernel.

    On no axis may both stride and dilation be more than 1.
    """
    xp, (N, O), out, C = namespace(g), g.shape[:2], g.shape[2:], w.shape[1] * groups
    one = (1,) * len(size)
    turned = w.reshape(groups, O // groups, C // groups, *w.shape[2:]).swapaxes(1, 2).reshape(C, O // groups, *w.shape[2:])
    turned = turned[..., *(slice(None, None, -1),) * len(size)]
    x = xp.zeros((N, C, *size), dtype=np.result_type(g, w)) if prod(stride) > 1 else None
    for place in itertools.product(*map(range, map(min, stride, size))):
        taps, back, inputs = [], [], []
        for a, n, m, K, s, d, (p, _) in zip(place, size, out, w.shape[2:], stride, dilation, padding):
            first = (a + p) % s
            count = max(0, -(-(K - first) // s))
            low = d * (count - 1) - (a + p) // s
            taps.append(slice((K - 1 - first) % s, K - first, s) if count else slice(0, 0))
            back.append((low, -(-(n - a) // s) + d * (count - 1) - m - low))
            inputs.append(slice(a, None, s))
        kernel = turned[..., *taps]
        if x is None:
            return _conv_forward(g, kernel, one, tuple(back), dilation, groups)
        if kernel.size:
            x[..., *inputs] = _conv_forward(g, kernel, one, tuple(back), dilation, groups)
    return x


def _transpose_forward(g: Any, w: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    xp, (N, O), out, kernel, C = namespace(g), g.shape[:2], g.shape[2:], w.shape[2:], w.shape[1] * groups
    size = _in_size(out, kernel, stride, padding, dilation)
    depth, width = C // groups * prod(kernel), O // groups
    if _tiled(out, kernel, stride, padding, dilation):
        rows = _cut(g, out, (1,) * len(out), groups) @ w.reshape(groups, width, depth)
        return _sewn(rows, N, size, out, kernel)
    if all(1 in pair for pair in zip(stride, dilation)) and O * prod(size) <= 2 * C * prod(out) * prod(stride):
        # A convolution copies columns of O * size; the overlap-add below adds C * out of them.
        return _transpose_phases(g, w, size, stride, padding, dilation, groups)
    x = xp.zeros((N, C, *size), dtype=np.result_type(g, w))
    blocks, rows = _blocks(N, C * prod(kernel) * prod(out[1:]) * x.itemsize, out)
    alone = xp is not np or N * O * C * prod(kernel) * prod(out) < SHARED * groups
    matrix, product = w.reshape(groups, width, depth).swapaxes(-1, -2), xp.matmul if alone else _product

    def work(todo: Iterator[int]) -> None:
        for images in (blocks[k] for k in todo):
            target = x[images]
            block = xp.zeros((C, *size, len(target)), dtype=x.dtype)
            for first, last in rows:
                part = xp.moveaxis(g[images, :, first:last], 0, -1)
                columns = product(matrix, part.reshape(groups, width, prod(part.shape[1:])))
                columns = columns.reshape(C, prod(kernel), *part.shape[1:])
                low = (padding[0][0] - first * stride[0], *_low(padding[1:]))
                for k, outputs, inputs in _taps(size, part.shape[1:-1], kernel, stride, low, dilation):
                    block[:, *inputs] += columns[:, k][:, *outputs]
            target[...] = xp.moveaxis(block, -1, 0)

    share(work, len(blocks), alone)
    return x


_conv: Callable[..., Any] = primitive(
    _conv_forward,
    lambda g, y, x, w, *geometry: _conv_transpose(g, w, *geometry),
    lambda g, y, x, w, *geometry: _conv_weight(x, g, *geometry),
    needs=("b", "a"),
    name="conv",
    rule=("conv_transpose(g, w)", "conv_weight(x, g)"),
    gate="cross-correlation; its gradients are correlations again",
    math="y[o, m] = sum over c, k of w[o, c, k] x[c, S m + D k - P]",
)
_conv_transpose: Callable[..., Any] = primitive(
    _transpose_forward,
    lambda g, y, a, w, *geometry: _conv(g, w, *geometry),
    lambda g, y, a, w, *geometry: _conv_weight(g, a, *geometry),
    needs=("b", "a"),
    name="conv_transpose",
    rule=("conv(g, w)", "conv_weight(g, a)"),
    gate="transposed cross-correlation; its gradients are correlations again",
    math="y[c, S m + D k - P] = sum over o, m, k that meet there of w[o, c, k] x[o, m]",
)
_conv_weight: Callable[..., Any] = primitive(
    _weight_forward,
    lambda g, y, x, a, *geometry: _conv_transpose(a, g, *geometry),
    lambda g, y, x, a, *geometry: _conv(x, g, *geometry),
    needs=("b", "a"),
    name="conv_weight",
    rule=("conv_transpose(a, g)", "conv(x, g)"),
    gate="correlation of inputs with upstream gradients; its gradients are correlations again",
    math="y[o, c, k] = sum over n, m of g[n, o, m] x[n, c, S m + D k - P]",
)


# The public functions: arguments in PyTorch's order, brought to the exact geometry.


def _channels(op: str, x: Any, weight: Any, bias: Any, groups: int, n: int, inputs: int, outputs: int) -> Any:
    """Check what ``weight``, ``bias`` and ``groups`` say about channels; return the bias ready to be added."""
    told = f"{op}: input {tuple(x.shape)}, weight {tuple(weight.shape)}, groups {groups}: "
    if weight.ndim != n + 2:
        raise ShapeError(f"{told}expected a weight of {n + 2} axes (two of channels, then the kernel's)")
    if groups < 1 or weight.shape[0] % groups:
        raise ShapeError(f"{told}expected groups to divide the weight's first axis, {weight.shape[0]}")
    if x.shape[1] != inputs:
        raise ShapeError(f"{told}expected an input of {inputs} channels, got {x.shape[1]}; channels come right after the batch")
    if bias is None:
        return None
    bias = _given(bias)
    if bias.shape != (outputs,):
        raise ShapeError(f"{told}expected a bias of shape ({outputs},), one number per output channel, got {tuple(bias.shape)}")
    return bias.reshape((outputs, *(1,) * n))


def _convolve(n: int, x: Any, weight: Any, bias: Any, stride: Size, padding: Size | str, dilation: Size, groups: int) -> Any:
    op = f"conv{n}d"
    (x, single), weight = _batched(x, n, op), _given(weight)
    outer, inner = (*weight.shape, 0, 0)[:2]
    bias = _channels(op, x, weight, bias, groups, n, inner * groups, outer)
    kernel, steps, spaces = weight.shape[2:], _spread(stride, n, f"{op}: stride"), _spread(dilation, n, f"{op}: dilation")
    if padding == "same":
        if prod(steps) != 1:
            raise ShapeError(f"{op}: padding='same' keeps the size, which stride {steps} cannot: use stride 1 or a number")
        total = (d * (k - 1) for k, d in zip(kernel, spaces))
        pairs: Pairs = tuple((t // 2, t - t // 2) for t in total)
    elif isinstance(padding, str) and padding != "valid":
        raise ShapeError(f"{op}: padding={padding!r}: expected 'same', 'valid', an integer, or {n} of them")
    else:
        pairs = tuple((p, p) for p in _spread(0 if isinstance(padding, str) else padding, n, f"{op}: padding", 0))
    pairs, _ = _exact(op, x.shape[2:], kernel, steps, pairs, spaces)
    y = _conv(x, weight, steps, pairs, spaces, groups)
    y = y if bias is None else y + bias
    return y.reshape(y.shape[1:]) if single else y


def _convolve_transposed(
    n: int, x: Any, weight: Any, bias: Any, stride: Size, padding: Size, output_padding: Size, groups: int, dilation: Size
) -> Any:
    op = f"conv_transpose{n}d"
    (x, single), weight = _batched(x, n, op), _given(weight)
    outer, inner = (*weight.shape, 0, 0)[:2]
    bias = _channels(op, x, weight, bias, groups, n, outer, inner * groups)
    kernel, steps, spaces = weight.shape[2:], _spread(stride, n, f"{op}: stride"), _spread(dilation, n, f"{op}: dilation")
    extra, pads = _spread(output_padding, n, f"{op}: output_padding", 0), _spread(padding, n, f"{op}: padding", 0)
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, spaces)):
        raise ShapeError(f"{op}: output_padding {extra}: expected less than stride {steps} or dilation {spaces}")
    pairs = tuple((p, p - e) for p, e in zip(pads, extra))
    out = _in_size(x.shape[2:], kernel, steps, pairs, spaces)
    if min(out) < 1 or min(x.shape[2:]) < 1:
        raise ShapeError(f"{op}: input {tuple(x.shape)} would give an output of {out}: use less padding or a larger kernel")
    y = _conv_transpose(x, weight, steps, pairs, spaces, groups)
    y = y if bias is None else y + bias
    return y.reshape(y.shape[1:]) if single else y


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size | str = 0, dilation: Size = 1, groups: int = 1
) -> Any:
    """Convolution along one axis: :func:`conv2d` for x of (N, C, L) and a weight of (O, C/groups, K).

    Example:
        >>> import minigrad as mg
        >>> mg.conv1d(mg.tensor([[1.0, 2.0, 4.0]]), mg.tensor([[[1.0, -1.0]]])).numpy().tolist()
        [[-1.0, -2.0]]
    """
    return _convolve(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size | str = 0, dilation: Size = 1, groups: int = 1
) -> Any:
    """Slide filters over images: y[o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] x[c, S i + D u - P, S j + D v - P].

    A cross-correlation, as in PyTorch: the filter is not turned round. With a filter of F, stride S, padding P and dilation D
    an axis of N becomes (N + 2P - D(F - 1) - 1)//S + 1 (notes 001, "Convolution").

    Args:
        x: (N, C, H, W), or (C, H, W) for a single image.
        weight: (O, C/groups, kernel height, kernel width): O filters.
        bias: (O,), or None.
        stride: how far a window moves; an integer, or one per axis, as are padding and dilation.
        padding: zeros around the input; "valid" is none, "same" as many as keep the size (with stride 1).
        dilation: the distance between a filter's taps.
        groups: channels in so many groups; each is seen by its own O/groups filters only.

    Raises:
        ShapeError: if channels, groups or bias do not fit the weight, or the filter is larger than the padded input.

    Example:
        >>> import minigrad as mg
        >>> mg.conv2d(mg.ones((1, 3, 32, 32)), mg.ones((10, 3, 5, 5)), padding=2).shape
        (1, 10, 32, 32)
    """
    return _convolve(2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size | str = 0, dilation: Size = 1, groups: int = 1
) -> Any:
    """Convolution in three dimensions: :func:`conv2d` for x of (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> mg.conv3d(mg.ones((1, 2, 4, 5, 6)), mg.ones((3, 2, 2, 2, 2))).shape
        (1, 3, 3, 4, 5)
    """
    return _convolve(3, x, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0, output_padding: Size = 0, groups: int = 1,
    dilation: Size = 1,
) -> Any:  # fmt: skip
    """Transposed convolution along one axis: :func:`conv_transpose2d` for x of (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> mg.conv_transpose1d(mg.tensor([[1.0, 2.0]]), mg.tensor([[[1.0, 10.0]]]), stride=2).numpy().tolist()
        [[1.0, 10.0, 2.0, 20.0]]
    """
    return _convolve_transposed(1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0, output_padding: Size = 0, groups: int = 1,
    dilation: Size = 1,
) -> Any:  # fmt: skip
    """Lay a filter down at every input, scaled by it: y[o, S i + D u - P, ...] += weight[c, o, u, ...] x[c, i, ...].

    As a matrix it is the transpose of :func:`conv2d` with the same arguments, and so that operation's gradient with respect to
    its input (Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning"). An axis of N becomes
    (N - 1)S - 2P + D(F - 1) + 1 + output_padding.

    Args:
        x: (N, C, H, W), or (C, H, W).
        weight: (C, O/groups, kernel height, kernel width).
        bias: (O,), or None.
        stride: that of the convolution which this one transposes, as are padding, dilation and groups.
        padding: so much is cut off at both ends.
        output_padding: rows more at the end: which of the input sizes that a strided convolution takes to N is meant.
        groups: channels in so many groups.
        dilation: the distance between a filter's taps.

    Raises:
        ShapeError: if channels, groups or bias do not fit the weight, or nothing would be left of the output.

    Example:
        >>> import minigrad as mg
        >>> mg.conv_transpose2d(mg.ones((1, 4, 8, 8)), mg.ones((4, 2, 3, 3)), stride=2, padding=1, output_padding=1).shape
        (1, 2, 16, 16)
    """
    return _convolve_transposed(2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    x: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0, output_padding: Size = 0, groups: int = 1,
    dilation: Size = 1,
) -> Any:  # fmt: skip
    """Transposed convolution in three dimensions: :func:`conv_transpose2d` for x of (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> mg.conv_transpose3d(mg.ones((1, 2, 3, 3, 3)), mg.ones((2, 1, 2, 2, 2)), stride=2).shape
        (1, 1, 6, 6, 6)
    """
    return _convolve_transposed(3, x, weight, bias, stride, padding, output_padding, groups, dilation)
