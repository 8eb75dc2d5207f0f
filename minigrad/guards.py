"""Guards: an array that a rule still needs cannot change unnoticed, not even through a NumPy alias that minigrad never sees.

Only arrays that somebody else can reach need watching: raw operands, tensors that share memory (``mg.asarray``), and tensors
whose ``.data`` was handed out, with their views. What is *recorded* with such an array keeps a fingerprint of it (:class:`Guard`);
an array that is *handed out* after it was recorded is fingerprinted then (:class:`Handed`). Backward compares them before it
starts. An array that nobody else holds costs nothing.

Up to ``EXACT`` elements the fingerprint covers the bytes of every element, with shape and dtype (0.3 us at 8 elements). Beyond, it
is the sum of all words and a sample of ``EXACT`` elements: 0.2 to 0.4 of the time of one NumPy multiplication of that size, so
that a guarded operation with its backward pass costs about a tenth more. Whatever changes the sum is seen, one element among
millions too; what keeps it, a permutation, is seen by the sample unless it moves only a few elements. ``mg.guarding("exact")``,
which the pytest plugin switches on, hashes every byte of every size.

Not seen: writes through a view of a tensor that was itself computed without recording (under ``no_grad``, or from constants
only) and whose array was handed out *before* the operation was recorded, since no node remembers what it is a view of; and writes
by another thread while the backward pass runs.
"""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar, Token
from typing import Any, Literal, NamedTuple

import numpy as np

from minigrad import naming
from minigrad.errors import ChangedValueError
from minigrad.graph import ALL, CUT, Node, recording

EXACT = 4096
Level = Literal["exact", "sums"]
level: ContextVar[Level | None] = ContextVar("level", default=None)
"""How large arrays are fingerprinted in this thread or task; None: as ``usual`` says."""
usual: Level = "exact" if os.environ.get("MINIGRAD_GUARDING") == "exact" else "sums"
WRITTEN = -1
"""The mark that no fingerprint has: Python's ``hash`` never returns it."""
_last_hand_out = -1
"""When, in the numbers that count nodes, an array was last handed out: a graph that is younger need not look for any."""
_views: dict[int, list[Handed]] = {}
"""Of arrays handed out by tensors without a node, views of memory that a tensor with one may have, by the id of its owner."""
VIEWS = 64
"""How many of them are remembered of one owner: a loop over the batches of a large constant hands out any number."""
WATCHED = 256
"""How many guards are looked at with every inspected operation: a millisecond's worth."""
_watched: list[Guard | Handed] = []
"""While inspecting: what is looked at with every operation, to tell between which lines it changed."""
_last_look: naming.Where | None = None


class guarding:  # noqa: N801 (beside no_grad and inspect)
    """How carefully arrays above 4,096 elements are watched that others can write to: ``with mg.guarding("exact"):``.

    ``"sums"``, the default, takes the sum of an array's words and a sample of its elements: it misses only a write that keeps the
    sum and the sample, such as an exchange of two elements. ``"exact"`` hashes every byte, which takes 4 to 20 times as long as
    NumPy takes to multiply two such arrays: for tests and for hunting. The pytest plugin of minigrad switches it on; elsewhere
    the environment variable ``MINIGRAD_GUARDING=exact`` does. Per thread and async task; a decorator too. It is what is
    *recorded* inside that is watched so.

    Raises:
        ValueError: for another word than ``"exact"`` and ``"sums"``.

    Example:
        >>> import minigrad as mg, numpy as np
        >>> x, a = mg.tensor(2.0, requires_grad=True), np.arange(10_000.0)
        >>> with mg.guarding("exact"):
        ...     y = mg.sum(x * a)
        >>> a[[0, 1]] = a[[1, 0]]
        >>> y.backward()
        Traceback (most recent call last):
        ...
        minigrad.errors.ChangedValueError: multiply: operand 2 (shape (10000,)) was changed in place after multiply recorded it...
    """

    def __init__(self, how: Level) -> None:
        if how not in ("exact", "sums"):
            raise ValueError(f"guarding: expected 'exact' or 'sums', got {how!r}")
        self._how = how
        self._tokens: list[Token[Level | None]] = []

    def __enter__(self) -> None:
        self._tokens.append(level.set(self._how))

    def __exit__(self, *error: object) -> None:
        level.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with guarding(self._how):
                return function(*args, **kwargs)

        return inside


class Guard(NamedTuple):
    """``saved[position]`` of a node is ``array``, and its fingerprint was ``mark`` when it was recorded.

    ``changed`` gets, while inspecting, between which lines of the program it was written to.
    """

    position: int
    array: weakref.ref[Any]
    mark: int
    exact: bool = False
    changed: list[str] | None = None


class Part(NamedTuple):
    """The part of an owner's memory that a view of it has, called like a weak reference to the view."""

    owner: weakref.ref[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: Any

    def __call__(self) -> Any:
        owner = self.owner()
        return None if owner is None else np.ndarray(self.shape, self.dtype, owner, self.offset, self.strides)


class Handed(NamedTuple):
    """A node's values are in ``array``, which somebody outside has been able to write to since ``order``."""

    order: int
    array: weakref.ref[Any] | Part
    mark: int
    exact: bool = False
    changed: list[str] | None = None


def broken(guard: Guard | Handed) -> bool:
    """Whether the array is still there and was written to."""
    array = guard.array()
    return array is not None and (guard.mark == WRITTEN or fingerprint(array, guard.exact) != guard.mark)


def is_exact() -> bool:
    """Whether large arrays are hashed in full here."""
    return (level.get() or usual) == "exact"


def fingerprint(array: Any, exact: bool = False) -> int:
    """A hash of the array's shape, dtype and bytes; of the sum and a sample of them above ``EXACT`` elements."""
    if array.size <= EXACT or exact or array.dtype.hasobject:
        return hash((array.shape, array.dtype.char, array.tobytes()))
    flat = array.ravel(order="K")  # no copy, unless there are gaps between the elements
    octets = flat.view(np.uint8)
    whole = octets.size & -8
    total, rest = int(octets[:whole].view(np.uint64).sum()), octets[whole:].tobytes()
    sample = flat[_places(flat.size) if isinstance(flat, np.ndarray) else slice(None, None, flat.size // EXACT)]
    return hash((array.shape, array.dtype.char, total, rest, sample.tobytes()))


@functools.lru_cache(64)
def _places(size: int) -> Any:
    """``EXACT`` places, one in each of as many equal parts, at another place in each: no column of a matrix escapes them."""
    k = np.arange(EXACT)
    return ((k + k * 0.6180339887498949 % 1.0) * (size / EXACT)).astype(np.intp)


def is_array(value: Any) -> bool:
    """Whether somebody could write into ``value``."""
    return getattr(value, "ndim", None) is not None and hasattr(value, "flags") and hasattr(value, "__setitem__")


def protect(node: Node, values: tuple[Any, ...]) -> None:
    """Guard those operands of a new node that its rules read and that somebody else can reach."""
    inspecting, reads, op = _inspecting(), None, node.op
    if inspecting:
        _look()
    for i, parent in enumerate(node.parents, 1):
        value = values[i]
        if is_array(value) if parent is None else parent.extra is not None and parent.extra.shared:
            reads = op.reads(node.parents) if reads is None else reads
            if i in reads:
                _guard(node, i, value, inspecting)
            if not op.elementwise and _owner(values[0]) is _owner(value):  # the output is a view of it
                node.more().shared = True
                if 0 in reads:
                    _guard(node, 0, values[0], inspecting)


def _guard(node: Node, position: int, value: Any, inspecting: bool) -> None:
    exact = value.size > EXACT and is_exact()
    guard = Guard(position, weakref.ref(value), fingerprint(value, exact), exact)
    node.more().guards.append(_watch(guard) if inspecting else guard)


def hand_out(array: Any, node: Node | None, now: int) -> None:
    """Somebody outside now holds ``array``, the value of ``node``: guard what has been recorded with its memory so far."""
    owner = _owner(array)
    earlier = () if node is None or node.extra is None else node.extra.handed
    if _is_part(array, owner) if node is None else all(handed.array() is not owner for handed in earlier):
        reachable = owner if node is not None else array
        exact = reachable.size > EXACT and is_exact()
        handed = Handed(now, _reference(array, owner, node), fingerprint(reachable, exact), exact)
        _hand(array, node, _watch(handed) if _inspecting() else handed)


def _reference(array: Any, owner: Any, node: Node | None) -> weakref.ref[Any] | Part:
    """To the whole memory that ``array`` is a view of, from where a node leads there; without a node to the view's part of it."""
    whole = weakref.ref(owner)
    if node is not None:
        return whole
    start, first = (a.__array_interface__["data"][0] for a in (owner, array))
    return Part(whole, first - start, array.shape, array.strides, array.dtype)


def _inspecting() -> bool:
    mode = recording.get()[0]
    return mode == ALL or mode is CUT


def _watch(guard: Any) -> Any:
    """The same guard with a place for what :func:`_look` finds out."""
    guard = guard._replace(changed=[])
    _watched[:] = [*_watched, guard][-WATCHED:]
    return guard


def _look() -> None:
    """Note what has changed since the last look, and where the program is now."""
    global _last_look
    here = naming.caller()
    for guard in _watched[:]:
        if broken(guard):
            guard.changed.append(f"between {_last_look} and {here}")  # type: ignore[union-attr]
    _watched[:] = [guard for guard in _watched if not guard.changed and guard.array() is not None]
    _last_look = here


def written(array: Any, node: Node | None, now: int) -> None:
    """Minigrad itself has written into ``array``: whatever was recorded with its memory so far is known to have changed."""
    owner = _owner(array)
    if node is not None or _is_part(array, owner):  # else what was recorded with it has a guard of its own
        at = [f"at {naming.caller()}"] if _inspecting() else None
        _hand(array, node, Handed(now, _reference(array, owner, node), WRITTEN, changed=at))


def _is_part(array: Any, owner: Any) -> bool:
    """Whether ``array`` is a view of memory that can be told by offset and strides."""
    return owner is not array and type(owner) is np.ndarray and owner.flags.c_contiguous


def _hand(array: Any, node: Node | None, handed: Handed) -> None:
    global _last_hand_out
    if node is None:
        _hand_view(_owner(array), handed)
    else:
        owner = _owner(array)
        for origin in _origins(node) if owner is not array else (node,):
            extra = origin.more()
            extra.shared = True
            others = (h for h in extra.handed if h.array() is not None and h.array() is not owner)
            extra.handed = [*others, handed]
    _last_hand_out = handed.order


def _hand_view(owner: Any, handed: Handed) -> None:
    """Keep of each part its latest hand-out, and the latest before which it is known to have changed."""
    kept = [h for h in _views.get(id(owner), ()) if h.array.owner() is owner]  # type: ignore[union-attr]
    place = handed.array[1:]  # type: ignore[index]
    same = [h for h in kept if h.array[1:] == place]  # type: ignore[index]
    others = [h for h in kept if h.array[1:] != place]  # type: ignore[index]
    changed = [h._replace(mark=WRITTEN) for h in same if broken(h)]
    _views[id(owner)] = [*others, *changed[-1:], handed][-VIEWS:]
    if len(_views) % 64 == 0:
        for key, old in list(_views.items()):
            if old[-1].array() is None:
                _views.pop(key, None)


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
                if node.live and broken(guard) and guard.position in _reads(node, nodes):
                    raise ChangedValueError(_told(node, guard.position, guard))
    if _last_hand_out >= 0 and any(node.order < _last_hand_out for node in nodes if node.op is not None):
        _verify_handed_out(nodes)


def _verify_handed_out(nodes: Collection[Node]) -> None:
    """The same for arrays that were handed out after they were recorded; constants too, which no gradient visits."""
    extras = [p.extra for p in {p for node in nodes for p in (node, *node.parents)} if p is not None]
    handed = {id(h): h for extra in extras if extra is not None for h in extra.handed}
    oldest = min(node.order for node in nodes if node.op is not None)
    views = [h for kept in list(_views.values()) for h in kept if h.order > oldest]
    changed = [(h, h.array()) for h in (*handed.values(), *views) if broken(h)]
    for node in nodes if changed else ():
        if node.op is not None and node.live:
            guarded = {guard.position for guard in node.extra.guards} if node.extra is not None else set()
            for i in _reads(node, nodes) - guarded:
                for h, array in changed if is_array(node.saved[i]) else ():
                    if np.may_share_memory(node.saved[i], array) and (node.order < h.order or id(h) in handed):
                        raise ChangedValueError(_told(node, i, h))


def _reads(node: Node, nodes: Collection[Node]) -> set[int]:
    """Positions of the saved values that are read on the way to the parents in ``nodes``."""
    return {k for i, _ in node.op.pulls if node.parents[i] in nodes for k in node.op.needs[i]}


def _told(node: Node, index: int, guard: Guard | Handed) -> str:
    origin = node if index == 0 else node.parents[index - 1]
    what = "its output" if index == 0 else f"operand {index}"
    called = naming.of_node(origin)
    name = f" '{called}'" if called else ""
    where = f" at {node.where}" if node.where is not None else ""
    if guard.changed:
        changed = f" It was changed {guard.changed[-1]}."
    elif node.where is not None and any(watched is guard for watched in _watched):
        changed = f" It was changed between {_last_look} and {naming.caller()}."
    else:
        changed = ""
    return (
        f"{node.op.name}: {what}{name} (shape {node.saved[index].shape}) was changed in place after {node.op.name} recorded it"
        f"{where}, and its gradient rule still needs the old values.{changed} "
        f"Write out of place (x = x + 1, not x.data += 1), change it after backward(), or hand the operation a copy."
    )
