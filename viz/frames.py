"""What a folded drawing says: boxes that stand for many nodes, frames around modules and repeats, bundles of arrows, in DOT."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from minigrad.viz import format as fmt
from minigrad.viz.boxes import ARROWS, BACKWARD, CLEAR, FAINT, FORWARD, INK, LINE, Look, quote, tone, width
from minigrad.viz.format import escape
from minigrad.viz.records import Bundle, Group, Records

TIMES, ROUND, TO = "\N{MULTIPLICATION SIGN}", "\N{CLOCKWISE OPEN CIRCLE ARROW}", "\N{RIGHTWARDS ARROW}"
STACK = "peripheries=2 penwidth=1.2"
BOXES = {
    "module": f'style="filled" fillcolor="#E9E4F2" color="{INK}" penwidth=1.4',
    "loop": f'style="filled" fillcolor="#DDF1EA" color="{INK}" {STACK}',
    "repeat": f'style="filled" fillcolor="#E9E4F2" color="{INK}" {STACK}',
    "chain": f'style="filled" fillcolor="#EFEFEF" color="{INK}" penwidth=1.4',
    "block": f'style="filled,dashed" fillcolor="#EFEFEF" color="{INK}" penwidth=1.4',
    "op": f'style="filled" fillcolor="#FFFFFF" color="{INK}"',
    "leaves": f'style="filled" fillcolor="#FFF3D6" color="{INK}" {STACK}',
    "constants": f'style="rounded,filled" fillcolor="#E3F1FA" color="{INK}"',
}
"""How a box that stands for many is drawn."""
FRAMES = {
    "loop": f'style="rounded,filled" fillcolor="#F2FAF7" color="{FORWARD}" penwidth=2',
    "repeat": f'style="rounded,filled" fillcolor="#F6F3FA" color="{INK}" penwidth=1.6',
    "module": f'style="rounded,filled" fillcolor="#00000008" color="{LINE}" penwidth=1',
}
LOOP = f'color="{FORWARD}" fontcolor="{FORWARD}" penwidth=2 constraint=false'
LETTER, CLEARANCE = 5.8, 20
"""About the width of a letter of a frame's name, and what keeps the name clear of the arrow that enters, in points."""
MADE = 3
"""How many kinds of operations a box lists."""


# Words
def words(g: Group) -> tuple[str, str]:
    """What a group is called: a name, and what it is.

    Example:
        >>> from minigrad.viz.fold import folded
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> words(folded(nn.Linear(2, 1)(mg.ones((3, 2))), depth=0).groups[0])
        ('Linear', '')
    """
    times = f" {TIMES}{g.repeat:,}" if g.repeat > 1 else ""
    if g.kind in ("chain", "block") and len(g.made) == 1:
        return f"{g.made[0][0]} {TIMES}{g.operations:,}", "chain" * (g.kind == "chain")
    if g.kind in ("chain", "block"):
        return f"{'chain of ' * (g.kind == 'chain')}{g.operations:,} operations{times}", ""
    if g.kind == "op":
        return f"{fmt.SYMBOLS.get(g.name, '')} {g.name}".strip() + times, ""
    if g.kind == "leaves":
        many = f"{g.leaves:,} {'parameters' if g.parameters else 'inputs'}"
        return (f"{g.name or ('parameter' if g.parameters else 'input')}{times}", "") if g.repeat > 1 else (many, g.name)
    if g.kind == "constants":
        return f"{g.leaves:,} arrays", ""
    if not g.type:
        only = g.made[0][0] if len(g.made) == 1 and not g.frame else ""
        step = g.operations // g.repeat
        return (
            f"{only}{times}".strip(),
            "" if only else f"{'time ' if g.kind == 'loop' else ''}steps" if g.frame else f"of {step:,} operations",
        )
    return g.name + times, g.type if g.type != g.name else ""


def counts(g: Group) -> list[str]:
    """How much is inside."""
    told = []
    if g.operations and g.kind not in ("op", "chain", "block"):
        told.append(f"{g.operations:,} op{'s' * (g.operations > 1)}")
    if g.parameters:
        told.append(f"{g.parameters:,} parameter{'s' * (g.parameters > 1)}")
    return told


def _made(g: Group) -> str:
    listed = ", ".join(f"{name} {TIMES}{n:,}" for name, n in g.made[:MADE])
    return listed + ", \N{HORIZONTAL ELLIPSIS}" * (len(g.made) > MADE)


def _norms(norms: Sequence[float]) -> str:
    """One norm, or how it goes from the first copy to the last."""
    if len(norms) < 2:
        return fmt.number(norms[0])
    return f"{fmt.number(norms[0], 3)} \N{HORIZONTAL ELLIPSIS} {fmt.number(norms[-1], 3)}"


# Boxes
def box(g: Group, look: Look, output: bool = False) -> str:
    """The statement that draws a folded group."""
    name, kind = words(g)
    head = f"<B>{escape(fmt.plain(name))}</B>" if name else ""
    head += f"{'&#160; ' if name else ''}{escape(fmt.plain(kind))}" if kind else ""
    rows = [f'<TR><TD ALIGN="LEFT" COLSPAN="2">{head}</TD></TR>']
    shape = f"{fmt.shape(g.shape)} {g.dtype}" if g.shape else ""
    result = f"{TO} {g.label} {shape}".strip() if g.kind not in ("leaves", "constants") else shape
    many = f"{TO} {g.outputs:,} values" if g.shape is None and g.outputs > 1 else ""
    listed = _made(g) if len(g.made) > 1 and not g.type and g.kind in ("chain", "block", "loop", "repeat") else ""
    for text in (", ".join(counts(g)) if g.kind != "leaves" else "", listed, many or (result if shape else "")):
        if text:
            rows.append(
                f'<TR><TD ALIGN="LEFT" COLSPAN="2"><FONT POINT-SIZE="9" COLOR="{FAINT}">{escape(text)}</FONT></TD></TR>'
            )
    told = []
    if g.value is not None and "value" in look.show and look.flow != "backward" and fmt.is_small(g.value):
        told.append(("value", fmt.line(g.value), FORWARD))
    if "gradient" in look.show and look.flow != "forward":
        if g.gradient:
            told.append(("gradient norm", _norms(g.gradient), BACKWARD))
        if g.weights is not None:
            label = ".grad" if g.held else "gradient"
            told.append((f"{label} norm" if g.kind == "leaves" else f"parameters' {label}", fmt.number(g.weights), BACKWARD))
    if told:
        rows.append("<HR/>")
        rows += [
            f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="9" COLOR="{colour}">{escape(label)}&#160;&#160;</FONT></TD>'
            f'<TD ALIGN="RIGHT"><FONT POINT-SIZE="10" COLOR="{colour}">{escape(text)}</FONT></TD></TR>'
            for label, text, colour in told
        ]
    table = f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">{"".join(rows)}</TABLE>>'
    return f'  {g.id} [label={table} {BOXES["constants" if g.kind == "leaves" and not g.parameters else g.kind]}{" penwidth=2.5" * output} class="{g.kind}" tooltip={quote(tip(g))}]'


def tip(g: Group) -> str:
    """What a viewer shows when the pointer rests on it."""
    made = ", ".join(f"{n} {name}" for name, n in g.made)
    return ": ".join(part for part in (".".join(g.path), made) if part) or g.kind


def frame(g: Group, down: bool) -> list[str]:
    """The statements that open a frame. Its name stands where arrows seldom enter: to the right."""
    name, kind = (fmt.plain(word) for word in words(g))
    parts = [part for part in (f"<B>{escape(name)}</B>" if name else "", escape(kind)) if part]
    lines = [
        *(parts if down else [" &#160;".join(parts)]),
        *(f'<FONT POINT-SIZE="9" COLOR="{FAINT}">{escape(text)}</FONT>' for text in counts(g)),
    ]
    beside = round(LETTER * max(len(name), len(kind), *(0.8 * len(text) for text in counts(g)), 0)) + CLEARANCE
    room = f'<TD WIDTH="{beside}"></TD>' * down
    table = "".join(f'<TR>{room}<TD ALIGN="LEFT">{line}</TD></TR>' for line in lines if line)
    table = f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="0">{table}</TABLE>>'
    return [
        f"  subgraph cluster_{g.id} {{",
        f'    graph [label={table} labelloc=t labeljust=r fontsize=11 margin=10 {FRAMES[g.kind]} class="{g.kind}" tooltip={quote(tip(g))}]',
    ]


def nested(r: Records, statements: Mapping[str, Iterable[str]], down: bool) -> list[str]:
    """Statements by the frame that they belong to ("": none), as frames inside frames."""
    inside: dict[str, list[Group]] = defaultdict(list)
    for g in r.groups:
        if g.frame:
            inside[g.group].append(g)
    lines: list[str] = []
    waiting: list[Group | str] = [""]
    while waiting:
        now = waiting.pop()
        if now == "}":
            lines.append("  }")
            continue
        key = now.id if isinstance(now, Group) else ""
        if isinstance(now, Group):
            lines += frame(now, down)
            waiting.append("}")
        lines += statements.get(key, ())
        waiting += reversed(inside[key])
    return lines


# Arrows
def before(r: Records, layers: Mapping[str, int], made: AbstractSet[str]) -> dict[tuple[str, str], int]:
    """For arrows that enter a frame: how many layers the frame begins before the box that they end at.

    What is made of parameters alone stands there. An arrow that much longer keeps a frame clear of those before it, so that
    they stand in a row, and not as stairs.
    """
    around: dict[str, list[str]] = {"": []}
    for g in r.groups:  # those outside first
        if g.frame:
            around[g.id] = [g.id, *around[g.group]]
    inside = {v.id: around[v.group] for v in r.values} | {g.id: around[g.group] for g in r.groups if not g.frame}
    operands: dict[str, list[str]] = defaultdict(list)
    uses = [(e.source, e.target) for e in r.edges] + [(b.source, b.target) for b in r.bundles if not b.lag]
    for source, target in uses:
        if source not in made and inside[source]:
            operands[target].append(source)
    ahead: dict[str, dict[str, int]] = {}
    begins: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for key in sorted(operands, key=layers.__getitem__):
        ahead[key] = {
            f: 1 + max(ahead.get(o, {}).get(f, 0) for o in operands[key] if f in inside[o])
            for f in inside[key]
            if any(f in inside[o] for o in operands[key])
        }
        if key in made:
            for f, n in ahead[key].items():
                begins[f].append((layers[key], n))
    found = {}
    for source, target in uses:
        entered = [f for f in inside[target] if f not in inside[source]]
        found[source, target] = max(
            (n + layers[target] - layer for f in entered for layer, n in begins[f] if layer >= layers[target]), default=0
        )
    return found


def carried(b: Bundle) -> str:
    """Which row of ``boxes.ARROWS`` draws what flows back along a bundle; "" if that is not known or not drawn."""
    if b.norm is None or b.lag:
        return ""
    return tone(b.contribution) if b.contribution is not None else "array" if math.isfinite(b.norm) else "nonfinite"


def bundle(b: Bundle, look: Look, repeats: Mapping[str, int], placed: Sequence[str] = ()) -> str:
    """The statement that draws a bundle."""
    told = []
    if b.lag:
        told.append(f"{ROUND} {escape(fmt.plain(b.label))} {TIMES}{b.count:,}".replace("  ", " "))
    elif b.count not in (1, repeats[b.source], repeats[b.target]):
        told.append(f'<FONT COLOR="{FAINT}">{TIMES}{b.count:,}</FONT>')
    style = LOOP if b.lag else ""
    if b.norm is not None and look.edges in ("contribution", "both") and not b.lag:
        scalar = b.contribution is not None and b.contribution.ndim == 0
        told.append(
            escape(fmt.number(b.contribution[()]) if scalar and b.contribution is not None else f"norm {fmt.number(b.norm)}")
        )
    if b.norm is not None and not b.lag:
        kind = carried(b)
        _, line, dashes = ARROWS[kind]
        style = f'color="{line}" style={dashes} penwidth={width(b.norm, look.largest):g} class="{kind}"'
    label = "<BR/>".join([f"&#160;{text}&#160;" for text in told] + [CLEAR] * bool(told))
    attributes = [f"label=<{label}>"] if label else []
    attributes += () if b.lag else placed
    attributes += [style] if style else []
    attributes += ["dir=back"] if look.flow == "backward" else []
    uses = f"{b.count:,} use{'s' * (b.count > 1)}" + (f", {b.lag} step{'s' * (b.lag > 1)} later" if b.lag else "")
    return f"  {b.source} -> {b.target} [{' '.join([*attributes, f'tooltip={quote(uses)}'])}]"
