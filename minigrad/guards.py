"""Guards: an array that a rule still needs cannot change unnoticed, not even through a NumPy alias that minigrad never sees.

Only arrays that somebody else can reach need watching: raw operands, tensors that share memory (``mg.asarray``), and tensors
whose ``.data`` was handed out, with their views. What is *recorded* with such an array keeps a fingerprint of it (:class:`Guard`);
an array that is *handed out* after it was recorded is fingerprinted then (:class:`Handed`). Backward compares them before it
starts. An array that nobody else holds costs nothing. Up to ``EXACT`` elements the fingerprint covers every element (0.15 us at
8 elements); beyond that it samples ``EXACT`` elements spread evenly, so that the cost stays at a few microseconds: a write to
*all* of a big array is always seen, a write to a few of its elements only by chance.

Not seen: writes through a view of a tensor that was itself computed without recording (under ``no_grad``, or from constants
only), since no node remembers what it is a view of.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from minigrad import naming
from minigrad.errors import ChangedValueError
from minigrad.graph import Node

EXACT = 4096
_last_hand_out = -1
"""When, in the numbers that count nodes, an array was last handed out: a graph that is younger need not look for any."""


class Guard(NamedTuple):
    """``saved[index]`` of a node is ``array``, and its fingerprint was ``mark`` when it was recorded."""

    position: int
    array: weakref.ref[Any]
    mark: int


class Handed(NamedTuple):
    """A node's values are in ``array``, which somebody outside has been able to write to since ``order``."""

    order: int
    array: weakref.ref[Any]
    mark: int


def broken(guard: Guard | Handed) -> bool:
    """Whether the array is still there and was written to."""
    array = guard.array()
    return array is not None and fingerprint(array) != guard.mark


def fingerprint(array: Any) -> int:
    """A hash of the array's bytes, of an even sample of them above ``EXACT`` elements."""
    if array.size > EXACT:
        array = array.reshape(-1)[:: array.size // EXACT] if array.flags.c_contiguous else array.flat[:: array.size // EXACT]
    return hash(array.tobytes())


def is_array(value: Any) -> bool:
    """Whether somebody could write into ``value``."""
    return getattr(value, "ndim", None) is not None and hasattr(value, "flags") and hasattr(value, "__setitem__")


def protect(node: Node, values: tuple[Any, ...]) -> None:
    """Guard those operands of a new node that its rules read and that somebody else can reach."""
    reads = None
    for i, parent in enumerate(node.parents, 1):
        value = values[i]
        if is_array(value) if parent is None else parent.extra is not None and parent.extra.shared:
            reads = node.op.reads(node.parents) if reads is None else reads
            if i in reads:
                node.more().guards.append(Guard(i, weakref.ref(value), fingerprint(value)))
            if _owner(values[0]) is _owner(value):  # the output is a view of it
                node.more().shared = True
                if 0 in reads:
                    node.more().guards.append(Guard(0, weakref.ref(values[0]), fingerprint(values[0])))


def hand_out(array: Any, node: Node, now: int) -> None:
    """Somebody outside now holds ``array``, the value of ``node``: guard what has been recorded with its memory so far."""
    owner = _owner(array)
    if node.extra is None or all(handed.array() is not owner for handed in node.extra.handed):
        _hand(array, node, Handed(now, weakref.ref(owner), fingerprint(owner)))


WRITTEN = -1
"""The mark that no fingerprint has: Python's ``hash`` never returns it."""


def written(array: Any, node: Node, now: int) -> None:
    """Minigrad itself has written into ``array``: whatever was recorded with its memory so far is known to have changed."""
    _hand(array, node, Handed(now, weakref.ref(_owner(array)), WRITTEN))


def _hand(array: Any, node: Node, handed: Handed) -> None:
    global _last_hand_out
    owner = handed.array()
    for origin in _origins(node) if owner is not array else (node,):
        extra = origin.more()
        extra.shared = True
        others = (h for h in extra.handed if h.array() is not None and h.array() is not owner)
        extra.handed = [*others, handed]
    _last_hand_out = handed.order


def _owner(array: Any) -> Any:
    """The array whose memory ``array`` is a view of, or itself."""
    while isinstance(getattr(array, "base", None), type(array)):
        array = array.base
    return array


def _origins(node: Node) -> Iterator[Node]:
    """``node`` and the nodes whose memory it may be a view of: up through operations that only arrange what they are given."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        if node.op is not None and not node.op.elementwise and not any(node.op.needs):
            stack += [parent for parent in node.parents if parent is not None]


def verify(nodes: Collection[Node]) -> None:
    """Raise :class:`ChangedValueError` if a value that the rules of ``nodes`` still read was written to."""
    for node in nodes:
        if node.extra is not None:
            for guard in node.extra.guards:
                if node.live and guard.position in _reads(node, nodes) and broken(guard):
                    raise ChangedValueError(_changed(node, guard.position))
    if _last_hand_out >= 0 and any(node.order < _last_hand_out for node in nodes if node.op is not None):
        _verify_handed_out(nodes)


def _verify_handed_out(nodes: Collection[Node]) -> None:
    """The same for arrays that were handed out after they were recorded; constants too, which no gradient visits."""
    extras = [p.extra for p in {p for node in nodes for p in (node, *node.parents)} if p is not None]
    handed = {id(h): h for extra in extras if extra is not None for h in extra.handed}
    changed = [h.array() for h in handed.values() if broken(h)]
    for node in nodes if changed else ():
        if node.op is not None and node.live:
            guarded = {guard.position for guard in node.extra.guards} if node.extra is not None else set()
            for i in _reads(node, nodes) - guarded:
                if is_array(node.saved[i]) and any(np.may_share_memory(node.saved[i], array) for array in changed):
                    raise ChangedValueError(_changed(node, i))


def _reads(node: Node, nodes: Collection[Node]) -> set[int]:
    """Positions of the saved values that are read on the way to the parents in ``nodes``."""
    return {k for i, _ in node.op.pulls if node.parents[i] in nodes for k in node.op.needs[i]}


def _changed(node: Node, index: int) -> str:
    origin = node if index == 0 else node.parents[index - 1]
    what = "its output" if index == 0 else f"operand {index}"
    called = naming.of_node(origin)
    name = f" '{called}'" if called else ""
    where = f" at {node.where}" if node.where is not None else ""
    return (
        f"{node.op.name}: {what}{name} (shape {node.saved[index].shape}) was changed in place after {node.op.name} recorded it"
        f"{where}, and its gradient rule still needs the old values. "
        f"Write out of place (x = x + 1, not x.data += 1), change it after backward(), or hand the operation a copy."
    )
