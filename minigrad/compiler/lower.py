"""Fused operations as the formulas that they are: on large arrays, inside a program, the formula is the faster of the two.

Eagerly one operation is better than ten. In a program its parts run block by block together with what comes before and after; what
the value and its slope have in common (an erf, a tanh, a row's mean) is computed once; temporaries lie in the cache. The formula is
not written a second time: the forward function runs on small Tensors while everything is recorded, and what it did is taken over.

Time over that of the program without this: gelu_tanh(x) * sigmoid(x) + x**2 on 4 M elements 0.5, layer norm on (4096, 1024) 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.compiler.own import LESS_ONE, PICK
from minigrad.compiler.program import CONSTANT, INPUT, RESULT, Builder, Instruction, Program, Ref, Step, Value
from minigrad.compiler.schedule import BLOCK, WORTH, axes_of, in_rows
from minigrad.graph import TRACE, leaf, recording
from minigrad.ops import elementwise, fused, reduce, special
from minigrad.primitive import TABLE, Op
from minigrad.tensor import Tensor, wrap
from minigrad.tracing import Log, active, hollow

Formula = Callable[..., Any]
Numbers = dict[tuple[type, str], int]
"""The values that are numbers, by what they are."""
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def _exps(x: Any, axis: Any) -> tuple[Any, Any]:
    """``x - top`` and ``exp(x - top)``, where top is the maximum, or 0 where that is infinite."""
    top = reduce.max(x, axis, True)
    shifted = x - elementwise.where(elementwise.isfinite(top), top, 0)
    return shifted, elementwise.exp(shifted)


def _softmax(x: Any, axis: Any) -> Any:
    _, y = _exps(x, axis)
    return y / reduce.sum(y, axis, True)


def _log_softmax(x: Any, axis: Any) -> Any:
    shifted, y = _exps(x, axis)
    return shifted - elementwise.log(reduce.sum(y, axis, True))


def _erf(a: Any) -> Any:
    """The single-precision polynomial of :mod:`minigrad.ops.special`."""
    first, *between, last = (np.float32(c) for c in special._U)
    square = a * a
    u = square * first
    for coefficient in between:
        u = (u + coefficient) * square
    return elementwise.tanh((u + last) * a)


SOFT: tuple[Op, ...] = (TABLE["softmax"], TABLE["log_softmax"])
"""The operations with an axis."""
CROSS_ENTROPY: Op = TABLE["softmax_cross_entropy"]
FORMULAS: dict[Op, Formula] = {
    **{
        getattr(fused, name).op: getattr(fused, name).op.forward
        for name in (
            "elu",
            "gelu",
            "gelu_slope",
            "gelu_tanh",
            "gelu_tanh_slope",
            "hardtanh",
            "layer_norm",
            "leaky_relu",
            "rms_norm",
            "silu",
            "silu_slope",
        )
    },
    SOFT[0]: _softmax,
    SOFT[1]: _log_softmax,
    TABLE["erf"]: _erf,
}
"""Of each operation its forward function, or one with the same bits where that one is written on plain arrays."""


def lower(p: Program) -> None:
    """Put formulas in the place of fused operations, where their arrays are large or two of them have most of it in common."""
    numbers = {(type(v.array), repr(v.array)): v.number for v in p.values if v.kind == CONSTANT and np.ndim(v.array) == 0}
    _losses(p, numbers)
    p.steps = [part for step in p.steps for part in (_parts(step, p, numbers) if isinstance(step, Instruction) else (step,))]


def _losses(p: Program, numbers: Numbers) -> None:
    """Cross-entropies of class numbers and their gradients share the exponentials, and one-hot vectors are not written out.

    64 rows of 10,000: 0.4 of the time of a compiled loss and its gradient; 128 rows of 10, where calls are all that counts, 0.5.
    """
    made = {s.out: s for s in p.instructions()}
    losses = [s for s in p.instructions() if s.op is CROSS_ENTROPY and _fits(s, p)]
    scores = {s.args[0] for s in losses}
    steps: list[Step] = []
    for step in p.steps:
        if step in losses:
            assert isinstance(step, Instruction)
            steps += _loss(step, p, numbers)
        elif isinstance(step, Instruction) and step.op is SOFT[0] and step.args[0] in scores and _along_last(step, p):
            steps += _expand(step, p, numbers)
        else:
            if isinstance(step, Instruction) and (index := _one_hot(step, p, made)) is not None:
                step.op, step.args = LESS_ONE, (step.args[0], index)
            steps.append(step)
    p.steps = steps


def _fits(step: Instruction, p: Program) -> bool:
    x, index, out = (p.values[k] for k in (*step.args, step.out))
    fine = isinstance(x.array, np.ndarray) and len(x.shape) > 1 and in_rows(x.array) and x.dtype in FLOATS and x.size > 0
    return fine and out.dtype == x.dtype and index.shape == x.shape[:-1] and index.dtype.kind in "iu"


def _along_last(step: Instruction, p: Program) -> bool:
    ndim = len(p.values[step.args[0]].shape)
    return axes_of(step, ndim) == (ndim - 1,) and p.values[step.out].dtype == p.values[step.args[0]].dtype


def _loss(step: Instruction, p: Program, numbers: Numbers) -> list[Instruction]:
    """``log(sum(exp(x - top))) - (x - top)[index]``: the parts of log_softmax, and the one element of each row that is needed."""
    x, index = (p.values[k] for k in step.args)

    def new(shape: tuple[int, ...], dtype: Any) -> int:
        p.values.append(Value(len(p.values), RESULT, _blank(shape, dtype), None, len(p.values)))
        return len(p.values) - 1

    rows = (*x.shape[:-1], 1)
    *parts, last = _expand(Instruction(SOFT[1], step.args[:1], (-1,), new(x.shape, x.dtype), step.where), p, numbers)
    shifted, logarithm = last.args
    column, picked, loss = new(rows, index.dtype), new(rows, x.dtype), new(rows, x.dtype)
    reshape, subtract = TABLE["reshape"], TABLE["subtract"]
    return [
        *parts,
        Instruction(reshape, (index.number,), (rows,), column, step.where, 0),
        Instruction(PICK, (shifted, column), (), picked, step.where),
        Instruction(subtract, (logarithm, picked), (), loss, step.where),
        Instruction(reshape, (loss,), (x.shape[:-1],), step.out, step.where, 0),
    ]


def _one_hot(step: Instruction, p: Program, made: dict[int, Instruction]) -> int | None:
    """The index (..., 1), if an instruction is ``p - one_hot(index)`` of a p with the bits of a result."""
    if step.op.name != "subtract" or (cast := made.get(step.args[1])) is None or cast.op.name != "astype":
        return None
    hot = made.get(cast.args[0])
    if hot is None or hot.op.name != "equal":
        return None
    a, out, index, classes = (p.values[k] for k in (step.args[0], step.out, *hot.args))
    n = out.shape[-1] if out.shape else 0
    plain = isinstance(out.array, np.ndarray) and out.array.flags.c_contiguous and out.dtype in FLOATS
    if not plain or (a.shape, a.dtype) != (out.shape, out.dtype) or index.shape != (*out.shape[:-1], 1):
        return None
    counted = classes.kind == CONSTANT and classes.shape == (n,) and np.array_equal(classes.array, np.arange(n))
    return index.number if counted and index.dtype.kind in "iu" else None


def _parts(step: Instruction, p: Program, numbers: Numbers) -> Iterator[Instruction]:
    if not _pays(step, p):
        yield step
        return
    for part in _expand(step, p, numbers):
        yield from _parts(part, p, numbers)


def _pays(step: Instruction, p: Program) -> bool:
    """Whether the formula will run in blocks of rows, with the bits of the operation as a whole."""
    out, arrays = p.values[step.out], [v for k in step.args if isinstance((v := p.values[k]).array, np.ndarray)]
    if step.op not in FORMULAS or not arrays or any(isinstance(q, Ref) for q in step.params):
        return False
    first = arrays[0]
    if first.size < WORTH or first.shape[0] < 2 or first.size // first.shape[0] > BLOCK:
        return False
    if any(v.dtype != out.dtype for v in arrays) or out.dtype not in ((np.float32,) if step.op.name == "erf" else FLOATS):
        return False
    if step.op in SOFT:
        axes = axes_of(step, len(first.shape))
        if axes is None or 0 in axes:
            return False
    elif not step.op.elementwise and len(first.shape) < 2:
        return False
    return all(in_rows(v.array) for v in (*arrays, out))


def _expand(step: Instruction, p: Program, numbers: Numbers) -> list[Instruction]:
    """The instructions of the formula, recorded on arrays of two rows; the last of them has the number of the step's result."""
    operands = [p.values[k] for k in step.args]
    arrays = [v for v in operands if isinstance(v.array, np.ndarray)]
    ndim = max(len(v.shape) for v in arrays)
    full = np.broadcast_shapes(*(v.shape for v in arrays if len(v.shape) == ndim))
    kept = () if step.op.elementwise else (ndim - 1, *((axes_of(step, ndim) or ()) if step.op in SOFT else ()))

    def small(shape: tuple[int, ...]) -> tuple[int, ...]:
        first = ndim - len(shape)
        return tuple(n if first + k in kept else min(n, 2) for k, n in enumerate(shape))

    def large(shape: tuple[int, ...]) -> tuple[int, ...]:
        first = ndim - len(shape)
        return tuple(n if n == 1 else full[first + k] for k, n in enumerate(shape))

    log, given = Log(), []
    for v in operands:
        if isinstance(v.array, np.ndarray):
            t = wrap(np.ones(small(v.shape), v.dtype))
            t.node = leaf(t._data, False)
            log.handles[t.node] = t
            log.varying.add(t.node)
            given.append(t)
        else:
            given.append(v.array)
    token, mode = active.set(log), recording.set((TRACE, recording.get()[1]))
    try:
        with np.errstate(all="ignore"):
            result = FORMULAS[step.op](*given, *step.params)
    finally:
        recording.reset(mode)
        active.reset(token)
    formula = Builder(log, [t for t in given if isinstance(t, Tensor)]).build([result])
    number: dict[int, int] = {}
    tensors = [k for k, v in zip(step.args, operands) if isinstance(v.array, np.ndarray)]
    for v in formula.values:
        if v.kind == INPUT:
            number[v.number] = tensors[v.source]
        elif v.number == formula.outputs[0]:
            number[v.number] = step.out
        elif v.kind == CONSTANT:
            number[v.number] = numbers.setdefault((type(v.array), repr(v.array)), len(p.values))
            if number[v.number] == len(p.values):
                p.values.append(Value(len(p.values), CONSTANT, v.array, None, len(p.values)))
        else:
            number[v.number] = len(p.values)
            p.values.append(Value(len(p.values), RESULT, _blank(large(np.shape(v.array)), v.dtype), None, len(p.values)))
    parts = list(formula.instructions())
    for part in parts:
        part.rename(number.__getitem__)
        part.out, part.where = number[part.out], step.where
    return parts


def _blank(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of a shape and dtype, in order, without its memory. Nobody may read its elements."""
    return hollow(shape, dtype, tuple(dtype.itemsize * math.prod(shape[k + 1 :]) for k in range(len(shape))))
