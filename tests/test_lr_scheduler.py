"""Schedules: their formulas, PyTorch's path over option grids and in combination, saved states, misuse."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim
from minigrad.optim import lr_scheduler as schedules

WHY = "parity tests compare with PyTorch, which is not installed"
Make = Callable[[Any, Any], Any]


def ours(kind: str = "SGD", **options: Any) -> optim.Optimizer:
    groups = [{"params": [mg.zeros(2, requires_grad=True)]}, {"params": [mg.zeros(1, requires_grad=True)], "lr": 0.03}]
    made: optim.Optimizer = getattr(optim, kind)(groups, lr=0.5, **options)
    return made


def theirs(torch: Any, kind: str = "SGD", **options: Any) -> Any:
    def zeros(n: int) -> Any:
        return torch.zeros(n, requires_grad=True, dtype=torch.float64)

    return getattr(torch.optim, kind)([{"params": [zeros(2)]}, {"params": [zeros(1)], "lr": 0.03}], lr=0.5, **options)


def path(optimizer: Any, scheduler: Any, steps: int = 50, measure: Callable[[int], float] | None = None) -> list[list[float]]:
    """Rates and momenta of each group before every step and after the last."""
    rows = []
    for t in range(steps + 1):
        rows.append([x for g in optimizer.param_groups for x in (g["lr"], g.get("momentum", 0), *g.get("betas", ()))])
        assert scheduler.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
        if t < steps:
            optimizer.step()
            scheduler.step() if measure is None else scheduler.step(measure(t))
    return rows


SINGLE: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 1, "gamma": 0.9}),
    ("StepLR", {"step_size": 5, "gamma": 1.2}),
    ("MultiStepLR", {"milestones": [3, 3, 10, 40]}),
    ("MultiStepLR", {"milestones": [0, 20], "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [30, 10], "gamma": 0.5}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.2, "total_iters": 17}),
    ("ConstantLR", {"factor": 1.0}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.01, "total_iters": 20}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 30}),
    ("LinearLR", {"total_iters": 0}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("ExponentialLR", {"gamma": 0.0}),
    ("ExponentialLR", {"gamma": 1.05}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 30, "power": 2.5}),
    ("PolynomialLR", {"total_iters": 80, "power": 0.5}),
    ("CosineAnnealingLR", {"T_max": 50}),
    ("CosineAnnealingLR", {"T_max": 12}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 1, "eta_min": 0.1}),
    ("CosineAnnealingWarmRestarts", {"T_0": 10}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3}),
    ("LambdaLR", {"lr_lambda": lambda t: 0.95**t}),
    ("LambdaLR", {"lr_lambda": [lambda t: 1 / (1 + t), lambda t: 1 + t]}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 1 - 1 / (t + 2)}),
    ("MultiplicativeLR", {"lr_lambda": [lambda t: 0.9, lambda t: 1.1]}),
]
CYCLES: list[tuple[str, dict[str, Any]]] = [
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.4, "step_size_up": 8}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.4, "step_size_up": 5, "step_size_down": 9, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": [0.4, 0.5], "step_size_up": 6, "mode": "exp_range", "gamma": 0.97}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.4, "step_size_up": 8, "cycle_momentum": False}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.4, "step_size_up": 8, "base_momentum": 0.6, "max_momentum": [0.8, 0.95]}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.4, "step_size_up": 8, "scale_fn": lambda c: 1 / c}),
    ("CyclicLR", {"base_lr": 0.0, "max_lr": 0.4, "step_size_up": 4, "scale_fn": lambda t: 0.98**t, "scale_mode": "iterations"}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 51}),
    ("OneCycleLR", {"max_lr": [0.3, 0.1], "epochs": 6, "steps_per_epoch": 10, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 60, "pct_start": 0.4, "three_phase": True}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 60, "pct_start": 0.1, "three_phase": True, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 50, "cycle_momentum": False, "div_factor": 5.0, "final_div_factor": 10.0}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 55, "base_momentum": [0.7, 0.8], "max_momentum": 0.99, "pct_start": 0.0}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 55, "pct_start": 1.0}),
]


def label(value: Any) -> str:
    if isinstance(value, str):
        return value
    named = {k: "functions" if isinstance(v, list) and callable(v[0]) else v for k, v in value.items() if not callable(v)}
    return "-".join(f"{k}={v}" for k, v in named.items())


@pytest.mark.parametrize(("name", "options"), SINGLE + CYCLES, ids=label)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_fifty_steps_as_in_pytorch(name: str, options: dict[str, Any], kind: str) -> None:
    torch = pytest.importorskip("torch", reason=WHY)
    settings = {"momentum": 0.9} if kind == "SGD" else {}
    a, b = ours(kind, **settings), theirs(torch, kind, **settings)
    one = path(a, getattr(schedules, name)(a, **options))
    other = path(b, getattr(torch.optim.lr_scheduler, name)(b, **options))
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15)


COMBINED: dict[str, Make] = {
    "sequential": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 20), s.ExponentialLR(o, 0.9)], [5, 30]
    ),
    "sequential-constant": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.9)], [20]),
    "sequential-restarts": lambda s, o: s.SequentialLR(
        o, [s.CosineAnnealingWarmRestarts(o, 4, 2, 0.01), s.StepLR(o, 3), s.CosineAnnealingWarmRestarts(o, 5)], [13, 20]
    ),
    "sequential-lambda": lambda s, o: s.SequentialLR(
        o, [s.PolynomialLR(o, 6), s.LambdaLR(o, lambda t: 1 / (1 + t)), s.MultiStepLR(o, [2, 4])], [6, 20]
    ),
    "sequential-multiplicative": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o), s.MultiplicativeLR(o, lambda t: 0.97)], [9]
    ),
    "sequential-milestone-0": lambda s, o: s.SequentialLR(o, [s.StepLR(o, 3), s.ExponentialLR(o, 0.9)], [0]),
    "sequential-onecycle": lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.5, 9), s.OneCycleLR(o, 0.3, 60)], [8]),
    "sequential-cyclic": lambda s, o: s.SequentialLR(o, [s.CyclicLR(o, 0.1, 0.3, 5), s.ExponentialLR(o, 0.9)], [12]),
    "chained": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 7), s.ExponentialLR(o, 0.9)]),
    "chained-three": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o, 0.2, total_iters=10), s.CosineAnnealingLR(o, 15, 0.001), s.StepLR(o, 12, 0.5)], optimizer=o
    ),
    "chained-sequential": lambda s, o: s.ChainedScheduler(
        [s.SequentialLR(o, [s.LinearLR(o), s.PolynomialLR(o, 40, 2.0)], [5]), s.MultiStepLR(o, [10, 30], 0.5)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMBINED)
def test_combinations_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason=WHY)
    a, b = ours(momentum=0.9), theirs(torch, momentum=0.9)
    make = COMBINED[name]
    np.testing.assert_allclose(path(a, make(schedules, a)), path(b, make(torch.optim.lr_scheduler, b)), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", COMBINED)
def test_combinations_of_loose_schedules_multiply_and_keep_a_rate_set_by_hand(name: str) -> None:
    torch = pytest.importorskip("torch", reason=WHY)
    rows = []
    for o, s in ((ours(momentum=0.9), schedules), (theirs(torch, momentum=0.9), torch.optim.lr_scheduler)):
        first, second = COMBINED[name](s, o), s.ExponentialLR(o, 0.95)
        row = []
        for t in range(30):
            o.step()
            first.step()
            second.step()
            if t == 11:
                o.param_groups[0]["lr"] = 0.7
            row.append([g["lr"] for g in o.param_groups])
        rows.append(row)
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-9, atol=1e-15)


PLATEAU: list[dict[str, Any]] = [
    {},
    {"patience": 2},
    {"patience": 0, "factor": 0.5},
    {"mode": "max", "patience": 3},
    {"patience": 2, "threshold": 0.05},
    {"patience": 2, "threshold": 0.05, "threshold_mode": "abs"},
    {"mode": "max", "patience": 2, "threshold": 0.05},
    {"mode": "max", "patience": 2, "threshold": 0.05, "threshold_mode": "abs"},
    {"patience": 1, "cooldown": 4},
    {"patience": 1, "min_lr": 0.01},
    {"patience": 1, "min_lr": [0.1, 0.02], "eps": 1e-3},
]
MEASURES: list[Callable[[int], float]] = [
    lambda t: 1 / (1 + t // 7),
    lambda t: math.sin(t / 5) - 0.5,
    lambda t: t / 10,
    lambda t: math.nan if t % 3 else -1.0,
]


@pytest.mark.parametrize("options", PLATEAU, ids=label)
@pytest.mark.parametrize("measure", MEASURES, ids=["stairs", "wave", "ramp", "nan"])
def test_plateau_as_in_pytorch(options: dict[str, Any], measure: Callable[[int], float]) -> None:
    torch = pytest.importorskip("torch", reason=WHY)
    a, b = ours(), theirs(torch)
    one, other = schedules.ReduceLROnPlateau(a, **options), torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    np.testing.assert_allclose(path(a, one, measure=measure), path(b, other, measure=measure), rtol=1e-9)
    assert (one.num_bad_epochs, one.cooldown_counter) == (other.num_bad_epochs, other.cooldown_counter)


RESUMED = [case for case in SINGLE if case[1].get("gamma") != 0.0]  # 0 / 0 is as good as any rate there


@pytest.mark.parametrize(("name", "options"), RESUMED + CYCLES[:7], ids=label)
@pytest.mark.parametrize("last_epoch", [0, 4, 8])
def test_last_epoch_as_in_pytorch(name: str, options: dict[str, Any], last_epoch: int) -> None:
    torch = pytest.importorskip("torch", reason=WHY)
    rows = []
    for o, s in ((ours(momentum=0.9), schedules), (theirs(torch, momentum=0.9), torch.optim.lr_scheduler)):
        for group in o.param_groups:
            group["initial_lr"] = 0.25
        rows.append(path(o, getattr(s, name)(o, last_epoch=last_epoch, **options), steps=20))
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-9, atol=1e-15)


NAMED = [case for case in SINGLE[:24] if case[1].get("total_iters") != 0]  # PyTorch divides by zero


@pytest.mark.parametrize(("name", "options"), NAMED, ids=label)
def test_steps_to_a_named_epoch_as_in_pytorch(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason=WHY)
    epochs = [0, 3, 1, 7, 12, 40] + ([0.5, 3.25, 8.75] if "Warm" in name else [])
    rows = []
    import warnings

    for o, s in ((ours(), schedules), (theirs(torch), torch.optim.lr_scheduler)):
        scheduler, row = getattr(s, name)(o, **options), []
        o.step()
        for epoch in epochs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch discourages the argument
                scheduler.step(epoch)
            row.append(scheduler.get_last_lr())
        scheduler.step()
        rows.append([*row, scheduler.get_last_lr()])
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-9, atol=1e-15)


def test_defaults_and_argument_order_are_pytorchs() -> None:
    torch = pytest.importorskip("torch", reason=WHY)
    import inspect

    for name in schedules.__all__:
        other = getattr(torch.optim.lr_scheduler, name, None)
        if other is not None:
            one = getattr(schedules, name)
            mine = {k: v.default for k, v in inspect.signature(one).parameters.items()}
            assert mine == {k: v.default for k, v in inspect.signature(other).parameters.items()}, name
            assert list(mine) == list(inspect.signature(other).parameters), name


FORMULAS: dict[str, tuple[Callable[[optim.Optimizer], Any], Callable[[int], float]]] = {
    "step": (lambda o: schedules.StepLR(o, 4, 0.5), lambda t: 0.5 ** (t // 4)),
    "multi-step": (lambda o: schedules.MultiStepLR(o, [2, 5]), lambda t: 0.1 ** ((t >= 2) + (t >= 5))),
    "e^-kt": (lambda o: schedules.ExponentialLR(o, math.exp(-0.3)), lambda t: math.exp(-0.3 * t)),
    "1/t": (lambda o: schedules.InverseTimeLR(o, 0.4), lambda t: 1 / (1 + 0.4 * t)),
    "1/sqrt(t)": (lambda o: schedules.InverseSqrtLR(o), lambda t: 1 / math.sqrt(t + 1)),
    "transformer": (lambda o: schedules.InverseSqrtLR(o, 8), lambda t: min((t + 1) / 8, math.sqrt(8 / (t + 1)))),
    "cosine": (lambda o: schedules.CosineAnnealingLR(o, 20), lambda t: (1 + math.cos(math.pi * t / 20)) / 2),
    "restarts": (
        lambda o: schedules.CosineAnnealingWarmRestarts(o, 6), lambda t: (1 + math.cos(math.pi * (t % 6) / 6)) / 2
    ),
    "linear": (lambda o: schedules.LinearLR(o, 0.2, 1.0, 10), lambda t: 0.2 + 0.8 * min(t, 10) / 10),
    "polynomial": (lambda o: schedules.PolynomialLR(o, 15, 2.0), lambda t: (1 - min(t, 15) / 15) ** 2),
    "constant": (lambda o: schedules.ConstantLR(o, 0.25, 3), lambda t: 0.25 if t < 3 else 1.0),
    "constant-zero": (lambda o: schedules.ConstantLR(o, 0.0, 3), lambda t: float(t >= 3)),
    "triangle": (
        lambda o: schedules.CyclicLR(o, 0.5, 1.5, 4, cycle_momentum=False), lambda t: 1 + 2 * (1 - abs(t % 8 - 4) / 4)
    ),
    "warm-up": (lambda o: schedules.warmup(o, 5), lambda t: 0.01 + 0.99 * min(t, 5) / 5),
    "warm-up-cosine": (
        lambda o: schedules.warmup(o, 5, schedules.CosineAnnealingLR(o, 15), 0.1),
        lambda t: 0.1 + 0.9 * t / 5 if t < 5 else (1 + math.cos(math.pi * (t - 5) / 15)) / 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_the_notes_formula(name: str) -> None:
    optimizer = optim.SGD([mg.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = FORMULAS[name][0](optimizer)
    for t in range(20):
        assert scheduler.get_last_lr() == [optimizer.param_groups[0]["lr"]]
        assert scheduler.get_last_lr()[0] == pytest.approx(0.5 * FORMULAS[name][1](t), rel=1e-12, abs=1e-16)
        scheduler.step()


def every() -> list[Any]:
    made: list[Any] = [(n, lambda s, o, n=n, k=k: getattr(s, n)(o, **k)) for n, k in SINGLE + CYCLES]
    made += list(COMBINED.items())
    made += [(n, lambda s, o, n=n: FORMULAS[n][0](o)) for n in ("1/t", "transformer", "warm-up-cosine")]
    return [pytest.param(make, id=f"{k}-{n}") for k, (n, make) in enumerate(made)]


@pytest.mark.parametrize("make", every())
@pytest.mark.parametrize("at", [1, 9, 23])
def test_a_saved_state_resumes_bit_for_bit(make: Make, at: int) -> None:
    a = ours(momentum=0.9)
    one = make(schedules, a)
    path(a, one, at)
    saved = json.loads(json.dumps([one.state_dict(), a.state_dict()["param_groups"]]))
    straight = path(a, one, 20)
    b = ours(momentum=0.9)
    other = make(schedules, b)
    other.load_state_dict(saved[0])
    b.load_state_dict({"state": {}, "param_groups": saved[1]})
    assert path(b, other, 20) == straight


def test_a_saved_plateau_resumes() -> None:
    a = ours()
    one = schedules.ReduceLROnPlateau(a, patience=2, cooldown=1)
    path(a, one, 12, MEASURES[1])
    state = one.state_dict(), a.state_dict()
    straight = path(a, one, 12, MEASURES[0])
    b = ours()
    other = schedules.ReduceLROnPlateau(b)
    other.load_state_dict(state[0])
    b.load_state_dict(state[1])
    assert path(b, other, 12, MEASURES[0]) == straight


def test_a_saved_state_shares_nothing_with_the_schedule() -> None:
    o = ours()
    scheduler = schedules.MultiStepLR(o, [2, 5])
    state = scheduler.state_dict()
    before = repr(state)
    path(o, scheduler, 5)
    scheduler.milestones.append(99)
    assert repr(state) == before


def test_a_plateau_takes_tensors() -> None:
    o = ours()
    scheduler = schedules.ReduceLROnPlateau(o, patience=0)
    scheduler.step(mg.tensor(1.0))
    scheduler.step(mg.tensor([2.0]))
    assert scheduler.get_last_lr() == [0.05, 0.003]
    assert "ReduceLROnPlateau(last_epoch=2" in repr(scheduler)


def test_restarts_are_exact_far_out() -> None:
    """The logarithm of a power rounds: log(243, 3) is 4.999999999999999."""
    o = ours()
    scheduler = schedules.CosineAnnealingWarmRestarts(o, 10, 3)
    scheduler.step(10 * (243 - 1) // 2)
    assert scheduler.get_last_lr() == [0.5, 0.03]


def bare() -> optim.Optimizer:
    return optim.Adagrad([mg.zeros(1, requires_grad=True)])


MISUSE: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: schedules.StepLR(3, 1), TypeError, "StepLR: expected an optimiser, got int"),
    (lambda: schedules.OneCycleLR(3, 1), TypeError, "OneCycleLR: expected an optimiser"),
    (lambda: schedules.StepLR(ours(), 3, last_epoch=4), ValueError, "last_epoch=4 .* group 0 does not say its 'initial_lr'"),
    (lambda: schedules.ConstantLR(ours(), 1.5), ValueError, r"factor must be a number in \[0, 1\], got 1.5"),
    (lambda: schedules.LinearLR(ours(), 0.0), ValueError, r"start_factor must be a number in \(0, 1\]"),
    (lambda: schedules.LinearLR(ours(), end_factor=2), ValueError, "end_factor"),
    (
        lambda: schedules.LambdaLR(ours(), [abs]),
        ValueError,
        "lr_lambda: expected one value, or one for each of 2 groups, got 1",
    ),
    (lambda: schedules.CosineAnnealingWarmRestarts(ours(), 0), ValueError, "T_0 must be a whole number >= 1"),
    (lambda: schedules.CosineAnnealingWarmRestarts(ours(), 1, 1.5), ValueError, "T_mult must be a whole number"),
    (lambda: schedules.CosineAnnealingWarmRestarts(ours(), 1).step(-1), ValueError, "epoch must be"),
    (lambda: schedules.CyclicLR(ours(), 0.1, 0.2, mode="square"), ValueError, "mode must be 'triangular'"),
    (lambda: schedules.CyclicLR(ours(), [0.1], 0.2), ValueError, "base_lr: expected one value"),
    (lambda: schedules.CyclicLR(bare(), 0.1, 0.2), ValueError, "Adagrad has neither momentum nor betas.*cycle_momentum=False"),
    (lambda: schedules.OneCycleLR(bare(), 0.1, 9), ValueError, "OneCycleLR: Adagrad has neither"),
    (lambda: schedules.OneCycleLR(ours(), 0.1), ValueError, "give total_steps, or both"),
    (lambda: schedules.OneCycleLR(ours(), 0.1, 0), ValueError, "whole number >= 1, got 0"),
    (lambda: schedules.OneCycleLR(ours(), 0.1, 9, pct_start=1.5), ValueError, "pct_start"),
    (
        lambda: schedules.OneCycleLR(ours(), 0.1, 9, anneal_strategy="sin"),
        ValueError,
        "anneal_strategy must be 'cos' or 'linear'",
    ),
    (lambda: path(o := ours(), schedules.OneCycleLR(o, 0.1, 9), 10), ValueError, "step 10 of a cycle of 9 steps"),
    (lambda: schedules.ReduceLROnPlateau(ours(), factor=1.0), ValueError, "factor must be a number < 1"),
    (lambda: schedules.ReduceLROnPlateau(ours(), mode="low"), ValueError, "mode must be 'min' or 'max'"),
    (lambda: schedules.ReduceLROnPlateau(ours(), threshold_mode="x"), ValueError, "threshold_mode"),
    (lambda: schedules.ReduceLROnPlateau(ours(), min_lr=[1.0]), ValueError, "min_lr: expected one value"),
    (lambda: schedules.SequentialLR(ours(), [], []), ValueError, "at least one schedule"),
    (lambda: schedules.SequentialLR(o := ours(), [schedules.StepLR(o, 1)], [3]), ValueError, "change 0 times, but there are 1"),
    (lambda: schedules.SequentialLR(ours(), [schedules.StepLR(ours(), 1)], []), ValueError, "belongs to another optimiser"),
    (
        lambda: schedules.SequentialLR(
            o := ours(), [schedules.StepLR(o, 1), schedules.ChainedScheduler([schedules.StepLR(o, 1)])], [3]
        ),
        ValueError,
        "schedule 1 is a ChainedScheduler",
    ),
    (lambda: schedules.ChainedScheduler([schedules.ReduceLROnPlateau(ours())]), ValueError, "whose step needs a measure"),
    (lambda: schedules.InverseTimeLR(ours(), -1), ValueError, "k must be"),
    (lambda: schedules.InverseSqrtLR(ours(), 0), ValueError, "warmup_steps must be"),
    (lambda: schedules.warmup(ours(), 0), ValueError, "steps must be"),
]


@pytest.mark.parametrize(("call", "kind", "message"), MISUSE)
def test_misuse_is_explained(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_every_public_name_is_documented_and_listed() -> None:
    for module in (schedules, optim):
        for name in module.__all__:
            thing = getattr(module, name)
            assert len((thing.__doc__ or "").split()) >= 3, name
    made = {n for n, v in vars(schedules).items() if isinstance(v, type) and issubclass(v, schedules.LRScheduler)}
    assert {n for n in made if not n.startswith("_")} <= set(schedules.__all__)
