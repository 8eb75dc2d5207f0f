"""Records as text: an aligned table of the forward pass and of the backward pass, step by step."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from minigrad.viz import format as fmt
from minigrad.viz.format import Array
from minigrad.viz.records import LIMIT, Edge, Records, Value, records

NOT_KEPT = "not kept"
WIDEST = 100
"""A longer sum is not written out."""


class Explanation:
    """A table of text: ``str()`` gives it, a prompt or notebook shows it.

    Attributes:
        records: what it was written from.
    """

    def __init__(self, found: Records, text: str) -> None:
        self.records = found
        self._text = text

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self._text, "text/html": f'<pre style="line-height: 1.3">{html.escape(self._text)}</pre>'}


def explain(
    t: Any, *, gradient: Any = None, backward: bool | None = None, digits: int = fmt.DIGITS, limit: int | None = LIMIT
) -> Explanation:
    """The graph that made ``t`` as text: forward, each value; backward, each ``upstream x local = contribution``.

    Rows stand in the order in which the backward pass runs. Where several contributions meet, a row adds them up. ``#7`` stands
    for the value on row 7 of the forward table, where the program gives it no name.

    Args:
        t: a Tensor, before or after ``t.backward()``. Before it, only the forward pass is shown.
        gradient: the upstream gradient to start from. By default the one that ``t.backward()`` started from, or 1 for a scalar.
        backward: True computes gradients for the table only (no ``.grad`` changes); False leaves them out.
        digits: significant digits.
        limit: at most so many values, those nearest to ``t``; None for all.

    Returns:
        An :class:`Explanation`; ``print`` it.

    Example:
        >>> import minigrad as mg
        >>> x, y, z = (mg.tensor(v, requires_grad=True) for v in (2.0, 3.0, 4.0))
        >>> q = x + y
        >>> f = q * z
        >>> f.backward()
        >>> print(explain(f))
        Forward
        #  name  operation  value
        1  x                    2
        2  y                    3
        3  z                    4
        4  q     x + y          5
        5  f     q * z         20
        <BLANKLINE>
        Backward: df/df = 1
        at         gate                  to  upstream  x  local  =  contribution  rule
        f = q * z  swap multiplier       q          1         4                4  g * b
                                         z          1         5                5  g * a
        q = x + y  gradient distributor  x          4         1                4  g
                                         y          4         1                4  g
        <BLANKLINE>
        Gradients
        df/dx = 4
        df/dy = 4
        df/dz = 5
    """
    if digits < 1:
        raise ValueError(f"digits={digits}: expected at least 1")
    found = records(t, gradient=gradient, backward=backward, limit=limit)
    return Explanation(found, table(found, digits))


def table(r: Records, digits: int = fmt.DIGITS) -> str:
    """The text of an explanation of records."""
    labels = _labels(r, digits)
    parts = [_forward(r, labels, digits), *([_folded(r, digits)] if any(not g.frame for g in r.groups) else [])]
    if r.differentiated and any(v.gradient is not None for v in r.values):
        parts += [_backward(r, labels, digits), _gradients(r, labels, digits)]
    elif not r.differentiated:
        parts.append("No gradients yet: call backward() first, or explain(..., backward=True).")
    if r.note:
        parts.append(r.note)
    return "\n\n".join(part for part in parts if part)


def _labels(r: Records, digits: int) -> dict[str, str]:
    """How a value is referred to: by its name; a constant by its number; any other by its row."""
    rows = (v for v in r.values if not _is_number(v))
    return {v.id: fmt.line(v.value, max(digits, fmt.GIVEN)) for v in r.values if _is_number(v)} | {
        v.id: fmt.plain(v.name) if v.name else f"#{n}" for n, v in enumerate(rows, 1)
    }


def _is_number(v: Value) -> bool:
    return v.kind == "constant" and v.value is not None and v.value.ndim == 0


def _forward(r: Records, labels: dict[str, str], digits: int) -> str:
    uses: dict[str, list[Edge]] = {v.id: [] for v in r.values}
    for edge in r.edges:
        uses[edge.target].append(edge)
    shaped = any(v.shape for v in r.values)
    rows: list[list[str]] = []
    for v in r.values:
        if _is_number(v):
            continue
        value = fmt.line(v.value, digits) if v.value is not None else NOT_KEPT
        made = _made(v, uses[v.id], labels, r) if v.op else "" if v.kind == "parameter" and v.name else v.kind
        made = "" if v.kind == "input" and v.name else made
        row = [str(len(rows) + 1), fmt.plain(v.name or ""), made]
        rows.append([*row, *([fmt.shape(v.shape) if v.shape is not None else ""] if shaped else []), value])
    more = f"\n({r.hidden} more values, further from the output, are left out: limit={len(r.values)})" if r.hidden else ""
    header = ["#", "name", "operation", *(["shape"] if shaped else []), "value"]
    return "Forward\n" + _aligned(header, rows, right={0} if shaped else {0, 3}) + more


def _folded(r: Records, digits: int) -> str:
    """The boxes that stand for many operations: what is in them, and the norm of the gradient at their output."""
    rows: list[list[str]] = []
    for g in (group for group in r.groups if not group.frame):
        name = " ".join(part for part in (g.name, g.type) if part) + (
            f" \N{MULTIPLICATION SIGN}{g.repeat:,}" if g.repeat > 1 else ""
        )
        ends = dict.fromkeys(fmt.number(norm, digits) for norm in (*g.gradient[:1], *g.gradient[-1:]))
        shape = fmt.shape(g.shape) if g.shape is not None else ""
        rows.append([name, f"{g.operations:,}", f"{g.parameters:,}", shape, " \N{HORIZONTAL ELLIPSIS} ".join(ends)])
    return "Folded\n" + _aligned(["box", "operations", "parameters", "shape", "gradient norm"], rows, right={1, 2})


SIGNS = {
    "add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "power": "{} ** {}",
    "matmul": "{} @ {}", "negative": "-{}",
}  # fmt: skip


def _made(v: Value, operands: Sequence[Edge], labels: dict[str, str], r: Records) -> str:
    """The operation as it would be written, on the labels of its operands."""
    named = {e.operand: labels[e.source] for e in operands}
    missing = range(len(v.operands)) if v.id in r.cut else ()
    given = [named.get(i, "\N{HORIZONTAL ELLIPSIS}") for i in sorted({*named, *missing})]
    if v.op in SIGNS and len(given) == SIGNS[v.op].count("{}"):
        return SIGNS[v.op].format(*(f"({g})" if g.startswith("-") else g for g in given))
    if v.asked.startswith("["):
        return f"{given[0]}{v.asked}" if v.op in ("getitem", "gather") else f"{v.op}({', '.join(given)}){v.asked}"
    return f"{v.op}({', '.join([*given, v.asked] if v.asked else given)})"


def _backward(r: Records, labels: dict[str, str], digits: int) -> str:
    top = _symbol(r, labels)
    rows: list[list[str] | str] = []
    for v, uses, operands in r.backward():
        got = [e for e in uses if e.contribution is not None]
        met = len(got) + v.unseen
        if met > 1 and v.gradient is not None:
            terms = " + ".join(_signed(e.contribution, digits) for e in got) + f" + {v.unseen} left out" * bool(v.unseen)
            terms = terms if len(terms) <= WIDEST else f"the sum of {met} contributions"
            rows.append(
                f"d{top}/d{labels[v.id]} = {terms} = {fmt.line(v.gradient, digits)}   (gradient adder: {met} paths meet)"
            )
        made = f"{labels[v.id]} = {_made(v, operands, labels, r)}" if v.op else ""
        told = [e for e in operands if e.contribution is not None]
        for n, e in enumerate(told):
            first = n == 0
            cells = [fmt.line(v.gradient, digits), "", fmt.line(e.local, digits), "", fmt.line(e.contribution, digits), e.rule]
            rows.append([made if first else "", v.gate if first else "", labels[e.source], *cells])
    header = ["at", "gate", "to", "upstream", "x", "local", "=", "contribution", "rule"]
    start = next((v for v in r.values if v.id == r.output), None)
    seed = fmt.line(start.gradient, digits) if start is not None else ""
    return f"Backward: d{top}/d{top} = {seed}\n" + _aligned(header, rows, right={3, 5, 7})


def _signed(array: Array | None, digits: int) -> str:
    text = fmt.line(array, digits)
    return f"({text})" if text.startswith("-") else text


def _symbol(r: Records, labels: dict[str, str]) -> str:
    """What is differentiated, in ``d?/dx``."""
    name = labels[r.output]
    return "L" if name.startswith("#") else name


def _gradients(r: Records, labels: dict[str, str], digits: int) -> str:
    top = _symbol(r, labels)
    rows = []
    for v in r.values:
        if v.kind != "parameter":
            continue
        if v.gradient is None:
            held = f"; .grad holds {fmt.line(v.accumulated, digits)}" if v.accumulated is not None else ""
            rows.append(f"d{top}/d{labels[v.id]}: not shown{held}")
            continue
        many = 10 if v.gradient.dtype.itemsize > 4 else 7
        more = (
            f"   (.grad holds other backward passes too: {fmt.line(v.accumulated, digits)})"
            if v.accumulated is not None
            else ""
        )
        rows.append(
            f"d{top}/d{labels[v.id]} = {fmt.line(v.gradient, max(digits, many) if v.gradient.ndim == 0 else digits)}{more}"
        )
    return "\n".join(["Gradients", *rows]) if rows else ""


def _aligned(header: list[str], rows: Sequence[list[str] | str], right: set[int]) -> str:
    """Columns of text; a row that is one string runs across them."""
    cells = [header, *(row for row in rows if isinstance(row, list))]
    widths = [max(len(row[c]) for row in cells) for c in range(len(header))]
    out = []
    for row in [header, *rows]:
        if isinstance(row, str):
            out.append(row)
        else:
            padded = (x.rjust(w) if c in right else x.ljust(w) for c, (x, w) in enumerate(zip(row, widths)))
            out.append("  ".join(padded).rstrip())
    return "\n".join(out)
