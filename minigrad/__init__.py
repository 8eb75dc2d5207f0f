"""minigrad: one recorded graph that you can differentiate, draw, step through, check and compile.

Array functions carry the array API standard's names (NumPy's where it has none), training names are PyTorch's:

    >>> import minigrad as mg
    >>> x = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> loss = mg.sum(mg.tanh(x) ** 2)
    >>> loss.backward()
    >>> x.grad.shape
    (3,)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as _np

from minigrad import heap, linalg, ops, random
from minigrad.backend import device, get_default_dtype, set_default_dtype
from minigrad.checkpointing import checkpoint
from minigrad.compiler import compile
from minigrad.creation import arange, empty, eye, full, full_like, linspace, ones, ones_like, zeros, zeros_like
from minigrad.errors import (
    AnomalyError,
    BadIndexError,
    ChangedValueError,
    DeviceError,
    DtypeError,
    FreedGraphError,
    MinigradError,
    NotInGraphError,
    ShapeError,
)
from minigrad.guards import guarding
from minigrad.modes import (
    detect_anomaly,
    enable_grad,
    inspect,
    is_grad_enabled,
    is_strict,
    no_grad,
    set_strict,
    strict,
)
from minigrad.ops import *
from minigrad.primitive import Each, primitive
from minigrad.random import manual_seed
from minigrad.tensor import Tensor, asarray, tensor
from minigrad.tracing import CompileError
from minigrad.transforms import grad, gradients, hessian, hvp, jacobian, jvp, value_and_grad, vjp

if TYPE_CHECKING:
    from minigrad.array_api import from_dlpack
    from minigrad.saving import load, load_metadata, save

__version__ = "0.1.0"

heap.keep()

# NumPy's and PyTorch's names where the array API standard has another
absolute, pow, concatenate, cat, permute = abs, power, concat, concat, permute_dims
arcsin, arccos, arctan, arctan2, arcsinh, arccosh, arctanh = asin, acos, atan, atan2, asinh, acosh, atanh
cumsum, cumprod, set_item = cumulative_sum, cumulative_prod, index_set

bool = _np.dtype(_np.bool_)
int8, int16, int32, int64 = (_np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (_np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = (_np.dtype(f"float{n}") for n in (16, 32, 64))
complex64, complex128 = (_np.dtype(f"complex{n}") for n in (64, 128))
pi, e, inf, nan, newaxis = _np.pi, _np.e, _np.inf, _np.nan, None

__all__ = [
    "AnomalyError",
    "BadIndexError",
    "ChangedValueError",
    "CompileError",
    "DeviceError",
    "DtypeError",
    "Each",
    "FreedGraphError",
    "MinigradError",
    "NotInGraphError",
    "ShapeError",
    "Tensor",
    "absolute",
    "arange",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asarray",
    "bool",
    "cat",
    "checkpoint",
    "compile",
    "complex64",
    "complex128",
    "concatenate",
    "cumprod",
    "cumsum",
    "detect_anomaly",
    "device",
    "e",
    "empty",
    "enable_grad",
    "eye",
    "float16",
    "float32",
    "float64",
    "from_dlpack",
    "full",
    "full_like",
    "get_default_dtype",
    "grad",
    "gradients",
    "guarding",
    "hessian",
    "hvp",
    "inf",
    "inspect",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "is_strict",
    "jacobian",
    "jvp",
    "linalg",
    "linspace",
    "load",
    "load_metadata",
    "manual_seed",
    "nan",
    "newaxis",
    "no_grad",
    "ones",
    "ones_like",
    "ops",
    "permute",
    "pi",
    "pow",
    "primitive",
    "random",
    "save",
    "set_default_dtype",
    "set_item",
    "set_strict",
    "strict",
    "tensor",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "value_and_grad",
    "vjp",
    "zeros",
    "zeros_like",
]
__all__ += ops.__all__


def __getattr__(name: str) -> Any:
    """``minigrad.viz``, ``.nn``, ``.optim``, ``.testing``, and saving and loading weights: imported when first asked for."""
    if name in ("viz", "nn", "optim", "testing", "fft", "array_api"):
        return import_module(f"minigrad.{name}")
    if name == "from_dlpack":
        return import_module("minigrad.array_api").from_dlpack
    if name == "bfloat16":
        return import_module("minigrad.halves").bfloat16()
    if name in ("load", "load_metadata", "save"):
        return getattr(import_module("minigrad.saving"), name)
    raise AttributeError(f"module 'minigrad' has no attribute {name!r}")
