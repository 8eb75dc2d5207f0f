"""What is recorded: :class:`no_grad`, :class:`enable_grad`, :class:`inspect`. Each is a context manager and a decorator."""

from __future__ import annotations

import functools
import inspect as _inspect
from collections.abc import Callable
from contextvars import Token
from typing import Any, ClassVar

from minigrad.graph import ALL, GRAD, OFF, Recording, recording


class _Mode:
    """A recording mode: ``with mg.no_grad():``, ``@mg.no_grad()`` or ``@mg.no_grad``. Per thread and async task."""

    mode: ClassVar[int]
    _tokens: list[Token[Recording]]

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        self: Any = super().__new__(cls)
        self._tokens = []
        return self if function is None else self(function)

    def __enter__(self) -> None:
        self._tokens.append(recording.set((self.mode, recording.get()[1])))

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


def is_grad_enabled() -> bool:
    """Whether operations on tensors that ask for gradients are being recorded.

    Example:
        >>> import minigrad as mg
        >>> mg.is_grad_enabled()
        True
    """
    return recording.get()[0] != OFF
