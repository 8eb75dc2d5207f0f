"""Tools for testing gradients: :func:`check_grads`, and Hypothesis strategies in :mod:`minigrad.testing.strategies`."""

from __future__ import annotations

import importlib
from typing import Any

from minigrad.testing.check import TOLERANCES, GradientError, Tolerance, check_grads

__all__ = ["TOLERANCES", "GradientError", "Tolerance", "check_grads", "strategies"]


def __getattr__(name: str) -> Any:
    """``strategies`` on first use: only it needs Hypothesis."""
    if name == "strategies":
        return importlib.import_module("minigrad.testing.strategies")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
