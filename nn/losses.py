"""Losses and regularisers: compositions of minigrad's operations, so that penalties on gradients, too, can be differentiated.

Names, arguments and defaults are PyTorch's, without its deprecated ``size_average`` and ``reduce``: what comes after them there
is keyword-only here, so no call can mean something else. A loss of elements is written L below; ``reduction`` makes it one
number, the ``"mean"`` or the ``"sum"``, or leaves it as it is (``"none"``). Targets are differentiated too, if they ask for it.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from minigrad import backend, halves, naming, ops, tracing
from minigrad.errors import BadIndexError, DtypeError, ShapeError
from minigrad.modes import is_strict
from minigrad.nn.module import Module
from minigrad.nn.numbers import hyperparameters
from minigrad.ops.fused import softmax_cross_entropy
from minigrad.tensor import Tensor, asarray, wrap
from minigrad.transforms import gradients

EPS = float(np.float32(1e-12))
"""PyTorch's 1e-12, which is a float32 number there whatever the dtype."""
HALF_EPS = float(np.finfo(np.float16).smallest_normal)
"""In float16 1e-12 is 0, and a slope of 1e12 inf."""

# ---- what they share -----------------------------------------------------------------------------------------------------


def _reduce(loss: Any, reduction: str, op: str) -> Any:
    if reduction == "mean":
        return ops.mean(loss) if loss.size else ops.sum(loss) / math.nan  # of nothing: nan, as PyTorch, without NumPy's warning
    if reduction == "sum":
        return ops.sum(loss)
    if reduction == "none":
        return loss
    raise ValueError(f"{op}: reduction={reduction!r}: expected none, mean or sum")


def _weighted_mean(total: Any, weight: Any) -> Any:
    """``total / weight``, and nan where there is nothing to average, as PyTorch, without NumPy's warning."""
    return total / ops.where(weight == 0, np.nan, weight)


def _array(x: Any) -> Any:
    return x if isinstance(x, Tensor) or hasattr(x, "shape") else asarray(x)


def _like(x: Any, input: Any) -> Any:
    """What goes with ``input``: a list as an array of its kind, integers in its dtype (int64 would make a float32 loss float64)."""
    if not isinstance(x, Tensor) and not hasattr(x, "shape"):
        x = asarray(x, dtype=input.dtype, device=input.device) if isinstance(input, Tensor) else np.asarray(x, input.dtype)
    return ops.astype(x, input.dtype) if x.dtype.kind in "iub" else x


def _weight(weight: Any, input: Any) -> Any:
    """A weight in the dtype of ``input``, so that it does not decide that of the loss."""
    weight = _like(weight, input)
    return weight if weight.dtype == input.dtype else ops.astype(weight, input.dtype)


def _times(op: str, loss: Any, weight: Any) -> Any:
    """``weight * loss``, where the weight broadcasts to the loss, not the other way round."""
    if weight is None:
        return loss
    out = loss * _weight(weight, loss)
    if tuple(out.shape) != tuple(loss.shape):
        raise ShapeError(
            f"{op}: weights of shape {tuple(np.shape(weight))}, input of {tuple(loss.shape)}: expected one that broadcasts to it"
        )
    return out


def _still(x: Any) -> Any:
    """The values without history. Not ``detach``, which hands the array out, so that writes into it must be watched."""
    return wrap(x._data) if isinstance(x, Tensor) else x


_AXES = ("batch", "feature"), ("batch", "channel", "length"), ("batch", "channel", "height", "width"), ("batch", "channel", "depth", "height", "width")  # fmt: skip
"""What the axes of a loss's operands usually are, by how many there are (a vector is a batch of numbers)."""


def _axis(shape: tuple[int, ...], k: int) -> str:
    """What axis ``k`` of a shape is called."""
    names = next(
        (names for names in _AXES if len(names) == len(shape)), ("batch", *(f"axis {i}" for i in range(1, len(shape))))
    )
    return names[k]


def _called(x: Any, name: str) -> str:
    """The argument, and the user's variable behind it where that is another word."""
    own = isinstance(x, Tensor) and (x.name or naming.variables(lambda value: 0 if value is x else None).get(0))
    return f"{name} ('{own}')" if own and own != name else name


def _disagreement(want: tuple[int, ...], have: tuple[int, ...], names: tuple[str, str]) -> str:
    """The first axis, from the right as broadcasting goes, in which two shapes differ, with its name in each."""
    for k in range(-1, -max(len(want), len(have)) - 1, -1):
        sizes = [(name, shape) for name, shape in zip(names, (want, have)) if len(shape) >= -k]
        if len(sizes) == 1:
            (name, shape), other = sizes[0], names[len(want) > len(have)]
            return f"The {other} lacks axis {k}, which is {_axis(shape, k)} (size {shape[k]}) in {name}"
        if sizes[0][1][k] != sizes[1][1][k]:
            told = [f"{_axis(shape, k)} (size {shape[k]}) in {name}" for name, shape in sizes]
            return f"Axis {k} is {' and '.join(told)}"
    return "no axis differs"


def _pair(
    op: str, input: Any, target: Any, equal: bool = False, names: tuple[str, str] = ("input", "target")
) -> tuple[Any, Any]:
    """Both as arrays. Shapes that differ are an error if they should be ``equal``, and else a warning: it is seldom meant.

    Inside :class:`minigrad.strict` it is an error too.
    """
    input = _array(input)
    called = target
    target = _like(target, input)
    have, want = tuple(target.shape), tuple(input.shape)
    if have == want or (have == () and not equal):
        return input, target
    told = f"{op}: {_called(input, names[0])} has shape {want}, {_called(called, names[1])} {have}"
    where = _disagreement(want, have, names)
    fix = f"pass {names[1]}.reshape({want})" if target.size == input.size else "give them one shape"
    if equal:
        raise ShapeError(f"{told}: expected equal shapes; {fix}. {where}.")
    try:
        out = np.broadcast_shapes(want, have)
    except ValueError:
        raise ShapeError(f"{told}, and these do not broadcast; {fix}. {where}.") from None
    if target.size != input.size:
        fix = "if that is meant, say so with mg.broadcast_to"
    largest = max(input.size, target.size)
    if math.prod(out) > largest:
        effect = f"they broadcast to {out}, so every loss but {largest} is of two elements that do not belong together"
    else:
        effect = f"the smaller one is repeated to {out}"
    if is_strict():
        raise ShapeError(f"{told}: {effect}, which strict mode refuses; {fix}. {where}.")
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and naming.ours(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(f"{told}: {effect}; {fix}. {where}.", UserWarning, stacklevel=level)
    return input, target


def _class_axis(input: Any) -> int:
    return 0 if input.ndim == 1 else 1


def _classes(op: str, input: Any, target: Any, ignore_index: int | None = None) -> tuple[Any, Any]:
    """Class numbers as an array like ``input`` without its class axis, and where they count (None: everywhere)."""
    raw = asarray(target)._data
    if raw.dtype.kind not in "iu":
        raise DtypeError(
            f"{op}: target has dtype {raw.dtype} and shape {raw.shape}, input shape {tuple(input.shape)}: expected class numbers, "
            f"so integers: target.astype(int)" + (", or probabilities of the input's shape" if op == "cross_entropy" else "")
        )
    axis = _class_axis(input)
    count = input.shape[axis]
    want = (*input.shape[:axis], *input.shape[axis + 1 :])
    if raw.shape != want:
        raise ShapeError(
            f"{op}: {_called(input, 'input')} has shape {tuple(input.shape)}, so {count} classes in axis {axis}: "
            f"expected a target of shape {want}, got {raw.shape}: {_misfit(want, raw.shape, input)}"
        )
    if isinstance(input, Tensor):
        raw = backend.to_device(raw, input.device)
    valid = None
    traced = tracing.active.get() is not None
    if not traced and (ignore_index is None or ignore_index < 0) and _are_within(raw, count):
        return raw, valid  # no number is the one to ignore
    if ignore_index is not None and not tracing.guard(raw, lambda numbers: bool((numbers != ignore_index).all())):
        valid = raw != ignore_index
        raw = raw * valid
    if not _are_within(raw, count):
        ignored = "" if ignore_index is None else f", or ignore_index {ignore_index}"
        raise BadIndexError(
            f"{op}: class numbers go from {int(raw.min())} to {int(raw.max())}, but input of shape {tuple(input.shape)} has "
            f"{count} classes: expected 0 to {count - 1}{ignored}"
        )
    if traced:  # a program reads them anew at each replay
        valid = None if valid is None else ops.not_equal(target, ignore_index)
        return asarray(target) if valid is None else ops.multiply(target, valid), valid
    return raw, valid


def _are_within(numbers: Any, count: int) -> bool:
    return not numbers.size or 0 <= int(numbers.min()) <= int(numbers.max()) < count


def _misfit(want: tuple[int, ...], have: tuple[int, ...], input: Any) -> str:
    """What is wrong with the shape of class numbers."""
    if have == tuple(input.shape):
        return "it still has the class axis: take target.argmax(axis=...) of one-hot rows, or pass probabilities as floats"
    if len(have) == len(want) + 1 and 1 in have and tuple(n for n in have if n != 1) == tuple(n for n in want if n != 1):
        return f"it has an axis of size 1 too many: pass target.reshape({want})"
    if len(have) == len(want):
        k = next(k for k, (n, m) in enumerate(zip(want, have)) if n != m)
        return f"axis {k} ({'batch' if k == 0 else 'position'}) has size {want[k]} in input and {have[k]} in target"
    return f"expected {len(want)} axes, got {len(have)}"


def _of_class(x: Any, index: Any) -> Any:
    """x[n, index[n, ...], ...]."""
    axis = _class_axis(x)
    return ops.squeeze(ops.take_along_axis(x, ops.expand_dims(index, axis=axis), axis), axis)


def _per_class(op: str, weight: Any, input: Any) -> Any:
    weight, count = _weight(weight, input), input.shape[_class_axis(input)]
    if tuple(weight.shape) != (count,):
        raise ShapeError(f"{op}: weight has shape {tuple(weight.shape)}: expected ({count},), one number per class")
    return weight


# ---- regression ----------------------------------------------------------------------------------------------------------


def _elementwise(op: str, loss: Any, input: Any, weight: Any, reduction: str, plain_mean: bool = False) -> Any:
    if weight is None:
        return _reduce(loss, reduction, op)
    weight = _weight(weight, input)
    if tuple(weight.shape) != tuple(input.shape):
        raise ShapeError(f"{op}: weight has shape {tuple(weight.shape)}, input {tuple(input.shape)}: expected equal shapes")
    if reduction == "mean" and not plain_mean:
        return _weighted_mean(ops.sum(weight * loss), ops.sum(weight))
    return _reduce(weight * loss, reduction, op)


def mse_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Any:
    """``L = (x - t)**2``, the squared error; its mean is the MSE.

    Args:
        input: predictions, of any shape.
        target: of the same shape. One that broadcasts to it is accepted with a warning.
        reduction: none, mean or sum.
        weight: of the same shape: the mean is then sum(w L) / sum(w).

    Raises:
        ShapeError: if the shapes do not broadcast.
        ValueError: for another reduction.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.mse_loss(mg.tensor([1.0, 2.0]), mg.tensor([1.0, 4.0])).item()
        2.0
    """
    input, target = _pair("mse_loss", input, target)
    return _elementwise("mse_loss", ops.square(input - target), input, weight, reduction)


def l1_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Any:
    """``L = |x - t|``, the absolute error. Kink: the gradient is 0 where x = t.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.l1_loss(mg.tensor([1.0, 2.0]), mg.tensor([1.0, 4.0])).item()
        1.0
    """
    input, target = _pair("l1_loss", input, target)
    return _elementwise("l1_loss", ops.abs(input - target), input, weight, reduction)


@hyperparameters
def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """``L = d**2 / 2 if |d| < delta, else delta (|d| - delta/2)``, with d = x - t: Huber 1964.

    Args:
        input: predictions, of any shape.
        target: of the same shape.
        reduction: none, mean or sum.
        delta: where the parabola becomes a line.
        weight: of the same shape: the mean is then that of w L, as in PyTorch (its mse_loss and l1_loss divide by sum(w)).

    Raises:
        ValueError: unless delta is positive.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.huber_loss(mg.tensor([0.5, 3.0]), mg.zeros(2), reduction="none").tolist()
        [0.125, 2.5]
    """
    if delta <= 0:
        raise ValueError(f"huber_loss: delta={delta}: expected a positive number")
    input, target = _pair("huber_loss", input, target)
    d = input - target
    near = ops.clip(d, -delta, delta)
    loss = near * (d - 0.5 * near)
    return _elementwise("huber_loss", loss, input, weight, reduction, plain_mean=True)


@hyperparameters
def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Any:
    """``L = d**2 / (2 beta) if |d| < beta, else |d| - beta/2``, with d = x - t: Girshick 2015 (huber_loss / beta).

    Raises:
        ValueError: if beta is negative.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.smooth_l1_loss(mg.tensor([0.5, 3.0]), mg.zeros(2), reduction="none").tolist()
        [0.125, 2.5]
    """
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta={beta}: expected 0 (which is l1_loss) or more")
    input, target = _pair("smooth_l1_loss", input, target)
    d = input - target
    near = ops.clip(d, -beta, beta)
    loss = ops.abs(d) if beta == 0 else near * (d - 0.5 * near) / beta
    return _reduce(loss, reduction, "smooth_l1_loss")


@hyperparameters
def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"
) -> Any:
    """``L = exp(x) - t x``: -log P(t) of a Poisson distribution with mean exp(x), without log t!.

    Args:
        input: the logarithm of the mean, or, without ``log_input``, the mean.
        target: counts.
        log_input: if not, L = x - t log(x + eps).
        full: add Stirling's log t! = t log t - t + log(2 pi t) / 2 where t > 1.
        eps: see ``log_input``.
        reduction: none, mean or sum.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.poisson_nll_loss(mg.tensor([0.0]), mg.tensor([3.0])).item()
        1.0
    """
    input, target = _pair("poisson_nll_loss", input, target)
    loss = ops.exp(input) - target * input if log_input else input - target * ops.log(input + eps)
    if full:
        t = ops.where(target > 1, target, 1)
        loss = loss + ops.where(target > 1, t * ops.log(t) - t + 0.5 * ops.log(2 * math.pi * t), 0)
    return _reduce(loss, reduction, "poisson_nll_loss")


@hyperparameters
def gaussian_nll_loss(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Any:
    """``L = (log v + (x - t)**2 / v) / 2``: -log p(t) of N(x, v), without log(2 pi) / 2: Nix & Weigend 1994.

    Args:
        input: means.
        target: what was observed.
        var: variances: of the same shape, with one axis 1 or the last axis missing, or one number.
        full: add log(2 pi) / 2.
        eps: v is at least this. Its gradient goes to ``var`` all the same, as in PyTorch.
        reduction: none, mean or sum.

    Raises:
        ValueError: if a variance is negative.
        ShapeError: if their shape does not fit.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.gaussian_nll_loss(mg.tensor([1.0]), mg.tensor([3.0]), mg.tensor([1.0])).item()
        2.0
    """
    input, target = _pair("gaussian_nll_loss", input, target)
    var = _like(var, input)
    want, have = tuple(input.shape), tuple(var.shape)
    if have not in ((), want):
        if have == want[:-1]:
            var = ops.expand_dims(var, axis=-1)
        elif len(have) != len(want) or [h for h, w in zip(have, want) if h != w] != [1]:
            raise ShapeError(
                f"gaussian_nll_loss: var has shape {have}, input {want}: expected the input's shape, with one axis 1 or without the last"
            )
    least = _still(var)
    if ops.any(least.real < 0 if least.dtype.kind == "c" else least < 0):
        raise ValueError("gaussian_nll_loss: var has negative elements; pass the variance, or the exponential of its logarithm")
    var = var + ops.where(least < eps, eps - least, 0)
    loss = 0.5 * (ops.log(var) + ops.square(input - target) / var)
    return _reduce(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction, "gaussian_nll_loss")


# ---- classification by probabilities -------------------------------------------------------------------------------------


def _log_at_least(p: Any, x: Any, log: Any) -> Any:
    """log(p) = ``log(x)``, but at least -100, where p = 0 too; its slope 1/p is at most 1/EPS. Both are PyTorch's numbers.

    Args:
        p: a probability, x or 1 - x.
        x: what ``log`` takes.
        log: gives log p from x accurately.
    """
    bound, eps = (HALF_EPS, HALF_EPS) if p.dtype == np.float16 else (1e-12, EPS)
    tiny = p < bound
    held = _still(p)
    low = ops.maximum(ops.log(ops.where(held == 0, 1, held)), -100)
    return ops.where(tiny, ops.where(held == 0, -100, low) + (p - held) / eps, log(ops.where(tiny, 0.5, x)))


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """``L = -w (t log x + (1 - t) log(1 - x))``, with x in [0, 1].

    The logarithms are at least -100, as in PyTorch. After a sigmoid take :func:`binary_cross_entropy_with_logits`, which is exact.

    Args:
        input: probabilities.
        target: of the same shape, in [0, 1].
        weight: w, broadcast.
        reduction: none, mean or sum.

    Raises:
        ShapeError: if the shapes differ.
        ValueError: if an input is not a probability.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.binary_cross_entropy(mg.tensor([0.0, 1.0]), mg.tensor([1.0, 1.0]), reduction="none").tolist()
        [100.0, 0.0]
    """
    input, target = _pair("binary_cross_entropy", input, target, equal=True)
    x = _still(input)
    if x.dtype.kind == "f" and not ops.all((x >= 0) & (x <= 1)):
        raise ValueError(
            "binary_cross_entropy: input has elements outside [0, 1]: apply a sigmoid, or take binary_cross_entropy_with_logits"
        )
    yes = _log_at_least(input, input, ops.log)
    no = _log_at_least(1 - input, input, lambda x: ops.log1p(-x))
    loss = -target * yes - (1 - target) * no
    return _reduce(_times("binary_cross_entropy", loss, weight), reduction, "binary_cross_entropy")


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """``L = w (q t log(1 + exp(-x)) + (1 - t) log(1 + exp(x)))``: the cross-entropy of sigmoid(x), exact in both tails.

    Args:
        input: logits.
        target: of the same shape, in [0, 1].
        weight: w, broadcast.
        reduction: none, mean or sum.
        pos_weight: q, broadcast: above 1 it counts missed positives more.

    Raises:
        ShapeError: if the shapes differ.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.binary_cross_entropy_with_logits(mg.tensor([1000.0, -1000.0]), mg.tensor([1.0, 1.0]), reduction="none").tolist()
        [0.0, 1000.0]
    """
    input, target = _pair("binary_cross_entropy_with_logits", input, target, equal=True)
    op = "binary_cross_entropy_with_logits"
    positive = _times(f"{op}: pos_weight", target, pos_weight)
    # log(1 + exp(x)) - t x would take one softplus, but is 0 from x = 37 on where t = 1.
    loss = positive * ops.softplus(-input) + (1 - target) * ops.softplus(input)
    return _reduce(_times(op, loss, weight), reduction, op)


def nll_loss(input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """L_n = -w[t_n] x[n, t_n]: minus the log-probability of the right class. The mean is sum(L) / sum(w[t_n]).

    Args:
        input: log-probabilities: (N, C), (N, C, d1, ...), or (C,).
        target: class numbers: (N,), (N, d1, ...), or ().
        weight: one number per class.
        ignore_index: a target that counts nothing.
        reduction: none, mean or sum.

    Raises:
        ShapeError: if the shapes do not fit.
        DtypeError: if the target is not of integers.
        IndexError: if there is no such class.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.nll_loss(mg.tensor([[-1.0, -2.0], [-3.0, -4.0]]), [1, 0]).item()
        2.5
    """
    input = _array(input)
    index, valid = _classes("nll_loss", input, target, ignore_index)
    return _nll("nll_loss", input, index, valid, weight, reduction)


def _nll(
    op: str, logp: Any, index: Any, valid: Any, weight: Any, reduction: str, smoothing: float = 0.0, loss: Any = None
) -> Any:
    """``loss``, where it is known, is -logp of the class; then only the shape and dtype of ``logp`` are read."""
    w = None if weight is None else _per_class(op, weight, logp)
    loss = -_of_class(logp, index) if loss is None else loss
    share = None if w is None else ops.getitem(w, index)
    loss = loss if share is None else loss * share
    if smoothing:
        axis = _class_axis(logp)
        each = logp if w is None else logp * w.reshape((-1,) + (1,) * (logp.ndim - axis - 1))
        loss = (1 - smoothing) * loss - (smoothing / logp.shape[axis]) * ops.sum(each, axis)
    if valid is not None:
        loss = ops.where(valid, loss, 0)
    if reduction != "mean" or (valid is None and share is None and loss.size):
        return _reduce(loss, reduction, op)
    if share is None:
        if valid is None:
            return ops.sum(loss) / (index.size or math.nan)
        return _weighted_mean(ops.sum(loss), ops.astype(ops.sum(valid), loss.dtype))
    return _weighted_mean(ops.sum(loss), ops.sum(share if valid is None else ops.where(valid, share, 0)))


@hyperparameters
def cross_entropy(
    input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:  # fmt: skip
    """L_n = -sum_c w_c t[n, c] log softmax(x[n])[c]; of class numbers t_n, that is -w[t_n] log softmax(x[n])[t_n].

    The softmax and its logarithm are one (log-sum-exp), so logits of any size are fine. With smoothing e the target of C classes
    is (1 - e) t + e / C (Szegedy et al. 2016).

    Args:
        input: logits: (N, C), (N, C, d1, ...), or (C,).
        target: class numbers (N,), (N, d1, ...), or (); or probabilities of the input's shape.
        weight: one number per class. The mean over class numbers is then sum(L) / sum(w[t_n]).
        ignore_index: a class number that counts nothing.
        reduction: none, mean or sum. The mean is over all but the class axis.
        label_smoothing: e.

    Raises:
        ShapeError: if the shapes do not fit.
        DtypeError: if the target is neither of integers nor probabilities.
        IndexError: if there is no such class.
        ValueError: for a smoothing outside [0, 1], or an ``ignore_index`` of probabilities.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> round(F.cross_entropy(mg.tensor([3.2, 5.1, -1.7]), 0).item(), 4)
        2.0404
    """
    input = _array(input)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing={label_smoothing}: expected 0 to 1")
    if input.ndim == 0:
        raise ShapeError("cross_entropy: input has shape (): expected (C,), (N, C) or (N, C, ...)")
    target = _array(target)
    axis = _class_axis(input)
    numbers = halves.kind(target.dtype) not in "fc" or tuple(target.shape) != tuple(input.shape)
    if numbers and not label_smoothing and axis == input.ndim - 1:
        index, valid = _classes("cross_entropy", input, target, ignore_index)
        loss = softmax_cross_entropy(input, index)
        return _nll("cross_entropy", input, index, valid, weight, reduction, loss=loss)
    logp = ops.log_softmax(input, axis)
    if numbers:
        index, valid = _classes("cross_entropy", input, target, ignore_index)
        return _nll("cross_entropy", logp, index, valid, weight, reduction, label_smoothing)
    if ignore_index >= 0:
        raise ValueError(f"cross_entropy: ignore_index={ignore_index} needs class numbers, but the target is of probabilities")
    if label_smoothing:
        target = (1 - label_smoothing) * target + label_smoothing / input.shape[axis]
    if weight is not None:
        logp = logp * _per_class("cross_entropy", weight, input).reshape((-1,) + (1,) * (input.ndim - axis - 1))
    return _reduce(-ops.sum(target * logp, axis), reduction, "cross_entropy")


def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    """``L = t (log t - x)``, whose sum is KL(t || exp x): Kullback & Leibler 1951. Where t = 0, L is 0.

    Args:
        input: log-probabilities x.
        target: probabilities t, of the same shape.
        reduction: none, sum, batchmean (sum / N: the KL divergence), or mean (PyTorch's default: over all elements).
        log_target: whether ``target`` is log t.

    Raises:
        ValueError: for another reduction.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> half = mg.tensor([[0.5, 0.5]])
        >>> round(F.kl_div(mg.log(half), mg.tensor([[1.0, 0.0]]), reduction="batchmean").item(), 4)
        0.6931
    """
    input, target = _pair("kl_div", input, target)
    if log_target:
        loss = ops.exp(target) * (target - input)
    else:
        t = ops.where(target == 0, 1, target)
        loss = ops.where(target == 0, 0, t * ops.log(t)) - target * input
    if reduction == "batchmean":
        return ops.sum(loss) / (input.shape[0] or math.nan if input.ndim else 1)
    return _reduce(loss, reduction, "kl_div")


# ---- classification by margins -------------------------------------------------------------------------------------------


@hyperparameters
def hinge_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """``L = max(0, margin - y f)``, with y = -1 or 1: the support vector machine's (Cortes & Vapnik 1995; notes 001).

    Kink: the gradient is 0 where y f = margin.

    Raises:
        ValueError: if a target is neither -1 nor 1.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.hinge_loss(mg.tensor([0.5, 3.0, 1.0]), mg.tensor([1.0, 1.0, -1.0]), reduction="none").tolist()
        [0.5, 0.0, 2.0]
    """
    input, target = _pair("hinge_loss", input, target)
    _signs("hinge_loss", target)
    return _reduce(ops.relu(margin - target * input), reduction, "hinge_loss")


def _signs(op: str, target: Any) -> None:
    y = _still(target)
    if not ops.all((y == 1) | (y == -1)):
        raise ValueError(f"{op}: target has elements other than -1 and 1; from 0 and 1, pass 2 * target - 1")


@hyperparameters
def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean"
) -> Any:
    """L_n = w_y / C sum over j != y of max(0, margin + a_j - a_y)**p, where a = x[n] and y = t_n, of C classes.

    Args:
        input: scores: (N, C) or (C,).
        target: class numbers: (N,) or ().
        p: 1 or 2.
        margin: by how much the right class should win.
        weight: one number per class.
        reduction: none, mean or sum.

    Raises:
        ShapeError: if the shapes do not fit.
        IndexError: if there is no such class.
        ValueError: for another p.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> round(F.multi_margin_loss(mg.tensor([[3.0, 5.0, -1.0]]), [0]).item(), 4)
        1.0
    """
    input = _array(input)
    loss = _margins("multi_margin_loss", input, target, p, margin, weight) / input.shape[-1]
    return _reduce(loss, reduction, "multi_margin_loss")


@hyperparameters
def multiclass_hinge_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """L_n = sum over j != y of max(0, margin + a_j - a_y): Weston & Watkins 1999, as in the notes (001).

    PyTorch's :func:`multi_margin_loss` also divides by the number of classes.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> cat_car_frog = mg.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
        >>> [round(loss, 4) for loss in F.multiclass_hinge_loss(cat_car_frog, [0, 1, 2], reduction="none").tolist()]
        [2.9, 0.0, 12.9]
    """
    return _reduce(
        _margins("multiclass_hinge_loss", _array(input), target, 1, margin, None), reduction, "multiclass_hinge_loss"
    )


def _margins(op: str, input: Any, target: Any, p: int, margin: float, weight: Any) -> Any:
    if p not in (1, 2):
        raise ValueError(f"{op}: p={p}: expected 1 or 2")
    if input.ndim not in (1, 2):
        raise ShapeError(f"{op}: input has shape {tuple(input.shape)}: expected scores (N, C) or (C,)")
    index, _ = _classes(op, input, target)
    over = ops.relu(input - ops.expand_dims(_of_class(input, index), axis=-1) + margin)
    numbers = backend.namespace(getattr(index, "_data", index)).arange(input.shape[-1])
    others = ops.expand_dims(index, axis=-1) != numbers
    total = ops.sum(ops.where(others, over if p == 1 else over * over, 0), -1)
    return total if weight is None else total * ops.getitem(_per_class(op, weight, input), index)


def soft_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """``L = log(1 + exp(-y x))``, with y = -1 or 1: logistic regression with the SVM's targets.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.soft_margin_loss(mg.tensor([1000.0, 1000.0]), mg.tensor([1.0, -1.0]), reduction="none").tolist()
        [0.0, 1000.0]
    """
    input, target = _pair("soft_margin_loss", input, target)
    return _reduce(ops.softplus(-target * input), reduction, "soft_margin_loss")


@hyperparameters
def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean") -> Any:
    """``L = x if y = 1, max(0, margin - x) if y = -1``, for a distance x between two things that are alike or not.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.hinge_embedding_loss(mg.tensor([0.25, 0.25]), mg.tensor([1.0, -1.0]), reduction="none").tolist()
        [0.25, 0.75]
    """
    input, target = _pair("hinge_embedding_loss", input, target)
    loss = _alike("hinge_embedding_loss", target, input, ops.clip(margin - input, 0, None))
    return _reduce(loss, reduction, "hinge_embedding_loss")


def _alike(op: str, target: Any, alike: Any, different: Any) -> Any:
    _signs(op, target)
    return ops.where(_still(target) == 1, alike, different)


@hyperparameters
def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean") -> Any:
    """``L = max(0, margin - y (x1 - x2))``: with y = 1, x1 should be ranked above x2, with y = -1 below.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.margin_ranking_loss(mg.tensor([1.0]), mg.tensor([3.0]), mg.tensor([1.0])).item()
        2.0
    """
    input1, input2 = _pair("margin_ranking_loss", input1, input2, names=("input1", "input2"))
    difference, target = _pair("margin_ranking_loss", input1 - input2, target, names=("input1 - input2", "target"))
    return _reduce(ops.clip(margin - target * difference, 0, None), reduction, "margin_ranking_loss")


@hyperparameters
def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean") -> Any:
    """``L = 1 - cos(x1, x2) if y = 1, max(0, cos(x1, x2) - margin) if y = -1``.

    Args:
        input1: (N, D) or (D,).
        input2: of the same shape.
        target: -1 or 1: (N,) or ().
        margin: the cosine from which different ones count as too near.
        reduction: none, mean or sum.

    Raises:
        ShapeError: if the shapes do not fit.
        ValueError: if a target is neither -1 nor 1.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.cosine_embedding_loss(mg.tensor([[1.0, 0.0]]), mg.tensor([[0.0, 2.0]]), mg.tensor([1.0])).item()
        1.0
    """
    input1, input2 = _pair("cosine_embedding_loss", input1, input2, names=("input1", "input2"))
    target = _like(target, input1)
    if input1.ndim != target.ndim + 1 or target.ndim > 1:
        raise ShapeError(
            f"cosine_embedding_loss: input has shape {tuple(input1.shape)}, target {tuple(target.shape)}: expected (N, D) and (N,), "
            f"or (D,) and ()"
        )
    # EPS keeps the cosine of a zero vector 0, and its gradient finite.
    lengths = ops.sqrt((ops.sum(input1 * input1, -1) + EPS) * (ops.sum(input2 * input2, -1) + EPS))
    cosine, target = _pair(
        "cosine_embedding_loss", ops.sum(input1 * input2, -1) / lengths, target, names=("the cosine", "target")
    )
    loss = _alike("cosine_embedding_loss", target, 1 - cosine, ops.clip(cosine - margin, 0, None))
    return _reduce(loss, reduction, "cosine_embedding_loss")


@hyperparameters
def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
    *, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``L = max(0, margin + d(a, p) - d(a, n))``, with d the p-norm of the difference: Balntas et al. 2016.

    Args:
        anchor: (N, D) or (D,).
        positive: what should be near.
        negative: what should be far.
        margin: by how much farther.
        p: of the norm.
        eps: added to the differences: equal vectors have a gradient.
        swap: take d(p, n) where it is less than d(a, n).
        reduction: none, mean or sum.

    Raises:
        ValueError: unless the margin is positive.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> a, p, n = mg.tensor([[0.0, 0.0]]), mg.tensor([[3.0, 4.0]]), mg.tensor([[0.0, 2.0]])
        >>> round(F.triplet_margin_loss(a, p, n).item(), 4)
        4.0
    """
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: margin={margin}: expected a positive number")
    anchor, positive = _pair("triplet_margin_loss", anchor, positive, names=("anchor", "positive"))
    anchor, negative = _pair("triplet_margin_loss", anchor, negative, names=("anchor", "negative"))

    def distance(a: Any, b: Any) -> Any:
        return ops.vector_norm(a - b + eps, p, -1)

    far = distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    loss = ops.clip(margin + distance(anchor, positive) - far, 0, None)
    return _reduce(loss, reduction, "triplet_margin_loss")


# ---- variational ---------------------------------------------------------------------------------------------------------


def gaussian_kl(mu: Any, logvar: Any, mu2: Any = 0.0, logvar2: Any = 0.0, *, reduction: str = "mean") -> Any:
    """KL(N(m, v) || N(m2, v2)) = sum_d (v/v2 - 1 - log(v/v2) + (m - m2)**2 / v2) / 2, by default to N(0, 1).

    Kingma & Welling 2014, Appendix B. It is exact near 0, where v/v2 - 1 - log(v/v2) is a difference of nearly equal numbers.

    Args:
        mu: means: (..., D).
        logvar: logarithms of the variances.
        mu2: means of the second distribution.
        logvar2: logarithms of its variances.
        reduction: of the divergences (...), each a sum over the D axes: none, mean or sum.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.gaussian_kl(mg.tensor([[1.0, 2.0]]), mg.zeros((1, 2))).item()
        2.5
    """
    mu, logvar = _pair("gaussian_kl", mu, logvar, names=("mu", "logvar"))
    mu, mu2 = _pair("gaussian_kl", mu, mu2, names=("mu", "mu2"))
    mu, logvar2 = _pair("gaussian_kl", mu, logvar2, names=("mu", "logvar2"))
    ratio = logvar - logvar2
    each = 0.5 * (ops.expm1(ratio) - ratio + ops.square(mu - mu2) * ops.exp(-logvar2))
    return _reduce(ops.sum(each, -1) if each.ndim else each, reduction, "gaussian_kl")


@hyperparameters
def elbo(log_likelihood: Any, mu: Any, logvar: Any, beta: float = 1.0, *, reduction: str = "mean") -> Any:
    """``ELBO = log p(x|z) - beta KL(N(mu, exp logvar) || N(0, 1))``: a lower bound of log p(x), so minimise ``-elbo(...)``.

    Kingma & Welling 2014; with another beta, Higgins et al. 2017.

    Args:
        log_likelihood: log p(x|z) at a sample z: (N,), or (N, ...), which is summed over all but the first axis.
        mu: means of z: (N, D).
        logvar: logarithms of its variances: (N, D).
        beta: how much the divergence counts.
        reduction: over the N samples: none, mean or sum.

    Raises:
        ShapeError: if there is another number of samples.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.elbo(mg.tensor([-3.0]), mg.tensor([[1.0, 2.0]]), mg.zeros((1, 2))).item()
        -5.5
    """
    log_likelihood = _array(log_likelihood)
    fit = ops.sum(log_likelihood, tuple(range(1, log_likelihood.ndim))) if log_likelihood.ndim > 1 else log_likelihood
    divergence = gaussian_kl(mu, logvar, reduction="none")
    if tuple(fit.shape) != tuple(divergence.shape):
        raise ShapeError(
            f"elbo: log_likelihood has shape {tuple(log_likelihood.shape)}, so one number per sample {tuple(fit.shape)}, but mu "
            f"{tuple(_array(mu).shape)}, so {tuple(divergence.shape)}: expected (N, ...) and (N, D)"
        )
    return _reduce(fit - beta * divergence, reduction, "elbo")


# ---- penalties -----------------------------------------------------------------------------------------------------------


def _differences(op: str, parameters: Any, toward: Any) -> Iterable[Any]:
    """Each parameter minus the point it is drawn to, a number or one array per parameter."""
    mine = _set(parameters)
    if toward is None:
        return mine
    if isinstance(toward, (int, float)):
        return [a - toward for a in mine]
    theirs = _set(toward)
    have, want = ([tuple(a.shape) for a in values] for values in (theirs, mine))
    if have != want:
        raise ShapeError(f"{op}: parameters of shapes {want}, toward {have}: expected as many, of the same shapes")
    return [a - b for a, b in zip(mine, theirs)]


def _set(values: Any) -> list[Any]:
    if isinstance(values, Module):
        return list(values.parameters())
    return [values] if isinstance(values, Tensor) or hasattr(values, "shape") else [_array(v) for v in values]


def _total(terms: Iterable[Any], op: str) -> Any:
    found = list(terms)
    if not found:
        raise ValueError(f"{op}: there are no parameters")
    total = found[0]
    for term in found[1:]:
        total = total + term
    return total


def l1_penalty(parameters: Any, toward: Any = None) -> Any:
    """``sum |w - b|``: draws weights to b, many exactly (Tibshirani 1996). Of activations it makes a code sparse (notes 001).

    Args:
        parameters: a Tensor, several, or a Module, of which all parameters are taken.
        toward: b: a number, one array per parameter, or a second Module (two weight sets); None is 0.

    Raises:
        ShapeError: if ``toward`` has other shapes.
        ValueError: if there are no parameters.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.l1_penalty(mg.tensor([3.0, -4.0])).item()
        7.0
    """
    return _total((ops.sum(ops.abs(d)) for d in _differences("l1_penalty", parameters, toward)), "l1_penalty")


def l2_penalty(parameters: Any, toward: Any = None) -> Any:
    """``sum (w - b)**2``: draws weights to b. ``c/2`` of it is what an optimiser's ``weight_decay=c`` does (SGD's).

    Args and errors are those of :func:`l1_penalty`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> (
        ...     F.l2_penalty(mg.tensor([3.0, -4.0])).item(),
        ...     F.l2_penalty(mg.tensor([3.0, -4.0]), toward=mg.tensor([3.0, 0.0])).item(),
        ... )
        (25.0, 16.0)
    """
    return _total((ops.sum(ops.square(d)) for d in _differences("l2_penalty", parameters, toward)), "l2_penalty")


@hyperparameters
def elastic_net(parameters: Any, l1: float, l2: float, toward: Any = None) -> Any:
    """``l1 sum |w - b| + l2 sum (w - b)**2``: Zou & Hastie 2005. Args are those of :func:`l1_penalty`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.elastic_net(mg.tensor([3.0, -4.0]), l1=1.0, l2=2.0).item()
        57.0
    """
    held = _differences("elastic_net", parameters, toward)
    return _total((l1 * ops.sum(ops.abs(d)) + l2 * ops.sum(ops.square(d)) for d in held), "elastic_net")


def pascanu_regulariser(loss: Tensor, hidden: Sequence[Tensor]) -> Tensor:
    """sum_t (||dL/dh_{t+1} dh_{t+1}/dh_t|| / ||dL/dh_{t+1}|| - 1)**2: gradients should keep their length through time.

    Pascanu et al. 2013, equations 9 and 10. They differentiate it with the gradients held fixed; here all of it is differentiated,
    through gradients of gradients. A step whose state has no part in the loss (dL/dh = 0) counts nothing.

    Args:
        loss: L, one number computed from the states.
        hidden: the states h_1, ..., h_T that came one from the other, (H,) or (N, H) each. Norms are per sequence; the result is
            the mean over N.

    Raises:
        NotInGraphError: if a state is not part of a recorded graph.
        ValueError: if there are fewer than two.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> w = mg.tensor(0.5, requires_grad=True)
        >>> h = [mg.tensor([1.0], requires_grad=True)]
        >>> for _ in range(2):
        ...     h.append(w * h[-1])
        >>> F.pascanu_regulariser(mg.sum(h[-1]), h).item()
        0.5
    """
    if len(hidden) < 2:
        raise ValueError(f"pascanu_regulariser: {len(hidden)} states: expected two or more")
    upstream = gradients(loss, tuple(hidden), create_graph=True, allow_unused=True)
    terms = []
    for before, after, g in zip(hidden, hidden[1:], upstream[1:]):
        if g is None:
            continue
        (back,) = gradients(after, before, grad_outputs=g, create_graph=True)
        length = ops.vector_norm(g, 2, -1)
        ratio = ops.vector_norm(back, 2, -1) / ops.where(length == 0, 1, length)
        terms.append(ops.mean(ops.where(length == 0, 0, ops.square(ratio - 1))))
    return _total(terms, "pascanu_regulariser")  # type: ignore[no-any-return]


def contractive_penalty(hidden: Tensor, input: Tensor) -> Tensor:
    """``||dh/dx||_F**2``, the mean over a batch: an encoder's code should not follow small moves of x (Rifai et al. 2011).

    Costs one backward pass per hidden unit. Each h_n must be computed from x_n alone (no batch normalisation).

    Args:
        hidden: h: (N, H), or (H,).
        input: the x that it was computed from, with ``requires_grad=True``: (N, ...), or of any shape.

    Raises:
        NotInGraphError: if ``hidden`` was not computed from ``input``, or that asks for no gradient.
        ShapeError: if ``hidden`` has other axes.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> x = mg.tensor([[1.0, 2.0]], requires_grad=True)
        >>> F.contractive_penalty(x @ mg.tensor([[1.0, 0.0], [2.0, 3.0]]), x).item()
        14.0
    """
    if hidden.ndim not in (1, 2):
        raise ShapeError(f"contractive_penalty: hidden has shape {hidden.shape}: expected (N, H) or (H,)")
    rows = (gradients(ops.sum(hidden[..., j]), input, create_graph=True)[0] for j in range(hidden.shape[-1]))
    total = _total((ops.sum(ops.square(row)) for row in rows), "contractive_penalty")
    return total / hidden.shape[0] if hidden.ndim == 2 else total  # type: ignore[no-any-return]


# ---- as modules ----------------------------------------------------------------------------------------------------------


class _Loss(Module):
    """What the losses share: options as attributes, weights as buffers, and a forward that passes them on by name."""

    _options: tuple[str, ...] = ("reduction",)

    def _weights(self, **weights: Any) -> None:
        for name, value in weights.items():
            self.register_buffer(name, None if value is None else asarray(value).detach().clone())

    def _chosen(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._options}


class MSELoss(_Loss):
    """``L = (x - t)**2``: :func:`minigrad.nn.functional.mse_loss`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.MSELoss()(mg.tensor([1.0, 2.0]), mg.tensor([1.0, 4.0])).item()
        2.0
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        return mse_loss(input, target, **self._chosen())


class L1Loss(_Loss):
    """``L = |x - t|``: :func:`minigrad.nn.functional.l1_loss`."""

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        return l1_loss(input, target, **self._chosen())


class HuberLoss(_Loss):
    """``L = d**2 / 2 if |d| < delta, else delta (|d| - delta/2)``: :func:`minigrad.nn.functional.huber_loss`."""

    _options = ("reduction", "delta")

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        self.reduction, self.delta = reduction, delta

    def forward(self, input: Any, target: Any) -> Any:
        return huber_loss(input, target, **self._chosen())


class SmoothL1Loss(_Loss):
    """``L = d**2 / (2 beta) if |d| < beta, else |d| - beta/2``: :func:`minigrad.nn.functional.smooth_l1_loss`."""

    _options = ("reduction", "beta")

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        self.reduction, self.beta = reduction, beta

    def forward(self, input: Any, target: Any) -> Any:
        return smooth_l1_loss(input, target, **self._chosen())


class PoissonNLLLoss(_Loss):
    """``L = exp(x) - t x``: :func:`minigrad.nn.functional.poisson_nll_loss`."""

    _options = ("log_input", "full", "eps", "reduction")

    def __init__(self, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean") -> None:
        self.log_input, self.full, self.eps, self.reduction = log_input, full, eps, reduction

    def forward(self, log_input: Any, target: Any) -> Any:
        return poisson_nll_loss(log_input, target, **self._chosen())


class GaussianNLLLoss(_Loss):
    """``L = (log v + (x - t)**2 / v) / 2``, called with x, t and v: :func:`minigrad.nn.functional.gaussian_nll_loss`."""

    _options = ("full", "eps", "reduction")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        self.full, self.eps, self.reduction = full, eps, reduction

    def forward(self, input: Any, target: Any, var: Any) -> Any:
        return gaussian_nll_loss(input, target, var, **self._chosen())


class BCELoss(_Loss):
    """``L = -w (t log x + (1 - t) log(1 - x))``: :func:`minigrad.nn.functional.binary_cross_entropy`."""

    _options = ("weight", "reduction")

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        self._weights(weight=weight)
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        return binary_cross_entropy(input, target, **self._chosen())


class BCEWithLogitsLoss(_Loss):
    """``L = w (q t log(1 + exp(-x)) + (1 - t) log(1 + exp(x)))``.

    :func:`minigrad.nn.functional.binary_cross_entropy_with_logits`.
    """

    _options = ("weight", "reduction", "pos_weight")

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None) -> None:
        self._weights(weight=weight, pos_weight=pos_weight)
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        return binary_cross_entropy_with_logits(input, target, **self._chosen())


class NLLLoss(_Loss):
    """L_n = -w[t_n] x[n, t_n]: :func:`minigrad.nn.functional.nll_loss`."""

    _options = ("weight", "ignore_index", "reduction")

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        self._weights(weight=weight)
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, input: Any, target: Any) -> Any:
        return nll_loss(input, target, **self._chosen())


class CrossEntropyLoss(_Loss):
    """L_n = -w[t_n] log softmax(x[n])[t_n]: :func:`minigrad.nn.functional.cross_entropy`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> round(nn.CrossEntropyLoss()(mg.tensor([[3.2, 5.1, -1.7]]), mg.tensor([0])).item(), 4)
        2.0404
    """

    _options = ("weight", "ignore_index", "reduction", "label_smoothing")

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        self._weights(weight=weight)
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return cross_entropy(input, target, **self._chosen())


class KLDivLoss(_Loss):
    """``L = t (log t - x)``: :func:`minigrad.nn.functional.kl_div`."""

    _options = ("reduction", "log_target")

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        self.reduction, self.log_target = reduction, log_target

    def forward(self, input: Any, target: Any) -> Any:
        return kl_div(input, target, **self._chosen())


class HingeLoss(_Loss):
    """``L = max(0, margin - y f)``, with y = -1 or 1: :func:`minigrad.nn.functional.hinge_loss`."""

    _options = ("margin", "reduction")

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, reduction

    def forward(self, input: Any, target: Any) -> Any:
        return hinge_loss(input, target, **self._chosen())


class MulticlassHingeLoss(_Loss):
    """L_n = sum over j != y of max(0, margin + a_j - a_y): :func:`minigrad.nn.functional.multiclass_hinge_loss`.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> cat_car_frog = mg.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
        >>> round(nn.MulticlassHingeLoss()(cat_car_frog, mg.tensor([0, 1, 2])).item(), 4)
        5.2667
    """

    _options = ("margin", "reduction")

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, reduction

    def forward(self, input: Any, target: Any) -> Any:
        return multiclass_hinge_loss(input, target, **self._chosen())


class MultiMarginLoss(_Loss):
    """L_n = w_y / C sum over j != y of max(0, margin + a_j - a_y)**p: :func:`minigrad.nn.functional.multi_margin_loss`."""

    _options = ("p", "margin", "weight", "reduction")

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean") -> None:
        self.p, self.margin, self.reduction = p, margin, reduction
        self._weights(weight=weight)

    def forward(self, input: Any, target: Any) -> Any:
        return multi_margin_loss(input, target, **self._chosen())


class SoftMarginLoss(_Loss):
    """``L = log(1 + exp(-y x))``, with y = -1 or 1: :func:`minigrad.nn.functional.soft_margin_loss`."""

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        return soft_margin_loss(input, target, **self._chosen())


class HingeEmbeddingLoss(_Loss):
    """``L = x if y = 1, max(0, margin - x) if y = -1``: :func:`minigrad.nn.functional.hinge_embedding_loss`."""

    _options = ("margin", "reduction")

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, reduction

    def forward(self, input: Any, target: Any) -> Any:
        return hinge_embedding_loss(input, target, **self._chosen())


class MarginRankingLoss(_Loss):
    """``L = max(0, margin - y (x1 - x2))``: :func:`minigrad.nn.functional.margin_ranking_loss`."""

    _options = ("margin", "reduction")

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, reduction

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return margin_ranking_loss(input1, input2, target, **self._chosen())


class CosineEmbeddingLoss(_Loss):
    """``L = 1 - cos(x1, x2) if y = 1, max(0, cos(x1, x2) - margin) if y = -1``.

    :func:`minigrad.nn.functional.cosine_embedding_loss`.
    """

    _options = ("margin", "reduction")

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        self.margin, self.reduction = margin, reduction

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return cosine_embedding_loss(input1, input2, target, **self._chosen())


class TripletMarginLoss(_Loss):
    """``L = max(0, margin + d(a, p) - d(a, n))``: :func:`minigrad.nn.functional.triplet_margin_loss`."""

    _options = ("margin", "p", "eps", "swap", "reduction")

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean"
    ) -> None:
        self.margin, self.p, self.eps, self.swap, self.reduction = margin, p, eps, swap, reduction

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        return triplet_margin_loss(anchor, positive, negative, **self._chosen())
