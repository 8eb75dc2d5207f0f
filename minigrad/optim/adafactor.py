"""Adafactor: second moments of a matrix from those of its rows and columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.optim.base import Group, OptimizerError, Parameters, PerParameter, replace
from minigrad.tensor import Tensor


class Adafactor(PerParameter):
    """Adafactor (Shazeer & Stern 2018): of n x m numbers it keeps n + m, and its steps are relative to the parameter's size.

        r <- r + t^beta2_decay (mean over columns of g^2 - r),    c likewise over rows
        v  = r c / mean(r),    u = g / sqrt(v)                   (of a vector: v itself is kept)
        x <- x - max(eps2, rms(x)) min(lr, 1/sqrt(t)) u / max(1, rms(u) / d)

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the largest relative step.
        beta2_decay: at most 0: how fast the averages stop moving.
        eps: the least root of v (None: the dtype's precision), and the least size of a parameter.
        d: how long, in units of sqrt(its size), a step may be.
        weight_decay: decoupled: x <- (1 - lr weight_decay) x.
        maximize: climb instead of descending.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([[1.0, 1.0]], requires_grad=True)
        >>> optimizer = mg.optim.Adafactor([x], lr=0.5)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        tensor([[0.5, 0.5]], requires_grad=True)
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-2, beta2_decay: float = -0.8, eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0, weight_decay: float = 0.0, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay, "maximize": maximize,
        })  # fmt: skip

    def _check(self, group: Group) -> None:
        for name, expected, fine in (
            ("lr", "a number >= 0", group["lr"] >= 0),
            ("weight_decay", "a number >= 0", group["weight_decay"] >= 0),
            ("beta2_decay", "a number <= 0", group["beta2_decay"] <= 0),
            ("d", "a number >= 1", group["d"] >= 1),
            ("eps", "None or a number >= 0, and a number >= 0", (group["eps"][0] or 0) >= 0 and group["eps"][1] >= 0),
        ):
            if not fine:
                raise OptimizerError(f"Adafactor: {name} must be {expected}, got {group[name]!r}")

    def _step(self, p: Tensor, h: Group) -> None:
        x, g, s = p._data, p.grad._data, self.state[p]  # type: ignore[union-attr]
        xp = backend.namespace(x)
        g = -g if h["maximize"] else g
        t = s["step"] = s.get("step", 0) + 1
        new = t ** h["beta2_decay"]
        least = float(np.finfo(x.dtype).eps) if h["eps"][0] is None else h["eps"][0]
        rate = max(h["eps"][1], _rms(xp, x)) * min(h["lr"], 1 / math.sqrt(t))

        def moved(name: str, square: Any) -> Any:
            old = s.get(name)
            s[name] = xp.asarray(new * square if old is None else old + new * (square - old))
            return s[name]

        if g.ndim > 1:
            rows = moved("row_var", (g * g).mean(axis=-1, keepdims=True))
            columns = moved("col_var", (g * g).mean(axis=-2, keepdims=True))
            v = rows * columns / xp.maximum(rows.mean(axis=-2, keepdims=True), least)
        else:
            v = moved("variance", g * g)
        u = g / xp.sqrt(xp.maximum(v, least * least))
        length = max(1.0, _rms(xp, u) / h["d"])
        replace(p, xp.asarray(x * (1 - h["lr"] * h["weight_decay"]) - (rate / length) * u))


def _rms(xp: Any, a: Any) -> float:
    """The root of the mean square."""
    return math.sqrt(float(xp.mean(a * a)))
