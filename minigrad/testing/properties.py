"""``gradient_property``: a function of arrays becomes a property test of its gradient, in one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.testing.check import check_grads
from minigrad.testing.programs import save_drawing
from minigrad.testing.verdicts import ACCEPTED, GradientError, Verdict

GRID = 64
"""Drawn numbers are multiples of 1/64: short to read, exact in float16, and often right on a kink."""


def gradient_property(
    f: Callable[..., Any] | None = None,
    *,
    shape: Any = None,
    dtype: Any = "float64",
    low: float = -2.0,
    high: float = 2.0,
    order: int = 2,
    accept: Collection[Verdict] = ACCEPTED,
    max_examples: int = 50,
    **arguments: Any,
) -> Any:
    """Test that the gradient of ``f`` is right wherever Hypothesis looks.

    Each positional parameter without a default is an array to differentiate; their shapes broadcast together. Keyword-only
    parameters are left to pytest, for fixtures. A failure shows the arguments, shrunk, what is wrong with the gradient, where
    the graph was drawn, and the line that reproduces it.

    Args:
        f: takes Tensors and returns a Tensor or a tuple of them.
        shape: of all arrays, or a strategy for it; by default shapes of up to 2 axes that broadcast together.
        dtype: of all arrays, or a list of dtypes to choose from.
        low: the smallest element.
        high: the largest element.
        order: the highest order of derivative to check.
        accept: the verdicts of :func:`minigrad.testing.check_grads` that pass.
        max_examples: how many points are tried.
        arguments: strategies, or values, for single parameters by name.

    Returns:
        A test without parameters (but for fixtures).

    Raises:
        TypeError: at the decorator, for a parameter that ``f`` does not have, or a function without array parameters.
        GradientError: from the test, if a gradient is wrong.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.testing import gradient_property
        >>> @gradient_property(low=0.25)
        ... def test_log_of_product(a, b):
        ...     return mg.log(a * b)
        >>> test_log_of_product()
        >>> test_softplus = gradient_property(mg.softplus, dtype=["float64", "float32"])
        >>> test_softplus()
    """
    if f is None:
        return functools.partial(
            gradient_property, shape=shape, dtype=dtype, low=low, high=high, order=order, accept=accept,
            max_examples=max_examples, **arguments,
        )  # fmt: skip
    parameters = inspect.signature(f).parameters
    names = [
        p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY and (p.default is p.empty or p.name in arguments)
    ]
    title = getattr(f, "__name__", "the function")
    if unknown := set(arguments) - set(parameters):
        raise TypeError(
            f"gradient_property: {title} has no parameter {', '.join(sorted(unknown))}; it has {', '.join(parameters)}"
        )
    if not names:
        raise TypeError(f"gradient_property: {title} has no positional parameters, and so no arrays to differentiate")
    free = [name for name in names if name not in arguments]
    fixtures = [p for p in parameters.values() if p.kind is p.KEYWORD_ONLY and p.name not in arguments]

    def test(_drawn: dict[str, Any], **fixed: Any) -> None:
        named = functools.update_wrapper(functools.partial(f, **fixed), f) if fixed else f
        __tracebackhide__ = True
        values = [_drawn[name] for name in names]
        try:
            check_grads(named, *values, order=order, accept=accept)
        except GradientError as error:
            with np.errstate(all="ignore"):
                path = save_drawing(named, values, names, f"{title} {values!r}")
            if path is not None:
                error.drawing = path  # type: ignore[attr-defined]
                error.add_note(f"drawing: {path}")
            raise

    test.__name__ = test.__qualname__ = title
    test.__module__, test.__doc__ = f.__module__, f.__doc__
    drawn = _points(free, shape, dtype, low, high, {k: v for k, v in arguments.items() if k in names})
    leading = inspect.Parameter("_drawn", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = inspect.Signature([leading, *fixtures])  # type: ignore[attr-defined]
    # Fixtures are asked for knowingly; and which lines of minigrad only failures run explains nothing.
    phases = [phase for phase in Phase if phase is not Phase.explain]
    allow = [HealthCheck.function_scoped_fixture]
    how = settings(max_examples=max_examples, deadline=None, print_blob=True, phases=phases, suppress_health_check=allow)
    return how(given(_drawn=drawn)(test))


@st.composite
def _points(
    draw: st.DrawFn, names: list[str], shape: Any, dtype: Any, low: float, high: float, arguments: dict[str, Any]
) -> dict[str, Any]:
    """A value for each parameter."""
    if shape is None:
        together = hnp.mutually_broadcastable_shapes(num_shapes=max(len(names), 1), max_dims=2, min_side=1, max_side=3)
        shapes = draw(together).input_shapes
    else:
        shapes = (draw(shape) if isinstance(shape, st.SearchStrategy) else shape,) * len(names)
    kind = draw(st.sampled_from(dtype)) if isinstance(dtype, (list, tuple)) else dtype
    whole = st.integers(int(np.ceil(low * GRID)), int(np.floor(high * GRID)))
    found = {
        name: np.asarray(draw(hnp.arrays(np.int64, each, elements=whole)) / GRID, kind) for name, each in zip(names, shapes)
    }
    return found | {k: draw(v) if isinstance(v, st.SearchStrategy) else v for k, v in arguments.items()}
