"""Forward functions that NumPy lacks, on real and complex arrays (complex ones for the complex-step check)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.blocks import in_pieces, told


def _magnitude(a: Any) -> Any:
    """``|a|`` on the reals; on complex arrays ``a`` or ``-a``, which, unlike the modulus, is analytic off the axis."""
    return np.abs(a) if np.isrealobj(a) else np.where(a.real < 0, -a, a)


@told
def relu(a: Any, out: Any = None) -> Any:
    """``max(a, 0)``. Gate: gradient router. Kink: the gradient at 0 is 0, as PyTorch.

    Example:
        >>> import minigrad as mg
        >>> mg.relu(mg.tensor([-1.0, 2.0])).numpy().tolist()
        [0.0, 2.0]
    """
    return np.maximum(a, 0, out=out)


@told
def sigmoid(a: Any, out: Any = None) -> Any:
    """The logistic function ``1 / (1 + exp(-a))``, accurate in both tails and never overflowing.

    Its derivative ``s(1 - s)`` is at most 0.25 (notes 001, "Nonlinear Activation Functions").

    Example:
        >>> import minigrad as mg
        >>> mg.sigmoid(mg.tensor(0.0)).item()
        0.5
    """
    if getattr(a, "dtype", None) in _WIDE:
        with np.errstate(over="ignore"):  # exp(-a) is inf only where its reciprocal is below the smallest normal number
            return _logistic(a, out)
    small = np.exp(-_magnitude(a))
    return np.divide(np.where(np.real(a) < 0, small, 1), small + 1, out=out)


_WIDE = (np.dtype(np.float32), np.dtype(np.float64))


def _logistic(a: Any, out: Any = None) -> Any:
    """Four passes in one array, a fifth of the time that both tails apart take at 262,144 elements."""
    y = np.negative(a, np.empty_like(a) if out is None else out)
    np.exp(y, y)
    np.add(y, 1, y)
    return np.reciprocal(y, y)


def softplus(a: Any) -> Any:
    """``log(1 + exp(a))`` without overflow; its derivative is the sigmoid (notes 001, Figure 15).

    Example:
        >>> import minigrad as mg
        >>> round(mg.softplus(mg.tensor(0.0)).item(), 4)
        0.6931
    """
    return np.maximum(a, 0) + np.log1p(np.exp(-_magnitude(a)))


# erf(x) = x P(x**2) for x < 1, and 1 - exp(-x**2) Q(u) from there, where u maps 2 / (2 + x) from [t(6.2), t(1)] to [-1, 1].
# P and Q are Chebyshev fits made for this file with 60 digits (errors 1.3e-19 and 4e-16 before the factor exp(-x**2) <= 0.37);
# against math.erf on 20,000 points the result is within 1.01 units in the last place.
_P = (
    5.957176147748911e-11, -1.1372848856791674e-09, 1.4659775274047436e-08, -1.6350312701054695e-07, 1.6461000484121368e-06,
    -1.4925595266831182e-05, 0.0001205533111164271, -0.000854832698083379, 0.0052239776248180145, -0.026866170645076792,
    0.11283791670954879, -0.3761263890318375, 1.1283791670955126,
)  # fmt: skip
_Q = (
    2.2532541776047934e-11, -9.242892024092525e-11, -2.9578428887476064e-10, 3.128893754693355e-09, -1.1786816372791111e-09,
    -7.970192980007285e-08, 1.9400832948916248e-07, 2.1696798876498523e-06, -8.229261632039505e-06, -8.617676533895064e-05,
    0.00021517494691923372, 0.005825552957108361, 0.039445097375135976, 0.16312126471183838, 0.21906860662095726,
)  # fmt: skip
_T_LOW, _T_HIGH = 2 / 8.2, 2 / 3


def _horner(coefficients: tuple[float, ...], x: Any) -> Any:
    total = coefficients[0]
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def erf(a: Any) -> Any:
    """The error function ``2 / sqrt(pi)`` times the integral of ``exp(-t**2)`` from 0 to ``a``.

    Example:
        >>> import minigrad as mg
        >>> round(mg.erf(mg.tensor(1.0)).item(), 5)
        0.8427
    """
    return (_erf_single if type(a) is np.ndarray and a.dtype == np.float32 else _erf)(a)


# erf(x) = tanh(x U(x**2)): atanh(erf(x)) is odd and smooth, a weighted least-squares fit made for this file describes it, and NumPy's
# tanh is fast. In float32 within 2e-7 of math.erf (relative 3e-7), 0.4 times the time of a rational function of the same accuracy.
_U = (
    1.4186396444186247e-07, -5.668664450986808e-06, 8.763836425607668e-05, -0.000619787047609726, -0.0001918285198290188,
    0.10276905502809829, 1.1283792743607624,
)  # fmt: skip


@in_pieces
def _erf_single(a: Any) -> Any:
    with np.errstate(over="ignore"):  # where a**2 overflows, tanh is 1 long since
        square = np.square(a, out=np.empty_like(a))
        u = np.multiply(square, np.float32(_U[0]), out=np.empty_like(a))
        for coefficient in _U[1:-1]:
            np.add(u, np.float32(coefficient), u)
            np.multiply(u, square, u)
        np.add(u, np.float32(_U[-1]), u)
        np.multiply(u, a, u)
        return np.tanh(u, u)


@in_pieces
def _erf(a: Any) -> Any:
    x = _magnitude(a)
    inside = np.real(x) < 1
    far = np.where(np.real(x) < 6.2, np.where(inside, 1, x), 6.2)
    u = (4 / (far + 2) - (_T_LOW + _T_HIGH)) / (_T_HIGH - _T_LOW)
    near = np.where(inside, x, 1)
    value = np.where(inside, near * _horner(_P, near * near), 1 - np.exp(-far * far) * _horner(_Q, u))
    return np.where(np.real(a) < 0, -value, np.where(np.isnan(a), a, value))
