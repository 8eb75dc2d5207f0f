"""The command ``python -m minigrad.testing.mutate``."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minigrad.testing.mutate.operators import OPERATORS
from minigrad.testing.mutate.rules import ENGINE, Mutant, Row, Target, excuse, mutants, targets
from minigrad.testing.mutate.suite import Suite, run_all
from minigrad.testing.mutate.trial import Ran, Result, as_json, observe, trials

ROOT = Path.cwd()
Options = argparse.Namespace


def main(arguments: list[str] | None = None) -> int:
    """Make mistakes in gradient rules and list those that the tests let live; the exit status is 1 if there are any."""
    epilog = "mistakes: " + "; ".join(f"{name}: {told}" for name, (told, _) in OPERATORS.items())
    parser = argparse.ArgumentParser("python -m minigrad.testing.mutate", description=main.__doc__, epilog=epilog)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="tests, as for pytest: folders, files, file.py::test")
    parser.add_argument(
        "--rules", nargs="+", metavar="WHERE", default=[],
        help="modules, files or folders whose rules to spoil, FILE:FUNCTION for any other function; by default every file below "
        "this folder that has rules and is not a test",
    )  # fmt: skip
    parser.add_argument("-k", metavar="EXPRESSION", help="only the tests that match it, as in pytest")
    parser.add_argument("--only", nargs="+", metavar="OP", default=[], help="only the rules of these operations")
    parser.add_argument("--sample", type=int, metavar="N", help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at a time (all cores)")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds of tests that one mutant may take (60)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every mutant and what became of it")
    parser.add_argument("--state", type=Path, metavar="FILE", help="resume from this file, and keep it up to date")
    parser.add_argument("--list", action="store_true", help="list the mutants and run nothing")
    options = parser.parse_args(arguments)
    if not hasattr(os, "fork"):
        print("mutate: needs os.fork, which Windows lacks; run it under WSL", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the state is saved and no child is left behind
    sys.path.insert(0, str(ROOT))
    chosen = [*options.paths, *(["-k", options.k] if options.k else [])]
    return Suite.collect(chosen, lambda suite: work(suite, options))


def work(suite: Suite, options: Options) -> int:
    """With the tests collected: what to spoil, which tests call it, and what they say."""
    wanted, named = scope(options)
    chosen = targets(wanted, named)
    if options.only:
        chosen = [t for t in chosen if set(options.only) & set(re.findall(r"\w+", t.label))]
    made = mutants(chosen)
    if not made:
        print(
            "mutate: no rules here: operations made by mg.primitive in files below this folder, or named by --rules",
            file=sys.stderr,
        )
        return 2
    if options.sample is not None and options.sample < len(made):
        made = drawn(made, options.sample, options.seed)
    if options.list:
        for m in made:
            print(f"{m.place(ROOT)}  {m.target.label}  {m.operator}: {m.old}  ->  {m.new}")
        print(f"{len(made)} mutants of {len(chosen)} rules")
        return 0
    state = State(options.state, fingerprint([*options.paths, options.k or ""]))
    ran = state.coverage(chosen)
    if ran is None:
        ran, unfit, modules = observe(suite, chosen, options.workers, progress("tests"))
        state.observed(chosen, ran, unfit, modules)
    for name in state.modules:  # once here instead of in each child
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    print(f"{len(made)} mutants of {len(chosen)} rules and functions; {len(ran)} tests")
    for test in state.unfit:
        print(f"  left out, for it fails without any mutant: {test}")
    results: dict[int, Result] = {}
    show, counts = progress("mutants"), Counter[str]()

    def done(mutant: Mutant, result: Result) -> None:
        results[id(mutant)] = result
        counts[result.status] += 1
        state.add(mutant, result)
        show(len(results), len(made), f"killed {counts['killed']}, live {counts['live']}")

    left: list[Mutant] = []
    for mutant in made:
        known = state.known.get(mutant.id)
        if known is None or (known.status == "live" and excuse(mutant)):
            left.append(mutant)
        else:
            done(mutant, known)
    numbers = {id(target): k for k, target in enumerate(chosen)}
    try:
        run_all(trials(suite, left, numbers, ran, options.timeout, done, state.stale), options.workers)
    finally:
        state.save()
    pairs = [(m, results[id(m)]) for m in made]
    if options.json is not None:
        write(options.json, [as_json(m, r) for m, r in pairs])
    print(report(pairs, ran, numbers))
    return 1 if counts["live"] else 0


def drawn(made: list[Mutant], n: int, seed: int) -> list[Mutant]:
    """``n`` of the mutants, in their order; a change of one function leaves the choice among those of all others as it was."""
    picked = sorted(made, key=lambda m: hashlib.sha256(f"{seed} {m.id}".encode()).digest())[:n]
    chosen = set(map(id, picked))
    return [m for m in made if id(m) in chosen]


def scope(options: Options) -> tuple[Callable[[str], bool], dict[str, tuple[str, ...]]]:
    """Which files' rules are wanted, and which functions are besides."""
    engine: dict[str, tuple[str, ...]] = {str(ROOT / path): names for path, names in ENGINE.items()}
    if not options.rules:
        tests = [ROOT / path.partition("::")[0] for path in options.paths]

        def own(path: str) -> bool:
            file = Path(path)
            installed = file.is_relative_to(sys.prefix) or "site-packages" in file.parts
            return file.is_relative_to(ROOT) and not installed and not any(file.is_relative_to(test) for test in tests)

        return own, engine
    folders, named = list[Path](), dict[str, tuple[str, ...]]()
    for entry in options.rules:
        file, _, functions = entry.partition(":")
        path = (ROOT / file).resolve()
        if not path.exists():
            path = Path(str(importlib.import_module(file).__file__))
            path = path.parent if path.name == "__init__.py" else path
        if functions:
            named[str(path)] = (*named.get(str(path), ()), *functions.split(","))
        else:
            folders.append(path)
            named |= {engine_file: names for engine_file, names in engine.items() if Path(engine_file).is_relative_to(path)}
    return lambda path: any(Path(path).is_relative_to(folder) for folder in folders), named


def fingerprint(paths: list[str]) -> str:
    """A hash of all that the tests are: the files of this folder that are loaded now."""
    files = {getattr(m, "__file__", None) for m in list(sys.modules.values())}
    own = sorted(str(f) for f in files if f and Path(f).is_relative_to(ROOT) and not Path(f).is_relative_to(sys.prefix))
    digest = hashlib.sha256(json.dumps([sys.version, paths]).encode())
    for file in own:
        digest.update(file.encode() + b"\0" + Path(file).read_bytes())
    return digest.hexdigest()


class State:
    """What is known from earlier runs. When a file has changed since, only who killed which mutant is still used, to try it first."""

    def __init__(self, path: Path | None, suite: str) -> None:
        self.path, self.suite, self.saved = path, suite, time.monotonic()
        self.calls: dict[str, Any] = {}
        self.unfit: list[str] = []
        self.modules: list[str] = []
        self.known: dict[str, Result] = {}
        self.stale: dict[str, Result] = {}
        if path is not None and path.exists():
            data = json.loads(path.read_text())
            results = {key: Result(**value) for key, value in data["results"].items()}
            if data["suite"] == suite:
                self.calls, self.unfit, self.modules, self.known = data["coverage"], data["unfit"], data["modules"], results
            else:
                self.stale = results

    def coverage(self, chosen: list[Target | Row]) -> dict[str, Ran] | None:
        if not self.calls or not {_named(t) for t in chosen} <= set(self.calls["targets"]):
            return None
        numbers = {_named(t): k for k, t in enumerate(chosen)}
        here = [numbers.get(name) for name in self.calls["targets"]]
        return {
            test: Ran(s, [k for h in hits if (k := here[h]) is not None]) for test, (s, hits) in self.calls["tests"].items()
        }

    def observed(self, chosen: list[Target | Row], ran: dict[str, Ran], unfit: list[str], modules: list[str]) -> None:
        self.calls = {
            "targets": [_named(t) for t in chosen],
            "tests": {test: (r.seconds, r.targets) for test, r in ran.items()},
        }
        self.unfit, self.modules = unfit, modules
        self.save()

    def add(self, mutant: Mutant, result: Result) -> None:
        self.known[mutant.id] = result
        if time.monotonic() - self.saved > 5:
            self.save()

    def save(self) -> None:
        self.saved = time.monotonic()
        if self.path is not None:
            results = {key: asdict(result) for key, result in (self.stale | self.known).items()}
            known = {"suite": self.suite, "coverage": self.calls, "unfit": self.unfit, "modules": self.modules}
            write(self.path, {**known, "results": results})


def _named(target: Target | Row) -> str:
    return f"{target.path}:{target.node.lineno}:{target.node.col_offset} {target.label}"


def write(path: Path, data: Any) -> None:
    fresh = path.with_name(path.name + ".tmp")
    fresh.write_text(json.dumps(data, indent=1))
    fresh.replace(path)


def progress(what: str) -> Callable[..., None]:
    """A line on the terminal that counts; elsewhere a line for every tenth."""
    tenth = -1

    def show(done: int, total: int, more: str = "") -> None:
        nonlocal tenth
        text = f"{what} {done} of {total}{': ' + more if more else ''}"
        if sys.stderr.isatty():
            print(f"\r{text}\x1b[K", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif done * 10 // total > tenth:
            tenth = done * 10 // total
            print(text, file=sys.stderr, flush=True)

    return show


def report(pairs: list[tuple[Mutant, Result]], ran: dict[str, Ran], numbers: dict[int, int]) -> str:
    """The mutants that live, with what would tell them from the original; then the counts."""
    calling = Counter(k for r in ran.values() for k in r.targets)
    lines: list[str] = []
    for status, title in (("same", "equivalent on samples"), ("live", "live")):
        found = [(m, r) for m, r in pairs if r.status == status]
        if found:
            lines += ["", f"{title}: {len(found)}"]
        for m, r in found:
            lines += [f"  {m.place(ROOT)}  {m.target.label}  ({m.operator})", f"      {m.old}  ->  {m.new}"]
            if status == "live":
                tried = f"{r.tests} of {calling[numbers[id(m.target)]]} tests that call it" if r.tests else ""
                lines.append(f"      {'; '.join(filter(None, (tried, r.note)))}")
    count = Counter(r.status for _, r in pairs)
    equivalent = f"{count['equivalent'] + count['same']} equivalent ({count['equivalent']} marked, {count['same']} on samples)"
    return "\n".join([*lines, "", f"killed {count['killed']} of {len(pairs)}, {equivalent}, {count['live']} live"])


if __name__ == "__main__":
    sys.exit(main())
