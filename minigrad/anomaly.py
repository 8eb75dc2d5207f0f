"""Where did the NaN come from? Checks that :class:`minigrad.detect_anomaly` switches on.

A NaN or an infinity is *born* where an operation makes it of finite numbers (or a NaN of infinities). It is not always a mistake: the
branch that ``where`` does not take may hold one, and ``log(0)`` that goes into ``logsumexp`` is a number again. So a birth is noted,
with its operation, operands and line, and handed on from operation to operation for as long as their results have one; it is raised
where one reaches a single number, such as a loss, where backward starts from it, or at the end of the block if nothing took it up.
Infinities that somebody put there, such as a mask of -inf, are not births.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad import backend, halves, naming
from minigrad.errors import AnomalyError


class Watch:
    """What a ``detect_anomaly`` block has noted.

    Attributes:
        born: for each node whose value has a NaN or an infinity, the error of the operation where the first of them was born.
        idle: those that no operation has taken up yet.
    """

    def __init__(self) -> None:
        self.born: dict[Any, AnomalyError] = {}
        self.idle: dict[Any, AnomalyError] = {}

    def close(self) -> None:
        """The end of the block: what was born and nobody took up is a result."""
        for error in self.idle.values():
            raise error


checking: ContextVar[Watch | None] = ContextVar("checking", default=None)


def _array(value: Any) -> Any:
    return backend.to_numpy(value) if hasattr(value, "dtype") else np.asarray(value)


def first_bad(value: Any, what: Any = np.isfinite, want: bool = False) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity, or None."""
    array = _array(value)
    if halves.kind(array.dtype) not in "fc":
        return None
    bad = what(array) == want
    return tuple(int(k) for k in np.argwhere(bad)[0]) if bad.any() else None


def _birth(y: Any, sources: Any) -> tuple[int, ...] | None:
    """Where ``y`` has a NaN that no source has, or an infinity where all sources are finite."""
    if first_bad(y) is None:
        return None
    sources = [v for v in sources if hasattr(v, "__array__") or isinstance(v, (int, float, complex))]
    if all(first_bad(v) is None for v in sources):
        return first_bad(y)
    if any(first_bad(v, np.isnan, True) is not None for v in sources):
        return None
    return first_bad(y, np.isnan, True)


def check_forward(node: Any, values: tuple[Any, ...]) -> None:
    """Note a NaN or an infinity that an operation made, or hands on; raise it where it has reached a single number."""
    watch = checking.get()
    y, *operands = values
    error = None if watch is None else _told(watch, node.op, node.parents, y, operands, node.where)
    if watch is not None and error is not None:
        watch.born[node] = watch.idle[node] = error


def check_unrecorded(name: str, y: Any, operands: tuple[Any, ...], leaf: Any) -> None:
    """The same for what runs inside ``no_grad``: ``leaf`` is the node of its result, if it has one."""
    watch = checking.get()
    if watch is None:
        return
    parents = tuple(getattr(x, "node", None) for x in operands)
    values = [getattr(x, "_data", x) for x in operands]
    error = _told(watch, _Named(name), parents, y, values, naming.caller())
    if error is not None and leaf is not None:
        watch.born[leaf] = watch.idle[leaf] = error
    elif error is not None:
        watch.idle[object()] = error


class _Named:
    """What is known of an operation that was not recorded."""

    elementwise = True

    def __init__(self, name: str) -> None:
        self.name = name


def _told(watch: Watch, op: Any, parents: Any, y: Any, operands: Any, where: Any) -> AnomalyError | None:
    inherited = None
    for parent in parents:
        watch.idle.pop(parent, None)
        inherited = inherited or watch.born.get(parent)
    if inherited is not None:
        error: AnomalyError | None = inherited if first_bad(y) is not None else None
    else:
        bad = _birth(y, operands)
        finite = all(first_bad(v) is None for v in operands)
        error = None if bad is None else AnomalyError(
            f"{op.name}: produced {_at(y, bad)} from {'finite operands' if finite else 'infinities'} "
            f"({_operands(parents, y, operands, bad)}){f', at {where}' if where is not None else ''}. "
            f"Keep the operands inside the function's domain (clip them, add an epsilon, or select with mg.where)."
        )  # fmt: skip
    if error is not None and not op.elementwise and np.ndim(_array(y)) == 0:
        raise error
    return error


def check_start(roots: Any) -> None:
    """Backward is about to start from ``roots``: if one has a NaN or an infinity, raise the operation where it was born."""
    watch = checking.get()
    for root in roots if watch is not None else ():
        if root in watch.born:  # type: ignore[union-attr]
            raise watch.born[root]  # type: ignore[union-attr]


def check_backward(node: Any, i: int, g: Any, part: Any) -> None:
    """Raise if a gradient rule made a NaN or infinity: of a finite upstream gradient, or a NaN of infinities."""
    part, g = getattr(part, "_data", part), getattr(g, "_data", g)
    bad = first_bad(part)
    if bad is None or (first_bad(g) is not None and _birth(part, (g,)) is None):
        return
    raise AnomalyError(
        f"{node.op.name}: its gradient rule for operand {i + 1} produced {_at(part, bad)} from "
        f"{'a finite' if first_bad(g) is None else 'an infinite'} upstream gradient "
        f"({_operands(node.parents, node, node.saved[1:], bad)}){f', at {node.where}' if node.where is not None else ''}. "
        f"The local gradient is infinite or undefined there."
    )


def _at(value: Any, index: tuple[int, ...]) -> str:
    array = _array(value)
    return f"{array[index]}" + (f" at {list(index)}" if index else "")


def _operands(parents: Any, y: Any, operands: Any, index: tuple[int, ...]) -> str:
    told, whole = [], tuple(y.shape)
    for k, (value, parent) in enumerate(zip(operands, parents), 1):
        shape = tuple(getattr(value, "shape", ()))
        same = shape in ((), whole) and hasattr(type(value), "__array__") | isinstance(value, (int, float))
        text = _at(value, index if shape == whole else ()) if same else f"shape {shape}"
        told.append(f"{naming.of_node(parent) or f'operand {k}'}: {text}")
    return ", ".join(told)
