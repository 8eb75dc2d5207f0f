"""Numbers that do not decide a dtype: hyperparameters that come from NumPy, such as an element of ``np.logspace``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])
_SCALARS = frozenset(np.sctypeDict.values())


def hyperparameters(function: Function) -> Function:
    """``function`` that takes a NumPy number, given for an argument annotated as ``float``, as Python's.

    By NumPy's promotion ``x + np.float64(1e-5)`` is float64 where x is float32, and a whole graph would follow. Operands keep
    their dtypes; only hyperparameters give theirs up. To look costs 0.2 us a call.
    """
    signature = inspect.signature(function)
    names = [name for name, p in signature.parameters.items() if str(p.annotation).startswith("float")]

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if _SCALARS.isdisjoint(map(type, args)) and _SCALARS.isdisjoint(map(type, kwargs.values())):
            return function(*args, **kwargs)
        arguments = signature.bind(*args, **kwargs).arguments
        for name in names:
            if isinstance(arguments.get(name), np.generic):
                arguments[name] = arguments[name].item()
        bound = inspect.BoundArguments(signature, arguments)
        return function(*bound.args, **bound.kwargs)

    return run  # type: ignore[return-value]
