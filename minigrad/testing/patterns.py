"""What kind of mistake a wrong gradient is: the handful that are made again and again when rules are written by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
NEAR = 1e-3
"""A pattern is recognised where it explains the gradient to this part of its largest element."""


class Evidence(NamedTuple):
    """A wrong gradient and what it should have been.

    Attributes:
        positions: flat positions of the elements that were looked at.
        expected: their derivatives.
        received: the whole gradient, in its argument's shape.
        others: what other arguments of the same shape should have got, at the same positions.
        sizes: numbers that it may have been divided or multiplied by, and what they count.
    """

    positions: Array
    expected: Array
    received: Array
    others: dict[str, Array]
    sizes: dict[int, str]

    def explains(self, candidate: Array, expected: Array | None = None) -> bool:
        """Whether ``candidate``, at the positions, is what was expected."""
        expected = self.expected if expected is None else expected
        size = np.max(np.abs(expected), initial=0.0)
        return bool(size > 0 and np.max(np.abs(candidate - expected)) <= NEAR * size)

    @property
    def at(self) -> Array:
        """What was received at the positions."""
        return self.received.reshape(-1)[self.positions]


class Pattern(NamedTuple):
    """A recognised mistake."""

    kind: str
    text: str


def recognise(
    evidence: Evidence,
    unsummed: Callable[[], list[tuple[Array, tuple[int, ...]]]],
) -> Pattern | None:
    """The mistake that explains all elements, the simplest explanation first."""
    return (
        _not_finite(evidence)
        or _zero(evidence)
        or _factor(evidence, {-1.0, 2.0, 0.5})
        or _swapped(evidence)
        or _transposed(evidence)
        or _broadcast(evidence, unsummed())
        or _factor(evidence, None)
    )


def _not_finite(e: Evidence) -> Pattern | None:
    bad = ~np.isfinite(e.received)
    return Pattern("not finite", f"{int(bad.sum())} elements are NaN or infinite") if bad.any() else None


def _zero(e: Evidence) -> Pattern | None:
    if np.any(e.received):
        return None
    return Pattern("zero", "zero gradient: nothing arrives (a detached value, or a rule that returns 0?)")


def _factor(e: Evidence, wanted: set[float] | None) -> Pattern | None:
    energy = float(np.sum(e.expected**2))
    c = float(np.sum(e.expected * e.at)) / energy if energy else 0.0
    if not c or not e.explains(e.at / c):
        return None
    if wanted is not None:
        c = next((w for w in wanted if abs(c - w) <= NEAR * abs(w)), 0.0)
        return Pattern(*_NAMED[c]) if c else None
    for n, what in e.sizes.items():
        for value, text in ((1 / n if n else 0.0, f"1/{n}"), (float(n), str(n))):
            if n > 1 and abs(c - value) <= NEAR * value:
                return Pattern("factor", f"a factor of {text}: {n} is {what} (a mean for a sum, or the other way round?)")
    # One number differs from another by some factor always: that says nothing.
    return Pattern("factor", f"a constant factor of {c:.6g}") if e.expected.size > 1 else None


_NAMED = {
    -1.0: ("sign", "wrong sign: received is minus what was expected"),
    2.0: ("factor", "a factor of 2: received is twice what was expected"),
    0.5: ("factor", "a factor of 1/2: received is half of what was expected"),
}


def _swapped(e: Evidence) -> Pattern | None:
    for name, expected in e.others.items():
        if e.explains(e.at, expected):
            return Pattern("swapped", f"swapped: this is the gradient of {name!r}")
    return None


def _transposed(e: Evidence) -> Pattern | None:
    """Also where the elements came in transposed order and were reshaped to fit."""
    shape = e.received.shape
    if not 2 <= len(shape) <= 5:
        return None
    for order in list(itertools.permutations(range(len(shape))))[1:]:
        back = e.received.reshape([shape[k] for k in order]).transpose(np.argsort(order))
        if e.explains(back.reshape(-1)[e.positions]):
            return Pattern("transposed", f"transposed: with its axes in the order {order} it is right")
    return None


def _broadcast(e: Evidence, unsummed: list[tuple[Array, tuple[int, ...]]]) -> Pattern | None:
    shape = e.received.shape
    for full, axes in unsummed:
        if not e.explains(full.sum(axis=axes).reshape(-1)[e.positions]):
            continue
        text = f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"
        for axis in axes:
            rest = tuple(k for k in axes if k != axis)
            for i in range(full.shape[axis]):
                if _is(e.received, np.take(full, [i], axis).sum(axis=(*rest, axis)).reshape(shape)):
                    return Pattern(
                        "broadcast", f"not summed over broadcast axis {axis}: only slice {i} of {full.shape[axis]} arrives"
                    )
        for n in range(1, full.ndim + 1):
            for other in itertools.combinations(range(full.ndim), n):
                if other == axes:
                    continue
                total = full.sum(axis=other)
                if total.size == e.received.size and _is(e.received, total.reshape(shape)):
                    return Pattern("broadcast", f"summed over axes {other} instead of the broadcast {text}")
    return None


def _is(received: Array, candidate: Array) -> bool:
    return bool(np.max(np.abs(received - candidate), initial=0.0) <= NEAR * np.max(np.abs(candidate), initial=0.0))
