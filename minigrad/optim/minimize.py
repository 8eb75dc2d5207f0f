"""Minimisers of a function of a vector, with curvature: Newton, BFGS, conjugate gradient, and a line search.

The function takes a tensor and returns a tensor with one element. A model's parameters become such a vector with
:func:`flatten`, and tensors in their shapes again with :func:`unflatten`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import backend, ops
from minigrad.errors import ShapeError
from minigrad.optim.wolfe import Point, strong_wolfe
from minigrad.tensor import Tensor, asarray, wrap
from minigrad.transforms import hessian, hvp, value_and_grad

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Result:
    """Where a minimiser ended.

    Args:
        x: the point, in the shape of the start.
        value: the function there.
        gradient_norm: the Euclidean norm of the gradient there.
        iterations: steps taken.
        evaluations: how often value and gradient were computed.
        converged: whether the gradient's norm came below the tolerance.
        message: why it stopped.
    """

    x: Tensor
    value: float
    gradient_norm: float
    iterations: int
    evaluations: int
    converged: bool
    message: str


@dataclass(frozen=True)
class LineSearchResult(Result):
    """Where a line search ended: ``x`` is ``step`` times the direction away from the start."""

    step: float


class _Objective:
    """``f`` on flat arrays; counts its evaluations."""

    def __init__(self, f: Function, x0: Any) -> None:
        start = asarray(x0)
        if start.dtype.kind != "f":
            start = ops.astype(start, backend.get_default_dtype())
        self.shape, self.evaluations = start.shape, 0
        self.start = start._data.reshape(-1).copy()
        self.f: Function = lambda x: f(ops.reshape(x, self.shape))
        self._both = value_and_grad(self.f)

    def __call__(self, x: Any) -> tuple[float, Any]:
        self.evaluations += 1
        value, g = self._both(wrap(x))
        return float(value), g._data

    def result(self, x: Any, value: float, g: Any, iterations: int, tolerance: float, message: str) -> Result:
        norm = _norm(g)
        text = f"the gradient's norm is at most {tolerance:.3g}" if norm <= tolerance else message
        return Result(wrap(x.reshape(self.shape)), value, norm, iterations, self.evaluations, norm <= tolerance, text)


def _norm(x: Any) -> float:
    return math.sqrt(float(x @ x))


def _tolerance(given: float | None, x: Any) -> float:
    return math.sqrt(float(np.finfo(x.dtype).eps)) if given is None else given


def _slack(value: float, x: Any) -> float:
    """By how much a value may seem to rise through rounding alone."""
    return 4 * float(np.finfo(x.dtype).eps) * abs(value)


def newton(f: Function, x0: Any, damping: float = 0.0, tolerance: float | None = None, max_iter: int = 100) -> Result:
    """Newton's method with Levenberg's damping: ``x <- x - (H + a I)^-1 g`` (Nocedal & Wright 2006, chapters 3 and 10).

    The damping ``a`` is raised tenfold as long as ``H + a I`` is not positive definite or the step does not lower ``f``, and
    lowered tenfold after a step that does, never below ``damping``. Each step forms the Hessian: one backward pass per element.

    Args:
        f: takes a tensor, returns a tensor with one element.
        x0: where to start.
        damping: the smallest ``a``; with 0 a quadratic takes one step.
        tolerance: the norm of the gradient at which to stop; the root of the dtype's resolution if None.
        max_iter: the most steps to take.

    Example:
        >>> import minigrad as mg
        >>> result = mg.optim.newton(lambda x: ((x - mg.tensor([3.0, 5.0])) ** 2).sum(), [0.0, 0.0])
        >>> result.x, result.iterations
        (tensor([3., 5.]), 1)
    """
    if not damping >= 0:
        raise ValueError(f"newton: damping must be a number >= 0, got {damping!r}")
    objective = _Objective(f, x0)
    curvature = hessian(objective.f)
    x, a = objective.start, damping
    tolerance = _tolerance(tolerance, x)
    value, g = objective(x)
    for k in range(max_iter):
        if _norm(g) <= tolerance:
            return objective.result(x, value, g, k, tolerance, "")
        H = curvature(wrap(x))._data
        if not np.isfinite(H).all():
            return objective.result(x, value, g, k, tolerance, "the Hessian is not finite")
        scale = float(abs(H).max()) or 1.0
        while True:
            step = _solve(H, a, g)
            if step is not None:
                new_value, new_g = objective(x - step)
                if new_value <= value + _slack(value, x):
                    break
            a = max(10 * a, 1e-4 * scale)
            if a > 1e16 * scale:
                return objective.result(x, value, g, k, tolerance, "no step, however damped, lowers the value any further")
        x, value, g, a = x - step, new_value, new_g, max(damping, a / 10 if a > 1e-8 * scale else 0.0)
    return objective.result(x, value, g, max_iter, tolerance, f"the {max_iter} iterations allowed are used up")


def _solve(H: Any, a: float, g: Any) -> Any:
    """``(H + a I)^-1 g``; None where the matrix is not positive definite."""
    damped = H + a * np.eye(len(g), dtype=H.dtype)
    try:
        np.linalg.cholesky(damped)
        return np.linalg.solve(damped, g)
    except np.linalg.LinAlgError:
        return None


Direction = Callable[[Any, Any], tuple[Any, float]]


def _descend(objective: _Objective, direction: Direction, tolerance: float | None, max_iter: int, c2: float) -> Result:
    """Step along ``direction(x, g)``, as far as the line search says; along ``-g`` where that does not lead downhill."""
    x = objective.start
    tolerance = _tolerance(tolerance, x)
    value, g = objective(x)
    for k in range(max_iter):
        if _norm(g) <= tolerance:
            return objective.result(x, value, g, k, tolerance, "")
        d, t = direction(x, g)
        slope = float(g @ d)
        if not slope < 0:
            d, slope = -g, -float(g @ g)
            t = min(1.0, 1 / _norm(g))
        found = _along(objective, x, d, Point(0.0, value, g, slope), t, 1e-4, c2, 30)[0]
        moved = x + found.t * d
        if found.t == 0 or (moved == x).all() or not math.isfinite(found.value):
            return objective.result(x, value, g, k, tolerance, "no step along the direction lowers the value any further")
        x, value, g = moved, found.value, found.gradient
    return objective.result(x, value, g, max_iter, tolerance, f"the {max_iter} iterations allowed are used up")


def _along(
    objective: _Objective, x: Any, d: Any, start: Point, t: float, c1: float, c2: float, max_evals: int
) -> tuple[Point, int, bool]:
    def at(t: float) -> Point:
        value, g = objective(x + t * d)
        return Point(t, value, g, float(g @ d))

    return strong_wolfe(at, start, t, c1, c2, max_evals, smallest=0.0, slack=_slack(start.value, x))


def bfgs(f: Function, x0: Any, tolerance: float | None = None, max_iter: int = 500) -> Result:
    """BFGS: Newton's method with an inverse Hessian learned from the gradients (Nocedal & Wright 2006, algorithm 6.1).

    ``x <- x - t B g`` with ``t`` from a line search, and with the step s and the change y of the gradient

        B <- (I - r s y^T) B (I - r y s^T) + r s s^T,    r = 1 / y.s

    Args:
        f: takes a tensor, returns a tensor with one element.
        x0: where to start.
        tolerance: the norm of the gradient at which to stop; the root of the dtype's resolution if None.
        max_iter: the most steps to take.

    Example:
        >>> import minigrad as mg
        >>> rosenbrock = lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        >>> result = mg.optim.bfgs(rosenbrock, mg.tensor([-1.2, 1.0], dtype="float64"))
        >>> result.converged, [round(v, 6) for v in result.x.tolist()]
        (True, [1.0, 1.0])
    """
    B: Any = None
    last: tuple[Any, Any] | None = None

    def direction(x: Any, g: Any) -> tuple[Any, float]:
        nonlocal B, last
        if last is not None:
            s, y = x - last[0], g - last[1]
            curvature = float(y @ s)
            if curvature > 1e-10 * _norm(y) * _norm(s):
                if B is None:
                    B = curvature / float(y @ y) * np.eye(len(x), dtype=x.dtype)
                By = B @ y
                B = B - (s[:, None] * By + By[:, None] * s) / curvature
                B = B + (1 + float(y @ By) / curvature) / curvature * (s[:, None] * s)
        last = x, g
        return (-g, min(1.0, 1 / _norm(g))) if B is None else (-(B @ g), 1.0)

    return _descend(_Objective(f, x0), direction, tolerance, max_iter, c2=0.9)


def conjugate_gradient(f: Function, x0: Any, tolerance: float | None = None, max_iter: int = 1000) -> Result:
    """Nonlinear conjugate gradient, Polak-Ribiere+ (Nocedal & Wright 2006, section 5.2): no matrix at all.

        d <- -g + max(0, g.(g - g_old) / g_old.g_old) d

    The first step tried along d is the exact one of the local quadratic, ``-g.d / d.Hd``; its curvature costs one
    Hessian-vector product. So a quadratic in n variables takes n steps at most.

    Args:
        f: takes a tensor, returns a tensor with one element; must be differentiable twice.
        x0: where to start.
        tolerance: the norm of the gradient at which to stop; the root of the dtype's resolution if None.
        max_iter: the most steps to take.

    Example:
        >>> import minigrad as mg
        >>> scale = mg.tensor([1.0, 10.0], dtype="float64")
        >>> result = mg.optim.conjugate_gradient(lambda x: (scale * x * x).sum(), mg.tensor([3.0, 1.0], dtype="float64"))
        >>> result.converged, result.iterations
        (True, 2)
    """
    objective = _Objective(f, x0)
    last: tuple[Any, Any] | None = None

    def direction(x: Any, g: Any) -> tuple[Any, float]:
        nonlocal last
        d = -g
        if last is not None:
            before, along = last
            d = d + max(0.0, float(g @ (g - before)) / float(before @ before)) * along
            d = d if float(g @ d) < 0 else -g
        last = g, d
        curvature = float(d @ hvp(objective.f, wrap(x), wrap(d))._data)
        return d, -float(g @ d) / curvature if curvature > 0 else 1 / _norm(d)

    return _descend(objective, direction, tolerance, max_iter, c2=0.1)


def line_search(
    f: Function, x: Any, direction: Any, step: float = 1.0, c1: float = 1e-4, c2: float = 0.9, max_evals: int = 25
) -> LineSearchResult:
    """A step along ``direction`` that meets the strong Wolfe conditions (Nocedal & Wright 2006, algorithms 3.5 and 3.6).

        f(x + t d) <= f(x) + c1 t g.d    and    |g(x + t d).d| <= c2 |g.d|

    Args:
        f: takes a tensor, returns a tensor with one element.
        x: where to start.
        direction: a tensor in the shape of ``x`` that leads downhill.
        step: the first step to try.
        c1: the share of the promised decrease that is asked for.
        c2: the share of the slope that may remain.
        max_evals: the most steps to try after the first.

    Raises:
        ValueError: if ``direction`` does not lead downhill, or not ``0 < c1 < c2 < 1``.

    Example:
        >>> import minigrad as mg
        >>> found = mg.optim.line_search(lambda x: (x**2).sum(), [1.0], [-8.0])
        >>> found.step, found.value
        (0.125, 0.0)
    """
    if not 0 < c1 < c2 < 1:
        raise ValueError(f"line_search: expected 0 < c1 < c2 < 1, got c1={c1!r} and c2={c2!r}")
    objective = _Objective(f, x)
    start, given = objective.start, asarray(direction)
    if given.shape != objective.shape:
        raise ShapeError(f"line_search: direction has shape {given.shape}, but x has shape {objective.shape}")
    d = given._data.reshape(-1).astype(start.dtype)
    value, g = objective(start)
    slope = float(g @ d)
    if not slope < 0:
        raise ValueError(
            f"line_search: direction does not lead downhill: the slope along it is {slope:.3g}; try minus the gradient"
        )
    found, tries, met = _along(objective, start, d, Point(0.0, value, g, slope), step, c1, c2, max_evals)
    text = "both Wolfe conditions hold" if met else "no step tried meets both Wolfe conditions; this is the lowest"
    end = wrap((start + found.t * d).reshape(objective.shape))
    return LineSearchResult(end, found.value, _norm(found.gradient), tries, objective.evaluations, met, text, found.t)


def flatten(params: Iterable[Any]) -> Tensor:
    """All the tensors' elements in one vector; gradients flow through.

    Example:
        >>> import minigrad as mg
        >>> mg.optim.flatten([mg.tensor([[1.0, 2.0]]), mg.tensor(3.0)])
        tensor([1., 2., 3.])
    """
    return ops.concat([ops.reshape(p, (-1,)) for p in params])  # type: ignore[no-any-return]


def unflatten(vector: Any, like: Iterable[Any]) -> list[Tensor]:
    """The vector cut into tensors with the shapes of ``like``; undoes :func:`flatten`, and gradients flow through.

    Raises:
        ShapeError: if the sizes do not add up to the vector's.

    Example:
        >>> import minigrad as mg
        >>> W, b = mg.optim.unflatten(mg.tensor([1.0, 2.0, 3.0]), [mg.zeros((1, 2)), mg.zeros(1)])
        >>> W
        tensor([[1., 2.]])
    """
    shapes = [tuple(p.shape) for p in like]
    sizes = [math.prod(shape) for shape in shapes]
    if tuple(vector.shape) != (sum(sizes),):
        raise ShapeError(
            f"unflatten: the shapes {shapes} have {sum(sizes)} elements in all, but the vector has shape {vector.shape}"
        )
    ends = np.cumsum(sizes).tolist()
    return [ops.reshape(vector[end - size : end], shape) for shape, size, end in zip(shapes, sizes, ends)]
