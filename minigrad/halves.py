"""Two-byte floats: what adds up many of them does so in float32, and rounds once at the end.

float16 has 11 digits of two and ends at 65504; bfloat16 (of the package ``ml_dtypes``) reaches as far as float32 with 8 digits. A sum
that is kept in either stands still as soon as a term is below half a step: 10,000 ones added down a column are 2048 in float16. And a
square of 300, on the way to a norm or a variance, is inf. Both have no BLAS, so a product of matrices is 70 times as slow as through
float32 at 256 x 256. So the rows of :data:`WIDE` run in float32, forward and rules, where their operands have two bytes: what goes in and
comes out, and what is saved, keeps its dtype (accumulation as in Micikevicius et al. 2018, "Mixed Precision Training", section 3.3).
Elementwise operations round once anyway.
"""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.errors import DtypeError

WIDE = frozenset({
    "avg_pool", "avg_spread", "bessel", "channel_affine", "channel_dot", "channel_moments", "channel_sum", "conv", "conv_transpose", "conv_weight", "convolve", "cross", "cumulative_prod", "cumulative_sum",
    "einsum", "layer_norm", "linear", "log_softmax", "logsumexp", "matmul", "mean",
    "overlap_add", "place", "prod", "rms_norm", "softmax", "softmax_cross_entropy", "std", "sum", "var", "vector_norm",
})  # fmt: skip
"""Rows of the operation table that add up elements."""
ONLY_MOVES = frozenset({"sum", "place"})
"""Those whose rules only hand gradients on: they need no more digits than the gradient has."""


def bfloat16() -> np.dtype[Any]:
    """The dtype bfloat16, which NumPy has not: the package ml_dtypes brings it.

    Raises:
        DtypeError: if ml_dtypes is not installed.
    """
    try:
        found: np.dtype[Any] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    except ImportError as error:
        raise DtypeError(
            "bfloat16 needs the package ml_dtypes, which is not installed: pip install 'minigrad[bfloat16]'"
        ) from error
    return found


def kind(dtype: Any) -> str:
    """``dtype.kind``, and ``"f"`` for bfloat16, which NumPy takes for raw bytes (``"V"``)."""
    return "f" if dtype.kind == "V" and is_half(dtype) else str(dtype.kind)


def is_half(dtype: Any) -> bool:
    """Whether it is a float of two bytes."""
    return bool(dtype.itemsize == 2 and (dtype.kind == "f" or (dtype.kind == "V" and dtype.name == "bfloat16")))


def _wide(value: Any) -> Any:
    # What is left of a dropped value (graph.Absent) has a dtype too, and nothing that could be converted.
    return value.astype(np.float32) if hasattr(type(value), "astype") and is_half(value.dtype) else value


def widened(function: Callable[..., Any], asked: int | None = None, back: bool = True) -> Callable[..., Any]:
    """``function`` on float32 in place of two-byte floats; its result goes ``back`` to their dtype, unless one was float32 before.

    Args:
        function: of arrays, or, as a rule, of Tensors.
        asked: the position of an argument that names the dtype of the result; where it is given, that counts.
        back: the backward pass converts what a rule returns by itself.
    """

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        if asked is not None and args[asked] is not None:
            return function(*args)
        y = function(*map(_wide, args))
        mixed = any(getattr(a, "dtype", None) == np.float32 for a in args)
        return y.astype(args[0].dtype) if back and y.dtype == np.float32 and not mixed else y

    return run


def twin(op: Any, arguments: Sequence[str]) -> Any:
    """The row ``op`` for two-byte floats: the same in all but where it computes."""
    other = copy.copy(op)
    other.forward = widened(op.forward, list(arguments).index("dtype") if "dtype" in arguments else None)
    if op.name not in ONLY_MOVES:
        other.rules = tuple(rule and widened(rule, back=False) for rule in op.rules)
        other.pulls = tuple((i, rule) for i, rule in enumerate(other.rules) if rule is not None)
    return other
