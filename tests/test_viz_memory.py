"""``viz.memory``: what is counted is what is there, and the predicted peak is the measured one within 5 %."""

from __future__ import annotations

import gc
import itertools
import re
import tracemalloc
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, threads, viz
from minigrad.errors import FreedGraphError, NotInGraphError, ShapeError
from minigrad.nn import models


def leaf(value, **kwargs):
    return mg.tensor(value, dtype=kwargs.pop("dtype", "float64"), requires_grad=True, **kwargs)


def mean_square(out):
    out = out[0] if isinstance(out, tuple) else out
    return mg.mean(out * out)


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 10)), (128, 256)),
    "wide": (lambda: nn.Sequential(nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024)), (4, 1024)),
    "lenet": (models.LeNet5, (32, 1, 32, 32)),
    "gru": (lambda: nn.GRU(64, 128, batch_first=True), (64, 12, 64)),
    "transformer": (lambda: nn.TransformerEncoderLayer(128, 4, 512, batch_first=True), (16, 32, 128)),
}  # fmt: skip


@pytest.mark.parametrize("again", [False, True], ids=["first", "accumulating"])
@pytest.mark.parametrize("name", MODELS)
def test_predicted_peak_is_the_measured_one(name, again, monkeypatch):
    monkeypatch.setattr(threads, "THREADS", 1)  # how many pieces of a large array are in work at a time is left to chance
    make, shape = MODELS[name]
    mean_square(make()(mg.zeros((1, *shape[1:])))).backward()  # what is imported and cached on first use
    gc.collect()
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        mg.manual_seed(0)
        net, x = make(), mg.tensor(np.random.default_rng(0).normal(size=shape).astype("float32"))
        if again:
            mean_square(net(x)).backward()
        loss = mean_square(net(x))
        predicted = viz.memory(loss)
        gc.collect()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0] - start
        loss.backward()
        measured = tracemalloc.get_traced_memory()[1] - start
    finally:
        tracemalloc.stop()
    assert abs(predicted.peak / measured - 1) < 0.05, f"{predicted.peak} predicted, {measured} measured"
    counted = sum(n for kind, n in predicted.totals.items() if kind != "saved")
    assert abs(counted / before - 1) < 0.05, f"{counted} counted, {before} measured before backward"


def test_what_is_counted():
    x, w, b = mg.ones((64, 32)), leaf(np.zeros((32, 16)), dtype="float32"), leaf(np.zeros(16), dtype="float32")
    h = mg.tanh(x @ w + b)
    loss = mg.sum(h * h)
    found = viz.memory(loss)
    rows = {r.name: r for r in found.rows}
    assert (rows["x"].kind, rows["x"].bytes, rows["x"].needs) == ("input", 64 * 32 * 4, ("matmul for b",))
    assert (rows["w"].kind, rows["w"].bytes, rows["w"].until) == ("parameter", 32 * 16 * 4, None)
    assert (rows["b"].kind, rows["b"].bytes) == ("parameter", 16 * 4)
    assert rows["h"].needs == ("tanh for a", "multiply for b", "multiply for a")
    assert rows["h"].until is None  # the variable h holds it
    assert found.totals["gradient"] == 0
    del h
    rows = {r.op: r for r in viz.memory(loss).rows if r.kind == "activation"}
    assert rows["tanh"].until == 3  # sum, multiply, tanh
    assert set(rows) == {"tanh", "sum"}  # neither matmul's nor add's output is kept


def test_release_steps_are_those_of_backward():
    """After each step the arrays that were to go are gone, and no others."""
    import weakref

    mg.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 40), nn.Sigmoid(), nn.Linear(40, 20), nn.Tanh())
    loss = mg.sum(net(mg.ones((50, 20))))
    found = viz.memory(loss)
    order = sorted((n for n in mg.graph.ancestors([loss.node]) if n.op is not None), key=lambda n: -n.order)
    step = {node: k for k, node in enumerate(order, 1)}
    outputs = {step[n]: weakref.ref(n.saved[0]) for n in order if n.op.name in ("tanh", "sigmoid")}
    promised = sorted(r.until for r in found.rows if r.op in ("tanh", "sigmoid"))
    gone = []
    for k, node in enumerate(order, 1):
        mg.graph.release(node)
        gone += [(made, k) for made, ref in outputs.items() if ref() is None and made not in {m for m, _ in gone}]
    assert sorted(k for _, k in gone) == promised


def test_shared_arrays_and_views_are_counted_once():
    w = leaf(np.zeros((100, 100)))
    x = leaf(np.zeros((100, 100)))
    loss = mg.sum((x @ w.T) * (x @ w)) + mg.sum(w.reshape(10000) * w.reshape(10000))
    found = viz.memory(loss)
    assert found.totals["parameter"] == 2 * 80000
    assert sum(r.bytes for r in found.rows if r.name == "w") == 80000
    assert len([r for r in found.rows if r.bytes >= 80000 and r.kind == "activation"]) == 2


def test_gradients_inspection_and_scopes():
    net = nn.Sequential(nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 1))
    mg.mean(net(mg.ones((50, 30)))).backward()
    with mg.inspect():
        loss = mg.mean(net(mg.ones((50, 30))))
    found = viz.memory(loss)
    assert found.totals["gradient"] == found.totals["parameter"] == sum(p.data.nbytes for p in net.parameters())
    assert {"0.weight.grad", "2.bias.grad"} <= {r.name for r in found.rows if r.kind == "gradient"}
    assert found.totals["saved"] == 0  # inspected nodes keep everything
    assert found.scopes["Sequential"] == sum(n for scope, n in found.scopes.items() if scope.count(".") == 1)
    assert all(r.where.startswith(__file__) for r in found.rows if r.kind == "activation")


def test_nothing_changes():
    rng = np.random.default_rng(0)
    w = leaf(rng.normal(size=(300, 30)))
    x = leaf(rng.normal(size=(40, 300)))
    loss = mg.sum(mg.tanh(x @ w))
    other = mg.sum(mg.tanh(x @ w))
    viz.memory(loss)
    assert w.grad is None
    loss.backward()
    mine = w.grad.numpy().copy()
    w.grad = None
    other.backward()
    np.testing.assert_array_equal(w.grad.numpy(), mine)
    assert not tracemalloc.is_tracing()


def test_timeline_and_pictures(tmp_path):
    h = x = leaf(np.zeros((100, 100)))
    for _ in range(10):
        h = mg.sin(h)
    loss = mg.mean(h)
    del h
    found = viz.memory(loss)
    steps, amounts = zip(*found.timeline)
    assert list(steps) == list(range(-10, 13))
    forward = amounts[: steps.index(0) + 1]
    assert all(a <= b for a, b in itertools.pairwise(forward))
    assert forward[-2] - forward[0] == 8 * x.data.nbytes  # the last sine's output is not needed
    assert found.peak == max(amounts[steps.index(0) + 1 :])
    root = ET.fromstring(found.svg())
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "forward: 11 operations" in texts
    assert any(t.startswith("peak ") for t in texts)
    assert found.save(tmp_path / "m.svg").read_text() == found.svg()
    assert found.save(tmp_path / "m.txt").read_text() == f"{found}\n"
    assert set(found._repr_mimebundle_()) == {"text/plain", "text/html"}
    with pytest.raises(ValueError, match=r"svg or \.txt"):
        found.save(tmp_path / "m.png")


def test_text():
    w = leaf(np.zeros((50, 50)), name="w")
    text = str(viz.memory(mg.sum(mg.exp(w))))
    assert re.search(r"20 kB  parameter\s+w", text)
    assert re.search(r"20 kB  activation\s+exp\s+\(50, 50\)\s+exp for a\s+2", text)
    assert "backward will peak at" in text


def test_hooks_and_upstream_gradients():
    w = leaf(np.zeros((50, 50)))
    y = mg.exp(w)
    with pytest.raises(ShapeError, match="gradient="):
        viz.memory(y)
    with pytest.raises(ShapeError, match="expected"):
        viz.memory(y, np.ones(3))
    assert viz.memory(y, np.ones((50, 50))).peak > 60000


def test_misuse_is_told():
    w = leaf(np.zeros(500))
    loss = mg.sum(mg.exp(w))
    loss.backward()
    with pytest.raises(FreedGraphError, match="before"):
        viz.memory(loss)
    with pytest.raises(NotInGraphError):
        viz.memory(mg.ones(3))
    with pytest.raises(TypeError, match="float"):
        viz.memory(3.0)
