"""From a schedule to a Python function: straight-line NumPy calls that write into buffers planned beforehand.

The text of the function is kept (``explain`` shows it). Every buffer exists once, from one replay to the next; two values share
one where they do not live at the same time; views of buffers are made once, not at each replay.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import arena, backend
from minigrad.compiler.into import INTO, SCALARS, is_scalar, may_overwrite, takes_out
from minigrad.compiler.program import (
    CONSTANT,
    INPUT,
    OLD_GRAD,
    RESULT,
    STATE,
    Call,
    Instruction,
    Program,
    Ref,
    Write,
    owns_memory,
)
from minigrad.compiler.regions import Block, Scratch, combine, is_literal, run_blocks
from minigrad.compiler.schedule import BLOCK, TOTALS, Item, Region, axes_of, inner, operands
from minigrad.tensor import wrap

ALONE = 131072
"""A region of fewer elements is one block."""
SHARED = 1 << 20
"""One of fewer elements is not worth a second thread, which must be woken and then waits for the interpreter at each call of NumPy's:
a transformer's step takes 0.9 of the time that it takes with a threshold of 131,072, with dropout and 128 positions 0.78."""


@dataclass(slots=True)
class Plan:
    """Where the values of a program are.

    Attributes:
        slot: the buffer of each value that has one.
        sizes: the bytes of each buffer.
        kept: values in memory of their own that outlives a replay: the gradients.
    """

    slot: dict[int, int]
    sizes: list[int]
    kept: set[int]


def reads(item: Item) -> list[int]:
    """The values that an item reads."""
    if isinstance(item, Instruction):
        return item.reads
    if isinstance(item, Region):
        return operands(item)
    return [item.value] if isinstance(item, Write) and item.value is not None else []


def plan(p: Program, items: list[Item], visible: set[int]) -> tuple[Plan, dict[int, int], set[int]]:
    """Buffers by liveness: a buffer is free again after the last reader of its value, or of any view of it."""
    made = {s.out: s for s in p.instructions()}
    p.find_roots()
    last: dict[int, int] = {}
    for at, item in enumerate(items):
        for k in reads(item):
            last[p.values[k].root] = last[k] = at
    for k in visible:
        last[p.values[k].root] = len(items)
    needs = set(last)
    gradients = {i.value for i in items if isinstance(i, Write) and i.gradient and i.value is not None}
    assigned = {i.value for i in items if isinstance(i, Write) and not i.gradient and i.value is not None}
    kept = {k for k in gradients if k in made and k not in visible | assigned and owns_memory(made[k], p)}
    fresh = visible | assigned
    slot: dict[int, int] = {}
    sizes: list[int] = []
    free: list[tuple[int, int]] = []  # the bytes and the number of each, in order
    expiring: dict[int, list[int]] = {}

    def take(number: int) -> None:
        nbytes = max(p.values[number].array.nbytes, 1)
        place = bisect_left(free, (nbytes, -1))
        if place < len(free) and free[place][0] <= 2 * nbytes + 256:
            _, best = free.pop(place)
        else:
            best = len(sizes)
            sizes.append(nbytes)
        slot[number] = best
        expiring.setdefault(last.get(number, -1), []).append(best)

    def give(buffers: list[int]) -> None:
        for b in buffers:
            insort(free, (sizes[b], b))

    for at, item in enumerate(items):
        freed = expiring.pop(at, [])
        if isinstance(item, Instruction) and may_overwrite(item):
            out = p.values[item.out]
            exact = {
                slot[r]
                for k in item.args
                if (r := p.values[k].root) == k
                and k in slot
                and (p.values[k].shape, p.values[k].dtype) == (out.shape, out.dtype)
            }
            others = {slot[p.values[k].root] for k in item.args if p.values[k].root != k and p.values[k].root in slot}
            early = [b for b in freed if b in exact - others]
            give(early)
            freed = [b for b in freed if b not in early]
        outs = [item.out] if isinstance(item, Instruction) and takes_out(item, p) else []
        if isinstance(item, Region):
            outs = [s.out for s in item.steps if s.out in needs and s.out not in item.totals]
        for number in outs:
            if p.values[number].root == number and number not in kept | fresh and number in last:
                take(number)
        give(freed)
    return Plan(slot, sizes, kept), last, fresh


class Emitter:
    """Writes the function, and makes what it refers to."""

    def __init__(self, p: Program, items: list[Item], threads: int) -> None:
        self.p, self.items, self.threads = p, items, threads
        self.visible = set(p.outputs)
        self.plan, self.last, self.fresh = plan(p, items, self.visible)
        self.space: dict[str, Any] = {
            "empty": arena.empty, "copyto": np.copyto, "add_up": np.add.reduce, "wrap": wrap, "array_of": backend.array_of,
            "run_blocks": run_blocks,
        }  # fmt: skip
        self.static: dict[int, Any] = {}
        self.recipes: list[Callable[[], None]] = []
        self.lines: list[str] = []
        self.blocks: list[str] = []
        self.loaded: set[int] = set()
        self.scalars: set[int] = set()
        self.kept_nodes: list[tuple[str, Any]] = []
        self.views = 0
        # What can be written where we say.
        self.writable = {i.out for i in items if isinstance(i, Instruction) and takes_out(i, p)}
        self.writable |= {k for i in items if isinstance(i, Region) for k in inner(i) - i.totals}
        self.bind()
        self.write()

    # Buffers
    def bind(self) -> None:
        """Make the buffers, and name them as the code does."""
        p, buffers = self.p, [np.empty(n, np.uint8) for n in self.plan.sizes]
        for v in p.values:
            if v.kind == CONSTANT:
                self.static[v.number] = v.array
        for number, b in self.plan.slot.items():
            v = p.values[number]
            self.static[number] = laid_out(v.array, buffers[b][: v.array.nbytes].view(v.dtype))
        for number in self.plan.kept:
            v = p.values[number]
            if number in self.writable:
                self.static[number] = laid_out(v.array, np.empty(v.size, v.dtype))
        for number, array in self.static.items():
            self.space[f"v{number}"] = array
        for recipe in self.recipes:
            recipe()

    # Text
    def write(self) -> None:
        for at, item in enumerate(self.items):
            self.item(item, at)
        inputs = [f"v{v.number}" for v in self.p.values if v.kind == INPUT]
        returned = "".join(f"{self.name(k)}, " for k in self.p.outputs)
        body = [*self.lines, f"return ({returned})"]
        text = "\n".join([*self.blocks, f"def run({', '.join(inputs)}):", *(f"    {line}" for line in body)])
        self.source = text + "\n"
        exec(compile(self.source, "<minigrad: compiled step>", "exec"), self.space)  # noqa: S102
        self.run = self.space["run"]
        self.lines, self.blocks, self.loaded, self.scalars = [], [], set(), set()  # 0.5 kB a value

    def name(self, number: int) -> str:
        """How the code calls a value; loads it first if it lives outside."""
        v = self.p.values[number]
        if v.kind == CONSTANT and not isinstance(v.array, np.ndarray) and type(v.array) in (int, float, bool, type(None)):
            return repr(v.array) if np.isfinite(v.array or 0) else f"v{number}"
        if v.kind == STATE and number not in self.loaded:
            self.space[f"h{number}"] = v.source[0]
            self.lines.append(f"v{number} = h{number}._data")
        if v.kind == OLD_GRAD and number not in self.loaded:
            self.space[f"n{number}"] = v.source
            self.lines.append(f"v{number} = n{number}.grad._data")
        if number in self.scalars and number not in self.loaded:
            self.lines.append(f"v{number} = array_of(f{number})")
        self.loaded.add(number)
        return f"v{number}"

    def scalar(self, number: int) -> str:
        """How the code calls a 0-d value as one of NumPy's scalars; takes it out of its array first, if it is in one."""
        if is_literal(self.p.values[number]):
            return self.name(number)
        if number not in self.scalars:
            self.lines.append(f"f{number} = {self.name(number)}[()]")
            self.scalars.add(number)
        return f"f{number}"

    def item(self, item: Item, at: int) -> None:
        if isinstance(item, int):
            self.space[f"draw{item}"] = self.p.values[item].source
            self.lines.append(f"v{item} = draw{item}()")
        elif isinstance(item, Call):
            self.space[f"call{at}"] = item.call
            self.lines.append(f"call{at}()  # {item.name}")
        elif isinstance(item, Write):
            self.store(item, at)
        elif isinstance(item, Region):
            self.region(item, at)
        else:
            self.instruction(item)
        if not isinstance(item, (int, Call)):
            done = {k for k in reads(item) if self.last.get(k) == at and self.dies(k)}
            if done:
                self.lines.append(f"del {', '.join(f'v{k}' for k in sorted(done))}")

    def dies(self, k: int) -> bool:
        """Whether a value is a local of the function that is large enough to be let go early."""
        v = self.p.values[k]
        return v.kind == RESULT and k not in self.static and v.root == k and k not in self.visible and v.size > 4096

    def instruction(self, step: Instruction) -> None:
        p, out = self.p, self.p.values[step.out]
        if is_scalar(step, p):
            self.lines.append(f"f{step.out} = {SCALARS[step.op.forward].format(*(self.scalar(k) for k in step.args))}")
            self.scalars.add(step.out)
            return
        if out.root != step.out and all(k in self.static for k in reads(step)) and self.static_view(step):
            return
        args = [self.name(k) for k in step.args]
        params = [self.parameter(q, step, i) for i, q in enumerate(step.params)]
        target = f"v{step.out}"
        into = step.out in self.static and takes_out(step, p)
        self.lines.append(self.call_into(step, target, args, params) if into else f"{target} = {self.call(step, args, params)}")

    def call(self, step: Instruction, args: list[str], params: list[str]) -> str:
        """The text that gives an instruction's result."""
        if step.op.name == "mean" and takes_out(step, self.p):
            v = self.p.values[step.out]
            self.space[f"d{step.out}"] = v.dtype
            return self.call_into(step, f"empty({v.shape}, d{step.out})", args, params)
        self.space[f"{step.op.name}_{step.out}"] = step.op.forward
        return f"{step.op.name}_{step.out}({', '.join([*args, *params])})"

    def call_into(self, step: Instruction, target: str, args: list[str], params: list[str]) -> str:
        """The text that writes an instruction's result into ``target``."""
        name, forward = step.op.name, step.op.forward
        if isinstance(forward, np.ufunc):
            self.space[f"u_{name}"] = forward
            # By position, which is 0.1 us faster, where NumPy does not warn of it.
            out = f"out={target}" if forward in (np.maximum, np.minimum) else target
            return f"u_{name}({', '.join([*args, out])})"
        self.space[f"into_{name}"] = INTO[name]
        return f"into_{name}({', '.join([target, *args, *params])})"

    def parameter(self, q: Any, step: Instruction, i: int) -> str:
        if isinstance(q, Ref):
            return self.name(q.value)
        if type(q) in (int, bool, str, type(None)) or (type(q) is tuple and all(type(e) is int for e in q)):
            return repr(q)
        self.space[f"q{step.out}_{i}"] = q
        return f"q{step.out}_{i}"

    def static_view(self, step: Instruction) -> bool:
        """Make a view of a buffer once. Its values are those of the buffer at each replay."""

        def make() -> Any:
            args = [self.static[k] for k in step.args]
            params = [self.static[q.value] if isinstance(q, Ref) else q for q in step.params]
            return step.op.forward(*args, *params)

        first = make()
        shared = any(
            isinstance(first, np.ndarray)
            and isinstance(self.static[k], np.ndarray)
            and np.may_share_memory(first, self.static[k])
            for k in step.args
        )
        if not shared:
            return False

        def recipe() -> None:
            self.static[step.out] = self.space[f"v{step.out}"] = make()

        recipe()
        self.recipes.append(recipe)
        self.views += 1
        return True

    def store(self, item: Write, at: int) -> None:
        self.space[f"t{at}"] = item.target
        if item.value is None:
            self.lines.append(f"t{at}.grad = None")
            return
        name = self.name(item.value)
        v = self.p.values[item.value]
        own = v.root == v.number and (v.number in self.plan.kept or (v.number in self.fresh and v.kind == RESULT))
        given = name if own else f"{name}.copy()"
        if item.gradient:
            self.lines.append(f"t{at}.grad = wrap({given})")
            if item.value in self.static:
                self.kept_nodes.append((f"v{item.value}", item.target))
        else:
            self.lines.append(f"t{at}._data = array_of({given})")

    # Regions
    def region(self, region: Region, at: int) -> None:
        p = self.p
        made, outside = inner(region), operands(region)
        needed = {k for k in made if k in self.last and (self.last[k] > at or self._read_outside(k, region))}
        outs = [k for k in needed if k not in region.totals | region.sums]
        totals = [s for s in region.steps if s.out in region.totals]
        for k in [*outs, *region.sums]:
            if k not in self.static:
                self.name(k)
                v = p.values[k]
                self.space[f"d{k}"] = v.dtype
                self.lines.append(f"v{k} = empty({v.shape}, d{k})")
        widest = max(p.values[k].size for s in region.steps for k in (s.out, *s.args))
        rows = widest if region.flat else region.rows
        step = -(-rows // (2 * -(-widest // (2 * BLOCK)))) if widest >= ALONE else rows  # an even number of equal blocks
        block = Block(self, region, set(outs), step >= rows)
        cut = [*(k for k in outside if not is_literal(p.values[k])), *outs]
        filled = [f"v{k}" for k in sorted(region.sums)]
        arguments = ", ".join(["i", "j", "k", "s", "turns", *(f"v{k}" for k in cut), *filled])
        self.blocks += [f"def block{at}({arguments}):", *(f"    {line}" for line in block.lines)]
        self.blocks += [f"    return ({''.join(f'w{s.out}, ' for s in totals)})", ""]
        threads = self.threads if widest >= SHARED else 1
        self.space[f"scratch{at}"] = [Scratch(block.spots, block.views, step) for _ in range(threads)]
        flat = [f"{n}.reshape(-1)" if region.flat and p.values[k].size == widest else n for k in cut for n in (self.name(k),)]
        arrays = "".join(f"{n}, " for n in (*flat, *(f"{n}.reshape(-1)" for n in filled)))
        call = f"run_blocks(block{at}, {rows}, {step}, scratch{at}, ({arrays}){', True' if filled and step < rows else ''})"
        self.lines.append(f"r{at} = {call}" if totals else call)
        for i, s in enumerate(totals):
            self._total(s, f"r{at}", i)

    def _read_outside(self, k: int, region: Region) -> bool:
        return any(k in reads(item) for item in self.items if item is not region) or k in self.visible

    def _total(self, s: Instruction, result: str, i: int) -> None:
        """A reduction over all rows from those of the blocks, block after block, whatever thread had them."""
        a = self.p.values[s.args[0]]
        self.space[f"x{s.out}"] = TOTALS[s.op.name]
        self.space["combine"] = combine
        n = int(np.prod([a.shape[k] for k in axes_of(s, len(a.shape)) or ()]))
        divided = f" / {n}" if s.op.name == "mean" else ""
        self.space[f"y{s.out}"] = self.p.values[s.out].shape
        self.lines.append(f"v{s.out} = combine(x{s.out}, {result}, {i}).reshape(y{s.out}){divided}")

    # Whether a buffer may be written to again
    def untouched(self) -> bool:
        """Whether nobody but the parameters themselves holds the gradients of the last replay."""
        for name, node in self.kept_nodes:
            others = sys.getrefcount(self.space[name]) - self.base[name]
            ours = node.grad is not None and node.grad._data is self.space[name] and sys.getrefcount(node.grad) <= 2
            if others > ours:
                return False
        return True

    def settle(self) -> None:
        """Count who refers to the kept buffers while nobody outside does."""
        self.base = {name: sys.getrefcount(self.space[name]) for name, _ in self.kept_nodes}


def laid_out(like: Any, memory: Any) -> Any:
    """``memory`` as an array whose axes lie as those of ``like`` do: sums depend, in their last bit, on the order of memory."""
    like = np.asarray(like)
    order = sorted(range(like.ndim), key=lambda k: -abs(like.strides[k]))
    back = [order.index(k) for k in range(like.ndim)]
    return memory.reshape([like.shape[k] for k in order]).transpose(back)
