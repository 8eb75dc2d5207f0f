"""Domains of minigrad/ops/elementwise.py. Shapes are drawn by Hypothesis; a case here is one that it would not draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.domains.base import Case, Domain, Operand

Make = Callable[[np.random.Generator, tuple[int, ...]], Any]


def between(low: int, high: int, margin: float = 0.3) -> Make:
    """Numbers in [low, high] that stay ``margin`` away from every integer, and from every half where it is below 0.5."""
    return lambda rng, shape: np.asarray(rng.integers(low, high, shape) + rng.uniform(margin, 1 - margin, shape))


def off_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.asarray(rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape))


def off_halves(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.asarray(rng.integers(-3, 3, shape) + rng.uniform(-0.3, 0.3, shape))


def few(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Floats of which many are equal, or zero."""
    return np.asarray(rng.integers(-1, 2, shape), float)


def special(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.asarray(rng.choice([0.0, 1.5, np.nan, np.inf, -np.inf], shape))


def integers(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.asarray(rng.integers(-5, 6, shape))


def truth(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.asarray(rng.integers(0, 2, shape), bool)


def stepped(*operands: Operand) -> Domain:
    """Piecewise constant: the complex step does not run there."""
    return Domain(operands, analytic=False)


ANY, POSITIVE, OFF_ZERO, UNIT = Operand(), Operand(0.3, 2.5), Operand(make=off_zero), Operand(-0.9, 0.9)
FEW, INTEGER = Operand(make=few, differentiable=False), Operand(make=integers, differentiable=False)
TRUTH = Operand(make=truth, differentiable=False)
# a / b stays 0.1 away from integers: a does by 0.3, and b is nearly 1.
DIVIDEND, DIVISOR = Operand(make=between(-3, 3)), Operand(1.0, 1.05)

DOMAINS: dict[str, Domain] = {
    "where": Domain((TRUTH, ANY, ANY)),
    "add": Domain((ANY, ANY)),
    "subtract": Domain((ANY, ANY)),
    "multiply": Domain((ANY, ANY)),
    "divide": Domain((ANY, OFF_ZERO)),
    "negative": Domain((ANY,)),
    "positive": Domain((ANY,)),
    "square": Domain((ANY,)),
    "sqrt": Domain((POSITIVE,)),
    # NumPy has no complex cbrt, fmod and logaddexp2.
    "cbrt": Domain((OFF_ZERO,), analytic=False),
    "fmod": Domain((DIVIDEND, DIVISOR), analytic=False),
    "logaddexp2": Domain((ANY, ANY), analytic=False),
    "sinc": Domain((ANY,), (Case(((0,),)), Case(((2, 3),)))),
    "bessel": Domain((ANY,), (Case(((2, 3),)), Case(((4,),), {"order": 2}), Case(((),), {"order": 1}))),
    "reciprocal": Domain((OFF_ZERO,)),
    "power": Domain((POSITIVE, ANY)),
    "remainder": Domain((DIVIDEND, DIVISOR), analytic=False),
    "floor_divide": stepped(DIVIDEND, DIVISOR),
    "exp": Domain((ANY,)),
    "exp2": Domain((ANY,)),
    "expm1": Domain((ANY,)),
    "log": Domain((POSITIVE,)),
    "log2": Domain((POSITIVE,)),
    "log10": Domain((POSITIVE,)),
    "log1p": Domain((Operand(-0.7, 2.0),)),
    # NumPy has no complex logaddexp.
    "logaddexp": Domain((ANY, ANY), analytic=False),
    "sin": Domain((ANY,)),
    "cos": Domain((ANY,)),
    "tan": Domain((Operand(-1.2, 1.2),)),
    "asin": Domain((UNIT,)),
    "acos": Domain((UNIT,)),
    "atan": Domain((ANY,)),
    "sinh": Domain((ANY,)),
    "cosh": Domain((ANY,)),
    "tanh": Domain((ANY,)),
    "asinh": Domain((ANY,)),
    "acosh": Domain((Operand(1.2, 3.0),)),
    "atanh": Domain((UNIT,)),
    # Nor complex arctan2 and hypot.
    "atan2": Domain((POSITIVE, OFF_ZERO), analytic=False),
    "hypot": Domain((OFF_ZERO, ANY), analytic=False),
    "maximum": Domain((ANY, ANY)),
    "minimum": Domain((ANY, ANY)),
    "clip": Domain(
        # The bounds cross now and then: the upper one counts.
        (ANY, Operand(-1.5, 0.5), Operand(-0.5, 1.5)),
        (
            Case(((2, 3), None, ())),
            Case(((2, 3), (3,), None)),
            Case(((4,), None, None)),
        ),
    ),
    # The modulus of a complex number is not analytic.
    "abs": Domain((OFF_ZERO,), analytic=False),
    "sign": stepped(OFF_ZERO),
    "floor": stepped(Operand(make=between(-3, 3))),
    "ceil": stepped(Operand(make=between(-3, 3))),
    "trunc": stepped(Operand(make=between(-3, 3))),
    "round": stepped(Operand(make=off_halves)),
    "relu": Domain((OFF_ZERO,)),
    "sigmoid": Domain((Operand(-6.0, 6.0),)),
    "softplus": Domain((Operand(-6.0, 6.0),)),
    "erf": Domain((Operand(-3.0, 3.0),)),
    **{
        name: Domain((FEW, FEW))
        for name in (
            "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_xor",
        )
    },
    "logical_not": Domain((FEW,)),
    **{name: Domain((INTEGER, INTEGER)) for name in ("bitwise_and", "bitwise_or", "bitwise_xor")},
    "bitwise_invert": Domain((INTEGER,)),
    **{name: Domain((Operand(make=special, differentiable=False),)) for name in ("isnan", "isinf", "isfinite")},
}  # fmt: skip
