"""The benchmarks run, compare before they time, and count the same instructions twice. No test here measures time."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import by_hand, contenders, instructions, measure, report
from benchmarks.workloads import WORKLOADS, inputs_of, parameters_of

SMALL = ("chain", "grad_of_grad", "mlp_sgd", "mlp_adam", "lenet", "vae", "adamw", "dropout", "convnet")
"""The others differ from these in nothing but their size, and take seconds."""


def results(name, contender):
    work = WORKLOADS[name]
    return contenders.checked(contenders.make(contender, work, threads=1), work)


@pytest.mark.parametrize("name", SMALL)
def test_minigrad_agrees_with_pytorch(name):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    try:
        right = results(name, "torch")
    finally:
        torch.set_num_threads(threads)
    for contender in ("eager", "compiled"):
        assert contenders.differences(results(name, contender), right) == []


@pytest.mark.parametrize("name", ["chain", "gelu", "softmax", "layer_norm", "mlp_sgd", "mlp_adam"])
def test_numpy_by_hand_agrees_with_minigrad(name):
    assert contenders.differences(results(name, "hand"), results(name, "eager")) == []


@pytest.mark.parametrize("name", sorted(set(WORKLOADS) - {"scalars"}))
def test_every_workload_has_the_same_first_values_in_every_process(name):
    work = WORKLOADS[name]
    for draw in (inputs_of, lambda work: tuple(parameters_of(work).values())):
        for first, second in zip(draw(work), draw(work), strict=True):
            np.testing.assert_array_equal(first, second)


def test_a_wrong_gradient_is_found():
    right = {"value": np.float32(1), "gradient of x": np.ones(1000, np.float32)}
    assert contenders.differences({k: v * np.float32(1 + 1e-5) for k, v in right.items()}, right) == []
    wrong = right | {"gradient of x": right["gradient of x"] * np.float32(1.001)}
    assert contenders.differences(wrong, right) == ["gradient of x is off by 0.001 of PyTorch's"]
    wrong["gradient of x"] = np.full(1000, np.nan, np.float32)
    assert contenders.differences(wrong, right) == ["gradient of x is off by nan of PyTorch's"]
    wrong["gradient of x"] = np.ones((1000, 1), np.float32)
    assert contenders.differences(wrong, right) == ["gradient of x has shape (1000, 1), PyTorch's (1000,)"]
    assert "PyTorch ['gradient of x', 'value']" in contenders.differences({"value": np.float32(1)}, right)[0]


def test_zero_gradients_must_be_zero():
    right = {"value": np.zeros(3)}
    assert contenders.differences({"value": np.zeros(3)}, right) == []
    assert contenders.differences({"value": np.full(3, 1e-9)}, right) != []


def test_who_cannot_take_part_says_why():
    with pytest.raises(contenders.LeftOutError, match="no second derivatives"):
        contenders.make("chainer", WORKLOADS["grad_of_grad"], 1)
    with pytest.raises(contenders.LeftOutError, match="not written by hand"):
        by_hand.make(WORKLOADS["lenet"], 1)


def test_a_package_that_is_missing_is_left_out(monkeypatch):
    monkeypatch.setitem(contenders.CONTENDERS, "eager", contenders.CONTENDERS["eager"]._replace(package="no_such_package"))
    with pytest.raises(contenders.LeftOutError, match="no_such_package is not installed"):
        contenders.make("eager", WORKLOADS["chain"], 1)


def test_a_race_of_processes(monkeypatch, capsys, tmp_path):
    """The whole way, with minigrad in PyTorch's place: workers, check, rounds, JSON."""
    monkeypatch.setattr(measure, "REFERENCE", "eager")
    plan = measure.Plan(rounds=4, processes=2, seconds=0.0, threads=1)
    found = measure.race("grad_of_grad", ["eager", "compiled", "hand"], plan)
    assert found["rows"]["eager"]["ratios"] == [1.0] * 4
    assert len(found["rows"]["compiled"]["ratios"]) == 4
    assert found["rows"]["compiled"]["low"] <= found["rows"]["compiled"]["median"] <= found["rows"]["compiled"]["high"]
    assert found["absent"] == {"hand": {"reason": "not written by hand", "fault": False}}
    json.dumps(found)


def test_a_check_times_nothing(monkeypatch):
    monkeypatch.setattr(measure, "REFERENCE", "eager")
    found = measure.race("grad_of_grad", ["eager", "compiled"], measure.CHECK)
    assert (found["rows"], found["agree"], found["absent"]) == ({}, ["eager", "compiled"], {})
    assert "agree with PyTorch: minigrad, minigrad compiled" in report.lines(found)


def test_a_contender_that_is_wrong_is_not_timed(monkeypatch):
    monkeypatch.setattr(measure, "REFERENCE", "eager")
    monkeypatch.setattr(measure, "differences", lambda found, right: [] if found is right else ["value is off"])
    found = measure.race("grad_of_grad", ["eager", "compiled"], measure.Plan(rounds=1, processes=1, seconds=0.0, threads=1))
    assert list(found["rows"]) == ["eager"]
    assert found["absent"] == {"compiled": {"reason": "wrong: value is off", "fault": True}}


def test_a_process_that_dies_is_a_fault(monkeypatch):
    monkeypatch.setattr(measure.sys, "executable", "false")
    with pytest.raises(measure.AbsentError, match="its process ended with 1") as caught:
        measure.Worker("eager", "chain", measure.QUICK)
    assert caught.value.fault


def test_rounds_rotate():
    assert list(measure.rotated(["a", "b", "c"], 4)) == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_ratios_are_of_the_same_round():
    row = measure._row([1.0, 4.0, 9.0], [1.0, 2.0, 3.0], [5, 7, 6])
    assert (row["ratios"], row["median"], row["seconds"], row["growth"]) == ([1.0, 2.0, 3.0], 2.0, 4.0, 7)
    assert (row["low"], row["high"]) == (1.0, 3.0)


def found():
    """Figures as a run writes them."""

    def row(median):
        return {"median": median, "low": 0.9 * median, "high": 1.2 * median, "seconds": 0.002, "growth": 2**20, "ratios": []}

    work = {
        "title": "a chain",
        "rows": {"torch": row(1.0), "eager": row(0.5), "jax": row(12.3)},
        "absent": {"mygrad": {"reason": "wrong: value", "fault": True}},
    }
    return report.machine(measure.QUICK) | {"workloads": {"chain": work}}


def test_the_text_has_medians_spread_and_reasons():
    lines = report.lines(found()["workloads"]["chain"]).splitlines()
    assert lines[0] == "a chain"
    assert lines[2].split() == ["minigrad", "0.5", "0.45-0.6", "2", "ms", "1.0", "MiB"]
    assert [line.split()[0] for line in lines[2:]] == ["minigrad", "PyTorch", "JAX", "MyGrad"]
    assert "FAILED: wrong: value" in lines[-1]


def test_the_documentation_gets_its_table(monkeypatch, tmp_path):
    page = tmp_path / "performance.md"
    monkeypatch.setattr(report, "DOCS", page)
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    for _ in range(2):
        report.write_docs(found())
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert text.count("| a chain | **0.5** [0.45, 0.6] | 12 | 2 |") == 1
    page.write_text("no place")
    with pytest.raises(SystemExit, match="no place for the table"):
        report.write_docs(found())


def test_the_plot_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.png"
    report.plot(found(), str(path))
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["plot.png"]


def test_the_command_refuses_what_it_does_not_know(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "chian"])
    with pytest.raises(SystemExit):
        command.main()
    assert "--only: 'chian' is none of chain, " in capsys.readouterr().err


def test_figures_are_read_back_and_a_fault_is_an_exit_code(monkeypatch, tmp_path):
    source, copy = tmp_path / "a.json", tmp_path / "b.json"
    source.write_text(json.dumps(found()))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--from", str(source), "--json", str(copy)])
    assert command.main() == 1
    assert json.loads(copy.read_text()) == json.loads(source.read_text())


# ---- instructions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", instructions.CASES)
def test_bytecodes_are_the_same_every_time(name):
    counts = {instructions._bytecodes_of(name) for _ in range(3)}
    assert len(counts) == 1
    assert counts.pop() > 100


def test_bytecodes_count_our_code_only():
    def run():
        return sum(k for k in range(1000))

    assert instructions.bytecodes(run) == 0


def test_more_work_is_more_bytecodes():
    run = instructions.tape()
    assert instructions.bytecodes(lambda: (run(), run())) == 2 * instructions.bytecodes(run)


HERE = {"Python": "3.11.7", "NumPy": "2.4.6", "C library": "glibc 2.36", "valgrind": "3.19"}


@pytest.mark.parametrize(
    ("change", "kinds", "words"),
    [
        ({}, {"bytecodes", "instructions"}, ""),
        ({"NumPy": "2.0.0"}, {"bytecodes"}, "NumPy 2.0.0 (the baseline: 2.4.6): instructions are not compared, bytecodes are"),
        ({"Python": "3.11.2"}, {"bytecodes"}, "Python 3.11.2 (the baseline: 3.11.7)"),
        ({"Python": "3.12.0"}, set(), "neither are bytecodes"),
    ],
)
def test_only_what_is_comparable_is_compared(change, kinds, words):
    got, notices = instructions.comparable(HERE | change, HERE)
    assert got == kinds
    assert words in "".join(notices)
    assert bool(notices) == bool(change)


@pytest.mark.parametrize(
    ("now", "well", "mark"), [(1000, True, "+0.0%"), (1049, True, "+4.9%"), (1051, False, "TOO MUCH"), (900, True, "better")]
)
def test_five_percent_more_is_too_much(now, well, mark):
    told, verdict = instructions.verdict(
        {"a": {"bytecodes": now}}, {"a": {"bytecodes": 1000, "instructions": 7}}, {"bytecodes"}
    )
    assert verdict is well
    assert mark in told[1]


def test_a_case_that_is_new_or_gone_asks_for_an_update():
    told, well = instructions.verdict({"new": {"bytecodes": 1}}, {"old": {"bytecodes": 1}}, {"bytecodes"})
    assert not well
    assert "is new" in told[1]
    assert "is gone" in told[2]


def test_the_baseline_has_every_case():
    baseline = json.loads(instructions.BASELINE.read_text())
    assert baseline["cases"].keys() == instructions.CASES.keys()
    assert all({"bytecodes", "instructions"} == counts.keys() for counts in baseline["cases"].values())


def test_the_worker_keeps_what_libraries_print_out_of_its_answers():
    command = [sys.executable, "-m", "benchmarks", "--worker", "hand", "lenet", "1"]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=120, cwd=measure.ROOT)
    assert json.loads(done.stdout) == {"left_out": "not written by hand"}
