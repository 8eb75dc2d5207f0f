"""Learning-rate schedules: each writes ``group["lr"]`` of an optimiser once an epoch, or once a step, as you call ``step()``.

A schedule is a factor on the rate that the optimiser began with. It is applied as the ratio of two neighbouring factors, so that
several schedules on one optimiser multiply, and a rate that you set by hand stays set. Unlike PyTorch's, these schedules do not
warn when they are stepped before the optimiser.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minigrad.optim.base import Optimizer, OptimizerError, plain

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "FactorLR",
    "InverseSqrtLR",
    "InverseTimeLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "warmup",
]

PerGroup = float | Sequence[float]


class LRScheduler(ABC):
    """Base class of the schedules; a subclass writes :meth:`get_lr`.

    Args:
        optimizer: whose ``group["lr"]`` to set.
        last_epoch: how many steps were taken before; -1 starts anew. Anything else needs groups with ``"initial_lr"``, which a
            loaded optimiser state has.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = _optimizer(optimizer, type(self).__name__)
        for k, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", plain(group["lr"]))
            elif "initial_lr" not in group:
                raise OptimizerError(
                    f"{type(self).__name__}: last_epoch={last_epoch} goes on from an earlier run, but group {k} does not say its "
                    f"'initial_lr'; load the optimiser's state first, or add initial_lr to the group"
                )
        self.base_lrs = [plain(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._start()

    def _start(self) -> None:
        """The step that every schedule takes when it is made."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    @abstractmethod
    def get_lr(self) -> list[float]:
        """The rate of each group at ``last_epoch``, from what it is now."""

    def _at(self) -> list[float]:
        """The rate of each group at ``last_epoch``, whatever it is now, where a schedule knows it."""
        return self.get_lr()

    def get_last_lr(self) -> list[float]:
        """The rate of each group, as the last step set it."""
        return self._last_lr

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch, or to the one named."""
        self._step_count += 1
        self._move(epoch)

    def _move(self, epoch: float | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch  # type: ignore[assignment]
        self._set(self.get_lr() if epoch is None else self._at())

    def _set(self, rates: list[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates):
            group["lr"] = lr
        self._last_lr = self._current()

    def _current(self) -> list[float]:
        return [plain(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """All but the optimiser and functions, as numbers, strings and lists."""
        return {name: _copied(value) for name, value in vars(self).items() if not _is_code(value)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was taken; the rate itself is part of the optimiser's state."""
        for name, value in state_dict.items():
            if name in vars(self) and not _is_code(vars(self)[name]):
                setattr(self, name, _copied(value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(last_epoch={self.last_epoch}, lr={self.get_last_lr()})"


def _is_code(value: Any) -> bool:
    return (
        callable(value)
        or isinstance(value, (Optimizer, LRScheduler))
        or (isinstance(value, list) and any(map(_is_code, value)))
    )


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, (list, tuple)) else value


def _optimizer(optimizer: Any, name: str) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: expected an optimiser, got {type(optimizer).__name__}")
    return optimizer


def _per_group(name: str, value: Any, optimizer: Optimizer) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        return [value] * len(optimizer.param_groups)
    if len(value) != len(optimizer.param_groups):
        raise OptimizerError(
            f"{name}: expected one value, or one for each of {len(optimizer.param_groups)} groups, got {len(value)}"
        )
    return list(value)


class FactorLR(LRScheduler):
    """A schedule that is known by its factor: ``lr_t = lr_0 factor(t)``. A subclass writes :meth:`factor`.

    Where ``floor`` is set, it is the distance from it that the factor shrinks.
    """

    floor = 0.0
    moves_on_resume = False
    """Whether making the schedule with ``last_epoch >= 0`` applies the ratio of the epoch it arrives at (PyTorch's schedules
    differ in that)."""

    @abstractmethod
    def factor(self, t: float) -> float:
        """The rate at epoch ``t``, as a share of the rate at the start."""

    def get_lr(self) -> list[float]:
        t, rates = self.last_epoch, self._current()
        if t > 0 and self._is_initial and not self.moves_on_resume:
            return rates
        now, before = self.factor(t), self.factor(t - 1) if t > 0 else 1.0
        if now == before:
            return rates
        if before == 0:
            return [lr + (base - self.floor) * now for lr, base in zip(rates, self.base_lrs)]
        return [self.floor + (lr - self.floor) * (now / before) for lr in rates]

    def _at(self) -> list[float]:
        now = self.factor(self.last_epoch)
        return [self.floor + (base - self.floor) * now for base in self.base_lrs]


class StepLR(FactorLR):
    """``lr_t = lr_0 gamma^floor(t / step_size)``: down by ``gamma`` every ``step_size`` epochs.

    Example:
        >>> import minigrad as mg
        >>> optimizer = mg.optim.SGD([mg.zeros(1, requires_grad=True)], lr=1.0)
        >>> scheduler = mg.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
        >>> for _ in range(4):
        ...     scheduler.step()
        >>> scheduler.get_last_lr()
        [0.25]
    """

    moves_on_resume = True

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return float(self.gamma ** (t // self.step_size))


class MultiStepLR(FactorLR):
    """Down by ``gamma`` at each epoch of ``milestones`` (twice at one that is listed twice)."""

    moves_on_resume = True

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return float(self.gamma ** bisect_right(self.milestones, t))


class ConstantLR(FactorLR):
    """``factor`` times the rate for ``total_iters`` epochs, then the rate itself."""

    moves_on_resume = True

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 <= factor <= 1:
            raise OptimizerError(f"ConstantLR: factor must be a number in [0, 1], got {factor!r}")
        self.share, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return self.share if t < self.total_iters else 1.0


class LinearLR(FactorLR):
    """From ``start_factor`` to ``end_factor`` times the rate in ``total_iters`` equal steps: warm-up, or linear decay."""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not 0 < start_factor <= 1:
            raise OptimizerError(f"LinearLR: start_factor must be a number in (0, 1], got {start_factor!r}")
        if not 0 <= end_factor <= 1:
            raise OptimizerError(f"LinearLR: end_factor must be a number in [0, 1], got {end_factor!r}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return self.start_factor + (self.end_factor - self.start_factor) * min(t, self.total_iters) / max(self.total_iters, 1)


class ExponentialLR(FactorLR):
    """``lr_t = lr_0 gamma^t``; the notes' ``e^(-k t)`` is ``gamma = math.exp(-k)``."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return float(self.gamma**t)


class InverseTimeLR(FactorLR):
    """``lr_t = lr_0 / (1 + k t)``, the notes' 1/t decay. Not in PyTorch.

    Example:
        >>> import minigrad as mg
        >>> optimizer = mg.optim.SGD([mg.zeros(1, requires_grad=True)], lr=1.0)
        >>> scheduler = mg.optim.lr_scheduler.InverseTimeLR(optimizer, k=1.0)
        >>> scheduler.step()
        >>> scheduler.get_last_lr()
        [0.5]
    """

    def __init__(self, optimizer: Optimizer, k: float, last_epoch: int = -1) -> None:
        if not k >= 0:
            raise OptimizerError(f"InverseTimeLR: k must be a number >= 0, got {k!r}")
        self.k = k
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return 1 / (1 + self.k * t)


class InverseSqrtLR(FactorLR):
    """``lr_t = lr_0 min((t + 1) / w, sqrt(w / (t + 1)))``: up in ``w = warmup_steps`` steps, then down as the root of t.

    With ``warmup_steps=1`` it is the notes' ``lr_0 / sqrt(t)``, counted from 1; with more, the transformer's schedule (Vaswani et
    al. 2017), whose peak ``lr_0`` is ``(d_model w)^-1/2`` there. Not in PyTorch.

    Example:
        >>> import minigrad as mg
        >>> optimizer = mg.optim.SGD([mg.zeros(1, requires_grad=True)], lr=1.0)
        >>> scheduler = mg.optim.lr_scheduler.InverseSqrtLR(optimizer)
        >>> for _ in range(3):
        ...     scheduler.step()
        >>> scheduler.get_last_lr()
        [0.5]
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int = 1, last_epoch: int = -1) -> None:
        if not warmup_steps >= 1:
            raise OptimizerError(f"InverseSqrtLR: warmup_steps must be a whole number >= 1, got {warmup_steps!r}")
        self.warmup_steps = warmup_steps
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return min((t + 1) / self.warmup_steps, math.sqrt(self.warmup_steps / (t + 1)))


class PolynomialLR(FactorLR):
    """``lr_t = lr_0 (1 - t / total_iters)^power``, and 0 from then on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return float((1 - min(t, self.total_iters) / max(self.total_iters, 1)) ** self.power)


class CosineAnnealingLR(FactorLR):
    """``lr_t = eta_min + (lr_0 - eta_min) (1 + cos(pi t / T_max)) / 2`` (Loshchilov & Hutter 2017); rises again after ``T_max``."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        self.floor = eta_min
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return (1 + math.cos(math.pi * t / self.T_max)) / 2


class LambdaLR(LRScheduler):
    """``lr_t = lr_0 lr_lambda(t)``, with one function, or one for each group.

    Functions are no part of the saved state: make the schedule with the same ones before loading it.
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | list[Callable[[int], float]], last_epoch: int = -1
    ) -> None:
        self.lr_lambdas = _per_group("LambdaLR: lr_lambda", lr_lambda, _optimizer(optimizer, "LambdaLR"))
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]


class MultiplicativeLR(LRScheduler):
    """``lr_t = lr_t-1 lr_lambda(t)``, with one function, or one for each group."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | list[Callable[[int], float]], last_epoch: int = -1
    ) -> None:
        self.lr_lambdas = _per_group("MultiplicativeLR: lr_lambda", lr_lambda, _optimizer(optimizer, "MultiplicativeLR"))
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        rates = self._current()
        return rates if self._is_initial else [lr * f(self.last_epoch) for lr, f in zip(rates, self.lr_lambdas)]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine in ``T_0`` epochs, then another, each ``T_mult`` times as long (SGDR, Loshchilov & Hutter 2017).

        lr_t = eta_min + (lr_0 - eta_min) (1 + cos(pi T_cur / T_i)) / 2

    ``step(epoch + batch / batches)`` moves within an epoch.
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise OptimizerError(f"CosineAnnealingWarmRestarts: {name} must be a whole number >= 1, got {value!r}")
        self.T_0, self.T_i, self.T_mult, self.eta_min = T_0, T_0, T_mult, eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        self._step_count += 1
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            self.last_epoch += 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise OptimizerError(f"CosineAnnealingWarmRestarts: epoch must be a number >= 0, got {epoch!r}")
        else:
            self.last_epoch, self.T_cur, self.T_i = math.floor(epoch), epoch, self.T_0
            if self.T_mult == 1:
                self.T_cur = epoch % self.T_0
            while self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        self._set(self.get_lr())


def _cycles_momentum(optimizer: Optimizer, name: str) -> bool:
    """Whether momentum is the first of ``betas``."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise OptimizerError(
            f"{name}: {type(optimizer).__name__} has neither momentum nor betas to cycle; pass cycle_momentum=False"
        )
    return "betas" in optimizer.defaults


def _set_momentum(group: dict[str, Any], value: float, use_beta1: bool) -> None:
    if use_beta1:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class CyclicLR(LRScheduler):
    """Up from ``base_lr`` to ``max_lr`` and down again, over and over (Smith 2017); momentum the other way round.

    Args:
        optimizer: whose rates to set.
        base_lr: the lowest rate, for all groups or for each.
        max_lr: the highest rate, for all groups or for each.
        step_size_up: steps from the lowest to the highest.
        step_size_down: steps back (as many if None).
        mode: ``"triangular"``; ``"triangular2"``, where the height halves with each cycle; ``"exp_range"``, where it shrinks by
            ``gamma`` with each step.
        gamma: for ``"exp_range"``.
        scale_fn: a function to scale the height by, in place of ``mode``; no part of the saved state.
        scale_mode: whether ``scale_fn`` is given the number of the cycle (``"cycle"``) or of the step (``"iterations"``).
        cycle_momentum: cycle ``momentum``, or the first of ``betas``, between ``max_momentum`` and ``base_momentum``.
        base_momentum: the momentum at the highest rate.
        max_momentum: the momentum at the lowest rate.
        last_epoch: how many steps were taken before.
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: PerGroup, max_lr: PerGroup, step_size_up: int = 2000,
        step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle", cycle_momentum: bool = True,
        base_momentum: PerGroup = 0.8, max_momentum: PerGroup = 0.9, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        groups = _optimizer(optimizer, "CyclicLR").param_groups
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise OptimizerError(f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}")
        lows = _per_group("CyclicLR: base_lr", base_lr, optimizer)
        self.max_lrs = _per_group("CyclicLR: max_lr", max_lr, optimizer)
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size, self.step_ratio = float(step_size_up + down), step_size_up / (step_size_up + down)
        self.mode, self.gamma, self.scale_fn = mode, gamma, scale_fn
        self.scale_mode = scale_mode if scale_fn else "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _cycles_momentum(optimizer, "CyclicLR")
            self.base_momentums = _per_group("CyclicLR: base_momentum", base_momentum, optimizer)
            self.max_momentums = _per_group("CyclicLR: max_momentum", max_momentum, optimizer)
        if last_epoch == -1:
            for group, lr in zip(groups, lows):
                group["lr"] = lr
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lows

    def _scale(self, cycle: int) -> float:
        t = cycle if self.scale_mode == "cycle" else self.last_epoch
        if self.scale_fn is not None:
            return self.scale_fn(t)
        return {"triangular": 1.0, "triangular2": 0.5 ** (t - 1), "exp_range": self.gamma**t}[self.mode]

    def get_lr(self) -> list[float]:
        done = self.last_epoch / self.total_size
        cycle = math.floor(1 + done)
        x = 1 + done - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (1 - x) / (1 - self.step_ratio)
        height *= self._scale(cycle)
        if self.cycle_momentum:
            for group, low, high in zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums):
                _set_momentum(group, high - (high - low) * height, self.use_beta1)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs)]


class OneCycleLR(LRScheduler):
    """One rise to ``max_lr`` and one long fall to almost nothing (Smith & Topin 2018); momentum the other way round.

    Args:
        optimizer: whose rates to set.
        max_lr: the highest rate, for all groups or for each.
        total_steps: the length of the cycle; or give
        epochs: and
        steps_per_epoch: whose product it is.
        pct_start: the share of the steps that rise.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: cycle ``momentum``, or the first of ``betas``, between ``max_momentum`` and ``base_momentum``.
        base_momentum: the momentum at the highest rate.
        max_momentum: the momentum at both ends.
        div_factor: the rate starts at ``max_lr / div_factor``
        final_div_factor: and ends at that over ``final_div_factor``.
        three_phase: fall back to the rate of the start as fast as it rose, and only then to the last.
        last_epoch: how many steps were taken before.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: PerGroup, total_steps: int | None = None, epochs: int | None = None,
        steps_per_epoch: int | None = None, pct_start: float = 0.3, anneal_strategy: str = "cos", cycle_momentum: bool = True,
        base_momentum: PerGroup = 0.85, max_momentum: PerGroup = 0.95, div_factor: float = 25.0, final_div_factor: float = 1e4,
        three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        groups = _optimizer(optimizer, "OneCycleLR").param_groups
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise OptimizerError("OneCycleLR: give total_steps, or both epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, int) or total_steps < 1:
            raise OptimizerError(f"OneCycleLR: the number of steps must be a whole number >= 1, got {total_steps!r}")
        if not 0 <= pct_start <= 1:
            raise OptimizerError(f"OneCycleLR: pct_start must be a number in [0, 1], got {pct_start!r}")
        if anneal_strategy not in ("cos", "linear"):
            raise OptimizerError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.total_steps, self.anneal_strategy, self.cycle_momentum = total_steps, anneal_strategy, cycle_momentum
        rise, last = pct_start * total_steps, float(total_steps - 1)
        self.ends = [rise - 1, 2 * rise - 2, last] if three_phase else [rise - 1, last]
        self.rates = ["initial_lr", "max_lr", "initial_lr", "min_lr"] if three_phase else ["initial_lr", "max_lr", "min_lr"]
        self.momenta = ["max_momentum", "base_momentum", "max_momentum", "max_momentum"]
        peaks = _per_group("OneCycleLR: max_lr", max_lr, optimizer)
        lows = _per_group("OneCycleLR: base_momentum", base_momentum, optimizer)
        highs = _per_group("OneCycleLR: max_momentum", max_momentum, optimizer)
        if cycle_momentum:
            self.use_beta1 = _cycles_momentum(optimizer, "OneCycleLR")
        if last_epoch == -1:
            for group, peak, low, high in zip(groups, peaks, lows, highs):
                group["initial_lr"], group["max_lr"] = peak / div_factor, peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["base_momentum"], group["max_momentum"] = low, high
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t = self.last_epoch
        if t > self.total_steps:
            raise OptimizerError(f"OneCycleLR: step {t} of a cycle of {self.total_steps} steps")
        phase = next((k for k, end in enumerate(self.ends) if t <= end), len(self.ends) - 1)
        start, end = self.ends[phase - 1] if phase else 0.0, self.ends[phase]
        share = (t - start) / (end - start) if end != start else 1.0
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[self.rates[phase]], group[self.rates[phase + 1]], share))
            if self.cycle_momentum:
                momentum = self._between(group[self.momenta[phase]], group[self.momenta[phase + 1]], share)
                _set_momentum(group, momentum, self.use_beta1)
        return rates

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "cos":
            return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
        return start + (end - start) * share


class ReduceLROnPlateau(LRScheduler):
    """Lower the rate when a measure has stopped getting better: ``scheduler.step(validation_loss)``.

    Args:
        optimizer: whose rates to set.
        mode: ``"min"`` if smaller is better, ``"max"`` if larger.
        factor: what the rate is multiplied by.
        patience: how many epochs without improvement are borne.
        threshold: an improvement that is smaller does not count,
        threshold_mode: as a share of the best so far (``"rel"``) or as a difference (``"abs"``).
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: the rate's lower bound, for all groups or for each.
        eps: a change of the rate that is not larger is not made.

    Example:
        >>> import minigrad as mg
        >>> optimizer = mg.optim.SGD([mg.zeros(1, requires_grad=True)], lr=1.0)
        >>> scheduler = mg.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
        >>> for loss in (1.0, 0.9, 0.9, 0.9):
        ...     scheduler.step(loss)
        >>> scheduler.get_last_lr()
        [0.5]
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
        threshold_mode: str = "rel", cooldown: int = 0, min_lr: PerGroup = 0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        self.optimizer = _optimizer(optimizer, "ReduceLROnPlateau")
        if not factor < 1:
            raise OptimizerError(f"ReduceLROnPlateau: factor must be a number < 1, got {factor!r}")
        if mode not in ("min", "max"):
            raise OptimizerError(f"ReduceLROnPlateau: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise OptimizerError(f"ReduceLROnPlateau: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        self.mode, self.factor, self.patience, self.threshold = mode, factor, patience, threshold
        self.threshold_mode, self.cooldown, self.eps = threshold_mode, cooldown, eps
        self.min_lrs = _per_group("ReduceLROnPlateau: min_lr", min_lr, optimizer)
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = self.num_bad_epochs = self.last_epoch = 0
        self._last_lr = self._current()

    @property
    def in_cooldown(self) -> bool:
        """Whether epochs are not being counted."""
        return self.cooldown_counter > 0

    def get_lr(self) -> list[float]:
        """The rates if they were lowered now."""
        if len(self.min_lrs) != len(self.optimizer.param_groups):
            raise OptimizerError(
                f"ReduceLROnPlateau: made for {len(self.min_lrs)} groups, but the optimiser now has {len(self.optimizer.param_groups)}"
            )
        lower = [max(lr * self.factor, least) for lr, least in zip(self._current(), self.min_lrs)]
        return [new if lr - new > self.eps else lr for lr, new in zip(self._current(), lower)]

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take note of a measure: a number, or a tensor with one element."""
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        better = self._is_better(value)
        self.num_bad_epochs = 0 if better else self.num_bad_epochs + 1
        self.best = value if better else self.best
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._set(self.get_lr())
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._current()

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        margin = sign * self.threshold
        return sign * value > sign * (self.best * (1 + margin) if self.threshold_mode == "rel" else self.best + margin)


class _Several(LRScheduler):
    """A schedule made of others, whose states are saved with it."""

    _schedulers: list[LRScheduler]

    def _take(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        if not schedulers:
            raise OptimizerError(f"{name}: expected at least one schedule, got none")
        self.optimizer = _optimizer(optimizer or schedulers[0].optimizer, name)
        for k, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise OptimizerError(
                    f"{name}: schedule {k} is a ReduceLROnPlateau, whose step needs a measure; step it by itself"
                )
            if scheduler.optimizer is not self.optimizer:
                raise OptimizerError(f"{name}: schedule {k} ({type(scheduler).__name__}) belongs to another optimiser")
        self._schedulers = list(schedulers)

    def get_lr(self) -> list[float]:
        return self._current()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"]):
            scheduler.load_state_dict(state)


class SequentialLR(_Several):
    """One schedule after the other: schedule k + 1 takes over at epoch ``milestones[k]`` and counts from 0.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.optim.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
        >>> optimizer = mg.optim.SGD([mg.zeros(1, requires_grad=True)], lr=1.0)
        >>> parts = [ConstantLR(optimizer, factor=0.5, total_iters=9), ExponentialLR(optimizer, gamma=0.5)]
        >>> scheduler = SequentialLR(optimizer, parts, milestones=[2])
        >>> for _ in range(4):
        ...     print(scheduler.get_last_lr())
        ...     scheduler.step()
        [0.5]
        [0.5]
        [1.0]
        [0.5]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        self._take(schedulers, _optimizer(optimizer, "SequentialLR"))
        if len(milestones) != len(schedulers) - 1:
            raise OptimizerError(
                f"SequentialLR: {len(schedulers)} schedules change {len(schedulers) - 1} times, but there are {len(milestones)} milestones"
            )
        for k, scheduler in enumerate(schedulers):
            if isinstance(scheduler, SequentialLR) or (k and isinstance(scheduler, _Several)):
                raise OptimizerError(
                    f"SequentialLR: schedule {k} is a {type(scheduler).__name__}, which cannot begin again from its epoch 0; "
                    f"list its parts here"
                )
        self._milestones, self.last_epoch = list(milestones), last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        _undo(self._schedulers)
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._start()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: float | None = None) -> None:
        if epoch is not None:
            raise OptimizerError("SequentialLR: goes one epoch at a time; call step() without an epoch")
        self.last_epoch += 1
        k = bisect_right(self._milestones, self.last_epoch)
        if k and self._milestones[k - 1] == self.last_epoch:
            self._schedulers[k]._move(0)
        else:
            self._schedulers[k].step()
        self._last_lr = self._schedulers[k].get_last_lr()


def _undo(schedulers: Iterable[LRScheduler]) -> None:
    """Take back the step that each schedule took when it was made."""
    for scheduler in schedulers:
        if isinstance(scheduler, _Several):
            _undo(scheduler._schedulers)
        else:
            scheduler.last_epoch -= 1


class ChainedScheduler(_Several):
    """Several schedules at once: each changes the rate that the one before it has set."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self._take(schedulers, optimizer)
        self._last_lr = self._current()

    def step(self, epoch: float | None = None) -> None:
        for scheduler in self._schedulers:
            scheduler.step(epoch)
        self._last_lr = self._current()


def warmup(optimizer: Optimizer, steps: int, then: LRScheduler | None = None, start_factor: float = 0.01) -> LRScheduler:
    """Raise the rate linearly from ``start_factor`` times to the whole rate in ``steps`` steps; ``then`` goes on from its epoch 0.

    Large batches need it: N times the batch size goes with N times the rate (the notes' rule; Goyal et al. 2017), and such a rate
    is too much for the first steps.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.optim.lr_scheduler import CosineAnnealingLR, warmup
        >>> optimizer = mg.optim.SGD([mg.zeros(1, requires_grad=True)], lr=1.0)
        >>> scheduler = warmup(optimizer, 2, CosineAnnealingLR(optimizer, T_max=4), start_factor=0.5)
        >>> for _ in range(5):
        ...     print(f"{scheduler.get_last_lr()[0]:.2f}", end=" ")
        ...     scheduler.step()
        0.50 0.75 1.00 0.85 0.50
    """
    if not steps >= 1:
        raise OptimizerError(f"warmup: steps must be a whole number >= 1, got {steps!r}")
    rise = LinearLR(optimizer, start_factor=start_factor, total_iters=steps)
    return rise if then is None else SequentialLR(optimizer, [rise, then], [steps])
