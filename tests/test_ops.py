"""Every property of every row of the operation table, one parametrised test per property.

The rows come from ``minigrad.primitive.TABLE``, the places where each is tested from ``tests.domains``.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import minigrad.ops
from minigrad.graph import Absent, Node, ancestors
from minigrad.ops import fused
from minigrad.primitive import TABLE
from minigrad.tensor import wrap
from minigrad.testing import check_grads, strategies
from tests.domains import DOMAINS, Case, Domain

for package in ("minigrad.ops", "minigrad.nn"):
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")

EXACT, CENTRAL = 1e-12, 1e-7
"""Relative errors allowed against the complex step and against central differences."""
drawn = settings(max_examples=12)

ROWS = [name for name in TABLE if name in DOMAINS]
SMOOTH = [name for name in ROWS if any(operand.differentiable for operand in DOMAINS[name].operands)]
ELEMENTWISE = [name for name in SMOOTH if TABLE[name].elementwise]


# ---- samples: an operation, operands drawn from its domain, parameters ------------------------------------------------------


def functions(name: str) -> list[Callable[..., Any]]:
    """What runs the row ``name``: the public function of that name, then the operation itself."""
    modules = [module for key, module in sys.modules.items() if key.startswith("minigrad.") and module is not None]
    public = [f for f in (getattr(minigrad.ops, name, None), getattr(mg, name, None)) if f is not None]
    return public + [f for m in modules for f in vars(m).values() if getattr(f, "op", None) is TABLE[name] and callable(f)]


def takes_a_sequence(f: Callable[..., Any]) -> bool:
    return next(iter(inspect.signature(f).parameters), "") == "arrays"


@dataclass
class Sample:
    name: str
    f: Callable[..., Any]
    operands: list[Any]
    variables: list[int]
    params: dict[str, Any]

    def __call__(self, *values: Any) -> Any:
        """The operation, with ``values`` in the places of its differentiable operands."""
        operands = list(self.operands)
        for k, value in zip(self.variables, values):
            operands[k] = value
        return self.f(operands, **self.params) if takes_a_sequence(self.f) else self.f(*operands, **self.params)

    @property
    def __name__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.params.items())})"

    @property
    def points(self) -> list[Any]:
        return [self.operands[k] for k in self.variables]

    def leaves(self) -> list[mg.Tensor]:
        return [mg.tensor(point, requires_grad=True) for point in self.points]


def sample(name: str, case: Case, seed: int) -> Sample:
    rng, domain = np.random.default_rng(seed), DOMAINS[name]
    shared = len(domain.operands) == 1 and len(case.shapes) > 1
    recipes = domain.operands * len(case.shapes) if shared else domain.operands
    assert len(recipes) == len(case.shapes), f"{name}: {len(recipes)} operands but {len(case.shapes)} shapes in {case}"
    operands = [recipe.draw(rng, shape) for recipe, shape in zip(recipes, case.shapes)]
    variables = [k for k, recipe in enumerate(recipes) if recipe.differentiable and operands[k] is not None]
    for f in functions(name):
        try:
            given = [operands] if takes_a_sequence(f) else operands
            inspect.signature(f).bind(*given, **case.params)
        except TypeError:
            continue
        return Sample(name, f, operands, variables, case.params)
    raise AssertionError(f"{name}: no function takes {len(operands)} operands and {case.params}")


def cases(domain: Domain) -> tuple[Case, ...]:
    """An entry's own cases; for elementwise rows also equal shapes, 0-d, size 0, and operands that broadcast."""
    n = len(domain.operands)
    if domain.cases and not any(d is domain for d in (DOMAINS[name] for name in ELEMENTWISE)):
        return domain.cases
    broadcast = ((2, 1), (3,), (4, 1, 1))[:n]
    shapes = [((2, 3),) * n, ((),) * n, ((0, 2),) * n, broadcast, broadcast[::-1]] + ([((), (2, 3), (1,))[:n]] if n > 1 else [])
    return (*domain.cases, *(Case(tuple(s)) for s in dict.fromkeys(shapes)))


def samples(name: str, dtype: Any = None) -> Iterator[Sample]:
    for k, case in enumerate(cases(DOMAINS[name])):
        s = sample(name, case, seed=k)
        if dtype is not None:
            s.operands = [a.astype(dtype) if getattr(a, "dtype", np.dtype(int)).kind == "f" else a for a in s.operands]
        yield s


def outputs(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def floating(result: Any) -> list[mg.Tensor]:
    return [out for out in outputs(result) if out.requires_grad]


def upstream(outs: Sequence[Any], seed: int = 1) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.uniform(0.5, 1.5, out.shape) * rng.choice([-1, 1], out.shape), out.dtype) for out in outs]


def raw(result: Any) -> list[Any]:
    return [getattr(out, "_data", out) for out in outputs(result)]


def same(x: Any, y: Any) -> bool:
    x, y = np.asarray(x), np.asarray(y)
    return x.shape == y.shape and x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")


def nodes(result: Any, name: str) -> list[Node]:
    """The nodes that the row ``name`` recorded on the way to ``result``."""
    roots = [out.node for out in floating(result)]
    return sorted((n for n in ancestors(roots) if n.op is not None and n.op.name == name), key=lambda n: n.order)


# ---- the table -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE)
def test_every_operation_has_a_domain(name: str) -> None:
    if name not in DOMAINS:
        pytest.fail(f"{name} has no entry in tests/domains: say there where it can be tested")


def test_every_domain_is_of_an_operation() -> None:
    assert set(DOMAINS) <= set(TABLE)


@pytest.mark.parametrize("name", ROWS)
def test_domain_matches_the_rules(name: str) -> None:
    """An operand is differentiable in the domain where the row has a rule for it."""
    rules = [rule is not None for rule in TABLE[name].rules]
    assert [operand.differentiable for operand in DOMAINS[name].operands] == rules[: len(DOMAINS[name].operands)]


@pytest.mark.parametrize("name", ROWS)
def test_domain_reaches_the_operation(name: str) -> None:
    """A case that never ran its row would test nothing."""
    if name not in SMOOTH:
        with mg.inspect():
            ran = [
                getattr(out.node.op, "name", "")
                for s in samples(name)
                for out in outputs(s.f(*map(mg.asarray, s.operands), **s.params))
            ]
        assert set(ran) == {name}
        return
    assert any(nodes(s(*s.leaves()), name) for s in samples(name))


# ---- gradients ---------------------------------------------------------------------------------------------------------------


def check(s: Sample) -> None:
    domain = DOMAINS[s.name]
    if domain.analytic:
        check_grads(s, *s.points, order=domain.order, oracle="complex", rtol=EXACT)
    else:
        check_grads(s, *s.points, order=domain.order, oracle="central", rtol=CENTRAL)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients(name: str) -> None:
    """To the domain's order, 2 unless it says otherwise."""
    for s in samples(name):
        if s.points:
            check(s)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_gradients_for_shapes_that_broadcast(name: str) -> None:
    @drawn
    @given(strategies.shapes_that_broadcast(len(DOMAINS[name].operands)), st.integers(0, 2**32 - 1))
    def holds(shapes: tuple[tuple[int, ...], ...], seed: int) -> None:
        check(sample(name, Case(shapes), seed))

    holds()


@pytest.mark.parametrize("name", ["sum", "mean", "var", "max", "min", "prod", "logsumexp"])
def test_gradients_for_any_axes(name: str) -> None:
    @drawn
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        shape = data.draw(st.lists(st.integers(1, 3), max_size=3).map(tuple), "shape")
        axis = data.draw(strategies.axes(len(shape)), "axis")
        params = {"axis": axis, "keepdims": data.draw(st.booleans(), "keepdims")}
        s = sample(name, Case((shape,), params), data.draw(st.integers(0, 999), "seed"))
        check(s)
        np.testing.assert_allclose(
            raw(s(*s.leaves()))[0], NUMPY.get(name, getattr(np, name, None))(*s.points, **params), rtol=1e-13
        )

    holds()


@pytest.mark.parametrize("name", SMOOTH)
def test_pass_on_arrays_is_pass_on_tensors(name: str) -> None:
    """Bit for bit: the gradients that can be differentiated again are the ones that cannot."""
    for s in samples(name):
        if not s.points:
            continue
        found = []
        for create in (False, True):
            leaves = s.leaves()
            outs = floating(s(*leaves))
            found.append(mg.gradients(outs, leaves, upstream(outs), create_graph=create, allow_unused=True))
        for plain, recorded in zip(*found):
            assert (plain is None) == (recorded is None)
            assert plain is None or same(plain._data, recorded._data)


@pytest.mark.parametrize("name", SMOOTH)
def test_tensors_and_arrays_give_the_same_values(name: str) -> None:
    for s in samples(name):
        for on_tensors, on_arrays in zip(raw(s(*s.leaves())), raw(s(*s.points))):
            assert same(on_tensors, on_arrays)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda a: np.asfortranarray(a),
    "reversed": lambda a: np.array(a[..., ::-1])[..., ::-1],
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SMOOTH)
def test_memory_layout_does_not_matter(name: str, layout: str) -> None:
    def laid(a: Any) -> Any:
        return LAYOUTS[layout](a) if getattr(a, "ndim", 0) else a

    def run(s: Sample, change: Callable[[Any], Any]) -> tuple[list[Any], list[Any]]:
        leaves = [mg.asarray(change(point)).requires_grad_() for point in s.points]
        fixed = Sample(s.name, s.f, [change(a) for a in s.operands], s.variables, s.params)
        outs = floating(fixed(*leaves))
        return raw(outs), raw(mg.gradients(outs, leaves, [change(u) for u in upstream(outs)], allow_unused=True))

    for s in samples(name):
        if not s.points:
            continue
        for plain, other in zip(itertools.chain(*run(s, lambda a: a)), itertools.chain(*run(s, laid))):
            assert (plain is None) == (other is None)
            if plain is not None:
                np.testing.assert_allclose(other, plain, rtol=1e-12, atol=1e-14)


# ---- memory ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMOOTH)
def test_nothing_is_changed_and_no_memory_is_shared(name: str) -> None:
    """Operands, outputs and upstream gradients stay as they are; each gradient returned has memory of its own."""
    for s in samples(name):
        leaves = s.leaves()
        held = [a for a in s.operands if isinstance(a, np.ndarray)] + [leaf._data for leaf in leaves]
        before = [a.copy() for a in held]
        result = s(*leaves)
        outs, values = floating(result), raw(result)
        ups = upstream(outs)
        everything = [*held, *values, *ups]
        before += [a.copy() for a in (*values, *ups)]
        given = [mg.asarray(u) for u in ups]
        found = [g for g in mg.gradients(outs, leaves, given, retain_graph=True, allow_unused=True) if g is not None]
        for out, u in zip(outs, given):
            out.backward(u, retain_graph=True)
        assert all(same(a, b) for a, b in zip(everything, before, strict=True))
        gradients = [g._data for g in found] + [leaf.grad._data for leaf in leaves if leaf.grad is not None]
        for k, g in enumerate(gradients):
            for other in (*gradients[:k], *everything):
                assert not np.shares_memory(g, other)


@pytest.mark.parametrize("name", SMOOTH)
def test_adding_to_a_gradient_changes_no_other(name: str) -> None:
    """What a user does to one gradient in place stays there."""
    for s in samples(name):
        leaves = s.leaves()
        outs = floating(s(*leaves))
        found = [g for g in mg.gradients(outs, leaves, upstream(outs), retain_graph=True, allow_unused=True) if g is not None]
        copies = [np.array(g._data) for g in found]
        for k, g in enumerate(found):
            g._data[...] = 7.0
            assert all(same(other._data, copy) for other, copy in zip(found[k + 1 :], copies[k + 1 :]))
        again = [g for g in mg.gradients(outs, leaves, upstream(outs), allow_unused=True) if g is not None]
        assert all(same(g._data, copy) for g, copy in zip(again, copies, strict=True))


# ---- dtypes ----------------------------------------------------------------------------------------------------------------

NAMES_A_DTYPE = {"astype"}
NO_HALF = {"cholesky", "cofactors", "det", "eigh", "inv", "pinv", "qr", "slogdet", "solve", "svd"}
"""LAPACK has no half precision."""


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("name", [name for name in SMOOTH if name not in NAMES_A_DTYPE])
def test_dtype_is_kept(name: str, dtype: str) -> None:
    for s in samples(name, dtype):
        leaves = s.leaves()
        if dtype == "float16" and name in NO_HALF:
            with pytest.raises(mg.errors.DtypeError, match=f"{name}.*float16"):
                s(*leaves)
            continue
        result = s(*leaves)
        outs = floating(result)
        assert [out.dtype for out in outs] == [np.dtype(dtype)] * len(outs)
        for create in (False, True):
            for g, x in zip(
                mg.gradients(outs, leaves, upstream(outs), create_graph=create, retain_graph=True, allow_unused=True), leaves
            ):
                assert g is None or (g.dtype == x.dtype and g.shape == x.shape)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("name", [name for name in SMOOTH if TABLE[name].exact])
def test_exact_rows_return_the_outputs_shape_and_dtype(name: str, dtype: str) -> None:
    """The backward pass does not look at what their rules return."""
    for s in samples(name, dtype):
        for node in nodes(s(*s.leaves()), name):
            (g,) = upstream([node])
            for i, rule in node.op.pulls:
                if node.parents[i] is None:
                    continue
                part = rule(g, *node.saved, *node.params)
                assert part.shape == node.shape
                assert part.dtype == node.dtype


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if len(DOMAINS[name].operands) > 1])
def test_operands_of_two_dtypes(name: str) -> None:
    """The output has the wider dtype, each gradient that of its operand."""
    s = next(samples(name))
    if len(s.points) < 2:
        s = list(samples(name))[-1]
    for narrow in range(len(s.points)):
        leaves = [
            mg.tensor(p.astype("float32" if k == narrow else "float64"), requires_grad=True) for k, p in enumerate(s.points)
        ]
        (out,) = floating(s(*leaves))
        assert out.dtype == np.float64
        for create in (False, True):
            found = mg.gradients(out, leaves, upstream([out]), create_graph=create, retain_graph=True)
            assert [g.dtype for g in found] == [x.dtype for x in leaves]


@pytest.mark.parametrize("number", [2, 2.0])
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "remainder", "where"])
def test_python_numbers_do_not_widen(name: str, number: float) -> None:
    x = mg.tensor(np.array([0.5, 1.5], "float16"), requires_grad=True)
    f = getattr(mg, name)
    for y in (f(x > 1, x, number), f(x > 1, number, x)) if name == "where" else (f(x, number), f(number, x)):
        assert y.dtype == np.float16
        for create in (False, True):
            (g,) = mg.gradients(y, x, np.ones(2), create_graph=create, retain_graph=True)
            assert g.dtype == np.float16
            assert np.isfinite(g._data).all()


# ---- needs -----------------------------------------------------------------------------------------------------------------


def poor(node: Node, i: int, kept: set[int] | frozenset[int]) -> list[Any]:
    """A node's values with all but ``kept`` replaced as after forward."""
    return [v if k in kept or not hasattr(v, "shape") else Absent(v, f"value {k}") for k, v in enumerate(node.saved)]


@pytest.mark.parametrize("name", SMOOTH)
def test_needs_is_sufficient(name: str) -> None:
    """Each rule gives the same bits when it sees nothing but what the row says that it reads."""
    for s in samples(name):
        for node in nodes(s(*s.leaves()), name):
            (g,) = upstream([node])
            for i, rule in node.op.pulls:
                if node.parents[i] is None:
                    continue
                full = rule(g, *node.saved, *node.params)
                left = poor(node, i, node.op.needs[i])
                assert same(rule(g, *left, *node.params), full)
                tensors = [wrap(v) if isinstance(v, np.ndarray) else v for v in left]
                again = rule(wrap(g), *tensors, *node.params)
                assert same(getattr(again, "_data", again), full)
                if node.op.mask is not None:
                    assert same(node.op.mask(i, *left[1:]), node.op.mask(i, *node.saved[1:]))


@pytest.mark.parametrize("name", [name for name in SMOOTH if any(TABLE[name].needs)])
def test_needs_is_minimal(name: str) -> None:
    """Without any one letter some rule fails or returns something else somewhere."""
    unread = {(i, k) for i, needs in enumerate(TABLE[name].needs) for k in needs if TABLE[name].rules[i] is not None}
    for s in samples(name):
        for node in nodes(s(*s.leaves()), name):
            (g,) = upstream([node])
            for i, k in list(unread):
                if i >= len(node.parents) or node.parents[i] is None:
                    continue
                full = node.op.rules[i](g, *node.saved, *node.params)
                try:
                    if same(node.op.rules[i](g, *poor(node, i, node.op.needs[i] - {k}), *node.params), full):
                        continue
                except Exception:
                    pass
                unread.discard((i, k))
    assert not unread, f"{name}: rule, value that it does not read: {sorted(unread)}"


# ---- values ----------------------------------------------------------------------------------------------------------------


def _numpy_logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(a), axis=axis, keepdims=keepdims))


def _numpy_softmax(a: Any, axis: int = -1, temperature: float = 1.0) -> Any:
    e = np.exp(a / temperature)
    return e / e.sum(axis, keepdims=True)


def _erf(a: Any) -> Any:
    import math

    return np.vectorize(math.erf, otypes=[float])(a)


NUMPY: dict[str, Callable[..., Any]] = {
    "acos": np.arccos, "acosh": np.arccosh, "asin": np.arcsin, "asinh": np.arcsinh, "atan": np.arctan, "atan2": np.arctan2,
    "atanh": np.arctanh, "bitwise_invert": np.invert, "relu": lambda a: np.where(a > 0, a, 0.0),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)), "softplus": lambda a: np.log(1 + np.exp(a)), "erf": _erf,
    "clip": lambda a, lo, hi: a if lo is None and hi is None else np.clip(a, lo, hi), "logsumexp": _numpy_logsumexp,
    "softmax": _numpy_softmax, "log_softmax": lambda *args, **params: np.log(_numpy_softmax(*args, **params)),
    "argsort": lambda a, axis=-1, descending=False: np.argsort(-a if descending else a, axis=axis, kind="stable"),
    "cumulative_sum": lambda a, axis, include_initial=False: np.cumulative_sum(
        a.reshape(-1) if axis is None else a, axis=0 if axis is None else axis, include_initial=include_initial
    ),
    "cumulative_prod": lambda a, axis, include_initial=False: np.cumulative_prod(
        a.reshape(-1) if axis is None else a, axis=0 if axis is None else axis, include_initial=include_initial
    ),
    "getitem": lambda a, index: a[index], "to_device": lambda a, target, origin: a, "astype": lambda a, dtype: a.astype(dtype),
    "discretize": lambda a, dtype: a.astype(dtype), "einsum": lambda a, b, equation: np.einsum(equation, a, b),
    "cholesky": lambda a: np.linalg.cholesky((a + a.mT) / 2), "eigh": lambda a: np.linalg.eigh((a + a.mT) / 2),
    "svd": lambda a: np.linalg.svd(a, full_matrices=False),
    "vector_norm": np.linalg.vector_norm,
}  # fmt: skip
"""What NumPy calls otherwise, has in another form, or lacks."""
WITH_NUMPY = {name: NUMPY.get(name) or getattr(np, name, None) or getattr(np.linalg, name, None) for name in ROWS}
WITH_NUMPY = {name: f for name, f in WITH_NUMPY.items() if f is not None and name not in ("place", "cross")}


@pytest.mark.parametrize("name", WITH_NUMPY)
def test_values_are_numpys(name: str) -> None:
    f: Any = WITH_NUMPY[name]
    for s in samples(name):
        got = raw(s(*s.points))
        want = outputs(f(s.operands, **s.params) if takes_a_sequence(s.f) else f(*s.operands, **s.params))
        for x, y in zip(got, want, strict=True):
            assert np.shape(x) == np.shape(y)
            assert np.asarray(x).dtype == np.asarray(y).dtype
            np.testing.assert_allclose(x, y, rtol=1e-13, atol=1e-15)


def test_values_of_compositions() -> None:
    rng = np.random.default_rng(0)
    a = rng.permutation(np.arange(24.0)).reshape(2, 3, 4)
    for axis in (0, 1, -1):
        assert same(mg.sort(a, axis), np.sort(a, axis))
        assert same(mg.sort(a, axis, descending=True), -np.sort(-a, axis))
        values, positions = mg.topk(a, 2, axis)
        assert same(values, np.take(-np.sort(-a, axis), [0, 1], axis))
        assert same(np.take_along_axis(a, positions, axis), values)
        low, _ = mg.topk(a, 1, axis, largest=False)
        assert same(low, a.min(axis, keepdims=True))


def test_gradients_of_compositions() -> None:
    rng = np.random.default_rng(0)
    a = rng.permutation(np.arange(24.0)).reshape(2, 3, 4)
    for f in (
        lambda x: mg.sort(x, 1),
        lambda x: mg.sort(x, descending=True),
        lambda x: mg.topk(x, 2, 0)[0] ** 2,
        lambda x: mg.topk(x, 2, -1, largest=False)[0] * x[..., :2],
    ):
        check_grads(f, a, rtol=CENTRAL)


# ---- kinks, ties and extremes ------------------------------------------------------------------------------------------------

INF, NAN = np.inf, np.nan
F = Callable[..., Any]
KINKS: list[tuple[str, F, list[Any], list[Any], str]] = [
    # what, function, where, gradients, the same in PyTorch ("" where PyTorch gives something else, or has no such function)
    ("relu", mg.relu, [[-1.0, 0.0, 1.0]], [[0, 0, 1]], "torch.relu(a)"),
    ("leaky_relu", lambda a: fused.leaky_relu(a, 0.5), [[-1.0, 0.0, 1.0]], [[0.5, 0.5, 1]], "torch.nn.functional.leaky_relu(a, 0.5)"),
    ("elu", lambda a: fused.elu(a, 3.0), [[0.0, 1.0]], [[3, 1]], "torch.nn.functional.elu(a, 3.0)"),
    ("hardtanh", fused.hardtanh, [[-1.0, 0.5, 1.0, 2.0]], [[0, 1, 0, 0]], "torch.nn.functional.hardtanh(a)"),
    ("abs", mg.abs, [[-2.0, 0.0, 2.0]], [[-1, 0, 1]], "torch.abs(a)"),
    ("sign", mg.sign, [[-2.0, 0.0]], [[0, 0]], "torch.sign(a)"),
    ("floor", mg.floor, [[1.0, 1.5]], [[0, 0]], "torch.floor(a)"),
    ("round", mg.round, [[0.5, 1.0]], [[0, 0]], "torch.round(a)"),
    ("maximum, tie", mg.maximum, [[1.0, 2.0, 1.0], [1.0, 1.0, 2.0]], [[0.5, 1, 0], [0.5, 0, 1]], "torch.maximum(a, b)"),
    ("minimum, tie", mg.minimum, [[1.0, 2.0, 1.0], [1.0, 1.0, 2.0]], [[0.5, 0, 1], [0.5, 1, 0]], "torch.minimum(a, b)"),
    ("max, tie", mg.max, [[1.0, 3.0, 3.0]], [[0, 0.5, 0.5]], "torch.amax(a)"),
    ("min, tie", lambda a: mg.min(a, axis=0), [[[1.0, 2.0], [1.0, 3.0]]], [[[0.5, 1], [0.5, 0]]], "torch.amin(a, 0)"),
    ("clip, bounds", lambda a: mg.clip(a, -1.0, 1.0), [[-1.0, 1.0, 1.5]], [[1, 1, 0]], "torch.clamp(a, -1.0, 1.0)"),
    (
        "clip, array bounds", mg.clip, [[1.0, 3.0, 0.0, 4.0], [1.0] * 4, [3.0] * 4], [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        "torch.clamp(a, b, c)",
    ),
    ("clip, crossed bounds", mg.clip, [[0.0, 2.5], [2.0, 2.0], [1.0, 1.0]], [[0, 0], [0, 0], [1, 1]], "torch.clamp(a, b, c)"),
    ("sqrt at 0", mg.sqrt, [[0.0, 4.0]], [[INF, 0.25]], "torch.sqrt(a)"),
    ("sqrt(x)**2 at 0", lambda a: mg.sqrt(a) ** 2, [[0.0]], [[NAN]], "torch.sqrt(a) ** 2"),
    ("0 times sqrt at 0", lambda a: mg.sqrt(a) * 0.0, [[0.0]], [[NAN]], "torch.sqrt(a) * 0.0"),
    ("power, base 0", lambda a: a ** mg.asarray(np.array([2.0, 1.0, 0.0, 0.5])), [[0.0] * 4], [[0, 1, 0, INF]],
     "a ** torch.tensor([2.0, 1.0, 0.0, 0.5])"),
    ("power, exponent of 0", mg.power, [[0.0, 0.0], [2.0, 1.0]], [[0, 1], [0, 0]], "torch.pow(a, b)"),
    ("power, exponent 0", mg.power, [[2.0, -3.0], [0.0, 0.0]], [[0, 0], [np.log(2.0), NAN]], "torch.pow(a, b)"),
    ("power, negative base", lambda a: a**3, [[-2.0]], [[12]], "a ** 3"),
    ("power, negative base, exponent", mg.power, [[-2.0], [3.0]], [[12], [NAN]], "torch.pow(a, b)"),
    ("power, number base", lambda a: 0.0**a, [[2.0, 0.0]], [[0, 0]], "torch.pow(0.0, a)"),
    ("power, number base not 0", lambda a: 2.0**a, [[3.0]], [[8 * np.log(2.0)]], "torch.pow(2.0, a)"),
    ("power, number exponent 0", lambda a: a**0, [[0.0, 2.0]], [[0, 0]], "torch.pow(a, 0)"),
    ("power, 0 to 0", mg.power, [[0.0], [0.0]], [[0], [0]], "torch.pow(a, b)"),
    ("remainder", mg.remainder, [[7.5, -7.5], [2.0, 2.0]], [[1, 1], [-3, 4]], "torch.remainder(a, b)"),
    ("fmod", mg.fmod, [[7.5, -7.5], [2.0, 2.0]], [[1, 1], [-3, 3]], "torch.fmod(a, b)"),
    ("where, sqrt not taken", lambda a: mg.where(a > 0, mg.sqrt(a), 0.0), [[0.0, 4.0]], [[0, 0.25]], ""),
    ("where, log not taken", lambda a: mg.where(a > 0, mg.log(a), a), [[0.0, 2.0]], [[1, 0.5]], ""),
    ("where, chain not taken", lambda a: mg.where(a > 0, mg.exp(1 / a) * 2, -a), [[0.0, 1.0]], [[-1, -2 * np.e]], ""),
    ("where, sqrt taken elsewhere", lambda a: mg.where(a > 0, mg.sqrt(a), 0.0) + mg.sqrt(a), [[0.0]], [[INF]], ""),
    ("where, two uses of a branch", lambda a: (lambda u: mg.where(a == 4, u, 0.0) + mg.where(a == 9, u, 0.0))(mg.sqrt(a)),
     [[0.0, 4.0, 9.0]], [[0, 0.25, 1 / 6]], ""),
    ("where, a use before", lambda a: (lambda u: u * 2 + mg.where(a > 0, u, 0.0))(mg.sqrt(a)), [[0.0]], [[INF]], ""),
    ("vector_norm, unit", mg.vector_norm, [[1.0, 0.0]], [[1, 0]], "torch.linalg.vector_norm(a)"),
    ("vector_norm, unit, p=1.5", lambda a: mg.vector_norm(a, 1.5), [[1.0, 0.0]], [[1, 0]], "torch.linalg.vector_norm(a, 1.5)"),
    ("vector_norm, 0, p=-1", lambda a: mg.vector_norm(a, -1), [[0.0, 2.0]], [[0, 0]], ""),
    ("vector_norm, 0 and 1", lambda a: mg.vector_norm(a, 1.5), [[0.0, 1.0, -1.0]], [[0, 2 ** (-1 / 3), -(2 ** (-1 / 3))]],
     "torch.linalg.vector_norm(a, 1.5)"),
    ("svd, equal values, left vectors", lambda a: mg.svd(a).U, [np.eye(2)], [np.full((2, 2), NAN)], ""),
    ("svd, equal values, right vectors", lambda a: mg.svd(a).Vh, [np.eye(2)], [np.full((2, 2), NAN)], ""),
    ("svd, equal values", lambda a: mg.svd(a).S, [2 * np.eye(2)], [np.eye(2)], ""),
    ("eigh, equal values", lambda a: mg.eigh(a).eigenvalues, [2 * np.eye(2)], [np.eye(2)], ""),
    ("prod, no zero", mg.prod, [[2.0, 3.0, 4.0]], [[12, 8, 6]], "torch.prod(a)"),
    ("prod, one zero", mg.prod, [[2.0, 0.0, 4.0]], [[0, 8, 0]], "torch.prod(a)"),
    ("prod, two zeros", mg.prod, [[0.0, 0.0, 4.0]], [[0, 0, 0]], "torch.prod(a)"),
    ("cumulative_prod, zeros", lambda a: mg.cumulative_prod(a, 0), [[2.0, 0.0, 4.0, 0.0]], [[1, 10, 0, 0]], "torch.cumprod(a, 0)"),
    ("hypot at the origin", mg.hypot, [[0.0, 3.0], [0.0, 4.0]], [[0, 0.6], [0, 0.8]], ""),
    ("atan2 at the origin", mg.atan2, [[0.0, 1.0], [0.0, 1.0]], [[0, 0.5], [0, -0.5]], "torch.atan2(a, b)"),
    ("std of equals", mg.std, [[3.0, 3.0, 3.0]], [[0, 0, 0]], "torch.std(a, correction=0)"),
    ("var of equals", mg.var, [[3.0, 3.0, 3.0]], [[0, 0, 0]], "torch.var(a, correction=0)"),
    ("logsumexp, -inf", mg.logsumexp, [[-INF, 0.0, 0.0]], [[0, 0.5, 0.5]], "torch.logsumexp(a, 0)"),
    ("logsumexp, all -inf", mg.logsumexp, [[-INF, -INF]], [[0, 0]], ""),
    ("logsumexp, large", mg.logsumexp, [[1e4, 1e4]], [[0.5, 0.5]], "torch.logsumexp(a, 0)"),
    ("logaddexp, large", mg.logaddexp, [[1e4, -1e4], [1e4, 1e4]], [[0.5, 0], [0.5, 1]], "torch.logaddexp(a, b)"),
    ("logaddexp, -inf", mg.logaddexp, [[-INF], [1.0]], [[0], [1]], "torch.logaddexp(a, b)"),
    ("softmax, large", lambda a: mg.softmax(a)[0], [[1e4, 1e4, -1e4]], [[0.25, -0.25, 0]], "torch.softmax(a, 0)[0]"),
    ("softmax, -inf", lambda a: mg.softmax(a)[0], [[0.0, 0.0, -INF]], [[0.25, -0.25, 0]], "torch.softmax(a, 0)[0]"),
    ("log_softmax, large", lambda a: mg.log_softmax(a)[2], [[1e4, 1e4, -1e4]], [[-0.5, -0.5, 1]], "torch.log_softmax(a, 0)[2]"),
    ("sigmoid, large", mg.sigmoid, [[-1e4, 1e4]], [[0, 0]], "torch.sigmoid(a)"),
    ("softplus, large", mg.softplus, [[-1e4, 1e4]], [[0, 1]], "torch.nn.functional.softplus(a)"),
    ("tanh, large", mg.tanh, [[-1e4, 1e4]], [[0, 0]], "torch.tanh(a)"),
    ("erf, large", mg.erf, [[-1e4, 1e4, INF]], [[0, 0, 0]], "torch.erf(a)"),
    ("log at 0", mg.log, [[0.0]], [[INF]], "torch.log(a)"),
    ("division by 0", lambda a: 1.0 / a, [[0.0]], [[-INF]], "1.0 / a"),
    ("sort, ties", lambda a: mg.sort(a) * mg.asarray(np.array([1.0, 2.0, 3.0])), [[2.0, 1.0, 2.0]], [[2, 1, 3]],
     "torch.sort(a, stable=True)[0] * torch.tensor([1.0, 2.0, 3.0])"),
    ("asin at 1", mg.asin, [[1.0]], [[INF]], "torch.asin(a)"),
    ("acosh at 1", mg.acosh, [[1.0]], [[INF]], "torch.acosh(a)"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value|overflow) encountered:RuntimeWarning")
@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize(("what", "f", "points", "expected", "_"), KINKS, ids=[row[0] for row in KINKS])
def test_kinks(what: str, f: F, points: list[Any], expected: list[Any], _: str, create: bool) -> None:
    leaves = [mg.tensor(np.array(p, float), requires_grad=True) for p in points]
    y = f(*leaves)
    for g, want in zip(mg.gradients(y, leaves, np.full(y.shape, 3.0), create_graph=create), expected, strict=True):
        np.testing.assert_allclose(g._data, 3 * np.array(want, float), rtol=1e-12)


@pytest.mark.parametrize(
    ("what", "f", "points", "expected", "code"), [k for k in KINKS if k[4]], ids=[k[0] for k in KINKS if k[4]]
)
def test_kinks_are_pytorchs(what: str, f: F, points: list[Any], expected: list[Any], code: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare kinks with")
    leaves = [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in points]
    y = eval(code, {"torch": torch, **dict(zip("abc", leaves))})
    found = torch.autograd.grad(y, leaves, torch.ones_like(y))
    for g, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(g.numpy(), np.array(want, float), rtol=1e-6, atol=1e-300)


# ---- parity with PyTorch -----------------------------------------------------------------------------------------------------

RENAMED = {
    "power": "pow", "equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge",
    "max": "amax", "min": "amin", "bitwise_invert": "bitwise_not",
}  # fmt: skip
UNLIKE = {
    "cbrt",
    "gelu_slope",
    "gelu_tanh_slope",
    "silu_slope",
    "prod",
    "cumulative_prod",
    "cumulative_sum",
    "concat",
    "stack",
    "copy",
    "gather",
    "pad",
    "positive",
    "place",
    "cross",
}
"""Rows whose namesakes in PyTorch are missing, take other arguments, or do something else; some have a line below."""
TORCH: dict[str, str] = {
    "softplus": "torch.nn.functional.softplus(a)",
    "gelu": "torch.nn.functional.gelu(a)",
    "gelu_tanh": "torch.nn.functional.gelu(a, approximate='tanh')",
    "silu": "torch.nn.functional.silu(a)",
    "leaky_relu": "torch.nn.functional.leaky_relu(a)",
    "elu": "torch.nn.functional.elu(a)",
    "hardtanh": "torch.nn.functional.hardtanh(a)",
    "logsumexp": "torch.logsumexp(a, tuple(range(a.ndim)) if axis is None else axis, keepdim=keepdims)",
    "softmax": "torch.softmax(a / temperature, axis)",
    "log_softmax": "torch.log_softmax(a / temperature, axis)",
    "argsort": "torch.argsort(a, dim=axis, descending=descending, stable=True)",
}


def _torch_function(torch: Any, name: str) -> Callable[..., Any] | None:
    defaults = {"axis": -1, "keepdims": False, "temperature": 1.0, "descending": False}
    if name in TORCH:
        own = dict(defaults, axis=None) if name == "logsumexp" else defaults
        return lambda a, **params: eval(TORCH[name], {"torch": torch, "a": a, "tuple": tuple, "range": range, **own, **params})
    f = getattr(torch, RENAMED.get(name, name), None)
    if name in UNLIKE or f is None or not callable(f):
        return None

    def call(*operands: Any, **params: Any) -> Any:
        names = {"axis": "dim", "keepdims": "keepdim"}
        reduction = "axis" in params or "keepdims" in params
        if reduction and params.get("axis") is None:
            params = {**params, "axis": tuple(range(operands[0].ndim))}
        if name in ("all", "any", "argmax", "argmin") and isinstance(params.get("axis"), tuple) and name.startswith("arg"):
            params = {**params, "axis": None}
        return f(*operands, **{names.get(k, k): v for k, v in params.items()})

    return call


PARITY = [
    name for name in ROWS if TABLE[name].elementwise
    or name in ("sum", "mean", "var", "std", "max", "min", "logsumexp", "softmax", "log_softmax", "argmax", "argmin", "argsort", "all", "any")
]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in PARITY if name not in UNLIKE])
def test_parity_with_pytorch(name: str) -> None:
    """Values and gradients in float64."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    f = _torch_function(torch, name)
    assert f is not None, f"{name}: PyTorch has none of this name; list it in UNLIKE or TORCH"
    for s in samples(name):
        if name in ("var", "std") and "correction" not in s.params:
            s.params = {**s.params, "correction": 0}
        if any(np.size(a) == 0 for a in s.operands) or (name == "clip" and all(a is None for a in s.operands[1:])):
            continue
        operands = np.broadcast_arrays(*(a for a in s.operands if a is not None)) if name == "clip" else s.operands
        s.operands = (
            [None if a is None else np.array(b) for a, b in zip(s.operands, operands)]
            if len(operands) == len(s.operands)
            else s.operands
        )
        theirs = [None if a is None else torch.tensor(a) for a in s.operands]
        for k in s.variables:
            theirs[k].requires_grad_()
        want = f(*theirs, **s.params)
        leaves = s.leaves()
        got = s(*leaves)
        np.testing.assert_allclose(raw(got)[0], want.detach().numpy(), rtol=1e-13, atol=1e-15)
        # floor_divide has no gradient there.
        if s.variables and name != "floor_divide":
            (u,) = upstream([got])
            found = mg.gradients(got, leaves, u)
            for g, x in zip(
                found, torch.autograd.grad(want, [theirs[k] for k in s.variables], torch.tensor(u), allow_unused=True)
            ):
                np.testing.assert_allclose(g._data, np.zeros(g.shape) if x is None else x.numpy(), rtol=1e-11, atol=1e-14)
