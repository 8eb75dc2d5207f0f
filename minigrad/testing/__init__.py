"""Tools for testing gradients: :func:`check_grads`, :func:`mark` for those derived by hand, and Hypothesis strategies in :mod:`minigrad.testing.strategies`."""

from __future__ import annotations

import importlib
from typing import Any

from minigrad.testing.check import TOLERANCES, Tolerance, check_grads, examine
from minigrad.testing.mark import Report, mark
from minigrad.testing.verdicts import ACCEPTED, VERDICTS, GradientError, GradientReport, Verdict

__all__ = [
    "ACCEPTED",
    "TOLERANCES",
    "VERDICTS",
    "GradientError",
    "GradientReport",
    "Report",
    "Tolerance",
    "Verdict",
    "check_grads",
    "examine",
    "mark",
    "strategies",
]


def __getattr__(name: str) -> Any:
    """``strategies`` on first use: only it needs Hypothesis."""
    if name == "strategies":
        return importlib.import_module("minigrad.testing.strategies")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
