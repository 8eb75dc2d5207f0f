"""A traced step as a flat program: instructions on numbered values, cleaned up without changing a bit of any result.

The clean-up is what a compiler's textbook says: constants are folded, what computes the same is computed once, operations that
change nothing are left out, and what nobody reads is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minigrad.graph import Handle, Node
from minigrad.primitive import Op
from minigrad.tracing import Assigned, Draw, Effect, GradSet, Log, hollow

CONSTANT, INPUT, STATE, OLD_GRAD, DRAW, RESULT = "constant", "input", "state", "old gradient", "draw", "result"


class Ref(NamedTuple):
    """A value, as an operand or inside the parameters of an instruction."""

    value: int


@dataclass(slots=True, eq=False)
class Value:
    """One value of the program.

    Attributes:
        kind: where it comes from: a constant, an input of the step, a Tensor that lives outside (``state``), a gradient that was
            there when the step began, a draw, or an instruction.
        array: of what varies, an array of its shape, dtype and strides; a constant's value.
        source: the position of an input; the Tensor and the version of a state; the function of a draw.
        root: the value whose memory it is a view of; itself if it has memory of its own.
    """

    number: int
    kind: str
    array: Any
    source: Any = None
    root: int = -1

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(getattr(self.array, "shape", ()))

    @property
    def dtype(self) -> Any:
        return getattr(self.array, "dtype", None)

    @property
    def size(self) -> int:
        return int(getattr(self.array, "size", 1))


@dataclass(slots=True, eq=False)
class Instruction:
    """``out = op(args, params)``.

    Attributes:
        where: the line that recorded it.
        view: the place of the operand whose memory the result is a view of, if it is one.
        again: whether it is computed a second time, to save memory: it stays where it is.
    """

    op: Op
    args: tuple[int, ...]
    params: tuple[Any, ...]
    out: int
    where: Any = None
    view: int | None = None
    again: bool = False

    @property
    def reads(self) -> list[int]:
        """The values that it reads, as operands and inside its parameters."""
        return [*self.args, *(q.value for q in self.params if isinstance(q, Ref))]

    def rename(self, now: Callable[[int], int]) -> None:
        """Read ``now(k)`` wherever ``k`` was read."""
        self.args = tuple(map(now, self.args))
        self.params = tuple(Ref(now(q.value)) if isinstance(q, Ref) else q for q in self.params)


@dataclass(slots=True, eq=False)
class Write:
    """``handle`` gets the value (an assignment inside ``no_grad``), or a leaf its ``.grad`` (None: it is forgotten)."""

    target: Any
    value: int | None
    gradient: bool


@dataclass(slots=True, eq=False)
class Call:
    """Something outside the program runs here; Tensors may have other values afterwards."""

    name: str
    call: Callable[[], Any]


Step = Instruction | Write | Call | int
"""What a program does, in order; a bare number is a draw."""


@dataclass(slots=True, eq=False)
class Program:
    """A step as data.

    Attributes:
        values: all values, by number.
        steps: what to do, in order.
        outputs: the values that the step returns.
        said: what was left out and why, for ``explain``.
    """

    values: list[Value]
    steps: list[Step]
    outputs: list[int]
    said: dict[str, int] = field(default_factory=dict)

    def instructions(self) -> Iterator[Instruction]:
        return (s for s in self.steps if isinstance(s, Instruction))

    def find_roots(self) -> None:
        """Say of each result whose memory it is a view of."""
        for s in self.instructions():
            self.values[s.out].root = s.out if s.view is None else self.values[s.args[s.view]].root


class Builder:
    """Reads a :class:`~minigrad.tracing.Log` into a :class:`Program`."""

    def __init__(self, log: Log, inputs: list[Handle]) -> None:
        self.log = log
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self.of_node: dict[Node, int] = {}
        self.constants: dict[Any, int] = {}
        self.states: dict[tuple[int, int], int] = {}
        self.version = 0
        for k, tensor in enumerate(inputs):
            assert tensor.node is not None
            self.of_node[tensor.node] = self.new(INPUT, tensor._data, k)

    def new(self, kind: str, array: Any, source: Any = None) -> int:
        number = len(self.values)
        self.values.append(Value(number, kind, array, source, number))
        return number

    def build(self, outputs: list[Handle]) -> Program:
        for event in self.log.events:
            if isinstance(event, Node):
                self.operation(event)
            elif isinstance(event, Draw):
                self.of_node[event.node] = number = self.new(DRAW, event.handle._data, event.call)
                self.steps.append(number)
            elif isinstance(event, Assigned):
                value = self.node(event.value)
                self.of_node[event.new] = value
                self.steps.append(Write(event.handle, value, False))
            elif isinstance(event, GradSet) and event.leaf.order < self.log.start:
                self.steps.append(Write(event.leaf, None if event.value is None else self.tensor(event.value), True))
            elif isinstance(event, Effect):
                self.steps.append(Call(event.name, event.call))
                self.version += 1
        return Program(self.values, self.steps, [self.tensor(t) for t in outputs])

    def tensor(self, tensor: Handle) -> int:
        if tensor.node is not None:
            self.log.handles.setdefault(tensor.node, tensor)
            return self.node(tensor.node)
        return self.array(tensor._data)

    def node(self, node: Node) -> int:
        known = self.of_node.get(node)
        if known is not None:
            return known
        if node in self.log.old_grads:
            owner = self.log.old_grads[node]
            self.of_node[node] = number = self.new(OLD_GRAD, owner.grad._data if owner.grad is not None else None, owner)
            return number
        handle = self.log.handles[node]
        if node.order < self.log.start:
            return self.state(handle)
        return self.array(handle._data)

    def state(self, handle: Handle) -> int:
        key = id(handle), self.version
        if key not in self.states:
            self.states[key] = self.new(STATE, handle._data, (handle, self.version))
        return self.states[key]

    def array(self, value: Any) -> int:
        """A raw array or number: the value of a node where it is one, else a constant."""
        source = self.log.source(value)
        if source is not None:
            return self.node(source)
        key = (type(value), repr(value)) if np.ndim(value) == 0 else id(value)
        if key not in self.constants:
            self.constants[key] = self.new(CONSTANT, value)
        return self.constants[key]

    def operation(self, node: Node) -> None:
        made = self.log.facts(node)
        args = [self.array(v) if p is None else self.node(p) for v, p in zip(made.operands, node.parents)]
        params = tuple(self.parameter(p) for p in node.params)
        self.of_node[node] = out = self.new(RESULT, made.out)
        self.steps.append(Instruction(node.op, tuple(args), params, out, self.log.lines.get(node), made.view))

    def parameter(self, value: Any) -> Any:
        return Ref(self.array(value)) if isinstance(value, np.ndarray) else value


def key_of(params: tuple[Any, ...]) -> Any:
    """Parameters as something that can be compared and hashed."""
    return repr(params)


def same(a: Program, b: Program) -> str:
    """What differs between two traces of one step; "" if nothing does that may not."""
    if len(a.steps) != len(b.steps):
        return f"one run did {len(a.steps)} things, the next {len(b.steps)}: a branch of Python's depends on what changes"
    for s, t in zip(a.steps, b.steps):
        if type(s) is not type(t):
            return "two runs did different things in turn"
        if isinstance(s, Instruction) and isinstance(t, Instruction):
            at = f" (at {t.where})" if t.where else ""
            if s.op is not t.op or s.args != t.args or key_of(s.params) != key_of(t.params):
                return f"{s.op.name}{key_of(s.params)} was {t.op.name}{key_of(t.params)} in the next run{at}"
            for k in t.reads:
                if a.values[k].kind == CONSTANT and not _equal(a.values[k].array, b.values[k].array):
                    return (
                        f"an operand of {t.op.name} is a number or array that Python computed, and it differs from run to run{at}. "
                        f"Pass it to the step as an argument (as a Tensor or array)"
                    )
    return "" if a.outputs == b.outputs else "two runs returned different things"


def _equal(x: Any, y: Any) -> bool:
    if x is y:
        return True
    if np.ndim(x) or np.ndim(y):
        return bool(np.shape(x) == np.shape(y) and x.dtype == y.dtype and x.tobytes() == y.tobytes())
    return type(x) is type(y) and repr(x) == repr(y)


# Clean-up
def simplify(p: Program, held: Callable[[Value], bool]) -> Program:
    """The same program with less to do. ``held(value)`` says whether somebody outside could change a constant."""
    alias: dict[int, int] = {}
    done: dict[Any, int] = {}
    made: dict[int, Instruction] = {}
    steps: list[Step] = []
    counts = {"constants folded": 0, "computed once": 0, "left out": 0, "read by nobody": 0}
    escaping = {s.value for s in p.steps if isinstance(s, Write)} | set(p.outputs)

    def now(k: int) -> int:
        while k in alias:
            k = alias[k]
        return k

    def fixed(k: int) -> bool:
        return p.values[k].kind == CONSTANT and not held(p.values[k])

    for step in p.steps:
        if isinstance(step, Instruction):
            step.rename(now)
            _shorten(step, p, made)
            made[step.out] = step
            if all(fixed(k) for k in step.reads):
                p.values[step.out].kind = CONSTANT
                counts["constants folded"] += 1
                continue
            if (through := _same_as(step, p, made)) is not None and not (step.op.name == "copy" and step.out in escaping):
                alias[step.out] = through
                counts["left out"] += 1
                continue
            key = step.op, step.args, key_of(step.params)
            if key in done and step.out not in escaping:
                alias[step.out] = done[key]
                counts["computed once"] += 1
                continue
            done.setdefault(key, step.out)
        elif isinstance(step, Write) and step.value is not None:
            step.value = now(step.value)
        steps.append(step)
    p.outputs = [now(k) for k in p.outputs]
    p.steps = _alive(p, steps, counts)
    _own_copies(p)
    p.said = {what: n for what, n in counts.items() if n}
    return p


def _shorten(step: Instruction, p: Program, made: dict[int, Instruction]) -> None:
    """Take an operand from further back: a permutation of a permutation, a reshape of a reshape, what was stretched to broadcast."""
    inner = made.get(step.args[0]) if step.args else None
    if step.op.name in ("any", "all") and inner is not None and inner.op.name == "broadcast_to":
        inner = _stretched(step, inner, p, made)
    name = step.op.name
    if name in ("permute_dims", "reshape", "broadcast_to") and inner is not None and inner.op is step.op:
        if name == "permute_dims":
            step.params = (tuple(inner.params[0][k] for k in step.params[0]),)
        step.args = inner.args
    if step.op.elementwise and len(step.args) > 1:
        shape = p.values[step.out].shape
        for i, k in enumerate(step.args):
            inner = made.get(k)
            if inner is None or inner.op.name != "broadcast_to" or not isinstance(p.values[inner.args[0]].array, np.ndarray):
                continue
            args = (*step.args[:i], inner.args[0], *step.args[i + 1 :])
            if np.broadcast_shapes(*(p.values[a].shape for a in args)) == shape:
                step.args = args


def _stretched(step: Instruction, inner: Instruction, p: Program, made: dict[int, Instruction]) -> Instruction | None:
    """``any`` or ``all`` along axes that a mask was only stretched along is the mask, stretched less: so masks follow gradients back."""
    a, out = p.values[inner.args[0]], p.values[step.out]
    same = a.dtype == bool and out.size and len(a.shape) <= len(out.shape) == len(p.values[inner.out].shape)
    if not same or any(n not in (1, m) for n, m in zip(reversed(a.shape), reversed(out.shape))):
        return inner
    step.op, step.args, step.params, step.view = inner.op, inner.args, (out.shape,), 0
    out.array = np.broadcast_to(a.array, out.shape)
    return made.get(step.args[0])


def _same_as(step: Instruction, p: Program, made: dict[int, Instruction]) -> int | None:
    """The operand that an instruction hands on unchanged."""
    if not step.args:
        return None
    name, a = step.op.name, p.values[step.args[0]]
    out = p.values[step.out]
    if name == "where":
        return _chosen_before(step, p, made)
    if a.shape != out.shape or a.dtype != out.dtype or not hasattr(a.array, "shape"):
        return None
    if name in ("positive", "copy", "astype", "reshape", "broadcast_to"):
        return a.number
    if name in ("any", "all") and a.dtype == bool and step.params[0] == ():
        return a.number
    if name == "permute_dims" and step.params and step.params[0] == tuple(range(len(a.shape))):
        return a.number
    if name in ("multiply", "divide") and _is_one(p.values[step.args[1]]):
        return a.number
    return None


def _chosen_before(step: Instruction, p: Program, made: dict[int, Instruction]) -> int | None:
    """``where(c, x, z)`` is x if that one is ``where(c, ..., z)``; ``where(c == 0, x, z)`` if it is ``where(c, z, ...)``."""
    condition, kept, other = step.args
    before, turned = made.get(kept), made.get(condition)
    if before is None or before.op is not step.op:
        return None
    a, out = p.values[kept], p.values[step.out]
    if (a.shape, a.dtype) != (out.shape, out.dtype):
        return None
    if before.args[0] == condition and before.args[2] == other:
        return kept
    if turned is not None and turned.op.name == "equal" and turned.args[0] == before.args[0] and before.args[1] == other:
        zero = p.values[turned.args[1]]
        return kept if zero.kind == CONSTANT and type(zero.array) is int and zero.array == 0 else None
    return None


def _is_one(v: Value) -> bool:
    return v.kind == CONSTANT and bool(np.all(v.array == 1))


def _alive(p: Program, steps: list[Step], counts: dict[str, int]) -> list[Step]:
    wanted = set(p.outputs) | {s.value for s in steps if isinstance(s, Write) and s.value is not None}
    kept: list[Step] = []
    overwritten: set[Any] = set()
    for step in reversed(steps):
        if isinstance(step, Instruction):
            if step.out not in wanted:
                counts["read by nobody"] += 1
                continue
            wanted.update(step.reads)
        elif isinstance(step, Call):
            overwritten.clear()
        elif isinstance(step, Write):
            # Of several writes with nothing outside between them, the last one counts.
            if (id(step.target), step.gradient) in overwritten:
                continue
            overwritten.add((id(step.target), step.gradient))
        kept.append(step)
    return kept[::-1]


def _own_copies(p: Program) -> None:
    """A copy that only makes a gradient nobody else's memory is left out where its source is nobody else's already."""
    reads = Counter(k for step in p.instructions() for k in step.reads)
    writes = {step.value for step in p.steps if isinstance(step, Write)}
    made = {s.out: s for s in p.instructions()}
    gone: dict[int, int] = {}
    for copied in p.instructions():
        if copied.op.name != "copy" or copied.out in p.outputs:
            continue
        source = copied.args[0]
        fresh = source in made and owns_memory(made[source], p)
        if fresh and source not in p.outputs and source not in writes and reads[source] == 1:
            gone[copied.out] = source
    p.steps = [s for s in p.steps if not (isinstance(s, Instruction) and s.out in gone)]
    for step in p.steps:
        if isinstance(step, Instruction):
            step.rename(lambda k: gone.get(k, k))
        elif isinstance(step, Write) and step.value is not None:
            step.value = gone.get(step.value, step.value)


def owns_memory(step: Instruction, p: Program) -> bool:
    """Whether the result is in memory of its own that it fills."""
    out = p.values[step.out].array
    return step.view is None and (not isinstance(out, np.ndarray) or bool(out.flags.writeable and 0 not in out.strides))


def settle(p: Program, log: Log, of_node: dict[Node, int]) -> None:
    """Let go of the values that vary, of which only shape, dtype and layout are needed from here on."""
    computed = {p_of for node, p_of in of_node.items() if node in log.varying}
    varying = [
        v for v in p.values if (v.kind not in (CONSTANT, RESULT) or v.number in computed) and isinstance(v.array, np.ndarray)
    ]
    for v in varying:
        v.array = hollow(v.array.shape, v.array.dtype, v.array.strides, v.array.flags.writeable)
