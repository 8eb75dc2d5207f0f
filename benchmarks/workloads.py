"""What is measured: each workload is written once for PyTorch and minigrad, and once with plain functions for everybody else.

``F`` is a framework's functions (:mod:`benchmarks.contenders`, :mod:`benchmarks.peers`), ``p`` its parameters by name. PyTorch and
minigrad share the modules, because their layers have the same names, arguments and state dicts. Gradients and values must agree,
so randomness (the noise of a VAE, the mask of a transformer) is part of the inputs; where it cannot be (dropout), the check runs in
evaluation mode.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
Arrays = dict[str, Array]


class Workload(NamedTuple):
    """A function of parameters and inputs, or the training step of a model.

    Attributes:
        title: what the table calls it.
        inputs: draws what ``loss`` is given after the parameters.
        loss: ``loss(F, p, *inputs)``, or ``loss(F, model, *inputs)`` where there is a model.
        parameters: draws what is differentiated, by name; None where there is a model.
        model: ``model(nn)`` builds it.
        optimizer: its name, its learning rate.
        plain: ``plain(F, p, *inputs)``, the same for frameworks without our modules; None where only modules are compared.
        seed: draws the gradient that comes in, where the result is not a scalar.
        random: the model draws numbers: it is checked in evaluation mode.
        left_out: why a contender does not run it.
    """

    title: str
    inputs: Callable[[np.random.Generator], tuple[Array, ...]]
    loss: Callable[..., Any]
    parameters: Callable[[np.random.Generator], Arrays] | None = None
    model: Callable[[Any], Any] | None = None
    optimizer: tuple[str, float] | None = None
    plain: Callable[..., Any] | None = None
    seed: Callable[[np.random.Generator], Array] | None = None
    random: bool = False
    left_out: dict[str, str] = {}  # noqa: RUF012 - never changed


def inputs_of(work: Workload) -> tuple[Array, ...]:
    return work.inputs(np.random.default_rng(1))


def parameters_of(work: Workload) -> Arrays:
    """The same first values in every process. For a model they are drawn by the names and shapes of minigrad's own."""
    rng = np.random.default_rng(0)
    if work.model is None:
        assert work.parameters is not None
        return work.parameters(rng)
    from minigrad import nn

    shapes = {name: p.shape for name, p in work.model(nn).named_parameters()}
    return {name: _first_value(name, shape, rng) for name, shape in shapes.items()}


def _first_value(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Matrices that keep variances, gains near one, biases near zero: nothing is zero by symmetry."""
    noise = normal(rng, *shape)
    if len(shape) > 1:
        return noise / np.float32(np.prod(shape[1:])) ** np.float32(0.5)
    return np.float32(0.1) * noise + np.float32(name.endswith("weight"))


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, np.float32)


# ---- the tape: many small operations ----------------------------------------------------------------------------------------


def chain_leaves(rng: np.random.Generator) -> Arrays:
    """Such that gradients neither vanish nor explode over hundreds of steps."""
    return {n: np.float32(c) + np.float32(s) * normal(rng, 8) for n, c, s in (("x", 0, 1), ("a", 1, 0.02), ("b", 0, 0.01))}


def chain(steps: int) -> Callable[..., Any]:
    def loss(F: Any, p: Any) -> Any:
        h, a, b = p["x"], p["a"], p["b"]
        for _ in range(steps):
            h = F.tanh(h * a + b)
        return h

    return loss


def grad_of_grad(F: Any, p: Any) -> Any:
    def first(x: Any, a: Any, b: Any) -> Any:
        return F.sum(chain(20)(F, {"x": x, "a": a, "b": b}))

    dx, da, db = F.grad(first, (p["x"], p["a"], p["b"]))
    return F.sum(dx) + F.sum(da) + F.sum(db)


SCALARS = 20_000


def scalars(F: Any, p: Any) -> Any:
    h, a, b = p["x"], p["a"], p["b"]
    for _ in range(SCALARS // 2):
        h = h * a + b
    return h


def scalar_leaves(rng: np.random.Generator) -> Arrays:
    return {"x": np.array(0.5, np.float32), "a": np.array(0.9999, np.float32), "b": np.array(1e-5, np.float32)}


# ---- large arrays: memory and NumPy's loops ---------------------------------------------------------------------------------


def gelu(F: Any, p: Any) -> Any:
    x = p["x"]
    return F.mean(F.gelu(x) * F.sigmoid(x) + x * x)


def softmax(F: Any, p: Any) -> Any:
    return F.softmax(p["x"])


def layer_norm(F: Any, p: Any) -> Any:
    return F.layer_norm(p["x"], p["weight"], p["bias"])


def norm_leaves(rng: np.random.Generator) -> Arrays:
    return {"x": normal(rng, 4096, 1024), "weight": 1 + normal(rng, 1024) / 10, "bias": normal(rng, 1024) / 10}


# ---- training steps ---------------------------------------------------------------------------------------------------------


def classified(F: Any, model: Any, x: Any, labels: Any) -> Any:
    return F.cross_entropy(model(x), labels)


def fitted(F: Any, model: Any, x: Any, target: Any) -> Any:
    return F.mse(model(x), target)


def images(n: int, *shape: int, classes: int = 10) -> Callable[[np.random.Generator], tuple[Array, ...]]:
    return lambda rng: (normal(rng, n, *shape), rng.integers(0, classes, n))


def mlp(*sizes: int) -> Callable[[Any], Any]:
    def build(nn: Any) -> Any:
        layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers[:-1])

    return build


def plain_mlp(F: Any, p: Any, x: Any, labels: Any) -> Any:
    *hidden, last = range(0, len(p), 2)
    for k in hidden:
        x = F.relu(F.linear(x, p[f"{k}.weight"], p[f"{k}.bias"]))
    return F.cross_entropy(F.linear(x, p[f"{last}.weight"], p[f"{last}.bias"]), labels)


def lenet(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def plain_lenet(F: Any, p: Any, x: Any, labels: Any) -> Any:
    for k in (0, 3):
        x = F.avg_pool(F.tanh(F.conv(x, p[f"{k}.weight"], p[f"{k}.bias"], 0)))
    x = F.reshape(F.tanh(F.conv(x, p["6.weight"], p["6.bias"], 0)), (x.shape[0], 120))
    x = F.tanh(F.linear(x, p["9.weight"], p["9.bias"]))
    return F.cross_entropy(F.linear(x, p["11.weight"], p["11.bias"]), labels)


def sequence(F: Any, model: Any, x: Any, target: Any) -> Any:
    return F.mse(model(x)[0], target)


def plain_gru(F: Any, p: Any, x: Any, target: Any) -> Any:
    """Cho et al. 2014 as PyTorch has it: the product with all inputs at once, then the steps."""

    def step(h: Any, gates: Any) -> Any:
        (xr, xz, xn), (hr, hz, hn) = F.split(gates, 3), F.split(F.linear(h, p["weight_hh_l0"], p["bias_hh_l0"]), 3)
        z = F.sigmoid(xz + hz)
        n = F.tanh(xn + F.sigmoid(xr + hr) * hn)
        return n + z * (h - n)

    return F.mse(F.over(step, target[0] * 0, F.linear(x, p["weight_ih_l0"], p["bias_ih_l0"])), target)


def block(dropout: float) -> Callable[[Any], Any]:
    return lambda nn: nn.TransformerEncoderLayer(128, 4, 512, dropout, "gelu", batch_first=True, norm_first=True)


def causal(F: Any, model: Any, x: Any, mask: Any, target: Any) -> Any:
    return F.mse(model(x, src_mask=mask, is_causal=True), target)


def tokens(length: int) -> Callable[[np.random.Generator], tuple[Array, ...]]:
    mask = np.triu(np.full((length, length), -np.inf, np.float32), 1)
    return lambda rng: (normal(rng, 8, length, 128), mask, normal(rng, 8, length, 128))


def plain_block(F: Any, p: Any, x: Any, mask: Any, target: Any) -> Any:
    n, length, size = x.shape
    heads = 4
    qkv = F.linear(
        F.layer_norm(x, p["norm1.weight"], p["norm1.bias"]), p["self_attn.in_proj_weight"], p["self_attn.in_proj_bias"]
    )
    q, k, v = (F.transpose(F.reshape(part, (n, length, heads, size // heads)), (0, 2, 1, 3)) for part in F.split(qkv, 3))
    weights = F.softmax(F.matmul(q, F.transpose(k, (0, 1, 3, 2))) * (size // heads) ** -0.5 + mask)
    seen = F.reshape(F.transpose(F.matmul(weights, v), (0, 2, 1, 3)), (n, length, size))
    x = x + F.linear(seen, p["self_attn.out_proj.weight"], p["self_attn.out_proj.bias"])
    h = F.linear(F.layer_norm(x, p["norm2.weight"], p["norm2.bias"]), p["linear1.weight"], p["linear1.bias"])
    return F.mse(x + F.linear(F.exact_gelu(h), p["linear2.weight"], p["linear2.bias"]), target)


def residual(nn: Any) -> Any:
    def part() -> list[Any]:
        return [nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]

    return nn.Sequential(*part(), *part())


def with_input(F: Any, model: Any, x: Any, target: Any) -> Any:
    return F.mse(x + model(x), target)


def plain_residual(F: Any, p: Any, x: Any, target: Any) -> Any:
    """Without running statistics, which no gradient depends on."""
    h = x
    for k in (0, 3):
        h = F.relu(F.batch_norm(F.conv(h, p[f"{k}.weight"], None, 1), p[f"{k + 1}.weight"], p[f"{k + 1}.bias"]))
    return F.mse(x + h, target)


def convnet(nn: Any) -> Any:
    def part(a: int, b: int) -> list[Any]:
        return [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*part(3, 16), *part(16, 32), *part(32, 64), nn.Flatten(), nn.Linear(64 * 16, 10))


def words(nn: Any) -> Any:
    """The next of 10,000 words from the last four: Bengio et al. 2003."""
    return nn.Sequential(nn.Embedding(10_000, 64), nn.Flatten(), nn.Linear(256, 128), nn.Tanh(), nn.Linear(128, 10_000))


def vae(nn: Any) -> Any:
    encoder, decoder = (nn.Sequential(nn.Linear(a, 256), nn.ReLU(), nn.Linear(256, b)) for a, b in ((784, 40), (20, 784)))
    return nn.ModuleDict({"encoder": encoder, "decoder": decoder})


def bound(F: Any, model: Any, x: Any, noise: Any) -> Any:
    """The negative evidence lower bound of Kingma and Welling 2014, for targets between 0 and 1."""
    code = model["encoder"](x)
    mean, log_variance = code[:, :20], code[:, 20:]
    scores = model["decoder"](mean + F.exp(log_variance * 0.5) * noise)
    divergence = F.sum(F.exp(log_variance) + mean * mean - 1 - log_variance) * (0.5 / x.shape[0])
    return F.binary_cross_entropy(scores, x) * 784 + divergence


def many_layers(nn: Any) -> Any:
    return nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(16, 16), nn.Tanh())))


UNROLLED = "compiling thousands of unrolled operations takes it minutes"
NO_SECOND = "it has no second derivatives"

WORKLOADS: dict[str, Workload] = {
    "chain": Workload(
        "chain of 999 mul, add, tanh on shape (8,)", lambda rng: (), chain(333), chain_leaves,
        seed=lambda rng: np.ones(8, np.float32), left_out={"tinygrad": UNROLLED},
    ),
    "grad_of_grad": Workload(
        "gradient of the gradient of a chain of 60", lambda rng: (), grad_of_grad, chain_leaves,
        left_out=dict.fromkeys(("torch_compile", "mygrad", "chainer", "tinygrad"), NO_SECOND),
    ),
    "scalars": Workload(
        f"graph of {SCALARS:,} 0-d operations", lambda rng: (), scalars, scalar_leaves,
        left_out=dict.fromkeys(("torch_compile", "jax", "tinygrad"), UNROLLED),
    ),
    "gelu": Workload(
        "gelu(x) * sigmoid(x) + x^2, mean, 4 M", lambda rng: (), gelu, lambda rng: {"x": normal(rng, 2048, 2048)}
    ),
    "softmax": Workload(
        "softmax (4096, 1024)", lambda rng: (), softmax, lambda rng: {"x": normal(rng, 4096, 1024)},
        seed=lambda rng: normal(rng, 4096, 1024),
    ),
    "layer_norm": Workload(
        "layer norm (4096, 1024)", lambda rng: (), layer_norm, norm_leaves, seed=lambda rng: normal(rng, 4096, 1024)
    ),
    "mlp_sgd": Workload(
        "MLP 784-256-128-10, batch 128, SGD", images(128, 784), classified, None, mlp(784, 256, 128, 10), ("SGD", 0.05), plain_mlp
    ),
    "mlp_adam": Workload(
        "MLP 784-256-128-10, batch 128, Adam", images(128, 784), classified, None, mlp(784, 256, 128, 10), ("Adam", 1e-3), plain_mlp
    ),
    "lenet": Workload(
        "LeNet-5, batch 64, SGD", images(64, 1, 32, 32), classified, None, lenet, ("SGD", 0.05), plain_lenet
    ),
    "gru": Workload(
        "GRU T=50 B=32 64->128, SGD", lambda rng: (normal(rng, 50, 32, 64), normal(rng, 50, 32, 128)), sequence, None,
        lambda nn: nn.GRU(64, 128), ("SGD", 0.05), plain_gru,
    ),
    "transformer": Workload(
        "transformer block B=8 T=64 D=128 H=4, causal, SGD", tokens(64), causal, None, block(0.0), ("SGD", 0.05), plain_block
    ),
    "residual": Workload(
        "x + 2 (conv3x3 64, BN, ReLU), (16, 64, 32, 32), SGD",
        lambda rng: (normal(rng, 16, 64, 32, 32), normal(rng, 16, 64, 32, 32)), with_input, None, residual, ("SGD", 0.05),
        plain_residual,
    ),
    "lstm": Workload(
        "LSTM T=40 B=16 32->96, Adam", lambda rng: (normal(rng, 40, 16, 32), normal(rng, 40, 16, 96)), sequence, None,
        lambda nn: nn.LSTM(32, 96), ("Adam", 1e-3),
    ),
    "convnet": Workload(
        "3 (conv3x3, BN, ReLU, max pool) 16-32-64, (32, 3, 32, 32), Adam", images(32, 3, 32, 32), classified, None, convnet,
        ("Adam", 1e-3),
    ),
    "words": Workload(
        "embedding, tanh, softmax over 10,000 words, batch 64, SGD",
        lambda rng: (rng.integers(0, 10_000, (64, 4)), rng.integers(0, 10_000, 64)), classified, None, words, ("SGD", 0.05),
    ),
    "vae": Workload(
        "VAE 784-256-20, batch 64, Adam", lambda rng: (rng.random((64, 784), np.float32), normal(rng, 64, 20)), bound, None, vae,
        ("Adam", 1e-3),
    ),
    "dropout": Workload(
        "transformer block T=128 with dropout 0.1, Adam", tokens(128), causal, None, block(0.1), ("Adam", 1e-3), random=True
    ),
    "adamw": Workload(
        "20 layers of 16 tanh, batch 8, AdamW", lambda rng: (normal(rng, 8, 16), normal(rng, 8, 16)), fitted, None, many_layers,
        ("AdamW", 1e-3),
    ),
    "wide_mlp": Workload(
        "MLP 512-1024-1024-10, batch 1024, SGD", images(1024, 512), classified, None, mlp(512, 1024, 1024, 10), ("SGD", 0.05),
        plain_mlp,
    ),
}  # fmt: skip
