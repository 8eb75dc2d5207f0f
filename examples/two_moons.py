"""Two moons: what a hidden layer is for. A line cannot part them; a line in the space of sixteen hidden units can.

Logistic regression separates classes by a line (notes 001, "Supervised Classification"). The moons reach into each other, and the line
stays wrong for one in eight. Two hidden layers bend the plane first, and the same logistic unit then draws a curve (notes 001, "Neural
Networks"; 003, week 2: sums of sigmoids approximate any function). The dashed curves are where the model is 90 % sure: the band
between them narrows as the weights grow, and is wide where there are few points to decide by (001, "Support Vector Machine", on margins).

Run ``python -m examples.two_moons``: the boundary while it is learned is drawn to out/two_moons.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from examples.plotting import BLUE, RED, bare, figure, save
from minigrad import nn, optim

POINTS, NOISE, EPOCHS, SHOWN = 600, 0.12, 100, (1, 10, 100)
WINDOW = (-1.6, 2.6, -1.2, 1.7)


def moons(n: int, rng: np.random.Generator) -> nn.ArrayDataset:
    """``n`` points on two interlocking half circles of radius 1, with noise; the classes are 0 and 1."""
    label = np.arange(n) % 2
    angle = np.pi * (rng.random(n) - label)  # the upper half of one circle, the lower half of the other
    x = np.stack([np.cos(angle) + label, np.sin(angle) + label / 2], axis=1) + NOISE * rng.normal(size=(n, 2))
    return nn.ArrayDataset(x.astype(np.float32), label.astype(np.float32))


def loss(score: Any, target: Any) -> Any:
    """Binary cross-entropy of scores (N, 1)."""
    return nn.functional.binary_cross_entropy_with_logits(score[:, 0], target)


def accuracy(score: Any, target: Any) -> float:
    return nn.accuracy(score[:, 0], target)


def learn(model: nn.Module, train: nn.ArrayDataset, test: nn.ArrayDataset) -> tuple[nn.History, dict[int, np.ndarray]]:
    """Train; also return the probability of class 1 over the window, after the epochs to be shown."""
    left, right, low, high = WINDOW
    plane = np.stack(np.meshgrid(np.linspace(left, right, 120), np.linspace(low, high, 90)), axis=2).astype(np.float32)
    maps: dict[int, np.ndarray] = {}

    def look(state: nn.training.State) -> None:
        if state.epoch in SHOWN:
            with mg.no_grad():
                maps[state.epoch] = mg.sigmoid(model(mg.asarray(plane)))[:, :, 0].numpy()

    optimizer = optim.Adam(model.parameters(), lr=0.01)
    history = nn.fit(
        model,
        train,
        loss=loss,
        optimizer=optimizer,
        epochs=EPOCHS,
        validation=test,
        metric=accuracy,
        best=False,
        callbacks=[look],
    )
    return history, maps


def picture(maps: dict[str, np.ndarray], test: nn.ArrayDataset, path: str | Path) -> None:
    """Probabilities as shades, the boundary, and where the model is 90 % sure, with the test points."""
    from matplotlib.colors import LinearSegmentedColormap

    fig, axes = figure(
        (1, len(maps)), (3.4 * len(maps), 3.2), "A line cannot part two moons; hidden layers bend the plane until it can"
    )
    shades = LinearSegmentedColormap.from_list("classes", [BLUE, "white", RED])
    x, label = test.arrays
    for ax, (title, p) in zip(axes, maps.items()):
        ax.imshow(
            p, extent=WINDOW, origin="lower", cmap=shades, vmin=0, vmax=1, alpha=0.45, aspect="auto", interpolation="bilinear"
        )
        ax.contour(p, [0.1, 0.5, 0.9], extent=WINDOW, colors="#222222", linewidths=[1, 2, 1], linestyles=["--", "-", "--"])
        for kind, colour, marker in ((0, BLUE, "o"), (1, RED, "^")):
            ax.scatter(*x[label == kind].T, s=12, color=colour, marker=marker, edgecolors="white", linewidths=0.4)
        ax.set_title(title, fontsize=10)
    bare(*axes)
    save(fig, path)


def main(path: str | Path = "out/two_moons.png", seed: int = 0) -> tuple[float, float]:
    """Train a line and a network, check, draw; return their test accuracies."""
    mg.manual_seed(seed)
    train, test = moons(POINTS, np.random.default_rng(seed)).split([0.5, 0.5], seed=seed, stratify=True)
    line, network = nn.Linear(2, 1), nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    history, maps = learn(line, train, test)
    bent, stages = learn(network, train, test)
    straight, curved = history.validation_metric[-1], bent.validation_metric[-1]
    print(f"test accuracy: line {straight:.1%}, network {curved:.1%}")
    assert curved >= 0.98, f"the network's test accuracy is {curved:.1%}, below 98 %"
    assert straight <= 0.92, f"the line's test accuracy is {straight:.1%}: these moons do not need a network"
    titles = {f"network, epoch {k}: {bent.validation_metric[k - 1]:.1%}": p for k, p in stages.items()}
    picture({f"logistic regression: {straight:.1%}": maps[EPOCHS], **titles}, test, path)
    return straight, curved


if __name__ == "__main__":
    main()
