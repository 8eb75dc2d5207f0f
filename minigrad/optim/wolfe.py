"""The line search behind LBFGS and the minimisers: how far to go along a direction (Nocedal & Wright 2006, section 3.5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A point on the line: its distance from the start in steps, the value there, the gradient, and its slope along the line."""

    t: float
    value: float
    gradient: Any
    slope: float


def strong_wolfe(
    at: Callable[[float], Point],
    start: Point,
    t: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_evals: int = 25,
    smallest: float = 1e-9,
    slack: float = 0.0,
) -> tuple[Point, int, bool]:
    """Find a step that lowers the value enough (Armijo: ``f(t) <= f(0) + c1 t f'(0)``) and flattens it enough
    (curvature: ``|f'(t)| <= c2 |f'(0)|``).

    Steps grow until they have passed a minimum, then the bracket is narrowed by cubic interpolation. The details that no book
    settles (by how much a step grows, when interpolation is distrusted, how evaluations are counted) are PyTorch's, so that
    LBFGS follows the same path.

    Args:
        at: evaluates the function at a distance.
        start: the point at distance 0; its slope is negative.
        t: the first distance to try.
        c1: the share of the promised decrease that is asked for.
        c2: the share of the slope that may remain.
        max_evals: evaluations after the first.
        smallest: stop once the bracket is shorter than this.
        slack: by how much the value may miss the Armijo bound, for rounding.

    Returns:
        The best point of the last bracket, how often ``at`` was called, and whether the point meets both conditions.
    """

    def too_high(p: Point) -> bool:
        return not p.value <= start.value + c1 * p.t * start.slope + slack

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -c2 * start.slope

    before, now, evals, tries = start, at(t), 1, 0
    ends: list[Point] = []
    while tries < max_evals:
        if too_high(now) or (tries > 1 and now.value >= before.value):
            ends = [before, now]
            break
        if flat(now):
            return now, evals, True
        if now.slope >= 0:
            ends = [before, now]
            break
        t = cubic_minimum(before, now, now.t + 0.01 * (now.t - before.t), 10 * now.t)
        before, now = now, at(t)
        evals += 1
        tries += 1
    ends = ends or [start, now]
    low = int(ends[1].value < ends[0].value)
    hesitated = False
    while tries < max_evals and abs(ends[1].t - ends[0].t) >= smallest:
        left, right = sorted((ends[0].t, ends[1].t))
        t = cubic_minimum(ends[0], ends[1], left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) >= margin:
            hesitated = False
        elif hesitated or not left < t < right:
            # Twice so near to an end, the bracket would hardly shrink: step a tenth inside.
            t = right - margin if right - t < t - left else left + margin
            hesitated = False
        else:
            hesitated = True
        new = at(t)
        evals += 1
        tries += 1
        if too_high(new) or new.value >= ends[low].value:
            ends[1 - low] = new
            low = int(ends[1].value < ends[0].value)
        else:
            done = flat(new)
            if not done and new.slope * (ends[1 - low].t - ends[low].t) >= 0:
                ends[1 - low] = ends[low]
            ends[low] = new
            if done:
                return new, evals, True
    return ends[low], evals, False


def cubic_minimum(a: Point, b: Point, left: float, right: float) -> float:
    """Where the cubic with the values and slopes of ``a`` and ``b`` is lowest between ``left`` and ``right``; else the middle."""
    a, b = (a, b) if a.t <= b.t else (b, a)
    if a.t < b.t:
        d = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
        square = d * d - a.slope * b.slope
        if square >= 0:
            root = math.sqrt(square)
            fall = b.slope - a.slope + 2 * root
            t = b.t - (b.t - a.t) * (b.slope + root - d) / fall if fall else math.nan
            if math.isfinite(t):
                return min(max(t, left), right)
    return (left + right) / 2
