"""Generative adversarial networks: Goodfellow et al. 2014 (notes 001, "Generative Adversarial Networks").

A generator turns noise z into x = G(z); a discriminator gives real examples a high score r = D(x) and generated ones a low
score f = D(G(z)). Each learns from the other's mistakes: the game's rules are what the two minimise.

==================  ==========================================  ==================  ===========================
game                the discriminator's loss                    the generator's     source
==================  ==========================================  ==================  ===========================
minimax             -log s(r) - log(1 - s(f))                   log(1 - s(f))       Goodfellow 2014, equation 1
non-saturating      -log s(r) - log(1 - s(f))                   -log s(f)           Goodfellow 2014, section 3
least-squares       ((r - 1)**2 + f**2) / 2                     (f - 1)**2 / 2      Mao et al. 2017
hinge               max(0, 1 - r) + max(0, 1 + f)               -f                  Lim & Ye 2017
wasserstein         f - r                                       -f                  Arjovsky et al. 2017
==================  ==========================================  ==================  ===========================

(s is the sigmoid; means over the batch.) While the discriminator wins, s(f) is near 0, and there log(1 - s(f)) is flat, as its
derivative -s(f) says, and -log s(f) is not: hence "non-saturating".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from minigrad import nn, ops, random
from minigrad.errors import ShapeError
from minigrad.nn import init
from minigrad.nn.models.linear import MLP
from minigrad.tensor import asarray
from minigrad.transforms import gradients


class Game(NamedTuple):
    """What the players minimise: functions of the scores of real examples r and generated ones f."""

    discriminator: Callable[[Any, Any], Any]
    generator: Callable[[Any], Any]


def _tell_apart(r: Any, f: Any) -> Any:
    return ops.mean(ops.softplus(-r)) + ops.mean(ops.softplus(f))


GAMES = {
    "minimax": Game(_tell_apart, lambda f: -ops.mean(ops.softplus(f))),
    "non-saturating": Game(_tell_apart, lambda f: ops.mean(ops.softplus(-f))),
    "least-squares": Game(
        lambda r, f: (ops.mean(ops.square(r - 1)) + ops.mean(ops.square(f))) / 2, lambda f: ops.mean(ops.square(f - 1)) / 2
    ),
    "hinge": Game(lambda r, f: ops.mean(ops.relu(1 - r)) + ops.mean(ops.relu(1 + f)), lambda f: -ops.mean(f)),
    "wasserstein": Game(lambda r, f: ops.mean(f) - ops.mean(r), lambda f: -ops.mean(f)),
}


def gradient_penalty(
    discriminator: nn.Module, real: Any, fake: Any, generator: np.random.Generator | None = None, target: float = 1.0
) -> Any:
    """The mean of (|dD(x)/dx| - 1)**2 at points x between real and generated examples: Gulrajani et al. 2017.

    A Wasserstein discriminator must not be steeper than 1. The gradient is part of the loss, so learning differentiates it again.

    Args:
        discriminator: D, which must score each example by itself (no batch normalisation).
        real: examples, (N, ...).
        fake: as many generated ones.
        generator: draws how far between the two, one number in [0, 1) for each pair.
        target: the slope that is aimed at.

    Raises:
        ShapeError: if there are not as many, of one shape.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> from minigrad.nn.models import gradient_penalty
        >>> D = nn.Linear(2, 1)
        >>> _ = D.load_state_dict({"weight": [[0.0, 3.0]], "bias": [0.0]})
        >>> gradient_penalty(D, mg.ones((4, 2)), mg.zeros((4, 2))).item()  # (3 - 1)**2
        4.0
    """
    real, fake = asarray(real).detach(), asarray(fake).detach()
    if real.shape != fake.shape:
        raise ShapeError(f"gradient_penalty: real has shape {real.shape}, fake {fake.shape}: expected equal shapes")
    along = random.uniform((len(real), *[1] * (real.ndim - 1)), dtype=real.dtype, generator=generator, device=real.device)
    between = mg.tensor(fake + along * (real - fake), requires_grad=True)
    with mg.enable_grad():
        (slope,) = gradients(ops.sum(discriminator(between)), between, create_graph=True)
        steepness = ops.vector_norm(ops.reshape(slope, (len(real), -1)), 2, -1)
        penalty = ops.mean(ops.square(steepness - target))
    return penalty if mg.is_grad_enabled() else penalty.detach()


class GAN(nn.Module):
    """Two players and the rules of their game; each has its own optimiser, and its step moves it alone.

    Args:
        generator: G, z (N, latent_dim) to x (N, ...).
        discriminator: D, x to scores (N,) or (N, 1): real numbers, without a sigmoid.
        latent_dim: how many numbers of noise, N(0, 1).
        game: minimax, non-saturating, least-squares, hinge or wasserstein: see the table of this module.
        penalty: how much :func:`gradient_penalty` counts in the discriminator's loss; 10 with ``"wasserstein"``, usually.
        rng: of the noise; by default the generator of random numbers that ``mg.manual_seed`` sets.

    Raises:
        ValueError: for another game.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import GAN, MLP
        >>> gan = GAN(MLP(4, 16, 2), MLP(2, 16, 1), latent_dim=4)
        >>> for_d = mg.optim.Adam(gan.discriminator.parameters(), lr=1e-3)
        >>> for_g = mg.optim.Adam(gan.generator.parameters(), lr=1e-3)
        >>> real = mg.random.normal((8, 2))
        >>> losses = gan.discriminator_step(real, for_d), gan.generator_step(8, for_g)
        >>> gan.sample(3).shape
        (3, 2)
    """

    _shown = ("latent_dim", "game", "penalty")

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, latent_dim: int, game: str = "non-saturating", penalty: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:  # fmt: skip
        if game not in GAMES:
            raise ValueError(f"GAN: game={game!r}: expected one of {', '.join(GAMES)}")
        self.generator, self.discriminator = generator, discriminator
        self.latent_dim, self.game, self.penalty, self._rng = latent_dim, game, penalty, rng

    def noise(self, n: int, rng: np.random.Generator | None = None) -> Any:
        """z, (n, latent_dim)."""
        like = next(self.generator.parameters())
        return random.normal((n, self.latent_dim), dtype=like.dtype, generator=rng or self._rng, device=like.device)

    def forward(self, z: Any) -> Any:
        """G(z)."""
        return self.generator(z)

    def sample(self, n: int, rng: np.random.Generator | None = None) -> Any:
        """Examples G(z), n of them, without history."""
        with mg.no_grad():
            return self(self.noise(n, rng))

    def discriminator_loss(self, real: Any, fake: Any) -> Any:
        """What D minimises, of real examples and as many generated ones: these count as data, so nothing flows into G."""
        fake = asarray(fake).detach()
        loss = GAMES[self.game].discriminator(self.discriminator(real), self.discriminator(fake))
        if self.penalty:
            loss = loss + self.penalty * gradient_penalty(self.discriminator, real, fake, self._rng)
        return loss

    def generator_loss(self, fake: Any) -> Any:
        """What G minimises, of its own examples."""
        return GAMES[self.game].generator(self.discriminator(fake))

    def discriminator_step(self, real: Any, optimizer: Any) -> float:
        """D learns from a batch of real examples and as many new ones of G; returns its loss."""
        return _step(self.discriminator, self.discriminator_loss(real, self.sample(len(real))), optimizer)

    def generator_step(self, n: int, optimizer: Any) -> float:
        """G learns from D's opinion of n new examples; returns its loss."""
        return _step(self.generator, self.generator_loss(self(self.noise(n))), optimizer)


def _step(player: nn.Module, loss: Any, optimizer: Any) -> float:
    """The player's own gradients only: ``loss.backward()`` would leave some in its opponent's parameters, too."""
    own = [p for p in player.parameters() if p.requires_grad]
    for p, g in zip(own, gradients(loss, own)):
        p.grad = g
    optimizer.step()
    return float(loss)


class Generator(nn.Sequential):
    """Noise to examples by an MLP: batch-normalised ReLU layers, then a sigmoid, so x is in [0, 1].

    Args:
        sizes: of the noise, of each hidden layer, of x.
        shape: that of an example, if it is not (sizes[-1],).

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import Generator
        >>> Generator(16, 128, 64, shape=(1, 8, 8))(mg.zeros((5, 16))).shape
        (5, 1, 8, 8)
    """

    def __init__(self, *sizes: int, shape: tuple[int, ...] | None = None) -> None:
        end = [nn.Sigmoid()] if shape is None else [nn.Sigmoid(), nn.Unflatten(1, shape)]
        super().__init__(MLP(*sizes, batch_norm=True), *end)


class Discriminator(nn.Sequential):
    """Examples to one score each by an MLP of leaky ReLUs, with dropout if wanted: (N, ...) to (N, 1).

    Args:
        sizes: of x, of each hidden layer.
        dropout: the probability to drop a hidden unit.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import Discriminator
        >>> Discriminator(64, 128)(mg.zeros((5, 1, 8, 8))).shape
        (5, 1)
    """

    def __init__(self, *sizes: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Flatten(), MLP(*sizes, 1, activation=lambda: nn.LeakyReLU(0.2), dropout=dropout))


class DCGANGenerator(nn.Sequential):
    """Noise to images by transposed convolutions, 4x4, 8x8, ..., size x size: Radford, Metz & Chintala 2016, figure 1.

    Every layer doubles the side and halves the maps; batch norm and ReLU between them, a tanh at the end, so x is in [-1, 1].
    Weights are N(0, 0.02**2), gains of the norms N(1, 0.02**2), as in the paper. 3,576,704 parameters by default (the paper's
    own has 1024 maps at 4x4: width=128).

    Args:
        latent_dim: how many numbers of noise.
        size: of an image: a power of two, 8 or more.
        channels: of an image.
        width: maps before the last layer.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import DCGANGenerator
        >>> DCGANGenerator(16, size=8, channels=1, width=8)(mg.zeros((2, 16))).shape
        (2, 1, 8, 8)
    """

    def __init__(self, latent_dim: int = 100, size: int = 64, channels: int = 3, width: int = 64) -> None:
        maps = [width * 2**k for k in reversed(range(_doublings("DCGANGenerator", size)))]
        super().__init__(nn.Unflatten(1, (latent_dim, 1, 1)))
        for k, (before, after) in enumerate(zip([latent_dim, *maps], maps)):
            self.append(nn.ConvTranspose2d(before, after, 4, *((2, 1) if k else (1, 0)), bias=False))
            self.append(nn.BatchNorm2d(after))
            self.append(nn.ReLU())
        self.append(nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False))
        self.append(nn.Tanh())
        self.apply(_start)


class DCGANDiscriminator(nn.Sequential):
    """The generator backwards: strided convolutions, size x size to 4x4 to one score (N, 1): Radford, Metz & Chintala 2016.

    Leaky ReLUs of slope 0.2, and batch norm but in the first layer and the last. 2,765,568 parameters by default.

    Args:
        size: of an image: a power of two, 8 or more.
        channels: of an image.
        width: maps after the first layer.
        batch_norm: whether there is batch norm, which :func:`gradient_penalty` does not go with.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import DCGANDiscriminator
        >>> DCGANDiscriminator(size=8, channels=1, width=8)(mg.zeros((2, 1, 8, 8))).shape
        (2, 1)
    """

    def __init__(self, size: int = 64, channels: int = 3, width: int = 64, batch_norm: bool = True) -> None:
        maps = [width * 2**k for k in range(_doublings("DCGANDiscriminator", size))]
        super().__init__()
        for k, (before, after) in enumerate(zip([channels, *maps], maps)):
            self.append(nn.Conv2d(before, after, 4, 2, 1, bias=False))
            if batch_norm and k:
                self.append(nn.BatchNorm2d(after))
            self.append(nn.LeakyReLU(0.2))
        self.append(nn.Conv2d(maps[-1], 1, 4, bias=False))
        self.append(nn.Flatten())
        self.apply(_start)


def _doublings(name: str, size: int) -> int:
    """How often 4 is doubled to give ``size``."""
    if size < 8 or size & (size - 1):
        raise ShapeError(f"{name}: size={size}: expected a power of two, 8 or more, such as 64; pad or resize the images")
    return round(math.log2(size / 4))


def _start(layer: nn.Module) -> None:
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d) and layer.weight is not None:
        init.normal_(layer.weight, 1.0, 0.02)
