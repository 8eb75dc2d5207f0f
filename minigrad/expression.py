"""Formulas typed by a user, such as ``"q = x + y; f = q * z"``: parsed with :mod:`ast` and a white list, run on Tensors.

Nothing is ever handed to ``eval``: a formula becomes a list of steps, each a function of this file or of the white list,
and what has no step is refused with a caret under it. Sizes are bounded, so that no formula hangs or fills the memory.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import math
import operator
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad.errors import MinigradError
from minigrad.tensor import Tensor
from minigrad.tensor import tensor as new_tensor

MAX_LENGTH = 10_000
"""Characters of a formula."""
MAX_DEPTH = 1_000
"""Levels of nesting; a sum of 1,000 terms has as many. Python's own parser gives up between 2,000 and 3,000."""
MAX_SIZE = 4_096
"""Elements of any value on the way: one operation on two such values allocates 128 MiB at most before it is refused."""

CONSTANTS = {"pi": math.pi, "e": math.e}

_WHITE_LIST = {
    "a": "abs exp exp2 expm1 log log1p log2 log10 sqrt square reciprocal sin cos tan asin acos atan sinh cosh tanh asinh acosh "
    "atanh arcsin arccos arctan floor ceil round trunc sign negative sigmoid relu softplus erf logical_not sum mean prod max min "
    "var std norm logsumexp softmax log_softmax cumulative_sum cumulative_prod cumsum cumprod trace det inv pinv ravel",
    "a*": "clip reshape permute_dims transpose matrix_transpose swapaxes squeeze expand_dims flip roll diag diagonal tril triu",
    "ab": "add subtract multiply divide pow power maximum minimum atan2 arctan2 hypot logaddexp logical_and logical_or matmul dot "
    "vecdot inner outer solve cross",
    "abc": "where",
    "[]": "stack concat concatenate",
}
FUNCTIONS = {name: signature for signature, names in _WHITE_LIST.items() for name in names.split()}
"""The white list: a letter for each array; ``*`` where options may follow by position; ``[]`` for one list of arrays.

Options of reductions go by keyword only: ``max(x, 0)`` means the larger of two in Python and the axis in NumPy.
"""

MEANT = {
    "ln": "log", "sigma": "sigmoid", "σ": "sigmoid", "logistic": "sigmoid", "ReLU": "relu", "clamp": "clip", "product": "prod",
    "average": "mean", "mul": "multiply", "sub": "subtract", "div": "divide", "neg": "negative", "fabs": "abs", "tr": "trace",
}  # fmt: skip
"""Other libraries' words for functions of the white list."""

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: operator.pow,
    ast.MatMult: operator.matmul, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip

_REFUSED: dict[type, tuple[str, str]] = {
    ast.Lambda: ("lambda", "Write the formula itself."),
    ast.ListComp: ("a comprehension", "Write the items out: [x0, x1]."),
    ast.SetComp: ("a comprehension", "Write the items out: [x0, x1]."),
    ast.DictComp: ("a comprehension", "Write the items out: [x0, x1]."),
    ast.GeneratorExp: ("a comprehension", "Write the items out: [x0, x1]."),
    ast.JoinedStr: ("a string", "Values are numbers and lists of numbers."),
    ast.NamedExpr: ("':='", "Write the assignment before its use: q = x + y; f = q * z."),
    ast.IfExp: ("if ... else", "Write where(condition, a, b)."),
    ast.BoolOp: ("'and' or 'or'", "Multiply conditions, (x > 0) * (x < 1), or nest where(condition, a, b)."),
    ast.Starred: ("'*' before a name", "Write the arguments out."),
    ast.Tuple: ("a tuple", "Write a list, [x, y], or stack([x, y])."),
    ast.Import: ("import", "Every function of the white list is there already: exp, tanh, sum, ..."),
    ast.ImportFrom: ("import", "Every function of the white list is there already: exp, tanh, sum, ..."),
    ast.AugAssign: ("an assignment that changes a value", "Give the new value a new name: q2 = q + 1."),
    ast.AnnAssign: ("an annotation", "Write q = x + y."),
    ast.FloorDiv: ("'//'", "Write floor(a / b)."),
    ast.Mod: ("'%'", "Write a - b * floor(a / b)."),
    ast.BitXor: ("'^'", "Write ** for a power."),
    ast.Invert: ("'~'", "Write 1 - condition."),
    ast.Not: ("'not'", "Write 1 - condition."),
}  # fmt: skip

_SIGNS = {
    "×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "²": "**2", "³": "**3", "√": "sqrt(...)", "≤": "<=", "≥": ">=",
}  # fmt: skip


class Place(NamedTuple):
    """Where in a text: the line (from 0), and its first column and the one after its last, in characters."""

    line: int
    start: int
    end: int


class ExpressionError(MinigradError, ValueError):
    """A formula or a value that cannot be used; its message shows the place with a caret, as Python's SyntaxError does."""

    def __init__(self, message: str, text: str = "", place: Place | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.text, self.place, self.hint = message, text, place, hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.place is not None:
            lines += _point(self.text, self.place)
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)


def _point(text: str, place: Place, width: int = 100) -> list[str]:
    """The line and the carets under it; of a long line only what is around the place."""
    lines = text.split("\n")
    line = lines[min(place.line, len(lines) - 1)].replace("\t", " ")
    start = min(place.start, len(line))
    size = max(1, min(place.end, len(line)) - start)
    left = max(0, start - width // 3) if len(line) > width else 0
    shown = ("..." if left else "") + line[left : left + width] + ("..." if len(line) > left + width else "")
    room = min(size, max(1, left + width - start))
    return ["    " + shown, "    " + " " * (start - left + (3 if left else 0)) + "^" * room]


class Step(NamedTuple):
    """One step of a formula: takes ``arity`` values from the stack and puts one back. Without ``act``, it reads a name."""

    act: Callable[..., Any] | None
    arity: int
    node: ast.expr


@dataclass(frozen=True)
class Expression:
    """A formula, checked and ready to run.

    Attributes:
        text: as the user wrote it.
        inputs: the names that need a value, in the order of their first use.
        outputs: the names that its statements assign; the last one is None where the formula ends without an assignment.
    """

    text: str
    inputs: tuple[str, ...]
    outputs: tuple[str | None, ...]
    _programs: tuple[list[Step], ...]
    _first: Mapping[str, ast.Name]

    @property
    def name(self) -> str | None:
        """The user's name for the result."""
        return self.outputs[-1]

    def check(self, names: Iterable[str]) -> None:
        """Whether values of these names are what the formula needs.

        Raises:
            ExpressionError: if one is missing, or one too many.
        """
        given = list(names)
        spare = [name for name in given if name not in self.inputs]
        missing = [name for name in self.inputs if name not in given and name not in CONSTANTS]
        if missing:
            name = missing[0]
            meant = difflib.get_close_matches(name, spare, 1, 0.5)
            if meant:
                hint = f"{meant[0]}=... is given, but the formula has no {meant[0]}: did you mean {name}=...?"
            elif name in self.outputs:
                hint = f"{name} is assigned only later: move its assignment before this use."
            elif name in FUNCTIONS:
                hint = f"{name} is a function: write {name}(...)."
            else:
                hint = f"Add {' '.join(f'{n}=...' for n in missing[:8])}{' ...' if len(missing) > 8 else ''} after the formula."
            raise ExpressionError(f"no value for {name!r}", self.text, _place(self._first[name], self.text), hint)
        if spare:
            name = spare[0]
            if name in self.outputs:
                raise ExpressionError(
                    f"{name!r} is given a value and is also assigned in the formula",
                    self.text,
                    None,
                    "Leave one of the two out.",
                )
            used = f"It uses {', '.join(self.inputs)}." if self.inputs else "It uses no names."
            raise ExpressionError(f"the formula does not use {name!r}: {self.text[:200]}", hint=used)

    def evaluate(self, values: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the formula on Tensors by name; return its result and the values that it names on the way.

        Raises:
            ExpressionError: if names are missing or too many, or an operation cannot take its operands.
        """
        self.check(values)
        known: dict[str, Any] = {**{k: v for k, v in CONSTANTS.items() if k not in values}, **values}
        named: dict[str, Tensor] = {}
        with np.errstate(all="ignore"):
            for name, program in zip(self.outputs, self._programs):
                result = tensor(self._run(program, known))
                if name is not None:
                    known[name] = named[name] = result
                    if result.name is None:
                        result.name = name
        return result, named

    def _run(self, program: list[Step], known: Mapping[str, Any]) -> Any:
        stack: list[Any] = []
        for act, arity, node in program:
            if act is None:
                stack.append(known[node.id])  # type: ignore[attr-defined]
                continue
            operands = stack[len(stack) - arity :]
            del stack[len(stack) - arity :]
            try:
                _bound(operands)
                value = act(*operands)
            except ExpressionError:
                raise
            except (MinigradError, ValueError, TypeError, IndexError, AttributeError, ArithmeticError) as error:
                raise self._failed(error, node, operands) from error
            if math.prod(_shape(value)) > MAX_SIZE:
                raise ExpressionError(
                    f"this has more than {MAX_SIZE:,} elements", self.text, _place(node, self.text),
                    "The command line is for small values: write a program with `import minigrad` for large ones.",
                )  # fmt: skip
            stack.append(value)
        return stack[0]

    def _failed(self, error: Exception, node: ast.expr, operands: list[Any]) -> ExpressionError:
        """An operation's error, with the operands in the user's words and their shapes."""
        sources = _operands(node)
        told = [
            f"{(ast.get_source_segment(self.text, source) or 'this')[:60]} has shape {_shape(value)}"
            for source, value in zip(sources, operands)
        ]
        message = str(error).strip().split("\n")[0] or type(error).__name__
        return ExpressionError(message, self.text, _place(node, self.text), "Here " + ", ".join(told) + "." if told else "")


def tensor(value: Any) -> Tensor:
    """``value`` as a float64 Tensor, if it is not a Tensor yet."""
    return value if isinstance(value, Tensor) else new_tensor(value, dtype="float64")


def parse(text: str) -> Expression:
    """Read a formula: statements separated by ``;`` or lines, of which the last is the result.

    Raises:
        ExpressionError: if it is not a formula of the white list.

    Example:
        >>> from minigrad.expression import parse
        >>> f = parse("q = x + y; q * z")
        >>> f.inputs, f.outputs
        (('x', 'y', 'z'), ('q', None))
    """
    text = text.strip()
    if not text:
        raise ExpressionError("the formula is empty", hint='Write one in quotes, such as "x * y + z".')
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the formula has {len(text):,} characters; at most {MAX_LENGTH:,} are read")
    return _Reader(text).expression()


class _Reader:
    """Turns a formula's syntax tree into steps, without recursion, and refuses what is not on the white list."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.assigned: list[str | None] = []
        self.first: dict[str, ast.Name] = {}

    def refuse(self, message: str, node: ast.AST, hint: str = "") -> ExpressionError:
        return ExpressionError(message, self.text, _place(node, self.text), hint)

    def expression(self) -> Expression:
        body = _tree(self.text, "exec").body
        if not body:
            raise ExpressionError("the formula is empty", hint='Write one in quotes, such as "x * y + z".')
        programs = []
        for statement in body:
            programs.append(self.program(_value(statement, self)))
            self.assigned.append(self.target(statement, last=statement is body[-1]))
        inputs = tuple(self.first)
        return Expression(self.text, inputs, tuple(self.assigned), tuple(programs), self.first)

    def target(self, statement: ast.stmt, last: bool) -> str | None:
        """The name that a statement gives its value."""
        if isinstance(statement, ast.Expr):
            if not last:
                raise self.refuse("this result is not used", statement, "Give it a name, q = ..., and use q, or leave it out.")
            return None
        assert isinstance(statement, ast.Assign)
        target = statement.targets[0]
        if len(statement.targets) > 1 or not isinstance(target, ast.Name):
            raise self.refuse("an assignment gives one name to one value", target, "Write q = x + y; f = q * z.")
        self.spell(target)
        if target.id in self.assigned or target.id in self.first:
            what = "assigned before" if target.id in self.assigned else "used before as an input"
            raise self.refuse(f"{target.id!r} was {what}", target, f"Choose another name: {target.id}2 = ...")
        return target.id

    def spell(self, node: ast.Name) -> None:
        if node.id.startswith("__"):
            raise self.refuse(f"names that start with two underscores are not allowed: {node.id!r}", node)

    def program(self, root: ast.expr) -> list[Step]:
        """The steps of one expression, operands before what is done to them."""
        steps: list[Step] = []
        todo: list[Step | tuple[ast.expr, int]] = [(root, 1)]
        while todo:
            item = todo.pop()
            if isinstance(item, Step):
                steps.append(item)
                continue
            node, depth = item
            if depth > MAX_DEPTH:
                raise self.refuse(f"nested deeper than {MAX_DEPTH:,} levels", node, "Name the parts: q = ...; f = q * z.")
            act = self.act(node)
            operands = _operands(node)
            todo.append(Step(act, len(operands), node))
            todo.extend((operand, depth + 1) for operand in reversed(operands))
        return steps

    def act(self, node: ast.expr) -> Callable[..., Any] | None:
        """What to do with the operands of a node of the syntax tree."""
        if isinstance(node, ast.Name):
            self.spell(node)
            if node.id not in self.assigned:
                self.first.setdefault(node.id, node)
            return None
        if _literal(node):
            number = self.literal(node)
            return lambda: number
        if isinstance(node, ast.BinOp):
            return _on_numbers(self.operator(node.op, node))
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.op, (ast.Invert, ast.Not)):
                raise self.refused(node.op, node)
            return operator.neg if isinstance(node.op, ast.USub) else operator.pos
        if isinstance(node, ast.Compare):
            if len(node.ops) > 1:
                raise self.refuse("a chain of comparisons is not allowed", node, "Write (a < b) * (b < c).")
            return _on_numbers(self.operator(node.ops[0], node))
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.Attribute):
            if node.attr not in ("T", "mT"):
                raise self.refuse(f"'.{node.attr}' is not allowed: .T and .mT are the only attributes", node, _instead(node))
            attribute = node.attr
            return lambda value: getattr(tensor(value), attribute)
        if isinstance(node, ast.Subscript):
            index = self.index(node.slice)
            return lambda value: tensor(value)[index]
        if isinstance(node, ast.List):
            if not node.elts:
                raise self.refuse("an empty list", node, "Write numbers into it, or leave it out.")
            return _stack
        raise self.refused(node, node)

    def refused(self, kind: ast.AST, node: ast.AST) -> ExpressionError:
        if isinstance(kind, ast.Constant):
            what, hint = f"{kind.value!r}", "Values are numbers and lists of numbers."
        else:
            what, hint = _REFUSED.get(
                type(kind), (f"this ({type(kind).__name__})", "A formula has numbers, names, operators and calls.")
            )
        return self.refuse(f"{what} is not allowed in a formula", node, hint)

    def operator(self, kind: ast.operator | ast.cmpop, node: ast.AST) -> Callable[[Any, Any], Any]:
        if type(kind) not in _OPERATORS:
            raise self.refused(kind, node)
        return _OPERATORS[type(kind)]

    def call(self, node: ast.Call) -> Callable[..., Any]:
        function = node.func
        if isinstance(function, ast.Attribute):
            raise self.refuse("a call of an attribute is not allowed", function, _instead(function))
        if not isinstance(function, ast.Name):
            raise self.refuse("only functions can be called", function, "Write a product with *: 2 * (x + 1).")
        name = function.id
        if name not in FUNCTIONS:
            meant = [MEANT[name]] if name in MEANT else difflib.get_close_matches(name, FUNCTIONS, 3, 0.6)
            hint = f"Did you mean {' or '.join(meant)}?" if meant else f"Functions: {' '.join(sorted(FUNCTIONS))}."
            if len(name) <= 2 and not meant:
                hint = f"A product is written with *: {name} * (...). {hint}"
            raise self.refuse(f"no function {name!r}", function, hint)
        signature = FUNCTIONS[name]
        given, options = _split(node)
        count = 1 if signature == "[]" else len(signature.rstrip("*"))
        if len(given) < count or (options and not signature.endswith("*")):
            message, hint = _miscounted(name, signature, count, len(node.args))
            raise self.refuse(message, node, hint)
        if signature == "[]" and not (isinstance(given[0], ast.List) and given[0].elts):
            raise self.refuse(f"{name} takes a list", given[0], f"Write {name}([x, y]).")
        for option in node.keywords:
            if option.arg is None:
                raise self.refuse("'**' before an argument is not allowed", option, "Write the options out: axis=0.")
        for value in (*options, *(k.value for k in node.keywords)):
            if not _option(value):
                what = "an option is a plain number, True, False, None or a tuple of numbers"
                raise self.refuse(what, value, f"{name} takes {_arrays(count)}; options follow, such as axis=0.")
        positional = [self.option(value) for value in options]
        named = {str(k.arg): self.option(k.value) for k in node.keywords}
        apply = getattr(mg, name)
        if signature == "[]":
            return lambda *items: apply([tensor(item) for item in items], **named)
        return lambda *arrays: apply(*arrays, *positional, **named)

    def literal(self, node: ast.expr) -> Any:
        """The value of a number, or of a list of numbers."""
        if isinstance(node, ast.List):
            return tensor(_array(node, self.text))
        return _number(node, self.text)

    def option(self, node: ast.expr) -> Any:
        if isinstance(node, (ast.Tuple, ast.List)):
            return tuple(self.option(item) for item in node.elts)
        if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool)):
            return node.value
        return _number(node, self.text)

    def index(self, node: ast.expr) -> Any:
        """A literal index: x[0], x[-1], x[1:3], x[:, 0], x[None], x[[0, 2]]."""
        if isinstance(node, ast.Tuple):
            return tuple(self.index(item) for item in node.elts)
        if isinstance(node, ast.List) and node.elts:
            return [self.index(item) for item in node.elts]
        if isinstance(node, ast.Slice):
            return slice(*(part if part is None else self.index(part) for part in (node.lower, node.upper, node.step)))
        if isinstance(node, ast.Constant) and (node.value is None or node.value is Ellipsis):
            return node.value
        if _literal(node) and isinstance(value := _number(node, self.text), int):
            return value
        raise self.refuse("an index is written as integers", node, "For example x[0], x[-1], x[1:3], x[:, 0].")


def _tree(text: str, mode: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode=mode)
    except SyntaxError as error:
        raise _syntax(error, text) from error
    except (RecursionError, MemoryError) as error:
        raise ExpressionError("nested too deeply to read", hint="Name the parts: q = ...; f = q * z.") from error
    except ValueError as error:
        raise ExpressionError(f"not a text that can be read: {error}") from error


def _syntax(error: SyntaxError, text: str) -> ExpressionError:
    line = max((error.lineno or 1) - 1, 0)
    start = max((error.offset or 1) - 1, 0)
    end = (error.end_offset or 0) - 1 if error.end_lineno == error.lineno else start + 1
    shown = text.split("\n")[line] if line < text.count("\n") + 1 else ""
    at = shown[start : start + 1]
    hint = ""
    if "invalid decimal literal" in error.msg or "invalid imaginary" in error.msg:
        hint = "Write a product with *: 2*x."
    elif at in _SIGNS:
        hint = f"Write {_SIGNS[at]} for {at}."
    elif "null bytes" in error.msg:
        start = end = 0
    return ExpressionError(error.msg, text, Place(line, start, max(end, start + 1)), hint)


def _place(node: ast.AST, text: str) -> Place:
    """A node's columns: ``ast`` counts bytes of UTF-8, a terminal shows characters."""
    line = getattr(node, "lineno", 1) - 1
    encoded = text.split("\n")[line].encode()
    start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", None)
    if end is None or getattr(node, "end_lineno", line + 1) != line + 1:
        end = len(encoded)
    return Place(line, len(encoded[:start].decode()), len(encoded[:end].decode()))


def _value(statement: ast.stmt, reader: _Reader) -> ast.expr:
    if isinstance(statement, (ast.Expr, ast.Assign)):
        return statement.value
    raise reader.refused(statement, statement)


def _operands(node: ast.expr) -> list[ast.expr]:
    """The parts of a node that are values themselves."""
    if _literal(node):
        return []
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp):
        return [node.operand]
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Call):
        given, _ = _split(node)
        return given[0].elts if _takes_list(node) and isinstance(given[0], ast.List) else given
    if isinstance(node, (ast.Attribute, ast.Subscript)):
        return [node.value]
    return node.elts if isinstance(node, ast.List) else []


def _takes_list(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and FUNCTIONS.get(node.func.id) == "[]"


def _split(node: ast.Call) -> tuple[list[ast.expr], list[ast.expr]]:
    """A call's arguments by position: arrays, then options."""
    signature = FUNCTIONS.get(node.func.id, "") if isinstance(node.func, ast.Name) else ""
    count = 1 if signature == "[]" else len(signature.rstrip("*"))
    return node.args[:count], node.args[count:]


def _arrays(count: int) -> str:
    return "one array" if count == 1 else f"{('', 'one', 'two', 'three')[count]} arrays"


def _miscounted(name: str, signature: str, count: int, given: int) -> tuple[str, str]:
    """What a call with the wrong number of arguments should have been."""
    if signature == "[]":
        return (
            f"{name} takes one list, got {given} arguments",
            f"Write {name}([x, y]), with options by name: {name}([x, y], axis=0).",
        )
    if name in ("max", "min") and given > 1:
        return f"{name} takes one array", f"Of two values write {name}imum(a, b); along an axis {name}(x, axis=0)."
    letters = ", ".join("abc"[:count])
    more = "" if signature.endswith("*") else " and options by name, such as axis=0"
    return f"{name} takes {_arrays(count)}{more}, got {given} arguments", f"Write {name}({letters})."


def _instead(node: ast.Attribute) -> str:
    """What to write for ``np.exp`` and for ``x.sum()``."""
    meant = node.attr if node.attr in FUNCTIONS else MEANT.get(node.attr)
    if meant is None:
        return "Write a function of the white list, such as exp(x) or sum(x)."
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    return (
        f"Write {meant}(...)."
        if owner in ("np", "numpy", "math", "mg", "minigrad", "torch")
        else f"Write {meant}({owner or '...'})."
    )


def _literal(node: ast.AST) -> bool:
    """Whether a node is a number, perhaps with signs, or a (nested) list of numbers."""
    todo = [node]
    while todo:
        item = todo.pop()
        if isinstance(item, ast.List):
            if not item.elts:
                return False
            todo.extend(item.elts)
            continue
        while isinstance(item, ast.UnaryOp) and isinstance(item.op, (ast.USub, ast.UAdd)):
            if isinstance(item.operand, ast.List):
                return False
            item = item.operand
        if not (isinstance(item, ast.Constant) and type(item.value) in (int, float)):
            return False
    return True


def _option(node: ast.expr) -> bool:
    if isinstance(node, (ast.Tuple, ast.List)):
        return all(isinstance(item, (ast.Constant, ast.UnaryOp)) and _option(item) for item in node.elts)
    return _literal(node) or (isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool)))


def _number(node: ast.AST, text: str) -> int | float:
    sign, place = 1, _place(node, text)
    while isinstance(node, ast.UnaryOp):
        sign = -sign if isinstance(node.op, ast.USub) else sign
        node = node.operand
    if isinstance(node, ast.Name):
        return sign * float(node.id)  # nan or inf
    assert isinstance(node, ast.Constant)
    value: Any = node.value
    if isinstance(value, int) and abs(value) > 2**53:
        # Beyond 2**53 a float64 cannot hold every integer; as a float it cannot grow without bound either.
        try:
            value = float(value)
        except OverflowError as error:
            raise ExpressionError(
                "this number is too large for float64", text, place, "The largest is about 1.8e308."
            ) from error
    number: int | float = sign * value
    return number


def _array(node: ast.expr, text: str, depth: int = 0) -> Any:
    """A (nested) list of numbers as an array; every row as long as the first."""
    if not isinstance(node, (ast.List, ast.Tuple)):
        return _number(node, text)
    if depth == 8:
        raise ExpressionError("lists nested deeper than 8 levels", text, _place(node, text))
    items = [_array(item, text, depth + 1) for item in node.elts]
    shapes = [np.shape(item) for item in items]
    for item, shape in zip(node.elts, shapes):
        if shape != shapes[0]:
            told = (
                f"this row has shape {shape}, the first {shapes[0]}" if shape and shapes[0] else "numbers and lists are mixed"
            )
            raise ExpressionError(
                f"a ragged list: {told}", text, _place(item, text), "Every row needs the same length: [[1, 2], [3, 4]]."
            )
    return np.array(items, dtype=np.float64)


def _on_numbers(apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """``apply``, where Python's numbers become float64: 9**9**9 in integers would run for hours."""

    def on(a: Any, b: Any) -> Any:
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            a = np.float64(a)
        return apply(a, b)

    return on


def _stack(*items: Any) -> Any:
    return mg.stack([tensor(item) for item in items])


def _shape(value: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = getattr(value, "shape", ())
    return shape


def _bound(operands: list[Any]) -> None:
    """Refuse what three operands would broadcast to before it is made: 4,096 elements each could become 4,096**3."""
    if len(operands) > 2:
        try:
            shape = np.broadcast_shapes(*(_shape(value) for value in operands))
        except ValueError:
            return
        if math.prod(shape) > MAX_SIZE:
            raise ValueError(f"operands broadcast to {shape}, more than {MAX_SIZE:,} elements")


def parse_values(arguments: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read ``name=value`` arguments: numbers, ``nan``, ``inf``, and regular nested lists of them, as float64 arrays.

    Raises:
        ExpressionError: if an argument is not of that form.

    Example:
        >>> from minigrad.expression import parse_values
        >>> parse_values(["x=2", "W=[[1, 2], [3, 4]]"])["W"].shape
        (2, 2)
    """
    values: dict[str, np.ndarray[Any, Any]] = {}
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        name = unicodedata.normalize("NFKC", name.strip())
        if not equals:
            raise ExpressionError(
                f"expected name=value, got {argument[:60]!r}", hint="For example x=2 or x=[1,2,3]; quote the whole formula."
            )
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
            raise ExpressionError(f"{name!r} cannot be the name of a value", hint="A name has letters, digits and _: w0=2.")
        if name in values:
            raise ExpressionError(f"{name!r} is given twice", hint="Leave one of the two out.")
        values[name] = _read(argument)
    return values


def _read(argument: str) -> np.ndarray[Any, Any]:
    """The value of one ``name=value``."""
    argument = argument.replace("\n", " ")
    rest = argument.partition("=")[2]
    value = rest.strip()
    shift = len(argument) - len(rest.lstrip())
    if not value:
        raise ExpressionError(
            "no value after '='", argument, Place(0, len(argument), len(argument) + 1), "For example x=2 or x=[1,2,3]."
        )
    try:
        node = _tree(value, "eval").body
        _plain(node, value)
        array: np.ndarray[Any, Any] = np.asarray(_array(node, value), np.float64)
    except ExpressionError as error:
        if error.place is not None:
            error.text, error.place = argument, Place(0, error.place.start + shift, error.place.end + shift)
        raise
    if array.size > MAX_SIZE:
        raise ExpressionError(
            f"{argument[: shift - 1]} has {array.size:,} elements; the command line takes at most {MAX_SIZE:,}",
            hint="Write a program with `import minigrad` for large values.",
        )
    return array


def _plain(node: ast.expr, text: str) -> None:
    """Refuse whatever is not a number or a list of numbers."""
    todo: list[ast.expr] = [node]
    while todo:
        item = todo.pop()
        if isinstance(item, (ast.List, ast.Tuple)) and item.elts:
            todo.extend(reversed(item.elts))
        elif (
            isinstance(item, ast.UnaryOp)
            and isinstance(item.op, (ast.USub, ast.UAdd))
            and not isinstance(item.operand, ast.List)
        ):
            todo.append(item.operand)
        elif not (
            (isinstance(item, ast.Constant) and type(item.value) in (int, float))
            or (isinstance(item, ast.Name) and item.id in ("nan", "inf"))
        ):
            raise ExpressionError(
                "a value is a number or a regular list of numbers", text, _place(item, text),
                "For example 2, -1.5e3, nan, inf, [1,2,3], [[1,2],[3,4]]; arithmetic belongs into the formula.",
            )  # fmt: skip
