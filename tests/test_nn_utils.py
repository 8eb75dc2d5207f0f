"""Clipping and flattening against PyTorch, and who sees what."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.testing import check_grads

U = nn.utils


def torch_or_skip() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")


def with_grads(*grads: Any) -> list[mg.Tensor]:
    made = []
    for g in grads:
        p = mg.tensor(np.zeros(np.shape(g) if g is not None else 2), requires_grad=True)
        p.grad = None if g is None else mg.tensor(np.asarray(g, float))
        made.append(p)
    return made


GRADS = (np.random.default_rng(0).normal(size=(3, 2)), None, np.array(2.0), np.random.default_rng(1).normal(size=4))


@pytest.mark.parametrize("norm_type", [0.0, 1.0, 2, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 100.0, 0.0])
def test_clip_grad_norm_is_pytorchs(max_norm: float, norm_type: float) -> None:
    torch = torch_or_skip()
    ours = with_grads(*GRADS)
    theirs = []
    for g in GRADS:
        theirs.append(torch.zeros(2 if g is None else np.shape(g), dtype=torch.float64, requires_grad=True))
        theirs[-1].grad = None if g is None else torch.tensor(g)
    held = ours[0].grad
    got, want = U.clip_grad_norm_(iter(ours), max_norm, norm_type), torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-12)
    for p, t in zip(ours, theirs):
        assert (p.grad is None) == (t.grad is None)
        if p.grad is not None:
            np.testing.assert_allclose(p.grad.numpy(), t.grad.numpy(), rtol=1e-12)
    assert ours[0].grad is held, "who holds the gradient sees it clipped"


def test_clip_grad_value_is_pytorchs() -> None:
    torch = torch_or_skip()
    ours, theirs = with_grads(GRADS[0]), torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    theirs.grad = torch.tensor(GRADS[0])
    U.clip_grad_value_(ours[0], 0.3)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    assert np.array_equal(ours[0].grad.numpy(), theirs.grad.numpy())


def test_without_gradients_the_norm_is_zero() -> None:
    assert U.clip_grad_norm_(with_grads(None), 1.0).item() == 0
    assert U.clip_grad_norm_([], 1.0).item() == 0


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_norm_that_is_not_finite(bad: float) -> None:
    ps = with_grads([1.0, 2.0], [bad, 1.0])
    ps[1].name = "layers.1.weight"
    with pytest.raises(mg.MinigradError, match=r"not finite: layers.1.weight\. Nothing was clipped"):
        U.clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)
    assert ps[0].grad.tolist() == [1.0, 2.0]
    total = U.clip_grad_norm_(ps, 1.0)
    assert not math.isfinite(total.item())
    assert ps[0].grad.tolist() == [0.0, 0.0] if bad == math.inf else np.isnan(ps[0].grad.numpy()).all()


def test_gradients_that_are_part_of_a_graph_are_left_to_it() -> None:
    x = mg.tensor([3.0, 4.0], requires_grad=True)
    (x * x * x).sum().backward(create_graph=True)
    recorded = x.grad
    before = recorded.numpy().copy()
    U.clip_grad_norm_(x, 1.0)
    assert np.linalg.norm(x.grad.numpy()) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(recorded.numpy(), before)
    (second,) = mg.gradients(recorded.sum(), x)
    assert second.tolist() == [18.0, 24.0]


def test_float32_gradients_stay_float32() -> None:
    model = nn.Linear(3, 2)
    model(mg.ones((1, 3))).sum().backward()
    U.clip_grad_norm_(model.parameters(), 0.1)
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype("float32")}


def test_vector_round_trip() -> None:
    torch = torch_or_skip()
    ours, theirs = nn.Linear(3, 2).double(), torch.nn.Linear(3, 2).double()
    ours.load_state_dict(theirs.state_dict())
    flat = U.parameters_to_vector(ours.parameters())
    assert np.array_equal(flat.detach().numpy(), torch.nn.utils.parameters_to_vector(theirs.parameters()).detach().numpy())
    kept = list(ours.parameters())
    new = np.arange(8.0)
    given = mg.tensor(new)
    U.vector_to_parameters(given, ours.parameters())
    torch.nn.utils.vector_to_parameters(torch.tensor(new), theirs.parameters())
    for p, q, t in zip(ours.parameters(), kept, theirs.parameters()):
        assert p is q
        assert np.array_equal(p.detach().numpy(), t.detach().numpy())
    given.at[0].set(99.0)
    with mg.no_grad():
        ours.weight *= 0.0
    assert given.tolist() == new.tolist(), "no memory is shared"


def test_gradients_flow_through_the_vector() -> None:
    check_grads(lambda a, b: mg.sin(U.parameters_to_vector([a, b])), np.ones((2, 2)), np.ones(3), order=2)


def test_a_vector_of_another_size() -> None:
    for n in (7, 9):
        with pytest.raises(mg.ShapeError, match=rf"the vector has shape \({n},\), but there are 8 parameters: expected \(8,\)"):
            U.vector_to_parameters(mg.zeros(n), nn.Linear(3, 2).parameters())
    layer = nn.Linear(3, 2)
    U.vector_to_parameters(mg.zeros(8, dtype="float64"), layer.parameters())
    assert layer.weight.dtype == "float32"
