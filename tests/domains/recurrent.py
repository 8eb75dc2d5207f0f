"""Domains of minigrad/ops/recurrent.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.domains.base import Case, Domain, Operand

ANY, FIXED = Operand(-1.0, 1.0), Operand(differentiable=False)
CELLS = {"rnn": (1, 1, 1), "rnn_relu": (1, 1, 1), "gru": (3, 1, 4), "lstm": (4, 2, 4)}
"""Gates, states, and blocks of sums whose gradients the way back makes."""


def within(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Where sequences have a step: the first has all, the last has one."""
    T, N, _ = shape
    return np.arange(T)[:, None, None] < np.linspace(T, 1, N).astype(int)[:, None]


THERE = Operand(make=within, differentiable=False)


def cases(gates: int, states: int, back: bool) -> Iterator[Case]:
    """Several steps and one, several sequences and none, with biases and without, of one length and of several, both directions."""
    for T, N, extent, biases, lengths, reverse in (
        (3, 2, 2, True, False, False), (3, 2, 2, True, False, True), (3, 3, 2, False, True, False), (3, 3, 2, True, True, True),
        (1, 2, 1, True, False, False), (2, 0, 2, True, False, False), (2, 1, 3, False, False, True),
    ):  # fmt: skip
        H = 2
        bias = (gates * H,) if biases else None
        state = (N, H)
        operands = [
            (T, N, extent), (gates * H, extent), bias, (gates * H, H), bias, state, state if states > 1 else None,
            (T, N, 1) if lengths else None,
        ]  # fmt: skip
        if back:
            operands = [(T + states - 1, N, H), *operands, None]
        yield Case(tuple(operands), {"reverse": reverse})


def domain(name: str, back: bool) -> Domain:
    gates, states, _ = CELLS[name]
    operands = (*[ANY] * 6, ANY if states > 1 else FIXED, THERE)
    operands = (ANY, *operands, FIXED) if back else operands
    return Domain(operands, tuple(cases(gates, states, back)), analytic=name != "rnn_relu", order=1 if back else 2)


DOMAINS: dict[str, Domain] = {f"{name}{'_back' * back}": domain(name, back) for name in CELLS for back in (False, True)}
