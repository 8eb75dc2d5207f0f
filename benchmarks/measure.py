"""How it is measured: every contender in a process of its own, in interleaved rounds, checked before it is timed."""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.contenders import CONTENDERS, REFERENCE, LeftOutError, checked, differences, make
from benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parent.parent


class Plan(NamedTuple):
    """How much is measured: in each round a contender's time is the median of as many runs as fit into ``seconds``."""

    rounds: int = 15
    processes: int = 3
    seconds: float = 0.3
    threads: int = 2
    avx512: bool = False


QUICK = Plan(rounds=5, processes=1, seconds=0.1)
CHECK = Plan(rounds=0, processes=1)


# ---- a contender's process --------------------------------------------------------------------------------------------------


def serve(contender: str, workload: str, threads: int) -> None:
    """Answer, a line of JSON each, what standard input asks: ``check FILE`` or ``time SECONDS``."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not end up among the answers
    work = WORKLOADS[workload]
    try:
        case = make(contender, work, threads)
    except LeftOutError as reason:
        print(json.dumps({"left_out": str(reason)}), file=answers)
        return
    except Exception as error:
        print(json.dumps({"failed": _told(error)}), file=answers)
        raise
    before = _memory("VmRSS", forget_peak=True)
    print(json.dumps({}), file=answers)
    for line in sys.stdin:
        order, _, argument = line.strip().partition(" ")
        try:
            if order == "check":
                np.savez(argument, **checked(case, work))  # type: ignore[arg-type]
                answer: dict[str, Any] = {}
            else:
                answer = {"seconds": timed(case.run, float(argument)), "growth": _memory("VmHWM") - before}
        except Exception as error:
            print(json.dumps({"failed": _told(error)}), file=answers)
            raise
        print(json.dumps(answer), file=answers)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def timed(run: Any, seconds: float) -> float:
    """Median seconds of a run, after one that is not counted."""
    gc.collect()
    run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 1000):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _memory(what: str, forget_peak: bool = False) -> int:
    """Bytes of resident memory, now or at most; 0 where the system does not tell."""
    try:
        if forget_peak:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith(what)), 0)


class AbsentError(Exception):
    """The contender does not take part; ``fault`` says whether it should have."""

    def __init__(self, reason: str, fault: bool) -> None:
        super().__init__(reason)
        self.fault = fault


class Worker:
    """The other end of :func:`serve`."""

    def __init__(self, contender: str, workload: str, plan: Plan) -> None:
        threads = str(plan.threads)
        environment: dict[str, str] = os.environ | dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads
        )
        environment |= CONTENDERS["avx512" if plan.avx512 else contender].environment
        command = [sys.executable, "-m", "benchmarks", "--worker", contender, workload, threads]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        try:
            self._answer()
        except AbsentError:
            self.close()
            raise

    def ask(self, order: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        print(order, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AbsentError(f"its process ended with {self.process.wait()}", fault=True)
        answer: dict[str, Any] = json.loads(line)
        for key in ("left_out", "failed"):
            if key in answer:
                raise AbsentError(answer[key], fault=key == "failed")
        return answer

    def close(self) -> None:
        self.process.communicate()


# ---- the rounds -------------------------------------------------------------------------------------------------------------


def rotated(names: list[str], rounds: int) -> Iterator[list[str]]:
    for k in range(rounds):
        yield names[k % len(names) :] + names[: k % len(names)]


def race(workload: str, names: list[str], plan: Plan) -> dict[str, Any]:
    """Time over PyTorch's of every contender in a workload; who is absent, and why."""
    times: dict[str, list[float]] = {}
    growths: dict[str, list[int]] = {}
    absent: dict[str, dict[str, Any]] = {}
    agree: list[str] = []
    rounds = [plan.rounds // plan.processes + (k < plan.rounds % plan.processes) for k in range(plan.processes)]
    for process in range(plan.processes):
        workers = _started(workload, [name for name in names if name not in absent], plan, absent, check=process == 0)
        agree = agree or list(workers)
        try:
            for order in rotated(list(workers), rounds[process]):
                for name in order:
                    answer = workers[name].ask(f"time {plan.seconds}")
                    times.setdefault(name, []).append(answer["seconds"])
                    growths.setdefault(name, []).append(answer["growth"])
        finally:
            for worker in workers.values():
                worker.close()
    rows = {name: _row(seconds, times[REFERENCE], growths[name]) for name, seconds in times.items() if name not in absent}
    return {"title": WORKLOADS[workload].title, "rows": rows, "agree": agree, "absent": absent}


def _started(
    workload: str, names: list[str], plan: Plan, absent: dict[str, dict[str, Any]], check: bool
) -> dict[str, Worker]:  # fmt: skip
    """A worker for each contender that agrees with PyTorch, which comes first."""
    workers: dict[str, Worker] = {}
    right = None
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted(names, key=lambda name: name != REFERENCE):
            try:
                worker = workers[name] = Worker(name, workload, plan)
                if not check:
                    continue
                file = f"{folder}/{name}.npz"
                worker.ask(f"check {file}")
                found = dict(np.load(file))
                right = found if right is None else right
                if wrong := differences(found, right):
                    raise AbsentError(f"wrong: {'; '.join(wrong)}", fault=True)
            except AbsentError as reason:
                if name == REFERENCE:
                    raise SystemExit(f"{workload}: PyTorch, which all are compared with, does not run: {reason}") from reason
                absent[name] = {"reason": str(reason), "fault": reason.fault}
                if name in workers:
                    workers.pop(name).close()
    return workers


def _row(seconds: list[float], reference: list[float], growth: list[int]) -> dict[str, Any]:
    ratios = [a / b for a, b in zip(seconds, reference, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {
        "median": middle, "low": low, "high": high, "seconds": statistics.median(seconds), "growth": max(growth),
        "ratios": ratios,
    }  # fmt: skip
