"""``viz.derivation``: the backward pass of a recorded graph as mathematics, and as a NumPy program that stands alone."""

from __future__ import annotations

import ast
import inspect
import io
import os
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.graph import Node, passes
from minigrad.viz import code, format, formula
from minigrad.viz.code import Pull, Trace
from minigrad.viz.copying import CodeError
from minigrad.viz.dot import write

PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper, margin=2cm]{geometry}
\usepackage{amsmath, amssymb}
\allowdisplaybreaks
\begin{document}
"""


class Derivation:
    """A backward pass, worked out: see :func:`derivation`."""

    def __init__(self, found: Trace) -> None:
        self._found = found
        self._plain = _Writer(found, _Plain())
        self._latex = _Writer(found, _Latex())

    @cached_property
    def text(self) -> str:
        """The forward equations, then one line for each gradient, in the order of the backward pass."""
        forward, backward = self._plain.forward(), self._plain.backward()
        return (
            "\n".join(["Forward", *("  " + line for line in forward), "", "Backward", *("  " + line for line in backward)])
            + "\n"
        )

    @cached_property
    def align(self) -> str:
        """The same as the body of an ``align*`` environment, for a document of your own (it needs amsmath and amssymb)."""
        forward, backward = (" \\\\\n".join(lines) for lines in (self._latex.forward(), self._latex.backward()))
        return f"\\begin{{align*}}\n{forward} \\\\[2ex]\n{backward}\n\\end{{align*}}\n"

    @cached_property
    def latex(self) -> str:
        """The same as a LaTeX document that compiles as it is."""
        return PREAMBLE + self.align + "\\end{document}\n"

    @cached_property
    def markdown(self) -> str:
        """The same as Markdown, with the program below."""
        try:
            program = f"\n```python\n{self.code}```\n"
        except CodeError as error:
            program = f"\n{error}\n"
        return f"$$\n{self.align.replace('align*', 'aligned')}$$\n{program}"

    @property
    def code(self) -> str:
        """A NumPy program that computes every value and gradient without minigrad, with the same bits.

        Each statement is a step, under the user's names; ``d_x`` is the gradient with respect to ``x``. Inputs stand in the text
        exactly; those of more than 1,000 elements are in :attr:`data`, and the program reads them from ``derivation.npz`` in
        its own folder, which :meth:`save` writes (``np.savez("derivation.npz", **d.data)`` does, too).

        Raises:
            CodeError: if an operation of the user's has no source text (typed at a prompt), or a hook changes a gradient.
        """
        return code.program(self._found)

    @property
    def data(self) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays that are too large for the text of :attr:`code`, by name."""
        return code.large(self._found)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write ``.tex``, ``.md``, ``.py`` or ``.txt``, by the ending; beside a program, an ``.npz`` if it has large inputs.

        Raises:
            ValueError: for another ending.
        """
        path = Path(path)
        make: dict[str, Callable[[], str]] = {
            ".tex": lambda: self.latex,
            ".md": lambda: self.markdown,
            ".py": lambda: code.program(self._found, path.with_suffix(".npz").name),
            ".txt": lambda: self.text,
        }
        if path.suffix not in make:
            raise ValueError(f"save: cannot tell the format of {path.name!r}; end it in {', '.join(make)}")
        text = make[path.suffix]()
        if path.suffix == ".py" and self.data:
            packed = io.BytesIO()
            np.savez(packed, **self.data)  # type: ignore[arg-type]
            write(path.with_suffix(".npz"), packed.getvalue())
        write(path, text.encode())
        return path

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        n = len(self._found.steps)
        return f"<Derivation of {self._found.names[self._found.root]}: {n} operations, {len(self._found.pulls)} contributions>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {
            "text/plain": self.text,
            "text/latex": f"$$\n{self.align.replace('align*', 'aligned')}$$",
            "text/markdown": self.markdown,
        }


def derivation(t: Any, gradient: Any = None) -> Derivation:
    """The backward pass of the graph that made ``t``, derived line by line as one would on paper.

    The chain rule: what a value's gradient receives from one use is *upstream x local*, and over several uses the contributions
    add up (notes 001, "Backpropagation"). The local gradients are read from the rules that minigrad runs.

    Args:
        t: a Tensor, such as the loss; before or after ``backward()``.
        gradient: the upstream gradient to start from; by default the one that ``t.backward()`` started from, or 1.

    Returns:
        ``.text``, ``.latex`` (a document) and ``.align`` (its body), ``.markdown``, ``.code`` (a NumPy program that stands alone and
        gives the same bits), ``.save("x.tex|md|py|txt")``; in a notebook it shows itself.

    Raises:
        CodeError: if a leaf's value was not kept, or was changed in place since.
        ShapeError: if ``t`` is no scalar and no ``gradient`` is given.

    Example:
        >>> import minigrad as mg
        >>> x, y, z = (mg.tensor(v, requires_grad=True) for v in (2.0, 3.0, 4.0))
        >>> w = x + y
        >>> f = w * z
        >>> print(derivation(f), end="")  # notes 001, Figure 11
        Forward
          x = 2
          y = 3
          z = 4
          w = x + y = 5
          f = w * z = 20
        <BLANKLINE>
        Backward
          df/df = 1
          df/dw = df/df * z = 1 * 4 = 4
          df/dz = df/df * w = 1 * 5 = 5
          df/dy = df/dw = 4
          df/dx = df/dw = 4
    """
    return Derivation(code.trace(t, gradient))


class _Plain:
    """How formulas look as text."""

    equals, times, join = " = ", " * ", " + "

    def symbol(self, name: str) -> str:
        return name

    def gradient(self, root: str, name: str) -> str:
        return f"d{root}/d{name}"

    def formula(self, text: str, symbols: dict[str, str]) -> str:
        return re.sub(r"\b[A-Za-z]\w*\b", lambda m: symbols.get(m[0], m[0]), text)

    def words(self, text: str) -> str:
        return text

    def summed(self, text: str, axes: str) -> str:
        return f"sum over {axes} of ({text})"

    def array(self, rows: list[list[str]], ndim: int) -> str:
        inside = ["[" + ", ".join(row) + "]" for row in rows]
        return inside[0] if ndim == 1 else f"[{', '.join(inside)}]"

    def number(self, text: str) -> str:
        return text

    def about(self, shape: tuple[int, ...], norm: str) -> str:
        return f"(shape {shape}, norm {norm})"


class _Latex(_Plain):
    """How they look as LaTeX."""

    equals, times = " = ", r" \cdot "

    def symbol(self, name: str) -> str:
        match = re.fullmatch(r"([A-Za-z]+)_?(\d+)", name)
        if match:
            return f"{formula._name(match[1])}_{{{match[2]}}}"
        return formula._name(name) if len(name) == 1 or name in formula.NAMES else rf"\mathrm{{{formula._escape(name)}}}"

    def gradient(self, root: str, name: str) -> str:
        return rf"\frac{{\partial {self.symbol(root)}}}{{\partial {self.symbol(name)}}}"

    def formula(self, text: str, symbols: dict[str, str]) -> str:
        marks = {name: f"qz{n}qz" for n, name in enumerate(symbols)}
        told = formula.latex(re.sub(r"\b[A-Za-z]\w*\b", lambda m: marks.get(m[0], m[0]), text))
        shown = {rf"\mathrm{{{mark}}}": symbols[name] for name, mark in marks.items()}
        for mark, symbol in shown.items():
            told = told.replace(mark, symbol)
        return told

    def words(self, text: str) -> str:
        return rf"\text{{{formula._escape(text)}}}"

    def summed(self, text: str, axes: str) -> str:
        return rf"\sum_{{\text{{{axes}}}}} {text}"

    def array(self, rows: list[list[str]], ndim: int) -> str:
        return r"\begin{pmatrix} " + r" \\ ".join(" & ".join(row) for row in rows) + r" \end{pmatrix}"

    def number(self, text: str) -> str:
        match = re.fullmatch(r"(-?[\d.]+)e([+-]?\d+)", text)
        names = {"nan": r"\mathrm{nan}", "inf": r"\infty", "-inf": r"-\infty"}
        return rf"{match[1]} \cdot 10^{{{int(match[2])}}}" if match else names.get(text, text)

    def about(self, shape: tuple[int, ...], norm: str) -> str:
        size = r" \times ".join(map(str, shape))
        return rf"(\text{{shape }} {size}, \text{{ norm }} {self.number(norm)})"


class _Writer:
    """The lines of a derivation in one notation."""

    def __init__(self, found: Trace, style: _Plain) -> None:
        self.found, self.style = found, style
        self.align = "&= " if isinstance(style, _Latex) else "= "

    def forward(self) -> list[str]:
        style = self.style
        lines = [f"{style.symbol(i.name)} {self.align}{self.value(i.value)}" for i in self.found.inputs]
        for step in self.found.steps:
            op = step.node.op
            letters, shown = formula.operands(op), [self.operand(text) for text in step.operands]
            if is_expression(op.math) and set(_names(op.math)) <= {*letters, *formula.FUNCTIONS, "sqrt", "floor"}:
                told = style.formula(op.math, _parenthesised(op.math, dict(zip(letters, shown))))
            else:
                asked = formula.parameters(op, step.node.params)
                inside = ", ".join([*shown, *([style.words(asked)] if asked else [])])
                told = f"{style.words(op.name)}({inside})"
            lines.append(f"{style.symbol(step.name)} {self.align}{told}{style.equals}{self.value(step.value)}")
        return lines

    def backward(self) -> list[str]:
        found, style = self.found, self.style
        incoming: dict[Node, list[Pull]] = {}
        for pull in found.pulls:
            incoming.setdefault(pull.node.parents[pull.i], []).append(pull)  # type: ignore[arg-type]
        lines = [f"{self.gradient(found.root)} {self.align}{self.value(found.seed)}"]
        for node in sorted(incoming, key=lambda node: node.order, reverse=True):
            pulls = incoming[node]
            symbols = style.join.join(self.term(p, len(pulls) > 1) for p in pulls)
            numbers = [symbols, *self.numbers(node, pulls)]
            lines.append(f"{self.gradient(node)} {self.align}{style.equals.join(numbers)}")
        return lines

    def gradient(self, node: Node) -> str:
        return self.style.gradient(self.found.names[self.found.root], self.found.names[node])

    def operand(self, text: str) -> str:
        """An operand as it is written: a name, or a number."""
        if text.isidentifier() and text != "None":
            return self.style.symbol(text)
        return self.style.number(text) if re.fullmatch(r"-?[\d.e+-]+", text) else self.style.words(text)

    def term(self, pull: Pull, several: bool) -> str:
        """What one use contributes, in symbols."""
        node, style, op = pull.node, self.style, pull.node.op
        upstream = self.gradient(node)
        rules = formula.formulas(op)
        rule = rules[pull.i] if pull.i < len(rules) else ""
        operands = map(self.operand, self._steps[node].operands)
        symbols = dict(zip(list(inspect.signature(op.forward).parameters)[op.arity :], map(_shown, node.params)))
        symbols |= {"g": upstream, "y": style.symbol(self.found.names[node]), **dict(zip(formula.operands(op), operands))}
        if op.rules[pull.i] is passes:
            told = upstream
        elif is_expression(rule):
            told = style.formula(rule, symbols)
        else:
            parts = re.split(r"\bg\b", rule or f"the rule of {op.name} applied to g")
            told = upstream.join(style.words(part) if part else "" for part in parts)
        if pull.axes:
            told = style.summed(told, f"ax{'es' if len(pull.axes) > 1 else 'is'} {', '.join(map(str, pull.axes))}")
        return f"({told})" if several and told.startswith("-") else told

    @cached_property
    def _steps(self) -> dict[Node, code.Step]:
        return {step.node: step for step in self.found.steps}

    def numbers(self, node: Node, pulls: list[Pull]) -> list[str]:
        """The same in numbers, where they are few: upstream x local, or the contributions, and the result."""
        total = self.found.gradients[node]
        shown = []
        only = pulls[0]
        if len(pulls) > 1 and total.size == 1:
            shown = [self.style.join.join(self.bracketed(p.part) for p in pulls)]
        elif only.node.op.rules[only.i] is not passes and np.size(only.g) == np.size(only.part) == 1 and only.local is not None:
            shown = [self.style.times.join((self.value(only.g), self.bracketed(only.local)))]
        return [*shown, self.value(total)]

    def bracketed(self, value: Any) -> str:
        text = self.value(value)
        return f"({text})" if text.startswith("-") else text

    def value(self, value: Any) -> str:
        array = np.asarray(value)
        if not format.is_small(array):
            wide = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
            return self.style.about(array.shape, format.number(np.linalg.norm(wide)))
        rows = [[self.style.number(x) for x in row] for row in format.rows(array)]
        return rows[0][0] if array.ndim == 0 else self.style.array(rows, array.ndim)


def is_expression(text: str) -> bool:
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return False
    return not isinstance(tree, ast.Tuple)


def _shown(parameter: Any) -> str:
    text = repr(parameter)
    return text if len(text) <= 20 else "..."


def _names(text: str) -> list[str]:
    return [part.id for part in ast.walk(ast.parse(text, mode="eval")) if isinstance(part, ast.Name)]


def _parenthesised(text: str, symbols: dict[str, str]) -> dict[str, str]:
    """Negative numbers in brackets, unless they stand alone."""
    return {k: f"({v})" if v.startswith("-") and text.strip() != k else v for k, v in symbols.items()}
