"""A drawing as a Mermaid flowchart: the DOT text that :mod:`minigrad.viz.dot` writes, statement by statement.

Mermaid has no tables inside boxes, so rows of numbers become lines of text, and pictures of arrays their smallest and largest values.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

SHAPES = {
    "input": ("([", "])"), "parameter": ("[[", "]]"), "frozen": ("[[", "]]"), "constant": ("(", ")"), "reference": ("(", ")"),
}  # fmt: skip
"""The brackets that make a box's shape; of all others, a rectangle."""
TOKEN = re.compile(r"""\s*([\w.]+)\s*=\s*(<|"(?:[^"\\]|\\.)*"|[^\s\]]+)""")
STATEMENT = re.compile(r"\s*(\w+)(?: -> (\w+))?(?: \[(.*)\])?\s*;?\s*")
BRACKET = re.compile("[<>]")
EMPTY = re.compile(r"<TD[^>]*></TD>")
"""A cell of a heat map, of which nothing can be said in a line."""
DASHES = {"dashed": "stroke-dasharray:6 4", "dotted": "stroke-dasharray:2 4"}
INK = "#1A1A1A"


def translate(dot: str) -> str:
    r"""The Mermaid text of a drawing's DOT text.

    Example:
        >>> print(translate('digraph g {\n  graph [rankdir=TB]\n  a [label="x" class="input"]\n  a -> b [label=<2>]\n}'))
        flowchart TB
          a(["x"]):::input
          a -->|"2"| b
          classDef input stroke:#1A1A1A,color:#1A1A1A
    """
    chart = _Chart()
    for line in _statements(dot):
        if opened := re.match(r"\s*subgraph (\w+) \{", line):
            chart.open(opened[1])
        elif line.strip() == "}":
            chart.close()
        elif found := STATEMENT.fullmatch(line):
            name, target, given = found[1], found[2], _attributes(found[3] or "")
            if target is not None:
                chart.arrow(name, target, given)
            elif name == "graph":
                chart.graph(given)
            elif name not in ("node", "edge"):
                chart.box(name, given)
    return str(chart)


class _Chart:
    """A flowchart as it grows."""

    def __init__(self) -> None:
        self.title, self.rankdir, self.depth = "", "LR", 1
        self.boxes: list[str] = []
        self.arrows: list[str] = []
        self.classes: dict[str, str] = {}
        self.styles: list[str] = []

    def open(self, name: str) -> None:
        self.boxes.append("  " * self.depth + f'subgraph {name}[" "]')
        self.depth += 1

    def close(self) -> None:
        self.depth -= 1
        self.boxes += ["  " * self.depth + "end"] if self.depth else []  # the last brace closes the graph

    def graph(self, given: dict[str, str]) -> None:
        """The attributes of the graph, or of the frame that was opened last."""
        self.rankdir = given.get("rankdir", self.rankdir)
        if self.depth > 1 and "label" in given:
            self.boxes[-1] = self.boxes[-1].replace('[" "]', f'["{_label(given["label"])}"]')
        elif "label" in given:
            self.title = _heading(given["label"])

    def box(self, name: str, given: dict[str, str]) -> None:
        kind = given.get("class", "box")
        left, right = SHAPES.get(kind, ("[", "]"))
        self.boxes.append("  " * self.depth + f'{name}{left}"{_label(given.get("label", name))}"{right}:::{kind}')
        self.classes.setdefault(kind, _style(given))

    def arrow(self, start: str, end: str, given: dict[str, str]) -> None:
        start, end = (end, start) if given.get("dir") == "back" else (start, end)
        if style := _line(given):
            self.styles.append(f"  linkStyle {len(self.arrows)} {style}")
        label = _label(given.get("label", ""))
        self.arrows.append(f'  {start} -->|"{label}"| {end}' if label else f"  {start} --> {end}")

    def __str__(self) -> str:
        title = [f"---\ntitle: {_yaml(self.title)}\n---"] if self.title else []
        defined = [f"  classDef {kind} {style}" for kind, style in self.classes.items()]
        return "\n".join([*title, f"flowchart {self.rankdir}", *self.boxes, *self.arrows, *defined, *self.styles])


# Reading DOT
def _statements(dot: str) -> Iterator[str]:
    """The statements between the outer braces; those on several lines as one."""
    text = ""
    for line in dot.splitlines()[1:]:
        text = f"{text} {line.strip()}" if text else line
        if text.rstrip().endswith("]") or "[" not in text:
            yield text
            text = ""


def _attributes(text: str) -> dict[str, str]:
    """``key=value`` pairs; a value between angle brackets keeps them."""
    given, at = {}, 0
    while found := TOKEN.match(text, at):
        value, at = found[2], found.end()
        if value == "<":
            depth, start = 0, found.start(2)
            for bracket in BRACKET.finditer(text, start):
                depth += 1 if bracket[0] == "<" else -1
                if not depth:
                    break
            at = bracket.end()
            value = text[start:at]
        elif value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        given[found[1]] = value
    return given


def _tree(label: str) -> ET.Element:
    return ET.fromstring(f"<LABEL>{EMPTY.sub('', label[1:-1])}</LABEL>")  # noqa: S314 (our own text)


def lines(element: ET.Element) -> list[str]:
    """What a label says, line by line: the rows of a table, the cells of a row side by side where they are of one line."""
    if element.tag == "TR":
        cells = [lines(cell) for cell in element if cell.tag == "TD"]
        told = [cell for cell in cells if cell]
        if not told:
            return []
        first, *rest = told
        tail = [line for cell in rest for line in cell]
        if any(line[0].isalpha() and " " in line for line in tail):  # a summary: label and number in each row
            return [f"{first[-1]} {', '.join(tail)}"]
        return [" ".join([first[-1], *tail])] if all(len(cell) == 1 for cell in rest) else [first[-1], *tail]
    if any(child.tag == "TR" for child in element):
        return [line for row in element if row.tag == "TR" for line in lines(row)]
    nested = [line for child in element if child.tag in ("TABLE", "LABEL") for line in lines(child)]
    if nested:
        return nested
    text = "".join(_text(element))
    return [" ".join(line.split()) for line in text.split("\n") if line.strip()]


def _text(element: ET.Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        yield "\n" if child.tag == "BR" else ""
        yield from _text(child)
        yield child.tail or ""


# Writing Mermaid
def escape(text: str) -> str:
    """Text between Mermaid's quotes: its entity codes for what ends them, starts a tag, or is Markdown.

    Example:
        >>> escape('a "b" <c>')
        'a #34;b#34; #60;c#62;'
    """
    text = re.sub(r"""["#<>&`;*+|~\\]""", lambda found: f"#{ord(found[0])};", text)
    return re.sub(r"^(\d+)\.(?=\s|$)", r"\1#46;", re.sub(r"^-(?=\s)", "#45;", text))


def _label(label: str) -> str:
    if not label.startswith("<"):
        return escape(label)
    tree = _tree(label)
    told = [escape(line) for line in lines(tree)]
    if told and tree.find("TABLE") is not None:
        told[0] = f"<b>{told[0]}</b>"
    return "<br/>".join(told)


def _heading(label: str) -> str:
    """A drawing's title: what its label says in large letters."""
    tree = _tree(label) if label.startswith("<") else None
    large = [] if tree is None else [font for font in tree.iter("FONT") if font.get("POINT-SIZE") == "14"]
    return "".join(_text(large[0])) if large else ""


def _yaml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _style(given: dict[str, str]) -> str:
    """How Mermaid draws the border that DOT's attributes describe."""
    styles = given.get("style", "").split(",")
    told = [f"fill:{given['fillcolor']}"] if "fillcolor" in given else []
    told.append(f"stroke:{given.get('color', INK)}")
    told += [f"stroke-width:{given['penwidth']}px"] if "penwidth" in given else []
    told += [DASHES[style] for style in styles if style in DASHES]
    return ",".join([*told, f"color:{INK}"])


def _line(given: dict[str, str]) -> str:
    if "penwidth" not in given and given.get("style") not in DASHES:
        return ""
    told = [f"stroke:{given['color'].partition(':')[0]}"] if "color" in given else []
    told += [f"stroke-width:{given['penwidth']}px"] if "penwidth" in given else []
    told += [DASHES[given["style"]]] if given.get("style") in DASHES else []
    return ",".join(told)
