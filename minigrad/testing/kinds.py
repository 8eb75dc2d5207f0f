"""The steps that random programs are made of: each a line of Python that runs in minigrad, NumPy and PyTorch alike.

:data:`KINDS` and :data:`MORE` are the table. Its conditions keep a program finite and away from points where there is no derivative. :class:`Reference` is NumPy with what it lacks, written so that it also runs on complex arrays: the complex step
``Im f(x + i h v) / h`` through it is a derivative that owes nothing to minigrad.
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Fits = Callable[..., bool]


class Kind(NamedTuple):
    """A step that programs are made of.

    Attributes:
        code: a line (or lines that assign ``out``) with ``xp`` for the library and ``{0}``, ``{1}`` for the operands.
        sort: ``elementwise``, ``reduction``, ``product``, ``view`` or ``in place``.
        arity: how many operands it takes.
        fits: whether it can be applied to these arrays, and is differentiable there.
        axes: whether ``{axis}`` is to be filled in.
        run: for an operation of the user's own, that operation; NumPy runs its forward function.
        torch: whether PyTorch runs the line too.
    """

    code: str
    sort: str
    arity: int = 1
    fits: Fits = lambda *_: True
    axes: bool = False
    run: Callable[..., Any] | None = None
    torch: bool = True

    def __call__(self, xp: Any, axis: int, *operands: Any) -> Any:
        """The step's result in the library ``xp``."""
        if self.run is not None:
            return self.run.op.forward(*operands) if isinstance(xp, Reference) else self.run(*operands)  # type: ignore[attr-defined]
        return _function(self.code, self.arity)(xp, axis, *operands)


@functools.cache
def _function(code: str, arity: int) -> Callable[..., Any]:
    names = [f"x{k}" for k in range(arity)]
    text = code.format(*names, axis="axis")
    body = text if text.startswith("out = ") else f"out = {text}"
    known: dict[str, Any] = {}
    exec(f"def step(xp, axis, {', '.join(names)}):\n{textwrap.indent(body, '    ')}\n    return out", known)  # noqa: S102
    step: Callable[..., Any] = known["step"]
    return step


def _above(low: float) -> Fits:
    return lambda a: bool((a > low).all())


def _within(bound: float) -> Fits:
    return lambda a: bool((np.abs(a) < bound).all())


def _off(*kinks: float) -> Fits:
    return lambda a: all(bool((np.abs(a - kink) > 1e-3).all()) for kink in kinks)


def _apart(a: Array, b: Array) -> bool:
    return bool((np.abs(a - b) > 1e-3).all())


def _all_apart(a: Array) -> bool:
    flat = np.sort(a.reshape(-1))
    return a.ndim > 0 and a.size > 0 and (a.size < 2 or bool((np.diff(flat) > 1e-3).all()))


def _matrices(a: Array, b: Array) -> bool:
    return a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]


def _into(a: Array, b: Array) -> bool:
    return bool(np.broadcast_shapes(a.shape, b.shape) == a.shape)


def _into_part(index: Any) -> Fits:
    return lambda a, b: a.ndim > 0 and len(a) > 0 and _into(a[index], b)


def _has_axis(a: Array) -> bool:
    return a.ndim > 0


def _some(a: Array) -> bool:
    return a.ndim > 0 and a.size > 0


def _filled(least: int) -> Fits:
    return lambda a: a.ndim > 0 and len(a) >= least


def _ndim(*allowed: int) -> Fits:
    return lambda a: a.ndim in allowed


def _spread(a: Array) -> bool:
    return a.ndim > 0 and min(a.shape) > 1 and all(bool((a.std(k) > 0.1).all()) for k in range(a.ndim))


def _away_from_zero(a: Array) -> bool:
    return _some(a) and bool((np.abs(a) > 0.1).all())


def _invertible(a: Array) -> bool:
    return a.ndim == 2 and a.shape[0] == a.shape[1] > 0 and bool(np.linalg.cond(a) < 20)


def _quotient_off_integers(a: Array, b: Array) -> bool:
    q = a / b
    return bool((np.abs(b) > 0.2).all() and (np.abs(q - np.round(q)) > 1e-3).all())


KINDS: dict[str, Kind] = {
    "negative": Kind("-{0}", "elementwise"),
    "add": Kind("{0} + {1}", "elementwise", 2),
    "subtract": Kind("{0} - {1}", "elementwise", 2),
    "multiply": Kind("{0} * {1}", "elementwise", 2),
    "divide": Kind("{0} / {1}", "elementwise", 2, lambda a, b: bool((np.abs(b) > 0.2).all())),
    "square": Kind("xp.square({0})", "elementwise"),
    "exp": Kind("xp.exp({0})", "elementwise", 1, _within(4)),
    "expm1": Kind("xp.expm1({0})", "elementwise", 1, _within(4)),
    "log": Kind("xp.log({0})", "elementwise", 1, _above(0.1)),
    "log1p": Kind("xp.log1p({0})", "elementwise", 1, _above(-0.8)),
    "sqrt": Kind("xp.sqrt({0})", "elementwise", 1, _above(0.1)),
    "reciprocal": Kind("xp.reciprocal({0})", "elementwise", 1, _above(0.2)),
    "sin": Kind("xp.sin({0})", "elementwise"),
    "cos": Kind("xp.cos({0})", "elementwise"),
    "tanh": Kind("xp.tanh({0})", "elementwise"),
    "atan": Kind("xp.atan({0})", "elementwise"),
    "sinh": Kind("xp.sinh({0})", "elementwise", 1, _within(4)),
    "cosh": Kind("xp.cosh({0})", "elementwise", 1, _within(4)),
    "asinh": Kind("xp.asinh({0})", "elementwise"),
    "sigmoid": Kind("xp.sigmoid({0})", "elementwise"),
    "relu": Kind("xp.relu({0})", "elementwise", 1, _off(0)),
    "abs": Kind("xp.abs({0})", "elementwise", 1, _off(0)),
    "maximum": Kind("xp.maximum({0}, {1})", "elementwise", 2, _apart),
    "minimum": Kind("xp.minimum({0}, {1})", "elementwise", 2, _apart),
    "logaddexp": Kind("xp.logaddexp({0}, {1})", "elementwise", 2),
    "where": Kind("xp.where({0} > 0, {1}, {2})", "elementwise", 3, lambda a, b, c: _off(0)(a)),
    "sum": Kind("xp.sum({0}, {axis})", "reduction", 1, _has_axis, axes=True),
    "mean": Kind("xp.mean({0}, {axis})", "reduction", 1, _some, axes=True),
    "max": Kind("xp.max({0}, {axis})", "reduction", 1, _all_apart, axes=True),
    "softmax": Kind("xp.softmax({0}, {axis})", "reduction", 1, _some, axes=True),
    "logsumexp": Kind("xp.logsumexp({0}, {axis})", "reduction", 1, _some, axes=True),
    "cumsum": Kind("xp.cumsum({0}, {axis})", "reduction", 1, _has_axis, axes=True),
    "matmul": Kind("{0} @ {1}", "product", 2, _matrices),
    "outer": Kind("xp.einsum('i,j->ij', {0}, {1})", "product", 2, lambda a, b: a.ndim == b.ndim == 1),
    "concat": Kind("xp.concat([{0}, {1}])", "product", 2, lambda a, b: a.ndim == b.ndim > 0 and a.shape[1:] == b.shape[1:]),
    "stack": Kind("xp.stack([{0}, {1}])", "product", 2, lambda a, b: a.shape == b.shape and a.ndim < 3),
    "transpose": Kind("{0}.mT", "view", 1, lambda a: a.ndim >= 2),
    "ravel": Kind("{0}.reshape(-1)", "view"),
    "first": Kind("{0}[0]", "view", 1, _filled(1)),
    "rest": Kind("{0}[1:]", "view", 1, _filled(2)),
    "column": Kind("{0}[..., :1]", "view", 1, _has_axis),
    "new axis": Kind("{0}[None]", "view", 1, lambda a: a.ndim < 3),
    "twice": Kind("{0}[[0, 0]]", "view", 1, _filled(1)),
    "set row": Kind("out = {0} * 1.0\nout[0] = {1}", "in place", 2, _into_part(0)),
    "add in place": Kind("out = {0} * 1.0\nout += {1}", "in place", 2, _into),
    "scale in place": Kind("out = {0} * 1.0\nout *= {1}", "in place", 2, _into),
}
"""The steps that :func:`~minigrad.testing.strategies.programs` draws from by default, by name."""

MORE: dict[str, Kind] = {
    "double": Kind("2 * {0}", "elementwise"),
    "one minus": Kind("1.0 - {0}", "elementwise"),
    "three over": Kind("3 / {0}", "elementwise", 1, lambda a: bool((np.abs(a) > 0.2).all())),
    "power": Kind("{0} ** {1}", "elementwise", 2, lambda a, b: _above(0.1)(a) and _within(4)(b)),
    "cube": Kind("{0} ** 3", "elementwise"),
    "exponential": Kind("2.0 ** {0}", "elementwise", 1, _within(4)),
    "remainder": Kind("xp.remainder({0}, {1})", "elementwise", 2, _quotient_off_integers),
    "exp2": Kind("xp.exp2({0})", "elementwise", 1, _within(4)),
    "log2": Kind("xp.log2({0})", "elementwise", 1, _above(0.1)),
    "log10": Kind("xp.log10({0})", "elementwise", 1, _above(0.1)),
    "cbrt": Kind("xp.cbrt({0})", "elementwise", 1, _above(0.1)),
    "tan": Kind("xp.tan({0})", "elementwise", 1, _within(1.3)),
    "asin": Kind("xp.asin({0})", "elementwise", 1, _within(0.95)),
    "acos": Kind("xp.acos({0})", "elementwise", 1, _within(0.95)),
    "acosh": Kind("xp.acosh({0})", "elementwise", 1, _above(1.1)),
    "atanh": Kind("xp.atanh({0})", "elementwise", 1, _within(0.9)),
    "softplus": Kind("xp.softplus({0})", "elementwise"),
    "erf": Kind("xp.erf({0})", "elementwise"),
    "sinc": Kind("xp.sinc({0})", "elementwise", 1, lambda a: bool((np.abs(a) > 0.1).all())),
    "sign": Kind("xp.sign({0})", "elementwise", 1, _off(0)),
    "floor": Kind("xp.floor({0})", "elementwise", 1, lambda a: bool((np.abs(a - np.round(a)) > 1e-3).all())),
    "clip": Kind("xp.clip({0}, -0.5, 1.0)", "elementwise", 1, _off(-0.5, 1.0)),
    "hypot": Kind("xp.hypot({0}, {1})", "elementwise", 2, lambda a, b: bool((a * a + b * b > 0.01).all())),
    "atan2": Kind("xp.atan2({0}, {1})", "elementwise", 2, lambda a, b: bool((np.abs(a) > 1e-3).all())),
    "masked": Kind("{0} * ({1} > 0)", "elementwise", 2, lambda a, b: _off(0)(b)),
    "sum all": Kind("xp.sum({0})", "reduction"),
    "sum kept": Kind("xp.sum({0}, axis={axis}, keepdims=True)", "reduction", 1, _has_axis, axes=True),
    "mean all": Kind("xp.mean({0})", "reduction", 1, _some),
    "min": Kind("xp.min({0}, {axis})", "reduction", 1, _all_apart, axes=True),
    "prod": Kind("xp.prod({0}, {axis})", "reduction", 1, _has_axis, axes=True),
    "var": Kind("xp.var({0}, axis={axis})", "reduction", 1, _some, axes=True),
    "std": Kind("xp.std({0}, axis={axis})", "reduction", 1, _spread, axes=True),
    "length": Kind("xp.linalg.vector_norm({0}, axis={axis})", "reduction", 1, _away_from_zero, axes=True),
    "log softmax": Kind("xp.log_softmax({0}, {axis})", "reduction", 1, _some, axes=True),
    "cumprod": Kind("xp.cumprod({0}, {axis})", "reduction", 1, _has_axis, axes=True),
    "sort": Kind("xp.sort({0}, axis={axis})", "reduction", 1, _all_apart, axes=True),
    "any matmul": Kind("xp.matmul({0}, {1})", "product", 2, lambda a, b: a.ndim > 0 < b.ndim),
    "rows": Kind("xp.einsum('ij,ij->i', {0}, {1})", "product", 2, lambda a, b: a.ndim == b.ndim == 2),
    "crossed": Kind("xp.einsum('ij,kj->ik', {0}, {1})", "product", 2, lambda a, b: a.ndim == b.ndim == 2),
    "kron": Kind("xp.kron({0}, {1})", "product", 2, lambda a, b: a.ndim == b.ndim > 0),
    "inv": Kind("xp.linalg.inv({0})", "product", 1, _invertible),
    "det": Kind("xp.linalg.det({0})", "product", 1, _invertible),
    "solve": Kind("xp.linalg.solve({0}, {1})", "product", 2, lambda a, b: _invertible(a) and b.ndim == 2 and len(a) == len(b)),
    "concat last": Kind("xp.concat([{0}, {1}], axis=-1)", "product", 2, lambda a, b: a.ndim == b.ndim > 0),
    "stack last": Kind("xp.stack([{0}, {1}], axis=-1)", "product", 2, lambda a, b: a.shape == b.shape and a.ndim < 3),
    "squeeze": Kind("xp.squeeze({0})", "view"),
    "move axis": Kind("xp.moveaxis({0}, 0, -1)", "view", 1, _has_axis),
    "last": Kind("{0}[..., -1]", "view", 1, lambda a: a.ndim > 0 < a.shape[-1]),
    "every other": Kind("{0}[::2]", "view", 1, _filled(1)),
    "backwards": Kind("{0}[::-1]", "view", 1, _filled(1), torch=False),
    "new last axis": Kind("{0}[..., None]", "view", 1, lambda a: a.ndim < 3),
    "repeated": Kind("xp.broadcast_to({0}, (2, *{0}.shape))", "view", 1, lambda a: a.ndim < 3),
    "diagonal": Kind("xp.diagonal({0})", "view", 1, _ndim(2)),
    "corners": Kind("{0}[[0, 1, 0], [1, 0, 1]]", "view", 1, lambda a: a.ndim >= 2 and min(a.shape[:2]) > 1),
    "chosen": Kind("{0}[{1} > 0]", "view", 2, lambda a, b: a.shape == b.shape and a.ndim > 0 and _off(0)(b)),
    "flip": Kind("xp.flip({0}, ({axis},))", "view", 1, _has_axis, axes=True),
    "roll": Kind("xp.roll({0}, 1, {axis})", "view", 1, _has_axis, axes=True),
    "tile": Kind("xp.tile({0}, (2, 1))", "view", 1, _ndim(1, 2)),
    "repeat": Kind("xp.repeat({0}, 2, axis={axis})", "view", 1, _has_axis, axes=True),
    "lower": Kind("xp.tril({0})", "view", 1, _ndim(2, 3)),
    "upper": Kind("xp.triu({0}, 1)", "view", 1, _ndim(2, 3)),
    "pad": Kind("xp.pad({0}, ((1, 2),))", "view", 1, _ndim(1), torch=False),
    "take": Kind("xp.take({0}, [0, -1, 0], axis={axis})", "view", 1, _some, axes=True, torch=False),
    "set column": Kind("out = {0} * 1.0\nout[..., :1] = {1}", "in place", 2, _into_part((..., slice(1)))),
    "set rest": Kind("out = {0} * 1.0\nout[1:] = {1}", "in place", 2, _into_part(slice(1, None))),
    "subtract in place": Kind("out = {0} * 1.0\nout -= {1}", "in place", 2, _into),
    "divide in place": Kind(
        "out = {0} * 1.0\nout /= {1}", "in place", 2, lambda a, b: _into(a, b) and bool((np.abs(b) > 0.2).all())
    ),
}
"""Further steps, for soak runs: with all of them in one draw, each would be drawn too rarely in a test of a few hundred programs."""
EVERY = {**KINDS, **MORE}


def kinds_of(ops: Iterable[Any] | None, views: bool, in_place: bool) -> dict[str, Kind]:
    """The kinds for ``ops``: names of :data:`EVERY` and operations made by :func:`minigrad.primitive`; by default :data:`KINDS`.

    Raises:
        ValueError: for an unknown name, or an operation that takes parameters too.
    """
    wanted = {sort for sort, on in (("view", views), ("in place", in_place)) if on}
    found: dict[str, Kind] = {}
    for op in KINDS if ops is None else ops:
        row = getattr(op, "op", None)
        if isinstance(op, str) and op in EVERY:
            found[op] = EVERY[op]
        elif row is not None and not isinstance(op, str):
            places = ", ".join(f"{{{k}}}" for k in range(row.arity))
            found[row.name] = Kind(f"{row.name}({places})", "elementwise", row.arity, run=op)
        else:
            raise ValueError(f"programs: {op!r} is neither an operation (mg.primitive) nor one of {', '.join(EVERY)}")
    extra = {name: kind for name, kind in KINDS.items() if kind.sort in wanted} if ops is not None else {}
    return {name: kind for name, kind in {**found, **extra}.items() if kind.sort not in {"view", "in place"} - wanted}


class Reference:
    """NumPy, with what it lacks. Complex arrays too: what is decided by a value is decided by its real part."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def sigmoid(a: Array) -> Any:
        return 1 / (1 + np.exp(-a))

    @staticmethod
    def softplus(a: Array) -> Any:
        return np.where(a > 0, a, 0) + np.log1p(np.exp(np.where(a > 0, -a, a)))

    @staticmethod
    def relu(a: Array) -> Any:
        return np.where(a > 0, a, 0)

    @staticmethod
    def abs(a: Array) -> Any:
        return np.where(a > 0, a, -a)

    @staticmethod
    def sign(a: Array) -> Any:
        return np.sign(a.real).astype(a.dtype)

    @staticmethod
    def floor(a: Array) -> Any:
        return np.floor(a.real).astype(a.dtype)

    @staticmethod
    def remainder(a: Array, b: Array) -> Any:
        return a - b * np.floor(a.real / b.real)

    @staticmethod
    def erf(a: Array) -> Any:
        real = np.asarray(np.vectorize(math.erf, otypes=[float])(a.real), a.real.dtype)
        return real + 1j * a.imag * 2 / math.sqrt(math.pi) * np.exp(-(a.real**2)) if np.iscomplexobj(a) else real

    @staticmethod
    def atan2(a: Array, b: Array) -> Any:
        real = np.arctan2(a.real, b.real)
        small = (a.imag * b.real - a.real * b.imag) / (a.real**2 + b.real**2)
        return real + 1j * small if np.iscomplexobj(a) or np.iscomplexobj(b) else real

    @staticmethod
    def hypot(a: Array, b: Array) -> Any:
        return np.sqrt(a * a + b * b)

    @staticmethod
    def cbrt(a: Array) -> Any:
        return np.exp(np.log(a) / 3)

    @staticmethod
    def exp2(a: Array) -> Any:
        return np.exp(math.log(2) * a)

    @staticmethod
    def logaddexp(a: Array, b: Array) -> Any:
        top = np.where(a > b, a, b)
        return top + np.log(np.exp(a - top) + np.exp(b - top))

    @staticmethod
    def var(a: Array, axis: int) -> Any:
        return np.mean((a - a.mean(axis, keepdims=True)) ** 2, axis)

    @classmethod
    def std(cls, a: Array, axis: int) -> Any:
        return np.sqrt(cls.var(a, axis))

    @staticmethod
    def softmax(a: Array, axis: int) -> Any:
        e = np.exp(a - a.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)

    @classmethod
    def log_softmax(cls, a: Array, axis: int) -> Any:
        return a - np.expand_dims(cls.logsumexp(a, axis), axis)

    @staticmethod
    def logsumexp(a: Array, axis: int) -> Any:
        top = a.max(axis, keepdims=True)
        return np.log(np.exp(a - top).sum(axis)) + top.squeeze(axis)

    class linalg:  # noqa: N801 (spelled as in NumPy)
        """What programs use of ``numpy.linalg``."""

        inv, det, solve = np.linalg.inv, np.linalg.det, np.linalg.solve

        @staticmethod
        def vector_norm(a: Array, axis: int) -> Any:
            return np.sqrt((a * a).sum(axis))


class Torch:
    """PyTorch, with NumPy's names for what it spells differently."""

    def __init__(self) -> None:
        import torch

        self._torch = torch
        self.concat, self.max, self.min = torch.cat, torch.amax, torch.amin
        self.softplus = torch.nn.functional.softplus
        self.linalg = SimpleNamespace(
            inv=torch.linalg.inv, det=torch.linalg.det, solve=torch.linalg.solve,
            vector_norm=lambda a, axis: torch.linalg.vector_norm(a, dim=axis),
        )  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)

    def cbrt(self, a: Any) -> Any:
        return a ** (1 / 3)

    def kron(self, a: Any, b: Any) -> Any:
        return self._torch.kron(a.contiguous(), b.contiguous())  # it views its result, whatever the strides of its operands

    def repeat(self, a: Any, n: int, axis: int) -> Any:
        return self._torch.repeat_interleave(a, n, dim=axis)

    def sort(self, a: Any, axis: int) -> Any:
        return self._torch.sort(a, dim=axis).values

    def std(self, a: Any, axis: int) -> Any:
        return self._torch.std(a, dim=axis, correction=0)

    def var(self, a: Any, axis: int) -> Any:
        return self._torch.var(a, dim=axis, correction=0)
