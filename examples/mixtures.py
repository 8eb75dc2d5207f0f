"""Clusters by gradient: a mixture of Gaussians and soft k-means (notes 000, "Gaussian mixture model"; notes 004, "k-means").

No E-step and no M-step is written here: both models are a loss, -log p(x) and -T log mean_k exp(-|x - z_k|**2 / T), and L-BFGS
follows its gradient. By the chain rule through log-sum-exp that gradient holds the responsibilities, so it vanishes where
expectation-maximisation stops.

Left: the mixture's density, and the ellipses of its components. Middle: soft k-means, every point in the colours of the centres
that share it. Right: what the temperature T does. A hot system has one centre, the mean; as it cools, the centres part where T
falls below twice the largest variance within a cluster, and at T = 0 it is k-means (Rose 1990, deterministic annealing).

Run ``python -m examples.mixtures``: a few seconds; out/mixtures.png.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import minigrad as mg
from examples.plotting import BLUE, GREEN, GREY, ORANGE, figure, save
from minigrad.nn.models import GaussianMixture, SoftKMeans

POINTS, COLORS = 600, (BLUE, ORANGE, GREEN)
WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.0, 0.0], [4.2, 0.6], [1.2, 4.0]])
FACTORS = np.array([[[1.2, 0.0], [0.7, 0.4]], [[0.5, 0.0], [-0.5, 1.1]], [[0.9, 0.0], [0.0, 0.6]]])


def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Points of the true mixture, and its own mean log-density of them."""
    k = rng.choice(3, n, p=WEIGHTS)
    x = MEANS[k] + np.einsum("nde,ne->nd", FACTORS[k], rng.normal(size=(n, 2)))
    z = np.einsum("kde,nke->nkd", np.linalg.inv(FACTORS), x[:, None] - MEANS)
    log_p = np.log(WEIGHTS / (2 * np.pi * np.linalg.det(FACTORS))) - (z**2).sum(-1) / 2
    return x, float(np.logaddexp.reduce(log_p, axis=1).mean())


def anneal(x: np.ndarray, temperatures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The centres (T, 3, 2) as the temperature falls, each found from the last, nudged: merged centres have one gradient."""
    model, path = SoftKMeans(3, 2).double(), []
    model.start(np.tile(x.mean(0), (3, 1)))
    for model.temperature in temperatures:
        with mg.no_grad():
            model.centers += 0.02 * rng.normal(size=(3, 2))
        path.append(model.fit(x, restarts=0).centers.numpy().copy())
    return np.array(path)


def picture(
    x: np.ndarray, mixture: GaussianMixture, soft: SoftKMeans, T: np.ndarray, path: np.ndarray, file: str | Path
) -> None:
    """The density, the shares, the annealing."""
    fig, (left, middle, right) = figure((1, 3), (14, 4.8), "Clusters by gradient: no E-step, no M-step, only a loss")
    spots = np.stack(np.meshgrid(np.linspace(-4, 7, 120), np.linspace(-3.5, 6.5, 120)), -1)
    density = np.exp(mixture.log_prob(spots.reshape(-1, 2)).numpy().reshape(120, 120))
    left.contourf(spots[..., 0], spots[..., 1], density**0.5, 12, cmap="Greys")
    left.scatter(*x.T, s=4, color=GREY, alpha=0.6, linewidths=0)
    circle = np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 100)), np.sin(a)])
    order = np.argsort(mixture.means.numpy()[:, 0])
    for mean, cov, color in zip(mixture.means.numpy()[order], mixture.covariances().numpy()[order], COLORS):
        left.plot(*(mean[:, None] + 2 * np.linalg.cholesky(cov) @ circle), color=color, linewidth=2)
    left.set(title="the mixture's density and components")
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLORS])
    order = np.argsort(soft.centers.numpy()[:, 0])
    middle.scatter(*x.T, s=12, c=soft(x).numpy()[:, order] @ rgb, linewidths=0)
    middle.scatter(
        *soft.centers.numpy()[order].T, s=160, marker="X", color=COLORS, edgecolors="black", linewidths=1.2, zorder=3
    )
    middle.set(title=f"soft k-means, T = {soft.temperature:g}: who shares a point")
    for ax in (left, middle):
        ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", xlim=(-4, 7), ylim=(-3.5, 6.5))
    for k, color in zip(np.argsort(path[-1, :, 0]), COLORS):
        right.plot(T, path[:, k, 0], color=color, linewidth=3.6 - 0.9 * k)
    critical = 2 * np.linalg.eigvalsh(np.cov(x.T, bias=True))[-1]
    right.axvline(critical, color=GREY, linestyle="--", linewidth=1)
    right.text(critical, right.get_ylim()[1], " twice the largest variance", ha="left", va="top", fontsize=8, color="#555555")
    right.set(title="cooling: one cluster, two, three", xscale="log", xlabel="temperature T", ylabel="$x_1$ of the centres")
    right.invert_xaxis()
    save(fig, file)


def main(path: str | Path = "out/mixtures.png", seed: int = 0) -> dict[str, float]:
    """Fit, check, draw; return the log-likelihoods and costs."""
    rng = np.random.default_rng(seed)
    mg.manual_seed(seed)
    x, truth = draw(POINTS, rng)
    mixture = GaussianMixture(3, 2).double().fit(x, restarts=3, generator=rng)
    soft, hard = (SoftKMeans(3, 2, T).double().fit(x, restarts=3, generator=rng) for T in (4.0, 0.0))
    temperatures = np.geomspace(20, 0.2, 100)
    centers = anneal(x, temperatures, rng)
    with mg.no_grad():
        found = {"true log p": truth, "fitted log p": -mixture.loss(x).item(), "k-means cost": hard.loss(x).item()}
        hard.load_state_dict({"centers": centers[-1]})
        found["annealed cost"] = hard.loss(x).item()
        picture(x, mixture, soft, temperatures, centers, path)
    for name, value in found.items():
        print(f"{name:14s} {value:.4f}")
    spread = np.linalg.norm(centers - centers.mean(1, keepdims=True), axis=-1).max(1)
    assert truth < found["fitted log p"] < truth + 17 / POINTS, (
        "17 parameters fit a mean log p by about 17 / 2N better than the truth"
    )
    assert abs(found["annealed cost"] - found["k-means cost"]) < 0.01 * found["k-means cost"], (
        "cooling ended elsewhere than k-means"
    )
    assert spread[0] < 0.1 < 2 < spread[-1], f"the centres should part as it cools: {spread[0]:.2f}, then {spread[-1]:.2f}"
    return found


if __name__ == "__main__":
    main()
