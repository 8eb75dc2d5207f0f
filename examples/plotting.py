"""What the examples' pictures share: colours that colour-blind readers can tell apart, quiet axes, atomic files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#222222",
)  # fmt: skip
"""Okabe & Ito 2008, "Color Universal Design"."""
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK)
GREY = "#8a8a8a"


def figure(layout: tuple[int, int] | str, size: tuple[float, float], title: str, **options: Any) -> tuple[Any, Any]:
    """A figure and its axes, as ``plt.subplots`` gives them, but without a window, a back end or anything global.

    Args:
        layout: rows and columns, or a mosaic: ``"AAB;AAC"`` gives a dict of the axes A, B and C.
        size: in inches.
        title: what the picture shows, as a sentence.
        options: ``sharex``, ``width_ratios`` and so on, for ``Figure.subplots`` or ``Figure.subplot_mosaic``.
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=size, layout="constrained")
    axes = fig.subplot_mosaic(layout, **options) if isinstance(layout, str) else fig.subplots(*layout, **options)
    for ax in fig.axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(GREY)
        ax.tick_params(colors="#555555", labelsize=8)
        ax.set_prop_cycle(color=PALETTE)
    fig.suptitle(title, fontsize=13, fontweight="bold")
    return fig, axes


def bare(*axes: Any) -> None:
    """Take the ticks and frames off axes that show a picture or a landscape."""
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)


def save(fig: Any, path: str | Path) -> Path:
    """Write the picture, whole or not at all; the suffix says which kind. A PNG gets 256 colours: a third of the bytes."""
    from PIL import Image

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        fig.savefig(draft, dpi=120, facecolor="white")
        if path.suffix == ".png":
            Image.open(draft).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(draft, optimize=True)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path
