"""NumPy written by hand for exactly one workload: no graph, no checks, buffers that are used again. What an engine can reach."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.contenders import Case, LeftOutError
from benchmarks.workloads import WORKLOADS, Array, Workload, inputs_of, parameters_of

Run = Callable[[], tuple[Any, dict[str, Any]]]
BLOCK = 64 * 1024
"""Elements of a block: a handful of float32 blocks fit in the second-level cache."""


def make(work: Workload, threads: int) -> Case:
    written = {
        "chain": chain,
        "gelu": gelu,
        "softmax": softmax,
        "layer_norm": layer_norm,
        "mlp_sgd": mlp,
        "mlp_adam": mlp,
        "wide_mlp": mlp,
    }
    by_hand = next((f for name, f in written.items() if WORKLOADS[name] is work), None)
    if by_hand is None:
        raise LeftOutError("not written by hand")
    run = by_hand(work, threads)
    return Case(run, run)


def in_blocks(threads: int, shape: tuple[int, ...], work: Callable[[slice, int], Any]) -> Callable[[], list[Any]]:
    """Run ``work(rows, k)`` for all blocks of rows, the k-th of the threads taking every ``threads``-th block."""
    rows, columns = shape
    size = max(1, BLOCK // columns)
    parts = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
    pool = ThreadPoolExecutor(threads)

    def share(k: int) -> list[Any]:
        return [work(part, k) for part in parts[k::threads]]

    return lambda: [result for results in pool.map(share, range(threads)) for result in results]


def buffers(threads: int, columns: int, n: int) -> list[list[Array]]:
    rows = max(1, BLOCK // columns)
    return [[np.empty((rows, columns), np.float32) for _ in range(n)] for _ in range(threads)]


def chain(work: Workload, threads: int) -> Run:
    p = parameters_of(work)
    x, a, b = p["x"], p["a"], p["b"]
    seed = np.ones(8, np.float32)
    steps = 333
    kept, t = np.empty((steps + 1, 8), np.float32), np.empty(8, np.float32)
    states = list(kept)

    def run() -> tuple[Any, dict[str, Any]]:
        h = states[0]
        h[:] = x
        for y in states[1:]:
            np.multiply(h, a, y)
            np.add(y, b, y)
            h = np.tanh(y, y)
        g, ga, gb = seed.copy(), np.zeros_like(a), np.zeros_like(b)
        for k in range(steps, 0, -1):
            y = states[k]
            np.multiply(g, y, t)
            np.multiply(t, y, t)
            np.subtract(g, t, g)
            np.add(gb, g, gb)
            np.multiply(g, states[k - 1], t)
            np.add(ga, t, ga)
            np.multiply(g, a, g)
        return kept[-1].copy(), {"x": g, "a": ga, "b": gb}

    return run


def gelu(work: Workload, threads: int) -> Run:
    """Forward and backward in one pass over each block: the gradient of a mean is known beforehand."""
    x = parameters_of(work)["x"]
    gradient, scratch = np.empty_like(x), buffers(threads, x.shape[1], 4)
    c, d, scale = np.float32(0.7978845608), np.float32(0.044715), np.float32(1 / x.size)
    half, one, three = np.float32(0.5), np.float32(1), np.float32(3)

    def block(rows: slice, k: int) -> float:
        v, g = x[rows], gradient[rows]
        q, t, s, u = (part[: len(v)] for part in scratch[k])
        np.multiply(v, v, q)
        np.multiply(q, d, t)
        np.add(t, one, u)
        np.multiply(u, v, u)
        np.multiply(u, c, u)
        np.tanh(u, u)  # t of the formula
        np.negative(v, s)
        np.exp(s, s)
        np.add(s, one, s)
        np.divide(one, s, s)  # sigmoid
        np.multiply(t, three, t)
        np.add(t, one, t)
        np.multiply(t, c, t)  # the slope of tanh's argument
        np.multiply(u, u, g)
        np.subtract(one, g, g)
        np.multiply(g, t, g)
        np.multiply(g, v, g)  # x times the slope of tanh
        np.add(u, one, u)
        np.add(g, u, g)
        np.multiply(g, half, g)  # the slope of gelu
        np.multiply(u, v, u)
        np.multiply(u, half, u)  # gelu
        np.subtract(one, s, t)
        np.multiply(t, u, t)
        np.add(g, t, g)
        np.multiply(g, s, g)
        np.add(g, v, g)
        np.add(g, v, g)
        np.multiply(g, scale, g)
        np.multiply(u, s, u)
        np.add(u, q, u)
        return float(u.sum())

    sweep = in_blocks(threads, x.shape, block)
    return lambda: (np.float32(sum(sweep()) / x.size), {"x": gradient})


def softmax(work: Workload, threads: int) -> Run:
    x = parameters_of(work)["x"]
    assert work.seed is not None
    seed, y, gradient = work.seed(np.random.default_rng(2)), np.empty_like(x), np.empty_like(x)

    def forward(rows: slice, k: int) -> None:
        v, out = x[rows], y[rows]
        np.subtract(v, v.max(axis=1, keepdims=True), out)
        np.exp(out, out)
        np.multiply(out, 1 / out.sum(axis=1, keepdims=True), out)

    def backward(rows: slice, k: int) -> None:
        v, g, out = y[rows], seed[rows], gradient[rows]
        np.subtract(g, np.einsum("ij,ij->i", v, g)[:, None], out)
        np.multiply(out, v, out)

    return two_sweeps(in_blocks(threads, x.shape, forward), in_blocks(threads, x.shape, backward), y, {"x": gradient})


def two_sweeps(forward: Any, backward: Any, value: Array, gradients: dict[str, Array]) -> Run:
    def run() -> tuple[Any, dict[str, Any]]:
        forward()
        backward()
        return value, gradients

    return run


def layer_norm(work: Workload, threads: int) -> Run:
    p = parameters_of(work)
    x, w, b = p["x"], p["weight"].astype(np.float32), p["bias"].astype(np.float32)
    assert work.seed is not None
    n = np.float32(x.shape[1])
    seed, y, hat, gradient = work.seed(np.random.default_rng(2)), np.empty_like(x), np.empty_like(x), np.empty_like(x)
    scale, scratch = np.empty((len(x), 1), np.float32), buffers(threads, x.shape[1], 1)
    ones = np.ones(BLOCK, np.float32)
    sums = [(np.zeros_like(w), np.zeros_like(b)) for _ in range(threads)]

    def forward(rows: slice, k: int) -> None:
        h, out = hat[rows], y[rows]
        np.subtract(x[rows], x[rows].mean(axis=1, keepdims=True), h)
        np.divide(1, np.sqrt(np.einsum("ij,ij->i", h, h) / n + np.float32(1e-5))[:, None], scale[rows])
        np.multiply(h, scale[rows], h)
        np.multiply(h, w, out)
        np.add(out, b, out)

    def backward(rows: slice, k: int) -> None:
        h, g, out = hat[rows], seed[rows], gradient[rows]
        t = scratch[k][0][: len(h)]
        gw, gb = sums[k]
        np.multiply(g, h, t)
        gw += ones[: len(t)] @ t
        gb += ones[: len(t)] @ g
        np.multiply(g, w, out)
        np.multiply(h, (np.einsum("ij,ij->i", out, h) / n)[:, None], t)
        np.subtract(out, out.mean(axis=1, keepdims=True), out)
        np.subtract(out, t, out)
        np.multiply(out, scale[rows], out)

    sweeps = [in_blocks(threads, x.shape, f) for f in (forward, backward)]

    def run() -> tuple[Any, dict[str, Any]]:
        for gw, gb in sums:
            gw[:] = gb[:] = 0
        for sweep in sweeps:
            sweep()
        total = [np.sum(parts, axis=0) for parts in zip(*sums)]
        return y, {"x": gradient, "weight": total[0], "bias": total[1]}

    return run


def mlp(work: Workload, threads: int) -> Run:
    p = list(parameters_of(work).items())
    names, weights, biases = [n for n, _ in p], [v for _, v in p[::2]], [v for _, v in p[1::2]]
    x, labels = inputs_of(work)
    n, rows = np.float32(1 / len(x)), np.arange(len(x))
    outputs = [np.empty((len(x), len(w)), np.float32) for w in weights]
    back = [np.empty_like(h) for h in outputs]
    slopes = [np.empty_like(v) for pair in zip(weights, biases) for v in pair]
    values = [v for pair in zip(weights, biases) for v in pair]
    update = optimiser(work, values, slopes)
    ones = np.ones(len(x), np.float32)

    def run() -> tuple[Any, dict[str, Any]]:
        h, last = x, len(weights) - 1
        for k, (w, b, out) in enumerate(zip(weights, biases, outputs)):
            np.matmul(h, w.T, out)
            np.add(out, b, out)
            h = np.maximum(out, 0, out=out) if k < last else out
        g = back[last]
        top = h.max(axis=1, keepdims=True)
        np.exp(np.subtract(h, top, g), g)
        total = g.sum(axis=1, keepdims=True)
        loss = (np.log(total) + top).mean() - h[rows, labels].mean()
        np.multiply(g, n / total, g)
        g[rows, labels] -= n
        for k in range(last, -1, -1):
            below = outputs[k - 1] if k else x
            np.matmul(g.T, below, slopes[2 * k])
            np.matmul(ones, g, slopes[2 * k + 1])
            if k:
                np.matmul(g, weights[k], back[k - 1])
                g = np.multiply(back[k - 1], below > 0, back[k - 1])
        update()
        return loss, dict(zip(names, slopes))

    return run


def optimiser(work: Workload, values: list[Array], slopes: list[Array]) -> Callable[[], None]:
    """In place; the gradients stay as they are."""
    assert work.optimizer is not None
    kind, rate = work.optimizer
    scratch = [np.empty_like(v) for v in values]

    def sgd() -> None:
        for v, g, t in zip(values, slopes, scratch):
            np.subtract(v, np.multiply(g, np.float32(rate), t), v)

    m, s = ([np.zeros_like(v) for v in values] for _ in range(2))
    steps = iter(range(1, 1 << 62))

    def adam() -> None:
        """Kingma and Ba 2015; the corrections are taken out of the square root's argument and into two numbers."""
        k = next(steps)
        second = (1 - 0.999**k) ** 0.5
        a, eps = np.float32(-rate * second / (1 - 0.9**k)), np.float32(1e-8 * second)
        for v, g, t, mean, square in zip(values, slopes, scratch, m, s):
            np.multiply(mean, np.float32(0.9), mean)
            np.add(mean, np.multiply(g, np.float32(0.1), t), mean)
            np.multiply(g, g, t)
            np.multiply(t, np.float32(0.001), t)
            np.multiply(square, np.float32(0.999), square)
            np.add(square, t, square)
            np.add(np.sqrt(square, t), eps, t)
            np.divide(mean, t, t)
            np.add(v, np.multiply(t, a, t), v)

    return {"SGD": sgd, "Adam": adam}[kind]
