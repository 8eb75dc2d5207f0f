"""Windows that move over the last axes: their geometry, im2col and its adjoint.

One idea serves convolution and pooling in one, two and three dimensions: :func:`_taps` walks over the *positions inside the
window*, not over the windows. For each position it says which part of the output meets which part of the input, two plain
slices; padding is the part that a slice leaves out. Copying along the taps makes im2col columns, adding back along them is the
overlap-add, and a maximum or a sum along them pools.

The geometry of every primitive is *exact*: ``size + low + high == (out - 1) * stride + dilation * (kernel - 1) + 1`` on each
axis (the public functions see to it), so each of the three shapes follows from the other two.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from minigrad.backend import namespace
from minigrad.errors import ShapeError
from minigrad.ops.shape import _given
from minigrad.primitive import primitive

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Index = tuple[Any, ...]
Size = int | Sequence[int]
"""What the public functions take for each axis: one integer for all, or as many as there are axes."""


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
