"""Soak runs: what they are made of, that each oracle finds what it is for, that a run goes on where it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.primitive import TABLE
from minigrad.testing import oracles, soak
from minigrad.testing.choices import Dice, program_from
from minigrad.testing.kinds import EVERY, KINDS, MORE, kinds_of
from minigrad.testing.oracles import ORACLES, available, fault
from minigrad.testing.programs import Program, Step
from minigrad.testing.soak import Record, as_test, main, program_of, run

THREE = mg.primitive(lambda a: 3 * a, lambda g, y, a: 3 * g, name="three", math="3 a")
WRONG = mg.primitive(lambda a: 3 * a, lambda g, y, a: 2 * g, name="wrong", math="3 a")


# ---- the programs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_every_kind_of_step_is_right(name: str) -> None:
    """In two steps of its own: by all the oracles but the dearest once, by the cheapest often."""
    found = 0
    for k in range(2000):
        program = program_from(Dice(f"{name} {k}"), {name: EVERY[name]}, max_steps=2, max_dims=3, min_side=k % 2)
        if program.steps[-1].kind != name:  # nothing fitted
            continue
        found += 1
        asked = set(available()) - {"compiled", "examine"} if found == 1 else {"complex step"}
        assert {o: told for o in asked if (told := fault(o, program))} == {}, program
        if found == 12:
            break
    assert found == 12


def test_what_a_hypothesis_program_is_drawn_from_has_not_grown() -> None:
    """More kinds in one draw would make each too rare in a test of some hundred programs."""
    assert len(KINDS) == 46
    assert not set(KINDS) & set(MORE)
    assert len(EVERY) >= 110


def test_a_program_is_made_of_its_number_and_the_seed_alone() -> None:
    first = [str(program_of(k, "s", EVERY)) for k in range(60)]
    assert [str(program_of(k, "s", EVERY)) for k in range(60)] == first
    assert len(set(first)) > 55
    assert [str(program_of(k, "other", EVERY)) for k in range(60)] != first
    script = "from minigrad.testing.soak import *; print(str(program_of(7, 's', EVERY)))"
    environment = {**os.environ, "PYTHONHASHSEED": "5"}
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment).stdout
    assert told.rstrip("\n") == first[7]


def test_programs_reach_all_kinds_shapes_and_sizes() -> None:
    programs = [program_of(k, "reach", EVERY) for k in range(2000)]
    kinds = Counter(step.kind for program in programs for step in program.steps)
    assert set(kinds) == set(EVERY)
    assert {a.ndim for program in programs for a in program.inputs} == {0, 1, 2, 3}
    assert any(a.size == 0 for program in programs for a in program.inputs)
    assert max(len(program.steps) for program in programs) >= 12
    assert {len(program.inputs) for program in programs} == {1, 2, 3}
    reused = [Counter(k for step in program.steps for k in step.operands) for program in programs]
    assert sum(max(counts.values()) > 1 for counts in reused) > 500


def test_five_hundred_programs_agree() -> None:
    done = run(range(500), "tests", None)
    assert done.failures == []
    assert (done.tried, done.failed, done.asked["complex step"]) == (500, 0, 500)
    for name in available():
        assert done.asked[name] == -(-500 // ORACLES[name].every)


# ---- each oracle finds what it is for ---------------------------------------------------------------------------------------------

TANH = Program((np.array([0.3, 0.7, -0.4]),), (Step("tanh", (0,)),))
PRODUCT = Program((np.array([0.3, 0.7]), np.array([1.3, -0.7])), (Step("multiply", (0, 1)), Step("tanh", (2,))))


def rule(name: str, spoil: Callable[..., Any]) -> Callable[[pytest.MonkeyPatch], None]:
    op = TABLE[name]
    return lambda patch: patch.setattr(op, "pulls", tuple((i, spoil(f)) for i, f in op.pulls))


def drifts(patch: pytest.MonkeyPatch) -> None:
    """A forward function that widens float32."""
    from minigrad.testing import kinds

    wide = kinds.KINDS["tanh"]._replace(code="xp.tanh({0}) * np64({0})")
    known = kinds._function
    patch.setattr(
        kinds, "_function", lambda code, arity: (lambda xp, axis, a: _widened(xp, a)) if "np64" in code else known(code, arity)
    )
    patch.setitem(kinds.EVERY, "tanh", wide)


def _widened(xp: Any, a: Any) -> Any:
    return xp.tanh(a) * np.ones(a.shape, np.float64) if isinstance(a, mg.Tensor) else xp.tanh(a)


def only_on_tensors(name: str, factor: float) -> Callable[[pytest.MonkeyPatch], None]:
    """A rule that is right on arrays and wrong on Tensors: first derivatives are right."""
    return rule(name, lambda f: lambda g, *args: f(g, *args) * (factor if isinstance(g, mg.Tensor) else 1.0))


def constant_on_tensors(patch: pytest.MonkeyPatch) -> None:
    rule("tanh", lambda f: lambda g, y, a: f(g, y, a).detach() * (g / g.detach()) if isinstance(g, mg.Tensor) else f(g, y, a))(
        patch
    )


def by_strides(patch: pytest.MonkeyPatch) -> None:
    """A rule that reads an array as if it had no gaps."""
    rule("multiply", lambda f: lambda g, y, a, b: f(g, y, *(_gapless(v) for v in (a, b))))(patch)


def _gapless(a: Any) -> Any:
    if not isinstance(a, np.ndarray) or a.flags.c_contiguous:
        return a
    return np.lib.stride_tricks.as_strided(a, a.shape, [np.sign(s) * a.itemsize for s in a.strides])


def forgetful(patch: pytest.MonkeyPatch) -> None:
    """Inspecting changes the last bit."""
    from minigrad.graph import ALL, recording

    def spoilt(f: Any) -> Any:
        return lambda g, *args: f(g, *args) * (1 + 1e-15 if recording.get()[0] == ALL else 1)

    rule("tanh", spoilt)(patch)


def numpys_own(patch: pytest.MonkeyPatch) -> None:
    from minigrad import numpy_functions, numpy_protocol

    known = numpy_protocol.call_ufunc
    patch.setattr(numpy_protocol, "call_ufunc", lambda ufunc, *rest: known(ufunc, *rest) * (1.1 if ufunc is np.tanh else 1.0))
    assert numpy_functions


def torchs(patch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    patch.setattr(torch, "tanh", torch.sin)


def _nearly(compiled: Callable[[], Any]) -> Any:
    return compiled() * (1 + 1e-15)


def compilers(patch: pytest.MonkeyPatch) -> None:
    known = mg.compile
    patch.setattr(mg, "compile", lambda step, **options: partial(_nearly, known(step, **options)))


SPOILT: list[tuple[str, Program, Callable[[pytest.MonkeyPatch], None], str]] = [
    ("complex step", TANH, rule("tanh", lambda f: lambda g, y, a: g * (1 - y)), "the complex step of NumPy's"),
    ("complex step", TANH, lambda patch: patch.setattr(mg, "tanh", mg.sin), "the value is not NumPy's"),
    ("float32", TANH, drifts, "came out in float64"),
    ("forward mode", PRODUCT, only_on_tensors("multiply", 1.01), "forward mode gives"),
    ("second derivative", TANH, constant_on_tensors, "of order 2"),
    ("layouts", PRODUCT, by_strides, "with_gaps"),
    ("passes", TANH, forgetful, "without inspect()"),
    ("NumPy functions", TANH, numpys_own, "of mg's functions"),
    ("PyTorch", TANH, torchs, "PyTorch's"),
    ("compiled", TANH, compilers, "of the step as it is"),
    ("examine", TANH, rule("tanh", lambda f: lambda g, y, a: g * (1 - y)), "is wrong"),
]


@pytest.mark.parametrize(("name", "program", "spoil", "told"), SPOILT, ids=lambda v: v if isinstance(v, str) else "")
def test_each_oracle_finds_what_it_is_for(
    name: str, program: Program, spoil: Callable[[pytest.MonkeyPatch], None], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fault(name, program) == ""
    spoil(monkeypatch)
    assert told in fault(name, program)


def test_all_oracles_are_among_those() -> None:
    assert {name for name, *_ in SPOILT} == set(ORACLES)


def test_a_difference_that_rounding_explains_is_forgiven_and_no_other() -> None:
    tiny = Program(  # (1000 + a) - 1000, a thousandfold: three more digits lost at each of the steps
        (np.array([1.0]), np.array([999.0])),
        (Step("multiply", (1, 1)), Step("add", (2, 0)), Step("subtract", (3, 2)), Step("multiply", (4, 1))),
    )
    assert oracles._hopeless(tiny, np.float32)
    assert not oracles._hopeless(tiny, np.float64)
    assert not oracles._hopeless(TANH, np.float32)
    assert not oracles._hopeless(TANH, np.float64)


def test_an_exception_and_a_warning_are_faults() -> None:
    crash = Program((np.array([1.0, 2.0]),), (Step("det", (0,)),))
    assert "it does not run" in fault("complex step", crash)


# ---- runs -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def spoilt_tanh(monkeypatch: pytest.MonkeyPatch) -> None:
    rule("tanh", lambda f: lambda g, y, a: g * (1 - y))(monkeypatch)


def test_a_failure_is_cut_down_and_becomes_a_test_that_fails(spoilt_tanh: None, tmp_path: Path) -> None:
    record = soak.soak(Record(seed="cut"), 95, 600, 1, tmp_path / "state.json", tmp_path / "tests")
    assert record.failed >= 1
    assert min(len(f.steps) for f in record.failures) == 1
    assert all("tanh" in f.steps for f in record.failures)
    first = next(f for f in record.failures if f.steps == ["tanh"] and f.oracle == "complex step")
    files = [path.read_text() for path in (tmp_path / "tests").glob("test_soak_*.py")]
    assert len(files) == len(record.failures)
    assert any(first.test in text for text in files)
    known: dict[str, Any] = {}
    exec(first.test, known)
    with pytest.raises(AssertionError):
        known["test_tanh_complex_step"]()


def test_what_is_written_as_a_test_runs() -> None:
    for number in range(60):
        program = program_of(number, "written", EVERY)
        known: dict[str, Any] = {}
        exec(as_test("complex step", program), known)
        next(value for name, value in known.items() if name.startswith("test_"))()


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "CHUNK", 30)
    whole, state = soak.soak(Record(seed="on"), 150, 600, 1), tmp_path / "state.json"
    soak.soak(Record(seed="on"), 70, 600, 1, state)
    soak.soak(Record.load(state), 90, 0, 1, state)  # no time: one part all the same
    found = soak.soak(Record.load(state), 150, 600, 1, state)
    assert found.tried == whole.tried == 150
    assert (found.asked, found.kinds, found.steps, found.failed) == (whole.asked, whole.kinds, whole.steps, whole.failed)
    again = Record.load(state)
    assert vars(again) == vars(found)


def test_a_state_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state.json"
    Record(seed="old").save(state)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("the power failed")))
    with pytest.raises(OSError, match="power"):
        Record(seed="new").save(state)
    assert Record.load(state).seed == "old"


def test_time_is_a_bound(tmp_path: Path) -> None:
    record = soak.soak(Record(seed="time"), 10**9, 0.0, 1)
    assert record.tried == soak.CHUNK


def test_several_processes_do_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "CHUNK", 10)
    one, two = (soak.soak(Record(seed="many"), 40, 600, workers) for workers in (1, 2))
    assert {k: v for k, v in vars(one).items() if k != "seconds"} == {k: v for k, v in vars(two).items() if k != "seconds"}


def test_the_first_of_each_sort_of_failure_is_kept() -> None:
    def failed(number: int, *steps: str) -> Record:
        return Record(failed=1, failures=[soak.Failure(number, "complex step", list(steps), "", "")])

    record = Record()
    for part in (failed(3, "tanh"), failed(5, "tanh"), failed(7, "tanh", "exp")):
        record.add(part)
    assert [f.number for f in record.failures] == [3, 7]
    assert record.failed == 3


def test_operations_of_ones_own_are_soaked_among_the_others() -> None:
    right = run(range(120), "own", ["tests.test_soak:THREE"])
    assert right.failures == []
    assert right.kinds["three"] >= 1
    wrong = run(range(60), "own", ["tests.test_soak:WRONG", "add", "sum"])
    assert set(wrong.kinds) == {"wrong", "add", "sum"} | {"negative"} & set(wrong.kinds)
    found = next(f for f in wrong.failures if f.steps == ["wrong"])
    assert "from tests.test_soak import WRONG" in found.test
    known: dict[str, Any] = {}
    exec(found.test, known)
    with pytest.raises(AssertionError):
        known["test_wrong_complex_step"]()


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="nor one of negative, add"):
        run(range(1), "0", ["nothing"])


# ---- the command ------------------------------------------------------------------------------------------------------------------


def test_the_command_runs_reports_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state.json"
    assert main(["--programs", "40", "--workers", "1", "--state", str(state), "--seed", "c"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("40 programs of ")
    assert "0 programs failed, of 0 sorts." in told.out
    assert "40 programs more" in told.err
    assert main(["--programs", "60", "--workers", "1", "--state", str(state)]) == 0
    assert "20 programs more" in capsys.readouterr().err
    assert main(["--state", str(state), "--report"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("60 programs of ")
    assert told.err == ""
    assert json.loads(state.read_text())["seed"] == "c"
    with pytest.raises(SystemExit):
        main(["--state", str(state), "--seed", "d"])
    assert "is of a run with seed 'c'" in capsys.readouterr().err


def test_the_command_shows_one_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "11", "--seed", "c"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(str(program_of(11, "c", EVERY)))
    assert "complex step: agrees" in told


def test_the_command_fails_where_something_failed(spoilt_tanh: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--programs", "60", "--workers", "1", "--ops", "tanh", "multiply"]) == 1
    assert "complex step: tanh" in capsys.readouterr().out


def test_kinds_of_finds_those_of_soak_runs_too() -> None:
    assert set(kinds_of(["kron"], False, False)) == {"kron"}
