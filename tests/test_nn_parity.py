"""PyTorch as the judge: every class and function over grids of its options, each option alone and every pair of them.

Outputs, gradients of inputs and parameters, and buffers after the call agree to a relative 1e-9 in float64, in training and in
evaluation; where PyTorch raises, minigrad does. Differences that are meant stand in ``docs/pytorch.md`` and in :data:`LENIENT`.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.nn import functional as F  # noqa: N812
from minigrad.testing import check_grads

torch = pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other take 15 times as long as one, on arrays of a dozen elements."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


RTOL = 1e-9
Array = np.ndarray[Any, Any]
Options = dict[str, list[Any]]
RNG = np.random.default_rng(0)
SPACE = {1: (9,), 2: (8, 7), 3: (5, 4, 6)}
REDUCTIONS = ["mean", "none", "sum"]
YES, NO = [True, False], [False, True]

LENIENT = {
    "BatchNorm": "an empty batch is refused; num_features is checked without affine too",
    "InstanceNorm": "num_features is checked without affine too",
    "GroupNorm": "num_channels is checked without affine too",
    "pad": "every mode takes any number of axes, and borders wider than the input",
    "layer_norm": "a weight that broadcasts is accepted",
    "rms_norm": "a weight that broadcasts is accepted",
    "TransformerEncoder": "is_causal works without a mask",
}
"""Where only one of the two raises, on purpose."""


class Both(NamedTuple):
    """An argument that each library has its own of: a function, a module."""

    theirs: Any
    ours: Any


class Grid(NamedTuple):
    """What to compare.

    Attributes:
        name: a class of ``torch.nn``, or, from "F." on, a function of ``torch.nn.functional``.
        options: of the constructor or function; the first value of each is its base.
        inputs: tuples of arguments; floating arrays take gradients.
        call: options of ``forward``.
        modes: values of ``training`` to try.
        pairs: whether pairs of options are tried too.
        rtol: for what PyTorch computes less exactly.
    """

    name: str
    options: Options
    inputs: list[tuple[Any, ...]]
    call: Options = {}  # noqa: RUF012
    modes: tuple[bool, ...] = (True,)
    pairs: bool = True
    rtol: float = RTOL


def combinations(options: Options, pairs: bool = True) -> Iterator[dict[str, Any]]:
    base = {name: values[0] for name, values in options.items()}
    others = [(name, value) for name, values in options.items() for value in values[1:]]
    yield base
    for name, value in others:
        yield {**base, name: value}
    if pairs:
        for (a, x), (b, y) in itertools.combinations(others, 2):
            if a != b:
                yield {**base, a: x, b: y}


def R(*shape: int) -> Array:
    return RNG.normal(size=shape)


def P(*shape: int) -> Array:
    return RNG.uniform(0.05, 0.95, shape)


def signs(*shape: int) -> Array:
    """-1 and 1, as integers: targets, of which PyTorch takes no gradient."""
    return np.where(RNG.normal(size=shape) > 0, 1, -1)


def numbers(*values: Any) -> Array:
    return np.array(values)


# ---- running both --------------------------------------------------------------------------------------------------------


def given(x: Any, lib: Any, grad: bool = True) -> Any:
    if isinstance(x, Both):
        return x.theirs() if lib is torch else x.ours()
    if isinstance(x, np.ndarray):
        asks = grad and x.dtype.kind == "f"
        return torch.tensor(x, requires_grad=asks) if lib is torch else mg.tensor(x.copy(), requires_grad=asks)
    if isinstance(x, (tuple, list)):
        return type(x)(given(v, lib, grad) for v in x)
    return {k: given(v, lib, grad) for k, v in x.items()} if isinstance(x, dict) else x


def leaves(x: Any) -> list[Any]:
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (tuple, list)):
        return [leaf for v in x for leaf in leaves(v)]
    return [x] if isinstance(x, (torch.Tensor, mg.Tensor)) else []


def values_of(x: Any) -> Array:
    return np.array(x.detach().numpy())


def run(lib: Any, grid: Grid, made_with: Any, args: Any, kwargs: Any, training: bool, state: Any) -> dict[str, Any]:
    """Everything that must agree, by name."""
    function = grid.name.startswith("F.")
    args, kwargs, made_with = given(list(args), lib), given(kwargs, lib), given(made_with, lib, grad=function)
    if function:
        call: Any = getattr(torch.nn.functional if lib is torch else F, grid.name[2:])
        out = call(*args, **made_with, **kwargs)
        module = None
    else:
        module = getattr(torch.nn if lib is torch else nn, grid.name)(**made_with).double()
        module.load_state_dict(state)
        module.train(training)
        out = module(*args, **kwargs)
    outs = leaves(out)
    rng = np.random.default_rng(5)
    total: Any = None
    for o in outs:
        g = rng.normal(size=tuple(o.shape))
        if o.requires_grad:
            term = (o * given(g, lib, grad=False)).sum()
            total = term if total is None else total + term
    if total is not None:
        total.backward()
    found = {f"output {k}": values_of(o) for k, o in enumerate(outs)}
    for k, x in enumerate(leaves([args, kwargs, made_with])):
        found[f"gradient of argument {k}"] = None if x.grad is None else values_of(x.grad)
    if module is not None:
        for name, p in module.named_parameters():
            found[f"gradient of {name}"] = None if p.grad is None else values_of(p.grad)
            found[name] = values_of(p)
        found |= {f"buffer {name}": values_of(b) for name, b in module.named_buffers()}
    return found


def differs(ours: Any, theirs: Any, rtol: float) -> str | None:
    if ours is None or theirs is None:
        rest = theirs if ours is None else ours
        return None if rest is None or not rest.any() else f"None against {rest.ravel()[:3]}"
    if ours.shape != theirs.shape or ours.dtype.kind != theirs.dtype.kind:
        return f"{ours.dtype}{ours.shape} against {theirs.dtype}{theirs.shape}"
    if ours.dtype.kind != "f":
        return None if (ours == theirs).all() else f"{ours.ravel()[:5]} against {theirs.ravel()[:5]}"
    finite = np.isfinite(theirs)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
        return f"{ours.ravel()[:5]} against {theirs.ravel()[:5]}"
    scale = np.abs(theirs[finite]).max(initial=0)
    error = np.abs(ours[finite] - theirs[finite]).max(initial=0)
    return None if error <= rtol * scale + 1e-13 else f"off by {error:.2g} of {scale:.2g}"


def starting_state(name: str, made_with: Any) -> dict[str, Array]:
    module = getattr(torch.nn, name)(**given(made_with, torch, grad=False)).double()
    rng = np.random.default_rng(3)
    learned = {key for key, _ in module.named_parameters()}
    return {
        key: rng.normal(size=tuple(v.shape)) * 0.4 if key in learned else v.numpy().copy()
        for key, v in module.state_dict().items()
    }


def disagreements(grid: Grid, made_with: Any, args: Any, kwargs: Any, training: bool) -> list[str]:
    state = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not grid.name.startswith("F."):
                state = starting_state(grid.name, made_with)
            theirs = run(torch, grid, made_with, args, kwargs, training, as_tensors(state))
    except Exception as error:
        theirs = error
    try:
        ours = run(mg, grid, made_with, args, kwargs, training, state)
    except Exception as error:
        ours = error
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        if isinstance(theirs, Exception) and isinstance(ours, Exception):
            return []
        if any(word in grid.name for word in LENIENT) and not isinstance(ours, (AttributeError, RuntimeWarning)):
            return []
        return [f"PyTorch: {str(theirs)[:100] if isinstance(theirs, Exception) else 'fine'}; minigrad: {str(ours)[:200]}"]
    if list(ours) != list(theirs):
        return [f"{list(ours)} against {list(theirs)}"]
    return [f"{name}: {why}" for name in theirs if (why := differs(ours[name], theirs[name], grid.rtol))]


def as_tensors(state: Any) -> Any:
    return None if state is None else {name: torch.tensor(v) for name, v in state.items()}


# ---- the grids -----------------------------------------------------------------------------------------------------------


def convolutions() -> Iterator[Grid]:
    for n, space in SPACE.items():
        two = (2, 3, 1)[:n]
        edge = (1, 0, 2)[:n]
        inputs = [(R(2, 4, *space),), (R(4, *space),), (R(0, 4, *space),), (R(2, 3, *space),)][: 4 if n < 3 else 2]
        base = {"in_channels": [4], "out_channels": [6], "kernel_size": [3, 1, two], "stride": [1, 2, 4, two]}
        yield Grid(f"Conv{n}d", {
            **base, "padding": [0, 1, 2, "same", "valid", edge], "dilation": [1, 2, two], "groups": [1, 2], "bias": YES,
            "padding_mode": ["zeros", "reflect", "replicate", "circular"],
        }, inputs, pairs=n < 3)  # fmt: skip
        yield Grid(f"ConvTranspose{n}d", {
            **base, "padding": [0, 1, edge], "output_padding": [0, 1], "groups": [1, 2], "bias": YES, "dilation": [1, 2],
            "padding_mode": ["zeros", "reflect"],
        }, inputs[:2], pairs=n < 3)  # fmt: skip
        sizes = [None, [20] * n, [19] * n, tuple(2 * s + 2 for s in space)]
        yield Grid(f"ConvTranspose{n}d", {**base, "kernel_size": [3], "stride": [2, 3]}, inputs[:2], {"output_size": sizes})


def pools() -> Iterator[Grid]:
    for n, space in SPACE.items():
        two = (2, 3, 1)[:n]
        inputs = [(R(2, 3, *space),), (R(3, *space),), (R(0, 3, *space),)]
        window = {"kernel_size": [3, 2, two, 1], "stride": [None, 1, 2, 4, two], "padding": [0, 1]}
        yield Grid(f"MaxPool{n}d", {**window, "dilation": [1, 2], "return_indices": NO, "ceil_mode": NO}, inputs, pairs=n < 3)
        divisor = {"divisor_override": [None, 5, 1]} if n > 1 else {}
        yield Grid(f"AvgPool{n}d", {**window, "ceil_mode": NO, "count_include_pad": YES, **divisor}, inputs, pairs=n < 3)
        sizes = [3, 1, 12 if n < 3 else 6, space if n > 1 else 9, (None,) * (n - 1) + (2,) if n > 1 else 2]
        yield Grid(f"AdaptiveAvgPool{n}d", {"output_size": sizes}, inputs)
        tied = [*inputs, (np.round(R(2, 3, *space)),)]
        yield Grid(f"AdaptiveMaxPool{n}d", {"output_size": sizes, "return_indices": NO}, tied)
        lp = {"norm_type": [2, 1, 3.0], "kernel_size": [2, 3], "stride": [None, 1, 3], "ceil_mode": NO}
        yield Grid(f"LPPool{n}d", lp, [(P(2, 3, *space),), (P(3, *space),)])
        for kernel, stride in ((2, None), (2, 3)):
            pooled = getattr(torch.nn.functional, f"max_pool{n}d")(
                torch.tensor(R(2, 3, *space)), kernel, stride, return_indices=True
            )
            y, at = (x.numpy() for x in pooled)
            whole = {"output_size": [None, list(space), [99] * n, [2, 3, *space]]}
            yield Grid(f"MaxUnpool{n}d", {"kernel_size": [kernel], "stride": [stride]}, [(y, at), (y[0], at[0])], whole)


def norms() -> Iterator[Grid]:
    both = (True, False)
    for n, space in SPACE.items():
        inputs = [(R(4, 3, *space),), (R(1, 3, *space),), (R(4, 4, *space),), (R(3, *space),)]
        running = {"num_features": [3], "eps": [1e-5, 0.1], "momentum": [0.1, None, 0.0, 1.0]}
        flat = [(R(5, 3),), (R(1, 3),)] if n == 1 else []
        yield Grid(f"BatchNorm{n}d", {**running, "affine": YES, "track_running_stats": YES}, inputs + flat, modes=both)
        yield Grid(f"InstanceNorm{n}d", {**running, "affine": NO, "track_running_stats": NO}, inputs, modes=both)
    shapes = {"normalized_shape": [4, (4,), (3, 4), [3, 4]], "elementwise_affine": YES}
    ends = [(R(2, 3, 4),), (R(3, 4),), (R(4),), (R(0, 3, 4),), (R(2, 4, 3),)]
    yield Grid("LayerNorm", {**shapes, "eps": [1e-5, 0.1], "bias": YES}, ends)
    yield Grid("RMSNorm", {**shapes, "eps": [None, 0.1]}, ends)
    groups = {"num_groups": [2, 1, 4, 3], "num_channels": [4, 6], "eps": [1e-5, 0.1], "affine": YES}
    yield Grid("GroupNorm", groups, [(R(2, 4, 5),), (R(2, 4),), (R(1, 4, 3, 2),), (R(0, 4, 3),), (R(2, 6, 3),)])
    local = {"size": [3, 2, 5, 1], "alpha": [1e-4, 0.3], "beta": [0.75, 0.5], "k": [1.0, 2.0]}
    yield Grid("LocalResponseNorm", local, [(R(2, 6, 4),), (R(2, 6, 4, 3),), (R(2, 6, 4, 3, 2),), (R(6, 4),)])


ACTIVATIONS: dict[str, Options] = {
    "CELU": {"alpha": [1.0, 0.5, 2.0]}, "ELU": {"alpha": [1.0, 0.5]}, "GELU": {"approximate": ["none", "tanh"]},
    "GLU": {"dim": [-1, 0, 1]}, "Hardshrink": {"lambd": [0.5, 1.0]}, "Hardsigmoid": {}, "Hardswish": {},
    "Hardtanh": {"min_val": [-1.0, -2], "max_val": [1.0, 6]}, "LeakyReLU": {"negative_slope": [0.01, 0.5]}, "LogSigmoid": {},
    "LogSoftmax": {"dim": [-1, 0, 1]}, "Mish": {}, "PReLU": {"num_parameters": [1, 4], "init": [0.25, 0.5]}, "ReLU": {},
    "ReLU6": {}, "RReLU": {"lower": [0.3], "upper": [0.3]}, "SELU": {}, "SiLU": {}, "Sigmoid": {}, "Softmax": {"dim": [-1, 0, 1]},
    "Softmax2d": {}, "Softmin": {"dim": [-1, 0, 1]}, "Softplus": {"beta": [1.0, 2.0, 0.5], "threshold": [20.0, 3.0]},
    "Softshrink": {"lambd": [0.5, 1.0, 0.0]}, "Softsign": {}, "Tanh": {}, "Tanhshrink": {},
    "Threshold": {"threshold": [0.1, -1], "value": [2.0, 0.0]},
}  # fmt: skip
TAILS = numbers(-30.0, -6, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, 30.0, 1000.0, -1000.0)


def activations() -> Iterator[Grid]:
    inputs = [(R(4, 6),), (TAILS,), (R(2, 4, 6),), (R(4),), (R(0, 4),), (R(2, 4, 3, 2),), (np.array(0.3),)]
    functional = {"LogSigmoid": "logsigmoid", "LogSoftmax": "log_softmax", "LeakyReLU": "leaky_relu"}
    for name, options in ACTIVATIONS.items():
        rtol = 1e-7 if name == "Hardsigmoid" else RTOL  # its backward multiplies by a float32 1/6
        yield Grid(name, options, inputs, rtol=rtol)
        if name not in ("PReLU", "RReLU", "Softmax2d"):
            yield Grid(f"F.{functional.get(name, name.lower())}", options, inputs, rtol=rtol)
    yield Grid("RReLU", {"lower": [1 / 8, 0.2], "upper": [1 / 3, 0.4]}, inputs[:1], modes=(False,))
    for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"):
        axes = int(name[7]) if name[-1] == "d" else 2
        yield Grid(name, {"p": [0.5, 0.0, 1.0]}, [(R(2, 3, *(4,) * axes),)], modes=(False,))
        yield Grid(name, {"p": [0.0, 1.0]}, [(R(2, 3, *(4,) * axes),)])


def losses() -> Iterator[Grid]:
    same = [(R(4, 3), R(4, 3)), (R(3), R(3)), (R(), R()), (R(2, 3, 4), R(2, 3, 4)), (R(0, 3), R(0, 3))]
    chances = [(P(*x.shape), P(*x.shape)) for x, _ in same]
    edges = [(numbers(0.0, 1.0, 2.0, -1.0, 0.5), numbers(0.0, 0.0, 1.0, 1.0, 0.5))]
    reduction = {"reduction": REDUCTIONS}
    weights = {"weight": [None, P(4, 3), P(3), P(4, 1)]}
    per_class = {"weight": [None, P(3)]}
    yield Grid("MSELoss", reduction, same + edges)
    yield Grid("L1Loss", reduction, same + edges)
    yield Grid("HuberLoss", {**reduction, "delta": [1.0, 0.5, 2.0, 0.0]}, same + edges)
    yield Grid("SmoothL1Loss", {**reduction, "beta": [1.0, 0.5, 2.0, 0.0]}, same + edges)
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        yield Grid(f"F.{name}", {**reduction, "weight": [None, P(4, 3)]}, same[:1])
    yield Grid("BCELoss", {**reduction, **weights}, [*chances, (P(4, 1), P(4))])
    far = [(numbers(100.0, -100, 1000.0), numbers(0.0, 1.0, 0.5))]
    yield Grid("BCEWithLogitsLoss", {**reduction, **weights, "pos_weight": [None, P(3), P(4, 3)]}, chances + far)
    indices = [
        (R(4, 3), numbers(0, 2, 1, 1)), (R(3), np.array(1)), (R(2, 3, 4), RNG.integers(0, 3, (2, 4))),
        (R(2, 3, 4, 5), RNG.integers(0, 3, (2, 4, 5))), (R(4, 3), numbers(1, 1, 1, 1)), (R(4, 3), numbers(0, -100, 1, 1)),
        (R(4, 3), numbers(0, 3, 1, 1)), (R(0, 3), np.zeros(0, int)),
    ]  # fmt: skip
    ignored = {"ignore_index": [-100, 1, -1]}
    yield Grid("NLLLoss", {**reduction, **per_class, **ignored}, indices)
    probabilities = [(R(4, 3), P(4, 3)), (R(3), P(3)), (R(2, 3, 4), P(2, 3, 4))]
    smooth = {"label_smoothing": [0.0, 0.1, 1.0]}
    yield Grid("CrossEntropyLoss", {**reduction, **per_class, **ignored, **smooth}, indices + probabilities)
    every = {"weight": [P(3)], "ignore_index": [1], "label_smoothing": [0.2], **reduction}
    yield Grid("CrossEntropyLoss", every, indices)
    yield Grid("KLDivLoss", {"reduction": [*REDUCTIONS, "batchmean"], "log_target": NO}, chances)
    poisson = {**reduction, "log_input": YES, "full": NO, "eps": [1e-8, 0.1]}
    yield Grid("PoissonNLLLoss", poisson, [(P(4, 3), np.round(P(4, 3) * 9 + 1)), (P(4), numbers(1.0, 1.0, 2.0, 5.0))])
    variances = [(R(4, 3), R(4, 3), v) for v in (P(4, 3), P(4, 1), P(4), -P(4, 3))]
    yield Grid("GaussianNLLLoss", {**reduction, "full": NO, "eps": [1e-6, 0.5]}, variances)
    ties = (numbers(1.0, 1.0, -1.0, 0.0), numbers(1, -1, 1, -1))
    yield Grid("HingeEmbeddingLoss", {**reduction, "margin": [1.0, 0.5]}, [(R(4, 3), signs(4, 3)), (R(4), signs(4)), ties])
    yield Grid("SoftMarginLoss", reduction, [(R(4, 3), signs(4, 3))])
    ranks = [(R(4), R(4), signs(4)), (R(4, 3), R(4, 3), signs(4, 3)), (R(), R(), signs()), (np.ones(3), np.ones(3), signs(3))]
    yield Grid("MarginRankingLoss", {**reduction, "margin": [0.0, 0.5]}, ranks)
    cosines = [(R(4, 3), R(4, 3), signs(4)), (R(3), R(3), signs()), (np.zeros((2, 3)), R(2, 3), signs(2))]
    yield Grid("CosineEmbeddingLoss", {**reduction, "margin": [0.0, 0.5, -0.5]}, cosines)
    multi = {**reduction, "p": [1, 2], "margin": [1.0, 0.5], **per_class}
    yield Grid("MultiMarginLoss", multi, [(R(4, 3), numbers(0, 1, 2, 1)), (R(3), np.array(1))])
    triple = [tuple(R(*s) for _ in range(3)) for s in ((4, 3), (3,), (2, 4, 3))]
    norm = {"margin": [1.0, 0.5], "p": [2.0, 1.0, 3.0], "eps": [1e-6, 0.1], "swap": NO}
    yield Grid("TripletMarginLoss", {**reduction, **norm}, triple)
    taxicab = Both(lambda: lambda a, b: (a - b).abs().sum(-1), lambda: lambda a, b: mg.abs(a - b).sum(-1))
    distances = {"distance_function": [None, taxicab], "margin": [1.0, 0.3], "swap": NO}
    yield Grid("TripletMarginWithDistanceLoss", {**reduction, **distances}, triple[:2])
    several = [
        (R(3, 4), numbers([0, 2, -1, 1], [3, -1, 0, 0], [-1, 0, 0, 0])), (R(4), numbers(1, 1, -1, 0)),
        (R(4), numbers(0, 1, 2, 3)), (R(4), numbers(0, 1, 2, 4)),
    ]  # fmt: skip
    yield Grid("MultiLabelMarginLoss", reduction, several)
    ones = [(R(*s), np.round(P(*s))) for s in ((3, 4), (4,), (2, 3, 4))]
    yield Grid("MultiLabelSoftMarginLoss", {**reduction, "weight": [None, P(4)]}, ones)


def recurrent() -> Iterator[Grid]:
    for name in ("RNN", "GRU", "LSTM"):
        kind: Options = {"nonlinearity": ["tanh", "relu"]} if name == "RNN" else {}

        def state(*shape: int, lstm: bool = name == "LSTM") -> Any:
            return (R(*shape), R(*shape)) if lstm else R(*shape)

        base: Options = {"input_size": [3], "hidden_size": [4], "bias": YES, **kind}
        layers: Options = {**base, "bidirectional": NO, "batch_first": NO, "num_layers": [1, 2, 3]}
        if name == "LSTM":
            layers["proj_size"] = [0, 2]
        yield Grid(name, layers, [(R(5, 2, 3),), (R(5, 1, 3),), (R(5, 3),), (R(5, 2, 4),)])
        for two, deep in itertools.product(NO, (1, 2)):
            rows = deep * (1 + two)
            fixed = {**base, "bidirectional": [two], "num_layers": [deep]}
            yield Grid(name, fixed, [(R(5, 2, 3), state(rows, 2, 4)), (R(5, 3), state(rows, 4)), (R(5, 2, 3), state(9, 2, 4))])
        cell = [(R(2, 3),), (R(3),), (R(2, 3), state(2, 4)), (R(3), state(4)), (R(0, 3),), (R(2, 3), state(3, 4))]
        yield Grid(f"{name}Cell", base, cell)


def causal(rows: int, columns: int) -> Array:
    return np.triu(np.ones((rows, columns), bool), 1)


PADDED = numbers([False] * 4, [False, False, False, True])


def attention() -> Iterator[Grid]:
    options = {"embed_dim": [6], "num_heads": [2, 1, 3], "bias": YES, "add_bias_kv": NO, "add_zero_attn": NO, "batch_first": NO}
    padding = np.tile(np.arange(5) > 3, (2, 1))
    call = {"need_weights": YES, "average_attn_weights": YES, "attn_mask": [None, causal(4, 5), R(4, 5)],
            "key_padding_mask": [None, padding, np.where(padding, -1.5, 0.0)]}  # fmt: skip
    inputs = [(R(4, 2, 6), R(5, 2, 6), R(5, 2, 6))]
    yield Grid("MultiheadAttention", {**options, "batch_first": [False]}, inputs, call)
    yield Grid("MultiheadAttention", {**options, "num_heads": [2]}, [(R(4, 6), R(5, 6), R(5, 6)), (R(2, 4, 6),) * 3])
    yield Grid("MultiheadAttention", {"embed_dim": [6], "num_heads": [2], "kdim": [5], "vdim": [4], "bias": YES},
               [(R(4, 2, 6), R(5, 2, 5), R(5, 2, 4))], {"attn_mask": [None, RNG.random((4, 4, 5)) < 0.3]})  # fmt: skip
    dot = {"attn_mask": [None, ~causal(4, 5), R(4, 5)], "is_causal": NO, "scale": [None, 0.3]}
    yield Grid(
        "F.scaled_dot_product_attention", dot, [(R(2, 3, 4, 6), R(2, 3, 5, 6), R(2, 3, 5, 7)), (R(4, 6), R(5, 6), R(5, 6))]
    )
    grouped = [(R(2, 4, 4, 6), R(2, h, 5, 6), R(2, h, 5, 7)) for h in (2, 3)]
    yield Grid("F.scaled_dot_product_attention", {"enable_gqa": YES}, grouped)


def transformers() -> Iterator[Grid]:
    gelu = Both(lambda: torch.nn.functional.gelu, lambda: F.gelu)
    layer: Options = {
        "d_model": [6], "nhead": [2, 1], "dim_feedforward": [5], "dropout": [0.0], "activation": ["relu", "gelu", gelu],
        "layer_norm_eps": [1e-5, 0.1], "batch_first": NO, "norm_first": NO, "bias": YES,
    }  # fmt: skip
    square = [(R(2, 2, 6),)]
    both = (True, False)
    mask, pads = causal(4, 4), PADDED
    yield Grid("TransformerEncoderLayer", {**layer, "batch_first": [False]}, [(R(4, 2, 6),)],
               {"src_mask": [None, mask, np.where(mask, -1e3, 0.0)], "src_key_padding_mask": [None, pads]}, both, False)  # fmt: skip
    yield Grid("TransformerEncoderLayer", layer, [*square, (R(4, 6),)], modes=both)
    yield Grid("TransformerDecoderLayer", {**layer, "batch_first": [False]}, [(R(3, 2, 6), R(4, 2, 6))],
               {"tgt_mask": [None, causal(3, 3)], "memory_mask": [None, causal(3, 4)],
                "tgt_key_padding_mask": [None, pads[:, 1:]], "memory_key_padding_mask": [None, pads]}, pairs=False)  # fmt: skip
    yield Grid("TransformerDecoderLayer", layer, [square[0] * 2, (R(3, 6), R(4, 6))])
    for norm in (None, Both(lambda: torch.nn.LayerNorm(6), lambda: nn.LayerNorm(6))):
        encoder = Both(lambda: torch.nn.TransformerEncoderLayer(6, 2, 5, 0.0), lambda: nn.TransformerEncoderLayer(6, 2, 5, 0.0))
        stack: Options = {"num_layers": [1, 3], "norm": [norm]}
        yield Grid("TransformerEncoder", {"encoder_layer": [encoder], **stack}, [(R(4, 2, 6),)],
                   {"mask": [None, mask], "src_key_padding_mask": [None, pads], "is_causal": [None, True, False]})  # fmt: skip
        decoder = Both(lambda: torch.nn.TransformerDecoderLayer(6, 2, 5, 0.0), lambda: nn.TransformerDecoderLayer(6, 2, 5, 0.0))
        yield Grid("TransformerDecoder", {"decoder_layer": [decoder], **stack}, [(R(3, 2, 6), R(4, 2, 6))],
                   {"tgt_mask": [None, causal(3, 3)], "memory_mask": [None, causal(3, 4)]})  # fmt: skip
    whole = {**layer, "num_encoder_layers": [1, 2], "num_decoder_layers": [1, 2]}
    masks: Options = {name: [None, causal(2, 2)] for name in ("src_mask", "tgt_mask", "memory_mask")}
    pairs = {f"{name}_key_padding_mask": [None, pads[:, 2:]] for name in ("src", "tgt", "memory")}
    tensors = [(R(2, 2, 6), R(2, 2, 6))]
    yield Grid("Transformer", whole, tensors, pairs=False)
    yield Grid("Transformer", {name: values[:1] for name, values in whole.items()}, tensors, {**masks, **pairs})


def others() -> Iterator[Grid]:
    line = {"in_features": [3], "out_features": [4], "bias": YES}
    yield Grid("Linear", line, [(R(3),), (R(2, 3),), (R(2, 5, 3),), (R(0, 3),), (R(4),)])
    two = {"in1_features": [3], "in2_features": [2], "out_features": [4], "bias": YES}
    yield Grid("Bilinear", two, [(R(3), R(2)), (R(5, 3), R(5, 2)), (R(2, 5, 3), R(2, 5, 2)), (R(0, 3), R(0, 2))])
    table = {"num_embeddings": [7], "embedding_dim": [3], "max_norm": [None, 0.5], "norm_type": [2.0, 1.0, float("inf")]}
    places = [numbers(1, 2, 6, 1), numbers([1, 2], [2, 2]), np.array(3), np.zeros((0, 2), int), numbers(7), numbers(-1)]
    rows = {**table, "padding_idx": [None, 2, -1], "scale_grad_by_freq": NO}
    yield Grid("Embedding", rows, [(x,) for x in places])
    bags = [
        (numbers([1, 2, 3], [4, 1, 6]),), (numbers(1, 2, 3, 4, 1, 6, 2, 2), numbers(0, 3, 3, 8)),
        (numbers(1, 2, 3, 4, 1, 6), numbers(0, 2, 6)), (numbers(2, 2), numbers(0, 1)), (numbers(1, 2),),
    ]  # fmt: skip
    modes = {"mode": ["mean", "sum", "max"], "padding_idx": [None, 2, -1]}
    yield Grid("EmbeddingBag", {**table, **modes}, bags)
    yield Grid("EmbeddingBag", {**table, **modes, "include_last_offset": [True]}, bags[:2])
    weighted = [(*bags[0], None, R(2, 3)), (*bags[1], R(8))]
    yield Grid("EmbeddingBag", {**table, "mode": ["sum", "mean"], "padding_idx": [None, 2]}, weighted)
    ends = {"start_dim": [1, 0, 2, -2], "end_dim": [-1, 2, 1, 0]}
    yield Grid("Flatten", ends, [(R(2, 3, 4),), (R(2, 3, 4, 5),), (R(2),), (R(0, 3, 4),)])
    yield Grid(
        "Unflatten", {"dim": [1, -1], "unflattened_size": [(2, 3), [3, 2], (-1, 2), (2, 2)]}, [(R(4, 6),), (R(4, 6, 6),)]
    )
    yield Grid("PixelShuffle", {"upscale_factor": [2, 1, 3]}, [(R(2, 8, 3, 4),), (R(4, 3, 4),), (R(2, 2, 18, 1, 2),)])
    yield Grid("PixelUnshuffle", {"downscale_factor": [2, 1, 3]}, [(R(2, 3, 6, 4),), (R(3, 6, 6),)])
    yield Grid("ChannelShuffle", {"groups": [2, 3, 4, 1]}, [(R(2, 12, 3),), (R(2, 6, 3, 4),)])
    window = {"kernel_size": [2, (2, 3)], "dilation": [1, 2], "padding": [0, 1], "stride": [1, 2]}
    yield Grid("Unfold", window, [(R(2, 3, 6, 7),), (R(3, 6, 7),)])
    yield Grid("Fold", {"output_size": [(6, 7)], "kernel_size": [2, (2, 3)]}, [(R(2, 12, 30),), (R(12, 30),), (R(2, 12, 25),)])
    for stem, n in itertools.product(("Zero", "Constant", "Reflection", "Replication", "Circular"), SPACE):
        sides: Options = {"padding": [1, 2, (1, 2) * n, (1,) * (2 * n + 1), (0, 3, *(0,) * (2 * n - 2))]}
        if stem == "Constant":
            sides["value"] = [1.5]
        if stem != "Circular":
            sides["padding"].append((-1, 1) * n)
        yield Grid(f"{stem}Pad{n}d", sides, [(R(2, 3, *SPACE[n]),), (R(3, *SPACE[n]),)])
    borders = [(1, 1), (1, 0), (1, 2, 0, 1), (-1, 1), (0, -1, 1, 0), (1, 1, 1, 1, 1, 1), (1,)]
    yield Grid("F.pad", {"pad": borders, "mode": ["constant", "reflect", "replicate", "circular"], "value": [None, 2.0]},
               [(R(2, 3, 4),), (R(2, 3, 4, 5),), (R(3, 4),), (R(4),)])  # fmt: skip
    vectors = [(R(3, 4), R(3, 4)), (R(3, 4), R(1, 4)), (np.zeros((2, 3)), R(2, 3)), (R(3, 1, 4), R(2, 4)), (R(4), R(4))]
    yield Grid("CosineSimilarity", {"dim": [1, 0, -1], "eps": [1e-8, 10.0]}, vectors)
    norm = [2.0, 1.0, 3.0, 0.5, float("inf")]
    flat = [(R(3, 4), R(3, 4)), (R(4), R(4)), (R(3, 4), R(4)), (np.zeros((2, 3)), np.zeros((2, 3)))]
    yield Grid("PairwiseDistance", {"p": norm, "eps": [1e-6, 0.1], "keepdim": NO}, flat)
    yield Grid("F.pdist", {"p": norm}, [(R(4, 3),), (R(1, 3),), (np.zeros((3, 2)),), (R(2, 3, 4),)])
    yield Grid(
        "F.normalize", {"p": norm, "dim": [1, 0, -1], "eps": [1e-12, 10.0]}, [(R(3, 4),), (R(2, 3, 4),), (np.zeros((2, 3)),)]
    )
    yield Grid("F.one_hot", {"num_classes": [-1, 5, 3, 2]}, [(numbers(0, 2, 1),), (numbers([0, 2]),), (np.array(1),)])
    yield Grid("F.prelu", {}, [(R(2, 4, 3), R(4)), (R(2, 4, 3), R(1)), (R(4), R(1)), (R(2, 4), R(3)), (np.array(-0.3), R(1))])
    yield Grid("F.linear", {}, [(R(3), R(4, 3)), (R(2, 3), R(4, 3), R(4)), (R(2, 3), R(3)), (R(3), R(3))])


RESIZED = ["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"]


def resampling() -> Iterator[Grid]:
    for n, space in {1: (9,), 2: (5, 6), 3: (4, 5, 3)}.items():
        x = [(R(2, 3, *space),)]
        how = {"mode": RESIZED, "align_corners": [None, True, False], "antialias": NO}
        sizes = [7, 1, (4,) * n, space, tuple(2 * s for s in space)]
        factors = [2, 1.5, 0.4, 1.7, 3, (1.7,) * n, 1.0, [2.5] * n]
        again = {"recompute_scale_factor": [None, True, False]}
        yield Grid("F.interpolate", {**how, "size": sizes}, x)
        yield Grid("F.interpolate", {**how, "scale_factor": factors, **again}, x)
        for mode, corners in itertools.product(RESIZED, (None, True)):
            yield Grid(
                "Upsample", {"mode": [mode], "align_corners": [corners], "scale_factor": factors, **again}, x, pairs=False
            )
            yield Grid("Upsample", {"mode": [mode], "align_corners": [corners], "size": sizes}, x)
    for name in ("UpsamplingNearest2d", "UpsamplingBilinear2d"):
        yield Grid(name, {"size": [None, 7], "scale_factor": [None, 2, 1.5]}, [(R(2, 3, 5, 6),)])


FAMILIES = (convolutions, pools, norms, activations, losses, recurrent, attention, transformers, others, resampling)
COMPARED: dict[str, list[Grid]] = {}
for family in FAMILIES:
    for grid in family():
        COMPARED.setdefault(grid.name, []).append(grid)


@pytest.mark.parametrize("name", COMPARED)
def test_agrees_with_pytorch_over_its_options(name: str) -> None:
    wrong: list[str] = []
    tried = 0
    for grid in COMPARED[name]:
        for made_with, args, call in itertools.product(
            list(combinations(grid.options, grid.pairs)), grid.inputs, list(combinations(grid.call))
        ):
            for training in grid.modes:
                tried += 1
                for why in disagreements(grid, made_with, args, call, training):
                    shapes = [getattr(a, "shape", a) for a in args]
                    wrong.append(f"{made_with} {call} on {shapes}, training={training}: {why}")
    assert not wrong, f"{len(wrong)} disagreements in {tried} configurations; the first: " + "\n".join(wrong[:5])


LEFT_OUT = {
    "AdaptiveLogSoftmaxWithLoss", "CrossMapLRN2d", "DataParallel", "FractionalMaxPool2d", "FractionalMaxPool3d",
    "LinearCrossEntropyLoss", "NLLLoss2d", "SyncBatchNorm",
}  # fmt: skip
ABSTRACT = {"Container", "Module", "RNNBase", "RNNCellBase"}
ELSEWHERE = {
    "CTCLoss": "test_ctc_agrees_with_pytorch",
    "Identity": "test_nn_layers",
    **dict.fromkeys(("ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"), "test_nn_module"),
}


def test_every_class_of_pytorch_is_compared_or_left_out_on_purpose() -> None:
    theirs = {
        name
        for name, value in vars(torch.nn).items()
        if inspect.isclass(value) and issubclass(value, torch.nn.Module) and not name.startswith("Lazy")
    }
    assert theirs - ABSTRACT - LEFT_OUT - set(ELSEWHERE) <= set(COMPARED)
    assert not {name for name in LEFT_OUT if hasattr(nn, name)}


# ---- what a grid does not say --------------------------------------------------------------------------------------------


CTC_INPUTS = {
    "padded targets": (R(6, 2, 5), [[1, 2, 2], [4, 1, 1]], [6, 5], [3, 2]),
    "joined targets": (R(6, 2, 5), [1, 2, 2, 4, 1], [6, 5], [3, 2]),
    "one sequence": (R(6, 5), [1, 2, 2], 6, 3),
    "an empty target": (R(6, 2, 5), [[1, 2, 2], [4, 1, 1]], [6, 4], [1, 0]),
    "as short as can be": (R(3, 2, 5), [[1, 2, 3], [4, 1, 1]], [3, 3], [3, 2]),
    "more frames than there are": (R(6, 2, 5), [[1, 2, 2], [4, 1, 1]], [7, 5], [3, 2]),
}


@pytest.mark.parametrize("name", CTC_INPUTS)
@pytest.mark.parametrize(("reduction", "blank"), [*itertools.product(REDUCTIONS, (0, 3))])
def test_ctc_agrees_with_pytorch(name: str, reduction: str, blank: int) -> None:
    """Through a log_softmax: PyTorch's own gradient of log_probs is that of the logits."""
    x, *rest = CTC_INPUTS[name]
    if name == "as short as can be" and blank == 3:
        rest[0] = [[1, 2, 4], [4, 1, 1]]
    a, b = mg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    theirs = [torch.tensor(v) for v in rest]
    if name == "more frames than there are":
        with pytest.raises(RuntimeError):
            torch.nn.CTCLoss(blank, reduction)(torch.log_softmax(b, -1), *theirs)
        with pytest.raises(mg.ShapeError, match="input_lengths"):
            nn.CTCLoss(blank, reduction)(mg.log_softmax(a, -1), *rest)
        return
    y = nn.CTCLoss(blank, reduction)(mg.log_softmax(a, -1), *rest)
    u = torch.nn.CTCLoss(blank, reduction)(torch.log_softmax(b, -1), *theirs)
    assert differs(values_of(y), values_of(u), RTOL) is None
    y.sum().backward()
    u.sum().backward()
    assert differs(values_of(a.grad), values_of(b.grad), RTOL) is None


def test_ctc_of_a_target_that_does_not_fit() -> None:
    args = mg.log_softmax(mg.tensor(R(3, 1, 4), requires_grad=True), -1), [[1, 1, 2]], [3], [3]
    assert F.ctc_loss(*args).item() == np.inf
    zero = F.ctc_loss(*args, zero_infinity=True)
    zero.backward()
    assert zero.item() == 0


@pytest.mark.parametrize(
    "f",
    [
        lambda x: F.interpolate(x, size=7, mode="bicubic", align_corners=False),
        lambda x: F.interpolate(x, scale_factor=0.6, mode="bilinear", antialias=True),
        lambda x: F.interpolate(x, size=(3, 9), mode="nearest-exact"),
        lambda x: F.adaptive_max_pool2d(x, 2, return_indices=True)[0],
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=x.shape),
        lambda x: F.lp_pool2d(x * x + 1, 3.0, 2),
        lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2) ** 3,
        lambda x: F.cosine_similarity(x, x[:, ::-1], dim=-1),
        lambda x: F.pdist(x.reshape((4, -1)), 3.0),
        lambda x: F.ctc_loss(mg.log_softmax(x[:, 0], -1).permute(1, 0, 2), [[1, 2]], [4], [2]),
        lambda x: F.multilabel_soft_margin_loss(x, np.ones(x.shape)),
        lambda x: F.embedding_bag([0, 3, 1], mg.sin(x.reshape((4, -1))), [0, 2], mode="mean"),
        lambda x: F.rrelu(x, training=True, generator=mg.random.generator(3)),
        lambda x: F.alpha_dropout(mg.sin(x), training=True, generator=mg.random.generator(3)),
        lambda x: F.gumbel_softmax(x, 0.7, generator=mg.random.generator(3)),
    ],
)
def test_gradients_of_order_one_and_two(f: Callable[[Any], Any]) -> None:
    check_grads(f, np.random.default_rng(4).normal(size=(1, 4, 4, 4)), order=2)


@pytest.mark.parametrize("name", ["AlphaDropout", "FeatureAlphaDropout", "RReLU"])
def test_noise_is_that_of_the_seed_and_keeps_its_moments(name: str) -> None:
    x = mg.tensor(np.random.default_rng(0).normal(size=(400, 500)))
    one, other = (getattr(nn, name)(generator=mg.random.generator(7))(x).numpy() for _ in range(2))
    assert (one == other).all()
    if name == "RReLU":
        slopes = (one / x.numpy())[x.numpy() < 0]
        assert slopes.min() >= 1 / 8
        assert slopes.max() <= 1 / 3
        assert abs(slopes.mean() - (1 / 8 + 1 / 3) / 2) < 1e-3
    else:
        assert abs(one.mean()) < 0.05
        assert abs(one.std() - 1) < 0.05


def test_alpha_dropout_takes_the_two_values_of_its_equation() -> None:
    p, far = 0.3, -1.7580993408473766
    a = ((1 - p) * (1 + p * far**2)) ** -0.5
    y = nn.AlphaDropout(p)(mg.ones(1000, dtype="float64")).numpy()
    np.testing.assert_allclose(np.unique(y), [a * far - a * p * far, a - a * p * far], rtol=1e-12)


def test_gumbel_softmax_draws_the_classes_as_often_as_they_are_probable() -> None:
    p = np.array([0.6, 0.3, 0.1])
    draws = F.gumbel_softmax(mg.tensor(np.tile(np.log(p), (20000, 1))), hard=True, generator=mg.random.generator(1))
    assert set(np.unique(draws.numpy())) == {0.0, 1.0}
    np.testing.assert_allclose(draws.numpy().mean(0), p, atol=0.02)


def test_hooks_of_backward_see_and_change_what_pytorchs_do() -> None:
    def path(lib: Any) -> list[Any]:
        class Two(lib.nn.Module):  # type: ignore[misc,name-defined]
            def forward(self, a: Any, b: Any) -> Any:
                return a * b, (a + 1) * 2

        seen: list[Any] = []
        module = Two()
        before = module.register_full_backward_pre_hook(lambda m, out: (out[0] * 2, out[1]))

        def tell(m: Any, into: Any, out: Any) -> Any:
            seen.extend(values_of(g) for g in (*into, *out))
            return into[0] * 3, into[1]

        after = module.register_full_backward_hook(tell)
        a, b = (given(x, lib) for x in (numbers(1.0, 2.0), numbers(3.0, 5.0)))
        x, y = module(a, b)
        (2 * x.sum() + (y * y).sum()).backward()
        before.remove()
        after.remove()
        x, y = module(a, b)
        (x + y).sum().backward()
        return [*seen, values_of(a.grad), values_of(b.grad)]

    for one, other in zip(path(mg), path(torch), strict=True):
        np.testing.assert_allclose(one, other, rtol=RTOL)


def test_hooks_of_backward_where_no_input_has_a_gradient() -> None:
    seen = []
    layer = nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda module, into, out: seen.append((into, out[0].tolist())))
    layer(mg.ones((3, 2))).sum().backward()
    assert seen == [((None,), [[1.0], [1.0], [1.0]])]
    layer.register_full_backward_hook(lambda module, into, out: (1, 2, 3))
    with pytest.raises(ValueError, match="expected 1"):
        layer(mg.ones((3, 2), requires_grad=True)).sum().backward()


ADAFACTOR: Options = {
    "lr": [1e-2, 0.1], "beta2_decay": [-0.8, -0.5], "eps": [(None, 1e-3), (1e-10, 0.1)], "d": [1.0, 3.0],
    "weight_decay": [0.0, 0.1], "maximize": NO,
}  # fmt: skip


@pytest.mark.parametrize("options", [*combinations(ADAFACTOR)], ids=str)
def test_adafactor_takes_pytorchs_twenty_steps(options: dict[str, Any]) -> None:
    shapes = ((3, 4), (4,), (), (2, 3, 2))

    def descend(lib: Any) -> list[Array]:
        rng = np.random.default_rng(0)
        p = [given(rng.normal(size=s), lib) for s in shapes]
        centres = [given(rng.normal(size=s), lib, grad=False) for s in shapes]

        def made() -> Any:
            return lib.optim.Adafactor([{"params": p[:2]}, {"params": p[2:], "lr": 0.05}], **options)

        optimizer = made()
        for t in range(20):
            if t == 10:
                state, optimizer = optimizer.state_dict(), made()
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            sum((lib.sin(q - c) ** 2).sum() for q, c in zip(p, centres)).backward()
            if t % 3 == 1:
                p[1].grad = None
            optimizer.step()
        return [values_of(q) for q in p]

    for one, other in zip(descend(mg), descend(torch)):
        assert differs(one, other, RTOL) is None


@pytest.mark.parametrize("wrong", [{"lr": -1}, {"beta2_decay": 0.5}, {"d": 0.5}, {"eps": (-1, 0.1)}, {"weight_decay": -0.1}])
def test_adafactor_refuses_what_pytorch_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        torch.optim.Adafactor([torch.zeros(2, requires_grad=True)], **wrong)
    with pytest.raises(optim.OptimizerError, match=next(iter(wrong))):
        optim.Adafactor([mg.zeros(2, requires_grad=True)], **wrong)
