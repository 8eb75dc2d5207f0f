"""The operation table on a real GPU: ``python -m tests.gpu``, on a machine with CuPy and a GPU.

Runs every case of every row on CuPy's arrays, forward and rules, against NumPy's results, then one training step, then times a
few operations. Exit code 0: all equal within rounding; 1: something differs or fails; 3: no CuPy or no GPU here.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import backend

RTOL, ATOL = 1e-9, 1e-11  # float64, sums in another order


def compare(name: str, cp: Any) -> str | None:
    """What is wrong with a row on the GPU, or None."""
    from tests.table import cases, run

    for case in cases(name):
        params = case[-1]
        with np.errstate(all="ignore"):
            expected = run(*case, np.ndarray, np.array)
            try:
                got = run(*case, cp.ndarray, cp.asarray)
            except Exception:
                return f"{params}: {traceback.format_exc(limit=-4)}"
        if len(got) != len(expected):
            return f"{params}: {len(got)} results, expected {len(expected)}"
        for a, b in zip(got, expected):
            a = a.get()
            if (a.dtype, a.shape) != (b.dtype, b.shape):
                return f"{params}: {a.dtype}{a.shape}, expected {b.dtype}{b.shape}"
            if not np.allclose(a, b, RTOL, ATOL, equal_nan=True):
                return f"{params}: differs by {np.max(np.abs(a - b)):.3g}"
    return None


def train(device: str) -> list[np.ndarray]:
    """Three steps of a small network, and a Hessian."""
    rng = np.random.default_rng(0)
    ws = [mg.tensor(rng.normal(size=s), device=device, requires_grad=True) for s in ((3, 4), (4,), (4, 2))]
    x, t = (mg.tensor(rng.normal(size=s), device=device) for s in ((5, 3), (5, 2)))
    for _ in range(3):
        ((mg.tanh(x @ ws[0] + ws[1]) @ ws[2] - t) ** 2).mean().backward()
        with mg.no_grad():
            for w in ws:
                w -= 0.1 * w.grad
                w.grad = None
    return [*(w.numpy() for w in ws), mg.hessian(lambda w: (mg.sin(w) * w).sum())(ws[1]).numpy()]


def seconds(f: Callable[[], Any], wait: Callable[[], Any]) -> float:
    """The best of five runs."""
    f()
    wait()
    best = np.inf
    for _ in range(5):
        began = time.perf_counter()
        f()
        wait()
        best = min(best, time.perf_counter() - began)
    return float(best)


def timings(cp: Any) -> None:
    def forward_and_backward(f: Callable[[Any], Any], x: Any) -> Callable[[], None]:
        def step() -> None:
            x.grad = None
            f(x).backward()

        return step

    rng = np.random.default_rng(0)
    big, square = rng.normal(size=4_000_000).astype("f4"), rng.normal(size=(1024, 1024)).astype("f4")
    work: list[tuple[str, Callable[[Any], Any], Any]] = [
        ("tanh(x) * x, sum, 4 M floats", lambda x: (mg.tanh(x) * x).sum(), big),
        ("softmax rows, 1024 x 1024", lambda x: (mg.softmax(x, 1) * x).sum(), square),
        ("x @ x, 1024 x 1024", lambda x: (x @ x).sum(), square),
        ("x + x, 8 floats (overhead)", lambda x: (x + x).sum(), big[:8]),
    ]
    print(f"\n{'forward and backward':32} {'NumPy':>10} {'CuPy':>10} {'ratio':>7}")
    for label, f, array in work:
        host = seconds(forward_and_backward(f, mg.tensor(array, requires_grad=True)), lambda: None)
        wait = cp.cuda.get_current_stream().synchronize
        card = seconds(forward_and_backward(f, mg.tensor(array, device="cuda", requires_grad=True)), wait)
        print(f"{label:32} {1e3 * host:7.3f} ms {1e3 * card:7.3f} ms {host / card:6.1f}x")


def main() -> int:
    try:
        cp = backend.cupy()
    except mg.DeviceError as error:
        print(f"no GPU to test: {error}")
        return 3
    from tests.table import HOST, ROWS

    failures = 0
    for name in ROWS:
        wrong = compare(name, cp)
        failures += wrong is not None
        print(f"{'FAIL' if wrong else 'ok  '} {name}{': ' + wrong if wrong else ''}")
    print(f"{len(ROWS) - failures} of {len(ROWS)} operations agree; not run: {', '.join(HOST)}")
    try:
        for a, b in zip(train("cuda"), train("cpu")):
            np.testing.assert_allclose(a, b, RTOL, ATOL)
        print("ok   training steps and a Hessian")
    except Exception:
        failures += 1
        print(f"FAIL training steps: {traceback.format_exc(limit=-4)}")
    timings(cp)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
