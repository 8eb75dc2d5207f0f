"""Work shared among a few threads: NumPy lets go of the interpreter while it copies and multiplies.

Who does which piece is left to chance, so a piece must not depend on who does it, and sums over pieces belong to the caller, in an
order of its own. Then results are the same bits on any number of threads.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

THREADS = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class _Here(threading.local):
    """Whether this thread works on pieces: what such a piece wants to share, it does alone."""

    busy = False


_here = _Here()


def share(work: Callable[[Iterator[int]], None], pieces: int, alone: bool = False, most: int = THREADS) -> None:
    """Call ``work`` on several threads, each with an iterator; together these yield 0, 1, ..., ``pieces`` - 1, each once.

    What a thread needs for itself, such as a buffer, ``work`` makes before its loop. The calling thread works too and waits for
    nobody who has not begun: with the other cores busy it does all the pieces itself.

    Args:
        work: takes the numbers of its pieces from the iterator.
        pieces: how many there are.
        alone: work on the calling thread only; waking another takes about 50 us.
        most: on how many threads at most; never on more than :data:`THREADS`.

    Example:
        >>> done = []
        >>> share(done.extend, 5)
        >>> sorted(done)
        [0, 1, 2, 3, 4]
    """
    workers = 1 if alone or _here.busy else min(THREADS, pieces, most)
    if workers < 2:
        work(iter(range(pieces)))
        return
    left, task = deque(range(pieces)), [work]

    def take_part() -> None:
        _here.busy = True
        try:
            for each in task:
                each(_take(left))
        finally:
            _here.busy = False

    jobs = [_pool().submit(copy_context().run, take_part) for _ in range(workers - 1)]
    try:
        take_part()
    finally:
        left.clear()
        task.clear()  # a job that nobody has begun stays in the queue, and must not keep the arrays of this one
        begun = [job for job in jobs if not job.cancel()]
        errors = [error for job in begun if (error := job.exception())]
    if errors:
        raise errors[0]


def _take(left: deque[int]) -> Iterator[int]:
    while left:
        try:
            yield left.popleft()
        except IndexError:  # another thread took the last one in between
            return


def lock() -> threading.Lock:
    """A lock for a module, for good: a fork waits until nobody holds it, so that no child finds it held by a thread it does not have."""
    made = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=made.acquire, after_in_parent=made.release, after_in_child=made.release)
    return made


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS - 1, "minigrad")


if hasattr(os, "register_at_fork"):  # threads do not outlive a fork
    os.register_at_fork(after_in_child=_pool.cache_clear)
