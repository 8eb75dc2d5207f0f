"""The array API standard, version 2024.12: the namespace that ``x.__array_namespace__()`` returns.

Its functions take and return Tensors, are recorded, and are differentiated where they have a derivative. NumPy's main namespace
follows the standard, so most of them are NumPy's functions on Tensors (:mod:`minigrad.numpy_protocol`); elementwise ones are
minigrad's own. The default floating dtype is minigrad's (float32, see :func:`minigrad.set_default_dtype`).

Source: Consortium for Python Data API Standards, "Python array API standard", https://data-apis.org/array-api/2024.12/.

Example:
    >>> import minigrad as mg
    >>> x = mg.tensor([3.0, 4.0], requires_grad=True)
    >>> xp = x.__array_namespace__(api_version="2024.12")
    >>> xp.linalg.vector_norm(x).backward()
    >>> x.grad
    tensor([0.6, 0.8])
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from minigrad import backend, creation, ops
from minigrad.errors import DeviceError
from minigrad.numpy_functions import wrapped
from minigrad.tensor import Tensor, tensor
from minigrad.tensor import asarray as _shared

VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")
newaxis = None
e, inf, nan, pi = np.e, np.inf, np.nan, np.pi
_NUMBER = (int, float, np.generic)  # bool is an int
bool = np.dtype(np.bool_)
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float32, float64, complex64, complex128 = (np.dtype(name) for name in ("float32", "float64", "complex64", "complex128"))


def _through(function: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's ``function`` on Tensors, whose single numbers are 0-d Tensors."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        y = function(*args, **kwargs)
        return wrapped(np.asarray(y)) if isinstance(y, _NUMBER) else wrapped(y)

    return call


_OWN = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_or",
    "bitwise_xor",
    "cos",
    "cosh",
    "divide",
    "equal",
    "exp",
    "expm1",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log10",
    "log1p",
    "log2",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "positive",
    "reciprocal",
    "remainder",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
]
_NUMPYS = [
    "all",
    "any",
    "argmax",
    "argmin",
    "astype",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "broadcast_arrays",
    "broadcast_to",
    "ceil",
    "clip",
    "concat",
    "conj",
    "copysign",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "expand_dims",
    "flip",
    "floor",
    "imag",
    "isin",
    "matmul",
    "matrix_transpose",
    "max",
    "mean",
    "meshgrid",
    "min",
    "moveaxis",
    "nextafter",
    "nonzero",
    "permute_dims",
    "pow",
    "prod",
    "real",
    "repeat",
    "reshape",
    "roll",
    "round",
    "searchsorted",
    "signbit",
    "squeeze",
    "stack",
    "std",
    "sum",
    "take",
    "take_along_axis",
    "tensordot",
    "tile",
    "tril",
    "triu",
    "trunc",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "unstack",
    "var",
    "vecdot",
    "where",
]
_LINALG = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]
_FFT = ["fft", "ifft", "fftn", "ifftn", "rfft", "irfft", "rfftn", "irfftn", "hfft", "ihfft", "fftshift", "ifftshift"]

globals().update({name: getattr(ops, name) for name in _OWN})
globals().update({name: _through(getattr(np, name)) for name in _NUMPYS})
linalg = SimpleNamespace(**{name: _through(getattr(np.linalg, name)) for name in _LINALG})
broadcast_shapes = np.broadcast_shapes
isdtype = np.isdtype


def sort(x: Any, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> Any:
    """``x`` sorted along ``axis``; equal elements keep their order, whether or not ``stable`` asks for it."""
    return ops.sort(x, axis, descending)


def argsort(x: Any, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> Any:
    """The positions that sort ``x`` along ``axis``; equal elements keep their order."""
    return ops.argsort(x, axis, descending)


# ---- creation ------------------------------------------------------------------------------------------------------------


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Tensor:
    """A Tensor from a Tensor, an array, a buffer, or (nested lists of) Python numbers; Tensors stay in their graph.

    Raises:
        ValueError: for ``copy=False`` where a copy is unavoidable.
    """
    if isinstance(obj, Tensor):
        y = _shared(obj, dtype, device)
        if copy and y is obj:
            return ops.copy(obj)  # type: ignore[no-any-return]
    elif copy:
        y = tensor(obj, dtype, device=device)
    else:
        y = _shared(obj, dtype, device)
    if (
        copy is False
        and y is not obj
        and not np.shares_memory(y._data, obj._data if isinstance(obj, Tensor) else np.asarray(obj))
    ):
        raise ValueError(f"asarray: copy=False, but {type(obj).__name__} to {y.dtype} on {y.device} needs a copy")
    if dtype is None and y.dtype == complex128 and not hasattr(obj, "dtype") and backend.get_default_dtype() == float32:
        return y.to(complex64)
    return y


def from_dlpack(x: Any, /, *, device: Any = None, copy: Any = None) -> Tensor:
    """A Tensor on the memory of any array that has ``__dlpack__``: PyTorch's, CuPy's, JAX's, NumPy's. No copy by default.

    Example:
        >>> import numpy as np, minigrad as mg
        >>> a = np.zeros(2)
        >>> np.shares_memory(mg.from_dlpack(a).data, a)
        True
    """
    if isinstance(x, Tensor):
        return asarray(x, device=device, copy=copy)
    on_gpu = getattr(x, "__dlpack_device__", lambda: (1, 0))()[0] == 2
    library = backend.cupy() if on_gpu else np
    y = library.from_dlpack(x)
    y = _shared(y.copy() if copy else y)
    if device is not None and device != y.device and copy is False:
        raise ValueError(f"from_dlpack: copy=False, but {y.device} to {device} needs a copy")
    return y if device is None else y.to(device)


def _placed(name: str) -> Callable[..., Any]:
    make = getattr(creation, name)

    @functools.wraps(make)
    def call(x: Any, /, *args: Any, dtype: Any = None, device: Any = None) -> Any:
        y = make(x, *args, dtype=dtype)
        return y if device is None else y.to(device)

    return call


zeros_like, ones_like, full_like = _placed("zeros_like"), _placed("ones_like"), _placed("full_like")
zeros, ones, full, empty, arange = creation.zeros, creation.ones, creation.full, creation.empty, creation.arange
empty_like = zeros_like


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones on the ``k``-th diagonal of an ``n_rows`` by ``n_cols`` matrix."""
    return creation.eye(n_rows, n_cols, k, dtype, device)


def linspace(start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: Any = True) -> Tensor:
    """``num`` evenly spaced numbers from ``start`` to ``stop``, which is left out with ``endpoint=False``."""
    y: Any = np.linspace(start, stop, num, endpoint=endpoint)
    if not isinstance(y, Tensor):
        kind = backend.get_default_dtype() if y.dtype.kind == "f" else complex64
        y = _shared(y.astype(dtype or kind))
    elif dtype is not None:
        y = y.to(dtype)
    return y if device is None else y.to(device)  # type: ignore[no-any-return]


def _frequencies(function: Callable[..., Any]) -> Callable[..., Any]:
    def frequencies(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
        """The frequencies of a discrete Fourier transform of length ``n`` at sample spacing ``d``."""
        y = _shared(function(n, d).astype(dtype or backend.get_default_dtype()))
        return y if device is None else y.to(device)

    return frequencies


fft = SimpleNamespace(
    **{name: _through(getattr(np.fft, name)) for name in _FFT},
    fftfreq=_frequencies(np.fft.fftfreq),
    rfftfreq=_frequencies(np.fft.rfftfreq),
)


# ---- dtypes --------------------------------------------------------------------------------------------------------------


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that these would be promoted to together."""
    return np.result_type(*(x.dtype if isinstance(x, Tensor) else x for x in arrays_and_dtypes))


def can_cast(from_: Any, to: Any, /) -> Any:
    """Whether a cast loses nothing by type promotion."""
    return np.can_cast(getattr(from_, "dtype", from_), to)


@dataclass(frozen=True)
class _FloatInfo:
    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: Any


@dataclass(frozen=True)
class _IntInfo:
    bits: int
    max: int
    min: int
    dtype: Any


def finfo(type: Any, /) -> _FloatInfo:
    """Machine limits of a floating dtype or array, as Python floats; of a complex one, those of its parts."""
    info = np.finfo(getattr(type, "dtype", type))
    return _FloatInfo(
        info.bits, float(info.eps), float(info.max), float(info.min), float(info.smallest_normal), np.dtype(info.dtype)
    )


def iinfo(type: Any, /) -> _IntInfo:
    """Machine limits of an integer dtype or array, as Python integers."""
    info = np.iinfo(getattr(type, "dtype", type))
    return _IntInfo(info.bits, int(info.max), int(info.min), np.dtype(info.dtype))


class _Info:
    """What :func:`__array_namespace_info__` returns."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean masks index, shapes may depend on values, and there is no limit on axes but NumPy's."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """Where arrays are made unless another device is named."""
        return backend.default_device() or "cpu"

    def devices(self) -> list[str]:
        """The devices that can be used here."""
        try:
            count = backend.cupy().cuda.runtime.getDeviceCount()
        except DeviceError:
            count = 0
        return ["cpu", *(f"cuda:{i}" if i else "cuda" for i in range(count))]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """The dtypes of arrays made from Python numbers."""
        real = backend.get_default_dtype()
        return {
            "real floating": real, "complex floating": complex64 if real == float32 else complex128, "integral": int64, "indexing": int64,
        }  # fmt: skip

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """The standard's dtypes by name, all or those of one or several kinds."""
        kinds = kind if isinstance(kind, tuple) else (kind,)
        return {name: dtype for name, dtype in _DTYPES.items() if kind is None or np.any([np.isdtype(dtype, k) for k in kinds])}


_DTYPES = {
    str(t): t for t in (bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64, complex64, complex128)
}  # fmt: skip


def __array_namespace_info__() -> _Info:  # noqa: N807
    """Devices, dtypes and capabilities, as the standard's inspection API asks."""
    return _Info()


def namespace(api_version: str | None = None) -> Any:
    """This module, for a version of the standard that it follows.

    Raises:
        ValueError: for another version.
    """
    if api_version not in (None, *VERSIONS):
        raise ValueError(f"__array_namespace__: api_version={api_version!r}; expected one of {', '.join(VERSIONS)}")
    return sys.modules[__name__]


__array_api_version__ = VERSIONS[-1]
_CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
__all__ = [
    *_OWN, *_NUMPYS, *_CONSTANTS, *_DTYPES, "__array_namespace_info__", "arange", "argsort", "asarray", "broadcast_shapes", "can_cast", "empty",
    "empty_like", "eye", "fft", "finfo", "from_dlpack", "full", "full_like", "iinfo", "isdtype", "linalg", "linspace", "ones", "ones_like",
    "result_type", "sort", "zeros", "zeros_like",
]  # fmt: skip
