"""How a domain entry is written: where an operation of the table is tested. An operation without one fails the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Operand:
    """How one array operand is drawn: uniform in [low, high], or by ``make(rng, shape)``.

    ``differentiable`` is False for operands without a rule (a condition, indices). Values stay clear of kinks by
    construction: kinks have tests of their own.
    """

    low: float = -2.0
    high: float = 2.0
    make: Callable[[np.random.Generator, tuple[int, ...]], Any] | None = None
    differentiable: bool = True

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...] | None) -> Any:
        if shape is None:
            return None
        return self.make(rng, shape) if self.make else rng.uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class Case:
    """Shapes of the operands (None for an operand left out) and the parameters by name."""

    shapes: tuple[tuple[int, ...] | None, ...]
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Domain:
    """One operation's entry.

    Attributes:
        operands: how each operand is drawn; one entry serves all operands of an operation on a sequence of arrays.
        cases: shapes and parameters; empty for elementwise operations, whose shapes Hypothesis draws.
        analytic: the complex step applies: forward runs on complex arrays and is analytic on the domain.
        order: the highest order of derivative that is checked.
    """

    operands: tuple[Operand, ...]
    cases: tuple[Case, ...] = ()
    analytic: bool = True
    order: int = 2
