"""Every loss against PyTorch in float64, its gradients of order 1 and 2, the notes' numbers, and what goes wrong on purpose."""

from __future__ import annotations

import inspect
import itertools
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F  # noqa: N812
from minigrad.nn import losses
from minigrad.testing import check_grads

RTOL = 1e-9


def torch_or_skip() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: parity is not checked")


def close(ours: Any, theirs: Any, what: str) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    assert ours.dtype == theirs.dtype, what
    if theirs.size:
        np.testing.assert_allclose(ours, theirs, rtol=RTOL, atol=RTOL * np.abs(theirs).max() + 1e-300, err_msg=what)


class Case(NamedTuple):
    """A loss, its operands (floating ones are differentiated) and options."""

    name: str
    operands: tuple[np.ndarray[Any, Any], ...]
    options: dict[str, Any]

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, a.shape)) or "0d" for a in self.operands)
        told = ",".join(f"{k}={v.shape if isinstance(v, np.ndarray) else v}" for k, v in self.options.items())
        return f"{self.name}({told})-{shapes}".replace(" ", "")


MODULES = {
    "mse_loss": "MSELoss", "l1_loss": "L1Loss", "huber_loss": "HuberLoss", "smooth_l1_loss": "SmoothL1Loss",
    "poisson_nll_loss": "PoissonNLLLoss", "gaussian_nll_loss": "GaussianNLLLoss", "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss", "nll_loss": "NLLLoss", "cross_entropy": "CrossEntropyLoss",
    "kl_div": "KLDivLoss", "multi_margin_loss": "MultiMarginLoss", "soft_margin_loss": "SoftMarginLoss",
    "hinge_embedding_loss": "HingeEmbeddingLoss", "margin_ranking_loss": "MarginRankingLoss",
    "cosine_embedding_loss": "CosineEmbeddingLoss", "triplet_margin_loss": "TripletMarginLoss",
}  # fmt: skip
OWN = {"hinge_loss": "HingeLoss", "multiclass_hinge_loss": "MulticlassHingeLoss"}

rng = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return rng.normal(size=shape)


def positive(*shape: int) -> Any:
    return rng.uniform(0.1, 2.0, shape)


def probability(*shape: int) -> Any:
    return rng.uniform(0.02, 0.98, shape)


def distribution(*shape: int) -> Any:
    e = np.exp(rng.normal(size=shape))
    return e / e.sum(axis=min(1, len(shape) - 1), keepdims=True)


def signs(*shape: int) -> Any:
    return rng.choice([-1.0, 1.0], shape)


def labels(n: int, *shape: int) -> Any:
    return np.asarray(rng.integers(0, n, shape))


def cases() -> Iterator[Case]:
    for r in ("none", "mean", "sum"):
        for shape in ((), (4,), (3, 4), (2, 3, 4)):
            x, t = normal(*shape), normal(*shape)
            yield Case("mse_loss", (x, t), {"reduction": r})
            yield Case("l1_loss", (x, t), {"reduction": r})
            yield Case("smooth_l1_loss", (x, t), {"reduction": r})
            yield Case("huber_loss", (x, t), {"reduction": r})
            yield Case("soft_margin_loss", (x, signs(*shape)), {"reduction": r})
            yield Case("binary_cross_entropy", (probability(*shape), probability(*shape)), {"reduction": r})
            yield Case("binary_cross_entropy_with_logits", (3 * x, probability(*shape)), {"reduction": r})
            yield Case("hinge_embedding_loss", (x, signs(*shape)), {"reduction": r})
            yield Case("margin_ranking_loss", (x, t, signs(*shape)), {"reduction": r})
        x, t, w = normal(3, 4), normal(3, 4), positive(3, 4)
        for name in ("mse_loss", "l1_loss", "huber_loss"):
            yield Case(name, (x, t), {"reduction": r, "weight": w})
        for beta in (0.0, 0.4, 2.5):
            yield Case("smooth_l1_loss", (x, t), {"reduction": r, "beta": beta})
        for delta in (0.4, 2.5):
            yield Case("huber_loss", (x, t), {"reduction": r, "delta": delta})
        for margin in (0.3, 2.0):
            yield Case("hinge_embedding_loss", (x, signs(3, 4)), {"reduction": r, "margin": margin})
            yield Case("margin_ranking_loss", (x, t, signs(3, 4)), {"reduction": r, "margin": margin})
        for log_input, full in itertools.product((True, False), (True, False)):
            counts = rng.poisson(2.0, (3, 4)) + 0.3  # where a count is 0, PyTorch's gradient of full is nan
            rate = x if log_input else positive(3, 4)
            yield Case("poisson_nll_loss", (rate, counts), {"reduction": r, "log_input": log_input, "full": full, "eps": 1e-4})
        for full, var in itertools.product((True, False), (positive(3, 4), positive(3, 1), positive(3), positive(1, 4))):
            yield Case("gaussian_nll_loss", (x, t, var), {"reduction": r, "full": full, "eps": 1e-3})
        yield Case("binary_cross_entropy", (probability(3, 4), probability(3, 4)), {"reduction": r, "weight": positive(4)})
        for weight, pos in itertools.product((None, positive(3, 4)), (None, positive(4), positive(1))):
            yield Case(
                "binary_cross_entropy_with_logits", (3 * x, probability(3, 4)),
                {"reduction": r, "weight": weight, "pos_weight": pos},
            )  # fmt: skip
        for shape in ((4,), (5, 4), (2, 4, 3), (2, 4, 3, 2)):
            x = normal(*shape)
            axis = min(1, len(shape) - 1)
            y = labels(4, *shape[:axis], *shape[axis + 1 :])
            for weight, ignore in itertools.product((None, positive(4)), (-100, int(y.flat[0]) if y.ndim else -100, 3)):
                if y.ndim == 0 and ignore == y:
                    continue
                options = {"reduction": r, "weight": weight, "ignore_index": ignore}
                yield Case("nll_loss", (x, y), options)
                for smoothing in (0.0, 0.1):
                    yield Case("cross_entropy", (x, y), {**options, "label_smoothing": smoothing})
            for weight, smoothing in itertools.product((None, positive(4)), (0.0, 0.3, 1.0)):
                yield Case(
                    "cross_entropy", (x, distribution(*shape)), {"reduction": r, "weight": weight, "label_smoothing": smoothing}
                )
        for shape in ((4,), (5, 4)):
            x, y = normal(*shape), labels(4, *shape[:-1])
            for p, margin, weight in itertools.product((1, 2), (0.5, 1.0), (None, positive(4))):
                yield Case("multi_margin_loss", (x, y), {"reduction": r, "p": p, "margin": margin, "weight": weight})
            yield Case("cosine_embedding_loss", (x, normal(*shape), signs(*shape[:-1])), {"reduction": r})
            yield Case("cosine_embedding_loss", (x, normal(*shape), signs(*shape[:-1])), {"reduction": r, "margin": 0.4})
            for p, swap in itertools.product((1.0, 2.0, 3.0), (False, True)):
                three = (x, normal(*shape), normal(*shape))
                yield Case("triplet_margin_loss", three, {"reduction": r, "p": p, "swap": swap, "margin": 2.0, "eps": 1e-5})
    for r, log_target in itertools.product(("none", "mean", "sum", "batchmean"), (False, True)):
        t = distribution(3, 4)
        yield Case(
            "kl_div", (np.log(distribution(3, 4)), np.log(t) if log_target else t), {"reduction": r, "log_target": log_target}
        )


CASES = list(cases())


def floating(a: Any) -> bool:
    return bool(a.dtype.kind == "f")


def differentiable(c: Case, k: int) -> bool:
    """Not of signs."""
    a = c.operands[k]
    return floating(a) and not (k > 0 and set(np.abs(a).ravel().tolist()) == {1.0})


def told_apart(f: Callable[..., Any]) -> Any:
    """PyTorch's advice on kl_div's mean, and on what it cannot differentiate, is not ours to follow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f()


@pytest.mark.parametrize("c", CASES, ids=str)
def test_agrees_with_pytorch(c: Case) -> None:
    torch = torch_or_skip()
    xs = [mg.tensor(a, requires_grad=differentiable(c, k)) for k, a in enumerate(c.operands)]
    ts = [torch.tensor(a, requires_grad=differentiable(c, k)) for k, a in enumerate(c.operands)]
    theirs = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in c.options.items()}
    y = getattr(F, c.name)(*xs, **c.options)
    u = told_apart(lambda: getattr(torch.nn.functional, c.name)(*ts, **theirs))
    close(y.detach(), u.detach(), "loss")
    g = rng.normal(size=y.shape)
    y.backward(g)
    u.backward(torch.tensor(g))
    for k, (x, t) in enumerate(zip(xs, ts)):
        if differentiable(c, k):
            close(x.grad, t.grad, f"gradient of operand {k}")

    if "weight" in c.options and c.name in ("mse_loss", "l1_loss", "huber_loss"):
        return  # only the functions weigh
    module, twin = getattr(nn, MODULES[c.name])(**c.options), getattr(torch.nn, MODULES[c.name])(**theirs)
    assert repr(module) == repr(twin)
    assert list(module.state_dict()) == list(twin.state_dict())
    assert np.array_equal(module(*xs).detach(), y.detach(), equal_nan=True)
    plain = getattr(F, c.name)(*c.operands, **c.options)
    assert not isinstance(plain, mg.Tensor), "arrays give arrays"


SMALL = [c for c in CASES if c.options["reduction"] == "mean" and max(a.ndim for a in c.operands) < 4 and c.operands[0].size]


@pytest.mark.parametrize("c", SMALL, ids=str)
def test_gradients_of_order_one_and_two(c: Case) -> None:
    which = [k for k in range(len(c.operands)) if differentiable(c, k)]

    def f(*given: Any) -> Any:
        operands = list(c.operands)
        for k, x in zip(which, given):
            operands[k] = x
        return getattr(F, c.name)(*operands, **{**c.options, "reduction": "none"})

    check_grads(f, *(c.operands[k] for k in which), order=2)


def test_weights_are_differentiated_too() -> None:
    x, t, w = normal(3, 4), probability(3, 4), positive(4)
    check_grads(lambda w, q: F.binary_cross_entropy_with_logits(x, t, w, pos_weight=q), w, w + 1, order=2)
    check_grads(lambda w: F.cross_entropy(x, [0, 1, 1], w, label_smoothing=0.1), w, order=2)
    check_grads(lambda w: F.mse_loss(x, t, weight=w), positive(3, 4), order=2)


GONE = ("size_average", "reduce")
"""Deprecated in PyTorch, and not here."""


def test_arguments_are_pytorchs() -> None:
    torch = torch_or_skip()
    for function, module in MODULES.items():
        for ours, theirs in (
            (getattr(F, function), getattr(torch.nn.functional, function)), (getattr(nn, module), getattr(torch.nn, module)),
        ):  # fmt: skip
            have, want = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
            assert {k: p.default for k, p in have.items()} == {k: p.default for k, p in want.items() if k not in GONE}
            before = list(itertools.takewhile(lambda k: k not in GONE, want))
            for k, p in have.items():  # a call by position means the same or is an error
                assert (k in before) or p.kind is p.KEYWORD_ONLY, f"{function}({k})"


def test_every_loss_is_tested_and_exported() -> None:
    made = {
        n
        for n, v in vars(losses).items()
        if inspect.isclass(v) and issubclass(v, nn.Module) and v.__module__ == losses.__name__
    }
    assert made - {"_Loss"} == {*MODULES.values(), *OWN.values()}
    assert made - {"_Loss"} <= set(nn.__all__)
    written = {
        n
        for n, v in vars(losses).items()
        if inspect.isfunction(v) and v.__module__ == losses.__name__ and not n.startswith("_")
    }
    assert written <= set(F.__all__)
    assert {c.name for c in CASES} == set(MODULES)


# ---- numbers -------------------------------------------------------------------------------------------------------------

CAT_CAR_FROG = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])


def test_the_numbers_of_the_notes() -> None:
    hinge = nn.MulticlassHingeLoss(reduction="none")(mg.tensor(CAT_CAR_FROG), [0, 1, 2])
    np.testing.assert_allclose(hinge.numpy(), [2.9, 0.0, 12.9], rtol=1e-12, atol=1e-12)
    assert round(nn.MulticlassHingeLoss()(mg.tensor(CAT_CAR_FROG), [0, 1, 2]).item(), 4) == 5.2667
    assert round(nn.CrossEntropyLoss()(mg.tensor(CAT_CAR_FROG[:1]), [0]).item(), 4) == 2.0404
    close(
        F.multi_margin_loss(CAT_CAR_FROG, [0, 1, 2]) * 3,
        F.multiclass_hinge_loss(CAT_CAR_FROG, [0, 1, 2]),
        "PyTorch's divides by C",
    )


@pytest.mark.parametrize("margin", [1.0, 0.5])
def test_hinge(margin: float) -> None:
    f, y = np.array([0.3, -0.7, 2.0, 0.4]), np.array([1, 1, -1, -1])
    expected = [max(0.0, margin - b * a) for a, b in zip(f, y)]
    assert nn.HingeLoss(margin, "none")(f, y).tolist() == pytest.approx(expected)
    check_grads(lambda f: F.hinge_loss(f, y, margin), f, order=2)
    check_grads(lambda s: F.multiclass_hinge_loss(s, [0, 1, 2], margin), CAT_CAR_FROG, order=2)


def test_kinks_are_pytorchs() -> None:
    torch = torch_or_skip()
    one, minus = np.array([1.0]), np.array([-1.0])
    same = np.array([[1.0, 2.0]])
    for name, operands, options in [
        ("l1_loss", (one, one), {}), ("huber_loss", (2 * one, one), {}), ("smooth_l1_loss", (2 * one, one), {}),
        ("hinge_embedding_loss", (one, minus), {}), ("margin_ranking_loss", (one, one, one), {}),
        ("cosine_embedding_loss", (same, 0 * same, minus), {}), ("cosine_embedding_loss", (0 * same, 0 * same, one), {}),
        ("triplet_margin_loss", (same, same, same), {}), ("triplet_margin_loss", (same, same, same), {"eps": 0.0, "swap": True}),
        ("multi_margin_loss", (np.array([[2.0, 1.0, 0.0]]), np.array([0])), {}),
        ("gaussian_nll_loss", (one, 2 * one, 0 * one), {}), ("gaussian_nll_loss", (one, 2 * one, 1e-7 * one), {}),
    ]:  # fmt: skip
        xs = [mg.tensor(a, requires_grad=floating(a)) for a in operands]
        ts = [torch.tensor(a, requires_grad=floating(a)) for a in operands]
        y, u = getattr(F, name)(*xs, **options), getattr(torch.nn.functional, name)(*ts, **options)
        close(y.detach(), u.detach(), name)
        y.backward()
        u.backward()
        close(xs[0].grad, ts[0].grad, f"{name}: gradient")


# ---- extremes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_logits_give_finite_losses_and_gradients(dtype: str) -> None:
    x = np.array([[1e4, -1e4, 0.0], [-1e30, 1e30, 1.0], [-np.inf, 0.0, 1.0]], dtype)
    for f in (
        lambda t: F.cross_entropy(t, [1, 0, 1], reduction="none"),
        lambda t: F.multiclass_hinge_loss(t[:2], [1, 0], reduction="none"),
        lambda t: F.binary_cross_entropy_with_logits(t[:2], np.array([[0, 1, 1], [1, 0, 0]]), reduction="none"),
        lambda t: F.soft_margin_loss(t[:2], np.array([[-1, 1, 1], [1, -1, 1]]), reduction="none"),
    ):
        t = mg.tensor(x, requires_grad=True)
        y = f(t)
        assert y.dtype == dtype
        assert np.isfinite(y.numpy()).all()
        y.backward(np.ones(y.shape, dtype))
        assert np.isfinite(t.grad.numpy()).all()


def test_logits_keep_their_last_digit() -> None:
    tails = F.binary_cross_entropy_with_logits(np.array([50.0, -50.0]), np.array([1.0, 0.0]), reduction="none")
    np.testing.assert_allclose(tails, math.exp(-50), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_certain_probabilities_are_pytorchs(dtype: str) -> None:
    torch = torch_or_skip()
    p = np.array([0.0, 0.0, 1.0, 1.0, 1e-30, 1e-13, 1e-11, 1 - 1e-9], dtype)
    t = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0], dtype)
    x, u = mg.tensor(p, requires_grad=True), torch.tensor(p, requires_grad=True)
    y = F.binary_cross_entropy(x, t, reduction="none")
    v = torch.nn.functional.binary_cross_entropy(u, torch.tensor(t), reduction="none")
    np.testing.assert_allclose(y.detach(), v.detach(), rtol=1e-6 if dtype == "float32" else 1e-12)
    y.sum().backward()
    v.sum().backward()
    # Where the loss is 0 its slope is 1 (or -1); there PyTorch, which divides 0 by 1e-12, has 0.
    wanted = u.grad.numpy().copy()
    certain = p == t
    assert x.grad.numpy()[certain].tolist() == [1.0, -1.0]
    np.testing.assert_allclose(
        x.grad.numpy()[~certain], wanted[~certain], rtol=1e-5 if dtype == "float32" else 1e-8
    )  # its 1e-12 is a float32


def test_a_mean_over_nothing_is_nan_as_in_pytorch() -> None:
    x = np.zeros((2, 3))
    assert math.isnan(F.cross_entropy(x, [-100, -100]))
    assert math.isnan(F.nll_loss(x, [-100, -100], weight=np.ones(3)))
    assert F.cross_entropy(x, [-100, -100], reduction="sum") == 0


def test_kl_div_of_zero_probability() -> None:
    t = mg.tensor([[0.0, 1.0]], requires_grad=True)
    y = F.kl_div(mg.log(mg.tensor([[0.5, 0.5]])), t, reduction="sum")
    assert y.item() == pytest.approx(math.log(2))
    y.backward()
    assert np.isfinite(t.grad.numpy()).all()


def test_integers_as_targets_keep_the_dtype() -> None:
    x = mg.tensor([0.5, 0.25])
    for y in ([1, 0], np.array([1, 0]), mg.tensor([1, 0]), np.array([True, False])):
        assert F.mse_loss(x, y).dtype == "float32"
        assert F.binary_cross_entropy(x, y).dtype == "float32"
        assert F.binary_cross_entropy_with_logits(x, y, pos_weight=np.float64(2.0)).dtype == "float32"
    assert F.cross_entropy(mg.tensor([[0.5, 0.25]]), [1], weight=[1.0, 2.0]).dtype == "float32"


# ---- what goes wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "poisson_nll_loss", "kl_div", "soft_margin_loss", "hinge_loss"],
)
def test_a_column_against_a_row_warns(name: str) -> None:
    with pytest.warns(
        UserWarning, match=rf"{name}: input has shape \(4, 1\), target \(4,\).*\(4, 4\).*pass target.reshape\(\(4, 1\)\)"
    ):
        getattr(F, name)(np.full((4, 1), 0.5), np.ones(4))


def test_a_smaller_target_warns_and_a_number_does_not() -> None:
    with pytest.warns(UserWarning, match=r"mse_loss: input has shape \(3, 4\), target \(4,\): the smaller one is repeated"):
        F.mse_loss(np.ones((3, 4)), np.zeros(4))
    assert F.mse_loss(np.ones((3, 4)), 0.0) == 1


def test_the_warning_points_at_the_users_line() -> None:
    for call in (
        lambda: nn.MSELoss()(mg.ones((4, 1)), mg.ones(4)),
        lambda: F.triplet_margin_loss(*np.ones((2, 1, 4)), np.ones(4)),
    ):
        with pytest.warns(
            UserWarning, match=r"(so every loss but 4 is of two elements|anchor has shape \(1, 4\), negative \(4,\))"
        ) as told:
            call()
        assert [w.filename for w in told] == [__file__] * len(told)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.mse_loss(np.ones(3), np.ones(4)), mg.ShapeError, r"input has shape \(3,\), target \(4,\), and these do not broadcast"),
        (lambda: F.mse_loss(np.ones(3), np.ones(3), reduction="avg"), ValueError, "expected none, mean or sum"),
        (lambda: F.mse_loss(np.ones(3), np.ones(3), weight=[1.0]), mg.ShapeError, r"weight has shape \(1,\), input \(3,\)"),
        (lambda: F.binary_cross_entropy(np.ones((3, 1)), np.ones(3)), mg.ShapeError, r"expected equal shapes; pass target.reshape\(\(3, 1\)\)"),
        (lambda: F.binary_cross_entropy_with_logits(np.ones((3, 1)), np.ones(3)), mg.ShapeError, "expected equal shapes"),
        (lambda: F.binary_cross_entropy(np.array([1.5]), np.ones(1)), ValueError, "outside .0, 1.: apply a sigmoid"),
        (lambda: F.cross_entropy(np.ones((2, 3)), [0, 3]), IndexError, "has 3 classes: expected 0 to 2, or ignore_index -100"),
        (lambda: F.cross_entropy(np.ones((2, 3)), [0, -1]), IndexError, "class numbers go from -1 to 0"),
        (lambda: F.cross_entropy(np.ones((2, 3)), [0.0, 1.0]), mg.DtypeError, "expected class numbers, so integers: target.astype"),
        (lambda: F.cross_entropy(np.ones((2, 3)), [[0], [1]]), mg.ShapeError, r"expected a target of shape \(2,\), got \(2, 1\)"),
        (lambda: F.cross_entropy(np.ones((2, 3)), np.ones((2, 3)), ignore_index=1), ValueError, "needs class numbers"),
        (lambda: F.cross_entropy(np.ones((2, 3)), [0, 1], label_smoothing=2), ValueError, "expected 0 to 1"),
        (lambda: F.cross_entropy(np.ones((2, 3)), [0, 1], weight=[1.0, 2.0]), mg.ShapeError, r"expected \(3,\), one number per class"),
        (lambda: F.cross_entropy(np.ones(()), 0), mg.ShapeError, r"expected \(C,\)"),
        (lambda: F.multi_margin_loss(np.ones((2, 3)), [0, 1], p=3), ValueError, "expected 1 or 2"),
        (lambda: F.multi_margin_loss(np.ones((2, 3, 1)), [[0], [1]]), mg.ShapeError, "expected scores"),
        (lambda: F.hinge_loss(np.ones(2), [0, 1]), ValueError, "from 0 and 1, pass 2 . target - 1"),
        (lambda: F.huber_loss(np.ones(2), np.ones(2), delta=0.0), ValueError, "expected a positive number"),
        (lambda: F.smooth_l1_loss(np.ones(2), np.ones(2), beta=-1.0), ValueError, "expected 0"),
        (lambda: F.triplet_margin_loss(np.ones(2), np.ones(2), np.ones(2), margin=0.0), ValueError, "expected a positive number"),
        (lambda: F.gaussian_nll_loss(np.ones(2), np.ones(2), -np.ones(2)), ValueError, "negative elements"),
        (lambda: F.gaussian_nll_loss(np.ones((2, 3)), np.ones((2, 3)), np.ones(3)), mg.ShapeError, r"var has shape \(3,\), input \(2, 3\)"),
        (lambda: F.cosine_embedding_loss(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 1))), mg.ShapeError, r"expected \(N, D\) and \(N,\)"),
        (lambda: F.elbo(np.ones(3), np.ones((2, 3)), np.ones((2, 3))), mg.ShapeError, "one number per sample"),
        (lambda: F.l1_penalty([]), ValueError, "no parameters"),
        (lambda: F.l2_penalty(np.ones(3), np.ones(2)), mg.ShapeError, r"parameters of shapes \[\(3,\)\], toward \[\(2,\)\]"),
        (lambda: F.pascanu_regulariser(mg.ones(()), [mg.ones(1)]), ValueError, "expected two or more"),
        (lambda: F.contractive_penalty(mg.ones((1, 2, 3)), mg.ones(1)), mg.ShapeError, r"expected \(N, H\) or \(H,\)"),
        (lambda: F.contractive_penalty(mg.ones(3), mg.ones(1)), mg.NotInGraphError, "requires"),
    ],
)  # fmt: skip
def test_errors_name_what_was_expected(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# ---- variational and penalties -------------------------------------------------------------------------------------------


def test_gaussian_kl_is_pytorchs() -> None:
    torch = torch_or_skip()
    mu, logvar, mu2, logvar2 = normal(3, 4), normal(3, 4), normal(3, 4), normal(3, 4)
    p = torch.distributions.Normal(torch.tensor(mu), torch.tensor(logvar).mul(0.5).exp())
    q = torch.distributions.Normal(torch.tensor(mu2), torch.tensor(logvar2).mul(0.5).exp())
    wanted = torch.distributions.kl_divergence(p, q).sum(-1)
    close(F.gaussian_kl(mu, logvar, mu2, logvar2, reduction="none"), wanted, "between two")
    close(F.gaussian_kl(mu, logvar, mu2, logvar2), wanted.mean(), "mean")
    standard = torch.distributions.kl_divergence(p, torch.distributions.Normal(torch.zeros(()).double(), 1.0)).sum(-1)
    close(F.gaussian_kl(mu, logvar, reduction="none"), standard, "to N(0, 1)")
    check_grads(lambda *a: F.gaussian_kl(*a, reduction="none"), mu, logvar, mu2, logvar2, order=2)


def test_gaussian_kl_near_zero_is_exact() -> None:
    assert F.gaussian_kl(np.zeros(1), np.full(1, 1e-6)) == pytest.approx(0.25e-12, rel=1e-3)
    assert F.gaussian_kl(mg.zeros((2, 3)), mg.zeros((2, 3))).item() == 0


def test_elbo_of_images_and_of_numbers() -> None:
    mu, logvar, fit = normal(3, 4), normal(3, 4), normal(3, 2, 5)
    wanted = fit.sum((1, 2)) - 2.0 * F.gaussian_kl(mu, logvar, reduction="none")
    np.testing.assert_allclose(F.elbo(fit, mu, logvar, 2.0, reduction="none"), wanted, rtol=1e-12)
    np.testing.assert_allclose(F.elbo(fit.sum((1, 2)), mu, logvar, beta=2.0), wanted.mean(), rtol=1e-12)
    check_grads(F.elbo, fit, mu, logvar, order=2)


def test_penalties_of_tensors_sets_and_modules() -> None:
    a, b = nn.Linear(3, 2).double(), nn.Linear(3, 2).double()
    ws, vs = [p.numpy() for p in a.parameters()], [p.numpy() for p in b.parameters()]
    for ours, power in ((F.l1_penalty, 1), (F.l2_penalty, 2)):
        for given in (a, a.parameters(), ws):
            assert float(ours(given)) == pytest.approx(sum((abs(w) ** power).sum() for w in ws), rel=1e-12)
        assert ours(a, toward=b).item() == pytest.approx(sum((abs(w - v) ** power).sum() for w, v in zip(ws, vs)), rel=1e-12)
        assert ours(a, toward=0.5).item() == pytest.approx(sum((abs(w - 0.5) ** power).sum() for w in ws), rel=1e-12)
        check_grads(lambda *p, ours=ours: ours(p[:2], toward=p[2:]), *ws, *vs, order=2)
    mixed = F.elastic_net(iter(ws), 0.3, 0.7, toward=b).item()
    assert mixed == pytest.approx(0.3 * F.l1_penalty(ws, vs) + 0.7 * F.l2_penalty(ws, vs), rel=1e-12)
    F.l2_penalty(a, toward=b).backward()
    np.testing.assert_allclose(a.weight.grad.numpy(), 2 * (ws[0] - vs[0]), rtol=1e-12)
    np.testing.assert_allclose(b.weight.grad.numpy(), 2 * (vs[0] - ws[0]), rtol=1e-12)


def test_contractive_penalty_is_the_closed_form_and_differentiates() -> None:
    """Of h = sigmoid(x W), ||dh/dx||_F**2 = sum_j (h_j (1 - h_j))**2 sum_i W_ij**2 (Rifai et al. 2011)."""
    x, w = normal(5, 3), normal(3, 4)

    def penalty(w: Any) -> Any:
        given = mg.tensor(x, requires_grad=True)
        return F.contractive_penalty(mg.sigmoid(given @ w), given)

    def closed(w: Any) -> Any:
        h = mg.sigmoid(x @ w)
        return mg.sum(mg.square(h * (1 - h)) @ mg.sum(w * w, 0)) / 5

    ours, theirs = mg.tensor(w, requires_grad=True), mg.tensor(w, requires_grad=True)
    y, u = penalty(ours), closed(theirs)
    close(y.detach(), u.detach(), "value")
    y.backward()
    u.backward()
    close(ours.grad, theirs.grad, "gradient")
    check_grads(penalty, w, order=2)
    one = mg.tensor(x[0], requires_grad=True)
    close(F.contractive_penalty(one * 2.0, one).detach(), np.array(12.0), "no batch: ||2 I||**2")


def rnn(w: Any, x: Any) -> tuple[Any, list[Any]]:
    h = [mg.tensor(np.full((2, 3), 0.1), requires_grad=True)]
    for t in range(4):
        h.append(mg.tanh(h[-1] @ w + x[t]))
    return mg.sum(h[-1] * h[-1]) + mg.sum(h[2]), h


def test_pascanu_regulariser_is_its_definition() -> None:
    torch = torch_or_skip()
    x, w = normal(4, 2, 3), normal(3, 3)
    ours, theirs = mg.tensor(w, requires_grad=True), torch.tensor(w, requires_grad=True)
    y = F.pascanu_regulariser(*rnn(ours, x))
    h = [torch.full((2, 3), 0.1, dtype=torch.float64, requires_grad=True)]
    for t in range(4):
        h.append(torch.tanh(h[-1] @ theirs + torch.tensor(x[t])))
    gs = torch.autograd.grad((h[-1] * h[-1]).sum() + h[2].sum(), h, create_graph=True)
    wanted = 0
    for t in range(4):
        (back,) = torch.autograd.grad(h[t + 1], h[t], gs[t + 1], create_graph=True)
        wanted = wanted + ((back.norm(dim=-1) / gs[t + 1].norm(dim=-1) - 1) ** 2).mean()
    close(y.detach(), wanted.detach(), "value")
    y.backward()
    wanted.backward()
    close(ours.grad, theirs.grad, "gradient")


def test_pascanu_regulariser_differentiates_twice() -> None:
    x, w = normal(4, 2, 3), normal(3, 3)
    check_grads(lambda w: F.pascanu_regulariser(*rnn(w, x)), w, order=2)


def test_pascanu_regulariser_passes_over_steps_without_a_part() -> None:
    w = mg.tensor(np.eye(3) * 0.5, requires_grad=True)
    h = [mg.tensor(np.ones((1, 3)), requires_grad=True)]
    for _ in range(3):
        h.append(h[-1] @ w)
    assert F.pascanu_regulariser(mg.sum(h[2]), h).item() == pytest.approx(2 * 0.25)
    orthogonal = [h[0], h[0] @ mg.tensor(np.eye(3)[::-1].copy())]
    assert F.pascanu_regulariser(mg.sum(orthogonal[1] ** 3), orthogonal).item() == pytest.approx(0, abs=1e-24)


# ---- strict mode -------------------------------------------------------------------------------------------------------------

PAIRS = {
    "mse_loss": (), "l1_loss": (), "huber_loss": (), "smooth_l1_loss": (), "poisson_nll_loss": (), "kl_div": (), "soft_margin_loss": (),
    "hinge_loss": (), "hinge_embedding_loss": (), "gaussian_nll_loss": (1.0,), "margin_ranking_loss": (1.0,), "gaussian_kl": (),
    "cosine_embedding_loss": ((4,),), "triplet_margin_loss": ((4, 1),), "triplet_margin_with_distance_loss": ((4, 1),),
}  # fmt: skip
"""Losses of two operands that may broadcast, and what else they take: numbers, or shapes."""
REFUSED_ANYWAY = {
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "nll_loss", "cross_entropy", "multi_margin_loss",
    "multiclass_hinge_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss", "ctc_loss", "elbo",
}  # fmt: skip


def test_every_loss_either_warns_or_refuses() -> None:
    every = {
        name for name in vars(F) if name.endswith(("_loss", "cross_entropy", "_with_logits", "kl_div", "gaussian_kl", "elbo"))
    }
    assert {name for name in every if callable(getattr(F, name)) and not name.startswith(("_", "softmax_"))} == {
        *PAIRS,
        *REFUSED_ANYWAY,
    }


def column_against_row(name: str, row: tuple[int, ...] = (4,)) -> Any:
    rest = [mg.ones(v) if isinstance(v, tuple) else mg.tensor(v) for v in PAIRS[name]]
    prediction, labels = mg.full((4, 1), 0.5), mg.ones(row)
    return getattr(F, name)(prediction, labels, *rest)


@pytest.mark.parametrize("name", PAIRS)
def test_strict_mode_refuses_what_is_warned_about(name: str) -> None:
    """The message has the loss, both shapes, the user's variables, the axis by number and name, and the fix."""
    row = (1, 1) if name == "triplet_margin_with_distance_loss" else (4,)
    with pytest.warns(UserWarning, match=rf"{name}: "):
        column_against_row(name, row)
    with mg.strict(), pytest.raises(mg.ShapeError, match=rf"{name}: .*strict mode refuses.*xis -1|{name}: .*xis -2") as told:
        column_against_row(name, row)
    message = str(told.value)
    assert "(4, 1)" in message
    assert str(row) in message
    assert "'prediction'" in message
    assert "'labels'" in message
    assert re.search(r"Axis -1 is feature \(size 1\) in \w+ and batch \(size 4\) in \w+|Axis -2 is batch \(size 4\)", message)
    assert re.search(r"reshape\(\(4, 1\)\)|broadcast_to", message)


@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        (((8, 3), (8, 4)), "Axis -1 is feature (size 3) in input and feature (size 4) in target"),
        (((8, 3, 5), (8, 2, 5)), "Axis -2 is channel (size 3) in input and channel (size 2) in target"),
        (((2, 3, 8, 8), (3, 3, 8, 8)), "Axis -4 is batch (size 2) in input and batch (size 3) in target"),
        (((2, 3, 8, 8), (2, 3, 7, 8)), "Axis -2 is height (size 8) in input and height (size 7) in target"),
    ],
)
def test_shapes_that_do_not_broadcast_name_the_axis(shapes: tuple[tuple[int, ...], ...], axis: str) -> None:
    for loss in (F.mse_loss, F.binary_cross_entropy_with_logits):
        with pytest.raises(mg.ShapeError, match=re.escape(axis)):
            loss(mg.ones(shapes[0]), mg.ones(shapes[1]))


def test_a_missing_axis_is_named() -> None:
    with mg.strict(), pytest.raises(mg.ShapeError, match=r"The target lacks axis -2, which is batch \(size 3\) in input"):
        F.mse_loss(mg.ones((3, 4)), mg.ones(4))


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ([[0], [1]], r"it has an axis of size 1 too many: pass target.reshape\(\(2,\)\)"),
        ([[0, 0, 1], [1, 0, 0]], r"it still has the class axis: take target.argmax"),
        ([0, 1, 2], r"axis 0 \(batch\) has size 2 in input and 3 in target"),
        (1, "expected 1 axes, got 0"),
    ],
)
def test_class_numbers_of_another_shape(target: Any, told: str) -> None:
    for loss in (F.nll_loss, F.cross_entropy, F.multi_margin_loss):
        with pytest.raises(mg.ShapeError, match=rf"3 classes in axis 1: expected a target of shape \(2,\).*{told}"):
            loss(mg.ones((2, 3)), np.array(target))


def test_where_strict_mode_holds() -> None:
    """In the block, in a decorated function, not in another thread; ``set_strict`` everywhere; ``strict(False)`` lifts it."""

    def loose() -> Any:
        with pytest.warns(UserWarning, match="mse_loss"):
            return F.mse_loss(mg.ones((2, 1)), mg.ones(2))

    @mg.strict
    def decorated() -> bool:
        return mg.is_strict()

    @mg.strict(False)
    def lifted() -> bool:
        return mg.is_strict()

    assert not mg.is_strict()
    assert decorated()
    with mg.strict():
        assert mg.is_strict()
        assert not lifted()
        with mg.strict(False):
            loose()
        assert mg.is_strict()
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(mg.is_strict()))
        thread.start()
        thread.join()
        assert found == [False]
    mg.set_strict(True)
    try:
        with pytest.raises(mg.ShapeError, match="strict mode"):
            nn.MSELoss()(mg.ones((2, 1)), mg.ones(2))
        assert not lifted()
    finally:
        mg.set_strict(False)
    loose()
    with mg.strict():  # what fits is as before, a number for all too
        assert F.mse_loss(mg.ones((2, 1)), mg.ones((2, 1))).item() == 0
        assert F.mse_loss(mg.ones((2, 1)), 1.0).item() == 0
