"""That the memory of large arrays stays with the process, where the C library is glibc."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
if sys.argv[1] == "kept":
    import minigrad
before = None
for k in range(60):
    if k == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(1 << 20, np.uint8) for _ in range(20)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc learns from what is freed")
def test_pages_are_not_fetched_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """50 rounds of 20 arrays of 1 MiB: without, most pages are given back and fetched again in each."""
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_"):
        monkeypatch.delenv(name, raising=False)

    def faults(what: str) -> int:
        command = [sys.executable, "-c", FAULTS, what]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("kept") < 500 < faults("bare")
