"""Seven optimisers race down a ravine: why gradient descent zigzags, and what momentum, scaling and curvature do about it.

A ravine is steep across and flat along. One rate must serve both: the steep direction bounds it, and the flat one starves. Momentum
averages the zigzag away (notes 001, "Optimizing Gradient Descent"); AdaGrad, RMSprop and Adam give each coordinate a rate of its
own, which helps most when the ravine runs along an axis: turn it (``tilted``) and AdaGrad falls behind. L-BFGS learns the curvature
from the last few steps. Rosenbrock's and Beale's functions bend the ravine.

Run ``python -m examples.optimizer_race [ravine|tilted|rosenbrock|beale]``: the paths are drawn to out/optimizer_race.png.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from examples.plotting import BLACK, PALETTE, bare, figure, save
from minigrad import optim


class Surface(NamedTuple):
    """A function of two numbers, where the race starts and ends, what the map shows, and a rate for each optimiser."""

    what: str
    f: Callable[[Any, Any], Any]
    start: tuple[float, float]
    minimum: tuple[float, float]
    window: tuple[float, float, float, float]
    rates: tuple[float, ...]


STEPS = 100
RACERS: dict[str, Callable[..., optim.Optimizer]] = {
    "SGD": optim.SGD,
    "momentum": lambda p, lr: optim.SGD(p, lr, momentum=0.9),
    "Nesterov": lambda p, lr: optim.SGD(p, lr, momentum=0.9, nesterov=True),
    "AdaGrad": optim.Adagrad,
    "RMSprop": lambda p, lr: optim.RMSprop(p, lr, alpha=0.9),
    "Adam": optim.Adam,
    "L-BFGS": lambda p, lr: optim.LBFGS(p, lr, max_iter=1, max_eval=20, line_search_fn="strong_wolfe"),
}
SURFACES = {
    "ravine": Surface(
        "a ravine",
        lambda x, y: (x**2 + 100 * y**2) / 2, (-8.0, 1.2), (0.0, 0.0), (-9.5, 3.0, -2.0, 2.0),
        (0.019, 0.015, 0.01, 1.0, 0.1, 0.5, 1.0),
    ),
    "tilted": Surface(
        "a tilted ravine",
        lambda x, y: ((x + y) ** 2 + 100 * (x - y) ** 2) / 4, (-5.0, -3.6), (0.0, 0.0), (-6.5, 2.5, -6.0, 2.5),
        (0.019, 0.015, 0.01, 1.0, 0.1, 0.5, 1.0),
    ),
    "rosenbrock": Surface(
        "Rosenbrock's valley",
        lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2, (-1.2, 1.0), (1.0, 1.0), (-1.8, 1.6, -0.8, 2.2),
        (0.002, 0.002, 0.001, 2.0, 0.2, 0.6, 1.0),
    ),
    "beale": Surface(
        "Beale's function",
        lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2,
        (1.0, 1.5), (3.0, 0.5), (-0.5, 4.5, -1.2, 2.0), (0.005, 0.005, 0.005, 1.0, 0.1, 0.4, 1.0),
    ),
}  # fmt: skip


def race(surface: Surface, name: str, lr: float) -> tuple[np.ndarray, np.ndarray]:
    """The points that an optimiser visits, (STEPS + 1, 2), and the function's values there."""
    point = mg.tensor(surface.start, dtype="float64", requires_grad=True, name="point")
    optimizer = RACERS[name]([point], lr=lr)

    def closure() -> mg.Tensor:
        optimizer.zero_grad()
        value = surface.f(point[0], point[1])
        value.backward()
        return value

    path = [point.numpy().copy()]
    for _ in range(STEPS):
        optimizer.step(closure)
        path.append(point.numpy().copy())
    return np.array(path), surface.f(*np.array(path).T)


def picture(surface: Surface, runs: dict[str, tuple[np.ndarray, np.ndarray]], path: str | Path) -> None:
    """A map with the path of each, and all losses by step."""
    title = f"{STEPS} steps on {surface.what}: momentum outruns plain descent, curvature outruns both"
    fig, axes = figure((2, 4), (12, 5.6), title)
    left, right, low, high = surface.window
    x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(low, high, 200))
    heights = np.log10(surface.f(x, y) + 1e-2)
    *maps, curves = axes.flat
    for ax, colour, (name, (points, values)) in zip(maps, PALETTE, runs.items()):
        ax.contour(x, y, heights, levels=14, colors="#c9c9c9", linewidths=0.7, linestyles="solid")
        ax.plot(*points.T, "o-", color=colour, markersize=3, linewidth=1.3)
        ax.plot(*surface.minimum, "*", color=BLACK, markersize=11)
        ax.set(xlim=(left, right), ylim=(low, high))
        ax.set_title(f"{name}: loss {values[-1]:.0e}", fontsize=10, color=colour, fontweight="bold")
        curves.plot(np.maximum(values, 1e-14), color=colour)
        bare(ax)
    curves.set(yscale="log", xlabel="step", title="loss by step", ylim=(1e-14, None))
    curves.title.set_fontsize(10)
    curves.yaxis.tick_right()
    curves.spines["left"].set_visible(False)
    save(fig, path)


def main(path: str | Path = "out/optimizer_race.png", surface: str = "ravine") -> dict[str, float]:
    """Race, check, draw; return the last loss of each optimiser."""
    land = SURFACES[surface]
    runs = {name: race(land, name, lr) for name, lr in zip(RACERS, land.rates)}
    last = {name: float(values[-1]) for name, (_, values) in runs.items()}
    for name, value in last.items():
        print(f"{name:9s} {value:.2e}")
    assert last["L-BFGS"] < 1e-8, f"L-BFGS ended at {last['L-BFGS']:.1e}, not below 1e-8"
    for name in ("momentum", "Nesterov", "Adam"):
        assert last[name] < 0.1 * last["SGD"], f"{name} ended at {last[name]:.1e}, SGD at {last['SGD']:.1e}"
    picture(land, runs, path)
    return last


if __name__ == "__main__":
    main(surface=sys.argv[1]) if sys.argv[1:] else main()
