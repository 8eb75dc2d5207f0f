"""L-BFGS: curvature from the last few steps, without ever forming a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend
from minigrad.optim.base import Closure, Optimizer, OptimizerError, Parameters, State, plain, recorded, replace
from minigrad.optim.wolfe import Point, strong_wolfe


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal & Wright 2006, algorithms 7.4 and 7.5).

    The direction is ``-H g``, where the inverse Hessian H is known only by the last pairs of steps s and gradient changes y:

        q <- g;   from the newest pair to the oldest:  a = s.q / y.s,  q <- q - a y
        r <- (s.y / y.y of the newest pair) q;   from the oldest to the newest:  r <- r + (a - y.r / y.s) s

    A call of :meth:`step` makes up to ``max_iter`` such iterations. All parameters form one vector and one group.

    Args:
        params: the tensors.
        lr: the length of a step, or with a line search the first that is tried.
        max_iter: iterations per step.
        max_eval: calls of the closure per step (``max_iter * 5 // 4`` if None).
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when neither the value nor any element changes by more.
        history_size: pairs that are kept: this many times two the size of the parameters.
        line_search_fn: ``"strong_wolfe"``, or None for steps of fixed length.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([-1.0, 2.0], requires_grad=True)
        >>> optimizer = mg.optim.LBFGS([x], max_iter=50, line_search_fn="strong_wolfe")
        >>> def loss():
        ...     optimizer.zero_grad()
        ...     value = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        ...     value.backward()
        ...     return value
        >>> for _ in range(2):
        ...     first = optimizer.step(loss)
        >>> loss().item() < 1e-6
        True
    """

    def __init__(
        self, params: Parameters, lr: float = 1, max_iter: int = 20, max_eval: int | None = None, tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9, history_size: int = 100, line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        })  # fmt: skip

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self.param_groups:
            raise OptimizerError("LBFGS: all parameters form one vector, so there can be only one group")
        super().add_param_group(param_group)

    def step(self, closure: Closure | None = None) -> Any:
        if closure is None:
            raise TypeError(
                "LBFGS.step needs a closure that computes the loss anew (zero_grad, forward, backward, return the loss): it "
                "evaluates the function several times a step"
            )
        h = {name: plain(value) for name, value in self.param_groups[0].items() if name != "params"}
        state = self._state()
        loss = recorded(closure)
        evals = 1
        value, g = float(loss), self._gradient()
        if _largest(g) <= h["tolerance_grad"]:
            state["func_evals"] += 1
            return loss
        for k in range(1, h["max_iter"] + 1):
            state["n_iter"] += 1
            d = self._direction(state, g, h["history_size"])
            before, state["prev_flat_grad"], state["prev_loss"] = value, g, value
            state["d"], slope = d, float(g @ d)
            t = h["lr"] * (min(1.0, 1 / float(abs(g).sum())) if state["n_iter"] == 1 else 1.0)
            state["t"] = t
            if slope > -h["tolerance_change"]:
                break
            last = k == h["max_iter"]
            if h["line_search_fn"] is not None:
                x = self._vector()

                def at(t: float, x: Any = x, d: Any = d) -> Point:
                    self._move_to(x + t * d)
                    value, g = float(recorded(closure)), self._gradient()
                    return Point(t, value, g, float(g @ d))

                limit = h["tolerance_change"] / _largest(d)
                found, used, _ = strong_wolfe(
                    at, Point(0.0, value, g, slope), t, max_evals=h["max_eval"] - evals, smallest=limit
                )
                t, value, g = found.t, found.value, found.gradient
                state["t"], evals = t, evals + used
                self._move_to(x + t * d)
            else:
                self._move_to(self._vector() + t * d)
                if not last:
                    value, g, evals = float(recorded(closure)), self._gradient(), evals + 1
            if (
                last
                or evals >= h["max_eval"]
                or _largest(g) <= h["tolerance_grad"]
                or _largest(d * t) <= h["tolerance_change"]
                or abs(value - before) < h["tolerance_change"]
            ):
                break
        state["func_evals"] += evals
        return loss

    def _state(self) -> State:
        """One state for the whole vector, kept under the first parameter."""
        state = self.state[self.param_groups[0]["params"][0]]
        if not state:
            state.update(func_evals=0, n_iter=0, old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
        return state

    def _direction(self, state: State, g: Any, history: int) -> Any:
        ys, ss, ro = state["old_dirs"], state["old_stps"], state["ro"]
        if state["n_iter"] == 1:
            return -g
        y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = float(y @ s)
        if curvature > 1e-10:
            for kept, new in ((ys, y), (ss, s), (ro, 1 / curvature)):
                kept.append(new)
                del kept[:-history]
            state["H_diag"] = curvature / float(y @ y)
        d, shares = -g, []
        for y, s, r in zip(ys[::-1], ss[::-1], ro[::-1]):
            shares.append(r * float(s @ d))
            d = d - shares[-1] * y
        d = state["H_diag"] * d
        for y, s, r, a in zip(ys, ss, ro, shares[::-1]):
            d = d + (a - r * float(y @ d)) * s
        return d

    def _vector(self) -> Any:
        return np.concatenate([p._data.reshape(-1) for p in self.param_groups[0]["params"]])

    def _gradient(self) -> Any:
        return np.concatenate([
            backend.namespace(p._data).zeros(p.size, dtype=p.dtype) if p.grad is None else p.grad._data.reshape(-1)
            for p in self.param_groups[0]["params"]
        ])  # fmt: skip

    def _move_to(self, x: Any) -> None:
        start = 0
        for p in self.param_groups[0]["params"]:
            replace(p, x[start : start + p.size].reshape(p.shape).astype(p.dtype))
            start += p.size


def _largest(x: Any) -> float:
    return float(abs(x).max()) if x.size else 0.0
