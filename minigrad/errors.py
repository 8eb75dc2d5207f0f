"""What can go wrong, each with a class that is also the built-in error a NumPy or PyTorch user would catch."""

from __future__ import annotations

from minigrad import naming


class MinigradError(RuntimeError):
    """Base class of every error that minigrad raises on purpose.

    An error of an operation's forward function has an attribute ``operation``, ``(op, operands, params)``: ``viz.draw(error)``
    draws the graph up to there.
    """


class FreedGraphError(MinigradError):
    """Backward ran through a graph whose saved values an earlier backward has released."""


class ChangedValueError(MinigradError):
    """An array that a local-gradient rule still needs was written to after it was recorded."""


class ShapeError(MinigradError, ValueError):
    """Operands whose shapes do not fit the operation. The message ends with the user's names of what was given, where it lacks them."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message + naming.given(message))


class BadIndexError(ShapeError, IndexError):
    """An index or an axis that the operand does not have."""


class DtypeError(MinigradError, TypeError):
    """A dtype that the operation, or a gradient, cannot have."""


class DeviceError(MinigradError, TypeError):
    """Operands on different devices, or a device that is not there."""


class NotInGraphError(MinigradError, ValueError):
    """A gradient was asked for along a path that was never recorded."""


class AnomalyError(MinigradError, FloatingPointError):
    """An operation or a gradient rule that was given finite numbers produced a NaN or an infinity."""
