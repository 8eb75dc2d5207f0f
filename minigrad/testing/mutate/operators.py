"""The mistakes, a table: each operator looks at one piece of a function's source and says what could wrongly stand in its place."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

Function = ast.Lambda | ast.FunctionDef
HOOK = "_minigrad_mutation"
"""The builtin that rewritten functions call: ``HOOK(what, *values)``."""


@dataclass(frozen=True)
class Role:
    """What a function is to its operation: which argument is the upstream gradient, which are the output and the operands."""

    upstream: str | None = None
    values: tuple[str, ...] = ()
    exact: bool = False
    results: frozenset[int] = frozenset()  # the ids of the expressions that a rule returns


class Edit(NamedTuple):
    """One mistake: ``new`` instead of ``old``, which is ``parent.field`` or an item of it."""

    operator: str
    parent: ast.AST
    field: str
    item: int | None
    old: ast.AST
    new: ast.AST

    @contextmanager
    def applied(self, wrap: Callable[[ast.AST], ast.AST] = lambda node: node) -> Iterator[None]:
        """The tree with the mistake in it, inside the ``with`` block."""
        self._put(placed(wrap(self.new), self.old))
        try:
            yield
        finally:
            self._put(self.old)

    def _put(self, node: ast.AST) -> None:
        if self.item is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.item] = node


def placed(new: ast.AST, old: ast.AST) -> ast.AST:
    """``new`` with the line numbers of ``old`` where it has none."""
    for node in ast.walk(new):
        if isinstance(node, (ast.expr, ast.stmt, ast.keyword)) and not hasattr(node, "lineno"):
            ast.copy_location(node, old)
    return new


def call_hook(what: str, *values: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(HOOK, ast.Load()), [ast.Constant(what), *values], [])


def _binary(left: ast.expr, op: type[ast.operator], right: ast.expr) -> ast.BinOp:
    return ast.BinOp(left, op(), right)


def _attribute(node: ast.expr, name: str) -> ast.Attribute:
    return ast.Attribute(node, name, ast.Load())


def _is(node: ast.AST, *operators: type[ast.operator]) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, operators)


def _name(call: ast.Call) -> str:
    f = call.func
    return f.attr if isinstance(f, ast.Attribute) else f.id if isinstance(f, ast.Name) else ""


Found = Iterator[ast.AST]


def _sign(node: ast.AST, role: Role) -> Found:
    if id(node) in role.results and isinstance(node, ast.expr) and not _negative(node):
        yield ast.UnaryOp(ast.USub(), node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand


def _negative(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)


def _factor(node: ast.AST, role: Role) -> Found:
    if id(node) in role.results and isinstance(node, ast.expr):
        yield _binary(ast.Constant(2), ast.Mult, node)


def _upstream(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.Name) and node.id == role.upstream and isinstance(node.ctx, ast.Load):
        yield _binary(_binary(node, ast.Mult, ast.Constant(0)), ast.Add, ast.Constant(1))


def _in_place(node: ast.AST, role: Role) -> Found:
    if id(node) in role.results and isinstance(node, ast.expr) and role.upstream is not None:
        yield call_hook("double", node, ast.Name(role.upstream, ast.Load()))


def _up_cast(node: ast.AST, role: Role) -> Found:
    if id(node) in role.results and isinstance(node, ast.expr) and role.exact:
        yield ast.Call(_attribute(node, "astype"), [ast.Constant("float64")], [])


_OTHER: dict[type[ast.operator], type[ast.operator]] = {
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


def _arithmetic(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.BinOp) and (other := _OTHER.get(type(node.op))):
        yield _binary(node.left, other, node.right)


def _dropped(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right


def _swapped(node: ast.AST, role: Role) -> Found:
    if _is(node, ast.Sub, ast.Div, ast.MatMult, ast.Pow):
        assert isinstance(node, ast.BinOp)
        yield _binary(node.right, type(node.op), node.left)
    elif isinstance(node, ast.Call) and _name(node) not in _PLUMBING and ast.unparse(node.func) not in ("max", "min"):
        first = 1 if _name(node) == "where" else 0
        if len(node.args) > first + 1 and not any(isinstance(a, ast.Starred) for a in node.args[: first + 2]):
            args = list(node.args)
            args[first], args[first + 1] = args[first + 1], args[first]
            yield ast.Call(node.func, args, node.keywords)


_TURNS = ("T", "mT")


def _transpose(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.Attribute) and node.attr in _TURNS:
        yield node.value
    if _is(node, ast.MatMult):
        assert isinstance(node, ast.BinOp)
        for side in ("left", "right"):
            operand = getattr(node, side)
            if not (isinstance(operand, ast.Attribute) and operand.attr in _TURNS):
                sides = {"left": node.left, "right": node.right, side: _attribute(operand, "mT")}
                yield ast.BinOp(sides["left"], node.op, sides["right"])


_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
}  # fmt: skip


def _comparison(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in _COMPARED[type(node.ops[0])]:
            yield ast.Compare(node.left, [other()], node.comparators)


def _constant(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int):
            yield ast.Constant(node.value + 1)
        elif isinstance(node.value, float):
            yield ast.Constant(2 * node.value + (node.value == 0))


_PLUMBING = {
    "bool", "dict", "enumerate", "float", "getattr", "hasattr", "int", "isinstance", "len", "list", "namespace", "range", "set",
    "str", "tuple", "type", "zip", "eye", "zeros", "ones", "full", "tri", "arange", "map", "any", "all", "iter", "next", "reversed", "sorted", "slice",
}  # fmt: skip
"""What only builds arguments: to drop such a call is a type error, not a wrong gradient."""


def _call(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.Call) and _name(node) not in _PLUMBING:
        first = 1 if _name(node) == "where" else 0
        method = isinstance(node.func, ast.Attribute) and not _in_module(node.func)
        if method:
            assert isinstance(node.func, ast.Attribute)
            yield node.func.value
        elif len(node.args) > first and not isinstance(node.args[first], ast.Starred):
            yield node.args[first]


def _in_module(f: ast.Attribute) -> bool:
    """Whether ``name.f`` is a function of a module, as far as its source tells: ``np.exp``, not ``g.sum``."""
    return isinstance(f.value, ast.Name) and len(f.value.id) > 1 and f.attr not in _METHODS


_METHODS = {"astype", "conj", "mean", "reshape", "sum", "transpose", "copy", "ravel", "swapaxes", "squeeze"}
_PAIRS = (
    ("sin", "cos"), ("sinh", "cosh"), ("exp", "exp2"), ("maximum", "minimum"), ("max", "min"), ("floor", "ceil"), ("triu", "tril"), ("sum", "mean"),
    ("argmax", "argmin"), ("log", "log2"), ("floor", "trunc"), ("sqrt", "square"), ("sign", "abs"), ("less", "less_equal"), ("equal", "not_equal"),
    ("greater", "greater_equal"),
)  # fmt: skip
_TWINS = {**{b: a for a, b in _PAIRS}, **dict(_PAIRS)}


def _function(node: ast.AST, role: Role) -> Found:
    """Only where the other function exists: see :meth:`rules.Target.edits`."""
    if isinstance(node, ast.Call) and (twin := _TWINS.get(_name(node))):
        f = _attribute(node.func.value, twin) if isinstance(node.func, ast.Attribute) else ast.Name(twin, ast.Load())
        yield ast.Call(f, node.args, node.keywords)


def _value(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in role.values:
        k = role.values.index(node.id)
        others = role.values[1:] if k else role.values[1:2]
        other = others[k % len(others)] if len(others) > 1 or not k else role.values[0]
        if other != node.id:
            yield ast.Name(other, ast.Load())


def _keyword(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.Call) and _name(node) not in _PLUMBING:
        for k, keyword in enumerate(node.keywords):
            if keyword.arg:
                yield ast.Call(node.func, node.args, node.keywords[:k] + node.keywords[k + 1 :])


def _condition(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, (ast.If, ast.While)) and not isinstance(node.test, ast.Compare):
        yield type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
        yield node.operand


def _overwrite(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.AugAssign):
        yield ast.Assign([node.target], node.value)


def _statement(node: ast.AST, role: Role) -> Found:
    """An assignment to what has a value already, or a call for its effect, left out."""
    own = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    again = isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) and t.id in own for t in node.targets)
    if again or isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


def _index(node: ast.AST, role: Role) -> Found:
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield node.value


OPERATORS: dict[str, tuple[str, Callable[[ast.AST, Role], Found]]] = {
    "sign": ("the sign of a result, or a minus left out", _sign),
    "factor": ("a factor 2 too much", _factor),
    "ones_like": ("the upstream gradient forgotten: 1 in its place", _upstream),
    "in-place": ("the upstream gradient doubled in place: others hold the same array", _in_place),
    "up-cast": ("the result in float64, where the backward pass does not look", _up_cast),
    "dropped": ("one side of an operator left out: the local gradient, a term, the sum that accumulates", _dropped),
    "arithmetic": ("* for /, + for -, and the like", _arithmetic),
    "swapped": ("the operands of -, /, @, **, the first arguments of a call, or the branches of where exchanged", _swapped),
    "transpose": ("a transpose left out or too much", _transpose),
    "comparison": ("< for <=, or the opposite: ties and masks", _comparison),
    "constant": ("a number or an axis off by one, a float doubled, a flag such as keepdims inverted", _constant),
    "call": ("a function left out: a sum, a reshape, a cast, a cosine", _call),
    "function": ("the wrong function: cos for sin, min for max, mean for sum", _function),
    "value": ("the input for the output, or one operand for the other", _value),
    "keyword": ("a keyword left out, such as axis or keepdims", _keyword),
    "condition": ("a branch taken where it should not be", _condition),
    "overwrite": ("= where += belongs", _overwrite),
    "statement": ("a statement left out", _statement),
    "index": ("an index left out", _index),
}  # fmt: skip
"""Name: what goes wrong, and how to write it."""


def edits(function: Function, role: Role) -> Iterator[Edit]:
    """Every mistake that the operators make in a function, each distinct text once, in the order of the source."""
    if role.upstream is not None:
        role = replace(role, results=frozenset(map(id, _results(function))))
    for parent, name, index, node in _places(function):
        seen = {ast.unparse(node)}
        for operator, (_, change) in OPERATORS.items():
            for new in change(node, role):
                text = ast.unparse(placed(new, node))
                if text not in seen:
                    seen.add(text)
                    yield Edit(operator, parent, name, index, node, new)


def _results(function: Function) -> Iterator[ast.expr]:
    if isinstance(function, ast.Lambda):
        yield function.body
    else:
        stack: list[ast.AST] = list(function.body)
        for node in stack:
            if isinstance(node, ast.Return) and node.value is not None:
                yield node.value
            if not isinstance(node, (ast.Lambda, ast.FunctionDef, ast.ClassDef)):
                stack.extend(ast.iter_child_nodes(node))


_UNTOUCHED = (
    ast.Raise,
    ast.Assert,
    ast.JoinedStr,
    ast.arguments,
    ast.expr_context,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.boolop,
)


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Where an edit may be made: the expressions and statements of the body, but not what only words an error."""
    for name, value in ast.iter_fields(node):
        if name in ("decorator_list", "returns", "annotation", "items"):
            continue
        several = isinstance(value, list)
        items: list[Any] = value if several else [value]
        for k, item in enumerate(items):
            if not isinstance(item, ast.AST) or isinstance(item, _UNTOUCHED):
                continue
            if isinstance(item, ast.Expr) and (isinstance(item.value, ast.Constant) or _is_note(item.value)):
                continue
            if isinstance(item, (ast.expr, ast.stmt)):
                yield node, name, k if several else None, item
            if not (isinstance(node, ast.Call) and _name(node) == "reshape" and ast.unparse(item) == "-1"):  # -2 means the same
                yield from _places(item)


def _is_note(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _name(node) == "add_note"
