"""``minigrad doctor`` on OpenBLAS's kernels: what it measures, what it says, and the command line that acts on it."""

from __future__ import annotations

import os
import sys

import pytest

from minigrad import cli, doctor, training_cli

WIDE = {"name": "a CPU", "usable": 64, "avx512": True}
HASWELL = {"name": "scipy-openblas", "version": "0.3.31", "threads": 2, "kernel": "Haswell"}


@pytest.fixture
def narrow(monkeypatch):
    """OpenBLAS with a kernel that wastes this CPU's AVX-512, whatever is really here."""
    monkeypatch.setattr(doctor, "cpu", lambda: dict(WIDE))
    monkeypatch.setattr(doctor, "blas", lambda: dict(HASWELL))
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)


def test_the_report_tells_what_was_measured_and_the_line_to_use(capsys, monkeypatch, narrow):
    monkeypatch.setattr(doctor, "measured_speedup", lambda variables: 1.5)
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "kernel Haswell (SkylakeX measured: 1.50 times as fast)" in out
    assert "OPENBLAS_CORETYPE=SkylakeX python ..." in out


def test_nothing_is_measured_where_the_kernel_is_right(capsys, monkeypatch, narrow):
    monkeypatch.setattr(doctor, "blas", lambda: HASWELL | {"kernel": "Cooperlake"})
    monkeypatch.setattr(doctor, "measured_speedup", lambda variables: pytest.fail("measured"))
    assert cli.main(["doctor"]) == 0
    assert "OPENBLAS_CORETYPE" not in capsys.readouterr().out


def test_the_environment_is_left_alone(capsys, monkeypatch, narrow):
    monkeypatch.setattr(doctor, "measured_speedup", lambda variables: 1.5)
    before = dict(os.environ)
    cli.main(["doctor"])
    assert dict(os.environ) == before


def test_a_measurement_times_real_products(monkeypatch):
    monkeypatch.setattr(doctor, "ROUNDS", 1)
    speedup = doctor.measured_speedup({"OMP_NUM_THREADS": "1"})
    assert speedup is not None
    assert speedup > 0


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "print('no number', flush=True)", "for _ in ''.join([]): pass"])
def test_a_measurement_that_fails_is_none(monkeypatch, program):
    monkeypatch.setattr(doctor, "_PRODUCTS", program)
    assert doctor.measured_speedup({}) is None


def test_the_median_of_the_ratios_counts(monkeypatch):
    """One process says 3 seconds, the other, which the variable makes faster, 2."""
    program = "import os, sys\nfor _ in sys.stdin: print(2 if 'FASTER' in os.environ else 3, flush=True)"
    monkeypatch.setattr(doctor, "_PRODUCTS", program)
    monkeypatch.delenv("FASTER", raising=False)
    assert doctor.measured_speedup({"FASTER": "yes"}) == 1.5


@pytest.mark.usefixtures("narrow")
def test_fast_blas_is_what_a_new_process_needs():
    assert doctor.fast_blas({}) == {"OPENBLAS_CORETYPE": "SkylakeX"}
    assert doctor.fast_blas({"OPENBLAS_CORETYPE": "Haswell"}) == {}


@pytest.mark.parametrize("other", [{"kernel": "SkylakeX"}, {"name": "mkl"}, {"kernel": None}])
def test_fast_blas_is_nothing_where_it_would_change_nothing(monkeypatch, narrow, other):
    monkeypatch.setattr(doctor, "blas", lambda: HASWELL | other)
    assert doctor.fast_blas({}) == {}


class RestartedError(Exception):
    pass


def test_training_restarts_itself_with_the_fast_kernel(monkeypatch, narrow):
    def execve(program, arguments, environment):
        raise RestartedError(program, arguments, environment)

    monkeypatch.setattr(training_cli.os, "execve", execve)
    command = ["train", "moons", "--fast-blas", "--epochs", "1"]
    with pytest.raises(SystemExit):  # a wrong command line is told before anything is started again
        cli.main(["train", "stars", "--fast-blas"])
    with pytest.raises(RestartedError) as caught:
        cli._run(command)
    program, arguments, environment = caught.value.args
    assert (program, arguments) == (sys.executable, [sys.executable, "-m", "minigrad", *command])
    assert environment == {**os.environ, "OPENBLAS_CORETYPE": "SkylakeX"}
    assert "OPENBLAS_CORETYPE" not in os.environ


def test_training_does_not_restart_twice(monkeypatch, narrow):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    monkeypatch.setattr(training_cli.os, "execve", lambda *a: pytest.fail("restarted"))
    training_cli._restart_with_fast_blas(["train", "moons", "--fast-blas"])


def test_optional_packages_have_the_names_of_their_distributions():
    assert {"scikit-learn", "matplotlib", "tqdm", "safetensors"} <= set(doctor.OPTIONAL)
    pytest.importorskip("matplotlib")
    assert doctor.versions()["matplotlib"]
