"""Numbers and arrays as people read them: few digits, small arrays in full, large ones in summary."""

from __future__ import annotations

import html
import os
import re
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DIGITS = 4
GIVEN = 7
"""Digits of a number that the user wrote."""
VECTOR, SIDE = 6, 4
"""Vectors of up to VECTOR elements and matrices of up to SIDE x SIDE are printed in full."""
NAME = 40
"""Longer names are cut in the middle."""
SYMBOLS = {
    "add": "+", "subtract": "\N{MINUS SIGN}", "negative": "\N{MINUS SIGN}", "multiply": "\N{MULTIPLICATION SIGN}", "divide": "/",
    "power": "**", "matmul": "@", "sum": "\N{N-ARY SUMMATION}", "sqrt": "\N{SQUARE ROOT}",
}  # fmt: skip


def number(x: Any, digits: int = DIGITS) -> str:
    """A number with ``digits`` significant digits.

    Example:
        >>> number(0.73105857863), number(-3.0), number(1e-9), number(2), number(float("nan"))
        ('0.7311', '-3', '1e-09', '2', 'nan')
    """
    if isinstance(x, (bool, np.bool_)):
        return str(bool(x))
    if isinstance(x, (int, np.integer)):
        return str(int(x))
    if isinstance(x, (complex, np.complexfloating)):
        return f"{complex(x):.{digits}g}"
    return f"{float(x) + 0.0:.{digits}g}"  # + 0.0 turns -0.0 into 0.0


def is_small(array: Array) -> bool:
    """Whether an array is printed in full."""
    if array.ndim == 2:
        return bool(0 < array.shape[0] <= SIDE and 0 < array.shape[1] <= SIDE)
    return bool(array.ndim == 0 or (array.ndim == 1 and 0 < array.size <= VECTOR))


def rows(array: Array, digits: int = DIGITS) -> list[list[str]]:
    """A small array as rows of numbers.

    Example:
        >>> rows(np.eye(2))
        [['1', '0'], ['0', '1']]
    """
    return [[number(x, digits) for x in row] for row in array.reshape(-1, array.shape[-1] if array.ndim else 1)]


def summary(array: Array, digits: int = DIGITS) -> list[tuple[str, str]]:
    """What to know of a large array: where its values lie, how many are zero, whether some are not finite.

    Example:
        >>> summary(np.array([0.0, 1.0, 2.0, np.nan]))
        [('mean', '1'), ('std', '0.8165'), ('min', '0'), ('max', '2'), ('zeros', '1 of 4'), ('nan', '1 of 4')]
    """
    n = array.size
    if not n:
        return [("size", "0")]
    if array.dtype.kind == "b":
        return [("true", f"{int(array.sum())} of {n}")]
    told: list[tuple[str, str]] = []
    finite = array if array.dtype.kind in "iu" else array[np.isfinite(array)]
    if finite.size:
        wide = finite.astype(np.complex128 if finite.dtype.kind == "c" else np.float64)
        with np.errstate(all="ignore"):
            mean, std = wide.mean(), wide.std()
        size, of = (np.abs(finite), " size") if finite.dtype.kind == "c" else (finite, "")
        if (finite == finite.flat[0]).all():
            return [("all" if finite.size == n else "finite ones", number(finite.flat[0], digits)), *not_finite(array)]
        told += [("mean", number(mean, digits)), ("std", number(std, digits))]
        told += [(f"min{of}", number(size.min(), digits)), (f"max{of}", number(size.max(), digits))]
    zeros = n - int(np.count_nonzero(array))
    return told + [("zeros", f"{zeros} of {n}")] * bool(zeros) + not_finite(array)


def not_finite(array: Array) -> list[tuple[str, str]]:
    """How many entries are NaN, and how many infinite, where any are."""
    if array.dtype.kind in "iu":
        return []
    counts = ("nan", np.isnan(array)), ("inf", np.isinf(array))
    return [(label, f"{int(found.sum())} of {array.size}") for label, found in counts if found.any()]


def line(array: Array | None, digits: int = DIGITS) -> str:
    """An array on one line: in full up to four elements, else its shape and what it looks like.

    Example:
        >>> line(np.array([1.0, 0.5])), line(np.zeros((2, 1))), line(None)
        ('[1, 0.5]', '[[0], [0]]', '')
        >>> line(np.arange(20.0))
        '(20,) mean 9.5, min 0, max 19'
    """
    if array is None:
        return ""
    if array.ndim == 0:
        return number(array[()], digits)
    if array.ndim <= 2 and 0 < array.size <= 4:
        inside = ["[" + ", ".join(row) + "]" for row in rows(array, digits)]
        return inside[0] if array.ndim == 1 else "[" + ", ".join(inside) + "]"
    told = [f"{label} {text}" for label, text in summary(array, digits) if label not in ("std", "zeros")]
    return f"{shape(array.shape)} {', '.join(told)}"


def shape(dims: tuple[int, ...]) -> str:
    """A shape as Python writes it."""
    return str(tuple(int(n) for n in dims))


def norm(array: Array, digits: int = DIGITS) -> str:
    """The Euclidean norm: how much gradient flows."""
    with np.errstate(all="ignore"):
        return number(
            np.sqrt(np.sum(np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)) ** 2)), digits
        )


def plain(text: str, most: int = NAME) -> str:
    """A name on one line, without characters that XML cannot hold, cut in the middle if it is long."""
    text = re.sub(r"[\s\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]+", " ", text).strip()
    return text if len(text) <= most else text[: most // 2 - 1] + "\N{HORIZONTAL ELLIPSIS}" + text[-(most - most // 2) :]


def near(where: str) -> str:
    """A line of a program, its file as seen from the working directory if it lies below that.

    Example:
        >>> import os
        >>> near(os.path.join(os.getcwd(), "train.py:7")), near("<stdin>:1")
        ('train.py:7', '<stdin>:1')
    """
    return where.removeprefix(os.getcwd() + os.sep)


def escape(text: str) -> str:
    """Text for an HTML-like label."""
    return html.escape(text, quote=True)
