"""The other frameworks: their functions under the names that workloads use, and how each one trains.

A framework's own function is taken where it has one; else the composition of :class:`Functions`, which is what its users write.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.contenders import Case, LeftOutError
from benchmarks.workloads import Workload, inputs_of, parameters_of, plain_block, plain_gru

PLAIN_RULES = ("SGD", "Adam")


class Functions:
    """Workloads' functions in terms of NumPy's: ``xp`` is a framework's module of them."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        for name in ("tanh", "exp", "sum", "mean", "matmul", "reshape", "transpose"):
            if not hasattr(self, name):
                setattr(self, name, getattr(xp, name))

    def sigmoid(self, x: Any) -> Any:
        return 1 / (1 + self.xp.exp(-x))

    def relu(self, x: Any) -> Any:
        return self.xp.maximum(x, 0)

    def gelu(self, x: Any) -> Any:
        return 0.5 * x * (1 + self.xp.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))

    exact_gelu: Callable[[Any, Any], Any] | None = None

    def softmax(self, x: Any) -> Any:
        e = self.xp.exp(x - self.xp.max(x, axis=-1, keepdims=True))
        return e / self.xp.sum(e, axis=-1, keepdims=True)

    def _normalised(self, x: Any, axes: Any) -> Any:
        centred = x - self.xp.mean(x, axis=axes, keepdims=True)
        return centred / self.xp.sqrt(self.xp.mean(centred * centred, axis=axes, keepdims=True) + 1e-5)

    def layer_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        return self._normalised(x, -1) * weight + bias

    def batch_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        shape = (-1, 1, 1)
        return self._normalised(x, (0, 2, 3)) * self.xp.reshape(weight, shape) + self.xp.reshape(bias, shape)

    def linear(self, x: Any, weight: Any, bias: Any) -> Any:
        return self.xp.matmul(x, weight.T) + bias

    def over(self, step: Any, h: Any, xs: Any) -> Any:
        return self.xp.stack(unrolled(step, h, xs))

    def split(self, x: Any, n: int) -> Any:
        size = x.shape[-1] // n
        return [x[..., k * size : (k + 1) * size] for k in range(n)]

    def avg_pool(self, x: Any) -> Any:
        n, c, h, w = x.shape
        return self.xp.mean(self.xp.reshape(x, (n, c, h // 2, 2, w // 2, 2)), axis=(3, 5))

    def mse(self, x: Any, target: Any) -> Any:
        d = x - target
        return self.xp.mean(d * d)

    def cross_entropy(self, scores: Any, labels: Any) -> Any:
        top = self.xp.max(scores, axis=1, keepdims=True)
        log_sum = self.xp.log(self.xp.sum(self.xp.exp(scores - top), axis=1)) + self.xp.reshape(top, (-1,))
        return self.xp.mean(log_sum - self.xp.sum(scores * np.eye(scores.shape[1], dtype=np.float32)[labels], axis=1))


def unrolled(step: Callable[[Any, Any], Any], h: Any, xs: Any) -> list[Any]:
    """The states after each step over the first axis."""
    states = []
    for t in range(xs.shape[0]):
        h = step(h, xs[t])
        states.append(h)
    return states


def form(work: Workload) -> Callable[..., Any]:
    """The workload as plain functions."""
    if work.model is None:
        return work.loss
    if work.plain is None:
        raise LeftOutError("written with the modules of PyTorch and minigrad only")
    if work.optimizer and work.optimizer[0] not in PLAIN_RULES:
        raise LeftOutError(f"{work.optimizer[0]} is not written out for it")
    return work.plain


def stepping(work: Workload, xp: Any, asarray: Callable[[Any], Any]) -> tuple[Any, Callable[..., tuple[Any, Any]]]:
    """The state of the optimiser, and ``(p, gradients, state) -> (p, state)``, without assignments."""
    kind, rate = work.optimizer or ("SGD", 0.0)
    if kind == "SGD":
        return (), lambda p, g, state: ({n: p[n] - rate * g[n] for n in p}, state)
    zeros = {name: asarray(np.zeros_like(v)) for name, v in parameters_of(work).items()}

    def adam(p: Any, g: Any, state: Any) -> tuple[Any, Any]:
        """Kingma and Ba 2015, algorithm 1."""
        m, v, t = state
        t = t + 1
        m = {n: 0.9 * m[n] + 0.1 * g[n] for n in p}
        v = {n: 0.999 * v[n] + 0.001 * g[n] * g[n] for n in p}
        a, b = rate / (1 - 0.9**t), 1 / (1 - 0.999**t)
        return {n: p[n] - a * m[n] / (xp.sqrt(v[n] * b) + 1e-8) for n in p}, (m, v, t)

    return (zeros, zeros, np.float32(0)), adam


def jax(work: Workload, threads: int) -> Case:
    """The whole step under jit, its state donated."""
    import jax
    import jax.numpy as jnp

    class JAX(Functions):
        relu, sigmoid = staticmethod(jax.nn.relu), staticmethod(jax.nn.sigmoid)
        gelu = staticmethod(jax.nn.gelu)
        exact_gelu = staticmethod(functools.partial(jax.nn.gelu, approximate=False))
        softmax = staticmethod(jax.nn.softmax)

        def conv(self, x: Any, weight: Any, bias: Any, padding: int) -> Any:
            y = jax.lax.conv_general_dilated(x, weight, (1, 1), [(padding, padding)] * 2)
            return y if bias is None else y + bias.reshape(-1, 1, 1)

        def over(self, step: Any, h: Any, xs: Any) -> Any:
            return jax.lax.scan(lambda h, x: (step(h, x),) * 2, h, xs)[1]

        def cross_entropy(self, scores: Any, labels: Any) -> Any:
            return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], 1).mean()

        def grad(self, f: Any, leaves: Any) -> Any:
            return jax.grad(f, tuple(range(len(leaves))))(*leaves)

    loss, F = form(work), JAX(jnp)
    inputs = [jnp.asarray(v) for v in inputs_of(work)]
    seed = None if work.seed is None else jnp.asarray(work.seed(np.random.default_rng(2)))

    def pulled(p: Any, inputs: Any) -> Any:
        value, pull = jax.vjp(lambda p: loss(F, p, *inputs), p)
        return value, pull(jnp.ones_like(value) if seed is None else seed)[0]

    gradients = jax.jit(pulled)
    start, update = stepping(work, jnp, jnp.asarray)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(p: Any, state: Any, inputs: Any) -> Any:
        value, g = pulled(p, inputs)
        return value, *update(p, g, state)

    now = [{n: jnp.asarray(v) for n, v in parameters_of(work).items()}, jax.tree.map(jnp.array, start)]

    def run() -> Any:
        if work.optimizer is None:
            return jax.block_until_ready(gradients(now[0], inputs))
        value, *now[:] = step(*now, inputs)
        return jax.block_until_ready(value)

    return Case(run, lambda: gradients(now[0], inputs))


def autograd(work: Workload, threads: int) -> Case:
    import autograd as lib
    import autograd.numpy as anp
    import autograd.scipy.signal as signal
    from autograd.scipy.special import erf

    class Autograd(Functions):
        def exact_gelu(self, x: Any) -> Any:  # type: ignore[override]
            return 0.5 * x * (1 + erf(x * 0.5**0.5))

        def conv(self, x: Any, weight: Any, bias: Any, padding: int) -> Any:
            """Its own convolution, which turns the kernel around."""
            x = anp.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), "constant") if padding else x
            y = signal.convolve(x, weight[:, :, ::-1, ::-1], axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")
            return y if bias is None else y + anp.reshape(bias, (-1, 1, 1))

        def grad(self, f: Any, leaves: Any) -> Any:
            return lib.grad(f, tuple(range(len(leaves))))(*leaves)

    loss, F, inputs = form(work), Autograd(anp), inputs_of(work)
    seed = None if work.seed is None else work.seed(np.random.default_rng(2))
    start, update = stepping(work, np, np.asarray)
    now = [parameters_of(work), start]

    def gradients() -> Any:
        pull, value = lib.make_vjp(lambda p: loss(F, p, *inputs))(now[0])
        return value, pull(np.ones_like(value) if seed is None else seed)

    def run() -> Any:
        value, g = gradients()
        if work.optimizer is not None:
            now[:] = update(now[0], g, now[1])
        return value

    return Case(run, gradients)


def mygrad(work: Workload, threads: int) -> Case:
    """With its memory guarding off, which its documentation recommends for speed."""
    import mygrad as lib
    from mygrad.nnet import activations, layers, losses

    class MyGrad(Functions):
        relu, sigmoid = staticmethod(activations.relu), staticmethod(activations.sigmoid)
        softmax = staticmethod(activations.softmax)

        def cross_entropy(self, scores: Any, labels: Any) -> Any:
            return losses.softmax_crossentropy(scores, labels)

        def conv(self, x: Any, weight: Any, bias: Any, padding: int) -> Any:
            y = layers.conv_nd(x, weight, stride=1, padding=padding)
            return y if bias is None else y + lib.reshape(bias, (-1, 1, 1))

    if work.plain is plain_block:
        raise LeftOutError("it has no erf for GELU")
    loss, F, inputs = form(work), MyGrad(lib), inputs_of(work)
    seed = () if work.seed is None else (work.seed(np.random.default_rng(2)),)
    start, update = stepping(work, np, np.asarray)
    now = [parameters_of(work), start]

    def gradients() -> Any:
        leaves = {n: lib.tensor(v) for n, v in now[0].items()}
        with lib.mem_guard_off:
            value = loss(F, leaves, *inputs)
            value.backward(*seed)
        return value, {n: leaf.grad for n, leaf in leaves.items()}

    def run() -> Any:
        value, g = gradients()
        if work.optimizer is not None:
            now[:] = update(now[0], g, now[1])
        return value

    return Case(run, gradients)


NUMPY_1 = {
    "int": [np.int8, np.int16, np.int32, np.int64], "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
    "float": [np.float16, np.float32, np.float64], "complex": [np.complex64, np.complex128],
    "others": [bool, object, bytes, str, np.void],
}  # fmt: skip
"""A table that NumPy 2 dropped; Chainer, whose last release is of 2022, reads it when it is imported."""


def chainer(work: Workload, threads: int) -> Case:
    if not hasattr(np, "sctypes"):
        np.sctypes = NUMPY_1  # type: ignore[attr-defined]
    import warnings

    warnings.simplefilter("ignore")
    import chainer as lib
    import chainer.functions as cf

    def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
        flat = cf.layer_normalization(cf.reshape(x, (-1, x.shape[-1])), weight, bias, 1e-5)
        return cf.reshape(flat, x.shape)

    F = SimpleNamespace(
        tanh=cf.tanh, sigmoid=cf.sigmoid, relu=cf.relu, sum=cf.sum, mean=cf.mean, mse=cf.mean_squared_error,
        matmul=cf.matmul, reshape=cf.reshape, transpose=cf.transpose, cross_entropy=cf.softmax_cross_entropy,
        exact_gelu=lambda x: 0.5 * x * (1 + cf.erf(x * 0.5**0.5)),
        gelu=lambda x: 0.5 * x * (1 + cf.tanh(0.7978845608 * (x + 0.044715 * x * x * x))),
        softmax=lambda x: cf.softmax(x, axis=-1),
        linear=lambda x, weight, bias: cf.linear(x, weight, bias, n_batch_axes=x.ndim - 1),
        split=lambda x, n: cf.split_axis(x, n, -1),
        over=lambda step, h, xs: cf.stack(unrolled(step, h, xs)),
        layer_norm=layer_norm,
        batch_norm=lambda x, weight, bias: cf.batch_normalization(x, weight, bias, eps=1e-5),
        conv=lambda x, weight, bias, padding: cf.convolution_2d(x, weight, bias, pad=padding),
        avg_pool=lambda x: cf.average_pooling_2d(x, 2),
    )  # fmt: skip
    loss, inputs = form(work), inputs_of(work)
    inputs = tuple(v.astype(np.int32) if v.dtype == np.int64 else v for v in inputs)
    link = lib.Link()
    with link.init_scope():
        leaves = {n: lib.Parameter(v) for n, v in parameters_of(work).items()}
        for n, leaf in leaves.items():
            setattr(link, n.replace(".", "_"), leaf)
    optimizer = None
    if work.optimizer is not None:
        kind, rate = work.optimizer
        optimizer = (
            lib.optimizers.SGD(rate) if kind == "SGD" else lib.optimizers.Adam(rate, eps=4e-10)
        )  # added before the correction
        optimizer.setup(link)
    seed = None if work.seed is None else lib.Variable(work.seed(np.random.default_rng(2)))

    def result() -> Any:
        for leaf in leaves.values():
            leaf.cleargrad()
        value = loss(F, leaves, *inputs)
        if seed is not None:
            value.grad_var = seed
        value.backward()
        return value, {n: leaf.grad for n, leaf in leaves.items()}

    def run() -> Any:
        value, _ = result()
        if optimizer is not None:
            optimizer.update()
        return value

    return Case(run, result)


def tinygrad(work: Workload, threads: int) -> Case:
    """The step under TinyJit, on its CPU device."""
    import os

    os.environ.setdefault("DEV", "CPU")
    from tinygrad import Context, Tensor, TinyJit
    from tinygrad.nn import optim

    F = SimpleNamespace(
        **{name: getattr(Tensor, name) for name in ("tanh", "sigmoid", "relu", "sum", "mean", "matmul", "reshape", "gelu", "softmax")},
        transpose=Tensor.permute,
        exact_gelu=lambda x: 0.5 * x * (1 + (x * 0.5**0.5).erf()),
        linear=lambda x, weight, bias: x.linear(weight.T, bias),
        layer_norm=lambda x, weight, bias: x.layernorm(eps=1e-5) * weight + bias,
        batch_norm=lambda x, weight, bias: x.layernorm((0, 2, 3), 1e-5) * weight.reshape(1, -1, 1, 1) + bias.reshape(1, -1, 1, 1),
        split=lambda x, n: x.chunk(n, -1),
        conv=lambda x, weight, bias, padding: x.conv2d(weight, bias, padding=padding),
        avg_pool=lambda x: x.avg_pool2d(2),
        mse=lambda x, target: ((x - target) * (x - target)).mean(),
        cross_entropy=lambda scores, labels: scores.sparse_categorical_crossentropy(labels),
    )  # fmt: skip
    if shutil.which("clang") is None:
        raise LeftOutError("it needs clang to compile for the CPU")
    if work.plain is plain_gru:
        raise LeftOutError("compiling 50 unrolled steps takes it minutes, and a step 100 times PyTorch's")
    loss = form(work)
    inputs = [Tensor(v.astype(np.int32) if v.dtype == np.int64 else v).realize() for v in inputs_of(work)]
    leaves = {n: Tensor(np.ascontiguousarray(v)).realize() for n, v in parameters_of(work).items()}
    seed = None if work.seed is None else Tensor(work.seed(np.random.default_rng(2))).realize()
    optimizer = None
    if work.optimizer is not None:
        kind, rate = work.optimizer
        optimizer = (optim.SGD if kind == "SGD" else optim.Adam)(list(leaves.values()), lr=rate)

    def result() -> Any:
        value = loss(F, leaves, *inputs)
        gradients = value.gradient(*leaves.values(), gradient=seed)
        for leaf, gradient in zip(leaves.values(), gradients):
            leaf.grad = gradient
        return value, dict(zip(leaves, gradients))

    @TinyJit
    def step() -> Any:
        value, gradients = result()
        return value.realize(*gradients.values(), *(optimizer.schedule_step() if optimizer is not None else ()))

    def run() -> Any:
        with Context(TRAINING=1):
            return step().numpy()

    return Case(run, result)
