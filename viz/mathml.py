"""A formula in Python's notation as MathML, which browsers set without help."""

from __future__ import annotations

import ast
from html import escape

SIGNS = {ast.Add: "+", ast.Sub: "\N{MINUS SIGN}", ast.Mult: "\N{MIDDLE DOT}", ast.MatMult: "\N{INVISIBLE TIMES}"}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "\N{LESS-THAN OR EQUAL TO}", ast.Gt: ">", ast.GtE: "\N{GREATER-THAN OR EQUAL TO}", ast.Eq: "=",
    ast.NotEq: "\N{NOT EQUAL TO}",
}  # fmt: skip
OPEN, CLOSE = (f"<mo stretchy='false' lspace='0' rspace='0'>{sign}</mo>" for sign in "()")
# How tightly each construct binds, for parentheses: sums 1, products 2, signs 3, powers 4, atoms 5.
TIGHT = {ast.Add: 1, ast.Sub: 1, ast.Mult: 2, ast.MatMult: 2}


def mathml(formula: str) -> str:
    """A formula as a ``math`` element; "" where it is no expression, and its text has to do.

    Example:
        >>> mathml("-g * y / b")
        '<math><mfrac><mrow><mrow><mo>\N{MINUS SIGN}</mo><mi>g</mi></mrow><mo>\N{MIDDLE DOT}</mo><mi>y</mi></mrow><mi>b</mi></mfrac></math>'
        >>> mathml("g, copied along axis")
        ''
    """
    try:
        tree = ast.parse(formula, mode="eval").body
        return f"<math>{_set(tree)[0]}</math>"
    except (SyntaxError, NotImplementedError):
        return ""


def _set(e: ast.expr) -> tuple[str, int]:
    """An expression, and how tightly it binds."""
    match e:
        case ast.Name(name):
            return f"<mi>{escape(name)}</mi>", 5
        case ast.Constant(value) if isinstance(value, (int, float)):
            return f"<mn>{escape(f'{value:g}' if isinstance(value, float) else str(value))}</mn>", 5
        case ast.UnaryOp(ast.USub(), operand):
            return _row("<mo>\N{MINUS SIGN}</mo>", _wrap(operand, 3)), 3
        case ast.BinOp(left, ast.Div(), right):
            return f"<mfrac>{_set(left)[0]}{_set(right)[0]}</mfrac>", 5
        case ast.BinOp(left, ast.Pow(), right):
            return f"<msup>{_wrap(left, 5)}{_set(right)[0]}</msup>", 4
        case ast.BinOp(left, op, right) if type(op) in SIGNS:
            tight = TIGHT[type(op)]
            return _row(_wrap(left, tight), f"<mo>{SIGNS[type(op)]}</mo>", _wrap(right, tight + isinstance(op, ast.Sub))), tight
        case ast.Compare(left, [op], [right]) if type(op) in COMPARISONS:
            return _row(_set(left)[0], f"<mo>{escape(COMPARISONS[type(op)])}</mo>", _set(right)[0]), 0
        case ast.Attribute(value, "mT" | "T"):
            return f"<msup>{_wrap(value, 5)}<mo>\N{DOWN TACK}</mo></msup>", 4
        case ast.Call(ast.Name(name), args, keywords) if not keywords:
            return _call(name, args)
    raise NotImplementedError


def _call(name: str, args: list[ast.expr]) -> tuple[str, int]:
    inside = [_set(a)[0] for a in args]
    if name == "where" and len(args) == 3:
        test, yes, no = inside
        cells = f"<mtr><mtd>{yes}</mtd><mtd><mtext>if\N{NO-BREAK SPACE}</mtext>{test}</mtd></mtr><mtr><mtd>{no}</mtd><mtd><mtext>else</mtext></mtd></mtr>"
        return _row("<mo>{</mo>", f"<mtable columnalign='left'>{cells}</mtable>"), 5
    if name == "sqrt" and len(args) == 1:
        return f"<msqrt>{inside[0]}</msqrt>", 5
    if name == "exp" and len(args) == 1:
        return f"<msup><mi>e</mi>{inside[0]}</msup>", 4
    return _row(f"<mi>{escape(name)}</mi>", OPEN, "<mo>,</mo>".join(inside), CLOSE), 5


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _wrap(e: ast.expr, least: int) -> str:
    text, tight = _set(e)
    return text if tight >= least else _row(OPEN, text, CLOSE)
