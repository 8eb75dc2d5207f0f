"""Losses of examples that belong to several classes at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.errors import BadIndexError, DtypeError, ShapeError
from minigrad.nn.losses import _array, _pair, _reduce, _still, _times
from minigrad.nn.module import Module
from minigrad.tensor import Tensor, asarray


def multilabel_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """L_n = sum over classes j of the example and i not of it of max(0, 1 - (x[j] - x[i])) / C.

    Args:
        input: scores, (N, C) or (C,).
        target: of the same shape: the numbers of an example's classes, then -1, and anything after that.
        reduction: none, mean or sum.

    Raises:
        ShapeError: if the shapes differ.
        DtypeError: if the target is not of integers.
        IndexError: if there is no such class.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> F.multilabel_margin_loss(mg.tensor([0.0, 2.0]), mg.tensor([0, -1])).item()
        1.5
    """
    op, input = "multilabel_margin_loss", _array(input)
    target = _array(target)
    if target.dtype.kind not in "iu":
        raise DtypeError(f"{op}: target has dtype {target.dtype}: expected class numbers, so integers: target.astype(int)")
    if tuple(target.shape) != tuple(input.shape) or input.ndim not in (1, 2):
        raise ShapeError(
            f"{op}: input has shape {tuple(input.shape)}, target {tuple(target.shape)}: expected equal shapes, (N, C) or (C,)"
        )
    count = input.shape[-1]
    x, t = input.reshape((-1, count)), target.reshape((-1, count))
    listed = ops.cumulative_sum(ops.astype(t < 0, "int64"), axis=1) == 0
    t = ops.where(listed, t, 0)
    if t.size and int(_still(ops.max(t))) >= count:
        raise BadIndexError(
            f"{op}: class number {int(_still(ops.max(t)))}, but there are {count} classes: expected 0 to {count - 1}"
        )
    true = ops.any((ops.expand_dims(t, axis=2) == np.arange(count)) & ops.expand_dims(listed, axis=2), axis=1)
    gaps = 1 - ops.expand_dims(ops.take_along_axis(x, t, 1), axis=2) + ops.expand_dims(x, axis=1)
    counted = ops.expand_dims(listed, axis=2) & ~ops.expand_dims(true, axis=1)
    loss = ops.sum(ops.where(counted, ops.clip(gaps, 0, None), 0), (1, 2)) / count
    return _reduce(loss if input.ndim == 2 else loss.reshape(()), reduction, op)


def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """L_n = -mean over classes c of w_c (t log sigmoid(x) + (1 - t) log sigmoid(-x)), with t = 1 for an example's classes.

    Args:
        input: logits, (N, C) or (C,).
        target: of the same shape, 0 or 1.
        weight: w, one number per class.
        reduction: none, mean or sum.

    Raises:
        ShapeError: if the shapes differ.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> round(F.multilabel_soft_margin_loss(mg.zeros(2), mg.tensor([1.0, 0.0])).item(), 4)
        0.6931
    """
    op = "multilabel_soft_margin_loss"
    input, target = _pair(op, input, target, equal=True)
    loss = target * ops.softplus(-input) + (1 - target) * ops.softplus(input)
    if weight is not None:
        loss = _times(op, loss, weight)
    return _reduce(ops.mean(loss, -1), reduction, op)


class MultiLabelMarginLoss(Module):
    """:func:`functional.multilabel_margin_loss`; its arguments are explained there.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> nn.MultiLabelMarginLoss()(mg.tensor([0.0, 2.0]), mg.tensor([0, -1])).item()
        1.5
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        return multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(Module):
    """:func:`functional.multilabel_soft_margin_loss`; its arguments are explained there.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> round(nn.MultiLabelSoftMarginLoss()(mg.zeros(2), mg.tensor([1.0, 0.0])).item(), 4)
        0.6931
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        self.reduction = reduction
        self.register_buffer("weight", weight if weight is None or isinstance(weight, Tensor) else asarray(weight))

    def forward(self, input: Any, target: Any) -> Any:
        return multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)
