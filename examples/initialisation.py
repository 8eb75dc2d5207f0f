"""Where activations go at the start: four initialisations, tanh and ReLU, and what batch normalisation makes of them.

A layer multiplies the spread of its input by about ``std(w) sqrt(n_in)``, and ReLU halves its square. Weights too small: ten layers on,
every unit says 0, and so does its gradient. Too large: tanh is stuck at -1 and 1, where its slope is 0, and ReLU explodes. Xavier's
1 / n_in keeps the spread of what is linear, as tanh is near 0; He's 2 / n_in keeps ReLU's (notes 001, "Weight Initialization"; 002,
"Weight Initialization", which prints a division by sqrt(2 / fan_in): multiply). Batch normalisation before the activation divides any
scale of the weights out: its four columns are one (notes 001, "Normalization").

Run ``python -m examples.initialisation``: the histograms of ten layers are drawn to out/initialisation.png.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from examples.plotting import BLUE, GREEN, RED, figure, save
from minigrad import nn

DEPTH, WIDTH, BATCH = 10, 400, 200
SCHEMES: dict[str, Callable[..., Any]] = {
    "small: std 0.01": partial(nn.init.normal_, std=0.01),
    "Xavier: var 2 / (n_in + n_out)": nn.init.xavier_normal_,
    "He: var 2 / n_in": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "large: std 0.5": partial(nn.init.normal_, std=0.5),
}
ACTIVATIONS: dict[str, tuple[type[nn.Module], bool]] = {
    "tanh": (nn.Tanh, False),
    "ReLU": (nn.ReLU, False),
    "batch norm, ReLU": (nn.ReLU, True),
}
EXPECTED = {  # of the last layer's standard deviation: from, to
    "tanh": dict(zip(SCHEMES, [(0, 1e-6), (0.1, 0.4), (0.4, 0.7), (0.9, 1)])),
    "ReLU": dict(zip(SCHEMES, [(0, 1e-6), (0, 0.1), (0.4, 1.6), (1e6, np.inf)])),
    "batch norm, ReLU": dict.fromkeys(SCHEMES, (0.57, 0.6)),  # that of max(0, z), z of N(0, 1): sqrt(1/2 - 1/(2 pi)) = 0.584
}


def activations(scheme: Callable[..., Any], kind: type[nn.Module], norm: bool, seed: int) -> list[np.ndarray]:
    """What each layer answers to normally distributed inputs; the weights are the same draws in every scheme."""
    rng = np.random.default_rng(seed)
    h, seen = mg.asarray(rng.normal(size=(BATCH, WIDTH))), []
    for _ in range(DEPTH):
        layer = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), *[nn.BatchNorm1d(WIDTH)] * norm, kind()).double()
        scheme(layer[0].weight, generator=rng)
        with mg.no_grad():
            h = layer(h)
        seen.append(h.numpy())
    return seen


def picture(found: dict[tuple[str, str], list[np.ndarray]], path: str | Path) -> None:
    """The density of each layer's activations, cut off at 1, the first layer on top: a panel for each activation and scheme."""
    title = "Ten layers on, activations are dead, alive or saturated, as the weights began; batch norm keeps them alive"
    fig, axes = figure((len(ACTIVATIONS), len(SCHEMES)), (12, 8), title)
    for row, what, colour in zip(axes, ACTIVATIONS, (BLUE, GREEN, RED)):
        edges = np.linspace(-1.05, 1.05, 85) if what == "tanh" else np.linspace(-0.05, 2.6, 107)
        for ax, scheme in zip(row, SCHEMES):
            layers = found[what, scheme]
            for k, h in enumerate(layers):
                density = np.histogram(h, edges)[0] / h.size / (edges[1] - edges[0])
                ax.stairs(0.85 * np.minimum(density, 1) - k, edges, baseline=-k, fill=True, color=colour, alpha=0.85)
            ax.set(yticks=[0, 1 - DEPTH], yticklabels=["layer 1", f"layer {DEPTH}"], xlim=edges[[0, -1]])
            spreads = f"std {layers[0].std():.2g} in layer 1, {layers[-1].std():.2g} in layer {DEPTH}"
            ax.set_title(f"{scheme}\n{spreads}" if what == "tanh" else spreads, fontsize=9)
        row[0].set_ylabel(what, fontsize=11, fontweight="bold", color=colour)
    save(fig, path)


def main(path: str | Path = "out/initialisation.png", seed: int = 0) -> dict[tuple[str, str], float]:
    """Measure, check, draw; return the standard deviation of each case's last layer."""
    found = {(a, s): activations(SCHEMES[s], *ACTIVATIONS[a], seed) for a in ACTIVATIONS for s in SCHEMES}
    last = {case: float(layers[-1].std()) for case, layers in found.items()}
    for (what, scheme), std in last.items():
        low, high = EXPECTED[what][scheme]
        print(f"{what:17s} {scheme:31s} std of layer {DEPTH}: {std:.2g}")
        assert low < std < high, f"{what}, {scheme}: the last layer's std is {std:.2g}, not between {low:g} and {high:g}"
    picture(found, path)
    return last


if __name__ == "__main__":
    main()
