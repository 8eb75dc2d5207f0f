"""What convolution, pooling and batch normalisation cost, operation by operation and inside two models.

    python benchmarks/convolution.py [--rounds 9] [--only TEXT] [--json FILE]

Each row is forward and backward of one operation, or a whole training step, float32, eager, both sides on two threads. The
output and the gradients are compared with PyTorch's before anything is timed. A round times minigrad, then PyTorch, with their
order alternating; what is printed is the median over the rounds of time / PyTorch's time in the same round, its quartiles, and
minigrad's processor time (of all threads) in ms, which depends less on what else the machine is doing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

import minigrad as mg
from minigrad import nn, optim
from minigrad.nn.models import LeNet5

Step = Callable[[], list[Any]]
"""Runs once; gives arrays to compare."""


class Pair(NamedTuple):
    """The same work twice: each of ``forward`` and ``backward`` for minigrad, then PyTorch; backward runs what forward made."""

    name: str
    forward: tuple[Step, Step]
    backward: tuple[Step, Step] | None


class Times(NamedTuple):
    """Time / PyTorch's: median and quartiles; and minigrad's fastest processor time in ms."""

    median: float
    low: float
    high: float
    cpu_ms: float


CONVOLUTIONS: tuple[tuple[tuple[int, ...], tuple[int, ...], dict[str, int]], ...] = (
    ((16, 64, 32, 32), (64, 64, 3, 3), {"padding": 1}),
    ((32, 16, 32, 32), (16, 16, 3, 3), {"padding": 1}),
    ((16, 128, 16, 16), (128, 128, 3, 3), {"padding": 1}),
    ((8, 256, 8, 8), (256, 256, 3, 3), {"padding": 1}),
    ((4, 32, 64, 64), (32, 32, 5, 5), {"padding": 2}),
    ((1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
    ((32, 3, 32, 32), (32, 3, 3, 3), {"padding": 1}),
    ((64, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}),
    ((64, 6, 14, 14), (16, 6, 5, 5), {}),
    ((16, 32, 32, 32), (64, 32, 3, 3), {"padding": 1, "stride": 2}),
    ((4, 3, 128, 128), (32, 3, 7, 7), {"padding": 3, "stride": 2}),
    ((16, 3, 32, 32), (64, 3, 4, 4), {"stride": 4}),
    ((16, 64, 32, 32), (64, 64, 1, 1), {}),
    ((16, 64, 32, 32), (128, 64, 1, 1), {"stride": 2}),
    ((16, 32, 32, 32), (64, 8, 3, 3), {"padding": 1, "groups": 4}),
    ((16, 32, 32, 32), (32, 1, 3, 3), {"padding": 1, "groups": 32}),
    ((16, 32, 32, 32), (32, 1, 3, 3), {"padding": 1, "groups": 32, "stride": 2}),
    ((32, 64, 128), (64, 64, 5), {"padding": 2}),
    ((64, 16, 5, 5), (120, 16, 5, 5), {}),
    ((32, 16, 16, 16), (32, 16, 3, 3), {"padding": 1}),
    ((32, 32, 8, 8), (64, 32, 3, 3), {"padding": 1}),
    ((1, 3, 224, 224), (64, 3, 7, 7), {"padding": 3, "stride": 2}),
    ((8, 32, 28, 28), (32, 32, 3, 3), {"padding": 2, "dilation": 2}),
)
POOLS: tuple[tuple[str, tuple[int, ...], dict[str, int]], ...] = (
    ("max_pool2d", (64, 6, 28, 28), {"kernel_size": 2}),
    ("max_pool2d", (16, 64, 32, 32), {"kernel_size": 2}),
    ("max_pool2d", (16, 64, 32, 32), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", (16, 64, 15, 15), {"kernel_size": 3, "stride": 2}),
    ("avg_pool2d", (64, 6, 28, 28), {"kernel_size": 2}),
    ("avg_pool2d", (16, 64, 32, 32), {"kernel_size": 2}),
    ("avg_pool2d", (16, 64, 32, 32), {"kernel_size": 3, "stride": 2, "padding": 1}),
)
NORMS: tuple[tuple[int, ...], ...] = ((32, 16, 32, 32), (32, 64, 8, 8), (16, 64, 32, 32), (64, 256, 4, 4), (128, 256))


def operation(name: str, ours: Callable[..., Any], theirs: Callable[..., Any], *shapes: tuple[int, ...]) -> Pair:
    """Forward and backward of a function of tensors of these shapes."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    a, b = [mg.tensor(v, requires_grad=True) for v in values], [torch.tensor(v, requires_grad=True) for v in values]
    upstream = rng.normal(size=theirs(*b).shape).astype(np.float32)
    g, h, made = mg.tensor(upstream), torch.tensor(upstream), {}

    def forward(key: int, leaves: list[Any], f: Callable[..., Any]) -> Step:
        def run() -> list[Any]:
            for t in leaves:
                t.grad = None
            made[key] = f(*leaves)
            return [made[key]]

        return run

    def backward(key: int, leaves: list[Any], g: Any) -> Step:
        def run() -> list[Any]:
            made[key].backward(g)
            return [t.grad for t in leaves]

        return run

    return Pair(name, (forward(0, a, ours), forward(1, b, theirs)), (backward(0, a, g), backward(1, b, h)))


class Block(nn.Module):
    """y = relu(x + bn2(conv2(relu(bn1(conv1(x))))))."""

    def __init__(self, library: Any, channels: int) -> None:
        self.conv1, self.conv2 = (library.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = (library.BatchNorm2d(channels) for _ in range(2))

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + x).relu()


def block(shape: tuple[int, ...]) -> Pair:
    rng = np.random.default_rng(0)
    c = shape[1]
    x, g = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    ours, a = Block(nn, c), mg.tensor(x, requires_grad=True)
    convs = [torch.nn.Conv2d(c, c, 3, padding=1, bias=False) for _ in range(2)]
    norms, b = [torch.nn.BatchNorm2d(c) for _ in range(2)], torch.tensor(x, requires_grad=True)
    for mine, theirs in zip((ours.conv1, ours.conv2), convs):
        theirs.weight.data = torch.tensor(mine.weight.numpy().copy())
    up = mg.tensor(g), torch.tensor(g)

    def minigrad() -> list[Any]:
        leaves = [a, ours.conv1.weight, ours.conv2.weight]
        for t in (a, *ours.parameters()):
            t.grad = None
        y = ours(a)
        y.backward(up[0])
        return [y, *(t.grad for t in leaves)]

    def pytorch() -> list[Any]:
        leaves = [b, convs[0].weight, convs[1].weight]
        for t in (b, *(p for m in (*convs, *norms) for p in m.parameters())):
            t.grad = None
        y = norms[1](convs[1](norms[0](convs[0](b)).relu()))
        y = (y + b).relu()
        y.backward(up[1])
        return [y, *(t.grad for t in leaves)]

    return Pair(f"residual block {shape}", (minigrad, pytorch), None)


def lenet(pool: str) -> Pair:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(64, 1, 32, 32)).astype(np.float32), rng.integers(0, 10, 64)
    ours = LeNet5(activation=nn.ReLU, pool=getattr(nn, f"{pool}Pool2d"))
    T = torch.nn
    Pool = getattr(T, f"{pool}Pool2d")
    theirs = T.Sequential(
        T.Conv2d(1, 6, 5), T.ReLU(), Pool(2), T.Conv2d(6, 16, 5), T.ReLU(), Pool(2), T.Conv2d(16, 120, 5), T.ReLU(),
        T.Flatten(), T.Linear(120, 84), T.ReLU(), T.Linear(84, 10),
    )  # fmt: skip
    for p, q in zip(ours.parameters(), theirs.parameters()):
        q.data = torch.tensor(p.numpy().copy())
    first, second = optim.SGD(ours.parameters(), lr=1e-3), torch.optim.SGD(theirs.parameters(), lr=1e-3)
    a, ta, b, tb = mg.tensor(x), mg.tensor(t), torch.tensor(x), torch.tensor(t)

    def minigrad() -> list[Any]:
        first.zero_grad()
        loss = nn.functional.cross_entropy(ours(a), ta)
        loss.backward()
        first.step()
        return [loss, *(p.grad for p in ours.parameters())]

    def pytorch() -> list[Any]:
        second.zero_grad()
        loss = F.cross_entropy(theirs(b), tb)
        loss.backward()
        second.step()
        return [loss, *(p.grad for p in theirs.parameters())]

    return Pair(f"LeNet-5 step, batch 64, {pool}Pool", (minigrad, pytorch), None)


def pairs() -> Iterator[Pair]:
    for x, w, options in CONVOLUTIONS:
        f = f"conv{len(x) - 2}d"
        said = ", ".join(f"{k} {v}" for k, v in options.items())
        yield operation(
            f"{x} * {w} {said}".rstrip(),
            lambda a, b, f=f, o=options: getattr(mg, f)(a, b, **o),
            lambda a, b, f=f, o=options: getattr(F, f)(a, b, **o),
            x,
            w,
        )
    for f, x, options in POOLS:
        said = ", ".join(f"{k.removesuffix('_size')} {v}" for k, v in options.items())
        yield operation(
            f"{f} {x} {said}",
            lambda a, f=f, o=options: getattr(mg, f)(a, **o),
            lambda a, f=f, o=options: getattr(F, f)(a, **o),
            x,
        )
    for x in NORMS:
        yield operation(
            f"batch_norm {x}",
            lambda a, w, b: nn.functional.batch_norm(a, None, None, w, b, True),
            lambda a, w, b: F.batch_norm(a, None, None, w, b, True),
            x,
            x[1:2],
            x[1:2],
        )
    yield block((16, 64, 32, 32))
    yield block((32, 16, 32, 32))
    yield lenet("Avg")
    yield lenet("Max")


def check(name: str, ours: list[Any], theirs: list[Any]) -> None:
    """The benchmark stops where results differ."""
    for a, b in zip(ours, theirs):
        want = b.detach().numpy()
        np.testing.assert_allclose(a.numpy(), want, rtol=1e-3, atol=2e-4 * max(1.0, float(abs(want).max())), err_msg=name)


def timed(run: Step) -> tuple[float, ...]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(pair: Pair, rounds: int, repeat: int = 3) -> list[Times]:
    parts = [pair.forward] if pair.backward is None else [pair.forward, pair.backward]
    for ours, theirs in parts:
        check(pair.name, ours(), theirs())
    found: list[list[tuple[float, ...]]] = [[] for _ in parts]
    for r in range(rounds):
        fastest: list[list[tuple[float, ...]]] = [[(9e9, 9e9)] * 2 for _ in parts]
        for side in (0, 1) if r % 2 else (1, 0):
            for _ in range(repeat):
                for best, part in zip(fastest, parts):
                    best[side] = tuple(map(min, best[side], timed(part[side])))
        for kept, (a, b) in zip(found, fastest):
            kept.append((a[0] / b[0], a[1]))
    result = []
    for kept in found:
        ratios = [ratio for ratio, _ in kept]
        low, median, high = statistics.quantiles(ratios, n=4)
        result.append(Times(median, low, high, 1e3 * min(cpu for _, cpu in kept)))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Convolution and pooling: time over PyTorch's")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(2)
    rows = {}
    print(f"{'time / PyTorch, median (quartiles)':<66} {'forward, or step':>20} {'backward':>20} {'CPU ms':>13}")
    for pair in pairs():
        if args.only not in pair.name:
            continue
        times = rows[pair.name] = measure(pair, args.rounds)
        told = [f"{t.median:5.2f} ({t.low:5.2f}-{t.high:5.2f})" for t in times]
        print(
            f"{pair.name:<66} {told[0]:>20} {(*told, '')[1]:>20} {' / '.join(f'{t.cpu_ms:.2f}' for t in times):>13}", flush=True
        )
    print(f"load {os.getloadavg()[0]:.1f}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump({name: [t._asdict() for t in times] for name, times in rows.items()}, file, indent=1)


if __name__ == "__main__":
    main()
