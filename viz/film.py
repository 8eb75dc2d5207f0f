"""Gradient flow over time: what each layer's gradient was at every training step, and at every time step of a recurrent layer.

A :class:`Film` listens on the outputs of a model's modules: a forward hook puts a hook on the output's gradient, so what it
measures is the backward pass that trains, not a second one. Numbers are kept, never arrays, and nothing of the graph.
"""

from __future__ import annotations

import json
import math
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from minigrad import backend
from minigrad.graph import TRACE, Handle, Node, recording, tensors_in
from minigrad.ops.recurrent import OPERATIONS, state_gradients
from minigrad.tensor import _hook_number
from minigrad.viz.dot import write
from minigrad.viz.format import Array, number

if TYPE_CHECKING:
    from minigrad.viz.marks import Mark
    from minigrad.viz.reel import Picture

SCANS = tuple(OPERATIONS)
"""Operations that make the states of all time steps at once."""
FLAT = 0.05
"""A sigmoid or tanh is saturated where its slope is below this share of its largest."""
SLOPES: dict[str, Callable[[Array], Array]] = {"sigmoid": lambda y: 4 * y * (1 - y), "tanh": lambda y: 1 - y * y}
"""The slope at output y, as a share of the largest."""
CALL = ("gradient", "gradient_bad", "mean", "std", "dead", "saturated", "value_bad")
PARAMETER = ("gradient", "norm", "update", "zeros", "bad")


@dataclass(frozen=True)
class Parameter:
    """One parameter by training step, arrays of (steps,): the norms of its gradient and of itself, ``update``, the share of zeros in
    its gradient, and how many entries of the gradient are not finite.

    ``update`` is the norm of what it changed by until the next record, over its norm; 1e-3 is a healthy size.
    """

    name: str
    gradient: Array
    norm: Array
    update: Array
    zeros: Array
    bad: Array


@dataclass(frozen=True)
class Layer:
    """One module by training step.

    Attributes:
        gradient: the norm of dL/d(output): (steps,), or (steps, time) if it was called several times in a step, or is a recurrent
            layer: then it is the norm of dL/dh_t, in the order in which the layer goes through time. NaN where there was none.
        total: the norm over all times together, (steps,).
        mean: of its output's entries, (steps,), as all below.
        std: of its output's entries.
        dead: the share of units of a ReLU that are 0 for the whole batch.
        saturated: the share of a sigmoid's or tanh's outputs where the slope is below 5 % of its largest.
        weights: the norm of the gradient of all parameters inside.
        parameters: their names.
    """

    name: str
    type: str
    gradient: Array
    total: Array
    mean: Array
    std: Array
    dead: Array
    saturated: Array
    gradient_bad: Array
    value_bad: Array
    weights: Array
    parameters: tuple[str, ...]

    @property
    def time(self) -> int:
        """How many time steps, or calls, there are in a training step; 1 if it is called once."""
        return self.gradient.shape[1] if self.gradient.ndim > 1 else 1


@dataclass
class _Row:
    """A module, or one direction of one layer inside a recurrent module."""

    name: str
    type: str
    parent: int | None
    inner: bool = True
    """Whether there is no module inside."""
    parameters: list[int] = field(default_factory=list)
    order: int = -1
    """When it first ended, among all: the order of data flow."""
    recurrent: bool = True
    """False as soon as it is known that its output is no sequence of states."""


class _Call:
    """What one call of a module gave. It is held by the hook on its output alone until the gradient comes."""

    __slots__ = ("number", "numbers", "row")

    def __init__(self, row: int, count: int, about: tuple[float, ...]) -> None:
        self.row, self.number = row, count
        self.numbers = [math.nan, 0.0, *about]


@dataclass
class _Frame:
    step: int
    loss: float
    parameters: Array
    calls: dict[int, Array]


class Film:
    """Record how gradients flow through a model while it is trained; then see it.

    Call :meth:`record` once per training step, after ``backward`` and before the next ``zero_grad``; or pass the film to
    :func:`nn.fit <minigrad.nn.fit>`, as ``batch_callbacks=[film]``. Training is the same with it, bit for bit.

    A module that is called several times in a step, as in a loop over time, gets an axis of time; so does a recurrent layer: dL/dh_t.
    All backward passes between two records count as one step. Inside ``mg.compile`` modules do not run: there, only parameters
    are recorded.

    It costs a few passes over each output and each parameter, and a GRU's way back through time once more; on the steps that
    ``every`` leaves out, next to nothing. It holds one copy of the parameters (``updates=False``: none), about 60 bytes per module,
    time step and kept step, and no graph.

    Args:
        model: a Module.
        every: record every so many training steps.
        most: how many steps are kept at most. When there are more, every second one is dropped, and ``every`` is doubled.
        updates: whether to measure how far each parameter moves.

    Attributes:
        steps: the numbers of the training steps that were kept, from 0: (steps,).
        loss: the losses that were given to :meth:`record`: (steps,).
        layers: the names of the modules in the order of data flow.
        parameters: the names of the parameters.
        marks: what stands out: a list of :class:`~minigrad.viz.marks.Mark`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn, optim
        >>> _ = mg.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> film, optimizer = Film(model), optim.SGD(model.parameters(), lr=0.1)
        >>> for _ in range(3):
        ...     loss = (model(mg.ones((4, 2))) ** 2).mean()
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     film.record(loss)
        ...     optimizer.step()
        >>> film.steps.tolist(), film.layers, film["0"].gradient.shape
        ([0, 1, 2], ['0', '1', '2'], (3,))
        >>> bool(film["2.weight"].gradient[-1] == np.linalg.norm(model[2].weight.grad.numpy().astype("float64")))
        True
    """

    def __init__(self, model: Any, *, every: int = 1, most: int = 500, updates: bool = True) -> None:
        for asked in ("named_modules", "named_parameters", "register_forward_hook"):
            if not hasattr(model, asked):
                raise TypeError(f"Film: expected an nn.Module, got {type(model).__name__}: {str(model)[:60]}")
        for name, value, least in (("every", every, 1), ("most", most, 2)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"Film: {name}={value!r}: expected a whole number, {least} or more")
        self.model: Any = model
        self.every, self.most, self.title = every, most, type(model).__name__
        self._updates = updates
        self._count = 0
        self._begin()
        named = list(model.named_parameters())
        self.parameters: list[str] = [name for name, _ in named]
        self._tensors = [p for _, p in named]
        self._listen(model)

    def _begin(self) -> None:
        self._frames: list[_Frame] = []
        self._rows: list[_Row] = []
        self._edges: dict[tuple[int, int], None] = {}
        self._ended = 0
        self._calls = 0
        self._seen: list[_Call] = []
        self._known: weakref.WeakKeyDictionary[Node, int] = weakref.WeakKeyDictionary()
        self._before: tuple[_Frame, list[Any]] | None = None
        self._handles: list[Any] = []

    # Listening
    def _listen(self, model: Any) -> None:
        """Put a hook on every module. It knows the film only weakly: a film that nobody holds ends, and takes its hooks along."""
        film = weakref.ref(self)
        places: dict[int, int] = {id(p): k for k, p in enumerate(self._tensors)}
        at: dict[str, int] = {}
        self._homes: dict[int, int] = {}
        for path, module in model.named_modules():
            above = [path.rsplit(".", k)[0] for k in range(1, path.count(".") + 1)] + [""]
            parent = next((at[p] for p in above if p in at), None) if path else None
            if getattr(module, "_transparent", False):
                continue
            at[path] = self._homes[id(module)] = len(self._rows)
            if parent is not None:
                self._rows[parent].inner = False
            inside = [places[id(p)] for _, p in module.named_parameters() if id(p) in places]
            self._rows.append(_Row(path or type(module).__name__, type(module).__name__, parent, parameters=inside))

            def after(module: Any, args: tuple[Any, ...], out: Any) -> None:
                if (found := film()) is not None:
                    found._after(module, args, out)

            self._handles.append(module.register_forward_hook(after))
        weakref.finalize(self, _remove, self._handles)

    def _after(self, module: Any, args: tuple[Any, ...], out: Any) -> None:
        row = self._homes.get(id(module))  # a copy of the model has copies of its hooks
        if row is None or self._count % self.every or recording.get()[0] >= TRACE:
            return
        output = next(tensors_in(out), None)
        if output is None or output.node is None or not output.node.requires_grad:
            return
        about, node = self._rows[row], output.node
        if about.order < 0:
            about.order, self._ended = self._ended, self._ended + 1
        if not self._frames:
            self._connect(row, args, node)
        told = _told(backend.to_numpy(output._data), node.op.name if node.op else "")
        recurrences = _recurrences(node) if about.inner and about.recurrent else []
        about.recurrent = bool(recurrences)
        if len(recurrences) == 1:
            self._hear(row, recurrences[0], told)
            return
        self._hear(row, [node], told)
        for k, states in enumerate(recurrences):
            self._hear(self._part(row, k), states, (math.nan,) * 4 + (0.0,))

    def _part(self, row: int, k: int) -> int:
        """The row of the k-th recurrence inside a module."""
        parts = [j for j, r in enumerate(self._rows) if r.parent == row]
        if k < len(parts):
            return parts[k]
        about = self._rows[row]
        module = self.model if about.parent is None else self.model.get_submodule(about.name)
        names: list[str] = getattr(module, "_suffixes", list)()
        suffix = names[k].lstrip("_") if k < len(names) else str(k)
        mine = [p for p in about.parameters if self.parameters[p].endswith(f"_{suffix}")]
        self._rows.append(_Row(f"{about.name}.{suffix}", f"{about.type} {suffix}", row, True, mine, self._ended, False))
        self._ended += 1
        return len(self._rows) - 1

    def _hear(self, row: int, states: list[Node], about: tuple[float, ...]) -> None:
        """Wait for the gradients of a call's output, or of a recurrence's states, each of which counts as a call."""
        for state in states:
            scan = state.op is not None and state.op.name in SCANS
            calls = [_Call(row, self._calls + k, about) for k in range(len(state.saved[1]) if scan else 1)]
            self._calls += len(calls)
            state.more().hooks[_hook_number()] = _ear(calls, self._seen, weakref.ref(state) if scan else None)

    def _connect(self, row: int, args: Any, node: Node) -> None:
        """Where a module's input came from: the modules that the graph leads back to. Once, in the first step."""
        about = self._rows[row]
        if about.inner:
            found = {source for t in tensors_in(args) for source in self._sources([t.node] if t.node is not None else [])}
            self._edges.update(dict.fromkeys((source, row) for source in sorted(found or {-1})))
        elif node not in self._known:
            self._edges.update(dict.fromkeys((source, row) for source in sorted(self._sources(list(node.parents)))))
        self._known.setdefault(node, row)

    def _sources(self, queue: list[Any]) -> set[int]:
        found: set[int] = set()
        visited: set[Node] = set()
        for node in queue:  # which grows meanwhile
            if node is None or node in visited:
                continue
            visited.add(node)
            if node in self._known:
                found.add(self._known[node])
            else:
                queue.extend(node.parents)
        return found

    def record(self, loss: Any = None) -> None:
        """Keep what this training step's backward pass was. Call it before the next ``zero_grad``.

        Args:
            loss: the step's loss, a number or a Tensor of one, to be shown.

        Raises:
            RuntimeError: if the film was read from a file, or closed.
        """
        if not self._handles:
            raise RuntimeError(
                "record: this film has ended (it was closed, or read from a file); make a new one: viz.Film(model)"
            )
        if self._before is not None:
            self._moved(*self._before)
            self._before = None
        if self._count % self.every == 0:
            self._keep(math.nan if loss is None else float(loss._data.item() if isinstance(loss, Handle) else loss), loss)
        self._seen.clear()
        self._count += 1

    def _keep(self, loss: float, tensor: Any) -> None:
        if not self._frames:
            root = tensor.node if isinstance(tensor, Handle) else None
            self._edges.update(dict.fromkeys((source, -2) for source in sorted(self._sources([root]))))
            self._known.clear()
        calls: dict[int, list[list[float]]] = {}
        for call in sorted(self._seen, key=lambda call: call.number):
            calls.setdefault(call.row, []).append(call.numbers)
        numbers = np.full((len(self._tensors), len(PARAMETER)), math.nan)
        for row, p in zip(numbers, self._tensors):
            g = p.grad
            row[1] = _size(p._data)[0]
            row[4] = 0
            if g is not None:
                row[0], row[4] = _size(g._data)
                row[3] = 1 - backend.namespace(g._data).count_nonzero(g._data).item() / max(g.size, 1)
        frame = _Frame(self._count, loss, numbers, {row: np.array(told) for row, told in calls.items()})
        self._frames.append(frame)
        if self._updates:
            self._before = frame, [p._data.copy() for p in self._tensors]
        if len(self._frames) > self.most:
            self.every *= 2
            self._frames = [f for f in self._frames if f.step % self.every == 0]

    def _moved(self, frame: _Frame, old: list[Any]) -> None:
        """How far the parameters went since the frame was kept."""
        with np.errstate(all="ignore"):
            for row, p, before in zip(frame.parameters, self._tensors, old):
                row[2] = np.float64(_size(p._data - before)[0]) / row[1]

    def __call__(self, state: Any) -> None:
        """The same for :func:`nn.fit <minigrad.nn.fit>`: ``nn.fit(..., batch_callbacks=[film])``."""
        self.record(state.loss)

    def close(self) -> None:
        """Take the hooks off the model. What was recorded stays."""
        _remove(self._handles)
        self._before, self.model, self._tensors = None, None, []

    # What was recorded
    def __len__(self) -> int:
        return len(self._frames)

    @property
    def steps(self) -> Array:
        return np.array([f.step for f in self._frames], dtype=np.int64)

    @property
    def loss(self) -> Array:
        return np.array([f.loss for f in self._frames])

    @property
    def layers(self) -> list[str]:
        return [self._rows[row].name for row in self.level()]

    @property
    def marks(self) -> list[Mark]:
        from minigrad.viz import marks

        return list(marks.marks(self))

    def level(self, depth: int | None = None) -> list[int]:
        """The rows that show the model with modules of at most ``depth`` levels opened, in the order of data flow."""
        shown = []
        for k, row in enumerate(self._rows):
            at = self._depth(k)
            used = row.order >= 0 or (row.inner and row.parameters)
            opened = any(r.parent == k and (r.order >= 0 or r.parameters) for r in self._rows)
            if used and (at == depth if opened else depth is None or at <= depth):
                shown.append(k)
        late = 1 + len(self._rows)
        return sorted(shown, key=lambda k: (self._rows[k].order if self._rows[k].order >= 0 else late, k))

    def _depth(self, row: int) -> int:
        parent = self._rows[row].parent
        return 0 if parent is None else 1 + self._depth(parent)

    def __getitem__(self, name: str) -> Any:
        """A :class:`Layer` or a :class:`Parameter` by its name."""
        if name in self.parameters:
            return self.parameter(name)
        if any(row.name == name for row in self._rows):
            return self.layer(name)
        raise KeyError(
            f"{name!r}: expected a layer, {', '.join(self.layers[:20])}, or a parameter, {', '.join(self.parameters[:20])}"
        )

    def layer(self, name: str) -> Layer:
        """A :class:`Layer` by its name, as in :attr:`layers`, or of a module further out."""
        for k, row in enumerate(self._rows):
            if row.name == name:
                return self._layer(k)
        raise KeyError(f"{name!r}: expected a layer: {', '.join(self.layers[:20])}")

    def parameter(self, name: str) -> Parameter:
        """A :class:`Parameter` by its name."""
        if name not in self.parameters:
            raise KeyError(f"{name!r}: expected a parameter: {', '.join(self.parameters[:20])}")
        k = self.parameters.index(name)
        table = np.array([f.parameters[k] for f in self._frames]).reshape(-1, len(PARAMETER))
        return Parameter(name, *table.T.copy())

    def _layer(self, k: int) -> Layer:
        row = self._rows[k]
        time = max((len(f.calls[k]) for f in self._frames if k in f.calls), default=1)
        table = np.full((len(self._frames), time, len(CALL)), math.nan)
        for place, f in enumerate(self._frames):
            if k in f.calls:
                table[place, : len(f.calls[k])] = f.calls[k]
        gradient, bad = table[:, :, 0], np.nan_to_num(table[:, :, 1]).sum(1)
        there = ~np.isnan(table)
        with np.errstate(all="ignore"):
            means = np.where(there, table, 0).sum(1) / there.sum(1)
            total = np.sqrt(np.where(there[:, :, 0], gradient, 0) ** 2 @ np.ones(time)) if time > 1 else gradient[:, 0].copy()
        total[(bad > 0) | ~there[:, :, 0].any(1)] = math.nan
        inside = np.array([f.parameters[row.parameters, 0] for f in self._frames]).reshape(len(self._frames), -1)
        weights = np.sqrt(np.nansum(inside**2, 1))
        weights[np.isnan(inside).all(1)] = math.nan
        _, _, mean, std, dead, saturated, _ = means.T
        return Layer(
            name=row.name, type=row.type, gradient=gradient if time > 1 else gradient[:, 0], total=total, mean=mean, std=std,
            dead=dead, saturated=saturated, gradient_bad=bad, value_bad=np.nan_to_num(table[:, :, 6]).max(1), weights=weights,
            parameters=tuple(self.parameters[p] for p in row.parameters),
        )  # fmt: skip

    def table(self, step: int = -1) -> str:
        """Every layer at one of the kept steps, and the marks, as text.

        Args:
            step: which one, as an index of :attr:`steps`.
        """
        at = self._place(step)
        head = ("layer", "gradient", "weights", "mean", "std", "dead", "saturated")
        rows: list[tuple[str, ...]] = [head]
        for name in self.layers:
            layer = self.layer(name)
            told = (number(getattr(layer, key)[at]) for key in ("total", *head[2:]))
            rows.append((name, *("-" if text == "nan" else text for text in told)))
        wide = [max(map(len, column)) for column in zip(*rows)]
        lines = [f"step {self.steps[at]}, loss {number(self.loss[at])}"]
        lines += ["  ".join([row[0].ljust(wide[0]), *(t.rjust(w) for t, w in zip(row[1:], wide[1:]))]) for row in rows]
        return "\n".join([*lines, *(f"{mark.kind}: {mark.text}" for mark in self.marks)])

    def _place(self, step: int) -> int:
        if not self._frames:
            raise ValueError("this film is empty: call film.record(loss) after loss.backward(), in the training loop")
        if not -len(self._frames) <= step < len(self._frames):
            raise IndexError(
                f"step={step}: {len(self._frames)} steps were kept; expected {-len(self._frames)} to {len(self._frames) - 1}"
            )
        return step % len(self._frames)

    # As files
    def to_json(self) -> str:
        """Everything that was recorded."""
        return json.dumps({
            "minigrad": "film", "version": 1, "title": self.title, "every": self.every, "parameters": self.parameters,
            "rows": [[r.name, r.type, r.parent, r.inner, r.parameters, r.order] for r in self._rows], "edges": list(self._edges),
            "frames": [[f.step, _plain(f.loss), _plain(f.parameters), [[k, _plain(v)] for k, v in f.calls.items()]] for f in self._frames],
        }, allow_nan=False)  # fmt: skip

    @classmethod
    def from_json(cls, text: str) -> Self:
        """A film that :meth:`to_json` wrote, to be seen.

        Raises:
            ValueError: if the text is something else.
        """
        told = json.loads(text)
        if not isinstance(told, dict) or told.get("minigrad") != "film" or told.get("version") != 1:
            raise ValueError(f"from_json: expected what Film.to_json() writes, got {text[:60]!r}")
        film = cls.__new__(cls)
        film._begin()
        film.model, film._tensors = None, []
        film.title, film.every, film.parameters = told["title"], told["every"], told["parameters"]
        film._rows = [_Row(*row) for row in told["rows"]]
        film._edges = dict.fromkeys((a, b) for a, b in told["edges"])
        film._frames = [
            _Frame(step, float(_array(loss)), _array(numbers).reshape(-1, len(PARAMETER)), {k: _array(v) for k, v in calls})
            for step, loss, numbers, calls in told["frames"]
        ]
        return film

    def html(self, title: str = "") -> str:
        """The film as a page: see :mod:`minigrad.viz.reel`."""
        from minigrad.viz import reel

        self._place(0)
        return reel.page(self, title)

    def draw(self, step: int = -1, title: str = "") -> Picture:
        """The whole film as one picture, and the flow through the layers at one of the kept steps. It needs matplotlib.

        Args:
            step: which one, as an index of :attr:`steps`.
            title: a heading.
        """
        from minigrad.viz import reel

        return reel.Picture(self, self._place(step), title)

    def save(self, path: str | os.PathLike[str], title: str = "") -> Path:
        """Write the film as a web page (.html), as data (.json), or as a picture (.svg, .png, .pdf).

        The file appears when it is complete, or not at all.

        Returns:
            The path.

        Raises:
            ValueError: if the suffix is none of these.
        """
        path = Path(path)
        kind = path.suffix.lower()
        if kind in (".svg", ".png", ".pdf"):
            return self.draw(title=title).save(path)
        if kind not in (".html", ".htm", ".json"):
            raise ValueError(f"save: cannot write {path.name!r}; the suffix says the format: .html, .json, .svg, .png, .pdf")
        write(path, (self.to_json() if kind == ".json" else self.html(title)).encode())
        return path

    def _repr_html_(self) -> str:
        from minigrad.viz import reel

        return reel.framed(self.html()) if self._frames else f"<p>{self!r}</p>"

    def __repr__(self) -> str:
        return f'<Film of {self.title}: {len(self)} steps, {len(self.layers)} layers: .table(), .draw(), .save("flow.html")>'


# Measuring
def _size(array: Any) -> tuple[float, int]:
    """The Euclidean norm, in float64, and how many entries are not finite."""
    library = backend.namespace(array)
    wide = library.complex128 if array.dtype.kind == "c" else library.float64
    with np.errstate(all="ignore"):
        norm = float(library.linalg.norm(array.astype(wide, copy=False).ravel()))
    return norm, 0 if math.isfinite(norm) else int(array.size - library.isfinite(array).sum())


def _told(value: Array, op: str) -> tuple[float, ...]:
    """Mean, standard deviation, share of dead units, share of saturated entries, and how many entries are not finite."""
    if not value.size or value.dtype.kind not in "fiu":
        return math.nan, math.nan, math.nan, math.nan, 0.0
    with np.errstate(all="ignore"):
        mean, std = float(value.mean(dtype=np.float64)), float(value.std(dtype=np.float64))
        bad = 0 if math.isfinite(std) else value.size - int(np.isfinite(value).sum())
        dead = saturated = math.nan
        if op == "relu" and value.ndim:
            channel = 1 if value.ndim in (4, 5) else value.ndim - 1
            dead = float((value == 0).all(tuple(k for k in range(value.ndim) if k != channel)).mean())
        if op in SLOPES:
            saturated = float((SLOPES[op](value) < FLAT).mean())
    return mean, std, dead, saturated, float(bad)


def _ear(calls: list[_Call], seen: list[_Call], scan: weakref.ref[Node] | None) -> Callable[[Any], Any]:
    """A hook that writes down the size of a gradient. It holds numbers only: what it hangs on, weakly."""

    def arrived(g: Any) -> Any:
        array = getattr(g, "_data", g)
        node = scan() if scan is not None else None
        for call, part in zip(calls, [array] if node is None else state_gradients(node, array)):
            if math.isnan(call.numbers[0]) and not call.numbers[1]:
                seen.append(call)
            call.numbers[:2] = _size(part)
        return g

    return arrived


def _recurrences(node: Node) -> list[list[Node]]:
    """What a recurrent layer's output was made from: for each of its recurrences, the first layer's first, its states in the order in
    which they were made; or the one operation that made them all.

    Only operations in the scope of the output are looked at: those of its own module.
    """
    found: list[list[Node]] = []
    queue, visited, scope = [node], {node}, node.scope
    for at in queue:  # which grows meanwhile
        parents = [p for p in at.parents if p is not None and p.requires_grad and p.op is not None and p.scope == scope]
        if at.op is not None and at.op.name in SCANS:
            found.append([at])
        elif at.op is not None and at.op.name == "stack" and len(parents) > 1 and _one_from_another(parents):
            found.append(sorted(parents, key=lambda p: p.order))
            parents = found[-1][:1]
        new = [p for p in parents if p not in visited]
        visited.update(new)
        queue += new
    return sorted(found, key=lambda states: states[-1].order)


def _one_from_another(states: list[Node]) -> bool:
    first, second = sorted(states, key=lambda p: p.order)[:2]
    queue = [second]
    for at in queue:  # which grows meanwhile
        if at is first:
            return True
        queue += [p for p in at.parents if p is not None and p.order >= first.order and p not in queue]
    return False


def _remove(handles: list[Any]) -> None:
    while handles:
        handles.pop().remove()


def _plain(numbers: Any) -> Any:
    """Numbers for JSON, which has no NaN (null) and no infinity (text)."""
    if isinstance(numbers, np.ndarray):
        return [_plain(x) for x in numbers] if numbers.ndim else _plain(float(numbers))
    x = float(numbers)
    return x if math.isfinite(x) else None if math.isnan(x) else str(x)


def _array(told: Any) -> Array:
    return np.array(told, dtype=np.float64)
