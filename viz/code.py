"""A recorded graph as a NumPy program that computes it, forward and backward, without minigrad and bit for bit the same.

:func:`trace` is the backward pass with a pen: it computes what :func:`minigrad.graph.pull_back` computes, in the same order and
with the same rules, and writes a statement for each step. What a statement needs beyond NumPy (the forward function of an op,
a rule that is more than one expression) is copied from the source of what ran, with all that it calls in turn: no derivative is
written down a second time.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.graph import Absent, Handle, Node, passes
from minigrad.masks import MOVING, REDUCING, reach
from minigrad.ops.elementwise import where
from minigrad.ops.index import SLOT
from minigrad.viz import formula
from minigrad.viz.copying import TAKEN, CodeError, Helpers, literal, parse
from minigrad.viz.records import everything, seed_of, user_names

Array = np.ndarray[Any, Any]
EMBEDDED = 1000
"""Inputs of up to so many elements are written into the program; larger ones are loaded from a file beside it."""


@dataclass(frozen=True, slots=True)
class Input:
    """A leaf or constant: what the program starts from."""

    name: str
    value: Array
    node: Node | None


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of the forward pass: ``name = code``."""

    node: Node
    name: str
    operands: tuple[str, ...]
    value: Array
    code: str


@dataclass(frozen=True, slots=True)
class Pull:
    """One edge of the backward pass: what the rule of ``node`` for operand ``i`` adds to that operand's gradient.

    ``axes`` are those that broadcasting made and that are summed away; ``before`` are statements that it needs: the mask of a
    branch.
    """

    node: Node
    i: int
    g: Any
    part: Any
    local: Any
    code: str
    first: bool
    axes: tuple[int, ...]
    before: tuple[str, ...] = ()


@dataclass(slots=True)
class Trace:
    """Everything that a derivation tells: names, values, gradients, and each step of both passes in order."""

    root: Node
    seed: Any
    names: dict[Node, str]
    inputs: list[Input] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    pulls: list[Pull] = field(default_factory=list)
    gradients: dict[Node, Any] = field(default_factory=dict)
    helpers: Helpers | None = None
    refused: str = ""

    def gradient(self, node: Node) -> str:
        """What the program calls the gradient of a value."""
        return f"d_{self.names[node]}"


# The pen
def trace(t: Any, gradient: Any = None) -> Trace:
    """Compute the graph of ``t`` once more, forward and backward, and write each step down.

    Raises:
        CodeError: if the value of a leaf was not kept, or was changed since.
        ShapeError, NotInGraphError: as ``t.backward(gradient)`` would.
    """
    if not isinstance(t, Handle):
        raise TypeError(f"expected a Tensor, got {type(t).__name__}: {str(t)[:60]}")
    if t.node is None:
        raise CodeError("no derivation: this tensor has no graph. Compute it from a tensor with requires_grad=True.")
    root = t.node
    graph = everything(root)
    seed = np.asarray(backend.to_numpy(seed_of(t, root, gradient, True)))
    arrays = {id(v): v for node in graph for v, p in zip(node.saved[1:], node.parents) if p is None and _is_array(v)}
    named, handles = user_names(t, {id(node) for node in graph}, set(arrays))
    helpers = Helpers(set(TAKEN))
    values: dict[Node, Array] = {}
    found = Trace(root, seed, {}, helpers=helpers)
    kept = _kept(graph, handles)
    counts: Counter[str] = Counter()

    def name_of(wanted: str | None, otherwise: str) -> str:
        if wanted is None:
            counts[otherwise] += 1
            wanted = f"{otherwise}{counts[otherwise]}"
        name = helpers.unique(wanted)
        while f"d_{name}" in helpers.taken:
            name = helpers.unique(wanted)
        helpers.taken.add(f"d_{name}")
        return name

    constants: dict[int, str] = {}
    for node in graph:  # names first: helpers must not take the user's
        wanted = node.name or named.get(id(node))
        wanted = wanted if wanted or node is not root else "loss" if not root.shape else "output"
        found.names[node] = name_of(wanted, node.op.name if node.op is not None else "x")
    for key in arrays:
        constants[key] = name_of(getattr(handles.get(key), "name", None) or named.get(key), "c")
        found.inputs.append(Input(constants[key], np.array(backend.to_numpy(arrays[key]), order="K"), None))
    for node in graph:
        name = found.names[node]
        if node.op is None:
            if node not in kept:
                raise CodeError(
                    f"no derivation: the graph did not keep the value of {name} (shape {node.shape}), which no rule reads. "
                    f"Keep the tensor in a variable, or record inside `with mg.inspect():`."
                )
            values[node] = np.array(backend.to_numpy(kept[node]), order="K")
            found.inputs.append(Input(name, values[node], node))
            continue
        _forward(found, node, values, arrays, constants, kept)
    _backward(found, graph, values, constants)
    return found


def _is_array(value: Any) -> bool:
    return getattr(value, "ndim", None) is not None and not isinstance(value, (Absent, np.generic))


def _kept(graph: list[Node], handles: dict[int, Handle]) -> dict[Node, Any]:
    """The values that are still known: those that the graph computed with before those that a tensor has now."""
    found: dict[Node, Any] = {}
    for node in graph:
        for value, owner in zip(node.saved, (node, *node.parents)):
            if owner is not None and value is not None and not isinstance(value, Absent):
                found.setdefault(owner, value)
    for node in graph:
        if node not in found and node.op is None and id(node) in handles:
            found[node] = handles[id(node)]._data
    return found


def _operands(node: Node, values: dict[Node, Array]) -> list[Any]:
    return [values[p] if p is not None else v for p, v in zip(node.parents, node.saved[1:])]


def _texts(node: Node, found: Trace, constants: dict[int, str]) -> list[str]:
    """The operands and parameters of a node as the program writes them."""
    operands = [
        found.names[p] if p is not None else constants[id(v)] if id(v) in constants else literal(v)
        for p, v in zip(node.parents, node.saved[1:])
    ]
    return operands


def _parameters(node: Node, found: Trace) -> list[str]:
    """Parameters; arrays among them (indices) become inputs."""
    assert found.helpers is not None
    return [_parameter(q, found) for q in node.params]


def _parameter(q: Any, found: Trace) -> str:
    helpers = found.helpers
    assert helpers is not None
    if isinstance(q, np.ndarray):
        if id(q) not in helpers.names:
            helpers.names[id(q)] = helpers.unique("index" if q.dtype.kind in "iub" else "parameter")
            helpers.kept.append(q)
            found.inputs.append(Input(helpers.names[id(q)], np.array(q, order="K"), None))
        return helpers.names[id(q)]
    if type(q) is tuple:
        return f"({', '.join(_parameter(v, found) for v in q)}{',' if len(q) == 1 else ''})"
    if callable(q) and not isinstance(q, type):
        return ast.unparse(helpers.expression(q, "function"))
    if q is SLOT:
        return ast.unparse(helpers.expression(q, "array"))
    return literal(q)


def _forward(
    found: Trace,
    node: Node,
    values: dict[Node, Array],
    arrays: dict[int, Any],
    constants: dict[int, str],
    kept: dict[Node, Any],
) -> None:
    assert found.helpers is not None
    operands = _operands(node, values)
    missing = [i for i, v in enumerate(operands) if isinstance(v, Absent)]
    if missing:
        raise CodeError(
            f"no derivation: the graph did not keep operand {missing[0] + 1} of {node.op.name} (shape "
            f"{operands[missing[0]].shape}), an array without history. Record inside `with mg.inspect():`."
        )
    with np.errstate(all="ignore"):
        value = np.asarray(node.op.forward(*operands, *node.params))
    if node in kept and not _same(value, np.asarray(backend.to_numpy(kept[node]))):
        raise CodeError(
            f"no derivation: {found.names[node]} is not what its operands give, so one of them was changed in place since. "
            f"Ask before the update, or update out of place."
        )
    values[node] = value
    texts = _texts(node, found, constants)
    code = ""
    try:
        arguments = [*texts, *_parameters(node, found)]
        chooses = node.op is where.op and not all(p is None for p in node.parents[1:])  # type: ignore[attr-defined]
        expression = (
            ast.Call(parse("np.where"), [parse(a) for a in arguments], [])
            if chooses
            else found.helpers.call(node.op.forward, arguments, node.op.name)
        )
        code = _unparse(expression)
    except CodeError as error:
        found.refused = found.refused or str(error)
    found.steps.append(Step(node, found.names[node], tuple(texts), value, code))


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _unparse(expression: ast.expr) -> str:
    return ast.unparse(ast.fix_missing_locations(expression))


def _backward(found: Trace, graph: list[Node], values: dict[Node, Array], constants: dict[int, str]) -> None:
    """:func:`minigrad.graph.pull_back`, step by step and in its order, with a statement for each contribution."""
    grads: dict[Node, Any] = {found.root: found.seed}
    masks: dict[Node, tuple[Any, str]] = {}
    for node in reversed(graph):
        if node not in grads or not node.requires_grad:
            continue
        g = grads[node]
        if node.extra is not None and node.extra.hooks:
            for hook in node.extra.hooks.values():
                g = grads[node] = np.asarray(hook(g))
            masks.pop(node, None)
            found.refused = found.refused or (
                f"no standalone program: {found.names[node]} has a hook on its gradient, a function of yours that no op table "
                f"knows. Remove it, and ask again."
            )
        if node.op is None:
            continue
        operands = _operands(node, values)
        saved = (values[node], *operands)
        for i, rule in node.op.pulls:
            parent = node.parents[i]
            if parent is not None and parent.requires_grad:
                with np.errstate(all="ignore"):
                    _pull(found, node, i, rule, g, saved, grads, masks, constants)
        masks.pop(node, None)
    found.gradients = {node: np.asarray(g) for node, g in grads.items()}


def _pull(
    found: Trace, node: Node, i: int, rule: Any, g: Any, saved: tuple[Any, ...], grads: dict[Node, Any],
    masks: dict[Node, tuple[Any, str]], constants: dict[int, str],
) -> None:  # fmt: skip
    assert found.helpers is not None
    parent: Any = node.parents[i]
    op, before = node.op, []
    texts = [found.gradient(node), found.names[node], *_texts(node, found, constants)]
    part = rule(g, *saved, *node.params)
    expression: ast.expr = ast.Name("g", ast.Load())
    try:
        texts += _parameters(node, found)
        name = f"{op.name}_rule"
        expression = parse(texts[0]) if rule is passes else found.helpers.call(rule, texts, name)
        # The branch that a gate did not take contributes nothing (masks.py: spare).
        mask = _reached(*masks[node], node, i, texts, found.helpers) if node in masks else None
        if op.mask is not None:
            taken, told = op.mask(i, *saved[1:]), _mask(op, i, texts[2:], found.helpers)
            mask = (taken, told) if mask is None else (taken & mask[0], f"({told}) & {mask[1]}")
        if mask is not None and not mask[1].isidentifier():
            name = found.helpers.unique("taken")
            before.append(f"{name} = {mask[1]}")
            mask = (mask[0], name)
        if mask is not None:
            part = np.where(mask[0], part, 0)
            expression = ast.Call(parse("np.where"), [parse(mask[1]), expression, ast.Constant(0)], [])
        if mask is not None and mask[0].shape != parent.shape:
            extra = len(node.shape) - len(parent.shape)
            copies = (*range(extra), *(extra + k for k, n in enumerate(parent.shape) if n == 1))
            mask = (
                np.broadcast_to(mask[0], node.shape).any(axis=copies).reshape(parent.shape),
                f"np.broadcast_to({mask[1]}, {node.shape}).any(axis={copies}).reshape({parent.shape})",
            )
        if mask is None or (parent in grads and parent not in masks):
            masks.pop(parent, None)
        elif parent in grads:
            name = found.helpers.unique("taken")
            before.append(f"{name} = {mask[1]} | {masks[parent][1]}")
            masks[parent] = (mask[0] | masks[parent][0], name)
        else:
            masks[parent] = mask
    except CodeError as error:
        found.refused = found.refused or str(error)
    local = _local(node, i, rule, g, saved)
    axes: tuple[int, ...] = ()
    # Undo broadcasting and give it its tensor's dtype (graph.py: fit).
    if part.shape != parent.shape:
        extra = part.ndim - len(parent.shape)
        stretched = (extra + k for k, n in enumerate(parent.shape) if n == 1 and part.shape[extra + k] != 1)
        axes = (*range(extra), *stretched)
        part = part.sum(axis=axes)
        expression = ast.Call(ast.Attribute(expression, "sum", ast.Load()), [], [ast.keyword("axis", parse(literal(axes)))])
        if part.shape != parent.shape:
            part = part.reshape(parent.shape)
            shape = parse(literal(parent.shape))
            expression = ast.Call(ast.Attribute(expression, "reshape", ast.Load()), [shape], [])
    if part.dtype != parent.dtype:
        part = part.astype(parent.dtype)
        dtype = parse(literal(parent.dtype.type))
        expression = ast.Call(ast.Attribute(expression, "astype", ast.Load()), [dtype], [])
    first = parent not in grads
    if not first:
        expression = ast.BinOp(parse(found.gradient(parent)), ast.Add(), expression)
    grads[parent] = part if first else grads[parent] + part
    found.pulls.append(Pull(node, i, g, part, local, _unparse(expression), first, axes, tuple(before)))


def _reached(mask: Any, told: str, node: Node, i: int, texts: list[str], helpers: Helpers) -> tuple[Any, str] | None:
    """:func:`minigrad.masks.reach`, with the expression for what it returns."""
    reached, op = reach(mask, node, i), node.op
    if reached is None or op.elementwise:
        return None if reached is None else (reached, told)
    if op.name in MOVING:
        call = helpers.call(op.rules[i], [f"{told}.astype(np.float32)", *texts[1:]], f"{op.name}_rule")
        return reached, f"{_unparse(call)} != 0"
    if op.name in REDUCING:
        axes = np.ones(reached.shape, bool).sum(axis=node.params[REDUCING[op.name][0]], keepdims=True).shape
        return reached, f"np.broadcast_to({told}.reshape({axes}), {reached.shape})"
    return reached, f"np.broadcast_to({told}.any(axis={node.params[0]!r}, keepdims=True), {reached.shape})"


def _mask(op: Any, i: int, operands: list[str], helpers: Helpers) -> str:
    return _unparse(helpers.call(op.mask, [literal(i), *operands[: op.arity]], f"{op.name}_mask"))


def _local(node: Node, i: int, rule: Any, g: Any, saved: tuple[Any, ...]) -> Any:
    """The local gradient, where one array tells it: what the rule makes of an upstream gradient of 1."""
    if not node.op.elementwise and np.size(g) != 1:
        return None
    local = np.asarray(rule(np.ones_like(g), *saved, *node.params))
    return np.where(node.op.mask(i, *saved[1:]), local, 0) if node.op.mask is not None else local


# The program
def program(found: Trace, npz: str = "derivation.npz") -> str:
    """The text of the program; inputs of more than :data:`EMBEDDED` elements are read from the file ``npz`` beside it.

    Raises:
        CodeError: if a step has no source text, or a hook changed a gradient.
    """
    if found.refused:
        raise CodeError(found.refused)
    assert found.helpers is not None
    root = found.names[found.root]
    files = large(found)
    careful = _careful(found)
    inputs = [
        f"{entry.name} = " + (f"data[{entry.name!r}]" if entry.name in files else literal(entry.value))
        for entry in found.inputs
    ]
    forward = [_line(step.name, step.code, careful, step.value, _about(step.node)) for step in found.steps]
    seed = f"{found.gradient(found.root)} = {literal(found.seed) if found.seed.size <= EMBEDDED else f'data[{SEED!r}]'}"
    backward = [seed]
    at: Node | None = None
    for pull in found.pulls:
        if pull.node is not at:
            at = pull.node
            backward += [
                "",
                f"# {found.names[at]} = {at.op.name}({', '.join(_shown(at, found))}): {at.op.gate or 'its own rule'}",
            ]
        rules = formula.formulas(at.op)
        told = rules[pull.i] if pull.i < len(rules) else ""
        parent: Any = pull.node.parents[pull.i]
        sums = "" if pull.first else "; contributions add up"
        backward += pull.before
        backward.append(_line(found.gradient(parent), pull.code, careful, pull.part, f"rule: {told or 'see above'}{sums}"))
    helpers = found.helpers.text()
    imports = ["from pathlib import Path"] if files else []
    imports = [*sorted(found.helpers.imports.values()), *imports]
    blocks = [
        f'"""{root} and its gradients, forward and backward: what minigrad computed, bit for bit, in NumPy alone."""',
        "\n".join([*imports, *([""] if imports else []), "import numpy as np"]),
        *(["# What the rules below call\n" + helpers] if helpers else []),
        *([f'with np.load(Path(__file__).with_name("{npz}")) as file:\n    data = dict(file)'] if files else []),
        "# Inputs\n" + "\n".join(inputs),
        "# Forward\n" + "\n".join(forward),
        f"# Backward: d_x is the gradient of {root} with respect to x\n" + "\n".join(backward),
    ]
    asked = [n for n in found.inputs if n.node is not None and n.node in found.gradients]
    shown = "\n".join(f'    print("d_{n.name} =", d_{n.name})' for n in asked)
    blocks.append(f'if __name__ == "__main__":\n    print("{root} =", {root})\n{shown}'.rstrip())
    return found.helpers.named("\n\n".join(blocks) + "\n")


SEED = "upstream gradient"


def large(found: Trace) -> dict[str, Array]:
    """The arrays that the program reads from a file, by name."""
    arrays = {entry.name: entry.value for entry in found.inputs if entry.value.size > EMBEDDED}
    return {**arrays, SEED: found.seed} if found.seed.size > EMBEDDED else arrays


def _shown(node: Node, found: Trace) -> list[str]:
    """The operands of a node for a comment, at most four."""
    told = [found.names[p] if p is not None else "constant" for p in node.parents]
    return told if len(told) <= 4 else [*told[:3], f"... {len(told)} in all"]


def _about(node: Node) -> str:
    asked = formula.parameters(node.op, node.params)
    where = f" (in {'.'.join(node.scope)})" if node.scope else ""
    return f"{node.op.name}{' ' + asked if asked else ''}{where}"


def _line(name: str, code: str, careful: set[str], value: Any, comment: str) -> str:
    wrapped = f"np.asarray({code})" if name in careful and not np.shape(value) else code
    return f"{name} = {wrapped}  # {comment}"


def _careful(found: Trace) -> set[str]:
    """Names whose value must be a 0-d array, not a NumPy scalar.

    The two give the same bits under NumPy's functions and + - * /. Not under ``**``, where an array takes a shortcut for small
    powers; and a function that was copied may ask for what only an array has.
    """
    assert found.helpers is not None
    ours = set(found.helpers.functions)
    names: set[str] = set()
    for code in [*(s.code for s in found.steps), *(p.code for p in found.pulls)]:
        tree = ast.parse(code, mode="eval")
        used = {part.id for part in ast.walk(tree) if isinstance(part, ast.Name)}
        if used & ours or any(
            isinstance(part, (ast.Pow, ast.Subscript, ast.Attribute)) and _bare(part) for part in ast.walk(tree)
        ):
            names |= used
    return names


def _bare(part: ast.AST) -> bool:
    """Whether a construct treats arrays and scalars apart: all but functions of NumPy by name and a few methods."""
    if not isinstance(part, ast.Attribute):
        return True
    by_name = isinstance(part.value, ast.Name) and part.value.id in ("np", "math")
    return not by_name and part.attr not in ("sum", "reshape", "astype", "shape", "ndim", "dtype")
