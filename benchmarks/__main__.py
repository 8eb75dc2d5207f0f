"""``python -m benchmarks``: all workloads, all contenders that are installed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import instructions, report
from benchmarks.contenders import CONTENDERS, REFERENCE
from benchmarks.measure import CHECK, QUICK, Plan, race, serve
from benchmarks.workloads import WORKLOADS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time over PyTorch's, workload by workload.")
    parser.add_argument("--only", metavar="NAME", help=f"workloads, with commas between: {', '.join(WORKLOADS)}")
    parser.add_argument("--contenders", metavar="NAME", help=f"PyTorch and these: {', '.join(CONTENDERS)}")
    parser.add_argument("--quick", action="store_true", help="few short rounds in one process each: wider spread")
    parser.add_argument("--check", action="store_true", help="compare with PyTorch, and time nothing")
    parser.add_argument("--rounds", type=int, help=f"default: {Plan().rounds}, quick: {QUICK.rounds}")
    parser.add_argument(
        "--processes", type=int, help=f"fresh ones of each contender (default: {Plan().processes}, quick: {QUICK.processes})"
    )
    parser.add_argument("--threads", type=int, default=Plan().threads, help="of every contender (default: %(default)s)")
    parser.add_argument("--avx512", action="store_true", help="OPENBLAS_CORETYPE=SkylakeX in the processes of all contenders")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    parser.add_argument("--plot", metavar="FILE", help="draw them, as .png or .svg")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--from", metavar="FILE", dest="source", help="measure nothing: take the figures from a JSON file")
    parser.add_argument("--instructions", action="store_true", help="count instructions and compare with baseline.json")
    parser.add_argument("--update", action="store_true", help="with --instructions: make what is counted the baseline")
    parser.add_argument("--worker", nargs=3, metavar=("CONTENDER", "WORKLOAD", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        contender, workload, threads = options.worker
        serve(contender, workload, int(threads))
        return 0
    if options.instructions:
        return instructions.main(options.update)
    if options.source:
        found = json.loads(Path(options.source).read_text())
    else:
        names = _chosen(parser, "--contenders", options.contenders, CONTENDERS)
        plan = CHECK if options.check else QUICK if options.quick else Plan()
        given = {key: value for key in ("rounds", "processes") if (value := getattr(options, key))}
        plan = plan._replace(**given, threads=options.threads, avx512=options.avx512)
        found = report.machine(plan)
        print(report.heading(found), flush=True)
        for workload in _chosen(parser, "--only", options.only, WORKLOADS):
            found["workloads"][workload] = race(workload, [REFERENCE, *(n for n in names if n != REFERENCE)], plan)
            print("\n" + report.lines(found["workloads"][workload]), flush=True)
            found["load"][1:] = [report.load()]
            _write(options.json, found)  # after each: an hour is long
    _write(options.json, found)
    if options.plot:
        report.plot(found, options.plot)
    if options.write_docs:
        report.write_docs(found)
    return int(any(a["fault"] for work in found["workloads"].values() for a in work["absent"].values()))


def _write(path: str | None, found: report.Found) -> None:
    if path:
        report.write(path, json.dumps(found, indent=1) + "\n")


def _chosen(parser: argparse.ArgumentParser, option: str, given: str | None, known: Mapping[str, object]) -> list[str]:
    names = list(known) if given is None else [name.strip() for name in given.split(",")]
    for name in names:
        if name not in known:
            parser.error(f"{option}: {name!r} is none of {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
