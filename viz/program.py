"""A compiled step as a drawing: what runs in which order, what runs together block by block, and what shares a buffer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from minigrad.compiler import Compiled, Variant
from minigrad.compiler.emit import reads
from minigrad.compiler.program import INPUT, OLD_GRAD, STATE, Call, Instruction, Program, Write
from minigrad.compiler.schedule import Item, Region
from minigrad.viz import format as fmt
from minigrad.viz.boxes import BACKWARD, FAINT, FONT, FORWARD, INK, LINE
from minigrad.viz.format import escape

MOST = 120
"""Boxes; of longer programs, operations in a row are one box."""
KINDS = {
    INPUT: 'style="rounded,filled" fillcolor="#E3F1FA"',
    STATE: 'style="filled" fillcolor="#FFF3D6" peripheries=2',
    OLD_GRAD: 'style="filled" fillcolor="#FFF3D6"',
    "op": 'style="filled" fillcolor="#FFFFFF"',
    "region": 'style="filled" fillcolor="#E8F5EF" penwidth=2',
    "write": 'style="filled" fillcolor="#F0F0F0" penwidth=2.5',
    "call": 'style="filled,dashed" fillcolor="#FFFFFF"',
}


def source(step: Compiled, title: str = "") -> str:
    """The DOT text of a compiled step's newest program.

    Raises:
        ValueError: if nothing has been compiled yet.
    """
    if not step.programs:
        raise ValueError(f"{step!r} has no program yet: it is made at the second call with the same shapes; call it first")
    variant = step.programs[-1]
    p = variant.program
    pieces = list(_pieces([item for item in variant.items if not _is_view(item)]))
    lines = [
        "digraph program {",
        f'  graph [rankdir=TB fontname="{FONT}" fontsize=10 fontcolor="{INK}" nodesep=0.25 ranksep=0.35 bgcolor="white"',
        f"    labelloc=b label={_about(variant, title)}]",
        f'  node [shape=box margin="0.08,0.05" fontname="{FONT}" fontsize=11 fontcolor="{INK}" color="{INK}"]',
        f'  edge [color="{LINE}" arrowsize=0.7]',
    ]
    names = _names(p)
    made = {k: f"i{n}" for n, piece in enumerate(pieces) for item in piece for k in _makes(item)}
    behind = {s.out: s.args[s.view] for s in p.instructions() if s.view is not None}
    shown: set[int] = set()
    arrows: dict[tuple[str, str], None] = {}
    for n, piece in enumerate(pieces):
        label, kind = _box(piece, variant, names)
        lines.append(f"  i{n} [label=<{label}> {KINDS[kind]}]")
        for k in dict.fromkeys(k for item in piece for k in reads(item)):
            while k in behind and k not in made:
                k = behind[k]
            v = p.values[k]
            if k in made and made[k] != f"i{n}":
                arrows[made[k], f"i{n}"] = None
            elif v.kind in (INPUT, STATE, OLD_GRAD):
                shown.add(k)
                arrows[f"v{k}", f"i{n}"] = None
    for k in sorted(shown):
        v = p.values[k]
        lines.append(f"  v{k} [label=<{_two(names.get(k, v.kind), f'{fmt.shape(v.shape)} {v.dtype}')}> {KINDS[v.kind]}]")
    lines += [f"  {a} -> {b}" for a, b in arrows]
    order = [f"i{n}" for n, piece in enumerate(pieces) if isinstance(piece[0], Call)]
    lines += [f"  i{int(call[1:]) - 1} -> {call} [style=dotted]" for call in order if call != "i0"]
    return "\n".join([*lines, "}"]) + "\n"


def _is_view(item: Item) -> bool:
    return isinstance(item, Instruction) and item.view is not None


def _pieces(items: list[Item]) -> Iterator[list[Item]]:
    """The boxes: one item each or, where there are too many, operations in a row together."""
    together = len(items) > MOST
    row: list[Item] = []
    most = max(2, -(-len(items) // (MOST // 2)))
    for item in items:
        if together and isinstance(item, (Instruction, int)) and len(row) < most:
            row.append(item)
            continue
        if row:
            yield row
            row = []
        if together and isinstance(item, (Instruction, int)):
            row = [item]
        else:
            yield [item]
    if row:
        yield row


def _makes(item: Item) -> list[int]:
    if isinstance(item, Instruction):
        return [item.out]
    if isinstance(item, Region):
        return [s.out for s in item.steps]
    return [item] if isinstance(item, int) else []


def _names(p: Program) -> dict[int, str]:
    """What the user calls what lives outside."""
    found = {}
    for v in p.values:
        if v.kind == STATE and v.source[0].node is not None and v.source[0].node.name:
            found[v.number] = v.source[0].node.name
        elif v.kind == OLD_GRAD:
            found[v.number] = f"{v.source.name or 'leaf'}.grad"
        elif v.kind == INPUT:
            found[v.number] = f"input {v.source}"
    return found


def _box(piece: list[Item], variant: Variant, names: dict[int, str]) -> tuple[str, str]:
    item, p = piece[0], variant.program
    if len(piece) > 1:
        names_of = [s.op.name if isinstance(s, Instruction) else "draw" for s in piece]
        return _two(f"{len(piece)} operations", _counted(names_of)), "op"
    if isinstance(item, Region):
        rows = f"{item.rows} rows" if not item.flat else f"{max(p.values[s.out].size for s in item.steps):,} elements"
        return _two(f"{len(item.steps)} operations, block by block", rows, _counted(s.op.name for s in item.steps)), "region"
    if isinstance(item, Write):
        node = item.target if item.gradient else item.target.node
        name = (node.name if node is not None else None) or "leaf"
        return _two(f"{name}{'.grad' if item.gradient else ''}", "forgotten" if item.value is None else "written"), "write"
    if isinstance(item, Call):
        return _two(item.name, "runs as it is"), "call"
    if isinstance(item, int):
        return _two("draw", fmt.shape(p.values[item].shape)), "op"
    v, emitter = p.values[item.out], variant.emitter
    slot = emitter.plan.slot.get(item.out) if emitter is not None else None
    place = "" if slot is None else f"buffer {slot}"
    return _two(item.op.name, f"{fmt.shape(v.shape)} {v.dtype}", place), "op"


def _counted(names: Iterable[str]) -> str:
    told = [f"{n} {name}" if n > 1 else name for name, n in Counter(names).most_common()]
    return ", ".join(told[:6]) + (f", {len(told) - 6} more kinds" if len(told) > 6 else "")


def _two(head: str, *faint: str) -> str:
    rows = [f"<B>{escape(fmt.plain(head))}</B>"]
    rows += [f'<FONT POINT-SIZE="9" COLOR="{FAINT}">{escape(fmt.plain(text, 90))}</FONT>' for text in faint if text]
    return "<BR/>".join(rows)


def _about(variant: Variant, title: str) -> str:
    emitter = variant.emitter
    assert emitter is not None
    left, mib = sum(1 for _ in variant.program.instructions()), sum(emitter.plan.sizes) / 2**20
    text = (
        f"{variant.before} operations recorded, {left} left; {len(emitter.plan.slot)} values in {len(emitter.plan.sizes)} buffers "
        f"of {mib:.3g} MiB"
    )
    head = f'<FONT POINT-SIZE="14"><B>{escape(fmt.plain(title, 200))}</B></FONT><BR/>' if title else ""
    key = f'<FONT COLOR="{FORWARD}">green: runs block by block</FONT>; <FONT COLOR="{BACKWARD}">dashed: runs as it is</FONT>'
    return f"<{head}{escape(text)}<BR/>{key}>"
