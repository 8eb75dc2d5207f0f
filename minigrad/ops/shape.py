"""Shape ops: the same numbers in another arrangement. Their gradients are only moved back, or, where numbers were copied, added.

Rows of the table first, then the functions composed of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np

from minigrad import halves
from minigrad.backend import from_python, namespace, ndarray
from minigrad.errors import DtypeError, ShapeError
from minigrad.graph import Handle
from minigrad.primitive import Each, primitive

Shape = int | Sequence[int]
Axes = int | Sequence[int] | None

FAN = 8
"""A split into more pieces than this goes through groups of ``FAN``: n pieces of an array cost its backward pass about
``FAN * log(n) / log(FAN)`` times the array's memory traffic instead of n times (1,000 time steps: 27 instead of 1,000)."""


def _given(a: Any) -> Any:
    """``a``, or the array of a list or number: something with a shape."""
    return a if hasattr(a, "shape") else from_python(a)


def _axis(axis: SupportsIndex, ndim: int, op: str) -> int:
    """``axis`` counted from the front; an error that names the op where it does not exist."""
    k = axis.__index__()
    if not -ndim <= k < ndim:
        raise ShapeError(f"{op}: axis {k} does not exist in an array of {ndim} axes: expected {-ndim} to {ndim - 1}")
    return k % ndim


def _axes(axes: Axes, ndim: int, op: str) -> tuple[int, ...]:
    several: Any = (axes,) if hasattr(axes, "__index__") else axes
    found = tuple(_axis(k, ndim, op) for k in several)
    if len(set(found)) != len(found):
        raise ShapeError(f"{op}: axes {axes} name an axis twice")
    return found


# ---- the table -----------------------------------------------------------------------------------------------------------


def _reshape(a: Any, shape: Shape) -> Any:
    """The same elements, in the same row-major order, in another shape.

    Args:
        a: an array of any shape.
        shape: the new shape, with as many elements; one size may be -1 and is worked out. An int n means (n,).

    Raises:
        ShapeError: if the sizes do not multiply to the number of elements.

    Example:
        >>> import minigrad as mg
        >>> mg.reshape(mg.tensor([1.0, 2.0, 3.0, 4.0]), (2, -1)).numpy().tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    return a.reshape(shape)


reshape = primitive(
    _reshape,
    lambda g, y, a, shape: g.reshape(a.shape),
    needs="",
    gate="reshape: gradient is reshaped back",
    math="a in shape s",
    name="reshape",
)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    back = [0] * len(axes)
    for i, k in enumerate(axes):
        back[k] = i
    return tuple(back)


_permute_dims: Callable[..., Any] = primitive(
    lambda a, axes: a.transpose(axes),
    lambda g, y, a, axes: _permute_dims(g, _inverse(axes)),
    needs="",
    rule=("g with its axes in the old order",),
    gate="transpose: gradient is transposed back",
    math="y[i_p(0), i_p(1), ...] = a[i_0, i_1, ...]",
    name="permute_dims",
)


def _stretch(a: Any, shape: tuple[int, ...]) -> Any:
    # A zero-stride view made by hand: 0.4-0.8 us instead of the 1.9 of np.broadcast_to.
    if type(a) is ndarray and a.flags.c_contiguous:
        extra = len(shape) - a.ndim
        if extra >= 0:
            strides = [0] * extra
            for n, m, stride in zip(a.shape, shape[extra:], a.strides):
                if n == m:
                    strides.append(stride)
                elif n == 1 and m >= 0:
                    strides.append(0)
                else:
                    break
            else:
                if a.size:
                    view: Any = ndarray(shape, a.dtype, a, 0, strides)
                    view.flags.writeable = False
                    return view
    try:
        return np.broadcast_to(a, shape)
    except ValueError:
        raise ValueError(
            f"cannot become shape {shape}: counted from the last axis, each size must be 1 or the size asked for, "
            f"and no axis may be missing"
        ) from None


_broadcast_to = primitive(
    _stretch,
    lambda g, y, a, shape: g,
    needs="",
    gate="copy gate: gradient adder",
    math="y[..., i] = a[i]",
    name="broadcast_to",
)


def _join_rule(i: int, g: Any, y: Any, *args: Any) -> Any:
    axis, ends = args[-2:]
    return g[(slice(None),) * axis + (slice(ends[i - 1] if i else 0, ends[i]),)]


def _join(arrays: Sequence[Any], axis: int, ends: tuple[int, ...]) -> Any:
    return np.concatenate(arrays, axis)


_concat = primitive(
    _join,
    Each(_join_rule),
    needs="",
    rule=("the part of g that came from a",),
    gate="concatenate: gradient splitter",
    math="y = [a_0, a_1, ...] along an axis",
    name="concat",
)


def _pile(arrays: Sequence[Any], axis: int) -> Any:
    # Half the time of np.stack.
    new = (slice(None),) * axis + (None,)
    return np.concatenate([a[new] for a in arrays], axis)


_stack = primitive(
    _pile,
    Each(lambda i, g, y, *args: g[(slice(None),) * args[-1] + (i,)]),
    needs="",
    gate="stack: gradient splitter",
    math="y[i] = a_i",
    name="stack",
)


def _surround(a: Any, width: tuple[tuple[int, int], ...], value: Any) -> Any:
    """``a`` in the middle of ``value``: a third of the time of np.pad, whose Python part alone takes 10 us."""
    out = namespace(a).full(tuple(n + before + after for n, (before, after) in zip(a.shape, width)), value, a.dtype)
    out[_inside(a.shape, width)] = a
    return out


def _inside(shape: tuple[int, ...], width: tuple[tuple[int, int], ...]) -> tuple[slice, ...]:
    return tuple(slice(before, before + n) for n, (before, _) in zip(shape, width))


_pad = primitive(
    _surround,
    lambda g, y, a, width, value: g[_inside(a.shape, width)],
    needs="",
    rule=("the inside of g",),
    gate="pad: gradient is cropped",
    math="y = a inside a border of c",
    name="pad",
)


def _mirror(a: Any, axes: tuple[int, ...]) -> Any:
    return a[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(a.ndim))]


_flip: Callable[..., Any] = primitive(
    _mirror,
    lambda g, y, a, axes: _flip(g, axes),
    needs="",
    rule=("g, flipped back",),
    gate="flip: gradient is flipped back",
    math="y[i] = a[n-1-i]",
    name="flip",
)

_roll: Callable[..., Any] = primitive(
    lambda a, shift, axis: np.roll(a, shift, axis),
    lambda g, y, a, shift, axis: _roll(g, tuple(-s for s in shift) if isinstance(shift, tuple) else -shift, axis),
    needs="",
    rule=("g, rolled back",),
    gate="roll: gradient is rolled back",
    math="y[(i + s) mod n] = a[i]",
    name="roll",
)


def _triu(a: Any, k: int = 0) -> Any:
    """The part on and above the k-th diagonal: y[i, j] = a[i, j] where j - i >= k, else 0.

    Args:
        a: shape (..., n, m).
        k: 0 is the main diagonal, positive is to its right.

    Raises:
        ShapeError: if ``a`` has fewer than two axes.

    Example:
        >>> import minigrad as mg
        >>> mg.triu(mg.tensor([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist()
        [[1.0, 2.0], [0.0, 4.0]]
    """
    return np.triu(_matrix(a), k)


def _tril(a: Any, k: int = 0) -> Any:
    """The part on and below the k-th diagonal: y[i, j] = a[i, j] where j - i <= k, else 0.

    Args:
        a: shape (..., n, m).
        k: 0 is the main diagonal, positive is to its right.

    Raises:
        ShapeError: if ``a`` has fewer than two axes.

    Example:
        >>> import minigrad as mg
        >>> mg.tril(mg.tensor([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist()
        [[1.0, 0.0], [3.0, 4.0]]
    """
    return np.tril(_matrix(a), k)


def _matrix(a: Any) -> Any:
    if a.ndim < 2:
        raise ValueError(f"expected at least two axes, got shape {a.shape}; insert one with a[None]")
    return a


triu: Callable[..., Any] = primitive(
    _triu,
    lambda g, y, a, k: triu(g, k),
    needs="",
    gate="mask: gradient passes where the value did",
    math="a[i, j] if j - i >= k else 0",
    name="triu",
)
tril: Callable[..., Any] = primitive(
    _tril,
    lambda g, y, a, k: tril(g, k),
    needs="",
    gate="mask: gradient passes where the value did",
    math="a[i, j] if j - i <= k else 0",
    name="tril",
)

_astype = primitive(
    lambda a, dtype: a.astype(dtype),
    lambda g, y, a, dtype: g,
    needs="",
    gate="cast: gradient is cast back",
    math="a as dtype",
    name="astype",
)
# A step function of its operand: no gradient, and recorded only where everything is (compile).
discretize = primitive(
    lambda a, dtype: a.astype(dtype),
    None,
    needs="",
    gate="cast to integers: no gradient",
    math="a as dtype",
    name="discretize",
)


# ---- compositions --------------------------------------------------------------------------------------------------------


def permute_dims(a: Any, axes: Sequence[int]) -> Any:
    """The axes in another order: axis i of the result is axis ``axes[i]`` of ``a``.

    Args:
        a: an array with n axes.
        axes: the n axes, each once.

    Raises:
        ShapeError: if ``axes`` is not a permutation of the axes of ``a``.

    Example:
        >>> import minigrad as mg
        >>> mg.permute_dims(mg.tensor([[[1.0, 2.0, 3.0]]]), (2, 0, 1)).shape
        (3, 1, 1)
    """
    a = _given(a)
    ndim = a.ndim
    if len(axes) != ndim:
        raise ShapeError(
            f"permute_dims: axes {tuple(axes)} for shape {a.shape}: expected each of its {ndim} axes once, "
            f"such as {tuple(range(ndim))[::-1]}"
        )
    return _permute_dims(a, _axes(axes, ndim, "permute_dims"))


def transpose(a: Any, axes: Sequence[int] | None = None) -> Any:
    """The axes in reverse order, or in the order ``axes``, as NumPy's ``transpose`` (PyTorch's is :func:`swapaxes`).

    Raises:
        ShapeError: if ``axes`` is not a permutation of the axes of ``a``.

    Example:
        >>> import minigrad as mg
        >>> mg.transpose(mg.tensor([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    if axes is not None:
        return permute_dims(a, axes)
    a = _given(a)
    return _permute_dims(a, tuple(range(a.ndim))[::-1])


def matrix_transpose(a: Any) -> Any:
    """The last two axes exchanged: each matrix of a stack, transposed.

    Raises:
        ShapeError: if ``a`` has fewer than two axes.

    Example:
        >>> import minigrad as mg
        >>> mg.matrix_transpose(mg.tensor([[[1.0, 2.0, 3.0]]])).shape
        (1, 3, 1)
    """
    a = _given(a)
    n = a.ndim
    if n < 2:
        raise ShapeError(f"matrix_transpose: expected at least two axes, got shape {a.shape}; insert one with a[None]")
    return _permute_dims(a, (*range(n - 2), n - 1, n - 2))


def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged.

    Raises:
        ShapeError: if an axis does not exist.

    Example:
        >>> import minigrad as mg
        >>> mg.swapaxes(mg.tensor([[[1.0, 2.0, 3.0]]]), 0, 2).shape
        (3, 1, 1)
    """
    a = _given(a)
    i, j = _axis(axis1, a.ndim, "swapaxes"), _axis(axis2, a.ndim, "swapaxes")
    order = list(range(a.ndim))
    order[i], order[j] = j, i
    return _permute_dims(a, tuple(order))


def moveaxis(a: Any, source: Shape, destination: Shape) -> Any:
    """The axes ``source`` moved to the positions ``destination``; the others keep their order.

    Raises:
        ShapeError: if an axis does not exist or is named twice, or if there are more sources than destinations or fewer.

    Example:
        >>> import minigrad as mg
        >>> mg.moveaxis(mg.tensor([[[1.0, 2.0, 3.0]]]), -1, 0).shape
        (3, 1, 1)
    """
    a = _given(a)
    here, there = _axes(source, a.ndim, "moveaxis"), _axes(destination, a.ndim, "moveaxis")
    if len(here) != len(there):
        raise ShapeError(
            f"moveaxis: {len(here)} source axes {source} for {len(there)} destinations {destination}: give as many"
        )
    order = [k for k in range(a.ndim) if k not in here]
    for to, k in sorted(zip(there, here)):
        order.insert(to, k)
    return _permute_dims(a, tuple(order))


def expand_dims(a: Any, axis: Shape = 0) -> Any:
    """A new axis of size 1 at each position ``axis`` of the result.

    Raises:
        ShapeError: if a position does not exist in the result or is named twice.

    Example:
        >>> import minigrad as mg
        >>> mg.expand_dims(mg.tensor([1.0, 2.0]), -1).shape
        (2, 1)
    """
    a = _given(a)
    ndim = a.ndim + (1 if hasattr(axis, "__index__") else len(axis))
    new = _axes(axis, ndim, "expand_dims")
    sizes = iter(a.shape)
    return reshape(a, tuple(1 if k in new else next(sizes) for k in range(ndim)))


def squeeze(a: Any, axis: Axes = None) -> Any:
    """Without its axes of size 1, or without those in ``axis``.

    Raises:
        ShapeError: if an axis in ``axis`` does not exist or has another size than 1.

    Example:
        >>> import minigrad as mg
        >>> mg.squeeze(mg.tensor([[1.0], [2.0]]), axis=1).shape
        (2,)
    """
    a = _given(a)
    drop = [k for k, n in enumerate(a.shape) if n == 1] if axis is None else _axes(axis, a.ndim, "squeeze")
    for k in drop:
        if a.shape[k] != 1:
            raise ShapeError(f"squeeze: axis {k} of shape {a.shape} has size {a.shape[k]}: only an axis of size 1 can go")
    return reshape(a, tuple(n for k, n in enumerate(a.shape) if k not in drop))


def ravel(a: Any) -> Any:
    """All elements in one axis, in row-major order.

    Example:
        >>> import minigrad as mg
        >>> mg.ravel(mg.tensor([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist()
        [1.0, 2.0, 3.0, 4.0]
    """
    return reshape(a, (-1,))


def flatten(a: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The axes from ``start_dim`` to ``end_dim``, both included, joined into one.

    Raises:
        ShapeError: if an axis does not exist, or if ``start_dim`` comes after ``end_dim``.

    Example:
        >>> import minigrad as mg
        >>> mg.flatten(mg.tensor([[[1.0, 2.0], [3.0, 4.0]]]), start_dim=1).shape
        (1, 4)
    """
    a = _given(a)
    if not a.ndim:
        return reshape(a, (1,))
    first, last = _axis(start_dim, a.ndim, "flatten"), _axis(end_dim, a.ndim, "flatten")
    if first > last:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in shape {a.shape}")
    return reshape(a, (*a.shape[:first], math.prod(a.shape[first : last + 1]), *a.shape[last + 1 :]))


def broadcast_to(a: Any, shape: Shape) -> Any:
    """``a`` repeated along new leading axes and along its axes of size 1, without copying.

    Args:
        a: an array that broadcasts to ``shape``.
        shape: the shape of the result, a read-only view.

    Raises:
        ShapeError: if an axis of ``a`` has neither size 1 nor the size asked for.

    Example:
        >>> import minigrad as mg
        >>> mg.broadcast_to(mg.tensor([1.0, 2.0]), (2, 2)).numpy().tolist()
        [[1.0, 2.0], [1.0, 2.0]]
    """
    return _broadcast_to(a, (shape,) if isinstance(shape, int) else tuple(shape))


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """Every array broadcast to the shape that all of them broadcast to.

    Raises:
        ShapeError: if there is no such shape.

    Example:
        >>> import minigrad as mg
        >>> [t.shape for t in mg.broadcast_arrays(mg.tensor([1.0, 2.0]), mg.tensor([[3.0]]))]
        [(1, 2), (1, 2)]
    """
    given = [_given(a) for a in arrays]
    shapes = [tuple(a.shape) for a in given]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(
            f"broadcast_arrays: shapes {', '.join(map(str, shapes))} do not broadcast: counted from the last axis, sizes must be equal or 1"
        ) from None
    return [a if s == shape else _broadcast_to(a, shape) for a, s in zip(given, shapes)]


def concat(arrays: Iterable[Any], axis: int | None = 0) -> Any:
    """Arrays one after another along an axis that is there already.

    Args:
        arrays: at least one; shapes equal but for the size of ``axis``.
        axis: along which; None flattens the arrays first.

    Raises:
        ShapeError: if there is no array, or if the shapes differ elsewhere.

    Example:
        >>> import minigrad as mg
        >>> mg.concat([mg.tensor([1.0]), mg.tensor([2.0, 3.0])]).numpy().tolist()
        [1.0, 2.0, 3.0]
    """
    given = [_given(a) for a in arrays]
    if axis is None:
        given, axis = [reshape(a, (-1,)) for a in given], 0
    shapes = [a.shape for a in given]
    if not shapes:
        raise ShapeError("concat: needs at least one array")
    k = _axis(axis, len(shapes[0]), "concat")
    if any(len(s) != len(shapes[0]) or s[:k] != shapes[0][:k] or s[k + 1 :] != shapes[0][k + 1 :] for s in shapes):
        raise ShapeError(
            f"concat: shapes {', '.join(map(str, map(tuple, shapes)))} must be equal but for axis {k}; "
            f"to join along a new axis use stack"
        )
    return _concat(given, k, tuple(itertools.accumulate(s[k] for s in shapes)))


def stack(arrays: Iterable[Any], axis: int = 0) -> Any:
    """Arrays of one shape, one after another along a new axis: y[i] = arrays[i] where ``axis`` is 0.

    Raises:
        ShapeError: if there is no array, if the shapes differ, or if the axis does not exist in the result.

    Example:
        >>> import minigrad as mg
        >>> mg.stack([mg.tensor([1.0, 2.0]), mg.tensor([3.0, 4.0])], axis=1).numpy().tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    given = [_given(a) for a in arrays]
    if not given:
        raise ShapeError("stack: needs at least one array")
    shape = given[0].shape
    if any(a.shape != shape for a in given):
        raise ShapeError(
            f"stack: shapes {', '.join(str(tuple(a.shape)) for a in given)} must be equal; "
            f"to join arrays of different sizes along an axis that they have use concat"
        )
    return _stack(given, _axis(axis, len(shape) + 1, "stack"))


def _pieces(a: Any, bounds: Sequence[int], axis: int, drop: bool) -> list[Any]:
    """The parts of ``a`` between consecutive ``bounds``; with ``drop`` each of size 1, and without that axis."""
    before = (slice(None),) * axis
    if len(bounds) <= FAN + 1:
        cuts = itertools.pairwise(bounds)
        return [a[(*before, low if drop else slice(low, high))] for low, high in cuts]
    step = FAN
    while step * FAN < len(bounds) - 1:
        step *= FAN
    out: list[Any] = []
    for i in range(0, len(bounds) - 1, step):
        part = bounds[i : i + step + 1]
        group = a[(*before, slice(part[0], part[-1]))]
        out += _pieces(group, [b - part[0] for b in part], axis, drop)
    return out


def split(a: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """Consecutive parts along an axis, as NumPy's ``split`` (PyTorch's takes the size of the parts).

    Args:
        a: the array to split.
        indices_or_sections: a number of parts of equal size, or the positions where to cut, in order.
        axis: along which.

    Raises:
        ShapeError: if the parts cannot have equal size, or if the axis does not exist.

    Example:
        >>> import minigrad as mg
        >>> [t.numpy().tolist() for t in mg.split(mg.tensor([1.0, 2.0, 3.0]), [1])]
        [[1.0], [2.0, 3.0]]
    """
    a = _given(a)
    k = _axis(axis, a.ndim, "split")
    size = a.shape[k]
    if isinstance(indices_or_sections, SupportsIndex) and not hasattr(indices_or_sections, "__len__"):
        n = indices_or_sections.__index__()
        if n <= 0 or size % n:
            raise ShapeError(
                f"split: axis {k} of shape {tuple(a.shape)} has size {size}, which is not {n} equal parts; "
                f"give the positions where to cut instead"
            )
        return _pieces(a, range(0, size + 1, size // n) if size else [0] * (n + 1), k, drop=False)
    cuts: list[int] = [slice(None, int(c)).indices(size)[1] for c in indices_or_sections]  # type: ignore[union-attr]
    if cuts != sorted(cuts):
        before = (slice(None),) * k
        return [a[(*before, slice(low, high))] for low, high in zip([0, *cuts], [*cuts, size])]
    return _pieces(a, [0, *cuts, size], k, drop=False)


def unstack(a: Any, axis: int = 0) -> tuple[Any, ...]:
    """The slices along an axis, without it; the inverse of :func:`stack`.

    Cheaper than indexing one by one where a gradient is wanted: the slices of a sequence of n steps share their way back.

    Raises:
        ShapeError: if the axis does not exist.

    Example:
        >>> import minigrad as mg
        >>> [t.numpy().tolist() for t in mg.unstack(mg.tensor([[1.0, 2.0], [3.0, 4.0]]))]
        [[1.0, 2.0], [3.0, 4.0]]
    """
    a = _given(a)
    k = _axis(axis, a.ndim, "unstack")
    return tuple(_pieces(a, range(a.shape[k] + 1), k, drop=True))


def tile(a: Any, repetitions: Shape) -> Any:
    """``a`` laid side by side ``repetitions[k]`` times along each axis k, counted from the last.

    Raises:
        ShapeError: if a number of repetitions is negative.

    Example:
        >>> import minigrad as mg
        >>> mg.tile(mg.tensor([1.0, 2.0]), 2).numpy().tolist()
        [1.0, 2.0, 1.0, 2.0]
    """
    a = _given(a)
    times = (repetitions,) if isinstance(repetitions, int) else tuple(repetitions)
    if min(times, default=1) < 0:
        raise ShapeError(f"tile: repetitions {times} must not be negative")
    ndim = max(a.ndim, len(times))
    shape = (1,) * (ndim - a.ndim) + tuple(a.shape)
    times = (1,) * (ndim - len(times)) + times
    apart = reshape(a, tuple(itertools.chain.from_iterable((1, n) for n in shape)))
    copies = _broadcast_to(apart, tuple(itertools.chain.from_iterable(zip(times, shape))))
    return reshape(copies, tuple(t * n for t, n in zip(times, shape)))


def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element, or each slice along ``axis``, ``repeats`` times in a row.

    Args:
        a: the array.
        repeats: one number, or one for each slice (integers, no gradient).
        axis: along which; None flattens ``a`` first.

    Raises:
        ShapeError: if there are neither one nor as many numbers as slices, or if one is negative.

    Example:
        >>> import minigrad as mg
        >>> mg.repeat(mg.tensor([1.0, 2.0]), 2).numpy().tolist()
        [1.0, 1.0, 2.0, 2.0]
        >>> mg.repeat(mg.tensor([1.0, 2.0]), [1, 3]).numpy().tolist()
        [1.0, 2.0, 2.0, 2.0]
    """
    a = _given(a)
    if axis is None:
        a, axis = reshape(a, (-1,)), 0
    k = _axis(axis, a.ndim, "repeat")
    size = a.shape[k]
    counts = np.asarray(repeats._data if isinstance(repeats, Handle) else repeats)
    if counts.dtype.kind not in "iu" and counts.size:
        raise DtypeError(f"repeat: repeats are {counts.dtype}; expected integers")
    if counts.size not in (1, size) or counts.ndim > 1 or (counts < 0).any():
        raise ShapeError(
            f"repeat: repeats {counts.tolist()} for axis {k} of size {size}: expected one number, or {size}, none negative"
        )
    before, after = tuple(a.shape[:k]), tuple(a.shape[k + 1 :])
    if counts.size == 1:
        n = int(counts.reshape(()))
        copies = _broadcast_to(reshape(a, (*before, size, 1, *after)), (*before, size, n, *after))
        return reshape(copies, (*before, size * n, *after))
    return a[(slice(None),) * k + (np.repeat(np.arange(size), counts),)]


def pad(a: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    """``a`` with a border.

    Args:
        a: an array of n axes.
        pad_width: a number for all sides, a pair (before, after) for all axes, or n such pairs.
        mode: what the border holds: ``"constant"``; ``"edge"``, the nearest element; ``"reflect"``, the mirror image without
            the edge; ``"symmetric"``, the mirror image with the edge; ``"wrap"``, the elements from the other end.
        constant_values: the number in a constant border.

    Raises:
        ShapeError: if ``pad_width`` is negative or does not fit the axes, or if there is nothing to fill a border with.
        ValueError: if the mode is unknown.

    Example:
        >>> import minigrad as mg
        >>> mg.pad(mg.tensor([1.0, 2.0, 3.0]), (1, 2)).numpy().tolist()
        [0.0, 1.0, 2.0, 3.0, 0.0, 0.0]
        >>> mg.pad(mg.tensor([1.0, 2.0, 3.0]), 2, mode="reflect").numpy().tolist()
        [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]
    """
    a = _given(a)
    width = _borders(a, pad_width)
    if mode == "constant":
        if np.ndim(constant_values):
            raise ShapeError(f"pad: constant_values must be one number, got {constant_values!r}; pad one axis after the other")
        value = constant_values._data if isinstance(constant_values, Handle) else constant_values
        return _pad(a, width, value)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(f"pad: unknown mode {mode!r}: expected constant, edge, reflect, symmetric or wrap")
    for k, (n, sides) in enumerate(zip(a.shape, width)):
        if any(sides):
            if not n:
                raise ShapeError(
                    f"pad: axis {k} of shape {tuple(a.shape)} is empty: mode {mode!r} has nothing to fill its border with"
                )
            a = a[(slice(None),) * k + (np.pad(np.arange(n), sides, mode=mode),)]  # type: ignore[call-overload]
    return a


def _borders(a: Any, pad_width: Any) -> tuple[tuple[int, int], ...]:
    try:
        width = np.broadcast_to(np.asarray(pad_width), (a.ndim, 2))
    except ValueError:
        width = None
    if width is None or (width.size and (width.dtype.kind not in "iu" or width.min() < 0)):
        raise ShapeError(
            f"pad: pad_width {pad_width!r} for shape {tuple(a.shape)}: expected a number, a pair (before, after), or {a.ndim} pairs, "
            f"none negative (to crop, slice)"
        )
    return tuple((int(before), int(after)) for before, after in width)


def flip(a: Any, axis: Axes = None) -> Any:
    """The elements in reverse order along ``axis`` (one, several, or None: all).

    Raises:
        ShapeError: if an axis does not exist or is named twice.

    Example:
        >>> import minigrad as mg
        >>> mg.flip(mg.tensor([1.0, 2.0, 3.0])).numpy().tolist()
        [3.0, 2.0, 1.0]
    """
    a = _given(a)
    return _flip(a, tuple(range(a.ndim)) if axis is None else _axes(axis, a.ndim, "flip"))


def roll(a: Any, shift: Shape, axis: Axes = None) -> Any:
    """The elements moved by ``shift`` positions along ``axis``; what leaves at one end comes back at the other.

    Args:
        a: the array.
        shift: by how many positions; several for several axes.
        axis: along which; None moves in row-major order through all elements.

    Raises:
        ShapeError: if an axis does not exist, or if there are more shifts than axes or fewer.

    Example:
        >>> import minigrad as mg
        >>> mg.roll(mg.tensor([1.0, 2.0, 3.0]), 1).numpy().tolist()
        [3.0, 1.0, 2.0]
    """
    a = _given(a)
    several: Any = (axis,) if hasattr(axis, "__index__") else axis
    along = None if axis is None else tuple(_axis(k, a.ndim, "roll") for k in several)
    return _roll(a, tuple(shift) if isinstance(shift, Sequence) else int(shift), along)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonals of the matrices in axes ``axis1`` and ``axis2``, as a last axis: y[..., i] = a[i, i + offset, ...].

    Args:
        a: an array of at least two axes.
        offset: 0 is the main diagonal, positive is above it.
        axis1: the rows.
        axis2: the columns.

    Raises:
        ShapeError: if an axis does not exist, or if both are the same.

    Example:
        >>> import minigrad as mg
        >>> mg.diagonal(mg.tensor([[1.0, 2.0], [3.0, 4.0]])).numpy().tolist()
        [1.0, 4.0]
    """
    a = _given(a)
    if a.ndim < 2:
        raise ShapeError(f"diagonal: expected at least two axes, got shape {tuple(a.shape)}")
    rows, columns = _axes((axis1, axis2), a.ndim, "diagonal")
    a = moveaxis(a, (rows, columns), (-2, -1)) if (rows, columns) != (a.ndim - 2, a.ndim - 1) else a
    *batch, n, m = a.shape
    # Neighbours on a diagonal are m + 1 elements apart in the flat matrix: a basic index, whose gradient is assigned.
    length = max(min(n, m - offset) if offset >= 0 else min(n + offset, m), 0)
    start = (offset if offset >= 0 else -offset * m) if length else 0
    flat = reshape(a, (*batch, n * m))
    return flat[..., start : start + (length - 1) * (m + 1) + 1 if length else 0 : m + 1]


def diag(a: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix, or the matrix with a vector on its k-th diagonal and zeros elsewhere.

    Args:
        a: shape (n, m), or (n,).
        k: 0 is the main diagonal, positive is above it.

    Raises:
        ShapeError: if ``a`` has neither one nor two axes.

    Example:
        >>> import minigrad as mg
        >>> mg.diag(mg.tensor([1.0, 2.0])).numpy().tolist()
        [[1.0, 0.0], [0.0, 2.0]]
        >>> mg.diag(mg.tensor([[1.0, 2.0], [3.0, 4.0]]), k=1).numpy().tolist()
        [2.0]
    """
    a = _given(a)
    if a.ndim == 2:
        return diagonal(a, k)
    if a.ndim != 1:
        raise ShapeError(
            f"diag: expected a vector or a matrix, got shape {tuple(a.shape)}; see diagonal for stacks of matrices"
        )
    n = a.shape[0]
    # Rows of n + 1 numbers, each beginning with one of the vector's, read as rows of n: every number moves one to the right.
    flat = reshape(_pad(reshape(a, (n, 1)), ((0, 0), (0, n)), 0), (n * (n + 1),))
    square = reshape(flat[: n * n], (n, n))
    up, down = max(k, 0), max(-k, 0)
    return _pad(square, ((down, up), (up, down)), 0) if k else square


def atleast_1d(a: Any) -> Any:
    """``a`` with at least one axis: a 0-d array becomes one element."""
    a = _given(a)
    return a if a.ndim >= 1 else reshape(a, (1,))


def atleast_2d(a: Any) -> Any:
    """``a`` with at least two axes; new ones come first."""
    a = _given(a)
    return a if a.ndim >= 2 else reshape(a, (1,) * (2 - a.ndim) + tuple(a.shape))


def atleast_3d(a: Any) -> Any:
    """``a`` with at least three axes, as NumPy: (n,) becomes (1, n, 1), and (n, m) becomes (n, m, 1)."""
    a = _given(a)
    shape = tuple(a.shape)
    return a if a.ndim >= 3 else reshape(a, {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}[a.ndim])


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Any]:
    """The coordinates of a grid: for each vector, its value at every point, in the shape of the whole grid.

    Args:
        arrays: vectors; a number counts as a vector of one.
        indexing: ``"ij"``: axis k belongs to vector k; ``"xy"``: the first two are exchanged, as in a picture.

    Raises:
        ShapeError: if an array has more than one axis.
        ValueError: if ``indexing`` is neither.

    Example:
        >>> import minigrad as mg
        >>> x, y = mg.meshgrid(mg.tensor([1.0, 2.0]), mg.tensor([3.0, 4.0, 5.0]), indexing="ij")
        >>> x.shape, y.shape
        ((2, 3), (2, 3))
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing {indexing!r}: expected 'xy' or 'ij'")
    given = [atleast_1d(a) for a in arrays]
    if any(a.ndim != 1 for a in given):
        raise ShapeError(f"meshgrid: expected vectors, got shapes {', '.join(str(tuple(a.shape)) for a in given)}")
    n = len(given)
    place = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    opened = [reshape(a, tuple(-1 if k == at else 1 for k in range(n))) for a, at in zip(given, place)]
    return broadcast_arrays(*opened)


def astype(a: Any, dtype: Any) -> Any:
    """``a`` with another dtype. Its gradient comes back in the dtype of ``a``; through an integer dtype none comes back.

    Args:
        a: the array.
        dtype: a dtype or its name.

    Raises:
        DtypeError: if the dtype is not one of numbers, or if a complex array would lose its imaginary part.

    Example:
        >>> import minigrad as mg
        >>> mg.astype(mg.tensor([1.5, 2.5]), "int64").numpy().tolist()
        [1, 2]
    """
    kind = np.dtype(dtype)
    if halves.kind(kind) not in "biufc":
        raise DtypeError(f"astype: dtype {kind} is not one of numbers")
    a = _given(a)
    if a.dtype.kind == "c" and kind.kind != "c":
        raise DtypeError(f"astype: {a.dtype} to {kind} would drop the imaginary part; take a.real first")
    return _astype(a, kind) if halves.kind(kind) in "fc" else discretize(a, kind)
