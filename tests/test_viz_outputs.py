"""Drawings as files of every kind: what they say, that nothing in them overlaps, and that they are the same from run to run."""

from __future__ import annotations

import gc
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import weakref
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn, viz
from minigrad.viz import boxes, dot, failure, heatmap, mermaid, tikz
from minigrad.viz import format as fmt
from tests.test_viz import branches, figure_11, figure_13, golden, leaf, network

INK = "#123456"


def mlp():
    """A net with large arrays, recorded in full: dead units, zeros, both signs."""
    rng = np.random.default_rng(0)
    X, W, V = (leaf(rng.normal(size=s), name=n) for s, n in (((8, 5), "X"), ((5, 16), "W"), ((16, 3), "V")))
    with mg.inspect():
        loss = mg.mean((mg.relu(X @ W - 1.0) @ V) ** 2)
    loss.backward()
    return loss


def convolution():
    rng = np.random.default_rng(0)
    x = mg.tensor(rng.normal(size=(2, 1, 12, 12)), name="x")
    w = leaf(rng.normal(size=(6, 1, 3, 3)), name="w")
    with mg.inspect():
        loss = mg.mean(nn.functional.conv2d(x, w) ** 2)
    loss.backward()
    return loss


def broken():
    """NaN, infinity, a zero contribution, and names that no format likes."""
    p, q = leaf(0.0, name='p_1 <b> & "q" # \\ {x} $ % ^ ~ | `'), leaf(0.0, name="β → 中")
    with np.errstate(all="ignore"):
        z = mg.log(p) * q
        z.backward()
    return z


def odd_arrays():
    """Empty, boolean, integer and 0-d arrays, inside an inspection."""
    w, i, e = leaf(np.arange(20.0) - 9), mg.tensor(np.arange(8)), mg.tensor(np.zeros((0, 3)))
    with mg.inspect():
        y = mg.sum(mg.where(mg.tensor(np.array([True, False] * 10)), w, 0.0)) + mg.sum(w[i]) + mg.sum(e)
    y.backward()
    return y


def modules():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    for p in model.parameters():
        p.data[...] = rng.normal(size=p.shape)
    model[0].weight.requires_grad = False
    with mg.inspect():
        loss = mg.mean(model(mg.tensor(rng.normal(size=(2, 6)), name="x")) ** 2)
    loss.backward()
    return loss, model


def mistake():
    """A forward pass that raises."""
    hidden = mg.exp(leaf(np.ones((4, 7)), name="w"))
    other = leaf(np.ones((6, 2)))
    try:
        return hidden @ other
    except ValueError as error:
        return error


def rolled():
    """Time steps in a loop, a block that repeats, a chain, folded modules: all kinds of boxes and frames."""
    mg.manual_seed(0)
    cell, stack = nn.GRUCell(3, 4), nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(6)])
    h = mg.zeros((2, 4))
    for x in mg.random.normal((20, 2, 3)):
        h = cell(x, h)
    y = stack(h)
    for _ in range(200):
        y = mg.sin(mg.tanh(y))
    loss = mg.sum(y)
    loss.backward()
    return loss


SCENES = {
    "figure_13": lambda: viz.draw(figure_13()),
    "figure_13_top_to_bottom": lambda: viz.draw(figure_13(), rankdir="TB", title="The sigmoid <circuit>"),
    "figure_13_backward": lambda: viz.draw(figure_13(), flow="backward"),
    "figure_13_forward": lambda: viz.draw(figure_13(), flow="forward", show="value"),
    "local": lambda: viz.draw(figure_13(), edges="both"),
    "network": lambda: viz.draw(network(), backward=True),
    "branches": lambda: viz.draw(branches(), backward=True),
    "mlp": lambda: viz.draw(mlp(), lines=True),
    "mlp_heatmap": lambda: viz.draw(mlp(), arrays="heatmap"),
    "mlp_histogram": lambda: viz.draw(mlp(), arrays="histogram"),
    "convolution": lambda: viz.draw(convolution(), arrays="heatmap", rankdir="TB"),
    "broken": lambda: viz.draw(broken()),
    "odd_arrays": lambda: viz.draw(odd_arrays(), arrays="heatmap"),
    "odd_arrays_histogram": lambda: viz.draw(odd_arrays(), arrays="histogram"),
    "modules": lambda: viz.draw(modules()[0], show="op,value,gradient,module"),
    "mistake": lambda: viz.draw(mistake()),
    "rolled": lambda: viz.draw(rolled(), title="Rolled"),
    "rolled_left_to_right": lambda: viz.draw(rolled(), rankdir="LR", depth=1),
}


@pytest.fixture(scope="module", params=SCENES)
def drawing(request):
    return SCENES[request.param]()


# The same from run to run
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("figure_13_backward.dot", lambda: viz.draw(figure_13(), flow="backward").source),
        ("heatmap.dot", lambda: viz.draw(integers(), arrays="heatmap").source),
        ("histogram.dot", lambda: viz.draw(integers(), arrays="histogram").source),
        ("figure_13.mmd", lambda: viz.draw(figure_13(), title="Figure 13").mermaid() + "\n"),
    ],
)
def test_golden(name, make, overwrite):
    golden(name, make(), overwrite)


def integers():
    """Numbers that every machine computes alike."""
    x = leaf(np.arange(-12.0, 12.0).reshape(4, 6), name="x")
    y = mg.sum(mg.relu(x) * 2.0)
    y.name = "y"
    y.backward()
    return y


def test_files_are_the_same_in_every_process():
    program = (
        "import hashlib\nfrom tests.test_viz_outputs import SCENES\n"
        "for name in ('figure_13', 'mlp_heatmap', 'broken', 'branches'):\n"
        "    d = SCENES[name]()\n"
        "    for text in (d.source, d.svg(), d.mermaid(), d.tikz(), d.text()):\n"
        "        print(name, hashlib.sha256(text.encode()).hexdigest())\n"
    )
    root = Path(__file__).parent.parent
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}, cwd=root, stdout=subprocess.PIPE, text=True,
        )
        for seed in ("1", "2")
    ]  # fmt: skip
    told = [process.communicate()[0] for process in running]
    assert len(told[0].splitlines()) == 20
    assert told[0] == told[1]


# Nothing is clipped, nothing overlaps
def texts(thing):
    """The boxes that Graphviz made room for: left, bottom, right, top of every text."""
    size = 11.0
    for op in thing.get("_ldraw_", []):
        size = op["size"] if op["op"] == "F" else size
        if op["op"] == "T" and op["text"].strip():
            left = op["pt"][0] - {"l": 0.0, "c": 0.5, "r": 1.0}[op["align"]] * op["width"]
            yield op["text"], (left, op["pt"][1] - 0.2 * size, left + op["width"], op["pt"][1] + 0.75 * size)


def overlap(a, b, slack=0.5):
    return min(a[2], b[2]) - max(a[0], b[0]) > slack and min(a[3], b[3]) - max(a[1], b[1]) > slack


def box(node):
    (x, y), w, h = map(float, node["pos"].split(",")), 36 * float(node["width"]), 36 * float(node["height"])
    return x - w, y - h, x + w, y + h


def test_every_text_lies_in_its_box_and_none_on_another(drawing):
    layout = json.loads(dot.render(tikz.hinted(drawing.source), "json"))
    nodes = [o for o in layout["objects"] if "pos" in o]
    seen = 0
    for node in nodes:
        inside = list(texts(node))
        left, bottom, right, top = box(node)
        for i, (text, (a, b, c, d)) in enumerate(inside):
            assert left <= a + 0.5, (node["name"], text)
            assert c <= right + 0.5, (node["name"], text)
            assert bottom <= b + 0.5, (node["name"], text)
            assert d <= top + 0.5, (node["name"], text)
            assert not any(overlap((a, b, c, d), other) for _, other in inside[:i]), (node["name"], text)
            seen += 1
    assert seen >= len(nodes)
    labels = [found for edge in layout.get("edges", []) for found in texts(edge)]
    for text, place in labels:
        for node in nodes:
            assert not overlap(place, box(node), 2.0), f"{text!r} lies on {node['name']}"
    for i, (text, place) in enumerate(labels):
        for other, there in labels[:i]:
            assert not overlap(place, there, 2.0), f"{text!r} lies on {other!r}"


def test_svg_has_every_text_of_the_labels(drawing):
    root = ET.fromstring(drawing.svg())
    shown = "".join("".join(root.itertext()).split())
    for label in re.findall(r"<B>([^<]*)</B>", drawing.source):
        assert "".join(ET.fromstring(f"<B>{label}</B>").text.split()) in shown


# Arrows
def test_arrows_tell_sign_and_size_without_colour():
    found = {name: (style, colour.count(":")) for name, (_, colour, style) in boxes.ARROWS.items()}
    told = ("positive", "negative", "zero", "nonfinite")
    assert len({found[name] for name in told}) == len(told)


@pytest.mark.parametrize(
    ("array", "tone"),
    [
        (np.float64(2.0), "positive"), (np.array([-2.0]), "negative"), (np.float64(0.0), "zero"), (np.zeros((2, 3)), "zero"),
        (np.float64(np.nan), "nonfinite"), (np.array([1.0, -np.inf]), "nonfinite"), (np.array([1.0, -2.0]), "array"),
        (np.complex128(1 + 2j), "array"), (np.zeros((0, 3)), "zero"),
    ],
)  # fmt: skip
def test_tones(array, tone):
    assert boxes.tone(np.asarray(array)) == tone


def test_width_grows_with_the_logarithm_of_the_norm():
    widths = [boxes.width(10.0**k, 1e3) for k in range(-3, 4)]
    assert widths == sorted(widths)
    assert widths[-1] == boxes.THICK
    assert widths[0] == widths[1] == boxes.THIN
    steps = np.diff(widths[2:])
    np.testing.assert_allclose(steps, steps[0], atol=0.011)  # rounded to two digits
    assert boxes.width(1.4e200, 1e300) < boxes.THICK
    assert boxes.norm(np.array([3e200, 4e200])) == pytest.approx(5e200)
    assert boxes.norm(np.array([3e-200, 4e-200])) == pytest.approx(5e-200)
    assert boxes.width(boxes.norm(np.zeros(0)), 1.0) == boxes.THIN


def test_arrows_say_the_engines_numbers():
    drawing = viz.draw(figure_13())
    edges = [e for e in drawing.records.edges if e.contribution is not None]
    assert len(edges) == 12
    for e in edges:
        statement = next(line for line in drawing.source.splitlines() if f"{e.source} -> {e.target} " in line)
        assert f">{fmt.number(e.contribution)}</FONT>" in statement
        assert f'class="{"positive" if e.contribution > 0 else "negative"}"' in statement


def test_dead_paths_and_non_finite_contributions_are_marked():
    source = viz.draw(broken()).source
    assert "style=dotted" in source
    assert f'color="{boxes.INK}:{boxes.INK}"' in source
    assert "NaN or infinite" in source
    x = leaf(np.array([np.nan] * 5 + [1.0] * 3))
    y = mg.sum(x * np.array([np.nan] * 2 + [1.0] * 6))
    y.backward()
    assert "nan 2 of 8" in viz.draw(y).source


def test_legend_has_only_what_occurs():
    source = viz.draw(figure_11()).source
    for word in ("asks for a gradient", "operation", "output", "above zero"):
        assert f">{word}<" in source
    for word in ("frozen parameter", "constant", "input", "below zero", "zero", "NaN or infinite", "array, by its norm"):
        assert f">{word}<" not in source
    assert "below zero" in viz.draw(figure_13()).source
    assert "above zero" not in viz.draw(figure_13(), backward=False).source


def test_the_legend_explains_what_is_folded_and_only_that():
    source = viz.draw(rolled()).source
    for word in ("time steps, one shown", "equal pieces, one shown", "n: n of them", "frame: module", "handed to the next"):
        assert word in source
    assert "folded module" not in source
    assert "folded module" in viz.draw(modules()[0], depth=0).source
    assert "folded module" not in viz.draw(modules()[0]).source
    assert "frame: module" not in viz.draw(mlp()).source
    assert "handed to the next" not in viz.draw(mlp()).source


def test_a_long_note_or_title_does_not_stretch_the_legend():
    def widths(title):
        layout = json.loads(dot.render(tikz.hinted(viz.draw(figure_11(), title=title).source), "json"))
        places = dict(texts(layout))
        return places["operation"][0] - places["asks for a gradient"][0]

    assert widths("long " * 40) == pytest.approx(widths("f"), abs=20)


def test_widths_of_bundles_are_measured_with_those_of_arrows():
    loss = rolled()
    r = viz.draw(loss).records
    look = boxes.Look().fitted(r)
    assert look.largest >= max(b.norm for b in r.bundles if b.norm is not None and not b.lag)
    drawn = [float(w) for w in re.findall(r" -> .*penwidth=([\d.]+) class", viz.draw(loss).source)]
    assert max(drawn) == boxes.THICK
    assert len(set(drawn)) > 3


def test_modules_in_a_row_are_drawn_in_a_row():
    """Frames that share no layer: an arrow into a frame is as long as what stands before its end inside."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    loss = mg.mean(model(mg.ones((2, 3))))
    layout = json.loads(dot.render(tikz.hinted(viz.draw(loss, rankdir="LR").source), "json"))
    frames = [o for o in layout["objects"] if o["name"].startswith("cluster") and "subgraphs" not in o]
    spans = sorted((float(x), float(w)) for x, _, w, _ in (o["bb"].split(",") for o in frames))
    assert len(spans) == 5
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))
    used = [
        box(o)[1::2] for o in layout["objects"] if "pos" in o and o["name"] in {e.target for e in viz.draw(loss).records.edges}
    ]
    assert max(low for low, _ in used) < min(high for _, high in used), "one line crosses all operations"


# What a box says
def test_show():
    loss, _ = modules()
    only = viz.draw(loss, show="value", legend=False).source
    assert "gradient router" not in only
    assert "(2, 6)" not in only
    assert "gradient&#160;" not in only
    assert ">value&#160;<" in only
    assert "Sequential.0" in viz.draw(loss, show=["op", "module"], fold=False).source
    bare = viz.draw(loss, show="", edges="none", legend=False, fold=False)
    assert "value&#160;" not in bare.source
    assert "<B>0.bias</B>" in bare.source
    with pytest.raises(ValueError, match="colour: expected some of op, gate"):
        viz.draw(loss, show="value,colour")


def test_lines_of_the_program():
    x = leaf(2.0)
    with mg.inspect():
        y = mg.exp(x) * 3.0  # a line to find
    source = viz.draw(y, lines=True).source
    assert f"{Path(__file__).name}:" in source
    assert "y = mg.exp(x) * 3.0  # a line to find".replace("  ", " ") in source
    assert "a line to find" not in viz.draw(y).source


def test_flow():
    forward = viz.draw(figure_13(), flow="forward").source
    assert "gradient&#160;" not in forward
    assert "-0.1966" not in forward
    backward = viz.draw(figure_13(), flow="backward")
    assert "value&#160;" not in backward.source
    assert backward.source.count("dir=back") == 12
    assert all(v.kind != "constant" for v in backward.records.values)
    x = leaf(3.0)
    y = x * 2.0
    assert viz.draw(y, flow="backward").records["x"].gradient == 2.0
    for flow, asked in (("forward", True), ("backward", False)):
        with pytest.raises(ValueError, match="contradicts"):
            viz.draw(y, flow=flow, backward=asked)
    with pytest.raises(ValueError, match="flow='up': expected one of 'both', 'forward', 'backward'"):
        viz.draw(y, flow="up")
    with pytest.raises(ValueError, match="arrays='pie'"):
        viz.draw(y, arrays="pie")


def test_frozen_parameters_are_told_from_trainable_ones_and_from_inputs():
    loss, model = modules()
    r = viz.draw(loss).records
    assert {v.name: v.kind for v in r.values if v.name and not v.op} == {
        "0.weight": "frozen", "0.bias": "parameter", "2.weight": "parameter", "2.bias": "parameter", "x": "input",
    }  # fmt: skip
    assert "frozen parameter" in viz.draw(loss).source
    borders = [
        re.sub(r'(fill)?color="[^"]*"', "", attributes) for kind, (_, attributes) in boxes.KINDS.items() if kind != "hidden"
    ]
    assert len(set(borders)) == len(borders)
    del model
    w = nn.Parameter([1.0, 2.0], requires_grad=False)
    with mg.inspect():
        out = mg.sum(w * 2.0)
    assert viz.draw(out).records["w"].kind == "frozen"


# Pictures of arrays
def cells(html):
    return re.findall(r'HEIGHT="7" BGCOLOR="(#\w+)"', html)


def test_a_heat_map_is_warm_above_zero_cold_below_and_white_at_zero():
    low, zero, high = cells(heatmap.heatmap(np.array([-2.0, 0.0, 2.0]), INK))
    assert zero == "#FFFFFF"
    assert int(low[5:], 16) > int(low[1:3], 16)
    assert int(high[1:3], 16) > int(high[5:], 16)
    half = cells(heatmap.heatmap(np.array([-2.0, 0.0, 1.0]), INK))[2]
    assert int(high[3:5], 16) < int(half[3:5], 16) < 255


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5,), 5), ((100,), 16), ((3, 4), 12), ((40, 50), 256), ((7, 300), 7 * 16), ((6, 1, 5, 5), 6 * 25), ((64, 3, 3, 3), 25 * 9),
        ((2, 3, 28, 28), 4 * 64), ((9, 1, 1), 9), ((1, 20, 20), 256), ((1,), 1),
    ],
)  # fmt: skip
def test_a_heat_map_has_at_most_16_by_16_cells(shape, expected):
    html = heatmap.heatmap(np.random.default_rng(0).normal(size=shape), INK)
    assert len(cells(html)) == expected <= 256


def test_a_heat_map_averages_blocks():
    a = np.random.default_rng(0).normal(size=(32, 48))
    means = a.reshape(16, 2, 16, 3).mean(axis=(1, 3))
    most = np.abs(a).max()
    assert cells(heatmap.heatmap(a, INK)) == [heatmap._colour(x, most) for x in np.round(means, 15).ravel()]
    ragged = np.arange(35.0).reshape(1, 35)
    starts = np.arange(16) * 35 // 16
    expected = [block.mean() for block in np.split(ragged[0], starts[1:])]
    np.testing.assert_allclose(heatmap._averaged(ragged, 16)[0], expected, rtol=1e-13)


def test_a_heat_map_marks_what_is_not_finite():
    html = heatmap.heatmap(np.array([1.0, np.nan, -np.inf, 2.0, 0.0]), INK)
    assert html.count("&#215;") == 2
    assert "nan 1 of 5" in html
    assert "inf 1 of 5" in html
    assert "min 0" in html
    assert "max 2" in html
    assert not heatmap.can_show(np.array([np.nan]))
    assert not heatmap.can_show(np.zeros(0))
    assert not heatmap.can_show(np.array([1j]))


@given(st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=60))
def test_histogram_bars_are_counts(values):
    array = np.array(values)
    html = heatmap.histogram(array, INK)
    heights = [int(h) for h in re.findall(rf'HEIGHT="(\d+)" BGCOLOR="{INK}"', html)]
    heights = heights[:-1]  # the axis
    low, high = array.min(), array.max()
    bars = min(16, max(1, int(np.sqrt(array.size)) * 2)) if low < high else 1
    assert 1 <= len(heights) <= bars
    assert max(heights) == heatmap.HEIGHT
    assert f"min {fmt.number(low)}" in html
    assert f"max {fmt.number(high)}" in html


def test_histogram_agrees_with_numpy():
    array = np.random.default_rng(0).normal(size=1000)
    counts, _ = np.histogram(array, 16)
    heights = [int(h) for h in re.findall(rf'HEIGHT="(\d+)" BGCOLOR="{INK}"', heatmap.histogram(array, INK))][:-1]
    assert heights == [max(1, round(heatmap.HEIGHT * n / counts.max())) for n in counts if n]


@pytest.mark.parametrize("arrays", ["heatmap", "histogram"])
def test_pictures_stand_for_large_arrays_only(arrays):
    x = leaf([1.0, 2.0])
    y = mg.sum(x * 2.0)
    y.backward()
    assert viz.draw(y, arrays=arrays).source == viz.draw(y).source
    assert viz.draw(mlp(), arrays=arrays).source != viz.draw(mlp()).source


def test_arrays_of_a_crowded_drawing_are_told_by_their_norms():
    x = leaf(np.arange(12.0).reshape(3, 4) / 12, name="x")
    y = x
    for _ in range(boxes.CROWDED):
        y = mg.sin(y)
    loss = mg.sum(y)
    loss.backward()
    source = viz.draw(loss, fold=False).source
    assert f">norm {fmt.norm(x.numpy())}</FONT>" in source
    assert "norm" not in viz.draw(loss, fold=False, arrays="summary", edges="none").source.partition("subgraph")[0].replace(
        "its norm", ""
    )
    small = viz.draw(mg.sum(x * 2.0), arrays="norm").source
    assert f">norm {fmt.norm(x.numpy() * 2)}</FONT>" in small


# Mermaid
NODE = re.compile(r'\s+(\w+)(\(\[|\[\[|\[|\()"([^"\n]*)"(\]\)|\]\]|\]|\)):::(\w+)')
LINK = re.compile(r'\s+(\w+) -->(?:\|"([^"\n]*)"\|)? (\w+)')
PAIRS = {"([": "])", "[[": "]]", "[": "]", "(": ")"}


def parsed(text):
    """The nodes, links and frames of a flowchart in the part of Mermaid's language that is written here."""
    body = re.sub(r'\A---\ntitle: "(?:[^"\\]|\\.)*"\n---\n', "", text)
    first, *lines = body.splitlines()
    assert re.fullmatch(r"flowchart (LR|TB|RL|BT)", first)
    nodes, links, frames, defined, used, depth = {}, [], [], set(), set(), 0
    for line in lines:
        if found := NODE.fullmatch(line):
            assert PAIRS[found[2]] == found[4]
            assert found[1] not in nodes
            assert found[1] not in ("end", "graph", "subgraph")
            nodes[found[1]] = found[3]
            used.add(found[5])
        elif found := LINK.fullmatch(line):
            links.append((found[1], found[3], found[2]))
        elif found := re.fullmatch(r'\s+subgraph (\w+)\["([^"]*)"\]', line):
            frames.append(found[2])
            depth += 1
        elif line.strip() == "end":
            depth -= 1
        elif found := re.fullmatch(r"\s+classDef (\w+) [\w:#,.\- ]+", line):
            defined.add(found[1])
        elif found := re.fullmatch(r"\s+linkStyle (\d+) [\w:#,.\- ]+", line):
            assert int(found[1]) < len(links)
        else:
            raise AssertionError(f"not Mermaid: {line!r}")
        assert depth >= 0
    assert depth == 0
    assert used == defined
    assert {end for a, b, _ in links for end in (a, b)} <= set(nodes)
    for label in (*nodes.values(), *frames, *(label or "" for _, _, label in links)):
        assert not re.search(r"[<>&`\\]|^[-+*] |\n", re.sub(r"</?b>|<br/>", "", label)), label
        assert not re.search(r"#(?!\d+;)", label), label
    return nodes, links, frames


def test_mermaid_has_every_box_and_arrow(drawing):
    nodes, links, frames = parsed(drawing.mermaid())
    r = drawing.records
    assert set(nodes) == {v.id for v in r.values} | {g.id for g in r.groups if not g.frame}
    assert len(links) == len(r.edges) + len(r.bundles)
    assert len(frames) == sum(g.frame for g in r.groups)


def test_mermaid_of_folded_modules():
    model = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(6)])
    loss = mg.mean(model(mg.ones((2, 4))))
    nodes, _, frames = parsed(viz.draw(loss, depth=1).mermaid())
    assert len(nodes) < 8
    assert len(frames) == 1
    assert "Sequential" in frames[0]


def test_mermaid_says_numbers_and_turns_arrows_round():
    nodes, links, _ = parsed(viz.draw(figure_13()).mermaid())
    assert "gradient -0.1966" in nodes["n0"]
    assert ("n0", "n5", "-0.1966") in links
    _, links, _ = parsed(viz.draw(figure_13(), flow="backward").mermaid())
    assert ("n5", "n0", "-0.1966") in links
    assert 'title: "a \\"b\\""' in viz.draw(figure_11(), title='a "b"').mermaid()


@given(st.text(max_size=60), st.text(max_size=30))
def test_mermaid_and_tikz_escape_any_name(name, title):
    x = mg.tensor(1.0, requires_grad=True, name=name or None)
    drawing = viz.draw(x * 2.0, title=title)
    parsed(drawing.mermaid())
    told = tikz.escape(fmt.plain(name))
    assert told.isprintable()
    bare = re.sub(r"\\[{}$&#_%]", "", told)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[#%&~^\"<>|_]", re.sub(r"\$[^$]*\$|\\textasciitilde", "", bare).replace("~", "")), told


# TikZ
def test_tikz_escapes():
    assert tikz.escape("a_b {c} 5% #1 $x$ & ^ \\") == (r"a\_b \{c\} 5\% \#1 \$x\$ \& \textasciicircum{} \textbackslash{}")
    assert tikz.escape("β = -3 × 2…") == r"$\beta$ = $-$3 $\times$ 2\dots{}"
    assert tikz.escape("中") == "[U+4E2D]"
    assert tikz.escape("é") == "é"
    assert tikz.escape("a-1 1e-09 --x") == "a-1 1e-09 -{}-x"


def test_tikz_names_every_box_and_balances_its_braces(drawing):
    text = drawing.tikz()
    r = drawing.records
    for key in [v.id for v in r.values] + [g.id for g in r.groups if not g.frame]:
        assert f"({key}) at (" in text
    bare = re.sub(r"\\[{}%]|(?m:%.*$)", "", text)
    assert bare.count("{") == bare.count("}")
    used = set(re.findall(r"[{=](c\d+)[},\]]", text))
    assert used == set(re.findall(r"\\definecolor\{(c\d+)\}", text))
    assert "nan," not in text


def test_dashed_borders_of_the_legend_come_through():
    w = leaf(0.9)
    h = w
    for _ in range(40):
        h = mg.tanh(h * w + 0.1)
    for source in (viz.draw(h, fold=False).source, viz.draw(modules()[0]).source):
        assert 'STYLE="' in source
        layout = dot.render(tikz.hinted(source), "json")
        styles = {op["style"] for op in json.loads(layout)["_ldraw_"] if op["op"] == "S"}
        assert styles <= {"solid", "setlinewidth(1)", "setlinewidth(3)"}
        assert "dash pattern" in tikz.document(layout).partition("{asks for a gradient}")[2]


def test_tikz_scales_what_is_longer_than_tex_can_measure():
    x = leaf(0.9)
    y = x
    for _ in range(130):
        y = mg.tanh(y)
    layout = dot.render(tikz.hinted(viz.draw(y, fold=False, rankdir="LR").source), "json")
    long = max(float(n) for n in json.loads(layout)["bb"].split(","))
    assert long > tikz.LARGEST
    text = tikz.document(layout)
    lengths = [
        float(n) for line in text.splitlines() if not line.startswith("%") for n in re.findall(r"-?\d+\.\d\d(?=[,)}b])", line)
    ]
    assert tikz.LARGEST <= max(lengths) <= tikz.LARGEST + 2 * tikz.MARGIN + 3
    assert f"{{{11 * tikz.LARGEST / long:g}}}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("scene", ["figure_13_top_to_bottom", "broken", "modules", "mistake", "rolled"])
def test_tikz_compiles(scene, tmp_path):
    SCENES[scene]().save(tmp_path / "figure.tex")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "figure.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "(1 page" in done.stdout
    assert "Overfull" not in done.stdout


# Files
@pytest.mark.parametrize(
    ("suffix", "start"),
    [
        (".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".dot", b"digraph"), (".gv", b"digraph"), (".mmd", b"flowchart"),
        (".tex", b"\\documentclass"), (".txt", b"Forward"), (".TXT", b"Forward"), (".html", b"<!doctype html>"),
    ],
)  # fmt: skip
def test_save(tmp_path, suffix, start):
    path = viz.draw(figure_11()).save(tmp_path / f"f{suffix}")
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]
    if suffix not in (".png", ".pdf"):
        assert path.read_text(encoding="utf-8").endswith("\n")


def test_save_names_the_formats(tmp_path):
    with pytest.raises(
        ValueError, match=r"cannot write 'f\.jpeg'.*\.svg, \.png, \.pdf, \.dot, \.gv, \.mmd, \.tex, \.txt, \.html"
    ):
        viz.draw(figure_11()).save(tmp_path / "f.jpeg")


def test_a_page_of_a_drawing_is_the_player():
    page = viz.draw(figure_11(), title="mine").html()
    assert "<title>mine</title>" in page
    with pytest.raises(ValueError, match=r"folded; use viz\.player\(t\)"):
        viz.draw(rolled()).html()
    with pytest.raises(ValueError, match=r"use viz\.player"):
        viz.Drawing("digraph g {\n}\n").html()


def test_text():
    assert viz.draw(figure_11()).text() == str(viz.explain(figure_11()))
    with pytest.raises(ValueError, match=r"use viz\.explain"):
        viz.Drawing("digraph g {\n}\n").text()


def test_text_counts_what_is_folded():
    model = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(6)], nn.Linear(4, 2))
    loss = mg.mean(model(mg.ones((2, 4))))
    loss.backward()
    text = viz.draw(loss, depth=1).text()
    folded = text[text.index("Folded") :].split("\n\n")[0].splitlines()
    assert len(folded) >= 4
    counted = sum(int(re.split(r"  +", row)[1].replace(",", "")) for row in folded[2:])
    assert counted + 1 == len(viz.records(loss, limit=None).values) - sum(
        not v.op for v in viz.records(loss, limit=None).values
    )


def test_translation_needs_nothing_but_the_dot_text():
    assert mermaid.translate(viz.draw(figure_11()).source) == viz.draw(figure_11()).mermaid()


# Forward passes that raised
class Net(nn.Module):
    def __init__(self):
        self.w = nn.Parameter(np.ones((5, 7)))
        self.v = nn.Parameter(np.ones((6, 2)))

    def forward(self, given):
        hidden = mg.tanh(given @ self.w)
        return mg.sum(hidden @ self.v)


def test_a_failed_forward_pass_is_drawn_up_to_the_operation_that_failed():
    batch = mg.tensor(np.ones((4, 5)))
    with pytest.raises(ValueError, match="matmul") as caught, mg.inspect():
        Net()(batch)
    drawing = viz.draw(caught.value)
    r = drawing.records
    assert r[r.output].kind == "failed"
    assert r[r.output].op == "matmul"
    assert {v.name for v in r.values if v.name} == {"given", "w", "v", "hidden"}  # as where it failed
    assert [v.op for v in r.values if v.op] == ["matmul", "tanh", "matmul"]
    assert f"{Path(__file__).name}:" in r[r.output].where
    assert "matmul failed" in drawing.source
    assert "Forward stopped here" in drawing.source
    assert "<B><U>7</U></B>" in drawing.source
    assert "<B><U>6</U></B>" in drawing.source
    assert drawing.svg()


def test_a_module_that_refuses_its_input_is_drawn_as_what_failed():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(7, 2))
    with pytest.raises(ValueError, match="expects an input") as caught:
        model(mg.ones((3, 4)))
    drawing = viz.draw(caught.value)
    r = drawing.records
    assert [v.op for v in r.values if v.op] == ["linear", "relu", "Linear"]
    assert r[r.output].kind == "failed"
    assert "(3, 8)" in drawing.source
    assert "Build it with in_features=8" in r.note


def test_operands_that_nothing_recorded_are_drawn_too():
    with pytest.raises(ValueError, match="add") as caught:
        mg.tensor(np.ones((3, 4))) + np.ones((2, 4))
    r = viz.draw(caught.value).records
    assert [v.shape for v in r.values] == [(3, 4), (2, 4), None]
    assert len(r.edges) == 2


def test_an_error_knows_its_operation_also_where_another_wraps_it():
    x = leaf(np.ones((2, 3)))
    with pytest.raises(RuntimeError, match="training") as caught:
        try:
            mg.exp(x) @ x
        except ValueError as error:
            raise RuntimeError("training step failed") from error
    r = viz.draw(caught.value).records
    assert [v.op for v in r.values] == ["", "exp", "matmul"]
    assert caught.value.__cause__.operation[0] is mg.matmul.op


def test_an_error_without_an_operation_cannot_be_drawn():
    with pytest.raises(ValueError, match="does not say which operation failed"):
        viz.draw(KeyError("x"))
    with pytest.raises(ValueError, match="has no gradients"):
        viz.draw(mistake(), backward=True)


def test_errors_of_every_class_carry_the_operation():
    x = leaf(np.ones((2, 3)))
    for call, kind, name in (
        (lambda: x + np.ones(4), ValueError, "add"),
        (lambda: mg.sum(x, axis=5), IndexError, "sum"),
        (lambda: x[7], IndexError, "getitem"),
        (lambda: mg.primitive(lambda a: 1 / 0, lambda g, y, a: g, name="mine")(x), ZeroDivisionError, "mine"),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.operation[0].name == name
        assert viz.draw(caught.value).records.values[-1].kind == "failed"


def test_an_error_holds_its_operands_no_longer_than_it_lives():
    def fail():
        x = leaf(np.ones((2, 3)))
        try:
            x + np.ones(4)
        except ValueError as error:
            viz.draw(error)
            error.__traceback__ = error.__cause__.__traceback__ = None  # which hold frames, as any error's do
        return weakref.ref(x.node)

    gc.collect()
    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("op", "shapes", "odd"),
    [
        (mg.matmul, [(2, 3), (3, 4)], set()),
        (mg.matmul, [(2, 3), (2,)], {(0, 1), (1, 0)}),
        (mg.matmul, [(5, 2, 3), (4, 3, 2)], {(0, 0), (1, 0)}),
        (mg.add, [(2, 1), (1, 3)], set()),
        (mg.add, [(2, 3), (3, 3)], {(0, 0), (1, 0)}),
        (mg.where, [(2,), (1,), (3,)], {(0, 0), (2, 0)}),
        (mg.sum, [(2, 3)], set()),
    ],
)
def test_disagreeing_axes(op, shapes, odd):
    assert failure.disagreeing(op.op, shapes) == odd


# Several outputs
def test_several_outputs_share_one_drawing():
    x = leaf(2.0)
    h = mg.exp(x)
    a, b = h * 3.0, mg.sin(h)
    assert not viz.draw([a, b]).records.differentiated
    a.backward(retain_graph=True)
    b.backward()
    r = viz.draw([a, b]).records
    assert [v.name for v in r.values if v.kind == "output"] == ["a", "b"]
    assert r["x"].gradient == x.grad
    assert r["x"].accumulated is None
    assert "sum of the outputs" in r.note
    scaled = viz.draw([a, b], gradient=[1.0, 0.5], limit=20).records
    assert scaled["x"].gradient == pytest.approx(np.exp(2) * (3 + 0.5 * np.cos(np.exp(2))))
    assert viz.draw([a, b], flow="backward").svg()


def test_one_output_may_be_made_from_another():
    x = leaf(3.0)
    a = x * x
    b = mg.exp(-a)
    r = viz.draw([b, a], backward=True).records
    assert {v.name: v.kind for v in r.values if v.op and v.name} == {"a": "output", "b": "output"}
    assert r["x"].gradient == pytest.approx(6 - 6 * np.exp(-9))


def test_mistakes_with_several_outputs():
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match="empty"):
        viz.draw([])
    with pytest.raises(TypeError, match="expected Tensors in the list, got int"):
        viz.draw([x, 3])
    with pytest.raises(ValueError, match="1 gradients for 2 outputs"):
        viz.draw([x * 1.0, x * 2.0], gradient=[1.0])
    with pytest.raises(ValueError, match="needs gradient="):
        viz.draw([x * 1.0, x * 2.0], backward=True)
