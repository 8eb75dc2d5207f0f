"""``viz.derivation``: its program computes the same bits without minigrad, over the op table, generated graphs and models."""

from __future__ import annotations

import builtins
import itertools
import keyword
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
from minigrad import nn
from minigrad.errors import MinigradError
from minigrad.nn import functional as F  # noqa: N812
from minigrad.primitive import TABLE
from minigrad.viz import derivation
from minigrad.viz.code import large, program, trace
from minigrad.viz.copying import CodeError
from tests.table import ROWS, cases, takes_a_sequence


def alone(source, **more):
    """Run a program where minigrad cannot be imported; its variables."""

    def refuse(name, *args):
        assert name.partition(".")[0] != "minigrad", f"the program imports {name}"
        return __import__(name, *args)

    space = {"__name__": "program", "__builtins__": {**vars(builtins), "__import__": refuse}, **more}
    with np.errstate(all="ignore"):
        exec(compile(source, "program.py", "exec"), space)
    return space


def bits(a):
    a = np.asarray(a)
    return a.dtype, a.shape, a.tobytes()


def check(t, gradient=None, inputs=None):
    """The program of ``t``'s graph gives the bits of the engine, for its value and the gradients of all ``inputs``."""
    found = trace(t, gradient)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "derivation.py"
        np.savez(path.with_suffix(".npz"), **large(found))
        space = alone(program(found), __file__=str(path))
    with np.errstate(all="ignore"):
        seed = None if gradient is None else mg.asarray(np.asarray(gradient, t.dtype))
        grads = mg.gradients(t, inputs, seed, retain_graph=True, allow_unused=True)
    assert bits(space[found.names[t.node]]) == bits(t.numpy())
    for x, g in zip(inputs, grads):
        if g is not None:
            assert bits(space[found.gradient(x.node)]) == bits(g.numpy()), f"the gradient of {found.names[x.node]}"
    return found


# The op table
RECORDING = ("rnn_back", "rnn_relu_back", "gru_back", "lstm_back")
"""Their rules record the steps and differentiate those."""
DIFFERENTIABLE = [name for name in ROWS if any(rule is not None for rule in TABLE[name].rules) and name not in RECORDING]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_the_program_of_every_operation_gives_the_same_bits(name, dtype):
    checked = 0
    few = 1 if dtype == np.float32 else None
    for f, kinds, arrays, params in itertools.islice(cases(name), few):
        tensors = []
        for operand, value in zip(kinds, arrays):
            if isinstance(value, (np.ndarray, np.generic, float)):
                value = np.asarray(value)
                t = mg.tensor(value.astype(dtype) if value.dtype.kind == "f" else value)
                value = t.requires_grad_() if operand.differentiable and t.dtype.kind == "f" else t
            tensors.append(value)
        with np.errstate(all="ignore"):
            out = f(tensors, **params) if takes_a_sequence(f) else f(*tensors, **params)
        for y in out if isinstance(out, tuple) else (out,):
            if y.requires_grad and y.dtype.kind == "f":
                u = np.random.default_rng(1).normal(size=y.shape).astype(y.dtype)
                check(y, u, [t for t in tensors if isinstance(t, mg.Tensor) and t.requires_grad])
                checked += 1
    assert checked


@pytest.mark.parametrize("name", RECORDING)
def test_a_rule_that_records_a_graph_has_no_program(name):
    f, kinds, arrays, params = next(iter(cases(name)))
    tensors = [v if v is None else mg.tensor(v).requires_grad_(k.differentiable) for k, v in zip(kinds, arrays)]
    y = f(*tensors, **params)
    with pytest.raises(CodeError, match=r"_twice.* records graphs of its own"):
        program(trace(y, np.ones(y.shape)))


# Generated graphs
UNARY = [mg.tanh, mg.sigmoid, mg.relu, mg.exp, mg.square, lambda a: a**3, lambda a: -a, lambda a: 1 / (a * a + 1), mg.abs,
         lambda a: mg.where(a > 0, mg.sqrt(a), 0.0), lambda a: mg.softmax(a, axis=-1), lambda a: a[..., ::-1], lambda a: a.mT,
         lambda a: a.sum(axis=0, keepdims=True) + a, lambda a: mg.maximum(a, 0.1), lambda a: a.mean() * a]  # fmt: skip
BINARY = [lambda a, b: a * b, lambda a, b: a - b, lambda a, b: a + b, lambda a, b: a / (b * b + 1), lambda a, b: a @ b.mT @ b,
          lambda a, b: mg.concat([a, b], axis=0)[: a.shape[0]], lambda a, b: mg.where(a > b, a, mg.exp(b))]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float32, np.float64]))
def test_the_program_of_a_generated_graph_gives_the_same_bits(data, seed, dtype):
    rng = np.random.default_rng(seed)
    shapes = data.draw(st.lists(st.sampled_from([(3, 3), (1, 3), (3, 1)]), min_size=2, max_size=3))
    inputs = [mg.tensor(rng.normal(size=shape).astype(dtype), requires_grad=True) for shape in [(3, 3), *shapes]]
    values = [a + mg.zeros((3, 3), dtype=dtype) for a in inputs]  # broadcast, and of one shape from here on
    with np.errstate(all="ignore"):
        for _ in range(data.draw(st.integers(1, 10))):
            pick = st.sampled_from(values)
            if data.draw(st.booleans()):
                values.append(data.draw(st.sampled_from(UNARY))(data.draw(pick)))
            else:
                values.append(data.draw(st.sampled_from(BINARY))(data.draw(pick), data.draw(pick)))
        loss = (values[-1] * values[-2]).sum()
    check(loss, None, inputs)


def test_a_branch_that_was_not_taken_contributes_nothing():
    x = mg.tensor([0.0, 4.0, 0.0], requires_grad=True)
    safe = mg.where(x > 0, mg.sqrt(x) * 2, x * 3)
    y = mg.where(x > 1, safe, safe * 5).sum()
    found = check(y, None, [x])
    assert np.isfinite(found.gradients[x.node]).all()


@pytest.mark.parametrize(
    "through",
    [
        lambda a: a.sum(axis=1), lambda a: a.mean(), lambda a: a.max(axis=0, keepdims=True), lambda a: mg.softmax(a, axis=-1),
        lambda a: a.mT[1:] * 2, lambda a: mg.concat([a, a], axis=0), lambda a: mg.reshape(a, (3, 2)), lambda a: a + a.std(axis=-1, keepdims=True),
        lambda a: mg.stack([a, a * 2])[1], lambda a: mg.broadcast_to(a.mean(axis=0), (4, 3)),
    ],
)  # fmt: skip
def test_masks_reach_through_moves_and_reductions(through):
    x = mg.tensor([[0.0, 4.0, 0.0], [1.0, 0.0, 9.0]], requires_grad=True)
    row = mg.tensor([[0.0, 1.0, 4.0]], requires_grad=True)
    y = through(mg.sqrt(x) * mg.sqrt(row))
    found = check(mg.where(y > 0.5, y, 1.0).sum(), None, [x, row])
    assert np.array_equal(
        found.gradients[x.node],
        mg.grad(lambda a: mg.where((z := through(mg.sqrt(a) * mg.sqrt(row))) > 0.5, z, 1.0).sum())(x),
        equal_nan=True,
    )


# Models, in a process of their own
def lenet(rng):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(12, 5))  # fmt: skip
    x = mg.tensor(rng.normal(size=(2, 1, 10, 10)).astype(np.float32))
    return F.cross_entropy(model(x), mg.tensor([0, 3])), model


def mlp(rng):
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2))
    x = mg.tensor(rng.normal(size=(5, 4)).astype(np.float32))
    return F.mse_loss(model(x), mg.tensor(rng.normal(size=(5, 2)).astype(np.float32))), model


def gru(rng):
    model = nn.GRUCell(3, 4)
    h = mg.tensor(rng.normal(size=(2, 4)).astype(np.float32))
    for _ in range(3):
        h = model(mg.tensor(rng.normal(size=(2, 3)).astype(np.float32)), h)
    return (h * h).mean(), model


def attention(rng):
    model = nn.MultiheadAttention(4, 2, batch_first=True)
    x = mg.tensor(rng.normal(size=(2, 3, 4)).astype(np.float32))
    return (model(x, x, x, need_weights=False)[0] ** 2).sum(), model


def test_programs_of_models_run_alone(tmp_path):
    expected = {}
    for make in (lenet, mlp, gru, attention):
        mg.manual_seed(0)
        loss, model = make(np.random.default_rng(0))
        loss.backward(retain_graph=True)
        found = derivation(loss)
        found.save(tmp_path / f"{make.__name__}.py")
        names = trace(loss).names
        expected[make.__name__, names[loss.node]] = loss.numpy()
        for p in model.parameters():
            if p.grad is not None:
                expected[make.__name__, f"d_{names[p.node]}"] = p.grad.numpy()
    assert len(expected) > 20
    script = (
        "import sys, runpy, pathlib, pickle, numpy\n"
        "sys.modules['minigrad'] = None\n"
        "out = {}\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).glob('*.py')):\n"
        "    space = runpy.run_path(str(path))\n"
        "    out |= {(path.stem, k): v for k, v in space.items() if isinstance(v, (numpy.ndarray, numpy.generic))}\n"
        "pickle.dump(out, open(sys.argv[1] + '/out.pickle', 'wb'))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=tmp_path)
    out = pickle.loads((tmp_path / "out.pickle").read_bytes())
    for key, value in expected.items():
        assert bits(out[key]) == bits(value), key


def test_large_inputs_lie_beside_the_program(tmp_path):
    rng = np.random.default_rng(0)
    x = mg.tensor(rng.normal(size=(600, 512)).astype(np.float32), requires_grad=True)
    w = mg.tensor(rng.normal(size=(512, 4)), requires_grad=True)
    loss = (mg.softmax(x @ w, axis=-1) ** 2).sum() + mg.softmax(x, axis=-1).max()
    found = derivation(loss)
    assert sorted(found.data) == ["w", "x"]
    path = found.save(tmp_path / "sums.py")
    assert (tmp_path / "sums.npz").exists()
    assert "np.array([[" not in path.read_text()
    space = alone(path.read_text(), __file__=str(path))
    loss.backward()
    assert bits(space["d_x"]) == bits(x.grad.numpy())
    assert bits(space["d_w"]) == bits(w.grad.numpy())


def test_the_memory_layout_of_inputs_is_kept():
    a = np.asfortranarray(np.random.default_rng(0).normal(size=(5, 7)))
    x = mg.asarray(a).requires_grad_()
    y = (x @ x.mT).sum()
    assert "order='F'" in program(check(y, None, [x]))


# Names
def test_names_are_the_users_and_valid_and_unique():
    weights = [mg.tensor(float(k), requires_grad=True) for k in range(3)]
    np_, d_loss = mg.tensor(2.0, requires_grad=True, name="np"), mg.tensor(3.0, requires_grad=True, name="d_x")
    x = mg.tensor(4.0, requires_grad=True, name="x")
    odd = mg.tensor(1.0, requires_grad=True, name="lambda")
    other = mg.tensor(1.0, requires_grad=True, name="x")
    loss = weights[0] * weights[1] * weights[2] + np_ * d_loss * x * odd * other
    check(loss, None, [*weights, np_, d_loss, x, odd, other])
    found = trace(loss)
    names = list(found.names.values())
    assert len({*names, *(f"d_{n}" for n in names)}) == 2 * len(names)
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    assert {"weights_0", "weights_1", "weights_2", "loss"} <= set(names)


def test_helpers_do_not_hide_the_users_names():
    sigmoid = mg.tensor([0.5, -1.0], requires_grad=True)
    shape = mg.sigmoid(sigmoid)
    g = shape * mg.tensor([1.0, 2.0], requires_grad=True, name="a")
    check(g.sum(), None, [sigmoid])


# What it says
def test_it_reads_as_in_the_notes():
    w0, x0, w1, x1, w2 = (mg.tensor(v, requires_grad=True, dtype="float64") for v in (2.0, -1.0, -3.0, -2.0, -3.0))
    f = 1 / (1 + mg.exp(-(w0 * x0 + w1 * x1 + w2)))
    text = derivation(f).text  # notes 001, Figure 13
    assert "  f = 1 / add3 = 0.7311\n" in text
    assert "  df/dexp1 = df/dadd3 = -0.5344\n" in text  # "1/x at 1.37 passes -0.53"
    assert "  df/dnegative1 = df/dexp1 * exp1 = -0.5344 * 0.3679 = -0.1966\n" in text  # "exp passes -0.20"
    assert "  df/dw0 = df/dmultiply1 * x0 = 0.1966 * (-1) = -0.1966\n" in text
    assert "  df/dx1 = df/dmultiply2 * w1 = 0.1966 * (-3) = -0.5898\n" in text


def test_where_paths_meet_contributions_are_a_sum():
    x = mg.tensor(3.0, requires_grad=True)
    y = x * x
    z = y + 2 * x
    text = derivation(z).text
    assert "  dz/dx = dz/dmultiply1 * 2 + dz/dy * x + dz/dy * x = 2 + 3 + 3 = 8\n" in text


def test_a_copied_operand_receives_a_sum():
    b = mg.tensor([1.0, 2.0], requires_grad=True)
    y = mg.ones((3, 2)) + b
    assert "sum over axis 0 of" in derivation(y.sum()).text
    assert r"\sum_{\text{axis 0}}" in derivation(y.sum()).align


def test_another_upstream_gradient():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    assert "dy/dx = dy/dy * 3 = [30, 60]" in derivation(y, [10.0, 20.0]).text


def deep():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    alpha, h_t = (mg.tensor(rng.normal(size=(2, 3)), requires_grad=True) for _ in range(2))
    loss = F.cross_entropy(model((alpha * h_t).astype("float32")), mg.tensor([0, 1])) + mg.where(alpha > 0, alpha, 1e-9).max()
    return loss + 1e-20 * mg.exp(alpha).sum() + mg.var(h_t)


def test_braces_and_environments_of_the_latex_are_balanced():
    tex = derivation(deep()).latex
    depth = 0
    for c in re.sub(r"\\[{}]", "", tex):
        depth += {"{": 1, "}": -1}.get(c, 0)
        assert depth >= 0
    assert depth == 0
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", tex):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_compiles(tmp_path):
    path = derivation(deep()).save(tmp_path / "deep.tex")
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", path.name], cwd=tmp_path, capture_output=True
    )
    assert run.returncode == 0, run.stdout.decode(errors="replace")[-2000:]


def test_it_saves_and_shows_itself(tmp_path):
    x = mg.tensor(2.0, requires_grad=True)
    found = derivation(x * x)
    for suffix in (".tex", ".md", ".py", ".txt"):
        assert found.save(tmp_path / f"d{suffix}").stat().st_size > 50
    shown = found._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/latex", "text/markdown"}
    assert "```python" in shown["text/markdown"]
    assert str(found) == found.text
    assert "contributions" in repr(found)
    with pytest.raises(ValueError, match=r"\.tex, \.md"):
        found.save(tmp_path / "d.docx")
    assert found.code == derivation(x * x).code


def test_nothing_of_the_graph_changes():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()
    derivation(loss)
    assert x.grad is None
    loss.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_after_backward_small_graphs_are_still_known():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    assert "d_x" in derivation(loss).code


# What it refuses
def test_what_it_cannot_tell_is_an_error():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    with pytest.raises(TypeError, match="expected a Tensor"):
        derivation(3.0)
    with pytest.raises(MinigradError, match="requires_grad=True"):
        derivation(mg.tensor(1.0))
    with pytest.raises(MinigradError, match="gradient"):
        derivation(x * x)
    z = x * 3
    z.register_hook(lambda g: g * 2)
    found = derivation(z.sum() + y)
    assert "Backward" in found.text
    with pytest.raises(CodeError, match="hook"):
        found.code  # noqa: B018
    assert "hook" in found.markdown


def test_an_operation_without_source_text_is_named():
    space = {"mg": mg}
    exec("cube = mg.primitive(lambda a: a**3, lambda g, y, a: g * 3 * a**2, name='cube')", space)
    x = mg.tensor(2.0, requires_grad=True)
    found = derivation(space["cube"](x))
    assert "= 12" in found.text
    with pytest.raises(CodeError, match="no source text"):
        found.code  # noqa: B018


cube = mg.primitive(lambda a: a**3, lambda g, y, a: g * 3 * a**2, needs="a", name="cube")


def test_an_operation_of_the_users_is_written_out():
    x = mg.tensor(2.0, requires_grad=True)
    y = cube(x)
    check(y, None, [x])
    assert "d_x = d_y * 3 * x ** 2  # rule: g * 3 * a ** 2" in derivation(y).code


def test_values_that_are_gone_or_changed_are_an_error():
    loss = (mg.tensor(np.ones(1000), requires_grad=True) + 1).sum()
    with pytest.raises(CodeError, match=r"did not keep the value of x1 \(shape \(1000,\)\)"):
        derivation(loss)
    a = np.array([1.0, 2.0])
    x = mg.asarray(a).requires_grad_()
    loss = (x * x).sum()
    a[0] = 9.0
    with pytest.raises(CodeError, match="changed in place"):
        derivation(loss)
