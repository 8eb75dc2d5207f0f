"""Where did the NaN come from? Checks that :class:`minigrad.detect_anomaly` switches on."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad import backend, naming
from minigrad.errors import AnomalyError

checking: ContextVar[bool] = ContextVar("checking", default=False)


def first_bad(value: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity, or None."""
    array = np.asarray(backend.to_numpy(value)) if hasattr(value, "dtype") else np.asarray(value)
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return None
    return tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])


def check_forward(node: Any, values: tuple[Any, ...]) -> None:
    """Raise if an operation made a NaN or infinity out of finite numbers."""
    y, *operands = values
    given = [v for v in operands if v is not None and not isinstance(v, str)]
    bad = first_bad(y)
    if bad is None or any(first_bad(v) is not None for v in given):
        return
    raise AnomalyError(
        f"{node.op.name}: produced {_at(y, bad)} from finite operands ({_operands(node, operands, bad)}){_line(node)}. "
        f"Keep the operands inside the function's domain (clip them, add an epsilon, or select with mg.where)."
    )


def check_backward(node: Any, i: int, g: Any, part: Any) -> None:
    """Raise if a gradient rule made a NaN or infinity out of a finite upstream gradient."""
    part, g = getattr(part, "_data", part), getattr(g, "_data", g)
    bad = first_bad(part)
    if bad is not None and first_bad(g) is None:
        raise AnomalyError(
            f"{node.op.name}: its gradient rule for operand {i + 1} produced {_at(part, bad)} from a finite upstream gradient "
            f"({_operands(node, node.saved[1:], bad)}){_line(node)}. The local gradient is infinite or undefined there."
        )


def _at(value: Any, index: tuple[int, ...]) -> str:
    array = np.asarray(backend.to_numpy(value)) if hasattr(value, "dtype") else np.asarray(value)
    return f"{array[index]}" + (f" at {list(index)}" if index else "")


def _operands(node: Any, operands: Any, index: tuple[int, ...]) -> str:
    known = naming.variables(lambda value: id(value.node) if getattr(value, "node", None) is not None else None)
    told = []
    for k, (value, parent) in enumerate(zip(operands, node.parents), 1):
        name = (parent.name or known.get(id(parent))) if parent is not None else None
        shape = tuple(getattr(value, "shape", ()))
        text = _at(value, index if shape == tuple(node.shape) else ()) if shape in ((), tuple(node.shape)) else f"shape {shape}"
        told.append(f"{name or f'operand {k}'}: {text}")
    return ", ".join(told)


def _line(node: Any) -> str:
    where = node.extra.where if node.extra is not None else None
    return f", at {where}" if where is not None else ""
