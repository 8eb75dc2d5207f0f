"""Elements picked one by one: what they receive is added up in one array, as if each had an array of zeros of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.testing import check_grads

PICKS = {
    "rows": [0, 1, 2, -1],
    "a row again and again": [1, 1, 1],
    "single elements": [(0, 1), (0, 1), (3, 2), (-1, -1)],
    "overlapping slices": [slice(0, 3), slice(1, 4), slice(None, None, -1), slice(None, None, 2)],
    "columns and new axes": [(slice(None), 1), (Ellipsis, None, 2), (slice(None), slice(0, 2))],
    "positions, repeated": [[0, 0, 2], [[1, 1], [3, 0]], ([0, 0, 1], [1, 1, 2])],
    "masks": [np.arange(4) % 2 == 0, np.arange(12).reshape(4, 3) > 5],
    "a tensor's number": [mg.tensor(2), mg.tensor([2, 2])],
    "nothing": [slice(2, 2), [], np.zeros(4, bool), slice(0, 4)],
    "mixed": [0, [0, 1], slice(0, 2), (0, 0), np.arange(4) > 1, (slice(None), [1, 1])],
}


def parts(x: Any, picks: list[Any]) -> list[Any]:
    return [mg.sum(mg.sin(x[i]) * (k + 1)) for k, i in enumerate(picks)]


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("name", PICKS)
def test_all_at_once_is_one_by_one(name: str, others: bool) -> None:
    picks = PICKS[name]
    value = np.random.default_rng(0).normal(size=(4, 3))

    def f(x: Any) -> Any:
        total = parts(x, picks)
        return sum(total[1:], total[0]) + (mg.sum(x) + mg.sum(x * x) if others else 0)

    x = mg.tensor(value, requires_grad=True)
    seen: list[Any] = []
    x.register_hook(lambda g: seen.append(g.numpy().copy()))
    f(x).backward()
    want = np.zeros_like(value)
    for k in range(len(picks)):
        y = mg.tensor(value, requires_grad=True)
        parts(y, picks)[k].backward()
        want += y.grad.numpy()
    want += 1 + 2 * value if others else 0
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(seen[0], x.grad.numpy())
    check_grads(f, value, order=2)


def test_what_a_slice_receives_is_nobody_elses() -> None:
    """The array that is added up in place is not the gradient of anything else."""
    x = mg.tensor(np.ones((3, 2)), requires_grad=True)
    whole = x * 1.0
    rows = [whole[0], whole[0], whole[2]]
    held = []
    for row in (whole, *rows):
        row.retain_grad()
        row.register_hook(lambda g: held.append((g, g.numpy().copy())))
    (rows[0] + 2 * rows[1] + 3 * rows[2]).sum().backward(retain_graph=True)
    for g, value in held:
        np.testing.assert_array_equal(g.numpy(), value)
    np.testing.assert_array_equal(x.grad.numpy(), [[3, 3], [0, 0], [3, 3]])
    np.testing.assert_array_equal(rows[0].grad.numpy(), [1, 1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_stay(dtype: str) -> None:
    x = mg.tensor(np.ones((5, 2)), dtype=dtype, requires_grad=True)
    y = x[0]
    for t in range(1, 5):
        y = y * x[t]
    mg.sum(y).backward()
    assert x.grad.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(x.grad.numpy(), np.ones((5, 2)))


def test_untaken_branches_of_slices_stay_out() -> None:
    x = mg.tensor([0.0, 4.0, 0.0], requires_grad=True)
    total = sum((mg.where(x[i] > 0, mg.sqrt(x[i]), 0.0) for i in range(3)), mg.tensor(0.0))
    total.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0.25, 0])


def test_backward_through_many_slices_makes_no_array_for_each() -> None:
    """Memory that grew with the number of slices times the size of the array would be 200 MB here."""
    tracemalloc = pytest.importorskip("tracemalloc")
    n = 500
    x = mg.tensor(np.ones((n, 100)), requires_grad=True)
    y = x[0]
    for t in range(1, n):
        y = y + x[t]
    y = mg.sum(y)
    tracemalloc.start()
    try:
        y.backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * n * 100 * 8
