"""The recorded graph and the backward pass over it: the heart of minigrad.

A :class:`Node` is one operation that ran: which op, on which parents, and the values that its local-gradient rules will
read. Backward is the chain rule read off that record: visit the nodes newest first, hand each rule the *upstream* gradient,
and add what the rules return (upstream x local) to the parents. Where paths converge, the contributions add up: the law of
total derivatives (notes 001, "Backpropagation", Figure 14).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import attrgetter
from typing import Any, NamedTuple, NoReturn

import numpy as np

from minigrad import bits, blocks, naming
from minigrad.errors import DtypeError, FreedGraphError, MinigradError, ShapeError
from minigrad.halves import is_half
from minigrad.masks import spare
from minigrad.sums import sum_into
from minigrad.threads import lock

OFF, GRAD, ALL, TRACE, TRACE_OFF = range(5)
"""What is recorded: nothing; what asks for gradients; everything, with all values; everything, for a compiled step, outside and
inside ``no_grad``."""
CUT = False
"""``OFF`` inside ``inspect()``: equal to it, and told apart by identity, so that what is lost there is noted (see cuts.py)."""
KEEP = 256
"""Values of at most this many elements are kept even where no rule reads them, so that a graph can be drawn after backward."""


Recording = tuple[int, tuple[str, ...]]
"""What is recorded (a mode) and inside which module (its path). A plain tuple: reading it is part of every operation."""
recording: ContextVar[Recording] = ContextVar("recording", default=(GRAD, ()))
"""A context variable: each thread and each async task has its own."""
orders = itertools.count()
next_order = orders.__next__
_by_age = attrgetter("order")
_making = lock()
_NOTHING: Any = object()
"""What a wanted node has received before its first contribution."""
_shapes: dict[tuple[int, ...], tuple[int, ...]] = {}


def passes(g: Any, *_: Any) -> Any:
    """The rule of a gate that hands the upstream gradient on as it is. The backward pass knows it and saves the call."""
    return g


def _shared(shape: tuple[int, ...]) -> tuple[int, ...]:
    """One tuple for all leaves of a shape, so that operations compare shapes by identity (see primitive.py)."""
    if len(_shapes) > 1000:
        _shapes.clear()
    return _shapes.setdefault(shape, shape)


def within(mode: int) -> Recording:
    """What to record in a block that asks for ``mode``: while a step is traced, everything stays recorded."""
    now, scope = recording.get()
    if now >= TRACE:
        return TRACE_OFF if mode == OFF else TRACE, scope
    return CUT if mode == OFF and (now == ALL or now is CUT) else mode, scope


def is_off() -> bool:
    """Whether gradients are switched off here."""
    return recording.get()[0] in (OFF, TRACE_OFF)


def on() -> int:
    """The mode that records gradients here, whatever surrounds it; everything while inspecting."""
    return ALL if recording.get()[0] == ALL else GRAD


@contextmanager
def record_mode(mode: int) -> Iterator[None]:
    """Record with ``mode`` (OFF, GRAD or ALL) inside the ``with`` block, in this thread only."""
    token = recording.set(within(mode))
    try:
        yield
    finally:
        recording.reset(token)


class Extra:
    """What few nodes have: a name, hooks, a source line, guards over values that somebody else could write to, cuts."""

    __slots__ = ("cuts", "exits", "grad", "guards", "handed", "hooks", "name", "retain", "shared", "where")

    def __init__(self) -> None:
        self.name: str | None = None
        self.hooks: dict[int, Callable[[Any], Any]] = {}
        self.retain = False
        self.grad: Any = None
        self.shared = False
        self.where: naming.Where | None = None
        self.guards: list[Any] = []  # guards.Guard
        self.handed: list[Any] = []  # guards.Handed
        self.cuts: dict[Any, None] = {}  # cuts.Cut: how its values came here without their history
        self.exits: dict[Any, None] = {}  # cuts.Cut: how its values left the graph


class Node:
    """One recorded operation; a leaf (a tensor that the user made) has ``op`` None.

    ``saved`` is ``(output, *operands)``. A value that no rule reads is dropped, and an :class:`Absent` stands in for it,
    which knows ``shape`` and ``dtype``: such a rule asks no more. A saved value plus its parent node *is* the input tensor
    again, so no node points at a tensor, there are no cycles, and reference counting alone frees a graph. ``small`` says that
    the output has at most ``KEEP`` elements, ``live`` that no backward pass has released the saved values.
    """

    __slots__ = (
        "__weakref__", "dtype", "extra", "grad", "live", "op", "order", "params", "parents", "requires_grad", "saved",
        "scope", "shape", "small",
    )  # fmt: skip

    op: Any
    parents: tuple[Node | None, ...]
    saved: tuple[Any, ...]
    params: tuple[Any, ...]
    shape: tuple[int, ...]
    dtype: Any
    order: int
    scope: tuple[str, ...]
    grad: Any
    requires_grad: bool
    live: bool
    small: bool
    extra: Extra | None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def name(self) -> str | None:
        return self.extra.name if self.extra is not None else None

    @property
    def where(self) -> naming.Where | None:
        """The line of the user's program that recorded it, kept while inspecting."""
        return self.extra.where if self.extra is not None else None

    def more(self) -> Extra:
        """This node's :class:`Extra`, made on first use, by one thread."""
        if self.extra is None:
            with _making:
                if self.extra is None:
                    self.extra = Extra()
        return self.extra

    def __repr__(self) -> str:
        kind = self.op.name if self.op else "leaf"
        return f"<Node {self.order}: {kind}{' ' + self.name if self.name else ''}, shape {self.shape}>"


class Absent:
    """What is left of a large value that no rule reads: its shape and dtype. To read more of it is an error, not a guess."""

    __slots__ = ("dtype", "shape", "what")

    def __init__(self, value: Any, what: str) -> None:
        self.shape, self.dtype, self.what = value.shape, value.dtype, what

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise MinigradError(
            f"a rule reads {self.what}, which `needs` does not name, so its value was dropped. Add its letter to needs."
        )

    __getattr__ = __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = __array__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = refuse
    __matmul__ = __rmatmul__ = __neg__ = __abs__ = __invert__ = __iter__ = __float__ = refuse
    __array_ufunc__ = __array_function__ = refuse
    __hash__ = object.__hash__


class Handle:
    """The user's hold on a value, as the tape knows it: an array and the node that made it. Tensor adds everything else."""

    __slots__ = ("__weakref__", "_data", "node")
    _data: Any
    node: Node | None


def tensors_in(value: Any) -> Iterator[Any]:
    """The tensors in an argument or a result: itself, or those in tuples, lists and dicts, however deep."""
    if isinstance(value, Handle):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item)


def leaf(array: Any, requires_grad: bool, name: str | None = None, shared: bool = False) -> Node:
    """The node of a tensor that no operation made; ``shared`` says that somebody else holds the same array."""
    node = Node()
    node.op, node.parents, node.saved, node.params = None, (), (), ()
    node.shape, node.dtype, node.order, node.scope = _shared(array.shape), array.dtype, next_order(), ()
    node.small = math.prod(array.shape) <= KEEP
    node.grad, node.requires_grad, node.live, node.extra = None, requires_grad, True, None
    if name is not None or shared:
        node.more().name, node.more().shared = name, shared
    return node


def ancestors(roots: Iterable[Node]) -> dict[Node, None]:
    """``roots`` and every node that asks for a gradient and that they were made from: the keys of a dict.

    A dict, unlike a set, keeps the order of finding, which is nearly that of age: it sorts in less than half the time.
    """
    found = dict.fromkeys(roots)
    queue = list(found)
    for node in queue:  # which grows meanwhile
        for parent in node.parents:
            if parent is not None and parent not in found and parent.requires_grad:
                found[parent] = None
                queue.append(parent)
    return found


def between(roots: Iterable[Node], targets: Collection[Node]) -> set[Node]:
    """The ancestors of ``roots`` through which a gradient reaches one of ``targets``."""
    wanted = set(targets)
    for node in sorted(ancestors(roots), key=_by_age):
        if not wanted.isdisjoint(node.parents):
            wanted.add(node)
    return wanted


class World(NamedTuple):
    """On what the rules run: plain arrays (``tensor`` None), or Tensors, whose results can be differentiated again."""

    tensor: Callable[[Any, Node], Any] | None = None
    where: Callable[[Any, Any, Any], Any] = bits.where


ARRAYS = World()
Watch = Callable[[Node, int, Any, Any], None]


def pull_back(
    seeds: dict[Node, Any],
    wanted: Collection[Node],
    retain: bool = False,
    world: World = ARRAYS,
    targets: Collection[Node] = (),
    watch: Watch | None = None,
) -> dict[Node, Any]:
    """Carry gradients from the nodes of ``seeds`` back through ``wanted``; return those of the leaves and of ``targets``.

    A parent is always older than its children, so creation order reversed is a topological order: when a node's turn comes,
    all its consumers have had theirs. ``watch(node, i, g, contribution)`` sees every contribution, for those who draw.

    Rules of one or two operands are called with their arguments spelled out: 0.07 us a node less than through a tuple.
    """
    order = sorted(wanted, key=_by_age, reverse=True)
    grads: dict[Node | None, Any] = dict.fromkeys(wanted, _NOTHING)
    grads.update(seeds)  # type: ignore[arg-type]
    finished: dict[Node, Any] = {}
    sums: set[Node] = set()
    masks: dict[Node, Any] = {}
    node, i, tensor = order[0], -1, world.tensor  # mutate: equivalent because what may raise sets the first two itself
    try:
        for node in order:
            g = grads.pop(node)
            if g is _NOTHING:
                continue
            extra, op = node.extra, node.op
            if extra is not None:
                # An error of a hook is none of a rule.
                i = -1  # mutate: equivalent [constant] because any negative number says so
                for hook in list(extra.hooks.values()):
                    given, g = g, hook(g)
                    if g is not given:
                        masks.pop(node, None)  # what it returned is nobody's untaken branch
                if extra.retain:
                    finished[node] = g
            if op is None or (targets and node in targets):
                finished[node] = g
                if op is None or grads.keys().isdisjoint(node.parents):
                    continue
            if not node.live and watch is None:
                raise FreedGraphError(_freed(node))
            parents, exact = node.parents, op.exact
            large = not node.small and exact and tensor is None and g.size >= blocks.BLOCK
            plain = 0 if large else op.plain
            saved = node.saved if tensor is None else rebuild(node, tensor)
            branching: Any = masks
            if plain == 2:
                y, a, b = saved
            elif plain == 1:
                y, a = saved
            else:
                args = (g, *saved, *node.params)
                branching = masks or op.mask
            for i, rule in op.pulls:
                parent = parents[i]
                before = grads.get(parent)
                if before is None:
                    continue
                if rule is passes:
                    part = g
                elif plain == 2:
                    part = rule(g, y, a, b)
                elif plain == 1:
                    part = rule(g, y, a)
                elif large:
                    if before is not _NOTHING and not branching and watch is None and fits(parent, node):
                        grads[parent] = blocks.add_result(before, rule, *args, out=before if parent in sums else None)
                        sums.add(parent)  # mutate: equivalent [call, statement] because it only saves memory
                        continue
                    part = blocks.piecewise(rule, *args, dtype=g.dtype if g.shape == node.shape else None)
                elif op.adds is not None and parent in sums and not branching and watch is None:
                    op.adds(before, *args)
                    continue
                else:
                    part = rule(*args)
                    if op.adds is not None and before is _NOTHING and tensor is None and watch is None and parent.shape:
                        sums.add(parent)  # mutate: equivalent [call, statement] because it only saves memory
                if branching:
                    part = spare(part, node, i, saved, masks, before is not _NOTHING, world)
                if exact:
                    if parent.shape is not node.shape or parent.dtype is not node.dtype:
                        part = fit(part, node, i)
                elif parent.shape != part.shape or parent.dtype is not part.dtype:
                    part = fit(part, node, i)
                if watch is not None:
                    watch(node, i, g, part)
                if before is _NOTHING:
                    grads[parent] = part
                elif large:
                    grads[parent] = blocks.add(before, part, before if parent in sums else None)
                    sums.add(parent)  # mutate: equivalent [call, statement] because it only saves memory
                elif parent in sums:
                    before += part
                else:
                    grads[parent] = total = before + part
                    if tensor is None and total.ndim:
                        sums.add(parent)  # mutate: equivalent [call, statement] because it only saves memory
            if branching:
                masks.pop(node, None)
            if not retain:
                node.live = False
                if not (exact and node.small):
                    release(node)
    except Exception as error:
        if i >= 0 and not isinstance(error, MinigradError):
            error.add_note(f"minigrad: in the gradient rule of {node.op.name} for operand {i + 1}, output shape {node.shape}")
        raise
    return finished


def release(node: Node) -> None:
    """Drop the large values of a node whose turn is over; small ones stay, to be drawn. Inspected nodes keep all."""
    if node.where is None:
        node.saved = node.op.without(range(len(node.saved)), node.saved)


def rebuild(node: Node, tensor: Callable[[Any, Node], Any]) -> list[Any]:
    """The saved values that rules read as Tensors again, each with its place in the graph, so that rules on them are recorded."""
    values = list(node.saved)
    for i in node.op.read:
        source = node.parents[i - 1] if i else node
        if source is not None and type(values[i]) is not Absent:
            values[i] = tensor(values[i], source)
    return values


def fits(parent: Any, node: Node) -> bool:
    """Whether a gradient of ``node`` is one of its parent without :func:`fit`."""
    return bool(parent.shape == node.shape and parent.dtype == node.dtype)


def fit(part: Any, node: Node, i: int) -> Any:
    """Undo broadcasting, and give a contribution its tensor's dtype: the one place in minigrad where either is done.

    Forward copied the operand along some axes; the gradient of a copy is the sum over its uses (notes 001: a *copy* gate is a
    gradient adder), so those axes are summed away.
    """
    parent: Any = node.parents[i]
    shape = parent.shape
    if part.shape != shape:
        extra = part.ndim - len(shape)
        if extra < 0 or any(n not in (1, m) for n, m in zip(shape, part.shape[extra:])):
            raise ShapeError(
                f"{node.op.name}: its gradient rule for operand {i + 1} returned shape {part.shape}, which does not sum to that "
                f"operand's shape {shape} (upstream gradient {node.shape}). Check the rule for a missing transpose or sum."
            )
        stretched = (extra + k for k, n in enumerate(shape) if n == 1)
        part = part.astype(np.float32) if is_half(part.dtype) else part
        axes = (*range(extra), *stretched)
        part = sum_into(None, part, axes, False, None) if type(part) is np.ndarray else part.sum(axis=axes)
        part = part.reshape(shape)
    if part.dtype.kind == "c" != parent.dtype.kind:
        raise DtypeError(
            f"{node.op.name} made complex numbers of a real tensor that requires a gradient, and gradients of complex tensors are not "
            f"supported: keep real and imaginary parts as two tensors (minigrad.fft.Complex)."
        )
    return part if part.dtype == parent.dtype else part.astype(parent.dtype)


def _freed(node: Node) -> str:
    return (
        f"backward: the values that {node.op.name} (shape {node.shape}) saved were released by an earlier backward through "
        f"this graph. Pass retain_graph=True to the earlier call, or compute the output again."
    )
