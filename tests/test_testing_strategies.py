"""What the strategies draw is what NumPy and minigrad take, all kinds of it, and properties hold on it."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.testing import check_grads, gradient_property, strategies
from minigrad.testing.strategies import ConvConfig, EinsumCase

few = settings(max_examples=40, suppress_health_check=list(HealthCheck))


@few
@given(strategies.einsum_equations())
def test_einsum_equations(case: EinsumCase) -> None:
    rng = np.random.default_rng(0)
    operands = [rng.uniform(0.5, 1.5, shape) for shape in case.shapes]
    expected = np.einsum(case.equation, *operands)
    assert np.allclose(mg.einsum(case.equation, *operands), expected, rtol=1e-12, atol=0)
    if expected.size <= 27:
        check_grads(lambda *a: mg.einsum(case.equation, *a), *operands, order=1)


@pytest.mark.parametrize("what", ["diagonal", "transpose", "three", "outer"])
def test_einsum_equations_of_each_kind_are_drawn(what: str) -> None:
    def is_there(case: EinsumCase) -> bool:
        words, out = case.equation.split("->")
        parts = words.split(",")
        return {
            "diagonal": any(len(set(part)) < len(part) for part in parts),
            "transpose": len(out) > 1 and parts == [out[::-1]],
            "three": len(parts) == 3 and all(parts),
            "outer": len(parts) == 2 and not set(parts[0]) & set(parts[1]) and len(out) > 1,
        }[what]

    case = find(strategies.einsum_equations(), is_there, settings=settings(max_examples=5000, database=None))
    assert set(case.equation) <= set(string.ascii_lowercase + ",->")


@few
@given(st.data())
def test_indices(data: st.DataObject) -> None:
    shape = data.draw(strategies.shapes(max_dims=3, max_side=3))
    index = data.draw(strategies.indices(shape))
    x = np.random.default_rng(0).normal(size=shape)
    assert np.array_equal(mg.asarray(x)[index].numpy(), x[index])
    check_grads(lambda x: mg.sin(x)[index], x, order=1) if x.size and x[index].size else None


@pytest.mark.parametrize("kind", [int, slice, np.ndarray, type(None), type(...)])
def test_indices_of_each_kind_are_drawn(kind: type) -> None:
    def is_there(index: Any) -> bool:
        return any(isinstance(part, kind) for part in (index if isinstance(index, tuple) else (index,)))

    find(strategies.indices((3, 2)), is_there, settings=settings(max_examples=2000, database=None))


@few
@given(st.sampled_from([1, 2]).flatmap(lambda dims: st.tuples(st.just(dims), strategies.conv_configs(dims))))
def test_conv_configs(drawn: tuple[int, ConvConfig]) -> None:
    dims, config = drawn
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=config.x), rng.normal(size=config.weight)
    conv = {1: mg.conv1d, 2: mg.conv2d}[dims]
    out = conv(x, weight, **config.options)
    assert out.ndim == dims + 2
    assert out.size > 0
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.functional, f"conv{dims}d")(torch.tensor(x), torch.tensor(weight), **config.options)
    assert np.allclose(out, theirs.numpy(), rtol=1e-10, atol=1e-10)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(strategies.modules())
def test_modules(model: Any) -> None:
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert all(p.dtype == np.float64 for p in model.parameters())
    assert model(mg.asarray(x)).shape[0] == 4
    check_grads(model, x, order=1)


def test_tensors_from_their_type() -> None:
    assert isinstance(find(st.from_type(mg.Tensor), lambda t: t.ndim == 2), mg.Tensor)


# ---- gradient_property --------------------------------------------------------------------------------------------------------


def test_property_of_an_existing_function() -> None:
    seen: list[Any] = []

    def spy(a: Any) -> Any:
        seen.append((a.shape, a.dtype))
        return mg.softplus(a)

    gradient_property(spy, dtype=["float64", "float32"], max_examples=30)()
    assert len({shape for shape, _ in seen}) > 3
    assert {np.dtype("float64"), np.dtype("float32")} <= {dtype for _, dtype in seen}


@gradient_property(low=0.25, high=4.0, max_examples=30)
def test_property_of_two_arrays(a: Any, b: Any) -> Any:
    return mg.log(a * b) / b


@gradient_property(shape=(2, 3), n=st.integers(1, 3), max_examples=20)
def test_property_with_other_arguments(a: Any, n: int) -> Any:
    assert a.shape == (2, 3)
    return a**n


@gradient_property(max_examples=20)
def test_property_on_kinks(a: Any) -> Any:
    return mg.relu(a) - mg.abs(mg.clip(a, -1.0, 1.0))


def test_wrong_property_is_found_and_shrunk() -> None:
    bad = mg.primitive(lambda a, b: a * b, lambda g, y, a, b: g * b, lambda g, y, a, b: -g * a, name="bad")
    with pytest.raises(AssertionError) as info:
        gradient_property(bad)()
    error: Any = info.value
    notes = "\n".join(error.__notes__)
    assert error.pattern == "sign"
    assert error.argument == "b"
    assert "_drawn={'a': array(" in notes
    assert "reproduce_failure" in notes
    assert ("drawing: " in notes) == (getattr(error, "drawing", None) is not None)


def test_property_refuses_what_it_cannot_fill() -> None:
    with pytest.raises(TypeError, match="tanh has no parameter b; it has a"):
        gradient_property(mg.tanh, b=3)
    with pytest.raises(TypeError, match="no positional parameters"):
        gradient_property(lambda *, a: a)
