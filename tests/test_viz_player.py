"""The player in a real browser: what it shows is what the engine computed, and everybody can use it."""

from __future__ import annotations

import base64
import importlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, viz
from minigrad.nn import functional as F  # noqa: N812
from minigrad.ops.fused import softmax_cross_entropy
from minigrad.viz.mathml import mathml
from tests.browser import browser  # noqa: F401

page = importlib.import_module("minigrad.viz.player")  # viz.player is the function

ARROW_RIGHT, ARROW_LEFT, HOME, END, ENTER, ESCAPE = "\ue014", "\ue012", "\ue011", "\ue010", "\ue007", "\ue00c"


def leaf(value, name):
    return mg.tensor(value, dtype="float64", requires_grad=True, name=name)


def circuit(w0=2.0, x0=-1.0, w1=-3.0, x1=-2.0, w2=-3.0):
    """Notes 001, Figure 13."""
    w0, x0, w1, x1, w2 = (leaf(v, n) for v, n in ((w0, "w0"), (x0, "x0"), (w1, "w1"), (x1, "x1"), (w2, "w2")))
    with mg.inspect():
        s = w0 * x0 + w1 * x1 + w2
        f = 1 / (1 + mg.exp(-s))
    f.name = "f"
    return f


def converging(x=3.0):
    """Notes 001, Figure 14: x is used three times."""
    x = leaf(x, "x")
    with mg.inspect():
        q1 = x * x
        q2 = mg.sin(x)
        loss = q1 * q2
    return loss


def diamonds(x=0.7, n=6):
    """A value that is used twice, n times over: 2**n paths."""
    x = leaf(x, "x")
    with mg.inspect():
        v = x * 1.0
        for _ in range(n):
            v = mg.tanh(v) + v * 0.5
    return v


def matrices(W=None, b=None):
    """A layer with broadcasting, a shared weight, a softmax and a picked class."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(3, 3)), rng.normal(size=3)
    W = leaf(drawn[0] if W is None else W, "W")
    b = leaf(drawn[1] if b is None else b, "b")
    x = mg.tensor(rng.normal(size=(4, 3)), dtype="float64", name="x")
    with mg.inspect():
        h = mg.relu(x @ W + b)
        h = mg.tanh(h @ W.T) * mg.where(h > 0.1, h, 0.5)
        p = mg.log_softmax(h, axis=1)
        loss = -mg.mean(p[np.arange(4), np.array([0, 2, 1, 1])]) + mg.sum(mg.max(h, axis=0)[1:]) / 10 + mg.mean(W**2)
    return loss


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
        self.second = nn.Linear(8, 4)

    def forward(self, x):
        return x + self.second(self.first(x))


def network(blocks=2):
    mg.manual_seed(0)
    net = nn.Sequential(*(Block() for _ in range(blocks)))
    x = mg.tensor(np.random.default_rng(0).normal(size=(5, 4)).astype("float32"), name="x")
    with mg.inspect():
        y = net(x)
        loss = mg.mean(y * y)
    return loss


@pytest.fixture
def show(browser, tmp_path):  # noqa: F811
    """Open the player of a graph, or a page, in the browser; nothing may be said on the console."""

    def open_it(what, width=1440, height=900, **options):
        path = (what if isinstance(what, viz.Player) else viz.player(what, **options)).save(tmp_path / "player.html")
        browser.open(path, width, height)
        return browser

    yield open_it
    assert browser.errors() == []


def number(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))


def ids(r):
    return {v.name: v.id for v in r.values if v.name}


# What is written down
def test_numbers_survive_exactly(show):
    tiny = np.nextafter(np.float64(0.1), 1)
    rows = {
        "doubles": np.array([0.1, tiny, -0.0, 5e-324, 1.7976931348623157e308, np.nan, np.inf, -np.inf, 1 / 3]),
        "singles": np.array([0.1, 1 / 3, -0.0, 1e-45, 3.4028235e38, np.nan, -np.inf], np.float32),
        "halves": np.array([0.1, 1 / 3, -0.0, 6e-8, 65504, np.inf], np.float16),
    }
    tensors = {name: mg.tensor(value, requires_grad=True, name=name) for name, value in rows.items()}
    with mg.inspect():
        out = mg.concat([t.astype("float64") for t in tensors.values()])
    p = viz.player(out, gradient=np.ones(out.shape))
    b = show(p)
    found = b.run("minigrad.numbers()")
    for name, value in rows.items():
        got = np.array(
            [{"Infinity": "inf", "-Infinity": "-inf"}.get(x, x) for x in found[ids(p.records)[name]][0]], dtype="float64"
        )
        exact = value.astype("float64")
        assert np.array_equal(got, exact, equal_nan=True)
        assert np.array_equal(np.signbit(got[~np.isnan(exact)]), np.signbit(exact[~np.isnan(exact)]))


def test_a_page_of_200_values_is_small(show):
    rng = np.random.default_rng(0)
    h = leaf(rng.normal(size=(40, 40)), "h")
    with mg.inspect():
        for _ in range(66):
            h = mg.tanh(h * 1.01) + rng.normal(size=(40, 40))
        loss = mg.sum(h)
    p = viz.player(loss)
    assert 200 <= len(p.records.values) <= 300
    assert len(p.html().encode()) < 2_000_000
    b = show(p)
    assert len(b.all("#graph .box")) == len(p.records.values)
    b.run("minigrad.show(9999);minigrad.select(arguments[0]);", p.records["h"].id)
    assert len(b.all("#value canvas")) == 2
    assert all(b.run("return [...document.querySelectorAll('#value canvas')].map((c) => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 3)"))  # fmt: skip
    assert f"mean {float(np.mean(p.records['h'].value)):.4g}" in b.text("#value .facts")


def test_a_heat_map_is_the_means_of_blocks():
    array = np.random.default_rng(0).normal(size=(64, 96))
    told = page._heat(array, 32)
    codes = np.frombuffer(base64.b64decode(told["codes"]), np.uint8).reshape(told["rows"], told["columns"])
    means = array.reshape(32, 2, 32, 3).mean((1, 3))
    np.testing.assert_allclose(
        told["lo"] + (told["hi"] - told["lo"]) * codes / 254, means, atol=(told["hi"] - told["lo"]) / 500
    )
    array[0, 0] = np.nan
    codes = np.frombuffer(base64.b64decode(page._heat(array, 32)["codes"]), np.uint8)
    assert (codes == 255).sum() == 1


def test_text_of_the_user_stays_text(show):
    bad = "</script><img src=x onerror=hacked=1>"
    x = leaf(2.0, bad)
    b = show(viz.player(x * x, title=bad))
    assert b.run("window.hacked") is None
    assert b.text("h1") == bad
    assert bad in b.run("minigrad.graph.values[0].name")
    assert b.run("document.images.length") == 0


def test_modules_are_runs_of_operations():
    r = viz.records(network(3), backward=True, limit=None)
    groups, homes = page.modules(r)
    assert {g["name"] for g in groups} >= {"Sequential", "Sequential.0", "Sequential.0.first", "Sequential.2.second"}

    def chain(group):
        while group is not None:
            yield group
            group = groups[group]["parent"]

    order = [v.id for v in r.values if v.op]
    for k, g in enumerate(groups):
        inside = [v.id for v in r.values if v.id in homes and k in chain(homes[v.id])]
        assert len(inside) == g["members"]
        places = [order.index(key) for key in inside if key in order]
        assert places == list(range(places[0], places[-1] + 1))
    weights = {v.name: homes.get(v.id) for v in r.values if v.kind == "parameter"}
    assert groups[weights["1.second.weight"]]["name"] == "Sequential.1.second"


def test_a_module_that_is_called_twice_makes_two_groups():
    layer = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    x = mg.tensor(np.ones((1, 2), np.float32), requires_grad=True)
    r = viz.records(mg.sum(layer(mg.exp(layer(x)))), backward=True)
    groups, homes = page.modules(r)
    assert {"Sequential", "Sequential (call 2)"} <= {g["name"] for g in groups}
    shared = [v for v in r.values if v.kind == "parameter" and v.id not in homes]
    assert {v.name for v in shared} >= {"0.weight", "0.bias"}


@pytest.mark.parametrize("op", ["exp", "matmul", "maximum", "power", "tanh", "divide"])
def test_rules_are_set_as_formulas(op):
    r = viz.records(_one(op), backward=True)
    rules = [e.rule for e in r.edges if r[e.target].op == op]
    assert rules
    for rule in rules:
        assert mathml(rule).startswith("<math>")


def _one(op):
    x, y = leaf([[0.5, 0.2], [0.1, 0.9]], "x"), leaf([[0.3, 0.4], [0.2, 0.7]], "y")
    f = getattr(mg, op)
    return mg.sum(f(x, y) if f.op.arity == 2 else f(x))


def test_save_and_notebook(tmp_path):
    p = viz.player(circuit())
    path = p.save(tmp_path / "page.html")
    assert path.read_text(encoding="utf-8") == p.html()
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match=r"expected a path that ends in \.html, got 'page.svg'"):
        p.save(tmp_path / "page.svg")
    bundle = p._repr_mimebundle_()
    assert bundle["text/html"].startswith("<iframe ")
    assert "srcdoc=" in bundle["text/html"]
    with pytest.raises(TypeError, match="expected a Tensor, got float"):
        viz.player(3.0)


def test_in_a_notebook_it_runs_in_a_sandbox(browser, tmp_path):  # noqa: F811
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><title>cell</title>{viz.player(circuit())._repr_html_()}", encoding="utf-8")
    browser.open(path)
    browser.driver.switch_to.frame(0)
    try:
        browser.click("#next")
        browser.press(ARROW_RIGHT)
        assert browser.run("minigrad.state.step") == 2
        browser.click("#help")
        browser.click("#guide button")
        assert browser.run("document.getElementById('guide').open") is False
    finally:
        browser.driver.switch_to.default_content()
    assert browser.errors() == []


# Stepping
@pytest.mark.parametrize("make", [circuit, converging, matrices, network])
def test_steps_from_start_to_end(make, show):
    p = viz.player(make())
    b = show(p)
    edges = sum(e.contribution is not None for e in p.records.edges)
    operations = sum(bool(v.op) for v in p.records.values)
    assert b.run("minigrad.steps.length") == operations + 1 + edges
    said = b.run("""return minigrad.steps.map(() => {
        document.getElementById('next').click();
        return document.getElementById('live').textContent;
      })""")
    assert len(set(said)) == operations + 1 + edges, "every step is told to a screen reader"
    assert not b.all("#next:enabled")
    assert not b.run("document.querySelector('#graph .pending')")


def test_a_backward_step_shows_rule_numbers_sum_and_code(show):
    b = show(converging())
    b.run("minigrad.show(minigrad.steps.length - 1);")
    tiles = [number(tile.text) for tile in b.all("#step .tile .num")]
    assert tiles == pytest.approx([math.sin(3), 3, 3 * math.sin(3)], rel=1e-3)
    assert b.text("#step .running .num") == "-8.91 + 0.4234 = -8.487"
    assert "2 of 3 so far" in b.text("#step .running")
    assert b.all("#step math")
    assert "q1 = x * x" in b.text("#code .here")
    assert len(b.all("#graph .wire.backward")) == 1
    b.run("minigrad.show(minigrad.steps.length);")
    assert b.text("#step .running .num") == "-8.487 + 0.4234 = -8.063"
    assert "complete" in b.text("#step .running")


def test_values_and_gradients_appear_when_they_are_known(show):
    b = show(circuit())
    box = "#graph [data-id='{}']".format(ids(viz.player(circuit()).records)["f"])
    assert "0.7311" not in b.text(box)
    b.run("minigrad.show(8);")
    assert "0.7311" in b.text(box)
    assert "grad" not in b.text(box)
    b.run("minigrad.show(9);")
    assert "grad" in b.text(box)


def test_keyboard(show):
    b = show(circuit())
    at = lambda: b.run("minigrad.state.step")  # noqa: E731
    b.press(ARROW_RIGHT, ARROW_RIGHT)
    assert at() == 2
    b.press(ARROW_LEFT)
    assert at() == 1
    b.press(END)
    assert at() == b.run("minigrad.steps.length") == 21
    b.press(HOME)
    assert at() == 0
    b.press(" ")
    assert b.text("#play") == "Pause"
    assert at() == 1
    b.press(" ")
    assert b.text("#play") == "Play"
    b.press("?")
    assert b.run("document.getElementById('guide').open") is True
    b.press(ESCAPE, on="#guide")
    assert b.run("document.getElementById('guide').open") is False
    b.run("document.querySelector('#graph .box').focus();")
    b.run("return document.activeElement.dataset.id")
    b.press(ENTER, on="#graph .box:focus")
    assert b.run("minigrad.state.selected") == b.run("document.activeElement.dataset.id")
    b.press(ESCAPE)
    assert b.run("minigrad.state.selected") is None
    b.press(ARROW_RIGHT, ARROW_RIGHT, on="#slider")
    assert at() == 3


# The ledger
def test_a_click_opens_the_ledger(show):
    p = viz.player(converging())
    b = show(p)
    b.run("minigrad.show(99);")
    b.click(f"#graph [data-id='{ids(p.records)['x']}']")
    parts = [number(cell.text) for cell in b.all("#ledger tbody td.gradient-number")]
    uses = next(uses for v, uses, _ in p.records.backward() if v.name == "x")
    assert parts == [float(f"{e.contribution:.4g}") for e in uses]
    assert number(b.text("#ledger-sum")) == float(f"{p.records['x'].gradient:.4g}")
    assert "equals the gradient, bit for bit" in b.text("#value")
    assert "3 paths" in b.text("#value")
    products = [number(li.text.rpartition("= ")[2]) for li in b.all("#value ol li")]
    assert sum(products) == pytest.approx(p.records["x"].gradient, rel=1e-3)
    assert len(b.all("#graph .wire.path")) == 5
    assert len(b.all("#graph .chip")) == 3


def test_cancellation_is_flagged(show):
    x = leaf(1.0, "x")
    p = viz.player(x * 1000 - x * 999.5)
    b = show(p)
    b.run("minigrad.show(99);minigrad.select(arguments[0]);", p.records["x"].id)
    assert "nearly cancel: their sum is 0.025 %" in b.text("#value")


@pytest.mark.parametrize("make", [circuit, converging, diamonds, matrices, network])
def test_every_ledger_sums_to_the_gradient_bitwise(make, show):
    p = viz.player(make())
    b = show(p)
    b.run("minigrad.show(9999);")
    asked = [v.id for v, uses, _ in p.records.backward() if any(e.contribution is not None for e in uses)]
    assert len(asked) >= 3
    told = b.run(
        "return arguments[0].map((id) => { minigrad.select(id); return document.getElementById('value').textContent; })", asked
    )
    assert [key for key, text in zip(asked, told) if "equals the gradient, bit for bit" not in text] == []


def test_a_hook_that_changes_a_gradient_is_told(show):
    x = leaf(2.0, "x")
    y = x * 3.0
    y.register_hook(lambda g: g * 2)
    p = viz.player(mg.exp(y))
    b = show(p)
    assert "What-if is not available" in b.text("#value")
    assert "a hook" in b.text("#value")


# Folding
def test_folding(show):
    p = viz.player(network(3))
    b = show(p)
    b.click("#collapse")
    closed = len(b.all("#graph .box"))
    assert closed == len([v for v in p.records.values if v.id not in page.modules(p.records)[1]]) + 1
    module = b.all("#graph .box.module")
    assert [m.get_attribute("aria-expanded") for m in module] == ["false"]
    assert "values" in module[0].text
    b.run("minigrad.show(3);")
    assert b.all("#graph .box.module.forward"), "a closed module lights when a step inside it runs"
    b.run("minigrad.show(minigrad.steps.length);")
    assert b.all("#graph .box.module.backward")
    b.press(ENTER, on="#graph .box.module")
    assert len(b.all("#graph .box")) > closed
    b.click("#expand")
    assert len(b.all("#graph .box")) == len(p.records.values)
    b.run("document.querySelector('#graph .caption .toggle').dispatchEvent(new MouseEvent('click', {bubbles: true}));")
    assert len(b.all("#graph .box")) < len(p.records.values)


@pytest.mark.parametrize(
    ("make", "width"), [(circuit, 1440), (matrices, 1440), (network, 1440), (diamonds, 1440), (network, 360)]
)
def test_nothing_overlaps_and_no_text_leaves_its_box(make, width, show):
    b = show(make(), width)
    b.run("document.getElementById('expand').click();minigrad.show(9999);")
    boxes = b.run("return [...document.querySelectorAll('#graph .box .body')].map((r) => { const c = r.getBoundingClientRect(); return [c.x, c.y, c.right, c.bottom]; })")  # fmt: skip
    for i, (x, y, right, bottom) in enumerate(boxes):
        for x2, y2, right2, bottom2 in boxes[:i]:
            assert right <= x2 + 0.5 or right2 <= x + 0.5 or bottom <= y2 + 0.5 or bottom2 <= y + 0.5
    out = b.run("""return [...document.querySelectorAll('#graph .box')].flatMap((g) => {
        const c = g.querySelector('.body').getBoundingClientRect();
        return [...g.querySelectorAll('text')].filter((t) => { const r = t.getBoundingClientRect();
          return r.width && (r.left < c.left - 1 || r.right > c.right + 1 || r.bottom > c.bottom + 1); }).map((t) => t.textContent);
      })""")
    assert out == []


def test_a_large_graph_says_what_is_left_out(show):
    x = leaf(0.5, "x")
    h = x
    for _ in range(3000):
        h = mg.sin(h)
    p = viz.player(h)
    assert len(p.records.values) == page.BOXES
    b = show(p)
    assert f"{3001 - page.BOXES} values left out" in b.text("header")


# What if
def compare(b, p, make, settings):
    """The page's numbers for each setting of the leaves against a new run of the engine."""
    where = ids(p.records)
    worst = 0.0
    for setting in settings:
        changes = {where[name]: np.asarray(value).tolist() for name, value in setting.items()}
        found = b.run("minigrad.changeAll(arguments[0]); return minigrad.numbers()", changes)
        r = viz.records(make(**setting), backward=True, limit=None)
        assert [v.op for v in r.values] == [v.op for v in p.records.values]
        for v in r.values:
            for got, expected in zip(found[v.id], (v.value, v.gradient)):
                assert (got is None) == (expected is None), v.label
                if got is None:
                    continue
                got = np.array([{"Infinity": "inf", "-Infinity": "-inf"}.get(x, x) for x in got], dtype="float64").reshape(
                    expected.shape
                )
                scale = np.max(np.abs(expected), initial=1e-300, where=np.isfinite(expected))
                np.testing.assert_allclose(got / scale, expected / scale, rtol=0, atol=1e-12, err_msg=f"{v.label} at {setting}")
                worst = max(worst, float(np.max(np.abs(got - expected) / scale, initial=0)))
    return worst


def test_what_if_equals_the_engine(show):
    rng = np.random.default_rng(7)
    p = viz.player(circuit())
    settings = [dict(zip(("w0", "x0", "w1", "x1", "w2"), rng.normal(size=5) * 2)) for _ in range(25)]
    compare(show(p), p, circuit, settings)
    p = viz.player(matrices())
    settings = [{"W": rng.normal(size=(3, 3)), "b": rng.normal(size=3)} for _ in range(25)]
    compare(show(p), p, matrices, settings)
    p = viz.player(diamonds())
    compare(show(p), p, diamonds, [{"x": x} for x in rng.normal(size=10) * 2])


UNARY = (
    "negative", "positive", "square", "sqrt", "reciprocal", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh",
    "cosh", "tanh", "atan", "abs", "sign", "floor", "ceil", "round", "relu", "sigmoid", "softplus",
)  # fmt: skip
BINARY = ("add", "subtract", "multiply", "divide", "power", "maximum", "minimum")


def table(a, b):
    """Every operation that the page computes, on one matrix and one vector."""
    a, b = leaf(a, "a"), leaf(b, "b")
    with mg.inspect():
        parts = [getattr(mg, name)(a) for name in UNARY]
        parts += [getattr(mg, name)(a, b) for name in BINARY] + [getattr(mg, name)(b, a) for name in BINARY]
        parts += [mg.asin(a / 10), mg.acos(a / 10), mg.matmul(a, b), mg.matmul(b, a.mT), a @ a.mT, mg.matmul(a[None], a.mT)]
        parts += [mg.sum(a, axis=0), mg.mean(a, axis=1, keepdims=True), mg.max(a, axis=1), mg.min(a), mg.sum(a, axis=(0, -1))]
        parts += [mg.logsumexp(a, axis=0), mg.logsumexp(a), mg.softmax(a), mg.softmax(a, axis=0), mg.log_softmax(a, axis=1)]
        parts += [
            a.reshape(-1),
            a.reshape((3, 2)),
            mg.permute_dims(a, (1, 0)),
            a[0],
            a[:, 1:],
            a[..., ::-1],
            a[1, None, -1],
            mg.flip(a, axis=1),
        ]
        parts += [
            mg.broadcast_to(b, (2, 2, 3)),
            mg.concat([a, a * 2], axis=1),
            mg.stack([b, b * b], axis=1),
            a[np.array([1, 0, 1])],
        ]
        parts += [
            a[np.array([0, 1]), np.array([2, -1])],
            mg.where(a > b, a, b),
            mg.where(b < 1, 0.0, b),
            a * (a >= b),
            a * (a == b),
        ]
        parts += [F.linear(a, a * b), F.linear(a, a * b, b[:2]), F.linear(b, a), F.linear(mg.stack([a, a * a]), a), F.silu(a)]
        parts += [softmax_cross_entropy(a, mg.tensor([2, 0])), softmax_cross_entropy(b, mg.tensor(1))]
        parts += [mg.where(a > 1, mg.sqrt(mg.relu(a - 1)), 0.0), mg.sin(a.astype("float64"))]
        # The mask of what was not taken reaches through moves and reductions.
        parts += [mg.where(a.mT > 1, mg.sqrt(mg.relu(a - 1)).mT, 0.0)]
        parts += [
            mg.where(a > 1, f(mg.sqrt(mg.relu(a - 1))[None], axis=0), 0.0) for f in (mg.sum, mg.max, mg.logsumexp, mg.mean)
        ]
        parts += [mg.where(b > 1, mg.sum(mg.softmax(mg.sqrt(mg.relu(b - 1))[:, None] * b, axis=1) * b, axis=1), 0.0)]
        parts += [
            mg.exp(F.batch_norm(a, None, None, b, b * 2, True, 0.0, 0.1)),
            mg.exp(F.batch_norm(mg.stack([a, a * a]), None, None, b[:2], None, True, 0.0, 0.1)),
        ]
        total = mg.sum(parts[0] * 0.5)
        for k, part in enumerate(parts):
            total = total + mg.sum(part * (0.1 + 0.01 * k))
    return total


def test_what_if_knows_its_operations_as_the_engine_does(show):
    rng = np.random.default_rng(3)
    draw = lambda: {"a": rng.uniform(0.3, 2.0, (2, 3)), "b": rng.uniform(0.3, 2.0, 3)}  # noqa: E731
    first = draw()
    p = page.Player(r := viz.records(t := table(**first), backward=True, limit=None), page._parameters(t.node, r))
    b = show(p)
    assert b.run("minigrad.whyNot") == ""
    assert b.run("minigrad.operations().length") > 60
    missing = set(b.run("minigrad.operations()")) - {v.op for v in r.values} - {"copy", "astype", "less_equal", "not_equal"}
    assert not missing, "every row of the page's table is compared with the engine's"
    ties = {"a": np.array([[1.0, 1.0, 0.5], [1.0, 0.5, 2.0]]), "b": np.array([1.0, 0.5, 0.5])}
    compare(b, p, table, [draw(), ties])


def test_what_if_in_single_precision(show):
    p = viz.player(network())
    b = show(p)
    assert b.run("minigrad.whyNot") == ""
    weight = p.records["0.second.bias"]
    b.run("minigrad.change(arguments[0], [0.5, 0.25, -1, 2]);", weight.id)
    found = b.run("minigrad.numbers()")
    mg.manual_seed(0)
    net = nn.Sequential(Block(), Block())
    net[0].second.bias.data[:] = [0.5, 0.25, -1, 2]
    y = net(mg.tensor(np.random.default_rng(0).normal(size=(5, 4)).astype("float32")))
    loss = mg.mean(y * y)
    loss.backward()
    assert float(found[p.records.output][0][0]) == pytest.approx(loss.item(), rel=1e-6)
    np.testing.assert_allclose(np.array(found[weight.id][1], float), net[0].second.bias.grad.numpy(), rtol=1e-4)


def test_dragging_and_reset(show):
    p = viz.player(circuit())
    b = show(p)
    b.run("minigrad.show(99);minigrad.select(arguments[0]);", p.records["w0"].id)
    b.run("const s = document.getElementById('whatif'); s.value = 3.5; s.dispatchEvent(new Event('input'));")
    expected = viz.records(circuit(w0=3.5), backward=True)
    assert number(b.text("#value .stat:nth-child(2) .num")) == pytest.approx(float(expected["w0"].gradient), rel=1e-6)
    assert "w0 = 3.5 instead of 2" in b.text("#banner")
    assert f"{float(expected['f'].value):.4g}" in b.text("#banner")
    b.click("#recorded")
    assert not b.all("#banner:not([hidden])")
    assert number(b.text("#value .stat:nth-child(2) .num")) == pytest.approx(float(p.records["w0"].gradient), rel=1e-6)


def test_what_is_left_of_a_gradient_that_cancels_does_not_rule_out_what_if(show):
    x = leaf(np.random.default_rng(3).normal(size=5), "x")
    p = viz.player(mg.sum(mg.softmax(x) * 0.3))  # the gradient is 0 but for rounding
    assert 0 < np.max(np.abs(p.records["x"].gradient)) < 1e-15
    assert show(p).run("minigrad.whyNot") == ""


def test_what_if_says_why_not(show):
    b = show(mg.sum(mg.erf(leaf([0.5], "x"))))
    assert "What-if is not available for this graph: operation erf is not among those" in b.text("#value")


# Classic mistakes
def wrong_gradients(r, mistake):
    """The same mistakes made in Python, on scalars."""
    operands = {v.id: [] for v in r.values}
    for e in r.edges:
        if e.contribution is not None:
            operands[e.target].append((e.source, float(e.local)))
    grads = {r.output: 1.0}
    if mistake == "overwrite":
        for v in reversed(r.values):
            for source, local in operands[v.id] if v.id in grads else ():
                grads[source] = grads[v.id] * local
        return grads
    seen = {r.output}

    def backward(key):
        for source, local in operands[key]:
            grads[source] = grads.get(source, 0.0) + grads[key] * local
            if mistake == "recursion" or source not in seen:
                seen.add(source)
                backward(source)

    backward(r.output)
    return grads


@pytest.mark.parametrize("mistake", ["overwrite", "recursion", "depth"])
@pytest.mark.parametrize("make", [converging, diamonds])
def test_mistakes_beside_the_right_answer(make, mistake, show):
    p = viz.player(make())
    b = show(p)
    b.run(f"const s = document.getElementById('mistake'); s.value = '{mistake}'; s.dispatchEvent(new Event('change'));")
    expected = wrong_gradients(p.records, mistake)
    bad = [v for v in p.records.values if v.gradient is not None and not math.isclose(expected[v.id], v.gradient, rel_tol=1e-9)]
    assert bad or (make is converging and mistake != "overwrite")  # there, only a leaf is used more than once
    rows = [[cell.text for cell in row.find_elements("css selector", "td")] for row in b.all("#wrong tbody tr")]
    assert len(rows) == len(bad)
    for v, (_, right, wrong) in zip(bad, rows):
        assert right == f"{float(v.gradient):.4g}"
        assert wrong == f"\N{BALLOT X} {expected[v.id]:.4g}"
    assert len(b.all("#graph .wrong-number")) == len(bad)
    b.run("const s = document.getElementById('mistake'); s.value = ''; s.dispatchEvent(new Event('change'));")
    assert not b.all("#graph .wrong-number")


def test_recursion_counts_its_calls(show):
    b = show(diamonds(n=16))
    b.run("minigrad.mistake('recursion');")
    calls = re.search(r"stopped after 20,000 of ([\d,]+)", b.text("#step"))
    assert calls is not None
    assert int(calls[1].replace(",", "")) > 2**16


# For everybody
def test_wheel_and_pointer_move_the_view(show):
    b = show(circuit())
    box = lambda: [float(x) for x in b.run("document.getElementById('graph').getAttribute('viewBox')").split()]  # noqa: E731
    before = box()
    b.run(
        "document.getElementById('graph').dispatchEvent(new WheelEvent('wheel', {deltaY: -300, clientX: 400, clientY: 200, cancelable: true}));"
    )
    closer = box()
    assert closer[2] < before[2]
    assert closer[2] / closer[3] == pytest.approx(before[2] / before[3])
    from selenium.webdriver import ActionChains

    graph = b.all("#graph")[0]
    ActionChains(b.driver).move_to_element_with_offset(graph, 0, 150).click_and_hold().move_by_offset(
        60, -40
    ).release().perform()
    moved = box()
    assert moved[0] < closer[0]
    assert moved[1] > closer[1]
    assert b.run("minigrad.state.selected") is None
    for kind, gap in (("touchStart", 40), ("touchMove", 60), ("touchMove", 90), ("touchEnd", None)):
        points = [] if gap is None else [{"x": 700 + side * gap, "y": 330, "id": k} for k, side in enumerate((-1, 1))]
        b.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    pinched = box()
    assert pinched[2] < 0.8 * moved[2]
    b.press("f")
    assert box() == before


def test_motion_where_it_is_welcome(show, browser):  # noqa: F811
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    try:
        b = show(circuit())
        b.run("minigrad.show(12);")
        assert len(b.all("#graph .pulse")) == 1
    finally:
        browser.media(dark=False)
    b.run("minigrad.show(13);")
    assert len(b.all("#graph .pulse")) == 0


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("make", [circuit, matrices, network])
def test_no_page_overflow(make, width, show):
    b = show(make(), width, 740)
    b.run("minigrad.show(12);minigrad.select('n0');")
    assert b.run("document.documentElement.scrollWidth") <= width
    b.run("minigrad.mistake('recursion');")
    assert b.run("document.documentElement.scrollWidth") <= width


def test_colours_follow_the_system_and_the_switch(show, browser):  # noqa: F811
    browser.media(dark=True)
    try:
        b = show(circuit())
        paper = lambda: b.run("getComputedStyle(document.body).backgroundColor")  # noqa: E731
        dark = paper()
        assert max(map(int, re.findall(r"\d+", dark))) < 60
        b.click("#theme")
        assert min(map(int, re.findall(r"\d+", paper()))) > 200
        b.click("#theme")
        assert paper() == dark
    finally:
        browser.media(dark=False)


def test_no_request_but_the_file(show):
    b = show(network())
    b.run("minigrad.show(20);minigrad.select('n0');document.getElementById('expand').click();")
    asked = b.asked()
    assert len(asked) == 1
    assert asked[0].startswith("file:///")
    policy = b.run("document.querySelector('meta[http-equiv]').content")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


STATES = {
    "start": "0",
    "backward": "minigrad.show(14);",
    "ledger": "minigrad.show(99);minigrad.select('n0');",
    "what if": "minigrad.select('n0');minigrad.change('n0', minigrad.graph.values[0].value.data.map((x) => x + 1));",
    "mistake": "minigrad.mistake('recursion');",
    "help": "document.getElementById('help').click();",
}


@pytest.mark.parametrize(
    ("make", "width", "dark", "states"),
    [
        (converging, 1440, False, STATES),
        (converging, 1440, True, ("ledger", "mistake")),
        (network, 360, False, ("ledger",)),
        (network, 1440, True, ("backward",)),
    ],
)
def test_accessibility(make, width, dark, states, show, browser):  # noqa: F811
    browser.media(dark=dark)
    try:
        p = viz.player(make())
        for name in states:
            b = show(p, width)
            b.run(f"{STATES[name]};")
            assert b.violations() == [], name
    finally:
        browser.media(dark=False)


def test_a_graph_without_gradients_still_plays(show):
    x = mg.tensor([1.0, 2.0], name="x")
    with mg.inspect():
        y = mg.exp(x) * 2
    b = show(viz.player(y))
    assert b.run("minigrad.steps.length") == 2
    b.run("minigrad.show(2);minigrad.select('n0');")
    assert "No gradients were recorded" in b.run("document.body.textContent") or b.run("minigrad.graph.differentiated") is False
    b = show(viz.player(x))
    assert b.run("minigrad.steps.length") == 0


def test_the_data_is_json_that_cannot_end_its_element():
    text = viz.player(circuit(), title="</SCRIPT>").html()
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert block is not None
    assert "<" not in block[1]
    assert json.loads(block[1])["title"] == "</SCRIPT>"
    assert Path(page.__file__).with_name("assets").is_dir()
