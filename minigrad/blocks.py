"""How a fast path stays out of the way of the formula it speeds up: pieces that fit the cache, and memory used again.

NumPy makes one pass over memory per operation, and large arrays leave the cache between two passes. A function that treats the rows
of its arrays alike is therefore run on some rows at a time; on Tensors, on another library's arrays and on small arrays it runs
as it stands. Its formula is written once.
"""

from __future__ import annotations

import functools
import inspect
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad import arena
from minigrad.threads import share

BLOCK = 262144
"""Elements of a piece, and of the smallest array that is cut. Each call of NumPy's gives the interpreter away and waits to have it
back, so small pieces keep the threads from working: of 4 M float32, pieces of 16,384 take, with two threads, 1.5 to 2.7 times the
time of these."""
SHARED = 2 * BLOCK
"""Elements of the smallest array whose pieces are shared among threads: one must be woken for them (about 50 us) and then waits for
the interpreter. A transformer's step takes 0.93 of the time that it takes with a quarter of this."""
LONG = 2
"""How many times that of others the pieces may be that are cut into rows: layer norm on (4096, 1024) takes 0.92 of the time, softmax
0.96."""
SINGLE = 4
"""How much larger an array must be to be cut for one pass of NumPy's over it: to wake a thread takes about 50 us."""
Function = Callable[..., Any]


class _Here(threading.local):
    """Whether this thread works on a piece, which is not cut again: 0.95 of the time of gelu and its gradient on 4 M elements."""

    piece = False


_here = _Here()


def in_rows(f: Function) -> Function:
    """``f``, which treats each row (along the last axis) of its first array alike, on some rows at a time where that one is large.

    Arrays of the first one's shape, and those with one number for each of its rows, are cut with it; all other arguments go to
    every piece as they are. An ``f`` with an argument ``out`` is told where its result belongs.
    """

    @functools.wraps(f)
    def run(*args: Any) -> Any:
        first = args[0]
        if type(first) is not np.ndarray or first.size < BLOCK or _here.piece:
            return f(*args)
        *outer, row = first.shape
        cut = [type(a) is np.ndarray and a.shape in (first.shape, (*outer, 1)) for a in args]
        table = [a.reshape(-1, a.shape[-1]) if c else a for a, c in zip(args, cut)]
        return _by_pieces(f, table, cut, max(1, _even(first.size, LONG * BLOCK) // row), tuple(outer))

    return _as_operation(run, f)


def in_pieces(f: Function) -> Function:
    """``f``, which treats every element alike in many passes, as :func:`piecewise` runs it, from half the size on."""

    @functools.wraps(f)
    def run(*args: Any) -> Any:
        return f(*args) if _here.piece else piecewise(run, *args, least=BLOCK // 2)

    return _as_operation(run, f)


def _as_operation(run: Function, f: Function) -> Function:
    """``run`` with the signature of an operation, and the ``whole`` that it cuts."""
    setattr(run, "__signature__", inspect.signature(told(f)))  # noqa: B010
    setattr(run, "whole", f)  # noqa: B010
    return run


def told(f: Function) -> Function:
    """``f`` itself, with the signature of an operation; one with an argument ``out`` is told where the result of a piece belongs."""
    signature = inspect.signature(f)
    given = [p for name, p in signature.parameters.items() if name != "out"]
    setattr(f, "told", len(given) < len(signature.parameters))  # noqa: B010
    setattr(f, "__signature__", signature.replace(parameters=given))  # noqa: B010
    return f


def _common(args: tuple[Any, ...]) -> Any:
    """The dtype of the arrays, if they are floats of one: that of the result of many passes."""
    found = {a.dtype for a in args if type(a) is np.ndarray}
    dtype = found.pop() if len(found) == 1 else None
    return dtype if dtype is not None and dtype.kind == "f" else None


def piecewise(f: Function, *args: Any, least: int | None = None, out: Any = None, dtype: Any = None) -> Any:
    """``f(*args)``, for an ``f`` that treats every element alike, on some elements at a time where an array is large.

    A ufunc, or another ``f`` that is told where its result belongs, may be given an array ``out`` to write to. Without that and the
    ``dtype`` of the result, ``f`` of no elements tells it: for gelu 50 us.

    Arrays of one shape are taken as rows of numbers; others, which broadcast or lie otherwise in memory, are cut along the first axis.
    """
    if hasattr(f, "whole"):
        f, dtype = f.whole, _common(args)
    shape: tuple[int, ...] = ()
    if least is None:
        least = SINGLE * BLOCK if isinstance(f, np.ufunc) else BLOCK
    for a in args:
        if type(a) is np.ndarray and a.size >= least and a.ndim >= len(shape):
            shape = a.shape
    if not shape:
        return f(*args) if out is None else f(*args, out=out)
    arrays = [type(a) is np.ndarray for a in args]
    whole = [a.size == 1 or not any(a.strides) if is_array else True for a, is_array in zip(args, arrays)]
    if all(w or (a.shape == shape and a.flags.c_contiguous) for a, w in zip(args, whole)) and not all(whole):
        flat = [a if not is_array else a[(0,) * a.ndim] if w else a.reshape(-1) for a, w, is_array in zip(args, whole, arrays)]
        return _by_pieces(f, flat, [not w for w in whole], _even(math.prod(shape), BLOCK), shape, out, dtype)
    axes, at_once = len(shape), _even(math.prod(shape), BLOCK) * shape[0] // math.prod(shape)
    fits = all(
        a.ndim < axes or (a.ndim == axes and a.shape[0] in (1, shape[0])) for a, is_array in zip(args, arrays) if is_array
    )
    cut = [is_array and a.ndim == axes and a.shape[0] == shape[0] for a, is_array in zip(args, arrays)]
    if not fits or not 0 < at_once < shape[0] or any(abs(a.strides[0]) < max(a.strides) for a, c in zip(args, cut) if c):
        return f(*args) if out is None else f(*args, out=out)
    return _by_pieces(f, list(args), cut, at_once, shape[:1], out)


def add(a: Any, b: Any, out: Any = None) -> Any:
    """``a + b`` of two arrays of one shape, in the array ``out`` if it is not None, as :func:`piecewise` does it."""
    return piecewise(np.add, a, b, out=out)


def add_result(total: Any, f: Function, *args: Any, out: Any = None) -> Any:
    """``total + f(*args)`` likewise: what ``f`` makes of a piece is added while it is in the cache.

    gelu(x) * sigmoid(x) + x**2 on 4 M elements, with its gradient, takes 0.85 of the time.
    """
    f = getattr(f, "whole", f)

    def plus(total: Any, *args: Any, out: Any = None) -> Any:
        return np.add(total, f(*args), out=out)

    setattr(plus, "told", True)  # noqa: B010
    return piecewise(plus, total, *args, out=out)


def _even(size: int, most: int) -> int:
    """The size of an even number of equal pieces, of at most ``most`` elements."""
    return -(-size // (2 * -(-size // (2 * most))))


def _by_pieces(
    f: Function, args: list[Any], cut: list[bool], at_once: int, outer: tuple[int, ...], out: Any = None, dtype: Any = None
) -> Any:
    """``f`` on some rows of the arrays that are ``cut`` at a time; the result's rows are laid out as ``outer``."""
    rows = args[cut.index(True)].shape[0]
    into = getattr(f, "told", isinstance(f, np.ufunc))

    def piece(i: int, j: int) -> list[Any]:
        return [a[i:j] if c else a for a, c in zip(args, cut)]

    def fill(numbers: Iterator[int]) -> None:
        around, _here.piece = _here.piece, True
        try:
            for k in numbers:
                i = k * at_once
                target = flat[i : i + at_once]
                if into:
                    f(*piece(i, i + at_once), out=target)
                else:
                    target[...] = f(*piece(i, i + at_once))
        finally:
            _here.piece = around

    if out is None and dtype is not None:
        out = arena.empty(outer, dtype)
    elif out is None:
        none = f(*piece(0, 0))
        out = arena.empty((*outer, *none.shape[1:]), none.dtype)
    flat = out.reshape(rows, *out.shape[len(outer) :])
    share(fill, -(-rows // at_once), alone=out.size < SHARED)
    return out


def reuse(operation: Any, fresh: Any, other: Any, out: Any = None) -> Any:
    """``operation(fresh, other)``, on arrays in the memory of ``fresh``, which the caller has just made and nobody else holds.

    A new array of a megabyte costs more than the operation: its pages are fetched from the system one by one. The last of several
    passes goes to the array ``out``, if that is not None.
    """
    if type(fresh) is np.ndarray and getattr(other, "dtype", fresh.dtype) == fresh.dtype:
        return operation.op.forward(fresh, other, fresh if out is None else out)
    return write(operation, out, fresh, other)


def write(operation: Any, out: Any, *operands: Any) -> Any:
    """``operation(*operands)``, in the array ``out`` if it is not None."""
    return operation(*operands) if out is None else operation.op.forward(*operands, out)


def renew(operation: Any, fresh: Any) -> Any:
    """``operation(fresh)``, likewise."""
    if type(fresh) is np.ndarray and fresh.dtype.kind in "fc":
        return operation.op.forward(fresh, fresh)
    return operation(fresh)
