"""``viz.quiz``: an exercise sheet of the user's own graph. Numbers become blanks to fill in, and answers are marked with hints."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from minigrad.viz import format as fmt
from minigrad.viz.boxes import BACKWARD, FAINT, FONT, FORWARD, INK, KINDS, LINE, quote
from minigrad.viz.derivation import is_expression
from minigrad.viz.dot import Drawing, write
from minigrad.viz.format import Array, escape
from minigrad.viz.records import Edge, Records, Value, records

Difficulty = Literal["easy", "medium", "hard"]
SHARE: dict[str, float] = {"easy": 0.35, "medium": 0.65, "hard": 1.0}
"""The share of the numbers that become blanks."""
ASK = ("forward", "backward", "contributions")
DIGITS = 2
"""An answer is right if it is, rounded to so many significant digits."""
SMALLEST = 1e-12
SWAPS = {"add": np.add, "multiply": np.multiply, "subtract": np.subtract, "divide": np.divide}
DRAWN = (".svg", ".png", ".pdf", ".dot", ".gv")


class Blank(NamedTuple):
    """A number to be found: what it is, its right value, and what classic mistakes would have given."""

    number: int
    what: str
    answer: Array
    mistakes: tuple[tuple[str, Array], ...]


class Answer(NamedTuple):
    """One answer, marked. ``hint`` is "" if it is right or no classic mistake gives it."""

    number: int
    right: bool
    hint: str

    def __str__(self) -> str:
        return f"({self.number}) {'right' if self.right else 'wrong'}{': ' + self.hint if self.hint else ''}"


@dataclass(frozen=True)
class Marked:
    """All answers, marked: print it."""

    answers: tuple[Answer, ...]
    asked: int

    @property
    def score(self) -> int:
        """How many are right."""
        return sum(answer.right for answer in self.answers)

    @property
    def ok(self) -> bool:
        """Whether all blanks are filled, and right."""
        return self.score == self.asked

    def __str__(self) -> str:
        return "\n".join([f"{self.score} of {self.asked} right", *map(str, self.answers)])


class Quiz:
    """An exercise sheet: see :func:`quiz`."""

    def __init__(self, found: Records, blanks: dict[Any, Blank], title: str) -> None:
        self._records, self._blanks, self._title = found, blanks, title
        self._labels = labels(found)

    @property
    def blanks(self) -> tuple[Blank, ...]:
        """The blanks, in their order."""
        return tuple(sorted(self._blanks.values()))

    @property
    def answers(self) -> dict[int, Any]:
        """The right answers by number: a number, or nested lists."""
        return {blank.number: blank.answer.tolist() for blank in self.blanks}

    def mark(self, answers: Mapping[int, Any]) -> Marked:
        """Which answers are right, to two significant digits, and for a wrong one what mistake gives it.

        Raises:
            KeyError: if there is no blank of that number.

        Example:
            >>> import minigrad as mg
            >>> x = mg.tensor(3.0, requires_grad=True)
            >>> y = x * x
            >>> sheet = quiz(y, ask="backward", difficulty="hard")
            >>> print(sheet.mark({1: 3.0}))
            0 of 1 right
            (1) wrong: one path only: x is used 2 times, and what comes back along all of them adds up
        """
        known = {blank.number: blank for blank in self.blanks}
        missing = [number for number in answers if number not in known]
        if missing:
            raise KeyError(f"mark: there is no blank {missing[0]!r}; the blanks are {', '.join(map(str, known))}")
        return Marked(tuple(_marked(known[number], answers[number]) for number in sorted(answers)), len(known))

    @cached_property
    def drawing(self) -> Drawing:
        """The sheet as a picture."""
        return Drawing(_source(self._records, self._labels, self._blanks, self._title))

    @cached_property
    def text(self) -> str:
        """The sheet as text: the forward equations, then the gradients in the order of the backward pass."""
        root, at = self._labels[self._records.output], self._labels
        lines = [*([self._title, ""] if self._title else []), "Forward"]
        for value in self._records.values:
            told = _formula(value, [at[e.source] for e in self._records.edges if e.target == value.id])
            equals = f"{told} = " if told else ""
            if value.kind != "constant":
                lines.append(f"  {at[value.id]} = {equals}{self._told(('value', value.id), value.value)}")
        lines += ["", "Backward"] if self._records.differentiated else []
        for value, uses, _ in self._records.backward():
            if value.gradient is None:
                continue
            for e in uses:
                if ("contribution", e.target, e.operand) in self._blanks:
                    text = self._told(("contribution", e.target, e.operand), e.contribution)
                    lines.append(f"  along {at[e.target]} -> {at[e.source]}: {text}")
            lines.append(f"  d{root}/d{at[value.id]} = {self._told(('gradient', value.id), value.gradient)}")
        return "\n".join(lines) + "\n"

    @cached_property
    def markdown(self) -> str:
        """The sheet as Markdown, with a table to fill in."""
        rows = "".join(f"| {blank.number} | {blank.what} | |\n" for blank in self.blanks)
        return f"```text\n{self.text}```\n\n| blank | what | answer |\n|---|---|---|\n{rows}"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write .md, .txt, or the picture as .svg, .png, .pdf, .dot, by the ending.

        Raises:
            ValueError: for another ending.
        """
        path = Path(path)
        texts = {".md": lambda: self.markdown, ".txt": lambda: self.text}
        if path.suffix in DRAWN:
            return self.drawing.save(path)
        if path.suffix not in texts:
            raise ValueError(f"save: cannot tell the format of {path.name!r}; end it in {', '.join((*texts, *DRAWN))}")
        write(path, texts[path.suffix]().encode())
        return path

    def _told(self, key: Any, value: Array | None) -> str:
        blank = self._blanks.get(key)
        return f"______ ({blank.number})" if blank else "?" if value is None else _short(value)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Quiz with {len(self._blanks)} blanks: .drawing, .text, .markdown, .answers, .mark({{1: ...}})>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.text, "image/svg+xml": self.drawing.svg()}


def quiz(
    t: Any,
    *,
    ask: str | Collection[str] = ("forward", "backward"),
    difficulty: Difficulty = "medium",
    seed: int = 0,
    gradient: Any = None,
    title: str = "",
) -> Quiz:
    """An exercise sheet of the graph that made ``t``: some of its numbers are left blank.

    Args:
        t: a Tensor, such as the loss of a small network.
        ask: what to leave blank: ``"forward"`` (values), ``"backward"`` (gradients), ``"contributions"`` (what each arrow from a
            value that is used several times brings back: upstream x local). What the user made, and the gradient to start from, are given.
        difficulty: how much: ``"easy"`` a third, ``"medium"`` two thirds, ``"hard"`` everything.
        seed: which ones; the same seed, the same sheet.
        gradient: the upstream gradient to start from; 1 by default.
        title: stands above it.

    Returns:
        ``.drawing``, ``.text``, ``.markdown``, ``.save(path)`` for the sheet; ``.answers`` and ``.mark({1: 0.73, ...})`` for the
        teacher. In a notebook it shows itself.

    Raises:
        ValueError: if ``ask`` or ``difficulty`` is unknown, or there is no number small enough to ask for.

    Example:
        >>> import minigrad as mg
        >>> x, y, z = (mg.tensor(v, requires_grad=True) for v in (2.0, 3.0, 4.0))
        >>> w = x + y
        >>> f = w * z
        >>> sheet = quiz(f, difficulty="hard")  # notes 001, Figure 11
        >>> print(sheet, end="")
        Forward
          x = 2
          y = 3
          z = 4
          w = x + y = ______ (1)
          f = w * z = ______ (2)
        <BLANKLINE>
        Backward
          df/df = 1
          df/dw = ______ (3)
          df/dz = ______ (4)
          df/dy = ______ (5)
          df/dx = ______ (6)
        >>> print(sheet.mark({1: 5, 2: 20, 4: 4}))
        2 of 6 right
        (1) right
        (2) right
        (4) wrong: that is z itself: a product passes back the other factor
    """
    asked = {ask} if isinstance(ask, str) else set(ask)
    if not asked or not asked <= set(ASK):
        raise ValueError(f"quiz: ask={ask!r}, expected some of {', '.join(ASK)}")
    if difficulty not in SHARE:
        raise ValueError(f"quiz: difficulty={difficulty!r}, expected one of {', '.join(SHARE)}")
    found = records(t, gradient=gradient, backward=True)
    candidates = _candidates(found, asked)
    if not candidates:
        raise ValueError(
            "quiz: nothing to ask: every value is given, unknown, or too large to be written down; try a smaller graph"
        )
    n = max(1, math.ceil(SHARE[difficulty] * len(candidates)))
    chosen = sorted(np.random.default_rng(seed).permutation(len(candidates))[:n].tolist())
    blanks = {candidates[k][0]: Blank(number, *candidates[k][1:]) for number, k in enumerate(chosen, 1)}
    return Quiz(found, blanks, title)


def labels(r: Records) -> dict[str, str]:
    """What each value is called on the sheet: its name, or its operation and a number; a constant by what it is."""
    counts: Counter[str] = Counter()
    found = {}
    for value in r.values:
        kind = value.op or value.kind
        if value.name is None and value.kind == "constant":
            found[value.id] = "constant" if value.value is None else _short(value.value)
            continue
        if value.name is None:
            counts[kind] += 1
        found[value.id] = value.name or f"{kind}{counts[kind]}"
    return found


# What may be asked, and what mistakes give
def _candidates(r: Records, asked: set[str]) -> list[tuple[Any, str, Array, tuple[tuple[str, Array], ...]]]:
    at, root = labels(r), r.output
    found: list[tuple[Any, str, Array, tuple[tuple[str, Array], ...]]] = []

    def add(key: Any, what: str, answer: Array | None, mistakes: list[tuple[str, Any]]) -> None:
        if answer is not None and fmt.is_small(answer) and np.isfinite(answer).all() and answer.dtype.kind in "fiu":
            kept = [
                (hint, np.asarray(v)) for hint, v in mistakes if np.shape(v) == answer.shape and not _is(np.asarray(v), answer)
            ]
            found.append((key, what, np.asarray(answer, float), tuple(kept)))

    values = {value.id: value for value in r.values}
    for value in r.values:
        if "forward" in asked and value.op:
            operands = [values[e.source] for e in r.edges if e.target == value.id]
            add(("value", value.id), f"the value of {at[value.id]}", value.value, _forward_mistakes(value, operands, at))
    for value, uses, _ in r.backward():
        if value.gradient is None:
            continue
        for e in uses if "contributions" in asked and len(uses) > 1 else ():  # an only one is the gradient itself
            what = f"what comes back from {at[e.target]} to {at[e.source]}"
            add(("contribution", e.target, e.operand), what, e.contribution, _edge_mistakes(e, values))
        if "backward" in asked and value.id != root:
            what = f"d{at[root]}/d{at[value.id]}"
            add(("gradient", value.id), what, value.gradient, _gradient_mistakes(value, uses, values, at))
    return found


def _forward_mistakes(value: Value, operands: list[Value], at: dict[str, str]) -> list[tuple[str, Any]]:
    arrays = [operand.value for operand in operands if operand.value is not None]
    if len(arrays) < len(operands) or value.value is None:
        return []
    found: list[tuple[str, Any]] = [("the sign is wrong", -value.value)] if value.value.dtype.kind != "u" else []
    names = [at[operand.id] for operand in operands]
    if len(arrays) == 1:
        found.append((f"that is {names[0]} itself: {value.op} is still to be applied", arrays[0]))
    if len(arrays) == 2:
        with np.errstate(all="ignore"):
            for op, f in SWAPS.items():
                if op != value.op:
                    symbol = fmt.plain(fmt.SYMBOLS[op])
                    found.append((f"that is {names[0]} {symbol} {names[1]}, not {value.op}", f(*arrays)))
            if value.op in SWAPS:
                found.append(("the operands are exchanged", SWAPS[value.op](*arrays[::-1])))
            if value.op == "matmul":
                with suppress(ValueError):  # of shapes that have none
                    found.append(("that is the elementwise product, not the matrix product", np.multiply(*arrays)))
    return found


def _edge_mistakes(e: Edge, values: dict[str, Value]) -> list[tuple[str, Any]]:
    upstream, part, local = values[e.target].gradient, e.contribution, e.local
    if part is None or upstream is None:
        return []
    found: list[tuple[str, Any]] = [("the sign is wrong", -part)]
    found.append(("the local gradient is forgotten: this is the upstream gradient alone", upstream))
    if local is not None:
        found.append(("the upstream gradient is forgotten: this is the local gradient alone", local))
        if np.shape(local) == np.shape(upstream):
            found.append(("upstream and local gradient are multiplied, not added", upstream + local))
    return found


def _gradient_mistakes(value: Value, uses: list[Edge], values: dict[str, Value], at: dict[str, str]) -> list[tuple[str, Any]]:
    parts = [e.contribution for e in uses]
    if not parts or any(part is None for part in parts):
        return []
    found: list[tuple[str, Any]] = []
    if len(parts) > 1:
        told = f"{at[value.id]} is used {len(parts)} times, and what comes back along all of them adds up"
        ends = Counter(e.target for e in uses)
        for e in uses if len(ends) == len(uses) else ():
            rest = [other.contribution for other in uses if other is not e]
            found.append((f"the path through {at[e.target]} is missing: {told}", sum(rest)))
        found += [(f"one path only: {told}", part) for part in parts]
        found.append((f"a product where a sum belongs: {told}", math.prod(parts)))
    else:
        if values[uses[0].target].op == "multiply" and value.value is not None:
            found.append(
                (
                    f"that is {at[value.id]} itself: a product passes back the other factor",
                    values[uses[0].target].gradient * value.value,
                )
            )
        found += _edge_mistakes(uses[0], values)
    return [*found, ("the sign is wrong", -value.gradient)]  # type: ignore[operator]


def _is(given: Array, answer: Array) -> bool:
    """Whether two numbers are the same to DIGITS significant digits (of the largest of them, in an array)."""
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(answer), SMALLEST if answer.size == 1 else np.max(np.abs(answer), initial=SMALLEST) * 1e-3)
        half = 0.5001 * 10.0 ** (np.floor(np.log10(size)) - DIGITS + 1)
        return bool(np.all(np.abs(given - answer) <= half))


def _marked(blank: Blank, given: Any) -> Answer:
    array = np.asarray(given)
    if array.dtype.kind not in "biuf":
        return Answer(blank.number, False, f"a number is expected, not {given!r}")
    if array.shape != blank.answer.shape and not array.size == blank.answer.size == 1:
        return Answer(blank.number, False, f"its shape is {array.shape}, the right one {blank.answer.shape}")
    array = array.reshape(blank.answer.shape).astype(float)
    if _is(array, blank.answer):
        return Answer(blank.number, True, "")
    return Answer(blank.number, False, next((hint for hint, value in blank.mistakes if _is(array, value)), ""))


# How it looks
def _short(array: Array) -> str:
    if not fmt.is_small(array):
        return f"(shape {array.shape})"
    rows = fmt.rows(array)
    inside = [f"[{', '.join(row)}]" for row in rows]
    return rows[0][0] if array.ndim == 0 else inside[0] if array.ndim == 1 else f"[{', '.join(inside)}]"


def _formula(value: Value, operands: list[str]) -> str:
    """The equation of a value in the words of the sheet."""
    if not value.op:
        return ""
    if is_expression(value.math) and len(operands) == len(value.operands):
        names = dict(zip(value.operands, operands))
        shown = {k: f"({v})" if v.startswith("-") else v for k, v in names.items()}
        return re.sub(r"\b[A-Za-z]\w*\b", lambda m: shown.get(m[0], m[0]), value.math)
    return f"{value.op}({', '.join([*operands, *([value.asked] if value.asked else [])])})"


def _cell(label: str, blank: Blank | None, value: Array | None, colour: str) -> str:
    """A row of a box: a number, or an empty frame with the number of the blank before it."""
    if blank is None and value is None:
        return ""
    head = f'<TD ALIGN="LEFT"><FONT COLOR="{colour}" POINT-SIZE="9">{label}</FONT></TD>'
    if blank is not None:
        shape, times = blank.answer.shape, " \N{MULTIPLICATION SIGN} "
        size = f" {times.join(map(str, shape))} numbers" if shape else ""
        high = 20 if len(shape) < 2 else 18 * shape[0]
        frame = f'<TD BORDER="1" COLOR="{colour}" WIDTH="84" HEIGHT="{high}" ALIGN="LEFT" VALIGN="TOP" BGCOLOR="#FFFFFF">'
        return f'<TR>{head}{frame}<FONT COLOR="{colour}" POINT-SIZE="8">({blank.number}){size}</FONT></TD></TR>'
    assert value is not None
    return f'<TR>{head}<TD ALIGN="LEFT"><FONT COLOR="{colour}">{escape(_short(value))}</FONT></TD></TR>'


def _source(r: Records, at: dict[str, str], blanks: dict[Any, Blank], title: str) -> str:
    heading = f'<TR><TD><FONT POINT-SIZE="14"><B>{escape(fmt.plain(title, 200))}</B></FONT></TD></TR>' if title else ""
    told = (
        f'<TR><TD><FONT POINT-SIZE="10">Fill in the frames: <FONT COLOR="{FORWARD}">value</FONT>, '
        f'<FONT COLOR="{BACKWARD}">gradient of {escape(at[r.output])}</FONT></FONT></TD></TR>'
    )
    lines = [
        "digraph quiz {",
        f'  graph [rankdir=LR fontname="{FONT}" fontcolor="{INK}" nodesep=0.3 ranksep=0.55 bgcolor="white" ordering=in',
        f'    labelloc=t label=<<TABLE BORDER="0" CELLSPACING="4">{heading}{told}</TABLE>>]',
        f'  node [shape=box margin="0.06,0.04" fontname="{FONT}" fontsize=11 fontcolor="{INK}"]',
        f'  edge [fontname="{FONT}" fontsize=10 color="{LINE}" arrowsize=0.7]',
    ]
    for value in r.values:
        if value.kind == "constant":
            lines.append(f"  {value.id} [label={quote(at[value.id])} {KINDS['constant'][1]}]")
            continue
        made = " ".join(p for p in (fmt.SYMBOLS.get(value.op, ""), value.op if value.name else "", value.asked) if p)
        head = f"<B>{escape(at[value.id])}</B>" + (f" &#160; {escape(made)}" if made else "")
        rows = [f'<TR><TD ALIGN="LEFT" COLSPAN="2">{head}</TD></TR>']
        if value.gate:
            rows.append(
                f'<TR><TD ALIGN="LEFT" COLSPAN="2"><FONT POINT-SIZE="9" COLOR="{FAINT}">{escape(value.gate)}</FONT></TD></TR>'
            )
        rows.append(_cell("value", blanks.get(("value", value.id)), value.value, FORWARD))
        rows.append(_cell("grad", blanks.get(("gradient", value.id)), value.gradient, BACKWARD))
        table = f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="2" CELLPADDING="2">{"".join(rows)}</TABLE>>'
        lines.append(f"  {value.id} [label={table} {KINDS[value.kind][1]}]")
    for e in r.edges:
        blank = blanks.get(("contribution", e.target, e.operand))
        label = ""
        if blank is not None:
            row = _cell("&#160;", blank, None, BACKWARD)
            label = f' [label=<<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="2">{row}</TABLE>>]'
        lines.append(f"  {e.source} -> {e.target}{label}")
    return "\n".join([*lines, "}"]) + "\n"
