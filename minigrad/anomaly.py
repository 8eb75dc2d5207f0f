"""Where did the NaN come from? Checks that :class:`minigrad.detect_anomaly` switches on."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad import backend, naming
from minigrad.errors import AnomalyError

checking: ContextVar[bool] = ContextVar("checking", default=False)


def _array(value: Any) -> Any:
    return backend.to_numpy(value) if hasattr(value, "dtype") else np.asarray(value)


def first_bad(value: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity, or None."""
    array = _array(value)
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return None
    return tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])


def check_forward(node: Any, values: tuple[Any, ...]) -> None:
    """Raise if an operation made a NaN or infinity out of finite numbers."""
    y, *operands = values
    bad = first_bad(y)
    if bad is None or any(first_bad(v) is not None for v in operands):
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
    array = _array(value)
    return f"{array[index]}" + (f" at {list(index)}" if index else "")


def _operands(node: Any, operands: Any, index: tuple[int, ...]) -> str:
    told = []
    for k, (value, parent) in enumerate(zip(operands, node.parents), 1):
        shape = tuple(getattr(value, "shape", ()))
        text = _at(value, index if shape == tuple(node.shape) else ()) if shape in ((), tuple(node.shape)) else f"shape {shape}"
        told.append(f"{naming.of_node(parent) or f'operand {k}'}: {text}")
    return ", ".join(told)


def _line(node: Any) -> str:
    return f", at {node.where}" if node.where is not None else ""
