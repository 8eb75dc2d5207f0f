"""Mixtures of Gaussians and k-means, both by gradient (notes 000, "Summary"; notes 004, "Unsupervised Learning").

Expectation-maximisation alternates between the responsibilities r_ik, how much component k answers for x_i, and the means that
are best for them. A gradient does the same in one stroke, because by the chain rule through log-sum-exp r_ik are the weights in it:

==============  ==============================================================  ==============================================
model           minimises, the mean over x                                      its gradient with respect to a centre
==============  ==============================================================  ==============================================
GaussianMixture -log sum_k pi_k N(x; mu_k, Sigma_k)                             -mean_i r_ik Sigma_k^-1 (x_i - mu_k)
SoftKMeans      -T log mean_k exp(-|x - z_k|**2 / T), as T -> 0 min_k |x - z_k|**2   -2 mean_i r_ik (x_i - z_k)
==============  ==============================================================  ==============================================

Both are zero where a centre is the mean of x weighted by r_ik: the M-step's fixed point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np

import minigrad as mg
from minigrad import nn, ops, random
from minigrad.errors import ShapeError
from minigrad.nn import init
from minigrad.nn.module import empty_parameter
from minigrad.optim import LBFGS
from minigrad.tensor import asarray

Array = np.ndarray[Any, Any]


def kmeans_plus_plus(x: Any, k: int, generator: np.random.Generator | None = None) -> Array:
    """Choose k of the points (N, D), each drawn with chance ~ its squared distance to those before: Arthur & Vassilvitskii 2007.

    Args:
        x: (N, D).
        k: how many, at most N.
        generator: of the draws; by default the one that ``mg.manual_seed`` sets.

    Returns:
        (k, D).

    Raises:
        ShapeError: if x has other axes, or fewer points.
        ValueError: if an element is nan or infinite.

    Example:
        >>> from minigrad.nn.models import kmeans_plus_plus
        >>> sorted(kmeans_plus_plus([[0.0], [0.0], [9.0]], 2).tolist())
        [[0.0], [9.0]]
    """
    points, rng = asarray(x).numpy().astype(float), generator or random.default_generator()
    if points.ndim != 2 or len(points) < k:
        raise ShapeError(f"kmeans_plus_plus: x has shape {points.shape}: expected (N, D) with N at least k={k}")
    if not np.isfinite(points).all():
        raise ValueError("kmeans_plus_plus: x has elements that are nan or infinite: drop those points, or fill them in")
    chosen = [int(rng.integers(len(points)))]
    for _ in range(k - 1):
        far = ((points[:, None] - points[chosen]) ** 2).sum(-1).min(1)
        left = far if far.any() else np.ones(len(points))  # fewer than k different points
        chosen.append(int(rng.choice(len(points), p=left / left.sum())))
    return points[chosen]


class _Clusters(nn.Module):
    """What both have in common: a loss over x, and responsibilities."""

    num_clusters: int
    dim: int

    def loss(self, x: Any) -> Any:
        """A number to minimise, the mean over x (N, D)."""
        raise NotImplementedError

    def responsibilities(self, x: Any) -> Any:
        """p(k|x), (N, K): rows that sum to 1."""
        raise NotImplementedError

    def start(self, x: Any, generator: np.random.Generator | None = None) -> None:
        """Set the parameters to where :meth:`fit` begins."""
        raise NotImplementedError

    def forward(self, x: Any) -> Any:
        return self.responsibilities(x)

    def predict(self, x: Any) -> Any:
        """The likeliest cluster of each x, (N,)."""
        return ops.argmax(self.responsibilities(x), -1)

    def fit(self, x: Any, max_iter: int = 200, restarts: int = 1, generator: np.random.Generator | None = None) -> Self:
        """Minimise the loss over x (N, D) by L-BFGS, from :func:`kmeans_plus_plus`; of several restarts the best is kept.

        With ``restarts=0`` it goes on from the present parameters. Any optimiser will do instead, as for other models:
        ``model.start(x)``, then steps along the gradient of ``model.loss(x)``.

        Raises:
            ShapeError: if x has other axes.
            ValueError: if no restart ends in a finite loss.
        """
        x = self._points(x)
        best, state = math.inf, dict[str, Array]()
        for _ in range(max(restarts, 1)):
            if restarts:
                self.start(x, generator)
            optimizer = LBFGS(self.parameters(), max_iter=max_iter, line_search_fn="strong_wolfe")

            def closure(optimizer: LBFGS = optimizer) -> Any:
                optimizer.zero_grad()
                value = self.loss(x)
                value.backward()
                return value

            optimizer.step(closure)
            reached = float(closure())
            optimizer.zero_grad()
            if reached < best:
                best, state = reached, {name: value.numpy().copy() for name, value in self.state_dict().items()}
        if not state:
            raise ValueError(
                f"{type(self).__name__}.fit: the loss is {reached}: scale x so that its squares are finite in {x.dtype}, or fit in float64"
            )
        self.load_state_dict(state)
        return self

    def _points(self, x: Any) -> Any:
        x = asarray(x)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ShapeError(f"{type(self).__name__}: x has shape {x.shape}: expected (N, {self.dim})")
        return x


class SoftKMeans(_Clusters):
    """K centres z_k; each x belongs to all of them, to the nearest most: r_k = softmax(-|x - z_k|**2 / T).

    The loss is T's free energy, which lies between min_k |x - z_k|**2 (the hard k-means cost, T = 0) and that + T log K. It is
    also the likelihood of a mixture of equally likely Gaussians of variance T/2 (notes 000: "EM does soft assignment").

    Args:
        num_clusters: K.
        dim: D.
        temperature: T; 0 is hard.
        device: where the centres go.
        dtype: theirs.

    Attributes:
        centers: (K, D), at first N(0, 1).

    Raises:
        ValueError: for a negative temperature.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import SoftKMeans
        >>> x = mg.tensor([[2.0, 3.0], [3.0, 3.0], [6.0, 5.0], [8.0, 8.0]])  # notes 004's A, B, C, D
        >>> model = SoftKMeans(2, 2, temperature=0.0).fit(x, restarts=5)
        >>> sorted(model.centers.numpy().round(3).tolist()), round(4 * model.loss(x).item(), 4)
        ([[2.5, 3.0], [7.0, 6.5]], 7.0)
    """

    _shown = ("num_clusters", "dim", "temperature")

    def __init__(
        self, num_clusters: int, dim: int, temperature: float = 1.0, device: str | None = None, dtype: Any = None
    ) -> None:
        if temperature < 0:
            raise ValueError(f"SoftKMeans: temperature={temperature}: expected 0 (hard k-means) or more")
        self.num_clusters, self.dim, self.temperature = num_clusters, dim, temperature
        self.centers = init.normal_(empty_parameter((num_clusters, dim), device, dtype))

    def distances(self, x: Any) -> Any:
        """|x - z_k|**2, (N, K)."""
        return ops.sum(ops.square(self._points(x)[:, None] - self.centers), -1)

    def loss(self, x: Any) -> Any:
        """-T log mean_k exp(-|x - z_k|**2 / T), the mean over x; at T = 0, min_k |x - z_k|**2."""
        d, T = self.distances(x), self.temperature
        if T == 0:
            return ops.mean(ops.min(d, -1))
        return T * ops.mean(math.log(self.num_clusters) - ops.logsumexp(-d / T, -1))

    def responsibilities(self, x: Any) -> Any:
        """r_k, (N, K); at T = 0, 1 for the nearest centre."""
        d = self.distances(x)
        if self.temperature == 0:
            return ops.astype(ops.one_hot(ops.argmin(d, -1), self.num_clusters), d.dtype)
        return ops.softmax(-d / self.temperature, -1)

    def start(self, x: Any, generator: np.random.Generator | None = None) -> None:
        """k-means++."""
        self.load_state_dict({"centers": kmeans_plus_plus(x, self.num_clusters, generator)})


COVARIANCES: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "shared": lambda K, D: (1, 1),
    "spherical": lambda K, D: (K, 1),
    "diag": lambda K, D: (K, D),
    "full": lambda K, D: (K, D),
}
"""The shape of ``log_precision``."""


class GaussianMixture(_Clusters):
    """p(x) = sum_k pi_k N(x; mu_k, Sigma_k), by maximum likelihood.

    Parameters are free, so that every step stays a mixture: pi = softmax(logits), and the precision Sigma_k^-1 = A_k A_k^T, where
    A_k is lower triangular with diagonal exp(log_precision_k): then log N is sum(log_precision) - |A^T (x - mu)|**2 / 2, without
    an inverse or a determinant. As for all such mixtures the likelihood has no upper bound (a component may shrink onto one point).

    Args:
        num_clusters: K.
        dim: D.
        covariance: ``"shared"``, one sigma**2 I (notes 000); ``"spherical"``, one for each component; ``"diag"``; or ``"full"``.
        device: where the parameters go.
        dtype: theirs.

    Attributes:
        logits: (K,), at first 0.
        means: mu, (K, D), at first N(0, 1).
        log_precision: logarithm of A's diagonal, (1, 1), (K, 1) or (K, D), at first 0.
        lower: what is below it, (K, D, D) of which the rest is not used; only if ``"full"``, at first 0.

    Raises:
        ValueError: for another covariance.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn.models import GaussianMixture
        >>> model = GaussianMixture(2, 1)
        >>> _ = model.load_state_dict(
        ...     {"logits": [0.0, 0.0], "means": [[-3.0], [3.0]], "log_precision": [[0.0], [0.0]]}, strict=False
        ... )
        >>> [round(v, 4) for v in model.log_prob(mg.tensor([[3.0], [0.0]])).tolist()]  # log(phi(0)/2), log phi(3)
        [-1.6121, -5.4189]
    """

    _shown = ("num_clusters", "dim", "covariance")

    def __init__(
        self, num_clusters: int, dim: int, covariance: str = "full", device: str | None = None, dtype: Any = None
    ) -> None:
        K, D = num_clusters, dim
        if covariance not in COVARIANCES:
            raise ValueError(f"GaussianMixture: covariance={covariance!r}: expected one of {', '.join(COVARIANCES)}")
        self.num_clusters, self.dim, self.covariance = K, D, covariance
        self.logits = init.zeros_(empty_parameter((K,), device, dtype))
        self.means = init.normal_(empty_parameter((K, D), device, dtype))
        self.log_precision = init.zeros_(empty_parameter(COVARIANCES[covariance](K, D), device, dtype))
        if covariance == "full":
            self.lower = init.zeros_(empty_parameter((K, D, D), device, dtype))

    def log_joint(self, x: Any) -> Any:
        """The terms of the sum, log pi_k + log N(x; mu_k, Sigma_k): (N, K)."""
        K, D = self.num_clusters, self.dim
        away, log_a = self._points(x)[:, None] - self.means, ops.broadcast_to(self.log_precision, (K, D))
        scaled = away * ops.exp(log_a)
        if self.covariance == "full":
            scaled = scaled + ops.einsum("nkd,kde->nke", away, ops.tril(self.lower, -1))
        log_normal = ops.sum(log_a, -1) - 0.5 * (D * math.log(2 * math.pi) + ops.sum(ops.square(scaled), -1))
        return ops.log_softmax(self.logits, -1) + log_normal

    def log_prob(self, x: Any) -> Any:
        """The log-density, log p(x): (N,)."""
        return ops.logsumexp(self.log_joint(x), -1)

    def loss(self, x: Any) -> Any:
        """-log p(x), the mean over x."""
        return -ops.mean(self.log_prob(x))

    def responsibilities(self, x: Any) -> Any:
        """p(k|x), (N, K): the E-step."""
        return ops.softmax(self.log_joint(x), -1)

    def weights(self) -> Any:
        """pi, (K,)."""
        return ops.softmax(self.logits, -1)

    def covariances(self) -> Any:
        """Sigma, (K, D, D)."""
        K, D = self.num_clusters, self.dim
        A = ops.exp(ops.broadcast_to(self.log_precision, (K, D)))[..., None] * mg.eye(
            D, dtype=self.means.dtype, device=self.means.device
        )
        if self.covariance == "full":
            A = A + ops.tril(self.lower, -1)
        inverse = ops.inv(A)
        return inverse.mT @ inverse

    def sample(self, n: int, generator: np.random.Generator | None = None) -> tuple[Any, Any]:
        """x, (n, D), and the components they come from, (n,)."""
        rng = generator or random.default_generator()
        pi = self.weights().numpy().astype(float)
        k = rng.choice(self.num_clusters, n, p=pi / pi.sum())
        factor = np.linalg.cholesky(self.covariances().numpy())
        x = self.means.numpy()[k] + np.einsum("nde,ne->nd", factor[k], rng.standard_normal((n, self.dim)))
        return asarray(x, dtype=self.means.dtype, device=self.means.device), asarray(k)

    def start(self, x: Any, generator: np.random.Generator | None = None) -> None:
        """k-means++ for the means; equal weights; one variance, that of the points about their nearest means."""
        x = asarray(x).numpy()
        means = kmeans_plus_plus(x, self.num_clusters, generator)
        spread = ((x[:, None] - means) ** 2).sum(-1).min(1).mean() / self.dim
        shapes = {name: p.shape for name, p in self.named_parameters()}
        zeros = {name: np.zeros(shape) for name, shape in shapes.items()}
        self.load_state_dict(
            {**zeros, "means": means, "log_precision": np.full(shapes["log_precision"], -0.5 * math.log(spread or 1.0))}
        )
