"""The engine: the recorded graph and the backward pass, against a naive engine of forty lines and at its limits."""

from __future__ import annotations

import dis
import gc
import sys
import threading
import time
import tracemalloc
import weakref
from dataclasses import dataclass, field

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from numpy.testing import assert_allclose, assert_array_equal

import minigrad as mg
from minigrad import blocks
from minigrad.graph import KEEP, Absent, Node, ancestors, pull_back

SHAPES = [(), (1,), (3,), (2, 1), (2, 3)]  # any two broadcast together


# A naive engine: every value keeps its parents with the Jacobian-transpose product towards each, and the gradient of an output is
# the sum over all paths, found by walking the expression from the youngest value to the oldest. float64, nothing is dropped.
@dataclass(eq=False)
class Naive:
    value: np.ndarray
    parents: list = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        self.value = np.asarray(self.value, np.float64)
        self.number = 1 + max((p.number for p, _ in self.parents), default=0)


def undo(g, shape):
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(k for k, n in enumerate(shape) if n == 1), keepdims=True) if shape else g


NAIVE = {
    "add": lambda a, b: Naive(a.value + b.value, [(a, lambda g: g), (b, lambda g: g)]),
    "subtract": lambda a, b: Naive(a.value - b.value, [(a, lambda g: g), (b, lambda g: -g)]),
    "multiply": lambda a, b: Naive(a.value * b.value, [(a, lambda g: g * b.value), (b, lambda g: g * a.value)]),
    "tanh": lambda a: Naive(np.tanh(a.value), [(a, lambda g: g / np.cosh(a.value) ** 2)]),
    "sin": lambda a: Naive(np.sin(a.value), [(a, lambda g: g * np.cos(a.value))]),
    "sum": lambda a: Naive(a.value.sum(), [(a, lambda g: g * np.ones_like(a.value))]),
}


def naive_gradients(seeds, inputs):
    grads = dict(seeds)
    waiting, seen = set(seeds), set()
    while waiting:
        v = max(waiting, key=lambda v: v.number)
        waiting.discard(v)
        seen.add(v)
        for parent, pull in v.parents:
            grads[parent] = grads.get(parent, 0) + undo(pull(grads[v]), parent.value.shape)
            assert parent not in seen
            waiting.add(parent)
    return [grads.get(x) for x in inputs]


class AgainstNaive(RuleBasedStateMachine):
    """Programs that Hypothesis writes, run on both engines: reuse, fan-out, broadcasting, several backwards, dead ends."""

    values = Bundle("values")

    @initialize(target=values, shapes=st.lists(st.sampled_from(SHAPES), min_size=2, max_size=3), seed=st.integers(0, 2**32 - 1))
    def start(self, shapes, seed):
        self.rng = np.random.default_rng(seed)
        self.leaves, self.pairs, self.expected = [], [], {}
        for shape in shapes:
            array = self.rng.normal(size=shape)
            pair = (mg.tensor(array, requires_grad=True), Naive(array))
            self.leaves.append(pair)
            self.expected[pair[0]] = None
        return multiple(*self.leaves)

    @rule(target=values, name=st.sampled_from(["add", "subtract", "multiply"]), a=values, b=values)
    def binary(self, name, a, b):
        return getattr(mg, name)(a[0], b[0]), NAIVE[name](a[1], b[1])

    @rule(target=values, name=st.sampled_from(["tanh", "sin", "sum"]), a=values)
    def unary(self, name, a):
        return getattr(mg, name)(a[0]), NAIVE[name](a[1])

    @rule(target=values, a=values)
    def constant(self, a):
        return a[0].detach() * 2.0 + a[0], NAIVE["add"](NAIVE["multiply"](Naive(a[1].value), Naive(2.0)), a[1])

    @rule(out=values)
    def backward(self, out):
        g = self.rng.normal(size=out[0].shape)
        out[0].backward(g, retain_graph=True)
        for (x, _), found in zip(self.leaves, naive_gradients({out[1]: g}, [n for _, n in self.leaves])):
            if found is not None:
                before = self.expected[x]
                self.expected[x] = found if before is None else before + found

    @rule(outs=st.lists(values, min_size=1, max_size=3), ins=st.lists(values, min_size=1, max_size=4), create=st.booleans())
    def gradients(self, outs, ins, create):
        gs = [self.rng.normal(size=t.shape) for t, _ in outs]
        seeds = {}
        for (_, n), g in zip(outs, gs):
            seeds[n] = seeds.get(n, 0) + g
        expected = naive_gradients(seeds, [n for _, n in ins])
        found = mg.gradients(
            [t for t, _ in outs], [t for t, _ in ins], gs, create_graph=create, retain_graph=True, allow_unused=True
        )
        for f, e in zip(found, expected):
            assert (f is None) == (e is None)
            if e is not None:
                assert f.dtype == np.float64
                assert_allclose(f.numpy(), np.broadcast_to(e, f.shape), rtol=1e-11, atol=1e-11)

    @invariant()
    def accumulated(self):
        for x, e in getattr(self, "expected", {}).items():
            assert (x.grad is None) == (e is None)
            if e is not None:
                assert x.grad.shape == x.shape
                assert_allclose(x.grad.numpy(), np.broadcast_to(e, x.shape), rtol=1e-10, atol=1e-10)


TestAgainstNaive = AgainstNaive.TestCase
TestAgainstNaive.settings = settings(max_examples=60, stateful_step_count=25)


def leaf(value, **kwargs):
    return mg.tensor(np.asarray(value, np.float64), requires_grad=True, **kwargs)


# Asking for gradients
def test_second_backward_says_what_to_pass():
    x = leaf([1.0, 2.0])
    y = mg.exp(x).sum()
    y.backward()
    with pytest.raises(mg.FreedGraphError, match=r"retain_graph=True"):
        y.backward()
    assert_array_equal(x.grad.numpy(), np.exp([1.0, 2.0]))


def test_second_pass_through_a_shared_part_is_an_error_and_adds_nothing():
    x = leaf([1.0, 2.0])
    h = mg.exp(x)
    first, second = h.sum(), (h * h).sum()
    first.backward()
    before = x.grad.numpy().copy()
    with pytest.raises(mg.FreedGraphError, match=r"exp .*retain_graph=True"):
        second.backward()
    assert_array_equal(x.grad.numpy(), before)


@pytest.mark.parametrize("shape", [(), (2,), (1000,)])
def test_retain_graph_allows_as_many_passes_as_wanted(shape):
    x = leaf(np.full(shape, 0.5))
    y = (mg.tanh(x) * x).sum()
    once = mg.gradients(y, x, retain_graph=True)[0].numpy()
    for k in range(1, 4):
        y.backward(retain_graph=True)
        assert_allclose(x.grad.numpy(), k * once, rtol=1e-15)
        assert type(x.grad.data) is np.ndarray
    y.backward()
    with pytest.raises(mg.FreedGraphError):
        y.backward()


def test_create_graph_gives_gradients_that_differentiate_to_any_order():
    x = leaf(0.7)
    y, expected = mg.sin(x), [np.cos(0.7), -np.sin(0.7), -np.cos(0.7), np.sin(0.7), np.cos(0.7)]
    for value in expected:
        (y,) = mg.gradients(y, x, create_graph=True)
        assert y.requires_grad
        assert_allclose(y.item(), value, rtol=1e-14)


def test_backward_create_graph_keeps_the_graph_and_records_the_gradient():
    x = leaf([1.0, 2.0])
    y = (x * x * x).sum()
    y.backward(create_graph=True)
    (second,) = mg.gradients(x.grad.sum(), x, retain_graph=True)
    assert_array_equal(second.numpy(), [6.0, 12.0])
    y.backward()  # create_graph implies retain_graph
    assert_array_equal(x.grad.numpy(), 2 * 3 * np.array([1.0, 4.0]))


def test_create_graph_inside_no_grad_still_records():
    x = leaf(3.0)
    y, z = x * x, x * x * x
    with mg.no_grad():
        y.backward(create_graph=True)
        z.backward(create_graph=True)
    assert x.grad.item() == 6.0 + 27.0
    assert mg.gradients(x.grad, x)[0].item() == 2.0 + 18.0


def test_first_order_results_are_not_recorded():
    x = leaf([1.0, 2.0])
    (g,) = mg.gradients((x * x).sum(), x)
    assert not g.requires_grad
    (x * x).sum().backward()
    assert not x.grad.requires_grad


def test_several_outputs_with_and_without_upstream_gradients():
    x, z = leaf([1.0, 2.0]), leaf(3.0)
    a, b = x * x, (x * z).sum()
    gx, gz = mg.gradients([a, b], [x, z], [np.array([1.0, 10.0]), None])
    assert_array_equal(gx.numpy(), [2.0 * 1 + 3, 2.0 * 20 + 3])
    assert gz.item() == 3.0
    assert x.grad is None
    assert z.grad is None


def test_the_same_output_twice_counts_twice():
    x = leaf(3.0)
    y = x * x
    assert mg.gradients([y, y], x)[0].item() == 12.0


def test_gradients_of_an_interior_value_and_of_the_output_itself():
    x = leaf([1.0, 2.0])
    h = mg.exp(x)
    y = (h * h).sum()
    gy, gh, gx = mg.gradients(y, [y, h, x])
    assert gy.item() == 1.0
    assert_allclose(gh.numpy(), 2 * np.exp([1.0, 2.0]))
    assert_allclose(gx.numpy(), 2 * np.exp([2.0, 4.0]))


def test_an_interior_gradient_stops_there_so_that_backward_can_be_split():
    x = leaf([1.0, 2.0])
    h = mg.exp(x)
    (upstream,) = mg.gradients((h * h).sum(), h)
    h.backward(upstream)
    assert_allclose(x.grad.numpy(), 2 * np.exp([2.0, 4.0]))


def test_only_what_lies_between_is_computed():
    seen = []
    spy = mg.primitive(lambda a: a + 0.0, lambda g, y, a: seen.append("pulled") or g, name="spy")
    x, z = leaf(1.0), leaf(2.0)
    assert mg.gradients(spy(z) * x, x)[0].item() == 2.0
    assert seen == []


def test_unused_inputs():
    x, unused = leaf(1.0), leaf(1.0, name="bias")
    y = x * 2
    with pytest.raises(mg.NotInGraphError, match=r"input 1 \(bias\).*allow_unused=True"):
        mg.gradients(y, [x, unused], retain_graph=True)
    gx, none = mg.gradients(y, [x, unused], allow_unused=True)
    assert (gx.item(), none) == (2.0, None)
    assert mg.gradients(y, unused, allow_unused=True) == (None,)


def test_an_input_that_asks_for_no_gradient():
    x = leaf(1.0)
    with pytest.raises(mg.NotInGraphError, match=r"input 1 does not ask for a gradient.*requires_grad=True"):
        mg.gradients(x * 2, [x, mg.tensor(1.0)])


def test_wrong_number_of_grad_outputs():
    x = leaf(1.0)
    with pytest.raises(mg.ShapeError, match="1 outputs but 2 grad_outputs"):
        mg.gradients(x * 2, x, [None, None])


@pytest.mark.parametrize("make", [lambda: mg.tensor([1.0]), lambda: mg.tensor([1.0]) * 2, lambda: leaf([1.0]).detach()])
def test_backward_without_history(make):
    with pytest.raises(mg.NotInGraphError, match=r"does not depend on any tensor with requires_grad=True"):
        make().backward()


def test_backward_without_history_because_recording_was_off():
    x = leaf([1.0])
    with mg.no_grad():
        y = x * 2
        with pytest.raises(mg.NotInGraphError, match="recording is off"):
            y.backward()


def test_non_scalar_needs_an_upstream_gradient():
    x = leaf([1.0, 2.0])
    with pytest.raises(mg.ShapeError, match=r"shape \(2,\).*pass gradient="):
        (x * x).backward()
    (x * x)[:1].backward()  # one element is enough, whatever its shape
    assert_array_equal(x.grad.numpy(), [2.0, 0.0])


def test_upstream_gradient_of_the_wrong_shape():
    x = leaf([1.0, 2.0])
    with pytest.raises(mg.ShapeError, match=r"gradient has shape \(3,\), but the output has shape \(2,\)"):
        (x * x).backward(np.ones(3))
    with pytest.raises(mg.ShapeError):
        (x * x).backward(1.0)  # no silent broadcasting


@pytest.mark.parametrize("given", [[1.0, 10.0], np.array([1, 10]), mg.tensor([1.0, 10.0])])
def test_upstream_gradient_as_list_array_or_tensor(given):
    x = leaf([1.0, 2.0])
    (x * x).backward(given)
    assert x.grad.dtype == np.float64
    assert_array_equal(x.grad.numpy(), [2.0, 40.0])


def test_backward_on_a_leaf_is_its_upstream_gradient():
    x = leaf(5.0)
    x.backward()
    assert x.grad.item() == 1.0


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool"])
def test_integer_tensors_have_no_gradient(dtype):
    with pytest.raises(mg.DtypeError, match=f"dtype {dtype}, and only floating tensors have gradients"):
        mg.tensor([1, 0], dtype=dtype, requires_grad=True)
    x = mg.tensor([1, 0], dtype=dtype)
    with pytest.raises(mg.DtypeError, match="only floating"):
        x.requires_grad = True
    assert not x.requires_grad


# Recording modes
def test_no_grad_and_enable_grad_nest_and_restore():
    x = leaf(1.0)
    with mg.no_grad():
        assert not (x * 2).requires_grad
        with mg.enable_grad():
            assert (x * 2).requires_grad
            with mg.no_grad():
                assert not (x * 2).requires_grad
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_restores_after_an_error():
    with pytest.raises(KeyError), mg.no_grad():
        raise KeyError
    assert mg.is_grad_enabled()


def test_modes_as_decorators():
    x = leaf(1.0)

    @mg.no_grad()
    def off(depth):
        assert not (x * 2).requires_grad
        return depth and off(depth - 1)

    @mg.enable_grad()
    def on():
        return x * 2

    for _ in range(2):  # a decorator is used again and again
        off(2)
        assert mg.is_grad_enabled()
        with mg.no_grad():
            assert on().requires_grad
            assert not mg.is_grad_enabled()


def in_threads(*functions):
    errors = []

    def guarded(f):
        try:
            f()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def test_each_thread_has_its_own_mode():
    x, inside, done = leaf(1.0), threading.Event(), threading.Event()

    def off():
        with mg.no_grad():
            inside.set()
            assert done.wait(10)
            assert not (x * 2).requires_grad

    def on():
        assert inside.wait(10)
        assert (x * 2).requires_grad
        done.set()

    with mg.no_grad():  # a new thread records, whatever the one that started it does
        in_threads(off, on)


def test_threads_differentiate_graphs_of_their_own_and_add_to_shared_leaves():
    size, n, threads = 5, 60, 4
    w = leaf(np.ones(size))
    own = [leaf(np.full(size, k + 1.0)) for k in range(threads)]

    def work(k):
        for _ in range(n):
            (mg.tanh(own[k] * w) * own[k]).sum().backward()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        in_threads(*(lambda k=k: work(k) for k in range(threads)))
    finally:
        sys.setswitchinterval(interval)
    x = np.arange(1.0, threads + 1)
    assert_allclose(w.grad.numpy(), np.full(size, n * np.sum(x * x / np.cosh(x) ** 2)), rtol=1e-12)
    for k, leaf_ in enumerate(own):
        assert_allclose(leaf_.grad.numpy()[:5], n * (x[k] / np.cosh(x[k]) ** 2 + np.tanh(x[k])), rtol=1e-12)


def test_threads_lose_no_contribution():
    """NumPy lets other threads run inside an addition of many elements: between reading the old sum and storing the new."""
    w, g, n = leaf(np.zeros(100_000)), np.ones(100_000), 100

    def work():
        for _ in range(n):
            w.backward(g)

    in_threads(work, work, work)
    assert_array_equal(w.grad.numpy(), np.full(g.size, 3.0 * n))


# Hooks, retained gradients
def test_a_hook_sees_the_whole_gradient_once():
    x = leaf([1.0, 2.0])
    h = x * 2
    seen = []
    h.register_hook(lambda g: seen.append(g.numpy().copy()))
    (h * h + h).sum().backward()
    assert_array_equal(seen, [[2 * 2 + 1, 2 * 4 + 1]])
    assert_array_equal(x.grad.numpy(), [10.0, 18.0])


@pytest.mark.parametrize("on", ["leaf", "interior"])
@pytest.mark.parametrize("create", [False, True])
def test_a_hook_replaces_and_is_removed(on, create):
    x = leaf([1.0, 2.0])
    h = x * 1.0
    first = (x if on == "leaf" else h).register_hook(lambda g: g * 10)
    second = (x if on == "leaf" else h).register_hook(lambda g: (g + 1).numpy().astype(np.float32))
    (h * h).sum().backward(retain_graph=True, create_graph=create)
    assert_array_equal(x.grad.numpy(), [21.0, 41.0])
    assert x.grad.dtype == np.float64
    x.grad = None
    second.remove()
    second.remove()  # no harm
    (h * h).sum().backward(retain_graph=True)
    assert_array_equal(x.grad.numpy(), [20.0, 40.0])
    x.grad = None
    first.remove()
    (h * h).sum().backward()
    assert_array_equal(x.grad.numpy(), [2.0, 4.0])


def test_a_hook_that_returns_the_wrong_shape():
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g.sum())
    with pytest.raises(mg.ShapeError, match=r"hook: returned shape \(\) for a gradient of shape \(2,\)"):
        (x * x).sum().backward()


def test_a_hook_where_no_gradient_will_come():
    with pytest.raises(mg.NotInGraphError, match="register_hook: this tensor"):
        mg.tensor(1.0).register_hook(print)


def test_retain_grad_keeps_and_accumulates():
    x = leaf([1.0, 2.0])
    h = (x * 3).retain_grad()
    y = (h * h).sum()
    y.backward(retain_graph=True)
    assert_array_equal(h.grad.numpy(), [6.0, 12.0])
    y.backward()
    assert_array_equal(h.grad.numpy(), [12.0, 24.0])
    assert_array_equal(x.grad.numpy(), [36.0, 72.0])


def test_the_gradient_of_an_interior_tensor_is_not_kept_and_says_so():
    x = leaf([1.0, 2.0])
    h = x * 3
    h.sum().backward()
    with pytest.warns(UserWarning, match=r"retain_grad\(\)"):
        assert h.grad is None


# Nobody recurses, everything is freed
def test_a_chain_of_a_million_operations():
    limit = sys.getrecursionlimit()
    x = mg.tensor(1.0, dtype="float64", requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        y = x
        for _ in range(1_000_000):
            y = y + x
        first = weakref.ref(y.node.parents[0])
        y.backward()
        middle = weakref.ref(y)
        del y
        assert middle() is None
        assert first() is None
        took = time.perf_counter() - began
    finally:
        gc.enable()
    assert x.grad.item() == 1_000_001
    assert sys.getrecursionlimit() == limit
    assert took < 30, f"{took:.1f} s"


def ours(objects):
    return [o for o in objects if isinstance(o, (mg.Tensor, Node)) or type(o).__module__.startswith("minigrad")]


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("run", [False, True])
def test_reference_counting_alone_frees_a_graph(create, run):
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        x = leaf(np.ones((3, 4)))
        w = leaf(np.ones((4, 2)))
        h = mg.tanh(x @ w).retain_grad()
        h.register_hook(lambda g: g * 2)
        y = mg.logsumexp(mg.where(h > 0, h, mg.stack([h, h])[0]), axis=1).sum()
        if run:
            y.backward(create_graph=create)
        watched = [weakref.ref(t) for t in (x.node, w.node, h.node, y.node)] + [weakref.ref(t) for t in (x, w, h, y)]
        if create and run:
            x.zero_grad()  # a recorded gradient holds its leaf's node, and .grad is on that node: the user's cycle, as in PyTorch
            w.zero_grad()
            h.grad = None
        del x, w, h, y
        assert [r() for r in watched] == [None] * len(watched)
        gc.collect()
        assert ours(gc.garbage) == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_bytes_per_node():
    x = leaf(np.ones(1))
    n = 2000
    gc.collect()
    tracemalloc.start()
    try:
        y = x
        for _ in range(n):
            y = mg.tanh(y)
        each = tracemalloc.get_traced_memory()[0] / n
    finally:
        tracemalloc.stop()
    print(f"{each:.0f} bytes a node")
    assert 100 < each < 500


# Values are dropped when nobody needs them
def mlp(width, layers, seen):
    """Six tanh layers; ``seen`` gets weak references to every array that is made on the way."""
    rng = np.random.default_rng(0)
    ws = [leaf(rng.normal(size=(width, width)) / 8) for _ in range(layers)]
    bs = [leaf(np.zeros(width)) for _ in range(layers)]
    h = mg.tensor(rng.normal(size=(width, width)))
    for w, b in zip(ws, bs):
        product = h @ w
        shifted = product + b
        h = mg.tanh(shifted)
        seen += [("product", weakref.ref(product._data)), ("shifted", weakref.ref(shifted._data)), ("h", weakref.ref(h._data))]
    return (h * h).sum(), ws, bs


def test_values_that_no_rule_reads_die_right_after_forward():
    seen = []
    y, ws, _ = mlp(64, 6, seen)
    alive = [kind for kind, ref in seen if ref() is not None]
    assert alive == ["h"] * 6
    y.backward()
    assert [kind for kind, ref in seen if ref() is not None] == []
    assert all(w.grad.shape == (64, 64) for w in ws)


def test_small_values_stay_to_be_drawn():
    seen = []
    y, _, _ = mlp(4, 6, seen)
    y.backward()
    assert [kind for kind, ref in seen if ref() is None] == []


def test_large_values_are_released_during_backward():
    x = leaf(np.full(KEEP + 1, 0.5))
    first = mg.exp(x)
    second = mg.exp(first)
    third = mg.exp(second)
    late = weakref.ref(third._data)
    alive = []
    first.register_hook(lambda g: alive.append(late() is not None))
    y = third.sum()
    del first, second, third
    assert late() is not None
    y.backward()
    assert alive == [False]


def test_the_structure_outlives_backward():
    x = leaf(np.ones((30, 40)))
    y = mg.exp(x).sum()
    y.backward()
    total, exp = y.node, y.node.parents[0]
    assert (total.op.name, total.shape, exp.op.name, exp.shape, exp.parents) == ("sum", (), "exp", (30, 40), (x.node,))
    assert type(exp.saved[0]) is Absent
    assert not exp.live


def test_inspection_keeps_everything_and_knows_the_line():
    x = leaf(np.ones((30, 40)))
    with mg.inspect():
        y = (x + 1.0).sum()
    y.backward()
    added = y.node.parents[0]
    assert added.saved[0].shape == (30, 40)
    assert added.extra.where.file == __file__


# Gradients are the user's own
def memory_owners(*tensors):
    return [t.data for t in tensors]


@pytest.mark.parametrize("create", [False, True])
def test_gradients_share_no_memory(create):
    a, b, u = leaf(np.ones(3)), leaf(np.ones((1, 3))), mg.tensor(np.ones((1, 3)))
    y = a + b
    y.retain_grad()
    y.backward(u, create_graph=create)
    found = mg.gradients(a + b, [a, b], u, create_graph=create)
    e = leaf(np.ones(3))
    z = mg.exp(e)
    same = mg.primitive(lambda p: p * 1.0, lambda g, y, p: p, name="same", needs="a")  # a rule that returns what was saved
    same(z).backward(np.ones(3), create_graph=create)
    s = leaf(np.ones(3))
    same(s).backward(np.ones(3), create_graph=create)
    arrays = memory_owners(a, b, u, y, a.grad, b.grad, y.grad, *found, z, e, e.grad, s, s.grad)
    for i, p in enumerate(arrays):
        for q in arrays[:i]:
            assert not np.shares_memory(p, q)
        assert p.flags.writeable


def test_a_gradient_can_be_written_to():
    a, b = leaf(np.ones(3)), leaf(np.ones(3))
    (a + b).sum().backward()
    a.grad.data[:] = 7
    assert_array_equal(b.grad.numpy(), np.ones(3))
    (a * b).sum().backward()
    assert_array_equal(a.grad.numpy(), np.full(3, 8.0))


@pytest.mark.parametrize("create", [False, True])
def test_a_gradient_has_the_dtype_of_its_tensor(create):
    a = mg.tensor(np.ones(3, np.float32), requires_grad=True)
    b = mg.tensor(np.ones((2, 3), np.float64), requires_grad=True)
    c = mg.tensor(np.ones(3, np.float16), requires_grad=True)
    k = np.arange(3)
    y = mg.where(k > 1, a * b, a) + c * a @ mg.tensor(np.ones((3, 3), np.float32)) + a * k
    assert y.dtype == np.float64
    y.sum().backward(create_graph=create)
    assert [t.grad.dtype for t in (a, b, c)] == [np.float32, np.float64, np.float16]
    assert [g.dtype for g in mg.gradients((a * b * c).sum(), [a, b, c])] == [np.float32, np.float64, np.float16]


# The leaf's switches
def test_requires_grad_set_later_leaves_recorded_graphs_alone():
    for n in (3, KEEP + 1):
        w, x = leaf(np.full(n, 2.0)), mg.tensor(np.full(n, 5.0))
        before = (w * x).sum()
        x.requires_grad = True
        after = (w * x).sum()
        before.backward()
        assert x.grad is None
        assert_array_equal(w.grad.numpy(), np.full(n, 5.0))
        after.backward()
        assert_array_equal(x.grad.numpy(), np.full(n, 2.0))
        x.requires_grad_(False)
        assert x.grad is not None  # a frozen parameter keeps what it had
        assert not (x * 2).requires_grad


def test_requires_grad_of_a_computed_tensor_cannot_be_changed():
    y = leaf(1.0) * 2
    y.requires_grad = True
    with pytest.raises(mg.MinigradError, match="computed by multiply; only leaves"):
        y.requires_grad = False


def test_detach_shares_and_clone_copies():
    x = leaf([1.0, 2.0])
    y = x * 3
    d, c = y.detach(), y.clone()
    assert np.shares_memory(d.data, y.data)
    assert not np.shares_memory(c.data, y.data)
    assert (d.requires_grad, d.is_leaf, c.requires_grad, c.is_leaf) == (False, True, True, False)
    (c * d).sum().backward()
    assert_array_equal(x.grad.numpy(), 3 * 3 * np.array([1.0, 2.0]))


def test_a_branch_that_was_not_taken_contributes_nothing():
    x = leaf([0.0, 4.0])
    mg.where(x > 0, mg.sqrt(x), 0.0).sum().backward()
    assert_array_equal(x.grad.numpy(), [0.0, 0.25])


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_fan_out_adds_up_whatever_the_order(n, seed):
    """One value used n times: the in-place running sum must never write into what a consumer was given."""
    rng = np.random.default_rng(seed)
    x = leaf(rng.normal(size=3))
    h = x * 1.0
    k = rng.normal(size=(n, 3))
    uses = [h + 0.0 if i % 2 else h * k[i] for i in rng.permutation(n)]
    weights = np.where((np.arange(n) % 2 == 1)[:, None], 1.0, k)
    mids = [u.retain_grad() for u in uses]
    total = mids[0]
    for u in mids[1:]:
        total = total + u
    total.backward(np.ones(3))
    assert_allclose(x.grad.numpy(), weights.sum(0), rtol=1e-12, atol=1e-12)
    for u in mids:
        assert_array_equal(u.grad.numpy(), np.ones(3))


PICKS = {
    "slice": (lambda x: x[1:3], np.eye(4)[1:3]),
    "repeated": (lambda x: x[np.array([0, 0, 3])], np.eye(4)[[0, 0, 3]]),
    "one": (lambda x: x[2:3], np.eye(4)[2:3]),
    "all": (lambda x: x * 1, np.eye(4)),
    "passed on": (lambda x: x + 0.0, np.eye(4)),
    "branch": (lambda x: mg.where(np.array([True, False, True, False]), x, 0.0), np.diag([1.0, 0, 1, 0])),
}


@pytest.mark.parametrize("create", [False, True])
@given(st.lists(st.sampled_from(list(PICKS)), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_what_is_picked_from_one_tensor_adds_up(create, names, seed):
    """Picks add to the gradient in place: each part of it once, in memory of its own, and every contribution is shown."""
    rng, x = np.random.default_rng(seed), leaf(np.arange(4.0))
    h = x * 1.0
    outs = [PICKS[name][0](h) for name in names]
    ups = [rng.normal(size=out.shape) for out in outs]
    kept = [u.copy() for u in ups]
    g, *same = mg.gradients(outs, [x, *outs], ups, create_graph=create, retain_graph=True)
    want = sum(PICKS[name][1].T @ u for name, u in zip(names, ups))
    assert_allclose(g.detach().numpy(), want, rtol=1e-12, atol=1e-12)
    for u, given_back, k in zip(ups, same, kept):
        assert_array_equal(u, k)
        assert_array_equal(given_back.detach().numpy(), k)
    seen = []
    pull_back(
        {out.node: u for out, u in zip(outs, ups)}, ancestors([out.node for out in outs]),
        watch=lambda node, i, g, part: seen.append(part) if node.parents[i] is h.node else None,
    )  # fmt: skip
    assert len(seen) == len(names)
    assert_allclose(sum(seen), want, rtol=1e-12, atol=1e-12)


def test_what_a_hook_returns_counts_under_where_too():
    x = leaf(np.array([1.0, 2.0]))
    h = x * 2
    h.register_hook(lambda g: g + 1)
    mg.where(np.array([True, False]), h, 0.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4.0, 2.0])


def test_pull_back_returns_leaves_and_targets_and_shows_every_contribution():
    x, c = leaf([2.0]), leaf([3.0])
    h = x * c
    k = h * x
    y = h + k
    seen = []
    found = pull_back(
        {y.node: np.ones(1)}, ancestors([y.node]), targets=(h.node,), watch=lambda n, i, g, part: seen.append((n, i, *g, *part))
    )
    assert {node: g.item() for node, g in found.items()} == {x.node: 15, c.node: 6, h.node: 3}
    assert seen == [
        (y.node, 0, 1, 1), (y.node, 1, 1, 1), (k.node, 0, 1, 2), (k.node, 1, 1, 6), (h.node, 0, 3, 9), (h.node, 1, 3, 6),
    ]  # fmt: skip


def test_from_a_block_on_a_rule_runs_in_pieces(monkeypatch):
    calls = []
    monkeypatch.setattr(blocks, "BLOCK", KEEP + 44)
    monkeypatch.setattr(blocks, "piecewise", lambda rule, g, *args, dtype: calls.append((g.size, dtype)) or rule(g, *args))
    for n in (KEEP + 43, KEEP + 44):
        mg.sin(leaf(np.ones(n))).backward(np.ones(n))
    assert calls == [(KEEP + 44, np.float64)]


@pytest.mark.parametrize("n", [KEEP + 44, (KEEP + 44) * blocks.SINGLE + 1])
def test_large_gradients_add_up_in_memory_of_their_own(n, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", KEEP + 44)
    rng = np.random.default_rng(0)
    h = leaf(rng.normal(size=n))
    outs, slopes = [h + 0.0, h * 2, h + 0.0, h * 3, h - 1.0], [1, 2, 1, 3, 1]
    ups = [rng.normal(size=n) for _ in outs]
    found = mg.gradients([out * 1 for out in outs], [h, *outs], ups)
    for g, want in zip(found, [sum(k * u for k, u in zip(slopes, ups)), *ups]):
        assert_allclose(g.numpy(), want, rtol=1e-12, atol=1e-12)


def returning(shape, operand, dtype=np.float64):
    """The gradient of an operand of one shape, whose rule returns 0, 1, 2, ... in another."""
    op = mg.primitive(
        np.positive, lambda g, y, a: np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype), name="odd"
    )
    x = mg.tensor(np.ones(operand, np.float64), requires_grad=True)
    op(x).backward(np.ones(operand))
    return x.grad


@pytest.mark.parametrize(
    ("returned", "operand", "expected"),
    [
        ((3,), (), 3),
        ((1,), (), 0),
        ((3,), (1,), [3]),
        ((2, 3), (3,), [3, 5, 7]),
        ((2, 3), (2, 1), [[3], [12]]),
        ((2, 3), (1, 3), [[3, 5, 7]]),
        ((2, 3), (1, 1), [[15]]),
        ((2, 1, 3), (1, 3), [[3, 5, 7]]),
        ((2, 3), (1,), [15]),
        ((1, 3), (3,), [0, 1, 2]),
        ((2, 2, 2), (2, 1), [[10], [18]]),
        ((2, 3), (2,), None),
        ((2, 3), (3, 2), None),
        ((3,), (1, 3), None),
        ((1,), (1, 1), None),
        ((), (1,), None),
        ((1, 3), (2, 3), None),
    ],
)
def test_what_a_rule_returns_is_summed_to_the_operand_or_refused(returned, operand, expected):
    if expected is None:
        with pytest.raises(
            mg.ShapeError, match=r"odd: its gradient rule for operand 1 returned shape .* which does not sum to"
        ):
            returning(returned, operand)
    else:
        g = returning(returned, operand)
        assert (g.shape, g.tolist()) == (operand, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64"])
def test_what_a_rule_returns_gets_the_operands_dtype(dtype):
    assert returning((3,), (3,), dtype).dtype == np.float64


def test_two_byte_contributions_are_summed_in_float32():
    """4,096 ones, row by row: past 2048, float16 would add nothing more."""
    op = mg.primitive(np.positive, lambda g, y, a: np.ones((4096, 2), "float16"), name="odd")
    x = mg.tensor(np.ones(2, "float16"), requires_grad=True)
    op(x).backward(np.ones(2))
    assert x.grad.tolist() == [4096, 4096]


def test_an_error_names_the_rule_that_raised_it_and_a_hooks_names_none():
    def fail(*_):
        raise ZeroDivisionError

    first = mg.primitive(np.multiply, fail, lambda g, y, a, b: g * a, name="product")
    second = mg.primitive(np.multiply, lambda g, y, a, b: g * b, fail, name="product")
    x, y = leaf(np.ones(3)), leaf(np.ones(3))
    for op, operand in ((first, 1), (second, 2)):
        with pytest.raises(ZeroDivisionError) as caught:
            op(x, y).sum().backward()
        assert caught.value.__notes__ == [f"minigrad: in the gradient rule of product for operand {operand}, output shape (3,)"]
    h = x * 2
    h.register_hook(fail)
    for out in (h.sum(), h):
        with pytest.raises(ZeroDivisionError) as caught:
            out.backward(np.ones(out.shape))
        assert not hasattr(caught.value, "__notes__")
    with pytest.raises(mg.ShapeError) as caught:
        returning((2,), (3,))
    assert not hasattr(caught.value, "__notes__"), "it says all itself"


def test_the_mask_of_a_branch_dies_with_its_turn():
    masks = []

    def mask(i, a):
        made = a > 0
        masks.append(weakref.ref(made))
        return made

    positive = mg.primitive(lambda a: np.where(a > 0, a, 0), lambda g, y, a: g, mask=mask, name="positive")
    opaque = mg.primitive(lambda a: a * 1, lambda g, y, a: g * 1, name="opaque")  # not elementwise
    x = leaf(np.array([1.0, -1.0]))
    x.register_hook(lambda g: masks.append(masks[0]() is None))
    positive(opaque(x)).sum().backward()
    assert masks[1:] == [True]


def test_a_rule_that_reads_what_needs_does_not_name_is_an_error_at_any_size():
    wrong = mg.primitive(np.positive, lambda g, y, a: mg.where(a != 0, g, 0), needs="", name="wrong")
    x = leaf(np.zeros(KEEP + 1))
    with pytest.raises(mg.MinigradError, match=r"reads wrong's operand 1 \('a'\), which `needs` does not name"):
        wrong(x).sum().backward()


def test_an_assignment_to_one_element_of_a_large_tensor_is_noticed():
    w = leaf(np.ones((100, 100)))
    loss, harmless = (w * w).sum(), (w + 1.0).sum()
    with mg.no_grad():
        w[3, 7] = 5.0
    harmless.backward()
    with pytest.raises(mg.ChangedValueError):
        loss.backward()
    w.zero_grad()
    (w * w).sum().backward()
    assert w.grad.numpy()[3, 7] == 10.0


def test_a_primitive_without_rules_has_no_gradient():
    x = leaf(np.ones(3))
    assert not mg.primitive(np.sin)(x).requires_grad


def test_operands_and_parameters_may_have_any_name():
    x = leaf(np.array([1.0, 2.0]))
    odd = mg.primitive(
        lambda operand, y, mode, type, node: operand * y * mode * type * node,
        lambda g, out, a, b, mode, type, node: g * b * mode * type * node,
        None,
        name="odd",
    )
    y = odd(x, mg.tensor(2.0), 3.0, 5.0, node=7.0)
    assert isinstance(y, mg.Tensor)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [210.0, 210.0])
    assert isinstance(mg.where(np.array([True, False]), 0, mg.tensor([1.0, 2.0])), mg.Tensor)


def test_no_operation_assigns_to_its_own_arguments():
    for module in (mg, mg.linalg):
        for name, function in vars(module).items():
            if hasattr(function, "op") and hasattr(function, "__code__"):
                code = function.__code__
                arguments = set(code.co_varnames[: code.co_argcount])
                stored = {step.argval for step in dis.get_instructions(code) if step.opname.startswith("STORE_FAST")}
                assert not stored & arguments, name
