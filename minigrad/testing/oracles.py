"""What a program is held against: oracles from the cheapest, for every program, to the dearest, for a few.

Each takes a :class:`~minigrad.testing.programs.Program` and says what is wrong, "" for nothing. The table :data:`ORACLES` says on
every how many programs a soak run asks each.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minigrad.checkpointing import checkpoint
from minigrad.modes import inspect
from minigrad.tensor import Tensor, asarray
from minigrad.testing.check import examine
from minigrad.testing.kinds import Array, Reference
from minigrad.testing.programs import CLOSE, Program, _forward_mode, _gradients, _torch
from minigrad.tracing import CompileError
from minigrad.transforms import gradients

STEP = 1e-20
"""Of the complex step: far below rounding, so that its square is nothing."""
ROUNDED = 300.0
"""An error of that many times what rounding does to the reference is put down to rounding."""
_REFERENCE = Reference()


def fault(name: str, program: Program) -> str:
    """What the oracle of that name finds wrong with a program: "" for nothing. An exception is a fault too.

    Example:
        >>> import numpy as np
        >>> from minigrad.testing.programs import Program, Step
        >>> fault("complex step", Program((np.array([1.0, 2.0]),), (Step("tanh", (0,)),)))
        ''
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = ORACLES[name].ask(program)
        except Exception as error:
            return f"it does not run: {type(error).__name__}: {error}"
        dtype = ORACLES[name].rounded
        return "" if found and dtype is not None and _hopeless(program, dtype) else found


def slope(program: Program, dtype: Any = np.complex128) -> tuple[Array, float]:
    """The value by NumPy, and by the complex step the derivative of ``<u, value>`` along ``v``: nothing of minigrad's."""
    vs = directions(program.inputs)
    out = program.run(_REFERENCE, [np.asarray(a + 1j * STEP * v, dtype) for a, v in zip(program.inputs, vs)])[-1]
    (u,) = directions([out])
    return np.real(out), float(np.sum(u * (np.imag(out).astype(float) / STEP)))


def directions(arrays: Sequence[Array]) -> list[Array]:
    """Fixed weights of either sign, none of them small: the fractional parts of multiples of the golden ratio."""
    return [_direction(np.shape(a)) for a in arrays]


@functools.lru_cache(4096)
def _direction(shape: tuple[int, ...]) -> Array:
    turns = np.arange(1, 1 + int(np.prod(shape))) * 0.6180339887498949 % 1.0
    return ((turns + 0.5) * np.where(turns * 7 % 1.0 < 0.5, -1.0, 1.0)).reshape(shape)


def _hopeless(program: Program, dtype: Any) -> bool:
    """Whether rounding alone explains a difference: NumPy in single precision, scaled to ``dtype``, is off by as much."""
    value, exact = slope(program)
    rounded, rough = slope(program, np.complex64)
    lost = max(abs(rough - exact), float(np.max(np.abs(rounded - value), initial=0.0))) / float(np.finfo(np.float32).eps)
    size = max(1.0, abs(exact), float(np.max(np.abs(value), initial=0.0)))
    return not lost * ROUNDED * float(np.finfo(dtype).eps) < CLOSE[np.dtype(dtype).name] * size


class Pass(NamedTuple):
    """A forward and a backward pass: the result, and the gradient for each input (zeros where there is none)."""

    value: Array
    grads: list[Array]

    def along(self, vs: Sequence[Array]) -> float:
        return sum(float(np.sum(g * v)) for g, v in zip(self.grads, vs))

    def size(self, vs: Sequence[Array]) -> float:
        return max(1.0, sum(float(np.sum(np.abs(g * v))) for g, v in zip(self.grads, vs)))


def backward(f: Callable[..., Any], inputs: Sequence[Array], create_graph: bool = False) -> Pass:
    """``f`` on tensors that share these arrays, and the gradients of ``<u, f>``."""
    leaves = [asarray(a).requires_grad_() for a in inputs]
    out = f(*leaves)
    (u,) = directions([out._data])
    found: Sequence[Tensor | None] = (None,) * len(leaves)
    if out.requires_grad:
        found = gradients(out, leaves, np.asarray(u, out.dtype), create_graph=create_graph, allow_unused=True)
    grads = [np.zeros(a.shape, a.dtype) if g is None else g.detach()._data for g, a in zip(found, inputs)]
    return Pass(out.detach()._data, grads)


def _unlike(ours: Pass, theirs: Pass, program: Program, what: str, close: float) -> str:
    """Where two passes differ by more than ``close``, relative to the largest element; bit for bit if it is 0."""
    pairs = [("the value", ours.value, theirs.value)]
    pairs += [(f"the gradient of {program.name(k)}", a, b) for k, (a, b) in enumerate(zip(ours.grads, theirs.grads))]
    for name, a, b in pairs:
        size = max(1.0, float(np.max(np.abs(b), initial=0.0)))
        if a.shape != b.shape or not (np.array_equal(a, b) if close == 0 else bool((np.abs(a - b) <= close * size).all())):
            return f"{name} is not that {what}: {a!r} against {b!r}"
    return ""


def _complex_step(program: Program) -> str:
    before = [a.tobytes() for a in program.inputs]
    ours = backward(program, program.inputs)
    value, expected = slope(program)
    if [a.tobytes() for a in program.inputs] != before:
        return "an input was changed"
    if ours.value.dtype != program.inputs[0].dtype:
        return f"the value has dtype {ours.value.dtype}, the inputs {program.inputs[0].dtype}"
    size = max(1.0, float(np.max(np.abs(value), initial=0.0)))
    if ours.value.shape != value.shape or not (np.abs(ours.value - value) <= 1e-9 * size).all():
        return f"the value is not NumPy's: {ours.value!r} against {value!r}"
    vs = directions(program.inputs)
    if not abs(ours.along(vs) - expected) <= 1e-9 * ours.size(vs):
        return f"along v reverse mode gives {ours.along(vs):.12g}, the complex step of NumPy's {expected:.12g}"
    return ""


def _second(program: Program) -> str:
    """The backward pass differentiated: ``<v, H v>`` against a difference of gradients, in doubt against ``examine``."""
    vs, h = directions(program.inputs), 1e-5
    leaves = [asarray(a).requires_grad_() for a in program.inputs]
    out = program(*leaves)
    if not out.requires_grad:
        return ""
    (u,) = directions([out._data])
    pairs = zip(gradients(out, leaves, u, create_graph=True, allow_unused=True), vs)
    first = [(g, v) for g, v in pairs if g is not None and g.requires_grad]
    pulled = gradients([g for g, _ in first], leaves, [v for _, v in first], allow_unused=True) if first else ()
    ours = sum(float(np.sum(g._data * v)) for g, v in zip(pulled, vs) if g is not None)
    size = sum(float(np.sum(np.abs(g._data * v))) for g, v in zip(pulled, vs) if g is not None)
    far, near = (backward(program, [a + s * h * v for a, v in zip(program.inputs, vs)]) for s in (1, -1))
    expected = (far.along(vs) - near.along(vs)) / (2 * h)
    if abs(ours - expected) <= 1e-5 * max(1.0, size, far.size(vs)):
        return ""
    report = examine(program, *program.inputs, order=2)
    return "" if report.accepted() else report.text


def _single(program: Program) -> str:
    narrow = replace(program, inputs=tuple(a.astype(np.float32) for a in program.inputs))
    wide = replace(program, inputs=tuple(a.astype(np.float64) for a in narrow.inputs))
    ours = backward(narrow, narrow.inputs)
    drifted = {str(a.dtype) for a in (ours.value, *ours.grads)} - {"float32"}
    if drifted:
        return f"a float32 program came out in {', '.join(drifted)}"
    return _unlike(ours, backward(wide, wide.inputs), program, "in float64", CLOSE["float32"])


def _layouts(program: Program) -> str:
    """Inputs in Fortran order, with gaps, and backwards in memory."""
    expected = backward(program, program.inputs)
    for lay in (_fortran, _with_gaps, _backwards):
        found = _unlike(backward(program, [lay(a) for a in program.inputs]), expected, program, "of contiguous inputs", 1e-9)
        if found:
            return f"{lay.__name__.strip('_')}: {found}"
    return ""


def _fortran(a: Array) -> Array:
    return np.array(a, order="F")


def _with_gaps(a: Array) -> Array:
    wide = np.zeros((*a.shape, 2))
    wide[..., 0] = a
    return wide[..., 0]


def _backwards(a: Array) -> Array:
    return np.array(a[::-1])[::-1] if a.ndim else a


def _numpy_functions(program: Program) -> str:
    """NumPy's own functions on Tensors."""
    names = [name for step in program.steps for name in re.findall(r"xp\.(\w+)", program.kind(step.kind).code)]
    if any(not hasattr(np, name) for name in names) or program.kinds:
        return ""
    ours = backward(lambda *leaves: program.run(np, leaves)[-1], program.inputs)
    return _unlike(ours, backward(program, program.inputs), program, "of mg's functions", 1e-9)


def _passes(program: Program) -> str:
    """A recorded pass, an inspected one, a checkpointed one and a second one give what a plain one gives."""
    expected = backward(program, program.inputs)
    with inspect():
        inspected = backward(program, program.inputs)
    recorded = backward(program, program.inputs, create_graph=True)
    again = backward(checkpoint(program), program.inputs)
    return (
        _unlike(inspected, expected, program, "without inspect()", 0)
        or _unlike(recorded, expected, program, "without create_graph", 1e-9)
        or _unlike(again, expected, program, "without checkpoint()", 0)
    )


def _compiled(program: Program) -> str:
    """A compiled step against the same step as it is, bit for bit, at three calls: recorded twice and replayed."""
    minigrad = sys.modules["minigrad"]
    expected = backward(program, program.inputs)
    leaves = [minigrad.tensor(a, requires_grad=True) for a in program.inputs]
    (u,) = directions([expected.value])

    def step() -> Any:
        for leaf in leaves:
            leaf.grad = None
        out = program(*leaves)
        if out.requires_grad:
            out.backward(u)
        return out.detach()

    compiled = minigrad.compile(step, threads=1)
    for call in range(4):
        try:
            value = compiled()
        except CompileError:  # a step that a program cannot repeat, such as a mask: it says so
            return ""
        grads = [np.zeros(a.shape) if leaf.grad is None else leaf.grad.numpy() for leaf, a in zip(leaves, program.inputs)]
        found = _unlike(Pass(value.numpy(), grads), expected, program, "of the step as it is", 0)
        if found:
            return f"call {call + 1}: {found}"
    return ""


class Oracle(NamedTuple):
    """``ask(program)`` says what is wrong, in a soak run of every ``every``-th program.

    A difference is forgiven where rounding in ``rounded`` explains it (the program is ill-conditioned), never if that is None.
    """

    every: int
    ask: Callable[[Program], str]
    rounded: Any
    what: str


ORACLES: dict[str, Oracle] = {
    "complex step": Oracle(1, _complex_step, np.float64, "value and gradient against NumPy's own, by complex step, to 1e-9"),
    "float32": Oracle(8, _single, np.float32, "in float32 against in float64, to 1e-3; no dtype drifts"),
    "forward mode": Oracle(10, _forward_mode, np.float64, "`<u, J v>` by forward mode against reverse mode, to 1e-9"),
    "second derivative": Oracle(12, _second, np.float64, "backward differentiated, against differences of gradients, to 1e-5"),
    "layouts": Oracle(14, _layouts, np.float64, "inputs in Fortran order, with gaps, and backwards in memory"),
    "passes": Oracle(16, _passes, None, "inspected and checkpointed passes bit for bit; recorded passes to 1e-9"),
    "NumPy functions": Oracle(18, _numpy_functions, np.float64, "`np.*` on Tensors against minigrad's functions"),
    "PyTorch": Oracle(22, _torch, np.float64, "PyTorch's gradients, where it is installed and has the operations"),
    "compiled": Oracle(100, _compiled, None, "as a compiled step, forward and backward, bit for bit"),
    "examine": Oracle(200, _gradients, None, "`check_grads`: complex step through minigrad, adaptive differences"),
}
"""The oracles, by name."""


def available() -> list[str]:
    """The oracles that can be asked here."""
    return [name for name in ORACLES if name != "PyTorch" or importlib.util.find_spec("torch") is not None]
