"""Random programs are run on minigrad itself, and on minigrad with rules spoilt on purpose, which must be found and cut out."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

import minigrad as mg
from minigrad.primitive import TABLE
from minigrad.testing import strategies
from minigrad.testing.programs import KINDS, Program, ProgramError, Step, folder

quiet = list(HealthCheck)


@settings(max_examples=60, suppress_health_check=quiet)
@given(strategies.programs())
def test_programs_agree(program: Program) -> None:
    program.check()


@settings(max_examples=15, suppress_health_check=quiet)
@given(strategies.programs(dtype="float32", max_steps=4))
def test_programs_agree_in_float32(program: Program) -> None:
    assert all(a.dtype == np.float32 for a in program.inputs)
    program.check()


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_step_is_drawn_and_right(name: str) -> None:
    program = find(
        strategies.programs(ops=[name], views=KINDS[name].sort == "view", in_place=KINDS[name].sort == "in place", max_steps=2),
        lambda program: program.steps[-1].kind == name,
        settings=settings(max_examples=400, suppress_health_check=quiet, phases=[Phase.generate], database=None),
    )
    program.check()


@settings(max_examples=60, suppress_health_check=quiet)
@given(strategies.programs(reuse=False, views=False, in_place=False, broadcast=False))
def test_what_programs_are_made_of(program: Program) -> None:
    used = Counter(operand for step in program.steps for operand in step.operands)
    assert max(used.values()) == 1
    assert not {KINDS[step.kind].sort for step in program.steps} & {"view", "in place"}
    assert len({a.shape for a in program.inputs}) == 1
    assert all(np.isfinite(value).all() for value in program.run(np_reference(), program.inputs))


def np_reference() -> Any:
    from minigrad.testing.programs import Reference

    return Reference()


# ---- planted mistakes: ten rules, each spoilt in its own way --------------------------------------------------------------


def times(c: float) -> Callable[..., Any]:
    return lambda rule: lambda *args: rule(*args) * c


PLANTED: list[tuple[str, int, Callable[..., Any]]] = [
    ("tanh", 0, lambda rule: lambda g, y, a: g * (1 - y)),
    ("multiply", 1, lambda rule: lambda g, y, a, b: g * b),
    ("divide", 1, lambda rule: lambda g, y, a, b: g * y / b),
    ("sigmoid", 0, lambda rule: lambda g, y, a: g * y),
    ("exp", 0, lambda rule: lambda g, y, a: g),
    ("matmul", 1, times(1.25)),
    ("sum", 0, times(2.0)),
    ("where", 2, times(-1.0)),
    ("getitem", 0, times(0.5)),
    ("softmax", 0, times(1.1)),
]
sizes: dict[str, int] = {}


@pytest.mark.parametrize(("name", "operand", "spoil"), PLANTED, ids=[name for name, *_ in PLANTED])
def test_planted_mistake_is_found_and_cut_out(
    name: str, operand: int, spoil: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    op = TABLE[name]
    pulls = tuple((i, spoil(rule) if i == operand else rule) for i, rule in op.pulls)
    monkeypatch.setattr(op, "pulls", pulls)

    @settings(max_examples=1500, derandomize=True, database=None, suppress_health_check=quiet, phases=[Phase.generate])
    @given(strategies.programs())
    def check(program: Program) -> None:
        program.check()

    token = folder.set(tmp_path)
    try:
        with pytest.raises(ProgramError) as info:
            check()
    finally:
        folder.reset(token)
    sizes[name] = len(info.value.program.steps)
    assert "is wrong" in str(info.value) or "forward mode gives" in str(info.value)
    assert info.value.program.source() in str(info.value)


def test_the_median_of_what_is_left_is_small() -> None:
    if len(sizes) < len(PLANTED):
        pytest.skip("runs after the ten tests above, together with them")
    assert statistics.median(sizes.values()) <= 3
    assert max(sizes.values()) <= 3


# ---- what is printed --------------------------------------------------------------------------------------------------------

BAD = mg.primitive(np.tanh, lambda g, y, a: g * (1 - y), needs="y", name="bad")


def wrong() -> ProgramError:
    @settings(max_examples=300, derandomize=True, database=None, suppress_health_check=quiet)
    @given(strategies.programs(ops=["add", "multiply", BAD]))
    def check(program: Program) -> None:
        program.check()

    with pytest.raises(ProgramError) as info:
        check()
    return info.value


def test_message_has_the_graph_the_mistake_the_drawing_and_a_test(tmp_path: Any) -> None:
    token = folder.set(tmp_path)
    try:
        error = wrong()
    finally:
        folder.reset(token)
    text = str(error)
    assert text.startswith("programs: wrong in a graph of 1 operation (")
    assert "v1 = bad(a)" in text
    assert "the gradient of the program with respect to 'a' is wrong" in text
    if error.drawing is not None:
        assert error.drawing.parent == tmp_path
        assert error.drawing.read_text().startswith(("<?xml", "<svg"))
        assert f"drawing: {error.drawing}" in text
    known: dict[str, Any] = {"bad": BAD}
    exec(error.program.source(), known)  # the test to paste fails as the program did
    with pytest.raises(AssertionError, match="is wrong"):
        known["test_bad"]()


@settings(max_examples=25, suppress_health_check=quiet)
@given(strategies.programs())
def test_the_printed_test_runs(program: Program) -> None:
    known: dict[str, Any] = {}
    exec(program.source(), known)
    next(value for name, value in known.items() if name.startswith("test_"))()


def test_interaction_is_cut_down_to_the_steps_that_interact() -> None:
    a = np.array([0.5, 1.0])
    names = ("sin", "tanh", "square", "exp", "multiply", "cos")
    steps = tuple(Step(name, (k,) if name != "multiply" else (k, 2)) for k, name in enumerate(names))

    def fails(program: Program) -> bool:
        kinds = [step.kind for step in program.steps]
        return "tanh" in kinds and "multiply" in kinds

    small = Program((a,), steps).minimal(fails)
    assert [step.kind for step in small.steps] == ["tanh", "multiply"]
    assert small.fault() == ""


def test_cut_keeps_the_value() -> None:
    program = Program((np.array([0.5]),), (Step("sin", (0,)), Step("tanh", (1,)), Step("multiply", (2, 1))))
    for k in range(2):
        smaller = program.cut(k)
        assert smaller(*smaller.inputs).item() == pytest.approx(program(*program.inputs).item(), rel=1e-12)
        assert len(smaller.steps) == 2


def test_each_oracle_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    from minigrad.testing import programs

    program = Program((np.array([0.5, 1.0]),), (Step("sin", (0,)),))
    assert program.fault() == ""
    with monkeypatch.context() as patch:
        patch.setattr(programs.Reference, "sin", staticmethod(lambda a: np.cos(a)), raising=False)
        assert "the value of v1 is not NumPy's" in program.fault()
    rule = mg.primitive(
        np.sin, lambda g, y, a: g.detach() * mg.cos(a) if isinstance(g, mg.Tensor) else g * np.cos(a), name="own"
    )
    own = Program(program.inputs, (Step("own", (0,)),), programs.kinds_of([rule], False, False))
    assert "forward mode gives 0 for <u, J v>" in own.fault()
    torch = pytest.importorskip("torch")
    with monkeypatch.context() as patch:
        patch.setattr(torch, "sin", torch.tan)
        assert "the gradient of a is not PyTorch's" in program.fault()


@pytest.mark.parametrize("op", ["nothing", np.tanh, 3])
def test_unknown_operation_is_refused(op: Any) -> None:
    with pytest.raises(ValueError, match=r"neither an operation \(mg.primitive\) nor one of negative"):
        find(strategies.programs(ops=[op]), lambda program: True)
