"""The text of a region's block, and what runs it: block after block, on several threads, temporaries in scratch memory.

Nothing is allocated inside a block: a result has its place in the output, in the memory of an operand that is read for the last
time, or in a scratch array, of which each thread has its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minigrad.compiler.into import may_overwrite, takes_out
from minigrad.compiler.program import CONSTANT, Instruction, Value
from minigrad.compiler.schedule import TOTALS, Region, axes_of, inner, is_cut, operands
from minigrad.threads import share


class Spot(NamedTuple):
    """A scratch array: elements for each row of a block, and their dtype."""

    row: int
    dtype: Any


class View(NamedTuple):
    """A scratch array as an operand: rows of a shape."""

    spot: int
    shape: tuple[int, ...]


class Block:
    """Writes the text of one block.

    Attributes:
        lines: the body of a function of ``i, j, k, s, turns``: rows i to j, which are block k; scratch views; whose turn it is.
        spots: the scratch arrays that it needs.
        views: the views of them that ``s`` must hold.
    """

    def __init__(self, emitter: Any, region: Region, outs: set[int], single: bool) -> None:
        self.emitter, self.p, self.region, self.outs, self.single = emitter, emitter.p, region, outs, single
        self.spots: list[Spot] = []
        self.views: list[View] = []
        self.made = inner(region)
        self.whole: set[int] = set()
        self.local: dict[int, str] = {}
        self.lines: list[str] = []
        self.idle: list[int] = []
        self.held: dict[int, int] = {}
        self.base: dict[int, int] = {}  # of a reshaped value: whose scratch array it is a view of
        self.last: dict[int, int] = {}
        for n, s in enumerate(region.steps):
            if s.op.name == "reshape":
                self.base[s.out] = self.root(s.args[0])
            self.last |= {self.root(k): n for k in s.args}
        self.summed = {self.root(s.args[0]) for s in region.steps if s.out in region.sums}
        self.sums: dict[int, int] = {}
        for n, s in enumerate(region.steps):
            self.step(s, n)
        self.add_up()
        if self.views:
            self.lines.insert(0, f"{''.join(f's{k}, ' for k in range(len(self.views)))[:-1]} = s")

    def root(self, k: int) -> int:
        return self.base.get(k, k)

    def view(self, spot: int, shape: tuple[int, ...]) -> str:
        view = View(spot, shape)
        if view not in self.views:
            self.views.append(view)
        return f"s{self.views.index(view)}"

    def cut(self, k: int, ndim: int) -> str:
        """The text of an operand: the rows of the block, where it is cut."""
        v = self.p.values[k]
        if is_literal(v):
            return str(self.emitter.name(k))
        if k not in self.made and not (v.size > 1 if self.region.flat else is_cut(v, self.region.rows, ndim)):
            self.whole.add(v.root)
            return f"v{k}"
        if k not in self.local:
            self.local[k] = f"c{k}"
            self.lines.append(f"c{k} = v{k}[i:j]")
        return self.local[k]

    def step(self, s: Instruction, n: int) -> None:
        p, e = self.p, self.emitter
        ndim = len(p.values[s.out if s.op.elementwise else s.args[0]].shape)
        args = [self.cut(k, ndim) for k in s.args]
        params = [e.parameter(q, s, i) for i, q in enumerate(s.params)]
        ending = [r for r in {self.root(k) for k in s.args} if self.last[r] == n and r in self.held]
        here = f"c{s.out}"
        if s.out in self.region.sums:
            self.sums[s.out] = s.args[0]
        elif s.out in self.region.totals:
            e.space[f"z{s.out}"] = TOTALS[s.op.name]
            e.space[f"k{s.out}"] = None if self.region.flat else axes_of(s, ndim) or ()
            self.lines.append(f"w{s.out} = z{s.out}.reduce({args[0]}, axis=k{s.out}, keepdims={not self.region.flat})")
        else:
            if s.out in self.outs:
                self.lines.append(f"{here} = v{s.out}[i:j]")
            if s.op.name == "reshape":
                value = f"{args[0]}.reshape((j - i, {''.join(f'{d}, ' for d in p.values[s.out].shape[1:])}))"
                self.lines.append(f"{here}[...] = {value}" if s.out in self.outs else f"{here} = {value}")
            elif takes_out(s, p) and s.op.name != "matmul":
                if s.out not in self.outs:
                    here = self.place(s, ending)
                self.lines.append(e.call_into(s, here, args, params))
            else:
                value = e.call(s, args, params)
                self.lines.append(f"{here}[...] = {value}" if s.out in self.outs else f"{here} = {value}")
            self.local[s.out] = here
        for r in ending:
            if r in self.held:
                self.idle.append(self.held.pop(r))

    def place(self, s: Instruction, ending: list[int]) -> str:
        """A scratch array for a result: that of an operand which it may overwrite, one that is idle, or a new one."""
        out = self.p.values[s.out]
        shape = () if self.region.flat else out.shape[1:]
        row = int(np.prod(shape, dtype=int))
        wanted = Spot(row, out.dtype)
        if s.out in self.summed:
            self.spots.append(wanted)
            return self.view(len(self.spots) - 1, shape)
        if may_overwrite(s):
            for r in ending:
                v = self.p.values[r]
                if r in s.args and self.spots[self.held[r]] == wanted and v.shape == out.shape:
                    self.held[s.out] = self.held.pop(r)
                    return self.view(self.held[s.out], shape)
        spot = next((b for b in self.idle if self.spots[b] == wanted), None)
        if spot is None:
            self.spots.append(wanted)
            spot = len(self.spots) - 1
        else:
            self.idle.remove(spot)
        self.held[s.out] = spot
        return self.view(spot, shape)

    def ours(self, k: int) -> bool:
        """Whether a block may write to its rows of a value: it is made here, or lies in a buffer that is read in no other way."""
        if k in self.made:
            return True
        root = self.p.values[k].root
        same = [j for j in operands(self.region) if self.p.values[j].root == root]
        return root in self.emitter.plan.slot and same == [k] and root not in self.whole

    def copied(self, k: int) -> str:
        """A copy of what is summed over the rows and is another's."""
        v = self.p.values[k]
        self.spots.append(Spot(v.size // self.region.rows, v.dtype))
        copy = self.view(len(self.spots) - 1, v.shape[1:])
        self.lines.append(f"copyto({copy}, {self.local[k]})")
        return copy

    def add_up(self) -> None:
        """Go on with the sums over the rows when the block before this one has done so: its sum is added to the first row, which
        is itself again afterwards.
        """
        for out, k in self.sums.items():
            rows = self.local[k] if self.single or self.ours(self.root(k)) else self.copied(k)
            self.lines.append(f"t{out} = {rows}.reshape((-1, {self.p.values[out].size}))")
        if self.single:
            self.lines += [f"add_up(t{out}, 0, None, v{out})" for out in self.sums]
        elif self.sums:
            self.lines.append("turns[k].acquire()")
            for out in self.sums:
                self.lines += [
                    f"first = t{out}[0].copy()",
                    f"if k: t{out}[0] += v{out}",
                    f"add_up(t{out}, 0, None, v{out})",
                    f"t{out}[0] = first",
                ]
            self.lines.append("turns[k + 1].release()")


def is_literal(v: Value) -> bool:
    """Whether a value is a number that stands in the text, or has a name of its own there."""
    return v.kind == CONSTANT and not isinstance(v.array, np.ndarray)


class Scratch:
    """What a thread needs for a region: memory, and the views of it."""

    def __init__(self, spots: list[Spot], views: list[View], rows: int) -> None:
        self.memory = [np.empty(spot.row * rows, spot.dtype) for spot in spots]
        self.spots, self.views, self.rows = spots, views, rows
        self.whole = self._of(rows)

    def of(self, rows: int) -> tuple[Any, ...]:
        """The views for a block of so many rows."""
        return self.whole if rows == self.rows else self._of(rows)

    def _of(self, rows: int) -> tuple[Any, ...]:
        return tuple(self.memory[k][: self.spots[k].row * rows].reshape(rows, *shape) for k, shape in self.views)


def combine(ufunc: Any, parts: list[tuple[Any, ...]], i: int) -> Any:
    """The blocks' results, in the order of the rows."""
    total = parts[0][i]
    for part in parts[1:]:
        total = ufunc(total, part[i])
    return total


def run_blocks(
    block: Callable[..., Any], rows: int, step: int, scratch: list[Scratch], arrays: tuple[Any, ...], in_turn: bool = False
) -> list[tuple[Any, ...]]:
    """Run a region block by block, on as many threads as there are sets of scratch arrays; what each block returns, in order.

    With ``in_turn`` block k waits at ``turns[k]`` for the block before it, and lets the next one go on. Threads soon take their
    turns without waiting: the sums are a small part of a block.
    """
    n = -(-rows // step)
    found: list[tuple[Any, ...]] = [()] * n
    idle = deque(scratch)
    turns = [threading.Semaphore(k == 0) for k in range(n + 1)] if in_turn else []

    def work(numbers: Iterator[int]) -> None:
        mine = idle.pop()
        try:
            with np.errstate(all="ignore"):  # NumPy's error state belongs to a thread
                for k in numbers:
                    i, j = k * step, min(k * step + step, rows)
                    found[k] = block(i, j, k, mine.of(j - i), turns, *arrays)
        except BaseException:
            for turn in turns:  # nobody must wait for a block that failed
                turn.release()
            raise

    share(work, n, most=len(scratch))
    return found
