"""From an outline, and which of its parts are open, to records: boxes, frames, what is inside them, and bundles of edges."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.graph import Handle, Node
from minigrad.viz.outline import CONSTANT, Array, Outline, Part
from minigrad.viz.records import (
    Bundle,
    Edge,
    Group,
    Key,
    Records,
    age,
    assemble,
    differentiate,
    is_kept,
    key_of,
    plain,
    user_names,
)

FEW = 6
"""More leaves, or constants, of one folded box become one box."""
GRADIENTS = 50_000
"""The backward pass is run again, for its numbers, over graphs of up to so many nodes: about 20 us each."""


@dataclass(eq=False)
class _Box:
    """A box or frame in the making: of operations (of a part, or one and its copies), of leaves, or of constants."""

    kind: str
    start: int
    """Its place in the order of creation."""
    frame: _Box | None
    part: Part | None = None
    node: Node | None = None
    """Of a box for one operation or leaf, with its copies."""
    repeat: int = 1
    leaves: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    arrays: list[tuple[Node, int]] = field(default_factory=list)
    """The constants that its operations use: for each, one of them and which operand of it."""
    id: str = ""

    def copies(self) -> int:
        """How many copies of its members there are."""
        return math.prod(f.repeat for f in (*self.frames(), self))

    def frames(self) -> list[_Box]:
        """The frames around it, outermost first."""
        found, frame = [], self.frame
        while frame is not None:
            found.append(frame)
            frame = frame.frame
        return found[::-1]

    @property
    def group(self) -> str:
        return self.frame.id if self.frame is not None else ""


class Assembly:
    """The boxes of a folded graph, made step by step; :meth:`records` is the last.

    Attributes:
        boxes: what is drawn; operations first, in the order of creation.
        frames: around modules and repeats, those outside first.
        first: for each operation its counterpart in the first copies of the repeats that it is in.
        box: for each operation its place in ``boxes``.
        leaf_box: for each leaf its place in ``boxes``.
        bundles: edges that run from or to more than one value, as (source, target, lag, count).
    """

    def __init__(self, t: Handle, nodes: list[Node], outline: Outline, opened: set[Part], merge: bool) -> None:
        self.t, self.nodes, self.outline, self.opened, self.merge = t, nodes, outline, opened, merge
        self.boxes: list[_Box] = []
        self.frames: list[_Box] = []
        self._operations()
        constants = self._constants()
        ids = {id(node) for node in nodes}
        self.names, self.handles = user_names(t, ids, {id(node.saved[i + 1]) for node, i, _ in constants})
        self._edges()
        for node, i, box in constants:
            self.boxes[box].arrays.append((node, i))

    # Operations
    def _operations(self) -> None:
        o = self.outline
        shown = np.full(len(o.ops), -1)
        self.repeats: list[tuple[Part, _Box | None]] = []
        waiting: list[tuple[Part, _Box | None, int]] = [(o.root, None, 1)]
        while waiting:
            part, frame, repeat = waiting.pop()
            if part.kind != "graph":
                frame = _Box(part.kind, part.start, frame, part, None, part.copies)
                repeat *= part.copies
                self.frames.append(frame)
            if part.copies > 1:
                self.repeats.append((part, frame))
            for kid in part.kids:
                if kid not in self.opened:
                    shown[kid.start : kid.end] = len(self.boxes)
                    self.boxes.append(_Box(kid.kind, kid.start, frame, kid, None, repeat * kid.copies))
                    if kid.copies > 1:
                        self.repeats.append((kid, frame))
            for place in o.own(part).tolist():
                shown[place] = len(self.boxes)
                self.boxes.append(_Box("op" if repeat > 1 else "value", place, frame, None, o.ops[place], repeat))
            waiting += [(kid, frame, repeat) for kid in reversed(part.kids) if kid in self.opened]
        self.first = np.arange(len(o.ops))
        for part, _ in self.repeats:
            here = (self.first >= part.start) & (self.first < part.end)
            self.first[here] = part.start + (self.first[here] - part.start) % (part.stop - part.start)
        self.box = shown[self.first]

    # Edges
    def _edges(self) -> None:
        """Tell edges inside a box, from value to value, and between copies of a repeat apart; gather the rest into bundles."""
        o = self.outline
        real = np.flatnonzero(o.source != CONSTANT)
        source, user = o.source[real], o.user[real]
        leaf = source < CONSTANT
        a, b = np.where(leaf, -1, source), user.copy()
        lag, crossed = np.zeros(len(real), np.int64), np.zeros(len(real), bool)
        lifted = np.full(len(o.leaves), -1)  # the outermost repeat of which several copies use a leaf
        for r, (part, _) in enumerate(self.repeats):
            step = part.stop - part.start
            used, made = ((x >= part.start) & (x < part.end) for x in (b, a))
            copy = np.where(used, (b - part.start) // step, 0)
            apart = np.where(used & made & ~crossed, copy - (a - part.start) // step, 0)
            lag += apart
            crossed |= apart != 0
            if part in self.opened:
                at = np.flatnonzero(used & leaf)
                low, high = np.full(len(o.leaves), len(o.ops)), np.full(len(o.leaves), -1)
                np.minimum.at(low, -2 - source[at], copy[at])
                np.maximum.at(high, -2 - source[at], copy[at])
                lifted[(lifted < 0) & (low < high)] = r
            a = np.where(made, part.start + (a - part.start) % step, a)
            b = np.where(used, part.start + (b - part.start) % step, b)
        target = self.box[user]
        place = o.row[b] + (real - o.row[user])  # the same operand in the first copy
        self.leaf_box = leaves = self._leaves(-2 - source[leaf], user[leaf], target[leaf], place[leaf], lifted)
        start = np.empty_like(target)
        start[leaf], start[~leaf] = leaves[-2 - source[leaf]], self.box[source[~leaf]]
        folded = np.array([box.kind != "value" for box in self.boxes], bool)
        between = (start != target) | (lag > 0)
        bundled = between & (folded[start] | folded[target]) if len(real) else between
        n, most = len(self.boxes), int(lag.max(initial=0)) + 1
        key = (start[bundled] * n + target[bundled]) * most + lag[bundled]
        self.uses, self.places, self.slots = source[bundled], user[bundled], (real - o.row[user])[bundled]
        kinds, self.bundle, counts = np.unique(key, return_inverse=True, return_counts=True)
        self.bundles = [(k // most // n, k // most % n, k % most, c) for k, c in zip(kinds.tolist(), counts.tolist())]
        root = len(o.ops) - 1
        out = np.unique(np.append(source[between & ~leaf], root if root >= 0 else []).astype(np.int64))
        for k, box in zip(out.tolist(), self.box[out].tolist()):
            if self.boxes[box].kind != "value":
                self.boxes[box].outputs.append(k)

    # Leaves
    def _leaves(self, leaf: Array, user: Array, target: Array, place: Array, lifted: Array) -> Array:
        """Each leaf's box: that of the folded module that it belongs to; one of its own; or one for several that are alike."""
        o = self.outline
        n = len(self.boxes)
        first = np.full(len(o.leaves), len(o.source))
        np.minimum.at(first, leaf, place)
        used = np.full(len(o.leaves), len(o.ops))
        np.minimum.at(used, leaf, user)
        users: dict[int, list[int]] = defaultdict(list)
        for pair in np.unique(leaf * n + target).tolist():
            users[pair // n].append(pair % n)
        many = Counter(boxes[0] for boxes in users.values() if len(boxes) == 1)
        at = np.zeros(len(o.leaves), np.int64)
        alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        homes: dict[tuple[int, ...], list[_Box]] = {}
        for i in range(len(o.leaves)):
            if i not in users:  # the output itself
                alike[None, False, i].append(i)
                continue
            boxes = tuple(users[i])
            part = self.boxes[boxes[0]].part
            node = o.leaves[i]
            if (
                len(boxes) == 1
                and lifted[i] < 0
                and part is not None
                and self._belongs(node, part, many[boxes[0]], o.ops[int(used[i])])
            ):
                self.boxes[boxes[0]].leaves.append(i)
                at[i] = boxes[0]
                continue
            key = (*boxes, -1 - int(lifted[i]))
            if key not in homes:
                inside = [self.boxes[box].frames() for box in boxes]
                if lifted[i] >= 0:
                    frame = self.repeats[int(lifted[i])][1]
                    inside.append(frame.frames() if frame is not None else [])
                homes[key] = [level[0] for level in zip(*inside) if all(f is level[0] for f in level)]
            home = homes[key]
            while home and not _is_of(node, home[-1], o.ops[int(used[i])]):
                home = home[:-1]
            copied = any(f.repeat > 1 for f in home)
            same = int(first[i]) if copied else (boxes, node.requires_grad) if self.merge else i
            alike[home[-1] if home else None, copied, same].append(i)
        for (frame, copied, _), members in alike.items():
            if copied and len(members) < frame.copies():  # not of each copy: an initial state
                frame = next((f for f in frame.frames() if f.repeat > 1), frame).frame
                copied = False
            for piece in [members] if copied or len(members) > FEW else [[i] for i in members]:
                kind = "leaves" if copied or len(piece) > 1 else "value"
                start = int(o.user[first[piece[0]]]) if piece[0] in users else 0
                repeat = len(piece) if copied else 1
                at[piece] = len(self.boxes)
                self.boxes.append(_Box(kind, start, frame, None, o.leaves[piece[0]], repeat, piece))
        return at

    def _belongs(self, leaf: Node, part: Part, count: int, user: Node) -> bool:
        """Whether a leaf that nothing else uses is drawn inside a folded part: a module's parameters, buffers, and what is many."""
        if not part.path:
            return count > FEW
        if leaf.name is not None or leaf.requires_grad:
            return _named(leaf, part, user)
        return not (id(leaf) in self.names or self._enters(user))

    # Constants
    def _constants(self) -> list[tuple[Node, int, int]]:
        """The arrays that are no nodes and that folded boxes use, as (operation, operand, box), once for each box."""
        o = self.outline
        folded = np.array([box.kind != "value" for box in self.boxes], bool)
        found = np.flatnonzero(o.source == CONSTANT)
        found = found[folded[self.box[o.user[found]]]] if len(found) else found
        seen: dict[tuple[int, int], tuple[Node, int, int]] = {}
        for user, i in zip(o.user[found].tolist(), (found - o.row[o.user[found]]).tolist()):
            node, box = o.ops[user], int(self.box[user])
            value = node.saved[i + 1]
            if getattr(value, "ndim", None) is not None:
                seen.setdefault((box, id(value)), (node, i, box))
        return list(seen.values())

    def _enters(self, node: Node) -> bool:
        """Whether an operation is the first on its data: all else that it uses is made of what asks for a gradient alone."""
        waiting, seen = [p for p in node.parents if p is not None], 0
        while waiting and seen < 20:
            parent, seen = waiting.pop(), seen + 1
            if parent.op is None:
                if not parent.requires_grad:
                    return False
            elif any(p is None and getattr(v, "ndim", 0) for p, v in zip(parent.parents, parent.saved[1:])):
                return False
            else:
                waiting += [p for p in parent.parents if p is not None]
        return not waiting

    def _give(self, shown: dict[Key, tuple[Node, int]]) -> list[tuple[_Box | Key, _Box, int]]:
        """The constants to show beside folded boxes: those with a name, and those that enter the graph there."""
        given: list[tuple[_Box | Key, _Box, int]] = []
        held = {_owner(node.saved[i + 1]): key for key, (node, i) in shown.items() if key[1] < 0 and key[2] in self.names}
        for box in [box for box in self.boxes if box.arrays]:
            kept = [
                (node, i)
                for node, i in box.arrays
                if id(node.saved[i + 1]) in self.names or (node.saved[i + 1].ndim and self._enters(node))
            ]
            if len(kept) > FEW:
                many = _Box("constants", box.start, box.frame, None, None, 1, list(range(len(kept))), [], kept)
                self.boxes.append(many)
                given.append((many, box, len(kept)))
                continue
            keys: Counter[Key] = Counter()  # views of one array are one
            for node, i in sorted(kept, key=lambda use: id(use[0].saved[use[1] + 1]) not in self.names):
                value = node.saved[i + 1]
                key = held.setdefault(_owner(value), (None, -1, id(value)))
                if key not in shown or (key[2] == id(value) and node.order < shown[key][0].order):
                    shown[key] = node, i
                keys[key] += 1
            given += [(key, box, count) for key, count in keys.items()]
        return given

    # Records
    def records(self, seed: Any) -> Records:
        """The records; gradients are shown where ``seed``, the upstream gradient to start from, is not None."""
        singles = {box.node: box for box in self.boxes if box.kind == "value" and box.node is not None}
        shown = self._shown(singles)
        given = self._give(shown)
        note = ""
        if seed is not None and len(self.nodes) > GRADIENTS:
            seed, note = None, f"Gradients are not shown: the graph has {len(self.nodes):,} nodes, more than {GRADIENTS:,}."
        gradients: dict[Node, Any] = {}
        parts: dict[Any, Any] = {}
        totals: dict[int, tuple[Any, float]] = {}
        if seed is not None:
            gradients, parts, note, totals = self._differentiate(seed, set(singles))
        assert self.t.node is not None
        plain = assemble(
            self.t.node, shown, 0, {}, seed is not None, gradients, parts, self.names, self.handles, note
        )  # fmt: skip
        folded = sorted((box for box in self.boxes if box.kind != "value"), key=lambda box: box.start)
        for n, box in enumerate([*self.frames, *folded]):
            box.id = f"g{n}"
        ids = dict(zip(sorted(shown, key=lambda key: age(key, shown)), (v.id for v in plain.values)))
        frame = {}
        for node, box in singles.items():
            box.id = ids[node, 0, 0]
            frame[box.id] = box.group
        bundles = [self._bundle(b, totals.get(b, (None, None))) for b in range(len(self.bundles))]
        for what, box, count in given:
            start = what.id if isinstance(what, _Box) else ids[what]
            bundles.append(Bundle(start, box.id, count, None, None, 0, "", None))
        beside: dict[str, set[str]] = defaultdict(set)  # a constant stands in the frame of what uses it, if that is one
        inside = frame | {box.id: box.group for box in folded}
        edges: list[Edge | Bundle] = [*plain.edges, *bundles]
        for edge in edges:
            beside[edge.source].add(inside[edge.target])
        values = tuple(
            replace(
                v, group=frame[v.id] if v.id in frame else min(beside[v.id]) if len(beside[v.id]) == 1 and not v.name else ""
            )
            for v in plain.values
        )
        groups = tuple(self._group(box, gradients) for box in (*self.frames, *folded))
        output = self.boxes[self.box[-1]].id if len(self.box) else plain.output
        return replace(plain, values=values, groups=groups, bundles=tuple(bundles), output=output)

    def _shown(self, singles: Iterable[Node]) -> dict[Key, tuple[Node, int]]:
        """What is shown as a value, with a place where it can be read; the constants of operations that are shown."""
        o = self.outline
        shown: dict[Key, tuple[Node, int]] = {(node, 0, 0): (node, -1) for node in singles}
        for node in singles:
            for i in range(len(node.parents)):
                key = key_of(node, i)
                if key is not None and key[0] is None and (key not in shown or node.order < shown[key][0].order):
                    shown[key] = node, i
        places = np.array([o.at[node] for node in singles], np.int64)
        for k in np.flatnonzero(np.isin(o.source, places)).tolist():
            place, user = int(o.source[k]), int(o.user[k])
            key = (o.leaves[-2 - place] if place < 0 else o.ops[place], 0, 0)
            if shown[key][1] < 0 or not is_kept(shown[key]):
                shown[key] = o.ops[user], k - int(o.row[user])
        return shown

    def _differentiate(self, seed: Any, singles: set[Node]) -> tuple[Any, Any, str, dict[int, tuple[Any, float]]]:
        """The gradients of what is shown, of leaves and of what leaves a box; the sums of contributions, by bundle."""
        o = self.outline
        which = {(o.ops[user], i): b for user, i, b in zip(self.places.tolist(), self.slots.tolist(), self.bundle.tolist())}
        sources: dict[int, set[int]] = defaultdict(set)
        for use, b in zip(self.uses.tolist(), self.bundle.tolist()):
            sources[b].add(use)
        sums: dict[int, Any] = {}

        def add(node: Node, i: int, g: Any, part: Any) -> None:
            b = which.get((node, i))
            if b is not None:
                part = part if len(sources[b]) == 1 else _squares(part)
                sums[b] = sums[b] + part if b in sums else part

        more = {o.ops[k] for box in self.boxes for k in box.outputs}
        gradients, parts, note = differentiate(self.t.node, self.nodes, singles, seed, add, more)  # type: ignore[arg-type]
        missing = {b for (node, i), b in which.items() if node.parents[i] not in gradients}
        totals: dict[int, tuple[Any, float]] = {}
        for b in set(sums) - missing:
            one = len(sources[b]) == 1
            totals[b] = (plain(sums[b]), _norm([sums[b]])) if one else (None, float(np.sqrt(sums[b])))
        return gradients, parts, note, totals

    def _bundle(self, b: int, total: tuple[Any, Any]) -> Bundle:
        o = self.outline
        source, target, lag, count = self.bundles[b]
        uses = np.unique(self.uses[self._sorted(b)])
        made = [o.ops[u] if u >= 0 else o.leaves[-2 - u] for u in uses[-FEW:].tolist()]
        shapes = {n.shape for n in made}
        last = [o.ops[k] for k in self.boxes[source].outputs[-1:]] if lag else []
        label = next((name for n in (*last, *reversed(made)) if (name := self._name(n))), "") if lag else ""
        shape = tuple(made[0].shape) if len(shapes) == 1 else None
        return Bundle(self.boxes[source].id, self.boxes[target].id, count, *total, lag, label, shape)

    def _sorted(self, b: int) -> Array:
        """The edges of a bundle."""
        if b == 0:
            self._order = np.argsort(self.bundle, kind="stable")
            self._cuts = np.searchsorted(self.bundle[self._order], np.arange(len(self.bundles) + 1))
        return self._order[self._cuts[b] : self._cuts[b + 1]]

    def _group(self, box: _Box, gradients: dict[Node, Any]) -> Group:
        o, part = self.outline, box.part
        frame = (box.frame is not None and box in self.frames) or box in self.frames
        inside = [other for other in self.boxes if box in other.frames()] if frame else [box]
        members = {id(other) for other in inside}
        numbers = [n for n, other in enumerate(self.boxes) if id(other) in members]
        places = (
            np.flatnonzero(np.isin(self.box, numbers)) if box.kind not in ("leaves", "constants") else np.zeros(0, np.int64)
        )
        kept = [i for other in inside if other.kind != "constants" for i in other.leaves]
        leaves = [o.leaves[i] for i in kept]
        learned = [leaf for leaf in leaves if leaf.requires_grad]
        _, firsts = np.unique(o.token[box.outputs], return_index=True)
        outputs: list[Any] = [o.ops[box.outputs[k]] for k in firsts.tolist()]
        outputs = outputs or ([box.node] if box.node is not None else [])
        outputs = outputs or [node.saved[i + 1] for node, i in box.arrays if box.kind == "constants"]
        shapes = {(node.shape, node.dtype) for node in outputs}
        shape, dtype = next(iter(shapes)) if len(shapes) == 1 else (None, "")
        held = any(leaf not in gradients for leaf in learned)
        got = [_held(leaf) if held else gradients[leaf] for leaf in learned]
        made = Counter[str]()
        _, firsts, counts = np.unique(o.token[places], return_index=True, return_counts=True)
        for k, count in zip(places[firsts].tolist(), counts.tolist()):
            made[o.ops[k].op.name] += count
        return Group(
            id=box.id,
            kind="module" if part is not None and part.type and part.copies == 1 else box.kind,
            name=part.name if part is not None else self._called(box, leaves),
            type=part.type if part is not None else "",
            path=part.path if part is not None else box.node.scope if box.node is not None else (),
            frame=frame,
            group=box.group,
            repeat=box.repeat,
            operations=len(places),
            leaves=len(box.leaves) if box.kind == "constants" else len(leaves),
            parameters=sum(int(np.prod(leaf.shape)) for leaf in learned),
            made=tuple(sorted(made.items(), key=lambda item: (-item[1], item[0]))),
            label=next((name for k in box.outputs[: -FEW - 1 : -1] if (name := self._name(o.ops[k]))), ""),
            shape=None if shape is None else tuple(shape),
            dtype=str(dtype),
            outputs=len(box.outputs),
            gradient=self._flow(box, gradients),
            weights=_norm(got) if got and all(g is not None for g in got) else None,
            held=held,
            value=plain(self.t._data) if len(self.box) and self.boxes[self.box[-1]] is box else None,
        )

    def _called(self, box: _Box, leaves: Sequence[Node]) -> str:
        """The name of a box of one operation and its copies, or of leaves: what their names have in common."""
        if box.node is not None and box.node.op is not None:
            return str(box.node.op.name)
        names = [self._name(leaf) for leaf in leaves]
        if not names or not all(names):
            return ""
        start = _begin(names)
        end = _begin([name[len(start) :][::-1] for name in names])[::-1]
        return names[0] if len(set(names)) == 1 else f"{start}\N{HORIZONTAL ELLIPSIS}{end}" if start or end else ""

    def _name(self, node: Node) -> str:
        return node.name or self.names.get(id(node), "")

    def _flow(self, box: _Box, gradients: dict[Node, Any]) -> tuple[float, ...]:
        """The norm of the gradient at the output of each copy."""
        if not box.outputs or any(self.outline.ops[k] not in gradients for k in box.outputs):
            return ()
        copies: dict[int, list[Any]] = defaultdict(list)
        for k in box.outputs:
            copies[k - int(self.first[k])].append(gradients[self.outline.ops[k]])
        return tuple(_norm(copies[start]) for start in sorted(copies))


def _begin(names: Sequence[str]) -> str:
    """What all names begin with."""
    low, high = min(names), max(names)
    return low[: next((k for k, (a, b) in enumerate(zip(low, high)) if a != b), len(low))]


def _is_of(leaf: Node, frame: _Box, user: Node) -> bool:
    """Whether a leaf may stand in a frame: in a module's, only what is the module's."""
    part = frame.part
    return part is None or frame.kind != "module" or _named(leaf, part, user)


def _named(leaf: Node, part: Part, user: Node) -> bool:
    """Whether a leaf's name is the path of a parameter of a module, or of the copy of it that ``user`` is in."""
    path = ".".join(user.scope[1 : len(part.path)])
    return leaf.name is not None and (not path or f".{path}." in f".{leaf.name}")


def _owner(array: Any) -> int:
    """Whose memory an array is a view of."""
    while isinstance(array, np.ndarray) and isinstance(array.base, np.ndarray):
        array = array.base
    return id(array)


def _norm(arrays: Sequence[Any]) -> float:
    return math.sqrt(sum(_squares(array) for array in arrays))


def _squares(array: Any) -> float:
    array = np.asarray(backend.to_numpy(array)).ravel()
    return float(np.vdot(array, array).real) if array.dtype.itemsize > 2 else _squares(array.astype(np.float32))


def _held(leaf: Node) -> Any:
    return getattr(leaf.grad, "_data", leaf.grad)
