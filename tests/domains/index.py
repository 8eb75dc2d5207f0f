"""Domains of minigrad/ops/index.py.

``getitem`` goes through the public function, whose index may be anything. In the other rows the arrays of an index are
operands, and ``pattern`` is what is around them, with SLOT where an array stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.ops.index import SLOT
from tests.domains.base import Case, Domain, Operand

ALL = slice(None)


def integers(n: int) -> Callable[[np.random.Generator, tuple[int, ...]], Any]:
    """Indices into an axis of ``n``, negative ones and repeated ones among them."""
    return lambda rng, shape: rng.integers(-n, n, shape)


WHERE = Operand(make=integers(3), differentiable=False)

DOMAINS: dict[str, Domain] = {
    "getitem": Domain(
        (Operand(),),
        (
            Case(((3,),), {"index": 1}),
            Case(((3,),), {"index": -1}),
            Case(((3, 4),), {"index": (slice(None, None, -1), slice(1, None, 2))}),
            Case(((3, 4),), {"index": (Ellipsis, None, 0)}),
            Case(((3, 4),), {"index": (None, 2, slice(1, 1))}),
            Case(((),), {"index": ()}),
            Case(((),), {"index": (Ellipsis, None)}),
            Case(((0, 2),), {"index": (ALL, 0)}),
        ),
    ),
    "gather": Domain(
        (Operand(), WHERE),
        (
            Case(((3,), (5,)), {"pattern": (SLOT,)}),
            Case(((3, 4), (2, 3)), {"pattern": (SLOT,)}),
            Case(((4, 3), (5,)), {"pattern": (ALL, SLOT)}),
            Case(((3, 2, 4), ()), {"pattern": (SLOT,)}),
            Case(((3, 4, 3), (2, 5)), {"pattern": (SLOT, ALL, SLOT)}),
            Case(((3, 2, 3, 3), (2, 4)), {"pattern": (SLOT, None, slice(1, None), SLOT)}),
            Case(((3, 2), (0,)), {"pattern": (SLOT,)}),
            Case(((3, 0), (2,)), {"pattern": (SLOT,)}),
        ),
    ),
    "place": Domain(
        (Operand(), WHERE),
        (
            Case(((5,), (5,)), {"pattern": (SLOT,), "shape": (3,)}),
            Case(((2, 3, 4), (2, 3)), {"pattern": (SLOT,), "shape": (3, 4)}),
            Case(((1,), (6,)), {"pattern": (ALL, SLOT), "shape": (2, 3)}),
            Case(((4,), ()), {"pattern": (SLOT,), "shape": (3, 4)}),
            Case(((6, 2), (2, 6)), {"pattern": (SLOT, ALL, SLOT), "shape": (3, 2, 3)}),
            Case(((70, 8), (70,)), {"pattern": (SLOT,), "shape": (3, 8)}),
            Case(((8, 70), (70,)), {"pattern": (ALL, SLOT), "shape": (8, 3)}),
            Case(((2, 1), None), {"pattern": (slice(1, None), 0, None), "shape": (3, 2)}),
            Case(((0,), (0,)), {"pattern": (SLOT,), "shape": (3,)}),
        ),
    ),
    "assign": Domain(
        (Operand(), Operand(), WHERE),
        (
            Case(((3,), (), None), {"pattern": (1,)}),
            Case(((3, 4), (3, 2), None), {"pattern": (ALL, slice(None, None, 2))}),
            Case(((3, 4), (1, 1, 4), None), {"pattern": (slice(1, None),)}),
            Case(((3,), (6,), (6,)), {"pattern": (SLOT,)}),
            Case(((3, 2), (1, 2), (5,)), {"pattern": (SLOT,)}),
            Case(((3, 2, 3), (5, 2), (2, 5)), {"pattern": (SLOT, ALL, SLOT)}),
            Case(((3, 2), (2,), ()), {"pattern": (SLOT,)}),
            Case(((), (), None), {"pattern": ()}),
            Case(((0, 2), (2,), None), {"pattern": (ALL,)}),
        ),
    ),
    "last_write": Domain(
        (WHERE,),
        (
            Case(((5,),), {"pattern": (SLOT,), "shape": (3,)}),
            Case(((2, 5),), {"pattern": (SLOT, ALL, SLOT), "shape": (3, 2, 3)}),
            Case(((0,),), {"pattern": (SLOT,), "shape": (3, 2)}),
        ),
        analytic=False,
    ),
}
