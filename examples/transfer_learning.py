"""Transfer learning: what a network learned from the digits 0 to 4 helps it to learn 5 to 9 from a handful of examples.

A small convolutional network is trained on one half of the classes. Its features are frozen, and a new last layer learns the other half
from 1 to 20 examples of each class (notes 001, "Smarter Learning and Ensembling": with little data, train a single new linear layer on
top of the pre-trained network; with more, tune more of the layers). The same network from scratch, with the same examples and the same
number of steps, is what it has to beat. Frozen means frozen: the features' parameters are the same bit for bit afterwards.

Run ``python -m examples.transfer_learning``: accuracy by number of examples is drawn to out/transfer_learning.png.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import minigrad as mg
from examples.plotting import BLUE, GREEN, GREY, ORANGE, figure, save
from minigrad import nn, optim

SHOTS, DRAWS, STEPS = (1, 2, 5, 10, 20), 5, 60
WAYS = {"features frozen": BLUE, "all layers tuned": GREEN, "from scratch": ORANGE}


def network() -> nn.Sequential:
    """Features of 8x8 images, then one affine layer that reads five classes off them."""
    features = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
    )  # fmt: skip
    return nn.Sequential(features, nn.Linear(128, 5))


def half(lower: bool, seed: int = 0) -> tuple[nn.ArrayDataset, nn.ArrayDataset]:
    """The digits 0 to 4, or 5 to 9 as classes 0 to 4: a training and a test set."""
    images, labels = load_digits(return_X_y=True)
    kept = (labels < 5) == lower
    x = (images[kept] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    train, test = nn.ArrayDataset(x, labels[kept] % 5).split([0.5, 0.5], seed=seed, stratify=True)
    return train, test


def few(data: nn.ArrayDataset, shots: int, rng: np.random.Generator) -> nn.ArrayDataset:
    """As many examples of each class as ``shots`` says."""
    labels = data.arrays[1]
    return nn.ArrayDataset(*data[np.concatenate([rng.choice(np.flatnonzero(labels == k), shots, False) for k in range(5)])])


def train(model: nn.Module, data: nn.ArrayDataset, epochs: int, batch: int, lr: float, seed: int) -> None:
    optimizer = optim.Adam(model.parameters(), lr=lr)
    nn.fit(model, data, loss=nn.CrossEntropyLoss(), optimizer=optimizer, epochs=epochs, batch_size=batch, seed=seed)
