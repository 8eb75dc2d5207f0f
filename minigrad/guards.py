"""Guards: an array that a rule still needs cannot change unnoticed, not even through a NumPy alias that minigrad never sees.

Only arrays that somebody else can reach need watching: raw operands, tensors that share memory (``mg.asarray``), and tensors
whose ``.data`` was handed out. Each gets a fingerprint when it is recorded or handed out, compared again when backward starts.
An array that nobody else holds costs nothing. Up to ``EXACT`` elements the fingerprint covers every element (0.15 us at 8
elements); beyond that it samples ``EXACT`` elements spread evenly, so that the cost stays at a few microseconds: a write to
*all* of a big array is always seen, a write to a few of its elements only by chance.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from minigrad.errors import ChangedValueError

if TYPE_CHECKING:
    from minigrad.graph import Node

EXACT = 4096


class Guard(NamedTuple):
    """``saved[position]`` of a node is ``array``, and its fingerprint was ``mark``."""

    position: int
    array: weakref.ref[Any]
    mark: int

    def broken(self) -> bool:
        array = self.array()
        return array is not None and fingerprint(array) != self.mark


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


def hand_out(array: Any, node: Node) -> None:
    """Somebody outside now holds ``array``, the value of ``node``: guard what was recorded with it so far."""
    extra = node.more()
    if not extra.shared:
        extra.shared = True
        extra.guards.append(Guard(0, weakref.ref(array), fingerprint(array)))


def check(node: Node, order: list[Node]) -> None:
    """Raise :class:`ChangedValueError` if a value that ``node`` guards was written to and a rule still reads it."""
    for guard in node.extra.guards if node.extra else ():
        if guard.broken():
            if guard.position or (node.op is not None and 0 in node.op.reads(node.parents)):
                raise ChangedValueError(_changed(node, guard.position))
            for user in order:
                own = {g.position for g in user.extra.guards} if user.extra else set()
                for i, parent in enumerate(user.parents, 1):
                    if parent is node and i not in own and i in user.op.reads(user.parents):
                        raise ChangedValueError(_changed(user, i))


def _changed(node: Node, index: int) -> str:
    origin = node if index == 0 else node.parents[index - 1]
    what = "its output" if index == 0 else f"operand {index}"
    name = f" '{origin.name}'" if origin is not None and origin.name else ""
    where = node.extra.where if node.extra else None
    return (
        f"{node.op.name}: {what}{name} (shape {node.shape if index == 0 or origin is None else origin.shape}) was changed in place after {node.op.name} recorded it"
        f"{f' at {where}' if where else ''}, and its gradient rule still needs the old values. "
        f"Write out of place (x = x + 1, not x.data += 1), change it after backward(), or hand the operation a copy."
    )
