"""Whole random programs: typed graphs over the operations, held against oracles, cut down to what fails, drawn and printed.

A program is a few arrays and a list of steps, each a line of Python that runs in several libraries: with ``xp`` minigrad, NumPy
or PyTorch. NumPy gives the value; the complex step and differences (:func:`minigrad.testing.check_grads`) the gradient; forward
mode (:func:`minigrad.jvp`) must agree with reverse mode; PyTorch, where it is installed, with all of it. See
:func:`minigrad.testing.strategies.programs` for how they are drawn.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import os
import string
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from minigrad import errors
from minigrad.tensor import Tensor, asarray
from minigrad.testing.check import examine
from minigrad.transforms import gradients

Array = np.ndarray[Any, Any]
Fits = Callable[..., bool]

CLOSE = {"float64": 1e-9, "float32": 1e-3, "float16": 5e-2}
"""Relative errors allowed between libraries, and between forward and reverse mode."""
LARGEST = 1e3
"""No value of a drawn program is larger, so that none of its derivatives drowns in rounding."""
folder: ContextVar[Path | None] = ContextVar("folder", default=None)
"""Where drawings of failed programs go; the temporary folder by default."""


class Kind(NamedTuple):
    """A step that programs are made of.

    Attributes:
        code: a line (or lines that assign ``out``) with ``xp`` for the library and ``{0}``, ``{1}`` for the operands.
        sort: ``elementwise``, ``reduction``, ``product``, ``view`` or ``in place``.
        arity: how many operands it takes.
        fits: whether it can be applied to these arrays, and is differentiable there.
        axes: whether ``{axis}`` is to be filled in.
        run: for an operation of the user's own, that operation; NumPy runs its forward function.
    """

    code: str
    sort: str
    arity: int = 1
    fits: Fits = lambda *_: True
    axes: bool = False
    run: Callable[..., Any] | None = None


def _above(low: float) -> Fits:
    return lambda a: bool((a > low).all())


def _off_kink(a: Array) -> bool:
    return bool((np.abs(a) > 1e-3).all())


def _apart(a: Array, b: Array) -> bool:
    return bool((np.abs(a - b) > 1e-3).all())


def _top_apart(a: Array) -> bool:
    flat = np.sort(a.reshape(-1))
    return a.ndim > 0 and a.size > 0 and (a.size < 2 or bool((np.diff(flat) > 1e-3).all()))


def _matrices(a: Array, b: Array) -> bool:
    return a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]


def _into(a: Array, b: Array) -> bool:
    return bool(np.broadcast_shapes(a.shape, b.shape) == a.shape)


def _into_row(a: Array, b: Array) -> bool:
    return a.ndim > 0 and len(a) > 0 and _into(a[0], b)


def _axes(a: Array) -> bool:
    return a.ndim > 0


def _tame(a: Array) -> bool:
    return bool((np.abs(a) < 4).all())


KINDS: dict[str, Kind] = {
    "negative": Kind("-{0}", "elementwise"),
    "add": Kind("{0} + {1}", "elementwise", 2),
    "subtract": Kind("{0} - {1}", "elementwise", 2),
    "multiply": Kind("{0} * {1}", "elementwise", 2),
    "divide": Kind("{0} / {1}", "elementwise", 2, lambda a, b: bool((np.abs(b) > 0.2).all())),
    "square": Kind("xp.square({0})", "elementwise"),
    "exp": Kind("xp.exp({0})", "elementwise", 1, _tame),
    "expm1": Kind("xp.expm1({0})", "elementwise", 1, _tame),
    "log": Kind("xp.log({0})", "elementwise", 1, _above(0.1)),
    "log1p": Kind("xp.log1p({0})", "elementwise", 1, _above(-0.8)),
    "sqrt": Kind("xp.sqrt({0})", "elementwise", 1, _above(0.1)),
    "reciprocal": Kind("xp.reciprocal({0})", "elementwise", 1, _above(0.2)),
    "sin": Kind("xp.sin({0})", "elementwise"),
    "cos": Kind("xp.cos({0})", "elementwise"),
    "tanh": Kind("xp.tanh({0})", "elementwise"),
    "atan": Kind("xp.atan({0})", "elementwise"),
    "sinh": Kind("xp.sinh({0})", "elementwise", 1, _tame),
    "cosh": Kind("xp.cosh({0})", "elementwise", 1, _tame),
    "asinh": Kind("xp.asinh({0})", "elementwise"),
    "sigmoid": Kind("xp.sigmoid({0})", "elementwise"),
    "relu": Kind("xp.relu({0})", "elementwise", 1, _off_kink),
    "abs": Kind("xp.abs({0})", "elementwise", 1, _off_kink),
    "maximum": Kind("xp.maximum({0}, {1})", "elementwise", 2, _apart),
    "minimum": Kind("xp.minimum({0}, {1})", "elementwise", 2, _apart),
    "logaddexp": Kind("xp.logaddexp({0}, {1})", "elementwise", 2),
    "where": Kind("xp.where({0} > 0, {1}, {2})", "elementwise", 3, lambda a, b, c: _off_kink(a)),
    "sum": Kind("xp.sum({0}, {axis})", "reduction", 1, _axes, axes=True),
    "mean": Kind("xp.mean({0}, {axis})", "reduction", 1, lambda a: a.ndim > 0 and a.size > 0, axes=True),
    "max": Kind("xp.max({0}, {axis})", "reduction", 1, _top_apart, axes=True),
    "softmax": Kind("xp.softmax({0}, {axis})", "reduction", 1, lambda a: a.ndim > 0 and a.size > 0, axes=True),
    "logsumexp": Kind("xp.logsumexp({0}, {axis})", "reduction", 1, lambda a: a.ndim > 0 and a.size > 0, axes=True),
    "cumsum": Kind("xp.cumsum({0}, {axis})", "reduction", 1, _axes, axes=True),
    "matmul": Kind("{0} @ {1}", "product", 2, _matrices),
    "outer": Kind("xp.einsum('i,j->ij', {0}, {1})", "product", 2, lambda a, b: a.ndim == b.ndim == 1),
    "concat": Kind("xp.concat([{0}, {1}])", "product", 2, lambda a, b: a.ndim == b.ndim > 0 and a.shape[1:] == b.shape[1:]),
    "stack": Kind("xp.stack([{0}, {1}])", "product", 2, lambda a, b: a.shape == b.shape and a.ndim < 3),
    "transpose": Kind("{0}.mT", "view", 1, lambda a: a.ndim >= 2),
    "ravel": Kind("{0}.reshape(-1)", "view"),
    "first": Kind("{0}[0]", "view", 1, lambda a: a.ndim > 0 and len(a) > 0),
    "rest": Kind("{0}[1:]", "view", 1, lambda a: a.ndim > 0 and len(a) > 1),
    "column": Kind("{0}[..., :1]", "view", 1, _axes),
    "new axis": Kind("{0}[None]", "view", 1, lambda a: a.ndim < 3),
    "twice": Kind("{0}[[0, 0]]", "view", 1, lambda a: a.ndim > 0 and len(a) > 0),
    "set row": Kind("out = {0} * 1.0\nout[0] = {1}", "in place", 2, _into_row),
    "add in place": Kind("out = {0} * 1.0\nout += {1}", "in place", 2, _into),
    "scale in place": Kind("out = {0} * 1.0\nout *= {1}", "in place", 2, _into),
}
"""The steps of :func:`~minigrad.testing.strategies.programs`, by name."""


class Reference:
    """NumPy, with what it lacks; complex arrays too."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def sigmoid(a: Array) -> Any:
        return 1 / (1 + np.exp(-a))

    @staticmethod
    def relu(a: Array) -> Any:
        return np.where(a > 0, a, 0)

    @staticmethod
    def softmax(a: Array, axis: int) -> Any:
        e = np.exp(a - a.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)

    @staticmethod
    def logsumexp(a: Array, axis: int) -> Any:
        top = a.max(axis, keepdims=True)
        return np.log(np.exp(a - top).sum(axis)) + top.squeeze(axis)


class Step(NamedTuple):
    """A step: its kind, the numbers of its operands (inputs first), and an axis."""

    kind: str
    operands: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True)
class Program:
    """Arrays, and steps on them; the last step's result is the program's.

    Attributes:
        inputs: the arrays that are differentiated.
        steps: in order.
        kinds: what the steps' names stand for.

    Example:
        >>> import numpy as np
        >>> program = Program((np.array([1.0, 2.0]),), (Step("tanh", (0,)), Step("multiply", (1, 0))))
        >>> print(program)
        a: float64[2]
        v1 = mg.tanh(a)
        v2 = v1 * a
        >>> program.check()
    """

    inputs: tuple[Array, ...]
    steps: tuple[Step, ...]
    kinds: dict[str, Kind] | None = None

    def kind(self, name: str) -> Kind:
        return (self.kinds or KINDS)[name]

    def name(self, number: int) -> str:
        """``a``, ``b``, ... for inputs, ``v1``, ``v2``, ... for results."""
        if number >= len(self.inputs):
            return f"v{number - len(self.inputs) + 1}"
        return string.ascii_lowercase[number] if number < 26 else f"a{number}"

    def code(self, number: int, xp: str = "mg") -> str:
        """The line of step ``number``."""
        step, out = self.steps[number], self.name(len(self.inputs) + number)
        text = self.kind(step.kind).code.format(*map(self.name, step.operands), axis=step.axis)
        text = text.replace("xp.", f"{xp}.")
        return text.replace("out", out) if self.kind(step.kind).sort == "in place" else f"{out} = {text}"

    def __str__(self) -> str:
        head = [f"{self.name(k)}: {a.dtype}{list(a.shape)}" for k, a in enumerate(self.inputs)]
        return "\n".join([*head, *(self.code(k) for k in range(len(self.steps)))])

    def __repr__(self) -> str:
        return f"<Program of {len(self.steps)} steps: {'; '.join(step.kind for step in self.steps)}>"

    def run(self, xp: Any, inputs: Sequence[Any]) -> list[Any]:
        """All values, the inputs first, in the library ``xp``."""
        known: dict[str, Any] = {"xp": xp, **{self.name(k): value for k, value in enumerate(inputs)}}
        for name, kind in (self.kinds or {}).items():
            if kind.run is not None:
                known[name] = kind.run.op.forward if isinstance(xp, Reference) else kind.run  # type: ignore[attr-defined]
        values = list(inputs)
        for k in range(len(self.steps)):
            exec(self.code(k, "xp"), known)  # noqa: S102 the lines are those of the table above
            values.append(known[self.name(len(inputs) + k)])
        return values

    def __call__(self, *inputs: Any) -> Any:
        """The result, on minigrad's tensors."""
        return self.run(sys.modules["minigrad"], inputs)[-1]

    def needed(self) -> Program:
        """Without the steps and inputs that the result does not depend on."""
        first = len(self.inputs)
        wanted = {first + len(self.steps) - 1}
        for k in reversed(range(len(self.steps))):
            if first + k in wanted:
                wanted |= set(self.steps[k].operands)
        order = sorted(wanted)
        number = {old: new for new, old in enumerate(order)}
        steps = tuple(
            step._replace(operands=tuple(number[p] for p in step.operands))
            for k, step in enumerate(self.steps)
            if first + k in wanted
        )
        return replace(self, inputs=tuple(a for k, a in enumerate(self.inputs) if k in wanted), steps=steps)

    def cut(self, number: int) -> Program:
        """With the result of a step made an input, of the same value."""
        first = len(self.inputs)
        value = np.array(self.run(Reference(), self.inputs)[first + number])
        moved = {
            p: p if p < first else first if p == first + number else p + (p < first + number)
            for p in range(first + len(self.steps))
        }
        rest = [step for k, step in enumerate(self.steps) if k != number]
        steps = tuple(step._replace(operands=tuple(moved[p] for p in step.operands)) for step in rest)
        return replace(self, inputs=(*self.inputs, value), steps=steps).needed()

    def minimal(self, fails: Callable[[Program], bool]) -> Program:
        """The smallest program found that still fails: results made inputs, and steps after the fault left out."""
        program = self.needed()
        for k in range(len(program.steps)):  # most faults are in one step
            alone = replace(program, steps=program.steps[: k + 1])
            while len(alone.steps) > 1:
                alone = alone.cut(0)
            if fails(alone):
                return alone
        shrunk = True
        while shrunk:
            shrunk = False
            tries = [replace(program, steps=program.steps[:k]).needed() for k in range(1, len(program.steps))]
            tries += [program.cut(k) for k in range(len(program.steps) - 1)]
            for smaller in tries:
                if len(smaller.steps) < len(program.steps) and fails(smaller):
                    program, shrunk = smaller, True
                    break
        return program

    def fault(self) -> str:
        """What is wrong with it, "" for nothing."""
        with np.errstate(all="ignore"):
            try:
                return _values(self) or _gradients(self) or _forward_mode(self) or _torch(self)
            except errors.MinigradError as error:
                return f"it does not run: {error}"

    def check(self) -> None:
        """Hold the program against all oracles.

        Raises:
            ProgramError: with the smallest program that fails, its drawing, and a test to paste.
        """
        if self.fault():
            raise ProgramError(self.minimal(lambda program: bool(program.fault())), len(self.steps))

    def source(self) -> str:
        """A test to paste.

        Example:
            >>> import numpy as np
            >>> print(Program((np.array([1.0, 2.0]),), (Step("tanh", (0,)),)).source())
            import minigrad as mg
            import numpy as np
            from minigrad.testing import check_grads
            <BLANKLINE>
            <BLANKLINE>
            def test_tanh():
                def program(a):
                    v1 = mg.tanh(a)
                    return v1
            <BLANKLINE>
                a = np.array([1.0, 2.0])
                assert check_grads(program, a).ok
        """
        names = [self.name(k) for k in range(len(self.inputs))]
        lines = [f"        {line}" for k in range(len(self.steps)) for line in self.code(k).splitlines()]
        own = sorted({step.kind for step in self.steps if self.kind(step.kind).run is not None})
        title = "_".join(dict.fromkeys(step.kind.replace(" ", "_") for step in self.steps))[:50]
        values = [f"    {name} = np.{_literal(a)}" for name, a in zip(names, self.inputs)]
        return "\n".join([
            "import minigrad as mg",
            "import numpy as np",
            "from minigrad.testing import check_grads",
            *(f"# {name}: your operation" for name in own),
            "", "",
            f"def test_{title}():",
            f"    def program({', '.join(names)}):",
            *lines,
            f"        return {self.name(len(self.inputs) + len(self.steps) - 1)}",
            "",
            *values,
            f"    assert check_grads(program, {', '.join(names)}).ok",
        ])  # fmt: skip

    @property
    def __signature__(self) -> inspect.Signature:
        """With the names of the inputs, which messages use."""
        kind = inspect.Parameter.POSITIONAL_ONLY
        return inspect.Signature([inspect.Parameter(self.name(k), kind) for k in range(len(self.inputs))])

    @property
    def __name__(self) -> str:
        return "the program"

    def draw(self) -> Path | None:
        """The graph as a picture in a file; None where there is no Graphviz."""
        return save_drawing(self, self.inputs, [self.name(k) for k in range(len(self.inputs))], self.source())


def save_drawing(f: Callable[..., Any], args: Sequence[Any], names: Sequence[str], key: str) -> Path | None:
    """Draw what ``f`` computes from ``args`` into a file named after ``key``; None where there is no Graphviz."""
    import minigrad

    where = folder.get() or Path(tempfile.gettempdir()) / "minigrad-drawings"
    path = where / f"{hashlib.sha256(key.encode()).hexdigest()[:12]}.svg"
    if path.exists():
        return path
    with contextlib.suppress(ImportError, OSError, RuntimeError, TypeError, ValueError):
        where.mkdir(parents=True, exist_ok=True)
        floats = [isinstance(a, (np.ndarray, float)) and np.asarray(a).dtype.kind == "f" for a in args]
        with minigrad.inspect():
            leaves = [
                minigrad.tensor(a, requires_grad=True, name=name) if is_float else a
                for a, name, is_float in zip(args, names, floats)
            ]
            out = f(*leaves)
            loss = minigrad.sum(out[0] if isinstance(out, (list, tuple)) else out)
        loss.backward()
        fresh = path.with_name(f"{os.getpid()}-{path.name}")
        minigrad.viz.draw(loss).save(fresh)
        fresh.replace(path)
        return path
    return None


class ProgramError(AssertionError):
    """A program that minigrad gets wrong.

    Attributes:
        program: the smallest that fails.
        drawing: the file with its picture, if Graphviz is there.
    """

    def __init__(self, program: Program, drawn: int) -> None:
        self.program, self.drawing = program, program.draw()
        count = len(program.steps)
        lines = [
            f"programs: wrong in a graph of {count} operation{'s' if count > 1 else ''} ({drawn} were drawn)",
            *(f"  {line}" for line in str(program).splitlines()),
            program.fault(),
            f"drawing: {self.drawing}" if self.drawing else "no drawing: install minigrad[viz] and Graphviz for one",
            "as a test:",
            "",
            program.source(),
        ]
        super().__init__("\n".join(lines))


def _literal(a: Array) -> str:
    text = f"array({a.tolist()!r}"
    return f"{text}).reshape{a.shape}" if a.size == 0 else f"{text})" if a.dtype == np.float64 else f'{text}, "{a.dtype}")'


def _close(dtype: Any) -> float:
    return CLOSE.get(np.dtype(dtype).name, 1e-9)


def _differ(a: Array, b: Array, kind: Any) -> bool:
    size = max(1.0, float(np.max(np.abs(b), initial=0.0)))
    return a.shape != b.shape or not bool(np.all(np.abs(a - b) <= _close(kind) * size))


def _values(program: Program) -> str:
    """Each value against NumPy's."""
    ours = program.run(sys.modules["minigrad"], [asarray(a) for a in program.inputs])
    theirs = program.run(Reference(), program.inputs)
    for number, (y, expected) in enumerate(zip(ours, theirs)):
        if _differ(y.numpy(), np.asarray(expected), program.inputs[0].dtype):
            return f"the value of {program.name(number)} is not NumPy's: {y.numpy()!r} against {expected!r}"
    return ""


def _gradients(program: Program) -> str:
    """Reverse mode against the complex step or differences."""
    report = examine(program, *program.inputs, order=1)
    return "" if report.accepted() else report.text


def _upstream(program: Program) -> tuple[list[Tensor], Tensor, Array, list[Array]]:
    """Leaves, the result, an upstream gradient, and the gradients."""
    leaves = [asarray(a.copy()).requires_grad_() for a in program.inputs]
    out = program(*leaves)
    rng = np.random.default_rng(0)
    u = np.asarray(rng.uniform(0.5, 1.5, out.shape), out.dtype)
    found = gradients(out, leaves, u, retain_graph=True, allow_unused=True)
    return leaves, out, u, [np.zeros(a.shape) if g is None else g.numpy() for g, a in zip(found, program.inputs)]


def _forward_mode(program: Program) -> str:
    """``<u, J v>`` against ``<u^T J, v>``; ``J v`` is the derivative of ``<u^T J, v>`` by ``u``, as in :func:`minigrad.jvp`."""
    leaves, out, u, found = _upstream(program)
    rng = np.random.default_rng(1)
    vs = [np.asarray(rng.uniform(0.5, 1.5, a.shape), a.dtype) for a in program.inputs]
    up = asarray(u).requires_grad_()
    pulled = gradients(out, leaves, up, create_graph=True, allow_unused=True)
    pairs = [(g, v) for g, v in zip(pulled, vs) if g is not None and g.requires_grad]
    product = gradients([g for g, _ in pairs], up, [v for _, v in pairs], allow_unused=True)[0] if pairs else None
    forward = 0.0 if product is None else float(np.sum(u * product.numpy()))
    reverse = sum(float(np.sum(g * v)) for g, v in zip(found, vs))
    size = sum(float(np.sum(np.abs(g * v))) for g, v in zip(found, vs))
    if abs(forward - reverse) > _close(program.inputs[0].dtype) * max(size, 1.0):
        return f"forward mode gives {forward:.12g} for <u, J v>, reverse mode {reverse:.12g}"
    return ""


def _torch(program: Program) -> str:
    """Values and gradients against PyTorch's, where it is installed and has all the operations."""
    if importlib.util.find_spec("torch") is None or any(program.kind(step.kind).run is not None for step in program.steps):
        return ""
    import torch

    functions = {"concat": torch.cat, "max": torch.amax}
    xp = SimpleNamespace(**{**{name: getattr(torch, name) for name in dir(torch) if not name.startswith("_")}, **functions})
    leaves = [torch.tensor(a, requires_grad=True) for a in program.inputs]
    out = program.run(xp, leaves)[-1]
    _, _, u, found = _upstream(program)
    if out.requires_grad:
        out.backward(torch.from_numpy(np.array(u)))
    for number, (leaf, g) in enumerate(zip(leaves, found)):
        expected = np.zeros(g.shape) if leaf.grad is None else leaf.grad.numpy()
        if _differ(g, expected, program.inputs[0].dtype):
            return f"the gradient of {program.name(number)} is not PyTorch's: {g!r} against {expected!r}"
    return ""


def kinds_of(ops: Iterable[Any] | None, views: bool, in_place: bool) -> dict[str, Kind]:
    """The kinds for ``ops``: names of :data:`KINDS` and operations made by :func:`minigrad.primitive`; all by default.

    Raises:
        ValueError: for an unknown name, or an operation that takes parameters too.
    """
    wanted = {sort for sort, on in (("view", views), ("in place", in_place)) if on}
    found: dict[str, Kind] = {}
    for op in KINDS if ops is None else ops:
        row = getattr(op, "op", None)
        if isinstance(op, str) and op in KINDS:
            found[op] = KINDS[op]
        elif row is not None and not isinstance(op, str):
            places = ", ".join(f"{{{k}}}" for k in range(row.arity))
            found[row.name] = Kind(f"{row.name}({places})", "elementwise", row.arity, run=op)
        else:
            raise ValueError(f"programs: {op!r} is neither an operation (mg.primitive) nor one of {', '.join(KINDS)}")
    extra = {name: kind for name, kind in KINDS.items() if kind.sort in wanted} if ops is not None else {}
    return {name: kind for name, kind in {**found, **extra}.items() if kind.sort not in {"view", "in place"} - wanted}
