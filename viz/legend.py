"""What stands above or below a drawing: its title, what the boxes and arrows mean, and what could not be shown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from minigrad.viz import format as fmt
from minigrad.viz.boxes import ARROWS, BACKWARD, FORWARD, INK, KINDS, LINE, Look, tone
from minigrad.viz.format import escape
from minigrad.viz.frames import TIMES, carried
from minigrad.viz.records import Records

LEGEND = {
    "input": 'BORDER="1" CELLBORDER="0" CELLSPACING="0" STYLE="ROUNDED" BGCOLOR="#E3F1FA"',
    "parameter": 'BORDER="1" CELLBORDER="1" CELLSPACING="2" BGCOLOR="#FFF3D6"',
    "frozen": f'BORDER="1" CELLBORDER="1" CELLSPACING="2" STYLE="DASHED" COLOR="{INK}" BGCOLOR="#F4F4F4"',
    "constant": f'BORDER="1" CELLBORDER="0" CELLSPACING="0" STYLE="DASHED" COLOR="{LINE}"',
    "op": 'BORDER="1" CELLBORDER="0" CELLSPACING="0"',
    "reference": f'BORDER="1" CELLBORDER="0" CELLSPACING="0" STYLE="ROUNDED,DOTTED" COLOR="{LINE}"',
    "output": 'BORDER="3" CELLBORDER="0" CELLSPACING="0" BGCOLOR="#F0F0F0"',
}  # fmt: skip
"""The boxes of ``boxes.KINDS``, as tables can be drawn."""
STACK = 'BORDER="1" CELLBORDER="1" CELLSPACING="2"'
FOLDED = {
    "module": ("folded module", 'BORDER="2" CELLBORDER="0" CELLSPACING="0" BGCOLOR="#E9E4F2"'),
    "repeat": ("equal pieces, folded", f'{STACK} BGCOLOR="#E9E4F2"'),
    "loop": ("time steps, folded", f'{STACK} BGCOLOR="#DDF1EA"'),
    "chain": ("chain of operations", 'BORDER="2" CELLBORDER="0" CELLSPACING="0" BGCOLOR="#EFEFEF"'),
    "block": ("operations, folded", f'BORDER="2" CELLBORDER="0" CELLSPACING="0" STYLE="DASHED" COLOR="{INK}" BGCOLOR="#EFEFEF"'),
    "op": (f"{TIMES}n: n of them", 'BORDER="1" CELLBORDER="0" CELLSPACING="0"'),
    "leaves": ("several parameters", f'{STACK} BGCOLOR="#FFF3D6"'),
    "constants": ("several arrays", 'BORDER="1" CELLBORDER="0" CELLSPACING="0" STYLE="ROUNDED" BGCOLOR="#E3F1FA"'),
}  # fmt: skip
"""The boxes of ``frames.BOXES``: what they stand for, and how tables are drawn like them."""
FRAMED = {
    "module": ("frame: module", f'BORDER="1" CELLBORDER="0" CELLSPACING="0" STYLE="ROUNDED" COLOR="{LINE}" BGCOLOR="#F4F4F4"'),
    "repeat": (f"frame {TIMES}n: equal pieces, one shown", f'BORDER="2" CELLBORDER="0" CELLSPACING="0" STYLE="ROUNDED" COLOR="{INK}" BGCOLOR="#F6F3FA"'),
    "loop": (f"frame {TIMES}n: time steps, one shown", f'BORDER="2" CELLBORDER="0" CELLSPACING="0" STYLE="ROUNDED" COLOR="{FORWARD}" BGCOLOR="#F2FAF7"'),
}  # fmt: skip
"""The frames of ``frames.FRAMES``, likewise."""
ABREAST = 8
"""So many samples stand in one row."""
SLACK = 40
"""Columns on either side of a row, over which Graphviz spreads the width that it does not need."""
DASHES = {"solid": (24,), "dashed": (6, 3, 6, 3, 6), "dotted": (2, 3, 2, 3, 2, 3, 2, 3, 2)}
"""Lines, as tables can be drawn: the widths of ink and gap in turn."""


def about(r: Records, look: Look, references: bool) -> str:
    """The graph's label: title, legend, what could not be shown. A label of its own for the title would take a cluster, in which
    Graphviz does not keep operands in their order.
    """
    rows = []
    if look.title:
        rows.append(f'<FONT POINT-SIZE="14"><B>{escape(fmt.plain(look.title, 200))}</B></FONT>')
    if look.legend:
        kinds, folds = _boxes(r, look, references), _folds(r)
        first = [kinds + folds] if len(kinds + folds) <= ABREAST else [kinds, folds]
        rows += [_side_by_side(cells) for cells in (*first, _arrows(r, look)) if cells]
    if r.note:
        note = "<BR/>".join(map(escape, textwrap.wrap(fmt.plain(r.note, 600), 110)))
        rows.append(f'<FONT COLOR="{BACKWARD}">{note}</FONT>')
    if not rows:
        return '""'
    gap = '<TR><TD HEIGHT="12"></TD></TR>'
    inside = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    return f'<<TABLE BORDER="0" CELLSPACING="0">{inside + gap if look.title else gap + inside}</TABLE>>'


def _boxes(r: Records, look: Look, references: bool) -> list[str]:
    kinds = [kind for kind in LEGEND if (references and kind == "reference") or any(v.kind == kind for v in r.values)]
    told = {kind: "<I>name</I>: " * (kind == "reference") + KINDS[kind][0] for kind in kinds}
    cells = [f'<TABLE CELLPADDING="3" {LEGEND[kind]}><TR><TD>{told[kind]}</TD></TR></TABLE>' for kind in kinds]
    if look.flow != "backward" and "value" in look.show:
        cells.append(f'<FONT COLOR="{FORWARD}">value</FONT>')
    if r.differentiated and "gradient" in look.show:
        cells.append(f'<FONT COLOR="{BACKWARD}">gradient</FONT>')
    return cells


def _folds(r: Records) -> list[str]:
    """What folded boxes, frames and the arrows of loops mean."""
    told = [
        f'<TABLE CELLPADDING="3" {look}><TR><TD>{text}</TD></TR></TABLE>'
        for framed, table in ((False, FOLDED), (True, FRAMED))
        for kind, (text, look) in table.items()
        if any(g.kind == kind and g.frame == framed for g in r.groups)
    ]
    return told + [_ruled([(24,)], FORWARD), "handed to the next"] * any(b.lag for b in r.bundles)


def _arrows(r: Records, look: Look) -> list[str]:
    found = {tone(e.contribution) for e in r.edges} | {carried(b) for b in r.bundles}
    found -= {""}
    if not found:
        return []
    cells = []
    for kind, (text, _, _) in ARROWS.items():
        cells += [_line(kind), text] if kind in found else []
    wider = "; the wider, the larger" if found - {"zero", "nonfinite"} and len(r.edges) + len(r.bundles) > 1 else ""
    return [f'<FONT COLOR="{BACKWARD}">what flows back along an arrow{wider}:</FONT>', *cells]


def _line(kind: str) -> str:
    """A sample of an arrow's line."""
    _, colour, style = ARROWS[kind]
    return _ruled([DASHES[style]] * (1 + colour.count(":")), colour.partition(":")[0])  # a list of colours: a double line


def _ruled(lines: Iterable[tuple[int, ...]], ink: str) -> str:
    """Lines above each other: cells of ink, and of nothing."""
    rows = []
    for widths in lines:
        cells = (
            f'<TD FIXEDSIZE="TRUE" WIDTH="{n}" HEIGHT="2"' + (f' BGCOLOR="{ink}"' if i % 2 == 0 else "") + "></TD>"
            for i, n in enumerate(widths)
        )
        rows.append(f"<TR>{''.join(cells)}</TR>")
    gap = '<TR><TD HEIGHT="2"></TD></TR>'
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{gap.join(rows)}</TABLE>'


def _side_by_side(cells: list[str]) -> str:
    slack = f'<TD COLSPAN="{SLACK}" CELLPADDING="0"></TD>'
    inside = slack + "".join(f"<TD>{cell}</TD>" for cell in cells) + slack
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4"><TR>{inside}</TR></TABLE>'
