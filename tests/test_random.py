"""Random tensors: reproducible, of the right shape and dtype, and differentiable where they are reparameterised."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minigrad as mg

DRAWS = {
    "normal": lambda g: mg.random.normal((3, 2), generator=g),
    "scaled": lambda g: mg.random.normal(4, 2.0, 3.0, generator=g),
    "uniform": lambda g: mg.random.uniform((3,), -1.0, 1.0, generator=g),
    "bernoulli": lambda g: mg.random.bernoulli(0.5, 20, generator=g),
    "randint": lambda g: mg.random.randint(0, 100, (5,), generator=g),
    "permutation": lambda g: mg.random.permutation(20, generator=g),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_seed_means_the_same_numbers(draw):
    mg.manual_seed(3)
    first, second = draw(None).numpy().copy(), draw(None).numpy().copy()
    mg.manual_seed(3)
    assert_array_equal(draw(None).numpy(), first)
    assert_array_equal(draw(None).numpy(), second)
    assert_array_equal(draw(mg.random.generator(3)).numpy(), first)
    mg.manual_seed(4)
    assert not np.array_equal(draw(None).numpy(), first)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_generator_of_ones_own_leaves_the_global_one_alone(draw):
    mg.manual_seed(3)
    expected = mg.random.normal(3).numpy()
    mg.manual_seed(3)
    draw(mg.random.generator(9))
    assert_array_equal(mg.random.normal(3).numpy(), expected)


@pytest.mark.parametrize("shape", [(), 3, (3,), (2, 0), (2, 3)])
def test_shapes_and_dtypes(shape):
    full = (shape,) if isinstance(shape, int) else shape
    for make in (mg.random.normal, mg.random.uniform):
        assert make(shape).shape == full
        assert make(shape).dtype == np.float32
        assert make(shape, dtype="float64").dtype == np.float64
        assert type(make(shape).data) is np.ndarray
        assert make(shape, requires_grad=True).is_leaf
    assert mg.random.bernoulli(0.5, shape).shape == full
    assert mg.random.randint(0, 5, shape).dtype == np.int64


@pytest.mark.parametrize(
    ("loc", "scale"), [(1.0, 2.0), (np.float64(1), np.float64(2)), (np.ones(3), np.array([2.0, 2.0, 2.0]))]
)
def test_normal_with_moments_is_a_leaf_in_the_default_dtype(loc, scale):
    x = mg.random.normal(3, loc, scale, generator=mg.random.generator(0), requires_grad=True)
    assert (x.dtype, x.node.dtype, x.shape, x.is_leaf, x.requires_grad) == (np.float32, np.float32, (3,), True, True)
    assert_allclose(x.numpy(), 1 + 2 * np.random.default_rng(0).standard_normal(3), rtol=1e-6)


def test_distributions():
    g = mg.random.generator(0)
    n = 200_000
    x = mg.random.normal(n, 3.0, 2.0, generator=g, dtype="float64").numpy()
    assert abs(x.mean() - 3) < 0.03
    assert abs(x.std() - 2) < 0.03
    u = mg.random.uniform(n, -1.0, 3.0, generator=g).numpy()
    assert -1 <= u.min() < -0.99
    assert 2.99 < u.max() <= 3
    b = mg.random.bernoulli(mg.tensor([0.0, 0.25, 1.0]), (n, 3), generator=g).numpy()
    assert set(np.unique(b)) == {0.0, 1.0}
    assert_allclose(b.mean(0), [0, 0.25, 1], atol=0.005)
    assert sorted(set(mg.random.randint(2, 5, (n,), generator=g).tolist())) == [2, 3, 4]
    assert sorted(set(mg.random.randint(3, shape=(n,), generator=g).tolist())) == [0, 1, 2]


@pytest.mark.parametrize("p", [-0.1, 1.5, [0.5, 2.0], float("nan")])
def test_bernoulli_outside_its_range(p):
    with pytest.raises(mg.ShapeError, match=r"probabilities must lie in \[0, 1\]"):
        mg.random.bernoulli(p)


def test_the_reparameterised_normal():
    loc, scale = mg.tensor(np.zeros((2, 1)), requires_grad=True), mg.tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    x = mg.random.normal(loc=loc, scale=scale, generator=mg.random.generator(1))
    noise = np.random.default_rng(1).standard_normal((2, 3))
    assert x.dtype == np.float64
    assert_allclose(x.numpy(), noise * [1.0, 2.0, 3.0])
    x.sum().backward()
    assert_array_equal(loc.grad.numpy(), np.full((2, 1), 3.0))
    assert_allclose(scale.grad.numpy(), noise.sum(0))
    assert mg.random.normal((4, 1, 1), loc=loc).shape == (4, 2, 1)


def test_permutation_of_rows_is_differentiable():
    x = mg.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
    y = mg.random.permutation(x, generator=mg.random.generator(0))
    order = np.random.default_rng(0).permutation(3)
    assert_array_equal(y.numpy(), x.numpy()[order])
    (y * mg.tensor([[1.0], [10.0], [100.0]])).sum().backward()
    assert_array_equal(x.grad.numpy()[order], [[1.0], [10.0], [100.0]])
    assert mg.random.permutation(np.int64(3)).shape == (3,)


def test_generators_in_threads_are_independent():
    found = {}

    def draw(k):
        g = mg.random.generator(k)
        found[k] = np.concatenate([mg.random.normal(10, generator=g).numpy() for _ in range(50)])

    threads = [threading.Thread(target=draw, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(4):
        assert_allclose(found[k], np.random.default_rng(k).standard_normal(500), rtol=1e-6)
