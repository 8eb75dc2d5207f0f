"""Graphs as data: the JSON round trip is exact, networkx reads it, and the examples of analysis answer what they ask."""

from __future__ import annotations

import dataclasses
import json
import math

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import nn, viz
from minigrad.viz import analysis
from minigrad.viz.records import Records, Value


def leaf(value, **kwargs):
    return mg.tensor(value, dtype=kwargs.pop("dtype", "float64"), requires_grad=True, **kwargs)


def same(a, b):
    """Equal in every bit, dtype, shape and type."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return (isinstance(a, str) or type(a) is type(b)) and a == b  # a module label is a kind of string


def circuit():
    x, y, z = leaf(2.0, name="x"), leaf(3.0, name="y"), leaf(4.0, name="z")
    f = (x + y) * z
    f.backward()
    return f


def network():
    mg.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    with mg.inspect():
        loss = mg.mean(net(mg.tensor(np.random.default_rng(0).normal(size=(20, 5)), dtype="float32")) ** 2)
    loss.backward()
    return loss


def odd_values():
    """NaN, infinities, -0.0, integers, bools, an empty and a 0-d array, and an index."""
    x = leaf([np.nan, np.inf, -np.inf, -0.0, 1e-310])
    with mg.inspect(), np.errstate(all="ignore"):
        empty = mg.sum(x[5:])
        picked = x[mg.tensor([0, 3])]
        return mg.sum(mg.where(x > 0, x, 0.0)) + empty + mg.sum(picked * np.array([True, False])) + mg.max(x, axis=0)


@pytest.mark.parametrize("make", [circuit, network, odd_values])
def test_json_round_trip_is_exact(make):
    r = viz.records(make())
    text = viz.to_json(r)
    again = viz.from_json(text)
    assert same(again, r)
    assert viz.to_json(again) == text
    assert isinstance(again, Records)
    assert not any(v.value.flags.writeable for v in again.values if v.value is not None)


DTYPES = ["<f8", ">f8", "<f4", "<f2", "<i8", "<i1", "<u2", "?", "<c16", "<c8"]


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(st.sampled_from(DTYPES).map(np.dtype), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
def test_any_array_survives(array):
    r = viz.records(circuit())
    first = dataclasses.replace(r.values[0], value=array, gradient=array.T)
    r = dataclasses.replace(r, values=(first, *r.values[1:]))
    back = viz.from_json(viz.to_json(r)).values[0]
    for given_, found in ((array, back.value), (array.T, back.gradient)):
        assert found.dtype == given_.dtype.newbyteorder("=")
        assert found.shape == given_.shape
        assert found.tobytes() == np.ascontiguousarray(given_).astype(found.dtype).tobytes()


def test_json_is_standard_and_deterministic():
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    text = viz.to_json(odd_values())
    json.loads(text, parse_constant=refuse)
    first, second = viz.to_json(network()), viz.to_json(network())
    assert first == second
    assert len(viz.to_json(circuit(), indent=2).splitlines()) > 20


def test_networkx_reads_the_json():
    loss = network()
    graph = viz.to_networkx(loss)
    read = networkx.node_link_graph(json.loads(viz.to_json(loss)), edges="edges")
    assert type(read) is networkx.MultiDiGraph
    assert list(read.nodes) == list(graph.nodes)
    assert sorted(read.edges(keys=True)) == sorted(graph.edges(keys=True))
    assert read.graph["output"] == graph.graph["output"]
    assert [read.nodes[n]["op"] for n in read] == [graph.nodes[n]["op"] for n in graph]


def test_networkx_from_json_is_the_same_graph():
    loss = network()
    graph, again = viz.to_networkx(loss), viz.to_networkx(viz.from_json(viz.to_json(loss)))
    assert list(again.nodes) == list(graph.nodes)
    for n in graph:
        assert all(same(again.nodes[n][key], value) for key, value in graph.nodes[n].items())
    for u, v, k, data in graph.edges(keys=True, data=True):
        assert all(same(again.edges[u, v, k][key], value) for key, value in data.items())
    assert set(graph.nodes["n0"]) == {f.name for f in dataclasses.fields(Value)} - {"id"}


@pytest.mark.parametrize(
    ("text", "words"), [("{}", "found None"), ("[1]", "found None"), ('{"format": "minigrad records 1"}', "incomplete")]
)
def test_other_json_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        viz.from_json(text)


def test_arguments_that_records_cannot_take_are_refused():
    with pytest.raises(ValueError, match="made already"):
        viz.to_json(viz.records(circuit()), backward=True)


# Analysis
def label(graph, key):
    return graph.nodes[key]["name"] or graph.nodes[key]["op"]


def test_critical_path_by_operations_and_by_flops():
    x, w = leaf(np.ones((8, 8)), name="x"), leaf(np.ones((8, 8)), name="w")
    long = mg.tanh(mg.tanh(mg.tanh(mg.sum(x))))
    heavy = mg.sum(x @ w @ w)
    graph = viz.to_networkx(long * heavy)
    steps, path = analysis.critical_path(graph)
    assert steps == 5
    assert [graph.nodes[k]["op"] for k in path] == ["", "sum", "tanh", "tanh", "tanh", "multiply"]
    total, path = analysis.critical_path(graph, analysis.flops)
    assert [graph.nodes[k]["op"] for k in path] == ["", "matmul", "matmul", "sum", "multiply"]
    assert total == 2 * (2 * 8**3) + 64 + 1
    assert networkx.is_path(graph, path)


def test_critical_path_against_all_paths():
    rng = np.random.default_rng(0)
    for _ in range(20):
        pool = [leaf(1.0), leaf(2.0)]
        for _ in range(7):
            a, b = (pool[i] for i in rng.integers(len(pool), size=2))
            pool.append(mg.tanh(a) if rng.random() < 0.3 else a + b)
        graph = viz.to_networkx(pool[-1])
        weights = {key: int(rng.integers(1, 9)) for key in graph}
        out = graph.graph["output"]
        simple = networkx.DiGraph(graph)
        sources = [n for n in simple if simple.in_degree(n) == 0]
        paths = [p for s in sources for p in networkx.all_simple_paths(simple, s, out)] or [[out]]
        total, path = analysis.critical_path(graph, lambda g, k, w=weights: w[k])
        assert total == max(sum(weights[k] for k in p) for p in paths)
        assert total == sum(weights[k] for k in path)


def test_dominators_are_what_all_paths_share():
    rng = np.random.default_rng(1)
    checked = 0
    for _ in range(20):
        pool = [leaf(1.0), leaf(2.0)]
        for _ in range(7):
            a, b = (pool[i] for i in rng.integers(len(pool), size=2))
            pool.append(mg.tanh(a) if rng.random() < 0.4 else a * b)
        graph = viz.to_networkx(pool[-1])
        out, simple = graph.graph["output"], networkx.DiGraph(graph)
        for key in graph:
            if key == out:
                continue
            paths = [set(p) for p in networkx.all_simple_paths(simple, key, out)]
            assert set(analysis.dominators(graph, key)) == set.intersection(*paths)
            checked += 1
    assert checked > 50
    with pytest.raises(KeyError):
        analysis.dominators(graph, "n99")


def test_held_adds_up():
    graph = viz.to_networkx(network())
    total = analysis.held(graph)
    own = {k: n["value"].nbytes if n["value"] is not None else 0 for k, n in graph.nodes(data=True)}
    assert total[graph.graph["output"]] == sum(own.values())
    assert all(total[k] >= own[k] for k in graph)


def test_flops_of_a_convolution():
    x, w = leaf(np.zeros((2, 3, 8, 8)), dtype="float32"), leaf(np.zeros((4, 3, 3, 3)), dtype="float32")
    graph = viz.to_networkx(nn.functional.conv2d(x, w))
    conv = next(k for k in graph if graph.nodes[k]["op"] == "conv")
    assert analysis.flops(graph, conv) == 2 * math.prod((2, 4, 6, 6)) * 27


def test_what_keeps_a_graph_alive():
    w = leaf(1.0)
    losses = []
    for _ in range(3):
        h = mg.tanh(w)
        losses.append(h * 2.0)
    found = analysis.keeping_alive(h)
    assert [(holder.name, holder.nodes) for holder in found] == [("losses[2]", 3), ("h", 2)]
    assert found[0].tensor is losses[2]
    del found
    losses.clear()
    assert [holder.name for holder in analysis.keeping_alive(h)] == ["h"]
    assert analysis.keeping_alive(w) == []
    with pytest.raises(TypeError, match="float"):
        analysis.keeping_alive(1.0)
