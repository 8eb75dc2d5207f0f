"""Tensors from nothing, under the array API's names."""

from __future__ import annotations

from typing import Any

from minigrad import backend, ops
from minigrad.errors import DtypeError, ShapeError
from minigrad.tensor import Tensor, _new_leaf


def _make(function: str, *args: Any, dtype: Any, device: str | None, requires_grad: bool) -> Tensor:
    if isinstance(dtype, int):
        raise DtypeError(f"{function}: {dtype} is not a dtype; a shape of several axes is one tuple: ({args[0][0]}, {dtype})")
    array = getattr(backend.library(device), function)(*args, dtype=dtype or backend.get_default_dtype())
    return _new_leaf(backend.to_device(array, device) if device else array, requires_grad, None, shared=False)


def zeros(shape: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the given shape, in the default dtype unless another is asked for.

    Example:
        >>> import minigrad as mg
        >>> mg.zeros((1, 2))
        tensor([[0., 0.]])
    """
    return _make("zeros", _shape(shape), dtype=dtype, device=device, requires_grad=requires_grad)


def ones(shape: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Ones of the given shape, in the default dtype unless another is asked for.

    Example:
        >>> import minigrad as mg
        >>> mg.ones(2)
        tensor([1., 1.])
    """
    return _make("ones", _shape(shape), dtype=dtype, device=device, requires_grad=requires_grad)


def empty(shape: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the given shape whose elements are whatever the memory held.

    Example:
        >>> import minigrad as mg
        >>> mg.empty((2, 3)).shape
        (2, 3)
    """
    return _make("empty", _shape(shape), dtype=dtype, device=device, requires_grad=requires_grad)


def full(shape: Any, fill_value: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor filled with one value, whose dtype it takes unless another is asked for.

    Example:
        >>> import minigrad as mg
        >>> mg.full(2, 7.0)
        tensor([7., 7.])
    """
    if isinstance(fill_value, Tensor):
        value = fill_value if dtype is None else ops.astype(fill_value, dtype)
        return ops.broadcast_to(value if device is None else value.to(device), _shape(shape))  # type: ignore[no-any-return]
    dtype = dtype or backend.from_python(fill_value).dtype
    return _make("full", _shape(shape), fill_value, dtype=dtype, device=device, requires_grad=requires_grad)


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: Any = None, device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Evenly spaced numbers from ``start`` (0 if left out) up to but not including ``stop``; integers if all are integers.

    Example:
        >>> import minigrad as mg
        >>> mg.arange(4)
        tensor([0, 1, 2, 3])
    """
    if stop is None:
        start, stop = 0, start
    whole = all(isinstance(v, int) for v in (start, stop, step))
    dtype = dtype or ("int64" if whole else backend.get_default_dtype())
    return _make("arange", start, stop, step, dtype=dtype, device=device, requires_grad=requires_grad)


def linspace(
    start: float, stop: float, num: int, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """``num`` numbers from ``start`` to ``stop``, both included.

    Example:
        >>> import minigrad as mg
        >>> mg.linspace(0.0, 1.0, 3)
        tensor([0. , 0.5, 1. ])
    """
    return _make("linspace", start, stop, num, dtype=dtype, device=device, requires_grad=requires_grad)


def eye(
    n: int, m: int | None = None, k: int = 0, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Ones on the ``k``-th diagonal of an ``n`` by ``m`` matrix.

    Example:
        >>> import minigrad as mg
        >>> mg.eye(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return _make("eye", n, m, k, dtype=dtype, device=device, requires_grad=requires_grad)


def zeros_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape, dtype and on the device of ``x``.

    Example:
        >>> import minigrad as mg
        >>> mg.zeros_like(mg.tensor([1.0, 2.0]))
        tensor([0., 0.])
    """
    return zeros(x.shape, dtype or x.dtype, _device(x), requires_grad)


def ones_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape, dtype and on the device of ``x``.

    Example:
        >>> import minigrad as mg
        >>> mg.ones_like(mg.tensor([1.0, 2.0]))
        tensor([1., 1.])
    """
    return ones(x.shape, dtype or x.dtype, _device(x), requires_grad)


def full_like(x: Any, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """``fill_value`` in the shape, dtype and on the device of ``x``.

    Example:
        >>> import minigrad as mg
        >>> mg.full_like(mg.tensor([1.0, 2.0]), 3.0)
        tensor([3., 3.])
    """
    return full(x.shape, fill_value, dtype or x.dtype, _device(x), requires_grad)


def _device(x: Any) -> str:
    return x.device if isinstance(x, Tensor) else backend.device_of(x)


def _shape(shape: Any) -> tuple[int, ...]:
    """A shape as a tuple; a number alone is a shape of one axis."""
    if not (hasattr(shape, "__index__") or hasattr(shape, "__iter__")) or isinstance(shape, str):
        raise ShapeError(f"shape: expected an integer or a tuple of integers, got {shape!r}")
    return (int(shape),) if isinstance(shape, int) or hasattr(shape, "__index__") else tuple(int(n) for n in shape)
