"""Which array library computes: NumPy always, CuPy where it is installed and a GPU is there.

The op table is written once. An array's own type decides which library runs: NumPy's functions hand CuPy arrays on to CuPy
(``__array_ufunc__`` and ``__array_function__``), and where an array must be made from nothing, :func:`namespace` tells by whom.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad import halves
from minigrad.errors import DeviceError, DtypeError

ndarray = np.ndarray
PLAIN: set[type] = {ndarray, float, int, bool, complex, type(None), *(t for t in np.sctypeDict.values())}
"""Types that operations take as they are."""

_default_dtype = np.dtype(np.float32)


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that Python floats become: float32 at first, as in PyTorch.

    Raises:
        DtypeError: if ``dtype`` is not a floating dtype.

    Example:
        >>> import minigrad as mg
        >>> mg.tensor([1.0]).dtype
        dtype('float32')
        >>> mg.set_default_dtype("float64")
        >>> mg.tensor([1.0]).dtype
        dtype('float64')
        >>> mg.set_default_dtype("float32")
    """
    global _default_dtype
    dtype = np.dtype(dtype)
    if halves.kind(dtype) != "f":
        raise DtypeError(f"set_default_dtype: expected a floating dtype such as float32 or float64, got {dtype}")
    _default_dtype = dtype


def get_default_dtype() -> np.dtype[Any]:
    """The dtype that Python floats become."""
    return _default_dtype


def cupy() -> Any:
    """The CuPy module; an error that says what to do where it or the GPU is missing."""
    try:
        import cupy as cp
    except ImportError as error:
        raise DeviceError(
            "device 'cuda' needs CuPy, which is not installed: pip install 'minigrad[cuda12]' (or [cuda13]), "
            "and see `minigrad doctor`"
        ) from error
    try:
        count = cp.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise DeviceError(f"device 'cuda': CuPy is installed, but finds no usable GPU or driver ({error})") from error
    if not count:
        raise DeviceError("device 'cuda': CuPy is installed, but the driver reports no GPU")
    PLAIN.add(cp.ndarray)
    return cp


def namespace(array: Any) -> Any:
    """The library an array belongs to: ``numpy``, or the module its type comes from (CuPy's has no ``__array_namespace__``)."""
    if isinstance(array, (ndarray, np.generic)):
        return np
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    return sys.modules["cupy"] if type(array).__module__.partition(".")[0] == "cupy" else np


def device_of(array: Any) -> str:
    """``"cpu"``, or ``"cuda"`` (``"cuda:1"`` for a second GPU)."""
    if namespace(array) is np:
        return "cpu"
    number = getattr(getattr(array, "device", None), "id", 0)
    return f"cuda:{number}" if number else "cuda"


def to_device(array: Any, name: str) -> Any:
    """``array`` on device ``name``, copied only if it is not there yet."""
    kind, _, number = name.partition(":")
    if kind == "cpu":
        return array if namespace(array) is np else array.get()
    if kind == "cuda":
        cp = cupy()
        with cp.cuda.Device(int(number or 0)):
            return cp.asarray(array)
    raise DeviceError(f"no device {name!r}: expected 'cpu', 'cuda' or 'cuda:N'")


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """``array`` in main memory."""
    return np.asarray(array) if namespace(array) is np else array.get()


def array_of(value: Any) -> Any:
    """What a forward function returned, as an array: NumPy gives scalars for 0-d results."""
    return np.asarray(value) if isinstance(value, (np.generic, float, int, bool)) else value


def operand(value: Any, op: str) -> Any:
    """A value that is not a Tensor, array or number, as an array: lists and tuples of numbers."""
    if isinstance(value, (list, tuple)):
        return from_python(value)
    if hasattr(value, "__array_ufunc__") or hasattr(value, "__array_namespace__"):
        return value
    raise DtypeError(f"{op}: expected a Tensor, an array or a number, got {type(value).__name__}: {value!r}")


def from_python(value: Any, dtype: Any = None) -> Any:
    """An array from Python numbers, nested lists, or arrays. Python floats take the default dtype; arrays keep theirs."""
    if dtype is None and not hasattr(value, "dtype"):
        array = np.asarray(value)
        first = value
        while isinstance(first, (list, tuple)) and first:
            first = first[0]
        if array.dtype == np.float64 and not hasattr(first, "dtype"):
            return array.astype(_default_dtype)
    else:
        array = np.asarray(value, dtype) if namespace(value) is np else value.astype(dtype or value.dtype, copy=False)
    if halves.kind(array.dtype) not in "biufc":
        raise DtypeError(
            f"cannot make a tensor of dtype {array.dtype} from {str(value)[:60]!r}: expected numbers in a regular (nested) list"
        )
    return array


class device(str):  # noqa: N801 (spelled as in PyTorch)
    """The name of a device; as a context manager, where tensors made from Python numbers go.

    Raises:
        DeviceError: if the name is unknown, or, on entering ``"cuda"``, if there is no CuPy or no GPU.

    Example:
        >>> import minigrad as mg
        >>> with mg.device("cpu"):
        ...     mg.zeros(2).device
        'cpu'
    """

    __slots__ = ()

    def __new__(cls, name: str) -> device:
        kind, _, number = name.partition(":")
        if kind not in ("cpu", "cuda") or (number and not number.isdigit()) or (kind == "cpu" and number):
            raise DeviceError(f"no device {name!r}: expected 'cpu', 'cuda' or 'cuda:N'")
        return super().__new__(cls, name)

    def __enter__(self) -> device:
        if self != "cpu":
            cupy()
        _entered.set((*_entered.get(), _default_device.set(str(self))))
        return self

    def __exit__(self, *error: object) -> None:
        *outer, token = _entered.get()
        _entered.set(tuple(outer))
        _default_device.reset(token)


_default_device: ContextVar[str | None] = ContextVar("default_device", default=None)
_entered: ContextVar[tuple[Any, ...]] = ContextVar("entered", default=())


def default_device() -> str | None:
    """The device that a surrounding ``with mg.device(...)`` names."""
    return _default_device.get()


def library(named: str | None) -> Any:
    """The array library of a device: NumPy for ``"cpu"``, CuPy for ``"cuda"``; None means the default device."""
    name = named or default_device() or "cpu"
    return np if device(name) == "cpu" else cupy()
