"""Every layer against PyTorch in float64, and its gradients of order 1 and 2 against the complex step and differences."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F  # noqa: N812
from minigrad.testing import check_grads

RTOL = 1e-9
LESS_EXACT_IN_PYTORCH = {"Hardsigmoid": 1e-7}
"""Its backward multiplies by 1/6 in float32, whatever the dtype."""


class Case(NamedTuple):
    """A layer, what it is made with, and the shapes it is called with."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        told = [*map(repr, self.args), *(f"{k}={v!r}" for k, v in self.kwargs.items())]
        return f"{self.name}({','.join(told)})-{'-'.join('x'.join(map(str, s)) for s in self.shapes)}".replace(" ", "")


def case(name: str, *args: Any, on: Any, **kwargs: Any) -> Case:
    return Case(name, args, kwargs, on if isinstance(on[0], tuple) else (on,))


def conv_cases() -> Iterator[Case]:
    space = {1: (9,), 2: (8, 7), 3: (5, 4, 6)}
    for n, size in space.items():
        name = f"Conv{n}d"
        yield case(name, 4, 6, 3, on=(2, 4, *size))
        yield case(name, 4, 6, 3, on=(4, *size))
        yield case(name, 4, 6, 2, stride=2, padding=1, groups=2, bias=False, on=(2, 4, *size))
        yield case(name, 4, 4, 2, dilation=2, groups=4, on=(2, 4, *size))
        yield case(name, 4, 2, 3, padding="same", dilation=2, on=(1, 4, *size))
        yield case(name, 4, 2, 2, padding="valid", on=(1, 4, *size))
        for mode in ("reflect", "replicate", "circular"):
            yield case(name, 2, 3, 3, padding=1, padding_mode=mode, stride=2, on=(2, 2, *size))
            yield case(name, 2, 3, 2, padding="same", padding_mode=mode, on=(2, 2, *size))
        name = f"ConvTranspose{n}d"
        yield case(name, 4, 6, 3, on=(2, 4, *size))
        yield case(name, 4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, on=(2, 4, *size))
        yield case(name, 4, 2, 2, stride=2, dilation=2, bias=False, on=(4, *size))
    yield case("Conv2d", 3, 2, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2), on=(2, 3, 8, 7))
    yield case("Conv2d", 3, 2, (3, 2), padding=(2, 1), padding_mode="reflect", on=(2, 3, 8, 7))
    yield case("ConvTranspose2d", 3, 2, (3, 2), stride=(2, 3), padding=(0, 1), output_padding=(1, 2), on=(2, 3, 4, 3))


def pool_cases() -> Iterator[Case]:
    space = {1: (9,), 2: (8, 7), 3: (5, 4, 6)}
    for n, size in space.items():
        for shape in ((2, 3, *size), (3, *size)):
            yield case(f"MaxPool{n}d", 2, on=shape)
            yield case(f"MaxPool{n}d", 3, stride=2, padding=1, on=shape)
            yield case(f"MaxPool{n}d", 2, stride=2, dilation=2, ceil_mode=True, on=shape)
            yield case(f"AvgPool{n}d", 2, on=shape)
            yield case(f"AvgPool{n}d", 3, stride=2, padding=1, on=shape)
            yield case(f"AvgPool{n}d", 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False, on=shape)
            yield case(f"AdaptiveAvgPool{n}d", 2, on=shape)
            yield case(f"AdaptiveMaxPool{n}d", 3, on=shape)
    yield case("AvgPool2d", (2, 3), stride=(2, 1), divisor_override=5, on=(2, 3, 8, 7))
    yield case("AvgPool3d", 2, divisor_override=3, on=(2, 3, 5, 4, 6))
    yield case("MaxPool2d", (2, 3), stride=(2, 1), padding=(1, 0), on=(2, 3, 8, 7))
    yield case("AdaptiveAvgPool2d", (None, 3), on=(2, 3, 8, 7))
    yield case("AdaptiveAvgPool2d", (1, 1), on=(2, 3, 8, 7))


def norm_cases() -> Iterator[Case]:
    for n, size in {1: (5,), 2: (4, 3), 3: (2, 3, 2)}.items():
        for options in (
            {}, {"momentum": None}, {"momentum": 0.3, "eps": 1e-3}, {"affine": False}, {"track_running_stats": False}, {"bias": False},
        ):  # fmt: skip
            yield case(f"BatchNorm{n}d", 3, on=(4, 3, *size), **options)
        for options in (
            {},
            {"affine": True},
            {"track_running_stats": True},
            {"affine": True, "track_running_stats": True, "eps": 1e-3},
        ):
            yield case(f"InstanceNorm{n}d", 3, on=(4, 3, *size), **options)
        yield case(f"InstanceNorm{n}d", 3, affine=True, on=(3, *size))
    yield case("BatchNorm1d", 3, on=(6, 3))
    yield case("LayerNorm", 5, on=(2, 3, 5))
    yield case("LayerNorm", (3, 5), eps=1e-3, on=(2, 3, 5))
    yield case("LayerNorm", [3, 5], elementwise_affine=False, on=(2, 3, 5))
    yield case("LayerNorm", 5, bias=False, on=(5,))
    yield case("RMSNorm", 5, on=(2, 3, 5))
    yield case("RMSNorm", (3, 5), eps=1e-3, elementwise_affine=False, on=(2, 3, 5))
    yield case("GroupNorm", 2, 6, on=(3, 6, 4, 5))
    yield case("GroupNorm", 1, 6, affine=False, on=(3, 6))
    yield case("GroupNorm", 6, 6, eps=1e-2, bias=False, on=(3, 6, 4))
    for size in (1, 2, 3, 5):
        yield case("LocalResponseNorm", size, on=(2, 4, 3, 3))
    yield case("LocalResponseNorm", 3, alpha=0.5, beta=0.6, k=2.0, on=(2, 4, 3))


ACTIVATIONS = [
    case(name, on=(3, 4), **kwargs)
    for name, kwargs in [
        ("ReLU", {}), ("ReLU", {"inplace": True}), ("ReLU6", {}), ("LeakyReLU", {}), ("LeakyReLU", {"negative_slope": 0.3}), ("ELU", {}),
        ("ELU", {"alpha": 0.5}), ("CELU", {}), ("CELU", {"alpha": 2.0}), ("SELU", {}), ("GELU", {}), ("GELU", {"approximate": "tanh"}),
        ("SiLU", {}), ("Mish", {}), ("Softplus", {}), ("Softplus", {"beta": 2.0, "threshold": 1.0}), ("Sigmoid", {}), ("LogSigmoid", {}),
        ("Tanh", {}), ("Tanhshrink", {}), ("Hardtanh", {}), ("Hardtanh", {"min_val": -0.5, "max_val": 2.0}), ("Hardsigmoid", {}),
        ("Hardswish", {}), ("Hardshrink", {}), ("Softshrink", {"lambd": 0.2}), ("Softsign", {}), ("Threshold", {"threshold": 0.1, "value": 3.0}),
        ("Softmax", {"dim": 0}), ("Softmax", {"dim": -1}), ("Softmin", {"dim": 1}), ("LogSoftmax", {"dim": 1}), ("GLU", {}), ("PReLU", {}),
        ("PReLU", {"num_parameters": 4, "init": 0.1}),
    ]
]  # fmt: skip

OTHERS = [
    case("Identity", 1, any="thing", on=(2, 3)),
    case("Linear", 4, 3, on=(2, 4)),
    case("Linear", 4, 3, bias=False, on=(2, 5, 4)),
    case("Linear", 4, 3, on=(4,)),
    case("Bilinear", 3, 4, 2, on=((5, 3), (5, 4))),
    case("Bilinear", 3, 4, 2, bias=False, on=((2, 5, 3), (2, 5, 4))),
    case("Flatten", on=(2, 3, 4)),
    case("Flatten", start_dim=0, end_dim=1, on=(2, 3, 4)),
    case("Unflatten", 1, (2, 3), on=(2, 6, 4)),
    case("Unflatten", -1, (2, -1), on=(2, 6)),
    case("Upsample", scale_factor=2, on=(2, 3, 4)),
    case("Upsample", scale_factor=(2, 3), on=(1, 2, 3, 4)),
    case("Upsample", scale_factor=1.5, on=(1, 2, 5, 4)),
    case("Upsample", size=(5, 7), on=(1, 2, 3, 4)),
    case("Upsample", size=(2, 2), on=(1, 2, 5, 4)),
    case("Dropout", 0.0, on=(3, 4)),
    case("Upsample", size=(5, 7), mode="bilinear", on=(1, 2, 3, 4)),
    case("Upsample", scale_factor=1.5, mode="bicubic", align_corners=True, on=(1, 2, 5, 4)),
    case("UpsamplingNearest2d", scale_factor=2, on=(1, 2, 3, 4)),
    case("UpsamplingBilinear2d", size=(5, 7), on=(1, 2, 3, 4)),
    case("PixelShuffle", 2, on=(2, 8, 3, 2)),
    case("PixelUnshuffle", 2, on=(2, 3, 4, 2)),
    case("ChannelShuffle", 2, on=(2, 6, 3)),
    case("Unfold", 2, stride=2, on=(2, 3, 4, 5)),
    case("Fold", (4, 5), 2, on=(2, 12, 12)),
    case("Softmax2d", on=(2, 3, 4, 5)),
    case("RReLU", 0.25, 0.25, on=(3, 4)),
    case("AlphaDropout", 0.0, on=(3, 4)),
    case("FeatureAlphaDropout", 0.0, on=(3, 4)),
    case("CosineSimilarity", dim=-1, on=((3, 4), (3, 4))),
    case("PairwiseDistance", keepdim=True, on=((3, 4), (3, 4))),
    *(case(f"{stem}Pad{n}d", 1, *([2.5] if stem == "Constant" else []), on=(2, 3, *(3,) * n))
      for stem in ("Zero", "Constant", "Reflection", "Replication", "Circular") for n in (1, 2, 3)),
    *(case(f"LPPool{n}d", 2, 2, on=(2, 3, *(4,) * n)) for n in (1, 2, 3)),
]  # fmt: skip
CASES = [*OTHERS, *ACTIVATIONS, *conv_cases(), *pool_cases(), *norm_cases()]


def inputs_of(c: Case, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in c.shapes]


def torch_or_skip() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")


def close(ours: Any, theirs: Any, what: str, rtol: float = RTOL) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    assert ours.dtype == theirs.dtype, what
    if theirs.size:
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max() + 1e-300, err_msg=what)


@pytest.mark.parametrize("c", CASES, ids=str)
def test_agrees_with_pytorch(c: Case) -> None:
    torch = torch_or_skip()
    theirs = getattr(torch.nn, c.name)(*c.args, **c.kwargs).double()
    ours = getattr(nn, c.name)(*c.args, **c.kwargs).double()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.normal(size=tuple(p.shape))))
    ours.load_state_dict(theirs.state_dict())
    assert repr(ours).replace("any='thing'", "") == repr(theirs)

    for step, training in enumerate((True, True, False)):
        ours.train(training)
        theirs.train(training)
        data = inputs_of(c, step)
        xs = [mg.tensor(x, requires_grad=True) for x in data]
        ts = [torch.tensor(x, requires_grad=True) for x in data]
        y, u = ours(*xs), theirs(*(t.clone() for t in ts))
        close(y.detach(), u.detach(), "output")
        g = rng.normal(size=y.shape)
        ours.zero_grad()
        theirs.zero_grad()
        y.backward(g)
        u.backward(torch.tensor(g))
        for i, (x, t) in enumerate(zip(xs, ts)):
            close(x.grad, t.grad, f"gradient of input {i}", LESS_EXACT_IN_PYTORCH.get(c.name, RTOL))
        wanted = dict(theirs.named_parameters())
        assert [name for name, _ in ours.named_parameters()] == list(wanted)
        for name, p in ours.named_parameters():
            close(p.grad, wanted[name].grad, f"gradient of {name}")
        state = theirs.state_dict()
        assert list(ours.state_dict()) == list(state)
        for name, value in ours.state_dict().items():
            close(value, state[name], name)


WITHOUT_COUNTERPART = [
    case("Maxout", 4, 3, on=(5, 4)),
    case("Maxout", 4, 3, num_pieces=3, bias=False, on=(2, 5, 4)),
    case("Swish", beta=1.7, on=(3, 4)),
    case("GELU", approximate="sigmoid", on=(3, 4)),
    case("Softmax", temperature=2.5, on=(3, 4)),
    case("GlobalAvgPool2d", on=(2, 3, 4, 5)),
    case("GlobalMaxPool2d", on=(2, 3, 4, 5)),
]


@pytest.mark.parametrize("c", CASES + WITHOUT_COUNTERPART, ids=str)
def test_gradients_of_order_one_and_two(c: Case) -> None:
    if c.name.startswith(("BatchNorm", "InstanceNorm")):
        c = c._replace(kwargs={**c.kwargs, "track_running_stats": False})  # what moves from call to call is not a function
    module = getattr(nn, c.name)(*c.args, **c.kwargs).double()
    rng = np.random.default_rng(2)
    names = [name for name, _ in module.named_parameters()]
    values = [rng.normal(size=p.shape) for p in module.parameters()]
    given = inputs_of(c)

    def f(*args: Any) -> Any:
        return nn.functional_call(module, dict(zip(names, args[len(given) :])), tuple(args[: len(given)]))

    check_grads(f, *given, *values, order=2)


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "DropConnect", "GaussianNoise"])
def test_gradients_through_noise(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4))

    def f(x: Any, *weight: Any) -> Any:
        rng = mg.random.generator(5)
        if name == "DropConnect":
            return nn.functional_call(
                nn.DropConnect(4, 3, bias=False, generator=rng, dtype="float64"), {"weight": weight[0]}, x
            )
        return getattr(nn, name)(generator=rng)(x)

    check_grads(f, x, *([np.random.default_rng(1).normal(size=(3, 4))] if name == "DropConnect" else []), order=2)


ELSEWHERE = {
    "Embedding",
    "EmbeddingBag",
    "HardLimiter",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "TripletMarginWithDistanceLoss",
}
"""They take integers or several inputs: their own tests are below, and in ``test_nn_parity.py``."""


def test_every_layer_is_in_a_table() -> None:
    layers = {name for name in nn.__all__ if inspect.isclass(getattr(nn, name)) and issubclass(getattr(nn, name), nn.Module)}
    mine = {name for name in layers if getattr(nn, name).__module__.rpartition(".")[2] in FILES}
    noise = {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "DropConnect", "GaussianNoise"}
    assert mine <= {c.name for c in CASES + WITHOUT_COUNTERPART} | noise | ELSEWHERE


FILES = {"activation", "conv", "distance", "dropout", "embedding", "linear", "normalization", "padding", "pooling", "shape"}


def test_arguments_are_pytorchs() -> None:
    torch = torch_or_skip()
    meant = {
        ("Softmax", "dim"), ("Softmin", "dim"), ("LogSoftmax", "dim"),  # the last axis, where PyTorch guesses and warns
        ("Hardtanh", "min_value"), ("Hardtanh", "max_value"),  # deprecated there
    }  # fmt: skip
    for name in nn.__all__:
        ours, theirs = getattr(nn, name), getattr(torch.nn, name, None)
        if not inspect.isclass(ours) or theirs is None or ours.__module__.rpartition(".")[2] not in FILES:
            continue
        have, want = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
        wanted = [k for k, p in want.items() if (name, k) not in meant and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        for k in wanted:
            assert k in have, f"{name} lacks {k}"
            assert have[k].default == want[k].default, f"{name}({k})"
        positional = [k for k in wanted if want[k].kind is not inspect.Parameter.KEYWORD_ONLY]
        assert [k for k in have if k in positional] == positional, name


KINKS = np.array([-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, 10.0, 20.0, 40.0, -40.0])


@pytest.mark.parametrize(
    "c", [c for c in ACTIVATIONS if c.name not in ("GLU", "PReLU", "Softmax", "Softmin", "LogSoftmax")], ids=str
)
def test_kinks_and_tails_are_pytorchs(c: Case) -> None:
    torch = torch_or_skip()
    x, t = mg.tensor(KINKS, requires_grad=True), torch.tensor(KINKS, requires_grad=True)
    y, u = (
        getattr(nn, c.name)(**c.kwargs)(x),
        getattr(torch.nn, c.name)(**{**c.kwargs, **({"inplace": False} if "inplace" in c.kwargs else {})})(t),
    )
    close(y.detach(), u.detach(), "output")
    y.sum().backward()
    u.sum().backward()
    if c.name == "Hardswish":
        # At -3 and 3 PyTorch's backward takes the outer branches. As a product of x and a hard sigmoid whose gradient is 0 there,
        # it has 0 and 1, too.
        assert x.grad.numpy()[[1, 7]].tolist() == [0, 1]
    close(x.grad, t.grad, "gradient", LESS_EXACT_IN_PYTORCH.get(c.name, RTOL))


# ---- Embedding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"max_norm": 0.8}, {"max_norm": 1.0, "norm_type": 1.0}, {"scale_grad_by_freq": True},
     {"padding_idx": 2, "scale_grad_by_freq": True}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("shape", [(7,), (3, 4), ()], ids=str)
def test_embedding_agrees_with_pytorch(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch = torch_or_skip()
    theirs = torch.nn.Embedding(5, 3, dtype=torch.float64, **options)
    ours = nn.Embedding(5, 3, dtype="float64", **options)
    ours.load_state_dict(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    index = np.random.default_rng(0).integers(0, 5, shape)
    y, u = ours(mg.tensor(index)), theirs(torch.tensor(index))
    close(y.detach(), u.detach(), "output")
    close(ours.weight.detach(), theirs.weight.detach(), "weight after max_norm")
    g = np.random.default_rng(1).normal(size=y.shape)
    y.backward(g)
    u.backward(torch.tensor(g))
    close(ours.weight.grad, theirs.weight.grad, "gradient")


def test_embedding_gradients_of_order_two() -> None:
    index = np.array([[0, 1], [1, 3]])
    check_grads(lambda w: mg.sin(F.embedding(index, w, padding_idx=2)), np.random.default_rng(0).normal(size=(4, 3)), order=2)


def test_embedding_padding_starts_at_zero_and_stays() -> None:
    layer = nn.Embedding(4, 3, padding_idx=1)
    assert not layer.weight.numpy()[1].any()
    layer(mg.tensor([1, 1, 2])).sum().backward()
    assert layer.weight.grad.numpy()[1].tolist() == [0, 0, 0]
    assert layer.weight.grad.numpy()[2].tolist() == [1, 1, 1]


def test_embedding_from_rows() -> None:
    rows = np.arange(6.0).reshape(2, 3)
    frozen = nn.Embedding.from_pretrained(rows)
    assert not frozen.weight.requires_grad
    assert frozen([1]).tolist() == [[3, 4, 5]]
    rows[:] = 0
    assert frozen([1]).tolist() == [[3, 4, 5]]
    assert nn.Embedding.from_pretrained(rows, freeze=False).weight.requires_grad
    with pytest.raises(mg.ShapeError, match=r"expected rows of shape \(2, 4\), got \(2, 3\)"):
        nn.Embedding(2, 4, _weight=rows)


@pytest.mark.parametrize("index", [[-1], [5]])
def test_embedding_refuses_rows_that_are_not_there(index: list[int]) -> None:
    with pytest.raises(IndexError, match="the table has 5 rows: expected 0 to 4"):
        nn.Embedding(5, 3)(mg.tensor(index))


# ---- transposed convolution with an output size, pools with indices ------------------------------------------------------


def test_conv_transpose_reaches_the_asked_size() -> None:
    torch = torch_or_skip()
    theirs = torch.nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1).double()
    ours = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1).double()
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 5))
    for size in (9, 10, (9, 10), (1, 3, 10, 9)):
        wanted = theirs(torch.tensor(x), output_size=(size, size) if isinstance(size, int) else size)
        close(ours(mg.tensor(x), output_size=size).detach(), wanted.detach(), str(size))
    with pytest.raises(
        mg.ShapeError, match=r"output_size \(11, 11\): from this input, sizes \(9, 9\) to \(10, 10\) can be reached"
    ):
        ours(mg.tensor(x), output_size=11)


def test_max_pool_indices() -> None:
    torch = torch_or_skip()
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 7))
    y, at = nn.MaxPool2d(3, 2, 1, return_indices=True)(mg.tensor(x))
    u, where = torch.nn.MaxPool2d(3, 2, 1, return_indices=True)(torch.tensor(x))
    assert np.array_equal(at.numpy(), where.numpy())
    close(y, u, "values")


# ---- functional only -----------------------------------------------------------------------------------------------------

FUNCTIONS = [
    ("normalize", {}, (3, 4)), ("normalize", {"p": 1.0, "dim": 0}, (3, 4)), ("normalize", {"p": 3.0, "dim": -1}, (3, 4)),
    ("pad", {"pad": (1, 2)}, (3, 4)), ("pad", {"pad": (1, 2, 0, 3), "value": 2.5}, (2, 3, 4)), ("pad", {"pad": (-1, 2, 1, -1)}, (2, 3, 4)),
    ("pad", {"pad": (1, 2), "mode": "reflect"}, (2, 3, 4)), ("pad", {"pad": (1, 2, 2, 0), "mode": "replicate"}, (2, 3, 4, 4)),
    ("pad", {"pad": (1, 2, 2, 0), "mode": "circular"}, (2, 3, 4, 4)), ("unfold", {"kernel_size": (2, 3), "padding": 1}, (2, 3, 5, 6)),
    ("rms_norm", {"normalized_shape": [4]}, (3, 4)), ("layer_norm", {"normalized_shape": (3, 4)}, (2, 3, 4)),
    ("instance_norm", {}, (2, 3, 5)), ("group_norm", {"num_groups": 3}, (2, 3, 5)), ("local_response_norm", {"size": 2}, (2, 3, 5)),
    ("glu", {"dim": 0}, (4, 3)), ("softmin", {"dim": 1}, (4, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "shape"), FUNCTIONS, ids=lambda v: str(v).replace(" ", ""))
def test_function_agrees_with_pytorch(name: str, kwargs: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch = torch_or_skip()
    data = np.random.default_rng(0).normal(size=shape)
    x, t = mg.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    y, u = getattr(F, name)(x, **kwargs), getattr(torch.nn.functional, name)(t, **kwargs)
    close(y.detach(), u.detach(), "output")
    g = np.random.default_rng(1).normal(size=y.shape)
    y.backward(g)
    u.backward(torch.tensor(g))
    close(x.grad, t.grad, "gradient")
    check_grads(lambda x: getattr(F, name)(x, **kwargs), data, order=2)
    if name != "flatten":
        assert isinstance(getattr(F, name)(data, **kwargs), np.ndarray), "arrays give arrays"


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cosine_similarity(dim: int) -> None:
    torch = torch_or_skip()
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4))
    close(
        F.cosine_similarity(mg.tensor(a), mg.tensor(b), dim),
        torch.nn.functional.cosine_similarity(*map(torch.tensor, (a, b)), dim),
        "",
    )
    check_grads(lambda a, b: F.cosine_similarity(a, b, dim), a, b, order=2)


def test_one_hot_is_pytorchs() -> None:
    torch = torch_or_skip()
    index = np.array([[0, 2], [1, 1]])
    for n in (-1, 5):
        close(F.one_hot(mg.tensor(index), n), torch.nn.functional.one_hot(torch.tensor(index), n), str(n))


def test_the_three_forms_of_gelu() -> None:
    x = np.linspace(-4, 4, 81)
    exact, tanh, sigmoid = (F.gelu(x, form) for form in ("none", "tanh", "sigmoid"))
    assert 1e-5 < np.abs(exact - tanh).max() < 5e-4
    assert 1e-3 < np.abs(exact - sigmoid).max() < 2.1e-2
    np.testing.assert_allclose(sigmoid, x / (1 + np.exp(-1.702 * x)), rtol=1e-14)
    with pytest.raises(ValueError, match="expected none, tanh or sigmoid"):
        F.gelu(x, "erf")


def test_maxout_is_the_largest_of_its_pieces() -> None:
    layer = nn.Maxout(4, 3, num_pieces=2, dtype="float64")
    x = np.random.default_rng(0).normal(size=(5, 4))
    units = x @ layer.weight.numpy().T + layer.bias.numpy()
    np.testing.assert_allclose(layer(mg.tensor(x)).numpy(), np.maximum(units[:, 0::2], units[:, 1::2]), rtol=1e-14)


def test_hard_limiter() -> None:
    x = mg.tensor([-2.0, 0.0, 2.0])
    assert nn.HardLimiter()(x).tolist() == [0, 1, 1]
    assert nn.HardLimiter(-1.0, 1.0)(x).tolist() == [-1, 1, 1]
    assert nn.HardLimiter()(x).dtype == x.dtype


# ---- batch normalisation -------------------------------------------------------------------------------------------------


def test_running_statistics_by_hand() -> None:
    layer = nn.BatchNorm1d(1, momentum=None, dtype="float64")
    batches = np.random.default_rng(0).normal(3.0, 2.0, size=(5, 8, 1))
    for batch in batches:
        layer(mg.tensor(batch))
    assert layer.num_batches_tracked.item() == 5
    np.testing.assert_allclose(layer.running_mean.numpy(), batches.mean(), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), batches.var(axis=1, ddof=1).mean(), rtol=1e-12)


def test_evaluation_leaves_running_statistics_alone() -> None:
    layer = nn.BatchNorm2d(3).eval()
    before = layer.state_dict()
    layer(mg.random.normal((2, 3, 4, 4)))
    assert all(np.array_equal(value.numpy(), layer.state_dict()[name].numpy()) for name, value in before.items())


def test_running_statistics_have_no_history() -> None:
    layer = nn.BatchNorm1d(2)
    layer(mg.random.normal((4, 2), requires_grad=True))
    assert not layer.running_mean.requires_grad
    assert layer.running_mean.is_leaf
    assert layer.running_mean.dtype == np.float32


def test_batch_norm_of_one_value_is_refused() -> None:
    with pytest.raises(mg.ShapeError, match="is its own mean"):
        nn.BatchNorm1d(3)(mg.ones((1, 3)))


# ---- noise ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_statistics(p: float) -> None:
    x = mg.ones(100_000, dtype="float64")
    y = nn.Dropout(p, generator=mg.random.generator(0))(x).numpy()
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - p)], rtol=1e-15)
    assert abs((y == 0).mean() - p) < 4 * np.sqrt(p * (1 - p) / y.size)


def test_dropout_drops_whole_channels() -> None:
    y = nn.Dropout2d(0.5, generator=mg.random.generator(0))(mg.ones((8, 16, 3, 3))).numpy()
    assert {*np.unique(y)} == {0, 2}
    assert (y == y[:, :, :1, :1]).all()
    assert 0.3 < (y[:, :, 0, 0] == 0).mean() < 0.7


NOISY = [
    nn.Dropout(), nn.Dropout1d(), nn.Dropout2d(), nn.Dropout3d(), nn.GaussianNoise(), nn.DropConnect(4, 4), nn.Sequential(nn.Dropout(), nn.Dropout()),
]  # fmt: skip


@pytest.mark.parametrize("layer", NOISY, ids=lambda layer: type(layer).__name__)
def test_noise_is_reproducible_and_off_in_evaluation(layer: nn.Module) -> None:
    x = mg.random.normal((3, 4, 4))
    mg.manual_seed(3)
    a, b = layer.train()(x).numpy(), layer(x).numpy()
    mg.manual_seed(3)
    assert np.array_equal(a, layer(x).numpy())
    assert not np.array_equal(a, b)
    assert np.array_equal(layer.eval()(x).numpy(), layer(x).numpy())
    if not isinstance(layer, nn.DropConnect):
        assert np.array_equal(layer(x).numpy(), x.numpy())
    layer.train()


def test_a_generator_of_its_own_leaves_the_global_one_alone() -> None:
    mg.manual_seed(0)
    wanted = mg.random.normal(3).numpy()
    mg.manual_seed(0)
    nn.Dropout(generator=mg.random.generator(1))(mg.ones(10))
    assert np.array_equal(wanted, mg.random.normal(3).numpy())


def test_dropout_edges() -> None:
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    assert nn.Dropout(0.0)(x) is x
    y = nn.Dropout(1.0)(x)
    y.sum().backward()
    assert (y.tolist(), x.grad.tolist()) == ([0, 0], [0, 0])
    for p in (-0.1, 1.5):
        with pytest.raises(ValueError, match="expected 0 <= p <= 1"):
            nn.Dropout(p)
        with pytest.raises(ValueError, match="expected 0 <= p <= 1"):
            F.dropout(x, p)


def test_gaussian_noise_statistics() -> None:
    y = nn.GaussianNoise(0.5, generator=mg.random.generator(0))(mg.zeros(50_000, dtype="float64")).numpy()
    assert abs(y.mean()) < 0.01
    assert abs(y.std() - 0.5) < 0.01


def test_dropconnect_drops_weights() -> None:
    layer = nn.DropConnect(3, 3, bias=False, p=0.5, generator=mg.random.generator(0), dtype="float64")
    rows = layer(mg.eye(3, dtype="float64")).numpy().T / layer.weight.numpy()
    assert {*rows.round(12).reshape(-1)} == {0, 2}


# ---- what does not fit ---------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        self.layers = nn.ModuleList([nn.Identity(), layer])

    def forward(self, *xs: Any) -> Any:
        return self.layers[1](*xs)


@pytest.mark.parametrize(
    ("layer", "shapes", "message"),
    [
        (nn.Linear(84, 10), [(32, 64)], r"Net.layers.1: Linear\(in_features=84, .* expects an input of shape \(..., 84\), got \(32, 64\)\. .*in_features=64"),
        (nn.DropConnect(84, 10), [(32, 64)], r"\(..., 84\), got \(32, 64\)"),
        (nn.Maxout(84, 10), [(32, 64)], r"\(..., 84\), got \(32, 64\)"),
        (nn.Bilinear(3, 4, 5), [(2, 3), (2, 3)], r"\(..., 4\) for its in2_features, got \(2, 3\)"),
        (nn.Conv2d(3, 6, 5), [(2, 1, 28, 28)], r"Net.layers.1: Conv2d.* expects an input of shape \(N, 3, H, W\) or \(3, H, W\), got \(2, 1, 28, 28\). Build it with in_channels=1"),
        (nn.Conv1d(3, 6, 5), [(3,)], r"\(N, 3, L\) or \(3, L\), got \(3,\)"),
        (nn.ConvTranspose2d(3, 6, 5), [(2, 1, 8, 8)], r"\(N, 3, H, W\)"),
        (nn.BatchNorm2d(3), [(2, 4, 8, 8)], r"Net.layers.1: BatchNorm2d.* \(N, 3, H, W\), got \(2, 4, 8, 8\). Build it with num_features=4"),
        (nn.BatchNorm1d(3), [(2, 4)], r"\(N, 3\) or \(N, 3, L\), got \(2, 4\)"),
        (nn.InstanceNorm2d(3), [(2, 4, 8, 8)], r"\(N, 3, H, W\)"),
        (nn.LayerNorm((3, 4)), [(2, 4, 3)], r"\(..., 3, 4\), got \(2, 4, 3\)"),
        (nn.RMSNorm(3), [(2, 4)], r"\(..., 3\), got \(2, 4\)"),
        (nn.GroupNorm(1, 3), [(2, 4, 5)], r"\(N, 3, ...\), got \(2, 4, 5\)"),
        (nn.MaxPool2d(2), [(4, 4)], r"\(N, C, H, W\) or \(C, H, W\), got \(4, 4\)"),
        (nn.AdaptiveAvgPool1d(2), [(4,)], r"\(N, C, L\) or \(C, L\), got \(4,\)"),
        (nn.PReLU(3), [(2, 4)], r"\(N, 3, ...\), got \(2, 4\)"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "",
)  # fmt: skip
def test_errors_name_the_module_the_shapes_and_the_fix(layer: nn.Module, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(mg.ShapeError, match=message):
        Net(layer)(*map(mg.ones, shapes))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(3, 6, 5, groups=2), "groups=2 must divide in_channels=3 and out_channels=6"),
        (lambda: nn.Conv2d(3, 6, 5, padding_mode="mirror"), "expected zeros, reflect, replicate, circular"),
        (lambda: nn.Conv2d(3, 6, 5, padding="full"), "expected same, valid, or numbers"),
        (lambda: nn.Conv2d(3, 6, 5, padding="same", stride=2), "needs stride 1"),
        (lambda: nn.Conv2d(3, 6, (5, 5, 5)), "expected an integer or 2 of them"),
        (lambda: nn.ConvTranspose2d(3, 6, 5, padding_mode="reflect"), "expected zeros"),
        (lambda: nn.GroupNorm(2, 3), "does not divide into num_groups=2"),
        (lambda: nn.Upsample(2, mode="cubic")(mg.ones((1, 2, 3))), "expected nearest"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), "not one of its 3 rows"),
        (lambda: nn.Embedding(3, 2, sparse=True)([1]), "dense"),
        (lambda: F.glu(mg.ones(3)), "does not divide into 2 parts"),
        (lambda: F.maxout(mg.ones(3), 2), "groups of 2"),
        (lambda: F.pad(mg.ones(3), (1, 1, 1)), "two per axis"),
        (lambda: F.pad(mg.ones(3), (1, 1), "mirror"), "expected constant, reflect"),
        (lambda: F.interpolate(mg.ones((1, 1, 2))), "one of size and scale_factor"),
        (lambda: F.batch_norm(mg.ones((2, 3)), None, None), "needed when training is False"),
        (lambda: F.layer_norm(mg.ones((2, 3)), 2), "expected last axes"),
        (lambda: F.group_norm(mg.ones((2, 3)), 2), "does not divide into 2 groups"),
        (lambda: F.local_response_norm(mg.ones((2, 3)), 2), "expected an input"),
    ],
)  # fmt: skip
def test_misuse_is_refused(make: Any, message: str) -> None:
    with pytest.raises(Exception, match=message):
        make()
