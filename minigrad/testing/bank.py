"""A bank of rules that are known to be right or wrong, and what ``check_grads`` makes of them: ``python -m minigrad.testing.bank``.

Each rule is tried in float64, float32 and float16, right and with each mistake that changes it. *Smooth* rules are differentiable
everywhere, *kinky* ones are tried away from their kinks, ``1e-7`` beside one and on one, and *stiff* ones change over so short
a way that a careless step sees nothing of it. A false alarm is a right rule that raises, a miss a wrong one that does not.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad import ops
from minigrad.primitive import primitive
from minigrad.testing.check import examine
from minigrad.testing.verdicts import VERDICTS, GradientReport

Array = np.ndarray[Any, Any]
DTYPES = ("float64", "float32", "float16")
SHAPE = (3, 3)


class Rule(NamedTuple):
    """A rule that is right.

    Attributes:
        kind: ``smooth``, ``kinky`` or ``stiff``.
        forward: on arrays.
        rules: one per operand, as for :func:`minigrad.primitive`.
        low: of the arguments.
        high: of the arguments.
        kinks: where the first argument has one, for ``kinky`` rules.
        shapes: of the arguments.
    """

    kind: str
    forward: Callable[..., Any]
    rules: tuple[Callable[..., Any], ...]
    low: float = 0.3
    high: float = 1.7
    kinks: float = 0.0
    shapes: tuple[tuple[int, ...], ...] = (SHAPE,)


def _step(a: Any) -> Any:
    """1 where ``a`` is positive, of its dtype; without a gradient, as the derivative of a piecewise linear function has none."""
    positive = np.asarray(getattr(a, "_data", a)) > 0
    return positive.astype(np.asarray(getattr(a, "_data", a)).dtype)


def _first(a: Any) -> Any:
    """1 at the largest of each row, shared among ties."""
    data = np.asarray(getattr(a, "_data", a))
    top = data == data.max(1, keepdims=True)
    return (top / top.sum(1, keepdims=True)).astype(data.dtype)


TWO = (SHAPE, SHAPE)
RULES: dict[str, Rule] = {
    "square": Rule("smooth", np.square, (lambda g, y, a: g * 2 * a,)),
    "cube": Rule("smooth", lambda a: a**3, (lambda g, y, a: g * 3 * a * a,)),
    "exp": Rule("smooth", np.exp, (lambda g, y, a: g * y,)),
    "log": Rule("smooth", np.log, (lambda g, y, a: g / a,)),
    "sqrt": Rule("smooth", np.sqrt, (lambda g, y, a: g / (2 * y),)),
    "tanh": Rule("smooth", np.tanh, (lambda g, y, a: g * (1 - y * y),)),
    "sin": Rule("smooth", np.sin, (lambda g, y, a: g * ops.cos(a),)),
    "sigmoid": Rule("smooth", lambda a: 1 / (1 + np.exp(-a)), (lambda g, y, a: g * y * (1 - y),)),
    "reciprocal": Rule("smooth", lambda a: 1 / a, (lambda g, y, a: -g * y * y,)),
    "multiply": Rule("smooth", np.multiply, (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a), shapes=TWO),
    "divide": Rule("smooth", np.divide, (lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b), shapes=TWO),
    "matmul": Rule("smooth", np.matmul, (lambda g, y, a, b: g @ b.mT, lambda g, y, a, b: a.mT @ g), shapes=TWO),
    "row": Rule("smooth", np.multiply, (lambda g, y, a, b: g * b, lambda g, y, a, b: (g * a).sum(0)), shapes=(SHAPE, (3,))),
    "mean of squares": Rule("smooth", lambda a: (a * a).mean(1), (lambda g, y, a: g[:, None] * 2 * a / a.shape[1],)),
    "cbrt": Rule("smooth", np.cbrt, (lambda g, y, a: g / (3 * y * y),)),
    "logaddexp": Rule(
        "smooth", np.logaddexp, (lambda g, y, a, b: g * ops.exp(a - y), lambda g, y, a, b: g * ops.exp(b - y)), shapes=TWO
    ),
    "hypot": Rule("smooth", np.hypot, (lambda g, y, a, b: g * a / y, lambda g, y, a, b: g * b / y), shapes=TWO),
    "relu": Rule("kinky", lambda a: np.maximum(a, 0), (lambda g, y, a: g * _step(a),), -1.7),
    "leaky relu": Rule("kinky", lambda a: np.where(a > 0, a, a / 8), (lambda g, y, a: g * (_step(a) * 0.875 + 0.125),), -1.7),
    "abs": Rule("kinky", np.abs, (lambda g, y, a: g * (_step(a) - _step(-a)),), -1.7),
    "squared relu": Rule("kinky", lambda a: np.maximum(a, 0) ** 2, (lambda g, y, a: g * 2 * a * _step(a),), -1.7),
    "x |x|": Rule("kinky", lambda a: a * np.abs(a), (lambda g, y, a: g * 2 * a * (_step(a) - _step(-a)),), -1.7),
    "hinge": Rule("kinky", lambda a: np.maximum(1 - a, 0), (lambda g, y, a: -g * _step(1 - a),), -1.0, 2.0, 1.0),
    "clip": Rule("kinky", lambda a: np.minimum(np.maximum(a, -1), 1), (lambda g, y, a: g * _step(1 - a) * _step(1 + a),), -2, 2, 1.0),
    "elu": Rule(
        "kinky", lambda a: np.where(a > 0, 2 * a, np.expm1(np.minimum(a, 0))),
        (lambda g, y, a: g * (2 * _step(a) + (y + 1) * (1 - _step(a))),), -1.7,
    ),
    "soft shrink": Rule(
        "kinky", lambda a: np.sign(a) * np.maximum(np.abs(a) - 0.5, 0), (lambda g, y, a: g * (_step(a - 0.5) + _step(-0.5 - a)),),
        -1.7, kinks=0.5,
    ),
    "row maximum": Rule("kinky", lambda a: a.max(1), (lambda g, y, a: g[:, None] * _first(a),), -1.7),
    "exp(8x)": Rule("stiff", lambda a: np.exp(8 * a), (lambda g, y, a: g * 8 * y,)),
    "tanh(50x)": Rule("stiff", lambda a: np.tanh(50 * a), (lambda g, y, a: g * 50 * (1 - y * y),), -0.03, 0.03),
    "sin(200x)": Rule("stiff", lambda a: np.sin(200 * a), (lambda g, y, a: g * 200 * ops.cos(200 * a),)),
    "spike": Rule("stiff", lambda a: 1 / (a * a + 1e-4), (lambda g, y, a: -2 * g * a * y * y,), -0.02, 0.02),
    "log near 0": Rule("stiff", np.log, (lambda g, y, a: g / a,), 1e-4, 1e-3),
    "root near 0": Rule("stiff", np.sqrt, (lambda g, y, a: g / (2 * y),), 1e-4, 1e-3),
    "x**12": Rule("stiff", lambda a: a**12, (lambda g, y, a: g * 12 * a**11,)),
    "softplus(100x)": Rule(
        "stiff", lambda a: np.logaddexp(0, 100 * a) / 100, (lambda g, y, a: g * ops.sigmoid(100 * a),), -0.03, 0.03
    ),
    "huber 1e-3": Rule("stiff", lambda a: np.hypot(a, 1e-3), (lambda g, y, a: g * a / y,), -2e-3, 2e-3),
}  # fmt: skip


def _slice(rule: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(g: Any, y: Any, *args: Any) -> Any:
        spoil = np.ones(np.shape(getattr(args[0], "_data", args[0])), np.asarray(getattr(g, "_data", g)).dtype)
        spoil.flat[-1] = 1.25
        return rule(g, y, *args) * spoil

    return wrong


def _detached(rule: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(g: Any, y: Any, *args: Any) -> Any:
        return rule(g.detach() if hasattr(g, "detach") else g, y, *args)

    return wrong


def _narrow(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda g, y, *args: rule(g, y, *args) * (2 if g.dtype != np.float64 else 1)


MISTAKES: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "sign": lambda rule: lambda *args: -rule(*args),
    "twice": lambda rule: lambda *args: 2 * rule(*args),
    "half": lambda rule: lambda *args: rule(*args) / 2,
    "nothing": lambda rule: lambda *args: 0 * rule(*args),
    "one per cent": lambda rule: lambda *args: rule(*args) * 1.015625,
    "1/N": lambda rule: lambda *args: rule(*args) / 3,
    "transposed": lambda rule: lambda *args: rule(*args).mT,
    "last element": _slice,
    "leaves the graph": _detached,
    "in its own dtype only": _narrow,
}
"""Each turns a rule for the first operand into a wrong one."""


class Case(NamedTuple):
    """An entry of the bank: a rule at a point, right where ``mistake`` is ""."""

    rule: str
    kind: str
    dtype: str
    place: str
    mistake: str
    f: Callable[..., Any]
    args: tuple[Array, ...]


def cases() -> Iterator[Case]:
    """The bank, the same every time.

    Example:
        >>> bank = list(cases())
        >>> len(bank), sum(not case.mistake for case in bank)
        (1783, 168)
    """
    for number, (name, rule) in enumerate(RULES.items()):
        for dtype in DTYPES:
            for place in ("away", "beside", "on") if rule.kind == "kinky" else ("away",):
                args = _points(rule, dtype, place, np.random.default_rng(number))
                for mistake, spoil in {"": None, **MISTAKES}.items():
                    rules = rule.rules if spoil is None else (spoil(rule.rules[0]), *rule.rules[1:])
                    if not _changes(mistake, rule, dtype, args):
                        continue
                    yield Case(name, rule.kind, dtype, place, mistake, primitive(rule.forward, *rules, name="rule"), args)


def _points(rule: Rule, dtype: str, place: str, rng: np.random.Generator) -> tuple[Array, ...]:
    args = [rng.uniform(rule.low, rule.high, shape).astype(dtype) for shape in rule.shapes]
    if rule.kind == "kinky":
        a = args[0]
        close = np.abs(np.abs(a) - abs(rule.kinks)) < 0.1
        a[close] = rule.kinks + 0.25 * np.where(a[close] > rule.kinks, 1, -1)
        beside = (
            0.0 if place == "on" else np.spacing(np.asarray(rule.kinks, dtype)) if rule.kinks and dtype != "float64" else 1e-7
        )
        if place != "away":
            if rule is RULES["row maximum"]:
                a[:, 1] = a[:, 0] = 1.75
                a[:, 1] += beside if dtype == "float64" else 2 * np.spacing(a[0, 0]) * bool(beside)
            else:
                a[0, 0] = rule.kinks + beside
    return tuple(args)


def _changes(mistake: str, rule: Rule, dtype: str, args: tuple[Array, ...]) -> bool:
    """Whether a mistake makes a right rule wrong."""
    if mistake == "transposed":
        return rule.shapes[0][0] == rule.shapes[0][-1]
    if mistake == "in its own dtype only":
        return dtype != "float64"
    if mistake == "last element":  # where the last element's derivative is 0, it stays right
        wide = [a.astype(float) for a in args]
        out = rule.forward(*wide)
        return bool(np.asarray(rule.rules[0](np.ones_like(out), out, *wide)).flat[-1] != 0)
    return True


def judged(bank: Iterator[Case], order: int = 2) -> Iterator[tuple[Case, GradientReport, bool]]:
    """What :func:`check_grads` makes of each case, and whether that is what it should."""
    for case in bank:
        report = examine(case.f, *case.args, order=order)
        yield case, report, report.accepted() == (not case.mistake)


def table(results: list[tuple[Case, GradientReport, bool]]) -> str:
    """False alarms, misses and verdicts, by kind and dtype, in Markdown."""
    head = [
        "rules",
        "dtype",
        "right",
        "false alarms",
        "wrong",
        "misses",
        *(f"right: *{verdict}*" for verdict in list(VERDICTS)[:4]),
    ]
    lines = [" | ".join(head), "|".join(["---"] * len(head))]
    groups = [(kind, dtype) for kind in ("smooth", "kinky", "stiff") for dtype in DTYPES] + [("all", "all")]
    for kind, dtype in groups:
        chosen = [row for row in results if kind == "all" or (row[0].kind, row[0].dtype) == (kind, dtype)]
        right, wrong = ([row for row in chosen if bool(row[0].mistake) == flag] for flag in (False, True))
        came = Counter(report.verdict for _, report, _ in right)
        numbers = [len(right), sum(not good for *_, good in right), len(wrong), sum(not good for *_, good in wrong)]
        lines.append(" | ".join([kind, dtype, *map(str, numbers), *(str(came[verdict]) for verdict in list(VERDICTS)[:4])]))
    return "\n".join(f"| {line} |" for line in lines)


def main(arguments: list[str] | None = None) -> int:
    """Judge the whole bank; print the table and what was judged wrongly. ``--write PAGE`` puts the table into a page."""
    parser = argparse.ArgumentParser(prog="python -m minigrad.testing.bank", description=main.__doc__)
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="a Markdown page with a '<!-- bank -->' ... '<!-- end -->' part"
    )
    options = parser.parse_args(arguments)
    results = list(judged(cases()))
    print(table(results))
    failed = [(case, report) for case, report, good in results if not good]
    for case, report in failed:
        sort = "miss" if case.mistake else "false alarm"
        print(f"{sort}: {case.rule}, {case.dtype}, {case.place}{f', {case.mistake}' if case.mistake else ''}: {report.text}")
    if options.write is not None:
        page = options.write.read_text()
        part = f"<!-- bank -->\n{table(results)}\n<!-- end -->"
        fresh = options.write.with_suffix(".tmp")
        fresh.write_text(re.sub(r"<!-- bank -->.*?<!-- end -->", lambda _: part, page, flags=re.S))
        fresh.replace(options.write)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
