"""Methods with a step size for every element, learned from the gradients that it has seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.optim.base import Elementwise, Group, Parameters, State

Betas = tuple[float, float]


def _filled(p: Any, h_value: float = 0.0) -> Any:
    return backend.namespace(p).full(p.shape, h_value, dtype=p.dtype)


def _mean(average: Any, new: Any, kept: float) -> Any:
    """The running average: ``kept`` of the old one and the rest of the new value. Two arrays, not three."""
    mean = kept * average
    mean += (1 - kept) * new
    return mean


class Adagrad(Elementwise):
    """AdaGrad (Duchi et al. 2011): the more an element's gradient has been, the smaller its steps.

        r <- r + g^2,    x <- x - lr / (1 + (t - 1) lr_decay) * g / (sqrt(r) + eps)

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the learning rate.
        lr_decay: how fast the rate itself decays.
        weight_decay: the L2 penalty's factor.
        initial_accumulator_value: r before the first step.
        eps: keeps the denominator from zero.
        maximize: climb instead of descending.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 100.0], requires_grad=True)
        >>> optimizer = mg.optim.Adagrad([x], lr=0.5)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        tensor([ 0.5, 99.5], requires_grad=True)
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "maximize": maximize,
        })  # fmt: skip

    def fresh(self, p: Any, h: Group) -> State:
        return {"step": 0, "sum": _filled(p, h["initial_accumulator_value"])}

    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        r = s["sum"] = s["sum"] + g * g
        return p - h["lr"] / (1 + (s["step"] - 1) * h["lr_decay"]) * g / (np.sqrt(r) + h["eps"])


class RMSprop(Elementwise):
    """RMSProp (Tieleman & Hinton 2012): AdaGrad that forgets, so that its steps do not die out.

        r <- alpha r + (1 - alpha) g^2,    x <- x - lr g / (sqrt(r) + eps)
        centered:  r - m^2 in place of r, with m <- alpha m + (1 - alpha) g     (the variance, not the mean square)
        momentum:  v <- momentum v + g / (sqrt(r) + eps),    x <- x - lr v

    ``eps`` stands outside the root, as in PyTorch; the notes print both forms.

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the learning rate.
        alpha: how much of r stays at each step.
        eps: keeps the denominator from zero.
        weight_decay: the L2 penalty's factor.
        momentum: how much of the velocity stays at each step.
        centered: divide by the standard deviation of the gradient.
        maximize: climb instead of descending.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 100.0], requires_grad=True)
        >>> optimizer = mg.optim.RMSprop([x], lr=0.25, alpha=0.75)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        tensor([ 0.5, 99.5], requires_grad=True)
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
        momentum: float = 0, centered: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered, "weight_decay": weight_decay,
            "maximize": maximize,
        })  # fmt: skip

    def fresh(self, p: Any, h: Group) -> State:
        names = ["square_avg", *["momentum_buffer"] * (h["momentum"] > 0), *["grad_avg"] * bool(h["centered"])]
        return {"step": 0, **{name: _filled(p) for name in names}}

    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        r = s["square_avg"] = _mean(s["square_avg"], g * g, h["alpha"])
        if h["centered"]:
            m = s["grad_avg"] = _mean(s["grad_avg"], g, h["alpha"])
            r = r - m * m
        v = g / (np.sqrt(r) + h["eps"])
        if h["momentum"]:
            v = s["momentum_buffer"] = h["momentum"] * s.get("momentum_buffer", 0) + v
        return p - h["lr"] * v


class Adadelta(Elementwise):
    """AdaDelta (Zeiler 2012): steps in the units of the parameter, from the steps taken so far, so that lr = 1 will do.

        r <- rho r + (1 - rho) g^2
        d  = sqrt(u + eps) / sqrt(r + eps) g
        u <- rho u + (1 - rho) d^2,    x <- x - lr d

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: a factor on the step.
        rho: how much of both averages stays at each step.
        eps: starts the steps, and keeps the denominator from zero.
        weight_decay: the L2 penalty's factor.
        maximize: climb instead of descending.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([2.0], requires_grad=True)
        >>> optimizer = mg.optim.Adadelta([x], rho=0.0, eps=1.0)
        >>> (x * 0.75).sum().backward()
        >>> optimizer.step()
        >>> print(f"{x.item():.2f}")
        1.40
    """

    def __init__(
        self, params: Parameters, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0, *,
        maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def fresh(self, p: Any, h: Group) -> State:
        return {"step": 0, "square_avg": _filled(p), "acc_delta": _filled(p)}

    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        r = s["square_avg"] = _mean(s["square_avg"], g * g, h["rho"])
        d = np.sqrt(s["acc_delta"] + h["eps"]) / np.sqrt(r + h["eps"]) * g
        s["acc_delta"] = _mean(s["acc_delta"], d * d, h["rho"])
        return p - h["lr"] * d


class Adam(Elementwise):
    """Adam (Kingma & Ba 2015): momentum and RMSProp, both corrected for having started from zero.

        m <- b1 m + (1 - b1) g,    v <- b2 v + (1 - b2) g^2
        x <- x - lr m' / (sqrt(v') + eps),    m' = m / (1 - b1^t),  v' = v / (1 - b2^t)
        amsgrad (Reddi et al. 2018):  the largest v so far in place of v

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the learning rate: about how far an element moves in a step.
        betas: how much of m and of v stays at each step.
        eps: keeps the denominator from zero.
        weight_decay: the L2 penalty's factor; see :class:`AdamW` for decay that is not rescaled.
        amsgrad: never let the denominator shrink.
        maximize: climb instead of descending.
        decoupled_weight_decay: what :class:`AdamW` does.
        bias_correction: False leaves m and v as they are, the notes' first form. PyTorch has no such switch.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 100.0], requires_grad=True)
        >>> optimizer = mg.optim.Adam([x], lr=0.5)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> print(f"{x[0].item():.4f} {x[1].item():.4f}")
        0.5000 99.5000
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0,
        amsgrad: bool = False, *, maximize: bool = False, decoupled_weight_decay: bool = False, bias_correction: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay, "bias_correction": bias_correction,
        })  # fmt: skip

    def fresh(self, p: Any, h: Group) -> State:
        names = ["exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * bool(h["amsgrad"])]
        return {"step": 0, **{name: _filled(p) for name in names}}

    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        (b1, b2), t, m, v = h["betas"], s["step"], s["exp_avg"], s["exp_avg_sq"]
        # In place, and with both corrections in two numbers: 13 passes instead of 19.
        part = (1 - b1) * g
        m *= b1
        m += part
        part = np.multiply(g, g, out=part)
        part *= 1 - b2
        v *= b2
        v += part
        if h["amsgrad"]:
            v = np.maximum(s["max_exp_avg_sq"], v, out=s["max_exp_avg_sq"])
        c1, c2 = (1 - b1**t, (1 - b2**t) ** 0.5) if h["bias_correction"] else (1, 1)
        part = np.sqrt(v, out=part)
        part += h["eps"] * c2
        part = np.divide(m, part, out=part)
        part *= h["lr"] * c2 / c1
        return np.subtract(p, part, out=part)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): ``x <- (1 - lr weight_decay) x``, then Adam's step.

    The decay is not divided by ``sqrt(v)``, so every element shrinks by the same factor.

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the learning rate.
        betas: how much of m and of v stays at each step.
        eps: keeps the denominator from zero.
        weight_decay: the share, times ``lr``, by which the parameter shrinks at each step.
        amsgrad: never let the denominator shrink.
        maximize: climb instead of descending.
        bias_correction: False leaves m and v as they are. PyTorch has no such switch.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 100.0], requires_grad=True)
        >>> optimizer = mg.optim.AdamW([x], lr=0.5, weight_decay=0.5)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> print(f"{x[0].item():.4f} {x[1].item():.4f}")
        0.2500 74.5000
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2,
        amsgrad: bool = False, *, maximize: bool = False, bias_correction: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True,
            bias_correction=bias_correction,
        )  # fmt: skip


class Adamax(Elementwise):
    """AdaMax (Kingma & Ba 2015, section 7.1): Adam with the largest recent gradient in place of the root mean square.

        m <- b1 m + (1 - b1) g,    u <- max(b2 u, |g| + eps)
        x <- x - lr / (1 - b1^t) m / u

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the learning rate.
        betas: how much of m and of u stays at each step.
        eps: keeps the denominator from zero.
        weight_decay: the L2 penalty's factor.
        maximize: climb instead of descending.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 100.0], requires_grad=True)
        >>> optimizer = mg.optim.Adamax([x], lr=0.5)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        tensor([ 0.5, 99.5], requires_grad=True)
    """

    def __init__(
        self, params: Parameters, lr: float = 2e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0, *,
        maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def fresh(self, p: Any, h: Group) -> State:
        return {"step": 0, "exp_avg": _filled(p), "exp_inf": _filled(p)}

    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        b1, b2 = h["betas"]
        m = s["exp_avg"] = _mean(s["exp_avg"], g, b1)
        u = s["exp_inf"] = np.maximum(b2 * s["exp_inf"], abs(g) + h["eps"])
        return p - h["lr"] / (1 - b1 ** s["step"]) * m / u


class NAdam(Elementwise):
    """NAdam (Dozat 2016): Adam that looks ahead as Nesterov's momentum does, with a momentum that grows to its final value.

        m <- b1 m + (1 - b1) g,    v <- b2 v + (1 - b2) g^2,    mu_t = b1 (1 - 0.96^(t momentum_decay) / 2)
        x <- x - lr ((1 - mu_t) / (1 - mu_1..mu_t) g + mu_t+1 / (1 - mu_1..mu_t+1) m) / (sqrt(v / (1 - b2^t)) + eps)

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the learning rate.
        betas: how much of m and of v stays at each step.
        eps: keeps the denominator from zero.
        weight_decay: the L2 penalty's factor.
        momentum_decay: how fast the momentum grows.
        decoupled_weight_decay: shrink the parameter as :class:`AdamW` does.
        maximize: climb instead of descending.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 100.0], requires_grad=True)
        >>> optimizer = mg.optim.NAdam([x], lr=0.5)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> print(f"{x[0].item():.4f} {x[1].item():.4f}")
        0.4718 99.4718
    """

    def __init__(
        self, params: Parameters, lr: float = 2e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0,
        momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
        })  # fmt: skip

    def fresh(self, p: Any, h: Group) -> State:
        return {"step": 0, "mu_product": 1.0, "exp_avg": _filled(p), "exp_avg_sq": _filled(p)}

    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        (b1, b2), t = h["betas"], s["step"]
        mu, ahead = (b1 * (1 - 0.96 ** (k * h["momentum_decay"]) / 2) for k in (t, t + 1))
        product = s["mu_product"] = s["mu_product"] * mu
        m = s["exp_avg"] = _mean(s["exp_avg"], g, b1)
        v = s["exp_avg_sq"] = _mean(s["exp_avg_sq"], g * g, b2)
        direction = (1 - mu) / (1 - product) * g + ahead / (1 - product * ahead) * m
        return p - h["lr"] * direction / (np.sqrt(v / (1 - b2**t)) + h["eps"])


class RAdam(Elementwise):
    """RAdam (Liu et al. 2020): Adam that uses v only once enough gradients have been seen to trust it.

        x <- x - lr m' r / ((sqrt(v) + eps) / sqrt(1 - b2^t))     if rho > 5, else  x - lr m'
        rho = R - 2 t b2^t / (1 - b2^t),    R = 2 / (1 - b2) - 1
        r = sqrt((rho - 4) (rho - 2) R / ((R - 4) (R - 2) rho))

    with m, m' and v as in :class:`Adam`.

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the learning rate.
        betas: how much of m and of v stays at each step.
        eps: keeps the denominator from zero.
        weight_decay: the L2 penalty's factor.
        decoupled_weight_decay: shrink the parameter as :class:`AdamW` does.
        maximize: climb instead of descending.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 4.0], requires_grad=True)
        >>> optimizer = mg.optim.RAdam([x], lr=0.25)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        tensor([0.5, 2. ], requires_grad=True)
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-3, betas: Betas = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0,
        decoupled_weight_decay: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        })  # fmt: skip

    def fresh(self, p: Any, h: Group) -> State:
        return {"step": 0, "exp_avg": _filled(p), "exp_avg_sq": _filled(p)}

    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        (b1, b2), t = h["betas"], s["step"]
        m = s["exp_avg"] = _mean(s["exp_avg"], g, b1)
        v = s["exp_avg_sq"] = _mean(s["exp_avg_sq"], g * g, b2)
        step = h["lr"] / (1 - b1**t) * m
        full = 2 / (1 - b2) - 1
        rho = full - 2 * t * b2**t / (1 - b2**t)
        if rho > 5:
            trust = math.sqrt((rho - 4) * (rho - 2) * full / ((full - 4) * (full - 2) * rho) * (1 - b2**t))
            step = trust * step / (np.sqrt(v) + h["eps"])
        return p - step


class Rprop(Elementwise):
    """Resilient backpropagation (Riedmiller & Braun 1993): only the gradient's sign counts. For full batches, not mini-batches.

    An element's own step grows by ``etas[1]`` while its gradient keeps its sign, and shrinks by ``etas[0]`` where the sign
    changes; there the element rests for one step.

    Args:
        params: tensors or groups (see :class:`Optimizer`).
        lr: the first step.
        etas: the factors by which a step shrinks and grows.
        step_sizes: the smallest and the largest step.
        maximize: climb instead of descending.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 100.0], requires_grad=True)
        >>> optimizer = mg.optim.Rprop([x], lr=0.5)
        >>> (x * x).sum().backward()
        >>> optimizer.step()
        >>> x
        tensor([ 0.5, 99.5], requires_grad=True)
    """

    def __init__(
        self, params: Parameters, lr: float = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize})

    def fresh(self, p: Any, h: Group) -> State:
        return {"step": 0, "prev": _filled(p), "step_size": _filled(p, h["lr"])}

    def update(self, p: Any, g: Any, s: State, h: Group) -> Any:
        (shrink, grow), (smallest, largest) = h["etas"], h["step_sizes"]
        agreement = np.sign(g * s["prev"])
        turned = agreement < 0
        factor = 1 + (grow - 1) * (agreement > 0) - (1 - shrink) * turned
        size = s["step_size"] = np.clip(s["step_size"] * factor.astype(p.dtype), smallest, largest)
        g = s["prev"] = g * ~turned
        return p - np.sign(g) * size
