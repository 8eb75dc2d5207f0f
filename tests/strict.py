"""A double of CuPy's array on machines without a GPU: an ndarray in a wrapper that accepts only what CuPy would.

It refuses implicit conversion to NumPy, operands that are NumPy arrays, functions that the installed CuPy does not have under the
same name and with the same arguments, methods that ``cupy.ndarray`` does not have, and attributes of ``flags`` that CuPy's lacks.
What it accepts NumPy computes, so results can be compared bit for bit.
"""

from __future__ import annotations

import functools
import inspect
import operator
import warnings
from typing import Any

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # CuPy warns that it finds no CUDA toolkit
    import cupy

METHODS = {"reduce": {"add", "multiply"}, "accumulate": {"add", "multiply"}, "reduceat": {"add"}}
METHODS["at"] = {"add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"}
"""The ufunc methods that CuPy implements (cupy/_core/_kernel.pyx)."""
NUMBERS = (int, float, complex, bool, np.generic)


class NotInCuPyError(TypeError):
    """Something that would fail on CuPy's arrays."""


class Flags:
    def __init__(self, array: np.ndarray) -> None:
        self.c_contiguous, self.f_contiguous = array.flags.c_contiguous, array.flags.f_contiguous
        self.owndata = array.flags.owndata


class Device:
    id = 0


class Ufunc:
    """A ufunc of CuPy, which takes CuPy's arrays and has the methods that CuPy implements."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return call(self._ufunc.__name__, getattr(cupy, self._ufunc.__name__), self._ufunc, args, kwargs)

    def __getattr__(self, method: str) -> Any:
        if self._ufunc.__name__ not in METHODS.get(method, ()):
            raise NotInCuPyError(f"cupy.{self._ufunc.__name__}.{method} is not supported")
        return getattr(self._ufunc, method)


class Namespace:
    """Creation functions of CuPy that give wrapped arrays."""

    def __getattr__(self, name: str) -> Any:
        if not hasattr(cupy, name):
            raise NotInCuPyError(f"cupy.{name} does not exist")
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function
        if isinstance(function, np.ufunc):
            return Ufunc(function)
        if name in ("array", "asarray"):  # the explicit way from the host
            return lambda value, *args, **kwargs: Strict(function(getattr(value, "_array", value), *args, **kwargs))
        return lambda *args, **kwargs: call(name, getattr(cupy, name), function, args, kwargs)


def wrap(value: Any) -> Any:
    """Results as CuPy gives them: arrays, 0-d ones too, never NumPy scalars."""
    if isinstance(value, (np.ndarray, np.generic)):
        return Strict(value)
    if isinstance(value, (tuple, list)) and any(isinstance(v, (np.ndarray, np.generic)) for v in value):
        return type(value)(*map(wrap, value)) if hasattr(value, "_fields") else type(value)(map(wrap, value))
    return value


def bare(value: Any, where: str) -> Any:
    """The arguments for NumPy, which contain no NumPy array where CuPy takes none."""
    if isinstance(value, Strict):
        return value._array
    if isinstance(value, np.ndarray):
        raise NotInCuPyError(f"{where}: a NumPy array of shape {value.shape} among CuPy's: CuPy converts nothing implicitly")
    if isinstance(value, (tuple, list)):
        return type(value)(bare(v, where) for v in value)
    return value


def call(name: str, theirs: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's function in place of CuPy's, with arguments that CuPy's takes."""
    if not isinstance(theirs, cupy.ufunc):
        try:
            signature = inspect.signature(theirs)
        except (TypeError, ValueError):  # compiled functions do not tell
            signature = None
        if signature is not None:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise NotInCuPyError(f"cupy.{name}{signature}: {error}") from None
    elif set(kwargs) - {"out", "dtype", "casting"}:
        raise NotInCuPyError(f"cupy.{name} takes no {', '.join(kwargs)}")
    return wrap(function(*(bare(a, name) for a in args), **{k: bare(v, name) for k, v in kwargs.items()}))


def key(index: Any) -> Any:
    """CuPy takes slices, integers, lists, and arrays of either library as indices."""
    if isinstance(index, tuple):
        return tuple(map(key, index))
    return index._array if isinstance(index, Strict) else index


class Strict:
    """The double."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Any, base: Strict | None = None) -> None:
        self._array = np.asarray(array)

    @property
    def base(self) -> Any:
        return None if self._array.base is None else Strict(self._array.base)

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    nbytes = property(lambda self: self._array.nbytes)
    strides = property(lambda self: self._array.strides)
    flags = property(lambda self: Flags(self._array))
    device = Device()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise NotInCuPyError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_namespace__(self, api_version: str | None = None) -> Namespace:
        return Namespace()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        if not hasattr(cupy, name):
            raise NotInCuPyError(f"cupy.{name} does not exist")
        if method in METHODS and name not in METHODS[method]:
            raise NotInCuPyError(f"cupy.{name}.{method} is not supported")
        if "out" in kwargs and len(kwargs["out"]) == 1:
            out = kwargs["out"][0]
            call(name, getattr(cupy, name), getattr(ufunc, method), inputs, {**kwargs, "out": out})
            return out
        theirs = getattr(cupy, name) if method == "__call__" else None
        if theirs is None and set(kwargs) - {"axis", "dtype", "keepdims"}:
            raise NotInCuPyError(f"cupy.{name}.{method} takes no {', '.join(kwargs)}")
        return call(f"{name}.{method}", theirs or (lambda *a, **k: None), getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        try:
            module = functools.reduce(getattr, func.__module__.split(".")[1:], cupy)
            theirs = getattr(module, func.__name__)
        except AttributeError:
            raise NotInCuPyError(f"{func.__module__.replace('numpy', 'cupy')}.{func.__name__} does not exist") from None
        return call(func.__name__, theirs, func, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(cupy.ndarray, name):
            raise AttributeError(f"cupy.ndarray has no attribute {name!r}")
        found = getattr(self._array, name)
        if not callable(found):
            return wrap(found)
        if name in ("item", "tolist", "tobytes"):
            return found
        return lambda *args, **kwargs: call(name, lambda *a, **k: None, found, self._method(name, args, kwargs), kwargs)

    @staticmethod
    def _method(name: str, args: Any, kwargs: Any) -> Any:
        if refused := set(kwargs) & {"where", "initial", "casting", "subok", "like", "device"}:
            raise NotInCuPyError(f"cupy.ndarray.{name} takes no {', '.join(refused)}")
        return args

    @property
    def T(self) -> Strict:
        return Strict(self._array.T)

    @property
    def flat(self) -> Any:
        return Strict(self._array.ravel())

    def get(self) -> np.ndarray:
        return self._array.copy()

    def __getitem__(self, index: Any) -> Strict:
        return Strict(self._array[key(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._array[key(index)] = bare(value, "__setitem__")

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Any:
        return map(Strict, self._array)

    def __bool__(self) -> bool:
        return bool(self._array)

    def __int__(self) -> int:
        return int(self._array)

    def __float__(self) -> float:
        return float(self._array)

    def __repr__(self) -> str:
        return f"Strict({self._array!r})"


def _binary(name: str) -> None:
    function = getattr(operator, name if name not in ("and", "or") else name + "_")

    def forward(self: Strict, other: Any) -> Any:
        if not isinstance(other, (Strict, *NUMBERS)):
            if isinstance(other, np.ndarray):
                bare(other, name)
            return NotImplemented
        return wrap(function(self._array, bare(other, name)))

    def reflected(self: Strict, other: Any) -> Any:
        if not isinstance(other, NUMBERS):
            if isinstance(other, np.ndarray):
                bare(other, name)
            return NotImplemented
        return wrap(function(other, self._array))

    setattr(Strict, f"__{name}__", forward)
    setattr(Strict, f"__r{name}__", reflected)
    if name not in ("matmul", "lt", "le", "gt", "ge", "eq", "ne"):

        def in_place(self: Strict, other: Any) -> Strict:
            target = self._array
            target[...] = getattr(operator, f"i{name}")(target, bare(other, name))
            return self

        setattr(Strict, f"__i{name}__", in_place)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    _binary(_name)
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _binary(_name)
for _name in ("neg", "pos", "abs", "invert"):
    setattr(Strict, f"__{_name}__", functools.partialmethod(lambda self, f: Strict(f(self._array)), getattr(operator, _name)))
