"""The film of a training: its numbers are the engine's, it changes nothing, and everybody can use its page."""

from __future__ import annotations

import gc
import weakref
from functools import partial

import numpy as np
import pytest

import minigrad as mg
from examples import gradient_film
from minigrad import nn, optim, viz
from minigrad.graph import Node
from minigrad.viz.marks import VANISHING
from tests.browser import browser  # noqa: F401

LEFT, RIGHT, HOME, END, UP, DOWN, ENTER, ESCAPE = "\ue012", "\ue014", "\ue011", "\ue010", "\ue013", "\ue015", "\ue007", "\ue00c"


class Residual(nn.Module):
    def __init__(self, n=8):
        self.norm, self.linear = nn.BatchNorm1d(n), nn.Linear(n, n)

    def forward(self, h):
        return h + self.linear(mg.relu(self.norm(h)))


class Reader(nn.Module):
    """A recurrent layer, and a head on its last output."""

    def __init__(self, layer):
        self.read, self.head = layer(3, 5), nn.Linear(5, 1)

    def forward(self, x):
        y, _ = self.read(x)
        return self.head(y[-1])


class Loop(nn.Module):
    """The same by hand: a cell over time."""

    def __init__(self):
        self.cell, self.head = nn.RNNCell(3, 5), nn.Linear(5, 1)

    def forward(self, x, states=None):
        h = mg.zeros((x.shape[1], 5))
        for x_t in x:
            h = self.cell(x_t, h)
            if states is not None:
                states.append(h.retain_grad())
        return self.head(h)


def data(*shape, seed=0):
    return mg.asarray(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def norm(g):
    return np.linalg.norm(np.asarray(g, dtype="float64").ravel())


def train(model, x, y, steps=4, film=None, rate=0.1):
    optimizer = optim.SGD(model.parameters(), lr=rate)
    for _ in range(steps):
        loss = mg.mean((model(x) - y) ** 2)
        optimizer.zero_grad()
        loss.backward()
        if film is not None:
            film.record(loss)
        optimizer.step()
    return film


def sigmoids(depth=8):
    mg.manual_seed(0)
    return nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()) for _ in range(depth)), nn.Linear(8, 1))


def filmed(model, *shape, steps=4, rate=0.1, **options):
    return train(model, data(*shape), data(shape[-2], 1, seed=1), steps, viz.Film(model, **options), rate)


# Numbers
def test_parameters_are_measured_as_by_hand():
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    film, optimizer = viz.Film(model), optim.SGD(model.parameters(), lr=0.1)
    rows = {name: [] for name, _ in model.named_parameters()}
    losses = []
    for _ in range(3):
        loss = mg.mean(model(data(5, 4)) ** 2)
        optimizer.zero_grad()
        loss.backward()
        film.record(loss)
        before = {name: p.numpy().copy() for name, p in model.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
        for name, p in model.named_parameters():
            g = p.grad.numpy()
            moved = norm(p.numpy() - before[name]) / norm(before[name])
            rows[name].append((norm(g), norm(before[name]), moved, 1 - np.count_nonzero(g) / g.size, 0))
    assert film.steps.tolist() == [0, 1, 2]
    assert film.loss.tolist() == losses
    assert film.parameters == list(rows)
    for name, wanted in rows.items():
        p = film[name]
        found = np.stack([p.gradient, p.norm, p.update, p.zeros, p.bad], 1)
        assert np.isnan(found[-1, 2]), "the last update is not known yet"
        found[-1, 2] = wanted[-1][2]
        assert np.array_equal(found, wanted), name
    weights = film["0"].weights
    assert np.array_equal(weights, np.sqrt(film["0.weight"].gradient ** 2 + film["0.bias"].gradient ** 2))


def test_outputs_are_measured_as_by_hand():
    mg.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    film = viz.Film(model)
    h = model[0](data(5, 4))
    a = model[1](h)
    out = model[2](a)
    for t in (h, a, out):
        t.retain_grad()
    mg.sum(out**2).backward()
    film.record()
    for name, t in zip(("0", "1", "2"), (h, a, out)):
        assert film[name].gradient.tolist() == [norm(t.grad.numpy())]
        assert film[name].mean[0] == t.numpy().mean(dtype="float64")
        assert film[name].std[0] == t.numpy().std(dtype="float64")
    assert film["1"].saturated[0] == np.mean(1 - a.numpy() ** 2 < 0.05)
    assert np.isnan(film["0"].saturated).all()
    assert np.isnan(film.loss).all()


def test_dead_units_are_those_that_are_zero_for_the_whole_batch():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    with mg.no_grad():
        model[0].weight[...] = np.array([[1, 0], [-1, 0], [0, 1], [0, 0]], "float32")
        model[0].bias[...] = np.array([0, 0, 0, -1], "float32")
    film = viz.Film(model)
    mg.sum(model(mg.tensor([[1.0, 1.0], [2.0, -1.0]]))).backward()
    film.record()
    assert film["1"].dead.tolist() == [0.5]
    assert [(m.kind, m.layer) for m in film.marks] == [("dead", "1")]


# Time
@pytest.mark.parametrize(
    "make", [nn.GRU, partial(nn.GRU, reset_after=False), nn.LSTM, nn.RNN], ids=["gru", "gru by steps", "lstm", "rnn"]
)
def test_a_recurrent_layer_has_an_axis_of_time(make):
    """Against the gradient of a loop of the same layer over single steps."""
    mg.manual_seed(2)
    model, x = Reader(make), data(7, 4, 3)
    film = viz.Film(model)
    mg.sum(model(x) ** 2).backward()
    film.record()
    film.close()
    state, states = None, []
    for t in range(7):
        _, state = model.read(x[t : t + 1], state)
        hidden = state[0] if isinstance(state, tuple) else state
        hidden.retain_grad()
        states.append(hidden)
    # what reaches h_t: from the output at t (only the last is used) and from the step after it, through the state
    mg.sum(model.head(states[-1][0]) ** 2).backward()
    wanted = [norm(h.grad.numpy()) for h in states]
    assert film["read"].gradient.shape == (1, 7)
    np.testing.assert_allclose(film["read"].gradient[0], wanted, rtol=1e-5)
    assert film["read"].time == 7
    assert film["read"].total[0] == pytest.approx(np.sqrt(np.sum(film["read"].gradient ** 2)))


def test_a_loop_by_hand_has_an_axis_of_calls():
    mg.manual_seed(3)
    model, x, states = Loop(), data(6, 4, 3), []
    film = viz.Film(model)
    mg.sum(model(x, states) ** 2).backward()
    film.record()
    assert film["cell"].gradient.shape == (1, 6)
    assert film["cell"].gradient[0].tolist() == [norm(h.grad.numpy()) for h in states]
    assert film["head"].gradient.shape == (1,)


def test_sequences_of_several_lengths_leave_gaps():
    mg.manual_seed(4)
    model = Loop()
    film = viz.Film(model)
    for length in (3, 5):
        model.zero_grad()
        mg.sum(model(data(length, 2, 3))).backward()
        film.record()
    assert np.isnan(film["cell"].gradient).tolist() == [[False] * 3 + [True] * 2, [False] * 5]


def test_layers_of_layers_and_directions_are_told_apart():
    mg.manual_seed(5)
    model = nn.GRU(3, 4, num_layers=2, bidirectional=True)
    film = viz.Film(model)
    y, _ = model(data(5, 2, 3))
    mg.sum(y**2).backward()
    film.record()
    assert film.layers == ["GRU.l0", "GRU.l0_reverse", "GRU.l1", "GRU.l1_reverse"]
    for name in film.layers:
        assert film[name].gradient.shape == (1, 5)
        assert film[name].parameters == tuple(f"{p}_{name[4:]}" for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


# What it does to training
@pytest.mark.parametrize("make", [sigmoids, lambda: nn.Sequential(Residual(), Residual(), nn.Linear(8, 1))])
def test_training_is_the_same_bit_for_bit(make):
    results = []
    for watched in (False, True):
        mg.manual_seed(0)
        model = make()
        train(model, data(6, 8), data(6, 1, seed=1), 5, viz.Film(model) if watched else None)
        results.append([v.numpy() for v in model.state_dict().values()])
    assert all(np.array_equal(a, b) for a, b in zip(*results))


def test_looking_at_a_branch_that_is_not_taken_makes_no_nan():
    class Root(nn.Module):
        def forward(self, x):
            return mg.sqrt(x)

    model, x = Root(), mg.tensor([0.0, 4.0], requires_grad=True)
    film = viz.Film(model)
    mg.sum(mg.where(x > 0, model(x), 0.0)).backward()
    film.record()
    assert x.grad.tolist() == [0.0, 0.25]


def test_it_holds_no_graph_and_no_model():
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    film = viz.Film(model)
    gc.collect()
    gc.disable()
    try:
        for used in (True, False):
            loss = mg.mean(model(data(4, 8)) ** 2)
            nodes = [weakref.ref(loss.node), weakref.ref(loss.node.parents[0])]
            if used:
                loss.backward()
                film.record(loss)
            del loss
            assert [ref() for ref in nodes] == [None, None], "reference counts alone free the graph"
        assert not film._seen, "a forward pass without a backward pass leaves nothing"
        watched, told = weakref.ref(film), weakref.ref(model)
        del film
        assert watched() is None
        assert not any(m._forward_hooks for m in model.modules())
        del model
    finally:
        gc.enable()
    gc.collect()
    assert told() is None
    assert not [o for o in gc.get_objects() if type(o) is Node and o.extra is not None and o.extra.hooks]


def test_forward_passes_that_do_not_learn_are_not_counted():
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    film = viz.Film(model)
    for _ in range(3):
        with mg.no_grad():
            model(data(4, 8))
        model(data(9, 8))
        model.zero_grad()
        mg.sum(model(data(4, 8)) ** 2).backward()
        film.record()
    assert film["0"].gradient.shape == (3,)


# Steps
def test_every_and_thinning():
    film = filmed(sigmoids(2), 6, 8, steps=20, every=3)
    assert film.steps.tolist() == [0, 3, 6, 9, 12, 15, 18]
    film = filmed(sigmoids(2), 6, 8, steps=40, most=8)
    assert film.every == 8
    assert film.steps.tolist() == [0, 8, 16, 24, 32]
    full = filmed(sigmoids(2), 6, 8, steps=40)
    assert np.array_equal(film["0.0"].gradient, full["0.0"].gradient[::8])
    assert np.array_equal(film["0.0.weight"].update, full["0.0.weight"].update[::8])


def test_inside_fit():
    results = []
    for callbacks in (False, True):
        mg.manual_seed(0)
        model = sigmoids(2)
        film = viz.Film(model)
        nn.fit(
            model, (data(20, 8).numpy(), data(20, 1, seed=1).numpy()), loss=nn.MSELoss(),
            optimizer=optim.Adam(model.parameters()), epochs=2, batch_size=5, batch_callbacks=[film] if callbacks else [],
        )  # fmt: skip
        results.append([v.numpy() for v in model.state_dict().values()])
    assert all(np.array_equal(a, b) for a, b in zip(*results))
    assert film.steps.tolist() == list(range(8))
    assert np.isfinite(film["0.0"].gradient).all()
    assert film["2.weight"].gradient[-1] == norm(model[2].weight.grad.numpy())
    assert np.isfinite(film.loss).all()


def test_a_compiled_step_shows_its_parameters():
    model = sigmoids(2)
    film = viz.Film(model)
    nn.fit(
        model, (data(20, 8).numpy(), data(20, 1, seed=1).numpy()), loss=nn.MSELoss(), batch_size=5, epochs=2, compile=True,
        optimizer=optim.SGD(model.parameters(), lr=0.1), batch_callbacks=[film],
    )  # fmt: skip
    assert np.isfinite(film["0.0"].weights).all()
    assert '"gradient"' in film.html()


# What stands out
def test_vanishing_is_marked_and_a_residual_net_is_not():
    film = filmed(sigmoids(10), 6, 8)
    mark = next(m for m in film.marks if m.kind == "vanishing")
    assert mark.layer == "0.0"
    ratio = film["0.0"].total / film["10"].total
    assert mark.worst == ratio.min() < VANISHING
    assert (mark.first, mark.last) == (0, 3)
    assert f"vanishing: {mark.text}" in film.table()
    mg.manual_seed(0)
    assert filmed(nn.Sequential(*(Residual() for _ in range(10)), nn.Linear(8, 1)), 6, 8, rate=0.001).marks == []


@pytest.mark.parametrize(("scale", "kind"), [(0.2, "vanishing"), (3.0, "exploding")])
def test_time_vanishes_and_explodes(scale, kind):
    mg.manual_seed(0)
    model = Reader(partial(nn.RNN, nonlinearity="relu"))
    with mg.no_grad():
        model.read.weight_hh_l0[...] = scale * np.eye(5, dtype="float32")
        model.read.bias_hh_l0 += 1.0
    film = filmed(model, 20, 4, 3, steps=1)
    marks = [m for m in film.marks if "through time" in m.text]
    assert [(m.kind, m.layer) for m in marks] == [(kind, "read")]
    g = film["read"].gradient[0]
    assert g[0] / g[-1] == pytest.approx(scale**19, rel=1e-4)


@pytest.mark.parametrize(("where", "layer", "words"), [
    ("forward", "1.linear", "the output of 1.linear"),
    ("backward", "1.linear", "the gradient of the output of 1.linear"),
])  # fmt: skip
def test_the_first_nan_is_marked_where_it_begins(where, layer, words):
    mg.manual_seed(0)
    model = nn.Sequential(Residual(), Residual(), nn.Linear(8, 1))
    film = viz.Film(model)
    for step in range(5):
        model.zero_grad()
        if step == 3 and where == "forward":
            with mg.no_grad():
                model[1].linear.bias[0] = np.inf
        h = model[0](data(6, 8))
        h = model[1](h)
        if step == 3 and where == "backward":
            h.register_hook(lambda g: g * np.inf)
        with np.errstate(all="ignore"):
            loss = mg.sum(model[2](h) ** 2)
            loss.backward()
        film.record(loss)
        if step == 3 and where == "forward":
            break
    mark = film.marks[0]
    assert (mark.kind, mark.layer, mark.first) == ("non-finite", layer, 3)
    assert mark.text.startswith(f"NaN or Inf first appears at step 3 in {words}")
    again = viz.Film.from_json(film.to_json()).marks[0]
    assert again.text == mark.text


# Files
def test_data_makes_a_round_trip(tmp_path):
    film = filmed(Reader(nn.GRU), 9, 4, 3)
    again = viz.Film.from_json(film.save(tmp_path / "film.json").read_text())
    assert again.to_json() == film.to_json()
    assert again.layers == film.layers
    assert np.array_equal(again["read"].gradient, film["read"].gradient)
    assert again.html() == film.html()
    assert again.table() == film.table()
    with pytest.raises(RuntimeError, match="this film has ended"):
        again.record()
    with pytest.raises(ValueError, match=r"expected what Film.to_json\(\) writes"):
        viz.Film.from_json("[]")


def test_bad_arguments_are_told(tmp_path):
    with pytest.raises(TypeError, match=r"expected an nn\.Module, got float"):
        viz.Film(3.0)
    with pytest.raises(ValueError, match="every=0: expected a whole number, 1 or more"):
        viz.Film(nn.Linear(1, 1), every=0)
    empty = viz.Film(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="this film is empty"):
        empty.save(tmp_path / "film.html")
    film = filmed(sigmoids(1), 6, 8)
    with pytest.raises(ValueError, match=r"cannot write 'film.gif'"):
        film.save(tmp_path / "film.gif")
    with pytest.raises(KeyError, match=r"expected a layer, 0\.0, 0\.1, 1"):
        film["one"]
    with pytest.raises(IndexError, match="4 steps were kept"):
        film.table(4)
    film.close()
    with pytest.raises(RuntimeError, match="this film has ended"):
        film.record()


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures of films need Matplotlib: pip install 'minigrad[examples]'")
    film = filmed(Reader(nn.GRU), 9, 4, 3, steps=6)
    svg = film.draw(step=2).svg()
    for words in (
        "Gradient of the output (norm)",
        "At step 2: time from top to bottom",
        "Loss",
        "Gradient at each time step of read",
    ):
        assert words in svg
    assert film.draw(step=2).save(tmp_path / "film.svg").read_text() == svg
    assert [p.name for p in tmp_path.iterdir()] == ["film.svg"]


def test_the_example_shows_a_gradient_that_works_its_way_back(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures of films need Matplotlib: pip install 'minigrad[examples]'")
    found = gradient_film.main(tmp_path / "film.png", page=tmp_path / "film.html")
    assert found["open: loss"] < 0.5 < 1.3 < found["half open: loss"]
    assert (tmp_path / "film.png").read_bytes().startswith(b"\x89PNG")
    assert "works its way back" in (tmp_path / "film.html").read_text()


# The page
@pytest.fixture
def show(browser, tmp_path):  # noqa: F811
    def open_it(film, width=1440, height=900, **options):
        browser.open(film.save(tmp_path / "film.html", **options), width, height)
        return browser

    yield open_it
    assert browser.errors() == []


def at(b):
    return b.run("return [minigrad.state.step, minigrad.state.layer, minigrad.state.time]")


def test_the_page_shows_the_numbers_and_fetches_nothing(show):
    film = filmed(sigmoids(8), 6, 8, steps=6)
    b = show(film)
    assert len(b.all("#flow .layer")) == len(film.layers) == 17
    assert "vanishing" in b.text("#flow [data-name='0.0']")
    label = b.all("#flow [data-name='3.1']")[0].get_attribute("aria-label")
    assert label.startswith("3.1, Sigmoid, Gradient of the output ")
    assert label.endswith(", vanishing")
    told = float(label.split(" ")[-2].rstrip(",").replace("\N{MINUS SIGN}", "-"))
    assert told == pytest.approx(film["3.1"].total[-1], rel=0.05)
    assert "vanishing" in b.text("#marks")
    on_page = b.run("return Object.fromEntries(minigrad.film.layers.map((l) => [l.name, l.values.gradient]))")
    assert on_page == {name: [float(f"{x:.4g}") for x in film[name].total] for name in on_page}
    assert set(on_page) == {*film.layers, *map(str, range(8))}
    assert {url for url in b.asked() if not url.startswith("file:")} == set()


def test_sliders_and_keys(show):
    film = filmed(Reader(nn.GRU), 9, 4, 3, steps=6)
    b = show(film)
    assert at(b) == [5, 0, 0]
    b.press(LEFT, LEFT, DOWN)
    assert at(b) == [3, 1, 0]
    assert b.run("document.getElementById('time').disabled") is True
    b.press(UP, ".", ".", ",")
    assert at(b) == [3, 0, 1]
    assert "at time step 1" in b.text("#tiles")
    b.press(HOME)
    assert at(b)[0] == 0
    b.press(END)
    assert at(b)[0] == 5
    b.press(LEFT, on="#step")
    assert at(b)[0] == 4
    b.press(RIGHT, on="#time")
    assert at(b)[2] == 2
    b.press(RIGHT, on="#layer")
    assert at(b)[1] == 1
    assert "head" in b.text("#one-heading")
    assert "Training step 4" in b.run("document.getElementById('live').textContent")
    b.press("?")
    assert b.run("document.getElementById('guide').open") is True
    b.press(ESCAPE, on="#guide")
    b.press(" ")
    assert b.text("#play") == "Pause"
    b.press(" ")
    assert b.text("#play") == "Play"


def test_clicks_choose_layers_steps_and_marks(show):
    film = filmed(sigmoids(8), 6, 8, steps=6)
    b = show(film)
    b.click("#flow [data-name='1.1']")
    assert "1.1" in b.text("#one-heading")
    b.run("document.querySelector(\"#flow [data-name='0.1']\").focus();")
    b.press(ENTER, on="#flow [data-name='0.1']")
    assert "0.1" in b.text("#one-heading")
    b.click("#heat")
    step, layer, _ = at(b)
    assert 1 <= step <= 4
    assert 6 <= layer <= 10
    b.click("#marks button")
    assert at(b)[:2] == [0, 0]
    b.run("minigrad.show('weights');")
    assert b.text("#heat-heading").startswith("Gradient of the parameters")


def test_modules_open_and_close(show):
    mg.manual_seed(0)
    b = show(filmed(nn.Sequential(nn.Linear(8, 8), *(Residual() for _ in range(3)), nn.Linear(8, 1)), 6, 8))
    names = lambda: b.run("return [...document.querySelectorAll('#flow .layer')].map((g) => g.dataset.name)")  # noqa: E731
    assert names() == ["0", "1.norm", "1.linear", "2.norm", "2.linear", "3.norm", "3.linear", "4"]
    arrows = len(b.all("#flow .wire"))
    assert arrows == 9 + 3, "one after the other, and one around each block"
    b.run("minigrad.open(0);")
    assert names() == ["0", "1", "2", "3", "4"]
    assert len(b.all("#flow .wire")) == 6


def test_a_nan_shows_and_the_users_text_stays_text(show):
    mg.manual_seed(0)
    bad = "</script><img src=x onerror=hacked=1>"
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    film = viz.Film(model)
    for step in range(4):
        out = model(data(6, 8))
        with np.errstate(all="ignore"):
            (mg.sum(out) * (np.inf if step == 2 else 1.0)).backward()
        film.record(float("nan") if step == 2 else 1.0)
    b = show(film, title=bad)
    assert b.text("h1") == bad
    assert b.run("window.hacked") is None
    assert "first appears at step 2" in b.text("#marks")
    b.click("#marks button")
    assert at(b)[0] == 2
    assert "not finite" in b.text("#flow [data-name='2']")
    assert "NaN" in b.text("#flow [data-name='2']") or "inf" in b.text("#flow [data-name='2']")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1440, 360])
def test_everybody_can_use_it(show, browser, width, dark):  # noqa: F811
    browser.media(dark=dark)
    try:
        b = show(filmed(Reader(nn.GRU), 9, 4, 3, steps=6), width, 800)
        assert b.run("document.documentElement.dataset.theme") == ("dark" if dark else "light")
        assert b.violations() == []
        assert b.run("document.documentElement.scrollWidth") <= width
        inside = "return [...document.querySelectorAll('main *, header *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('svg')).map((e) => e.id || e.tagName)"
        assert b.run(inside) == []
        clipped = "return [...document.querySelectorAll('#flow .layer')].filter((g) => [...g.querySelectorAll('text')].some((t) => t.getBBox().x + t.getBBox().width > g.querySelector('.body').getBBox().x + 148)).length"
        assert b.run(clipped) == 0
    finally:
        browser.media(dark=False)
