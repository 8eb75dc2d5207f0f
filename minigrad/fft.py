"""Fourier transforms that differentiate: ``np.fft.*`` of Tensors, and :class:`Complex`, the pair of real Tensors they return.

A gradient of a complex tensor is a matter of convention, and a wrong convention is silent; so there are none. A complex number
is its real and imaginary parts, each an ordinary Tensor, and ``np.abs``, ``np.angle``, ``np.conj``, sums, products and
transforms of the pair are recorded as operations on these.

Example:
    >>> import numpy as np, minigrad as mg
    >>> x = mg.tensor([1.0, 2.0, 4.0, 3.0], requires_grad=True)
    >>> power = np.abs(np.fft.rfft(x)) ** 2
    >>> power[1].backward()
    >>> [round(g, 3) for g in x.grad.tolist()]
    [-6.0, -2.0, 6.0, 2.0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.errors import BadIndexError, DtypeError
from minigrad.graph import Handle
from minigrad.ops.fft import dft, idft, real_dft, real_idft

Axes = Sequence[int] | None


class Complex:
    """A complex array as two real Tensors of one shape, ``real`` and ``imag``.

    Raises:
        DtypeError: from any function of NumPy that has no row here.

    Example:
        >>> import minigrad as mg
        >>> z = mg.fft.Complex(mg.tensor([3.0]), mg.tensor([4.0]))
        >>> abs(z).tolist(), (z * 1j).real.tolist()
        ([5.0], [-4.0])
    """

    __slots__ = ("imag", "real")

    def __init__(self, real: Any, imag: Any) -> None:
        self.real, self.imag = real, imag

    @property
    def shape(self) -> tuple[int, ...]:
        return self.real.shape  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.real.size  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(self.real.dtype, np.complex64)

    @property
    def requires_grad(self) -> bool:
        return any(getattr(part, "requires_grad", False) for part in (self.real, self.imag))

    def detach(self) -> Complex:
        """The same values without history."""
        return Complex(self.real.detach(), self.imag.detach())

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as one complex NumPy array, a copy."""
        return np.asarray(self.real.numpy() + 1j * self.imag.numpy(), self.dtype)

    def conj(self) -> Complex:
        """The conjugate."""
        return Complex(self.real, -self.imag)

    def _each(self, f: Callable[[Any], Any]) -> Complex:
        return Complex(f(self.real), f(self.imag))

    def __getitem__(self, index: Any) -> Complex:
        return self._each(lambda part: part[index])

    def reshape(self, *shape: Any) -> Complex:
        """The same elements in another shape."""
        return self._each(lambda part: part.reshape(*shape))

    def __neg__(self) -> Complex:
        return self._each(ops.negative)

    def __abs__(self) -> Any:
        return ops.hypot(self.real, self.imag)

    def __add__(self, other: Any) -> Complex:
        re, im = _parts(other)
        return Complex(self.real + re, self.imag + im)

    def __sub__(self, other: Any) -> Complex:
        re, im = _parts(other)
        return Complex(self.real - re, self.imag - im)

    def __mul__(self, other: Any) -> Complex:
        re, im = _parts(other)
        if im is _NONE:
            return Complex(self.real * re, self.imag * re)
        return Complex(self.real * re - self.imag * im, self.real * im + self.imag * re)

    def __truediv__(self, other: Any) -> Complex:
        re, im = _parts(other)
        if im is _NONE:
            return Complex(self.real / re, self.imag / re)
        scaled: Complex = self * Complex(re, -im) / (re * re + im * im)
        return scaled

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __rtruediv__(self, other: Any) -> Any:
        return Complex(*_parts(other)) / self

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, power: int) -> Complex:
        if not isinstance(power, int) or power < 1:
            raise DtypeError(f"Complex ** {power!r}: expected a whole number above 0; of the modulus, abs(z) ** p is real")
        return self if power == 1 else self * self ** (power - 1)

    def __len__(self) -> int:
        return len(self.real)

    def __repr__(self) -> str:
        return f"Complex(real={self.real!r}, imag={self.imag!r})"

    def __array__(self, *_: Any, **__: Any) -> Any:
        if self.requires_grad:
            raise DtypeError(
                "a complex pair that requires a gradient would lose its history as a NumPy array: use .detach().numpy()"
            )
        return self.numpy()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        f = _UFUNCS.get(ufunc)
        if f is None or method != "__call__" or kwargs:
            raise DtypeError(_no(f"np.{ufunc.__name__}"))
        return f(*(x if isinstance(x, (Complex, Handle)) else np.asarray(x) for x in inputs))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = f"{function.__module__.replace('numpy', 'np', 1)}.{function.__name__}"
        if function in TRANSFORMS:
            return TRANSFORMS[function](*args, **kwargs)
        if function in _LINEAR:
            first: Any = args[0] if args else None
            several = isinstance(first, (list, tuple))
            re, im = ([_parts(z)[k] for z in first] if several else _parts(first)[k] for k in (0, 1))
            return Complex(function(re, *args[1:], **kwargs), function(im, *args[1:], **kwargs))
        if function not in _FUNCTIONS:
            raise DtypeError(_no(name))
        return _FUNCTIONS[function](*args, **kwargs)


def _no(name: str) -> str:
    return (
        f"{name} is not defined on a complex pair that a gradient may pass through: compute with z.real and z.imag, which are Tensors, "
        f"or with abs(z); z.detach().numpy() has the bare values"
    )


_NONE = 0.0


def _parts(z: Any) -> tuple[Any, Any]:
    """Real and imaginary parts; of a real number ``_NONE``, which costs no multiplication."""
    if isinstance(z, Complex):
        return z.real, z.imag
    if isinstance(z, Handle) or not np.iscomplexobj(z):
        return z, _NONE
    return (z.real, z.imag) if isinstance(z, complex) else (np.asarray(z).real, np.asarray(z).imag)


def _angle(z: Any, deg: bool = False) -> Any:
    y = ops.atan2(z.imag, z.real)
    return y * (180 / np.pi) if deg else y


_UFUNCS: dict[Any, Callable[..., Any]] = {
    np.absolute: abs, np.conjugate: Complex.conj, np.negative: Complex.__neg__, np.positive: lambda z: z,
    np.square: lambda z: z * z, np.add: lambda a, b: a + b if isinstance(a, Complex) else b + a,
    np.subtract: lambda a, b: a - b if isinstance(a, Complex) else b.__rsub__(a),
    np.multiply: lambda a, b: a * b if isinstance(a, Complex) else b * a,
    np.divide: lambda a, b: a / b if isinstance(a, Complex) else b.__rtruediv__(a),
}  # fmt: skip
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.real: lambda val: val.real, np.imag: lambda val: val.imag, np.angle: _angle, np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim, np.size: lambda a: a.size, np.iscomplexobj: lambda x: True, np.isrealobj: lambda x: False,
}  # fmt: skip
_LINEAR = {
    np.sum, np.mean, np.cumsum, np.reshape, np.transpose, np.moveaxis, np.swapaxes, np.squeeze, np.expand_dims, np.ravel, np.flip, np.roll,
    np.concatenate, np.stack, np.broadcast_to, np.take, np.diff, np.fft.fftshift, np.fft.ifftshift, np.copy,
}  # fmt: skip


# ---- the transforms ------------------------------------------------------------------------------------------------------


def _pair(z: Any) -> Any:
    """As a real array with a last axis of 2."""
    re, im = _parts(z)
    re = re if hasattr(re, "dtype") else np.asarray(re)
    re = _real(re)
    im = re * 0 if im is _NONE else im
    return ops.stack([re, im], -1)


def _unpair(a: Any) -> Complex:
    return Complex(a[..., 0], a[..., 1])


def _axis(a: Any, axis: int) -> int:
    """``axis`` counted from the front."""
    shape = tuple(a.shape) if hasattr(a, "shape") else np.shape(a)
    if not -len(shape) <= axis < len(shape):
        raise BadIndexError(
            f"fft: axis {axis} does not exist in an array of shape {shape}: expected {-len(shape)} to {len(shape) - 1}"
        )
    return axis % len(shape)


def _single(transform: Callable[..., Any]) -> Callable[..., Any]:
    def f(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Complex:
        axis = _axis(a, axis)
        return _unpair(transform(_pair(a), np.shape(a)[axis] if n is None else n, axis, norm or "backward"))

    return f


fft, ifft = _single(dft), _single(idft)


def _real(x: Any) -> Any:
    """A real operand, as NumPy casts it."""
    if isinstance(x, Complex):
        raise DtypeError("rfft: the input is complex; use fft, or rfft of its real part")
    kind = np.result_type(x.dtype, np.float32) if x.dtype.kind == "f" else np.float64
    return x if x.dtype == kind else ops.astype(x, kind)


def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Complex:
    """The n//2 + 1 frequencies from 0 up of a real signal."""
    axis = _axis(a, axis)
    return _unpair(real_dft(_real(a), a.shape[axis] if n is None else n, axis, norm or "backward"))


def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The real signal of length n, by default 2 (m - 1), whose m frequencies these are."""
    shape = np.shape(a)
    axis = _axis(a, axis)
    return real_idft(_pair(a), 2 * (shape[axis] - 1) if n is None else n, axis, norm or "backward")


def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The transform, real, of a signal with Hermitian symmetry."""
    conjugate = a.conj() if isinstance(a, Complex) else a
    return irfft(conjugate, n, axis, _SWAP[norm or "backward"])


def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Complex:
    """The inverse of :func:`hfft`."""
    return rfft(a, n, axis, _SWAP[norm or "backward"]).conj()


_SWAP = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _plan(a: Any, s: Any, axes: Axes) -> tuple[list[int | None], list[int]]:
    places = list(range(-len(s), 0)) if axes is None and s is not None else list(range(a.ndim)) if axes is None else list(axes)
    sizes: list[int | None] = [None] * len(places) if s is None else [None if n == -1 else n for n in s]
    if len(sizes) != len(places):
        raise ValueError(f"fft: s={s} and axes={axes} name different numbers of axes")
    return sizes, places


def _several(one: Callable[..., Any], default: Axes) -> Callable[..., Any]:
    def f(a: Any, s: Any = None, axes: Axes = default, norm: str | None = None) -> Any:
        sizes, places = _plan(a, s, axes)
        for n, axis in zip(reversed(sizes), reversed(places)):
            a = one(a, n, axis, norm)
        return a

    return f


def _several_real(default: Axes) -> Callable[..., Any]:
    def f(a: Any, s: Any = None, axes: Axes = default, norm: str | None = None) -> Any:
        sizes, places = _plan(a, s, axes)
        z = rfft(a, sizes[-1], places[-1], norm)
        for n, axis in zip(sizes[-2::-1], places[-2::-1]):
            z = fft(z, n, axis, norm)
        return z

    return f


def _several_to_real(default: Axes) -> Callable[..., Any]:
    def f(a: Any, s: Any = None, axes: Axes = default, norm: str | None = None) -> Any:
        sizes, places = _plan(a, s, axes)
        for n, axis in zip(sizes[:-1], places[:-1]):
            a = ifft(a, n, axis, norm)
        return irfft(a, sizes[-1], places[-1], norm)

    return f


TRANSFORMS: dict[Any, Callable[..., Any]] = {
    np.fft.fft: fft, np.fft.ifft: ifft, np.fft.rfft: rfft, np.fft.irfft: irfft, np.fft.hfft: hfft, np.fft.ihfft: ihfft,
    np.fft.fft2: _several(fft, (-2, -1)), np.fft.ifft2: _several(ifft, (-2, -1)), np.fft.fftn: _several(fft, None),
    np.fft.ifftn: _several(ifft, None), np.fft.rfft2: _several_real((-2, -1)), np.fft.rfftn: _several_real(None),
    np.fft.irfft2: _several_to_real((-2, -1)), np.fft.irfftn: _several_to_real(None),
}  # fmt: skip
"""NumPy's transforms on Tensors and pairs, under NumPy's argument names (``out=`` is not taken)."""
