"""``mark``: compare gradients derived by hand with those of the graph, and name the mistake in the first wrong one.

A wrong derivation is the right one with one step done wrong. So every classic mistake is tried on every step that the wrong
gradient hangs on: the graph's contribution of an edge is replaced by what the mistake would have made of it, the difference is
carried on to the gradient in question (the backward pass is linear in what flows), and the result is compared with what was
handed in. A mistake is named only where it explains every number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minigrad import backend, naming
from minigrad.errors import MinigradError, NotInGraphError, ShapeError
from minigrad.graph import Absent, Handle, Node, ancestors, between, fit, pull_back

Array = np.ndarray[Any, Any]

MISTAKES = {
    "transposed": "it is transposed: check which operand of the product carries the transpose, and on which side it stands",
    "sign": "its sign is wrong",
    "mean": "a factor 1/N is missing or too much: a mean divides by the number of its elements, a sum does not",
    "two": "a factor 2 is missing or too much, as when a square is differentiated",
    "factor": "it is the right gradient times a constant",
    "overwritten": "only one contribution is there: `=` where `+=` belongs (a value that is used twice adds up its gradients)",
    "branch": "one branch is missing: the value is used in several places, and each contributes",
    "upstream": "the upstream gradient is forgotten: this is the local gradient alone",
    "local": "the local gradient is forgotten: this is the upstream gradient alone",
    "activation": "the derivative of the activation is forgotten",
    "operand": "the wrong value stands in the local gradient, such as x for y, or the input for the output",
    "elementwise": "an elementwise product stands where a matrix product belongs",
    "broadcast": "the sum over the axis that broadcasting copied along is missing or goes over the wrong axis",
    "onehot": "the one-hot target is not subtracted: softmax with cross-entropy gives p - y",
    "diagonal": "softmax is treated as elementwise: its Jacobian f_i (delta_ij - f_j) has entries off the diagonal",
    "exchanged": "this is the gradient of another value",
    "shape": "its shape is wrong: a gradient has the shape of its tensor",
}
"""The mistakes that are known by name."""
TOLERANCE = {2: (1e-2, 1e-2), 4: (1e-3, 3e-5), 8: (1e-5, 1e-9)}
"""By the bytes of the coarsest dtype: relative to each element, and to the largest number that went into the gradient."""
EDGES = 400
"""At so many steps at most, the nearest ones, mistakes are looked for."""
WORK = 100_000
"""So many rules are run at most to carry what mistakes at other steps would have changed: a second or so."""


class Match(NamedTuple):
    """A mistake that explains a wrong gradient: its name in :data:`MISTAKES`, and the step where it was made."""

    mistake: str
    step: str
    hops: int

    def __str__(self) -> str:
        return f"{MISTAKES[self.mistake]} (at {self.step})"


class Row(NamedTuple):
    """One gradient that was compared. ``status`` is "right", "wrong", or "follows": below the first wrong one."""

    name: str
    shape: tuple[int, ...]
    status: str
    error: float


@dataclass(frozen=True)
class Report:
    """What :func:`mark` found.

    Attributes:
        ok: whether all gradients are right.
        first_wrong: the name of the first wrong one in the order of the backward pass; all above it that were handed in are
            right. None where all are.
        mistake: the name of its mistake, a key of :data:`MISTAKES`; None where no known mistake gives these numbers.
        matches: every mistake that does, the likeliest first. Where there are several the numbers cannot tell them apart.
        table: a row for each gradient, in the order of the backward pass.
    """

    ok: bool
    first_wrong: str | None
    mistake: str | None
    matches: tuple[Match, ...]
    table: tuple[Row, ...]
    detail: str = field(default="", repr=False)

    def __str__(self) -> str:
        width = max((len(row.name) for row in self.table), default=0)
        marks = {"right": "right", "wrong": "WRONG", "follows": "wrong too, and hangs on the above"}
        rows = [f"  {row.name:<{width}}  {marks[row.status]}" for row in self.table]
        if self.ok:
            return "\n".join([f"All {len(self.table)} gradients are right.", *rows])
        head = f"The gradient of {self.first_wrong} is wrong; every gradient above it is right."
        if not self.matches:
            told = [f"No known mistake gives these numbers. {self.detail}"]
        else:
            told = [f"{self.matches[0]}."[0].upper() + f"{self.matches[0]}."[1:]]
            told += [f"Or, which gives the same numbers here: {match}." for match in self.matches[1:4]]
        return "\n".join([head, *told, *rows])


def mark(hand_gradients: Mapping[Any, Any], loss: Any, *, gradient: Any = None, rtol: float | None = None) -> Report:
    """Compare gradients that were derived by hand with those of the recorded graph.

    Args:
        hand_gradients: for each tensor, or name of one (its own, or that of your variable), an array, a number or nested
            lists. Any subset, intermediate values included: the more there are, the closer a mistake is pinned down.
        loss: the Tensor that was differentiated. If ``backward`` has run, large graphs need ``retain_graph=True``.
        gradient: the upstream gradient to start from; 1 by default.
        rtol: how far off, relative to each element, still counts as right; by default 1e-5 in float64, 1e-3 in float32. A
            number typed with three digits or more is always allowed to be rounded where it ends.

    Returns:
        A :class:`Report`; print it.

    Raises:
        NotInGraphError: if a name or tensor is not part of the graph, or has no gradient.
        ShapeError: if ``loss`` is no scalar and no ``gradient`` is given.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor(3.0, requires_grad=True)
        >>> y = x * x
        >>> loss = y + 2 * x
        >>> print(mark({"y": 1.0, "x": 8.0}, loss))
        All 2 gradients are right.
          y  right
          x  right
        >>> report = mark({"y": 1.0, "x": -8.0}, loss)
        >>> report.first_wrong, report.mistake
        ('x', 'sign')
    """
    known = _Graph(loss, gradient)
    given = {known.find(key): (key, value) for key, value in hand_gradients.items()}
    if not given:
        raise ValueError("mark: no gradients to compare; hand in a mapping such as {'w': [0.1, 0.2]}")
    rows: list[Row] = []
    first: Node | None = None
    right: set[Node] = set()
    follows: set[Node] = set()
    for node in sorted(given, key=lambda n: n.order, reverse=True):
        hand, typed = _numbers(given[node][1])
        allowed = known.allowed(node, hand, rtol)
        close = known.equal(hand, known.gradients[node], allowed + typed)
        error = _distance(hand, known.gradients[node])
        status = "right" if close else "follows" if node in follows else "wrong"
        if close:
            right.add(node)
        elif first is None:
            first = node
            follows = set(ancestors([node])) - {node}
        rows.append(Row(known.names[node], tuple(node.shape), status, error))
    if first is None:
        return Report(True, None, None, (), tuple(rows))
    hand, typed = _numbers(given[first][1])
    matches = tuple(known.diagnose(first, hand, right, known.allowed(first, hand, rtol) + typed))
    true = known.gradients[first]
    detail = f"It is off by up to {_distance(hand, true):.3g}; the right values are up to {_largest(true):.3g} in size."
    return Report(False, known.names[first], matches[0].mistake if matches else None, matches, tuple(rows), detail)


def _numbers(value: Any) -> tuple[Array, Any]:
    """An array of what was handed in, and by how much each number may be off because it was typed with few digits."""
    value = getattr(value, "_data", value)
    array = np.asarray(backend.to_numpy(value)) if hasattr(value, "dtype") else np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"mark: expected numbers, got {str(value)[:60]!r}")
    if hasattr(value, "dtype") or array.dtype.kind != "f":
        return array, 0.0
    return array, np.array([_rounding(x) for x in array.ravel().tolist()]).reshape(array.shape)


def _rounding(x: float) -> float:
    """Half a unit of the last place that was typed, for 3 to 7 digits (fewer: exact by intent; more: computed)."""
    mantissa, _, exponent = repr(x).partition("e")
    digits = mantissa.lstrip("-").replace(".", "").lstrip("0")
    if not math.isfinite(x) or "." not in mantissa or not 3 <= len(digits) <= 7:
        return 0.0
    return float(0.5001 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])))


def _distance(a: Array, b: Array) -> float:
    if a.shape != b.shape:
        return math.inf
    with np.errstate(all="ignore"):
        return float(np.max(np.where(a == b, 0.0, np.abs(a - b)), initial=0.0))


def _largest(a: Any) -> float:
    a = np.abs(np.asarray(a))
    return float(np.max(a, where=np.isfinite(a), initial=0.0))


class Edge(NamedTuple):
    """One use of a value: what ``node``'s rule ``i`` made of the upstream gradient ``g``."""

    node: Node
    i: int
    g: Any
    part: Any

    @property
    def parent(self) -> Node:
        return self.node.parents[self.i]  # type: ignore[return-value]


class _Graph:
    """A graph with its gradients, the contributions they are made of, and the user's names."""

    def __init__(self, loss: Any, gradient: Any) -> None:
        if not isinstance(loss, Handle) or loss.node is None or not loss.node.requires_grad:
            raise NotInGraphError("mark: loss has no graph; compute it from tensors with requires_grad=True")
        self.root = root = loss.node
        if gradient is None and loss._data.size != 1:
            raise ShapeError(f"mark: loss has shape {root.shape}; pass gradient=, an array of that shape, or mark a scalar")
        seed = (
            np.ones(root.shape, root.dtype)
            if gradient is None
            else np.asarray(getattr(gradient, "_data", gradient), root.dtype)
        )
        self.nodes = sorted(ancestors([root]), key=lambda n: n.order)
        self.uses: dict[Node, list[Edge]] = {node: [] for node in self.nodes}

        def write_down(node: Node, i: int, g: Any, part: Any) -> None:
            self.uses[node.parents[i]].append(Edge(node, i, g, part))  # type: ignore[index]

        self.wanted = set(self.nodes)
        with np.errstate(all="ignore"):
            self.gradients = self._pull({root: seed}, self.nodes, write_down)
        self.scales = self._scales(_largest(seed))
        labels = naming.variables(lambda v: id(v.node) if isinstance(v, Handle) and v.node in self.gradients else None)
        self.names = {n: n.name or labels.get(id(n)) or (n.op.name if n.op else "leaf") for n in self.gradients}
        self.bytes = min(np.dtype(n.dtype).itemsize for n in self.nodes)

    def _pull(self, seeds: dict[Node, Any], targets: Any, watch: Any = None, wanted: Any = None) -> dict[Node, Any]:
        try:
            found = pull_back(seeds, wanted or self.wanted, retain=True, targets=targets, watch=watch or (lambda *_: None))
        except MinigradError as error:
            raise MinigradError(f"mark: {error} If backward has run, pass it retain_graph=True, or mark before it.") from error
        return {node: np.asarray(g) for node, g in found.items()}

    def _scales(self, seed: float) -> dict[Node, float]:
        """How large the numbers were that went into each gradient: what is left after they cancel is known no better."""
        scales = {self.root: seed}
        for node in reversed(self.nodes):
            if node not in self.gradients:
                continue
            total = 0.0
            for edge in self.uses[node]:
                g, part = _largest(edge.g), _largest(edge.part)
                total += part * (scales.get(edge.node, g) / g if g else 1.0)
            scales[node] = max(total, _largest(self.gradients[node]), scales.get(node, 0.0))
        return scales

    def find(self, key: Any) -> Node:
        """The node that a tensor or a name stands for."""
        node: Node | None = None
        if isinstance(key, Handle):
            node = key.node
        else:
            node = next((n for n in reversed(self.nodes) if n.name == key), None)
            if node is None:
                seen: dict[str, Node] = {}
                for frame in naming.user_frames():
                    here = {**frame.f_globals, **frame.f_locals}
                    for name, value in here.items():
                        for label, item in naming._items(name, value):
                            if isinstance(item, Handle) and item.node in self.wanted:
                                seen.setdefault(label, item.node)
                    if key in seen:
                        break
                node = seen.get(key)
        if node is None or node not in self.gradients:
            known = ", ".join(sorted(set(self.names.values())))
            raise NotInGraphError(
                f"mark: no gradient flows to {key if isinstance(key, str) else 'this tensor'!r}; there are {known}"
            )
        return node

    def allowed(self, node: Node, hand: Array, rtol: float | None) -> Any:
        """How far a number may be off, for each element."""
        relative, absolute = TOLERANCE[self._precision(hand)]
        true = self.gradients[node]
        return np.abs(true) * (relative if rtol is None else rtol) + absolute * self.scales[node]

    def _precision(self, hand: Array) -> int:
        size = min(self.bytes, hand.dtype.itemsize if hand.dtype.kind == "f" else 8)
        return 2 if size < 4 else 4 if size < 8 else 8

    def equal(self, hand: Array, value: Array, allowed: Any) -> bool:
        if hand.shape != value.shape and not hand.size == value.size == 1:
            return False
        hand = hand.reshape(value.shape)
        with np.errstate(all="ignore"):
            near = np.abs(hand.astype(np.float64) - value.astype(np.float64)) <= np.reshape(allowed, value.shape)
            same = (hand == value) | (np.isnan(hand) & np.isnan(value))
        return bool(np.all(near | same))

    # Which mistake
    def diagnose(self, node: Node, hand: Array, right: set[Node], allowed: Any) -> list[Match]:
        """Every mistake that turns the right gradient of ``node`` into ``hand``, the nearest and likeliest first."""
        true, order = self.gradients[node], list(MISTAKES)
        found: dict[tuple[str, int], Match] = {}

        def try_it(label: str, value: Any, step: str, hops: int) -> None:
            value = np.asarray(value)
            with np.errstate(all="ignore"):
                slack = np.max(allowed, initial=0.0) if value.shape != true.shape else allowed
                slack = slack + np.abs(value) * TOLERANCE[self._precision(hand)][0]
                same = hand.shape == value.shape and self.equal(hand, value, slack)
            if same and not any(match.mistake == label for match in found.values()):
                found[label, hops] = Match(label, step, hops)

        ways: dict[Node, set[Node]] = {}
        work = WORK

        def carry(parent: Node, delta: Any) -> Any:
            """What becomes of the gradient of ``node`` if that of ``parent`` is off by ``delta``."""
            nonlocal work
            if parent not in ways:
                ways[parent] = between([parent], [node])
            work -= len(ways[parent])
            return true + self._pull({parent: delta.astype(parent.dtype)}, {node}, wanted=ways[parent]).get(node, 0)

        with np.errstate(all="ignore"):
            name = self.names[node]
            for label, value in self._whole(node, hand, allowed):
                try_it(label, value, f"the gradient of {name}", 0)
            for edge, hops in self._steps(node, right):
                parent, uses = edge.parent, self.uses[edge.parent]
                if parent is not node and work < 0:
                    continue
                step = f"{edge.node.op.name}, from {self.names[edge.node]} to {self.names[parent]}"
                for label, part in _mutations(edge, len(uses)):
                    if parent is not node and part.shape == parent.shape:
                        try_it(label, carry(parent, part - edge.part), step, hops)
                    elif parent is node and (len(uses) == 1 or part.shape == true.shape):
                        try_it(label, sum((e.part for e in uses if e is not edge), part), step, hops)
                if parent is not node and len(uses) > 1 and (len(uses) > 2 or edge is uses[-1]):
                    try_it(
                        "overwritten",
                        carry(parent, edge.part - self.gradients[parent]),
                        f"the gradient of {self.names[parent]}",
                        hops,
                    )
            if all(match.mistake in ("exchanged", "factor") for match in found.values()):
                for edge in self.uses[node]:
                    others = [e.part for e in self.uses[node] if e is not edge]
                    for part in itertools.islice(self._other_values(edge), max(0, work) // 100):
                        work -= 10
                        try_it("operand", sum(others, part), f"{edge.node.op.name}, to {name}", 0)
        if hand.shape != true.shape and not any(match.mistake == "shape" for match in found.values()):
            found["shape", 0] = Match("shape", f"{name}: {hand.shape} instead of {true.shape}", 0)
        return sorted(found.values(), key=lambda m: (m.mistake in ("factor", "shape"), m.hops, order.index(m.mistake)))

    def _steps(self, node: Node, right: set[Node]) -> list[tuple[Edge, int]]:
        """The edges between ``node`` and the nearest gradients above it that are known to be right, with their distance."""
        found, seen, queue = [], {node}, [(node, 0)]
        for here, hops in queue:  # which grows meanwhile
            for edge in self.uses[here]:
                found.append((edge, hops))
                if edge.node not in right and edge.node not in seen and len(found) < EDGES:
                    seen.add(edge.node)
                    queue.append((edge.node, hops + 1))
        return found

    def _other_values(self, edge: Edge) -> Iterator[Any]:
        """A contribution with another value of the graph in the place of each that the rule reads."""
        known = {id(v): v for n in self.nodes for v in n.saved if v is not None and not isinstance(v, Absent)}
        saved = edge.node.saved
        for k in edge.node.op.needs[edge.i]:
            for value in known.values():
                if np.shape(value) == np.shape(saved[k]) and value is not saved[k]:
                    yield _run(edge, saved=(*saved[:k], value, *saved[k + 1 :]))

    def _whole(self, node: Node, hand: Array, allowed: Any) -> Iterator[tuple[str, Any]]:
        """Mistakes with a gradient as a whole."""
        true, uses = self.gradients[node], self.uses[node]
        if true.ndim >= 2 and not self.equal(np.swapaxes(true, -1, -2), true, allowed):
            yield "transposed", np.swapaxes(true, -1, -2)
        if hand.shape != true.shape and hand.size == true.size:
            yield "shape", true.reshape(hand.shape)
        yield "sign", -true
        if len(uses) > 1:
            for edge in uses if len(uses) > 2 else uses[-1:]:  # with `=`, the last of the backward pass is what remains
                yield "overwritten", edge.part
            for edge in uses:
                yield "branch", sum(e.part for e in uses if e is not edge)
            for label in ("upstream", "local"):
                changed = [dict(_mutations(edge, 1)).get(label) for edge in uses]
                if all(part is not None for part in changed):
                    yield label, sum(changed)
        yield from self._ratio(true, hand)
        for other, value in self.gradients.items():
            if other is not node and value.shape == true.shape and value.size and not all(e.part is value for e in uses):
                upstream = any(e.node is other for e in uses)
                if not upstream and not np.array_equal(value, true):
                    yield "exchanged", value

    def _ratio(self, true: Array, hand: Array) -> Iterator[tuple[str, Any]]:
        """The right gradient times a constant, and what the constant may stand for."""
        if true.shape != hand.shape or not true.size:
            return
        k = int(np.argmax(np.abs(true)))
        ratio = float(hand.flat[k] / true.flat[k]) if true.flat[k] else 0.0
        if ratio <= 0 or not math.isfinite(ratio) or abs(ratio - 1) < 1e-3:
            return
        counts = {math.prod(n.shape) for n in self.nodes} | {m for n in self.nodes for m in n.shape}
        for node in self.nodes:
            if node.op is not None and node.op.name in ("mean", "var", "std"):
                counts.add(_count(node))
        if any(abs(r - n) <= 1e-3 * n for n in counts if n > 1 for r in (ratio, 1 / ratio)):
            yield "mean", true * ratio
        if min(abs(ratio - 2), abs(ratio - 0.5)) < 1e-3:
            yield "two", true * ratio
        yield "factor", true * ratio


def _count(node: Node) -> int:
    """How many elements of its operand go into each element of a reduction."""
    operand = node.parents[0]
    size = math.prod(operand.shape) if operand is not None else 1
    return size // max(math.prod(node.shape), 1)


# What mistakes make of one contribution
Mutation = Callable[[Edge], Iterator[Any]]
ACTIVATIONS = {
    "relu", "tanh", "sigmoid", "softplus", "erf", "exp", "log", "sqrt", "square", "abs", "sin", "cos", "maximum", "where", "softmax",
    "log_softmax",
}  # fmt: skip


def _mutations(edge: Edge, uses: int) -> Iterator[tuple[str, Any]]:
    """What each mistake would have made of a contribution; those that cannot be made there, or change nothing, are left out."""
    for label, mistakes in TABLE.items():
        try:
            for part in mistakes(edge):
                part = np.asarray(part)
                if part.shape != np.shape(edge.part) or not np.allclose(part, edge.part, rtol=1e-6, atol=0, equal_nan=True):
                    yield label, part
        except (ValueError, IndexError, TypeError, MinigradError, np.linalg.LinAlgError):
            continue  # a mistake that these shapes do not allow
    if uses > 1:
        yield "branch", np.zeros_like(edge.part)


def _run(edge: Edge, g: Any = None, saved: tuple[Any, ...] | None = None, raw: bool = False) -> Any:
    """The rule of an edge on other values than it was run on."""
    node = edge.node
    part = node.op.rules[edge.i](edge.g if g is None else g, *(node.saved if saved is None else saved), *node.params)
    return part if raw else fit(part, node, edge.i)


def _signs(edge: Edge) -> Iterator[Any]:
    yield -edge.part


def _means(edge: Edge) -> Iterator[Any]:
    name = edge.node.op.name
    if name in ("mean", "var", "std", "sum"):
        n = _count(edge.node)
        for size in {n, *edge.parent.shape}:
            yield edge.part / size if name == "sum" else edge.part * size
    sizes = {math.prod(edge.parent.shape), *edge.parent.shape} if name == "mean" else set()
    yield from (edge.part / n for n in sizes)


def _twos(edge: Edge) -> Iterator[Any]:
    if edge.node.op.name in ("square", "power", "var", "divide", "multiply", "sum", "mean"):
        yield edge.part / 2
        yield edge.part * 2


def _upstreams(edge: Edge) -> Iterator[Any]:
    yield _run(edge, g=np.ones_like(edge.g))


def _passed(edge: Edge) -> Any:
    return fit(np.asarray(edge.g), edge.node, edge.i)


def _is_activation(edge: Edge) -> bool:
    return edge.node.op.name in ACTIVATIONS


def _locals(edge: Edge) -> Iterator[Any]:
    if not _is_activation(edge):
        yield _passed(edge)


def _activations(edge: Edge) -> Iterator[Any]:
    if _is_activation(edge):
        yield _passed(edge)


def _operands(edge: Edge) -> Iterator[Any]:
    """Another value in the place of each that the rule reads; the other operand's rule."""
    node = edge.node
    known = [k for k, v in enumerate(node.saved) if v is not None and not isinstance(v, Absent)]
    for k in node.op.needs[edge.i]:
        for other in known:
            if other != k:
                saved = list(node.saved)
                saved[k] = node.saved[other]
                yield _run(edge, saved=tuple(saved))
    if node.op.arity == 2 and node.op.rules[1 - edge.i] is not None:
        yield fit(node.op.rules[1 - edge.i](edge.g, *node.saved, *node.params), node, edge.i)


def _matrices(edge: Edge) -> Iterator[tuple[Any, Any]]:
    """The upstream gradient and the other operand of a matrix product, plain and transposed."""
    if edge.node.op.name in ("matmul", "linear") and edge.i < 2:
        g, other = np.asarray(edge.g), np.asarray(edge.node.saved[2 - edge.i])
        for left in (g, g.swapaxes(-1, -2) if g.ndim > 1 else g):
            for right in (other, other.swapaxes(-1, -2) if other.ndim > 1 else other):
                yield left, right


def _elementwise(edge: Edge) -> Iterator[Any]:
    for left, right in _matrices(edge):
        try:
            yield left * right
        except ValueError:
            continue


def _transposed(edge: Edge) -> Iterator[Any]:
    """Products with a transpose too many or too few; a result that is transposed."""
    if edge.node.op.name == "permute_dims":
        yield np.asarray(edge.g)
    for left, right in _matrices(edge):
        for a, b in ((left, right), (right, left)):
            try:
                yield a @ b
            except ValueError:
                continue


def _broadcast(edge: Edge) -> Iterator[Any]:
    """The sum over copies left out, replaced by one copy or taken along another axis."""
    raw = np.asarray(_run(edge, raw=True))
    shape = tuple(edge.parent.shape)
    if raw.shape == shape:
        return
    yield raw
    extra = raw.ndim - len(shape)
    lost = (*range(extra), *(extra + k for k, n in enumerate(shape) if n == 1 and raw.shape[extra + k] != 1))
    yield raw.sum(axis=lost, keepdims=True)
    yield raw[tuple(0 if k in lost else slice(None) for k in range(raw.ndim))].reshape(shape)
    yield raw[tuple(-1 if k in lost else slice(None) for k in range(raw.ndim))].reshape(shape)
    yield raw.mean(axis=lost).reshape(shape)
    for k in range(raw.ndim):
        yield raw.sum(axis=k)


def _onehot(edge: Edge) -> Iterator[Any]:
    """Of ``g - p sum(g)``, the gradient through log-softmax, only the second term; of the others likewise."""
    name, y, g = edge.node.op.name, edge.node.saved[0], np.asarray(edge.g)
    if name == "log_softmax":
        yield edge.part - g
    if name == "softmax":
        yield edge.part - y * g
    if name == "softmax_cross_entropy":
        logits, index = edge.node.saved[1:]
        yield edge.part + g[..., None] * (np.arange(logits.shape[-1]) == np.asarray(index)[..., None])


def _diagonal(edge: Edge) -> Iterator[Any]:
    name, y, g = edge.node.op.name, edge.node.saved[0], np.asarray(edge.g)
    if name == "softmax":
        yield g * y * (1 - y)


TABLE: dict[str, Mutation] = {
    "transposed": _transposed,
    "sign": _signs,
    "mean": _means,
    "two": _twos,
    "upstream": _upstreams,
    "local": _locals,
    "activation": _activations,
    "operand": _operands,
    "elementwise": _elementwise,
    "broadcast": _broadcast,
    "onehot": _onehot,
    "diagonal": _diagonal,
}
"""For each mistake, the contributions it could have made of an edge."""
