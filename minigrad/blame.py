"""An error of an operation, told in the user's terms."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import naming
from minigrad.errors import BadIndexError, DtypeError, MinigradError, ShapeError
from minigrad.graph import Handle

if TYPE_CHECKING:
    from minigrad.primitive import Op


def blame(error: Exception, op: Op, operands: tuple[Any, ...], params: tuple[Any, ...] = ()) -> Exception:
    """The error of a forward function in the user's terms: the op, each operand's name, dtype and shape, and what to do.

    It carries the operation as its attribute ``operation``, for drawings: ``(op, operands, params)``.
    """
    told = _retold(error, op, operands, params)
    if getattr(told, "operation", None) is None:  # the innermost operation is the one that failed
        setattr(told, "operation", (op, operands, params))  # noqa: B010
    return told


def _retold(error: Exception, op: Op, operands: tuple[Any, ...], params: tuple[Any, ...]) -> Exception:
    if isinstance(error, MinigradError):
        return error
    names = naming.variables(lambda value: id(value) if isinstance(value, Handle) else None)
    told = ", ".join(_tell(operand, names) for operand in operands)
    labels = [f"{name}=" for name in inspect.signature(op.forward).parameters][op.arity :] if params else []
    labels = labels if len(labels) == len(params) else [""] * len(params)
    asked = f" with {', '.join(f'{label}{value!r}' for label, value in zip(labels, params))}" if params else ""
    message = f"{op.name}({told}){asked}: {error}{_advice(op, operands)}"
    for builtin, own in _TOLD_AS.items():
        if isinstance(error, builtin):
            return own(message)
    error.add_note(f"minigrad: in {message}")
    return error


_TOLD_AS: dict[type[Exception], Callable[[str], Exception]] = {
    np.linalg.LinAlgError: np.linalg.LinAlgError, IndexError: BadIndexError, ValueError: ShapeError, TypeError: DtypeError,
}  # fmt: skip


def _tell(operand: Any, names: dict[int, str]) -> str:
    if isinstance(operand, Handle):
        name = (operand.node.name if operand.node is not None else None) or names.get(id(operand), "a tensor")
        return f"{name}: {operand._data.dtype}{list(operand._data.shape)}"
    return f"array: {operand.dtype}{list(operand.shape)}" if hasattr(operand, "shape") else repr(operand)


def _advice(op: Op, operands: tuple[Any, ...]) -> str:
    """Which axis disagrees, where shapes that should broadcast do not."""
    shapes = [tuple(getattr(operand, "shape", ())) for operand in operands]
    for axis in range(1, max(map(len, shapes), default=0) + 1) if op.elementwise else ():
        sizes = {shape[-axis] for shape in shapes if len(shape) >= axis} - {1}
        if len(sizes) > 1:
            told = " and ".join(map(str, sorted(sizes)))
            return (
                f". Axis {-axis} has sizes {told}, which must be equal or 1: "
                f"insert an axis with x[:, None], or reshape or transpose one of them."
            )
    return ""
