"""Why a gradient has the size it has: one backward pass, written down edge by edge, and what each edge did to what it got.

Nothing is guessed. A gradient that is zero, tiny, huge or not finite is followed from its tensor towards the loss, along the
contributions that the engine's own backward loop computes, to the edges where it became so; the operation there, with its
values, tells the cause.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad import backend, guards
from minigrad.errors import MinigradError
from minigrad.graph import Absent, Handle, Node, fit, pull_back
from minigrad.viz.records import everything

Array = np.ndarray[Any, Any]
TINY, HUGE = 1e-6, 1e6
"""A gradient is tiny or huge if its norm is below or above this many times that of the gradient that backward starts from."""
ROUNDING = 64
"""Terms that sum to less than this many units in the last place of the largest of them cancel."""
DOMINATES = 0.6
"""The share of all shrinking (or growth), as powers of ten, from which on a single operation is the cause."""


@dataclass(frozen=True, slots=True, eq=False)
class Cause:
    """What happened where: a kind of :data:`minigrad.viz.why.KINDS`, the node it happened at, and the numbers that prove it."""

    kind: str
    node: Node | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


class Tape:
    """A recorded graph with the value and the gradient of every node and the contribution of every edge, where known.

    Attributes:
        nodes: the root and all that it was made from, oldest first.
        uses: for each node, the operands ``(consumer, i)`` that it is and that a gradient flows back through.
        values: what nodes computed, where kept.
        gradients: what the backward pass brings to each node it reaches.
        parts: the contribution of each edge ``(consumer, i)``.
        reached: the nodes that a gradient can reach.
        note: why gradients could not be computed; "" if they could.
    """

    def __init__(self, loss: Handle) -> None:
        assert loss.node is not None
        self.root = root = loss.node
        self.nodes = everything(root)
        self.values: dict[Node, Array] = {}
        self.uses: dict[Node, list[tuple[Node, int]]] = defaultdict(list)
        self.reached = {root} if root.requires_grad else set()
        self.parts: dict[tuple[Node, int], Array] = {}
        self.gradients: dict[Node, Array] = {}
        self.note = ""
        for node in reversed(self.nodes):
            for k, value in enumerate(node.saved):
                owner = node if k == 0 else node.parents[k - 1]
                if owner is not None and not isinstance(value, Absent) and value is not None:
                    self.values.setdefault(owner, _host(value))
            for i, _ in node.op.pulls if node.op is not None and node in self.reached else ():
                parent = node.parents[i]
                if parent is not None and parent.requires_grad:
                    self.reached.add(parent)
                    self.uses[parent].append((node, i))
        if root.requires_grad:
            self._differentiate(backend.namespace(loss._data))

    @property
    def inspected(self) -> bool:
        """Whether every operation was recorded inside ``mg.inspect()``: then what left the graph has left a trace."""
        return all(node.where is not None for node in self.nodes if node.op is not None)

    def operand(self, node: Node, i: int) -> Array | None:
        """What ``node`` computed with as operand ``i``."""
        value = node.saved[i + 1]
        if isinstance(value, Absent):
            parent = node.parents[i]
            return None if parent is None else self.values.get(parent)
        return None if value is None else _host(value)

    def output(self, node: Node) -> Array | None:
        return self.values.get(node)

    def _differentiate(self, library: Any) -> None:
        """The engine's backward loop over what the graph still holds; what depends on a dropped value stays unknown."""
        unknown: set[Node] = set()
        for node in reversed(self.nodes):
            for i, _ in node.op.pulls if node in self.reached and node.op is not None else ():
                parent = node.parents[i]
                lost = any(isinstance(node.saved[k], Absent) for k in node.op.needs[i])
                if parent is not None and parent in self.reached and (node in unknown or lost):
                    unknown.add(parent)
        wanted = self.reached - unknown
        seed = getattr(self.root.grad, "_data", self.root.grad) if self.root.op is not None else None
        seed = library.ones(self.root.shape, dtype=self.root.dtype) if seed is None else seed

        def write_down(node: Node, i: int, g: Any, part: Any) -> None:
            self.parts[node, i] = _host(part)

        try:
            guards.verify(wanted)
            with np.errstate(all="ignore"):
                found = pull_back({self.root: seed}, wanted, retain=True, targets=wanted, watch=write_down)
        except MinigradError as error:
            self.note = str(error)
            return
        self.gradients = {node: _host(getattr(g, "_data", g)) for node, g in found.items()}
        self.gradients.setdefault(self.root, _host(seed))
        if unknown:
            self.note = "the values that some rules need were released"


def _host(value: Any) -> Array:
    """A value as a NumPy array, whatever it was: a number, an array on a GPU."""
    return np.asarray(backend.to_numpy(value) if hasattr(value, "dtype") else value)


def state(g: Array, seed: Array, tiny: float, huge: float) -> str:
    """``"nan"``, ``"inf"``, ``"zero"``, ``"tiny"``, ``"huge"`` or ``"healthy"``."""
    if not finite(g):
        return "nan" if np.isnan(g).any() else "inf"
    if not g.any():
        return "zero"
    ratio = norm(g) / (norm(seed) or 1.0)
    return "tiny" if ratio < tiny else "huge" if ratio > huge else "healthy"


def diagnose(tape: Tape, node: Node, kind: str) -> list[Cause]:
    """The causes for the gradient of ``node`` being what :func:`state` says."""
    if kind in ("nan", "inf"):
        return _not_finite(tape, node)
    if kind == "zero":
        return _zero(tape, node)
    return [_size(tape, node, kind)]


def origin(tape: Tape) -> Cause:
    """Where a root that is not finite comes from."""
    return _made_forward(tape, tape.root)


def finite(x: Array | None) -> bool:
    return x is None or x.dtype.kind not in "fc" or bool(np.isfinite(x).all())


def norm(x: Array) -> float:
    """The Euclidean norm, scaled so that it neither overflows nor underflows."""
    most = largest(x)
    return most * float(np.sqrt(np.sum(np.square(np.abs(x.astype(np.float64)) / most)))) if most and np.isfinite(most) else most


def largest(x: Array) -> float:
    """The largest size of an element."""
    return float(np.abs(x).max()) if x.size else 0.0


# Not finite: which operation made it out of finite numbers
def _not_finite(tape: Tape, node: Node) -> list[Cause]:
    """Follow contributions that are not finite up to the one whose upstream gradient is finite."""
    if node is tape.root and not finite(tape.gradients[node]):
        return [Cause("bad_seed", node)]
    seen, stack, found, turned = {node}, [node], {}, None
    while stack:
        at = stack.pop()
        edges = [(user, i) for user, i in tape.uses[at] if (user, i) in tape.parts and not finite(tape.parts[user, i])]
        if not edges and not finite(tape.gradients[at]):  # inf - inf, overflow: the sum of finite or infinite contributions
            found[at] = Cause("overflow", at, {"contributions": len(tape.uses[at])})
        for user, i in edges:
            if finite(tape.gradients[user]):
                found[user] = found.get(user) or _made_backward(tape, user, i)
            else:
                if np.isnan(tape.parts[user, i]).any() and not np.isnan(tape.gradients[user]).any():
                    turned = user
                if user is tape.root:
                    found[user] = Cause("bad_seed", user)
                elif user not in seen:
                    seen.add(user)
                    stack.append(user)
    if turned is not None:
        for cause in found.values():
            cause.evidence.setdefault("turns NaN at", turned.op.name)
    made = {cause.node for cause in found.values() if cause.kind == "value_not_finite"}  # before anything in backward
    return _distinct(c for c in found.values() if c.kind != "local_not_finite" or c.node not in made)


def _made_backward(tape: Tape, node: Node, i: int) -> Cause:
    """A rule made it out of a finite gradient: from values that were not finite either, or by its own local gradient."""
    for k in sorted(node.op.needs[i]):
        if k == 0 and not finite(tape.output(node)):
            return _made_forward(tape, node)
        if k and not finite(tape.operand(node, k - 1)):
            parent = node.parents[k - 1]
            if parent is None:
                return Cause("bad_input", node, {"operand": k, "value": _first_bad(tape.operand(node, k - 1))})
            return _made_forward(tape, parent)
    part, g = tape.parts[node, i], tape.gradients[node]
    evidence: dict[str, Any] = {"operand": i + 1, "value": _first_bad(part)}
    x = tape.operand(node, i)
    at = np.argwhere(~np.isfinite(part))[0] if part.ndim else ()
    if x is not None and x.shape == part.shape:
        evidence["at"] = float(x[tuple(at)])
    if g.shape == part.shape:
        evidence["upstream"] = float(g[tuple(at)])
    return Cause("local_not_finite", node, evidence)


def _made_forward(tape: Tape, node: Node) -> Cause:
    """Follow a value that is not finite up to the operation whose operands are all finite."""
    while node.op is not None:
        bad = [k for k in range(len(node.parents)) if not finite(tape.operand(node, k))]
        if not bad and any(tape.operand(node, k) is None for k in range(len(node.parents)) if node.parents[k] is not None):
            return Cause("unknown", node)
        if not bad:
            return Cause("value_not_finite", node, {"value": _first_bad(tape.values[node]), **_operands(tape, node)})
        # inf - inf, 0 * inf, inf / inf: NaN made of what is infinite; the infinity came first, so it is what is followed
        parent = next((p for k in bad if (p := node.parents[k]) is not None), None)
        if parent is None:
            return Cause("bad_input", node, {"operand": bad[0] + 1, "value": _first_bad(tape.operand(node, bad[0]))})
        node = parent
    return Cause("bad_input", node, {"value": _first_bad(tape.values.get(node))})


def _operands(tape: Tape, node: Node) -> dict[str, Any]:
    """The operands where the first value that is not finite was made."""
    y = tape.values[node]
    at = tuple(int(k) for k in np.argwhere(~np.isfinite(y))[0]) if y.ndim else ()
    told: dict[str, Any] = {}
    for k in range(len(node.parents)):
        x = tape.operand(node, k)
        if x is None or x.dtype.kind not in "fiub":
            continue
        if node.op.elementwise and x.ndim <= y.ndim:
            told[f"operand {k + 1}"] = float(np.broadcast_to(x, y.shape)[at])
        else:
            told[f"operand {k + 1}"] = f"from {x.min():.4g} to {x.max():.4g}" if x.size else "empty"
    return told


def _first_bad(x: Array | None) -> str:
    return "?" if x is None else str(x[~np.isfinite(x)].flat[0] if x.ndim else x[()])


# Zero: which edges let nothing through, or where contributions cancel
def _zero(tape: Tape, node: Node) -> list[Cause]:
    """Follow zero contributions up to the edges whose upstream gradient is not zero where the elements in question went."""
    if node is tape.root:
        return [Cause("zero_seed", node)]
    found: list[Cause] = []
    stack, seen = [(node, np.ones(node.shape, bool))], {node}
    while stack:
        at, region = stack.pop()
        parts = [tape.parts[edge] for edge in tape.uses[at] if edge in tape.parts]
        if any(part[region].any() for part in parts):
            hooked = at.extra is not None and at.extra.hooks
            found.append(Cause("hook", at) if hooked else Cause("cancellation", at, _terms(parts)))
            continue
        for user, i in tape.uses[at]:
            g = tape.gradients.get(user)
            if g is None:
                continue
            image = _image(user, i, region)
            if not image.any():
                found.append(_masked(tape, user, i, image) if user.op.name in ("triu", "tril") else Cause("empty", user))
            elif g[image].any():
                found.append(blocked(tape, user, i, np.where(image, g, 0)))
            elif user is tape.root:
                found.append(Cause("zero_seed", user))
            elif user not in seen:
                seen.add(user)
                stack.append((user, image))
    return _distinct(sorted(found, key=lambda cause: -cause.node.order if cause.node is not None else 0))


def _image(node: Node, i: int, region: Array) -> Array:
    """Which elements of ``node`` the elements ``region`` of its operand ``i`` can have gone to."""
    if node.op.elementwise:
        return np.broadcast_to(region, node.shape)
    if any(node.op.needs):
        return np.ones(node.shape, bool)
    operands = [np.zeros(getattr(value, "shape", ())) for value in node.saved[1:]]
    operands[i] = region.astype(float)
    image: Array = np.asarray(node.op.forward(*operands, *node.params)) != 0  # it only arranges or adds: see where a 1 ends up
    return image


def _terms(parts: list[Array]) -> dict[str, Any]:
    return {"terms": len(parts), "largest": max(map(largest, parts), default=0.0)}


def _distinct(causes: Any) -> list[Cause]:
    return list({(cause.kind, cause.node): cause for cause in causes}.values())


def blocked(tape: Tape, node: Node, i: int, g: Array) -> Cause:
    """Why edge ``i`` of ``node`` lets nothing of the gradient ``g`` through."""
    if node.op.gate.startswith("stops the gradient"):
        return Cause("flat", node, {"op": node.op.name})
    ask = _ASK.get(node.op.name)
    cause = ask(tape, node, i, g) if ask is not None else None
    return (
        cause
        or _cancelled(tape, node, i, g)
        or _underflow(tape, node, i, g)
        or Cause("stationary", node, _point(tape, node, i))
    )


def _point(tape: Tape, node: Node, i: int) -> dict[str, Any]:
    x = tape.operand(node, i)
    return {} if x is None or not x.size or x.dtype.kind not in "fiu" else {"from": float(x.min()), "to": float(x.max())}


def _relu(tape: Tape, node: Node, i: int, g: Array) -> Cause | None:
    x = tape.operand(node, i)
    x = tape.output(node) if x is None else x
    if x is None:
        return None
    reached = x[np.broadcast_to(g != 0, x.shape)]
    return Cause(
        "dead_relu", node, {"negative": float((reached <= 0).mean()), "of": reached.size, "largest": float(reached.max())}
    )


def _saturated(tape: Tape, node: Node, i: int, g: Array) -> Cause | None:
    x = tape.operand(node, i)
    evidence: dict[str, Any] = {}
    if x is not None:
        reached = x[np.broadcast_to(g != 0, x.shape)]
        evidence = {"inputs from": float(reached.min()), "to": float(reached.max())}
    return Cause("saturated", node, evidence)


def _softmax(tape: Tape, node: Node, i: int, g: Array) -> Cause | None:
    y, axis = tape.output(node), node.params[0] if node.params else -1
    if y is None:
        return None
    p = np.exp(y) if node.op.name == "log_softmax" else y
    top = float(p.max(axis=axis).min()) if p.ndim else 1.0
    if top > 1 - 1e-4:
        return Cause("saturated", node, {"smallest top probability": top})
    return Cause("cancellation", node, {"terms": p.shape[axis] if p.ndim else 1, "largest": largest(p * g)})


def _masked(tape: Tape, node: Node, i: int, g: Array) -> Cause:
    return Cause("masked", node, {"operand": i + 1, "op": node.op.name, "elements": int((g != 0).sum())})


def _product(tape: Tape, node: Node, i: int, g: Array) -> Cause | None:
    """Of a product: what the operand was multiplied by, if that was zero wherever a gradient came."""
    x = tape.operand(node, 1 - i) if i < 2 else None
    if x is None:
        return None
    if not x.any():
        return _zeros(tape, node, 1 - i)
    if not node.op.elementwise or np.broadcast_to(x, node.shape)[g != 0].any():
        return None
    return _masked(tape, node, i, g) if len(np.unique(x)) == 2 else Cause("multiplied_by_zero", node, {"operand": 2 - i})


def _zeros(tape: Tape, node: Node, k: int) -> Cause:
    """Where the zeros come from that are operand ``k`` of ``node``."""
    at: Node | None = node.parents[k]
    user = node
    while at is not None and at.op is not None:
        zero = [j for j in range(len(at.parents)) if (x := tape.operand(at, j)) is not None and not x.any()]
        if not zero:
            if at.op.name == "relu" and at in tape.values:
                return _relu(tape, at, 0, np.ones(at.shape)) or Cause("dead_relu", at)
            return Cause("multiplied_by_zero", user, {"zeros made by": at.op.name})
        user, k = at, zero[0]
        at = user.parents[k]
    if at is None:
        return Cause("multiplied_by_zero", user, {"operand": k + 1})
    return Cause(
        "zero_weights" if at.requires_grad else "zero_input", at, {"used by": user.op.name, "elements": math.prod(at.shape)}
    )


def _cancelled(tape: Tape, node: Node, i: int, g: Array) -> Cause | None:
    """Whether the terms that the rule sums cancel: run it on absolute values, and see what it would have been."""
    if node.op.name not in _SUMS:
        return None
    saved = [v if v is None or isinstance(v, Absent) else np.abs(_host(v)) for v in node.saved]
    with np.errstate(all="ignore"):
        mass = largest(np.asarray(fit(node.op.rules[i](np.abs(g), *saved, *node.params), node, i)))
    part = tape.parts[node, i]
    if mass and largest(part) <= ROUNDING * np.finfo(part.dtype).eps * mass:
        return Cause("cancellation", node, {"terms": g.size // max(part.size, 1) or 1, "largest": largest(g)})
    return None


def _underflow(tape: Tape, node: Node, i: int, g: Array) -> Cause | None:
    """Whether upstream and local gradient are not zero, and their product only is too small for its dtype."""
    if node.op.name == "astype" or (largest(g) < np.sqrt(np.finfo(g.dtype).tiny) and g.any()):
        told = {"upstream": largest(g), "dtype": str(tape.parts[node, i].dtype)}
        return Cause("underflow", node, {**told, **_chain(tape, node)})
    return None


_SUMS = {
    "add",
    "subtract",
    "multiply",
    "divide",
    "matmul",
    "linear",
    "einsum",
    "conv",
    "conv_transpose",
    "broadcast_to",
    "sum",
    "mean",
}
_ASK: dict[str, Callable[[Tape, Node, int, Array], Cause | None]] = {
    "relu": _relu,
    **dict.fromkeys(("sigmoid", "tanh", "erf", "exp", "exp2", "softplus"), _saturated),
    **dict.fromkeys(("softmax", "log_softmax"), _softmax),
    **dict.fromkeys(("where", "clip", "maximum", "minimum", "max", "min", "max_pool", "triu", "tril", "assign"), _masked),
    **dict.fromkeys(("multiply", "matmul", "linear", "einsum", "conv", "conv_transpose", "conv_weight", "cross"), _product),
}


# Tiny and huge: the factors along the way that carries most
@dataclass(frozen=True, slots=True)
class Step:
    """The gradient was multiplied by ``factor`` (in norm) on its way through ``node`` to its operand ``i``; -1: by summing up."""

    node: Node
    i: int
    factor: float


def steps(tape: Tape, node: Node) -> Iterator[Step]:
    """The way from ``node`` to the root by the largest contribution at each fork."""
    while node is not tape.root:
        edges = [edge for edge in tape.uses[node] if edge in tape.parts]
        if not edges:
            return
        best = max(edges, key=lambda edge: norm(tape.parts[edge]))
        part = norm(tape.parts[best])
        if part and len(edges) > 1:
            yield Step(node, -1, norm(tape.gradients[node]) / part)
        upstream = norm(tape.gradients[best[0]])
        yield Step(best[0], best[1], part / upstream if upstream else 0.0)
        node = best[0]


def layer(node: Node) -> str:
    """What to call the place of a step: its module, or else its line, and the operation."""
    place = ".".join(node.scope) or (f"line {node.where.line}" if node.where is not None else "")
    return f"{node.op.name if node.op else 'sum of uses'}{' in ' + place if place else ''}"


def _chain(tape: Tape, node: Node) -> dict[str, Any]:
    """The places that shrink or grow a gradient most, from the root to ``node``: how often, and by what in all."""
    factors: dict[str, list[float]] = defaultdict(list)
    for step in steps(tape, node):
        factors[layer(step.node)].append(step.factor)
    logs = {place: (len(f), float(np.sum(np.log10(np.maximum(f, 1e-300))))) for place, f in factors.items()}
    top = sorted(logs.items(), key=lambda item: -abs(item[1][1]))[:5]
    return {"factors": {place: (count, log) for place, (count, log) in top if abs(log) > 0.05}}


def _size(tape: Tape, node: Node, kind: str) -> Cause:
    """One operation that shrank (or blew up) the gradient by itself, or else all that did together."""
    way, sign = list(steps(tape, node)), -1 if kind == "tiny" else 1
    logs = [sign * float(np.log10(max(step.factor, 1e-300))) for step in way]
    total = sum(log for log in logs if log > 0)
    evidence = {"norm": norm(tape.gradients[node]), **_chain(tape, node)}
    if way and max(logs) >= DOMINATES * total:
        step = way[int(np.argmax(logs))]
        alone = _cancels_here(tape, step) if step.i < 0 else _one(tape, step, kind)
        if alone is not None:
            alone.evidence.update({"times": step.factor})
            return alone
    return Cause("vanishing" if kind == "tiny" else "exploding", node, evidence)


def _cancels_here(tape: Tape, step: Step) -> Cause | None:
    parts = [tape.parts[edge] for edge in tape.uses[step.node] if edge in tape.parts]
    return Cause("cancellation", step.node, _terms(parts)) if step.factor < 1 else None


def _one(tape: Tape, step: Step, kind: str) -> Cause | None:
    node, i, g, name = step.node, step.i, tape.gradients[step.node], step.node.op.name
    if kind == "huge":
        x = tape.operand(node, 1 if name == "divide" else 0) if name in _SMALL else None
        if x is not None:
            at = np.abs(x[np.isfinite(x)]).min() if x.ndim else abs(x)
            return Cause("small_denominator", node, {"smallest size": float(at)})
        return Cause("steep", node, _point(tape, node, i)) if name in ("exp", "exp2", "power") else _scaled(tape, node, i)
    if name in ("sigmoid", "tanh", "erf", "exp", "exp2", "softplus"):
        return _saturated(tape, node, i, g)
    if name in ("softmax", "log_softmax"):
        return _softmax(tape, node, i, g)
    return _cancelled(tape, node, i, g) or _scaled(tape, node, i)


_SMALL = {"divide", "reciprocal", "log", "log2", "log10", "log1p", "sqrt", "vector_norm", "std"}


def _scaled(tape: Tape, node: Node, i: int) -> Cause | None:
    """Whether one factor of a product did it."""
    x = tape.operand(node, 1 - i) if i < 2 <= len(node.parents) else None
    if x is None or node.op.name not in ("multiply", "matmul", "linear", "divide", "einsum", "conv"):
        return None
    return Cause("scaled", node, {"operand": 2 - i, "largest": largest(x)})
