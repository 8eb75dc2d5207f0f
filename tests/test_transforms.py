"""grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp: against closed forms, against each other, and against torch.func."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import minigrad as mg

RNG = np.random.default_rng(0)
A, B, X, Z, V = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 3)), RNG.normal(size=3), RNG.normal(size=3), RNG.normal(size=3)
Q = RNG.normal(size=(3, 3))
S = Q @ Q.T + np.eye(3)


def close(got, expected, rtol=1e-12):
    assert isinstance(got, mg.Tensor)
    assert got.shape == np.shape(expected)
    assert_allclose(got.numpy(), expected, rtol=rtol, atol=1e-12)


# Closed forms
def test_trace_of_a_product():
    close(mg.grad(lambda a, b: mg.trace(a @ b))(A, B), B.T)
    close(mg.grad(lambda a, b: mg.trace(a @ b), 1)(A, B), A.T)


def test_quadratic_form():
    f = lambda x: x @ (Q @ x)  # noqa: E731
    close(mg.grad(f)(X), (Q + Q.T) @ X)
    close(mg.hessian(f)(X), Q + Q.T)
    close(mg.hvp(f, X, V), (Q + Q.T) @ V)
    close(mg.grad(lambda q: mg.asarray(X) @ q @ X)(Q), np.outer(X, X))


def test_mahalanobis_distance():
    f = lambda z, s: (X - z) @ mg.linalg.inv(s) @ (X - z)  # noqa: E731
    g, gs = mg.grad(f, (0, 1))(Z, S)
    u = np.linalg.solve(S, X - Z)
    close(g, -2 * u)
    close(gs, -np.outer(u, u))


def test_log_determinant():
    close(mg.grad(lambda s: mg.linalg.slogdet(s)[1])(S), np.linalg.inv(S).T)


def test_softmax_jacobian():
    p = np.exp(X) / np.exp(X).sum()
    close(mg.jacobian(lambda x: mg.softmax(x))(X), np.diag(p) - np.outer(p, p))
    close(mg.hessian(lambda x: mg.logsumexp(x))(X), np.diag(p) - np.outer(p, p))


def test_linear_map():
    close(mg.jacobian(lambda x: B @ x)(X), B)
    close(mg.jvp(lambda x: B @ x, X, V)[1], B @ V)
    close(mg.vjp(lambda x: B @ x, X)[1](np.arange(4.0)), B.T @ np.arange(4.0))
    close(mg.jacobian(lambda a: a @ X)(RNG.normal(size=(2, 3))), np.einsum("ik,j->ikj", np.eye(2), X).reshape(2, 2, 3))


# Nesting
def test_grad_of_grad_of_grad():
    f = lambda x: mg.sin(x) * x**3  # noqa: E731
    d = mg.grad(mg.grad(mg.grad(f)))(0.5)
    s, c, x = np.sin(0.5), np.cos(0.5), 0.5
    assert_allclose(d.item(), -c * x**3 - 9 * x**2 * s + 18 * x * c + 6 * s, rtol=1e-5)


def test_a_closure_over_an_outer_variable():
    assert mg.grad(lambda x: mg.grad(lambda y: x * y)(2.0))(3.0).item() == 1.0
    assert mg.grad(lambda x: x * mg.grad(lambda y: x + y)(1.0))(1.0).item() == 1.0  # perturbations are not confused
    assert mg.grad(lambda x: mg.grad(lambda y: x * x * y * y)(x))(3.0).item() == 54.0  # (2 x^3)' = 6 x^2
    assert mg.grad(lambda x: mg.grad(lambda y: 2.0 * y)(x))(3.0).item() == 0.0


def test_transforms_of_transforms():
    f = lambda x: (mg.sin(x) * x).sum()  # noqa: E731
    second = -X * np.sin(X) + 2 * np.cos(X)
    third = -X * np.cos(X) - 3 * np.sin(X)
    close(mg.jacobian(mg.grad(f))(X), np.diag(second))
    close(mg.jvp(mg.grad(f), X, V)[1], second * V)
    close(mg.vjp(mg.grad(f), X)[1](V), second * V)
    close(mg.grad(lambda x: mg.jvp(f, x, V)[1])(X), second * V)
    close(mg.grad(lambda x: mg.vjp(f, x)[1](1.0).sum())(X), second)
    close(mg.grad(lambda x: mg.hvp(f, x, V).sum())(X), third * V)
    close(mg.grad(lambda v: (mg.hvp(f, mg.asarray(X), v) * V).sum())(Z), second * V)
    close(mg.grad(lambda v: mg.jvp(f, mg.asarray(X), v)[1])(Z), np.sin(X) + X * np.cos(X))
    close(mg.jacobian(mg.hessian(f))(X), np.einsum("i,ij,ik->ijk", third, np.eye(3), np.eye(3)))
    close(mg.jvp(lambda x: mg.jvp(mg.sin, x, V)[1], X, V)[1], -np.sin(X) * V * V)


def test_the_result_is_recorded_where_others_may_differentiate_it():
    w = mg.tensor(X, requires_grad=True)
    g = mg.grad(lambda x: (x * x * w).sum())(Z)
    assert g.requires_grad
    g.sum().backward()
    close(w.grad, 2 * Z)
    value, g = mg.value_and_grad(lambda x: (x * w).sum())(w)  # a tensor that itself asks for a gradient
    assert value.requires_grad
    assert not mg.grad(lambda x: (x * x).sum())(X).requires_grad
    assert not mg.value_and_grad(lambda x: (x * x).sum())(X)[0].requires_grad
    assert w.grad.tolist() == (2 * Z).tolist()  # transforms add nothing to .grad
    close(mg.gradients(mg.hvp(lambda x: (x**3 * w).sum(), Z, V).sum(), w)[0], 6 * Z * V)


def test_transforms_work_under_no_grad_and_leave_the_mode():
    with mg.no_grad():
        assert mg.grad(lambda x: x * x)(3.0).item() == 6.0
        assert mg.jvp(lambda x: x * x, 3.0, 1.0)[1].item() == 6.0
        assert mg.hessian(lambda x: x**3)(2.0).item() == 12.0
        assert mg.grad(lambda x: mg.grad(lambda y: x * y)(2.0))(3.0).item() == 1.0
        assert not mg.is_grad_enabled()


# Arguments
def test_argnums_and_keywords():
    def f(a, b, c=1.0, *, power=1):
        return (a * b**power * c).sum()

    close(mg.grad(f, 1)(X, Z), X)
    close(mg.grad(f, -1)(X, Z), X)
    ga, gb = mg.grad(f, (0, 1))(X, Z, power=2)
    close(ga, Z**2)
    close(gb, 2 * X * Z)
    gb, ga = mg.grad(f, (1, 0))(X, Z, c=3.0)
    close(gb, 3 * X)
    close(ga, 3 * Z)
    value, (only,) = mg.value_and_grad(f, (0,))(X, Z)
    close(only, Z)
    assert_allclose(value.item(), (X * Z).sum())


def test_arguments_may_be_numbers_lists_arrays_and_tensors():
    for x in (2.0, np.float64(2), mg.tensor(2.0), [2.0], (2.0,), np.array([2.0])):
        assert mg.grad(lambda x: (x**3).sum())(x).tolist() in (12.0, [12.0])
    assert mg.grad(lambda x: x)(2.0).dtype == np.float32
    assert mg.grad(lambda x: x)(np.float64(2)).dtype == np.float64


def test_the_callers_tensor_is_untouched():
    x = mg.tensor(X)
    mg.grad(lambda x: (x * x).sum())(x)
    assert not x.requires_grad
    assert x.grad is None
    y = mg.tensor(X, requires_grad=True)
    mg.grad(lambda x: (x * x).sum())(y)
    assert y.grad is None


def test_functions_that_ignore_an_argument_or_all():
    ga, gb = mg.grad(lambda a, b: (a * 2).sum(), (0, 1))(X, A)
    close(ga, np.full(3, 2.0))
    close(gb, np.zeros((3, 4)))
    close(mg.grad(lambda a: mg.tensor(1.0))(X), np.zeros(3))
    close(mg.jacobian(lambda a: mg.ones(2))(X), np.zeros((2, 3)))
    close(mg.hessian(lambda a: a.sum())(X), np.zeros((3, 3)))
    close(mg.hvp(lambda a: a.sum(), X, V), np.zeros(3))
    close(mg.jvp(lambda a: mg.ones(2, dtype="float64"), X, V)[1], np.zeros(2))
    close(mg.jvp(lambda a: mg.floor(a), X, V)[1], np.zeros(3))
    outer = mg.tensor(1.0, requires_grad=True)
    close(mg.grad(lambda a: outer * 2)(X), np.zeros(3))


def test_gradients_of_ignored_arguments_have_their_dtype():
    g = mg.grad(lambda a, b: mg.sum(mg.asarray(b)))(np.ones(2, np.float32), np.ones(3))
    assert g.dtype == np.float32


def test_hessian_blocks():
    f = lambda a, b: (a * a * b).sum() + (b**3).sum()  # noqa: E731
    (aa, ab), (ba, bb) = mg.hessian(f, (0, 1))(X, Z)
    close(aa, np.diag(2 * Z))
    close(ab, np.diag(2 * X))
    close(ba, np.diag(2 * X))
    close(bb, np.diag(6 * Z))
    close(mg.hessian(f, 1)(X, Z), np.diag(6 * Z))


def test_hessian_of_a_matrix_argument():
    h = mg.hessian(lambda a: (a**3).sum())(A)
    close(h, np.einsum("ij,ik,jl->ijkl", 6 * A, np.eye(3), np.eye(4)))


def test_hvp_forms():
    f = lambda a, b: (a * a * b).sum()  # noqa: E731
    ha, hb = mg.hvp(f, (X, Z), (V, X))
    close(ha, 2 * Z * V + 2 * X * X)
    close(hb, 2 * X * V)
    close(mg.hvp(lambda a: (a**3).sum())(X, V), 6 * X * V)


def test_jvp_of_several_arguments():
    y, dy = mg.jvp(lambda a, b: a * b, (X, Z), (V, X))
    close(y, X * Z)
    close(dy, V * Z + X * X)
    assert not dy.requires_grad


def test_vjp_pulls_as_often_as_asked():
    y, pull = mg.vjp(lambda a, b: a * mg.exp(b), X, Z)
    close(y, X * np.exp(Z))
    for u in (V, 2 * V, np.ones(3)):
        ga, gb = pull(u)
        close(ga, u * np.exp(Z))
        close(gb, u * X * np.exp(Z))


@pytest.mark.parametrize("kind", [tuple, list])
def test_vjp_of_several_outputs(kind):
    outs, pull = mg.vjp(lambda x: kind([x * x, mg.sin(x).sum(), mg.ones(2)]), X)
    assert len(outs) == 3
    expected = 2 * X * V + 5 * np.cos(X)
    close(pull(V, 5.0, [1.0, 1.0]), expected)
    close(pull((V, 5.0, [1.0, 1.0])), expected)
    for wrong in ((V,), (V, 5.0), (V, 5.0, [1.0, 1.0], 1.0)):
        with pytest.raises(mg.ShapeError, match=f"3 outputs, got {len(wrong)} upstream"):
            pull(*wrong)


def test_jacobian_shapes():
    f = lambda x: mg.reshape(x, (2, 2)) @ A[:2, :3]  # noqa: E731
    x = RNG.normal(size=4)
    assert mg.jacobian(f)(x).shape == (2, 3, 4)
    assert mg.jacobian(lambda x: x.sum())(A).shape == (3, 4)
    assert mg.jacobian(lambda x: x[:0])(X).shape == (0, 3)
    ja, jb = mg.jacobian(lambda a, b: mg.concat([a, b]), (0, 1))(X, x)
    close(ja, np.eye(7)[:, :3])
    close(jb, np.eye(7)[:, 3:])


# Misuse
@pytest.mark.parametrize("transform", [mg.grad, mg.value_and_grad, mg.jacobian, mg.hessian])
@pytest.mark.parametrize("bad", [mg.tensor([1.0]), 1.0, "x", (0, 1.0), np.ones(2)], ids=repr)
def test_a_transform_takes_a_function_not_its_argument(transform, bad):
    with pytest.raises(TypeError, match=r"mg\.grad\(f\)\(x\), not mg\.grad\(f, x\)"):
        transform(lambda x: x, bad)
    with pytest.raises(TypeError, match="expected a function"):
        transform(mg.tensor(1.0))


def test_misuse_names_the_function():
    def energy(x):
        return x * x

    with pytest.raises(mg.ShapeError, match=r"energy must return a tensor with one element, got shape \(3,\).*mg.sum"):
        mg.grad(energy)(X)
    with pytest.raises(mg.ShapeError, match="got float"):
        mg.grad(lambda x: 1.0)(X)
    with pytest.raises(TypeError, match=r"energy: argnums=1 does not fit 1 positional"):
        mg.grad(energy, 1)(X)
    with pytest.raises(TypeError, match=r"jacobian: .* must return one tensor, got tuple"):
        mg.jacobian(lambda x: (x, x))(X)
    with pytest.raises(TypeError, match=r"jvp: .* must return one tensor, got tuple"):
        mg.jvp(lambda x: (x, x), X, V)
    with pytest.raises(mg.ShapeError, match="2 primals but 1 tangents"):
        mg.jvp(lambda a, b: a * b, (X, Z), (V,))
    with pytest.raises(mg.ShapeError, match=r"tangent 0 has shape \(2,\), but its primal has shape \(3,\)"):
        mg.jvp(energy, X, np.ones(2))
    with pytest.raises(mg.DtypeError, match="only floating"):
        mg.grad(energy)(2)
    with pytest.raises(mg.ShapeError, match=r"gradient has shape \(2,\)"):
        mg.vjp(energy, X)[1](np.ones(2))


# Against torch.func
FUNCTIONS = {
    "mlp": lambda xp, x: xp.tanh(x @ x.T).sum() * xp.exp(-x * x).mean(),
    "softmax": lambda xp, x: (xp.softmax(x, 1) * xp.log(x * x + 1)).sum(),
    "ratio": lambda xp, x: (xp.sin(x) / (2 + xp.cos(x.T @ x)).sum()).sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_against_torch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, v = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    f, g = lambda x: FUNCTIONS[name](mg, x), lambda x: FUNCTIONS[name](torch, x)
    tx, tv = torch.tensor(x), torch.tensor(v)
    close(mg.grad(f)(x), torch.func.grad(g)(tx).numpy(), 1e-10)
    hessian = torch.func.jacrev(torch.func.grad(g))(tx).numpy()  # torch's forward mode warns; reverse over reverse does not
    close(mg.hessian(f)(x), hessian, 1e-9)
    close(mg.jacobian(mg.grad(f))(x), hessian, 1e-9)
    close(mg.hvp(f, x, v), torch.func.vjp(torch.func.grad(g), tx)[1](tv)[0].numpy(), 1e-9)
    close(mg.jvp(f, x, v)[1], (torch.func.grad(g)(tx) * tv).sum().numpy(), 1e-10)
