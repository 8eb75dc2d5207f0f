"""A recorded graph as plain records: what there is to show, with no drawing library and no engine object in it.

Everything that draws, tabulates or exports a graph reads these records. The gradients in them are not computed here: the
engine's own backward loop runs once more over the same values, and a callback writes down what it sees.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minigrad import backend, guards, naming
from minigrad.errors import ChangedValueError, MinigradError, NotInGraphError, ShapeError
from minigrad.graph import Absent, Handle, Node, Watch, pull_back
from minigrad.viz import formula

Array = np.ndarray[Any, Any]
LIMIT = 300
"""How many values are drawn by default, those nearest to the output: Graphviz lays out about that many in a second or two."""

Key = tuple[Node | None, int, int]
"""What is shown as one box: a node of the graph, or a constant, told by the array or by its place among the operands."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One value of the graph: a box of the drawing.

    Attributes:
        id: a short key, ``n0``, ``n1``, ... in the order of creation.
        kind: ``"input"``, ``"parameter"`` (a leaf that asks for a gradient), ``"frozen"`` (a Parameter that
            does not), ``"constant"``, ``"op"`` or ``"output"``.
        name: the user's name for it: the tensor's own, or else the variable that holds it; None where there is none.
        op: the operation that made it; "" for what the user made.
        gate: that operation's gate pattern in words.
        math: that operation's formula, in terms of ``operands``.
        operands: what ``math`` and ``rules`` call the operands.
        rules: for each operand, what a gradient ``g`` is turned into.
        asked: its parameters, as they would be written: ``axis=0``; between brackets for an index.
        shape: None for a constant that was not kept.
        value: None where it was not kept.
        gradient: what the backward pass brings here; None where there is none or it cannot be known.
        accumulated: a leaf's ``.grad``, where it is not ``gradient``: it holds other backward passes too.
        scope: the path of the module that made it.
        where: file and line of the user's program, kept while inspecting.
        unseen: how many of its uses are by values that a limit left out.
        later: whether ``value`` is the tensor's present one, because the graph did not keep the one it computed with.
        group: id of the innermost frame that it stands in; "" outside of all.
    """

    id: str
    kind: str
    name: str | None
    op: str
    gate: str
    math: str
    operands: tuple[str, ...]
    rules: tuple[str, ...]
    asked: str
    shape: tuple[int, ...] | None
    dtype: str
    value: Array | None
    gradient: Array | None
    accumulated: Array | None
    scope: tuple[str, ...]
    where: str
    unseen: int
    later: bool
    group: str = ""

    @property
    def label(self) -> str:
        """Its name, or the operation's where it has none."""
        return self.name or self.op or self.kind


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """One use of a value by an operation: an arrow of the drawing.

    Attributes:
        source: id of the operand.
        target: id of the value made from it.
        operand: which operand it is, from 0.
        rule: the rule that ran, as text.
        contribution: what flows back along the arrow: upstream x local, in the operand's shape. The contributions of all uses
            sum to the operand's gradient.
        local: the local gradient, for an elementwise operation (in the output's shape) or a scalar output.
    """

    source: str
    target: str
    operand: int
    rule: str
    contribution: Array | None
    local: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Many nodes of the graph as one box, or a frame around boxes. Every node is in one box, so the counts of all boxes add up.

    Attributes:
        id: ``g0``, ``g1``, ... in the order of creation.
        kind: ``"module"``; ``"loop"`` (equal steps, one after the other, with the same weights: a state is handed on), ``"repeat"``
            (other equal pieces in a row), ``"chain"`` (each value used by the next operation only), ``"block"`` (neighbours);
            ``"op"`` (an operation that a repeat or loop around it repeats), ``"leaves"``, ``"constants"`` (arrays that are no nodes).
        name: the module's name in its parent, the operation's, or the leaf's.
        type: the module's class, where it is known.
        path: the scope.
        frame: whether it is drawn as a frame around its members.
        group: id of the frame around it; "" outside of all.
        repeat: how often it comes. A frame that repeats shows one copy, whose boxes stand for those of all copies.
        operations: how many operations are inside, all copies counted.
        leaves: how many leaves are inside; of ``"constants"``, how many arrays.
        parameters: how many numbers the leaves that ask for a gradient hold.
        made: the operations inside as (name, how many), the most frequent first.
        label: what the user calls its output.
        shape: of its output; None where it has several shapes.
        dtype: likewise, or "".
        outputs: how many values are used outside.
        gradient: the norm of the gradient at the output, one for each copy; empty where it is not known.
        weights: the norm of the gradient of the leaves inside.
        held: whether ``weights`` is of the leaves' ``.grad``, because this backward pass cannot be run again.
        value: of the box that the graph ends with, the output's value.
    """

    id: str
    kind: str
    name: str
    type: str
    path: tuple[str, ...]
    frame: bool
    group: str
    repeat: int
    operations: int
    leaves: int
    parameters: int
    made: tuple[tuple[str, int], ...]
    label: str
    shape: tuple[int, ...] | None
    dtype: str
    outputs: int
    gradient: tuple[float, ...]
    weights: float | None
    held: bool
    value: Array | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """All uses of the values of one box by the operations of another, where one of the two is a :class:`Group`.

    Attributes:
        source: id of a value or group.
        target: id of a value or group.
        count: how many uses.
        contribution: what flows back along them in all, where they are uses of one value.
        norm: the Euclidean norm of what flows back: of ``contribution``, or else over all uses, each by itself.
        lag: 0; from one copy of a repeat to a later one, how many copies later.
        label: what the user calls the value that is handed on.
        shape: its shape, if all have the same.
    """

    source: str
    target: str
    count: int
    contribution: Array | None
    norm: float | None
    lag: int
    label: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """A graph, ready to be shown.

    Attributes:
        values: oldest first, each constant before its first use.
        edges: by target, then operand.
        output: id of the value that was asked for.
        differentiated: whether gradients are shown.
        hidden: how many more values the graph has, further from the output.
        cut: ids of the values that some of those are operands of.
        note: what could not be shown, and what to do about it; "" if nothing.
        groups: what was folded, and the frames around modules and repeats, those outside first.
        bundles: the edges from and to what was folded.
    """

    values: tuple[Value, ...]
    edges: tuple[Edge, ...]
    output: str
    differentiated: bool
    hidden: int
    cut: tuple[str, ...]
    note: str
    groups: tuple[Group, ...] = ()
    bundles: tuple[Bundle, ...] = ()

    def __getitem__(self, key: str) -> Value:
        """The value with that id or, failing that, the newest of that name."""
        for value in self.values:
            if value.id == key:
                return value
        for value in reversed(self.values):
            if value.name == key:
                return value
        raise KeyError(f"no value {key!r}; there are {', '.join(v.name or v.id for v in self.values)}")

    def backward(self) -> Iterator[tuple[Value, list[Edge], list[Edge]]]:
        """The values in the order of the backward pass, with the edges to their uses (in that order too) and to their operands."""
        uses: dict[str, list[Edge]] = {v.id: [] for v in self.values}
        operands: dict[str, list[Edge]] = {v.id: [] for v in self.values}
        for edge in self.edges:
            operands[edge.target].append(edge)
        for value in reversed(self.values):
            for edge in operands[value.id]:
                uses[edge.source].append(edge)
            yield value, uses[value.id], operands[value.id]


def records(t: Any, *, gradient: Any = None, backward: bool | None = None, limit: int | None = LIMIT) -> Records:
    """The graph that made ``t`` as plain records.

    Args:
        t: a Tensor.
        gradient: the upstream gradient to start from. By default the one that ``t.backward()`` started from, or 1 for a scalar.
        backward: whether to show gradients. By default they are shown if ``gradient`` is given or ``t.backward()`` has run.
            They are recomputed for the picture: no ``.grad`` changes, nothing is freed, and hooks run once more.
        limit: at most so many values, those nearest to ``t``; None for all.

    Returns:
        The records. Their arrays are read-only views of what the graph holds.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor(3.0, requires_grad=True)
        >>> y = x * x
        >>> y.backward()
        >>> r = records(y)
        >>> [(e.source, e.target, e.contribution.item()) for e in r.edges]
        [('n0', 'n1', 3.0), ('n0', 'n1', 3.0)]
        >>> r["x"].gradient.item()
        6.0
    """
    if not isinstance(t, Handle):
        raise TypeError(f"expected a Tensor, got {type(t).__name__}: {str(t)[:60]}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit}: expected at least 1, or None for the whole graph")
    root = t.node
    if root is None:
        return alone(t)
    graph = everything(root)
    shown, hidden, uses = _nearest(root, graph, limit)
    seed = seed_of(t, root, gradient, backward)
    targets = {key[0] for key in shown if key[0] is not None}
    gradients, parts, note = differentiate(root, graph, targets, seed) if seed is not None else ({}, {}, "")
    names, handles = user_names(t, {id(node) for node in graph}, {key[2] for key in shown if key[1] == -1})
    return assemble(root, shown, hidden, uses, seed is not None, gradients, parts, names, handles, note)


# Which values there are
def everything(root: Node) -> list[Node]:
    """``root`` and all it was made from, oldest first, gradient or not (a loop: a graph can be a million operations deep)."""
    found, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in found:
                found.add(parent)
                stack.append(parent)
    return sorted(found, key=lambda node: node.order)


def key_of(node: Node, i: int) -> Key | None:
    """What operand ``i`` of ``node`` is shown as. An array that is used twice is one box; a number is written at each use."""
    parent = node.parents[i]
    if parent is not None:
        return parent, 0, 0
    value = node.saved[i + 1]
    if value is None:  # an operand that was left out
        return None
    return (None, -1, id(value)) if getattr(value, "ndim", None) is not None else (None, node.order, i)


def _nearest(root: Node, graph: list[Node], limit: int | None) -> tuple[dict[Key, tuple[Node, int]], int, dict[Key, int]]:
    """The boxes nearest to the output, each with a place where its value can be read; how many are left out; all uses counted."""
    start: Key = (root, 0, 0)
    place: dict[Key, tuple[Node, int]] = {start: (root, -1)}
    queue = deque([start])
    uses: dict[Key, int] = defaultdict(int)
    while queue:
        node = queue.popleft()[0]
        for i in range(len(node.parents)) if node is not None else ():
            assert node is not None
            key = key_of(node, i)
            if key is None:
                continue
            uses[key] += 1
            if key not in place:
                place[key] = (node, i)
                queue.append(key)
            elif key != start:
                user, j = place[key]
                # Read a node's value where it was kept; list a constant before its oldest use.
                if not is_kept((user, j)) if key[0] is not None else node.order < user.order:
                    place[key] = (node, i)
    keys = list(place)
    kept = keys[:limit]
    return {key: place[key] for key in kept}, len(keys) - len(kept), uses


def is_kept(place: tuple[Node, int]) -> bool:
    node, i = place
    value = node.saved[i + 1] if node.saved else None
    return value is not None and not isinstance(value, Absent)


# Gradients
def seed_of(t: Handle, root: Node, gradient: Any, backward: bool | None) -> Any:
    """The gradient to start from; None if none are to be shown."""
    if backward is False:
        if gradient is not None:
            raise ValueError("gradient= is given, but backward=False asks for none to be shown; leave one of them out")
        return None
    if gradient is None:
        if root.op is not None and root.grad is not None:
            return getattr(root.grad, "_data", root.grad)
        if not backward:
            return None
        if t._data.size != 1:
            raise ShapeError(f"backward=True on a tensor of shape {root.shape} needs gradient=, an array of that shape")
        gradient = np.ones(root.shape)
    gradient = getattr(gradient, "_data", gradient)
    gradient = backend.namespace(t._data).asarray(gradient, dtype=root.dtype)
    if gradient.shape != root.shape:
        raise ShapeError(f"gradient has shape {gradient.shape}, expected that of the tensor, {root.shape}")
    if not root.requires_grad:
        raise NotInGraphError("no gradients to show: nothing that this tensor was made from asks for one (requires_grad=True)")
    return gradient


def differentiate(
    root: Node, graph: list[Node], targets: set[Node], seed: Any, watch: Watch | None = None, more: Collection[Node] = ()
) -> tuple[dict[Node, Any], dict[tuple[Node, int], tuple[Any, Any]], str]:
    """Run the engine's backward loop over what the graph still holds; what each of ``targets`` and each edge from it got.

    ``watch`` sees every contribution; the gradients of ``more`` are returned too.

    A node whose rules cannot run any more (large values are dropped after their use) leaves the gradients of its operands
    unknown, and so on down from there. Only complete gradients are shown.
    """
    unknown: set[Node] = set()
    for node in reversed(graph):
        for i, _ in node.op.pulls if node.op is not None else ():
            parent = node.parents[i]
            if parent is not None and parent.requires_grad and (node in unknown or not _can_run(node, i)):
                unknown.add(parent)
    wanted = {node for node in graph if node.requires_grad and node not in unknown}
    parts: dict[tuple[Node, int], tuple[Any, Any]] = {}

    def write_down(node: Node, i: int, g: Any, part: Any) -> None:
        if node in targets:
            parts[node, i] = part, _local(node, i, g)
        if watch is not None:
            watch(node, i, g, part)

    note = "Some gradients are not shown: the values they need were not kept. Record inside `with mg.inspect():`."
    try:
        _verify(wanted)
        with np.errstate(all="ignore"):  # whatever there is to warn about, forward and backward have already warned about
            gradients = pull_back({root: seed}, wanted, retain=True, targets=targets.union(more), watch=write_down)
    except MinigradError as error:
        return {}, {}, f"Gradients are not shown: {error}"
    return gradients, parts, note if unknown else ""


def _verify(wanted: set[Node]) -> None:
    """Refuse to compute with values that were written to since, also where backward is over and has no more need of them."""
    guards.verify(wanted)
    freed = [node for node in wanted if node.op is not None and not node.live]
    kept = [guard for node in freed if node.extra is not None for guard in node.extra.guards]
    for owner in {p for node in freed for p in (node, *node.parents) if p is not None and p.extra is not None}:
        kept += owner.extra.handed  # type: ignore[union-attr]
    if any(guards.broken(guard) for guard in kept):
        raise ChangedValueError("values were changed in place since backward; draw before the update, or update out of place")


def _can_run(node: Node, i: int) -> bool:
    """Whether every value that the rule of ``node`` for operand ``i`` reads is still there."""
    return not any(isinstance(node.saved[k], Absent) for k in node.op.needs[i])


def _local(node: Node, i: int, g: Any) -> Any:
    """The local gradient: what the rule makes of an upstream gradient of 1, where one number or array can tell it."""
    op = node.op
    if not op.elementwise and g.size != 1:
        return None
    local = op.rules[i](backend.namespace(g).ones_like(g), *node.saved, *node.params)
    if op.mask is not None:
        local = np.where(op.mask(i, *node.saved[1:]), local, 0)
    return local


# Names
def user_names(t: Handle, nodes: set[int], arrays: set[int]) -> tuple[dict[int, str], dict[int, Handle]]:
    """The names of the user's variables, by identity of a node or array, and the tensors found on the way."""
    handles: dict[int, Handle] = {id(t.node): t}

    def identify(value: Any) -> int | None:
        if hasattr(type(value), "named_parameters"):  # a module: which of its parameters are frozen
            handles.update((id(p.node), p) for _, p in value.named_parameters() if not p.requires_grad and id(p.node) in nodes)
        if isinstance(value, Handle):
            if value.node is not None:
                if id(value.node) not in nodes:
                    return None
                handles.setdefault(id(value.node), value)
                return id(value.node)
            value = value._data
            if id(value) in arrays:
                handles.setdefault(id(value), value)
        return id(value) if id(value) in arrays else None

    names = naming.variables(identify)
    return {k: name for k, name in names.items() if name[0].isalpha()}, handles


def _is_parameter(holder: Handle | None) -> bool:
    """Whether it is a Parameter of nn, which viz does not import."""
    return any(kind.__name__ == "Parameter" for kind in type(holder).__mro__)


# Putting it together
def age(key: Key, shown: dict[Key, tuple[Node, int]]) -> tuple[int, int, int]:
    """By which values are sorted: a constant comes right before the first operation that uses it."""
    node, user = key[0], shown[key]
    return (node.order, 1, 0) if node is not None else (user[0].order, 0, user[1])


def assemble(
    root: Node,
    shown: dict[Key, tuple[Node, int]],
    hidden: int,
    uses: dict[Key, int],
    differentiated: bool,
    gradients: dict[Node, Any],
    parts: dict[tuple[Node, int], tuple[Any, Any]],
    names: dict[int, str],
    handles: dict[int, Handle],
    note: str,
) -> Records:
    ordered = sorted(shown, key=lambda key: age(key, shown))
    ids = {key: f"n{n}" for n, key in enumerate(ordered)}
    values: list[Value] = []
    edges: list[Edge] = []
    cut: list[str] = []
    for key in ordered:
        node, place = key[0], shown[key]
        if node is None:
            values.append(_constant(ids[key], key, place, names, handles))
            continue
        values.append(_value(ids[key], node, place, root, gradients.get(node), names, handles))
        rules = formula.formulas(node.op) if node.op is not None else ()
        for i in range(len(node.parents)):
            operand = key_of(node, i)
            if operand in ids:
                part, local = parts.get((node, i), (None, None))
                edges.append(Edge(ids[operand], ids[key], i, rules[i] if i < len(rules) else "", plain(part), plain(local)))
            elif operand is not None and ids[key] not in cut[-1:]:
                cut.append(ids[key])
    seen = Counter(e.source for e in edges)
    values = [replace(v, unseen=uses[key] - seen[v.id]) for key, v in zip(ordered, values)] if hidden else values
    return Records(tuple(values), tuple(edges), ids.get((root, 0, 0), ""), differentiated, hidden, tuple(cut), note)


def _value(
    key: str, node: Node, place: tuple[Node, int], root: Node, gradient: Any, names: dict[int, str], handles: dict[int, Handle]
) -> Value:
    op, holder = node.op, handles.get(id(node))
    user, i = place
    kept = node.saved[0] if node.saved else None
    kept = None if isinstance(kept, Absent) else kept
    if kept is None and i >= 0 and is_kept(place):
        kept = user.saved[i + 1]
    later = kept is None and holder is not None and op is None and node is not root
    if kept is None and holder is not None:
        kept = holder._data
    kind = (
        "output"
        if node is root and op is not None
        else "op"
        if op is not None
        else "parameter"
        if node.requires_grad
        else "frozen"
        if _is_parameter(holder)
        else "input"
    )
    own = gradient if gradient is None else plain(gradient)
    held = plain(getattr(node.grad, "_data", node.grad)) if op is None else None
    return Value(
        id=key, kind=kind, name=node.name or names.get(id(node)), op=op.name if op else "", gate=op.gate if op else "",
        math=op.math if op else "", operands=formula.operands(op) if op else (), rules=formula.formulas(op) if op else (), asked=formula.parameters(op, node.params) if op else "",
        shape=tuple(node.shape), dtype=str(node.dtype), value=plain(kept), gradient=own,
        accumulated=held if held is not None and (own is None or not _same(held, own)) else None,
        scope=node.scope, where=str(node.where or ""), unseen=0, later=later,
    )  # fmt: skip


def _constant(key: str, constant: Key, place: tuple[Node, int], names: dict[int, str], handles: dict[int, Handle]) -> Value:
    """What is no node: a number, a raw array, or a tensor that asks for no gradient. The last two, if named, are inputs."""
    node, i = place
    raw = node.saved[i + 1]
    value, name = plain(raw), names.get(constant[2])
    holder = handles.get(constant[2])
    name = getattr(holder, "name", None) or name
    return Value(
        id=key, kind="input" if name else "constant", name=name, op="", gate="", math="", operands=(), rules=(), asked="",
        shape=None if value is None else value.shape, dtype="" if not hasattr(raw, "dtype") else str(raw.dtype), value=value,
        gradient=None, accumulated=None, scope=(), where="", unseen=0, later=False,
    )  # fmt: skip


def alone(t: Handle) -> Records:
    """The record of a tensor that no graph knows."""
    name = getattr(t, "name", None) or naming.variables(lambda v: 0 if v is t else None).get(0)
    value = plain(t._data)
    assert value is not None
    alone = Value(
        id="n0", kind="input", name=name, op="", gate="", math="", operands=(), rules=(), asked="", shape=value.shape,
        dtype=str(value.dtype), value=value, gradient=None, accumulated=None, scope=(), where="", unseen=0, later=False,
    )  # fmt: skip
    return Records((alone,), (), "n0", False, 0, (), "")


def plain(value: Any) -> Array | None:
    """A value as a NumPy array that nobody can write to through the record."""
    if value is None or isinstance(value, Absent):
        return None
    array = np.asarray(value) if isinstance(value, (int, float, complex, bool)) else np.asarray(backend.to_numpy(value))
    view = array.view()
    view.flags.writeable = False
    return view


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.tobytes() == np.ascontiguousarray(b, dtype=a.dtype).tobytes()
