"""Freed memory stays with the process, up to a limit: to fetch its pages anew costs as much as the arithmetic on them.

glibc gives a large block back to the system when it is freed, and every step of a training loop faults its pages in again, one by
one: 2500 faults a step of LeNet-5 (batch 64), 4400 of a small convolutional net. Without them the first takes a half of the time,
the second 0.7.
"""

from __future__ import annotations

import numpy as np

LARGEST = (1 << 25) - (1 << 13)
"""Bytes of the largest block whose size glibc learns from (32 MiB, less its own header and a page)."""


def keep() -> None:
    """Have glibc serve arrays of up to 32 MiB from its heap, and keep up to 64 MiB free at the heap's end.

    By its own rule: its thresholds follow the size of the largest mapped block freed so far (malloc's ``M_MMAP_THRESHOLD`` in
    mallopt(3)), and so a block of that size is taken and freed here; it is never touched, so it has no pages. Any other program
    that frees such an array does the same. Whoever sets ``MALLOC_TRIM_THRESHOLD_`` or ``MALLOC_MMAP_THRESHOLD_`` in the environment
    switches the rule off, and this with it; on other systems nothing happens.

    Example:
        >>> keep()
    """
    np.empty(LARGEST, np.uint8)
