"""Weights in files: ``mg.save`` and ``mg.load``, in the safetensors format. No pickle, so a file cannot run code.

What PyTorch's ``safetensors.torch.save_file`` or ``save_model`` wrote is loaded as it is, and what is written here it can read.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.errors import DtypeError, MinigradError
from minigrad.tensor import Tensor, wrap

__all__ = ["load", "load_metadata", "save"]

_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip
_NAMES = {np.dtype(name) for name in _DTYPES.values()}
_PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"}


def _safetensors() -> Any:
    try:
        import_module("safetensors.numpy")
        return import_module("safetensors")
    except ImportError as error:
        raise ImportError("saving and loading weights needs the safetensors package: pip install 'minigrad[train]'") from error


def _checked(path: str | os.PathLike[str], asked: str) -> Path:
    file = Path(path)
    if file.suffix in _PICKLES:
        raise ValueError(
            f"{asked}: {file.name}: {file.suffix} files are pickles, which can run code when read, and are not supported. In PyTorch, "
            f"convert with safetensors.torch.save_file(model.state_dict(), {file.stem + '.safetensors'!r})."
        )
    if file.suffix != ".safetensors":
        raise ValueError(f"{asked}: {file.name}: expected a name that ends in .safetensors")
    return file


def save(path: str | os.PathLike[str], state_dict_or_module: Any, metadata: Mapping[str, str] | None = None) -> None:
    """Write a state dict, or that of a module, as safetensors.

    It is written beside ``path`` under another name, flushed to the disk, and renamed: whatever interrupts it, ``path`` is the old
    file or the new one. Names that share one tensor are written each, as PyTorch's ``state_dict`` names them.

    Args:
        path: a name that ends in ``.safetensors``.
        state_dict_or_module: arrays or Tensors by name, or a module.
        metadata: texts by name, kept in the file: see :func:`load_metadata`.

    Raises:
        ImportError: without the ``safetensors`` package.
        ValueError: for another suffix.
        DtypeError: for a dtype that the format lacks, such as complex128.
        TypeError: for values that are not arrays, or metadata that are not texts.

    Example:
        >>> import tempfile
        >>> import minigrad as mg
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mg.save(f"{folder}/w.safetensors", {"w": mg.tensor([1.0, 2.0])})
        ...     mg.load(f"{folder}/w.safetensors")["w"].tolist()
        [1.0, 2.0]
    """
    safetensors = _safetensors()
    file = _checked(path, "save")
    state = state_dict_or_module if isinstance(state_dict_or_module, Mapping) else state_dict_or_module.state_dict()
    told = dict(metadata or {})
    for key, value in told.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"save: metadata {key!r}: {value!r}: the format keeps texts only; use str or json.dumps")
    entries = {name: _entry(name, value) for name, value in state.items()}
    try:
        content = safetensors.numpy.save(entries, metadata=told or None)
    except safetensors.SafetensorError as error:
        raise DtypeError(f"save: this version of safetensors ({safetensors.__version__}) cannot write it: {error}") from error
    _write(file, content)


def _entry(name: str, value: Any) -> np.ndarray[Any, Any]:
    if not isinstance(name, str):
        raise TypeError(f"save: {name!r}: expected texts as names, got {type(name).__name__}")
    array = backend.to_numpy(value._data) if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"save: {name}: expected an array, got {type(value).__name__}; texts go into metadata")
    if array.dtype.newbyteorder("=") not in _NAMES:
        raise DtypeError(
            f"save: {name}: safetensors has no {array.dtype}: expected one of {', '.join(sorted(map(str, _NAMES)))}"
            + ("; save its real and imaginary parts" if array.dtype.kind == "c" else "")
        )
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=False)


def _write(file: Path, content: bytes) -> None:
    """All of it or nothing: a temporary file in the same folder (only there is renaming atomic), then ``os.replace``."""
    handle, temporary = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".tmp", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        # mkstemp gives rights to the owner only; a new file should have those of any other, an old one keeps its own.
        os.chmod(temporary, file.stat().st_mode & 0o777 if file.exists() else 0o666 & ~_umask())
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _damaged(file: Path, why: object) -> MinigradError:
    return MinigradError(
        f"load: {file} is damaged, cut short, or not a safetensors file ({why}): copy or download it again, or take an older save"
    )


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, for ``model.load_state_dict(mg.load(path))``.

    bfloat16, which NumPy lacks, becomes float32, exactly: it is the upper half of one. The tensors own their memory.

    Args:
        path: a name that ends in ``.safetensors``.

    Raises:
        ImportError: without the ``safetensors`` package.
        FileNotFoundError: if there is no such file.
        ValueError: for another suffix.
        MinigradError: if the file is damaged.
        DtypeError: for a dtype that NumPy lacks (float8).
    """
    safetensors = _safetensors()
    file = _checked(path, "load")
    content = file.read_bytes()
    try:
        found = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise _damaged(file, error) from error
    return {name: wrap(_from_bytes(name, spec)) for name, spec in sorted(found, key=lambda pair: pair[0])}


def _from_bytes(name: str, spec: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    kind, data = spec["dtype"], spec["data"]
    if kind == "BF16":
        flat = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif kind in _DTYPES:
        dtype = np.dtype(_DTYPES[kind])
        flat = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)
    else:
        raise DtypeError(f"load: {name} has dtype {kind}, which NumPy lacks: save it as float32, as in model.float()")
    return flat.reshape(spec["shape"])


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts that were saved with the tensors; PyTorch writes ``{"format": "pt"}``. The tensors are not read.

    Raises:
        ValueError: for another suffix than ``.safetensors``.
        MinigradError: if the file is damaged.

    Example:
        >>> import tempfile
        >>> import minigrad as mg
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mg.save(f"{folder}/empty.safetensors", {}, metadata={"epoch": "3"})
        ...     mg.load_metadata(f"{folder}/empty.safetensors")
        {'epoch': '3'}
    """
    file = _checked(path, "load_metadata")
    with file.open("rb") as source:
        length = int.from_bytes(source.read(8), "little")
        if length > os.path.getsize(file) - 8:
            raise _damaged(file, f"a header of {length} bytes in a file of {os.path.getsize(file)}")
        try:
            told = json.loads(source.read(length)).get("__metadata__") or {}
        except (ValueError, AttributeError) as error:
            raise _damaged(file, error) from error
    return dict(told)
