"""Transfer learning: what a network learned from the digits 0 to 6 helps it to tell 7, 8 and 9 apart from a handful of examples.

A small convolutional network learns seven classes of digits that lie anywhere in the image. Its features are frozen, and a new last
layer learns three other classes from 1 to 20 examples of each (notes 001, "Smarter Learning and Ensembling": with little data, train a
single new linear layer on top; with more, tune more of the layers). The same network from scratch, with the same examples and as many
steps, is what it has to beat: with few examples it does, with 20 the features want tuning.

``freeze()`` stops the gradients. Batch normalisation also learns without them, its running statistics: ``eval()`` stops those. The
example asserts that nothing inside moved, to the last bit.

Run ``python -m examples.transfer_learning``: accuracy by number of examples is drawn to out/transfer_learning.png.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import minigrad as mg
from examples.plotting import BLUE, GREEN, ORANGE, figure, save
from minigrad import nn, optim
from minigrad.nn.data import Shift

OLD, NEW, MARGIN = 7, 3, 2
SHOTS, DRAWS, EPOCHS, STEPS = (1, 3, 10, 20), 4, 20, 50
WAYS = {"features frozen": BLUE, "all layers tuned": GREEN, "from scratch": ORANGE}


def network(classes: int) -> nn.Sequential:
    """Features of 12x12 images, 64 of them, and a last layer that reads classes off them."""
    features = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.GlobalMaxPool2d(), nn.Flatten(),
    )  # fmt: skip
    return nn.Sequential(features, nn.Linear(64, classes))


def digits() -> tuple[nn.ArrayDataset, nn.ArrayDataset]:
    """The digits 0 to 6, and 7 to 9 as classes 0 to 2, each shifted by up to two pixels either way."""
    images, labels = load_digits(return_X_y=True)
    images = np.pad((images / 16).astype(np.float32).reshape(-1, 1, 8, 8), ((0, 0), (0, 0), (MARGIN,) * 2, (MARGIN,) * 2))
    images = Shift(MARGIN)(images, np.random.default_rng(0))
    old = labels < OLD
    return nn.ArrayDataset(images[old], labels[old]), nn.ArrayDataset(images[~old], labels[~old] - OLD)


def learn(model: nn.Module, data: nn.ArrayDataset, epochs: int, batch_size: int, lr: float, seed: int) -> None:
    """Adam on cross-entropy."""
    optimizer = optim.Adam(model.parameters(), lr=lr)
    nn.fit(model, data, loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=epochs, batch_size=batch_size, seed=seed)


def trial(way: str, source: nn.Sequential, few: nn.ArrayDataset, test: nn.ArrayDataset, seed: int) -> float:
    """The test accuracy on the new classes after learning from a few examples."""
    mg.manual_seed(seed)
    model = network(NEW)
    if way != "from scratch":
        model[0].load_state_dict(source[0].state_dict())
    if way == "features frozen":
        model[0].freeze().eval()
    learn(model, few, STEPS, len(few), 0.01 if way == "features frozen" else 0.003, seed)
    if way == "features frozen":
        for path, value in model[0].state_dict().items():
            assert value.numpy().tobytes() == source[0].state_dict()[path].numpy().tobytes(), f"{path} moved although frozen"
    return nn.evaluate(model, test, loss=nn.CrossEntropyLoss(), metric=nn.accuracy)["metric"]


def picture(found: dict[str, np.ndarray], path: str | Path) -> None:
    """Mean accuracy by number of examples, with the range over the draws."""
    fig, ax = figure((1, 1), (7.5, 4.6), "With few examples, borrowed features win; with more, tune them")
    for (way, accuracies), colour in zip(found.items(), WAYS.values()):
        ax.fill_between(SHOTS, accuracies.min(1), accuracies.max(1), color=colour, alpha=0.15, linewidth=0)
        ax.plot(SHOTS, accuracies.mean(1), "o-", color=colour, linewidth=2, label=way)
    ax.axhline(1 / NEW, color="#8a8a8a", linewidth=0.8, linestyle=":")
    ax.annotate("guessing", (SHOTS[-1], 1 / NEW), ha="right", va="bottom", fontsize=8, color="#8a8a8a")
    ax.set(xscale="log", xticks=SHOTS, xticklabels=SHOTS, ylim=(0.25, 1))
    ax.set(xlabel="training examples of each new class", ylabel=f"test accuracy; mean and range of {DRAWS} draws")
    ax.minorticks_off()
    ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.12))
    save(fig, path)


def main(path: str | Path = "out/transfer_learning.png", seed: int = 0) -> dict[str, list[float]]:
    """Train on the old classes, transfer to the new, check, draw; return the mean accuracies by number of examples."""
    mg.manual_seed(seed)
    old, new = digits()
    old.transform = Shift(MARGIN, mode="wrap")
    source = network(OLD)
    learn(source, old, EPOCHS, 32, 0.003, seed)
    pool, test = new.split([0.3, 0.7], seed=seed, stratify=True)
    found = {way: np.zeros((len(SHOTS), DRAWS)) for way in WAYS}
    for i, shots in enumerate(SHOTS):
        for draw in range(DRAWS):
            few, _ = pool.split([NEW * shots, len(pool) - NEW * shots], seed=seed + draw, stratify=True)
            for way in WAYS:
                found[way][i, draw] = trial(way, source, few, test, seed + draw)
    means = {way: [round(float(m), 4) for m in accuracies.mean(1)] for way, accuracies in found.items()}
    for way, accuracies in means.items():
        print(f"{way:17s}" + "".join(f"{a:8.1%} from {k:2d}" for k, a in zip(SHOTS, accuracies)))
    for shots, frozen, scratch in zip(SHOTS[:2], means["features frozen"], means["from scratch"]):
        assert frozen > scratch + 0.08, f"{shots} examples of each class: frozen {frozen:.1%}, from scratch {scratch:.1%}"
    tuned, frozen = means["all layers tuned"][-1], means["features frozen"][-1]
    assert tuned > frozen, f"{SHOTS[-1]} examples of each class: tuned {tuned:.1%}, frozen {frozen:.1%}"
    picture(found, path)
    return means


if __name__ == "__main__":
    main()
