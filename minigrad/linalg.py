"""Linear algebra under the array API's extension name: ``mg.linalg.solve`` is :func:`minigrad.solve`, and so on."""

from __future__ import annotations

from typing import Any

from minigrad import ops
from minigrad.ops import (
    cholesky,
    cross,
    det,
    eigh,
    eigvalsh,
    inv,
    lstsq,
    matmul,
    matrix_norm,
    matrix_power,
    matrix_transpose,
    norm,
    outer,
    pinv,
    qr,
    slogdet,
    solve,
    svd,
    svdvals,
    tensordot,
    vecdot,
    vector_norm,
)

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_transpose",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]


def diagonal(x: Any, offset: int = 0) -> Any:
    """The diagonals of the matrices in the last two axes (the array API's; :func:`minigrad.diagonal` is NumPy's).

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.diagonal(mg.ones((5, 2, 3))).shape
        (5, 2)
    """
    return ops.diagonal(x, offset, -2, -1)


def trace(x: Any, offset: int = 0) -> Any:
    """The traces of the matrices in the last two axes (the array API's; :func:`minigrad.trace` is NumPy's).

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.trace(mg.ones((5, 3, 3))).tolist()
        [3.0, 3.0, 3.0, 3.0, 3.0]
    """
    return ops.trace(x, offset, -2, -1)
