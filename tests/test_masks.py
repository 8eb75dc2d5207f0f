"""Branches that ``where`` did not take contribute nothing, through operations that are not elementwise too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.masks import MOVING
from minigrad.nn import functional as F  # noqa: N812

ROWS = np.array([[0.0, 0.0], [3.0, 4.0], [-1.0, 1.0]])
TAKEN = np.array([False, True, False])


@pytest.mark.parametrize(("f", "expected"), [
    (lambda x: mg.where(TAKEN, mg.sum(mg.sqrt(x), axis=1), 0), lambda x: 0.5 / np.sqrt(x)),
    (lambda x: mg.where(TAKEN, mg.linalg.norm(mg.log(x), axis=1), 0), lambda x: np.log(x) / np.linalg.norm(np.log(x)) / x),
    (lambda x: mg.where(TAKEN, mg.sqrt(mg.sum(x * x, axis=1)), 0), lambda x: x / np.linalg.norm(x)),
    (lambda x: mg.where(TAKEN[:, None], x / mg.linalg.norm(x, axis=1, keepdims=True), 0), None),
    (lambda x: mg.where(TAKEN[:, None], x / mg.sqrt(mg.sum(x * x, axis=1, keepdims=True)), 0), None),
    (lambda x: mg.where(TAKEN, mg.mean(mg.log(x), axis=-1), 0), lambda x: 0.5 / x),
    (lambda x: mg.where(TAKEN, mg.max(mg.log(x), axis=1), 0), lambda x: np.array([0.0, 0.25])),
    (lambda x: mg.where(TAKEN, mg.prod(mg.sqrt(x), axis=1), 0), lambda x: np.sqrt(x[::-1]) * 0.5 / np.sqrt(x)),
    (lambda x: mg.where(TAKEN, mg.std(mg.sqrt(x), axis=1), 0), None), (lambda x: mg.where(TAKEN, mg.logsumexp(mg.log(x), axis=1), 0), lambda x: 1 / x.sum() + 0 * x),
    (lambda x: mg.where(TAKEN[:, None], mg.softmax(mg.log(x)), 0), None), (lambda x: mg.where(TAKEN.reshape(1, 3), mg.log(x).T, 0), lambda x: 1 / x),
    (lambda x: mg.where(TAKEN.repeat(2), mg.log(x).reshape(-1), 0), lambda x: 1 / x), (lambda x: mg.where(TAKEN, mg.log(x)[:, 1], 0), lambda x: np.array([0, 0.25])),
    (lambda x: mg.where(TAKEN[1:], mg.sum(mg.concat([mg.sqrt(x[1:, :1]), mg.sqrt(x[1:, 1:])], 1), axis=1), 0), lambda x: 0.5 / np.sqrt(x)),
])  # fmt: skip
def test_rows_that_are_not_taken_have_gradient_zero(f: Any, expected: Any) -> None:
    """No NaN in them, and the rows that are taken as without the mask: by themselves, and by the formula where there is one."""
    x = mg.tensor(ROWS, requires_grad=True)
    with np.errstate(all="ignore"):
        for create in (False, True):
            (g,) = mg.gradients(mg.sum(f(x) * 1.0), x, create_graph=create)
            got = g.detach().numpy()
            np.testing.assert_array_equal(got[~TAKEN], 0.0)
            assert np.isfinite(got[TAKEN]).all()
            if expected is not None:
                np.testing.assert_allclose(got[1], expected(ROWS[1]), rtol=1e-12)


def test_a_divisor_that_is_broadcast() -> None:
    x, n = mg.tensor([[1.0, 2.0]], requires_grad=True), mg.tensor([[0.0], [2.0]], requires_grad=True)
    with np.errstate(all="ignore"):
        gx, gn = mg.gradients(mg.sum(mg.where(n.detach() == 0, 0.0, x / n)), [x, n])
    assert gx.tolist() == [[0.5, 0.5]]
    assert gn.tolist() == [[0.0], [-0.75]]


def test_a_value_that_is_used_outside_too_keeps_its_nan() -> None:
    """sum(sqrt(0)) is taken by the second use: its gradient is inf, and stays so."""
    x = mg.tensor(ROWS[:2], requires_grad=True)
    with np.errstate(all="ignore"):
        y = mg.sqrt(x)
        total = mg.sum(y, axis=1)
        (mg.sum(mg.where(TAKEN[:2], total, 0)) + mg.sum(y)).backward()
    assert np.isinf(x.grad.numpy()[0]).all()  # type: ignore[union-attr]


def test_a_gradient_that_is_zero_as_a_number_is_left_alone() -> None:
    x = mg.tensor([0.0, 1.0], requires_grad=True)
    with np.errstate(all="ignore"):
        mg.sum(mg.square(mg.sum(mg.sqrt(x).reshape(2, 1), axis=1))).backward()
    assert np.isnan(x.grad.numpy()[0])  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["sum", "mean", "max", "prod", "std", "logsumexp", "vector_norm", "softmax"])
@pytest.mark.parametrize("seed", range(5))
def test_finite_gradients_are_what_they_were(name: str, seed: int) -> None:
    """Against multiplying by the mask, which is the same where everything is finite."""
    rng = np.random.default_rng(seed)
    a, taken = rng.uniform(0.5, 2.0, (3, 4, 2)), rng.random((3, 1, 2)) > 0.5
    f = {"vector_norm": lambda v: mg.linalg.vector_norm(v, axis=1, keepdims=True), "softmax": lambda v: mg.softmax(v, 1)}.get(
        name, lambda v: getattr(mg, name)(v, axis=1, keepdims=True)
    )
    found = []
    for masked in (lambda y: mg.where(taken, y, 0.0), lambda y: y * taken):
        x = mg.tensor(a, requires_grad=True)
        y = mg.sum(masked(f(mg.log(x).permute(0, 1, 2))) * mg.tensor(rng.permuted(np.ones((3, 1, 2)))) + 0 * F.relu(x[:, :1]))
        y.backward()
        found.append(x.grad.numpy())  # type: ignore[union-attr]
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-15)


def test_a_row_of_the_users_own_with_a_borrowed_name_is_left_alone() -> None:
    mine = mg.primitive(lambda a: a[::-1] * 1.0, lambda g, y, a: g[::-1], name="sum")
    x = mg.tensor([0.0, 4.0], requires_grad=True)
    with np.errstate(all="ignore"):
        mg.sum(mg.where([True, False], mine(mg.sqrt(x)), 0.0)).backward()
    assert x.grad.numpy()[1] == 0.25  # type: ignore[union-attr]


MOVES: dict[str, Any] = {
    "broadcast_to": lambda x: mg.broadcast_to(x, (2, 3, 2)), "concat": lambda x: mg.concat([x, x[:1]]), "copy": mg.copy,
    "flip": lambda x: mg.flip(x, axis=0), "gather": lambda x: x[np.array([2, 0, 2])], "getitem": lambda x: x[1:, ::-1],
    "pad": lambda x: mg.pad(x, ((1, 0), (0, 2))), "permute_dims": lambda x: x.T, "reshape": lambda x: x.reshape(2, 3),
    "roll": lambda x: mg.roll(x, 1, axis=0), "stack": lambda x: mg.stack([x, x], axis=1), "tril": mg.tril, "triu": mg.triu,
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("k", range(6))
def test_a_mask_moves_with_what_it_masks(name: str, k: int) -> None:
    """One element is taken, wherever it goes: its gradient is 1/x for each of its copies, that of all others, log 0, is 0."""
    assert name in MOVING
    move, one = MOVES[name], (np.arange(6) == k).reshape(3, 2)
    a = mg.tensor(np.ones((3, 2)), requires_grad=True)
    (copies,) = mg.gradients(mg.sum(move(a)), a)
    x = mg.tensor(np.where(one, 2.0, 0.0), requires_grad=True)
    with np.errstate(all="ignore"):
        taken = move(mg.tensor(one * 1.0)).numpy() != 0
        mg.sum(mg.where(taken, move(mg.log(x)), 0.0)).backward()
    np.testing.assert_array_equal(x.grad.numpy(), one * copies.numpy() / 2)  # type: ignore[union-attr]


def test_every_row_that_moves_is_tried() -> None:
    assert set(MOVES) == MOVING


@pytest.mark.parametrize("swap", [False, True])
def test_one_where_inside_another(swap: bool) -> None:
    outer, inner = np.array([True, True, False, False]), np.array([True, False, True, False])
    if swap:
        outer, inner = inner, outer
    x = mg.tensor([2.0, 0.0, 0.0, 0.0], requires_grad=True)
    with np.errstate(all="ignore"):
        mg.sum(mg.where(outer, mg.where(inner, mg.log(x), 0.0), 0.0)).backward()
    assert x.grad.tolist() == [0.5, 0, 0, 0]  # type: ignore[union-attr]


def test_what_either_of_two_uses_took_counts() -> None:
    x = mg.tensor([1.0, 4.0, 9.0, 0.0], requires_grad=True)
    root = mg.sqrt(x)
    first, second = np.array([True, True, False, False]), np.array([False, True, True, False])
    (mg.where(first, root, 0).sum() + mg.where(second, root * 2, 0).sum()).backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [0.5, 0.75, 1 / 3, 0])


def test_an_operand_that_is_broadcast_counts_once_for_all_its_copies() -> None:
    x, n = mg.tensor([[3.0, 5.0]]), mg.tensor([[4.0], [0.0]], requires_grad=True)
    with np.errstate(all="ignore"):
        mg.sum(mg.where(np.array([[True, True], [False, False]]), x * mg.log(n), 0.0)).backward()
    assert n.grad.tolist() == [[2.0], [0.0]]  # type: ignore[union-attr]
