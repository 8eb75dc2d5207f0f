"""Five autoencoders of digits, and what each asks of its code (notes 001, "Autoencoders and Variational Autoencoders").

All squeeze 64 pixels into 24 numbers and back. The linear one finds what principal component analysis finds, with the same error; the
others have sigmoid codes. The sparse one keeps most of its units off, the denoising one repairs what it never saw intact, and the
contractive one is taught, through gradients of gradients, that its code should hardly move when the image does.

Run ``python -m examples.autoencoders``: 15 seconds; out/autoencoders.png shows what each makes of noisy test images, what its
units stand for (the image that each adds), and the numbers by which they differ.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import minigrad as mg
from examples.plotting import bare, figure, save
from minigrad import nn
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import models

CODE, EPOCHS, BATCH, NOISE = 24, 50, 64, 0.3


def parts() -> tuple[nn.Module, nn.Module]:
    """The encoder f = sigmoid(W x + b) and the decoder g = V h + c."""
    return nn.Sequential(nn.Linear(64, CODE), nn.Sigmoid()), nn.Linear(CODE, 64)


KINDS = {
    "linear": lambda: models.LinearAutoencoder(64, CODE),
    "plain": lambda: models.Autoencoder(*parts()),
    "sparse": lambda: models.SparseAutoencoder(*parts(), penalty=0.3, rate=0.1),
    "denoising": lambda: models.DenoisingAutoencoder(*parts(), nn.GaussianNoise(NOISE)),
    "contractive": lambda: models.ContractiveAutoencoder(*parts(), penalty=0.1),
}


def learn(model: models.Autoencoder, x: np.ndarray, rng: np.random.Generator) -> None:
    optimizer = mg.optim.Adam(model.parameters(), lr=5e-3)
    schedule = mg.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(len(x)), len(x) // BATCH):
            optimizer.zero_grad()
            model.loss(mg.asarray(x[batch])).backward()
            optimizer.step()
        schedule.step()


def measure(model: models.Autoencoder, x: np.ndarray, noisy: np.ndarray) -> dict[str, float]:
    """Mean squared errors of test images, as they are and from noisy ones; the mean code; |dh/dx|^2."""
    probe = mg.tensor(x, requires_grad=True)
    h = model.encode(probe)
    return {
        "error": float(((model(mg.asarray(x)).numpy() - x) ** 2).sum(1).mean()),
        "error from noisy": float(((model(mg.asarray(noisy)).numpy() - x) ** 2).sum(1).mean()),
        "mean |code|": float(np.abs(h.numpy()).mean()),
        "|dh/dx|^2": F.contractive_penalty(h, probe).item(),
    }


def tiles(images: np.ndarray, rows: int) -> np.ndarray:
    padded = np.pad(images.reshape(rows, -1, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    return padded.transpose(0, 2, 1, 3).reshape(rows * 10, -1)


def main(path: str | Path = "out/autoencoders.png", seed: int = 0) -> dict[str, dict[str, float]]:
    """Train, measure, check, draw; return the measurements."""
    rng = np.random.default_rng(seed)
    mg.manual_seed(seed)
    images = (load_digits().data / 16).astype(np.float32)[rng.permutation(1797)]
    train, test = images[:1437], images[1437:]
    noisy = (test + NOISE * rng.normal(size=test.shape)).astype(np.float32)
    fig, axes = figure((2, 6), (14, 5.4), "What an autoencoder learns depends on what is asked of its code")
    axes[0, 0].imshow(tiles(noisy[:24], 4), cmap="gray_r", vmin=0, vmax=1)
    axes[1, 0].imshow(tiles(test[:24], 4), cmap="gray_r", vmin=0, vmax=1)
    axes[0, 0].set(title="noisy test images")
    axes[1, 0].set(title="without the noise")
    found = {}
    for name, column in zip(KINDS, axes.T[1:]):
        model = KINDS[name]()
        learn(model, train, rng)
        model.eval()
        found[name] = measure(model, test, noisy)
        print(f"{name:12s}" + "".join(f"{key} {value:7.3f}   " for key, value in found[name].items()))
        column[0].imshow(tiles(model(mg.asarray(noisy[:24])).numpy(), 4), cmap="gray_r", vmin=0, vmax=1)
        units = model.decode(mg.asarray(np.eye(CODE, dtype=np.float32))) - model.decode(mg.zeros((1, CODE)))
        scale = np.abs(shown := units.numpy()).max(1, keepdims=True)
        column[1].imshow(tiles(shown / scale, 4), cmap="RdBu_r", vmin=-1, vmax=1)
        column[0].set(title=name)
        column[1].set(title="what its units add")
        column[1].set_xlabel("\n".join(f"{key}: {value:.3g}" for key, value in found[name].items()), fontsize=10)
    bare(*axes.ravel())
    save(fig, path)

    mean = train.mean(0)
    vt = np.linalg.svd(train - mean, full_matrices=False)[2][:CODE]
    pca = float((((test - mean) - (test - mean) @ vt.T @ vt) ** 2).sum(1).mean())
    plain = found["plain"]
    assert abs(found["linear"]["error"] / pca - 1) < 0.1, (
        f"the linear autoencoder errs by {found['linear']['error']}, PCA by {pca}"
    )
    assert found["sparse"]["mean |code|"] < 0.5 * plain["mean |code|"], "the sparse code is not sparse"
    assert found["denoising"]["error from noisy"] < 0.8 * plain["error from noisy"], "noise is not removed"
    assert found["contractive"]["|dh/dx|^2"] < 0.5 * plain["|dh/dx|^2"], "the code is not contractive"
    return found


if __name__ == "__main__":
    main()
