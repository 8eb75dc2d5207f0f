"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = """
import minigrad as mg
import numpy as np
from hypothesis import given, strategies as st
from minigrad.testing import check_grads, gradient_property

bad = mg.primitive(np.tanh, lambda g, y, a: g * (1 - y), name="bad")
test_right = gradient_property(mg.softplus)


@gradient_property(shape=(2,))
def test_wrong(a, *, drawings):
    return bad(a) * 2


def test_fixtures(seeded, float64):
    assert mg.tensor([1.0]).dtype == np.float64
    a = mg.random.normal(3).numpy()
    assert seeded.normal() == np.random.default_rng(SEED).normal()


def test_float64_is_over():
    assert mg.tensor([1.0]).dtype == np.float32


@given(st.from_type(mg.Tensor))
def test_type(t):
    assert isinstance(t, mg.Tensor)
"""


def run(folder: Path, *options: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "minigrad_pytest", "-p", "no:cacheprovider", "-q", *options]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS.replace("SEED", "0"))
    told = run(tmp_path, f"--basetemp={tmp_path / 'made'}")
    assert "2 failed, 3 passed" in told, told
    assert "check_grads: the gradient of test_wrong with respect to 'a' is wrong" in told
    assert "reproduce_failure(" in told
    assert "- minigrad -" in told
    seed = told.split("minigrad seed: ")[1].split()[0]
    drawing = told.split("drawing: ")[1].split()[0]
    assert Path(drawing).exists()
    assert str(tmp_path / "made") in drawing
    (tmp_path / "test_it.py").write_text(TESTS.replace("SEED", seed))
    assert "1 failed, 4 passed" in run(tmp_path, "-k", "not nothing")
    assert "2 failed, 3 passed" in run(tmp_path, "--minigrad-seed=1")


def test_plugin_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n    assert not {'minigrad', 'numpy', 'hypothesis'} & set(sys.modules)\n"
        "def test_wrong():\n    assert False\n"
    )
    told = run(tmp_path)
    assert "1 failed, 1 passed" in told, told
    assert "- minigrad -" not in told


def test_entry_points_name_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    points = project["project"]["entry-points"]
    assert points == {"pytest11": {"minigrad": "minigrad_pytest"}, "hypothesis": {"minigrad": "minigrad_pytest:register"}}
    assert "minigrad_pytest" in project["tool"]["setuptools"]["py-modules"]
    assert callable(pytest.importorskip("minigrad_pytest").register)


def test_hypothesis_hook_imports_nothing() -> None:
    code = (
        "import sys, minigrad_pytest; minigrad_pytest.register(); assert 'minigrad' not in sys.modules\n"
        "import hypothesis.strategies as st, minigrad as mg; minigrad_pytest.register()\n"
        "from hypothesis import find; assert isinstance(find(st.from_type(mg.Tensor), lambda t: True), mg.Tensor)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
