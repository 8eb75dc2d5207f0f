"""Domains of minigrad/ops/reduce.py. Axes beyond these cases are drawn by Hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.domains.base import Case, Domain, Operand


def with_zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """A third of the elements zero, so that products have none, one or several zeros."""
    return np.asarray(rng.uniform(0.5, 2.0, shape) * rng.integers(0, 3, shape))


def few(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Many equal elements."""
    return np.asarray(rng.integers(-1, 2, shape), float)


def apart(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """No two elements closer than 0.4: ties have a test of their own, and the default order keeps its place."""
    n = int(np.prod(shape))
    return np.asarray(rng.permutation(n) - n / 2 + rng.uniform(-0.3, 0.3, n)).reshape(shape)


def reductions(**more: Any) -> tuple[Case, ...]:
    return (
        Case(((2, 3),), more),
        Case(((2, 3, 2),), {"axis": 1, **more}),
        Case(((2, 3, 2),), {"axis": (0, -1), **more}),
        Case(((2, 3),), {"axis": -1, "keepdims": True, **more}),
        Case(((2, 3, 2),), {"axis": (2, 0), "keepdims": True, **more}),
        Case(((2, 3),), {"keepdims": True, **more}),
        Case(((3,),), {"axis": 0, **more}),
        Case(((1,),), more),
    )


SCALAR = Case(((),))
EMPTY = (Case(((0, 3),)), Case(((0, 3),), {"axis": 0}), Case(((2, 0),), {"axis": 0}))
BESSEL = (
    Case(((2, 3),), {"correction": 1}),
    Case(((4, 3),), {"axis": 0, "correction": 1.5, "keepdims": True}),
)
SCANS = (
    Case(((5,),), {"axis": 0}),
    Case(((2, 3),), {"axis": 0}),
    Case(((2, 3, 4),), {"axis": -2}),
    Case(((1, 2),), {"axis": 0}),
    Case(((0, 2),), {"axis": 0}),
    Case(((2, 0),), {"axis": 0}),
    Case(((2, 3),), {"axis": None}),
    Case(((2, 3),), {"axis": 1, "include_initial": True}),
)
ALONG = (
    Case(((3,),), {"axis": 0}),
    Case(((2, 3),), {"axis": 0}),
    Case(((2, 3, 2),), {"axis": -2}),
    Case(((2, 3, 4),), {"axis": 1}),
    Case(((2, 1),), {"axis": 1}),
    Case(((0, 2),), {"axis": 1}),
)
POSITIONS = (Case(((2, 3),), {"axis": 1}), Case(((2, 3, 2),), {"axis": -2}), Case(((4,),)))
ANY, APART, EQUALS = Operand(), Operand(make=apart), Operand(make=few, differentiable=False)

DOMAINS: dict[str, Domain] = {
    "sum": Domain((ANY,), (*reductions(), SCALAR, *EMPTY)),
    "mean": Domain((ANY,), (*reductions(), SCALAR, Case(((2, 0),), {"axis": 0}))),
    "var": Domain((ANY,), (*reductions(), SCALAR, *BESSEL, Case(((2, 0),), {"axis": 0}))),
    # One element has no deviation: the root has a kink there.
    "std": Domain((APART,), (*reductions()[:-1], *BESSEL, Case(((2, 0),), {"axis": 0}))),
    "max": Domain((APART,), (*reductions(), SCALAR, Case(((2, 0),), {"axis": 0}))),
    "min": Domain((APART,), (*reductions(), SCALAR, Case(((2, 0),), {"axis": 0}))),
    "prod": Domain((Operand(make=with_zeros),), (*reductions(), SCALAR, *EMPTY)),
    "cumulative_prod": Domain((Operand(make=with_zeros),), SCANS),
    "cumulative_sum": Domain((ANY,), SCANS),
    "logsumexp": Domain((ANY,), (*reductions(), SCALAR, Case(((2, 0),), {"axis": 0}))),
    "row_dot": Domain(
        (ANY, ANY), tuple(Case(pair) for pair in (((2, 3), (2, 3)), ((3,), (2, 3)), ((2, 1, 3), (4, 3)), ((2, 0), (2, 0))))
    ),
    "softmax": Domain((ANY,), (*ALONG, Case(((2, 3),), {"temperature": 0.5}))),
    "log_softmax": Domain((ANY,), (*ALONG, Case(((2, 3),), {"temperature": 0.5}))),
    "argmax": Domain((EQUALS,), (*POSITIONS, Case(((2, 3),)), Case(((2, 3),), {"axis": 0, "keepdims": True}))),
    "argmin": Domain((EQUALS,), (*POSITIONS, Case(((2, 3),)), Case(((2, 3),), {"axis": 0, "keepdims": True}))),
    "argsort": Domain((EQUALS,), (*POSITIONS, Case(((3, 5),), {"descending": True}), Case(((0,),)))),
    "all": Domain((EQUALS,), (*reductions(), SCALAR, *EMPTY)),
    "any": Domain((EQUALS,), (*reductions(), SCALAR, *EMPTY)),
}
