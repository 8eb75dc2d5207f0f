"""What small workloads cost in instructions: a benchmark for every commit, whose result does not depend on the machine's load.

    python -m benchmarks --instructions             # compare with baseline.json; more than 5 % more is a failure
    python -m benchmarks --instructions --update    # make what is counted the baseline

Two counts of each case, both of one run after some that warm up:

- ``instructions`` of the processor, by valgrind's callgrind: comparable where Python, NumPy, the C library and the processor's
  architecture are those of the baseline. Cases are forks of one process, and what counts is the difference of two that run a case
  more and less often, so that starting Python cancels. Repeated, they differ by about 0.1 %.
- ``bytecodes`` that Python executes in minigrad's own code and the programs it compiles: comparable wherever Python's minor version
  is the baseline's, whatever else differs. Repeated, they are the same number.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

BASELINE = Path(__file__).with_name("baseline.json")
ALLOWED = 0.05
WARM, FEW, MANY = 5, 3, 33
"""Runs before counting (a compiled step records the first two), and of the two forks whose difference counts."""

Counts = dict[str, dict[str, float]]
Run = Callable[[], Any]


# ---- the cases: small arrays, so that nearly all of it is Python and the calls into NumPy -----------------------------------


def tape() -> Run:
    """Forward and backward through 90 operations on 8 numbers."""
    import minigrad as mg

    x, a, b = (mg.tensor(np.full(8, v, np.float32), requires_grad=True) for v in (0.5, 1.0, 0.1))
    ones = mg.ones(8)

    def run() -> None:
        x.grad = a.grad = b.grad = None
        h = x
        for _ in range(30):
            h = mg.tanh(h * a + b)
        h.backward(ones)

    return run


def scalars() -> Run:
    """Forward and backward through 60 operations on 0-d Tensors."""
    import minigrad as mg

    x, a, b = (mg.tensor(v, requires_grad=True) for v in (0.5, 0.9, 0.1))

    def run() -> None:
        x.grad = a.grad = b.grad = None
        h = x
        for _ in range(30):
            h = h * a + b
        h.backward()

    return run


def _network(convolution: bool = False) -> Any:
    import minigrad as mg
    from minigrad import nn

    mg.manual_seed(0)
    first = (
        [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 16)]
        if convolution
        else [nn.Linear(36, 16)]
    )
    rng = np.random.default_rng(0)
    shape = (8, 1, 8, 8) if convolution else (8, 36)
    x = mg.tensor(rng.standard_normal(shape, np.float32))
    return nn.Sequential(*first, nn.Tanh(), nn.Linear(16, 4)), x, mg.tensor(rng.integers(0, 4, 8))


def module() -> Run:
    """A call of two linear layers, nothing recorded."""
    import minigrad as mg

    model, x, _ = _network()

    def run() -> None:
        with mg.no_grad():
            model(x)

    return run


def _step(kind: str, convolution: bool = False, compiled: bool = False) -> Run:
    import minigrad as mg
    from minigrad import nn

    model, x, labels = _network(convolution)
    optimizer, loss = getattr(mg.optim, kind)(model.parameters(), lr=1e-3), nn.CrossEntropyLoss()

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        value = loss(model(x), labels)
        value.backward()
        optimizer.step()
        return value

    step = mg.compile(step, threads=1) if compiled else step
    return lambda: step(x, labels)


CASES: dict[str, Callable[[], Run]] = {
    "tape": tape,
    "scalars": scalars,
    "module": module,
    "sgd": lambda: _step("SGD"),
    "adam": lambda: _step("Adam"),
    "convolution": lambda: _step("SGD", convolution=True),
    "replay": lambda: _step("Adam", compiled=True),
}


# ---- counting ---------------------------------------------------------------------------------------------------------------


def bytecodes(run: Run) -> int:
    """How many bytecodes of minigrad's code a run executes."""
    ours = tuple(
        os.path.dirname(os.path.abspath(str(importlib.import_module(n).__file__))) for n in ("minigrad", "minigrad.nn")
    )
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        name = frame.f_code.co_filename
        if not name.startswith((*ours, "<")) or name.startswith("<frozen"):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(previous)
    return count


def _quiet() -> None:
    """Collections of garbage come when they come: they are not part of what a run costs."""
    import gc

    gc.collect()
    gc.disable()


def child(folder: str) -> None:
    """Inside of valgrind, or outside without a folder: count all cases, each in forks, and print what was found.

    A fork inherits everything that was counted before it: only differences between forks mean something.
    """
    importlib.import_module("minigrad.nn")  # once, before the forks
    found: dict[str, Any] = {}
    for name in CASES:
        pids = [_forked(name, runs) for runs in (FEW, MANY)] if folder else []
        totals = [_total(Path(folder, f"callgrind.{pid}")) for pid in pids]
        found[name] = (totals[1] - totals[0]) / (MANY - FEW) if folder else _bytecodes_of(name)
    print(json.dumps(found))


def _bytecodes_of(name: str) -> int:
    run = CASES[name]()
    for _ in range(WARM):
        run()
    return bytecodes(run)


def _forked(name: str, runs: int) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _quiet()
            run = CASES[name]()
            for _ in range(WARM + runs):
                run()
            code = 0
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise SystemExit(f"the case {name!r} failed")
    return pid


def _total(file: Path) -> int:
    """What callgrind wrote when the process ended."""
    found = re.search(r"^(?:summary|totals): (\d+)", file.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"callgrind wrote no total to {file}")
    return int(found[1])


def count() -> Counts:
    """Bytecodes, and instructions where valgrind is installed."""
    # One thread, one kernel, one order of hashing: whatever differs from run to run for other reasons than the code.
    fixed = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}
    python = [sys.executable, "-c", "import sys; from benchmarks import instructions; instructions.child(sys.argv[1])"]

    def ask(command: list[str], folder: str) -> dict[str, float]:
        done = subprocess.run(
            [*command, folder], capture_output=True, text=True, cwd=BASELINE.parent.parent, env=os.environ | fixed, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command[:1])} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        answer: dict[str, float] = json.loads(done.stdout)
        return answer

    found: Counts = {name: {"bytecodes": n} for name, n in ask(python, "").items()}
    if shutil.which("valgrind"):
        with tempfile.TemporaryDirectory() as folder:
            callgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind.%p"]
            for name, n in ask([*callgrind, *python], folder).items():
                found[name]["instructions"] = round(n)
    return found


def versions() -> dict[str, str]:
    return {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "C library": " ".join(platform.libc_ver()),
        "architecture": platform.machine(),
        "valgrind": _valgrind(),
    }


def _valgrind() -> str:
    if not shutil.which("valgrind"):
        return "not installed"
    return subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip()


# ---- comparing --------------------------------------------------------------------------------------------------------------


def comparable(here: dict[str, str], there: dict[str, str]) -> tuple[set[str], list[str]]:
    """Which counts can be compared between two sets of versions, and what to tell about the others."""
    differ = [f"{name} {here.get(name)} (the baseline: {there.get(name)})" for name in there if here.get(name) != there[name]]
    if not differ:
        return {"bytecodes", "instructions"}, []
    what = f"NOTICE: {', '.join(differ)}: instructions are not compared"
    if here["Python"].rpartition(".")[0] == there["Python"].rpartition(".")[0]:
        return {"bytecodes"}, [f"{what}, bytecodes are."]
    return set(), [f"{what}, and neither are bytecodes. Nothing is checked here."]


def verdict(here: Counts, there: Counts, kinds: set[str]) -> tuple[list[str], bool]:
    """A table of what is comparable, and whether all is well: nothing costs more than 5 % more, no case is new or lost."""
    told, well = [f"{'':14}{'count':14}{'baseline':>12}{'now':>12}{'change':>9}"], True
    for name in sorted(here.keys() | there.keys()):
        if name not in here or name not in there:
            told.append(f"{name:14}is {'new' if name in here else 'gone'}: update the baseline")
            well = False
            continue
        for kind in sorted(kinds):
            if kind not in here[name] or kind not in there[name]:
                continue
            before, now = there[name][kind], here[name][kind]
            change = now / before - 1
            mark = "  TOO MUCH" if change > ALLOWED else "  better: update the baseline" if change < -ALLOWED else ""
            well = well and change <= ALLOWED
            told.append(f"{name:14}{kind:14}{before:12,.0f}{now:12,.0f}{change:+9.1%}{mark}")
    return told, well


def main(update: bool) -> int:
    here, found = versions(), count()
    if update:
        from benchmarks.report import write

        write(BASELINE, json.dumps({"versions": here, "cases": found}, indent=1) + "\n")
        print(f"{BASELINE.name}: {len(found)} cases")
        return 0
    baseline = json.loads(BASELINE.read_text())
    kinds, notices = comparable(here, baseline["versions"])
    told, well = verdict(found, baseline["cases"], kinds)
    print("\n".join([*notices, *told]))
    if not well:
        print("If it is meant: python -m benchmarks --instructions --update, and say why in the commit.")
    return 0 if well else 1
