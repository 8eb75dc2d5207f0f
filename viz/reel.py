"""How a :class:`~minigrad.viz.film.Film` is shown: as one HTML page, offline, and as a picture."""

from __future__ import annotations

import html
import importlib.resources
import io
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.viz import format as fmt
from minigrad.viz.dot import write
from minigrad.viz.format import Array
from minigrad.viz.marks import EXPLODING, SHARE, VANISHING
from minigrad.viz.player import _hash, _json

if TYPE_CHECKING:
    from minigrad.viz.film import Film, Layer

CELLS, COLUMNS, BOXES = 150_000, 400, 19
"""A page holds at most so many numbers and steps; a model is opened as far as it has at most BOXES boxes."""
STOPS = ("#0b4f8a", "#7fb8e3", "#f5f5f2", "#f0a05a", "#8a2b00")
"""From far below to far above: blue and orange, which the colour-blind tell apart, and both ends are dark in black and white."""
SHADES = ("#f5f5f2", "#f0a05a", "#8a2b00")
MEASURES: dict[str, tuple[str, float | None, float]] = {
    "gradient": ("Gradient of the output", None, 12.0),
    "weights": ("Gradient of the parameters", None, 12.0),
    "update": ("Update / parameter", 1e-3, 3.0),
    "std": ("Output: standard deviation", 1.0, 3.0),
    "dead": ("Output: dead units", 0.0, 1.0),
    "saturated": ("Output: saturated", 0.0, 1.0),
}
"""What each is called, the middle of its scale (None: the layer nearest the loss; 0: shares), and at most how many decades there are."""


def page(film: Film, title: str = "") -> str:
    """The film as a page. All of it, also the user's own text, stands under a content security policy that allows no network."""
    assets = importlib.resources.files("minigrad.viz") / "assets"
    style = "\n".join((assets / name).read_text(encoding="utf-8") for name in ("player.css", "film.css"))
    script = (assets / "film.js").read_text(encoding="utf-8")
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    parts = {
        "policy": policy, "title": html.escape(fmt.plain(title, 200) or f"Gradient flow: {fmt.plain(film.title)}"), "style": style,
        "data": _json(describe(film, title)), "script": script,
    }  # fmt: skip
    text, *rest = (assets / "film.html").read_text(encoding="utf-8").split("{{")
    for piece in rest:
        name, _, after = piece.partition("}}")
        text += parts[name] + after
    return text


def framed(text: str) -> str:
    """A page inside a notebook."""
    return (
        f'<iframe title="minigrad film" sandbox="allow-scripts" style="width: 100%; height: 900px; border: 1px solid #767676; '
        f'border-radius: 8px" srcdoc="{html.escape(text, quote=True)}"></iframe>'
    )


def describe(film: Film, title: str = "") -> dict[str, Any]:
    """Everything that the page knows, as plain lists, dicts, numbers and text."""
    levels, start = _levels(film)
    used = sorted({row for level in levels for row in level})
    place = {row: k for k, row in enumerate(used)}
    layers = [film._layer(row) for row in used]
    marks = film.marks
    at = _columns(film, sum(len(MEASURES) + layer.time for layer in layers), {mark.first for mark in marks})
    told = []
    for layer in layers:
        values = measures(film, layer)
        bad = {"gradient": layer.gradient_bad > 0, "std": layer.value_bad > 0, "weights": _bad(film, layer)}
        told.append({
            "name": fmt.plain(layer.name), "type": fmt.plain(layer.type), "time": layer.time,
            "values": {key: _short(values[key][at], bad.get(key, np.zeros(len(film), bool))[at]) for key in MEASURES},
            "through": [_short(g, np.zeros(len(g), bool)) for g in layer.gradient[at]] if layer.time > 1 else None,
        })  # fmt: skip
    scales = {key: scale(key, [measures(film, film._layer(row)) for row in levels[start]]) for key in MEASURES}
    named = [(key, name, *scales[key]) for key, (name, _, _) in MEASURES.items()]
    named.append(("through", "Gradient by time step", scales["gradient"][0], _far(layers, scales["gradient"][0])))
    return {
        "title": fmt.plain(title, 200), "model": fmt.plain(film.title), "steps": film.steps[at].tolist(), "kept": len(film),
        "loss": _short(film.loss[at], np.zeros(len(at), bool)), "layers": told, "start": start,
        "levels": [{"shown": [place[row] for row in level], "edges": _edges(film, level, place)} for level in levels],
        "measures": {key: {"name": name, "middle": middle, "decades": decades} for key, name, middle, decades in named},
        "marks": [mark._asdict() | {"worst": None, "layer": fmt.plain(mark.layer)} for mark in marks],
        "vanishing": VANISHING, "exploding": EXPLODING, "share": SHARE, "stops": STOPS, "shades": SHADES,
    }  # fmt: skip


def measures(film: Film, layer: Layer) -> dict[str, Array]:
    """What can be shown of a layer by training step."""
    places = [film.parameters.index(name) for name in layer.parameters]
    norms, updates = (np.array([f.parameters[places, k] for f in film._frames]) for k in (1, 2))
    with np.errstate(all="ignore"):
        update = np.sqrt(((norms * updates) ** 2).sum(1) / (norms**2).sum(1)) if places else np.full(len(film), math.nan)
    return {
        "gradient": layer.total, "weights": layer.weights, "update": update, "std": layer.std, "dead": layer.dead,
        "saturated": layer.saturated,
    }  # fmt: skip


def scale(key: str, layers: list[dict[str, Array]]) -> tuple[float, float]:
    """The middle of a measure's colours, and how many decades there are on each side (0: shares of 1)."""
    _, middle, most = MEASURES[key]
    if middle == 0:
        return 0.0, 0.0
    found = [v[key][np.isfinite(v[key]) & (v[key] > 0)] for v in layers]
    found = [v for v in found if v.size]
    if not found:
        return middle or 1.0, 3.0
    middle = float(np.median(found[-1])) if middle is None else middle
    far = np.abs(np.log10(np.concatenate(found) / middle))
    return middle, float(np.clip(np.ceil(np.quantile(far, 0.98)), 3, most))


def _far(layers: list[Layer], middle: float) -> float:
    """How many decades the gradients by time step are from the middle."""
    found = [g[np.isfinite(g) & (g > 0)] for layer in layers for g in [layer.gradient] if layer.time > 1]
    far = np.abs(np.log10(np.concatenate([*found, [middle]]) / middle))
    return float(np.clip(np.ceil(np.quantile(far, 0.98)), 3, 12))


def _levels(film: Film) -> tuple[list[list[int]], int]:
    """The model with its modules opened one level after the other, and which of these to begin with."""
    levels: list[list[int]] = []
    for depth in range(max(map(film._depth, range(len(film._rows)))) + 1):
        level = film.level(depth)
        if level and level not in levels and (depth or level == film.level()):
            levels.append(level)
    fitting = [k for k, level in enumerate(levels) if len(level) <= BOXES]
    return levels, fitting[-1] if fitting else 0


def _columns(film: Film, width: int, wanted: set[int]) -> Array:
    """Which of the kept steps a page shows: evenly, always with the first, the last, and those where a mark begins."""
    most = max(2, min(COLUMNS, CELLS // max(width, 1)))
    even = np.unique(np.linspace(0, len(film) - 1, min(most, len(film))).round().astype(int))
    return np.union1d(even, np.flatnonzero(np.isin(film.steps, list(wanted))))


def _edges(film: Film, level: list[int], place: dict[int, int]) -> list[list[int]]:
    """The data flow between the boxes of a level; -1 is the input, -2 the loss."""
    rows, shown = film._rows, set(level)
    inside: dict[int, list[int]] = {}
    for row in level:
        above = rows[row].parent
        while above is not None:
            inside.setdefault(above, []).append(row)
            above = rows[above].parent

    def box(row: int, entering: bool) -> int | None:
        at: int | None = row
        while at is not None and at not in shown:
            at = rows[at].parent
        if at is None and row in inside:  # it is opened: what comes out of it comes out of the last in it
            at = inside[row][0 if entering and rows[row].inner else -1]
        return row if row < 0 else None if at is None else place[at]

    found: dict[tuple[int, int], None] = {}
    for row in inside:
        if rows[row].inner:
            found.update(dict.fromkeys(zip((place[r] for r in inside[row]), (place[r] for r in inside[row][1:]))))
    for source, target in film._edges:
        a, b = box(source, False) if source >= 0 else source, box(target, True) if target >= 0 else target
        if a is not None and b is not None and a != b:
            found[a, b] = None
    return [list(edge) for edge in found]


def _bad(film: Film, layer: Layer) -> Array:
    places = [film.parameters.index(name) for name in layer.parameters]
    return np.array([bool((f.parameters[places, 4] > 0).any()) for f in film._frames])


def _short(values: Array, bad: Array) -> list[float | str | None]:
    """Four digits; null where there is nothing, text where a number is not finite."""
    return [
        "nan" if b else float(f"{x:.4g}") if math.isfinite(x) else None if math.isnan(x) else str(x)
        for x, b in zip(values.tolist(), bad.tolist())
    ]


class Picture:
    """A film as one picture, for a slide: shows itself in notebooks, and saves itself as .svg, .png or .pdf."""

    def __init__(self, film: Film, step: int, title: str = "") -> None:
        self.film, self.step = film, step
        self.title = title or f"Gradient flow through {film.title}"

    def figure(self) -> Any:
        """The Matplotlib figure."""
        try:
            from matplotlib.colors import LinearSegmentedColormap, LogNorm
            from matplotlib.figure import Figure
            from matplotlib.layout_engine import ConstrainedLayoutEngine
        except ImportError:
            raise ImportError("Film.draw needs Matplotlib: pip install 'minigrad[examples]'") from None
        film, steps = self.film, self.film.steps
        levels, start = _levels(film)
        layers = [film._layer(row) for row in levels[start]]
        values = [measures(film, layer) for layer in layers]
        key = "gradient" if any(np.isfinite(v["gradient"]).any() for v in values) else "weights"
        table, (middle, decades) = np.array([v[key] for v in values]), scale(key, values)
        timed = max(layers, key=lambda layer: layer.time)
        through = timed.time > 2
        large = through and len(layers) < 6
        colours = LinearSegmentedColormap.from_list("flow", STOPS).with_extremes(bad="#3b3b3b")

        def norm(decades: float) -> Any:
            return LogNorm(middle * 10.0**-decades, middle * 10.0**decades)

        fig = Figure(figsize=(13.33, 7.5), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
        mosaic: Any = (
            [["time", "profile"], ["loss", "layers"]]
            if large
            else [["layers", "profile"], ["loss", "time" if through else "loss"]]
        )
        axes = fig.subplot_mosaic(mosaic, height_ratios=(2.1, 1), width_ratios=(1.7, 1))
        names = [fmt.plain(layer.name, 22) for layer in layers]
        self._heat(axes["layers"], table, names, colours, norm(decades))
        axes["layers"].set_title(f"{MEASURES[key][0]} (norm), by layer and training step"[: 40 if large else None])
        if through:
            times = [str(t) for t in range(timed.time)]
            self._heat(axes["time"], timed.gradient.T, times, colours, norm(_far([timed], middle)))
            axes["time"].set(ylabel="time step", title=f"Gradient at each time step of {fmt.plain(timed.name)} (norm)")
        rows, labels, far = (timed.gradient.T, times, _far([timed], middle)) if large else (table, names, decades)
        self._profile(axes["profile"], rows[:, self.step], labels, colours, norm(far), middle)
        axes["profile"].set_title(
            f"At step {steps[self.step]}: " + ("time from top to bottom" if large else "input at the top, loss at the bottom")
        )
        bar = fig.colorbar(axes[mosaic[0][0]].collections[0], ax=axes[mosaic[0][0]], pad=0.01, extend="both")
        bar.set_label("white: like the layer nearest the loss", fontsize=9)
        bar.minorticks_off()
        axes["loss"].plot(steps, film.loss, color="#222222", linewidth=1.6)
        finite = film.loss[np.isfinite(film.loss)]
        if finite.size and finite.min() > 0 and finite.max() > 30 * finite.min():
            axes["loss"].set_yscale("log")
        axes["loss"].set(title="Loss", xlim=(steps[0] - 0.5, steps[-1] + 0.5))
        for name in set(axes) - {"profile"}:
            axes[name].axvline(steps[self.step], color="#222222", linewidth=1.2, linestyle="--")
            axes[name].set_xlabel("training step")
        for ax in axes.values():
            ax.minorticks_off()
            ax.spines[["top", "right"]].set_visible(False)
            ax.title.set(fontsize=12, ha="left", position=(0, 1))
            ax.tick_params(labelsize=9)
        fig.suptitle(self.title, fontsize=17, fontweight="bold", x=0.01, ha="left")
        return fig

    def _heat(self, ax: Any, table: Array, names: list[str], colours: Any, norm: Any) -> None:
        steps = self.film.steps
        width = np.diff(steps).min() if len(steps) > 1 else 1
        edges = np.append(steps - width / 2, steps[-1] + width / 2)
        cells = np.ma.masked_invalid(np.where(table == 0, norm.vmin, table))
        ax.pcolormesh(edges, np.arange(len(table) + 1) - 0.5, cells, cmap=colours, norm=norm, rasterized=True)
        _rows(ax, names)

    def _profile(self, ax: Any, now: Array, names: list[str], colours: Any, norm: Any, middle: float) -> None:
        """A bar for each row, at one step."""
        low, tall = norm.vmin / 3, 0.8 if len(now) > 5 else 0.45
        for k, x in enumerate(now):
            if math.isfinite(x):
                colour = colours(norm(max(x, norm.vmin)))
                ax.barh(k, max(x, low * 1.5) - low, tall, left=low, color=colour, edgecolor="#555555", linewidth=0.6)
            else:
                ax.text(norm.vmin, k, "not finite" if not math.isnan(x) else "none", va="center", fontsize=8, color="#555555")
        ax.axvline(middle, color="#555555", linewidth=0.8, linestyle=":")
        ax.set(xscale="log", xlim=(low, 3 * max(middle, *now[np.isfinite(now)], norm.vmin)))
        _rows(ax, names)

    def _render(self, kind: str) -> bytes:
        from matplotlib import rc_context

        stream = io.BytesIO()
        with rc_context({"svg.hashsalt": "minigrad", "svg.fonttype": "none"}):
            when = {"CreationDate": None} if kind == "pdf" else {"Date": None} if kind == "svg" else None
            self.figure().savefig(stream, format=kind, dpi=144, facecolor="white", metadata=when)
        return stream.getvalue()

    def svg(self) -> str:
        return self._render("svg").decode()

    def png(self) -> bytes:
        return self._render("png")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a file of the kind that the path's suffix says, whole or not at all."""
        path = Path(path)
        kind = path.suffix.lower().lstrip(".")
        if kind not in ("svg", "png", "pdf"):
            raise ValueError(f"save: cannot write {path.name!r}; the suffix says the format: .svg, .png, .pdf")
        write(path, self._render(kind))
        return path

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Picture of {self.film!r} at step {self.film.steps[self.step]}: .svg(), .png(), .save(path)>"


def _rows(ax: Any, names: list[str]) -> None:
    """Names beside the rows, as many as can be read, the first at the top."""
    each = math.ceil(len(names) / 30)
    ax.set_yticks(range(0, len(names), each), names[::each])
    ax.set_ylim(len(names) - 0.5, -0.5)
