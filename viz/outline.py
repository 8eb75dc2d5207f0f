"""The outline of a graph: its operations as a tree of intervals in order of creation, by the calls of modules and by repetition.

Operations are numbered by age, and an operand is older than what is made of it. So where every part of a drawing is an interval
of those numbers, arrows between parts run from older to newer ones, and however a graph is folded it stays without cycles. A
million operations are a few arrays here; nothing recurs.
"""

from __future__ import annotations

import inspect
import re
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.graph import Node

Array = np.ndarray[Any, Any]
COPIES = 3
"""So many equal pieces in a row, or more, are one piece that repeats."""
CONSTANT = -1
UNSTACKED = 12
"""So many indexing operations in a row, or more, are one block."""
_WIDTHS, _PERIODS, _RUNS = (1, 2, 4, 8, 16), 24, 200
"""Periods are looked for as distances between equal windows of these widths, the most frequent first; then the longest runs."""


class Part:
    """An interval of operations, ``start`` to ``end``: a call of a module, or equal pieces in a row.

    Of equal pieces the first stands for all: ``kids`` are the parts inside it, up to ``stop``; else ``stop`` is ``end``.

    Attributes:
        kind: ``"graph"``, ``"module"``, ``"repeat"``, ``"loop"`` (a repeat that hands a state on, with the same weights at each
            step), ``"chain"`` (each value used by the next operation only) or ``"block"`` (neighbours).
        name: the module's name in its parent.
        type: the module's class, where it is known.
        path: the scope.
        depth: how many modules it is inside, itself included.
        copies: how many equal pieces.
        rolled: whether repeats were looked for among its kids.
    """

    __slots__ = (
        "call",
        "copies",
        "depth",
        "end",
        "kids",
        "kind",
        "lead",
        "name",
        "own",
        "path",
        "rolled",
        "start",
        "stop",
        "type",
    )

    def __init__(self, kind: str, start: int, end: int, path: tuple[str, ...] = (), name: str = "", type: str = "") -> None:
        self.kind, self.start, self.end, self.stop = kind, start, end, end
        self.path, self.depth, self.name, self.type = path, len(path), name, type
        self.kids: list[Part] = []
        self.copies, self.rolled = 1, False
        self.call = self.lead = self.own = -1  # which call; where its own operations begin, and were last seen

    @property
    def dotted(self) -> str:
        return ".".join(self.path)


class Outline:
    """The operations of a graph as arrays, and the tree of their parts.

    Attributes:
        ops: the operations, oldest first.
        leaves: the rest.
        at: each node's place: in ``ops``, or ``-2 - i`` for leaf ``i``.
        source: for each operand of each operation in turn, the place of what made it; CONSTANT for what is no node.
        row: where the operands of each operation begin in ``source``; one more at the end.
        token: a number for what each operation does: equal for equal operations on equal shapes and dtypes.
        root: the tree.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.ops: list[Node] = []
        self.leaves: list[Node] = []
        self.at: dict[Node, int] = {}
        source, row, token = array("q"), array("q"), array("q")
        known: dict[Any, int] = {}
        indexes: dict[Any, bool] = {}
        at, edges = self.at, 0
        for node in nodes:
            op, parents = node.op, node.parents
            params: Any = node.params
            if op is None:
                at[node] = -2 - len(self.leaves)
                self.leaves.append(node)
                continue
            at[node] = len(self.ops)
            self.ops.append(node)
            row.append(edges)
            edges += len(parents)
            for parent in parents:
                source.append(CONSTANT if parent is None else at[parent])
            if params:
                if op not in indexes:
                    indexes[op] = "pattern" in inspect.signature(op.forward).parameters
                try:
                    hash(params)
                except TypeError:  # told apart by their text
                    params = repr(params)
            key = (op, node.shape, node.dtype, None if params and indexes[op] else params, len(parents))
            number = known.get(key)  # x[0], x[1], ... do the same at each step
            if number is None:
                number = known[key] = len(known)
            token.append(number)
        row.append(edges)
        self.source, self.row, self.token = (np.array(a, np.int64) for a in (source, row, token))
        self.indexing = np.array([indexes.get(key[0], False) for key in known], bool)[self.token]
        self.user = np.repeat(np.arange(len(self.ops)), np.diff(self.row))
        self.root = modules(self.ops)

    def own(self, part: Part) -> Array:
        """The operations of a part (of its first copy) that are in no part inside it."""
        own = np.ones(part.stop - part.start, bool)
        for kid in part.kids:
            own[kid.start - part.start : kid.end - part.start] = False
        return np.flatnonzero(own) + part.start

    def sequence(self, part: Part) -> tuple[Array, Array]:
        """What a part is made of, oldest first: a token for each operation of its own and each part in it; where each begins."""
        tokens = self.token[part.start : part.stop].copy()
        begins = np.ones(len(tokens), bool)
        known: dict[Any, int] = {}
        for kid in part.kids:
            a, b = kid.start - part.start, kid.end - part.start
            begins[a + 1 : b] = False
            kind = kid.type or re.sub(r"\d+$", "", kid.name)
            tokens[a] = -1 - known.setdefault((kid.kind, kind, self.token[kid.start : kid.end].tobytes()), len(known))
        return tokens[begins], np.append(np.flatnonzero(begins) + part.start, part.stop)

    def roll(self, part: Part) -> None:
        """Replace equal pieces in a row, among what a part is made of, by one part that repeats."""
        if part.rolled:
            return
        part.rolled = True
        tokens, starts = self.sequence(part)
        found: list[Part] = []
        for first, period, copies in _runs(tokens):
            a = int(starts[first])
            step = int(starts[first + period]) - a
            if part.copies > 1 and period == len(tokens):
                continue
            skip, copies, kind = self._alike(a, step, copies)
            a += skip * step
            whole = any(a <= kid.start < a + step for kid in part.kids)  # modules, not operations alone
            if copies < COPIES or (step * copies < max(UNSTACKED, len(tokens) // 200) and not whole):
                continue
            if self.indexing[a : a + step * copies].all():
                continue
            if any(a < r.end and r.start < a + step * copies for r in found):
                continue
            rolled = Part(kind, a, a + step * copies, part.path, "", "")
            rolled.stop, rolled.copies = a + step, copies
            inside = [kid for kid in part.kids if rolled.start <= kid.start < rolled.end]
            rolled.kids = [kid for kid in inside if kid.start < rolled.stop]
            if len(rolled.kids) == 1 and rolled.kids[0].end - rolled.kids[0].start == step:
                only = rolled.kids[0]  # a module that repeats
                last = inside[-1].name
                rolled.name = only.name if last == only.name else f"{only.name} \N{HORIZONTAL ELLIPSIS} {last}"
                rolled.type, rolled.path, rolled.depth, rolled.kids = only.type, only.path, only.depth, only.kids
            found.append(rolled)
        found += self._unstacked(part, found)
        if found:
            kept = [kid for kid in part.kids if not any(r.start <= kid.start < r.end for r in found)]
            part.kids = sorted([*kept, *found], key=lambda kid: kid.start)

    def _unstacked(self, part: Part, found: Sequence[Part]) -> list[Part]:
        """Blocks of many indexing operations in a row, as when a sequence is taken apart into its steps."""
        own = np.zeros(part.stop - part.start + 2, bool)
        own[self.own(part) - part.start + 1] = True
        own[1:-1] &= self.indexing[part.start : part.stop]
        for taken in found:
            own[taken.start - part.start + 1 : taken.end - part.start + 1] = False
        ends = np.flatnonzero(own[1:] != own[:-1]) + part.start
        rows = zip(ends[::2].tolist(), ends[1::2].tolist())
        return [Part("block", a, b, part.path) for a, b in rows if b - a >= UNSTACKED]

    def _alike(self, start: int, step: int, copies: int) -> tuple[int, int, str]:
        """Of pieces with equal tokens, the longest row of equally wired ones: how many to skip, how many there are, which kind.

        A piece is told by what each operand is: made ``d`` operations before inside the piece (d), in an earlier piece (-d), or
        outside (0). The first of a row may take from outside what the others are handed.
        """
        a, b = int(self.row[start]), int(self.row[start + step * copies])
        if (b - a) % copies or a == b:
            return 0, copies if a == b else 0, "repeat"
        source = self.source[a:b].reshape(copies, -1)
        user = self.user[a:b].reshape(copies, -1)
        begin = (start + step * np.arange(copies))[:, None]
        wire = np.where(source >= begin, user - source, np.where(source >= start, source - user, 0))
        same = (wire[1:] == wire[:-1]).all(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(np.int8), [0]])))
        if not len(edges):
            return 0, 0, "repeat"
        longest = int(np.argmax(edges[1::2] - edges[::2]))
        skip, count = int(edges[2 * longest]), int(edges[2 * longest + 1] - edges[2 * longest]) + 1
        if skip and ((wire[skip - 1] == wire[skip]) | ((wire[skip - 1] == 0) & (wire[skip] < 0))).all():
            skip, count = skip - 1, count + 1
        typical = slice(skip + 1, skip + count)
        learned = np.append([leaf.requires_grad for leaf in self.leaves], False)
        leaf = learned[np.where(source[typical] < CONSTANT, -2 - source[typical], -1)]
        shared = (source[typical] == source[skip + 1])[leaf].all()
        return skip, count, "loop" if shared and (wire[skip + 1] < 0).any() else "repeat"

    def chains(self, part: Part) -> None:
        """Make chains of a part's own operations: parts in which each value is used by the next operation only."""
        n = len(self.ops)
        made = self.source >= 0
        uses = np.bincount(self.source[made], minlength=n)
        before = np.zeros(n, np.int64)  # how many operands are operations, and whether the one before is among them
        np.add.at(before, self.user[made], 1)
        follows = np.zeros(n, bool)
        follows[self.user[made][self.source[made] == self.user[made] - 1]] = True
        links = follows & (before == 1) & (np.append(0, uses[:-1]) == 1)
        own = np.zeros(n, bool)
        own[self.own(part)] = True
        own[-1] = False  # the output stays to be seen
        links &= own & np.append(False, own[:-1])
        ends = np.flatnonzero(np.diff(np.concatenate([[0], links.astype(np.int8), [0]])))
        long = ends[1::2] - ends[::2] >= COPIES
        found = [Part("chain", int(a) - 1, int(b), part.path) for a, b in zip(ends[::2][long], ends[1::2][long])]
        part.kids = sorted([*part.kids, *found], key=lambda kid: kid.start)

    def blocks(self, part: Part, most: int) -> None:
        """Cut what a part is made of into at most ``most`` blocks of neighbours."""
        _, starts = self.sequence(part)
        last = len(starts) - 1 - (part.stop == len(self.ops))  # the output stays to be seen
        cuts = starts[np.linspace(0, last, min(most, last) + 1).astype(int)]
        blocks = []
        kids = iter([*part.kids, None])
        kid = next(kids)
        for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist()):
            inside = []
            while kid is not None and kid.start < b:
                inside.append(kid)
                kid = next(kids)
            whole = len(inside) == 1 and (inside[0].start, inside[0].end) == (a, b)
            if not whole and b - a == 1:
                continue
            block = inside[0] if whole else Part("block", a, b, part.path)
            blocks.append(block)
        part.kids = blocks


def modules(ops: Sequence[Node]) -> Part:
    """The tree of calls. A call is told by the identity of its scope: each makes a tuple of its own, which its operations share."""
    root = Part("graph", 0, len(ops))
    stack = [root]
    last: tuple[str, ...] = ()
    for place, node in enumerate(ops):
        scope = node.scope
        if scope is last:
            continue
        last = scope
        stack[-1].own = place - 1
        same = 0
        while same < len(scope) and same + 1 < len(stack) and stack[same + 1].name == scope[same]:
            same += 1
        begin = place
        if same == len(scope) and same:
            begin = _next_call(stack[same], id(scope), place)
            same -= begin >= 0
        elif same > 0 and stack[same].type == "Sequential" and stack[same].call < 0 and stack[same].kids[0].name == scope[same]:
            same -= 1  # its first module again: it was called again
        begin = place if begin < 0 else begin
        while len(stack) > same + 1:
            done = stack.pop()
            done.end = done.stop = place
        for level in range(same, len(scope)):
            part = Part("module", begin, len(ops), scope[: level + 1], scope[level], _class(scope, level))
            above = stack[-1]
            if begin < place:  # the modules that this call began with
                before = above.kids[-1]
                part.kids = [kid for kid in before.kids if kid.start >= begin]
                before.kids = [kid for kid in before.kids if kid.start < begin]
                before.end = before.stop = begin
            above.kids.append(part)
            stack.append(part)
        top = stack[-1]
        if top is not root and top.call < 0:
            top.call, top.lead = id(scope), place - top.start
    return root


def _next_call(part: Part, call: int, place: int) -> int:
    """Where the call with its own operation at ``place`` began, if it is not the one of ``part``; else -1."""
    if part.call in (-1, call):
        return -1
    begin = place - part.lead
    return begin if begin > part.own and any(kid.start == begin for kid in part.kids) else place


def _class(scope: tuple[str, ...], level: int) -> str:
    """The class of a module: of the outermost it is the name."""
    return scope[0] if level == 0 else getattr(scope[level], "type", "")


def _runs(tokens: Array) -> list[tuple[int, int, int]]:
    """Equal pieces in a row as (first, period, copies), the longest row first; of equally long rows, the shortest period."""
    found = []
    for period in _periods(tokens):
        same = np.concatenate([[False], tokens[:-period] == tokens[period:], [False]])
        turns = np.flatnonzero(same[1:] != same[:-1])
        firsts, lengths = turns[::2], turns[1::2] - turns[::2] + period
        copies = lengths // period
        for k in np.flatnonzero(copies >= COPIES)[:_RUNS]:
            found.append((int(firsts[k]), period, int(copies[k])))
    return sorted(found, key=lambda run: (-run[1] * run[2], run[1], run[0]))[:_RUNS]


def _periods(tokens: Array) -> list[int]:
    """Distances at which windows of tokens come again, those that cover most."""
    found: set[int] = set()
    window = tokens.astype(np.uint64)
    reach = 1
    for width in _WIDTHS:
        while reach < width and len(window) > reach:
            window = window[:-reach] * np.uint64(0x9E3779B97F4A7C15) + window[reach:]
            reach *= 2
        if reach != width or len(window) < COPIES:
            break
        order = np.argsort(window, kind="stable")
        apart = np.diff(order)[window[order][1:] == window[order][:-1]]
        distance, count = np.unique(apart, return_counts=True)
        best = np.argsort(-distance * count, kind="stable")[:_PERIODS]
        found.update(int(d) for d in distance[best] if d * COPIES <= len(tokens))
    return sorted(found)
