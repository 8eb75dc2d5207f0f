"""The variational autoencoder: Kingma & Welling 2014 (notes 001, "Autoencoders and Variational Autoencoders").

A number z ~ N(0, I) that nobody sees makes x ~ p(x|z). log p(x) has no closed form, but a bound from below, the ELBO, has:

    log p(x) >= E_q log p(x|z) - KL(q(z|x) || N(0, I)),    q(z|x) = N(mu(x), diag exp logvar(x)),

whose expectation is taken by a draw z = mu + exp(logvar/2) e, e ~ N(0, I), through which gradients flow into mu and logvar.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minigrad import nn, ops, random
from minigrad.errors import ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.tensor import asarray

Generator = np.random.Generator | None


class Likelihood(NamedTuple):
    """p(x|z) as a function of y, what the decoder says of z. Yours may be another."""

    name: str
    log_prob: Callable[[Any, Any], Any]
    """(y, x) to one number for each element of x."""
    mean: Callable[[Any], Any]
    """y to the expected x."""
    draw: Callable[[Any, Generator], Any]
    """(y, generator) to an x."""


def _gaussian(y: Any) -> tuple[Any, Any]:
    """Mean and logarithm of the variance: the halves of axis 1."""
    if y.shape[1] % 2:
        raise ShapeError(
            f"VAE: the decoder gave shape {tuple(y.shape)}: with likelihood='gaussian' its axis 1 must hold means, then logarithms of "
            f"variances: expected twice the size of x's axis 1"
        )
    half = y.shape[1] // 2
    return y[:, :half], y[:, half:]


def _gaussian_log_prob(y: Any, x: Any) -> Any:
    mu, logvar = _gaussian(y)
    _same(mu, x)
    return -0.5 * (math.log(2 * math.pi) + logvar + ops.square(x - mu) * ops.exp(-logvar))


def _bernoulli_log_prob(y: Any, x: Any) -> Any:
    _same(y, x)
    return -F.binary_cross_entropy_with_logits(y, x, reduction="none")


def _same(y: Any, x: Any) -> None:
    if tuple(y.shape) != tuple(x.shape):
        raise ShapeError(
            f"VAE: x has shape {tuple(x.shape)}, but the decoder speaks of {tuple(y.shape)}: expected equal shapes"
        )


def _draw_gaussian(y: Any, generator: Generator) -> Any:
    mu, logvar = _gaussian(y)
    return random.normal(loc=mu, scale=ops.exp(0.5 * logvar), generator=generator)


BERNOULLI = Likelihood(
    "bernoulli", _bernoulli_log_prob, ops.sigmoid, lambda y, g: random.bernoulli(ops.sigmoid(y), dtype=y.dtype, generator=g)
)
GAUSSIAN = Likelihood("gaussian", _gaussian_log_prob, lambda y: _gaussian(y)[0], _draw_gaussian)
LIKELIHOODS = {p.name: p for p in (BERNOULLI, GAUSSIAN)}


class VAE(nn.Module):
    """An encoder to N(mu, exp logvar), a draw from it, a decoder; trained by ``model.loss(x).backward()``.

    Args:
        encoder: x (N, ...) to (N, 2 D): mu, then logvar.
        decoder: z (N, D) to what describes p(x|z): with ``"bernoulli"`` the logits of x, in x's shape; with ``"gaussian"`` its
            means, then the logarithms of its variances, so twice as long in axis 1.
        latent_dim: D.
        likelihood: ``"bernoulli"`` for x in [0, 1], ``"gaussian"``, or another :class:`Likelihood`.
        beta: how much the divergence counts (Higgins et al. 2017).
        generator: of the draws e; by default the one that ``mg.manual_seed`` sets.

    Raises:
        ValueError: for another likelihood.
        ShapeError: when used, if the encoder or decoder gives another shape.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import MLP, VAE
        >>> model = VAE(MLP(64, 32, 2 * 2), MLP(2, 32, 64), latent_dim=2)
        >>> x = mg.random.bernoulli(0.5, (5, 64))
        >>> model.loss(x).shape, model.reconstruct(x).shape, model.sample(7).shape
        ((), (5, 64), (7, 64))
    """

    _shown = ("latent_dim", "likelihood", "beta")

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, latent_dim: int, likelihood: str | Likelihood = "bernoulli",
        beta: float = 1.0, generator: Generator = None,
    ) -> None:  # fmt: skip
        p = LIKELIHOODS.get(likelihood) if isinstance(likelihood, str) else likelihood
        if p is None:
            raise ValueError(f"VAE: likelihood={likelihood!r}: expected {', '.join(map(repr, LIKELIHOODS))} or a Likelihood")
        self.encoder, self.decoder = encoder, decoder
        self.latent_dim, self.likelihood, self.beta = latent_dim, p.name, beta
        self._p, self._generator = p, generator

    def encode(self, x: Any) -> tuple[Any, Any]:
        """The moments mu and logvar of q(z|x), (N, D) each."""
        both, D = self.encoder(x), self.latent_dim
        if both.shape != (len(x), 2 * D):
            raise ShapeError(
                f"VAE: the encoder gave shape {both.shape} for {len(x)} examples: expected {(len(x), 2 * D)}: {D} means and {D} "
                f"logarithms of variances"
            )
        return both[:, :D], both[:, D:]

    def reparameterize(self, mu: Any, logvar: Any) -> Any:
        """A draw z = mu + exp(logvar/2) e: the noise is a constant of the graph."""
        return random.normal(loc=mu, scale=ops.exp(0.5 * logvar), generator=self._generator)

    def decode(self, z: Any) -> Any:
        """The mean of p(x|z)."""
        return self._p.mean(self.decoder(z))

    def forward(self, x: Any) -> tuple[Any, Any, Any]:
        """What the decoder says of a draw z, mu and logvar."""
        mu, logvar = self.encode(x)
        return self.decoder(self.reparameterize(mu, logvar)), mu, logvar

    def elbo(self, x: Any, reduction: str = "mean") -> Any:
        """The bound log p(x|z) - beta KL(q || N(0, I)) with one draw z per example, in nats.

        Args:
            x: (N, ...).
            reduction: over the N examples: none, mean or sum.
        """
        x = asarray(x)
        y, mu, logvar = self(x)
        return F.elbo(self._p.log_prob(y, x), mu, logvar, self.beta, reduction=reduction)

    def loss(self, x: Any) -> Any:
        """Minus the ELBO, the mean over examples."""
        return -self.elbo(x)

    def reconstruct(self, x: Any) -> Any:
        """The mean of p(x|z) at the middle of q(z|x)."""
        return self.decode(self.encode(x)[0])

    def sample(self, n: int, mean: bool = False, generator: Generator = None) -> Any:
        """Draw z ~ N(0, I), then x ~ p(x|z).

        Args:
            n: how many.
            mean: give the mean of p(x|z) instead of a draw from it, as pictures do.
            generator: of the draws; by default that of the model.
        """
        generator = generator or self._generator
        like = next(self.parameters())
        z = random.normal((n, self.latent_dim), dtype=like.dtype, generator=generator, device=like.device)
        return self.decode(z) if mean else self._p.draw(self.decoder(z), generator)
