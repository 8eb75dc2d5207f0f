"""Autoencoders, VAE, GAN, word vectors, mixtures, metrics: closed forms, PyTorch's gradients, and what each must be able to learn."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.errors import NotInGraphError, ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import models
from minigrad.nn.models.vae import BERNOULLI, GAUSSIAN
from minigrad.testing import check_grads

RTOL = 1e-9
Rng = np.random.default_rng


def torch_or_skip() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")


def close(ours: Any, theirs: Any, what: str = "", rtol: float = RTOL) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * max(1.0, np.abs(theirs).max(initial=0)), err_msg=what)


def scatter(model: nn.Module, seed: int = 1, scale: float = 0.5) -> Any:
    """The same module in float64 with random parameters: at zeros and ones mistakes hide."""
    rng = Rng(seed)
    model = model.double()
    for p in model.parameters():
        p._data[...] = scale * rng.normal(size=p.shape)
    return model


def mlp(*sizes: int, **options: Any) -> nn.Module:
    return models.MLP(*sizes, activation=nn.Tanh, **options)


class Objective(nn.Module):
    """A module whose forward is a loss of another: what functional_call needs."""

    def __init__(self, model: nn.Module, loss: Callable[[], Any]) -> None:
        self.model, self._loss = model, loss

    def forward(self) -> Any:
        return self._loss()


def check_parameters(model: nn.Module, loss: Callable[[], Any], order: int = 1) -> None:
    """check_grads of the loss as a function of all parameters."""
    objective = Objective(model, loss)
    names = [name for name, p in objective.named_parameters() if p.requires_grad]
    values = [objective.get_parameter(name).numpy().copy() for name in names]
    check_grads(lambda *ps: nn.functional_call(objective, dict(zip(names, ps))), *values, order=order)


def descend(model: nn.Module, loss: Callable[[], Any], max_iter: int = 300) -> float:
    """The full-batch minimum of a deterministic loss."""
    optimizer = mg.optim.LBFGS(model.parameters(), max_iter=max_iter, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def closure() -> Any:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    return float(closure())


def as_torch(*arrays: Any) -> list[Any]:
    torch = torch_or_skip()
    return [torch.tensor(np.asarray(a), requires_grad=np.asarray(a).dtype.kind == "f") for a in arrays]


def same_gradients(model: nn.Module, theirs: dict[str, Any]) -> None:
    assert set(theirs) == {name for name, _ in model.named_parameters()}
    for name, p in model.named_parameters():
        close(p.grad, theirs[name].grad, name)


def torch_parameters(model: nn.Module) -> dict[str, Any]:
    return dict(zip(dict(model.named_parameters()), as_torch(*(p.numpy() for p in model.parameters()))))


def torch_mlp(p: dict[str, Any], path: str, x: Any) -> Any:
    """tanh between the layers, as ``mlp``."""
    torch = torch_or_skip()
    layers = sorted({int(name.removeprefix(path).split(".")[0]) for name in p if name.startswith(path)})
    for i in layers:
        x = torch.nn.functional.linear(x, p[f"{path}{i}.weight"], p[f"{path}{i}.bias"])
        x = torch.tanh(x) if i != layers[-1] else x
    return x


# ---- every model: seeds, state, modes, gradients --------------------------------------------------------------------------

X = Rng(0).normal(size=(6, 3))
BITS = (Rng(0).random((6, 3)) < 0.5).astype(float)
TEXT = np.array([0, 1, 2, 0, 3, 1, 2, 4, 0, 1])
PAIRS = models.skip_gram_pairs(TEXT, 2)
WINDOWS = models.cbow_windows(TEXT, 2)


def _vae(likelihood: Any, out: int) -> nn.Module:
    return models.VAE(mlp(3, 4, 4), mlp(2, 4, out), 2, likelihood, generator=Rng(3))


def _redrawn(loss: Callable[[nn.Module], Any], attribute: str = "_generator") -> Callable[[nn.Module], Any]:
    """The loss with the same noise at each call."""

    def fixed(model: nn.Module) -> Any:
        owner = model.corruption if hasattr(model, "corruption") else model
        object.__setattr__(owner, attribute, Rng(3))
        return loss(model)

    return fixed


CODES = (lambda: nn.Sequential(mlp(3, 4, 2), nn.Sigmoid())), (lambda: mlp(2, 4, 3))
MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Any], int]] = {
    "Autoencoder": (lambda: models.Autoencoder(CODES[0](), CODES[1]()), lambda m: m.loss(X), 2),
    "LinearAutoencoder": (lambda: models.LinearAutoencoder(3, 2), lambda m: m.loss(X), 2),
    "SparseAutoencoder": (lambda: models.SparseAutoencoder(CODES[0](), CODES[1](), 0.1), lambda m: m.loss(X), 2),
    "SparseAutoencoder, rate": (lambda: models.SparseAutoencoder(CODES[0](), CODES[1](), 0.1, 0.2), lambda m: m.loss(X), 2),
    "DenoisingAutoencoder": (
        lambda: models.DenoisingAutoencoder(CODES[0](), CODES[1](), nn.GaussianNoise(0.5, Rng(3))),
        _redrawn(lambda m: m.loss(X)), 2,
    ),
    "ContractiveAutoencoder": (lambda: models.ContractiveAutoencoder(CODES[0](), CODES[1](), 0.3), lambda m: m.loss(X), 2),
    "VAE, Bernoulli": (lambda: _vae("bernoulli", 3), _redrawn(lambda m: m.loss(BITS)), 2),
    "VAE, Gaussian": (lambda: _vae("gaussian", 6), _redrawn(lambda m: m.loss(X)), 2),
    "GAN": (
        lambda: models.GAN(mlp(2, 4, 3), mlp(3, 4, 1), 2),
        lambda m: m.generator_loss(m(mg.asarray(X[:, :2]))) + 2 * m.discriminator_loss(X, X[::-1] ** 2), 2,
    ),
    "GAN, penalty": (
        lambda: models.GAN(mlp(2, 4, 3), mlp(3, 4, 1), 2, "wasserstein", 10.0),
        _redrawn(lambda m: m.generator_loss(m(mg.asarray(X[:, :2]))) + m.discriminator_loss(X, X[::-1] ** 2), "_rng"), 2,
    ),
    "SkipGram": (lambda: models.SkipGram(5, 3), lambda m: m.loss(*PAIRS), 2),
    "SkipGram, negatives": (
        lambda: models.SkipGram(5, 3), lambda m: m.loss(*PAIRS, negatives=Rng(2).integers(5, size=(len(PAIRS[0]), 4))), 2,
    ),
    "CBOW": (lambda: models.CBOW(5, 3), lambda m: m.loss(*WINDOWS), 2),
    "CBOW, negatives": (
        lambda: models.CBOW(5, 3), lambda m: m.loss(*WINDOWS, negatives=Rng(2).integers(5, size=(len(TEXT), 4))), 2,
    ),
    "SoftKMeans": (lambda: models.SoftKMeans(2, 3, 0.7), lambda m: m.loss(X), 2),
    "GaussianMixture, shared": (lambda: models.GaussianMixture(2, 3, "shared"), lambda m: m.loss(X), 2),
    "GaussianMixture, spherical": (lambda: models.GaussianMixture(2, 3, "spherical"), lambda m: m.loss(X), 2),
    "GaussianMixture, diag": (lambda: models.GaussianMixture(2, 3, "diag"), lambda m: m.loss(X), 2),
    "GaussianMixture, full": (lambda: models.GaussianMixture(2, 3), lambda m: m.loss(X), 2),
    "NeighbourhoodComponents": (lambda: models.NeighbourhoodComponents(3, 2), lambda m: m.loss(X, [0, 1, 0, 2, 1, 0]), 2),
}  # fmt: skip
EVERY = pytest.mark.parametrize("name", MODELS)


@EVERY
def test_gradients_of_the_loss(name: str) -> None:
    build, loss, order = MODELS[name]
    mg.manual_seed(0)
    model = scatter(build())
    check_parameters(model, lambda: loss(model), order)
    loss(model).backward()
    for path, p in model.named_parameters():
        assert p.grad is not None, path
        assert (p.grad.numpy() != 0).any(), path


@EVERY
def test_seed_state_and_modes(name: str) -> None:
    build, loss, _ = MODELS[name]
    mg.manual_seed(5)
    first = build()
    mg.manual_seed(5)
    second = build()
    for (path, p), q in zip(first.named_parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy(), err_msg=path)
    assert loss(first).item() == loss(second).item()
    scatter(first, 2)
    second.double().load_state_dict(first.state_dict())
    assert loss(first).item() == loss(second).item()
    twin = copy.deepcopy(first)
    assert loss(twin).item() == loss(first).item()
    assert first.training
    assert not first.eval().training
    assert not any(m.training for m in first.modules())
    with mg.no_grad():
        assert not loss(first).requires_grad


# ---- autoencoders ---------------------------------------------------------------------------------------------------------


def test_linear_autoencoder_is_pca() -> None:
    rng = Rng(0)
    x = rng.normal(size=(200, 6)) * [5, 4, 3, 1, 0.5, 0.2] @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + rng.normal(size=6)
    mg.manual_seed(0)
    model = models.LinearAutoencoder(6, 3).double()
    reached = descend(model, lambda: model.loss(x))
    mean = x.mean(0)
    _, s, vt = np.linalg.svd(x - mean, full_matrices=False)
    W, b = model.weight.numpy(), model.bias.numpy()
    close(W @ W.T, np.eye(3), "orthonormal rows", 1e-5)
    close(W.T @ W, vt[:3].T @ vt[:3], "the span of the first three principal directions", 1e-5)
    close(reached, (s[3:] ** 2).sum() / len(x), "the other variances", 1e-9)
    close(model(x).numpy(), mean + (x - mean) @ vt[:3].T @ vt[:3], "PCA's reconstruction", 1e-4)
    away = np.eye(6) - W.T @ W
    close(away @ b, away @ mean, "the mean, where the code cannot say it", 1e-5)


def test_sparse_penalties() -> None:
    h = np.array([[0.2, 0.9], [0.4, 0.1], [0.3, 0.2]])
    model = models.SparseAutoencoder(nn.Identity(), nn.Identity(), penalty=2.0)
    close(model.loss(mg.asarray(h)).item(), 2 * np.abs(h).sum() / 3)
    rated, r, m = models.SparseAutoencoder(nn.Identity(), nn.Identity(), 2.0, rate=0.1), 0.1, h.mean(0)
    kl = r * np.log(r / m) + (1 - r) * np.log((1 - r) / (1 - m))
    close(rated.loss(mg.asarray(h)).item(), 2 * kl.sum())
    close(rated.loss(mg.full((4, 2), 0.1, dtype="float64")).item(), 0.0, "no penalty at the rate itself")
    for rate in (0, 1, -0.5):
        with pytest.raises(ValueError, match="rate"):
            models.SparseAutoencoder(nn.Identity(), nn.Identity(), rate=rate)


@pytest.mark.parametrize("rate", [None, 0.05])
def test_sparsity_switches_units_off(rate: float | None) -> None:
    x = Rng(0).normal(size=(64, 4)) @ Rng(1).normal(size=(4, 8))
    active = []
    for penalty in (0.0, 3.0):
        mg.manual_seed(0)
        model = models.SparseAutoencoder(
            nn.Sequential(nn.Linear(8, 12), nn.Sigmoid()), nn.Linear(12, 8), penalty, rate
        ).double()
        descend(model, lambda model=model: model.loss(x), 100)
        active.append(model.encode(x).numpy().mean())
    assert active[1] < 0.5 * active[0]


def test_denoising_sees_noise_and_is_asked_for_the_clean_x() -> None:
    x = mg.asarray(X)
    model = models.DenoisingAutoencoder(nn.Identity(), nn.Identity(), nn.GaussianNoise(0.5, Rng(7)))
    close(model.loss(x).item(), (0.5 * Rng(7).standard_normal(X.shape)).__pow__(2).sum() / len(X))
    assert model.loss(x).item() != model.loss(x).item(), "noise is drawn anew"
    assert model.eval().loss(x).item() == 0
    dropped = models.DenoisingAutoencoder(nn.Identity(), nn.Identity(), nn.Dropout(1.0))
    close(dropped.loss(x).item(), (X**2).sum() / len(X), "any corruption")


def test_denoising_projects_onto_where_the_data_are() -> None:
    """Its own noise is what it removes: the minimum of a linear one is C (C + s**2 I)^-1, C the second moments of x."""
    rng, std = Rng(0), 0.7
    x = rng.normal(size=(400, 1)) @ [[1.0, 2.0]] + 0.1 * rng.normal(size=(400, 2))
    x -= x.mean(0)
    mg.manual_seed(0)
    model = models.DenoisingAutoencoder(nn.Identity(), nn.Linear(2, 2), nn.GaussianNoise(std, Rng(1))).double()
    optimizer = mg.optim.Adam(model.parameters(), lr=0.02)
    trail = []
    for step in range(1500):
        optimizer.zero_grad()
        model.loss(x).backward()
        optimizer.step()
        if step >= 1000:
            trail.append(model.decoder.weight.numpy().copy())
    C = x.T @ x / len(x)
    np.testing.assert_allclose(np.mean(trail, 0), C @ np.linalg.inv(C + std**2 * np.eye(2)), atol=0.02)


def contractive() -> Any:
    return scatter(models.ContractiveAutoencoder(nn.Sequential(nn.Linear(3, 4), nn.Sigmoid()), nn.Linear(4, 3), 0.3))


def test_contractive_penalty_is_the_closed_form_and_pytorchs() -> None:
    model = contractive()
    loss = model.loss(X)
    p = torch_parameters(model)
    torch = torch_or_skip()
    x = torch.tensor(X)
    W = p["encoder.0.weight"]
    h = torch.sigmoid(x @ W.T + p["encoder.0.bias"])
    x_hat = h @ p["decoder.weight"].T + p["decoder.bias"]
    closed = (((h * (1 - h)) ** 2) @ (W**2).sum(1)).mean()
    theirs = ((x - x_hat) ** 2).sum(1).mean() + 0.3 * closed
    close(loss.item(), theirs.item())
    loss.backward()
    theirs.backward()
    same_gradients(model, p)


def test_contractive_under_no_grad_and_with_an_x_of_its_own() -> None:
    model = contractive()
    with mg.no_grad():
        value = model.loss(X)
    assert not value.requires_grad
    x = mg.tensor(X, requires_grad=True)
    loss = model.loss(x)
    assert loss.item() == value.item()
    (g,) = mg.gradients(loss, x)
    check_grads(lambda x: model.loss(x), X, order=1)
    assert g.shape == X.shape
    assert x.grad is None


def test_reconstructions_must_have_the_shape_of_x() -> None:
    with pytest.raises(ShapeError, match=r"\(6, 3\), its reconstruction \(6, 1\)"):
        models.Autoencoder(nn.Identity(), nn.Linear(3, 1).double()).loss(X)


# ---- VAE ------------------------------------------------------------------------------------------------------------------


def test_kl_closed_form_is_the_expectation() -> None:
    """Of log q(z) - log N(z; 0, I), over a million draws, within five standard errors; by quadrature exactly, in one dimension."""
    mu, logvar = 0.7, -0.4
    z = np.linspace(-12, 12, 200_001)
    log_q = -0.5 * (math.log(2 * math.pi) + logvar + (z - mu) ** 2 / math.exp(logvar))
    log_p = -0.5 * (math.log(2 * math.pi) + z**2)
    exact = np.trapezoid(np.exp(log_q) * (log_q - log_p), z)
    close(F.gaussian_kl(np.array([[mu]]), np.array([[logvar]])).item(), exact, rtol=1e-8)
    model = scatter(models.VAE(mlp(3, 4, 4), mlp(2, 4, 3), 2))
    m, v = (t.detach().numpy() for t in model.encode(mg.asarray(BITS)))
    kl = 0.5 * (np.exp(v) + m**2 - 1 - v).sum(1)
    model._generator = Rng(0)
    y, _, _ = model(mg.asarray(BITS))
    model._generator = Rng(0)
    fit = np.log(np.where(BITS == 1, 1 / (1 + np.exp(-y.detach().numpy())), 1 / (1 + np.exp(y.detach().numpy())))).sum(1)
    close(model.elbo(BITS, reduction="none").detach(), fit - kl)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_vae_is_pytorchs_composition(likelihood: str, beta: float) -> None:
    torch = torch_or_skip()
    gaussian = likelihood == "gaussian"
    x = X if gaussian else BITS
    model = scatter(models.VAE(mlp(3, 4, 4), mlp(2, 4, 6 if gaussian else 3), 2, likelihood, beta, Rng(9)))
    loss = model.loss(x)
    p, t = torch_parameters(model), torch.tensor(x)
    both = torch_mlp(p, "encoder.", t)
    mu, logvar = both[:, :2], both[:, 2:]
    q = torch.distributions.Normal(mu, torch.exp(logvar / 2))
    z = mu + torch.exp(logvar / 2) * torch.tensor(Rng(9).standard_normal((6, 2)))
    y = torch_mlp(p, "decoder.", z)
    if gaussian:
        likely = torch.distributions.Normal(y[:, :3], torch.exp(y[:, 3:] / 2))
    else:
        likely = torch.distributions.Bernoulli(logits=y)
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu)))
    theirs = -(likely.log_prob(t).sum(1) - beta * kl.sum(1)).mean()
    close(loss.item(), theirs.item())
    loss.backward()
    theirs.backward()
    same_gradients(model, p)


def test_gaussian_vae_with_a_linear_decoder_reaches_the_likelihood_of_pca() -> None:
    """Where q can be exact, the bound is log p(x): probabilistic PCA's maximum (Tipping & Bishop 1999), which is known."""
    rng = Rng(0)
    x = rng.normal(size=(300, 1)) @ [[2.0, 1.0, -1.0]] + 0.5 * rng.normal(size=(300, 3))
    x -= x.mean(0)
    values = np.linalg.eigvalsh(x.T @ x / len(x))[::-1]
    noise = values[1:].mean()
    best = -0.5 * (3 * math.log(2 * math.pi) + math.log(values[0]) + 2 * math.log(noise) + 3)

    class Decoder(nn.Module):
        """W z, and one variance for all."""

        def __init__(self) -> None:
            self.weight, self.logvar = nn.Parameter(0.1 * rng.normal(size=(3, 1))), nn.Parameter(np.zeros(1))

        def forward(self, z: Any) -> Any:
            mean = F.linear(z, self.weight)
            return mg.concat([mean, mg.broadcast_to(self.logvar, mean.shape)], 1)

    mg.manual_seed(0)
    model = models.VAE(nn.Linear(3, 2), Decoder(), 1, "gaussian", generator=Rng(1)).double()
    optimizer = mg.optim.Adam(model.parameters(), lr=0.02)
    schedule = mg.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    for _ in range(1500):
        optimizer.zero_grad()
        model.loss(x).backward()
        optimizer.step()
        schedule.step()
    with mg.no_grad():
        bounds = np.array([model.elbo(x).item() for _ in range(200)])
    assert best - 0.02 < bounds.mean() < best + 5 * bounds.std() / math.sqrt(200)


def test_vae_samples_and_reconstructions() -> None:
    model = scatter(models.VAE(mlp(3, 4, 4), mlp(2, 4, 3), 2), scale=1.0)
    a, b = (model.sample(500, generator=Rng(3)).numpy() for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert set(np.unique(a)) == {0.0, 1.0}
    means = model.sample(500, mean=True, generator=Rng(3)).detach().numpy()
    z = Rng(3).standard_normal((500, 2))
    close(means, model.decode(mg.asarray(z)).detach())
    assert abs(a.mean() - means.mean()) < 4 * 0.5 / math.sqrt(a.size)
    close(model.reconstruct(BITS).detach(), mg.sigmoid(model.decoder(model.encode(mg.asarray(BITS))[0])).detach())
    drawn = GAUSSIAN.draw(mg.asarray(np.tile([[1.0, math.log(4.0)]], (40_000, 1))), Rng(0)).numpy()
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [1, 2], atol=0.04)
    mg.manual_seed(1)
    first = model.loss(BITS).item()
    mg.manual_seed(1)
    assert model.loss(BITS).item() == first
    assert model.loss(BITS).item() != first


def test_bernoulli_log_probability_is_exact_in_both_tails() -> None:
    y = mg.tensor([800.0, -800.0, 800.0, -800.0, 50.0], dtype="float64", requires_grad=True)
    x = mg.tensor([1.0, 0.0, 0.0, 1.0, 1.0], dtype="float64")
    log_p = BERNOULLI.log_prob(y, x)
    np.testing.assert_allclose(log_p.detach().numpy(), [0, 0, -800, -800, -math.exp(-50)], rtol=1e-12)
    log_p.sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), [0, 0, -1, 1, math.exp(-50)], rtol=1e-12)


def test_a_likelihood_of_ones_own() -> None:
    poisson = models.vae.Likelihood(
        "poisson", lambda y, x: x * y - mg.exp(y), mg.exp, lambda y, g: mg.asarray(g.poisson(np.exp(y.detach().numpy())))
    )
    model = scatter(models.VAE(mlp(3, 4, 2), mlp(1, 4, 3), 1, poisson, generator=Rng(0)))
    assert "likelihood='poisson'" in repr(model) or "likelihood=poisson" in repr(model)
    assert model.sample(4).shape == (4, 3)
    model.loss(np.ones((5, 3))).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: models.VAE(nn.Linear(3, 5), nn.Linear(2, 3), 2).loss(mg.ones((4, 3))), r"encoder gave shape \(4, 5\)"),
        (lambda: models.VAE(nn.Linear(3, 4), nn.Linear(2, 2), 2).loss(mg.ones((4, 3))), r"decoder speaks of \(4, 2\)"),
        (lambda: models.VAE(nn.Linear(3, 4), nn.Linear(2, 3), 2, "gaussian").loss(mg.ones((4, 3))), "twice the size"),
        (
            lambda: models.VAE(nn.Linear(3, 4), nn.Linear(2, 4), 2, "gaussian").loss(mg.ones((4, 3))),
            r"decoder speaks of \(4, 2\)",
        ),
    ],
)
def test_vae_says_which_shape_is_wrong(build: Callable[[], Any], match: str) -> None:
    with pytest.raises(ShapeError, match=match):
        build()


def test_vae_names_its_likelihoods() -> None:
    with pytest.raises(ValueError, match="'bernoulli', 'gaussian'"):
        models.VAE(nn.Identity(), nn.Identity(), 2, "laplace")


# ---- GAN ------------------------------------------------------------------------------------------------------------------


def play(game: str = "non-saturating", penalty: float = 0.0) -> Any:
    return scatter(models.GAN(mlp(2, 4, 3), mlp(3, 4, 1), 2, game, penalty, Rng(4)))


def losses_by_hand(game: str, r: Any, f: Any) -> tuple[Any, Any]:
    """As printed in the papers, with the sigmoid taken out of the logarithm by PyTorch."""
    torch = torch_or_skip()
    log_s = torch.nn.functional.logsigmoid
    return {
        "minimax": (-log_s(r).mean() - log_s(-f).mean(), log_s(-f).mean()),
        "non-saturating": (-log_s(r).mean() - log_s(-f).mean(), -log_s(f).mean()),
        "least-squares": (((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2, ((f - 1) ** 2).mean() / 2),
        "hinge": ((1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean(), -f.mean()),
        "wasserstein": (f.mean() - r.mean(), -f.mean()),
    }[game]


@pytest.mark.parametrize("game", models.gan.GAMES)
def test_each_player_steps_as_in_pytorch(game: str) -> None:
    """SGD with rate 1, so the new parameters are the old ones minus the gradients: of both players, in turn."""
    torch = torch_or_skip()
    gan = play(game)
    old = torch_parameters(gan)
    for_d, for_g = (mg.optim.SGD(player.parameters(), lr=1.0) for player in (gan.discriminator, gan.generator))
    noise = Rng(4)
    fake = torch_mlp(old, "generator.", torch.tensor(noise.standard_normal((6, 2))))
    r, f = (torch_mlp(old, "discriminator.", x) for x in (torch.tensor(X), fake.detach()))
    loss = losses_by_hand(game, r, f)[0]
    loss.backward()
    close(gan.discriminator_step(mg.asarray(X), for_d), loss.item())
    for name, p in gan.named_parameters():
        moved = 0 if name.startswith("generator") else old[name].grad.numpy()
        close(p.numpy(), old[name].detach().numpy() - moved, name)

    old = torch_parameters(gan)
    fake = torch_mlp(old, "generator.", torch.tensor(noise.standard_normal((5, 2))))
    loss = losses_by_hand(game, torch.zeros(1), torch_mlp(old, "discriminator.", fake))[1]
    loss.backward()
    close(gan.generator_step(5, for_g), loss.item())
    for name, p in gan.named_parameters():
        moved = 0 if name.startswith("discriminator") else old[name].grad.numpy()
        close(p.numpy(), old[name].detach().numpy() - moved, name)


def test_a_step_leaves_the_opponents_gradients_alone() -> None:
    gan = play()
    for_d, for_g = (mg.optim.SGD(player.parameters(), lr=0.1) for player in (gan.discriminator, gan.generator))
    for player in (gan.discriminator, gan.generator):
        for p in player.parameters():
            p.grad = mg.full_like(p, 7.0).detach()
    gan.generator_step(4, for_g)
    assert all((p.grad.numpy() == 7).all() for p in gan.discriminator.parameters())
    mine = [p.grad.numpy().copy() for p in gan.generator.parameters()]
    assert all(np.abs(g).max() < 4 for g in mine), "old gradients are replaced, not added to"
    gan.discriminator_step(mg.asarray(X), for_d)
    for p, g in zip(gan.generator.parameters(), mine):
        np.testing.assert_array_equal(p.grad.numpy(), g)
    assert all(np.abs(p.grad.numpy()).max() < 4 for p in gan.discriminator.parameters())


def test_the_discriminators_loss_does_not_reach_the_generator() -> None:
    gan = play("wasserstein", 10.0)
    loss = gan.discriminator_loss(mg.asarray(X), gan(gan.noise(6)))
    with pytest.raises(NotInGraphError, match="no output depends"):
        mg.gradients(loss, list(gan.generator.parameters()))


def test_frozen_layers_stay() -> None:
    gan = play()
    frozen = gan.generator[0].freeze()
    before = frozen.weight.numpy().copy()
    gan.generator_step(4, mg.optim.SGD([p for p in gan.generator.parameters() if p.requires_grad], lr=0.1))
    np.testing.assert_array_equal(frozen.weight.numpy(), before)


def test_gradient_penalty_is_the_closed_form_and_pytorchs() -> None:
    torch = torch_or_skip()
    D = scatter(mlp(3, 4, 1))
    real, fake = X, X[::-1] ** 2
    penalty = models.gradient_penalty(D, real, fake, Rng(5))
    along = Rng(5).uniform(size=(6, 1))
    between = torch.tensor(fake + along * (real - fake), requires_grad=True)
    p = torch_parameters(D)
    (slope,) = torch.autograd.grad(torch_mlp(p, "", between).sum(), between, create_graph=True)
    theirs = ((slope.norm(dim=1) - 1) ** 2).mean()
    close(penalty.item(), theirs.item())
    penalty.backward()
    theirs.backward()
    for name, q in D.named_parameters():
        close(
            0 * q.numpy() if q.grad is None else q.grad,
            0 * p[name].detach().numpy() if p[name].grad is None else p[name].grad,
            name,
        )
    W, b = p["0.weight"].detach().numpy(), p["0.bias"].detach().numpy()
    inner = 1 - np.tanh((fake + along * (real - fake)) @ W.T + b) ** 2
    by_hand = np.linalg.norm((inner * p["2.weight"].detach().numpy()) @ W, axis=1)
    close(penalty.item(), ((by_hand - 1) ** 2).mean(), "by the chain rule")
    images = models.gradient_penalty(
        nn.Sequential(nn.Flatten(), nn.Linear(12, 1)), mg.ones((2, 3, 2, 2)), mg.zeros((2, 3, 2, 2))
    )
    assert images.shape == ()
    with pytest.raises(ShapeError, match="equal shapes"):
        models.gradient_penalty(D, X, X[:3])


def test_gradient_penalty_of_a_flat_discriminator_is_finite() -> None:
    D = mlp(3, 4, 1).double()
    for p in D.parameters():
        p._data[...] = 0
    penalty = models.gradient_penalty(D, X, -X)
    penalty.backward()
    assert penalty.item() == 1
    assert all(p.grad is None or np.isfinite(p.grad.numpy()).all() for p in D.parameters())


def test_the_penalty_teaches_a_slope_of_one() -> None:
    D = scatter(mlp(3, 8, 1), scale=2.0)
    optimizer = mg.optim.Adam(D.parameters(), lr=0.02)
    rng = Rng(0)
    for _ in range(300):
        optimizer.zero_grad()
        penalty = models.gradient_penalty(D, X, -X, rng)
        penalty.backward()
        optimizer.step()
    assert penalty.item() < 0.05 < models.gradient_penalty(scatter(mlp(3, 8, 1), scale=2.0), X, -X, Rng(0)).item()


def test_a_wasserstein_gan_finds_all_modes() -> None:
    """Four blobs on a circle: most samples lie near one, and every one is found."""
    rng = Rng(0)
    centres = np.array([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]])
    mg.manual_seed(0)
    gan = models.GAN(models.MLP(4, 64, 64, 2), models.MLP(2, 64, 64, 1), 4, "wasserstein", 1.0, Rng(1))
    for_d, for_g = (
        mg.optim.Adam(p.parameters(), lr=lr, betas=(0.5, 0.9)) for p, lr in ((gan.discriminator, 3e-3), (gan.generator, 1e-3))
    )
    for _ in range(800):
        real = (centres[rng.integers(4, size=128)] + 0.2 * rng.normal(size=(128, 2))).astype(np.float32)
        gan.discriminator_step(mg.asarray(real), for_d)
        gan.generator_step(128, for_g)
    x = gan.sample(2000, Rng(2)).numpy()
    distance = np.linalg.norm(x[:, None] - centres, axis=-1)
    near = distance.min(1) < 0.8
    assert near.mean() > 0.7
    assert np.bincount(distance.argmin(1)[near], minlength=4).min() > 200


def test_dcgan_is_pytorchs() -> None:
    """The counts are those of PyTorch's DCGAN tutorial; the layers are checked by running both on the same weights."""
    torch = torch_or_skip()
    T = torch.nn
    assert sum(p.size for p in models.DCGANGenerator().parameters()) == 3_576_704
    assert sum(p.size for p in models.DCGANDiscriminator().parameters()) == 2_765_568
    theirs = T.Sequential(
        T.Unflatten(1, (5, 1, 1)), T.ConvTranspose2d(5, 8, 4, 1, 0, bias=False), T.BatchNorm2d(8), T.ReLU(),
        T.ConvTranspose2d(8, 4, 4, 2, 1, bias=False), T.BatchNorm2d(4), T.ReLU(), T.ConvTranspose2d(4, 1, 4, 2, 1, bias=False), T.Tanh(),
    ).double()  # fmt: skip
    mg.manual_seed(0)
    ours = models.DCGANGenerator(5, size=16, channels=1, width=4).double()
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})
    z = Rng(0).normal(size=(3, 5))
    close(ours(mg.asarray(z)).detach(), theirs(torch.tensor(z)).detach())
    theirs = T.Sequential(
        T.Conv2d(1, 4, 4, 2, 1, bias=False), T.LeakyReLU(0.2), T.Conv2d(4, 8, 4, 2, 1, bias=False), T.BatchNorm2d(8), T.LeakyReLU(0.2),
        T.Conv2d(8, 1, 4, bias=False), T.Flatten(),
    ).double()  # fmt: skip
    ours = models.DCGANDiscriminator(size=16, channels=1, width=4).double()
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})
    x = Rng(0).normal(size=(3, 1, 16, 16))
    close(ours(mg.asarray(x)).detach(), theirs(torch.tensor(x)).detach())
    weights = np.concatenate(
        [p.numpy().ravel() for p in models.DCGANDiscriminator(size=16, width=32).parameters() if p.ndim == 4]
    )
    np.testing.assert_allclose([weights.mean(), weights.std()], [0, 0.02], atol=5e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in models.DCGANDiscriminator(batch_norm=False).modules())
    for size in (4, 12, 28):
        with pytest.raises(ShapeError, match="power of two"):
            models.DCGANGenerator(size=size)


def test_mlp_players() -> None:
    G, D = models.Generator(4, 8, 12, shape=(3, 2, 2)), models.Discriminator(12, 8, dropout=0.5)
    x = G(mg.asarray(Rng(0).normal(size=(6, 4)).astype(np.float32)))
    assert x.shape == (6, 3, 2, 2)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    assert D(x).shape == (6, 1)
    assert models.Generator(4, 8, 12)(mg.zeros((2, 4))).shape == (2, 12)
    with pytest.raises(ValueError, match="minimax, non-saturating"):
        models.GAN(G, D, 4, game="chess")


# ---- word2vec --------------------------------------------------------------------------------------------------------------


def test_pairs_and_windows_by_hand() -> None:
    around, centre = models.cbow_windows([5, 6, 7, 8], 2)
    np.testing.assert_array_equal(around, [[-1, -1, 6, 7], [-1, 5, 7, 8], [5, 6, 8, -1], [6, 7, -1, -1]])
    np.testing.assert_array_equal(centre, [5, 6, 7, 8])
    by_hand = [(TEXT[i], TEXT[j]) for i in range(10) for j in range(max(0, i - 2), min(10, i + 3)) if j != i]
    np.testing.assert_array_equal(np.stack(PAIRS, 1), by_hand)
    for bad in (np.array([[1, 2]]), np.array([0.5]), np.array(["the", "cat"])):
        with pytest.raises(ShapeError, match="return_inverse"):
            models.cbow_windows(bad, 1)
    with pytest.raises(ValueError, match="window=0"):
        models.skip_gram_pairs([1, 2], 0)


def test_negative_samples_have_the_chances_asked_for() -> None:
    counts = np.array([16, 0, 1, 81])
    drawn = models.negative_samples(counts, (100_000,), 0.75, Rng(0))
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 100_000, np.array([8, 0, 1, 27]) / 36, atol=0.006)
    np.testing.assert_array_equal(drawn[:5], models.negative_samples(counts, (5,), generator=Rng(0)))
    mg.manual_seed(3)
    first = models.negative_samples(counts, (2, 5))
    mg.manual_seed(3)
    np.testing.assert_array_equal(first, models.negative_samples(counts, (2, 5)))


@pytest.mark.parametrize("negatives", [False, True])
@pytest.mark.parametrize("kind", ["SkipGram", "CBOW"])
def test_word_vectors_are_pytorchs_composition(kind: str, negatives: bool) -> None:
    torch = torch_or_skip()
    model = scatter(getattr(models, kind)(5, 3))
    given, asked = PAIRS if kind == "SkipGram" else WINDOWS
    drawn = Rng(2).integers(5, size=(len(asked), 4)) if negatives else None
    loss = model.loss(given, asked, drawn)
    p = torch_parameters(model)
    V, U = p["given.weight"], p["asked.weight"]
    h = V[torch.tensor(given)] if kind == "SkipGram" else torch.stack([V[row[row >= 0]].mean(0) for row in given])
    if negatives:
        log_s = torch.nn.functional.logsigmoid
        right = log_s((U[torch.tensor(asked)] * h).sum(1))
        theirs = -(right + log_s(-(U[torch.tensor(drawn)] @ h[:, :, None])[..., 0]).sum(1)).mean()
    else:
        theirs = torch.nn.functional.cross_entropy(h @ U.T, torch.tensor(asked))
    close(loss.item(), theirs.item())
    loss.backward()
    theirs.backward()
    same_gradients(model, p)


def test_the_minimum_of_negative_sampling_is_pmi_minus_log_k() -> None:
    """Levy & Goldberg 2014. All N contexts as each pair's negatives are k = N draws in exact proportion, so the loss is its mean."""
    text = Rng(0).integers(4, size=40)
    centre, around = models.skip_gram_pairs(text, 2)
    pmi = models.pointwise_mutual_information(centre, around, 4)
    assert np.isfinite(pmi).all()
    count = np.array([[np.sum((centre == w) & (around == c)) for c in range(4)] for w in range(4)])
    close(pmi, np.log(count * count.sum() / np.outer(count.sum(1), count.sum(0))))
    negatives = np.tile(around, (len(centre), 1))
    U, s, Vt = np.linalg.svd(pmi - math.log(len(around)))
    model = models.SkipGram(4, 4).double()
    model.load_state_dict({"given.weight": U * s, "asked.weight": Vt.T})
    model.loss(centre, around, negatives).backward()
    for p in model.parameters():
        np.testing.assert_allclose(p.grad.numpy(), 0, atol=1e-12)
    model.load_state_dict({"given.weight": U * s, "asked.weight": Vt.T + 0.1})
    model.zero_grad()
    model.loss(centre, around, negatives).backward()
    assert np.abs(model.given.weight.grad.numpy()).max() > 1e-3


@pytest.mark.parametrize("negatives", [False, True])
@pytest.mark.parametrize("kind", ["SkipGram", "CBOW"])
def test_words_used_alike_end_up_near(kind: str, negatives: bool) -> None:
    """Sentences "animal verb-of-animals", "tool verb-of-tools", of four words each: neighbours are of the same kind."""
    rng = Rng(0)
    topics = rng.integers(2, size=800)
    text = (8 * topics[:, None] + np.array([0, 4]) + rng.integers(4, size=(800, 2))).ravel()
    around, centre = models.cbow_windows(text, 1)
    given, asked = (around, centre) if kind == "CBOW" else models.skip_gram_pairs(text, 1)
    mg.manual_seed(0)
    model = getattr(models, kind)(16, 6)
    optimizer, counts = mg.optim.Adam(model.parameters(), lr=0.03), np.bincount(text)
    for _ in range(5):
        for batch in np.array_split(rng.permutation(len(asked)), len(asked) // 64):
            optimizer.zero_grad()
            drawn = models.negative_samples(counts, (len(batch), 5), generator=rng) if negatives else None
            model.loss(given[batch], asked[batch], drawn).backward()
            optimizer.step()
    for word in range(16):
        found = model.nearest(word, 3)
        assert {i // 4 for i, _ in found} == {word // 4}, (word, found)
        assert [c for _, c in found] == sorted((c for _, c in found), reverse=True)
        assert word not in [i for i, _ in found]


def test_word_vectors_say_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"3 examples, asked has shape \(3,\), negatives \(2, 4\)"):
        models.SkipGram(5, 2).loss([0, 1, 2], [1, 2, 3], np.zeros((2, 4), int))


# ---- mixtures --------------------------------------------------------------------------------------------------------------


def blobs(n: int = 300, seed: int = 0) -> tuple[Any, Any]:
    """Three stretched, turned Gaussians, well apart."""
    rng = Rng(seed)
    k = rng.integers(3, size=n)
    factors = np.array([[[1.0, 0.0], [0.8, 0.5]], [[0.5, 0.0], [-0.4, 0.9]], [[0.7, 0.0], [0.0, 0.7]]])
    x = np.array([[0.0, 0.0], [5.0, 1.0], [1.0, 6.0]])[k] + np.einsum("nde,ne->nd", factors[k], rng.normal(size=(n, 2)))
    return x, k


def log_normal(x: Any, mean: Any, cov: Any) -> Any:
    """The textbook density, with an inverse and a determinant."""
    away = x - mean
    quadratic = np.einsum("nd,de,ne->n", away, np.linalg.inv(cov), away)
    return -0.5 * (len(mean) * math.log(2 * math.pi) + np.log(np.linalg.det(cov)) + quadratic)


@pytest.mark.parametrize("covariance", models.mixture.COVARIANCES)
def test_mixture_log_prob_is_the_formula(covariance: str) -> None:
    model = scatter(models.GaussianMixture(3, 2, covariance), seed=4)
    x = Rng(0).normal(size=(7, 2))
    pi, S, mu = model.weights().detach().numpy(), model.covariances().detach().numpy(), model.means.numpy()
    assert S.shape == (3, 2, 2)
    if covariance != "full":
        assert (S[:, 0, 1] == 0).all()
    if covariance == "shared":
        close(S, np.broadcast_to(S[0, 0, 0] * np.eye(2), (3, 2, 2)))
    p = np.stack([pi[k] * np.exp(log_normal(x, mu[k], S[k])) for k in range(3)], 1)
    close(model.log_prob(x).detach(), np.log(p.sum(1)))
    close(model.responsibilities(x).detach(), p / p.sum(1, keepdims=True), "Bayes' rule")
    np.testing.assert_array_equal(model.predict(x), p.argmax(1))
    close(model.loss(x).item(), -np.log(p.sum(1)).mean())


def test_mixture_is_sklearns() -> None:
    sklearn = pytest.importorskip("sklearn.mixture", reason="scikit-learn is not installed: EM is not compared")
    x, _ = blobs()
    em = sklearn.GaussianMixture(3, tol=1e-10, max_iter=1000, reg_covar=0, random_state=0).fit(x)
    model = models.GaussianMixture(3, 2).double()
    with np.errstate(divide="ignore"):
        A = em.precisions_cholesky_.transpose(0, 1, 2)  # upper triangular, with precision A A^T: turned round by a flip below
    chol = np.linalg.cholesky(A @ A.transpose(0, 2, 1))
    diagonal = np.einsum("kdd->kd", chol)
    model.load_state_dict(
        {"logits": np.log(em.weights_), "means": em.means_, "log_precision": np.log(diagonal), "lower": np.tril(chol, -1)}
    )
    close(model.log_prob(x).detach(), em.score_samples(x))
    close(model.responsibilities(x).detach(), em.predict_proba(x), rtol=1e-7)
    close(model.covariances().detach(), em.covariances_)


@pytest.mark.parametrize("covariance", ["spherical", "diag", "full"])
def test_gradient_reaches_what_em_reaches(covariance: str) -> None:
    sklearn = pytest.importorskip("sklearn.mixture", reason="scikit-learn is not installed: EM is not compared")
    x, k = blobs()
    em = sklearn.GaussianMixture(3, covariance_type=covariance, tol=1e-9, max_iter=1000, reg_covar=0, random_state=0).fit(x)
    mg.manual_seed(0)
    model = models.GaussianMixture(3, 2, covariance).double().fit(x, restarts=3, generator=Rng(0))
    close(-model.loss(x).item(), em.score(x), rtol=1e-6)
    order, theirs = np.argsort(model.means.numpy()[:, 0]), np.argsort(em.means_[:, 0])
    close(model.means.numpy()[order], em.means_[theirs], rtol=1e-3)
    close(model.weights().detach().numpy()[order], em.weights_[theirs], rtol=1e-3)
    if covariance == "full":
        close(model.covariances().detach().numpy()[order], em.covariances_[theirs], rtol=1e-3)
        guess = model.predict(x).numpy()
        assert sum((guess == g)[k == c].sum() for c in range(3) for g in [np.bincount(guess[k == c]).argmax()]) > 0.98 * len(x)


def test_the_gradient_of_the_means_is_the_em_step() -> None:
    """mu + Sigma grad / mean r is the M-step's mean: notes 000."""
    x, _ = blobs()
    model = models.GaussianMixture(3, 2, "shared").double()
    model.start(x, Rng(0))
    model.loss(x).backward()
    r, mu = model.responsibilities(x).detach().numpy(), model.means.numpy()
    variance = model.covariances().detach().numpy()[0, 0, 0]
    close(mu - variance * model.means.grad.numpy() / r.mean(0)[:, None], r.T @ x / r.sum(0)[:, None])


def test_log_prob_is_finite_where_the_density_is_not() -> None:
    model = models.GaussianMixture(2, 2).double()
    far = mg.tensor([[1e3, 1e3]], dtype="float64", requires_grad=True)
    log_p = model.log_prob(far)
    assert -1.1e6 < log_p.item() < -9e5
    log_p.backward(mg.ones((1,), dtype="float64"))
    np.testing.assert_allclose(far.grad.numpy(), -1e3, rtol=1e-2)


def test_mixture_samples() -> None:
    model = scatter(models.GaussianMixture(2, 2), seed=6)
    x, k = model.sample(60_000, Rng(0))
    x, k = x.numpy(), k.numpy()
    np.testing.assert_array_equal(x[:5], model.sample(60_000, Rng(0))[0].numpy()[:5])
    np.testing.assert_allclose(np.bincount(k) / len(k), model.weights().detach().numpy(), atol=0.01)
    for i in range(2):
        np.testing.assert_allclose(x[k == i].mean(0), model.means.numpy()[i], atol=0.05)
        np.testing.assert_allclose(np.cov(x[k == i].T), model.covariances().detach().numpy()[i], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("T", [0.0, 0.5, 3.0])
def test_soft_k_means_formula_and_gradient(T: float) -> None:
    model = scatter(models.SoftKMeans(3, 2, T), seed=3, scale=2.0)
    x, _ = blobs(40)
    d = ((x[:, None] - model.centers.numpy()) ** 2).sum(-1)
    r = np.exp(-(d - d.min(1, keepdims=True)) / T) if T else (d == d.min(1, keepdims=True)).astype(float)
    r /= r.sum(1, keepdims=True)
    loss = model.loss(x)
    close(loss.item(), -T * np.log(np.exp(-d / T).mean(1)).mean() if T else d.min(1).mean())
    close(model.responsibilities(x).detach(), r)
    loss.backward()
    close(model.centers.grad, 2 * (r.sum(0)[:, None] * model.centers.numpy() - r.T @ x) / len(x), "-2 mean r (x - z)")
    assert d.min(1).mean() - 1e-12 <= loss.item() <= d.min(1).mean() + T * math.log(3)


def test_soft_k_means_becomes_hard() -> None:
    model = scatter(models.SoftKMeans(3, 2, 0.0), scale=2.0)
    x, _ = blobs(40)
    hard, share = model.loss(x).item(), model.responsibilities(x).numpy()
    errors = []
    for T in (1.0, 0.1, 1e-3):
        model.temperature = T
        errors.append(abs(model.loss(x).item() - hard))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 2e-3
    np.testing.assert_allclose(model.responsibilities(x).detach().numpy(), share, atol=1e-6)


def test_k_means_is_sklearns() -> None:
    sklearn = pytest.importorskip("sklearn.cluster", reason="scikit-learn is not installed: k-means is not compared")
    x, _ = blobs()
    theirs = sklearn.KMeans(3, n_init=5, random_state=0, tol=0).fit(x)
    model = models.SoftKMeans(3, 2, 0.0).double().fit(x, restarts=5, generator=Rng(0))
    close(len(x) * model.loss(x).item(), theirs.inertia_, rtol=1e-6)
    close(sorted(model.centers.numpy().tolist()), sorted(theirs.cluster_centers_.tolist()), rtol=1e-4)


def test_the_worked_example_of_the_notes() -> None:
    """Notes 004: A, B and C, D belong together; from z = A and B, C the alternation ends there, as the gradient does."""
    x = np.array([[2.0, 3.0], [3.0, 3.0], [6.0, 5.0], [8.0, 8.0]])
    model = models.SoftKMeans(2, 2, 0.0).double().fit(x, restarts=5, generator=Rng(0))
    labels = model.predict(x).numpy()
    assert labels[0] == labels[1] != labels[2] == labels[3]


def test_hot_centres_merge() -> None:
    """Above T = 2 lambda, lambda the largest variance, there is one cluster only (Rose 1990); below, they part."""
    x, _ = blobs()
    critical = 2 * np.linalg.eigvalsh(np.cov(x.T, bias=True))[-1]
    for T, merged in ((1.2 * critical, True), (0.5 * critical, False)):
        model = models.SoftKMeans(2, 2, T).double().fit(x, generator=Rng(0))
        apart = np.linalg.norm(model.centers.numpy()[0] - model.centers.numpy()[1])
        assert (apart < 0.05) == merged, (T, apart)


def test_k_means_plus_plus_chances() -> None:
    x = np.array([[0.0], [1.0], [3.0]])
    rng, seen = Rng(0), np.zeros((3, 3))
    for _ in range(6000):
        a, b = models.kmeans_plus_plus(x, 2, rng).ravel()
        seen[np.searchsorted(x.ravel(), a), np.searchsorted(x.ravel(), b)] += 1
    chances = np.array([[0, 1, 9], [1, 0, 4], [9, 4, 0]]) / np.array([[10], [5], [13]]) / 3
    np.testing.assert_allclose(seen / 6000, chances, atol=0.02)
    assert models.kmeans_plus_plus([[1.0], [1.0], [1.0]], 2, rng).tolist() == [[1.0], [1.0]]
    with pytest.raises(ShapeError, match="at least k=4"):
        models.kmeans_plus_plus(x, 4)


def test_mixtures_say_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"expected \(N, 3\)"):
        models.GaussianMixture(2, 3).log_prob(mg.ones((4, 2)))
    with pytest.raises(ShapeError, match=r"expected \(N, 3\)"):
        models.SoftKMeans(2, 3).loss(mg.ones(3))
    with pytest.raises(ValueError, match="shared, spherical, diag, full"):
        models.GaussianMixture(2, 3, "tied")
    with pytest.raises(ValueError, match="x has elements that are nan"):
        models.SoftKMeans(2, 1).fit([[0.0], [1.0], [math.nan]])
    with pytest.raises(ValueError, match=r"the loss is (inf|nan): scale x"), np.errstate(all="ignore"):
        models.SoftKMeans(1, 1).fit([[-2e19], [2e19]])
    with pytest.raises(ValueError, match="temperature=-1"):
        models.SoftKMeans(2, 3, -1)


@pytest.mark.parametrize("build", [lambda: models.SoftKMeans(6, 2, 0.05), lambda: models.GaussianMixture(6, 2, "shared")])
def test_fit_is_reproducible_and_keeps_the_best_restart(build: Callable[[], Any]) -> None:
    """Six blobs in two far groups of three: from seed 4, the first start finds them, and the later ones end in worse minima."""
    rng = Rng(0)
    x = np.concatenate([c + 0.3 * rng.normal(size=(20, 2)) for c in ([0, 0], [1.5, 0], [0, 1.5], [6, 6], [7.5, 6], [6, 7.5])])
    one, two = (build().fit(x, restarts=3, generator=Rng(4)) for _ in range(2))
    for (name, p), q in zip(one.named_parameters(), two.parameters()):
        np.testing.assert_array_equal(p.numpy(), q.numpy(), err_msg=name)
        assert p.dtype == np.float32
        assert p.grad is None
    rng = Rng(4)
    each = [build().fit(x, generator=rng).loss(x).item() for _ in range(3)]
    close(one.loss(x).item(), min(each), rtol=1e-6)
    assert each[0] < each[1] - 0.1
    assert each[0] < each[2] - 0.1
    worse = Rng(4)
    build().fit(x, generator=worse)
    before = one.loss(x).item()
    assert one.fit(x, restarts=0, generator=worse).loss(x).item() <= before + 1e-6, "restarts=0 goes on from where it is"


# ---- metric learning -------------------------------------------------------------------------------------------------------


def test_neighbourhood_components_are_the_formula() -> None:
    model, y = scatter(models.NeighbourhoodComponents(3, 2)), np.array([0, 1, 0, 2, 1, 0])
    z = X @ model.weight.numpy().T
    p = np.exp(-((z[:, None] - z) ** 2).sum(-1))
    np.fill_diagonal(p, 0)
    p /= p.sum(1, keepdims=True)
    right = np.array([p[i][y == y[i]].sum() for i in range(6) if y[i] != 2])  # the one of class 2 has no partner
    close(model.loss(X, y).item(), -np.log(right).mean())
    away = X[:, None] - X
    close(model.distances(X, X).detach(), np.einsum("nmd,de,nme->nm", away, model.metric().detach().numpy(), away))
    with pytest.raises(ShapeError, match=r"6 examples, but classes of shape \(5,\)"):
        model.loss(X, y[:5])
    with pytest.raises(ValueError, match="at least one pair"):
        model.loss(X, range(6))


def test_a_learned_metric_ignores_what_does_not_matter() -> None:
    """The class is in one direction of small variance; nearest neighbours by |x - x'| are misled by the others."""
    rng = Rng(0)
    y = rng.integers(3, size=300)
    x = np.concatenate([y[:, None] + 0.2 * rng.normal(size=(300, 1)), 5 * rng.normal(size=(300, 3))], 1)
    x, train = x @ np.linalg.qr(rng.normal(size=(4, 4)))[0], np.arange(300) < 200

    def accuracy(model: Any) -> float:
        nearest = model.distances(x[~train], x[train]).detach().numpy().argmin(1)
        return float((y[train][nearest] == y[~train]).mean())

    mg.manual_seed(0)
    model = models.NeighbourhoodComponents(4, 4).double()
    model.load_state_dict({"weight": np.eye(4)})
    plain = accuracy(model)
    mg.manual_seed(0)
    model = models.NeighbourhoodComponents(4, 2).double()
    descend(model, lambda: model.loss(x[train], y[train]), 100)
    assert plain < 0.6
    assert accuracy(model) > 0.9
