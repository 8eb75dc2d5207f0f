"""The source of what an operation runs, copied so that it stands alone: functions, constants, and arrays as literals.

A function is copied with all that it calls in turn. What serves other array libraries, or speed alone, is left out.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import keyword
import math
import pickle
import re
import sys
import textwrap
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import arena, backend, blocks, threads
from minigrad.blocks import in_pieces, in_rows, renew, reuse
from minigrad.errors import MinigradError
from minigrad.graph import Handle
from minigrad.ops.elementwise import where
from minigrad.ops.index import SLOT
from minigrad.ops.recurrent import _Latest
from minigrad.viz import formula

Array = np.ndarray[Any, Any]
WIDTH = 100
"""An expression that gets longer than this is called as a function instead."""
INFIX = {np.add: ast.Add, np.subtract: ast.Sub, np.multiply: ast.Mult, np.divide: ast.Div}
USUAL = {("axis", None), ("keepdims", False), ("dtype", None), ("correction", 0)}
"""Keyword arguments of NumPy's methods that say nothing."""
PLAIN: dict[Any, str] = {
    backend.namespace: "def {name}(array):\n    return np",
    arena.empty: "def {name}(shape, dtype):\n    return np.empty(shape, dtype)",
    arena.owns: "def {name}(array):\n    return array.base is None",
    blocks.add: "def {name}(a, b, out=None):\n    return np.add(a, b, out)",
    blocks.piecewise: "def {name}(f, *args):\n    return f(*args)",
    blocks.write: "def {name}(operation, out, *operands):\n    return operation(*operands)",
    reuse: "def {name}(operation, fresh, other):\n    return operation(fresh, other)",
    renew: "def {name}(operation, fresh):\n    return operation(fresh)",
    in_rows: "def {name}(f):\n    return f",
    in_pieces: "def {name}(f):\n    return f",
    threads.share: "def {name}(work, pieces, alone=True):\n    work(iter(range(pieces)))",
}
"""What stands for functions that serve other libraries, or speed alone."""
MODULES = {"numpy": "np"}
TAKEN = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "math", "data", "file", "Path", "g"}


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
        self.records: dict[str, Any] = {}
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

    def expression(self, value: Any, wanted: str, named: bool = True) -> ast.expr:
        """An expression for a global that source text refers to, under its own name if it is to be ``named`` so."""
        if hasattr(value, "op") and callable(value):
            value = _forward_of(value)
        if _in_numpy(value):
            return parse(_in_numpy(value))
        if id(value) in self.names:
            return ast.Name(self.names[id(value)], ast.Load())
        if isinstance(value, types.ModuleType):
            name = MODULES.get(value.__name__, value.__name__)
            if value.__name__ not in MODULES:
                self.imports[value.__name__] = f"import {value.__name__}"
            return parse(name)
        name = f"h_{len(self.wanted)}_"
        self.wanted[name] = _own_name(value, wanted) if named else wanted
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
            made = f"collections.namedtuple({name!r}, {value._fields!r})"
            if _has_methods(value):
                self.functions[name] = self.class_(name, value, made)
            else:
                self.constants.append(f"{name} = {made}")
        elif _is_library(value):
            module = MODULES.get(value.__module__, value.__module__)
            if module == value.__module__:
                self.imports[module] = f"import {module}"
            self.constants.append(f"{name} = {module}.{value.__qualname__}")
        elif isinstance(value, type) and value.__module__.startswith("minigrad"):
            self.functions[name] = self.class_(name, value)
        elif inspect.isfunction(inspect.unwrap(value)) if callable(value) else False:
            self.functions[name] = self.function(name, inspect.unwrap(value))  # after what it calls: decorators come first
        elif isinstance(value, tuple) and any(map(callable, value)):
            self.expression(type(value), type(value).__name__)
            self.records[name] = value
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
            found = ast.FunctionDef(name, found.args, [ast.Return(found.body)], [])
        found.name = name
        return ast.unparse(ast.fix_missing_locations(found))

    def class_(self, name: str, kind: type, base: str = "") -> str:
        """The source text of a class, likewise; one with a ``base`` has no other, and its fields from there."""
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        if base:
            tree.bases = [parse(base)]
            tree.body = [s for s in tree.body if not isinstance(s, ast.AnnAssign)]
        bound = _bound(tree)
        self.bound |= bound
        found = _Bare().visit(_Resolve(self, vars(sys.modules[kind.__module__]), bound).visit(tree))
        found.name = name
        return ast.unparse(ast.fix_missing_locations(found))

    def resolved(self, f: Callable[..., Any]) -> Any:
        """The syntax tree of ``f`` in which every global name stands for a helper."""
        tree = pickle.loads(pickle.dumps(source(f)))  # noqa: S301 (a copy of our own, 5 x as fast as deepcopy)
        if any(isinstance(part, ast.ImportFrom) and (part.module or "").startswith("minigrad") for part in ast.walk(tree)):
            raise CodeError(f"no standalone program: {f.__qualname__}, which an operation calls, records graphs of its own")
        cells = zip(f.__code__.co_freevars, f.__closure__ or ())
        known = {**f.__globals__, **{name: cell.cell_contents for name, cell in cells}}
        bound = _bound(tree)
        self.bound |= bound
        return _Resolve(self, known, bound).visit(tree)

    def call(self, f: Callable[..., Any], arguments: list[str], wanted: str) -> ast.expr:
        """``f(*arguments)`` as an expression: written out where it is one short expression, or else as a call."""
        f, arguments = _unbind(f, arguments)
        if f in INFIX:
            left, right = map(parse, arguments)
            return ast.BinOp(left, INFIX[f](), right)
        if _in_numpy(f):
            return ast.Call(parse(_in_numpy(f)), [parse(a) for a in arguments], [])
        written = self.inline(f, arguments)
        if written is not None:
            return written
        named = "<locals>" not in getattr(f, "__qualname__", "")  # else several operations have one function of that name
        return ast.Call(self.expression(f, wanted, named), [parse(a) for a in arguments], [])

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
        made = [self.record(name, value) for name, value in self.records.items()]
        parts = ["\n".join(self.constants), *self.functions.values(), "\n".join(made)]
        return "\n\n\n".join(part for part in parts if part)

    def record(self, name: str, value: Any) -> str:
        """A named tuple of functions and numbers; None stands for a function that nothing here asks it for."""
        known = "\n".join(self.functions.values())
        fields = zip(value._fields, value)
        used = [None if callable(v) and not re.search(rf"\.{field}\b", known) else (field, v) for field, v in fields]
        shown = [None if u is None else self.expression(u[1], u[0]) if callable(u[1]) else parse(literal(u[1])) for u in used]
        told = ", ".join("None" if part is None else ast.unparse(part) for part in shown)
        return f"{name} = {ast.unparse(self.expression(type(value), type(value).__name__))}({told})"


def _in_numpy(value: Any) -> str:
    """``np.exp``, ``np.linalg.det``: what NumPy calls one of its functions; "" for anything else."""
    name = getattr(value, "__name__", "")
    homes = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft}
    return next((f"{home}.{name}" for home, m in homes.items() if callable(value) and getattr(m, name, None) is value), "")


def _has_methods(kind: Any) -> bool:
    """Whether a named tuple is a class with methods of its own."""
    tree: Any = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    return isinstance(tree, ast.ClassDef) and any(isinstance(s, ast.FunctionDef) for s in tree.body)


def _is_library(value: Any) -> bool:
    """Whether it is a function or class of the standard library, or a class of NumPy's."""
    module = getattr(value, "__module__", None) or ""
    known = module.partition(".")[0] in sys.stdlib_module_names or (module == "numpy" and isinstance(value, type))
    return known and callable(value) and hasattr(value, "__qualname__") and module != "__main__"


def _own_name(value: Any, wanted: str) -> str:
    own = str(getattr(value, "__name__", "")).strip("_")
    return own if own.isidentifier() and own != "lambda" else wanted


def parse(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def source(f: Any) -> Any:
    """The syntax tree of a function.

    Raises:
        CodeError: if there is no source text, as of a function typed at a prompt.
    """
    code = getattr(f, "__code__", None)
    found = (
        [t for t in formula._functions(code.co_filename).get(code.co_firstlineno, ()) if formula._is(t, code)] if code else []
    )
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
        return parse(literal(value)) if type(value) in (int, bool) else self.helpers.expression(value, node.id)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """``where`` is NumPy's, unless it chooses between two numbers, whose dtype is minigrad's own affair.

        What is there to save memory or work is written as what it computes.
        """
        called = self.global_(node.func)
        if called is where:
            inside = {part.id for arg in node.args[1:] for part in ast.walk(arg) if isinstance(part, ast.Name)}
            if inside & self.bound:
                return ast.Call(parse("np.where"), [self.visit(arg) for arg in node.args], node.keywords)
        if called is reuse or called is renew:
            operation, *operands = node.args
            ufunc = getattr(getattr(self.global_(operation), "op", None), "forward", None)
            written = list(map(self.visit, operands))
            if type(ufunc) is np.ufunc and ufunc in INFIX:
                return ast.BinOp(written[0], INFIX[ufunc](), written[1])
            return ast.Call(self.visit(operation), written, [])
        if isinstance(node.func, ast.Attribute) and isinstance(self.global_(node.func.value), _Latest):
            make: Any = node.args[-1]  # what the rules of one node share, each works out for itself
            return self.visit(make.body)  # type: ignore[no-any-return]
        return self.generic_visit(node)  # type: ignore[return-value]

    def global_(self, node: ast.expr) -> Any:
        """What a name stands for that the function does not bind; None for anything else."""
        return self.known.get(node.id) if isinstance(node, ast.Name) and node.id not in self.bound else None

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

    def visit_FunctionDef(self, node: Any) -> Any:
        rest = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        node.body = rest or node.body
        return self.generic_visit(node)

    visit_ClassDef = visit_FunctionDef  # noqa: N815


class _Substitute(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return parse(self.names[node.id]) if node.id in self.names else node


class _Tidy(ast.NodeTransformer):
    """Arguments that say nothing go: ``x.sum(axis=0, keepdims=False, dtype=None)`` is ``x.sum(axis=0)``."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        """``y if None is None else y + b`` is ``y``."""
        self.generic_visit(node)
        match node.test:
            case ast.Compare(left=ast.Constant(value), ops=[ast.Is() | ast.IsNot() as op], comparators=[ast.Constant(None)]):
                return node.body if (value is None) == isinstance(op, ast.Is) else node.orelse
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute):
            node.keywords = [
                k for k in node.keywords if not (isinstance(k.value, ast.Constant) and (k.arg, k.value.value) in USUAL)
            ]
        return node
