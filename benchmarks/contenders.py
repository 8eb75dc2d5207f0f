"""Who takes part, and how PyTorch and minigrad run a workload. The others are in peers.py and by_hand.py."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.workloads import Array, Arrays, Workload, inputs_of, parameters_of


class LeftOutError(Exception):
    """A contender that does not run a workload, and why."""


class Case(NamedTuple):
    """A workload in one framework: ``run()`` goes forward, backward and, where there is an optimiser, makes its step.

    ``result()`` is the value of the next run, and the gradients it makes, by name.
    """

    run: Callable[[], Any]
    result: Callable[[], tuple[Any, dict[str, Any]]]
    train: Callable[[bool], Any] = lambda mode: None


class Contender(NamedTuple):
    """Its title, the package it needs, and where it is made; what its process's environment has beyond the others'."""

    title: str
    package: str
    make: str
    environment: dict[str, str] = {}  # noqa: RUF012 - never changed


REFERENCE = "torch"
AVX512 = {"OPENBLAS_CORETYPE": "SkylakeX"}
CONTENDERS = {
    "hand": Contender("NumPy by hand", "numpy", "benchmarks.by_hand:make"),
    "eager": Contender("minigrad", "minigrad", "benchmarks.contenders:minigrad"),
    "compiled": Contender("minigrad compiled", "minigrad", "benchmarks.contenders:minigrad_compiled"),
    "avx512": Contender("compiled, AVX-512 BLAS", "minigrad", "benchmarks.contenders:minigrad_compiled", AVX512),
    "torch": Contender("PyTorch", "torch", "benchmarks.contenders:torch"),
    "torch_compile": Contender("torch.compile", "torch", "benchmarks.contenders:torch_compiled"),
    "jax": Contender("JAX jit", "jax", "benchmarks.peers:jax"),
    "autograd": Contender("autograd", "autograd", "benchmarks.peers:autograd"),
    "mygrad": Contender("MyGrad", "mygrad", "benchmarks.peers:mygrad"),
    "chainer": Contender("Chainer", "chainer", "benchmarks.peers:chainer"),
    "tinygrad": Contender("tinygrad jit", "tinygrad", "benchmarks.peers:tinygrad"),
}


def make(name: str, work: Workload, threads: int) -> Case:
    """The case of a contender, in a process of its own.

    Raises:
        LeftOutError: with the reason, where it cannot take part.
    """
    contender = CONTENDERS[name]
    if reason := work.left_out.get(name):
        raise LeftOutError(reason)
    if importlib.util.find_spec(contender.package) is None:
        raise LeftOutError(f"{contender.package} is not installed")
    module, _, function = contender.make.partition(":")
    case: Case = getattr(importlib.import_module(module), function)(work, threads)
    return case


def functions(lib: Any, functional: Any, grad: Callable[..., Any]) -> Any:
    """What workloads call F, from two libraries that name it alike."""
    return SimpleNamespace(
        tanh=lib.tanh, exp=lib.exp, sigmoid=lib.sigmoid, sum=lib.sum, mean=lib.mean, grad=grad,
        gelu=functools.partial(functional.gelu, approximate="tanh"),
        softmax=functools.partial(functional.softmax, dim=-1),
        layer_norm=lambda x, weight, bias: functional.layer_norm(x, tuple(weight.shape), weight, bias),
        cross_entropy=functional.cross_entropy,
        mse=functional.mse_loss,
        binary_cross_entropy=functional.binary_cross_entropy_with_logits,
    )  # fmt: skip


class Library(NamedTuple):
    """The part in which the two differ."""

    lib: Any
    nn: Any
    optim: Any
    F: Any
    tensor: Callable[[Array], Any]
    leaf: Callable[[Array], Any]


def build(library: Library, work: Workload, compile_loss: Any = None, compile_step: Any = None) -> Case:
    """A step as both libraries write it; one of them compiles the loss, the other the whole step."""
    values = parameters_of(work)
    if work.model is None:
        model, leaves = None, {name: library.leaf(v) for name, v in values.items()}
    else:
        model = work.model(library.nn)
        model.load_state_dict({name: library.tensor(v) for name, v in values.items()}, strict=False)
        leaves = dict(model.named_parameters())
    given = [library.tensor(v) for v in inputs_of(work)]
    seed = () if work.seed is None else (library.tensor(work.seed(np.random.default_rng(2))),)
    optimizer = None
    if work.optimizer is not None:
        kind, rate = work.optimizer
        optimizer = getattr(library.optim, kind)(list(leaves.values()), lr=rate)

    def loss(*inputs: Any) -> Any:
        return work.loss(library.F, leaves if model is None else model, *inputs)

    loss = loss if compile_loss is None else compile_loss(loss)

    def step(*inputs: Any) -> Any:
        if optimizer is None:
            for leaf in leaves.values():
                leaf.grad = None
        else:
            optimizer.zero_grad()
        value = loss(*inputs)
        value.backward(*seed)
        if optimizer is not None:
            optimizer.step()
        return value

    step = step if compile_step is None else compile_step(step)

    def result() -> tuple[Any, dict[str, Any]]:
        value = step(*given).detach()
        return value, {name: leaf.grad for name, leaf in leaves.items()}

    return Case(lambda: step(*given), result, (lambda mode: None) if model is None else model.train)


def minigrad(work: Workload, threads: int, compile_step: Any = None) -> Case:
    import minigrad as mg
    from minigrad import nn, optim
    from minigrad.nn import functional

    F = functions(mg, functional, lambda f, leaves: mg.gradients(f(*leaves), list(leaves), create_graph=True))
    library = Library(mg, nn, optim, F, mg.tensor, functools.partial(mg.tensor, requires_grad=True))
    return build(library, work, compile_step=compile_step)


def minigrad_compiled(work: Workload, threads: int) -> Case:
    import minigrad as mg

    return minigrad(work, threads, functools.partial(mg.compile, threads=threads))


def torch(work: Workload, threads: int, compile_loss: Any = None) -> Case:
    import torch as lib
    from torch import nn, optim
    from torch.nn import functional

    lib.set_num_threads(threads)
    F = functions(lib, functional, lambda f, leaves: lib.autograd.grad(f(*leaves), leaves, create_graph=True))
    # A copy: what NumPy and PyTorch share is not aligned as PyTorch's own memory is.
    library = Library(lib, nn, optim, F, lib.tensor, functools.partial(lib.tensor, requires_grad=True))
    return build(library, work, compile_loss=compile_loss)


def torch_compiled(work: Workload, threads: int) -> Case:
    """The loss compiled, the step of the optimiser as it is: what its documentation shows."""
    import torch as lib

    return torch(work, threads, lib.compile)


def as_array(value: Any) -> Array:
    """A result of any framework."""
    for name in ("detach", "numpy"):
        if callable(getattr(value, name, None)):
            value = getattr(value, name)()
    return np.array(getattr(value, "array", getattr(value, "data", value)) if not isinstance(value, np.ndarray) else value)


def checked(case: Case, work: Workload) -> Arrays:
    """The value and the gradients of the fourth step, after three: a compiled step is replayed by then."""
    case.train(not work.random)
    for _ in range(3):
        case.run()
    value, gradients = case.result()
    found = {"value": as_array(value)} | {f"gradient of {name}": as_array(g) for name, g in gradients.items()}
    case.train(True)
    return found


TOLERANCE = 5e-4
"""Of the difference's length over the length of what is right, after three float32 steps in another order of summation."""


def differences(found: Arrays, right: Arrays) -> list[str]:
    """What does not agree with PyTorch's, in words."""
    if found.keys() != right.keys():
        return [f"it has {sorted(found)}, PyTorch {sorted(right)}"]
    told = []
    for name, expected in right.items():
        got = found[name]
        if got.shape != expected.shape:
            told.append(f"{name} has shape {got.shape}, PyTorch's {expected.shape}")
            continue
        error = float(np.linalg.norm(np.subtract(got, expected, dtype=np.float64).ravel()))
        size = float(np.linalg.norm(expected.astype(np.float64).ravel()))
        if not error <= TOLERANCE * size:
            told.append(f"{name} is off by {error / size if size else error:.2g} of PyTorch's")
    return told
