"""Pooling: a maximum or a mean of each window, in one, two and three dimensions by the same code.

The geometry is that of minigrad/ops/windows.py. Which position in the window won is found when the gradient is asked for:
forward keeps only what it was given.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from minigrad.backend import namespace
from minigrad.errors import ShapeError
from minigrad.ops.index import take
from minigrad.ops.reduce import mean
from minigrad.ops.shape import _given, astype, moveaxis
from minigrad.ops.windows import Ints, Pairs, Size, _batched, _exact, _in_size, _low, _out_size, _spread, _taps
from minigrad.primitive import primitive
from minigrad.threads import share

# Processor time in ms, one thread each, float32: forward, backward; PyTorch's:
#   maximum of 2 x 2, (32, 16, 32, 32)   0.30, 0.88; 2.86, 0.30     of 3 x 3, stride 2, padding 1, (16, 64, 32, 32)   1.3, 4.2; 8.1, 0.6
#   mean of 2 x 2, (64, 6, 28, 28)       0.15, 0.16; 0.53, 0.56     of 3 x 3, stride 2, padding 1, (16, 64, 32, 32)   1.3, 1.6; 2.3, 2.6

PIECE = 1 << 18
"""Elements of the larger array worked on at a time: they stay in the L2 cache from one tap to the next."""
SHARED = 1 << 19
"""From so many elements on the pieces are shared among threads."""


def _by_pieces(n: int, work: Callable[..., None], out: Any, *arrays: Any) -> Any:
    """``work(out, *arrays)`` on some images' channels at a time, shared among threads; ``n`` axes are the image's."""
    if namespace(out) is not np or not all(a.size for a in (out, *arrays)):
        work(out, *arrays)
        return out
    rows = [a.reshape(-1, *a.shape[-n:]) for a in (out, *arrays)]
    step = -(-len(rows[0]) // -(-max(a.size for a in rows) // PIECE))

    def run(todo: Iterator[int]) -> None:
        for k in todo:
            work(*(a[k * step : (k + 1) * step] for a in rows))

    share(run, -(-len(rows[0]) // step), sum(a.size for a in rows) < SHARED)
    return out


def _axes(size: Ints, out: Ints, kernel: Ints, stride: Ints, low: Ints, dilation: Ints) -> list[tuple[Ints, Ints, Any]]:
    """A maximum or a sum over a window is one along each axis in turn: sizes before and after, and the taps between them.

    (16, 64, 32, 32) by 3 x 3 with stride 2: the 6 passes take 0.5 of the time of the window's 9, most along whole rows.
    """
    found = []
    for axis in range(len(size)):
        after = (*out[: axis + 1], *size[axis + 1 :])
        only = [tuple(v if a == axis else rest for a, v in enumerate(values)) for values, rest in
                ((kernel, 1), (stride, 1), (low, 0), (dilation, 1))]  # fmt: skip
        if after != size or kernel[axis] > 1:
            found.append((size, after, _taps(size, after, *only)))
        size = after
    return found


def _gather(op: Any, identity: Any, x: Any, y: Any, taps: list[Any]) -> None:
    """Write to ``y`` what ``op`` makes of the taps of ``x``: its first two at once, where they reach all of y.

    That is two passes less, 0.7 of the time for windows of 2 x 2.
    """
    whole = [x[..., *inputs] for _, outputs, inputs in taps[:2] if y[..., *outputs].shape == y.shape]
    if len(whole) == 2:
        op(*whole, out=y)
        taps = taps[2:]
    else:
        y[...] = identity
    for _, outputs, inputs in taps:
        reached = y[..., *outputs]
        op(reached, x[..., *inputs], out=reached)


def _scatter(g: Any, x: Any, taps: list[Any], apart: bool) -> None:
    """Add ``g`` to zeros at all taps, or, in a half of the time, write it there where no two taps meet."""
    if not apart or sum(x[..., *inputs].size for _, _, inputs in taps) < x.size:
        x[...] = 0
    for _, outputs, inputs in taps:
        if apart:
            x[..., *inputs] = g[..., *outputs]
        else:
            x[..., *inputs] += g[..., *outputs]


def _lowest(xp: Any, dtype: Any) -> Any:
    return xp.iinfo(dtype).min if dtype.kind in "iu" else False if dtype.kind == "b" else -xp.inf


def _max_forward(x: Any, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    xp, n = namespace(x), len(kernel)
    size = x.shape[-n:]
    out = _out_size(size, kernel, stride, padding, dilation)

    steps = _axes(size, out, kernel, stride, _low(padding), dilation)

    def work(y: Any, x: Any) -> None:
        for k, (_, after, taps) in enumerate(steps, 1):
            part = y if k == len(steps) else xp.empty((*x.shape[:-n], *after), dtype=x.dtype)
            _gather(xp.maximum, _lowest(xp, x.dtype), x, part, taps)
            x = part
        if not steps:
            y[...] = x

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
        at = offsets.take(winner) + starts + prod(room) * np.arange(prod(g.shape[:-n])).reshape(*g.shape[:-n], *(1,) * n)
        padded: Any = np.zeros((*x.shape[:-n], *room), x.dtype)
        np.add.at(padded.reshape(-1), at.reshape(-1), g.reshape(-1))
        x[...] = padded[..., *inner]

    def lay(x: Any, g: Any, winner: Any) -> None:
        # A product with the mask takes a quarter of the time of where(), but 0 * inf is not 0.
        finite = bool(xp.isfinite(g).all())
        taps = _taps(size, out, kernel, stride, _low(padding), dilation)
        if not (apart and finite and sum(x[..., *inputs].size for _, _, inputs in taps) == x.size):
            x[...] = 0
        for k, outputs, inputs in taps:
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


def _divisor_of(a: Any, counts: Counts) -> Any:
    divisor = _divisor(counts, a.dtype if a.dtype.kind in "fc" else np.dtype(np.float64))
    return divisor if isinstance(divisor, (int, float)) else namespace(a).asarray(divisor)


def _over(a: Any, counts: Counts) -> Any:
    return a / _divisor_of(a, counts)


def _avg_forward(x: Any, kernel: Ints, stride: Ints, padding: Pairs, counts: Counts) -> Any:
    xp, n, one = namespace(x), len(kernel), (1,) * len(kernel)
    size = x.shape[-n:]
    out = _out_size(size, kernel, stride, padding, one)

    steps = _axes(size, out, kernel, stride, _low(padding), one)

    def work(y: Any, x: Any) -> None:
        for k, (_, after, taps) in enumerate(steps, 1):
            part = y if k == len(steps) else xp.empty((*x.shape[:-n], *after), dtype=x.dtype)
            _gather(xp.add, 0, x, part, taps)
            x = part
        if not steps:
            y[...] = x
        if y.dtype.kind in "fc":
            y /= _divisor_of(y, counts)

    y = _by_pieces(n, work, xp.empty((*x.shape[:-n], *out), dtype=x.dtype), x)
    return y if y.dtype.kind in "fc" else _over(y, counts)


def _spread_forward(g: Any, kernel: Ints, stride: Ints, padding: Pairs, counts: Counts) -> Any:
    xp, n, one = namespace(g), len(kernel), (1,) * len(kernel)
    size = _in_size(g.shape[-n:], kernel, stride, padding, one)
    steps = _axes(size, g.shape[-n:], kernel, stride, _low(padding), one)
    apart = all(s >= k for s, k in zip(stride, kernel))

    def work(x: Any, g: Any) -> None:
        g = _over(g, counts)
        for k, (before, _, taps) in enumerate(reversed(steps), 1):
            part = x if k == len(steps) else xp.empty((*x.shape[:-n], *before), dtype=g.dtype)
            _scatter(g, part, taps, apart)
            g = part
        if not steps:
            x[...] = g

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


# The public functions: arguments in PyTorch's order, brought to the exact geometry.


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
