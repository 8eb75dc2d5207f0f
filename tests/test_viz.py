"""Drawings, tables and exports of graphs: what they show is what the engine computed, under the user's names."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import networkx
import numpy as np
import pytest

import minigrad as mg
from minigrad import viz
from minigrad.primitive import TABLE
from minigrad.viz import dot, formula
from minigrad.viz import format as fmt

GOLDEN = Path(__file__).parent / "golden"


def leaf(value, **kwargs):
    return mg.tensor(value, dtype="float64", requires_grad=True, **kwargs)


def figure_11():
    """(x + y) * z of notes 001, Figure 11, after backward."""
    x, y, z = leaf(2.0, name="x"), leaf(3.0, name="y"), leaf(4.0, name="z")
    w = x + y
    w.name = "w"
    f = w * z
    f.name = "f"
    f.backward()
    return f


def figure_13():
    """The sigmoid circuit of notes 001, Figure 13, after backward."""
    w0, x0, w1, x1, w2 = (leaf(v, name=n) for v, n in ((2.0, "w0"), (-1.0, "x0"), (-3.0, "w1"), (-2.0, "x1"), (-3.0, "w2")))
    f = 1 / (1 + mg.exp(-(w0 * x0 + w1 * x1 + w2)))
    f.name = "f"
    f.backward()
    return f


def network(n=3):
    """A small net with broadcasting, fan-out, a constant array and a shared weight."""
    rng = np.random.default_rng(0)
    A, b, c = leaf(rng.normal(size=(n, n)), name="A"), leaf(0.5, name="b"), rng.normal(size=n)
    h = mg.tensor(rng.normal(size=n), dtype="float64")
    for _ in range(3):
        h = mg.tanh(mg.matmul(A, h) * c + b)
    return mg.sum(h * h / 3 + mg.where(h > 0, mg.sqrt(mg.abs(h)), h * b))


def branches():
    x = leaf([0.0, 1.0, 4.0], name="x")
    return mg.sum(mg.where(x > 0, mg.sqrt(x), 0.0)) + mg.max(x * x) + mg.mean(x[1:])


def golden(name, text, overwrite):
    path = GOLDEN / name
    if overwrite:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; if that is meant, run pytest --overwrite and look"


# Golden files
def test_golden_dot(overwrite):
    golden("figure_11.dot", viz.draw(figure_11()).source, overwrite)


@pytest.mark.parametrize("figure", [figure_11, figure_13])
def test_golden_explain(figure, overwrite):
    golden(f"{figure.__name__}.txt", str(viz.explain(figure())) + "\n", overwrite)


def test_figure_13_has_the_numbers_of_the_notes():
    r = viz.records(figure_13())
    expected = {
        "f": 1.0, "w0": -0.1966119332, "x0": 0.3932238665, "w1": -0.3932238665, "x1": -0.5898357997, "w2": 0.1966119332,
    }  # fmt: skip
    for name, gradient in expected.items():
        assert r[name].gradient == pytest.approx(gradient, abs=5e-11)
    assert r["f"].value == pytest.approx(0.7310585786, abs=5e-11)
    passed = {r[e.target].op: e.contribution for e in r.edges if e.contribution is not None}
    assert round(float(passed["divide"]), 2) == -0.53
    assert round(float(passed["exp"]), 2) == -0.20


# What is shown is what the engine computed
@pytest.mark.parametrize("make", [figure_11, figure_13, network, branches])
def test_contributions_sum_to_the_gradient_bitwise(make):
    r = viz.records(make(), backward=True)
    checked = 0
    for value, uses, _ in r.backward():
        parts = [e.contribution for e in uses if e.contribution is not None]
        if parts:
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            np.testing.assert_array_equal(total, value.gradient, strict=True)
            checked += 1
    assert checked >= 3


@pytest.mark.parametrize("make", [network, branches])
def test_gradients_are_those_of_backward_bitwise(make):
    t = make()
    t.backward()
    r = viz.records(t)
    leaves = [node for node in _nodes(t) if node.op is None and node.requires_grad]
    assert leaves
    for node in leaves:
        value = r[node.name]
        assert value.accumulated is None
        np.testing.assert_array_equal(value.gradient, node.grad.numpy(), strict=True)


def test_gradients_of_intermediate_values_are_those_of_gradients():
    x = leaf([0.3, -0.2])
    h = mg.exp(x)
    out = mg.sum(h * h + h)
    (expected,) = mg.gradients(out, [h], retain_graph=True)
    np.testing.assert_array_equal(viz.records(out, backward=True)["h"].gradient, expected.numpy())


def test_contribution_is_upstream_times_local():
    r = viz.records(figure_13())
    for e in r.edges:
        if e.contribution is not None:
            assert e.contribution == pytest.approx(r[e.target].gradient * e.local, rel=1e-14)


def test_local_gradient_of_a_choice_and_of_a_reduction():
    r = viz.records(branches(), backward=True)
    where = next(e for e in r.edges if r[e.target].op == "where" and e.operand == 1)
    assert where.local.tolist() == [0, 1, 1]
    assert where.contribution.tolist() == [0, 1, 1]
    mean = next(e for e in r.edges if r[e.target].op == "mean")
    assert mean.local.tolist() == [0.5, 0.5]


def test_gradient_argument_scales():
    x = leaf([1.0, 2.0])
    y = x * x
    assert viz.records(y, gradient=[10.0, 100.0])["x"].gradient.tolist() == [20.0, 400.0]
    assert viz.records(y, gradient=mg.tensor([1.0, 0.0]))["x"].gradient.tolist() == [2.0, 0.0]
    assert viz.records(y)["x"].gradient is None


def test_seed_is_the_one_of_backward():
    x = leaf([1.0, 2.0])
    y = x * x
    y.backward(mg.tensor([3.0, 5.0], dtype="float64"))
    assert viz.records(y)["x"].gradient.tolist() == [6.0, 20.0]


def test_accumulated_gradients_are_shown_apart():
    x = leaf(3.0)
    (x * x).backward()
    y = x * 2.0
    y.backward()
    found = viz.records(y)["x"]
    assert found.gradient == 2.0
    assert found.accumulated == 8.0
    assert ".grad" in viz.draw(y).source
    assert "8" in str(viz.explain(y)).splitlines()[-1]


# Looking changes nothing
@pytest.mark.parametrize("show", [viz.draw, viz.explain, viz.to_networkx, viz.records])
def test_showing_touches_no_grad_and_frees_nothing(show):
    x, y = leaf([1.0, 2.0]), leaf(3.0)
    loss = mg.sum(mg.exp(x) * y)
    show(loss)
    show(loss, backward=True)
    assert x.grad is None
    assert y.grad is None
    loss.backward()
    before = x.grad.numpy().copy(), y.grad.numpy().copy()
    show(loss)
    np.testing.assert_array_equal(x.grad.numpy(), before[0])
    np.testing.assert_array_equal(y.grad.numpy(), before[1])
    np.testing.assert_array_equal(before[0], np.exp([1.0, 2.0]) * 3)


def test_before_backward_only_values():
    x = leaf(3.0)
    y = x * x
    r = viz.records(y)
    assert not r.differentiated
    assert r["y"].value == 9.0
    assert all(v.gradient is None for v in r.values)
    source = viz.draw(y).source
    assert "gradient " not in source.replace("gradient distributor", "")
    assert "No gradients yet" in str(viz.explain(y))


def test_backward_false_leaves_gradients_out():
    assert not viz.records(figure_11(), backward=False).differentiated


def test_records_cannot_be_written_through():
    r = viz.records(figure_11())
    with pytest.raises(ValueError, match="read-only"):
        r["x"].value[...] = 0


# Large values
def big(width=300):
    rng = np.random.default_rng(0)
    W, b = leaf(rng.normal(size=(width, width)), name="W"), leaf(np.zeros(width), name="b")
    h = mg.tanh(mg.matmul(W, rng.normal(size=width)) + b)
    return mg.sum(h * h)


def test_freed_values_are_not_shown_and_no_gradient_is_half_shown():
    loss = big()
    loss.backward()
    r = viz.records(loss)
    assert r.note
    assert "mg.inspect()" in viz.draw(loss).source
    assert r["W"].gradient is None
    assert r["W"].accumulated is not None
    for value in r.values:
        if value.gradient is not None:
            parts = [e.contribution for e in r.edges if e.source == value.id]
            assert all(p is not None for p in parts)
    assert "not kept" in str(viz.explain(loss))


def test_before_backward_all_gradients_of_a_large_graph_can_be_shown():
    loss = big()
    r = viz.records(loss, backward=True)
    loss.backward()
    np.testing.assert_array_equal(r["W"].gradient, next(n for n in _nodes(loss) if n.name == "W").grad.numpy())
    assert not r.note


def test_inspected_graphs_keep_everything():
    with mg.inspect():
        loss = big()
    loss.backward()
    r = viz.records(loss)
    assert all(v.value is not None for v in r.values)
    assert all(v.gradient is not None for v in r.values if v.kind in ("op", "output", "parameter"))
    assert r["W"].shape == (300, 300)
    assert all("test_viz.py:" in v.where for v in r.values if v.op)


def test_large_arrays_are_summarised():
    source = viz.draw(big()).source
    for word in ("mean", "std", "min", "max", "(300, 300) float64"):
        assert word in source
    assert len(source) < 20_000


def test_summary_tells_what_is_wrong_with_an_array():
    told = dict(fmt.summary(np.array([np.nan, np.inf, -np.inf, 0, 0, 2.0])))
    assert told["nan"] == "1 of 6"
    assert told["inf"] == "2 of 6"
    assert told["zeros"] == "2 of 6"
    assert told["max"] == "2"
    assert fmt.summary(np.zeros((0, 3))) == [("size", "0")]
    assert fmt.summary(np.full(9, 2.5)) == [("all", "2.5")]
    assert fmt.summary(np.full(9, np.nan)) == [("nan", "9 of 9")]
    assert fmt.summary(np.array([True, False, True])) == [("true", "2 of 3")]
    assert dict(fmt.summary(np.array([1e300, -1e300] * 5)))["max"] == "1e+300"
    assert dict(fmt.summary(np.array([3 + 4j, 0j])))["max size"] == "5"


@pytest.mark.parametrize("shape", [(0,), (0, 3), (1, 1, 1), (2, 2, 2), (4, 4), (5, 4), (6,), (7,), (1, 7)])
def test_every_shape_can_be_shown(shape):
    x = leaf(np.ones(shape))
    y = mg.sum(x * 2.0)
    y.backward()
    assert viz.draw(y).svg()
    assert "dy/dx" in str(viz.explain(y))


# Kinds, constants, names
def test_kinds():
    x, w, data = mg.tensor([1.0, 2.0]), leaf([3.0, 4.0]), np.array([5.0, 6.0])
    out = mg.sum(w * x * data * 2.0)
    kinds = {v.label: v.kind for v in viz.records(out).values}
    assert kinds == {"x": "input", "w": "parameter", "data": "input", "constant": "constant", "multiply": "op", "out": "output"}


def test_an_array_used_twice_is_one_box_and_a_number_is_one_at_each_use():
    x = leaf([1.0, 2.0])
    out = mg.sum(x * np.array([1.0, 2.0]) * 2.0 * 2.0)
    assert [v.kind for v in viz.records(out).values].count("constant") == 3
    data = np.array([1.0, 2.0])
    out = mg.sum(x * data + data)
    assert [v.name for v in viz.records(out).values].count("data") == 1


def test_shared_value_is_one_box_with_an_arrow_for_each_use():
    x = leaf(3.0)
    y = x * x
    y.backward()
    r = viz.records(y)
    assert [v.name for v in r.values] == ["x", "y"]
    assert [(e.source, e.target, e.operand) for e in r.edges] == [("n0", "n1", 0), ("n0", "n1", 1)]
    assert "dy/dx = 3 + 3 = 6   (gradient adder: 2 paths meet)" in str(viz.explain(y))


def test_names_come_from_the_calling_frame():
    def inner():
        hidden = leaf(1.0)
        loss = mg.exp(hidden) + 1.0
        return viz.records(loss), loss

    r, result = inner()
    assert [v.name for v in r.values if v.kind != "constant"] == ["hidden", None, "loss"]
    assert viz.records(result).values[-1].name == "result"


def test_explicit_names_win_and_private_names_are_not_shown():
    a = leaf(1.0, name="layers.0.weight")
    _b = leaf(2.0)
    weights = [leaf(3.0)]
    out = a * _b * weights[0]
    names = [v.name for v in viz.records(out).values]
    assert names == ["layers.0.weight", None, "weights[0]", None, "out"]


def test_unnamed_values_get_no_invented_name():
    r = viz.records(mg.exp(leaf(1.0)) * 2.0)
    assert all(v.name is None for v in r.values)
    text = str(viz.explain(mg.exp(leaf(1.0)) * 2.0, backward=True))
    assert "#2 * 2" in text
    assert "dL/d#1" in text


def test_names_are_escaped():
    nasty = 'a<b>&"c\\"\n\x00\t</TD>' + "long" * 30
    x = leaf(1.0, name=nasty)
    y = x * 2.0
    y.name = "{|}->;"
    y.backward()
    drawing = viz.draw(y, title=nasty)
    text = "".join(ET.fromstring(drawing.svg()).itertext())
    assert 'a<b>&"c\\"' in text
    assert "{|}->;" in text
    assert "\n" not in str(viz.explain(y)).splitlines()[1]


def test_a_tensor_without_a_graph_is_one_box():
    x = mg.tensor([1.0, 2.0])
    r = viz.records(x)
    assert [(v.name, v.kind) for v in r.values] == [("x", "input")]
    assert viz.draw(x).svg()
    w = leaf(1.0)
    assert [(v.name, v.kind) for v in viz.records(w).values] == [("w", "parameter")]
    assert viz.records(w, backward=True)["w"].gradient == 1.0


# The picture
def test_source_is_deterministic():
    assert viz.draw(network(), backward=True).source == viz.draw(network(), backward=True).source
    assert str(viz.explain(network(), backward=True)) == str(viz.explain(network(), backward=True))


def test_source_does_not_depend_on_hash_seeds():
    program = (
        "import minigrad as mg\nfrom minigrad import viz\nx = mg.tensor([1.0, 2.0], requires_grad=True)\n"
        "y = (x * x + mg.exp(x) * x).sum()\ny.backward()\nprint(viz.draw(y).source)"
    )
    runs = {
        subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": s}, capture_output=True, check=True).stdout
        for s in ("1", "2")
    }
    assert len(runs) == 1


def test_svg_is_well_formed_and_shows_names_values_and_gradients():
    root = ET.fromstring(viz.draw(figure_11(), title="Figure 11").svg())
    texts = [t.text.replace("\xa0", " ").strip() for t in root.iter("{http://www.w3.org/2000/svg}text")]
    for word in ("x", "y", "z", "w", "f", "+ add", "× multiply", "gradient", "value", "swap multiplier", "20", "Figure 11"):
        assert word in texts
    assert texts.count("4") == 3 + 3 + 1  # gradients of x, y, w; arrows x, y, w; the value of z


def test_png_and_pdf():
    drawing = viz.draw(figure_11())
    small, large = drawing.png(dpi=72), drawing.png(dpi=200)
    assert small.startswith(b"\x89PNG\r\n\x1a\n")
    width = [int.from_bytes(p[16:20], "big") for p in (small, large)]
    assert width[1] / width[0] == pytest.approx(200 / 72, rel=0.02)
    assert drawing.pdf().startswith(b"%PDF")
    with pytest.raises(ValueError, match="dpi"):
        drawing.png(dpi=0)


@pytest.mark.parametrize(
    ("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"digraph"), ("GV", b"digraph")]
)
def test_save(tmp_path, suffix, start):
    path = viz.draw(figure_11()).save(tmp_path / f"graph.{suffix}")
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [f"graph.{suffix}"]


def test_save_refuses_other_suffixes_and_leaves_nothing(tmp_path):
    drawing = viz.draw(figure_11())
    with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf, \.dot, \.gv"):
        drawing.save(tmp_path / "graph.jpeg")
    with pytest.raises(FileNotFoundError):
        drawing.save(tmp_path / "missing" / "graph.svg")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "graph.dot"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(dot.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        viz.draw(figure_11()).save(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["graph.dot"]


def test_notebooks_get_an_svg():
    drawing = viz.draw(figure_11())
    bundle = drawing._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/plain"}
    assert ET.fromstring(bundle["image/svg+xml"]).tag.endswith("svg")
    assert str(drawing) == drawing.source
    html = viz.explain(figure_11())._repr_mimebundle_()["text/html"]
    assert html.startswith("<pre")
    assert "swap multiplier" in html


def test_drawing_needs_no_dot_program(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert viz.draw(figure_11()).svg()


def test_without_any_graphviz_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", "")
    drawing = viz.draw(figure_11())
    with pytest.raises(ImportError, match=r"pip install 'minigrad\[viz\]'"):
        drawing.svg()


def test_without_pygraphviz_a_dot_program_is_used(monkeypatch, tmp_path):
    program = tmp_path / "dot"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.stdout.write(' '.join(sys.argv[1:]) + sys.stdin.read()[:7])\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert viz.draw(figure_11()).svg() == "-Tsvgdigraph"


def test_graphviz_errors_are_not_silent():
    with pytest.raises(RuntimeError, match="duplicate attribute"):
        dot.render('digraph { a [label=<<TABLE BORDER="0" BORDER="1"><TR><TD>x</TD></TR></TABLE>>] }', "svg")


def test_rendering_writes_nothing_to_the_terminal(capfd):
    viz.draw(figure_11()).svg()
    assert capfd.readouterr() == ("", "")


def test_threads_can_draw_at_once():
    drawing = viz.draw(figure_11())
    found = []
    threads = [threading.Thread(target=lambda: found.append(drawing.svg())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_options():
    f = figure_11()
    assert "rankdir=TB" in viz.draw(f, rankdir="TB").source
    assert "asks for a gradient" in viz.draw(f).source
    assert "asks for a gradient" not in viz.draw(f, legend=False).source
    assert "local 5" in viz.draw(f, edges="both").source
    assert ">5</FONT>&#160;<BR/>" in viz.draw(f).source
    assert ">5</FONT>&#160;<BR/>" not in viz.draw(f, edges="none").source
    assert viz.draw(f, legend=False, edges="none", title="T").svg()


def test_kinds_differ_in_their_borders_too():
    borders = [re.sub(r'fillcolor="[^"]*"|color="[^"]*"', "", style) for _, style in dot.KINDS.values()]
    assert len(set(borders)) == len(borders)


# Size
def test_limit_is_honest():
    r = viz.records(network(), limit=5, backward=True)
    assert len(r.values) == 5
    assert r.values[-1].id == r.output
    assert r.hidden == len(viz.records(network(), limit=None).values) - 5
    source = viz.draw(network(), limit=5).source
    assert f"{r.hidden} more values (limit=5)" in source
    assert "more ->" in source
    assert f"{r.hidden} more values" in str(viz.explain(network(), limit=5))


def test_limited_sums_say_what_is_left_out():
    x = leaf(1.0)
    y = x
    for _ in range(20):
        y = y + x
    y.backward()
    text = str(viz.explain(y, limit=4))
    shown = len([e for e in viz.records(y, limit=4).edges if e.source == "n0"])
    assert f"{21 - shown} left out = 21" in text


def test_a_chain_of_100_000_operations():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + x
    y.backward()
    r = viz.records(y)
    assert len(r.values) == 300
    assert r.hidden == 100_001 - 300
    assert r["x"].gradient == 100_001
    assert "left out" in str(viz.explain(y))
    drawing = viz.draw(y)
    assert drawing.svg()


# networkx
def test_networkx_has_no_limit():
    x = leaf(1.0)
    y = x
    for _ in range(2_000):
        y = y + x
    assert viz.to_networkx(y).number_of_nodes() == 2_001
    assert viz.to_networkx(y, limit=10).graph["hidden"] == 1_991


def test_networkx():
    f = figure_11()
    graph = viz.to_networkx(f)
    assert isinstance(graph, networkx.MultiDiGraph)
    assert networkx.is_directed_acyclic_graph(graph)
    assert graph.graph["output"] == "n4"
    assert graph.nodes["n4"]["op"] == "multiply"
    assert graph.nodes["n4"]["gate"] == "swap multiplier"
    assert graph.nodes["n4"]["value"] == 20
    assert graph.nodes["n2"]["gradient"] == 5
    edge = graph.edges["n2", "n4", 1]
    assert edge["contribution"] == 5
    assert edge["rule"] == "g * a"
    for node, attributes in graph.nodes(data=True):
        parts = [e["contribution"] for _, _, e in graph.out_edges(node, data=True)]
        assert not parts or sum(parts) == attributes["gradient"]


# Formulas
def test_every_rule_has_a_formula_that_a_reader_can_use():
    for op in TABLE.values():
        for i, text in enumerate(formula.formulas(op)):
            assert bool(text) == (op.rules[i] is not None), f"{op.name}, operand {i + 1}: {text!r}"
            assert not re.search(r"\b_\w+\(|geometry", text), f"{op.name}: {text} names what is private; give the row a rule="
            if not op.told and text:
                compile(text, "<formula>", "eval")
                latex = formula.latex(text)
                assert latex.count("{") == latex.count("}")


def test_formulas_of_known_rules():
    assert formula.formulas(mg.multiply.op) == ("g * b", "g * a")
    assert formula.formulas(mg.divide.op)[0] == "g / b"
    assert formula.formulas(mg.where.op)[0] == ""
    assert formula.operands(mg.where.op) == ("c", "a", "b")


def test_formulas_of_rules_of_ones_own():
    two = mg.primitive(lambda a, b: a * b, lambda g, y, a, b: g * b * 1, lambda g, y, a, b: g * a * 2, name="two")

    def rule(g, y, a):
        """Told in words."""
        return g * 7

    three = mg.primitive(lambda a: a * 7, rule, name="three")
    assert formula.formulas(two.op) == ("g * b * 1", "g * a * 2")
    assert formula.formulas(three.op) == ("g * 7",)
    typed = eval("lambda g, y, a: g * 3")
    assert formula.formulas(mg.primitive(lambda a: a * 3, typed, name="typed").op) == ("",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g * b", r"g \, b"),
        ("-g * y / b", r"\frac{-g \, y}{b}"),
        ("(a + b) * g", r"\left(a + b\right) \, g"),
        ("a - (b - c)", r"a - \left(b - c\right)"),
        ("g * (1 - y ** 2)", r"g \, \left(1 - y^{2}\right)"),
        ("g * 2", r"g \cdot 2"),
        ("np.exp(a)", r"e^{a}"),
        ("g.sum(axis=0)", r"\sum_{0} g"),
        ("g * (a > b)", r"g \, \mathbb{1}[a > b]"),
        ("g if a else b", r"\begin{cases} g & a \\ b & \text{otherwise} \end{cases}"),
        ("a_1 * 1e-05", r"a_{1} \cdot 1 \cdot 10^{-5}"),
        ("softmax(a)", r"\operatorname{softmax}\left(a\right)"),
        ("not python (", r"\text{not python (}"),
        ("", ""),
    ],
)
def test_latex(text, expected):
    assert formula.latex(text) == expected


# Misuse
def test_errors_say_what_to_do():
    x = leaf([1.0, 2.0])
    y = x * x
    with pytest.raises(TypeError, match="expected a Tensor, got float"):
        viz.draw(3.0)
    with pytest.raises(ValueError, match="needs gradient="):
        viz.draw(y, backward=True)
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\), expected that of the tensor, \(2,\)"):
        viz.draw(y, gradient=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="leave one of them out"):
        viz.explain(y, gradient=[1.0, 1.0], backward=False)
    with pytest.raises(ValueError, match="limit=0"):
        viz.draw(y, limit=0)
    with pytest.raises(ValueError, match="rankdir"):
        viz.draw(y, rankdir="up")
    with pytest.raises(ValueError, match="edges"):
        viz.draw(y, edges="all")
    with pytest.raises(KeyError, match="no value 'q'"):
        viz.records(y)["q"]
    with mg.inspect():
        still = mg.tensor(1.0) * 2.0
    with pytest.raises(mg.errors.NotInGraphError, match="requires_grad=True"):
        viz.draw(still, backward=True)


def test_values_changed_after_recording_are_told_of_not_drawn_wrong():
    x, data = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    out = mg.sum(x * data)
    data[0] = 100.0
    r = viz.records(out, backward=True)
    assert "changed in place" in r.note
    assert all(v.gradient is None for v in r.values)
    assert "changed in place" in viz.draw(out, backward=True).source


def test_values_changed_after_backward_are_told_of_not_drawn_wrong():
    x, data = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    out = mg.sum(x * data)
    out.backward()
    assert viz.records(out)["x"].gradient.tolist() == [3.0, 4.0]
    data[0] = 100.0
    assert "changed in place" in viz.records(out).note
    w = leaf([1.0, 2.0])
    out = mg.sum(w * w)
    out.backward()
    w.data[...] = 7.0
    assert "changed in place" in viz.records(out).note
    assert "w" in viz.draw(out).source


def test_an_out_of_place_update_changes_no_drawing():
    w = leaf([1.0, 2.0])
    out = mg.sum(w * w)
    out.backward()
    before = viz.draw(out).source
    with mg.no_grad():
        w -= 0.1 * w.grad
    assert viz.draw(out).source == before


def test_far_uses_of_a_shared_value_are_drawn_by_name():
    w = leaf(0.9)
    h = w
    for _ in range(40):
        h = mg.tanh(h * w + 0.1)
    h.backward()
    source = viz.draw(h, fold=False).source
    assert "drawn in full elsewhere" in source
    assert "r0 [label=<<I>w</I>>" in source
    assert source.count("-> ") == len(viz.records(h).edges)
    assert viz.draw(h, fold=False).svg()
    assert "drawn in full elsewhere" not in viz.draw(network()).source


def test_drawing_warns_of_nothing():
    x = leaf([0.0, 1.0])
    with np.errstate(all="ignore"):
        y = mg.sum(mg.log(x) / 0.0)
        y.backward()
    assert viz.draw(y).svg()  # warnings are errors here
    assert str(viz.explain(y))


def _nodes(t):
    found, stack = [], [t.node]
    while stack:
        node = stack.pop()
        if node is not None and node not in found:
            found.append(node)
            stack.extend(node.parents)
    return found


def test_an_operand_that_was_left_out_is_not_a_lost_value():
    x = mg.tensor([1.0, 2.0, 3.0], requires_grad=True, name="x")
    loss = mg.sum(x.at[0].set(9.0) * x[1:].sum())
    loss.backward()
    table = str(viz.explain(loss))
    assert "not kept" not in table
    assert "not shown" not in table
    assert "x[1:]" in table
    assert "not kept" not in viz.draw(loss).source
