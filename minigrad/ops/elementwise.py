"""Elementwise operations: one row each. Read a row as: what is computed, and what each operand's gradient receives.

``g`` is the upstream gradient, ``y`` the output, ``a`` and ``b`` the operands. The gate patterns are those of notes 001,
"Backpropagation"; kinks and ties follow PyTorch. Where a rule could be written with a Python number (``1 - y * y``) but is not,
that is for speed: NumPy takes 0.54 us for array-with-number, 0.27 us for array-with-array.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend, bits
from minigrad.graph import passes
from minigrad.ops import special
from minigrad.primitive import Operation, primitive

LN2, LN10, TWO_OVER_SQRT_PI = math.log(2.0), math.log(10.0), 2.0 / math.sqrt(math.pi)


def _where(condition: Any, x: Any, y: Any) -> Any:
    """``x`` where ``condition`` holds, else ``y``; the three broadcast together.

    Gate: gradient router. The branch that was not taken contributes nothing at all, so ``where(x > 0, sqrt(x), 0)`` has
    gradient 0 at ``x = 0``, not the ``0 * inf = nan`` that multiplying by a mask would give.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([0.0, 4.0], requires_grad=True)
        >>> mg.where(x > 0, mg.sqrt(x), 0.0).sum().backward()
        >>> x.grad.numpy().tolist()
        [0.0, 0.25]
    """
    out = bits.where(condition, x, y)
    if out.dtype == np.float64 and not hasattr(x, "dtype") and not hasattr(y, "dtype"):
        return out.astype(backend.get_default_dtype())
    return out


where: Operation = primitive(
    _where,
    None,
    lambda g, y, c, a, b: where(c, g, 0),
    lambda g, y, c, a, b: where(c, 0, g),
    needs="a",
    gate="gradient router",
    math="a where c, else b",
    elementwise=True,
    mask=lambda i, c, a, b: np.not_equal(c, 0) if i == 1 else np.equal(c, 0),
)


def _zero(g: Any, y: Any, a: Any) -> Any:
    """The gradient of a step function: zero wherever it exists."""
    return where(False, g, 0)


_FLAT: dict[str, Any] = {"needs": "", "gate": "stops the gradient (piecewise constant)", "kink": "0 at the steps too"}

# Arithmetic
add = primitive(
    np.add, passes, passes, needs="", gate="gradient distributor", math="a + b"
)  # fmt: skip
subtract = primitive(
    np.subtract, passes, lambda g, y, a, b: -g, needs="", gate="gradient distributor, second input negated",
    math="a - b",
)  # fmt: skip
multiply = primitive(
    np.multiply, lambda g, y, a, b: g * b, lambda g, y, a, b: g * a, needs=("b", "a"), gate="swap multiplier", math="a * b"
)  # fmt: skip
divide = primitive(
    np.divide, lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b, needs=("b", "yb"),
    gate="swap multiplier with the reciprocal", math="a / b",
)  # fmt: skip
negative = primitive(np.negative, lambda g, y, a: -g, needs="", gate="negates the gradient", math="-a")
positive = primitive(np.positive, passes, needs="", gate="passes the gradient on", math="+a")
square = primitive(np.square, lambda g, y, a: g * (a + a), needs="a", gate="multiplies by 2a", math="a**2")
cbrt = primitive(
    np.cbrt, lambda g, y, a: g / (3 * y * y), needs="y", gate="divides by three times its squared output", math="a**(1/3)",
    kink="at 0: inf", name="cbrt",
)  # fmt: skip
sqrt = primitive(
    np.sqrt, lambda g, y, a: g / (y + y), needs="y", gate="divides by 2 sqrt(a)", math="sqrt(a)", kink="at 0: inf, as PyTorch"
)
reciprocal = primitive(np.reciprocal, lambda g, y, a: -g * y * y, needs="y", gate="multiplies by -1/a**2", math="1 / a")


def _one_less(b: Any) -> Any:
    """``b - 1``, and anything finite where b = 0, for there ``b * a**(b - 1)`` is 0 whatever a is."""
    if isinstance(b, (int, float)):
        return b - 1 if b else 1
    return where(b == 0, 1, b - 1)


def _log_of_base(a: Any) -> Any:
    """``log(a)``, and 0 where a = 0; of a Python number as one, whose dtype is nobody's."""
    if isinstance(a, (int, float)):
        return math.log(a or 1) if a >= 0 else math.nan
    return log(where(a == 0, 1, a))


def _power(a: Any, b: Any) -> Any:
    """``a ** b``; by the operator, which NumPy turns into a square, root or reciprocal where it can: 3 us instead of 11 on 32,768.

    Not by that of NumPy's scalars: its last bit is another one in a tenth of all cases.
    """
    if is_whole_power(a, b):
        return whole_power(a, b)
    return a**b if hasattr(a, "shape") and not isinstance(a, np.generic) else np.power(a, b)


def is_whole_power(a: Any, b: Any) -> bool:
    """Whether ``b`` is a whole number that NumPy's operator ``**`` knows nothing better for than its ``power``."""
    whole = type(b) is int or (type(b) is float and b.is_integer())
    return whole and not -1 <= b <= 2 and type(a) is np.ndarray and a.dtype.kind == "f"


def whole_power(a: Any, n: float, out: Any = None) -> Any:
    """``a**n`` of floats of either sign. NumPy's power takes 36 times as long where some are negative: (1024, 1024)."""
    if n == 3:
        return np.multiply(a * a, a, out=out)
    size = np.power(np.abs(a), n, out=out if n % 2 == 0 else None)
    return np.copysign(size, a, out=out) if n % 2 else size


power = primitive(
    _power,
    lambda g, y, a, b: g * (b * a ** _one_less(b)),
    lambda g, y, a, b: g * y * _log_of_base(a),
    needs=("ab", "ya"),
    rule=("g * b * a**(b - 1)", "g * y * log(a)"),
    gate="power rule",
    math="a**b",
    name="power",
    elementwise=True,
    kink="at a = 0 the exponent's gradient is 0; at b = 0 the base's gradient is 0",
)
remainder = primitive(
    np.remainder, passes, lambda g, y, a, b: -g * floor(a / b), needs=("", "ab"),
    gate="passes the gradient on; scales the divisor's by -floor(a/b)", math="a - b*floor(a/b)", kink="jumps where b divides a",
)  # fmt: skip
fmod = primitive(
    np.fmod, passes, lambda g, y, a, b: -g * trunc(a / b), needs=("", "ab"),
    gate="passes the gradient on; scales the divisor's by -trunc(a/b)", math="a - b*trunc(a/b)", kink="jumps where b divides a",
)  # fmt: skip
floor_divide = primitive(
    np.floor_divide, lambda g, y, a, b: where(False, g, 0), lambda g, y, a, b: where(False, g, 0), math="floor(a / b)", **_FLAT
)

# Exponentials and logarithms
exp = primitive(np.exp, lambda g, y, a: g * y, needs="y", gate="multiplies by its output", math="exp(a)")
exp2 = primitive(np.exp2, lambda g, y, a: g * y * LN2, needs="y", gate="multiplies by ln 2 times its output", math="2**a")
expm1 = primitive(np.expm1, lambda g, y, a: g * exp(a), needs="a", gate="multiplies by exp", math="exp(a) - 1")
log: Operation = primitive(np.log, lambda g, y, a: g / a, needs="a", gate="divides by its input", math="log(a)")
log2 = primitive(np.log2, lambda g, y, a: g / (a * LN2), needs="a", gate="divides by its input times ln 2", math="log2(a)")
log10 = primitive(np.log10, lambda g, y, a: g / (a * LN10), needs="a", gate="divides by its input times ln 10", math="log10(a)")
log1p = primitive(np.log1p, lambda g, y, a: g / (a + 1), needs="a", gate="divides by its input + 1", math="log(1 + a)")
logaddexp = primitive(
    np.logaddexp, lambda g, y, a, b: g * exp(a - y), lambda g, y, a, b: g * exp(b - y), needs=("ya", "yb"),
    gate="softmax-weighted distributor", math="log(exp(a) + exp(b))",
)  # fmt: skip
logaddexp2 = primitive(
    np.logaddexp2, lambda g, y, a, b: g * exp2(a - y), lambda g, y, a, b: g * exp2(b - y), needs=("ya", "yb"),
    gate="softmax-weighted distributor, base 2", math="log2(2**a + 2**b)",
)  # fmt: skip

# Trigonometric and hyperbolic
sin = primitive(np.sin, lambda g, y, a: g * cos(a), needs="a", gate="multiplies by cos", math="sin(a)")
cos: Operation = primitive(np.cos, lambda g, y, a: -g * sin(a), needs="a", gate="multiplies by -sin", math="cos(a)")
tan = primitive(np.tan, lambda g, y, a: g + g * y * y, needs="y", gate="multiplies by 1 + tan**2", math="tan(a)")
asin = primitive(
    np.arcsin, lambda g, y, a: g / sqrt(1 - a * a), needs="a", gate="divides by sqrt(1 - a**2)", math="arcsin(a)", name="asin"
)
acos = primitive(
    np.arccos, lambda g, y, a: -g / sqrt(1 - a * a), needs="a", gate="divides by -sqrt(1 - a**2)", math="arccos(a)", name="acos"
)
atan = primitive(
    np.arctan, lambda g, y, a: g / (a * a + 1), needs="a", gate="divides by 1 + a**2", math="arctan(a)", name="atan"
)
sinh = primitive(np.sinh, lambda g, y, a: g * cosh(a), needs="a", gate="multiplies by cosh", math="sinh(a)")
cosh: Operation = primitive(np.cosh, lambda g, y, a: g * sinh(a), needs="a", gate="multiplies by sinh", math="cosh(a)")
tanh = primitive(
    np.tanh, lambda g, y, a: g - g * y * y, needs="y", gate="multiplies by 1 - tanh**2, at most 1", math="tanh(a)"
)  # fmt: skip
asinh = primitive(
    np.arcsinh,
    lambda g, y, a: g / sqrt(a * a + 1),
    needs="a",
    gate="divides by sqrt(a**2 + 1)",
    math="arcsinh(a)",
    name="asinh",
)
acosh = primitive(
    np.arccosh,
    lambda g, y, a: g / sqrt(a * a - 1),
    needs="a",
    gate="divides by sqrt(a**2 - 1)",
    math="arccosh(a)",
    name="acosh",
)
atanh = primitive(
    np.arctanh, lambda g, y, a: g / (1 - a * a), needs="a", gate="divides by 1 - a**2", math="arctanh(a)", name="atanh"
)
atan2 = primitive(
    np.arctan2,
    lambda g, y, a, b: g * b / _not_zero(a * a + b * b),
    lambda g, y, a, b: -g * a / _not_zero(a * a + b * b),
    needs="ab",
    rule=("g * b / (a**2 + b**2)", "-g * a / (a**2 + b**2)"),
    gate="swap multiplier, divided by the squared radius",
    math="arctan2(a, b)",
    kink="0 at the origin",
    name="atan2",
)
hypot = primitive(
    np.hypot, lambda g, y, a, b: g * a / _not_zero(y), lambda g, y, a, b: g * b / _not_zero(y), needs=("ya", "yb"),
    rule=("g * a / y", "g * b / y"), gate="multiplies by the direction", math="sqrt(a**2 + b**2)", kink="0 at the origin",
)  # fmt: skip


def _sinc_slope(a: Any) -> Any:
    """``(cos(pi a) - sinc(a)) / a``; within 0.5 of 0, where that cancels, its Taylor series, 2e-17 from the whole one."""
    near = abs(a) < 0.5  # mutate: equivalent [constant] because both forms hold to 1e-12 from there to 1
    x = where(near, 1, a)
    u = where(near, a, 0) * math.pi
    u = u * u
    series: Any = 0.0
    for k in range(11, 0, -1):  # the derivative of sum_k (-1)^k (pi a)^2k / (2k+1)!
        series = series * u + (-1) ** k * 2 * k / math.factorial(2 * k + 1)
    return where(near, series * a * math.pi**2, (cos(x * math.pi) - sinc(x)) / x)


sinc: Operation = primitive(
    np.sinc, lambda g, y, a: g * _sinc_slope(a), needs="a", rule=("g * (cos(pi * a) - sinc(a)) / a",),
    gate="multiplies by its slope, 0 at 0", math="sin(pi a) / (pi a)", elementwise=True, name="sinc",
)  # fmt: skip


def _bessel(x: Any, order: int = 0) -> Any:
    """``I_n(x) = mean over t of exp(x cos t) cos(n t)``: the trapezoidal rule on a period converges faster than any power."""
    if order == 0 and np.isrealobj(x):
        return np.i0(x).astype(np.result_type(x.dtype, 0.0), copy=False)
    t = backend.namespace(x).arange(512) * (math.pi / 256)
    y = (np.exp(x[..., None] * np.cos(t)) * np.cos(order * t)).sum(-1) / 512
    return y.astype(np.result_type(x.dtype, 0.0), copy=False)


bessel: Operation = primitive(
    _bessel, lambda g, y, a, n: g * (bessel(a, abs(n - 1)) + bessel(a, n + 1)) * 0.5, needs="a",
    rule=("g * (I_(n-1)(a) + I_(n+1)(a)) / 2",), gate="multiplies by the mean of the neighbouring orders", math="I_n(a)",
    name="bessel",
)  # fmt: skip


def _not_zero(x: Any) -> Any:
    """``x``, and 1 where it is 0: the numerators are 0 there too."""
    return where(x == 0, 1, x)


# Choosing and stepping
_TIE = "a tie shares the gradient equally, as PyTorch's maximum"
maximum = primitive(
    np.maximum,
    lambda g, y, a, b: where(a < b, 0, where(a == b, g * 0.5, g)),
    lambda g, y, a, b: where(b < a, 0, where(a == b, g * 0.5, g)),
    needs="ab",
    gate="gradient router",
    math="max(a, b)",
    kink=_TIE,
)
minimum = primitive(
    np.minimum,
    lambda g, y, a, b: where(b < a, 0, where(a == b, g * 0.5, g)),
    lambda g, y, a, b: where(a < b, 0, where(a == b, g * 0.5, g)),
    needs="ab",
    gate="gradient router",
    math="min(a, b)",
    kink=_TIE.replace("maximum", "minimum"),
)


def _clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """``min(max(x, lower), upper)``; a bound that is None is left out.

    Gate: gradient router. Kink: at a bound the gradient goes to ``x``, as in PyTorch's ``clamp``.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([-3.0, 0.5, 3.0], requires_grad=True)
        >>> mg.clip(x, -1.0, 1.0).sum().backward()
        >>> x.grad.numpy().tolist()
        [0.0, 1.0, 0.0]
    """
    x = x if min is None else np.maximum(x, min)
    return +x if max is None else np.minimum(x, max)


def _below(a: Any, bound: Any) -> Any:
    return False if bound is None else a < bound


def _above(a: Any, bound: Any) -> Any:
    return False if bound is None else a > bound


clip = primitive(
    _clip,
    lambda g, y, a, lo, hi: where(_below(a, lo), 0, where(_above(a, hi), 0, g)),
    lambda g, y, a, lo, hi: where(a < lo, where(_above(lo, hi), 0, g), 0),
    lambda g, y, a, lo, hi: where(_above(a if lo is None else maximum(a, lo), hi), g, 0),
    needs="abc",
    rule=("g where lower <= a <= upper; else 0", "g where a < lower; else 0", "g where a > upper; else 0"),
    gate="gradient router",
    math="min(max(a, lower), upper)",
    kink="at a bound the gradient goes to a, as PyTorch's clamp",
    elementwise=True,
)
abs: Operation = primitive(
    np.abs, lambda g, y, a: g * sign(a), needs="a", gate="multiplies by the sign", math="|a|", kink="0 at 0", name="abs"
)  # fmt: skip
sign: Operation = primitive(np.sign, _zero, math="sign(a)", **_FLAT)
floor: Operation = primitive(np.floor, _zero, math="floor(a)", **_FLAT)
ceil = primitive(np.ceil, _zero, math="ceil(a)", **_FLAT)
trunc: Operation = primitive(np.trunc, _zero, math="trunc(a)", **_FLAT)
round = primitive(np.rint, _zero, math="round(a), halves to even", name="round", **_FLAT)

# Activations that are primitives because a stable form needs care; the rest are compositions (minigrad.nn.functional).
relu = primitive(
    special.relu, lambda g, y, a: where(y > 0, g, 0), needs="y", gate="gradient router", math="max(a, 0)", kink="0 at 0",
    elementwise=True,
)  # fmt: skip
sigmoid = primitive(
    special.sigmoid, lambda g, y, a: g * (y - y * y), needs="y", gate="multiplies by s(1 - s), at most 0.25",
    math="1 / (1 + exp(-a))", elementwise=True,
)  # fmt: skip
softplus = primitive(
    special.softplus, lambda g, y, a: g * sigmoid(a), needs="a", gate="multiplies by the sigmoid", math="log(1 + exp(a))",
    elementwise=True,
)  # fmt: skip
erf = primitive(
    special.erf, lambda g, y, a: g * exp(-a * a) * TWO_OVER_SQRT_PI, needs="a", rule=("g * 2 / sqrt(pi) * exp(-a**2)",), gate="multiplies by the Gaussian bell",
    math="erf(a)", elementwise=True,
)  # fmt: skip

# Comparisons and logic: no gradient
equal = primitive(np.equal, None, None, math="a == b")
not_equal = primitive(np.not_equal, None, None, math="a != b")
less = primitive(np.less, None, None, math="a < b")
less_equal = primitive(np.less_equal, None, None, math="a <= b")
greater = primitive(np.greater, None, None, math="a > b")
greater_equal = primitive(np.greater_equal, None, None, math="a >= b")
logical_and = primitive(np.logical_and, None, None, math="a and b")
logical_or = primitive(np.logical_or, None, None, math="a or b")
logical_xor = primitive(np.logical_xor, None, None, math="a xor b")
logical_not = primitive(np.logical_not, None, math="not a")
bitwise_and = primitive(np.bitwise_and, None, None, math="a & b")
bitwise_or = primitive(np.bitwise_or, None, None, math="a | b")
bitwise_xor = primitive(np.bitwise_xor, None, None, math="a ^ b")
bitwise_invert = primitive(np.invert, None, math="~a", name="bitwise_invert")
isnan = primitive(np.isnan, None, math="a is nan")
isinf = primitive(np.isinf, None, math="a is inf or -inf")
isfinite = primitive(np.isfinite, None, math="a is finite")
