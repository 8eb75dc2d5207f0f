"""``viz.explain_grad(t)``: why a gradient is None, zero, tiny, huge, NaN or infinite, proven on the recorded graph."""

from __future__ import annotations

import html
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minigrad import naming
from minigrad.graph import Absent, Handle, Node
from minigrad.viz.boxes import BACKWARD, SHOW, Look
from minigrad.viz.causes import HUGE, TINY, Cause, Tape, diagnose, finite, norm, origin, state
from minigrad.viz.dot import Drawing, source
from minigrad.viz.records import LIMIT, Records, everything, records

WHOLE = 60
"""Larger graphs are not drawn whole around a culprit: the note would not be found."""
KINDS: dict[str, tuple[str, str]] = {
    # None
    "unused": ("it is not in the recorded graph of the loss", "use it in what the loss is computed from, or leave it out of the parameters"),
    "untraced": (
        ("it is not in the recorded graph of the loss, and recording left no trace of why: either it was never used, or a detach(), "
        "no_grad, an integer cast or a NumPy function stands between"),
        "record the forward pass inside `with mg.inspect():` and ask again: then cuts leave a trace",
    ),
    "no_loss": ("no tensor among your variables was computed from it", "pass the loss: viz.explain_grad(t, loss)"),
    "no_graph": ("the loss has no graph: nothing that it was computed from asked for a gradient while it was recorded", "compute the loss outside no_grad, from tensors with requires_grad=True"),
    "detach": ("its values reach the loss only through detach(), which leaves their history behind", "leave out detach() where the gradient should flow"),
    "no_grad": ("its values reach the loss only through an operation inside no_grad, which records nothing", "compute this outside no_grad"),
    "round_trip": ("its values left the graph as plain numbers ({how}), and no recorded operation leads from it to the loss", "use minigrad's functions on the tensor itself, not on .data, .numpy() or .item()"),
    "tensor": ("its values reach the loss only through mg.tensor(x), which copies them without their history", "write x.clone() or mg.asarray(x), or use x itself"),
    "integer": ("its values reach the loss only through a cast to integers, which has no gradient", "keep floats, or pass the gradient straight through: x + (x.round() - x).detach()"),
    "comparison": ("its values reach the loss only through {op}, whose results are true or false and have no gradient", "replace the comparison by a smooth one, such as sigmoid((a - b) / temperature)"),
    "index": ("its values reach the loss only through {op}, which returns positions: they have no gradient", "use the values (max, sort) or a softmax in place of the positions"),
    "condition": ("it is used as a condition only: where() passes gradients to its branches, not to its condition", "blend smoothly (p * a + (1 - p) * b) if the condition is to be learned"),
    "no_rule": ("its values reach the loss only through {op}, which has no gradient for that operand", "use an operation with a gradient"),
    "frozen": ("requires_grad is False: nobody asked for this gradient", "set x.requires_grad = True before the forward pass"),
    "frozen_then": ("requires_grad was still False when the loss was computed: the graph knows it as a constant", "set requires_grad before the forward pass, and compute the loss again"),
    "constant": ("it was computed from tensors none of which asks for a gradient", "set requires_grad=True on what it was computed from"),
    "not_leaf": ("it was computed (by {op}), and only leaves keep their .grad", "call retain_grad() on it before backward(), or mg.gradients(loss, [t])"),
    "replaced": ("the loss was computed from {other}, another tensor: this one was made later or apart from it, and its name now stands for something else", "update a parameter in place inside `with mg.no_grad():` (w -= step), and do not re-bind its name"),
    "later": ("it was made after the loss was computed", "compute the loss from it"),
    "not_called": ("backward() of the loss has not been called", "call loss.backward()"),
    "cleared": ("backward brought it a gradient (norm {norm:.4g}), and .grad was cleared after that", "call zero_grad() before backward(), not between backward() and step()"),
    "released": ("its gradient is gone, and the graph no longer holds what is needed to compute it again: {note}", "ask before backward(), or record inside `with mg.inspect():`"),
    # Zero
    "dead_relu": ("dead ReLU: {negative:.0%} of the {of} inputs that a gradient meets are 0 or below (largest {largest:.4g})", "lower the learning rate, raise the bias, or use leaky_relu or gelu"),
    "saturated": ("saturated: the operation is flat at its inputs", "scale its inputs down (initialisation, normalisation), or use a loss on logits"),
    "masked": ("{op} took another branch, or masked it, wherever a gradient came", "check the condition, the bounds or the mask"),
    "multiplied_by_zero": ("it is multiplied by zero wherever a gradient comes", "see where the zeros come from"),
    "zero_weights": ("the weights that it is multiplied by are all zero", "initialise with nn.init (xavier, kaiming), not with zeros"),
    "zero_input": ("what it is multiplied by, an input, is all zero", "check the data and its normalisation"),
    "flat": ("{op} is piecewise constant: its gradient is zero wherever it exists", "pass the gradient straight through: x + (f(x) - x).detach()"),
    "stationary": ("the local gradient is zero at this very point", "start from another point: symmetric or zero initial values stay where they are"),
    "cancellation": ("{terms} contributions cancel (the largest is {largest:.4g})", "the loss does not depend on it here: a shift that normalisation or a softmax takes out again, or x - x"),
    "empty": ("an empty selection: no element of it is used", "check the index or mask: it selects nothing"),
    "underflow": ("the gradient became too small for {dtype} (it was {upstream:.2g} before)", "scale the loss up, normalise between layers, or compute in float64"),
    "hook": ("a hook returned zeros", "look at what was registered with register_hook"),
    "zero_seed": ("backward started from a gradient of zeros", "pass backward() another gradient=, or none"),
    # Tiny, huge
    "vanishing": ("it vanishes: many factors below 1 multiply", "use relu or gelu for sigmoid, residual connections, normalisation, or a better initialisation"),
    "exploding": ("it explodes: many factors above 1 multiply", "clip the gradient norm, initialise smaller, normalise, or shorten the recurrence"),
    "scaled": ("it is multiplied by operand {operand}, whose largest element is {largest:.4g}", "check the scale of that operand"),
    "small_denominator": ("a division by something near 0 (smallest size {smallest size:.4g})", "add an epsilon to the denominator, or clip it from below"),
    "steep": ("the operation is steep at its inputs", "keep its inputs small: subtract the maximum, or clip"),
    # NaN, infinite
    "value_not_finite": ("this operation made {value} out of finite operands, in the forward pass", "keep its operands inside its domain: clip, add an epsilon, or select with where before it"),
    "local_not_finite": ("its gradient rule made {value} out of a finite gradient: the local gradient is infinite or undefined there", "keep the operand away from that point (add an epsilon inside), or select with where before it"),
    "bad_input": ("{value} was in the data or weights to begin with", "check what the tensor was made from"),
    "bad_seed": ("backward started from a gradient that is not finite", "check the gradient= that backward() was given"),
    "overflow": ("the sum of {contributions} contributions is not finite", "scale the loss down or clip"),
    "unknown": ("the values needed to say why were not kept", "record the forward pass inside `with mg.inspect():` and ask again"),
}  # fmt: skip
"""What is diagnosed: what it says, and what to do."""

_INDICES = {"argmax", "argmin", "argsort", "last_write", "window_winner"}
_COMPARISONS = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isnan", "isinf", "isfinite", "all", "any",
    "logical_and", "logical_or", "logical_xor", "logical_not",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause.

    Attributes:
        kind: a key of :data:`KINDS`.
        of: the tensor whose gradient is explained, under the user's name.
        state: what its gradient is: ``"None"``, ``"zero"``, ``"tiny"``, ``"huge"``, ``"nan"`` or ``"inf"``; or that the loss is not finite.
        op: the operation at which it happens; "" for a leaf.
        name: what the user calls the value there; None where it has no name.
        scope: the path of the module there.
        where: ``file:line`` there, kept while inspecting; "" where it is not known.
        evidence: the numbers.
        says: what happened, in words.
        advice: what to do about it.
    """

    kind: str
    of: str
    state: str
    op: str
    name: str | None
    scope: tuple[str, ...]
    where: str
    evidence: Mapping[str, Any]
    says: str
    advice: str
    node: Node | None = field(repr=False, compare=False, default=None)

    def __str__(self) -> str:
        what = f"{self.op} " if self.op else ""
        at = f"{what}{self.name!r}" if self.name and (self.op or self.name != self.of) else what.strip()
        at += f" in {'.'.join(self.scope)}" if self.scope else ""
        at += f" at {self.where}" if self.where else ""
        shown = {
            k: v for k, v in self.evidence.items() if k not in ("factors", "how", "op") and f"{{{k}" not in KINDS[self.kind][0]
        }
        numbers = ", ".join(f"{k} {_tell(v)}" for k, v in shown.items())
        lines = [f"{at.strip()}: {self.says}" if at.strip() else self.says]
        lines += [f"    {numbers}"] if numbers else []
        return "\n".join([*lines, *(f"    {factor}" for factor in self.factors), f"    What to do: {self.advice}."])

    @property
    def factors(self) -> list[str]:
        """By what the places on the way multiplied the gradient, those that did most first."""
        told = []
        for place, (count, log) in self.evidence.get("factors", {}).items():
            each = f", {count} times, {10 ** (log / count):.3g} each" if count > 1 else ""
            told.append(f"x {_power(log)}  {place}{each}")
        return told


def _tell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _few(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _power(log: float) -> str:
    return f"{10**log:.3g}" if abs(log) < 290 else f"1e{log:.0f}"


class Why:
    """The answer of :func:`explain_grad`: ``str()`` gives the text, a prompt or notebook shows it.

    Attributes:
        findings: the causes; empty where the gradients are healthy.
        states: what each tensor's gradient is, by its name.
        loss: the tensor that the gradients are of; None if none was found.
    """

    def __init__(
        self, findings: Iterable[Finding], states: Mapping[str, str], sizes: Mapping[str, float], loss: Any, called: str
    ) -> None:
        self.findings = tuple(findings)
        self.states = dict(states)
        self.loss = loss
        self._sizes, self._called = dict(sizes), called

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to report."""
        return not self.findings

    def __str__(self) -> str:
        if self.healthy:
            norms = [n for n in self._sizes.values() if n]
            told = (
                f"norm {norms[0]:.4g}"
                if len(norms) == 1
                else f"norms from {min(norms):.4g} to {max(norms):.4g}"
                if norms
                else ""
            )
            what = next(iter(self.states)) if len(self.states) == 1 else f"{len(self.states)} tensors"
            return f"healthy: the gradient of {self._called} reaches {what}{', ' + told if told else ''}"
        groups: dict[tuple[str, int, str], list[Finding]] = {}
        for f in self.findings:
            groups.setdefault((f.kind, id(f.node) if f.node is not None and f.op else 0, f.state), []).append(f)
        out = []
        for group in groups.values():
            names = _few(list(dict.fromkeys(f.of for f in group)))
            out.append(f"The gradient of {self._called} with respect to {names} is {group[0].state}.\n  {group[0]}")
        fine = sum(s == "healthy" for s in self.states.values())
        return "\n".join([*out, *([f"{fine} of {len(self.states)} gradients are healthy."] if fine else [])])

    __repr__ = __str__

    def draw(self, **options: Any) -> Drawing:
        """The graph of the loss, with a note at each culprit and a thick border around it.

        Of a graph of more than ``WHOLE`` values, the neighbourhood of the culprits is drawn.

        Args:
            options: ``show``, ``arrays``, ``rankdir``, ``edges``, ``legend`` and ``title``, as :func:`minigrad.viz.draw` has them.

        Raises:
            ValueError: if there is no loss whose graph could be drawn.

        Example:
            >>> import minigrad as mg
            >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
            >>> loss = mg.sum(mg.relu(-x))
            >>> "dead ReLU" in explain_grad(x, loss).draw().source
            True
        """
        root = self.loss.node if self.loss is not None else None
        if root is None:
            raise ValueError("draw: there is no graph of a loss; pass one to explain_grad(t, loss)")
        shown = None if root.grad is not None or (root.requires_grad and self.loss.size == 1) else False
        found = records(self.loss, backward=True if shown is None and root.grad is None else shown, limit=None)
        ids = _ids(root, found)
        notes: dict[str, dict[tuple[str, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
        for f in self.findings:
            notes[ids.get(f.node, found.output)][f.state, f.says, *f.factors].append(f.of)
        found = _around(found, set(notes)) if len(found.values) > WHOLE else found
        look = Look(**{"show": frozenset(SHOW.split(",")), **options}).fitted(found)
        lines = source(found, look).removesuffix("}\n").replace(f" (limit={len(found.values)})", "")
        for k, (at, told) in enumerate(notes.items(), 1):
            parts = [part for (kind, *says), of in told.items() for part in (f"gradient of {_few(of)}: {kind}", *says)]
            wrapped = [line for part in parts for line in textwrap.wrap(part, 42)]
            text = "".join(line.replace("\\", "\\\\").replace('"', "'") + "\\l" for line in wrapped)
            lines += f'  {at} [color="{BACKWARD}" penwidth=4]\n'
            lines += f'  why{k} [shape=note style=filled fillcolor="#FFF3D6" color="{BACKWARD}" label="{text}"]\n'
            lines += f'  why{k} -> {at} [style=dashed arrowhead=none color="{BACKWARD}"]\n'
        return Drawing(lines + "}\n", found)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": f'<pre style="line-height: 1.3">{html.escape(str(self))}</pre>'}


def _ids(root: Node, r: Records) -> dict[Node | None, str]:
    """The ids of operations and of leaves that ask for gradients: both stand in the order of creation."""
    nodes = sorted(everything(root), key=lambda node: node.order)
    made = zip((n for n in nodes if n.op is not None), (v.id for v in r.values if v.op))
    asking = zip((n for n in nodes if n.op is None and n.requires_grad), (v.id for v in r.values if v.kind == "parameter"))
    return {**dict(made), **dict(asking)}


def _around(r: Records, centres: set[str], hops: int = 3) -> Records:
    """The records within a few arrows of ``centres``."""
    near, passed = set(centres), {v.id for v in r.values if v.op} | centres  # not on to all that a shared weight is used by
    for _ in range(hops):
        near |= {e.source for e in r.edges if e.target in near} | {e.target for e in r.edges if e.source in near & passed}
    near = set([v.id for v in r.values if v.id in near][:LIMIT])
    unseen = Counter(e.source for e in r.edges if e.source in near and e.target not in near)
    return replace(
        r,
        values=tuple(replace(v, unseen=v.unseen + unseen[v.id]) for v in r.values if v.id in near),
        edges=tuple(e for e in r.edges if e.source in near and e.target in near),
        hidden=r.hidden + len(r.values) - len(near),
        cut=tuple(dict.fromkeys(e.target for e in r.edges if e.target in near and e.source not in near)),
    )


def explain_grad(t: Any, loss: Any = None, *, tiny: float = TINY, huge: float = HUGE) -> Why:
    """Why the gradient of ``loss`` with respect to ``t`` is None, zero, tiny, huge, NaN or infinite.

    The answer is read off the recorded graph: the engine's backward loop runs once more, no ``.grad`` changes and nothing is
    freed (hooks run once more). ``detach()``, ``no_grad``, ``.numpy()`` and integer casts leave a trace only inside
    ``with mg.inspect():``, and so do source lines and large values; outside it, the answer says what can be said.

    Args:
        t: a Tensor; or a Module, a dict of Tensors or a sequence of Tensors, to find those without a (healthy) gradient.
        loss: what was or will be differentiated. By default the tensor among your variables that depends on ``t`` (one that
            backward has run on, else one with a single element, else the newest).
        tiny: the norm, relative to that of the gradient that backward starts from, below which a gradient is tiny.
        huge: the norm above which it is huge.

    Returns:
        A :class:`Why`; ``print`` it. Its ``findings`` are empty if all is well.

    Raises:
        TypeError: for what is no Tensor, or holds none.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 2.0], requires_grad=True)
        >>> loss = mg.sum(mg.relu(-x))
        >>> loss.backward()
        >>> print(explain_grad(x, loss))
        The gradient of loss with respect to x is zero.
          relu: dead ReLU: 100% of the 2 inputs that a gradient meets are 0 or below (largest -1)
            What to do: lower the learning rate, raise the bias, or use leaky_relu or gelu.
        >>> loss = mg.sum(x * x)
        >>> loss.backward()
        >>> print(explain_grad(x, loss))
        healthy: the gradient of loss reaches x, norm 4.472
    """
    if loss is not None and not isinstance(loss, Handle):
        hint = "; .item() and float() leave the graph: pass the tensor itself" if isinstance(loss, (int, float)) else ""
        raise TypeError(f"explain_grad: loss must be a Tensor, got {type(loss).__name__}{hint}")
    tensors = _tensors(t)
    loss = _find_loss(list(tensors.values())) if loss is None else loss
    tape = Tape(loss) if loss is not None and loss.node is not None else None
    names = _names(tape, tensors, loss)
    called = (names.get(id(loss.node)) or "the loss") if loss is not None else "any loss"
    findings: list[Finding] = []
    states: dict[str, str] = {}
    sizes: dict[str, float] = {}
    for name, tensor in tensors.items():
        given = name or names.get(id(tensor.node)) or names.get(id(tensor)) or "t"
        kind, causes = _explain(tensor, tape, loss, tiny, huge)
        states[given] = kind
        g = tape.gradients.get(tensor.node) if tape is not None and tensor.node is not None else None
        sizes[given] = norm(g) if g is not None else 0.0
        findings += [
            _finding(cause, given, "None" if cause.kind in ("not_called", "not_leaf") else kind, names) for cause in causes
        ]
    fine = [name for name, kind in states.items() if kind == "healthy"]
    if tape is not None and fine and tape.root in tape.values and not finite(tape.values[tape.root]):
        findings += [_finding(origin(tape), name, "finite, but the loss itself is not", names) for name in fine]
    return Why(findings, states, sizes, loss, called)


def _tensors(t: Any) -> dict[str, Handle]:
    """The tensors to explain, by name; "" for one whose name is looked up."""
    if isinstance(t, Handle):
        return {"": t}
    parameters = getattr(t, "named_parameters", None)
    if parameters is not None:
        found = dict(parameters())
    elif isinstance(t, Mapping):
        found = {str(name): value for name, value in t.items()}
    elif isinstance(t, (list, tuple)):
        found = {getattr(value, "name", None) or f"[{i}]": value for i, value in enumerate(t)}
    else:
        raise TypeError(f"explain_grad: expected a Tensor, a Module, or a dict or list of Tensors, got {type(t).__name__}")
    wrong = next((value for value in found.values() if not isinstance(value, Handle)), None)
    if wrong is not None or not found:
        raise TypeError(f"explain_grad: expected Tensors, got {type(wrong).__name__ if wrong is not None else 'none of them'}")
    return found


def _find_loss(tensors: list[Handle]) -> Any:
    """The variable of the user's that was computed from one of them, or failing that, the newest that could be a loss."""
    found: dict[int, Handle] = {}

    def key(value: Any) -> None:
        if isinstance(value, Handle) and value.node is not None and value.node.op is not None:
            found[id(value.node)] = value

    naming.variables(key)
    asked = {id(t.node) for t in tensors}
    candidates = [t for t in found.values() if id(t.node) not in asked and t.node.requires_grad]  # type: ignore[union-attr]

    def rank(t: Handle) -> tuple[bool, bool, int]:
        assert t.node is not None
        return t.node.grad is not None, t._data.size == 1, t.node.order

    candidates.sort(key=rank, reverse=True)
    nodes = {t.node for t in tensors if t.node is not None}
    for t in candidates:
        assert t.node is not None
        if not nodes.isdisjoint(everything(t.node)):
            return t
    return next((t for t in candidates if t._data.size == 1), None)


def _names(tape: Tape | None, tensors: Mapping[str, Handle], loss: Any) -> dict[int, str]:
    """The names of the user's variables for the nodes of the graph (and the tensors that have no node)."""
    nodes = {id(node) for node in tape.nodes} if tape is not None else set()
    nodes |= {id(t.node) for t in (*tensors.values(), loss) if t is not None and t.node is not None}
    bare = {id(t) for t in tensors.values()}

    def key(value: Any) -> int | None:
        if not isinstance(value, Handle):
            return None
        return id(value.node) if id(value.node) in nodes else id(value) if id(value) in bare else None

    names = naming.variables(key)
    for node in [*(tape.nodes if tape is not None else ()), *(t.node for t in tensors.values())]:
        if node is not None and node.name:
            names[id(node)] = node.name
    return names


def _finding(cause: Cause, of: str, kind: str, names: Mapping[int, str]) -> Finding:
    node = cause.node
    says, advice = KINDS[cause.kind]
    where = cause.evidence.get("where") or (node.where if node is not None else None)
    evidence = {k: v for k, v in cause.evidence.items() if k != "where"}
    return Finding(
        cause.kind, of, kind, node.op.name if node is not None and node.op is not None else "",
        names.get(id(node)) if node is not None else None, node.scope if node is not None else (), str(where or ""),
        evidence, says.format(**evidence), advice, node,
    )  # fmt: skip


# What is wrong with one tensor
def _explain(t: Handle, tape: Tape | None, loss: Any, tiny: float, huge: float) -> tuple[str, list[Cause]]:
    """The state of its gradient, and the causes."""
    node = t.node
    if node is None or not node.requires_grad:
        return "None", [_asks_for_none(t)]
    if loss is None:
        return "None", [Cause("no_loss")]
    if tape is None:
        return "None", [_left(node) or Cause("no_graph")]
    if node not in tape.reached or (node is not tape.root and not tape.uses[node]):
        return "None", _unreached(t, node, tape)
    held = node.grad if node.op is None else node.extra.grad if node.extra is not None else None
    held = None if held is None else np.asarray(held._data)
    ran = tape.root.grad is not None
    g = tape.gradients.get(node)
    causes: list[Cause] = []
    if node.op is not None and not (node.extra is not None and node.extra.retain):
        causes.append(Cause("not_leaf", node, {"op": node.op.name}))
    elif held is None and not ran:
        causes.append(Cause("not_called"))
    if g is None:
        if held is None:
            return "None", causes or [Cause("released", None, {"note": tape.note or "its values were dropped"})]
        kind = state(held, np.ones(1), tiny, huge)
        return kind, causes if kind == "healthy" else [*causes, Cause("unknown")]
    kind = state(g, tape.gradients[tape.root], tiny, huge)
    if kind != "healthy":
        return kind, [*causes, *diagnose(tape, node, kind)]
    if not causes and ran and (held is None or not held.any()):
        return "None" if held is None else "zero", [Cause("cleared", None, {"norm": norm(g)})]
    return ("None", causes) if causes else ("healthy", [])


def _asks_for_none(t: Handle) -> Cause:
    """Why a tensor that asks for no gradient does not."""
    node = t.node
    cut = next(iter(node.extra.cuts), None) if node is not None and node.extra is not None else None
    if cut is not None:
        return Cause(_by(cut.how), None, {"where": cut.where, "how": cut.how})
    if node is not None and node.op is not None:
        asking = [i for i, p in enumerate(node.parents) if p is not None and p.requires_grad]
        return _no_rule(node, asking[0]) if asking else Cause("constant", node)
    return Cause("frozen", node, {"dtype": str(t._data.dtype)})


def _by(how: str) -> str:
    return how if how in KINDS else "round_trip"


def _no_rule(node: Node, i: int) -> Cause:
    name = node.op.name
    if name == "where":
        kind = "condition"
    else:
        kind = (
            "integer" if name == "discretize"
            else "comparison" if name in _COMPARISONS
            else "index" if name in _INDICES
            else "no_rule"
        )  # fmt: skip
    return Cause(kind, node, {"op": name})


def _unreached(t: Handle, node: Node, tape: Tape) -> list[Cause]:
    """Why no gradient path leads from the loss to a tensor that asks for one."""
    leads = {node}
    edges = []
    for user in tape.nodes:
        for i, parent in enumerate(user.parents):
            if parent in leads:
                leads.add(user)
                if user.op.rules[i] is None:
                    edges.append((user, i))
    if edges:
        return [_no_rule(user, i) for user, i in edges]
    exits = node.extra.exits if node.extra is not None else {}
    came = {cut: at for at in tape.nodes if at.extra is not None for cut in at.extra.cuts if cut in exits}
    if came:
        return [Cause(_by(cut.how), None, {"where": cut.where, "how": cut.how}) for cut in came]
    twin = _twin(t, node, tape)
    if twin is not None:
        return [twin]
    if node.order > tape.root.order:
        other = _other(t, tape)
        return [Cause("replaced", other, {"other": _tell_leaf(other)}) if other is not None else Cause("later", None)]
    left = _left(node)
    if left is not None:
        return [left]
    return [Cause("unused" if tape.inspected else "untraced")]


def _left(node: Node) -> Cause | None:
    """Whether its values left the graph as plain numbers."""
    exits = node.extra.exits if node.extra is not None else {}
    for cut in exits:
        return Cause(_by(cut.how), None, {"where": cut.where, "how": cut.how if cut.how == "no_grad" else f".{cut.how}"})
    handed = node.extra.handed if node.extra is not None else ()
    return Cause("round_trip", None, {"how": ".data, .numpy() or .detach()"}) if handed else None


def _twin(t: Handle, node: Node, tape: Tape) -> Cause | None:
    """A constant or another leaf of the graph that shares the tensor's memory."""
    for user in tape.nodes:
        for k, parent in enumerate(user.parents):
            value = user.saved[k + 1] if user.saved else None
            if (
                parent is node
                or isinstance(value, Absent)
                or not isinstance(value, np.ndarray)
                or (parent is not None and parent.op is not None)
            ):
                continue
            if np.may_share_memory(value, t._data):
                if parent is None:
                    return Cause("round_trip", user, {"how": ".data or .numpy()"})
                if parent.requires_grad:
                    return Cause("replaced", parent, {"other": _tell_leaf(parent)})
                shared = parent.extra is not None and parent.extra.shared and value is not t._data
                detached = parent.extra is not None and parent.extra.shared
                return Cause("detach" if shared or detached else "frozen_then", user)
    return None


def _other(t: Handle, tape: Tape) -> Node | None:
    """The leaf of the graph that the tensor may have been taken for: of its name, or failing that, of its shape."""
    leaves = [n for n in tape.nodes if n.op is None and n.requires_grad]
    named = [n for n in leaves if n.name and n.name == getattr(t, "name", None)]
    alike = [n for n in leaves if n.shape == tuple(t._data.shape)]
    return next(iter(named or alike), None)


def _tell_leaf(node: Node) -> str:
    return f"{node.name!r}" if node.name else f"a leaf of shape {tuple(node.shape)}"
