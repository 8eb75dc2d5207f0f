"""Folding: a graph of any size as at most about 150 boxes. Modules, repeats, time steps and chains become one box, or a frame.

Which boxes there are is chosen on :mod:`~minigrad.viz.outline`'s arrays; records are made only of what is shown. Nothing is lost:
each node is in exactly one box, each edge inside a box or in exactly one bundle, and a box says how many it stands for.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np

from minigrad.graph import Handle
from minigrad.viz.assembly import Assembly
from minigrad.viz.outline import CONSTANT, Outline, Part
from minigrad.viz.records import Records, alone, everything, seed_of

Fold = bool | Literal["auto"] | Sequence[str]
ROOM, MOST = 40, 150
"""Modules are opened while the drawing has at most ROOM boxes: as many fit on a slide. Operations outside of modules are folded
beyond MOST."""


def folded(
    t: Any,
    *,
    gradient: Any = None,
    backward: bool | None = None,
    fold: Fold = "auto",
    depth: int | None = None,
    unfold: Sequence[str] = (),
) -> Records:
    """The graph that made ``t`` as plain records, folded: its :attr:`~Records.groups` and :attr:`~Records.bundles`.

    Args:
        t: a Tensor.
        gradient: the upstream gradient to start from. By default the one that ``t.backward()`` started from, or 1 for a scalar.
        backward: whether to show gradients, as for :func:`~minigrad.viz.records`.
        fold: "auto" folds what does not fit: modules, deepest first; equal pieces in a row, such as time steps; chains of
            operations. True folds equal pieces and modules' insides wherever they are; False folds nothing, and frames modules.
            A list of patterns, such as ``["encoder", "layers.*"]``, folds the modules whose path or class matches one.
        depth: how many levels of modules are opened; deeper ones are folded. 0 shows the outermost modules as boxes.
        unfold: patterns of modules to open, with those around them.

    Raises:
        ValueError: if ``fold`` or ``depth`` is none of these.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> r = folded(model(mg.ones((4, 2))).sum(), depth=1)
        >>> [(g.type, g.name, g.operations, g.parameters) for g in r.groups if not g.frame]
        [('Linear', '0', 1, 9), ('ReLU', '1', 1, 0), ('Linear', '2', 1, 4)]
    """
    _check(t, fold, depth)
    if t.node is None:
        return alone(t)
    return assembly(t, fold, depth, unfold).records(seed_of(t, t.node, gradient, backward))


def assembly(t: Any, fold: Fold = "auto", depth: int | None = None, unfold: Sequence[str] = ()) -> Assembly:
    """The boxes of a folded graph before records are made of them: which node is in which."""
    nodes = everything(t.node)
    outline = Outline(nodes)
    chosen = Choice(outline, fold, depth, unfold)
    return Assembly(t, nodes, outline, chosen.open, chosen.merge)


def _check(t: Any, fold: Any, depth: Any) -> None:
    if not isinstance(t, Handle):
        raise TypeError(f"expected a Tensor, got {type(t).__name__}: {str(t)[:60]}")
    if isinstance(fold, str) and fold != "auto":
        raise ValueError(f"fold={fold!r}: expected 'auto', True, False or a list of patterns, such as fold=[{fold!r}]")
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise ValueError(f"depth={depth!r}: expected a number of levels, 0 or more, or None")


class Choice:
    """Which parts of an outline are open."""

    def __init__(self, outline: Outline, fold: Fold, depth: int | None, unfold: Sequence[str]) -> None:
        self.outline, self.depth = outline, depth
        self.folds = () if isinstance(fold, (bool, str)) else tuple(fold)
        self.unfolds = tuple(unfold)
        self.open: set[Part] = set()
        constants = outline.source == CONSTANT
        self.extra = np.bincount(outline.user[constants], minlength=len(outline.ops)) + 1  # boxes for an operation
        everything = int(self.extra.sum()) + len(outline.leaves)
        fits = everything <= (ROOM if outline.root.kids else MOST)
        self.rolling = self.merge = False
        if fold is not True and (fold is False or fits or self.folds):
            self._open_all()
            fits |= bool(self.folds) and self._boxes() <= ROOM
        if fold is True or (fold is not False and not fits):
            self.open.clear()
            self.rolling, self.merge = True, not fits
            self._open_best()

    def _open_all(self) -> None:
        parts = [self.outline.root]
        for part in parts:  # which grows meanwhile
            if self._may_open(part):
                self.open.add(part)
                parts += part.kids

    def _boxes(self) -> float:
        """How many boxes there are."""
        if len(self.open) > MOST:
            return math.inf
        return sum(map(self._size, self.open)) - len(self.open) + 1

    def _open_best(self) -> None:
        """Open modules while there is room, level by level, all of a kind or none; those that are asked for, anyway.

        Modules without modules inside come last, and only where all others are open: else a Linear is five boxes here, and there
        a whole block is one.
        """
        root = self.outline.root
        boxes = self._open(root)
        waiting, innermost, full = list(root.kids), [], False
        while waiting:
            kinds: dict[tuple[bool, int, str, str], list[Part]] = defaultdict(list)
            for part in waiting:
                if part.kind == "module" and not part.kids and not self._must_open(part):
                    innermost.append(part)
                elif self._may_open(part):
                    kinds[part.kind == "chain", len(part.path), part.type or part.kind, part.name * (not part.type)].append(
                        part
                    )
            waiting = []
            sized = []
            for kind, parts in kinds.items():
                if len(parts) > ROOM and not any(map(self._must_open, parts)):
                    full = True
                    continue
                sized.append((sum(self._size(part) - 1 for part in parts), kind, parts))
            for size, _, parts in sorted(sized, key=lambda row: row[:2]):
                fits = boxes + size <= ROOM
                full |= not fits
                for part in parts if fits else [part for part in parts if self._must_open(part)]:
                    boxes += self._open(part) - 1
                    waiting += part.kids
        innermost = [part for part in innermost if self._may_open(part)]
        if not full and len(innermost) <= ROOM and boxes + sum(self._size(part) - 1 for part in innermost) <= ROOM:
            while innermost:
                part = innermost.pop()
                if self._may_open(part) and (part.kind == "module" or boxes + self._size(part) - 1 <= ROOM):
                    boxes += self._open(part) - 1
                    innermost += part.kids

    def _size(self, part: Part) -> int:
        """How many boxes a part has when it is opened."""
        if self.rolling:
            self.outline.roll(part)
        o, places = self.outline, self.outline.own(part)
        edges = slice(o.row[part.start], o.row[part.stop])
        own = np.zeros(len(o.ops), bool)
        own[places] = True
        leaves = o.source[edges][own[o.user[edges]] & (o.source[edges] < CONSTANT)]
        size = len(part.kids) + len(np.unique(leaves))
        return size + (len(places) if part.copies > 1 else int(self.extra[places].sum()))

    def _open(self, part: Part) -> int:
        """Open a part, folding the operations in it that are too many; return how many boxes it has now."""
        size = self._size(part)
        if size > MOST and self.merge:
            self.outline.chains(part)
            if self._size(part) > MOST:
                self.outline.blocks(part, MOST // 3)
            size = self._size(part)
        self.open.add(part)
        return size

    def _may_open(self, part: Part) -> bool:
        if part.kind == "graph":
            return True
        if part.kind in ("chain", "block") or (part.copies > 1 and part.stop - part.start == 1 and not part.type):
            return False
        if part.type and _matches(part, self.folds):
            return False
        return self.depth is None or part.depth <= self.depth or (part.copies > 1 and not part.type) or self._must_open(part)

    def _must_open(self, part: Part) -> bool:
        if self.depth is not None and part.depth <= self.depth:
            return True
        inside = [part]
        for p in inside if self.unfolds else ():
            if _matches(p, self.unfolds):
                return True
            inside += p.kids
        return False


def _matches(part: Part, patterns: Sequence[str]) -> bool:
    """Whether a module is meant: by its path, with or without the outermost module, by the end of it, or by its class."""
    if not part.path or part.kind == "block":
        return False
    names = {part.type, part.name, part.dotted, ".".join(part.path[1:])}
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names if name)
