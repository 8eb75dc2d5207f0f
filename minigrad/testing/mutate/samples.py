"""Does a mistake change anything? A rule and its mutant on the arguments that the tests call it with, and on variations of them.

What varies: the numbers; the lengths of the axes, the same in all arrays; the parameters, each among the values that the tests give it.
Arguments that the operation's own forward function refuses are no variations.
"""

from __future__ import annotations

import ast
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad.graph import Handle
from minigrad.testing.mutate.operators import call_hook
from minigrad.testing.mutate.rules import Row, Target

SAMPLES = 64
"""Calls that are kept ..."""
SHAPES = 8
"""... of which so many, of different shapes and dtypes, with the same parameters."""
SIZE = 4096
"""Elements of the largest array whose shape is varied."""
ENOUGH = 8
"""Calls on which a mutant must agree, and its edit be reached, before it counts as equivalent."""
VARIED = 12
"""How many times other numbers are drawn for a call, in its own dtypes and in float32 each."""
SECONDS = 4.0
"""For which mutants and originals are compared: every call once, then again and again with other numbers."""
ROUNDING = 8
"""Units in the last place by which values may differ and still be called the same: ``a + b`` for ``b + a`` in a longer sum."""
CANCELLED = 64
"""... or units in the last place of the largest value, for what remains where such sums cancel."""
Args = tuple[Any, ...]


@contextmanager
def calling(target: Target, what: str, *values: ast.expr) -> Iterator[None]:
    """The function with a call of the hook before all else, inside the ``with`` block."""
    node, call = target.node, call_hook(what, *values)
    old = node.body
    if isinstance(node, ast.Lambda):
        node.body = ast.BoolOp(ast.Or(), [call, node.body])
    else:
        node.body = [ast.Expr(call), *node.body]
    try:
        yield
    finally:
        node.body = old


def arguments(target: Target) -> ast.expr:
    """The arguments of a function as one tuple, written in its own source."""
    given = target.node.args
    items: list[ast.expr] = [ast.Name(a.arg, ast.Load()) for a in [*given.posonlyargs, *given.args]]
    if given.vararg is not None:
        items.append(ast.Starred(ast.Name(given.vararg.arg, ast.Load()), ast.Load()))
    return ast.Tuple(items, ast.Load())


def frozen(value: Any) -> Any:
    """A copy of an argument that nothing changes any more; a Tensor's array stands for it."""
    if isinstance(value, Handle):
        return np.array(value._data)
    if isinstance(value, np.ndarray):
        return value.copy()
    return tuple(map(frozen, value)) if isinstance(value, tuple) else value


class Calls:
    """The calls of a function that are kept: no two with the same shapes, dtypes and parameters."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Args]] = {}

    def add(self, args: Args | None) -> None:
        if args is None:
            return
        arrays = ", ".join(f"{v.dtype}{v.shape}" if _is_array(v) else "" for v in args)
        shapes = self.kept.setdefault(", ".join("" if _is_array(v) else repr(v)[:80] for v in args), {})
        if len(shapes) < SHAPES and not self.full() and arrays not in shapes:
            shapes[arrays] = tuple(map(frozen, args))

    def full(self) -> bool:
        return sum(map(len, self.kept.values())) >= SAMPLES

    def all(self) -> list[Args]:
        return [args for shapes in self.kept.values() for args in shapes.values()]


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


def compare(
    target: Target | Row, f: Callable[..., Any], mutant: Callable[..., Any], calls: list[Args], reached: Callable[[], bool]
) -> tuple[int, str]:
    """On how many calls both agree but for rounding, in what they return and what they do to their arguments; or where they differ."""
    agreed, start = 0, time.process_time()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        rounds = [varied(target, call, k) for k, call in enumerate([*calls, *others(target, calls)])]
        while rounds and time.process_time() - start < SECONDS:
            for variations in list(rounds):
                args = next(variations, None)
                if args is None:
                    rounds.remove(variations)
                    continue
                first, second = _copied(args), _copied(args)
                want, got = _outcome(f, first), _outcome(mutant, second)
                if isinstance(want, type):
                    continue  # nobody calls the rule so
                if not same(want, got):
                    return 0, _told(target, args, f"{_brief(want)}, mutant {_brief(got)}")
                if not same(first, second):
                    return 0, _told(target, args, "the mutant changes its arguments")
                agreed += reached()
    return agreed, ""


def varied(target: Target | Row, args: Args, seed: int) -> Iterator[Args]:
    """A call as it was, then with other numbers, of another kind in each array: random, small and whole (ties), equal, zero."""
    rng = np.random.default_rng(seed)
    kinds: list[Callable[[Any], Any]] = [
        lambda a: rng.normal(size=a.shape),
        lambda a: rng.uniform(0.1, 0.9, size=a.shape),
        lambda a: rng.integers(-1, 2, size=a.shape),
        np.ones_like,
        np.zeros_like,
    ]
    yield args
    for narrow in (False, True) * VARIED:
        draws = [kinds[k] for k in rng.integers(0, len(kinds), len(args))]
        if target.kind == "rule":
            draws[target.bound] = kinds[0]
        dtypes = [np.dtype("f4" if narrow else getattr(v, "dtype", "f8")) for v in args]
        numbers = [isinstance(v, np.ndarray) and v.dtype.kind == "f" for v in args]
        new = tuple(draw(v).astype(dtype) if number else v for v, draw, dtype, number in zip(args, draws, dtypes, numbers))
        made = _consistent(target, new)
        if made is not None:
            yield made


LENGTHS: list[Callable[[int, int], int]] = [
    # the new length of an axis, from its own and from that of one that was picked
    lambda n, picked: picked,
    lambda n, picked: n + (n > 1),
    lambda n, picked: n + 2 * (n == picked),
    lambda n, picked: 1 if n == picked else n,
    lambda n, picked: max(n, picked),
    lambda n, picked: 3 if n == 1 else n,
]


def others(target: Target | Row, calls: list[Args]) -> list[Args]:
    """The calls with other shapes, and with parameters of each other."""
    op = target.op
    if target.kind != "rule" or op is None or target.bound:
        return []
    first = 2 + op.arity
    given = [{repr(call[j]): call[j] for call in calls} for j in range(first, min(map(len, calls), default=first))]
    rng, made = np.random.default_rng(0), Calls()
    calls = [c for c in calls if len(c) >= first and max((v.size for v in c if _is_array(v)), default=0) <= SIZE]
    for call, (j, values) in itertools.product(calls, enumerate(given, first)):
        new = [value for words, value in values.items() if words != repr(call[j])]
        for k in rng.permutation(len(new))[:3]:
            made.add(_fitting(target, (*call[:j], new[k], *call[j + 1 :])))
    for call in calls:
        lengths = sorted({n for v in call[2:first] if _is_array(v) for n in v.shape}) or [1]
        for change, picked in itertools.product(LENGTHS, rng.permutation(lengths)[:2].tolist()):
            operands = (_resized(v, tuple(change(n, picked) for n in v.shape)) if _is_array(v) else v for v in call[2:first])
            shapes = (tuple(change(n, picked) for n in v) if _are_lengths(v) else v for v in call[first:])
            args = (*call[:2], *operands)
            made.add(_fitting(target, (*args, *call[first:])) or _fitting(target, (*args, *shapes)))
    return made.all()


def _resized(a: Any, shape: tuple[int, ...]) -> Any:
    """The elements of ``a`` over and over, in their order."""
    return np.resize(a, shape).astype(a.dtype)


def _are_lengths(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(n) is int and n > 0 for n in value)


def _fitting(target: Target | Row, args: Args) -> Args | None:
    """With the output that the operation gives, and an upstream gradient of its shape."""
    made = _consistent(target, args)
    return None if made is None else (_resized(made[0], made[1].shape), *made[1:])


def _consistent(target: Target | Row, args: Args) -> Args | None:
    """With the output that the operation itself gives for the operands; None where it refuses them."""
    op = target.op
    if target.kind != "rule" or op is None or target.bound or len(args) < 2 + len(op.rules):
        return args
    try:
        y = np.asarray(op.forward(*args[2:]))
    except Exception:
        return None
    return (args[0], y.astype(args[1].dtype) if hasattr(args[1], "dtype") else y, *args[2:])


def _copied(args: Args) -> Args:
    return tuple(v.copy() if isinstance(v, np.ndarray) else v for v in args)


def _outcome(f: Callable[..., Any], args: Args) -> Any:
    try:
        return f(*args)
    except Exception as error:
        return type(error)


def same(a: Any, b: Any) -> bool:
    """Equal but for rounding, and of one shape and dtype; nan equals nan."""
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic, Handle)) or isinstance(b, (np.ndarray, np.generic, Handle)):
        a, b = (x._data if isinstance(x, Handle) else x for x in (a, b))
        if getattr(a, "shape", None) != getattr(b, "shape", None) or getattr(a, "dtype", None) != getattr(b, "dtype", None):
            return False
        if a.dtype.kind not in "fc":
            return bool(np.array_equal(a, b))
        unit = np.finfo(a.dtype).eps
        largest = np.max(np.abs(a), initial=0, where=np.isfinite(a))
        return bool(np.allclose(a, b, rtol=ROUNDING * unit, atol=CANCELLED * unit * largest, equal_nan=True))
    return a is b or (type(a) is type(b) and bool(a == b))


def _told(target: Target | Row, args: Args, what: str) -> str:
    names = list(target.names)
    names += [f"args[{k}]" for k in range(len(args) - len(names))]
    narrow = {v.dtype for v in args if isinstance(v, np.ndarray) and v.dtype.kind == "f"} - {np.dtype(np.float64)}
    given = ", ".join(f"{name}={_brief(value)}" for name, value in zip(names, args))
    return f"{given}{f' ({narrow.pop()})' if narrow else ''}: {what}"


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=3, separator=",", threshold=8, edgeitems=2).replace("\n", "").replace(" ", "")
    return value.__name__ if isinstance(value, type) else repr(value)[:60]
