"""What the eager tape costs: small operations, where NumPy's own work is least and the recording shows most.

    python benchmarks/tape.py [--quick] [--json FILE]

Contenders are those that are installed; PyTorch (2 threads) is what all are compared with. Gradients are checked against its
gradients before anything is timed. Rounds are interleaved, the order rotates, and each contender's time in a round is the
fastest of its repetitions; what is printed is the median over the rounds of time / PyTorch's time in that round, and the
quartiles. All run in one process, but for the MLP: its contenders each use two threads, so each has a process of its own,
which sleeps while the other is timed. In one process the quartiles of its ratio were 0.8 and 28 in one run.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Run = Callable[[], Any]
REFERENCE = "PyTorch"
STEPS = 333
"""Of ``h = tanh(h * a + b)``: 999 operations."""
NODES = 100_000


class Row(NamedTuple):
    """A contender's times over the reference's, one per round, and its fastest time in seconds."""

    median: float
    low: float
    high: float
    seconds: float


def installed(name: str) -> Any:
    """A module, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def version(name: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def data() -> tuple[Any, Any, Any]:
    """x, a, b of the chain, such that its gradients neither vanish nor explode over 333 steps."""
    rng = np.random.default_rng(0)
    return tuple((c + s * rng.normal(size=8)).astype(np.float32) for c, s in ((0, 1), (1, 0.02), (0, 0.01)))  # type: ignore[return-value]


# The chain: each contender is a function that runs forward and backward once and returns the gradients of x, a and b.
def chain_minigrad(steps: int) -> Run:
    import minigrad as mg

    x, a, b = leaves = [mg.tensor(v, requires_grad=True) for v in data()]
    ones = mg.ones(8)

    def run() -> Any:
        x.grad = a.grad = b.grad = None
        h = x
        for _ in range(steps):
            h = mg.tanh(h * a + b)
        h.backward(ones)
        return [t.grad for t in leaves]

    return run


def chain_torch(steps: int) -> Run:
    import torch

    x, a, b = leaves = [torch.tensor(v, requires_grad=True) for v in data()]
    ones = torch.ones(8)

    def run() -> Any:
        x.grad = a.grad = b.grad = None
        h = x
        for _ in range(steps):
            h = torch.tanh(h * a + b)
        h.backward(ones)
        return [t.grad for t in leaves]

    return run


def chain_autograd(steps: int) -> Run:
    import autograd
    import autograd.numpy as anp

    def f(x: Any, a: Any, b: Any) -> Any:
        h = x
        for _ in range(steps):
            h = anp.tanh(h * a + b)
        return h

    x, a, b = data()
    ones = np.ones(8, np.float32)
    make = autograd.make_vjp(lambda leaves: f(*leaves))
    return lambda: make((x, a, b))[0](ones)


def chain_mygrad(steps: int) -> Run:
    import mygrad

    x, a, b = leaves = [mygrad.tensor(v) for v in data()]
    ones = np.ones(8, np.float32)

    def run() -> Any:
        with mygrad.mem_guard_off:
            for t in leaves:
                t.null_grad()
            h = x
            for _ in range(steps):
                h = mygrad.tanh(h * a + b)
            h.backward(ones)
        return [t.grad for t in leaves]

    return run


def chain_micrograd(steps: int) -> Run:
    """On the first of the eight elements: micrograd knows scalars only. It has no tanh, so the lecture's is added."""
    import math

    from micrograd.engine import Value

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 30 * steps))  # its backward recurses through the graph

    def tanh(v: Any) -> Any:
        t = math.tanh(v.data)
        out = Value(t, (v,), "tanh")

        def backward() -> None:
            v.grad += (1 - t * t) * out.grad

        out._backward = backward
        return out

    def run() -> Any:
        x, a, b = leaves = [Value(float(v[0])) for v in data()]
        h = x
        for _ in range(steps):
            h = tanh(h * a + b)
        h.backward()
        return [np.asarray([v.grad]) for v in leaves]

    return run


def chain_numpy(steps: int) -> Run:
    """Written by hand for this chain: no graph, no checks; what any engine on NumPy has to add to."""
    x, a, b = data()
    ones = np.ones(8, np.float32)

    def run() -> Any:
        kept = [x]
        for _ in range(steps):
            kept.append(np.tanh(kept[-1] * a + b))
        g, ga, gb = ones, np.zeros_like(a), np.zeros_like(b)
        for k in range(steps, 0, -1):
            y = kept[k]
            g = g - g * y * y
            gb += g
            ga += g * kept[k - 1]
            g = g * a
        return g, ga, gb

    return run


# Grad of grad: the derivative by x of the sum of the gradients of the sum of the chain.
def twice_minigrad(steps: int) -> Run:
    import minigrad as mg

    x, a, b = (mg.tensor(v, requires_grad=True) for v in data())

    def run() -> Any:
        h = x
        for _ in range(steps):
            h = mg.tanh(h * a + b)
        first = mg.gradients(h.sum(), [x, a, b], create_graph=True)
        return mg.gradients(sum(g.sum() for g in first), [x, a, b])

    return run


def twice_torch(steps: int) -> Run:
    import torch

    x, a, b = (torch.tensor(v, requires_grad=True) for v in data())

    def run() -> Any:
        h = x
        for _ in range(steps):
            h = torch.tanh(h * a + b)
        first = torch.autograd.grad(h.sum(), [x, a, b], create_graph=True)
        return torch.autograd.grad(torch.stack(first).sum(), [x, a, b])

    return run


def twice_autograd(steps: int) -> Run:
    import autograd
    import autograd.numpy as anp

    def f(leaves: Any) -> Any:
        h, a, b = leaves
        for _ in range(steps):
            h = anp.tanh(h * a + b)
        return anp.sum(h)

    first = autograd.grad(f)
    second = autograd.grad(lambda leaves: sum(anp.sum(g) for g in first(leaves)))
    values = data()
    return lambda: second(values)


# One training step of an MLP 784-256-128-10 at batch 128: cross-entropy, SGD written out. It returns the parameters.
SIZES = ((784, 256), (256, 128), (128, 10))


def mlp_data() -> tuple[list[Any], Any, Any]:
    rng = np.random.default_rng(0)
    weights = [(rng.normal(size=s) / s[0] ** 0.5).astype(np.float32) for s in SIZES]
    parameters = [p for w in weights for p in (w, np.zeros(w.shape[1], np.float32))]
    return parameters, rng.normal(size=(128, 784)).astype(np.float32), rng.integers(0, 10, 128)


def mlp_minigrad() -> Run:
    import minigrad as mg

    values, inputs, labels = mlp_data()
    parameters = [mg.tensor(v, requires_grad=True) for v in values]
    x, targets = mg.tensor(inputs), mg.tensor(np.eye(10, dtype=np.float32)[labels])

    def run() -> Any:
        h = x
        for k in range(0, 6, 2):
            h = h @ parameters[k] + parameters[k + 1]
            h = mg.relu(h) if k < 4 else h
        (mg.logsumexp(h, axis=1) - (h * targets).sum(axis=1)).mean().backward()
        with mg.no_grad():
            for p in parameters:
                p -= 0.01 * p.grad
                p.grad = None
        return parameters

    return run


def mlp_torch() -> Run:
    """With PyTorch's fused linear layer and cross-entropy."""
    import torch

    values, inputs, labels = mlp_data()
    parameters = [torch.tensor(v, requires_grad=True) for v in values]
    x, targets = torch.tensor(inputs), torch.tensor(labels)

    def run() -> Any:
        h = x
        for k in range(0, 6, 2):
            h = torch.addmm(parameters[k + 1], h, parameters[k])
            h = torch.relu(h) if k < 4 else h
        torch.nn.functional.cross_entropy(h, targets).backward()
        with torch.no_grad():
            for p in parameters:
                p -= 0.01 * p.grad
                p.grad = None
        return parameters

    return run


# The scalar graph: h * a + b, 50,000 times. Building and backward are timed apart.
def scalar_graph(name: str) -> tuple[Run, Callable[[Any], Any]]:
    """How ``name`` builds the graph, and how it runs backward through what was built, giving the gradient of ``a``."""
    if name == "autograd":
        import autograd

        def grow(leaves: Any) -> Any:
            h, a, b = leaves
            for _ in range(NODES // 2):
                h = h * a + b
            return h

        make = autograd.make_vjp(grow)
        start = tuple(np.asarray(v, np.float32) for v in (0.5, 0.99999, 1e-6))
        return lambda: make(start)[0], lambda pull: pull(np.ones((), np.float32))[1]

    library = importlib.import_module({"minigrad": "minigrad", REFERENCE: "torch"}[name])
    x, a, b = (library.tensor(v, requires_grad=True) for v in (0.5, 0.99999, 1e-6))

    def build() -> Any:
        h = x
        for _ in range(NODES // 2):
            h = h * a + b
        return h

    def backward(h: Any) -> Any:
        x.grad = a.grad = b.grad = None
        h.backward()
        return a.grad

    return build, backward


def bytes_per_node(name: str) -> float | None:
    """The growth of a fresh process's resident memory while it builds the graph; None where that cannot be read."""
    if not os.path.exists("/proc/self/statm"):
        return None
    done = subprocess.run([sys.executable, __file__, "--bytes", name], capture_output=True, text=True, check=True)
    return float(done.stdout)


def print_bytes(name: str) -> None:
    build, backward = scalar_graph(name)
    backward(build())  # whatever is allocated once

    def resident() -> int:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    gc.collect()
    before = resident()
    graphs = [build() for _ in range(4)]
    print((resident() - before) / NODES / (len(graphs) - 1))  # the first of them reuses what was just freed


# Measuring
def arrays(results: Any) -> list[Any]:
    """As NumPy arrays; outside of what is timed, because minigrad watches arrays that it has handed out."""
    return [r if isinstance(r, np.ndarray) else r.detach().numpy().copy() for r in results]


def check(contenders: dict[str, Run], rtol: float) -> None:
    """Stop unless all agree with the reference (micrograd: in the one element that it computes)."""
    right = arrays(contenders[REFERENCE]())
    for name, run in contenders.items():
        for k, (got, expected) in enumerate(zip(arrays(run()), right, strict=True) if name != REFERENCE else ()):
            np.testing.assert_allclose(
                got, expected[: got.size] if name == "micrograd" else expected, rtol, rtol * np.abs(expected).max(),
                err_msg=f"{name}: result {k} differs from PyTorch's",
            )  # fmt: skip


class Worker:
    """A contender of the MLP in a process of its own, timed on request."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, __file__, "--worker", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def time(self, repeats: int) -> float:
        """The fastest of ``repeats`` steps, in seconds."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("worker without pipes")
        print(repeats, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


MLPS: dict[str, Callable[[], Run]] = {"minigrad": mlp_minigrad, REFERENCE: mlp_torch}


def work(name: str) -> None:
    """What a worker's process does."""
    run = MLPS[name]()
    for line in sys.stdin:
        for _ in range(3):
            run()
        print(min(clock(run) for _ in range(int(line))), flush=True)


def race_workers(names: list[str], rounds: int, repeats: int) -> dict[str, Row]:
    workers = {name: Worker(name) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for order in rotated(names, rounds):
        for name in order:
            times[name].append(workers[name].time(repeats))
    for worker in workers.values():
        worker.close()
    return ratios(times)


def clock(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def rotated(names: list[str], rounds: int) -> Iterator[list[str]]:
    for k in range(rounds):
        yield names[k % len(names) :] + names[: k % len(names)]


def race(contenders: dict[str, Run], rounds: int, repeats: int) -> dict[str, Row]:
    """Each contender's times in interleaved rounds, over the reference's."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for order in rotated(list(contenders), rounds):
        for name in order:
            gc.collect()
            run = contenders[name]
            run()
            times[name].append(min(clock(run) for _ in range(repeats)))
    return ratios(times)


def ratios(times: dict[str, list[float]]) -> dict[str, Row]:
    rows = {}
    for name, seconds in times.items():
        over = [t / reference for t, reference in zip(seconds, times[REFERENCE], strict=True)]
        low, middle, high = statistics.quantiles(over, n=4)
        rows[name] = Row(middle, low, high, min(seconds))
    return rows


def race_scalar(names: list[str], rounds: int) -> tuple[dict[str, Row], dict[str, Row]]:
    graphs = {name: scalar_graph(name) for name in names}
    results = {name: backward(build()) for name, (build, backward) in graphs.items()}
    for name, result in results.items():
        got, expected = arrays([result, results[REFERENCE]])
        np.testing.assert_allclose(got, expected, 1e-4, err_msg=f"{name}: gradient of a differs from PyTorch's")
    building: dict[str, list[float]] = {name: [] for name in names}
    pulling: dict[str, list[float]] = {name: [] for name in names}
    for order in rotated(names, rounds):
        for name in order:
            gc.collect()
            build, backward = graphs[name]
            start = time.perf_counter()
            graph = build()
            middle = time.perf_counter()
            backward(graph)
            pulling[name].append(time.perf_counter() - middle)
            building[name].append(middle - start)
            del graph
    return ratios(building), ratios(pulling)


def table(title: str, rows: dict[str, Row], units: float, unit: str) -> None:
    print(f"\n{title}\n  {'':18}{'time / PyTorch':>15}   {'quartiles':^13}{'fastest':>12}")
    for name, row in sorted(rows.items(), key=lambda item: item[1].median):
        spread = "" if name == REFERENCE else f"{row.low:.3g}-{row.high:.3g}"
        print(f"  {name:18}{row.median:15.3g}   {spread:^13}{row.seconds * units:9.3g} {unit}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about a minute, wider spread")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--bytes", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--worker", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bytes:
        print_bytes(options.bytes)
        return
    torch = installed("torch")
    if torch is None:
        raise SystemExit("tape.py: PyTorch is what all times are compared with: pip install torch")
    torch.set_num_threads(2)
    if options.worker:
        work(options.worker)
        return

    packages = ["minigrad", "numpy", "torch", "autograd", "mygrad", "micrograd"]
    versions = {name: version(name) for name in packages}
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    present = [name for name in packages if installed(name)]
    print(f"{machine}; " + ", ".join(f"{name} {versions[name]}" for name in present))
    rounds, repeats = (7, 3) if options.quick else (31, 5)
    loads = [os.getloadavg()[0]]
    report: dict[str, Any] = {"machine": machine, "versions": versions, "rounds": rounds, "repeats": repeats}

    makers = {
        "NumPy by hand": ("numpy", chain_numpy),
        "minigrad": ("minigrad", chain_minigrad),
        REFERENCE: ("torch", chain_torch),
        "autograd": ("autograd", chain_autograd),
        "MyGrad": ("mygrad", chain_mygrad),
        "micrograd": ("micrograd", chain_micrograd),
    }
    contenders = {name: make(STEPS) for name, (package, make) in makers.items() if package in present}
    check(contenders, 1e-4)
    rows = race(contenders, rounds, repeats)
    table(f"Chain of {3 * STEPS} mul/add/tanh on shape (8,), float32, forward + backward", rows, 1e6 / STEPS / 3, "us/op")
    print("  MyGrad: memory guarding off. micrograd: one scalar, not eight elements; recursion limit raised; tanh added.")
    report["chain"] = {name: row._asdict() for name, row in rows.items()}

    makers = {
        "minigrad": ("minigrad", twice_minigrad), REFERENCE: ("torch", twice_torch), "autograd": ("autograd", twice_autograd),
    }  # fmt: skip
    contenders = {name: make(20) for name, (package, make) in makers.items() if package in present}
    check(contenders, 1e-4)
    rows = race(contenders, rounds, repeats)
    table("Gradient of the gradient of a chain of 60", rows, 1e3, "ms")
    report["grad of grad"] = {name: row._asdict() for name, row in rows.items()}

    check({name: make() for name, make in MLPS.items()}, 1e-4)
    rows = race_workers(list(MLPS), rounds, 2 * repeats)
    table("MLP 784-256-128-10, batch 128, a step of SGD on bare tensors", rows, 1e3, "ms")
    print("  PyTorch with its fused linear layer and cross-entropy; minigrad with @, +, relu and logsumexp.")
    report["mlp"] = {name: row._asdict() for name, row in rows.items()}

    names = ["minigrad", REFERENCE, *(["autograd"] if "autograd" in present else [])]
    building, pulling = race_scalar(names, 3 if options.quick else 9)
    table(f"Scalar graph of {NODES:,} operations: build", building, 1e6 / NODES, "us/node")
    table("The same: backward", pulling, 1e6 / NODES, "us/node")
    memory = {name: bytes_per_node(name) for name in names}
    print("\nThe same: bytes per node\n" + "".join(f"  {n:18}{v:15.0f}\n" for n, v in memory.items() if v is not None), end="")
    report["scalar"] = {
        name: {"build": building[name]._asdict(), "backward": pulling[name]._asdict(), "bytes": memory[name]} for name in names
    }
    loads.append(os.getloadavg()[0])
    report["load"] = loads
    print(
        f"\nLoad of the machine, this benchmark included: {loads[0]:.1f} before, {loads[1]:.1f} after. Where other work takes"
    )
    print("the cores, PyTorch slows down more than the others, and the ratios to it come out too low.")
    if options.json:
        with open(options.json, "w") as f:
            json.dump(report, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
