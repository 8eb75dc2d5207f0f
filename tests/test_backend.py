"""The op table on another array library, without its hardware: on a double of CuPy's array, with the same results bit for bit."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minigrad as mg
from minigrad import backend
from minigrad.tensor import wrap

pytest.importorskip("cupy", reason="CuPy is not installed: pip install cupy-cuda12x (it imports without a GPU)")

from tests.strict import NotInCuPyError, Strict, cupy
from tests.table import ROWS, cases, run

OPS = Path(mg.__file__).parent / "ops"


BLOCKED = (
    "channel_affine", "channel_dot", "channel_moments", "channel_sum", "conv", "conv_transpose", "conv_weight", "max_pool", "layer_norm", "log_softmax", "rms_norm", "row_dot", "softmax",
    "softmax_cross_entropy", "sum",
)  # fmt: skip
"""On NumPy's arrays these add up in an order of their own, block by block or with vector instructions."""


@pytest.mark.parametrize("name", ROWS)
def test_the_op_table_on_the_double(name):
    for case in cases(name):
        with np.errstate(all="ignore"):
            expected, got = run(*case, np.ndarray, np.array), run(*case, Strict, Strict)
        assert len(got) == len(expected)
        for a, b in zip((r.get() for r in got), expected):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            if name in BLOCKED:
                assert_allclose(a, b, rtol=1e-12, atol=1e-12)
            elif a.ndim:
                assert_array_equal(a, b)
            else:  # NumPy gives scalars for 0-d results, whose arithmetic differs from arrays' in the last bit
                assert_allclose(a, b, rtol=4e-16)


# The double refuses what CuPy refuses
@pytest.mark.parametrize(
    "f",
    [
        np.asarray, np.array, lambda x: x + np.ones(2), lambda x: np.ones(2) * x, lambda x: np.add(x, np.ones(2)),
        lambda x: np.add.reduce(x, initial=1.0), lambda x: np.maximum.reduce(x), lambda x: np.exp(x, where=x > 0),
        lambda x: np.nanpercentile(x, 5), lambda x: x.sum(where=True),
        lambda x: np.concatenate([x, np.ones(2)]), lambda x: x.__setitem__(0, np.ones(())), lambda x: np.sort(x, order="a"),
    ],
)  # fmt: skip
def test_the_double_refuses(f):
    with pytest.raises((NotInCuPyError, AttributeError)):
        f(Strict(np.ones(2)))


def test_the_double_has_only_what_cupy_has():
    x = Strict(np.ones((2, 2)))
    for name in ("setflags", "newbyteorder", "__array_interface__", "tostring", "itemset", "getfield", "ctypes"):
        assert not hasattr(x, name)
    assert not hasattr(x.flags, "writeable")
    assert type(x.sum()) is Strict  # 0-d results stay arrays
    assert type(np.add.reduce(x, None)) is Strict


# Names used in the ops exist in CuPy
def used_names(path):
    """``np.name`` and ``np.module.name`` in a file, annotations left out."""
    tree = ast.parse(path.read_text())
    annotations = set()
    for node in ast.walk(tree):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if part is not None:
                annotations.update(id(n) for n in ast.walk(part))
    inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in annotations | inner:
            name = ast.unparse(node)
            if re.fullmatch(r"np(\.\w+)+", name):
                yield node.lineno, name.removeprefix("np.")


ON_THE_HOST = {
    "bool_", "broadcast_shapes", "dtype", "errstate", "exceptions.AxisError", "generic", "integer", "ndarray", "normalize_axis_index",
    "prod", "result_type", "vecdot", "lib.array_utils.normalize_axis_index", "lib.array_utils.normalize_axis_tuple",
}  # fmt: skip
"""Names that are about shapes, dtypes and errors and never see an array's values, or stand behind a test for NumPy's arrays."""


@pytest.mark.parametrize("path", sorted(OPS.glob("*.py")), ids=lambda p: p.name)
def test_every_numpy_name_in_the_ops_exists_in_cupy(path):
    missing = []
    for line, name in used_names(path):
        at = cupy
        for part in name.split("."):
            at = getattr(at, part, None)
        if at is None and name not in ON_THE_HOST:
            missing.append(f"{path.name}:{line}: np.{name}")
    assert not missing


# Whole programs
def test_a_training_step_on_the_double():
    rng = np.random.default_rng(0)
    shapes = (3, 4), (4,), (4, 2)

    def train(make):
        ws = [wrap(make(a)).requires_grad_() for a in map(np.random.default_rng(1).normal, (0.0,) * 3, (1.0,) * 3, shapes)]
        x, t = wrap(make(X)), wrap(make(T))
        for _ in range(3):
            loss = ((mg.tanh(x @ ws[0] + ws[1]) @ ws[2] - t) ** 2).mean()
            loss.backward()
            with mg.no_grad():
                for w in ws:
                    w -= 0.1 * w.grad
                    w.grad = None
        hessian = mg.hessian(lambda w: (mg.sin(w) * w).sum())(ws[1])
        return [*(w._data for w in ws), loss._data, hessian._data]

    X, T = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    for a, b in zip(train(Strict), train(np.array)):
        assert type(a) is Strict
        assert_array_equal(a.get(), b)


def test_a_write_to_the_double_is_seen():
    a = Strict(np.ones(3))
    x = wrap(a).requires_grad_()
    y = (x * x).sum()
    x.data[:] = 2.0
    with pytest.raises(mg.ChangedValueError):
        y.backward()


def test_mixing_libraries_is_an_error():
    x = wrap(Strict(np.ones(3))).requires_grad_()
    for f in (lambda: x + np.ones(3), lambda: mg.tensor(np.ones(3)) * x, lambda: np.ones(3) - x):
        with pytest.raises(TypeError, match="NumPy array"):
            f()
    assert type((x + 1.0)._data) is Strict


def test_numpy_of_another_librarys_tensor_is_a_copy_on_the_host():
    x = wrap(Strict(np.ones(3)))
    assert type(x.numpy()) is np.ndarray
    assert x.tolist() == [1.0, 1.0, 1.0]
    assert (x.device, mg.tensor(1.0).device) == ("cuda", "cpu")
    assert repr(x) == "tensor([1., 1., 1.], dtype=float64, device='cuda')"
    assert type(mg.zeros_like(mg.tensor(1.0))._data) is np.ndarray


# Devices
def test_cupys_arrays_are_known_though_they_have_no_array_namespace():
    fake = type("ndarray", (), {"__module__": "cupy"})()
    assert not hasattr(cupy.ndarray, "__array_namespace__")
    assert backend.namespace(fake) is cupy
    assert backend.namespace(1.0) is backend.namespace(np.ones(2)) is np


def no_gpu():
    try:
        return cupy.cuda.runtime.getDeviceCount() == 0
    except cupy.cuda.runtime.CUDARuntimeError:
        return True


@pytest.mark.skipif(not no_gpu(), reason="there is a GPU here")
@pytest.mark.parametrize(
    "f", [lambda: mg.tensor(1.0, device="cuda"), lambda: mg.tensor(1.0).to("cuda"), lambda: mg.zeros(2, device="cuda:1"),
          lambda: mg.random.normal(2, device="cuda"), lambda: mg.device("cuda").__enter__()],
)  # fmt: skip
def test_without_a_gpu(f):
    with pytest.raises(mg.DeviceError, match="device 'cuda': CuPy is installed, but finds no usable GPU or driver"):
        f()


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(mg.DeviceError, match=r"needs CuPy.*pip install 'minigrad\[cuda12\]'.*minigrad doctor"):
        mg.tensor(1.0, device="cuda")


@pytest.mark.parametrize("name", ["tpu", "cpu:0", "cuda:x", ""])
def test_unknown_devices(name):
    with pytest.raises(mg.DeviceError, match="expected 'cpu', 'cuda' or 'cuda:N'"):
        mg.device(name)


def test_an_unknown_device_is_refused_wherever_it_is_named():
    for f in (
        lambda: mg.tensor(1.0, device="tpu"),
        lambda: mg.zeros(2, device="tpu"),
        lambda: mg.random.normal(2, device="tpu"),
    ):
        with pytest.raises(mg.DeviceError, match="no device 'tpu'"):
            f()


def test_the_default_device():
    with mg.device("cpu"), mg.device("cpu"):
        assert mg.zeros(2).device == mg.tensor(1.0).device == "cpu"
    assert backend.default_device() is None


def test_the_gpu_script_says_where_there_is_no_gpu(capsys):
    from tests import gpu

    if not no_gpu():
        pytest.skip("there is a GPU here: run python -m tests.gpu")
    assert gpu.main() == 3
    assert "no GPU to test: device 'cuda'" in capsys.readouterr().out


def test_the_gpu_script_compares_rows(monkeypatch):
    """Its comparison runs on the double; a wrong result is found."""
    from types import SimpleNamespace

    from tests import gpu

    double = SimpleNamespace(ndarray=Strict, asarray=Strict)
    assert gpu.compare("tanh", double) is None
    assert gpu.compare("matmul", double) is None
    off = SimpleNamespace(ndarray=Strict, asarray=lambda a: Strict(a * (1 + 1e-6)))
    assert "differs by" in gpu.compare("tanh", off)
    assert "NotInCuPyError" in gpu.compare("add", SimpleNamespace(ndarray=Strict, asarray=Mixed()))


class Mixed:
    """Puts every other array on the host."""

    turn = 0

    def __call__(self, array):
        self.turn += 1
        return Strict(array) if self.turn % 2 else array
