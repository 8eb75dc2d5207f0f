"""Folded drawings: few boxes, honest counts, every edge accounted for, and the engine's gradients."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, viz
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn.models import LeNet5, resnet18
from minigrad.viz import format as fmt
from minigrad.viz.fold import MOST, ROOM, assembly, folded
from minigrad.viz.outline import CONSTANT, Outline
from minigrad.viz.records import everything

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def seeded():
    mg.manual_seed(0)


def leaf(value, **kwargs):
    return mg.tensor(value, dtype="float64", requires_grad=True, **kwargs)


def data(*shape):
    return mg.tensor(np.random.default_rng(0).normal(size=shape).astype("float32"))


def boxes(r):
    return [g for g in r.groups if not g.frame]


def frames(r):
    return [g for g in r.groups if g.frame]


def check(t, **options):
    """What holds for every folded graph; returns its records."""
    a = assembly(t, **options)
    r = a.records(None)
    o, n = a.outline, len(everything(t.node))
    inputs = {box.id for box in a.boxes if box.kind == "value"}
    counted = sum(g.operations + g.leaves for g in boxes(r) if g.kind != "constants") + len(inputs)
    assert counted == n, f"boxes stand for {counted} nodes of {n}"
    assert inputs <= {v.id for v in r.values}
    ids = {v.id for v in r.values} | {g.id for g in r.groups}
    assert len(ids) == len(r.values) + len(r.groups)
    known = {g.id for g in frames(r)} | {""}
    assert {v.group for v in r.values} | {g.group for g in r.groups} <= known
    for g in frames(r):
        inside = [other for other in boxes(r) if g.id in around(r, other.group)]
        single = [v for v in r.values if v.op and g.id in around(r, v.group)]
        assert g.operations == sum(other.operations for other in inside) + len(single)

    # every edge of the graph is inside a box, or counted between the boxes of its ends; nothing else is
    def box(place):
        return a.boxes[a.box[place] if place >= 0 else a.leaf_box[-2 - place]]

    real = Counter()
    for source, user in zip(o.source.tolist(), o.user.tolist()):
        if source != CONSTANT:
            real[box(source).id, box(user).id] += 1
    made = {box.id for box in a.boxes if box.kind != "constants"}  # the rest are arrays that are no nodes
    shown = Counter((e.source, e.target) for e in r.edges if e.source in made)
    for b in r.bundles:
        if b.source in made:
            shown[b.source, b.target] += b.count
    for ends in real.keys() | shown.keys():
        if ends[0] == ends[1]:
            assert ends[0] not in inputs
            assert shown[ends] <= real[ends]
        else:
            assert shown[ends] == real[ends], ends
    graph = networkx.DiGraph([(e.source, e.target) for e in (*r.edges, *r.bundles) if not getattr(e, "lag", 0)])
    assert networkx.is_directed_acyclic_graph(graph)
    for b in r.bundles:
        if b.lag:  # between copies of a repeat that is there to be seen
            common = {b.source} & {b.target} | set(around(r, group_of(r, b.source))) & set(around(r, group_of(r, b.target)))
            assert any(g.id in common and g.repeat > 1 for g in r.groups), b
    return r


def group_of(r, key):
    return next((x.group for x in (*r.values, *r.groups) if x.id == key), "")


def around(r, key):
    """The frames around, the innermost first."""
    found = []
    while key:
        found.append(key)
        key = group_of(r, key)
    return found


def mlp(*sizes):
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1])


def recurrence(steps):
    """A hand-written recurrence: h = tanh(x[t] U + h W + b)."""
    rng = np.random.default_rng(0)
    W, U, b = leaf(rng.normal(size=(4, 4)) / 4, name="W"), leaf(rng.normal(size=(3, 4)), name="U"), leaf(np.zeros(4), name="b")
    x, h = rng.normal(size=(steps, 2, 3)), mg.tensor(np.zeros((2, 4)))
    for t in range(steps):
        h = mg.tanh(mg.matmul(x[t], U) + mg.matmul(h, W) + b)
    h.name = "h"
    return mg.sum(h * h)


# Modules
def test_a_small_network_is_drawn_whole_with_frames_around_its_modules():
    x = data(4, 2)
    r = check(mlp(2, 3, 1)(x).sum())
    assert not boxes(r)
    assert [(g.name, g.type, g.operations, g.parameters) for g in r.groups] == [
        ("Sequential", "Sequential", 3, 13),
        ("0", "Linear", 1, 9),
        ("1", "Tanh", 1, 0),
        ("2", "Linear", 1, 4),
    ]
    assert {g.group for g in r.groups[1:]} == {r.groups[0].id}
    assert r["0.weight"].group == r.groups[1].id
    assert r["x"].group == "", "what is given to a module stands outside"


@pytest.mark.parametrize(("depth", "expected"), [(0, ["Sequential"]), (1, ["Linear", "Tanh", "Linear"]), (2, [])])
def test_depth(depth, expected):
    r = check(mlp(2, 3, 1)(data(4, 2)).sum(), depth=depth)
    assert [g.type for g in boxes(r)] == expected


def test_lenet_by_layer():
    images = data(2, 1, 32, 32)
    r = check(F.cross_entropy(LeNet5()(images), mg.tensor([1, 2])), depth=1)
    assert [g.name for g in boxes(r) if g.parameters] == ["c1", "c3", "c5", "f6", "output"]
    assert [g.parameters for g in boxes(r) if g.parameters] == [156, 2_416, 48_120, 10_164, 850]
    assert next(g for g in r.groups if g.type == "LeNet5").parameters == 61_706
    assert [g.shape for g in boxes(r) if g.type == "Conv2d"] == [(2, 6, 28, 28), (2, 16, 10, 10), (2, 120, 1, 1)]


def test_resnet_is_the_stack_of_the_paper():
    r = check(resnet18(10)(data(2, 3, 32, 32)).sum())
    assert [g.type for g in boxes(r)] == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", *["BasicBlock"] * 8, "Linear"]
    assert [g.name for g in frames(r)] == ["ResNet", "layer1", "layer2", "layer3", "layer4"]
    assert sum(g.parameters for g in boxes(r)) == sum(p.size for p in resnet18(10).parameters())
    assert len(boxes(r)) + len(r.values) <= ROOM


def test_all_of_a_kind_are_opened_or_none():
    r = check(resnet18(10)(data(2, 3, 32, 32)).sum(), unfold=["layer1.0"])
    assert [(g.name, g.type) for g in frames(r) if g.type == "BasicBlock"] == [("0", "BasicBlock")]
    assert len([g for g in boxes(r) if g.type == "BasicBlock"]) == 7


@pytest.mark.parametrize("pattern", ["Linear", "0", "[02]", "Sequential.?"])
def test_patterns_fold_modules(pattern):
    r = check(mlp(2, 3, 1)(data(4, 2)).sum(), fold=[pattern])
    assert ("Linear", "0") in [(g.type, g.name) for g in boxes(r)]
    assert r[r.output].op == "sum"


def test_patterns_alone_roll_nothing_that_fits():
    cell, h = nn.GRUCell(3, 4), mg.zeros((2, 4))
    for x in data(3, 2, 3):
        h = cell(x, h)
    r = check(h.sum(), fold=["GRUCell"])
    assert [(g.type, g.repeat) for g in boxes(r)] == [("GRUCell", 1)] * 3
    assert not frames(r)


def test_folding_can_be_switched_off():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 3)
    y = model(data(5, 2, 8)).sum()
    r = check(y, fold=False)
    assert not boxes(r)
    assert not r.bundles
    assert len(check(y).values) < ROOM < len(r.values)


def test_a_module_that_is_called_twice_is_two_boxes_and_its_weights_are_between_them():
    class Twice(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(mg.tanh(self.fc(x)))

    r = check(Twice()(data(2, 3)).sum(), depth=1)
    assert [g.name for g in boxes(r)] == ["fc", "fc"]
    assert all(g.parameters == 0 for g in boxes(r))
    first, second = (g.id for g in boxes(r))
    assert {b.target for b in r.bundles if b.source == r["fc.weight"].id} == {first, second}


def test_calls_in_a_row_are_told_apart():
    class Cell(nn.Module):
        def __init__(self):
            self.inner, self.outer = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return mg.tanh(self.outer(mg.tanh(self.inner(x))))

    cell, x = Cell(), data(2, 3)
    y = cell(cell(x))
    outline = Outline(everything(y.sum().node))
    assert [(kid.name, kid.end - kid.start, len(kid.kids)) for kid in outline.root.kids] == [("Cell", 4, 2), ("Cell", 4, 2)]


def test_skip_connections_and_several_outputs_cross_folded_modules():
    class Two(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return mg.split(self.fc(x), 2, -1)

    two, end = Two(), nn.Linear(2, 2)
    x = leaf(np.ones((3, 4)), name="x")
    a, b = two(x)
    y = mg.sum(end(a) * b + x[:, :2])
    r = check(y, depth=0)
    first, second = boxes(r)
    assert (first.type, first.outputs, first.shape) == ("Two", 2, (3, 2))
    assert [(b.source, b.count) for b in r.bundles if b.target == second.id] == [(first.id, 1)]
    assert r["x"].group == ""
    assert "x" in {r[b.source].name for b in r.bundles if b.target == first.id}


# Repeats and time
def test_equal_blocks_are_one_that_repeats():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), 6)
    y = model(leaf(np.ones((5, 2, 8), "float32"), name="x")).sum()
    r = check(y)
    (repeat,) = [g for g in r.groups if g.repeat == 6 and g.type == "TransformerEncoderLayer"]
    assert (repeat.kind, repeat.name) == ("repeat", "layers.0 \N{HORIZONTAL ELLIPSIS} layers.5")
    assert repeat.parameters == sum(p.size for p in model.parameters())
    assert "layers.0 \N{HORIZONTAL ELLIPSIS} layers.5 \N{MULTIPLICATION SIGN}6" in viz.draw(y).source
    (one,) = [g for g in check(y, depth=1).groups if g.type == "TransformerEncoderLayer"]
    assert (one.repeat, one.operations, one.frame) == (6, repeat.operations, False)


def test_time_steps_are_one_rolled_cell():
    loss = recurrence(50)
    loss.backward()
    r = check(loss)
    (loop,) = frames(r)
    assert (loop.kind, loop.repeat, loop.operations) == ("loop", 50, 250)
    assert [(g.name, g.repeat) for g in boxes(r) if g.kind == "op"] == [
        ("matmul", 50), ("matmul", 50), ("add", 50), ("add", 50), ("tanh", 50)
    ]  # fmt: skip
    (carried,) = [b for b in r.bundles if b.lag]
    assert (carried.label, carried.count, carried.lag, carried.shape) == ("h", 49, 1, (2, 4))
    for name in "WUb":  # the weights of all steps stand outside
        assert r[name].group == ""
        (use,) = [b for b in r.bundles if b.source == r[name].id]
        assert use.count == 50
    (arrays,) = [g for g in r.groups if g.kind == "constants"]
    assert (arrays.leaves, arrays.shape) == (50, (2, 3))
    source = viz.draw(loss).source
    assert "\N{CLOCKWISE OPEN CIRCLE ARROW} h \N{MULTIPLICATION SIGN}49" in source
    for told in ("time steps, one shown", "handed to the next", "n: n of them", "several arrays"):
        assert told in source, "the legend"


def test_gated_steps_are_rolled_and_can_be_unrolled():
    W, U, V = (leaf(np.eye(3), name=name) for name in "WUV")
    h = mg.zeros((2, 3), dtype="float64")
    for x in data(50, 2, 3):
        z = mg.sigmoid(x @ V)
        h = z * h + (1 - z) * mg.tanh(x @ W + h @ U)
    r = check(h)
    (loop,) = [g for g in r.groups if g.kind == "loop"]
    assert (loop.repeat, loop.operations) == (50, 50 * 10)
    assert [b.count for b in r.bundles if b.lag] == [49, 49], "h is used by the product and by the gate"
    (last,) = [g for g in boxes(r) if g.id == r.output]
    np.testing.assert_array_equal(last.value, h.numpy())
    assert f">{fmt.line(h.numpy())}</FONT>" in viz.draw(h).source, "a loop that ends the graph shows its output's value"
    unrolled = check(h, fold=False)
    assert len(unrolled.values) > 500
    assert not unrolled.bundles


def test_a_cell_that_is_called_at_each_step_is_rolled():
    cell, h = nn.LSTMCell(3, 4), None
    for x in np.random.default_rng(0).normal(size=(30, 2, 3)).astype("float32"):
        h = cell(mg.tensor(x), h)
    r = check(h[0].sum())
    (loop,) = [g for g in r.groups if g.kind == "loop"]
    assert (loop.type, loop.repeat) == ("LSTMCell", 30)
    assert {v.name for v in r.values if v.kind == "parameter"} == {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}


def test_what_is_not_wired_alike_is_not_a_repeat():
    x = leaf(0.5, name="x")
    values = [x]
    for k in range(300):  # the same operation each time, on operands ever further back
        values.append(mg.add(values[-1], values[k // 2]))
    r = check(values[-1])
    assert not [g for g in r.groups if g.kind in ("loop", "repeat") and g.operations > 100]
    assert len(r.values) + len(boxes(r)) <= MOST


# Size
def test_a_chain_of_100_000_operations_is_few_boxes():
    x = leaf(0.5, name="x")
    y = x
    for k in np.random.default_rng(0).integers(0, 3, 99_999).tolist():
        y = (mg.tanh, mg.sin, mg.cos)[k](y)
    y = y * 2.0
    r = check(y)
    (chain,) = boxes(r)
    assert (chain.kind, chain.operations) == ("chain", 99_999)
    assert dict(chain.made).keys() == {"tanh", "sin", "cos"}
    assert "chain of 99,999 operations" in viz.draw(y).source
    assert r["x"].kind == "parameter"
    assert r[r.output].op == "multiply"


@pytest.mark.parametrize("shape", ["wide", "tangled", "loop"])
def test_a_graph_of_30_000_nodes_is_at_most_150_boxes(shape):
    n = 15_000
    rng = np.random.default_rng(0)
    values = [leaf(0.5) for _ in range(n if shape == "wide" else 1)]
    if shape == "wide":
        while len(values) > 1:
            values = [a + b for a, b in zip(values[::2], values[1::2])] + ([values[-1]] if len(values) % 2 else [])
    elif shape == "loop":
        for _ in range(n):
            values = [mg.tanh(values[-1]) * 0.5]
    else:
        for back in rng.integers(1, 40, n).tolist():
            values.append(mg.sin(values[-1]) + values[max(-back, -len(values))])
    r = check(values[-1])
    assert len(r.values) + len(boxes(r)) <= MOST
    assert viz.draw(values[-1]).svg()


def test_gradients_are_left_out_of_very_large_graphs_and_that_is_said(monkeypatch):
    monkeypatch.setattr("minigrad.viz.assembly.GRADIENTS", 100)
    loss = recurrence(50)
    r = folded(loss, backward=True)
    assert "more than 100" in r.note
    assert all(v.gradient is None for v in r.values)


# Gradients
def test_gradients_of_folded_graphs_are_those_of_the_engine():
    loss = recurrence(50)
    loss.backward()
    r = folded(loss)
    engine = {node.name: node.grad.numpy() for node in everything(loss.node) if node.op is None and node.requires_grad}
    for name in "WUb":
        np.testing.assert_array_equal(r[name].gradient, engine[name])
        (use,) = [b for b in r.bundles if b.source == r[name].id]
        np.testing.assert_array_equal(use.contribution, engine[name])
        assert use.norm == pytest.approx(np.linalg.norm(engine[name]))


def test_norms_in_boxes_are_those_of_the_engine():
    model, x = mlp(2, 8, 8, 1), data(16, 2)
    loss = model(x).sum()
    loss.backward()
    r = folded(loss, depth=1)
    for g in boxes(r):
        if g.parameters:
            grads = [p.grad.numpy() for name, p in model.named_parameters() if name.startswith(f"{g.name}.")]
            assert g.weights == pytest.approx(np.sqrt(sum((grad.astype("float64") ** 2).sum() for grad in grads)), rel=1e-5)
    whole = folded(loss, depth=0).groups[0]
    assert whole.weights == pytest.approx(np.sqrt(sum((p.grad.numpy() ** 2).sum() for p in model.parameters())), rel=1e-5)
    assert whole.gradient == (pytest.approx(4.0),), "the norm of sixteen ones"


def test_a_vanishing_gradient_can_be_read_off_the_time_steps():
    loss = recurrence(50)
    loss.backward()
    (tanh,) = [g for g in folded(loss).groups if g.name == "tanh"]
    assert len(tanh.gradient) == 50
    assert tanh.gradient[0] < 1e-6 * tanh.gradient[-1]
    assert tanh.gradient[-1] == pytest.approx(np.linalg.norm(2 * folded(loss, fold=False)["h"].value))


def test_what_is_frozen_or_freed_shows_what_is_known():
    model = nn.Sequential(nn.Linear(200, 300), nn.ReLU(), nn.Linear(300, 200))
    loss = model(data(50, 200)).sum()
    loss.backward()
    r = folded(loss, depth=1)
    first = boxes(r)[0]
    assert first.held
    assert first.weights == pytest.approx(np.sqrt(sum((p.grad.numpy() ** 2).sum() for p in model[0].parameters())), rel=1e-5)
    assert "inspect" in r.note
    assert "parameters&#x27; .grad" in viz.draw(loss, depth=1).source


# Any graph at all
class Program(nn.Module):
    """A module that runs a list of operations and of modules inside it, on a stack of values."""

    def __init__(self, steps):
        self.weight = nn.Parameter([0.9, 1.1])
        self._steps = []
        for k, step in enumerate(steps):
            if isinstance(step, list):
                setattr(self, f"inner{k}", Program(step))
                step = f"inner{k}"
            self._steps.append(step)

    def forward(self, values):
        for step in self._steps:
            if isinstance(step, str):
                values = getattr(self, step)(values)
                continue
            kind, back, times = step
            for _ in range(times):
                other = values[max(-back, -len(values))]
                made = (mg.tanh, lambda v: v * self.weight, lambda v, u=other: v + u, lambda v: v * 0.5)[kind](values[-1])
                values = [*values, made]
        return values


ops = st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 9))
programs = st.recursive(
    st.lists(ops, min_size=1, max_size=4), lambda inner: st.lists(ops | inner, min_size=1, max_size=4), max_leaves=8
)


@settings(max_examples=60, deadline=None)
@given(st.lists(programs, min_size=1, max_size=3), st.integers(1, 5), st.sampled_from(["auto", True, False]), st.integers(0, 4))
def test_nothing_is_lost_however_a_graph_is_folded(steps, times, fold, depth):
    models = [Program(step) for step in steps]
    values = [leaf([0.3, 0.4], name="x")]
    for _ in range(times):
        for model in models:
            values = model(values)
    loss = mg.sum(values[-1])
    for options in ({"fold": fold}, {"fold": fold, "depth": depth}, {"fold": True, "depth": 0}):
        check(loss, **options)
    r = folded(loss, backward=True, fold=True)
    loss.backward()
    for v in r.values:
        if v.kind == "parameter":
            parts = [e.contribution for e in r.edges if e.source == v.id] + [
                b.contribution for b in r.bundles if b.source == v.id
            ]
            np.testing.assert_allclose(sum(parts), v.gradient, rtol=1e-4)
    assert viz.draw(loss, fold=fold).source == viz.draw(loss, fold=fold).source


# The picture
def golden(name, text, overwrite):
    path = GOLDEN / name
    if overwrite:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; if that is meant, run pytest --overwrite and look"


def test_golden_recurrence(overwrite):
    loss = recurrence(50)
    loss.name = "loss"
    golden("recurrence.dot", viz.draw(loss).source, overwrite)


def test_golden_network(overwrite):
    x = data(4, 2)
    x.name = "x"
    golden("network.dot", viz.draw(mlp(2, 3, 1)(x).sum(), depth=1, backward=False).source, overwrite)


def test_folded_source_does_not_depend_on_hash_seeds():
    program = (
        "import minigrad as mg\nfrom minigrad import nn, viz\nmg.manual_seed(0)\nx = mg.ones((30, 2, 3))\n"
        "y = nn.GRU(3, 4)(x)[0].sum()\ny.backward()\nprint(viz.draw(y).source)"
    )
    runs = {
        subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": s}, capture_output=True, check=True).stdout
        for s in ("1", "2")
    }
    assert len(runs) == 1


def test_frames_are_clusters_inside_clusters():
    source = viz.draw(mlp(2, 3, 1)(data(4, 2)).sum()).source
    assert source.count("subgraph cluster_") == 4
    assert source.count("{") == source.count("}")
    assert "<B>Sequential</B>" in source
    assert "Linear" in source


def test_long_drawings_run_downwards():
    assert "rankdir=TB" in viz.draw(resnet18(10)(data(2, 3, 32, 32)).sum()).source
    assert "rankdir=LR" in viz.draw(mlp(2, 3, 1)(data(4, 2)).sum()).source
    assert "rankdir=LR" in viz.draw(resnet18(10)(data(2, 3, 32, 32)).sum(), rankdir="LR").source


def test_an_explicit_limit_shows_the_nearest_values():
    r = viz.draw(recurrence(50), limit=20).records
    assert len(r.values) == 20
    assert r.hidden > 0
    assert not r.groups


def test_errors_say_what_to_do():
    y = leaf(1.0) * 2.0
    with pytest.raises(ValueError, match="fold='encoder': expected 'auto', True, False or a list"):
        viz.draw(y, fold="encoder")
    with pytest.raises(ValueError, match="depth=-1: expected a number of levels"):
        viz.draw(y, depth=-1)
    with pytest.raises(TypeError, match="expected a Tensor, got float"):
        folded(3.0)
    assert [v.kind for v in folded(mg.tensor(1.0)).values] == ["input"]
