"""Tools for testing gradients: :func:`check_grads`, :func:`mark` for those derived by hand, and Hypothesis strategies in :mod:`minigrad.testing.strategies`."""

from __future__ import annotations

import importlib
from typing import Any

from minigrad.testing.check import TOLERANCES, GradientError, Tolerance, check_grads
from minigrad.testing.mark import Report, mark

__all__ = ["TOLERANCES", "GradientError", "Report", "Tolerance", "check_grads", "mark", "strategies"]


def __getattr__(name: str) -> Any:
    """``strategies`` on first use: only it needs Hypothesis."""
    if name == "strategies":
        return importlib.import_module("minigrad.testing.strategies")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
