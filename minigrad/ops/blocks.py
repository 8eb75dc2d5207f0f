"""How a fast path stays out of the way of the formula it speeds up: pieces that fit the cache, and memory used again.

NumPy makes one pass over memory per operation, and large arrays leave the cache between two passes. A function that treats the rows
of its arrays alike is therefore run on some rows at a time; on Tensors, on another library's arrays and on small arrays it runs
as it stands. Its formula is written once.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np

BLOCK = 16384
"""Elements of a piece: softmax and its rule on (4096, 1024) float32 take 0.5 of the time of whole arrays; 4,096 to 65,536 do alike."""
SHARED = 16 * BLOCK
"""From here on the pieces are shared between two threads, since NumPy lets go of the interpreter while it computes: 0.6 of the time."""
THREADS = min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

Function = Callable[..., Any]


def in_rows(f: Function) -> Function:
    """``f``, which treats each row (along the last axis) of its first array alike, on some rows at a time where that one is large.

    Arrays as large as the first are cut with it; all other arguments go to every piece as they are.
    """
    return _cut(f, lambda a: a.shape[-1])


def in_pieces(f: Function) -> Function:
    """``f``, which treats every element alike, on some elements at a time where the first array is large."""
    return _cut(f, lambda a: 1)


def _cut(f: Function, width: Callable[[Any], int]) -> Function:
    @functools.wraps(f)
    def run(*args: Any) -> Any:
        first = args[0]
        if type(first) is not np.ndarray or first.size <= 2 * BLOCK:
            return f(*args)
        shape, row = first.shape, width(first)
        rows, at_once = math.prod(shape) // row, max(1, BLOCK // row)
        cut = [type(a) is np.ndarray and a.shape == shape for a in args]
        table = [a.reshape(rows, row) if c else a for a, c in zip(args, cut)]

        def piece(i: int, j: int) -> Any:
            return f(*(a[i:j] if c else a for a, c in zip(table, cut)))

        begin = piece(0, at_once)
        out = np.empty((rows, *begin.shape[1:]), begin.dtype)
        out[:at_once] = begin

        def fill(low: int, high: int) -> None:
            for i in range(low, high, at_once):
                j = min(i + at_once, high)
                out[i:j] = piece(i, j)

        if first.size < SHARED or THREADS < 2:
            fill(at_once, rows)
        else:
            middle = at_once + (rows - at_once) // 2
            other = _pool().submit(copy_context().run, fill, middle, rows)
            fill(at_once, middle)
            other.result()
        return out.reshape((*shape[:-1], *out.shape[1:]) if row > 1 or shape[-1:] == (1,) else shape)

    return run


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "minigrad")


if hasattr(os, "register_at_fork"):  # threads do not outlive a fork
    os.register_at_fork(after_in_child=_pool.cache_clear)


def reuse(operation: Any, fresh: Any, other: Any) -> Any:
    """``operation(fresh, other)``, on arrays in the memory of ``fresh``, which the caller has just made and nobody else holds.

    A new array of a megabyte costs more than the operation: its pages are fetched from the system one by one.
    """
    if type(fresh) is np.ndarray and getattr(other, "dtype", fresh.dtype) == fresh.dtype:
        return operation.op.forward(fresh, other, fresh)
    return operation(fresh, other)
