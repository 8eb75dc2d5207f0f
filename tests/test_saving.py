"""safetensors files: round trips, PyTorch's files, and what damage, interruptions and other formats do."""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, saving
from minigrad.saving import load, load_metadata, save

pytest.importorskip("safetensors", reason="safetensors is not installed: pip install 'minigrad[train]'")


def model() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    net(mg.tensor(np.random.default_rng(0).normal(size=(5, 3)), dtype="float32"))
    return net


def test_a_module_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    net = model()
    save(file, net)
    loaded = load(file)
    assert sorted(loaded) == sorted(net.state_dict())
    for name, value in net.state_dict().items():
        assert loaded[name].dtype == value.dtype
        assert np.array_equal(loaded[name].numpy(), value.numpy())
        assert not loaded[name].requires_grad
    twin = model()
    twin.load_state_dict(loaded)
    x = mg.ones((2, 3))
    assert np.array_equal(net.eval()(x).detach(), twin.eval()(x).detach())
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"], "nothing else is left"


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float16",
        "float32",
        "float64",
        "complex64",
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)], ids=str)
def test_every_dtype_and_shape_comes_back(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    a = (np.random.default_rng(0).normal(size=shape) * 3).astype(dtype) if dtype[0] != "u" else np.full(shape, 7, dtype)
    save(tmp_path / "a.safetensors", {"a": a, "t": mg.tensor(a)})
    for b in load(tmp_path / "a.safetensors").values():
        assert b.shape == a.shape
        assert b.dtype == a.dtype
        assert np.array_equal(b.numpy(), a)


def test_memory_layout_and_byte_order_do_not_matter(tmp_path: Path) -> None:
    a = np.arange(12.0).reshape(3, 4)
    save(tmp_path / "a.safetensors", {"t": a.T, "step": a[::2, ::-1], "big": a.astype(">f8"), "tied": a})
    got = load(tmp_path / "a.safetensors")
    for name, value in {"t": a.T, "step": a[::2, ::-1], "big": a, "tied": a}.items():
        assert np.array_equal(got[name].numpy(), value), name
    got["t"].numpy()[0, 0] = 5.0


def test_metadata(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save(file, {"a": np.ones(2)}, metadata={"epoch": "3", "note": "größer"})
    assert load_metadata(file) == {"epoch": "3", "note": "größer"}
    assert list(load(file)) == ["a"]
    save(file, {"a": np.ones(2)})
    assert load_metadata(file) == {}
    with pytest.raises(TypeError, match="metadata 'epoch': 3: the format keeps texts only"):
        save(file, {}, metadata={"epoch": 3})  # type: ignore[dict-item]


def test_files_go_to_and_come_from_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: its files are not checked")
    st = pytest.importorskip("safetensors.torch", reason="safetensors.torch is not installed")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    st.save_file(theirs.state_dict(), tmp_path / "torch.safetensors", metadata={"format": "pt"})
    ours = model()
    ours.load_state_dict(load(tmp_path / "torch.safetensors"))
    x = np.ones((2, 3), "float32")
    np.testing.assert_allclose(
        ours.eval()(mg.tensor(x)).detach(), theirs.eval()(torch.tensor(x)).detach(), rtol=1e-5, atol=1e-6
    )
    assert load_metadata(tmp_path / "torch.safetensors") == {"format": "pt"}
    save(tmp_path / "ours.safetensors", ours)
    theirs.load_state_dict(st.load_file(tmp_path / "ours.safetensors"))


def test_bfloat16_becomes_float32_exactly(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: its files are not checked")
    st = pytest.importorskip("safetensors.torch", reason="safetensors.torch is not installed")
    t = torch.cat([torch.randn(50, dtype=torch.float64) * 1e3, torch.tensor([0.0, -0.0, float("inf"), float("nan"), 1e-40])])
    t = t.to(torch.bfloat16).reshape(5, 11)
    st.save_file({"w": t, "empty": torch.zeros(0, 2, dtype=torch.bfloat16)}, tmp_path / "b.safetensors")
    got = load(tmp_path / "b.safetensors")
    assert got["w"].dtype == "float32"
    assert np.array_equal(got["w"].numpy(), t.float().numpy(), equal_nan=True)
    assert got["empty"].shape == (0, 2)
    st.save_file({"w": t.to(torch.float8_e4m3fn)}, tmp_path / "b.safetensors")
    with pytest.raises(mg.DtypeError, match="w has dtype F8_E4M3, which NumPy lacks"):
        load(tmp_path / "b.safetensors")


# ---- what goes wrong -----------------------------------------------------------------------------------------------------


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save(file, {"a": np.arange(5.0), "b": np.ones((2, 2), "float32")})
    whole = file.read_bytes()
    for n in range(len(whole)):
        file.write_bytes(whole[:n])
        with pytest.raises(mg.MinigradError, match=r"a\.safetensors is damaged, cut short, or not a safetensors file"):
            load(file)
    file.write_bytes(whole + b"more")
    with pytest.raises(mg.MinigradError, match="is damaged"):
        load(file)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"text, long enough to have a header", b"\x80\x04\x95" + bytes(40), struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 5) + b"[1,2]", struct.pack("<Q", 2) + b"\xff\xfe",
        struct.pack("<Q", 62) + b'{"a":{"dtype":"F32","shape":[99],"data_offsets":[0,4]}}       ' + bytes(4),
    ],
)  # fmt: skip
def test_damaged_headers(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(mg.MinigradError, match=r"is damaged.*copy or download it again"):
        load(tmp_path / "a.safetensors")
    if b"F32" not in content:  # its header is in order
        with pytest.raises(mg.MinigradError, match="is damaged"):
            load_metadata(tmp_path / "a.safetensors")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".pkl"])
def test_pickles_are_refused_with_the_way_out(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(b"\x80\x04.")
    for act in (load, load_metadata, lambda f: save(f, {})):
        with pytest.raises(ValueError, match=r"files are pickles.*safetensors.torch.save_file\(.*'weights.safetensors'\)"):
            act(file)
    assert file.read_bytes() == b"\x80\x04."


@pytest.mark.parametrize("name", ["weights", "weights.npz", "weights.safetensors.gz"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    for act in (load, lambda f: save(f, {})):
        with pytest.raises(ValueError, match=r"expected a name that ends in \.safetensors"):
            act(tmp_path / name)


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        save(tmp_path / "nowhere" / "a.safetensors", {})


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
def test_an_interrupted_save_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    file = tmp_path / "a.safetensors"
    save(file, {"a": np.ones(3)})
    before = file.read_bytes()

    def fail(*args: Any) -> None:
        raise error

    if step == "write":
        real = os.fdopen

        class Full:
            def __init__(self, handle: int) -> None:
                self.file = real(handle, "wb")

            def __enter__(self) -> Full:
                return self

            def __exit__(self, *args: object) -> None:
                self.file.close()

            def write(self, content: bytes) -> None:
                self.file.write(content[: len(content) // 2])
                raise error

        monkeypatch.setattr(saving.os, "fdopen", lambda handle, mode: Full(handle))
    else:
        monkeypatch.setattr(saving.os, step, fail)
    with pytest.raises(type(error)):
        save(file, {"a": np.zeros(300)})
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"], "the temporary file is gone"


@pytest.mark.skipif(sys.platform == "win32", reason="rights are POSIX's")
def test_a_saved_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    file = tmp_path / "a.safetensors"
    save(file, {})
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode
    file.chmod(0o640)
    save(file, {})
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"a": np.ones(2, "complex128")}, mg.DtypeError, "a: safetensors has no complex128.*real and imaginary"),
        ({"a": np.ones(2, np.longdouble)}, mg.DtypeError, "a: safetensors has no "),
        ({"a": "text"}, TypeError, "a: expected an array, got str; texts go into metadata"),
        ({"a": np.array([{}])}, TypeError, "a: expected an array"),
        ({1: np.ones(2)}, TypeError, "1: expected texts as names, got int"),
    ],
)
def test_what_the_format_cannot_hold(tmp_path: Path, state: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        save(tmp_path / "a.safetensors", state)
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)  # how Python marks what cannot be imported
    for act in (lambda: save(tmp_path / "a.safetensors", {}), lambda: load(tmp_path / "a.safetensors")):
        with pytest.raises(ImportError, match=r"pip install 'minigrad\[train\]'"):
            act()


def test_nothing_here_can_run_code_from_a_file() -> None:
    source = Path(saving.__file__).read_text()
    for word in ("import pickle", "eval(", "exec(", "np.load", "allow_pickle"):
        assert word not in source


def test_the_header_is_the_published_format(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", {"a": np.array([1.0, 2.0], "float32")})
    raw = (tmp_path / "a.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    assert header == {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    assert raw[8 + length :] == struct.pack("<2f", 1.0, 2.0)
