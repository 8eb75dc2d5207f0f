"""Soak runs: ``python -m minigrad.testing.soak`` holds random programs against oracles by the million.

A program is made from its number and the seed alone, so a run can stop at any moment, go on later from its state file, on any
number of processes, and each program can be made again by its number. What is found is cut down to the smallest program that still
fails and written as a test to paste.

    python -m minigrad.testing.soak --programs 1000000 --workers 4 --state soak.json
    python -m minigrad.testing.soak --state soak.json --report
    python -m minigrad.testing.soak --only 12345
    python -m minigrad.testing.soak --ops my_package.ops:cube_root --programs 20000
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
import textwrap
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad.testing.choices import Dice, program_from
from minigrad.testing.kinds import EVERY, Kind, kinds_of
from minigrad.testing.oracles import ORACLES, available, fault
from minigrad.testing.programs import Program

CHUNK = 500
"""Programs between two writings of the state; a run stopped in between does them again."""
KEPT = 200
"""Failures that are kept in full; of more only the number."""


@dataclass
class Failure:
    """A program that an oracle found wrong, cut down."""

    number: int
    oracle: str
    steps: list[str]
    fault: str
    test: str


@dataclass
class Record:
    """What a run has done so far; its state file is this as JSON.

    Attributes:
        seed: with a program's number, all that the program is made from.
        ops: what it is made of; None for :data:`~minigrad.testing.kinds.EVERY`.
        tried: how many programs; the next one's number.
        steps: how many operations they had.
        seconds: that all processes spent.
        asked: how often each oracle was asked.
        kinds: how often each kind of step was in a program.
        failed: how many failures there were.
        failures: the first of each sort: one to an oracle and a set of steps.
    """

    seed: str = "0"
    ops: list[str] | None = None
    tried: int = 0
    steps: int = 0
    seconds: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)

    def add(self, part: Record) -> None:
        """What another process has done after this."""
        self.tried += part.tried
        self.steps += part.steps
        self.seconds += part.seconds
        self.failed += part.failed
        self.asked += part.asked
        self.kinds += part.kinds
        known = {(f.oracle, *f.steps): f for f in reversed([*self.failures, *part.failures])}
        self.failures = sorted(known.values(), key=lambda f: f.number)[:KEPT]

    def save(self, path: Path) -> None:
        """Write it in one go: whoever reads the file finds the old state or the new one."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(json.dumps({**vars(self), "failures": [asdict(f) for f in self.failures]}, indent=1))
        fresh.replace(path)

    @classmethod
    def load(cls, path: Path) -> Record:
        known = json.loads(path.read_text())
        counts = {name: Counter(known.pop(name)) for name in ("asked", "kinds")}
        return cls(**{**known, **counts, "failures": [Failure(**f) for f in known.pop("failures")]})

    def report(self) -> str:
        """The record as Markdown."""
        rows = [f"| {name} | {oracle.what} | {self.asked[name]:,} |" for name, oracle in ORACLES.items()]
        rarest = min(self.kinds.items(), key=lambda item: item[1], default=("none", 0))
        failures = [f"- program {f.number}, {f.oracle}: {', '.join(f.steps)}" for f in self.failures]
        kinds = f"{len(self.kinds)} kinds of them (the rarest, {rarest[0]!r}, {rarest[1]:,} times)"
        return "\n".join([
            f"{self.tried:,} programs of {self.steps:,} operations, {kinds}, in {self.seconds / 3600:.2f} hours of one process.",
            "", "| oracle | what it holds | programs |", "|---|---|---|", *rows, "",
            f"{self.failed:,} programs failed, of {len(self.failures)} sorts{':' if failures else '.'}", *failures,
        ]).strip()  # fmt: skip


def program_of(number: int, seed: str, kinds: dict[str, Kind]) -> Program:
    """The program of that number: every tenth with axes of size 0, every fifth with three axes.

    Example:
        >>> str(program_of(3, "example", EVERY)) == str(program_of(3, "example", EVERY))
        True
    """
    dice = Dice(f"{seed}/{number}")
    return program_from(dice, kinds, max_dims=3 if number % 5 == 1 else 2, min_side=0 if number % 10 == 3 else 1, max_steps=16)


def run(numbers: Sequence[int], seed: str, ops: Sequence[str] | None) -> Record:
    """Hold the programs of these numbers against the oracles whose turn it is."""
    begun, done, kinds = time.perf_counter(), Record(), named(ops)
    oracles = [(name, ORACLES[name].every) for name in available()]
    for number in numbers:
        program = program_of(number, seed, kinds)
        for name, every in oracles:
            if number % every == 0:
                done.asked[name] += 1
                found = fault(name, program)
                if found:
                    done.failed += 1
                    done.failures.append(failure(number, name, program, ops))
                    break
        done.tried += 1
        done.steps += len(program.steps)
        done.kinds.update(step.kind for step in program.steps)
    done.seconds = time.perf_counter() - begun
    return done


def named(ops: Sequence[str] | None) -> dict[str, Kind]:
    """The kinds of those names; ``module:function`` is an operation of one's own, and if all are, the others are used beside them.

    Raises:
        ValueError: for a name that is neither.
    """
    if ops is None:
        return EVERY
    own = own_operations(ops)
    found = kinds_of([*own.values(), *(name for name in ops if name not in own)], views=False, in_place=False)
    return {**EVERY, **found} if len(own) == len(ops) else found


def own_operations(ops: Sequence[str] | None) -> dict[str, Any]:
    """Those of the form ``module:function``, imported."""
    parts = {name: name.partition(":") for name in ops or () if ":" in name}
    return {name: getattr(importlib.import_module(module), function) for name, (module, _, function) in parts.items()}


def failure(number: int, oracle: str, program: Program, ops: Sequence[str] | None) -> Failure:
    """A failing program, cut down to the smallest that still fails."""

    def fails(smaller: Program) -> bool:
        return bool(fault(oracle, smaller))

    try:
        small = program.minimal(fails)
    except Exception:  # what cuts it down computes with NumPy, and need not survive every program
        small = program
    small = small if fails(small) else program
    return Failure(number, oracle, [step.kind for step in small.steps], fault(oracle, small), as_test(oracle, small, ops))


def as_test(oracle: str, program: Program, ops: Sequence[str] | None = None) -> str:
    """A test to paste that holds the program against the oracle.

    Example:
        >>> from minigrad.testing.programs import Step
        >>> print(as_test("complex step", Program((np.array([1.0, 2.0]),), (Step("tanh", (0,)),))))
        import numpy as np
        from minigrad.testing.oracles import fault
        from minigrad.testing.programs import Program, Step
        <BLANKLINE>
        <BLANKLINE>
        def test_tanh_complex_step():
            # a: float64[2]
            # v1 = mg.tanh(a)
            inputs = (np.array([1.0, 2.0]),)
            steps = (Step("tanh", (0,), 0),)
            assert fault("complex step", Program(inputs, steps)) == ""
    """
    used = {step.kind for step in program.steps}
    own = [name.split(":") for name, operation in own_operations(ops).items() if operation.op.name in used]
    title = "_".join(dict.fromkeys(f"{step.kind}".replace(" ", "_") for step in program.steps))[:60]
    inputs = ", ".join(_array(a) for a in program.inputs)
    steps = ", ".join(f'Step("{step.kind}", {step.operands}, {step.axis})' for step in program.steps)
    kinds = f", kinds_of([{', '.join(function for _, function in own)}], False, False)" if own else ""
    return "\n".join([
        "import numpy as np",
        *(f"from {module} import {function}" for module, function in own),
        *(["from minigrad.testing.kinds import kinds_of"] if own else []),
        "from minigrad.testing.oracles import fault",
        "from minigrad.testing.programs import Program, Step",
        "", "",
        f"def test_{title}_{oracle.replace(' ', '_')}():",
        textwrap.indent(str(program), "    # "),
        f"    inputs = ({inputs},)",
        f"    steps = ({steps},)",
        f'    assert fault("{oracle}", Program(inputs, steps{kinds})) == ""',
    ])  # fmt: skip


def _array(a: Any) -> str:
    text = f"np.array({a.tolist()!r})"
    return f"{text}.reshape{a.shape}" if a.size == 0 else text


def chunks(record: Record, programs: int) -> Iterator[range]:
    """The numbers that are still to be tried, up to ``programs`` in all."""
    for first in range(record.tried, programs, CHUNK):
        yield range(first, min(first + CHUNK, programs))


def soak(
    record: Record, programs: int, seconds: float, workers: int, state: Path | None = None, tests: Path | None = None
) -> Record:
    """Go on with a run until there are ``programs`` in all, or ``seconds`` have passed; write the state after each part.

    Args:
        record: what has been done; it is added to.
        programs: how many there are to be in the end.
        seconds: for at most how long.
        workers: on how many processes.
        state: the file for the state.
        tests: a folder for the tests of what fails.

    Example:
        >>> record = soak(Record(seed="example"), programs=20, seconds=60, workers=1)
        >>> record.tried, record.failed
        (20, 0)
    """
    until, left = time.monotonic() + seconds, chunks(record, programs)
    if workers == 1:
        for numbers in left:
            _done(record, run(numbers, record.seed, record.ops), state, tests)
            if time.monotonic() > until:
                break
        return record
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        running: deque[Future[Record]] = deque()
        while True:
            # In the order of their numbers, so that what is done is all that comes before the next.
            while len(running) < 2 * workers and time.monotonic() < until and _submit(pool, running, left, record):
                pass
            if not running:
                return record
            _done(record, running.popleft().result(), state, tests)


def _submit(pool: Executor, running: deque[Future[Record]], left: Iterator[range], record: Record) -> bool:
    numbers = next(left, None)
    if numbers is not None:
        running.append(pool.submit(run, numbers, record.seed, record.ops))
    return numbers is not None


def _done(record: Record, part: Record, state: Path | None, tests: Path | None) -> None:
    known = len(record.failures)
    record.add(part)
    if tests is not None:
        for f in record.failures[known:]:
            tests.mkdir(parents=True, exist_ok=True)
            path = tests / f"test_soak_{hashlib.sha256(f.test.encode()).hexdigest()[:10]}.py"
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_text(f'"""Found by a soak run: program {f.number}."""\n\n{f.test}\n')
            fresh.replace(path)
    if state is not None:
        record.save(state)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status is 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m minigrad.testing.soak", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--programs", type=int, default=10_000, help="how many in all, those of the state file included")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after as long")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; all cores by default")
    parser.add_argument("--state", type=Path, help="the file to go on from; it is written after each part")
    parser.add_argument("--tests", type=Path, help="a folder for the tests of what fails")
    parser.add_argument("--seed", default="0", help="another one, other programs")
    parser.add_argument("--ops", nargs="+", help="kinds of steps, or operations of one's own as module:function")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="show this program and ask all oracles about it")
    parser.add_argument("--report", action="store_true", help="print the record of the state file, and do nothing")
    asked = parser.parse_args(arguments)
    known = asked.state is not None and asked.state.exists()
    record = Record.load(asked.state) if known else Record(seed=asked.seed, ops=asked.ops)
    if known and (asked.ops is not None or asked.seed != "0") and (record.seed, record.ops) != (asked.seed, asked.ops):
        told = f"seed {record.seed!r} and ops {record.ops}"
        parser.error(f"{asked.state} is of a run with {told}: leave --seed and --ops out to go on with it")
    if asked.only is not None:
        program = program_of(asked.only, record.seed, named(record.ops))
        found = {name: fault(name, program) for name in available()}
        print(program, *(f"{name}: {told or 'agrees'}" for name, told in found.items()), sep="\n")
        return int(any(found.values()))
    if not asked.report:
        before = record.tried
        soak(record, asked.programs, asked.seconds, asked.workers, asked.state, asked.tests)
        versions = f"minigrad {minigrad.__version__}, NumPy {np.__version__}"
        print(f"{versions}: {record.tried - before:,} programs more", file=sys.stderr)
    print(record.report())
    return int(record.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
