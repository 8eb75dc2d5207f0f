"""What a drawing says inside its boxes and on its arrows, as Graphviz's HTML-like labels."""

from __future__ import annotations

import linecache
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from minigrad.viz import format as fmt
from minigrad.viz.format import Array, escape
from minigrad.viz.heatmap import can_show, heatmap, histogram
from minigrad.viz.records import Edge, Records, Value

Edges = Literal["contribution", "local", "both", "none"]
Flow = Literal["both", "forward", "backward"]
Arrays = Literal["summary", "heatmap", "histogram", "norm"]
SHOW = "op,gate,shape,dtype,value,gradient"
SHOWN = (*SHOW.split(","), "module", "line")
"""What a box can say beside its name."""

# Okabe and Ito's colours, which the colour-blind tell apart; text takes darker shades of them, at 4.5:1 or more on white.
INK, FAINT, LINE = "#1A1A1A", "#595959", "#767676"
FORWARD, BACKWARD, NEGATIVE = "#006B4F", "#B03A00", "#005A96"
FONT, MONO = "Helvetica,Arial,sans-serif", "Menlo,Consolas,monospace"
# Told apart by the border too: for print, and for those who see no colour.
KINDS = {
    "input": ("input", f'style="rounded,filled" fillcolor="#E3F1FA" color="{INK}"'),
    "parameter": ("asks for a gradient", f'style="filled" fillcolor="#FFF3D6" color="{INK}" peripheries=2'),
    "frozen": ("frozen parameter", f'style="filled,dashed" fillcolor="#F4F4F4" color="{INK}" peripheries=2'),
    "constant": ("constant", f'style="dashed" color="{LINE}" width=0.3 height=0.3'),
    "op": ("operation", f'style="filled" fillcolor="#FFFFFF" color="{INK}"'),
    "output": ("output", f'style="filled" fillcolor="#F0F0F0" color="{INK}" penwidth=2.5'),
    "failed": ("failed", f'shape=octagon style="filled" fillcolor="#FFFFFF" color="{INK}" penwidth=3'),
    "hidden": ("", f'style="dotted" color="{LINE}"'),
    "reference": ("drawn in full elsewhere", f'style="rounded,dotted" color="{LINE}" width=0.3 height=0.3'),
}  # fmt: skip
# A contribution's sign is told by the line, the colour and the number; how large it is, by the width.
ARROWS = {
    "positive": ("above zero", BACKWARD, "solid"),
    "negative": ("below zero", NEGATIVE, "dashed"),
    "array": ("array, by its norm", FAINT, "solid"),
    "zero": ("zero", LINE, "dotted"),
    "nonfinite": ("NaN or infinite", f"{INK}:{INK}", "solid"),
}
CROWDED = 60
"""In a drawing of more values, arrays are told by their norms, unless asked for otherwise: one line instead of five."""
THIN, THICK, DECADES = 0.8, 2.8, 4
"""The width of an arrow, in points: THICK for the largest contribution of the drawing, THIN for one DECADES orders below it."""
CLEAR = '<FONT POINT-SIZE="4">&#160;</FONT>'
"""A line of nothing, which keeps what is written on an arrow clear of the arrow."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a drawing shows, and how: the arguments of :func:`draw` that are not about the graph.

    Attributes:
        show: which of SHOWN each box says.
        largest: the largest norm of a contribution in the drawing, against which widths are measured.
        labels: what to write on an arrow instead, by its target and operand.
    """

    edges: Edges = "contribution"
    rankdir: str = "LR"
    legend: bool = True
    title: str = ""
    show: frozenset[str] = frozenset(SHOW.split(","))
    flow: Flow = "both"
    arrays: Arrays | None = None
    largest: float = 0.0
    labels: Mapping[tuple[str, int], str] = field(default_factory=dict)

    def fitted(self, r: Records) -> Look:
        """This look, with the widths of arrows measured against the largest contribution among the records, and arrays as fits."""
        norms = [norm(e.contribution) for e in r.edges if e.contribution is not None and e.contribution.size]
        norms += [b.norm for b in r.bundles if b.norm is not None and not b.lag]
        arrays: Arrays = self.arrays or ("norm" if len(r.values) > CROWDED else "summary")
        return replace(self, largest=max((n for n in norms if math.isfinite(n)), default=0.0), arrays=arrays)


# Boxes
def node(v: Value, look: Look) -> str:
    """The statement that draws a value's box."""
    border = f'{KINDS[v.kind][1]} class="{v.kind}"'
    if v.kind == "constant":
        return f"  {v.id} [label=<{_small(v.value, v.shape)}> {border} tooltip={quote('constant')}]"
    table = [f'<TR><TD ALIGN="LEFT" COLSPAN="2">{_head(v, look)}</TD></TR>']
    table += [f'<TR><TD ALIGN="LEFT" COLSPAN="2">{line}</TD></TR>' for line in _faint(v, look)]
    rows = [_row(*row, look) for row in _arrays(v, look)]
    table += ["<HR/>", *rows] if rows else []
    label = f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">{"".join(table)}</TABLE>>'
    return f"  {v.id} [label={label} {border} tooltip={quote(_tip(v))}]"


def _head(v: Value, look: Look) -> str:
    name = f"<B>{escape(fmt.plain(v.name))}</B>" if v.name else ""
    made = escape(" ".join(part for part in (fmt.SYMBOLS.get(v.op, ""), v.op, v.asked) if part))
    if v.kind == "failed":
        return f'<FONT COLOR="{BACKWARD}"><B>&#10007; {made} failed</B></FONT>'
    if "op" not in look.show and name:
        return name
    return f"{name} &#160; {made}" if name and made else name or (f"<B>{made}</B>" if made else v.kind)


def _faint(v: Value, look: Look) -> list[str]:
    """The small lines under the name."""
    shaped = (fmt.shape(v.shape or ()) if "shape" in look.show else "", v.dtype if "dtype" in look.show else "")
    lines = {
        "gate": v.gate,
        "shape": " ".join(shaped).strip() if v.shape else "",
        "module": fmt.plain(".".join(v.scope)),
    }
    asked = look.show | ({"shape"} if "dtype" in look.show else set())
    told = [_point(text, 9, FAINT) for key, text in lines.items() if key in asked and text]
    if v.where and ("line" in look.show or v.kind == "failed"):
        file, _, number = v.where.rpartition(":")
        code = linecache.getline(file, int(number)).strip()
        told += [_point(f"{Path(file).name}:{number}", 9, FAINT)]
        told += (
            [f'<FONT FACE="{MONO}" POINT-SIZE="8.5" COLOR="{FAINT}">{escape(_begin(fmt.plain(code, 400)))}</FONT>']
            if code
            else []
        )
    return told


def _begin(text: str, most: int = 44) -> str:
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _arrays(v: Value, look: Look) -> list[tuple[str, Array | None, str]]:
    """The rows of numbers: label, array, colour."""
    rows: list[tuple[str, Array | None, str]] = []
    if "value" in look.show and look.flow != "backward" and v.kind != "failed":
        rows.append(("value now" if v.later else "value", v.value, FORWARD))
    if "gradient" in look.show and look.flow != "forward":
        told = (("gradient", v.gradient), (".grad", v.accumulated))
        rows += [(label, array, BACKWARD) for label, array in told if array is not None]
    return rows


def _row(label: str, array: Array | None, colour: str, look: Look) -> str:
    side = "TOP" if array is not None and array.ndim else "BOTTOM"
    return (
        f'<TR><TD ALIGN="LEFT" VALIGN="{side}"><FONT COLOR="{colour}">{label}&#160;</FONT></TD>'
        f'<TD ALIGN="RIGHT">{_cell(array, colour, look)}</TD></TR>'
    )


PICTURES: dict[str, Callable[[Array, str], str]] = {"heatmap": heatmap, "histogram": histogram}


def _cell(array: Array | None, colour: str, look: Look) -> str:
    """A value inside a box: in full if it is small, else in summary or as a picture."""
    if array is None:
        return f'<FONT POINT-SIZE="9" COLOR="{FAINT}"><I>not kept: mg.inspect()</I></FONT>'
    if array.ndim == 0:
        return f'<FONT COLOR="{colour}"><B>{escape(fmt.number(array[()]))}</B></FONT>'
    if look.arrays == "norm" and not (array.ndim == 1 and array.size <= 4):
        return _point(f"norm {fmt.norm(array)}" if array.size else "empty", 10, colour)
    if fmt.is_small(array):
        return _matrix(fmt.rows(array), colour)
    if look.arrays in PICTURES and can_show(array):
        return PICTURES[look.arrays](array, colour)
    told = "".join(
        f'<TR><TD ALIGN="LEFT">{_point(label, 9, FAINT)}&#160;</TD><TD ALIGN="RIGHT">{_point(text, 10, colour)}</TD></TR>'
        for label, text in fmt.summary(array)
    )
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{told}</TABLE>'


def _matrix(rows: list[list[str]], colour: str) -> str:
    """Rows of numbers between upright bars, aligned to the right."""
    told = "".join(
        "<TR>" + "".join(f'<TD ALIGN="RIGHT"><FONT COLOR="{colour}">{escape(x)}</FONT></TD>' for x in row) + "</TR>"
        for row in rows
    )
    return f'<TABLE BORDER="1" SIDES="LR" COLOR="{colour}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">{told}</TABLE>'


def _small(array: Array | None, shape: tuple[int, ...] | None) -> str:
    """A value without a box of its own rows: a constant, or what is written on an arrow."""
    if array is None:
        return "<I>not kept</I>"
    return (
        escape(fmt.line(array, fmt.GIVEN))
        if fmt.is_small(array) and array.size <= 4
        else escape(f"array {fmt.shape(shape or ())}")
    )


def _tip(v: Value) -> str:
    """What a viewer shows when the pointer rests on a box."""
    parts = [f"{v.op}: {v.math}" if v.math else v.op or v.kind, ".".join(v.scope), fmt.near(v.where)]
    return ", ".join(p for p in parts if p)


def _point(text: str, size: int, colour: str) -> str:
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{escape(text)}</FONT>'


# Arrows
def arrow(e: Edge, start: str, look: Look, placed: Sequence[str] = ()) -> str:
    """The statement that draws one use of a value, with attributes that tell Graphviz where."""
    told = []
    kind = tone(e.contribution)
    colour = ARROWS[kind][1].partition(":")[0] if kind in ("positive", "negative") else BACKWARD
    if look.edges in ("contribution", "both") and e.contribution is not None:
        told.append(f'<FONT COLOR="{colour}">{_flow(e.contribution)}</FONT>')
    if look.edges in ("local", "both") and e.local is not None:
        told.append(f'<FONT COLOR="{INK}">local {_flow(e.local)}</FONT>')
    told = [look.labels[e.target, e.operand]] if (e.target, e.operand) in look.labels else told
    label = "<BR/>".join([f"&#160;{text}&#160;" for text in told] + [CLEAR] * bool(told))
    attributes = [f"label=<{label}>"] if label else []
    attributes += placed
    if kind and e.contribution is not None:
        _, line, style = ARROWS[kind]
        attributes += [f'color="{line}" style={style} penwidth={width(norm(e.contribution), look.largest):g} class="{kind}"']
    attributes += ["dir=back"] if look.flow == "backward" else []
    if e.rule:
        attributes.append(f"tooltip={quote(f'operand {e.operand + 1}: {e.rule}')}")
    return f"  {start} -> {e.target}" + (f" [{' '.join(attributes)}]" if attributes else "")


def tone(array: Array | None) -> str:
    """Which row of ARROWS draws a contribution; "" if there is none.

    Example:
        >>> tone(np.float64(-2.0)), tone(np.zeros(3)), tone(np.array([1.0, np.nan]))
        ('negative', 'zero', 'nonfinite')
    """
    if array is None:
        return ""
    if not np.isfinite(array).all():
        return "nonfinite"
    if not array.any():
        return "zero"
    if array.size > 1 or array.dtype.kind == "c":
        return "array"
    return "positive" if array.reshape(()) > 0 else "negative"


def norm(array: Array) -> float:
    """The Euclidean norm, of the largest entry times what is left so that squares neither overflow nor vanish."""
    most = float(np.abs(array).max()) if array.size else 0.0
    return most * float(np.linalg.norm((np.abs(array) / most).ravel())) if 0 < most < math.inf else most


def width(own: float, largest: float) -> float:
    """The width of an arrow, by the norm of its contribution: linear in the logarithm of how it compares with the largest."""
    if not own or not largest:
        return THIN
    if not math.isfinite(own):
        return 1.5
    share = 1 + (math.log10(own) - math.log10(largest)) / DECADES
    return round(THIN + (THICK - THIN) * min(max(share, 0.0), 1.0), 2)


def _flow(array: Array) -> str:
    if array.ndim == 0:
        return escape(fmt.number(array[()]))
    if array.ndim <= 2 and 0 < array.size <= 3:
        return escape(fmt.line(array))
    if array.size and not np.isfinite(array).all():
        return escape(", ".join(f"{label} {text}" for label, text in fmt.not_finite(array)))
    return "0" if not array.any() else f"norm {escape(fmt.norm(array))}"


def quote(text: str) -> str:
    """A string of the DOT language."""
    return '"' + fmt.plain(text, 400).replace("\\", "\\\\").replace('"', '\\"') + '"'
