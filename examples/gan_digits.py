"""A generative adversarial network that learns to write digits (notes 001, "Generative Adversarial Networks").

A generator makes 8x8 images from 16 random numbers; a discriminator tells them from scikit-learn's digits. Neither is ever told
what a digit is. Two measurements say how far the generator got: a classifier trained on real digits should find all ten in its
images, and about as surely; and every pixel's mean and spread should be those of real images.

Run ``python -m examples.gan_digits``: 20 seconds; out/gan_digits.png shows what the same noise becomes through training, how
the game went, and which digits came out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import minigrad as mg
from examples.plotting import BLUE, GREY, ORANGE, bare, figure, save
from minigrad.nn.models import GAN, Discriminator, Generator

NOISE, BATCH, RATE, DRAWN = 16, 64, 6e-4, 2000
SHOWN = (0, 100, 300, 800, 1600)


def play(gan: GAN, images: np.ndarray, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Take turns; return images of the same noise after SHOWN steps, and both players' losses at every step."""
    players = (gan.discriminator, gan.generator)
    for_d, for_g = (mg.optim.Adam(player.parameters(), lr=RATE, betas=(0.5, 0.999)) for player in players)
    noise, film, losses = gan.noise(48), [], []
    for step in range(SHOWN[-1] + 1):
        if step in SHOWN:
            with mg.no_grad():
                film.append(gan.eval()(noise).numpy())
            gan.train()
        real = mg.asarray(images[rng.integers(len(images), size=BATCH)])
        losses.append((gan.discriminator_step(real, for_d), gan.generator_step(BATCH, for_g)))
    return film, np.array(losses)


def picture(
    film: list[np.ndarray], losses: np.ndarray, shares: dict[str, np.ndarray], real: np.ndarray, path: str | Path
) -> None:
    """The film, real digits beside it, the game, the classes."""
    title = "A generator learns to write digits from nothing but a discriminator's opinion"
    fig, axes = figure("012345;LLLRRR", (14, 7), title, height_ratios=(3, 2))
    for ax, images, step in zip(axes.values(), [*film, real], [*SHOWN, None]):
        tiles = np.pad(images.reshape(8, 6, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
        ax.imshow(tiles.transpose(0, 2, 1, 3).reshape(80, 60), cmap="gray_r", vmin=0, vmax=1)
        ax.set_title("real digits" if step is None else "before training" if not step else f"after {step} steps")
        bare(ax)
    left, right = axes["L"], axes["R"]
    smooth = np.stack([np.convolve(player, np.ones(50) / 50, mode="valid") for player in losses.T])
    for curve, name, color, height in zip(smooth, ("discriminator", "generator"), (BLUE, ORANGE), (2 * np.log(2), np.log(2))):
        left.plot(np.arange(len(curve)) + 25, curve, color=color, label=name)
        left.axhline(height, color=color, linewidth=0.8, linestyle="--")
    left.set(title="losses in nats (means of 50 steps); dashed: those of guessing", xlabel="step", ylim=(0, None))
    for k, (name, share) in enumerate(shares.items()):
        right.bar(np.arange(10) + 0.4 * k - 0.2, share, 0.38, color=(GREY, ORANGE)[k], label=name)
    right.set(title="share of each digit, as a classifier of real ones sees them", xlabel="digit", xticks=range(10))
    right.yaxis.tick_right()  # ticks between the two would push the pictures above apart
    right.spines["left"].set_visible(False)
    for ax in (left, right):
        ax.legend(frameon=False, loc="lower right" if ax is left else "upper right", ncols=2)
    right.set_ylim(0, 1.35 * max(share.max() for share in shares.values()))
    save(fig, path)


def main(path: str | Path = "out/gan_digits.png", seed: int = 0) -> dict[str, float]:
    """Train, measure, check, draw; return the measurements."""
    rng = np.random.default_rng(seed)
    mg.manual_seed(seed)
    data = load_digits()
    images, labels = (data.data / 16).astype(np.float32), data.target
    gan = GAN(Generator(NOISE, 128, 128, 64), Discriminator(64, 256, 128, dropout=0.3), NOISE)
    film, losses = play(gan, images, rng)
    made = gan.eval().sample(DRAWN).numpy()

    judge = LogisticRegression(max_iter=2000).fit(images, labels)
    chances = {"real": judge.predict_proba(images), "generated": judge.predict_proba(made)}
    shares = {name: np.bincount(p.argmax(1), minlength=10) / len(p) for name, p in chances.items()}
    found = {
        "the rarest digit's share": float(shares["generated"].min()),
        "how sure the classifier is": float(chances["generated"].max(1).mean()),
        "the same of real digits": float(chances["real"].max(1).mean()),
        "error of a pixel's mean": float(np.abs(made.mean(0) - images.mean(0)).mean()),
        "error of its standard deviation": float(np.abs(made.std(0) - images.std(0)).mean()),
    }
    for name, value in found.items():
        print(f"{name:32s} {value:.3f}")
    picture(film, losses, shares, images[:48], path)
    assert found["the rarest digit's share"] > 0.02, f"a digit is missing: {shares['generated']}"
    assert found["how sure the classifier is"] > 0.65, "its images are of no digit"
    assert found["error of a pixel's mean"] < 0.05, "its images are too dark or too light"
    assert found["error of its standard deviation"] < 0.05, "its images vary too little or too much"
    return found


if __name__ == "__main__":
    main()
