"""What is recorded and what is checked: :class:`no_grad`, :class:`enable_grad`, :class:`inspect`, :class:`detect_anomaly`,
:class:`strict`. Each is a context manager and a decorator.
"""

from __future__ import annotations

import functools
import inspect as _inspect
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, ClassVar

from minigrad import anomaly
from minigrad.graph import ALL, GRAD, OFF, Recording, is_off, recording, within


class _Mode:
    """A recording mode: ``with mg.no_grad():``, ``@mg.no_grad()`` or ``@mg.no_grad``. Per thread and async task."""

    mode: ClassVar[int]
    _tokens: list[Token[Recording]]
    _checks: list[Token[Any]]

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        self: Any = super().__new__(cls)
        self._tokens, self._checks = [], []
        return self if function is None else self(function)

    def __enter__(self) -> None:
        self._tokens.append(recording.set(within(self.mode)))

    def __exit__(self, *error: object) -> None:
        recording.reset(self._tokens.pop())

    def _again(self) -> Any:
        """A context of its own for one call of a decorated function: calls may nest and run in several threads."""
        return type(self)()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if _inspect.isgeneratorfunction(function):
            raise TypeError(
                f"{type(self).__name__}: {function.__name__} is a generator, which would carry the mode out to its caller at every "
                f"yield; use `with mg.{type(self).__name__}():` inside it"
            )

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return inside


class no_grad(_Mode):  # noqa: N801 (spelled as in PyTorch)
    """Record nothing inside: ``with mg.no_grad():``, or ``@mg.no_grad`` on a function. Per thread and async task.

    Example:
        >>> import minigrad as mg
        >>> w = mg.tensor(1.0, requires_grad=True)
        >>> with mg.no_grad():
        ...     print((w * 2).requires_grad)
        False
    """

    mode = OFF


class enable_grad(_Mode):  # noqa: N801
    """Record again inside a :class:`no_grad` block.

    Example:
        >>> import minigrad as mg
        >>> w = mg.tensor(1.0, requires_grad=True)
        >>> with mg.no_grad(), mg.enable_grad():
        ...     print((w * 2).requires_grad)
        True
    """

    mode = GRAD


class inspect(_Mode):  # noqa: N801
    """Record everything inside, for looking at: all values however large, constants, and the source line of each operation.

    Costs memory (no value is dropped, not even by backward) and about 2 us an operation; outside it nothing is paid.

    Example:
        >>> import minigrad as mg
        >>> with mg.inspect():
        ...     y = mg.exp(mg.tensor([0.0]))
        >>> y.node.op.name
        'exp'
    """

    mode = ALL


class detect_anomaly(inspect):  # noqa: N801
    """Name the operation that first produces a NaN or an infinity, forward or backward, and its line.

    For forward operations it must surround them; for the backward pass it must surround both. Everything is recorded and
    checked inside, under ``no_grad`` too, so it is slow: for hunting, not for training. Per thread and async task.

    A NaN of the forward pass is raised where it matters: where it reaches a loss (or another single number), backward, or the end of
    the block. One that ``mg.where`` does not select, or that becomes a number again (``exp(-inf)``), is no anomaly, nor is an
    infinity that was put there, such as a mask of -inf; 0 * inf and inf - inf are.

    Raises:
        AnomalyError: naming the operation, its operands with their values there, and the source line.

    Example:
        >>> import minigrad as mg
        >>> x = mg.tensor([1.0, 0.0], requires_grad=True, name="x")
        >>> with mg.detect_anomaly():
        ...     mg.sum(mg.sqrt(x)).backward()
        Traceback (most recent call last):
        ...
        minigrad.errors.AnomalyError: sqrt: its gradient rule for operand 1 produced inf at [1] from a finite upstream ...
    """

    def __enter__(self) -> None:
        super().__enter__()
        self._checks.append(anomaly.checking.set(anomaly.checking.get() or anomaly.Watch()))

    def __exit__(self, *error: object) -> None:
        watch = anomaly.checking.get()
        anomaly.checking.reset(self._checks.pop())
        super().__exit__(*error)
        if watch is not None and anomaly.checking.get() is None and error[0] is None:
            watch.close()


class strict(_Mode):  # noqa: N801
    """Refuse what is only warned about otherwise: losses of shapes that broadcast, such as (N, 1) against (N,).

    A loss of (N, 1) predictions against (N,) targets is an average over N * N pairs, most of which do not belong together; training
    runs, and learns the mean. Inside, such a pair is a :class:`~minigrad.errors.ShapeError` that names the axis. ``strict(False)``
    allows it again; :func:`set_strict` decides what holds outside. Per thread and async task.

    Args:
        function: what to decorate; or False, to warn only.

    Example:
        >>> import minigrad as mg
        >>> from minigrad.nn import functional as F  # noqa: N812
        >>> with mg.strict():
        ...     F.mse_loss(mg.ones((8, 1)), mg.ones(8))
        Traceback (most recent call last):
        ...
        minigrad.errors.ShapeError: mse_loss: input has shape (8, 1), target (8,): they broadcast to (8, 8), so every loss ...
    """

    _on: bool

    def __new__(cls, function: Callable[..., Any] | bool | None = None) -> Any:
        self: Any = super().__new__(cls)
        self._on = function is not False
        return self(function) if callable(function) else self

    def __enter__(self) -> None:
        self._checks.append(_strict.set(self._on))

    def __exit__(self, *error: object) -> None:
        _strict.reset(self._checks.pop())

    def _again(self) -> Any:
        return type(self)(self._on)


_strict: ContextVar[bool | None] = ContextVar("strict", default=None)
_always_strict = False


def set_strict(on: bool = True) -> None:
    """Whether what :class:`strict` refuses is refused everywhere, in all threads, from here on.

    Example:
        >>> import minigrad as mg
        >>> mg.set_strict(True)
        >>> mg.is_strict()
        True
        >>> mg.set_strict(False)
    """
    global _always_strict
    _always_strict = bool(on)


def is_strict() -> bool:
    """Whether :class:`strict` or :func:`set_strict` is in force here.

    Example:
        >>> import minigrad as mg
        >>> mg.is_strict()
        False
    """
    here = _strict.get()
    return _always_strict if here is None else here


def is_grad_enabled() -> bool:
    """Whether operations on tensors that ask for gradients are being recorded.

    Example:
        >>> import minigrad as mg
        >>> mg.is_grad_enabled()
        True
    """
    return not is_off()
