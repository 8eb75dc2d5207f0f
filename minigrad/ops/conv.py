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
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from minigrad.backend import namespace
from minigrad.errors import ShapeError
from minigrad.ops.index import take
from minigrad.ops.reduce import mean
from minigrad.ops.shape import _given, astype, moveaxis
from minigrad.primitive import primitive
from minigrad.threads import share

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Index = tuple[Any, ...]

BLOCK = 1 << 21
"""Bytes of im2col columns at a time. Columns and product of (64, 6, 14, 14) * (16, 6, 5, 5) took 1.01 ms in blocks of 256 KiB,
0.55 in 1 MiB, 0.48 in 2 MiB and no less beyond."""
FEW = 8
"""Fewer images than this to a block are better taken one by one: (16, 32, 32, 32) at stride 2, columns of 3 images at a time
took 3.15 ms, of single ones 0.74, of 16 1.09."""


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
            outputs, inputs = zip(*slices)
            found.append((k, outputs, inputs))
    return found


def _low(padding: Pairs) -> Ints:
    return tuple(p for p, _ in padding)


def _out_size(size: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation))


def _in_size(out: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    return tuple((m - 1) * s + d * (k - 1) + 1 - sum(p) for m, k, s, p, d in zip(out, kernel, stride, padding, dilation))


# Convolution: the trilinear form  sum x[n, c, stride*m + dilation*k - low] * w[o, c, k] * g[n, o, m].  Its derivative in any
# one of x, w and g is one of three operations on the other two, and so are all their derivatives in turn.
#
# Best time over PyTorch 2.13's best (a shared machine of 2 cores, float32), forward / weight gradient / input gradient:
#   (64, 1, 28, 28) * (6, 1, 5, 5), padding 2    2.6 / 2.2 / 0.4     (16, 32, 32, 32) * (64, 32, 3, 3), stride 2   3.1 / 3.0 / 2.7
#   (64, 6, 14, 14) * (16, 6, 5, 5)              3.3 / 1.9 / 2.1     (16, 32, 32, 32) * (64, 8, 3, 3), 4 groups    3.0 / 2.5 / 6.0
#   (16, 64, 32, 32) * (64, 64, 3, 3), padding 1 1.8 / 1.5 / 1.8     the same, one channel to a group              7.0 / 8.0 / 6.5
#   (16, 64, 32, 32) * (64, 64, 1, 1)            1.3 / 1.4 / 1.3     (16, 3, 32, 32) * (64, 3, 4, 4), stride 4     2.6 / 2.5 / 0.7


def _pointwise(kernel: Ints, stride: Ints, padding: Pairs) -> bool:
    """Whether a convolution is one plain matrix product per image."""
    return prod(kernel) == prod(stride) == 1 and not any(map(any, padding))


LIMIT = (1 << 19) - 1
"""Multiplications in one product. OpenBLAS computes so small ones on the thread that asks, and two of our threads ask at once:
(64, 192) @ (192, 1088) at 150 to 165 GFLOP/s on two BLAS threads of an idle machine and at 3 to 30 of a busy one, where
they wait for each other; in pieces 105 on each of our threads, in both."""
BUFFER = 1 << 20
"""Bytes of columns at a time, so that they stay in a core's L2 cache until they are multiplied."""
FEW, SHORT = 8, 16
"""Images are taken side by side, as the last axis, where so many fit into the buffer or rows are shorter than this; otherwise
one by one. (16, 32, 32, 32) at stride 2 one by one 1.9 of PyTorch's time, 4 at a time 4.1; (64, 6, 14, 14) 8.3 and, 16 at a time, 2.0."""
RUN = 32
"""Columns of a product come in multiples of this."""
SHARED = 1 << 22
"""From so many multiplications on (about 80 us) the work is shared among threads."""
LANES = 4
"""Partial sums of a weight gradient. Their number is fixed, so that the result does not depend on that of the threads."""


class _Columns:
    """How the columns of a convolution are laid out: an image's (or a few images') rows, block by block, in a reused buffer.

    Columns are copied for the taps along all axes but the first; taps along the first are shifts of whole rows in the buffer,
    one product each, added up. That copies least, unless outputs are so many, or inputs so few, that adding up takes longer:
    (16, 64, 32, 32) * (64, 64, 3, 3) 11.5 ms with shifts, 14.3 with all copied; (32, 3, 32, 32) * (32, 3, 3, 3) 4.1 and 2.2.
    """

    def __init__(
        self, shape: Ints, outer: int, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int, itemsize: int
    ) -> None:
        (N, C), self.size, self.kernel = shape[:2], shape[2:], kernel
        self.out = out = _out_size(self.size, kernel, stride, padding, dilation)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.area = prod(out[1:])
        shared = N * C * outer * prod(kernel) * prod(out) >= SHARED * groups
        self.alone = not shared
        shifted = stride[0] == 1 and kernel[0] > 1 and 2 * C * prod(kernel[1:]) > 3 * outer
        self.shifts = kernel[0] if shifted else 1
        self.taps = (1, *kernel[1:]) if shifted else kernel
        self.depth = C // groups * prod(self.taps)
        row = max(1, C * prod(self.taps) * self.area * itemsize)
        self.together = max(1, min(N, BUFFER // (row * (out[0] + self.halo)), -(-N // LANES) if shared else N))
        self.side = out[-1] < SHORT
        row *= self.together
        rows = max(1, min(out[0], BUFFER // row - self.halo))
        rows = -(-out[0] // -(-out[0] // rows))
        bands = [(r, min(r + rows, out[0])) for r in range(0, out[0], rows)]
        self.tasks = [(slice(n, min(n + self.together, N)), *band) for n in range(0, N, self.together) for band in bands]
        self.rows = rows + self.halo
        self.stale = len(bands) > 1 and any(p > 0 for pair in padding for p in pair)

    @property
    def halo(self) -> int:
        """Rows more than the outputs have."""
        return (self.shifts - 1) * self.dilation[0]

    def walk(self, x: Any, todo: Iterator[int], buffers: dict[int, Any]) -> Iterator[tuple[slice, slice, list[Any]]]:
        """For each task: which images, which outputs, and for each shift columns (groups, depth, outputs * images)."""
        for task in todo:
            images, first, last = self.tasks[task]
            block = x[images]
            block = np.ascontiguousarray(np.moveaxis(block, 0, -1))[None] if self.side else block[..., None]
            n = len(block) * block.shape[-1]
            if n not in buffers:
                buffers[n] = np.zeros((*block.shape[:2], prod(self.taps), self.rows, *self.out[1:], block.shape[-1]), x.dtype)
            elif self.stale:
                buffers[n][...] = 0
            buffer = buffers[n]
            rows = last - first
            low = (self.padding[0][0] - first * self.stride[0], *_low(self.padding[1:]))
            out = (rows + self.halo, *self.out[1:])
            for k, outputs, inputs in _taps(self.size, out, self.taps, self.stride, low, self.dilation):
                buffer[:, :, k][:, :, *outputs] = block[:, :, *inputs]
            shifts = (buffer[:, :, :, i * self.dilation[0] : i * self.dilation[0] + rows] for i in range(self.shifts))
            columns = [c.reshape(len(block), self.groups, self.depth, rows * self.area * block.shape[-1]) for c in shifts]
            yield images, slice(first * self.area, last * self.area), columns


def _pieces(n: int, most: int) -> list[tuple[slice, int, int]]:
    """``n`` as pieces of one size, and a rest: of each of the two, where it lies, how many pieces, how long they are."""
    size = max(1, min(n, most))
    whole = n - n % size
    found = [(slice(0, whole), whole // size, size), (slice(whole, n), 1, n - whole)]
    return [piece for piece in found if piece[0].start < piece[0].stop]


def _multiply(a: Any, b: Any, out: Any) -> None:
    """out = a @ b for a of (groups, M, K) and b of (images, groups, K, n), in products of at most LIMIT."""
    N, g, K, length = b.shape
    for r, m, height in _pieces(a.shape[1], 64):
        for c, n, width in _pieces(length, max(RUN, LIMIT // (height * K) // RUN * RUN)):
            left = a[:, r].reshape(g, m, 1, height, K)
            right = b[..., c].reshape(N, g, 1, K, n, width).swapaxes(3, 4)
            np.matmul(left, right, out=out[:, :, r, c].reshape(N, g, m, height, n, width).swapaxes(3, 4))


def _correlate(a: Any, b: Any, out: Any) -> None:
    """out += a @ b.T for (images, groups, M, n) and (images, groups, K, n), added up over the images.

    Products of few rows and a long sum are fastest: (16, 256) @ (256, 64) 95 GFLOP/s, (64, 64) @ (64, 64) 66.
    """
    N, g, M, length = a.shape
    for r, m, height in _pieces(M, 16):
        for c, k, width in _pieces(b.shape[2], 64):
            for s, n, run in _pieces(length, max(RUN, LIMIT // (height * width) // RUN * RUN)):
                left = a[:, :, r, s].reshape(N, g, m, 1, height, n, run).transpose(0, 5, 1, 2, 3, 4, 6)
                right = b[:, :, c, s].reshape(N, g, 1, k, width, n, run).transpose(0, 5, 1, 2, 3, 6, 4)
                part = np.matmul(left, right).sum((0, 1))
                out[:, r, c] += part.swapaxes(2, 3).reshape(g, m * height, k * width)


def _conv_blocked(x: Any, w: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    N, O, kernel = len(x), len(w), w.shape[2:]
    plan = _Columns(x.shape, O, kernel, stride, padding, dilation, groups, x.itemsize)
    y = np.empty((N, O, prod(plan.out)), np.result_type(x, w))
    # Shifts first: (shifts, groups, outputs, depth); and the depth in parts, so that products stay small.
    terms = w.reshape(groups, O // groups, -1, plan.shifts, plan.depth // max(1, w.shape[1])).transpose(3, 0, 1, 2, 4)
    terms = np.ascontiguousarray(terms.reshape(plan.shifts, groups, O // groups, plan.depth))
    parts = -(-plan.depth // 256)
    cuts = [slice(p * plan.depth // parts, (p + 1) * plan.depth // parts) for p in range(parts)]

    def work(todo: Iterator[int]) -> None:
        total = term = np.empty(0)
        for images, outputs, columns in plan.walk(x, todo, {}):
            shape = len(columns[0]), groups, O // groups, columns[0].shape[3]
            if total.shape != shape:
                total, term = np.empty(shape, y.dtype), np.empty(shape, y.dtype)
            target = y[images, :, outputs]
            out = total if plan.side else target.reshape(shape)
            for i, shifted in enumerate(columns):
                for k, cut in enumerate(cuts):
                    _multiply(terms[i][:, :, cut], shifted[:, :, cut], term if i or k else out)
                    if i or k:
                        np.add(out, term, out=out)
            if plan.side:
                target[...] = np.moveaxis(out.reshape(O, -1, len(target)), -1, 0)

    share(work, len(plan.tasks), plan.alone)
    return y.reshape(N, O, *plan.out)


def _weight_blocked(
    x: Any, g: Any, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    (N, C), O = x.shape[:2], g.shape[1]
    plan = _Columns(x.shape, O, kernel, stride, padding, dilation, groups, x.itemsize)
    lanes = min(LANES, len(plan.tasks))
    w = np.zeros((max(1, lanes), plan.shifts, groups, O // groups, plan.depth), np.result_type(x, g))
    g = g.reshape(N, O, prod(plan.out))

    def work(todo: Iterator[int]) -> None:
        buffers: dict[int, Any] = {}
        for lane in todo:
            for images, outputs, columns in plan.walk(x, iter(range(lane, len(plan.tasks), lanes)), buffers):
                part = g[images, :, outputs]
                part = np.ascontiguousarray(np.moveaxis(part, 0, -1)) if plan.side else part
                part = part.reshape(len(columns[0]), groups, O // groups, columns[0].shape[3])
                for shifted, total in zip(columns, w[lane]):
                    _correlate(part, shifted, total)

    share(work, lanes, plan.alone)
    total = w.sum(0).reshape(plan.shifts, groups, O // groups, C // groups, prod(plan.taps))
    return np.moveaxis(total, 0, 3).reshape(O, C // groups, *kernel)


def _transpose_phases(g: Any, w: Any, size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    """With a stride S, inputs at the same place modulo S are a convolution of ``g`` with every S-th tap of the turned kernel."""
    xp, (N, O), out, C = namespace(g), g.shape[:2], g.shape[2:], w.shape[1] * groups
    one = (1,) * len(size)
    turned = w.reshape(groups, O // groups, C // groups, *w.shape[2:]).swapaxes(1, 2).reshape(C, O // groups, *w.shape[2:])
    turned = turned[..., *(slice(None, None, -1),) * len(size)]
    if prod(stride) == 1:
        back = tuple((d * (k - 1) - p, d * (k - 1) - q) for k, d, (p, q) in zip(w.shape[2:], dilation, padding))
        return _conv_forward(g, turned, one, back, dilation, groups)
    x = xp.zeros((N, C, *size), dtype=np.result_type(g, w))
    for place in itertools.product(*map(range, map(min, stride, size))):
        taps, back, inputs = [], [], []
        for a, n, m, K, s, (p, _) in zip(place, size, out, w.shape[2:], stride, padding):
            first = (a + p) % s
            count = max(0, -(-(K - first) // s))
            low = count - 1 - (a + p) // s
            taps.append(slice((K - 1 - first) % s, K - first, s) if count else slice(0, 0))
            back.append((low, -(-(n - a) // s) - 1 + count - m - low))
            inputs.append(slice(a, None, s))
        kernel = turned[..., *taps]
        if kernel.size:
            x[..., *inputs] = _conv_forward(g, kernel, one, tuple(back), one, groups)
    return x


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


def _transpose_forward(g: Any, w: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    xp, (N, O), out, kernel, C = namespace(g), g.shape[:2], g.shape[2:], w.shape[2:], w.shape[1] * groups
    size = _in_size(out, kernel, stride, padding, dilation)
    depth, width = C // groups * prod(kernel), O // groups
    if all(1 in pair for pair in zip(stride, dilation)) and O * prod(size) <= 2 * C * prod(out) * prod(stride):
        # A convolution copies columns of O * size; the overlap-add below adds C * out of them.
        return _transpose_phases(g, w, size, stride, padding, dilation, groups)
    x = xp.zeros((N, C, *size), dtype=np.result_type(g, w))
    matrix = w.reshape(groups, width, depth).swapaxes(-1, -2)
    blocks, rows = _blocks(N, C * prod(kernel) * prod(out[1:]) * x.itemsize, out)
    for images in blocks:
        target = x[images]
        block = xp.zeros((C, *size, len(target)), dtype=x.dtype)
        for first, last in rows:
            part = xp.moveaxis(g[images, :, first:last], 0, -1)
            columns = matrix @ part.reshape(groups, width, prod(part.shape[1:]))
            columns = columns.reshape(C, prod(kernel), *part.shape[1:])
            low = (padding[0][0] - first * stride[0], *_low(padding[1:]))
            for k, outputs, inputs in _taps(size, part.shape[1:-1], kernel, stride, low, dilation):
                block[:, *inputs] += columns[:, k][:, *outputs]
        target[...] = xp.moveaxis(block, -1, 0)
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


# Pooling. Which position in the window won is found when the gradient is asked for: forward keeps only what it was given.

PIECE = 1 << 18
"""Elements of the larger array worked on at a time: they stay in the L2 cache from one tap to the next."""
SHARED_ELEMENTS = 1 << 19
"""From so many elements on the pieces are shared among threads."""


def _by_pieces(n: int, work: Callable[..., None], out: Any, *arrays: Any) -> Any:
    """``work(out, *arrays)`` on some images' channels at a time, shared among threads; ``n`` axes are the image's."""
    if namespace(out) is not np or not out.size:
        work(out, *arrays)
        return out
    rows = [a.reshape(-1, *a.shape[-n:]) for a in (out, *arrays)]
    step = max(1, PIECE // max(a[0].size for a in rows))

    def run(todo: Iterator[int]) -> None:
        for k in todo:
            work(*(a[k * step : (k + 1) * step] for a in rows))

    share(run, -(-len(rows[0]) // step), sum(a.size for a in rows) < SHARED_ELEMENTS)
    return out


def _lowest(xp: Any, dtype: Any) -> Any:
    return xp.iinfo(dtype).min if dtype.kind in "iu" else False if dtype.kind == "b" else -xp.inf


def _max_forward(x: Any, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    xp, n = namespace(x), len(kernel)
    size = x.shape[-n:]
    out = _out_size(size, kernel, stride, padding, dilation)

    def work(y: Any, x: Any) -> None:
        y[...] = _lowest(xp, x.dtype)
        for _, outputs, inputs in _taps(size, out, kernel, stride, _low(padding), dilation):
            part = y[..., *outputs]
            xp.maximum(part, x[..., *inputs], out=part)

    return _by_pieces(n, work, xp.empty((*x.shape[:-n], *out), dtype=x.dtype), x)


def _winner_forward(x: Any, y: Any, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    xp, n, count = namespace(x), len(kernel), prod(kernel)
    dtype = np.dtype("uint8" if count < 256 else "int32")

    def work(rank: Any, x: Any, y: Any) -> None:
        # Counted from the end, so that the first of equals is the largest: a maximum over bytes, 7 us where copyto(where=) takes 200.
        rank[...] = 0
        nan = bool((y != y).any())
        for k, outputs, inputs in _taps(x.shape[-n:], y.shape[-n:], kernel, stride, _low(padding), dilation):
            part, here = x[..., *inputs], rank[..., *outputs]
            hit = part == y[..., *outputs]
            if nan:
                hit |= part != part
            xp.maximum(here, hit.astype(dtype) * dtype.type(count - k), out=here)
        xp.subtract(dtype.type(count), rank, out=rank)

    return _by_pieces(n, work, xp.empty(y.shape, dtype=dtype), x, y)


def _pick_forward(x: Any, winner: Any, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    xp, n = namespace(x), len(kernel)
    y = xp.zeros(winner.shape, dtype=x.dtype)
    for k, outputs, inputs in _taps(x.shape[-n:], winner.shape[-n:], kernel, stride, _low(padding), dilation):
        xp.copyto(y[..., *outputs], x[..., *inputs], where=winner[..., *outputs] == k)
    return y


def _place_forward(g: Any, winner: Any, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    xp, n = namespace(g), len(kernel)
    size, out = _in_size(g.shape[-n:], kernel, stride, padding, dilation), g.shape[-n:]

    # Winners in the padding, which a maximum never has, are cut off with it.
    room = tuple(n + max(0, p) + max(0, q) for n, (p, q) in zip(size, padding))
    inner = tuple(slice(p, p + n) for n, (p, _) in zip(size, padding))

    def add(x: Any, g: Any, winner: Any) -> None:
        """One addition per window: 9 taps of 3 x 3 with stride 2 took 5 times as long."""
        starts, offsets = _addresses(room, out, kernel, stride, dilation)
        at = offsets.take(winner) + (starts + prod(room) * np.arange(len(g)).reshape(-1, *(1,) * n))
        padded = np.zeros((len(g), *room), x.dtype)
        np.add.at(padded.reshape(-1), at.reshape(-1), g.reshape(-1))
        x[...] = padded[:, *inner]

    def lay(x: Any, g: Any, winner: Any) -> None:
        x[...] = 0
        # A product with the mask takes a quarter of the time of where(), but 0 * inf is not 0.
        finite = bool(xp.isfinite(g).all())
        for k, outputs, inputs in _taps(size, out, kernel, stride, _low(padding), dilation):
            part, hit, target = g[..., *outputs], winner[..., *outputs] == k, x[..., *inputs]
            if apart and finite:
                xp.multiply(part, hit, out=target)
            else:
                target += part * hit if finite else xp.where(hit, part, 0)

    apart = all(s > d * (k - 1) for k, s, d in zip(kernel, stride, dilation))
    work = lay if apart or xp is not np else add
    return _by_pieces(n, work, xp.empty((*g.shape[:-n], *size), dtype=g.dtype), g, winner)


@functools.lru_cache(maxsize=64)
def _addresses(size: Ints, out: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> tuple[Any, Any]:
    """Where each window begins in the flat padded image, and how far from there each of its positions is."""
    starts, offsets, pace = np.zeros((1,) * len(size), np.intp), np.zeros((1,) * len(size), np.intp), 1
    for axis, (n, m, k, s, d) in reversed(list(enumerate(zip(size, out, kernel, stride, dilation)))):
        along = tuple(-1 if a == axis else 1 for a in range(len(size)))
        starts = starts + pace * s * np.arange(m).reshape(along)
        offsets = offsets + pace * d * np.arange(k).reshape(along)
        pace *= n
    return starts, offsets.reshape(-1)


_max_pool: Callable[..., Any] = primitive(
    _max_forward,
    lambda g, y, x, *geometry: _window_place(g, _window_winner(x, y, *geometry), *geometry),
    needs="ya",
    name="max_pool",
    rule=("g at the first maximum of each window",),
    gate="gradient router",
    math="y[m] = max over k of x[S m + D k - P]",
    kink="of equal maxima in a window the first takes the gradient; a NaN wins",
)
_window_winner: Callable[..., Any] = primitive(
    _winner_forward,
    None,
    None,
    needs="",
    name="window_winner",
    gate="no gradient",
    math="y[m] = the first k with x[S m + D k - P] = max",
)
_window_pick: Callable[..., Any] = primitive(
    _pick_forward,
    lambda g, y, x, winner, *geometry: _window_place(g, winner, *geometry),
    None,
    needs=("b", ""),
    name="window_pick",
    rule=("window_place(g, winner)", ""),
    gate="gradient router",
    math="y[m] = x[S m + D k - P] with k = winner[m]",
)
_window_place: Callable[..., Any] = primitive(
    _place_forward,
    lambda g, y, a, winner, *geometry: _window_pick(g, winner, *geometry),
    None,
    needs=("b", ""),
    name="window_place",
    rule=("window_pick(g, winner)", ""),
    gate="gradient router",
    math="y[S m + D k - P] = sum over m with winner[m] = k of x[m]",
)

Counts = float | tuple[Ints, ...]
"""What a sum over a window is divided by: one number, or for each axis the sizes of its windows."""


@functools.lru_cache(maxsize=256)
def _divisor(counts: Counts, dtype: Any) -> Any:
    if isinstance(counts, tuple):
        return functools.reduce(np.multiply.outer, (np.asarray(c, dtype=dtype) for c in counts))
    return counts


def _over(a: Any, counts: Counts) -> Any:
    divisor = _divisor(counts, a.dtype if a.dtype.kind in "fc" else np.dtype(np.float64))
    return a / (divisor if isinstance(divisor, (int, float)) else namespace(a).asarray(divisor))


def _avg_forward(x: Any, kernel: Ints, stride: Ints, padding: Pairs, counts: Counts) -> Any:
    xp, n, one = namespace(x), len(kernel), (1,) * len(kernel)
    size = x.shape[-n:]
    out = _out_size(size, kernel, stride, padding, one)

    def work(y: Any, x: Any) -> None:
        y[...] = 0
        for _, outputs, inputs in _taps(size, out, kernel, stride, _low(padding), one):
            y[..., *outputs] += x[..., *inputs]
        if y.dtype.kind in "fc":
            y[...] = _over(y, counts)

    y = _by_pieces(n, work, xp.empty((*x.shape[:-n], *out), dtype=x.dtype), x)
    return y if y.dtype.kind in "fc" else _over(y, counts)


def _spread_forward(g: Any, kernel: Ints, stride: Ints, padding: Pairs, counts: Counts) -> Any:
    xp, n, one = namespace(g), len(kernel), (1,) * len(kernel)
    size = _in_size(g.shape[-n:], kernel, stride, padding, one)
    apart = all(s >= k for k, s in zip(kernel, stride))

    def work(x: Any, g: Any) -> None:
        x[...] = 0
        g = _over(g, counts)
        for _, outputs, inputs in _taps(size, g.shape[-n:], kernel, stride, _low(padding), one):
            target = x[..., *inputs]
            if apart:
                target[...] = g[..., *outputs]
            else:
                target += g[..., *outputs]

    dtype = g.dtype if g.dtype.kind in "fc" else np.dtype(np.float64)
    return _by_pieces(n, work, xp.empty((*g.shape[:-n], *size), dtype=dtype), g)


_avg_pool: Callable[..., Any] = primitive(
    _avg_forward,
    lambda g, y, x, *geometry: _avg_spread(g, *geometry),
    needs="",
    name="avg_pool",
    rule=("g / count, copied over each window",),
    gate="gradient distributor",
    math="y[m] = 1/|K| sum over k of x[S m + k - P]",
)
_avg_spread: Callable[..., Any] = primitive(
    _spread_forward,
    lambda g, y, a, *geometry: _avg_pool(g, *geometry),
    needs="",
    name="avg_spread",
    rule=("avg_pool(g)",),
    gate="gradient adder",
    math="y[S m + k - P] = sum over m and k that meet there of x[m]/|K|",
)


def _unfold_forward(x: Any, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    (N, C), size = x.shape[:2], x.shape[2:]
    out = _out_size(size, kernel, stride, padding, dilation)
    columns = namespace(x).zeros((N, C, prod(kernel), *out), dtype=x.dtype)
    for k, outputs, inputs in _taps(size, out, kernel, stride, _low(padding), dilation):
        columns[:, :, k, *outputs] = x[..., *inputs]
    return columns


def _fold_forward(columns: Any, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    (N, C, _), out = columns.shape[:3], columns.shape[3:]
    size = _in_size(out, kernel, stride, padding, dilation)
    x = namespace(columns).zeros((N, C, *size), dtype=columns.dtype)
    for k, outputs, inputs in _taps(size, out, kernel, stride, _low(padding), dilation):
        x[..., *inputs] += columns[:, :, k, *outputs]
    return x


_unfold: Callable[..., Any] = primitive(
    _unfold_forward,
    lambda g, y, x, *geometry: _fold(g, *geometry),
    needs="",
    rule=("overlap_add(g)",),
    name="windows",
    gate="copy gate (gradient adder)",
    math="y[k, m] = x[S m + D k - P]",
)
_fold: Callable[..., Any] = primitive(
    _fold_forward,
    lambda g, y, a, *geometry: _unfold(g, *geometry),
    needs="",
    rule=("windows(g)",),
    name="overlap_add",
    gate="add gate (gradient distributor)",
    math="y[S m + D k - P] = sum over k and m that meet there of x[k, m]",
)


# The public functions: arguments in PyTorch's order, brought to the exact geometry above.

Size = int | Sequence[int]


def _spread(value: Any, n: int, what: str, least: int = 1) -> Ints:
    """``value`` for each of ``n`` axes."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    several = given * n if len(given) == 1 else given
    if len(several) != n or not all(hasattr(v, "__index__") and v >= least for v in several):
        raise ShapeError(f"{what}={value!r}: expected an integer of at least {least}, or {n} of them")
    return tuple(v.__index__() for v in several)


def _batched(x: Any, n: int, op: str) -> tuple[Any, bool]:
    """``x`` as a batch, and whether it was a single image."""
    x = _given(x)
    if x.ndim not in (n + 1, n + 2):
        axes = ", ".join(("N", "C", "D", "H", "W")[:2] + ("D", "H", "W")[3 - n :])
        raise ShapeError(
            f"{op}: input has shape {tuple(x.shape)}: expected {n + 2} axes ({axes}), or {n + 1} without the batch"
        )
    return (x, False) if x.ndim == n + 2 else (x.reshape((1, *x.shape)), True)


def _exact(
    op: str, size: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, ceil_mode: bool = False
) -> tuple[Pairs, Ints]:
    """``padding`` that ends where the last window ends (less than nothing where the floor cuts inputs off), and output sizes."""
    pairs, outs = [], []
    for n, k, s, (low, high), d in zip(size, kernel, stride, padding, dilation):
        reach, room = d * (k - 1) + 1, n + low + high
        m = (room - reach) // s + 1
        if ceil_mode and (room - reach) % s and m * s < n + low:
            m += 1
        if m < 1 or k < 1:
            raise ShapeError(
                f"{op}: a window of {kernel} (dilation {dilation}) does not fit into an input of {size} with padding {padding}: "
                f"expected at least {reach} along each axis, got {room}. Pad the input, or use a smaller window."
            )
        pairs.append((low, (m - 1) * s + reach - n - low))
        outs.append(m)
    return tuple(pairs), tuple(outs)


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


def _pooling(
    op: str, n: int, x: Any, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool
) -> tuple[Any, tuple[Ints, Ints, Pairs, Ints], Ints, bool]:
    """The input as a batch, the exact geometry, the sizes of the output, and whether there was no batch."""
    x, single = _batched(x, n, op)
    kernel = _spread(kernel_size, n, f"{op}: kernel_size")
    steps = kernel if stride is None else _spread(stride, n, f"{op}: stride")
    spaces, pads = _spread(dilation, n, f"{op}: dilation"), _spread(padding, n, f"{op}: padding", 0)
    if any(2 * p > k for p, k in zip(pads, kernel)):
        raise ShapeError(f"{op}: padding {pads}: expected at most half of the window {kernel}; a window must meet the input")
    pairs, out = _exact(op, x.shape[2:], kernel, steps, tuple((p, p) for p in pads), spaces, ceil_mode)
    return x, (kernel, steps, pairs, spaces), out, single


def _pool_max(
    n: int, x: Any, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool, indices: bool
) -> Any:
    x, geometry, out, single = _pooling(f"max_pool{n}d", n, x, kernel_size, stride, padding, dilation, ceil_mode)
    y = _max_pool(x, *geometry)
    shape = y.shape[1:] if single else y.shape
    if not indices:
        return y.reshape(shape) if single else y
    # The position in the window, digit by digit from the last axis, as a position in the image.
    digits: Any = astype(_window_winner(x, y, *geometry), np.int64)
    flat, pace = 0 * digits, 1
    for axis, (size, m, k, s, (low, _), d) in reversed(list(enumerate(zip(x.shape[2:], out, *geometry)))):
        first = namespace(x).arange(m).reshape((m, *(1,) * (n - 1 - axis))) * s - low
        flat = flat + (digits % k * d + first) * pace
        digits, pace = digits // k, pace * size
    return y.reshape(shape), flat.reshape(shape)


def _pool_avg(
    n: int, x: Any, kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None = None,
) -> Any:  # fmt: skip
    x, geometry, out, single = _pooling(f"avg_pool{n}d", n, x, kernel_size, stride, padding, 1, ceil_mode)
    kernel, steps, pairs, _ = geometry
    edges = _spread(padding, n, "padding", 0) if count_include_pad else (0,) * n
    counts = tuple(
        tuple(min(i * s - low + k, size + edge) - max(i * s - low, -edge) for i in range(m))
        for size, m, k, s, (low, _), edge in zip(x.shape[2:], out, kernel, steps, pairs, edges)
    )
    if divisor_override == 0:
        raise ShapeError(f"avg_pool{n}d: divisor_override=0: expected a number other than zero, or None")
    alike = all(set(c) == {k} for c, k in zip(counts, kernel))
    y = _avg_pool(x, kernel, steps, pairs, divisor_override or (prod(kernel) if alike else counts))
    return y.reshape(y.shape[1:]) if single else y


def max_pool1d(
    x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The maximum of each window along one axis: :func:`max_pool2d` for x of (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> mg.max_pool1d(mg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2).numpy().tolist()
        [[3.0, 2.0]]
    """
    return _pool_max(1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The maximum of each window: y[c, i, j] = max over u, v of x[c, S i + D u - P, S j + D v - P].

    A gradient router: only the input that won takes the gradient, the first one where several are equal. An axis of N becomes
    (N + 2P - D(F - 1) - 1)//S + 1 (notes 001, "Convolution").

    Args:
        x: (N, C, H, W), or (C, H, W).
        kernel_size: the window; an integer, or one per axis, as are the others.
        stride: how far a window moves; by default its own size.
        padding: how far windows begin before the input; what lies there never wins.
        dilation: the distance between the elements of a window.
        ceil_mode: also take the last window that begins inside but does not end there.
        return_indices: also return where in its H x W plane each winner was.

    Raises:
        ShapeError: if the window is larger than the padded input, or the padding than half the window.

    Example:
        >>> import minigrad as mg
        >>> mg.max_pool2d(mg.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2).numpy().tolist()
        [[[4.0]]]
    """
    return _pool_max(2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The maximum of each window in three dimensions: :func:`max_pool2d` for x of (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> mg.max_pool3d(mg.ones((1, 2, 4, 4, 4)), 2).shape
        (1, 2, 2, 2, 2)
    """
    return _pool_max(3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """The mean of each window along one axis: :func:`avg_pool2d` for x of (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> mg.avg_pool1d(mg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2).numpy().tolist()
        [[2.0, 1.0]]
    """
    return _pool_avg(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window: y[c, i, j] = 1/|K| sum over u, v of x[c, S i + u - P, S j + v - P].

    A gradient distributor: each input of a window takes 1/|K| of its gradient. Sizes as for :func:`max_pool2d`.

    Args:
        x: (N, C, H, W), or (C, H, W).
        kernel_size: the window.
        stride: how far it moves; by default its own size.
        padding: zeros around the input.
        ceil_mode: also take the last window that begins inside but does not end there.
        count_include_pad: whether the zeros of the padding count in |K|.
        divisor_override: divide by this instead of |K|.

    Raises:
        ShapeError: if the window is larger than the padded input, or the padding than half the window.

    Example:
        >>> import minigrad as mg
        >>> mg.avg_pool2d(mg.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2).numpy().tolist()
        [[[2.5]]]
    """
    return _pool_avg(2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    x: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window in three dimensions: :func:`avg_pool2d` for x of (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> mg.avg_pool3d(mg.ones((1, 2, 4, 4, 4)), 2).shape
        (1, 2, 2, 2, 2)
    """
    return _pool_avg(3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _adaptive(op: str, n: int, x: Any, output_size: Any) -> tuple[Any, list[tuple[int, int, int]], bool]:
    """The input as a batch, and (axis, its size, its size in the output) from the last axis to the first."""
    x, single = _batched(x, n, op)
    asked = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * n
    if len(asked) == n:
        asked = [size if m is None else m for m, size in zip(asked, x.shape[2:])]
    out = _spread(asked, n, f"{op}: output_size")
    if min(x.shape[2:]) < 1:
        raise ShapeError(f"{op}: input has shape {tuple(x.shape)}: expected at least one element along each pooled axis")
    return x, list(zip(range(n + 1, 1, -1), x.shape[:1:-1], out[::-1])), single


def _adaptive_avg(n: int, x: Any, output_size: Any) -> Any:
    """Means over boxes are means along one axis after the other; uneven pieces are a product with a matrix of weights."""
    x, axes, single = _adaptive(f"adaptive_avg_pool{n}d", n, x, output_size)
    kernel = tuple(size // m if size % m == 0 else 1 for _, size, m in reversed(axes))
    if prod(kernel) > 1:
        x = _avg_pool(x, kernel, kernel, ((0, 0),) * n, prod(kernel))
    for axis, size, m in axes:
        if size % m:
            weights = np.zeros((size, m), x.dtype)
            for i in range(m):
                piece = slice(i * size // m, -(-(i + 1) * size // m))
                weights[piece, i] = 1 / (piece.stop - piece.start)
            x = moveaxis(moveaxis(x, axis, -1) @ namespace(x).asarray(weights), -1, axis)
    return x.reshape(x.shape[1:]) if single else x


def _adaptive_max(n: int, x: Any, output_size: Any) -> Any:
    """A maximum over boxes is one along the last axis, then along the one before: so the first of equals wins here too."""
    x, axes, single = _adaptive(f"adaptive_max_pool{n}d", n, x, output_size)
    for axis, size, m in axes:
        starts, stops = [i * size // m for i in range(m)], [-(-(i + 1) * size // m) for i in range(m)]
        longest = max(stop - start for start, stop in zip(starts, stops))
        if size % m:
            # Pieces of one length: the last element of a short one again, which is never the first of equals.
            x = take(x, np.asarray([min(i + k, j - 1) for i, j in zip(starts, stops) for k in range(longest)]), axis)
        kernel = tuple(longest if k == axis else 1 for k in range(2, n + 2))
        x = x if longest == 1 else _max_pool(x, kernel, kernel, ((0, 0),) * n, (1,) * n)
    return x.reshape(x.shape[1:]) if single else x


def adaptive_avg_pool1d(x: Any, output_size: Any) -> Any:
    """:func:`adaptive_avg_pool2d` along one axis, for x of (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> mg.adaptive_avg_pool1d(mg.tensor([[1.0, 2.0, 6.0]]), 2).numpy().tolist()
        [[1.5, 4.0]]
    """
    return _adaptive_avg(1, x, output_size)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Any:
    """Means over as many windows as ``output_size`` says: along an axis of N, the i-th of M from iN//M up to ceil((i + 1)N/M).

    Args:
        x: (N, C, H, W), or (C, H, W).
        output_size: an integer, or one per axis; None keeps an axis.

    Raises:
        ShapeError: if an output size or the input is empty.

    Example:
        >>> import minigrad as mg
        >>> mg.adaptive_avg_pool2d(mg.ones((1, 3, 7, 5)), (2, None)).shape
        (1, 3, 2, 5)
    """
    return _adaptive_avg(2, x, output_size)


def adaptive_avg_pool3d(x: Any, output_size: Any) -> Any:
    """:func:`adaptive_avg_pool2d` in three dimensions, for x of (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> mg.adaptive_avg_pool3d(mg.ones((1, 3, 4, 7, 5)), 2).shape
        (1, 3, 2, 2, 2)
    """
    return _adaptive_avg(3, x, output_size)


def adaptive_max_pool1d(x: Any, output_size: Any) -> Any:
    """:func:`adaptive_max_pool2d` along one axis, for x of (N, C, L).

    Example:
        >>> import minigrad as mg
        >>> mg.adaptive_max_pool1d(mg.tensor([[1.0, 2.0, 6.0]]), 2).numpy().tolist()
        [[2.0, 6.0]]
    """
    return _adaptive_max(1, x, output_size)


def adaptive_max_pool2d(x: Any, output_size: Any) -> Any:
    """Maxima over as many windows as ``output_size`` says, those of :func:`adaptive_avg_pool2d`.

    Raises:
        ShapeError: if an output size or the input is empty.

    Example:
        >>> import minigrad as mg
        >>> mg.adaptive_max_pool2d(mg.ones((1, 3, 7, 5)), (2, None)).shape
        (1, 3, 2, 5)
    """
    return _adaptive_max(2, x, output_size)


def adaptive_max_pool3d(x: Any, output_size: Any) -> Any:
    """:func:`adaptive_max_pool2d` in three dimensions, for x of (N, C, D, H, W).

    Example:
        >>> import minigrad as mg
        >>> mg.adaptive_max_pool3d(mg.ones((1, 3, 4, 7, 5)), 2).shape
        (1, 3, 2, 2, 2)
    """
    return _adaptive_max(3, x, output_size)


def global_avg_pool(x: Any) -> Any:
    """The mean of each channel over all its positions: (N, C, ...) to (N, C, 1, ...).

    Raises:
        ShapeError: if there is no axis after the channels, or nothing in one.

    Example:
        >>> import minigrad as mg
        >>> mg.global_avg_pool(mg.ones((2, 3, 5, 5))).shape
        (2, 3, 1, 1)
    """
    x = _positions(x, "global_avg_pool")
    return mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)


def global_max_pool(x: Any) -> Any:
    """The maximum of each channel over all its positions: (N, C, ...) to (N, C, 1, ...); the first of equals takes the gradient.

    Raises:
        ShapeError: if there is no axis after the channels, or nothing in one.

    Example:
        >>> import minigrad as mg
        >>> mg.global_max_pool(mg.ones((2, 3, 5, 5))).shape
        (2, 3, 1, 1)
    """
    x = _positions(x, "global_max_pool")
    return _adaptive_max(x.ndim - 2, x, 1)


def _positions(x: Any, op: str) -> Any:
    x = _given(x)
    if x.ndim < 3 or min(x.shape[2:]) < 1:
        raise ShapeError(
            f"{op}: input has shape {tuple(x.shape)}: expected (N, C, ...) with at least one position in a channel"
        )
    return x


def unfold(x: Any, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Any:
    """im2col: every window as a column, (N, C, H, W) to (N, C * kernel, windows), channel by channel.

    Half of a convolution; the other half is a product with the filters as a matrix.

    Args:
        x: (N, C, H, W), or (C, H, W).
        kernel_size: the window.
        dilation: the distance between its elements.
        padding: zeros around the input.
        stride: how far the window moves.

    Raises:
        ShapeError: if the window is larger than the padded input.

    Example:
        >>> import minigrad as mg
        >>> mg.unfold(mg.tensor([[[1.0, 2.0], [3.0, 4.0]]]), (1, 2)).numpy().tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    x, single = _batched(x, 2, "unfold")
    geometry, out = _window("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    y = _unfold(x, *geometry).reshape((x.shape[0], x.shape[1] * prod(geometry[0]), prod(out)))
    return y.reshape(y.shape[1:]) if single else y


def fold(x: Any, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Any:
    """Add columns back where :func:`unfold` took them from: (N, C * kernel, windows) to (N, C, H, W).

    Args:
        x: the columns; (C * kernel, windows) for a single image.
        output_size: H and W.
        kernel_size: that of ``unfold``, as are the others.
        dilation: the distance between the elements of a window.
        padding: zeros around the image.
        stride: how far the window moves.

    Raises:
        ShapeError: if the columns are not those of an image of ``output_size``.

    Example:
        >>> import minigrad as mg
        >>> mg.fold(mg.ones((2, 3)), (1, 4), (1, 2)).numpy().tolist()
        [[[1.0, 2.0, 2.0, 1.0]]]
    """
    x, single = _batched(x, 1, "fold")
    size = _spread(output_size, 2, "fold: output_size")
    (kernel, steps, pairs, spaces), out = _window("fold", size, kernel_size, dilation, padding, stride)
    if x.shape[1] % prod(kernel) or x.shape[2] != prod(out):
        raise ShapeError(
            f"fold: columns have shape {tuple(x.shape)}: expected a multiple of {prod(kernel)} (the window {kernel}) by "
            f"{prod(out)}, as many windows as an image of {size} has"
        )
    y = _fold(x.reshape((x.shape[0], x.shape[1] // prod(kernel), prod(kernel), *out)), kernel, steps, pairs, spaces)
    return y.reshape(y.shape[1:]) if single else y


def _window(
    op: str, size: Ints, kernel_size: Size, dilation: Size, padding: Size, stride: Size
) -> tuple[tuple[Ints, Ints, Pairs, Ints], Ints]:
    kernel, spaces = _spread(kernel_size, 2, f"{op}: kernel_size"), _spread(dilation, 2, f"{op}: dilation")
    steps, pads = _spread(stride, 2, f"{op}: stride"), _spread(padding, 2, f"{op}: padding", 0)
    pairs, out = _exact(op, size, kernel, steps, tuple((p, p) for p in pads), spaces)
    return (kernel, steps, pairs, spaces), out
