"""Elementwise operations piece by piece are the operations as they are, and memory that is used again is nobody else's."""

from __future__ import annotations

import gc
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import arena, blocks
from minigrad.ops import fused
from minigrad.primitive import TABLE, primitive
from tests.domains import DOMAINS

ELEMENTWISE = sorted(name for name, op in TABLE.items() if op.exact and name in DOMAINS)
SHAPES = {
    "one shape": ((23, 29), (23, 29), (23, 29)),
    "rows": ((23, 29), (29,), (1, 29)),
    "columns": ((23, 29), (23, 1), ()),
    "rank": ((4, 23, 29), (23, 29), (29,)),
    "outer": ((23, 1, 29), (29, 1), (23, 29, 29)),
    "one number": ((23, 29), (1,), (1, 1)),
}


def drawn(name: str, shapes: Any, lay: Any) -> list[Any]:
    rng = np.random.default_rng(3)
    return [lay(operand.draw(rng, shape)) for operand, shape in zip(DOMAINS[name].operands, shapes)]


def transposed(array: Any) -> Any:
    return np.ascontiguousarray(np.asarray(array).T).T


def results(name: str, operands: list[Any], ones: bool) -> list[Any]:
    """The value, and what each operand receives."""
    tensors = [
        mg.tensor(v, requires_grad=bool(operand.differentiable and np.asarray(v).dtype.kind == "f"))
        for operand, v in zip(DOMAINS[name].operands, operands)
    ]
    y = next(f for f in (getattr(mg.ops, name, None), getattr(fused, name, None)) if f is not None)(*tensors)
    asking = [t for t in tensors if t.requires_grad]
    if y.dtype.kind != "f" or not y.requires_grad:
        return [y.numpy()]
    seed = np.broadcast_to(1.0, y.shape) if ones else np.cos(np.arange(y.size)).reshape(y.shape)
    return [y.numpy(), *(g.numpy() for g in mg.gradients(y, asking, mg.asarray(seed), allow_unused=True) if g is not None)]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_pieces_are_the_whole_bit_for_bit(name: str, shapes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every elementwise operation and every rule of one, in all layouts, with gradients that are one number everywhere."""
    with np.errstate(all="ignore"):
        for lay in (np.ascontiguousarray, transposed):
            operands = drawn(name, SHAPES[shapes], lay)
            for ones in (False, True):
                whole = results(name, operands, ones)
                with monkeypatch.context() as m:
                    m.setattr(blocks, "BLOCK", 64)
                    m.setattr(blocks, "SHARED", 1)
                    m.setattr(blocks, "SINGLE", 1)
                    m.setattr("minigrad.threads.THREADS", 2)
                    for got, want in zip(results(name, operands, ones), whole, strict=True):
                        assert (got.dtype, got.shape) == (want.dtype, want.shape)
                        if lay is transposed:  # sums over what was broadcast follow the layout
                            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
                        else:
                            np.testing.assert_array_equal(got, want)


def test_pieces_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above compares is not the same thing twice."""
    seen = []
    monkeypatch.setattr(blocks, "BLOCK", 64)
    monkeypatch.setattr(blocks, "SHARED", 1)

    def cube(a: Any) -> Any:
        seen.append(a.size)
        return a**3

    assert blocks.piecewise(cube, np.ones((23, 29))).shape == (23, 29)
    assert sum(seen) == 23 * 29
    assert 0 < max(seen) <= 64
    own = primitive(cube, lambda g, y, a: g * 3 * a * a, needs="a", elementwise=True, name="cube_of_a_user")
    seen.clear()
    own(mg.ones((23, 29), requires_grad=True)).sum().backward()
    assert seen == [23 * 29]  # a user's operation is trusted with nothing that it did not promise


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 127, 129, 667, 5000])
def test_every_element_is_worked_out_once(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 64)
    monkeypatch.setattr(blocks, "SHARED", 1)
    monkeypatch.setattr(blocks, "SINGLE", 1)
    x = np.arange(float(size))
    np.testing.assert_array_equal(blocks.piecewise(np.add, x, 1.0), x + 1)
    np.testing.assert_array_equal(blocks.piecewise(lambda a: a + 1, x[:, None].repeat(3, 1)), x[:, None].repeat(3, 1) + 1)


# ---- memory -----------------------------------------------------------------------------------------------------------------

SIZE = (arena.LEAST // 4 + 5,)


def place(array: Any) -> int:
    return int(array.ctypes.data)


@pytest.fixture(autouse=True)
def empty_arena() -> Any:
    arena.clear()
    yield
    arena.clear()


def test_memory_is_used_again_when_nobody_has_it() -> None:
    a = arena.empty(SIZE, np.dtype(np.float32))
    where = place(a)
    b = arena.empty(SIZE, np.dtype(np.float32))
    assert not np.may_share_memory(a, b)
    del a
    c = arena.empty((SIZE[0] // 5, 5), np.dtype(np.float32))
    assert (place(c), where % 64) == (where, 0)
    assert c.flags.carray


@pytest.mark.parametrize("hold", [
    lambda a: a[10:20], lambda a: a.T, memoryview, lambda a: a.view(np.int32), lambda a: a.__dlpack__(), lambda a: a.reshape(-1, 1)[::2],
    lambda a: np.from_dlpack(a), lambda a: mg.asarray(a), lambda a: np.frombuffer(a, np.uint8), lambda a: a.flat, lambda a: a.data,
], ids=range(11))  # fmt: skip
def test_memory_that_anything_refers_to_stays(hold: Any) -> None:
    a = arena.empty(SIZE, np.dtype(np.float32))
    a[:] = 7
    where, held = place(a), hold(a)
    del a
    gc.collect()
    b = arena.empty(SIZE, np.dtype(np.float32))
    assert place(b) != where
    b[:] = 0
    del held, b
    gc.collect()
    places = {place(x) for x in [arena.empty(SIZE, np.dtype(np.float32)) for _ in range(2)]}
    assert where in places


def test_idle_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "LIMIT", 3 * arena.LEAST)
    arrays = [arena.empty(SIZE, np.dtype(np.float32)) for _ in range(8)]
    del arrays
    assert 0 < arena._idle_bytes <= 3 * arena.LEAST
    assert arena._idle_bytes == sum(len(m) for ms in arena._idle.values() for m in ms)


def test_small_arrays_and_objects_are_numpys_own() -> None:
    assert arena.empty((10,), np.dtype(float)).base is None
    assert arena.empty((arena.LEAST,), np.dtype(object)).base is None


def test_copies_are_whole() -> None:
    a = arena.empty(SIZE, np.dtype(np.float32))
    a[:] = np.arange(SIZE[0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(a)), a)
    assert a.copy().base is None


def test_threads_never_share_it() -> None:
    failed = []

    def work(k: int) -> None:
        for _ in range(60):
            a = arena.empty(SIZE, np.dtype(np.float32))
            a[:] = k
            b = arena.empty(SIZE, np.dtype(np.float32))
            b[:] = -k
            if not ((a == k).all() and (b == -k).all()):
                failed.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


def test_a_training_step_keeps_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that the user holds do not change when the memory of others is used again."""
    monkeypatch.setattr(arena, "LEAST", 1024)
    monkeypatch.setattr(blocks, "BLOCK", 50)
    monkeypatch.setattr(blocks, "SHARED", 1)
    w = mg.tensor(np.linspace(-1, 1, 900).reshape(30, 30), requires_grad=True)
    kept = []
    for _ in range(20):
        w.grad = None
        y = mg.tanh(w * w) + mg.sigmoid(w)
        y.sum().backward()
        kept.append((y, y.numpy().copy(), w.grad, w.grad.numpy().copy(), y.numpy()[3:5], y.numpy()[3:5].copy()))
    for y, value, grad, slope, part, numbers in kept:
        np.testing.assert_array_equal(y.numpy(), value)
        np.testing.assert_array_equal(grad.numpy(), slope)
        np.testing.assert_array_equal(part, numbers)


@pytest.mark.parametrize("out", [False, True])
def test_sums_of_gradients(out: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 50)
    monkeypatch.setattr(blocks, "SHARED", 1)
    monkeypatch.setattr(blocks, "SINGLE", 1)
    for a, b in (
        (np.arange(600.0).reshape(20, 30), np.ones((20, 30))),
        (np.ones((30, 20)).T, np.ones((20, 30))),
        (np.ones(7), np.ones(7)),
    ):
        want, given = a + b, a.copy(order="K")
        found = blocks.add(given, b, given if out else None)
        assert (found is given) is out
        np.testing.assert_array_equal(found, want)


def test_a_gradient_in_memory_of_its_own_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "LEAST", 1024)
    monkeypatch.setattr(blocks, "BLOCK", 200)
    monkeypatch.setattr(blocks, "SHARED", 1)
    x = mg.tensor(np.ones((30, 30)), requires_grad=True)
    mg.sigmoid(x).sum().backward()
    assert type(x.grad.numpy().base) is arena.Memory
    y = mg.tensor(np.ones((30, 30)), requires_grad=True)
    z = y + mg.sigmoid(x.detach())
    z.backward(g := mg.ones((30, 30)))
    assert not np.may_share_memory(y.grad.numpy(), g.numpy())


def cut_small(m: pytest.MonkeyPatch, threads: int = 2) -> None:
    m.setattr(blocks, "BLOCK", 64)
    m.setattr(blocks, "SHARED", 1)
    m.setattr(blocks, "SINGLE", 1)
    m.setattr("minigrad.threads.THREADS", threads)


@pytest.mark.parametrize("lay", [np.ascontiguousarray, transposed])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_rule_returns_is_added_piece_by_piece(lay: Any, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bits of the sum of whole arrays, with nothing written to a gradient that somebody else holds."""
    x = lay(np.random.default_rng(0).normal(size=(37, 29)).astype("float32"))
    seed = lay(np.cos(np.arange(x.size)).reshape(x.shape).astype("float32"))
    functions = {
        "rules only": lambda x: fused.gelu(x) * mg.sigmoid(x) + x * x,
        "passed on first": lambda x: x + mg.tanh(x) * x,  # what x receives first is the seed itself
        "passed on last": lambda x: mg.tanh(x) + x,
        "a larger result": lambda x: x * mg.tensor(np.ones((2, 1, 1), "float32")) + x * x,
        "another dtype": lambda x: mg.sum(x * mg.tensor(np.ones(x.shape))) + x * x,
        "where": lambda x: mg.where(x > 0, mg.log(mg.abs(x)) * x, x) * x,
    }

    def gradient(f: Any) -> Any:
        t = mg.tensor(x, requires_grad=True)
        y = f(t)
        given = np.broadcast_to(seed, y.shape).astype(y.dtype)
        kept = given.copy()
        (g,) = mg.gradients(y, [t], mg.asarray(given))
        np.testing.assert_array_equal(given, kept)
        return g.numpy()

    for name, f in functions.items():
        whole = gradient(f)
        with monkeypatch.context() as m:
            cut_small(m, threads)
            got = gradient(f)
        assert got.dtype == whole.dtype
        np.testing.assert_array_equal(got, whole, err_msg=name)


def test_rules_are_added_in_the_memory_of_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)
    seen = []
    add_result = blocks.add_result

    def spied(total: Any, f: Any, *args: Any, out: Any = None) -> Any:
        result = add_result(total, f, *args, out=out)
        seen.append((out is None, result is total))
        return result

    monkeypatch.setattr(blocks, "add_result", spied)
    x = mg.tensor(np.linspace(-1, 1, 999, dtype="float32"), requires_grad=True)
    mg.sum(x * x + mg.tanh(x) + mg.exp(x)).backward()
    assert seen == [(True, False), (False, True), (False, True)]
