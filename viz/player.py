"""The player: a recorded graph as one HTML file that steps through its forward and backward pass, offline.

Python writes down what was recorded: the values, gradients and contributions exactly, the modules, the source lines. The page
(``assets/``: its layout, a small interpreter for "what if", and its controls) is plain JavaScript and fetches nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import json
import linecache
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.graph import Handle, Node
from minigrad.ops.index import SLOT
from minigrad.viz import format as fmt
from minigrad.viz.dot import write
from minigrad.viz.format import Array
from minigrad.viz.mathml import mathml
from minigrad.viz.records import Records, records

MANY, BOXES = 2000, 300
"""At most MANY values are written down, if their modules fold to at most BOXES boxes; else at most BOXES values."""
BUDGET = 1_200_000
"""About how many characters the numbers of a page may take. Arrays are written in full up to the size that keeps to it."""
SIZES = ((1024, 32), (256, 32), (64, 16), (16, 8), (4, 4))
"""Up to how many elements an array is written in full; a larger value or gradient is a heat map of at most so many means a side."""
NEAR, LONGEST = 3, 200
"""Source lines shown around one that was recorded; longer lines are cut."""
SCRIPTS = ("engine.js", "layout.js", "graph.js", "picture.js", "cards.js", "player.js")

Params = dict[str, list[Any] | None]
"""The parameters of each recorded operation (an axis, an index) by the id of its value; None where JSON cannot hold them."""


class Player:
    """A graph as a page: shows itself in notebooks, and saves itself as one HTML file that needs no network.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor(3.0, requires_grad=True)
        >>> y = x * x
        >>> player(y)
        <Player of 2 values: .html(), .save("player.html"), .show()>
    """

    def __init__(self, r: Records, params: Params | None = None, title: str = "") -> None:
        self.records = r
        self.title = title
        self._params = params

    def html(self) -> str:
        """The page. All of it, also the user's own text, stands under a content security policy that allows no network."""
        assets = importlib.resources.files("minigrad.viz") / "assets"
        text = {name: (assets / name).read_text(encoding="utf-8") for name in ("player.html", "player.css", *SCRIPTS)}
        scripts = "\n".join(text[name] for name in SCRIPTS)
        data = _json(describe(self.records, self._params, self.title))
        policy = f"default-src 'none'; script-src {_hash(scripts)}; style-src {_hash(text['player.css'])}; base-uri 'none'; form-action 'none'"
        parts = {
            "policy": policy, "title": html.escape(fmt.plain(self.title, 200) or "A graph, step by step"), "style": text["player.css"],
            "data": data, "script": scripts,
        }  # fmt: skip
        page, *rest = text["player.html"].split("{{")
        for piece in rest:
            name, _, after = piece.partition("}}")
            page += parts[name] + after
        return page

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file, which appears when it is complete, or not at all.

        Returns:
            The path.

        Raises:
            ValueError: if its suffix is not .html or .htm.
        """
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"save: a player is a web page; expected a path that ends in .html, got {path.name!r}")
        write(path, self.html().encode())
        return path

    def show(self) -> None:
        """Open the page in the browser, from a temporary file."""
        import tempfile
        import webbrowser

        webbrowser.open(self.save(Path(tempfile.mkdtemp(prefix="minigrad-")) / "player.html").as_uri())

    def _repr_html_(self) -> str:
        page = html.escape(self.html(), quote=True)
        return (
            f'<iframe title="{html.escape(self.title or "minigrad player", quote=True)}" sandbox="allow-scripts" '
            f'style="width: 100%; height: 820px; border: 1px solid #767676; border-radius: 8px" srcdoc="{page}"></iframe>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f'<Player of {len(self.records.values)} values: .html(), .save("player.html"), .show()>'


def player(t: Any, *, gradient: Any = None, title: str = "") -> Player:
    """A page that steps through the forward and the backward pass of the graph that made ``t``.

    Every backward step shows ``upstream x local -> contribution`` with the rule and the numbers, and how the contributions to a
    value add up. Select a value for its array, its gradient ledger (one row per use; they sum to the gradient) and its paths to
    the output. Modules fold. Small graphs recompute in the page when an input is dragged, and can show the classic mistakes.
    Record inside ``with mg.inspect():`` to have the source line of every step, and large values.

    Args:
        t: a Tensor, before or after ``t.backward()``. No ``.grad`` changes.
        gradient: the upstream gradient to start from. By default the one that ``t.backward()`` started from, or 1 for a scalar.
        title: a heading.

    Returns:
        A :class:`Player`.

    Example:
        >>> import minigrad as mg
        >>> x, y = mg.tensor(2.0, requires_grad=True), mg.tensor(3.0, requires_grad=True)
        >>> page = player(x * y + x, title="x is used twice").html()
        >>> "<title>x is used twice</title>" in page
        True
    """
    if not isinstance(t, Handle):
        raise TypeError(f"expected a Tensor, got {type(t).__name__}: {str(t)[:60]}")
    backward = True if gradient is None and t._data.size == 1 and t.node is not None and t.node.requires_grad else None
    found = records(t, gradient=gradient, backward=backward, limit=MANY)
    if len(found.values) > BOXES and _folded(found) > BOXES:
        found = records(t, gradient=gradient, backward=backward, limit=BOXES)
    return Player(found, _parameters(t.node, found), title)


def describe(r: Records, params: Params | None = None, title: str = "") -> dict[str, Any]:
    """Everything that the page knows, as plain lists, dicts, numbers and text."""
    pool = _Pool()
    groups, homes = modules(r)
    files, lines = _sources(r)
    values = [
        {
            "id": v.id, "kind": v.kind, "name": fmt.plain(v.name) if v.name else "", "op": v.op, "symbol": fmt.SYMBOLS.get(v.op, ""),
            "gate": v.gate, "math": v.math, "operands": v.operands, "asked": v.asked, "shape": v.shape, "dtype": v.dtype, "value": pool.add(v.value, picture=True),
            "gradient": pool.add(v.gradient, picture=True), "accumulated": pool.add(v.accumulated), "group": homes.get(v.id), "line": lines.get(v.where),
            "unseen": v.unseen, "later": v.later, "params": params.get(v.id) if params else None, "module": ".".join(v.scope),
        }
        for v in r.values
    ]  # fmt: skip
    edges = [
        {
            "source": e.source, "target": e.target, "operand": e.operand, "rule": e.rule, "formula": mathml(e.rule),
            "contribution": pool.add(e.contribution), "local": pool.add(e.local),
        }
        for e in r.edges
    ]  # fmt: skip
    return {
        "title": fmt.plain(title, 200), "output": r.output, "differentiated": r.differentiated, "hidden": r.hidden, "note": r.note,
        "replay": params is not None and not r.hidden, "values": values, "edges": edges, "groups": groups, "files": files,
        "arrays": pool.told(),
    }  # fmt: skip


# Modules
def modules(r: Records) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The calls of modules, nested: the groups that fold, and the innermost group of each value that has one.

    A group is a run of operations that were recorded one after the other. So whatever leaves a group does not come back into
    it, and however groups are folded, no circle arises. Parameters, constants and nameless inputs (a dropout's mask) belong where
    all their uses are.
    """
    paths: list[tuple[str, ...]] = []
    parents: list[int | None] = []
    homes: dict[str, int | None] = {}
    stack: list[int] = []
    for v in r.values:
        if not v.op:
            continue
        depth = 0
        while depth < min(len(stack), len(v.scope)) and paths[stack[depth]][-1] == v.scope[depth]:
            depth += 1
        del stack[depth:]
        for k in range(depth, len(v.scope)):
            parents.append(stack[-1] if stack else None)
            paths.append(v.scope[: k + 1])
            stack.append(len(paths) - 1)
        homes[v.id] = stack[-1] if stack else None

    def chain(group: int | None) -> list[int]:
        found = []
        while group is not None:
            found.append(group)
            group = parents[group]
        return found[::-1]

    users: dict[str, list[str]] = {}
    for e in r.edges:
        users.setdefault(e.source, []).append(e.target)
    for v in r.values:
        if v.op or (v.kind == "input" and v.name) or v.unseen or v.id not in users:
            continue
        chains = [chain(homes.get(user)) for user in users[v.id]]
        shared = [level[0] for level in zip(*chains) if len(set(level)) == 1]
        homes[v.id] = shared[-1] if shared else None
    members = [0] * len(paths)
    for home in homes.values():
        for group in chain(home):
            members[group] += 1
    return _groups(paths, parents, members, homes)


def _groups(
    paths: list[tuple[str, ...]], parents: list[int | None], members: list[int], homes: dict[str, int | None]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The groups that are worth a box of their own: not those of a single value, nor those that hold just one other group."""
    inner = [sum(members[j] for j, p in enumerate(parents) if p == i) for i in range(len(paths))]
    single = {i for i in range(len(paths)) if sum(p == i for p in parents) == 1 and inner[i] == members[i]}
    keep = [i for i in range(len(paths)) if members[i] > 1 and i not in single]
    number = {old: new for new, old in enumerate(keep)}

    def nearest(group: int | None) -> int | None:
        while group is not None and group not in number:
            group = parents[group]
        return None if group is None else number[group]

    calls: dict[tuple[str, ...], int] = {}
    groups = []
    for old in keep:
        calls[paths[old]] = calls.get(paths[old], 0) + 1
        again = f" (call {calls[paths[old]]})" if calls[paths[old]] > 1 else ""
        groups.append(
            {"name": fmt.plain(".".join(paths[old])) + again, "parent": nearest(parents[old]), "members": members[old]}
        )
    return groups, {key: new for key, home in homes.items() if (new := nearest(home)) is not None}


def _folded(r: Records) -> int:
    """How many boxes there are with every module folded."""
    groups, homes = modules(r)
    outermost = sum(g["parent"] is None for g in groups)
    return outermost + sum(v.id not in homes for v in r.values)


# Numbers
class _Pool:
    """The arrays of a page, each once: a gradient that is handed on unchanged takes no more room."""

    def __init__(self) -> None:
        self._arrays: list[Array] = []
        self._places: dict[tuple[Any, ...], int] = {}
        self._pictured: set[int] = set()

    def add(self, array: Array | None, picture: bool = False) -> int | None:
        """The place of an array; None if there is no array. If it is large, it may come with a picture."""
        if array is None:
            return None
        key = array.shape, array.dtype.str, array.tobytes()
        if key not in self._places:
            self._places[key] = len(self._arrays)
            self._arrays.append(array)
        if picture:
            self._pictured.add(self._places[key])
        return self._places[key]

    def told(self) -> list[dict[str, Any]]:
        for most, side in SIZES:
            told = [_tell(array, most, side if k in self._pictured else 0) for k, array in enumerate(self._arrays)]
            if len(json.dumps(told)) <= BUDGET:
                break
        return told


def _tell(array: Array, most: int, side: int) -> dict[str, Any]:
    """An array: exactly, up to ``most`` elements; a larger one, or one that is no array of reals, as far as it can be shown."""
    told: dict[str, Any] = {"shape": array.shape, "dtype": str(array.dtype)}
    real = array.dtype.kind in "fiub"
    if real and array.size <= most:
        return told | {"data": _numbers(array)}
    told |= {"summary": fmt.summary(array), "line": fmt.line(array), "norm": fmt.norm(array)}
    return told | {"heat": _heat(array, side)} if real and side else told


def _numbers(array: Array) -> list[float | str]:
    """The elements, exactly: the shortest decimals that read back as the same numbers of the array's own precision."""
    flat = array.ravel()
    if array.dtype.kind in "iub":
        return [int(x) for x in flat]
    found = [float(str(x)) for x in flat] if flat.dtype == np.float32 else [float(x) for x in flat]
    return [x if math.isfinite(x) else str(x) for x in found]


def _heat(array: Array, side: int) -> dict[str, Any]:
    """Means of at most side x side blocks in 255 steps from lo to hi, as bytes; 255 marks a block with something that is not finite."""
    table = array.reshape(-1, array.shape[-1] if array.ndim > 1 else array.size).astype(np.float64)
    with np.errstate(all="ignore"):
        for axis in (0, 1):
            starts = np.unique(np.linspace(0, table.shape[axis], side, endpoint=False).astype(int))
            counts = np.diff([*starts, table.shape[axis]])
            table = np.add.reduceat(table, starts, axis) / (counts[:, None] if axis == 0 else counts)
        finite = table[np.isfinite(table)]
        lo, hi = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        codes = np.where(np.isfinite(table), np.round((table - lo) / ((hi - lo) or 1.0) * 254), 255).astype(np.uint8)
    return {
        "rows": table.shape[0],
        "columns": table.shape[1],
        "lo": lo,
        "hi": hi,
        "codes": base64.b64encode(codes.tobytes()).decode(),
    }


# What the page recomputes
def _parameters(root: Node | None, r: Records) -> Params | None:
    """The parameters of the recorded operations, which records tell only as text."""
    if root is None or r.hidden:
        return None
    found, stack = {root}, [root]
    while stack:
        new = [p for p in stack.pop().parents if p is not None and p not in found]
        found.update(new)
        stack += new
    nodes = sorted((node for node in found if node.op is not None), key=lambda node: node.order)
    made = [v for v in r.values if v.op]
    if [v.op for v in made] != [node.op.name for node in nodes]:
        return None
    return {v.id: _plain(node.params) for v, node in zip(made, nodes)}


def _plain(param: Any) -> Any:
    """A parameter for JSON; None as a whole if a part of it cannot be said there."""
    try:
        return json.loads(json.dumps([_entry(p) for p in param], allow_nan=False))
    except (TypeError, ValueError):
        return None


def _entry(p: Any) -> Any:
    if isinstance(p, slice):
        return {"slice": [p.start, p.stop, p.step]}
    if p is Ellipsis or p is SLOT:
        return {"ellipsis": True} if p is Ellipsis else {"array": True}
    if isinstance(p, (tuple, list)):
        return [_entry(x) for x in p]
    if isinstance(p, np.dtype) or (isinstance(p, type) and issubclass(p, np.generic)):
        return {"dtype": np.dtype(p).name}
    return p.item() if isinstance(p, np.generic) else p


# Source lines
def _sources(r: Records) -> tuple[list[dict[str, Any]], dict[str, tuple[int, int]]]:
    """The recorded source lines with those around them, by file, and for each place its file and line."""
    places: dict[str, tuple[str, int]] = {}
    for v in r.values:
        file, _, line = v.where.rpartition(":")
        if file and line.isdigit():
            places[v.where] = file, int(line)
    files: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    for file in dict.fromkeys(file for file, _ in places.values()):
        text = linecache.getlines(file)
        wanted = {
            k for f, line in places.values() if f == file for k in range(line - NEAR, line + NEAR + 1) if 1 <= k <= len(text)
        }
        if wanted:
            numbers[file] = len(files)
            told = [(k, text[k - 1].rstrip()[:LONGEST]) for k in sorted(wanted)]
            files.append(
                {"name": "notebook cell" if file.startswith("<") or "ipykernel" in file else Path(file).name, "lines": told}
            )
    return files, {where: (numbers[file], line) for where, (file, line) in places.items() if file in numbers}


# The file
def _json(data: dict[str, Any]) -> str:
    """JSON that may stand in a script element: no text in it can end the element or begin a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
