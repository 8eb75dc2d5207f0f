"""Operations that are no ufuncs but can write into a given array, and which instructions can be given one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.bits import by_bits
from minigrad.compiler.own import assemble_into, less_one_into
from minigrad.compiler.program import Instruction, Program, Ref
from minigrad.ops import special
from minigrad.ops.elementwise import is_whole_power, whole_power
from minigrad.ops.linalg import product
from minigrad.sums import sum_into


# Each is called with ``(out, *operands, *params)``.
def _matmul_into(out: Any, a: Any, b: Any) -> Any:
    return product(a, b, out)


def _linear_into(out: Any, x: Any, weight: Any, bias: Any) -> Any:
    if bias is not None and bias.ndim > 1:  # it may have more axes than the product
        return np.add(np.matmul(x, weight.T), bias, out)
    _matmul_into(out, x, weight.T)
    return out if bias is None else np.add(out, bias, out)


def _max_into(out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return np.maximum.reduce(x, axis=axis, out=out, keepdims=keepdims)


def _mean_into(out: Any, x: Any, axis: Any, keepdims: bool, dtype: Any) -> Any:
    """As the method of NumPy's does it, which takes 5 us more."""
    np.add.reduce(x, axis=axis, out=out, keepdims=keepdims)
    return np.divide(out, np.intp(x.size // out.size), out, casting="unsafe")


def _copy_into(out: Any, x: Any, *_: Any) -> Any:
    np.copyto(out, x, casting="unsafe")
    return out


def _relu_into(out: Any, x: Any) -> Any:
    return special.relu(x, out)


def _row_dot_into(out: Any, x: Any, y: Any) -> Any:
    np.vecdot(x, y, out=out[..., 0])
    return out


def _sigmoid_into(out: Any, x: Any) -> Any:
    return special._logistic(x, out)


def _where_into(out: Any, c: Any, a: Any, b: Any) -> Any:
    """``a`` or ``b`` may lie in the memory of ``out``. A condition that is the same throughout is common (a mask that blocks no row
    altogether), and where it is small, quickly seen: with this, and without following masks twice, a masked softmax of
    (8, 4, 64, 64) takes, forward and backward, 0.4 of the time.
    """
    if type(c) is np.ndarray and c.dtype == bool and 0 < 8 * c.size <= out.size and (not c.any() or c.all()):
        if (x := a if c.flat[0] else b) is not out:
            np.copyto(out, x)
        return out
    if by_bits(c, a, b, out) is not None:
        return out
    chosen = np.not_equal(c, 0)
    if isinstance(a, np.ndarray) and np.may_share_memory(out, a):
        np.copyto(out, b, where=~chosen)
    else:
        np.copyto(out, b)
        np.copyto(out, a, where=chosen)
    return out


def _power_into(out: Any, a: Any, b: Any) -> Any:
    if is_whole_power(a, b):
        return whole_power(a, b, out)
    quick = QUICK_POWERS.get(b) if type(b) in (int, float) else None
    return np.power(a, b, out) if quick is None else quick(a, out)


QUICK_POWERS: dict[Any, Any] = {2: np.square, 1: np.positive, 0.5: np.sqrt, -1: np.reciprocal}
"""What the operator ``**`` does on floating arrays."""


INTO: dict[str, Callable[..., Any]] = {
    "matmul": _matmul_into,
    "linear": _linear_into,
    "sum": sum_into,
    "mean": _mean_into,
    "max": _max_into,
    "copy": _copy_into,
    "astype": _copy_into,
    "relu": _relu_into,
    "row_dot": _row_dot_into,
    "sigmoid": _sigmoid_into,
    "power": _power_into,
    "where": _where_into,
    "assemble": assemble_into,
    "less_one": less_one_into,
}
"""Each is held equal to its operation, bit for bit, by a test over the table."""
IN_PLACE = ("relu", "sigmoid", "power", "where", "less_one")
"""Those that read an operand no more once they write: its memory can be the result's."""


def may_overwrite(step: Instruction) -> bool:
    """Whether an instruction can write into an operand of the result's shape and dtype that nobody reads again."""
    return step.op.name in IN_PLACE or (step.op.elementwise and isinstance(step.op.forward, np.ufunc))


SCALARS: dict[Any, str] = {
    np.add: "{} + {}", np.subtract: "{} - {}", np.multiply: "{} * {}", np.divide: "{} / {}", np.negative: "-{}",
}  # fmt: skip
"""Arithmetic that NumPy's scalars do by themselves: 0.04 us instead of 0.35 into a 0-d array, and 2 kB less a value."""


def is_scalar(step: Instruction, p: Program) -> bool:
    """Whether an instruction is arithmetic of 0-d values, all of one floating dtype or Python numbers."""
    out = p.values[step.out]
    if step.op.forward not in SCALARS or out.shape or out.dtype not in (np.float32, np.float64):
        return False
    operands = [p.values[k].array for k in step.args]
    return all(type(x) in (int, float) or getattr(x, "dtype", None) == out.dtype for x in operands)


def takes_out(step: Instruction, p: Program) -> bool:
    """Whether an instruction can write into a buffer."""
    out = p.values[step.out]
    if not isinstance(out.array, np.ndarray | np.generic) or out.dtype.kind == "O" or is_scalar(step, p):
        return False
    if isinstance(step.op.forward, np.ufunc):
        return not step.params and any(isinstance(p.values[k].array, np.ndarray) for k in step.args)
    if step.op.name not in INTO or any(isinstance(q, Ref) for q in step.params):
        return False
    if step.op.name == "linear" and len(p.values[step.args[0]].shape) < 2:
        return False
    if step.op.name == "matmul" and (min(len(p.values[k].shape) for k in step.args) < 2 or not out.shape):
        return False
    if step.op.name == "mean":
        return out.dtype in (np.float32, np.float64) and p.values[step.args[0]].dtype == out.dtype and out.size > 0
    if step.op.name in ("where", "power"):
        return bool(out.dtype.kind == "f")
    if step.op.name in ("sigmoid", "row_dot"):
        return out.dtype in (np.float32, np.float64) and all(p.values[k].dtype == out.dtype for k in step.args)
    return step.op.name != "max" or len(step.params) == 2
