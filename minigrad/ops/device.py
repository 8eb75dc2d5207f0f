"""Copying, and moving between devices: operations like any other, whose gradients move back."""

from __future__ import annotations

from typing import Any

from minigrad import backend
from minigrad.primitive import Operation, primitive


def _to_device(x: Any, target: str, origin: str) -> Any:
    """``x`` on device ``target``; the gradient travels back to ``origin``."""
    return backend.to_device(x, target)


to_device: Operation = primitive(
    _to_device,
    lambda g, y, a, target, origin: to_device(g, origin, target),  # mutate: equivalent [call] because NumPy has one device
    needs="",
    gate="passes the gradient on",
    math="a on another device",
)


def _copy(x: Any) -> Any:
    """The same values in memory of their own.

    Example:
        >>> import minigrad as mg
        >>> mg.copy(mg.tensor([1.0])).numpy().tolist()
        [1.0]
    """
    return x.copy()


copy = primitive(_copy, lambda g, y, a: g, needs="", gate="passes the gradient on", math="a")
