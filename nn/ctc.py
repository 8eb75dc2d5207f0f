"""Connectionist temporal classification: a sequence against labels without an alignment."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend, ops, tracing
from minigrad.errors import BadIndexError, DtypeError, ShapeError
from minigrad.nn.losses import _array, _reduce
from minigrad.nn.module import Module
from minigrad.tensor import asarray

NEVER = -1e30
"""The logarithm of a probability that is as good as 0: finite, so that differences of two of them are numbers."""


def _known(x: Any, name: str) -> Any:
    """Integers that decide the shape of what is computed, as a NumPy array; a compiled step holds for these."""
    raw = asarray(x)._data
    if raw.dtype.kind not in "iu":
        raise DtypeError(f"ctc_loss: {name} has dtype {raw.dtype}: expected integers")
    tracing.guard(raw, lambda a: a.tolist())
    return backend.to_numpy(raw)


def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """L_n = -log of the sum, over all ways to write target n with T_n frames, of their probabilities: Graves et al. 2006.

    A way repeats labels and puts blanks between them. With l the target with blanks around every label, and a_t(s) the
    log-probability of having written l up to s after t frames,

        a_t(s) = log(exp a_{t-1}(s) + exp a_{t-1}(s - 1) + exp a_{t-1}(s - 2)) + log p_t(l_s)

    where the last term is there if l_s is no blank and another label than l_{s-2}.

    Args:
        log_probs: (T, N, C) or (T, C), such as a log_softmax gives.
        targets: class numbers without blanks, (N, S), or all N one after the other, (sum of lengths,).
        input_lengths: (N,), at most T.
        target_lengths: (N,).
        blank: the class that stands for "no label".
        reduction: none, sum, or mean: of L_n / max(1, target length).
        zero_infinity: take 0 where a target is too long for its frames; otherwise L is inf there. It has no gradient either way.

    Raises:
        ShapeError: if shapes and lengths do not fit each other.
        DtypeError: if targets or lengths are not integers.
        IndexError: if there is no such class.

    Example:
        >>> import math
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> even = mg.full((2, 1, 2), math.log(0.5))
        >>> round(F.ctc_loss(even, [[1]], [2], [1]).exp().item(), 4)  # 1 / P(11, 01 or 10)
        1.3333
    """
    log_probs = _array(log_probs)
    single = log_probs.ndim == 2
    if log_probs.ndim not in (2, 3):
        raise ShapeError(f"ctc_loss: log_probs has shape {tuple(log_probs.shape)}: expected (T, N, C) or (T, C)")
    p = ops.expand_dims(log_probs, axis=1) if single else log_probs
    steps, n, classes = p.shape
    frames, sizes = (
        _known(x, name).reshape(-1) for x, name in ((input_lengths, "input_lengths"), (target_lengths, "target_lengths"))
    )
    if frames.shape != (n,) or sizes.shape != (n,):
        raise ShapeError(f"ctc_loss: {n} sequences: expected as many lengths, got {frames.shape[0]} and {sizes.shape[0]}")
    if n and (frames.max() > steps or min(frames.min(), sizes.min()) < 0):
        raise ShapeError(f"ctc_loss: input_lengths from {frames.min()} to {frames.max()}: expected 0 to {steps}")
    labels = _labels(_known(targets, "targets"), sizes, blank)
    if not 0 <= blank < classes or (labels.size and not 0 <= labels.min() <= labels.max() < classes):
        raise BadIndexError(f"ctc_loss: targets and blank must be class numbers, 0 to {classes - 1}")

    width = labels.shape[1]
    skips = np.zeros((n, width), bool)
    skips[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    written = ops.take_along_axis(p, np.broadcast_to(labels, (steps, n, width)), 2)
    xp = backend.namespace(getattr(p, "_data", p))
    never = xp.full((n, 2), NEVER, dtype=p.dtype)
    start = np.full((n, width), NEVER)
    start[:, :1] = 0
    # Before the first frame nothing is written: it may stand on the first blank, or on the first label one step further.
    a: Any = xp.asarray(start.astype(p.dtype))
    start[:, 1:2] = 0
    for t in range(steps):
        if t == 0:
            moved = xp.asarray(start.astype(p.dtype)) + written[0]
        else:
            before = ops.concat([never, a], axis=1)
            two = ops.where(skips, before[:, :width], NEVER)
            moved = ops.logsumexp(ops.stack([a, before[:, 1 : width + 1], two]), axis=0) + written[t]
        a = ops.where((t < frames)[:, None], moved, a)
    ends = np.stack([2 * sizes, np.maximum(2 * sizes - 1, 0)], axis=1)
    last = ops.where(np.stack([sizes >= 0, sizes > 0], axis=1), ops.take_along_axis(a, ends, 1), NEVER)
    loss = -ops.logsumexp(last, axis=1)
    loss = ops.where(loss > -NEVER / 2, 0.0 if zero_infinity else math.inf, loss)
    if reduction == "mean":
        loss = loss / np.maximum(sizes, 1).astype(p.dtype)
    return _reduce(loss.reshape(()) if single else loss, reduction, "ctc_loss")


def _labels(targets: Any, sizes: Any, blank: int) -> Any:
    """(N, 2 S + 1): every target with a blank before, between and after its labels."""
    longest = int(sizes.max(initial=0))
    out = np.full((len(sizes), 2 * longest + 1), blank)
    if targets.ndim == 2:
        if targets.shape[0] != len(sizes) or targets.shape[1] < longest:
            raise ShapeError(f"ctc_loss: targets have shape {targets.shape}: expected ({len(sizes)}, {longest}) or wider")
        rows = list(targets)
    else:
        if targets.ndim != 1 or targets.size < sizes.sum():
            raise ShapeError(
                f"ctc_loss: targets have shape {targets.shape}: expected {int(sizes.sum())} labels, as the lengths say"
            )
        rows = np.split(targets, np.cumsum(sizes)[:-1])
    for row, target, size in zip(out, rows, sizes):
        row[1 : 2 * size : 2] = target[:size]
    return out


class CTCLoss(Module):
    """:func:`functional.ctc_loss`; its arguments are explained there.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> loss = nn.CTCLoss()(mg.log_softmax(mg.zeros((5, 2, 4)), -1), mg.tensor([[1, 2], [3, 3]]), [5, 4], [2, 2])
        >>> loss.shape
        ()
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        self.blank, self.reduction, self.zero_infinity = blank, reduction, zero_infinity

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
        return ctc_loss(log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity)
