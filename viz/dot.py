"""Records as a Graphviz drawing: DOT text, and its rendering to SVG, PNG and PDF with or without ``dot`` on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from minigrad.compiler import Compiled
from minigrad.viz import boxes, frames, legend, mermaid, program, tikz
from minigrad.viz import format as fmt
from minigrad.viz.boxes import BACKWARD, FAINT, FONT, INK, KINDS, LINE, SHOW, SHOWN, Arrays, Edges, Flow, Look
from minigrad.viz.failure import failure
from minigrad.viz.fold import Fold, folded
from minigrad.viz.format import escape
from minigrad.viz.records import LIMIT, Bundle, Edge, Records, records
from minigrad.viz.several import apart, joined
from minigrad.viz.text import table

Rankdir = Literal["LR", "TB", "RL", "BT"]

CAREFUL, FAR = 500, 8
"""Where arrows cross more than CAREFUL layers in all, Graphviz's routing of them takes seconds, then hours (a weight shared by 40
steps: 1,600 layers, 6 s; by 100 steps: minutes), and nobody can follow them. Then a named value that is used more than FAR layers
away is referred to by its name there."""
LONG = 14
"""A folded drawing of more layers runs from top to bottom."""
ROUGH = " splines=line nslimit=0.5 nslimit1=2 mclimit=0.1"
"""Straight arrows and a less patient placement, if that was not enough."""


class Drawing:
    """A drawing of a graph: shows itself in notebooks, and saves itself as a file.

    Attributes:
        source: the DOT text, from which every picture is made.
        records: what it shows; None for one made of DOT text.
        title: its heading.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor(3.0, requires_grad=True)
        >>> y = x * x
        >>> drawing = draw(y)
        >>> drawing.source.startswith("digraph"), drawing.svg().startswith("<?xml")
        (True, True)
    """

    def __init__(self, source: str, found: Records | None = None, title: str = "") -> None:
        self.source = source
        self.records = found
        self.title = title

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

    def mermaid(self) -> str:
        """The drawing as a Mermaid flowchart, which GitHub and many notebooks show; see :mod:`minigrad.viz.mermaid`."""
        return mermaid.translate(self.source)

    def tikz(self) -> str:
        """The drawing as a standalone LaTeX document, see :mod:`minigrad.viz.tikz`."""
        return tikz.document(render(tikz.hinted(self.source), "json"))

    def text(self) -> str:
        """The drawing as a table of text, that of :func:`explain`."""
        if self.records is None:
            raise ValueError("text: this Drawing was made of DOT text alone; draw the graph with viz.draw, or use viz.explain")
        return table(self.records)

    def html(self) -> str:
        """The drawing's values as a page that steps through both passes, that of :func:`player` without what-if."""
        from minigrad.viz.player import Player

        if self.records is None:
            raise ValueError("html: this Drawing was made of DOT text alone; draw the graph with viz.draw, or use viz.player")
        if any(not g.frame or g.repeat > 1 for g in self.records.groups):
            raise ValueError("html: this drawing is folded; use viz.player(t), where modules fold too, or draw with fold=False")
        return Player(self.records, title=self.title).html()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a file of the kind that the path's suffix says: .svg, .png, .pdf, .dot (or .gv), .mmd, .tex, .txt or .html.

        The file appears when it is complete, or not at all.

        Returns:
            The path.

        Raises:
            ValueError: if the suffix is none of these.
        """
        path = Path(path)
        make = FORMATS.get(path.suffix.lower())
        if make is None:
            raise ValueError(f"save: cannot write {path.name!r}; the suffix says the format: {', '.join(FORMATS)}")
        content = make(self)
        write(path, content if isinstance(content, bytes) else content.encode())
        return path

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Drawing, {len(self.source)} characters of DOT: .svg(), .png(), .pdf(), .save(path), .source>"


FORMATS: dict[str, Callable[[Drawing], str | bytes]] = {
    ".svg": Drawing.svg,
    ".png": Drawing.png,
    ".pdf": Drawing.pdf,
    ".dot": str,
    ".gv": str,
    ".mmd": lambda drawing: drawing.mermaid() + "\n",
    ".tex": Drawing.tikz,
    ".txt": lambda drawing: drawing.text() + "\n",
    ".html": Drawing.html,
}
"""What :meth:`Drawing.save` writes, by suffix."""


def draw(
    t: Any,
    *,
    gradient: Any = None,
    backward: bool | None = None,
    edges: Edges = "contribution",
    flow: Flow = "both",
    show: str | Iterable[str] = SHOW,
    arrays: Arrays | None = None,
    lines: bool = False,
    rankdir: Rankdir | None = None,
    legend: bool = True,
    title: str = "",
    depth: int | None = None,
    fold: Fold = "auto",
    unfold: Sequence[str] = (),
    limit: int | None = None,
) -> Drawing:
    """Draw the graph that made ``t``: for every value its name, operation, shape, value and gradient.

    The number on an arrow is what flows back along it: its contribution to the gradient of the value that it leaves. A value's
    gradient is the sum of the numbers on the arrows that leave it. An arrow is the wider the larger its contribution is, by the
    logarithm of its norm; dashed if it is below zero, dotted if it is zero, double if it is not finite.

    Args:
        t: a Tensor, before or after ``t.backward()``. Before it, there are no gradients to show. Or a list of Tensors: what all
            of them were made from, with the sum of their gradients. Or an error that an operation raised: the graph up to
            there, the operation that failed, and the shapes that it was given. Or what :func:`minigrad.compile` returned, after
            its second call: its newest program.
        gradient: the upstream gradient to start from. By default the one that ``t.backward()`` started from, or 1 for a scalar.
        backward: True computes gradients for the drawing only (no ``.grad`` changes); False leaves them out.
        edges: what to write on the arrows: "contribution", "local" (the local gradient), "both" or "none".
        flow: "both" passes; "forward": values only; "backward": gradients only, along arrows that run from ``t`` back to what a
            gradient reaches.
        show: what a box says beside its name: some of "op", "gate", "shape", "dtype", "value", "gradient", "module" (the path of
            the module that ran it) and "line" (the line of your program, kept inside ``with mg.inspect():``), with commas between.
        arrays: large arrays as a "summary" (mean, std, min, max, zeros, what is not finite), as a "heatmap" or "histogram", or, as
            well as small ones, by their "norm" alone. By default the summary, or the norm if more than 60 values are drawn.
        lines: True adds "line" to ``show``.
        rankdir: where the graph runs: "LR" left to right, "TB" top to bottom, "RL", "BT". By default "LR" while it fits.
        legend: whether to explain the boxes and colours below the drawing.
        title: a heading.
        depth: how many levels of modules are opened; deeper ones are folded to one box each. 0 folds the outermost ones.
        fold: "auto" folds what does not fit: modules, equal pieces in a row (blocks, time steps), chains of operations, so that a
            graph of any size has at most about 150 boxes, each of which says what is inside. True folds equal pieces
            wherever they are; False nothing. A list of patterns, such as ``["encoder", "layers.*", "BasicBlock"]``, folds the
            modules whose path or class matches one.
        unfold: patterns of modules to open.
        limit: instead of folding, at most so many values, those nearest to ``t``.

    Returns:
        A :class:`Drawing`.

    Raises:
        ValueError: if an argument is none of the words above, or two of them contradict each other.

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
    if isinstance(t, Compiled):
        return Drawing(program.source(t, title))
    words = {
        "rankdir": (rankdir or "LR", Rankdir),
        "edges": (edges, Edges),
        "flow": (flow, Flow),
        "arrays": (arrays or "norm", Arrays),
    }
    for argument, (word, allowed) in words.items():
        if word not in get_args(allowed):
            raise ValueError(f"{argument}={word!r}: expected one of {', '.join(map(repr, get_args(allowed)))}")
    asked = frozenset(word.strip() for word in (show.split(",") if isinstance(show, str) else show)) - {""}
    if not asked <= set(SHOWN):
        raise ValueError(f"show={show!r}: {', '.join(sorted(asked - set(SHOWN)))}: expected some of {', '.join(SHOWN)}")
    if (flow, backward) in (("forward", True), ("backward", False)):
        raise ValueError(f"flow={flow!r} contradicts backward={backward}; leave one of them out")
    backward = backward if flow == "both" else flow == "backward"
    asked |= {"line"} if lines else set()
    look = Look(edges=edges, rankdir=rankdir or "", legend=legend, title=title, show=asked, flow=flow, arrays=arrays)
    if isinstance(t, BaseException):
        if gradient is not None or backward:
            raise ValueError("a forward pass that raised has no gradients: leave out gradient=, backward= and flow=")
        found, labels = failure(t, limit=limit or LIMIT, colour=BACKWARD)
        return Drawing(source(found, replace(look, labels=labels)), found, title)
    several = isinstance(t, (list, tuple))
    if several:
        t, backward = joined(t, gradient, backward)
        gradient = None
    if limit is None:
        found = folded(t, gradient=gradient, backward=backward, fold=fold, depth=depth, unfold=unfold)
    else:
        found = records(t, gradient=gradient, backward=backward, limit=limit)
    found = apart(found) if several else found
    found = reached(found) if flow == "backward" else found
    return Drawing(source(found, look.fitted(found)), found, title)


def reached(r: Records) -> Records:
    """The records without the values that no gradient reaches; those whose gradient could not be known stay."""
    known = not r.note
    gone = {v.id for v in r.values if v.gradient is None and (known or v.kind in ("constant", "input", "frozen"))}
    values = tuple(v for v in r.values if v.id not in gone)
    edges = tuple(e for e in r.edges if not {e.source, e.target} & gone)
    bundles = tuple(b for b in r.bundles if not {b.source, b.target} & gone)
    return replace(r, values=values, edges=edges, bundles=bundles)


def source(r: Records, look: Look) -> str:
    """The DOT text of a drawing of records."""
    layers = _layers(r)
    names = {v.id: v.name for v in r.values if v.name}
    span = {e: layers[e.target] - layers[e.source] for e in _uses(r) if isinstance(e, Edge) or not e.lag}
    far = {e: n for e, n in span.items() if n > FAR and e.source in names} if sum(span.values()) > CAREFUL else {}
    rough = sum(span.values()) - sum(far.values()) > CAREFUL
    tall = max(layers.values(), default=0) > (LONG if r.groups else FAR * LONG)
    order = "" if r.groups else "ordering=in"  # of operands; inside frames it makes stairs of what should run straight
    rankdir = look.rankdir or ("TB" if tall else "LR")
    apart = f"nodesep=0.3 ranksep={0.35 if tall else 0.5}"
    lines = [
        "digraph minigrad {",
        f'  graph [rankdir={rankdir} fontname="{FONT}" fontsize=10 fontcolor="{INK}" {apart} bgcolor="white"',
        f"    {order}{ROUGH if rough else ''} labelloc={'t' if look.title else 'b'} label={legend.about(r, look, bool(far))}]",
        f'  node [shape=box margin="0.06,0.04" fontname="{FONT}" fontsize=11 fontcolor="{INK}"]',
        f'  edge [fontname="{FONT}" fontsize=10 fontcolor="{BACKWARD}" color="{LINE}" arrowsize=0.7]',
    ]
    framed: dict[str, list[str]] = defaultdict(list)
    for value in r.values:
        framed[value.group].append(boxes.node(value, look))
    for group in r.groups:
        if not group.frame:
            framed[group.group].append(frames.box(group, look, group.id == r.output))
    body = frames.nested(r, framed, down=rankdir in ("TB", "BT"))
    if r.hidden:
        text = f"\N{HORIZONTAL ELLIPSIS} {r.hidden} more value{'s' * (r.hidden > 1)} (limit={len(r.values)})"
        body.append(f'  more [label="{text}" {KINDS["hidden"][1]} fontcolor="{FAINT}"]')
        body += [f"  more -> {cut} [style=dotted]" for cut in r.cut]
        body += [f"  {v.id} -> more [style=dotted]" for v in r.values if v.unseen]
    made, reached = _path(r)
    before = {} if rough else frames.before(r, layers, made)
    repeats = {v.id: 1 for v in r.values} | {g.id: g.repeat for g in r.groups}
    references: dict[tuple[str, str], str] = {}
    for e in _uses(r):
        start = e.source
        if e in far:
            start = references.setdefault((e.source, e.target), f"r{len(references)}")
            if start == f"r{len(references) - 1}":
                label = f"<I>{escape(fmt.plain(names[e.source]))}</I>"
                body.append(f"  {start} [label=<{label}> {KINDS['reference'][1]}]")
        straight = ["weight=4"] if e.source in made else []
        straight += [f"minlen={n + 1}"] if e.source in reached and (n := before.get((e.source, e.target), 0)) else []
        body.append(
            boxes.arrow(e, start, look, straight)
            if isinstance(e, Edge)
            else frames.bundle(replace(e, source=start), look, repeats | {start: repeats[e.source]}, straight)
        )
    return "\n".join([*lines, *body, "}"]) + "\n"


def _uses(r: Records) -> list[Edge | Bundle]:
    return [*r.edges, *r.bundles]


def _path(r: Records) -> tuple[set[str], set[str]]:
    """What stands on the path from the data to the output, which runs straight, without and with the data; what is made of
    parameters alone stands beside it.
    """
    made = {v.id for v in r.values if v.op} | {g.id for g in r.groups if g.operations}
    reached = {v.id for v in r.values if v.kind == "input"} | {g.id for g in r.groups if g.kind == "constants"}
    users: dict[str, list[str]] = defaultdict(list)
    for e in _uses(r):
        users[e.source].append(e.target)
    waiting = list(reached)
    while waiting:
        new = set(users[waiting.pop()]) - reached
        reached |= new
        waiting += new
    return (made & reached, reached) if r.output in reached else (made, made)


def _layers(r: Records) -> dict[str, int]:
    """About where Graphviz will place each box: one layer after its operands; what has none, right before its first use."""
    keys = [*(v.id for v in r.values), *(g.id for g in r.groups if not g.frame)]
    operands: dict[str, list[str]] = {key: [] for key in keys}
    users: dict[str, list[str]] = {key: [] for key in keys}
    for e in _uses(r):
        if isinstance(e, Edge) or not e.lag:
            operands[e.target].append(e.source)
            users[e.source].append(e.target)
    missing = {key: len(operands[key]) for key in keys}
    layers = dict.fromkeys(keys, 1)
    ready = [key for key in keys if not missing[key]]
    for key in ready:  # which grows meanwhile
        for user in users[key]:
            layers[user] = max(layers[user], layers[key] + 1)
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    beside = {key: min((layers[user] for user in users[key]), default=1) - 1 for key in keys}
    return {key: layer if operands[key] else beside[key] for key, layer in layers.items()}


# Rendering
_one_at_a_time = threading.Lock()


def render(dot: str, kind: Literal["svg", "png", "pdf", "json"]) -> bytes:
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
