"""``viz.quiz``: its blanks hide what it asks for, its answers are the engine's, and classic mistakes get their hint."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minigrad as mg
from minigrad import viz
from minigrad.viz.quiz import ASK, SHARE, quiz


def circuit():
    """Notes 001, Figure 13."""
    given = {"w0": 2.0, "x0": -1.0, "w1": -3.0, "x1": -2.0, "w2": -3.0}
    t = {name: mg.tensor(v, requires_grad=True, dtype="float64", name=name) for name, v in given.items()}
    return 1 / (1 + mg.exp(-(t["w0"] * t["x0"] + t["w1"] * t["x1"] + t["w2"]))), t


def layer():
    x = mg.tensor([1.0, 2.0], requires_grad=True, name="x")
    W = mg.tensor([[0.1, 0.2], [0.3, 0.4]], requires_grad=True, name="W")
    return ((mg.tanh(W @ x) - 1) ** 2).sum() + x.sum(), {"x": x, "W": W}


def by_what(sheet):
    return {blank.what: blank.number for blank in sheet.blanks}


@pytest.mark.parametrize("make", [circuit, layer])
@pytest.mark.parametrize("difficulty", sorted(SHARE))
def test_the_answers_are_the_engines_and_all_right(make, difficulty):
    out, tensors = make()
    sheet = quiz(out, ask=ASK, difficulty=difficulty)
    grads = dict(zip(tensors, mg.gradients(out, list(tensors.values()), retain_graph=True)))
    asked = by_what(sheet)
    compared = 0
    for name, g in grads.items():
        number = asked.get(f"df/d{name}", asked.get(f"dout/d{name}"))
        if number is not None:
            assert sheet.answers[number] == g.numpy().tolist()
            compared += 1
    assert compared or difficulty == "easy"
    marked = sheet.mark(sheet.answers)
    assert marked.ok
    assert marked.score == len(sheet.blanks) == len(sheet.answers)
    assert [a.number for a in marked.answers] == list(range(1, len(sheet.answers) + 1))


def test_the_numbers_of_the_notes_are_right_to_two_digits():
    f, _ = circuit()
    sheet = quiz(f, difficulty="hard")
    asked = by_what(sheet)
    given = {
        "df/dw0": -0.20,
        "df/dx0": 0.39,
        "df/dw1": -0.39,
        "df/dx1": -0.59,
        "df/dw2": 0.20,
        "df/dexp1": -0.53,
        "the value of f": 0.73,
    }
    marked = sheet.mark({asked[what]: value for what, value in given.items()})
    assert marked.score == len(given)
    assert not marked.ok


def test_a_blank_hides_its_number():
    f, _ = circuit()
    sheet = quiz(f, difficulty="hard")
    for secret in ("0.7311", "0.3679", "-0.5344", "0.1966", "-0.5898"):
        assert secret not in sheet.text
        assert secret not in sheet.drawing.source
        assert secret not in sheet.markdown
    numbers = [int(n) for n in re.findall(r"______ \((\d+)\)", sheet.text)]
    assert sorted(numbers) == list(range(1, len(sheet.blanks) + 1))
    drawn = [int(n) for n in re.findall(r">\((\d+)\)", sheet.drawing.source)]
    assert sorted(drawn) == sorted(numbers)
    assert "w0 = 2\n" in sheet.text
    assert "df/df = 1\n" in sheet.text


def test_what_is_not_asked_is_shown():
    f, _ = circuit()
    backward = quiz(f, ask="backward", difficulty="hard")
    assert "f = 1 / add3 = 0.7311" in backward.text
    assert all(b.what.startswith("df/d") for b in backward.blanks)
    forward = quiz(f, ask="forward", difficulty="hard")
    assert "df/dw0 = -0.1966" in forward.text
    assert all(b.what.startswith("the value") for b in forward.blanks)


def test_the_same_seed_gives_the_same_sheet():
    f, _ = circuit()
    sheets = [quiz(f, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert sheets[0].text == sheets[1].text
    assert sheets[0].drawing.source == sheets[1].drawing.source
    assert len({sheet.text for sheet in sheets}) > 1
    counts = [len(quiz(f, difficulty=d).blanks) for d in ("easy", "medium", "hard")]
    assert counts == sorted(set(counts))


# Hints
def fan_out():
    x, y = mg.tensor(3.0, requires_grad=True), mg.tensor(5.0, requires_grad=True)
    u = x * y
    v = mg.exp(x * 0.5)
    L = u + v
    return quiz(L, ask=ASK, difficulty="hard")


@pytest.mark.parametrize(
    ("what", "answer", "hint"),
    [
        ("the value of u", 8.0, "that is x + y, not multiply"),
        ("the value of v", 1.5, "exp is still to be applied"),
        ("the value of u", -15.0, "the sign is wrong"),
        ("dL/dx", 5.0, "is missing: x is used 2 times"),
        ("dL/dx", 5 * 0.5 * np.exp(1.5), "a product where a sum belongs"),
        ("dL/dy", 5.0, "that is y itself"),
        ("dL/dy", 1.0, "the local gradient is forgotten"),
        ("dL/dy", 4.0, "multiplied, not added"),
        ("dL/dy", -3.0, "the sign is wrong"),
        ("dL/dy", 77.0, ""),
        ("what comes back from u to x", 1.0, "the local gradient is forgotten"),
        ("dL/dy", [3.0, 3.0], "its shape is (2,)"),
        ("dL/dy", "three", "a number is expected"),
    ],
)
def test_a_wrong_answer_gets_the_hint_of_its_mistake(what, answer, hint):
    sheet = fan_out()
    (found,) = sheet.mark({by_what(sheet)[what]: answer}).answers
    assert not found.right
    assert hint in found.hint if hint else found.hint == ""


def test_the_upstream_gradient_that_was_forgotten():
    x = mg.tensor(2.0, requires_grad=True)
    h = mg.square(x)
    L = h * 7.0
    sheet = quiz(L, ask="backward", difficulty="hard")
    assert "upstream gradient is forgotten" in str(sheet.mark({by_what(sheet)["dL/dx"]: 4.0}))


def test_a_missing_path_is_named():
    x = mg.tensor(3.0, requires_grad=True)
    a, b, c = x * 2.0, x * 5.0, x * 11.0
    L = a + b + c
    sheet = quiz(L, ask="backward", difficulty="hard")
    assert "the path through b is missing: x is used 3 times" in str(sheet.mark({by_what(sheet)["dL/dx"]: 13.0}))


def test_a_matrix_is_marked_as_a_whole():
    out, _tensors = layer()
    sheet = quiz(out, ask="backward", difficulty="hard")
    number = by_what(sheet)["dout/dW"]
    right = np.array(sheet.answers[number])
    assert sheet.mark({number: right.round(4)}).score == 1
    assert not sheet.mark({number: right.T}).answers[0].right


# Files and errors
def test_it_saves_and_shows_itself(tmp_path):
    f, _ = circuit()
    sheet = quiz(f, title="Figure 13 & more")
    for suffix in (".md", ".txt", ".svg", ".png", ".pdf", ".dot"):
        assert sheet.save(tmp_path / f"sheet{suffix}").stat().st_size > 100
    assert (tmp_path / "sheet.svg").read_text().startswith("<?xml")
    assert set(sheet._repr_mimebundle_()) == {"text/plain", "image/svg+xml"}
    assert "Figure 13 & more" in str(sheet)
    assert "Figure 13 &amp; more" in sheet.drawing.source
    assert "blanks" in repr(sheet)
    with pytest.raises(ValueError, match="end it in"):
        sheet.save(tmp_path / "sheet.docx")


def test_bad_arguments_are_told():
    f, _ = circuit()
    with pytest.raises(ValueError, match="ask="):
        quiz(f, ask="sideways")
    with pytest.raises(ValueError, match="difficulty="):
        quiz(f, difficulty="impossible")
    with pytest.raises(KeyError, match="no blank 99"):
        quiz(f).mark({99: 1.0})
    x = mg.tensor(np.ones((20, 20)), requires_grad=True)
    with pytest.raises(ValueError, match="nothing to ask"):
        quiz(x * 2, ask="backward", gradient=np.ones((20, 20)))
    with pytest.raises(TypeError, match="Tensor"):
        quiz(3.0)


def test_nothing_of_the_graph_changes():
    f, tensors = circuit()
    viz.quiz(f)
    assert tensors["w0"].grad is None
    f.backward()
    assert viz.quiz(f).answers
