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
from typing import Any

import numpy as _np

from minigrad import linalg, random
from minigrad.backend import device, get_default_dtype, set_default_dtype
from minigrad.creation import arange, empty, eye, full, full_like, linspace, ones, ones_like, zeros, zeros_like
from minigrad.errors import (
    ChangedValueError,
    DeviceError,
    DtypeError,
    FreedGraphError,
    MinigradError,
    NotInGraphError,
    ShapeError,
)
from minigrad.modes import enable_grad, inspect, is_grad_enabled, no_grad
from minigrad.ops import *  # noqa: F403
from minigrad.ops import __all__ as _op_names
from minigrad.ops import (
    abs as absolute,
)
from minigrad.ops import (
    acos as arccos,
)
from minigrad.ops import (
    acosh as arccosh,
)
from minigrad.ops import (
    asin as arcsin,
)
from minigrad.ops import (
    asinh as arcsinh,
)
from minigrad.ops import (
    atan as arctan,
)
from minigrad.ops import (
    atan2 as arctan2,
)
from minigrad.ops import (
    atanh as arctanh,
)
from minigrad.ops import (
    concat as concatenate,
)
from minigrad.ops import (
    cumulative_prod as cumprod,
)
from minigrad.ops import (
    cumulative_sum as cumsum,
)
from minigrad.ops import (
    index_set as set_item,
)
from minigrad.ops import (
    power as pow,
)
from minigrad.primitive import Each, primitive
from minigrad.random import manual_seed
from minigrad.tensor import Tensor, asarray, tensor
from minigrad.transforms import grad, gradients, hessian, hvp, jacobian, jvp, value_and_grad, vjp

__version__ = "0.1.0"

bool = _np.dtype(_np.bool_)
int8, int16, int32, int64 = (_np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (_np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = (_np.dtype(f"float{n}") for n in (16, 32, 64))
complex64, complex128 = (_np.dtype(f"complex{n}") for n in (64, 128))
pi, e, inf, nan, newaxis = _np.pi, _np.e, _np.inf, _np.nan, None
permute, cat = permute_dims, concat  # noqa: F405


def __getattr__(name: str) -> Any:
    """``minigrad.viz``, ``minigrad.nn``, ``minigrad.testing``: imported when first asked for."""
    if name in ("viz", "nn", "testing"):
        return import_module(f"minigrad.{name}")
    raise AttributeError(f"module 'minigrad' has no attribute {name!r}")
