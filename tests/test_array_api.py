"""The array API standard 2024.12: minigrad's namespace against the reference implementation, DLPack, and other libraries' use of it."""

from __future__ import annotations

import inspect
import itertools
import os
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minigrad as mg
from minigrad import array_api
from minigrad.testing import check_grads

strict = pytest.importorskip("array_api_strict", reason="array-api-strict has the reference signatures and semantics")

NOT_STANDARD = {
    "ArrayAPIStrictFlags",
    "Device",
    "ModuleType",
    "get_array_api_strict_flags",
    "reset_array_api_strict_flags",
    "set_array_api_strict_flags",
}
A = {
    "f": np.array([[0.5, -1.25, 2.0], [3.5, 0.25, -0.75]]), "g": np.array([[1.5, 2.0, -0.5], [0.5, 4.0, 1.25]]), "q": np.array([[0.1, 0.9, 0.4]]),
    "i": np.array([[3, 1, 2], [2, 5, -7]]), "j": np.array([[1, 2, 1], [3, 1, 2]]), "o": np.array([[True, False, True], [False, True, True]]),
    "v": np.array([1.0, 2.0, 3.0]), "n": np.array([1, 0, 1]), "s": np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]),
    "k": np.array([[4.0, 1.0], [2.0, 3.0]], dtype=np.float32), "c": np.array([1 + 2j, 3 - 1j, -2j]), "z": np.array(2.5),
    "h": np.array([1, 200, 7], dtype=np.uint8), "e": np.array([0.0, np.nan, np.inf, -np.inf]), "t": np.arange(24.0).reshape(2, 3, 4),
}  # fmt: skip

CALLS = [
    *(f"xp.{f}(f)" for f in ["abs", "atan", "asinh", "ceil", "cos", "cosh", "exp", "expm1", "floor", "isfinite", "isinf", "isnan", "negative", "positive", "reciprocal", "round", "sign", "signbit", "sin", "sinh", "square", "tan", "tanh", "trunc"]),
    *(f"xp.{f}(xp.abs(f) + 1)" for f in ["acosh", "log", "log10", "log1p", "log2", "sqrt"]), *(f"xp.{f}(q)" for f in ["acos", "asin", "atanh"]),
    *(f"xp.{f}({a})" for f in ["add", "atan2", "copysign", "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot", "less", "less_equal", "logaddexp", "maximum", "minimum", "multiply", "nextafter", "not_equal", "remainder", "subtract"] for a in ("f, g",)),
    *(f"xp.{f}({a})" for f in ["add", "subtract", "multiply", "equal", "less", "maximum", "floor_divide", "remainder"] for a in ("i, j", "i, 2", "2, j")),
    *(f"xp.{f}({a})" for f in ["bitwise_and", "bitwise_or", "bitwise_xor"] for a in ("i, j", "o, o", "i, 3")), "xp.bitwise_invert(i)", "xp.bitwise_left_shift(i, j)",
    "xp.bitwise_right_shift(i, j)", "xp.bitwise_left_shift(j, 2)", *(f"xp.{f}(o, o)" for f in ["logical_and", "logical_or", "logical_xor"]), "xp.logical_not(o)",
    "xp.pow(xp.abs(f), g)", "xp.pow(f, 2)", "xp.pow(2.0, f)", "xp.pow(j, 2)", "xp.round(i)", "xp.ceil(i)", "xp.trunc(i)", "xp.sign(i)", "xp.abs(i)", "xp.clip(f, -1, 1)",
    "xp.clip(i, min=0)", "xp.clip(f, max=g)", "xp.real(c)", "xp.imag(c)", "xp.conj(c)", "xp.abs(c)", "xp.exp(c)", "xp.add(c, 1j)", "xp.isfinite(e)", "xp.sign(e)",
    *(f"xp.{f}(f{a})" for f in ["sum", "prod", "mean", "max", "min", "std", "var"] for a in ("", ", axis=0", ", axis=(0, 1), keepdims=True", ", axis=-1")),
    "xp.sum(i)", "xp.sum(h)", "xp.prod(h)", "xp.sum(k)", "xp.sum(k, dtype=xp.float64)", "xp.std(f, correction=1)", "xp.var(f, axis=1, correction=1.0)", "xp.max(i, axis=1)", "xp.sum(c)", "xp.mean(c)",
    *(f"xp.{f}({a})" for f in ("all", "any") for a in ("o", "o, axis=1", "f, keepdims=True")), "xp.count_nonzero(n)", "xp.count_nonzero(f, axis=1, keepdims=True)",
    *(f"xp.{f}(f{a})" for f in ("argmax", "argmin") for a in ("", ", axis=1", ", axis=0, keepdims=True")), "xp.cumulative_sum(v)", "xp.cumulative_sum(i, axis=1, include_initial=True)",
    "xp.cumulative_sum(h)", "xp.cumulative_prod(v, include_initial=True)", "xp.diff(v)", "xp.diff(f, axis=0, n=1)", "xp.diff(v, prepend=v, append=v)",
    "xp.sort(f)", "xp.sort(f, axis=0, descending=True)", "xp.argsort(f, descending=True)", "xp.argsort(n)", "xp.argsort(n, descending=True, stable=True)", "xp.searchsorted(v, f)", "xp.searchsorted(v, v, side='right')",
    "xp.searchsorted(v, v, sorter=xp.argsort(v))", "xp.unique_all(n)", "xp.unique_counts(n)", "xp.unique_inverse(i)", "xp.unique_values(n)", "xp.isin(i, j)", "xp.isin(n, 1)", "xp.isin(i, j)",
    "xp.nonzero(f)", "xp.where(o, f, g)", "xp.where(o, f, 0.0)", "xp.where(o, i, 1)", "xp.where(o, 1.0, k[0, 0])", "xp.take(f, n, axis=1)", "xp.take(v, n)", "xp.take_along_axis(f, xp.argsort(f, axis=1), axis=1)",
    "xp.astype(f, xp.int32)", "xp.astype(i, xp.float32)", "xp.astype(o, xp.int8)", "xp.astype(f, xp.complex128)", "xp.reshape(f, (3, 2))", "xp.reshape(f, (-1,), copy=True)", "xp.permute_dims(t, (2, 0, 1))",
    "xp.matrix_transpose(t)", "xp.moveaxis(t, 0, -1)", "xp.squeeze(q, axis=0)", "xp.expand_dims(f, axis=1)", "xp.flip(f)", "xp.flip(f, axis=0)", "xp.roll(f, 1)", "xp.roll(f, (1, 2), axis=(0, 1))", "xp.concat([f, g])",
    "xp.concat([i, j], axis=1)", "xp.concat((f, g), axis=None)", "xp.stack([f, g], axis=-1)", "xp.unstack(f, axis=1)", "xp.repeat(f, 2)", "xp.repeat(f, n, axis=1)", "xp.tile(v, (2, 2))", "xp.broadcast_to(v, (2, 3))",
    "xp.broadcast_arrays(v, f)", "xp.meshgrid(v, v, indexing='ij')", "xp.tril(s)", "xp.triu(s, k=1)", "xp.matmul(f, s)", "xp.matmul(v, s)", "xp.tensordot(f, s, axes=1)", "xp.tensordot(t, t, axes=([0, 1], [0, 1]))",
    "xp.vecdot(f, g)", "xp.vecdot(c, c)", "xp.vecdot(t, t, axis=-2)", "xp.zeros((2, 3), dtype=xp.int32)", "xp.ones(3, dtype=xp.float64)", "xp.full((2,), 7)", "xp.full((2,), True)", "xp.full((2,), 1.5, dtype=xp.float64)",
    "xp.arange(5)", "xp.arange(1, 7, 2)", "xp.arange(0.0, 1.0, 0.25, dtype=xp.float64)", "xp.linspace(0, 1, 5, dtype=xp.float64)", "xp.linspace(0, 1, num=5, dtype=xp.float64, endpoint=False)", "xp.eye(3, 4, k=1, dtype=xp.float64)",
    "xp.zeros_like(i)", "xp.ones_like(f, dtype=xp.float32)", "xp.full_like(f, 3)", "xp.asarray(f, copy=True)", "xp.asarray([[1, 2], [3, 4]])", "xp.asarray(True)", "xp.asarray(v, dtype=xp.float32)",
    "xp.astype(h, xp.result_type(h, xp.int8))", "xp.linalg.cholesky(s)", "xp.linalg.cholesky(s, upper=True)", "xp.linalg.cross(v, v[::-1])", "xp.linalg.det(s)", "xp.linalg.diagonal(t, offset=1)",
    "xp.linalg.eigh(s).eigenvalues", "xp.linalg.eigvalsh(s)", "xp.linalg.inv(s)", "xp.linalg.matmul(f, s)", "xp.linalg.matrix_norm(t)", "xp.linalg.matrix_norm(s, ord='nuc', keepdims=True)", "xp.linalg.matrix_norm(s, ord=-2)",
    "xp.linalg.matrix_power(s, 3)", "xp.linalg.matrix_rank(s)", "xp.linalg.matrix_transpose(t)", "xp.linalg.outer(v, v)", "xp.linalg.pinv(f)", "xp.linalg.qr(s)", "xp.linalg.qr(f.T, mode='complete')", "xp.linalg.slogdet(s)",
    "xp.linalg.solve(s, v)", "xp.linalg.svd(f).S", "xp.abs(xp.linalg.svd(f, full_matrices=False).U)", "xp.linalg.svdvals(f)", "xp.linalg.tensordot(f, s, axes=1)", "xp.linalg.trace(t[:, :, :3])",
    "xp.linalg.vecdot(f, g)", "xp.linalg.vector_norm(f)", "xp.linalg.vector_norm(f, axis=1, ord=xp.inf)", "xp.linalg.vector_norm(t, axis=(0, 2), keepdims=True, ord=3)",
    *(f"xp.fft.{f}(xp.astype(f, xp.complex128), {a})" for f in ("fft", "ifft", "hfft", "irfft") for a in ("n=4", "norm='ortho'")), "xp.fft.rfft(f)", "xp.fft.ihfft(f)", "xp.fft.rfftn(f)", "xp.fft.fftn(xp.astype(f, xp.complex128), axes=(0, 1))",
    "xp.fft.ifftn(xp.astype(f, xp.complex128), axes=(0, 1))", "xp.fft.irfftn(xp.astype(f, xp.complex128), axes=(0, 1))", "xp.fft.fftshift(f)", "xp.fft.ifftshift(f, axes=1)", "xp.fft.fftfreq(5, d=0.5, dtype=xp.float64)", "xp.fft.rfftfreq(4, dtype=xp.float64)",
    "f + 1", "1 - f", "f * 2.5", "2 / f", "i // 2", "7 % j", "f ** 2", "2.0 ** f", "f @ s", "i & 3", "i | j", "i ^ 1", "~i", "i << 1", "8 >> j", "-f", "+f", "abs(i)", "f < 1", "i == 2", "f >= g", "o & True", "k * 2", "h + 1", "c * 2",
    "f[0, :]", "f[:, 1]", "f[..., None]", "f[o]", "f[0, 1]", "t[1, ..., ::2]", "v[n]", "f.T", "t.mT", "z[()]",
]  # fmt: skip


def parts(value: Any) -> list[Any]:
    return [v for part in value for v in parts(part)] if isinstance(value, (tuple, list)) else [value]


def run(call: str, xp: Any) -> list[Any]:
    return parts(eval(call, {"xp": xp, **{name: xp.asarray(value) for name, value in A.items()}}))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_shapes_and_dtypes_are_the_references(call: str) -> None:
    expected, got = run(call, strict), run(call, array_api)
    assert len(expected) == len(got)
    for theirs, ours in zip(expected, got):
        theirs = np.asarray(theirs)
        assert isinstance(ours, mg.Tensor)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert_allclose(ours.numpy(), theirs, rtol=1e-6 if theirs.dtype.itemsize < 8 else 1e-12, atol=1e-14)


def names(module: Any) -> list[str]:
    return [n for n in (getattr(module, "__all__", None) or dir(module)) if not n.startswith("_") and n not in NOT_STANDARD]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [(strict, array_api), (strict.linalg, array_api.linalg), (strict.fft, array_api.fft)],
    ids=["main", "linalg", "fft"],
)
def test_every_name_is_there_and_takes_the_standards_keywords(theirs: Any, ours: Any) -> None:
    complex_eigenvalues = {"eig", "eigvals"}  # of the 2025.12 draft
    for name in set(names(theirs)) - complex_eigenvalues:
        assert hasattr(ours, name), name
        function = getattr(theirs, name)
        if not inspect.isfunction(function) or name in ("empty_like", "zeros_like", "ones_like", "full_like"):
            continue
        wanted = {n for n, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
        found = inspect.signature(getattr(ours, name)).parameters
        assert wanted <= set(found), f"{name} lacks {wanted - set(found)}"


def test_every_function_is_tested() -> None:
    text = " ".join(CALLS)
    elsewhere = {
        "can_cast",
        "result_type",
        "finfo",
        "iinfo",
        "isdtype",
        "from_dlpack",
        "broadcast_shapes",
        "empty",
        "empty_like",
    }
    for prefix, module in (("xp.", strict), ("xp.linalg.", strict.linalg), ("xp.fft.", strict.fft)):
        for name in names(module):
            if inspect.isfunction(getattr(module, name)) and name not in elsewhere | {"eig", "eigvals"}:
                assert f"{prefix}{name}(" in text, name


def test_dtypes_and_inspection() -> None:
    xp = array_api
    assert xp.result_type(xp.float32, xp.int8) == xp.result_type(mg.ones(2), 1.0) == xp.float32
    assert xp.result_type(xp.int8, xp.uint8) == xp.int16
    assert xp.can_cast(mg.ones(2), xp.float64)
    assert not xp.can_cast(xp.float64, xp.float32)
    assert xp.finfo(mg.ones(2)).eps == 2.0**-23
    assert (type(xp.finfo(xp.float64).max), xp.finfo(xp.complex64).dtype, xp.iinfo(xp.int8).min) == (float, xp.float32, -128)
    assert xp.isdtype(xp.uint8, "unsigned integer")
    assert not xp.isdtype(xp.float32, ("integral", xp.bool))
    assert xp.broadcast_shapes((2, 1), (3,)) == (2, 3)
    assert xp.empty((2, 3), dtype=xp.int8).dtype == xp.empty_like(mg.ones((2, 3)), dtype=xp.int8).dtype == np.int8
    info = xp.__array_namespace_info__()
    assert info.default_dtypes()["real floating"] == xp.asarray(1.0).dtype == xp.zeros(1).dtype == xp.float32
    assert info.default_dtypes()["complex floating"] == xp.asarray(1j).dtype == xp.complex64
    assert info.default_dtypes()["integral"] == xp.arange(2).dtype
    assert info.default_device() == mg.ones(1).device == info.devices()[0]
    assert set(info.dtypes(kind=("bool", "real floating"))) == {"bool", "float32", "float64"}
    assert len(info.dtypes()) == 13
    assert info.capabilities()["boolean indexing"]


def test_versions() -> None:
    x = mg.ones(2)
    assert x.__array_namespace__() is x.__array_namespace__(api_version="2024.12") is array_api
    with pytest.raises(ValueError, match="expected one of"):
        x.__array_namespace__(api_version="1999.01")


def test_copies() -> None:
    a, x = np.ones(2), mg.ones(2, requires_grad=True)
    assert array_api.asarray(x) is x
    assert array_api.asarray(x, copy=True).requires_grad
    assert not np.shares_memory(array_api.asarray(a, copy=True).numpy(), a)
    assert np.shares_memory(array_api.asarray(a, copy=False).numpy(), a)
    for bad in ([1.0, 2.0],):
        with pytest.raises(ValueError, match="needs a copy"):
            array_api.asarray(bad, copy=False)
    with pytest.raises(ValueError, match="needs a copy"):
        array_api.asarray(a, dtype=array_api.float32, copy=False)


def test_dlpack_both_ways() -> None:
    x = mg.tensor([1.0, 2.0])
    assert np.shares_memory(np.from_dlpack(x), x.data)
    assert x.__dlpack_device__() == (1, 0)
    a = np.arange(3.0)
    assert np.shares_memory(mg.from_dlpack(a).numpy(), a)
    assert not np.shares_memory(mg.from_dlpack(a, copy=True).numpy(), a)
    assert mg.from_dlpack(x, device="cpu") is x
    with pytest.raises(mg.MinigradError, match=r"x\.detach\(\)"):
        np.from_dlpack(mg.ones(2, requires_grad=True))
    assert not hasattr(x, "__cuda_array_interface__")
    torch = pytest.importorskip("torch")
    t = torch.ones(3)
    y = mg.from_dlpack(t)
    t[0] = 5.0
    assert y.tolist() == [5.0, 1.0, 1.0]
    assert torch.from_dlpack(x).tolist() == [1.0, 2.0]


def test_operators_and_conversions() -> None:
    assert (complex(mg.tensor(2.0)), float(mg.tensor(2)), int(mg.tensor(2)), mg.tensor(3) << 1) == (2 + 0j, 2.0, 2, 6)
    x = mg.ones(2)
    assert x.to_device("cpu") is x
    with pytest.raises(mg.DeviceError, match="stream"):
        x.to_device("cpu", stream=1)


@pytest.mark.parametrize(
    "call",
    [
        "xp.sum(x * x)", "xp.std(x, axis=0)", "xp.linalg.vector_norm(x)", "xp.cumulative_prod(x, axis=1)", "xp.diff(x)", "xp.take(x, xp.asarray([1, 0]), axis=1)", "xp.linalg.det(x @ x.T)",
        "xp.sort(x, axis=1)", "xp.unique_values(x)", "xp.where(x > 0, x, 0.0)", "xp.linalg.inv(x @ x.T + xp.eye(2, dtype=xp.float64))", "xp.tile(x, (2, 1))", "xp.linspace(x[0, 0], 3.0, 4)", "xp.vecdot(x, x)",
    ],
)  # fmt: skip
def test_the_namespaces_functions_differentiate(call: str) -> None:
    check_grads(lambda x: eval(call, {"xp": x.__array_namespace__(), "x": x}), np.array([[0.4, 1.3, -0.7], [2.1, -1.9, 0.2]]))


SCIPY = """
import numpy as np, minigrad as mg
from scipy import special, stats
from minigrad.testing import check_grads
x = np.array([[0.4, 1.3, -0.7], [2.1, -1.9, 0.2]])
for f, reference in {CASES}:
    t = mg.tensor(x, requires_grad=True)
    y = f(t)
    assert type(y) is mg.Tensor and y.requires_grad, y
    np.testing.assert_allclose(y.detach().numpy(), reference(x), rtol=1e-12)
    check_grads(f, x)
"""


def setup_first(code: str, setup: str) -> str:
    return code.replace("x = np.array", setup + "x = np.array", 1)


def in_scipy(cases: str, setup: str = "") -> None:
    """SciPy reads SCIPY_ARRAY_API when it is imported, so it needs a process of its own."""
    pytest.importorskip("scipy")
    code = setup_first(SCIPY.replace("{CASES}", cases), setup)
    found = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "SCIPY_ARRAY_API": "1"}, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]


def test_scipy_functions_differentiate() -> None:
    in_scipy("""[
        (special.logsumexp, special.logsumexp), (lambda t: special.logsumexp(t, axis=1), lambda t: special.logsumexp(t, axis=1)),
        (lambda t: special.softmax(t, axis=1), lambda t: special.softmax(t, axis=1)),
        (lambda t: special.log_softmax(t, axis=1), lambda t: special.log_softmax(t, axis=1)),
        (lambda t: stats.zscore(t, axis=1), lambda t: stats.zscore(t, axis=1)),
        (lambda t: stats.skew(t, axis=1), lambda t: stats.skew(t, axis=1)),
        (lambda t: stats.gmean(t * t, axis=1), lambda t: stats.gmean(t * t, axis=1)),
    ]""")


def test_scikit_learn_functions_differentiate() -> None:
    pytest.importorskip("sklearn")
    in_scipy(
        """[
        (lambda t: metrics.pairwise.cosine_similarity(t, like(t)), lambda t: metrics.pairwise.cosine_similarity(t, like(t))),
        (lambda t: metrics.pairwise.rbf_kernel(t, like(t), gamma=0.3), lambda t: metrics.pairwise.rbf_kernel(t, like(t), gamma=0.3)),
        (lambda t: metrics.pairwise.polynomial_kernel(t, like(t)), lambda t: metrics.pairwise.polynomial_kernel(t, like(t))),
        (lambda t: preprocessing.normalize(t), lambda t: preprocessing.normalize(t)),
    ]""",
        """
import sklearn
from sklearn import metrics, preprocessing
sklearn.set_config(array_api_dispatch=True)
def like(t):
    other = np.array([[0.1, 1.0, 0.3], [0.2, -1.0, 0.5]])
    return other if isinstance(t, np.ndarray) else mg.asarray(other)
""",
    )


def test_arrays_are_the_same_after_all() -> None:
    for name, value in A.items():
        assert_array_equal(array_api.asarray(value).numpy(), value, err_msg=name)


# ---- every dtype, special values, empty and 0-d arrays ---------------------------------------------------------------------------

REAL, COMPLEX, BOOL = ["float32", "float64"], ["complex64", "complex128"], ["bool"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 0.5, -2.5, 1e30])
UNARY = {
    **dict.fromkeys(["acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "expm1", "log", "log10", "log1p", "log2", "sin", "sinh", "sqrt", "tan", "tanh", "reciprocal"], REAL + COMPLEX),
    **dict.fromkeys(["abs", "negative", "positive", "sign", "square", "round", "isfinite", "isinf", "isnan"], REAL + INTEGERS + COMPLEX),
    **dict.fromkeys(["ceil", "floor", "trunc"], REAL + INTEGERS), "signbit": REAL, "logical_not": BOOL, "bitwise_invert": INTEGERS + BOOL,
    **dict.fromkeys(["conj", "imag", "real"], COMPLEX), **dict.fromkeys(["sort", "argsort", "flip", "nonzero"], REAL + INTEGERS),
}  # fmt: skip
BINARY = {
    **dict.fromkeys(["add", "subtract", "multiply", "equal", "not_equal"], REAL + INTEGERS + COMPLEX), "divide": REAL + COMPLEX, "pow": REAL,
    **dict.fromkeys(["atan2", "copysign", "hypot", "logaddexp", "nextafter"], REAL),
    **dict.fromkeys(["floor_divide", "remainder", "maximum", "minimum", "less", "less_equal", "greater", "greater_equal"], REAL + INTEGERS),
    **dict.fromkeys(["bitwise_and", "bitwise_or", "bitwise_xor"], INTEGERS + BOOL), **dict.fromkeys(["logical_and", "logical_or", "logical_xor"], BOOL),
}  # fmt: skip
REDUCING = {
    **dict.fromkeys(["sum", "prod"], REAL + INTEGERS + COMPLEX), **dict.fromkeys(["std", "var"], REAL), "mean": REAL + COMPLEX,
    **dict.fromkeys(["max", "min", "argmax", "argmin"], REAL + INTEGERS), **dict.fromkeys(["all", "any", "count_nonzero"], REAL + INTEGERS + COMPLEX + BOOL),
    **dict.fromkeys(["cumulative_sum", "cumulative_prod"], REAL + INTEGERS),
}  # fmt: skip


def special(dtype: str, shape: tuple[int, ...], seed: int) -> Any:
    """NaN, infinities, zeros of both signs, and the ends of the integers."""
    rng, n = np.random.default_rng(seed), int(np.prod(shape))
    if dtype in REAL:
        a: Any = rng.choice(SPECIAL, n)
    elif dtype in COMPLEX:
        a = rng.choice(SPECIAL[:4], n) + 1j * rng.choice([0.0, 1.0, -2.0], n)
    elif dtype in BOOL:
        a = rng.integers(0, 2, n)
    else:
        ends = np.iinfo(dtype)
        a = rng.choice(np.array([1, 2, 3, 7, ends.max, -1 if ends.min else 5], dtype), n)
    with np.errstate(over="ignore"):
        return np.asarray(a).astype(dtype).reshape(shape)


def same_as_reference(name: str, *arrays: Any, **options: Any) -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = getattr(strict, name)(*map(strict.asarray, arrays), **options)
        except Exception:
            with pytest.raises((mg.MinigradError, ValueError, TypeError, IndexError)):
                getattr(array_api, name)(*map(array_api.asarray, arrays), **options)
            return
        ours = getattr(array_api, name)(*map(array_api.asarray, arrays), **options)
    for a, b in zip(ours, theirs, strict=True) if isinstance(theirs, (tuple, list)) else [(ours, theirs)]:
        x, y = a._data, b._array
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert_allclose(x, y, rtol=1e-5)
        if x.dtype.kind == "f":
            assert_array_equal(np.signbit(x[x == 0]), np.signbit(y[y == 0]))


@pytest.mark.parametrize("name", UNARY)
def test_elementwise_functions_at_special_values(name: str) -> None:
    for k, (dtype, shape) in enumerate(itertools.product(UNARY[name], [(), (0,), (12,), (2, 0, 3)])):
        same_as_reference(name, special(dtype, shape, k))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arrays_at_special_values(name: str) -> None:
    pairs: list[Any] = [((), ()), ((12,), (12,)), ((3, 1), (4,)), ((0,), (1,)), ((2, 3), ())]
    for k, (dtype, (one, other)) in enumerate(itertools.product(BINARY[name], pairs)):
        same_as_reference(name, special(dtype, one, k), special(dtype, other, k + 1000))


@pytest.mark.parametrize("name", REDUCING)
def test_reductions_at_special_values_and_of_nothing(name: str) -> None:
    told: list[dict[str, Any]] = [{}, {"axis": 0}, {"axis": -1}, {"axis": (0, 1)}, {"keepdims": True}]
    scan = name.startswith("cumulative")
    for k, (dtype, shape, options) in enumerate(itertools.product(REDUCING[name], [(), (0,), (5,), (3, 4), (2, 0, 3)], told)):
        if not scan or (shape and isinstance(options.get("axis"), int)):  # a scan is along one axis
            same_as_reference(name, special(dtype, shape, k), **options)


@pytest.mark.parametrize("name", ["add", "equal", "maximum", "concat", "where"])
def test_dtypes_are_promoted_as_in_the_reference(name: str) -> None:
    """Where the standard leaves a promotion undefined the reference refuses, and NumPy's rules hold here."""
    takes: dict[str, Any] = {
        "concat": lambda xp, x, y: xp.concat([x, y]), "where": lambda xp, x, y: xp.where(xp.asarray(np.array([True, False, True])), x, y),
    }  # fmt: skip
    make = takes.get(name, lambda xp, x, y: getattr(xp, name)(x, y))
    for one, other in itertools.product(REAL + INTEGERS + COMPLEX + BOOL, repeat=2):
        a, b = np.ones(3, one), np.ones(3, other)
        try:
            theirs = make(strict, strict.asarray(a), strict.asarray(b))
        except TypeError:
            continue
        assert make(array_api, array_api.asarray(a), array_api.asarray(b)).dtype == theirs._array.dtype
