"""Large arrays as small pictures inside a box: heat maps and histograms, built of the cells of Graphviz's HTML-like tables.

No image file is involved, so SVG, PNG and PDF show the same, and the same array always gives the same text.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.viz import format as fmt
from minigrad.viz.format import Array, escape

SIDE = 16
"""A heat map has at most SIDE x SIDE cells, a histogram at most SIDE bars."""
CELL, WIDTH, HEIGHT = 7, 6, 40
"""A cell's side, a bar's width, and the tallest bar, in points."""
LETTER = 5.2
"""More than the mean width of a letter of a caption, in points."""
WARM, WHITE, COLD = (176, 58, 0), (255, 255, 255), (0, 90, 150)
"""Above zero, zero, below zero: red and blue, which the colour-blind tell apart."""
PLAIN_TABLE = 'BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"'
NOT_FINITE = '<FONT POINT-SIZE="6">&#215;</FONT>'
"""The cross in a black cell for a NaN or an infinity."""


def can_show(array: Array) -> bool:
    """Whether there is anything to picture: real numbers, at least one of them finite."""
    return bool(array.size and array.dtype.kind in "biuf" and np.isfinite(array).any())


def heatmap(array: Array, colour: str) -> str:
    """A heat map: warm above zero, cold below, white at zero; black with a cross where the mean of a cell's entries is not finite.

    A vector is a row. A matrix is averaged down to at most 16 x 16 cells. Of an array of more axes, matrices over the last two
    (the filters of a convolution, the channels of an image) stand side by side, as many as fit into 16 x 16 cells.

    Example:
        >>> heatmap(np.array([[1.0, -1.0]]), "#000000").count("BGCOLOR")
        4
    """
    wide = array.astype(np.float64)
    tiles = wide.reshape(1, 1, -1) if array.ndim < 2 else wide.reshape(-1, *array.shape[-2:])
    across, size = _montage(len(tiles), max(tiles.shape[1:]))
    shown = tiles[: across * across]
    finite = wide[np.isfinite(wide)]
    most = float(np.abs(finite).max()) or 1.0
    table = _side_by_side([_averaged(tile, size) for tile in shown], across, most)
    more = [f"{len(shown)} of {len(tiles)} matrices"] if len(shown) < len(tiles) else []
    more += [f"{label} {text}" for label, text in fmt.summary(array) if label in ("nan", "inf")]
    scale = _scale(float(finite.min()), float(finite.max()), most, colour)
    return _stacked([table, scale, *(_text(line, colour) for line in more)])


def histogram(array: Array, colour: str) -> str:
    """How an array's finite values are distributed: at most 16 bars from its smallest to its largest.

    Example:
        >>> histogram(np.arange(64.0), "#000000").count("BGCOLOR")  # 16 bars and the axis
        17
    """
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    low, high = float(finite.min()), float(finite.max())
    bars = min(SIDE, max(1, math.isqrt(finite.size) * 2)) if low < high else 1
    at = np.clip((finite / 2 - low / 2) / (high / 2 - low / 2 or 1) * bars, 0, bars - 1).astype(int)  # halved: no overflow
    counts = np.bincount(at, minlength=bars)
    tallest = int(counts.max())
    columns = "".join(f"<TD>{_bar(int(n), tallest, colour)}</TD>" for n in counts)
    across = bars * (WIDTH + 1) - 1
    drawn = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="1" CELLPADDING="0" {_fixed(across + 2, HEIGHT + 2)}><TR>{columns}</TR></TABLE>'
    axis = f'<TABLE {PLAIN_TABLE} {_fixed(across + 2, 1)}><TR><TD FIXEDSIZE="TRUE" WIDTH="{across + 2}" HEIGHT="1" BGCOLOR="{colour}"></TD></TR></TABLE>'
    ends = f"min {fmt.number(low)}", f"max {fmt.number(high)}"
    more = [f"{label} {text}" for label, text in fmt.summary(array) if label in ("zeros", "nan", "inf")]
    return _stacked([drawn, axis, *(_text(line, colour) for line in (*ends, *more))])


def _montage(tiles: int, side: int) -> tuple[int, int]:
    """How many tiles stand side by side, and how many cells each has at most along a side."""
    if tiles == 1:
        return 1, SIDE
    size = min(side, SIDE // 2)
    return min(SIDE // size, math.ceil(math.sqrt(tiles))), size


def _averaged(matrix: Array, most: int) -> Array:
    """A matrix of at most ``most`` rows and columns, each entry the mean of a block of the given one."""
    for axis in (0, 1):
        n = matrix.shape[axis]
        if n > most:
            starts = np.arange(most) * n // most
            lengths = np.diff(np.append(starts, n))
            with np.errstate(all="ignore"):
                matrix = np.add.reduceat(matrix / np.expand_dims(np.repeat(lengths, lengths), 1 - axis), starts, axis=axis)
    return matrix


def _side_by_side(tiles: list[Array], across: int, most: float) -> str:
    """Matrices of one shape in rows of ``across``."""
    height, width = (n * CELL + 4 for n in tiles[0].shape)
    told = [f"<TD>{_cells(tile, most)}</TD>" for tile in tiles]
    rows = [f"<TR>{''.join(told[k : k + across])}</TR>" for k in range(0, len(told), across)]
    size = _fixed(min(across, len(tiles)) * width + 2, len(rows) * height + 2)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="2" CELLPADDING="0" {size}>{"".join(rows)}</TABLE>'


def _cells(matrix: Array, most: float) -> str:
    rows = "".join("<TR>" + "".join(_cell(float(x), most) for x in row) + "</TR>" for row in matrix)
    size = _fixed(matrix.shape[1] * CELL + 2, matrix.shape[0] * CELL + 2)
    return f'<TABLE BORDER="1" COLOR="#767676" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0" {size}>{rows}</TABLE>'


def _cell(x: float, most: float) -> str:
    colour = _colour(x, most) if math.isfinite(x) else "#000000"
    inside = "" if math.isfinite(x) else f'<FONT COLOR="#FFFFFF">{NOT_FINITE}</FONT>'
    return f'<TD FIXEDSIZE="TRUE" WIDTH="{CELL}" HEIGHT="{CELL}" BGCOLOR="{colour}">{inside}</TD>'


def _scale(low: float, high: float, most: float, colour: str) -> str:
    """What the colours stand for: the smallest and the largest entry."""
    texts = f"min {fmt.number(low)}", f"max {fmt.number(high)}"
    wide = 4 + math.ceil(LETTER * max(map(len, texts)))
    rows = "".join(
        f'<TR><TD FIXEDSIZE="TRUE" WIDTH="{CELL + 2}" HEIGHT="{CELL + 2}" BORDER="1" COLOR="#767676" BGCOLOR="{_colour(x, most)}"></TD>'
        f'<TD FIXEDSIZE="TRUE" WIDTH="{wide}" HEIGHT="12" ALIGN="RIGHT">{_text(text, colour)}</TD></TR>'
        for x, text in zip((low, high), texts)
    )
    size = _fixed(CELL + 2 + wide + 6, 2 * 12 + 6)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="2" CELLPADDING="0" {size}>{rows}</TABLE>'


def _colour(x: float, most: float) -> str:
    end, share = (WARM if x > 0 else COLD), min(abs(x) / most, 1.0)
    return "#" + "".join(f"{round(w + (e - w) * share):02X}" for w, e in zip(WHITE, end))


def _bar(count: int, tallest: int, colour: str) -> str:
    """A column of nothing above a column of ink."""
    tall = max(1, round(HEIGHT * count / tallest)) if count else 0
    parts = (HEIGHT - tall, ""), (tall, f' BGCOLOR="{colour}"')
    rows = "".join(f'<TR><TD FIXEDSIZE="TRUE" WIDTH="{WIDTH}" HEIGHT="{n}"{ink}></TD></TR>' for n, ink in parts if n)
    return f"<TABLE {PLAIN_TABLE} {_fixed(WIDTH, HEIGHT)}>{rows}</TABLE>"


def _text(text: str, colour: str) -> str:
    return f'<FONT POINT-SIZE="9" COLOR="{colour}">{escape(text)}</FONT>'


def _fixed(width: int, height: int) -> str:
    """Attributes of a table that keeps its size in a wider cell, at the right like numbers."""
    return f'ALIGN="RIGHT" FIXEDSIZE="TRUE" WIDTH="{width}" HEIGHT="{height}"'


def _stacked(parts: list[str]) -> str:
    return f"<TABLE {PLAIN_TABLE}>" + "".join(f'<TR><TD ALIGN="RIGHT">{part}</TD></TR>' for part in parts) + "</TABLE>"
