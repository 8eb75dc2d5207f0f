"""Newton, BFGS, conjugate gradient and the line search: on quadratics, Rosenbrock's valley and logistic regression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import optim

METHODS: list[Callable[..., optim.Result]] = [optim.newton, optim.bfgs, optim.conjugate_gradient]
every = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)


def rosenbrock(x: mg.Tensor) -> Any:
    return ((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2).sum()


def quadratic(n: int, seed: int, spread: float = 100.0) -> tuple[Callable[[mg.Tensor], Any], np.ndarray[Any, Any]]:
    """``(x - c)^T A (x - c) / 2 + 3`` with eigenvalues from 1 to ``spread``, and its minimum c."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    A = (Q * np.geomspace(1, spread, n)) @ Q.T
    c = rng.normal(size=n)
    return lambda x: 0.5 * ((x - c) @ (mg.asarray(A) @ (x - c))) + 3.0, c


def logistic(n: int = 60) -> Callable[[mg.Tensor], Any]:
    """The mean log-loss of a ridge-penalised logistic regression; the vector is 4 weights and a bias."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, 4))
    y = (X @ [1.0, -2.0, 0.5, 0.0] + 0.3 + rng.logistic(size=n) > 0).astype(float)

    def f(v: mg.Tensor) -> Any:
        w, b = optim.unflatten(v, [mg.zeros(4), mg.zeros(())])
        z = mg.asarray(X) @ w + b
        return (mg.softplus(z) - mg.asarray(y) * z).mean() + 0.01 * (w * w).sum()

    return f


def norm_of_gradient(f: Any, x: mg.Tensor) -> float:
    return float(np.linalg.norm(mg.grad(f)(x).numpy()))


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_newton_takes_one_step_on_a_quadratic(n: int) -> None:
    f, c = quadratic(n, n)
    result = optim.newton(f, np.zeros(n))
    assert (result.iterations, result.evaluations, result.converged) == (1, 2, True)
    np.testing.assert_allclose(result.x.numpy(), c, rtol=1e-10)
    assert result.value == pytest.approx(3.0)


@given(st.integers(1, 10), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_conjugate_gradient_takes_n_steps_on_a_quadratic(n: int, seed: int) -> None:
    f, c = quadratic(n, seed, spread=10.0)  # at 100, rounding leaves textbook CG with gradients of 1e-4 after n steps
    result = optim.conjugate_gradient(f, np.zeros(n), tolerance=1e-8)
    assert result.converged
    assert result.iterations <= n + 1  # n in exact arithmetic; rounding may ask for one more
    np.testing.assert_allclose(result.x.numpy(), c, atol=1e-7)


def test_directions_of_conjugate_gradient_are_conjugate() -> None:
    A = np.diag([1.0, 4.0, 9.0])
    points = [np.array([1.0, 1.0, 1.0])]
    for k in (1, 2, 3):
        found = optim.conjugate_gradient(lambda x: 0.5 * (x @ (mg.asarray(A) @ x)), points[0], tolerance=0.0, max_iter=k)
        points.append(found.x.numpy())
    d = np.diff(points, axis=0)
    for i in range(3):
        for j in range(i):
            assert abs(d[i] @ A @ d[j]) < 1e-10


@every
@pytest.mark.parametrize("n", [2, 6])
def test_rosenbrocks_valley(method: Callable[..., optim.Result], n: int) -> None:
    x0 = np.tile([-1.2, 1.0], n // 2)
    result = method(rosenbrock, x0, tolerance=1e-8)
    assert result.converged, result.message
    assert result.gradient_norm <= 1e-8
    assert result.gradient_norm == pytest.approx(norm_of_gradient(rosenbrock, result.x), rel=1e-6, abs=1e-14)
    assert result.value == pytest.approx(rosenbrock(result.x).item(), abs=1e-25)
    if n == 2:
        np.testing.assert_allclose(result.x.numpy(), 1.0, atol=1e-6)
        assert result.iterations < 60
    assert x0.tolist() == [-1.2, 1.0] * (n // 2)


@every
def test_logistic_regression_has_one_answer(method: Callable[..., optim.Result]) -> None:
    f = logistic()
    result = method(f, np.zeros(5), tolerance=1e-9)
    assert result.converged, result.message
    np.testing.assert_allclose(result.x.numpy(), optim.newton(f, np.ones(5), tolerance=1e-12).x.numpy(), atol=1e-7)


def test_logistic_regression_as_by_lbfgs() -> None:
    f = logistic()
    v = mg.tensor(np.zeros(5), requires_grad=True)
    optimizer = optim.LBFGS([v], max_iter=50, tolerance_change=0.0, line_search_fn="strong_wolfe")

    def closure() -> mg.Tensor:
        optimizer.zero_grad()
        loss: mg.Tensor = f(v)
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(v.numpy(), optim.bfgs(f, np.zeros(5), tolerance=1e-9).x.numpy(), atol=1e-6)


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shape_and_dtype_of_the_start_are_kept(method: Callable[..., optim.Result], dtype: str) -> None:
    target = mg.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype)
    result = method(lambda x: ((x - target) ** 2 + (x - target) ** 4).sum(), mg.zeros((2, 2), dtype=dtype))
    assert (result.x.shape, result.x.dtype, result.converged) == ((2, 2), dtype, True)
    np.testing.assert_allclose(result.x.numpy(), target.numpy(), atol=1e-3)
    assert [type(v) for v in (result.value, result.gradient_norm, result.iterations)] == [float, float, int]


@every
def test_a_start_at_the_minimum_and_a_number(method: Callable[..., optim.Result]) -> None:
    result = method(lambda x: (x - 2) ** 2, 2.0)
    assert (result.iterations, result.evaluations, result.converged, result.x.item()) == (0, 1, True, 2.0)
    assert method(lambda x: (x - 2) ** 2, 5).x.item() == pytest.approx(2.0)


@every
def test_a_saddle_is_left_downhill(method: Callable[..., optim.Result]) -> None:
    """At (0.1, 1) the Hessian is indefinite; Newton undamped would go to the saddle at 0."""
    result = method(lambda x: x[0] ** 4 / 4 - x[0] ** 2 / 2 + x[1] ** 2, np.array([0.1, 1.0]))
    assert result.converged
    np.testing.assert_allclose(abs(result.x.numpy()), [1.0, 0.0], atol=1e-6)


@every
def test_what_cannot_be_minimised_is_said(method: Callable[..., optim.Result]) -> None:
    result = method(lambda x: (-x).sum(), np.zeros(2), max_iter=4)
    assert not result.converged
    assert result.message
    few = method(rosenbrock, np.array([-1.2, 1.0]), max_iter=2)
    assert (few.converged, few.iterations, few.message) == (False, 2, "the 2 iterations allowed are used up")
    with np.errstate(all="ignore"):
        walled = method(lambda x: mg.sqrt(x).sum() + (1 / x).sum(), np.array([4.0]), tolerance=1e-6)
    assert walled.converged
    assert walled.x.item() == pytest.approx(4 ** (1 / 3), rel=1e-4)


@every
def test_nothing_is_left_on_the_tensors_and_recording_may_be_off(method: Callable[..., optim.Result]) -> None:
    x0 = mg.tensor([3.0, -1.0], dtype="float64", requires_grad=True)
    with mg.no_grad():
        result = method(lambda x: (x**2).sum() + (x**4).sum(), x0)
    assert result.converged
    assert x0.grad is None
    assert not result.x.requires_grad
    assert x0.tolist() == [3.0, -1.0]


def test_damping_is_levenbergs() -> None:
    """One step of ``(H + a I)^-1 g`` by hand: H = diag(2, 20), g = (2, 20), a = 3."""
    f = lambda x: x[0] ** 2 + 10 * x[1] ** 2  # noqa: E731
    result = optim.newton(f, np.array([1.0, 1.0]), damping=3.0, max_iter=1)
    np.testing.assert_allclose(result.x.numpy(), [1 - 2 / 5, 1 - 20 / 23], rtol=1e-12)
    assert optim.newton(f, np.array([1.0, 1.0]), damping=3.0).converged
    with pytest.raises(ValueError, match="damping must be a number >= 0"):
        optim.newton(f, np.zeros(2), damping=-1)


def test_newton_converges_quadratically() -> None:
    errors = [
        abs(optim.newton(lambda x: mg.exp(x) - 2 * x, 0.5 * np.ones(()), tolerance=0.0, max_iter=k).x.item() - np.log(2))
        for k in (1, 2, 3)
    ]
    assert errors[1] < errors[0] ** 2
    assert errors[2] < errors[1] ** 2


@given(st.floats(1e-4, 1e3), st.floats(0.05, 0.9), st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_line_search_meets_both_wolfe_conditions(step: float, c2: float, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=4)
    value, g = mg.value_and_grad(rosenbrock)(x)
    d = -g.numpy() / np.linalg.norm(g.numpy())
    found = optim.line_search(rosenbrock, x, d, step=step, c2=c2, max_evals=60)
    assert found.converged, found.message
    np.testing.assert_array_equal(found.x.numpy(), x + found.step * d)
    slope = float(g.numpy() @ d)
    after, h = mg.value_and_grad(rosenbrock)(found.x)
    assert after.item() <= value.item() + 1e-4 * found.step * slope
    assert abs(h.numpy() @ d) <= -c2 * slope
    assert found.value == after.item()
    assert found.evaluations == found.iterations + 1


def test_line_search_says_what_is_wrong() -> None:
    f = lambda x: (x**2).sum()  # noqa: E731
    with pytest.raises(ValueError, match="does not lead downhill: the slope along it is 4"):
        optim.line_search(f, [1.0, 1.0], [1.0, 1.0])
    with pytest.raises(mg.ShapeError, match=r"direction has shape \(3,\), but x has shape \(2,\)"):
        optim.line_search(f, [1.0, 1.0], [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="0 < c1 < c2 < 1"):
        optim.line_search(f, [1.0], [-1.0], c1=0.9, c2=0.1)
    endless = optim.line_search(lambda x: -x.sum(), [0.0], [1.0], max_evals=3)
    assert not endless.converged
    assert "no step tried meets both" in endless.message


def test_a_value_that_is_not_finite_is_stepped_back_from() -> None:
    with np.errstate(all="ignore"):
        found = optim.line_search(lambda x: (x - mg.log(x)).sum(), np.array([3.0]), np.array([-1.0]), step=50.0)
    assert found.converged
    assert 0 < found.x.item() < 3


def test_flatten_and_unflatten_undo_each_other_and_carry_gradients() -> None:
    params = [
        mg.tensor([[1.0, 2.0, 3.0]], requires_grad=True),
        mg.tensor(4.0, requires_grad=True),
        mg.zeros((0, 2)),
        mg.tensor([5.0]),
    ]
    v = optim.flatten(params)
    assert v.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    back = optim.unflatten(v, params)
    assert [p.shape for p in back] == [p.shape for p in params]
    assert [p.tolist() for p in back] == [p.tolist() for p in params]
    (back[0].sum() * back[1]).backward()
    assert params[0].grad is not None
    assert params[0].grad.tolist() == [[4.0, 4.0, 4.0]]
    with pytest.raises(mg.ShapeError, match=r"have 5 elements in all, but the vector has shape \(4,\)"):
        optim.unflatten(mg.zeros(4), params)


def test_a_function_that_gives_many_elements_is_refused() -> None:
    for method in METHODS:
        with pytest.raises(mg.ShapeError, match="one element"):
            method(lambda x: x * 2, np.zeros(2))


def test_mistaken_wolfe_searches_would_be_seen() -> None:
    """The cubic through two points with slopes is exact for a cubic: t^3 - 3 t has its minimum at 1."""
    from minigrad.optim.wolfe import Point, cubic_minimum

    points = [Point(t, t**3 - 3 * t, None, 3 * t * t - 3) for t in (0.0, 3.0)]
    assert cubic_minimum(points[0], points[1], 0.0, 3.0) == pytest.approx(1.0, rel=1e-14)
    assert cubic_minimum(points[1], points[0], 0.0, 3.0) == pytest.approx(1.0, rel=1e-14)
    assert cubic_minimum(points[0], points[1], 1.5, 3.0) == 1.5
    assert cubic_minimum(points[0], points[0], 0.0, 3.0) == 1.5
