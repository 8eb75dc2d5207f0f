"""Hypothesis strategies for arrays, Tensors, shapes that broadcast together, and axes. Needs ``pip install 'minigrad[testing]'``."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.tensor import Tensor, tensor

__all__ = ["arrays", "axes", "shapes", "shapes_that_broadcast", "tensors"]

Shape = tuple[int, ...]
Shapes = Shape | st.SearchStrategy[Shape]


def shapes(max_dims: int = 3, max_side: int = 4) -> st.SearchStrategy[Shape]:
    """Shapes, 0-d and size-0 ones among them.

    Example:
        >>> from hypothesis import find
        >>> from minigrad.testing import strategies
        >>> find(strategies.shapes(), lambda shape: True)
        ()
    """
    return hnp.array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side)


def arrays(
    dtype: Any = "float64", shape: Shapes | None = None, low: float = -10.0, high: float = 10.0
) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """NumPy arrays with elements in [low, high], both finite.

    Args:
        dtype: a floating, integer or boolean dtype.
        shape: a shape or a strategy for shapes; by default :func:`shapes`.
        low: the smallest element.
        high: the largest element.

    Example:
        >>> from hypothesis import find
        >>> from minigrad.testing import strategies
        >>> find(strategies.arrays(shape=(2,), low=1.0, high=3.0), lambda a: a.sum() > 3).dtype
        dtype('float64')
    """
    kind = np.dtype(dtype)
    elements: st.SearchStrategy[Any]
    if kind.kind == "f":
        info: Any = np.finfo(kind)
        width = cast(Any, min(info.bits, 64))
        bounds = np.asarray([low, high], kind)
        # The bounds rounded inwards, for Hypothesis takes none that the dtype cannot represent.
        low = float(bounds[0] if bounds[0] >= low else np.nextafter(bounds[0], kind.type(np.inf)))
        high = float(bounds[1] if bounds[1] <= high else np.nextafter(bounds[1], kind.type(-np.inf)))
        elements = st.floats(low, high, allow_nan=False, allow_infinity=False, width=width)
    elif kind.kind in "iu":
        info = np.iinfo(kind)
        elements = st.integers(max(int(np.ceil(low)), int(info.min)), min(int(np.floor(high)), int(info.max)))
    else:
        elements = st.booleans()
    return hnp.arrays(kind, shapes() if shape is None else shape, elements=elements)


def tensors(
    dtype: Any = "float64", shape: Shapes | None = None, low: float = -10.0, high: float = 10.0, requires_grad: bool = False
) -> st.SearchStrategy[Tensor]:
    """Tensors with elements in [low, high]; see :func:`arrays`.

    Example:
        >>> from hypothesis import given
        >>> import minigrad as mg
        >>> from minigrad.testing import check_grads, strategies
        >>> @given(strategies.tensors(low=0.5, high=2.0))
        ... def test_log(x):
        ...     check_grads(mg.log, x)
        >>> test_log()
    """
    return arrays(dtype, shape, low, high).map(lambda array: tensor(array, requires_grad=requires_grad))


def shapes_that_broadcast(n: int, max_dims: int = 3, max_side: int = 4) -> st.SearchStrategy[tuple[Shape, ...]]:
    """``n`` shapes that broadcast together, 0-d and size-0 ones among them.

    Example:
        >>> from hypothesis import find
        >>> from minigrad.testing import strategies
        >>> sorted(find(strategies.shapes_that_broadcast(2), lambda shapes: shapes[0] != shapes[1]))
        [(), (0,)]
    """
    together = hnp.mutually_broadcastable_shapes(num_shapes=n, max_dims=max_dims, min_side=0, max_side=max_side)
    return together.map(lambda found: tuple(found.input_shapes))


def axes(ndim: int) -> st.SearchStrategy[int | tuple[int, ...] | None]:
    """What ``axis=`` of a reduction takes for an array of ``ndim`` axes: None, an integer or a tuple, negative ones too.

    Example:
        >>> from hypothesis import find
        >>> from minigrad.testing import strategies
        >>> find(strategies.axes(2), lambda axis: isinstance(axis, int) and axis < 0)
        -1
    """
    if not ndim:
        return st.none() | st.just(())
    several = hnp.valid_tuple_axes(ndim, min_size=0)
    return st.none() | st.integers(-ndim, ndim - 1) | several
