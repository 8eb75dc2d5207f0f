"""Compositions that are one operation, because a benchmark says so: linear, softmax cross-entropy, layer norm, GELU, SiLU, ...

Each is held equal to its composition by tests/test_fused.py, in values and in gradients of order one and two. The figures are times
over those of the composition, forward and backward, float32, two threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import backend
from minigrad.graph import passes
from minigrad.ops.blocks import in_pieces, in_rows, reuse
from minigrad.ops.elementwise import add, exp, multiply, sigmoid, sqrt, subtract
from minigrad.ops.index import one_hot
from minigrad.ops.linalg import matmul
from minigrad.ops.reduce import softmax
from minigrad.ops.special import erf
from minigrad.primitive import Operation, primitive


# ---- linear: 0.9 at (128, 256) x (256, 128); the gradient of the weight lies in memory as the weight does -----------------------


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """``y = x weight^T + bias`` along the last axis: (..., n) with (m, n) and (m,) to (..., m).

    Gate: swap multiplier with transposes (notes 001, "Backpropagation"); the bias receives the sum over all rows.

    Raises:
        ShapeError: if the weight is no matrix, or its rows are not as long as those of x.

    Example:
        >>> import minigrad as mg
        >>> mg.ops.linear(mg.tensor([1.0, 2.0]), mg.tensor([[1.0, 10.0]]), mg.tensor([0.5])).tolist()
        [21.5]
    """
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"x of shape {tuple(x.shape)} with a weight of shape {tuple(weight.shape)}: expected a weight (m, n) and the size n "
            f"in the last axis of x"
        )
    y = matmul.op.forward(x, weight.T)  # type: ignore[attr-defined]
    return y if bias is None else reuse(add, y, bias) if bias.shape == y.shape[-1:] else y + bias


def _linear_weight(g: Any, y: Any, x: Any, w: Any, b: Any) -> Any:
    """``g^T x``, one product over all rows."""
    if x.ndim == 1:
        return g[:, None] * x
    if x.ndim > 2:
        rows = math.prod(x.shape[:-1])
        g, x = g.reshape((rows, w.shape[0])), x.reshape((rows, x.shape[-1]))
    return g.T @ x


linear = primitive(
    _linear,
    lambda g, y, x, w, b: matmul(g, w),
    _linear_weight,
    passes,
    needs=("b", "a", ""),
    rule=("g @ w", "g.T @ x", "g, summed over the rows"),
    gate="swap multiplier with transposes",
    math="x w^T + b",
)


# ---- softmax cross-entropy of class numbers ---------------------------------------------------------------------------------


@in_rows
def _losses(x: Any, index: Any) -> Any:
    shifted = x - x.real.max(axis=-1, keepdims=True)
    picked = shifted[backend.namespace(x).arange(len(x)), index]
    return np.log(np.exp(shifted).sum(axis=-1)) - picked
