"""Tools for testing gradients: :func:`check_grads`, :func:`gradient_property`, :func:`mark` for those derived by hand, and
Hypothesis strategies in :mod:`minigrad.testing.strategies`.
"""

from __future__ import annotations

import importlib
from typing import Any

from minigrad.testing.check import check_grads, examine
from minigrad.testing.examination import TOLERANCES, Tolerance
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
    "gradient_property",
    "mark",
    "strategies",
]


def __getattr__(name: str) -> Any:
    """``strategies`` and ``gradient_property`` on first use: only they need Hypothesis."""
    if name == "strategies":
        return importlib.import_module("minigrad.testing.strategies")
    if name == "gradient_property":
        return importlib.import_module("minigrad.testing.properties").gradient_property
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
