"""What is recorded: :class:`no_grad`, :class:`enable_grad`, :class:`inspect`. Each is a context manager and a decorator."""

from __future__ import annotations

import functools
import inspect as _inspect
from collections.abc import Callable
from contextvars import Token
from typing import Any, ClassVar

from minigrad import anomaly
from minigrad.graph import ALL, GRAD, OFF, Recording, is_off, recording, within


class _Mode:
    """A recording mode: ``with mg.no_grad():``, ``@mg.no_grad()`` or ``@mg.no_grad``. Per thread and async task."""

    mode: ClassVar[int]
    _tokens: list[Token[Recording]]
    _checks: list[Token[bool]]

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        self: Any = super().__new__(cls)
        self._tokens, self._checks = [], []
        return self if function is None else self(function)

    def __enter__(self) -> None:
        self._tokens.append(recording.set(within(self.mode)))

    def __exit__(self, *error: object) -> None:
        recording.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if _inspect.isgeneratorfunction(function):
            raise TypeError(
                f"{type(self).__name__}: {function.__name__} is a generator, which would carry the mode out to its caller at every "
                f"yield; use `with mg.{type(self).__name__}():` inside it"
            )

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
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
    """Stop at the operation that first produces a NaN or an infinity, forward or backward, and name it and the line.

    For forward operations it must surround them; for the backward pass it must surround both. Everything is recorded and
    checked inside, so it is slow: for hunting, not for training.

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
        self._checks.append(anomaly.checking.set(True))

    def __exit__(self, *error: object) -> None:
        anomaly.checking.reset(self._checks.pop())
        super().__exit__(*error)


def is_grad_enabled() -> bool:
    """Whether operations on tensors that ask for gradients are being recorded.

    Example:
        >>> import minigrad as mg
        >>> mg.is_grad_enabled()
        True
    """
    return not is_off()
