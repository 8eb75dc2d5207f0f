"""``viz.memory(loss)``: what a recorded graph keeps for its backward pass, which rule needs it, until when, and the peak."""

from __future__ import annotations

import gc
import html
import math
import sys
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import arena, backend, blocks, guards, naming
from minigrad.errors import FreedGraphError, MinigradError, NotInGraphError, ShapeError
from minigrad.graph import KEEP, Absent, Handle, Node, ancestors, pull_back
from minigrad.viz import format as fmt
from minigrad.viz.dot import write

ROWS = 30
"""How many rows the text shows, the largest first."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One array in memory, counted once however many operations keep it; of a view, the array that it is a view of.

    Attributes:
        kind: ``"parameter"``, ``"gradient"``, ``"input"`` (a constant, or a tensor that asks for no gradient) or ``"activation"``.
        name: what the user calls it; None where it has no name.
        op: the operation that made it; "" for what the user made.
        scope: the path of the module that made it or, of a parameter, that used it first.
        where: ``file:line``, kept while inspecting.
        shape: of the value.
        dtype: of the value.
        bytes: how many it takes.
        needs: the rules that will read it: ``"matmul for b"`` is the rule of a matmul for its second operand.
        until: the step of the backward pass (1 is the output's) after which nothing of the graph keeps it; None if it stays: a
            variable holds it, or it is small enough to be kept for drawing.
    """

    kind: str
    name: str | None
    op: str
    scope: tuple[str, ...]
    where: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    needs: tuple[str, ...]
    until: int | None


@dataclass(frozen=True, slots=True)
class Memory:
    """What :func:`memory` found: ``str()`` gives a table, a notebook shows the picture.

    Attributes:
        rows: the arrays, the largest first.
        totals: bytes by kind; ``"saved"`` are the activations that go as the backward pass proceeds; ``"tape"`` are its nodes.
        scopes: bytes of activations by module path, the largest first.
        timeline: (step, bytes): one step for each operation forward (negative steps, up to 0), then one for each backward.
        peak: the largest number of bytes during backward, and with it the gradients and what the rules use while they run.
        peak_at: the step where that is, and its operation.
        note: what could not be said, and why.
    """

    rows: tuple[Kept, ...]
    totals: Mapping[str, int]
    scopes: Mapping[str, int]
    timeline: tuple[tuple[int, int], ...]
    peak: int | None
    peak_at: tuple[int, str]
    note: str = field(default="")

    def __str__(self) -> str:
        t = self.totals
        lines = [
            (
                f"{size(t['saved'])} saved for backward, {size(t['parameter'])} of parameters, {size(t['gradient'])} of gradients, "
                f"{size(t['input'])} of inputs, {size(t['tape'])} for the tape itself"
            )
        ]
        if self.peak is not None:
            step, op = self.peak_at
            lines[0] += f"; backward will peak at {size(self.peak)}, in step {step} of {self.timeline[-1][0]} ({op})"
        told = [
            [size(r.bytes), r.kind, r.name or "", r.op, fmt.shape(r.shape), _list(r.needs), _until(r)] for r in self.rows[:ROWS]
        ]
        lines += ["", *_aligned(["bytes", "kind", "name", "operation", "shape", "needed by the rule of", "until step"], told)]
        if len(self.rows) > ROWS:
            rest = sum(r.bytes for r in self.rows[ROWS:])
            lines.append(f"... and {len(self.rows) - ROWS} smaller arrays, {size(rest)} in all")
        if self.scopes:
            lines += ["", *_aligned(["bytes", "activations of module"], [[size(n), scope] for scope, n in self.scopes.items()])]
        return "\n".join([*lines, *([self.note] if self.note else [])])

    __repr__ = __str__

    def svg(self, width: int = 720, height: int = 300) -> str:
        """The timeline as an SVG picture: what is kept after each operation forward, and the most there is in each step backward."""
        return _picture(self, width, height)

    def save(self, path: str | Path) -> Path:
        """Write the picture to ``path`` (``.svg``) or the table (``.txt``).

        Raises:
            ValueError: for another ending.
        """
        target = Path(path)
        text = {".svg": self.svg, ".txt": lambda: f"{self}\n"}.get(target.suffix)
        if text is None:
            raise ValueError(f"save: {target.name!r}: expected a name that ends in .svg or .txt")
        write(target, text().encode("utf-8"))
        return target

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        table = f'<pre style="line-height: 1.3">{html.escape(str(self))}</pre>'
        return {"text/plain": str(self), "text/html": f"{self.svg()}{table}"}


def memory(t: Any, gradient: Any = None) -> Memory:
    """What the graph of ``t`` keeps in memory, why, until when, and how much its backward pass will take at most.

    Bytes are those of arrays. The peak is that of a rehearsal: the engine's backward loop runs once with nothing freed, so that
    every rule tells what it allocates (measured by ``tracemalloc``), and what the real pass will have released by then is taken
    off. Large arrays are worked on in pieces by a few threads, and each piece in work more or less is some hundred kilobytes more or
    less. No ``.grad`` changes; hooks run once more; it takes the time of a few backward passes, and its memory once.

    Args:
        t: a Tensor, before ``t.backward()``: what backward has released is no longer there to be counted.
        gradient: the upstream gradient to start from; may be left out for a tensor with one element.

    Returns:
        A :class:`Memory`; ``print`` it.

    Raises:
        TypeError: if ``t`` is no Tensor.
        NotInGraphError: if nothing that it was computed from asks for a gradient.
        ShapeError: if ``gradient`` is needed and missing, or does not have its shape.
        FreedGraphError: if backward has already run.

    Example:
        >>> import numpy as np, minigrad as mg
        >>> w = mg.tensor(np.ones((1000, 1000)), dtype="float32", requires_grad=True)
        >>> x = mg.ones((1000, 1000))
        >>> loss = mg.mean(mg.tanh(x @ w))
        >>> found = memory(loss)
        >>> found.totals["saved"], found.totals["parameter"]
        (4000000, 4000000)
        >>> [(r.op, r.needs, r.until) for r in found.rows if r.kind == "activation" and r.bytes > 4]
        [('tanh', ('tanh for a',), 2)]
    """
    if not isinstance(t, Handle):
        raise TypeError(f"memory: expected a Tensor, got {type(t).__name__}")
    root = t.node
    if root is None or not root.requires_grad:
        raise NotInGraphError("memory: this tensor does not depend on any tensor with requires_grad=True")
    order = sorted(ancestors([root]), key=lambda node: -node.order)
    if any(not node.live for node in order if node.op is not None):
        raise FreedGraphError("memory: backward has already run and released what the graph kept; ask before it")
    names = naming.variables(lambda v: id(v.node) if isinstance(v, Handle) and v.node is not None else None)
    arrays = _collect(
        order, _outside()
    )  # after names: reading a frame's variables lets go of deleted ones (before Python 3.13)
    profile = _rehearse(root, order, _seed(t, root, gradient))
    return _assemble(order, arrays, profile, names)


# What is there
@dataclass(slots=True)
class _Array:
    """An array (no view) with the nodes that keep it."""

    array: Any
    value: Any
    node: Node | None
    kind: str
    outside: bool
    holders: list[tuple[Node, int]] = field(default_factory=list)
    until: int | None = None


def _outside() -> dict[int, Node | None]:
    """The arrays that tensors alive hold, with their nodes: they stay, whatever the graph lets go. Leaves come before their views."""
    held = [x for x in gc.get_objects() if issubclass(type(x), Handle) and hasattr(x, "_data")]
    held.sort(key=lambda x: x.node is None or x.node.op is not None)
    found: dict[int, Node | None] = {}
    for x in held:
        found.setdefault(id(_base(x._data)), x.node)
    return found


def _base(array: Any) -> Any:
    while isinstance(getattr(array, "base", None), type(array)):
        array = array.base
    return array


def _collect(order: list[Node], outside: dict[int, Node | None]) -> dict[int, _Array]:
    """Every array that the graph keeps, with who keeps it, found at its maker where that is there."""
    arrays: dict[int, _Array] = {}
    for node in reversed(order):
        for k, value in enumerate(node.saved):
            if isinstance(value, Absent) or getattr(value, "nbytes", None) is None or getattr(value, "ndim", None) is None:
                continue
            owner = _base(value)
            maker = outside.get(id(owner))
            if maker is None or maker.op is not None:  # not a view of a leaf
                maker = node if k == 0 else node.parents[k - 1]
            found = arrays.get(id(owner))
            if found is None:
                asks = maker is not None and maker.requires_grad
                made = maker is not None and maker.op is not None
                kind = "activation" if made else "parameter" if asks else "input"
                found = arrays[id(owner)] = _Array(owner, value, maker, kind, id(owner) in outside)
            found.holders.append((node, k))
    for found in arrays.values():
        found.outside = found.outside or (found.kind == "input" and _held_elsewhere(found))
    step = {node: n for n, node in enumerate((node for node in order if node.op is not None), 1)}
    for found in arrays.values():
        lets_go = all(_drops(node, node.saved[k]) for node, k in found.holders)
        found.until = max(step[node] for node, _ in found.holders) if lets_go and not found.outside else None
    return arrays


def _held_elsewhere(found: _Array) -> bool:
    """Whether a raw array that the user gave is held by more than the graph, its views there and this module."""
    values = {id(node.saved[k]): node.saved[k] for node, k in found.holders}
    slots = sum(node.saved[k] is found.array for node, k in found.holders)
    views = sum(value is not found.array for value in values.values())
    ours = 2 + (found.value is found.array) + (id(found.array) in values)  # found, the argument of getrefcount; value, values
    return sys.getrefcount(found.array) > slots + views + ours


def _drops(node: Node, value: Any) -> bool:
    """Whether backward drops ``value`` from ``node`` when its turn is over."""
    return node.where is None and not (node.op.exact and node.small) and value.size > KEEP


def _seed(t: Handle, root: Node, gradient: Any) -> Any:
    if gradient is None:
        if t._data.size != 1:
            raise ShapeError(f"memory: the tensor has shape {root.shape}: pass gradient=, an array of that shape")
        return backend.namespace(t._data).ones(root.shape, dtype=root.dtype)
    gradient = backend.namespace(t._data).asarray(getattr(gradient, "_data", gradient), dtype=root.dtype)
    if gradient.shape != root.shape:
        raise ShapeError(f"memory: gradient has shape {gradient.shape}, expected that of the tensor, {root.shape}")
    return gradient


# What backward will take
@dataclass(slots=True)
class _Profile:
    """Of each rule that ran: its node and the most that had been allocated since the start; then what is there at the end.

    ``copied`` are the leaves whose gradients are views of other arrays, and are copied into ``.grad``.
    """

    events: list[tuple[Node, int]]
    end: int
    finished: int
    note: str = ""
    copied: frozenset[Node] = frozenset()


def _rehearse(root: Node, order: list[Node], seed: Any) -> _Profile:
    """Run the backward loop with nothing released, and note what is allocated."""
    events: list[tuple[Node, int]] = []
    if not isinstance(seed, np.ndarray):
        return _Profile([], 0, 0, "The peak is not known: what a GPU allocates, tracemalloc does not see.")
    ours = not tracemalloc.is_tracing()
    if ours:
        tracemalloc.start(1)
    try:
        wanted = ancestors([root])
        guards.verify(wanted)
        gc_was = gc.isenabled()
        gc.disable()
        start = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        cost = [0]

        def note_down(node: Node, i: int, g: Any, part: Any) -> None:
            events.append((node, tracemalloc.get_traced_memory()[1] - start - cost[0]))
            cost[0] += 150  # the tuple and numbers just noted
            tracemalloc.reset_peak()

        try:
            with np.errstate(all="ignore"):
                found = pull_back({root: seed}, wanted, retain=True, watch=note_down)
        finally:
            if gc_was:
                gc.enable()
        last = tracemalloc.get_traced_memory()[1] - start - cost[0]
        owners = {id(_base(g)): _base(g).nbytes for g in map(_raw, found.values())}
        copied = frozenset(node for node, g in found.items() if not arena.owns(_raw(g)))
        return _Profile(events, last, sum(owners.values()), copied=copied)
    except MinigradError as error:
        return _Profile([], 0, 0, f"The peak is not known: {error}")
    finally:
        if ours:
            tracemalloc.stop()


def _raw(g: Any) -> Any:
    return getattr(g, "_data", g)


def _assemble(order: list[Node], arrays: dict[int, _Array], profile: _Profile, names: Mapping[int, str]) -> Memory:
    ops = [node for node in order if node.op is not None]
    leaves = [node for node in order if node.op is None]
    seen = {a.node for a in arrays.values() if a.kind == "parameter"}
    rows = [_row(a, names) for a in arrays.values()]
    rows += [_leaf_row("parameter", node, names) for node in leaves if node not in seen]
    rows += [_leaf_row("gradient", node, names) for node in leaves if node.grad is not None]
    rows.sort(key=lambda r: (-r.bytes, r.kind, r.name or ""))
    totals = {kind: sum(r.bytes for r in rows if r.kind == kind) for kind in ("parameter", "gradient", "input", "activation")}
    totals["saved"] = sum(r.bytes for r in rows if r.kind == "activation" and r.until is not None)
    scopes: dict[str, int] = defaultdict(int)
    for r in rows:
        for depth in range(1, len(r.scope) + 1) if r.kind == "activation" else ():
            scopes[".".join(r.scope[:depth])] += r.bytes
    totals["tape"] = _tape(order)
    there = sum(totals[kind] for kind in ("parameter", "gradient", "input", "activation", "tape"))
    forward = _forward(ops, arrays, there)
    backward = list(_backward(ops, leaves, arrays, profile, there)) if profile.events else []
    top = max(backward, key=lambda at: at[1], default=None)
    at = (top[0], ops[top[0] - 1].op.name if top[0] <= len(ops) else "adding to .grad") if top else (0, "")
    return Memory(
        tuple(rows), totals, dict(sorted(scopes.items(), key=lambda item: -item[1])), (*forward, *backward),
        top[1] if top else None, at, profile.note,
    )  # fmt: skip


def _tape(order: list[Node]) -> int:
    """The Python objects of the tape: nodes, their tuples, what stands for dropped values, headers of arrays; about 1 kB each."""
    objects: dict[int, Any] = {}
    headers = 0
    for node in order:
        parts = [node, node.order, node.shape, node.saved, node.parents, node.params, *node.params, node.extra]
        for value in node.saved:
            if isinstance(value, Absent):
                parts += [value, value.shape, value.what]
            elif id(value) not in objects and getattr(value, "ndim", None) is not None:
                objects[id(value)] = None
                headers += 112 + 16 * value.ndim  # the array object, its shape and strides
        objects |= {id(part): part for part in parts if part is not None}
    return headers + sum(sys.getsizeof(part) for part in objects.values() if part is not None)


def _row(a: _Array, names: Mapping[int, str]) -> Kept:
    needs = []
    for holder, k in a.holders:
        for i, _ in holder.op.pulls:
            parent = holder.parents[i]
            if parent is not None and parent.requires_grad and k in holder.op.needs[i]:
                needs.append(f"{holder.op.name} for {chr(ord('a') + i)}")
    node = a.node
    user = a.holders[0][0]
    made = node is not None and node.op is not None
    return Kept(
        a.kind, (node.name or names.get(id(node))) if node is not None else None, node.op.name if made and node is not None else "",
        (node if made and node is not None else user).scope, str((node.where if node is not None else None) or ""),
        tuple(a.value.shape), str(a.value.dtype), int(a.array.nbytes), tuple(dict.fromkeys(needs)), a.until,
    )  # fmt: skip


def _leaf_row(kind: str, node: Node, names: Mapping[int, str]) -> Kept:
    name = node.name or names.get(id(node))
    name = f"{name}.grad" if name and kind == "gradient" else name
    return Kept(kind, name, "", (), "", tuple(node.shape), str(node.dtype), _bytes(node), (), None)


def _bytes(node: Node) -> int:
    return math.prod(node.shape) * int(np.dtype(node.dtype).itemsize)


def _forward(ops: list[Node], arrays: dict[int, _Array], there: int) -> Iterator[tuple[int, int]]:
    """What is kept after each operation forward."""
    made: dict[Node, int] = defaultdict(int)
    for a in arrays.values():
        if a.kind == "activation" and a.node is not None:
            made[a.node] += a.array.nbytes
    kept = there - sum(made.values())
    for n, node in enumerate(reversed(ops)):
        kept += made[node]
        yield n - len(ops) + 1, kept


def _backward(
    ops: list[Node], leaves: list[Node], arrays: dict[int, _Array], profile: _Profile, there: int
) -> Iterator[tuple[int, int]]:
    """The most there is in each step: what the rehearsal had allocated by then, less what the real pass has released.

    The loop's own variables keep the values of the step before until they are assigned again (see graph.pull_back): a rule of
    other arity leaves some of them as they are, which can be an array of the size of the batch.
    """
    step = {node: n for n, node in enumerate(ops, 1)}
    going = sorted((a for a in arrays.values() if a.until is not None), key=lambda a: a.until or 0)
    most: dict[Node, int] = {}
    for node, allocated in profile.events:
        most[node] = max(most.get(node, 0), allocated)
    slots: dict[str, tuple[Any, ...]] = {}
    gone = 0
    released: dict[int, int] = {}
    for node in ops:
        while gone < len(going) and (going[gone].until or 0) < step[node]:
            released[id(going[gone].array)] = going[gone].array.nbytes
            gone += 1
        in_pieces = node.op.exact and math.prod(node.shape) >= blocks.BLOCK
        plain = 0 if in_pieces else node.op.plain
        slots["saved"] = node.saved
        slots |= dict(zip(("y", "a", "b"), ((v,) for v in node.saved))) if plain else {"args": node.saved}
        stale = {id(_base(v)) for held in slots.values() for v in held if isinstance(v, np.ndarray)}
        off = sum(n for key, n in released.items() if key not in stale)
        yield step[node], there + most.get(node, 0) - off
    for a in going[gone:]:
        released[id(a.array)] = a.array.nbytes
    spare = max((_bytes(node) for node in leaves if node in profile.copied or node.grad is not None), default=0)
    gradients = sum(_bytes(node) for node in leaves)
    yield len(ops) + 1, there + max(profile.finished, gradients) + spare - sum(released.values())


# How it is told
def size(n: int) -> str:
    """Bytes in units of a thousand.

    Example:
        >>> size(512), size(4_000_000)
        ('512 B', '4 MB')
    """
    units = ["B", "kB", "MB", "GB", "TB"]
    k = min(int(math.log10(n) // 3), len(units) - 1) if n > 0 else 0
    return f"{n / 1000**k:.3g} {units[k]}"


def _list(needs: tuple[str, ...], most: int = 3) -> str:
    return ", ".join(needs[:most]) + (f" and {len(needs) - most} more" if len(needs) > most else "")


def _until(r: Kept) -> str:
    return "stays" if r.until is None else str(r.until)


def _aligned(header: list[str], rows: list[list[str]]) -> list[str]:
    """Columns, numbers of bytes to the right."""
    widths = [max(len(row[c]) for row in [header, *rows]) for c in range(len(header))]
    pad = [str.rjust, *(str.ljust for _ in header[1:])]
    return ["  ".join(p(x, w) for p, x, w in zip(pad, row, widths)).rstrip() for row in [header, *rows]]


def _picture(m: Memory, width: int, height: int) -> str:
    """An area under the timeline, forward and backward in two colours, with the peak marked."""
    left, right, top, bottom = 70, 20, 46, 46
    steps = [s for s, _ in m.timeline]
    first, last = steps[0], max(steps[-1], steps[0] + 1)
    ticks = _ticks(max(b for _, b in m.timeline))
    most = ticks[-1] or 1

    def x(s: float) -> float:
        return left + (s - first) / (last - first) * (width - left - right)

    def y(b: float) -> float:
        return height - bottom - b / most * (height - top - bottom)

    def area(points: list[tuple[int, int]], colour: str, dash: str) -> str:
        line = " ".join(f"{x(s):.1f},{y(b):.1f}" for s, b in points)
        ends = f"{x(points[-1][0]):.1f},{y(0):.1f} {x(points[0][0]):.1f},{y(0):.1f}"
        return (
            f'<polygon points="{line} {ends}" fill="{colour}" fill-opacity="0.22"/>'
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
        )

    forward = [p for p in m.timeline if p[0] <= 0]
    backward = [p for p in m.timeline if p[0] >= 0] if len(forward) < len(m.timeline) else []
    ink = 'fill="#1A1A1A" font-size="12"'
    out = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
            f'font-family="Helvetica,Arial,sans-serif"><title>Memory during the forward and the backward pass</title>'
        ),
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for tick in ticks:
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#DDDDDD"/>')
        out.append(
            f'<text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" {ink}>{size(int(tick)) if tick else "0"}</text>'
        )
    out.append(area(forward, "#006B4F", ""))
    if backward:
        out.append(area(backward, "#B03A00", ' stroke-dasharray="7 3"'))
        out.append(
            f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{top}" y2="{height - bottom}" stroke="#767676" stroke-dasharray="2 3"/>'
        )
    middle = (x(first) + x(0)) / 2, (x(0) + x(last)) / 2
    out.append(
        f'<text x="{middle[0]:.1f}" y="{height - 14}" text-anchor="middle" {ink}>forward: {len(forward)} operations</text>'
    )
    if backward and m.peak is not None:
        steps_back = f"backward: {len(backward) - 2} steps"
        out.append(f'<text x="{middle[1]:.1f}" y="{height - 14}" text-anchor="middle" {ink}>{steps_back}</text>')
        at, op = m.peak_at
        px, py = x(at), y(m.peak)
        anchor = "end" if px > width * 0.7 else "start" if px < width * 0.3 else "middle"
        out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4.5" fill="#B03A00" stroke="white" stroke-width="1.5"/>')
        out.append(
            f'<text x="{px:.1f}" y="{py - 12:.1f}" text-anchor="{anchor}" font-weight="bold" '
            f'stroke="white" stroke-width="4" paint-order="stroke" {ink}>'
            f"peak {size(m.peak)}, step {at}: {html.escape(op)}</text>"
        )
    return "\n".join([*out, "</svg>"]) + "\n"


def _ticks(most: float) -> list[float]:
    """Round numbers from 0 to above ``most``, about five."""
    unit = 10 ** math.floor(math.log10(max(most, 1)))
    step = next(unit * f for f in (0.2, 0.5, 1.0, 2.0) if unit * f * 6 >= most * 1.05)
    return [step * k for k in range(math.ceil(most * 1.05 / step) + 1)]
