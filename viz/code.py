"""A recorded graph as a NumPy program that computes it, forward and backward, without minigrad and bit for bit the same.

:func:`trace` is the backward pass with a pen: it computes what :func:`minigrad.graph.pull_back` computes, in the same order and
with the same rules, and writes a statement for each step. What a statement needs beyond NumPy (the forward function of an op,
a rule that is more than one expression) is copied from the source of what ran, with all that it calls in turn: no derivative is
written down a second time.
"""

from __future__ import annotations

import ast
import builtins
import copy
import functools
import inspect
import keyword
import math
import re
import sys
import textwrap
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.errors import MinigradError
from minigrad.graph import Absent, Handle, Node, passes
from minigrad.ops.blocks import in_pieces, in_rows, renew, reuse
from minigrad.ops.elementwise import where
from minigrad.ops.index import SLOT
from minigrad.viz import formula
from minigrad.viz.records import everything, seed_of, user_names

Array = np.ndarray[Any, Any]
EMBEDDED = 1000
"""Inputs of up to so many elements are written into the program; larger ones are loaded from a file beside it."""
WIDTH = 100
"""An expression that gets longer than this is called as a function instead."""
INFIX = {np.add: ast.Add, np.subtract: ast.Sub, np.multiply: ast.Mult, np.divide: ast.Div}
USUAL = {("axis", None), ("keepdims", False), ("dtype", None), ("correction", 0)}
"""Keyword arguments of NumPy's methods that say nothing."""
PLAIN: dict[Any, str] = {
    backend.namespace: "def {name}(array):\n    return np",
    reuse: "def {name}(operation, fresh, other):\n    return operation(fresh, other)",
    renew: "def {name}(operation, fresh):\n    return operation(fresh)",
}
"""What stands for functions that serve other libraries, or speed alone."""
MODULES = {"numpy": "np"}
TAKEN = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "math", "data", "file", "Path", "g"}


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


class CodeError(MinigradError):
    """A graph that no standalone program can be written for, and why."""


# Literals
def literal(value: Any) -> str:
    """A value as an expression that gives exactly it.

    Example:
        >>> literal((slice(None), 0.1, np.float32(0.5)))
        '(slice(None, None, None), 0.1, np.float32(0.5))'
        >>> literal(np.array([1.0, float("inf")]))
        "np.array([1.0, float('inf')], dtype=np.float64)"
    """
    if isinstance(value, float) and type(value) is float:
        return repr(value) if math.isfinite(value) else f"float('{value}')"
    if isinstance(value, np.dtype):
        return f"np.dtype({value.str!r})"
    if isinstance(value, type) and issubclass(value, np.generic):
        return f"np.{value.__name__}"
    if isinstance(value, np.generic):
        return f"np.{type(value).__name__}({literal(value.item())})"
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, (tuple, list)):
        inside = ", ".join(map(literal, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, slice):
        return f"slice({', '.join(map(literal, (value.start, value.stop, value.step)))})"
    if value is None or isinstance(value, (bool, int, str, complex)):
        return repr(value)
    if value is Ellipsis:
        return "..."
    raise CodeError(f"no standalone program: {value!r}, a parameter of an operation, has no literal form")


def _array(a: Array) -> str:
    dtype = f"np.{a.dtype.name if a.dtype.kind != 'b' else 'bool_'}"
    columns = ", order='F'" if a.flags.f_contiguous and not a.flags.c_contiguous else ""
    if not a.size:
        return f"np.zeros({a.shape}, dtype={dtype})"
    if a.dtype.kind in "fc" and np.isnan(a).any():  # which has many bit patterns
        shaped = f"np.frombuffer(bytes.fromhex({a.tobytes().hex()!r}), dtype={dtype}).reshape({a.shape})"
        return f"np.array({shaped}{columns})"
    return f"np.array({_nested(a.tolist())}, dtype={dtype}{columns})"


def _nested(value: Any) -> str:
    return f"[{', '.join(map(_nested, value))}]" if isinstance(value, list) else literal(value)


# Source of what ran
class Helpers:
    """Functions and constants that the program needs, copied from the source of what ran.

    Their names are chosen last (:meth:`named`), when all local variables are known that must not hide them; until then
    ``h_0_``, ``h_1_``, ... stand for them.
    """

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.names: dict[int, str] = {}
        self.kept: list[Any] = []  # whose identities are keys
        self.imports: dict[str, str] = {}
        self.constants: list[str] = []
        self.functions: dict[str, str] = {}
        self.wanted: dict[str, str] = {}
        self.bound: set[str] = set()

    def unique(self, wanted: str) -> str:
        """``wanted`` as a valid name that nothing else has."""
        name = re.sub(r"\W+", "_", wanted.lstrip("_")).strip("_") or "v"
        name = name if not name[0].isdigit() else f"v{name}"
        found, n = name, 1
        while found in self.taken:
            n += 1
            found = f"{name}_{n}"
        self.taken.add(found)
        return found

    def expression(self, value: Any, wanted: str) -> ast.expr:
        """An expression for a global that source text refers to."""
        if hasattr(value, "op") and callable(value):
            value = _forward_of(value)
        if isinstance(value, np.ufunc):
            return _parse(f"np.{value.__name__}")
        if id(value) in self.names:
            return ast.Name(self.names[id(value)], ast.Load())
        if isinstance(value, types.ModuleType):
            name = MODULES.get(value.__name__, value.__name__)
            if value.__name__ not in MODULES:
                self.imports[value.__name__] = f"import {value.__name__}"
            return _parse(name)
        name = f"h_{len(self.wanted)}_"
        self.wanted[name] = _own_name(value, wanted)
        self.names[id(value)] = name
        self.kept.append(value)
        self.define(name, value)
        return ast.Name(name, ast.Load())

    def define(self, name: str, value: Any) -> None:
        """Write the definition of ``name``."""
        if value is SLOT:
            self.constants.append(f'{name} = "where an array stands in an index"')
        elif value is Handle:
            self.constants.append(f"{name} = ()  # a plain array is no tensor: isinstance(x, ()) is False")
        elif callable(value) and not isinstance(value, type) and value in PLAIN:
            self.functions[name] = PLAIN[value].format(name=name)
        elif isinstance(value, type) and issubclass(value, BaseException):
            base = next(k for k in value.__mro__ if k.__module__ == "builtins")
            self.constants.append(f"{name} = {base.__name__}")
        elif isinstance(value, type) and hasattr(value, "_fields"):
            self.imports["collections"] = "import collections"
            self.constants.append(f"{name} = collections.namedtuple({name!r}, {value._fields!r})")
        elif _is_library(value):
            module = MODULES.get(value.__module__, value.__module__)
            if module == value.__module__:
                self.imports[module] = f"import {module}"
            self.constants.append(f"{name} = {module}.{value.__qualname__}")
        elif isinstance(value, type) and value.__module__.startswith("minigrad"):
            self.functions[name] = self.class_(name, value)
        elif inspect.isfunction(inspect.unwrap(value)) if callable(value) else False:
            self.functions[name] = self.function(name, inspect.unwrap(value))  # after what it calls: decorators come first
        else:
            try:
                self.constants.append(f"{name} = {literal(value)}")
            except CodeError:
                if not isinstance(value, dict):
                    raise
                self.constants.append(f"{name} = {{}}  # what was found is kept here")

    def function(self, name: str, f: Callable[..., Any]) -> str:
        """The source text of ``f`` as a function ``name`` that refers to helpers only."""
        found = self.resolved(f)
        found = _Bare().visit(found)
        if isinstance(found, ast.Lambda):
            found = ast.FunctionDef(name, found.args, [ast.Return(found.body)], [], type_params=[])
        found.name = name
        return ast.unparse(ast.fix_missing_locations(found))

    def class_(self, name: str, kind: type) -> str:
        """The source text of a class, likewise."""
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        bound = _bound(tree)
        self.bound |= bound
        found = _Bare().visit(_Resolve(self, vars(sys.modules[kind.__module__]), bound).visit(tree))
        found.name = name
        return ast.unparse(ast.fix_missing_locations(found))

    def resolved(self, f: Callable[..., Any]) -> Any:
        """The syntax tree of ``f`` in which every global name stands for a helper."""
        tree = copy.deepcopy(source(f))
        cells = zip(f.__code__.co_freevars, f.__closure__ or ())  # type: ignore[attr-defined]
        known = {**f.__globals__, **{name: cell.cell_contents for name, cell in cells}}  # type: ignore[attr-defined]
        bound = _bound(tree)
        self.bound |= bound
        return _Resolve(self, known, bound).visit(tree)

    def call(self, f: Callable[..., Any], arguments: list[str], wanted: str) -> ast.expr:
        """``f(*arguments)`` as an expression: written out where it is one short expression, or else as a call."""
        f, arguments = _unbind(f, arguments)
        if f in INFIX:
            left, right = map(_parse, arguments)
            return ast.BinOp(left, INFIX[f](), right)  # type: ignore[index]
        if isinstance(f, np.ufunc):
            return ast.Call(_parse(f"np.{f.__name__}"), [_parse(a) for a in arguments], [])
        written = self.inline(f, arguments)
        if written is not None:
            return written
        return ast.Call(self.expression(f, wanted), [_parse(a) for a in arguments], [])

    def inline(self, f: Callable[..., Any], arguments: list[str]) -> ast.expr | None:
        tree = source(f)
        body = _only_expression(tree)
        given = tree.args
        if body is None or given.vararg or given.kwarg or given.kwonlyargs or len(given.args) != len(arguments):
            return None
        if any(isinstance(part, (ast.Lambda, ast.comprehension, ast.NamedExpr, ast.Starred)) for part in ast.walk(body)):
            return None
        names = {a.arg: text for a, text in zip(given.args, arguments)}
        uses = Counter(part.id for part in ast.walk(body) if isinstance(part, ast.Name))
        if any(len(text) > 20 and not text.isidentifier() and uses[name] > 1 for name, text in names.items()):
            return None
        if sum(len(names.get(n, n)) * k for n, k in uses.items()) + len(ast.unparse(body)) > 2 * WIDTH:
            return None
        resolved = _only_expression(self.resolved(f))
        assert resolved is not None
        expression = _Tidy().visit(_Substitute(names).visit(resolved))
        return expression if len(ast.unparse(expression)) <= WIDTH else None

    def named(self, text: str) -> str:
        """``text`` with the names of the helpers in it."""
        final: dict[str, str] = {}
        self.taken |= self.bound
        for placeholder, wanted in self.wanted.items():
            final[placeholder] = self.unique(wanted)
        return re.sub(r"\bh_\d+_(?!\w)", lambda m: final.get(m[0], m[0]), text)

    def text(self) -> str:
        """All definitions, those that others need at their own definition first."""
        return "\n\n\n".join([*(["\n".join(self.constants)] if self.constants else []), *self.functions.values()])


def _is_library(value: Any) -> bool:
    """Whether it is a function or class of the standard library, or a class of NumPy's."""
    module = getattr(value, "__module__", None) or ""
    known = module.partition(".")[0] in sys.stdlib_module_names or (module == "numpy" and isinstance(value, type))
    return known and callable(value) and hasattr(value, "__qualname__") and module != "__main__"


def _own_name(value: Any, wanted: str) -> str:
    own = str(getattr(value, "__name__", "")).strip("_")
    return own if own.isidentifier() and own != "lambda" else wanted


def _parse(text: str) -> Any:
    return ast.parse(text, mode="eval").body


def source(f: Any) -> Any:
    """The syntax tree of a function.

    Raises:
        CodeError: if there is no source text, as of a function typed at a prompt.
    """
    code = getattr(f, "__code__", None)
    found = [t for t in formula._functions(code.co_filename).get(code.co_firstlineno, ()) if formula._is(t, code)] if code else []
    if not found:
        raise CodeError(
            f"no standalone program: there is no source text for {getattr(f, '__qualname__', f)!r}, which an operation calls. "
            f"Define it in a file or a notebook cell."
        )
    return found[0]


def _only_expression(tree: Any) -> ast.expr | None:
    if isinstance(tree, ast.Lambda):
        return tree.body
    body = [s for s in tree.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) and not tree.decorator_list else None


def _unbind(f: Any, arguments: list[str]) -> tuple[Any, list[str]]:
    """A partial's own function, and a sequence operation's function of a sequence."""
    while isinstance(f, functools.partial):
        f, arguments = f.func, [*map(literal, f.args), *arguments]
    if getattr(f, "__qualname__", "").startswith("_variadic."):
        cells = dict(zip(f.__code__.co_freevars, (c.cell_contents for c in f.__closure__)))
        n = cells["n"]
        return cells["forward"], [f"({', '.join(arguments[:n])},)", *arguments[n:]]
    return f, arguments


def _forward_of(operation: Any) -> Any:
    """What an operation computes, as a function of what a rule calls it with."""
    f = operation.op.forward
    return _unbind(f, [])[0] if getattr(f, "__qualname__", "").startswith("_variadic.") else f


def _bound(tree: ast.AST) -> set[str]:
    """The names that a function binds: arguments and assignments, also those of functions inside it."""
    found = {a.arg for a in ast.walk(tree) if isinstance(a, ast.arg)}
    return found | {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}


class _Resolve(ast.NodeTransformer):
    """Global names become those of helpers; an attribute of a module of minigrad is what it stands for."""

    def __init__(self, helpers: Helpers, known: dict[str, Any], bound: set[str]) -> None:
        self.helpers, self.known, self.bound = helpers, known, bound

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.bound or node.id not in self.known:
            return node
        value = self.known[node.id]
        return _parse(literal(value)) if type(value) in (int, bool) else self.helpers.expression(value, node.id)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """``where`` is NumPy's, unless it chooses between two numbers, whose dtype is minigrad's own affair."""
        if isinstance(node.func, ast.Name) and self.known.get(node.func.id) is where and node.func.id not in self.bound:
            inside = {part.id for arg in node.args[1:] for part in ast.walk(arg) if isinstance(part, ast.Name)}
            if inside & self.bound:
                return ast.Call(_parse("np.where"), [self.visit(arg) for arg in node.args], node.keywords)
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if ast.unparse(node).endswith(".op.forward") and isinstance(node.value, ast.Attribute):
            return self.visit(node.value.value)  # type: ignore[no-any-return]
        if isinstance(node.value, ast.Name) and node.value.id not in self.bound:
            module = self.known.get(node.value.id)
            if isinstance(module, types.ModuleType) and module.__name__.startswith("minigrad"):
                return self.helpers.expression(getattr(module, node.attr), node.attr)
        return self.generic_visit(node)  # type: ignore[return-value]

    def is_for_speed(self, decorator: ast.expr) -> bool:
        return isinstance(decorator, ast.Name) and self.known.get(decorator.id) in (in_rows, in_pieces)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        node.decorator_list = [d for d in node.decorator_list if not self.is_for_speed(d)]
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        assert node.value is not None
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)


class _Bare(ast.NodeTransformer):
    """Docstrings go: their examples are about minigrad."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        rest = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        node.body = rest or node.body
        return self.generic_visit(node)  # type: ignore[return-value]


class _Substitute(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return _parse(self.names[node.id]) if node.id in self.names else node  # type: ignore[no-any-return]


class _Tidy(ast.NodeTransformer):
    """Arguments that say nothing go: ``x.sum(axis=0, keepdims=False, dtype=None)`` is ``x.sum(axis=0)``."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute):
            node.keywords = [
                k for k in node.keywords if not (isinstance(k.value, ast.Constant) and (k.arg, k.value.value) in USUAL)
            ]
        return node


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
    found: Trace, node: Node, values: dict[Node, Array], arrays: dict[int, Any], constants: dict[int, str], kept: dict[Node, Any]
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
            ast.Call(_parse("np.where"), [_parse(a) for a in arguments], [])
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
        expression = _parse(texts[0]) if rule is passes else found.helpers.call(rule, texts, name)
        # The branch that a gate did not take contributes nothing (graph.py: spare).
        mask = masks.get(node) if op.elementwise else None
        if op.mask is not None:
            taken, told = op.mask(i, *saved[1:]), _mask(op, i, texts[2:], found.helpers)
            mask = (taken, told) if mask is None else (taken & mask[0], f"({told}) & {mask[1]}")
            name = found.helpers.unique("taken")
            before.append(f"{name} = {mask[1]}")
            mask = (mask[0], name)
        if mask is not None:
            part = np.where(mask[0], part, 0)
            expression = ast.Call(_parse("np.where"), [_parse(mask[1]), expression, ast.Constant(0)], [])
        if mask is None or mask[0].shape != parent.shape or (parent in grads and parent not in masks):
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
        expression = ast.Call(ast.Attribute(expression, "sum", ast.Load()), [], [ast.keyword("axis", _parse(literal(axes)))])
        if part.shape != parent.shape:
            part = part.reshape(parent.shape)
            shape = _parse(literal(parent.shape))
            expression = ast.Call(ast.Attribute(expression, "reshape", ast.Load()), [shape], [])
    if part.dtype != parent.dtype:
        part = part.astype(parent.dtype)
        dtype = _parse(literal(parent.dtype.type))
        expression = ast.Call(ast.Attribute(expression, "astype", ast.Load()), [dtype], [])
    first = parent not in grads
    if not first:
        expression = ast.BinOp(_parse(found.gradient(parent)), ast.Add(), expression)
    grads[parent] = part if first else grads[parent] + part
    found.pulls.append(Pull(node, i, g, part, local, _unparse(expression), first, axes, tuple(before)))


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
        f"{entry.name} = " + (f"data[{entry.name!r}]" if entry.name in files else literal(entry.value)) for entry in found.inputs
    ]
    forward = [_line(step.name, step.code, careful, step.value, _about(step.node)) for step in found.steps]
    seed = f"{found.gradient(found.root)} = {literal(found.seed) if found.seed.size <= EMBEDDED else f'data[{SEED!r}]'}"
    backward = [seed]
    at: Node | None = None
    for pull in found.pulls:
        if pull.node is not at:
            at = pull.node
            backward += ["", f"# {found.names[at]} = {at.op.name}({', '.join(_shown(at, found))}): {at.op.gate or 'its own rule'}"]
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
        if used & ours or any(isinstance(part, (ast.Pow, ast.Subscript, ast.Attribute)) and _bare(part) for part in ast.walk(tree)):
            names |= used
    return names


def _bare(part: ast.AST) -> bool:
    """Whether a construct treats arrays and scalars apart: all but functions of NumPy by name and a few methods."""
    if not isinstance(part, ast.Attribute):
        return True
    by_name = isinstance(part.value, ast.Name) and part.value.id in ("np", "math")
    return not by_name and part.attr not in ("sum", "reshape", "astype", "shape", "ndim", "dtype")
