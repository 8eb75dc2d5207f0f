"""Operations that only programs have: what several operations of a step are together, in fewer passes over memory.

A program is not differentiated, so none of them has a rule. Each is held equal to what it stands for by tests/test_compile.py.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from minigrad.compiler.program import CONSTANT, Instruction, Program, Write
from minigrad.ops.fused import take_one
from minigrad.primitive import TABLE, Op

Box = tuple[tuple[int, int], ...]
"""Where a part lies: the first element along each axis, and the one after the last."""


def _own(name: str, forward: Any, gate: str, math: str) -> Op:
    return Op(name, forward, (), (), gate, math, "", False, False, None, 0, ())


def assemble_into(out: Any, *given: Any) -> Any:
    """Arrays side by side: ``given`` is the parts, then the box of each. All but the first are added to zeros, as the plain step does."""
    *parts, boxes = given
    for k, (part, box) in enumerate(zip(parts, boxes, strict=True)):
        place = out[tuple(itertools.starmap(slice, box))]
        if k:
            np.add(part, 0, out=place)
        else:
            place[...] = part
    return out


def _assemble(*given: Any) -> Any:
    boxes = given[-1]
    shape = tuple(max(box[k][1] for box in boxes) for k in range(len(boxes[0])))
    return assemble_into(np.empty(shape, given[0].dtype), *given)


def _pick(x: Any, index: Any) -> Any:
    """Of each row the element at an index: (..., C) and (...) to (..., 1)."""
    flat = x.reshape(-1, x.shape[-1])
    return flat[np.arange(len(flat)), index.reshape(-1)].reshape(*x.shape[:-1], 1)


def less_one_into(out: Any, p: Any, index: Any) -> Any:
    """``p - one_hot(index)``; ``out`` may be p, or have its memory."""
    if out is not p:
        np.copyto(out, p)
    return take_one(out, index)


def _less_one(p: Any, index: Any) -> Any:
    return less_one_into(np.empty(p.shape, p.dtype), p, index)


ASSEMBLE = _own("assemble", _assemble, "takes its own part", "parts side by side")
PICK = _own("pick", _pick, "scatters to the index", "a[..., b]")
LESS_ONE = _own("less_one", _less_one, "passes the gradient on", "a - one_hot(b)")
OWN = {op.name: op for op in (ASSEMBLE, PICK, LESS_ONE)}


def gather_parts(p: Program) -> None:
    """Sums of ``place(part)`` whose parts fill an array and do not overlap become one ``assemble``: the gradient of a split.

    For queries, keys and values, (8, 64, 3 * 128), products and sums around it included, 0.8 of the time of three arrays of zeros.
    """
    made = {s.out: s for s in p.instructions()}
    reads: dict[int, int] = {}
    for s in p.steps:
        for k in s.reads if isinstance(s, Instruction) else [s.value] if isinstance(s, Write) and s.value is not None else []:
            reads[k] = reads.get(k, 0) + 1
    for k in p.outputs:
        reads[k] = reads.get(k, 0) + 1
    parts: dict[int, dict[Box, int]] = {}
    gone: set[int] = set()
    add = TABLE["add"]
    for s in p.instructions():
        if s.op.name == "place" and (box := _box(s, p)) is not None:
            parts[s.out] = {box: s.args[0]}
        elif s.op is add and all(k in parts and reads[k] == 1 for k in s.args) and s.args[0] != s.args[1]:
            a, b = (parts[k] for k in s.args)
            if all(_apart(x, y) for x in a for y in b):
                parts[s.out] = a | b
    for out, found in parts.items():
        s = made[out]
        filled = sum(math.prod(j - i for i, j in box) for box in found) == p.values[out].size
        if s.op is add and filled:
            gone |= _below(s, made, parts)
            s.op, s.args, s.params, s.view = ASSEMBLE, tuple(found.values()), (tuple(found),), None
    p.steps = [s for s in p.steps if not (isinstance(s, Instruction) and s.out in gone)]


def _below(s: Instruction, made: dict[int, Instruction], parts: dict[int, dict[Box, int]]) -> set[int]:
    """The places and sums that a sum consists of."""
    if s.op.name == "place":
        return set()
    return {*s.args}.union(*(_below(made[k], made, parts) for k in s.args if k in parts))


def _box(s: Instruction, p: Program) -> Box | None:
    """Where ``place`` puts its part, if that is slices of neighbours."""
    pattern, shape = s.params
    where, part, out = p.values[s.args[1]], p.values[s.args[0]], p.values[s.out]
    if where.kind != CONSTANT or where.array is not None or not isinstance(pattern, tuple) or len(pattern) > len(shape):
        return None
    if any(not isinstance(q, slice) or q.step not in (None, 1) for q in pattern) or out.dtype.kind != "f":
        return None
    whole = (*pattern, *[slice(None)] * (len(shape) - len(pattern)))
    box = tuple(q.indices(n)[:2] for q, n in zip(whole, shape))
    return box if part.shape == tuple(j - i for i, j in box) and part.size and part.dtype == out.dtype else None


def _apart(x: Box, y: Box) -> bool:
    return any(j <= k or m <= i for (i, j), (k, m) in zip(x, y))
