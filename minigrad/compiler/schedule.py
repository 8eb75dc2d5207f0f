"""What runs together: regions of operations that treat the rows of their arrays alike run block by block, so that what one
operation writes is still in the cache when the next one reads it.

Measured on 4 M float32: gelu(x) * sigmoid(x) + x**2 with its gradient in blocks takes a quarter of the time that operation after
operation takes. On two threads blocks of half a second-level cache do best (1 MiB: 131,072 elements 9.9 ms, 65,536 19.8, 32,768
27.7, 262,144 12.9): smaller ones would stay in the cache, but threads that call NumPy every few microseconds wait for each other.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.compiler.program import Call, Instruction, Program, Ref, Step, Value, Write


def _second_level() -> int:
    """The bytes of a core's second-level cache, as Linux tells; else 1 MiB."""
    try:
        with open("/sys/devices/system/cpu/cpu0/cache/index2/size") as file:
            return 1024 * int(file.read().strip().removesuffix("K"))
    except (OSError, ValueError):
        return 2**20


BLOCK = min(max(_second_level() // 8, 2**16), 2**18)
"""Elements of a block."""
WORTH = 65536
"""Elements from which blocks are worth their loop: about twice what fits the first-level cache."""
ALONG_ROWS = ("sum", "mean", "max", "min", "var", "std", "logsumexp", "softmax", "log_softmax")
"""Operations with an ``axis``: each row by itself, as long as the axis is not the first."""
TOTALS = {"sum": np.add, "mean": np.add, "max": np.maximum, "min": np.minimum}
"""Reductions over the rows, and what combines the blocks' results."""


@dataclass(slots=True, eq=False)
class Region:
    """Instructions that run together on blocks of rows.

    Attributes:
        rows: the size of the first axis, of all that is cut into blocks.
        flat: whether the arrays are taken as one long row of elements each.
        steps: the instructions, in order.
        totals: those of them that reduce over the rows; their results are complete when the region is.
        sums: and those that add up one row after the other, in their order.
    """

    rows: int
    flat: bool = False
    steps: list[Instruction] = field(default_factory=list)
    totals: set[int] = field(default_factory=set)
    sums: set[int] = field(default_factory=set)


Item = Step | Region


def axes_of(step: Instruction, ndim: int) -> tuple[int, ...] | None:
    """The axes that a reduction takes, non-negative; None if its parameters do not tell."""
    axis = step.params[0] if step.params else None
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, int):
        return (axis % ndim,)
    return tuple(k % ndim for k in axis) if isinstance(axis, tuple) else None


def is_cut(v: Value, rows: int, ndim: int) -> bool:
    """Whether an operand is cut into blocks with a result of ``ndim`` axes, or belongs to all blocks as a whole."""
    return len(v.shape) == ndim and v.shape[0] == rows


def kind_of(step: Instruction, p: Program) -> tuple[int, bool] | None:
    """How many rows an instruction has and whether it reduces over them; None if it does not go row by row."""
    out = p.values[step.out]
    if any(isinstance(q, Ref) for q in step.params) or not isinstance(out.array, np.ndarray | np.generic):
        return None
    if not out.array.flags.c_contiguous:  # blocks of it would lie otherwise in memory, and its sums have other last bits
        return None
    name = step.op.name
    if step.op.elementwise:
        if not out.shape or out.shape[0] < 2 or (step.params and name != "clip"):
            return None
        rows, ndim = out.shape[0], len(out.shape)
        fine = all(len(v.shape) < ndim or v.shape[0] in (1, rows) for v in (p.values[k] for k in step.args))
        return (rows, False) if fine and any(is_cut(p.values[k], rows, ndim) for k in step.args) else None
    if name == "row_dot":
        shapes = {p.values[k].shape for k in step.args}
        return (out.shape[0], False) if len(shapes) == 1 and len(out.shape) > 1 and out.shape[0] > 1 else None
    if name in ("pick", "less_one"):
        rows = p.values[step.args[0]].shape[0]
        return (rows, False) if rows > 1 else None
    if len(step.args) != 1:
        return None
    a = p.values[step.args[0]]
    if not a.shape or a.shape[0] < 2 or not isinstance(a.array, np.ndarray):
        return None
    if name in ALONG_ROWS:
        axes = axes_of(step, len(a.shape))
        if axes is None:
            return None
        if 0 not in axes:
            return a.shape[0], False
        return (a.shape[0], True) if name in TOTALS and a.dtype.kind == "f" else None
    if name == "reshape" and out.shape[:1] == a.shape[:1]:
        return a.shape[0], False
    return None


def in_order(step: Instruction, p: Program) -> bool:
    """Whether a reduction over the rows is NumPy's own sum of one row after the other, which blocks in turn go on with.

    So it adds up where something with more than one element is left of a row; else in pairs, in another order.
    """
    a, out = p.values[step.args[0]], p.values[step.out]
    axes = axes_of(step, len(a.shape)) or ()
    plain = step.op.name == "sum" and a.dtype == out.dtype and a.dtype in (np.float32, np.float64) and out.size > 1
    return plain and sorted(axes) == list(range(len(axes))) and in_rows(a.array)


def in_rows(array: Any) -> bool:
    """Whether the axes lie in memory as those of a new array do."""
    strides = [s for s, n in zip(array.strides, array.shape) if n > 1]
    return all(a >= b for a, b in itertools.pairwise(strides)) and min(strides, default=1) > 0


def schedule(p: Program) -> list[Item]:
    """The program's steps with those that can run in blocks gathered into regions.

    An instruction joins the latest region of as many rows that its operands are ready for; so regions grow across instructions
    that do not concern them, but never across something outside that changes Tensors.
    """
    items: list[Item] = []
    lasting = _lasting(p)
    ready: dict[int, float] = {}
    start = 0
    for step in p.steps:
        place = len(items)
        found = kind_of(step, p) if isinstance(step, Instruction) and not step.again else None
        if (
            isinstance(step, Instruction)
            and found is not None
            and (not found[1] or step.out not in lasting or in_order(step, p))
        ):
            rows, total = found
            out = p.values[step.out if step.op.elementwise else step.args[0]]
            whole = [not is_cut(p.values[k], rows, len(out.shape)) for k in step.args]
            need = max((ready.get(k, -1.0) + 0.5 * w for k, w in zip(step.args, whole)), default=-1.0)
            for k in range(len(items) - 1, max(start - 1, math.ceil(need) - 1), -1):
                region = items[k]
                if isinstance(region, Region) and region.rows == rows:
                    place = k
                    break
            else:
                region = Region(rows)
                items.append(region)
            assert isinstance(region, Region)
            region.steps.append(step)
            if total:
                (region.sums if in_order(step, p) else region.totals).add(step.out)
            ready[step.out] = place + 0.5 * total
        else:
            items.append(step)
            if isinstance(step, Instruction):
                ready[step.out] = place
            elif isinstance(step, int):
                ready[step] = place
            elif isinstance(step, Call):
                start = len(items)
    return [part for item in items for part in (_worth(item, p) if isinstance(item, Region) else [item])]


def _lasting(p: Program) -> set[int]:
    """What reaches a gradient or a state: there a sum in another order would make compiled training drift from plain training.

    A loss that is only returned may be added up block by block.
    """
    found = {s.value for s in p.steps if isinstance(s, Write) and s.value is not None}
    for step in reversed(p.steps):
        if isinstance(step, Instruction) and step.out in found:
            found.update(step.reads)
    return found


def _worth(region: Region, p: Program) -> list[Item]:
    """The region, or its instructions one by one where blocks would not pay."""
    sizes = [max(p.values[k].size for k in (s.out, *s.args)) for s in region.steps]
    widest = max(sizes)
    if len(region.steps) < 2 or widest < WORTH:
        return list(region.steps)
    if widest // region.rows > BLOCK:
        region.flat = _can_be_flat(region, p)
        if not region.flat:
            return list(region.steps)
    return [region]


def _can_be_flat(region: Region, p: Program) -> bool:
    shape = p.values[region.steps[0].out].shape if region.steps[0].out not in region.totals else None
    for s in region.steps:
        if s.out in region.totals:
            if axes_of(s, len(p.values[s.args[0]].shape)) != tuple(range(len(p.values[s.args[0]].shape))) or s.params[1]:
                return False
            continue
        if not s.op.elementwise or p.values[s.out].shape != shape:
            return False
        if any(p.values[k].shape != shape and p.values[k].size != 1 for k in s.args):
            return False
    return shape is not None


def inner(region: Region) -> set[int]:
    """What the region itself computes."""
    return {s.out for s in region.steps}


def operands(region: Region) -> list[int]:
    """What the region reads from outside, in order."""
    made = inner(region)
    return list(dict.fromkeys(k for s in region.steps for k in s.args if k not in made))
