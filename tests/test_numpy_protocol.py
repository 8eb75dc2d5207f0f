"""np.*, np.linalg.* and np.fft.* on Tensors: every function has a row; NumPy's values, dtypes and signatures; right gradients."""

from __future__ import annotations

import itertools
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minigrad as mg
from docs.numpy_page import numpy_page
from minigrad import numpy_protocol as protocol
from tests import numpy_calls
from tests.numpy_calls import FUNCTIONS, METHODS, UFUNCS, WITHOUT_GRADIENT, arrays, mask

CALLS = [*itertools.chain.from_iterable([*UFUNCS.values(), *FUNCTIONS.values()]), *METHODS]
FLAT = re.compile(r"np\.(ceil|floor|rint|sign|trunc|around|round|angle|imag|floor_divide)\(|np\.heaviside\(x, y")
"""Recorded, with gradient 0."""


def leaf(value: Any, dtype: Any = None) -> mg.Tensor:
    return mg.tensor(np.asarray(value, dtype), requires_grad=True)


def outputs(value: Any) -> list[Any]:
    return [v for part in value for v in outputs(part)] if isinstance(value, (tuple, list)) else [value]


def evaluate(call: str, values: dict[str, Any]) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return outputs(eval(call, {"np": np, "mask": mask, **values}))


def same(got: Any, expected: Any, call: str, size: int) -> None:
    got = got.detach().numpy() if isinstance(got, mg.Tensor) else np.asarray(got)
    expected = np.asarray(expected)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), call
    if expected.dtype.kind == "f":
        rtol = 2e-4 if min(size, expected.itemsize) == 4 else 2e-13
        assert_allclose(got, expected, rtol=rtol, atol=rtol / 10)
    else:
        assert_array_equal(got, expected)


@pytest.mark.parametrize("call", CALLS + WITHOUT_GRADIENT)
def test_values_shapes_and_dtypes_are_numpys(call: str) -> None:
    for dtype in (np.float64, np.float32) if "linalg" not in call or "rank" in call else (np.float64,):
        plain = arrays(dtype)
        expected, got = evaluate(call, plain), evaluate(call, {name: leaf(value) for name, value in plain.items()})
        assert len(expected) == len(got)
        for theirs, ours in zip(expected, got):
            same(ours, theirs, call, np.dtype(dtype).itemsize)
        if call in CALLS:
            assert any(isinstance(y, mg.Tensor) and y.requires_grad for y in got)
        else:
            assert not any(isinstance(y, mg.Tensor) and y.requires_grad for y in got)


def weights(call: str, ys: list[Any]) -> list[Any]:
    rng = np.random.default_rng(3)
    return [rng.uniform(0.5, 1.5, y.shape) if y.dtype.kind == "f" else None for y in map(np.asarray, ys)]


def loss(call: str, values: dict[str, Any], ws: list[Any]) -> Any:
    """Weighted, so that no gradient cancels; NaNs, which have none, left out."""
    total: Any = 0.0
    for y, w in zip(evaluate(call, values), ws):
        if w is not None:
            keep = ~np.isnan(y.detach().numpy() if isinstance(y, mg.Tensor) else y)
            total = (
                total + mg.sum(mg.where(keep, y * w, 0.0))
                if isinstance(y, mg.Tensor)
                else total + np.where(keep, y * w, 0.0).sum()
            )
    return total


def used(call: str) -> list[str]:
    names = set(re.findall(r"(?<![\w.'\"])([a-z]+)(?![\w('\"=])", re.sub(r"lambda \w+: [^,]*?(?=, \d|[\],])", "", call)))
    return sorted(names & set(arrays()))


@pytest.mark.parametrize("call", [c for c in CALLS if "'f4'" not in c])
def test_gradients_are_those_of_central_differences(call: str) -> None:
    """First order against central differences of NumPy itself; second order against differences of the first."""
    plain = arrays()
    names = used(call)
    assert names, call
    ws = weights(call, evaluate(call, plain))
    rng = np.random.default_rng(5)
    direction = {n: rng.uniform(-1, 1, plain[n].shape) for n in names}

    def moved(h: float) -> dict[str, Any]:
        return {n: v + h * direction[n] if n in names else v for n, v in plain.items()}

    def first(h: float, create: bool = False) -> tuple[dict[str, mg.Tensor], list[Any]]:
        tensors = {n: leaf(v) if n in names else v for n, v in moved(h).items()}
        gs = mg.gradients(loss(call, tensors, ws), [tensors[n] for n in names], create_graph=create, allow_unused=True)
        return tensors, gs

    tensors, gs = first(0.0, create=True)
    got = sum(float(np.sum(g.detach().numpy() * direction[n])) for n, g in zip(names, gs) if g is not None)
    h = 1e-6
    expected = (float(loss(call, moved(h), ws)) - float(loss(call, moved(-h), ws))) / (2 * h)
    assert_allclose(got, expected, rtol=2e-7, atol=3e-8, err_msg=call)
    if not FLAT.match(call):
        assert got != 0.0
    for n, g in zip(names, gs):
        assert g is None or (g.dtype == tensors[n].dtype and g.shape == tensors[n].shape)
    # Second order, in the same direction.
    slope: Any = None
    for n, g in zip(names, gs):
        if g is not None and g.requires_grad:
            part = mg.sum(mg.where(np.isfinite(g.detach().numpy()), g * direction[n], 0.0))
            slope = part if slope is None else slope + part
    bend = [] if slope is None else mg.gradients(slope, [tensors[n] for n in names], allow_unused=True)
    curvature = sum(float(np.nansum(g.numpy() * direction[n])) for n, g in zip(names, bend) if g is not None)

    def along(h: float) -> float:
        return sum(float(np.nansum(g.numpy() * direction[n])) for n, g in zip(names, first(h)[1]) if g is not None)

    assert_allclose(curvature, (along(h) - along(-h)) / (2 * h), rtol=2e-6, atol=3e-7, err_msg=call)


# The tables are complete
def functions() -> list[tuple[str, Any]]:
    found = []
    for module, prefix in ((np, ""), (np.linalg, "linalg."), (np.fft, "fft.")):
        for name in sorted(set(module.__all__)):
            value = getattr(module, name)
            if callable(value) and not isinstance(value, type):
                found.append((prefix + name, value))
    return found


@pytest.mark.parametrize(("name", "function"), functions())
def test_every_function_of_numpy_that_takes_arrays_has_a_row(name: str, function: Any) -> None:
    if isinstance(function, np.ufunc):
        assert function in protocol.UFUNCS
    elif hasattr(function, "_implementation"):  # NumPy asks its arguments' __array_function__
        assert function in protocol.FUNCTIONS, f"np.{name} has no row in minigrad/numpy_protocol.py"


def test_every_differentiable_row_is_tested() -> None:
    missing = [
        n
        for n, v in functions()
        if (row := protocol.FUNCTIONS.get(v)) and row.status == protocol.GRADIENT and n not in FUNCTIONS
    ]
    assert missing == []
    tested = {getattr(np, name) for name in UFUNCS}
    assert [u.__name__ for u, row in protocol.UFUNCS.items() if row.status == protocol.GRADIENT and u not in tested] == []
    assert set(protocol.STATUSES) == {row.status for row in (*protocol.UFUNCS.values(), *protocol.FUNCTIONS.values())}


def test_the_rows_that_refuse_refuse() -> None:
    x = leaf([1.0, 2.0, 4.0])
    square = leaf(np.eye(2))
    for row, call in (
        (np.roots, lambda: np.roots(x)), (np.linalg.eig, lambda: np.linalg.eig(square)),
        (np.nextafter, lambda: np.nextafter(x, 3.0)), (np.sort_complex, lambda: np.sort_complex(x)),
    ):  # fmt: skip
        why = (protocol.FUNCTIONS.get(row) or protocol.UFUNCS[row]).why
        with pytest.raises(mg.DtypeError, match=re.escape(why)):
            call()
        with mg.no_grad():
            call()


@pytest.mark.parametrize(
    ("write", "fix"),
    [
        (lambda x: np.copyto(x, 7.0), r"x\.at"), (lambda x: np.put(x, 0, 7.0), r"x\.at"), (lambda x: np.place(x, [True, False], [7.0]), "mg.where"),
        (lambda x: np.putmask(x, [True, False], 7.0), "mg.where"), (lambda x: np.add.at(x, [0], 1.0), r"x\.at\[indices\]\.add"),
        (lambda x: np.put_along_axis(x, np.array([0]), 5.0, 0), "mg.put_along_axis"),
    ],
)  # fmt: skip
def test_functions_that_write_in_place(write: Any, fix: str) -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(mg.MinigradError, match=fix):
        write(x)
    assert x.tolist() == [1.0, 2.0]
    plain, t = np.array([1.0, 2.0]), mg.tensor([1.0, 2.0])
    write(plain)
    write(t)
    assert t.tolist() == plain.tolist() != [1.0, 2.0]


def test_writing_in_place_is_noticed_by_a_graph_that_needs_the_old_values() -> None:
    x, c = leaf([1.0, 2.0]), mg.tensor([3.0, 4.0], dtype="float64")
    y = mg.sum(x * c)
    np.copyto(c, 9.0)
    with pytest.raises(mg.ChangedValueError):
        y.backward()


# out=
def test_out_makes_a_new_tensor_part_of_the_graph() -> None:
    x = leaf([0.5, 1.0])
    for f in (lambda out: np.exp(x, out=out), lambda out: np.multiply(x, 2.0, out), lambda out: np.cumsum(x, out=out), lambda out: np.add(x, x, out=(out,))):  # fmt: skip
        out = mg.empty((2,), dtype="float64")
        y = f(out)
        assert y is out
        assert out.requires_grad
        (g,) = mg.gradients(mg.sum(out), [x])
        assert (g.numpy() > 0).all()


def test_out_is_refused_where_somebody_would_see_values_without_history() -> None:
    x = leaf([0.5, 1.0])
    array, out = np.zeros(2), mg.zeros(2, dtype="float64")
    view = out[:]
    for target, told in (
        (array, "lose its history"),
        (mg.asarray(array), "shares its memory"),
        (out, "shares its memory"),
        (x * 1, "part of the graph"),
    ):
        with pytest.raises(mg.MinigradError, match=told):
            np.exp(x, out=target)
        with pytest.raises(mg.MinigradError, match=told):
            np.cumsum(x, out=target)
    assert view.tolist() == array.tolist() == [0.0, 0.0]
    with pytest.raises(mg.ShapeError, match=r"out has shape \(3,\)"):
        np.exp(x, out=mg.empty(3, dtype="float64"))
    with pytest.raises(mg.DtypeError, match="does not go into it safely"):
        np.exp(x, out=mg.empty(2, dtype="int64"))


def test_out_without_gradients_is_numpys() -> None:
    x, out = mg.tensor([0.5, 1.0], dtype="float64"), mg.zeros(2, dtype="float64")
    view = out[:1]
    assert np.exp(x, out=out) is out
    assert view.tolist() == [np.exp(0.5)]
    array = np.zeros(2)
    assert np.exp(x, out=array) is array
    assert_array_equal(array, np.exp([0.5, 1.0]))


def test_where_keeps_what_out_held_and_gives_no_gradient_elsewhere() -> None:
    x = leaf([0.0, 4.0])
    out = mg.ones(2, dtype="float64")
    np.sqrt(x, out=out, where=np.array([False, True]))
    assert out.tolist() == [1.0, 2.0]
    (g,) = mg.gradients(mg.sum(out), [x])
    assert g.tolist() == [0.0, 0.25]


# Array assignment
ASSIGNMENTS = {
    "a number into a result": "x = w * 2; x[0] = 5.0",
    "a result into a result": "x = w * 2; x[1] = w[0] * w[2]",
    "a result into zeros": "x = zeros(3); x[1:] = w[:2]",
    "in a loop": "x = zeros(3)\nfor i in range(3): x[i] = w[i] ** 2",
    "twice": "x = w * 2; x[0] = w[1]; x[0] = w[2]",
    "by integers": "x = w * 2; x[[0, 2]] = w[:2]",
    "by a mask": "x = w * 2; x[x.detach() > 3] = 0.0",
    "after a view is gone": "x = w * 2; v = x[:2]; del v; x[0] = 1.0",
    "a leaf": "x = w; x[0] = 1.0",
    "under a view": "x = w * 2; v = x[:2]; x[0] = w[2]; x = x + v.sum()",
    "into a view": "y = w * 2; x = y[:2]; x[0] = w[2]; x = x + y.sum()",
    "under a detached alias": "y = w * 2; d = y.detach(); x = y; x[0] = 7.0; x = x * d",
    "a value that a rule needs": "x = w * 2; y = x * x; x[0] = 1.0; x = x + y",
    "a value that no rule needs": "x = w * 2; y = x.sum(); x[0] = 1.0; x = x + y",
    "added in place": "x = w * 2; x[0] += w[1]",
    "itself reversed": "x = w * 2; x[:] = x.flip(0) if hasattr(w, 'retain_graph') else x[[2, 1, 0]]",
}
MUST_WORK = {"a number into a result", "a result into a result", "a result into zeros", "in a loop", "twice", "by integers", "by a mask", "after a view is gone"}  # fmt: skip


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_assignment_is_pytorchs_or_an_error_before_anything_changes(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the reference for assignment with aliases")

    def run(w: Any, zeros: Any, exp: Any) -> Any:
        space = {"w": w, "zeros": zeros, "exp": exp}
        exec(ASSIGNMENTS[name], space)
        return space["x"]

    def reference() -> tuple[Any, Any] | None:
        w = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
        try:
            y = run(w, lambda n: torch.zeros(n, dtype=torch.float64), torch.exp)
            (y * torch.arange(1.0, y.numel() + 1)).sum().backward()
        except RuntimeError:
            return None
        return y.detach().numpy(), w.grad.numpy()

    w = leaf([1.0, 2.0, 3.0])
    try:
        y = run(w, lambda n: mg.zeros(n, dtype="float64"), np.exp)
    except mg.MinigradError as error:
        assert name not in MUST_WORK
        assert re.search(r"x\.at\[index\]\.set\(value\)", str(error))  # noqa: PT017
        return
    expected = reference()
    mg.sum(y * np.arange(1.0, y.size + 1)).backward()
    assert expected is not None
    assert_allclose(y.detach().numpy(), expected[0])
    assert_allclose(w.grad.numpy(), expected[1])


def test_an_output_that_its_own_rule_needs_may_be_assigned_to() -> None:
    w = leaf([1.0, 2.0])
    x = np.exp(w)
    x[0] = 5.0
    (g,) = mg.gradients(mg.sum(x), [w])
    assert g.tolist() == [0.0, np.exp(2.0)]


def test_a_refused_assignment_changes_nothing() -> None:
    w = leaf([1.0, 2.0])
    x = w * 2
    view = x[:1]
    with pytest.raises(mg.MinigradError, match="another array, a view or a recorded operation"):
        x[0] = w[1]
    assert (x.tolist(), view.tolist()) == ([2.0, 4.0], [2.0])
    (g,) = mg.gradients(mg.sum(x * x), [w])
    assert g.tolist() == [8.0, 16.0]


# Complex pairs
def test_a_complex_pair_refuses_what_it_cannot_differentiate() -> None:
    z = np.fft.rfft(leaf([1.0, 2.0, 4.0]))
    for f in (np.exp, np.sort, np.prod, np.linalg.norm, lambda z: z**0.5):
        with pytest.raises(mg.DtypeError, match=r"complex pair|whole number"):
            f(z)
    with pytest.raises(mg.DtypeError, match=r"\.detach\(\)\.numpy\(\)"):
        np.asarray(z)
    assert_allclose(np.asarray(z.detach()), np.fft.rfft([1.0, 2.0, 4.0]))


def test_convolution_by_transforms_is_convolution() -> None:
    a, b = leaf([1.0, 2.0, -1.0]), leaf([0.5, 1.5])
    by_transform = np.fft.irfft(np.fft.rfft(a, 4) * np.fft.rfft(b, 4), 4)
    direct = np.convolve(a, b)
    assert_allclose(by_transform.detach().numpy(), direct.detach().numpy(), atol=1e-14)
    weights_ = np.array([1.0, -2.0, 0.5, 3.0])
    for one, other in zip(
        mg.gradients(mg.sum(by_transform * weights_), [a, b]), mg.gradients(mg.sum(direct * weights_), [a, b])
    ):
        assert_allclose(one.numpy(), other.numpy(), atol=1e-14)


@pytest.mark.parametrize("call", ["z + 2j", "1 - z", "z * (1 + 2j)", "z / (1 - 1j)", "2 / z", "z * z", "z ** 3", "-z", "np.conj(z)", "z[1:]", "np.sum(z)", "np.roll(z, 1)", "np.subtract(1j, z)",
                                  "np.multiply(np.arange(3), z)", "np.stack([z, z])", "z.reshape(3, 1)", "np.square(z)", "np.true_divide(z, 2)"])  # fmt: skip
def test_arithmetic_of_pairs_is_numpys(call: str) -> None:
    x = np.array([1.0, 2.5, -3.0, 0.75])
    expected = eval(call, {"np": np, "z": np.fft.rfft(x)})
    got = eval(call, {"np": np, "z": np.fft.rfft(leaf(x))})
    assert got.requires_grad
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    assert_allclose(got.detach().numpy(), expected, atol=1e-14)


def test_complex_numbers_of_a_real_leaf_are_refused_not_differentiated_wrongly() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(mg.DtypeError, match="gradients of complex tensors are not supported"):
        mg.sum(mg.abs(x * 1j)).backward()
    with pytest.raises(mg.DtypeError, match="gradients of complex tensors are not supported"):
        np.exp(1j * x)


@pytest.mark.parametrize(
    "call",
    ["np.linalg.norm(x)", "np.sum(np.abs(np.fft.rfft(x)) ** 2)", "np.sum(np.sort(x)[:, 1])", "np.var(x)", "np.sum(np.tril(x) ** 2)", "np.sum(np.pad(x, 1) ** 2)", "np.sum(np.concatenate([x, x]) ** 2)",
     "np.sum(np.logaddexp.reduce(x, axis=1))", "np.sum(np.multiply.outer(x, x))", "np.sum(np.insert(x, 1, 2.0, axis=0) ** 2)"],
)  # fmt: skip
def test_a_step_of_numpy_functions_compiles(call: str) -> None:
    def step(x: Any) -> Any:
        y = eval(call, {"np": np, "x": x})
        return y, *mg.gradients(y, [x])

    compiled = mg.compile(step)
    x = leaf(arrays()["x"])
    for value in (arrays()["x"], arrays()["y"]):
        x.data = value
        for ours, eager in zip(compiled(x), step(x)):
            assert_allclose(ours.detach().numpy(), eager.detach().numpy())


# Misuse
@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x: np.quantile(x, leaf(0.5), weights=[1.0, 2.0], method="inverted_cdf"), r"np.quantile: q has no gradient"),
        (lambda x: np.sum(x, axis=5), "axis"), (lambda x: np.fft.fft(x, axis=3), "axis 3 does not exist"), (lambda x: np.pad(x, 1, lambda *a: None), "in place"),
        (lambda x: np.linalg.qr(np.diag(x), "raw"), "raw"), (lambda x: np.poly(x[None]), "square matrix"),
        (lambda x: np.polyfit(x, x, 1, cov=True), "more than 2 points"),
        (lambda x: np.average(x, weights=[1.0]), "weights of shape"), (lambda x: np.max(x, where=[True, False]), "initial"),
    ],
)  # fmt: skip
def test_what_has_no_gradient_says_so(call: Any, told: str) -> None:
    with pytest.raises((mg.MinigradError, ValueError, IndexError), match=told):
        call(leaf([1.0, 2.0]))


def test_vectors_that_only_complete_a_basis_have_no_gradient() -> None:
    x = leaf(arrays()["m"])
    U, S, _ = np.linalg.svd(x)
    with pytest.raises(mg.DtypeError, match="full_matrices=False"):
        np.sum(U[:, 3] ** 2 * np.arange(4.0)).backward()
    np.sum(S).backward()


def test_numpy_functions_of_tensors_without_gradient_return_tensors() -> None:
    x = mg.tensor([3.0, 1.0])
    assert type(np.sort(x)) is type(np.argsort(x)) is type(np.fft.rfft(x)) is mg.Tensor
    assert np.fft.rfft(x).dtype == np.complex64
    assert np.array_repr(x) == "array([3., 1.], dtype=float32)"


def test_a_training_step_written_in_numpy() -> None:
    """Two layers and a softmax, written with np.* alone, train."""
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(64, 2)), rng.integers(0, 3, 64)
    w, v = leaf(rng.normal(size=(2, 16)) * 0.5), leaf(rng.normal(size=(16, 3)) * 0.5)

    def cost() -> mg.Tensor:
        scores = np.tanh(inputs @ w) @ v
        scores = scores - np.max(scores, axis=1, keepdims=True)
        return -np.mean(scores[np.arange(64), labels] - np.log(np.sum(np.exp(scores), axis=1)))

    before = cost().item()
    for _ in range(60):
        for t, g in zip((w, v), mg.gradients(cost(), [w, v])):
            t.data = t.data - 0.5 * g.data
    assert cost().item() < 0.95 * before


def test_the_page_is_up_to_date() -> None:
    assert (Path(__file__).parent.parent / "docs" / "numpy.md").read_text() == numpy_page(), "run: python -m docs.make"


def test_the_table_of_calls_is_deterministic() -> None:
    for name, value in arrays().items():
        assert_array_equal(value, numpy_calls.arrays()[name])


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
def test_odd_borders_of_any_width_are_numpys(mode: str) -> None:
    """Wider than the array they take several turns, and a single element is mirrored onto itself."""
    for n in (1, 2, 3, 5):
        a = np.random.default_rng(n).normal(size=n)
        for left, right in itertools.product(range(0, 14, 3), (0, 1, 4, 11)):
            expected = np.pad(a, (left, right), mode, reflect_type="odd")
            assert_allclose(np.pad(leaf(a), (left, right), mode, reflect_type="odd").detach().numpy(), expected, atol=1e-12)


def test_a_quantile_moves_with_its_position() -> None:
    """Between two values the slope is their difference times n - 1; at the ends and by steps it is 0."""
    q = leaf([0.0, 0.1, 0.5, 1.0])
    np.sum(np.quantile(leaf([3.0, 1.0, 7.0]), q)).backward()
    assert_allclose(q.grad.numpy(), [4.0, 4.0, 8.0, 0.0])
    assert not np.quantile([3.0, 1.0, 7.0], q, method="nearest").requires_grad
