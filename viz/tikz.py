r"""A drawing as a LaTeX document: Graphviz's own layout, drawing operation by drawing operation, in TikZ.

Text stays text, in LaTeX's fonts. Every box is also a TikZ node under its id (n0, n1, ...; the comment above tells its name), so that
``\draw[->] (n3) -- ...`` can annotate the figure. What is not in pdfLaTeX's fonts is written as its code point, [U+4E2D].
"""

from __future__ import annotations

import json
import re
from typing import Any

PREAMBLE = r"""\documentclass{article}
\usepackage[margin=0pt, paperwidth=%.2fbp, paperheight=%.2fbp]{geometry}
\usepackage{tikz}
\pagestyle{empty}
\setlength{\parindent}{0pt}
\setlength{\topskip}{0pt}
%% Text as wide as Graphviz made room for: {width}{x, y}{font size}{colour}{text}
\newcommand{\say}[5]{\node[anchor=base west, inner sep=0pt, outer sep=0pt, text=#4] at (#2)
  {\resizebox{#1bp}{\height}{\fontsize{#3}{#3}\selectfont #5}};}
"""
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": "$<$", ">": "$>$", "|": "$|$", '"": ': "", '"': "''",
    "`": r"\textasciigrave{}", "\N{HORIZONTAL ELLIPSIS}": r"\dots{}", "\N{MINUS SIGN}": "$-$", "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{N-ARY SUMMATION}": r"$\textstyle\sum$", "\N{SQUARE ROOT}": r"$\surd$", "\N{BALLOT X}": r"$\times$", "\N{NO-BREAK SPACE}": "~",
    "\N{RIGHTWARDS ARROW}": r"$\to$", "\N{MIDDLE DOT}": r"$\cdot$", "\N{INFINITY}": r"$\infty$", "\N{NABLA}": r"$\nabla$",
    "\N{PARTIAL DIFFERENTIAL}": r"$\partial$", "\N{CLOCKWISE OPEN CIRCLE ARROW}": r"$\hookrightarrow$",
}  # fmt: skip
GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi - pi rho - sigma tau upsilon phi chi psi omega"
)
CAPITALS = "- - Gamma Delta - - - Theta - - Lambda - - Xi - Pi - - Sigma - - Phi - Psi Omega"
for _first, _names in (("\N{GREEK SMALL LETTER ALPHA}", GREEK), ("\N{GREEK CAPITAL LETTER ALPHA}", CAPITALS)):
    SPECIAL |= {chr(ord(_first) + i): f"$\\{name}$" for i, name in enumerate(_names.split()) if name != "-"}
SHIFT = {"l": 0.0, "c": 0.5, "r": 1.0}
"""By how much of its width a text begins to the left of its point."""
MARGIN = 4
"""Around the figure, in points."""
LARGEST = 14_000
"""A longer picture is made that long, in points: TeX knows no length beyond 16,383."""
BOLD, ITALIC = 1, 2
"""Bits of a font's characteristics, as Graphviz tells them."""
BORDER = re.compile(r"""STYLE="(ROUNDED,)?(DASHED|DOTTED)" COLOR="(#[0-9A-F]{6})\"""")
HINTS = {"DASHED": "FE", "DOTTED": "FD"}
"""Graphviz 14 reads on past the end of its memory when it writes such a border of a table as JSON. What is all but opaque stands
for it there."""


def escape(text: str) -> str:
    r"""Text as LaTeX prints it: nothing in it is a command.

    Example:
        >>> print(escape("w_1 (100%) -2"))
        w\_1 (100\%) $-$2
    """
    told = "".join(SPECIAL.get(c, c if c.isascii() or "\u00c0" <= c <= "\u017e" else f"[U+{ord(c):04X}]") for c in text)
    return re.sub(r"(?<![\w$])-(?=\d)", "$-$", told).replace("--", "-{}-")


def hinted(dot: str) -> str:
    """DOT text that Graphviz can lay out and write as JSON: a border's dashes as a hint in its colour."""
    return BORDER.sub(lambda found: f'STYLE="{"ROUNDED" if found[1] else "SOLID"}" COLOR="{found[3]}{HINTS[found[2]]}"', dot)


def document(layout: bytes) -> str:
    """A standalone LaTeX document of a laid-out graph, as Graphviz writes it in JSON with its drawing operations."""
    graph = json.loads(layout)
    longest = max(float(x) for x in graph["bb"].split(",")[2:])
    graph = _scaled(graph, min(1.0, LARGEST / longest))
    paint = _Painter()
    width, height = (float(x) for x in graph["bb"].split(",")[2:])
    lines = [
        f"\\useasboundingbox ({-MARGIN}, {-MARGIN}) rectangle ({width + MARGIN:.2f}, {height + MARGIN:.2f});",
        *paint.all(graph, "_draw_"),
    ]
    boxes = graph.get("objects", [])
    for box in sorted(boxes, key=lambda box: "nodes" not in box):  # clusters lie under what they hold
        lines += [f"% {box['name']}{_told(box)}", *paint.all(box, "_draw_", "_ldraw_")]
        if "pos" in box:
            size = f"minimum width={72 * float(box['width']):.2f}bp, minimum height={72 * float(box['height']):.2f}bp"
            lines.append(f"\\node[inner sep=0pt, {size}] ({box['name']}) at ({_at(map(float, box['pos'].split(',')))}) {{}};")
    names = {box["_gvid"]: box["name"] for box in boxes}
    for edge in graph.get("edges", []):
        told = f"% {names[edge['tail']]} -> {names[edge['head']]}"
        lines += [told, *paint.all(edge, "_draw_", "_tdraw_", "_hdraw_", "_ldraw_")]
    lines += paint.all(graph, "_ldraw_")
    colours = [f"\\definecolor{{{name}}}{{HTML}}{{{code}}}" for code, name in paint.colours.items()]
    body = [
        "\\begin{tikzpicture}[x=1bp, y=1bp, line width=1bp, line join=round]",
        *lines,
        "\\end{tikzpicture}",
    ]
    head = PREAMBLE % (width + 2 * MARGIN + 3, height + 2 * MARGIN + 3)
    return "\n".join([head + "\n".join(colours), "\\begin{document}", "\\sffamily", *body, "\\end{document}"]) + "\n"


def _scaled(thing: Any, k: float, key: str = "") -> Any:
    """A layout with every length in it times ``k``."""
    if k == 1:
        return thing
    if isinstance(thing, dict):
        return {name: _scaled(value, k, name) for name, value in thing.items()}
    if isinstance(thing, list):
        return [_scaled(value, k, key) for value in thing]
    if key in ("pt", "points", "rect", "size", "width") and not isinstance(thing, str):
        return thing * k
    if key == "style":
        return re.sub(r"(?<=setlinewidth\()[\d.]+", lambda found: f"{float(found[0]) * k:.4g}", thing)
    if key in ("pos", "bb", "width", "height"):
        return re.sub(r"-?[\d.]+(e[-+]\d+)?", lambda found: f"{float(found[0]) * k:.4f}", thing)
    return thing


def _told(box: dict[str, Any]) -> str:
    """What a box says first, for the reader of the source."""
    texts = [op["text"] for op in box.get("_ldraw_", []) if op["op"] == "T"]
    return f": {' '.join(texts[0].split())}" if texts else ""


class _Painter:
    """Graphviz's drawing operations (its documentation calls them xdot) as TikZ commands.

    Attributes:
        colours: the names of the colours used, by their hexadecimal code.
    """

    def __init__(self) -> None:
        self.colours: dict[str, str] = {}

    def all(self, thing: dict[str, Any], *keys: str) -> list[str]:
        return [line for key in keys for line in self._some(thing.get(key, []))]

    def _some(self, operations: list[dict[str, Any]]) -> list[str]:
        pen, fill, style, font, bits = "000000", "FFFFFF", "", 11.0, 0
        lines: list[str] = []
        for op in operations:
            kind = op["op"]
            if kind == "c":
                pen = op.get("color", "#000000")
            elif kind == "C":
                fill = op.get("color", "#FFFFFF")
            elif kind == "S":
                style = _style(style, op["style"])
            elif kind == "F":
                font = op["size"]
            elif kind == "t":
                bits = op["fontchar"]
            elif kind == "T":
                lines += self._text(op, font, bits, pen)
            elif kind in PATHS:
                lines += self._path(kind, op, pen, fill, style)
        return lines

    def _text(self, op: dict[str, Any], size: float, bits: int, colour: str) -> list[str]:
        text, (x, y), wide = op["text"], op["pt"], op["width"]
        x -= SHIFT[op["align"]] * wide
        bare = text.strip("\N{NO-BREAK SPACE} ")
        if not bare:
            return []
        x += wide * text.index(bare) / len(text)  # spaces at the ends are about as wide as letters are on average
        wide *= len(bare) / len(text)
        told = ("\\bfseries " if bits & BOLD else "") + ("\\itshape " if bits & ITALIC else "") + escape(bare)
        return [f"\\say{{{wide:.2f}}}{{{_at((x, y))}}}{{{size:g}}}{{{self._colour(colour)}}}{{{told}}}"]

    def _path(self, kind: str, op: dict[str, Any], pen: str, fill: str, style: str) -> list[str]:
        if kind in "eE":
            x, y, a, b = op["rect"]
            drawn = f"({_at((x, y))}) ellipse [x radius={a:.2f}, y radius={b:.2f}]"
        else:
            points = [f"({_at(point)})" for point in op["points"]]
            drawn = PATHS[kind](points)
        options = [
            option for option in (self._ink("draw", pen), self._ink("fill", fill) if kind in "EPB" else "", style) if option
        ]
        return [f"\\path[{', '.join(options)}] {drawn};"] if len(options) > bool(style) else []

    def _ink(self, what: str, colour: str) -> str:
        """A colour as an option; the last two of eight digits say how much of what lies below shines through."""
        alpha = colour[7:9].upper() or "FF" if colour.startswith("#") else "00"  # "transparent"
        if alpha == "00":
            return ""
        more = {"FF": "", "FE": f", {DASHES['dashed']}", "FD": f", {DASHES['dotted']}"}
        return f"{what}={self._colour(colour)}" + more.get(alpha, f", {what} opacity={int(alpha, 16) / 255:.3f}")

    def _colour(self, code: str) -> str:
        return self.colours.setdefault(code.lstrip("#")[:6].upper(), f"c{len(self.colours)}")


def _bezier(points: list[str]) -> str:
    steps = (f" .. controls {a} and {b} .. {c}" for a, b, c in zip(points[1::3], points[2::3], points[3::3]))
    return points[0] + "".join(steps)


def _polygon(points: list[str]) -> str:
    return " -- ".join(points) + " -- cycle"


PATHS: dict[str, Any] = {"p": _polygon, "P": _polygon, "b": _bezier, "B": _bezier, "L": " -- ".join, "e": None, "E": None}


DASHES = {"dashed": "dash pattern=on 6bp off 4bp", "dotted": "dash pattern=on 1bp off 3bp"}


def _style(style: str, more: str) -> str:
    """The options after one more of Graphviz's style words."""
    wide = re.fullmatch(r"setlinewidth\(([\d.]+)\)", more)
    kept = [o for o in style.split(", ") if o and o.startswith("dash") is bool(wide)]
    new = f"line width={wide[1]}bp" if wide else DASHES.get(more, "")
    return ", ".join([*kept, new] if new else kept)


def _at(point: Any) -> str:
    return ", ".join(f"{x:.2f}" for x in point)
