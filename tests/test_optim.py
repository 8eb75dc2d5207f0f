"""Optimisers: their equations by hand, PyTorch's path over option grids, saved states, and what a step must not disturb."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim
from minigrad.optim import base

WHY = "parity tests compare with PyTorch, which is not installed"
SHAPES = ((3, 4), (4,), ())


@pytest.fixture
def torch() -> Iterator[Any]:
    """PyTorch, computing its scalars (NAdam's product of momenta, ASGD's rates) in float64 as minigrad does."""
    module = pytest.importorskip("torch", reason=WHY)
    before = module.get_default_dtype()
    module.set_default_dtype(module.float64)
    yield module
    module.set_default_dtype(before)


def values(seed: int = 0, dtype: str = "float64") -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def parameters(seed: int = 0, dtype: str = "float64") -> list[mg.Tensor]:
    return [mg.tensor(v, requires_grad=True, name=f"p{k}") for k, v in enumerate(values(seed, dtype))]


X = np.random.default_rng(7).normal(size=(5, 3))


def loss_of(lib: Any, p: Any, x: Any) -> Any:
    """A small net and some curvature, written so that minigrad and PyTorch both run it; flat far out, so that climbing ends."""
    hidden = lib.tanh(x @ p[0] + p[1])
    return 2 * lib.log(1 + (hidden * hidden).sum() - 0.3 * hidden.sum() + (p[2] - 1.5) ** 4 + 0.05 * (p[0] ** 4).sum())


def convex_loss_of(lib: Any, p: Any, x: Any) -> Any:
    """A ridge-penalised logistic loss.

    On the loss above the path of L-BFGS is chaotic: PyTorch itself, started one unit in the last place away, ends up to 1e-3
    elsewhere.
    """
    squares = (p[0] ** 2).sum() + (p[1] ** 2).sum() + p[2] ** 2
    return lib.log(1 + lib.exp(x @ p[0] + p[1] - p[2])).sum() + 0.5 * squares


def descend(optimizer: optim.Optimizer, p: list[mg.Tensor], steps: int, f: Any = loss_of) -> list[np.ndarray[Any, Any]]:
    def closure() -> mg.Tensor:
        optimizer.zero_grad()
        loss: mg.Tensor = f(mg, p, mg.asarray(X.astype(p[0].dtype)))
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return [q.numpy().copy() for q in p]


def grid(name: str, **options: list[Any]) -> list[Any]:
    """Every option alone at each of its values, then all pairs of neighbours, then the last values of all together."""
    singles = [{key: value} for key, choices in options.items() for value in choices]
    keys = list(options)
    pairs = [{a: options[a][-1], b: options[b][-1]} for i, a in enumerate(keys) for b in keys[i + 1 :]]
    every = [{}, *singles, *pairs, {key: choices[-1] for key, choices in options.items()}]
    return [pytest.param(name, o, id=f"{name}-{'-'.join(f'{k}={v}' for k, v in o.items()) or 'defaults'}") for o in every]


ADAM = {"lr": [0.0, 0.02], "betas": [(0.0, 0.5), (0.7, 0.9)], "eps": [1e-3], "weight_decay": [0.1], "maximize": [True]}
GRIDS = [
    *grid("SGD", lr=[0.0, 0.01], momentum=[0.5, 0.9], dampening=[0.3], weight_decay=[0.1], maximize=[True]),
    *grid("SGD", lr=[0.01], weight_decay=[0.1], maximize=[True])[1:],
    *[
        pytest.param("SGD", {"lr": 0.01, "momentum": 0.8, "nesterov": True, **o}, id=f"SGD-nesterov-{k}")
        for k, o in enumerate([{}, {"weight_decay": 0.1}, {"maximize": True, "lr": 0.001}])
    ],
    *grid(
        "Adagrad", lr=[0.1], lr_decay=[0.2], weight_decay=[0.1], initial_accumulator_value=[0.5], eps=[1e-3], maximize=[True]
    ),
    *grid(
        "RMSprop", lr=[0.02], alpha=[0.5, 0.9], eps=[1e-3], weight_decay=[0.1], momentum=[0.7], centered=[True], maximize=[True]
    ),
    pytest.param("Adadelta", {"lr": 0.02, "rho": 1.0}, id="Adadelta-rho=1"),
    *grid("Adadelta", lr=[0.5], rho=[0.0, 0.5], eps=[1e-2], weight_decay=[0.1], maximize=[True]),
    *grid("Adam", **ADAM, amsgrad=[True], decoupled_weight_decay=[True]),
    *grid("AdamW", **ADAM, amsgrad=[True]),
    *grid("Adamax", **ADAM),
    *grid("NAdam", **ADAM, momentum_decay=[0.1], decoupled_weight_decay=[True]),
    *grid("RAdam", **ADAM, decoupled_weight_decay=[True]),
    *grid("ASGD", lr=[0.02], lambd=[0.1], alpha=[0.5], t0=[3.0], weight_decay=[0.1], maximize=[True]),
    *grid("Rprop", lr=[0.05], etas=[(0.3, 1.5)], step_sizes=[(0.01, 0.06)], maximize=[True]),
]


def torch_path(torch: Any, optimizer: Any, p: list[Any], steps: int, f: Any = loss_of) -> list[np.ndarray[Any, Any]]:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = f(torch, p, torch.tensor(X))
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return [q.detach().numpy() for q in p]


def agree(ours: list[Any], theirs: list[Any], rtol: float = 1e-9) -> None:
    assert any(np.isfinite(t).all() and np.abs(t).max() < 1e6 for t in theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), GRIDS)
def test_twenty_steps_as_in_pytorch(torch: Any, name: str, options: dict[str, Any]) -> None:
    p, q = parameters(), [torch.tensor(v, requires_grad=True) for v in values()]
    ours = optim.__dict__[name](p, **options)
    theirs = getattr(torch.optim, name)(q, **options)
    agree(descend(ours, p, 20), torch_path(torch, theirs, q, 20))


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "NAdam", "ASGD"])
def test_groups_changes_and_missing_gradients_as_in_pytorch(torch: Any, name: str) -> None:
    p, q = parameters(), [torch.tensor(v, requires_grad=True) for v in values()]
    groups = [[{"params": r[:1]}, {"params": r[1], "lr": 0.003, "weight_decay": 0.2}] for r in (p, q)]
    ours, theirs = optim.__dict__[name](groups[0], lr=0.01), getattr(torch.optim, name)(groups[1], lr=0.01)
    descend(ours, p, 3), torch_path(torch, theirs, q, 3)
    for optimizer in (ours, theirs):
        optimizer.param_groups[1]["lr"] = 0.02
        for key in ("momentum", "weight_decay"):
            if key in optimizer.param_groups[0] and (name, key) != ("RMSprop", "momentum"):  # PyTorch fails there
                optimizer.param_groups[0][key] = 0.4
    ours.add_param_group({"params": [p[2]], "lr": 0.005})
    theirs.add_param_group({"params": [q[2]], "lr": 0.005})
    agree(descend(ours, p, 5), torch_path(torch, theirs, q, 5))
    p[0].grad = q[0].grad = None
    ours.step(), theirs.step()
    agree([r.numpy() for r in p], [r.detach().numpy() for r in q])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9}),
        ("Adagrad", {}),
        ("RMSprop", {"centered": True, "momentum": 0.5}),
        ("Adadelta", {}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {}),
        ("Adamax", {}),
        ("NAdam", {}),
        ("RAdam", {}),
        ("ASGD", {"t0": 2.0}),
        ("Rprop", {}),
        ("LBFGS", {"max_iter": 3}),
    ],
)
def test_a_state_saved_by_pytorch_goes_on_here(torch: Any, name: str, options: dict[str, Any]) -> None:
    q = [torch.tensor(v, requires_grad=True) for v in values()]
    theirs = getattr(torch.optim, name)(q, **options)
    torch_path(torch, theirs, q, 3)
    p = [mg.tensor(r.detach().numpy(), requires_grad=True) for r in q]
    ours = optim.__dict__[name](p, lr=77.0)
    ours.load_state_dict(theirs.state_dict())
    assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]
    agree(descend(ours, p, 5), torch_path(torch, theirs, q, 5))


def test_defaults_and_argument_order_are_pytorchs(torch: Any) -> None:
    import inspect

    for name in [
        "SGD",
        "ASGD",
        "Adagrad",
        "RMSprop",
        "Adadelta",
        "Adam",
        "AdamW",
        "Adamax",
        "NAdam",
        "RAdam",
        "Rprop",
        "LBFGS",
    ]:
        theirs = inspect.signature(getattr(torch.optim, name)).parameters
        ours = inspect.signature(getattr(optim, name)).parameters
        kept = {k: v.default for k, v in theirs.items() if k not in base.NOT_OURS}
        assert {k: v.default for k, v in ours.items() if k != "bias_correction"} == kept, name
        positional = [k for k, v in theirs.items() if v.kind is v.POSITIONAL_OR_KEYWORD and k in ours]
        assert [k for k in ours if k in positional] == positional, name


LBFGS_GRID = grid("LBFGS", lr=[0.05, 0.5], max_iter=[1, 4], max_eval=[3, 6], tolerance_grad=[1e-2], tolerance_change=[1e-3],
                  history_size=[1, 3])  # fmt: skip


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
@pytest.mark.parametrize(("name", "options"), LBFGS_GRID)
def test_lbfgs_follows_pytorchs_path(torch: Any, name: str, options: dict[str, Any], search: str | None) -> None:
    if search is None and "lr" not in options:
        options = {**options, "lr": 0.05}  # full steps without a line search diverge on this function
    p, q = parameters(), [torch.tensor(v, requires_grad=True) for v in values()]
    ours = optim.LBFGS(p, **options, line_search_fn=search)
    theirs = torch.optim.LBFGS(q, **options, line_search_fn=search)
    for _ in range(20):
        agree(descend(ours, p, 1, convex_loss_of), torch_path(torch, theirs, q, 1, convex_loss_of))
    mine, other = ours.state[p[0]], theirs.state[q[0]]
    assert (mine["n_iter"], mine["func_evals"]) == (other["n_iter"], other["func_evals"])


# The notes' equations by hand: x = 2, gradient 3, lr 0.1, then a second step with gradient -1.
def r(v: float) -> float:
    return math.sqrt(v)


def by_hand() -> Iterator[Any]:
    lr, g, h = 0.1, 3.0, -1.0
    yield "SGD", {}, [2 - lr * g, 2 - lr * g - lr * h]
    v = [-lr * g, 0.9 * -lr * g - lr * h]
    yield "SGD", {"momentum": 0.9}, [2 + v[0], 2 + v[0] + v[1]]
    yield "SGD", {"weight_decay": 0.5}, [2 - lr * (g + 1.0), (2 - lr * 4.0) * (1 - lr * 0.5) - lr * h]
    yield "SGD", {"maximize": True}, [2 + lr * g, 2 + lr * g + lr * h]
    yield "Adagrad", {"eps": 0.0}, [2 - lr, 2 - lr + lr / r(10)]
    yield "RMSprop", {"alpha": 0.9, "eps": 0.0}, [2 - lr * 3 / r(0.9), 2 - lr * 3 / r(0.9) + lr / r(0.81 + 0.1)]
    d = r(1e-6) / r(0.9 + 1e-6) * 3
    yield "Adadelta", {"lr": 1.0}, [2 - d, 2 - d - (r(0.1 * d * d + 1e-6) / r(0.91 + 1e-6)) * h]
    m, v2 = 0.1 * g, 0.001 * g * g
    m2, v3 = 0.9 * m + 0.1 * h, 0.999 * v2 + 0.001 * h * h
    one = 2 - lr * (m / 0.1) / (r(v2 / 0.001) + 1e-8)
    yield "Adam", {}, [one, one - lr * (m2 / (1 - 0.81)) / (r(v3 / (1 - 0.999**2)) + 1e-8)]
    one = 2 - lr * m / (r(v2) + 1e-8)
    yield "Adam", {"bias_correction": False}, [one, one - lr * m2 / (r(v3) + 1e-8)]
    one = 2 * (1 - lr * 0.5) - lr * (m / 0.1) / (r(v2 / 0.001) + 1e-8)
    two = one * (1 - lr * 0.5) - lr * (m2 / (1 - 0.81)) / (r(v3 / (1 - 0.999**2)) + 1e-8)
    yield "AdamW", {"weight_decay": 0.5}, [one, two]
    one = 2 - lr / (1 - 0.9) * m / (3 + 1e-8)
    yield "Adamax", {}, [one, one - lr / (1 - 0.81) * m2 / (0.999 * (3 + 1e-8))]
    mu = [0.9 * (1 - 0.5 * 0.96 ** (t * 0.004)) for t in (1, 2, 3)]
    one = 2 - lr * ((1 - mu[0]) * g / (1 - mu[0]) + mu[1] * m / (1 - mu[0] * mu[1])) / (r(v2 / 0.001) + 1e-8)
    ahead = (1 - mu[1]) * h / (1 - mu[0] * mu[1]) + mu[2] * m2 / (1 - mu[0] * mu[1] * mu[2])
    yield "NAdam", {}, [one, one - lr * ahead / (r(v3 / (1 - 0.999**2)) + 1e-8)]
    yield "RAdam", {}, [2 - lr * g, 2 - lr * g - lr * m2 / (1 - 0.81)]
    yield "Rprop", {}, [2 - lr, 2 - lr]
    one = (1 - 1e-4 * lr) * 2 - lr * g
    eta = lr / (1 + 1e-4 * lr) ** 0.75
    yield "ASGD", {}, [one, (1 - 1e-4 * eta) * one - eta * h]


@pytest.mark.parametrize(("name", "options", "expected"), list(by_hand()))
def test_two_steps_by_hand(name: str, options: dict[str, Any], expected: list[float]) -> None:
    x = mg.tensor(2.0, dtype="float64", requires_grad=True)
    optimizer = optim.__dict__[name]([x], **{"lr": 0.1, **options})
    for g, value in zip((3.0, -1.0), expected, strict=True):
        x.grad = g
        optimizer.step()
        assert x.item() == pytest.approx(value, rel=1e-12)


def test_nesterov_is_the_look_ahead_form_after_a_change_of_variables() -> None:
    rate, keep = 0.05, 0.8

    def slope(x: float) -> float:
        return x**3 - 2 * x

    x, v = 1.7, 0.0
    y = mg.tensor(x, dtype="float64", requires_grad=True)
    optimizer = optim.SGD([y], lr=rate, momentum=keep, nesterov=True)
    for _ in range(10):
        assert y.item() == pytest.approx(x + keep * v, rel=1e-13)
        v = keep * v - rate * slope(x + keep * v)
        x = x + v
        optimizer.zero_grad()
        (y**4 / 4 - y**2).backward()
        optimizer.step()


EVERY: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.01}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("ASGD", {"t0": 3.0}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Adadelta", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("Adamax", {}),
    ("NAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("RAdam", {"betas": (0.8, 0.9)}),
    ("Rprop", {}),
    ("LBFGS", {"max_iter": 3, "line_search_fn": "strong_wolfe"}),
    ("LBFGS", {"max_iter": 2, "lr": 0.05, "history_size": 2}),
]
every = pytest.mark.parametrize(("name", "options"), EVERY)


def arrays_in(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    if isinstance(value, np.ndarray):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from arrays_in(part)


def plain_only(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(plain_only, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(plain_only, value))
    return value is None or type(value) in (int, float, bool, str, np.ndarray)


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_state_resumes_bit_for_bit(name: str, options: dict[str, Any], dtype: str) -> None:
    p = parameters(dtype=dtype)
    optimizer = optim.__dict__[name](p, **options)
    descend(optimizer, p, 4)
    saved, at = optimizer.state_dict(), [q.numpy().copy() for q in p]
    assert plain_only(saved)
    straight = descend(optimizer, p, 5)

    q = [mg.tensor(v, requires_grad=True) for v in at]
    again = optim.__dict__[name](q, lr=99.0)
    again.load_state_dict(saved)
    resumed = descend(again, q, 5)
    for a, b in zip(straight, resumed, strict=True):
        assert a.tobytes() == b.tobytes()
        assert a.dtype == dtype


@every
def test_a_saved_state_shares_nothing_with_the_optimiser(name: str, options: dict[str, Any]) -> None:
    p = parameters()
    optimizer = optim.__dict__[name](p, **options)
    descend(optimizer, p, 2)
    saved = optimizer.state_dict()
    text = repr(saved)
    descend(optimizer, p, 2)
    assert repr(saved) == text
    optimizer.load_state_dict(saved)
    descend(optimizer, p, 2)
    assert repr(saved) == text
    optimizer.load_state_dict(saved)
    for array in arrays_in(saved):
        array[...] = 0
    assert repr(optimizer.state_dict()) == text


@every
def test_a_step_does_not_disturb_a_recorded_graph(name: str, options: dict[str, Any]) -> None:
    p = parameters()
    before = [q.numpy().copy() for q in p]
    optimizer = optim.__dict__[name](p, **options)
    loss = loss_of(mg, p, mg.asarray(X))
    descend(optimizer, p, 1)
    assert all((q.numpy() != v).any() for q, v in zip(p, before))
    optimizer.zero_grad()
    loss.backward()
    old = [mg.tensor(v, requires_grad=True) for v in before]
    loss_of(mg, old, mg.asarray(X)).backward()
    for q, o in zip(p, old, strict=True):
        assert q.grad is not None
        assert o.grad is not None
        assert q.grad.numpy().tobytes() == o.grad.numpy().tobytes()


@every
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_is_kept(name: str, options: dict[str, Any], dtype: str) -> None:
    if dtype == "float16" and name in ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adadelta", "RMSprop", "Adagrad", "LBFGS"):
        options = {**options, "lr": 0.01}
    p = parameters(dtype=dtype)
    optimizer = optim.__dict__[name](p, **{**options, "lr": np.float64(options.get("lr", 0.01))})
    for q in p:
        q.grad = mg.ones_like(q)
    if name != "LBFGS":
        optimizer.step()
        optimizer.step()
    else:
        descend(optimizer, p, 2)
    assert all(q.dtype == dtype and q.numpy().shape == shape for q, shape in zip(p, SHAPES))
    arrays = [v for state in optimizer.state.values() for v in state.values() if hasattr(v, "dtype")]
    assert all(v.dtype == dtype for v in arrays)


@every
def test_gradients_and_hyperparameters_are_only_read(name: str, options: dict[str, Any]) -> None:
    p = parameters()
    optimizer = optim.__dict__[name](p, **options)
    descend(optimizer, p, 1)
    if name != "LBFGS":
        grads = [q.grad for q in p]
        copies = [g.numpy().copy() for g in grads if g is not None]
        optimizer.step()
        for q, g, c in zip(p, grads, copies, strict=True):
            assert q.grad is g
            np.testing.assert_array_equal(g.numpy(), c)
            held = [v for v in optimizer.state[q].values() if hasattr(v, "shape")]
            assert not any(np.shares_memory(v, g.numpy()) or np.shares_memory(v, q.numpy()) for v in held)
    assert all(optimizer.param_groups[0][key] == value for key, value in options.items())


@pytest.mark.parametrize(("name", "options"), [e for e in EVERY if e[0] != "LBFGS"])
def test_pieces_make_no_difference(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = parameters()
    one = descend(optim.__dict__[name](whole, **options), whole, 4)
    monkeypatch.setattr(base, "BLOCK", 5)
    cut = parameters()
    many = descend(optim.__dict__[name](cut, **options), cut, 4)
    assert [a.tobytes() for a in one] == [a.tobytes() for a in many]


@pytest.mark.parametrize(("name", "options"), [e for e in EVERY if e[0] != "LBFGS"])
def test_memory_layout_makes_no_difference(name: str, options: dict[str, Any]) -> None:
    start, g = values()[0], values(1)[0]
    results = []
    for order in "CF":
        x = mg.tensor(start, requires_grad=True)
        x.data = np.asarray(start, order=order)
        optimizer = optim.__dict__[name]([x], **options)
        for _ in range(3):
            x.grad = mg.asarray(np.asarray(g, order=order))
            optimizer.step()
        results.append(x.numpy())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,)])
@pytest.mark.parametrize(("name", "options"), [e for e in EVERY if e[0] != "LBFGS"])
def test_scalars_and_empty_parameters(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    x = mg.tensor(np.ones(shape), requires_grad=True)
    optimizer = optim.__dict__[name]([x], **options)
    for _ in range(2):
        optimizer.zero_grad()
        (x * x).sum().backward()
        optimizer.step()
    assert x.shape == shape
    assert isinstance(x.numpy(), np.ndarray)
    assert all(np.shape(v) in (shape, ()) for v in optimizer.state[x].values())
    again = optim.__dict__[name]([mg.tensor(np.ones(shape), requires_grad=True)], **options)
    again.load_state_dict(optimizer.state_dict())
    assert repr(again.state_dict()) == repr(optimizer.state_dict())


def test_an_alias_keeps_the_old_values_and_backward_still_notices_writes() -> None:
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    alias = x.numpy()
    optimizer = optim.SGD([x], lr=0.5)
    loss = (x * x).sum()
    x.grad = [1.0, 1.0]
    optimizer.step()
    assert alias.tolist() == [1.0, 2.0]
    assert x.tolist() == [0.5, 1.5]
    (x * x * x).sum().backward()
    alias[0] = 7.0
    with pytest.raises(mg.ChangedValueError):
        loss.backward()


def test_after_a_step_nobody_else_holds_the_array_so_recording_needs_no_guard() -> None:
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    x.numpy()
    x.grad = [1.0, 1.0]
    optim.SGD([x], lr=0.5).step()
    node = (x * x).node
    assert node is not None
    assert node.extra is None or not node.extra.guards


def test_a_gradient_of_another_dtype_does_not_change_the_states() -> None:
    x = mg.tensor([1.0, 2.0], dtype="float32", requires_grad=True)
    x.grad = mg.tensor([1.0, 1.0], dtype="float64")
    optimizer = optim.SGD([x], lr=0.5, momentum=0.5)
    for _ in range(2):
        optimizer.step()
    assert optimizer.state[x]["momentum_buffer"].dtype == x.dtype == "float32"


def test_large_parameters() -> None:
    x = mg.tensor(np.random.default_rng(0).normal(size=(3, base.BLOCK)), requires_grad=True)
    before = x.numpy().copy()
    optimizer = optim.Adam([x], lr=0.1)
    abs(x).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(x.numpy(), before - 0.1 * np.sign(before), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), [e for e in EVERY if e[0] != "LBFGS"])
def test_parameters_without_gradient_are_passed_over(name: str, options: dict[str, Any]) -> None:
    p = parameters()
    optimizer = optim.__dict__[name](p, **options)
    p[0].grad = mg.ones_like(p[0])
    before = [q.numpy() for q in p[1:]]
    optimizer.step()
    assert all(q.numpy() is b for q, b in zip(p[1:], before))
    assert set(optimizer.state_dict()["state"]) <= {0}


def test_zero_grad() -> None:
    p = parameters()
    optimizer = optim.SGD(p, lr=0.1, momentum=0.5)
    descend(optimizer, p, 1)
    optimizer.zero_grad(set_to_none=False)
    assert all(q.grad is not None and not q.grad.numpy().any() and q.grad.dtype == q.dtype for q in p)
    before = [q.numpy() for q in p]
    optimizer.step()
    assert all((q.numpy() != b).any() for q, b in zip(p, before))
    optimizer.zero_grad()
    assert all(q.grad is None for q in p)


@every
def test_the_closure_is_recorded_whatever_surrounds_it(name: str, options: dict[str, Any]) -> None:
    p = parameters()
    optimizer = optim.__dict__[name](p, **options)
    first = loss_of(mg, p, mg.asarray(X)).item()
    modes = []

    def closure() -> mg.Tensor:
        modes.append(mg.is_grad_enabled())
        optimizer.zero_grad()
        loss: mg.Tensor = loss_of(mg, p, mg.asarray(X))
        loss.backward()
        return loss

    with mg.no_grad():
        loss = optimizer.step(closure)
        assert not mg.is_grad_enabled()
    assert loss.item() == first
    assert all(modes)


def test_a_second_order_gradient_steps_too() -> None:
    x = mg.tensor([2.0], dtype="float64", requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    optim.SGD([x], lr=0.25).step()
    assert x.tolist() == [-1.0]
    assert x.is_leaf


def leaf(*shape: int) -> mg.Tensor:
    return mg.zeros(shape, requires_grad=True)


MISUSE: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: optim.SGD([]), ValueError, r"SGD: the list of parameters is empty.*generator"),
    (lambda: optim.SGD(leaf(2)), TypeError, r"expected a list of tensors.*\[\.\.\.\]"),
    (lambda: optim.SGD({"params": [leaf(2)]}), TypeError, r"got one dict"),
    (lambda: optim.Adam([leaf(2), 3.0]), TypeError, r"Adam: parameter 1 of group 0 is a float"),
    (lambda: optim.Adam([leaf(2) * 2]), ValueError, r"parameter 0 of group 0 \(shape \(2,\)\) was computed.*only leaves"),
    (lambda: optim.Adam([mg.zeros((2, 3))]), ValueError, r"\(shape \(2, 3\)\) does not ask for a gradient: make it with requires_grad"),
    (lambda: optim.SGD([x := leaf(2), x]), ValueError, r"parameter 1 of group 0.*was given before"),
    (lambda: optim.SGD([{"params": [x := leaf(2)]}, {"params": [x]}]), ValueError, r"parameter 0 of group 1.*given before"),
    (lambda: optim.SGD([{"parameters": [leaf(2)]}]), TypeError, r"a dict with 'params'"),
    (lambda: optim.SGD([{"params": {leaf(2)}}]), TypeError, r"a set has no fixed order"),
    (lambda: optim.SGD([("w", leaf(2)), leaf(2)]), ValueError, r"1 of 2 parameters came with a name"),
    (lambda: optim.SGD([leaf(2)], lr=-1), ValueError, r"SGD: lr must be a number >= 0, got -1"),
    (lambda: optim.SGD([leaf(2)], lr=float("nan")), ValueError, r"lr must be a number >= 0"),
    (lambda: optim.SGD([leaf(2)], lr="fast"), ValueError, r"lr must be a number >= 0, got 'fast'"),
    (lambda: optim.SGD([{"params": [leaf(2)], "momentum": -0.1}]), ValueError, r"momentum must be"),
    (lambda: optim.SGD([leaf(2)], nesterov=True), ValueError, r"nesterov needs momentum > 0 and dampening = 0"),
    (lambda: optim.SGD([leaf(2)], nesterov=True, momentum=0.9, dampening=0.1), ValueError, r"dampening=0\.1"),
    (lambda: optim.SGD([leaf(2)], weight_decay=-1), ValueError, r"weight_decay"),
    (lambda: optim.Adagrad([leaf(2)], lr_decay=-1), ValueError, r"lr_decay"),
    (lambda: optim.Adagrad([leaf(2)], initial_accumulator_value=-1), ValueError, r"initial_accumulator_value"),
    (lambda: optim.RMSprop([leaf(2)], alpha=-1), ValueError, r"alpha"),
    (lambda: optim.RMSprop([leaf(2)], eps=-1), ValueError, r"eps"),
    (lambda: optim.Adadelta([leaf(2)], rho=1.5), ValueError, r"rho must be a number in \[0, 1\]"),
    (lambda: optim.Adam([leaf(2)], betas=(0.9, 1.0)), ValueError, r"betas must be two numbers in \[0, 1\)"),
    (lambda: optim.Adam([leaf(2)], betas=0.9), ValueError, r"betas"),
    (lambda: optim.NAdam([leaf(2)], momentum_decay=-1), ValueError, r"momentum_decay"),
    (lambda: optim.Rprop([leaf(2)], etas=(1.5, 0.5)), ValueError, r"etas"),
    (lambda: optim.LBFGS([leaf(2)], line_search_fn="armijo"), ValueError, r"None or 'strong_wolfe'"),
    (lambda: optim.LBFGS([leaf(2)], history_size=0), ValueError, r"history_size"),
    (lambda: optim.LBFGS([{"params": [leaf(2)]}, {"params": [leaf(2)]}]), ValueError, r"only one group"),
    (lambda: optim.LBFGS([leaf(2)]).step(), TypeError, r"needs a closure"),
    (lambda: optim.SGD([leaf(2)]).load_state_dict(optim.SGD([leaf(2), leaf(2)]).state_dict()), ValueError, r"\[2\].*\[1\]"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), MISUSE)
def test_misuse_is_explained(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_a_saved_state_of_another_shape_is_refused_and_leaves_the_optimiser_as_it_was() -> None:
    p, q = leaf(2, 3), leaf(3, 2)
    for x in (p, q):
        x.grad = mg.ones_like(x)
    saving, loading = optim.Adam([p], lr=0.5), optim.Adam([q], lr=0.25)
    saving.step(), loading.step()
    before = repr(loading.state_dict())
    with pytest.raises(mg.ShapeError, match=r"the saved exp_avg has shape \(2, 3\), but its parameter has shape \(3, 2\)"):
        loading.load_state_dict(saving.state_dict())
    assert repr(loading.state_dict()) == before


def test_named_parameters_and_repr() -> None:
    a, b = leaf(2, 3), leaf(3)
    optimizer = optim.SGD([("a", a), ("b", b)], lr=0.5)
    assert optimizer.param_groups[0]["params"] == [a, b] or optimizer.param_groups[0]["params"][0] is a
    assert optimizer.param_groups[0]["param_names"] == ["a", "b"]
    text = repr(optimizer)
    assert text.startswith("SGD(\n  group 0: 2 parameters, 9 elements\n")
    assert "    lr: 0.5\n" in text
    again = optim.SGD([("a", leaf(2, 3)), ("b", leaf(3))])
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[0]["lr"] == 0.5


def test_a_frozen_parameter_of_a_module_is_passed_over() -> None:
    class Parameter(mg.Tensor):
        __slots__ = ()

    def make(requires_grad: bool) -> Parameter:
        made = Parameter()
        made._data, made.node = np.ones(2), None
        made.requires_grad = requires_grad
        return made

    frozen, free = make(False), make(True)
    optimizer = optim.SGD([frozen, free], lr=0.5)
    (frozen * free).sum().backward()
    optimizer.step()
    assert (frozen.tolist(), free.tolist()) == ([1.0, 1.0], [0.5, 0.5])


def test_the_state_of_a_group_survives_json() -> None:
    p = parameters()
    optimizer = optim.Adam(p, betas=(0.8, 0.9))
    saved = optimizer.state_dict()
    saved["param_groups"] = json.loads(json.dumps(saved["param_groups"]))
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)
    descend(optimizer, p, 1)


@every
def test_every_optimiser_gets_to_the_bottom(name: str, options: dict[str, Any]) -> None:
    x = mg.tensor([1.5, -0.5], dtype="float64", requires_grad=True)
    rate = {"SGD": 0.05, "ASGD": 0.05, "LBFGS": 1.0, "Adadelta": 30.0, "Adagrad": 0.5}.get(name, 0.05)
    optimizer = optim.__dict__[name](
        [x], **{**options, "lr": rate, **({"weight_decay": 0} if name != "Rprop" and name != "LBFGS" else {})}
    )
    target = mg.tensor([0.3, 0.7], dtype="float64")

    def closure() -> mg.Tensor:
        optimizer.zero_grad()
        loss: mg.Tensor = ((x - target) ** 2 * mg.tensor([1.0, 4.0], dtype="float64")).sum()
        loss.backward()
        return loss

    for _ in range(400):
        optimizer.step(closure)
    assert closure().item() < 1e-3


def test_arrows_point_one_way() -> None:
    """The optimisers know the engine, not the layers or the drawings."""
    import pathlib

    for page in pathlib.Path(optim.__file__).parent.glob("*.py"):
        assert "minigrad.nn" not in page.read_text()
        assert "viz" not in page.read_text()
