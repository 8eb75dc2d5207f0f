"""The tests, collected once by pytest in this process; everything that runs, runs in a forked child of it.

So a mutant costs no start-up, spoils nothing for the next one, and may crash or hang.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import resource
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minigrad.testing.mutate.operators import HOOK

Tell = Callable[..., None]
MEMORY = 4 << 30
"""Bytes that a child may take beyond what it starts with."""


class Suite:
    """A pytest plugin: it hands the collected tests to ``work`` instead of running them."""

    def __init__(self, work: Callable[[Suite], int]) -> None:
        self.work, self.result, self.out = work, 2, sys.stdout
        self.tests: dict[str, pytest.Item] = {}
        self.failed = self.skipped = False

    @classmethod
    def collect(cls, arguments: list[str], work: Callable[[Suite], int]) -> int:
        """Collect as ``pytest arguments`` does, then do the work; what it returns, 2 if collecting fails."""
        suite, words = cls(work), io.StringIO()
        # minigrad is imported before pytest could rewrite its asserts, of which there is none that a test needs.
        quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", *quiet, *arguments]
        with contextlib.redirect_stdout(words):
            code = pytest.main(options, plugins=[suite])
        if not suite.tests:
            print(words.getvalue(), file=sys.stderr)
            print(f"mutate: no tests were collected (pytest returned {int(code)})", file=sys.stderr)
        return suite.result

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        with contextlib.suppress(ImportError):
            import hypothesis

            # The same examples for every mutant; what a mutant fails on is no example of the project's.
            phases = [p for p in hypothesis.Phase if p.name in ("explicit", "generate")]
            settings = hypothesis.settings(database=None, derandomize=True, deadline=None, phases=phases, print_blob=False)
            hypothesis.settings.register_profile("minigrad-mutate", settings)
            hypothesis.settings.load_profile("minigrad-mutate")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return False
        self.tests = {item.nodeid: item for item in session.items}
        with contextlib.redirect_stdout(self.out):
            self.result = self.work(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed
        self.skipped = self.skipped or report.skipped

    def run(self, test: str, following: str | None = None) -> bool | None:
        """Whether a test passes; None if it was skipped. To be called in a child."""
        self.failed = self.skipped = False
        after = self.tests[following] if following is not None else None
        self.tests[test].config.hook.pytest_runtest_protocol(item=self.tests[test], nextitem=after)
        return False if self.failed else None if self.skipped else True


class Job:
    """Something to do in a child. ``work`` runs there and tells; what it tells is ``heard`` here, where ``ended`` comes last."""

    deadline = float("inf")

    def work(self, tell: Tell) -> None:
        raise NotImplementedError

    def heard(self, what: str, *values: Any) -> None:
        raise NotImplementedError

    def ended(self, how: str) -> list[Job]:
        """``how``: "done", "died", "late". What it returns is done next."""
        raise NotImplementedError


def limit_cpu(seconds: float) -> None:
    """End this process (a child) with SIGXCPU once it has computed for so many seconds more."""
    most = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def hook(function: Callable[..., Any]) -> None:
    """What rewritten functions call from now on in this process."""
    setattr(builtins, HOOK, function)


def run_all(jobs: Iterator[Job], workers: int) -> None:
    """Do the jobs, ``workers`` at a time."""
    waiting: list[Job] = []
    with selectors.DefaultSelector() as selector:
        running: dict[int, tuple[Job, int, bytes]] = {}
        try:
            while True:
                while len(running) < workers and (job := waiting.pop() if waiting else next(jobs, None)) is not None:
                    reader, pid = _start(job)
                    selector.register(reader, selectors.EVENT_READ)
                    running[reader] = (job, pid, b"")
                if not running:
                    return
                for ready, _ in selector.select(timeout=0.5):
                    reader = int(ready.fd)
                    job, pid, rest = running[reader]
                    data = os.read(reader, 1 << 16)
                    *lines, rest = (rest + data).split(b"\n")
                    running[reader] = (job, pid, rest)
                    for line in lines:
                        job.heard(*json.loads(line))
                    if not data:
                        waiting += _end(selector, running, reader, "")
                for reader in [r for r, (job, *_) in running.items() if time.monotonic() > job.deadline]:
                    waiting += _end(selector, running, reader, "late")
        finally:
            for _, pid, _ in running.values():  # interrupted: these say nothing about their mutants
                _end_process(pid, kill=True)


def _start(job: Job) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return reader, pid
    code = 1
    try:
        os.close(reader)
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        with contextlib.suppress(OSError, ValueError):
            with open("/proc/self/statm") as file:
                taken = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))

        def tell(*message: Any) -> None:
            os.write(writer, json.dumps(message).encode() + b"\n")

        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            job.work(tell)
        code = 0
    finally:
        os._exit(code)  # nothing of this process's exit is the child's business


def _end(selector: Any, running: dict[int, tuple[Job, int, bytes]], reader: int, how: str) -> list[Job]:
    job, pid, _ = running.pop(reader)
    selector.unregister(reader)
    os.close(reader)
    status = _end_process(pid, kill=bool(how))
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        how = "late"
    return job.ended(how or ("done" if status == 0 else "died"))


def _end_process(pid: int, kill: bool) -> int:
    """Wait for a child, and end what its tests have left running."""
    if kill:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return status
