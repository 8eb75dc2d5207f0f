"""Which tests call which rule, and whether they notice a mistake in it."""

from __future__ import annotations

import ast
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from types import CodeType
from typing import Any

import numpy as np

from minigrad.testing.mutate import samples
from minigrad.testing.mutate.operators import call_hook
from minigrad.testing.mutate.rules import Mutant, Row, Target, excuse
from minigrad.testing.mutate.suite import Job, Suite, Tell, hook, limit_cpu, run_all

GRACE = 10.0
"""A test hangs when it computes for so many times as long as without a mutant, and so many seconds more."""
PATIENCE = 10.0
"""... or when that long passes so many times on the clock: other programs may be busy too."""
SAMPLING = 5.0
"""Seconds of tests that may be run again to see with which arguments they call a rule."""


@dataclass
class Ran:
    """A test that passes without any mutant: how long it takes, and the targets that it calls."""

    seconds: float
    targets: list[int]


@dataclass
class Result:
    """What became of a mutant.

    Attributes:
        status: "killed", "equivalent" (marked so in the source), "same" (agrees on samples), "live".
        by: the test that killed it.
        tests: how many were run.
        note: the reason, or arguments that tell it from the original.
    """

    status: str
    by: str = ""
    tests: int = 0
    note: str = ""


def _running(target: Target, code: CodeType, caller: Target) -> Callable[..., Any]:
    """A rule, with this code of the function that it is or calls."""

    def run(*args: Any) -> Any:
        for f in target.own:
            f.__code__ = code
        return caller.own[0](*args)

    return run


def observe(
    suite: Suite, targets: list[Target | Row], workers: int, show: Callable[[int, int], None]
) -> tuple[dict[str, Ran], list[str], list[str]]:
    """Run every test once, without mutants: the tests that pass, the names of those that do not, the packages that they import."""
    tests, found, unfit = list(suite.tests), dict[str, Ran](), list[str]()
    modules: set[str] = set()

    class Look(Job):
        def __init__(self, tests: list[str]) -> None:
            self.tests, self.left, self.now = tests, list(tests), ""

        def work(self, tell: Tell) -> None:
            hits: set[int] = set()
            before = set(sys.modules)
            hook(lambda what, k: hits.add(k))
            instrument(targets, hits)
            for test, following in zip(self.tests, [*self.tests[1:], None]):
                tell("start", test)
                hits.clear()
                start = time.perf_counter()
                passed = suite.run(test, following)
                tell("ran", test, passed, time.perf_counter() - start, sorted(hits))
            tell("loaded", *sorted({name.partition(".")[0] for name in set(sys.modules) - before}))

        def heard(self, what: str, *values: Any) -> None:
            if what == "loaded":
                modules.update(values)
                return
            (self.now, *_) = values
            if what == "ran":
                test, passed, seconds, hits = values
                self.left.remove(test)
                if passed:
                    found[test] = Ran(seconds, hits)
                elif passed is False:
                    unfit.append(test)
                show(len(tests) - len(self.left), len(tests))

        def ended(self, how: str) -> list[Job]:
            if how != "done" and self.now in self.left:
                unfit.append(self.now)
                self.left.remove(self.now)
            return [Look(self.left)] if self.left and how != "done" else []

    parts = [tests[k * len(tests) // workers : (k + 1) * len(tests) // workers] for k in range(workers)]
    run_all(iter([Look(part) for part in parts if part]), workers)
    return found, unfit, sorted(modules)


def instrument(targets: list[Target | Row], hits: set[int]) -> None:
    """Make every target say that it is called."""
    for k, target in enumerate(targets):
        if isinstance(target, Target):
            with samples.calling(target, "hit", ast.Constant(k)):
                target.load()
        else:
            target.load(_noted(target.op.rules[target.i], k, hits))


def _noted(rule: Any, k: int, hits: set[int]) -> Callable[..., Any]:
    def noted(*args: Any) -> Any:
        hits.add(k)
        return rule(*args)

    return noted


def double(value: Any, g: Any) -> Any:
    """The result of a rule, after which its upstream gradient is twice what it was."""
    if isinstance(g, np.ndarray) and g.flags.writeable and g.dtype.kind == "f":
        g *= 2
    return value


class Trial(Job):
    """A mutant against the tests that call its target, until one fails."""

    def __init__(
        self, suite: Suite, mutant: Mutant, tests: list[str], ran: dict[str, Ran], budget: float, done: Callable[[Result], None]
    ) -> None:
        self.suite, self.mutant, self.tests, self.ran, self.budget, self.done = suite, mutant, tests, ran, budget, done
        self.result: Result | None = None
        self.now, self.count = "", 0

    def work(self, tell: Tell) -> None:
        hook(lambda what, *values: double(*values))
        self.spoil()
        start = time.process_time()
        for test, following in zip(self.tests, [*self.tests[1:], None]):
            if time.process_time() - start > self.budget:
                break
            tell("start", test)
            limit_cpu(self.allowed(test))
            if self.suite.run(test, following) is False:
                tell("killed", test)
                return
        reason = excuse(self.mutant)
        if reason is not None:
            tell("result", "equivalent", reason)
            return
        tell("comparing")
        limit_cpu(3 * SAMPLING)
        agreed, note = self.compare()
        tell("result", "same" if agreed >= samples.ENOUGH else "live", f"{agreed} calls" if agreed >= samples.ENOUGH else note)

    def allowed(self, test: str) -> float:
        return GRACE * (1 + self.ran[test].seconds)

    def spoil(self) -> None:
        target, edit = self.mutant.target, self.mutant.edit
        if isinstance(target, Row):
            target.load(target.rule(self.mutant.operator))
        else:
            assert edit is not None
            with edit.applied():
                target.load()

    def compare(self) -> tuple[int, str]:
        """Whether the mutant and the original can be told apart at all, by what the rules that it is part of make of their arguments."""
        target, edit = self.mutant.target, self.mutant.edit
        if isinstance(target, Row):
            wrong, right = target.rule(self.mutant.operator), target.op.rules[target.i]
            assert right is not None
            return samples.compare(target, right, wrong, self.record_row(target), lambda: True)
        if edit is None or target.kind == "engine" or not target.own:
            return 0, ""
        calls = self.record(target)
        reached: list[bool] = []

        def seen(what: str, *values: Any) -> Any:
            reached.append(True)
            return double(*values) if what == "double" else None

        def reach(new: ast.AST) -> ast.AST:
            call = call_hook("reached")
            if isinstance(new, ast.expr):
                return ast.BoolOp(ast.Or(), [call, new])
            return ast.If(ast.UnaryOp(ast.Not(), call), [new], [])  # type: ignore[list-item]

        def was_reached() -> bool:
            here = bool(reached)
            reached.clear()
            return here

        hook(seen)
        before = target.own[0].__code__
        with edit.applied(reach):
            after = target.code()
        agreed = 0
        for caller, args in calls:
            count, told = samples.compare(
                caller, _running(target, before, caller), _running(target, after, caller), args, was_reached
            )
            if told:
                return 0, told
            agreed += count
        return agreed, "" if agreed else "no test comes to this place"

    def record(self, target: Target) -> list[tuple[Target, list[tuple[Any, ...]]]]:
        """The arguments with which the tests call the target's rules, each shape, dtype and parameter once."""
        target.restore()
        calls = [samples.Calls() for _ in target.callers]
        hook(lambda what, k, args: calls[k].add(args))
        for k, caller in enumerate(target.callers):
            with samples.calling(caller, "sample", ast.Constant(k), samples.arguments(caller)):
                caller.load()
        self.run_again(lambda: all(c.full() for c in calls))
        for caller in target.callers:
            caller.restore()
        return [(caller, c.all()) for caller, c in zip(target.callers, calls)]

    def record_row(self, row: Row) -> list[tuple[Any, ...]]:
        calls = samples.Calls()
        rule: Any = row.op.rules[row.i]

        def noted(*args: Any) -> Any:
            calls.add(args)
            return rule(*args)

        row.load(noted)
        self.run_again(calls.full)
        row.load(rule)
        return calls.all()

    def run_again(self, enough: Callable[[], bool]) -> None:
        start = time.process_time()
        for test, following in zip(self.tests, [*self.tests[1:], None]):
            if time.process_time() - start > SAMPLING or enough():
                break
            self.suite.run(test, following)

    def heard(self, what: str, *values: Any) -> None:
        if what == "start":
            (self.now,) = values
            self.count += 1
            self.deadline = time.monotonic() + PATIENCE * self.allowed(self.now)
        elif what == "killed":
            self.result = Result("killed", values[0], self.count)
        elif what == "comparing":
            self.deadline = time.monotonic() + PATIENCE * 3 * SAMPLING
            self.result = Result("live", "", self.count)
        else:
            self.result = Result(values[0], "", self.count, values[1])

    def ended(self, how: str) -> list[Job]:
        if self.result is None:
            self.result = Result("killed", self.now, self.count, "it hangs" if how == "late" else "it crashes")
        self.done(self.result)
        return []


def trials(
    suite: Suite,
    chosen: list[Mutant],
    numbers: dict[int, int],
    ran: dict[str, Ran],
    budget: float,
    done: Callable[[Mutant, Result], None],
    before: dict[str, Result],
) -> Iterator[Job]:
    """The mutants, each with the tests that call its target: first those that killed the last ones, then the quick and the specific."""
    killers: dict[int, Counter[str]] = {}
    calling: dict[int, list[str]] = {}
    for test in sorted(ran, key=lambda t: ran[t].seconds * (1 + len(ran[t].targets))):
        for k in ran[test].targets:
            calling.setdefault(k, []).append(test)
    for mutant in chosen:
        k = numbers[id(mutant.target)]
        best = killers.setdefault(k, Counter())
        if mutant.id in before:
            best[before[mutant.id].by] += 1
        tests = sorted(calling.get(k, []), key=lambda t: -best[t])

        def finished(result: Result, mutant: Mutant = mutant, best: Counter[str] = best) -> None:
            best[result.by] += bool(result.by)
            done(mutant, result)

        if tests:
            yield Trial(suite, mutant, tests, ran, budget, finished)
        else:
            finished(Result("live", note="no test calls it"))


def as_json(mutant: Mutant, result: Result) -> dict[str, Any]:
    return {
        "file": mutant.target.path, "line": mutant.line, "of": mutant.target.label, "operator": mutant.operator,
        "old": mutant.old, "new": mutant.new, **asdict(result),
    }  # fmt: skip
