"""``mark`` names the mistake in wrong hand derivations, written independently of it, and never flags a right one."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
from minigrad.errors import NotInGraphError, ShapeError
from minigrad.testing import mark
from minigrad.testing.mark import MISTAKES


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
    pen("w", X.T @ dr + 0.2 * w, overwritten=lambda: X.T @ dr, branch=lambda: 0.2 * w + 0.1 * 0, transposed=lambda: (X.T @ dr + 0.2 * w).T)
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
    pen("r", (dm * c).sum(1, keepdims=True), broadcast=lambda: dm * c, shape=lambda: (dm * c).sum(1), upstream=lambda: np.broadcast_to(c, y.shape).sum(1, keepdims=True))
    return loss, t


DERIVATIONS = {
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
    assert foremost >= 0.85 * total
