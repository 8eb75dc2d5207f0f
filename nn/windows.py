"""More pools: maxima with their positions, the way back from those, and p-norms of windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

from minigrad import backend, ops
from minigrad.errors import BadIndexError, DtypeError, ShapeError
from minigrad.nn.numbers import hyperparameters

Size = int | tuple[int, ...]
_MAX = {1: ops.adaptive_max_pool1d, 2: ops.adaptive_max_pool2d, 3: ops.adaptive_max_pool3d}
_AVG: dict[int, Callable[..., Any]] = {1: ops.avg_pool1d, 2: ops.avg_pool2d, 3: ops.avg_pool3d}


def _tuple(value: Any, n: int, name: str) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n
    if len(sizes) != n:
        raise ShapeError(f"{name}={value!r}: expected an integer or {n} of them")
    return sizes


# ---- adaptive maxima -----------------------------------------------------------------------------------------------------


def _adaptive_max(n: int, input: Any, output_size: Any, return_indices: bool) -> Any:
    y = _MAX[n](input, output_size)
    if not return_indices:
        return y
    sizes, outs = tuple(input.shape[-n:]), tuple(y.shape[-n:])
    pieces = [[(i * size // m, -(-(i + 1) * size // m)) for i in range(m)] for size, m in zip(sizes, outs)]
    cells = [_first_largest(input, box, sizes) for box in product(*pieces)]
    return y, ops.stack(cells, axis=-1).reshape(tuple(y.shape))


def _first_largest(input: Any, box: tuple[tuple[int, int], ...], sizes: tuple[int, ...]) -> Any:
    """Where in the flattened image the first of the largest elements of a box is."""
    n = len(sizes)
    inside = input[(..., *(slice(low, high) for low, high in box))]
    at = ops.argmax(inside.reshape((*input.shape[:-n], math.prod(high - low for low, high in box))), axis=-1)
    flat, pace = 0 * at, 1
    for (low, high), size in zip(reversed(box), reversed(sizes)):
        flat = flat + (at % (high - low) + low) * pace
        at, pace = at // (high - low), pace * size
    return flat


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """:func:`adaptive_max_pool2d` for (N, C, L)."""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum of each of ``output_size`` windows: along an axis of N, the i-th of M goes from iN//M up to ceil((i + 1)N/M).

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: M, an integer or one per axis; None keeps an axis.
        return_indices: return the winners' positions in the flattened image too.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> y, at = F.adaptive_max_pool2d(mg.tensor([[[1.0, 3.0, 2.0]]]), 1, return_indices=True)
        >>> y.tolist(), at.tolist()
        ([[[3.0]]], [[[1]]])
    """
    return _adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """:func:`adaptive_max_pool2d` for (N, C, D, H, W)."""
    return _adaptive_max(3, input, output_size, return_indices)


# ---- the way back --------------------------------------------------------------------------------------------------------


def _unpool(n: int, input: Any, indices: Any, kernel_size: Size, stride: Size | None, padding: Size, output_size: Any) -> Any:
    op = f"max_unpool{n}d"
    if input.ndim not in (n + 1, n + 2) or tuple(indices.shape) != tuple(input.shape):
        raise ShapeError(
            f"{op}: input has shape {tuple(input.shape)}, indices {tuple(indices.shape)}: expected equal shapes of {n + 1} or "
            f"{n + 2} axes"
        )
    if indices.dtype.kind not in "iu":
        raise DtypeError(
            f"{op}: indices have dtype {indices.dtype}: expected integers, of max_pool{n}d(..., return_indices=True)"
        )
    kernel = _tuple(kernel_size, n, "kernel_size")
    steps = kernel if stride is None else _tuple(stride, n, "stride")
    pads = _tuple(padding, n, "padding")
    default = tuple((size - 1) * s - 2 * p + k for size, s, p, k in zip(input.shape[-n:], steps, pads, kernel))
    sizes = default if output_size is None else tuple(output_size)[-n:]
    if len(sizes) != n or any(not d - s < size < d + s for size, d, s in zip(sizes, default, steps)):
        raise ShapeError(f"{op}: output_size {sizes}: expected within one stride {steps} of {default}")
    flat = tuple(input.shape[:-n])
    count = math.prod(sizes)
    at = getattr(indices, "_data", indices)
    if at.size and not 0 <= int(at.min()) <= int(at.max()) < count:
        raise BadIndexError(
            f"{op}: indices go from {int(at.min())} to {int(at.max())}: expected 0 to {count - 1}, for sizes {sizes}"
        )
    xp = backend.namespace(getattr(input, "_data", input))
    empty = xp.zeros((*flat, count), dtype=input.dtype)
    spots = indices.reshape((*flat, math.prod(input.shape[-n:])))
    return ops.put_along_axis(empty, spots, input.reshape(tuple(spots.shape)), -1).reshape((*flat, *sizes))


def max_unpool1d(
    input: Any, indices: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, output_size: Any = None
) -> Any:
    """:func:`max_unpool2d` for (N, C, L)."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, output_size: Any = None
) -> Any:
    """Maxima back where they came from, zeros elsewhere: (N, C, H, W) to (N, C, H', W') (Zeiler & Fergus 2014).

    Args:
        input: what a pool returned.
        indices: the positions it returned with ``return_indices=True``.
        kernel_size: the pool's window, as are the next two its arguments.
        stride: the window itself if None.
        padding: of the pool.
        output_size: the pool's input size; (M - 1)S - 2P + F per axis if None.

    Raises:
        ShapeError: if shapes do not fit each other, or the size not the pool.
        DtypeError: if the indices are not integers.
        IndexError: if a position lies outside.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> y, at = F.max_pool2d(mg.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2, return_indices=True)
        >>> F.max_unpool2d(y, at, 2).tolist()
        [[[0.0, 0.0], [4.0, 0.0]]]
    """
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any, indices: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, output_size: Any = None
) -> Any:
    """:func:`max_unpool2d` for (N, C, D, H, W)."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


# ---- p-norms -------------------------------------------------------------------------------------------------------------


def _lp(n: int, input: Any, p: float, kernel_size: Size, stride: Size | None, ceil_mode: bool) -> Any:
    kernel = _tuple(kernel_size, n, "kernel_size")
    mean = _AVG[n](input**p, kernel, stride, 0, ceil_mode)
    return (ops.sign(mean) * ops.relu(ops.abs(mean)) * math.prod(kernel)) ** (1 / p)


@hyperparameters
def lp_pool1d(input: Any, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> Any:
    """:func:`lp_pool2d` for (N, C, L)."""
    return _lp(1, input, norm_type, kernel_size, stride, ceil_mode)


@hyperparameters
def lp_pool2d(input: Any, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> Any:
    """``y = (sum of x**p over each window)**(1/p)``: the sum for p = 1, towards the maximum for large p.

    Args:
        input: (N, C, H, W) or (C, H, W). For odd p it should not be negative, for a window that sums to 0 there is no gradient.
        norm_type: p.
        kernel_size: the window, an integer or one per axis.
        stride: the window itself if None.
        ceil_mode: also take a last window that begins inside but does not end there.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.lp_pool2d(mg.tensor([[[3.0, 4.0]]]), 2, (1, 2)).tolist()
        [[[5.0]]]
    """
    return _lp(2, input, norm_type, kernel_size, stride, ceil_mode)


@hyperparameters
def lp_pool3d(input: Any, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> Any:
    """:func:`lp_pool2d` for (N, C, D, H, W)."""
    return _lp(3, input, norm_type, kernel_size, stride, ceil_mode)
