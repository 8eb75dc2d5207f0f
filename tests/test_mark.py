"""``mark`` names the mistake in wrong hand derivations, written independently of it, and never flags a right one."""

from __future__ import annotations

import sys
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
from minigrad.errors import NotInGraphError, ShapeError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.testing import mark
from minigrad.testing.mark import MISTAKES

testing = sys.modules["minigrad.testing.mark"]


class Pen:
    """A derivation being written: each step has its right value, and what known mistakes would make of it."""

    def __init__(self, wrong=None):
        self.wrong, self.known, self.hand = wrong, [], {}

    def __call__(self, step, right, **mistakes):
        self.known += [(step, label) for label in mistakes]
        step_, label = self.wrong or ("", "")
        self.hand[step] = value = mistakes[label]() if step == step_ and label in mistakes else right
        return value


def tensors(rng, dtype, **shapes):
    return {k: mg.tensor(rng.normal(size=s).astype(dtype), requires_grad=True) for k, s in shapes.items()}


def values(t):
    return [v.numpy().astype(np.float64) for v in t.values()]


ACTIVATIONS = {
    "tanh": (mg.tanh, lambda a, h: 1 - h * h, lambda a, h: 1 - a * a),
    "sigmoid": (mg.sigmoid, lambda a, h: h * (1 - h), lambda a, h: a * (1 - a)),
    "relu": (mg.relu, lambda a, h: (a > 0).astype(float), None),
}


def mlp(rng, dtype, pen, kind):
    n, d, m, c = rng.integers(2, 6, size=4) if rng.random() < 0.5 else [3] * 4
    t = tensors(rng, dtype, x=(n, d), W1=(d, m), b1=(m,), W2=(m, c), b2=(c,))
    x, W1, b1, W2, b2 = t.values()
    labels = rng.integers(0, c, size=n)
    act, slope, wrong_slope = ACTIVATIONS[kind]
    a = x @ W1 + b1
    h = act(a)
    z = h @ W2 + b2
    loss = -mg.log_softmax(z, axis=1)[np.arange(n), labels].mean()
    t |= {"a": a, "h": h, "z": z}
    x, W1, b1, W2, b2, a, h, z = values(t)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    hot = np.eye(c)[labels]
    dz = pen("z", (p - hot) / n, onehot=lambda: p / n, mean=lambda: p - hot, sign=lambda: (hot - p) / n)
    pen("b2", dz.sum(0), broadcast=lambda: dz, mean=lambda: dz.mean(0), sign=lambda: -dz.sum(0))
    square = {"elementwise": lambda: h * dz, "operand": lambda: W2.T @ dz} if len({n, d, m, c}) == 1 else {}
    pen("W2", h.T @ dz, transposed=lambda: dz.T @ h, two=lambda: 2 * h.T @ dz, **square)
    turned = {"transposed": lambda: dz @ W2, "elementwise": lambda: dz * W2} if len({n, d, m, c}) == 1 else {}
    dh = pen("h", dz @ W2.T, upstream=lambda: np.ones_like(dz) @ W2.T, **turned)
    more = {"operand": lambda: dh * wrong_slope(a, h)} if wrong_slope else {}
    da = pen("a", dh * slope(a, h), activation=lambda: dh, upstream=lambda: slope(a, h), **more)
    pen("b1", da.sum(0), broadcast=lambda: da[0], mean=lambda: da.sum(0) / n)
    pen("W1", x.T @ da, transposed=lambda: da.T @ x, sign=lambda: -(x.T @ da))
    pen("x", da @ W1.T, upstream=lambda: np.ones_like(da) @ W1.T)
    return loss, t


def regression(rng, dtype, pen):
    n, d = rng.integers(3, 7, size=2)
    t = tensors(rng, dtype, X=(n, d), w=(d, 1), b=(1,), t=(n, 1))
    X, w, b, y = t.values()
    r = X @ w + b - y
    loss = (r**2).mean() + 0.1 * (w * w).sum()
    t["r"] = r
    X, w, b, y, r = values(t)
    dr = pen("r", 2 * r / n, two=lambda: r / n, mean=lambda: 2 * r, sign=lambda: -2 * r / n)
    pen("t", -dr, sign=lambda: dr)
    pen("b", dr.sum(0), broadcast=lambda: dr, mean=lambda: dr.mean(0))
    pen(
        "w", X.T @ dr + 0.2 * w, overwritten=lambda: X.T @ dr, branch=lambda: 0.2 * w, transposed=lambda: (X.T @ dr + 0.2 * w).T
    )
    pen("X", dr @ w.T, sign=lambda: -dr @ w.T, upstream=lambda: np.ones_like(dr) @ w.T)
    return loss, t


def paths(rng, dtype, pen):
    t = tensors(rng, dtype, x=(3,), y=(3,))
    x, y = t.values()
    u = x * y
    v = mg.sin(x)
    q = x / y
    loss = (u * u + v + q).sum()
    t |= {"u": u, "v": v, "q": q}
    x, y, u, v, q = values(t)
    one = np.ones(3)
    du = pen("u", 2 * u, overwritten=lambda: u, sign=lambda: -2 * u)
    dq = pen("q", one, shape=lambda: np.ones(()))
    dv = pen("v", one, mean=lambda: one / 3, shape=lambda: np.ones((1, 3)))
    pen("y", du * x - dq * x / y**2, sign=lambda: du * x + dq * x / y**2, branch=lambda: du * x, local=lambda: du + dq,
        operand=lambda: du * y - dq * x / y**2)  # fmt: skip
    pen("x", du * y + dv * np.cos(x) + dq / y, branch=lambda: du * y + dv * np.cos(x), overwritten=lambda: du * y,
        activation=lambda: du * y + dv + dq / y, operand=lambda: du * x + dv * np.cos(x) + dq / y,
        upstream=lambda: y + np.cos(x) + 1 / y, sign=lambda: du * y - dv * np.cos(x) + dq / y)  # fmt: skip
    return loss, t


def circuit(rng, dtype, pen):
    t = tensors(rng, dtype, w0=(), x0=(), w1=(), x1=(), w2=())
    w0, x0, w1, x1, w2 = t.values()
    s = w0 * x0 + w1 * x1 + w2
    f = mg.sigmoid(s)
    t["s"] = s
    w0, x0, w1, x1, w2, s = values(t)
    y = 1 / (1 + np.exp(-s))
    ds = pen("s", y * (1 - y), sign=lambda: -y * (1 - y), operand=lambda: s * (1 - s), activation=lambda: np.array(1.0))
    pen("w2", ds, sign=lambda: -ds)
    pen("w0", ds * x0, operand=lambda: ds * w0, local=lambda: ds, upstream=lambda: x0)
    pen("x0", ds * w0, operand=lambda: ds * x0, local=lambda: ds, upstream=lambda: w0)
    pen("x1", ds * w1, sign=lambda: -ds * w1, two=lambda: 2 * ds * w1)
    pen("w1", ds * x1, upstream=lambda: x1, exchanged=lambda: ds * w1)
    return f, t


def attention(rng, dtype, pen):
    n, d = 4, 3
    t = tensors(rng, dtype, q=(n, d), k=(n, d), v=(n, d), target=(n, d))
    q, k, v, target = t.values()
    s = q @ k.mT / float(np.sqrt(d))
    p = mg.softmax(s, axis=-1)
    o = p @ v
    loss = (0.5 * (o - target) ** 2).sum()
    t |= {"s": s, "p": p, "o": o}
    q, k, v, target, s, p, o = values(t)
    do = pen("o", o - target, two=lambda: 2 * (o - target), sign=lambda: target - o, mean=lambda: (o - target) / o.size)
    pen("v", p.T @ do, transposed=lambda: p @ do, upstream=lambda: p.T @ np.ones_like(do))
    dp = pen("p", do @ v.T, transposed=lambda: (do @ v.T).T)
    ds = pen("s", p * (dp - (dp * p).sum(-1, keepdims=True)), diagonal=lambda: dp * p * (1 - p), activation=lambda: dp)
    dm = ds / np.sqrt(d)
    pen("q", dm @ k, local=lambda: ds @ k, sign=lambda: -dm @ k)
    pen("k", dm.T @ q, local=lambda: ds.T @ q, transposed=lambda: dm @ q)
    return loss, t


def outer(rng, dtype, pen):
    n, m = rng.integers(2, 6, size=2)
    t = tensors(rng, dtype, r=(n, 1), c=(m,))
    r, c = t.values()
    y = mg.tanh(r * c)
    loss = (y * y).mean()
    t["y"] = y
    r, c, y = values(t)
    dy = pen("y", 2 * y / y.size, mean=lambda: 2 * y, overwritten=lambda: y / y.size, sign=lambda: -2 * y / y.size)
    dm = dy * (1 - y * y)
    pen("c", (dm * r).sum(0), broadcast=lambda: dm * r, activation=lambda: (dy * r).sum(0), local=lambda: dm.sum(0))
    pen(
        "r",
        (dm * c).sum(1, keepdims=True),
        broadcast=lambda: dm * c,
        shape=lambda: (dm * c).sum(1),
        upstream=lambda: np.broadcast_to(c, y.shape).sum(1, keepdims=True),
    )
    return loss, t


def two_two_two(rng, dtype, pen):
    """The network of notes 002, one number at a time: each hidden unit reaches both errors."""
    given = {"w1": 0.15, "w2": 0.20, "w3": 0.25, "w4": 0.30, "w5": 0.40, "w6": 0.45, "w7": 0.50, "w8": 0.55}
    scale = 1 + 0.1 * rng.normal(size=8)
    t = {k: mg.tensor(np.asarray(v * s, dtype), requires_grad=True) for (k, v), s in zip(given.items(), scale)}
    w1, w2, w3, w4, w5, w6, w7, w8 = t.values()
    h1, h2 = mg.sigmoid(w1 * 0.05 + w2 * 0.10 + 0.35), mg.sigmoid(w3 * 0.05 + w4 * 0.10 + 0.35)
    n1, n2 = w5 * h1 + w6 * h2 + 0.60, w7 * h1 + w8 * h2 + 0.60
    o1, o2 = mg.sigmoid(n1), mg.sigmoid(n2)
    E = 0.5 * (0.01 - o1) ** 2 + 0.5 * (0.99 - o2) ** 2
    t |= {"h1": h1, "h2": h2, "n1": n1, "n2": n2, "o1": o1, "o2": o2}
    w1, w2, w3, w4, w5, w6, w7, w8, h1, h2, n1, n2, o1, o2 = values(t)
    do1 = pen("o1", o1 - 0.01, sign=lambda: 0.01 - o1, two=lambda: 2 * (o1 - 0.01))
    do2 = pen("o2", o2 - 0.99, sign=lambda: 0.99 - o2)
    dn1 = pen(
        "n1", do1 * o1 * (1 - o1), activation=lambda: do1, upstream=lambda: o1 * (1 - o1), operand=lambda: do1 * n1 * (1 - n1)
    )
    dn2 = pen("n2", do2 * o2 * (1 - o2), activation=lambda: do2)
    pen("w5", dn1 * h1, local=lambda: dn1, operand=lambda: dn1 * h2, upstream=lambda: h1)
    pen("w8", dn2 * h2, local=lambda: dn2, sign=lambda: -dn2 * h2)
    dh1 = pen("h1", dn1 * w5 + dn2 * w7, branch=lambda: dn2 * w7, overwritten=lambda: dn1 * w5)
    dh2 = pen("h2", dn1 * w6 + dn2 * w8, branch=lambda: dn2 * w8, local=lambda: dn1 + dn2)
    pen("w1", dh1 * h1 * (1 - h1) * 0.05, activation=lambda: dh1 * 0.05, local=lambda: dh1 * h1 * (1 - h1))
    pen("w4", dh2 * h2 * (1 - h2) * 0.10, activation=lambda: dh2 * 0.10, sign=lambda: -dh2 * h2 * (1 - h2) * 0.10)
    return E, t


def gate(rng, dtype, pen):
    """One step of a gated unit: z h + (1 - z) n, twice with the same weights."""
    t = tensors(rng, dtype, a=(4,), b=(4,), h=(4,))
    a, b, h = t.values()
    z, n = mg.sigmoid(a), mg.tanh(b)
    first = z * h + (1 - z) * n
    out = z * first + (1 - z) * n
    t |= {"z": z, "n": n, "first": first}
    loss = (out * out).sum()
    a, b, h, z, n, first = values(t)
    do = 2 * (z * first + (1 - z) * n)
    df = pen("first", do * z, local=lambda: do, upstream=lambda: z, operand=lambda: do * first, two=lambda: do * z / 2)
    pen("h", df * z, local=lambda: df, operand=lambda: df * h, sign=lambda: -df * z)
    dn = pen("n", (do + df) * (1 - z), overwritten=lambda: df * (1 - z), branch=lambda: do * (1 - z), local=lambda: do + df)
    dz = pen(
        "z",
        do * (first - n) + df * (h - n),
        branch=lambda: do * first + df * (h - n),
        sign=lambda: do * (first + n) + df * (h - n),
    )
    pen("b", dn * (1 - n * n), activation=lambda: dn, upstream=lambda: 1 - n * n, operand=lambda: dn * (1 - b * b))
    pen("a", dz * z * (1 - z), activation=lambda: dz, operand=lambda: dz * a * (1 - a))
    return loss, t


def layers(rng, dtype, pen):
    """The same as ``mlp`` in the library's fused operations."""
    n, d, m, c = 3, 4, 3, 3
    t = tensors(rng, dtype, x=(n, d), W1=(m, d), b1=(m,), W2=(c, m), b2=(c,))
    x, W1, b1, W2, b2 = t.values()
    labels = rng.integers(0, c, size=n)
    a = F.linear(x, W1, b1)
    h = mg.tanh(a)
    z = F.linear(h, W2, b2)
    loss = F.cross_entropy(z, mg.tensor(labels))
    t |= {"a": a, "h": h, "z": z}
    x, W1, b1, W2, b2, a, h, z = values(t)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    hot = np.eye(c)[labels]
    dz = pen("z", (p - hot) / n, onehot=lambda: p / n, mean=lambda: p - hot, sign=lambda: (hot - p) / n)
    pen("b2", dz.sum(0), broadcast=lambda: dz, mean=lambda: dz.mean(0))
    pen("W2", dz.T @ h, transposed=lambda: h.T @ dz, sign=lambda: -dz.T @ h)
    dh = pen("h", dz @ W2, transposed=lambda: dz @ W2.T, elementwise=lambda: dz * W2, upstream=lambda: np.ones_like(dz) @ W2)
    da = pen("a", dh * (1 - h * h), activation=lambda: dh, operand=lambda: dh * (1 - a * a))
    pen("W1", da.T @ x, transposed=lambda: x.T @ da)
    pen("b1", da.sum(0), broadcast=lambda: da[0])
    return loss, t


DERIVATIONS = {
    "two_two_two": two_two_two, "gate": gate, "layers": layers,
    **{kind: lambda rng, dtype, pen, kind=kind: mlp(rng, dtype, pen, kind) for kind in ACTIVATIONS},
    "regression": regression, "paths": paths, "circuit": circuit, "attention": attention, "outer": outer,
}  # fmt: skip
SEEDS = 3


def bank():
    """(derivation, seed, step, expected mistake, loss, tensors, hand gradients, the right ones, those handed in)."""
    for name, derive in DERIVATIONS.items():
        for seed in range(SEEDS):
            known = Pen()
            derive(np.random.default_rng(seed), np.float64, known)
            for number, (step, label) in enumerate(known.known):
                pen = Pen((step, label))
                loss, found = derive(np.random.default_rng(seed), np.float64, pen)
                wrong = [k for k, v in pen.hand.items() if not _close(v, known.hand[k])]
                if not wrong:
                    continue  # with these numbers it makes no difference
                rng = np.random.default_rng([seed, number])
                chosen = [k for k in pen.hand if rng.random() < 0.6 or (k == step and rng.random() < 0.7)]
                if not set(chosen) & set(wrong):
                    chosen = list(pen.hand)
                yield name, seed, step, label, loss, found, pen.hand, wrong, chosen


def _close(a, b):
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-6, atol=1e-12)


def test_known_mistakes_are_named():
    total = named = foremost = 0
    confusion = Counter()
    for name, seed, step, label, loss, found, hand, wrong, chosen in bank():
        report = mark({found[k]: hand[k] for k in chosen}, loss)
        assert not report.ok, f"{name} {seed}: {label} at {step} was not noticed"
        order = sorted((k for k in chosen if k in wrong), key=lambda k: found[k].node.order, reverse=True)
        first = found[order[0]]
        assert next(r for r in report.table if r.status == "wrong").name == report.first_wrong
        assert report.table[[r.status for r in report.table].index("wrong")].shape == first.shape
        total += 1
        named += label in [m.mistake for m in report.matches]
        foremost += label == report.mistake
        if label != report.mistake:
            also = "also " if label in [m.mistake for m in report.matches] else "NOT "
            confusion[label, report.mistake, also + label, name, step] += 1
    for row, n in confusion.most_common():
        print(n, *row)
    print(f"{total} wrong derivations: {named} named, {foremost} of them first")
    assert total >= 200
    assert named >= 0.95 * total
    assert foremost >= 0.95 * total  # the others cannot be told apart by the numbers


# Right answers
@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(DERIVATIONS)), seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float32, np.float64]),
    form=st.sampled_from(["array", "float32", "fortran", "strided", "list", "tensor"]), data=st.data(),
)  # fmt: skip
def test_a_right_answer_is_never_flagged(name, seed, dtype, form, data):
    pen = Pen()
    loss, found = DERIVATIONS[name](np.random.default_rng(seed), dtype, pen)
    chosen = data.draw(st.sets(st.sampled_from(sorted(pen.hand)), min_size=1))
    report = mark({found[k]: handed(pen.hand[k], form) for k in chosen}, loss)
    assert report.ok, str(report)
    assert report.first_wrong is report.mistake is None
    assert report.matches == ()
    assert {row.status for row in report.table} == {"right"}


def handed(a, form):
    a = np.asarray(a)
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1])) if a.ndim else a
    if form == "strided" and a.ndim:
        wide[..., ::2] = a
        return wide[..., ::2]
    forms = {"float32": lambda: a.astype(np.float32), "fortran": lambda: np.asfortranarray(a), "list": a.tolist,
             "tensor": lambda: mg.tensor(a)}  # fmt: skip
    return forms.get(form, lambda: a)()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float32, np.float64]), n=st.integers(1, 12), data=st.data())
def test_the_graphs_own_gradients_are_right(seed, dtype, n, data):
    rng = np.random.default_rng(seed)
    values = [mg.tensor(rng.normal(size=(3, 3)).astype(dtype), requires_grad=True) for _ in range(3)]
    leaves = list(values)
    ops = [lambda a, b: a * b, lambda a, b: a - b, lambda a, b: a @ b, lambda a, b: mg.tanh(a) + b, lambda a, b: mg.relu(a) - a,
           lambda a, b: mg.softmax(a, axis=-1) * b, lambda a, b: mg.exp(a * 0.1) / (b * b + 1), lambda a, b: a - a.mean()]  # fmt: skip
    for _ in range(n):
        pick = st.sampled_from(values)
        values.append(data.draw(st.sampled_from(ops))(data.draw(pick), data.draw(pick)))
    loss = (values[-1] * values[-1]).mean()
    grads = mg.gradients(loss, leaves, retain_graph=True, allow_unused=True)
    answers = {x: g.numpy().astype(np.float64) for x, g in zip(leaves, grads) if g is not None}
    if answers:
        assert mark(answers, loss).ok


def test_numbers_typed_with_few_digits_are_right():
    w0, x0, w1, x1, w2 = (mg.tensor(v, requires_grad=True, dtype="float64") for v in (2.0, -1.0, -3.0, -2.0, -3.0))
    f = 1 / (1 + mg.exp(-(w0 * x0 + w1 * x1 + w2)))  # notes 001, Figure 13
    assert mark({"w0": -0.1966, "x0": 0.393, "w1": -0.3932, "x1": -0.5898, "w2": 0.197}, f).ok
    report = mark({"w0": -0.1966, "x0": 0.393, "w1": -0.3932, "x1": 0.5898}, f)
    assert (report.first_wrong, report.mistake) == ("x1", "sign")
    assert not mark({"w0": -0.1968}, f).ok


# What is reported
def test_a_report_reads_as_a_sentence():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    W = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = W @ x
    loss = (y * y).sum() + x.sum()
    g = 2 * y.numpy()
    report = mark({"y": g, "W": np.outer(x.numpy(), g), "x": W.numpy() @ g + 1}, loss)
    assert not report.ok
    assert report.first_wrong in ("W", "x")
    assert report.mistake == "transposed"
    text = str(report)
    assert "every gradient above it is right" in text
    assert "It is transposed" in text
    assert next(row.name for row in report.table) == "y"
    assert [row.status for row in report.table].count("wrong") == 2  # neither of the two hangs on the other


def test_what_hangs_on_a_wrong_gradient_is_told_apart():
    x = mg.tensor(3.0, requires_grad=True)
    y = x * x
    z = mg.exp(y * 0.1)
    report = mark({"z": 1.0, "y": 0.9, "x": 5.4}, z)
    assert [(r.name, r.status) for r in report.table] == [("z", "right"), ("y", "wrong"), ("x", "follows")]
    assert "hangs on the above" in str(report)


def test_mistakes_that_the_numbers_cannot_tell_apart_are_all_named():
    x = mg.tensor(2.0, requires_grad=True)
    y = x * x  # x is used twice: one use alone is half of it, and so is a forgotten factor 2
    report = mark({"x": 2.0}, y)
    assert {"overwritten", "branch"} <= {m.mistake for m in report.matches}
    assert "which gives the same numbers here" in str(report)


def test_no_mistake_is_made_up():
    x = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    report = mark({"x": [0.123456789, 77.7, -5.55]}, (x * x).sum())
    assert (report.ok, report.mistake, report.matches) == (False, None, ())
    assert "No known mistake" in str(report)
    assert "off by up to 73.7" in str(report)


def test_not_a_number_is_right_only_where_it_is():
    x = mg.tensor([0.0, 4.0], requires_grad=True)
    loss = mg.sqrt(x).sum()
    assert mark({"x": [np.inf, 0.25]}, loss).ok
    assert not mark({"x": [np.nan, 0.25]}, loss).ok


def test_nothing_of_the_graph_changes():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()
    mark({"x": [2.0, 5.0]}, loss)
    assert x.grad is None
    loss.backward()
    assert x.grad.tolist() == [2.0, 4.0]
    assert mark({"x": [2.0, 4.0]}, loss).ok  # and again after backward


def test_it_starts_from_another_gradient():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    assert mark({x: [30.0, 60.0]}, y, gradient=[10.0, 20.0]).ok
    with pytest.raises(ShapeError, match="gradient="):
        mark({x: [3.0, 3.0]}, y)


def test_what_is_not_there_is_an_error():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    other = mg.tensor(1.0, requires_grad=True)
    loss = (x * x).sum()
    with pytest.raises(NotInGraphError, match="'w'"):
        mark({"w": 1.0}, loss)
    with pytest.raises(NotInGraphError, match="this tensor"):
        mark({other: 1.0}, loss)
    with pytest.raises(NotInGraphError, match="no graph"):
        mark({"x": 1.0}, mg.tensor(1.0))
    with pytest.raises(ValueError, match="no gradients to compare"):
        mark({}, loss)
    with pytest.raises(TypeError, match="expected numbers"):
        mark({"x": "two"}, loss)


def test_every_mistake_of_the_list_is_tried_on_the_bank():
    known = set()
    for derive in DERIVATIONS.values():
        pen = Pen()
        derive(np.random.default_rng(0), np.float64, pen)
        known |= {label for _, label in pen.known}
    assert set(MISTAKES) - known == {"factor"}  # which is what is left of a constant that no other name fits


def test_a_long_graph_is_marked_with_bounded_work(monkeypatch):
    x = mg.tensor(np.ones(4), requires_grad=True)
    h = x
    for _ in range(200):
        h = mg.tanh(h * x + 0.1) + h
    loss = h.sum()
    right = mg.gradients(loss, [x], retain_graph=True)[0].numpy()
    ran = []
    pull = testing.pull_back
    monkeypatch.setattr(testing, "pull_back", lambda seeds, wanted, **k: ran.append(len(wanted)) or pull(seeds, wanted, **k))
    assert mark({"x": [0.1, 7.0, -3.0, 1e5]}, loss).mistake is None
    assert sum(ran) <= 2 * testing.WORK
    assert mark({"x": -right}, loss).mistake == "sign"
