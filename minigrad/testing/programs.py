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
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad import errors
from minigrad.tensor import Tensor, asarray
from minigrad.testing.check import examine
from minigrad.testing.kinds import EVERY, KINDS, Array, Kind, Reference, Torch, kinds_of
from minigrad.transforms import gradients

__all__ = ["KINDS", "LARGEST", "Kind", "Program", "ProgramError", "Reference", "Step", "folder", "kinds_of", "save_drawing"]

CLOSE = {"float64": 1e-9, "float32": 1e-3, "float16": 5e-2}
"""Relative errors allowed between libraries, and between forward and reverse mode."""
LARGEST = 1e3
"""No value of a drawn program is larger, so that none of its derivatives drowns in rounding."""
folder: ContextVar[Path | None] = ContextVar("folder", default=None)
"""Where drawings of failed programs go; the temporary folder by default."""


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
        kinds: what the steps' names stand for, besides those of :data:`~minigrad.testing.kinds.EVERY`.

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
        return self.kinds[name] if self.kinds and name in self.kinds else EVERY[name]

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
        values = list(inputs)
        for name, operands, axis in self.steps:
            values.append(self.kind(name)(xp, axis, *(values[k] for k in operands)))
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
    kinds = [program.kind(step.kind) for step in program.steps]
    if importlib.util.find_spec("torch") is None or any(kind.run is not None or not kind.torch for kind in kinds):
        return ""
    import torch

    leaves = [torch.tensor(a, requires_grad=True) for a in program.inputs]
    out = program.run(Torch(), leaves)[-1]
    _, _, u, found = _upstream(program)
    if out.requires_grad:
        out.backward(torch.from_numpy(np.array(u)))
    for number, (leaf, g) in enumerate(zip(leaves, found)):
        expected = np.zeros(g.shape) if leaf.grad is None else leaf.grad.numpy()
        if _differ(g, expected, program.inputs[0].dtype):
            return f"the gradient of {program.name(number)} is not PyTorch's: {g!r} against {expected!r}"
    return ""
