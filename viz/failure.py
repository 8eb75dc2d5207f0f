"""A forward pass that raised, as records: the graph up to the operation that failed, that operation, and what it was given."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np

from minigrad import naming
from minigrad.graph import Handle, leaf
from minigrad.viz import format as fmt
from minigrad.viz.records import Records, records

Marks = dict[tuple[str, int], str]
"""What to write on an arrow, by its target and operand."""


def failure(error: BaseException, *, limit: int | None, colour: str) -> tuple[Records, Marks]:
    """What an operation that raised was made from, and the shapes of its operands with the axes that disagree set off.

    The operands are those of the error; what they were made from is known as far as it was recorded, all of it inside
    ``with mg.inspect():``. Names come from the frames of the error's traceback too.

    Raises:
        ValueError: if the error is not of an operation's forward function.
    """
    cause = next((e for e in _chain(error) if getattr(e, "operation", None) is not None), None)
    if cause is None:
        raise ValueError(
            f"draw: this {type(error).__name__} does not say which operation failed ({str(error)[:80]}); "
            f"errors that an operation of minigrad raises in the forward pass do"
        )
    op, operands, params = cause.operation  # type: ignore[attr-defined]
    node = leaf(np.zeros(()), requires_grad=False)
    node.op, node.params, node.dtype = op, params, ""
    node.parents = tuple(x.node if isinstance(x, Handle) else None for x in operands)
    node.saved = (None, *(x._data if isinstance(x, Handle) else x for x in operands))
    unmade = Handle()
    unmade._data, unmade.node = None, node
    lines = [line for e in (error, cause) for line in traceback.walk_tb(e.__traceback__) if not naming.ours(line[0])]
    frames: list[FrameType] = [frame for frame, _ in reversed(lines)]
    token = naming.left.set(tuple(frames))
    try:
        found = records(unmade, backward=False, limit=limit)
    finally:
        naming.left.reset(token)
    where = f"{frames[0].f_code.co_filename}:{lines[-1][1]}" if lines else ""
    values = tuple(
        replace(v, kind="failed", name=None, gate="", shape=None, value=None, where=where) if v.id == found.output else v
        for v in found.values
    )
    note = " ".join(part for part in (f"Forward stopped here: {cause}", found.note) if part)
    shapes = [tuple(getattr(x, "shape", ())) for x in operands]
    odd = disagreeing(op, shapes)
    marks = {(found.output, i): _marked(shape, {axis for k, axis in odd if k == i}, colour) for i, shape in enumerate(shapes)}
    return replace(found, values=values, note=note), marks


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def disagreeing(op: Any, shapes: Sequence[tuple[int, ...]]) -> set[tuple[int, int]]:
    """The axes of the operands, as (operand, axis), whose lengths an operation cannot bring together.

    Example:
        >>> import minigrad as mg
        >>> sorted(disagreeing(mg.matmul.op, [(2, 3), (2, 4)]))
        [(0, 1), (1, 0)]
        >>> sorted(disagreeing(mg.add.op, [(2, 3), (4,)]))
        [(0, 1), (1, 0)]
    """
    if op.name == "matmul" and len(shapes) == 2 and all(shapes):
        a, b = shapes
        inner = len(a) - 1, max(len(b) - 2, 0)
        if a[inner[0]] != b[inner[1]]:
            return {(0, inner[0]), (1, inner[1])}
        shapes = a[:-2], b[:-2]
    elif op.name == "linear" and shapes[0] and len(shapes[1]) == 2:
        return {(0, len(shapes[0]) - 1), (1, 1)} if shapes[0][-1] != shapes[1][1] else set()
    elif not op.elementwise:
        return set()
    found: set[tuple[int, int]] = set()
    for axis in range(1, max(map(len, shapes), default=0) + 1):
        lengths = {i: shape[-axis] for i, shape in enumerate(shapes) if len(shape) >= axis and shape[-axis] != 1}
        if len(set(lengths.values())) > 1:
            found |= {(i, len(shapes[i]) - axis) for i in lengths}
    return found


def _marked(shape: tuple[int, ...], odd: set[int], colour: str) -> str:
    """A shape as Python writes it, with some axes set off."""
    told = [f'<FONT COLOR="{colour}"><B><U>{n}</U></B></FONT>' if axis in odd else str(n) for axis, n in enumerate(shape)]
    return f"({', '.join(told)}{',' * (len(told) == 1)})" if shape else fmt.shape(shape)
