"""Records as a Graphviz drawing: DOT text, and its rendering to SVG, PNG and PDF with or without ``dot`` on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from minigrad.viz import format as fmt
from minigrad.viz.format import Array, escape
from minigrad.viz.records import LIMIT, Edge, Records, Value, records

Edges = Literal["contribution", "local", "both", "none"]
SUFFIXES = ("svg", "png", "pdf", "dot", "gv")

# Okabe and Ito's colours, which the colour-blind tell apart; text takes darker shades of them, at 4.5:1 or more on white.
INK, FAINT, LINE = "#1A1A1A", "#595959", "#767676"
FORWARD, BACKWARD = "#006B4F", "#B03A00"
FONT = "Helvetica,Arial,sans-serif"
# Told apart by the border too: for print, and for those who see no colour.
KINDS = {
    "input": ("input", f'style="rounded,filled" fillcolor="#E3F1FA" color="{INK}"'),
    "parameter": ("asks for a gradient", f'style="filled" fillcolor="#FFF3D6" color="{INK}" peripheries=2'),
    "constant": ("constant", f'style="dashed" color="{LINE}" width=0.3 height=0.3'),
    "op": ("operation", f'style="filled" fillcolor="#FFFFFF" color="{INK}"'),
    "output": ("output", f'style="filled" fillcolor="#F0F0F0" color="{INK}" penwidth=2.5'),
    "hidden": ("", f'style="dotted" color="{LINE}"'),
    "reference": ("drawn in full elsewhere", f'style="rounded,dotted" color="{LINE}" width=0.3 height=0.3'),
}  # fmt: skip
LEGEND = {
    "input": 'BORDER="1" CELLBORDER="0" CELLSPACING="0" STYLE="ROUNDED" BGCOLOR="#E3F1FA"',
    "parameter": 'BORDER="1" CELLBORDER="1" CELLSPACING="2" BGCOLOR="#FFF3D6"',
    "constant": f'BORDER="1" CELLBORDER="0" CELLSPACING="0" STYLE="DASHED" COLOR="{LINE}"',
    "op": 'BORDER="1" CELLBORDER="0" CELLSPACING="0"',
    "reference": f'BORDER="1" CELLBORDER="0" CELLSPACING="0" STYLE="ROUNDED,DOTTED" COLOR="{LINE}"',
    "output": 'BORDER="3" CELLBORDER="0" CELLSPACING="0" BGCOLOR="#F0F0F0"',
}  # fmt: skip


CAREFUL, FAR = 500, 8
"""Where arrows cross more than CAREFUL layers in all, Graphviz's routing of them takes seconds, then hours (a weight shared by 40
steps: 1,600 layers, 6 s; by 100 steps: minutes), and nobody can follow them. Then a named value that is used more than FAR layers
away is referred to by its name there."""
ROUGH = " splines=line nslimit=0.5 nslimit1=2 mclimit=0.1"
"""Straight arrows and a less patient placement, if that was not enough."""


class Drawing:
    """A drawing of a graph: shows itself in notebooks, and saves itself as a file.

    Attributes:
        source: the DOT text.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor(3.0, requires_grad=True)
        >>> y = x * x
        >>> drawing = draw(y)
        >>> drawing.source.startswith("digraph"), drawing.svg().startswith("<?xml")
        (True, True)
    """

    def __init__(self, source: str) -> None:
        self.source = source

    def __str__(self) -> str:
        return self.source

    def svg(self) -> str:
        """The drawing as SVG text."""
        return render(self.source, "svg").decode("utf-8")

    def png(self, dpi: int = 144) -> bytes:
        """The drawing as a PNG image."""
        if not 10 <= dpi <= 1200:
            raise ValueError(f"png: dpi={dpi}, expected 10 to 1200")
        return render(self.source.replace("{\n", f"{{\n  dpi={int(dpi)}\n", 1), "png")

    def pdf(self) -> bytes:
        """The drawing as a PDF document."""
        return render(self.source, "pdf")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a file of the kind that the path's suffix says: .svg, .png, .pdf, or .dot (.gv) for the source.

        The file appears when it is complete, or not at all.

        Returns:
            The path.

        Raises:
            ValueError: if the suffix is none of these.
        """
        path = Path(path)
        suffix = path.suffix.lower().removeprefix(".")
        if suffix not in SUFFIXES:
            raise ValueError(
                f"save: cannot write {path.name!r}; the suffix says the format: {', '.join('.' + s for s in SUFFIXES)}"
            )
        if suffix == "png":
            content = self.png()
        elif suffix == "pdf":
            content = self.pdf()
        else:
            content = (self.svg() if suffix == "svg" else self.source).encode()
        write(path, content)
        return path

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Drawing, {len(self.source)} characters of DOT: .svg(), .png(), .pdf(), .save(path), .source>"


def draw(
    t: Any,
    *,
    gradient: Any = None,
    backward: bool | None = None,
    edges: Edges = "contribution",
    rankdir: Literal["LR", "TB", "RL", "BT"] = "LR",
    legend: bool = True,
    title: str = "",
    limit: int | None = LIMIT,
) -> Drawing:
    """Draw the graph that made ``t``: for every value its name, operation, shape, value and gradient.

    The number on an arrow is what flows back along it: its contribution to the gradient of the value that it leaves. A value's
    gradient is the sum of the numbers on the arrows that leave it.

    Args:
        t: a Tensor, before or after ``t.backward()``. Before it, there are no gradients to show.
        gradient: the upstream gradient to start from. By default the one that ``t.backward()`` started from, or 1 for a scalar.
        backward: True computes gradients for the drawing only (no ``.grad`` changes); False leaves them out.
        edges: what to write on the arrows: "contribution", "local" (the local gradient), "both" or "none".
        rankdir: where the graph runs: "LR" left to right, "TB" top to bottom, "RL", "BT".
        legend: whether to explain the boxes and colours below the drawing.
        title: a heading.
        limit: at most so many values, those nearest to ``t``; None draws all (slow beyond a few hundred).

    Returns:
        A :class:`Drawing`.

    Example:
        >>> import minigrad as mg
        >>> x, y, z = (mg.tensor(v, requires_grad=True) for v in (2.0, 3.0, 4.0))
        >>> q = x + y
        >>> f = q * z
        >>> f.backward()
        >>> drawing = draw(f)
        >>> "<B>q</B>" in drawing.source
        True
    """
    if rankdir not in ("LR", "TB", "RL", "BT"):
        raise ValueError(f"rankdir={rankdir!r}: expected 'LR', 'TB', 'RL' or 'BT'")
    if edges not in ("contribution", "local", "both", "none"):
        raise ValueError(f"edges={edges!r}: expected 'contribution', 'local', 'both' or 'none'")
    found = records(t, gradient=gradient, backward=backward, limit=limit)
    return Drawing(source(found, edges=edges, rankdir=rankdir, legend=legend, title=title))


def source(r: Records, *, edges: Edges = "contribution", rankdir: str = "LR", legend: bool = True, title: str = "") -> str:
    """The DOT text of a drawing of records."""
    layers = _layers(r)
    names = {v.id: v.name for v in r.values if v.name}
    span = {e: layers[e.target] - layers[e.source] for e in r.edges}
    far = {e: n for e, n in span.items() if n > FAR and e.source in names} if sum(span.values()) > CAREFUL else {}
    rough = sum(span.values()) - sum(far.values()) > CAREFUL
    lines = [
        "digraph minigrad {",
        f'  graph [rankdir={rankdir} fontname="{FONT}" fontsize=10 fontcolor="{INK}" nodesep=0.3 ranksep=0.5 bgcolor="white"',
        f"    ordering=in{ROUGH if rough else ''} labelloc={'t' if title else 'b'} label={_about(r, title, legend, bool(far))}]",
        f'  node [shape=box margin="0.06,0.04" fontname="{FONT}" fontsize=11 fontcolor="{INK}"]',
        f'  edge [fontname="{FONT}" fontsize=10 fontcolor="{BACKWARD}" color="{LINE}" arrowsize=0.7]',
    ]
    body = [_node(value) for value in r.values]
    if r.hidden:
        text = f"\N{HORIZONTAL ELLIPSIS} {r.hidden} more value{'s' * (r.hidden > 1)} (limit={len(r.values)})"
        body.append(f'  more [label="{text}" {KINDS["hidden"][1]} fontcolor="{FAINT}"]')
        body += [f"  more -> {cut} [style=dotted]" for cut in r.cut]
        body += [f"  {v.id} -> more [style=dotted]" for v in r.values if v.unseen]
    made = {v.id for v in r.values if v.op}  # the path from value to value runs straight, the leaves stand beside it
    references: dict[tuple[str, str], str] = {}
    for e in r.edges:
        start = e.source
        if e in far:
            start = references.setdefault((e.source, e.target), f"r{len(references)}")
            if start == f"r{len(references) - 1}":
                label = f"<I>{escape(fmt.plain(names[e.source]))}</I>"
                body.append(f"  {start} [label=<{label}> {KINDS['reference'][1]}]")
        body.append(_edge(e, start, edges, straight=e.source in made))
    return "\n".join([*lines, *body, "}"]) + "\n"


def _layers(r: Records) -> dict[str, int]:
    """About where Graphviz will place each value: one layer after its operands; what has none, right before its first use."""
    operands: dict[str, list[str]] = {v.id: [] for v in r.values}
    first: dict[str, int] = {}
    layers: dict[str, int] = {}
    for e in r.edges:
        operands[e.target].append(e.source)
    for v in r.values:
        layers[v.id] = 1 + max((layers[source] for source in operands[v.id]), default=0)
        for source in operands[v.id]:
            first[source] = min(first.get(source, layers[v.id]), layers[v.id])
    return {key: layer if operands[key] else first.get(key, 1) - 1 for key, layer in layers.items()}


# Boxes
def _node(v: Value) -> str:
    name = f"<B>{escape(fmt.plain(v.name))}</B>" if v.name else ""
    if v.kind == "constant":
        return f"  {v.id} [label=<{_small(v.value, v.shape)}> {KINDS[v.kind][1]} tooltip={_quote('constant')}]"
    symbol = fmt.SYMBOLS.get(v.op, "")
    made = escape(" ".join(part for part in (symbol, v.op, v.asked) if part))
    head = f"{name} &#160; {made}" if name and made else name or (f"<B>{made}</B>" if made else v.kind)
    table = [f'<TR><TD ALIGN="LEFT" COLSPAN="2">{head}</TD></TR>']
    faint = [v.gate] if v.gate else []
    if v.shape:
        faint.append(f"{fmt.shape(v.shape)} {v.dtype}")
    table += [
        f'<TR><TD ALIGN="LEFT" COLSPAN="2"><FONT POINT-SIZE="9" COLOR="{FAINT}">{escape(t)}</FONT></TD></TR>' for t in faint
    ]
    table.append("<HR/>")
    table.append(_row("value now" if v.later else "value", v.value, FORWARD))
    if v.gradient is not None:
        table.append(_row("gradient", v.gradient, BACKWARD))
    if v.accumulated is not None:
        table.append(_row(".grad", v.accumulated, BACKWARD))
    inside = "".join(table)
    label = f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">{inside}</TABLE>>'
    return f"  {v.id} [label={label} {KINDS[v.kind][1]} tooltip={_quote(_tip(v))}]"


def _row(label: str, array: Array | None, colour: str) -> str:
    side = "TOP" if array is not None and array.ndim else "BOTTOM"
    return (
        f'<TR><TD ALIGN="LEFT" VALIGN="{side}"><FONT COLOR="{colour}">{label}&#160;</FONT></TD>'
        f'<TD ALIGN="RIGHT">{_cell(array, colour)}</TD></TR>'
    )


def _cell(array: Array | None, colour: str) -> str:
    """A value inside a box: in full if it is small, else in summary."""
    if array is None:
        return f'<FONT POINT-SIZE="9" COLOR="{FAINT}"><I>not kept: mg.inspect()</I></FONT>'
    if array.ndim == 0:
        return f'<FONT COLOR="{colour}"><B>{escape(fmt.number(array[()]))}</B></FONT>'
    if fmt.is_small(array):
        return _matrix(fmt.rows(array), colour)
    told = "".join(
        f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{FAINT}">{escape(label)}</FONT></TD>'
        f'<TD ALIGN="RIGHT"><FONT POINT-SIZE="10" COLOR="{colour}">{escape(text)}</FONT></TD></TR>'
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
    parts = [f"{v.op}: {v.math}" if v.math else v.op or v.kind, ".".join(v.scope), v.where]
    return ", ".join(p for p in parts if p)


# Arrows
def _edge(e: Edge, start: str, show: Edges, straight: bool) -> str:
    told = []
    if show in ("contribution", "both") and e.contribution is not None:
        told.append(_flow(e.contribution))
    if show in ("local", "both") and e.local is not None:
        told.append(f'<FONT COLOR="{INK}">local {_flow(e.local)}</FONT>')
    label = "<BR/>".join(f"&#160;{text}&#160;" for text in told)  # clear of the arrow's line
    attributes = [f"label=<{label}>"] if label else []
    attributes += ["weight=4"] if straight else []
    if e.rule:
        attributes.append(f"tooltip={_quote(f'operand {e.operand + 1}: {e.rule}')}")
    return f"  {start} -> {e.target}" + (f" [{' '.join(attributes)}]" if attributes else "")


def _flow(array: Array) -> str:
    if array.ndim == 0:
        return escape(fmt.number(array[()]))
    return escape(fmt.line(array)) if array.ndim <= 2 and 0 < array.size <= 3 else f"norm {escape(fmt.norm(array))}"


def _about(r: Records, title: str, legend: bool, references: bool) -> str:
    """The graph's label: title, legend, what could not be shown. A label of its own for the title would take a cluster, in which
    Graphviz does not keep operands in their order.
    """
    rows = []
    if title:
        rows.append(f'<FONT POINT-SIZE="14"><B>{escape(fmt.plain(title, 200))}</B></FONT>')
    if legend:
        kinds = [kind for kind in LEGEND if (references and kind == "reference") or any(v.kind == kind for v in r.values)]
        told = {kind: "<I>name</I>: " * (kind == "reference") + KINDS[kind][0] for kind in kinds}
        cells = [f'<TABLE CELLPADDING="3" {LEGEND[kind]}><TR><TD>{told[kind]}</TD></TR></TABLE>' for kind in kinds]
        cells.append(f'<FONT COLOR="{FORWARD}">value</FONT>')
        if r.differentiated:
            cells.append(f'<FONT COLOR="{BACKWARD}">gradient; on an arrow: what flows back along it</FONT>')
        row = "".join(f"<TD>{cell}</TD>" for cell in cells)
        rows.append(f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4"><TR>{row}</TR></TABLE>')
    if r.note:
        rows.append(f'<FONT COLOR="{BACKWARD}">{escape(fmt.plain(r.note, 400))}</FONT>')
    if not rows:
        return '""'
    gap = '<TR><TD HEIGHT="12"></TD></TR>'
    inside = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    return f'<<TABLE BORDER="0" CELLSPACING="0">{inside + gap if title else gap + inside}</TABLE>>'


def _quote(text: str) -> str:
    return '"' + fmt.plain(text, 400).replace("\\", "\\\\").replace('"', '\\"') + '"'


# Rendering
_one_at_a_time = threading.Lock()


def render(dot: str, kind: Literal["svg", "png", "pdf"]) -> bytes:
    """Render DOT text with the Graphviz that pygraphviz carries or, without it, with the ``dot`` program.

    Raises:
        ImportError: if there is neither.
    """
    try:
        import pygraphviz
    except ImportError:
        pygraphviz = None
    if pygraphviz is not None:
        said: list[str] = []
        with _one_at_a_time, _listening(said):  # Graphviz as a library keeps global state, and reports errors on stderr
            graph = pygraphviz.AGraph(string=dot)
            try:
                image = bytes(graph.draw(format=kind, prog="dot"))
            finally:
                graph.close()
        if any(line.startswith("Error") for line in said):
            raise RuntimeError(f"Graphviz failed: {' '.join(said)}")
        if said:  # advice of Graphviz, or what another thread wrote
            print(*said, sep="\n", file=sys.stderr)
        return image
    program = shutil.which("dot")
    if program is None:
        raise ImportError("drawing needs Graphviz: pip install 'minigrad[viz]' brings it (the text in .source needs nothing)")
    done = subprocess.run([program, f"-T{kind}"], input=dot.encode(), capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"dot failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


@contextmanager
def _listening(said: list[str]) -> Iterator[None]:
    """Collect the lines that C libraries write to stderr, but for what Fontconfig finds unusual in the machine's font files."""
    try:
        sys.stderr.flush()
        before = os.dup(2)
    except (OSError, AttributeError, ValueError):  # no stderr (pythonw)
        yield
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            caught.seek(0)
            lines = caught.read().decode(errors="replace").splitlines()
            said += [line for line in lines if line and not line.startswith("Fontconfig warning")]


def write(path: Path, content: bytes) -> None:
    """Write a file that is never seen half written: a temporary one beside it, renamed when complete."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's files are for the owner only
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
