"""What a compiled step is made from: the log of one run of it (see :mod:`minigrad.compile`).

While a step is traced, every operation on Tensors is recorded, forward, backward, and under ``no_grad`` too, and this log keeps
what the graph alone does not tell: which Tensor a leaf is, what was drawn at random, what was assigned to whom, and where
something happened that is no operation (an optimiser's step). Nothing here runs unless a step is being traced.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from minigrad import naming
from minigrad.errors import MinigradError
from minigrad.graph import GRAD, KEEP, OFF, TRACE_OFF, Handle, Node, leaf, next_order, recording

Function = TypeVar("Function", bound=Callable[..., Any])


class CompileError(MinigradError):
    """A step that cannot be compiled, or must not be: what it did, and where."""


class Assigned(NamedTuple):
    """The leaf ``old`` of ``handle`` was given the value of ``value``; from then on its leaf is ``new``."""

    handle: Handle
    old: Node
    new: Node
    value: Node


class GradSet(NamedTuple):
    """``.grad`` of a leaf became ``value`` (None: forgotten)."""

    leaf: Node
    value: Handle | None


class Effect(NamedTuple):
    """Something that is no operation ran here, and runs again at each replay: ``call()``."""

    name: str
    call: Callable[[], Any]


class Guard(NamedTuple):
    """A branch of the library's own on a value that the step was given: another outcome needs another program."""

    array: Any
    predicate: Callable[[Any], Any]
    outcome: Any


class Draw(NamedTuple):
    """A leaf was drawn at random; ``call()`` draws again."""

    node: Node
    handle: Handle
    call: Callable[[], Any]


class Made(NamedTuple):
    """The values of an operation: its result (of a large one that varies, a hollow array), its operands where they are raw, and the
    place of the operand whose memory the result is a view of.
    """

    out: Any
    operands: tuple[Any, ...]
    view: int | None


Event = Node | Assigned | GradSet | Effect | Draw


class Log:
    """Everything that one run of a step did, in order.

    Attributes:
        events: the operations (as nodes) and what happened between them.
        handles: for each leaf, the Tensor that holds it.
        seen: nodes by the identity of their arrays, to recognise a raw array as the value of a node. Of large ones that vary there
            is only a weak reference.
        let_go: what a program needs to know of operations whose large values may go.
        plain: the raw arrays that are no node's value.
        guards: branches that the library took on values of inputs.
        modules: the modules that were called, and whether each was in training.
        first: for a leaf that an assignment made, the one that its Tensor had when the step began.
        had_grad: whether each leaf whose ``.grad`` was looked at had one when the step began (None: it was set before that).
        old_grads: the leaves of gradients from before the step, and whose gradients they are.
        made: the Tensors that the run made, weakly.
    """

    def __init__(self) -> None:
        self.start = next_order()
        self.events: list[Event] = []
        self.handles: dict[Node, Handle] = {}
        self.seen: dict[int, tuple[Any, Node]] = {}
        self.let_go: dict[Node, Made] = {}
        self.plain: dict[int, Any] = {}
        self.guards: list[Guard] = []
        self.made: list[weakref.ref[Handle]] = []
        self.varying: set[Node] = set()
        self.lines: dict[Node, naming.Where | None] = {}
        self.modules: dict[Any, bool] = {}
        self.first: dict[Node, Node] = {}
        self.had_grad: dict[Node, bool | None] = {}
        self.old_grads: dict[Node, Node] = {}

    def operand(self, tensor: Handle) -> None:
        """A Tensor is about to be read."""
        node = tensor.node
        if not isinstance(tensor._data, np.ndarray):
            raise CompileError(
                "compile: a program of NumPy calls cannot hold a tensor of another device; leave this step uncompiled"
            )
        if node is not None and (node.op is None or node.order < self.start) and node not in self.handles:
            if node.op is not None and node.requires_grad:
                raise CompileError(
                    f"{_name(node)} was computed before the step by {node.op.name}, and its graph reaches out of the step. "
                    f"Pass x.detach() in, or compute it inside.{_here()}"
                )
            self.handles[node] = tensor
            if node.order < self.start:
                self.see(tensor._data, node)
                self.varying.add(node)

    def operation(self, tensor: Handle, node: Node) -> None:
        """An operation ran, and ``tensor`` holds its result.

        Of large arrays that vary, a program needs shape and layout; they may go as soon as they may in a plain step.
        """
        self.events.append(node)
        self.lines[node] = naming.caller()
        self.made.append(weakref.ref(tensor))
        raw, (out, *operands) = _arrays(node), node.saved
        self.seen[id(out)] = (out, node)
        if any(p in self.varying for p in node.parents) or any(self.source(v) in self.varying for v in raw):
            self.varying.add(node)
        for v in raw:
            self._not_taken_out(v)
        if node in self.varying and any(isinstance(v, np.ndarray) and v.size > KEEP for v in node.saved):
            kept = out
            if isinstance(out, np.ndarray) and out.size > KEEP:
                self.seen[id(out)] = (weakref.ref(out), node)
                kept = hollow(out.shape, out.dtype, out.strides, out.flags.writeable)
            raw_ones = tuple(v if p is None else None for v, p in zip(operands, node.parents))
            self.let_go[node] = Made(kept, raw_ones, view_of(node))
            op, saved = node.op, node.saved
            node.saved = op.keep(node.parents, saved) if node.requires_grad else op.without(range(len(saved)), saved)

    def facts(self, node: Node) -> Made:
        """What a program needs to know of an operation's values."""
        return self.let_go.get(node) or Made(node.saved[0], node.saved[1:], view_of(node))

    def _not_taken_out(self, array: Any) -> None:
        """Refuse an array that is a view of something that varies: an index of a raw array, say."""
        if id(array) in self.plain or self.source(array) is not None or not array.size:
            return
        self.plain[id(array)] = array
        for found, node in self.seen.values():
            other = found() if type(found) is weakref.ref else found
            if node in self.varying and isinstance(other, np.ndarray) and np.may_share_memory(array, other):
                raise CompileError(
                    f"an array of shape {array.shape} was taken out of a Tensor as a raw array and used again: the program would keep "
                    f"its values from the first run. Use minigrad's operations on the Tensor itself.{_here()}"
                )

    def see(self, array: Any, node: Node) -> None:
        """A raw array is the value of a node."""
        if self.source(array) is None:
            self.seen[id(array)] = (array, node)

    def source(self, array: Any) -> Node | None:
        """The node whose value a raw array is."""
        found = self.seen.get(id(array))
        if found is None:
            return None
        held, node = found
        return node if (held() if type(held) is weakref.ref else held) is array else None

    def depends(self, tensor: Handle) -> bool:
        """Whether a Tensor's value can be another at the next call."""
        if tensor.node is None:
            return self.source(tensor._data) in self.varying
        return tensor.node in self.varying or (tensor.node.op is None and tensor.node.order < self.start)


@functools.lru_cache(4096)
def hollow(shape: tuple[int, ...], dtype: Any, strides: tuple[int, ...], writeable: bool = True) -> Any:
    """An array without the memory of one. Nobody may read its elements, so that all of a kind are the same (1 kB each)."""
    return np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, strides, writeable=writeable)


def view_of(node: Node) -> int | None:
    """The place of the operand whose memory a node's value is a view of, as the traced arrays tell.

    NumPy's scalars, which 0-d results are while tracing, share no memory, but the buffers that stand for them do.
    """
    assert node.op is not None
    out, *operands = node.saved
    for i, x in enumerate(operands if not isinstance(node.op.forward, np.ufunc) else ()):
        if isinstance(x, np.generic) or (
            isinstance(out, np.ndarray) and isinstance(x, np.ndarray) and np.may_share_memory(out, x)
        ):
            return i
    return None


active: ContextVar[Log | None] = ContextVar("active", default=None)


def _name(node: Node) -> str:
    return repr(naming.of_node(node)) if naming.of_node(node) else f"a tensor of shape {node.shape}"


def _here() -> str:
    where = naming.caller()
    return f" (at {where})" if where else ""


def _arrays(node: Node) -> list[Any]:
    """The raw arrays among a node's operands and parameters."""
    raw = [v for v, p in zip(node.saved[1:], node.parents) if p is None]
    return [v for v in (*raw, *node.params) if isinstance(v, np.ndarray)]


def read(tensor: Handle, asked: str) -> None:
    """Python is about to look at a value. While a step is traced that would freeze the value into the program."""
    log = active.get()
    if log is not None and log.depends(tensor):
        raise CompileError(
            f"{asked} inside a compiled step: the program is recorded once, so a value that Python reads would stay what it was in "
            f"that run{_here()}. Use mg.where instead of if, return the tensor and read it outside, or leave the step uncompiled."
        )


def varies(tensor: Any) -> bool:
    """Whether a step is being traced, and a value may be another at its next run: then Python must not look at it."""
    log = active.get()
    return log is not None and isinstance(tensor, Handle) and log.depends(tensor)


def guard(array: Any, predicate: Callable[[Any], Any]) -> Any:
    """``predicate(array)``, as a branch that the library takes; a program holds only where the outcome is the same.

    Of a value that the step itself computes, which nobody can look at before a replay, the answer is False: what is done then
    must be right in both cases.
    """
    outcome, log = predicate(array), active.get()
    if log is not None:
        node = log.source(array)
        if node is not None and node.op is not None and node in log.varying:
            return False
        log.guards.append(Guard(array, predicate, outcome))
    return outcome


def drawn(make: Callable[[], Handle]) -> Handle:
    """``make()``, a Tensor of random numbers, which are drawn anew at each replay."""
    tensor, log = make(), active.get()
    if log is not None and tensor.node is not None:
        log.events.append(Draw(tensor.node, tensor, lambda: make()._data))
        log.see(tensor._data, tensor.node)
        log.varying.add(tensor.node)
    return tensor


def assigned(handle: Handle, value: Handle) -> None:
    """``handle`` was given the value of another Tensor in place."""
    log = active.get()
    if log is None or value.node is None:
        return
    old = handle.node if handle.node is not None else leaf(handle._data, False)
    log.handles.setdefault(old, handle)
    new = leaf(value._data, old.requires_grad)
    new.extra, new.grad = old.extra, old.grad
    handle.node = new
    log.handles[new] = handle
    log.first[new] = log.first.get(old, old)
    log.events.append(Assigned(handle, old, new, value.node))
    if value.node in log.varying:
        log.varying.add(new)


def called(module: Any) -> None:
    """A module is being called."""
    log = active.get()
    if log is not None:
        log.modules.setdefault(module, module.training)


def grad_read(node: Node) -> None:
    """A leaf's ``.grad`` is about to be looked at."""
    log = active.get()
    if log is None or node.op is not None:
        return
    owner = log.first.get(node, node)
    if owner.order > log.start:
        return
    log.had_grad.setdefault(owner, node.grad is not None)
    if node.grad is not None:
        held = node.grad.node
        if held is None or held.order < log.start:
            if held is None:
                held = node.grad.node = leaf(node.grad._data, False)
            log.old_grads.setdefault(held, owner)
            log.varying.add(held)


def grad_set(node: Node, value: Handle | None) -> None:
    """A leaf's ``.grad`` was set or forgotten."""
    log = active.get()
    if log is not None and node.op is None:
        owner = log.first.get(node, node)
        log.had_grad.setdefault(owner, None)
        log.events.append(GradSet(owner, value))


def effect(method: Function) -> Function:
    """A method that is no operation and changes what it finds, such as an optimiser's step: replayed by calling it again."""

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        log = active.get()
        if log is None:
            return method(*args, **kwargs)

        def call() -> Any:
            return method(*args, **kwargs)

        token, mode = active.set(None), recording.get()
        now = recording.set((OFF if mode[0] == TRACE_OFF else GRAD, mode[1]))
        try:
            result = call()
        finally:
            recording.reset(now)
            active.reset(token)
        log.events.append(Effect(f"{type(args[0]).__name__}.{method.__name__}", call))
        return result

    return run  # type: ignore[return-value]


def refuse(what: str, fix: str) -> NoReturn:
    """Something that a program could not repeat."""
    raise CompileError(f"{what} inside a compiled step{_here()}: {fix}")
