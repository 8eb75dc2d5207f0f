"""Gradient descent: plain, with momentum, Nesterov's, and averaged."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import backend
from minigrad.optim.base import Elementwise, Group, OptimizerError, Parameters, State


class SGD(Elementwise):
    """Stochastic gradient descent (Robbins & Monro 1951) with momentum (Polyak 1964; Nesterov 1983, Sutskever et al. 2013).

        v <- momentum v + (1 - dampening) g          (v = g the first time)
        x <- x - lr v                                or, nesterov: x - lr (g + momentum v)

    The notes' ``v <- a v - e g, x <- x + v`` is the same for a constant rate, with their v equal to ``-lr`` times this one; here
    a change of ``lr`` acts at once on the whole velocity. Nesterov's gradient at the point looked ahead to,
    ``v <- a v - e g(x + a v), x <- x + v``, becomes the form above by the change of variables ``y = x + a v``: the parameters
    held here are the y, the points where gradients are taken.

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the learning rate.
        momentum: how much of the velocity stays at each step.
        dampening: how much of each gradient is kept out of the velocity.
        weight_decay: the L2 penalty's factor: adds ``weight_decay x`` to the gradient.
        nesterov: use Nesterov's momentum; needs ``momentum > 0`` and ``dampening = 0``.
        maximize: climb instead of descending.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor(1.0, requires_grad=True)
        >>> optimizer = mg.optim.SGD([x], lr=0.25)
        >>> (x * x).backward()
        >>> optimizer.step()
        >>> x.item()
        0.5
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
        nesterov: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize,
        })  # fmt: skip

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise OptimizerError(
                f"SGD: nesterov needs momentum > 0 and dampening = 0, got momentum={group['momentum']!r} and "
                f"dampening={group['dampening']!r}"
            )

    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        momentum = h["momentum"]
        if momentum:
            v = s.get("momentum_buffer")
            v = s["momentum_buffer"] = g if v is None else momentum * v + (1 - h["dampening"]) * g
            g = g + momentum * v if h["nesterov"] else v
        move = h["lr"] * g
        return np.subtract(p, move, out=move)


class ASGD(Elementwise):
    """Averaged stochastic gradient descent (Polyak & Juditsky 1992): the mean of the path is a better answer than its end.

        x  <- (1 - lambd eta) x - eta g,        eta <- lr / (1 + lambd lr t)^alpha
        ax <- ax + mu (x - ax),                 mu  <- 1 / max(1, t - t0)

    The average stands in ``optimizer.state[p]["ax"]``; until step ``t0`` it is the parameter itself.

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the learning rate at the start.
        lambd: the decay of the parameter and of the rate.
        alpha: the power by which the rate decays.
        t0: the step from which on to average.
        weight_decay: the L2 penalty's factor.
        maximize: climb instead of descending.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 1.0], requires_grad=True)
        >>> optimizer = mg.optim.ASGD([x], lr=0.5, lambd=0.0)
        >>> (x * x / 2).sum().backward()
        >>> optimizer.step()
        >>> x
        tensor([0.5, 0.5], requires_grad=True)
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            params, {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "maximize": maximize}
        )

    def fresh(self, p: Any, h: Group) -> State:
        return {"step": 0, "eta": float(h["lr"]), "mu": 1.0, "ax": backend.namespace(p).zeros(p.shape, dtype=p.dtype)}

    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        t, lr, lambd, ax = s["step"], h["lr"], h["lambd"], s["ax"]
        new = (1 - lambd * s["eta"]) * p - s["eta"] * g
        s["ax"] = new if s["mu"] == 1 else ax + s["mu"] * (new - ax)
        s["eta"] = lr / (1 + lambd * lr * t) ** h["alpha"]
        s["mu"] = 1 / max(1, t - h["t0"])
        return new
