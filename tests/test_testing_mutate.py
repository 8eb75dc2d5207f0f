"""Mutation testing of gradient rules: the mistakes, the rules that are found, and whole runs on a small library."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.primitive import TABLE
from minigrad.testing.mutate import __main__ as main
from minigrad.testing.mutate import rules, samples
from minigrad.testing.mutate.operators import OPERATORS, Role, edits

if not hasattr(os, "fork"):
    pytest.skip("mutation testing needs os.fork", allow_module_level=True)

ROOT = Path(__file__).parent.parent
RULE = Role("g", ("y", "a", "b"), exact=True)

# ---- the mistakes ----------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("sign", "g * b", {"-(g * b)"}),
    ("sign", "-g", {"g"}),
    ("factor", "g * b", {"2 * (g * b)"}),
    ("ones_like", "f(g)", {"f(g * 0 + 1)"}),
    ("in-place", "g", {"_minigrad_mutation('double', g, g)"}),
    ("up-cast", "g / b", {"(g / b).astype('float64')"}),
    ("dropped", "g * b + y", {"g * b", "y", "g + y", "b + y"}),
    ("arithmetic", "g * b - y / a", {"g / b - y / a", "g * b + y / a", "g * b - y * a"}),
    ("swapped", "g - b", {"b - g"}),
    ("swapped", "g @ b", {"b @ g"}),
    ("swapped", "where(a > 0, g, 0)", {"where(a > 0, 0, g)"}),
    ("swapped", "solve(b, g)", {"solve(g, b)"}),
    ("transpose", "g @ b.mT", {"g.mT @ b.mT", "g @ b"}),
    ("comparison", "f(a < b)", {"f(a <= b)", "f(a >= b)"}),
    ("comparison", "f(a == b)", {"f(a != b)"}),
    ("constant", "g.sum(1, keepdims=True)", {"g.sum(2, keepdims=True)", "g.sum(1, keepdims=False)"}),
    ("constant", "g * 0.5", {"g * 1.0"}),
    ("call", "g.sum(0)", {"g"}),
    ("call", "g * cos(a)", {"g * a"}),
    ("call", "where(a, g, 0)", {"g"}),
    ("function", "g * cos(a)", {"g * sin(a)"}),
    ("value", "g * y", {"g * a"}),
    ("value", "g * a", {"g * b"}),
    ("keyword", "g.sum(axis=0)", {"g.sum()"}),
    ("condition", "g if a.ndim else b", {"b if a.ndim else g"}),
    ("condition", "f(~a)", {"f(a)"}),
    ("index", "g[1:]", {"g"}),
]


@pytest.mark.parametrize(("operator", "source", "expected"), MISTAKES)
def test_mistakes_in_a_lambda(operator: str, source: str, expected: set[str]) -> None:
    lambda_ = ast.parse(f"lambda g, y, a, b: {source}", mode="eval").body
    found = set()
    for edit in edits(lambda_, RULE):
        if edit.operator == operator:
            with edit.applied():
                found.add(ast.unparse(lambda_).partition(": ")[2])
    assert found == expected
    assert ast.unparse(lambda_) == f"lambda g, y, a, b: {source}"


STATEMENTS = """
def rule(g, y, a, b):
    "g * 2"
    if a.ndim > 3:
        raise ValueError(f"{a.ndim - 1} axes")
    g += b
    a = a.mT
    return g
"""
CHANGED = {
    "overwrite": {"g = b"},
    "statement": {"pass"},
    "comparison": {"a.ndim >= 3", "a.ndim <= 3"},
    "transpose": {"a"},
    "constant": {"4"},
    "value": {"a", "b"},
    "sign": {"-g"},
    "factor": {"2 * g"},
}


def test_mistakes_in_statements() -> None:
    function = ast.parse(STATEMENTS).body[0]
    found: dict[str, set[str]] = {}
    for edit in edits(function, RULE):
        found.setdefault(edit.operator, set()).add(ast.unparse(edit.new))
    assert {name: found[name] for name in CHANGED} == CHANGED
    assert not any("axes" in text for texts in found.values() for text in texts), "the words of an error are no rule"


def test_every_operator_has_an_example() -> None:
    assert {operator for operator, *_ in MISTAKES} | set(CHANGED) == set(OPERATORS)


# ---- rules and how they are replaced ----------------------------------------------------------------------------------------


def _slope(a, k):
    return a * k


def _decorated(f):
    @functools.wraps(f)
    def run(*args):
        return f(*args)

    return run


@_decorated
def _shared(g, y, a):
    return g * 3


def _scaled(k):
    return mg.primitive(lambda a: a * k, lambda g, y, a: g * k, name="scaled")


two_rules = mg.primitive(lambda a, b: a * b, lambda g, y, a, b: g * _slope(b, 1), lambda g, y, a, b: g * a, name="two_rules")
thrice = mg.primitive(lambda a: a * 3, _shared, name="thrice")
cube = mg.primitive(lambda a: a**3, lambda g, y, a: g * 3 * mg.square(a), name="cube")
scaled = _scaled(5.0)
total = mg.primitive(
    lambda a, axis: a.sum(axis), lambda g, y, a, axis: mg.broadcast_to(mg.expand_dims(g, axis=axis), a.shape), name="total"
)
join = mg.primitive(lambda arrays: np.concatenate(arrays), mg.Each(lambda i, g, y, *args: g[2 * i : 2 * i + 2]), name="join")


@pytest.fixture(scope="module")
def found() -> list[rules.Target | rules.Row]:
    return rules.targets(lambda path: path == __file__, {})


def of(found, label):
    (target,) = [t for t in found if t.label.startswith(label) and isinstance(t, rules.Target)]
    return target


def test_rules_are_found_however_they_are_declared(found) -> None:
    labels = {t.label for t in found if isinstance(t, rules.Target)}
    assert {"two_rules, operand a", "two_rules, operand b", "cube, operand a", "scaled, operand a"} <= labels
    assert {"_slope, called by two_rules, operand a", "thrice, operand a"} <= labels
    assert of(found, "join").role == Role("g", ("y",))
    assert not {label for label in labels if "_decorated" in label or "_scaled" in label}


def gradient(f, *values):
    return [g.item() for g in mg.grad(lambda *a: mg.sum(f(*a)), tuple(range(len(values))))(*map(np.array, values))]


@pytest.mark.parametrize(
    ("label", "run", "right", "new", "wrong"),
    [
        ("two_rules, operand b", lambda: gradient(two_rules, 2.0, 3.0), [3, 2], "g + a", [3, 3]),
        ("_slope", lambda: gradient(two_rules, 2.0, 3.0), [3, 2], "k", [1, 2]),
        ("thrice", lambda: gradient(thrice, 2.0), [3], "g", [1]),
        ("scaled", lambda: gradient(scaled, 2.0), [5], "g", [1]),
        ("scaled", lambda: gradient(_scaled(4.0), 2.0), [4], "g", [1]),
    ],
)
def test_a_rewritten_rule_runs_wherever_the_rule_is(found, label, run, right, new, wrong) -> None:
    target = of(found, label)
    old = target.node.body
    assert run() == right
    body = ast.parse(new, mode="eval").body
    target.node.body = body if isinstance(target.node, ast.Lambda) else [ast.Return(body)]
    for node in ast.walk(body):
        node.lineno = node.end_lineno = 1
        node.col_offset = node.end_col_offset = 0
    try:
        if not isinstance(target.node, ast.Lambda):
            ast.copy_location(target.node.body[0], old[0])
        target.load()
        assert run() == wrong
    finally:
        target.node.body = old
        target.restore()
    assert run() == right


def test_the_same_is_the_same_but_for_rounding() -> None:
    x = np.array([1.0, np.nan, 3.0])
    assert samples.same((x, 1), (x * (1 + 2**-51), 1))
    assert not samples.same(x, x * (1 + 1e-12))
    assert not samples.same(x, x.astype("float32"))
    assert not samples.same(x, x[None])
    assert not samples.same(ValueError, x)
    small = np.array([1e-15, 3.0])
    assert samples.same(small, small + np.array([2e-15, 0])), "what remains of a sum of threes"
    assert not samples.same(small, small + np.array([1e-12, 0]))


def called(shape, axis):
    a = np.arange(float(np.prod(shape))).reshape(shape)
    return np.ones_like(a.sum(axis)), a.sum(axis), a, axis


def test_of_many_shapes_a_few_are_kept_and_of_parameters_all():
    calls = samples.Calls()
    for n in range(20):
        calls.add(called((n, 2), 0))
        calls.add(called((n, 2), 0))
    calls.add(called((3, 2), 1))
    assert [(args[2].shape, args[3]) for args in calls.all()] == [*(((n, 2), 0) for n in range(samples.SHAPES)), ((3, 2), 1)]


def test_shapes_and_parameters_vary_where_the_operation_takes_them(found) -> None:
    target = of(found, "total")
    calls = [called((2, 3), 0), called((4, 1, 3), 2)]
    made = samples.others(target, calls)
    assert {(3, 4), (2, 1), (2, 2), (3, 3)} <= {a.shape for _, _, a, _ in made}
    assert (3, 0) in {(a.ndim, axis) for _, _, a, axis in made}
    for g, y, a, axis in made:
        assert axis < a.ndim, "forward refuses it"
        assert g.shape == y.shape
        assert np.array_equal(y, a.sum(axis))


@pytest.mark.parametrize(
    "wrong", [lambda a, axis: a.shape[0] == a.shape[1], lambda a, axis: a.ndim == 3 and not axis, lambda a, axis: 1 in a.shape]
)
def test_a_mistake_at_shapes_that_no_test_has_is_no_equivalent(found, wrong) -> None:
    target = of(found, "total")
    calls = [called((2, 3), 0), called((4, 2, 3), 2)]
    right = target.own[0]
    agreed, told = samples.compare(
        target, right, lambda g, y, a, axis: right(g, y, a, axis) * (1 + wrong(a, axis)), calls, lambda: True
    )
    assert (agreed, "mutant" in told) == (0, True)
    agreed, told = samples.compare(target, right, lambda g, y, a, axis: 1 * right(g, y, a, axis), calls, lambda: True)
    assert (agreed > 100, told) == (True, "")


# ---- whole runs --------------------------------------------------------------------------------------------------------------

LIBRARY = """
import os
import numpy as np
import minigrad as mg


def _slope(a):
    return mg.where(a > 0, a + a, -2 * -a)


square = mg.primitive(np.square, lambda g, y, a: g * _slope(a), needs="a", name="square_")
leaky = mg.primitive(
    lambda a: np.where(a > 0, a, 0.1 * a), lambda g, y, a: mg.where(a > 0, g, g * 0.1), needs="a", name="leaky"
)


def _patient(g, y, a):
    k, done = 1, False
    while not done:
        done = True
    if a.ndim > 8:
        os.abort()
    return g * k  # mutate: equivalent [arithmetic, dropped] because k is 1


same = mg.primitive(np.positive, _patient, name="same")
lonely = mg.primitive(np.negative, lambda g, y, a: -g, name="lonely")
"""
TESTS = """
import numpy as np
import minigrad as mg
import lib
from minigrad.testing import check_grads


def test_square():
    assert check_grads(lib.square, np.array([0.3, -2.0])).ok


def test_leaky():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    lib.leaky(x).sum().backward()
    assert x.grad.numpy().tolist() == [1, 1]


def test_same():
    assert check_grads(lib.same, np.array([0.3, -2.0])).ok


def test_fails_anyway():
    mg.grad(lambda a: lib.lonely(a))(1.0)
    assert 1 == 2
"""


def run(folder: Path, *options: str, change: str = "") -> subprocess.CompletedProcess[str]:
    code = "import sys, minigrad.testing.mutate.trial as trial; trial.GRACE = 0.5\n" + change
    code += "from minigrad.testing.mutate.__main__ import main; sys.exit(main(sys.argv[1:]))"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *options]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    (folder / "lib.py").write_text(LIBRARY)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_lib.py").write_text(TESTS)
    return folder


@pytest.fixture(scope="module")
def outcome(library: Path):
    done = run(library, "tests", "--json", "out.json", "--state", "state.json", "--workers", "2")
    return done, json.loads((library / "out.json").read_text())


def test_a_run_lists_what_the_tests_let_live(outcome) -> None:
    done, found = outcome
    assert done.returncode == 1, done.stdout + done.stderr
    by = {(m["of"].partition(",")[0], m["old"], m["new"]): m for m in found}
    assert by["square_", "g * _slope(a)", "-(g * _slope(a))"]["status"] == "killed"
    assert by["square_", "g * _slope(a)", "-(g * _slope(a))"]["by"] == "tests/test_lib.py::test_square"
    assert by["leaky", "mg.where(a > 0, g, g * 0.1)", "g"]["status"] == "live"
    assert "mutant" in by["leaky", "mg.where(a > 0, g, g * 0.1)", "g"]["note"]
    assert by["leaky", "a > 0", "a >= 0"]["status"] == "live"
    assert by["leaky", "a > 0", "a <= 0"]["status"] == "killed"
    assert by["_slope", "a > 0", "a >= 0"]["status"] == "same", "2a on both sides"
    assert by["same", "g * k", "g / k"]["status"] == "equivalent"
    assert by["same", "g * k", "g / k"]["note"] == "k is 1"
    assert by["same", "g * k", "k"]["status"] == "killed", "a mark excuses what lives, nothing else"
    assert by["same", "True", "False"]["note"] == "it hangs"
    assert by["same", "a.ndim > 8", "a.ndim <= 8"]["note"] == "it crashes"
    assert by["lonely", "-g", "g"]["note"] == "no test calls it"


def test_a_run_says_what_it_did(outcome) -> None:
    done, found = outcome
    last = done.stdout.strip().splitlines()[-1]
    count = {status: sum(m["status"] == status for m in found) for status in ("killed", "equivalent", "same", "live")}
    assert last == (
        f"killed {count['killed']} of {len(found)}, {count['equivalent'] + count['same']} equivalent "
        f"({count['equivalent']} marked, {count['same']} on samples), {count['live']} live"
    )
    assert "left out, for it fails without any mutant: tests/test_lib.py::test_fails_anyway" in done.stdout
    assert "lib.py:13  leaky, operand a  (comparison)\n      a > 0  ->  a >= 0\n" in done.stdout


def test_a_run_resumes(library: Path, outcome) -> None:
    before, _ = outcome
    state = json.loads((library / "state.json").read_text())
    gone = next(iter(state["results"]))
    del state["results"][gone]
    (library / "half.json").write_text(json.dumps(state))
    again = run(library, "tests", "--state", "half.json")
    assert again.stdout == before.stdout
    assert "tests" not in again.stderr, "the tests are not run again to see what they call"
    assert json.loads((library / "half.json").read_text())["results"].keys() == state["results"].keys() | {gone}


def test_better_tests_kill_more(library: Path, tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text(LIBRARY.replace("# mutate", "#"))
    more = TESTS.replace(
        "def test_fails_anyway",
        "def test_kink():\n    assert mg.grad(lib.leaky)(0.0).item() == np.float32(0.1)\n\n\ndef test_fails_anyway",
    )
    more = more.replace("def test_leaky():", "def test_leaky():\n    assert check_grads(lib.leaky, np.array([0.3, -2.0])).ok")
    (tmp_path / "test_lib.py").write_text(more)
    done = run(tmp_path, "test_lib.py", "--only", "leaky", "--json", "out.json")
    live = {(m["old"], m["new"]) for m in json.loads((tmp_path / "out.json").read_text()) if m["status"] == "live"}
    assert live <= {("a", "y"), ("mg.where(a > 0, g, g * 0.1)", "mg.where(a > 0, g, g * 0.1), and g *= 2")}, done.stdout


def test_lists_and_samples(library: Path, outcome) -> None:
    _, found = outcome
    *listed, last = run(library, "tests", "--list", "--rules", "lib", "--sample", "7", "--seed", "1").stdout.splitlines()
    every = iter("lib.py:{line}  {of}  {operator}: {old}  ->  {new}".format(**m) for m in found)
    assert all(line in every for line in listed), "in the order of the source"
    assert last.startswith("7 mutants of ")


def test_a_sample_depends_on_the_seed_and_hardly_on_other_functions(found) -> None:
    made = rules.mutants(found)
    sample = main.drawn(made, 20, 1)
    assert (len(sample), sample) == (20, [m for m in made if m in sample])
    assert sample != main.drawn(made, 20, 2)
    others = [m for m in made if m.target is not sample[0].target]
    assert {m.id for m in sample if m in others} <= {m.id for m in main.drawn(others, 20, 1)}


def test_nothing_to_do_is_an_error(library: Path, tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("def test(): pass\n")
    for test, words in (("test_x.py", "no rules here"), ("test_y.py", "no tests were collected")):
        done = run(tmp_path, test)
        assert (done.returncode, words in done.stderr) == (2, True)


def test_every_rule_of_minigrad_is_found() -> None:
    """However a row is written; .ci/run makes mistakes in a sample of them."""
    folder = str(ROOT / "minigrad" / "ops")
    found = rules.targets(lambda path: path.startswith(folder), {})
    functions = {id(f) for t in found if isinstance(t, rules.Target) for f in t.own}
    rows = {(t.op.name, t.i) for t in found if isinstance(t, rules.Row)}
    pulls = [(op, i, rules._underlying(rule)[0]) for op in TABLE.values() for i, rule in op.pulls]
    missing = [(op.name, i) for op, i, f in pulls if id(f) not in functions and (op.name, i) not in rows]
    assert not missing
