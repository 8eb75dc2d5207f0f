"""The ``minigrad`` command: what it prints, what it writes, and the exit code it ends with."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import backend, cli, doctor, outcome

FIG_13 = ["1/(1+exp(-(w0*x0+w1*x1+w2)))", "w0=2", "x0=-1", "w1=-3", "x1=-2", "w2=-3"]
GRADIENTS = {"w0": -0.1966119332, "x0": 0.3932238665, "w1": -0.3932238665, "x1": -0.5898357997, "w2": 0.1966119332}


def run(capsys, *arguments):
    code = cli.main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def usage_error(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def as_json(capsys, *arguments):
    code, out, err = run(capsys, "explain", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "minigrad", *arguments], capture_output=True, text=True, timeout=120, **options
    )


def test_explain_prints_the_worked_example_of_the_notes(capsys):
    code, out, err = run(capsys, "explain", *FIG_13)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "result = 0.7310585786" in lines
    for name, gradient in GRADIENTS.items():
        assert f"dL/d{name} = {gradient:.10g}" in lines
    # Two steps that the notes show on the way.
    assert any("1 / #12" in line and "-0.5344" in line for line in lines)
    assert any("exp(#10)" in line and "-0.1966" in line for line in lines)


def test_json_has_the_same_numbers_to_ten_digits(capsys):
    data = as_json(capsys, *FIG_13)
    assert data["result"] == {"name": None, "value": pytest.approx(0.7310585786300049, rel=1e-15), "shape": []}
    assert data["seed"] == 1.0
    assert list(data["inputs"]) == list(GRADIENTS)
    for name, gradient in GRADIENTS.items():
        assert data["inputs"][name]["gradient"] == pytest.approx(gradient, abs=5e-11)


def test_matrices_and_a_seed_of_ones(capsys):
    arguments = ["y = W @ x", "W=[[1,2],[3,4]]", "x=[10,-1]"]
    data = as_json(capsys, *arguments)
    assert data["result"] == {"name": "y", "value": [8.0, 26.0], "shape": [2]}
    assert data["seed"] == [1.0, 1.0]
    assert data["inputs"]["W"]["gradient"] == [[10.0, -1.0], [10.0, -1.0]]
    assert data["inputs"]["x"] == {"value": [10.0, -1.0], "shape": [2], "gradient": [4.0, 6.0]}
    code, out, _ = run(capsys, "explain", *arguments)
    assert code == 0
    assert "The result has shape (2,): backward starts from a gradient of ones, so these are the gradients of its sum." in out
    assert "y = [ 8. 26.]" in out.splitlines()


def test_a_scalar_result_needs_no_word_about_ones(capsys):
    assert "gradient of ones" not in run(capsys, "explain", "x * x", "x=3")[1]


def test_intermediates_appear_under_the_users_names(capsys):
    formula = ["q = x + y; f = q * z", "x=-2", "y=5", "z=-4"]
    code, out, _ = run(capsys, "explain", *formula)
    assert code == 0
    assert "f = q * z" in out
    assert "df/dx = -4" in out.splitlines()
    assert out.splitlines()[-1] == "f = -12"
    data = as_json(capsys, *formula)
    assert data["intermediates"] == {"q": 3.0}
    assert data["result"]["name"] == "f"


def test_wrt_chooses_who_asks_for_a_gradient(capsys):
    data = as_json(capsys, "x * y * z", "x=2", "y=3", "z=4", "--wrt", "x, z")
    assert {name: value["gradient"] for name, value in data["inputs"].items()} == {"x": 12.0, "y": None, "z": 6.0}
    out = run(capsys, "explain", "x * y", "x=2", "y=3", "--wrt", "y")[1]
    assert "dL/dy = 2" in out
    assert "dL/dx" not in out


def test_wrt_nothing_is_the_forward_pass_only(capsys):
    code, out, _ = run(capsys, "explain", "x * x", "x=3", "--wrt", "")
    assert code == 0
    assert "No input asks for a gradient: this is the forward pass only." in out
    assert as_json(capsys, "x * x", "x=3", "--wrt", "")["seed"] is None


@pytest.mark.parametrize(
    ("wrt", "words"),
    [("xx", "did you mean x?"), ("banana", "the inputs are x"), ("q", "q is assigned in the formula, and --wrt takes inputs")],
)
def test_wrt_of_something_else_is_refused(capsys, wrt, words):
    code, _, err = run(capsys, "explain", "q = x * x; q + 1", "x=3", "--wrt", wrt)
    assert code == 1
    assert words in err


def test_an_input_without_a_path_is_told(capsys):
    arguments = ["where(x > 0, y, 2 * y)", "x=1", "y=3"]
    out = run(capsys, "explain", *arguments)[1]
    assert "d result / d x = none: no path with a derivative leads from the result to x" in out
    assert as_json(capsys, *arguments)["inputs"]["x"]["gradient"] is None


def test_a_large_gradient_is_printed_in_full(capsys):
    numbers = list(range(50))
    out = run(capsys, "explain", "sum(x ** 2)", f"x={numbers}")[1]
    shown = out.partition("d result / d x = [")[2].partition("]")[0]
    assert [float(word) for word in shown.split()] == [2.0 * n for n in numbers]


def test_nan_and_infinity_are_strings_in_json(capsys):
    data = as_json(capsys, "x * y", "x=[nan,1]", "y=[2,-inf]")
    assert data["result"]["value"] == ["nan", "-inf"]
    assert data["inputs"]["x"]["gradient"] == [2.0, "-inf"]


def test_everything_is_float64(capsys):
    data = as_json(capsys, "x * 0.1 + sum([0.2, 0.3]) + maximum(0.7, 0.6)", "x=0.1")
    assert data["result"]["value"] == pytest.approx(0.1 * 0.1 + 0.2 + 0.3 + 0.7, rel=1e-15)
    assert backend.get_default_dtype() == np.float32


def test_a_formula_may_start_with_a_minus(capsys):
    assert as_json(capsys, "-x*y", "x=2", "y=3")["result"]["value"] == -6.0
    assert as_json(capsys, "-o1*2", "o1=2")["result"]["value"] == -4.0
    assert as_json(capsys, "-1*x", "x=2")["result"]["value"] == -2.0


def test_options_may_stand_anywhere(capsys):
    for arguments in (["--json", "x*y", "x=2", "y=3"], ["x*y", "--json", "x=2", "y=3"], ["x*y", "x=2", "--json", "y=3"]):
        code, out, _ = run(capsys, "explain", *arguments)
        assert code == 0
        assert json.loads(out)["result"]["value"] == 6.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["1/(1+expp(-x))", "x=1"],
            "minigrad: error: no function 'expp'\n    1/(1+expp(-x))\n         ^^^^\nDid you mean exp or exp2 or expm1?\n",
        ),
        (
            ["x + y", "x=1"],
            "minigrad: error: no value for 'y'\n    x + y\n        ^\nAdd y=... after the formula.\n",
        ),
        (
            ["x", "x=[[1,2],[3]]"],
            (
                "minigrad: error: a ragged list: this row has shape (1,), the first (2,)\n    x=[[1,2],[3]]\n             ^^^\n"
                "Every row needs the same length: [[1, 2], [3, 4]].\n"
            ),
        ),
        (["x", "x"], "minigrad: error: expected name=value, got 'x'\nFor example x=2 or x=[1,2,3]; quote the whole formula.\n"),
        (
            ["x > 0", "x=1"],
            (
                "minigrad: error: the result does not depend on x in a way that has a derivative\n"
                "A comparison is true or false: choose between values with where(x > 0, a, b).\n"
            ),
        ),
    ],
)  # fmt: skip
def test_an_error_is_one_message_with_exit_code_1(capsys, arguments, message):
    assert run(capsys, "explain", *arguments) == (1, "", message)


def test_shapes_that_do_not_fit_are_told_with_names(capsys):
    code, out, err = run(capsys, "explain", "W @ x", "W=[[1,2],[3,4]]", "x=[1,2,3]")
    assert (code, out) == (1, "")
    assert "    W @ x\n    ^^^^^\n" in err
    assert "Here W has shape (2, 2), x has shape (3,)." in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(capsys):
    code, _, err = run(capsys, "explain", "oops(x)", "x=1", "--debug")
    assert code == 1
    assert "Traceback" in err
    assert "minigrad: error: no function 'oops'" in err


def test_a_fault_of_minigrad_is_told_as_one(capsys, monkeypatch):
    def broken(*arguments, **options):
        raise KeyError("broken")

    monkeypatch.setattr("minigrad.viz.explain", broken)
    code, _, err = run(capsys, "explain", "x", "x=1")
    assert code == 70
    assert "KeyError: 'broken'" in err
    assert "please report it" in err


def test_ctrl_c_ends_quietly_with_130(capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("minigrad.viz.explain", interrupted)
    assert run(capsys, "explain", "x", "x=1") == (130, "", "")


STARTS = {
    "svg": b"<", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph", "mmd": b"flowchart", "tex": b"\\documentclass",
    "txt": b"Forward", "html": b"<!doctype html>",
}  # fmt: skip


@pytest.mark.parametrize("suffix", STARTS)
def test_draw_writes_the_format_of_the_suffix(capsys, tmp_path, suffix):
    pytest.importorskip("pygraphviz")
    path = tmp_path / f"graph.{suffix}"
    assert run(capsys, "draw", "x * y", "x=2", "y=3", "-o", str(path)) == (0, f"{path}\n", "")
    start = STARTS[suffix]
    content = path.read_bytes()
    assert content.startswith(start)
    assert suffix != "svg" or b"<svg" in content


def test_draw_needs_no_back_end_for_dot(capsys, tmp_path):
    path = tmp_path / "graph.dot"
    assert run(capsys, "draw", "q = x + y; f = q * z", "x=-2", "y=5", "z=-4", "-o", str(path)) == (0, f"{path}\n", "")
    text = path.read_text()
    assert text.startswith("digraph")
    for label in (">x<", ">q<", ">f<", ">-12<"):
        assert label in text
    assert ".py" not in text


def test_draw_writes_to_standard_output(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "draw", "x * y", "x=2", "y=3", "-o", "-")
    assert (code, err) == (0, "")
    assert out.startswith("digraph")
    for kind in ("dot", "svg", "mmd", "tex", "txt"):
        assert run(capsys, "draw", "x * y", "x=2", "y=3", "-o", "-", "--format", kind)[1].encode().startswith(STARTS[kind])
    assert os.listdir(tmp_path) == []


def test_draw_has_a_default_name_and_a_format(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "draw", "x * y", "x=2", "y=3", "--format", "dot")[1] == "graph.dot\n"
    assert run(capsys, "draw", "x * y", "x=2", "y=3", "--format", "dot", "-o", "mine")[1] == "mine.dot\n"
    assert sorted(os.listdir(tmp_path)) == ["graph.dot", "mine.dot"]


def test_draw_without_an_option_writes_graph_svg(capsys, tmp_path, monkeypatch):
    pytest.importorskip("pygraphviz")
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "draw", "x * y", "x=2", "y=3")[:2] == (0, "graph.svg\n")
    assert "<svg" in (tmp_path / "graph.svg").read_text()


def test_draw_says_on_standard_error_that_it_summed(capsys, tmp_path):
    path = str(tmp_path / "graph.dot")
    code, out, err = run(capsys, "draw", "x * 2", "x=[1,2]", "-o", path)
    assert (code, out) == (0, f"{path}\n")
    assert "gradient of ones" in err


def test_a_file_that_cannot_be_written_is_exit_code_3(capsys, tmp_path):
    path = tmp_path / "missing" / "graph.dot"
    code, out, err = run(capsys, "draw", "x * y", "x=2", "y=3", "-o", str(path))
    assert (code, out) == (3, "")
    assert err == f"minigrad: error: cannot write {path}: No such file or directory\n"


def test_a_missing_back_end_is_exit_code_3(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", "")
    path = tmp_path / "graph.svg"
    code, out, err = run(capsys, "draw", "x * y", "x=2", "y=3", "-o", str(path))
    assert (code, out) == (3, "")
    assert "pip install 'minigrad[viz]'" in err
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "which command?"),
        (["explode"], "invalid choice"),
        (["explain"], "required"),
        (["explain", "x", "x=1", "--colour"], "unrecognized arguments: --colour"),
        (["draw", "x", "x=1", "-o", "graph.gif"], "'graph.gif' says no format"),
        (["draw", "x", "x=1", "-o", "graph"], "'graph' says no format"),
        (["draw", "x", "x=1", "-o", "graph.svg", "--format", "png"], "contradicts the suffix"),
        (["draw", "x", "x=1", "-o", "-", "--format", "png"], "standard output takes dot, svg, mmd, tex, txt, not png"),
        (["draw", "x", "x=1", "--format", "gif"], "invalid choice"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(capsys, arguments, words):
    assert words in usage_error(capsys, *arguments)


@pytest.mark.parametrize("command", [[], ["explain"], ["draw"], ["doctor"]])
def test_help_documents_the_exit_codes(capsys, command):
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for code in (outcome.OK, outcome.WRONG, outcome.USAGE, outcome.NO_OUTPUT, outcome.FAULT, outcome.INTERRUPTED):
        assert f"\n  {code} " in out
    assert (" logsumexp " in out) == (command in (["explain"], ["draw"]))


def test_the_examples_of_the_help_work(capsys, tmp_path, monkeypatch):
    import shlex

    monkeypatch.chdir(tmp_path)
    examples = [line.partition("|")[0] for line in (cli.EXPLAIN + cli.DRAW).splitlines() if line.startswith("  minigrad")]
    assert len(examples) == 6
    for example in examples:
        arguments = shlex.split(example)[1:]
        if arguments[-1].endswith(".svg"):
            pytest.importorskip("pygraphviz")
        assert run(capsys, *arguments)[0] == 0


def test_version(capsys):
    from importlib.metadata import version

    assert run(capsys, "--version") == (0, f"minigrad {version('minigrad')}\n", "")


def test_as_a_process():
    done = process("explain", *FIG_13)
    assert (done.returncode, done.stderr) == (0, "")
    assert "dL/dw0 = -0.1966119332" in done.stdout
    done = process("explain", "x +", "x=1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "invalid syntax" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_quiet():
    # More than a pipe holds (64 KiB), so that writing meets the closed end.
    command = [sys.executable, "-m", "minigrad", "explain", "x" + "+x" * 900, "x=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "Forward\n"
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(timeout=120) == 141


def test_a_narrow_console_gets_a_question_mark_instead_of_a_traceback():
    done = process("explain", "λ * 2", "λ=3", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "dL/d? = 2" in done.stdout


def test_doctor_finds_that_minigrad_works(capsys):
    code, out, err = run(capsys, "doctor")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "minigrad works here"
    assert np.__version__ in out


def test_doctor_as_json(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["ok"] is True
    assert data["versions"]["NumPy"] == np.__version__
    assert data["cpu"]["usable"] >= 1
    assert set(data) == {"ok", "versions", "cpu", "blas", "gpu", "drawing", "core", "advice"}


def test_doctor_notices_a_wrong_gradient(capsys, monkeypatch):
    right = mg.tanh
    monkeypatch.setattr(mg, "tanh", lambda x: right(x) * (1 + 1e-9))
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert out.splitlines()[-1].startswith("minigrad does not work here: the derivative of x * tanh(x) at 0.5 is ")
    assert json.loads(run(capsys, "doctor", "--json")[1])["ok"] is False


def test_doctor_notices_a_core_that_raises(capsys, monkeypatch):
    def broken(x):
        raise RuntimeError("no tanh today")

    monkeypatch.setattr(mg, "tanh", broken)
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert out.splitlines()[-1] == "minigrad does not work here: RuntimeError: no tanh today"


def test_doctor_says_what_draws(monkeypatch):
    pytest.importorskip("pygraphviz")
    advice = []
    monkeypatch.setenv("PATH", "")
    assert doctor.drawing(advice) == {"ok": True, "back_ends": ["pygraphviz"], "text": "pygraphviz (rendered a graph)"}
    assert advice == []


def test_doctor_says_what_to_do_without_a_drawing_back_end(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    advice = []
    assert doctor.drawing(advice)["ok"] is False
    assert "pip install 'minigrad[viz]'" in advice[0]


def test_doctor_tells_a_back_end_that_fails(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(doctor, "_version", lambda name: "2.0")
    monkeypatch.setattr(doctor, "_PYGRAPHVIZ", "raise SystemExit('no layout engine')")
    advice = []
    report = doctor.drawing(advice)
    assert report["ok"] is False
    assert "pygraphviz: no layout engine" in report["text"]
    assert len(advice) == 1


OPENBLAS = {"name": "openblas", "version": "0.3.31", "threads": 2, "kernel": "Haswell"}
WIDE = {"name": "a CPU", "usable": 2, "avx512": True}


@pytest.mark.parametrize(
    ("library", "processor", "environment", "words"),
    [
        (OPENBLAS, WIDE, {}, ["OPENBLAS_CORETYPE=SkylakeX"]),
        (OPENBLAS | {"speedup": 1.52}, WIDE, {}, ["were 1.52 times as fast"]),
        (OPENBLAS | {"speedup": 1.02}, WIDE, {}, []),
        (OPENBLAS, WIDE, {"OPENBLAS_CORETYPE": "Haswell"}, ["OPENBLAS_CORETYPE=Haswell makes OpenBLAS use the kernel Haswell"]),
        (OPENBLAS | {"kernel": "SkylakeX"}, WIDE, {}, []),
        (OPENBLAS | {"kernel": "Cooperlake"}, WIDE, {}, []),
        (OPENBLAS | {"kernel": None}, WIDE, {}, []),
        (OPENBLAS, WIDE | {"avx512": False}, {}, []),
        (OPENBLAS | {"name": "mkl"}, WIDE, {}, []),
        (OPENBLAS | {"kernel": "SkylakeX", "threads": 8}, WIDE, {}, ["OPENBLAS_NUM_THREADS=2"]),
        (OPENBLAS | {"threads": None}, WIDE | {"avx512": False}, {}, []),
    ],
)
def test_doctor_advises_on_the_blas_kernel(library, processor, environment, words):
    advice = doctor.blas_advice(library, processor, environment)
    assert len(advice) == len(words)
    for line, word in zip(advice, words, strict=True):
        assert word in line


def test_doctor_asks_openblas_itself_as_threadpoolctl_does():
    pytest.importorskip("threadpoolctl")
    by_tool, by_library = doctor._by_threadpoolctl(), doctor._by_symbols()
    if by_tool is None or by_tool["name"] != "openblas":
        pytest.skip("NumPy's BLAS is not OpenBLAS")
    assert by_library is not None
    assert {k: by_library[k] for k in ("name", "threads", "kernel")} == {k: by_tool[k] for k in ("name", "threads", "kernel")}
    assert by_tool["version"].startswith(by_library["version"]) or by_library["version"].startswith(by_tool["version"])


def test_doctor_sees_the_kernel_that_the_environment_chose():
    before = doctor.blas()
    if before["name"] != "openblas" or doctor.platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("NumPy's BLAS is not OpenBLAS on x86")
    done = process("doctor", "--json", env={**os.environ, "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"})
    blas = json.loads(done.stdout)["blas"]
    assert (blas["kernel"], blas["threads"]) == ("Haswell", 1)


class Driver:
    """NVIDIA's driver library with one GPU."""

    def __init__(self, count=1, cuda=12040, fails=0):
        self.count, self.cuda, self.fails = count, cuda, fails

    def cuInit(self, flags):
        return self.fails

    def cuDeviceGetCount(self, count):
        count._obj.value = self.count
        return 0

    def cuDriverGetVersion(self, version):
        version._obj.value = self.cuda
        return 0

    def cuDeviceGet(self, device, number):
        return 0

    def cuDeviceGetName(self, name, size, device):
        name.value = b"Some GPU"
        return 0


@pytest.mark.parametrize(("cuda", "extra"), [(12040, "cuda12"), (13000, "cuda13")])
def test_doctor_advises_the_cupy_that_fits_the_driver(monkeypatch, cuda, extra):
    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda name: Driver(cuda=cuda))
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    advice = []
    report = doctor.gpu(advice)
    assert (report["present"], report["usable"], report["name"]) == (True, False, "Some GPU")
    assert advice == [f"To compute on the GPU, install CuPy: pip install 'minigrad[{extra}]'"]


def test_doctor_advises_where_cupy_does_not_compute(monkeypatch):
    def broken():
        raise mg.DeviceError("no kernel image\nmore")

    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda name: Driver())
    monkeypatch.setattr(doctor, "_version", lambda name: "14.0")
    monkeypatch.setattr(backend, "cupy", broken)
    advice = []
    report = doctor.gpu(advice)
    assert report["usable"] is False
    assert report["text"] == "Some GPU, but CuPy does not compute on it: no kernel image"
    assert "CUDA 12.4" in advice[0]


def test_doctor_believes_a_gpu_only_when_it_computes(monkeypatch):
    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda name: Driver())
    monkeypatch.setattr(doctor, "_version", lambda name: "14.0")
    monkeypatch.setattr(backend, "cupy", lambda: np)
    advice = []
    assert doctor.gpu(advice)["usable"] is True
    assert advice == []
    monkeypatch.setattr(backend, "cupy", lambda: type("Wrong", (), {"ones": np.zeros, "float32": np.float32}))
    assert doctor.gpu(advice)["usable"] is False
    assert len(advice) == 1


@pytest.mark.parametrize("driver", [Driver(count=0), Driver(fails=100), None])
def test_no_gpu_is_no_fault(monkeypatch, driver):
    def load(name):
        if driver is None:
            raise OSError("not found")
        return driver

    monkeypatch.setattr(doctor.ctypes, "CDLL", load)
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    advice = []
    assert doctor.gpu(advice)["present"] is False
    assert advice == []


def test_the_expected_derivative_of_the_doctor_is_right():
    step = 1e-6
    slope = ((0.5 + step) * math.tanh(0.5 + step) - (0.5 - step) * math.tanh(0.5 - step)) / (2 * step)
    assert slope == pytest.approx(math.tanh(0.5) + 0.5 * (1 - math.tanh(0.5) ** 2), rel=1e-9)


@pytest.mark.parametrize(
    ("formula", "values", "words"),
    [
        ("log(x)", ["x=-1"], "Not finite: log: produced nan from finite operands (x: -1.0)"),
        ("sum(sqrt(x))", ["x=[4,0]"], "Not finite: sqrt: its gradient rule for operand 1 produced inf at [1]"),
        ("x * 2", ["x=nan"], "Not finite: a value that was given"),
    ],
)
def test_what_is_not_finite_is_traced_to_its_operation(capsys, formula, values, words):
    assert cli.main(["explain", formula, *values]) == 0
    assert words in capsys.readouterr().out
