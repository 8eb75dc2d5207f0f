"""Differences of a function of one number: the derivative with its error, found from a ladder of steps, and kinks.

A central difference ``(s(h) - s(-h)) / 2h`` is off by a truncation error, of order ``h**2``, and by a rounding error, of order
``eps / h``. Seen over all steps the estimates run down a slope, along a plateau and up a slope of noise: the plateau is where
neighbours agree best. Extrapolating neighbours (L. F. Richardson, "The approximate arithmetical solution by finite differences
of physical problems", 1911) takes the next order of the truncation away, and how far they are apart is the error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Line = Callable[[float], float]
"""A function along a line: of how far to go from the point."""

RATIO, RUNGS, TOP = 4.0, 15, 0.1
BARS = "▁▂▃▄▅▆▇█"


class Ladder(NamedTuple):
    """Central differences with ever smaller steps.

    Attributes:
        steps: from large to small.
        estimates: the central difference with each; NaN where the function is not finite.
        best: the derivative, from the plateau.
        error: how far off it may be; infinite where there is no plateau.
    """

    steps: Array
    estimates: Array
    best: float
    error: float

    def off(self, value: float) -> Array:
        """The relative distance of each estimate from ``value``."""
        size = max(abs(value), abs(self.best) if np.isfinite(self.best) else 0.0) or 1.0
        off: Array = np.abs(self.estimates - value) / size
        return off

    def bars(self, value: float) -> str:
        """The distance from ``value`` at each step as a line of text: full height is 100 % and more, the lowest 1e-12.

        Example:
            >>> import math
            >>> print(ladder(math.exp, 1.0, 1e-16).bars(1.0))
            ▆▆▅▄▄▃▂▂▂▂▂▃▃▄▄
            >>> print(ladder(math.exp, 1.0, 1e-16).bars(2.0))
            ███████████████
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            level = (np.log10(self.off(value)) + 12) / 12 * 7
        return "".join("·" if np.isnan(v) else BARS[round(min(max(v, 0.0), 7.0))] for v in level.tolist())


def ladder(s: Line, scale: float, eps: float, least: float | None = None) -> Ladder:
    """The derivative of ``s`` at 0, from steps between ``scale / 10`` and some ``1e-10 * scale``.

    Args:
        s: the function along the line.
        scale: the size of what the steps are added to.
        eps: the rounding error of a value of ``s``, absolute.
        least: where the steps are added to something smaller than ``scale``, its size: the ladder goes down further.

    Example:
        >>> import math
        >>> found = ladder(math.sin, 1.0, 1e-16)
        >>> abs(found.best - 1.0) <= found.error <= 1e-9
        True
    """
    further = round(np.log(scale / least) / np.log(RATIO)) if least and least < scale else 0
    steps = TOP * scale * RATIO ** -np.arange(RUNGS + min(further, RUNGS))
    differences = np.array([s(h) - s(-h) for h in steps.tolist()])
    with np.errstate(all="ignore"):
        estimates = np.where(np.isfinite(differences), differences / (2 * steps), np.nan)
        # Below the rounding unit of what s computes in, nothing moves; unless nothing ever does.
        used = np.where((differences == 0) & np.any(differences != 0), np.nan, estimates)
        better = (RATIO**2 * used[1:] - used[:-1]) / (RATIO**2 - 1)
        noise = 2 * eps / steps
        # An extrapolated value is held against both neighbours, or one lucky coincidence would be a plateau.
        plain = np.maximum(np.abs(used[1:-1] - used[:-2]), np.abs(used[1:-1] - used[2:])) + noise[1:-1]
        fine = np.maximum(np.abs(better[1:-1] - better[:-2]), np.abs(better[1:-1] - better[2:])) + 2 * noise[2:-1]
    values, errors = np.concatenate([used[1:-1], better[1:-1]]), np.concatenate([plain, fine])
    if np.isnan(errors).all():
        return Ladder(steps, estimates, float("nan"), float("inf"))
    k = int(np.nanargmin(errors))
    return Ladder(steps, estimates, float(values[k]), float(errors[k]))


class Sides(NamedTuple):
    """The slopes on either side of a kink or a jump, neither of them across it."""

    left: float
    right: float
    jump: bool

    def contain(self, value: float, allowed: float) -> bool:
        """Whether ``value`` is one of the slopes, between them, or between them and 0, which chains of conventions give.

        At a jump there is no slope, and every value is a convention.
        """
        return self.jump or bool(
            min(self.left, self.right, 0.0) - allowed <= value <= max(self.left, self.right, 0.0) + allowed
        )


def kink(s: Line, scale: float, eps: float, least: float = 1e-4) -> Sides | None:
    """The slopes on either side, if ``s`` has a kink or a jump at 0.

    Of a smooth function the slopes come together in proportion to the step. Those of a kink stay apart, and a jump makes the
    difference across it grow as the step shrinks.

    Args:
        s: the function along the line.
        scale: the size of what the steps are added to.
        eps: the rounding error of a value of ``s``, absolute.
        least: slopes that differ by less, relative to their size, are equal.

    Example:
        >>> kink(abs, 1.0, 1e-16)
        Sides(left=-1.0, right=1.0, jump=False)
        >>> kink(lambda t: t * t, 1.0, 1e-16) is None
        True
    """
    size = abs(s(0.0)) or 1.0
    h = scale * max(1e-6, 20 * np.sqrt(min(eps / size, 1e-3)))
    left, right, across = _slopes(s, h)
    near_left, near_right, near_across = _slopes(s, h / 4)
    slopes = (left, right, near_left, near_right)
    if not np.isfinite([*slopes, across, near_across]).all():
        return None
    enough = least * max(map(abs, slopes)) + 50 * eps / h
    gap, near_gap = abs(right - left), abs(near_right - near_left)
    beyond, near_beyond = abs(across - (left + right) / 2), abs(near_across - (near_left + near_right) / 2)
    jump = bool(near_beyond > enough and near_beyond > 2 * beyond)
    if jump or (near_gap > enough and near_gap > gap / 2):
        return Sides(near_left, near_right, jump)
    return None


def noise(s: Line, scale: float) -> float:
    """The rounding error of ``s``, in whatever it computes in: what is left of it, to the quieter side, in third differences.

    Example:
        >>> import math
        >>> noise(math.exp, 1.0) < 1e-15
        True
        >>> noise(lambda t: float(np.float32(math.exp(t))), 1.0) > 1e-9
        True
    """
    sides = [np.diff([s(sign * (2 + 1.3 * k) * 1e-6 * scale) for k in range(7)], 3) for sign in (1, -1)]
    found = min(float(np.max(np.abs(side))) for side in sides)
    return found / 8 if np.isfinite(found) else 0.0


def _slopes(s: Line, h: float) -> tuple[float, float, float]:
    """To the left, to the right, and across."""
    far_left, left, right, far_right = (s(k * h) for k in (-2, -1, 1, 2))
    return (left - far_left) / h, (far_right - right) / h, (right - left) / (2 * h)
