"""Large arrays whose memory is used again.

A training step asks for the same large arrays over and over. The system gives fresh pages for each, one page fault every four
kilobytes, and takes them back when the array goes: on six sums of 16 MiB each that is three quarters of the time, of 4 MiB a half,
of 1 MiB nothing. Here the memory of an array goes on a list when the last reference to it is gone, and the next array of that size
takes it from there.
"""

from __future__ import annotations

import math
import mmap as maps
import sys
import weakref
from contextlib import suppress
from tracemalloc import is_tracing
from typing import Any

import numpy as np

MADV_HUGEPAGE: int | None = getattr(maps, "MADV_HUGEPAGE", None)
LEAST = 1 << 20
"""Bytes of the smallest array that is worth it."""
LIMIT = 1 << 29
"""Bytes that may lie idle; memory beyond that goes back to the system as ever."""
PRIVATE = {"flags": maps.MAP_PRIVATE | maps.MAP_ANONYMOUS} if sys.platform != "win32" else {}
"""A process that forks does not share its arrays with the child."""


class Memory(maps.mmap):
    """What arrays from here have as their ``base``, so that they can be told."""


_idle: dict[int, list[Memory]] = {}
_lent: dict[int, tuple[weakref.ref[Any], Memory]] = {}
"""By the reference's ``id``: its hash would be that of the array, which has none."""
_idle_bytes = 0


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """As ``np.empty``, in memory that an earlier array has left if there is any.

    An array made here does not own its memory in NumPy's eyes (``base`` is a map), but nobody else has it.

    Example:
        >>> import numpy as np
        >>> a = empty((1024, 512), np.dtype(np.float32))
        >>> place = a.ctypes.data
        >>> del a
        >>> empty((512, 1024), np.dtype(np.float32)).ctypes.data == place
        True
    """
    global _idle_bytes
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < LEAST or dtype.hasobject or is_tracing():  # tracemalloc counts NumPy's memory, not ours
        return np.empty(shape, dtype)
    size = _rounded(nbytes)
    try:
        memory = _idle[size].pop()
        _idle_bytes -= size
    except (KeyError, IndexError):
        memory = _allocated(size)
    array = np.ndarray(shape, dtype, memory)
    watch = weakref.ref(array, _left)
    _lent[id(watch)] = watch, memory
    return array


def owns(array: Any) -> bool:
    """Whether the memory of a NumPy array is its own: it is no view of another array or buffer.

    Example:
        >>> import numpy as np
        >>> a = empty((1024, 512), np.dtype(np.float32))
        >>> owns(a), owns(np.zeros(3)), owns(a[1:])
        (True, True, False)
    """
    base = getattr(array, "base", None)
    return base is None or type(base) is Memory


def _rounded(nbytes: int) -> int:
    """Up to an eighth of the power of two below, so that arrays of nearly one size share memory."""
    step = 1 << max(nbytes.bit_length() - 4, 12)
    return -(-nbytes // step) * step


def _allocated(size: int) -> Memory:
    """Pages of the system; large ones where it has them, as NumPy asks for too."""
    memory = Memory(-1, size, **PRIVATE)
    if MADV_HUGEPAGE is not None:
        with suppress(OSError):
            memory.madvise(MADV_HUGEPAGE)
    return memory


def _left(watch: weakref.ref[Any]) -> None:
    """The last reference to an array is gone; views of it, and all who share its memory, hold one."""
    global _idle_bytes
    _, memory = _lent.pop(id(watch))
    size = len(memory)
    if _idle_bytes + size <= LIMIT:
        _idle_bytes += size
        _idle.setdefault(size, []).append(memory)


def clear() -> None:
    """Give the system all idle memory back."""
    global _idle_bytes
    _idle.clear()
    _idle_bytes = 0
