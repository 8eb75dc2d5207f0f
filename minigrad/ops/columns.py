"""Convolution in NumPy's memory: columns a cache holds, products one core computes, blocks that threads share.

What a convolution costs beyond its multiplications is copying, waiting and memory that comes and goes. The two functions here
are the forward computations of the primitives in minigrad/ops/conv.py; on other libraries' arrays those do without.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd, prod
from typing import Any

import numpy as np

from minigrad.ops.windows import Ints, Pairs, _low, _out_size, _taps
from minigrad.threads import share

LIMIT = (1 << 19) - 1
"""Multiplications in one product. OpenBLAS computes so small ones on the thread that asks, and two of our threads ask at once:
(64, 192) @ (192, 1088) at 150 to 165 GFLOP/s on two BLAS threads of an idle machine and at 3 to 30 of a busy one, where
they wait for each other; in pieces 105 on each of our threads, in both."""
DEPTH = 255
"""Longer sums are added up from parts, so that a product of so few multiplications, 64 rows by 32, is no sliver:
(64, 192) @ (192, 32) 109 GFLOP/s, (16, 576) @ (576, 32) 32."""
BUFFER = 1 << 21
"""Bytes of columns at a time. Half of it, which a core's L2 cache could hold, takes 1.0 to 1.3 of the time, twice as much no less."""
SHORT = 16
"""Rows of fewer outputs are short."""
RUN = 32
"""Columns of a product come in multiples of this."""
SHARED = 1 << 25
"""From so many multiplications on the work is shared among threads, each with products of its own. Below, one thread copies and BLAS
shares the products as it sees fit: a second thread would wait for the interpreter at each of many short calls. Forward, weight and
input gradient of (64, 6, 14, 14) * (16, 6, 5, 5) take 0.4, 0.4 and 0.6 of the time on two threads, of (32, 16, 18, 18) *
(32, 16, 3, 3) 1.1, 1.1 and 0.8, of (16, 64, 34, 34) * (64, 64, 3, 3) 1.2, 1.5 and 1.1."""
LANES = 4
"""Partial sums of a weight gradient. Their number is fixed, so that the result does not depend on that of the threads."""


class _Columns:
    """How the columns of a convolution are laid out: an image's (or a few images') rows, block by block, in a reused buffer.

    Columns are copied for the taps along all axes but the first; taps along the first are shifts of whole rows in the buffer,
    one product each, added up. That copies least; where outputs are added up that are many for the inputs, adding takes longer than
    copying all: a copied element counts 5 and an added one 3. Shifts take 0.75 of the time without in the forward pass of
    (64, 1, 32, 32) * (6, 1, 5, 5), 1.4 in that of (32, 3, 34, 34) * (16, 3, 3, 3). Weight gradients are small: theirs takes 0.5 and 0.7.

    Where images are small, as many as fit into the buffer are worked on together: side by side, as the last axis, where rows
    are short and a stride does not cut the runs that this makes; else one after the other. Of PyTorch's time, forward:
    (64, 6, 14, 14) * (16, 6, 5, 5) one by one 8.3, 16 side by side 2.0; (32, 3, 32, 32) * (32, 3, 3, 3) one by one 1.9, several one
    after the other 1.1. At stride 2 (32, 16, 32, 32) * (32, 16, 3, 3) takes 0.8 of its time side by side, its weight gradient 0.7.
    """

    def __init__(
        self,
        shape: Ints,
        outer: int,
        kernel: Ints,
        stride: Ints,
        padding: Pairs,
        dilation: Ints,
        groups: int,
        itemsize: int,
        added: bool,
    ) -> None:
        (N, C), self.size, self.kernel = shape[:2], shape[2:], kernel
        self.out = out = _out_size(self.size, kernel, stride, padding, dilation)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.area = prod(out[1:])
        shared = N * C * outer * prod(kernel) * prod(out) >= SHARED * groups
        self.alone = not shared
        shifted = stride[0] == 1 and kernel[0] > 1 and 5 * C * prod(kernel[1:]) > 3 * outer * added
        self.shifts = kernel[0] if shifted else 1
        self.taps = (1, *kernel[1:]) if shifted else kernel
        self.depth = C // groups * prod(self.taps)
        row = max(1, C * prod(self.taps) * self.area * itemsize)
        self.together = max(1, min(N, BUFFER // (row * (out[0] + self.halo))))
        if shared:  # into an even number of blocks, at least as many as lanes
            self.together = -(-N // max(LANES, 2 * -(-N // (2 * self.together))))
        self.side = out[-1] < SHORT and stride[-1] == 1
        row *= self.together
        rows = max(1, min(out[0], BUFFER // row - self.halo))
        count, each = -(-out[0] // rows), LANES // gcd(LANES, -(-N // self.together) or 1)
        count = -(-count // each) * each if shared and N < LANES else count
        rows = -(-out[0] // count)
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


def _multiply(a: Any, b: Any, out: Any, alone: bool) -> None:
    """Write a @ b to ``out``, for a of (groups, M, K) and b of (images, groups, K, n); not ``alone``, in products of at most LIMIT."""
    if alone:
        np.matmul(a, b, out=out)
        return
    N, g, K, length = b.shape
    for r, m, height in _pieces(a.shape[1], max(16, min(64, LIMIT // (max(1, K) * RUN) // 16 * 16))):
        for c, n, width in _pieces(length, max(RUN, LIMIT // max(1, height * K) // RUN * RUN)):
            left = a[:, r].reshape(g, m, 1, height, K)
            right = b[..., c].reshape(N, g, 1, K, n, width).swapaxes(3, 4)
            np.matmul(left, right, out=out[:, :, r, c].reshape(N, g, m, height, n, width).swapaxes(3, 4))


def _product(a: Any, b: Any) -> Any:
    """The product of (groups, M, K) and (groups, K, n), in products of at most LIMIT."""
    out = np.empty((1, *a.shape[:2], b.shape[2]), np.result_type(a, b))
    _multiply(a, b[None], out, alone=False)
    return out[0]


def _correlate(a: Any, b: Any, out: Any, alone: bool) -> None:
    """Add a @ b to ``out``, for (images, groups, M, n) and (images, groups, n, K), added up over the images.

    Where b lies in rows, a product has up to 6144 results: (150, 1600) @ (1600, 16) at 74 GFLOP/s, in (64, 16) at 66. Where it
    lies in columns, (64, 16): 61 there, in larger ones 49, for each takes all of b apart again.
    """
    if alone:
        out += np.matmul(a, b).sum(0)
        return
    most, results = (64, 6144) if b.strides[3] == b.itemsize else (16, 1024)
    N, g, M, length = a.shape
    for c, k, width in _pieces(b.shape[3], most):
        for r, m, height in _pieces(M, results // width):
            for s, n, run in _pieces(length, max(RUN, LIMIT // (height * width) // RUN * RUN)):
                left = a[:, :, r, s].reshape(N, g, m, 1, height, n, run).transpose(0, 5, 1, 2, 3, 4, 6)
                right = b[:, :, s, c].reshape(N, g, n, run, 1, k, width).transpose(0, 2, 1, 4, 5, 3, 6)
                part = np.matmul(left, right)
                part = part.sum((0, 1)) if N * n > 1 else part[0, 0]
                out[:, r, c] += part.swapaxes(2, 3).reshape(g, m * height, k * width)


def _conv_blocked(x: Any, w: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    N, O, kernel = len(x), len(w), w.shape[2:]
    plan = _Columns(x.shape, O, kernel, stride, padding, dilation, groups, x.itemsize, added=True)
    y = np.empty((N, O, prod(plan.out)), np.result_type(x, w))
    # Shifts first: (shifts, groups, outputs, depth); and the depth in parts, so that products stay small.
    terms = w.reshape(groups, O // groups, -1, plan.shifts, plan.depth // max(1, w.shape[1])).transpose(3, 0, 1, 2, 4)
    terms = np.ascontiguousarray(terms.reshape(plan.shifts, groups, O // groups, plan.depth))
    parts = 1 if plan.alone else max(1, -(-plan.depth // DEPTH))
    cuts = [slice(p * plan.depth // parts, (p + 1) * plan.depth // parts) for p in range(parts)]

    def work(todo: Iterator[int]) -> None:
        total: Any = np.empty(0)
        term: Any = total
        for images, outputs, columns in plan.walk(x, todo, {}):
            shape = len(columns[0]), groups, O // groups, columns[0].shape[3]
            if total.shape != shape:
                total, term = np.empty(shape, y.dtype), np.empty(shape, y.dtype)
            target = y[images, :, outputs]
            out = total if plan.side else target.reshape(shape)
            for i, shifted in enumerate(columns):
                for k, cut in enumerate(cuts):
                    _multiply(terms[i][:, :, cut], shifted[:, :, cut], term if i or k else out, plan.alone)
                    if i or k:
                        np.add(out, term, out=out)
            if plan.side:
                target[...] = np.moveaxis(out.reshape(O, -1, len(target)), -1, 0)

    share(work, len(plan.tasks), plan.alone)
    return y.reshape(N, O, *plan.out)


def _weight_blocked(x: Any, g: Any, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    (N, C), O = x.shape[:2], g.shape[1]
    plan = _Columns(x.shape, O, kernel, stride, padding, dilation, groups, x.itemsize, added=False)
    lanes = min(LANES, len(plan.tasks))
    w = np.zeros((max(1, lanes), plan.shifts, groups, plan.depth, O // groups), np.result_type(x, g))
    g = g.reshape(N, O, prod(plan.out))

    def work(todo: Iterator[int]) -> None:
        buffers: dict[int, Any] = {}
        for lane in todo:
            for images, outputs, columns in plan.walk(x, iter(range(lane, len(plan.tasks), lanes)), buffers):
                part = g[images, :, outputs]
                if plan.side:  # copied in any case, and so in rows
                    part = np.ascontiguousarray(part.transpose(2, 0, 1)).reshape(1, columns[0].shape[3], groups, O // groups)
                    part = part.swapaxes(1, 2)
                else:
                    part = part.reshape(len(part), groups, O // groups, part.shape[2]).swapaxes(2, 3)
                for shifted, total in zip(columns, w[lane]):
                    _correlate(shifted, part, total, plan.alone)

    share(work, lanes, plan.alone)
    total = w.sum(0).reshape(plan.shifts, groups, C // groups, prod(plan.taps), O // groups)
    return total.transpose(1, 4, 2, 0, 3).reshape(O, C // groups, *kernel)
