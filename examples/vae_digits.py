"""A variational autoencoder of digits: two numbers that tell what an 8x8 image is like (notes 001, "Autoencoders and Variational
Autoencoders").

A pixel of scikit-learn's digits counts the black ones among 4x4 of a scan, so p(x|z) is binomial, of 16 trials. The ELBO, a lower
bound of log p(x), is then in nats of the images themselves, and can be held against models whose log p(x) is known: independent
pixels, and independent pixels given the class (naive Bayes, which is told the labels; the VAE never sees one).

Run ``python -m examples.vae_digits``: 15 seconds; out/vae_digits.png shows the latent plane, what the decoder makes of each
point of it, test images above their reconstructions from two numbers, and samples.
"""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import minigrad as mg
from examples.plotting import PALETTE, bare, figure, save
from minigrad.nn.models import MLP, VAE
from minigrad.nn.models.vae import Likelihood

TRIALS, LATENT, EPOCHS, BATCH = 16, 2, 120, 64
WAYS = np.log([comb(TRIALS, k) for k in range(TRIALS + 1)]).astype(np.float32)

BINOMIAL = Likelihood(
    "binomial",
    lambda y, x: WAYS[np.rint(TRIALS * x.numpy()).astype(int)] + TRIALS * (x * y - mg.softplus(y)),
    mg.sigmoid,
    lambda y, g: mg.asarray(g.binomial(TRIALS, mg.sigmoid(y).numpy()) / TRIALS),
)


def baseline(train: np.ndarray, test: np.ndarray, groups: np.ndarray) -> float:
    """The mean log p(x) of a mixture with one component of independent pixels per group of training images."""
    joint = []
    for group in np.unique(groups):
        p = (TRIALS * train[groups == group].sum(0) + 1) / (TRIALS * (groups == group).sum() + 2)  # Laplace's rule
        log_p = WAYS[np.rint(TRIALS * test).astype(int)] + TRIALS * (test * np.log(p) + (1 - test) * np.log(1 - p))
        joint.append(log_p.sum(1) + np.log((groups == group).mean()))
    return float(np.logaddexp.reduce(joint, axis=0).mean())


def train_vae(model: VAE, train: np.ndarray, rng: np.random.Generator) -> None:
    """Adam, whose rate falls to 0 along a cosine."""
    optimizer = mg.optim.Adam(model.parameters(), lr=3e-3)
    schedule = mg.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(1, EPOCHS + 1):
        total = 0.0
        for batch in np.array_split(rng.permutation(len(train)), len(train) // BATCH):
            optimizer.zero_grad()
            loss = model.loss(mg.asarray(train[batch]))
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        if epoch % 20 == 0:
            print(f"epoch {epoch:3d}: ELBO {-total / len(train):.1f} nats on the training set")


def mosaic(images: np.ndarray, rows: int) -> np.ndarray:
    """Images (N, 64), row by row, with white between them."""
    padded = np.pad(images.reshape(rows, -1, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return padded.transpose(0, 2, 1, 3).reshape(rows * 10, -1)


def picture(model: VAE, test: np.ndarray, labels: np.ndarray, rng: np.random.Generator, path: str | Path) -> None:
    """The plane, its images, reconstructions, samples."""
    title = "A variational autoencoder lays digits out in a plane, and every point of the plane is an image"
    fig, (left, middle, *right) = figure((1, 4), (14, 5.8), title, width_ratios=(2, 2, 1, 1))
    for (z1, z2), label in zip(model.encode(mg.asarray(test))[0].numpy(), labels):
        left.text(
            z1, z2, str(label), color=PALETTE[label % 7], ha="center", va="center", fontsize=9, weight="bold", clip_on=True
        )
    left.set(title="test images, by their digit, at the mean of q(z|x)", xlim=(-3.6, 3.6), ylim=(-3.6, 3.6), aspect="equal")
    grid = np.linspace(-3, 3, 15, dtype=np.float32)
    z = np.stack(np.meshgrid(grid, grid[::-1]), -1).reshape(-1, LATENT)
    middle.imshow(mosaic(model.decode(mg.asarray(z)).numpy(), 15), cmap="gray_r", extent=(-3.2, 3.2, -3.2, 3.2))
    middle.set(title="the mean of p(x|z) at points of the plane")
    for ax in (left, middle):
        ax.set(xlabel="$z_1$", ylabel="$z_2$")
    some = test[rng.permutation(len(test))[:36]]
    pairs = np.stack([some.reshape(6, 6, 64), model.reconstruct(mg.asarray(some)).numpy().reshape(6, 6, 64)], 1)
    shown = {"test images, each\nabove its reconstruction": pairs.reshape(72, 64)}
    shown["samples: z from N(0, I),\nthen the mean of p(x|z)"] = model.sample(72, mean=True, generator=rng).numpy()
    for ax, (name, images) in zip(right, shown.items()):
        ax.imshow(mosaic(images, 12), cmap="gray_r", vmin=0, vmax=1)
        ax.set_title(name)
        bare(ax)
    save(fig, path)


def main(path: str | Path = "out/vae_digits.png", seed: int = 0) -> dict[str, float]:
    """Train, check, draw; return the test images' mean log p(x), or its bound, under each model."""
    rng = np.random.default_rng(seed)
    mg.manual_seed(seed)
    data = load_digits()
    order = rng.permutation(len(data.data))
    images, labels = (data.data[order] / TRIALS).astype(np.float32), data.target[order]
    cut = len(images) * 4 // 5
    train, test = images[:cut], images[cut:]

    model = VAE(MLP(64, 256, 128, 2 * LATENT), MLP(LATENT, 128, 256, 64), LATENT, BINOMIAL)
    train_vae(model, train, rng)
    with mg.no_grad():
        scores = {
            "independent pixels": baseline(train, test, np.zeros(cut)),
            "independent pixels in each class": baseline(train, test, labels[:cut]),
            "VAE (bound)": float(np.mean([model.elbo(mg.asarray(test)).item() for _ in range(20)])),
        }
        for name, value in scores.items():
            print(f"{name:34s} {value:8.1f} nats per test image")
        picture(model, test, labels[cut:], rng, path)
    assert scores["VAE (bound)"] > scores["independent pixels in each class"] + 20, "the VAE is no better than naive Bayes"
    return scores


if __name__ == "__main__":
    main()
