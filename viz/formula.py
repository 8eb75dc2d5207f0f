"""The formula of a local-gradient rule, read from the source text of the rule that ran, as plain text and as LaTeX."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
from types import CodeType
from typing import Any

import numpy as np

Body = tuple[str, tuple[str, ...]]
Lambda = ast.Lambda | ast.FunctionDef

NO_RULE: Body = ("", ())
SPACES = {"mul": r" \, ", "dot": r" \cdot "}
NAMES = {
    "alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "lambda", "mu", "nu", "pi", "rho", "sigma", "tau", "phi", "chi",
    "psi", "omega",
}  # fmt: skip
FUNCTIONS = {
    "exp": r"\exp", "log": r"\ln", "sin": r"\sin", "cos": r"\cos", "tan": r"\tan", "sinh": r"\sinh", "cosh": r"\cosh",
    "tanh": r"\tanh", "arcsin": r"\arcsin", "arccos": r"\arccos", "arctan": r"\arctan", "asin": r"\arcsin", "acos": r"\arccos",
    "atan": r"\arctan", "max": r"\max", "min": r"\min", "maximum": r"\max", "minimum": r"\min",
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: r"\le", ast.Gt: ">", ast.GtE: r"\ge", ast.Eq: "=", ast.NotEq: r"\ne",
}  # fmt: skip
# How tightly each construct binds, for parentheses: sums 1, products 2, signs 3, powers 4, atoms 5.
SUM, PRODUCT, SIGN, POWER, ATOM = 1, 2, 3, 4, 5


def formulas(op: Any) -> tuple[str, ...]:
    """The rule of each operand of ``op`` (a row of the op table) as text: what a gradient ``g`` is turned into.

    An empty string stands for an operand without a gradient, and for a rule that has no source text (typed at a prompt) or
    is more than one expression.

    Example:
        >>> import minigrad as mg
        >>> formulas(mg.multiply.op)
        ('g * b', 'g * a')
    """
    told = op.told * len(op.rules) if len(op.told) <= 1 else op.told
    return tuple(told) or tuple(_text(rule)[0] for rule in op.rules)


SILENT = {"keep"}
"""Parameters that say nothing about a result: what an operation leaves in memory for its way back."""


def parameters(op: Any, params: tuple[Any, ...]) -> str:
    """The parameters of a recorded operation as they would be written, without those that have their default values.

    Example:
        >>> import minigrad as mg
        >>> parameters(mg.sum.op, (0, False, None))
        'axis=0'
    """
    arguments = list(inspect.signature(op.forward).parameters.values())[op.arity :]
    if len(arguments) != len(params):
        return ""
    told = []
    for argument, value in zip(arguments, params):
        if argument.name == "pattern":
            return f"[{', '.join(map(_index, value))}]"
        if argument.name not in SILENT and value is not argument.default and value != argument.default and np.ndim(value) < 2:
            told.append(f"{argument.name}={value!r}")
    text = ", ".join(told)
    return text if len(text) <= 40 else f"{text[:39]}\N{HORIZONTAL ELLIPSIS}"


def _index(entry: Any) -> str:
    if isinstance(entry, slice):
        start, stop = ("" if k is None else str(k) for k in (entry.start, entry.stop))
        return f"{start}:{stop}" + (f":{entry.step}" if entry.step is not None else "")
    return "..." if entry is Ellipsis else str(entry)


def operands(op: Any) -> tuple[str, ...]:
    """What the formulas of ``op`` call its operands, as far as the source text tells: ``("a", "b")``."""
    for rule in op.rules:
        _, names = _text(rule)
        if len(names) >= 2 + op.arity:
            return names[2 : 2 + op.arity]
    return tuple("abcdefghijklmnopqrstuvwxyz"[: op.arity]) if op.arity <= 26 else tuple(f"a{i}" for i in range(op.arity))


def _text(rule: Any) -> Body:
    bound = 0
    while isinstance(rule, functools.partial):
        bound += len(rule.args)
        rule = rule.func
    code = getattr(rule, "__code__", None)
    if code is None:
        return NO_RULE
    text, names = _of_code(code)
    return text, names[bound:]


@functools.cache
def _of_code(code: CodeType) -> Body:
    """The body and the argument names of the function whose code object is ``code``."""
    found = [f for f in _functions(code.co_filename).get(code.co_firstlineno, ()) if _is(f, code)]
    if len(found) != 1:
        return NO_RULE
    function = found[0]
    names = tuple(a.arg for a in (*function.args.posonlyargs, *function.args.args))
    if isinstance(function, ast.Lambda):
        return ast.unparse(function.body), names
    body = [s for s in function.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    only = body[0] if len(body) == 1 else None
    return (ast.unparse(only.value) if isinstance(only, ast.Return) and only.value else ""), names


@functools.lru_cache(maxsize=64)
def _functions(filename: str) -> dict[int, list[Lambda]]:
    """Every lambda and function of a file by its first line. ``linecache`` also knows the cells of a notebook."""
    found: dict[int, list[Lambda]] = {}
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:
        return found
    for part in ast.walk(tree):
        if isinstance(part, (ast.Lambda, ast.FunctionDef)):
            line = min([part.lineno, *(d.lineno for d in getattr(part, "decorator_list", ()))])
            found.setdefault(line, []).append(part)
    return found


def _is(function: Lambda, code: CodeType) -> bool:
    """Whether ``code`` was compiled from ``function``: same arguments, and all its instructions come from inside the body."""
    arguments = tuple(a.arg for a in (*function.args.posonlyargs, *function.args.args))
    if code.co_varnames[: code.co_argcount] != arguments:
        return False
    if isinstance(function, ast.FunctionDef):
        return function.name == code.co_name
    if code.co_name != "<lambda>":
        return False
    start, end = (function.body.lineno, function.body.col_offset), (function.body.end_lineno, function.body.end_col_offset)
    # Those that stand for no text (entry and return) have no width, or no columns at all (python -X no_debug_ranges).
    spots = [p for p in code.co_positions() if None not in p and (p[0], p[2]) != (p[1], p[3])]
    return all(start <= (line, col) and (last, stop) <= end for line, last, col, stop in spots)


def latex(formula: str) -> str:
    r"""A formula in Python's notation as LaTeX; text that is no Python expression is returned as ``\text{...}``.

    Example:
        >>> print(latex("g / (2 * sqrt(a))"))
        \frac{g}{2 \, \sqrt{a}}
        >>> print(latex("where(a > 0, g, 0)"))
        \begin{cases} g & a > 0 \\ 0 & \text{otherwise} \end{cases}
        >>> print(latex("g @ b.mT"))
        g \, b^{\top}
    """
    try:
        tree = ast.parse(formula, mode="eval").body
    except SyntaxError:
        return rf"\text{{{_escape(formula)}}}" if formula else ""
    return _latex(tree)[0]


def _latex(e: ast.expr) -> tuple[str, int]:
    """LaTeX of an expression, and how tightly it binds."""
    match e:
        case ast.Name(name):
            return _name(name), ATOM
        case ast.Constant(value):
            return _number(value), ATOM
        case ast.UnaryOp(op, operand):
            sign = {ast.USub: "-", ast.UAdd: "+", ast.Invert: r"\lnot ", ast.Not: r"\lnot "}[type(op)]
            return sign + _wrap(operand, SIGN), SIGN
        case ast.BinOp(left, op, right):
            return _binary(left, op, right)
        case ast.Compare(left, ops, comparators):
            parts = [_latex(left)[0]]
            for o, right in zip(ops, comparators):
                parts += [COMPARISONS.get(type(o), r"\in"), _latex(right)[0]]
            return " ".join(parts), 0
        case ast.BoolOp(op, values):
            return (r" \land " if isinstance(op, ast.And) else r" \lor ").join(_wrap(v, SUM) for v in values), 0
        case ast.IfExp(test, body, orelse):
            return _cases(test, body, orelse), ATOM
        case ast.Attribute(value, attr):
            if attr in ("T", "mT"):
                return f"{_wrap(value, ATOM)}^{{\\top}}", POWER
            if isinstance(value, ast.Name) and value.id in ("np", "mg", "numpy", "minigrad", "ops"):
                return _name(attr), ATOM
            return rf"\operatorname{{{_escape(attr)}}}({_latex(value)[0]})", ATOM
        case ast.Call(func, args):
            return _call(func, args, [k.value for k in e.keywords if k.arg in ("axis", "axes", "shape")])
        case ast.Subscript(value, index):
            return f"{_wrap(value, ATOM)}[{_latex(index)[0]}]", ATOM
        case ast.Tuple(elts) | ast.List(elts):
            return "(" + ", ".join(_latex(x)[0] for x in elts) + ")", ATOM
    return rf"\texttt{{{_escape(ast.unparse(e))}}}", ATOM


def _wrap(e: ast.expr, least: int) -> str:
    text, tight = _latex(e)
    return text if tight >= least else rf"\left({text}\right)"


def _binary(left: ast.expr, op: ast.operator, right: ast.expr) -> tuple[str, int]:
    match op:
        case ast.Add():
            return f"{_wrap(left, SUM)} + {_wrap(right, SUM)}", SUM
        case ast.Sub():
            return f"{_wrap(left, SUM)} - {_wrap(right, PRODUCT)}", SUM
        case ast.Div():
            return rf"\frac{{{_latex(left)[0]}}}{{{_latex(right)[0]}}}", ATOM
        case ast.Pow():
            return f"{_wrap(left, ATOM)}^{{{_latex(right)[0]}}}", POWER
        case ast.Mult() | ast.MatMult():
            # Between numbers a thin space would read as one number.
            a, b = _factor(left), _factor(right)
            return a + (SPACES["dot"] if b[:1].isdigit() else SPACES["mul"]) + b, PRODUCT
        case ast.BitAnd():
            return rf"{_wrap(left, SUM)} \land {_wrap(right, SUM)}", 0
        case ast.BitOr():
            return rf"{_wrap(left, SUM)} \lor {_wrap(right, SUM)}", 0
    return rf"\texttt{{{_escape(ast.unparse(ast.BinOp(left, op, right)))}}}", ATOM


def _factor(e: ast.expr) -> str:
    """One side of a product. A comparison is 0 or 1: the notes write it as an indicator."""
    return rf"\mathbb{{1}}[{_latex(e)[0]}]" if isinstance(e, ast.Compare) else _wrap(e, PRODUCT)


def _call(func: ast.expr, args: list[ast.expr], axes: list[ast.expr]) -> tuple[str, int]:
    name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
    if isinstance(func, ast.Attribute) and not (
        isinstance(func.value, ast.Name) and func.value.id in ("np", "mg", "numpy", "minigrad", "ops")
    ):
        args = [func.value, *args]  # a method: x.sum(...) reads as sum(x, ...)
    inside = [_latex(a)[0] for a in args]
    if name == "where" and len(args) == 3:
        return _cases(*args), ATOM
    if len(args) == 1 and name == "sqrt":
        return rf"\sqrt{{{inside[0]}}}", ATOM
    if len(args) == 1 and name in ("abs", "absolute"):
        return rf"\left|{inside[0]}\right|", ATOM
    if len(args) == 1 and name == "exp":
        return f"e^{{{inside[0]}}}", POWER
    if len(args) == 1 and name == "square":
        return f"{_wrap(args[0], ATOM)}^{{2}}", POWER
    if name == "sum" and args:
        under = [_latex(a)[0] for a in axes] or inside[1:2]
        return rf"\sum{f'_{{{under[0]}}}' if under else ''} {_wrap(args[0], PRODUCT)}", PRODUCT
    shown = FUNCTIONS.get(name) or rf"\operatorname{{{_escape(name)}}}"
    return rf"{shown}\left({', '.join(inside)}\right)", ATOM


def _cases(test: ast.expr, yes: ast.expr, no: ast.expr) -> str:
    rows = rf"{_latex(yes)[0]} & {_latex(test)[0]} \\ {_latex(no)[0]} & \text{{otherwise}}"
    return rf"\begin{{cases}} {rows} \end{{cases}}"


def _name(name: str) -> str:
    head, _, tail = name.partition("_")
    head = "\\" + head if head in NAMES else head if len(head) == 1 else rf"\mathrm{{{_escape(head)}}}"
    return head + (f"_{{{_escape(tail)}}}" if tail else "")


def _number(value: object) -> str:
    if isinstance(value, float):
        mantissa, e, exponent = f"{value:g}".partition("e")
        return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if e else mantissa
    return str(value) if isinstance(value, (int, type(None))) else rf"\text{{{_escape(str(value))}}}"


def _escape(text: str) -> str:
    return "".join("\\" + c if c in "_#$%&{}" else r"\text{\textbackslash}" if c == "\\" else c for c in text)
